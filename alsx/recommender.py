"""What every fitted model can do: predict, recommend, find similar items, save and load."""

from __future__ import annotations

import json
import os
import secrets
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from alsx import _check, _core, _threads, metrics
from alsx._version import __version__
from alsx.alternation import (
    Alternation,
    Iteration,
    Known,
    Penalty,
    RowSystems,
    SingularRowError,
    alternate,
    factor_table,
    full_precision,
    workspace,
)
from alsx.prior import Prior, aligned, masses, row_tasks, scales
from alsx.ratings import Ids, Ratings, id_pairs
from alsx.uncertainty import (
    BLOCK,
    LEVELS,
    Errors,
    Evidence,
    Posterior,
    Uncertainty,
    by_item,
    deviations,
    training_errors,
)

Array = npt.NDArray[Any]

# The layout of saved files; a later one can still read an earlier one.
FORMAT = 2
SIDES = ("user", "item")
STRATEGIES = ("mean", "lower", "upper", "thompson")
STORED = ("user_ids", "item_ids", "user_table", "item_table", "seen_indptr", "seen_indices", "item_counts")


class Recommender(BaseEstimator):  # type: ignore[misc]
    """
    A model of ratings: global mean, biases of users and items and, where k > 0, factors of both.

    The base of `BiasALS` and `FactorALS`; it has no constructor of its own.
    """

    kinds: ClassVar[dict[str, type[Recommender]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Recommender.kinds[cls.__name__] = cls

    # Parameters of every model; a subclass's constructor sets them.
    max_iter: int
    tol: float
    random_state: Any
    n_jobs: int | None
    verbose: int

    # What a fit is done by.
    _alternation: ClassVar[type[Alternation]] = Alternation

    def _penalties(self) -> tuple[Penalty, Penalty]:
        raise NotImplementedError

    def _iterations(self) -> tuple[int, float]:
        """The most iterations, and the fall of the loss at which to stop."""
        return _check.integer("max_iter", self.max_iter, 1), _check.real("tol", self.tol)

    def _finished(self, alternation: Alternation) -> None:
        """Keep what else a fit has found."""

    def _more(self) -> dict[str, Array]:
        """What else a file holds."""
        return {}

    def _restore_more(self, stored: dict[str, Array]) -> None:
        """Read that back."""

    def fit(self, R: Any, y: Any = None, sample_weight: Any = None, *, eval_set: Any = None) -> Self:
        """
        Fit the model to ratings.

        Parameters
        ----------
        R : Ratings, scipy sparse matrix or array, data frame, path, or array-like of shape (n_ratings, 2)
            Whatever `alsx.Ratings` takes: users x items, a table with user, item and rating columns, a CSV or Parquet file
            of them, or, with `y`, pairs (user, item).
        y : array-like of shape (n_ratings,), default=None
            Ratings, where `R` holds pairs of ids.
        sample_weight : array-like of shape (n_ratings,), default=None
            Non-negative weights in the order of the rows of `R` (of the stored entries of its CSR form where it is
            sparse, of `Ratings.by_user` where it is a `Ratings`). A rating of weight 2 counts like two. Default: all 1.
        eval_set : like `R`, or a pair (X, y), default=None
            Held-out ratings; their RMSE is added to ``history_["test_rmse"]`` after each iteration. They do not
            influence the fit.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For parameters and data that cannot be used; the sentence names the argument, the first offending place
            and the remedy.
        numpy.linalg.LinAlgError
            Where a row's equations have no unique solution, which needs a regularisation of 0 or next to it.
        FloatingPointError
            Where numbers leave the range of their type, which needs absurdly large ratings or weights.
        """
        return self._fit(R, y, sample_weight, eval_set)

    def _known(self, side: str, features: scipy.sparse.csr_array | None) -> Known:
        """What the prior means of a side are learned from."""
        return Known()

    def _chosen(
        self, ratings: Ratings, k: int, users: Penalty, items: Penalty, known: tuple[Known, Known], n_threads: int
    ) -> tuple[Penalty, Penalty]:
        """The regularisation of the fit; a model may choose it by the ratings."""
        return users, items

    def _train(
        self,
        alternation: Alternation,
        max_iter: int,
        tol: float,
        test_rmse: Callable[[], float] | None,
        report: Callable[[Iteration], None],
    ) -> dict[str, list[float]]:
        """Fit the tables; a sampler does it in another way."""
        return alternate(alternation, max_iter, tol, test_rmse, report)

    def _fit(
        self, R: Any, y: Any, sample_weight: Any, eval_set: Any, user_features: Any = None, item_features: Any = None
    ) -> Self:
        k = getattr(self, "k", 0)
        k = _check.integer("k", k, 0)
        max_iter, tol = self._iterations()
        verbose = _check.integer("verbose", self.verbose, 0)
        dtype = _check.float_dtype("dtype", getattr(self, "dtype", "float64"))
        users, items = self._penalties()
        generator = _check.generator(self.random_state)
        n_threads = _threads.resolve(self.n_jobs)

        # Timestamps are of no use here, and a matrix of the user's need not be copied while nothing can change it.
        ratings = Ratings(
            R, y, sample_weight=sample_weight, timestamp=False, dtype=dtype, n_jobs=self.n_jobs, copy=False
        )
        shared = scipy.sparse.issparse(R)  # whose arrays may change after the fit
        encoders, matrices = [None, None], [None, None]
        for place, features in enumerate((user_features, item_features)):
            if features is not None:
                encoders[place], ratings, matrices[place] = _encoded(features, SIDES[place], ratings)
        known = self._known("user", matrices[0]), self._known("item", matrices[1])
        users, items = self._chosen(ratings, k, users, items, known, n_threads)
        alternation = self._alternation(ratings, k, users, items, generator, n_threads, known)
        low, high = ratings.range
        test_rmse = None
        if eval_set is not None:
            test_rmse = self._held_out(eval_set, ratings, alternation, n_threads)
        try:
            with _Progress(type(self).__name__, max_iter, verbose) as report:
                history = self._train(alternation, max_iter, tol, test_rmse, report)
        except SingularRowError as error:
            ids = ratings.user_ids if error.side == "user" else ratings.item_ids
            raise np.linalg.LinAlgError(_singular(error.side, ids[error.row].item(), error.row, error.count)) from None
        sums = None
        if type(alternation) is Alternation:  # a sampler's tables are no solutions of its last half-sweeps
            with np.errstate(all="ignore"):
                by_user, by_item = (alternation.unit**2 * x.loss[:, 0] for x in (alternation.users, alternation.items))
            sums = by_user, by_item
        user_table, item_table, user_prior, item_prior = alternation.finish()
        if not (np.isfinite(user_table).all() and np.isfinite(item_table).all()):
            raise FloatingPointError(
                f"the fit left the range of {dtype} numbers: rescale the ratings, or raise reg (it is {users.reg:g})"
            )

        with np.errstate(all="ignore"):  # where numbers are next to the ends of their range, only uncertainty suffers
            errors = training_errors(ratings, (user_table, item_table), k, sums, n_threads)

        # All at once and last, so that an interrupted fit leaves the model as it was.
        self.mean_ = ratings.mean
        self.history_ = history
        self.n_iter_ = len(history["loss"])
        self.rating_range_ = (low, high)
        self._users, self._items = Ids(ratings.user_ids, "users"), Ids(ratings.item_ids, "items")
        self._user_table, self._item_table = user_table, item_table
        self._user_prior, self._item_prior = user_prior, item_prior
        self._user_encoder, self._item_encoder = encoders
        self._finished(alternation)
        self.item_counts_ = np.diff(ratings.by_item.indptr)
        self.user_counts_ = np.diff(ratings.by_user.indptr)
        indptr, indices = ratings.by_user.indptr, ratings.by_user.indices
        del ratings, alternation, test_rmse  # room for the copy
        if shared:
            indptr, indices = indptr.copy(), indices.copy()
        self._seen_indptr, self._seen_indices = indptr, indices
        self._packed: tuple[Array, Array] | None = None
        self._k = k
        self._errors: Errors | None = errors
        self._uncertainty: Uncertainty | None = None
        return self

    def _held_out(
        self, eval_set: Any, ratings: Ratings, alternation: Alternation, n_threads: int
    ) -> Callable[[], float]:
        """How the RMSE of held-out ratings is found within an iteration."""
        if isinstance(eval_set, tuple) and len(eval_set) != 2:
            raise ValueError(f"eval_set has {len(eval_set)} parts; give a pair (X, y), or ratings as fit takes them")
        test = Ratings(*eval_set, dtype=ratings.dtype) if isinstance(eval_set, tuple) else eval_set
        test = test if isinstance(test, Ratings) else Ratings(test, dtype=ratings.dtype)
        user_codes, item_codes, values = test.triples()
        user_codes = np.asarray(ratings.user_codes(test.user_ids))[user_codes]
        item_codes = np.asarray(ratings.item_codes(test.item_ids))[item_codes]
        weights = test.by_user.weights
        for codes, side in ((user_codes, alternation.users), (item_codes, alternation.items)):
            codes[(codes >= 0) & side.nothing_known()[codes]] = -1
        low, high = ratings.range
        mean, unit, k = alternation.mean, alternation.unit, alternation.k

        def predicted(part: Any) -> Array:
            users, items = alternation.users, alternation.items
            typical = users.typical(), items.typical()
            out = _predicted(
                user_codes[part], item_codes[part], users.table, items.table, typical, k, 0.0, n_threads
            )  # fmt: skip
            return np.asarray(np.clip(mean + unit * out, low, high))

        # Most pairs are known on both sides: their errors are added up where they are predicted, in one pass.
        others = np.flatnonzero((user_codes < 0) | (item_codes < 0))
        wide = np.asarray(values, np.float64)
        mass = np.zeros(0) if weights is None else np.asarray(weights, np.float64)
        with np.errstate(over="ignore"):
            total_mass = float(len(wide) if weights is None else mass.sum())
        parts = np.empty(_core.n_chunks(len(wide)))

        def rmse() -> float:
            _core.squared_errors(
                user_codes, item_codes, wide, mass, alternation.users.table, alternation.items.table, k, mean, unit, low, high,
                n_threads, parts,
            )  # fmt: skip
            total = float(parts.sum())
            if len(others):
                with np.errstate(over="ignore", invalid="ignore"):
                    squares = ((wide[others] - predicted(others)) / unit) ** 2
                    total += float(np.sum(squares if weights is None else mass[others] * squares))
            if np.isfinite(total) and 0 < total_mass < np.inf:
                return float(unit * np.sqrt(total / total_mass))
            # Squares out of range, or something to refuse.
            return float(metrics.rmse(values, predicted(slice(None)), sample_weight=weights))

        return rmse

    # ------------------------------------------------------------------------------------------------------------
    # Learned

    @property
    def user_ids_(self) -> Array:
        """The users' own ids, ascending; row x of `user_factors_` belongs to ``user_ids_[x]``."""
        check_is_fitted(self, "mean_")
        return self._users.values

    @property
    def item_ids_(self) -> Array:
        """The items' own ids, ascending; row x of `item_factors_` belongs to ``item_ids_[x]``."""
        check_is_fitted(self, "mean_")
        return self._items.values

    @property
    def user_biases_(self) -> Array:
        """b_u in rating units, shape (n_users,)."""
        check_is_fitted(self, "mean_")
        return self._user_table[:, self._k]

    @property
    def item_biases_(self) -> Array:
        """c_i in rating units, shape (n_items,)."""
        check_is_fitted(self, "mean_")
        return self._item_table[:, self._k]

    # ------------------------------------------------------------------------------------------------------------
    # Predictions

    def predict(self, users: Any, items: Any = None, *, clip: bool = True, return_std: bool = False) -> Any:
        """
        Predict ratings, in rating units.

        Parameters
        ----------
        users : id or array-like of ids, shape (n,); or Ratings, data frame or array-like of pairs (n, 2)
            Users; or, without `items`, the pairs (user, item) to predict. A `Ratings` is predicted in the order of
            `Ratings.triples`.
        items : id or array-like of ids, shape (n,), default=None
            Items. One user with many items, or one item with many users, is fine.
        clip : bool, default=True
            Keep predictions within the range of the training ratings, since no rating can lie outside it.
        return_std : bool, default=False
            Also say how far from its prediction a rating is expected to be. The first such call after a fit takes about as
            long as two or three iterations of it. Sample weights of the fit count as 1 here.

        Returns
        -------
        predicted : float, or ndarray of float64, shape (n,)
            A float where user and item are single ids. Unknown users and items get what the prior
            knows: the mean and the bias of the known side; where the model has learned from who rated what, the average
            user or item.
        std : float, or ndarray of float64, shape (n,)
            With `return_std`: the standard deviation of the rating. It has two parts: noise, by user and by item, and what
            the model does not know of the two, which is much where they have few ratings (``alsx/uncertainty.py``).
            Infinite where neither ratings nor regularisation say anything.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        TypeError
            If ids are of another kind than those the model was fitted to.
        ValueError
            If there are not as many users as items.

        Warns
        -----
        UserWarning
            If more than half of the pairs have an unknown user or item, as when ids of another data set are asked for.
        """
        user_codes, item_codes, scalar = self._pairs(users, items)
        out = self._mean(user_codes, item_codes, clip)
        if not return_std:
            return float(out[0]) if scalar else out
        std = np.sqrt(sum(self._variances(user_codes, item_codes)))
        return (float(out[0]), float(std[0])) if scalar else (out, std)

    def predict_interval(self, users: Any, items: Any = None, level: float = 0.9, *, clip: bool = True) -> Any:
        """
        Predict within which limits ratings lie, in rating units.

        Parameters
        ----------
        users, items
            Pairs, as `predict` takes them.
        level : float, default=0.9
            The share of ratings that the limits are to hold, above 0 and below 1.
        clip : bool, default=True
            Keep the limits within the range of the training ratings.

        Returns
        -------
        low, high : float, or ndarray of float64, shape (n,)
            As far below and above the prediction. How many standard deviations of `predict` that is tells the distribution
            of the standardised training errors, scaled to a standard deviation of 1: ratings on a few steps have more small
            errors, and fewer large ones, than the Gaussian.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        TypeError
            If ids are of another kind than those the model was fitted to.
        ValueError
            If `level` is not between 0 and 1, or there are not as many users as items.

        Warns
        -----
        UserWarning
            If more than half of the pairs have an unknown user or item.

        References
        ----------
        J. Lei, M. G'Sell, A. Rinaldo, R. Tibshirani, L. Wasserman, "Distribution-free predictive inference for regression",
        Journal of the American Statistical Association 113, 2018, pages 1094-1111, section 5.2 (quantiles of errors over an
        estimate of their size as the shape of an interval; there of held-out errors, here of training errors, whose size
        alone is corrected for what the fit took up).

        Examples
        --------
        >>> from alsx import BiasALS
        >>> model = BiasALS().fit([("ann", 7), ("bob", 7), ("ann", 3)], [4.5, 3.0, 5.0])
        >>> low, high = model.predict_interval("bob", 3, level=0.5)
        >>> low < model.predict("bob", 3) < high
        True
        """
        level = _check.real("level", level)
        if not 0 < level < 1:
            raise ValueError(f"level is {level:g}; it must be above 0 and below 1, such as 0.9 for nine ratings in ten")
        user_codes, item_codes, scalar = self._pairs(users, items)
        mean, std = self._mean(user_codes, item_codes, clip), np.sqrt(sum(self._variances(user_codes, item_codes)))
        half = deviations(level, self._uncertain().shape) * std
        low, high = mean - half, mean + half
        if clip:
            for limit in (low, high):
                np.clip(limit, *self.rating_range_, out=limit)
        return (float(low[0]), float(high[0])) if scalar else (low, high)

    def _pairs(self, users: Any, items: Any) -> tuple[Array, Array, bool]:
        """Codes of pairs as `predict` takes them, and whether it is a single one."""
        check_is_fitted(self, "mean_")
        if items is None:
            if isinstance(users, Ratings):
                user_codes, item_codes, _ = users.triples()
                user_codes = np.asarray(self._users.codes(users.user_ids))[user_codes]
                item_codes = np.asarray(self._items.codes(users.item_ids))[item_codes]
            else:
                pairs = id_pairs(users)
                user_codes, item_codes = self._users.codes(pairs[0], "users"), self._items.codes(pairs[1], "items")
        else:
            user_codes, item_codes = self._users.codes(users, "users"), self._items.codes(items, "items")
        user_codes, item_codes = np.asarray(user_codes), np.asarray(item_codes)
        scalar = user_codes.ndim == item_codes.ndim == 0
        if user_codes.ndim == item_codes.ndim == 1 and len(user_codes) != len(item_codes):
            raise ValueError(
                f"users has {len(user_codes)} ids and items {len(item_codes)}; they must be pairs, or one of them a single id"
            )
        user_codes, item_codes = np.broadcast_arrays(np.atleast_1d(user_codes), np.atleast_1d(item_codes))
        self._warn_unknown(user_codes, item_codes, stacklevel=4)
        return np.ascontiguousarray(user_codes), np.ascontiguousarray(item_codes), scalar

    def _mean(self, user_codes: Array, item_codes: Array, clip: bool) -> Array:
        """Predictions of pairs of codes."""
        out = _predicted(
            user_codes, item_codes, self._user_table, self._item_table,
            (self._user_prior.unknown, self._item_prior.unknown), self._k, self.mean_,
            _threads.resolve(self.n_jobs) if len(user_codes) > 10_000 else 1,
        )  # fmt: skip
        if clip:
            np.clip(out, *self.rating_range_, out=out)
        return out

    def _uncertain(self) -> Uncertainty:
        """How sure the model is."""
        if self._uncertainty is None:
            if self._errors is None:
                raise ValueError(
                    "the model does not hold its training errors, so it cannot tell how sure it is: a file or pickle of a model "
                    "that rows were folded into has none, nor has a file written by an earlier version. Fit again, or load "
                    "the model as it was fitted and fold in anew."
                )
            users, items, (of_users, of_items, shape) = self._user_table, self._item_table, self._errors
            indptr, indices = self._seen_indptr, self._seen_indices
            self._uncertainty = Uncertainty(
                Posterior(lambda: Evidence(indptr, indices, items, users, self._user_prior, of_users), self._k),
                Posterior(lambda: by_item(indptr, indices, users, items, self._item_prior, of_items), self._k),
                self._k,
                shape,
            )
        return self._uncertainty

    def _variances(self, user_codes: Array, item_codes: Array) -> tuple[Array, Array]:
        """The variances of the ratings of pairs of codes: noise, and what is not known."""
        return self._uncertain().of_pairs(user_codes, item_codes, _threads.resolve(self.n_jobs))

    def _warn_unknown(self, users: Array, items: Array | None = None, stacklevel: int = 3) -> None:
        unknown = users < 0 if items is None else (users < 0) | (items < 0)
        count = int(unknown.sum())
        if 2 * count > len(unknown):
            told = f"{int((users < 0).sum())} users" + ("" if items is None else f" and {int((items < 0).sum())} items")
            warnings.warn(
                f"{count} of {len(unknown)} predictions know only part of their pair ({told} were not in the training "
                "ratings) and are little more than the mean: are these the ids of the training data?",
                UserWarning,
                stacklevel=stacklevel,
            )

    def recommend(
        self,
        users: Any,
        n: int = 10,
        *,
        min_ratings: int = 0,
        items: Any = None,
        exclude_rated: bool = True,
        strategy: str = "mean",
        n_std: float = 1.0,
        random_state: Any = None,
    ) -> tuple[Array, Array]:
        """
        Recommend the items with the highest predicted ratings.

        Parameters
        ----------
        users : id, or array-like of ids, shape (m,)
            Users. An unknown user gets what the prior knows: the items with the highest biases.
        n : int, default=10
            How many items a user.
        min_ratings : int, default=0
            Leave out items with fewer training ratings. The predictions that err least on average are not the ones
            that head a list: little-rated items have the least certain ones.
        items : array-like of ids, default=None
            Recommend among these only. Default: all items.
        exclude_rated : bool, default=True
            Leave out the items that the user rated in the training ratings.
        strategy : {"mean", "lower", "upper", "thompson"}, default="mean"
            What an item is judged by. "mean": its predicted rating. "lower" and "upper": that minus and plus `n_std`
            standard deviations of what more ratings would tell (the noise of ratings plays no part): "lower" is cautious,
            "upper" tries what may be good. "thompson": its rating in a draw from the posterior, the same draw for all
            users of a call, which tries items as often as they may be the best. All but "mean" take as long as an
            iteration, or where there are many users, "lower" and "upper", much longer: (n_users + 1) n_items k^2.
        n_std : float, default=1.0
            For "lower" and "upper".
        random_state : int, Generator, RandomState or None, default=None
            For "thompson". An int gives the same draw at each call.

        Returns
        -------
        ids : ndarray, shape (n,) or (m, n)
            Items, best first; equal scores in ascending order of ids. Where fewer than `n` items are left, the
            rest is padded with -1 (``""`` where ids are strings) and a score of NaN.
        scores : ndarray of float64, shape (n,) or (m, n)
            What the items were judged by, in rating units; not clipped, so that the best remain distinguishable.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        TypeError
            If ids are of another kind than those the model was fitted to.
        ValueError
            If `n` is less than 1, an id in `items` is unknown, or there is no such strategy.

        References
        ----------
        O. Chapelle, L. Li, "An empirical evaluation of Thompson sampling", NIPS 2011, pages 2249-2257; L. Li, W. Chu,
        J. Langford, R. Schapire, "A contextual-bandit approach to personalized news article recommendation", WWW 2010, pages
        661-670 (the upper limit).
        """
        check_is_fitted(self, "mean_")
        n = _check.integer("n", n, 1)
        n_std = _check.real("n_std", n_std)
        if strategy not in STRATEGIES:
            raise ValueError(f'strategy is {strategy!r}; it must be "mean", "lower", "upper" or "thompson"')
        codes = np.asarray(self._users.codes(users, "users"))
        self._warn_unknown(np.atleast_1d(codes))
        allowed = self._allowed(min_ratings, items)
        # The last row is that of somebody of whom nothing is known.
        k, table = self._k, self._user_table
        rows = np.atleast_1d(codes)
        stranger = np.zeros(k + 1) if self._user_prior.unknown is None else self._user_prior.unknown
        if strategy in ("lower", "upper"):
            found, scores = self._limits(rows, n, allowed, exclude_rated, n_std if strategy == "upper" else -n_std)
            ids = self._named(found)
            return (ids[0], scores[0]) if codes.ndim == 0 else (ids, scores)
        drawn = None  # the items' draws
        if strategy == "thompson":
            table, drawn, stranger = self._drawn(rows, allowed, random_state)
        base = np.where(rows >= 0, table[rows, k], stranger[k]).astype(np.float64) + self.mean_
        indptr = self._seen_indptr if exclude_rated else self._seen_indptr[:0]
        if (rows < 0).any():
            known, inverse = np.unique(rows[rows >= 0], return_inverse=True)
            small = aligned(len(known) + 1, table.shape[1], table.dtype)
            small[:-1] = table[known]
            small[-1, : k + 1] = stranger
            seen = [self._seen(code) for code in known] if exclude_rated else []
            indptr = np.concatenate([[0], np.cumsum([len(s) for s in seen]), [sum(map(len, seen))]]).astype(np.int64)
            indptr = indptr if exclude_rated else indptr[:0]
            indices = np.concatenate([*seen, np.empty(0, np.int32)])
            places = np.full(len(rows), len(known), np.int32)
            places[rows >= 0] = inverse
            found, scores = self._top_n(places, small, indptr, indices, n, allowed, item_table=drawn)
        else:
            seen_indices = self._seen_indices
            found, scores = self._top_n(
                rows.astype(np.int32), table, indptr, seen_indices, n, allowed, item_table=drawn
            )
        ids, scores = self._named(found), scores + base[:, None]
        return (ids[0], scores[0]) if codes.ndim == 0 else (ids, scores)

    def _drawn(
        self, rows: Array, allowed: npt.NDArray[np.bool_] | None, random_state: Any
    ) -> tuple[Array, Array, Array]:
        """One draw from the posterior: of the users asked for, of the allowed items, and of a stranger."""
        n_threads, known = _threads.resolve(self.n_jobs), self._uncertain()
        generator = _check.generator(random_state)
        seed = int(generator.integers(2**63))
        sigma = float(np.sqrt(known.noise(n_threads).sigma2))
        wanted = np.zeros(len(self._users), bool)
        wanted[rows[rows >= 0]] = True
        if allowed is None:
            allowed = np.ones(len(self._items), bool)
        users = known.users.draw(wanted, self.mean_, sigma, seed, 0, n_threads)
        items = known.items.draw(allowed, self.mean_, sigma, seed, 1, n_threads)
        return users, items, known.users.draw_stranger(sigma, generator)

    def _limits(
        self, rows: Array, n: int, allowed: npt.NDArray[np.bool_] | None, exclude_rated: bool, n_std: float
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Codes and scores of the n allowed items with the highest prediction plus `n_std` standard deviations."""
        n_threads, known = _threads.resolve(self.n_jobs), self._uncertain()
        items = np.arange(len(self._items)) if allowed is None else np.flatnonzero(allowed)
        width = min(n, len(items))
        found, scores = np.full((len(rows), n), -1, np.int32), np.full((len(rows), n), np.nan)
        step = max(1, BLOCK // max(1, len(items)))
        for start in range(0, len(rows) if width else 0, step):
            users = rows[start : start + step]
            pair_users = np.repeat(users, len(items)).astype(np.int32)
            pair_items = np.tile(items, len(users)).astype(np.int32)
            mean = self._mean(pair_users, pair_items, False).reshape(len(users), len(items))
            score = mean + n_std * np.sqrt(known.of_all(users, items, n_threads))
            for place, user in enumerate(users):
                if exclude_rated and user >= 0:
                    score[place, np.isin(items, self._seen(user))] = -np.inf
            # Equal scores in ascending order of ids.
            best = np.argsort(-score, axis=1, kind="stable")[:, :width]
            top = np.take_along_axis(score, best, 1)
            left = top > -np.inf
            found[start : start + step, :width] = np.where(left, items[best], -1)
            scores[start : start + step, :width] = np.where(left, top, np.nan)
        return found, scores

    def _seen(self, code: int) -> Array:
        """Codes of the items that a user rated."""
        return self._seen_indices[self._seen_indptr[code] : self._seen_indptr[code + 1]]

    def _allowed(self, min_ratings: int, items: Any) -> npt.NDArray[np.bool_] | None:
        """Which items may appear in a list; None for all."""
        if _check.integer("min_ratings", min_ratings, 0) == 0 and items is None:
            return None
        allowed = self.item_counts_ >= min_ratings
        if items is not None:
            codes = np.atleast_1d(self._items.codes(items, "items"))
            if (codes < 0).any():
                first = int(np.flatnonzero(codes < 0)[0])
                raise ValueError(
                    f"items: the id in place {first} is not among the {len(self._items)} training items; leave it out"
                )
            listed = np.zeros(len(allowed), bool)
            listed[codes] = True
            allowed = allowed & listed
        return np.asarray(allowed)

    def _named(self, codes: Array) -> Array:
        """Own ids of codes, padded where a code is -1."""
        values = self._items.values
        if values.dtype == np.uint64 and (codes < 0).any():
            # -1 has no place among unsigned ids; where they allow it they become signed.
            if int(values[-1]) > np.iinfo(np.int64).max:
                raise ValueError(
                    f"fewer than n items are left for place {int(np.argmax((codes < 0).any(axis=1)))}, and -1, which marks "
                    "that, is no unsigned id: ask for a smaller n"
                )
            values = values.astype(np.int64)
        ids = values[codes]
        if (codes < 0).any():  # asked first: assigning -1 to unsigned ids fails even where there is no place for it
            ids[codes < 0] = "" if values.dtype.kind == "U" else -1
        return ids

    def _top_n(
        self,
        rows: npt.NDArray[np.int32],
        table: Array,
        seen_indptr: Array,
        seen_indices: Array,
        n: int,
        allowed: npt.NDArray[np.bool_] | None,
        *,
        item_table: Array | None = None,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Codes and scores of the n allowed items with the highest p . q + bias, -1 and NaN where there are none."""
        n_threads = _threads.resolve(self.n_jobs)
        k, dtype = self._k, table.dtype
        if item_table is not None:
            packed, bias = _packed(item_table, k, n_threads)
        else:
            if self._packed is None:
                self._packed = _packed(self._item_table, k, n_threads)
            packed, bias = self._packed
        if allowed is not None:
            bias = np.where(np.append(allowed, np.zeros(len(bias) - len(allowed), bool)), bias, dtype.type(-np.inf))
        m, width = len(rows), min(n, len(self._items))
        found = np.full((m, n), -1, np.int32)
        scores = np.full((m, n), np.nan)
        if m:
            # Fewer users than threads: each thread takes a slice of the items, and the best of every slice are merged.
            n_slices = max(1, min(n_threads // m, len(packed)))
            top_items = np.empty((n_slices * m, width), np.int32)
            top_scores = np.empty((n_slices * m, width), dtype)
            work = workspace(min(n_threads, n_slices * m), _core.top_n_workspace(k), dtype)
            _core.top_n(rows, table, packed, bias, seen_indptr, seen_indices, n_slices, work, top_items, top_scores)
            if n_slices > 1:
                top_items, top_scores = _merged(top_items, top_scores, n_slices)
            found[:, :width] = top_items
            scores[:, :width] = np.where(top_items >= 0, top_scores, np.nan)
        return found, scores

    # ------------------------------------------------------------------------------------------------------------
    # Users and items that come after the fit

    def fold_in(
        self, R: Any = None, y: Any = None, sample_weight: Any = None, *, side: str = "user", features: Any = None
    ) -> Self:
        """
        A model that knows users, or items, who were not there when this one was fitted.

        Each is one row solve, as in a half-sweep of the fit, with the other side as it is; its prior mean is learned from
        what is known: features, and where the model was fitted with `implicit` the items it rated.

        Parameters
        ----------
        R, y, sample_weight
            Ratings as `fit` takes them, all that there are of these users (or items); None where there are none.
        side : {"user", "item"}, default="user"
            Whose rows are new. The ids of the other side must be known.
        features : sparse matrix, array or data frame, default=None
            Features of the new rows, of the kind the model was fitted with. Arrays are aligned with the users of `R`, in
            ascending order (with 0 to n - 1 where there is no `R`). Default: nothing is known but ratings.

        Returns
        -------
        model : like this one
            It predicts and recommends as ever. With `side` "user", for the new users alone, and shares the items, so that
            it takes no longer than the row solves; with "item", for all users and both old and new items. An id that was
            there before is replaced: give all of its ratings.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        ValueError
            If an id of the other side is unknown, if neither ratings nor features are given, or if features are given
            to a model that was fitted without.
        numpy.linalg.LinAlgError
            Where a row has no unique solution, which needs a regularisation of 0.

        Examples
        --------
        >>> from alsx import FactorALS
        >>> R = [("ann", 7), ("bob", 7), ("ann", 3), ("cat", 3)]
        >>> model = FactorALS(k=2, random_state=0).fit(R, [4.5, 3.0, 5.0, 4.0])
        >>> newcomer = model.fold_in([("dan", 7)], [3.5])
        >>> ids, stars = newcomer.recommend("dan", n=1)
        >>> ids
        array([3])
        """
        check_is_fitted(self, "mean_")
        if side not in SIDES:
            raise ValueError(f'side is {side!r}; it must be "user" or "item"')
        if R is None and features is None:
            raise ValueError("R and features are both None: give ratings of the new rows, their features, or both")
        prior, encoder = (
            (self._user_prior, self._user_encoder) if side == "user" else (self._item_prior, self._item_encoder)
        )
        if features is not None and encoder is None:
            raise ValueError(
                f"features: the model was fitted without {side}_features, so it has learned nothing of them"
            )
        other = self._items if side == "user" else self._users
        table = self._item_table if side == "user" else self._user_table
        dtype, k = table.dtype, self._k
        ids, indptr, indices, values, weights = None, np.zeros(1, np.int64), np.empty(0, np.int32), table[0, :0], None
        if R is not None:
            ratings = Ratings(R, y, sample_weight=sample_weight, timestamp=False, dtype=dtype, n_jobs=self.n_jobs)
            mine, theirs = ratings.user_ids, ratings.item_ids
            rows = ratings.by_user
            if side == "item":
                mine, theirs, rows = theirs, mine, ratings.by_item
            codes = np.asarray(other.codes(theirs, "R"))
            # A sparse matrix has columns without ratings.
            used = np.unique(rows.indices)
            if (codes[used] < 0).any():
                unknown = theirs[used[codes[used] < 0][0]].item()
                what = "item" if side == "user" else "user"
                raise ValueError(
                    f"R: {what} {unknown!r} was not among the training ratings, so it can tell nothing of a new {side}: "
                    f"leave it out, or fold it in first with side={what!r}"
                )
            ids, indptr, values, weights = mine, rows.indptr, rows.values, rows.weights
            indices = codes[rows.indices]
        matrix = None
        if features is not None:
            own, encoded = encoder.transform(features, "features", side, ids)
            union = np.asarray(own if ids is None else np.union1d(ids, own))
            everyone = Ids(np.unique(union), "features")
            matrix = _placed(encoded, np.asarray(everyone.codes(own, "features")), len(everyone))
            counts = np.zeros(len(everyone), np.int64)
            if ids is not None:
                counts[everyone.codes(ids)] = np.diff(indptr)
            ids, indptr = everyone.values, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        new, errors = self._solved(side, prior, indptr, indices, values, weights, matrix, Ids(ids, side))
        # Models that do not hold their training errors can be folded into as ever.
        known = self._uncertain() if self._uncertainty is not None or self._errors is not None else None
        if side == "user" and self._packed is None:
            self._packed = _packed(
                self._item_table, k, _threads.resolve(self.n_jobs)
            )  # once, for all newcomers to come
        model = type(self).__new__(type(self))
        model.__dict__.update(self.__dict__)
        model._errors = model._uncertainty = None
        evidence = Evidence(indptr, indices, table, new, prior, errors)
        if side == "user":
            if known is not None:
                model._uncertainty = known.with_users(evidence)
            model._users, model._user_table = Ids(ids, "users"), new
            # What it says of an item that one of them rated it was never learned.
            model._item_prior = _spread(self._item_prior, np.empty(0, np.int64), len(new))
            model.user_counts_ = np.diff(indptr)
            order = np.lexsort((indices, np.repeat(np.arange(len(new)), np.diff(indptr))))
            model._seen_indptr, model._seen_indices = indptr, indices[order]
            return model
        model._add_items(Ids(ids, "items"), new, indptr, indices)
        if known is not None:
            old, added = np.asarray(model._items.codes(self._items.values)), np.asarray(model._items.codes(ids))
            model._uncertainty = known.with_items(evidence, old, added, model._item_table)
        return model

    def _solved(
        self,
        side: str,
        prior: Prior,
        indptr: Array,
        indices: Array,
        values: Array,
        weights: Array | None,
        features: Any,
        ids: Ids,
    ) -> tuple[Array, Array]:
        """A table of rows given their ratings, in rating units, and their squared errors."""
        table = self._item_table if side == "user" else self._user_table
        dtype, k, n = table.dtype, self._k, len(indptr) - 1
        counts = np.diff(indptr)
        mass = masses(indptr, weights)
        out, means = factor_table(n, k, dtype), factor_table(n, k, dtype)
        means[:, : k + 1] = prior.means(indptr, indices, features, k)
        precision = table[:0]
        if prior.precision is not None:
            precision = full_precision(prior.precision, dtype)
        loss = np.zeros((n, 2))
        jobs = row_tasks(counts, k)
        work = workspace(min(_threads.resolve(self.n_jobs), max(1, n)), _core.row_workspace(k, dtype.itemsize), dtype)

        systems = RowSystems(
            indptr, indices, values, values[:0] if weights is None else weights, self.mean_, 1.0, table, k, prior.reg,
            prior.reg_bias, scales(mass, prior.exponent), 1.0, precision, means,
        )  # fmt: skip

        def call(starts: npt.NDArray[np.int64], mine: Array) -> int:
            return _core.solve_rows(systems, starts, jobs.order, mine, out, loss)

        if n and _threads.run_tasks(call, jobs.starts, work):
            first = int(np.flatnonzero(np.isnan(loss[:, 0]))[0])
            raise np.linalg.LinAlgError(_singular(side, ids.values[first].item(), first, 1))
        return out, loss[:, 0]

    def _add_items(self, ids: Ids, table: Array, indptr: Array, users: Array) -> None:
        """Take in new items, each rated by some of the users; those of ids that were there are replaced."""
        old, n_users = self._items, len(self._users)
        union = Ids(np.union1d(old.values, ids.values), "items")
        from_old, from_new = np.asarray(union.codes(old.values)), np.asarray(union.codes(ids.values))
        counts = np.zeros(len(union), np.int64)
        counts[from_old] = self.item_counts_
        counts[from_new] = np.diff(indptr)
        whole = factor_table(len(union), self._k, table.dtype)
        whole[from_old, : self._k + 1] = self._item_table[:, : self._k + 1]
        whole[from_new, : self._k + 1] = table[:, : self._k + 1]
        seen_users = np.repeat(np.arange(n_users, dtype=np.int32), np.diff(self._seen_indptr))
        seen_items = from_old[self._seen_indices]
        kept = ~np.isin(seen_items, from_new)
        pairs = (
            np.concatenate([seen_users[kept], users]),
            np.concatenate([seen_items[kept], np.repeat(from_new, np.diff(indptr))]),
        )
        seen = scipy.sparse.csr_array((np.ones(len(pairs[0]), bool), pairs), shape=(n_users, len(union)))
        seen.sort_indices()
        self._items, self._item_table, self.item_counts_, self._packed = union, whole, counts, None
        self._user_prior = _spread(self._user_prior, from_old, len(union))
        self._seen_indptr, self._seen_indices = seen.indptr.astype(np.int64), seen.indices.astype(np.int32)
        self.user_counts_ = np.diff(self._seen_indptr)

    # ------------------------------------------------------------------------------------------------------------
    # Files and pickles

    def __getstate__(self) -> Any:
        state = dict(super().__getstate__())
        for name in ("_packed", "_uncertainty"):  # found anew
            if name in state:
                state[name] = None
        return state

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        if "mean_" in self.__dict__:
            self.__dict__.setdefault("_errors", None)  # in pickles of earlier versions
            self.__dict__.setdefault("_uncertainty", None)
        for name in ("_user_table", "_item_table"):
            if name in self.__dict__:
                # Kernels need the room behind the last row, which a pickle does not keep.
                self.__dict__[name] = _roomy(self.__dict__[name])

    def _told(self, side: str) -> dict[str, Any]:
        """What a file's text says of a side's prior; arrays apart."""
        encoder = getattr(self, f"_{side}_encoder")
        numbers = {name: x for name, x in getattr(self, f"_{side}_prior")._asdict().items() if isinstance(x, float)}
        return {"encoder": None if encoder is None else encoder.state(), **numbers}

    def save(self, path: str | os.PathLike[str]) -> None:
        """
        Write the fitted model to a NumPy ``.npz`` file, without pickle.

        Parameters
        ----------
        path : path-like
            The file; it is written beside it and moved into place, so that an interruption leaves the old one.

        See Also
        --------
        alsx.load : reads it back.
        """
        check_is_fitted(self, "mean_")
        parameters = self.get_params()
        if not isinstance(parameters.get("random_state"), (int, type(None))):
            parameters["random_state"] = None  # a generator's state is no parameter of a fitted model
        parameters = {name: _plain(value) for name, value in parameters.items()}
        about = {
            "format": FORMAT,
            "version": __version__,
            "model": type(self).__name__,
            "parameters": parameters,
            "history": self.history_,
            "mean": self.mean_,
            "rating_range": self.rating_range_,
            "k": self._k,
            "priors": {side: self._told(side) for side in SIDES},
        }
        maps: dict[str, Any] = {
            f"{side}_{name}": part
            for side in SIDES
            for name, part in getattr(self, f"_{side}_prior")._asdict().items()
            if isinstance(part, np.ndarray)
        }
        maps |= self._more()
        path = Path(path)
        # Not by tempfile, whose files only their owner may read.
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
        try:
            with temporary.open("xb") as file:
                np.savez(
                    file,
                    about=np.array(json.dumps(about)),
                    user_ids=self._users.values,
                    item_ids=self._items.values,
                    user_table=self._user_table[:, : self._k + 1],
                    item_table=self._item_table[:, : self._k + 1],
                    seen_indptr=self._seen_indptr,
                    seen_indices=self._seen_indices,
                    item_counts=self.item_counts_,
                    **maps,
                    **({} if self._errors is None else {f"errors_{x}": y for x, y in self._errors._asdict().items()}),
                )
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _predicted(
    users: Array,
    items: Array,
    user_table: Array,
    item_table: Array,
    unknown: tuple[Array | None, Array | None],
    k: int,
    mean: float,
    n_threads: int,
) -> Array:
    """Predictions of pairs of codes; rows of codes -1 are `unknown`, (k+1,) for users and for items."""
    out = np.empty(len(users))
    _core.predict_pairs(users, items, user_table, item_table, k, mean, n_threads, out)
    for codes, others, row, table in (
        (users, items, unknown[0], item_table),
        (items, users, unknown[1], user_table),
    ):
        if row is not None:
            lone = np.flatnonzero((codes < 0) & (others >= 0))
            out[lone] += row[k] + table[others[lone], :k].astype(np.float64) @ row[:k]
    nobody = np.flatnonzero((users < 0) & (items < 0))
    if len(nobody):
        u, i = (np.zeros(k + 1) if row is None else row for row in unknown)
        out[nobody] += u[k] + i[k] + u[:k] @ i[:k]
    return out


def _singular(side: str, name: Any, row: int, count: int) -> str:
    return (
        f"the equations of {side} {name!r} (row {row}"
        + (f", the first of {count}" if count > 1 else "")
        + ") are singular: it has too few ratings for its unknowns without regularisation. "
        "Give reg and reg_bias larger values (the defaults serve most data)."
    )


def _packed(table: Array, k: int, n_threads: int) -> tuple[Array, Array]:
    """The items' factors in the order that top-n reads them, and their biases, -inf behind the last item."""
    block = _core.top_n_block()
    n_blocks = -(-len(table) // block)
    packed = aligned(n_blocks * max(k, 1), block, table.dtype)[: n_blocks * k].reshape(n_blocks, k, block)
    _core.pack_items(table, k, packed, n_threads)
    bias = aligned(1, n_blocks * block, table.dtype)[0]
    bias[: len(table)] = table[:, k]
    bias[len(table) :] = -np.inf
    return packed, bias


def _merged(items: Array, scores: Array, n_slices: int) -> tuple[Array, Array]:
    """The best of lists, one a slice of the items and a user: shapes (n_slices * m, n) to (m, n)."""
    m, n = len(items) // n_slices, items.shape[1]
    items = items.reshape(n_slices, m, n).swapaxes(0, 1).reshape(m, n_slices * n)
    scores = scores.reshape(n_slices, m, n).swapaxes(0, 1).reshape(m, n_slices * n)
    best = np.lexsort((items, -scores), axis=1)[:, :n]
    return np.take_along_axis(items, best, 1), np.take_along_axis(scores, best, 1)


def _roomy(table: Array) -> Array:
    """A copy of a table that kernels may read a vector beyond."""
    piece = 32 // table.dtype.itemsize
    copy = aligned(len(table), -(-table.shape[1] // piece) * piece, table.dtype)
    copy[:, : table.shape[1]] = table
    return copy


def _plain(value: Any) -> Any:
    """A parameter as JSON can hold it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, list, np.ndarray)):
        return [_plain(x) for x in value]
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    return np.dtype(value).name  # the only other kind of parameter is a dtype


def load(path: str | os.PathLike[str]) -> Recommender:
    """
    Read a model that `save` wrote.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    model : BiasALS or FactorALS
        Fitted; it predicts the same bits.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a whole model that this version can read.
    """
    path = Path(path)
    with path.open("rb") as file:
        try:
            with np.load(file, allow_pickle=False) as arrays:
                stored = {name: arrays[name] for name in arrays.files}
            about = json.loads(str(stored["about"]))
            # Asked first: a later version may have other arrays and parameters.
            newer = about["format"] > FORMAT
            model = None if newer else _restored(about, stored)
        except Exception as error:
            raise ValueError(f"{path} is not a whole model file written by alsx: {error}") from error
    if model is None:
        raise ValueError(f"{path} was written by alsx {about['version']}, which is newer than this one: upgrade alsx")
    return model


def _restored(about: dict[str, Any], stored: dict[str, Array]) -> Recommender:
    """A model from a file's content, once it is certain that kernels stay within its arrays."""
    missing = [name for name in STORED if name not in stored]
    if missing:
        raise ValueError(f"it holds no {missing[0]}")
    # JSON has no tuples.
    parameters = {name: tuple(x) if isinstance(x, list) else x for name, x in about["parameters"].items()}
    model = Recommender.kinds[about["model"]](**parameters)
    model.mean_, model.history_, model._k = float(about["mean"]), about["history"], _check.integer("k", about["k"], 0)
    low, high = about["rating_range"]
    model.n_iter_, model.rating_range_ = len(model.history_["loss"]), (float(low), float(high))
    model._users, model._items = Ids(stored["user_ids"], "users"), Ids(stored["item_ids"], "items")
    n_users, n_items = len(model._users), len(model._items)
    dtype = _check.float_dtype("the type of user_table", stored["user_table"].dtype)
    indptr, indices = stored["seen_indptr"], stored["seen_indices"]
    for name, shape, kind in (
        ("user_table", (n_users, model._k + 1), dtype),
        ("item_table", (n_items, model._k + 1), dtype),
        ("seen_indptr", (n_users + 1,), np.int64),
        ("seen_indices", indices.shape[:1], np.int32),
        ("item_counts", (n_items,), np.int64),
    ):
        if stored[name].shape != shape or stored[name].dtype != kind:
            raise ValueError(f"its {name} is {stored[name].dtype} of shape {stored[name].shape}, not {kind} of {shape}")
    if indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        raise ValueError("its seen_indptr does not ascend from 0 to the number of ratings")
    ascends = np.diff(indices) > 0
    starts = indptr[1:-1]
    ascends[starts[(starts > 0) & (starts < len(indices))] - 1] = True  # from one row to the next
    if not ascends.all() or (len(indices) and (indices.min() < 0 or indices.max() >= n_items)):
        raise ValueError("its seen_indices are not items in ascending order")
    model._user_table, model._item_table = _roomy(stored["user_table"]), _roomy(stored["item_table"])
    model._seen_indptr, model._seen_indices = indptr, indices
    for side in SIDES:
        prior, encoder = _restored_prior(about, stored, side, model._k)
        setattr(model, f"_{side}_prior", prior)
        setattr(model, f"_{side}_encoder", encoder)
    model.item_counts_, model.user_counts_ = stored["item_counts"], np.diff(indptr)
    model._packed = model._uncertainty = model._errors = None
    if "errors_user" in stored:
        model._errors = Errors(*(stored[f"errors_{name}"] for name in Errors._fields))
        for name, shape in (("user", (n_users,)), ("item", (n_items,)), ("shape", (LEVELS,))):
            found = getattr(model._errors, name)
            if found.shape != shape or found.dtype != np.float64:
                raise ValueError(f"its errors_{name} is {found.dtype} of shape {found.shape}, not float64 of {shape}")
    model._restore_more(stored)
    return model


def _encoded(features: Any, side: str, ratings: Ratings) -> tuple[Any, Ratings, scipy.sparse.csr_array]:
    """The encoder of a side's features, the ratings among all ids, and the features of every row, 1 at the end."""
    from alsx.features import FeatureEncoder

    name = f"{side}_features"
    ids = Ids(ratings.user_ids if side == "user" else ratings.item_ids, name)
    encoder, own, matrix = FeatureEncoder.fit(features, name, ids)
    if (np.asarray(ids.codes(own, name)) < 0).any():
        ids = Ids(np.union1d(ids.values, own), name)
        ratings = ratings.with_ids(**{f"{side}s": ids})
    return encoder, ratings, _placed(matrix, np.asarray(ids.codes(own, name)), len(ids))


def _spread(prior: Prior, places: Array, n: int) -> Prior:
    """A prior for which the other side has n rows, the first of its old ones in these places; new ones tell nothing."""
    if prior.implicit is None:
        return prior
    implicit = np.zeros((n, prior.implicit.shape[1]), prior.implicit.dtype)
    implicit[places] = prior.implicit[: len(places)]
    return prior._replace(implicit=implicit)


def _placed(matrix: Any, codes: Array, n: int) -> scipy.sparse.csr_array:
    """Features with a 1 at the end as rows `codes` of n; the others are zeros."""
    rows = scipy.sparse.coo_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n, len(codes)))
    ones = scipy.sparse.csr_array(np.ones((len(codes), 1)))
    return (rows.tocsr() @ scipy.sparse.hstack([matrix, ones], format="csr")).tocsr()


def _restored_prior(about: dict[str, Any], stored: dict[str, Array], side: str, k: int) -> tuple[Prior, Any]:
    """What is expected of a side's later rows, and the encoder of its features; files of format 1 do not say."""
    if about["format"] < 2:
        raise ValueError("it was written by a version of before the first release: fit the model again")
    told = dict(about["priors"][side])
    state = told.pop("encoder")
    others = len(stored["item_ids" if side == "user" else "user_ids"])
    features = None
    if state is not None:
        from alsx.features import FeatureEncoder

        features = FeatureEncoder.from_state(state)
    f = None if features is None else len(features.names) + 1
    shapes = {"precision": (k + 1, k + 1), "mean": (k + 1,), "implicit": (others, k + 1), "features": (f, k + 1)}
    shapes |= {"cold": shapes["features"], "unknown": (k + 1,)}
    arrays: dict[str, Any] = {name: stored[f"{side}_{name}"] for name in shapes if f"{side}_{name}" in stored}
    for name, array in arrays.items():
        if array.shape != shapes[name] or array.dtype.kind != "f":
            raise ValueError(f"its {side}_{name} is {array.dtype} of shape {array.shape}, not floats of {shapes[name]}")
    arrays |= {name: float(x) for name, x in told.items()}
    return Prior(**arrays), features


class _Progress:
    """Progress of a fit on standard error: a bar with `verbose` 1, a line an iteration with 2."""

    def __init__(self, name: str, max_iter: int, verbose: int) -> None:
        self.name, self.max_iter, self.verbose = name, max_iter, verbose
        self.bar: Any = None

    def __enter__(self) -> Callable[[Iteration], None]:
        if self.verbose == 1:
            from tqdm import tqdm

            self.bar = tqdm(total=self.max_iter, desc=self.name, unit="iteration", file=sys.stderr)
        return self.report

    def report(self, reached: Iteration) -> None:
        told = {"train RMSE": f"{reached.train_rmse:.4f}"}
        if reached.test_rmse is not None:
            told["test RMSE"] = f"{reached.test_rmse:.4f}"
        if self.bar is not None:
            self.bar.set_postfix(told, refresh=False)
            self.bar.update()
        elif self.verbose > 1:
            line = ", ".join(f"{name} {value}" for name, value in told.items())
            print(
                f"{self.name} {reached.number}/{self.max_iter}: loss {reached.loss:.6g}, {line}, {reached.seconds:.3f} s",
                file=sys.stderr,
                flush=True,
            )

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            # The fit may have converged before.
            self.bar.total = self.bar.n
            self.bar.refresh()
            self.bar.close()

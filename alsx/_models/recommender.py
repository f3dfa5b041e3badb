"""The base of the estimators: what every fitted model can do, by thin methods over its parts."""

from __future__ import annotations

import os
import warnings
from typing import IO, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from alsx import _check, _threads
from alsx._models import persistence, top_n
from alsx._models.fold_in import fold_in
from alsx._models.seen import count_items
from alsx._models.side import FittedSide, Packed
from alsx._models.state import ModelState
from alsx._models.training import Run, Specification, fitted_uncertainty, train
from alsx._solver import SIDES
from alsx._solver.posterior import CHUNK_PAIRS
from alsx._solver.prediction import predict_codes
from alsx._solver.uncertainty import Uncertainty, deviations
from alsx.ratings import Caller, Ratings, id_pairs

Array = npt.NDArray[Any]

# What messages call the pairs that `predict` is given.
PAIRS = Caller("users", options="Ratings")

STRATEGIES = ("mean", "lower", "upper", "thompson")

# Fewer predictions than this are not worth sharing between threads.
MIN_SHARED_PREDICTIONS = 10_000


class Recommender(BaseEstimator):  # type: ignore[misc]
    """A model of ratings: global mean, biases of users and items and, where k > 0, factors of both.

    The base of all estimators; it has no constructor of its own. A subclass says by `_specification` what its parameters ask
    for. A fitted model is `_users` and `_items` (`FittedSide`), `_seen` (the ratings it has seen, by user), `mean_`,
    `_uncertainty` and, of a sampler, `_chain`; all of them are plain data that never change.
    """

    kinds: ClassVar[dict[str, type[Recommender]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Recommender.kinds[cls.__name__] = cls

    # Parameters of every model; a subclass's constructor sets them.
    random_state: Any
    n_jobs: int | None
    verbose: int

    def _specification(self) -> Specification:
        """Return what the parameters ask for, once they are checked."""
        raise NotImplementedError

    def fit(self, R: Any, y: Any = None, sample_weight: Any = None, *, eval_set: Any = None) -> Self:
        """Fit the model to ratings.

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
            For parameters and data that cannot be used; the message names the argument, the first offending place
            and the remedy.
        numpy.linalg.LinAlgError
            Where a row's equations have no unique solution, which needs a regularisation of 0 or next to it.
        FloatingPointError
            Where numbers leave the range of their type, which needs absurdly large ratings or weights.
        """
        return self._fit(R, y, sample_weight, eval_set)

    def _fit(self, R: Any, y: Any, sample_weight: Any, eval_set: Any, features: tuple[Any, Any] = (None, None)) -> Self:
        """Fit the model; `features` are those of users and of items."""
        specification = self._specification()
        run = Run(
            _check.generator(self.random_state),
            self._n_threads(),
            self.n_jobs,
            _check.integer("verbose", int(self.verbose) if isinstance(self.verbose, bool) else self.verbose, 0),
        )
        fitted = train(specification, R, y, sample_weight, eval_set, features, run)
        # All at once and last, so that an interrupted fit leaves the model as it was.
        users, items = fitted.penalties
        state = ModelState(
            fitted.mean,
            fitted.rating_range,
            fitted.history,
            fitted.users,
            fitted.items,
            fitted.seen,
            fitted_uncertainty(fitted.users, fitted.items, fitted.seen, fitted.errors),
            fitted.chain,
            (users.reg, items.reg),
            (users.reg_bias, items.reg_bias),
            fitted.users.ids.values[:0],
            fitted.missing,
        )
        self._set_state(state, fitted.items.counts)
        return self

    def _set_state(self, state: ModelState, item_counts: npt.NDArray[np.int64] | None = None) -> None:
        """Make this the fitted model of that state; the items' counts are found where they are not given."""
        self.mean_ = state.mean
        self.rating_range_ = state.rating_range
        self.history_ = state.history
        self.n_iter_ = len(state.history["loss"])
        self.folded_in_ids_ = state.folded_in_ids
        self.user_counts_ = np.diff(state.seen.indptr)
        self.item_counts_ = count_items(state.seen, len(state.items)) if item_counts is None else item_counts
        self._users, self._items, self._seen = state.users, state.items, state.seen
        self._uncertainty, self._chain = state.uncertainty, state.chain
        self._reg, self._reg_bias = state.reg, state.reg_bias
        self._missing = state.missing

    def _state(self) -> ModelState:
        """Return what this fitted model is."""
        return ModelState(
            self.mean_, self.rating_range_, self.history_, self._users, self._items, self._seen, self._uncertainty, self._chain,
            self._reg, self._reg_bias, self.folded_in_ids_, self._missing,
        )  # fmt: skip

    def _n_threads(self) -> int:
        """Return how many threads a call may use."""
        return _threads.resolve(self.n_jobs)

    # ------------------------------------------------------------------------------------------------------------
    # Learned

    @property
    def _k(self) -> int:
        """The rank."""
        return self._items.k

    @property
    def user_ids_(self) -> Array:
        """The users' own ids, ascending; row x of `user_factors_` belongs to ``user_ids_[x]``."""
        check_is_fitted(self, "mean_")
        return self._users.ids.values

    @property
    def item_ids_(self) -> Array:
        """The items' own ids, ascending; row x of `item_factors_` belongs to ``item_ids_[x]``."""
        check_is_fitted(self, "mean_")
        return self._items.ids.values

    @property
    def user_biases_(self) -> Array:
        """b_u in rating units, shape (n_users,)."""
        check_is_fitted(self, "mean_")
        return self._users.table[:, self._k]

    @property
    def item_biases_(self) -> Array:
        """c_i in rating units, shape (n_items,)."""
        check_is_fitted(self, "mean_")
        return self._items.table[:, self._k]

    # ------------------------------------------------------------------------------------------------------------
    # Predictions

    def predict(self, users: Any, items: Any = None, *, clip: bool = True, return_std: bool = False) -> Any:
        """Predict ratings, in rating units.

        Parameters
        ----------
        users : id or array-like of ids, shape (n,); or data frame, path, array-like of pairs (n, 2), or Ratings
            Users; or, without `items`, the pairs (user, item) to predict. Those of a data frame, of a CSV or Parquet file and of an
            array are predicted in the order of their rows, those of a `Ratings` in the order of `Ratings.triples`.
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
            knows: the mean and the bias of the known side; with `implicit_features`, the average
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
            If more than half of the pairs have an unknown user or item, as when ids of another data set are asked for; if a
            `Ratings` was made from rows in another order than that of the predictions.
        """
        user_codes, item_codes, scalar = self._pairs(users, items)
        out = self._predict_codes(user_codes, item_codes, clip)
        if not return_std:
            return float(out[0]) if scalar else out
        std = np.sqrt(sum(self._variances(user_codes, item_codes)))
        return (float(out[0]), float(std[0])) if scalar else (out, std)

    def predict_interval(self, users: Any, items: Any = None, level: float = 0.9, *, clip: bool = True) -> Any:
        """Predict within which limits ratings lie, in rating units.

        Parameters
        ----------
        users, items
            Pairs, as `predict` takes them.
        level : float, default=0.9
            The share of ratings that the limits are to hold, above 0 and below 1.
        clip : bool, default=True
            Keep the limits within the range of the training ratings, where there are enough of them to tell their noise.

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
        mean = self._predict_codes(user_codes, item_codes, clip)
        std = np.sqrt(sum(self._variances(user_codes, item_codes)))
        uncertainty = self._uncertainty_of_fit()
        half = deviations(level, uncertainty.error_shape) * std
        low, high = mean - half, mean + half
        # Where the noise is not known, nor is the range of ratings.
        if clip and np.isfinite(uncertainty.noise(self._n_threads()).sigma2):
            for limit in (low, high):
                np.clip(limit, *self.rating_range_, out=limit)
        return (float(low[0]), float(high[0])) if scalar else (low, high)

    def _pairs(self, users: Any, items: Any) -> tuple[Array, Array, bool]:
        """Return codes of pairs as `predict` takes them, and whether it is a single one."""
        check_is_fitted(self, "mean_")
        of_user, of_item = self._users.ids.codes, self._items.ids.codes
        if items is None:
            if isinstance(users, Ratings):
                if users.is_reordered:
                    warnings.warn(
                        "the predictions are in the order of Ratings.triples(), not of the rows that the Ratings was made from: "
                        "predict the file, data frame or pairs themselves to have their order",
                        UserWarning,
                        stacklevel=3,
                    )
                user_codes, item_codes, _ = users.triples()
                user_codes = np.asarray(of_user(users.user_ids))[user_codes]
                item_codes = np.asarray(of_item(users.item_ids))[item_codes]
            else:
                pairs = id_pairs(users, PAIRS, (self._users.ids.kind, self._items.ids.kind))
                user_codes, item_codes = of_user(pairs[0], "users"), of_item(pairs[1], "items")
        else:
            user_codes, item_codes = of_user(users, "users"), of_item(items, "items")
        user_codes, item_codes = np.asarray(user_codes), np.asarray(item_codes)
        scalar = user_codes.ndim == item_codes.ndim == 0
        if user_codes.ndim == item_codes.ndim == 1 and len(user_codes) != len(item_codes):
            raise ValueError(
                f"users has {len(user_codes)} ids and items {len(item_codes)}; they must be pairs, or one of them a single id"
            )
        user_codes, item_codes = np.broadcast_arrays(np.atleast_1d(user_codes), np.atleast_1d(item_codes))
        self._warn_unknown(user_codes, item_codes, stacklevel=4)
        return np.ascontiguousarray(user_codes), np.ascontiguousarray(item_codes), scalar

    def _predict_codes(self, user_codes: Array, item_codes: Array, clip: bool) -> Array:
        """Return predictions of pairs of codes."""
        out = predict_codes(
            user_codes, item_codes, self._users.table, self._items.table, self._users.cold_start_vector,
            self._items.cold_start_vector, self._k, self.mean_,
            self._n_threads() if len(user_codes) > MIN_SHARED_PREDICTIONS else 1,
        )  # fmt: skip
        if clip:
            np.clip(out, *self.rating_range_, out=out)
        return out

    def _uncertainty_of_fit(self) -> Uncertainty:
        """Return the model's uncertainty, or say why it has none."""
        if self._uncertainty is None:
            raise ValueError(
                "the model holds no training errors that it could tell its uncertainty from, as where their squares leave the "
                "range of float64 numbers: rescale the ratings and fit it again"
            )
        return self._uncertainty

    def _variances(self, user_codes: Array, item_codes: Array) -> tuple[Array, Array]:
        """Return the variances of the ratings of pairs of codes: noise, and what is not known of the two."""
        uncertainty, n_threads = self._uncertainty_of_fit(), self._n_threads()
        vectors = self._users.vectors, self._items.vectors
        parts = [
            uncertainty.of_pairs(
                user_codes[start : start + CHUNK_PAIRS], item_codes[start : start + CHUNK_PAIRS], *vectors, n_threads
            )
            for start in range(0, max(1, len(user_codes)), CHUNK_PAIRS)
        ]
        noise, epistemic = (np.concatenate(x) for x in zip(*parts, strict=True))
        return noise, epistemic

    def _warn_unknown(self, users: Array, items: Array | None = None, stacklevel: int = 3) -> None:
        """Warn where more than half of the pairs, or of the users, are unknown."""
        unknown = users < 0 if items is None else (users < 0) | (items < 0)
        count = int(unknown.sum())
        if 2 * count > len(unknown):
            which = f"{int((users < 0).sum())} users" + (
                "" if items is None else f" and {int((items < 0).sum())} items"
            )
            warnings.warn(
                f"{count} of {len(unknown)} predictions know only part of their pair ({which} were not in the training "
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
        """Recommend the items with the highest predicted ratings.

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
            Recommend among these only. Default: all items that have ratings or features.
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
            rest is padded with `alsx.ratings.Ids.missing`, which is no id, and a score of NaN.
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
        codes = np.asarray(self._users.ids.codes(users, "users"))
        rows = np.atleast_1d(codes).astype(np.int32)
        self._warn_unknown(rows)
        allowed = self._candidates(min_ratings, items)
        excluded = top_n.rated_by(self._seen) if exclude_rated else top_n.Excluded.nothing()
        if strategy in ("lower", "upper"):
            self._sigma(strategy)
            n_std = n_std if strategy == "upper" else -n_std
            lists = top_n.by_score(rows, len(self._items), lambda u, i: self._bounds(u, i, n_std), excluded, n, allowed)
        else:
            n_threads = self._n_threads()
            table, vector, packed = self._users.table, self._users.cold_start_vector, self._items.packed(n_threads)
            if strategy == "thompson":
                table, vector, packed = self._draw(rows, allowed, random_state, n_threads)
            lists = top_n.recommend_by_product(
                rows, table, vector, self._k, packed, self.mean_, excluded, n, allowed, n_threads
            )
        return self._named(self._items, lists, codes.ndim == 0)

    def _named(self, side: FittedSide, lists: top_n.Lists, single: bool) -> tuple[Array, Array]:
        """Return lists with ids instead of codes; of a `single` row without the axis of rows."""
        ids, scores = side.ids_of(lists.codes), lists.scores
        return (ids[0], scores[0]) if single else (ids, scores)

    def _bounds(self, users: Array, items: Array, n_std: float) -> Array:
        """Return predictions plus `n_std` standard deviations of what is not known, shape (len(users), len(items))."""
        pairs = np.repeat(users, len(items)).astype(np.int32), np.tile(items, len(users)).astype(np.int32)
        mean = self._predict_codes(*pairs, clip=False).reshape(len(users), len(items))
        vectors = self._users.vectors, self._items.vectors
        variances = self._uncertainty_of_fit().of_all(users, items, *vectors, self._n_threads())
        return np.asarray(mean + n_std * np.sqrt(variances))

    def _sigma(self, strategy: str) -> float:
        """Return the standard deviation of the noise, for a strategy that needs to know it."""
        sigma = float(np.sqrt(self._uncertainty_of_fit().noise(self._n_threads()).sigma2))
        if not np.isfinite(sigma):
            raise ValueError(
                f'strategy is "{strategy}", but the model was fitted to too few ratings to tell their noise: use '
                'strategy="mean", or fit it to more'
            )
        return sigma

    def _draw(
        self, rows: Array, allowed: npt.NDArray[np.bool_] | None, random_state: Any, n_threads: int
    ) -> tuple[Array, Array, Packed]:
        """Return one draw from the posterior: of the users asked for, of the cold-start vector, and of the items."""
        sigma, uncertainty = self._sigma("thompson"), self._uncertainty_of_fit()
        generator = _check.generator(random_state)
        seed = int(generator.integers(2**63))
        wanted = np.zeros(len(self._users), bool)
        wanted[rows[rows >= 0]] = True
        if allowed is None:
            allowed = np.ones(len(self._items), bool)
        users = uncertainty.users.draw(self._users.table, wanted, self.mean_, sigma, seed, 0, n_threads)
        items = uncertainty.items.draw(self._items.table, allowed, self.mean_, sigma, seed, 1, n_threads)
        vector = uncertainty.users.draw_cold_start(sigma, generator)
        return users, vector, Packed.of(items, self._k, n_threads)

    def _candidates(self, min_ratings: int, items: Any) -> npt.NDArray[np.bool_] | None:
        """Return which items may appear in a list; None for all.

        Those of which nothing is known, such as gaps between the columns of a matrix, appear only if they are asked for.
        """
        min_ratings = _check.integer("min_ratings", min_ratings, 0)
        has_data = self._items.has_data
        if min_ratings == 0 and items is None:
            return None if has_data.all() else has_data
        allowed = self.item_counts_ >= min_ratings
        if items is None:
            allowed = allowed & has_data
        else:
            codes = np.atleast_1d(self._items.ids.codes(items, "items"))
            if (codes < 0).any():
                first = int(np.flatnonzero(codes < 0)[0])
                unknown = np.atleast_1d(np.asarray(items))[first].item()
                raise ValueError(
                    f"items: {unknown!r} (place {first}) is not among the {len(self._items)} training items; leave it out"
                )
            listed = np.zeros(len(allowed), bool)
            listed[codes] = True
            allowed = allowed & listed
        return np.asarray(allowed)

    # ------------------------------------------------------------------------------------------------------------
    # Users and items that come after the fit

    def fold_in(
        self, R: Any = None, y: Any = None, sample_weight: Any = None, *, side: str = "user", features: Any = None
    ) -> Self:
        """Return a model that also knows users, or items, who were not there when this one was fitted.

        Each is one row solve, as in a half-sweep of the fit, with the other side as it is. Its prior mean is what the fit has
        learned of features and, with `implicit_features`, of rated-item sets. Where `BayesALS` was fitted, each is the mean of its
        posterior given priors at their means, and `samples_` are not carried over.

        Parameters
        ----------
        R, y, sample_weight
            Ratings as `fit` takes them, all that there are of these users (or items); None where there are none.
        side : {"user", "item"}, default="user"
            Whose rows are new. Their ids are of the kind that the model has; the ids of the other side must be known.
        features : sparse matrix, array or data frame, default=None
            Features of the new rows, of the kind the model was fitted with. Arrays are aligned with the users of `R`, in
            ascending order (with 0 to n - 1 where there is no `R`). Default: nothing is known but ratings.

        Returns
        -------
        model : like this one
            It knows old and new rows; `folded_in_ids_` are the ids of the new ones. An id that was there before is replaced, so
            give all of its ratings. All other rows predict the same bits as before. This model stays as it is. (Somebody of the fit
            who is folded in with the same ratings gets nearly the same vector: the other side has moved since his row was solved,
            and with `implicit_features` so have the prior means, of which small rated-item sets get a share.)

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
        >>> more = model.fold_in([("dan", 7)], [3.5])
        >>> ids, stars = more.recommend("dan", n=1)
        >>> ids
        array([3])
        >>> more.folded_in_ids_
        array(['dan'], dtype='<U3')
        """
        check_is_fitted(self, "mean_")
        if side not in SIDES:
            raise ValueError(f'side is {side!r}; it must be "user" or "item"')
        if R is None and features is None:
            raise ValueError("R and features are both None: give ratings of the new rows, their features, or both")
        own, other = (self._users, self._items) if side == "user" else (self._items, self._users)
        if features is not None and own.encoder is None:
            raise ValueError(
                f"features: the model was fitted without {side}_features, so it has learned nothing of them"
            )
        folded = fold_in(
            own, other, self._seen, self.mean_, self._missing, self._uncertainty, R, y, sample_weight, features, self.n_jobs,
            self._n_threads(),
        )  # fmt: skip
        model = type(self)(**self.get_params(deep=False))
        state = self._state()._replace(
            users=folded.users,
            items=folded.items,
            seen=folded.seen,
            uncertainty=folded.uncertainty,
            # Kept draws have rows for the users and items of the fit.
            chain=None if self._chain is None else self._chain._replace(samples=None),
            folded_in_ids=folded.ids,
        )
        model._set_state(state)
        return model

    def save(self, path: str | os.PathLike[str] | IO[bytes], *, with_ratings: bool = True) -> None:
        """Write the fitted model to a NumPy ``.npz`` file, without pickle.

        Parameters
        ----------
        path : path-like or binary file object
            The file, whatever its suffix; a leading ``~`` is the home folder. It is written beside it and moved into place, so
            that an interruption leaves the old one.
        with_ratings : bool, default=True
            Keep the values (and weights) of the training ratings, which explaining and updating a model need: 4 bytes per
            rating in float32. Which items a user has rated is kept in any case.

        See Also
        --------
        alsx.load : reads it back.
        """
        check_is_fitted(self, "mean_")
        arrays = persistence.arrays_of(
            type(self).__name__, self.get_params(), self._state(), self._n_threads(), with_ratings=with_ratings
        )
        persistence.save(arrays, path)


def load(path: str | os.PathLike[str] | IO[bytes]) -> Recommender:
    """Read a model that `save` wrote.

    Parameters
    ----------
    path : path-like or binary file object
        The file.

    Returns
    -------
    model : BiasALS, FactorALS, RankALS or BayesALS
        Fitted; it predicts the same bits.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a whole model that this version can read.
    """
    return persistence.read(path, _restored)


def _restored(kind: str, parameters: dict[str, Any], state: ModelState) -> Recommender:
    """Return a model of a file."""
    model = Recommender.kinds[kind](**parameters)
    model._set_state(state)
    return model

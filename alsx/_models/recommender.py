"""The base of the estimators: what every fitted model can do, by thin methods over its parts."""

from __future__ import annotations

import copy
import os
import warnings
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal, Self, overload

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from alsx import _check
from alsx._models import persistence
from alsx._models.estimator import CallbackTasks, one_column, with_callbacks
from alsx._models.explanations import Explanations
from alsx._models.fitted import FittedModel
from alsx._models.seen import count_items
from alsx._models.state import ModelState
from alsx._models.stopping import stopping_rules
from alsx._models.training import Fitted, Run, Specification, train
from alsx._models.updates import Updates
from alsx._models.vectors import Vectors
from alsx._models.warm_start import WarmStart
from alsx._solver.posterior import CHUNK_PAIRS
from alsx._solver.time_offsets import NO_TIME, PERIODS, find_groups
from alsx._solver.uncertainty import deviations
from alsx.ratings import Caller, Ratings, id_pairs, pair_times
from alsx.typing import Floats, Id, IdArray, RatingsLike

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]

# What messages call the pairs that `predict` is given.
PAIRS = Caller("users", options="Ratings")


class Recommender(Explanations, Updates, Vectors, FittedModel):
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
    # These have defaults, for models whose constructor does not offer them.
    callback: Any = None
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 3
    warm_start: bool = False
    on_interrupt: str = "raise"

    def _specification(self) -> Specification:
        """Return what the parameters ask for, once they are checked."""
        raise NotImplementedError

    def fit(
        self,
        R: RatingsLike,
        y: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        *,
        eval_set: RatingsLike | tuple[Any, Any] | None = None,
    ) -> Self:
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
            sparse, of its `by_user` where it is an `alsx.Ratings`). A rating of weight 2 counts like two. Default: all 1.
        eval_set : like `R`, or a pair (X, y), default=None
            Held-out ratings; their RMSE is added to ``history_["test_rmse"]`` after each iteration. They do not
            influence the fit, unless `early_stopping` is True.

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
        KeyboardInterrupt
            If the fit is interrupted. The model is then what it was before, as after any other error; `on_interrupt` "keep" is
            another choice.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning
            If the fit was interrupted, and `on_interrupt` is "keep".
        """
        return self._fit(R, y, sample_weight, eval_set)

    @with_callbacks
    def _fit(self, R: Any, y: Any, sample_weight: Any, eval_set: Any, features: tuple[Any, Any] = (None, None)) -> Self:
        """Fit the model; `features` are those of users and of items."""
        specification, y = self._specification(), one_column(y)
        stopping = stopping_rules(
            self.callback, self.early_stopping, self.validation_fraction, self.n_iter_no_change, self.on_interrupt
        )
        start = None
        if _check.boolean("warm_start", self.warm_start) and hasattr(self, "mean_"):
            start = WarmStart(self._users, self._items, self._times)
            start.check(specification.k)
        tasks = CallbackTasks.of(self, specification.max_iter, R, y, sample_weight, self._attributes_of)
        run = Run(
            _check.generator(self.random_state),
            self._n_threads(),
            self.n_jobs,
            _check.integer("verbose", int(self.verbose) if isinstance(self.verbose, bool) else self.verbose, 0),
            stopping,
            start,
            tasks,
        )
        fitted = train(specification, R, y, sample_weight, eval_set, features, run)
        # All at once and last, so that an interrupted fit leaves the model as it was.
        self._set_state(ModelState.of(fitted), fitted.items.counts)
        self._name_features(R)
        if fitted.is_interrupted:
            warnings.warn(
                f"the fit was interrupted after {self.n_iter_} of {specification.max_iter} iterations: the model is that of "
                f"iteration {self.best_iter_}",
                ConvergenceWarning,
                stacklevel=4,
            )
        if tasks is not None:
            tasks.finish()
        return self

    def _attributes_of(self, fitted: Fitted) -> dict[str, Any]:
        """Return the attributes that this estimator would have with a fitted model."""
        model = copy.copy(self)
        model._set_state(ModelState.of(fitted), fitted.items.counts)
        return {name: value for name, value in vars(model).items() if vars(self).get(name) is not value}

    def _set_state(self, state: ModelState, item_counts: npt.NDArray[np.int64] | None = None) -> None:
        """Make this the fitted model of that state; the items' counts are found where they are not given."""
        self.mean_ = state.mean
        self.rating_range_ = state.rating_range
        self.history_ = state.history
        self.n_iter_, self.best_iter_ = len(state.history["loss"]), state.best_iter
        self.folded_in_ids_ = state.folded_in_ids
        self.user_counts_ = np.diff(state.seen.indptr)
        self.item_counts_ = count_items(state.seen, len(state.items)) if item_counts is None else item_counts
        self._users, self._items, self._seen = state.users, state.items, state.seen
        self._uncertainty, self._chain = state.uncertainty, state.chain
        self._reg, self._reg_bias = state.reg, state.reg_bias
        self._titles = state.titles
        self._missing, self._times = state.missing, state.times

    def _state(self) -> ModelState:
        """Return what this fitted model is."""
        return ModelState(
            self.mean_, self.rating_range_, self.history_, self._users, self._items, self._seen, self._uncertainty, self._chain,
            self._reg, self._reg_bias, self.folded_in_ids_, self.best_iter_, self._titles, self._missing, self._times,
        )  # fmt: skip

    def _with_state(self, state: ModelState, item_counts: npt.NDArray[np.int64] | None = None) -> Self:
        """Return a model like this one, of another state."""
        model = type(self)(**self.get_params(deep=False))
        model._set_state(state, item_counts)
        if hasattr(self, "feature_names_in_"):
            model.feature_names_in_ = self.feature_names_in_
        return model

    # ------------------------------------------------------------------------------------------------------------
    # Predictions

    # A string is an id, and to type checkers also a sequence of strings; hence the overlaps.
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, users: Id, items: Id, *, clip: bool = True, return_std: Literal[False] = False, timestamps: Any = None
    ) -> float: ...
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, users: Id, items: Id, *, clip: bool = True, return_std: Literal[True], timestamps: Any = None
    ) -> tuple[float, float]: ...
    @overload
    def predict(
        self,
        users: Id | IdArray | RatingsLike,
        items: Id | IdArray | None = None,
        *,
        clip: bool = True,
        return_std: Literal[False] = False,
        timestamps: Any = None,
    ) -> Floats: ...
    @overload
    def predict(
        self,
        users: Id | IdArray | RatingsLike,
        items: Id | IdArray | None = None,
        *,
        clip: bool = True,
        return_std: Literal[True],
        timestamps: Any = None,
    ) -> tuple[Floats, Floats]: ...
    @overload
    def predict(
        self,
        users: Id | IdArray | RatingsLike,
        items: Id | IdArray | None = None,
        *,
        clip: bool = True,
        return_std: bool,
        timestamps: Any = None,
    ) -> Any: ...
    def predict(
        self,
        users: Any,
        items: Any = None,
        *,
        clip: bool = True,
        return_std: bool = False,
        timestamps: Any = None,
    ) -> Any:
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
            long as two or three iterations of it. Sample weights of the fit, unless they are 0, count as 1 here.
        timestamps : int, datetime, or array-like of them, shape (n,), default=None
            Of a model with `time`: when the ratings are given, as `Ratings` takes times. What the user's other ratings of that day
            (and session) have in common is added; of a day without ratings, that of the nearest day that has some. Default: the
            times of the data frame, the file or the `Ratings`, where it has any; else predictions are for the user's average day.

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
            If ids are of another kind than those the model was fitted to; if `timestamps` are no times.
        ValueError
            If there are not as many users as items; if there are not as many `timestamps`, one is missing (NaT), they are in
            another unit than those of the fit, or the model was fitted without `time`.

        Warns
        -----
        UserWarning
            If more than half of the pairs have an unknown user or item, as when ids of another data set are asked for; if a
            `Ratings` was made from rows in another order than that of the predictions.
        """
        user_codes, item_codes, scalar = self._pairs(users, items)
        times = self._times_of(users, items, timestamps, len(user_codes))
        out = self._predict_at(user_codes, item_codes, times, clip)
        if not return_std:
            return float(out[0]) if scalar else out
        std = self._deviations(user_codes, item_codes, times)
        return (float(out[0]), float(std[0])) if scalar else (out, std)

    @overload
    def predict_interval(  # type: ignore[overload-overlap]
        self, users: Id, items: Id, level: float = 0.9, *, clip: bool = True, timestamps: Any = None
    ) -> tuple[float, float]: ...
    @overload
    def predict_interval(
        self,
        users: Id | IdArray | RatingsLike,
        items: Id | IdArray | None = None,
        level: float = 0.9,
        *,
        clip: bool = True,
        timestamps: Any = None,
    ) -> tuple[Floats, Floats]: ...
    def predict_interval(
        self, users: Any, items: Any = None, level: float = 0.9, *, clip: bool = True, timestamps: Any = None
    ) -> Any:
        """Predict within which limits ratings lie, in rating units.

        Parameters
        ----------
        users, items
            Pairs, as `predict` takes them.
        level : float, default=0.9
            The share of ratings that the limits are to hold, above 0 and below 1.
        clip : bool, default=True
            Keep the limits within the range of the training ratings, where there are enough of them to tell their noise.
        timestamps : int, datetime, or array-like of them, shape (n,), default=None
            As of `predict`.

        Returns
        -------
        low, high : float, or ndarray of float64, shape (n,)
            As far below and above the prediction. How many standard deviations of `predict` that is tells the distribution
            of the training errors, each over its size by the other errors of its user and item, scaled to a standard deviation
            of 1: ratings on a few steps have more small errors, and fewer large ones, than the Gaussian. With
            ``likelihood="ordinal"`` they are quantiles of the distribution over the levels, which hold the share `level` of the
            ratings on average.

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
        times = self._times_of(users, items, timestamps, len(user_codes))
        if self._scale is not None:
            latent = self._latent_codes(user_codes, item_codes)
            low, high = self._scale.interval(latent, user_codes, level)
        else:
            mean = self._predict_at(user_codes, item_codes, times, clip)
            half = deviations(level, self._uncertainty_of_fit().error_shape) * self._deviations(
                user_codes, item_codes, times
            )
            low, high = mean - half, mean + half
        # Where the noise is not known, nor is the range of ratings.
        if clip and (
            self._scale is not None or np.isfinite(self._uncertainty_of_fit().noise(self._n_threads()).sigma2)
        ):
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

    def _times_of(self, users: Any, items: Any, given: Any, n: int) -> Array | None:
        """Return the times of n pairs as `predict` takes them, in seconds; None where there are none."""
        if given is None and items is None and self._times is not None:
            found = users.timestamps if isinstance(users, Ratings) else pair_times(users, PAIRS)
            return None if found is None else self._times.checked(found, n)
        return self._times_given(given, n, "timestamps")

    def _predict_at(self, user_codes: Array, item_codes: Array, times: Array | None, clip: bool) -> Array:
        """Return predictions of pairs of codes, at times where there are any."""
        out = self._predict_codes(user_codes, item_codes, clip=clip and times is None)
        if times is not None and self._times is not None:
            out += self._times.shifts(user_codes, times)
            if clip:
                np.clip(out, *self.rating_range_, out=out)
        return out

    def _deviations(self, user_codes: Array, item_codes: Array, times: Array | None) -> Array:
        """Return the standard deviations of the ratings of pairs of codes, at times where there are any."""
        if self._scale is not None:
            return np.asarray(np.sqrt(self._scale.variance(self._latent_codes(user_codes, item_codes), user_codes)))
        total = sum(self._variances(user_codes, item_codes))
        if self._times is not None:
            at = np.full(len(user_codes), NO_TIME) if times is None else times
            total += self._times.variances_at(find_groups(self._times.levels, user_codes, at))
        return np.asarray(np.sqrt(total))

    @property
    def time_std_(self) -> dict[str, float]:
        """The standard deviation of the offsets of each period ("day", "ten_minutes", "minute"), in rating units.

        Empty where the model was fitted without `time`.
        """
        check_is_fitted(self, "mean_")
        if self._times is None:
            return {}
        names = (PERIODS[seconds] for seconds in self._times.seconds)
        return dict(zip(names, np.sqrt(self._times.variances).tolist(), strict=True))

    @property
    def time_offsets_(self) -> pa.Table:
        """What users' ratings of one time have in common: a pyarrow table with the columns ``user``, ``period`` ("day", and of
        ``time="session"`` also "ten_minutes" and "minute"), ``start`` (when the period begins, UTC), ``n_ratings`` (weighted) and
        ``offset`` (rating units that predictions at that time have besides those without a time, all longer periods included).
        """
        check_is_fitted(self, "mean_")
        if self._times is None:
            raise AttributeError('there are no offsets of time: the model was fitted with time=None; pass time="day"')
        return self._times.table(self.user_ids_)

    def _variances(self, user_codes: Array, item_codes: Array) -> tuple[Array, Array]:
        """Return the variances of the ratings of pairs of codes: noise, and what is not known of the two."""
        uncertainty, n_threads = self._uncertainty_of_fit(), self._n_threads()
        sides = self._users, self._items
        parts = [
            uncertainty.of_pairs(
                user_codes[start : start + CHUNK_PAIRS], item_codes[start : start + CHUNK_PAIRS], *sides, n_threads
            )
            for start in range(0, max(1, len(user_codes)), CHUNK_PAIRS)
        ]
        noise, epistemic = (np.concatenate(x) for x in zip(*parts, strict=True))
        return noise, epistemic

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
        alsx.load : Reads it back.
        """
        check_is_fitted(self, "mean_")
        arrays = persistence.arrays_of(
            type(self).__name__, self.get_params(), self._state(), self._n_threads(), with_ratings=with_ratings
        )
        persistence.save(arrays, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str] | IO[bytes], *, mmap: bool = False) -> Self:
        """Read a model of this class that `save` wrote; `alsx.load` reads those of any class.

        Parameters
        ----------
        path : path-like or binary file object
            The file.
        mmap : bool, default=False
            Map the arrays of a file into memory instead of reading them, see `alsx.load`.

        Returns
        -------
        model : of this class
            Fitted; it predicts the same bits.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        TypeError
            If the file holds a model of another class.
        ValueError
            If the file is not a whole model that this version can read; if a file object is to be mapped.
        """
        model = load(path, mmap=mmap)
        if not isinstance(model, cls):
            kind = type(model).__name__
            raise TypeError(f"path is a file of a {kind}, not of a {cls.__name__}: use alsx.load or alsx.{kind}.load")
        return model


def load(path: str | os.PathLike[str] | IO[bytes], *, mmap: bool = False) -> Recommender:
    """Read a model that `save` wrote.

    Parameters
    ----------
    path : path-like or binary file object
        The file, or the folder that a model of `alsx.dask` wrote.
    mmap : bool, default=False
        Map the arrays of a file into memory instead of reading them: processes that load the same file share one copy, and what is
        not asked for need not stay in memory. All of the file is read once all the same, since every array is checked. The file
        must stay as it is (`save` to the same path is fine: it puts a new file there).

    Returns
    -------
    model : BiasALS, FactorALS, RankALS or BayesALS
        Fitted; it predicts the same bits.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a whole model that this version can read; if a file object is to be mapped.
    """
    return persistence.read(path, _restored, mmap=mmap)


def _restored(kind: str, parameters: dict[str, Any], state: ModelState) -> Recommender:
    """Return a model of a file."""
    model = Recommender.kinds[kind](**parameters)
    model._set_state(state)
    return model

"""What a fitted model is to all that it can do: attributes, ids, predictions of codes. The modules beside this one add to it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from alsx import _threads
from alsx._models.estimator import Estimator
from alsx._models.side import FittedSide
from alsx._models.state import ModelState, Titles
from alsx._models.times import TimeEffects
from alsx._solver.gibbs import Chain
from alsx._solver.missing import MissingPairs
from alsx._solver.ordinal import OrdinalScale
from alsx._solver.prediction import predict_codes
from alsx._solver.uncertainty import Uncertainty
from alsx.ratings import CSR

Array = npt.NDArray[Any]

# Fewer predictions than this are not worth sharing between threads.
MIN_SHARED_PREDICTIONS = 10_000


class FittedModel(Estimator):
    """A fitted model: two sides, the ratings seen, the mean; plain data that never change.

    The base of what `Recommender` is made of. It has no constructor of its own.
    """

    # Parameters of every model; a subclass's constructor sets them.
    n_jobs: int | None
    verbose: int

    mean_: float
    rating_range_: tuple[float, float]
    user_counts_: npt.NDArray[np.int64]
    item_counts_: npt.NDArray[np.int64]
    _users: FittedSide
    _items: FittedSide
    _seen: CSR
    _uncertainty: Uncertainty | None
    _chain: Chain | None = None
    _titles: Titles | None
    _missing: MissingPairs | None
    # Of models without offsets of time; callbacks see models of which only what a fit has changed is set.
    _times: TimeEffects | None = None

    def fit(self, R: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit the model; see the estimators."""
        raise NotImplementedError

    def _state(self) -> ModelState:
        """Return what this fitted model is."""
        raise NotImplementedError

    def _set_state(self, state: ModelState, item_counts: npt.NDArray[np.int64] | None = None) -> None:
        """Make this the fitted model of that state."""
        raise NotImplementedError

    def _with_state(self, state: ModelState, item_counts: npt.NDArray[np.int64] | None = None) -> Any:
        """Return a model like this one, of another state."""
        raise NotImplementedError

    def _values_of(self, R: Any, y: Any) -> Any:
        """Return the values of the ratings `R`, where `y` is what the caller gave; a model may not need any."""
        return y

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
        """The users' biases b_u in rating units, shape (n_users,)."""
        check_is_fitted(self, "mean_")
        return self._users.table[:, self._k]

    @property
    def item_biases_(self) -> Array:
        """The items' biases c_i in rating units, shape (n_items,)."""
        check_is_fitted(self, "mean_")
        return self._items.table[:, self._k]

    # ------------------------------------------------------------------------------------------------------------
    # Predictions

    def _predict_codes(self, user_codes: Array, item_codes: Array, clip: bool) -> Array:
        """Return predictions of pairs of codes."""
        out = self._latent_codes(user_codes, item_codes)
        if self._scale is not None:  # expected ratings are within the range
            return self._scale.expected(out)
        if clip:
            np.clip(out, *self.rating_range_, out=out)
        return out

    def _latent_codes(self, user_codes: Array, item_codes: Array) -> Array:
        """Return the product of the vectors of pairs of codes: predictions, and of ordinal ratings those of latent numbers."""
        return predict_codes(
            user_codes, item_codes, self._users.table, self._items.table, self._users.cold_start_vector,
            self._items.cold_start_vector, self._k, self.mean_,
            self._n_threads() if len(user_codes) > MIN_SHARED_PREDICTIONS else 1,
        )  # fmt: skip

    @property
    def _scale(self) -> OrdinalScale | None:
        """What turns predictions into distributions of ordinal ratings; None in a model that takes ratings for numbers."""
        return None if self._chain is None else self._chain.scale

    def _refuse_ordinal(self, what: str) -> None:
        """Refuse what needs a model that takes ratings for numbers."""
        if self._scale is not None:
            raise ValueError(
                f'{what}, but the model has likelihood="ordinal", whose rows are means of draws: fit it to all ratings '
                'again, or use likelihood="gaussian"'
            )

    @property
    def _uses_time(self) -> bool:
        """Whether predictions depend on when a rating is given."""
        return self._times is not None

    def _times_given(self, given: Any, n: int, name: str) -> Array | None:
        """Return the times of n pairs that a call was given, in seconds; None where it was given none."""
        if given is None:
            return None
        if self._times is None:
            raise ValueError(
                f"{name} is given, but the model was fitted without time, so that its predictions are the same at all times: leave "
                'it out, or fit FactorALS, BiasALS or BayesALS with time="day"'
            )
        return self._times.checked(given, n, name)

    def _uncertainty_of_fit(self) -> Uncertainty:
        """Return the model's uncertainty, or say why it has none."""
        if self._uncertainty is None:
            raise ValueError(
                "the model holds no training errors that it could tell its uncertainty from, as where their squares leave the "
                "range of float64 numbers: rescale the ratings and fit it again"
            )
        return self._uncertainty

    def _warn_unknown(self, users: Array, items: Array | None = None, stacklevel: int = 3) -> None:
        """Warn where more than half of the pairs, or of the users, are unknown."""
        unknown = users < 0 if items is None else (users < 0) | (items < 0)
        count = int(unknown.sum())
        if 2 * count > len(unknown):
            which = f"{int((users < 0).sum())} users" + (
                "" if items is None else f" and {int((items < 0).sum())} items"
            )
            # scikit-learn's default folds are blocks of rows.
            folds = " Folds of rows that are sorted by user lack whole users: shuffle them, KFold(5, shuffle=True)"
            folds = "" if items is None else folds
            warnings.warn(
                f"{count} of {len(unknown)} predictions know only part of their pair ({which} were not in the training "
                f"ratings) and are little more than the mean: are these the ids of the training data?{folds}",
                UserWarning,
                stacklevel=stacklevel,
            )

"""Predictions of pairs of codes, and the error of held-out ratings within a fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alsx import _regression, _scores, metrics
from alsx._solver.alternation import Estimate, Trainer
from alsx._solver.ordinal import OrdinalScale
from alsx._solver.time_offsets import Places, find_groups

Array = NDArray[Any]
Floats = NDArray[np.float64]


# Predictions of a call of the kernel: some tenths of a second, so that an interruption is heard in between.
CHUNK_PREDICTIONS = 10_000_000


def predict_codes(
    users: Array,
    items: Array,
    user_table: Array,
    item_table: Array,
    cold_user: Floats | None,
    cold_item: Floats | None,
    k: int,
    mean: float,
    n_threads: int,
) -> Floats:
    """Return predictions of pairs, shape (n,).

    Parameters
    ----------
    users, items : ndarray of int32, shape (n,)
        Codes; -1 for a row that is not in the table.
    user_table, item_table : ndarray
    cold_user, cold_item : ndarray of float64, shape (k+1,), or None
        The vectors of codes -1, see `FittedPrior.cold_start_vector`; None for 0.
    k : int
    mean : float
    n_threads : int
    """
    out = np.empty(len(users))
    # The kernel adds what it finds in the tables: of a pair with an unknown side, the bias of the other one.
    for start in range(0, len(users), CHUNK_PREDICTIONS):
        part = slice(start, start + CHUNK_PREDICTIONS)
        _scores.predict_pairs(users[part], items[part], user_table, item_table, k, mean, n_threads, out[part])
    for codes, others, vector, table in ((users, items, cold_user, item_table), (items, users, cold_item, user_table)):
        if vector is not None:
            half_known = np.flatnonzero((codes < 0) & (others >= 0))
            out[half_known] += vector[k] + table[others[half_known], :k].astype(np.float64) @ vector[:k]
    unknown = np.flatnonzero((users < 0) & (items < 0))
    if len(unknown):
        u, i = (np.zeros(k + 1) if vector is None else vector for vector in (cold_user, cold_item))
        out[unknown] += u[k] + i[k] + u[:k] @ i[:k]
    return out


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out ratings, and their error in the middle of a fit.

    Parameters
    ----------
    users, items : ndarray of int32, shape (n,)
        Codes among the training rows; -1 where a row has neither ratings nor features there.
    values : ndarray of float64, shape (n,)
    weights : ndarray of float64, shape (n,), or None
    range : pair of float
        Predictions are clipped to it.
    mean, unit : float
        Of the training ratings.
    k : int
    timestamps : ndarray of int64, shape (n,), or None
        Where the model has offsets of time.
    """

    users: Array
    items: Array
    values: Floats
    weights: Floats | None
    range: tuple[float, float]
    mean: float
    unit: float
    k: int
    timestamps: Array | None = None

    @cached_property
    def half_known(self) -> Array:
        """Which pairs have a side that is not in the tables."""
        return np.flatnonzero((self.users < 0) | (self.items < 0))

    def rmse(self, trainer: Trainer, n_threads: int) -> float:
        """Return the (weighted) RMSE of clipped predictions of the model as it stands, in rating units."""
        if self.timestamps is not None and trainer.times is not None:
            return self._rmse_with_offsets(trainer, n_threads)
        others = self.half_known
        if trainer.scale is not None:
            estimate = trainer.estimate(cold_start=len(others) > 0)
            return float(
                metrics.rmse(self.values, self._predict(slice(None), estimate, n_threads, trainer.scale), self.weights)
            )
        estimate = trainer.estimate(cold_start=len(others) > 0)
        # Most pairs are known on both sides: their errors are added up where they are predicted, in one pass.
        partial = np.empty(_regression.n_chunks(len(self.values)))
        weights = np.zeros(0) if self.weights is None else self.weights
        _scores.squared_errors(
            self.users, self.items, self.values, weights, estimate.users, estimate.items, self.k, self.mean, self.unit,
            *self.range, n_threads, partial,
        )  # fmt: skip
        total = float(partial.sum())
        with np.errstate(over="ignore", invalid="ignore"):
            weight_sum = float(len(self.values) if self.weights is None else weights.sum())
            if len(others):
                squares = ((self.values[others] - self._predict(others, estimate, n_threads)) / self.unit) ** 2
                total += float(np.sum(squares if self.weights is None else weights[others] * squares))
        if np.isfinite(total) and 0 < weight_sum < np.inf:
            return float(self.unit * np.sqrt(total / weight_sum))
        # Squares out of range, or weights to refuse.
        return float(metrics.rmse(self.values, self._predict(slice(None), estimate, n_threads), self.weights))

    def _rmse_with_offsets(self, trainer: Trainer, n_threads: int) -> float:
        """Return the error where predictions have an offset for their time."""
        assert self.timestamps is not None
        assert trainer.times is not None
        estimate = trainer.estimate(cold_start=len(self.half_known) > 0)
        standardised = predict_codes(self.users, self.items, *estimate, self.k, 0.0, n_threads)
        # The groups of a fit do not change.
        places: Places | None = self.__dict__.get("_places")
        if places is None:
            places = find_groups(trainer.times.groups.levels, self.users, self.timestamps)
            self.__dict__["_places"] = places
        standardised += places.sums(trainer.time_offsets)
        predicted = np.clip(self.mean + self.unit * standardised, *self.range)
        return float(metrics.rmse(self.values, predicted, self.weights))

    def _predict(self, part: Any, estimate: Estimate, n_threads: int, scale: OrdinalScale | None = None) -> Floats:
        """Return clipped predictions of some of the pairs."""
        standardised = predict_codes(self.users[part], self.items[part], *estimate, self.k, 0.0, n_threads)
        if scale is not None:
            return scale.expected(self.mean + self.unit * standardised)
        return np.asarray(np.clip(self.mean + self.unit * standardised, *self.range))

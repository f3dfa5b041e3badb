"""Where a fit starts that goes on from an earlier model."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._models.features import FeatureEncoder
from alsx._models.side import FittedSide
from alsx._models.times import TimeEffects
from alsx._solver.alternation import Alternation, unit_factors
from alsx._solver.regression import PriorRegression
from alsx.ratings import Ids, Ratings

Array = NDArray[Any]


class WarmStart(NamedTuple):
    """An earlier model that a fit goes on from.

    Parameters
    ----------
    users, items : FittedSide
        Of the earlier model.
    times : TimeEffects or None
        Of the earlier model.
    """

    users: FittedSide
    items: FittedSide
    times: TimeEffects | None = None

    def check(self, k: int) -> None:
        """Refuse a model of another rank, of which nothing could be taken over."""
        if self.items.k != k:
            raise ValueError(
                f"k is {k}, but warm_start is True and the model was fitted with k={self.items.k}: pass that one, or "
                "warm_start=False"
            )

    def apply(
        self, alternation: Alternation, ratings: Ratings, encoders: list[FeatureEncoder | None], n_threads: int
    ) -> None:
        """Put the earlier model in the place of the random start, as far as it knows the users, items and features.

        The rest starts at random, as without an earlier model.
        """
        # From rating units to those of this fit, whose ratings may have another standard deviation.
        scale = unit_factors(alternation.unit, alternation.k)
        user_codes = _codes(self.users.ids, ratings.user_ids)
        item_codes = _codes(self.items.ids, ratings.item_ids)
        for side, earlier, codes, other_codes, encoder in (
            (alternation.users, self.users, user_codes, item_codes, encoders[0]),
            (alternation.items, self.items, item_codes, user_codes, encoders[1]),
        ):
            known = np.flatnonzero(codes >= 0)
            coefficients = [_coefficients(part, earlier, other_codes, encoder) for part in side.regressions]
            scaled = [None if x is None else x / scale for x in coefficients]
            rows = earlier.table[codes[known], : alternation.k + 1] / scale
            side.go_on_from(known, rows, scaled, earlier.prior.feature_ridge, n_threads)
        times, earlier_times = alternation.times, self.times
        if times is not None and earlier_times is not None and times.seconds == earlier_times.seconds:
            times.take_variances(earlier_times.ratios, earlier_times.variances)


def _codes(earlier: Ids, ids: Array) -> Array:
    """Return which rows of the earlier model those of a fit are; -1 for none."""
    return np.asarray(earlier.codes(ids, "R"))


def _coefficients(
    part: PriorRegression, earlier: FittedSide, other_codes: Array, encoder: FeatureEncoder | None
) -> Array | None:
    """Return what the earlier model has learned of rated-item sets or features; None where it has not."""
    if part.features is None:
        effects = earlier.prior.implicit_effects
        if effects is None:
            return None
        return np.where((other_codes >= 0)[:, None], effects[other_codes], 0.0)
    same = encoder is not None and earlier.encoder is not None and encoder.names == earlier.encoder.names
    return earlier.prior.feature_effects if same else None

"""The numbers of the page: what its similar items, its row solve and its lists are computed from, as small as 1e-4 permits.

The page solves a row as `fold_in` does, so that it needs the items' table, the one that users are solved from where that is another
(`Basis`), and what prior means are made of. Tables are whole numbers times a step; whatever little-rated items have next to
zero takes few bits once it is deflated.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._models.latent import LatentFactors
from alsx._models.propensity import PRIOR_RATINGS
from alsx._solver.tables import MIN_EFFECTIVE_COUNT

Array = NDArray[Any]
Floats = NDArray[np.float64]

# Levels of a factor on either side of 0, of the largest factor of its item: cosines of items with short vectors need to be as
# exact as others. Errors of cosines are then below 3e-5.
ROW_LEVELS = 8191
# Steps of what is added to an item's row before it enters a sum over few rated items, as shares of the largest entry of its
# column. The sum is divided by the prior precision, or the root of the number of items, so that the error of a row is less.
COLUMN_STEP = 2e-4
BIAS_STEP = 1e-5
MAX_INT16 = 32767


class Numbers(NamedTuple):
    """Numbers for the page.

    Parameters
    ----------
    about : dict
        Scalars, for JSON.
    arrays : dict of name -> ndarray
    """

    about: dict[str, Any]
    arrays: dict[str, Array]


class Steps(NamedTuple):
    """A table as whole numbers times steps.

    Parameters
    ----------
    whole : ndarray of int16, shape (n, m)
    step : ndarray of float32, shape (n,) or (m,)
        Of each row, or of each column.
    """

    whole: NDArray[np.int16]
    step: NDArray[np.float32]


def by_row(table: Floats) -> Steps:
    """Return a table in steps of its rows."""
    step = rounded_up(np.abs(table).max(axis=1, initial=0.0) / ROW_LEVELS)
    whole = np.round(table / np.where(step > 0, step, 1).astype(np.float64)[:, None])
    return Steps(whole.astype(np.int16), step)


def rounded_up(values: Floats) -> NDArray[np.float32]:
    """Return positive numbers with the upper half of their bits only, not below the given ones: the rest costs 2 bytes each."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + np.uint32(0xFFFF)) & np.uint32(0xFFFF0000)).view(np.float32)


def by_column(table: Floats, scale: Floats) -> Steps:
    """Return a table in steps of its columns: shares of `scale`, (m,), or larger ones where numbers would not fit."""
    wanted = np.maximum(COLUMN_STEP * scale, np.abs(table).max(axis=0, initial=0.0) / MAX_INT16)
    step = wanted.astype(np.float32)
    # Rounded down, a step would leave no room for the largest number.
    whole = np.round(table / np.where(step > 0, step, 1).astype(np.float64))
    return Steps(np.clip(whole, -MAX_INT16, MAX_INT16).astype(np.int16), step)


def numbers_of(model: LatentFactors, codes: NDArray[np.int64]) -> Numbers:
    """Return what the page computes with, of the items with these codes."""
    items, k = model._items, model._k
    table = items.table[codes, : k + 1].astype(np.float64)
    factors = by_row(table[:, :k])
    arrays: dict[str, Array] = {
        "factors": factors.whole,
        "factor_step": factors.step,
    }
    bias_step = BIAS_STEP * float(np.abs(table[:, k]).max()) or 1.0
    arrays["bias"] = np.round(table[:, k] / bias_step).astype(np.int32)
    if not items.comparable[codes].all():
        arrays["incomparable"] = (~items.comparable[codes]).astype(np.uint8)
    about: dict[str, Any] = {"k": k, "mean": model.mean_, "bias_step": bias_step}
    about |= _solver(model, codes, arrays, np.abs(table).max(axis=0, initial=0.0), bias_step)
    about |= {"lists": _lists(model, codes, arrays), "default_strategy": model._default_strategy}
    return Numbers(about, arrays)


def _solver(
    model: LatentFactors, codes: NDArray[np.int64], arrays: dict[str, Array], scale: Floats, bias_step: float
) -> dict[str, Any]:
    """Return what a user's row is solved from, see `alsx._models.fold_in.row_systems`; its arrays are added to `arrays`."""
    users, items, missing, k = model._users, model._items, model._missing, model._k
    table, prior = users.solving(items)
    if table is not items.table:
        given = table[codes, : k + 1].astype(np.float64)
        # The difference to what the page has of the items, rounding included.
        shown = arrays["factors"] * arrays["factor_step"].astype(np.float64)[:, None]
        difference = given - np.column_stack([shown, bias_step * arrays["bias"]])
        found = by_column(difference, scale)
        arrays["solving"], arrays["solving_step"] = found
    if prior.implicit_effects is not None:
        found = by_column(prior.implicit_effects[codes].astype(np.float64), scale)
        arrays["effects"], arrays["effect_step"] = found
    for name, array in (
        ("prior_mean", prior.mean),
        ("unrated_mean", prior.unrated_mean),
        ("precision", prior.precision),
    ):
        if array is not None:
            arrays[name] = np.asarray(array, np.float64)
    # A rating of 1 of a model of counts, or the weight and unit of any rating.
    weight, value, unit = 1.0, None, 1.0
    if missing is not None:
        unit = missing.unit_of(1.0)
        arrays["gram"] = missing.system_weight * np.asarray(users.gram_of_missing(items, model._n_threads()))
        if missing.confidence is not None:
            weight = float(missing.confidence.of(np.ones(1))[0])
            value = missing.system_weight / weight + 1.0
    return {
        "reg": prior.reg, "reg_bias": prior.reg_bias, "exponent": prior.exponent, "min_count": MIN_EFFECTIVE_COUNT,
        "typical_min_count": prior.typical_min_count, "set_prior_count": prior.set_prior_count, "weight": weight, "value": value,
        "unit": unit,
    }  # fmt: skip


def _lists(model: LatentFactors, codes: NDArray[np.int64], arrays: dict[str, Array]) -> dict[str, Any] | None:
    """Return what lists are ordered by, see `alsx._models.strategies`; its arrays are added to `arrays`.

    Returns
    -------
    about : dict or None
        ``unit``: the scale of the logarithm of the counts; ``prior_ratings``: of how many ratings the direction of all is a part.
        None: a model that ranks, whose lists are ordered by its scores alone.
    """
    if model._missing is not None:
        return None
    items, k = model._items, model._k
    unit, found = model.history_["train_rmse"][-1], items.directions
    if unit < found.length * np.sqrt(np.finfo(items.table.dtype).max):
        # An item's direction is a matrix times its factors, the same matrix for all: found from both, so that its formula
        # stands in one place.
        matrix = np.linalg.lstsq(items.table[:, :k].astype(np.float64), found.of_items.astype(np.float64), rcond=None)[
            0
        ]
        arrays["directions"] = unit / found.length * matrix.T
        arrays["direction_of_all"] = unit / found.length * found.of_all
    counts = items.counts[codes]
    if not np.array_equal(counts, model.item_counts_[codes]):
        arrays["evidence_counts"] = counts.astype(np.int32)
    return {"unit": unit, "prior_ratings": PRIOR_RATINGS}

"""Errors of predicted ratings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alsx.ratings.columns import number_column

Array = npt.NDArray[Any]


def rmse(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Root mean squared error, ``sqrt(sum w (y_true - y_pred)^2 / sum w)``, in double precision.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Ratings.
    y_pred : array-like of shape (n,)
        Predicted ratings.
    sample_weight : array-like of shape (n,), default=None
        Weights w, not negative. Default: 1.

    Returns
    -------
    float
        In units of the ratings; 0 is perfect.

    Raises
    ------
    TypeError
        Where values are not numbers.
    ValueError
        Where lengths differ, nothing is given, a value is not finite, or weights are negative or all 0.

    Examples
    --------
    >>> from alsx.metrics import rmse
    >>> rmse([4, 2], [3, 2])
    0.7071067811865476
    """
    errors, weights = _errors(y_true, y_pred, sample_weight)
    # Scaled by the largest error, so that no square overflows.
    largest = float(np.abs(errors).max())
    if largest == 0:
        return 0.0
    return largest * float(np.sqrt(np.average((errors / largest) ** 2, weights=weights)))


def mae(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None) -> float:
    """Mean absolute error, ``sum w |y_true - y_pred| / sum w``, in double precision.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        Ratings.
    y_pred : array-like of shape (n,)
        Predicted ratings.
    sample_weight : array-like of shape (n,), default=None
        Weights w, not negative. Default: 1.

    Returns
    -------
    float
        In units of the ratings; 0 is perfect.

    Raises
    ------
    TypeError
        Where values are not numbers.
    ValueError
        Where lengths differ, nothing is given, a value is not finite, or weights are negative or all 0.

    Examples
    --------
    >>> from alsx.metrics import mae
    >>> mae([4, 2], [3, 2])
    0.5
    """
    errors, weights = _errors(y_true, y_pred, sample_weight)
    return float(np.average(np.abs(errors), weights=weights))


def _errors(y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[Array, Array | None]:
    """Errors and weights in double precision."""
    true, predicted = _finite(y_true, "y_true"), _finite(y_pred, "y_pred")
    if len(true) != len(predicted):
        raise ValueError(
            f"lengths differ: y_true {len(true):,}, y_pred {len(predicted):,}: pass one prediction per rating"
        )
    if not len(true):
        raise ValueError("y_true is empty; an error needs at least one rating")
    if sample_weight is None:
        return true - predicted, None
    weights = _finite(sample_weight, "sample_weight")
    if len(weights) != len(true):
        raise ValueError(
            f"lengths differ: y_true {len(true):,}, sample_weight {len(weights):,}: pass one weight per rating"
        )
    negative = np.flatnonzero(weights < 0)
    if len(negative):
        at = int(negative[0])
        raise ValueError(f"sample_weight: row {at} is {weights[at]}; it must not be negative")
    largest = float(weights.max())
    if largest == 0:
        raise ValueError("sample_weight is 0 in every row: at least one rating must have a weight above 0")
    return true - predicted, weights / largest


def _finite(x: Any, name: str) -> Array:
    values = number_column(x, name).astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        at = int(wrong[0])
        raise ValueError(f"{name}: row {at} is {values[at]}; it must be a finite number: take such rows out first")
    return values

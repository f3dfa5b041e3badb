"""Validation of parameters and random states."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return `value` as an int of at least `low`, and at most `high` if given, or say what is wrong with it."""
    limits = f"at least {low}" if high is None else f"from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is {value!r}; it must be an integer {'of ' if high is None else ''}{limits}")
    number = int(value)
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name} is {value}; it must be {limits}")
    return number


def real(name: str, value: Any, low: float = 0.0, high: float = math.inf) -> float:
    """Return `value` as a finite float in [low, high], or say what is wrong with it."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}; it must be a number")
    number = float(value)
    if not (math.isfinite(number) and low <= number <= high):
        limits = f" at least {low:g}" if math.isinf(high) else f" from {low:g} to {high:g}"
        raise ValueError(f"{name} is {value}; it must be a finite number{'' if math.isinf(low) else limits}")
    return number


def by_side(name: str, value: Any, high: float = math.inf) -> tuple[float, float]:
    """Return a number from 0 to `high` for each side, from one number or a pair (users, items)."""
    if isinstance(value, (tuple, list, np.ndarray)):
        if len(value) != 2:
            raise ValueError(f"{name} has {len(value)} values; give one number, or a pair (users, items)")
        return real(f"{name}[0] (users)", value[0], 0.0, high), real(f"{name}[1] (items)", value[1], 0.0, high)
    number = real(name, value, 0.0, high)
    return number, number


def float_dtype(name: str, value: Any) -> np.dtype[Any]:
    """Return float32 or float64 as a dtype, or say what is wrong."""
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        # dtype == None is true for float64
        if value is not None and dtype == value:
            return dtype
    raise ValueError(f'{name} is {value!r}; it must be "float32" or "float64"')


def generator(random_state: Any) -> np.random.Generator:
    """Return a numpy Generator from what scikit-learn and NumPy users have.

    Parameters
    ----------
    random_state : None, int, numpy.random.Generator, numpy.random.RandomState or SeedSequence
        None draws fresh entropy; a Generator or RandomState is advanced.

    Returns
    -------
    generator : numpy.random.Generator
    """
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(0, 2**31 - 1, size=4))
    if isinstance(random_state, bool) or (
        random_state is not None
        and not isinstance(random_state, (Integral, np.random.Generator, np.random.SeedSequence))
    ):
        raise TypeError(
            f"random_state is {random_state!r}; it must be None, a non-negative integer, or a numpy Generator or RandomState"
        )
    if isinstance(random_state, Integral) and random_state < 0:
        raise ValueError(f"random_state is {random_state}; an integer seed must not be negative")
    return np.random.default_rng(int(random_state) if isinstance(random_state, Integral) else random_state)


def boolean(name: str, value: Any) -> bool:
    """Return `value` as a bool, or say that it is none."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r:.80}; it must be True or False")
    return bool(value)

"""Means of ratings in double precision."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

CHUNK_VALUES = 2**18  # values that means are taken of at once: their copies in double precision stay in the cache


def weighted_mean(values: Array, weights: Array | None, centre: float, power: int) -> float:
    """Return the weighted mean of (values - centre) to a power in double precision, without a whole copy in double."""
    sums, totals = [], []
    for start in range(0, len(values), CHUNK_VALUES):
        part = values[start : start + CHUNK_VALUES].astype(np.float64) - centre
        if power == 2:
            part *= part
        if weights is None:
            totals.append(float(len(part)))
        else:
            w = weights[start : start + CHUNK_VALUES].astype(np.float64)
            part *= w
            totals.append(float(w.sum()))
        sums.append(float(part.sum()))
    return math.fsum(sums) / math.fsum(totals)

"""Means of ratings in double precision."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from alsx import _threads

Array = npt.NDArray[Any]

CHUNK_VALUES = 2**18  # values that means are taken of at once: their copies in double precision stay in the cache
MIN_CHUNKS = 8  # chunks that are worth a thread of their own: some milliseconds' work


def weighted_mean(values: Array, weights: Array | None, centre: float, power: int) -> float:
    """Return the weighted mean of (values - centre) to a power in double precision, without a whole copy in double.

    Threads share the chunks; the sums of these are added up exactly, so that no bit depends on who took which.
    """
    n_chunks = -(-len(values) // CHUNK_VALUES)
    n_threads = max(1, min(_threads.resolve(), n_chunks // MIN_CHUNKS))

    def sums(first: int) -> list[tuple[float, float]]:
        """The sums of every n_threads-th chunk and of their weights, in memory that is used again."""
        found, room, of_weights = [], np.empty(CHUNK_VALUES), np.empty(0 if weights is None else CHUNK_VALUES)
        for start in range(first * CHUNK_VALUES, len(values), n_threads * CHUNK_VALUES):
            chunk = values[start : start + CHUNK_VALUES]
            part = np.subtract(chunk, centre, out=room[: len(chunk)], dtype=np.float64)
            if power == 2:
                part *= part
            if weights is None:
                found.append((float(part.sum()), float(len(part))))
                continue
            w = of_weights[: len(chunk)]
            w[:] = weights[start : start + CHUNK_VALUES]
            part *= w
            found.append((float(part.sum()), float(w.sum())))
        return found

    if n_threads > 1:
        with ThreadPoolExecutor(n_threads) as pool:
            found = [each for part in pool.map(sums, range(n_threads)) for each in part]
    else:
        found = sums(0)
    return math.fsum(part for part, _ in found) / math.fsum(total for _, total in found)

"""Sums over rows that lie in blocks on many workers: the same bits as NumPy's sum of the whole.

NumPy adds pairwise: a range of more than 128 numbers is cut in two, at half of it less what is beyond a multiple of 8, and the
sums of both are added. The tree depends on the number of numbers alone. So each block sums those nodes of it that lie within the
block, of a node that does not and cannot be cut any further it hands out the numbers (at most 128), and whoever has all the
answers adds them up the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]

# Numbers that NumPy adds without cutting them in two (PW_BLOCKSIZE); tests/test_dask_parts.py compares with NumPy itself.
LEAF = 128


class Request(NamedTuple):
    """What a block is asked for: the sum of the numbers from `begin` to `end` - 1, counted over all blocks, or the numbers."""

    begin: int
    end: int
    is_raw: bool


Answer = float | Floats


class SumPlan:
    """How sums of ranges are made of what blocks tell.

    Parameters
    ----------
    ranges : sequence of (int, int)
        The ranges whose sums are wanted: the first number, and the one after the last.
    bounds : ndarray of int64, shape (n_blocks + 1,)
        Where each block begins among all numbers.

    Attributes
    ----------
    requests : list of list of Request
        What each block is asked for.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]], bounds: NDArray[np.int64]) -> None:
        self.ranges, self.bounds = list(ranges), bounds
        self.requests: list[list[Request]] = [[] for _ in range(len(bounds) - 1)]
        for begin, end in self.ranges:
            self._ask(begin, end)

    def _block(self, at: int) -> int:
        """The block that has a number."""
        return int(np.searchsorted(self.bounds, at, side="right")) - 1

    def _ask(self, begin: int, end: int) -> None:
        """Ask for what a node takes."""
        if begin == end:
            return
        first, last = self._block(begin), self._block(end - 1)
        if first == last:
            self.requests[first].append(Request(begin, end, False))
        elif end - begin <= LEAF:
            for block in range(first, last + 1):
                part = max(begin, int(self.bounds[block])), min(end, int(self.bounds[block + 1]))
                if part[0] < part[1]:
                    self.requests[block].append(Request(*part, True))
        else:
            middle = _middle(begin, end)
            self._ask(begin, middle)
            self._ask(middle, end)

    def combine(self, answers: Sequence[Sequence[Answer]]) -> list[float]:
        """Return the sum of each range, from the answers of each block to its requests."""
        known = {
            (request.begin, request.end): answer
            for asked, told in zip(self.requests, answers, strict=True)
            for request, answer in zip(asked, told, strict=True)
        }
        return [self._total(begin, end, known) for begin, end in self.ranges]

    def _total(self, begin: int, end: int, known: dict[tuple[int, int], Answer]) -> float:
        """The sum of a node."""
        if begin == end:
            return 0.0
        first, last = self._block(begin), self._block(end - 1)
        if first == last:
            return float(known[begin, end])
        if end - begin > LEAF:
            middle = _middle(begin, end)
            return self._total(begin, middle, known) + self._total(middle, end, known)
        cuts = [begin, *(int(x) for x in np.unique(self.bounds) if begin < x < end), end]
        raw = [np.asarray(known[cut]) for cut in zip(cuts, cuts[1:], strict=False)]
        return float(np.add.reduce(np.concatenate(raw)))


def _middle(begin: int, end: int) -> int:
    """Where NumPy cuts a range in two."""
    half = (end - begin) // 2
    return begin + half - half % 8


def answer(requests: Sequence[Request], numbers: Callable[[int, int], Floats]) -> list[Answer]:
    """Return what a block tells.

    Parameters
    ----------
    requests : sequence of Request
    numbers : callable
        ``numbers(begin, end)`` returns numbers of the block, float64, counted over all blocks.
    """
    told: list[Answer] = []
    for begin, end, is_raw in requests:
        own = numbers(begin, end)
        told.append(np.array(own) if is_raw else float(np.add.reduce(own)))
    return told


def cut(n: int, size: int) -> list[tuple[int, int]]:
    """Return the ranges of at most `size` that n numbers are cut into."""
    return [(begin, min(n, begin + size)) for begin in range(0, n, size)]

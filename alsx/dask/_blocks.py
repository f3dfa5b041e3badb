"""Ratings in blocks of rows, by user and by item: cut by what the data are, shuffled once, sorted by the sort of local fits.

Blocks are what is computed at a time; their bounds depend on the data alone. Groups are consecutive blocks that one worker has;
how many there are depends on the cluster, and no result depends on that.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._solver.tables import solve_work
from alsx.dask._source import Coded
from alsx.ratings import CSR
from alsx.ratings.columns import kernel_array
from alsx.ratings.external import plain_codes
from alsx.ratings.sorting import RepeatedPair, sort_rows

Array = NDArray[Any]

# Bounds of blocks are multiples of this many rows, so that the counts that they are found from are few.
ALIGN_ROWS = 256

# A block has about so many ratings, but there are never fewer than MIN_BLOCKS, for small clusters to share, nor more than
# MAX_BLOCKS, since a task costs the scheduler about a millisecond and a half-sweep has one for each.
BLOCK_RATINGS, MIN_BLOCKS, MAX_BLOCKS = 2**20, 8, 256


class Layout(NamedTuple):
    """How the rows of one side are cut.

    Parameters
    ----------
    bounds : ndarray of int64, shape (n_blocks + 1,)
        The first row of each block, and the number of rows.
    groups : ndarray of int64, shape (n_groups + 1,)
        The first block of each group, and the number of blocks.
    """

    bounds: NDArray[np.int64]
    groups: NDArray[np.int64]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.bounds[-1])

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return len(self.bounds) - 1

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.groups) - 1

    def blocks(self, group: int) -> range:
        """Return the blocks of a group."""
        return range(int(self.groups[group]), int(self.groups[group + 1]))

    def rows(self, block: int) -> tuple[int, int]:
        """Return the first row of a block, and the one after the last."""
        return int(self.bounds[block]), int(self.bounds[block + 1])

    def group_rows(self, group: int) -> tuple[int, int]:
        """Return the first row of a group, and the one after the last."""
        blocks = self.blocks(group)
        return int(self.bounds[blocks.start]), int(self.bounds[blocks.stop])


def lay_out(counts: NDArray[np.int64], n_rows: int, align: int, k: int, n_groups: int) -> Layout:
    """Return blocks of about equal work, and groups of them.

    Parameters
    ----------
    counts : ndarray of int64
        Ratings of each `align` rows.
    n_rows, align, k : int
    n_groups : int
        How many groups are wanted; there are fewer where there are fewer blocks.
    """
    n_ratings = int(counts.sum())
    wanted = min(MAX_BLOCKS, max(MIN_BLOCKS, -(-n_ratings // BLOCK_RATINGS)), len(counts))
    work = np.cumsum(solve_work_of(counts, align, k))
    cuts = np.searchsorted(work, work[-1] * np.arange(1, wanted) / wanted, side="left") + 1
    chunks = np.unique(np.concatenate([[0], cuts, [len(counts)]]))
    bounds = np.minimum(chunks * align, n_rows).astype(np.int64)
    done = work[chunks[1:] - 1]
    n_groups = min(n_groups, len(done))
    ends = np.searchsorted(done, done[-1] * np.arange(1, n_groups) / n_groups, side="left") + 1
    # A group has at least one block, also where a heavy one takes the work of several.
    first = np.maximum.accumulate(np.concatenate([[0], ends]) - np.arange(n_groups)) + np.arange(n_groups)
    first = np.minimum(first, len(done) - np.arange(n_groups, 0, -1))
    return Layout(bounds, np.append(first, len(done)).astype(np.int64))


def solve_work_of(counts: NDArray[np.int64], align: int, k: int) -> NDArray[np.float64]:
    """Return what the row solves of each `align` rows cost, in multiply-adds."""
    per_row = solve_work(0, align, k)
    return counts * solve_work(1, 0, k) + per_row


def aligned_counts(codes: Array, n_rows: int, align: int) -> NDArray[np.int64]:
    """Return how many entries each `align` rows have; a task."""
    return np.bincount(codes // align, minlength=-(-n_rows // align))


def user_counts(coded: Coded, n_rows: int, align: int) -> NDArray[np.int64]:
    """Return how many ratings each `align` users have in a part; a task."""
    return aligned_counts(coded.users, n_rows, align)


# ---------------------------------------------------------------------------------------------------------------------
# Tasks: the shuffle


class Shard(NamedTuple):
    """The entries that one part of the ratings has for one group, block by block.

    Parameters
    ----------
    starts : ndarray of int64, shape (n_blocks_of_group + 1,)
        Where the entries of each block begin.
    rows, columns : ndarray of int32, shape (n,)
        Codes of the side that is being cut, and of the other one.
    values : ndarray, shape (n,)
    weights : ndarray, shape (n,), or None
    """

    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: Array
    weights: Array | None

    def block(self, place: int) -> slice:
        """Return the entries of the block at this place of the group."""
        return slice(int(self.starts[place]), int(self.starts[place + 1]))


class Rows(NamedTuple):
    """The ratings of a block of rows, sorted, and what became of them.

    Parameters
    ----------
    ratings : CSR
        By row of the block; indices are codes of the other side.
    repeated : pair of int or None
        Codes (row, column) of a pair that is there twice, where that is refused; there are no ratings then.
    error : Exception or None
        Why ratings that were merged cannot be held.
    """

    ratings: CSR
    repeated: tuple[int, int] | None = None
    error: Exception | None = None


class RowsFacts(NamedTuple):
    """What the client needs to know of a block of rows.

    Parameters
    ----------
    n : int
        Ratings.
    has_weights, has_weight : bool
        Whether there are weights, and whether one of them is above 0.
    range : (float, float)
        Lowest and highest rating of a weight above 0.
    repeated, error
        As of `Rows`.
    counts : ndarray of int64
        Ratings of each `align` rows of the other side.
    digest : str
        Of all of the block, where that is asked for.
    """

    n: int
    has_weights: bool
    has_weight: bool
    range: tuple[float, float]
    repeated: tuple[int, int] | None
    error: Exception | None
    counts: NDArray[np.int64]
    digest: str


def split_part(coded: Coded, layout: Layout) -> list[Shard]:
    """Cut the ratings of a part for the groups of users; those of a block keep their order."""
    return _split(coded.users, coded.items, coded.values, coded.weights, layout)


def split_rows(blocks: list[Rows], first_rows: list[int], weighted: bool, layout: Layout) -> list[Shard]:
    """Cut sorted blocks of users for the groups of items; users ascend."""
    users, items, values, weights = [], [], [], []
    for rows, first in zip(blocks, first_rows, strict=True):
        ratings = uniform(rows.ratings, weighted)
        users.append(np.repeat(np.arange(first, first + len(ratings.indptr) - 1, dtype=np.int32), np.diff(ratings.indptr)))
        items.append(ratings.indices)
        values.append(ratings.values)
        if ratings.weights is not None:
            weights.append(ratings.weights)
    joined = np.concatenate(weights) if weighted else None
    return _split(np.concatenate(items), np.concatenate(users), np.concatenate(values), joined, layout)


def _split(rows: Array, columns: Array, values: Array, weights: Array | None, layout: Layout) -> list[Shard]:
    # NumPy sorts integers of 16 bits by their digits, in linear time and stable.
    block = np.searchsorted(layout.bounds, rows, side="right").astype(np.uint16) - np.uint16(1)
    order = np.argsort(block, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(block, minlength=layout.n_blocks))]).astype(np.int64)
    shards = []
    for group in range(layout.n_groups):
        blocks = layout.blocks(group)
        own = order[starts[blocks.start] : starts[blocks.stop]]
        at = starts[blocks.start : blocks.stop + 1] - starts[blocks.start]
        shards.append(Shard(at, rows[own], columns[own], values[own], None if weights is None else weights[own]))
    return shards


def take(several: list[Any], at: int) -> Any:
    """Return one of several; a task, since Dask moves results whole."""
    return several[at]


def build_rows(
    shards: list[Shard], place: int, first: int, stop: int, n_columns: int, duplicates: str, dtype: np.dtype[Any]
) -> Rows:
    """Sort the ratings of a block of rows.

    Parameters
    ----------
    shards : list of Shard
        Of the block's group, from all parts in their order.
    place : int
        Of the block in the group.
    first, stop : int
        The first row of the block, and the one after the last.
    n_columns : int
        Rows of the other side.
    duplicates : str
        What becomes of pairs that are there twice, as of `Ratings`.
    dtype : dtype
    """
    slices = [shard.block(place) for shard in shards]
    rows, columns, values = (
        np.concatenate([getattr(shard, name)[own] for shard, own in zip(shards, slices, strict=True)])
        for name in ("rows", "columns", "values")
    )
    # Parts without ratings have no weights either.
    filled = [(shard, own) for shard, own in zip(shards, slices, strict=True) if own.start < own.stop]
    weights = None
    if filled and filled[0][0].weights is not None:
        weights = np.concatenate([shard.weights[own] for shard, own in filled if shard.weights is not None])
    try:
        sorted_rows, _, _ = sort_rows(
            plain_codes(kernel_array(rows - np.int32(first)), np.arange(stop - first, dtype=np.int32)),
            plain_codes(kernel_array(columns), np.arange(n_columns, dtype=np.int32)),
            kernel_array(values), weights, None, duplicates, dtype, 1,
        )  # fmt: skip
    except RepeatedPair as pair:
        return Rows(_no_ratings(stop - first, dtype), repeated=(first + pair.user, pair.item))
    except ValueError as error:
        return Rows(_no_ratings(stop - first, dtype), error=error)
    return Rows(sorted_rows)


def _no_ratings(n_rows: int, dtype: np.dtype[Any]) -> CSR:
    return CSR(np.zeros(n_rows + 1, np.int64), np.empty(0, np.int32), np.empty(0, dtype), None)


def rows_facts(rows: Rows, n_columns: int, align: int, with_digest: bool) -> RowsFacts:
    """Return what the client needs to know of a block; a task."""
    ratings = rows.ratings
    weights = ratings.weights
    values = ratings.values if weights is None else ratings.values[weights > 0]
    limits = (float(values.min()), float(values.max())) if len(values) else (np.inf, -np.inf)
    has_weight = weights is None or bool(weights.any())
    counts = aligned_counts(ratings.indices, n_columns, align)
    digest = hashlib.blake2b(digest_size=16)
    if with_digest:
        for array in ratings:
            digest.update(np.ascontiguousarray(array if array is not None else np.empty(0)).view(np.uint8))
    return RowsFacts(
        len(ratings.values), weights is not None, has_weight, limits, rows.repeated, rows.error, counts, digest.hexdigest()
    )


def uniform(ratings: CSR, weighted: bool) -> CSR:
    """Return ratings with weights where any block has some: merged pairs count as many, and all others once."""
    if not weighted or ratings.weights is not None:
        return ratings
    return ratings._replace(weights=np.ones_like(ratings.values))


def aligned_csr(ratings: CSR) -> CSR:
    """Return ratings as kernels read them: what came over the network may lie at any address."""
    weights = None if ratings.weights is None else kernel_array(ratings.weights)
    return CSR(kernel_array(ratings.indptr), kernel_array(ratings.indices), kernel_array(ratings.values), weights)

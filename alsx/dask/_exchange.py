"""Which rows of the other side a group of rows needs, and how it gets them.

The rows that a group of blocks needs are found once. In a half-sweep they are packed where they are, one task for each pair of
groups, moved, and put together to a panel: a table of just these rows, in the order of their codes, so that every row of the group
meets its ratings in the same order as on one machine. Of a group of which nearly all rows are needed, all are taken as they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._solver.tables import factor_table
from alsx.dask._blocks import Layout, Rows, uniform
from alsx.ratings import CSR

Array = NDArray[Any]

# The share of a group's rows from which on all of them are taken: a task that packs them, and lists of them, would save less.
WHOLE_SHARE = 0.8

ALL = -1  # stands for the number of rows where all are taken


class Need(NamedTuple):
    """The rows of the other side that a group needs.

    Parameters
    ----------
    parts : list of ndarray of int32, or None
        For each group of the other side the rows, counted from its first; None for all.
    starts : ndarray of int64
        Where each group's rows begin in the panel.
    """

    parts: list[NDArray[np.int32] | None]
    starts: NDArray[np.int64]

    def codes(self, other: Layout) -> NDArray[np.int32]:
        """Return the codes of the rows of the panel, ascending."""
        found = []
        for group, rows in enumerate(self.parts):
            first, stop = other.group_rows(group)
            found.append(np.arange(first, stop) if rows is None else first + rows.astype(np.int64))
        return np.concatenate(found).astype(np.int32)


class Local(NamedTuple):
    """The ratings of a block whose indices are rows of its group's panel."""

    ratings: CSR


def find_need(blocks: list[Rows], other: Layout) -> Need:
    """Return what a group of blocks needs."""
    marked = np.zeros(other.n_rows, bool)
    for rows in blocks:
        marked[rows.ratings.indices] = True
    parts: list[NDArray[np.int32] | None] = []
    sizes = []
    for group in range(other.n_groups):
        first, stop = other.group_rows(group)
        needed = np.flatnonzero(marked[first:stop]).astype(np.int32)
        parts.append(None if len(needed) > WHOLE_SHARE * (stop - first) else needed)
        sizes.append(stop - first if parts[-1] is None else len(needed))
    return Need(parts, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))


def need_sizes(need: Need) -> list[int]:
    """Return how many rows of each group are needed, `ALL` where all are taken."""
    return [ALL if rows is None else len(rows) for rows in need.parts]


def send_list(need: Need, group: int) -> NDArray[np.int32]:
    """Return the rows that a group sends."""
    rows = need.parts[group]
    assert rows is not None
    return rows


def localise(rows: Rows, need: Need, other: Layout, weighted: bool) -> Local:
    """Return the ratings of a block with indices that are rows of the panel; they ascend as codes do."""
    ratings = uniform(rows.ratings, weighted)
    if any(part is not None for part in need.parts):
        codes = need.codes(other)
        place = np.zeros(other.n_rows, np.int32)
        place[codes] = np.arange(len(codes), dtype=np.int32)
        ratings = ratings._replace(indices=place[ratings.indices])
    return Local(ratings)


def with_codes(local: Local, need: Need, other: Layout) -> CSR:
    """Return the ratings of a block with codes of the other side again."""
    if all(part is None for part in need.parts):
        return local.ratings
    return local.ratings._replace(indices=need.codes(other)[local.ratings.indices])


def pick(tables: list[Any], first_rows: list[int], rows: Array) -> Array:
    """Return rows of a group, shape (len(rows), ld).

    Parameters
    ----------
    tables : list of objects with a table
        Of the group's blocks.
    first_rows : list of int
        The first row of each block, counted from the group's, and the number of rows.
    rows : ndarray of int32
        Ascending, counted from the group's first.
    """
    cuts = np.searchsorted(rows, first_rows)
    parts = [
        block.table[rows[begin:end] - first]
        for block, first, begin, end in zip(tables, first_rows[:-1], cuts[:-1], cuts[1:], strict=True)
    ]
    return np.concatenate(parts)


def make_panel(parts: list[Any], n_rows: int, k: int, dtype: np.dtype[Any]) -> Array:
    """Put a panel together, from packed rows of groups and from whole groups, lists of objects with a table."""
    panel, at = factor_table(n_rows, k, dtype), 0
    for part in parts:
        for table in [block.table for block in part] if isinstance(part, list) else [part]:
            panel[at : at + len(table)] = table
            at += len(table)
    return panel

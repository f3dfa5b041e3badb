"""Tables and workspaces as kernels need them, scales of rows, and the order in which rows are worked on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx import _core

Array = NDArray[Any]

# Tasks of equal work that the rows of one side are cut into: enough that 64 threads end together, few enough that
# handing them out costs nothing.
N_TASKS = 4096

# Rows with fewer ratings are regularised as if they had this many, so that rows with few ratings are shrunk more.
# 10 to 50 are equally good on MovieLens 100k and latest-small, and better than none (benchmarks/NOTES.md).
MIN_EFFECTIVE_COUNT = 30.0

# A processor's cache line. Rows of tables are whole lines, so that no row touches a line more than it must, and no two
# threads write to one.
LINE_BYTES = 64


def aligned(n_rows: int, width: int, dtype: np.dtype[Any]) -> Array:
    """Return zeros of shape (n_rows, width) that begin on a cache line, with room for a whole vector behind.

    Kernels load whole vectors, also from the last row, so that they may read up to `_core.PAD` reals beyond it.
    """
    per_line = LINE_BYTES // dtype.itemsize
    buffer = np.zeros(n_rows * width + per_line + _core.PAD, dtype)
    first = (-buffer.ctypes.data % LINE_BYTES) // dtype.itemsize
    return buffer[first : first + n_rows * width].reshape(n_rows, width)


def row_width(k: int, dtype: np.dtype[Any]) -> int:
    """Reals that a table's row of k factors and a bias takes: whole cache lines. The only place that decides it."""
    per_line = LINE_BYTES // dtype.itemsize
    return -(-(k + 1) // per_line) * per_line


def factor_table(n_rows: int, k: int, dtype: np.dtype[Any]) -> Array:
    """Return a table of zeros, (n_rows, row_width): k factors, the bias, padding."""
    return aligned(n_rows, row_width(k, dtype), dtype)


def kernel_table(table: Array, k: int) -> Array:
    """Return the table itself where it is laid out as `factor_table` does it, or else a copy that is.

    Arrays that come from files and pickles are neither padded nor aligned.
    """
    buffer = table.base
    if table.shape[1] == row_width(k, table.dtype) and table.flags.c_contiguous and isinstance(buffer, np.ndarray):
        first = table.ctypes.data - buffer.ctypes.data
        behind = buffer.nbytes - first - table.nbytes
        if behind >= _core.PAD * table.itemsize and table.ctypes.data % LINE_BYTES == 0:
            return table
    copy = factor_table(len(table), k, table.dtype)
    copy[:, : k + 1] = table[:, : k + 1]
    return copy


def workspace(n_threads: int, size: int, dtype: np.dtype[Any]) -> Array:
    """Return one slice of `size` reals per thread, each on cache lines of its own."""
    per_line = LINE_BYTES // dtype.itemsize
    return aligned(n_threads, -(-size // per_line) * per_line, dtype)


def kernel_precision(precision: Array, dtype: np.dtype[Any]) -> Array:
    """Return a precision matrix (k+1, k+1) laid out as kernels read it."""
    width = len(precision)
    out = aligned(width, -(-(width - 1) // _core.PAD) * _core.PAD + _core.PAD, dtype)
    out[:, :width] = precision
    return out


def weight_sums(indptr: Array, weights: Array | None) -> NDArray[np.float64]:
    """Return the sum of weights of each row's ratings: a rating of weight 2 counts like two ratings."""
    counts = np.diff(indptr)
    sums = counts.astype(np.float64)
    if weights is not None:
        # Summed row by row: a difference of running sums would lose the light rows behind heavy ones.
        sums[counts > 0] = np.add.reduceat(weights, indptr[:-1][counts > 0], dtype=np.float64)
    return sums


def row_scales(weight_sum: Array, exponent: float) -> NDArray[np.float64]:
    """Return the scale s of each row's prior precision, from its (weighted) number of ratings."""
    return np.asarray(np.maximum(weight_sum, MIN_EFFECTIVE_COUNT) ** exponent)


class Tasks(NamedTuple):
    """The order in which rows are worked on, heaviest first, and where each task of about equal work begins in it.

    Parameters
    ----------
    order : ndarray of int32, shape (n,)
    starts : ndarray of int64, shape (n_tasks + 1,)
    """

    order: NDArray[np.int32]
    starts: NDArray[np.int64]

    def of_rows(self, n_rows: int, least: int) -> Tasks:
        """Return the tasks joined to ones of `n_rows` rows on average, as far as `least` of them are left."""
        n_tasks = len(self.starts) - 1
        together = min(n_rows * n_tasks // max(len(self.order), 1), n_tasks // least)
        if together <= 1:
            return self
        return Tasks(self.order, np.append(self.starts[:-1:together], self.starts[-1]))


def equal_tasks(counts: NDArray[np.int64], per_entry: float, per_row: float, in_order: bool = False) -> Tasks:
    """Cut rows into tasks, heaviest rows first, so that no thread is left with a long row at the end.

    With `in_order` rows stay as they come: ratings that are read from a disk are read from one end to the other.
    """
    order = (np.arange(len(counts)) if in_order else np.argsort(-counts, kind="stable")).astype(np.int32)
    work = np.cumsum(counts[order] * per_entry + per_row)
    n_tasks = max(1, min(N_TASKS, len(counts)))
    shares = work[-1] * np.arange(1, n_tasks) / n_tasks if len(work) else []
    starts = np.unique(np.concatenate([[0], np.searchsorted(work, shares), [len(counts)]])).astype(np.int64)
    return Tasks(order, starts)


def _solve_costs(k: int) -> tuple[float, float]:
    """Return what a rating and a row cost in a row solve of rank k, in multiply-adds, fitted roughly."""
    width = k + 1
    return float(width * (width + 32)), float(width) ** 3 + 500.0


def solve_tasks(counts: NDArray[np.int64], k: int, in_order: bool = False) -> Tasks:
    """Return the tasks of row solves of rank k; see `equal_tasks`."""
    return equal_tasks(counts, *_solve_costs(k), in_order)


def solve_work(n_ratings: int, n_rows: int, k: int) -> float:
    """Return what row solves of rank k cost, in multiply-adds."""
    per_rating, per_row = _solve_costs(k)
    return n_ratings * per_rating + n_rows * per_row

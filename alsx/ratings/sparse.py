"""Ratings from SciPy's sparse matrices: row and column numbers are ids and codes at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alsx.ratings._caller import Caller, Place
from alsx.ratings.columns import value_range, weight_column
from alsx.ratings.ids import Coded, Ids
from alsx.ratings.raw import RawRatings
from alsx.ratings.sorting import MAX_CODES, Codes, RowCodes, transpose_entries

Array = npt.NDArray[Any]

ENTRY = Place("stored entry")


def from_sparse(
    matrix: Any, sample_weight: Any, dtype: np.dtype[Any], n_threads: int, copy: bool, caller: Caller
) -> RawRatings:
    """Return the entries of a sparse matrix, whose rows and columns are all known users and items, empty or not.

    Parameters
    ----------
    matrix : sparse matrix or array, shape (n_users, n_items)
        Of any format.
    sample_weight : array-like, shape (n,), or None
        Weights in the order in which the CSR form of `matrix` stores the entries.
    dtype : numpy.dtype
        Type of the ratings that will be held.
    n_threads : int
        Threads that turn columns into rows.
    copy : bool
        False allows that the arrays of a CSR matrix are shared.
    caller : Caller
        Whose argument this is.
    """
    _refuse_shape_and_type(matrix, caller)
    shared = matrix.format == "csr"  # the only format whose own arrays may be kept
    if matrix.format == "lil":
        matrix = matrix.tocsr()
    users: Codes | RowCodes
    if matrix.format in ("csr", "csc"):
        users, columns, values = _compressed_entries(matrix, n_threads, caller, own=not (shared and copy))
    else:
        users, columns, values = _listed_entries(matrix, sample_weight is not None, caller)
    if not len(values):
        raise ValueError(f"there are no ratings: the sparse matrix {caller.data} stores no entries: pass at least one")
    limits = value_range(values, caller.data, dtype, ENTRY)
    weights = None if sample_weight is None else weight_column(sample_weight, len(values), dtype, caller.weights)
    n_users, n_items = matrix.shape
    items = _numbered(columns, n_items)
    return RawRatings(
        Coded(Ids.trusted(np.arange(n_users)), users), Coded(Ids.trusted(np.arange(n_items)), items),
        values, weights, None, limits, ("rows", "columns"), ENTRY,
    )  # fmt: skip


def _refuse_shape_and_type(matrix: Any, caller: Caller) -> None:
    """Refuse what cannot be ratings, whatever the format."""
    name = caller.data
    if matrix.ndim != 2:
        raise ValueError(
            f"{name} is a sparse array of shape {matrix.shape}; it must have two dimensions, users x items"
        )
    for n, axis in zip(matrix.shape, ("rows (users)", "columns (items)"), strict=True):
        if n > MAX_CODES:
            raise ValueError(f"{name} has {n:,} {axis}, more than 2**31 - 1, the most that int32 codes can number")
    if matrix.dtype.kind not in "iuf":
        raise TypeError(
            f'{name} is a sparse matrix of {matrix.dtype}; ratings must be numbers: convert it first, .astype("float32")'
        )


def _numbered(codes: npt.NDArray[np.int32], n: int) -> Codes:
    """Row or column numbers, which are their own codes."""
    return Codes(codes, 0, np.arange(n, dtype=np.int32), n)


def _compressed_entries(matrix: Any, n_threads: int, caller: Caller, own: bool) -> tuple[RowCodes, Array, Array]:
    """The entries of a CSR or CSC matrix by row: rows, column numbers and values."""
    if matrix.format == "csr":
        indptr, columns, values = _checked_csr(matrix, "row", "column", caller)
    else:
        by_column = _checked_csr(matrix, "column", "row", caller)
        indptr, columns, values = transpose_entries(*by_column, matrix.shape[0], n_threads)
    return RowCodes(indptr, own), columns, values


def _listed_entries(matrix: Any, in_csr_order: bool, caller: Caller) -> tuple[Codes, Array, Array]:
    """The entries of any other format: rows, column numbers and values."""
    padded = matrix.format in ("bsr", "dia")
    matrix = matrix.tocoo(copy=False)
    u, i = matrix.coords if hasattr(matrix, "coords") else (matrix.row, matrix.col)
    values = matrix.data
    if not len(u) == len(i) == len(values):
        raise ValueError(
            f"{caller.data} is malformed: it has {len(u)} rows, {len(i)} columns, {len(values)} values: build it anew"
        )
    u = _checked_numbers(u, matrix.shape[0], "row", caller)
    i = _checked_numbers(i, matrix.shape[1], "column", caller)
    if padded:
        # A stored zero of these formats cannot be told from their padding.
        stored = values != 0
        u, i, values = u[stored], i[stored], values[stored]
    if in_csr_order:
        order = np.argsort(u, kind="stable")
        u, i, values = u[order], i[order], values[order]
    return _numbered(u, matrix.shape[0]), i, values


def _checked_csr(matrix: Any, row: str, column: str, caller: Caller) -> tuple[Array, Array, Array]:
    """The checked arrays of a CSR or CSC matrix, as the kernels take them."""
    n_rows, n_columns = matrix.shape if row == "row" else matrix.shape[::-1]
    indptr, indices, values = matrix.indptr, matrix.indices, matrix.data
    if len(indptr) != n_rows + 1 or indptr[0] != 0 or indptr[-1] > min(len(indices), len(values)):
        raise ValueError(
            f"{caller.data} is malformed: its indptr has {len(indptr)} values from {indptr[0]} to {indptr[-1]}, for "
            f"{n_rows} {row}s, {len(indices)} indices and {len(values)} values: build it anew"
        )
    wrong = np.flatnonzero(indptr[1:] < indptr[:-1])
    if len(wrong):
        raise ValueError(f"{caller.data} is malformed: its indptr falls after {row} {wrong[0]}: build it anew")
    count = int(indptr[-1])
    if values.dtype not in (np.float32, np.float64, np.int32, np.int64):
        values = values.astype(np.float64)
    return (
        indptr.astype(np.int64, copy=False),
        _checked_numbers(indices[:count], n_columns, column, caller),
        np.ascontiguousarray(values[:count]),
    )


def _checked_numbers(codes: Array, n: int, axis: str, caller: Caller) -> npt.NDArray[np.int32]:
    """Row or column numbers as codes."""
    if len(codes) and (int(codes.min()) < 0 or int(codes.max()) >= n):
        at = int(np.flatnonzero((codes < 0) | (codes >= n))[0])
        raise ValueError(
            f"{caller.data} is malformed: {ENTRY(at)} has {axis} {codes[at]}, but {axis}s run from 0 to {n - 1}: build it "
            "anew"
        )
    return np.ascontiguousarray(codes, np.int32)

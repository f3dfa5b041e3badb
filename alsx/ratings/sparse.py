"""Ratings from SciPy's sparse matrices: row and column numbers are ids and codes at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alsx.ratings._caller import Caller, Place, SelectedPlace
from alsx.ratings.columns import ROW, check_weights, kernel_array, number_column, value_range
from alsx.ratings.ids import Coded, Ids, entry_codes
from alsx.ratings.raw import Missing, RawRatings, warn_of_sentinel
from alsx.ratings.sorting import MAX_CODES, Codes, RowCodes, transpose_entries

Array = npt.NDArray[Any]

ENTRY = Place("stored entry")


def from_sparse(
    matrix: Any,
    sample_weight: Any,
    missing: Missing,
    dtype: np.dtype[Any],
    n_threads: int,
    copy: bool,
    caller: Caller,
) -> RawRatings:
    """Return the entries of a sparse matrix, whose rows and columns are all known users and items, empty or not.

    Parameters
    ----------
    matrix : sparse matrix or array, shape (n_users, n_items)
        Of any format. Every array of it is checked before SciPy or a kernel works with it.
    sample_weight : array-like, shape (n,), or None
        Weights: of a CSR matrix in the order in which it stores the entries, of other formats by row and within a row by
        column, as their ``tocsr()`` has them.
    missing : Missing
        Entries that stand for none.
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
    n_users, n_items = matrix.shape
    users: Codes | RowCodes
    if matrix.format in ("csr", "csc"):
        own = not (copy and matrix.format == "csr")  # the only format whose own arrays may be kept
        users, columns, values = _compressed_entries(matrix, n_threads, caller, own)
    else:
        users, columns, values = _listed_entries(matrix, sample_weight is not None, caller)
    if not len(values):
        raise ValueError(f"there are no ratings: the sparse matrix {caller.data} stores no entries: pass at least one")
    weights = None
    if sample_weight is not None:
        weights = number_column(sample_weight, caller.weights)
        check_weights(weights, len(values), dtype, caller.weights, ROW)
    kept = missing.rows_kept(values)
    place: Place = ENTRY
    if kept is not None:
        if not len(kept):
            raise ValueError(f"there are no ratings: all of {caller.data} are missing, as missing= says: pass another")
        rows = np.asarray(entry_codes(users), np.int32)
        users, columns, values = _numbered(rows[kept], n_users), columns[kept], values[kept]
        weights = None if weights is None else weights[kept]
        place = SelectedPlace(ENTRY.entry, ENTRY, kept)
    limits = value_range(values, caller.data, dtype, place)
    warn_of_sentinel(lambda: np.unique(values, return_counts=True), caller.data, limits, caller)
    return RawRatings(
        Coded(Ids.trusted(np.arange(n_users)), users),
        Coded(Ids.trusted(np.arange(n_items)), _numbered(columns, n_items)),
        values, weights, None, limits, ("rows", "columns"), place, "",
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


def _malformed(caller: Caller, problem: str) -> ValueError:
    return ValueError(f"{caller.data} is malformed: {problem}: build the matrix anew")


def _numbered(codes: npt.NDArray[np.int32], n: int) -> Codes:
    """Row or column numbers, which are their own codes."""
    return Codes(codes, 0, np.arange(n, dtype=np.int32), n)


def _compressed_entries(matrix: Any, n_threads: int, caller: Caller, own: bool) -> tuple[RowCodes, Array, Array]:
    """The entries of a CSR or CSC matrix by row: rows, column numbers and values."""
    n_users, n_items = matrix.shape
    if matrix.format == "csr":
        indptr, columns, values = _checked_csr(matrix, n_users, n_items, ("row", "column"), caller)
    else:
        by_column = _checked_csr(matrix, n_items, n_users, ("column", "row"), caller)
        indptr, columns, values = transpose_entries(*by_column, n_users, n_threads)
    return RowCodes(indptr, own), columns, values


def _listed_entries(matrix: Any, in_csr_order: bool, caller: Caller) -> tuple[Codes, Array, Array]:
    """The entries of any other format: rows, column numbers and values."""
    n_users, n_items = matrix.shape
    if matrix.format == "bsr":
        _check_bsr(matrix, caller)
    elif matrix.format == "lil":
        _check_lil(matrix, caller)
    elif matrix.format == "dia":
        _check_dia(matrix, caller)
    padded = matrix.format in ("bsr", "dia")
    if matrix.format != "coo":
        try:
            matrix = matrix.tocoo(copy=False)
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise _malformed(caller, f"SciPy cannot convert it ({str(error)[:80]})") from None
    u, i = matrix.coords if hasattr(matrix, "coords") else (matrix.row, matrix.col)
    values = _plain_values(matrix.data, caller)
    if not len(u) == len(i) == len(values):
        raise _malformed(caller, f"it has {len(u)} rows, {len(i)} columns and {len(values)} values")
    u = _checked_numbers(u, n_users, "row", caller)
    i = _checked_numbers(i, n_items, "column", caller)
    if padded:
        # A stored zero of these formats cannot be told from their padding.
        stored = values != 0
        u, i, values = u[stored], i[stored], values[stored]
    if in_csr_order:
        order = np.lexsort((i, u))
        u, i, values = u[order], i[order], values[order]
    return _numbered(u, n_users), i, values


# ---------------------------------------------------------------------------------------------------------------------
# Checks of the arrays


def _plain_integers(x: Any, name: str, caller: Caller) -> Array:
    """An array of a matrix, if it is one of integers in one dimension: aligned, contiguous and not masked."""
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise _malformed(caller, f"its {name} is masked at place {int(np.flatnonzero(np.ma.getmaskarray(x))[0])}")
        x = x.data
    plain: Array = np.asarray(x)
    if plain.dtype.kind not in "iu" or plain.ndim != 1:
        raise _malformed(
            caller, f"its {name} is of {plain.dtype} and shape {plain.shape}, not integers in one dimension"
        )
    return kernel_array(plain)


def _plain_values(x: Any, caller: Caller) -> Array:
    """The values of a matrix in one dimension, in one of the types that kernels take."""
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise _malformed(caller, f"its data is masked at place {int(np.flatnonzero(np.ma.getmaskarray(x))[0])}")
        x = x.data
    x = np.asarray(x)
    if x.ndim != 1:
        raise _malformed(caller, f"its data has shape {x.shape}, not one dimension")
    if x.dtype not in (np.float32, np.float64, np.int32, np.int64):
        x = x.astype(np.float64)
    return kernel_array(x)


def _checked_csr(
    matrix: Any, n_rows: int, n_columns: int, axes: tuple[str, str], caller: Caller
) -> tuple[Array, Array, Array]:
    """The checked arrays of a CSR or CSC matrix, as the kernels take them."""
    values = _plain_values(matrix.data, caller)
    indptr, indices = _checked_pointers(matrix, n_rows, len(values), axes[0], caller)
    count = int(indptr[-1])
    return indptr, _checked_numbers(indices[:count], n_columns, axes[1], caller), values[:count]


def _checked_pointers(matrix: Any, n_rows: int, n_values: int, axis: str, caller: Caller) -> tuple[Array, Array]:
    """The indptr and the indices of a compressed matrix, where every row lies within the entries there are."""
    indptr = _plain_integers(matrix.indptr, "indptr", caller)
    indices = _plain_integers(matrix.indices, "indices", caller)
    if len(indptr) != n_rows + 1 or indptr[0] != 0 or indptr[-1] > min(len(indices), n_values):
        ends = f" from {indptr[0]} to {indptr[-1]}" if len(indptr) else ""
        raise _malformed(
            caller,
            f"its indptr has {len(indptr)} values{ends}, for {n_rows} {axis}s, {len(indices)} indices and {n_values} values",
        )
    # By comparison: a difference may wrap.
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if len(falls):
        raise _malformed(caller, f"its indptr falls after {axis} {falls[0]}")
    return indptr.astype(np.int64, copy=False), indices


def _check_bsr(matrix: Any, caller: Caller) -> None:
    """Check the blocks of a BSR matrix, which SciPy converts without a look at them."""
    data = matrix.data
    if not isinstance(data, np.ndarray) or data.ndim != 3 or min(data.shape[1:]) < 1:
        raise _malformed(caller, f"its data has shape {np.shape(data)}, not (blocks, rows, columns)")
    if np.ma.is_masked(data):
        raise _malformed(caller, "its data is masked")
    rows, columns = (n // size for n, size in zip(matrix.shape, data.shape[1:], strict=True))
    if (rows * data.shape[1], columns * data.shape[2]) != matrix.shape:
        raise _malformed(caller, f"blocks of {data.shape[1:]} do not make a matrix of shape {matrix.shape}")
    indptr, indices = _checked_pointers(matrix, rows, len(data), "block row", caller)
    _checked_numbers(indices[: int(indptr[-1])], columns, "block column", caller)


def _check_lil(matrix: Any, caller: Caller) -> None:
    """Check that the lists of a LIL matrix are pairwise of one length: SciPy copies them into arrays of that size."""
    for at, (columns, values) in enumerate(zip(matrix.rows, matrix.data, strict=True)):
        if not isinstance(columns, list) or not isinstance(values, list) or len(columns) != len(values):
            raise _malformed(caller, f"row {at} has not one list of columns and one of as many values")


def _check_dia(matrix: Any, caller: Caller) -> None:
    """Check the diagonals of a DIA matrix."""
    offsets = _plain_integers(matrix.offsets, "offsets", caller)
    if matrix.data.ndim != 2 or len(matrix.data) != len(offsets):
        raise _malformed(caller, f"it has {len(offsets)} offsets for data of shape {matrix.data.shape}")


def _checked_numbers(codes: Any, n: int, axis: str, caller: Caller) -> npt.NDArray[np.int32]:
    """Row or column numbers as codes."""
    codes = _plain_integers(codes, f"{axis} numbers", caller)
    if len(codes) and (int(codes.min()) < 0 or int(codes.max()) >= n):
        at = int(np.flatnonzero((codes < 0) | (codes >= n))[0])
        raise _malformed(caller, f"{ENTRY(at)} has {axis} {codes[at]}, but {axis}s run from 0 to {n - 1}")
    return kernel_array(codes, np.int32)

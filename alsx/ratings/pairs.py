"""Ratings from arrays: three columns, or pairs of ids with their ratings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alsx.ratings._caller import Caller, show
from alsx.ratings.raw import Column, Missing, RawRatings, check_columns

FROM_ARRAYS = "alsx.Ratings.from_arrays(users, items, ratings)"


def from_pairs(
    data: Any, y: Any, sample_weight: Any, missing: Missing, dtype: np.dtype[Any], caller: Caller
) -> RawRatings:
    """Return the ratings `y` of pairs of ids."""
    users, items = split_pairs(data, caller)
    if y is None:
        raise TypeError(f"{caller.data} holds pairs of ids, but {caller.y}, their ratings, is missing: pass {caller.y}")
    return check_columns(
        Column(users, f"{caller.data}[:, 0]"), Column(items, f"{caller.data}[:, 1]"), Column(y, caller.y),
        None, Column(sample_weight, caller.weights), missing, dtype, caller,
    )  # fmt: skip


def split_pairs(data: Any, caller: Caller) -> tuple[Any, Any]:
    """Return the two columns of an array or a list of pairs."""
    name = caller.data
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _split_list(data, name)
    if not isinstance(data, np.ndarray):
        if isinstance(data, str | bytes | dict) or not hasattr(data, "__array__"):
            if isinstance(data, dict) or hasattr(data, "read"):
                remedy = (
                    f"pandas.DataFrame({name})" if isinstance(data, dict) else f"its path, or pandas.read_csv({name})"
                )
                raise TypeError(f"{name} is of type {type(data).__name__}, which is not read: pass {remedy}")
            raise TypeError(
                f"{name} is of type {type(data).__name__}, which holds no ratings that can be read: pass a SciPy "
                "sparse matrix, a data frame (pandas, polars, pyarrow; collect a lazy one), an (n, 2) array with "
                f"{caller.y}, or {FROM_ARRAYS}"
            )
        data = np.asarray(data)
    if data.dtype.kind == "c":
        raise ValueError(f"{name} holds complex numbers; ids must be integers or strings (Complex data not supported)")
    if data.ndim == 2 and data.shape[1] < 2:
        raise ValueError(
            f"{name} has {data.shape[1]} feature(s) (shape={data.shape}) while a minimum of 2 is required: pass pairs of ids of "
            f"shape (n, 2) (X has {data.shape[1]} features, but alsx is expecting 2 features as input)"
        )
    is_matrix = isinstance(data, np.matrix)
    if data.ndim == 2 and data.shape[1] == 2 and not is_matrix:
        return data[:, 0], data[:, 1]
    if data.dtype.names is not None:
        raise TypeError(f"{name} is a structured array: pass pandas.DataFrame({name}), or {FROM_ARRAYS}")
    if data.ndim != 2:
        raise ValueError(f"{name} has shape {data.shape}; pairs of ids have shape (n, 2): pass {FROM_ARRAYS}")
    also = ""
    if data.shape[1] == 3 and not is_matrix:
        also = f"; if its columns are users, items, ratings, alsx.Ratings.from_arrays(*{name}.T), with ids as integers"
    raise ValueError(
        f"{name} is a dense array of shape {data.shape}, which cannot say which ratings are missing: pass "
        f"scipy.sparse.csr_array({name}) where 0 means not rated, or pairs of ids of shape (n, 2) with {caller.y}{also}"
    )


def refuse_other_shapes(data: Any, name: str) -> None:
    """Refuse arrays that are no pairs of ids where no ratings are asked for, in the words that scikit-learn has for it."""
    shape = getattr(data, "shape", None)
    if not isinstance(shape, tuple) or shape[1:] == (2,):
        return
    if len(shape) == 1:
        remedy = f"Reshape your data: {name}.reshape(1, 2) where it is a single pair"
    else:
        remedy = f"X has {shape[1] if len(shape) == 2 else 'no'} features, but alsx is expecting 2 features as input"
    raise ValueError(f"{name} has shape {shape}; it must be pairs (user, item) of shape (n, 2). {remedy}")


def _split_list(data: Sequence[Any], name: str) -> tuple[list[Any], list[Any]]:
    """The first and the second of each pair of a list."""
    users, items = [], []
    for at, pair in enumerate(data):
        if isinstance(pair, str | bytes) or not hasattr(pair, "__len__") or len(pair) != 2:
            remedy = FROM_ARRAYS
            if isinstance(pair, tuple | list) and len(pair) == 3:
                remedy = f"alsx.Ratings.from_arrays(*zip(*{name}))"
            raise ValueError(
                f"{name}: row {at} is {show(pair)}, which is not a pair (user, item): pass pairs of ids, or {remedy}"
            )
        users.append(pair[0])
        items.append(pair[1])
    if not users:
        raise ValueError(f"there are no ratings: {name} is empty: pass at least one rating")
    return users, items

"""Types of what alsx takes and returns, for annotations of your own; a type checker knows all functions by them.

=================  ===================================================================================================
`Id`               an id of a user or of an item: an integer or a string
`IdArray`          many ids: a list, an array, a column of a data frame
`Chosen`           items to choose among or to leave out: the same for all users, or for each
`Path`             where a file is: a string or a path
`Frame`            a data frame of any library that offers the Arrow C stream: pandas, polars, pyarrow and more
`SparseMatrix`     a sparse matrix or array of SciPy
`Pairs`            pairs (user, item): a list of tuples, an array or a data frame of two columns
`RatingsLike`      whatever holds ratings: `alsx.Ratings`, a sparse matrix, a data frame, the path of a file, or pairs
                   that come with ratings beside them
`DType`            ``"float32"`` or ``"float64"``, or as NumPy calls them
`Features`         features of users or of items: a data frame, an array or a sparse matrix
`Floats`           an array of float64, as predictions are returned
`RandomState`      a seed, a generator of NumPy, or None
`Side`             ``"user"`` or ``"item"``
`By`               what a split holds out, see `alsx.model_selection`
`Strategy`         what the items of a list are judged by, see `alsx.FactorALS.recommend`
`FrameKind`        which data frame a table is returned as
=================  ===================================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from alsx.ratings.container import Ratings

__all__ = [
    "By",
    "Chosen",
    "DType",
    "Features",
    "Floats",
    "Frame",
    "FrameKind",
    "Id",
    "IdArray",
    "Pairs",
    "Path",
    "RandomState",
    "RatingsLike",
    "Side",
    "SparseMatrix",
    "Strategy",
]


class Frame(Protocol):
    """A data frame that offers the Arrow C stream: of pandas, polars, pyarrow and other libraries."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the data as a stream of Arrow."""


class Column(Protocol):
    """A column of a data frame, or whatever else NumPy makes an array of."""

    def __array__(self, dtype: Any = None) -> npt.NDArray[Any]:
        """Return the values as an array."""


class SparseMatrix(Protocol):
    """A sparse matrix or array of SciPy, of any format."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of rows and columns."""

    def tocsr(self) -> Any:
        """Return it in the format CSR."""


Floats: TypeAlias = "npt.NDArray[np.float64]"
Id: TypeAlias = "int | str | np.integer[Any]"
IdArray: TypeAlias = "Sequence[int] | Sequence[str] | Sequence[Id] | npt.NDArray[Any] | Column"
Chosen: TypeAlias = "IdArray | Sequence[IdArray] | Mapping[Any, IdArray]"
Path: TypeAlias = "str | os.PathLike[str]"
Pairs: TypeAlias = "Sequence[tuple[Id, Id]] | Sequence[Sequence[Id]] | npt.NDArray[Any] | Frame"
RatingsLike: TypeAlias = "Ratings | SparseMatrix | Frame | Path | Pairs"
Features: TypeAlias = "Frame | SparseMatrix | npt.NDArray[Any] | Sequence[Sequence[float]]"
RandomState: TypeAlias = "int | np.random.Generator | np.random.RandomState | None"
Side: TypeAlias = Literal["user", "item"]
Strategy: TypeAlias = Literal["propensity", "mean", "lower", "upper", "thompson"]
FrameKind: TypeAlias = Literal["pandas", "polars", "arrow"]
By: TypeAlias = Literal["random", "user", "last", "time", "cold_users", "cold_items"]
DType: TypeAlias = "Literal['float32', 'float64'] | type[np.floating[Any]] | np.dtype[Any]"

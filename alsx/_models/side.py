"""Users, or items, of a fitted model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx import _scores
from alsx._models.features import FeatureEncoder
from alsx._solver.missing import missing_gram
from alsx._solver.posterior import PlainData
from alsx._solver.prior import FittedPrior
from alsx._solver.tables import aligned, factor_table, kernel_table
from alsx.ratings import Ids

Array = NDArray[Any]
Floats = NDArray[np.float64]


class Merge(NamedTuple):
    """How the rows of two sides become those of one.

    Parameters
    ----------
    ids : Ids
        Of the merged rows.
    from_old, from_new : ndarray of int32
        Where the rows of the old side and of the new one are among them; of an id in both the new row counts.
    """

    ids: Ids
    from_old: NDArray[np.int32]
    from_new: NDArray[np.int32]

    @classmethod
    def of(cls, old: Ids, new: Ids, name: str) -> Merge:
        """Return the merge of two sets of ids."""
        ids = Ids(np.union1d(old.values, new.values), name)
        return cls(ids, np.asarray(ids.codes(old.values)), np.asarray(ids.codes(new.values)))

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class FittedSide(PlainData):
    """Users, or items, of a fitted model: ids, vectors, and what is expected of others.

    Parameters
    ----------
    name : {"user", "item"}
    ids : Ids
    counts : ndarray of int64, shape (n,)
        How many ratings each row was solved from.
    has_data : ndarray of bool, shape (n,)
        Which rows have ratings or features; the others are gaps between the ids of a matrix, or have ratings of weight 0 alone.
    table : ndarray, shape (n, ld)
        Factors and bias of each row, in rating units.
    k : int
        Rank.
    prior : FittedPrior
        Of rows that come after the fit.
    encoder : FeatureEncoder or None
        Of the features that the side was fitted with.
    """

    name: str
    ids: Ids
    counts: NDArray[np.int64]
    has_data: NDArray[np.bool_]
    table: Array
    k: int
    prior: FittedPrior
    encoder: FeatureEncoder | None = None

    def __post_init__(self) -> None:
        # From a file or a pickle it is not laid out as kernels need it.
        object.__setattr__(self, "table", kernel_table(self.table, self.k))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def cold_start_vector(self) -> Floats:
        """The vector of a row of which nothing is known, shape (k+1,)."""
        return self.prior.cold_start_vector(self.k)

    def vectors(self, codes: Array) -> Array:
        """Return rows by code as a table; -1 is the cold-start vector."""
        out = factor_table(len(codes), self.k, self.table.dtype)
        known = (codes >= 0)[:, None]
        out[:, : self.k + 1] = np.where(known, self.table[codes, : self.k + 1], self.cold_start_vector)
        return out

    def ids_of(self, codes: Array) -> Array:
        """Return ids by code; -1 becomes `Ids.missing`, which is no id."""
        return self.ids.of_codes(codes)

    def merged(self, new: FittedSide, merge: Merge) -> FittedSide:
        """Return the side with the rows of another one, whose ids replace those that are there already."""
        counts, has_data = np.zeros(len(merge), np.int64), np.zeros(len(merge), bool)
        table = factor_table(len(merge), self.k, self.table.dtype)
        for places, side in ((merge.from_old, self), (merge.from_new, new)):
            counts[places], has_data[places] = side.counts, side.has_data
            table[places, : self.k + 1] = side.table[:, : self.k + 1]
        return dataclasses.replace(self, ids=merge.ids, counts=counts, has_data=has_data, table=table)

    def with_prior(self, prior: FittedPrior) -> FittedSide:
        """Return the side with another prior; what has been found of its rows stays found."""
        new = object.__new__(FittedSide)
        new.__dict__.update(self.__dict__, prior=prior)
        return new

    @cached_property
    def lengths(self) -> Floats:
        """The Euclidean length of each row's factors, shape (n,)."""
        factors = np.ascontiguousarray(self.table[:, : self.k])
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", factors, factors, dtype=np.float64)))

    @cached_property
    def unit_vectors(self) -> Array:
        """The factors divided by their lengths, as a table with biases of 0; zeros where the length is 0."""
        table = aligned(len(self.table), self.table.shape[1], self.table.dtype)
        table[:, : self.k] = self.table[:, : self.k] / np.where(self.lengths > 0, self.lengths, 1)[:, None]
        return table

    def missing_gram(self, n_threads: int) -> Floats:
        """Return what missing ratings of all rows with ratings add up to, see `missing.missing_gram`; found once."""
        found: Floats | None = self.__dict__.get("_missing_gram")
        if found is None:
            rows = np.flatnonzero((self.counts > 0) & self.has_data).astype(np.int32)
            found = missing_gram(self.table, self.k, rows, n_threads)
            self.__dict__["_missing_gram"] = found
        return found

    def packed(self, n_threads: int) -> Packed:
        """Return the rows in the order in which top-n reads them; found once."""
        return self._found("_packed", self.table, n_threads)

    def packed_unit_vectors(self, n_threads: int) -> Packed:
        """Return the unit vectors in this order; found once."""
        return self._found("_packed_unit_vectors", self.unit_vectors, n_threads)

    def _found(self, name: str, table: Array, n_threads: int) -> Packed:
        """Return a packed table, published when it is complete, for threads that ask at the same time."""
        found: Packed | None = self.__dict__.get(name)
        if found is None:
            found = Packed.of(table, self.k, n_threads)
            self.__dict__[name] = found
        return found


class Packed(NamedTuple):
    """A table in the order in which the top-n kernel reads it.

    Parameters
    ----------
    factors : ndarray, shape (n_blocks, k, block)
        Transposed in blocks of rows.
    biases : ndarray, shape (n_blocks * block,)
        -inf behind the last row.
    n : int
        How many rows there are.
    """

    factors: Array
    biases: Array
    n: int

    @classmethod
    def of(cls, table: Array, k: int, n_threads: int) -> Packed:
        """Return a table's factors and biases in this order."""
        block = _scores.top_n_block()
        n_blocks = -(-len(table) // block)
        factors = aligned(n_blocks * max(k, 1), block, table.dtype)[: n_blocks * k].reshape(n_blocks, k, block)
        _scores.pack_items(table, k, factors, n_threads)
        biases = aligned(1, n_blocks * block, table.dtype)[0]
        biases[: len(table)] = table[:, k]
        biases[len(table) :] = -np.inf
        return cls(factors, biases, len(table))

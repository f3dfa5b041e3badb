"""Users, or items, of a fitted model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from alsx import _scores
from alsx._models.features import FeatureEncoder
from alsx._models.propensity import Directions, directions
from alsx._solver.missing import missing_gram
from alsx._solver.posterior import PlainData
from alsx._solver.prior import Basis, FittedPrior
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
    features : scipy CSR array of float64, shape (n, f), or None
        Encoded features of each row, the intercept among them; a row of zeros has none.
    basis : Basis or None
        What the rows of the fit were solved from, and others are; None: the model as it stands.
    solved_at : ndarray of int32, shape (n,), or None
        With which update of the model each row was solved, 0 being the fit; None: all with the fit.
    of_fit : ndarray of bool, shape (n,), or None
        Which rows took part in the fit, whenever they were solved; None: all.
    """

    name: str
    ids: Ids
    counts: NDArray[np.int64]
    has_data: NDArray[np.bool_]
    table: Array
    k: int
    prior: FittedPrior
    encoder: FeatureEncoder | None = None
    features: Any = None
    basis: Basis | None = None
    solved_at: NDArray[np.int32] | None = None
    of_fit: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        # From a file or a pickle they are not laid out as kernels need it.
        object.__setattr__(self, "table", kernel_table(self.table, self.k))
        if self.basis is not None and self.basis.table is not None:
            table = kernel_table(self.basis.table, self.k)
            object.__setattr__(self, "basis", self.basis._replace(table=table))

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
        n = len(merge)
        counts, has_data, solved_at = np.zeros(n, np.int64), np.zeros(n, bool), np.zeros(n, np.int32)
        of_fit = np.zeros(n, bool)
        of_fit[merge.from_old] = self.were_fitted(np.arange(len(self)))
        table = factor_table(n, self.k, self.table.dtype)
        for places, side in ((merge.from_old, self), (merge.from_new, new)):
            counts[places], has_data[places] = side.counts, side.has_data
            solved_at[places] = 0 if side.solved_at is None else side.solved_at
            table[places, : self.k + 1] = side.table[:, : self.k + 1]
        return dataclasses.replace(
            self, ids=merge.ids, counts=counts, has_data=has_data, table=table, solved_at=solved_at,
            of_fit=of_fit, features=self._merged_features(new, merge),
        )  # fmt: skip

    def _merged_features(self, new: FittedSide, merge: Merge) -> Any:
        """Return the features of the rows of both sides; None where the side has none."""
        if self.features is None:
            return None
        new_features = new.features
        if new_features is None:
            new_features = scipy.sparse.csr_array((len(new), self.features.shape[1]))
        stacked = scipy.sparse.vstack([self.features, new_features], format="csr")
        source = np.zeros(len(merge), np.int64)
        source[merge.from_old] = np.arange(len(self))
        source[merge.from_new] = len(self) + np.arange(len(new))
        return scipy.sparse.csr_array(stacked[source])

    def after_merge(self, merge: Merge, merged: FittedSide) -> FittedSide:
        """Return this side where rows were merged into the other one; what was found of its own rows stays found.

        What a new row of the other side says by being rated was never learned, so that it adds nothing to prior means.

        Parameters
        ----------
        merge : Merge
            Of the other side's rows.
        merged : FittedSide
            The other side afterwards.
        """
        prior, basis = self.prior.with_other_rows(merge.from_old, len(merge)), self.basis
        if basis is not None:
            table = basis.table
            if table is not None:
                old, table = table, factor_table(len(merge), self.k, table.dtype)
                table[merge.from_old] = old
                table[merge.from_new] = merged.table[merge.from_new]
            basis = Basis(table, basis.prior.with_other_rows(merge.from_old, len(merge)))
        return self._with(prior=prior, basis=basis)

    def resolved(self, codes: Array, rows: Array, counts: Array, has_data: Array, update: int) -> FittedSide:
        """Return the side with some rows solved again.

        Parameters
        ----------
        codes : ndarray, shape (m,)
        rows : ndarray, shape (m, ld)
        counts, has_data : ndarray, shape (m,)
        update : int
            The number of the update.
        """
        table = factor_table(len(self), self.k, self.table.dtype)
        table[:] = self.table
        table[codes, : self.k + 1] = rows[:, : self.k + 1]
        all_counts, all_data = self.counts.copy(), self.has_data.copy()
        all_counts[codes], all_data[codes] = counts, has_data
        solved_at = np.zeros(len(self), np.int32) if self.solved_at is None else self.solved_at.copy()
        solved_at[codes] = update
        return dataclasses.replace(self, table=table, counts=all_counts, has_data=all_data, solved_at=solved_at)

    def after_solve(self, codes: Array, other: FittedSide) -> FittedSide:
        """Return this side where rows of the other one were solved again: rows to come are solved from the new ones."""
        if self.basis is None or self.basis.table is None:
            return self
        table = factor_table(len(other), self.k, self.table.dtype)
        table[:] = self.basis.table
        table[codes] = other.table[codes]
        return self._with(basis=self.basis._replace(table=table))

    def with_features(self, codes: Array, features: Any) -> FittedSide:
        """Return the side with features of some rows, shape (m, f), instead of what they had."""
        merge = Merge(self.ids, np.arange(len(self), dtype=np.int32), codes.astype(np.int32))
        own = (
            self
            if self.features is not None
            else dataclasses.replace(self, features=scipy.sparse.csr_array((len(self), features.shape[1])))
        )
        new = FittedSide(
            self.name, Ids(self.ids.values[codes], f"{self.name}s"), self.counts[codes], self.has_data[codes],
            self.table[codes], self.k, self.prior, self.encoder, features,
        )  # fmt: skip
        return self._with(features=own._merged_features(new, merge))

    def with_prior(self, prior: FittedPrior) -> FittedSide:
        """Return the side with another prior, also of rows to come; what has been found of its rows stays found."""
        return self._with(prior=prior, basis=None if self.basis is None else self.basis._replace(prior=prior))

    def _with(self, **changes: Any) -> FittedSide:
        """Return the side with other fields that its rows do not depend on."""
        new = object.__new__(FittedSide)
        new.__dict__.update(self.__dict__, **changes)
        return new

    def solving(self, other: FittedSide) -> tuple[Array, FittedPrior]:
        """Return the table and the prior that rows of this side are solved from."""
        table, prior = (None, self.prior) if self.basis is None else self.basis
        return other.table if table is None else table, prior

    def were_fitted(self, codes: Array) -> NDArray[np.bool_]:
        """Return which rows took part in the fit; -1 did not."""
        return np.asarray((codes >= 0) & (True if self.of_fit is None else self.of_fit[codes]))

    @property
    def last_update(self) -> int:
        """With which update of the model the latest of the rows was solved."""
        return 0 if self.solved_at is None else int(self.solved_at.max(initial=0))

    @cached_property
    def lengths(self) -> Floats:
        """The Euclidean length of each row's factors, shape (n,)."""
        factors = np.ascontiguousarray(self.table[:, : self.k])
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", factors, factors, dtype=np.float64)))

    @cached_property
    def directions(self) -> Directions:
        """What ratings of each row say of those who gave them."""
        return directions(self.table[:, : self.k], self.counts)

    @cached_property
    def comparable(self) -> NDArray[np.bool_]:
        """Which rows have factors that were learned from something, shape (n,)."""
        return np.asarray((self.lengths > 0) & self.has_data)

    @cached_property
    def unit_vectors(self) -> Array:
        """The factors divided by their lengths, as a table with biases of 0; zeros where the length is 0."""
        table = aligned(len(self.table), self.table.shape[1], self.table.dtype)
        table[:, : self.k] = self.table[:, : self.k] / np.where(self.lengths > 0, self.lengths, 1)[:, None]
        return table

    def gram_of_missing(self, other: FittedSide, n_threads: int) -> Floats:
        """Return the `missing_gram` of the table that rows of this side are solved from; found once."""
        table, _ = self.solving(other)
        found: tuple[Array, Array, Floats] | None = self.__dict__.get("_gram_of_missing")
        # A side that was made from this one has it, too, but may have another table. The other side's table may change as well.
        if found is None or found[0] is not table or found[1] is not other.counts:
            rows = np.flatnonzero((other.counts > 0) & other.has_data).astype(np.int32)
            found = table, other.counts, missing_gram(table, self.k, rows, n_threads)
            self.__dict__["_gram_of_missing"] = found
        return found[2]

    def packed(self, n_threads: int) -> Packed:
        """Return the rows in the order in which top-n reads them; found once."""
        return self._found("_packed", self.table, n_threads)

    def packed_with_counts(self, unit: float, n_threads: int) -> Packed:
        """Return the rows in this order, with `unit` times the log of their counts in their biases; found once for a unit."""
        found: tuple[float, Packed] | None = self.__dict__.get("_packed_with_counts")
        if found is None or found[0] != unit:
            found = unit, self.packed(n_threads).plus(unit * np.log1p(self.counts))
            self.__dict__["_packed_with_counts"] = found
        return found[1]

    def packed_unit_vectors(self, n_threads: int) -> Packed:
        """Return the unit vectors of comparable rows in this order; found once."""
        return self._found("_packed_unit_vectors", self.unit_vectors, n_threads, self.comparable)

    def _found(self, name: str, table: Array, n_threads: int, allowed: NDArray[np.bool_] | None = None) -> Packed:
        """Return a packed table, published when it is complete, for threads that ask at the same time."""
        found: Packed | None = self.__dict__.get(name)
        if found is None:
            found = Packed.of(table, self.k, n_threads)
            found = found if allowed is None else found.only(allowed)
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

    def only(self, allowed: NDArray[np.bool_]) -> Packed:
        """Return the same without rows that must not appear: their bias is -inf. `allowed` has shape (n,)."""
        biases = self.biases.copy()
        biases[: self.n][~allowed] = -np.inf
        return self._replace(biases=biases)

    def plus(self, constants: Array) -> Packed:
        """Return the same with constants added to the biases, one for each row, shape (n,)."""
        biases = self.biases.copy()
        biases[: self.n] += constants.astype(biases.dtype)
        return self._replace(biases=biases)

    def part(self, rows: slice, block: int) -> Packed:
        """Return some of the rows, from the beginning of a block on."""
        if rows.start == 0 and rows.stop == self.n:
            return self
        blocks = slice(rows.start // block, -(-rows.stop // block))
        biases = self.biases[blocks.start * block : blocks.stop * block]
        return Packed(self.factors[blocks], biases, rows.stop - rows.start)

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

"""The posterior of one side's rows given the other side: N(x, sigma^2 A^-1), see `rows`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray

from alsx import _scores
from alsx._solver.prior import FittedPrior
from alsx._solver.rows import RowSystems, SingularRowError, packed_entries, packed_width
from alsx._solver.tables import Tasks, aligned, factor_table, kernel_table, solve_tasks
from alsx.ratings import CSR

Array = NDArray[Any]
Floats = NDArray[np.float64]

# Covariances of a side's rows are kept where they take no more bytes than this: at k = 20 those of 280,000 rows, at k = 64 of
# 31,000. Else they are found anew for the rows that a call asks for, so many bytes at a time.
KEPT_BYTES = 2**28

# Pairs of rows and vectors at a time: some tenths of a second, so that an interruption is heard in between.
CHUNK_PAIRS = 2_000_000


class PlainData:
    """A base of dataclasses that pickle by their constructor: what they have cached is found anew."""

    def __reduce__(self) -> tuple[Any, ...]:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return type(self), tuple(getattr(self, field.name) for field in fields)


def counted(ratings: CSR) -> CSR:
    """Return the ratings of a weight above 0; one of weight 0 is none, and tells nothing of anybody."""
    weights = ratings.weights
    if weights is None or weights.all():
        return ratings
    kept = weights > 0
    before = np.concatenate([[0], np.cumsum(kept)])
    return CSR(before[ratings.indptr], ratings.indices[kept], ratings.values[kept], weights[kept])


class Rows(Protocol):
    """A side of a fitted model, as far as pairs need it: a table, and rows of it by code, -1 being the cold-start vector."""

    @property
    def table(self) -> Array: ...
    def vectors(self, codes: Array) -> Array: ...


class EvidenceSource(Protocol):
    """What evidence is found from when it is first asked for."""

    def find(self, k: int) -> Evidence: ...
    def row_errors(self) -> Floats: ...


@dataclass(frozen=True, eq=False)
class Evidence(PlainData):
    """What a side's rows were solved from.

    Parameters
    ----------
    indptr, indices : ndarray of int64 and int32
        Which rows of `table` each row has ratings with, by CSR offsets.
    table : ndarray, shape (n_other, ld)
        The other side when the rows were solved, in rating units.
    errors : ndarray of float64, shape (n,)
        The (weighted) sum of squared training errors of each row, in squared rating units.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    table: Array
    errors: Floats

    def row_errors(self) -> Floats:
        """Return the squared errors of the rows; nothing is looked for."""
        return self.errors

    def find(self, k: int) -> Evidence:
        """Return itself, with a table that kernels can read."""
        table = kernel_table(self.table, k)
        return self if table is self.table else dataclasses.replace(self, table=table)


@dataclass(frozen=True, eq=False)
class SeenEvidence(PlainData):
    """Evidence of a fit's rows: all the ratings that it has seen, but for those of weight 0.

    Parameters
    ----------
    seen : CSR
        By user.
    by_item : bool
        Whether the rows are the items, so that `seen` is to be transposed.
    n : int
        How many rows there are.
    table, errors
        As of `Evidence`.
    """

    seen: CSR
    by_item: bool
    n: int
    table: Array
    errors: Floats

    def row_errors(self) -> Floats:
        """Return the squared errors of the rows; nothing is looked for."""
        return self.errors

    def find(self, k: int) -> Evidence:
        """Return the evidence."""
        seen = counted(self.seen)
        indptr, indices = seen.indptr, seen.indices
        if self.by_item:
            shape = (len(indptr) - 1, self.n)
            columns = scipy.sparse.csr_array((np.ones(len(indices), bool), indices, indptr), shape=shape).tocsc()
            indptr, indices = columns.indptr.astype(np.int64), columns.indices.astype(np.int32)
        return Evidence(indptr, indices, kernel_table(self.table, k), self.errors)


@dataclass(frozen=True, eq=False)
class MergedEvidence(PlainData):
    """Evidence of rows after some were folded in.

    Parameters
    ----------
    old, new : EvidenceSource
        Of the rows from before, and of those folded in.
    from_old, from_new : ndarray
        Where their rows are among the merged ones; of a row in both the new ratings count.
    n : int
        How many merged rows there are.
    """

    old: EvidenceSource
    new: EvidenceSource
    from_old: Array
    from_new: Array
    n: int

    def row_errors(self) -> Floats:
        """Return the squared errors of the merged rows; nothing else is looked for."""
        errors = np.zeros(self.n)
        errors[self.from_old] = self.old.row_errors()
        errors[self.from_new] = self.new.row_errors()
        return errors

    def find(self, k: int) -> Evidence:
        """Return the merged evidence; tables that differ are stacked, since each row keeps what it was solved from."""
        old, new = self.old.find(k), self.new.find(k)
        table, shift = old.table, 0
        if new.table is not table:
            shift = len(table)
            table = aligned(shift + len(new.table), table.shape[1], table.dtype)
            table[:shift], table[shift:] = old.table, new.table
        rows = np.concatenate(
            [np.repeat(self.from_old, np.diff(old.indptr)), np.repeat(self.from_new, np.diff(new.indptr))]
        )
        indices = np.concatenate([old.indices, new.indices + np.int32(shift)])
        kept = np.ones(len(rows), bool)
        kept[: len(old.indices)] = ~np.isin(rows[: len(old.indices)], self.from_new)
        rows, indices = rows[kept], indices[kept]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=self.n))]).astype(np.int64)
        return Evidence(indptr, indices[np.argsort(rows, kind="stable")], table, self.row_errors())


@dataclass(frozen=True, eq=False)
class Posterior(PlainData):
    """The posterior of one side's rows. What it rests on is found when it is first asked for, and kept.

    Weights of ratings, unless they are 0, are taken for 1 here.

    Parameters
    ----------
    source : EvidenceSource
    prior : FittedPrior
    k : int
    """

    source: EvidenceSource
    prior: FittedPrior
    k: int

    @cached_property
    def evidence(self) -> Evidence:
        """What the rows were solved from."""
        return self.source.find(self.k)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many ratings each row has."""
        return np.diff(self.evidence.indptr)

    @cached_property
    def systems(self) -> RowSystems:
        """The rows' systems; quadratic forms need no values."""
        evidence = self.evidence
        ratings = CSR(evidence.indptr, evidence.indices, evidence.table[0:0, 0], None)
        return RowSystems(ratings, evidence.table, self.k, self.prior.row_prior(self.counts), 0.0)

    def _all_covariances(self, n_threads: int) -> Array | None:
        """Return the packed covariances of all rows, and last that of a row without ratings; None where they are too many."""
        n = len(self.counts)
        if not self.are_kept:
            return None
        found: Array | None = self.__dict__.get("_covariances")
        if found is None:
            found = self.systems.covariances(np.append(np.arange(n, dtype=np.int32), np.int32(-1)), n_threads)
            self.__dict__["_covariances"] = found
        return found

    @property
    def are_kept(self) -> bool:
        """Whether the covariances of all rows are kept."""
        dtype = self.evidence.table.dtype
        return (len(self.counts) + 1) * packed_width(self.k, dtype) * dtype.itemsize <= KEPT_BYTES

    def covariances_of(self, rows: Array | slice, n_threads: int) -> Array:
        """Return the packed covariances of rows, see `RowSystems.covariances`; -1 is a row without ratings."""
        kept = self._all_covariances(n_threads)
        if kept is not None:
            return kept[:-1][rows] if isinstance(rows, slice) else kept[rows]
        if isinstance(rows, slice):
            rows = np.arange(len(self.counts), dtype=np.int32)[rows]
        return self.systems.covariances(rows, n_threads)

    def rows_at_a_time(self, multiple: int) -> int:
        """Return of how many rows to ask for covariances at a time, a multiple of a number."""
        dtype = self.evidence.table.dtype
        return max(1, KEPT_BYTES // (packed_width(self.k, dtype) * dtype.itemsize) // multiple) * multiple

    def add_forms(self, rows: Array, partners: Array, others: Rows, n_threads: int, out: Floats) -> None:
        """Add z' A^-1 z to the entries of `out` (n,) for pairs of a row and z = [factors of a row of the other side ; 1].

        Parameters
        ----------
        rows, partners : ndarray of int32, shape (n,)
            Codes; -1 for unknown ones.
        others : FittedSide
            The other side: its `table` and `vectors`.
        n_threads : int
        out : ndarray of float64, shape (n,)
            IN, OUT.
        """
        if not len(rows):
            return
        n, kept = len(self.counts), self._all_covariances(n_threads)
        indptr, places = np.empty(n + 2, np.int64), np.empty(len(rows), np.int64)
        _scores.group_pairs(rows, indptr, places)
        unknown = others.vectors(np.full(1, -1, np.int32))
        if kept is not None:
            _scores.pair_forms(indptr, places, partners, kept, others.table, unknown[0], self.k, n_threads, out)
            return
        asked = np.flatnonzero(np.diff(indptr))
        # The other side's table, and behind it what unknown partners have.
        z = factor_table(len(others.table) + 1, self.k, others.table.dtype)
        z[:-1], z[-1] = others.table, unknown[0]
        z_rows = np.where(partners >= 0, partners, len(others.table))[places]
        requested = np.where(asked < n, asked, -1).astype(np.int32)
        out[places] += self.systems.quadratic_forms(
            requested, np.append(indptr[asked], len(rows)), z_rows, z, n_threads
        )

    def forms_of_all(self, vectors: Floats, rows: Array, n_threads: int) -> Floats:
        """Return v' A^-1 v of rows for every row v of `vectors` (m, k+1): shape (n, m)."""
        z = factor_table(len(vectors), self.k, self.evidence.table.dtype)
        z[:, : self.k + 1] = vectors
        out = np.empty((len(rows), len(vectors)))
        step = max(1, CHUNK_PAIRS // len(vectors))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            indptr = np.arange(len(part) + 1, dtype=np.int64) * len(vectors)
            partners = np.tile(np.arange(len(vectors), dtype=np.int32), len(part))
            forms = self.systems.quadratic_forms(part, indptr, partners, z, n_threads, bordered=True)
            out[start : start + step] = forms.reshape(len(part), len(vectors))
        return out

    def variances_of(self, rows: Array, n_threads: int) -> Floats:
        """Return the diagonals of A^-1 of rows, shape (n, k+1); -1 is a row without ratings."""
        return self.forms_of_all(np.eye(self.k + 1), rows, n_threads)

    def variances(self, n_threads: int) -> Array:
        """Return the diagonal of A^-1 of every row, and last that of a row without ratings, as a table with biases of 0."""
        return self._solved(n_threads)[0]

    def degrees_of_freedom(self, n_threads: int) -> Floats:
        """Return how many degrees of freedom every row takes from its ratings: tr(A^-1 Z'Z) = k + 1 - tr(Lambda A^-1)."""
        return self._solved(n_threads)[1]

    def _solved(self, n_threads: int) -> tuple[Array, Floats]:
        """Return variances and degrees of freedom; both are published at once, for threads that ask at the same time."""
        found: tuple[Array, Floats] | None = self.__dict__.get("_variances_and_freedom")
        if found is None:
            found = self._solve(n_threads)
            self.__dict__["_variances_and_freedom"] = found
        return found

    def _solve(self, n_threads: int) -> tuple[Array, Floats]:
        """Compute variances and degrees of freedom."""
        rows = np.arange(len(self.counts), dtype=np.int32)
        kept = self._all_covariances(n_threads)
        if kept is None:
            variances = self.variances_of(rows, n_threads)
        else:
            variances = kept[:-1, diagonal_entries(self.k)].astype(np.float64)
            variances[np.isnan(variances)] = np.inf
        if self.prior.precision is None:
            # 0 times infinity, where neither ratings nor the prior determine a row.
            with np.errstate(invalid="ignore"):
                taken = self.systems.prior.row_scale * (variances @ self.prior.diagonal(self.k))
        elif kept is None:
            root = np.linalg.cholesky(self.prior.precision)
            taken = self.forms_of_all(root.T, rows, n_threads).sum(axis=1)
        else:
            taken = self._traces_with(self.prior.precision, kept[:-1])
        # Where a row is not determined, its ratings take all the degrees of freedom that they can.
        taken = np.where(np.isnan(taken), 0.0, taken)
        # A row without ratings takes none, whatever rounding says.
        freedom = np.where(self.counts > 0, np.clip(self.k + 1 - taken, 0.0, self.counts), 0.0)
        table = factor_table(len(rows) + 1, self.k, self.evidence.table.dtype)
        table[:-1, : self.k] = variances[:, : self.k]
        table[-1, : self.k] = self.variances_of(np.full(1, -1, np.int32), n_threads)[0, : self.k]
        return table, freedom

    def _traces_with(self, precision: Array, covariances: Array) -> Floats:
        """Return tr(precision C) of packed covariances C (n, ld)."""
        entries = np.asarray(precision, np.float64)[packed_entries(self.k)]
        out = np.empty(len(covariances))
        # In double precision, some rows at a time: all of them would take twice the memory of the covariances.
        for start in range(0, len(out), CHUNK_PAIRS // len(entries) + 1):
            part = slice(start, start + CHUNK_PAIRS // len(entries) + 1)
            out[part] = covariances[part, : len(entries)].astype(np.float64) @ entries
        return out

    def draw(
        self,
        own: Array,
        wanted: NDArray[np.bool_],
        mean: float,
        sigma: float,
        seed: int,
        draw_index: int,
        n_threads: int,
    ) -> Array:
        """Return a draw of the wanted rows, as a table; the others stay zeros.

        It is a draw of a row system whose prior mean is the row itself and whose ratings are its own predictions: the row
        is then the posterior mean, so that the draw is centred on it.

        Parameters
        ----------
        own : ndarray, shape (n, ld)
            The rows.
        wanted : ndarray of bool, shape (n,)
        mean : float
            The mean of the ratings.
        sigma : float
            The standard deviation of the noise.
        seed, draw_index : int
            What the draw depends on, besides a row's number.
        n_threads : int
        """
        evidence, k, dtype = self.evidence, self.k, self.evidence.table.dtype
        chosen = np.flatnonzero(wanted)
        if sigma == 0:
            out = factor_table(len(own), k, dtype)
            out[chosen] = own[chosen]
            return out
        counts = np.where(wanted, self.counts, 0)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        indices = evidence.indices[np.repeat(wanted, self.counts)]
        rows = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        predicted = np.empty(len(indices))
        _scores.predict_pairs(rows, indices, own, evidence.table, k, mean, n_threads, predicted)
        tasks = solve_tasks(counts[chosen], k)
        tasks = Tasks(chosen[tasks.order].astype(np.int32), tasks.starts)
        ratings = CSR(indptr, indices, predicted.astype(dtype), None)
        prior = self.systems.prior._replace(means=own)
        out, loss = factor_table(len(counts), k, dtype), np.zeros((len(counts), 2))
        systems = RowSystems(ratings, evidence.table, k, prior, mean, tasks=tasks)
        try:
            systems.draw(out, loss, sigma, seed, draw_index, n_threads)
        except SingularRowError:
            raise np.linalg.LinAlgError(
                'strategy is "thompson", but rows with few ratings can be anything where reg or reg_bias is 0: fit with a '
                "regularisation above 0"
            ) from None
        return out

    def draw_cold_start(self, sigma: float, generator: np.random.Generator) -> Floats:
        """Return a draw of a row of which nothing is known, shape (k+1,)."""
        eps, vector = generator.standard_normal(self.k + 1), self.prior.cold_start_vector(self.k)
        if self.prior.precision is not None:
            root = np.linalg.cholesky(self.prior.precision)
            return np.asarray(vector + sigma * scipy.linalg.solve_triangular(root, eps, lower=True, trans=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = self.systems.prior.empty_scale
            return np.asarray(vector + sigma * eps / np.sqrt(self.prior.diagonal(self.k) * scale))


def diagonal_entries(k: int) -> Array:
    """Return where the diagonal is among the entries of a packed covariance, shape (k+1,)."""
    return np.cumsum(np.arange(1, k + 2)) - 1

"""How sure a prediction is: the noise of ratings, and what more ratings would tell of a user and an item.

In the notation of ``_core.pyx``, with the other side as it is, a row's posterior is N(x, sigma^2 A^-1). A user's and an item's
vectors are taken for independent, with covariances sigma^2 A_u^-1 and sigma^2 A_i^-1, so that a rating has the variance

    sigma^2 a_u c_i  +  sigma^2 (z_i' A_u^-1 z_i + z_u' A_i^-1 z_u + sigma^2 tr(A_u^-1 A_i^-1))      z = [factors ; 1].

The first part is noise, which stays; the second is what is not known of the two, which more ratings remove. The trace, over
the factors alone, is of the product of both errors; it is taken from the diagonals. What the fit explains of the training
ratings beyond what it will of others is the same sum at the training pairs, h, so that (GCV's correction for degrees of
freedom, with its second order)

    sum of squared training errors = sigma^2 sum (1 - h).

The noise differs between users and between items: a_u and c_i are the ratios of a row's squared error to the expected one,
each shrunk to 1 by N0 ratings' worth. Ratings lie on a grid within a range, so errors are not Gaussian: quantiles of
standardised training errors say by how much.

Weights of ratings are not kept by a model, and taken for 1 here.

References
----------
V. Coscrato, D. Bridge, "Estimating and evaluating the uncertainty of rating predictions and top-n recommendations in
recommender systems", ACM Transactions on Recommender Systems 1(2), 2023 (methods, and what to measure).

G. Golub, M. Heath, G. Wahba, "Generalized cross-validation as a method for choosing a good ridge parameter",
Technometrics 21(2), 1979, pages 215-223 (the degrees of freedom of a ridge regression: the trace of its hat matrix).

R. Salakhutdinov, A. Mnih, "Bayesian probabilistic matrix factorization using Markov chain Monte Carlo", ICML 2008, pages
880-887 (the posterior of a row given the other side).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.stats
from numpy.typing import NDArray

from alsx import _core, _threads
from alsx.alternation import RowSystems, factor_table, full_precision, workspace
from alsx.prior import Prior, Rows, aligned, row_tasks, scales, tasks
from alsx.ratings import Ratings

Array = NDArray[Any]
Floats = NDArray[np.float64]

# How many ratings' worth of evidence each row's noise is given beforehand that it is like all others'. From 5 to 40 the
# log density of test ratings of MovieLens 100k and latest-small is within 0.003 of the best.
N0 = 20.0

# A row's residual degrees of freedom are at least this share of its ratings: where next to nothing is left over, squared
# errors tell nothing.
LEFT = 0.05

# Training errors that the shape of their distribution is found from, and the levels it is kept at; with fewer errors it is
# drawn to the Gaussian, by SHAPE0 errors' worth.
SAMPLE, LEVELS, SHAPE0 = 65_536, 128, 200.0

# Pairs of users and items at a time.
BLOCK = 8_000_000


class Errors(NamedTuple):
    """
    What a fit leaves behind of its training errors.

    Parameters
    ----------
    user, item : ndarray of float64, shapes (n_users,) and (n_items,)
        The (weighted) sum of squared errors of each row, in squared rating units.
    shape : ndarray of float64, shape (LEVELS,)
        Quantiles of absolute standardised errors over those of the Gaussian, at equally spaced levels.
    """

    user: Floats
    item: Floats
    shape: Floats


def shape_of(errors: Floats) -> Floats:
    """The shape of standardised errors, see `Errors`."""
    levels = (np.arange(LEVELS) + 0.5) / LEVELS
    spread = np.sqrt(np.mean(errors**2)) if len(errors) else 0.0
    if not (np.isfinite(spread) and spread > 0):
        return np.ones(LEVELS)
    ratio = np.quantile(np.abs(errors) / spread, levels) / gaussian(levels)
    return np.asarray((len(errors) * ratio + SHAPE0) / (len(errors) + SHAPE0))


def gaussian(level: Any) -> Any:
    """How many standard deviations from the mean a Gaussian stays with the probability `level`."""
    return scipy.stats.norm.ppf(0.5 + np.asarray(level) / 2)


def deviations(level: float, shape: Floats) -> float:
    """How many standard deviations from the mean errors of a shape stay with the probability `level`."""
    levels = (np.arange(LEVELS) + 0.5) / LEVELS
    return float(gaussian(level) * np.interp(level, levels, shape))


def training_errors(
    ratings: Ratings, tables: tuple[Array, Array], k: int, sums: tuple[Floats, Floats] | None, n_threads: int
) -> Errors:
    """
    What is kept of the training errors.

    Parameters
    ----------
    ratings : Ratings
    tables : pair of ndarray
        Users and items, in rating units.
    k : int
    sums : pair of ndarray of float64, or None
        The squared errors of each row, where the fit has them already; None takes a pass over the ratings.
    n_threads : int
    """
    rows, n = ratings.by_user, ratings.n_ratings
    some = np.arange(min(n, SAMPLE)) * n // min(n, SAMPLE)
    places = np.arange(n) if sums is None else some
    # The last row that begins at or before a place.
    users = np.searchsorted(rows.indptr, places, side="right").astype(np.int32) - np.int32(1)
    items = rows.indices[places]
    errors = np.empty(len(places))
    _core.predict_pairs(users, items, *tables, k, ratings.mean, n_threads, errors)
    errors -= rows.values[places]
    if rows.weights is not None:
        errors *= np.sqrt(rows.weights[places], dtype=np.float64)
    if sums is None:
        squares = errors**2
        sums = (
            np.bincount(users, squares, ratings.n_users).astype(np.float64),
            np.bincount(items, squares, ratings.n_items).astype(np.float64),
        )
        users, items, errors = users[some], items[some], errors[some]
    by_user, by_item = sums
    overall = float(by_item.sum()) / n
    if not (overall > 0 and np.isfinite(overall)):
        return Errors(by_user, by_item, np.ones(LEVELS))
    # The rows' errors as they are: what the fit took up of the training ratings is in them, as it is in each error.
    user_size, item_size = (
        (part / overall + N0) / (np.diff(side.indptr) + N0)
        for part, side in ((by_user, rows), (by_item, ratings.by_item))
    )
    standardised = errors / np.sqrt(overall) / np.sqrt(user_size[users] * item_size[items])
    return Errors(by_user, by_item, shape_of(standardised))


class Evidence(NamedTuple):
    """
    What a side's rows were solved from.

    Parameters
    ----------
    indptr, indices : ndarray of int64 and int32
        Which rows of the other side each row has ratings with, by CSR offsets.
    table : ndarray, shape (n_other, ld)
        The other side, in rating units, with the room that kernels need.
    own : ndarray, shape (n, ld)
        The rows themselves.
    prior : Prior
    errors : ndarray of float64, shape (n,)
        Their squared training errors.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    table: Array
    own: Array
    prior: Prior
    errors: Floats


class Posterior:
    """
    The posterior of one side's rows; everything is found when it is first asked for.

    Parameters
    ----------
    find : callable
        Returns the `Evidence`.
    k : int
    """

    def __init__(self, find: Callable[[], Evidence], k: int) -> None:
        self.find, self.k = find, k
        self._variances: Array | None = None
        self._freedom: Floats | None = None

    @functools.cached_property
    def evidence(self) -> Evidence:
        """What the rows were solved from."""
        return self.find()

    @functools.cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many ratings each row has."""
        return np.diff(self.evidence.indptr)

    @functools.cached_property
    def precision(self) -> Array:
        """Lambda, where it is a full matrix, as kernels read it."""
        prior, dtype = self.evidence.prior, self.evidence.table.dtype
        return self.evidence.table[:0] if prior.precision is None else full_precision(prior.precision, dtype)

    @functools.cached_property
    def diagonal(self) -> Floats:
        """The diagonal of Lambda where it has no more."""
        return np.append(np.full(self.k, self.evidence.prior.reg), self.evidence.prior.reg_bias)

    def scales(self, rows: Array) -> Floats:
        """The scale s of rows; -1 is one without ratings."""
        counts = np.where(rows >= 0, self.counts[rows], 0) if len(self.counts) else np.zeros(len(rows))
        return scales(counts, self.evidence.prior.exponent)

    @functools.cached_property
    def row_scale(self) -> Floats:
        """The scale s of all rows."""
        return self.scales(np.arange(len(self.counts)))

    def quadratics(
        self,
        rows: Array,
        indptr: Array,
        partners: Array,
        z: Array,
        n_threads: int,
        *,
        bordered: bool = False,
    ) -> Floats:
        """
        The forms z' A^-1 z for partners of rows; infinite where the prior says nothing and ratings too little.

        Parameters
        ----------
        rows : ndarray of int32, shape (m,)
            Rows, -1 for one without ratings.
        indptr, partners : ndarray
            The rows of `z` for each of them, by CSR offsets.
        z : ndarray, shape (., >= k + 1)
            Rows like those of the other side's table.
        n_threads : int
        bordered : bool, default=False
            The last entry of z is taken as it is, and not for 1.
        """
        evidence, k, dtype = self.evidence, self.k, self.evidence.table.dtype
        out = np.empty(len(partners))
        if not len(rows):
            return out
        rows = rows.astype(np.int32)
        effort = np.where(rows >= 0, self.counts[rows], 0) if len(self.counts) else np.zeros(len(rows), np.int64)
        jobs = row_tasks(effort + np.diff(indptr), k)
        work = workspace(min(n_threads, len(rows)), _core.quadratic_forms_workspace(k, dtype.itemsize), dtype)
        indptr, partners = indptr.astype(np.int64), partners.astype(np.int32)
        none, prior = np.empty(0, dtype), evidence.prior
        systems = RowSystems(
            evidence.indptr, evidence.indices, none, none, 0.0, 1.0, evidence.table, k, prior.reg, prior.reg_bias,
            self.row_scale, float(self.scales(np.full(1, -1))[0]), self.precision, evidence.table[:0],
        )  # fmt: skip

        def call(starts: NDArray[np.int64], mine: Array) -> int:
            return _core.quadratic_forms(systems, starts, jobs.order, rows, indptr, partners, z, bordered, mine, out)

        _threads.run_tasks(call, jobs.starts, work)
        return out

    def along(self, vectors: Floats, rows: Array, n_threads: int) -> Floats:
        """Find v' A^-1 v of rows for every row v of `vectors` (m, k+1): shape (n, m)."""
        z = factor_table(len(vectors), self.k, self.evidence.table.dtype)
        z[:, : self.k + 1] = vectors
        out = np.empty((len(rows), len(vectors)))
        step = max(1, BLOCK // len(vectors))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            indptr = np.arange(len(part) + 1, dtype=np.int64) * len(vectors)
            partners = np.tile(np.arange(len(vectors), dtype=np.int32), len(part))
            found = self.quadratics(part, indptr, partners, z, n_threads, bordered=True)
            out[start : start + step] = found.reshape(len(part), len(vectors))
        return out

    def variances_of(self, rows: Array, n_threads: int) -> Floats:
        """The diagonals of A^-1, shape (n, k+1)."""
        return self.along(np.eye(self.k + 1), rows, n_threads)

    def solve(self, n_threads: int) -> tuple[Array, Floats]:
        """
        The diagonal of A^-1 of every row, and how many degrees of freedom every row takes from its ratings.

        The latter is tr(A^-1 Z'Z) = k + 1 - tr(Lambda A^-1).
        """
        if self._variances is None or self._freedom is None:
            rows = np.arange(len(self.counts), dtype=np.int32)
            variances = self.variances_of(rows, n_threads)
            if self.evidence.prior.precision is None:
                with np.errstate(
                    invalid="ignore"
                ):  # 0 times infinity, where neither ratings nor the prior say anything
                    taken = self.scales(rows) * (variances @ self.diagonal)
            else:
                root = np.linalg.cholesky(self.evidence.prior.precision)
                taken = self.along(root.T, rows, n_threads).sum(axis=1)
            # A row without ratings takes none, whatever rounding says.
            self._freedom = np.where(self.counts > 0, np.clip(self.k + 1 - taken, 0.0, self.counts), 0.0)
            self._variances = factor_table(len(rows), self.k, self.evidence.table.dtype)
            self._variances[:, : self.k + 1] = variances
        return self._variances, self._freedom

    def draw(self, wanted: NDArray[np.bool_], mean: float, sigma: float, seed: int, turn: int, n_threads: int) -> Array:
        """
        A draw of the wanted rows, as a table; the others stay zeros. It depends on seed, turn and row alone.

        A row solve with a draw, given the row itself as the prior's mean and its own predictions as its ratings: both are
        at rest there, so that the draw is around it.
        """
        evidence, k, dtype = self.evidence, self.k, self.evidence.table.dtype
        counts = np.where(wanted, self.counts, 0)
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        indices = evidence.indices[np.repeat(wanted, self.counts)]
        rows = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        predicted = np.empty(len(indices))
        _core.predict_pairs(rows, indices, evidence.own, evidence.table, k, mean, n_threads, predicted)
        values = predicted.astype(dtype)
        chosen = np.flatnonzero(wanted)
        jobs = row_tasks(counts[chosen], k)
        order = chosen[jobs.order].astype(np.int32)
        out, loss = factor_table(len(counts), k, dtype), np.zeros((len(counts), 2))
        prior = evidence.prior
        work = workspace(min(n_threads, max(1, len(order))), _core.row_workspace(k, dtype.itemsize), dtype)

        systems = RowSystems(
            indptr, indices, values, values[:0], mean, 1.0, evidence.table, k, prior.reg, prior.reg_bias, self.row_scale,
            1.0, self.precision, evidence.own,
        )  # fmt: skip

        def call(starts: NDArray[np.int64], mine: Array) -> int:
            return _core.solve_rows(systems, starts, order, mine, out, loss, sigma, seed, turn)

        if len(order) and sigma > 0 and _threads.run_tasks(call, jobs.starts, work):
            raise np.linalg.LinAlgError(
                'strategy is "thompson", but rows with few ratings can be anything where reg or reg_bias is 0: fit with a '
                "regularisation above 0"
            )
        if sigma == 0:
            out[chosen] = evidence.own[chosen]
        return out

    def stranger(self) -> Floats:
        """A row of which nothing is known."""
        unknown = self.evidence.prior.unknown
        return np.zeros(self.k + 1) if unknown is None else np.asarray(unknown, np.float64)

    def draw_stranger(self, sigma: float, generator: np.random.Generator) -> Floats:
        """A draw of a row of which nothing is known."""
        eps, prior = generator.standard_normal(self.k + 1), self.evidence.prior
        if prior.precision is not None:
            root = np.linalg.cholesky(prior.precision)
            return np.asarray(self.stranger() + sigma * scipy.linalg.solve_triangular(root, eps, lower=True, trans=1))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.stranger() + sigma * eps / np.sqrt(self.diagonal * self.scales(np.full(1, -1))))

    def vectors(self, codes: Array) -> Array:
        """Rows of codes, -1 for nobody, as a table that kernels can read."""
        out = factor_table(len(codes), self.k, self.evidence.table.dtype)
        out[:, : self.k + 1] = np.where((codes >= 0)[:, None], self.evidence.own[codes, : self.k + 1], self.stranger())
        return out


class Noise(NamedTuple):
    """
    The noise of ratings.

    Parameters
    ----------
    sigma2 : float
        sigma^2, in squared rating units.
    user, item : ndarray of float64, shapes (n_users + 1,) and (n_items + 1,)
        a_u and c_i; the last entry, 1, is for those of whom nothing is known.
    taken : tuple of float (users, items)
        The share of a training rating's noise that the other side's row takes up, and both together.
    """

    sigma2: float
    user: Floats
    item: Floats
    taken: tuple[float, float]


class Uncertainty:
    """
    The variance of predictions; what it rests on is found at the first call that asks, and kept.

    Parameters
    ----------
    users, items : Posterior
    k : int
    shape : ndarray
        See `Errors`.
    find_noise : callable or None
        ``find_noise(self, n_threads)`` returns the `Noise`. Default: from the training errors.
    """

    def __init__(
        self,
        users: Posterior,
        items: Posterior,
        k: int,
        shape: Floats,
        find_noise: Callable[[Uncertainty, int], Noise] | None = None,
    ) -> None:
        self.users, self.items, self.k, self.shape = users, items, k, shape
        self.find_noise = find_noise or _fitted_noise
        self._noise: Noise | None = None

    def noise(self, n_threads: int) -> Noise:
        """The noise of ratings."""
        if self._noise is None:
            self._noise = self.find_noise(self, n_threads)
        return self._noise

    def with_users(self, evidence: Evidence) -> Uncertainty:
        """The same items for other users, who were folded in."""

        def find_noise(new: Uncertainty, n_threads: int) -> Noise:
            old = self.noise(n_threads)
            return old._replace(user=np.append(_ratios_alone(new.users, old, 0, n_threads), 1.0))

        return Uncertainty(Posterior(lambda: evidence, self.k), self.items, self.k, self.shape, find_noise)

    def with_items(self, evidence: Evidence, from_old: Array, from_new: Array, own: Array) -> Uncertainty:
        """
        The same users with items that were folded in.

        Parameters
        ----------
        evidence : Evidence
            Of the new items.
        from_old, from_new : ndarray
            Where the items from before, and the new ones, are among all; of one in both the new ratings count.
        own : ndarray, shape (n, ld)
            All items.
        """
        new_items = Posterior(lambda: evidence, self.k)

        def find_noise(new: Uncertainty, n_threads: int) -> Noise:
            old = self.noise(n_threads)
            ratios = np.ones(len(own) + 1)
            ratios[from_old] = old.item[:-1]
            ratios[from_new] = _ratios_alone(new_items, old, 1, n_threads)
            return old._replace(item=ratios)

        def find() -> Evidence:
            old = self.items.evidence
            table, shift = old.table, 0
            if evidence.table is not table:
                shift = len(table)
                table = aligned(shift + len(evidence.table), table.shape[1], table.dtype)
                table[:shift], table[shift:] = old.table, evidence.table
            rows = np.concatenate(
                [np.repeat(from_old, np.diff(old.indptr)), np.repeat(from_new, np.diff(evidence.indptr))]
            )
            indices = np.concatenate([old.indices, evidence.indices + np.int32(shift)])
            kept = np.ones(len(rows), bool)
            kept[: len(old.indices)] = ~np.isin(rows[: len(old.indices)], from_new)
            rows, indices = rows[kept], indices[kept]
            errors = np.zeros(len(own))
            errors[from_old] = old.errors
            errors[from_new] = evidence.errors
            indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(own)))]).astype(np.int64)
            return Evidence(indptr, indices[np.argsort(rows, kind="stable")], table, own, old.prior, errors)

        return Uncertainty(self.users, Posterior(find, self.k), self.k, self.shape, find_noise)

    def of_pairs(self, users: Array, items: Array, n_threads: int) -> tuple[Floats, Floats]:
        """The variances of pairs of codes, -1 for unknown ones: of the noise, and of what is not known."""
        sigma2, a, c, _ = self.noise(n_threads)
        noise = sigma2 * a[users] * c[items]
        epistemic = np.zeros(len(users))
        halves = []
        for own, other, mine, theirs in (
            (self.users, self.items, users, items),
            (self.items, self.users, items, users),
        ):
            rows, place = np.unique(mine, return_inverse=True)
            others, partner = np.unique(theirs, return_inverse=True)
            order = np.argsort(place, kind="stable")
            indptr = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=len(rows)))])
            epistemic[order] += own.quadratics(rows, indptr, partner[order], other.vectors(others), n_threads)
            halves.append((self._diagonals(own, rows, n_threads), place))
        if self.k:
            (v, x), (w, y) = halves
            for start in range(0, len(users), BLOCK // self.k + 1):
                part = slice(start, start + BLOCK // self.k + 1)
                epistemic[part] += sigma2 * np.einsum("ij,ij->i", v[x[part]], w[y[part]])
        return noise, sigma2 * epistemic if sigma2 > 0 else np.zeros(len(users))

    def of_all(self, users: Array, items: Array, n_threads: int) -> Floats:
        """The variance of what is not known of every user with every item: shape (m, n)."""
        sigma2 = self.noise(n_threads).sigma2
        m, n = len(users), len(items)
        out = self.users.quadratics(
            users, np.arange(m + 1) * n, np.tile(np.arange(n), m), self.items.vectors(items), n_threads
        ).reshape(m, n)
        out += (
            self.items.quadratics(
                items, np.arange(n + 1) * m, np.tile(np.arange(m), n), self.users.vectors(users), n_threads
            )
            .reshape(n, m)
            .T
        )
        if self.k:
            v, w = self._diagonals(self.users, users, n_threads), self._diagonals(self.items, items, n_threads)
            out += sigma2 * (v @ w.T)
        return sigma2 * out if sigma2 > 0 else np.zeros((m, n))

    def _diagonals(self, side: Posterior, rows: Array, n_threads: int) -> Floats:
        """The diagonals of A^-1 without the bias."""
        known = rows >= 0
        out = np.empty((len(rows), self.k))
        out[known] = side.solve(n_threads)[0][rows[known], : self.k]
        if not known.all():
            out[~known] = side.variances_of(np.full(1, -1, np.int32), n_threads)[0, : self.k]
        return out


def _fitted_noise(model: Uncertainty, n_threads: int) -> Noise:
    """The noise that the training errors tell of."""
    users, items = model.users, model.items
    n, total = len(items.evidence.indices), float(items.evidence.errors.sum())
    first = [float(side.solve(n_threads)[1].sum()) / n for side in (users, items)]
    both = min(sum(first), 1 - LEFT)
    products = _product(users, _sums(users, items, n_threads))
    second = float(products.sum()) / n
    # total = n sigma^2 (1 - both - sigma^2 second): the lesser root, or where there is none what is next to one.
    room = (1 - both) ** 2 - 4 * second * total / n
    sigma2 = 2 * total / n / (1 - both + float(np.sqrt(max(room, 0.0))))
    taken = (first[1] + sigma2 * second, first[0] + sigma2 * second)
    ones = np.ones(len(users.counts) + 1), np.ones(len(items.counts) + 1)
    if sigma2 == 0:
        return Noise(0.0, *ones, taken)
    ratios = []
    for own, other in ((users, items), (items, users)):
        ratios.append((own.evidence.errors / sigma2 + N0) / (_left(own, other, sigma2, n_threads) + N0))
    # Together they must explain the whole error and no more.
    expected = sigma2 * float(ratios[0] @ _left(users, items, sigma2, n_threads, ratios[1]))
    return Noise(sigma2, np.append(ratios[0] * (total / expected), 1.0), np.append(ratios[1], 1.0), taken)


def _ratios_alone(own: Posterior, old: Noise, side: int, n_threads: int) -> Floats:
    """The noise of rows that were folded in, over that of all: the other side takes up as much as it does on average."""
    if old.sigma2 == 0:
        return np.ones(len(own.counts))
    left = np.maximum(own.counts * (1 - old.taken[side]) - own.solve(n_threads)[1], LEFT * own.counts)
    return np.asarray((own.evidence.errors / old.sigma2 + N0) / (left + N0))


def _sums(own: Posterior, other: Posterior, n_threads: int, weights: Floats | None = None) -> Array:
    """
    Sums over what each row has ratings with, each times its weight: the diagonals of A^-1 in the first k columns, then the
    share of a rating that its row takes up, then 1.
    """
    k, dtype = own.k, own.evidence.table.dtype
    v, freedom = other.solve(n_threads)
    parts, out = factor_table(len(v), k + 1, dtype), factor_table(len(own.counts), k + 1, dtype)
    parts[:, :k] = v[:, :k]
    parts[:, k] = freedom / np.maximum(other.counts, 1)
    parts[:, k + 1] = 1
    if weights is not None:
        parts[:, : k + 2] *= weights[:, None].astype(dtype)
    rows = Rows(own.evidence.indptr, own.evidence.indices, out[0, :0], tasks(own.counts, 1.0, 4.0))
    rows.times(parts, k + 2, np.ones(len(own.counts)), n_threads, out)
    return out


def _product(own: Posterior, sums: Array) -> Floats:
    """tr(A^-1 A_i^-1) of each row, summed over what it has ratings with, by the diagonals."""
    rated = own.counts > 0
    out = np.zeros(len(rated))
    v = own.solve(1)[0][rated, : own.k].astype(np.float64)
    out[rated] = np.einsum("ij,ij->i", v, sums[rated, : own.k].astype(np.float64))
    return out


def _left(own: Posterior, other: Posterior, sigma2: float, n_threads: int, weights: Floats | None = None) -> Floats:
    """The residual degrees of freedom of each row, sum (1 - h), each rating times the weight of the other side's row."""
    sums, share = _sums(own, other, n_threads, weights), own.solve(n_threads)[1] / np.maximum(own.counts, 1)
    mass = sums[:, own.k + 1].astype(np.float64)
    left = mass * (1 - share) - sums[:, own.k] - sigma2 * _product(own, sums)
    return np.asarray(np.maximum(left, LEFT * mass))


def by_item(indptr: Array, indices: Array, table: Array, own: Array, prior: Prior, errors: Floats) -> Evidence:
    """The evidence of items from the rows of users."""
    seen = scipy.sparse.csr_array((np.ones(len(indices), bool), indices, indptr), shape=(len(indptr) - 1, len(own)))
    columns = seen.tocsc()
    return Evidence(columns.indptr.astype(np.int64), columns.indices.astype(np.int32), table, own, prior, errors)

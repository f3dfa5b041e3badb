"""The uncertainty of predictions: the noise of ratings, and what more ratings would tell of a user and an item.

In the notation of ``_core.pyx``, with the other side as it is, a row's posterior is N(x, sigma^2 A^-1). A user's and an item's
vectors are taken for independent, with covariances sigma^2 A_u^-1 and sigma^2 A_i^-1, so that a rating has the variance

    sigma^2 a_u c_i  +  sigma^2 (z_i' A_u^-1 z_i + z_u' A_i^-1 z_u + sigma^2 tr(A_u^-1 A_i^-1))      z = [factors ; 1].

The first part is noise, which stays; the second is what is not known of the two, which more ratings remove. The trace, over
the factors alone, is of the product of both errors; it is taken from the diagonals. What the fit explains of the training
ratings beyond what it will of others is the same sum at the training pairs, h, so that (GCV's correction for degrees of
freedom, with its second order)

    sum of squared training errors = sigma^2 sum (1 - h).

The noise differs between users and between items: a_u and c_i are the ratios of a row's squared error to the expected one,
each shrunk to 1 by NOISE_PRIOR_COUNT ratings. Ratings lie on a grid within a range, so errors are not Gaussian: quantiles of
training errors, each over the size that the other errors of its user and item tell, say by how much.

Weights of ratings, unless they are 0, are taken for 1 here.

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

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from alsx import _scores
from alsx._solver import SIDES
from alsx._solver.posterior import Evidence, MergedEvidence, PlainData, Posterior, Rows
from alsx._solver.regression import SparseOperator
from alsx._solver.tables import factor_table
from alsx.ratings import Ratings

Array = NDArray[Any]
Floats = NDArray[np.float64]

# How many ratings' worth of evidence each row's noise has beforehand that it is like all others'. From 5 to 40 the log
# density of test ratings of MovieLens 100k and latest-small is within 0.003 of the best.
NOISE_PRIOR_COUNT = 20.0

# A row's residual degrees of freedom are at least this share of its ratings: where next to nothing is left over, squared
# errors tell nothing.
MIN_RESIDUAL_SHARE = 0.05

# Training errors from which the shape of their distribution is found, and the levels at which it is kept.
SHAPE_SAMPLE, SHAPE_LEVELS = 65_536, 128

# Ratings whose errors are looked at at a time.
CHUNK_ERRORS = 2**17

# With fewer errors the shape is drawn to the Gaussian, by this many errors' worth.
SHAPE_PRIOR_COUNT = 200.0


class Errors(NamedTuple):
    """What a fit leaves behind of its training errors.

    Parameters
    ----------
    user, item : ndarray of float64, shapes (n_users,) and (n_items,)
        The (weighted) sum of squared errors of each row, in squared rating units.
    shape : ndarray of float64, shape (SHAPE_LEVELS,)
        Quantiles of absolute standardised errors over those of the Gaussian, at equally spaced levels.
    """

    user: Floats
    item: Floats
    shape: Floats


def shape_of(errors: Floats) -> Floats:
    """The shape of standardised errors, see `Errors`."""
    levels = (np.arange(SHAPE_LEVELS) + 0.5) / SHAPE_LEVELS
    spread = np.sqrt(np.mean(errors**2)) if len(errors) else 0.0
    if not (np.isfinite(spread) and spread > 0):
        return np.ones(SHAPE_LEVELS)
    ratio = np.quantile(np.abs(errors) / spread, levels) / gaussian(levels)
    return np.asarray((len(errors) * ratio + SHAPE_PRIOR_COUNT) / (len(errors) + SHAPE_PRIOR_COUNT))


def gaussian(level: Any) -> Any:
    """How many standard deviations from the mean a Gaussian stays with the probability `level`."""
    return scipy.stats.norm.ppf(0.5 + np.asarray(level) / 2)


def deviations(level: float, shape: Floats) -> float:
    """How many standard deviations from the mean errors of a shape stay with the probability `level`."""
    levels = (np.arange(SHAPE_LEVELS) + 0.5) / SHAPE_LEVELS
    return float(gaussian(level) * np.interp(level, levels, shape))


def training_errors(
    ratings: Ratings,
    tables: tuple[Array, Array],
    k: int,
    sums: tuple[Floats, Floats] | None,
    n_threads: int,
    shift: Floats | None = None,
) -> Errors:
    """What is kept of the training errors.

    Parameters
    ----------
    ratings : Ratings
    tables : pair of ndarray
        Users and items, in rating units.
    k : int
    sums : pair of ndarray of float64, or None
        The squared errors of each row, where the fit has them already; None takes a pass over the ratings.
    n_threads : int
    shift : ndarray of float64, shape (n_ratings,), default=None
        What predictions are besides the tables', by user. Default: nothing.
    """
    rows, n = ratings.by_user, ratings.n_ratings

    def errors_at(places: Array) -> tuple[Array, Array, Floats]:
        """Users, items and errors of some ratings."""
        # The last row that begins at or before a place.
        users = np.searchsorted(rows.indptr, places, side="right").astype(np.int32) - np.int32(1)
        items = rows.indices[places]
        errors = np.empty(len(places))
        _scores.predict_pairs(users, items, *tables, k, ratings.mean, n_threads, errors)
        if shift is not None:
            errors += shift[places]
        errors -= rows.values[places]
        if rows.weights is not None:
            errors *= np.sqrt(rows.weights[places], dtype=np.float64)
        return users, items, errors

    if sums is None:
        sums = np.zeros(ratings.n_users), np.zeros(ratings.n_items)
        # Some ratings at a time: what is found of each would take ten times as much as the ratings do.
        for start in range(0, n, CHUNK_ERRORS):
            users, items, errors = errors_at(np.arange(start, min(n, start + CHUNK_ERRORS)))
            for total, codes in zip(sums, (users, items), strict=True):
                total += np.bincount(codes, errors**2, len(total))
    users, items, errors = errors_at(sample_places(n))
    by_user, by_item = sums
    counts = np.diff(rows.indptr)[users], np.diff(ratings.by_item.indptr)[items]
    shape = error_shape(errors, float(by_item.sum()) / n, (by_user[users], by_item[items]), counts)
    return Errors(by_user, by_item, shape)


def sample_places(n: int) -> NDArray[np.int64]:
    """Return the places of the ratings, of n by user, whose errors tell the shape."""
    return np.asarray(np.arange(min(n, SHAPE_SAMPLE)) * n // min(n, SHAPE_SAMPLE))


def error_shape(
    errors: Floats, overall: float, sums: tuple[Floats, Floats], counts: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> Floats:
    """Return the shape of the errors of some ratings, see `Errors`.

    Parameters
    ----------
    errors : ndarray of float64, shape (m,)
    overall : float
        The mean squared error of all ratings.
    sums, counts : pairs of ndarray, shape (m,)
        The squared error of the user and of the item of each, and how many ratings they have.
    """
    if not (overall > 0 and np.isfinite(overall)):
        return np.ones(SHAPE_LEVELS)
    # The rows' errors as they are: what the fit took up of the training ratings is in them, as it is in each error. But the error
    # itself is left out, as a rating to come has no part in the size that it is compared with: else large errors would pass for
    # smaller ones, and the shape would have too little in the middle and in its tails.
    own = errors**2
    user_size, item_size = (
        (np.maximum(part - own, 0.0) / overall + NOISE_PRIOR_COUNT) / (n - 1 + NOISE_PRIOR_COUNT)
        for part, n in zip(sums, counts, strict=True)
    )
    return shape_of(errors / np.sqrt(overall) / np.sqrt(user_size * item_size))


@dataclass(frozen=True, eq=False)
class Noise(PlainData):
    """The noise of ratings.

    Parameters
    ----------
    sigma2 : float
        sigma^2, in squared rating units; infinite where there are too few ratings to tell.
    user, item : ndarray of float64, shapes (n_users + 1,) and (n_items + 1,)
        a_u and c_i; the last entry, 1, is for rows of which nothing is known.
    taken : tuple of float (users, items)
        The share of a training rating's noise that the other side's row takes up, and both together.
    """

    sigma2: float
    user: Floats
    item: Floats
    taken: tuple[float, float]

    def find(self, n_threads: int) -> Noise:
        """Return itself."""
        return self


@dataclass(frozen=True, eq=False)
class FoldedNoise(PlainData):
    """The noise after rows were folded in: theirs comes from their own errors, all else is as before.

    Parameters
    ----------
    old : Uncertainty
        From before.
    side : {"user", "item"}
        Whose rows were folded in.
    new_rows : Posterior
        Of the rows folded in.
    from_old, from_new : ndarray
        Where the rows are among the merged ones, see `MergedEvidence`; `from_old` is None where none of the old rows is.
    n : int
        How many merged rows there are.
    """

    old: Uncertainty
    side: str
    new_rows: Posterior
    from_old: Array | None
    from_new: Array
    n: int

    def find(self, n_threads: int) -> Noise:
        """Return the noise."""
        old = self.old.noise(n_threads)
        ratios = np.ones(self.n + 1)
        if self.from_old is not None:
            ratios[self.from_old] = (old.user if self.side == "user" else old.item)[:-1]
        ratios[self.from_new] = _ratios_of_new_rows(self.new_rows, old, SIDES.index(self.side), n_threads)
        if self.side == "user":
            return dataclasses.replace(old, user=ratios)
        return dataclasses.replace(old, item=ratios)


@dataclass(frozen=True, eq=False)
class Uncertainty(PlainData):
    """The variance of predictions; what it rests on is found at the first call that asks, and kept.

    Parameters
    ----------
    users, items : Posterior
    k : int
    error_shape : ndarray
        See `Errors`.
    noise_source : Noise or FoldedNoise, default=None
        Default: the noise is found from the training errors.
    """

    users: Posterior
    items: Posterior
    k: int
    error_shape: Floats
    noise_source: Noise | FoldedNoise | None = None

    def noise(self, n_threads: int) -> Noise:
        """Return the noise of ratings."""
        found: Noise | None = self.__dict__.get("_noise")
        if found is None:
            found = _fitted_noise(self, n_threads) if self.noise_source is None else self.noise_source.find(n_threads)
            self.__dict__["_noise"] = found
        return found

    def folded(self, side: str, new: Evidence, from_old: Array, from_new: Array, n: int) -> Uncertainty:
        """Return the uncertainty after rows of one side were folded in.

        Parameters
        ----------
        side : {"user", "item"}
        new : Evidence
            Of the rows folded in.
        from_old, from_new, n
            Where they are among the merged rows, see `MergedEvidence`.
        """
        old = self.users if side == "user" else self.items
        merged = Posterior(MergedEvidence(old.source, new, from_old, from_new, n), old.prior, self.k)
        users, items = (merged, self.items) if side == "user" else (self.users, merged)
        noise = FoldedNoise(self, side, Posterior(new, old.prior, self.k), from_old, from_new, n)
        return Uncertainty(users, items, self.k, self.error_shape, noise)

    def of_new_users(self, new: Evidence) -> Uncertainty:
        """Return the uncertainty of a model whose users are new ones alone, folded in with this evidence."""
        users, n = Posterior(new, self.users.prior, self.k), len(new.indptr) - 1
        noise = FoldedNoise(self, "user", users, None, np.arange(n), n)
        return Uncertainty(users, self.items, self.k, self.error_shape, noise)

    def of_pairs(
        self, users: Array, items: Array, user_rows: Rows, item_rows: Rows, n_threads: int
    ) -> tuple[Floats, Floats]:
        """Return the variances of pairs of codes: of the noise, and of what is not known of the two.

        Parameters
        ----------
        users, items : ndarray of int32, shape (n,)
            Codes; -1 for unknown ones.
        user_rows, item_rows : FittedSide
            The sides of the model, see `Rows`.
        n_threads : int
        """
        noise = self.noise(n_threads)
        sigma2 = noise.sigma2
        if not np.isfinite(sigma2):
            return np.full(len(users), np.inf), np.full(len(users), np.inf)
        aleatoric = sigma2 * noise.user[users] * noise.item[items]
        if sigma2 == 0:
            return aleatoric, np.zeros(len(users))
        epistemic = np.zeros(len(users))
        if self.k:  # the trace of the product of both errors, a product of rows like a prediction
            # Rows behind the last one are those without ratings.
            mine = np.where(users >= 0, users, len(self.users.counts)).astype(np.int32)
            theirs = np.where(items >= 0, items, len(self.items.counts)).astype(np.int32)
            tables = self.users.variances(n_threads), self.items.variances(n_threads)
            _scores.predict_pairs(mine, theirs, tables[0], tables[1], self.k, 0.0, n_threads, epistemic)
            epistemic *= sigma2
        self.users.add_forms(users, items, item_rows, n_threads, epistemic)
        self.items.add_forms(items, users, user_rows, n_threads, epistemic)
        epistemic *= sigma2
        epistemic[np.isnan(epistemic)] = np.inf  # 0 times infinity, where rows are not determined
        return aleatoric, epistemic


def _fitted_noise(model: Uncertainty, n_threads: int) -> Noise:
    """Return the noise that the training errors tell of."""
    users, items = model.users, model.items
    n, total = len(items.evidence.indices), float(items.evidence.errors.sum())
    first = [float(side.degrees_of_freedom(n_threads).sum()) / n for side in (users, items)]
    both = min(sum(first), 1 - MIN_RESIDUAL_SHARE)
    ones = np.ones(len(users.counts) + 1), np.ones(len(items.counts) + 1)
    # The mean takes a degree of freedom too, which matters where there are next to no ratings.
    if n * (1 - both) <= 1:
        return Noise(np.inf, *ones, (first[1], first[0]))
    if total == 0:
        return Noise(0.0, *ones, (first[1], first[0]))
    traces = _traces(users, _sums_over_ratings(users, items, n_threads))
    # Infinite where rows are not determined, for want of regularisation; the first order is all there is then.
    second = float(traces.sum()) / n if np.isfinite(traces).all() else 0.0
    # total = n sigma^2 (1 - both - sigma^2 second): the lesser root, or the vertex where the discriminant is negative.
    discriminant = (1 - both) ** 2 - 4 * second * total / n
    sigma2 = 2 * total / n / (1 - both + float(np.sqrt(max(discriminant, 0.0))))
    taken = (first[1] + sigma2 * second, first[0] + sigma2 * second)
    ratios = []
    for own, other in ((users, items), (items, users)):
        residual = _residual_freedom(own, other, sigma2, n_threads)
        ratios.append((own.evidence.errors / sigma2 + NOISE_PRIOR_COUNT) / (residual + NOISE_PRIOR_COUNT))
    # Together they must explain the whole error and no more.
    expected = sigma2 * float(ratios[0] @ _residual_freedom(users, items, sigma2, n_threads, ratios[1]))
    return Noise(sigma2, np.append(ratios[0] * (total / expected), 1.0), np.append(ratios[1], 1.0), taken)


def _ratios_of_new_rows(own: Posterior, old: Noise, side: int, n_threads: int) -> Floats:
    """Return the noise of rows that were folded in, over that of all.

    The other side is taken to take up as much of a rating's noise as it does on average.
    """
    if old.sigma2 == 0 or not np.isfinite(old.sigma2):
        return np.ones(len(own.counts))
    residual = own.counts * (1 - old.taken[side]) - own.degrees_of_freedom(n_threads)
    residual = np.maximum(residual, MIN_RESIDUAL_SHARE * own.counts)
    return np.asarray((own.evidence.errors / old.sigma2 + NOISE_PRIOR_COUNT) / (residual + NOISE_PRIOR_COUNT))


def _sums_over_ratings(own: Posterior, other: Posterior, n_threads: int, weights: Floats | None = None) -> Array:
    """Return sums over what each row has ratings with, each times its weight, as a table.

    The diagonals of A^-1 are in the first k columns, then the share of a rating that its row takes up, then 1.
    """
    k, dtype = own.k, own.evidence.table.dtype
    variances, freedom = other.variances(n_threads)[:-1], other.degrees_of_freedom(n_threads)
    parts, out = factor_table(len(variances), k + 1, dtype), factor_table(len(own.counts), k + 1, dtype)
    parts[:, :k] = variances[:, :k]
    parts[:, k] = freedom / np.maximum(other.counts, 1)
    parts[:, k + 1] = 1
    if weights is not None:
        parts[:, : k + 2] *= weights[:, None].astype(dtype)
    operator = SparseOperator.pattern(own.evidence.indptr, own.evidence.indices, dtype)
    operator.times(parts, k + 2, np.ones(len(own.counts)), n_threads, out)
    return out


def _traces(own: Posterior, sums: Array) -> Floats:
    """Return tr(A^-1 A_i^-1) of each row, summed over what it has ratings with, by the diagonals."""
    rated = own.counts > 0
    out = np.zeros(len(rated))
    variances = own.variances(1)[:-1][rated, : own.k].astype(np.float64)
    with np.errstate(invalid="ignore"):  # 0 times infinity, where rows are not determined
        out[rated] = np.einsum("ij,ij->i", variances, sums[rated, : own.k].astype(np.float64))
    return out


def _residual_freedom(
    own: Posterior, other: Posterior, sigma2: float, n_threads: int, weights: Floats | None = None
) -> Floats:
    """Return the residual degrees of freedom of each row, sum (1 - h), where h is a training pair's leverage.

    Each rating counts times the weight of the other side's row.
    """
    sums = _sums_over_ratings(own, other, n_threads, weights)
    share = own.degrees_of_freedom(n_threads) / np.maximum(own.counts, 1)
    weight_sum = sums[:, own.k + 1].astype(np.float64)
    residual = weight_sum * (1 - share) - sums[:, own.k] - sigma2 * _traces(own, sums)
    return np.asarray(np.fmax(residual, MIN_RESIDUAL_SHARE * weight_sum))

"""Ordinal ratings: an ordered probit model on the sampler of `gibbs`.

A rating is one of a few levels v_1 < ... < v_L, and tells between which cut points a latent number lies:

    y = mu + b_u + c_i + p_u . q_i + eps,    eps ~ N(0, 1 / (PRECISION w)),    r = v_l  where  g_{l-1} < y <= g_l

with g_0 = -inf and g_L = inf. Given y, rows and hyper-parameters are drawn as those of a Gaussian model whose ratings are y. Given
them and the cut points, y is drawn from a normal distribution truncated to the interval of its rating (Albert and Chib 1993). The
cut points are drawn with the latent numbers integrated out (Cowles 1996), or they could move no further than to the nearest of
them: a Metropolis-Hastings step whose proposal is the normal distribution that a Newton step finds. They have a wide normal prior,
in ascending order; the variance of eps is fixed, since the scale of latent numbers is not determined by the ratings.

A rating of level l is predicted with the probability Phi((g_l - e) / s) - Phi((g_{l-1} - e) / s), where e is the prediction of y at
the means of the draws and s^2 the variance of eps and of e among the draws, and then with what is known of how its user uses the
levels, see `scale_usage`.

References
----------
J. H. Albert, S. Chib, "Bayesian analysis of binary and polychotomous response data", Journal of the American Statistical
Association 88, 1993, pages 669-679.

M. K. Cowles, "Accelerating Monte Carlo Markov chain convergence for cumulative-link generalized linear models", Statistics and
Computing 6, 1996, pages 101-111.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from alsx import _scores, _threads
from alsx._solver.alternation import Alternation
from alsx._solver.gibbs import Chain, Gibbs
from alsx._solver.ordinal import OrdinalScale
from alsx._solver.scale_usage import learn_scale_usage
from alsx.ratings import CSR

Array = NDArray[Any]
Floats = NDArray[np.float64]

# The precision of eps, in latent numbers whose scale is about that of ratings of standard deviation 1: about that of the noise of
# the Gaussian model on MovieLens, so that the priors of the other hyper-parameters mean the same.
LATENT_PRECISION = 2.0

# The standard deviation of a cut point's prior around the midpoint of its two levels, in standard deviations of the ratings.
CUT_POINT_SD = 10.0

# Sweeps from one move of the cut points to the next, after the burn-in. Many ratings place them so well that they hardly differ
# from draw to draw, and a move takes longer than the latent numbers.
MOVE_EVERY = 8

# Newton steps that find the cut points at the start.
START_STEPS = 20

# Ratings that are worked on at a time, each with a random stream of its own, so that threads change no bit.
BLOCK = 2**16

# Places at which expected ratings are found for the training error.
GRID_POINTS = 4096

# Pairs whose predictions are followed over the draws, to know by how much they vary.
FOLLOWED_PAIRS = 1024

# A draw counts for at most 1 over this, or a single one in which a rating is next to impossible would be all that counts.
LEAST_PROBABILITY = 1e-6

# Where a probability is 0 to rounding, so that its logarithm stays a number.
TINY = 1e-300

ROOT_2PI = float(np.sqrt(2 * np.pi))


class Interval(NamedTuple):
    """An interval of the standard normal distribution, mirrored where it lies above 0, so that its tail keeps its digits.

    Parameters
    ----------
    mirrored : ndarray of bool, shape (n,)
    low, high : ndarray of float64, shape (n,)
        The ends, after mirroring.
    below, probability : ndarray of float64, shape (n,)
        The probabilities of what lies below the interval and in it.
    """

    mirrored: NDArray[np.bool_]
    low: Floats
    high: Floats
    below: Floats
    probability: Floats

    @classmethod
    def of(cls, low: Floats, high: Floats) -> Interval:
        """Return the interval between two ends, of which one may be infinite."""
        mirrored = low + high > 0
        low, high = np.where(mirrored, -high, low), np.where(mirrored, -low, high)
        below = ndtr(low)
        return cls(mirrored, low, high, below, np.maximum(ndtr(high) - below, TINY))

    def draw(self, uniform: Floats) -> Floats:
        """Return draws of the normal distribution truncated to the interval, from uniform numbers."""
        inside = np.clip(ndtri(self.below + uniform * self.probability), self.low, self.high)
        return np.asarray(np.where(self.mirrored, -inside, inside))


class Slope(NamedTuple):
    """The log density of the cut points, its gradient, and minus its second derivatives (L-1, L-1), which are positive definite."""

    value: float
    gradient: Floats
    information: Floats


class LatentRatings:
    """The latent numbers of the training ratings, and the cut points, in units in which the ratings have standard deviation 1.

    Parameters
    ----------
    start : Alternation
        Whose sides take the latent numbers for ratings from now on.
    levels : ndarray of float64, shape (L,)
        The distinct ratings, ascending.
    generator : numpy.random.Generator

    Attributes
    ----------
    cut_points : ndarray of float64, shape (L-1,)
    squared_error : float
        Of the expected ratings, in squared rating units, at the last draw.
    weight_sums, weighted_sums : ndarray of float32, shape (n_ratings,), or None
        Of the draws that are kept, by user: the sums of 1 over the rating's probability, and of its prediction times that.
    """

    def __init__(self, start: Alternation, levels: Floats, generator: np.random.Generator) -> None:
        self.start, self.levels, self.generator = start, levels, generator
        self.seed, self.draw_index = int(generator.integers(2**63)), 0
        by_user, by_item = start.users.ratings, start.items.ratings
        n = len(by_user.indices)
        # A rating of weight 0 may be none of the levels; it does not count.
        codes = np.searchsorted(levels, by_user.values.astype(np.float64))
        self.codes = np.minimum(codes, len(levels) - 1).astype(np.uint8)
        self.rows = np.repeat(np.arange(len(by_user.indptr) - 1, dtype=np.int32), np.diff(by_user.indptr))
        self.counted = None if by_user.weights is None else by_user.weights > 0
        places = np.arange(n, dtype=np.int32 if n < 2**31 else np.int64)
        shape = len(by_user.indptr) - 1, len(by_item.indptr) - 1
        # Where each of the ratings by item is among those by user.
        self.order = scipy.sparse.csr_array((places, by_user.indices, by_user.indptr), shape=shape).tocsc().data
        self.values = np.empty(n, by_user.values.dtype)
        self.item_values = np.empty(n, by_user.values.dtype)
        start.users.ratings, start.items.ratings = (
            CSR(rows.indptr, rows.indices, values, rows.weights)
            for rows, values in ((by_user, self.values), (by_item, self.item_values))
        )
        self.squared_error = 0.0
        self.weight_sums: Array | None = None
        self.weighted_sums: Array | None = None
        self.midpoints = ((levels[1:] + levels[:-1]) / 2 - start.mean) / start.unit
        self.cut_points = self._first_cut_points()

    @property
    def scale(self) -> float:
        """The root of the precision of eps."""
        return float(np.sqrt(LATENT_PRECISION))

    def _over_blocks(self, work: Callable[[slice], Any]) -> list[Any]:
        """Return what `work` returns for blocks of ratings, in this order, whatever the number of threads."""
        blocks = [slice(first, first + BLOCK) for first in range(0, len(self.values), BLOCK)]
        n_threads = self.start.n_threads
        if n_threads == 1 or len(blocks) == 1:
            return [work(part) for part in blocks]
        with ThreadPoolExecutor(
            min(n_threads, len(blocks))
        ) as pool:  # NumPy and SciPy work without the interpreter's lock
            return list(pool.map(work, blocks))

    def _predicted(self, part: slice) -> Floats:
        """Return e of a block of ratings at the tables as they stand."""
        start, users = self.start, self.rows[part]
        out = np.empty(len(users))
        items = self.start.users.ratings.indices[part]
        _scores.predict_pairs(users, items, start.users.table, start.items.table, start.k, 0.0, 1, out)
        return out

    def _interval(self, part: slice, predicted: Floats, cut_points: Floats) -> Interval:
        """Return between which numbers of standard deviations of eps those of a block lie."""
        ends = np.concatenate([[-np.inf], cut_points, [np.inf]])
        codes = self.codes[part]
        return Interval.of((ends[codes] - predicted) * self.scale, (ends[codes + 1] - predicted) * self.scale)

    def slope(self, cut_points: Floats) -> Slope:
        """Return the log of likelihood times prior of cut points given the tables, with y integrated out, and its derivatives."""
        n_levels = len(self.levels)

        def of_block(part: slice) -> tuple[float, Floats, Floats, Floats]:
            found = self._interval(part, self._predicted(part), cut_points)
            logs = np.log(found.probability)
            # The density at both ends over the probability, and minus their derivatives by the ends.
            low, high = (np.exp(-0.5 * end**2) / (ROOT_2PI * found.probability) for end in (found.low, found.high))
            with np.errstate(invalid="ignore"):  # infinite ends
                low_curve, high_curve = (
                    np.nan_to_num(low**2 - found.low * low),
                    np.nan_to_num(high**2 + found.high * high),
                )
            both = low * high
            for x, y in ((low, high), (low_curve, high_curve)):  # an interval that was mirrored has its ends exchanged
                x[found.mirrored], y[found.mirrored] = y[found.mirrored], x[found.mirrored]
            columns = [low, high, low_curve, high_curve, both]
            if self.counted is not None:
                logs, columns = logs * self.counted[part], [x * self.counted[part] for x in columns]
            sums: list[Floats] = [np.bincount(self.codes[part], x, n_levels).astype(np.float64) for x in columns]
            return float(logs.sum()), sums[1][:-1] - sums[0][1:], sums[3][:-1] + sums[2][1:], sums[4][1:-1]

        value, gradient, diagonal, beside = (sum(x) for x in zip(*self._over_blocks(of_block), strict=True))
        gradient, diagonal = self.scale * gradient, self.scale**2 * diagonal + CUT_POINT_SD**-2
        difference = (cut_points - self.midpoints) / CUT_POINT_SD
        information = np.diag(diagonal)
        where = np.arange(len(beside))
        information[where, where + 1] = information[where + 1, where] = -(self.scale**2) * beside
        return Slope(
            float(value) - 0.5 * float(difference @ difference), gradient - difference / CUT_POINT_SD, information
        )

    def _first_cut_points(self) -> Floats:
        """Return the most probable cut points at the start, by Newton steps that keep their order."""
        cut_points = self.midpoints.copy()
        found = self.slope(cut_points)
        for _ in range(START_STEPS):
            step = scipy.linalg.solve(found.information, found.gradient, assume_a="pos")
            for halvings in range(10):
                moved = cut_points + step / 2**halvings
                if (np.diff(moved) > 0).all():
                    tried = self.slope(moved)
                    if tried.value > found.value:
                        break
            else:
                break
            cut_points, gain, found = moved, tried.value - found.value, tried
            if gain < 0.1:  # less than the draws will move them
                break
        return cut_points

    def move_cut_points(self) -> bool:
        """Draw the cut points with the latent numbers integrated out, by a Metropolis-Hastings step; return whether they moved."""
        here = self.slope(self.cut_points)
        mean, root = self._proposal(self.cut_points, here)
        noise = self.generator.standard_normal(len(mean))
        accepted = self.generator.random()
        # root root' is the information, so that the covariance of root'^-1 noise is its inverse.
        moved = mean + scipy.linalg.solve_triangular(root, noise, lower=True, trans=1)
        if not (np.diff(moved) > 0).all():
            return False
        there = self.slope(moved)
        back, root_back = self._proposal(moved, there)

        def log_density(x: Floats, root: Floats) -> float:
            return float(np.log(np.diag(root)).sum() - 0.5 * np.square(root.T @ x).sum())

        change = there.value - here.value
        change += log_density(self.cut_points - back, root_back) - log_density(moved - mean, root)
        if not np.log(accepted) < change:
            return False
        self.cut_points = moved
        return True

    @staticmethod
    def _proposal(cut_points: Floats, slope: Slope) -> tuple[Floats, Floats]:
        """Return the mean of the proposal from cut points, a Newton step away, and a root of its precision."""
        root = np.asarray(np.linalg.cholesky(slope.information), np.float64)
        return cut_points + scipy.linalg.cho_solve((root, True), slope.gradient), root

    def draw(self, *, keep: bool = False) -> None:
        """Draw the latent numbers given tables and cut points; the sides have them for ratings, in rating units.

        With `keep` the predictions are added to the sums from which those without a rating are found.
        """
        start = self.start
        if keep and self.weight_sums is None:
            self.weight_sums, self.weighted_sums = (np.zeros(len(self.values), np.float32) for _ in range(2))
        observed = OrdinalScale(self.levels, self.cut_points, 1 / self.scale, np.empty(0))
        # Expected ratings, at places so near that the nearest one does.
        margin = 6 / self.scale
        first, last = self.cut_points[0] - margin, self.cut_points[-1] + margin
        expected = observed.expected(np.linspace(first, last, GRID_POINTS))
        places_per_unit = (GRID_POINTS - 1) / (last - first)

        def draw_block(part: slice) -> float:
            predicted = self._predicted(part)
            stream = np.random.Philox(key=self.seed, counter=[0, 0, self.draw_index, part.start // BLOCK])
            uniform = np.random.Generator(stream).random(len(predicted))
            found = self._interval(part, predicted, self.cut_points)
            latent = predicted + found.draw(uniform) / self.scale
            if keep:
                assert self.weight_sums is not None
                assert self.weighted_sums is not None
                weights = 1 / np.maximum(found.probability, LEAST_PROBABILITY)
                self.weight_sums[part] += weights
                self.weighted_sums[part] += weights * predicted
            self.values[part] = start.mean + start.unit * latent
            places = np.clip((predicted - first) * places_per_unit + 0.5, 0, GRID_POINTS - 1).astype(np.int32)
            errors = (self.levels[self.codes[part]] - expected[places]) ** 2
            return float(errors.sum() if self.counted is None else errors[self.counted[part]].sum())

        self.squared_error = sum(self._over_blocks(draw_block))
        np.take(self.values, self.order, out=self.item_values)
        self.draw_index += 1


class OrdinalGibbs(Gibbs):
    """The sampler of ordinal ratings; parameters and attributes are those of `Gibbs`, and besides

    Parameters
    ----------
    levels : ndarray of float64, shape (L,)
        The distinct ratings, ascending.
    """

    def __init__(
        self, start: Alternation, generator: np.random.Generator, burn_in: int, wanted: Any, levels: Floats
    ) -> None:
        super().__init__(start, generator, burn_in, wanted)
        self.alpha = LATENT_PRECISION
        self.latent = LatentRatings(start, levels, generator)
        self.latent.draw()
        rows = self.latent
        places = generator.integers(len(rows.values), size=(2, min(FOLLOWED_PAIRS, len(rows.values))))
        self._followed = rows.rows[places[0]], start.users.ratings.indices[places[1]]
        self._predictions: list[Array] = []

    def draw_noise(self) -> None:
        """Draw the cut points where it is their turn, then the latent numbers; the precision of the noise is fixed."""
        after = self.n_draws - self.burn_in
        if after < 0 or after % MOVE_EVERY == 0:
            self.latent.move_cut_points()
        self.latent.draw(keep=after >= 0)

    @property
    def loss(self) -> float:
        """The squared error of the ratings that the draw expects, in squared rating units."""
        return self.latent.squared_error

    @property
    def train_rmse(self) -> float:
        """The training RMSE of the ratings that the draw expects."""
        return float(np.sqrt(self.loss / self.start.weight_sum))

    def state(self) -> dict[str, float]:
        """Return the hyper-parameters, in rating units, and the cut points."""
        cut_points = self.start.mean + self.unit * self.latent.cut_points
        return super().state() | {f"cut_point_{place}": float(x) for place, x in enumerate(cut_points, 1)}

    def keep(self) -> None:
        """Keep the draw, and what it predicts for some pairs."""
        super().keep()
        users, items = self._followed
        predicted = np.empty(len(users))
        _scores.predict_pairs(users, items, self.users.table, self.items.table, self.k, 0.0, 1, predicted)
        self._predictions.append(predicted.astype(np.float32))

    def scale_of(self, n_draws: int) -> OrdinalScale:
        """Return what turns predictions at the mean of the first draws into distributions."""
        cut_points, variance = self.latent.cut_points, 1 / LATENT_PRECISION
        if n_draws:
            names = [f"cut_point_{place}" for place in range(1, len(cut_points) + 1)]
            drawn = np.array([[state[name] for name in names] for state in self._states[:n_draws]])
            in_units = drawn.mean(axis=0)
            predicted = np.stack(self._predictions[:n_draws]).astype(np.float64)
            variance += float(predicted.var(axis=0).mean())
            sample = self.start.mean + self.unit * predicted.mean(axis=0)
        else:
            in_units = self.start.mean + self.unit * cut_points
            sample = in_units
        return OrdinalScale(self.latent.levels, in_units, float(self.unit * np.sqrt(variance)), sample)

    def _usage(self, scale: OrdinalScale) -> NDArray[np.float32]:
        """Return how users use the levels, from predictions in which a rating itself has no part."""
        latent, start = self.latent, self.start
        weights, weighted = latent.weight_sums, latent.weighted_sums
        assert weights is not None
        assert weighted is not None

        def probabilities(part: slice) -> Floats:
            return scale.common_probabilities(start.mean + start.unit * (weighted[part] / weights[part]))

        indptr = start.users.ratings.indptr
        with _threads.one_blas_thread():  # sums of small matrices, whose bits are to be the same on every machine
            found = learn_scale_usage(
                probabilities, latent.codes, indptr, latent.levels, latent.counted, start.n_threads
            )
        return found.astype(np.float32)

    @property
    def scale(self) -> OrdinalScale:
        """What turns predictions at the mean of the draws so far into distributions."""
        return self.scale_of(self.n_kept)

    def chain(self, n_draws: int | None = None) -> Chain:
        """Return traces, samples and scale of the draws kept so far, or of the first `n_draws` of them."""
        n = self.n_kept if n_draws is None else n_draws
        scale = self.scale_of(n)
        if n:
            scale = scale._replace(usage=self._usage(scale), sample_users=self._followed[0])
        return super().chain(n_draws)._replace(scale=scale)

"""The Bayesian factor model: draws from the posterior by Gibbs sampling, on the row solves of alternating least squares.

In units in which the ratings have standard deviation 1, with x a user's or an item's [factors ; bias], K = k + 1, and f what
is known of the row (its rated-item set, features; often nothing):

    r ~ N(mu + b_u + c_i + p_u . q_i, 1 / (alpha w))        alpha ~ Gamma(SHAPE, rate RATE)
    x ~ N(m + W' f, Lambda^-1)                              m | Lambda ~ N(0, (MEAN_COUNT Lambda)^-1)
    W | Lambda ~ N(0, (ridge I)^-1 (x) Lambda^-1)           Lambda ~ Wishart(K + EXTRA_DEGREES, I PRECISION / (K + EXTRA_DEGREES))
                                                            ridge ~ Gamma(SHAPE, rate RIDGE_RATE)

A sweep draws the rows of one side, then its W, ridge, Lambda and m, then the same of the other side, then alpha; W and ridge of
rated-item sets of users in one sweep, of items in the next. Given all
the rest a row is N(A^-1 h, A^-1 / alpha) with A = sum w z z' + Lambda / alpha, which the kernels draw for the price of
a row solve and K normals; and the squared error at the draw, all that alpha depends on, comes with it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from alsx import _core, _regression
from alsx._solver.alternation import Alternation, Estimate, SideSnapshot, TrainingSide, unit_factors
from alsx._solver.missing import TableGram
from alsx._solver.ordinal import OrdinalScale
from alsx._solver.prior import Penalty
from alsx._solver.regression import PriorRegression
from alsx._solver.rows import RowPrior
from alsx._solver.tables import aligned, workspace
from alsx._solver.time_offsets import PERIODS, TimeSnapshot

Array = NDArray[Any]
Floats = NDArray[np.float64]

# The priors of the hyper-parameters. PRECISION, the precision that is expected of the rows before they are seen, matters most:
# it is that of factors that the ratings have no use for. On an inner split of MovieLens 100k 100 to 1000 are equally good, and
# 5 (twice the variance that factors in use have) is worse by 0.005. All others are worth less than a row or two.
SHAPE, RATE, RIDGE_RATE, MEAN_COUNT, EXTRA_DEGREES, PRECISION = 1.0, 1.0, 0.1, 1.0, 1.0, 100.0

# A rated-item set of n is divided by the root of n + SET_PRIOR_COUNT. Divided by that of n, as by `FactorALS`, a set of one or
# two says as much of its row as one of hundreds, and for the greater part it says it of the very ratings that it is made of, while
# pairs that are predicted are in no set. On inner splits of latest-small 0 errs 0.821 and the more the longer the chain is, 5 to 30
# err 0.817; on those of MovieLens 100k all err the same.
SET_PRIOR_COUNT = 10.0

# Where the chain starts: the regularisation of alternating least squares before it, and the first ridges of the regressions on
# rated-item sets (users, items). Those on features are chosen by the sweeps before the chain. In the end rows without ratings are
# predicted by a regression whose ridge is chosen too, as by `FactorALS`: on ML-100k without a sixth of the films this errs less
# than the mean of the draws of W.
START_PENALTY = Penalty(12.0, 4.0, 0.0)
START_IMPLICIT_RIDGES = (2.0, 1.0)

# Rows that are summed in the tables' own type before the sums go on in double precision.
CHUNK_ROWS = 8192

# Regressions too large to be drawn exactly: eigenvectors that are solved for exactly, and steps for the rest of a draw.
DEFLATED_DIRECTIONS, STEPS = 16, 3

# Subspace iterations that find the deflated directions; they need not be exact, since the rest is left to CG.
SUBSPACE_ITERATIONS = 4

# Draws between Procrustes alignments of the factors to the mean of the draws before. Of an inner split of MovieLens 100k the
# mean of 200 draws that rotate freely errs 0.904, of 1000 0.912; aligned every 20 draws 0.906 from 100 to 400 draws. So a
# little rotation, which shrinks, does good (the mean of tables has no part of what the factors of a pair have in common), and
# much does harm.
ALIGN_EVERY = 100


class Samples(NamedTuple):
    """Draws of the factors that were kept, evenly spread over the chain.

    Parameters
    ----------
    draws : ndarray of int64, shape (m,)
        Which draws, as places in `BayesALS.traces_`.
    users, items : ndarray of float32, shapes (m, n_users, k+1) and (m, n_items, k+1)
        Factors, and the bias in the last column, in rating units. A draw of a rating's expectation is
        ``mean_ + users[d, u, k] + items[d, i, k] + users[d, u, :k] @ items[d, i, :k]``.
    """

    draws: Array
    users: Array
    items: Array


class Chain(NamedTuple):
    """What is kept of a chain besides the means of the draws.

    Parameters
    ----------
    traces : dict of ndarray of float64, shape (1, n_samples)
        Hyper-parameters at each draw, by (chain, draw), in rating units.
    samples : Samples or None
    scale : OrdinalScale or None
        Of ordinal ratings, what turns predictions into distributions; see `ordinal`.
    """

    traces: dict[str, Floats]
    samples: Samples | None
    scale: OrdinalScale | None = None


class CoefficientSampler:
    """Draws of a regression's W given its side's rows: N(A^-1 F'(X - m), A^-1 (x) Lambda^-1) with A = F'F + ridge.

    Few features are drawn exactly, by the eigenvectors of F'F. Otherwise a draw is the solution of A W = F'(X - m + E) +
    ridge^1/2 E', with rows of E and E' from N(0, Lambda^-1) (Simm et al. 2017), to which a few steps lead from the last draw,
    those by which a fit improves W. For the directions of the few large eigenvalues of F'F, which belong to the items that are
    rated most, the equations are solved exactly before and after each step: without that, twice as many would be needed.

    Parameters
    ----------
    regression : PriorRegression
        Whose `coefficients` are drawn. Its scratch tables are free once the chain has begun, and used here.
    generator : numpy.random.Generator
    n_threads : int
    """

    def __init__(self, regression: PriorRegression, generator: np.random.Generator, n_threads: int) -> None:
        self.regression, self.generator, self.n_threads = regression, generator, n_threads
        self.gram: Floats | None = None
        f = len(regression.coefficients)
        self.exact = regression.is_exact
        if self.exact:
            normal = regression.normal_matrix() - regression.ridge * np.eye(f)
            values, self.vectors = np.linalg.eigh(normal)
            self.values = np.maximum(values, 0.0)
            return
        self.diagonal = regression.diagonal - regression.ridge
        self.seed, self.draw_index = int(generator.integers(2**63)), 0
        self._find_directions(min(DEFLATED_DIRECTIONS, f))

    def _find_directions(self, directions: int) -> None:
        """Find the largest eigenvectors of F'F, scaled by its diagonal, by a few subspace iterations."""
        regression, dtype = self.regression, self.regression.coefficients.dtype
        n, f = len(regression.factor), len(regression.coefficients)
        width = -(-directions // 16) * 16
        basis, product, forward = aligned(f, width, dtype), aligned(f, width, dtype), aligned(n, width, dtype)
        scale = np.sqrt(self.diagonal + regression.ridge)[:, None]
        # S times the rows' factor: what turns rows before F' is applied.
        back = (regression.row_scale * regression.factor).astype(dtype)[:, None]
        found = self.generator.standard_normal((f, directions))
        for _ in range(SUBSPACE_ITERATIONS):
            basis[:, :directions] = np.linalg.qr(found)[0] / scale
            regression.forward.times(basis, directions, regression.factor, self.n_threads, forward)
            means = forward[:, :directions].copy()
            forward *= back
            regression.backward.times(forward, directions, regression.ones, self.n_threads, product)
            found = product[:, :directions] / scale
        # With Z the basis (f, d): Z, F Z (n, d), F'F Z (f, d), Z'Z and Z'F'F Z (d, d)
        self.basis, self.basis_means = basis[:, :directions].copy(), means
        self.scaled_means = means * regression.row_scale.astype(dtype)[:, None]
        self.squares = self.basis.T.astype(np.float64) @ self.basis
        self.normal = self.basis.T.astype(np.float64) @ product[:, :directions]
        self.normal = (self.normal + self.normal.T) / 2

    def draw(self, rows: Array, common_mean: Array, means: Array, root: Array) -> None:
        """Draw W and add what changes to the means.

        Parameters
        ----------
        rows, means : ndarray, shape (n, ld)
            X, and the sum of the side's regressions.
        common_mean : ndarray of float64, shape (K,)
            m.
        root : ndarray of float64, shape (K, K)
            A root of the covariance: root root' = Lambda^-1.
        """
        if self.exact:
            self._draw_exactly(rows, common_mean, means, root)
        else:
            self._draw_iteratively(rows, common_mean, means, root)

    def _draw_exactly(self, rows: Array, common_mean: Array, means: Array, root: Array) -> None:
        """Draw by the eigenvectors of F'F, in which the elements of a column are independent."""
        regression, K = self.regression, len(common_mean)
        coefficients, change, step = regression.coefficients[:, :K], regression.change, regression.step
        change[:, :K] = rows[:, :K] - means[:, :K] - common_mean
        change[:, :K] *= (regression.row_scale * regression.factor)[:, None]
        regression.backward.times(change, K, regression.ones, self.n_threads, step)
        old = self.vectors.T @ coefficients
        precision = (self.values + regression.ridge)[:, None]
        new = (self.vectors.T @ step[:, :K] + self.values[:, None] * old) / precision
        new += self.generator.standard_normal(old.shape) @ root.T / np.sqrt(precision)
        step[:, :K] = self.vectors @ (new - old)
        regression.forward.times(step, K, regression.factor, self.n_threads, change)
        coefficients += step[:, :K]
        means[:, :K] += change[:, :K]

    def _draw_iteratively(self, rows: Array, common_mean: Array, means: Array, root: Array) -> None:
        """Draw by solving the perturbed normal equations: the deflated directions exactly, for the rest a few steps.

        With V = W - ridge^-1/2 E' they are (F'F + ridge) V = F'(X - m + E - F ridge^-1/2 E'), the ridge regression of a table
        on F, whose means F W are known: the steps are those of a fit.
        """
        regression, (f, width) = self.regression, self.regression.coefficients.shape
        target = regression.scratch.table("target", len(rows), rows.shape[1], rows.dtype)
        noise = regression.scratch.table("noise", f, width, rows.dtype)
        self._add_noise(rows, -common_mean, root, target)
        self._add_noise(rows[:0], np.zeros(len(common_mean)), root / np.sqrt(regression.ridge), noise)
        self._add(-1.0, noise)  # V from W
        self._solve_directions(target, means)
        for _ in range(STEPS):
            regression.improve(target, means, self.n_threads)
            self._solve_directions(target, means)
        self._add(-1.0, noise)  # and W from V: the noise had its sign changed

    def _add_noise(self, table: Array, start: Floats, root: Floats, out: Array) -> None:
        """Set rows of `out` to those of a table (zeros where it is empty), plus `start` and noise of covariance root root'."""
        columns, dtype = len(start), out.dtype
        width = -(-columns // _core.PAD) * _core.PAD
        transposed, row = aligned(columns, width, dtype), aligned(1, width, dtype)
        transposed[:, :columns], row[0, :columns] = root.T, start
        work = workspace(self.n_threads, _core.noise_workspace(columns), dtype)
        _core.add_noise(table, transposed, row[0], 1.0, self.seed, self.draw_index, columns, work, out)
        self.draw_index += 1

    def _add(self, factor: float, noise: Array) -> None:
        """Multiply the noise by a factor, then add it to the coefficients."""
        columns = self.regression.columns
        _regression.axpby(
            np.zeros(columns), noise, np.full(columns, factor), self.n_threads, noise, self.regression.coefficients
        )

    def _solve_directions(self, target: Array, means: Array) -> None:
        """Solve for what the deflated directions contribute, and update the means."""
        regression, K = self.regression, self.regression.columns
        coefficients, ridge, dtype = regression.coefficients, regression.ridge, target.dtype
        # Z'(F'S (target - means) - ridge V) (d, K), without a pass over F: F Z is known.
        slope = np.zeros((self.basis.shape[1], K))

        def of_rows(part: slice) -> Array:
            return np.asarray(self.scaled_means[part].T @ (target[part, :K] - means[part, :K]))

        def of_coefficients(part: slice) -> Array:
            return np.asarray(self.basis[part].T @ coefficients[part, :K])

        for product in _over_chunks(len(target), of_rows, self.n_threads):
            slope += product
        for product in _over_chunks(len(coefficients), of_coefficients, self.n_threads):
            slope -= ridge * product
        change = np.linalg.solve(self.normal + ridge * self.squares, slope).astype(dtype)

        def move_coefficients(part: slice) -> None:
            coefficients[part, :K] += self.basis[part] @ change

        def move_means(part: slice) -> None:
            means[part, :K] += self.basis_means[part] @ change

        _over_chunks(len(coefficients), move_coefficients, self.n_threads)
        _over_chunks(len(target), move_means, self.n_threads)


class SideHyperparameters:
    """What the rows of a side have in common: their mean m and precision Lambda, the coefficients W and their ridges.

    Parameters
    ----------
    side : TrainingSide
    precision : ndarray of float64, shape (K, K)
        Lambda at the start.
    generator : numpy.random.Generator
    n_threads : int

    Attributes
    ----------
    common_mean : ndarray of float64, shape (K,)
        m.
    precision, root : ndarray of float64, shape (K, K)
        Lambda, and a root of its inverse: root root' = Lambda^-1.
    regressions : list of PriorRegression
    samplers : list of CoefficientSampler
        One for each regression.
    count : int
        How many rows have ratings.
    rated : ndarray of int32, shape (count,)
        Which rows have ratings.
    expected : ndarray, shape (n, ld) or (1, ld)
        The rows' prior means: m and the sum of the regressions. One row where they are all the same.
    """

    def __init__(self, side: TrainingSide, precision: Array, generator: np.random.Generator, n_threads: int) -> None:
        table = side.table
        self.side, self.generator, self.width = side, generator, len(precision)
        rated = side.fit_scale > 0
        self.count = int(np.count_nonzero(rated))
        self.common_mean, self.precision = np.zeros(self.width), precision
        self.root = np.linalg.inv(np.linalg.cholesky(precision)).T
        self.regressions = side.regressions
        self.samplers = [CoefficientSampler(part, generator, n_threads) for part in self.regressions]
        # Without regressions it is the same for all rows, and one of them does.
        n_expected = 1 if side.prior_means is None else len(table)
        self.expected = aligned(n_expected, table.shape[1], table.dtype)
        self.rated = np.flatnonzero(rated).astype(np.int32)
        self.n_threads = n_threads
        self._table_gram = TableGram(self.rated, self.width - 1, table.dtype, n_threads)
        self._strictly_lower = np.tri(self.width, k=-1)
        self._expect()

    def _expect(self) -> None:
        """Bring `expected` up to date."""
        width, dtype = self.width, self.expected.dtype
        if self.side.prior_means is None:
            self.expected[:, :width] = self.common_mean
        else:
            means = self.side.prior_means.means[:, :width]
            np.add(means, self.common_mean.astype(dtype), out=self.expected[:, :width])

    def _sums(self) -> tuple[Array, Array]:
        """Return sum and squares of what rows with ratings differ from their regressions."""
        width, table, prior = self.width, self.side.table, self.side.prior_means
        if prior is not None:
            difference = prior.regressions[0].change
            _regression.scaled_difference(table, prior.means, np.ones(len(table)), width, self.n_threads, difference)
            table = difference
        return sums_of(self._table_gram(table), width - 1)

    def draw(self, *, turn: bool = True) -> None:
        """Draw W and the ridges given the rows, then Lambda and m; where it is not the side's turn, W of few features alone."""
        for sampler in self.samplers:
            if sampler.exact or turn:
                self._draw_coefficients(sampler)
        self._draw_precision_and_mean()
        self._expect()

    def _draw_coefficients(self, sampler: CoefficientSampler) -> None:
        """Draw W of one regression, then its ridge."""
        prior, part = self.side.prior_means, sampler.regression
        assert prior is not None
        sampler.draw(self.side.table, self.common_mean, prior.means, self.root)
        sampler.gram = None
        # tr(W' W Lambda)
        rate = RIDGE_RATE + float((self._gram(sampler) * self.precision).sum()) / 2
        n_coefficients = len(part.coefficients) * self.width
        part.ridge = float(self.generator.gamma(SHAPE + n_coefficients / 2, 1.0 / rate))

    def _gram(self, sampler: CoefficientSampler) -> Floats:
        """Return W' W (K, K); found once for a draw."""
        if sampler.gram is None:
            table = sampler.regression.coefficients
            rows = np.arange(len(table), dtype=np.int32)
            sampler.gram = sums_of(TableGram(rows, self.width - 1, table.dtype, self.n_threads)(table), self.width - 1)[
                1
            ]
        return sampler.gram

    def _draw_precision_and_mean(self) -> None:
        """Draw Lambda ~ Wishart(degrees, scale^-1) by the decomposition of Bartlett (1933), then m given Lambda."""
        generator, width = self.generator, self.width
        total, squares = self._sums()
        count = self.count + MEAN_COUNT
        center = total / count
        degrees = width + EXTRA_DEGREES + self.count
        scale = squares - count * np.outer(center, center)
        scale[np.diag_indices(width)] += (width + EXTRA_DEGREES) / PRECISION
        for sampler in self.samplers:
            scale += sampler.regression.ridge * self._gram(sampler)
            degrees += len(sampler.regression.coefficients)
        lower, failed = lapack.dpotrf(scale, lower=1)
        if failed:
            raise np.linalg.LinAlgError("the rows' squares are not positive definite")
        triangle = generator.standard_normal((width, width)) * self._strictly_lower
        triangle[np.diag_indices(width)] = np.sqrt(generator.chisquare(degrees - np.arange(width)))
        # With scale = L L' and the triangle T: Lambda = (L'^-1 T) (L'^-1 T)', and Lambda^-1 = (L T'^-1) (L T'^-1)'.
        self.root = lapack.dtrtrs(triangle, lower.T, lower=1)[0].T
        half = lapack.dtrtrs(lower, triangle, lower=1, trans=1)[0]
        self.precision = half @ half.T
        self.common_mean = center + self.root @ generator.standard_normal(width) / np.sqrt(count)

    def rotate(self, rotation: Array) -> None:
        """Rotate the factors."""
        whole = np.eye(self.width)
        whole[:-1, :-1] = rotation
        self.common_mean, self.root = whole.T @ self.common_mean, whole.T @ self.root
        self.precision = whole.T @ self.precision @ whole
        for sampler in self.samplers:
            rotate_factors(sampler.regression.coefficients, rotation)
            sampler.gram = None
        if self.side.prior_means is not None:
            rotate_factors(self.side.prior_means.means, rotation)
        self._expect()


def sums_of(gram: Floats, k: int) -> tuple[Floats, Floats]:
    """Return the sum of rows of a table, shape (k+1,), and the sum of their outer products, shape (k+1, k+1).

    Parameters
    ----------
    gram : ndarray, shape (k+2, k+2)
        A `TableGram` of them, in which a row's bias is the target of a missing rating of 0, with the other sign.
    k : int
    """
    total, squares = np.empty(k + 1), np.empty((k + 1, k + 1))
    total[:k], total[k] = gram[:k, k], -gram[k + 1, k]
    squares[:k, :k], squares[k, k] = gram[:k, :k], gram[k + 1, k + 1]
    squares[k, :k] = squares[:k, k] = -gram[k + 1, :k]
    return total, squares


def _over_chunks(n: int, work: Callable[[slice], Any], n_threads: int) -> list[Any]:
    """Return what `work` returns for slices of CHUNK_ROWS of n rows, in this order, whatever the number of threads."""
    chunks = [slice(start, start + CHUNK_ROWS) for start in range(0, n, CHUNK_ROWS)]
    if n_threads == 1 or len(chunks) < 4:
        return [work(part) for part in chunks]
    with ThreadPoolExecutor(n_threads) as pool:  # NumPy computes without the interpreter's lock
        return list(pool.map(work, chunks))


def rotate_factors(table: Array, rotation: Array) -> None:
    """Rotate the factors of a table's rows in place."""
    k, rotation = len(rotation), rotation.astype(table.dtype)
    for start in range(0, len(table), CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        table[part, :k] = table[part, :k] @ rotation


class Gibbs:
    """The sampler. It goes on from where alternating least squares have led, and is trained by `alternation.sweeps`.

    Its estimate and snapshot are the means of the draws kept so far, and before there are any the draw itself.

    Parameters
    ----------
    start : Alternation
        After some sweeps; its tables become those of the draws.
    generator : numpy.random.Generator
    burn_in : int
        Draws that are not kept.
    wanted : ndarray of int64, default=()
        Which of the kept draws of the factors to keep as samples.

    Attributes
    ----------
    users, items : TrainingSide
        Their tables are the latest draw.
    alpha : float
        The precision of the noise, in ratings of standard deviation 1.
    hyperparameters : dict of SideHyperparameters
        By side.
    n_draws, n_kept : int
        Draws so far, and those of them that were kept.
    sums : dict of ndarray
        Sums over the kept draws of what becomes means.
    """

    def __init__(self, start: Alternation, generator: np.random.Generator, burn_in: int, wanted: Any = ()) -> None:
        self.start, self.generator, self.burn_in = start, generator, burn_in
        self.users, self.items, self.k, self.unit = start.users, start.items, start.k, start.unit
        self.times = start.times
        if self.times is not None and self.times.ratios is None:
            self.times.learn(self.users.table, self.items.table, self.k)
        self.seed, self.draw_index = int(generator.integers(2**63)), 0
        for side, other in ((start.users, start.items), (start.items, start.users)):
            side.choose_ridges(other, start.n_threads)
        # The error of a fit is below the noise's; a few sweeps forget it.
        self.alpha = (SHAPE + start.weight_sum / 2) / (RATE + self.items.squared_error / 2)
        self.hyperparameters = {
            side.name: SideHyperparameters(side, np.diag(side.precision) * self.alpha, generator, start.n_threads)
            for side in (self.users, self.items)
        }
        self.n_draws = self.n_kept = 0
        self.sums: dict[str, Array] = {}
        self._states: list[dict[str, float]] = []
        self._wanted = np.asarray(wanted, np.int64)
        self._samples: list[tuple[Array, Array]] = []

    def update(self, side: TrainingSide) -> None:
        """Draw every row of one side given all the rest, then what its rows have in common."""
        if side is self.users and self.times is not None:
            self.times.draw(
                side.table, self.items.table, self.k, self.row_prior(side), self.alpha**-0.5, self.generator
            )
        self.draw_rows(side)
        self.hyperparameters[side.name].draw(turn=self.has_turn(side))

    def has_turn(self, side: TrainingSide) -> bool:
        """Return whether W of a side's rated-item sets is drawn in this sweep.

        It costs as much as the rows, so that the two sides take turns, after the burn-in in every second sweep: an order of draws
        like any other, and W moves no further in sweeps where the rows have moved little.
        """
        turn = self.n_draws
        if turn >= self.burn_in:
            if (turn - self.burn_in) % 2:
                return False
            turn = (turn - self.burn_in) // 2
        other = self.hyperparameters["item" if side is self.users else "user"]
        return all(x.exact for x in other.samplers) or (turn % 2 == 0) == (side is self.users)

    def draw_rows(self, side: TrainingSide) -> None:
        """Draw every row of one side given all the rest."""
        start = self.start
        start.systems(side, self.row_prior(side)).draw(
            side.table, side.loss, self.alpha**-0.5, self.seed, self.draw_index, start.n_threads, start.work,
            start.report_of(side),
        )  # fmt: skip
        self.draw_index += 1

    def row_prior(self, side: TrainingSide) -> RowPrior:
        """Return the prior of one side's rows, relative to the noise."""
        common = self.hyperparameters[side.name]
        return RowPrior(0.0, 0.0, side.row_scale, precision=common.precision / self.alpha, means=common.expected)

    def end_sweep(self) -> None:
        """Draw the noise's precision, and keep the draw after the burn-in."""
        self.draw_noise()
        if self.times is not None:
            self.times.draw_variances(1.0 / self.alpha, self.generator)
        self.n_draws += 1
        if self.n_draws > self.burn_in:
            self.keep()

    def draw_noise(self) -> None:
        """Draw alpha given the squared error."""
        rate = RATE + self.items.squared_error / 2
        self.alpha = float(self.generator.gamma(SHAPE + self.start.weight_sum / 2, 1.0 / rate))

    @property
    def loss(self) -> float:
        """The squared error of the draw, in squared rating units."""
        return self.unit**2 * self.items.squared_error

    @property
    def train_rmse(self) -> float:
        """The weighted training RMSE of the draw, in rating units."""
        return self.start.train_rmse

    @property
    def noise_sd(self) -> float:
        """The standard deviation of the noise, in rating units."""
        return float(self.unit * self.alpha**-0.5)

    @property
    def scale(self) -> OrdinalScale | None:
        """What turns predictions into distributions of ratings, in a sampler that does not take them for numbers."""
        return None

    def state(self) -> dict[str, float]:
        """Return the hyper-parameters that do not depend on the rotation of the factors, in rating units."""
        values = {"noise_sd": self.noise_sd}
        for name, common in self.hyperparameters.items():
            variances = np.einsum("ij,ij->i", common.root, common.root)
            values[f"{name}_bias_sd"] = self.unit * float(np.sqrt(variances[-1]))
            if self.k:
                values[f"{name}_factor_sd"] = float(np.sqrt(self.unit * variances[:-1].mean()))
            for part in common.regressions:
                values[f"{name}_{'implicit' if part.features is None else 'features'}_ridge"] = part.ridge
        if self.times is not None:
            for level, variance in zip(self.times.groups.levels, self.times.variances.tolist(), strict=True):
                values[f"user_{PERIODS.get(level.seconds, level.seconds)}_sd"] = self.unit * float(np.sqrt(variance))
        return values

    def _arrays(self) -> dict[str, Array]:
        """Return all whose mean is wanted."""
        arrays: dict[str, Array] = {}
        for side in (self.users, self.items):
            common = self.hyperparameters[side.name]
            arrays[f"{side.name}_table"] = side.table
            arrays[f"{side.name}_mean"] = common.common_mean
            arrays[f"{side.name}_precision"] = common.precision / self.alpha
            for place, part in enumerate(common.regressions):
                arrays[f"{side.name}_coefficients_{place}"] = part.coefficients
        if self.times is not None:
            arrays |= {f"time_offsets_{place}": own for place, own in enumerate(self.times.offsets)}
            arrays["time_variances"], arrays["time_noise"] = self.times.variances, np.array([1.0 / self.alpha])
        return arrays

    def align_to_mean(self) -> None:
        """Rotate the factors of the draw towards the mean of those before: orthogonal Procrustes (Schoenemann 1966).

        Nothing in the model tells factors from the same ones rotated, so a long chain rotates, and its mean would shrink to
        0. For the same reason a draw is as probable after the rotation.
        """
        k = self.k
        product = np.zeros((k, k))
        for side in (self.users, self.items):
            sums = self.sums[f"{side.name}_table"]
            for start in range(0, len(sums), CHUNK_ROWS):
                part = slice(start, start + CHUNK_ROWS)
                product += side.table[part, :k].T @ sums[part, :k]
        left, _, right = np.linalg.svd(product)
        rotation = left @ right
        for side in (self.users, self.items):
            rotate_factors(side.table, rotation)
        for common in self.hyperparameters.values():
            common.rotate(rotation)

    def keep(self) -> None:
        """Add the draw to the sums that become means, and to the traces and samples."""
        if self.k and self.n_kept and self.n_kept % ALIGN_EVERY == 0:
            self.align_to_mean()
        draw = self.n_kept
        self.n_kept += 1
        for name, array in self._arrays().items():
            if name not in self.sums:
                self.sums[name] = _copy(array)
            elif name.endswith("_table"):
                _regression.add_table(array, self.start.n_threads, self.sums[name])
            else:
                self.sums[name] += array
        self._states.append({**self.state(), "train_rmse": self.train_rmse})
        if draw in self._wanted:
            scale = unit_factors(self.unit, self.k)
            users, items = (
                (side.table[:, : self.k + 1] * scale).astype(np.float32) for side in (self.users, self.items)
            )
            self._samples.append((users, items))

    def chain(self, n_draws: int | None = None) -> Chain:
        """Return the traces and samples of the draws kept so far, or of the first `n_draws` of them."""
        n = self.n_kept if n_draws is None else n_draws
        # Before the first draw is kept, the traces have names but no entries.
        names = self._states[0] if self._states else {**self.state(), "train_rmse": 0.0}
        traces = {name: np.array([[state[name] for state in self._states[:n]]], np.float64) for name in names}
        samples = self._samples[: int(np.count_nonzero(self._wanted < n))]
        if not samples:
            return Chain(traces, None)
        users, items = zip(*samples, strict=True)
        return Chain(traces, Samples(self._wanted[: len(users)], np.stack(users), np.stack(items)))

    def estimate(self, *, cold_start: bool = True) -> Estimate:
        """Return the model at the mean of the draws so far."""
        if not self.n_kept:
            return self.start.estimate(cold_start=cold_start)
        tables, vectors = [], []
        for side in (self.users, self.items):
            table = aligned(len(side.table), side.table.shape[1], side.table.dtype)
            np.divide(self.sums[f"{side.name}_table"], self.n_kept, out=table)
            tables.append(table)
            mean = self.sums[f"{side.name}_mean"] / self.n_kept
            vectors.append(side.cold_start_vector(table, mean) if cold_start else None)
        return Estimate(*tables, *vectors)

    @property
    def time_offsets(self) -> list[Floats]:
        """The means of the drawn offsets of time so far, in units in which the ratings have standard deviation 1."""
        if self.times is None or not self.n_kept:
            return self.start.time_offsets
        return [self.sums[f"time_offsets_{place}"] / self.n_kept for place in range(len(self.times.offsets))]

    def time_snapshot(self) -> TimeSnapshot | None:
        """Return the means of the drawn offsets of time and of their variances; None where there are none."""
        if self.times is None or not self.n_kept:
            return self.start.time_snapshot()
        variances = self.sums["time_variances"] / self.n_kept
        ratios = self.sums["time_variances"] / self.sums["time_noise"]
        return TimeSnapshot([self.unit * own for own in self.time_offsets], ratios, self.unit**2 * variances)

    def snapshot(self) -> tuple[SideSnapshot, SideSnapshot]:
        """Return the means of the draws kept, in rating units, and what is expected of rows that come later."""
        sums = self.sums if self.n_kept else self._arrays()
        means = {name: total / max(self.n_kept, 1) for name, total in sums.items()}
        users, items = (self._side_snapshot(side, means) for side in (self.users, self.items))
        return users, items

    def _side_snapshot(self, side: TrainingSide, means: dict[str, Array]) -> SideSnapshot:
        """Return one side of `snapshot`."""
        table, common_mean = means[f"{side.name}_table"], means[f"{side.name}_mean"]
        # The mean of draws of rows that no rating informs is known without drawing.
        table[side.fit_scale == 0, : self.k + 1] = common_mean
        coefficients = [means[f"{side.name}_coefficients_{place}"] for place in range(len(side.regressions))]
        snapshot = side.snapshot(self.unit, table, coefficients, common_mean)
        scale = unit_factors(self.unit, self.k)
        prior = snapshot.prior._replace(
            reg=0.0,
            reg_bias=0.0,
            exponent=0.0,
            precision=means[f"{side.name}_precision"] * self.unit**2 / np.outer(scale, scale),
            mean=common_mean * scale,
        )
        return snapshot._replace(prior=prior, basis=None)


def _copy(array: Array) -> Array:
    """Return a copy that is aligned where it is a table."""
    if array.ndim != 2:
        return array.copy()
    copy = aligned(len(array), array.shape[1], array.dtype)
    copy[...] = array
    return copy

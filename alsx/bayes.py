"""The Bayesian factor model: draws from the posterior by Gibbs sampling, on the row solves of alternating least squares.

In units in which the ratings have standard deviation 1, with x a user's or an item's [factors ; bias], K = k + 1, and f what
is known of the row (who rated what, features; often nothing):

    r ~ N(mu + b_u + c_i + p_u . q_i, 1 / (alpha w))        alpha ~ Gamma(SHAPE, rate RATE)
    x ~ N(m + W' f, Lambda^-1)                              m | Lambda ~ N(0, (SHRINK Lambda)^-1)
    W | Lambda ~ N(0, (ridge I)^-1 (x) Lambda^-1)           Lambda ~ Wishart(K + DEGREES, I PRECISION / (K + DEGREES))
                                                            ridge ~ Gamma(SHAPE, rate RATE_RIDGE)

A sweep draws the rows of one side, then its W, ridge, Lambda and m, then the same of the other side, then alpha. Given all
the rest a row is N(A^-1 h, A^-1 / alpha) with A = sum w z z' + Lambda / alpha, which the compiled room draws for the price of
a row solve and K normals; and the squared error at the draw, all that alpha depends on, comes with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import threadpoolctl
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from alsx import _check, _core
from alsx.alternation import Alternation, Iteration, Known, Penalty, Side, full_precision
from alsx.latent import LatentFactors
from alsx.prior import Map, Prior, aligned, column_sums
from alsx.ratings import Ratings
from alsx.recommender import SIDES

Array = NDArray[Any]

# The priors of the hyper-parameters. The precision that is expected of the rows before they are seen matters most: it is that
# of factors that the ratings have no use for. On an inner split of MovieLens 100k 100 to 1000 are equally good, and 5
# (twice the variance that factors in use have) is worse by 0.005. All others are worth less than a row or two.
SHAPE, RATE, RATE_RIDGE, SHRINK, DEGREES, PRECISION = 1.0, 1.0, 0.1, 1.0, 1.0, 100.0

# Where the chain starts: the regularisation of alternating least squares before it, and the first ridges of the maps. That of
# features is also the ridge of what is learned, in the end, of rows without ratings, as by `FactorALS`: on ML-100k without a
# sixth of the films this errs less than the mean of the draws of W (1.025 to 1.052; of the users 1.014 and 1.015).
START = Penalty(12.0, 4.0, 0.0)
RIDGES = {"implicit": (2.0, 1.0), "features": (20.0, 20.0)}

# How many rows are summed in the tables' own type before the sums go on in double precision.
PART = 2048

# Maps too large to be drawn exactly: directions that are, and conjugate-gradient steps for the rest of a draw.
DIRECTIONS, STEPS = 16, 2

# After how many draws factors that have turned are turned back. Of an inner split of MovieLens 100k the mean of 200 draws that
# are free to turn errs 0.904, of 1000 0.912; turned back every 20 draws 0.906 from 100 to 400 draws. So a little turning, which
# shrinks, does good (the mean of tables has no part of what the factors of a pair have in common), and much does harm.
TURN = 100


class MapDraws:
    """
    Draws of a map W given its side's rows, N(A^-1 F'(X - m), A^-1 (x) Lambda^-1) with A = F'F + ridge.

    Few features are drawn exactly, by the eigenvectors of F'F. Otherwise a draw is the solution of A W = F'(X - m + E) +
    ridge^1/2 E', with rows of E and E' from N(0, Lambda^-1) (Simm et al. 2017), to which a few conjugate-gradient steps lead
    from the last draw; F'F's few large eigenvalues, of what is rated most, are taken out (Saad et al. 2000), which
    saves half of the steps.
    """

    def __init__(self, part: Map, generator: np.random.Generator, n_threads: int) -> None:
        self.part, self.generator, self.n_threads = part, generator, n_threads
        f, ld = part.weights.shape
        dtype = part.weights.dtype
        self.exact = part.factorised is not None
        if self.exact:
            normal = part._normal_matrix() - part.ridge * np.eye(f)
            values, self.vectors = np.linalg.eigh(normal)
            self.values = np.maximum(values, 0.0)
            return
        self.diagonal = part.diagonal - part.ridge
        self.residual = aligned(f, ld, dtype)
        self.back = (part.scaling * part.factor).astype(dtype)[:, None]
        self._take_out(min(DIRECTIONS, f))

    def _take_out(self, directions: int) -> None:
        """Find the largest eigenvectors of F'F by a few subspace iterations, scaled by its diagonal."""
        part, dtype = self.part, self.part.weights.dtype
        n, f = len(part.factor), len(part.weights)
        width = -(-directions // 16) * 16
        basis, product, forward = aligned(f, width, dtype), aligned(f, width, dtype), aligned(n, width, dtype)
        scale = np.sqrt(self.diagonal + part.ridge)[:, None]
        found = self.generator.standard_normal((f, directions))
        for _ in range(4):
            basis[:, :directions] = np.linalg.qr(found)[0] / scale
            part.forward.times(basis, directions, part.factor, self.n_threads, forward)
            means = forward[:, :directions].copy()
            forward *= self.back
            part.backward.times(forward, directions, part.ones, self.n_threads, product)
            found = product[:, :directions] / scale
        # With Z the basis: Z, F Z, and F'F Z
        self.basis, self.basis_means, self.basis_product = (
            basis[:, :directions].copy(),
            means,
            product[:, :directions].copy(),
        )
        self.squares = self.basis.T.astype(np.float64) @ self.basis
        self.normal = self.basis.T.astype(np.float64) @ self.basis_product
        self.normal = (self.normal + self.normal.T) / 2

    def draw(self, rows: Array, shift: Array, means: Array, root: Array) -> None:
        """
        Draw W and add what changes to the means.

        Parameters
        ----------
        rows, means : ndarray, shape (n, ld)
            X, and the sum of the side's maps.
        shift : ndarray of float64, shape (K,)
            m.
        root : ndarray of float64, shape (K, K)
            A root of the covariance: root root' = Lambda^-1.
        """
        if self.exact:
            self._draw_exactly(rows, shift, means, root)
        else:
            self._draw_nearly(rows, shift, means, root)

    def _draw_exactly(self, rows: Array, shift: Array, means: Array, root: Array) -> None:
        part, K = self.part, len(shift)
        weights = part.weights[:, :K]
        part.change[:, :K] = rows[:, :K] - means[:, :K] - shift
        part.change[:, :K] *= (part.scaling * part.factor)[:, None]
        part.backward.times(part.change, K, part.ones, self.n_threads, part.step)
        old = self.vectors.T @ weights
        precision = (self.values + part.ridge)[:, None]
        new = (self.vectors.T @ part.step[:, :K] + self.values[:, None] * old) / precision
        new += self.generator.standard_normal(old.shape) @ root.T / np.sqrt(precision)
        part.step[:, :K] = self.vectors @ (new - old)
        part.forward.times(part.step, K, part.factor, self.n_threads, part.change)
        weights += part.step[:, :K]
        means[:, :K] += part.change[:, :K]

    def _draw_nearly(self, rows: Array, shift: Array, means: Array, root: Array) -> None:
        part, K, n_threads = self.part, len(shift), self.n_threads
        dtype, ridge = rows.dtype, part.ridge
        factor = root.T.astype(dtype)
        # The buffers that `Map.improve` has for the same.
        residual, slope, direction, away, target = (
            self.residual, part.step, part.last_step, part.change, part.last_change
        )  # fmt: skip

        def normals(n: int) -> Array:
            return np.asarray(self.generator.standard_normal((n, K), dtype) @ factor)

        def products(x: Array, y: Array, scaling: Array) -> Array:
            return column_sums(x, y, scaling, K, n_threads)

        np.add(rows[:, :K], normals(len(rows)), out=target[:, :K])
        target[:, :K] -= shift.astype(dtype)
        _core.scaled_difference(target, means, part.scaling * part.factor, K, n_threads, away)
        part.backward.times(away, K, part.ones, n_threads, residual, ridge, part.weights)
        residual[:, :K] += normals(len(residual)) * dtype.type(np.sqrt(ridge))

        # What the directions taken out do is solved exactly; all others are kept apart from them. A column whose residual
        # is rounding is solved.
        solved = products(residual, residual, 1.0 / (self.diagonal + ridge)) * np.finfo(dtype).eps ** 2
        inverse = np.linalg.inv(self.normal + ridge * self.squares)
        coarse = (inverse @ (self.basis.T @ residual[:, :K])).astype(dtype)
        applied = self.basis_product + dtype.type(ridge) * self.basis
        part.weights[:, :K] += self.basis @ coarse
        means[:, :K] += self.basis_means @ coarse
        residual[:, :K] -= applied @ coarse
        inverse_diagonal = (1.0 / (self.diagonal + ridge)).astype(dtype)[:, None]
        last = np.ones(K)
        direction[:] = 0
        for step in range(STEPS if self.basis.shape[1] < len(residual) else 0):
            np.multiply(residual, inverse_diagonal, out=slope)
            now = products(residual, slope, part.ones)
            slope[:, :K] -= self.basis @ (inverse @ (applied.T @ slope[:, :K])).astype(dtype)
            direction[:, :K] *= (now / last).astype(dtype)
            direction += slope
            last = np.where(now > 0, now, 1.0)
            part.forward.times(direction, K, part.factor, n_threads, away)
            length = products(away, away, part.scaling) + ridge * products(direction, direction, part.ones)
            unsolved = (length > 0) & (now > solved)
            size = np.where(unsolved, now / np.where(unsolved, length, 1.0), 0.0).astype(dtype)
            part.weights[:, :K] += direction[:, :K] * size
            means[:, :K] += away[:, :K] * size
            if step < STEPS - 1:
                away *= self.back
                part.backward.times(away, K, part.ones, n_threads, slope, -ridge, direction)
                residual[:, :K] -= slope[:, :K] * size


class Common:
    """What the rows of a side have in common: their mean m and precision Lambda, the maps W and their ridges."""

    def __init__(self, side: Side, precision: Array, generator: np.random.Generator, n_threads: int) -> None:
        table = side.table
        self.side, self.generator, self.width = side, generator, len(precision)
        rated = side.known > 0
        self.mask = None if rated.all() else rated.astype(table.dtype)[:, None]
        self.count = int(np.count_nonzero(rated))
        self.shift, self.precision = np.zeros(self.width), precision
        self.root = np.linalg.inv(np.linalg.cholesky(precision)).T
        self.maps = side.prior.maps if side.prior is not None else []
        self.draws = [MapDraws(part, generator, n_threads) for part in self.maps]
        # The rows' prior means: m, and the sum of the maps.
        self.expected = aligned(len(table), table.shape[1], table.dtype)
        self._expect()

    def _expect(self) -> None:
        width, dtype = self.width, self.expected.dtype
        if self.side.prior is None:
            self.expected[:, :width] = self.shift
        else:
            np.add(self.side.prior.means[:, :width], self.shift.astype(dtype), out=self.expected[:, :width])

    def _sums(self) -> tuple[Array, Array]:
        """Sum and squares of what rows with ratings differ from what is known of them."""
        width, table, prior = self.width, self.side.table, self.side.prior
        total, squares = np.zeros(width), np.zeros((width, width))
        for start in range(0, len(table), PART):
            part = slice(start, start + PART)
            rows = table[part, :width]
            if prior is not None:
                rows = rows - prior.means[part, :width]
            if self.mask is not None:
                rows = rows * self.mask[part]
            squares += rows.T @ rows
            total += np.ones(len(rows), rows.dtype) @ rows
        return total, squares

    def draw(self) -> None:
        """Draw W and the ridges given the rows, then Lambda and m."""
        generator, width, prior = self.generator, self.width, self.side.prior
        for draws in self.draws:
            assert prior is not None
            part = draws.part
            draws.draw(self.side.table, self.shift, prior.means, self.root)
            whitened = np.linalg.solve(self.root, part.weights[:, :width].T.astype(np.float64))
            rate = RATE_RIDGE + float((whitened**2).sum()) / 2
            part.ridge = float(generator.gamma(SHAPE + whitened.size / 2, 1.0 / rate))
        total, squares = self._sums()
        count = self.count + SHRINK
        center = total / count
        # Lambda ~ Wishart(degrees, scale^-1), by the decomposition of Bartlett (1933)
        degrees = width + DEGREES + self.count
        scale = squares - count * np.outer(center, center)
        scale[np.diag_indices(width)] += (width + DEGREES) / PRECISION
        for part in self.maps:
            weights = part.weights[:, :width]
            scale += part.ridge * (weights.T @ weights)
            degrees += len(weights)
        lower = np.linalg.cholesky(scale)
        triangle = np.tril(generator.standard_normal((width, width)), -1)
        triangle[np.diag_indices(width)] = np.sqrt(generator.chisquare(degrees - np.arange(width)))
        self.root = np.linalg.solve(triangle, lower.T).T
        half = np.linalg.inv(self.root)
        self.precision = half.T @ half
        self.shift = center + self.root @ generator.standard_normal(width) / np.sqrt(count)
        self._expect()

    def turn(self, rotation: Array) -> None:
        """Turn the factors."""
        whole = np.eye(self.width)
        whole[:-1, :-1] = rotation
        self.shift, self.root = whole.T @ self.shift, whole.T @ self.root
        self.precision = whole.T @ self.precision @ whole
        for part in self.maps:
            _rotate(part.weights, rotation)
        if self.side.prior is not None:
            _rotate(self.side.prior.means, rotation)
        self._expect()


def _rotate(table: Array, rotation: Array) -> None:
    """Turn the factors of a table's rows."""
    k, rotation = len(rotation), rotation.astype(table.dtype)
    for start in range(0, len(table), PART):
        part = slice(start, start + PART)
        table[part, :k] = table[part, :k] @ rotation


class Gibbs(Alternation):
    """
    The sampler: solve a few times, `begin`, then `sweep` as often as draws are wanted, and `keep` those that count.

    `finish` gives the mean of the draws that were kept.
    """

    states: list[dict[str, float]]
    samples: list[tuple[Array, Array]]

    def __init__(
        self,
        ratings: Ratings,
        k: int,
        users: Penalty,
        items: Penalty,
        generator: np.random.Generator,
        n_threads: int,
        known: tuple[Known, Known] = (Known(), Known()),
    ) -> None:
        super().__init__(ratings, k, users, items, generator, n_threads, known)
        self.generator = generator

    def begin(self) -> None:
        """Start from the tables as they are."""
        generator, n_threads = self.generator, len(self.work)
        self.seed, self.turn = int(generator.integers(2**63)), 0
        # The error of a fit is below the noise's; a few sweeps forget it.
        self.alpha = (SHAPE + self.weight / 2) / (RATE + self.items.squared_error / 2)
        self.commons = {
            name: Common(side, np.diag(side.precision) * self.alpha, generator, n_threads)
            for name, side in zip(SIDES, (self.users, self.items), strict=True)
        }
        self.kept = 0
        self.sums: dict[str, Array] = {}

    def draw_rows(self, name: str) -> None:
        """Draw every row of one side given all the rest."""
        side, common = self.users if name == "user" else self.items, self.commons[name]
        precision = full_precision(common.precision / self.alpha, side.table.dtype)
        self._half_sweep(side, precision, common.expected, self.alpha**-0.5, self.seed, self.turn)
        self.turn += 1

    def sweep(self) -> None:
        """One draw of everything."""
        for name in SIDES:
            self.draw_rows(name)
            self.commons[name].draw()
        rate = RATE + self.items.squared_error / 2
        self.alpha = float(self.generator.gamma(SHAPE + self.weight / 2, 1.0 / rate))

    @property
    def noise_sd(self) -> float:
        """The standard deviation of the noise, in rating units."""
        return float(self.unit * self.alpha**-0.5)

    def drawn(self) -> tuple[Array, Array]:
        """The draw of both tables, in rating units."""
        scales = self.scales()
        users, items = ((side.table[:, : self.k + 1] * scales).astype(np.float32) for side in (self.users, self.items))
        return users, items

    def state(self) -> dict[str, float]:
        """What of the hyper-parameters has a meaning whatever way the factors are turned, in rating units."""
        told = {"noise_sd": self.noise_sd}
        for name, common in self.commons.items():
            spread = np.einsum("ij,ij->i", common.root, common.root)
            told[f"{name}_bias_sd"] = self.unit * float(np.sqrt(spread[-1]))
            if self.k:
                told[f"{name}_factor_sd"] = float(np.sqrt(self.unit * spread[:-1].mean()))
            for part in common.maps:
                told[f"{name}_{'implicit' if part.features is None else 'features'}_ridge"] = part.ridge
        return told

    def _arrays(self) -> dict[str, Array]:
        """All whose mean is wanted."""
        arrays: dict[str, Array] = {}
        for name, side in zip(SIDES, (self.users, self.items), strict=True):
            common = self.commons[name]
            arrays[f"{name}_table"] = side.table
            arrays[f"{name}_shift"] = common.shift
            arrays[f"{name}_precision"] = common.precision / self.alpha
            for place, part in enumerate(common.maps):
                arrays[f"{name}_map_{place}"] = part.weights
        return arrays

    def turn_back(self) -> None:
        """
        Turn the factors of the draw towards the mean of those before.

        Nothing in the model tells factors from the same ones turned, so a long chain turns, and its mean would shrink to 0;
        by the same token a draw is as probable in its new place.
        """
        k = self.k
        turned = np.zeros((k, k))
        for name, side in zip(SIDES, (self.users, self.items), strict=True):
            sums = self.sums[f"{name}_table"]
            for start in range(0, len(sums), PART):
                part = slice(start, start + PART)
                turned += side.table[part, :k].T @ sums[part, :k]
        # The orthogonal matrix with the least distance (Schoenemann 1966)
        left, _, right = np.linalg.svd(turned)
        rotation = left @ right
        for side in (self.users, self.items):
            _rotate(side.table, rotation)
        for common in self.commons.values():
            common.turn(rotation)

    def keep(self) -> None:
        """Add the draw to the sums that become means."""
        if self.k and self.kept and self.kept % TURN == 0:
            self.turn_back()
        self.kept += 1
        for name, array in self._arrays().items():
            if name in self.sums:
                self.sums[name] += array
            else:
                self.sums[name] = (
                    aligned(len(array), array.shape[1], array.dtype) if array.ndim == 2 else np.zeros_like(array)
                )
                self.sums[name][...] = array

    def of_mean(self, function: Callable[[], float]) -> float:
        """What a function of the tables is at the mean of the draws so far."""
        if not self.kept:
            return function()
        sides = {"user": self.users, "item": self.items}
        drawn = {name: side.table for name, side in sides.items()}
        try:
            for name, side in sides.items():
                side.table = aligned(len(side.table), side.table.shape[1], side.table.dtype)
                side.shared = self.sums[f"{name}_shift"] / self.kept
                np.divide(self.sums[f"{name}_table"], self.kept, out=side.table)
            return function()
        finally:
            for name, side in sides.items():
                side.table = drawn[name]

    def finish(self) -> tuple[Array, Array, Prior, Prior]:
        """The means of the draws kept, in rating units, and what is expected of rows that come later."""
        for total in self.sums.values():
            total /= self.kept
        for name, side in zip(SIDES, (self.users, self.items), strict=True):
            side.table = self.sums[f"{name}_table"]
            for place, part in enumerate(self.commons[name].maps):
                part.weights = self.sums[f"{name}_map_{place}"]
            # The mean of draws of rows that no rating informs is known without drawing.
            side.shared = self.sums[f"{name}_shift"]
            side.table[side.known == 0, : self.k + 1] = side.shared
        user_table, item_table, *priors = super().finish()
        scales = self.scales()
        for place, name in enumerate(SIDES):
            priors[place] = priors[place]._replace(
                reg=0.0,
                reg_bias=0.0,
                exponent=0.0,
                precision=self.sums[f"{name}_precision"] * self.unit**2 / np.outer(scales, scales),
                mean=self.sums[f"{name}_shift"] * scales,
            )
        return user_table, item_table, priors[0], priors[1]


class Samples(NamedTuple):
    """
    Draws of the factors that were kept, evenly spread over the chain.

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


class BayesALS(LatentFactors):
    """
    Biases plus latent factors in a Bayesian model, by Gibbs sampling: nothing to regularise, and the most accurate.

    Predicts ``mu + b_u + c_i + p_u . q_i``, as `FactorALS` does. Vectors [p_u, b_u] of users, and of items, come from a normal
    distribution whose mean and full precision matrix are unknown and have a normal-Wishart prior, and so has the noise of
    the ratings a variance that is unknown (Salakhutdinov & Mnih 2008, with biases within the vectors). With `implicit` and
    features the mean of a row's distribution is a linear map of what is known of it, and map and ridge are drawn as well
    (Simm et al. 2017). A chain of draws from the posterior of all of these starts where a few iterations of alternating
    least squares lead, and the mean of the tables over its draws is kept: an ordinary point model of the same size and
    speed, as accurate as predictions averaged over the draws. (Factors may turn from draw to draw, and are turned back.)

    Parameters
    ----------
    k : int, default=20
        Rank: latent factors a user and an item. Accuracy is flat in it from about 10.
    n_samples : int, default=200
        Draws whose mean is kept. 50 are within 0.4 % of as many as one likes, 200 within 0.1 %.
    burn_in : int, default=10
        Draws before these that do not count.
    als_iter : int, default=8
        Iterations of alternating least squares that the chain starts from, at least 1.
    implicit : {"both", "user", "item"} or None, default="both"
        Whose prior means are learned from who rated what, see `FactorALS`.
    keep_samples : int, default=0
        How many draws of the factors, evenly spread, to keep in `samples_`, for intervals and Thompson sampling. Each takes
        4 (k + 1) bytes a user and an item.
    dtype : {"float32", "float64"}, default="float32"
        Type of the factors.
    random_state : int, Generator, RandomState or None, default=None
        Of the start and of all draws. An int gives the same bits at each call.
    n_jobs : int or None, default=None
        Threads; None or -1 for all that this process may use. Results do not depend on it, bit for bit.
    verbose : int, default=0
        1 shows a progress bar on standard error, 2 a line a draw.

    Attributes
    ----------
    mean_, user_biases_, item_biases_, user_factors_, item_factors_, user_ids_, item_ids_, user_counts_, item_counts_, rating_range_
        As of `FactorALS`; biases and factors are means over the draws.
    traces_ : dict of ndarray of float64, shape (1, n_samples)
        Hyper-parameters at each draw, by (chain, draw), in rating units: ``noise_sd``, the standard deviations of biases and
        (root mean square) factors given what is known of a row, the ridges of maps, and ``train_rmse`` of the draw alone.
    samples_ : Samples or None
        The draws of the factors that `keep_samples` asked for.
    n_iter_ : int
        ``burn_in + n_samples``.
    history_ : dict of lists of float
        One entry a draw, burn-in included: ``loss`` (the squared error of the draw, in squared rating units), its
        ``train_rmse``, ``noise_sd``, ``test_rmse`` (with `eval_set`; of the mean of the draws so far) and ``seconds``.

    References
    ----------
    R. Salakhutdinov, A. Mnih, "Bayesian probabilistic matrix factorization using Markov chain Monte Carlo", ICML 2008, pages
    880-887.

    J. Simm, A. Arany, P. Zakeri, T. Haber, J. K. Wegner, V. Chupakhin, H. Ceulemans, Y. Moreau, "Macau: scalable Bayesian
    factorization with high-dimensional side information using MCMC", MLSP 2017 (arXiv 1509.04610).

    Y. Saad, M. Yeung, J. Erhel, F. Guyomarc'h, "A deflated version of the conjugate gradient algorithm", SIAM Journal on
    Scientific Computing 21(5), 2000, pages 1909-1926.

    Examples
    --------
    >>> from alsx import BayesALS
    >>> R = [("ann", 7), ("bob", 7), ("ann", 3), ("cat", 3)]
    >>> model = BayesALS(k=2, n_samples=20, random_state=0).fit(R, [4.5, 3.0, 5.0, 4.0])
    >>> ids, stars = model.recommend("bob", n=1)
    >>> ids
    array([3])
    """

    _alternation: ClassVar[type[Alternation]] = Gibbs

    def __init__(
        self,
        k: int = 20,
        *,
        n_samples: int = 200,
        burn_in: int = 10,
        als_iter: int = 8,
        implicit: str | None = "both",
        keep_samples: int = 0,
        dtype: Any = "float32",
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.k = k
        self.n_samples = n_samples
        self.burn_in = burn_in
        self.als_iter = als_iter
        self.implicit = implicit
        self.keep_samples = keep_samples
        self.dtype = dtype
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _iterations(self) -> tuple[int, float]:
        n_samples = _check.integer("n_samples", self.n_samples, 1)
        kept = _check.integer("keep_samples", self.keep_samples, 0)
        if kept > n_samples:
            raise ValueError(f"keep_samples is {kept}; it must be at most n_samples, {n_samples}")
        _check.integer("als_iter", self.als_iter, 1)
        return _check.integer("burn_in", self.burn_in, 0) + n_samples, 0.0

    def _penalties(self) -> tuple[Penalty, Penalty]:
        return START, START

    def _known(self, side: str, features: Any) -> Known:
        place = SIDES.index(side)
        implicit = RIDGES["implicit"][place] if self._learns_implicit(side) else None
        return Known(implicit, features, RIDGES["features"][place])

    def _train(
        self,
        alternation: Alternation,
        max_iter: int,
        tol: float,
        test_rmse: Callable[[], float] | None,
        report: Callable[[Iteration], None],
    ) -> dict[str, list[float]]:
        assert isinstance(alternation, Gibbs)
        gibbs, samples = alternation, []
        burn_in = max_iter - self.n_samples
        wanted = set(self._kept().tolist())
        names = ["loss", "train_rmse", "noise_sd", *(["test_rmse"] if test_rmse else []), "seconds"]
        history: dict[str, list[float]] = {name: [] for name in names}
        states: list[dict[str, float]] = []
        # The sums of small matrices would depend on the number of threads, and gain nothing by them.
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            for _ in range(self.als_iter):
                gibbs.solve(gibbs.users)
                gibbs.solve(gibbs.items)
            gibbs.begin()
            for number in range(1, max_iter + 1):
                start = time.perf_counter()
                gibbs.sweep()
                draw = number - burn_in - 1
                if draw >= 0:
                    gibbs.keep()
                    states.append({**gibbs.state(), "train_rmse": gibbs.train_rmse})
                    if draw in wanted:
                        samples.append(gibbs.drawn())
                seconds = time.perf_counter() - start
                loss, test = gibbs.unit**2 * gibbs.items.squared_error, gibbs.of_mean(test_rmse) if test_rmse else None
                reached = Iteration(number, loss, gibbs.train_rmse, test, seconds)
                for name, values in history.items():
                    values.append(gibbs.noise_sd if name == "noise_sd" else getattr(reached, name))
                report(reached)
        gibbs.states, gibbs.samples = states, samples
        return history

    def _kept(self) -> Array:
        """Which draws of the factors are kept."""
        return np.linspace(self.n_samples - 1, 0, self.keep_samples).round().astype(np.int64)[::-1]

    def _finished(self, alternation: Alternation) -> None:
        assert isinstance(alternation, Gibbs)
        states = alternation.states
        self.traces_ = {name: np.array([[state[name] for state in states]]) for name in states[0]}
        self.samples_: Samples | None = None
        if self.keep_samples:
            users, items = zip(*alternation.samples, strict=True)
            self.samples_ = Samples(self._kept(), np.stack(users), np.stack(items))

    def to_inference_data(self) -> Any:
        """
        The traces for ArviZ, which plots and summarises chains (effective sample sizes, R-hat).

        Returns
        -------
        data : arviz.InferenceData
            `traces_` as its group ``posterior``. Chains of models that differ in `random_state` are joined by
            ``arviz.concat([a.to_inference_data(), b.to_inference_data()], dim="chain")``.

        Raises
        ------
        ImportError
            If ArviZ is not installed.
        """
        check_is_fitted(self, "traces_")
        try:
            import arviz
        except ImportError as error:
            raise ImportError(
                "to_inference_data needs ArviZ, which is not installed: pip install 'alsx[diagnostics]', or work with "
                "the arrays of traces_, of shape (chain, draw)"
            ) from error
        if int(arviz.__version__.split(".")[0]) >= 1:
            return arviz.from_dict({"posterior": self.traces_})
        return arviz.from_dict(posterior=self.traces_)

    def fold_in(
        self, R: Any = None, y: Any = None, sample_weight: Any = None, *, side: str = "user", features: Any = None
    ) -> Self:
        """
        A model that knows users, or items, who were not there when this one was fitted; as `FactorALS.fold_in`.

        Each gets the mean of its posterior given the ratings, with the other side and the priors at their means. Draws
        that were kept, `samples_`, are those of the fit and are not carried over.

        Parameters
        ----------
        R, y, sample_weight, side, features
            As of `FactorALS.fold_in`.

        Returns
        -------
        model : BayesALS
        """
        model = super().fold_in(R, y, sample_weight, side=side, features=features)
        model.samples_ = None  # which has rows for other users or items
        return model

    def _more(self) -> dict[str, Array]:
        arrays = {f"trace_{name}": values for name, values in self.traces_.items()}
        if self.samples_ is not None:
            arrays |= {f"samples_{name}": values for name, values in self.samples_._asdict().items()}
        return arrays

    def _restore_more(self, stored: dict[str, Array]) -> None:
        traces = {name: array for name, array in stored.items() if name.startswith("trace_")}
        self.traces_ = {name.removeprefix("trace_"): array for name, array in traces.items()}
        self.samples_ = None
        if "samples_draws" in stored:
            self.samples_ = Samples(*(stored[f"samples_{name}"] for name in Samples._fields))
            m = len(self.samples_.draws)
            for name, array, n in (
                ("users", self.samples_.users, len(self._users)),
                ("items", self.samples_.items, len(self._items)),
            ):
                if array.shape != (m, n, self._k + 1) or array.dtype.kind != "f":
                    raise ValueError(f"its samples_{name} is {array.dtype} of shape {array.shape}")

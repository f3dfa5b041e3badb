"""Alternating row solves: the Python side of a sweep, the same for every model.

Both models minimise, in the notation of ``_core.pyx``,

    sum w (r - mu - b_u - c_i - p_u . q_i)^2
        + sum_u s_u (reg_user |p_u|^2 + reg_bias_user b_u^2) + sum_i s_i (reg_item |q_i|^2 + reg_bias_item c_i^2)

in units in which the ratings have standard deviation 1, so that one regularisation serves every scale of ratings. Each
half-sweep solves one side exactly with the other one fixed, so the objective cannot rise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx import _core, _threads
from alsx.prior import (
    Prior,
    PriorMean,
    aligned,
    feature_map,
    indicators,
    masses,
    ridge_regression,
    row_tasks,
    scales,
)
from alsx.ratings import CSR, Ratings

# How many ratings make a row half as reliable as it can be, where features are judged by all rows: MovieLens 100k with a
# sixth of the films withheld is predicted best from about 200 on (benchmarks/coldstart.py), since errors are counted a rating.
RELIABLE = 200.0


def factor_table(n_rows: int, k: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an empty table of `n_rows` rows of k factors and a bias, padded to whole 64-byte pieces."""
    piece = 64 // dtype.itemsize
    return aligned(n_rows, -(-(k + 1) // piece) * piece, dtype)


def workspace(n_threads: int, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return one slice of `size` reals a thread, each on cache lines of its own."""
    line = 64 // dtype.itemsize
    return aligned(n_threads, -(-size // line) * line, dtype)


def full_precision(precision: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A precision matrix (k+1, k+1) laid out as the kernels read it."""
    width = len(precision)
    out = aligned(width, -(-(width - 1) // _core.PAD) * _core.PAD + _core.PAD, dtype)
    out[:, :width] = precision
    return out


class Penalty(NamedTuple):
    """The regularisation of one side: of factors and biases, and the exponent of the count that scales both."""

    reg: float
    reg_bias: float
    scaling: float


class Known(NamedTuple):
    """
    What a side's prior means are learned from.

    Parameters
    ----------
    implicit : float or None
        The ridge of a map from who rated what; None for none.
    features : scipy CSR matrix or None
        Features of the side's rows, shape (n, f).
    ridge : float
        The ridge of the features' map.
    """

    implicit: float | None = None
    features: Any = None
    ridge: float = 0.0


class Side:
    """One side's rows: its ratings, the order they are solved in, its scales, its table and its last loss."""

    def __init__(self, rows: CSR, k: int, penalty: Penalty, dtype: np.dtype[Any]) -> None:
        counts = np.diff(rows.indptr)
        self.rows = rows
        self.penalty = penalty
        self.table = factor_table(len(counts), k, dtype)
        self.mass = masses(rows.indptr, rows.weights)
        self.scaling = scales(self.mass, penalty.scaling)
        self.loss = np.zeros((len(counts), 2))
        self.tasks = row_tasks(counts, k)
        # Rows without ratings tell a learned prior mean nothing.
        self.known = np.where(counts > 0, self.scaling, 0.0)
        self.precision = np.empty(k + 1)
        self.regularise(penalty)
        self.prior: PriorMean | None = None
        # The part of the prior mean that all rows have in common; None for 0.
        self.shared: NDArray[np.float64] | None = None
        self.energy = 0.0

    def regularise(self, penalty: Penalty) -> None:
        """Go on with another regularisation of the same exponent."""
        self.penalty = penalty
        self.precision = np.append(np.full(len(self.precision) - 1, penalty.reg), penalty.reg_bias)

    @property
    def squared_error(self) -> float:
        """The weighted squared error at the side's last solution."""
        return float(self.loss[:, 0].sum())

    def know(self, known: Known, other: Side) -> None:
        """Give the side prior means that are learned."""
        ld, columns, dtype = self.table.shape[1], len(self.precision), self.table.dtype
        maps = []
        if known.implicit is not None:
            maps.append(
                indicators(
                    self.rows, other.rows, self.tasks, other.tasks, known.implicit, self.known, columns, ld, dtype
                )
            )
        if known.features is not None:
            maps.append(feature_map(known.features, known.ridge, self.known, columns, ld, dtype))
        if maps:
            self.prior = PriorMean(maps, aligned(len(self.table), ld, dtype))

    def typical(self) -> NDArray[np.float64] | None:
        """
        A row of which nothing is known, not even what it rated: the mean of the rows, or what they share; None for 0.

        Prior means that are learned from who rated what need not be 0 on average.
        """
        if self.prior is None or all(part.features is not None for part in self.prior.maps):
            return self.shared
        rated = np.count_nonzero(self.known)
        sums = (self.table * (self.known > 0)[:, None]).sum(axis=0, dtype=np.float64)
        return np.asarray(sums[: len(self.precision)] / max(rated, 1))

    def nothing_known(self) -> NDArray[np.bool_]:
        """Which rows have neither ratings nor features."""
        nothing = self.known == 0
        for part in self.prior.maps if self.prior is not None else []:
            if part.features is not None:
                nothing &= np.diff(part.features.indptr) == 0
        return np.asarray(nothing)

    def later(self, k: int) -> Prior:
        """What is expected of rows that come after the fit; those without ratings that are there already get it."""
        implicit = features = cold = None
        unknown = self.typical()
        counts = np.diff(self.rows.indptr)
        few = float(np.quantile(counts[counts > 0], 0.05)) if unknown is not None else 1.0
        if unknown is not None:
            self.table[self.nothing_known(), : k + 1] = unknown
        for part in self.prior.maps if self.prior is not None else []:
            weights = part.weights[:, : k + 1].copy()
            if part.features is None:
                implicit = weights
                continue
            features = weights
            # A row with many ratings says more of what a row is like than one whose factors are mostly prior.
            reliability = self.mass / (self.mass + RELIABLE)
            cold = ridge_regression(part.features, self.table[:, : k + 1], reliability, part.ridge_given)
            empty = np.flatnonzero((self.known == 0) & ~self.nothing_known())
            self.table[empty, : k + 1] = part.features[empty] @ cold
            cold = cold.astype(self.table.dtype)
        return Prior(
            self.penalty.reg,
            self.penalty.reg_bias,
            self.penalty.scaling,
            implicit=implicit,
            features=features,
            cold=cold,
            unknown=unknown,
            few=few,
        )

    @property
    def means(self) -> NDArray[Any]:
        """The prior means of the side's rows; of no row where they are 0."""
        return self.table[:0] if self.prior is None else self.prior.means

    def learn(self, n_threads: int) -> None:
        """Add up the side's penalties, and improve its prior means."""
        self.energy = float(self.loss[:, 1].sum())
        if self.prior is not None:
            self.energy += self.prior.penalty(self.precision)
            self.energy -= self.prior.improve(self.table, self.precision, n_threads)


class Alternation:
    """
    Users and items solved in turn, from a random start of the items' factors.

    Parameters
    ----------
    ratings : Ratings
        Training ratings, in the model's dtype.
    k : int
        Rank.
    users, items : Penalty
        Regularisation of each side, in units of ratings of standard deviation 1.
    generator : numpy.random.Generator
        For the start.
    n_threads : int
        Threads; they change no bit of the result.
    known : pair of Known (users, items)
        What the prior means of each side are learned from.
    """

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
        dtype = ratings.dtype
        self.k = k
        with np.errstate(over="ignore", invalid="ignore"):
            self.mean, unit = ratings.mean, ratings.std
        if not (np.isfinite(self.mean) and np.isfinite(unit)):
            raise FloatingPointError(
                "the squares of the ratings leave the range of float64 numbers, so they have no standard deviation: "
                "rescale the ratings"
            )
        # Constant ratings have no scale of their own.
        self.unit = unit or 1.0
        self.users = Side(ratings.by_user, k, users, dtype)
        self.items = Side(ratings.by_item, k, items, dtype)
        self.weight = float(ratings.n_ratings)
        if ratings.by_user.weights is not None:
            self.weight = float(ratings.by_user.weights.sum(dtype=np.float64))
        self.items.table[:, :k] = generator.standard_normal((ratings.n_items, k), dtype=dtype.type) * dtype.type(0.1)
        self.work = workspace(n_threads, _core.row_workspace(k, dtype.itemsize), dtype)
        self.users.know(known[0], self.items)
        self.items.know(known[1], self.users)

    def solve(self, side: Side) -> None:
        """
        Solve every row of one side with the other side fixed.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the normal equations of a row are singular, with the first such row in `row` and its side in `side`.
        """
        self._half_sweep(side, self.work[:0], side.means)
        side.learn(len(self.work))

    def _half_sweep(
        self,
        side: Side,
        precision: NDArray[Any],
        means: NDArray[Any],
        noise: float = 0.0,
        seed: int = 0,
        turn: int = 0,
    ) -> None:
        """Solve every row of one side, or with noise draw it; a full precision stands instead of the side's penalty."""
        rows, other = side.rows, self.items if side is self.users else self.users
        weights = rows.weights if rows.weights is not None else rows.values[:0]

        def call(starts: NDArray[np.int64], work: NDArray[np.generic]) -> int:
            return _core.half_sweep(
                starts, side.tasks.order, rows.indptr, rows.indices, rows.values, weights, self.mean, 1.0 / self.unit,
                other.table, self.k, side.penalty.reg, side.penalty.reg_bias, side.scaling, precision, means, noise, seed,
                turn, work, side.table, side.loss,
            )  # fmt: skip

        failed = _threads.run_tasks(call, side.tasks.starts, self.work)
        if failed:
            raise SingularRowError(
                "user" if side is self.users else "item", int(np.flatnonzero(np.isnan(side.loss[:, 0]))[0]), failed
            )

    @property
    def objective(self) -> float:
        """The regularised loss, in squared rating units, after a half-sweep of the items."""
        return self.unit**2 * (self.items.squared_error + self.users.energy + self.items.energy)

    @property
    def train_rmse(self) -> float:
        """The weighted training RMSE, in rating units, after a half-sweep of the items."""
        return self.unit * float(np.sqrt(self.items.squared_error / self.weight))

    def scales(self) -> NDArray[np.float64]:
        """From units in which ratings have standard deviation 1 to rating units, of [factors ; bias]."""
        return np.append(np.full(self.k, np.sqrt(self.unit)), self.unit)

    def finish(self) -> tuple[NDArray[Any], NDArray[Any], Prior, Prior]:
        """
        Both tables in rating units, and what is expected of rows that come later.

        Rows without ratings get what a map of features, learned from the rows in the end, says of them.
        """
        factors = np.sqrt(self.unit)
        priors = []
        for side in (self.users, self.items):
            prior = side.later(self.k)
            side.table[:, : self.k] *= factors
            side.table[:, self.k] *= self.unit
            scale = self.scales()
            maps = {name: getattr(prior, name) for name in ("implicit", "features", "cold", "unknown")}
            scaled: dict[str, Any] = {
                name: None if x is None else (x * scale).astype(x.dtype) for name, x in maps.items()
            }
            priors.append(prior._replace(reg=side.penalty.reg * self.unit, **scaled))
        return self.users.table, self.items.table, priors[0], priors[1]


class SingularRowError(np.linalg.LinAlgError):
    """The normal equations of a row have no unique solution."""

    def __init__(self, side: str, row: int, count: int) -> None:
        super().__init__(side, row, count)
        self.side, self.row, self.count = side, row, count


class Iteration(NamedTuple):
    """What one iteration reached; `test_rmse` is None where no held-out ratings were given."""

    number: int
    loss: float
    train_rmse: float
    test_rmse: float | None
    seconds: float


def alternate(
    alternation: Alternation,
    max_iter: int,
    tol: float,
    test_rmse: Callable[[], float] | None,
    report: Callable[[Iteration], None],
) -> dict[str, list[float]]:
    """
    Sweep users and items until the loss falls by less than `tol` of itself, at most `max_iter` times.

    Returns
    -------
    history : dict of lists
        ``loss``, ``train_rmse``, ``test_rmse`` (with held-out ratings) and ``seconds``, one entry an iteration.
    """
    history: dict[str, list[float]] = {"loss": [], "train_rmse": [], "test_rmse": [], "seconds": []}
    if test_rmse is None:
        del history["test_rmse"]
    for number in range(1, max_iter + 1):
        start = time.perf_counter()
        alternation.solve(alternation.users)
        alternation.solve(alternation.items)
        loss, train_rmse = alternation.objective, alternation.train_rmse
        seconds = time.perf_counter() - start
        before = history["loss"][-1] if history["loss"] else np.inf
        reached = Iteration(number, loss, train_rmse, test_rmse() if test_rmse else None, seconds)
        for name, values in history.items():
            values.append(getattr(reached, name))
        report(reached)
        if before - loss <= tol * before and np.isfinite(before):
            break
    return history

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
from alsx.ratings import Compressed, Ratings

# Tasks of equal work that the rows of one side are cut into: enough that 64 threads end together, few enough that
# handing them out costs nothing.
N_TASKS = 4096


def aligned(n_rows: int, width: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return zeros of shape (n_rows, width) that begin at a 64-byte boundary, with room for a whole vector behind."""
    spare = 64 // dtype.itemsize
    buffer = np.zeros(n_rows * width + spare + _core.PAD, dtype)
    first = (-buffer.ctypes.data % 64) // dtype.itemsize
    return buffer[first : first + n_rows * width].reshape(n_rows, width)


def factor_table(n_rows: int, k: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an empty table of `n_rows` rows of k factors and a bias, padded to whole 32-byte pieces."""
    piece = 32 // dtype.itemsize
    return aligned(n_rows, -(-(k + 1) // piece) * piece, dtype)


def workspace(n_threads: int, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return one slice of `size` reals a thread, each on cache lines of its own."""
    line = 64 // dtype.itemsize
    return aligned(n_threads, -(-size // line) * line, dtype)


class Penalty(NamedTuple):
    """The regularisation of one side: of factors and biases, and the exponent of the count that scales both."""

    reg: float
    reg_bias: float
    scaling: float


class Side:
    """One side's rows: its ratings, the order they are solved in, its scales, its table and its last loss."""

    def __init__(self, rows: Compressed, k: int, penalty: Penalty, dtype: np.dtype[Any]) -> None:
        counts = np.diff(rows.indptr)
        self.rows = rows
        self.penalty = penalty
        self.table = factor_table(len(counts), k, dtype)
        # A rating of weight 2 counts like two ratings.
        mass = counts.astype(np.float64)
        if rows.weights is not None:
            # Summed row by row: a difference of running sums would lose the light rows behind heavy ones.
            mass[counts > 0] = np.add.reduceat(rows.weights, rows.indptr[:-1][counts > 0], dtype=np.float64)
        # A row whose ratings all weigh 0 knows no more than its prior, whatever the exponent.
        mass[mass == 0] = 1.0
        self.scaling = mass**penalty.scaling
        self.loss = np.zeros((len(counts), 2))
        # The heaviest rows first, in tasks of equal work, so that no thread is left with a long row at the end.
        self.order = np.argsort(-counts, kind="stable").astype(np.int32)
        width = k + 1
        work = np.cumsum(counts[self.order] * float(width * (width + 32)) + float(width) ** 3 + 500.0)
        n_tasks = max(1, min(N_TASKS, len(counts)))
        shares = work[-1] * np.arange(1, n_tasks) / n_tasks if len(work) else []
        self.starts = np.unique(np.concatenate([[0], np.searchsorted(work, shares), [len(counts)]])).astype(np.int64)

    @property
    def squared_error(self) -> float:
        """The weighted squared error at the side's last solution."""
        return float(self.loss[:, 0].sum())

    @property
    def penalties(self) -> float:
        """The penalty of the side's rows."""
        return float(self.loss[:, 1].sum())


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
    """

    def __init__(
        self, ratings: Ratings, k: int, users: Penalty, items: Penalty, generator: np.random.Generator, n_threads: int
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

    def solve(self, side: Side) -> None:
        """
        Solve every row of one side with the other side fixed.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the normal equations of a row are singular, with the first such row in `row` and its side in `side`.
        """
        rows, other = side.rows, self.items if side is self.users else self.users
        weights = rows.weights if rows.weights is not None else rows.values[:0]

        def call(starts: NDArray[np.int64], work: NDArray[np.generic]) -> int:
            return _core.half_sweep(
                starts,
                side.order,
                rows.indptr,
                rows.indices,
                rows.values,
                weights,
                self.mean,
                1.0 / self.unit,
                other.table,
                self.k,
                side.penalty.reg,
                side.penalty.reg_bias,
                side.scaling,
                work,
                side.table,
                side.loss,
            )

        failed = _threads.run_tasks(call, side.starts, self.work)
        if failed:
            raise SingularRowError(
                "user" if side is self.users else "item", int(np.flatnonzero(np.isnan(side.loss[:, 0]))[0]), failed
            )

    @property
    def objective(self) -> float:
        """The regularised loss, in squared rating units, after a half-sweep of the items."""
        return self.unit**2 * (self.items.squared_error + self.users.penalties + self.items.penalties)

    @property
    def train_rmse(self) -> float:
        """The weighted training RMSE, in rating units, after a half-sweep of the items."""
        return self.unit * float(np.sqrt(self.items.squared_error / self.weight))

    def tables(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Both tables in rating units: p . q and the biases add up to ratings less their mean."""
        tables = self.users.table, self.items.table
        for table in tables:
            table[:, : self.k] *= np.sqrt(self.unit)
            table[:, self.k] *= self.unit
        return tables


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

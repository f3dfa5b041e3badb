"""Half-sweeps: the row solves of a block as one task, by the same `RowSystems` as on one machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._solver.alternation import START_SD
from alsx._solver.prior import Penalty
from alsx._solver.rows import RowPrior, RowSystems, SingularRowError
from alsx._solver.tables import factor_table, kernel_table, row_scales, weight_sums
from alsx.dask._blocks import aligned_csr
from alsx.dask._cluster import threads_of_task, use_level
from alsx.dask._exchange import Local
from alsx.dask._sums import Answer, Request, answer
from alsx.ratings import CSR

Array = NDArray[Any]
Floats = NDArray[np.float64]


class Model(NamedTuple):
    """What all row solves of a fit have in common.

    Parameters
    ----------
    k : int
    dtype : dtype
    mean, unit : float
        Of the ratings: the mean, and the standard deviation (1 where they are all the same).
    level : str
        The instruction set that all workers use.
    """

    k: int
    dtype: np.dtype[Any]
    mean: float
    unit: float
    level: str


class Solved(NamedTuple):
    """A block of rows after a half-sweep.

    Parameters
    ----------
    table : ndarray, shape (n, ld)
        In units in which the ratings have standard deviation 1.
    errors : ndarray of float64, shape (n,)
        The weighted squared error of each row.
    sums : list of list
        What is told for the sums of errors and of penalties.
    singular : pair of int or None
        The first row of the block whose equations have no unique solution, and how many there are.
    """

    table: Array
    errors: Floats
    sums: tuple[list[Answer], list[Answer]]
    singular: tuple[int, int] | None = None


class Report(NamedTuple):
    """What the client is told of a block after a half-sweep."""

    sums: tuple[list[Answer], list[Answer]]
    singular: tuple[int, int] | None


def solve_block(
    local: Local, panel: Array, side: str, penalty: Penalty, model: Model, first: int, requests: list[Request], n_tasks: int
) -> Solved:
    """Solve the rows of a block.

    Parameters
    ----------
    local : Local
        Its ratings.
    panel : ndarray, shape (n_needed, ld)
        The rows of the other side that they need.
    side : {"user", "item"}
    penalty : Penalty
    model : Model
    first : int
        The first row of the block.
    requests : list of Request
        What the sums of errors and penalties take of the block.
    n_tasks : int
        Such tasks that the worker has, among which it shares its threads.
    """
    use_level(model.level)
    ratings = aligned_csr(local.ratings)
    n = len(ratings.indptr) - 1
    table, loss = factor_table(n, model.k, model.dtype), np.zeros((n, 2))
    scale = row_scales(weight_sums(ratings.indptr, ratings.weights), penalty.exponent)
    prior = RowPrior(penalty.reg, penalty.reg_bias, scale)
    # A panel that came over the network is not laid out as kernels need it.
    panel = kernel_table(panel, model.k)
    systems = RowSystems(ratings, panel, model.k, prior, model.mean, model.unit, side)
    singular = None
    try:
        systems.solve(table, loss, threads_of_task(n_tasks))
    except SingularRowError as error:
        singular = first + error.row, error.count
    errors, penalties = loss[:, 0].copy(), loss[:, 1].copy()

    def of(numbers: Floats) -> Callable[[int, int], Floats]:
        return lambda begin, end: numbers[begin - first : end - first]

    return Solved(table, errors, (answer(requests, of(errors)), answer(requests, of(penalties))), singular)


def report(blocks: list[Solved]) -> list[Report]:
    """Return what the client is told of the blocks of a group; a task."""
    return [Report(block.sums, block.singular) for block in blocks]


def start_block(generator: np.random.Generator, n: int, model: Model) -> Solved:
    """Return the random start of a block of items; the generator stands where the block begins."""
    table = factor_table(n, model.k, model.dtype)
    start = generator.standard_normal((n, model.k), dtype=model.dtype.type)
    table[:, : model.k] = start * model.dtype.type(START_SD)
    return Solved(table, np.zeros(n), ([], []))


# ---------------------------------------------------------------------------------------------------------------------
# Sums over all ratings


def moment_answers(
    ratings: CSR, first: int, requests: list[Request], centre: float, power: int
) -> tuple[list[Answer], list[Answer] | None]:
    """Return what a block tells for the sums of (value - centre)^power, weighted, and of weights, as `weighted_mean` adds them.

    Parameters
    ----------
    ratings : CSR
        Of the block.
    first : int
        The number of its first rating among all by user.
    requests : list of Request
    centre : float
    power : int
    """

    def weights(begin: int, end: int) -> Floats:
        assert ratings.weights is not None
        return np.asarray(ratings.weights[begin - first : end - first], np.float64)

    def numbers(begin: int, end: int) -> Floats:
        part = ratings.values[begin - first : end - first].astype(np.float64) - centre
        if power == 2:
            part *= part
        if ratings.weights is not None:
            part *= weights(begin, end)
        return part

    return answer(requests, numbers), None if ratings.weights is None else answer(requests, weights)


def weight_answers(ratings: CSR, first: int, requests: list[Request]) -> list[Answer]:
    """Return what a block tells for the sum of weights."""
    assert ratings.weights is not None
    weights = ratings.weights
    return answer(requests, lambda begin, end: np.asarray(weights[begin - first : end - first], np.float64))

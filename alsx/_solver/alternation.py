"""Sweeps: users and items solved in turn, by the one loop that all models are trained by.

`Alternation` minimises, in the notation of ``_core.pyx``,

    sum w (r - mu - b_u - c_i - p_u . q_i)^2
        + sum_u s_u (reg_user |p_u|^2 + reg_bias_user b_u^2) + sum_i s_i (reg_item |q_i|^2 + reg_bias_item c_i^2)

in units in which the ratings have standard deviation 1, so that one regularisation serves every scale of ratings. Each
half-sweep solves one side exactly with the other one fixed, so the objective cannot rise. The sampler, `gibbs.Gibbs`, sweeps
the same sides.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from alsx._solver import SIDES
from alsx._solver.ordinal import OrdinalScale
from alsx._solver.prior import Basis, FittedPrior, Penalty, PriorSources
from alsx._solver.regression import (
    Evidence,
    PriorMeans,
    PriorRegression,
    Scratch,
    SparseOperator,
    column_sums,
    feature_regression,
    rated_item_regression,
    ridge_regression,
)
from alsx._solver.ridges import MAX_FEATURES, MAX_FEATURES_BY_FACTOR, leave_one_out_ridge
from alsx._solver.rows import RowPrior, RowSystems, solve_workspace
from alsx._solver.tables import aligned, factor_table, kernel_table, row_scales, solve_tasks, weight_sums
from alsx._solver.time_offsets import TimeOffsets, TimeSnapshot
from alsx.ratings import CSR, Ratings, is_mapped

Array = NDArray[Any]
Floats = NDArray[np.float64]

# How many ratings make a row half as reliable as it can be, where features are judged by all rows: MovieLens 100k with a
# sixth of the films withheld is predicted best from about 200 on (benchmarks/coldstart.py), since errors are counted by rating.
HALF_RELIABILITY_COUNT = 200.0

# The ridges of features, in numbers of average rows, where the fit has nothing to choose them by: good ones on MovieLens 100k and
# latest-small, with as many rows as these have.
FEATURE_RIDGES = {"user": 60.0, "item": 20.0}

# The standard deviation of the random start of the items' factors, in units of the ratings': small, so that the first
# half-sweep is close to a fit of biases.
START_SD = 0.1

# Rows of the fit that have fewer ratings than `FittedPrior.typical_min_count`.
UNTYPICAL_SHARE = 0.05


# Iterations in each of which a regression on rated-item sets takes a step. A step in every second one afterwards predicts as
# well on MovieLens 100k and latest-small; after 4 iterations that is a little slower (benchmarks/NOTES.md).
RESTLESS_ITERATIONS = 8

# Rounding errors of a sum of squares, in units of the tables' type, by which the objective may differ from what it was.
ROUNDING_ERRORS = 16.0


class Estimate(NamedTuple):
    """The model as it stands within a fit, in units in which the ratings have standard deviation 1; not a copy.

    Parameters
    ----------
    users, items : ndarray, shapes (n_users, ld) and (n_items, ld)
        Tables.
    cold_user, cold_item : ndarray of float64, shape (k+1,), or None
        The vectors of rows without ratings and features; None for 0.
    """

    users: Array
    items: Array
    cold_user: Floats | None
    cold_item: Floats | None


class SideSnapshot(NamedTuple):
    """One side of a model in rating units: a copy that later sweeps do not change.

    Parameters
    ----------
    table : ndarray, shape (n, ld)
    prior : FittedPrior
    basis : Basis or None
        What the rows were solved from, where that is not the model as it stands.
    cold_rows : callable or None
        ``cold_rows(table)`` fills the rows without ratings that have features, and returns what the prior says of later ones.
    """

    table: Array
    prior: FittedPrior
    basis: Basis | None = None
    cold_rows: Callable[[Array], dict[str, Any]] | None = None

    def complete(self) -> SideSnapshot:
        """Return the snapshot with rows without ratings as their features predict them.

        That takes longer than an iteration where there are many features, so that only what becomes a model gets it.
        """
        if self.cold_rows is None:
            return self
        prior = self.prior._replace(**self.cold_rows(self.table))
        # Rows are solved again, as when they are folded in, with all that the prior says.
        return SideSnapshot(self.table, prior, None if self.basis is None else self.basis._replace(prior=prior))


class TrainingSide:
    """One side of a fit: its ratings, the order in which its rows are solved, its table and prior.

    Parameters
    ----------
    name : {"user", "item"}
    ratings : CSR
        By row of this side.
    k : int
        Rank.
    penalty : Penalty
    dtype : dtype
        Of the table.
    in_order : bool, default=False
        Whether rows are solved in their order, see `equal_tasks`.

    Attributes
    ----------
    table : ndarray, shape (n, ld)
        Factors and bias of each row.
    tasks : Tasks
        Of its row solves.
    weight_sum, row_scale : ndarray of float64, shape (n,)
        The (weighted) number of ratings, and the scale s of the prior's precision.
    fit_scale : ndarray of float64, shape (n,)
        `row_scale`, and 0 for rows without ratings (of a weight above 0), which tell a learned prior mean nothing.
    precision : ndarray of float64, shape (k+1,)
        The diagonal of Lambda.
    loss : ndarray of float64, shape (n, 2)
        The weighted squared error and the penalty of each row at its last solution.
    prior_means : PriorMeans or None
        What the prior means are learned by; None where they are 0.
    set_prior_count : float
        As of `PriorSources`.
    penalty_sum : float
        The side's part of the objective besides squared errors, at its last solution.
    n_solved : int
        How often the rows were solved.
    solved_against : ndarray, shape (n_other, ld), or None
        The other side's table when the rows were last solved; None where it has not moved since.
    """

    def __init__(
        self, name: str, ratings: CSR, k: int, penalty: Penalty, dtype: np.dtype[Any], in_order: bool = False
    ) -> None:
        counts = np.diff(ratings.indptr)
        self.name, self.ratings, self.k = name, ratings, k
        self.table = factor_table(len(counts), k, dtype)
        self.weight_sum = weight_sums(ratings.indptr, ratings.weights)
        self.row_scale = row_scales(self.weight_sum, penalty.exponent)
        self.fit_scale = np.where(self.weight_sum > 0, self.row_scale, 0.0)
        self.loss = np.zeros((len(counts), 2))
        self.tasks = solve_tasks(counts, k, in_order)
        self.regularise(penalty)
        self.prior_means: PriorMeans | None = None
        self.set_prior_count = 0.0
        self.penalty_sum = 0.0
        self.n_solved = 0
        self.solved_against: Array | None = None

    def regularise(self, penalty: Penalty) -> None:
        """Go on with another regularisation of the same exponent."""
        self.penalty = penalty
        self.precision = np.append(np.full(self.k, penalty.reg), penalty.reg_bias)

    @property
    def regressions(self) -> list[PriorRegression]:
        """What the prior means are the sum of."""
        return [] if self.prior_means is None else self.prior_means.regressions

    @property
    def features(self) -> Any:
        """Features of the rows, a scipy CSR matrix (n, f); None where there are none."""
        return next((part.features for part in self.regressions if part.features is not None), None)

    @property
    def squared_error(self) -> float:
        """The weighted squared error at the side's last solution."""
        return float(self.loss[:, 0].sum())

    def learn_means(self, sources: PriorSources, other: TrainingSide, scratch: Scratch) -> None:
        """Learn the side's prior means from now on."""
        ld, columns, dtype = self.table.shape[1], self.k + 1, self.table.dtype
        regressions = []
        if sources.implicit_ridge is not None:
            self.set_prior_count = sources.set_prior_count
            regressions.append(
                rated_item_regression(
                    self.ratings,
                    other.ratings,
                    self.tasks,
                    other.tasks,
                    self.weight_sum,
                    sources.implicit_ridge,
                    self.fit_scale,
                    columns,
                    ld,
                    dtype,
                    scratch,
                    sources.set_prior_count,
                )
            )
        if sources.features is not None:
            ridge = sources.feature_ridge
            if ridge is None and sources.features.shape[1] > MAX_FEATURES:
                ridge = FEATURE_RIDGES[self.name]
            regressions.append(feature_regression(sources.features, ridge, self.fit_scale, columns, ld, dtype, scratch))
        if regressions:
            self.prior_means = PriorMeans(regressions, aligned(len(self.table), ld, dtype))

    def go_on_from(
        self,
        places: Array,
        rows: Array,
        coefficients: list[Array | None],
        feature_ridge: float | None,
        n_threads: int,
    ) -> None:
        """Go on from an earlier fit, in units in which the ratings have standard deviation 1.

        Parameters
        ----------
        places : ndarray of int64, shape (m,)
            Rows that the earlier fit knows.
        rows : ndarray, shape (m, k+1)
            Their factors and biases.
        coefficients : list of ndarray, shape (f, k+1), or None
            Of each of the `regressions`; None for what the earlier fit has not learned.
        feature_ridge : float or None
            What the earlier fit took; None where it did not keep it.
        n_threads : int
        """
        self.table[places, : self.k + 1] = rows
        for part, earlier in zip(self.regressions, coefficients, strict=True):
            if earlier is not None and self.prior_means is not None:
                if part.awaits_ridge:  # another ridge now might raise the loss
                    part.regularise(feature_ridge or FEATURE_RIDGES[self.name])
                part.go_on_from(earlier, self.prior_means.means, n_threads)

    def choose_ridges(self, other: TrainingSide, n_threads: int) -> None:
        """Choose the ridges that were left to the fit, once the rows have been solved with effects of 0.

        A change of the ridge changes no loss so long. Rows with many ratings say more of what features do than those whose factors
        are mostly prior: what the ratings alone say of a column, and how precisely, is told from its prior, one column at a time.
        """
        for part in self.regressions:
            if not part.awaits_ridge or self.prior_means is None:
                continue
            if not self.n_solved:
                part.regularise(FEATURE_RIDGES[self.name])
                continue
            columns = self.k + 1
            squares = other.table * other.table
            squares[:, self.k] = 1.0
            information = aligned(len(self.table), self.table.shape[1], self.table.dtype)
            ones = np.ones(len(self.table))
            rated_items = SparseOperator.of_ratings(self.ratings, 1.0, self.tasks, self.table.dtype)
            rated_items.times(kernel_table(squares, self.k), columns, ones, n_threads, information)
            rated = np.flatnonzero(self.fit_scale > 0)
            of_ratings = np.maximum(information[rated, :columns].astype(np.float64), np.finfo(np.float32).tiny)
            of_prior = self.row_scale[rated, None] * self.precision
            rows = self.table[rated, :columns].astype(np.float64)
            # Rows are means of what their ratings and their prior say, weighed by precision.
            target = rows + of_prior / of_ratings * (rows - self.prior_means.means[rated, :columns])
            # With effects of features of 0, the rest of the prior mean is what other regressions say already.
            target -= self.prior_means.means[rated, :columns]
            with np.errstate(divide="ignore"):
                weights = 1 / (1 / of_ratings + 1 / of_prior)
            if self.k and part.features.shape[1] > MAX_FEATURES_BY_FACTOR:
                factors = weights[:, : self.k]
                factors[:] = (factors / factors.mean(axis=0)).mean(axis=1)[:, None]
            ridge = leave_one_out_ridge(part.features[rated], target, weights)
            part.regularise(FEATURE_RIDGES[self.name] if ridge is None else ridge)

    def remember_basis(self, other: TrainingSide) -> None:
        """Keep what the rows were just solved from: a row can be explained, and solved again, from that alone."""
        if self.name == "user":  # the users do not move any more once the items are solved
            if self.solved_against is None:
                self.solved_against = aligned(len(other.table), other.table.shape[1], other.table.dtype)
            np.copyto(self.solved_against, other.table)

    def solve(self, systems: RowSystems, n_threads: int, work: Array, report: Callable[[float], None] | None) -> None:
        """Solve every row, and add up the penalties."""
        systems.solve(self.table, self.loss, n_threads, work, report)
        self.penalty_sum = float(self.loss[:, 1].sum())
        if self.prior_means is not None:
            self.penalty_sum += self.prior_means.penalty(self.precision, n_threads)

    def takes_step(self, other: TrainingSide) -> bool:
        """Return whether the regression on rated-item sets is to take a step before the rows are solved again.

        A step costs nearly as much as a half-sweep of low rank, so that the two sides take turns, first the items. Both in
        every iteration lower the loss faster, for the time that it takes no faster, and predict a little worse. After some
        iterations the coefficients are nearly at rest, and a step in every second one does.
        """
        if self.prior_means is None or self.prior_means.rated is None or not self.n_solved:
            return False
        has_turns = other.prior_means is not None and other.prior_means.rated is not None
        turn = self.n_solved
        if turn >= RESTLESS_ITERATIONS:
            if turn % 2 == 0:
                return False
            turn = RESTLESS_ITERATIONS + (turn - RESTLESS_ITERATIONS) // 2
        return not has_turns or (turn % 2 == 1) == (self.name == "item")

    def evidence(self, other: TrainingSide, shared: Floats, n_threads: int) -> Evidence:
        """Return what the ratings tell of the rows, with `shared`, shape (k+1,), that each has besides."""
        assert self.prior_means is not None
        information = np.ones(self.k + 1)
        if self.k:
            # The mean over the factors: a step that favours some of them is no faster.
            squares = column_sums(other.table, other.table, other.weight_sum, self.k, n_threads)
            information[: self.k] = squares.mean() / max(float(other.weight_sum.sum()), 1.0)
        margin = self.prior_means.margin
        return Evidence(self.weight_sum, self.precision, margin * information, margin * shared)

    def row_prior(self) -> RowPrior:
        """Return the prior of the side's rows."""
        means = None if self.prior_means is None else self.prior_means.means
        return RowPrior(self.penalty.reg, self.penalty.reg_bias, self.row_scale, means=means)

    def cold_start_vector(self, table: Array, common_mean: Floats | None = None) -> Floats | None:
        """Return the vector of a row without ratings and features, shape (k+1,); None for 0.

        It is the mean of the rated rows of `table` where means are learned from rated-item sets, which need not be 0 on
        average, and else `common_mean`, the part of the prior mean that all rows share.
        """
        if all(part.features is not None for part in self.regressions):
            return common_mean
        rated = self.fit_scale > 0
        sums = np.add.reduce(table, axis=0, dtype=np.float64, where=rated[:, None])
        return np.asarray(sums[: self.k + 1] / max(np.count_nonzero(rated), 1))

    def without_data(self) -> NDArray[np.bool_]:
        """Return which rows have neither ratings nor features, shape (n,)."""
        empty = self.fit_scale == 0
        for part in self.regressions:
            if part.features is not None:
                empty &= np.diff(part.features.indptr) == 0
        return np.asarray(empty)

    def _reliability(self) -> Floats:
        """Return the weight of each row where features are judged by all rows, shape (n,); rows with ratings have the mean 1.

        A row with many ratings says more of what a row is like than one whose factors are mostly prior. The mean of 1 keeps the
        ridge in numbers of rows: without it, rows of few ratings count as fractions of rows, and small data are shrunk to 0.
        """
        weights = self.weight_sum / (self.weight_sum + HALF_RELIABILITY_COUNT)
        total = float(weights.sum())
        return np.asarray(weights * (np.count_nonzero(weights) / total) if total > 0 else weights)

    def snapshot(
        self, unit: float, table: Array, coefficients: list[Array], common_mean: Floats | None = None
    ) -> SideSnapshot:
        """Return a copy of the side in rating units, and what is expected of rows that come later.

        Rows without ratings get the cold-start vector, and once the snapshot is completed what a regression on features,
        learned from all rows, says of them.

        Parameters
        ----------
        unit : float
            The standard deviation of the ratings.
        table : ndarray, shape (n, ld)
            The side's rows, or their means over draws.
        coefficients : list of ndarray, shape (f, ld)
            Of each of the `regressions`.
        common_mean : ndarray of float64, shape (k+1,), default=None
            See `cold_start_vector`.
        """
        k, dtype = self.k, self.table.dtype
        copy = factor_table(len(table), k, dtype)
        copy[:] = table
        cold_start = self.cold_start_vector(table, common_mean)
        without_data = self.without_data()
        effects: dict[str, Any] = {"unrated_mean": cold_start}
        typical_min_count, cold_rows = 1.0, None
        if cold_start is not None:
            typical_min_count = float(np.quantile(self.weight_sum[self.weight_sum > 0], UNTYPICAL_SHARE))
            copy[without_data, : k + 1] = cold_start
        for part, learned in zip(self.regressions, coefficients, strict=True):
            if part.features is None:
                effects["implicit_effects"] = learned[:, : k + 1]
                continue
            effects["feature_effects"] = learned[:, : k + 1]
            warm_ridge = None if part.awaits_ridge else part.relative_ridge
            cold_rows = functools.partial(self._predict_cold_rows, unit, part, warm_ridge, without_data)
        to_rating_units(copy, unit, k)
        scale = unit_factors(unit, k)
        scaled: dict[str, Any] = {name: None if x is None else _times(x, scale) for name, x in effects.items()}
        penalty = self.penalty
        prior = FittedPrior(
            penalty.reg * unit, penalty.reg_bias, penalty.exponent, typical_min_count=typical_min_count,
            set_prior_count=self.set_prior_count, **scaled,
        )  # fmt: skip
        return SideSnapshot(copy, prior, self._basis(unit, prior), cold_rows)

    def _predict_cold_rows(
        self,
        unit: float,
        part: PriorRegression,
        warm_ridge: float | None,
        without_data: NDArray[np.bool_],
        table: Array,
    ) -> dict[str, Any]:
        """Fill the rows without ratings of a table in rating units from their features; return what a prior keeps of it."""
        k = self.k
        # In the units of the fit, in which factors and biases weigh alike when a ridge is chosen.
        rows = table[:, : k + 1] / unit_factors(unit, k)
        ridge = self._cold_ridge(part, rows, warm_ridge)
        effects = ridge_regression(part.features, rows, self._reliability(), ridge) * unit_factors(unit, k)
        unrated = np.flatnonzero((self.fit_scale == 0) & ~without_data)
        table[unrated, : k + 1] = part.features[unrated] @ effects
        return {"cold_feature_effects": effects.astype(table.dtype), "feature_ridge": warm_ridge}

    def _cold_ridge(self, part: PriorRegression, rows: Floats, warm_ridge: float | None) -> float:
        """Return the ridge of the regression that predicts rows without ratings; errors are counted by rating."""
        if part.chooses_ridge:
            rated = np.flatnonzero(self.fit_scale > 0)
            weights = self._reliability()[rated, None]
            ridge = leave_one_out_ridge(part.features[rated], rows[rated], weights, self.weight_sum[rated])
            if ridge is not None:
                return ridge
        return FEATURE_RIDGES[self.name] if warm_ridge is None else warm_ridge

    def _basis(self, unit: float, prior: FittedPrior) -> Basis | None:
        """Return what the rows were last solved from, in rating units; None where that is the model as it stands."""
        if self.solved_against is None:
            return None
        return Basis(basis_table(self.solved_against, unit, self.k), prior)


def unit_factors(unit: float, k: int) -> Floats:
    """Return what turns [factors ; bias] from ratings of standard deviation 1 to rating units, shape (k+1,).

    Both sides' factors take the root, so that their products are in rating units.
    """
    return np.append(np.full(k, np.sqrt(unit)), unit)


def to_rating_units(table: Array, unit: float, k: int) -> None:
    """Bring a table from units in which the ratings have standard deviation 1 to rating units, in place."""
    table[:, :k] *= np.sqrt(unit)
    table[:, k] *= unit


def basis_table(table: Array, unit: float, k: int) -> Array:
    """Return a table that rows were solved from in rating units, for `Basis`."""
    out = factor_table(len(table), k, table.dtype)
    _times(table[:, : k + 1], unit_factors(unit, k), out[:, : k + 1])
    return out


def _times(x: Array, scale: Floats, out: Array | None = None) -> Array:
    """Return x times `scale`, in double precision and rounded once to the type of x, without a copy of x in double."""
    out = np.empty(x.shape, x.dtype) if out is None else out
    return np.multiply(x, scale, out=out, casting="same_kind")


class Alternation:
    """Users and items solved in turn, from a random start of the items' factors.

    Parameters
    ----------
    ratings : Ratings
        Training ratings, in the model's dtype.
    k : int
        Rank.
    penalties : pair of Penalty (users, items)
        Regularisation of each side.
    generator : numpy.random.Generator
        For the start.
    n_threads : int
        Threads; they change no bit of the result.
    sources : pair of PriorSources (users, items)
        What the prior means of each side are learned from.
    periods : tuple of int, default=()
        The seconds of the periods whose ratings by one user share an offset, see `TimeOffsets`; the ratings have timestamps then.

    Attributes
    ----------
    mean, unit : float
        The mean and the standard deviation of the ratings (1 where they are all the same).
    users, items : TrainingSide
    times : TimeOffsets or None
    objective : float
        After the last half-sweep, in units in which the ratings have standard deviation 1; infinite where the next one
        cannot be compared with the last, since the regularisation or a table was changed.
    weight_sum : float
        Of all ratings.
    report : callable or None
        ``report(rows, share)`` is called within half-sweeps that take many seconds, with "users" or "items" and the share that
        is done.
    """

    # Samplers have them, see `Trainer`.
    noise_sd: float | None = None
    scale: OrdinalScale | None = None

    def __init__(
        self,
        ratings: Ratings,
        k: int,
        penalties: tuple[Penalty, Penalty],
        generator: np.random.Generator,
        n_threads: int,
        sources: tuple[PriorSources, PriorSources] = (PriorSources(), PriorSources()),
        periods: tuple[int, ...] = (),
    ) -> None:
        dtype = ratings.dtype
        self.k, self.n_threads = k, n_threads
        self.report: Callable[[str, float], None] | None = None
        self.mean, self.unit = self._location(ratings)
        # Ratings on a disk are read from one end to the other. Sums for learned means are added task by task, so that there the
        # tasks stay what they are in memory, for the same bits.
        in_order = is_mapped(ratings.by_user.indices) and all(source.implicit_ridge is None for source in sources)
        self.users, self.items = (
            TrainingSide(name, self._evidence(rows), k, penalty, dtype, in_order)
            for name, rows, penalty in zip(SIDES, (ratings.by_user, ratings.by_item), penalties, strict=True)
        )
        self.times: TimeOffsets | None = None
        if periods:
            assert ratings.timestamps is not None
            self.times = TimeOffsets(
                self.users.ratings, self.items.ratings, ratings.timestamps, periods, self.mean, self.unit, n_threads
            )
            self.users.ratings, self.items.ratings = self.times.by_user, self.times.by_item
        self.weight_sum = float(ratings.n_ratings)
        if ratings.by_user.weights is not None:
            self.weight_sum = float(ratings.by_user.weights.sum(dtype=np.float64))
        start = generator.standard_normal((ratings.n_items, k), dtype=dtype.type)
        self.items.table[:, :k] = start * dtype.type(START_SD)
        self.work = solve_workspace(n_threads, k, dtype)
        scratch = Scratch()
        self.users.learn_means(sources[0], self.items, scratch)
        self.items.learn_means(sources[1], self.users, scratch)
        self.objective = np.inf

    def _location(self, ratings: Ratings) -> tuple[float, float]:
        """Return the mean of the ratings and the unit in which their standard deviation is 1."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean, unit = ratings.mean, ratings.std
        if not (np.isfinite(mean) and np.isfinite(unit)):
            raise FloatingPointError(
                "the squares of the ratings leave the range of float64 numbers, so they have no standard deviation: "
                "rescale the ratings"
            )
        # Constant ratings have no scale of their own.
        return mean, unit or 1.0

    def _evidence(self, rows: CSR) -> CSR:
        """Return one side's ratings with the values and weights that its row systems take."""
        return rows

    def other(self, side: TrainingSide) -> TrainingSide:
        """Return the side that `side` is solved against."""
        return self.items if side is self.users else self.users

    def systems(self, side: TrainingSide, prior: RowPrior) -> RowSystems:
        """Return the row systems of one side given the other side as it stands."""
        table = self.other(side).table
        return RowSystems(side.ratings, table, self.k, prior, self.mean, self.unit, side.name, side.tasks)

    def update(self, side: TrainingSide) -> None:
        """Improve the prior means of one side, then solve its rows with the other side fixed; the objective never rises.

        Raises
        ------
        SingularRowError
            If the normal equations of a row are singular.
        """
        if side is self.users and self.times is not None:
            self._improve_offsets(self.times)
        other, means, takes_step = self.other(side), side.prior_means, side.takes_step(self.other(side))
        if means is not None and side.n_solved:
            side.choose_ridges(other, self.n_threads)
            evidence = side.evidence(other, self.shared_information(side), self.n_threads) if takes_step else None
            means.improve(side.table, self.n_threads, evidence)
        objective = self._solved(side)
        # A step may have led too far, which is known only now. Rounding is no rise.
        tolerance = ROUNDING_ERRORS * float(np.finfo(side.table.dtype).eps)
        if means is not None and takes_step and objective > self.objective * (1 + tolerance):
            means.take_back()
            objective = self._solved(side)
        self.objective = objective
        side.n_solved += 1
        side.remember_basis(other)

    def _improve_offsets(self, times: TimeOffsets) -> None:
        """Improve the offsets of time, whose variances are learned once the ratings have been fitted without them."""
        if times.ratios is None:
            if not self.users.n_solved:
                return
            times.learn(self.users.table, self.items.table, self.k)
        times.improve(self.users.table, self.items.table, self.k, self.users.row_prior())

    def _solved(self, side: TrainingSide) -> float:
        """Solve every row of one side; returns the objective in units in which the ratings have standard deviation 1."""
        systems = self.systems(side, side.row_prior())
        side.solve(systems, self.n_threads, self.work, self.report_of(side))
        return side.squared_error + side.penalty_sum + self.other(side).penalty_sum + self._time_penalty

    def shared_information(self, side: TrainingSide) -> Floats:
        """Return what every row of one side has besides its ratings' precision, by column: nothing here."""
        return np.zeros(self.k + 1)

    def report_of(self, side: TrainingSide) -> Callable[[float], None] | None:
        """Return what is called with the share of a long half-sweep that is done; None where nobody asked."""
        report = self.report
        return None if report is None else lambda share: report(f"{side.name}s", share)

    def end_sweep(self) -> None:
        """Nothing is left to do after both sides."""

    @property
    def loss(self) -> float:
        """The regularised loss, in squared rating units, after a half-sweep of the items."""
        fit = self.items.squared_error + self.users.penalty_sum + self.items.penalty_sum
        return self.unit**2 * (fit + self._time_penalty)

    @property
    def _time_penalty(self) -> float:
        """The part of the objective that offsets of time have."""
        return 0.0 if self.times is None else self.times.penalty

    @property
    def time_offsets(self) -> list[Floats]:
        """The offsets of time as they stand, in units in which the ratings have standard deviation 1."""
        return [] if self.times is None else self.times.offsets

    def time_snapshot(self) -> TimeSnapshot | None:
        """Return a copy of the offsets of time in rating units; None where there are none."""
        return None if self.times is None else self.times.snapshot()

    @property
    def train_rmse(self) -> float:
        """The weighted training RMSE, in rating units, after a half-sweep of the items."""
        return self.unit * float(np.sqrt(self.items.squared_error / self.weight_sum))

    def estimate(self, *, cold_start: bool = True) -> Estimate:
        """Return the model as it stands, on demand without cold-start vectors, which take a pass over the tables."""
        users, items = self.users, self.items
        cold = (side.cold_start_vector(side.table) if cold_start else None for side in (users, items))
        return Estimate(users.table, items.table, *cold)

    def end_sweeps(self) -> None:
        """Give back the memory that only further sweeps would need: no more will follow."""
        for side in (self.users, self.items):
            if side.prior_means is not None:
                side.prior_means.end_sweeps()

    def snapshot(self) -> tuple[SideSnapshot, SideSnapshot]:
        """Return a copy of users and items in rating units; it may be taken after any sweep."""
        users, items = (
            side.snapshot(self.unit, side.table, [part.coefficients for part in side.regressions])
            for side in (self.users, self.items)
        )
        return users, items


class Iteration(NamedTuple):
    """What one iteration reached.

    Parameters
    ----------
    number : int
        From 1.
    loss : float
        In squared rating units.
    train_rmse : float
        In rating units.
    seconds : float
        Of the sweep alone.
    noise_sd : float or None
        The standard deviation of the noise in rating units, where the model draws it.
    test_rmse : float or None
        Of held-out ratings, where there are any; added by whoever holds them.
    """

    number: int
    loss: float
    train_rmse: float
    seconds: float
    noise_sd: float | None = None
    test_rmse: float | None = None


class Trainer(Protocol):
    """What `sweeps` trains: `Alternation`, and the sampler `Gibbs`."""

    users: TrainingSide
    items: TrainingSide

    @property
    def loss(self) -> float: ...
    @property
    def train_rmse(self) -> float: ...
    @property
    def noise_sd(self) -> float | None: ...
    @property
    def scale(self) -> OrdinalScale | None: ...
    def update(self, side: TrainingSide) -> None: ...
    def end_sweep(self) -> None: ...
    @property
    def times(self) -> TimeOffsets | None: ...
    @property
    def time_offsets(self) -> list[Floats]: ...
    def time_snapshot(self) -> TimeSnapshot | None: ...
    def estimate(self, *, cold_start: bool = True) -> Estimate: ...
    def snapshot(self) -> tuple[SideSnapshot, SideSnapshot]: ...


def sweeps(trainer: Trainer) -> Iterator[Iteration]:
    """Sweep users and items for ever; the caller stops, reports, keeps a history or a snapshot.

    Yields
    ------
    iteration : Iteration
        After each sweep. Between sweeps `trainer.estimate` and `trainer.snapshot` are consistent.
    """
    for number in itertools.count(1):
        start = time.perf_counter()
        for side in (trainer.users, trainer.items):
            trainer.update(side)
        trainer.end_sweep()
        loss, train_rmse = trainer.loss, trainer.train_rmse
        yield Iteration(number, loss, train_rmse, time.perf_counter() - start, trainer.noise_sd)

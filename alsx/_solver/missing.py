"""Pairs without a rating as ratings of one value and a small weight: what models that rank are trained by.

Every user has an opinion of every item, and most of those that were not given are low. With m the value and v the weight of a
missing rating, where a rating has the weight 1, the objective is (AllRank)

    sum over rated pairs (r - y)^2 + v sum over missing pairs (m - y)^2 + penalties,        y = m + b_u + c_i + p_u . q_i.

A rated pair is a missing one that something is known of: with r' = m + (r - m) / (1 - v) the objective is, but for a constant,

    (1 - v) [ sum over rated pairs (r' - y)^2 + v / (1 - v) sum over all pairs (m - y)^2 ] + penalties,

whose second sum is one Gram matrix of the other side's table for all rows of a half-sweep: the base of `rows`. So a sweep
costs what one over the ratings alone does, and the loss over all pairs comes from the row solves. A rating of weight w takes
the place of w missing ones. Implicit feedback has targets 1 of a weight 1 + alpha f(count) among missing ones of 0 and weight
1, which is the same with other numbers. Pairs are those of users and items that have ratings.

References
----------
H. Steck, "Training and testing of recommender systems on data missing not at random", KDD 2010, pages 713-722 (AllRank).

Y. Hu, Y. Koren, C. Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008, pages 263-272 (implicit
feedback, and the shared Gram matrix).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._solver.alternation import Alternation, TrainingSide
from alsx._solver.prior import Penalty, PriorSources
from alsx._solver.regression import column_sums
from alsx._solver.rows import RowBase, RowPrior, RowSystems, solve_workspace
from alsx.ratings import CSR, Ratings

Array = NDArray[Any]
Floats = NDArray[np.float64]

# A base is summed in at most so many parts, each of at least so many rows, whatever the number of threads.
MAX_PARTS, MIN_PART_ROWS = 32, 2048


# f(count) of implicit feedback.
TRANSFORMS = ("linear", "log")


class Confidence(NamedTuple):
    """The weight of a pair of implicit feedback, beyond that of a missing one: alpha times a transform of its count.

    Parameters
    ----------
    alpha : float
        Above 0.
    transform : {"linear", "log"}
        f(count): the count itself, or log(1 + count).
    """

    alpha: float
    transform: str

    def of(self, counts: Array) -> Floats:
        """Return f(count), in double precision."""
        counts = counts.astype(np.float64)
        return np.log1p(counts) if self.transform == "log" else counts


class MissingPairs(NamedTuple):
    """How pairs without a rating enter a fit.

    Parameters
    ----------
    value : float
        m, in rating units.
    weight : float
        v, where a rating (or, of implicit feedback, a missing pair) has the weight 1.
    confidence : Confidence or None
        Of implicit feedback, whose targets are 1; None for ratings.
    """

    value: float
    weight: float
    confidence: Confidence | None = None

    @property
    def unit_weight(self) -> float:
        """What a weight of 1 in the row systems is in the objective."""
        return 1 - self.weight if self.confidence is None else self.confidence.alpha

    @property
    def system_weight(self) -> float:
        """The weight of the sum over all pairs in the row systems."""
        return self.weight / self.unit_weight

    def evidence(self, ratings: CSR) -> CSR:
        """Return ratings with the values and weights that row systems take, for targets (value - m) / `unit_of` (...)."""
        if self.confidence is None:
            return ratings
        dtype = ratings.values.dtype
        known = self.confidence.of(ratings.values)
        if ratings.weights is not None:
            known *= ratings.weights
        # r' = (1 + e) / e with e = alpha f; nothing is known of a pair of weight 0, which is a missing one.
        values = np.divide(self.system_weight, known, out=np.zeros(len(known)), where=known > 0)
        values += known > 0
        weights = None if (known == 1).all() else known.astype(dtype)
        return ratings._replace(values=values.astype(dtype), weights=weights)

    def unit_of(self, unit: float) -> float:
        """Return the unit of rated pairs' targets in row systems, where that of scores is `unit`."""
        return unit if self.confidence is not None else unit * self.unit_weight

    def scales(self, weight_sum: Floats) -> Floats:
        """Return how many times rows with these (weighted) numbers of ratings have the base: not at all without any."""
        return np.where(weight_sum > 0, self.system_weight, 0.0)

    def loss_constant(self, ratings: CSR) -> float:
        """Return what the objective has besides the row systems' sums, in squared rating units."""
        weights = 1.0 if ratings.weights is None else ratings.weights.astype(np.float64)
        if self.confidence is None:
            squares = weights * (ratings.values.astype(np.float64) - self.value) ** 2
            return -self.system_weight * float(np.sum(squares))
        known = self.confidence.alpha * self.confidence.of(ratings.values) * weights
        known = known[known > 0]
        return -self.weight * float(np.sum((self.weight + known) / known))


class MissingOptions(NamedTuple):
    """What pairs without a rating shall count as, before the ratings are known.

    Parameters
    ----------
    value : float or None
        m, in rating units; None is `n_std` standard deviations below the mean of the ratings.
    n_std : float
    weight : float
    confidence : Confidence or None
        As of `MissingPairs`.
    """

    value: float | None
    n_std: float
    weight: float
    confidence: Confidence | None = None

    def pairs(self, ratings: Ratings) -> MissingPairs:
        """Return what they count as beside these ratings."""
        value = ratings.mean - self.n_std * ratings.std if self.value is None else self.value
        return MissingPairs(value, self.weight, self.confidence)


def missing_gram(table: Array, k: int, rows: Array, n_threads: int, work: Array | None = None) -> Floats:
    """Return sum z z' over rows of a table, z = [q ; 1 ; -bias], shape (k+2, k+2): what missing ratings of 0 add up to.

    Parameters
    ----------
    table : ndarray, shape (n, ld)
    k : int
    rows : ndarray of int32
        Which rows.
    n_threads : int
        It changes no bit of the result.
    work : ndarray, default=None
        As of `RowSystems.solve`.
    """
    return TableGram(rows, k, table.dtype, n_threads, work)(table)


class TableGram:
    """The `missing_gram` of the same rows of one table after the other; parameters as of that."""

    def __init__(self, rows: Array, k: int, dtype: np.dtype[Any], n_threads: int, work: Array | None = None) -> None:
        # Rows that have rated everything: their sums are in the tables' type within a part, and in double over the parts.
        step = max(MIN_PART_ROWS, -(-len(rows) // MAX_PARTS))
        indptr = np.append(np.arange(0, len(rows), step), len(rows)).astype(np.int64)
        self._everything = CSR(indptr, rows, np.zeros(len(rows), dtype), None)
        self._prior = RowPrior(0.0, 0.0, np.ones(len(indptr) - 1))
        self._work = solve_workspace(n_threads, k, dtype) if work is None else work
        self._k, self._n_threads = k, n_threads

    def __call__(self, table: Array) -> Floats:
        """Return it for the table, shape (k+2, k+2)."""
        k, everything = self._k, self._everything
        if not len(everything.indices):
            return np.zeros((k + 2, k + 2))
        return RowSystems(everything, table, k, self._prior, 0.0).gram_sum(self._n_threads, self._work)


class RankAlternation(Alternation):
    """Alternating least squares over all pairs of users and items that have ratings; see `MissingPairs`.

    Parameters
    ----------
    ratings, k, penalties, generator, n_threads, sources
        As of `Alternation`.
    missing : MissingPairs
    """

    def __init__(
        self,
        ratings: Ratings,
        k: int,
        penalties: tuple[Penalty, Penalty],
        generator: np.random.Generator,
        n_threads: int,
        sources: tuple[PriorSources, PriorSources],
        missing: MissingPairs,
    ) -> None:
        self.missing = missing
        of_systems = penalties[0].times(1 / missing.unit_weight), penalties[1].times(1 / missing.unit_weight)
        super().__init__(ratings, k, of_systems, generator, n_threads, sources)
        self.rated = {
            side.name: np.flatnonzero(side.weight_sum > 0).astype(np.int32) for side in (self.users, self.items)
        }
        self.loss_constant = missing.loss_constant(ratings.by_user)
        n_pairs = len(self.rated["user"]) * len(self.rated["item"])
        self.total_weight = missing.unit_weight * float(self.users.weight_sum.sum()) + missing.weight * n_pairs

    def _location(self, ratings: Ratings) -> tuple[float, float]:
        # A pair of which nothing is known is a missing one; of implicit feedback targets are 0 and 1.
        unit = super()._location(ratings)[1] if self.missing.confidence is None else 1.0
        return self.missing.value, unit

    def _evidence(self, rows: CSR) -> CSR:
        return self.missing.evidence(rows)

    def systems(self, side: TrainingSide, prior: RowPrior) -> RowSystems:
        """Return the row systems of one side given the other side as it stands."""
        other, missing = self.other(side), self.missing
        gram = missing_gram(other.table, self.k, self.rated[other.name], self.n_threads, self.work)
        base = RowBase(gram, missing.scales(side.weight_sum))
        unit = missing.unit_of(self.unit)
        return RowSystems(side.ratings, other.table, self.k, prior, self.mean, unit, side.name, side.tasks, base)

    def shared_information(self, side: TrainingSide) -> Floats:
        """Return the precision that missing pairs give every row of one side, by column."""
        other = self.other(side)
        rated = (other.weight_sum > 0).astype(np.float64)
        information = np.full(self.k + 1, rated.sum())
        if self.k:
            # The mean over the factors, as of the ratings' precision.
            information[: self.k] = column_sums(other.table, other.table, rated, self.k, self.n_threads).mean()
        return self.missing.system_weight * information

    @property
    def loss(self) -> float:
        """The objective over all pairs, in squared rating units, after a half-sweep of the items."""
        return self.missing.unit_weight * super().loss + self.loss_constant

    @property
    def train_rmse(self) -> float:
        """The weighted RMSE of all pairs, rated and missing, in rating units, after a half-sweep of the items."""
        squares = self.missing.unit_weight * self.unit**2 * self.items.squared_error + self.loss_constant
        return float(np.sqrt(max(squares, 0.0) / self.total_weight))

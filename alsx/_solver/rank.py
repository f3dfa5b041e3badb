"""Alternating least squares over all pairs of users and items: what `RankALS` is trained by, see `missing`."""

from __future__ import annotations

import numpy as np

from alsx._solver.alternation import Alternation, SideSnapshot, TrainingSide
from alsx._solver.missing import MissingPairs, missing_gram
from alsx._solver.prior import Penalty, PriorSources
from alsx._solver.rows import RowPrior, RowSystems
from alsx.ratings import CSR, Ratings


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
        base = missing.base(gram, side.weight_sum)
        unit = missing.unit_of(self.unit)
        return RowSystems(side.ratings, other.table, self.k, prior, self.mean, unit, side.name, side.tasks, base)

    @property
    def loss(self) -> float:
        """The objective over all pairs, in squared rating units, after a half-sweep of the items."""
        return self.missing.unit_weight * super().loss + self.loss_constant

    @property
    def train_rmse(self) -> float:
        """The weighted RMSE of all pairs, rated and missing, in rating units, after a half-sweep of the items."""
        squares = self.missing.unit_weight * self.unit**2 * self.items.squared_error + self.loss_constant
        return float(np.sqrt(max(squares, 0.0) / self.total_weight))

    def snapshot(self) -> tuple[SideSnapshot, SideSnapshot]:
        """Return a copy of users and items in rating units; rows that come later have missing ratings too."""
        users, items = super().snapshot()
        return self._with_missing(users), self._with_missing(items)

    def _with_missing(self, side: SideSnapshot) -> SideSnapshot:
        """Return a side whose priors say what pairs without a rating count as."""
        basis = side.basis
        if basis is not None:
            basis = basis._replace(prior=basis.prior._replace(missing=self.missing))
        return side._replace(prior=side.prior._replace(missing=self.missing), basis=basis)

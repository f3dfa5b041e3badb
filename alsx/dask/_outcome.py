"""What a fit on a cluster has come to: blocks on workers, and the model that they are on one machine."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._models.side import FittedSide
from alsx._models.state import ModelState
from alsx._models.training import Fitted, counted_ratings
from alsx._solver.alternation import basis_table, to_rating_units
from alsx._solver.prior import Basis, FittedPrior, Penalty
from alsx._solver.tables import factor_table, weight_sums
from alsx._solver.uncertainty import training_errors
from alsx.dask._blocks import Layout
from alsx.dask._cluster import Session
from alsx.dask._exchange import with_codes
from alsx.dask._fit import ClusterFit, Totals
from alsx.dask._sweeps import Model, Solved
from alsx.ratings import CSR, Ids, ratings_of_rows
from alsx.ratings.sorting import offsets

Array = NDArray[Any]
Floats = NDArray[np.float64]


class Outcome(NamedTuple):
    """A fitted model on a cluster.

    Parameters
    ----------
    session : Session
        Which holds it there.
    ids : Future
        `AllIds`.
    layouts : pair of Layout (users, items)
    users, items, before : list of Future
        `Solved` by block: both sides, and the items as the users were last solved from them.
    local, needs : list of Future
        The ratings by user, by block, and by group what their indices mean.
    totals : Totals
    model : Model
    penalties : pair of Penalty (users, items)
    history : dict of lists of float
    """

    session: Session
    ids: Any
    layouts: tuple[Layout, Layout]
    users: list[Any]
    items: list[Any]
    before: list[Any]
    local: list[Any]
    needs: list[Any]
    totals: Totals
    model: Model
    penalties: tuple[Penalty, Penalty]
    history: dict[str, list[float]]

    @classmethod
    def of(cls, fit: ClusterFit) -> Outcome:
        """Return what a fit has come to."""
        return cls(
            fit.session, fit.ids, (fit.users.layout, fit.items.layout), fit.users.solved, fit.items.solved, fit.before,
            fit.users.local, fit.users.needs, fit.totals, fit.model, fit.specification.penalties,
            fit.course.history(["loss", "train_rmse", "seconds"]),
        )  # fmt: skip

    def seen(self) -> list[Any]:
        """Return futures of the ratings by user with codes of items, by block."""
        users, items = self.layouts
        return [
            self.session.submit("seen", with_codes, self.local[block], self.needs[group], items)
            for group in range(users.n_groups)
            for block in users.blocks(group)
        ]


# ---------------------------------------------------------------------------------------------------------------------
# On one machine


def gather(outcome: Outcome, n_threads: int) -> ModelState:
    """Return the model on this machine, with the same bits as the local fit."""
    session, totals, model, k = outcome.session, outcome.totals, outcome.model, outcome.model.k
    [ids] = session.collect([outcome.ids], "gathering ids")
    seen = joined_rows(session.collect(outcome.seen(), "gathering ratings"))
    ratings = ratings_of_rows(ids.users, ids.items, seen, n_threads)
    users, items = (session.collect(x, "gathering tables") for x in (outcome.users, outcome.items))
    before = np.concatenate([block.table for block in session.collect(outcome.before, "gathering tables")])
    sides = [
        fitted_side(name, own, rows, joined_table(blocks, model), model, penalty)
        for name, own, rows, blocks, penalty in zip(
            ("user", "item"), ids, (ratings.by_user, ratings.by_item), (users, items), outcome.penalties, strict=True
        )
    ]
    sides[0] = with_basis(sides[0], basis_table(before, model.unit, k))
    sums = joined_errors(users, model.unit), joined_errors(items, model.unit)
    tables = sides[0].table, sides[1].table
    # Where numbers are next to the ends of their range, only uncertainty suffers.
    with np.errstate(all="ignore"):
        errors = training_errors(counted_ratings(ratings), tables, k, sums, n_threads)
    return ModelState.of(
        Fitted(
            totals.mean, totals.range, sides[0], sides[1], ratings.by_user, errors, outcome.history, outcome.penalties, None,
            len(outcome.history["loss"]),
        )
    )  # fmt: skip


def joined_rows(blocks: list[CSR]) -> CSR:
    """Return the ratings of all blocks."""
    counts = np.concatenate([np.diff(rows.indptr) for rows in blocks])
    weights = None if blocks[0].weights is None else np.concatenate([x.weights for x in blocks if x.weights is not None])
    indices, values = (np.concatenate([getattr(rows, name) for rows in blocks]) for name in ("indices", "values"))
    return CSR(offsets(counts), indices, values, weights)


def joined_table(blocks: list[Solved], model: Model) -> Array:
    """Return the table of all blocks in rating units, as kernels read it."""
    table, at = factor_table(sum(len(block.table) for block in blocks), model.k, model.dtype), 0
    for block in blocks:
        table[at : at + len(block.table)] = block.table
        at += len(block.table)
    to_rating_units(table, model.unit, model.k)
    return table


def joined_errors(blocks: list[Solved], unit: float) -> Floats:
    """Return the squared errors of all rows in squared rating units."""
    with np.errstate(all="ignore"):
        return np.asarray(unit**2 * np.concatenate([block.errors for block in blocks]))


def fitted_prior(penalty: Penalty, unit: float) -> FittedPrior:
    """Return the prior of rows that come later."""
    return FittedPrior(penalty.reg * unit, penalty.reg_bias, penalty.exponent)


def fitted_side(name: str, ids: Ids, rows: CSR, table: Array, model: Model, penalty: Penalty) -> FittedSide:
    """Return a side of the fitted model, or of some of its rows."""
    has_data = weight_sums(rows.indptr, rows.weights) > 0
    return FittedSide(name, ids, np.diff(rows.indptr), has_data, table, model.k, fitted_prior(penalty, model.unit))


def with_basis(side: FittedSide, table: Array) -> FittedSide:
    """Return users with what they were solved from."""
    return dataclasses.replace(side, basis=Basis(table, side.prior))

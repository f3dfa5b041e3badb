"""A model that is on a cluster, written by its workers as a folder of arrays that `alsx.load` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alsx._models import archive, persistence
from alsx._models.side import FittedSide
from alsx._models.state import ModelState
from alsx._solver.alternation import basis_table
from alsx._solver.prediction import predict_codes
from alsx._solver.tables import factor_table, row_width, weight_sums
from alsx._solver.uncertainty import error_shape, sample_places
from alsx.dask._cluster import Session, use_level
from alsx.dask._exchange import with_codes
from alsx.dask._outcome import Outcome, fitted_prior, joined_errors, joined_table
from alsx.dask._serving import NewFolder, Serving, add_counts, check_shared, count_items
from alsx.dask._source import AllIds
from alsx.dask._sweeps import Model, Solved
from alsx.ratings import CSR, Ids

Array = NDArray[Any]
Floats = NDArray[np.float64]

MARKER = "about.npy"


def save(outcome: Outcome, session: Session, serving: Serving, path: Any) -> None:
    """Write the model to a folder that client and workers share.

    Parameters
    ----------
    outcome : Outcome
    session : Session
        Of this call.
    serving : Serving
    path : path-like
    """
    with NewFolder(path, "path", MARKER) as new:
        _Writer(outcome, session, serving, new.part).run()


class _Writer:
    """One run of `save`."""

    def __init__(self, outcome: Outcome, session: Session, serving: Serving, folder: Path) -> None:
        self.outcome, self.session, self.serving, self.folder = outcome, session, serving, folder

    def run(self) -> None:
        """Make files of the right size, let workers fill them, and write what is small."""
        outcome, session = self.outcome, self.session
        users, items = outcome.layouts
        totals, dtype, k = outcome.totals, outcome.model.dtype, outcome.model.k
        width = row_width(k, dtype)
        seen = [
            (block, session.submit("seen", with_codes, outcome.local[block], outcome.needs[group], items))
            for group in range(users.n_groups)
            for block in users.blocks(group)
        ]
        rows = [x for _, x in seen]
        n_entries, n_counted = zip(*session.collect([session.submit("facts", entry_counts, x) for x in rows], "saving"), strict=True)
        starts = np.concatenate([[0], np.cumsum(n_entries)]).astype(np.int64)
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {
            "seen_indptr": ((totals.n_users + 1,), np.int64),
            "seen_indices": ((totals.n_ratings,), np.int32),
            "seen_values": ((totals.n_ratings,), dtype),
            "user_basis_table": ((totals.n_items, width), dtype),
        }
        if totals.weighted:
            shapes["seen_weights"] = (totals.n_ratings,), dtype
        for name, n in (("user", totals.n_users), ("item", totals.n_items)):
            shapes[f"{name}_table"] = (n, width), dtype
            shapes[f"{name}_counts"] = (n,), np.int64
            shapes[f"{name}_has_data"] = (n,), np.bool_
            shapes[f"errors_{name}"] = (n,), np.float64
        for name, (shape, kind) in shapes.items():
            archive.make_array_file(self.folder / f"{name}.npy", shape, np.dtype(kind))
        counts = session.submit("counts", add_counts, [
            session.submit("counts", count_items, outcome.local[slice(*_span(users.blocks(group)))], outcome.needs[group], items)
            for group in range(users.n_groups)
        ])  # fmt: skip
        folder, model = str(self.folder), outcome.model
        written = [session.submit("write", write_ids, folder, outcome.ids), session.submit("write", write_counts, folder, counts)]
        written += [
            session.submit("write", write_users, folder, users.rows(block)[0], int(starts[block]), solved, own, model)
            for block, (solved, own) in enumerate(zip(outcome.users, rows, strict=True))
        ]
        written += [
            session.submit("write", write_items, folder, items.rows(block)[0], solved, before, model)
            for block, (solved, before) in enumerate(zip(outcome.items, outcome.before, strict=True))
        ]
        session.collect(written, "saving")
        shape = self._error_shape(rows, np.array(n_counted, np.int64), counts)
        for name, array in self._small(shape).items():
            archive.write_array_file(self.folder / f"{name}.npy", array)

    def _error_shape(self, rows: list[Any], n_counted: NDArray[np.int64], counts: Any) -> Floats:
        """Return the shape of the training errors, from the same sample of ratings as a local fit."""
        outcome, session, model = self.outcome, self.session, self.outcome.model
        n = int(n_counted.sum())
        bounds = np.concatenate([[0], np.cumsum(n_counted)])
        places = sample_places(n)
        cuts = np.searchsorted(places, bounds)
        sampled = session.collect(
            [
                session.submit("sample", sample, own, places[begin:end] - first)
                for own, begin, end, first in zip(rows, cuts[:-1], cuts[1:], bounds[:-1], strict=True)
            ],
            "saving",
        )
        firsts = [outcome.layouts[0].rows(block)[0] for block in range(outcome.layouts[0].n_blocks)]
        users = np.concatenate([x[0] + first for x, first in zip(sampled, firsts, strict=True)]).astype(np.int32)
        user_counts = np.concatenate([x[4] for x in sampled])
        items, values = (np.concatenate([x[at] for x in sampled]) for at in (1, 2))
        weights = None if sampled[0][3] is None else np.concatenate([x[3] for x in sampled])
        tables, sums, codes = [], [], []
        for side, (own, blocks) in enumerate(((users, outcome.users), (items, outcome.items))):
            layout = outcome.layouts[side]
            wanted, place = np.unique(own, return_inverse=True)
            at = np.searchsorted(wanted, layout.bounds)
            picked = session.collect(
                [
                    session.submit("sample", picked_rows, block, wanted[begin:end] - first, model)
                    for block, begin, end, first in zip(blocks, at[:-1], at[1:], layout.bounds[:-1], strict=True)
                ],
                "saving",
            )
            table = factor_table(len(wanted), model.k, model.dtype)
            table[:] = np.concatenate([x[0] for x in picked])
            tables.append(table)
            sums.append(np.concatenate([x[1] for x in picked])[place])
            codes.append(place.astype(np.int32))
        use_level(model.level)
        errors = predict_codes(codes[0], codes[1], tables[0], tables[1], None, None, model.k, model.mean, 1)
        errors -= values
        if weights is not None:
            errors *= np.sqrt(weights, dtype=np.float64)
        [item_counts, total] = session.collect(
            [session.submit("sample", counts_at, counts, items), session.submit("sample", total_error, outcome.items, model.unit)],
            "saving",
        )
        with np.errstate(all="ignore"):
            return error_shape(errors, total / n, (sums[0], sums[1]), (user_counts, item_counts))

    def _small(self, shape: Floats) -> dict[str, Array]:
        """Return the arrays that do not grow with the data, the text among them."""
        outcome, serving = self.outcome, self.serving
        model, width = outcome.model, row_width(outcome.model.k, outcome.model.dtype)
        nothing = CSR(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, model.dtype), None)
        sides = [
            FittedSide(
                name, Ids.trusted(np.empty(0, np.int64)), np.empty(0, np.int64), np.empty(0, bool),
                np.empty((0, width), model.dtype), model.k, fitted_prior(penalty, model.unit),
            )
            for name, penalty in zip(("user", "item"), outcome.penalties, strict=True)
        ]  # fmt: skip
        own, other = outcome.penalties
        state = ModelState(
            outcome.totals.mean, outcome.totals.range, outcome.history, sides[0], sides[1], nothing, None, None,
            (own.reg, other.reg), (own.reg_bias, other.reg_bias), np.empty(0, np.int64), len(outcome.history["loss"]),
        )  # fmt: skip
        about = persistence.arrays_of(serving.kind, serving.parameters, state, 1, with_ratings=True)["about"]
        [kind] = self.session.collect([self.session.submit("facts", id_dtype, outcome.ids)], "saving")
        return {"errors_shape": shape, "folded_in_ids": np.empty(0, kind), "about": about}


def _span(blocks: range) -> tuple[int, int]:
    return blocks.start, blocks.stop


# ---------------------------------------------------------------------------------------------------------------------
# Tasks


def entry_counts(seen: CSR) -> tuple[int, int]:
    """Return how many ratings there are, and how many of a weight above 0."""
    n = len(seen.indices)
    return n, n if seen.weights is None else int(np.count_nonzero(seen.weights))


def id_dtype(ids: AllIds) -> str:
    """Return the type of the users' ids."""
    return str(ids.users.values.dtype.str)


def write_ids(folder: str, ids: AllIds) -> None:
    """Write the ids of both sides."""
    check_shared(folder, "path")
    for name, side in zip(("user", "item"), ids, strict=True):
        archive.write_array_file(Path(folder, f"{name}_ids.npy"), side.values)


def write_counts(folder: str, counts: NDArray[np.int64]) -> None:
    """Write how many ratings items have, and which of them have some that count."""
    _fill(folder, "item_counts", 0, counts[0])
    _fill(folder, "item_has_data", 0, counts[1] > 0)


def write_users(folder: str, first: int, start: int, solved: Solved, seen: CSR, model: Model) -> None:
    """Write a block of users, and their ratings, which begin at `start` of all."""
    _fill(folder, "user_table", first, joined_table([solved], model))
    _fill(folder, "errors_user", first, joined_errors([solved], model.unit))
    _fill(folder, "user_counts", first, np.diff(seen.indptr))
    _fill(folder, "user_has_data", first, weight_sums(seen.indptr, seen.weights) > 0)
    _fill(folder, "seen_indptr", first + 1, seen.indptr[1:] + start)
    for name in ("indices", "values", "weights"):
        if getattr(seen, name) is not None:
            _fill(folder, f"seen_{name}", start, getattr(seen, name))


def write_items(folder: str, first: int, solved: Solved, before: Solved, model: Model) -> None:
    """Write a block of items, and what users were solved from."""
    _fill(folder, "item_table", first, joined_table([solved], model))
    _fill(folder, "errors_item", first, joined_errors([solved], model.unit))
    _fill(folder, "user_basis_table", first, basis_table(before.table, model.unit, model.k))


def _fill(folder: str, name: str, first: int, rows: Array) -> None:
    """Write rows of an array into its file."""
    check_shared(folder, "path")
    archive.fill_array_file(Path(folder, f"{name}.npy"), first, rows)


def sample(seen: CSR, places: NDArray[np.int64]) -> tuple[Array, Array, Array, Array | None, Array]:
    """Return users (rows of the block), items, values, weights and numbers of ratings of the user, of some ratings that count."""
    counted = np.arange(len(seen.indices)) if seen.weights is None else np.flatnonzero(seen.weights > 0)
    at = counted[places]
    rows = np.searchsorted(seen.indptr, at, side="right") - 1
    before = np.concatenate([[0], np.cumsum(np.diff(np.searchsorted(counted, seen.indptr)))])
    weights = None if seen.weights is None else seen.weights[at]
    return rows, seen.indices[at], seen.values[at], weights, np.diff(before)[rows]


def picked_rows(solved: Solved, rows: Array, model: Model) -> tuple[Array, Floats]:
    """Return some rows of a block, and their squared errors, in rating units."""
    part = solved._replace(table=solved.table[rows], errors=solved.errors[rows])
    return joined_table([part], model), joined_errors([part], model.unit)


def counts_at(counts: NDArray[np.int64], items: Array) -> NDArray[np.int64]:
    """Return how many ratings that count some items have."""
    return np.asarray(counts[1][items])


def total_error(blocks: list[Solved], unit: float) -> float:
    """Return the sum of the squared errors of all items' rows, as a local fit adds them."""
    return float(joined_errors(blocks, unit).sum())

"""Predictions and lists of a model that is on a cluster: each block of users is a small local model with all items."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._files import sync_folder
from alsx._models.recommender import Recommender
from alsx._models.side import FittedSide
from alsx._models.state import ModelState
from alsx._solver.alternation import to_rating_units
from alsx._solver.prediction import predict_codes
from alsx._solver.prior import Penalty
from alsx._solver.tables import factor_table, kernel_table
from alsx.dask._blocks import Layout, aligned_csr
from alsx.dask._cluster import threads_of_task, use_level
from alsx.dask._exchange import Local, Need, pick, with_codes
from alsx.dask._outcome import fitted_prior, fitted_side, joined_table
from alsx.dask._source import AllIds
from alsx.dask._sweeps import Model, Solved
from alsx.ratings import CSR, Caller, Ids
from alsx.ratings._caller import path_name
from alsx.ratings.frames import Frame
from alsx.ratings.names import PAIR_COLUMNS, choose_columns

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]

PAIRS = Caller("pairs")


class Serving(NamedTuple):
    """What the local models of all blocks have in common.

    Parameters
    ----------
    kind : str
        Of the local estimator.
    parameters : dict
        Of it.
    model : Model
    penalties : pair of Penalty (users, items)
    range : pair of float
    history : dict of lists of float
    """

    kind: str
    parameters: dict[str, Any]
    model: Model
    penalties: tuple[Penalty, Penalty]
    range: tuple[float, float]
    history: dict[str, list[float]]


# ---------------------------------------------------------------------------------------------------------------------
# Tasks: lists


def count_items(blocks: list[Local], need: Need, layout: Layout) -> NDArray[np.int64]:
    """Return how many ratings of a group of users each item has, and how many of a weight above 0, shape (2, n_items)."""
    counts = np.zeros((2, layout.n_rows), np.int64)
    for local in blocks:
        ratings = with_codes(local, need, layout)
        counts[0] += np.bincount(ratings.indices, minlength=layout.n_rows)
        counted = ratings.indices if ratings.weights is None else ratings.indices[ratings.weights > 0]
        counts[1] += np.bincount(counted, minlength=layout.n_rows)
    return counts


def add_counts(several: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the sum of counts."""
    return np.asarray(np.sum(several, axis=0))


def items_side(blocks: list[Solved], counts: NDArray[np.int64], ids: AllIds, serving: Serving) -> FittedSide:
    """Return the items of the fitted model."""
    model = serving.model
    prior = fitted_prior(serving.penalties[1], model.unit)
    return FittedSide("item", ids.items, counts[0], counts[1] > 0, joined_table(blocks, model), model.k, prior)


def lists_of_block(
    solved: Solved, local: Local, need: Need, ids: AllIds, items: FittedSide, layouts: tuple[Layout, Layout], block: int,
    wanted: NDArray[np.int32] | None, options: dict[str, Any], n_tasks: int, serving: Serving,
) -> pa.Table:  # fmt: skip
    """Return the lists of a block's users, or of the `wanted` ones of them, codes, as a table."""
    first, stop = layouts[0].rows(block)
    use_level(serving.model.level)
    seen = aligned_csr(with_codes(local, need, layouts[1]))
    users = fitted_side(
        "user", Ids.trusted(ids.users.values[first:stop]), seen, joined_table([solved], serving.model), serving.model,
        serving.penalties[0],
    )  # fmt: skip
    model = local_model(users, items, seen, serving, threads_of_task(n_tasks))
    if wanted is None:
        return model.recommend_all(**options)
    return model.recommend(users.ids.values[wanted - first], as_frame="arrow", **options)


def local_model(users: FittedSide, items: FittedSide, seen: CSR, serving: Serving, n_threads: int) -> Any:
    """Return a local model that has these users alone."""
    own, other = serving.penalties
    state = ModelState(
        serving.model.mean, serving.range, serving.history, users, items, seen, None, None, (own.reg, other.reg),
        (own.reg_bias, other.reg_bias), users.ids.values[:0], len(serving.history["loss"]),
    )  # fmt: skip
    model = Recommender.kinds[serving.kind](**serving.parameters, n_jobs=n_threads)
    model._set_state(state, items.counts)
    return model


def no_lists(ids: AllIds) -> Any:
    """Return an empty data frame of lists, which tells the types of its columns."""
    import pyarrow as pa

    users, items = (pa.array(side.values[:1].tolist()).slice(0, 0) for side in ids)
    empty = {"user": users, "rank": pa.array([], pa.int64()), "item": items, "score": pa.array([], pa.float64())}
    return pa.table(empty).to_pandas()


def to_pandas(table: pa.Table) -> Any:
    """Return a table as a data frame of pandas."""
    return table.to_pandas()


def write_table(table: pa.Table, path: str) -> int:
    """Write a table to a Parquet file of its own; returns its rows."""
    from pyarrow import parquet

    check_shared(os.path.dirname(path), "to")
    own = f"{path}.{secrets.token_hex(8)}"  # a task that is done again meanwhile writes another
    parquet.write_table(table, own)
    os.replace(own, path)
    return int(table.num_rows)


def check_shared(folder: str, argument: str) -> None:
    """Refuse a folder that a worker does not see."""
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"{argument} is in {path_name(os.path.dirname(folder))}, where a worker does not see what the client has made: pass a "
            "path on a disk that all workers share"
        )


class NewFolder:
    """A folder that gets its name when all of it is there; until then `path` is what it was before.

    Parameters
    ----------
    path : path-like
    argument : str
        What messages call it.
    marker : str
        A file that a folder of this kind has, so that no other is replaced.
    """

    def __init__(self, path: Any, argument: str, marker: str) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"{argument} is of type {type(path).__name__}; it must be the path of a folder")
        self.target = Path(os.path.abspath(Path(path).expanduser()))
        if self.target.exists() and not (self.target / marker).exists():
            raise FileExistsError(
                f"{argument} is {path_name(self.target)}, which is there and was not written by such a call: pass another path, or "
                "remove it"
            )
        if not self.target.parent.is_dir():
            raise FileNotFoundError(
                f"there is no folder {path_name(self.target.parent)} to write {self.target.name} to; make it first"
            )
        self.part = self.target.with_name(f"{self.target.name}.{secrets.token_hex(8)}.part")

    def __enter__(self) -> NewFolder:
        self.part.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if kind is None:
                sync_folder(self.part)
                old = None
                if self.target.exists():
                    old = self.part.with_suffix(".old")
                    os.rename(self.target, old)
                os.rename(self.part, self.target)
                sync_folder(self.target.parent)
                if old is not None:
                    shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(self.part, ignore_errors=True)


# ---------------------------------------------------------------------------------------------------------------------
# Tasks: predictions


class PairCodes(NamedTuple):
    """Codes of the pairs of a partition; -1 is an unknown id."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]


def pair_columns(names: list[Any], user: str | None, item: str | None) -> tuple[Any, Any]:
    """Return which columns of a frame are users and items."""
    roles = choose_columns(names, {**PAIR_COLUMNS, "user": user, "item": item}, True, PAIRS)
    return roles["user"], roles["item"]


def pair_codes(frame: Any, columns: tuple[Any, Any], ids: AllIds) -> PairCodes:
    """Return the codes of a partition's pairs."""
    if not len(frame):
        return PairCodes(np.empty(0, np.int32), np.empty(0, np.int32))
    found, sides = Frame(frame[list(columns)]), (ids.users, ids.items)
    names = (f"pairs[{name!r}]" for name in columns)
    users, items = (
        np.asarray(own.codes(found.column(name), shown), np.int32)
        for own, name, shown in zip(sides, columns, names, strict=True)
    )
    return PairCodes(users, items)


def needed_rows(codes: PairCodes, side: int, group: int, layout: Layout, blocks: list[Solved]) -> Array:
    """Return the rows of a group that a partition needs, in the order of their codes."""
    first, stop = layout.group_rows(group)
    wanted = np.unique(codes[side])
    wanted = wanted[(wanted >= first) & (wanted < stop)] - np.int32(first)
    starts = [int(layout.bounds[b]) - first for b in range(layout.blocks(group).start, layout.blocks(group).stop + 1)]
    return pick(blocks, starts, wanted)


def predict_part(
    frame: Any, codes: PairCodes, rows: tuple[list[Array], list[Array]], serving: Serving, clip: bool
) -> Any:
    """Return the predictions of a partition's pairs as a series of pandas."""
    import pandas as pd

    model = serving.model
    use_level(model.level)
    tables, places = [], []
    for own, parts in zip(codes, rows, strict=True):
        wanted = np.unique(own)
        wanted = wanted[wanted >= 0]
        table = factor_table(len(wanted), model.k, model.dtype)
        table[:] = np.concatenate(parts)
        to_rating_units(table, model.unit, model.k)
        place = np.searchsorted(wanted, own).astype(np.int32)
        place[own < 0] = -1
        tables.append(kernel_table(table, model.k))
        places.append(place)
    nothing = np.zeros(model.k + 1)
    out = predict_codes(places[0], places[1], tables[0], tables[1], nothing, nothing, model.k, model.mean, 1)
    if clip:
        np.clip(out, *serving.range, out=out)
    return pd.Series(out, index=frame.index, name="prediction")

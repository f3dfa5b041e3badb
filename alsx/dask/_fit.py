"""A fit on a cluster: read, shuffle, and sweep; a straight line like `alsx._models.training.train`."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._models.progress import Progress
from alsx._models.stopping import Course, StoppingRules
from alsx._models.training import Specification, singular_message
from alsx._solver.alternation import Iteration
from alsx._solver.rows import SingularRowError
from alsx._solver.tables import row_width
from alsx.dask import _blocks, _exchange, _source, _sweeps
from alsx.dask._blocks import Layout, RowsFacts
from alsx.dask._checkpoint import Checkpoint, Fingerprint, digest_of_ids
from alsx.dask._cluster import ClusterError, Session, WorkerFacts, lowest_level
from alsx.dask._source import Part, PartFacts, Reading
from alsx.dask._sums import SumPlan, cut
from alsx.dask._sweeps import Model, Report, Solved
from alsx.ratings.moments import CHUNK_VALUES
from alsx.ratings.raw import warn_of_sentinel
from alsx.ratings.sorting import refuse_no_weight, repeated_message

Array = NDArray[Any]

# Sets of ids that one task merges.
MERGED_SETS = 16

# A panel takes at most this share of the memory of a worker; with more rows than that a half-sweep has several waves of groups.
PANEL_SHARE, PANEL_BYTES = 0.15, 2**31

# Numbers that NumPy casts at a time where it sums floats of 32 bits in double precision: its buffer.
CAST_BUFFER = 8192

# Tables of this size in all go to the client every few iterations, and come back as tasks that carry their data: what is lost with
# a worker later is then computed again from there, and not from the beginning.
ANCHOR_BYTES, ANCHOR_ITERATIONS = 2**25, 5


class FitOptions(NamedTuple):
    """How a fit runs.

    Parameters
    ----------
    reading : Reading
    stopping : StoppingRules
    generator : numpy.random.Generator
    seed : int or None
        Of the generator, where the caller gave a number.
    verbose : int
    checkpoint : path-like or None
    checkpoint_every : int
    """

    reading: Reading
    stopping: StoppingRules
    generator: np.random.Generator
    seed: int | None
    verbose: int
    checkpoint: Any
    checkpoint_every: int


class Totals(NamedTuple):
    """What is known of all ratings.

    Parameters
    ----------
    n_users, n_items, n_ratings : int
    range : (float, float)
        Of ratings of a weight above 0.
    weighted : bool
    weight_sum : float
    mean, unit : float
    """

    n_users: int
    n_items: int
    n_ratings: int
    range: tuple[float, float]
    weighted: bool
    weight_sum: float
    mean: float
    unit: float


class Side:
    """One side of a fit on a cluster.

    Parameters
    ----------
    name : {"user", "item"}
    layout : Layout
    n_slots : int
        Workers that the groups are for.

    Attributes
    ----------
    rows, local, needs, solved : list of Future
        By block: `Rows`, `Local` and `Solved`; by group: `Need`.
    sizes : list of list of int
        How many rows each group needs of each group of the other side.
    sends : dict of (int, int) to Future
        What a group of the other side sends to one of this side.
    plan : SumPlan
        Of sums over its rows.
    """

    def __init__(self, name: str, layout: Layout, n_slots: int) -> None:
        self.name, self.layout, self.n_slots = name, layout, n_slots
        self.rows: list[Any] = []
        self.local: list[Any] = []
        self.needs: list[Any] = []
        self.solved: list[Any] = []
        self.sizes: list[list[int]] = []
        self.sends: dict[tuple[int, int], Any] = {}
        self.plan = SumPlan([(0, layout.n_rows)], layout.bounds)
        self.squared_error = self.penalty_sum = 0.0

    def slot(self, group: int) -> int:
        """Return for which worker a group is."""
        return group % self.n_slots

    def waves(self) -> list[range]:
        """Return the groups that are worked on at a time: one for each worker."""
        n = self.layout.n_groups
        return [range(first, min(n, first + self.n_slots)) for first in range(0, n, self.n_slots)]

    def of_group(self, futures: Sequence[Any], group: int) -> list[Any]:
        """Return the futures of a group's blocks."""
        blocks = self.layout.blocks(group)
        return list(futures[blocks.start : blocks.stop])


class Owners:
    """Which worker has what: slots, each with a worker's address.

    A worker that was lost is replaced by one that has no slot, such as the one that its nanny started, or by the one with the fewest.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = list(addresses)

    def refresh(self, alive: Sequence[str]) -> None:
        """Replace workers that are no longer there."""
        for slot, address in enumerate(self.addresses):
            if alive and address not in alive:
                self.addresses[slot] = min(alive, key=lambda x: (self.addresses.count(x), x))

    def __getitem__(self, slot: int) -> str:
        return self.addresses[slot]


class ClusterFit:
    """One fit.

    Parameters
    ----------
    session : Session
    specification : Specification
        What the estimator asks for.
    options : FitOptions

    Attributes
    ----------
    users, items : Side
    before : list of Future
        The items as the users were last solved from them, by block.
    totals : Totals
    model : Model
    ids : Future
        `AllIds`.
    course : Course
    traffic : dict of lists
        Bytes "moved" between workers in each iteration, by their own counters, and as "planned" from the need-lists.
    """

    users: Side
    items: Side
    totals: Totals
    model: Model
    ids: Any

    def __init__(self, session: Session, specification: Specification, options: FitOptions) -> None:
        self.session, self.specification, self.options = session, specification, options
        self.before: list[Any] = []
        self.traffic: dict[str, list[float]] = {"moved": [], "planned": []}
        self.course = Course(options.stopping, specification.tol, 0, lambda number: None)  # type: ignore[arg-type, return-value]
        self._facts: dict[str, WorkerFacts] = {}
        self._counters: dict[str, int] = {}

    def run(self, source: Any) -> None:
        """Fit the model to a source."""
        self._facts = self.session.survey()
        self.owners = Owners(list(self._facts))
        coded = self._read(source)
        self._shuffle(coded)
        del coded
        self._find_moments()
        checkpoint = self._open_checkpoint()
        self._find_needs()
        self._start(checkpoint)
        self._sweep(checkpoint)
        self._check_range()

    # -----------------------------------------------------------------------------------------------------------------
    # Reading

    def _read(self, source: Any) -> list[Any]:
        """Return futures of the parts with the codes of all ids."""
        session, reading = self.session, self.options.reading
        parts, is_text = self._parts(source)
        facts: list[PartFacts] = session.collect([session.submit("facts", _source.part_facts, x) for x in parts], "reading source")
        self._check_parts(facts)
        as_text = _source.mixed_kinds(facts, is_text)
        sets = [session.submit("ids", _source.own_ids, x) for x in parts]
        while len(sets) > 1 or as_text != (False, False):
            sets = [
                session.submit("merge", _source.merge_ids, sets[first : first + MERGED_SETS], as_text)
                for first in range(0, len(sets), MERGED_SETS)
            ]
            as_text = False, False  # from here on all of them are of one kind
        self.ids = session.submit("ids", _source.all_ids, sets[0])
        [(n_users, n_items)] = session.collect([session.submit("facts", _source.id_counts, self.ids)], "coding ids")
        self.n_rows = n_users, n_items
        del reading
        return [session.submit("code", _source.code_part, x, self.ids) for x in parts]

    def _parts(self, source: Any) -> tuple[list[Any], bool]:
        """Return futures of the parts of the source, and whether it is text."""
        session, reading = self.session, self.options.reading
        _source.refuse_other_sources(source)
        if _source.is_dask_frame(source):
            frame = source[list(dict.fromkeys(_source.needed_columns(source, reading)))]
            partitions = session.client.compute(frame.to_delayed())
            session.adopt(partitions)
            parts, first = [], 0
            for batch in _source.batches(partitions):
                parts.append(session.submit("read", _source.read_frames, batch, first, reading))
                first += len(batch)
            return parts, False
        pieces = _source.pieces_of(source, reading)
        parts = [session.submit("read", _source.read_pieces, batch, reading) for batch in _source.batches(pieces)]
        return parts, not any(piece.is_parquet for piece in pieces)

    def _check_parts(self, facts: Sequence[PartFacts]) -> None:
        """Refuse parts that cannot be read, and warn as local readers do."""
        for one in facts:
            if one.error is not None:
                raise one.error
        filled = [one for one in facts if one.n]
        if not filled:
            raise ValueError("there are no ratings: source is empty: pass at least one rating")
        limits = min(one.range[0] for one in filled), max(one.range[1] for one in filled)

        def counted() -> tuple[Array, Array]:
            values, places = np.unique(np.concatenate([one.counted[0] for one in filled]), return_inverse=True)
            counts = np.bincount(places, np.concatenate([one.counted[1] for one in filled]))
            return values, counts.astype(np.int64)

        warn_of_sentinel(counted, "source", limits, _source.SOURCE)

    # -----------------------------------------------------------------------------------------------------------------
    # The shuffle

    def _shuffle(self, coded: list[Any]) -> None:
        """Bring the ratings into blocks of users, and from there into blocks of items."""
        session, align, (n_users, n_items) = self.session, _blocks.ALIGN_ROWS, self.n_rows
        counts = session.collect(
            [session.submit("facts", _blocks.user_counts, x, n_users, align) for x in coded], "counting ratings"
        )
        self.users = self._side("user", np.sum(counts, axis=0), n_users, n_items)
        shards = [session.submit("split", _blocks.split_part, x, self.users.layout) for x in coded]
        duplicates = self.options.reading.options.duplicates
        self._build(self.users, shards, n_items, duplicates)
        del shards
        facts = self._facts_of_rows(self.users, n_items)
        weighted = any(one.has_weights for one in facts)
        item_counts = np.sum([one.counts for one in facts], axis=0)
        self.items = self._side("item", item_counts, n_items, n_users)
        layout = self.users.layout
        shards = [
            session.submit(
                "split", _blocks.split_rows, self.users.of_group(self.users.rows, group),
                [layout.rows(block)[0] for block in layout.blocks(group)], weighted, self.items.layout,
                at=self.owners[self.users.slot(group)],
            )
            for group in range(layout.n_groups)
        ]  # fmt: skip
        self._build(self.items, shards, n_users, "raise")
        sizes = [one.n for one in facts]
        self.entry_bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        limits = min(one.range[0] for one in facts), max(one.range[1] for one in facts)
        self.digests = [one.digest for one in facts]
        self.totals = Totals(n_users, n_items, sum(sizes), limits, weighted, float(sum(sizes)), 0.0, 1.0)

    def _side(self, name: str, counts: NDArray[np.int64], n_rows: int, n_other: int) -> Side:
        """Return a side, cut into blocks and groups."""
        k, n_slots = self.specification.k, len(self._facts)
        row_bytes = row_width(k, self.specification.dtype) * self.specification.dtype.itemsize
        limits = [one.memory for one in self._facts.values() if one.memory]
        most = PANEL_SHARE * min(limits) if limits else PANEL_BYTES
        waves = 1
        if n_other * row_bytes > most:
            # No group needs more rows than it has ratings.
            waves = max(1, math.ceil(int(counts.sum()) * row_bytes / (n_slots * most)))
        return Side(name, _blocks.lay_out(counts, n_rows, _blocks.ALIGN_ROWS, k, n_slots * waves), n_slots)

    def _build(self, side: Side, shards: list[Any], n_columns: int, duplicates: str) -> None:
        """Sort the ratings of a side's blocks from what all parts have for them."""
        session, layout, dtype = self.session, side.layout, self.specification.dtype
        for group in range(layout.n_groups):
            at = self.owners[side.slot(group)]
            own = [session.submit("shard", _blocks.take, x, group) for x in shards]
            for place, block in enumerate(layout.blocks(group)):
                side.rows.append(
                    session.submit(
                        "rows", _blocks.build_rows, own, place, *layout.rows(block), n_columns, duplicates, dtype, at=at
                    )
                )

    def _facts_of_rows(self, side: Side, n_columns: int) -> list[RowsFacts]:
        """Return what is to know of a side's blocks, once it is certain that their ratings can be used."""
        session, with_digest = self.session, self.options.checkpoint is not None
        facts: list[RowsFacts] = session.collect(
            [session.submit("facts", _blocks.rows_facts, x, n_columns, _blocks.ALIGN_ROWS, with_digest) for x in side.rows],
            "shuffling ratings",
        )
        for one in facts:
            if one.error is not None:
                raise one.error
            if one.repeated is not None:
                ids = session.collect([self.ids], "coding ids")[0]
                user, item = ids.users.values[one.repeated[0]], ids.items.values[one.repeated[1]]
                raise ValueError(repeated_message(user, item, ("another row", "a row"), "source", _source.SOURCE))
        refuse_no_weight(any(one.has_weight for one in facts))
        return facts

    # -----------------------------------------------------------------------------------------------------------------
    # Before the sweeps

    def _find_moments(self) -> None:
        """Find mean and standard deviation of the ratings, and the sum of weights, as a `Ratings` adds them."""
        totals = self.totals
        n, bounds = totals.n_ratings, self.entry_bounds
        plan = SumPlan(cut(n, CHUNK_VALUES), bounds)
        weight_sums = None
        with np.errstate(over="ignore", invalid="ignore"):
            mean = self._moment(plan, 0.0, 1)
            unit = math.sqrt(second) if (second := self._moment(plan, mean, 2)) >= 0 else math.nan
        if not (math.isfinite(mean) and math.isfinite(unit)):
            raise FloatingPointError(
                "the squares of the ratings leave the range of float64 numbers, so they have no standard deviation: "
                "rescale the ratings"
            )
        del weight_sums
        weight_sum = totals.weight_sum
        if totals.weighted:
            weight_sum = self._weight_sum()
        self.totals = totals._replace(mean=mean, unit=unit or 1.0, weight_sum=weight_sum)

    def _moment(self, plan: SumPlan, centre: float, power: int) -> float:
        """Return the weighted mean of (value - centre)^power."""
        session = self.session
        answers = session.collect(
            [
                session.submit("moments", _rows_moments, x, self.totals.weighted, int(first), requests, centre, power)
                for x, first, requests in zip(self.users.rows, self.entry_bounds[:-1], plan.requests, strict=True)
            ],
            "finding the mean",
        )
        sums = plan.combine([own for own, _ in answers])
        if self.totals.weighted:
            weights = plan.combine([own for _, own in answers])
        else:
            weights = [float(end - begin) for begin, end in plan.ranges]
        try:
            return math.fsum(sums) / math.fsum(weights)
        except OverflowError:
            return math.inf

    def _weight_sum(self) -> float:
        """Return the sum of all weights, as NumPy adds them in double precision."""
        session, n = self.session, self.totals.n_ratings
        is_cast = self.specification.dtype != np.float64
        plan = SumPlan(cut(n, CAST_BUFFER if is_cast else n), self.entry_bounds)
        answers = session.collect(
            [
                session.submit("moments", _rows_weights, x, int(first), requests)
                for x, first, requests in zip(self.users.rows, self.entry_bounds[:-1], plan.requests, strict=True)
            ],
            "finding the mean",
        )
        total = 0.0
        for part in plan.combine(answers):
            total += part
        return total

    def _find_needs(self) -> None:
        """Find which rows each group needs of the other side, and number its ratings' indices by them."""
        session = self.session
        for side, other in ((self.users, self.items), (self.items, self.users)):
            for group in range(side.layout.n_groups):
                at = self.owners[side.slot(group)]
                own = side.of_group(side.rows, group)
                need = session.submit("need", _exchange.find_need, own, other.layout, at=at)
                side.needs.append(need)
                side.local += [
                    session.submit("local", _exchange.localise, x, need, other.layout, self.totals.weighted, at=at) for x in own
                ]
            side.sizes = session.collect(
                [session.submit("facts", _exchange.need_sizes, x) for x in side.needs], "finding what rows need"
            )
            for group, sizes in enumerate(side.sizes):
                for source, size in enumerate(sizes):
                    if size > 0:
                        side.sends[source, group] = session.submit(
                            "send", _exchange.send_list, side.needs[group], source, at=self.owners[other.slot(source)]
                        )
        session.wait([*self.users.local, *self.items.local], "numbering ratings")
        # Their recipes stay with the scheduler as long as what is made of them is wanted.
        self.users.rows, self.items.rows = [], []

    def _open_checkpoint(self) -> Checkpoint | None:
        """Return the checkpoint, if one is asked for, once it is certain that it belongs to this fit."""
        lowest = lowest_level(self._facts)
        totals, spec = self.totals, self.specification
        self.model = Model(spec.k, spec.dtype, totals.mean, totals.unit, lowest)
        if self.options.checkpoint is None:
            return None
        session = self.session
        [of_ids] = session.collect([session.submit("facts", digest_of_ids, self.ids)], "reading the checkpoint")
        fingerprint = Fingerprint.of(
            spec, [*self.digests, of_ids], [self.users.layout.bounds, self.items.layout.bounds], self.options.seed
        )
        checkpoint = Checkpoint(self.options.checkpoint, fingerprint)
        self.model = self.model._replace(level=checkpoint.level(lowest))
        return checkpoint

    def _start(self, checkpoint: Checkpoint | None) -> None:
        """Begin with a random start, or with what the checkpoint has."""
        session, found = self.session, None if checkpoint is None else checkpoint.found
        if checkpoint is not None and found is not None:
            self.course.iterations += found.iterations
            self.course.n_settled = len(found.iterations)
            self.users.solved, self.items.solved, self.before = checkpoint.blocks(session, self._places())
            session.wait([*self.users.solved, *self.items.solved, *self.before], "reading the checkpoint")
            return
        layout, generator = self.items.layout, self.options.generator
        for group in range(layout.n_groups):
            for block in layout.blocks(group):
                first, stop = layout.rows(block)
                at = self.owners[self.items.slot(group)]
                self.items.solved.append(
                    session.submit("start", _sweeps.start_block, copy.deepcopy(generator), stop - first, self.model, at=at)
                )
                # What the block draws is drawn here too, and forgotten, so that the next one goes on behind it.
                generator.standard_normal((stop - first, self.model.k), dtype=self.model.dtype.type)

    def _places(self) -> tuple[list[str], list[str], list[str]]:
        """Return where each block of users, of items, and of the items before is to be."""
        users, items = (
            [self.owners[side.slot(group)] for group in range(side.layout.n_groups) for _ in side.layout.blocks(group)]
            for side in (self.users, self.items)
        )
        return users, items, items

    # -----------------------------------------------------------------------------------------------------------------
    # Sweeps

    def _sweep(self, checkpoint: Checkpoint | None) -> None:
        """Sweep until the course ends the fit."""
        spec, course, options = self.specification, self.course, self.options
        if course.iterations and not course.goes_on():
            return
        n_done = written = len(course.iterations)
        self._count_traffic()
        with Progress(spec.name, spec.max_iter, options.verbose) as progress:
            for number in range(n_done + 1, spec.max_iter + 1):
                begun = time.perf_counter()
                self.owners.refresh(self.session.workers())
                self.before = self.items.solved
                self._half_sweep(self.users, self.items)
                self._half_sweep(self.items, self.users)
                iteration = self._iteration(number, time.perf_counter() - begun)
                self.traffic["moved"].append(self._count_traffic())
                self.traffic["planned"].append(self.planned_traffic())
                course.add(iteration)
                progress.report(iteration)
                goes_on = course.goes_on() and number < spec.max_iter
                if checkpoint is not None and (not goes_on or number - written >= options.checkpoint_every):
                    self._write(checkpoint)
                    written = number
                elif checkpoint is None and number % ANCHOR_ITERATIONS == 0:
                    self._anchor()
                if not goes_on:
                    break

    def _iteration(self, number: int, seconds: float) -> Iteration:
        """Return what an iteration reached, by the same formulas as `Alternation`."""
        totals, users, items = self.totals, self.users, self.items
        with np.errstate(over="ignore", invalid="ignore"):
            loss = totals.unit**2 * (items.squared_error + users.penalty_sum + items.penalty_sum)
            train_rmse = totals.unit * float(np.sqrt(items.squared_error / totals.weight_sum))
        return Iteration(number, loss, train_rmse, seconds)

    def _half_sweep(self, side: Side, other: Side) -> None:
        """Solve the rows of one side."""
        session, model, layout = self.session, self.model, side.layout
        penalty = self.specification.penalties[0 if side is self.users else 1]
        solved: list[Any] = []
        told: list[list[Report]] = []
        for wave in side.waves():
            reports = []
            for group in wave:
                at, blocks = self.owners[side.slot(group)], layout.blocks(group)
                panel = session.submit(
                    "panel", _exchange.make_panel, *self._panel_parts(side, other, group), model.k, model.dtype, at=at
                )
                own = [
                    session.submit(
                        f"solve-{side.name}s", _sweeps.solve_block, side.local[block], panel, side.name, penalty, model,
                        layout.rows(block)[0], side.plan.requests[block], len(blocks), at=at,
                    )
                    for block in blocks
                ]  # fmt: skip
                solved += own
                reports.append(session.submit("report", _sweeps.report, own, at=at))
                del panel
            told += session.collect(reports, f"solving {side.name}s")
        side.solved = solved
        reports_of_blocks = [one for group in told for one in group]
        self._refuse_singular(side, reports_of_blocks)
        [side.squared_error] = side.plan.combine([one.sums[0] for one in reports_of_blocks])
        [side.penalty_sum] = side.plan.combine([one.sums[1] for one in reports_of_blocks])

    def _panel_parts(self, side: Side, other: Side, group: int) -> tuple[list[Any], int]:
        """Return what the panel of a group is made of, and how many rows it has."""
        parts: list[Any] = []
        n_rows = 0
        for source, size in enumerate(side.sizes[group]):
            tables = other.of_group(other.solved, source)
            first, stop = other.layout.group_rows(source)
            if size == _exchange.ALL:
                parts.append(tables)
                n_rows += stop - first
            elif size:
                blocks = other.layout.blocks(source)
                starts = [int(other.layout.bounds[block]) - first for block in range(blocks.start, blocks.stop + 1)]
                at = self.owners[other.slot(source)]
                parts.append(self.session.submit("pick", _exchange.pick, tables, starts, side.sends[source, group], at=at))
                n_rows += size
        return parts, n_rows

    def _refuse_singular(self, side: Side, reports: Sequence[Report]) -> None:
        """Refuse rows that have no unique solution."""
        failed = [one.singular for one in reports if one.singular is not None]
        if failed:
            ids = self.session.collect([self.ids], "coding ids")[0]
            error = SingularRowError(side.name, failed[0][0], sum(count for _, count in failed))
            values = (ids.users if side is self.users else ids.items).values
            raise np.linalg.LinAlgError(singular_message(error, values))

    # What cuts the way back to the beginning

    def _anchor(self) -> None:
        """Take small tables to the client and give them back as tasks that carry them."""
        session, dtype = self.session, self.model.dtype
        n_bytes = row_width(self.model.k, dtype) * dtype.itemsize * (self.totals.n_users + 2 * self.totals.n_items)
        if n_bytes > ANCHOR_BYTES:
            return
        fields = [self.users.solved, self.items.solved, self.before]
        blocks: list[list[Solved]] = [session.collect(x, "keeping tables") for x in fields]
        self.users.solved, self.items.solved, self.before = (
            [session.submit("anchor", _given, x, at=at) for x, at in zip(side, places, strict=True)]
            for side, places in zip(blocks, self._places(), strict=True)
        )

    def _write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, from which what is lost later is read."""
        session = self.session
        checkpoint.write(session, (self.users.solved, self.items.solved, self.before), self.course.iterations, self.model.level)
        self.users.solved, self.items.solved, self.before = checkpoint.blocks(session, self._places())

    # Traffic

    def _count_traffic(self) -> float:
        """Return how many bytes workers have sent to each other since the last call."""
        told = self.session.client.run(_bytes_sent, on_error="ignore")
        before, self._counters = self._counters, {address: n for address, n in told.items() if isinstance(n, int)}
        # A worker that was restarted counts from 0.
        return float(sum(max(0, n - before.get(address, 0)) for address, n in self._counters.items()))

    def planned_traffic(self) -> float:
        """Return how many bytes of tables an iteration moves between workers, by the need-lists."""
        dtype, total = self.model.dtype, 0
        row_bytes = row_width(self.model.k, dtype) * dtype.itemsize
        for side, other in ((self.users, self.items), (self.items, self.users)):
            for group, sizes in enumerate(side.sizes):
                for source, size in enumerate(sizes):
                    if self.owners[side.slot(group)] == self.owners[other.slot(source)]:
                        continue
                    first, stop = other.layout.group_rows(source)
                    # Whole groups travel with the errors of their rows.
                    total += (stop - first) * (row_bytes + 8) if size == _exchange.ALL else size * row_bytes
        return float(total)

    def _check_range(self) -> None:
        """Refuse a fit whose numbers left the range of their type."""
        session, dtype = self.session, self.model.dtype
        tables = [*self.users.solved, *self.items.solved]
        whole = session.collect([session.submit("facts", _is_finite, x, self.totals.unit) for x in tables], "checking tables")
        if not all(whole):
            reg = self.specification.penalties[0].reg
            raise FloatingPointError(
                f"the fit left the range of {dtype} numbers: rescale the ratings, or raise reg (it is {reg:g})"
            )
        if not all(math.isfinite(one.loss) for one in self.course.iterations):
            raise FloatingPointError(
                "the loss left the range of float64 numbers: rescale the ratings, or take a smaller reg"
            )


# ---------------------------------------------------------------------------------------------------------------------
# Tasks


def _rows_moments(rows: Any, weighted: bool, first: int, requests: Any, centre: float, power: int) -> Any:
    return _sweeps.moment_answers(_blocks.uniform(rows.ratings, weighted), first, requests, centre, power)


def _rows_weights(rows: Any, first: int, requests: Any) -> Any:
    return _sweeps.weight_answers(_blocks.uniform(rows.ratings, True), first, requests)


def _given(solved: Solved) -> Solved:
    """Return what the task carries."""
    return solved


def _bytes_sent(dask_worker: Any) -> int:
    return int(dask_worker.transfer_outgoing_bytes_total)


def _is_finite(solved: Solved, unit: float) -> bool:
    """Return whether a table is finite in rating units, too."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(solved.table * solved.table.dtype.type(max(1.0, unit))).all())


__all__ = ["ClusterError", "ClusterFit", "FitOptions", "Layout", "Part", "Side", "Totals"]

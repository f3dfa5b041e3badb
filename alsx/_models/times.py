"""Offsets of time of a fitted model: what a user's ratings of one day, or of ten minutes, have in common.

After the fit the mean of a user's offsets is part of his bias, so that a prediction without a time is one for his average day,
and a prediction for a time adds what his ratings of that time differ from it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alsx._models.seen import entries_of_rows
from alsx._solver.posterior import PlainData
from alsx._solver.time_offsets import (
    NO_TIME,
    PERIODS,
    GroupLevel,
    Places,
    Solved,
    TimeOffsets,
    TimeSnapshot,
    counts_of_levels,
    find_groups,
    group_sums,
)
from alsx.ratings import CSR
from alsx.ratings.columns import time_column

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]
Floats = NDArray[np.float64]

# The seconds of the periods that `time` stands for, the longest first. A session is a day, ten minutes and a minute: of the nested
# periods that were tried on inner splits of MovieLens 100k and latest-small, those with fewest levels within 0.0006 of the best.
TIME = {None: (), "day": (86400,), "session": (86400, 600, 60)}

# Times this many times as far from 1970 as any of the fit, or as near, are in another unit.
OTHER_UNIT = 20


def check_time(time: Any) -> tuple[int, ...]:
    """Return the seconds of the periods that the parameter `time` stands for."""
    if time is not None and (not isinstance(time, str) or time not in TIME):
        raise ValueError(f'time is {time!r:.80}; it must be "day", "session" or None')
    return TIME[time]


@dataclass(frozen=True, eq=False)
class TimeEffects(PlainData):
    """The offsets of a fitted model, in rating units.

    Parameters
    ----------
    levels : tuple of GroupLevel
        The groups, users and periods.
    counts : list of ndarray of float64
        The (weighted) number of ratings of the groups of each level.
    offsets : list of ndarray of float64
        Of the groups of each level.
    ratios, variances : ndarray of float64, shape (n_levels,)
        The variance of offsets over that of the noise, and itself, in squared rating units.
    means : ndarray of float64, shape (n_users,)
        The mean of the offsets of each user's ratings, which is part of his bias.
    seen : ndarray of int64, shape (n_seen,)
        When each of the ratings seen was given; `NO_TIME` where that is not known. Empty where the model was saved without ratings.
    span : pair of int
        The first and the last time of the fit.
    """

    levels: tuple[GroupLevel, ...]
    counts: list[Floats]
    offsets: list[Floats]
    ratios: Floats
    variances: Floats
    means: Floats
    seen: NDArray[np.int64]
    span: tuple[int, int]

    @classmethod
    def of(cls, fit: TimeOffsets, found: TimeSnapshot, timestamps: Array, n_users: int) -> TimeEffects:
        """Return the offsets that a fit has come to."""
        levels = fit.groups.levels
        counts = counts_of_levels(levels, fit.counts)
        means = user_means(levels, counts, found.offsets, n_users)
        span = int(timestamps.min()), int(timestamps.max())
        return cls(levels, counts, found.offsets, found.ratios, found.variances, means, timestamps, span)

    def shifts_of_fit(self, fit: TimeOffsets) -> Floats:
        """Return the shifts of the ratings of the fit, in the order of `by_user`."""
        above = -self.means
        for level, own in zip(self.levels, self.offsets, strict=True):
            above = above[level.parents] + own
        return np.asarray(above[fit.groups.leaves])

    @property
    def seconds(self) -> tuple[int, ...]:
        """The seconds of the periods of each level."""
        return tuple(level.seconds for level in self.levels)

    def shifts(self, users: Array, timestamps: Array) -> Floats:
        """Return what predictions for pairs of a user's code and a time have besides those without a time, shape (n,)."""
        return self.shifts_at(find_groups(self.levels, users, timestamps), users)

    def shifts_at(self, places: Places, users: Array) -> Floats:
        """Return `shifts` at the groups of pairs."""
        has_group = places.of_levels[0] >= 0
        return places.sums(self.offsets) - np.where(has_group, self.means[users], 0.0)

    def variances_at(self, places: Places) -> Floats:
        """Return what is not known of the shifts at the groups of pairs: variances in squared rating units, shape (n,)."""
        out = np.zeros(len(places.is_known))
        for depth, (at, counts) in enumerate(zip(places.of_levels, self.counts, strict=True)):
            known = np.flatnonzero(at >= 0 if depth else places.is_known)
            share = np.ones(len(out))
            share[known] = 1.0 / (1.0 + counts[at[known]] * self.ratios[depth])
            out += self.variances[depth] * share
        return out

    def own_offsets(self, users: Array, timestamps: Array) -> Floats:
        """Return the offsets of users' own ratings, their means included: what their rows were solved without."""
        return find_groups(self.levels, users, timestamps).sums(self.offsets)

    def with_rows(self, codes: Array, found: Solved, seen: Array) -> TimeEffects:
        """Return the offsets where users were solved again.

        Parameters
        ----------
        codes : ndarray, shape (m,)
            Ascending.
        found : Solved
            Its users are places in `codes`.
        seen : ndarray of int64
            When the ratings seen were given.
        """
        levels, counts, offsets = [], [], []
        # Where a group of the level before has gone, of the old ones and of the new ones.
        moved: tuple[Array, Array] | None = None
        for old, new, old_counts, new_counts, old_offsets, new_offsets in zip(
            self.levels, found.levels, self.counts, found.counts, self.offsets, found.offsets, strict=True
        ):
            kept = np.flatnonzero(~np.isin(old.users, codes))
            users = np.concatenate([old.users[kept], codes[new.users].astype(np.int32)])
            periods = np.concatenate([old.periods[kept], new.periods])
            order = np.lexsort((periods, users))
            parents = users
            if moved is not None:
                parents = np.concatenate([moved[0][old.parents[kept]], moved[1][new.parents]]).astype(np.int32)
            place = np.empty(len(order), np.int64)
            place[order] = np.arange(len(order))
            of_old = np.full(len(old.users), -1, np.int64)
            of_old[kept] = place[: len(kept)]
            moved = of_old, place[len(kept) :]
            levels.append(GroupLevel(old.seconds, users[order], periods[order], parents[order]))
            counts.append(np.concatenate([old_counts[kept], new_counts])[order])
            offsets.append(np.concatenate([old_offsets[kept], new_offsets])[order])
        means = self.means.copy()
        means[codes] = user_means(found.levels, found.counts, found.offsets, len(codes))
        return dataclasses.replace(
            self, levels=tuple(levels), counts=counts, offsets=offsets, means=means, seen=seen
        )  # fmt: skip

    def among(self, from_old: Array, n: int) -> TimeEffects:
        """Return the same where users are others by number: those of before have moved to these places of n."""
        levels = []
        for depth, level in enumerate(self.levels):
            users = from_old[level.users].astype(np.int32)
            levels.append(level._replace(users=users, parents=level.parents if depth else users))
        means = np.zeros(n)
        means[from_old] = self.means
        return dataclasses.replace(self, levels=tuple(levels), means=means)

    def checked(self, given: Any, n: int, name: str = "timestamps") -> NDArray[np.int64]:
        """Return times of n pairs in seconds; one time serves all of them."""
        times = time_column([given] if np.ndim(given) == 0 else given, name)
        if len(times) not in (1, n) or (np.ndim(given) > 0 and len(times) != n):
            raise ValueError(
                f"{name} has {len(times):,} times for {n:,} pairs; it must have one for each, or be one time"
            )
        known = times[times != NO_TIME]
        low, high = self.span
        if len(known) and low > 0:
            first, last = int(known.min()), int(known.max())
            if last * OTHER_UNIT < low or first > high * OTHER_UNIT:
                at = int(np.flatnonzero(times != NO_TIME)[0])
                raise ValueError(
                    f"{name}: row {at} is {int(times[at])}, but the times of the fit go from {low} to {high}: convert them to "
                    "seconds"
                )
        return np.broadcast_to(times, n)

    def table(self, user_ids: Array) -> pa.Table:
        """Return the offsets as a table; see `time_offsets_`."""
        import pyarrow as pa

        above = -self.means
        columns: dict[str, list[Any]] = {name: [] for name in ("user", "period", "start", "n_ratings", "offset")}
        for level, counts, own in zip(self.levels, self.counts, self.offsets, strict=True):
            above = above[level.parents] + own
            columns["user"].append(user_ids[level.users])
            columns["period"].append(np.full(len(own), PERIODS[level.seconds], object))
            columns["start"].append(level.periods * level.seconds)
            columns["n_ratings"].append(counts)
            columns["offset"].append(above)
        joined = {name: np.concatenate(parts) for name, parts in columns.items()}
        return pa.table(
            {
                "user": pa.array(joined["user"]),
                "period": pa.array(joined["period"], pa.string()),
                "start": pa.array(joined["start"], pa.int64()).cast(pa.timestamp("s")),
                "n_ratings": pa.array(joined["n_ratings"]),
                "offset": pa.array(joined["offset"]),
            }
        )


def user_means(levels: tuple[GroupLevel, ...], counts: list[Floats], offsets: list[Floats], n: int) -> Floats:
    """Return the mean of the offsets of each user's ratings, shape (n,)."""
    sums, weights = np.zeros(n), group_sums(levels[0].users, counts[0], n)
    for level, own_counts, own in zip(levels, counts, offsets, strict=True):
        sums += group_sums(level.users, own_counts * own, n)
    return np.divide(sums, weights, out=np.zeros(n), where=weights > 0)


def times_of_rows(seen: CSR, times: Array, rows: Array) -> Array:
    """Return when the ratings of some rows were given, in the order of `rows_of`."""
    return times[entries_of_rows(seen.indptr, rows)[1]]


def with_values(ratings: CSR, values: Array) -> CSR:
    """Return ratings with something else in the place of their values, and without weights."""
    return CSR(ratings.indptr, ratings.indices, values, None)


def less_shifts(ratings: CSR, shifts: Floats) -> CSR:
    """Return ratings less what is besides biases and factors."""
    return ratings._replace(values=(ratings.values - shifts).astype(ratings.values.dtype))

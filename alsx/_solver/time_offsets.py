"""Offsets of a user's ratings of one day, and of shorter periods within it: sides of rank 0.

A user's ratings of one day share a shift, those of ten minutes another one within it, and so on: periods are nested. With
o_g the offset of a group g, a user and a period, and v_l the variance of those of a level over that of the noise, the objective has
besides

    sum over levels l  sum over groups g of the level  o_g^2 / v_l,

and the target of a rating is less the offsets of its groups. Given all the rest, the bias of a user and the offsets of his groups
are a tree, and the best of them all is found exactly, by one pass up and one pass down: with N the (weighted) number of
ratings of a group, S the sum of their residuals and x what is above the group, the best offset is

    o = (S - N x) / (N + 1 / v),        and of the group N and S are left to the one above times 1 / (1 + N v).

The variances are learned once, after the first sweep, by the analysis of variance of nested random effects: the sums of squares
between groups are what they are expected to be. A user's mean does not enter it.

References
----------
Y. Koren, "Collaborative filtering with temporal dynamics", KDD 2009, pages 447-456 (a bias of each user and day).

C. R. Henderson, "Estimation of variance and covariance components", Biometrics 9, 1953, pages 226-252 (unbalanced nested designs).
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx import _scores
from alsx._solver.rows import RowPrior, RowSystems
from alsx.ratings import CSR
from alsx.ratings.sorting import transpose_entries

Array = NDArray[Any]
Floats = NDArray[np.float64]

# What a period of so many seconds is called.
PERIODS = {86400: "day", 600: "ten_minutes", 60: "minute"}

# The time of a rating that has none.
NO_TIME = np.iinfo(np.int64).min

# Ratings of a pass over residuals.
CHUNK_RATINGS = 2**20

# A bisection among some million groups takes about as many steps, each about as long as making the key of a group.
BISECTION_STEPS = 20

# Rows that come after the fit are solved in turn with their offsets until no offset changes by more than this share of the
# largest, in at most so many rounds. Each takes them closer by a factor of about 10.
CONVERGED, MAX_ROUNDS = 1e-6, 50

# The prior of the variance of offsets that a sampler draws, an inverse gamma distribution, in units in which the ratings have
# standard deviation 1: worth two groups of that variance.
PRIOR_GROUPS, PRIOR_VARIANCE = 2.0, 0.05


class GroupLevel(NamedTuple):
    """The groups of one level, users and periods, ascending.

    Parameters
    ----------
    seconds : int
        The length of a period.
    users : ndarray of int32, shape (n,)
        Codes.
    periods : ndarray of int64, shape (n,)
        The time over `seconds`, rounded down.
    parents : ndarray of int32, shape (n,)
        The group of the level before that each is within; of the first level the user.
    """

    seconds: int
    users: NDArray[np.int32]
    periods: NDArray[np.int64]
    parents: NDArray[np.int32]


class TimeGroups(NamedTuple):
    """Groups of ratings, nested.

    Parameters
    ----------
    levels : tuple of GroupLevel
        The coarsest first.
    leaves : ndarray of int32, shape (n_ratings,)
        The group of the last level of each rating.
    """

    levels: tuple[GroupLevel, ...]
    leaves: NDArray[np.int32]


def group_by_time(users: Array, timestamps: Array, seconds: tuple[int, ...]) -> TimeGroups:
    """Return the groups of ratings by user and time.

    Parameters
    ----------
    users : ndarray of int32, shape (n,)
        Codes.
    timestamps : ndarray of int64, shape (n,)
        Seconds.
    seconds : tuple of int
        The length of the periods of each level; each is a multiple of the next one.
    """
    periods = timestamps // seconds[-1]
    keys = _keys(users, periods, periods)
    order = np.lexsort((periods, users)) if keys is None else np.argsort(keys)
    users, periods = users[order], periods[order]
    first = _differs(users, periods)
    leaves = np.empty(len(order), np.int32)
    leaves[order] = np.cumsum(first) - 1
    users, periods = users[first].astype(np.int32), periods[first]
    levels: list[GroupLevel] = []
    for place in range(len(seconds) - 1, -1, -1):
        if not place:
            levels.append(GroupLevel(seconds[0], users, periods, users))
            break
        coarser = periods // (seconds[place - 1] // seconds[place])
        first = _differs(users, coarser)
        levels.append(GroupLevel(seconds[place], users, periods, (np.cumsum(first) - 1).astype(np.int32)))
        users, periods = users[first], coarser[first]
    return TimeGroups(tuple(reversed(levels)), leaves)


def _keys(users: Array, periods: Array, known: Array) -> NDArray[np.int64] | None:
    """Return numbers that are in the order of users and then of periods among known ones; None where int64 does not hold them."""
    if not len(known):
        return None
    low, high = int(known.min()), int(known.max())
    width = high - low + 3
    if width * (int(users.max(initial=0)) + 2) >= 2**63:
        return None
    # Periods beyond the known ones are all alike.
    return np.asarray(users.astype(np.int64) * width + (np.clip(periods, low - 1, high + 1) - (low - 1)))


def group_sums(groups: Array, values: Floats | None, n: int) -> Floats:
    """Return the sum of values (by default of ones) over each of n groups, in double precision, shape (n,)."""
    return np.asarray(np.bincount(groups, values, n), np.float64)


def _differs(users: Array, periods: Array) -> NDArray[np.bool_]:
    """Return which of ascending pairs are not the one before."""
    return np.concatenate([[True], (users[1:] != users[:-1]) | (periods[1:] != periods[:-1])])[: len(users)]


class Pass(NamedTuple):
    """What the pass up a tree leaves for the pass down.

    Parameters
    ----------
    counts, sums : list of ndarray of float64
        N and S of the groups of each level.
    user_counts, user_sums : ndarray of float64, shape (n_users,)
        What is left of both for the users' biases.
    """

    counts: list[Floats]
    sums: list[Floats]
    user_counts: Floats
    user_sums: Floats


def pass_up(levels: tuple[GroupLevel, ...], ratios: Floats, counts: Floats, sums: Floats, n_users: int) -> Pass:
    """Return what each group knows of what is above it, from N and S of the last level's groups."""
    all_counts, all_sums = [], []
    for place in range(len(levels) - 1, -1, -1):
        all_counts.append(counts)
        all_sums.append(sums)
        size = len(levels[place - 1].users) if place else n_users
        left = 1.0 / (1.0 + counts * ratios[place])
        parents = levels[place].parents
        counts, sums = (group_sums(parents, x * left, size) for x in (counts, sums))
    return Pass(all_counts[::-1], all_sums[::-1], counts, sums)


def pass_down(
    levels: tuple[GroupLevel, ...], ratios: Floats, known: Pass, biases: Floats, noise: Any = None
) -> tuple[list[Floats], Floats]:
    """Return the offsets of the groups of each level, and of each of the last level's groups the sum with those above it.

    Parameters
    ----------
    levels, ratios, known
        See `pass_up`.
    biases : ndarray of float64, shape (n_users,)
    noise : callable, default=None
        ``noise(n)`` returns deviations of the noise, for offsets that are drawn. Default: their means.
    """
    offsets, above = [], biases
    for level, ratio, counts, sums in zip(levels, ratios, known.counts, known.sums, strict=True):
        over = above[level.parents]
        scale = ratio / (1.0 + counts * ratio)
        own = scale * (sums - counts * over)
        if noise is not None:
            own += np.sqrt(scale) * noise(len(own))
        offsets.append(own)
        above = over + own
    return offsets, above - biases[levels[-1].users]


def variance_ratios(
    levels: tuple[GroupLevel, ...], weights: Floats, sums: Floats, squares: float, n: int
) -> tuple[Floats, float]:
    """Return the variance of the offsets of each level over that of the noise, at least 0, and the variance of the noise.

    Sums of squares between the groups of a level, within those of the level before, are set to their expectations, from the last
    level to the first.

    Parameters
    ----------
    levels : tuple of GroupLevel
    weights, sums : ndarray of float64
        The (weighted) number of ratings of each of the last level's groups, and the sum of their residuals.
    squares : float
        The sum of squared residuals.
    n : int
        The number of ratings of a weight above 0.
    """
    if not (np.isfinite(squares) and np.isfinite(sums).all()):
        return np.zeros(len(levels)), 0.0
    n_levels = len(levels)
    # Of each level and the users: how many groups there are, sum S^2 / N, and by level of the offsets sum (sum N_h^2) / N_g.
    groups, explained = np.zeros(n_levels + 1), np.zeros(n_levels + 1)
    shares = np.zeros((n_levels + 1, n_levels))
    inner: dict[int, Floats] = {}
    for place in range(n_levels, -1, -1):
        filled = weights > 0
        inverse = np.divide(1.0, weights, out=np.zeros(len(weights)), where=filled)
        groups[place], explained[place] = np.count_nonzero(filled), float(sums**2 @ inverse)
        if place:
            inner[place - 1] = weights**2
        for level, total in inner.items():
            shares[place, level] = float(total @ inverse)
        if place:
            parents = levels[place - 1].parents
            size = int(parents.max()) + 1
            inner = {level: group_sums(parents, total, size) for level, total in inner.items()}
            weights, sums = (group_sums(parents, x, size) for x in (weights, sums))
    ratios = np.zeros(n_levels)
    free = n - groups[-1]
    noise = max(squares - explained[-1], 0.0) / free if free > 0 else 0.0
    if not noise > 0:  # each rating has a period of its own, or there is nothing left to explain
        return ratios, 0.0
    for place in range(n_levels - 1, -1, -1):
        expected = shares[place + 1] - shares[place]
        between = explained[place + 1] - explained[place] - noise * (groups[place + 1] - groups[place])
        between -= noise * float(expected[place + 1 :] @ ratios[place + 1 :])
        if between > 0 and expected[place] > 0:
            ratios[place] = between / (noise * expected[place])
    return ratios, noise


def bias_prior(prior: RowPrior, table: Array, k: int) -> tuple[Floats, Floats]:
    """Return the precision and the mean of the prior of the rows' biases, given their factors.

    Parameters
    ----------
    prior : RowPrior
    table : ndarray, shape (n, ld)
        The rows.
    k : int
    """
    n = len(table)
    means = np.zeros((1, k + 1)) if prior.means is None else prior.means[:, : k + 1].astype(np.float64)
    if prior.precision is None:
        return prior.row_scale * prior.reg_bias, np.broadcast_to(means[:, k], n)
    own = float(prior.precision[k, k])
    # The conditional mean of a normal distribution, by its precision matrix.
    factors = table[:, :k].astype(np.float64) - means[:, :k]
    return np.full(n, own), means[:, k] - factors @ prior.precision[k, :k].astype(np.float64) / own


class TimeSnapshot(NamedTuple):
    """The offsets of a fit in rating units: a copy that later sweeps do not change.

    Parameters
    ----------
    offsets : list of ndarray of float64
        Of the groups of each level.
    ratios : ndarray of float64, shape (n_levels,)
        The variance of the offsets over that of the noise.
    variances : ndarray of float64, shape (n_levels,)
        Of the offsets, in squared rating units.
    """

    offsets: list[Floats]
    ratios: Floats
    variances: Floats


class TimeOffsets:
    """The offsets within a fit: the users' and the items' ratings are less them.

    Parameters
    ----------
    by_user, by_item : CSR
        The ratings.
    timestamps : ndarray of int64, shape (n_ratings,)
        In the order of `by_user`.
    seconds : tuple of int
        See `group_by_time`.
    mean, unit : float
        Of the ratings, as of `Alternation`.
    n_threads : int

    Attributes
    ----------
    by_user, by_item : CSR
        The ratings less their offsets; `improve` and `draw` change their values.
    groups : TimeGroups
    counts : ndarray of float64
        The (weighted) number of ratings of each of the last level's groups.
    ratios : ndarray of float64, or None
        The variance of the offsets of each level over that of the noise; None as long as it is not learned.
    variances : ndarray of float64, shape (n_levels,)
        Of the offsets.
    offsets : list of ndarray of float64
        Of the groups of each level, as the variances in units in which the ratings have standard deviation 1.
    """

    def __init__(
        self, by_user: CSR, by_item: CSR, timestamps: Array, seconds: tuple[int, ...], mean: float, unit: float,
        n_threads: int,
    ) -> None:  # fmt: skip
        n_users, self.mean, self.unit, self.n_threads = len(by_user.indptr) - 1, mean, unit, n_threads
        self.of_users, self.of_items = by_user.values, by_item.values
        self.by_user = by_user._replace(values=by_user.values.copy())
        self.by_item = by_item._replace(values=by_item.values.copy())
        users = np.repeat(np.arange(n_users, dtype=np.int32), np.diff(by_user.indptr))
        self.groups = group_by_time(users, timestamps, seconds)
        n_items = len(by_item.indptr) - 1
        self.item_leaves = transpose_entries(by_user.indptr, by_user.indices, self.groups.leaves, n_items, n_threads)[2]
        levels, weights = self.groups.levels, by_user.weights
        n_leaves = len(levels[-1].users)
        self.counts = group_sums(self.groups.leaves, weights, n_leaves)
        self.n_counted = len(by_user.values) if weights is None else int(np.count_nonzero(weights))
        self.offsets = [np.zeros(len(level.users)) for level in levels]
        self.variances = np.zeros(len(levels))
        self.ratios: Floats | None = None

    @property
    def penalty(self) -> float:
        """The part of the objective that the offsets have."""
        if self.ratios is None:
            return 0.0
        pairs = zip(self.offsets, self.ratios, strict=True)
        return float(sum(own @ own / ratio for own, ratio in pairs if ratio > 0))

    def residuals(self, user_table: Array, item_table: Array, k: int) -> tuple[Floats, float]:
        """Return the sum of the residuals of each of the last level's groups, without offsets, and that of their squares."""
        rows = self.by_user
        sums, squares, first = np.zeros(len(self.counts)), 0.0, 0
        n_users = len(rows.indptr) - 1
        while first < n_users:
            # Whole users, at least one: leaves ascend by user, so that those of a chunk are a range.
            end = int(np.searchsorted(rows.indptr, rows.indptr[first] + CHUNK_RATINGS, side="right")) - 1
            end = max(end, first + 1)
            part = slice(int(rows.indptr[first]), int(rows.indptr[end]))
            users = np.repeat(np.arange(first, end, dtype=np.int32), np.diff(rows.indptr[first : end + 1]))
            out = np.empty(len(users))
            _scores.predict_pairs(users, rows.indices[part], user_table, item_table, k, 0.0, self.n_threads, out)
            np.subtract((self.of_users[part].astype(np.float64) - self.mean) / self.unit, out, out=out)
            if len(out):
                leaves = self.groups.leaves[part]
                weighted = out if rows.weights is None else out * rows.weights[part]
                squares += float(weighted @ out)
                low, high = int(leaves.min()), int(leaves.max()) + 1
                sums[low:high] += group_sums(leaves - low, weighted, high - low)
            first = end
        return sums, squares

    def learn(self, user_table: Array, item_table: Array, k: int) -> None:
        """Learn the variances of the offsets, which are 0 so far."""
        sums, squares = self.residuals(user_table, item_table, k)
        self.ratios, noise = variance_ratios(self.groups.levels, self.counts, sums, squares, self.n_counted)
        self.variances = self.ratios * noise

    @property
    def seconds(self) -> tuple[int, ...]:
        """The seconds of the periods of each level."""
        return tuple(level.seconds for level in self.groups.levels)

    def take_variances(self, ratios: Floats, variances: Floats) -> None:
        """Go on with the variances of an earlier fit, which are in squared rating units, and their ratios to the noise's."""
        self.ratios, self.variances = ratios.copy(), variances / self.unit**2

    def improve(self, user_table: Array, item_table: Array, k: int, prior: RowPrior) -> None:
        """Set users' biases and all offsets to what is best given all the rest; the objective cannot rise.

        Parameters
        ----------
        user_table, item_table : ndarray
            The users' biases are changed.
        k : int
        prior : RowPrior
            Of the users.
        """
        assert self.ratios is not None
        if not self.ratios.any():
            return
        known = self._known(user_table, item_table, k)
        precision, means = bias_prior(prior, user_table, k)
        user_table[:, k] = biases = best_biases(known, precision, means, user_table[:, k])
        self._set(known, biases)

    def draw(
        self,
        user_table: Array,
        item_table: Array,
        k: int,
        prior: RowPrior,
        noise_sd: float,
        generator: np.random.Generator,
    ) -> None:
        """Draw all offsets given all but the users' biases, which are drawn anew with the users' rows afterwards.

        Parameters
        ----------
        user_table, item_table, k, prior
            As of `improve`; the tables stay as they are, and precisions are relative to that of the noise.
        noise_sd : float
        generator : numpy.random.Generator
        """

        def noise(n: int) -> Floats:
            return noise_sd * generator.standard_normal(n)

        known = self._known(user_table, item_table, k)
        precision, means = bias_prior(prior, user_table, k)
        total = known.user_counts + precision
        biases = (known.user_sums + precision * means) / total + noise(len(total)) / np.sqrt(total)
        self._set(known, biases, noise)

    def draw_variances(self, noise_variance: float, generator: np.random.Generator) -> None:
        """Draw the variances of the offsets given these."""
        shapes = [(PRIOR_GROUPS + len(own)) / 2 for own in self.offsets]
        rates = [(PRIOR_GROUPS * PRIOR_VARIANCE + float(own @ own)) / 2 for own in self.offsets]
        self.variances = np.array([rate / generator.gamma(shape) for shape, rate in zip(shapes, rates, strict=True)])
        self.ratios = self.variances / noise_variance

    def snapshot(self) -> TimeSnapshot:
        """Return a copy of the offsets in rating units."""
        ratios = np.zeros(len(self.offsets)) if self.ratios is None else self.ratios.copy()
        return TimeSnapshot([self.unit * own for own in self.offsets], ratios, self.unit**2 * self.variances)

    def _known(self, user_table: Array, item_table: Array, k: int) -> Pass:
        """Return what the ratings say of biases and offsets, given all the rest."""
        assert self.ratios is not None
        levels = self.groups.levels
        sums, _ = self.residuals(user_table, item_table, k)
        sums += self.counts * user_table[levels[-1].users, k]
        return pass_up(levels, self.ratios, self.counts, sums, len(user_table))

    def _set(self, known: Pass, biases: Floats, noise: Any = None) -> None:
        """Set the offsets, and the ratings to what they are less the offsets of their groups."""
        assert self.ratios is not None
        self.offsets, leaves = pass_down(self.groups.levels, self.ratios, known, biases, noise)
        shift = self.unit * leaves
        for values, out, groups in (
            (self.of_users, self.by_user.values, self.groups.leaves),
            (self.of_items, self.by_item.values, self.item_leaves),
        ):
            for start in range(0, len(values), CHUNK_RATINGS):
                part = slice(start, start + CHUNK_RATINGS)
                np.subtract(values[part], shift[groups[part]], out=out[part], casting="same_kind")


def best_biases(known: Pass, precision: Floats, means: Floats, old: Array) -> Floats:
    """Return the best biases of users, shape (n_users,); those that nothing is known of stay as they are."""
    total = known.user_counts + precision
    best = old.astype(np.float64)
    return np.divide(known.user_sums + precision * means, total, out=best, where=total > 0)


class Solved(NamedTuple):
    """Groups of rows that came after the fit, with their offsets.

    Parameters
    ----------
    levels : tuple of GroupLevel
    counts : list of ndarray of float64
        The (weighted) numbers of ratings of the groups of each level.
    offsets : list of ndarray of float64
        In rating units.
    """

    levels: tuple[GroupLevel, ...]
    counts: list[Floats]
    offsets: list[Floats]


def solve_rows(
    systems: RowSystems, timestamps: Array, seconds: tuple[int, ...], ratios: Floats, out: Array, loss: Floats, n_threads: int
) -> Solved:  # fmt: skip
    """Solve rows of users together with the offsets of their ratings.

    Rows given offsets, and biases and offsets given factors, are solved in turn until they stay; the rows come last.

    Parameters
    ----------
    systems : RowSystems
        In rating units.
    timestamps : ndarray of int64, shape (n_ratings,)
        `NO_TIME` of ratings whose time is not known, which have no offset.
    seconds : tuple of int
    ratios : ndarray of float64, shape (n_levels,)
    out, loss, n_threads
        As of `RowSystems.solve`.
    """
    ratings, k, n = systems.ratings, systems.k, len(systems)
    rows = np.repeat(np.arange(n, dtype=np.int32), systems.counts)
    timed = np.flatnonzero(timestamps != NO_TIME)
    levels, leaves = group_by_time(rows[timed], timestamps[timed], seconds)
    weights = np.ones(len(rows)) if ratings.weights is None else ratings.weights.astype(np.float64)
    n_leaves = len(levels[-1].users)
    counts = group_sums(leaves, weights[timed], n_leaves)
    untimed = np.ones(len(rows), bool)
    untimed[timed] = False
    values, shift = ratings.values.astype(np.float64), np.zeros(len(rows))
    others = systems.other[ratings.indices, : k + 1].astype(np.float64)
    targets = (values - systems.offset) / systems.unit - others[:, k]
    own_counts = group_sums(rows[untimed], weights[untimed], n)
    offsets = [np.zeros(len(level.users)) for level in levels]
    for _ in range(MAX_ROUNDS):
        shifted = ratings._replace(values=(values - shift).astype(ratings.values.dtype))
        dataclasses.replace(systems, ratings=shifted).solve(out, loss, n_threads)
        left = targets - np.einsum("ij,ij->i", out[rows, :k].astype(np.float64), others[:, :k])
        known = pass_up(levels, ratios, counts, group_sums(leaves, (weights * left)[timed], n_leaves), n)
        own = group_sums(rows[untimed], (weights * left)[untimed], n)
        known = known._replace(user_counts=known.user_counts + own_counts, user_sums=known.user_sums + own)
        biases = best_biases(known, *bias_prior(systems.prior, out, k), out[:, k])
        offsets, found = pass_down(levels, ratios, known, biases)
        before = shift
        shift = np.zeros(len(rows))
        shift[timed] = found[leaves]
        if np.abs(shift - before).max(initial=0.0) <= CONVERGED * np.abs(shift).max(initial=0.0):
            break
    shifted = ratings._replace(values=(values - shift).astype(ratings.values.dtype))
    dataclasses.replace(systems, ratings=shifted).solve(out, loss, n_threads)
    return Solved(levels, counts_of_levels(levels, counts), offsets)


def counts_of_levels(levels: tuple[GroupLevel, ...], counts: Floats) -> list[Floats]:
    """Return the (weighted) numbers of ratings of the groups of each level, from those of the last one."""
    found = [counts]
    for place in range(len(levels) - 1, 0, -1):
        found.append(group_sums(levels[place].parents, found[-1], len(levels[place - 1].users)))
    return found[::-1]


class Places(NamedTuple):
    """The groups that pairs of a user and a time are in.

    Parameters
    ----------
    of_levels : list of ndarray of int64, shape (n,)
        Of each level; -1 where there is none. Of the first level it is the group of the user's nearest period, where he has any.
    is_known : ndarray of bool, shape (n,)
        Whether that is the period itself.
    """

    of_levels: list[NDArray[np.int64]]
    is_known: NDArray[np.bool_]

    def sums(self, values: list[Floats]) -> Floats:
        """Return the sum over the levels of what the groups have, shape (n,)."""
        out = np.zeros(len(self.is_known))
        for places, own in zip(self.of_levels, values, strict=True):
            inside = np.flatnonzero(places >= 0)
            out[inside] += own[places[inside]]
        return out


def find_groups(levels: tuple[GroupLevel, ...], users: Array, timestamps: Array) -> Places:
    """Return the groups of pairs.

    Parameters
    ----------
    levels : tuple of GroupLevel
    users : ndarray, shape (n,)
        Codes; -1 has no groups.
    timestamps : ndarray of int64, shape (n,)
        `NO_TIME` has no groups.
    """
    found, is_known = [], np.zeros(len(users), bool)
    has_time = (timestamps != NO_TIME) & (users >= 0)
    for depth, level in enumerate(levels):
        if not len(level.users):
            found.append(np.full(len(users), -1, np.int64))
            continue
        wanted = timestamps // level.seconds
        first = _first_not_before(level, users, wanted)
        after, before = np.minimum(first, len(level.users) - 1), np.maximum(first - 1, 0)
        has_after = has_time & (first < len(level.users)) & (level.users[after] == users)
        same = has_after & (level.periods[after] == wanted)
        places = np.where(same, after, -1)
        if not depth:
            is_known = same
            # What a user's ratings have in common lasts: of an unknown period the nearest one tells most, of two the earlier one.
            has_before = has_time & (first > 0) & (level.users[before] == users)
            is_nearer = ~has_after | (wanted - level.periods[before] <= level.periods[after] - wanted)
            places = np.where(~same & has_after, after, places)
            places = np.where(~same & has_before & is_nearer, before, places)
        found.append(places.astype(np.int64))
    return Places(found, is_known)


def _first_not_before(level: GroupLevel, users: Array, periods: Array) -> NDArray[np.int64]:
    """Return for each pair the first group that is not before it, in the order of users and then of periods."""
    n = len(level.users)
    if len(users) * BISECTION_STEPS > n:  # else the keys of all groups would take longer
        asked, keys = _keys(users, periods, level.periods), _keys(level.users, level.periods, level.periods)
        if asked is not None and keys is not None:
            return np.searchsorted(keys, asked)
    low, high = np.zeros(len(users), np.int64), np.full(len(users), n, np.int64)
    while (open_ := np.flatnonzero(low < high)).size:
        middle = (low[open_] + high[open_]) // 2
        user, period = level.users[middle], level.periods[middle]
        is_before = (user < users[open_]) | ((user == users[open_]) & (period < periods[open_]))
        low[open_] = np.where(is_before, middle + 1, low[open_])
        high[open_] = np.where(is_before, high[open_], middle)
    return low

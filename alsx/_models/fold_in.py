"""Users and items that come after the fit: one row solve each, the same for both sides."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._models.features import place_features
from alsx._models.seen import merge_items, merge_users
from alsx._models.side import FittedSide, Merge
from alsx._models.times import TimeEffects, less_shifts, user_means, with_values
from alsx._models.training import FIT, check_counts, read_timed, singular_message
from alsx._solver.missing import MissingPairs
from alsx._solver.posterior import Evidence, counted
from alsx._solver.rows import RowBase, RowSystems, SingularRowError
from alsx._solver.tables import factor_table, weight_sums
from alsx._solver.time_offsets import NO_TIME, Solved, solve_rows
from alsx._solver.uncertainty import Uncertainty
from alsx.ratings import CSR, Caller, Ids, Ratings, read_ratings
from alsx.ratings.sorting import transpose

Array = NDArray[Any]
Floats = NDArray[np.float64]

# What messages call the ratings of guests.
RATINGS = Caller("ratings", "ratings", options="Ratings")


class FoldedModel(NamedTuple):
    """A model after rows were folded in.

    Parameters
    ----------
    users, items : FittedSide
    seen : CSR
        The ratings by user.
    uncertainty : Uncertainty or None
    ids : ndarray
        Of the rows that were folded in, ascending.
    times : TimeEffects or None
        Offsets of time.
    """

    users: FittedSide
    items: FittedSide
    seen: CSR
    uncertainty: Uncertainty | None
    ids: Array
    times: TimeEffects | None = None


def fold_in(
    own: FittedSide,
    other: FittedSide,
    seen: CSR,
    mean: float,
    missing: MissingPairs | None,
    uncertainty: Uncertainty | None,
    R: Any,
    y: Any,
    sample_weight: Any,
    features: Any,
    n_jobs: int | None,
    n_threads: int,
    times: TimeEffects | None = None,
) -> FoldedModel:
    """Return the model that knows new rows of one side.

    Parameters
    ----------
    own, other : FittedSide
        The side that rows are folded into, and the other one.
    seen : CSR
        The ratings seen, by user.
    mean : float
        Of the training ratings.
    missing : MissingPairs or None
        What pairs without a rating count as; None for nothing.
    uncertainty : Uncertainty or None
    R, y, sample_weight, features
        As of `FactorALS.fold_in`.
    n_jobs : int or None
        As the caller gave it.
    n_threads : int
    times : TimeEffects, default=None
        Offsets of time, of a model that has them.
    """
    ratings = CSR(np.zeros(1, np.int64), np.empty(0, np.int32), other.table[0:0, 0], None)
    ids, given = None, np.empty(0, np.int64)
    if R is not None:
        ids, ratings, given = _new_ratings(
            own, other, R, y, sample_weight, n_jobs, missing, needs_times=times is not None
        )
    matrix = None
    if features is not None:
        ids, ratings, matrix = _new_features(own, ids, ratings, features)
    update = 1 + max(own.last_update, other.last_update)
    new, errors, solved = _solved(
        own, other, mean, missing, Ids(ids, own.name), ratings, matrix, n_threads, update, times, given
    )
    merge = Merge.of(own.ids, new.ids, f"{own.name}s")
    merged = own.merged(new, merge)
    if uncertainty is not None:
        counting = counted(ratings)
        evidence = Evidence(counting.indptr, counting.indices, own.solving(other)[0], errors)
        uncertainty = uncertainty.folded(own.name, evidence, merge.from_old, merge.from_new, len(merge))
    other = other.after_merge(merge, merged)
    if own.name == "user":
        other.packed(n_threads)  # once, for all users to come
        all_seen = merge_users(seen, ratings, merge)
        if times is not None and solved is not None:
            when = times.seen
            if len(when) == len(seen.indices):
                when = merge_users(with_values(seen, when), with_values(ratings, given), merge).values
            times = times.among(merge.from_old, len(merge)).with_rows(merge.from_new, solved, when)
        return FoldedModel(merged, other, all_seen, uncertainty, new.ids.values, times)
    all_seen = merge_items(seen, ratings, merge)
    if times is not None and len(times.seen) == len(seen.indices):
        when = merge_items(with_values(seen, times.seen), with_values(ratings, given), merge).values
        times = dataclasses.replace(times, seen=when)
    return FoldedModel(other, merged, all_seen, uncertainty, new.ids.values, times)


class Guests(NamedTuple):
    """Users who are folded in for one call, by themselves.

    Parameters
    ----------
    users : FittedSide
        They alone.
    seen : CSR
        Their ratings.
    uncertainty : Uncertainty or None
        Of a model whose users they are.
    """

    users: FittedSide
    seen: CSR
    uncertainty: Uncertainty | None


def guests(
    users: FittedSide,
    items: FittedSide,
    mean: float,
    missing: MissingPairs | None,
    uncertainty: Uncertainty | None,
    R: Any,
    y: Any,
    n_jobs: int | None,
    n_threads: int,
) -> Guests:
    """Return the users of some ratings by themselves: the model is not copied, so that it takes no longer than their solves.

    Parameters
    ----------
    users, items, mean, missing, uncertainty, n_jobs, n_threads
        As of `fold_in`.
    R, y
        Ratings, as `fit` takes them.
    """
    ids, ratings, _ = _new_ratings(users, items, R, y, None, n_jobs, missing, RATINGS)
    new, errors, _ = _solved(users, items, mean, missing, Ids(ids, "users"), ratings, None, n_threads)
    if uncertainty is not None:
        counting = counted(ratings)
        evidence = Evidence(counting.indptr, counting.indices, users.solving(items)[0], errors)
        uncertainty = uncertainty.of_new_users(evidence)
    return Guests(new, ratings, uncertainty)


def _new_ratings(
    own: FittedSide,
    other: FittedSide,
    R: Any,
    y: Any,
    sample_weight: Any,
    n_jobs: int | None,
    missing: MissingPairs | None,
    caller: Caller = FIT,
    *,
    needs_times: bool = False,
) -> tuple[Array, CSR, Array]:
    """Return the ids of new rows, their ratings with codes of the other side, ascending in each row, and when they were given.

    Times are `NO_TIME` where they are not known, and none where they are not needed.
    """
    timestamp = None if needs_times else False
    ratings = read_more(missing, R, y, sample_weight, other.table.dtype, n_jobs, caller, timestamp=timestamp)
    mine, theirs, rows = ratings.user_ids, ratings.item_ids, ratings.by_user
    times = np.empty(0, np.int64)
    if needs_times:
        times = np.full(ratings.n_ratings, NO_TIME) if ratings.timestamps is None else ratings.timestamps
    if own.name == "item":
        mine, theirs, rows = theirs, mine, ratings.by_item
        if needs_times:
            times = transpose(with_values(ratings.by_user, times), ratings.n_items, 1).values
    # Ids of another kind are refused: they cannot be in one model with those that are there.
    own.ids.codes(mine, caller.data)
    codes = np.asarray(other.ids.codes(theirs, caller.data))
    # A sparse matrix has columns without ratings, which need not be known.
    used = np.unique(rows.indices)
    unknown = used[codes[used] < 0]
    if len(unknown):
        raise ValueError(
            f"{caller.data}: {other.name} {theirs[unknown[0]].item()!r} was not among the training ratings, so it can tell nothing "
            f"of a new {own.name}: leave it out, or fold it in first with side={other.name!r}"
        )
    return mine, rows._replace(indices=codes[rows.indices]), times


def read_more(
    missing: MissingPairs | None,
    R: Any,
    y: Any,
    sample_weight: Any,
    dtype: np.dtype[Any],
    n_jobs: int | None,
    caller: Caller = FIT,
    *,
    timestamp: bool | None = False,
) -> Ratings:
    """Read ratings that come after a fit; of implicit feedback they are counts, which are added up.

    `timestamp` is True where times are needed, None where they are read if there are any.
    """
    implicit = missing is not None and missing.confidence is not None
    options = {
        "sample_weight": sample_weight,
        "dtype": dtype,
        "n_jobs": n_jobs,
        "duplicates": "sum" if implicit else "raise",
    }
    if timestamp is None:
        ratings = read_ratings(R, y, caller=caller, timestamp=None, **options)
    else:
        ratings = read_timed(R, y, caller, timestamp, **options)
    if implicit:
        check_counts(ratings, caller)
    return ratings


def _new_features(own: FittedSide, ids: Array | None, ratings: CSR, features: Any) -> tuple[Array, CSR, Any]:
    """Return the ids of all new rows, with ratings or features, their ratings, and their features."""
    if own.encoder is None:
        raise ValueError(
            f"features: the model was fitted without {own.name}_features, so it has learned nothing of them"
        )
    described, encoded = own.encoder.transform(features, "features", own.name, ids)
    own.ids.codes(described, "features")
    union = Ids(np.unique(described if ids is None else np.union1d(ids, described)), "features")
    matrix = place_features(encoded, np.asarray(union.codes(described, "features")), len(union))
    counts = np.zeros(len(union), np.int64)
    if ids is not None:
        counts[union.codes(ids)] = np.diff(ratings.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return union.values, ratings._replace(indptr=indptr), matrix


def _solved(
    own: FittedSide,
    other: FittedSide,
    mean: float,
    missing: MissingPairs | None,
    ids: Ids,
    ratings: CSR,
    features: Any,
    n_threads: int,
    update: int = 0,
    times: TimeEffects | None = None,
    given: Array | None = None,
) -> tuple[FittedSide, Floats, Solved | None]:
    """Return new rows as a side, their squared errors, and offsets of time of users.

    `update` is the number of the update that they come with, `given` is when the ratings were given.
    """
    learned_from = own.were_fitted(np.asarray(own.ids.codes(ids.values)))
    out, errors, solved = solve(
        own, other, mean, missing, ids.values, ratings, features, learned_from, n_threads, times, given
    )
    counts = np.diff(ratings.indptr)
    has_data = counts > 0 if features is None else (counts > 0) | (np.diff(features.indptr) > 0)
    side = FittedSide(own.name, ids, counts, has_data, out, own.k, own.prior, own.encoder, features, own.basis)
    return dataclasses.replace(side, solved_at=np.full(len(ids), update, np.int32)), errors, solved


def solve(
    own: FittedSide,
    other: FittedSide,
    mean: float,
    missing: MissingPairs | None,
    ids: Array,
    ratings: CSR,
    features: Any,
    learned_from: Array,
    n_threads: int,
    times: TimeEffects | None = None,
    given: Array | None = None,
) -> tuple[Array, Floats, Solved | None]:
    """Solve rows of one side from what those of the fit were solved from.

    Parameters
    ----------
    own, other : FittedSide
    mean : float
        Of the training ratings.
    missing : MissingPairs or None
        What pairs without a rating count as.
    ids : ndarray, shape (n,)
        Of the rows, for messages.
    ratings : CSR
        Of the n rows, with codes of the other side.
    features : scipy CSR array, shape (n, f), or None
    learned_from : ndarray of bool, shape (n,)
        Which rows took part in the fit.
    n_threads : int
    times : TimeEffects, default=None
        Offsets of time, of a model that has them: those of users are solved with them, and items' ratings are less those of users.
    given : ndarray of int64, shape (n_ratings,), default=None
        When the ratings were given.

    Returns
    -------
    rows : ndarray, shape (n, ld)
    errors : ndarray of float64, shape (n,)
        Their squared errors.
    solved : Solved or None
        The offsets of users; the mean of each one's is part of his bias.
    """
    k, dtype, n = own.k, other.table.dtype, len(ids)
    out, means, loss = factor_table(n, k, dtype), factor_table(n, k, dtype), np.zeros((n, 2))
    evidence = ratings if missing is None else missing.evidence(ratings)
    means[:, : k + 1] = own.solving(other)[1].means(evidence, features, k, learned_from)
    solved = None
    if times is not None and given is not None and own.name == "item":
        evidence = less_shifts(evidence, times.shifts(evidence.indices, given))
    systems = row_systems(own, other, mean, missing, evidence, means, n_threads)
    try:
        with np.errstate(all="ignore"):
            if times is None or given is None or own.name == "item":
                systems.solve(out, loss, n_threads)
            else:
                solved = solve_rows(systems, given, times.seconds, times.ratios, out, loss, n_threads)
                out[:, k] += user_means(solved.levels, solved.counts, solved.offsets, n)
    except SingularRowError as error:
        raise np.linalg.LinAlgError(singular_message(error, ids)) from None
    beyond = np.flatnonzero(~(np.isfinite(out).all(axis=1) & np.isfinite(loss[:, 0])))
    if len(beyond):
        raise FloatingPointError(
            f"R: the ratings of {own.name} {ids[beyond[0]].item()!r} leave the range of {dtype} numbers: give them on the "
            "scale of the fit"
        )
    return out, loss[:, 0], solved


def row_systems(
    own: FittedSide,
    other: FittedSide,
    mean: float,
    missing: MissingPairs | None,
    evidence: CSR,
    means: Array,
    n_threads: int,
) -> RowSystems:
    """Return the systems, in rating units, of rows of one side with these ratings, from what rows of the fit were solved from.

    Parameters
    ----------
    own, other, mean, missing, n_threads
        As of `fold_in`.
    evidence : CSR
        Ratings by row, as `MissingPairs.evidence` returns them where there are any; `indices` are rows of `other`.
    means : ndarray, shape (n, ld)
        Prior means.
    """
    (table, fitted), unit, base = own.solving(other), 1.0, None
    weight_sum = weight_sums(evidence.indptr, evidence.weights)
    if missing is not None:
        unit = missing.unit_of(1.0)
        base = RowBase(own.gram_of_missing(other, n_threads), missing.scales(weight_sum))
    prior = fitted.row_prior(weight_sum, means)
    return RowSystems(evidence, table, own.k, prior, mean, unit, own.name, base=base)

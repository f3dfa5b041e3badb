"""Ratings that come after the fit: the rows that they touch are solved again, and no others."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._models.features import place_features
from alsx._models.fold_in import read_more, solve
from alsx._models.seen import add_ratings, columns_of, count_items, rows_of
from alsx._models.side import FittedSide, Merge
from alsx._models.state import ModelState
from alsx._models.times import TimeEffects, times_of_rows, with_values
from alsx._models.training import fitted_uncertainty
from alsx._solver.tables import factor_table
from alsx._solver.uncertainty import Errors, Uncertainty
from alsx.ratings import CSR, Ids

Array = NDArray[Any]
Floats = NDArray[np.float64]


class Coming(NamedTuple):
    """Ratings that come, by ids.

    Parameters
    ----------
    users, items : ndarray, shape (n,)
        Ids, ascending by user and then by item.
    values : ndarray, shape (n,)
    weights : ndarray, shape (n,), or None
    times : ndarray of int64, shape (n,), or None
        When they were given; of a model with offsets of time.
    """

    users: Array
    items: Array
    values: Array
    weights: Array | None
    times: Array | None = None


class Described(NamedTuple):
    """Features of some rows of one side.

    Parameters
    ----------
    ids : ndarray, shape (m,)
        Ascending.
    matrix : scipy CSR array, shape (m, f)
        Encoded, with the intercept.
    """

    ids: Array
    matrix: Any


def partial_fit(
    state: ModelState,
    R: Any,
    y: Any,
    sample_weight: Any,
    features: tuple[Any, Any],
    refine: int,
    every_row: bool,
    n_jobs: int | None,
    n_threads: int,
) -> tuple[ModelState, NDArray[np.int64]]:
    """Return the model after ratings came, and how many ratings each item has.

    Parameters
    ----------
    state : ModelState
    R, y, sample_weight, features, refine
        As of `Updates.partial_fit`; `features` is a pair (users, items).
    every_row : bool
        Whether the sweeps of `refine` are over all rows.
    n_jobs : int or None
        As the caller gave it.
    n_threads : int
    """
    coming = _read(state, R, y, sample_weight, n_jobs)
    told = [
        _described(side, given, f"{side.name}_features")
        for side, given in zip((state.users, state.items), features, strict=True)
    ]
    users, items, seen = _with_unseen(state, coming, told)
    times = state.times
    if times is not None:
        times = times.among(np.asarray(users.ids.codes(state.users.ids.values)), len(users))
    user_codes, item_codes = np.asarray(users.ids.codes(coming.users)), np.asarray(items.ids.codes(coming.items))
    change = add_ratings(seen, user_codes, item_codes, coming.values, coming.weights)
    is_change = change.is_change
    if times is not None and coming.times is not None:
        moved = add_ratings(with_values(seen, times.seen), user_codes, item_codes, coming.times, None)
        times, is_change = dataclasses.replace(times, seen=moved.seen.values), is_change | moved.is_change
    sides = [users, items]
    touched = [user_codes[is_change], item_codes[is_change]]
    for place, one in enumerate(told):
        if one is not None:
            codes = np.asarray(sides[place].ids.codes(one.ids))
            sides[place] = sides[place].with_features(codes, one.matrix)
            touched[place] = np.append(touched[place], codes)
    if not (refine or len(touched[0]) or len(touched[1])):
        return state, count_items(state.seen, len(state.items))
    update = _Update(state, sides[0], sides[1], change.seen, n_threads, times)
    codes_of_users, codes_of_items = (np.unique(codes) for codes in touched)
    # Unseen users are solved before the items, whose rows would be solved from somebody average else.
    update.solve_users(codes_of_users[np.asarray(state.users.ids.codes(sides[0].ids.values[codes_of_users])) < 0])
    update.solve_items(codes_of_items)
    update.solve_users(codes_of_users)
    if every_row:
        codes_of_users, codes_of_items = np.arange(len(users)), np.arange(len(items))
    for _ in range(refine):
        update.solve_items(codes_of_items)
        update.solve_users(codes_of_users)
    return update.state(coming.values), count_items(change.seen, len(items))


class _Update:
    """A model while rows of it are solved again."""

    def __init__(
        self,
        state: ModelState,
        users: FittedSide,
        items: FittedSide,
        seen: CSR,
        n_threads: int,
        times: TimeEffects | None,
    ) -> None:
        self.times = times
        self.before, self.users, self.items, self.seen, self.n_threads = state, users, items, seen, n_threads
        self.number = 1 + max(state.users.last_update, state.items.last_update)
        self.errors = None if state.uncertainty is None else _errors(state, users, items)

    def solve_users(self, codes: Array) -> None:
        """Solve users again."""
        if len(codes):
            given = None if self.times is None else times_of_rows(self.seen, self.times.seen, codes)
            self.users = self._solved(self.users, self.items, codes, rows_of(self.seen, codes), 0, given)
            self.items = self.items.after_solve(codes, self.users)

    def solve_items(self, codes: Array) -> None:
        """Solve items again."""
        if len(codes):
            ratings, given = columns_of(self.seen, codes, len(self.items), self.n_threads), None
            if self.times is not None:
                timed = with_values(self.seen, self.times.seen)
                given = columns_of(timed, codes, len(self.items), self.n_threads).values
            self.items = self._solved(self.items, self.users, codes, ratings, 1, given)
            self.users = self.users.after_solve(codes, self.items)

    def _solved(
        self, own: FittedSide, other: FittedSide, codes: Array, ratings: CSR, place: int, given: Array | None
    ) -> FittedSide:
        """Return one side with rows solved again from their ratings; `given` is when these were given."""
        features = None if own.features is None else own.features[codes]
        rows, errors, solved = solve(
            own,
            other,
            self.before.mean,
            self.before.missing,
            own.ids.values[codes],
            ratings,
            features,
            own.were_fitted(codes),
            self.n_threads,
            self.times,
            given,
        )
        if self.times is not None and solved is not None:
            self.times = self.times.with_rows(codes, solved, self.times.seen)
        if self.errors is not None:
            self.errors[place][codes] = errors
        counts = np.diff(ratings.indptr)
        has_data = counts > 0 if features is None else (counts > 0) | (np.diff(features.indptr) > 0)
        return own.resolved(codes, rows, counts, has_data, self.number)

    def state(self, values: Array) -> ModelState:
        """Return the model; `values` are the ratings that came."""
        before, uncertainty = self.before, None
        if self.errors is not None:
            assert before.uncertainty is not None
            errors = Errors(*self.errors, before.uncertainty.error_shape)
            uncertainty = fitted_uncertainty(self.users, self.items, self.seen, errors)
        low, high = before.rating_range
        if len(values):
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        # Kept draws have rows for the users and items of the fit.
        chain = None if before.chain is None else before.chain._replace(samples=None)
        return before._replace(
            users=self.users,
            items=self.items,
            seen=self.seen,
            uncertainty=uncertainty,
            chain=chain,
            rating_range=(low, high),
            times=self.times,
        )


def _read(state: ModelState, R: Any, y: Any, sample_weight: Any, n_jobs: int | None) -> Coming:
    """Return the ratings that come, by ids."""
    dtype = state.users.table.dtype
    has_times = state.times is not None
    if R is None:
        none, no_times = np.empty(0, dtype), np.empty(0, np.int64)
        return Coming(
            state.users.ids.values[:0], state.items.ids.values[:0], none, None, no_times if has_times else None
        )
    ratings = read_more(state.missing, R, y, sample_weight, dtype, n_jobs, timestamp=has_times)
    # Ids of another kind are refused: they cannot be in one model with those that are there.
    state.users.ids.codes(ratings.user_ids, "R")
    state.items.ids.codes(ratings.item_ids, "R")
    users, items, values = ratings.triples()
    times = ratings.timestamps if has_times else None
    return Coming(ratings.user_ids[users], ratings.item_ids[items], values, ratings.by_user.weights, times)


def _described(side: FittedSide, given: Any, name: str) -> Described | None:
    """Return features of some rows."""
    if given is None:
        return None
    if side.encoder is None:
        raise ValueError(f"{name}: the model was fitted without {name}, so it has learned nothing of them")
    ids, encoded = side.encoder.transform(given, name, side.name)
    side.ids.codes(ids, name)
    order = np.argsort(ids, kind="stable")
    return Described(ids[order], place_features(encoded[order], np.arange(len(ids)), len(ids)))


def _with_unseen(state: ModelState, coming: Coming, told: list[Described | None]) -> tuple[FittedSide, FittedSide, CSR]:
    """Return users, items and ratings seen among all ids; unseen rows are at first like those of which nothing is known."""
    users, items, seen = state.users, state.items, state.seen
    unseen = _unseen(users, coming.users, told[0])
    if len(unseen):
        merge = Merge.of(users.ids, Ids(unseen, "users"), "users")
        users = users.merged(_placeholder(users, unseen), merge)
        items = items.after_merge(merge, users)
        counts = np.zeros(len(merge), np.int64)
        counts[merge.from_old] = np.diff(seen.indptr)
        seen = seen._replace(indptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    unseen = _unseen(items, coming.items, told[1])
    if len(unseen):
        merge = Merge.of(items.ids, Ids(unseen, "items"), "items")
        items = items.merged(_placeholder(items, unseen), merge)
        users = users.after_merge(merge, items)
        seen = seen._replace(indices=merge.from_old[seen.indices])
    return users, items, seen


def _unseen(side: FittedSide, ids: Array, told: Described | None) -> Array:
    """Return the ids that a side lacks, ascending."""
    ids = np.unique(ids if told is None else np.union1d(ids, told.ids))
    return ids[np.asarray(side.ids.codes(ids)) < 0] if len(ids) else ids


def _placeholder(side: FittedSide, ids: Array) -> FittedSide:
    """Return rows of which nothing is known yet."""
    n = len(ids)
    table = factor_table(n, side.k, side.table.dtype)
    table[:, : side.k + 1] = side.cold_start_vector
    return FittedSide(
        side.name,
        Ids(ids, f"{side.name}s"),
        np.zeros(n, np.int64),
        np.zeros(n, bool),
        table,
        side.k,
        side.prior,
        side.encoder,
    )


def _errors(state: ModelState, users: FittedSide, items: FittedSide) -> tuple[Floats, Floats]:
    """Return the squared errors of all rows, 0 of unseen ones."""
    assert isinstance(state.uncertainty, Uncertainty)
    found = []
    for old, new, posterior in (
        (state.users, users, state.uncertainty.users),
        (state.items, items, state.uncertainty.items),
    ):
        errors = np.zeros(len(new))
        errors[np.asarray(new.ids.codes(old.ids.values))] = posterior.source.row_errors()
        found.append(errors)
    return found[0], found[1]

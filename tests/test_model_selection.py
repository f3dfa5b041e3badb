"""Splits: what is in which part, whatever the random state is."""

import datetime
import itertools

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from alsx import Ratings
from alsx.model_selection import (
    RatingKFold,
    RatingSplit,
    k_core,
    k_fold,
    train_test_split,
    train_validation_test_split,
)

BY = ("random", "user", "time")
ALL = (*BY, "last", "cold_users", "cold_items")


def make(n_users=40, n_items=60, density=0.3, seed=0, times=True):
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((n_users, n_items)) < density)
    stamps = rng.integers(0, 10**6, len(users)) if times else None
    return Ratings.from_arrays(
        users,
        [f"i{x}" for x in items],
        rng.integers(1, 11, len(users)) / 2,
        timestamps=stamps,
        sample_weight=rng.random(len(users)),
    )


def entries(R):
    u, i, r = R.triples()
    times = [None] * len(R) if R.timestamps is None else R.timestamps.tolist()
    return list(zip(u.tolist(), i.tolist(), r.tolist(), R.by_user.weights.tolist(), times, strict=True))


def assert_parts(R, *parts):
    """The parts are the whole, once each, with the same ids."""
    assert sorted(entry for part in parts for entry in entries(part)) == sorted(entries(R))
    for part in parts:
        np.testing.assert_array_equal(part.user_ids, R.user_ids)
        np.testing.assert_array_equal(part.item_ids, R.item_ids)
        assert part.dtype == R.dtype


def same(A, B):
    return entries(A) == entries(B)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5, 0.9])
def test_parts_are_the_whole(by, share):
    R = make()
    train, test = train_test_split(R, share, by=by, random_state=1)
    assert_parts(R, train, test)
    if by == "random":
        assert len(test) == round(share * len(R))
    assert len(test) == pytest.approx(share * len(R), abs=45 if by == "user" else 2)


def states():
    return {
        "int": lambda: 7,
        "numpy int": lambda: np.int64(7),
        "RandomState": lambda: np.random.RandomState(7),
        "Generator": lambda: np.random.default_rng(7),
    }


@pytest.mark.parametrize("state", states())
@pytest.mark.parametrize("by", ["random", "user"])
def test_random_states(by, state):
    R, new = make(), states()[state]
    first, second = train_test_split(R, by=by, random_state=new()), train_test_split(R, by=by, random_state=new())
    assert same(first[1], second[1])
    assert same(first[0], second[0])
    other = train_test_split(R, by=by, random_state=8)
    assert not same(first[1], other[1])
    if state in ("RandomState", "Generator"):
        # One that is used goes on.
        one = new()
        a, b = (train_test_split(R, by=by, random_state=one)[1] for _ in range(2))
        assert same(a, first[1])
        assert not same(a, b)


@pytest.mark.parametrize("by", ["random", "user"])
def test_no_random_state_is_new_each_time_and_leaves_the_global_one_alone(by):
    R = make()
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert not same(train_test_split(R, by=by)[1], train_test_split(R, by=by)[1])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def _none_drawn(R, share, seed):
    """Small shares of few users may come to nothing, which is said."""
    try:
        train_test_split(R, share, by="user", random_state=seed)
    except ValueError as error:
        return "no user has enough ratings" in str(error)
    return False


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_by_user_every_user_keeps_a_rating(counts, share, seed):
    counts[0] = 10
    matrix = scipy.sparse.coo_array(np.arange(10) < np.array(counts)[:, None]).astype(float)
    R = Ratings(matrix)
    wanted = share * np.array(counts)
    if share * 10 < 1 and _none_drawn(R, share, seed):
        return
    train, test = train_test_split(R, share, by="user", random_state=seed)
    left, taken = np.diff(train.by_user.indptr), np.diff(test.by_user.indptr)
    np.testing.assert_array_equal(left + taken, counts)
    assert (left[np.array(counts) > 0] >= 1).all()
    assert (taken >= np.minimum(np.floor(wanted), np.maximum(np.array(counts) - 1, 0))).all()
    assert (taken <= np.floor(wanted) + 1).all()


def test_by_user_the_expected_share_holds_for_small_users_too():
    # 4000 users of 3 ratings: a tenth is 0.3 a user, 1200 in all, standard deviation sqrt(4000 * 0.3 * 0.7) = 29.
    users = np.repeat(np.arange(4000), 3)
    R = Ratings.from_arrays(users, np.tile(np.arange(3), 4000), np.ones(12000))
    _, test = train_test_split(R, 0.1, by="user", random_state=0)
    assert abs(len(test) - 1200) < 5 * 29
    # And all three places are as likely: 400 each, standard deviation about 20.
    assert np.abs(np.diff(test.by_item.indptr) - 400).max() < 5 * 20


def test_at_random_all_places_are_as_likely():
    R = make(20, 30)
    hits = np.zeros(R.shape)
    for seed in range(400):
        u, i, _ = train_test_split(R, 0.25, random_state=seed)[1].triples()
        hits[u, i] += 1
    drawn = hits[R.to_csr().toarray() > 0]
    assert np.abs(drawn - 100).max() < 6 * np.sqrt(400 * 0.25 * 0.75)


@pytest.mark.parametrize(
    ("times", "share", "late"),
    [
        (list(range(10)), 0.1, [9]),
        (list(range(10)), 0.3, [7, 8, 9]),
        (list(range(10)), 0.25, [8, 9]),  # training is at least 7.5 of 10
        ([5, 1, 3, 2, 4, 6, 9, 8, 7, 0], 0.2, [8, 9]),
        ([0, 0, 0, 0, 0, 0, 0, 1, 1, 1], 0.2, None),  # the tie at 1 stays in training, and nothing is later
        ([0, 0, 0, 0, 0, 0, 0, 1, 1, 1], 0.3, [1, 1, 1]),
        ([0, 0, 0, 0, 0, 0, 1, 1, 2, 2], 0.3, [2, 2]),  # the last of training is at 1, with its twin
        ([3] * 10, 0.5, None),
        ([-5, 2**62, -(2**62), 0, 1, 2, 3, 4, 5, 6], 0.1, [2**62]),
    ],
)
def test_by_time(times, share, late):
    R = Ratings.from_arrays(np.arange(10)[::-1], np.zeros(10, int), np.ones(10), timestamps=times)
    if late is None:
        with pytest.raises(ValueError, match="no rating is later than the first"):
            train_test_split(R, share, by="time")
        return
    train, test = train_test_split(R, share, by="time")
    assert sorted(test.timestamps.tolist()) == late
    assert train.timestamps.max() < test.timestamps.min()
    assert len(train) + len(test) == 10
    assert len(test) <= share * 10 + 1e-9


def test_by_time_needs_timestamps():
    with pytest.raises(ValueError, match="by is 'time', but these ratings have no timestamps"):
        train_test_split(make(times=False), by="time")


@pytest.mark.parametrize("n_splits", [2, 3, 5])
def test_folds(n_splits):
    R = make()
    folds = list(k_fold(R, n_splits, random_state=3))
    assert len(folds) == n_splits
    assert_parts(R, *(test for _, test in folds))
    for train, test in folds:
        assert_parts(R, train, test)
        assert len(test) in (len(R) // n_splits, -(-len(R) // n_splits))
    again = list(k_fold(R, n_splits, random_state=np.int64(3)))
    assert all(same(a[1], b[1]) for a, b in zip(folds, again, strict=True))
    assert not same(folds[0][1], next(k_fold(R, n_splits, random_state=4))[1])


def test_takes_what_ratings_takes():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"user": ["a", "a", "b", "b"], "item": [1, 2, 1, 2], "rating": [1.0, 2, 3, 4]})
    train, test = train_test_split(table, 0.25, random_state=0)
    assert (len(train), len(test)) == (3, 1)
    train, test = train_test_split(scipy.sparse.random_array((30, 20), density=0.5, rng=np.random.default_rng(0)), 0.5)
    assert train.shape == test.shape == (30, 20)
    assert len(next(k_fold(table, 4))[1]) == 1


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"test_size": 0}, ValueError, "test_size is 0; it must be between 0 and 1"),
        ({"test_size": 1.0}, ValueError, "test_size is 1.0; it must be"),
        ({"test_size": -0.5}, ValueError, "test_size"),
        ({"test_size": 20.0}, ValueError, "test_size is 20.0; it must be between 0 and 1, .* or a count"),
        ({"test_size": 10**6}, ValueError, r"test_size is 1,000,000, but there are only \d+ ratings"),
        ({"test_size": 40, "by": "cold_users"}, ValueError, "test_size is 40, but there are only 40 users"),
        ({"test_size": 10**6, "by": "time"}, ValueError, r"test_size is 1,000,000, but there are only"),
        ({"at": 3}, ValueError, "at is given, but by is 'random'"),
        ({"at": 10**7, "by": "time"}, ValueError, "at is 10000000, and no ratings are from then on"),
        ({"at": -1, "by": "time"}, ValueError, "at is -1, and all ratings are from then on"),
        ({"given": 2}, ValueError, "given is 2, but by is 'random'"),
        ({"given": 1.5, "by": "cold_users"}, ValueError, "given is 1.5; it must be a share below 1"),
        ({"given": -1, "by": "cold_users"}, ValueError, "given is -1"),
        ({"given": 1000, "by": "cold_items"}, ValueError, "given is 1000, which leaves no ratings for the test"),
        ({"test_size": float("nan")}, ValueError, "test_size"),
        ({"test_size": "0.1"}, TypeError, "test_size"),
        ({"test_size": True}, TypeError, "test_size"),
        (
            {"by": "item"},
            ValueError,
            "by is 'item'; it must be one of 'random', 'user', 'last', 'time', 'cold_users', 'cold_items'",
        ),
        ({"by": None}, ValueError, "by is None"),
        ({"random_state": "x"}, TypeError, "random_state"),
        ({"random_state": -1}, ValueError, "random_state"),
    ],
)
def test_split_refused(options, error, sentence):
    with pytest.raises(error, match=sentence) as raised:
        train_test_split(make(), **options)
    assert len(str(raised.value)) <= 300


def test_too_few_ratings_refused():
    one = Ratings([(1, 2)], [3])
    with pytest.raises(ValueError, match="only one rating"):
        train_test_split(one)
    with pytest.raises(ValueError, match="no user has enough ratings"):
        train_test_split(one, by="user")
    with pytest.raises(ValueError, match="n_splits is 3, but there are only 1 ratings"):
        k_fold(one, 3)
    for wrong, error in ((1, ValueError), (2.5, TypeError)):
        with pytest.raises(error, match="n_splits"):
            k_fold(make(), wrong)
    with pytest.raises(TypeError, match="random_state"):
        k_fold(make(), random_state="x")


# ---------------------------------------------------------------------------------------------------------------------
# Counts, the last of each user, users and items whole, a given time


def counts_of(R, side="users"):
    return np.diff((R.by_user if side == "users" else R.by_item).indptr)


@pytest.mark.parametrize("by", ALL)
@pytest.mark.parametrize("size", [1, 3, 0.2])
def test_counts_and_shares(by, size):
    R = make()
    train, test = train_test_split(R, size, by=by, random_state=1)
    assert_parts(R, train, test)
    if by == "random":
        assert len(test) == (size if size >= 1 else round(size * len(R)))
    elif by in ("user", "last"):
        taken = counts_of(test)
        if size >= 1:
            np.testing.assert_array_equal(taken, np.minimum(size, counts_of(R) - 1))
        elif by == "last":
            np.testing.assert_array_equal(taken, np.floor(size * counts_of(R) + 1e-9))
        assert (counts_of(train) >= 1).all()
    elif by == "time":
        assert 0 < len(test) <= (size if size >= 1 else size * len(R))
    else:
        side = by.removeprefix("cold_")
        held = np.flatnonzero(counts_of(test, side))
        assert len(held) == (size if size >= 1 else round(size * len(counts_of(R, side))))
        assert not counts_of(train, side)[held].any()


def test_the_last_of_each_user():
    times = [5, 1, 9, 3, 7, 4, 4, 4]
    R = Ratings.from_arrays([1, 1, 1, 1, 1, 2, 2, 2], [1, 2, 3, 4, 5, 1, 2, 3], np.ones(8), timestamps=times)
    for size, wanted in ((2, [[3, 5], [2, 3]]), (0.4, [[3, 5], [3]]), (0.2, [[3], []]), (9, [[1, 3, 4, 5], [2, 3]])):
        _, test = train_test_split(R, size, by="last")
        found = np.split(test.by_user.indices, test.by_user.indptr[1:-1])
        assert [R.item_ids[x].tolist() for x in found] == wanted


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=2, max_size=40, unique=True), st.data())
def test_the_last_are_later_than_the_rest(pairs, data):
    times = data.draw(st.lists(st.integers(0, 5), min_size=len(pairs), max_size=len(pairs)))
    R = Ratings.from_arrays(*zip(*pairs, strict=True), np.ones(len(pairs)), timestamps=times)
    if counts_of(R).max() < 2:
        with pytest.raises(ValueError, match="no user has enough ratings"):
            train_test_split(R, 1, by="last")
        return
    train, test = train_test_split(R, 2, by="last")
    for user in range(R.n_users):
        before, after = (part.timestamps[slice(*part.by_user.indptr[user : user + 2])] for part in (train, test))
        if len(after):
            assert before.max() <= after.min()


@pytest.mark.parametrize(
    "kind",
    [
        int,
        lambda x: np.datetime64(x, "s"),
        lambda x: np.datetime64(x, "s").item(),
        lambda x: datetime.datetime.fromtimestamp(x, datetime.timezone(datetime.timedelta(hours=2))),
        lambda x: str(np.datetime64(x, "s")),
    ],
)
def test_from_a_time_on(kind):
    R = make()
    train, test = train_test_split(R, by="time", at=kind(600_000))
    assert_parts(R, train, test)
    assert train.timestamps.max() < 600_000 <= test.timestamps.min()


@pytest.mark.parametrize("side", ["users", "items"])
@pytest.mark.parametrize("given_", [1, 3, 0.5])
def test_some_ratings_of_those_held_out_are_given(side, given_):
    R = make()
    train, test = train_test_split(R, 7, by=f"cold_{side}", given=given_, random_state=2)
    assert_parts(R, train, test)
    held, all_ = np.flatnonzero(counts_of(test, side)), counts_of(R, side)
    assert len(held) == 7
    kept = np.minimum(given_, all_) if given_ >= 1 else np.round(given_ * all_)
    np.testing.assert_array_equal(counts_of(train, side)[held], kept[held])
    others = np.setdiff1d(np.arange(len(all_)), held)
    np.testing.assert_array_equal(counts_of(train, side)[others], all_[others])


@pytest.mark.parametrize("by", ALL)
@pytest.mark.parametrize("sizes", [(0.2, 0.1), (2, 1)])
def test_three_parts(by, sizes):
    R = make()
    parts = train_validation_test_split(R, *sizes, by=by, random_state=4)
    assert_parts(R, *parts)
    train, validation, test = parts
    assert all(
        same(a, b) for a, b in zip(parts, train_validation_test_split(R, *sizes, by=by, random_state=4), strict=True)
    )
    if by == "random":
        wanted = sizes if sizes[0] >= 1 else [round(x * len(R)) for x in sizes]
        assert [len(validation), len(test)] == list(wanted)
    elif by == "time":
        assert train.timestamps.max() < validation.timestamps.min()
        assert validation.timestamps.max() < test.timestamps.min()
        assert same(train_test_split(R, sizes[1], by="time")[1], test)
    elif by in ("user", "last"):
        if sizes[0] >= 1:
            np.testing.assert_array_equal(counts_of(validation), np.clip(counts_of(R) - 2, 0, 2))
        if by == "last":
            assert same(train_test_split(R, sizes[1], by="last")[1], test)
    else:
        sides = [np.flatnonzero(counts_of(part, by.removeprefix("cold_"))) for part in parts]
        assert len(np.unique(np.concatenate(sides))) == sum(map(len, sides))


def test_three_parts_refused():
    with pytest.raises(ValueError, match="validation_size is 0.5 and test_size 0.5; together they must be below 1"):
        train_validation_test_split(make(), 0.5, 0.5)
    with pytest.raises(ValueError, match="validation_size is 0; it must be"):
        train_validation_test_split(make(), 0, 0.5)
    with pytest.raises(ValueError, match="validation_size=39 leaves no|only 39 users left, of which 39"):
        train_validation_test_split(make(), 39, 1, by="cold_users")
    R = Ratings([(1, 1), (1, 2)], [1, 2])
    with pytest.raises(ValueError, match="validation_size=1 leaves no ratings for training"):
        train_validation_test_split(R, 1, 1)


@pytest.mark.parametrize("by", ["user", "cold_users", "cold_items"])
@pytest.mark.parametrize("n_splits", [2, 5])
def test_folds_of_users_and_items(by, n_splits):
    R = make()
    folds = list(k_fold(R, n_splits, by=by, random_state=3))
    assert_parts(R, *(test for _, test in folds))
    for train, test in folds:
        assert_parts(R, train, test)
        if by == "user":
            share = counts_of(R) / n_splits
            assert (np.floor(share) <= counts_of(test)).all()
            assert (counts_of(test) <= np.ceil(share)).all()
        else:
            side = by.removeprefix("cold_")
            assert not (counts_of(train, side) * counts_of(test, side)).any()
    assert same(folds[0][1], next(k_fold(R, n_splits, by=by, random_state=3))[1])


def test_folds_by_time_are_tested_by_what_came_before():
    R = make()
    folds = list(k_fold(R, 3, by="time"))
    assert_parts(R, folds[0][0], *(test for _, test in folds))
    for train, test in folds:
        assert train.timestamps.max() < test.timestamps.min()
        assert abs(len(test) - len(R) / 4) < 3
    for (_, before), (train, _) in itertools.pairwise(folds):
        assert train.timestamps.max() == before.timestamps.max()
    with pytest.raises(ValueError, match="so many ratings were given at one time"):
        k_fold(Ratings.from_arrays([1, 2, 3, 4], [1, 1, 1, 1], np.ones(4), timestamps=[1, 1, 1, 1]), 2, by="time")
    with pytest.raises(ValueError, match="n_splits is 5, but there are only 3 users"):
        k_fold(Ratings([(1, 1), (2, 1), (3, 1)], np.ones(3)), 5, by="cold_users")


@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=50, unique=True),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_k_core(pairs, users, items):
    R = Ratings(pairs, np.arange(1.0, len(pairs) + 1))
    # One at a time, in any order, comes to the same.
    left = set(pairs)
    while True:
        few = [(u, i) for u, i in left if sum(x == u for x, _ in left) < users or sum(x == i for _, x in left) < items]
        if not few:
            break
        left.discard(few[0])
    if not left:
        with pytest.raises(ValueError, match="pass a smaller k"):
            k_core(R, (users, items))
        return
    core = k_core(R, (users, items))
    u, i, r = core.triples()
    found = dict(zip(zip(core.user_ids[u].tolist(), core.item_ids[i].tolist(), strict=True), r.tolist(), strict=True))
    assert found == {
        pair: value for pair, value in zip(pairs, np.arange(1.0, len(pairs) + 1), strict=True) if pair in left
    }
    assert counts_of(core).min() >= users
    assert counts_of(core, "items").min() >= items


def test_k_core_keeps_weights_and_times():
    R = make()
    core = k_core(R, 8)
    assert 0 < core.n_ratings < len(R)
    rows = {(u, i): rest for u, i, *rest in zip(
        R.user_ids[R.triples()[0]].tolist(), R.item_ids[R.triples()[1]].tolist(), R.by_user.values.tolist(),
        R.by_user.weights.tolist(), R.timestamps.tolist(), strict=True)}  # fmt: skip
    u, i, r = core.triples()
    for user, item, *rest in zip(
        core.user_ids[u].tolist(), core.item_ids[i].tolist(), r.tolist(), core.by_user.weights.tolist(),
        core.timestamps.tolist(), strict=True,
    ):  # fmt: skip
        assert rows[user, item] == rest
    with pytest.raises(ValueError, match="k has 3 values"):
        k_core(R, (1, 2, 3))
    with pytest.raises(TypeError, match="k is 2.5"):
        k_core(R, 2.5)


# ---------------------------------------------------------------------------------------------------------------------
# As rows, for scikit-learn


@pytest.mark.parametrize("by", ALL)
def test_rows_of_a_split_are_the_ratings_of_a_split(by):
    R = make()
    (rows,) = RatingSplit(0.2, by=by, random_state=5).split(R)
    train, test = train_test_split(R, 0.2, by=by, random_state=5)
    assert same(R.select(rows[0]), train)
    assert same(R.select(rows[1]), test)
    # Pairs in the same order give the same rows; in another order the parts have the same sizes.
    u, i, r = R.triples()
    pairs = np.stack([R.user_ids[u].astype(str), R.item_ids[i]], axis=1)
    by_text = np.argsort(np.argsort(np.unique(pairs[:, 0]).astype(int)))
    assert len(by_text) == R.n_users
    times = R.timestamps if by in ("time", "last") else None
    order = np.random.default_rng(0).permutation(len(pairs))
    ((train_rows, test_rows),) = RatingSplit(0.2, by=by, random_state=5).split(
        pairs[order], r[order], None if times is None else times[order]
    )
    assert sorted([*train_rows, *test_rows]) == list(range(len(pairs)))
    if by in ("time", "last"):
        found = {tuple(x) for x in pairs[order][test_rows].tolist()}
        assert found == {tuple(x) for x in pairs[rows[1]].tolist()}


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_times_of_a_frame_are_found(library):
    module = pytest.importorskip(library)
    R = make()
    u, i, _ = R.triples()
    columns = {"user": R.user_ids[u], "item": R.item_ids[i].tolist(), "timestamp": R.timestamps}
    frame = module.table(columns) if library == "pyarrow" else module.DataFrame(columns)
    (rows,) = RatingSplit(2, by="last").split(frame)
    assert same(R.select(rows[1]), train_test_split(R, 2, by="last")[1])
    folds = list(RatingKFold(2, by="time").split(frame))
    assert same(R.select(folds[0][1]), next(k_fold(R, 2, by="time"))[1])


@pytest.mark.parametrize("splitter", [RatingSplit(0.3, n_splits=3), RatingKFold(3), RatingKFold(3, by="cold_users")])
def test_int_states_give_the_same_rows_each_time(splitter):
    R = make()
    splitter.random_state = 3
    first, second = list(splitter.split(R)), list(splitter.split(R))
    assert splitter.get_n_splits(R) == len(first) == 3
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0][1], first[1][1])
    assert repr(splitter).startswith(type(splitter).__name__)
    assert "random_state=3" in repr(splitter)


def test_splitters_refused():
    R = make()
    with pytest.raises(ValueError, match="n_splits is 2; it must be 1 where by is 'last'"):
        RatingSplit(by="last", n_splits=2).split(R)
    with pytest.raises(ValueError, match="by is 'last'; it must be one of 'random', 'user', 'time', 'cold_users'"):
        RatingKFold(by="last").split(R)
    with pytest.raises(ValueError, match="by is 'time', but these ratings have no timestamps.*groups"):
        next(RatingSplit(by="time").split([(1, 2), (1, 3)]))
    with pytest.raises(ValueError, match="lengths differ: X 2, groups 1"):
        RatingSplit(by="time").split([(1, 2), (1, 3)], groups=[5])
    with pytest.raises(TypeError, match="X is a sparse matrix"):
        RatingSplit().split(R.to_csr())

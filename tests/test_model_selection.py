"""Splits: what is in which part, whatever the random state is."""

import doctest

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import alsx
from alsx import Ratings, model_selection
from alsx.model_selection import k_fold, train_test_split

BY = ("random", "user", "time")


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
        ({"test_size": 20}, ValueError, "test_size is 20"),
        ({"test_size": float("nan")}, ValueError, "test_size"),
        ({"test_size": "0.1"}, TypeError, "test_size"),
        ({"test_size": True}, TypeError, "test_size"),
        ({"by": "item"}, ValueError, "by is 'item'; it must be one of 'random', 'user', 'time'"),
        ({"by": None}, ValueError, "by is None"),
        ({"random_state": "x"}, TypeError, "random_state"),
        ({"random_state": -1}, ValueError, "random_state"),
    ],
)
def test_split_refused(options, error, sentence):
    with pytest.raises(error, match=sentence):
        train_test_split(make(), **options)


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


def test_docstrings():
    assert alsx.Ratings is model_selection.Ratings
    found = doctest.testmod(model_selection)
    assert found.attempted > 5
    assert not found.failed

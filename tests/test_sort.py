"""The counting sorts against their slow twins: every type of ids and payload, any number of parts."""

import numpy as np
import pytest
import reference

from alsx import _sort

pytestmark = pytest.mark.usefixtures("everything_shared")


class Entries:
    """Unsorted pairs of ids with gaps and an offset, some ids without an entry, and something to carry."""

    def __init__(self, n, raw="int64", payload="float32", seed=0):
        rng = np.random.default_rng(seed)
        self.low = {"user": 100, "item": -7}
        self.tables, self.raws, self.codes, self.n = {}, {}, {}, {}
        for side, size in (("user", 13), ("item", 40)):
            ids = np.sort(rng.choice(3 * size, size, replace=False))
            ids[0] = 0
            self.tables[side] = np.full(3 * size, -1, np.int32)
            self.tables[side][ids] = np.arange(size)
            self.codes[side] = rng.integers(0, size, n)
            self.raws[side] = (ids[self.codes[side]] + self.low[side]).astype(raw)
            self.n[side] = size
        self.payload = np.arange(n).astype(payload)

    def side(self, side):
        return self.raws[side], self.low[side], self.tables[side]


PARTS = [1, 2, 3, 7]
SIZES = [0, 1, 5, 997]


@pytest.mark.parametrize("raw", ["int32", "int64"])
@pytest.mark.parametrize("n_parts", PARTS)
@pytest.mark.parametrize("n", SIZES)
def test_ids_are_marked_and_counted(n, n_parts, raw):
    entries = Entries(n, raw)
    for side in ("user", "item"):
        ids, low, table = entries.side(side)
        ids.setflags(write=False)
        seen = np.zeros((n_parts, len(table)), np.uint8)
        _sort.mark_ids(ids, low, seen)
        np.testing.assert_array_equal(np.flatnonzero(seen.any(axis=0)), np.unique(ids.astype(np.int64) - low))
        counts = np.zeros((n_parts, entries.n[side]), np.int64)
        _sort.count_ids(ids, low, table, counts)
        expected = reference.counts_of(entries.codes[side], entries.n[side], n_parts)
        np.testing.assert_array_equal(counts, expected)
        again = np.zeros_like(counts)
        _sort.count_codes(entries.codes[side].astype(np.int32), again)
        np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("payload", ["int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("raw", ["int32", "int64"])
@pytest.mark.parametrize("n_parts", PARTS)
@pytest.mark.parametrize("n", SIZES)
def test_entries_are_sorted_stably(n, n_parts, raw, payload):
    entries = Entries(n, raw, payload)
    key, other = entries.side("user"), entries.side("item")
    for array in (*key[::2], *other[::2], entries.payload):
        array.setflags(write=False)
    places = reference.places_of(reference.counts_of(entries.codes["user"], entries.n["user"], n_parts))
    indices, moved = np.full(n, -1, np.int32), np.full(n, -1, payload)
    _sort.move_ids(*key, *other, entries.payload, places, indices, moved)
    others, carried = reference.sort_by(entries.codes["user"], entries.codes["item"], entries.payload)
    np.testing.assert_array_equal(indices, others)
    np.testing.assert_array_equal(moved, carried)


@pytest.mark.parametrize("payload", ["int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("n_parts", PARTS)
@pytest.mark.parametrize("n", SIZES)
def test_rows_become_columns(n, n_parts, payload):
    rng = np.random.default_rng(n)
    n_columns = 17
    # Empty rows first, last and in a row; parts begin and end within rows.
    counts = np.zeros(12, np.int64)
    counts[[2, 5, 6, 10]] = rng.multinomial(n, [0.5, 0.1, 0.1, 0.3])
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    indices = rng.integers(0, n_columns, n).astype(np.int32)
    carried = np.arange(n).astype(payload)
    for array in (indptr, indices, carried):
        array.setflags(write=False)
    places = reference.places_of(reference.counts_of(indices, n_columns, n_parts))
    rows, moved = np.full(n, -1, np.int32), np.full(n, -1, payload)
    _sort.transpose_rows(indptr, indices, carried, places, rows, moved)
    expected_rows, expected = reference.transpose(indptr, indices, carried)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize("raw", ["int32", "int64"])
@pytest.mark.parametrize("n_parts", PARTS)
@pytest.mark.parametrize("n", SIZES)
def test_the_state_of_an_order_is_seen(n, n_parts, raw):
    entries = Entries(n, raw)
    users, items = entries.codes["user"], entries.codes["item"]
    by_user, by_both = np.argsort(users, kind="stable"), np.lexsort((items, users))
    distinct = by_both[np.unique(users[by_both] * 1000 + items[by_both], return_index=True)[1]]
    one_again = np.insert(distinct, len(distinct) // 2, distinct[len(distinct) // 2 : len(distinct) // 2 + 1])
    states = set()
    # Of some the only entry out of order is the first or the last.
    orders = (
        np.arange(n),
        by_user,
        by_both,
        by_both[::-1],
        np.roll(by_both, 1),
        np.roll(by_both, -1),
        distinct,
        one_again,
    )
    for order in orders:
        raws = [(entries.raws[side][order], entries.low[side], entries.tables[side]) for side in ("user", "item")]
        state = _sort.sorted_state(*raws[0], *raws[1], n_parts)
        assert state == reference.sorted_state(users[order], items[order])
        states.add(state)
    if n == 997:
        assert states == {0, 1, 2, 3}


@pytest.mark.parametrize("raw", ["int32", "int64"])
@pytest.mark.parametrize("n_parts", PARTS)
@pytest.mark.parametrize("n", SIZES)
def test_ids_are_coded_also_in_place(n, n_parts, raw):
    entries = Entries(n, raw)
    codes = np.full(n, -1, np.int32)
    _sort.code_ids(*entries.side("user"), n_parts, codes)
    np.testing.assert_array_equal(codes, entries.codes["user"])
    if raw == "int32":
        own = entries.raws["user"].copy()
        _sort.code_ids(own, *entries.side("user")[1:], n_parts, own)
        np.testing.assert_array_equal(own, codes)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_repeats_within_rows_are_counted(n_threads):
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 30, 50)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    # The last index of a row is often the first of the next one, which is no repeat.
    indices = np.concatenate([np.sort(rng.integers(0, 9, c)) for c in counts]).astype(np.int32)
    assert _sort.count_descents(indptr, indices, n_threads) == reference.repeats(indptr, indices) > 0
    distinct = np.concatenate([np.arange(c) for c in counts]).astype(np.int32)
    assert _sort.count_descents(indptr, distinct, n_threads) == 0
    same = np.zeros(5, np.int32)
    assert _sort.count_descents(np.arange(6, dtype=np.int64), same, n_threads) == 0

"""What tasks on a cluster compute, without a cluster: sums, blocks, need-lists, half-sweeps."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("distributed")

from alsx.dask import _blocks, _exchange, _source, _sums
from alsx.dask._source import Coded
from alsx.ratings import Ids

RNG = np.random.default_rng(0)


@given(st.integers(1, 40_000), st.lists(st.integers(0, 40_000), max_size=8), st.integers(0, 2**32 - 1))
def test_sums_over_blocks_are_numpys_to_the_last_bit(n, cuts, seed):
    rng = np.random.default_rng(seed)
    # A column of a table, as losses of rows are, of very different sizes, so that every order of additions shows.
    numbers = (rng.standard_normal((n, 2)) * 10.0 ** rng.integers(-8, 9, (n, 2)))[:, 1]
    bounds = np.array(sorted({0, n, *(x for x in cuts if x < n)}), np.int64)
    plan = _sums.SumPlan([(0, n)], bounds)
    answers = [_sums.answer(requests, lambda begin, end: numbers[begin:end]) for requests in plan.requests]
    assert plan.combine(answers) == [float(numbers.sum())]
    # What travels is little: a number for each node, and at most 128 of a leaf that lies in several blocks.
    assert max(np.size(x) for own in answers for x in own) <= _sums.LEAF


@pytest.mark.parametrize("n", [1, 8191, 8192, 8193, 100_003])
def test_sums_of_floats_in_double_precision_are_numpys_to_the_last_bit(n):
    weights = RNG.random(n, np.float32)
    bounds = np.array(sorted({0, n // 3, n // 2, n}), np.int64)
    plan = _sums.SumPlan(_sums.cut(n, 8192), bounds)
    answers = [_sums.answer(own, lambda begin, end: weights[begin:end].astype(float)) for own in plan.requests]
    total = 0.0
    for part in plan.combine(answers):
        total += part
    assert total == float(weights.sum(dtype=np.float64))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(1, 9), st.integers(1, 12))
def test_layouts_cover_all_rows(counts, align, n_groups):
    counts = np.array(counts, np.int64)
    n_rows = max(1, align * len(counts) - align // 2)
    layout = _blocks.lay_out(counts, n_rows, align, 4, n_groups)
    assert layout.bounds[0] == 0
    assert layout.n_rows == n_rows
    assert (np.diff(layout.bounds) > 0).all()
    assert layout.groups[0] == 0
    assert layout.groups[-1] == layout.n_blocks
    assert (np.diff(layout.groups) > 0).all()
    assert layout.n_groups == min(n_groups, layout.n_blocks)
    # How many groups there are changes no block.
    np.testing.assert_array_equal(layout.bounds, _blocks.lay_out(counts, n_rows, align, 4, 1).bounds)


def shuffled(rows, columns, values, layout, n_parts, duplicates="raise"):
    """Blocks of ratings that came in several parts."""
    cuts = np.array_split(np.arange(len(rows)), n_parts)
    parts = [_blocks.split_part(Coded(rows[x], columns[x], values[x], None), layout) for x in cuts]
    blocks = []
    for group in range(layout.n_groups):
        shards = [part[group] for part in parts]
        blocks += [
            _blocks.build_rows(shards, place, *layout.rows(block), 1000, duplicates, np.dtype("f4"))
            for place, block in enumerate(layout.blocks(group))
        ]
    return blocks


def test_blocks_hold_what_sorting_at_once_makes_of_it():
    n = 4000
    pairs = RNG.choice(300 * 1000, n, replace=False)
    rows, columns = (pairs // 1000).astype(np.int32), (pairs % 1000).astype(np.int32)
    values = RNG.random(n).astype(np.float32)
    counts = _blocks.aligned_counts(rows, 300, 16)
    layout = _blocks.lay_out(counts, 300, 16, 4, 3)
    blocks = shuffled(rows, columns, values, layout, 5)
    order = np.lexsort((columns, rows))
    np.testing.assert_array_equal(np.concatenate([x.ratings.indices for x in blocks]), columns[order])
    np.testing.assert_array_equal(np.concatenate([x.ratings.values for x in blocks]), values[order])
    np.testing.assert_array_equal(
        np.concatenate([np.diff(x.ratings.indptr) for x in blocks]), np.bincount(rows, minlength=300)
    )


def test_a_pair_that_is_there_twice_in_two_parts():
    rows, columns, values = np.array([3, 1, 3], np.int32), np.array([7, 7, 7], np.int32), np.array([1, 2, 4], np.float32)
    layout = _blocks.lay_out(np.ones(4, np.int64), 4, 1, 0, 2)
    found = [x.repeated for x in shuffled(rows, columns, values, layout, 3) if x.repeated]
    assert found == [(3, 7)]
    merged = shuffled(rows, columns, values, layout, 3, "last")
    assert [x.ratings.values.tolist() for x in merged if len(x.ratings.values)] == [[2.0], [4.0]]
    merged = shuffled(rows, columns, values, layout, 3, "mean")
    assert [x.ratings.values.tolist() for x in merged if len(x.ratings.values)] == [[2.0], [2.5]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 400), st.integers(1, 5))
def test_panels_hold_the_rows_that_are_needed_in_their_order(seed, n_ratings, n_groups):
    rng = np.random.default_rng(seed)
    n_other = 60
    other = _blocks.lay_out(rng.integers(1, 9, 30), n_other, 2, 3, n_groups)
    indices = np.sort(rng.choice(n_other, min(n_other, n_ratings), replace=False)).astype(np.int32)
    ratings = _blocks.CSR(np.array([0, len(indices)]), indices, rng.random(len(indices)).astype("f4"), None)
    rows = _blocks.Rows(ratings)
    need = _exchange.find_need([rows], other)
    local = _exchange.localise(rows, need, other, False)
    whole = rng.random((n_other, 16)).astype("f4")
    tables = [type("Block", (), {"table": whole[slice(*other.rows(b))]}) for b in range(other.n_blocks)]
    parts = []
    for group, size in enumerate(_exchange.need_sizes(need)):
        own = [tables[b] for b in other.blocks(group)]
        first = other.group_rows(group)[0]
        starts = [int(other.bounds[b]) - first for b in range(other.blocks(group).start, other.blocks(group).stop + 1)]
        if size == _exchange.ALL:
            parts.append(own)
        elif size:
            parts.append(_exchange.pick(own, starts, _exchange.send_list(need, group)))
    panel = _exchange.make_panel(parts, int(need.starts[-1]), 3, np.dtype("f4"))
    np.testing.assert_array_equal(panel[local.ratings.indices], whole[indices])
    assert (np.diff(local.ratings.indices) > 0).all()  # so that a row's ratings are added in the same order
    np.testing.assert_array_equal(_exchange.with_codes(local, need, other).indices, indices)


def test_ids_of_parts_together():
    def ids(*values):
        return Ids(np.unique(np.array(values)))

    merged = _source.merged_ids([ids(3, 5), ids(-2, 5)], False)
    assert merged.values.tolist() == [-2, 3, 5]
    big = Ids(np.array([7, 2**63 + 1], np.uint64))
    assert _source.merged_ids([ids(3), big], False).values.tolist() == [3, 7, 2**63 + 1]
    with pytest.raises(ValueError, match="the id -2 is negative, while others are above"):
        _source.merged_ids([ids(-2), big], False)
    # Integers in one file of text, others in another: texts, as they are written.
    assert _source.merged_ids([ids(10, 9), ids("x", "9")], True).values.tolist() == ["10", "9", "x"]


def test_without_dask_the_import_says_what_to_install():
    code = "import sys; sys.modules['distributed'] = None; import alsx; alsx.dask"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.returncode == 1
    assert out.stderr.strip().splitlines()[-1] == (
        "ImportError: alsx.dask needs dask and distributed, which are not installed: pip install alsx[dask]"
    )

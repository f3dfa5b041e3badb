"""Row systems as an object: parts of a solution add up to it, errors name the side, plain data pickle."""

import pickle

import numpy as np
import pytest

from alsx import FactorALS
from alsx._solver.regression import STEP_COLUMNS, column_blocks
from alsx._solver.rows import RowBase, RowPrior, RowSystems, SingularRowError
from alsx._solver.tables import factor_table, kernel_table, row_scales, row_width, solve_tasks
from alsx.datasets import make_ratings
from alsx.ratings import CSR

K = 5


def systems(dtype="float64", weighted=True, full=False, means=True, **changes):
    """Rows with 0 to 40 ratings against a table of 60."""
    rng, dtype = np.random.default_rng(0), np.dtype(dtype)
    counts = np.array([0, 1, 3, 40, 7, 12])
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    indices = np.concatenate([np.sort(rng.choice(60, c, replace=False)) for c in counts]).astype(np.int32)
    values = rng.normal(3, 1, len(indices)).astype(dtype)
    weights = rng.uniform(0, 3, len(indices)).astype(dtype) if weighted else None
    other = factor_table(60, K, dtype)
    other[:, : K + 1] = rng.normal(0, 0.5, (60, K + 1))
    prior_means = factor_table(len(counts), K, dtype)
    prior_means[:, : K + 1] = rng.normal(0, 1, (len(counts), K + 1))
    half = rng.normal(size=(K + 1, 9))
    prior = RowPrior(
        1.3,
        0.4,
        row_scales(counts, 0.5),
        precision=half @ half.T if full else None,
        means=prior_means if means else None,
    )
    options = {"ratings": CSR(indptr, indices, values, weights), "prior": prior, "unit": 0.7, "base": None, **changes}
    return RowSystems(
        options["ratings"], other, K, options["prior"], 3.0, options["unit"], "item", base=options["base"]
    )


def solved(rows):
    """Solutions and losses."""
    out, loss = factor_table(len(rows), rows.k, rows.other.dtype), np.zeros((len(rows), 2))
    rows.solve(out, loss, 2)
    return out, loss


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("means", [False, True])
def test_contributions_add_up(dtype, weighted, full, means):
    rows = systems(dtype, weighted, full, means)
    out, _ = solved(rows)
    z = np.append(np.random.default_rng(1).normal(size=K), 1.0)
    for row in range(len(rows)):
        parts = rows.contributions(row, z)
        assert parts.ratings.shape == (rows.counts[row],)
        expected = z @ out[row, : K + 1].astype(np.float64)
        assert parts.ratings.sum() + parts.prior == pytest.approx(
            expected, rel=1e-4 if dtype == "float32" else 1e-10, abs=1e-5
        )
        mean = np.zeros(K + 1) if not means else rows.prior.means[row, : K + 1].astype(np.float64)
        assert parts.prior_weights @ mean == pytest.approx(parts.prior, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("full", [False, True])
def test_contributions_with_a_base_add_up(dtype, full):
    half = np.random.default_rng(4).normal(size=(K + 2, 30))
    base = RowBase(half @ half.T, np.linspace(0.2, 2, 6))
    rows = systems(dtype, full=full, base=base)
    out, _ = solved(rows)
    z = np.append(np.random.default_rng(1).normal(size=K), 1.0)
    for row in range(len(rows)):
        parts = rows.contributions(row, z)
        expected = z @ out[row, : K + 1].astype(np.float64)
        assert parts.ratings.sum() + parts.missing + parts.prior == pytest.approx(
            expected, rel=1e-4 if dtype == "float32" else 1e-10, abs=1e-5
        )
        assert (parts.missing != 0) == (rows.counts[row] > 0)
    without = systems(dtype, full=full).contributions(3, z)
    assert without.missing == 0


def test_contributions_of_a_fit_add_up_to_its_predictions():
    """What explaining a prediction will be made of: everything is in the fitted model."""
    R = make_ratings(80, 50, 1500, random_state=0)
    model = FactorALS(4, implicit_features=None, dtype="float64", max_iter=200, tol=0, random_state=0).fit(R)
    users, items = model._users, model._items
    rows = RowSystems(model._seen, items.table, 4, users.prior.row_prior(users.counts), model.mean_)
    for user, item in ((3, 7), (40, 0)):
        z = np.append(items.table[item, :4], 1.0)
        parts = rows.contributions(user, z)
        predicted = model.mean_ + items.table[item, 4] + parts.ratings.sum() + parts.prior
        asked = model.user_ids_[user], model.item_ids_[item]
        assert predicted == pytest.approx(model.predict(*asked, clip=False), abs=1e-6)


def test_a_row_without_a_solution_is_named():
    rows = systems(prior=RowPrior(0.0, 0.0, np.ones(6)), means=False)
    with pytest.raises(SingularRowError) as error:
        solved(rows)
    assert (error.value.side, error.value.row, error.value.count) == ("item", 1, 2)
    with pytest.raises(SingularRowError):
        rows.contributions(1, np.ones(K + 1))


def test_they_are_plain_data():
    rows = systems(full=True)
    for x, y in zip(solved(rows), solved(pickle.loads(pickle.dumps(rows))), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tables_have_one_width_wherever_they_come_from(dtype):
    for k in (0, 1, 15, 16, 20, 64):
        table = factor_table(7, k, np.dtype(dtype))
        assert table.shape == (7, row_width(k, table.dtype))
        assert kernel_table(table, k) is table
        table[:, : k + 1] = np.arange(7)[:, None]
        for other in (
            table.copy(),
            table[:, : k + 1].copy(),
            np.asfortranarray(table),
            pickle.loads(pickle.dumps(table)),
        ):
            again = kernel_table(other, k)
            assert again is not other
            assert again.shape == table.shape
            assert again.ctypes.data % 64 == 0
            np.testing.assert_array_equal(again[:, : k + 1], table[:, : k + 1])


@pytest.mark.parametrize(
    ("n_rows", "rows_a_task", "least"), [(943, 128, 8), (943, 128, 16), (20, 128, 8), (9000, 128, 8), (1, 4, 1)]
)
def test_joined_tasks_hold_the_same_rows(n_rows, rows_a_task, least):
    counts = np.random.default_rng(0).geometric(0.02, n_rows)
    tasks = solve_tasks(counts, 20)
    joined = tasks.of_rows(rows_a_task, least)
    np.testing.assert_array_equal(joined.order, tasks.order)
    assert set(joined.starts) <= set(tasks.starts)
    assert joined.starts[[0, -1]].tolist() == [0, n_rows]
    n_joined = len(joined.starts) - 1
    assert n_joined >= min(least, len(tasks.starts) - 1)
    # No more of them than rows for so many, but where that would leave too few.
    assert n_joined <= max(2 * n_rows / rows_a_task, 2 * least)


@pytest.mark.parametrize("columns", [1, 2, 21, 32, 33, 64, 65, 66, 97, 129, 201])
def test_a_step_takes_every_column_once(columns):
    blocks = column_blocks(columns)
    assert [c for part in blocks for c in range(part.start, part.stop)] == list(range(columns))
    assert max(part.stop - part.start for part in blocks) <= STEP_COLUMNS

"""The models: what must hold of any fit, what they take, what they refuse, what comes out."""

import copy
import itertools
import json
import os
import pickle
import re
import stat
from types import SimpleNamespace

import hypothesis.strategies as st
import joblib
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import reference
import scipy.sparse as sp
from conftest import TOLERANCE
from hypothesis import given, settings
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

import alsx
from alsx import BiasALS, FactorALS, Ratings, _check, _scores, metrics
from alsx._solver import regression
from alsx._solver.alternation import Alternation, sweeps
from alsx._solver.prior import Penalty, PriorSources
from alsx._solver.regression import feature_regression, ridge_regression
from alsx._solver.tables import factor_table
from alsx.datasets import load_movielens, make_ratings
from alsx.ratings import CSR

# What lists of integer ids are padded with.
MISSING = np.iinfo(np.int64).min


def pairs(n_users=40, n_items=30, n=500, seed=0, low=1, high=5):
    """User ids, item ids and ratings with some structure."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(n_users * n_items, n, replace=False)
    users, items = np.divmod(cells, n_items)
    p, q = rng.normal(size=(n_users, 3)), rng.normal(size=(n_items, 3))
    raw = rng.normal(size=n_users)[users] + rng.normal(size=n_items)[items] + (p[users] * q[items]).sum(1)
    ratings = np.clip(np.round((low + high) / 2 + raw * (high - low) / 6, 1), low, high)
    return users * 10 + 100, items * 3 + 7, ratings


@pytest.fixture(scope="module")
def data():
    return Ratings.from_arrays(*pairs())


def models():
    return [
        BiasALS(),
        FactorALS(5, random_state=0),
        FactorALS(40, random_state=1, dtype="float64", reg=2, reg_bias=1, reg_scaling=1, implicit_features=None),
    ]


# Properties of the fit


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    k=st.integers(0, 12),
    exponent=st.sampled_from([0.0, 0.5, 1.0]),
    reg=st.floats(0.05, 20),
    dtype=st.sampled_from(["float32", "float64"]),
    weighted=st.booleans(),
)
def test_the_objective_never_rises(seed, k, exponent, reg, dtype, weighted):
    users, items, ratings = pairs(n=300, seed=seed)
    weights = np.random.default_rng(seed).uniform(0, 3, 300) if weighted else None
    data = Ratings.from_arrays(users, items, ratings, sample_weight=weights, dtype=dtype)
    a, b = Penalty(reg, reg / 3, exponent), Penalty(2 * reg, reg / 2, exponent)
    alternation = Alternation(data, k, (a, b), np.random.default_rng(seed), 1)
    values = []
    for side in [alternation.users, alternation.items] * 4:
        alternation.update(side)
        tables = alternation.users.table, alternation.items.table
        values.append(reference.objective(data, *tables, k, a, b, alternation.mean, alternation.unit))
    # Rounding of the solutions moves the minimum by the square of it; of the sums, by their own rounding.
    slack = {"float32": 1e-6, "float64": 1e-13}[dtype]
    assert np.diff(values).max() <= slack * values[0]
    np.testing.assert_allclose(alternation.loss, values[-1], rtol={"float32": 1e-4, "float64": 1e-10}[dtype])


@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000),
    k=st.integers(0, 8),
    exponent=st.sampled_from([0.0, 0.5]),
    implicit_ridges=st.sampled_from([(5.0, 2.0), (None, 1.0), (3.0, None), (None, None)]),
    n_features=st.sampled_from([0, 4]),
    exact=st.booleans(),
    weighted=st.booleans(),
)
def test_the_objective_never_rises_with_learned_prior_means(
    seed, k, exponent, implicit_ridges, n_features, exact, weighted
):
    users, items, ratings = pairs(n=300, seed=seed)
    weights = np.random.default_rng(seed).uniform(0, 3, 300) if weighted else None
    data = Ratings.from_arrays(users, items, ratings, sample_weight=weights, dtype="float64")
    penalties = Penalty(2.0, 0.7, exponent), Penalty(4.0, 1.0, exponent)
    F = [sp.csr_array(np.random.default_rng(seed).normal(size=(n, n_features))) for n in data.shape]
    known = [PriorSources(ridge, f if n_features else None, 3.0) for ridge, f in zip(implicit_ridges, F, strict=True)]
    # Few features are solved exactly, many by conjugate gradients; both must only ever lower the loss.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regression, "MAX_EXACT_FEATURES", 100 if exact else 0)
        alternation = Alternation(data, k, penalties, np.random.default_rng(seed), 1, tuple(known))
    values = []
    for _ in range(6):
        alternation.update(alternation.users)
        alternation.update(alternation.items)
        values.append(alternation.loss)
    assert np.diff(values).max() <= 1e-12 * values[0]
    # The means are what the maps say, and the objective is what it is by its formula.
    u, i, r = data.triples()
    maps = [[], []]
    sides = (alternation.users, u, i), (alternation.items, i, u)
    for place, (side, own, other) in enumerate(sides):
        n, columns = len(side.table), k + 1
        means = np.zeros((n, columns))
        for part in side.regressions:
            features = F[place].toarray()
            if part.features is None:
                features = reference.implicit_features(
                    own, other, n, len(sides[1 - place][0].table), data.by_user.weights
                )
            means += features @ part.coefficients[:, :columns]
            maps[place].append((features, part.coefficients[:, :columns], part.relative_ridge))
        if side.prior_means is not None:
            np.testing.assert_allclose(side.prior_means.means[:, :columns], means, atol=1e-10)
    x, y = alternation.users.table, alternation.items.table
    by_hand = reference.objective_in_ratings(
        u, i, (r - alternation.mean) / alternation.unit, data.by_user.weights, 0.0, x[:, k], y[:, k], x[:, :k], y[:, :k],
        (2.0, 4.0), (0.7, 1.0), exponent, maps,
    )  # fmt: skip
    # That formula scales by the ratings' deviation, which is 1 here.
    assert values[-1] == pytest.approx(alternation.unit**2 * by_hand, rel=1e-9)


def test_maps_of_prior_means_reach_the_ridge_solution():
    rng = np.random.default_rng(0)
    dtype = np.dtype(np.float64)
    table = factor_table(200, 3, dtype)
    table[:, :4] = rng.normal(size=(200, 4))
    scaling = rng.uniform(0.5, 3, 200)
    scaling[:20] = 0
    features = sp.random_array((200, 30), density=0.2, random_state=rng, format="csr")
    for exact in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(regression, "MAX_EXACT_FEATURES", 100 if exact else 0)
            part = feature_regression(features, 2.0, scaling, 4, table.shape[1], dtype)
        means = np.zeros_like(table)
        for _ in range(1 if exact else 60):
            part.improve(table, means, 1)
        expected = reference.learned_map(features.toarray(), table[:, :4], scaling, 2.0 * scaling[20:].mean())
        np.testing.assert_allclose(part.coefficients[:, :4], expected, atol=1e-8)
        np.testing.assert_allclose(means[:, :4], features @ expected, atol=1e-8)
    expected = reference.learned_map(features.toarray(), table[:, :4], scaling, 2.0)
    np.testing.assert_allclose(ridge_regression(features, table[:, :4], scaling, 2.0), expected, atol=1e-10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regression, "MAX_EXACT_FEATURES", 0)
        np.testing.assert_allclose(ridge_regression(features, table[:, :4], scaling, 2.0), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_step_that_leads_too_far_is_taken_back(dtype, monkeypatch):
    users, items, ratings = pairs(n=900, seed=1)
    data = Ratings.from_arrays(users, items, ratings, dtype=dtype)
    # Rows that nothing is taken to be known of would follow their means wherever they go.
    monkeypatch.setattr(regression, "INFORMATION_MARGIN", 1e-6)
    taken_back = []
    take_back = regression.PriorMeans.take_back
    monkeypatch.setattr(
        regression.PriorMeans, "take_back", lambda means: (taken_back.append(means), take_back(means))[1]
    )
    penalty, known = Penalty(1.3, 0.5, 0.5), PriorSources(1.0)
    alternation = Alternation(data, 5, (penalty, penalty), np.random.default_rng(0), 1, (known, known))
    values = [iteration.loss for iteration in itertools.islice(sweeps(alternation), 12)]
    assert taken_back
    assert np.diff(values).max() <= 1e-6 * values[0]
    for means in taken_back:
        assert means.margin > 1e-6
    for side in (alternation.users, alternation.items):
        part, means = side.prior_means.rated, side.prior_means.means
        expected = np.zeros_like(means)
        part.forward.times(part.coefficients, 6, part.factor, 1, expected)
        np.testing.assert_allclose(means[:, :6], expected[:, :6], atol=1e-4 if dtype == "float32" else 1e-12)


def test_both_sides_take_turns_in_steps_on_rated_item_sets():
    users, items, ratings = pairs(n=300, seed=0)
    data = Ratings.from_arrays(users, items, ratings)
    for known, expected in (
        ((PriorSources(1.0), PriorSources(1.0)), {"user": [3, 5, 7, 10, 14], "item": [2, 4, 6, 8, 12]}),
        ((PriorSources(1.0), PriorSources()), {"user": [2, 3, 4, 5, 6, 7, 8, 10, 12, 14], "item": []}),
    ):
        alternation = Alternation(data, 3, (Penalty(1.0, 1.0, 0.5),) * 2, np.random.default_rng(0), 1, known)
        found = {"user": [], "item": []}
        for number in range(1, 15):
            for side in (alternation.users, alternation.items):
                if side.takes_step(alternation.other(side)):
                    found[side.name].append(number)
                alternation.update(side)
        assert found == expected


def documented_loss(model, data):
    """The loss by the formula of the model's documentation, from its attributes."""
    users, items = model._specification().penalties
    regs, biases = (users.reg, items.reg), (users.reg_bias, items.reg_bias)
    factors = [np.zeros((data.n_users, 0)), np.zeros((data.n_items, 0))]
    u, i, r = data.triples()
    maps = [[], []]
    if isinstance(model, FactorALS):
        factors = [model.user_factors_, model.item_factors_]
        ridges = _check.by_side("reg_implicit", model.reg_implicit)
        sides = (u, i, data.n_users, data.n_items), (i, u, data.n_items, data.n_users)
        for side, prior in enumerate((model._users.prior, model._items.prior)):
            if prior.implicit_effects is not None:
                maps[side].append(
                    (
                        reference.implicit_features(*sides[side], data.by_user.weights),
                        prior.implicit_effects,
                        ridges[side],
                    )
                )
    return reference.objective_in_ratings(
        u, i, r, data.by_user.weights, model.mean_, model.user_biases_, model.item_biases_, *factors, regs, biases,
        model.reg_scaling, maps,
    )  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("model", models(), ids=repr)
def test_the_history_is_true(model, weighted):
    weights = np.random.default_rng(0).uniform(0, 3, 500) if weighted else None
    data = Ratings.from_arrays(*pairs(), sample_weight=weights)
    held_out = Ratings.from_arrays(*pairs(seed=5), sample_weight=weights)
    model = clone(model).fit(data, eval_set=held_out)
    history = model.history_
    assert {name: len(values) for name, values in history.items()} == dict.fromkeys(
        ["loss", "train_rmse", "test_rmse", "seconds"], model.n_iter_
    )
    assert model.n_iter_ <= model.max_iter

    def rmse(ratings, clip):
        return metrics.rmse(ratings.triples()[2], model.predict(ratings, clip=clip), ratings.by_user.weights)

    assert history["train_rmse"][-1] == pytest.approx(rmse(data, False), rel=1e-4)
    assert history["test_rmse"][-1] == pytest.approx(rmse(held_out, True), rel=1e-5)
    assert history["loss"][-1] == pytest.approx(documented_loss(model, data), rel=1e-4)
    assert np.diff(history["loss"]).max() <= 1e-6 * history["loss"][0]


def start(data, model, k):
    """The items' factors that a fit with random_state 0 begins with, in units of one standard deviation."""
    return (
        Alternation(data, k, model._specification().penalties, _check.generator(0), 1)
        .items.table[:, :k]
        .astype(np.float64)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [0, 4, 40])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_whole_fit_is_its_slow_twin(dtype, k, exponent, weighted):
    # Whole weights are ratings given so many times, or not at all, and that is what the twin gets.
    users, items, ratings = pairs(n=300, low=-10, high=10)
    weights = np.random.default_rng(1).integers(0, 4, 300) if weighted else np.ones(300, int)
    weights[users == users[0]] *= not weighted  # a user who has no weight at all
    data = Ratings.from_arrays(users, items, ratings, sample_weight=weights if weighted else None, dtype=dtype)
    model = FactorALS(k, reg=(0.8, 1.5), reg_bias=(0.3, 0.7), reg_scaling=exponent, max_iter=4, tol=0, dtype=dtype,
                      implicit_features=None, random_state=0).fit(data)  # fmt: skip
    u, i = data.user_codes(users), data.item_codes(items)
    times = [np.repeat(x, weights) for x in (u, i, ratings.astype(dtype))]
    mean, p, q = reference.fit(
        *times, None, start(data, model, k), data.n_users, (0.8, 1.5), (0.3, 0.7), exponent, n_iter=4
    )
    assert model.mean_ == pytest.approx(mean, abs=1e-12)
    tolerance = {"float32": 5e-4, "float64": 1e-10}[dtype]
    for got, want in (
        (model.user_factors_, p[:, :k]),
        (model.user_biases_, p[:, k]),
        (model.item_factors_, q[:, :k]),
        (model.item_biases_, q[:, k]),
    ):
        np.testing.assert_allclose(got, want, atol=tolerance * max(1.0, np.abs(q).max()))
    if weighted:
        assert model.user_biases_[u[0]] == 0
        assert not model.user_factors_[u[0]].any()


@pytest.mark.parametrize("model", models(), ids=repr)
def test_threads_give_identical_bits(model):
    data = make_ratings(300, 200, 9000, random_state=0)
    fits = [clone(model).set_params(n_jobs=n).fit(data) for n in (1, 2, 5)]
    for other in fits[1:]:
        np.testing.assert_array_equal(fits[0]._users.table, other._users.table)
        np.testing.assert_array_equal(fits[0]._items.table, other._items.table)
        assert fits[0].history_["loss"] == other.history_["loss"]


@pytest.mark.parametrize("model", models(), ids=repr)
def test_relabelling_users_permutes_rows(model):
    users, items, ratings = pairs()
    new = np.random.default_rng(3).permutation(users.max() + 1)
    first = clone(model).set_params(tol=0, max_iter=4).fit(Ratings.from_arrays(users, items, ratings))
    second = clone(first).fit(Ratings.from_arrays(new[users], items, ratings))
    rows = second._users.ids.codes(new[first.user_ids_])
    # The items' sums run over their users in another order: equal but for rounding.
    tolerance = 50 * TOLERANCE[first._users.table.dtype.name]
    np.testing.assert_allclose(second.user_biases_[rows], first.user_biases_, atol=tolerance)
    np.testing.assert_allclose(second.predict(new[users], items), first.predict(users, items), atol=tolerance)


@pytest.mark.parametrize("model", models(), ids=repr)
@pytest.mark.parametrize(("times", "plus"), [(2.0, 0.0), (4.5, -12.0), (0.1, 100.0), (-1.0, 0.0)])
def test_rescaled_and_shifted_ratings_give_equivalent_predictions(model, times, plus):
    users, items, ratings = pairs()
    model = clone(model).set_params(tol=0, max_iter=8)
    if isinstance(model, FactorALS):
        model.set_params(dtype="float64")
    first = model.fit(Ratings.from_arrays(users, items, ratings, dtype="float64")).predict(users, items, clip=False)
    changed = clone(model).fit(Ratings.from_arrays(users, items, times * ratings + plus, dtype="float64"))
    # Negated ratings negate the users' factors and all biases, and the items' factors stay as they are.
    np.testing.assert_allclose(changed.predict(users, items, clip=False), times * first + plus, rtol=1e-8)
    np.testing.assert_allclose(changed.history_["loss"], times**2 * np.array(model.history_["loss"]), rtol=1e-8)


@pytest.mark.parametrize("model", models(), ids=repr)
@pytest.mark.parametrize("times", [4.0, 0.25, -1.0, 2.0**40])
def test_ratings_times_a_power_of_four_give_the_same_bits(model, times):
    # sqrt(sd), the unit of the factors, is exact then too.
    users, items, ratings = pairs()
    first = clone(model).fit(Ratings.from_arrays(users, items, ratings))
    changed = clone(model).fit(Ratings.from_arrays(users, items, times * ratings))
    np.testing.assert_array_equal(
        changed.predict(users, items, clip=False), times * first.predict(users, items, clip=False)
    )
    np.testing.assert_array_equal(changed.history_["loss"], times**2 * np.array(first.history_["loss"]))


@pytest.mark.parametrize("model", models(), ids=repr)
@pytest.mark.parametrize("give", ["pairs", "ratings", "sparse", "reversed"])
def test_weights_go_with_their_ratings(model, give):
    users, items, ratings = pairs()
    weights = np.random.default_rng(2).uniform(0, 3, 500)
    order = np.lexsort((items, users))
    model = clone(model).set_params(random_state=0)
    expected = clone(model).fit(Ratings.from_arrays(users, items, ratings, sample_weight=weights, dtype="float64"))
    if give == "pairs":
        model.fit(list(zip(users.tolist(), items.tolist(), strict=True)), ratings.tolist(), weights.tolist())
    elif give == "ratings":
        model.fit(Ratings.from_arrays(users, items, ratings, dtype="float64"), sample_weight=weights[order])
    elif give == "reversed":
        model.fit(np.c_[users, items][::-1], ratings[::-1], weights[::-1])
    else:
        u, i = np.unique(users, return_inverse=True)[1], np.unique(items, return_inverse=True)[1]
        # The order of its CSR form: by user, and within a user by item.
        model.fit(sp.coo_array((ratings, (u, i))), sample_weight=weights[np.lexsort((i, u))])
    np.testing.assert_array_equal(model._users.table, expected._users.table)
    np.testing.assert_array_equal(model._items.table, expected._items.table)


def test_weights_of_one_are_no_weights(data):
    for model in models():
        fits = [clone(model).fit(data, sample_weight=w) for w in (None, np.ones(len(data)))]
        np.testing.assert_array_equal(*(fit._items.table for fit in fits))


def test_light_rows_behind_heavy_ones_keep_their_scale():
    # Sums of weights row by row: in running sums 1e-12 is lost behind 1e6.
    users, items, ratings = pairs()
    weights = np.where(users > np.median(users), 1e-12, 1e6)
    data = Ratings.from_arrays(users, items, ratings, sample_weight=weights, dtype="float64")
    alternation = Alternation(data, 2, FactorALS(reg_scaling=1)._specification().penalties, np.random.default_rng(0), 1)
    expected = np.bincount(data.user_codes(users), weights)
    np.testing.assert_allclose(alternation.users.weight_sum, expected, rtol=1e-12)


def repeated(rows, times):
    """Each entry as often as told, and no weights."""
    ends = np.concatenate([[0], np.cumsum(times)])[rows.indptr].astype(np.int64)
    return CSR(ends, np.repeat(rows.indices, times), np.repeat(rows.values, times), None)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_whole_weights_are_ratings_given_again(dtype, exponent):
    """`Ratings` merges repeats, so that the solver is given rows in which they are left."""
    users, items, ratings = pairs()
    times = np.random.default_rng(1).integers(1, 4, len(ratings))
    weighted = Ratings.from_arrays(users, items, ratings, sample_weight=times, dtype=dtype)
    by_user, by_item = (repeated(x, x.weights.astype(int)) for x in (weighted.by_user, weighted.by_item))
    plain = SimpleNamespace(
        dtype=weighted.dtype, mean=by_user.values.mean(dtype=float), std=by_user.values.std(dtype=float),
        by_user=by_user, by_item=by_item, n_ratings=int(times.sum()), n_items=weighted.n_items,
    )  # fmt: skip
    assert weighted.mean == pytest.approx(plain.mean, rel=1e-6)
    assert weighted.std == pytest.approx(plain.std, rel=1e-6)
    plain.mean, plain.std = weighted.mean, weighted.std
    penalties = Penalty(1.0, 0.5, exponent), Penalty(2.0, 0.3, exponent)
    fits = [Alternation(x, 4, penalties, np.random.default_rng(0), 1) for x in (weighted, plain)]
    for fit in fits:
        for side in [fit.users, fit.items] * 3:
            fit.update(side)
    rel = 50 * TOLERANCE[dtype]
    assert fits[0].loss == pytest.approx(fits[1].loss, rel=rel)
    assert fits[0].train_rmse == pytest.approx(fits[1].train_rmse, rel=rel)
    for a, b in zip(fits[0].snapshot(), fits[1].snapshot(), strict=True):
        np.testing.assert_allclose(a.table, b.table, atol=rel)


@pytest.mark.parametrize("model", models(), ids=repr)
@pytest.mark.parametrize("scaling", [0.0, 0.5, 1.0])
def test_a_weight_of_zero_is_no_rating(model, scaling):
    """A user and an item all of whose ratings weigh nothing have the prior, as without ratings (but were rated)."""
    users, items, ratings = pairs()
    weights = np.random.default_rng(2).integers(0, 3, len(ratings)).astype(float)
    weights[(users == users[0]) | (items == items[1])] = 0
    data = Ratings.from_arrays(users, items, ratings, sample_weight=weights)
    kept = data.select(data.by_user.weights > 0)
    assert (kept.n_users, kept.n_items) == (data.n_users, data.n_items)
    model = clone(model).set_params(reg_scaling=scaling, tol=0, max_iter=5)
    fits = [clone(model).fit(x) for x in (data, kept)]
    tolerance = 50 * TOLERANCE[fits[0]._users.table.dtype.name]
    predicted = [fit.predict(users, items, clip=False) for fit in fits]
    np.testing.assert_allclose(*predicted, atol=tolerance)
    np.testing.assert_allclose(fits[0].history_["loss"], fits[1].history_["loss"], rtol=tolerance)
    for side, id_ in ((fits[0]._users, users[0]), (fits[0]._items, items[1])):
        row = side.table[side.ids.codes(id_), : side.k + 1]
        np.testing.assert_allclose(row, side.cold_start_vector, atol=tolerance)
        assert (side.prior.unrated_mean is None) == (row == 0).all()


def test_a_rating_of_weight_zero_does_not_widen_the_range_of_predictions():
    R = [("ann", 7), ("bob", 7), ("ann", 3), ("bob", 3), ("bob", 5)]
    weighted = FactorALS(2, random_state=0).fit(R, [4.0, 3.0, 5.0, 4.0, 100.0], [1, 1, 1, 1, 0])
    assert weighted.rating_range_ == (3.0, 5.0)
    assert weighted.predict("bob", 5) <= 5
    assert 5 not in weighted.recommend("bob")[0]  # it was rated all the same


def test_biases_are_the_ridge_solution(data):
    model = BiasALS(reg=(3.0, 2.0), tol=0, max_iter=400).fit(data)
    u, i, r = data.triples()
    X = np.zeros((len(r), data.n_users + data.n_items))
    X[np.arange(len(r)), u] = X[np.arange(len(r)), data.n_users + i] = 1
    ridge = np.diag(np.r_[np.full(data.n_users, 3.0), np.full(data.n_items, 2.0)])
    solution = np.linalg.solve(X.T @ X + ridge, X.T @ (r.astype(np.float64) - data.mean))
    np.testing.assert_allclose(np.r_[model.user_biases_, model.item_biases_], solution, atol=1e-7)


def test_no_factors_are_biases(data):
    same = {"reg_bias": (5.0, 2.0), "reg_scaling": 0.0, "tol": 1e-6, "max_iter": 50, "dtype": "float64"}
    factor = FactorALS(0, implicit_features=None, **same).fit(data)
    np.testing.assert_array_equal(factor.user_biases_, BiasALS().fit(data).user_biases_)
    assert factor.user_factors_.shape == (data.n_users, 0)


def test_both_dtypes_agree():
    """From the same start, since generators draw other numbers in other dtypes."""
    fits = []
    for dtype in ("float32", "float64"):
        data = Ratings.from_arrays(*pairs(), dtype=dtype)
        penalty = Penalty(1.0, 0.5, 0.5)
        fit = Alternation(data, 5, (penalty, penalty), np.random.default_rng(0), 1)
        fit.items.table[:, :5] = np.random.default_rng(1).normal(0, 0.1, (data.n_items, 5))
        for side in [fit.users, fit.items] * 4:
            fit.update(side)
        fits.append(fit)
    assert fits[0].loss == pytest.approx(fits[1].loss, rel=1e-5)
    single, double = (np.vstack([side.table[:, :6] for side in fit.snapshot()]) for fit in fits)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(single, double, atol=2e-3)


@pytest.mark.parametrize(
    "make", [lambda: 7, lambda: np.random.RandomState(7), lambda: np.random.default_rng(7), lambda: np.int64(7)]
)
def test_kinds_of_random_state(data, make):
    fits = [FactorALS(3, random_state=make(), max_iter=3).fit(data) for _ in range(2)]
    np.testing.assert_array_equal(fits[0].item_factors_, fits[1].item_factors_)
    assert not np.array_equal(FactorALS(3, max_iter=3).fit(data).item_factors_, fits[0].item_factors_)


@pytest.mark.parametrize("implicit", ["both", None])
def test_regularisation_can_be_chosen_by_the_ratings(implicit):
    data = make_ratings(300, 200, 12000, random_state=0)
    model = FactorALS(4, reg="auto", implicit_features=implicit, random_state=0).fit(data)
    same = FactorALS(4, reg=model.reg_, reg_bias=model.reg_bias_, implicit_features=implicit, random_state=0).fit(data)
    np.testing.assert_array_equal(model._users.table, same._users.table)
    other = FactorALS(4, reg="auto", implicit_features=implicit, random_state=5, n_jobs=3).fit(data)
    assert other.reg_ == model.reg_
    default = FactorALS(4, implicit_features=implicit)._specification().penalties
    assert model.reg_[0] / default[0].reg == pytest.approx(model.reg_bias_[1] / default[1].reg_bias)
    held_out = np.random.default_rng(1).random(data.n_ratings) < 0.2
    train, test = data.select(~held_out), data.select(held_out)

    def error(**reg):
        return (
            FactorALS(4, implicit_features=implicit, random_state=0, **reg)
            .fit(train, eval_set=test)
            .history_["test_rmse"][-1]
        )

    multiples = np.geomspace(0.25, 4, 9)
    grid = [
        error(reg=tuple(x * p.reg for p in default), reg_bias=tuple(x * p.reg_bias for p in default)) for x in multiples
    ]
    assert error(reg="auto") < 1.005 * min(grid)
    tiny = FactorALS(2, reg="auto", random_state=0).fit([(1, 1), (1, 2), (2, 1)], [1, 2, 3])
    assert np.isfinite(tiny.reg_).all()
    with pytest.raises(TypeError, match="reg is 'best'; it must be a number"):
        FactorALS(reg="best").fit(data)


def test_sides_have_their_own_regularisation(data):
    loose, tight = (FactorALS(5, reg=(1.0, reg), random_state=0).fit(data) for reg in (0.5, 50.0))
    assert np.abs(loose.item_factors_).sum() > np.abs(tight.item_factors_).sum()


# Data of every shape


def test_empty_rows_and_columns_have_the_prior():
    matrix = sp.lil_array((5, 6))
    matrix[0, 1], matrix[2, 1], matrix[2, 4] = 3, 5, 4
    for model in models():
        model = clone(model).fit(matrix)
        if getattr(model, "implicit_features", None) is None:
            assert model.predict(1, 0) == pytest.approx(4.0)
            assert model.user_biases_[[1, 3, 4]].tolist() == [0, 0, 0]
        else:  # like the average of those who rated
            np.testing.assert_allclose(
                model._users.table[[1, 3, 4]], model._users.table[[0, 2]].mean(0)[None].repeat(3, 0), atol=1e-6
            )
        # Columns that nobody rated are recommended only if they are asked for.
        for strategy in ("mean", "lower", "upper", "thompson"):
            ids, scores = model.recommend(1, 6, strategy=strategy, random_state=0)
            assert sorted(ids[:2].tolist()) == [1, 4]
            assert (ids[2:] == MISSING).all()
            assert np.isnan(scores[2:]).all()
            ids, scores = model.recommend(1, 6, candidates=range(6), strategy=strategy, random_state=0)
            assert len(set(ids.tolist())) == 6
            assert np.isfinite(scores).all()


@pytest.mark.parametrize("matrix", [np.full((1, 60), 3.0), np.arange(60.0).reshape(1, 60), np.ones((30, 1)), [[4.0]]])
def test_one_user_one_item_one_rating_and_constant_ratings(matrix):
    for model in models():
        fitted = clone(model).fit(sp.csr_array(np.asarray(matrix) + 1))
        for table in (fitted._users.table, fitted._items.table):
            assert np.isfinite(table).all()
        low, high = fitted.rating_range_
        assert low <= fitted.predict(0, 0) <= high


@pytest.mark.parametrize("side", ["user", "item"])
def test_without_regularisation_the_first_singular_row_is_named(side):
    """Everyone rated everything but for the two last of one side, who have two ratings for three unknowns."""
    full = np.random.default_rng(0).integers(1, 6, (12, 12)).astype(float)
    full[[7, 9], 2:] = 0
    rows, columns = np.nonzero(full)
    names = np.array([f"name {x:02}" for x in range(12)])
    users, items = (names[rows], columns) if side == "user" else (columns, names[rows])
    data = Ratings.from_arrays(users, items, full[rows, columns], dtype="float64")
    model = FactorALS(2, reg=1.0, reg_bias=0.5, random_state=0, dtype="float64").fit(data)
    before = model.predict(data)
    zero = (0, 1) if side == "user" else (1, 0)
    with pytest.raises(np.linalg.LinAlgError) as told:
        model.set_params(reg=zero, reg_bias=zero, max_iter=1).fit(data)
    assert re.match(rf"the equations of {side} 'name 07' \(row 7, the first of 2\) are singular", str(told.value))
    assert "reg and reg_bias" in str(told.value)
    np.testing.assert_array_equal(model.predict(data), before)


def test_ratings_too_large_for_float32_are_refused_or_fitted():
    users, items, ratings = pairs()
    model = FactorALS(4, random_state=0).fit(Ratings.from_arrays(users, items, ratings * 1e30))
    assert np.isfinite(model.predict(users, items)).all()


def test_ratings_whose_squares_overflow_are_refused():
    with pytest.raises(FloatingPointError, match="rescale the ratings"):
        BiasALS().fit([(0, 0), (0, 1)], [1e200, -1e200])


@settings(max_examples=60)
@given(data=st.data(), dtype=st.sampled_from(["float32", "float64"]))
def test_nothing_that_is_no_number_leaves_a_fit(data, dtype):
    high = 36 if dtype == "float32" else 300
    power = st.integers(-high - 8, high) | st.integers(-3, 3)
    rng = np.random.default_rng(data.draw(st.integers(0, 100), "seed"))
    u, i = np.divmod(rng.choice(25, 12, replace=False), 5)
    ratings = rng.integers(1, 6, 12) * 10.0 ** data.draw(power, "scale") + 10.0 ** data.draw(power, "shift")
    weights = rng.uniform(0.5, 2, 12) * 10.0 ** data.draw(power, "weight") if data.draw(st.booleans()) else None
    model = FactorALS(
        data.draw(st.integers(0, 6), "k"), reg=10.0 ** data.draw(power, "reg"), reg_bias=10.0 ** data.draw(power),
        reg_scaling=data.draw(st.sampled_from([0, 0.5, 1])), dtype=dtype, random_state=0, n_jobs=1,
    )  # fmt: skip
    try:
        model.fit(Ratings.from_arrays(u, i, ratings, sample_weight=weights, dtype=dtype))
    except (ValueError, np.linalg.LinAlgError, FloatingPointError) as error:
        assert re.search("is 0 in every row|singular|leave|left the range|number from 0 to", str(error))  # noqa: PT017
        with pytest.raises(NotFittedError):
            model.predict(0, 0)
        return
    known = model.user_ids_
    for numbers in (model._users.table, model._items.table, *model.history_.values(), model.predict(u, i),
                    model.recommend(known, 2, exclude_rated=False)[1]):  # fmt: skip
        assert np.isfinite(numbers).all()


def test_constant_ratings_are_predicted_exactly(data):
    u, i, _ = data.triples()
    for value in (3.0, 0.0, -7.5, 0.1, 4.7):
        for model in models():
            constant = Ratings.from_arrays(u, i, np.full(len(u), value))
            predicted = clone(model).fit(constant).predict(constant)
            np.testing.assert_array_equal(predicted, np.float64(np.float32(value)))


def test_inputs_stay_as_they_are(data):
    users, items, ratings = pairs()
    arrays = users, items, ratings, np.ones(500)
    copies = [x.copy() for x in arrays]
    for array in arrays:
        array.setflags(write=False)
    model = FactorALS(3, random_state=0)
    X = np.c_[users, items]
    X.setflags(write=False)
    model.fit(X, ratings, arrays[3], eval_set=(X, ratings)).predict(users, items)
    matrix = sp.csr_array((ratings, (users, items)))
    before = [x.copy() for x in (matrix.data, matrix.indices, matrix.indptr)]
    model.fit(matrix)
    model.recommend(users, candidates=items)
    for a, b in zip([*copies, *before], [*arrays, matrix.data, matrix.indices, matrix.indptr], strict=True):
        np.testing.assert_array_equal(a, b)


# Parameters and states


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"k": -1}, ValueError, "k is -1"),
        ({"k": 2.5}, TypeError, "k is 2.5"),
        ({"k": True}, TypeError, "k is True"),
        ({"reg": -1}, ValueError, r"reg\[0\] \(users\) is -1|reg is -1"),
        ({"reg": float("nan")}, ValueError, "reg is nan"),
        ({"reg": "a"}, TypeError, "reg is 'a'"),
        ({"reg": (1, 2, 3)}, ValueError, "reg has 3 values"),
        ({"reg": (1, -2)}, ValueError, r"reg\[1\] \(items\) is -2"),
        ({"reg_bias": float("inf")}, ValueError, "reg_bias is inf"),
        ({"reg_scaling": 1.5}, ValueError, "reg_scaling is 1.5.*from 0 to 1"),
        ({"max_iter": 0}, ValueError, "max_iter is 0"),
        ({"tol": -0.1}, ValueError, "tol is -0.1"),
        ({"dtype": int}, ValueError, "dtype is .*float32"),
        ({"dtype": None}, ValueError, "dtype is None"),
        ({"random_state": "a"}, TypeError, "random_state is 'a'"),
        ({"random_state": -1}, ValueError, "random_state is -1"),
        ({"n_jobs": 0}, ValueError, "n_jobs is 0"),
        ({"n_jobs": 1.5}, TypeError, "n_jobs is 1.5"),
        ({"verbose": -1}, ValueError, "verbose is -1"),
    ],
)
def test_parameters_that_cannot_be(data, changes, error, says):
    with pytest.raises(error, match=says):
        FactorALS(**changes).fit(data)


def test_an_unfitted_model_says_so(tmp_path):
    model = FactorALS()
    for call in (
        lambda: model.predict(1, 2),
        lambda: model.recommend(1),
        lambda: model.similar_items(1),
        lambda: model.save(tmp_path / "m.npz"),
        lambda: model.user_ids_,
        lambda: model.item_factors_,
    ):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            call()
    assert not list(tmp_path.iterdir())


def test_an_interrupted_fit_leaves_the_model_as_it_was(data, monkeypatch):
    model = FactorALS(4, random_state=0).fit(data)
    before = model.predict(data)
    calls = []

    def interrupted(self, side):
        calls.append(side)
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Alternation, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.set_params(k=9, tol=0).fit(Ratings.from_arrays(*pairs(seed=9)))
    np.testing.assert_array_equal(model.predict(data), before)
    assert model.item_factors_.shape[1] == 4


def test_a_fit_that_fails_leaves_the_model_as_it_was(data, monkeypatch):
    model = FactorALS(4, random_state=0).fit(data)
    before, history = model.predict(data), dict(model.history_)
    ids, _ = model.recommend(data.user_ids, 3)
    other = Ratings.from_arrays(*pairs(seed=9))

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    for change, arguments, error in (
        ({"reg": 0, "reg_bias": 0, "k": 30}, {}, np.linalg.LinAlgError),
        ({"reg": -1}, {}, ValueError),
        ({"reg": 1.0, "n_jobs": 0}, {}, ValueError),
        ({}, {"sample_weight": [1.0]}, ValueError),
        ({}, {"eval_set": 7}, (TypeError, ValueError)),
        ({"verbose": 1}, {"eval_set": other}, KeyboardInterrupt),
    ):
        with monkeypatch.context() as patched:
            if error is KeyboardInterrupt:
                patched.setattr(_scores, "squared_errors", interrupt)
            with pytest.raises(error):
                model.set_params(**change).fit(other, **arguments)
        model.set_params(n_jobs=None)
        np.testing.assert_array_equal(model.predict(data), before)
        np.testing.assert_array_equal(model.recommend(data.user_ids, 3)[0], ids)
        assert model.history_ == history


def test_a_second_fit_forgets_the_first(data):
    model = FactorALS(4, random_state=0).fit(data, eval_set=data)
    model.recommend(data.user_ids)
    other = Ratings.from_arrays(*pairs(25, 50, 400, seed=4))
    model.set_params(k=6).fit(other)
    fresh = FactorALS(6, random_state=0).fit(other)
    np.testing.assert_array_equal(model.predict(other), fresh.predict(other))
    for a, b in zip(model.recommend(other.user_ids, 5), fresh.recommend(other.user_ids, 5), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "test_rmse" not in model.history_


def test_scikit_learn_tools():
    users, items, ratings = pairs()
    X = np.c_[users, items]
    model = FactorALS(random_state=0)
    copy = clone(model.set_params(k=4, reg=(1.0, 2.0)))
    assert copy.get_params() == model.get_params()
    scores = cross_val_score(model, X, ratings, scoring="neg_root_mean_squared_error", cv=3)
    assert (scores < 0).all()
    search = GridSearchCV(model, {"k": [2, 3]}, scoring="neg_root_mean_squared_error", cv=3).fit(X, ratings)
    assert search.best_params_["k"] in (2, 3)
    assert "FactorALS" in search.best_estimator_._repr_html_()
    assert repr(BiasALS(reg=3.0)) == "BiasALS(reg=3.0)"


def test_scikit_learn_tools_take_names_and_weights():
    users, items, ratings = pairs()
    X = np.array([[f"u{u}", f"film {i}"] for u, i in zip(users, items, strict=True)])
    model = BiasALS()
    scores = cross_val_score(
        model, X, ratings, scoring="neg_root_mean_squared_error", cv=3, params={"sample_weight": np.ones(500)}
    )
    # Names sort otherwise than numbers, which is all that changes: rows are summed in another order.
    numbers = cross_val_score(model, np.c_[users, items], ratings, scoring="neg_root_mean_squared_error", cv=3)
    np.testing.assert_allclose(scores, numbers, rtol=1e-4)
    search = GridSearchCV(model, {"reg": [1000.0, (1.0, 0.5)]}, scoring="neg_mean_absolute_error", cv=3)
    search.fit(X, ratings)
    assert search.best_params_["reg"] == (1.0, 0.5)
    assert search.predict(X).shape == (500,)
    with pytest.raises(ValueError, match="Invalid parameter 'rank'"):
        model.set_params(rank=3)


# Predictions


def test_predict(data):
    model = FactorALS(5, random_state=0).fit(data)
    u, i, _ = data.triples()
    users, items = data.user_ids[u], data.item_ids[i]
    expected = reference.predict_pairs(u, i, model._users.table, model._items.table, 5, model.mean_)
    np.testing.assert_allclose(model.predict(users, items, clip=False), expected, atol=1e-5)
    np.testing.assert_array_equal(model.predict(users, items), np.clip(model.predict(users, items, clip=False), 1, 5))
    np.testing.assert_array_equal(model.predict(data), model.predict(users, items))
    np.testing.assert_array_equal(model.predict(np.c_[users, items]), model.predict(users, items))
    one = model.predict(users[0], items[0])
    assert isinstance(one, float)
    assert one == model.predict(users, items)[0]
    np.testing.assert_array_equal(model.predict(users[0], items[:9]), model.predict([users[0]] * 9, items[:9].tolist()))


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_predict_and_fit_frames(data, library):
    module = pytest.importorskip(library)
    users, items, ratings = pairs()
    columns = {"movieId": items, "userId": users, "rating": ratings, "timestamp": np.arange(len(users))}
    frame = module.table(columns) if library == "pyarrow" else module.DataFrame(columns)
    model = FactorALS(3, random_state=0).fit(frame)
    np.testing.assert_array_equal(model.predict(frame), model.predict(users, items))
    np.testing.assert_array_equal(model.item_factors_, FactorALS(3, random_state=0).fit(data).item_factors_)


def test_the_unknown_are_like_the_average_where_who_rated_what_counts(data):
    model = FactorALS(5, random_state=0).fit(data)
    x, y = (table[:, :6].mean(0, dtype=np.float64) for table in (model._users.table, model._items.table))
    user, item = data.user_ids[3], data.item_ids[4]
    got = model.predict([user] * 4 + [-5, user, -5], [item] * 4 + [item, -9, -9], clip=False)[4:]
    u, i = model._users.table[3, :6].astype(float), model._items.table[4, :6].astype(float)
    expected = [model.mean_ + a[5] + b[5] + a[:5] @ b[:5] for a, b in ((x, i), (u, y), (x, y))]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    ids, scores = model.recommend(-77, 4, unknown="prior", strategy="mean")
    whole = model.mean_ + x[5] + model.item_biases_ + model.item_factors_ @ x[:5]
    order = np.argsort(-whole, kind="stable")[:4]
    np.testing.assert_array_equal(ids, data.item_ids[order])
    np.testing.assert_allclose(scores, whole[order], rtol=1e-6)


def test_the_unknown_get_what_the_prior_knows(data):
    model = FactorALS(5, implicit_features=None, random_state=0).fit(data)
    user, item = data.user_ids[3], data.item_ids[4]
    known = [user] * 6, [item] * 6
    got = model.predict([*known[0], -5, user, -5], [*known[1], item, -9, -9], clip=False)[6:]
    expected = [model.mean_ + model.item_biases_[4], model.mean_ + model.user_biases_[3], model.mean_]
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    with pytest.warns(UserWarning, match="3 of 4 predictions know only part.*3 users and 0 items"):
        model.predict([user, -1, -2, -3], [item] * 4)
    with pytest.raises(TypeError, match="users"):
        model.predict(["a"], [item])
    with pytest.raises(TypeError, match="items"):
        model.predict([user], [1.5])
    with pytest.raises(ValueError, match="users has 2 ids and items 3"):
        model.predict([user, user], [item] * 3)


def test_edges_of_predict(data):
    model = FactorALS(5, random_state=0).fit(data)
    users, item = data.user_ids[:4], data.item_ids[2]
    np.testing.assert_array_equal(model.predict(users, item), model.predict(users, [item] * 4))
    assert model.predict(users, int(item)).shape == (4,)
    for nothing in (([], []), (np.empty((0, 2), np.int64),)):
        assert model.predict(*nothing).shape == (0,)
    # Half of them unknown is no reason to warn; more than half is.
    model.predict([users[0], -1], [item, item])
    with pytest.warns(UserWarning, match="2 of 3 predictions"):
        model.predict([users[0], -1, -1], [item] * 3)
    ids, scores = model.recommend([], 3)
    assert ids.shape == scores.shape == (0, 3)


def test_predict_many_and_none(data):
    rng = np.random.default_rng(0)
    for model in models():
        model = clone(model).fit(data)
        users, items = rng.choice(data.user_ids, 12_000), rng.choice(data.item_ids, 12_000)
        users[:3000] = -1
        many = model.set_params(n_jobs=3).predict(users, items)
        parts = [model.predict(users[a : a + 1000], items[a : a + 1000]) for a in range(3000, 12_000, 1000)]
        np.testing.assert_array_equal(many[3000:], np.concatenate(parts))
        for none in (model.predict([], []), model.predict(np.empty((0, 2), int))):
            assert (none.shape, none.dtype) == ((0,), np.float64)
        ids, scores = model.recommend([], 4)
        assert ids.shape == scores.shape == (0, 4)


def test_held_out_ratings_may_be_pairs_and_unknown(data):
    users, items, ratings = pairs(seed=5)
    pair = np.c_[users, items], ratings
    one = FactorALS(3, random_state=0).fit(data, eval_set=pair)
    two = FactorALS(3, random_state=0).fit(data, eval_set=Ratings.from_arrays(users, items, ratings))
    assert one.history_["test_rmse"] == two.history_["test_rmse"]
    np.testing.assert_array_equal(one.item_factors_, FactorALS(3, random_state=0).fit(data).item_factors_)
    strangers = BiasALS().fit(data, eval_set=(np.c_[-users, items], ratings))
    known = np.isin(items, data.item_ids)
    bias = np.where(known, strangers.item_biases_[strangers._items.ids.codes(items)], 0)
    expected = metrics.rmse(ratings, np.clip(strangers.mean_ + bias, *strangers.rating_range_))
    assert strangers.history_["test_rmse"][-1] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["ratings", "pair", "frame", "sparse"])
def test_held_out_ratings_of_every_kind_and_no_influence(kind):
    users, items, ratings = pairs()
    matrix = sp.csr_array((ratings, (users, items)))
    model = FactorALS(4, random_state=0, max_iter=3, tol=0)
    # Users and items that are not in the training ratings are held out as well.
    held_out = pairs(60, 40, 200, seed=3)
    eval_set = {
        "ratings": lambda: Ratings.from_arrays(*held_out),
        "pair": lambda: (np.c_[held_out[:2]], held_out[2]),
        "frame": lambda: pytest.importorskip("pandas").DataFrame(
            dict(zip(("item_id", "user_id", "rating"), (held_out[1], held_out[0], held_out[2]), strict=True))
        ),
        "sparse": lambda: sp.coo_matrix((held_out[2], held_out[:2])),
    }[kind]()
    fitted = clone(model).fit(matrix, eval_set=eval_set)
    expected = [
        metrics.rmse(held_out[2], clone(model).set_params(max_iter=n).fit(matrix).predict(*held_out[:2]))
        for n in (1, 2, 3)
    ]
    assert fitted.history_["test_rmse"] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(fitted._items.table, clone(model).fit(matrix)._items.table)
    assert "test_rmse" not in clone(model).fit(matrix).history_


def test_held_out_ratings_that_cannot_be(data):
    users, items, ratings = pairs()
    with pytest.raises(ValueError, match="eval_set has 3 parts"):
        BiasALS().fit(data, eval_set=(users, items, ratings))
    with pytest.raises(TypeError, match="users"):
        BiasALS().fit(data, eval_set=([("ann", 7)], [3.0]))


# Lists


@pytest.mark.parametrize("kind", [int, str])
def test_recommend(kind):
    users, items, ratings = pairs()
    if kind is str:
        users, items = np.array([f"u{x}" for x in users]), np.array([f"film {x}" for x in items])
    data = Ratings.from_arrays(users, items, ratings)
    for model in models():
        model = clone(model).fit(data)
        everyone = data.user_ids
        ids, scores = model.recommend(everyone, 5, strategy="mean")
        assert ids.shape == scores.shape == (len(everyone), 5)
        assert scores.dtype == np.float64
        full = np.array([model.predict(user, data.item_ids, clip=False) for user in everyone])
        dense = data.to_csr()
        for row in range(len(everyone)):
            rated = dense.indices[dense.indptr[row] : dense.indptr[row + 1]]
            full[row, rated] = -np.inf
            assert not set(ids[row]) & set(data.item_ids[rated])
        np.testing.assert_allclose(scores, -np.sort(-full, axis=1)[:, :5], atol=1e-5)
        one_ids, one_scores = model.recommend(everyone[2], 5, strategy="mean")
        assert one_ids.shape == (5,)
        np.testing.assert_array_equal(one_ids, ids[2])
        np.testing.assert_array_equal(one_scores, scores[2])


def test_short_lists_are_padded():
    users, items, ratings = pairs()
    names = np.array([f"film {x}" for x in items])
    for own, pad in ((items, MISSING), (items.astype(np.uint64), MISSING), (names, "")):
        data = Ratings.from_arrays(users, own, ratings)
        model = FactorALS(3, random_state=0).fit(data)
        ids, scores = model.recommend(data.user_ids[:4], 100)
        assert ids.shape == (4, 100)
        left = data.n_items - np.diff(data.by_user.indptr)[:4]
        for row in range(4):
            assert (ids[row, left[row] :] == pad).all()
            assert np.isnan(scores[row, left[row] :]).all()
            assert np.isfinite(scores[row, : left[row]]).all()
            assert len(set(ids[row, : left[row]].tolist())) == left[row]


def test_unsigned_ids_beyond_signed_ones():
    users, items, ratings = pairs()
    far = items.astype(np.uint64) + np.uint64(2**63)
    model = FactorALS(3, random_state=0).fit(Ratings.from_arrays(users, far, ratings))
    near = FactorALS(3, random_state=0).fit(Ratings.from_arrays(users, items, ratings))
    ids, _ = model.recommend(users[:3], 2)
    assert ids.dtype == np.uint64
    np.testing.assert_array_equal(ids - np.uint64(2**63), near.recommend(users[:3], 2)[0])
    np.testing.assert_array_equal(model.similar_items(far[:2], 2)[0] - np.uint64(2**63),
                                  near.similar_items(items[:2], 2)[0])  # fmt: skip
    ids, scores = model.recommend(users[0], 100)
    assert (ids[np.isnan(scores)] == np.iinfo(np.uint64).max).all()
    assert np.isnan(scores[-1])


def test_filters(data):
    model = FactorALS(3, random_state=0).fit(data)
    user = data.user_ids[0]
    floor = int(np.median(model.item_counts_))
    popular = set(data.item_ids[model.item_counts_ >= floor].tolist())
    ids, _ = model.recommend(user, 30, min_ratings=floor)
    assert set(ids[ids != MISSING].tolist()) <= popular
    some = data.item_ids[[5, 2, 9]]
    ids, _ = model.recommend(user, 3, candidates=some, exclude_rated=False)
    assert set(ids.tolist()) == set(some.tolist())
    ids, _ = model.recommend(user, data.n_items, exclude_rated=False)
    assert sorted(ids.tolist()) == data.item_ids.tolist()
    with pytest.raises(ValueError, match=r"candidates: 99999 \(place 1\) is not among the"):
        model.recommend(user, candidates=[some[0], 99999])
    with pytest.raises(ValueError, match="n is 0"):
        model.recommend(user, 0)
    with pytest.raises(ValueError, match="min_ratings is -1"):
        model.recommend(user, min_ratings=-1)


def test_filters_hold_for_unknown_users_too(data):
    model = FactorALS(3, random_state=0).fit(data)
    some = data.item_ids[[5, 2, 9]]
    with pytest.warns(UserWarning, match="are these the ids of the training data"):
        ids, scores = model.recommend([-1, -2], 4, candidates=some)
    order = np.array([5, 2, 9])[np.argsort(-model.item_biases_[[5, 2, 9]])]
    np.testing.assert_array_equal(ids, [[*data.item_ids[order], MISSING]] * 2)
    assert np.isnan(scores[:, 3]).all()
    ids, _ = model.recommend([-1, data.user_ids[0], data.user_ids[1]], 30, exclude_rated=False)
    assert (np.sort(ids, axis=1) == data.item_ids).all()


def test_lists_do_not_depend_on_threads_or_company(data):
    for model in models():
        model = clone(model).fit(data)
        everyone = [*data.user_ids, -5, *data.user_ids[::-1]]
        ids, scores = model.set_params(n_jobs=1).recommend(everyone, 7)
        for n_jobs in (2, 5):
            for a, b in zip(model.set_params(n_jobs=n_jobs).recommend(everyone, 7), (ids, scores), strict=True):
                np.testing.assert_array_equal(a, b)
        for row in (0, 3, 39):
            for a, b in zip(model.recommend(everyone[row], 7), (ids, scores), strict=True):
                np.testing.assert_array_equal(a, b[row])


def test_unknown_users_are_recommended_what_most_like(data):
    model = FactorALS(3, implicit_features=None, random_state=0).fit(data)
    ids, scores = model.recommend(-77, 4, unknown="prior", strategy="mean")
    order = np.argsort(-model.item_biases_, kind="stable")[:4]
    np.testing.assert_array_equal(ids, data.item_ids[order])
    np.testing.assert_allclose(scores, model.mean_ + model.item_biases_[order], rtol=1e-6)
    known, unknown = data.user_ids[:3], -77
    ids, scores = model.recommend([known[0], unknown, known[2], known[0]], 4, strategy="mean")
    for row, user in ((0, known[0]), (2, known[2]), (3, known[0])):
        np.testing.assert_array_equal(ids[row], model.recommend(user, 4, strategy="mean")[0])
    np.testing.assert_array_equal(ids[1], data.item_ids[order])


def test_equal_scores_are_in_the_order_of_ids():
    matrix = sp.csr_array(np.array([[5.0, 5, 5, 5, 5, 0, 0], [3.0, 3, 3, 3, 3, 3, 3]]))
    matrix.eliminate_zeros()
    model = BiasALS().fit(matrix)
    assert model.recommend(0, 2)[0].tolist() == [5, 6]
    assert model.recommend(1, 7, exclude_rated=False)[0].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_similar_items(data):
    model = FactorALS(4, random_state=0, dtype="float64").fit(data)
    q = model.item_factors_.astype(np.float64)
    cosine = q @ q.T / np.linalg.norm(q, axis=1) / np.linalg.norm(q, axis=1)[:, None]
    np.fill_diagonal(cosine, -np.inf)
    ids, scores = model.similar_items(data.item_ids, 3)
    np.testing.assert_allclose(scores, -np.sort(-cosine, axis=1)[:, :3], atol=1e-5)
    np.testing.assert_array_equal(ids, data.item_ids[np.argsort(-cosine, axis=1)[:, :3]])
    one, _ = model.similar_items(data.item_ids[6], 3)
    np.testing.assert_array_equal(one, ids[6])
    ids, scores = model.similar_items(data.item_ids[0], 100)
    assert (ids[-1], np.isnan(scores[-1])) == (MISSING, True)
    with pytest.raises(
        ValueError, match=r"items: 99999 is unknown: it was not among the training items, where the nearest are"
    ):
        model.similar_items([data.item_ids[0], 99999])
    matrix = sp.csr_array(([3.0, 4.0, 2.0], ([0, 1, 1], [0, 0, 1])), shape=(2, 3))
    with pytest.raises(ValueError, match=r"items: 2 \(place 0\) has no training ratings"):
        FactorALS(2).fit(matrix).similar_items(2)
    with pytest.raises(ValueError, match=r"items: 7 \(place 0\) has factors of length 0 \(k is 0;"):
        FactorALS(0).fit(data).similar_items(7)
    constant = FactorALS(2).fit(sp.csr_array(np.full((3, 3), 2.0)))
    with pytest.raises(ValueError, match=r"items: 1 \(place 0\) has factors of length 0"):
        constant.similar_items(1)
    floor = int(np.median(model.item_counts_))
    ids, _ = model.similar_items(data.item_ids, 30, min_ratings=floor)
    assert set(ids.ravel().tolist()) == {MISSING, *data.item_ids[model.item_counts_ >= floor].tolist()}


# Users and items that come later


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("implicit", ["both", "user", "item", None])
def test_folding_in_the_ratings_of_the_fit_reproduces_its_rows(data, implicit, weighted, dtype):
    """Also far from convergence: rows are solved from what those of the fit were solved from."""
    weights = np.random.default_rng(0).uniform(0, 3, data.n_ratings) if weighted else None
    R = Ratings(data, sample_weight=weights, dtype=dtype)
    features = np.random.default_rng(1).normal(size=(data.n_users, 2))
    model = FactorALS(4, implicit_features=implicit, random_state=0, dtype=dtype, max_iter=2, tol=0)
    tolerance = 2e-5 if dtype == "float32" else 1e-10
    for options in ({}, {"user_features": features}):
        model.fit(R, **options)
        again = model.fold_in(R, features=options.get("user_features"))
        np.testing.assert_allclose(again._users.table, model._users.table, atol=tolerance)
        u, i, r = R.triples()
        one = u == 7
        w = None if weights is None else weights[one]
        if not options and implicit not in ("both", "user"):  # else what a newcomer's set says is extrapolated
            new = model.fold_in([(5, item) for item in data.item_ids[i[one]]], r[one], w)
            np.testing.assert_allclose(new._users.table[0], model._users.table[7], atol=tolerance)
        again = model.fold_in(R, side="item")
        np.testing.assert_allclose(again._items.table, model._items.table, atol=tolerance)
    prior, k = model._users.basis.prior, 4
    x = reference.row_posterior(
        r[one], w, model.mean_, 1.0, model._users.basis.table[i[one]].astype(np.float64), k,
        max((np.ones(one.sum()) if w is None else w).sum(), reference.MIN_EFFECTIVE_COUNT) ** prior.exponent
        * np.diag([prior.reg] * k + [prior.reg_bias]),
        prior.means(CSR(np.array([0, one.sum()]), i[one], r[one], w), model._users.features[[7]], k, True)[0],
    )[0]  # fmt: skip
    np.testing.assert_allclose(model._users.table[7, : k + 1], x, atol=10 * tolerance)


def test_small_sets_of_somebody_new_say_little(data):
    model = FactorALS(4, random_state=0, dtype="float64").fit(data)
    prior = model._users.prior
    few = CSR(np.array([0, 1]), np.array([3], np.int32), np.ones(1), None)
    expected = prior.implicit_effects[3] / prior.typical_min_count
    expected = expected + (1 - 1 / prior.typical_min_count) * prior.unrated_mean
    np.testing.assert_allclose(prior.means(few, None, 4)[0], expected)
    np.testing.assert_allclose(prior.means(few, None, 4, np.array([True]))[0], prior.implicit_effects[3])


def test_a_new_user_is_served_like_an_old_one(data):
    model = FactorALS(4, random_state=0).fit(data)
    films = data.item_ids[[2, 5, 9]]
    new = model.fold_in([(7, film) for film in films], [5, 4, 1])
    assert new.folded_in_ids_.tolist() == [7]
    assert new.user_ids_.tolist() == sorted([*data.user_ids.tolist(), 7])
    assert new.user_counts_[new.user_ids_ == 7].tolist() == [3]
    assert new.item_counts_.sum() == data.n_ratings + 3
    ids, scores = new.recommend(7, 100, strategy="mean")
    assert not set(films.tolist()) & set(ids.tolist())
    np.testing.assert_allclose(np.clip(scores[:5], *new.rating_range_), new.predict(7, ids[:5]), rtol=1e-6)
    np.testing.assert_array_equal(model.user_ids_, data.user_ids)
    weighted = model.fold_in([(7, film) for film in films], [5, 4, 1], [1, 1, 0])
    assert weighted.predict(7, films[0]) != new.predict(7, films[0])
    with pytest.raises(TypeError, match="R: these ids are integers, but row 0 is 'zoe'"):
        model.fold_in([("zoe", film) for film in films], [5, 4, 1])
    # Those who were there before are served as before.
    users, items = data.user_ids[[0, 3, 17]], data.item_ids[[1, 2, 3]]
    np.testing.assert_array_equal(new.predict(users, items), model.predict(users, items))
    for a, b in zip(new.recommend(users, 5), model.recommend(users, 5), strict=True):
        np.testing.assert_array_equal(a, b)


def test_new_items_join_the_old_ones(data):
    model = FactorALS(4, random_state=0).fit(data)
    users = data.user_ids[[1, 4, 8, 20]]
    more = model.fold_in([(user, 8) for user in users], [5, 5, 5, 4.5], side="item")
    assert more.item_ids_.tolist() == sorted([*data.item_ids.tolist(), 8])
    assert more.item_counts_[1] == 4
    np.testing.assert_array_equal(more.predict(users[0], data.item_ids), model.predict(users[0], data.item_ids))
    assert 8 not in more.recommend(users[0], 100)[0]
    assert 8 in more.recommend(data.user_ids[0], 100)[0]
    assert more.user_counts_.sum() == data.n_ratings + 4
    replaced = more.fold_in([(user, 8) for user in users[:2]], [1, 1], side="item")
    assert len(replaced.item_ids_) == len(more.item_ids_)
    assert replaced.item_counts_[1] == 2
    assert replaced.predict(users[0], 8) < more.predict(users[0], 8)


def test_folded_models_are_saved_and_folded_into_again(data, tmp_path):
    model = FactorALS(4, random_state=0).fit(data)
    newcomer = [(-5, item) for item in data.item_ids[5:12]], [1, 2, 3, 4, 5, 4, 3]
    expected = model.fold_in(*newcomer)._users.table
    # An item whose id comes before all others moves every code, and must move what was learned of items too.
    more = model.fold_in([(user, -9) for user in data.user_ids[:4]], [5, 5, 5, 4.5], side="item")
    np.testing.assert_array_equal(more.fold_in(*newcomer)._users.table, expected)
    users = model.fold_in(*newcomer)
    for folded in (more, users):
        folded.save(tmp_path / "m.npz")
        again = alsx.load(tmp_path / "m.npz")
        asked = folded.user_ids_[0], folded.item_ids_
        np.testing.assert_array_equal(again.predict(*asked), folded.predict(*asked))
        added = again.fold_in([(folded.user_ids_[0], -3)], [4.0], side="item")
        assert np.isfinite(added.predict(folded.user_ids_[0], -3))


def test_folding_in_what_cannot_be(data):
    model = FactorALS(4, random_state=0).fit(data)
    with pytest.raises(ValueError, match=r"R: item 8 was not among the training ratings.*side='item'"):
        model.fold_in([(7, 8)], [3.0])
    with pytest.raises(ValueError, match="side is \"both\"|side is 'both'"):
        model.fold_in([(7, 10)], [3.0], side="both")
    with pytest.raises(ValueError, match="R and features are both None"):
        model.fold_in()
    with pytest.raises(ValueError, match="fitted without user_features"):
        model.fold_in(features=np.ones((1, 2)))
    model._users = model._users.with_prior(model._users.prior._replace(reg=0.0, reg_bias=0.0))
    with pytest.raises(np.linalg.LinAlgError, match="user 9 .* singular"):
        model.fold_in([(9, data.item_ids[0])], [3.0])


def test_a_model_that_comes_back_folds_in_the_same(tmp_path, data):
    model = FactorALS(4, random_state=0).fit(data)
    model.save(tmp_path / "m.npz")
    again = alsx.load(tmp_path / "m.npz")
    new = [(-3, item) for item in data.item_ids[:4]], [1, 2, 3, 5]
    np.testing.assert_array_equal(again.fold_in(*new)._users.table, model.fold_in(*new)._users.table)
    asked = [-77, data.user_ids[0], data.user_ids[1]], data.item_ids[:3]
    np.testing.assert_array_equal(again.predict(*asked), model.predict(*asked))
    assert repr(again) == repr(model)


# Files


@pytest.mark.parametrize("kind", [int, str])
@pytest.mark.parametrize("how", ["file", "pickle", "copy", "memory map"])
def test_a_model_that_comes_back_is_the_same(tmp_path, kind, how):
    users, items, ratings = pairs()
    if kind is str:
        users, items = np.array([f"ü{x}" for x in users]), np.array([f"film {x}" for x in items])
    data = Ratings.from_arrays(users, items, ratings)
    for model in [
        *models(),
        FactorALS(3, reg=(np.float64(1), 2.0), random_state=np.random.default_rng(0), dtype=np.float32),
    ]:
        model.fit(data)
        if how == "pickle":
            again = pickle.loads(pickle.dumps(model))
        elif how == "copy":
            again = copy.deepcopy(model)
        elif how == "memory map":
            joblib.dump(model, tmp_path / "model.joblib")
            again = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
        else:
            model.save(tmp_path / "model.npz")
            again = alsx.load(tmp_path / "model.npz")
            assert os.listdir(tmp_path) == ["model.npz"]
        assert type(again) is type(model)
        assert again.history_ == model.history_
        np.testing.assert_array_equal(again.predict(data), model.predict(data))
        for a, b in zip(again.recommend(data.user_ids, 7), model.recommend(data.user_ids, 7), strict=True):
            np.testing.assert_array_equal(a, b)
        again.fit(data)


def test_users_and_items_without_ratings_are_saved_too(tmp_path):
    matrix = sp.csr_array(([3.0, 4.0, 2.0], ([1, 3, 3], [0, 0, 1])), shape=(6, 3))
    model = FactorALS(2, random_state=0).fit(matrix)
    model.save(tmp_path / "m.npz")
    again = alsx.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.user_counts_, [0, 1, 0, 2, 0, 0])
    np.testing.assert_array_equal(again.recommend(np.arange(6), 3)[0], model.recommend(np.arange(6), 3)[0])


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_saved_file_has_ordinary_permissions(tmp_path, data):
    (tmp_path / "other").touch()
    BiasALS().fit(data).save(tmp_path / "m.npz")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("other", "m.npz")]
    assert modes[0] == modes[1]


def test_files_that_are_no_models(tmp_path, data):
    model = BiasALS().fit(data)
    file = tmp_path / "model.npz"
    model.save(file)
    whole = file.read_bytes()
    for content in (whole[:1000], whole[: len(whole) // 2], b"", b"PK", b"not a model"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"model.npz is not a whole model file"):
            alsx.load(file)
    np.savez(file, other=np.arange(3))
    with pytest.raises(ValueError, match="is not a whole model file"):
        alsx.load(file)
    with pytest.raises(FileNotFoundError):
        alsx.load(tmp_path / "none.npz")


def tampered(file, drop=(), about=(), **arrays):
    """Write the model file again with something else in it."""
    with np.load(file) as whole:
        stored = {name: whole[name] for name in whole.files if name not in drop}
    told = {**json.loads(str(stored["about"])), **dict(about)}
    np.savez(file, **{**stored, "about": np.array(json.dumps(told)), **{k: f(stored[k]) for k, f in arrays.items()}})


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"drop": [name]}
            for name in ("about", "user_ids", "item_table", "seen_indptr", "seen_indices", "item_counts")
        ),
        {"about": {"model": "OtherALS"}},
        {"about": {"parameters": {"other": 1}}},
        {"about": {"k": 50}},
        {"about": {"k": "3"}},
        {"about": {"mean": None}},
        {"about": {"rating_range": [1]}},
        {"user_table": lambda x: x[:3]},
        {"user_table": lambda x: x[:, :2]},
        {"user_table": lambda x: x.astype(np.float64)},
        {"user_table": lambda x: x[0]},
        {"item_table": lambda x: x.astype(np.int32)},
        {"user_ids": lambda x: x[::-1]},
        {"seen_indptr": lambda x: x[:-1]},
        {"seen_indptr": lambda x: x + 1},
        {"seen_indptr": lambda x: x[::-1]},
        {"seen_indptr": lambda x: x.astype(np.int32)},
        {"seen_indices": lambda x: x + 10_000},
        {"seen_indices": lambda x: x - 1},
        {"seen_indices": lambda x: x[::-1]},
        {"seen_indices": lambda x: x[:-1]},
        {"item_counts": lambda x: x[:-1]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_files_whose_parts_do_not_fit_are_refused(tmp_path, data, change):
    """Kernels do not look where they read, so that nothing that does not fit may get to them."""
    file = tmp_path / "model.npz"
    FactorALS(3, random_state=0).fit(data).save(file)
    tampered(file)
    alsx.load(file)
    if change.get("drop") == ["about"]:
        with np.load(file) as whole:
            np.savez(file, **{name: whole[name] for name in whole.files if name != "about"})
    else:
        tampered(file, **change)
    with pytest.raises(ValueError, match=r"model.npz is not a whole model file"):
        alsx.load(file)


def test_a_changed_byte_is_seen_or_means_nothing(tmp_path, data):
    """What the checksums of the archive leave out, such as dates, is no part of the model."""
    file = tmp_path / "model.npz"
    model = FactorALS(3, random_state=0).fit(data)
    model.save(file)
    whole, refused = file.read_bytes(), 0
    for place in np.random.default_rng(0).integers(0, len(whole), 150):
        changed = bytearray(whole)
        changed[place] ^= 0x55
        file.write_bytes(changed)
        try:
            again = alsx.load(file)
        except ValueError:
            refused += 1
        else:
            np.testing.assert_array_equal(again.predict(data), model.predict(data))
    assert refused > 100


@pytest.mark.parametrize("change", [{}, {"model": "LaterALS"}, {"parameters": {"later": 1}}, {"k": None}])
def test_a_file_of_a_later_version_is_refused(tmp_path, data, change):
    """Whatever a later version writes into it."""
    file = tmp_path / "m.npz"
    BiasALS().fit(data).save(file)
    tampered(file, about={"format": 5, "version": "9.1", **change})
    with pytest.raises(ValueError, match=r"written by alsx 9\.1, which is newer than this one: upgrade alsx"):
        alsx.load(file)


def test_a_failed_save_leaves_the_old_file(tmp_path, data, monkeypatch):
    file = tmp_path / "m.npz"
    model = BiasALS().fit(data)
    model.save(file)
    before = file.read_bytes()

    def full(*args, **kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="no space left"):
        model.save(file)
    assert file.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.npz"]


# Real ratings


def test_movielens_100k(movielens_folder):
    train, test = (Ratings(part) for part in load_movielens(movielens_folder / "ml-100k.zip").fold("u1"))
    bias = BiasALS().fit(train, eval_set=test)
    factor = FactorALS(random_state=0).fit(train, eval_set=test)
    assert bias.history_["test_rmse"][-1] < 0.955
    assert factor.history_["test_rmse"][-1] < 0.925


def test_a_model_keeps_nothing_of_the_matrix_that_may_change():
    R = sp.random_array((60, 40), density=0.4, format="csr", dtype=np.float32, rng=0)
    R.sort_indices()
    before = R.copy()
    model = FactorALS(3, random_state=0).fit(R)
    for a, b in zip((R.indptr, R.indices, R.data), (before.indptr, before.indices, before.data), strict=True):
        np.testing.assert_array_equal(a, b)
    expected = model.recommend(np.arange(60))
    R.indices[:] = 0
    R.data[:] = 0
    for a, b in zip(expected, model.recommend(np.arange(60)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_user_is_recommended_the_same_by_any_number_of_threads():
    R = sp.random_array((50, 3000), density=0.1, format="csr", dtype=np.float32, rng=0)
    model = FactorALS(5, random_state=0, n_jobs=1).fit(R)
    whole = model.recommend(np.arange(50), n=30)
    for n_jobs in (1, 2, 5):
        model.n_jobs = n_jobs
        for user in (0, 7):
            for all_users, one in zip(whole, model.recommend(user, n=30), strict=True):
                np.testing.assert_array_equal(all_users[user], one)


# Limits


@pytest.mark.parametrize(
    "options", [{"reg": (0, 1)}, {"reg": (1, 0)}, {"reg": 0, "reg_bias": (0, 1)}, {"reg_bias": (1, 0)}]
)
@pytest.mark.parametrize("value", [3.0, None])
def test_no_regularisation_on_one_side_gives_numbers(options, value):
    """Constant ratings leave nothing to factors, so that rows are not determined where nothing regularises them."""
    users, items, ratings = pairs()
    ratings = ratings if value is None else np.full(len(ratings), value)
    model = FactorALS(2, random_state=0, implicit_features=None, **options)
    try:
        model.fit(np.c_[users, items], ratings)
    except np.linalg.LinAlgError as error:
        assert "are singular" in str(error)  # noqa: PT017
        return
    mean, std = model.predict(users, items, return_std=True)
    assert np.isfinite(mean).all()
    assert not np.isnan(std).any()
    assert np.isfinite(model.history_["loss"]).all()
    low, high = model.predict_interval(users, items)
    assert not np.isnan([low, high]).any()
    assert not np.isnan(model.recommend(users[:3], 3, strategy="upper")[1]).any()


def test_numbers_out_of_range_are_said(data):
    model = FactorALS(2, random_state=0).fit(data)
    for value in (1e28, 3e38):
        folded = model.fold_in([(5, data.item_ids[0]), (5, data.item_ids[1])], [value, -value])
        mean, std = folded.predict(5, data.item_ids, clip=False, return_std=True)
        assert np.isfinite(mean).all()
        assert not np.isnan(std).any()
    huge = FactorALS(2, dtype="float64", random_state=0).fit(data)
    with pytest.raises(FloatingPointError, match="R: the ratings of user 5 leave the range of float64 numbers"):
        huge.fold_in([(5, data.item_ids[0]), (5, data.item_ids[1])], [1e300, -1e300])
    for dtype, high in (("float32", r"2e\+19"), ("float64", r"1e\+154")):
        for reg in (1e308, (1.0, 1e308)):
            with pytest.raises(ValueError, match=f"reg.* is 1e\\+308; it must be a finite number from 0 to {high}"):
                FactorALS(2, reg=reg, dtype=dtype).fit(data)


def test_absurd_ranks_are_refused_before_the_memory_is_asked_for(data):
    for k in (10**6, 10**18):
        with pytest.raises(MemoryError, match=f"k is {k}; for 40 users and 30 items it takes .* GiB"):
            FactorALS(k).fit(data)


def test_one_rating_in_all_says_how_little_is_known():
    for model in (BiasALS(), FactorALS(2, random_state=0)):
        fitted = model.fit([("ann", 7)], [4.0])
        assert fitted.predict("ann", 7) == 4.0
        assert fitted.predict("ann", 7, return_std=True)[1] == np.inf
        assert fitted.predict_interval("ann", 7) == (-np.inf, np.inf)
        with pytest.raises(ValueError, match='strategy is "upper", but the model was fitted to too few ratings'):
            fitted.recommend("ann", strategy="upper")


def test_long_calls_hear_an_interruption_between_pieces(data, monkeypatch):
    """Kernels hear nothing, so that long calls are cut into pieces; the pieces change no bit."""
    model = FactorALS(3, random_state=0).fit(data)
    users = np.repeat(data.user_ids, 3)
    items = np.repeat(data.item_ids[:10], 12)
    whole = (
        model.recommend(users),
        model.predict(users, items, return_std=True),
        model.recommend(users, strategy="lower"),
    )
    shares = []
    for module, name, value in (
        ("top_n", "CHUNK_WORK", 1), ("top_n", "MIN_CHUNK_ROWS", 7), ("top_n", "CHUNK_PAIRS", 50), ("recommender", "CHUNK_PAIRS", 11)
    ):  # fmt: skip
        monkeypatch.setattr(f"alsx._models.{module}.{name}", value)
    monkeypatch.setattr("alsx._solver.prediction.CHUNK_PREDICTIONS", 13)
    monkeypatch.setattr("alsx._solver.rows.PIECE_WORK", 5000.0)
    parts = (
        model.recommend(users),
        model.predict(users, items, return_std=True),
        model.recommend(users, strategy="lower"),
    )
    for x, y in zip(whole, parts, strict=True):
        for a, b in zip(x, y, strict=True):
            np.testing.assert_array_equal(a, b)
    monkeypatch.setattr(
        "alsx._models.training.Progress.report_share", lambda self, rows, share: shares.append((rows, share))
    )
    again = FactorALS(3, random_state=0, verbose=2).fit(data)
    np.testing.assert_array_equal(again._items.table, model._items.table)
    assert {rows for rows, _ in shares} == {"users", "items"}
    assert {share for _, share in shares} >= {1.0}
    assert len(shares) > 4 * again.n_iter_


def test_verbose_may_be_a_truth_value(data, capsys):
    FactorALS(2, verbose=True, max_iter=2, random_state=0).fit(data)
    assert "FactorALS" in capsys.readouterr().err


def test_predictions_come_in_the_order_of_the_rows(tmp_path):
    users, items, ratings = pairs()
    order = np.random.default_rng(0).permutation(len(users))
    frame = pa.table({"user": users[order], "item": items[order], "rating": ratings[order]})
    model = FactorALS(3, random_state=0).fit(frame)
    expected = model.predict(users[order], items[order])
    pyarrow.csv.write_csv(frame, tmp_path / "test.csv")
    pyarrow.parquet.write_table(frame, tmp_path / "test.parquet")
    for source in (frame, tmp_path / "test.csv", str(tmp_path / "test.parquet"), np.c_[users, items][order]):
        np.testing.assert_array_equal(model.predict(source), expected)
    for source in (frame, tmp_path / "test.csv"):
        with pytest.warns(UserWarning, match=r"in the order of Ratings\.triples\(\), not of the rows"):
            by_user = model.predict(Ratings(source))
        np.testing.assert_array_equal(np.sort(by_user), np.sort(expected))
        again = pickle.loads(pickle.dumps(Ratings(source)))
        assert again.is_reordered
        # What was selected of it has no rows that it could be put beside.
        model.predict(again.select(np.arange(5)))
    ordered = frame.sort_by([("user", "ascending"), ("item", "ascending")])
    assert not Ratings(ordered).is_reordered
    np.testing.assert_array_equal(model.predict(Ratings(ordered)), model.predict(ordered))

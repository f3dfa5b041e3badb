"""Ratings that come after the fit: which rows are solved, from what, and what stays as it was."""

import pickle

import numpy as np
import pandas as pd
import pytest
import reference
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

import alsx
from alsx import BiasALS, FactorALS, Ratings
from alsx._models.seen import add_ratings, columns_of, rows_of
from alsx.datasets import make_ratings
from alsx.ratings import CSR

K = 3


def ratings(weighted=False, dtype="float64"):
    R = make_ratings(40, 30, 500, random_state=0)
    weights = np.random.default_rng(0).uniform(0.5, 3, R.n_ratings) if weighted else None
    return Ratings(R, sample_weight=weights, dtype=dtype)


def coming(seed=1, n=25):
    """Ratings of known and unseen users and items, some of them changed."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(45 * 34, n, replace=False)
    return (
        pd.DataFrame({"user": cells // 34 - 3, "item": cells % 34 - 2, "rating": rng.integers(1, 11, n) / 2.0}),
        rng.uniform(0.5, 2, n),
    )


def dense(model):
    """Ratings and weights seen, by pairs of ids."""
    seen = model._seen
    users = np.repeat(model.user_ids_, np.diff(seen.indptr))
    weights = np.ones(len(seen.indices)) if seen.weights is None else seen.weights
    return {
        (u, i): (r, w)
        for u, i, r, w in zip(
            users.tolist(), model.item_ids_[seen.indices].tolist(), seen.values.tolist(), weights.tolist(), strict=True
        )
    }


def row(model, own, other, table, code, features=None):
    """One row from its ratings, the slow way; `table` is the other side's."""
    seen = dense(model)
    first = own.name == "user"
    one = own.ids.values[code]
    mine = sorted((i if first else u, r, w) for (u, i), (r, w) in seen.items() if (u if first else i) == one)
    others = other.ids.codes(np.array([x[0] for x in mine]))
    r, w = np.array([x[1] for x in mine]), np.array([x[2] for x in mine])
    prior = own.solving(other)[1]
    csr = CSR(np.array([0, len(mine)]), others, r, w)
    described = None if own.features is None else own.features[[code]]
    m = prior.means(csr, described, K, own.were_fitted(np.array([code])))[0]
    s = max(w.sum(), reference.MIN_EFFECTIVE_COUNT) ** prior.exponent
    Lambda = s * np.diag([prior.reg] * K + [prior.reg_bias])
    return reference.row_posterior(r, w, model.mean_, 1.0, table[others].astype(float), K, Lambda, m)[0]


@pytest.mark.parametrize("implicit", ["both", None])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("refine", [0, 2])
def test_it_is_its_slow_twin(implicit, weighted, refine):
    model = FactorALS(K, implicit_features=implicit, max_iter=3, tol=0, random_state=0, dtype="float64").fit(
        ratings(weighted)
    )
    frame, weights = coming()
    before = pickle.loads(pickle.dumps(model))
    known = dense(model)
    model.partial_fit(frame, sample_weight=weights if weighted else None, refine=refine)
    expected = dict(known)
    for (u, i, r), w in zip(frame.itertuples(index=False), weights if weighted else np.ones(len(frame)), strict=True):
        expected[u, i] = (r, w)
    assert dense(model) == expected
    assert model.user_ids_.tolist() == sorted({*range(40), *frame["user"]})
    assert model.item_ids_.tolist() == sorted({*range(30), *frame["item"]})
    touched_users = np.unique(model._users.ids.codes(frame["user"].to_numpy()))
    touched_items = np.unique(model._items.ids.codes(frame["item"].to_numpy()))
    # The twin: tables among all ids, unseen rows like nobody in particular.
    users, items = (np.tile(side.cold_start_vector, (len(side), 1)) for side in (model._users, model._items))
    users[model._users.ids.codes(before.user_ids_)] = before._users.table[:, : K + 1]
    items[model._items.ids.codes(before.item_ids_)] = before._items.table[:, : K + 1]
    basis = np.tile(model._items.cold_start_vector, (len(model._items), 1))
    basis[model._items.ids.codes(before.item_ids_)] = before._users.basis.table[:, : K + 1]
    unseen = np.setdiff1d(touched_users, model._users.ids.codes(before.user_ids_))
    for step in ["unseen", *["items", "users"] * (1 + refine)]:
        if step != "items":
            for code in unseen if step == "unseen" else touched_users:
                users[code] = row(model, model._users, model._items, basis, code)
        else:
            for code in touched_items:
                items[code] = basis[code] = row(model, model._items, model._users, users, code)
    np.testing.assert_allclose(model._users.table[:, : K + 1], users, atol=1e-9)
    np.testing.assert_allclose(model._items.table[:, : K + 1], items, atol=1e-9)
    np.testing.assert_array_equal(model.user_counts_, model._users.counts)
    np.testing.assert_array_equal(model.item_counts_, model._items.counts)
    # All other rows are as before, to the last bit.
    for side, old, touched in (
        (model._users, before._users, touched_users), (model._items, before._items, touched_items)
    ):  # fmt: skip
        rest = np.setdiff1d(side.ids.values, side.ids.values[touched])
        np.testing.assert_array_equal(side.table[side.ids.codes(rest)], old.table[old.ids.codes(rest)])


def test_what_the_model_has_changes_no_bit():
    R = ratings()
    model = FactorALS(K, random_state=0).fit(R)
    before = pickle.loads(pickle.dumps(model))
    u, i, r = R.triples()
    some = np.arange(0, R.n_ratings, 7)
    assert model.partial_fit(list(zip(u[some].tolist(), i[some].tolist(), strict=True)), r[some]) is model
    for side in ("_users", "_items"):
        np.testing.assert_array_equal(getattr(model, side).table, getattr(before, side).table)
    np.testing.assert_array_equal(model.predict(R, return_std=True), before.predict(R, return_std=True))
    assert model.explain(3, 4, n=None) == before.explain(3, 4, n=None)


@pytest.mark.parametrize("kind", ["bias", "factor", "bayes", "float32", "rank"])
def test_one_unseen_user_is_folded_in(kind, tmp_path):
    model = {
        "bias": BiasALS(),
        "factor": FactorALS(K, random_state=0, dtype="float64"),
        "float32": FactorALS(K, random_state=0),
        "rank": alsx.RankALS(K, random_state=0, max_iter=5),
        "bayes": alsx.BayesALS(K, n_samples=5, burn_in=2, als_iter=1, random_state=0, keep_samples=2),
    }[kind].fit(ratings())
    told = [(900, item) for item in (3, 8, 20, 21)], [5.0, 1.0, 4.0, 4.5]
    folded = model.fold_in(*told)
    model.partial_fit(*told)
    items = np.setdiff1d(model.item_ids_, [3, 8, 20, 21])
    np.testing.assert_allclose(model.predict(900, items), folded.predict(900, items), atol=0.15)
    assert not set(model.recommend(900, 30)[0].tolist()) & {3, 8, 20, 21}
    # It goes on in every way.
    model.save(tmp_path / "m.npz")
    again = alsx.load(tmp_path / "m.npz").partial_fit([(901, 4), (3, 901)], [1.0, 2.0])
    model.partial_fit([(901, 4), (3, 901)], [1.0, 2.0])
    if kind == "rank":  # scores have no deviation
        np.testing.assert_allclose(again.predict([900, 901, 3], 4), model.predict([900, 901, 3], 4), rtol=1e-5)
        return
    for x, y in zip(again.predict([900, 901, 3], 4, return_std=True), model.predict([900, 901, 3], 4, return_std=True),
                    strict=True):  # fmt: skip
        np.testing.assert_allclose(x, y, rtol=1e-6)
    assert np.isfinite(model.recommend([900, 5], 4, strategy="lower")[1]).all()
    assert np.isfinite(model.fold_in([(902, 901)], [3.0]).predict(902, 901))
    total = sum(part.contribution for part in model.explain(900, 901, n=None).parts)
    assert total == pytest.approx(model.predict(900, 901, clip=False), abs=3e-5)


def test_a_changed_rating_is_as_if_the_old_one_had_not_been():
    R = ratings()
    u, i, r = R.triples()
    model = FactorALS(K, random_state=0, dtype="float64").fit(R)
    one = 17
    pair = [(int(u[one]), int(i[one]))]
    changed = clone(model).fit(R).partial_fit(pair, [9.0])
    assert dense(changed)[pair[0]] == (9.0, 1.0)
    assert changed.rating_range_[1] == 9.0
    back = changed.partial_fit(pair, [float(r[one])])
    assert dense(back) == dense(model)
    assert len(back._seen.indices) == R.n_ratings


def test_explanations_after_updates():
    """Rows that were solved again are explained in full; others say what was changed since."""
    model = FactorALS(K, random_state=0, dtype="float64", max_iter=3).fit(ratings())
    model.partial_fit([(2, 5), (50, 5)], [1.0, 5.0]).partial_fit([(3, 7)], [4.0])
    for user, stale in ((3, False), (50, False), (2, 7 in {i for u, i in dense(model) if u == 2})):
        parts = model.explain(user, 9, n=None).parts
        assert ("update" in [part.part for part in parts]) == stale
        assert sum(part.contribution for part in parts) == pytest.approx(model.predict(user, 9, clip=False), abs=1e-9)
    rated = {u for u, i in dense(model) if i == 7}
    for user in range(10, 20):
        parts = [part.part for part in model.explain(user, 9, n=None).parts]
        assert ("update" in parts) == (user in rated or user in {u for u, i in dense(model) if i == 5})


def test_refining_all_rows_lowers_the_loss():
    R = ratings()
    model = FactorALS(K, implicit_features=None, random_state=0, dtype="float64", max_iter=1, tol=0).fit(R)
    whole = FactorALS(K, implicit_features=None, random_state=0, dtype="float64", max_iter=7, tol=0).fit(R)
    u, i, r = R.triples()
    more = clone(model).fit(R).partial_fit([(int(u[0]), int(i[0]))], [float(r[0])], refine=6, refine_rows="all")

    def error(one):
        return np.mean((one.predict(R, clip=False) - r) ** 2)

    assert error(more) < error(model)
    # Seven sweeps, the last ones from where the first had come to; the solutions are the same but for half a sweep.
    np.testing.assert_allclose(more.predict(R), whole.predict(R), atol=0.1)


def test_features_of_unseen_rows():
    about = pd.DataFrame({"item": range(30), "length": np.linspace(0, 1, 30), "kind": ["a", "b", "c"] * 10})
    model = FactorALS(K, random_state=0, dtype="float64").fit(ratings(), item_features=about)
    new = pd.DataFrame({"item": [77, 78, 3], "length": [0.2, 0.4, 0.9], "kind": ["a", "c", "b"]})
    plain = pickle.loads(pickle.dumps(model)).partial_fit([(1, 77), (2, 77)], [5.0, 4.0])
    model.partial_fit([(1, 77), (2, 77)], [5.0, 4.0], item_features=new)
    assert {77, 78} <= set(model.item_ids_.tolist())
    assert model.predict(5, 77) != plain.predict(5, 77)
    expected = model.fold_in(side="item", features=new.iloc[[1]].assign(item=79))
    assert model.predict(5, 78) == pytest.approx(expected.predict(5, 79))
    only = pickle.loads(pickle.dumps(plain)).partial_fit(item_features=new.iloc[:1])
    np.testing.assert_allclose(only.predict(5, 77), model.predict(5, 77), atol=0.05)
    with pytest.raises(ValueError, match="user_features: the model was fitted without user_features"):
        model.partial_fit(user_features=new)


def test_a_model_that_was_not_fitted_is_fitted():
    R = ratings()
    a, b = FactorALS(K, random_state=0).partial_fit(R), FactorALS(K, random_state=0).fit(R)
    np.testing.assert_array_equal(a.predict(R), b.predict(R))
    matrix = sp.csr_array(([3.0, 4.0], ([0, 2], [1, 5])), shape=(3, 60))
    a.partial_fit(matrix)
    assert len(a.item_ids_) == 30
    assert dense(a)[2, 5] == (4.0, 1.0)


def test_what_cannot_be(tmp_path):
    model = FactorALS(K, random_state=0).fit(ratings())
    before = pickle.dumps(model)
    for wrong, error, says in (
        (([("ann", 3)], [4.0]), TypeError, "R: these ids are integers, but row 0 is 'ann'"),
        (([(1, 3), (1, 3)], [4.0, 2.0]), ValueError, "duplicate ratings"),
        (([(1, 3)], [np.nan]), ValueError, "y: row 0 is nan"),
        ((), ValueError, "R is None and there are no features"),
    ):
        with pytest.raises(error, match=says):
            model.partial_fit(*wrong)
    for options, says in (({"refine": -1}, "refine is -1"), ({"refine_rows": "some"}, "refine_rows is 'some'")):
        with pytest.raises(ValueError, match=says):
            model.partial_fit([(1, 3)], [4.0], **options)
    assert pickle.dumps(model) == before
    model.save(tmp_path / "m.npz", with_ratings=False)
    small = alsx.load(tmp_path / "m.npz")
    with pytest.raises(ValueError, match="saved with with_ratings=False"):
        small.partial_fit([(1, 3)], [4.0])


@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
@settings(max_examples=60)
def test_ratings_are_added_as_to_a_dictionary(seed, weighted, more_weights):
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 8)), int(rng.integers(1, 9))

    def some(with_weights):
        cells = np.sort(rng.choice(n * m, rng.integers(0, n * m + 1), replace=False))
        weights = rng.integers(1, 3, len(cells)).astype(np.float32) if with_weights else None
        return cells // m, cells % m, rng.integers(1, 4, len(cells)).astype(np.float32), weights

    def entries(u, i, r, w):
        w = np.ones(len(u)) if w is None else w
        return {(a, b): (x, y) for a, b, x, y in zip(u.tolist(), i.tolist(), r.tolist(), w.tolist(), strict=True)}

    u, i, r, w = some(weighted)
    seen = CSR(np.concatenate([[0], np.cumsum(np.bincount(u, minlength=n))]).astype(np.int64), i.astype(np.int32), r, w)
    new = some(more_weights)
    expected = entries(u, i, r, w)
    changed = [expected.get(pair) != value for pair, value in entries(*new).items()]
    expected |= entries(*new)
    found = add_ratings(seen, *new)
    assert found.is_change.tolist() == changed
    rows = np.repeat(np.arange(n), np.diff(found.seen.indptr))
    assert entries(rows, found.seen.indices, found.seen.values, found.seen.weights) == expected
    order = rows * m + found.seen.indices
    assert (np.diff(order) > 0).all()
    # Rows and columns by themselves.
    asked = rng.permutation(n)[: rng.integers(1, n + 1)]
    part = rows_of(found.seen, asked)
    rows = asked[np.repeat(np.arange(len(asked)), np.diff(part.indptr))]
    kept = {pair: value for pair, value in expected.items() if pair[0] in asked}
    assert entries(rows, part.indices, part.values, part.weights) == kept
    asked = np.sort(rng.permutation(m)[: rng.integers(1, m + 1)])
    part = columns_of(found.seen, asked, m, 1)
    columns = asked[np.repeat(np.arange(len(asked)), np.diff(part.indptr))]
    kept = {pair: value for pair, value in expected.items() if pair[1] in asked}
    assert entries(part.indices, columns, part.values, part.weights) == kept

"""Explanations: their parts add up to the prediction, each is what a slow twin says, and none is there to fill a gap."""

import pickle

import numpy as np
import pandas as pd
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import alsx
from alsx import Ratings
from alsx.datasets import make_ratings

ATOL = {"float32": 3e-5, "float64": 1e-9}


def ratings(seed=0, weighted=False, dtype="float32"):
    R = make_ratings(40, 30, 500, random_state=seed)
    weights = np.random.default_rng(seed).uniform(0, 3, R.n_ratings) if weighted else None
    if weighted:
        weights[:3] = 0
    return Ratings(R, sample_weight=weights, dtype=dtype)


def described(n, seed=1):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"user": np.arange(n), "age": rng.normal(40, 9, n), "trade": rng.choice(["a", "b", "c"], n)}
    )  # fmt: skip


def total(explanation):
    return sum(part.contribution for part in explanation.parts)


def adds_up(model, user, item, atol, parts=("mean", "bias", "rating", "prior")):
    explanation = model.explain(user, item, n=None)
    assert {part.part for part in explanation.parts} <= set(parts)
    assert explanation.prediction == model.predict(user, item, clip=False)
    assert total(explanation) == pytest.approx(explanation.prediction, abs=atol)
    return explanation


@given(
    st.sampled_from(["bias", "plain", "both", "user", "item"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(1, 3),
    st.integers(0, 5),
)
@settings(max_examples=40)
def test_parts_add_up_to_the_prediction(kind, weighted, features, dtype, exponent, max_iter, seed):
    """Also far from convergence, where nothing is left over only if rows are explained from what they were solved from."""
    R = ratings(seed, weighted, dtype)
    options = {"reg_scaling": exponent, "max_iter": max_iter, "tol": 0}
    told = {}
    if kind == "bias":
        model, dtype = alsx.BiasALS(**options), "float64"
    else:
        implicit = None if kind == "plain" else kind
        model = alsx.FactorALS(3, implicit_features=implicit, dtype=dtype, random_state=seed, **options)
        told = {"user_features": described(45), "item_features": np.eye(30)[:, :4]} if features else {}
    model.fit(R, **told)
    for user, item in ((0, 3), (17, 0), (39, 29), *([(44, 2)] if told else [])):
        adds_up(model, user, item, ATOL[dtype])


@pytest.mark.parametrize("feedback", ["ratings", "implicit"])
@pytest.mark.parametrize("implicit", ["both", None])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_model_that_ranks_has_a_part_for_what_was_not_rated(feedback, implicit, weighted):
    R = ratings(1, weighted, "float64")
    model = alsx.RankALS(
        3, feedback=feedback, implicit_features=implicit, max_iter=2, tol=0, dtype="float64", random_state=0
    )
    model.fit(R, user_features=described(42))
    model = model.fold_in([(900, 3), (900, 4)], [4.0, 5.0])
    for user, item in ((0, 3), (17, 0), (41, 2), (900, 7)):
        explanation = model.explain(user, item, n=None)
        assert total(explanation) == pytest.approx(model.predict(user, item), abs=1e-9)
        assert ("missing pairs" in [part.part for part in explanation.parts]) == (user != 41)
    again = model.fold_in(R, features=described(42).head(40))
    known = model._users.ids.codes(np.arange(40))
    np.testing.assert_allclose(again._users.table[known], model._users.table[known], atol=1e-9)


@pytest.mark.parametrize("how", ["pickled", "saved", "clone of a folded"])
def test_models_that_come_back_explain_the_same(how, tmp_path):
    model = alsx.FactorALS(3, max_iter=2, random_state=0).fit(ratings(), user_features=described(42))
    newcomer = described(1).assign(user=[777])
    model = model.fold_in([(777, 3), (777, 8), (777, 20), (5, 3)], [4.0, 1.0, 5.0, 2.0], features=None)
    model = model.fold_in(features=newcomer.assign(user=[778]))
    if how == "pickled":
        again = pickle.loads(pickle.dumps(model))
    else:
        model.save(tmp_path / "m.npz")
        again = alsx.load(tmp_path / "m.npz")
    for user in (777, 778, 5, 41, 0):
        for item in (3, 12):
            one = adds_up(model, user, item, ATOL["float32"])
            for a, b in zip(one.parts, adds_up(again, user, item, ATOL["float32"]).parts, strict=True):
                assert a[:4] == b[:4]
                assert a.contribution == pytest.approx(b.contribution, abs=1e-6)
    model.save(tmp_path / "small.npz", with_ratings=False)
    small = alsx.load(tmp_path / "small.npz")
    with pytest.raises(ValueError, match="saved with with_ratings=False"):
        small.explain(5, 3)


@pytest.mark.parametrize("weighted", [False, True])
def test_each_part_is_the_slow_twins(weighted):
    R = ratings(3, weighted, "float64")
    model = alsx.FactorALS(3, max_iter=3, dtype="float64", random_state=0).fit(R, user_features=described(40))
    user, item, k = 11, 4, 3
    part = slice(*R.by_user.indptr[user : user + 2])
    items, values = R.by_user.indices[part], R.by_user.values[part]
    weights = None if not weighted else R.by_user.weights[part]
    w = np.ones(len(items)) if weights is None else weights
    table, prior = model._users.basis
    Lambda = max(w.sum(), reference.MIN_EFFECTIVE_COUNT) ** prior.exponent * np.diag([prior.reg] * k + [prior.reg_bias])
    learned = prior.implicit_effects[items] * w[:, None] / np.sqrt(w.sum())
    features = model._users.features[[user]].toarray()[0]
    from_features = features[:, None] * prior.feature_effects
    m = learned.sum(0) + from_features.sum(0)
    x, A, z, t, w = reference.row_posterior(values, weights, model.mean_, 1.0, table[items], k, Lambda, m)
    asked = np.append(model._items.table[item, :k], 1.0)
    np.testing.assert_allclose(model._users.table[user, : k + 1], x, atol=1e-10)
    inverse = np.linalg.inv(A)
    expected = dict(zip(model.item_ids_[items].tolist(), (w * t)[:, None] * z @ inverse @ asked, strict=True))
    explanation = model.explain(user, item, n=None)
    found = {p.id: p.contribution for p in explanation.parts if p.part == "rating"}
    assert found.keys() == expected.keys()
    for one, contribution in expected.items():
        assert found[one] == pytest.approx(contribution, abs=1e-9)
    of_rated = dict(zip(items.tolist(), learned @ Lambda @ inverse @ asked, strict=True))
    found = {p.id: p.contribution for p in explanation.parts if p.part == "prior" and p.id is not None}
    for one, contribution in of_rated.items():
        assert found.get(one, 0.0) == pytest.approx(contribution, abs=1e-9)
    names = [*model._users.encoder.names, "intercept"]
    found = {p.name: p.contribution for p in explanation.parts if p.name.startswith("feature ")}
    for name, contribution in zip(names, from_features @ Lambda @ inverse @ asked, strict=True):
        assert found.get(f"feature {name}", 0.0) == pytest.approx(contribution, abs=1e-9)
    assert {p.id: p.rating for p in explanation.parts if p.part == "rating"} == dict(
        zip(items.tolist(), values.tolist(), strict=True)
    )


def test_a_row_that_was_not_solved_again_has_a_part_for_it():
    model = alsx.FactorALS(3, max_iter=2, random_state=0).fit(ratings())
    more = model.fold_in([(3, 900), (5, 900), (7, 900)], [5.0, 1.0, 4.0], side="item")
    for user in (3, 5, 7):
        parts = [
            part.part
            for part in adds_up(more, user, 2, ATOL["float32"], ("mean", "bias", "rating", "prior", "update")).parts
        ]
        assert parts[-1] == "update"
    adds_up(more, 8, 2, ATOL["float32"])
    adds_up(more, 8, 900, ATOL["float32"])


def test_a_sampler_explains_whom_it_has_folded_in():
    model = alsx.BayesALS(2, n_samples=5, burn_in=2, als_iter=1, random_state=0).fit(
        ratings(), user_features=described(40)
    )
    with pytest.raises(ValueError, match="user: 3 was in the fit of a BayesALS"):
        model.explain(3, 4)
    more = model.fold_in([(900, 3), (900, 9), (900, 12)], [5.0, 1.0, 4.0]).fold_in(
        features=described(1).assign(user=901)
    )
    adds_up(more, 900, 4, ATOL["float32"])
    adds_up(more, 901, 4, ATOL["float32"])


def test_short_lists_and_frames():
    model = alsx.FactorALS(3, max_iter=3, random_state=0).fit(ratings(), user_features=described(40))
    whole = model.explain(3, 4, n=None)
    assert model.explain(3, 4, n=10**6) == whole
    for n in (0, 1, 3):
        short = model.explain(3, 4, n=n)
        assert total(short) == pytest.approx(total(whole), abs=1e-12)
        for part in ("rating", "prior"):
            largest = [p for p in whole.parts if p.part == part][:n]
            kept = [p for p in short.parts if p.part == part]
            assert kept[:-1] == largest
            assert kept[-1].name.startswith(f"{len([p for p in whole.parts if p.part == part]) - n} other")
            sizes = [abs(p.contribution) for p in largest]
            assert sizes == sorted(sizes, reverse=True)
    model.set_titles({4: "Brazil"})
    frame = model.explain(3, 4, as_frame=True)
    assert list(frame.columns) == ["part", "id", "name", "rating", "contribution", "title"]
    assert frame["contribution"].sum() == pytest.approx(whole.prediction, abs=1e-5)
    assert frame[frame["part"] == "bias"]["title"].tolist() == ["Brazil"]
    assert str(whole).count("\n") == len(whole.parts)


def test_what_cannot_be_explained():
    model = alsx.BiasALS().fit(ratings())
    for wrong, says in (((99, 3), r"user: 99 is unknown.*nearest are 39.*fold it in"), ((3, 99), "item: 99 is unknown"),
                        (([3], 3), r"user has 1 ids; explain takes one, such as 0"), ((3, 3, -1), "n is -1")):  # fmt: skip
        with pytest.raises(ValueError, match=says):
            model.explain(*wrong)

"""Cross-validation and the choice of parameters; splitters in scikit-learn's hands."""

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.model_selection import cross_validate as sklearn_cross_validate

import alsx
from alsx import BiasALS, FactorALS, Ratings
from alsx.metrics import evaluate, rmse
from alsx.model_selection import RatingKFold, RatingSplit, cross_validate, k_fold, train_test_split, tune
from alsx.model_selection import _tune as tuning


def make(seed=0, n_users=30, n_items=20):
    rng = np.random.default_rng(seed)
    rated = rng.random((n_users, n_items)) < 0.5
    taste = rng.normal(size=(n_users, 2)) @ rng.normal(size=(2, n_items))
    stars = np.clip(np.round(3 + taste + 0.5 * rng.normal(size=rated.shape)), 1, 5)
    R = Ratings(scipy.sparse.csr_array(stars * rated))
    u, i, r = R.triples()
    return Ratings.from_arrays(u, i, r, timestamps=rng.permutation(len(r)))


@pytest.fixture(scope="module")
def ratings():
    return make()


SPLITTERS = [
    *(RatingSplit(0.2, by=by, random_state=0) for by in ("random", "user", "last", "time", "cold_users", "cold_items")),
    *(RatingKFold(3, by=by, random_state=0) for by in ("random", "user", "time", "cold_users", "cold_items")),
]


@pytest.mark.parametrize("splitter", SPLITTERS, ids=repr)
@pytest.mark.filterwarnings("ignore:.*predictions know only part of their pair")
def test_scikit_learn_takes_splitters(splitter, ratings):
    u, i, stars = ratings.triples()
    pairs = np.column_stack([u, i])
    groups = ratings.timestamps
    scoring = "neg_root_mean_squared_error"
    scores = cross_val_score(BiasALS(), pairs, stars, cv=splitter, groups=groups, scoring=scoring)
    wanted = []
    for train, test in splitter.split(pairs, stars, groups):
        model = BiasALS().fit(pairs[train], stars[train])
        wanted.append(-rmse(stars[test], model.predict(pairs[test])))
    np.testing.assert_allclose(scores, wanted, rtol=1e-12)
    search = GridSearchCV(BiasALS(), {"reg": [0.1, 1.0]}, cv=splitter, scoring=scoring)
    search.fit(pairs, stars, groups=groups)
    assert search.n_splits_ == splitter.get_n_splits()


def test_cross_validate_is_a_loop_over_folds(ratings):
    model = FactorALS(2, max_iter=3, random_state=0)
    scores = cross_validate(model, ratings, cv=3, n=(2, 5), min_rating=4, random_state=1, return_models=True)
    for place, (train, test) in enumerate(k_fold(ratings, 3, random_state=1)):
        fitted = FactorALS(2, max_iter=3, random_state=0).fit(train)
        wanted = evaluate(fitted, test, (2, 5), min_rating=4)
        assert set(scores) == {"fit_time", "score_time", "estimator", *(f"test_{name}" for name in wanted)}
        assert {"test_rmse", "test_mae", "test_ndcg@2", "test_map@5", "test_coverage@5"} <= set(scores)
        for name, value in wanted.items():
            assert scores[f"test_{name}"][place] == pytest.approx(value, rel=1e-12)
        np.testing.assert_array_equal(scores["estimator"][place].item_factors_, fitted.item_factors_)
    assert not hasattr(model, "mean_")
    # Positions, parts and scikit-learn's splitters are as good as ours.
    same = {"metrics": ("rmse", "recall"), "n": 5}
    rows = list(RatingKFold(3, random_state=1).split(ratings))
    for cv in (rows, list(k_fold(ratings, 3, random_state=1)), RatingKFold(3, random_state=1)):
        again = cross_validate(model, ratings, cv=cv, **same)
        np.testing.assert_array_equal(again["test_rmse"], scores["test_rmse"])
    foreign = cross_validate(model, ratings, cv=KFold(4, shuffle=True, random_state=0), **same)
    assert foreign["test_recall@5"].shape == (4,)


def test_cross_validate_agrees_with_scikit_learn(ratings):
    u, i, stars = ratings.triples()
    pairs, cv = np.column_stack([u, i]), RatingKFold(4, by="user", random_state=0)
    ours = cross_validate(BiasALS(), ratings, cv=cv, metrics="rmse")
    theirs = sklearn_cross_validate(BiasALS(), pairs, stars, cv=cv, scoring="neg_root_mean_squared_error")
    np.testing.assert_allclose(ours["test_rmse"], -theirs["test_score"], rtol=1e-6)


def test_arguments_reach_the_model(ratings):
    features = scipy.sparse.csr_array(np.random.default_rng(0).normal(size=(ratings.n_items, 2)))
    scores = cross_validate(
        FactorALS(2, max_iter=2, random_state=0),
        ratings,
        cv=RatingSplit(0.2, by="last"),
        metrics="coverage",
        n=3,
        fit={"item_features": features},
        recommend={"candidates": ratings.item_ids[:4]},
        return_models=True,
    )
    assert scores["test_coverage@3"][0] <= 4 / ratings.n_items
    assert scores["estimator"][0].feature_effects_.num_rows == 3


@pytest.mark.parametrize(
    ("cv", "kind", "sentence"),
    [
        (1, ValueError, "cv is 1; it must be at least 2"),
        (2.5, TypeError, "cv is 2.5"),
        ("time", TypeError, "cv is 'time'; it must be a number of folds, a splitter"),
        ([], ValueError, "cv gives no split"),
    ],
)
def test_cross_validate_refused(cv, kind, sentence, ratings):
    with pytest.raises(kind, match=sentence):
        cross_validate(BiasALS(), ratings, cv=cv)


# ---------------------------------------------------------------------------------------------------------------------
# tune


class Planted(BaseEstimator):
    """Predicts a constant, whose error is known for every setting; counts its fits."""

    fits: list = []  # noqa: RUF012

    def __init__(self, a=0.0, b=0.0, max_iter=8, random_state=None):
        self.a, self.b, self.max_iter, self.random_state = a, b, max_iter, random_state

    def fit(self, R):
        Planted.fits.append((self.a, self.b, self.max_iter, self.random_state))
        self.mean_ = R.mean
        return self

    def predict(self, users, items):
        # With more iterations nearer to what the setting can reach.
        return np.full(len(users), self.mean_ + self.a + self.b + 4 / self.max_iter)


def test_halving_keeps_the_best_half(ratings):
    Planted.fits.clear()
    grid = {"a": [3.0, 0.0, 1.0, 2.0], "b": [0.5, 0.25]}
    result = tune(Planted(), ratings, grid, min_resource=2, random_state=7)
    # 8 candidates with 2 iterations, 4 with 4, 2 with 8.
    assert [sum(fit[2] == rung for fit in Planted.fits) for rung in (2, 4, 8)] == [8, 4, 2]
    assert {fit[3] for fit in Planted.fits} == {7}
    assert result.best_params == {"a": 0.0, "b": 0.25, "max_iter": 8}
    table = result.table
    assert list(table) == ["rung", "a", "b", "max_iter", "score", "seconds", "kept"]
    assert table["rung"] == [0] * 8 + [1] * 4 + [2] * 2
    kept = {
        (a, b)
        for a, b, rung, kept in zip(*(table[x] for x in ("a", "b", "rung", "kept")), strict=True)
        if kept and rung == 0
    }
    assert kept == {(0.0, 0.25), (0.0, 0.5), (1.0, 0.25), (1.0, 0.5)}
    train, validation = train_test_split(ratings, 0.1, random_state=7)
    error = rmse(validation.by_user.values, np.full(len(validation), train.mean + 0.75))
    assert result.best_score == pytest.approx(error) == pytest.approx(min(table["score"]))


def test_more_iterations_need_not_be_better(ratings):
    class Overfits(Planted):
        def predict(self, users, items):
            return np.full(len(users), self.mean_ + self.a + self.max_iter)

    result = tune(Overfits(), ratings, {"a": [0.0, 1.0]}, min_resource=2)
    assert result.best_params == {"a": 0.0, "max_iter": 2}


def test_tune_is_deterministic_and_chooses_lists_by_more(ratings):
    model = FactorALS(max_iter=4, dtype="float64")
    results = [
        tune(model, ratings, {"k": (1, 3), "reg": (0.5, 2.0, None)}, metric="ndcg", n=5, min_rating=4, by="last",
             validation_size=3, min_resource=2, n_candidates=4)
        for _ in range(2)
    ]  # fmt: skip
    assert results[0].best_params == results[1].best_params
    assert results[0].table["score"] == results[1].table["score"]
    assert results[0].best_score == max(results[0].table["score"])
    assert len(results[0].table["score"]) == 4 + 2
    assert model.random_state is None
    best = alsx.FactorALS(dtype="float64", random_state=0).set_params(**results[0].best_params)
    train, validation = train_test_split(ratings, 3, by="last")
    again = evaluate(best.fit(train), validation, 5, metrics="ndcg", min_rating=4)
    assert again["ndcg@5"] == results[0].best_score


def test_the_default_grid_is_what_the_model_has(ratings):
    result = tune(FactorALS(max_iter=1, random_state=0), ratings)
    assert len(result.table["score"]) == len(tuning.DEFAULT_GRID["k"]) * len(tuning.DEFAULT_GRID["reg"])
    with pytest.raises(ValueError, match="param_grid is None, but Planted has none of the parameters k, reg"):
        tune(Planted(), ratings)


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"param_grid": {"c": [1]}}, ValueError, "param_grid has 'c', which Planted has not"),
        ({"param_grid": {"a": 1}}, ValueError, r"param_grid\['a'\] is 1; it must be a list"),
        ({"param_grid": {"a": []}}, ValueError, r"param_grid\['a'\] is \[\]"),
        ({"param_grid": {}}, ValueError, "param_grid is empty"),
        ({"param_grid": {"max_iter": [3]}}, ValueError, "param_grid has 'max_iter', which is the resource"),
        ({"resource": "n_draws"}, ValueError, "resource is 'n_draws', which Planted has not"),
        ({"factor": 1}, ValueError, "factor is 1"),
        ({"metric": "rms"}, ValueError, "metrics has 'rms'; it must be of rmse, mae"),
        ({"metric": ["rmse"]}, TypeError, r"metric is \['rmse'\]; it must be one name"),
        ({"random_state": None}, TypeError, "random_state is None"),
        ({"n_candidates": 0}, ValueError, "n_candidates is 0"),
    ],
)
def test_tune_refused(options, kind, sentence, ratings):
    with pytest.raises(kind, match=sentence):
        tune(Planted(), ratings, **({"param_grid": {"a": [0.0]}} | options))


def test_without_a_resource_every_candidate_is_fitted_once(ratings):
    Planted.fits.clear()
    result = tune(Planted(), ratings, {"a": [1.0, 0.5], "max_iter": [2, 8]}, resource=None)
    assert len(Planted.fits) == 4
    assert result.best_params == {"a": 0.5, "max_iter": 8}

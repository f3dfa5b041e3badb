"""At home in scikit-learn: its own suite of checks, its tools around the models, metadata, callbacks, links."""

import importlib
import re
import warnings
from collections import Counter
from email.message import Message
from importlib import metadata

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.base import clone, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

import alsx
from alsx import BayesALS, BiasALS, FactorALS, FactorEncoder, RankALS, Ratings
from alsx._models import encoder as encoder_module
from alsx._models import estimator as estimator_module
from alsx.datasets import make_ratings

VERSION = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
needs_tags = pytest.mark.skipif(
    VERSION < (1, 6), reason=f"scikit-learn {sklearn.__version__} has no such tags and checks"
)

# ---------------------------------------------------------------------------------------------------------------------
# scikit-learn's suite

CHECKED = [
    BiasALS(),
    FactorALS(k=2, max_iter=3),
    BayesALS(k=2, n_samples=3, burn_in=1, als_iter=1),
    RankALS(k=2, max_iter=3),
    FactorEncoder(FactorALS(k=2, max_iter=3), cv=None),
    FactorEncoder(FactorALS(k=2, max_iter=3), cv=3),
]

# The checks whose own data can be no pairs of ids, whatever estimators are given; and what is tested instead.
NOT_APPLICABLE = {
    "check_estimators_dtypes": "it casts X to floats, which are refused as ids: no float can be trusted to hold an id",
    "check_estimators_nan_inf": "its X are floats; missing ids are refused in test_inputs.py",
    "check_sample_weights_shape": "its X has rows twice, and a user rates an item once; see test_weights_are_checked",
    "check_sample_weights_not_overwritten": "its X are floats, with rows twice; see test_weights_are_checked",
    "check_sample_weight_equivalence_on_dense_data": "it repeats rows, and a user rates an item once; that a weight of 2 counts "
    "twice, and of 0 not at all, is tested in test_models.py",
}
if VERSION < (1, 7):
    NOT_APPLICABLE["check_positive_only_tag_during_fit"] = "it subtracts a mean from X in place, which integers refuse"
CROSS_FITTED = {
    "check_transformer_general": "fit_transform is cross-fitted, as that of scikit-learn's TargetEncoder; see `cv`",
    "check_transformer_data_not_an_array": "the same",
}


def not_applicable(estimator):
    """The checks that cannot apply to an estimator, with the reason."""
    cross_fitted = isinstance(estimator, FactorEncoder) and estimator.cv is not None
    return {**NOT_APPLICABLE, **(CROSS_FITTED if cross_fitted else {})}


def as_pairs(estimator, X, X_test=None, kernel=None):
    """What the suite calls to fit its X to an estimator: here rows become different pairs of ids."""

    def pairs(X):
        width = int(np.ceil(np.sqrt(len(X))))
        return np.c_[np.arange(len(X)) % width, np.arange(len(X)) // width]

    return pairs(X) if X_test is None else (pairs(X), pairs(X_test))


@pytest.fixture
def with_pairs(monkeypatch):
    monkeypatch.setattr(estimator_checks, "_enforce_estimator_tags_X", as_pairs)


def every_check(test):
    """Run a test with each check of scikit-learn's suite, for each estimator."""
    if VERSION < (1, 6):
        return needs_tags(test)
    mark = estimator_checks.parametrize_with_checks(CHECKED, expected_failed_checks=not_applicable)
    names, cases = mark.args
    return pytest.mark.parametrize(names, list(cases), **mark.kwargs)(test)  # in 1.6 they are an iterator


@every_check
def test_the_checks_of_scikit_learn(estimator, check, with_pairs):
    """Each check passes on pairs of ids, or is listed as not applicable and fails."""
    with warnings.catch_warnings():
        # Few of the suite's samples are known users and items.
        warnings.filterwarnings("ignore", ".* predictions know only part of their pair", UserWarning)
        check(estimator)


# What a check meets whose X has other columns than a user and an item, or a pair twice.
NO_PAIRS = re.compile(
    r"is a dense array of shape|ids must be integers or strings|duplicate ratings|Cannot cast ufunc 'subtract'"
)


def messages(error):
    """What an error says, and those that led to it."""
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


def results(estimator):
    """The outcome of each check: check_estimator's list."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator_checks.check_estimator(
            estimator, expected_failed_checks=not_applicable(estimator), on_fail=None, on_skip=None
        )


@needs_tags
@pytest.mark.parametrize("estimator", [BiasALS(), FactorALS(k=2, max_iter=3)], ids=lambda x: type(x).__name__)
def test_checks_on_other_data_fail_for_this_reason_alone(estimator):
    """Left as it is, the suite's X are mostly numbers in 3 to 30 columns, and what fails says so."""
    found = results(estimator)
    failed = [result for result in found if result["exception"] is not None and result["status"] != "skipped"]
    assert len(found) - len(failed) > 20
    for result in failed:
        assert any(NO_PAIRS.search(text) for text in messages(result["exception"])), result["check_name"]


def test_weights_are_checked():
    X, y = [(1, 3), (2, 3), (1, 4)], [1, 2, 3]
    weights = np.array([10.0, 1, 1])
    before = weights.copy()
    for model in (BiasALS(), FactorALS(2, random_state=0), FactorEncoder(FactorALS(2, random_state=0), cv=None)):
        clone(model).fit(X, y, sample_weight=weights)
        np.testing.assert_array_equal(weights, before)
        for wrong in (np.ones(4), np.ones((3, 2)), 1.0):
            with pytest.raises((ValueError, TypeError), match="sample_weight"):
                clone(model).fit(X, y, sample_weight=wrong)


@needs_tags
def test_tags():
    tags = sklearn.utils.get_tags(FactorALS())
    assert tags.estimator_type == "regressor"
    assert is_regressor(BiasALS())
    assert tags.input_tags.string
    assert tags.input_tags.categorical
    assert not tags.input_tags.sparse
    assert not tags.target_tags.required
    assert sklearn.utils.get_tags(FactorEncoder()).transformer_tags is not None


# ---------------------------------------------------------------------------------------------------------------------
# Scores, samples and features


@pytest.fixture(scope="module")
def data():
    """Pairs of ids with ratings, as arrays."""
    ratings = make_ratings(60, 40, 900, random_state=2)
    users, items, values = ratings.triples()
    order = np.random.default_rng(0).permutation(len(values))
    X = np.c_[ratings.user_ids[users], ratings.item_ids[items]][order]
    return X, values[order].astype(np.float64)


def frame_of(X, y=None, library=pd):
    columns = {"userId": X[:, 0], "movieId": X[:, 1]}
    return library.DataFrame(columns if y is None else {**columns, "rating": y})


def test_score_is_r2(data, tmp_path):
    X, y = data
    model = FactorALS(3, random_state=0).fit(X, y)
    expected = r2_score(y, model.predict(X))
    assert model.score(X, y) == expected
    assert 0 < expected < 1
    frame_of(X, y).to_csv(tmp_path / "r.csv", index=False)
    matrix = sp.csr_array((y, X.T))
    for R in (Ratings(X, y), frame_of(X, y), frame_of(X, y, pl), tmp_path / "r.csv", matrix):
        assert model.score(R) == pytest.approx(expected, rel=1e-6)
    assert model.score(frame_of(X), y) == expected
    weights = np.random.default_rng(0).uniform(0, 2, len(y))
    weighted = r2_score(y, model.predict(X), sample_weight=weights)
    assert model.score(X, y, sample_weight=weights) == weighted
    assert model.score(X, y, weights) == weighted
    assert model.score(frame_of(X, y), sample_weight=weights) == pytest.approx(weighted, rel=1e-6)
    with pytest.raises(NotFittedError):
        FactorALS().score(X, y)
    with pytest.raises(TypeError, match="y, their ratings, is missing"):
        model.score(X)


@pytest.mark.parametrize("form", ["array", "strings", "list", "frame", "polars", "rated frame"])
def test_cross_validation_without_scoring(data, form):
    X, y = data
    given = {
        "array": X,
        "strings": X.astype(str),
        "list": [tuple(pair) for pair in X.tolist()],
        "frame": frame_of(X),
        "polars": frame_of(X, library=pl),
        "rated frame": frame_of(X, y),
    }[form]
    model = FactorALS(2, max_iter=4, random_state=0)
    target = None if form == "rated frame" else y
    scores = cross_val_score(model, given, target, cv=KFold(3))
    expected = [clone(model).fit(X[train], y[train]).score(X[test], y[test]) for train, test in KFold(3).split(X)]
    np.testing.assert_allclose(scores, expected, rtol=0 if form == "array" else 1e-3)


def test_folds_of_sorted_rows_are_warned_of(data):
    """scikit-learn's default folds are blocks of rows: of rows sorted by user, whole users."""
    X, y = data
    order = np.argsort(X[:, 0], kind="stable")
    with pytest.warns(UserWarning, match=r"sorted by user lack whole users: shuffle them, KFold\(5, shuffle=True\)"):
        blocks = cross_val_score(BiasALS(), X[order], y[order], cv=3)
    shuffled = cross_val_score(BiasALS(), X[order], y[order], cv=KFold(3, shuffle=True, random_state=0))
    assert shuffled.min() > blocks.max()


@pytest.mark.parametrize("model", [BiasALS(), FactorALS(2, random_state=0), BayesALS(2, n_samples=5, burn_in=1)])
def test_grid_search_without_scoring(data, model):
    X, y = data
    grid = {"random_state": [0, 1]} if isinstance(model, BayesALS) else {"reg": [1.0, 1000.0]}
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(X, y)
    assert search.score(X, y) == search.best_estimator_.score(X, y)
    assert search.n_features_in_ == 2
    if not isinstance(model, BayesALS):
        assert search.best_params_ == {"reg": 1.0}
    result = cross_validate(search.best_estimator_, X, y, cv=3, scoring=("r2", "neg_root_mean_squared_error"))
    assert (result["test_neg_root_mean_squared_error"] < 0).all()


def test_features(data):
    X, y = data
    model = FactorALS(2, random_state=0)
    assert not hasattr(model, "n_features_in_")
    model.fit(frame_of(X), y)
    assert model.n_features_in_ == 2
    assert model.feature_names_in_.tolist() == ["userId", "movieId"]
    # Ratings and other columns are no features.
    more = frame_of(X, y)[["rating", "movieId", "userId"]].assign(note="x")
    assert model.fit(more).feature_names_in_.tolist() == ["userId", "movieId"]
    assert model.fit(frame_of(X, y, pl)).feature_names_in_.tolist() == ["userId", "movieId"]
    folded = model.fold_in([(10_000, int(X[0, 1]))], [3.0])
    assert folded.feature_names_in_.tolist() == ["userId", "movieId"]
    assert folded.n_features_in_ == 2
    assert not hasattr(model.fit(X, y), "feature_names_in_")
    assert not hasattr(model.fit(pd.DataFrame(X), y), "feature_names_in_")
    assert model.fit(sp.csr_array((y, X.T))).n_features_in_ == 2
    with pytest.raises(ValueError, match="X has 3 features, but alsx is expecting 2 features as input"):
        model.predict(np.ones((4, 3), int))
    with pytest.raises(ValueError, match=r"Reshape your data: users.reshape\(1, 2\) where it is a single pair"):
        model.predict(X[0])


def test_a_column_of_ratings_is_taken_with_a_warning(data):
    X, y = data
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        model = FactorALS(2, random_state=0).fit(X, y[:, None])
    np.testing.assert_array_equal(model.predict(X), FactorALS(2, random_state=0).fit(X, y).predict(X))
    with pytest.warns(DataConversionWarning):
        BiasALS().fit(X, pd.DataFrame({"rating": y}))
    with pytest.raises(ValueError, match="y has shape"):
        BiasALS().fit(X, np.c_[y, y])


# ---------------------------------------------------------------------------------------------------------------------
# Meta-estimators


def test_bagging(data):
    X, y = data
    for given in (X, X.astype(str)):
        bag = BaggingRegressor(FactorALS(2, max_iter=4), 4, bootstrap=False, max_samples=0.7, random_state=0).fit(
            given, y
        )
        assert bag.score(given, y) > 0.2
        assert bag.predict(given[:5]).shape == (5,)
        parts = [model.predict(given) for model in bag.estimators_]
        np.testing.assert_allclose(bag.predict(given), np.mean(parts, axis=0))
        assert not np.array_equal(*parts[:2])


def test_stacking_and_voting(data):
    X, y = data
    models = [("bias", BiasALS()), ("factor", FactorALS(2, max_iter=4, random_state=0))]
    stack = StackingRegressor(models, final_estimator=Ridge(), cv=3).fit(X, y)
    assert stack.n_features_in_ == 2
    assert stack.final_estimator_.coef_.shape == (2,)
    assert stack.score(X, y) > 0.2
    vote = VotingRegressor(models).fit(X, y)
    expected = np.mean([clone(model).fit(X, y).predict(X) for _, model in models], axis=0)
    np.testing.assert_allclose(vote.predict(X), expected)


def test_transformed_target(data):
    X, y = data
    model = TransformedTargetRegressor(FactorALS(2, random_state=0), func=np.log, inverse_func=np.exp).fit(X, y)
    expected = np.exp(FactorALS(2, random_state=0).fit(X, np.log(y)).predict(X))
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-6)
    assert model.score(X, y) > 0.1


def test_curves_and_importance(data):
    X, y = data
    model = FactorALS(2, max_iter=4, random_state=0)
    sizes, train, test = learning_curve(model, X, y, train_sizes=[0.3, 1.0], cv=3)
    assert sizes.tolist() == [180, 600]
    assert (train.mean(1) > test.mean(1)).all()
    assert test[1].mean() > test[0].mean()
    importance = permutation_importance(model.fit(X, y), X, y, n_repeats=2, random_state=0)
    assert importance.importances_mean.shape == (2,)
    assert (importance.importances_mean > 0.05).all()
    frame = permutation_importance(clone(model).fit(frame_of(X), y), frame_of(X), y, n_repeats=2, random_state=0)
    np.testing.assert_allclose(frame.importances_mean, importance.importances_mean)
    assert cross_val_predict(model, X, y, cv=3).shape == y.shape


# ---------------------------------------------------------------------------------------------------------------------
# Metadata routing


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_requests(routing):
    requests = FactorALS().get_metadata_routing()
    assert set(requests.fit.requests) == {"sample_weight", "eval_set", "user_features", "item_features"}
    assert not {"R", "y"} & set(requests.partial_fit.requests)
    assert set(requests.score.requests) == {"sample_weight"}
    assert set(requests.predict.requests) == {"clip", "return_std", "timestamps"}
    assert set(FactorEncoder().get_metadata_routing().fit.requests) == {"sample_weight"}


def test_weights_are_routed(data, routing):
    X, y = data
    weights = np.random.default_rng(1).integers(1, 4, len(y)).astype(float)
    model = FactorALS(2, max_iter=4, random_state=0)
    with pytest.raises(ValueError, match=r"(?s)sample_weight.*not explicitly set as requested"):
        cross_val_score(model, X, y, params={"sample_weight": weights}, cv=3, error_score="raise")
    model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    scores = cross_val_score(model, X, y, params={"sample_weight": weights}, cv=KFold(3), error_score="raise")
    expected = [clone(model).fit(X[a], y[a], weights[a]).score(X[b], y[b], weights[b]) for a, b in KFold(3).split(X)]
    np.testing.assert_array_equal(scores, expected)
    search = GridSearchCV(model, {"k": [1, 2]}, cv=3, error_score="raise").fit(X, y, sample_weight=weights)
    assert search.best_params_["k"] in (1, 2)


def test_features_by_id_are_routed_whole(data, routing):
    """Features belong to items, not to samples, so that no fold must take a part of them."""
    X, y = data
    films = pd.DataFrame({"item": np.unique(X[:, 1])})
    films["year"] = np.random.default_rng(0).normal(size=len(films))
    model = FactorALS(2, max_iter=4, random_state=0).set_fit_request(item_features=True)
    scores = cross_val_score(model, X, y, params={"item_features": films}, cv=KFold(3), error_score="raise")
    expected = [clone(model).fit(X[a], y[a], item_features=films).score(X[b], y[b]) for a, b in KFold(3).split(X)]
    np.testing.assert_array_equal(scores, expected)


# ---------------------------------------------------------------------------------------------------------------------
# Representation


def test_html_without_documentation(data):
    html = FactorALS(3, reg=2.0)._repr_html_()
    assert "FactorALS" in html
    assert "n_iter_no_change" in html or VERSION < (1, 7)
    assert "scikit-learn.org" not in FactorALS()._get_doc_link()


@pytest.mark.parametrize("estimator", CHECKED[:5], ids=lambda x: type(x).__name__)
def test_html_links_to_the_documentation_that_the_package_names(estimator, monkeypatch):
    about = Message()
    about["Project-URL"] = "Source, https://alsx.example/source"
    about["Project-URL"] = "Documentation, https://alsx.example/docs/"
    monkeypatch.setattr(metadata, "metadata", lambda name: about)
    estimator_module.documentation.cache_clear()
    try:
        link = f"https://alsx.example/docs/generated/alsx.{type(estimator).__name__}.html"
        assert estimator._get_doc_link() == link
        assert f'href="{link}"' in estimator._repr_html_()
    finally:
        estimator_module.documentation.cache_clear()


# ---------------------------------------------------------------------------------------------------------------------
# scikit-learn's callbacks

callback = importlib.import_module("sklearn.callback") if VERSION >= (1, 9) else None
needs_callbacks = pytest.mark.skipif(callback is None, reason=f"scikit-learn {sklearn.__version__} has no callbacks")


class Recorder:
    """A callback in scikit-learn's form that writes down what it is told."""

    def __init__(self, stop_after=None):
        self.stop_after, self.events = stop_after, []

    def setup(self, estimator, context):
        self.events.append(("setup", context.task_name, context.max_subtasks))

    def teardown(self, estimator, context):
        self.events.append(("teardown", context.task_name, None))

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        score = None if fitted_estimator is None else fitted_estimator.score(X, y)
        self.events.append(("end", context.task_name, score))
        return (
            self.stop_after is not None and context.task_name == "iteration" and context.task_id + 1 == self.stop_after
        )


@needs_callbacks
@pytest.mark.parametrize("as_frame", [False, True])
@pytest.mark.parametrize(
    "model",
    [
        BiasALS(max_iter=4, tol=0),
        FactorALS(2, max_iter=4, tol=0, random_state=0),
        BayesALS(2, n_samples=3, burn_in=1, random_state=0),
    ],
    ids=lambda x: type(x).__name__,
)
def test_callbacks_of_scikit_learn(data, model, as_frame):
    X, y = data
    recorder = Recorder()
    given = (frame_of(X, y),) if as_frame else (X, y)
    fitted = clone(model).set_callbacks(recorder).fit(*given)
    plain = clone(model).fit(*given)
    np.testing.assert_array_equal(fitted.predict(X), plain.predict(X))
    kinds = [event[:2] for event in recorder.events]
    assert kinds == [
        ("setup", "fit"), ("begin", "fit"), *(4 * [("begin", "iteration"), ("end", "iteration")]), ("end", "fit"),
        ("teardown", "fit"),
    ]  # fmt: skip
    assert recorder.events[0][2] == 4
    scores = [event[2] for event in recorder.events if event[:2] == ("end", "iteration")]
    change = {"n_samples": 1} if isinstance(model, BayesALS) else {"max_iter": 2}
    after_two = clone(model).set_params(**change).fit(*given)
    assert scores[1] == pytest.approx(after_two.score(X, y), rel=1e-6)
    assert recorder.events[-2][2] == pytest.approx(fitted.score(X, y), rel=1e-6)


@needs_callbacks
def test_a_callback_of_scikit_learn_may_end_the_fit(data):
    X, y = data
    model = FactorALS(2, tol=0, random_state=0).set_callbacks(Recorder(stop_after=3)).fit(X, y)
    assert model.n_iter_ == 3
    np.testing.assert_array_equal(
        model.predict(X), FactorALS(2, tol=0, max_iter=3, random_state=0).fit(X, y).predict(X)
    )


@needs_callbacks
def test_a_callback_of_scikit_learn_is_taken_down_after_an_error(data):
    X, y = data
    recorder = Recorder()
    with pytest.raises(ValueError):
        FactorALS(2, random_state=0).set_callbacks(recorder).fit(X, y[:5])
    assert recorder.events[-1][0] == "teardown"


@needs_callbacks
def test_the_scoring_monitor(data):
    X, y = data
    monitor = callback.ScoringMonitor(scoring="r2")
    model = FactorALS(2, max_iter=4, tol=0, random_state=0).set_callbacks(monitor).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "iteration"]
    assert [row["task_id"] for row in rows] == [0, 1, 2, 3]
    assert rows[-1]["r2"] == pytest.approx(model.score(X, y))


@needs_callbacks
def test_callbacks_within_a_grid_search(data):
    """The tasks of a model hang in the tree of the search, whether the search or the model has the callback."""
    X, y = data
    monitor = callback.ScoringMonitor(scoring="r2")
    model = FactorALS(2, max_iter=3, tol=0, random_state=0).set_callbacks(monitor)
    GridSearchCV(model, {"k": [1, 2]}, cv=2).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "iteration"]
    assert len(rows) == 3 * (2 * 2 + 1)
    assert len({row["parent_task_id_path"] for row in rows}) == 5


# ---------------------------------------------------------------------------------------------------------------------
# Encoding ids


def table_of(encoder, X):
    return encoder.transform(X)


@pytest.mark.parametrize("kind", [BiasALS(), FactorALS(3, random_state=0), BayesALS(3, n_samples=5, random_state=0)])
def test_ids_become_factors(data, kind):
    X, y = data
    encoder = FactorEncoder(kind, with_prediction=True).fit(X, y)
    model = clone(kind).fit(X, y)
    u, i = np.searchsorted(model.user_ids_, X[:, 0]), np.searchsorted(model.item_ids_, X[:, 1])
    blocks = [model.user_biases_[u][:, None], model.item_biases_[i][:, None], model.predict(X)[:, None]]
    k = 0
    if not isinstance(kind, BiasALS):
        k = 3
        blocks = [blocks[0], model.user_factors_[u], blocks[1], model.item_factors_[i], blocks[2]]
    np.testing.assert_allclose(encoder.transform(X), np.hstack(blocks), rtol=1e-6)
    names = encoder.get_feature_names_out().tolist()
    assert names == [
        "user_bias", *(f"user_factor_{f}" for f in range(k)), "item_bias", *(f"item_factor_{f}" for f in range(k)), "prediction",
    ]  # fmt: skip
    assert encoder.n_features_in_ == 2
    assert encoder.transform(X).dtype == model._items.table.dtype


def test_sides_and_single_columns(data):
    X, y = data
    both = FactorEncoder(FactorALS(3, random_state=0)).fit(X, y).transform(X)
    for column, side in enumerate(("user", "item")):
        encoder = FactorEncoder(FactorALS(3, random_state=0), side=side).fit(X, y)
        expected = both[:, 4 * column : 4 * column + 4]
        ids = X[:, column]
        for given in (X, ids, ids[:, None], ids.tolist(), pd.Series(ids), pl.Series(ids), frame_of(X)):
            np.testing.assert_array_equal(encoder.transform(given), expected)
        assert len(encoder.get_feature_names_out()) == 4
    with pytest.raises(ValueError, match="single pair"):
        FactorEncoder(FactorALS(3, random_state=0)).fit(X, y).transform(X[:, 0])


def test_unknown_ids_get_the_cold_start_vector(data):
    X, y = data
    encoder = FactorEncoder(FactorALS(3, random_state=0), side="item").fit(X, y)
    with pytest.warns(UserWarning, match="know only part of their pair"):
        found = encoder.transform([99_999])
    np.testing.assert_allclose(found[0, 1:], encoder.model_._items.cold_start_vector[:3], rtol=1e-6)
    with pytest.raises(NotFittedError):
        FactorEncoder().transform(X)


def test_output_of_frames(data):
    X, y = data
    frame = frame_of(X)
    frame.index = np.arange(len(frame)) + 5
    encoder = FactorEncoder(FactorALS(2, random_state=0), cv=3, random_state=0).set_output(transform="pandas")
    out = encoder.fit_transform(frame, y)
    assert list(out.columns) == list(encoder.get_feature_names_out())
    pd.testing.assert_index_equal(out.index, frame.index)
    assert encoder.feature_names_in_.tolist() == ["userId", "movieId"]
    polars = encoder.set_output(transform="polars").transform(frame_of(X, library=pl))
    assert isinstance(polars, pl.DataFrame)
    assert polars.shape == (len(X), 6)


def test_a_pipeline_learns_from_factors(data):
    """Factors beside other columns feed a model, for another target than the ratings."""
    from sklearn.compose import make_column_transformer

    X, y = data
    rng = np.random.default_rng(0)
    table = frame_of(X).assign(hour=rng.normal(size=len(X)))
    columns = make_column_transformer(
        (FactorEncoder(FactorALS(2), cv=3, random_state=0), ["userId", "movieId"]), remainder="passthrough"
    )
    pipeline = make_pipeline(columns, Ridge())
    scores = cross_val_score(pipeline, table, y + 0.5 * table["hour"], cv=3)
    assert (scores > 0.2).all()
    pipeline.fit(table, y)
    names = pipeline[:-1].get_feature_names_out()
    assert names[0] == "factorencoder__user_bias"
    assert names[-1] == "remainder__hour"
    search = GridSearchCV(pipeline, {"columntransformer__factorencoder__estimator__k": [1, 2]}, cv=2).fit(table, y)
    assert search.best_score_ > 0


def test_fit_transform_encodes_rows_by_models_that_have_not_seen_them(data):
    X, y = data
    model = FactorALS(3, random_state=0, dtype="float64")
    encoder = FactorEncoder(model, with_prediction=True, cv=KFold(4))
    out = encoder.fit_transform(X, y)
    for train, test in KFold(4).split(X):
        fold = clone(model).fit(X[train], y[train])
        np.testing.assert_allclose(out[test, -1], fold.predict(X[test]))
        # A rotation changes no product of factors.
        u = np.searchsorted(fold.user_ids_, X[test, 0])
        i = np.searchsorted(fold.item_ids_, X[test, 1])
        known = np.isin(X[test, 0], fold.user_ids_) & np.isin(X[test, 1], fold.item_ids_)
        u, i, rows = u[known], i[known], out[test][known]
        np.testing.assert_allclose(
            (rows[:, 1:4] * rows[:, 5:8]).sum(1), (fold.user_factors_[u] * fold.item_factors_[i]).sum(1), atol=1e-10
        )
    np.testing.assert_array_equal(
        FactorEncoder(model, cv=None).fit_transform(X, y), FactorEncoder(model).fit(X, y).transform(X)
    )
    again = [FactorEncoder(FactorALS(3), random_state=0).fit_transform(X, y) for _ in range(2)]
    np.testing.assert_array_equal(*again)


def test_folds_are_rotated_to_the_whole():
    """Without noise the factors of a fold are those of the whole, whatever the start, but for a rotation."""
    rng = np.random.default_rng(0)
    p, q = rng.normal(size=(50, 2)), rng.normal(size=(40, 2))
    X = np.argwhere(rng.random((50, 40)) < 0.7)
    y = (p[X[:, 0]] * q[X[:, 1]]).sum(1)
    model = FactorALS(2, reg=0.1, implicit_features=None, dtype="float64", max_iter=100, tol=1e-9)
    whole = clone(model).set_params(random_state=0).fit(X, y)
    some = rng.random(len(X)) < 0.75
    fold = clone(model).set_params(random_state=5).fit(X[some], y[some])
    rotation = encoder_module._rotation(fold, whole)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(2), atol=1e-12)
    for attribute in ("user_factors_", "item_factors_"):
        own, other = getattr(fold, attribute), getattr(whole, attribute)
        assert np.sqrt(((own @ rotation - other) ** 2).mean()) < 0.05 * other.std()
        assert np.sqrt(((own - other) ** 2).mean()) > 0.5 * other.std()


def test_cross_fitting_does_not_leak(data):
    """A model that follows errs as much on the rows that it learned from as on new ones."""
    X, y = data
    train, test = np.arange(600), np.arange(600, 900)
    gaps = {}
    for cv in (None, 5):
        encoder = FactorEncoder(FactorALS(8, reg=0.1, random_state=0), with_prediction=True, cv=cv, random_state=0)
        features = encoder.fit_transform(X[train], y[train])
        model = Ridge(1e-3).fit(features[:, -1:], y[train])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gaps[cv] = model.score(features[:, -1:], y[train]) - model.score(
                encoder.transform(X[test])[:, -1:], y[test]
            )
    assert gaps[None] > 0.5
    assert gaps[5] < 0.2


def test_a_model_that_is_fitted_already(data):
    frozen = pytest.importorskip("sklearn.frozen")
    X, y = data
    model = FactorALS(3, random_state=0).fit(X, y)
    encoder = FactorEncoder(frozen.FrozenEstimator(model), cv=None)
    out = encoder.fit_transform(X[:50], y[:50])
    np.testing.assert_array_equal(out, FactorEncoder(FactorALS(3, random_state=0)).fit(X, y).transform(X[:50]))


def test_weights_reach_the_folds(data):
    X, y = data
    weights = np.random.default_rng(0).uniform(0.1, 3, len(y))
    model = BiasALS()
    out = FactorEncoder(model, with_prediction=True, cv=KFold(3)).fit_transform(X, y, sample_weight=weights)
    train, test = next(iter(KFold(3).split(X)))
    np.testing.assert_allclose(out[test, -1], BiasALS().fit(X[train], y[train], weights[train]).predict(X[test]))


def test_frames_with_ratings_need_no_y(data):
    X, y = data
    encoder = FactorEncoder(BiasALS(), cv=KFold(3))
    np.testing.assert_allclose(encoder.fit_transform(frame_of(X, y)), encoder.fit_transform(X, y), rtol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"side": "film"}, ValueError, 'side is \'film\'; it must be "both", "user" or "item"'),
        ({"side": None}, ValueError, "side is None; it must be"),
        ({"cv": 1}, ValueError, "cv is 1; it must be at least 2"),
        ({"cv": 2.5}, TypeError, "cv is 2.5; it must be an integer"),
        ({"cv": 5000}, ValueError, "cv is 5000, but X has 900 rows: pass cv=900 at most, or cv=None"),
        (
            {"cv": [(np.arange(9), np.arange(9, 800))]},
            ValueError,
            "cv tests row 0 0 times; each row must be tested once",
        ),
        ({"with_prediction": "yes"}, TypeError, "with_prediction is 'yes'; it must be True or False"),
        ({"estimator": Ridge()}, TypeError, "estimator is of type Ridge; it must be a BiasALS, FactorALS or BayesALS"),
    ],
)
def test_wrong_parameters_of_an_encoder(data, parameters, error, message):
    with pytest.raises(error, match=re.escape(message)) as raised:
        FactorEncoder(**parameters).fit_transform(*data)
    assert len(str(raised.value)) <= 300


def test_ratings_without_rows_are_not_cross_fitted(data):
    X, y = data
    for R in (Ratings(X, y), sp.csr_array((y, X.T)), "ratings.csv"):
        with pytest.raises(
            TypeError, match="whose ratings have no rows to be split into folds: pass pairs of ids with y"
        ):
            FactorEncoder(BiasALS()).fit_transform(R)
    encoder = FactorEncoder(BiasALS(), side="item").fit(Ratings(X, y))
    np.testing.assert_allclose(
        encoder.transform(X), FactorEncoder(BiasALS(), side="item").fit(X, y).transform(X), rtol=1e-5
    )
    with pytest.raises(TypeError, match="X is a Ratings, whose entries are not in the order of your rows"):
        encoder.transform(Ratings(X, y))


if __name__ == "__main__":  # the counts of the suite
    for with_ids in (True, False):
        if with_ids:
            original, estimator_checks._enforce_estimator_tags_X = estimator_checks._enforce_estimator_tags_X, as_pairs
        else:
            estimator_checks._enforce_estimator_tags_X = original
        print("on pairs of ids" if with_ids else "on the suite's own data")
        for estimator in CHECKED:
            print(
                f"  {estimator}: {dict(Counter(result['status'] for result in results(estimator)))}".replace("\n", " ")
            )
    print(f"alsx {alsx.__version__}, scikit-learn {sklearn.__version__}")

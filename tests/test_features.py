"""Features: what data frames and matrices become, and what models make of them."""

import datetime
import json

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import alsx
from alsx import FactorALS, Ratings
from alsx.datasets import load_demo, load_movielens
from alsx.features import FeatureEncoder
from alsx.ratings import Ids

FILMS = pa.table(
    {
        "movieId": [30, 10, 20],
        "year": pa.array([1990, 2000, None], pa.int32()),
        "genres": ["Comedy|Drama", "Drama", None],
        "colour": pa.array([True, False, True]),
        "studio": pa.array(["a", "b", "a"]).dictionary_encode(),
        "tags": pa.array([["x", "y"], [], ["y"]], pa.list_(pa.string())),
        "day": pa.array([datetime.date(2000, 1, 1), None, datetime.date(2000, 1, 3)]),
    }
)


def test_a_frame_becomes_numbers():
    encoder, ids, matrix = FeatureEncoder.fit(FILMS, "item_features", Ids([10, 20, 40]))
    assert ids.tolist() == [30, 10, 20]
    expected = {
        "year": [-1, 1, 0],
        "genres=Comedy": [1, 0, 0],
        "genres=Drama": [1, 1, 0],
        "colour=False": [0, 1, 0],
        "colour=True": [1, 0, 1],
        "studio=a": [1, 0, 1],
        "studio=b": [0, 1, 0],
        "tags=x": [1, 0, 0],
        "tags=y": [1, 0, 1],
        "day": [-1, 0, 1],
    }
    assert encoder.names == list(expected)
    np.testing.assert_allclose(matrix.toarray(), np.transpose(list(expected.values())), atol=1e-12)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_every_library_of_frames_gives_the_same(library):
    module = pytest.importorskip(library)
    frame = FILMS.to_pandas() if library == "pandas" else module.from_arrow(FILMS)
    expected = FeatureEncoder.fit(FILMS, "item_features", Ids([10]))
    got = FeatureEncoder.fit(frame, "item_features", Ids([10]))
    assert got[0].names == expected[0].names
    np.testing.assert_allclose(got[2].toarray(), expected[2].toarray(), atol=1e-12)


def test_later_rows_become_the_same_numbers_also_after_json():
    encoder, _, matrix = FeatureEncoder.fit(FILMS, "item_features", Ids([10]))
    again = FeatureEncoder.from_state(json.loads(json.dumps(encoder.state())))
    ids, later = again.transform(FILMS, "features", "item")
    assert ids.tolist() == [30, 10, 20]
    np.testing.assert_array_equal(later.toarray(), matrix.toarray())
    new = FILMS.slice(0, 1).set_column(2, "genres", pa.array(["Western|Drama"]))
    row = again.transform(new, "features", "item")[1].toarray()[0]
    assert row[encoder.names.index("genres=Drama")] == 1
    assert row[encoder.names.index("genres=Comedy")] == 0
    with pytest.raises(ValueError, match="features has no rows"):
        again.transform(FILMS.slice(0, 0), "features", "item")


def test_matrices_are_aligned_with_the_ids():
    known = Ids(["a", "b"])
    for data in (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]], sp.coo_matrix([[1, 2], [3, 4]])):
        encoder, ids, matrix = FeatureEncoder.fit(data, "user_features", known)
        assert ids.tolist() == ["a", "b"]
        assert encoder.names == ["feature 0", "feature 1"]
        np.testing.assert_array_equal(matrix.toarray(), [[1, 2], [3, 4]])
    assert encoder.transform([[5, 6]], "features", "user")[0].tolist() == [0]
    assert encoder.transform([[5, 6]], "features", "user", np.array(["z"]))[0].tolist() == ["z"]


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (np.ones((3, 2)), ValueError, "item_features has 3 rows, but the ratings have 2 items"),
        (np.ones(2), ValueError, "item_features has 1 dimensions"),
        (np.ones((2, 0)), ValueError, "item_features has no columns"),
        ([["a"], ["b"]], TypeError, "item_features is no matrix of numbers"),
        ([[1.0], [np.nan]], ValueError, "item_features: row 1, column 0 is nan"),
        (FILMS.drop_columns("movieId"), ValueError, "no column of item ids is recognised; the columns are 'year'"),
        (FILMS.append_column("item", FILMS["movieId"]), ValueError, "2 columns could be the item ids"),
        (FILMS.select(["movieId"]), ValueError, "has no columns but the ids"),
        (pa.concat_tables([FILMS, FILMS.slice(1, 1)]), ValueError, "row 3 is 10 for the second time"),
        (FILMS.set_column(0, "item", pa.array(["a", "b", "c"])), TypeError, "item_features: these ids are integers"),
        (FILMS.append_column("v", pa.array([1.0, np.inf, 0])), ValueError, "the column 'v' is inf in row 1"),
        (FILMS.append_column("v", pa.array([b"a", b"b", b"c"])), TypeError, "the column 'v' is binary"),
        (FILMS.append_column("v", pa.array([None] * 3, pa.string())), ValueError, "the column 'v' holds nothing"),
    ],
)
def test_what_cannot_be_features(data, error, says):
    with pytest.raises(error, match=says):
        FeatureEncoder.fit(data, "item_features", Ids([10, 20]))


def test_free_text_is_no_category():
    frame = pa.table({"item": range(1500), "title": [f"film {n}" for n in range(1500)]})
    with pytest.raises(ValueError, match="'title' has 1,500 different values in 1,500 rows, as free text has"):
        FeatureEncoder.fit(frame, "item_features", Ids([1]))


def test_what_cannot_be_encoded_later():
    encoder = FeatureEncoder.fit(FILMS, "item_features", Ids([10]))[0]
    with pytest.raises(TypeError, match="fitted to features in a data frame"):
        encoder.transform(np.ones((1, 2)), "features", "item")
    with pytest.raises(ValueError, match="features lacks the column 'genres'"):
        encoder.transform(FILMS.drop_columns("genres"), "features", "item")
    plain = FeatureEncoder.fit(np.ones((1, 2)), "item_features", Ids([10]))[0]
    with pytest.raises(TypeError, match="fitted to features in a matrix"):
        plain.transform(FILMS, "features", "item")
    with pytest.raises(ValueError, match="features has 3 columns; the model was fitted to 2"):
        plain.transform(np.ones((1, 3)), "features", "item")


# Models


@pytest.fixture(scope="module")
def planted():
    """Ratings whose biases and tastes come from features, and the features of more users and items than have ratings."""
    rng = np.random.default_rng(0)
    n_users, n_items = 120, 90
    users, items = rng.normal(size=(n_users, 3)), rng.normal(size=(n_items, 4))
    p, q = users @ rng.normal(size=(3, 2)), items @ rng.normal(size=(4, 2))
    truth = 3 + (users @ [0.5, 0, 0.2])[:, None] + (items @ [0.4, -0.3, 0, 0.1])[None] + p @ q.T * 0.4
    rated = rng.random(truth.shape) < 0.3
    rated[100:], rated[:, 80:] = False, False
    u, i = np.nonzero(rated)
    R = Ratings.from_arrays(u, i, truth[u, i] + rng.normal(0, 0.3, len(u)))
    frames = [
        pa.table({name: np.arange(len(x)), **{f"f{c}": x[:, c] for c in range(x.shape[1])}})
        for name, x in (("user", users), ("item", items))
    ]
    return R, truth, *frames


def error(model, truth, u, i):
    uu, ii = (x.ravel() for x in np.meshgrid(u, i, indexing="ij"))
    return np.sqrt(np.mean((model.predict(uu, ii, clip=False) - truth[uu, ii]) ** 2))


@pytest.mark.parametrize("implicit", ["both", None])
def test_cold_users_and_items_are_predicted_from_their_features(planted, implicit):
    R, truth, users, items = planted
    model = FactorALS(2, implicit=implicit, reg_features=1.0, random_state=0).fit(
        R, user_features=users, item_features=items
    )
    assert len(model.user_ids_) == 120
    assert len(model.item_ids_) == 90
    plain = FactorALS(2, implicit=implicit, random_state=0).fit(R)
    cold_users, cold_items = np.arange(100, 120), np.arange(80, 90)
    for u, i in ((cold_users, np.arange(80)), (np.arange(100), cold_items), (cold_users, cold_items)):
        with pytest.warns(UserWarning, match="know only part of their pair"):
            before = error(plain, truth, u, i)
        assert error(model, truth, u, i) < 0.5 * before
    assert error(model, truth, np.arange(100), np.arange(80)) < error(plain, truth, np.arange(100), np.arange(80))
    ids, _ = model.recommend(110, 5)
    whole = model.predict(110, model.item_ids_, clip=False)
    np.testing.assert_array_equal(ids, model.item_ids_[np.argsort(-whole, kind="stable")[:5]])
    assert 85 in model.recommend(3, 90)[0]
    assert model.similar_items(85, 3)[0].shape == (3,)
    assert model.user_counts_[105] == 0


def test_effects_have_names(planted):
    R, _, users, items = planted
    model = FactorALS(2, implicit=None, reg_features=0.1, random_state=0).fit(
        R, user_features=users, item_features=items
    )
    effects = model.feature_effects_
    assert effects.column_names == ["side", "feature", "bias", "factor_0", "factor_1"]
    assert effects["feature"].to_pylist() == ["f0", "f1", "f2", "intercept", "f0", "f1", "f2", "f3", "intercept"]
    bias = effects["bias"].to_numpy()
    scales = [users["f0"].to_numpy().std(), items["f0"].to_numpy().std(), items["f1"].to_numpy().std()]
    np.testing.assert_allclose(bias[[0, 4, 5]], np.array([0.5, 0.4, -0.3]) * scales, atol=0.12)
    assert FactorALS(2).fit(R).feature_effects_.num_rows == 0


def test_folding_in_with_features(planted, tmp_path):
    R, truth, users, items = planted
    model = FactorALS(2, reg_features=1.0, random_state=0).fit(R, user_features=users, item_features=items)
    model.save(tmp_path / "m.npz")
    model = alsx.load(tmp_path / "m.npz")
    stranger = users.slice(110, 1).set_column(0, "user", pa.array([777]))
    alone = model.fold_in(features=stranger)
    np.testing.assert_allclose(alone.predict(777, [1, 2, 85]), model.predict(110, [1, 2, 85]), atol=1e-5)
    rated = [(777, item) for item in range(30)], truth[110, :30]
    both, bare = model.fold_in(*rated, features=stranger), model.fold_in(*rated)
    rest = np.arange(30, 80)
    errors = [np.sqrt(np.mean((m.predict(777, rest, clip=False) - truth[110, rest]) ** 2)) for m in (alone, both, bare)]
    assert errors[1] < errors[0]
    assert errors[1] < errors[2]
    film = items.slice(85, 1).set_column(0, "item", pa.array([999]))
    more = model.fold_in(features=film, side="item")
    np.testing.assert_allclose(more.predict([3, 9], 999), model.predict([3, 9], 85), atol=1e-5)
    assert len(more.item_ids_) == 91
    two = model.fold_in([(777, 3), (888, 4)], [3, 4], features=stranger)
    assert two.user_ids_.tolist() == [777, 888]


def test_features_as_matrices_and_what_goes_wrong(planted):
    R, _, users, items = planted
    matrix = np.column_stack([items[f"f{c}"] for c in range(4)])[:80]
    by_matrix = FactorALS(2, random_state=0).fit(R, item_features=matrix)
    assert len(by_matrix.item_ids_) == 80
    sparse = FactorALS(2, random_state=0).fit(R, item_features=sp.csr_array(matrix))
    np.testing.assert_array_equal(sparse._item_table, by_matrix._item_table)
    with pytest.raises(ValueError, match="reg_features is 0"):
        FactorALS(2, reg_features=0).fit(R, item_features=matrix)
    with pytest.raises(ValueError, match="reg_implicit is 0"):
        FactorALS(2, reg_implicit=0).fit(R)
    with pytest.raises(ValueError, match="implicit is 'yes'"):
        FactorALS(2, implicit="yes").fit(R)
    threads = [FactorALS(2, random_state=0, n_jobs=n).fit(R, user_features=users)._user_table for n in (1, 3)]
    np.testing.assert_array_equal(*threads)


def test_rated_ids_without_features_are_fitted_too(planted):
    R, _, users, _ = planted
    model = FactorALS(2, implicit=None, random_state=0).fit(R, user_features=users.slice(50))
    assert model._user_prior.features.shape == (4, 3)
    assert np.isfinite(model._user_table).all()
    assert len(model.user_ids_) == 120


# MovieLens


def test_features_of_movielens(movielens_folder):
    data = load_movielens(movielens_folder / "ml-100k.zip")
    assert data.item_features().column_names == ["item", "genres", "year"]
    assert data.user_features().column_names == ["user", "age", "gender", "occupation"]
    train, test = (Ratings(part) for part in data.fold("u1"))
    plain = FactorALS(random_state=0).fit(train, eval_set=test)
    model = FactorALS(random_state=0).fit(
        train, eval_set=test, item_features=data.item_features(), user_features=data.user_features()
    )
    assert model.history_["test_rmse"][-1] < plain.history_["test_rmse"][-1] < 0.89
    with pytest.raises(ValueError, match="ml-100k has no tags"):
        data.item_features(tags=True)


def test_tags_of_movielens(movielens_folder):
    data = load_movielens(movielens_folder / "ml-latest-small.zip")
    features = data.item_features(tags=True, year=False)
    assert features.column_names == ["item", "genres", "tags"]
    assert "fun" in features["tags"].to_pylist()[0]
    with pytest.raises(ValueError, match="ml-latest-small says nothing about users"):
        data.user_features()


def test_features_of_the_demo():
    demo = load_demo()
    model = FactorALS(4, random_state=0, max_iter=3).fit(demo.ratings, item_features=demo.item_features())
    assert "genres=Drama" in model.feature_effects_["feature"].to_pylist()

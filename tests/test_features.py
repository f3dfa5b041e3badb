"""Features: what data frames and matrices become, and what models make of them."""

import datetime
import json

import numpy as np
import pyarrow as pa
import pytest
import reference
import scipy.sparse as sp

import alsx
from alsx import BayesALS, FactorALS, Ratings
from alsx._models.features import FeatureEncoder
from alsx._solver import ridges
from alsx.datasets import load_demo, load_movielens
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
        ([["a"], ["b"]], TypeError, "item_features is of <U1; it must be numbers"),
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
    model = FactorALS(2, implicit_features=implicit, reg_features=1.0, random_state=0).fit(
        R, user_features=users, item_features=items
    )
    assert len(model.user_ids_) == 120
    assert len(model.item_ids_) == 90
    plain = FactorALS(2, implicit_features=implicit, random_state=0).fit(R)
    cold_users, cold_items = np.arange(100, 120), np.arange(80, 90)
    for u, i in ((cold_users, np.arange(80)), (np.arange(100), cold_items), (cold_users, cold_items)):
        with pytest.warns(UserWarning, match="know only part of their pair"):
            before = error(plain, truth, u, i)
        assert error(model, truth, u, i) < 0.5 * before
    assert error(model, truth, np.arange(100), np.arange(80)) < error(plain, truth, np.arange(100), np.arange(80))
    ids, _ = model.recommend(110, 5, strategy="mean")
    whole = model.predict(110, model.item_ids_, clip=False)
    np.testing.assert_array_equal(ids, model.item_ids_[np.argsort(-whole, kind="stable")[:5]])
    assert 85 in model.recommend(3, 90)[0]
    assert model.similar_items(85, 3)[0].shape == (3,)
    assert model.user_counts_[105] == 0


def test_effects_have_names(planted):
    R, _, users, items = planted
    model = FactorALS(2, implicit_features=None, reg_features=0.1, random_state=0).fit(
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
    assert two.folded_in_ids_.tolist() == [777, 888]


def test_features_as_matrices_and_what_goes_wrong(planted):
    R, _, users, items = planted
    matrix = np.column_stack([items[f"f{c}"] for c in range(4)])[:80]
    by_matrix = FactorALS(2, random_state=0).fit(R, item_features=matrix)
    assert len(by_matrix.item_ids_) == 80
    sparse = FactorALS(2, random_state=0).fit(R, item_features=sp.csr_array(matrix))
    np.testing.assert_array_equal(sparse._items.table, by_matrix._items.table)
    with pytest.raises(ValueError, match="reg_features is 0"):
        FactorALS(2, reg_features=0).fit(R, item_features=matrix)
    with pytest.raises(ValueError, match="reg_implicit is 0"):
        FactorALS(2, reg_implicit=0).fit(R)
    with pytest.raises(ValueError, match="implicit_features is 'yes'"):
        FactorALS(2, implicit_features="yes").fit(R)
    threads = [FactorALS(2, random_state=0, n_jobs=n).fit(R, user_features=users)._users.table for n in (1, 3)]
    np.testing.assert_array_equal(*threads)


def test_rated_ids_without_features_are_fitted_too(planted):
    R, _, users, _ = planted
    model = FactorALS(2, implicit_features=None, random_state=0).fit(R, user_features=users.slice(50))
    assert model._users.prior.feature_effects.shape == (4, 3)
    assert np.isfinite(model._users.table).all()
    assert len(model.user_ids_) == 120


# MovieLens


def test_features_of_movielens(movielens_folder):
    data = load_movielens(movielens_folder / "ml-100k.zip")
    assert data.item_features().column_names == ["item", "genres", "year", "decade"]
    assert data.item_features()["decade"].to_pylist()[0] == "1990s"
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


# Odd columns


def fitted(**columns):
    """Names and numbers of a frame with three items."""
    encoder, _, matrix = FeatureEncoder.fit(pa.table({"item": [1, 2, 3], **columns}), "item_features", Ids([1]))
    return encoder, matrix.toarray().tolist()


def later(encoder, **columns):
    table = pa.table({"item": [9] * len(next(iter(columns.values()))), **columns}).slice(0, 1)
    return encoder.transform(table, "features", "item")[1].toarray()[0].tolist()


def test_categories_of_integers_are_categories_also_when_they_come_as_numbers():
    encoder, rows = fitted(c=pa.array([10, 20, 10]).dictionary_encode())
    assert encoder.names == ["c=10", "c=20"]
    assert rows == [[1, 0], [0, 1], [1, 0]]
    for column in ([20], [20.0], ["20"], pa.array([20]).dictionary_encode()):
        assert later(encoder, c=column) == [0, 1]
    assert later(encoder, c=pa.nulls(1)) == later(encoder, c=[30]) == [0, 0]


def test_intervals_of_pandas_are_categories():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"item": [1, 2, 3], "age": pd.cut([1, 5, 9], [0, 4, 10])})
    encoder, _, matrix = FeatureEncoder.fit(frame, "item_features", Ids([1]))
    assert encoder.names == ["age=0 to 4", "age=4 to 10"]
    assert matrix.toarray().tolist() == [[1, 0], [0, 1], [0, 1]]


def test_lists_may_hold_integers_and_doubles_but_no_floats():
    encoder, rows = fitted(g=[[28, 12, 28], [12], []])
    assert encoder.names == ["g=12", "g=28"]
    assert rows == [[1, 1], [1, 0], [0, 0]]
    with pytest.raises(TypeError, match="'v' is list<.*: double>, .* give each number of the list a column of its own"):
        fitted(v=[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_are_days_in_every_unit(unit):
    day = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit] * 86_400
    encoder, rows = fitted(t=pa.array([0, 2 * day, None], pa.timestamp(unit)))
    np.testing.assert_allclose(rows, [[-1], [1], [0]])
    np.testing.assert_allclose(later(encoder, t=[datetime.date(1970, 1, 5)]), [3])


def test_numbers_of_every_size():
    assert fitted(n=[7, 7, None])[1] == [[0], [0], [0]]
    np.testing.assert_allclose(fitted(n=[2**53 + 1, 0, None])[1], [[1], [-1], [0]])
    with pytest.raises(ValueError, match="numbers of the column 'n' are too large to be standardised: rescale it"):
        fitted(n=[1e300, -1e300, 0.0])
    with pytest.raises(ValueError, match="the column 'n' holds nothing: drop it"):
        fitted(n=pa.array([None, None, np.nan], pa.float64()))
    with pytest.raises(ValueError, match="the column 'n' holds nothing: drop it"):
        fitted(n=pa.nulls(3))


def test_a_column_of_another_kind_later_is_refused_by_name():
    encoder = fitted(n=[1, 2, 3], g=["a|b", "b", None], t=[datetime.date(2000, 1, day) for day in (1, 2, 3)])[0]
    fine = {"n": [2], "g": [["b", "unseen"]], "t": [datetime.date(2000, 1, 2)]}
    assert later(encoder, **fine) == [0, 0, 1, 0]
    for wrong, says in (
        ({"n": ["3"]}, "features: the column 'n' holds texts \\(string\\), but numbers when the model was fitted"),
        ({"g": [5]}, "features: the column 'g' holds numbers"),
        ({"t": [5]}, "features: the column 't' holds numbers \\(int64\\), but dates"),
    ):
        with pytest.raises(TypeError, match=says):
            later(encoder, **(fine | wrong))


def test_free_text_in_small_tables_and_with_a_stray_bar():
    n = 500
    item, genre = pa.array(range(n)), pa.array(["Drama", "Comedy"] * (n // 2))
    titles = [f"film {at}" for at in range(n)]
    for column in (titles, ["film | one", *titles[1:]]):
        with pytest.raises(ValueError, match="'title' has 50. different values in 500 rows, as free text has"):
            FeatureEncoder.fit(pa.table({"item": item, "title": column}), "item_features", Ids([1]))
    # Many labels are fine where they are lists, in either form.
    for column in ([[title] for title in titles], [f"{title}|all" for title in titles]):
        table = pa.table({"item": item, "genre": genre, "cast": column})
        assert len(FeatureEncoder.fit(table, "item_features", Ids([1]))[0].names) > n


def test_frames_that_cannot_be_read():
    pd = pytest.importorskip("pandas")
    ids = {"item": [1, 2, 3]}
    for frame, error, says in (
        (pd.DataFrame(ids | {"c": ["a", 1, 2.5]}), TypeError, "the column 'c' cannot be read .* of one kind"),
        (pd.DataFrame([[1, 2, 3]], columns=["item", "a", "a"]), ValueError, "two columns 'a'"),
        (pd.DataFrame({"a": [1, 2]}, index=pd.Index([1, 2], name="movieId")), ValueError, "pass .reset_index"),
        (
            pd.DataFrame({"item": [1.0, 2.0], "a": [1, 2]}),
            TypeError,
            r"item_features\['item'\]: row 0 is 1\.0 .float64.; ids must be",
        ),
    ):
        with pytest.raises(error, match=says):
            FeatureEncoder.fit(frame, "item_features", Ids([1]))


@pytest.mark.parametrize("data", ["films.csv", None, {"item": [1], "a": [2]}])
def test_what_is_no_matrix_is_called_by_its_type(data):
    with pytest.raises(TypeError, match=f"item_features is of type {type(data).__name__}, .*data frame"):
        FeatureEncoder.fit(data, "item_features", Ids([1]))


def test_matrices_that_are_no_numbers():
    for data, error, says in (
        (np.ones((2, 1)) * 1j, TypeError, "item_features is of complex128; it must be numbers"),
        (np.ma.masked_less([[0.0], [1.0]], 1), ValueError, "row 0 has a masked place"),
        ([[1.0], [1.0, 2.0]], ValueError, "rows of different lengths"),
        (sp.csr_array([[0.0, 1.0], [0.0, np.inf]]), ValueError, "row 1, column 1 is inf"),
    ):
        with pytest.raises(error, match=says):
            FeatureEncoder.fit(data, "item_features", Ids([1, 2]))


def test_a_matrix_that_is_given_stays_as_it_was():
    given = sp.csr_array((np.array([0.0, 2.0]), np.array([1, 0]), np.array([0, 2, 2])), shape=(2, 2))
    matrix = FeatureEncoder.fit(given, "item_features", Ids([1, 2]))[2]
    assert (given.nnz, matrix.nnz) == (2, 1)
    matrix.data[:] = 7
    assert given.toarray().tolist() == [[2, 0], [0, 0]]


def test_a_stream_of_batches_is_a_frame():
    encoder, ids, _ = FeatureEncoder.fit(FILMS.to_reader(), "item_features", Ids([10]))
    assert ids.tolist() == [30, 10, 20]
    assert "year" in encoder.names


def test_outputs_of_scikit_learn_may_be_set_to_frames():
    sklearn = pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    expected = FeatureEncoder.fit(FILMS, "item_features", Ids([10]))[2]
    with sklearn.config_context(transform_output="pandas"):
        got = FeatureEncoder.fit(FILMS, "item_features", Ids([10]))[2]
    np.testing.assert_array_equal(got.toarray(), expected.toarray())


def test_ids_of_new_rows_are_of_one_kind():
    encoder = fitted(n=[1, 2, 3])[0]
    with pytest.raises(TypeError, match="features: these ids are strings, but row 0 is 9"):
        encoder.transform(pa.table({"item": [9], "n": [1]}), "features", "item", np.array(["x"]))


def test_cold_users_of_small_data_are_predicted_as_well_as_the_effects_say():
    """100 users with 40 ratings are not fractions of users against the ridge of 60."""
    rng = np.random.default_rng(0)
    n, n_items, n_cold = 100, 60, 20
    features = rng.normal(size=(n + n_cold, 3))
    bias = 3 + features @ [0.8, -0.5, 0.4]
    shift = rng.normal(0, 0.3, n_items)
    u = np.repeat(np.arange(n), 40)
    i = np.concatenate([rng.choice(n_items, 40, replace=False) for _ in range(n)])
    table = pa.table({"user": np.arange(n + n_cold), **{f"f{c}": features[:, c] for c in range(3)}})
    model = FactorALS(5, random_state=0).fit(
        np.column_stack([u, i]), bias[u] + shift[i] + rng.normal(0, 0.3, len(u)), user_features=table
    )
    cold, items = np.repeat(np.arange(n, n + n_cold), n_items), np.tile(np.arange(n_items), n_cold)
    truth = bias[cold] + shift[items]
    effects = model.feature_effects_["bias"].to_numpy()
    scaled = (features[n:] - features.mean(0)) / features.std(0)
    by_effects = model.mean_ + (scaled @ effects[:3] + effects[3])[cold - n] + model.item_biases_[items]
    error, expected = (np.sqrt(np.mean((x - truth) ** 2)) for x in (model.predict(cold, items, clip=False), by_effects))
    assert error < 1.05 * expected
    assert error < 0.6 * np.std(truth)


def test_the_ridge_is_the_one_that_predicts_left_out_rows_best():
    rng = np.random.default_rng(5)
    features = sp.random_array((40, 6), density=0.5, rng=rng, format="csr") + sp.csr_array(np.eye(40, 6))
    target = features @ rng.normal(size=(6, 3)) + rng.normal(size=(40, 3)) * [2.0, 3.0, 6.0]
    for weights, error_weights in (
        (rng.uniform(0.1, 2, (40, 3)), None),
        (rng.uniform(0.1, 2, (40, 1)), rng.uniform(1, 9, 40)),
    ):
        by_column = np.broadcast_to(weights, target.shape)
        counted = by_column / by_column.mean(axis=0) if error_weights is None else error_weights[:, None]
        scores = []
        for ridge in ridges.CANDIDATES:
            errors = reference.leave_one_out_errors(features.toarray(), target, by_column, ridge)
            scores.append(np.log((counted * errors**2).sum(axis=0)).sum())
        best = ridges.leave_one_out_ridge(features, target, weights, error_weights)
        assert best == ridges.CANDIDATES[np.argmin(scores)]
        assert ridges.CANDIDATES[0] < best < ridges.CANDIDATES[-1]


def test_there_may_be_nothing_to_choose_a_ridge_by():
    ones = np.ones((3, 1))
    assert ridges.leave_one_out_ridge(sp.csr_array(ones), np.zeros((3, 2)), ones) is None
    assert ridges.leave_one_out_ridge(sp.csr_array(ones[:1]), ones[:1], ones[:1]) is None
    wide = sp.csr_array((3, ridges.MAX_FEATURES + 1))
    assert ridges.leave_one_out_ridge(wide, ones, ones) is None
    R = Ratings.from_arrays([1, 1, 2], [1, 2, 1], [3.0, 4.0, 5.0])
    model = FactorALS(1, random_state=0).fit(R, item_features=sp.csr_array((2, 600)))
    assert model.reg_features_ == (None, 20.0)


@pytest.mark.parametrize("model", [FactorALS(3, random_state=0), BayesALS(3, n_samples=20, random_state=0)])
def test_effects_of_a_small_set_are_those_that_were_planted(model):
    rng = np.random.default_rng(3)
    n, n_items, each = 100, 150, 40
    X = rng.normal(size=(n + 20, 3))
    effects = np.array([0.8, -0.5, 0.3])
    u = np.repeat(np.arange(n), each)
    i = np.concatenate([rng.choice(n_items, each, replace=False) for _ in range(n)])
    r = 3 + X[u] @ effects + rng.normal(0, 0.5, n_items)[i] + rng.normal(0, 0.3, len(u))
    told = pa.table({"user": np.arange(n + 20), **{f"f{c}": X[:, c] for c in range(3)}})
    fitted = model.fit(Ratings.from_arrays(u, i, r), user_features=told)
    prior = fitted._users.prior
    for found in (prior.feature_effects, prior.cold_feature_effects):
        np.testing.assert_allclose(found[:3, -1], effects * X.std(axis=0), rtol=0.05)


def test_a_warm_start_goes_on_with_its_ridge_and_files_keep_it(planted, tmp_path):
    R, _, users, items = planted
    model = FactorALS(2, max_iter=4, warm_start=True, random_state=0)
    ridge = model.fit(R, user_features=users, item_features=items).reg_features_
    loss = model.history_["loss"][-1]
    assert all(0 < x < 10 for x in ridge)
    model.save(tmp_path / "m.npz")
    loaded = alsx.load(tmp_path / "m.npz")
    assert loaded.reg_features_ == ridge
    for earlier in (model, loaded):
        again = earlier.fit(R, user_features=users, item_features=items)
        assert again.reg_features_ == ridge
        assert again.history_["loss"][0] <= loss * (1 + 1e-6)

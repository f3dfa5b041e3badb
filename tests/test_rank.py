"""RankALS against a fit that visits every pair; what it refuses; lists, fold-in, files."""

import io
import itertools
import pickle

import numpy as np
import pytest
import reference
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

import alsx
from alsx import FactorALS, RankALS, Ratings
from alsx._solver.alternation import sweeps
from alsx._solver.missing import Confidence, MissingPairs, RankAlternation
from alsx._solver.prior import Penalty, PriorSources
from alsx.datasets import load_movielens, make_ratings

KINDS = ["ratings", "linear", "log"]


def data(n_users=30, n_items=20, density=0.3, seed=0, weighted=False):
    """Some pairs of users and items, one of each without any, with ratings, counts and weights."""
    rng = np.random.default_rng(seed)
    u, i = np.nonzero(rng.random((n_users, n_items)) < density)
    keep = (u != 3) & (i != 5)
    u, i = u[keep], i[keep]
    ratings, counts = rng.integers(1, 6, len(u)).astype(float), rng.poisson(2, len(u)) + 1.0
    w = rng.choice([0.0, 0.5, 1.0, 2.0], len(u)) if weighted else None
    return u, i, ratings, counts, w


def matrix(u, i, values, shape=(30, 20)):
    """As a sparse matrix, so that gaps are users and items without ratings."""
    return sp.csr_array((values, (u, i)), shape=shape)


def model_of(kind, **parameters):
    """A model of one kind, in double precision, without a stop before max_iter."""
    options = {"dtype": "float64", "tol": 0, "max_iter": 4, "random_state": 0, "implicit_features": None, **parameters}
    if kind == "ratings":
        return RankALS(3, missing=1.5, missing_weight=0.3, **options)
    return RankALS(3, feedback="implicit", alpha=2.5, confidence=kind, **options)


def values_of(kind, ratings, counts):
    return ratings if kind == "ratings" else counts


def terms_of(kind, u, i, values, w, shape=(30, 20)):
    if kind == "ratings":
        return reference.rank_terms(u, i, values, w, shape, 1.5, 0.3)
    return reference.implicit_terms(u, i, values, w, shape, 2.5, kind)


def tables(model):
    """[P b] and [Q c]."""
    return [
        np.column_stack([model.user_factors_, model.user_biases_]),
        np.column_stack([model.item_factors_, model.item_biases_]),
    ]


def unit_of(kind, values, w):
    if kind != "ratings":
        return 1.0
    return float(np.sqrt(np.average((values - np.average(values, weights=w)) ** 2, weights=w)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_is_that_of_all_pairs(kind, weighted):
    u, i, ratings, counts, w = data(weighted=weighted)
    values = values_of(kind, ratings, counts)
    model = model_of(kind, reg=(0.7, 0.4), reg_bias=(0.3, 0.2)).fit(matrix(u, i, values), sample_weight=w)
    terms, W = terms_of(kind, u, i, values, w)
    unit = unit_of(kind, values, w)
    start = np.random.default_rng(0).standard_normal((20, 3)) * 0.1
    # Of implicit feedback, scales are powers of sums of what is known beyond missing pairs, in units of alpha.
    expected = reference.rank_fit(terms, W, start, model.mean_, unit, (0.7, 0.4), (0.3, 0.2), 0.5, 4)
    for mine, theirs in zip(tables(model), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)
    loss = reference.rank_loss(terms, expected, model.mean_)
    penalty = reference.rank_penalty(expected, W, (0.7, 0.4), (0.3, 0.2), 0.5, unit)
    assert model.history_["loss"][-1] == pytest.approx(loss + penalty, rel=1e-10)
    total = sum(C.sum() for C, _ in terms)
    assert model.history_["train_rmse"][-1] == pytest.approx(np.sqrt(loss / total), rel=1e-9)
    assert not model.user_biases_[3]  # without ratings: no missing ones either
    assert not model.item_factors_[5].any()


@pytest.mark.parametrize("implicit_features", ["both", "user"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_objective_and_never_rises(kind, implicit_features):
    u, i, ratings, counts, w = data(weighted=True, seed=2)
    values = values_of(kind, ratings, counts)
    features = np.random.default_rng(0).normal(size=(20, 2))
    model = model_of(kind, implicit_features=implicit_features, max_iter=12).fit(
        matrix(u, i, values), sample_weight=w, item_features=features
    )
    losses = model.history_["loss"]
    assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(losses))
    assert losses[-1] < losses[0]


@settings(max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.floats(0.01, 0.95),
    st.floats(-3, 6),
    st.floats(0.01, 100),
    st.sampled_from([None, "both"]),
    st.sampled_from(["float32", "float64"]),
)
def test_the_loss_never_rises(seed, kind, weight, missing, alpha, implicit_features, dtype):
    u, i, ratings, counts, w = data(seed=seed, weighted=True, n_users=12, n_items=9)
    own = {"missing": missing, "missing_weight": weight}
    if kind != "ratings":
        own = {"feedback": "implicit", "alpha": alpha, "confidence": kind}
    model = RankALS(
        2, **own, implicit_features=implicit_features, dtype=dtype, tol=0, max_iter=8, random_state=seed % 1000
    )
    losses = model.fit(matrix(u, i, values_of(kind, ratings, counts), (30, 20)), sample_weight=w).history_["loss"]
    slack = 1e-12 if dtype == "float64" else 1e-5
    scale = max(np.abs(losses))
    assert all(b <= a + slack * scale for a, b in itertools.pairwise(losses))


def test_implicit_feedback_is_that_of_hu_koren_and_volinsky():
    """One half-sweep: A = Y'Y + sum (c - 1) y y' + reg, b = sum c y, with c = 1 + alpha r."""
    u, i, _, counts, _ = data()
    R = matrix(u, i, counts)
    model = RankALS(
        3, feedback="implicit", alpha=4.0, implicit_features=None, reg=0.2, reg_bias=1e9, reg_scaling=0, dtype="float64",
        max_iter=6, tol=0, random_state=1,
    ).fit(R)  # fmt: skip
    P, Q = model.user_factors_, model.item_factors_
    np.testing.assert_allclose(model.item_biases_, 0, atol=1e-6)
    c = 1 + 4.0 * R.toarray()
    rated = np.flatnonzero(R.toarray().any(0))
    rows = np.flatnonzero(R.toarray().any(1))
    X = P[rows]
    for item in rated:  # the items were solved last
        A = (X.T * c[rows, item]) @ X + 0.2 * np.eye(3)
        b = X.T @ (c[rows, item] * (R.toarray()[rows, item] > 0))
        np.testing.assert_allclose(Q[item], np.linalg.solve(A, b), atol=1e-6)


def test_pairs_without_counts_count_once_each():
    u, i, _, _, _ = data()
    pairs = np.column_stack([u, i])
    options = {"feedback": "implicit", "random_state": 0, "max_iter": 3}
    without = RankALS(3, **options).fit(pairs)
    for other in (RankALS(3, **options).fit(pairs, np.ones(len(u))), RankALS(3, **options).fit(pairs.tolist())):
        np.testing.assert_array_equal(without.item_factors_, other.item_factors_)
    # Repeated events add up.
    twice = RankALS(3, **options).fit(np.vstack([pairs, pairs[:7]]))
    counted = RankALS(3, **options).fit(pairs, 1.0 + (np.arange(len(u)) < 7))
    np.testing.assert_array_equal(twice.item_factors_, counted.item_factors_)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rating_without_weight_is_a_missing_one(kind):
    u, i, ratings, counts, _ = data()
    values = values_of(kind, ratings, counts)
    dropped = np.arange(len(u)) % 7 == 0
    with_zeros = model_of(kind).fit(matrix(u, i, values), sample_weight=np.where(dropped, 0.0, 1.0))
    without = model_of(kind).fit(matrix(u[~dropped], i[~dropped], values[~dropped]))
    for a, b in zip(tables(with_zeros), tables(without), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.usefixtures("everything_shared")
@pytest.mark.parametrize("k", [3, 40])
@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_no_bit(simd, kind, k):
    R = make_ratings(2600, 90, 20_000, random_state=0)
    once = model_of(kind, dtype="float32", implicit_features="both", n_jobs=1).set_params(k=k).fit(R)
    for n_jobs in (2, 5):
        again = clone(once).set_params(n_jobs=n_jobs).fit(R)
        assert again.history_["loss"] == once.history_["loss"]
        for a, b in zip(tables(once), tables(again), strict=True):
            np.testing.assert_array_equal(a, b)


def test_float32_is_as_good():
    u, i, r = make_ratings(300, 200, 9000, random_state=0).triples()
    start = np.random.default_rng(0).normal(0, 0.1, (200, 8))
    side = Penalty(1.3, 0.6, 0.5)
    for missing in (MissingPairs(1.5, 0.4), MissingPairs(0.0, 1.0, Confidence(10.0, "log"))):
        scores, losses = [], []
        for dtype in ("float32", "float64"):
            R = Ratings.from_arrays(u, i, r, dtype=dtype)
            trainer = RankAlternation(R, 8, (side, side), np.random.default_rng(0), 1, (PriorSources(),) * 2, missing)
            trainer.items.table[:, :8] = start
            losses.append([iteration.loss for iteration in itertools.islice(sweeps(trainer), 5)])
            scores.append(trainer.users.table[:, :8].astype(float) @ trainer.items.table[:, :8].T.astype(float))
        assert np.abs(scores[0] - scores[1]).max() < 1e-3 * np.abs(scores[1]).max()
        np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fold_in_is_a_row_solve_over_all_pairs(kind, side):
    u, i, ratings, counts, w = data(weighted=True, seed=5)
    values = values_of(kind, ratings, counts)
    model = model_of(kind).fit(matrix(u, i, values), sample_weight=w)
    own, other = (u, i) if side == "user" else (i, u)
    mine = own == 7
    pairs = np.column_stack([np.full(mine.sum(), 100), other[mine]])
    pairs = pairs if side == "user" else pairs[:, ::-1]
    folded = model.fold_in(pairs, values[mine], w[mine], side=side)
    terms, W = terms_of(kind, u, i, values, w)
    if side == "item":
        terms, W = [(C.T, T.T) for C, T in terms], W.T
    unit = unit_of(kind, values, w)
    sides = (model._users, model._items) if side == "user" else (model._items, model._users)
    rest = sides[0].solving(sides[1])[0][:, :4]  # what rows of the fit were solved from
    reg = 1.3 if kind == "ratings" else model.reg_[0]
    reg, reg_bias = model.reg_[side == "item"], model.reg_bias_[side == "item"]
    s = max(W[7].sum(), 30) ** 0.5
    # A rated item of a weight of 0 alone has no missing ratings in the fit; none of these is.
    A, h = reference.rank_row(terms, 7, rest, model.mean_, s * np.diag([reg * unit] * 3 + [reg_bias]))
    found = tables(folded)[side == "item"][-1]
    np.testing.assert_allclose(found, np.linalg.solve(A, h), atol=1e-9)
    for a, b in zip(tables(model), tables(folded), strict=True):
        np.testing.assert_array_equal(a, b[: len(a)])
    ids, _ = folded.recommend(100 if side == "user" else 0, n=3)
    assert len(set(ids)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_a_score_add_up(kind):
    u, i, ratings, counts, w = data(weighted=True)
    values = values_of(kind, ratings, counts)
    model = model_of(kind, max_iter=20, implicit_features="both").fit(matrix(u, i, values), sample_weight=w)
    folded = model.fold_in([(99, 1), (99, 2), (99, 9)], [4.0, 5.0, 1.0])
    for one, user, item in ((model, 0, 7), (model, 12, 0), (model, 3, 1), (folded, 99, 4)):
        parts = one.explain(user, item, n=None).parts
        code = int(one._users.ids.codes(user))
        assert (parts[0].name, parts[0].contribution) == ("a missing rating", one.missing_)
        assert sum(part.part == "rating" for part in parts) == one.user_counts_[code]
        # None of the ratings of user 3 has a weight, so that none of his pairs is missing.
        assert sum(part.part == "missing pairs" for part in parts) == (user != 3)
        assert sum(part.contribution for part in parts) == pytest.approx(one.predict(user, item), abs=1e-10)
        assert (parts[0].name, parts[0].contribution) == ("a missing rating", model.missing_)


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("kind", KINDS)
def test_folding_in_who_was_in_the_fit_gives_the_same_row(kind, side):
    u, i, ratings, counts, _ = data()
    R = matrix(u, i, values_of(kind, ratings, counts))
    model = model_of(kind, max_iter=3, implicit_features="both").fit(R)
    for before, after in zip(tables(model), tables(model.fold_in(R, side=side)), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_partial_fit_solves_rows_over_all_pairs(kind):
    u, i, ratings, counts, _ = data()
    values = values_of(kind, ratings, counts)
    model = model_of(kind, max_iter=5).fit(matrix(u, i, values)).partial_fit([(0, 18), (0, 19)], [2.0, 4.0])
    kept = (u > 0) | (i < 18)
    u, i = np.append(u[kept], [0, 0]), np.append(i[kept], [18, 19])
    values = np.append(values[kept], [2.0, 4.0])
    terms, W = terms_of(kind, u, i, values, None)
    unit = unit_of(kind, values_of(kind, ratings, counts), None)  # of the fit
    s = max(W[0].sum(), 30) ** 0.5
    table = model._users.solving(model._items)[0][:, :4]  # with the two items as they are now
    precision = s * np.diag([model.reg_[0] * unit] * 3 + [model.reg_bias_[0]])
    expected = np.linalg.solve(*reference.rank_row(terms, 0, table, model.mean_, precision))
    np.testing.assert_allclose(tables(model)[0][0], expected, atol=1e-9)


def test_partial_fit_learns_what_comes():
    R = make_ratings(100, 60, 1500, random_state=0)
    model = RankALS(4, max_iter=3, random_state=0, dtype="float64").fit(R)
    user, liked = R.user_ids[3], model.recommend(R.user_ids[3], 1)[0][0]
    before = model.predict(user, liked)
    model.partial_fit([(user, liked), (1000, liked)], [R.triples()[2].max()] * 2, refine=1)
    assert model.predict(user, liked) > before
    assert 1000 in model.user_ids_
    assert liked not in model.recommend(user, 59)[0]
    clicks = RankALS(4, feedback="implicit", max_iter=3, random_state=0).fit([("ann", 1), ("ann", 2), ("bob", 1)])
    clicks.partial_fit([("cat", 2), ("cat", 2)])  # which counts twice
    assert clicks._seen.values.tolist() == [1, 1, 1, 2]
    with pytest.raises(ValueError, match="R: the count of 'cat' and 1 is -1"):
        clicks.partial_fit([("cat", 1)], [-1])


@pytest.mark.parametrize("kind", KINDS)
def test_files_pickles_and_clones(kind, tmp_path):
    u, i, ratings, counts, _ = data()
    model = model_of(kind, implicit_features="both").fit(matrix(u, i, values_of(kind, ratings, counts)))
    model = model.fold_in([(99, 1), (99, 2)], [4.0, 5.0])
    model.save(tmp_path / "model.npz")
    for again in (alsx.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model))):
        assert isinstance(again, RankALS)
        assert again.get_params() == model.get_params()
        assert again._missing == model._missing
        for x, y in zip(model.recommend([0, 99], 5), again.recommend([0, 99], 5), strict=True):
            np.testing.assert_array_equal(x, y)
        for x, y in zip(tables(model.fold_in([(77, 4)], [5])), tables(again.fold_in([(77, 4)], [5])), strict=True):
            np.testing.assert_array_equal(x, y)
    assert clone(model).get_params() == model.get_params()


def test_files_of_models_without_missing_ratings_have_no_word_of_them():
    model = FactorALS(2, random_state=0).fit([(1, 2), (1, 3), (2, 2)], [3, 4, 5])
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    with np.load(file) as arrays:
        assert "missing" not in str(arrays["about"]).replace("min", "")


def test_scores_are_no_ratings():
    R = make_ratings(100, 60, 1500, random_state=0)
    model = RankALS(4, random_state=0).fit(R)
    assert not hasattr(model, "predict_interval")
    with pytest.raises(TypeError, match="return_std"):
        model.predict(1, 2, return_std=True)
    listed, scored = model.recommend(model.user_ids_[0], 5)
    np.testing.assert_array_equal(listed, model.recommend(model.user_ids_[0], 5, strategy="mean")[0])
    np.testing.assert_allclose(scored, model.predict(model.user_ids_[0], listed), rtol=1e-5)
    for strategy in ("propensity", "lower", "upper", "thompson"):
        with pytest.raises(ValueError, match=rf'strategy is "{strategy}".*no standard deviation'):
            model.recommend(model.user_ids_[0], strategy=strategy)
    with pytest.raises(TypeError, match="eval_set"):
        model.fit(R, eval_set=R)
    users, items, _ = R.triples()
    # Rated items have higher scores than missing ones.
    scores = model.predict(np.repeat(R.user_ids, R.n_items), np.tile(R.item_ids, R.n_users)).reshape(R.shape)
    rated = np.zeros(R.shape, bool)
    rated[users, items] = True
    assert scores[rated].mean() > scores[~rated].mean()
    one = model.predict(R.user_ids[0], R.item_ids[1])
    assert isinstance(one, float)
    assert one == scores[0, 1]


def test_cold_rows_have_what_features_say():
    u, i, ratings, _, _ = data()
    features = np.eye(20)[:, :6]
    features[5, 2] = 1
    model = model_of("ratings", max_iter=8).fit(matrix(u, i, ratings), item_features=features)
    assert model.item_factors_[5].any()
    folded = model.fold_in(side="item", features=np.eye(6)[:1], R=None)
    assert folded.folded_in_ids_.tolist() == [0]
    assert model.similar_items(0, 3)[0].shape == (3,)
    with pytest.warns(UserWarning, match="know only part"):
        assert np.isfinite(model.predict(999, 3))


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"feedback": "clicks"}, ValueError, r"feedback is 'clicks'; it must be \"ratings\" or \"implicit\""),
        ({"missing": "low"}, TypeError, "missing is 'low'; it must be a number"),
        ({"missing": np.nan}, ValueError, "missing is nan; it must be a finite number"),
        ({"missing_weight": 0}, ValueError, "missing_weight is 0; it must be above 0 and below 1"),
        ({"missing_weight": 1}, ValueError, "missing_weight is 1; it must be above 0 and below 1"),
        ({"feedback": "implicit", "missing": 2}, ValueError, "missing is 2, but .*: leave it out"),
        ({"feedback": "implicit", "missing_weight": 0.5}, ValueError, "missing_weight is 0.5, but .*, and use alpha"),
        ({"feedback": "implicit", "alpha": 0}, ValueError, "alpha is 0; it must be above 0"),
        ({"feedback": "implicit", "confidence": "root"}, ValueError, "confidence is 'root'; it must be"),
        ({"reg": "auto"}, ValueError, 'reg is "auto", but'),
        ({"reg": "much"}, TypeError, "reg is 'much'; it must be a number"),
        ({"reg_implicit": 0}, ValueError, "reg_implicit is 0"),
        ({"implicit_features": "all"}, ValueError, "implicit_features is 'all'"),
    ],
)
def test_parameters_are_checked(parameters, error, message):
    with pytest.raises(error, match=message) as caught:
        RankALS(2, **parameters).fit([(1, 2), (1, 3), (2, 2)], [3, 4, 5])
    assert len(str(caught.value)) <= 300


def test_negative_counts_are_refused():
    model = RankALS(2, feedback="implicit", random_state=0)
    pairs = [("ann", 2), ("ann", 3), ("bob", 2)]
    with pytest.raises(ValueError, match="R: the count of 'bob' and 2 is -1; .* at least 0"):
        model.fit(pairs, [1, 2, -1])
    with pytest.raises(ValueError, match="R: the count of 'dan' and 3 is -2"):
        model.fit(pairs, [1, 2, 1]).fold_in([("dan", 3)], [-2])
    with pytest.raises(TypeError, match="R holds pairs of ids"):
        RankALS(2).fit(pairs)


def test_lists_on_real_ratings(movielens_folder):
    """Far beyond popularity, and a different list for everybody."""
    table = load_movielens(movielens_folder / "ml-100k.zip").table
    u, i, r, t = (table.column(name).to_numpy() for name in ("user", "item", "rating", "timestamp"))
    order = np.lexsort((i, t, u))
    u, i, r = u[order], i[order], r[order]
    n = np.bincount(u)[u]
    place = np.arange(len(u)) - np.concatenate([[0], np.cumsum(np.bincount(u))])[u]
    test = place >= n - np.floor(0.2 * n)
    train = Ratings.from_arrays(u[~test], i[~test], r[~test])
    users = train.user_ids
    held_out = Ratings.from_arrays(u[test], i[test], r[test])
    relevant = alsx.metrics.relevant_items(held_out, users, min_rating=4)
    model = RankALS(40, random_state=0).fit(train)
    lists, _ = model.recommend(users, 10)
    popular = train.item_ids[np.argsort(-model.item_counts_, kind="stable")]
    rated = np.split(train.item_ids[train.by_user.indices], train.by_user.indptr[1:-1])
    base = [popular[~np.isin(popular, own)][:10] for own in rated]
    assert alsx.metrics.ndcg_at_n(lists, relevant) > 1.8 * alsx.metrics.ndcg_at_n(np.array(base), relevant)
    assert len(np.unique(lists)) > 300

"""Uncertainty: against a dense twin, on planted and real ratings, in recommendations, through folding in, files and pickles."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference
from scipy.stats import norm, spearmanr
from sklearn.base import clone

import alsx
from alsx._models import top_n
from alsx._models.training import fitted_uncertainty
from alsx._solver import uncertainty
from alsx._solver.prior import FittedPrior
from alsx.model_selection import train_test_split

LEVELS = (0.5, 0.8, 0.9, 0.95)


def simulated(n_users=150, n_items=90, density=0.15, seed=0, steps=0.5):
    """Ratings on steps within 1 to 5, of users who are exact or not; somebody has one rating, some item one too."""
    rng = np.random.default_rng(seed)
    p, q = rng.normal(0, 0.6, (n_users, 3)), rng.normal(0, 0.6, (n_items, 3))
    sd = rng.choice([0.4, 0.8], n_users)
    mean = 3.2 + rng.normal(0, 0.4, n_users)[:, None] + rng.normal(0, 0.4, n_items) + p @ q.T
    r = np.clip(np.round((mean + rng.normal(0, 1, mean.shape) * sd[:, None]) / steps) * steps, 1, 5)
    chosen = rng.random(r.shape) < density
    chosen[0, 1:] = chosen[1:, 0] = False
    chosen[0, 0] = True
    u, i = np.nonzero(chosen)
    return alsx.Ratings.from_arrays(u + 100, i + 1000, r[u, i])


MODELS = {
    "bias": lambda: alsx.BiasALS(),
    "scaled bias": lambda: alsx.BiasALS(reg_scaling=0.5),
    "plain": lambda: alsx.FactorALS(6, implicit_features=None, random_state=0, dtype="float64"),
    "implicit": lambda: alsx.FactorALS(6, random_state=0, dtype="float64"),
    "float32": lambda: alsx.FactorALS(6, random_state=0),
}


@pytest.fixture(scope="module")
def ratings():
    return simulated()


@pytest.fixture(scope="module", params=list(MODELS))
def model(request, ratings):
    return MODELS[request.param]().fit(ratings)


@pytest.fixture(scope="module")
def factors(ratings):
    return MODELS["implicit"]().fit(ratings)


def errors_of(model):
    """The squared training errors of users and of items."""
    return tuple(posterior.evidence.errors for posterior in (model._uncertainty.users, model._uncertainty.items))


def with_prior(model, side, prior):
    """A copy of a fitted model in which one side's prior is another one."""
    other = clone(model)
    state = model._state()
    state = state._replace(**{f"{side}s": getattr(state, f"{side}s").with_prior(prior)})
    errors = uncertainty.Errors(*errors_of(model), model._uncertainty.error_shape)
    other._set_state(state._replace(uncertainty=fitted_uncertainty(state.users, state.items, state.seen, errors)))
    return other


def twin(model, users, items):
    """The dense twin's answer for codes."""
    k = model._k
    counts = np.diff(model._seen.indptr)
    tables = [t[:, : k + 1].astype(np.float64) for t in (model._users.table, model._items.table)]
    priors = []
    for prior in (model._users.prior, model._items.prior):
        Lambda = np.diag(np.append(np.full(k, prior.reg), prior.reg_bias))
        unknown = np.zeros(k + 1) if prior.unrated_mean is None else prior.unrated_mean
        priors.append((Lambda if prior.precision is None else prior.precision, prior.exponent, unknown))
    return reference.rating_variances(
        np.repeat(np.arange(len(counts)), counts), model._seen.indices, tables, priors, errors_of(model), users, items
    )


def pairs(model, seed=1, n=300):
    """Codes of pairs, some of them unknown on one side or both."""
    rng = np.random.default_rng(seed)
    users = rng.integers(-1, len(model.user_ids_), n).astype(np.int32)
    items = rng.integers(-1, len(model.item_ids_), n).astype(np.int32)
    users[:5], items[:5] = [-1, -1, 0, 0, 7], [-1, 0, -1, 0, 9]
    return users, items


def test_variances_are_the_twins(model):
    users, items = pairs(model)
    noise, epistemic = model._variances(users, items)
    expected = twin(model, users, items)
    tolerance = 2e-4 if model._users.table.dtype == np.float32 else 1e-9
    np.testing.assert_allclose(noise, expected[0], rtol=tolerance)
    np.testing.assert_allclose(epistemic, expected[1], rtol=tolerance)
    assert model._uncertainty_of_fit().noise(1).sigma2 == pytest.approx(expected[2], rel=tolerance)


def test_a_full_precision_is_the_same_where_it_says_the_same(ratings):
    model = alsx.FactorALS(4, implicit_features=None, reg_scaling=0, random_state=0, dtype="float64").fit(ratings)
    users, items = pairs(model)
    before = model._variances(users, items)
    state = model
    for side, prior in (("user", model._users.prior), ("item", model._items.prior)):
        Lambda = np.diag(np.append(np.full(4, prior.reg), prior.reg_bias))
        state = with_prior(state, side, FittedPrior(precision=Lambda, unrated_mean=prior.unrated_mean))
    for x, y in zip(before, state._variances(users, items), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9)
    ids = model.recommend(model.user_ids_[:9], strategy="thompson", random_state=0)[0]
    np.testing.assert_array_equal(ids, state.recommend(model.user_ids_[:9], strategy="thompson", random_state=0)[0])
    # And one that is no diagonal against the twin.
    half = np.random.default_rng(0).normal(0, 1, (5, 9))
    state = with_prior(state, "user", FittedPrior(precision=half @ half.T, unrated_mean=np.arange(5.0)))
    for x, y in zip(state._variances(users, items), twin(state, users, items), strict=False):
        np.testing.assert_allclose(x, y, rtol=1e-9)


def test_threads_change_no_bit(model):
    users, items = pairs(model)
    found = [
        copy._uncertainty.of_pairs(users, items, copy._users, copy._items, n_threads)
        for copy, n_threads in ((model, 1), (pickle.loads(pickle.dumps(model)), 3))
    ]
    np.testing.assert_array_equal(*found)
    ids = model.user_ids_[:20]
    for strategy in ("upper", "thompson"):
        one, three = (
            model.set_params(n_jobs=n).recommend(ids, strategy=strategy, random_state=1) for n in (1, 3)
        )  # fmt: skip
        model.set_params(n_jobs=None)
        for x, y in zip(one, three, strict=True):
            np.testing.assert_array_equal(x, y)


def test_predict_with_its_deviation(model):
    u, i = model.user_ids_[3], model.item_ids_[5]
    mean, std = model.predict(u, i, return_std=True)
    assert type(mean) is type(std) is float
    assert mean == model.predict(u, i)
    many = model.predict([u, u], [i, model.item_ids_[0]], return_std=True)
    assert [x.shape for x in many] == [(2,), (2,)]
    assert many[1][0] == std
    assert many[1].dtype == np.float64
    with pytest.warns(UserWarning, match="1 of 1 predictions"):
        unknown = model.predict(-5, i, return_std=True)[1]
    assert unknown > 0


def test_intervals(model, ratings):
    u, i, r = ratings.triples()
    test = model.user_ids_[u], model.item_ids_[i]
    mean, std = model.predict(*test, return_std=True)
    last = mean, mean
    for level in (0.01, *LEVELS, 0.999):
        low, high = model.predict_interval(*test, level=level, clip=False)
        np.testing.assert_allclose(low + high, 2 * mean)
        assert (low < last[0]).all()
        assert (high > last[1]).all()
        last = low, high
    np.testing.assert_allclose((last[1] - mean) / std, ((last[1] - mean) / std)[0])
    low, high = model.predict_interval(*test)
    assert low.min() >= r.min()
    assert high.max() <= r.max()
    single = model.predict_interval(test[0][4], test[1][4])
    assert single == (low[4], high[4])
    assert type(single[0]) is float


@pytest.mark.parametrize("level", [0, 1, -0.1, 1.5])
def test_levels_that_are_none(factors, level):
    with pytest.raises(ValueError, match="level is "):
        factors.predict_interval(factors.user_ids_[0], factors.item_ids_[0], level=level)


def test_planted_noise_is_found():
    training, test = train_test_split(simulated(400, 250, 0.4, seed=3, steps=0.1), random_state=0)
    model = alsx.FactorALS(3, implicit_features=None, random_state=0).fit(training)
    truth = test.triples()[2]
    mean, std = model.predict(test, return_std=True)
    for level in LEVELS:
        low, high = model.predict_interval(test, level=level)
        assert np.mean((truth >= low) & (truth <= high)) == pytest.approx(level, abs=0.03)
    assert np.mean((truth - mean) ** 2) == pytest.approx(np.mean(std**2), rel=0.08)
    assert spearmanr(np.abs(truth - mean), std)[0] > 0.2
    ratios = model._uncertainty_of_fit().noise(1).user[:-1]
    rng = np.random.default_rng(3)
    rng.normal(0, 0.6, (400, 3)), rng.normal(0, 0.6, (250, 3))
    exact = rng.choice([0.4, 0.8], 400) == 0.4
    known = model.user_ids_ - 100
    assert np.median(ratios[~exact[known]]) > 1.8 * np.median(ratios[exact[known]])


@pytest.mark.parametrize("kind", ["canonical", "small"])
def test_real_ratings(movielens_folder, kind):
    from alsx.datasets import load_movielens

    if kind == "canonical":
        training, test = (alsx.Ratings(x) for x in load_movielens(movielens_folder / "ml-100k.zip").fold("u1"))
    else:
        whole = load_movielens(movielens_folder / "ml-latest-small.zip").ratings
        held = np.random.default_rng(0).random(whole.n_ratings) < 0.1
        training, test = whole.select(~held), whole.select(held)
    model = alsx.FactorALS(random_state=0).fit(training)
    mean, std = model.predict(test, return_std=True)
    truth = test.triples()[2]
    for level in LEVELS:
        low, high = model.predict_interval(test, level=level)
        assert np.mean((truth >= low) & (truth <= high)) == pytest.approx(level, abs=0.015)
    assert spearmanr(np.abs(truth - mean), std)[0] >= 0.18
    constant = np.mean((truth - mean) ** 2)  # a better one than any training error can tell
    ours = np.mean(np.log(std) + 0.5 * ((truth - mean) / std) ** 2)
    assert ours < 0.5 * np.log(constant) + 0.5 - 0.015


def test_shapes():
    rng = np.random.default_rng(0)
    shape = uncertainty.shape_of(rng.normal(0, 3, 100_000))
    for level in LEVELS:
        assert uncertainty.deviations(level, shape) == pytest.approx(norm.ppf(0.5 + level / 2), rel=0.01)
    uniform = uncertainty.shape_of(rng.uniform(-1, 1, 100_000))
    for level in LEVELS:
        assert uncertainty.deviations(level, uniform) == pytest.approx(level * 3**0.5, rel=0.02)
    np.testing.assert_allclose(uncertainty.shape_of(np.array([1.0, -1.0])), 1, atol=0.2 * 200)
    for nothing in ([], [0.0, 0.0], [np.inf]):
        np.testing.assert_array_equal(uncertainty.shape_of(np.array(nothing)), 1)


def test_no_error_is_part_of_the_size_it_is_compared_with():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 20, 300), rng.integers(0, 30, 300)
    errors = rng.normal(0, 1, 300) * np.where(users < 10, 0.5, 2)
    errors[0] = 40.0
    sums = tuple(np.bincount(own, errors**2)[own] for own in (users, items))
    counts = tuple(np.bincount(own)[own] for own in (users, items))
    found = uncertainty.error_shape(errors, float(np.mean(errors**2)), sums, counts)
    expected = uncertainty.shape_of(reference.error_sizes(users, items, errors, uncertainty.NOISE_PRIOR_COUNT))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("build", [alsx.BiasALS, lambda: alsx.FactorALS(implicit_features=None, random_state=0)])
def test_intervals_of_plain_models_on_real_ratings(movielens_folder, build):
    from alsx.datasets import load_movielens

    ratings = load_movielens(movielens_folder / "ml-latest-small.zip").ratings
    held = np.random.default_rng(0).random(ratings.n_ratings) < 0.1
    model, test = build().fit(ratings.select(~held)), ratings.select(held)
    truth = test.triples()[2]
    for level in LEVELS:
        low, high = model.predict_interval(test, level=level)
        assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(level, abs=0.015)


# ---- recommendations


def rated_by(model, user):
    """Codes of the items that a user has rated."""
    return model._seen.indices[model._seen.indptr[user] : model._seen.indptr[user + 1]]


def all_scores(model, users, items, n_std):
    """Predictions plus deviations of what is not known, of codes: (m, n)."""
    x, y = (a.ravel().astype(np.int32) for a in np.meshgrid(users, items, indexing="ij"))
    known = model._variances(x, y)[1]
    return (model._predict_codes(x, y, False) + n_std * np.sqrt(known)).reshape(len(users), len(items))


@pytest.mark.parametrize("strategy", ["lower", "upper"])
@pytest.mark.parametrize("work", [top_n.CHUNK_WORK, 1])
def test_limits(model, strategy, work, monkeypatch):
    monkeypatch.setattr("alsx._models.top_n.CHUNK_WORK", work)
    users = np.array([0, 3, 3, 8, 40])
    n_std = 1.5 if strategy == "upper" else -1.5
    scores = all_scores(model, users, np.arange(len(model.item_ids_)), n_std)
    for row, user in enumerate(users):
        scores[row, rated_by(model, user)] = -np.inf
    expected, best = reference.top_n(scores, 7)
    ids, found = model.recommend(model.user_ids_[users], n=7, strategy=strategy, n_std=1.5)
    np.testing.assert_array_equal(ids, model.item_ids_[expected])
    np.testing.assert_allclose(found, best, rtol=1e-5)
    few = model.item_ids_[[4, 30, 31]]
    ids, found = model.recommend(
        model.user_ids_[3], n=5, strategy=strategy, candidates=few, exclude_rated=False, min_ratings=1
    )
    assert sorted(ids[:3]) == sorted(few)
    assert (ids[3:] == np.iinfo(np.int64).min).all()
    assert np.isnan(found[3:]).all()


@pytest.mark.parametrize("k", [0, 3])
def test_covariances_that_are_not_kept(k, monkeypatch):
    """Where they would take too much memory, they are found for what a call asks for, some items at a time."""
    ratings = simulated(30, 900, 0.2, seed=2)
    build = (
        alsx.BiasALS if k == 0 else lambda: alsx.FactorALS(k, implicit_features=None, random_state=0, dtype="float64")
    )
    kept = build().fit(ratings)
    users, items = pairs(kept)
    ids = kept.user_ids_[[0, 4, 9]]
    expected = kept._variances(users, items), kept.recommend(ids, n=12, strategy="upper")
    assert kept._uncertainty.users.are_kept
    monkeypatch.setattr("alsx._solver.posterior.KEPT_BYTES", 64)
    model = pickle.loads(pickle.dumps(kept))
    assert not model._uncertainty.users.are_kept
    assert model._uncertainty.items.rows_at_a_time(400) == 400
    for x, y in zip(model._variances(users, items), expected[0], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5 if k == 0 else 1e-9)
    found = model.recommend(ids, n=12, strategy="upper")
    np.testing.assert_array_equal(found[0], expected[1][0])
    np.testing.assert_allclose(found[1], expected[1][1], rtol=1e-5)


def test_no_deviation_is_the_mean(model):
    users = [*model.user_ids_[:6], -1]
    mean = model.recommend(users, n=8, strategy="mean")
    for strategy in ("lower", "upper"):
        ids, scores = model.recommend(users, n=8, strategy=strategy, n_std=0)
        np.testing.assert_array_equal(ids, mean[0])
        np.testing.assert_allclose(scores, mean[1], rtol=1e-5)


def test_thompson_is_deterministic_and_one_users_own(model):
    u = model.user_ids_
    ids, scores = model.recommend(u[[3, 9, 3]], n=6, strategy="thompson", random_state=4)
    again = model.recommend(u[9], n=6, strategy="thompson", random_state=4)
    np.testing.assert_array_equal(ids[1], again[0])
    np.testing.assert_array_equal(scores[1], again[1])
    np.testing.assert_array_equal(ids[0], ids[2])
    assert (model.recommend(u[[3, 9]], n=6, strategy="thompson", random_state=5)[1] != scores[:2]).any()
    for row, user in enumerate((3, 9)):
        assert not np.isin(ids[row], model.item_ids_[rated_by(model, user)]).any()
    stranger = [model.recommend(-1, n=3, strategy="thompson", random_state=s, unknown="prior")[1] for s in (1, 1, 2)]
    np.testing.assert_array_equal(stranger[0], stranger[1])
    assert (stranger[0] != stranger[2]).all()


def test_draws_have_the_moments_that_are_told(model):
    users, items = model.user_ids_[[5, 20]], model.item_ids_[[0, 7, 50]]
    draws = []
    for seed in range(600):
        ids, scores = model.recommend(
            users, n=3, strategy="thompson", candidates=items, exclude_rated=False, random_state=seed
        )
        draws.append(np.take_along_axis(scores, np.argsort(ids, axis=1), 1))
    mean = all_scores(model, np.array([5, 20]), np.array([0, 7, 50]), 0)
    std = all_scores(model, np.array([5, 20]), np.array([0, 7, 50]), 1) - mean
    np.testing.assert_allclose(np.mean(draws, axis=0), mean, atol=0.2 * std.max())
    np.testing.assert_allclose(np.std(draws, axis=0), std, rtol=0.12)


def test_strategies_that_are_none(factors):
    with pytest.raises(
        ValueError, match='strategy is \'best\'; it must be "propensity", "mean", "lower", "upper" or "thompson"'
    ):
        factors.recommend(factors.user_ids_[0], strategy="best")
    with pytest.raises(ValueError, match="n_std is -1"):
        factors.recommend(factors.user_ids_[0], strategy="upper", n_std=-1)
    with pytest.raises(TypeError, match="random_state is 'x'"):
        factors.recommend(factors.user_ids_[0], strategy="thompson", random_state="x")


# ---- edges


@pytest.mark.parametrize("build", [alsx.BiasALS, lambda: alsx.FactorALS(3, random_state=0)])
def test_constant_ratings_are_certain(build):
    model = build().fit([(u, i) for u in range(5) for i in range(4) if (u + i) % 3], [3.0] * 13)
    mean, std = model.predict([0, 1, 77], [0, 2, 1], return_std=True)
    np.testing.assert_array_equal(mean, 3)
    np.testing.assert_array_equal(std, 0)
    low, high = model.predict_interval(0, 0)
    assert low == high == 3
    for strategy in ("lower", "upper", "thompson"):
        ids, scores = model.recommend(0, n=2, strategy=strategy, random_state=0)
        np.testing.assert_array_equal(ids, model.recommend(0, n=2)[0])
        np.testing.assert_allclose(scores[~np.isnan(scores)], 3)


def test_without_regularisation_nothing_is_known_of_strangers():
    rng = np.random.default_rng(0)
    data = [(u, i) for u in range(8) for i in range(8) if u != i], rng.integers(1, 6, 56)
    model = alsx.BiasALS(reg=0).fit(*data)
    mean, std = model.predict([1, -1], [2, 2], return_std=True)
    assert np.isfinite(mean).all()
    assert np.isfinite(std[0])
    assert np.isinf(std[1])
    assert model.predict_interval([-1, 3, 3], [2, 1, 2])[0][0] == 1
    assert np.isfinite(model.recommend(1, strategy="thompson", random_state=0, exclude_rated=False)[1][:8]).all()


def test_overfitted_models_stay_within_reason():
    rng = np.random.default_rng(0)
    R = alsx.Ratings.from_arrays(np.arange(40) % 20, np.arange(40) % 13, rng.normal(3, 1, 40))
    model = alsx.FactorALS(15, reg=1e-3, reg_bias=1e-3, reg_scaling=0, implicit_features=None, random_state=0).fit(R)
    std = model.predict(R, return_std=True)[1]
    assert np.isfinite(std).all()
    assert (std > 0).all()


def test_weights_and_features(ratings):
    weights = np.random.default_rng(0).choice([0.5, 2.0], ratings.n_ratings)
    features = np.random.default_rng(1).normal(0, 1, (ratings.n_items, 2))
    model = alsx.FactorALS(4, random_state=0).fit(ratings, sample_weight=weights, item_features=features)
    std = model.predict(ratings, return_std=True)[1]
    assert np.isfinite(std).all()


@pytest.mark.parametrize("implicit_features", [None, "both"])
def test_ratings_of_weight_0_tell_nothing(ratings, implicit_features):
    kept = np.random.default_rng(0).random(ratings.n_ratings) < 0.7
    model = alsx.FactorALS(4, random_state=0, implicit_features=implicit_features, dtype="float64", n_jobs=1)
    without = alsx.Ratings(ratings, dtype="float64").select(kept)
    expected = clone(model).fit(without)
    model.fit(ratings, sample_weight=kept.astype(float))
    pairs = ratings.user_ids[:20], ratings.item_ids[:20]
    np.testing.assert_allclose(
        model.predict(*pairs, return_std=True)[1], expected.predict(*pairs, return_std=True)[1], rtol=1e-7
    )
    np.testing.assert_allclose(model.predict_interval(*pairs), expected.predict_interval(*pairs), rtol=1e-7)
    user, items, values = 10_000, ratings.item_ids[:12], np.arange(12) % 5 + 0.5
    folded = [
        x.fold_in([(user, item) for item in items[:n]], values[:n], w).predict(user, ratings.item_ids, return_std=True)
        for x, n, w in ((model, 12, (np.arange(12) < 7).astype(float)), (expected, 7, None))
    ]
    np.testing.assert_allclose(folded[0][1], folded[1][1], rtol=1e-7)


# ---- folding in, files, pickles


def test_somebody_folded_in_is_as_uncertain_as_he_was(factors, ratings):
    u, i, r = ratings.triples()
    mine = u == 17
    again = factors.fold_in(np.column_stack([np.full(mine.sum(), 5), factors.item_ids_[i[mine]]]), r[mine])
    items = np.arange(len(factors.item_ids_), dtype=np.int32)
    old = factors._variances(np.full(len(items), 17, np.int32), items)
    new = again._variances(np.zeros(len(items), np.int32), items)
    np.testing.assert_allclose(new[1], old[1], rtol=0.01)  # items moved once more after the users
    np.testing.assert_allclose(new[0], old[0], rtol=0.1)
    ids = again.recommend(5, n=3, strategy="upper")[0]
    np.testing.assert_array_equal(ids, factors.recommend(factors.user_ids_[17], n=3, strategy="upper")[0])
    assert again.recommend(5, n=3, strategy="thompson", random_state=0)[0].shape == (3,)


@pytest.mark.parametrize("first", [False, True])
def test_items_folded_in(factors, ratings, first):
    base = factors
    if first:  # on top of new users: the new items are rated by these alone
        base = factors.fold_in([(1, 1003), (1, 1004), (2, 1003), (3, 1009)], [4.0, 2.0, 3.0, 5.0])
    raters = base.user_ids_[:3]
    model = base.fold_in([(u, i) for u in raters for i in (5, 1010)], [1.0, 2.0, 5.0, 4.0, 3.0, 2.5], side="item")
    assert len(model.item_ids_) == len(base.item_ids_) + 1
    kept = np.setdiff1d(base.item_ids_, [1010])
    users = np.repeat(raters[0], len(kept))
    np.testing.assert_allclose(
        model.predict(users, kept, return_std=True)[1], base.predict(users, kept, return_std=True)[1], rtol=1e-9
    )
    fresh = model.predict(raters[0], 5, return_std=True)[1]
    assert np.isfinite(fresh)
    ids = model.recommend(raters[0], n=4, strategy="thompson", random_state=0)[0]
    assert not np.isin(ids, [5, 1010]).any()


def test_files_and_pickles(model, tmp_path):
    users, items = pairs(model)
    expected = model._variances(users, items)
    model.save(tmp_path / "model.npz")
    loaded, unpickled = alsx.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model))
    for copy in (loaded, unpickled):
        for x, y in zip(expected, copy._variances(users, items), strict=True):
            np.testing.assert_array_equal(x, y)
        ids = model.user_ids_[:4], model.item_ids_[:4]
        np.testing.assert_array_equal(copy.predict_interval(*ids), model.predict_interval(*ids))
    loaded.save(tmp_path / "again.npz")
    again = alsx.load(tmp_path / "again.npz")
    for x, y in zip(expected, again._variances(users, items), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("kind", ["plain", "implicit", "float32"])
@pytest.mark.parametrize("asked_before", [False, True])
def test_models_that_rows_were_folded_into_keep_their_uncertainty(ratings, tmp_path, kind, asked_before):
    fitted = MODELS[kind]().fit(ratings)
    folded = fitted.fold_in([(1, 1003), (1, 1004), (2, 1009), (120, 1003)], [4.0, 2.0, 5.0, 3.0])
    folded = folded.fold_in([(1, 5), (101, 5), (102, 5), (101, 1010)], [4.0, 2.0, 3.0, 5.0], side="item")
    users, items = pairs(folded)
    users[:4] = folded._users.ids.codes([1, 2, 120, 101])
    if asked_before:
        folded.predict(1, 1003, return_std=True)
    folded.save(tmp_path / "folded.npz")
    copies = alsx.load(tmp_path / "folded.npz"), pickle.loads(pickle.dumps(folded))
    expected = folded._variances(users, items)
    assert np.isfinite(expected).all()
    for copy in copies:
        np.testing.assert_array_equal(copy._variances(users, items), expected)
        for strategy in ("upper", "thompson"):
            lists = (x.recommend([1, 120, 101], n=5, strategy=strategy, random_state=0) for x in (copy, folded))
            for x, y in zip(*lists, strict=True):
                np.testing.assert_array_equal(x, y)
        more = (x.fold_in([(7, 1003)], [3.0]).predict([7, 1], [1003, 5], return_std=True) for x in (copy, folded))
        np.testing.assert_array_equal(*more)


def test_a_loaded_model_can_be_folded_into_twice_and_tells_its_uncertainty(factors, tmp_path):
    """Tables of loaded models have rows as wide as those of fitted ones."""
    factors.save(tmp_path / "model.npz")
    found = []
    for model in (factors, alsx.load(tmp_path / "model.npz")):
        assert model._users.table.shape[1] == factors._users.table.shape[1]
        model = model.fold_in([(1, 1003), (2, 1004)], [4.0, 2.0])
        model = model.fold_in([(1, 5), (102, 5)], [4.0, 2.0], side="item")
        found.append(model.predict([1, 2, 103], [5, 1003, 1009], return_std=True))
    np.testing.assert_array_equal(*found)


def test_threads_that_ask_at_once_get_the_same_uncertainty(ratings):
    """What is found at the first call is published when it is complete."""
    expected = MODELS["implicit"]().fit(ratings).predict(ratings, return_std=True)[1]
    for _ in range(10):
        model = MODELS["implicit"]().fit(ratings)
        with ThreadPoolExecutor(4) as pool:
            for std in pool.map(lambda _, model=model: model.predict(ratings, return_std=True)[1], range(4)):
                np.testing.assert_array_equal(std, expected)


@pytest.mark.parametrize("name", ["errors_user", "errors_item", "errors_shape"])
def test_files_with_errors_of_another_shape(factors, tmp_path, name):
    factors.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as stored:
        arrays = dict(stored)
    arrays[name] = arrays[name][1:]
    np.savez(tmp_path / "broken.npz", **arrays)
    with pytest.raises(ValueError, match=f"its {name} is float64 of shape"):
        alsx.load(tmp_path / "broken.npz")


def test_a_pass_over_the_ratings_finds_what_the_sweeps_found(ratings):
    """Where the fit runs until nothing changes, errors of the last half-sweeps are those of the fitted tables."""
    model = alsx.BiasALS(tol=0, max_iter=200).fit(ratings)
    tables = model._users.table, model._items.table
    own = uncertainty.training_errors(ratings, tables, 0, None, 1)
    for x, y in zip(errors_of(model), own[:2], strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-9)

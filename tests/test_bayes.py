"""The Bayesian model: the sampler against slow twins and its own joint distribution, and the model around it."""

import pickle
import tracemalloc

import numpy as np
import pytest
import reference
import scipy.sparse as sp
from sklearn.base import clone

import alsx
from alsx import BayesALS, FactorALS, Ratings, _core
from alsx._solver import gibbs as gibbs_module
from alsx._solver.alternation import Alternation, sweeps
from alsx._solver.prior import PriorSources
from alsx.ratings import CSR

NOTHING = PriorSources()


def pairs(n_users=60, n_items=40, n=900, k=2, noise=0.6, seed=0):
    """Simulated ratings: distinct pairs, and the ratings of a factor model."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(n_users * n_items, n, replace=False)
    u, i = cells // n_items, cells % n_items
    P, Q = rng.normal(0, 0.7, (n_users, k)), rng.normal(0, 0.7, (n_items, k))
    b, c = rng.normal(0, 0.4, n_users), rng.normal(0, 0.5, n_items)
    return u, i, 3.5 + b[u] + c[i] + (P[u] * Q[i]).sum(1) + rng.normal(0, noise, n)


@pytest.fixture(scope="module")
def data():
    u, i, r = pairs()
    return Ratings.from_arrays(u + 100, i + 500, r)


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(3)
    return {
        "user_features": rng.standard_normal((60, 3)),
        "item_features": sp.random_array((40, 5), density=0.4, rng=rng),
    }


def small(**changed):
    return BayesALS(**{"k": 3, "n_samples": 12, "burn_in": 3, "als_iter": 2, "random_state": 0, **changed})


def alternation(ratings, k, sources=(NOTHING, NOTHING), seed=0):
    penalties = gibbs_module.START_PENALTY, gibbs_module.START_PENALTY
    return Alternation(ratings, k, penalties, np.random.default_rng(seed), 1, sources)


def sampler(start, burn_in=10**9):
    """The sampler after the sweeps that its start has had; no draw is kept."""
    return gibbs_module.Gibbs(start, np.random.default_rng(1), burn_in)


def sweep(trainer):
    return next(sweeps(trainer))


# The sampler


@pytest.mark.parametrize("k", [0, 1, 5, 17])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_sweep_is_its_slow_twin(k, weighted):
    """The same random numbers give the same draws of everything."""
    u, i, r = pairs(30, 20, 200)
    weights = np.random.default_rng(1).integers(1, 4, len(r)) if weighted else None
    ratings = Ratings.from_arrays(u, i, r, sample_weight=weights, dtype="float64")
    start = alternation(ratings, k)
    sweep(start)
    gibbs = sampler(start)
    hyper = tuple(getattr(gibbs_module, name) for name in ("SHAPE", "RATE", "MEAN_COUNT", "EXTRA_DEGREES", "PRECISION"))
    for _ in range(2):
        twin = np.random.default_rng()
        twin.bit_generator.state = gibbs.generator.bit_generator.state
        tables = [gibbs.users.table[:, : k + 1].copy(), gibbs.items.table[:, : k + 1].copy()]
        commons = [
            (gibbs.hyperparameters[side].common_mean, gibbs.hyperparameters[side].precision)
            for side in ("user", "item")
        ]
        normals = [np.empty(table.shape) for table in tables]
        for place, out in enumerate(normals):
            _core.normals(gibbs.seed, gibbs.draw_index + place, out)
        alpha = gibbs.alpha
        sweep(gibbs)
        tables, commons, alpha = reference.gibbs_sweep(
            ratings, start.mean, start.unit, tables, commons, alpha, normals, twin, hyper
        )
        np.testing.assert_allclose(gibbs.users.table[:, : k + 1], tables[0], rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(gibbs.items.table[:, : k + 1], tables[1], rtol=1e-8, atol=1e-9)
        for side, (m, precision) in zip(("user", "item"), commons, strict=True):
            np.testing.assert_allclose(gibbs.hyperparameters[side].common_mean, m, rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(gibbs.hyperparameters[side].precision, precision, rtol=1e-7)
        assert gibbs.alpha == pytest.approx(alpha, rel=1e-9)


def batch_error(x):
    """The standard error of a chain's mean, by the means of batches (columns are quantities)."""
    batches = x[: len(x) // 40 * 40].reshape(40, -1, x.shape[1]).mean(1)
    return batches.std(0, ddof=1) / np.sqrt(40)


@pytest.mark.parametrize("learned", [False, True], ids=["plain", "maps"])
def test_the_joint_distribution(monkeypatch, learned):
    """
    Geweke's test: parameters and ratings drawn in turn given each other have the joint distribution of the model.

    J. Geweke, "Getting it right: joint distribution tests of posterior simulators", Journal of the American Statistical
    Association 99, 2004, pages 799-804. A wrong conditional anywhere, by a constant or a degree of freedom, shows.
    """
    for name, value in {
        "SHAPE": 4.0,
        "RATE": 4.0,
        "RIDGE_RATE": 2.0,
        "MEAN_COUNT": 2.0,
        "EXTRA_DEGREES": 6.0,
        "PRECISION": 3.0,
    }.items():
        monkeypatch.setattr(gibbs_module, name, value)
    k, shape, n_draws = 1, (5, 4), 2500
    width = k + 1
    u, i = np.array([(a, b) for a in range(shape[0]) for b in range(shape[1]) if (a + 2 * b) % 5]).T
    F = [np.random.default_rng(n).standard_normal((n, 2)) for n in shape]
    full = [
        np.hstack([reference.implicit_features(*x), f])
        for x, f in zip(((u, i, *shape), (i, u, *shape[::-1])), F, strict=True)
    ]
    known = [PriorSources(1.0, sp.csr_array(f), 1.0) if learned else PriorSources() for f in F]

    def quantities(alpha, commons, tables, weights, ridges, r):
        out = [alpha, np.log(alpha), r.mean(), (r**2).mean(), np.mean(np.abs(r))]
        for m, precision in commons:
            out += [
                m[0],
                m[1],
                m[0] * m[1],
                precision[0, 0],
                precision[1, 1],
                precision[0, 1],
                np.log(np.linalg.det(precision)),
            ]
        for table in tables:
            out += [np.tanh(table[0, 1]), *np.tanh(table**2).mean(0), np.tanh(table[:, 0] * table[:, 1]).mean()]
        for w, ridge in zip(weights, ridges, strict=True):
            out += [*np.log(ridge), np.tanh(w**2).mean(), np.tanh(w[:, 0] * w[:, 1]).mean(), np.tanh(w[0, 1])]
        return out

    def ratings_of(alpha, tables, rng):
        x, y = tables
        return x[u, k] + y[i, k] + (x[u, :k] * y[i, :k]).sum(1) + rng.standard_normal(len(u)) / np.sqrt(alpha)

    def prior(rng):
        alpha, commons, tables, weights, ridges = rng.gamma(gibbs_module.SHAPE, 1 / gibbs_module.RATE), [], [], [], []
        for n, f in zip(shape, full, strict=True):
            T = reference.wishart_root(
                np.eye(width) * (width + gibbs_module.EXTRA_DEGREES) / gibbs_module.PRECISION,
                width + gibbs_module.EXTRA_DEGREES,
                rng,
            )
            root = np.linalg.inv(T)  # rows times this have the precision T T'
            m = rng.standard_normal(width) @ root / np.sqrt(gibbs_module.MEAN_COUNT)
            x = m + rng.standard_normal((n, width)) @ root
            if learned:
                ridge = rng.gamma(gibbs_module.SHAPE, 1 / gibbs_module.RIDGE_RATE, 2)
                scale = np.repeat(ridge**-0.5, [f.shape[1] - 2, 2])[:, None]
                w = scale * (rng.standard_normal((f.shape[1], width)) @ root)
                x += f @ w
                weights.append(w)
                ridges.append(ridge)
            commons.append((m, T @ T.T))
            tables.append(x)
        return quantities(alpha, commons, tables, weights, ridges, ratings_of(alpha, tables, rng))

    rng = np.random.default_rng(5)
    independent = np.array([prior(rng) for _ in range(n_draws)])

    ratings = Ratings.from_arrays(u, i, rng.standard_normal(len(u)), dtype="float64")
    start = alternation(ratings, k, known)
    start.mean, start.unit = 0.0, 1.0
    sweep(start)
    gibbs = sampler(start)
    dense, chain = np.zeros(shape), []
    by_user, by_item = gibbs.users.ratings, gibbs.items.ratings
    rows, columns = (
        np.repeat(np.arange(shape[0]), np.diff(by_user.indptr)),
        np.repeat(np.arange(shape[1]), np.diff(by_item.indptr)),
    )
    for _ in range(n_draws + 100):
        sweep(gibbs)
        tables = [gibbs.users.table[:, :width].copy(), gibbs.items.table[:, :width].copy()]
        r = ratings_of(gibbs.alpha, tables, rng)
        dense[u, i] = r
        gibbs.users.ratings = by_user._replace(values=dense[rows, by_user.indices])
        gibbs.items.ratings = by_item._replace(values=dense[by_item.indices, columns])
        commons = [(common.common_mean, common.precision) for common in gibbs.hyperparameters.values()]
        maps = [common.regressions for common in gibbs.hyperparameters.values()] if learned else []
        weights = [np.vstack([part.coefficients[:, :width] for part in parts]) for parts in maps]
        chain.append(quantities(gibbs.alpha, commons, tables, weights, [[p.ridge for p in parts] for parts in maps], r))
    chain = np.array(chain[100:])
    error = np.sqrt(independent.var(0) / n_draws + batch_error(chain) ** 2)
    z = (independent.mean(0) - chain.mean(0)) / error
    assert np.abs(z).max() < 4.5, np.round(z, 1)
    assert (z**2).mean() < 2.5


def test_maps_too_large_to_be_drawn_exactly():
    """Mean and variance of draws of a map of who rated what, by a few conjugate-gradient steps each."""
    u, i, r = pairs(300, 80, 4000)
    ratings = Ratings.from_arrays(u, i, r, dtype="float64")
    start = alternation(ratings, 1, (PriorSources(2.0), PriorSources()))
    start.update(start.users)
    gibbs = sampler(start)
    common = gibbs.hyperparameters["user"]
    part, draws = common.regressions[0], common.samplers[0]
    F = reference.implicit_features(ratings.triples()[0], ratings.triples()[1], 300, 80)
    assert draws.basis.shape == (80, gibbs_module.DEFLATED_DIRECTIONS)
    np.testing.assert_allclose(draws.basis_means, F @ draws.basis, atol=1e-9)
    np.testing.assert_allclose(draws.normal, draws.basis.T @ F.T @ F @ draws.basis, atol=1e-9)
    table, means = gibbs.users.table, gibbs.users.prior_means.means
    shift, root = np.array([0.1, -0.2]), np.array([[0.5, 0.0], [0.2, 0.3]])
    A = F.T @ F + part.ridge * np.eye(80)
    mean = np.linalg.solve(A, F.T @ (table[:, :2] - shift))
    got = []
    for _ in range(2500):
        draws.draw(table, shift, means, root)
        got.append(part.coefficients[:, :2].copy())
    np.testing.assert_allclose(means[:, :2], F @ got[-1], atol=1e-9)
    got = np.array(got[10:])
    spread = np.sqrt(np.einsum("ii->i", np.linalg.inv(A))[:, None] * np.diag(root @ root.T))
    z = (got.mean(0) - mean) / (spread / np.sqrt(len(got)))
    assert np.abs(z).max() < 6
    np.testing.assert_allclose(got.std(0), spread, rtol=0.12)
    correlation = np.mean([np.corrcoef(got[:, row].T)[0, 1] for row in range(80)])
    assert correlation == pytest.approx(0.2 / np.sqrt(0.04 + 0.09), abs=0.03)


@pytest.mark.parametrize("weighted", [False, True])
def test_small_sets_say_little(weighted):
    """In the chain and in the fitted prior a rated-item set is divided by the root of its size and a prior count."""
    u, i, r = pairs(40, 30, 300)
    w = np.random.default_rng(2).integers(1, 4, len(r)) if weighted else None
    ratings = Ratings.from_arrays(u, i, r, sample_weight=w, dtype="float64")
    count = gibbs_module.SET_PRIOR_COUNT
    assert count > 0
    weights = np.ones(len(r)) if w is None else w
    F = reference.implicit_features(u, i, 40, 30, weights, prior_count=count)
    start = alternation(ratings, 2, (PriorSources(2.0, set_prior_count=count), NOTHING))
    for _ in range(3):
        sweep(start)
    part, means = start.users.regressions[0], start.users.prior_means.means
    assert np.abs(means[:, :3]).max() > 0.01
    np.testing.assert_allclose(means[:, :3], F @ part.coefficients[:, :3], atol=1e-9)
    model = small(dtype="float64", k=2).fit(ratings)
    prior = model._users.prior
    expected = prior.mean + F @ prior.implicit_effects
    got = prior.means(model._seen, None, 2, learned_from=True)
    np.testing.assert_allclose(got, expected, atol=1e-9)
    row = CSR(model._seen.indptr[:2], model._seen.indices[: model._seen.indptr[1]], None, None)
    row = row._replace(weights=None if w is None else model._seen.weights[: row.indptr[1]])
    parts = prior.parts(row, None, 2, learned_from=True)
    np.testing.assert_allclose(parts.common + parts.rated.sum(0), expected[0], atol=1e-9)


@pytest.mark.parametrize("implicit", [False, True])
def test_rotated_factors_are_aligned_again(implicit):
    """The same draw with its factors rotated becomes the same draw again, and predicts the same."""
    u, i, r = pairs(80, 50, 1500, 3)
    ratings = Ratings.from_arrays(u, i, r, dtype="float64")
    start = alternation(ratings, 3, (PriorSources(2.0), PriorSources(1.0)) if implicit else (NOTHING, NOTHING))
    sweep(start)
    gibbs = sampler(start)
    for _ in range(30):
        sweep(gibbs)
        gibbs.keep()
    gibbs.align_to_mean()
    sides = (gibbs.users, gibbs.items)

    def everything():
        tables = [side.table[:, :4].copy() for side in sides]
        for common in gibbs.hyperparameters.values():
            tables += [common.expected[:, :4].copy(), common.common_mean, common.precision, common.root @ common.root.T]
            tables += [part.coefficients[:, :4].copy() for part in common.regressions]
        return tables

    before = everything()
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
    for side in sides:
        gibbs_module.rotate_factors(side.table, rotation)
    for common in gibbs.hyperparameters.values():
        common.rotate(rotation)
        np.testing.assert_allclose(common.root @ common.root.T @ common.precision, np.eye(4), atol=1e-9)
    rotated = everything()
    assert not np.allclose(rotated[0], before[0])
    np.testing.assert_allclose(
        rotated[0][:, :3] @ rotated[1][:, :3].T, before[0][:, :3] @ before[1][:, :3].T, atol=1e-9
    )
    gibbs.align_to_mean()
    for one, other in zip(everything(), before, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-8)


def test_planted_hyperparameters_are_found():
    n_users, n_items, k, noise = 400, 300, 2, 0.5
    u, i, r = pairs(n_users, n_items, 20_000, k, noise, seed=4)
    for scale in (1.0, 10.0):
        model = BayesALS(k, implicit_features=None, n_samples=100, burn_in=20, random_state=0).fit(
            np.stack([u, i], 1), scale * r
        )
        trace = {name: float(x.mean()) / scale for name, x in model.traces_.items()}
        assert trace["noise_sd"] == pytest.approx(noise, rel=0.02)
        assert trace["user_bias_sd"] == pytest.approx(0.4, rel=0.15)
        assert trace["item_bias_sd"] == pytest.approx(0.5, rel=0.15)
        assert trace["user_factor_sd"] * trace["item_factor_sd"] * scale == pytest.approx(0.49, rel=0.15)


# The model


@pytest.mark.parametrize("implicit", [None, "user", "both"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_no_bit(data, features, implicit, dtype):
    for known in ({}, features):
        models = [small(implicit_features=implicit, dtype=dtype, n_jobs=n).fit(data, **known) for n in (1, 2, 3)]
        for other in models[1:]:
            np.testing.assert_array_equal(other._users.table, models[0]._users.table)
            np.testing.assert_array_equal(other._items.table, models[0]._items.table)
            np.testing.assert_array_equal(other.traces_["noise_sd"], models[0].traces_["noise_sd"])


def test_seeds(data):
    one, same, other = (small(random_state=seed).fit(data) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one._users.table, same._users.table)
    assert not np.array_equal(one._users.table, other._users.table)
    assert np.corrcoef(one.predict(data), other.predict(data))[0, 1] > 0.9


def test_names_of_ids_do_not_matter(data):
    u, i, r = data.triples()
    one = small().fit(data)
    other = small().fit(Ratings.from_arrays(np.char.zfill((u + 7).astype(str), 4), 3 * i - 50, r))
    np.testing.assert_array_equal(one._items.table, other._items.table)


def test_it_is_more_accurate_than_least_squares_and_scales(data):
    u, i, r = pairs(300, 200, 12_000, 3, 0.7, seed=2)
    test = np.random.default_rng(0).random(len(r)) < 0.2
    X = np.stack([u, i], 1)
    errors = [
        alsx.metrics.rmse(r[test], model.fit(X[~test], r[~test]).predict(X[test]))
        for model in (
            FactorALS(10, implicit_features=None, random_state=0),
            BayesALS(10, implicit_features=None, n_samples=60, random_state=0),
        )
    ]
    assert errors[1] < errors[0] - 0.01
    one, ten = (small(dtype="float64").fit(X, f * r + s).predict(X[:50], clip=False) for f, s in ((1, 0), (10, 5)))
    np.testing.assert_allclose(ten, 10 * one + 5, rtol=1e-6)


def test_histories_and_traces(data, features):
    held_out = data.select(np.arange(data.n_ratings) % 10 == 0)
    model = small(keep_samples=4).fit(data, eval_set=held_out, **features)
    assert model.n_iter_ == 15
    assert set(model.history_) == {"loss", "train_rmse", "noise_sd", "test_rmse", "seconds"}
    assert {len(x) for x in model.history_.values()} == {15}
    assert model.history_["test_rmse"][-1] == pytest.approx(
        alsx.metrics.rmse(held_out.triples()[2], model.predict(held_out)), rel=1e-6
    )
    assert set(model.traces_) >= {
        "noise_sd",
        "train_rmse",
        "user_factor_sd",
        "item_implicit_ridge",
        "user_features_ridge",
    }
    assert {x.shape for x in model.traces_.values()} == {(1, 12)}
    np.testing.assert_allclose(model.traces_["noise_sd"][0], model.history_["noise_sd"][3:])
    np.testing.assert_allclose(np.square(model.history_["train_rmse"]) * data.n_ratings, model.history_["loss"])


def test_the_mean_is_that_of_the_draws(data):
    model = small(keep_samples=12, dtype="float64", implicit_features=None).fit(data)
    draws, users, items = model.samples_
    np.testing.assert_array_equal(draws, np.arange(12))
    assert users.shape == (12, 60, 4)
    assert items.dtype == np.float32
    np.testing.assert_allclose(users.mean(0, dtype=float), model._users.table[:, :4], atol=1e-5)
    np.testing.assert_allclose(items.mean(0, dtype=float)[:, 3], model.item_biases_, atol=1e-5)
    u, i, r = data.triples()
    fitted = model.mean_ + users[11, u, 3] + items[11, i, 3] + (users[11, u, :3] * items[11, i, :3]).sum(1)
    assert alsx.metrics.rmse(r, fitted) == pytest.approx(model.traces_["train_rmse"][0, 11], rel=1e-5)
    np.testing.assert_array_equal(small(keep_samples=3).fit(data).samples_.draws, [0, 6, 11])
    assert small().fit(data).samples_ is None


@pytest.mark.parametrize("known", [False, True])
def test_saved_pickled_and_cloned(data, features, known, tmp_path):
    model = small(keep_samples=2).fit(data, **(features if known else {}))
    model.save(tmp_path / "model.npz")
    for other in (alsx.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model))):
        assert isinstance(other, BayesALS)
        np.testing.assert_array_equal(other.predict(data), model.predict(data))
        for a, b in zip(other.samples_, model.samples_, strict=True):
            np.testing.assert_array_equal(a, b)
        for name, trace in model.traces_.items():
            np.testing.assert_array_equal(other.traces_[name], trace)
        newcomer = [(-1, 503), (-1, 511)], [5.0, 2.0]
        np.testing.assert_array_equal(other.fold_in(*newcomer)._users.table, model.fold_in(*newcomer)._users.table)
    again = clone(model)
    assert again.get_params() == model.get_params()
    assert not hasattr(again, "traces_")


def test_a_newcomer_is_predicted_like_a_known_user(data):
    """A user's own ratings folded in give nearly the mean of his draws."""
    for implicit in (None, "both"):
        model = BayesALS(2, implicit_features=implicit, n_samples=100, random_state=0, keep_samples=1).fit(data)
        u, i, r = data.triples()
        users = data.user_ids[u]
        everyone = model.fold_in(np.stack([users, data.item_ids[i]], 1), r)
        assert everyone.samples_ is None
        assert model.samples_ is not None
        grid = np.meshgrid(data.user_ids, data.item_ids)
        one, other = (x.predict(grid[0].ravel(), grid[1].ravel(), clip=False) for x in (model, everyone))
        assert np.sqrt(np.mean((one - other) ** 2)) < 0.35 * one.std()
        assert np.corrcoef(one, other)[0, 1] > 0.95


def test_the_unknown_are_like_what_all_share(data):
    model = small(implicit_features=None).fit(data)
    item = data.item_ids[3]
    prior = model._users.prior
    np.testing.assert_array_equal(prior.unrated_mean, prior.mean)
    expected = (
        model.mean_ + prior.mean[3] + model.item_biases_[3] + model.item_factors_[3].astype(float) @ prior.mean[:3]
    )
    with pytest.warns(UserWarning, match="1 of 1 predictions"):
        assert model.predict(-1, item, clip=False) == pytest.approx(expected, rel=1e-6)
    u, i, r = data.triples()
    model = small(implicit_features=None).fit(sp.csr_array((r, (u, i)), shape=(61, 40)))
    np.testing.assert_allclose(model._users.table[60, :4], model._users.prior.mean, rtol=1e-5)


def test_cold_items_get_what_features_say(features):
    u, i, r = pairs(seed=1)
    rng = np.random.default_rng(2)
    kind = rng.integers(0, 2, 40)
    r = r + 1.5 * kind[i]
    warm = i < 32
    matrix = sp.coo_array((r[warm], (u[warm], i[warm])), shape=(60, 40)).tocsr()
    model = BayesALS(2, n_samples=50, random_state=0).fit(matrix, item_features=kind[:, None].astype(float))
    cold = np.arange(32, 40)
    predicted = np.array([model.predict(np.arange(60), item).mean() for item in cold])
    assert predicted[kind[32:] == 1].min() > predicted[kind[32:] == 0].max() + 0.02


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_samples": 0}, "n_samples is 0; it must be at least 1"),
        ({"burn_in": -1}, "burn_in is -1"),
        ({"als_iter": 0}, "als_iter is 0"),
        ({"keep_samples": 13}, "keep_samples is 13; it must be at most n_samples, 12"),
        ({"implicit_features": "all"}, "implicit_features is 'all'"),
        ({"k": -1}, "k is -1"),
        ({"dtype": "float16"}, "dtype is 'float16'"),
    ],
)
def test_bad_parameters(data, changed, message):
    with pytest.raises(ValueError, match=message):
        small(**changed).fit(data)


def test_arviz(data):
    model = small().fit(data)
    try:
        import arviz
    except ImportError:
        with pytest.raises(ImportError, match="alsx\\[diagnostics\\]"):
            model.to_inference_data()
        return
    data = model.to_inference_data()
    np.testing.assert_array_equal(np.asarray(data["posterior"]["noise_sd"]), model.traces_["noise_sd"])
    assert float(arviz.ess(data)["noise_sd"]) > 0


@pytest.mark.parametrize("implicit_features", [None, "both"])
def test_memory_beside_the_ratings(implicit_features):
    """Items with thousands of raters: nothing that a fit makes takes much more than its tables, whatever the ratings."""
    rng = np.random.default_rng(0)
    n_users, n_items, k = 4000, 100, 8
    peaks = []
    for n_rated in (20, 80):
        items = np.concatenate([rng.permutation(n_items)[:n_rated] for _ in range(n_users)])
        ratings = Ratings.from_arrays(
            np.repeat(np.arange(n_users), n_rated), items, rng.normal(0, 1, len(items)), dtype="float32"
        )
        model = BayesALS(
            k, n_samples=2, burn_in=1, als_iter=1, implicit_features=implicit_features, n_jobs=1, random_state=0
        )
        tracemalloc.start()
        model.fit(ratings)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    n_more = n_users * 60
    # Errors of all ratings at once took 60 bytes a rating.
    assert peaks[1] - peaks[0] < 25 * n_more

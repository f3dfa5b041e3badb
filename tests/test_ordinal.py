"""Ordinal ratings: the distributions, the draws of latent numbers and cut points, and the model around them."""

import pickle

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm, truncnorm

import alsx
from alsx import BayesALS, Ratings
from alsx._solver import latent_ratings, scale_usage
from alsx._solver.alternation import Alternation, sweeps
from alsx._solver.latent_ratings import Interval, LatentRatings, OrdinalGibbs
from alsx._solver.ordinal import MAX_LEVELS, OrdinalScale, rating_levels
from alsx._solver.prior import Penalty, PriorSources

CUTS = np.array([-1.2, -0.5, 0.8, 1.6])


def planted(n_users=60, n_items=40, n=900, seed=0):
    """Latent numbers of a factor model whose noise has standard deviation 0.7, and the level of each, 0 to 4."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(n_users * n_items, n, replace=False)
    u, i = cells // n_items, cells % n_items
    P, Q = rng.normal(0, 0.8, (n_users, 2)), rng.normal(0, 0.8, (n_items, 2))
    means = (P[u] * Q[i]).sum(1) + rng.normal(0, 0.5, n_users)[u] + rng.normal(0, 0.5, n_items)[i]
    return u, i, np.digitize(means + rng.normal(0, 0.7, n), CUTS), means


@pytest.fixture(scope="module")
def data():
    u, i, level, _ = planted()
    return Ratings.from_arrays(u, i, np.array([0.5, 1.0, 3.0, 4.0, 5.0])[level])


def small(**changed):
    options = {"k": 2, "n_samples": 12, "burn_in": 3, "als_iter": 2, "random_state": 0, "likelihood": "ordinal"}
    options["n_jobs"] = 1
    return BayesALS(**{**options, **changed})


def latent(data, seed=0):
    penalty = Penalty(12.0, 4.0, 0.0)
    sources = PriorSources(), PriorSources()
    start = Alternation(data, 2, (penalty, penalty), np.random.default_rng(seed), 1, sources)
    next(sweeps(start))
    return LatentRatings(start, rating_levels(data.by_user.values), np.random.default_rng(seed))


# Distributions


@settings(max_examples=50, deadline=None)
@given(
    cut_points=st.lists(st.floats(-4, 4), min_size=1, max_size=9, unique=True).map(sorted),
    std=st.floats(0.1, 3),
    at=st.lists(st.floats(-6, 6), min_size=1, max_size=4),
)
def test_probabilities_are_their_slow_twin(cut_points, std, at):
    levels = np.cumsum(np.arange(1.0, len(cut_points) + 2))
    scale = OrdinalScale(levels, np.array(cut_points), std, np.zeros(1))
    expected = reference.ordinal_probabilities(at, cut_points, std)
    unknown = np.full(len(at), -1)
    got = scale.probabilities(np.array(at), unknown)
    np.testing.assert_allclose(got, expected, atol=1e-12)
    np.testing.assert_allclose(scale.expected(np.array(at)), expected @ levels, atol=1e-10)
    mean = expected @ levels
    np.testing.assert_allclose(scale.variance(np.array(at), unknown), expected @ levels**2 - mean**2, atol=1e-8)
    shares = np.linspace(0.01, 0.99, 9)
    quantiles = np.array([scale.quantile(got, share) for share in shares])
    assert (np.diff(quantiles, axis=0) >= 0).all()
    # The middle between two levels has below it what the levels below have.
    middles = (levels[1:] + levels[:-1]) / 2
    for row, below in zip(quantiles.T, np.cumsum(expected, axis=1)[:, :-1], strict=True):
        is_clear = np.abs(shares[:, None] - below) > 1e-9
        assert ((row[:, None] > middles) == (shares[:, None] > below))[is_clear].all()


def test_far_tails_keep_their_digits():
    scale = OrdinalScale(np.arange(3.0), np.array([-1.0, 1.0]), 1.0, np.zeros(1))
    left, right = scale.common_probabilities(np.array([-20.0, 20.0]))
    np.testing.assert_allclose(left, right[::-1], rtol=1e-12)
    assert 0 < left[2] < left[1] < 1e-70


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_intervals_hold_their_share(level):
    rng = np.random.default_rng(0)
    scale = OrdinalScale(np.arange(1.0, 6.0), CUTS, 0.9, rng.standard_normal(1000))
    latent = rng.standard_normal(20_000)
    ratings = 1.0 + np.digitize(latent + 0.9 * rng.standard_normal(20_000), CUTS)
    low, high = scale.interval(latent, np.full(20_000, -1), level)
    assert np.mean((low <= ratings) & (ratings <= high)) == pytest.approx(level, abs=0.015)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_levels=st.integers(2, 7),
    spread=st.sampled_from([0.1, 1.0, 4.0]),
    skew=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_weights_of_levels_leave_the_mean(seed, n_levels, spread, skew):
    rng = np.random.default_rng(seed)
    levels = np.cumsum(rng.uniform(0.2, 1, n_levels))
    p = rng.dirichlet(np.ones(n_levels), 4) + 1e-9
    p *= np.exp(-skew * np.arange(n_levels))  # nearly all at one end
    p /= p.sum(1, keepdims=True)
    logs = spread * rng.standard_normal((4, n_levels))
    q = scale_usage.tilted(p, logs, levels)
    np.testing.assert_allclose(q.sum(1), 1)
    np.testing.assert_allclose(q @ levels, p @ levels, atol=1e-9)
    np.testing.assert_allclose(q, [reference.tilted(*row, levels) for row in zip(p, logs, strict=True)], atol=1e-8)
    # What is the same for all levels, or grows evenly from level to level, changes nothing.
    np.testing.assert_allclose(scale_usage.tilted(p, logs + 3 - 2 * levels, levels), q, atol=1e-8)


def users_of_whole_steps(n_users=40, n_each=25, seed=0):
    """Ratings on half steps, by users of whom every other one gives whole ones alone: latent, codes, users, levels, cut points."""
    rng = np.random.default_rng(seed)
    levels, cuts = np.arange(1, 4.1, 0.5), np.arange(-1.25, 1.3, 0.5)
    users = np.repeat(np.arange(n_users), n_each)
    latent = rng.normal(0, 0.7, len(users))
    y = latent + 0.6 * rng.standard_normal(len(users))
    whole = users % 2 == 0
    codes = np.where(whole, 2 * np.digitize(y, [-1, 0, 1]), np.digitize(y, cuts))
    return latent, codes, users, levels, cuts


def test_scale_usage_is_its_slow_twin():
    latent, codes, users, levels, cuts = users_of_whole_steps(4, 9)
    p = OrdinalScale(levels, cuts, 0.6, latent).common_probabilities(latent)
    counted = np.arange(len(codes)) % 5 > 0
    # The fourth user is unknown, and so is one without ratings.
    counted &= users < 3
    indptr = np.append(np.arange(0, len(codes) + 1, 9), len(codes))
    got = scale_usage.learn_scale_usage(lambda part: p[part], codes, indptr, levels, counted, 1)
    expected = reference.scale_usage(
        p[counted], codes[counted], users[counted], 5, levels, scale_usage.STEPS, scale_usage.START_VARIANCE,
        scale_usage.MAX_CHANGE, scale_usage.LEAST_VARIANCE,
    )  # fmt: skip
    np.testing.assert_allclose(got, expected, atol=2e-3)
    np.testing.assert_array_equal(got[3:], np.tile(got[5], (3, 1)))


def test_users_of_whole_steps_are_found(monkeypatch):
    latent, codes, users, levels, cuts = users_of_whole_steps()
    scale = OrdinalScale(levels, cuts, 0.6, latent)
    indptr = np.arange(0, len(codes) + 1, 25)

    def learn(n_threads):
        return scale_usage.learn_scale_usage(
            lambda part: scale.common_probabilities(latent[part]), codes, indptr, levels, None, n_threads
        )

    usage = learn(1)
    with monkeypatch.context() as changed:
        changed.setattr(scale_usage, "BLOCK", 60)
        one = learn(1)
        np.testing.assert_array_equal(one, learn(3))
    np.testing.assert_allclose(one, usage, atol=1e-8)
    own = scale._replace(usage=usage.astype(np.float32), sample_users=users.astype(np.int32))
    # Other ratings of the same users.
    latent, codes, users, levels, cuts = users_of_whole_steps(seed=1)
    p = own.probabilities(latent, users)
    halves = p[:, 1::2].sum(1)
    for mine in (users % 2 == 0, users % 2 == 1):
        assert halves[mine].mean() == pytest.approx((codes[mine] % 2 == 1).mean(), abs=0.05)
    rows = np.arange(len(codes))
    gain = np.log(p[rows, codes]) - np.log(scale.common_probabilities(latent)[rows, codes])
    assert gain.mean() > 0.2
    np.testing.assert_allclose(p @ levels, scale.expected(latent), atol=1e-9)
    common = scale_usage.tilted(scale.common_probabilities(latent), own.usage[-1].astype(float), levels)
    np.testing.assert_array_equal(own.probabilities(latent, np.full(len(latent), -1)), common)
    ratings = levels[codes]
    for level in (0.5, 0.8):
        low, high = own.interval(latent, users, level)
        assert np.mean((low <= ratings) & (ratings <= high)) == pytest.approx(level, abs=0.05)


def test_levels_are_found():
    np.testing.assert_array_equal(rating_levels(np.array([3, 1, 3, 2.5], np.float32)), [1, 2.5, 3])
    assert len(rating_levels(np.arange(MAX_LEVELS * 3.0) % MAX_LEVELS)) == MAX_LEVELS
    assert rating_levels(np.arange(MAX_LEVELS + 1.0)) is None


# The sampler


def log_ndtr_difference(low, high):
    """The log probability of an interval of the normal distribution."""
    low, high = (-high, -low) if low > 0 else (low, high)
    return norm.logcdf(high) + np.log1p(-np.exp(norm.logcdf(low) - norm.logcdf(high)))


@pytest.mark.parametrize(("low", "high"), [(-0.3, 1.2), (-np.inf, -2.0), (4.0, np.inf), (6.0, 6.1)])
def test_draws_of_truncated_normals(low, high):
    n = 4000
    found = Interval.of(np.full(n, low), np.full(n, high))
    drawn = found.draw(np.random.default_rng(0).random(n))
    assert ((drawn >= low) & (drawn <= high)).all()
    assert kstest(drawn, truncnorm(low, high).cdf).pvalue > 1e-3
    np.testing.assert_allclose(found.probability, np.exp(log_ndtr_difference(low, high)), rtol=1e-9)


def test_slope_of_the_cut_points(data):
    """Gradient and information are those of the log likelihood, by differences; the start is where the gradient is next to 0."""
    rows = latent(data)
    n = data.n_ratings
    cuts = rows.cut_points + np.array([0.05, -0.02, 0.03, 0.1])
    found = rows.slope(cuts)
    predicted = rows._predicted(slice(0, n))
    probabilities = reference.ordinal_probabilities(predicted, cuts, latent_ratings.LATENT_PRECISION**-0.5)
    prior = -0.5 * np.square((cuts - rows.midpoints) / latent_ratings.CUT_POINT_SD).sum()
    assert found.value == pytest.approx(np.log(probabilities[np.arange(n), rows.codes]).sum() + prior, rel=1e-10)
    for place in range(4):
        step = 1e-5 * (np.arange(4) == place)
        up, down = rows.slope(cuts + step), rows.slope(cuts - step)
        assert (up.value - down.value) / 2e-5 == pytest.approx(found.gradient[place], abs=1e-4)
        np.testing.assert_allclose((down.gradient - up.gradient) / 2e-5, found.information[place], atol=1e-3)
    at_start = rows.slope(rows.cut_points)
    assert np.linalg.solve(at_start.information, at_start.gradient) @ at_start.gradient < 0.5


def test_cut_points_have_their_distribution(data):
    """Moves given the tables against the density itself, summed over a grid: two levels, one cut point."""
    u, i, r = data.triples()
    rows = latent(Ratings.from_arrays(u[:60], i[:60], np.where(r[:60] >= 4, 2.0, 1.0), dtype="float64"))
    moves, accepted = [], 0
    for _ in range(1500):
        accepted += rows.move_cut_points()
        moves.append(rows.cut_points[0])
    grid = np.linspace(-3, 3, 301)
    density = np.exp([rows.slope(np.array([x])).value - rows.slope(rows.cut_points).value for x in grid])
    density /= density.sum()
    mean = grid @ density
    sd = np.sqrt(grid**2 @ density - mean**2)
    assert accepted > 1000
    assert np.mean(moves) == pytest.approx(mean, abs=0.15 * sd)
    assert np.std(moves) == pytest.approx(sd, rel=0.12)


def test_latent_numbers_fall_between_their_cut_points(data):
    rows = latent(data)
    rows.draw()
    start = rows.start
    ends = start.mean + start.unit * np.concatenate([[-np.inf], rows.cut_points, [np.inf]])
    assert (rows.values >= ends[rows.codes] - 1e-6).all()
    assert (rows.values <= ends[rows.codes + 1] + 1e-6).all()
    by_item = start.items.ratings
    dense = np.zeros((data.n_users, data.n_items))
    dense[rows.rows, start.users.ratings.indices] = rows.values
    columns = np.repeat(np.arange(data.n_items), np.diff(by_item.indptr))
    np.testing.assert_array_equal(dense[by_item.indices, columns], by_item.values)
    expected = reference.ordinal_probabilities(rows._predicted(slice(0, data.n_ratings)), rows.cut_points, 2**-0.5)
    squares = np.square(rows.levels[rows.codes] - expected @ rows.levels).sum()
    assert rows.squared_error == pytest.approx(squares, rel=1e-3)


def test_predictions_without_the_rating_are_weighed_means(data):
    rows = latent(data)
    everything, n = slice(0, data.n_ratings), np.arange(data.n_ratings)
    weights = weighted = 0
    for _ in range(3):
        rows.start.users.table[:] += np.float32(0.1)
        e = rows._predicted(everything)
        w = 1 / reference.ordinal_probabilities(e, rows.cut_points, 2**-0.5)[n, rows.codes]
        weights, weighted = weights + w, weighted + w * e
        rows.draw(keep=True)
        rows.draw()  # of the burn-in: not added
    np.testing.assert_allclose(rows.weight_sums, weights, rtol=1e-5)
    np.testing.assert_allclose(rows.weighted_sums / rows.weight_sums, weighted / weights, atol=1e-5)


def test_joint_distribution(monkeypatch):
    """Geweke's test of cut point, rows and ratings drawn in turn given each other; J. Geweke 2004, see test_bayes."""
    hyper = {"SHAPE": 4.0, "RATE": 4.0, "MEAN_COUNT": 2.0, "EXTRA_DEGREES": 6.0, "PRECISION": 3.0}
    for name, value in hyper.items():
        monkeypatch.setattr(f"alsx._solver.gibbs.{name}", value)
    monkeypatch.setattr(latent_ratings, "CUT_POINT_SD", 0.6)
    u, i = np.array([(a, b) for a in range(5) for b in range(4) if (a + 2 * b) % 5]).T
    rng, n_draws = np.random.default_rng(1), 1500

    def rating(cut, tables):
        e = tables[0][u, 1] + tables[1][i, 1] + tables[0][u, 0] * tables[1][i, 0]
        return (e + rng.standard_normal(len(u)) / np.sqrt(latent_ratings.LATENT_PRECISION) > cut).astype(np.uint8)

    def quantities(cut, tables, r):
        return [cut, cut**2, r.mean(), cut * r.mean(), *(np.tanh(x).mean() for x in tables), r[0] * r[1]]

    def independent():
        tables = []
        for n in (5, 4):
            degrees = 2 + hyper["EXTRA_DEGREES"]
            root = np.linalg.inv(reference.wishart_root(np.eye(2) * degrees / hyper["PRECISION"], degrees, rng))
            m = rng.standard_normal(2) @ root / np.sqrt(hyper["MEAN_COUNT"])
            tables.append(m + rng.standard_normal((n, 2)) @ root)
        cut = rng.normal(0, 0.6)
        return quantities(cut, tables, rating(cut, tables))

    prior = np.array([independent() for _ in range(n_draws)])
    ratings = Ratings.from_arrays(u, i, rng.integers(0, 2, len(u)).astype(float), dtype="float64")
    penalty, nothing = Penalty(12.0, 4.0, 0.0), PriorSources()
    start = Alternation(ratings, 1, (penalty, penalty), rng, 1, (nothing, nothing))
    start.mean, start.unit = 0.0, 1.0
    next(sweeps(start))
    gibbs = OrdinalGibbs(start, rng, 10**9, (), np.array([-0.5, 0.5]))
    gibbs.latent.midpoints[:] = 0.0
    chain, going = [], sweeps(gibbs)
    for _ in range(n_draws + 50):
        next(going)
        tables = [side.table[:, :2].copy() for side in (gibbs.users, gibbs.items)]
        cut = float(gibbs.latent.cut_points[0])
        gibbs.latent.codes[:] = r = rating(cut, tables)
        gibbs.latent.draw()
        chain.append(quantities(cut, tables, r))
    chain = np.array(chain[50:])
    batches = chain.reshape(30, -1, chain.shape[1]).mean(1)
    error = np.sqrt(prior.var(0) / n_draws + batches.var(0, ddof=1) / 30)
    z = (prior.mean(0) - chain.mean(0)) / error
    assert np.abs(z).max() < 4.5, np.round(z, 1)


# The model


def test_planted_cut_points_and_probabilities_are_found():
    u, i, level, means = planted(120, 80, 6_000, seed=1)
    model = small(n_samples=40, burn_in=20, implicit_features=None).fit(np.stack([u, i], 1), level.astype(float))
    # Up to the scale of latent numbers, which is arbitrary: cut points over the standard deviation of the noise.
    noise = model.traces_["noise_sd"][0, 0]
    np.testing.assert_allclose(np.diff(model.cut_points_) / noise, np.diff(CUTS) / 0.7, rtol=0.08)
    truth = reference.ordinal_probabilities(means, CUTS, 0.7)
    assert np.abs(model.predict_proba(u, i) - truth).mean() < 0.06
    np.testing.assert_allclose(model.predict_proba(u, i).mean(0), np.bincount(level) / len(level), atol=0.015)


def test_the_ways_to_predict_agree(data):
    model = small().fit(data)
    levels = model.rating_levels_
    np.testing.assert_array_equal(levels, [0.5, 1, 3, 4, 5])
    probabilities = model.predict_proba(data)
    assert probabilities.shape == (data.n_ratings, 5)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    mean, std = model.predict(data, return_std=True)
    np.testing.assert_allclose(mean, probabilities @ levels)
    np.testing.assert_allclose(std**2, ((levels - mean[:, None]) ** 2 * probabilities).sum(1), rtol=1e-9)
    user, item = data.user_ids[3], data.item_ids[5]
    assert model.predict_proba(user, item).shape == (5,)
    narrow, wide = (model.predict_interval(data, level=level) for level in (0.5, 0.9))
    assert (wide[0] <= narrow[0]).all()
    assert (narrow[1] <= wide[1]).all()
    items, scores = model.recommend(user, n=3, strategy="mean")
    np.testing.assert_allclose(scores, model.predict(user, items))
    assert model.history_["train_rmse"][-1] < data.std


def test_threads_change_no_bit(data, monkeypatch):
    monkeypatch.setattr(latent_ratings, "BLOCK", 128)
    monkeypatch.setattr(scale_usage, "BLOCK", 100)
    one, other = (small(n_jobs=n).fit(data) for n in (1, 3))
    np.testing.assert_array_equal(one._users.table, other._users.table)
    np.testing.assert_array_equal(one.cut_points_, other.cut_points_)
    np.testing.assert_array_equal(one._scale.usage, other._scale.usage)


def test_saved_and_pickled(data, tmp_path):
    model = small(keep_samples=2).fit(data, eval_set=data)
    assert model.history_["test_rmse"][-1] == pytest.approx(alsx.metrics.rmse(data.triples()[2], model.predict(data)))
    model.save(tmp_path / "model.npz")
    for other in (alsx.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict_proba(data), model.predict_proba(data))
        np.testing.assert_array_equal(other.rating_levels_, model.rating_levels_)


def test_files_of_before_and_broken_ones(data, tmp_path):
    model = small().fit(data)
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as stored:
        arrays = dict(stored)
    old = {name: x for name, x in arrays.items() if name not in ("scale_usage", "scale_sample_users")}
    np.savez(tmp_path / "old.npz", **old)
    loaded = alsx.load(tmp_path / "old.npz")
    np.testing.assert_array_equal(loaded.predict(data), model.predict(data))
    u, i, _ = data.triples()
    np.testing.assert_array_equal(
        loaded.predict_proba(data), model._scale.common_probabilities(model._latent_codes(u, i))
    )
    assert len(loaded.predict_interval(data)[0]) == data.n_ratings
    for name, broken in (
        ("scale_usage", arrays["scale_usage"][1:]),
        ("scale_usage", np.full_like(arrays["scale_usage"], np.nan)),
        ("scale_sample_users", arrays["scale_sample_users"] + np.int32(data.n_users)),
    ):
        np.savez(tmp_path / "broken.npz", **{**arrays, name: broken})
        with pytest.raises(ValueError, match=name):
            alsx.load(tmp_path / "broken.npz")


def test_ratings_of_weight_0_do_not_count(data):
    """Early stopping holds ratings out; a level that only they have is none."""
    u, i, r = data.triples()
    weights = np.where(r == 5, 0.0, 1.0)
    model = small().fit(np.stack([u, i], 1), r, sample_weight=weights)
    np.testing.assert_array_equal(model.rating_levels_, [0.5, 1, 3, 4])
    assert small(early_stopping=True).fit(data).predict_proba(data).shape == (data.n_ratings, 5)


@pytest.mark.parametrize("known", ["user", "item", "neither"])
def test_unknown_users_and_items_have_a_distribution(data, known):
    model = small().fit(data)
    user = data.user_ids[0] if known == "user" else -7
    item = data.item_ids[0] if known == "item" else -7
    with pytest.warns(UserWarning, match="1 of 1 predictions"):
        assert model.predict_proba(user, item).sum() == pytest.approx(1)


def test_what_is_refused(data):
    u, i, r = data.triples()
    X = np.stack([u, i], 1)
    for fit, message in (
        (lambda: small(likelihood="probit").fit(data), "likelihood is 'probit'; it must be"),
        (lambda: small().fit(X, np.arange(len(r)) / 7), "holds more than 20 different ratings"),
        (lambda: small().fit(X, np.full(len(r), 3.0)), "all ratings of R are 3"),
        (lambda: small().fit(data, sample_weight=np.full(len(r), 2.0)), "sample_weight holds 2"),
        (lambda: small(time="day").fit(data), "time is 'day'"),
    ):
        with pytest.raises(ValueError, match=message):
            fit()
    model = small().fit(data)
    user = int(data.user_ids[0])
    for call in (
        lambda: model.fold_in([(-1, int(data.item_ids[0]))], [4.0]),
        lambda: model.partial_fit([(user, int(data.item_ids[0]))], [4.0]),
        lambda: model.recommend(ratings={int(data.item_ids[0]): 4.0}),
        lambda: model.explain(user, int(data.item_ids[0])),
        *(lambda name=name: model.recommend(user, strategy=name) for name in ("lower", "upper", "thompson")),
    ):
        with pytest.raises(ValueError, match='likelihood="ordinal".*use likelihood="gaussian"'):
            call()
    gaussian = small(likelihood="gaussian").fit(data)
    assert not hasattr(gaussian, "predict_proba")
    assert not hasattr(gaussian, "cut_points_")

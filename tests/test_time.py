"""Offsets of time: what a user's ratings of one day, ten minutes or minute have in common."""

import io
import warnings

import numpy as np
import pandas as pd
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_score

import alsx
from alsx import BayesALS, BiasALS, FactorALS, Ratings, metrics
from alsx._models.times import TIME
from alsx._solver import time_offsets
from alsx._solver.alternation import Alternation
from alsx._solver.prior import Penalty
from alsx._solver.rows import RowPrior
from alsx._solver.time_offsets import NO_TIME, TimeOffsets, find_groups, group_by_time
from alsx.model_selection import cross_validate, train_test_split, tune

DAY, SESSION = TIME["day"], TIME["session"]
START = 1_000_000_000  # a second of 2001


def planted(n_users=60, n_items=40, n=1500, seed=0, sd=0.6, days=4, **options):
    """Ratings with an offset of each user and day, and the offsets (n,), in the order of `by_user`."""
    random = np.random.default_rng(seed)
    pairs = random.permutation(n_users * n_items)[:n]
    u, i = pairs // n_items, pairs % n_items
    day, second = random.integers(0, days, n), random.integers(0, 7200, n)
    offsets = random.normal(0, sd, (n_users, days))[u, day]
    bias = random.normal(0, 0.4, n_users)[u] + random.normal(0, 0.5, n_items)[i]
    ratings = 3.5 + bias + offsets + random.normal(0, 0.5, n)
    times = START + 86400 * 3 * day + second
    data = Ratings.from_arrays(u, i, ratings, timestamps=times, **options)
    return data, offsets[np.lexsort((i, u))]


def frame_of(data):
    u, i, r = data.triples()
    return pd.DataFrame({"user": data.user_ids[u], "item": data.item_ids[i], "rating": r, "timestamp": data.timestamps})


def random_times(random, n, n_users):
    users = np.sort(random.integers(0, n_users, n)).astype(np.int32)
    return users, random.integers(-3 * 86400, 3 * 86400, n) // random.choice([1, 30, 4000])


ARRAYS = {
    "seed": st.integers(0, 10_000),
    "n": st.integers(1, 60),
    "n_users": st.integers(1, 5),
    "seconds": st.sampled_from([DAY, SESSION, (86400, 3600)]),
}


# Groups and the tree


@given(**ARRAYS)
def test_groups_are_nested_and_found_again(seed, n, n_users, seconds):
    random = np.random.default_rng(seed)
    users, times = random_times(random, n, n_users)
    groups = group_by_time(users, times, seconds)
    expected = reference.time_groups(users, times, seconds)
    at = groups.leaves
    for place in reversed(range(len(seconds))):
        level = groups.levels[place]
        np.testing.assert_array_equal(expected[place].argmax(1), at)
        np.testing.assert_array_equal(level.users[at], users)
        np.testing.assert_array_equal(level.periods[at], times // seconds[place])
        at = level.parents[at]
    np.testing.assert_array_equal(at, users)
    # Others are found where they are known; of an unknown day the nearest one stands.
    asked, when = random.integers(-1, n_users, 40), random.integers(-5 * 86400, 5 * 86400, 40)
    when[:3] = NO_TIME
    places = find_groups(groups.levels, asked, when)
    for x, (user, time) in enumerate(zip(asked.tolist(), when.tolist(), strict=True)):
        for depth, (level, found) in enumerate(zip(groups.levels, places.of_levels, strict=True)):
            own = np.flatnonzero(level.users == user)
            gaps = np.abs(level.periods[own] - time // level.seconds) if time != NO_TIME else np.empty(0)
            same = own[: len(gaps)][gaps == 0]
            if depth == 0:
                assert places.is_known[x] == bool(len(same))
                assert found[x] == (own[np.argmin(gaps)] if len(gaps) else -1)
            else:
                assert found[x] == (same[0] if len(same) else -1)


@given(**ARRAYS, weighted=st.booleans())
def test_biases_and_offsets_are_solved_together(seed, n, n_users, seconds, weighted):
    random = np.random.default_rng(seed)
    users, times = random_times(random, n, n_users)
    weights = random.choice([0.0, 0.5, 2.0], n) if weighted else np.ones(n)
    residuals, ratios = random.normal(size=n), random.uniform(0.01, 2, len(seconds))
    precision, mean = random.uniform(0.1, 3, n_users), random.normal(size=n_users)
    levels, leaves = group_by_time(users, times, seconds)
    size = len(levels[-1].users)
    counts, sums = (time_offsets.group_sums(leaves, x, size) for x in (weights, weights * residuals))
    known = time_offsets.pass_up(levels, ratios, counts, sums, n_users)
    biases = time_offsets.best_biases(known, precision, mean, np.zeros(n_users))
    offsets, totals = time_offsets.pass_down(levels, ratios, known, biases)
    Z = reference.time_groups(users, times, seconds)
    x, expected, _ = reference.time_row(np.eye(n_users)[users], residuals, weights, (precision, mean), Z, ratios)
    np.testing.assert_allclose(biases, x, atol=1e-9)
    for own, other in zip(offsets, expected, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-9)
    np.testing.assert_allclose(totals[leaves], sum(z @ o for z, o in zip(Z, expected, strict=True)), atol=1e-9)


@given(**ARRAYS, weighted=st.booleans())
def test_variances_are_those_of_the_analysis_of_variance(seed, n, n_users, seconds, weighted):
    random = np.random.default_rng(seed)
    users, times = random_times(random, n, n_users)
    weights = random.choice([0.0, 0.5, 2.0], n) if weighted else np.ones(n)
    residuals = random.normal(size=n) + random.normal(size=9)[(times // 86400) % 9]
    levels, leaves = group_by_time(users, times, seconds)
    counts, sums = (time_offsets.group_sums(leaves, x, len(levels[-1].users)) for x in (weights, weights * residuals))
    found = time_offsets.variance_ratios(levels, counts, sums, weights @ residuals**2, np.count_nonzero(weights))
    expected = reference.variance_ratios(users, times, seconds, residuals, weights)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-9)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6, atol=1e-6)


def test_draws_are_from_the_posterior():
    random = np.random.default_rng(0)
    data, _ = planted(3, 12, 24, days=2, dtype="float64")
    k, ratios, noise = 2, np.array([0.5, 0.2, 0.3]), 0.7
    times = TimeOffsets(data.by_user, data.by_item, data.timestamps, SESSION, data.mean, data.std, 1)
    times.ratios = ratios
    tables = [np.zeros((n, 8)) for n in data.shape]
    for table in tables:
        table[:, : k + 1] = random.normal(size=(len(table), k + 1))
    precision, means = np.array([[2.0, 0.3, 0.4], [0.3, 1.5, 0.2], [0.4, 0.2, 1.0]]), np.zeros((1, 8))
    means[0, :3] = 0.1, 0.2, 0.3
    prior = RowPrior(0.0, 0.0, np.ones(3), precision=precision, means=means)
    u, i, r = data.triples()
    targets = (r - data.mean) / data.std - tables[1][i, k] - (tables[0][u, :k] * tables[1][i, :k]).sum(1)
    # Given its factors a bias is normal with the precision Lambda_bb.
    given_factors = 0.3 - (tables[0][:, :k] - means[0, :k]) @ precision[:k, k]
    Z = reference.time_groups(u, data.timestamps, SESSION)
    _, expected, inverse = reference.time_row(
        np.eye(3)[u], targets, np.ones(len(r)), (np.ones(3), given_factors), Z, ratios
    )
    draws = []
    for _ in range(4000):
        times.draw(*tables, k, prior, noise, random)
        draws.append(np.concatenate(times.offsets))
    np.testing.assert_allclose(np.mean(draws, 0), np.concatenate(expected), atol=0.06)
    np.testing.assert_allclose(np.cov(np.transpose(draws)), noise**2 * inverse[3:, 3:], atol=0.04)
    np.testing.assert_allclose(
        times.by_user.values, r - data.std * sum(z @ o for z, o in zip(Z, times.offsets, strict=True)), atol=1e-12
    )
    with_item = dict(zip(zip(i.tolist(), u.tolist(), strict=True), times.by_user.values.tolist(), strict=True))
    by_item = np.repeat(np.arange(data.n_items), np.diff(data.by_item.indptr)).tolist()
    pairs = zip(by_item, data.by_item.indices.tolist(), strict=True)
    np.testing.assert_array_equal(times.by_item.values, [with_item[pair] for pair in pairs])


# The fit


@settings(max_examples=12)
@given(
    seed=st.integers(0, 1000),
    k=st.integers(0, 6),
    exponent=st.sampled_from([0.0, 0.5, 1.0]),
    seconds=st.sampled_from([DAY, SESSION]),
    weighted=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_the_objective_never_rises(seed, k, exponent, seconds, weighted, dtype):
    weights = np.random.default_rng(seed).uniform(0, 3, 300) if weighted else None
    data, _ = planted(20, 25, 300, seed, sample_weight=weights, dtype=dtype)
    penalties = Penalty(2.0, 0.7, exponent), Penalty(4.0, 1.0, exponent)
    alternation = Alternation(data, k, penalties, np.random.default_rng(seed), 1, periods=seconds)
    values = []
    for side in [alternation.users, alternation.items] * 6:
        alternation.update(side)
        values.append(alternation.objective)
    assert np.diff(values).max() <= {"float32": 1e-5, "float64": 1e-12}[dtype] * values[0]
    # The objective is what it is by its formula.
    u, i, r = data.triples()
    times, unit = alternation.times, alternation.unit
    Z = reference.time_groups(u, data.timestamps, seconds)
    users, items = (side.table.astype(float) for side in (alternation.users, alternation.items))
    shifts = unit * sum(z @ o for z, o in zip(Z, times.offsets, strict=True))
    expected = reference.objective_in_ratings(
        u, i, r, data.by_user.weights, data.mean, unit * users[:, k], unit * items[:, k], unit**0.5 * users[:, :k],
        unit**0.5 * items[:, :k], (2.0, 4.0), (0.7, 1.0), exponent, shifts=shifts,
    )  # fmt: skip
    expected += unit**2 * sum((o**2).sum() / v for o, v in zip(times.offsets, times.ratios, strict=True) if v)
    np.testing.assert_allclose(alternation.loss, expected, rtol={"float32": 1e-4, "float64": 1e-10}[dtype])
    assert isinstance(alternation.loss, float)


MODELS = [
    FactorALS(3, time="session", random_state=0, max_iter=8),
    FactorALS(2, time="day", random_state=0, reg="auto", dtype="float64", implicit_features=None),
    BiasALS(time="session"),
    BayesALS(2, time="session", n_samples=12, burn_in=2, random_state=0),
]


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_the_history_of_a_fit_and_bits_for_any_number_of_threads(model):
    data, _ = planted()
    fits = [clone(model).set_params(n_jobs=n).fit(data) for n in (1, 3)]
    if not isinstance(model, BayesALS):
        assert np.diff(fits[0].history_["loss"]).max() <= 1e-6 * fits[0].history_["loss"][0]
    asked = frame_of(data)[::-1]
    np.testing.assert_array_equal(fits[0].predict(asked), fits[1].predict(asked))
    assert fits[0].time_offsets_.equals(fits[1].time_offsets_)
    assert fits[0].history_["loss"] == fits[1].history_["loss"]


def test_planted_offsets_are_found():
    data, offsets = planted(150, 60, 6000, sd=0.6)
    train, test = train_test_split(data, 0.1, random_state=0)
    truth = test.by_user.values
    for model in (FactorALS(2, random_state=0), BiasALS(), BayesALS(2, n_samples=30, random_state=0)):
        plain = metrics.evaluate(clone(model).fit(train), test, metrics="rmse")["rmse"]
        for time in ("day", "session"):
            fitted = clone(model).set_params(time=time).fit(train)
            assert metrics.rmse(truth, fitted.predict(test)) < plain - 0.12
            assert fitted.time_std_["day"] == pytest.approx(0.6, abs=0.08)
            assert all(std < 0.12 for name, std in fitted.time_std_.items() if name != "day")
    table = BiasALS(time="day").fit(data).time_offsets_.to_pandas()
    u = data.triples()[0]
    days = pd.DataFrame(
        {"user": u, "start": pd.to_datetime(data.timestamps // 86400 * 86400, unit="s"), "true": offsets}
    )
    days = days.drop_duplicates(["user", "start"])
    # Offsets are told apart from biases by what they differ from a user's mean.
    days["true"] -= days.groupby("user").true.transform("mean")
    both = table.astype({"start": days.start.dtype}).merge(days, on=["user", "start"])
    assert len(both) == len(days) == len(table)
    assert np.corrcoef(both.offset, both.true)[0, 1] > 0.9


def test_relabelled_users_and_rescaled_ratings_have_the_same_offsets():
    data, _ = planted(dtype="float64")
    u, i, r = data.triples()
    new = np.random.default_rng(1).permutation(data.n_users)
    model = FactorALS(2, time="session", random_state=0, dtype="float64", max_iter=4, tol=0)
    first = clone(model).fit(data).predict(u, i, timestamps=data.timestamps, clip=False)
    other = clone(model).fit(Ratings.from_arrays(new[u], i, r, timestamps=data.timestamps, dtype="float64"))
    np.testing.assert_allclose(other.predict(new[u], i, timestamps=data.timestamps, clip=False), first, atol=1e-7)
    scaled = clone(model).fit(
        Ratings.from_arrays(
            u, i, 10 * r - 3, timestamps=data.timestamps, dtype="float64", sample_weight=np.ones(len(r))
        )
    )
    predicted = scaled.predict(u, i, timestamps=data.timestamps, clip=False)
    np.testing.assert_allclose(predicted, 10 * first - 3, rtol=1e-7, atol=1e-6)


def test_a_fit_without_time_keeps_its_bits():
    data, _ = planted()
    u, i, r = data.triples()
    for model in (FactorALS(3, random_state=0), BayesALS(2, n_samples=4, random_state=0)):
        fits = [clone(model).fit(x) for x in (data, Ratings.from_arrays(u, i, r))]
        np.testing.assert_array_equal(fits[0]._users.table, fits[1]._users.table)
        assert fits[0].history_["loss"] == fits[1].history_["loss"]
        assert fits[0].time_std_ == {}
        assert not hasattr(fits[0], "time_offsets_")


def test_groups_of_one_rating_say_nothing():
    """A shift of one rating cannot be told from noise: the offsets are 0, and the model is that without time."""
    u, i, r = planted()[0].triples()
    times = START + 86400 * np.arange(len(r))
    data = Ratings.from_arrays(u, i, r, timestamps=times)
    with_time, without = (FactorALS(2, time=t, random_state=0).fit(data) for t in ("day", None))
    assert with_time.time_std_ == {"day": 0.0}
    np.testing.assert_array_equal(with_time.predict(u, i, timestamps=times), without.predict(u, i))
    np.testing.assert_array_equal(
        with_time.predict(u, i, return_std=True)[1], without.predict(u, i, return_std=True)[1]
    )


def test_bias_and_offset_of_a_user_with_one_day_are_told_apart_by_their_priors():
    data, _ = planted(dtype="float64")
    u, i, r = data.triples()
    times = data.timestamps.copy()
    times[u == 7] = START
    model = BiasALS(time="day", tol=0, max_iter=200, reg=(2.0, 1.0)).fit(
        Ratings.from_arrays(u, i, r, timestamps=times, dtype="float64")
    )
    found = model._times
    offset = found.offsets[0][found.levels[0].users == 7]
    assert len(offset) == 1
    # Both gradients are the sum of the user's residuals.
    bias = model.user_biases_[7] - found.means[7]
    np.testing.assert_allclose(offset / found.ratios[0], 2.0 * bias, rtol=1e-6)
    # With one day there is nothing that a time could add.
    assert model.predict(7, 3, timestamps=START) == pytest.approx(model.predict(7, 3), abs=1e-12)


# Predictions


@pytest.fixture(scope="module")
def fitted():
    data, _ = planted(seed=1)
    return data, FactorALS(3, time="session", random_state=0).fit(data)


def test_predictions_know_the_times_of_frames_files_ratings_and_arguments(fitted, tmp_path):
    data, model = fitted
    frame = frame_of(data)
    expected = model.predict(frame.user, frame.item, timestamps=frame.timestamp)
    assert np.abs(expected - model.predict(frame.user, frame.item)).max() > 0.2
    np.testing.assert_array_equal(model.predict(data), expected)
    shuffled = frame.sample(frac=1, random_state=0)
    np.testing.assert_array_equal(model.predict(shuffled), expected[shuffled.index])
    shuffled.to_csv(tmp_path / "r.csv", index=False)
    shuffled.to_parquet(tmp_path / "r.parquet", index=False)
    for name in ("r.csv", "r.parquet"):
        np.testing.assert_array_equal(model.predict(tmp_path / name), expected[shuffled.index])
    # In milliseconds, as datetimes, and without.
    for times in (1000 * frame.timestamp, pd.to_datetime(frame.timestamp, unit="s"), frame.timestamp.tolist()):
        np.testing.assert_array_equal(model.predict(frame.user, frame.item, timestamps=times), expected)
    np.testing.assert_array_equal(model.predict(frame[["user", "item"]]), model.predict(frame.user, frame.item))
    one = model.predict(int(frame.user[4]), int(frame.item[4]), timestamps=int(frame.timestamp[4]))
    assert isinstance(one, float)
    assert one == expected[4]
    many = model.predict(int(frame.user[4]), frame.item[:9], timestamps=int(frame.timestamp[4]))
    assert many.shape == (9,)
    low, high = model.predict_interval(frame.user, frame.item, timestamps=frame.timestamp, clip=False)
    unclipped = model.predict(frame.user, frame.item, timestamps=frame.timestamp, clip=False)
    np.testing.assert_allclose((low + high) / 2, unclipped, atol=1e-12)


def test_without_a_time_predictions_are_for_the_average_day(fitted):
    data, model = fitted
    u, i, _ = data.triples()
    difference = model.predict(u, i, timestamps=data.timestamps, clip=False) - model.predict(u, i, clip=False)
    np.testing.assert_allclose(np.bincount(u, difference), 0, atol=1e-9)
    # Of an unknown time of day it is the day's offset, of an unknown day that of the nearest one, of an unknown user nothing.
    days = model.time_offsets_.to_pandas().query("period == 'day' and user == 5")
    first = int(days.start.iloc[0].timestamp())
    at = first + np.array([86399, -86400 * 40, 86400])
    found = model.predict(5, np.full(3, 2), timestamps=at, clip=False) - model.predict(5, 2, clip=False)
    np.testing.assert_allclose(found, days.offset.iloc[0], atol=1e-9)
    late = model.predict(5, 2, timestamps=first + 86400 * 400, clip=False) - model.predict(5, 2, clip=False)
    assert late == pytest.approx(days.offset.iloc[-1], abs=1e-9)
    with pytest.warns(UserWarning, match="know only part of their pair"):
        assert model.predict(999, 2, timestamps=first) == model.predict(999, 2)
    ids, scores = model.recommend(5, n=3, strategy="mean")
    np.testing.assert_allclose(scores, model.predict(5, ids, clip=False), atol=1e-5)


def test_what_is_known_of_a_time_makes_predictions_more_certain(fitted):
    data, model = fitted
    u, i, _ = data.triples()
    with_times, without = (model.predict(u, i, timestamps=t, return_std=True)[1] for t in (data.timestamps, None))
    assert (with_times < without).all()
    variances = without**2 - with_times**2
    assert variances.max() < sum(std**2 for std in model.time_std_.values())
    low, high = model.predict_interval(data, level=0.9)
    assert np.mean((low <= data.by_user.values) & (data.by_user.values <= high)) > 0.88


def test_explanations_add_up(fitted):
    data, model = fitted
    when = int(data.timestamps[0])
    for user, item in ((int(data.user_ids[data.triples()[0][0]]), 3), (11, 20)):
        for timestamp in (None, when, when + 5 * 86400):
            told = {} if timestamp is None else {"timestamps": timestamp}
            found = model.explain(user, item, n=None, timestamp=timestamp)
            assert found.prediction == model.predict(user, item, clip=False, **told)
            assert sum(part.contribution for part in found.parts) == pytest.approx(found.prediction, abs=2e-5)
            of_time = [part for part in found.parts if part.part == "time"]
            assert len(of_time) == 1
            assert not any(part.part == "update" for part in found.parts)
            values = {part.id: part.rating for part in found.parts if part.part == "rating"}
            assert values == dict(zip(*_ratings_of(data, user), strict=True))
    frame = model.explain(11, 20, timestamp=when, as_frame=True)
    assert frame.contribution.sum() == pytest.approx(model.predict(11, 20, timestamps=when, clip=False), abs=2e-5)


def _ratings_of(data, user):
    row = int(data.user_codes(user))
    part = slice(data.by_user.indptr[row], data.by_user.indptr[row + 1])
    return data.item_ids[data.by_user.indices[part]].tolist(), data.by_user.values[part].tolist()


# What comes after the fit, files, model selection


def dense_user(model, ratings):
    """The prediction of a user's row and the sums of his offsets, solved together; of a model without learned prior means."""
    k, items = model._items.k, model._users.solving(model._items)[0]
    codes = model._items.ids.codes(ratings.item.to_numpy())
    design = np.hstack([items[codes, :k], np.ones((len(codes), 1))]).astype(float)
    targets = ratings.rating.to_numpy() - model.mean_ - items[codes, k]
    prior = model._users.prior
    scale = max(len(ratings), reference.MIN_EFFECTIVE_COUNT) ** prior.exponent
    precision = scale * np.append(np.full(k, prior.reg), prior.reg_bias)
    Z = reference.time_groups(np.zeros(len(codes), int), ratings.timestamp.to_numpy(), model._times.seconds)
    x, offsets, _ = reference.time_row(
        design, targets, np.ones(len(codes)), (precision, np.zeros(k + 1)), Z, model._times.ratios
    )
    sums = sum(z @ o for z, o in zip(Z, offsets, strict=True))
    x[k] += sums.mean()  # every rating counts once
    return x, sums - sums.mean()


def plain_fit(data, **options):
    return FactorALS(3, time="session", random_state=0, implicit_features=None, dtype="float64", **options).fit(data)


def test_new_users_are_solved_together_with_their_offsets():
    data, _ = planted(dtype="float64")
    model = plain_fit(data)
    new = frame_of(planted(seed=5, n_users=3, n=70)[0])
    new["user"] += 500
    more = model.fold_in(new)
    for user, ratings in new.groupby("user"):
        x, shifts = dense_user(model, ratings)
        row = more._users.ids.codes(user)
        np.testing.assert_allclose(more._users.table[row, :4], x, atol=1e-6)
        plain = more.predict(user, ratings.item, clip=False)
        np.testing.assert_allclose(more.predict(ratings, clip=False) - plain, shifts, atol=1e-6)
        found = more.explain(user, int(ratings.item.iloc[0]), n=None, timestamp=int(ratings.timestamp.iloc[0]))
        assert sum(part.contribution for part in found.parts) == pytest.approx(found.prediction, abs=1e-9)
    old = frame_of(data)
    np.testing.assert_array_equal(more.predict(old), model.predict(old))
    # Without times a user is solved without offsets; somebody of the fit comes out nearly as the fit has him.
    untimed = model.fold_in(new.drop(columns="timestamp"))
    assert untimed.predict(500, 3, timestamps=START) == untimed.predict(500, 3)
    again = model.fold_in(old[old.user == 4])
    own = old[old.user == 4]
    np.testing.assert_allclose(again.predict(own), model.predict(own), atol=0.02)
    assert again.time_offsets_.num_rows == model.time_offsets_.num_rows
    ids, _ = model.recommend(ratings={3: 4.5, 7: 2.0}, n=2)
    assert len(ids) == 2


def test_new_items_are_solved_from_ratings_less_the_users_offsets():
    data, _ = planted(dtype="float64")
    model = plain_fit(data)
    new = frame_of(data).iloc[::9].drop_duplicates("user").assign(item=900)
    more = model.fold_in(new, side="item")
    users = model._users.table[model._users.ids.codes(new.user.to_numpy())]
    shifts = model.predict(new.user, 3, timestamps=new.timestamp, clip=False) - model.predict(new.user, 3, clip=False)
    scale = max(len(new), 30.0) ** 0.5
    x = reference.row_solve(new.rating - shifts, None, model.mean_, 1.0, users, 3, scale * model._items.prior.reg,
                            scale * model._items.prior.reg_bias)[0]  # fmt: skip
    np.testing.assert_allclose(more._items.table[more._items.ids.codes(900), :4], x, atol=1e-9)
    assert len(more._times.seen) == len(more._seen.indices)


def test_partial_fit_learns_new_times():
    data, _ = planted(dtype="float64")
    model = plain_fit(data)
    before = pickled(model)
    model.partial_fit(frame_of(data).iloc[:40])
    np.testing.assert_array_equal(model._users.table, before._users.table)
    assert model.time_offsets_.equals(before.time_offsets_)
    # New ratings, of known users on an unknown day, and of somebody new; a rating whose time alone has changed.
    frame = frame_of(data)
    known = set(zip(frame.user, frame.item, strict=True))
    new = [(u, i) for u in (3, 4, 700) for i in range(40) if (u, i) not in known][:60]
    new = pd.DataFrame(new, columns=["user", "item"]).assign(
        rating=4.5, timestamp=START + 86400 * 77 + 60 * np.arange(len(new))
    )
    moved = frame[frame.user == 9].iloc[:1].assign(timestamp=START + 86400 * 90)
    model.partial_fit(pd.concat([new, moved]))
    everything = pd.concat([frame.drop(moved.index), new, moved])
    for user in (3, 700, 9):
        ratings = everything[everything.user == user]
        x, shifts = dense_user(model, ratings)
        np.testing.assert_allclose(model._users.table[model._users.ids.codes(user), :4], x, atol=1e-6)
        plain = model.predict(user, ratings.item, clip=False)
        np.testing.assert_allclose(model.predict(ratings, clip=False) - plain, shifts, atol=1e-6)
        found = model.explain(user, 5, n=None)
        assert sum(part.contribution for part in found.parts) == pytest.approx(found.prediction, abs=1e-9)
    other = frame[~frame.user.isin((3, 4, 9))]
    shifts, old = (
        m.predict(other, clip=False) - m.predict(other.user, other.item, clip=False) for m in (model, before)
    )
    np.testing.assert_allclose(shifts, old, atol=1e-12)
    model.partial_fit(new.assign(rating=2.0), refine=1)
    assert model.predict(700, 3, timestamps=START + 86400 * 77) < 3.6


def pickled(model):
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    return alsx.load(file)


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_saved_models_predict_the_same_bits(model, tmp_path):
    data, _ = planted()
    model = clone(model).fit(data)
    frame = frame_of(data)
    for with_ratings in (True, False):
        model.save(tmp_path / "m.npz", with_ratings=with_ratings)
        again = type(model).load(tmp_path / "m.npz", mmap=True)
        for x, y in zip(model.predict(frame, return_std=True), again.predict(frame, return_std=True), strict=True):
            np.testing.assert_array_equal(x, y)
        assert again.time_std_ == model.time_std_
        assert again.time_offsets_.equals(model.time_offsets_)
        assert again.time == model.time
    if not isinstance(model, BayesALS):
        again = pickled(model)
        assert again.explain(3, 5, timestamp=START) == model.explain(3, 5, timestamp=START)
    folded = pickled(model).fold_in(frame[:10].assign(user=10**6))
    assert pickled(folded).predict(10**6, 3, timestamps=START) == folded.predict(10**6, 3, timestamps=START)


def test_damaged_files_are_refused(fitted, tmp_path):
    _, model = fitted
    model.save(tmp_path / "m.npz")
    stored = dict(np.load(tmp_path / "m.npz"))
    for name, change in (
        ("time_1_parents", lambda x: x + 10**6),
        ("time_0_users", lambda x: x[::-1].copy()),
        ("time_2_offsets", lambda x: x * np.nan),
        ("time_ratios", lambda x: -x),
        ("time_seen", lambda x: x[:-1]),
        ("time_means", lambda x: x.astype(np.float32)),
    ):
        np.savez(tmp_path / "d.npz", **(stored | {name: change(stored[name])}))
        with pytest.raises(ValueError, match="not a whole model file"):
            alsx.load(tmp_path / "d.npz")


def test_held_out_ratings_are_predicted_at_their_times():
    data, _ = planted()
    train, test = train_test_split(data, 0.2, random_state=0)
    for model in (
        FactorALS(2, time="day", random_state=0, max_iter=6),
        BayesALS(2, time="day", n_samples=5, random_state=0),
    ):
        fitted = clone(model).fit(train, eval_set=test)
        expected = metrics.rmse(test.by_user.values, fitted.predict(test))
        np.testing.assert_allclose(fitted.history_["test_rmse"][-1], expected, rtol=1e-6)
        assert metrics.evaluate(fitted, test, metrics="rmse")["rmse"] == pytest.approx(expected, rel=1e-12)
        assert fitted.score(test) == pytest.approx(fitted.score(frame_of(test)), abs=1e-12)
        assert fitted.score(test) > fitted.score(Ratings.from_arrays(*test.triples())) + 0.1
    early = FactorALS(2, time="day", random_state=0, early_stopping=True, max_iter=6).fit(train)
    assert early.best_iter_ >= 1
    frame = frame_of(data)
    X, y = frame.drop(columns="rating"), frame.rating
    scores = cross_val_score(BiasALS(time="day"), X, y, cv=KFold(3, shuffle=True, random_state=0))
    assert scores.mean() > cross_val_score(BiasALS(), X, y, cv=KFold(3, shuffle=True, random_state=0)).mean() + 0.1
    best = tune(FactorALS(2, max_iter=4), train, {"time": (None, "day")}, min_resource=4).best_params
    assert best["time"] == "day"
    timed, plain = (cross_validate(BiasALS(time=time), data, cv=3, metrics="rmse") for time in ("day", None))
    assert np.mean(timed["test_rmse"]) < np.mean(plain["test_rmse"]) - 0.05


def test_a_warm_start_goes_on_with_the_variances():
    data, _ = planted()
    model = FactorALS(2, time="day", random_state=0, max_iter=5, tol=0, warm_start=True).fit(data)
    first, std = model.history_["loss"], model.time_std_
    model.fit(data)
    assert model.time_std_ == pytest.approx(std, rel=1e-12)
    assert max(model.history_["loss"]) <= first[-1] * (1 + 1e-6)
    chain = BayesALS(2, time="session", n_samples=5, random_state=0).fit(data)
    assert {"user_day_sd", "user_ten_minutes_sd", "user_minute_sd"} <= set(chain.traces_)


# Errors


def test_times_that_are_missing_or_cannot_be_used(fitted):
    data, model = fitted
    u, i, r = data.triples()
    for argument in (
        (Ratings.from_arrays(u, i, r),),
        (np.column_stack([u, i]), r),
        (Ratings.from_arrays(u, i, r).to_csr(),),
    ):
        with pytest.raises(ValueError, match=r"R has no timestamps, but time is not None: pass a data frame"):
            FactorALS(time="day").fit(*argument)
    with pytest.raises(ValueError, match="no column of timestamps is recognised"):
        BiasALS(time="day").fit(frame_of(data).rename(columns={"timestamp": "when"}))
    for time in ("week", 86400, True, ["day"]):
        with pytest.raises(ValueError, match=r'time is .*; it must be "day", "session" or None'):
            FactorALS(time=time).fit(data)
    frame = frame_of(data)
    broken = pd.to_datetime(frame.timestamp, unit="s")
    broken[3] = pd.NaT
    with pytest.raises(ValueError, match=r"row 3"):
        BiasALS(time="day").fit(frame.assign(timestamp=broken))
    for times, message in (
        (frame.timestamp[:5], r"timestamps has 5 times for 9 pairs; it must have one for each, or be one time"),
        (broken[:9], r"timestamps: row 3 .*NaT"),
        (
            frame.timestamp[:9] // 86400,
            r"timestamps: row 0 is \d+, but the times of the fit go from .*convert them to seconds",
        ),
        (["noon"] * 9, "timestamps"),
    ):
        with pytest.raises((ValueError, TypeError), match=message) as error:
            model.predict(frame.user[:9], frame.item[:9], timestamps=times)
        assert len(str(error.value)) <= 300
    plain = BiasALS().fit(data)
    for call in (
        lambda: plain.predict(3, 5, timestamps=START),
        lambda: plain.predict_interval(3, 5, timestamps=START),
        lambda: plain.explain(3, 5, timestamp=START),
    ):
        with pytest.raises(ValueError, match="is given, but the model was fitted without time") as error:
            call()
        assert len(str(error.value)) <= 300
    with pytest.raises(ValueError, match="R has no timestamps"):
        plain_fit(data).partial_fit([(3, 900)], [4.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain.predict(frame)


def test_times_so_far_apart_that_keys_do_not_hold_them():
    users, times = np.array([0, 0, 1, 2**20], np.int32), np.array([-(2**62), 2**62, 5, 2**62])
    levels, leaves = group_by_time(users, times, SESSION)
    np.testing.assert_array_equal(leaves, np.arange(4))
    places = find_groups(levels, users, times)
    for found in places.of_levels:
        np.testing.assert_array_equal(found, np.arange(4))

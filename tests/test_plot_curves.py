"""Curves, bars and lists: what is drawn is what was computed, axes say what they count, nothing lies on anything."""

from collections import namedtuple
from itertools import combinations

import numpy as np
import pytest
import scipy.stats
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

import alsx
from alsx import plot
from alsx.model_selection import ColdStart, cold_start, train_test_split


@pytest.fixture(scope="module")
def films():
    """Simulated ratings of two tastes, split, with models fitted to the training part."""
    ratings = alsx.datasets.make_ratings(300, 80, 9000, k=2, random_state=1)
    train, test = train_test_split(ratings, 0.2, random_state=0)
    models = {"biases": alsx.BiasALS().fit(train), "factors": alsx.FactorALS(k=4, random_state=0).fit(train)}
    return namedtuple("Films", "ratings train test models")(ratings, train, test, models)


def tagged(ax, gid):
    return [t for t in ax.texts if t.get_gid() == gid]


def texts_of(ax):
    return " ".join(t.get_text() for t in ax.texts)


# ---- the history


def fit_history(n, test=True, start=100.0):
    t = np.arange(n)
    made = {"loss": list(start * 2.0**-t + 40), "train_rmse": list(0.7 + 0.2 * 0.5**t), "seconds": [0.1] * n}
    return made | ({"test_rmse": list(0.9 + 0.002 * (t - 3.0) ** 2)} if test else {})


def lines(fig):
    return {line.get_label(): line for ax in fig.axes for line in ax.lines if not line.get_label().startswith("_")}


def panel(fig, title):
    (found,) = [ax for ax in fig.axes if ax.get_title(loc="left") == title]
    return found


def test_history_draws_the_values():
    h = fit_history(8)
    fig = plot.history(h)
    drawn_lines = lines(fig)
    assert set(drawn_lines) == {"fit loss", "fit train_rmse", "fit test_rmse"}
    for label, line in drawn_lines.items():
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 9))
        np.testing.assert_array_equal(line.get_ydata(), h[label.split()[1]])
        assert line.get_linestyle() == "-"  # nothing dashed to be explained
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["Loss", "Training RMSE", "Test RMSE"]
    said = [tagged(ax, "end")[0].get_text() for ax in fig.axes]
    assert said == [f"{h['loss'][-1]:.4g}", f"{h['train_rmse'][-1]:.3f}", f"{h['test_rmse'][-1]:.3f}"]


def test_history_rings_the_lowest_test_error_and_says_what_the_ring_is():
    ax = panel(plot.history(fit_history(8)), "Test RMSE")
    (ring,) = [line for line in ax.lines if line.get_label() == "_best"]
    assert (ring.get_xdata(), ring.get_ydata()) == ([4], [0.9])
    assert [t.get_text() for t in tagged(ax, "lowest")] == ["lowest: 0.900, iteration 4"]
    # Where the last is the lowest, or as good as that, there is none.
    assert not tagged(panel(plot.history(fit_history(4)), "Test RMSE"), "lowest")
    flat = {"loss": [2.0, 1.0, 0.9], "train_rmse": [1.0, 0.9, 0.8], "test_rmse": [1.0, 0.90001, 0.90002]}
    assert not tagged(panel(plot.history(flat), "Test RMSE"), "lowest")


def test_history_of_several_models_gives_each_loss_a_scale_of_its_own():
    h = {"BiasALS": fit_history(3, start=80.0), "FactorALS": fit_history(9, start=9e5)}
    fig = plot.history(h, title="Two models")
    assert {t.get_text() for t in fig.legends[0].get_texts()} == set(h)
    assert len(lines(fig)) == 6
    colours = {label.split()[0]: to_rgba(line.get_color()) for label, line in lines(fig).items()}
    assert colours["BiasALS"] != colours["FactorALS"]
    for name, curves in h.items():
        ax = panel(fig, f"Loss of {name}")
        low, high = ax.get_ylim()
        span = max(curves["loss"]) - min(curves["loss"])
        assert ax.get_yscale() == "log" or high - low < 1.5 * span  # no empty band
    fig.canvas.draw()
    for ax in fig.axes:
        assert not any(a.overlaps(b) for a, b in combinations([t.get_window_extent() for t in ax.texts], 2))
        assert all(t.get_window_extent().x1 <= fig.bbox.x1 for t in ax.texts)
    dotted = [line for ax in fig.axes for line in ax.lines if line.get_label() == "_lead"]
    assert len(dotted) == 3  # from the end of the shorter fit to its numbers
    legend, headline = fig.legends[0].get_window_extent(), fig._suptitle.get_window_extent()
    assert not legend.overlaps(headline)


def test_margins_are_even():
    fig = plot.history({"a": fit_history(9), "b": fit_history(5)}, title="T")
    fig.canvas.draw()
    whole = fig.get_tightbbox()
    width, height = fig.get_size_inches()
    margins = whole.x0, whole.y0, width - whole.x1, height - whole.y1
    assert min(margins) > 0
    assert max(margins) < 0.35


def test_equal_ends_do_not_overlap():
    fig = plot.history({str(i): fit_history(5) for i in range(6)})
    fig.canvas.draw()
    for ax in fig.axes:
        boxes = [t.get_window_extent() for t in tagged(ax, "end")]
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
        assert all(fig.bbox.y0 <= b.y0 and b.y1 <= fig.bbox.y1 for b in boxes)


def test_history_of_models_in_a_list_and_by_themselves():
    class Model:
        history_ = fit_history(4, test=False)

    assert set(lines(plot.history([Model(), Model()]))) == {
        "Model loss", "Model train_rmse", "Model 2 loss", "Model 2 train_rmse"
    }  # fmt: skip
    assert set(lines(plot.history(Model()))) == {"Model loss", "Model train_rmse"}


@pytest.mark.parametrize("n", [1, 2, 3, 7, 20, 38, 100, 1234])
def test_history_counts_from_the_first_to_the_last_iteration(n):
    fig = plot.history(fit_history(n))
    for ax in fig.axes:
        low, high = ax.get_xlim()
        ticks = [t for t in ax.get_xticks() if low <= t <= high]
        assert (ticks[0], ticks[-1]) == (1, n)
        assert len(ticks) <= 9
        np.testing.assert_array_equal(ticks, np.round(ticks))
        boxes = [t.get_window_extent() for t in ax.get_xticklabels()]
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    for line in lines(fig).values():  # the same marker, on the last iteration, at every length
        assert (line.get_marker(), line.get_markevery()) == ("o", [-1])


def test_loss_is_logarithmic_only_where_it_spans_much():
    wide = {"loss": [1000.0, 100.0, 10.0], "train_rmse": [1.0, 0.9, 0.8]}
    assert plot.history(wide).axes[0].get_yscale() == "log"
    assert plot.history(fit_history(3)).axes[0].get_yscale() == "linear"
    assert plot.history({"loss": [1.0, 0.0], "train_rmse": [1.0, 0.0]}).axes[0].get_yscale() == "linear"


def test_history_into_a_figure_or_axes_given():
    figure = Figure(figsize=(6, 3))
    assert plot.history(fit_history(3), fig=figure) is figure
    outer = Figure(figsize=(8, 6))
    top, _ = outer.subfigures(2, 1)
    assert plot.history(fit_history(3), fig=top) is outer
    figure = Figure(figsize=(6, 3))
    axes = figure.subplots(1, 3)
    assert plot.history([fit_history(3), fit_history(4)], ax=axes) is figure
    assert [ax.get_title(loc="left") for ax in axes] == ["Loss", "Training RMSE", "Test RMSE"]
    assert axes[2].get_legend() is not None
    alone = Figure().subplots()
    plot.history(fit_history(3), ax=alone)
    assert [line.get_label() for line in alone.lines] == ["fit test_rmse"]
    with pytest.raises(ValueError, match="ax has 2 axes; it must be one, or the 3"):
        plot.history(fit_history(3), ax=Figure().subplots(1, 2))
    with pytest.raises(ValueError, match="fig and ax are both given"):
        plot.history(fit_history(3), fig=Figure(), ax=alone)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, ValueError, "models_or_histories is empty"),
        ([], ValueError, "models_or_histories is empty"),
        (3, TypeError, r"int \(int\) has no history_"),
        ({"a": object()}, TypeError, r"a \(object\) has no history_; fit the model first"),
        ({"a": {"train_rmse": [1.0]}}, ValueError, "the history of a has no 'loss'"),
        ({"loss": [1.0]}, ValueError, "has no 'train_rmse'; it has \\['loss'\\]"),
        ({"loss": [], "train_rmse": []}, ValueError, "no iterations in 'loss'"),
        ({"loss": [1.0, np.nan], "train_rmse": [1.0, 1.0]}, ValueError, "holds nan in 'loss' at iteration 2"),
        ({"loss": [1.0, 1.0], "train_rmse": [1.0]}, ValueError, "has 1 iterations in 'train_rmse' and 2 in 'loss'"),
    ],
)
def test_history_refuses(given, error, message):
    with pytest.raises(error, match=message):
        plot.history(given)


# ---- reliability


class Forecaster:
    """Says how sure it is, truly or as if errors were half as large."""

    def __init__(self, scale=1.0, n=4000, seed=0):
        rng = np.random.default_rng(seed)
        self.std = rng.uniform(0.3, 1.2, n)
        truth = rng.normal(0, 1, n) * self.std
        self.test = alsx.Ratings.from_arrays(np.repeat(np.arange(n // 40), 40), np.tile(np.arange(40), n // 40), truth)
        self.scale = scale

    def predict(self, test, return_std):
        assert return_std
        return np.zeros(len(self.std)), self.std * self.scale

    def predict_interval(self, test, level):
        half = scipy.stats.norm.ppf(0.5 + level / 2) * self.std * self.scale
        return -half, half


def test_reliability_draws_what_is_found():
    true, bold = Forecaster(), Forecaster(0.5)
    fig = plot.reliability({"true": true, "bold": bold}, true.test, title="A $ title")
    left, right = fig.axes
    lines = {line.get_label(): line.get_data() for line in left.lines}
    levels, found = lines["true"]
    np.testing.assert_allclose(found, levels, atol=0.03)
    truth = true.test.triples()[2]
    low, high = bold.predict_interval(None, 0.9)
    inside = np.mean((truth >= low) & (truth <= high))
    assert lines["bold"][1][list(levels).index(0.9)] == inside
    assert [t.get_text() for t in tagged(left, "coverage")] == [f"{inside:.1%}", f"{lines['true'][1][8]:.1%}"]
    bars = {bar.get_label(): bar.lines[0].get_data() for bar in right.containers}
    for name, scale in (("true", 1.0), ("bold", 0.5)):
        expected, actual = bars[name]
        assert len(expected) == 10
        assert (np.diff(expected) > 0).all()
        np.testing.assert_allclose(actual, expected / scale, rtol=0.12)
    # Each group's own numbers, of all ratings.
    assert np.mean(bars["true"][1] ** 2) == pytest.approx(np.mean(truth**2))
    for ax in fig.axes:
        x, y = ax.get_xlim(), ax.get_ylim()
        assert x == y  # the diagonal is one
        for line in ax.lines:
            assert (line.get_xdata() >= x[0]).all()
            assert (line.get_ydata() <= y[1]).all()


def test_reliability_of_one_fitted_model():
    rng = np.random.default_rng(0)
    R = alsx.Ratings.from_arrays(np.arange(600) % 30, np.arange(600) // 30, rng.integers(1, 6, 600).astype(float))
    model = alsx.BiasALS().fit(R)
    fig = plot.reliability(model, R, n_groups=4)
    assert len(fig.axes[1].containers[0].lines[0].get_xdata()) == 4
    assert not fig.legends
    assert len(plot.reliability([model, model], R).legends) == 1
    own = Figure()
    assert plot.reliability(model, [(1, 2), (3, 4)], [1.0, 2.0], n_groups=2, fig=own) is own


@pytest.mark.parametrize(
    ("models", "changes", "error", "message"),
    [
        ([], {}, ValueError, "models is empty"),
        ({"this": 5}, {}, TypeError, r"this \(int\) has no predict_interval"),
        (None, {"n_groups": 1}, ValueError, "n_groups"),
        (
            None,
            {"n_groups": 5000},
            ValueError,
            "n_groups is 5000; it must be at most the number of test ratings in R, 4000",
        ),
    ],
)
def test_reliability_refuses(models, changes, error, message):
    forecaster = Forecaster()
    with pytest.raises(error, match=message):
        plot.reliability(forecaster if models is None else models, forecaster.test, **changes)


def test_reliability_into_axes_given():
    true = Forecaster()
    pair = Figure(figsize=(8, 4)).subplots(1, 2)
    plot.reliability([true, true], true.test, ax=pair)
    assert [ax.get_title(loc="left") for ax in pair] == [
        "Ratings within the interval",
        "RMSE of tenths by predicted deviation",
    ]
    alone = Figure().subplots()
    plot.reliability(true, true.test, ax=alone)
    assert alone.get_title(loc="left") == "Ratings within the interval"


# ---- distributions


def test_rating_distribution_shows_shares_mean_and_deviation():
    values = [1.0, 2.0, 2.0, 5.0, 5.0, 5.0]
    R = alsx.Ratings.from_arrays(np.arange(6), np.arange(6), values)
    ax = plot.rating_distribution(R)
    bars = {round(b.get_x() + b.get_width() / 2, 6): b.get_height() for b in ax.containers[0]}
    assert bars == pytest.approx({1.0: 1 / 6, 2.0: 2 / 6, 5.0: 3 / 6})
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "2", "5"]
    (line,) = [line for line in ax.lines if line.get_gid() == "mean"]
    assert line.get_xdata()[0] == pytest.approx(np.mean(values))
    assert f"mean {np.mean(values):.2f}" in texts_of(ax)
    assert f"standard deviation {np.std(values):.2f}" in texts_of(ax)
    assert ax.get_ylabel() == "share of the ratings"


def test_rating_distribution_of_many_values_and_of_one():
    values = np.random.default_rng(0).normal(size=500)
    ax = plot.rating_distribution(alsx.Ratings.from_arrays(np.arange(500), np.zeros(500, int), values))
    assert len(ax.containers[0]) == 25
    assert sum(b.get_height() for b in ax.containers[0]) == pytest.approx(1)
    one = plot.rating_distribution(alsx.Ratings.from_arrays([1, 2], [1, 1], [3.0, 3.0]))
    assert [b.get_height() for b in one.containers[0]] == [1.0]
    assert len(one.texts) == 1


@pytest.mark.parametrize("by", ["item", "user"])
def test_popularity_counts_and_marks_half(films, by):
    ax = plot.popularity(films.ratings, by=by)
    counts = np.sort(np.diff((films.ratings.by_item if by == "item" else films.ratings.by_user).indptr))[::-1]
    (line,) = [line for line in ax.lines if line.get_gid() == "counts"]
    np.testing.assert_array_equal(line.get_ydata(), counts)
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, len(counts) + 1))
    (half,) = [line for line in ax.lines if line.get_gid() == "half"]
    n = int(half.get_xdata()[0])
    assert counts[:n].sum() >= counts.sum() / 2 > counts[: n - 1].sum()
    assert f"half of the ratings: {n:,} {by}s" in texts_of(ax)
    (middle,) = [line for line in ax.lines if line.get_gid() == "median"]
    at_least = int(middle.get_ydata()[1])
    assert (counts >= at_least).mean() >= 0.5 > (counts > at_least).mean() - 1e-9
    low, high = ax.get_xlim()
    assert low < 1
    assert high >= len(counts)


def test_popularity_refuses_another_side(films):
    with pytest.raises(ValueError, match="by is 'film'; it must be 'item' or 'user'"):
        plot.popularity(films.ratings, by="film")


# ---- errors


@pytest.mark.parametrize("by", ["item", "user"])
def test_errors_by_count_are_the_errors_of_each_class(films, by):
    ax = plot.errors_by_count(films.models, films.test, by=by)
    users, items, truth = films.test.triples()
    counts = np.bincount((films.train.triples()[1] if by == "item" else films.train.triples()[0]), minlength=300)
    mine = counts[items if by == "item" else users]
    labels = [t.get_text().split("\n") for t in ax.get_xticklabels()]
    assert sum(int(size.replace(",", "")) for _, size in labels) == len(truth)
    for bars in ax.containers:
        predicted = films.models[bars.get_label()].predict(films.test)
        assert len(bars.lines[0].get_ydata()) == len(labels)
        for (name, size), found in zip(labels, bars.lines[0].get_ydata(), strict=True):
            low, _, high = name.replace(",", "").replace(" or more", "–999999").partition("–")
            inside = (mine >= int(low)) & (mine <= int(high or low))
            assert inside.sum() == int(size.replace(",", ""))
            assert found == pytest.approx(np.sqrt(np.mean((truth - predicted)[inside] ** 2)))
    ends = [t.get_text() for t in tagged(ax, "end")]
    assert len(ends) == 2


def test_errors_by_count_of_unknown_items_and_few_ratings(films):
    new = alsx.Ratings.from_arrays([0, 1, 2], [900, 901, 1], [1.0, 2.0, 3.0])
    ax = plot.errors_by_count(films.models["factors"], new)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["any\n3"]
    with pytest.raises(ValueError, match="by is 'film'"):
        plot.errors_by_count(films.models, new, by="film")
    with pytest.raises(TypeError, match=r"object \(object\) has no item_counts_; give a fitted alsx model"):
        plot.errors_by_count(object(), new)


def test_cold_start_follows_new_users(films):
    train, new = train_test_split(films.ratings, 0.3, by="cold_users", random_state=0)
    models = {"biases": alsx.BiasALS().fit(train), "factors": alsx.FactorALS(k=2, random_state=0).fit(train)}
    measured = cold_start(models, new, known=(0, 1, 5), n_test=3)
    counts = np.diff(new.by_user.indptr)
    assert measured.n_users == (counts >= 8).sum()
    assert measured.n_ratings == (counts[counts >= 8] - 5).sum()
    assert all(len(x) == 3 for x in (*measured.rmse.values(), *measured.mean_prediction.values()))
    # With nothing known a model predicts by the cold-start vector: a bias-only model the item's mean.
    assert measured.rmse["biases"][2] < measured.rmse["biases"][0]
    again = cold_start(models, new, known=(0, 1, 5), n_test=3)
    np.testing.assert_array_equal(again.rmse["factors"], measured.rmse["factors"])
    ax = plot.cold_start(measured)
    for line in ax.lines:
        np.testing.assert_array_equal(line.get_xdata(), measured.known)
        np.testing.assert_array_equal(line.get_ydata(), measured.rmse[line.get_label()])
    np.testing.assert_array_equal(ax.get_xticks(), measured.known)
    assert f"{measured.n_ratings:,} ratings of {measured.n_users:,} new users" in ax.get_title(loc="left")


def test_cold_start_is_by_hand_what_fold_in_predicts():
    """Three users of which each has one rating more than is known."""
    train = alsx.Ratings([("a", 1), ("a", 2), ("b", 1), ("b", 2), ("b", 3)], [5.0, 3.0, 4.0, 1.0, 2.0])
    new = alsx.Ratings([("x", 1), ("x", 2), ("y", 1), ("y", 3), ("z", 2), ("z", 3)], [1.0, 2.0, 3.0, 4.0, 5.0, 1.5])
    model = alsx.BiasALS().fit(train)
    measured = cold_start(model, new, known=(0, 1), n_test=1, min_users=1, random_state=3)
    assert (measured.n_users, measured.n_ratings) == (3, 3)
    rated = {}
    for user, item, value in zip(*new.triples(), strict=True):
        rated.setdefault(new.user_ids[user], []).append((new.item_ids[item], float(value)))
    # One of two is known, the other predicted: each user's error is one of two.
    possible = []
    for user, pairs in rated.items():
        folded = [model.fold_in([(user, one)], [value]) for one, value in pairs]
        possible.append([
            (pairs[1 - j][1] - float(folded[j].predict(user, pairs[1 - j][0]))) ** 2 for j in (0, 1)
        ])  # fmt: skip
    from itertools import product

    squares = [np.sqrt(np.mean(choice)) for choice in product(*possible)]
    assert np.isclose(squares, measured.rmse["BiasALS"][1], rtol=1e-5).any()


def test_cold_start_takes_features(films):
    import pyarrow as pa

    train, new = train_test_split(films.ratings, 0.3, by="cold_users", random_state=0)
    table = pa.table({"user": films.ratings.user_ids, "group": (films.ratings.user_ids % 3).astype(str)})
    model = alsx.FactorALS(k=2, random_state=0).fit(train, user_features=table)
    with_features = cold_start({"m": model}, new, known=(0, 3), user_features={"m": table})
    without = cold_start({"m": model}, new, known=(0, 3))
    assert (with_features.rmse["m"] != without.rmse["m"]).all()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"known": ()}, ValueError, r"known is \(\); it must be ascending numbers of ratings"),
        ({"known": (3, 1)}, ValueError, r"known is \(3, 1\); it must be ascending"),
        ({"n_test": 0}, ValueError, "n_test is 0"),
        ({"n_test": 500}, ValueError, "R has no user with 500 ratings"),
        ({"models": []}, ValueError, "models is empty"),
        ({"models": 3}, TypeError, r"int \(int\) has no fold_in; give a fitted alsx model"),
    ],
)
def test_cold_start_refuses(films, changes, error, message):
    train, new = train_test_split(films.ratings, 0.3, by="cold_users", random_state=0)
    arguments = {"models": alsx.BiasALS().fit(train), "R": new} | changes
    with pytest.raises(error, match=message):
        cold_start(**arguments)


def test_cold_start_refuses_users_of_the_fit(films):
    with pytest.raises(ValueError, match="whom biases knows; it must be users that came after the fit"):
        cold_start(films.models, films.test)
    with pytest.raises(TypeError, match="measured is a dict; it must be what alsx.model_selection.cold_start returns"):
        plot.cold_start({"known": [0]})


# ---- factors


def test_principal_axes_do_not_depend_on_the_rotation_of_the_factors():
    from alsx.plot._factors import principal_axes

    rng = np.random.default_rng(0)
    users, items, counts = rng.normal(size=(200, 4)) * [3, 2, 1, 0.1], rng.normal(size=(60, 4)), rng.integers(1, 50, 60)
    turn = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    stretch = np.diag([2.0, 0.5, 1.0, 3.0])  # what one side gains the other loses: predictions stay
    one = principal_axes(users, items, counts.astype(float))
    two = principal_axes(users @ stretch @ turn, items @ np.linalg.inv(stretch) @ turn, counts.astype(float))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a.position, b.position, atol=1e-8)
        assert a.share == pytest.approx(b.share)
    assert sum(axis.share for axis in one) == pytest.approx(1)
    assert [axis.share for axis in one] == sorted((axis.share for axis in one), reverse=True)
    # Their squares add up to the variance of what factors add to predictions, over users and, by their ratings, over items.
    weights = counts / counts.sum()
    away = (users - users.mean(0)) @ (items - weights @ items).T
    total = sum(weights @ axis.position**2 for axis in one)
    assert total == pytest.approx((away**2).mean(axis=0) @ weights)
    # Over items they are uncorrelated.
    positions = np.column_stack([axis.position for axis in one])
    gram = (positions.T * weights) @ positions
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-10)


def test_factors_list_the_ends_and_their_genres():
    rng = np.random.default_rng(0)
    taste = np.where(np.arange(120) % 2, 1.0, -1.0) * rng.uniform(0.5, 1, 120)

    class Model:
        item_factors_ = np.column_stack([taste, rng.normal(scale=0.05, size=120)])
        user_factors_ = rng.normal(size=(300, 2))
        item_ids_ = np.arange(120)
        item_counts_ = np.full(120, 30)

        def get_params(self, deep=True):
            return {}

    genres = [["Horror"] if t > 0 else ["Musical", "IMAX"] for t in taste]
    fig = plot.factors(Model(), [f"Film {i}, The (1990)" for i in range(120)], genres, n_factors=1, n_items=3)
    (ax,) = fig.axes
    low, high = ([t.get_text() for t in tagged(ax, gid)] for gid in ("low", "high"))
    order = np.argsort(taste)
    ends = [{f"The Film {i}" for i in part} for part in (order[:3], order[-3:])]
    said = [{text.rsplit("  ", 1)[0] for text in low}, {text.split("  ", 1)[1] for text in high}]
    assert said in (ends, ends[::-1])
    assert sorted(t.get_text() for t in tagged(ax, "genres")) == ["Horror", "Musical"]
    fig.canvas.draw()
    boxes = [t.get_window_extent() for t in ax.texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(b.x0 >= 0 and b.x1 <= fig.bbox.x1 for b in boxes)


def test_factors_of_fitted_models_and_axes_given(films):
    assert len(plot.factors(films.models["factors"], n_factors=9, min_ratings=1).axes) == 4  # as many as there are
    alone = Figure().subplots()
    plot.factors(films.models["factors"], ax=alone, min_ratings=1)
    assert alone.get_title(loc="left").startswith("Direction 1: ")
    with pytest.raises(TypeError, match="BiasALS has no item factors"):
        plot.factors(films.models["biases"])
    with pytest.raises(ValueError, match="min_ratings is 9999, with which 0 films are left"):
        plot.factors(films.models["factors"], min_ratings=9999)


# ---- an explanation


def test_explanation_bars_lead_from_the_mean_to_the_prediction(films):
    model = films.models["factors"]
    user, item = films.train.user_ids[3], films.train.item_ids[5]
    explained = model.explain(user, item, n=4)
    titles = {i: f"Film {i}" for i in model.item_ids_.tolist()}
    ax = plot.explanation(explained, titles=titles)
    bars = [b for b in ax.patches if b.get_gid() == "part"]
    ends = [float(explained.parts[0].contribution)]
    for bar, part in zip(bars, explained.parts[1:], strict=True):
        x0, x1 = sorted((ends[-1], ends[-1] + part.contribution))
        assert (bar.get_x(), bar.get_x() + bar.get_width()) == pytest.approx((x0, x1)) or (
            bar.get_x(), bar.get_width()
        ) == pytest.approx((ends[-1], part.contribution))  # fmt: skip
        ends.append(ends[-1] + part.contribution)
    assert ends[-1] == pytest.approx(explained.prediction, abs=1e-4)
    up, down = (
        {
            to_rgba(b.get_facecolor())
            for b, p in zip(bars, explained.parts[1:], strict=True)
            if (p.contribution >= 0) == sign
        }
        for sign in (True, False)
    )
    assert len(up) <= 1
    assert len(down) <= 1
    assert not up & down
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels[0] == "mean of all ratings"
    assert labels[1] == f"Film {item}: bias"
    assert labels[-1] == "predicted"
    assert any(", rated " in label for label in labels)
    low, high = ax.get_xlim()
    assert low < min(ends)
    assert high > max(ends)
    ax.figure.canvas.draw()
    boxes = [t.get_window_extent() for t in tagged(ax, "number")]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert ax.get_title(loc="left") == f"Why {explained.prediction:.2f} is predicted for Film {item}"


def test_explanation_cuts_titles_and_not_the_ratings():
    from alsx.plot._explanation import describe_part

    Part = namedtuple("Part", "part id name rating contribution")
    words = describe_part(Part("rating", 1, "rated 1: 4.5", 4.5, 0.1), {1: "A title that is far too long " * 4})
    assert words.endswith(" …, rated 4.5")
    assert len(words) <= 52
    assert describe_part(Part("prior", None, "expected of any user", None, 0.1), {}) == "expected of any user"


def test_explanation_refuses_a_table(films):
    with pytest.raises(TypeError, match="explained is a list; it must be what model.explain"):
        plot.explanation([])


# ---- all of them


def test_axes_are_taken_and_nothing_is_shown(films):
    """Every picture of one panel draws into the axes that it is given, and returns them."""
    train, new = train_test_split(films.ratings, 0.3, by="cold_users", random_state=0)
    measured = cold_start(alsx.BiasALS().fit(train), new, known=(0, 2))
    assert isinstance(measured, ColdStart)
    model = films.models["factors"]
    explained = model.explain(films.train.user_ids[0], films.train.item_ids[0])
    for draw in (
        lambda ax: plot.rating_distribution(films.ratings, ax=ax),
        lambda ax: plot.popularity(films.ratings, ax=ax),
        lambda ax: plot.errors_by_count(films.models, films.test, ax=ax),
        lambda ax: plot.cold_start(measured, ax=ax),
        lambda ax: plot.explanation(explained, ax=ax),
    ):
        figure = Figure(figsize=(6, 4))
        ax = figure.subplots()
        assert draw(ax) is ax
        assert len(figure.axes) == 1
        assert ax.get_title(loc="left")
        assert ax.get_xlabel()  # what is counted, and in which units
        own = draw(None)
        own.figure.canvas.draw()
        whole, (width, height) = own.figure.get_tightbbox(), own.figure.get_size_inches()
        assert whole.x0 >= 0
        assert whole.y0 >= 0
        assert whole.x1 <= width
        assert whole.y1 <= height

"""The demo set and simulated ratings: what is promised about them, and what is planted in them."""

from __future__ import annotations

import csv
import datetime
import importlib.resources

import numpy as np
import pyarrow as pa
import pytest

from alsx.datasets import MovieLens, load_demo, make_ratings
from alsx.datasets.demo import _simulate, _tables
from alsx.datasets.simulate import _draw, _pairs, _shares
from alsx.datasets.titles import display_title

MOVIELENS_GENRES = {
    *("Action", "Adventure", "Animation", "Children", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
}


@pytest.fixture(scope="module")
def demo():
    return load_demo()


@pytest.fixture(scope="module")
def arrays(demo):
    """Users and items from 0, ratings, timestamps."""
    table = demo.table
    user, item = table["user"].to_numpy() - 1, table["item"].to_numpy() - 1
    return user, item, table["rating"].to_numpy().astype(np.float64), table["timestamp"].to_numpy()


def test_the_films_are_sound():
    text = importlib.resources.files("alsx.datasets").joinpath("demo_films.csv").read_text("utf-8")
    films = list(csv.DictReader(text.splitlines()))
    assert len(films) >= 600
    assert [int(film["item"]) for film in films] == list(range(1, len(films) + 1))
    assert len({film["title"] for film in films}) == len(films)
    for film in films:
        assert film["title"] == film["title"].strip() != ""
        assert display_title(film["title"], alternates=False) == film["title"]
        assert 1920 <= int(film["year"]) <= 2025
        genres = film["genres"].split("|")
        assert genres == sorted(set(genres))
        assert set(genres) <= MOVIELENS_GENRES
    decades = {int(film["year"]) // 10 for film in films}
    assert decades == set(range(192, 203))
    assert {genre for film in films for genre in film["genres"].split("|")} == MOVIELENS_GENRES
    series = [film["series"] for film in films if film["series"]]
    assert all(series.count(name) >= 2 for name in series)


def test_well_known_facts(demo):
    years = dict(zip(demo.items["title"].to_pylist(), demo.items["year"].to_pylist(), strict=True))
    facts = {
        "Toy Story": 1995,
        "The Matrix": 1999,
        "Pulp Fiction": 1994,
        "The Godfather": 1972,
        "Star Wars: Episode IV - A New Hope": 1977,
        "Casablanca": 1942,
        "Spirited Away": 2001,
        "Amélie": 2001,
        "Metropolis": 1927,
        "Parasite": 2019,
    }
    assert {title: years[title] for title in facts} == facts


def test_the_shape_of_the_demo(demo, arrays):
    user, item, rating, timestamp = arrays
    assert isinstance(demo, MovieLens)
    assert demo.simulated is True
    assert "simulated" in repr(demo)
    assert demo.tags is None
    assert demo.users is None
    assert 100_000 <= rating.size <= 130_000
    np.testing.assert_array_equal(np.unique(user), np.arange(2000))
    np.testing.assert_array_equal(np.unique(item), np.arange(demo.items.num_rows))
    assert np.unique(user * 10_000 + item).size == rating.size
    np.testing.assert_array_equal(np.unique(rating), np.arange(1, 11) / 2)
    assert np.bincount(user).min() >= 15
    assert 3.5 < rating.mean() < 3.9
    assert 0.8 < rating.std() < 1.1
    assert [str(kind) for kind in demo.table.schema.types] == ["int32", "int32", "float", "int64"]
    first, last = (datetime.datetime.fromtimestamp(t, datetime.UTC).year for t in (timestamp.min(), timestamp.max()))
    assert (first, last) == (2000, 2025)
    years = demo.items["year"].to_numpy()
    when = timestamp.astype("datetime64[s]").astype("datetime64[Y]").astype(int) + 1970
    assert (when >= years[item]).all()


def test_the_demo_is_the_same_at_every_call(demo, arrays):
    _tables.cache_clear()
    again = load_demo()
    assert again is not demo
    assert again.table.equals(demo.table)
    # Facts rather than bits: other platforms may round single ratings another way.
    _, item, rating, _ = arrays
    assert rating.size == 121_264
    assert rating.mean() == pytest.approx(3.7097, abs=1e-3)
    assert demo.titles(np.argsort(-np.bincount(item), kind="stable")[:3] + 1) == [
        "Forrest Gump",
        "The Lord of the Rings: The Two Towers",
        "Jurassic Park",
    ]


def test_random_state_of_the_process_is_left_alone():
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    _simulate(load_demo().items.to_pylist())
    assert np.random.random() == expected  # noqa: NPY002


def test_popular_and_liked_films_are_rated_more(arrays):
    _, item, rating, _ = arrays
    count = np.bincount(item)
    share = np.sort(count)[::-1].cumsum() / count.sum()
    assert share[count.size // 5] > 0.35  # a fifth of the films has much more than a fifth of the ratings
    mean = np.bincount(item, rating) / count
    assert np.corrcoef(np.log(count), mean)[0, 1] > 0.2


def test_ratings_of_the_demo(demo):
    assert demo.ratings is demo.ratings
    assert demo.ratings.shape == (2000, demo.items.num_rows)
    assert demo.ratings.range == (0.5, 5.0)
    assert demo.ratings.timestamps is not None


def als(user, item, rating, k, reg, reg_bias, sweeps):
    """Alternating least squares with biases, as plain as can be: mean, users (n, k+1), items (m, k+1)."""
    random = np.random.default_rng(0)
    mean = rating.mean()
    sides = [random.normal(0, 0.1, (index.max() + 1, k + 1)) for index in (user, item)]
    for side in sides:
        side[:, k] = 0
    prior = np.diag([reg] * k + [reg_bias])
    rows = []
    for index, other in ((user, item), (item, user)):
        order = np.argsort(index, kind="stable")
        rows.append((np.split(order, np.cumsum(np.bincount(index))[:-1]), other))
    for _ in range(sweeps):
        for swept, fixed, (entries, other) in ((0, 1, rows[0]), (1, 0, rows[1])):
            for row, entry in enumerate(entries):
                across = sides[fixed][other[entry]]
                z = across.copy()
                z[:, k] = 1
                target = rating[entry] - mean - across[:, k]
                sides[swept][row] = np.linalg.solve(z.T @ z + prior, z.T @ target)
    return mean, *sides


@pytest.fixture(scope="module")
def fitted(arrays):
    """Test RMSE of the biases alone, of 20 factors with them, and the films' factors."""
    user, item, rating, _ = arrays
    test = np.random.default_rng(0).random(rating.size) < 0.1

    def fit(k, reg):
        mean, p, q = als(user[~test], item[~test], rating[~test], k, reg, 3.0, 6)
        u, i = user[test], item[test]
        predicted = mean + p[u, k] + q[i, k] + (p[u, :k] * q[i, :k]).sum(axis=1)
        return np.sqrt(np.mean((np.clip(predicted, 0.5, 5) - rating[test]) ** 2)), q[:, :k]

    return fit(0, 1.0)[0], *fit(20, 8.0)


def test_factors_beat_biases(fitted):
    biases, factors, _ = fitted
    assert factors < 0.95 * biases


def test_similar_films_have_similar_factors(demo, fitted):
    q = fitted[2] / np.linalg.norm(fitted[2], axis=1, keepdims=True)
    cosine = q @ q.T
    off = ~np.eye(len(q), dtype=bool)
    series = np.array(demo.items["series"].to_pylist(), dtype=object)
    same = np.array([[a is not None and a == b for a in series] for b in series]) & off
    assert cosine[same].mean() > cosine[off].mean() + 0.4
    genres = [set(g) for g in demo.items["genres"].to_pylist()]
    jaccard = np.array([[len(a & b) / len(a | b) for a in genres] for b in genres])
    nearest = np.argsort(np.where(off, -cosine, np.inf), axis=1)[:, :10]
    assert np.take_along_axis(jaccard, nearest, axis=1).mean() > 1.5 * jaccard[off].mean()
    years = demo.items["year"].to_numpy()
    distance = np.abs(years[:, None] - years)
    assert np.take_along_axis(distance, nearest, axis=1).mean() < 0.8 * distance[off].mean()


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1),
        (7, 5, 35),
        (7, 5, 34),
        (50, 3, 100),
        (3, 1000, 10),
        (1000, 3, 10),
        (300, 2000, 20_000),
        (2000, 300, 9999),
    ],
)
def test_so_many_ratings_and_none_twice(shape):
    n_users, n_items, n_ratings = shape
    blocks = list(_pairs(np.random.default_rng(1), n_users, n_items, n_ratings, 1.35, 1.25))
    user, item = (np.concatenate(side).astype(np.int64) for side in zip(*blocks, strict=True))
    assert user.size == n_ratings
    assert np.unique(user * n_items + item).size == n_ratings
    assert 0 <= user.min() <= user.max() < n_users
    assert 0 <= item.min() <= item.max() < n_items
    if n_ratings >= n_users:
        assert np.unique(user).size == n_users
    if n_ratings >= n_items:
        assert np.unique(item).size == n_items


def test_blocks_do_not_matter_for_the_counts(monkeypatch):
    monkeypatch.setattr("alsx.datasets.simulate._BLOCK_RATINGS", 1000)
    blocks = list(_pairs(np.random.default_rng(1), 500, 4000, 20_000, 1.0, 1.0))
    assert len(blocks) > 10
    assert max(user.size for user, _ in blocks) < 4000
    user, item = (np.concatenate(side).astype(np.int64) for side in zip(*blocks, strict=True))
    assert np.unique(user * 4000 + item).size == user.size == 20_000
    assert (np.diff(user) >= 0).all()


@pytest.mark.parametrize("n_items", [10, 60])
def test_both_ways_to_draw_have_the_same_distribution(n_items):
    """Three of ten items are drawn by times, three of sixty with rejections; by hand one after another."""
    weight = np.arange(1.0, n_items + 1) ** (2 if n_items == 10 else 12)  # so that many are drawn twice
    weight /= weight.sum()
    n, n_users = 3, 5000
    random = np.random.default_rng(0)
    keys = _draw(random, np.full(n_users, n), n_items, weight, np.cumsum(weight), np.empty(0, np.int64))
    found = np.bincount(keys % n_items, minlength=n_items) / n_users
    by_hand = np.zeros(n_items)
    for _ in range(n_users):
        by_hand[random.choice(n_items, n, replace=False, p=weight)] += 1 / n_users
    np.testing.assert_allclose(found, by_hand, atol=0.035)


def test_rejections_replace_what_was_drawn_twice():
    n_items = 1000
    weight = np.where(np.arange(n_items) < 20, 1.0, 1e-3)  # 40 draws among mostly 20 items: many come twice
    cumulated = np.cumsum(weight) / weight.sum()
    keys = np.array([5 * n_items + 999, 7 * n_items], np.int64)
    counts = np.full(50, 40)
    drawn = _draw(np.random.default_rng(0), counts, n_items, weight, cumulated, keys)
    assert np.isin(keys, drawn).all()
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(np.bincount(drawn // n_items), counts)


@pytest.mark.parametrize(
    ("total", "low", "high"), [(100, 0, 50), (1000, 5, 12), (10, 0, 1), (1200, 1, 12), (777, 7, 100)]
)
def test_shares(total, low, high):
    weights = np.random.default_rng(0).lognormal(0, 2, 100)
    shares = _shares(weights, total, low, high)
    assert shares.sum() == total
    assert low <= shares.min() <= shares.max() <= high
    order = np.argsort(weights)
    assert (np.diff(shares[order]) >= -1).all()  # more weight, more shares, but for the rounding


def test_planted_parameters_come_back():
    ratings, truth = make_ratings(
        400, 300, 30_000, k=3, noise=0.5, mean=3.0, step=None, clip=False, dtype="float64", return_truth=True
    )
    user, item, value = ratings.triples()
    user, item = ratings.user_ids[user], ratings.item_ids[item]
    signal = truth.mean + truth.user_biases[user] + truth.item_biases[item]
    signal += (truth.user_factors[user] * truth.item_factors[item]).sum(axis=1)
    noise = value - signal
    assert truth.noise == 0.5
    assert noise.std() == pytest.approx(0.5, rel=0.02)
    assert abs(noise.mean()) < 0.02
    assert abs(np.corrcoef(noise, signal)[0, 1]) < 0.02
    assert truth.user_factors.shape == (400, 3)
    assert truth.item_factors.shape == (300, 3)
    tastes = truth.user_factors @ truth.item_factors.T
    assert tastes.std() == pytest.approx(0.55, rel=0.1)
    assert truth.user_biases.std() == pytest.approx(0.42, rel=0.1)
    assert truth.item_biases.std() == pytest.approx(0.45, rel=0.1)


@pytest.mark.parametrize(("scale", "step"), [((0.5, 5.0), 0.5), ((1.0, 5.0), 1.0), ((1, 10), 1), ((-10.0, 10.0), None)])
def test_scales(scale, step):
    ratings = make_ratings(200, 100, 5_000, scale=scale, step=step)
    _, _, value = ratings.triples()
    low, high = scale
    assert low <= value.min() < value.max() <= high
    if step is not None:
        np.testing.assert_array_equal((value - low) % step, 0)
        assert np.unique(value).size == round((high - low) / step) + 1
    assert value.mean() == pytest.approx(low + 0.675 * (high - low), abs=0.05 * (high - low))


def test_make_ratings_is_seeded():
    one, same, other = (make_ratings(50, 40, 500, random_state=seed).triples() for seed in (3, 3, 4))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    generator = np.random.default_rng(3)
    np.testing.assert_array_equal(make_ratings(50, 40, 500, random_state=generator).triples()[2], one[2])


def test_no_factors_and_no_noise():
    ratings, truth = make_ratings(
        30, 20, 300, k=0, noise=0.0, step=None, clip=False, dtype="float64", return_truth=True
    )
    user, item, value = ratings.triples()
    assert truth.user_factors.shape == (30, 0)
    expected = truth.mean + truth.user_biases[ratings.user_ids[user]] + truth.item_biases[ratings.item_ids[item]]
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shape_and_dtype(dtype):
    ratings = make_ratings(120, 80, 1_000, dtype=dtype)
    assert ratings.shape == (120, 80)
    assert ratings.n_ratings == 1_000
    assert ratings.dtype == np.dtype(dtype)


def test_marginals_like_movielens():
    blocks = list(_pairs(np.random.default_rng(0), 20_000, 8_700, 1_000_000, 1.35, 1.25))
    user, item = (np.concatenate(side) for side in zip(*blocks, strict=True))
    by_user, by_item = np.bincount(user), np.sort(np.bincount(item))[::-1]
    assert by_user.min() >= 10
    assert by_user.max() > 20 * np.median(by_user)
    assert by_item[0] > 0.2 * 20_000  # the most popular item has ratings of a good part of all users
    assert by_item[: by_item.size // 10].sum() > 0.6 * by_item.sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_users": 0}, "n_users is 0; it must be at least 1"),
        ({"n_items": -1}, "n_items is -1; it must be at least 1"),
        ({"n_ratings": 0}, "n_ratings is 0; it must be at least 1"),
        ({"n_users": 3, "n_items": 3, "n_ratings": 10}, "n_ratings is 10; .* pairs of 3 users and 3 items, 9"),
        ({"k": -1}, "k is -1; it must be at least 0"),
        ({"scale": (5, 1)}, r"scale is \(5, 1\); it must be two numbers"),
        ({"scale": (0, float("inf"))}, "scale is"),
        ({"step": 0}, "step is 0; it must be positive"),
        ({"step": 10}, "step is 10; it must be positive and at most the width of the scale, 4.5"),
        ({"noise": -1}, "noise is -1; it must be a number that is not negative"),
        ({"noise": float("nan")}, "noise is nan; it must be"),
        ({"activity": -1}, "activity is -1; it must be"),
        ({"popularity": -0.5}, "popularity is -0.5; it must be"),
        ({"dtype": "int8"}, "dtype is 'int8'; it must be"),
    ],
)
def test_parameters_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_ratings(**arguments)


def test_ids_by_title():
    demo = load_demo()
    everything = demo.items["item"].to_pylist()
    assert [demo.item(title) for title in demo.titles(everything, years=True)] == everything
    assert demo.item(" the MATRIX ") == demo.item("The Matrix") == 2
    with pytest.raises(ValueError, match=r"^title is 'The Matrx', which no film has; .*such as 'The Matrix'"):
        demo.item("The Matrx")
    twice = MovieLens("two", demo.table, demo.items.slice(0, 1).select(["item", "title", "year"]), source=None)
    assert twice.item("toy story (1995)") == 1
    with pytest.raises(ValueError, match=r"which no film has; it must be that of a film$"):
        twice.item("Qqqq")


def test_titles_that_several_films_have():
    films = pa.table({"item": [1, 2], "title": ["Titanic", "Titanic"], "year": [1953, 1997], "genres": [["Drama"]] * 2})
    data = MovieLens("two", films, films)
    assert data.item("Titanic (1997)") == 2
    with pytest.raises(
        ValueError, match=r"which 2 films have; add the year, or take the id: 'Titanic \(1953\)' is 1, "
    ):
        data.item("titanic")

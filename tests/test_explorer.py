"""The explorer page without a browser: what is in the file, its policy, and the model's arithmetic from the numbers in it."""

import base64
import copy
import functools
import hashlib
import html
import itertools
import json
import re
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

import alsx
import alsx.__main__
from alsx import _cli
from alsx.datasets import load_demo, make_ratings
from alsx.examples import explore
from alsx.explorer import write
from alsx.explorer._colours import ON_DARK, colour_pairs
from alsx.explorer._items import listed_from, rating_step
from alsx.explorer._numbers import BIAS_STEP, COLUMN_STEP, ROW_LEVELS, by_column, by_row
from alsx.plot import GENRE_COLOURS, embed, main_genres

SMALL = make_ratings(300, 120, 9000, random_state=1)
TYPES = {"u1": "<u1", "u2": "<u2", "i2": "<u2", "i4": "<u4", "f4": "<f4", "f8": "<f8"}
# What would take a browser somewhere: a scheme, a host, an attribute or a rule of style that names a file.
ADDRESSES = re.compile(
    r"\b(?:https?|wss?|ftp|file|data|blob|javascript):|www\.|(?<![:\w*])//[a-z0-9]|\burl\(|@import|@font-face|\bsrc\s*=|href|"
    r"\bfetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|importScripts|\bimport\(|Worker|localStorage|document\.cookie",
    re.IGNORECASE,
)


@functools.cache
def fitted(kind):
    """A small model of each kind that a page can be made of."""
    if kind == "clicks":
        users, items, _ = SMALL.triples()
        pairs = list(zip(users.tolist(), items.tolist(), strict=True))
        return alsx.RankALS(8, feedback="implicit", random_state=0, max_iter=4).fit(pairs)
    if kind == "features":
        about = pa.table({"item": np.arange(120), "colour": ["red", "blue", "green"] * 40})
        return alsx.FactorALS(6, random_state=0, max_iter=4).fit(SMALL, item_features=about)
    if kind == "updated":
        model = alsx.FactorALS(6, random_state=0, max_iter=4).fit(SMALL)
        model = model.partial_fit([(u, i) for u in range(40) for i in (3, 500)], [4.5, 2.0] * 40)
        return model.fold_in([(u, 501) for u in range(12)], [4.0] * 12, side="item")
    models = {
        "factor": alsx.FactorALS(6, random_state=0, max_iter=5),
        "plain": alsx.FactorALS(5, implicit_features=None, random_state=0, max_iter=3),
        "float64": alsx.FactorALS(5, dtype="float64", reg_scaling=1.0, random_state=0, max_iter=3),
        "bayes": alsx.BayesALS(6, n_samples=8, random_state=0),
        "rank": alsx.RankALS(8, random_state=0, max_iter=4),
    }
    return models[kind].fit(SMALL)


KINDS = ("factor", "plain", "float64", "bayes", "rank", "clicks", "features", "updated")


def part(text, name):
    """The text of an element of the page with this id."""
    return re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', text, re.DOTALL)[1]


def read(path):
    """What a page holds: its words, and its arrays as numbers."""
    text = path.read_text("utf-8")
    about = json.loads(part(text, "about"))
    block = zlib.decompress(base64.b64decode(part(text, "data"), validate=True))
    found, at = {}, 0
    for name, kind, length in about["arrays"]:
        size = 1 if kind == "text" else int(kind[1])
        piece = block[at : at + size * length]
        at += size * length
        if kind == "text":
            found[name] = piece.decode()
            continue
        planes = np.frombuffer(piece, np.uint8).reshape(size, length)
        values = np.ascontiguousarray(planes.T).view(TYPES[kind]).reshape(-1)
        if kind[0] == "i":
            values = (values >> 1).astype(np.int64) ^ -(values & 1).astype(np.int64)
        found[name] = values
    assert at == len(block)
    return SimpleNamespace(text=text, about=SimpleNamespace(**about), **found)


@pytest.fixture
def page(tmp_path):
    """Write a page and read it; points lie at random, which needs no embedding."""

    def make(model, **options):
        path = tmp_path / "page.html"
        if "positions" not in options:
            options["positions"] = np.random.default_rng(0).random((len(model.item_ids_), 2))
        assert write(model, path, **options) == path
        return read(path)

    return make


# ---------------------------------------------------------------------------------------------------------------------
# The arithmetic of the page, slowly


class Twin:
    """The script's model.js in NumPy, on the numbers of the file alone."""

    def __init__(self, page):
        self.page, about = page, page.about
        k, n = about.k, about.n
        self.k, self.n, self.about = k, n, about
        self.q = page.factors.reshape(n, k) * page.factor_step.astype(float)[:, None]
        self.c = page.bias * about.bias_step
        self.counts = page.counts
        self.table = np.column_stack([self.q, self.c])
        if hasattr(page, "solving"):
            self.table = self.table + page.solving.reshape(n, k + 1) * page.solving_step.astype(float)

    def get(self, name, shape):
        return getattr(self.page, name, np.zeros(0)).reshape(shape) if hasattr(self.page, name) else None

    def solve(self, items, ratings):
        about, k, n = self.about, self.k, len(items)
        mean = self.get("prior_mean", k + 1)
        mean = np.zeros(k + 1) if mean is None else mean.copy()
        total = n * about.weight
        effects = self.get("effects", (self.n, k + 1))
        if effects is not None:
            rated = (effects[items] * self.page.effect_step.astype(float)).sum(axis=0)
            mean += about.weight * rated / np.sqrt(total + about.set_prior_count)
        unrated = self.get("unrated_mean", k + 1)
        if unrated is not None:
            share = total / max(total + about.typical_min_count - 1, 1)
            mean = share * mean + (1 - share) * unrated
        prior = self.get("precision", (k + 1, k + 1))
        if prior is None:
            scale = max(total, about.min_count) ** about.exponent
            prior = scale * np.diag([about.reg] * k + [about.reg_bias])
        z = np.column_stack([self.table[items, :k], np.ones(n)])
        values = np.asarray(ratings) if about.value is None else np.full(n, about.value)
        targets = (values - about.mean) / about.unit - self.table[items, k]
        A, h = about.weight * z.T @ z + prior, about.weight * z.T @ targets + prior @ mean
        gram = self.get("gram", (k + 2, k + 2))
        if gram is not None:
            A, h = A + gram[: k + 1, : k + 1], h + gram[: k + 1, k + 1]
        return np.linalg.solve(A, h)

    def predict(self, vector):
        return self.about.mean + vector[-1] + self.c + self.q @ vector[:-1]

    def scores(self, items, vector, strategy):
        if strategy == "mean":
            return self.predict(vector)
        lists, judged = self.about.lists, vector.copy()
        directions = self.get("directions", (self.k, self.k))
        own = (self.q[items] @ directions.T).sum(axis=0) + lists["prior_ratings"] * self.page.direction_of_all
        judged[:-1] += own / (len(items) + lists["prior_ratings"])
        return self.predict(judged) + lists["unit"] * np.log1p(self.counts)

    def cosines(self, item):
        unit = self.q / np.linalg.norm(self.q, axis=1, keepdims=True)
        return unit @ unit[item]


def five(model):
    """Five well-known items, and somebody's ratings of them."""
    order = np.argsort(-model.item_counts_, kind="stable")[[0, 3, 7, 12, 20]]
    return order, [1.0] * 5 if model.get_params().get("feedback") == "implicit" else [5.0, 4.5, 4.0, 2.0, 3.0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_solved_from_the_file_is_that_of_fold_in(kind, page):
    model = fitted(kind)
    twin = Twin(page(model))
    order, ratings = five(model)
    ids = model.item_ids_[order].tolist()
    for some in (5, 1):
        new = model.fold_in([(10**6, item) for item in ids[:some]], None if kind == "clicks" else ratings[:some])
        row = int(np.flatnonzero(new.user_ids_ == 10**6)[0])
        vector = np.append(new.user_factors_[row], new.user_biases_[row])
        solved = twin.solve(order[:some], ratings[:some])
        np.testing.assert_allclose(solved, vector, atol=1e-4, rtol=0)
        everything = new._predict_codes(np.full(twin.n, row, np.int32), np.arange(twin.n, dtype=np.int32), False)
        np.testing.assert_allclose(twin.predict(solved), everything, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_lists_from_the_file_are_those_of_recommend(kind, page):
    model = fitted(kind)
    twin = Twin(page(model))
    order, ratings = five(model)
    solved = twin.solve(order, ratings)
    mapping = dict(zip(model.item_ids_[order].tolist(), ratings, strict=True))
    assert twin.about.default_strategy == model._default_strategy
    for strategy in ("propensity", "mean") if twin.about.lists else ("mean",):
        ids, scores = model.recommend(ratings=mapping, n=10, strategy=strategy, min_ratings=5)
        own = twin.scores(order, solved, strategy)
        places = np.searchsorted(model.item_ids_, ids)
        np.testing.assert_allclose(own[places], scores, atol=3e-4, rtol=0)
        own[order] = own[twin.counts < 5] = -np.inf
        # Nothing else is better, but for what is as good as equal.
        assert np.sort(own)[-10] - own[places].min() < 3e-4


@pytest.mark.parametrize("kind", KINDS)
def test_cosines_from_the_file_are_those_of_similar_items(kind, page):
    model = fitted(kind)
    twin = Twin(page(model))
    for item in (0, 17, 63):
        ids, cosines = model.similar_items(model.item_ids_[item], 10)
        own = twin.cosines(item)
        np.testing.assert_allclose(own[np.searchsorted(model.item_ids_, ids)], cosines, atol=1e-4, rtol=0)
        own[item] = -2
        assert np.sort(own)[-10] - cosines[-1] < 1e-4


def test_items_without_factors_are_not_compared(page):
    pairs = [(u, i) for u in range(8) for i in range(6)]
    stars = np.random.default_rng(0).integers(1, 6, size=48)
    model = alsx.FactorALS(2, implicit_features=None, random_state=0).fit(pairs, stars)
    assert not hasattr(page(model), "incomparable")
    model._items.table[2, :2] = 0
    del model._items.__dict__["lengths"], model._items.__dict__["comparable"], model._items.__dict__["directions"]
    found = page(model)
    assert found.incomparable.tolist() == [0, 0, 1, 0, 0, 0]
    assert np.isfinite(found.factor_step).all()


@given(
    st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), min_size=1, max_size=8),
    st.floats(1e-3, 1e3),
)
@settings(max_examples=60)
def test_steps_round_by_half_a_step_at_most(rows, factor):
    table = np.array(rows) * factor
    by = by_row(table)
    assert (np.abs(by.whole) <= ROW_LEVELS).all()
    error = np.abs(by.whole * by.step.astype(float)[:, None] - table)
    assert (error <= 0.505 / ROW_LEVELS * np.abs(table).max(axis=1, keepdims=True) + 1e-30).all()
    scale = np.abs(table).max(axis=0)
    by = by_column(table, scale)
    error = np.abs(by.whole * by.step.astype(float) - table)
    assert (error <= 0.501 * COLUMN_STEP * scale + 1e-30).all()


def test_numbers_too_large_for_the_step_get_a_larger_one():
    by = by_column(np.array([[100.0], [-50.0]]), np.array([1e-3]))
    np.testing.assert_allclose(by.whole * by.step.astype(float), [[100.0], [-50.0]], rtol=1e-4)


# ---------------------------------------------------------------------------------------------------------------------
# What is in the file


@pytest.fixture(scope="module")
def demo():
    """The demo set and a model of it."""
    films = load_demo()
    return films, alsx.FactorALS(8, max_iter=4, random_state=0).fit(films.ratings)


def test_what_is_known_of_the_items_is_in_the_file(demo, page):
    films, model = demo
    found = page(model, items=films, source="demo, simulated")
    ids, about = model.item_ids_, found.about
    assert found.ids.tolist() == ids.tolist()
    assert found.titles.split("\n") == films.titles(ids)
    assert found.years.tolist() == films.items["year"].to_pylist()
    assert found.counts.tolist() == model.item_counts_.tolist()
    starts = np.concatenate([[0], np.cumsum(found.genre_counts, dtype=int)])
    own = [[about.genres[c] for c in found.genre_codes[a:b]] for a, b in itertools.pairwise(starts)]
    assert own == films.genres_of(ids)
    named = [*about.genres, *["other"] * 300]
    assert [named[g] for g in found.main_genre] == main_genres(films.genres_of(ids))
    _, items, stars = films.ratings.triples()
    means = np.bincount(items, stars) / np.bincount(items)
    np.testing.assert_allclose(0.5 + (found.means - 1.0) / 65534 * 4.5, means, atol=1e-4)
    assert (about.noun, about.nouns, about.title, about.source) == ("film", "films", "Map of films", "demo, simulated")
    assert (about.range, about.step, about.model) == ([0.5, 5.0], 0.5, "FactorALS")
    assert (about.n, about.n_users, about.n_ratings) == (747, 2000, len(stars))
    assert abs(BIAS_STEP * np.abs(model.item_biases_).max() - about.bias_step) < 1e-9


def test_well_known_items_lie_where_the_map_draws_them(demo, tmp_path):
    films, model = demo
    counts = model.item_counts_
    floor = int(np.sort(counts)[-150])
    write(model, tmp_path / "page.html", items=films, shown_from=floor)
    found = read(tmp_path / "page.html")
    assert found.about.shown_from == floor
    rows = np.flatnonzero(counts >= floor)
    rows = rows[np.argsort(-counts[rows], kind="stable")]
    drawn = embed(model.item_factors_[rows], random_state=0)  # what embedding_map(min_ratings=floor) calls
    whole = found.places.reshape(-1, 2)[rows].astype(float)
    for axis in (0, 1):
        fit = np.polyfit(drawn[:, axis], whole[:, axis], 1)
        assert fit[0] > 0
        assert np.abs(np.polyval(fit, drawn[:, axis]) - whole[:, axis]).max() < 2
    # Of 65,535 parts: others lie beside one of the items that they are most similar to.
    unit = model.item_factors_ / np.linalg.norm(model.item_factors_, axis=1, keepdims=True)
    places = found.places.reshape(-1, 2).astype(float)
    others = np.setdiff1d(np.arange(747), rows)
    near = rows[np.argsort(-unit[others] @ unit[rows].T, axis=1)[:, :5]]
    apart = np.linalg.norm(places[near] - places[others][:, None], axis=2).min(axis=1)
    assert np.median(apart) < 3000
    assert apart.max() < 15000


def test_items_of_any_ids_without_titles_or_anything_else(page):
    users, items, stars = SMALL.triples()
    names = np.array([f"item-é{i}" for i in range(120)])
    model = alsx.FactorALS(4, random_state=0, max_iter=3).fit(
        alsx.Ratings.from_arrays(users.astype(str), names[items], 10 * stars)
    )
    found = page(model)
    assert found.titles.split("\n") == sorted(names) == found.ids.split("\n")
    assert found.about.genres is None
    assert (found.about.noun, found.about.nouns, found.about.title) == ("item", "items", "Map of items")
    assert not hasattr(found, "years")
    assert found.about.range == [5, 50]
    assert found.about.step == 5
    assert page(model.set_titles({names[0]: "Toy Story (1995)"})).years[0] == 1995


def test_ids_beyond_32_bits_are_texts(page):
    users, items, stars = SMALL.triples()
    model = alsx.FactorALS(4, random_state=0, max_iter=3).fit(
        alsx.Ratings.from_arrays(users, items.astype(np.int64) + 2**40, stars)
    )
    assert page(model).ids.split("\n") == [str(2**40 + i) for i in range(120)]


def test_models_without_the_values_of_ratings(page, tmp_path):
    model = fitted("factor")
    model.save(tmp_path / "model.npz", with_ratings=False)
    found = page(alsx.load(tmp_path / "model.npz"))
    assert not hasattr(found, "means")
    assert found.about.step == pytest.approx(4.5 / 20)


def test_a_data_frame_tells_of_some_items(page):
    items = pa.table(
        {"item": [5, 3, 999], "title": ["Five", None, "unknown to the model"], "year": [1999.0, None, 2000.0],
         "genres": ["Comedy|Drama", "(no genres listed)", None]}
    )  # fmt: skip
    found = page(fitted("factor"), items=items, noun="records")
    titles = found.titles.split("\n")
    assert (titles[5], titles[3], titles[4]) == ("Five", "3", "4")
    assert found.years[[3, 4, 5]].tolist() == [0, 0, 1999]
    assert found.about.genres == ["Comedy", "Drama"]
    assert found.genre_counts.sum() == 2
    assert found.about.noun == "record"


def test_few_ratings_leave_items_out(page):
    model = fitted("factor")
    found = page(model, min_ratings=100)
    enough = model.item_counts_ >= 100
    assert found.ids.tolist() == model.item_ids_[enough].tolist()
    assert found.about.shown_from >= 100


def test_from_how_many_ratings_items_are_shown():
    assert listed_from([1000] * 100) == 20
    assert listed_from([5] * 100) == 5
    assert listed_from([2, 0, 9]) == 2
    assert listed_from([0, 0]) == 0
    assert listed_from([100_000] * 400) == 200


def test_colours_can_be_told_from_the_dark_page():
    names = list(GENRE_COLOURS)

    def luminance(colour):
        shares = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
        return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    assert set(ON_DARK) <= set(GENRE_COLOURS.values())
    pairs = colour_pairs(names)
    assert [light for light, _ in pairs] == [GENRE_COLOURS[name] for name in names]
    assert len({dark for _, dark in pairs}) == len(names)
    for _, dark in pairs:
        assert (luminance(dark) + 0.05) / (luminance("#14171c") + 0.05) > 2.9


def test_marks_of_a_scale(page):
    assert rating_step(fitted("factor")) == 0.5
    users, items, _ = SMALL.triples()
    values = np.random.default_rng(0).normal(size=len(users))
    model = alsx.FactorALS(3, random_state=0, max_iter=2).fit(alsx.Ratings.from_arrays(users, items, values))
    assert rating_step(model) == pytest.approx((values.max() - values.min()) / 20, rel=1e-5)
    same = alsx.FactorALS(3, random_state=0, max_iter=2).fit(
        alsx.Ratings.from_arrays(users, items, np.full(len(users), 3.0))
    )
    assert page(same).about.step == 1.0


def test_the_file_is_as_small_as_promised(page):
    ratings = make_ratings(500, 3000, 90_000, random_state=0)
    model = alsx.FactorALS(20, max_iter=8, random_state=0).fit(ratings)
    letters = np.random.default_rng(0).integers(97, 123, size=(3000, 18)).astype(np.uint8)
    titles = ["".join(map(chr, row)) for row in letters]
    items = pa.table(
        {
            "item": np.arange(3000),
            "title": titles,
            "year": 1950 + np.arange(3000) % 70,
            "genres": ["a|b", "c", "d"] * 1000,
        }
    )
    small = page(model, items=items)
    rest = len(small.text) - len(part(small.text, "data"))
    assert rest < 100_000
    # Of 90,000 items, most of which have a few ratings, benchmarks/explorer_page.py makes 11.8 MB, 131 bytes each.
    assert len(part(small.text, "data")) / 3000 < 150


# ---------------------------------------------------------------------------------------------------------------------
# The file as a page


def test_the_policy_allows_this_script_and_this_style_alone(demo, page):
    text = page(demo[1], items=demo[0]).text
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)[1]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    bodies = {
        "script-src": re.findall(r"<script>(.*?)</script>", text, re.DOTALL),
        "style-src": re.findall(r"<style>(.*?)</style>", text, re.DOTALL),
    }
    for name, found in bodies.items():
        assert len(found) == 1
        digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
        assert rules.pop(name) == f"'sha256-{digest}'"
    assert rules == {"base-uri": "'none'", "form-action": "'none'"}
    assert text.index("Content-Security-Policy") < text.index("<style>")
    # What a policy with hashes would refuse: styles and handlers as attributes.
    markup = re.sub(r"<(script|style)\b[^>]*>.*?</\1>", "", text, flags=re.DOTALL)
    assert not re.search(r"\s(style|on\w+)\s*=", markup)
    assert len(re.findall(r"<script", text)) == 3


def test_there_is_no_address_in_the_file(demo, page):
    text = page(demo[1], items=demo[0]).text
    assert all(map(ADDRESSES.search, ("see HTTPS://example.org", "<img src=x>", "//cdn.example", "url(x)")))
    block = part(text, "data")
    assert re.fullmatch(r"[A-Za-z0-9+/=]+", block)
    assert ADDRESSES.findall(text.replace(block, "").replace("http-equiv", "")) == []


def test_words_cannot_become_markup(page):
    bad = "</script><script>alert(1)</script><!-- \"&'\u2028"
    model = copy.deepcopy(fitted("factor")).set_titles({3: bad, 4: "two\nlines", 5: " "})
    found = page(
        model,
        title=bad,
        source=bad,
        noun=bad,
        items=pa.table({"item": [3, 4, 5], "title": [bad, "two\nlines", " "], "genres": [[bad], [], []]}),
    )
    assert found.text.count("<script") == 3
    assert found.text.count("</script") == 3
    assert "<!--" not in found.text
    assert found.about.title == found.about.source == bad
    assert found.about.genres == [bad]
    titles = found.titles.split("\n")
    assert (titles[3], titles[4], titles[5]) == (" ".join(bad.split()), "two lines", "5")
    assert f"<title>{html.escape(bad)}</title>" in found.text
    assert "{{" not in found.text.replace(part(found.text, "about"), "").replace("${", "")


def test_the_file_is_the_same_on_every_call_and_ends_a_failed_one_whole(demo, tmp_path):
    films, model = demo
    path = tmp_path / "page.html"
    positions = np.random.default_rng(0).random((747, 2))
    write(model, path, items=films, positions=positions)
    before = path.read_bytes()
    with pytest.raises(ValueError):
        write(model, path, items=films, positions=positions[:3])
    write(model, path, items=films, positions=positions)
    assert path.read_bytes() == before


# ---------------------------------------------------------------------------------------------------------------------
# Refusals


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"items": 3}, TypeError, "items is of type int; it must be a data frame"),
        ({"items": pa.table({"item": [1], "name": ["x"]})}, ValueError, "items has none of the columns title, year and genres"),
        ({"items": pa.table({"item": ["a"], "title": ["x"]})}, TypeError, "items"),
        ({"items": pa.table({"item": [1], "year": ["x"]})}, ValueError, "items has the year 'x'; it must be a number such as 1999"),
        ({"items": pa.table({"item": [1], "year": [-3]})}, ValueError, "items has the year -3; it must be from 1 to 9999"),
        ({"min_ratings": 10**6}, ValueError, r"min_ratings is 1000000, but the most rated of the 120 items has \d+ ratings"),
        ({"shown_from": 10**6}, ValueError, "shown_from is 1000000, but the most rated"),
        ({"min_ratings": -1}, ValueError, "min_ratings is -1"),
        ({"max_embedded": 0}, ValueError, "max_embedded is 0"),
        ({"noun": " "}, ValueError, "noun is ' '; it must be a word"),
        ({"positions": np.zeros((3, 2))}, ValueError, "positions has 3 entries for 120 items"),
        ({"positions": np.full((120, 2), np.nan)}, ValueError, "positions is nan in row 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_page_is_refused(options, error, says, tmp_path):
    with pytest.raises(error, match=says) as caught:
        write(fitted("factor"), tmp_path / "page.html", **options)
    assert len(str(caught.value)) <= 300
    assert not str(caught.value).endswith(".")
    assert list(tmp_path.iterdir()) == []


def test_models_without_factors_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="model is a BiasALS without factors, so that its items have no places on a map; give a"
    ):
        write(alsx.BiasALS().fit(SMALL), tmp_path / "page.html")
    with pytest.raises(TypeError, match="model is int; it must be a fitted FactorALS, BayesALS or RankALS"):
        write(3, tmp_path / "page.html")
    with pytest.raises(TypeError, match="model is FactorALS"):
        write(alsx.FactorALS, tmp_path / "page.html")
    with pytest.raises(NotFittedError):
        write(alsx.FactorALS(), tmp_path / "page.html")


# ---------------------------------------------------------------------------------------------------------------------
# Commands


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Run a command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(start, *words, code=0):
        monkeypatch.setattr(sys, "argv", ["alsx", *map(str, words)])
        left = 0
        try:
            start()
        except SystemExit as leave:
            left = leave.code
        out = capsys.readouterr()
        assert left == code, out.out + out.err
        return out

    return call


def run_example():
    _cli.run(explore.explore, "python -m alsx.examples.explore", {"random_state": "seed"})


def test_the_example_writes_a_page(command, tmp_path):
    out = command(run_example, "--k=4", "--iterations=2", "--out=made/here")
    found = read(tmp_path / "made" / "here" / "explorer.html")
    assert found.about.n == 747
    assert "simulated" in found.about.source
    assert found.about.noun == "film"
    assert "explorer.html" in out.out
    assert "SIMULATED" in out.out
    out = command(run_example, "--k=0", code=2)
    assert "--k is 0" in out.err


def test_the_command_writes_the_page_of_a_saved_model(command, demo, tmp_path):
    films, model = demo
    model.save(tmp_path / "model.npz")
    out = command(alsx.__main__.main, "explore", "model.npz", "--items=demo", "--shown-from=400", "--out=films.html")
    found = read(tmp_path / "films.html")
    assert found.about.genres
    assert found.about.noun == "film"
    assert found.titles.split("\n")[0] == films.titles([model.item_ids_[0]])[0]
    assert out.out.strip().startswith("films.html")
    table = tmp_path / "items.csv"
    table.write_text("item,title\n1,One\n2,Two\n")
    command(
        alsx.__main__.main,
        "explore",
        "model.npz",
        f"--items={table}",
        "--noun=things",
        "--title=Mine",
        "--shown-from=400",
    )
    found = read(tmp_path / "explorer.html")
    assert found.about.title == "Mine"
    assert found.about.nouns == "things"
    assert found.titles.split("\n")[:3] == ["One", "Two", "3"]


def test_the_command_refuses_in_one_line(command, tmp_path):
    alsx.BiasALS().fit(SMALL).save(tmp_path / "bias.npz")
    fitted("factor").save(tmp_path / "model.npz")
    for words, says in (
        (["bias.npz"], "BiasALS"),
        (["nothing.npz"], "there is no model file"),
        (["model.npz", "--items=nothing.csv"], "--items is nothing.csv; there is no such file"),
        (["model.npz", "--shown-from=100000"], "--shown-from is 100000"),
        (["model.npz", "--out=no/such/folder.html"], "--out"),
    ):
        out = command(alsx.__main__.main, "explore", *words, code=2)
        assert says in out.err
        assert len(out.err.splitlines()) == 1
    assert not (tmp_path / "explorer.html").exists()

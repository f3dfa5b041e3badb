"""The pictures: what is drawn is the data, similar items lie together, labels keep apart, nothing global changes."""

import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

import alsx
from alsx import plot
from alsx.plot._labels import short_title

GENRES = ["Comedy", "Horror", "Sci-Fi", "Western"]


@pytest.fixture(scope="module")
def clustered():
    """Four tastes of 40 items each, with titles, genres and counts."""
    rng = np.random.default_rng(3)
    taste = np.repeat(np.arange(4), 40)
    vectors = np.eye(8)[taste] + rng.normal(scale=0.15, size=(160, 8))
    return SimpleNamespace(
        vectors=vectors * rng.uniform(0.2, 3, size=(160, 1)),  # the length must not matter
        taste=taste,
        titles=[f"Film of Some Length {i}, The ({1950 + i % 70})" for i in range(160)],
        genres=[["Drama", GENRES[t]] for t in taste],
        counts=rng.integers(20, 400, size=160),
    )


@pytest.fixture(scope="module")
def drawn(clustered):
    c = clustered
    return plot.embedding_map(c.vectors, c.titles, c.genres, c.counts, source="Simulated", n_labels=30)


def tagged(ax, gid):
    return [t for t in ax.texts if t.get_gid() == gid]


def extents(ax, texts):
    width, height = ax.figure.get_size_inches() * ax.figure.dpi
    renderer = RendererAgg(int(width), int(height), ax.figure.dpi)
    FigureCanvasAgg(ax.figure).draw()  # only then do annotations know where they are
    return [Text.get_window_extent(t, renderer) for t in texts]


def purity(positions, taste, m=5):
    distance = ((positions[:, None] - positions[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    return (taste[np.argsort(distance, axis=1)[:, :m]] == taste[:, None]).mean()


# ---- embed


def test_tsne_keeps_tastes_together(clustered):
    assert purity(plot.embed(clustered.vectors), clustered.taste) > 0.97


def test_pca_keeps_more_than_chance(clustered):
    # Two of three dimensions between four tastes: better than the chance of 0.25, worse than t-SNE.
    assert purity(plot.embed(clustered.vectors, "pca"), clustered.taste) > 0.6


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_embed_is_deterministic_centred_and_lies_across(clustered, method):
    one = plot.embed(clustered.vectors, method)
    assert one.shape == (160, 2)
    assert one.dtype == np.float64
    np.testing.assert_array_equal(one, plot.embed(clustered.vectors, method))
    np.testing.assert_allclose(one.mean(axis=0), 0, atol=1e-9 * np.abs(one).max())
    assert one[:, 0].std() >= one[:, 1].std()


def test_embed_does_not_change_its_input_or_global_random_state(clustered):
    before, state = clustered.vectors.copy(), np.random.get_state()[1].copy()  # noqa: NPY002 - the global one is meant
    clustered.vectors.flags.writeable = False
    try:
        plot.embed(clustered.vectors, max_iter=250)
    finally:
        clustered.vectors.flags.writeable = True
    np.testing.assert_array_equal(clustered.vectors, before)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_pca_is_scikit_learns_up_to_sign(clustered):
    from sklearn.decomposition import PCA

    unit = clustered.vectors / np.linalg.norm(clustered.vectors, axis=1, keepdims=True)
    ours = plot.embed(clustered.vectors, "pca")
    theirs = PCA(2, svd_solver="full").fit_transform(unit)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 12])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_embed_small(n, k):
    positions = plot.embed(np.random.default_rng(n).normal(size=(n, k)), max_iter=250)
    assert positions.shape == (n, 2)
    assert np.isfinite(positions).all()


@pytest.mark.parametrize("vectors", [np.zeros((20, 3)), np.ones((20, 3)), np.eye(3)[[0, 1] * 10]])
def test_embed_of_equal_vectors_is_finite(vectors):
    assert np.isfinite(plot.embed(vectors, max_iter=250)).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"vectors": np.ones(5)}, ValueError, r"vectors has the shape \(5,\); it must be \(n, k\) with n, k >= 1"),
        ({"vectors": np.empty((0, 3))}, ValueError, r"vectors has the shape \(0, 3\)"),
        ({"vectors": [["a", "b"]]}, ValueError, "vectors is of dtype <U1; it must be numbers"),
        (
            {"vectors": [[1.0, 2.0], [1.0, np.nan], [np.inf, 0.0]]},
            ValueError,
            r"vectors is nan in row 1, column 1 \(2 such rows\)",
        ),
        ({"method": "umap"}, ValueError, "method is 'umap'; it must be 'tsne' or 'pca'"),
        ({"perplexity": 0.5}, ValueError, "perplexity is 0.5; it must be a finite number at least 1"),
        ({"perplexity": np.nan}, ValueError, "perplexity is nan; it must be"),
        ({"perplexity": "30"}, TypeError, "perplexity is '30'; it must be a number"),
        ({"max_iter": 100}, ValueError, "max_iter is 100; it must be at least 250"),
        ({"max_iter": True}, TypeError, "max_iter is True; it must be an integer of at least 250"),
    ],
)
def test_embed_refuses(change, error, message):
    with pytest.raises(error, match=message):
        plot.embed(**({"vectors": np.ones((6, 2))} | change))


# ---- genres


def slow_jaccard(points, genres, m):
    sets = [set(g) for g in genres]
    n = len(sets)
    index = np.array([[len(a & b) / len(a | b) for b in sets] for a in sets])
    distance = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1)[:, :m]
    return index[np.arange(n)[:, None], near].mean(), (index.sum() - n) / (n * (n - 1))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbour_jaccard_is_the_definition(metric):
    rng = np.random.default_rng(1)
    points = rng.normal(size=(60, 4))
    genres = [[g for g in "abcde" if rng.random() < 0.4] or ["f"] for _ in range(60)]
    looked_at = points / np.linalg.norm(points, axis=1, keepdims=True) if metric == "cosine" else points
    got = plot.neighbour_jaccard(points, genres, n_neighbours=7, metric=metric)
    np.testing.assert_allclose(got, slow_jaccard(looked_at, genres, 7), rtol=1e-12)


def test_neighbour_jaccard_leaves_out_items_without_genre():
    points = np.random.default_rng(1).normal(size=(40, 3))
    genres = ["a|b", "b", None, "", []] * 8
    keep = [i for i, g in enumerate(genres) if g]
    expected = plot.neighbour_jaccard(points[keep], [genres[i].split("|") for i in keep])
    assert plot.neighbour_jaccard(points, genres) == expected


def test_neighbour_jaccard_refuses():
    with pytest.raises(
        ValueError, match="n_neighbours is 10; it must be less than the number of items with a genre, 2"
    ):
        plot.neighbour_jaccard(np.ones((12, 2)), ["a", "b"] + [None] * 10)
    with pytest.raises(ValueError, match="genres has 3 entries for 12 items"):
        plot.neighbour_jaccard(np.ones((12, 2)), ["a"] * 3)
    with pytest.raises(ValueError, match="metric is 'manhattan'; it must be"):
        plot.neighbour_jaccard(np.ones((12, 2)), ["a"] * 12, metric="manhattan")


def test_main_genre_is_the_rarest_of_those_kept():
    genres = ["Comedy"] * 5 + ["Comedy|Horror"] * 3 + ["Comedy|Western|IMAX"] + [None]
    assert plot.main_genres(genres, 3) == ["Comedy"] * 5 + ["Horror"] * 3 + ["Western", "other"]
    assert plot.main_genres(genres, 2) == ["Comedy"] * 5 + ["Horror"] * 3 + ["Comedy", "other"]
    assert plot.main_genres(genres, 1) == ["Comedy"] * 9 + ["other"]
    assert plot.main_genres([], 3) == []


# ---- the map


def test_map_draws_every_item_where_embed_puts_it(clustered):
    c = clustered
    place = plot.embed(c.vectors, "pca")
    ax = plot.embedding_map(c.vectors, c.titles, c.genres, c.counts, method="pca")
    points = np.asarray(ax.collections[0].get_offsets())
    order = np.argsort(-c.counts, kind="stable")
    assert {tuple(p) for p in points.round(9)} == {tuple(p) for p in place[order].round(9)}


def test_map_legend_counts_and_colours(drawn, clustered):
    genre, ratings = [a for a in drawn.get_children() if isinstance(a, mpl.legend.Legend)]
    if genre.get_title().get_text() != "Genre":
        genre, ratings = ratings, genre
    said = dict(t.get_text().rsplit("  ", 1) for t in genre.get_texts())
    assert said == dict.fromkeys(GENRES, "40")  # each rarer than Drama, which all have
    assert ratings.get_title().get_text() == "Ratings"
    drawn_colours = {tuple(np.round(c[:3], 6)) for c in drawn.collections[0].get_facecolors()}
    assert drawn_colours == {tuple(np.round(to_rgb(h.get_color()), 6)) for h in genre.legend_handles}


def test_map_point_has_the_colour_of_its_genre_and_grows_with_its_ratings():
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(8, 2))
    genres, counts = ["a", "b"] * 4, np.array([20, 30, 40, 50, 100, 200, 400, 800])
    ax = plot.embedding_map(np.ones((8, 3)), None, genres, counts, positions=positions)
    points = ax.collections[0]
    row = [int(np.flatnonzero((positions == p).all(axis=1))[0]) for p in np.asarray(points.get_offsets())]
    colour = dict(zip(row, map(tuple, points.get_facecolors()[:, :3]), strict=True))
    assert len({colour[i] for i in (0, 2, 4, 6)}) == len({colour[i] for i in (1, 3, 5, 7)}) == 1
    assert colour[0] != colour[1]
    size = dict(zip(row, points.get_sizes(), strict=True))
    assert [size[i] for i in range(8)] == sorted(size.values())
    assert size[7] > 5 * size[0]


def distances_to_points(ax, boxes):
    """From each box to the edge of each point, in points; negative where they overlap."""
    points = ax.collections[0]
    at = ax.transData.transform(np.asarray(points.get_offsets()))
    radius = np.sqrt(points.get_sizes()) / 2 * ax.figure.dpi / 72
    box = np.array([(b.x0, b.y0, b.x1, b.y1) for b in boxes])
    dx = np.maximum(box[:, :1] - at[:, 0], at[:, 0] - box[:, 2:3])
    dy = np.maximum(box[:, 1:2] - at[:, 1], at[:, 1] - box[:, 3:])
    return (np.hypot(np.clip(dx, 0, None), np.clip(dy, 0, None)) - radius) * 72 / ax.figure.dpi


def test_labels_touch_no_point_no_name_and_one_another(drawn):
    labels = tagged(drawn, "label")
    assert 10 <= len(labels) <= 30
    boxes = extents(drawn, labels + tagged(drawn, "region"))
    for a, b in combinations(boxes, 2):
        assert not a.overlaps(b)
    frame = drawn.get_window_extent()
    for box in boxes[: len(labels)]:
        assert frame.x0 < box.x0
        assert box.x1 < frame.x1
        assert frame.y0 < box.y0
        assert box.y1 < frame.y1
    assert distances_to_points(drawn, boxes[: len(labels)]).min() > 0


def test_every_label_has_an_evident_point(drawn):
    """Beside it or at the end of a line, and that point has a dark edge."""
    marked = {tuple(p.round(9)) for p in np.asarray(drawn.collections[-1].get_offsets())}
    leaders = {tuple(np.round(t.xy, 9)) for t in tagged(drawn, "leader")}
    labels = tagged(drawn, "label")
    assert {tuple(np.round(t.xy, 9)) for t in labels} == marked
    edge = drawn.collections[-1].get_edgecolors()[0]
    np.testing.assert_allclose(edge[:3], to_rgb("#222222"))
    for text, box in zip(labels, extents(drawn, labels), strict=True):
        x, y = drawn.transData.transform(text.xy)
        away = np.hypot(max(box.x0 - x, x - box.x1, 0), max(box.y0 - y, y - box.y1, 0)) * 72 / drawn.figure.dpi
        assert away < 12 or tuple(np.round(text.xy, 9)) in leaders


def test_leaders_cross_neither_a_label_nor_one_another(drawn):
    FigureCanvasAgg(drawn.figure).draw()
    ends = []
    for leader in tagged(drawn, "leader"):
        start, end = leader.arrow_patch.get_path().vertices[[0, -1]]
        ends.append((drawn.transData.transform(leader.xy), start, end))
    boxes = extents(drawn, tagged(drawn, "label"))
    for _, start, end in ends:
        for share in np.linspace(0.02, 0.9, 40):  # its last tenth ends at its own label
            x, y = np.asarray(start) * share + np.asarray(end) * (1 - share)
            assert sum(b.x0 < x < b.x1 and b.y0 < y < b.y1 for b in boxes) == 0
    for (_, a, b), (_, c, d) in combinations(ends, 2):
        cross = lambda p, q, r: (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])  # noqa: E731
        assert not (cross(a, b, c) * cross(a, b, d) < 0 and cross(c, d, a) * cross(c, d, b) < 0)


@pytest.mark.parametrize("size", [(4, 3), (10, 4), (16, 12)])
def test_labels_overlap_nothing_in_any_axes_and_keep_clear_of_the_legend(clustered, size):
    c = clustered
    figure = Figure(figsize=size, dpi=80)
    ax = plot.embedding_map(c.vectors, c.titles, c.genres, c.counts, method="pca", ax=figure.subplots(), n_labels=25)
    boxes = extents(ax, tagged(ax, "label") + tagged(ax, "region"))
    figure.canvas.draw()
    boxes.append(ax.get_legend().get_window_extent())
    for a, b in combinations(boxes[:-1], 2):
        assert not a.overlaps(b)
    assert distances_to_points(ax, extents(ax, tagged(ax, "label"))).min() > 0
    assert not any(boxes[-1].overlaps(b) for b in extents(ax, tagged(ax, "label")))


def test_labels_stay_apart_when_saved_at_another_dpi(clustered):
    c = clustered
    figure = Figure(figsize=(8, 6), dpi=60)
    ax = plot.embedding_map(c.vectors, c.titles, None, c.counts, method="pca", ax=figure.subplots())
    figure.dpi = 180
    FigureCanvasAgg(figure).draw()
    boxes = [b.padded(-2) for b in extents(ax, tagged(ax, "label"))]  # hinting moves letters by a pixel
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_best_known_is_labelled_and_no_more_than_asked(clustered):
    c = clustered
    spread = np.random.default_rng(1).uniform(size=(160, 2))  # room for every title
    ax = plot.embedding_map(c.vectors, c.titles, c.genres, c.counts, positions=spread, n_labels=3)
    words = [t.get_text().replace("\n", " ") for t in tagged(ax, "label")]
    assert len(words) == 3
    assert words[0] == f"The Film of Some Length {c.counts.argmax()}"
    assert not tagged(plot.embedding_map(c.vectors, c.titles, None, c.counts, method="pca", n_labels=0), "label")


@pytest.mark.parametrize(
    ("title", "label"),
    [
        ("Matrix, The (1999)", "The Matrix"),
        ("Amelie (Fabuleux destin d'Amélie Poulain, Le) (2001)", "Amelie"),
        ("Léon: The Professional (a.k.a. The Professional) (Léon) (1994)", "Léon: The Professional"),
        ("(500) Days of Summer (2009)", "(500) Days of Summer"),
        ("Avventura, L' (1960)", "L'Avventura"),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey"),
        ("Me, Myself & Irene", "Me, Myself & Irene"),
        ("(1999)", "(1999)"),
        ("E.T. the Extra-Terrestrial (1982)", "E.T. the Extra-Terrestrial"),
        ("Monty Python and the Holy Grail (1975)", "Monty Python and\nthe Holy Grail"),
        ("Star Wars: Episode IV - A New Hope (1977)", "Star Wars:\nEpisode IV - A New Hope"),
        ("Star Wars: Episode I - The Phantom Menace (1999)", "Star Wars: Episode I -\nThe Phantom Menace"),
        (
            "Lord of the Rings: The Fellowship of the Ring, The (2001)",
            "The Lord of the Rings:\nThe Fellowship of the Ring",
        ),
        (
            "Dr. Strangelove or: How I Learned to Stop Worrying and Love the Bomb (1964)",
            "Dr. Strangelove or: How I\nLearned to Stop Worrying\nand Love the Bomb",
        ),
        ("", ""),
    ],
)
def test_short_titles(title, label):
    assert short_title(title) == label


def test_dollars_are_no_mathematics_and_empty_titles_no_error():
    titles = ["$9.99 and $5", "Ca$h_{Money} $x", "", "   "]
    ax = plot.embedding_map(
        np.eye(4), titles, ["$a$", "b", None, "b"], [20, 30, 40, 50], positions=[[0, 0], [1, 1], [0, 1], [1, 0]]
    )
    ax.figure.canvas.draw()
    assert {"$9.99 and $5", "Ca$h_{Money} $x"} <= {t.get_text() for t in ax.texts}


def test_min_ratings_and_cap(clustered):
    c = clustered
    ax = plot.embedding_map(c.vectors, c.titles, c.genres, c.counts, method="pca", min_ratings=200, max_items=30)
    n_enough = int((c.counts >= 200).sum())
    assert len(ax.collections[0].get_offsets()) == 30
    assert f"the 30 most rated of {n_enough} films with at least 200 ratings" in ax.get_xlabel()
    sizes = ax.collections[0].get_sizes()
    assert len(sizes) == 30


def test_a_fitted_model_brings_its_own_ids_and_counts(clustered):
    c = clustered

    class Model:
        item_factors_ = c.vectors.astype(np.float32)
        item_ids_ = np.array([f"id{i}" for i in range(160)])
        item_counts_ = np.where(np.arange(160) < 50, 5, c.counts)

        def get_params(self, deep=True):
            return {}

    ax = plot.embedding_map(Model(), highlight=["id3", "id100"], method="pca", noun="songs", title="T", source="S")
    assert len(ax.collections[0].get_offsets()) == 111  # 110 and a highlighted one with few ratings
    bold = {t.get_text() for t in tagged(ax, "label") if t.get_fontweight() == "bold"}
    assert bold == {"id3", "id100"}
    assert len(ax.collections[1].get_offsets()) == 2
    assert "S: 110 songs with at least 20 ratings and 1 highlighted" in ax.get_xlabel()
    assert ax.get_title(loc="left") == "T"


def test_map_of_arrays_without_anything_else(clustered):
    ax = plot.embedding_map(clustered.vectors, method="pca")
    assert len(ax.collections[0].get_offsets()) == 160
    assert tagged(ax, "label")[0].get_text() == "0"
    assert ax.get_legend() is None


def test_one_item():
    ax = plot.embedding_map([[1.0, 2.0]], ["Only"], ["a"], [50])
    ax.figure.canvas.draw()
    assert [t.get_text() for t in tagged(ax, "label")] == ["Only"]


def test_map_needs_no_ticks_and_explains_itself(drawn):
    assert len(drawn.get_xticks()) == len(drawn.get_yticks()) == 0
    assert drawn.get_xlabel().startswith("Simulated: 160 films with at least 20 ratings · t-SNE")
    assert "only nearness has a meaning" in drawn.get_xlabel().replace("\n", " · ")


def test_map_is_1600_by_1200_and_nothing_is_cut_off(drawn):
    drawn.figure.canvas.draw()
    assert drawn.figure.canvas.get_width_height() == (1600, 1200)
    whole = drawn.figure.get_tightbbox().transformed(drawn.figure.dpi_scale_trans)
    assert whole.x0 >= 0
    assert whole.y0 >= 0
    assert whole.x1 <= 1601
    assert whole.y1 <= 1201


def test_a_genre_has_the_same_colour_on_every_map(clustered):
    """Whatever the other genres are, and how frequent each is."""
    c = clustered

    def colour_of(genre, genres):
        ax = plot.embedding_map(c.vectors, None, genres, c.counts, positions=c.vectors[:, :2], n_labels=0)
        legend = next(
            a for a in ax.get_children() if isinstance(a, mpl.legend.Legend) and "Genre" in a.get_title().get_text()
        )
        said = {
            t.get_text().rsplit("  ", 1)[0]: h.get_color()
            for t, h in zip(legend.get_texts(), legend.legend_handles, strict=True)
        }
        return said[genre]

    few = [["Horror"] if t else ["Comedy"] for t in c.taste]
    many = [[["Horror"], ["Drama"], ["Musical"], ["War"]][t] for t in c.taste]
    assert colour_of("Horror", few) == colour_of("Horror", many) == plot.GENRE_COLOURS["Horror"]


def test_every_tinted_region_has_its_name(drawn):
    """Each connected part of the tint that is seen to be one holds a name in its colour."""
    from scipy.ndimage import label as connected_components

    (image,) = drawn.images
    pixels = np.asarray(image.get_array())
    names = tagged(drawn, "region")
    x0, x1, y0, y1 = image.get_extent()
    parts, n = connected_components(pixels[..., 3] > 0.6 * pixels[..., 3].max())
    rows, columns = parts.shape
    for number in range(1, n + 1):
        if (parts == number).sum() < 100:
            continue
        inside = 0
        for text in names:
            x, y = text.get_position()
            column, row = int((x - x0) / (x1 - x0) * columns), int((y - y0) / (y1 - y0) * rows)
            near = parts[max(row - 40, 0) : row + 40, max(column - 40, 0) : column + 40]
            inside += bool((near == number).any())
        assert inside, f"part {number} has no name"


def test_borders_of_the_tint_are_no_stairs(drawn):
    """From one cell of the grid to the next the tint changes little: a hard edge would jump by all of it."""
    (image,) = drawn.images
    pixels = np.asarray(image.get_array())
    alpha = pixels[..., 3]
    assert alpha.shape[0] >= 400
    assert alpha.max() > 0.1
    for axis in (0, 1):
        assert np.abs(np.diff(alpha, axis=axis)).max() < 0.35 * alpha.max()


def test_the_caption_says_how_items_are_coloured_and_whether_genres_keep_together(drawn):
    caption = drawn.get_xlabel()
    assert "films of several genres have the colour of the rarest of them in the legend" in caption
    assert "neighbours share" in caption
    rng = np.random.default_rng(5)
    genres = [[GENRES[rng.integers(4)]] for _ in range(400)]
    ax = plot.embedding_map(
        np.ones((400, 2)), None, genres, positions=rng.normal(size=(400, 2)), n_labels=0, noun="songs"
    )
    assert "genres hardly keep together: neighbours share 1.0 times as much of them as any two songs" in ax.get_xlabel()
    assert not ax.images  # what is chance gets no tint


def test_tint_names_the_genre_that_is_there(drawn):
    points = drawn.collections[0]
    (legend,) = [a for a in drawn.artists if a.get_title().get_text() == "Genre"]
    colour = {
        t.get_text().split("  ")[0].upper(): h.get_color()
        for t, h in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    regions = tagged(drawn, "region")
    assert sorted(t.get_text() for t in regions) == sorted(g.upper() for g in GENRES)
    for text in regions:
        away = drawn.transData.transform(points.get_offsets()) - drawn.transData.transform(text.get_position())
        nearest = np.argsort((away**2).sum(axis=1))[:5]
        for face in points.get_facecolors()[nearest]:
            np.testing.assert_allclose(face[:3], to_rgb(colour[text.get_text()]))


def test_no_tint_where_genres_are_scattered_at_random():
    rng = np.random.default_rng(5)
    genres = [[GENRES[rng.integers(4)]] for _ in range(400)]
    named = 0
    for seed in range(5):
        positions = np.random.default_rng(seed).normal(size=(400, 2))
        ax = plot.embedding_map(np.ones((400, 2)), None, genres, positions=positions, n_labels=0)
        named += len(tagged(ax, "region"))
    assert named <= 2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"titles": ["a"] * 3}, ValueError, "titles has 3 entries for 160 items"),
        ({"genres": ["a"] * 3}, ValueError, "genres has 3 entries for 160 items"),
        ({"counts": [1, 2]}, ValueError, "counts has 2 entries for 160 items"),
        ({"counts": [1] * 159 + [-2]}, ValueError, "counts is -2 in row 159; it must be numbers of ratings, 0 or more"),
        (
            {"counts": [7] * 159 + [9]},
            ValueError,
            "min_ratings is 20, but the most rated of the 160 films has 9 ratings; set min_ratings to at most 9",
        ),
        ({"positions": np.ones((3, 2))}, ValueError, "positions has 3 entries for 160 items"),
        ({"positions": np.ones((160, 3))}, ValueError, r"positions has the shape \(160, 3\); it must be \(n, 2\)"),
        ({"positions": np.full((160, 2), np.inf)}, ValueError, "positions is inf in row 0, column 0"),
        ({"highlight": [5, 999]}, ValueError, "highlight holds 999; it must be ids of items"),
        ({"method": "umap"}, ValueError, "method is 'umap'"),
        ({"n_genres": 19}, ValueError, "n_genres is 19; it must be from 1 to 18"),
        ({"n_labels": -1}, ValueError, "n_labels is -1; it must be at least 0"),
        ({"max_items": 0}, ValueError, "max_items is 0; it must be at least 1"),
        ({"min_ratings": 2.5}, TypeError, "min_ratings is 2.5; it must be an integer"),
    ],
)
def test_map_refuses(clustered, change, error, message):
    c = clustered
    with pytest.raises(error, match=message):
        plot.embedding_map(c.vectors, **({"titles": c.titles, "genres": c.genres, "counts": c.counts} | change))


def test_map_names_the_first_bad_row_of_the_factors(clustered):
    bad = clustered.vectors.copy()
    bad[[7, 90], 2] = np.nan
    with pytest.raises(ValueError, match=r"vectors is nan in row 7, column 2 \(2 such rows\)"):
        plot.embedding_map(bad)


def test_map_wants_a_model_with_factors():
    import alsx

    with pytest.raises(TypeError, match="FactorALS is not fitted"):
        plot.embedding_map(alsx.FactorALS())
    with pytest.raises(TypeError, match="FactorALS is not fitted"):
        plot.embedding_map(alsx.FactorALS)
    ratings = alsx.Ratings.from_arrays([0, 0, 1, 1], [0, 1, 0, 1], [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(TypeError, match="BiasALS has no item factors; a map needs a fitted FactorALS"):
        plot.embedding_map(alsx.BiasALS().fit(ratings))


# ---- manners


def test_nothing_global_changes(clustered):
    """In a fresh process: no pyplot, no backend chosen, rcParams as they were, nothing drawn by importing alsx."""
    code = """
import sys, alsx
assert not any(m.split('.')[0] == 'matplotlib' for m in sys.modules), 'alsx imports matplotlib'
assert 'alsx.plot' not in sys.modules
import matplotlib, numpy as np
before = matplotlib.rcParams.copy()
from alsx import plot
rng = np.random.default_rng(0)
ax = plot.embedding_map(rng.normal(size=(80, 4)), None, ['a', 'b'] * 40, np.arange(20, 100))
fig = plot.history({'loss': [2.0, 1.0], 'train_rmse': [1.0, 0.9]})
ax.figure.savefig(sys.argv[1]); fig.savefig(sys.argv[2])
assert matplotlib.rcParams.copy() == before, 'rcParams changed'
assert 'matplotlib.pyplot' not in sys.modules
"""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        out = [str(Path(folder, n)) for n in ("map.png", "history.svg")]
        environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "MPLBACKEND")}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, *out],
            capture_output=True, text=True, env=environment, cwd=folder, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert all(Path(name).stat().st_size > 5000 for name in out)


def test_pyplot_figures_are_left_alone(clustered):
    mpl.use("agg")
    from matplotlib import pyplot

    c = clustered
    before = pyplot.get_fignums(), pyplot.rcParams.copy()
    plot.embedding_map(c.vectors, c.titles, c.genres, c.counts, method="pca")
    plot.history({"loss": [2.0, 1.0], "train_rmse": [1.0, 0.9]})
    assert (pyplot.get_fignums(), pyplot.rcParams.copy()) == before
    figure, ax = pyplot.subplots()
    try:
        assert plot.embedding_map(c.vectors, c.titles, c.genres, c.counts, method="pca", ax=ax) is ax
        assert pyplot.get_fignums() == [*before[0], figure.number]
    finally:
        pyplot.close(figure)


# ---- real films


@pytest.mark.parametrize(("name", "films"), [("ml-latest-small", 1297), ("ml-100k", 939)])
def test_genres_keep_together_on_the_map_of_real_films(name, films):
    folder = os.environ.get("ALSX_TEST_DATA")
    if not folder or not Path(folder, f"{name}.zip").exists():
        pytest.skip(f"ALSX_TEST_DATA names no folder with {name}.zip")
    from alsx.datasets import load_movielens

    data = load_movielens(Path(folder, f"{name}.zip"))
    model = alsx.FactorALS(random_state=0).fit(data.ratings)
    enough = model.item_counts_ >= 20
    assert enough.sum() == films
    genres = data.genres_of(model.item_ids_[enough])
    positions = plot.embed(model.item_factors_[enough])
    near, random = plot.neighbour_jaccard(positions, genres, metric="euclidean")
    assert near >= 1.3 * random

"""The map of the items: choice of items, points, caption and legends."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from alsx import _check
from alsx.plot._embedding import (
    Genres,
    Method,
    check_length,
    check_vectors,
    embed,
    genre_lists,
    main_genres,
    neighbour_jaccard,
)
from alsx.plot._labels import label_points
from alsx.plot._palette import GENRE_COLOURS, genre_colours
from alsx.plot._regions import draw_regions
from alsx.plot._style import (
    CAPTION_STYLE,
    FRAME_COLOUR,
    POINTS_PER_INCH,
    TEXT_COLOUR,
    TITLE_STYLE,
    Bools,
    Floats,
    agg_renderer,
    new_figure,
    root_figure,
)

FIGURE_HEIGHT = 6.0  # inches: 1600 x 1200 pixels
# Of the axes in a figure of its own: left, bottom, width, height, as shares of the figure; legends are on the right.
AXES_BESIDE_LEGENDS = (0.02, 0.085, 0.825, 0.86)
AXES_ALONE = (0.02, 0.085, 0.96, 0.86)
LEGEND_LEFT = 1.012  # as a share of the width of the axes
LEGEND_GAP = 0.035  # between two legends, as a share of the height of the axes
CORNER_SHARE = 0.32  # a corner of the axes, for the choice of the legend's place, as a share of width and height

POINT_EDGE: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.35, "alpha": 0.9}
# The largest point, as a share of the area of the axes: so much for REFERENCE_ITEMS items, less where more would crowd the map.
REFERENCE_SHARE, REFERENCE_ITEMS = 3.2e-4, 1000.0
SHARE_RANGE = (1.6e-4, 6.5e-4)
MIN_AREA_SHARE = 0.05  # of the largest point: smaller ones cannot be seen
# Area against the count. Counts span three powers of ten on large data, where areas proportional to them would show a few
# discs and much dust. The legend says what the sizes mean.
AREA_EXPONENT = 0.65
UNCOUNTED_AREA_SHARE = 0.4  # of the largest point, where no counts are known
TINT_CAPTION = ("tint: a genre is unusually common here",)
# The caption says how much more alike in genre the so many nearest of an item are than any, where there are some such
# neighbourhoods, and in so many words that they are hardly more so.
N_NEIGHBOURS, MIN_NEIGHBOURHOODS, CONFETTI_RATIO = 10, 3, 1.5
RING_WIDTH = 0.6  # points, of the dark edge of a labelled point
HIGHLIGHT_AREA, HIGHLIGHT_WIDTH = 20.0, 1.2  # points^2 that the ring is larger than its point, and points


def embedding_map(
    model_or_vectors: Any,
    titles: Sequence[str] | None = None,
    genres: Genres | None = None,
    counts: npt.ArrayLike | None = None,
    *,
    method: Method = "tsne",
    min_ratings: int = 20,
    max_items: int = 1000,
    n_labels: int = 40,
    n_genres: int = 8,
    highlight: npt.ArrayLike | None = None,
    positions: npt.ArrayLike | None = None,
    title: str | None = None,
    source: str | None = None,
    noun: str = "films",
    ax: Axes | None = None,
    random_state: int | np.random.RandomState | None = 0,
) -> Axes:
    """Draw the items of a factor model as a map on which items that the same people like lie together.

    Parameters
    ----------
    model_or_vectors : fitted FactorALS or BayesALS, or array-like of shape (n_items, k)
        A model brings its ``item_factors_``, ``item_ids_`` and ``item_counts_``.
    titles : sequence of n_items str, optional
        One for each row of the factors (the order of ``model.item_ids_``). ``"Matrix, The (1999)"`` is written
        ``The Matrix``. Default: the ids of a model, row numbers for an array.
    genres : sequence of n_items lists of str, or of str, optional
        In the same order, as lists or separated by ``|``; an item is coloured by :func:`main_genres`. Without genres
        all points are grey.
    counts : array-like of shape (n_items,), optional
        Number of ratings of each item. Default: ``model.item_counts_``; for an array without counts all items are
        shown, in one size, and those that come first are labelled first.
    method : {"tsne", "pca"}, default="tsne"
        See :func:`embed`.
    min_ratings : int, default=20
        Items with fewer ratings are left out: the factors of little-rated items are mostly noise.
    max_items : int, default=1000
        The most rated are shown if more remain: more points hide one another, and films that few have rated lie like confetti
        among the others. `alsx.explorer` makes a page of all of them.
    n_labels : int, default=40
        At most so many titles, best known first, spread over the map. A title for which there is no room is left out.
    n_genres : int, default=8
        Number of colours, 1 to 18; of more than 8 many readers cannot tell all apart.
    highlight : array-like of ids (of rows, for an array), optional
        Items that are ringed and labelled in bold, and shown however few their ratings, e.g.
        ``model.recommend(user)[0]``.
    positions : array-like of shape (n_items, 2), optional
        Draw these instead of calling :func:`embed`; rows of items that are not shown are not looked at.
    title, source : str, optional
        The headline, and the name of the data set for the caption.
    noun : str, default="films"
        What the items are, for the headline and the caption.
    ax : matplotlib Axes, optional
        Draw here, and size the axes first: labels are placed for the present size of the figure (a change of ``dpi``
        keeps their places). Default: a figure of 1600 x 1200 pixels of its own.
    random_state : int, RandomState or None, default=0
        Passed on to :func:`embed`.

    Returns
    -------
    ax : matplotlib Axes
        ``ax.figure.savefig("map.png")`` writes it; in a notebook ``ax.figure`` shows it.

    Raises
    ------
    TypeError
        For a model without item factors, or a parameter of a wrong type.
    ValueError
        If lengths differ, a vector is not finite, no item has ``min_ratings`` ratings, a highlighted id is unknown or
        a parameter is out of its range.
    """
    items = read_items(model_or_vectors, titles, genres, counts)
    _check.integer("min_ratings", min_ratings, 0)
    _check.integer("max_items", max_items, 1)
    _check.integer("n_labels", n_labels, 0)
    _check.integer("n_genres", n_genres, 1, len(GENRE_COLOURS))
    shown = choose_items(items, min_ratings, max_items, highlight, noun)
    if positions is None:
        place = embed(items.vectors[shown.rows], method, random_state=random_state)
    else:
        given = np.asarray(check_length("positions", positions, len(items.ids)))
        place = check_vectors(given[shown.rows], "positions", 2)
    colours = colour_items(items, shown, n_genres)
    fame = fame_of(items, shown)

    own = ax is None
    if ax is None:
        legends_beside = items.genres is not None or items.counts is not None
        ax = new_figure(FIGURE_HEIGHT).add_axes(AXES_BESIDE_LEGENDS if legends_beside else AXES_ALONE)
    area = point_areas(ax, items, shown)
    clear_axes(ax)
    draw_points(ax, place, area, colours)
    draw_rings(ax, place, area, shown.highlighted)
    ax.set_title(title or f"{noun[:1].upper()}{noun[1:]} that the same people like lie together", **TITLE_STYLE)
    if method == "pca" or positions is not None:
        ax.set_aspect("equal", adjustable="datalim")  # lengths mean something; t-SNE may fill the frame
    ax.margins(0.045)
    where = "given" if positions is not None else method
    caption = caption_parts(source, noun, items, shown, min_ratings, where)
    agreement = genre_agreement(items, shown, place, noun)
    draw_caption(ax, [*caption, *TINT_CAPTION, *agreement])
    settle_layout(ax)
    obstacles: list[Any] = []
    if items.genres is not None:
        has = [[genre in items.genres[i] for genre in colours.ranked] for i in shown.rows]
        membership = np.array(has, dtype=np.float64).reshape(len(shown.rows), -1)
        obstacles += draw_regions(ax, place, area, membership, colours.ranked, colours.of_genre)
    if not obstacles:
        draw_caption(ax, [*caption, *agreement])
        settle_layout(ax)
    if items.genres is not None and colours.entries():
        obstacles += draw_genre_legend(ax, own, colours, place)
    if own and items.counts is not None:
        draw_size_legend(ax, fame, area)
    order = np.lexsort((-fame, ~shown.highlighted))  # the highlighted first, then the best known
    names = [items.titles[i] for i in shown.rows]
    labelled = label_points(
        ax, place, area + HIGHLIGHT_AREA * shown.highlighted, names, order, shown.highlighted, n_labels, obstacles
    )
    draw_labelled(ax, place, area, colours, labelled[~shown.highlighted[labelled]])
    return ax


# ---------------------------------------------------------------------------------------------------------------------
# Which items


@dataclass(frozen=True)
class Items:
    """All items that a map could show."""

    vectors: Floats
    """(n, k)."""
    ids: npt.NDArray[Any]
    """(n,), the ids of a model, row numbers for an array."""
    titles: list[str]
    """n."""
    genres: list[list[str]] | None
    """n lists, None if no genres were given."""
    counts: Floats | None
    """(n,), numbers of ratings, None if they are not known."""


@dataclass(frozen=True)
class Shown:
    """The items that a map shows, best known first, then those shown only because they are highlighted."""

    rows: npt.NDArray[np.int64]
    """(m,), their rows in `Items`."""
    highlighted: Bools
    """(m,)."""
    n_enough: int
    """How many items have enough ratings, shown or not."""
    n_extra: int
    """How many of the last rows are there only because they are highlighted."""


def read_items(
    model_or_vectors: Any, titles: Sequence[str] | None, genres: Genres | None, counts: npt.ArrayLike | None
) -> Items:
    """Return the items of a fitted model or of an array of vectors, with checked titles, genres and counts."""
    is_model = hasattr(model_or_vectors, "get_params")
    if isinstance(model_or_vectors, type) or (is_model and not hasattr(model_or_vectors, "item_factors_")):
        name = getattr(model_or_vectors, "__name__", type(model_or_vectors).__name__)
        if hasattr(model_or_vectors, "item_ids_") and not isinstance(model_or_vectors, type):
            raise TypeError(f"{name} has no item factors; a map needs a fitted FactorALS or BayesALS")
        raise TypeError(f"{name} is not fitted; a map needs a fitted FactorALS or BayesALS")
    if hasattr(model_or_vectors, "item_factors_"):
        vectors = check_vectors(model_or_vectors.item_factors_, "item_factors_")
        ids = np.asarray(model_or_vectors.item_ids_)
        if counts is None:
            counts = model_or_vectors.item_counts_
    else:
        vectors = check_vectors(model_or_vectors)
        ids = np.arange(len(vectors))
    n = len(vectors)
    return Items(
        vectors,
        ids,
        [str(i) for i in ids] if titles is None else [str(t) for t in check_length("titles", titles, n)],
        None if genres is None else genre_lists(genres, n),
        None if counts is None else check_counts(counts, n),
    )


def check_counts(counts: npt.ArrayLike, n: int) -> Floats:
    """Return numbers of ratings as float64 (n,)."""
    checked: Floats = np.asarray(check_length("counts", counts, n), dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(checked) & (checked >= 0)))
    if len(wrong):
        raise ValueError(f"counts is {checked[wrong[0]]:g} in row {wrong[0]}; it must be numbers of ratings, 0 or more")
    return checked


def choose_items(items: Items, min_ratings: int, max_items: int, highlight: npt.ArrayLike | None, noun: str) -> Shown:
    """Choose the most rated items, and those that are highlighted."""
    marked = rows_of_ids(highlight, items.ids)
    n = len(items.ids)
    if items.counts is None:
        enough = np.arange(n)
    else:
        enough = np.flatnonzero(items.counts >= min_ratings)
        if len(enough) == 0:
            most = int(items.counts.max())
            raise ValueError(
                f"min_ratings is {min_ratings}, but the most rated of the {n} {noun} has {most} ratings; "
                f"set min_ratings to at most {most}"
            )
        enough = enough[np.argsort(-items.counts[enough], kind="stable")]
    most_rated = enough[:max_items]
    extra = np.unique(marked[~np.isin(marked, most_rated)])
    rows = np.concatenate([most_rated, extra]).astype(np.int64)
    return Shown(rows, np.isin(rows, marked), len(enough), len(extra))


def rows_of_ids(highlight: npt.ArrayLike | None, ids: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the rows of the highlighted ids."""
    if highlight is None:
        return np.empty(0, dtype=np.int64)
    row_of = {i: row for row, i in enumerate(ids.tolist())}
    rows = []
    for i in np.atleast_1d(np.asarray(highlight)).tolist():
        if i not in row_of:
            raise ValueError(f"highlight holds {i!r}; it must be ids of items (row numbers, for an array)")
        rows.append(row_of[i])
    return np.array(rows, dtype=np.int64)


def fame_of(items: Items, shown: Shown) -> Floats:
    """Return the number of ratings of the shown items; without counts a number that falls from row to row."""
    if items.counts is None:
        return np.arange(len(shown.rows), 0, -1, dtype=np.float64)
    return items.counts[shown.rows]


# ---------------------------------------------------------------------------------------------------------------------
# Colours and sizes


@dataclass(frozen=True)
class Colours:
    """Which genre colours each of the shown items."""

    main: list[str]
    """m, the main genre of each item or "other"."""
    ranked: list[str]
    """The genres that have a colour, the most frequent first."""
    tally: Counter[str]
    """How many items each genre colours."""
    of_genre: dict[str, str]
    """Genre -> colour, "other" among them."""
    coloured: bool
    """Whether genres are known at all."""

    def entries(self) -> list[tuple[str, int]]:
        """Return the lines of the legend: genres with their numbers of items."""
        other = self.main.count("other")
        return [(g, self.tally[g]) for g in self.ranked] + ([("other", other)] if other else [])


def colour_items(items: Items, shown: Shown, n_genres: int) -> Colours:
    """Give the most frequent main genres of the shown items a colour each."""
    if items.genres is None:
        main = ["other"] * len(shown.rows)
    else:
        main = main_genres([items.genres[i] for i in shown.rows], n_genres)
    tally = Counter(genre for genre in main if genre != "other")
    ranked = sorted(tally, key=lambda genre: (-tally[genre], genre))
    of_genre = genre_colours(ranked)
    return Colours(main, ranked, tally, of_genre, items.genres is not None)


def point_areas(ax: Axes, items: Items, shown: Shown) -> Floats:
    """Return the area of each shown item's point in points^2, by its number of ratings and by the size of the axes."""
    n = len(shown.rows)
    figure = root_figure(ax)
    extent = ax.get_window_extent(agg_renderer(figure))
    whole = extent.width * extent.height * (POINTS_PER_INCH / figure.dpi) ** 2
    largest = whole * float(np.clip(REFERENCE_SHARE * (REFERENCE_ITEMS / n) ** 0.5, *SHARE_RANGE))
    if items.counts is None:
        return np.full(n, largest * UNCOUNTED_AREA_SHARE)
    counts = items.counts[shown.rows]
    share = (counts / max(counts.max(), 1.0)) ** AREA_EXPONENT
    return np.asarray(np.maximum(largest * share, largest * MIN_AREA_SHARE))


# ---------------------------------------------------------------------------------------------------------------------
# Drawing


def clear_axes(ax: Axes) -> None:
    """Take away ticks, and make the frame quiet: the axes of a map mean nothing."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_facecolor("white")
    for spine in ax.spines.values():
        spine.set_color(FRAME_COLOUR)
        spine.set_linewidth(0.8)


def draw_points(ax: Axes, place: Floats, area: Floats, colours: Colours) -> None:
    """Draw the points, grey ones first, then large before small, so that large ones do not hide small ones."""
    other = np.array([genre == "other" for genre in colours.main])
    order = np.lexsort((-area, ~other if colours.coloured else np.zeros_like(other)))
    colour = [colours.of_genre[colours.main[i]] for i in order]
    ax.scatter(place[order, 0], place[order, 1], s=area[order], c=colour, **POINT_EDGE)


def draw_rings(ax: Axes, place: Floats, area: Floats, highlighted: Bools) -> None:
    """Draw rings round the highlighted points."""
    if highlighted.any():
        ax.scatter(
            place[highlighted, 0], place[highlighted, 1], s=area[highlighted] + HIGHLIGHT_AREA, facecolors="none",
            edgecolors=TEXT_COLOUR, linewidths=HIGHLIGHT_WIDTH, zorder=3,
        )  # fmt: skip


def draw_labelled(ax: Axes, place: Floats, area: Floats, colours: Colours, rows: npt.NDArray[np.int64]) -> None:
    """Draw the points whose titles are written once more: above the others, with a dark edge, so that it is seen which."""
    if len(rows):
        ax.scatter(
            place[rows, 0], place[rows, 1], s=area[rows], c=[colours.of_genre[colours.main[i]] for i in rows],
            edgecolors=TEXT_COLOUR, linewidths=RING_WIDTH, zorder=3,
        )  # fmt: skip


def settle_layout(ax: Axes) -> None:
    """Give the axes the size that the figure's layout leaves them, where it has one: places are found in pixels."""
    figure = root_figure(ax)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    ax.apply_aspect()


def draw_caption(ax: Axes, parts: list[str]) -> None:
    """Write a caption below the map, broken between its parts where a line would run over the edge of the picture."""
    renderer = agg_renderer(root_figure(ax))
    ax.set_xlabel("", **CAPTION_STYLE)
    caption = ax.xaxis.label
    caption.set_position((0.0, 0.0))
    free = 0.99 * renderer.width - ax.get_window_extent(renderer).x0
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        caption.set_text(longer)
        if lines[-1] and caption.get_window_extent(renderer).width > free:
            lines.append(part)
        else:
            lines[-1] = longer
    caption.set_text("\n".join(lines))


def caption_parts(source: str | None, noun: str, items: Items, shown: Shown, min_ratings: int, where: str) -> list[str]:
    """Return what the caption says; `where` is the method of the embedding, or "given" for positions of the caller's."""
    n = len(shown.rows) - shown.n_extra
    number = f"{n:,} {noun}" if n >= shown.n_enough else f"the {n:,} most rated of {shown.n_enough:,} {noun}"
    limited = min_ratings > 0 and items.counts is not None
    what = number + (f" with at least {min_ratings:,} ratings" if limited else "")
    if shown.n_extra:
        what += f" and {shown.n_extra} highlighted"
    parts = [f"{source}: {what}" if source else what]
    if where == "given":
        parts.append("positions as given")
    elif where == "pca":
        parts.append("first two principal components of the factors")
    else:
        parts += ["t-SNE of the factors (cosine)", "only nearness has a meaning"]
    if items.genres is not None:
        parts.append(f"{noun} of several genres have the colour of the rarest of them in the legend")
    return parts


def genre_agreement(items: Items, shown: Shown, place: Floats, noun: str) -> list[str]:
    """Return what the caption says of how well genres keep together: a map of confetti is to be taken for one."""
    if items.genres is None:
        return []
    genres = [items.genres[i] for i in shown.rows]
    if sum(map(bool, genres)) <= N_NEIGHBOURS * MIN_NEIGHBOURHOODS:
        return []
    near, random = neighbour_jaccard(place, genres, n_neighbours=N_NEIGHBOURS, metric="euclidean")
    ratio = near / random if random > 0 else 1.0
    if ratio < CONFETTI_RATIO:
        return [f"genres hardly keep together: neighbours share {ratio:.1f} times as much of them as any two {noun}"]
    return [f"neighbours share {ratio:.1f} times as much of their genres as any two {noun}"]


# ---------------------------------------------------------------------------------------------------------------------
# Legends


def draw_genre_legend(ax: Axes, own: bool, colours: Colours, place: Floats) -> list[Any]:
    """Draw the legend of the genres: beside the axes of a figure of our own, else in the emptiest corner.

    Returned are legends inside the axes, which labels have to avoid.
    """
    handles = [legend_dot(colours.of_genre[g], 36.0, f"{g}  {n:,}") for g, n in colours.entries()]
    where: dict[str, Any] = {"loc": emptiest_corner(place)}
    if own:
        where = {"loc": "upper left", "bbox_to_anchor": (LEGEND_LEFT, 1.0)}
    legend = ax.legend(handles=handles, title="Genre", labelspacing=0.55, **legend_style(own), **where)
    finish_legend(legend)
    return [] if own else [legend]


def draw_size_legend(ax: Axes, counts: Floats, area: Floats) -> None:
    """Draw the legend of the sizes below that of the genres, beside the axes."""
    top = 1.0
    genres = ax.get_legend()
    if genres is not None:
        extent = genres.get_window_extent(agg_renderer(root_figure(ax)))
        top = float(ax.transAxes.inverted().transform((0, extent.y0))[1]) - LEGEND_GAP
        ax.add_artist(genres)  # matplotlib keeps one legend an axes; the first one stays as an artist of its own
    steps = round_steps(counts.min(), counts.max())
    areas = np.interp(np.sqrt(steps), np.sqrt(np.sort(counts)), np.sort(area))
    handles = [legend_dot("#8A8A8A", a, f"{int(n):,}") for a, n in zip(areas, steps, strict=True)]
    legend = ax.legend(
        handles=handles, title="Ratings", labelspacing=0.7, loc="upper left", bbox_to_anchor=(LEGEND_LEFT, top),
        **legend_style(True),
    )  # fmt: skip
    finish_legend(legend)


def legend_style(own: bool) -> dict[str, Any]:
    """Return matplotlib's arguments for a legend; inside axes that were handed over it has a frame."""
    return {
        "fontsize": 7.2, "title_fontproperties": {"size": 7.2, "weight": "bold"}, "labelcolor": TEXT_COLOUR,
        "alignment": "left", "borderaxespad": 0.0, "handletextpad": 0.3, "frameon": not own, "framealpha": 0.9,
        "edgecolor": FRAME_COLOUR,
    }  # fmt: skip


def finish_legend(legend: Any) -> None:
    """Put a legend above points and labels; a dollar in a genre's name is not mathematics."""
    legend.set_zorder(6)
    for text in legend.get_texts():
        text.set_parse_math(False)


def legend_dot(colour: str, area: float, label: str) -> Line2D:
    """Return a point of the map for a legend."""
    return Line2D(
        [], [], linestyle="none", marker="o", color=colour, markeredgecolor="white", markeredgewidth=0.35,
        markersize=math.sqrt(area), label=label,
    )  # fmt: skip


def round_steps(low: float, high: float) -> Floats:
    """Return up to three round numbers (1, 2, 5 times a power of ten) that span the counts."""
    round_numbers = np.array([m * 10.0**e for e in range(10) for m in (1, 2, 5)])
    inside = round_numbers[(round_numbers >= low) & (round_numbers <= high)]
    if len(inside) == 0:
        return np.array([high])
    chosen = np.unique(np.linspace(0, len(inside) - 1, min(3, len(inside))).round().astype(int))
    return np.asarray(inside[chosen], dtype=np.float64)


def emptiest_corner(place: Floats) -> str:
    """Return the corner with the fewest points, as matplotlib names it."""
    low, high = place.min(axis=0), place.max(axis=0)
    right, top = (place > low + (1 - CORNER_SHARE) * (high - low)).T
    left, bottom = (place < low + CORNER_SHARE * (high - low)).T
    corners = {"upper right": top & right, "upper left": top & left, "lower right": bottom & right}
    corners["lower left"] = bottom & left
    return min(corners, key=lambda corner: int(corners[corner].sum()))

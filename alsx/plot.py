"""Pictures: the map of the items, the history of a fit, and whether uncertainties are true.

Nothing in the package imports this module; it costs matplotlib only to those who draw. Figures are made without
``pyplot``: no window opens, no figure is left behind in a global list, the backend and ``rcParams`` stay as they are.
Hand over an ``ax`` (or ``fig``) made with ``pyplot`` to draw into a figure of your own.
"""

from __future__ import annotations

import math
import numbers
import re
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, ScalarFormatter, StrMethodFormatter

from alsx.ratings import Ratings

__all__ = ["embed", "embedding_map", "history", "main_genres", "neighbour_jaccard", "plot_reliability"]

Floats: TypeAlias = npt.NDArray[np.float64]
Method: TypeAlias = Literal["tsne", "pca"]

# Okabe and Ito's colours (Color Universal Design, 2008), told apart by readers with any common colour blindness, with
# Paul Tol's wine for their black, whose tint would pass for the grey of "other", and the yellow darkened for white.
# The genre with the most points comes first and takes the calmest colour.
_PALETTE = ("#56B4E9", "#E69F00", "#0072B2", "#CC79A7", "#009E73", "#D55E00", "#882255", "#E5D435")
_OTHER = "#C4C4C4"
_INK = "#222222"
_QUIET = "#666666"
_NO_GENRE = frozenset({"(no genres listed)", "unknown", ""})  # MovieLens for none
_FORMATS = frozenset({"IMAX"})  # listed among the genres of MovieLens, but nothing to colour a film by
_SIZE = (10.67, 8.0)  # inches; with _DPI 1600 x 1200 pixels
_DPI = 150


# ---------------------------------------------------------------------------------------------------------------------
# Where the points lie


def embed(
    vectors: npt.ArrayLike,
    method: Method = "tsne",
    *,
    perplexity: float = 30.0,
    max_iter: int = 500,
    random_state: int | np.random.RandomState | None = 0,
) -> Floats:
    """Place vectors on a plane so that those pointing the same way lie together.

    Each vector is scaled to unit length: the direction of an item's factors says whose taste it meets, the length
    mostly how many ratings it has. Squared distances are then 2 (1 - cosine), so that what the map tries to keep are
    the neighbours of ``similar_items``.

    Parameters
    ----------
    vectors : array-like of shape (n, k)
        Finite numbers, e.g. ``model.item_factors_``. A row of zeros has no direction and lies amid the others.
    method : {"tsne", "pca"}, default="tsne"
        ``"tsne"`` keeps neighbours together and gives up on large distances: axes, directions and the space between
        groups mean nothing. ``"pca"`` shows the two directions of largest variance: faithful as far as it goes, but
        two of some twenty equally important dimensions hold few of the neighbours.
        Fewer than five vectors are always placed by ``"pca"``; t-SNE has no neighbourhoods to keep there.
    perplexity : float, default=30.0
        t-SNE's effective number of neighbours, lowered to a third of ``n - 1`` for few vectors. Between 10 and 50 the
        genre ratio changes by less than 0.04.
    max_iter : int, default=500
        t-SNE's gradient steps, at least 250. Twice as many take twice the time and change the genre ratio by
        less than 0.01.
    random_state : int, RandomState or None, default=0
        Seeds a nudge of a hundredth of the start, which parts equal vectors; other seeds give other maps of the same
        neighbourhoods.

    Returns
    -------
    positions : ndarray of shape (n, 2), float64
        Centred, the longer extent along the first axis. The same on every call and for every number of threads:
        t-SNE runs on one thread, for its threads sum in no fixed order.

    Raises
    ------
    ValueError
        For vectors that are not a finite (n, k) array with n, k >= 1, or a parameter out of its range.

    References
    ----------
    L. van der Maaten, Accelerating t-SNE using tree-based algorithms, JMLR 15 (2014).
    D. Kobak, P. Berens, The art of using t-SNE for single-cell transcriptomics, Nature Communications 10 (2019): the
    start from PCA.
    """
    if method not in ("tsne", "pca"):
        raise ValueError(f"method must be 'tsne' or 'pca', not {method!r}")
    if not (isinstance(perplexity, numbers.Real) and math.isfinite(perplexity) and perplexity >= 1):
        raise ValueError(f"perplexity must be a number of at least 1, not {perplexity!r}")
    _whole("max_iter", max_iter, 250)
    points = _vectors(vectors)

    from sklearn.manifold import TSNE
    from sklearn.utils import check_random_state
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):  # sums in one order: the same map on every machine's number of threads
        unit = _unit_rows(points)
        plane = _principal_plane(unit)
        n = len(plane)
        if method == "pca" or n < 5:
            return plane
        random = check_random_state(random_state)
        # The nudge parts items whose vectors are equal, which no gradient can.
        start = plane / (plane[:, 0].std() or 1.0) * 1e-4 + random.normal(scale=1e-6, size=(n, 2))
        tsne = TSNE(
            n_components=2,
            perplexity=min(float(perplexity), (n - 1) / 3),
            max_iter=max_iter,
            init=start.astype(np.float32),
            random_state=random,
            n_jobs=1,
        )
        positions = np.asarray(tsne.fit_transform(unit.astype(np.float32)), dtype=np.float64)
        return _principal_plane(positions)  # a rotation: the longer extent lies across the picture


def neighbour_jaccard(
    vectors: npt.ArrayLike,
    genres: Sequence[Sequence[str] | str | None],
    *,
    n_neighbours: int = 10,
    metric: Literal["cosine", "euclidean"] = "cosine",
) -> tuple[float, float]:
    """Measure how much more alike in genre neighbours are than any two items.

    The Jaccard index of two items is the number of genres they share over the number of genres that either has. Items
    without a genre take no part. Their ratio, ``near / random``, is the figure of merit of a map or of factors.

    Parameters
    ----------
    vectors : array-like of shape (n, k)
        Factors, or positions on a map.
    genres : sequence of n lists of str, or of str
        The genres of each item, as lists or separated by ``|``.
    n_neighbours : int, default=10
        Nearest other items asked of each.
    metric : {"cosine", "euclidean"}, default="cosine"
        ``"cosine"`` for factors, ``"euclidean"`` for positions.

    Returns
    -------
    near : float
        Mean Jaccard index of an item and its nearest.
    random : float
        Mean over all pairs of different items (computed, not sampled).

    Raises
    ------
    ValueError
        If lengths differ, the vectors are not finite, or not more than ``n_neighbours`` items have a genre.
    """
    points = _vectors(vectors)
    lists = _genre_lists(genres, len(points))
    _whole("n_neighbours", n_neighbours, 1)
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric must be 'cosine' or 'euclidean', not {metric!r}")
    have = np.array([bool(g) for g in lists])
    if have.sum() <= n_neighbours:
        raise ValueError(
            f"n_neighbours={n_neighbours} needs more than {n_neighbours} items with a genre; there are {have.sum()}"
        )
    points = points[have]
    if metric == "cosine":
        points = _unit_rows(points)
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=n_neighbours, algorithm="auto", n_jobs=1).fit(points)
    neighbours = nearest.kneighbors(return_distance=False)  # without a query no item is its own neighbour
    # Items share few combinations of genres, so all pairs of items are counted as pairs of combinations.
    number: dict[frozenset[str], int] = {}
    kind = np.array([number.setdefault(frozenset(g), len(number)) for g in lists if g])
    names = {name: j for j, name in enumerate(sorted(frozenset().union(*number)))}
    has = np.zeros((len(number), len(names)))
    for combination, row in number.items():
        has[row, [names[name] for name in combination]] = 1
    shared = has @ has.T
    size = has.sum(axis=1)
    jaccard = shared / (size[:, None] + size[None, :] - shared)
    counts = np.bincount(kind).astype(np.float64)
    n = len(kind)
    near = float(jaccard[kind[:, None], kind[neighbours]].mean())
    return near, float((counts @ jaccard @ counts - n) / (n * (n - 1)))


def main_genres(genres: Sequence[Sequence[str] | str | None], n_genres: int = 8) -> list[str]:
    """Choose one genre for each item: of its genres the rarest among the ``n_genres`` that then cover most items.

    The rarest of a list says most about an item ("Animation" more than "Comedy"), but the rarest genres of all would
    leave most items without one. So all genres start in the race, every item takes its rarest, and the genre that
    fewest items took leaves, until ``n_genres`` remain.

    Parameters
    ----------
    genres : sequence of n lists of str, or of str
        As lists or separated by ``|``; what MovieLens lists among genres and is none (``IMAX``) is passed over.
    n_genres : int, default=8
        How many genres remain; 8 is what colours can tell apart.

    Returns
    -------
    main : list of n str
        ``"other"`` where none of the remaining genres fits.
    """
    _whole("n_genres", n_genres, 1)
    lists = [sorted(set(g) - _FORMATS) for g in _genre_lists(genres, None)]
    frequency = Counter(name for names in lists for name in names)
    kept = set(frequency)
    while True:
        main = [
            min((g for g in names if g in kept), key=lambda g: (frequency[g], g), default="other") for names in lists
        ]
        if len(kept) <= n_genres:
            return main
        taken = Counter(main)
        kept.discard(min(kept, key=lambda g: (taken[g], g)))


# ---------------------------------------------------------------------------------------------------------------------
# The map


def embedding_map(
    model_or_vectors: Any,
    titles: Sequence[str] | None = None,
    genres: Sequence[Sequence[str] | str | None] | None = None,
    counts: npt.ArrayLike | None = None,
    *,
    method: Method = "tsne",
    min_ratings: int = 20,
    max_items: int = 3000,
    n_labels: int = 45,
    n_genres: int = 8,
    highlight: npt.ArrayLike | None = None,
    positions: npt.ArrayLike | None = None,
    title: str | None = None,
    source: str | None = None,
    noun: str = "films",
    ax: Axes | None = None,
    random_state: int | np.random.RandomState | None = 0,
) -> Axes:
    """Draw the items of a factor model as a map: liked by the same people, lying together.

    Parameters
    ----------
    model_or_vectors : fitted FactorALS, or array-like of shape (n_items, k)
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
    max_items : int, default=3000
        The most rated are shown if more remain. 3,000 take some 7 seconds of t-SNE; more points hide one another.
    n_labels : int, default=45
        At most so many titles, best known first, spread over the map. A title for which there is no room is left out.
    n_genres : int, default=8
        Number of colours, 1 to 8; more cannot be told apart by all readers.
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
        For a model without item factors.
    ValueError
        If lengths differ, a vector is not finite, no item has ``min_ratings`` ratings, a highlighted id is unknown or
        a parameter is out of its range.
    """
    vectors, ids, counted = _items(model_or_vectors, counts)
    n = len(vectors)
    names = [str(i) for i in ids] if titles is None else [str(t) for t in _aligned("titles", titles, n)]
    lists = None if genres is None else _genre_lists(genres, n)
    _whole("min_ratings", min_ratings, 0)
    _whole("max_items", max_items, 1)
    _whole("n_labels", n_labels, 0)
    _whole("n_genres", n_genres, 1, len(_PALETTE))
    marked = _highlighted(highlight, ids)
    shown, n_enough, n_extra = _shown(counted, n, min_ratings, max_items, marked, noun)

    if positions is None:
        place = embed(vectors[shown], method, random_state=random_state)
    else:
        place = _vectors(np.asarray(_aligned("positions", positions, n))[shown], "positions", 2)
    known = np.arange(len(shown), 0, -1, dtype=np.float64) if counted is None else counted[shown].astype(np.float64)
    main = ["other"] * len(shown) if lists is None else main_genres([lists[i] for i in shown], n_genres)
    tally = Counter(m for m in main if m != "other")
    ranked = sorted(tally, key=lambda g: (-tally[g], g))
    colour = dict(zip(ranked, _PALETTE, strict=False)) | {"other": _OTHER}
    area = _areas(known, len(shown)) if counted is not None else np.full(len(shown), _area_scale(len(shown)) * 0.4)

    own = ax is None
    if ax is None:
        figure = Figure(figsize=_SIZE, dpi=_DPI, facecolor="white")
        FigureCanvasAgg(figure)
        ax = figure.add_axes((0.02, 0.05, 0.835 if lists is not None or counted is not None else 0.96, 0.885))
    _bare(ax)
    ring = np.isin(shown, marked)
    # Small points are drawn last so that large ones do not hide them, grey ones first of all.
    grey = np.array([m == "other" for m in main])
    order = np.lexsort((-area, ~grey if lists is not None else np.zeros_like(grey)))
    ax.scatter(
        place[order, 0],
        place[order, 1],
        s=area[order],
        c=[colour[main[i]] for i in order],
        edgecolors="white",
        linewidths=0.35,
        alpha=0.9,
    )
    if ring.any():
        ax.scatter(
            place[ring, 0],
            place[ring, 1],
            s=area[ring] + 30,
            facecolors="none",
            edgecolors=_INK,
            linewidths=1.3,
            zorder=3,
        )
    ax.set_title(title or f"{noun[:1].upper()}{noun[1:]} that the same people like lie together", **_TITLE)
    if method == "pca" or positions is not None:
        ax.set_aspect("equal", adjustable="datalim")  # lengths mean something; t-SNE may fill the frame
    ax.margins(0.03)
    ax.apply_aspect()
    regions: list[Text] = []
    if lists is not None:
        has = np.array([[g in lists[i] for g in ranked] for i in shown], dtype=np.float64).reshape(len(shown), -1)
        regions = _regions(ax, place, has, ranked, colour)
    ax.set_xlabel(
        _caption(
            source, noun, len(shown) - n_extra, n_enough, min_ratings if counted is not None else 0, method,
            n_extra=n_extra, given=positions is not None, tinted=bool(ax.images) and lists is not None,
        ),
        **_CAPTION,
    )  # fmt: skip
    _fit_caption(ax)
    legends = _legends(ax, own, lists is not None, colour, ranked, tally, grey, known, area, counted is not None, place)
    wanted = _by_fame(known, ring)
    _label(ax, place, area + 30 * ring, [names[i] for i in shown], wanted, ring, n_labels, legends + regions)
    return ax


_TITLE: dict[str, Any] = {
    "loc": "left", "fontsize": 14, "fontweight": "bold", "color": _INK, "pad": 9, "parse_math": False
}  # fmt: skip
_CAPTION: dict[str, Any] = {"loc": "left", "fontsize": 7.5, "color": _QUIET, "labelpad": 6, "parse_math": False}


def _items(model_or_vectors: Any, counts: npt.ArrayLike | None) -> tuple[Floats, npt.NDArray[Any], Floats | None]:
    """The factors, ids and counts of a model; row numbers are the ids of an array."""
    model = hasattr(model_or_vectors, "get_params")
    if isinstance(model_or_vectors, type) or (model and not hasattr(model_or_vectors, "item_factors_")):
        name = getattr(model_or_vectors, "__name__", type(model_or_vectors).__name__)
        if hasattr(model_or_vectors, "item_ids_") and not isinstance(model_or_vectors, type):
            raise TypeError(f"{name} has no item factors: a map needs a fitted FactorALS")
        raise TypeError(f"{name} is not fitted: a map needs a fitted FactorALS")
    if hasattr(model_or_vectors, "item_factors_"):
        vectors = _vectors(model_or_vectors.item_factors_, "item_factors_")
        ids = np.asarray(model_or_vectors.item_ids_)
        if counts is None:
            counts = model_or_vectors.item_counts_
    else:
        vectors = _vectors(model_or_vectors)
        ids = np.arange(len(vectors))
    if counts is None:
        return vectors, ids, None
    counted = np.asarray(_aligned("counts", counts, len(vectors)), dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(counted) & (counted >= 0)))
    if len(wrong):
        raise ValueError(f"counts must be numbers of ratings, 0 or more: row {wrong[0]} is {counted[wrong[0]]:g}")
    return vectors, ids, counted


def _highlighted(highlight: npt.ArrayLike | None, ids: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if highlight is None:
        return np.empty(0, dtype=np.int64)
    row = {i: j for j, i in enumerate(ids.tolist())}
    rows = []
    for i in np.atleast_1d(np.asarray(highlight)).tolist():
        if i not in row:
            raise ValueError(f"highlight holds {i!r}, which is not the id of an item (of a row, for an array)")
        rows.append(row[i])
    return np.array(rows, dtype=np.int64)


def _shown(
    counted: Floats | None, n: int, min_ratings: int, max_items: int, marked: npt.NDArray[np.int64], noun: str
) -> tuple[npt.NDArray[np.int64], int, int]:
    """Rows to draw, best known first; how many had enough ratings before the cap; how many rows are extra."""
    if counted is None:
        enough = np.arange(n)
    else:
        enough = np.flatnonzero(counted >= min_ratings)
        if len(enough) == 0:
            most = int(counted.max())
            raise ValueError(
                f"none of the {n} {noun} has min_ratings={min_ratings} ratings; the most rated has {most}: "
                f"set min_ratings to at most {most}"
            )
        enough = enough[np.argsort(-counted[enough], kind="stable")]
    shown = enough[:max_items]
    extra = np.unique(marked[~np.isin(marked, shown)])
    return np.concatenate([shown, extra]).astype(np.int64), len(enough), len(extra)


def _area_scale(n: int) -> float:
    """Area in points^2 of the largest point: crowded maps get smaller ones."""
    return float(np.clip(110.0 * (1300.0 / n) ** 0.5, 50.0, 220.0))


def _areas(known: Floats, n: int) -> Floats:
    # Area against the root of the count: ratings span three powers of ten on large data, where areas proportional to
    # them would show a few discs and much dust. The legend says what the sizes mean.
    scale = _area_scale(n)
    return np.asarray(np.maximum(scale * np.sqrt(known / max(known.max(), 1.0)) ** 1.3, scale * 0.05))


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_facecolor("white")
    for spine in ax.spines.values():
        spine.set_color("#DDDDDD")
        spine.set_linewidth(0.8)


def _caption(
    source: str | None,
    noun: str,
    n: int,
    n_enough: int,
    min_ratings: int,
    method: str,
    *,
    n_extra: int,
    given: bool,
    tinted: bool,
) -> str:
    number = f"{n:,} {noun}" if n >= n_enough else f"the {n:,} most rated of {n_enough:,} {noun}"
    parts = [number + (f" with at least {min_ratings:,} ratings" if min_ratings > 0 else "")]
    if n_extra:
        parts[0] += f" and {n_extra} highlighted"
    if source:
        parts[0] = f"{source}: {parts[0]}"
    if given:
        parts.append("positions as given")
    elif method == "pca":
        parts.append("first two principal components of the factors")
    else:
        parts.append("t-SNE of the factors (cosine)")
        parts.append("only nearness has a meaning")
    if tinted:
        parts.append("tint: a genre is unusually common here")
    return " · ".join(parts)


def _fit_caption(ax: Axes) -> None:
    """A smaller size for a caption that would run over the edge of the picture."""
    figure = ax.get_figure(root=True)
    renderer = _renderer(figure)
    left, caption = ax.get_window_extent(renderer).x0, ax.xaxis.label
    caption.set_position((0.0, 0.0))
    width = caption.get_window_extent(renderer).width
    free = renderer.width - left - 0.01 * renderer.width
    if width > free:
        caption.set_fontsize(max(5.0, caption.get_fontsize() * free / width))


def _legends(
    ax: Axes,
    own: bool,
    coloured: bool,
    colour: dict[str, str],
    ranked: list[str],
    tally: Counter[str],
    grey: npt.NDArray[np.bool_],
    known: Floats,
    area: Floats,
    counted: bool,
    place: Floats,
) -> list[Any]:
    """Genres with their number of items, and in a figure of its own the sizes; returned are those inside the axes."""
    style: dict[str, Any] = {"fontsize": 8.5, "title_fontproperties": {"size": 8.5, "weight": "bold"}}
    style |= {"labelcolor": _INK, "alignment": "left", "borderaxespad": 0.0, "handletextpad": 0.3}
    style |= {"frameon": not own, "framealpha": 0.9, "edgecolor": "#DDDDDD"}
    made = []
    bottom = 1.0
    if coloured and (ranked or grey.any()):
        entries = [(g, tally[g]) for g in ranked] + ([("other", int(grey.sum()))] if grey.any() else [])
        handles = [_dot(colour[g], 62.0, f"{g}  {k:,}") for g, k in entries]
        where = {"loc": "upper left", "bbox_to_anchor": (1.012, bottom)} if own else {"loc": _emptiest(ax, place)}
        legend = ax.legend(handles=handles, title="Genre", labelspacing=0.55, **style, **where)
        made.append(legend)
        if own:
            extent = legend.get_window_extent(_renderer(ax.get_figure(root=True)))
            bottom = float(ax.transAxes.inverted().transform((0, extent.y0))[1]) - 0.035
    if own and counted:
        steps = _round_steps(known.min(), known.max())
        log = np.interp(np.sqrt(steps), np.sqrt(np.sort(known)), np.sort(area))
        handles = [_dot("#8A8A8A", a, f"{int(c):,}") for a, c in zip(log, steps, strict=True)]
        if made:
            ax.add_artist(made[0])
        sizes = ax.legend(
            handles=handles,
            title="Ratings",
            labelspacing=0.7,
            loc="upper left",
            bbox_to_anchor=(1.012, bottom),
            **style,
        )
        made.append(sizes)
    for legend in made:
        legend.set_zorder(6)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return [] if own else made


def _dot(colour: str, area: float, label: str) -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker="o", color=colour, markeredgecolor="white", markeredgewidth=0.35,
        markersize=math.sqrt(area), label=label,
    )  # fmt: skip


def _round_steps(low: float, high: float) -> Floats:
    """Up to three round numbers (1, 2, 5 times a power of ten) that span the counts."""
    round_numbers = np.array([m * 10.0**e for e in range(10) for m in (1, 2, 5)])
    inside = round_numbers[(round_numbers >= low) & (round_numbers <= high)]
    if len(inside) == 0:
        return np.array([high])
    chosen = np.unique(np.linspace(0, len(inside) - 1, min(3, len(inside))).round().astype(int))
    return np.asarray(inside[chosen], dtype=np.float64)


def _emptiest(ax: Axes, place: Floats) -> str:
    low, high = place.min(axis=0), place.max(axis=0)
    right, top = (place > low + 0.68 * (high - low)).T
    left, bottom = (place < low + 0.32 * (high - low)).T
    corners = {"upper right": top & right, "upper left": top & left, "lower right": bottom & right}
    corners["lower left"] = bottom & left
    return min(corners, key=lambda c: int(corners[c].sum()))


def _regions(ax: Axes, place: Floats, has: Floats, ranked: list[str], colour: dict[str, str]) -> list[Text]:
    """Tint where a genre is commoner than by chance, and write its name where it is most so.

    At each point of a grid the share of a genre among the items around (Gaussian weights, some thirty items' worth) is
    held against its share on the whole map by the signed root of the deviance, a standard normal number where chance
    alone is at work. The genre with the largest root colours the place if it is over 2.5, and is named if it is over
    4: genres strewn at random colour a hundredth of the map and get a name on fewer than one map in five. All genres
    of an item count here, not only the one that colours its point.
    """
    from scipy.ndimage import label as components
    from scipy.spatial import cKDTree
    from scipy.special import xlogy

    n = len(place)
    if n < 60 or has.shape[1] == 0:
        return []  # chance alone would paint so few
    columns, rows = 150, 112
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    unit = (place - (x0, y0)) / (x1 - x0, y1 - y0)
    # Half the distance to the 30th nearest gives a Gaussian the weight of thirty items where they lie evenly.
    reach = cKDTree(unit).query(unit, k=[min(30, n // 4) + 1])[0]
    width = max(float(np.median(reach)) / 2, 0.01)
    gx, gy = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
    kx = np.exp(-0.5 * ((gx[:, None] - unit[:, 0]) / width) ** 2)  # (columns, n)
    ky = np.exp(-0.5 * ((gy[:, None] - unit[:, 1]) / width) ** 2)  # (rows, n)
    weight = ky @ kx.T  # (rows, columns)
    several = weight > 1.5  # nothing is claimed about the empty sea
    effective = weight**2 / np.maximum((ky**2) @ (kx**2).T, 1e-300)
    excess = np.full((len(ranked), rows, columns), -np.inf)
    mass = np.zeros_like(excess)
    for g in range(len(ranked)):
        p = has[:, g].mean()
        if 0 < p < 1:
            mass[g] = (ky * has[:, g]) @ kx.T
            share = np.clip(mass[g] / np.maximum(weight, 1e-300), 0.0, 1.0)
            # The signed root of the deviance: unlike the difference in standard errors it does not take three items of
            # a rare genre that meet by chance for a finding.
            deviance = 2 * effective * (xlogy(share, share / p) + xlogy(1 - share, (1 - share) / (1 - p)))
            root = np.sign(share - p) * np.sqrt(np.maximum(deviance, 0.0))
            excess[g] = np.where(several, root, -np.inf)
    winner, height = excess.argmax(axis=0), excess.max(axis=0)
    image = np.array([to_rgba(colour[g]) for g in ranked])[winner]
    image[..., 3] = 0.30 * np.clip((height - 2.5) / 2.5, 0.0, 1.0) * np.clip((weight - 1.5) / 4.0, 0.0, 1.0)
    ax.imshow(
        image, extent=(x0, x1, y0, y1), origin="lower", aspect=ax.get_aspect(), interpolation="bilinear", zorder=0.5
    )
    ax.set_xlim(x0, x1)
    ax.set_ylim(y0, y1)
    peaks = []
    least = max(
        1.0, 0.5 * math.pi * width**2 * rows * columns
    )  # cells: a name wants half a neighbourhood, not a sliver
    for g in range(len(ranked)):
        parts, n_parts = components((winner == g) & (height > 2.5))
        for part in range(1, n_parts + 1):
            found = (parts == part) & (weight > 4.0) & (height >= 4.0)
            if found.sum() >= least:
                row, column = divmod(int(np.where(found, mass[g], -np.inf).argmax()), columns)
                peaks.append((-float(height[found].max()), g, row, column))
    renderer = _renderer(ax.get_figure(root=True))
    room = _box(ax.get_window_extent(renderer))
    named: list[Text] = []
    boxes: list[Box] = []
    often: Counter[int] = Counter()
    for _, g, row, column in sorted(peaks):
        text = ax.text(
            float(x0 + gx[column] * (x1 - x0)), float(y0 + gy[row] * (y1 - y0)), ranked[g].upper(), ha="center",
            va="center", fontsize=10, fontweight="bold", color=_darker(colour[ranked[g]]), parse_math=False, zorder=4.5,
            gid="region", path_effects=[patheffects.withStroke(linewidth=3.0, foreground="white", alpha=0.8)],
        )  # fmt: skip
        box = _box(text.get_window_extent(renderer))
        outside = box[0] < room[0] or box[1] < room[1] or box[2] > room[2] or box[3] > room[3]
        if len(named) >= 14 or often[g] >= 3 or outside or any(_overlap(box, other, 4.0) for other in boxes):
            text.remove()
        else:
            often[g] += 1
            named.append(text)
            boxes.append(box)
    return named


def _darker(colour: str) -> tuple[float, float, float]:
    """Dark enough to be read as text on white."""
    r, g, b = to_rgb(colour)
    luminance = 0.2126 * r**2.2 + 0.7152 * g**2.2 + 0.0722 * b**2.2
    k = min(1.0, (0.18 / max(luminance, 1e-9)) ** (1 / 2.2))
    return (r * k, g * k, b * k)


# ---------------------------------------------------------------------------------------------------------------------
# Labels that do not overlap


def _by_fame(known: Floats, ring: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    return np.lexsort((-known, ~ring)).astype(np.int64)


def _short(title: str) -> str:
    """``Matrix, The (1999)`` as a label: no year, no second title, the article in front, at most two lines."""
    plain = re.sub(r"\s*\(\d{4}(?:[-–]\d{0,4})?\)\s*$", "", title.strip())
    plain = re.sub(r"(\s*\([^)]*\))+\s*$", "", plain) or title
    plain = re.sub(r"^(.*), (The|A|An|La|Le|Les|L'|Il|Das|Der|Die|El|Los|Las)$", r"\2 \1", plain).replace("L' ", "L'")
    # Two lines of like length read better than a long one and a word.
    longest = max(map(len, plain.split()), default=1)
    width = 25 if len(plain) <= 25 or len(plain) > 46 else max(len(plain) // 2 + 3, 14, longest)
    return (
        "\n".join(
            textwrap.wrap(plain, width, max_lines=2, placeholder=" …", break_on_hyphens=False, break_long_words=False)
        )
        or title
    )


def _label(
    ax: Axes,
    place: Floats,
    area: Floats,
    titles: list[str],
    wanted: npt.NDArray[np.int64],
    ring: npt.NDArray[np.bool_],
    n_labels: int,
    obstacles: list[Any],
) -> None:
    """Write titles beside their points, best known first, where they cover neither one another nor many points.

    Greedy: each title takes the best of some hundred places round its point, by the points it would hide and by its
    distance; places on another title, on a labelled point or on a leader line, and leader lines through them, are out.
    What finds no place is left out, and so is what lies close to a labelled point, so that all of the map gets names.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    # Texts are measured by Agg whatever canvas the figure has, so that every backend gets the same places.
    renderer = _renderer(figure)
    pixel = figure.dpi / 72.0
    at = ax.transData.transform(place)
    radius = np.sqrt(area / np.pi) * pixel
    frame = ax.get_window_extent(renderer)
    room = (frame.x0 + 3 * pixel, frame.y0 + 3 * pixel, frame.x1 - 3 * pixel, frame.y1 - 3 * pixel)
    boxes = [_box(o.get_window_extent(renderer)) for o in obstacles]
    lines: list[tuple[Floats, Floats]] = []
    pins: list[int] = [int(i) for i in np.flatnonzero(ring)]
    apart = 0.055 * math.hypot(frame.width, frame.height)
    candidates = wanted[: max(n_labels * 12, int(ring.sum()))]
    placed = 0
    taken: set[str] = set()
    done: set[int] = set()
    # Spread first; where the items lie in few tight groups the rest come closer to one another.
    for i, clear in [(i, apart * share) for share in (1.0, 0.5, 0.25) for i in candidates.tolist()]:
        if placed >= n_labels + int(ring.sum()):
            break
        if i in done:
            continue
        bold = bool(ring[i])
        near = np.hypot(*(at[pins] - at[i]).T) if pins else np.empty(0)
        if not bold and len(near) and near.min() < clear:
            continue
        words = _short(titles[i])
        words = titles[i] if words in taken else words  # a remake keeps its year
        label = ax.annotate(
            words, place[i], xytext=(0, 0), textcoords="offset points", ha="center", va="center",
            fontsize=8.0 if bold else 7.2, fontweight="bold" if bold else "normal", color=_INK, linespacing=0.95,
            parse_math=False, zorder=5, annotation_clip=False, gid="label",
            path_effects=[patheffects.withStroke(linewidth=2.2, foreground="white", alpha=0.85)],
        )  # fmt: skip
        extent = Text.get_window_extent(label, renderer)
        found = _place_for(
            at[i],
            radius[i],
            extent.width,
            extent.height,
            room,
            boxes,
            lines,
            at,
            radius,
            [p for p in pins if p != i],
            pixel,
        )
        if found is None:
            label.remove()
            continue
        offset, box, line = found
        label.set_position((float(offset[0]) / pixel, float(offset[1]) / pixel))
        if line is not None:
            _lead(ax, place[i], line, at[i], pixel)
            lines.append(line)
        boxes.append(box)
        done.add(i)
        taken.add(_short(titles[i]))
        if not bold:
            pins.append(i)
        placed += 1


def _renderer(figure: Figure | None) -> Any:
    assert figure is not None
    agg: Any = RendererAgg
    width, height = figure.get_size_inches() * figure.dpi
    return agg(max(1, math.ceil(width)), max(1, math.ceil(height)), figure.dpi)


Box: TypeAlias = tuple[float, float, float, float]


def _box(extent: Any) -> Box:
    return (extent.x0, extent.y0, extent.x1, extent.y1)


def _overlap(a: Box, b: Box, gap: float) -> bool:
    return a[0] < b[2] + gap and b[0] < a[2] + gap and a[1] < b[3] + gap and b[1] < a[3] + gap


def _crosses(line: tuple[Floats, Floats], box: Box) -> bool:
    """Whether a segment meets a box (Liang and Barsky's clipping)."""
    start, step = line[0], line[1] - line[0]
    enter, leave = 0.0, 1.0
    for axis in (0, 1):
        if step[axis] == 0:
            if not box[axis] <= start[axis] <= box[axis + 2]:
                return False
            continue
        a, b = sorted(((box[axis] - start[axis]) / step[axis], (box[axis + 2] - start[axis]) / step[axis]))
        enter, leave = max(enter, a), min(leave, b)
    return enter <= leave


def _cross(a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> bool:
    """Whether two segments meet."""

    def side(p: Floats, q: Floats, r: Floats) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return side(*a, b[0]) * side(*a, b[1]) <= 0 and side(*b, a[0]) * side(*b, a[1]) <= 0


_ANGLES = np.deg2rad([0, 180, 90, 270, 30, 330, 150, 210, 60, 120, 240, 300])  # beside is read first, then above


def _place_for(
    point: Floats,
    radius: float,
    width: float,
    height: float,
    room: Box,
    boxes: list[Box],
    lines: list[tuple[Floats, Floats]],
    at: Floats,
    radii: Floats,
    pins: list[int],
    pixel: float,
) -> tuple[Floats, Box, tuple[Floats, Floats] | None] | None:
    """The best free place for a text: its offset from the point, its box and, if it lies off, its leader line."""
    best: tuple[float, Floats, Box, tuple[Floats, Floats] | None] | None = None
    for ring, away in enumerate((2.0, 7.0, 13.0, 20.0, 28.0, 38.0)):
        reach = radius + away * pixel
        for rank, angle in enumerate(_ANGLES):
            way = np.array([math.cos(angle), math.sin(angle)])
            # The nearest point of the box's edge lies `reach` away along the angle.
            offset = way * reach + np.clip(way * 1.6, -1, 1) * np.array([width, height]) / 2
            centre = point + offset
            box = (centre[0] - width / 2, centre[1] - height / 2, centre[0] + width / 2, centre[1] + height / 2)
            if box[0] < room[0] or box[1] < room[1] or box[2] > room[2] or box[3] > room[3]:
                continue
            if any(_overlap(box, other, 2.0 * pixel) for other in boxes) or any(_crosses(line, box) for line in lines):
                continue
            gap = np.maximum(np.array(box[:2]) - at, at - np.array(box[2:])).max(axis=1) - radii
            if any(gap[p] < 0 for p in pins):
                continue
            line = None
            if ring:
                end = np.clip(point, box[:2], box[2:])
                line = (point + way * radius, end)
                if any(_crosses(line, other) for other in boxes) or any(_cross(line, other) for other in lines):
                    continue
            hidden = float(np.sqrt(np.clip(-gap, 0, None)).sum() / pixel**0.5)
            cost = hidden + 1.5 * ring + 0.25 * rank
            if best is None or cost < best[0]:
                best = (cost, offset, box, line)
    return None if best is None else best[1:]


def _lead(ax: Axes, place: Floats, line: tuple[Floats, Floats], point: Floats, pixel: float) -> None:
    """A thin line from the point to its title, in points from the point so that it holds at any dpi."""
    ax.annotate(
        "", (place[0], place[1]), xytext=tuple((line[1] - point) / pixel), textcoords="offset points",
        annotation_clip=False, zorder=4, gid="leader",
        arrowprops={
            "arrowstyle": "-", "linewidth": 0.6, "color": _QUIET, "shrinkA": 0,
            "shrinkB": float(np.hypot(*(line[0] - point))) / pixel,
        },
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The history of a fit


def history(models_or_histories: Any, *, fig: Figure | SubFigure | None = None, title: str | None = None) -> Figure:
    """Draw loss and RMSE per iteration, for one model or several.

    Parameters
    ----------
    models_or_histories : fitted model, its ``history_``, a list of them, or a dict from names to them
        A history is a dict of equally long lists ``"loss"``, ``"train_rmse"`` and, if test ratings were given,
        ``"test_rmse"``. Models in a list go by the name of their class.
    fig : matplotlib Figure or SubFigure, optional
        Draw into this one, which should be empty. Default: a figure of 1600 x 675 pixels of its own.
    title : str, optional
        A headline.

    Returns
    -------
    fig : matplotlib Figure
        ``fig.savefig("history.png")`` writes it; in a notebook ``fig`` shows it.

    Raises
    ------
    TypeError
        For something that has no ``history_``.
    ValueError
        For a history without iterations, of unequal lengths or with values that are not finite.

    Notes
    -----
    The loss is drawn on a logarithmic axis where it spans more than a factor of five, the RMSE always on a linear one.
    The numbers at the ends of the lines are the last values; a ring is the lowest test RMSE where that is not the last.
    """
    histories = _histories(models_or_histories)
    if fig is None:
        fig = Figure(figsize=(10.67, 4.5), dpi=_DPI, facecolor="white")
        FigureCanvasAgg(fig)
    left, right = fig.subplots(1, 2)
    top = 0.91 - 0.055 * (len(histories) > 1) - 0.075 * (title is not None)
    fig.subplots_adjust(left=0.075, right=0.91, bottom=0.125, top=top, wspace=0.42)
    last = max(len(h["loss"]) for h in histories.values())
    colours = dict(zip(histories, _LINES * (len(histories) // len(_LINES) + 1), strict=False))
    marker = "o" if last <= 30 else None
    ends: dict[Axes, list[tuple[float, str, str]]] = {left: [], right: []}
    for name, h in histories.items():
        for ax, key, style in ((left, "loss", "-"), (right, "train_rmse", "-"), (right, "test_rmse", (0, (4, 1.5)))):
            if key not in h:
                continue
            y = h[key]
            x = np.arange(1, len(y) + 1)
            hollow = "white" if key == "test_rmse" else colours[name]
            ax.plot(
                x, y, linestyle=style, color=colours[name], linewidth=1.8, marker=marker, markersize=3.6,
                markerfacecolor=hollow, markeredgewidth=1.1, label=f"{name} {key}", clip_on=False, zorder=3,
            )  # fmt: skip
            if len(y) < last:  # the way from a shorter fit to its numbers
                ax.plot([len(y), last], [y[-1]] * 2, linestyle=":", color=colours[name], linewidth=0.8, label="_lead")
            best = int(np.argmin(y))
            if key == "test_rmse" and best < len(y) - 1:
                ax.plot(
                    [x[best]], [y[best]], linestyle="none", marker="o", markersize=8, markerfacecolor="none",
                    markeredgecolor=colours[name], markeredgewidth=1.2, label="_best", zorder=4,
                )  # fmt: skip
            said = f"{y[-1]:,.0f}" if key == "loss" and y[-1] >= 1000 else f"{y[-1]:.4g}"
            if key != "loss":
                said = f"{key.removesuffix('_rmse')} {y[-1]:.3f}"
            ends[ax].append((float(y[-1]), said, colours[name]))
    losses = np.concatenate([h["loss"] for h in histories.values()])
    if losses.min() > 0 and losses.max() > 5 * losses.min():
        left.set_yscale("log")
        left.yaxis.set_minor_formatter(NullFormatter())
    for ax, what in ((left, "Loss (regularised objective)"), (right, "RMSE, in units of the ratings")):
        ax.set_title(what, loc="left", fontsize=10.5, fontweight="bold", color=_INK, pad=8)
        ax.set_xlabel("iteration", fontsize=9, color=_QUIET)
        ax.set_xlim(0.5 if last == 1 else 1, max(last, 1.5))
        ax.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, min_n_ticks=1))
        if ax.get_yscale() == "linear":
            ax.yaxis.set_major_locator(MaxNLocator(nbins=6))
            plain = ScalarFormatter(useOffset=False)
            plain.set_scientific(False)
            large = ax is left and losses.max() >= 1000
            ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}") if large else plain)
        ax.tick_params(labelsize=8.5, color="#BBBBBB", labelcolor=_QUIET)
        ax.grid(axis="y", color="#E8E8E8", linewidth=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color("#BBBBBB")
        _end_labels(ax, ends[ax])
    _head(fig, colours, title)
    root: Figure = left.get_figure(root=True)
    return root


def _head(fig: Figure | SubFigure, colours: dict[str, str], title: str | None) -> None:
    """What stands above both halves: the names of the lines in their colours, where there are several, and the title."""
    if len(colours) > 1:
        handles = [Line2D([], [], color=colour, linewidth=2.4, label=name) for name, colour in colours.items()]
        legend = fig.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(0.068, 0.945 if title else 0.985), ncols=6,
            frameon=False, fontsize=9.5, labelcolor="linecolor", borderaxespad=0, handlelength=1.4,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)
    if title:
        fig.text(0.075, 0.955, title, fontsize=12, fontweight="bold", color=_INK, va="bottom", parse_math=False)


_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#222222")


def _end_labels(ax: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Last values beside the ends of the lines, pushed apart so that they do not overlap."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    line = 11.5 * figure.dpi / 72  # pixels from one text to the next
    ax.autoscale_view()
    frame = ax.get_window_extent()
    x1 = ax.get_xlim()[1]
    ends = sorted(ends)
    at = [float(ax.transData.transform((x1, y))[1]) for y, _, _ in ends]
    spot = list(at)
    for j in range(1, len(spot)):
        spot[j] = max(spot[j], spot[j - 1] + line)
    # Centre each run of touching texts on its points.
    j = 0
    while j < len(spot):
        k = j
        while k + 1 < len(spot) and spot[k + 1] - spot[k] <= line * 1.001:
            k += 1
        shift = float(np.mean(at[j : k + 1]) - np.mean(spot[j : k + 1]))
        floor = spot[j - 1] + line if j else frame.y0
        shift = max(shift, floor - spot[j])
        spot[j : k + 1] = [s + shift for s in spot[j : k + 1]]
        j = k + 1
    for (y, said, colour), was, now in zip(ends, at, spot, strict=True):
        ax.annotate(
            said, (1.0, y), xycoords=("axes fraction", "data"), xytext=(7, (now - was) * 72 / figure.dpi),
            textcoords="offset points", va="center", fontsize=8.5, color=colour, annotation_clip=False, gid="end",
        )  # fmt: skip


def plot_reliability(
    models: Any,
    R: Any,
    y: Any = None,
    *,
    n_groups: int = 10,
    fig: Figure | SubFigure | None = None,
    title: str | None = None,
) -> Figure:
    """Draw how true models' uncertainties are, on ratings they were not fitted to.

    Parameters
    ----------
    models : fitted model, a list of them, or a dict from names to them
        Models with ``predict_interval``. Those in a list go by the name of their class.
    R, y
        Test ratings, whatever `alsx.Ratings` takes.
    n_groups : int, default=10
        Groups of equally many ratings, from those with the smallest predicted standard deviation to the largest, 2 or more.
    fig : matplotlib Figure or SubFigure, optional
        Draw into this one, which should be empty. Default: a figure 1600 pixels wide of its own.
    title : str, optional
        A headline.

    Returns
    -------
    fig : matplotlib Figure
        ``fig.savefig("reliability.png")`` writes it; in a notebook ``fig`` shows it.

    Raises
    ------
    TypeError
        For something that has no ``predict_interval``.
    ValueError
        For no model, or fewer test ratings than groups.

    Notes
    -----
    Left: the share of ratings within ``predict_interval`` against the level that was asked for. Right: the root mean square
    error of each group against its predicted one, the root mean square of the standard deviations, with bars of two standard
    errors. Both lie on the diagonal where uncertainties are true; the right one is the wider, the more they tell apart.

    References
    ----------
    T. Gneiting, F. Balabdaoui, A. Raftery, "Probabilistic forecasts, calibration and sharpness", Journal of the Royal
    Statistical Society B 69(2), 2007, pages 243-268.
    """
    _whole("n_groups", n_groups, 2)
    named = _named_models(models)
    test = R if isinstance(R, Ratings) and y is None else Ratings(R, y)
    truth = test.triples()[2].astype(np.float64)
    if len(truth) < n_groups:
        raise ValueError(f"R has {len(truth)} ratings, fewer than n_groups, {n_groups}: give more test ratings")
    if fig is None:
        fig = Figure(figsize=(10.67, 5.7 if title is None and len(named) == 1 else 6.2), dpi=_DPI, facecolor="white")
        FigureCanvasAgg(fig)
    left, right = fig.subplots(1, 2)
    top = 0.91 - 0.055 * (len(named) > 1) - 0.075 * (title is not None)
    fig.subplots_adjust(left=0.075, right=0.975, bottom=0.115, top=top, wspace=0.24)
    colours = dict(zip(named, _LINES * (len(named) // len(_LINES) + 1), strict=False))
    levels = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])
    said = []
    reach = [np.inf, -np.inf]
    for name, model in named.items():
        mean, std = model.predict(test, return_std=True)
        inside = []
        for level in levels:
            low, high = model.predict_interval(test, level=float(level))
            inside.append(float(np.mean((truth >= low) & (truth <= high))))
        look: dict[str, Any] = {
            "color": colours[name], "marker": "o", "markersize": 4, "linewidth": 1.6, "label": name, "zorder": 3
        }  # fmt: skip
        left.plot(levels, inside, clip_on=False, **look)
        groups = np.array_split(np.argsort(std, kind="stable"), n_groups)
        expected = np.array([np.sqrt(np.mean(std[group] ** 2)) for group in groups])
        squares = [(truth[group] - mean[group]) ** 2 for group in groups]
        actual = np.array([np.sqrt(np.mean(x)) for x in squares])
        # Of a root of a mean: half the standard error of the mean, over the root.
        errors = [np.std(x) / np.sqrt(len(x)) / 2 / max(a, 1e-300) for x, a in zip(squares, actual, strict=True)]
        bars = 2 * np.array(errors)
        right.errorbar(expected, actual, yerr=bars, elinewidth=0.9, **look)
        reach = [min(reach[0], *expected, *(actual - bars)), max(reach[1], *expected, *(actual + bars))]
        said.append((f"{inside[8]:.1%}", colours[name]))
    _diagonal(left, 0.0, 1.0)
    margin = 0.04 * (reach[1] - reach[0]) or 1.0
    _diagonal(right, max(0.0, reach[0] - margin), reach[1] + margin)
    for ax in (left, right):
        ax.tick_params(labelsize=8.5, color="#BBBBBB", labelcolor=_QUIET)
        ax.grid(color="#E8E8E8", linewidth=0.8)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color("#BBBBBB")
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    left.set_title("Ratings within the interval", loc="left", fontsize=10.5, fontweight="bold", color=_INK, pad=8)
    left.set_xlabel("asked for", fontsize=9, color=_QUIET)
    left.set_ylabel("found", fontsize=9, color=_QUIET)
    left.text(0.97, 0.04 + 0.055 * len(said), "within 90 % intervals", ha="right", color=_QUIET, fontsize=8.5)
    for place, (text, colour) in enumerate(reversed(said)):
        left.text(0.97, 0.04 + 0.055 * place, text, ha="right", color=colour, fontsize=8.5, gid="coverage")
    kind = {10: "tenths", 5: "fifths", 4: "quarters"}.get(n_groups, f"{n_groups} groups")
    right.set_title(
        f"RMSE: {kind} of the ratings by predicted deviation", loc="left", fontsize=10.5, fontweight="bold", color=_INK,
        pad=8,
    )  # fmt: skip
    right.set_xlabel("predicted, in units of the ratings", fontsize=9, color=_QUIET)
    right.set_ylabel("found", fontsize=9, color=_QUIET)
    _head(fig, colours, title)
    root: Figure = left.get_figure(root=True)
    return root


def _diagonal(ax: Axes, low: float, high: float) -> None:
    """Where what is found is what was predicted."""
    ax.plot([low, high], [low, high], color="#BBBBBB", linewidth=1, linestyle=(0, (4, 2)), label="_true", zorder=1)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_aspect("equal", anchor="NW")


def _named_models(given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        named = {str(name): model for name, model in given.items()}
    else:
        named = {}
        for model in given if isinstance(given, (list, tuple)) else [given]:
            kind = type(model).__name__
            name, again = kind, 1
            while name in named:
                again += 1
                name = f"{kind} {again}"
            named[name] = model
    if not named:
        raise ValueError("models is empty: give at least one fitted model")
    for name, model in named.items():
        if not hasattr(model, "predict_interval"):
            raise TypeError(f"{name} ({type(model).__name__}) has no predict_interval: give a fitted alsx model")
    return named


def _histories(given: Any) -> dict[str, dict[str, Floats]]:
    if isinstance(given, Mapping) and "loss" not in given:
        named = {str(name): one for name, one in given.items()}
    elif isinstance(given, (list, tuple)):
        named = {}
        for one in given:
            kind = "fit" if isinstance(one, Mapping) else type(one).__name__
            name, again = kind, 1
            while name in named:
                again += 1
                name = f"{kind} {again}"
            named[name] = one
    else:
        named = {"fit" if isinstance(given, Mapping) else type(given).__name__: given}
    if not named:
        raise ValueError("models_or_histories is empty: give at least one fitted model or history_")
    return {name: _one_history(name, one) for name, one in named.items()}


def _one_history(name: str, one: Any) -> dict[str, Floats]:
    raw = one if isinstance(one, Mapping) else getattr(one, "history_", None)
    if not isinstance(raw, Mapping):
        raise TypeError(
            f"{name} ({type(one).__name__}) has no history_: fit the model first, or give its history_ dict"
        )
    for key in ("loss", "train_rmse"):
        if key not in raw:
            raise ValueError(f"the history of {name} has no {key!r}; it has {sorted(map(str, raw))}")
    out: dict[str, Floats] = {}
    for key in ("loss", "train_rmse", "test_rmse"):
        if raw.get(key) is None or (key == "test_rmse" and len(raw[key]) == 0):
            continue
        values = np.asarray(raw[key], dtype=np.float64)
        if values.ndim != 1 or len(values) == 0:
            raise ValueError(f"the history of {name} has no iterations in {key!r}: fit with max_iter of at least 1")
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise ValueError(f"the history of {name} holds {values[wrong[0]]} in {key!r} at iteration {wrong[0] + 1}")
        if len(values) != len(raw["loss"]):
            raise ValueError(
                f"the history of {name} has {len(values)} iterations in {key!r} and {len(raw['loss'])} in 'loss'"
            )
        out[key] = values
    return out


# ---------------------------------------------------------------------------------------------------------------------
# What is let in


def _whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or int(value) < low or (high is not None and int(value) > high):
        bound = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name} must be a whole number {bound}, not {value!r}")


def _aligned(name: str, values: Any, n: int) -> Any:
    if len(values) != n:
        raise ValueError(f"{name} has {len(values)} entries for {n} items: give one for each row, in the same order")
    return values


def _vectors(values: Any, name: str = "vectors", width: int | None = None) -> Floats:
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be numbers, not of dtype {array.dtype}")
    if array.ndim != 2 or array.size == 0 or (width is not None and array.shape[1] != width):
        raise ValueError(f"{name} must have the shape (n, {width or 'k'}) with n, k >= 1; it is {array.shape}")
    array = array.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(wrong):
        column = int(np.flatnonzero(~np.isfinite(array[wrong[0]]))[0])
        raise ValueError(
            f"{name} is {array[wrong[0], column]} in row {wrong[0]}, column {column} ({len(wrong)} such rows): "
            "leave these rows out, or fit again with a larger reg"
        )
    return array


def _genre_lists(genres: Sequence[Sequence[str] | str | None], n: int | None) -> list[list[str]]:
    if n is not None:
        _aligned("genres", genres, n)
    lists = [() if g is None else g.split("|") if isinstance(g, str) else g for g in genres]
    return [[str(name) for name in names if str(name) not in _NO_GENRE] for names in lists]


def _unit_rows(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return unit


def _principal_plane(points: Floats) -> Floats:
    """Coordinates along the two main axes, from the centre; the far end of each axis is on its positive side."""
    centred = points - points.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)  # (k, k), ascending
    plane = np.zeros((len(points), 2))
    main = axes[:, :-3:-1]
    plane[:, : main.shape[1]] = centred @ main
    far = plane[np.abs(plane).argmax(axis=0), [0, 1]]
    return plane * np.where(far < 0, -1.0, 1.0)

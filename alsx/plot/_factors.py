"""Reading factors: the items at both ends of each, and how much it moves predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.transforms import blended_transform_factory

from alsx import _check
from alsx.plot._embedding import FORMATS, Genres
from alsx.plot._labels import short_title
from alsx.plot._map import Items, read_items
from alsx.plot._palette import genre_colours
from alsx.plot._panels import LABEL_SIZE, LAYOUT, NOTE_SIZE, PANEL_TITLE_SIZE, TICK_SIZE, head_figure
from alsx.plot._style import (
    AXIS_COLOUR,
    BAR_COLOUR,
    LINE_COLOURS,
    QUIET_COLOUR,
    TEXT_COLOUR,
    Bools,
    Floats,
    new_figure,
    readable_on_white,
    root_figure,
)

# Inches: of a panel's head and axis, of a line of its lists, and of the label below all panels.
ROW_HEIGHT, LINE_HEIGHT, LABEL_HEIGHT = 0.48, 0.148, 0.2
N_BARS = 41  # of the histogram
MAX_TITLE = 44  # letters
END_SHARE, MIN_END = 0.05, 20  # of the items, at an end of a factor, whose genres are compared with those of all
MIN_LIFT_ROOT, MAX_LIFTED = 3.0, 2  # signed root of the deviance of a genre that is named, and how many are
END_COLOURS = (LINE_COLOURS[1], LINE_COLOURS[0])


class Axis(NamedTuple):
    """One direction in which tastes differ."""

    position: Floats
    """(n_items,), what an item gains, in rating units, with a user one standard deviation along the direction."""
    share: float
    """Of the variance of the factors' part of the predictions."""


def factors(
    model: Any,
    titles: Sequence[str] | None = None,
    genres: Genres | None = None,
    *,
    n_factors: int = 4,
    n_items: int = 6,
    min_ratings: int = 20,
    title: str | None = None,
    noun: str = "films",
    fig: Figure | SubFigure | None = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Draw what the factors are about: the items at both ends of each, the most influential factors first.

    Factors come out of a fit in no order and turned in any way, since a rotation of all factors changes no prediction. They are
    read after the one rotation that makes them uncorrelated over users and over items: the first then is the direction in
    which predictions differ most from one user to another, as the axes of a principal component analysis.

    Parameters
    ----------
    model : fitted FactorALS, BayesALS or RankALS
    titles : sequence of n_items str, optional
        One for each row of ``model.item_factors_``. Default: the ids.
    genres : sequence of n_items lists of str, or of str, optional
        In the same order; then each end also says which genres are more common there than by chance.
    n_factors : int, default=4
        How many directions, at most ``k``.
    n_items : int, default=6
        How many items at each end.
    min_ratings : int, default=20
        Items with fewer ratings are left out: their factors are mostly noise.
    title : str, optional
        A headline.
    noun : str, default="films"
        What the items are.
    fig : matplotlib Figure or SubFigure, optional
        Draw into this one, which should be empty. Default: a figure 1600 pixels wide of its own.
    ax : matplotlib Axes, or a sequence of them, optional
        Draw into these instead, one for each direction; their number takes the place of `n_factors`.

    Returns
    -------
    fig : matplotlib Figure
        ``fig.savefig("factors.png")`` writes it; in a notebook ``fig`` shows it.

    Raises
    ------
    TypeError
        For a model without factors, or a parameter of a wrong type.
    ValueError
        If lengths differ, fewer items than ``2 * n_items`` have enough ratings, or a parameter is out of its range; if both `fig`
        and `ax` are given.

    Notes
    -----
    The position of an item is what a user one standard deviation along the direction gives it more than one in the middle, in
    units of the ratings, beyond its bias and the user's. The sign of a direction has no meaning.

    Examples
    --------
    >>> from alsx import FactorALS, plot
    >>> from alsx.datasets import make_ratings
    >>> model = FactorALS(k=2, random_state=0).fit(make_ratings(200, 50, 3000, random_state=0))
    >>> len(plot.factors(model, n_items=3, noun="items").axes)
    2
    """
    items = read_items(model, titles, genres, None)
    _check.integer("n_factors", n_factors, 1)
    _check.integer("n_items", n_items, 1)
    _check.integer("min_ratings", min_ratings, 0)
    users: Floats = np.asarray(getattr(model, "user_factors_", np.empty((0, 0))), dtype=np.float64)
    if users.ndim != 2 or len(users) == 0 or users.shape[1] == 0:
        raise TypeError(f"{type(model).__name__} has no user factors; factors are read from a fitted model with k >= 1")
    assert items.counts is not None  # a model has them
    enough = np.flatnonzero(items.counts >= min_ratings)
    if len(enough) < 2 * n_items:
        raise ValueError(
            f"min_ratings is {min_ratings}, with which {len(enough)} {noun} are left for lists of n_items={n_items} at two ends; "
            "lower either"
        )
    if ax is not None:
        if fig is not None:
            raise ValueError("fig and ax are both given; give one of them")
        panels = [ax] if isinstance(ax, Axes) else list(np.asarray(ax, dtype=object).ravel())
        n_factors = len(panels)
    axes = principal_axes(users, items.vectors, items.counts)[:n_factors]
    if ax is None:
        n_lines = n_items + (items.genres is not None)
        height = (ROW_HEIGHT + LINE_HEIGHT * n_lines) * len(axes) + LABEL_HEIGHT + 0.3 * (title is not None)
        fig = new_figure(height) if fig is None else fig
        if isinstance(fig, Figure):
            fig.set_layout_engine("constrained", h_pad=0.04, w_pad=LAYOUT["w_pad"])
        panels = list(np.atleast_1d(np.asarray(fig.subplots(len(axes), 1), dtype=object)))
        head_figure(fig, title, {}, own=True)
    for number, (panel, axis) in enumerate(zip(panels, axes, strict=False)):
        words = f"Direction {number + 1}: {axis.share:.0%} of the variance of tastes"
        draw_axis(panel, axis.position[enough], part_of(items, enough), n_items, words)
    panels[min(len(panels), len(axes)) - 1].set_xlabel(
        "what a user one standard deviation along gives more, in units of the ratings",
        fontsize=LABEL_SIZE,
        color=QUIET_COLOUR,
    )
    return root_figure(panels[0])


def part_of(items: Items, rows: npt.NDArray[np.int64]) -> Items:
    """Return some of the items."""
    assert items.counts is not None
    genres = None if items.genres is None else [[g for g in items.genres[i] if g not in FORMATS] for i in rows]
    return Items(items.vectors[rows], items.ids[rows], [items.titles[i] for i in rows], genres, items.counts[rows])


def principal_axes(users: Floats, items: Floats, counts: Floats) -> list[Axis]:
    """Return the directions in which predictions differ from user to user, the one with the largest variance first.

    Items count by their numbers of ratings, users alike. With covariances C of the users (k, k) and D of the items (k, k), the
    variance of p'q over pairs is tr(C D); the eigenvectors of C^1/2 D C^1/2 (k, k) split it into uncorrelated parts.
    """
    centred = users - users.mean(axis=0)
    covariance = centred.T @ centred / len(users)  # C (k, k)
    weights = counts / max(counts.sum(), 1.0)
    away = items - weights @ items
    spread = (away.T * weights) @ away  # D (k, k)
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T  # C^1/2
    variance, rotation = np.linalg.eigh(root @ spread @ root)
    order = np.argsort(-variance, kind="stable")
    position = away @ root @ rotation[:, order]  # (n, k)
    # The sign that makes the longer tail the right one, so that it is the same for all rotations of the factors.
    position *= np.where((weights @ position**3) < 0, -1.0, 1.0)
    total = max(float(variance.sum()), 1e-300)
    return [Axis(position[:, f], float(variance[order[f]]) / total) for f in range(position.shape[1])]


def draw_axis(ax: Axes, position: Floats, items: Items, n_items: int, title: str) -> None:
    """Draw the distribution of the items along one direction, and the lists of those at its ends to both sides."""
    order = np.argsort(position, kind="stable")
    limit = float(np.abs(position).max()) or 1.0
    counts, edges = np.histogram(position, bins=N_BARS, range=(-limit, limit))
    middles = (edges[:-1] + edges[1:]) / 2
    ax.bar(middles, counts, width=(edges[1] - edges[0]) * 0.9, color=BAR_COLOUR, alpha=0.55, linewidth=0, zorder=1)
    ax.set_xlim(-3.9 * limit, 3.9 * limit)
    ax.set_ylim(0, max(float(counts.max()), 1.0) * 1.05)
    ax.set_yticks([])
    ticks = [-limit, 0.0, limit]
    ax.set_xticks(ticks, [f"{tick:+.2f}".replace("-", "−") if tick else "0" for tick in ticks])
    ax.tick_params(labelsize=TICK_SIZE, color=AXIS_COLOUR, labelcolor=QUIET_COLOUR)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_bounds(-limit, limit)
    ax.spines["bottom"].set_color(AXIS_COLOUR)
    ax.set_title(title, loc="left", fontsize=PANEL_TITLE_SIZE, fontweight="bold", color=TEXT_COLOUR, pad=5)
    ends = (order[:n_items], order[::-1][:n_items])
    for side, (rows, colour) in enumerate(zip(ends, END_COLOURS, strict=True)):
        for i in rows:
            ax.plot([position[i]] * 2, [0, counts.max() * 0.12], color=colour, linewidth=1.0, zorder=3)
        write_list(
            ax, side, [cut(items.titles[i]) for i in rows], position[rows], colour, end_genres(items, order, side)
        )


def write_list(
    ax: Axes, side: int, titles: list[str], positions: Floats, colour: str, genres: list[tuple[str, str]] | None
) -> None:
    """Write the items of one end as a list beside the distribution, the outermost first, under the genres that stand out."""
    n_lines = len(titles) + (genres is not None)
    right = side == 1
    x, align = (0.645, "left") if right else (0.355, "right")
    trans = blended_transform_factory(ax.transAxes, ax.transAxes)
    if genres is not None:
        words = " · ".join(name for name, _ in genres) or "no genre stands out"
        shade: Any = readable_on_white(genres[0][1]) if genres else QUIET_COLOUR
        ax.text(
            x, 1 - 0.5 / n_lines, words, transform=trans, ha=align, va="center", fontsize=NOTE_SIZE, fontweight="bold",
            color=shade, parse_math=False, gid="genres",
        )  # fmt: skip
    for line, (title, position) in enumerate(zip(titles, positions, strict=True)):
        y = 1 - (line + 0.5 + (genres is not None)) / n_lines
        value = f"{position:+.2f}".replace("-", "−")
        text = f"{value}  {title}" if right else f"{title}  {value}"
        ax.text(
            x, y, text, transform=trans, ha=align, va="center", fontsize=NOTE_SIZE, color=TEXT_COLOUR, parse_math=False,
            gid="high" if right else "low",
        )  # fmt: skip


def cut(title: str) -> str:
    """Return a title in one line."""
    short = short_title(title).replace("\n", " ")
    return short if len(short) <= MAX_TITLE else short[: MAX_TITLE - 1].rstrip() + "…"


def end_genres(items: Items, order: npt.NDArray[np.int64], side: int) -> list[tuple[str, str]] | None:
    """Return the genres that are more common at one end than by chance, with their colours; None where none are known."""
    if items.genres is None:
        return None
    n = min(max(MIN_END, round(END_SHARE * len(order))), len(order))
    end: Bools = np.zeros(len(order), dtype=bool)
    end[order[:n] if side == 0 else order[::-1][:n]] = True
    names = sorted({name for genres in items.genres for name in genres})
    lifts = []
    for name in names:
        has = np.array([name in genres for genres in items.genres])
        root = deviance_root(float(has[end].mean()), float(has.mean()), n)
        if root >= MIN_LIFT_ROOT:
            lifts.append((-root, name))
    colours = genre_colours(names)
    return [(name, colours[name]) for _, name in sorted(lifts)[:MAX_LIFTED]]


def deviance_root(share: float, p: float, n: int) -> float:
    """Return the signed root of the deviance of a share among n from that of all, a standard normal number by chance."""
    from scipy.special import xlogy

    if not 0 < p < 1:
        return 0.0
    deviance = 2 * n * (xlogy(share, share / p) + xlogy(1 - share, (1 - share) / (1 - p)))
    return float(np.sign(share - p) * np.sqrt(max(deviance, 0.0)))

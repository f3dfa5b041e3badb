"""How ratings are distributed over their values, and over items and users."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from alsx.plot._panels import axes_for, dress, note
from alsx.plot._style import BAR_COLOUR, LINE_COLOURS, Floats
from alsx.ratings import Ratings

MAX_VALUES = 25  # of the ratings; more are put into as many classes
BAR_SHARE = 0.8  # of the distance from one bar to the next
MARK_COLOUR = LINE_COLOURS[1]


def rating_distribution(R: Any, y: Any = None, *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw which ratings are given how often, with their mean and standard deviation.

    Parameters
    ----------
    R, y
        Ratings, whatever `alsx.Ratings` takes.
    title : str, optional
        Default: how many ratings there are.
    ax : matplotlib Axes, optional
        Draw here. Default: a figure of 1600 x 800 pixels of its own.

    Returns
    -------
    ax : matplotlib Axes
        ``ax.figure.savefig("ratings.png")`` writes it; in a notebook ``ax.figure`` shows it.

    Raises
    ------
    TypeError, ValueError
        As `alsx.Ratings`.

    Notes
    -----
    A bar for each value, or for each of 25 equal classes where there are more values than that. The line is the mean, the band
    one standard deviation to either side.

    Examples
    --------
    >>> from alsx import plot
    >>> ax = plot.rating_distribution([("ann", 7), ("bob", 7), ("ann", 3)], [4.5, 3.0, 4.5])
    >>> [text.get_text() for text in ax.get_xticklabels()]
    ['3', '4.5']
    """
    ratings = read(R, y)
    values = ratings.triples()[2].astype(np.float64)
    ax = axes_for(ax)
    place, share, width = histogram(values)
    mean, std = float(values.mean()), float(values.std())
    ax.axvspan(mean - std, mean + std, color=MARK_COLOUR, alpha=0.08, linewidth=0, zorder=0, gid="std")
    ax.axvline(mean, color=MARK_COLOUR, linewidth=1.2, zorder=3, gid="mean")
    ax.bar(place, share, width=width, color=BAR_COLOUR, zorder=2)
    dress(ax, title or f"{len(values):,} ratings by value", "rating", "share of the ratings", grid="y")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if len(place) <= MAX_VALUES and len(np.unique(values)) == len(place):
        ax.set_xticks(place, [f"{value:g}" for value in place])
    ax.set_xlim(place[0] - width, place[-1] + width)
    note(ax, f"mean {mean:.2f}\nstandard deviation {std:.2f}", 0.015, 0.98, color=MARK_COLOUR)
    ax.set_ylim(0, float(share.max()) * 1.12)
    return ax


def histogram(values: Floats) -> tuple[Floats, Floats, float]:
    """Return places, shares and the width of the bars: one for each value, or for each class where there are too many."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= MAX_VALUES:
        step = float(np.diff(distinct).min()) if len(distinct) > 1 else 1.0
        return distinct, counts / len(values), BAR_SHARE * step
    counts, edges = np.histogram(values, bins=MAX_VALUES)
    return (edges[:-1] + edges[1:]) / 2, counts / len(values), float(edges[1] - edges[0]) * 0.96


def popularity(
    R: Any,
    y: Any = None,
    *,
    by: Literal["item", "user"] = "item",
    noun: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how unevenly the ratings are spread over items, or over users: the number of ratings of each, the most first.

    Parameters
    ----------
    R, y
        Ratings, whatever `alsx.Ratings` takes.
    by : {"item", "user"}, default="item"
        Whose ratings are counted.
    noun : str, optional
        What they are, such as ``"films"``. Default: "items" or "users".
    title : str, optional
        Default: whose ratings are counted.
    ax : matplotlib Axes, optional
        Draw here. Default: a figure of 1600 x 800 pixels of its own.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    TypeError, ValueError
        As `alsx.Ratings`; if `by` is neither.

    Notes
    -----
    Both axes are logarithmic. The marks say how few have half of the ratings, and how many ratings the middle one has: where
    those numbers are small, a model knows little of most items. Items without a rating are not in `R` and not counted.

    Examples
    --------
    >>> from alsx import plot
    >>> plot.popularity([("ann", 7), ("bob", 7), ("ann", 3)], [4.5, 3.0, 4.5], noun="films").get_xlabel()
    'films, the most rated first'
    """
    if by not in ("item", "user"):
        raise ValueError(f"by is {by!r}; it must be 'item' or 'user'")
    noun = noun or f"{by}s"
    ratings = read(R, y)
    rows = ratings.by_item if by == "item" else ratings.by_user
    counts = np.sort(np.diff(rows.indptr))[::-1]
    counts = counts[counts > 0]
    ax = axes_for(ax)
    n = len(counts)
    rank = np.arange(1, n + 1)
    ax.fill_between(rank, counts, 0.7, color=BAR_COLOUR, alpha=0.25, linewidth=0, zorder=1)
    ax.plot(rank, counts, color=BAR_COLOUR, linewidth=1.6, zorder=3, gid="counts", drawstyle="steps-mid")
    ax.set(xscale="log", yscale="log", xlim=(0.9, n * 1.1), ylim=(0.7, counts[0] * 1.6))
    half = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2)) + 1
    middle = (n + 1) // 2
    marks = [
        (half, f"half of the ratings: {half:,} {noun} ({half / n:.1%})", "half"),
        (middle, f"half of the {noun}: {counts[middle - 1]:,} or more ratings each", "median"),
    ]
    for place, _, gid in marks:
        ax.plot([place, place], [0.7, counts[place - 1]], color=MARK_COLOUR, linewidth=1.0, zorder=4, gid=gid)
        ax.plot([place], [counts[place - 1]], "o", color=MARK_COLOUR, markersize=4, zorder=5)
    lines = "\n".join(text for _, text, _ in marks)
    note(ax, lines, 0.015, 0.06, color=MARK_COLOUR, va="bottom")
    dress(
        ax,
        title or f"{counts.sum():,} ratings of {n:,} {noun}",
        f"{noun}, the most rated first" if by == "item" else f"{noun}, the most active first",
        "ratings",
        grid="both",
    )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    return ax


def read(R: Any, y: Any) -> Ratings:
    """Return ratings as a container."""
    return R if isinstance(R, Ratings) and y is None else Ratings(R, y)

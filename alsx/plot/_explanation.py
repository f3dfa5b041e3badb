"""A prediction taken apart, as bars that lead from the mean to what is predicted."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from alsx.plot._panels import LABEL_SIZE, NOTE_SIZE, axes_for, dress
from alsx.plot._style import AXIS_COLOUR, LINE_COLOURS, TEXT_COLOUR

UP_COLOUR, DOWN_COLOUR, TOTAL_COLOUR = LINE_COLOURS[0], LINE_COLOURS[1], "#8A8A8A"
BAR_HEIGHT = 0.62  # of the distance from one bar to the next
ROW_HEIGHT, HEAD_HEIGHT = 0.24, 0.95  # inches, of a bar and of title and axis together
MAX_NAME = 52  # letters of a name
TOTAL_SIZE = 6.0  # points, of the dots that stand for the mean and the prediction


def explanation(
    explained: Any, *, titles: Mapping[Any, str] | None = None, title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw what a prediction is made of: the mean, the item's bias, each of the user's ratings, and what was expected of him.

    Parameters
    ----------
    explained : Explanation
        What ``model.explain(user, item)`` returns; its ``n`` says how many parts there are.
    titles : mapping of id to str, optional
        Names of items, by id. Default: the ids.
    title : str, optional
        Default: what is explained, and the prediction.
    ax : matplotlib Axes, optional
        Draw here. Default: a figure 1600 pixels wide of its own, as high as the parts need.

    Returns
    -------
    ax : matplotlib Axes
        ``ax.figure.savefig("explanation.png")`` writes it; in a notebook ``ax.figure`` shows it.

    Raises
    ------
    TypeError
        If `explained` has no parts.

    Notes
    -----
    The first dot is the mean of all ratings. Each bar begins where the last one ends, so that the last ends at the prediction, the
    second dot: blue bars raise it, orange ones lower it.

    Examples
    --------
    >>> from alsx import BiasALS, plot
    >>> model = BiasALS().fit([("ann", 7), ("bob", 7), ("ann", 3)], [4.5, 3.0, 5.0])
    >>> ax = plot.explanation(model.explain("bob", 3), titles={3: "Alien", 7: "Heat"})
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['mean of all ratings', 'Alien: bias', 'Heat, rated 3', 'predicted']
    """
    parts = getattr(explained, "parts", None)
    if not parts or not all(hasattr(part, "contribution") for part in parts):
        raise TypeError(
            f"explained is a {type(explained).__name__}; it must be what model.explain(user, item) returns, without as_frame"
        )
    names = dict(titles or {})
    rows = [(describe_part(part, names), float(part.contribution)) for part in parts]
    start = np.concatenate([[0.0], np.cumsum([x for _, x in rows])])
    prediction = float(explained.prediction)
    ax = axes_for(ax, HEAD_HEIGHT + ROW_HEIGHT * (len(rows) + 1))
    has_mean = parts[0].part == "mean"
    for y, (_, x) in enumerate(rows):
        if has_mean and y == 0:
            ax.plot([x], [y], "o", color=TOTAL_COLOUR, markersize=TOTAL_SIZE, zorder=3, gid="total")
        else:
            colour = UP_COLOUR if x >= 0 else DOWN_COLOUR
            ax.barh(y, x, left=start[y], height=BAR_HEIGHT, color=colour, zorder=3, gid="part")
        ax.plot([start[y + 1]] * 2, [y, y + 1], color=AXIS_COLOUR, linewidth=0.8, zorder=2)
    ax.plot([prediction], [len(rows)], "o", color=TEXT_COLOUR, markersize=TOTAL_SIZE, zorder=3, gid="total")
    limit_axis(ax, start[1:] if has_mean else start, prediction)
    for y, (_, x) in enumerate([*rows, ("", prediction)]):
        whole = y == len(rows) or (has_mean and y == 0)
        end = x if whole else max(start[y], start[y + 1])
        ax.annotate(
            f"{x:.2f}" if whole else signed(x), (end, y), xytext=(6 if whole else 3, 0), textcoords="offset points", va="center",
            fontsize=NOTE_SIZE, color=TEXT_COLOUR, zorder=4, gid="number", fontweight="bold" if y == len(rows) else "normal",
        )  # fmt: skip
    ax.set_yticks(range(len(rows) + 1), [*(name for name, _ in rows), "predicted"])
    ax.set_ylim(len(rows) + 0.6, -0.6)
    dress(ax, title or headline(parts, names, prediction), "in units of the ratings", grid="x")
    ax.tick_params(axis="y", length=0, labelsize=LABEL_SIZE, labelcolor=TEXT_COLOUR)
    for label in ax.get_yticklabels():
        label.set_parse_math(False)
    ax.spines["left"].set_visible(False)
    return ax


def signed(x: float) -> str:
    """Return a contribution as it is written: two decimals, three where two would be zero."""
    return (f"{x:+.2f}" if abs(x) >= 0.005 else f"{x:+.3f}").replace("-", "−")


def limit_axis(ax: Axes, ends: Any, prediction: float) -> None:
    """Show the range of the sums, with room for the numbers."""
    low, high = min(float(np.min(ends)), prediction), max(float(np.max(ends)), prediction)
    span = max(high - low, 0.1)
    ax.set_xlim(low - 0.06 * span, high + 0.12 * span)


def describe_part(part: Any, names: dict[Any, str]) -> str:
    """Return what a part is, with the item's title where there is one."""
    name = names.get(part.id) if part.id is not None else None
    if name is None:
        return textwrap.shorten(str(part.name), MAX_NAME, placeholder=" …")
    ends = {"rating": f", rated {part.rating or 0:g}", "bias": ": bias"}
    end = ends.get(part.part, ", rated at all")
    return textwrap.shorten(name, MAX_NAME - len(end), placeholder=" …") + end


def headline(parts: list[Any], names: dict[Any, str], prediction: float) -> str:
    """Return what is predicted, for which item."""
    item = next((part.id for part in parts if part.part == "bias"), None)
    of = "" if item is None else f" for {names.get(item, item)}"
    return f"Why {prediction:.2f} is predicted{of}"

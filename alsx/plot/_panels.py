"""What the pictures with axes share: figures and their panels, titles, labels, names of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from alsx.plot._style import (
    AXIS_COLOUR,
    FIGURE_WIDTH,
    GRID_COLOUR,
    LINE_COLOURS,
    POINTS_PER_INCH,
    QUIET_COLOUR,
    TEXT_COLOUR,
    new_figure,
    root_figure,
)

TITLE_SIZE, PANEL_TITLE_SIZE, LABEL_SIZE, TICK_SIZE, NOTE_SIZE = 10.5, 9.0, 8.0, 7.5, 7.5  # points
LINE_WIDTH, MARKER_SIZE = 1.5, 3.6  # points
LAYOUT = {"w_pad": 0.1, "h_pad": 0.1}  # inches round each panel
END_LINE_HEIGHT = 10.0  # points from one text at the end of a line to the next


def axes_for(ax: Axes | None, height: float = 4.0, width: float = FIGURE_WIDTH) -> Axes:
    """Return the axes that were handed over, or those of a new figure so many inches high."""
    if ax is not None:
        return ax
    figure = new_figure(height, width)
    figure.set_layout_engine("constrained", **LAYOUT)
    return figure.subplots()


def panels_for(
    fig: Figure | SubFigure | None, ax: Axes | Sequence[Axes] | None, n: int, height: float, main: int = -1
) -> list[Axes | None]:
    """Return the axes of n panels side by side: those that were handed over, or those of a figure.

    A single one stands for the panel `main`; the other panels are None and not drawn.
    """
    if ax is None:
        if fig is None:
            fig = new_figure(height)
            fig.set_layout_engine("constrained", **LAYOUT)
        return list(np.atleast_1d(np.asarray(fig.subplots(1, n), dtype=object)))
    if fig is not None:
        raise ValueError("fig and ax are both given; give one of them")
    if isinstance(ax, Axes):
        alone: list[Axes | None] = [None] * n
        alone[main] = ax
        return alone
    given = list(np.asarray(ax, dtype=object).ravel())
    if len(given) != n:
        raise ValueError(f"ax has {len(given)} axes; it must be one, or the {n} of this picture")
    return given


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for the lines of each model."""
    repeats = len(names) // len(LINE_COLOURS) + 1
    return dict(zip(names, LINE_COLOURS * repeats, strict=False))


def head_figure(figure: Figure | SubFigure, title: str | None, colours: Mapping[str, str], *, own: bool) -> None:
    """Write a headline and, for several models, their names in their colours, above the panels."""
    if title:
        figure.suptitle(
            title, x=0.012, ha="left", fontsize=TITLE_SIZE, fontweight="bold", color=TEXT_COLOUR, parse_math=False
        )
    if len(colours) > 1:
        corner = "upper right" if title else "upper left"  # a headline stands on the left
        place: Any = f"outside {corner}" if own else corner
        finish_legend(
            figure.legend(handles=line_handles(colours), ncols=min(6, len(colours)), loc=place, **legend_look())
        )


def legend_in(ax: Axes | None, colours: Mapping[str, str], loc: Any = "best") -> None:
    """Write the names of several models in their colours into the axes."""
    if ax is not None and len(colours) > 1:
        finish_legend(ax.legend(handles=line_handles(colours), loc=loc, **legend_look()))


def finish_legend(legend: Legend) -> None:
    """Take names as they are: a dollar is not mathematics."""
    for text in legend.get_texts():
        text.set_parse_math(False)


def line_handles(colours: Mapping[str, str]) -> list[Line2D]:
    """Return the lines of a legend."""
    return [Line2D([], [], color=colour, linewidth=2.2, label=name) for name, colour in colours.items()]


def legend_look() -> dict[str, Any]:
    """Return matplotlib's arguments for a legend of lines."""
    return {
        "frameon": False, "fontsize": LABEL_SIZE, "labelcolor": "linecolor", "handlelength": 1.4, "borderaxespad": 0.2,
        "columnspacing": 1.4,
    }  # fmt: skip


def dress(
    ax: Axes,
    title: str | None,
    xlabel: str | None,
    ylabel: str | None = None,
    *,
    grid: Literal["both", "x", "y"] = "both",
) -> None:
    """Give axes a title, labels, a pale grid and no frame above and to the right."""
    if title is not None:
        ax.set_title(
            title, loc="left", fontsize=PANEL_TITLE_SIZE, fontweight="bold", color=TEXT_COLOUR, pad=6, parse_math=False
        )
    if xlabel is not None:
        ax.set_xlabel(xlabel, fontsize=LABEL_SIZE, color=QUIET_COLOUR, parse_math=False)
    if ylabel is not None:
        ax.set_ylabel(ylabel, fontsize=LABEL_SIZE, color=QUIET_COLOUR, parse_math=False)
    ax.tick_params(labelsize=TICK_SIZE, color=AXIS_COLOUR, labelcolor=QUIET_COLOUR)
    ax.tick_params(which="minor", color=AXIS_COLOUR)
    ax.grid(axis=grid, color=GRID_COLOUR, linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(AXIS_COLOUR)


def note(ax: Axes, text: str, x: float, y: float, **options: Any) -> None:
    """Write a small remark at a place of the axes, as a share of their width and height."""
    look: dict[str, Any] = {"fontsize": NOTE_SIZE, "color": QUIET_COLOUR, "va": "top", "linespacing": 1.35}
    ax.text(x, y, text, transform=ax.transAxes, parse_math=False, gid="note", **(look | options))


# ---------------------------------------------------------------------------------------------------------------------
# Texts at the ends of lines


class LineEnd(NamedTuple):
    """The last value of a line, the text beside it and its colour."""

    value: float
    text: str
    colour: str


def write_ends(ax: Axes, ends: list[LineEnd]) -> None:
    """Write texts beside the ends of the lines at the right edge of the axes, pushed apart so that they do not overlap."""
    figure = root_figure(ax)
    figure.draw_without_rendering()  # only then is it known how high the axes are
    dpi = figure.dpi
    floor = ax.get_window_extent().y0
    x1 = ax.get_xlim()[1]
    ends = sorted(ends)
    at = [float(ax.transData.transform((x1, end.value))[1]) for end in ends]
    for end, was, now in zip(ends, at, spread_apart(at, END_LINE_HEIGHT * dpi / POINTS_PER_INCH, floor), strict=True):
        ax.annotate(
            end.text, (1.0, end.value), xycoords=("axes fraction", "data"),
            xytext=(6, (now - was) * POINTS_PER_INCH / dpi), textcoords="offset points", va="center", fontsize=NOTE_SIZE,
            color=end.colour, annotation_clip=False, gid="end", parse_math=False,
        )  # fmt: skip


def spread_apart(at: list[float], gap: float, floor: float) -> list[float]:
    """Move ascending positions so that they are at least `gap` apart, each run of touching ones centred on its own."""
    moved = list(at)
    for j in range(1, len(moved)):
        moved[j] = max(moved[j], moved[j - 1] + gap)
    j = 0
    while j < len(moved):
        k = j
        while k + 1 < len(moved) and moved[k + 1] - moved[k] <= gap * 1.001:
            k += 1
        shift = float(np.mean(at[j : k + 1]) - np.mean(moved[j : k + 1]))
        shift = max(shift, (moved[j - 1] + gap if j else floor) - moved[j])
        moved[j : k + 1] = [position + shift for position in moved[j : k + 1]]
        j = k + 1
    return moved


# ---------------------------------------------------------------------------------------------------------------------
# Models and their names


def name_each(models: Any) -> Iterator[tuple[str, Any]]:
    """Yield one or several models or histories with names: those of a dict, else the classes', numbered where needed."""
    if isinstance(models, Mapping):
        yield from ((str(name), model) for name, model in models.items())
        return
    times: dict[str, int] = {}
    for model in models if isinstance(models, (list, tuple)) else [models]:
        kind = "fit" if isinstance(model, Mapping) else type(model).__name__
        times[kind] = times.get(kind, 0) + 1
        yield kind if times[kind] == 1 else f"{kind} {times[kind]}", model


def check_models(models: Any, method: str) -> dict[str, Any]:
    """Return models that have this method by name."""
    named = dict(name_each(models))
    if not named:
        raise ValueError("models is empty; it must be at least one fitted model")
    for name, model in named.items():
        if not hasattr(model, method):
            raise TypeError(f"{name} ({type(model).__name__}) has no {method}; give a fitted alsx model")
    return named

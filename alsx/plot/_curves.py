"""Curves in two panels: the history of fits, and the reliability of uncertainties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, ScalarFormatter, StrMethodFormatter

from alsx import _check
from alsx.plot._style import (
    AXIS_COLOUR,
    GRID_COLOUR,
    LINE_COLOURS,
    POINTS_PER_INCH,
    QUIET_COLOUR,
    TEXT_COLOUR,
    Floats,
    new_figure,
    root_figure,
)
from alsx.ratings import Ratings

MAX_MARKED_ITERATIONS = 30  # markers of more would run into one another
LOG_LOSS_SPAN = 5.0  # a loss that spans a larger factor is drawn on a logarithmic axis
MIN_ROUND_LOSS = 1000  # larger losses are written without decimals
END_LINE_HEIGHT = 11.5  # points from one number at the end of a line to the next

LEVELS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])  # of predict_interval
QUOTED_LEVEL = 8  # the place in LEVELS, 90 %, whose coverage is written in the picture
GROUP_NAMES = {10: "tenths", 5: "fifths", 4: "quarters"}


# ---------------------------------------------------------------------------------------------------------------------
# The history of a fit


def history(models_or_histories: Any, *, fig: Figure | SubFigure | None = None, title: str | None = None) -> Figure:
    """Draw loss and RMSE of each iteration, for one model or several.

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
    histories = check_histories(models_or_histories)
    panels = two_panels(fig, list(histories), title, height=4.5, right=0.91, bottom=0.125, wspace=0.42)
    last = max(len(curves["loss"]) for curves in histories.values())
    ends: dict[Axes, list[LineEnd]] = {panels.left: [], panels.right: []}
    for name, curves in histories.items():
        for key, values in curves.items():
            ax = panels.left if key == "loss" else panels.right
            draw_history_line(ax, f"{name} {key}", key, values, panels.colours[name], last)
            ends[ax].append(LineEnd(float(values[-1]), end_text(key, values[-1]), panels.colours[name]))
    losses = np.concatenate([curves["loss"] for curves in histories.values()])
    if losses.min() > 0 and losses.max() > LOG_LOSS_SPAN * losses.min():
        panels.left.set_yscale("log")
        panels.left.yaxis.set_minor_formatter(NullFormatter())
    large = bool(losses.max() >= MIN_ROUND_LOSS)
    for ax, what in ((panels.left, "Loss (regularised objective)"), (panels.right, "RMSE, in units of the ratings")):
        dress_panel(ax, what, "iteration", grid="y")
        scale_history_axes(ax, last, whole_numbers=large and ax is panels.left)
        write_ends(ax, ends[ax])
    return root_figure(panels.left)


def draw_history_line(ax: Axes, label: str, key: str, values: Floats, colour: str, last: int) -> None:
    """Draw one curve: test errors dashed and with a ring at the lowest, a dotted line to the numbers of longer fits."""
    test = key == "test_rmse"
    x = np.arange(1, len(values) + 1)
    ax.plot(
        x, values, linestyle=(0, (4, 1.5)) if test else "-", color=colour, linewidth=1.8,
        marker="o" if last <= MAX_MARKED_ITERATIONS else None, markersize=3.6,
        markerfacecolor="white" if test else colour, markeredgewidth=1.1, label=label, clip_on=False, zorder=3,
    )  # fmt: skip
    if len(values) < last:
        ax.plot([len(values), last], [values[-1]] * 2, linestyle=":", color=colour, linewidth=0.8, label="_lead")
    best = int(np.argmin(values))
    if test and best < len(values) - 1:
        ax.plot(
            [x[best]], [values[best]], linestyle="none", marker="o", markersize=8, markerfacecolor="none",
            markeredgecolor=colour, markeredgewidth=1.2, label="_best", zorder=4,
        )  # fmt: skip


def scale_history_axes(ax: Axes, last: int, *, whole_numbers: bool) -> None:
    """Count iterations in whole numbers, and write values in full, not as an offset or a power."""
    ax.set_xlim(0.5 if last == 1 else 1, max(last, 1.5))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=9, integer=True, min_n_ticks=1))
    if ax.get_yscale() == "linear":
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6))
        plain = ScalarFormatter(useOffset=False)
        plain.set_scientific(False)
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}") if whole_numbers else plain)


class LineEnd(NamedTuple):
    """The last value of a line, the text beside it and its colour."""

    value: float
    text: str
    colour: str


def end_text(key: str, value: float) -> str:
    """Return the last value of a curve as it is written beside its end."""
    if key != "loss":
        return f"{key.removesuffix('_rmse')} {value:.3f}"
    return f"{value:,.0f}" if value >= MIN_ROUND_LOSS else f"{value:.4g}"


def write_ends(ax: Axes, ends: list[LineEnd]) -> None:
    """Write last values beside the ends of the lines, pushed apart so that they do not overlap."""
    dpi = root_figure(ax).dpi
    ax.autoscale_view()
    floor = ax.get_window_extent().y0
    x1 = ax.get_xlim()[1]
    ends = sorted(ends)
    at = [float(ax.transData.transform((x1, end.value))[1]) for end in ends]
    for end, was, now in zip(ends, at, spread_apart(at, END_LINE_HEIGHT * dpi / POINTS_PER_INCH, floor), strict=True):
        ax.annotate(
            end.text, (1.0, end.value), xycoords=("axes fraction", "data"),
            xytext=(7, (now - was) * POINTS_PER_INCH / dpi), textcoords="offset points", va="center", fontsize=8.5,
            color=end.colour, annotation_clip=False, gid="end",
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
# The reliability of uncertainties


def reliability(
    models: Any,
    R: Any,
    y: Any = None,
    *,
    n_groups: int = 10,
    fig: Figure | SubFigure | None = None,
    title: str | None = None,
) -> Figure:
    """Draw how reliable models' uncertainties are, on ratings they were not fitted to.

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
    errors. Both lie on the diagonal where uncertainties are true; the wider the right one, the more they tell apart.

    References
    ----------
    T. Gneiting, F. Balabdaoui, A. Raftery, "Probabilistic forecasts, calibration and sharpness", Journal of the Royal
    Statistical Society B 69(2), 2007, pages 243-268.
    """
    _check.integer("n_groups", n_groups, 2)
    named = check_models(models)
    test = R if isinstance(R, Ratings) and y is None else Ratings(R, y)
    # A `Ratings` of a `Ratings` has no rows whose order could be expected.
    test = Ratings(test, dtype=test.dtype)
    truth = test.triples()[2].astype(np.float64)
    if len(truth) < n_groups:
        raise ValueError(f"n_groups is {n_groups}; it must be at most the number of test ratings in R, {len(truth)}")
    height = 5.7 if title is None and len(named) == 1 else 6.2
    panels = two_panels(fig, list(named), title, height=height, right=0.975, bottom=0.115, wspace=0.24)
    quoted = []
    errors: list[GroupErrors] = []
    for name, model in named.items():
        colour = panels.colours[name]
        mean, std = model.predict(test, return_std=True)
        inside = interval_coverage(model, test, truth)
        errors.append(group_errors(truth, mean, std, n_groups))
        look: dict[str, Any] = {
            "color": colour,
            "marker": "o",
            "markersize": 4,
            "linewidth": 1.6,
            "label": name,
            "zorder": 3,
        }
        panels.left.plot(LEVELS, inside, clip_on=False, **look)
        panels.right.errorbar(errors[-1].expected, errors[-1].found, yerr=errors[-1].bar, elinewidth=0.9, **look)
        quoted.append((f"{inside[QUOTED_LEVEL]:.1%}", colour))
    draw_diagonal(panels.left, 0.0, 1.0)
    draw_diagonal(panels.right, *error_limits(errors))
    dress_panel(panels.left, "Ratings within the interval", "asked for", "found")
    for axis in (panels.left.xaxis, panels.left.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    quote_coverage(panels.left, quoted)
    groups = GROUP_NAMES.get(n_groups, f"{n_groups} groups")
    what = f"RMSE: {groups} of the ratings by predicted deviation"
    dress_panel(panels.right, what, "predicted, in units of the ratings", "found")
    return root_figure(panels.left)


def interval_coverage(model: Any, test: Ratings, truth: Floats) -> list[float]:
    """Return the share of the ratings within the predicted interval of each of LEVELS."""
    inside = []
    for level in LEVELS:
        low, high = model.predict_interval(test, level=float(level))
        inside.append(float(np.mean((truth >= low) & (truth <= high))))
    return inside


class GroupErrors(NamedTuple):
    """Root mean square errors of groups of ratings, (n_groups,) each."""

    expected: Floats
    """Root mean square of the predicted standard deviations."""
    found: Floats
    """Root mean square of the errors."""
    bar: Floats
    """Two standard errors of `found`."""


def group_errors(truth: Floats, mean: Floats, std: Floats, n_groups: int) -> GroupErrors:
    """Group the ratings by predicted standard deviation, and compare the errors of each group with it."""
    groups = np.array_split(np.argsort(std, kind="stable"), n_groups)
    expected = np.array([np.sqrt(np.mean(std[group] ** 2)) for group in groups])
    squares = [(truth[group] - mean[group]) ** 2 for group in groups]
    found = np.array([np.sqrt(np.mean(x)) for x in squares])
    # Standard error of the root of a mean, to first order: half that of the mean, over the root (delta method).
    errors = [np.std(x) / np.sqrt(len(x)) / 2 / max(a, 1e-300) for x, a in zip(squares, found, strict=True)]
    return GroupErrors(expected, found, 2 * np.array(errors))


def error_limits(errors: list[GroupErrors]) -> tuple[float, float]:
    """Return the limits of both axes of the right panel: all points and bars, with a margin, from 0 at the least."""
    low = min(float(min(e.expected.min(), (e.found - e.bar).min())) for e in errors)
    high = max(float(max(e.expected.max(), (e.found + e.bar).max())) for e in errors)
    margin = 0.04 * (high - low) or 1.0
    return max(0.0, low - margin), high + margin


def draw_diagonal(ax: Axes, low: float, high: float) -> None:
    """Draw the line on which what is found is what was predicted, and give both axes these limits."""
    ax.plot([low, high], [low, high], color=AXIS_COLOUR, linewidth=1, linestyle=(0, (4, 2)), label="_true", zorder=1)
    ax.set_xlim(low, high)
    ax.set_ylim(low, high)
    ax.set_aspect("equal", anchor="NW")


def quote_coverage(ax: Axes, quoted: list[tuple[str, str]]) -> None:
    """Write each model's coverage of 90 % intervals in the lower right corner, (text, colour) of each, first on top."""
    right, bottom, line = 0.97, 0.04, 0.055  # shares of the axes
    heading = f"within {LEVELS[QUOTED_LEVEL]:.0%} intervals".replace("%", " %")
    ax.text(right, bottom + line * len(quoted), heading, ha="right", color=QUIET_COLOUR, fontsize=8.5)
    for place, (text, colour) in enumerate(reversed(quoted)):
        ax.text(right, bottom + line * place, text, ha="right", color=colour, fontsize=8.5, gid="coverage")


# ---------------------------------------------------------------------------------------------------------------------
# Two panels


class Panels(NamedTuple):
    """A figure of two axes side by side."""

    left: Axes
    right: Axes
    colours: dict[str, str]
    """The colour of each name."""


def two_panels(
    fig: Figure | SubFigure | None, names: list[str], title: str | None, *, height: float, **margins: float
) -> Panels:
    """Make two axes with a headline and, where there are several names, a legend above both.

    `height` is that of a figure of our own, in inches; `margins` are matplotlib's ``subplots_adjust``.
    """
    if fig is None:
        fig = new_figure(height)
    left, right = fig.subplots(1, 2)
    top = 0.91 - 0.055 * (len(names) > 1) - 0.075 * (title is not None)
    fig.subplots_adjust(left=0.075, top=top, **margins)
    repeats = len(names) // len(LINE_COLOURS) + 1
    colours = dict(zip(names, LINE_COLOURS * repeats, strict=False))
    if len(colours) > 1:
        handles = [Line2D([], [], color=colour, linewidth=2.4, label=name) for name, colour in colours.items()]
        legend = fig.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(0.068, 0.945 if title else 0.985), ncols=6,
            frameon=False, fontsize=9.5, labelcolor="linecolor", borderaxespad=0, handlelength=1.4,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)
    if title:
        fig.text(0.075, 0.955, title, fontsize=12, fontweight="bold", color=TEXT_COLOUR, va="bottom", parse_math=False)
    return Panels(left, right, colours)


def dress_panel(
    ax: Axes, title: str, xlabel: str, ylabel: str | None = None, *, grid: Literal["both", "y"] = "both"
) -> None:
    """Give axes a title, labels, a pale grid and no frame above and to the right."""
    ax.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=TEXT_COLOUR, pad=8)
    ax.set_xlabel(xlabel, fontsize=9, color=QUIET_COLOUR)
    if ylabel is not None:
        ax.set_ylabel(ylabel, fontsize=9, color=QUIET_COLOUR)
    ax.tick_params(labelsize=8.5, color=AXIS_COLOUR, labelcolor=QUIET_COLOUR)
    ax.grid(axis=grid, color=GRID_COLOUR, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(AXIS_COLOUR)


# ---------------------------------------------------------------------------------------------------------------------
# Input validation


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


def check_models(models: Any) -> dict[str, Any]:
    """Return models with predict_interval by name."""
    named = dict(name_each(models))
    if not named:
        raise ValueError("models is empty; it must be at least one fitted model")
    for name, model in named.items():
        if not hasattr(model, "predict_interval"):
            raise TypeError(f"{name} ({type(model).__name__}) has no predict_interval; give a fitted alsx model")
    return named


def check_histories(models: Any) -> dict[str, dict[str, Floats]]:
    """Return the curves of each history by name."""
    is_history = isinstance(models, Mapping) and "loss" in models
    named = {name: check_history(name, model) for name, model in name_each([models] if is_history else models)}
    if not named:
        raise ValueError("models_or_histories is empty; it must be at least one fitted model or history_")
    return named


def check_history(name: str, model: Any) -> dict[str, Floats]:
    """Return the curves of a history or of a model's: loss, train_rmse and, where there is one, test_rmse."""
    raw = model if isinstance(model, Mapping) else getattr(model, "history_", None)
    if not isinstance(raw, Mapping):
        raise TypeError(
            f"{name} ({type(model).__name__}) has no history_; fit the model first, or give its history_ dict"
        )
    for key in ("loss", "train_rmse"):
        if key not in raw:
            raise ValueError(f"the history of {name} has no {key!r}; it has {sorted(map(str, raw))}")
    curves: dict[str, Floats] = {}
    for key in ("loss", "train_rmse", "test_rmse"):
        if raw.get(key) is None or (key == "test_rmse" and len(raw[key]) == 0):
            continue
        values = np.asarray(raw[key], dtype=np.float64)
        if values.ndim != 1 or len(values) == 0:
            raise ValueError(f"the history of {name} has no iterations in {key!r}; fit with max_iter of at least 1")
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise ValueError(f"the history of {name} holds {values[wrong[0]]} in {key!r} at iteration {wrong[0] + 1}")
        if len(values) != len(raw["loss"]):
            raise ValueError(
                f"the history of {name} has {len(values)} iterations in {key!r} and {len(raw['loss'])} in 'loss'"
            )
        curves[key] = values
    return curves

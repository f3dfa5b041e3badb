"""The reliability of uncertainties: intervals and standard deviations against the errors that were found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import PercentFormatter

from alsx import _check
from alsx.plot._panels import (
    LINE_WIDTH,
    MARKER_SIZE,
    NOTE_SIZE,
    check_models,
    colours_of,
    dress,
    head_figure,
    legend_in,
    panels_for,
)
from alsx.plot._style import AXIS_COLOUR, QUIET_COLOUR, Floats, root_figure
from alsx.ratings import Ratings

LEVELS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99])  # of predict_interval
QUOTED_LEVEL = 8  # the place in LEVELS, 90 %, whose coverage is written in the picture
GROUP_NAMES = {10: "tenths", 5: "fifths", 4: "quarters"}


def reliability(
    models: Any,
    R: Any,
    y: Any = None,
    *,
    n_groups: int = 10,
    fig: Figure | SubFigure | None = None,
    title: str | None = None,
    ax: Axes | Sequence[Axes] | None = None,
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
        Draw into this one, which should be empty. Default: a figure of 1600 x 860 pixels of its own.
    title : str, optional
        A headline.
    ax : matplotlib Axes, or a sequence of two, optional
        Draw into these. A single one gets the left panel.

    Returns
    -------
    fig : matplotlib Figure
        ``fig.savefig("reliability.png")`` writes it; in a notebook ``fig`` shows it.

    Raises
    ------
    TypeError
        For something that has no ``predict_interval``.
    ValueError
        For no model, fewer test ratings than groups, another number of axes, or both `fig` and `ax`.

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
    named = check_models(models, "predict_interval")
    test = held_out(R, y)
    truth = test.triples()[2].astype(np.float64)
    if len(truth) < n_groups:
        raise ValueError(f"n_groups is {n_groups}; it must be at most the number of test ratings in R, {len(truth)}")
    left, right = panels_for(fig, ax, 2, 4.3, main=0)
    figure = root_figure(next(panel for panel in (left, right) if panel is not None))
    colours = colours_of(list(named))
    if ax is None:
        head_figure(figure if fig is None else fig, title, colours, own=fig is None)
    if left is not None:
        draw_coverage(left, named, colours, test, truth)
    if right is not None:
        draw_group_errors(right, named, colours, test, truth, n_groups)
    if ax is not None:
        legend_in(left or right, colours, "upper left")
    return figure


def held_out(R: Any, y: Any) -> Ratings:
    """Return test ratings as a container; a `Ratings` of a `Ratings` has no rows whose order could be expected."""
    test = R if isinstance(R, Ratings) and y is None else Ratings(R, y)
    return Ratings(test, dtype=test.dtype)


def draw_coverage(ax: Axes, named: dict[str, Any], colours: dict[str, str], test: Ratings, truth: Floats) -> None:
    """Draw the share of the ratings within the interval against the level that was asked for."""
    quoted = []
    for name, model in named.items():
        inside = interval_coverage(model, test, truth)
        ax.plot(LEVELS, inside, clip_on=False, **line_look(name, colours))
        quoted.append((f"{inside[QUOTED_LEVEL]:.1%}", colours[name]))
    draw_diagonal(ax, 0.0, 1.0)
    dress(ax, "Ratings within the interval", "asked for", "found")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    quote_coverage(ax, quoted)


def draw_group_errors(
    ax: Axes, named: dict[str, Any], colours: dict[str, str], test: Ratings, truth: Floats, n_groups: int
) -> None:
    """Draw the error of each group against the predicted one."""
    errors = []
    for name, model in named.items():
        mean, std = model.predict(test, return_std=True)
        errors.append(group_errors(truth, mean, std, n_groups))
        ax.errorbar(
            errors[-1].expected, errors[-1].found, yerr=errors[-1].bar, elinewidth=0.8, **line_look(name, colours)
        )
    draw_diagonal(ax, *error_limits(errors))
    groups = GROUP_NAMES.get(n_groups, f"{n_groups} groups")
    dress(ax, f"RMSE of {groups} by predicted deviation", "predicted, in units of the ratings", "found")


def line_look(name: str, colours: dict[str, str]) -> dict[str, Any]:
    """Return matplotlib's arguments for the line of a model."""
    return {
        "color": colours[name], "marker": "o", "markersize": MARKER_SIZE, "linewidth": LINE_WIDTH, "label": name, "zorder": 3
    }  # fmt: skip


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
    found = np.array([root_error(x) for x in squares])
    return GroupErrors(expected, found[:, 0], 2 * found[:, 1])


def root_error(squares: Floats) -> tuple[float, float]:
    """Return the root mean of squared errors and its standard error."""
    root = float(np.sqrt(np.mean(squares)))
    # Of the root of a mean, to first order: half that of the mean, over the root (delta method).
    return root, float(np.std(squares)) / np.sqrt(len(squares)) / 2 / max(root, 1e-300)


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
    ax.text(right, bottom + line * len(quoted), heading, ha="right", color=QUIET_COLOUR, fontsize=NOTE_SIZE)
    for place, (text, colour) in enumerate(reversed(quoted)):
        ax.text(right, bottom + line * place, text, ha="right", color=colour, fontsize=NOTE_SIZE, gid="coverage")

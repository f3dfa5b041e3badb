"""The history of fits: loss, training error and test error of each iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, ScalarFormatter, StrMethodFormatter

from alsx.plot._panels import (
    LAYOUT,
    LINE_WIDTH,
    MARKER_SIZE,
    NOTE_SIZE,
    LineEnd,
    colours_of,
    dress,
    head_figure,
    legend_in,
    name_each,
    panels_for,
    write_ends,
)
from alsx.plot._style import Floats, new_figure, root_figure

LOG_LOSS_SPAN = 5.0  # a loss that spans a larger factor is drawn on a logarithmic axis
MIN_ROUND_LOSS = 1000  # larger losses are written without decimals
MAX_TICKS = 6  # on the axis of the iterations
MAX_LOSS_PANELS = 3  # one for each model: losses of different models have little in common
PANELS = {"loss": "Loss", "train_rmse": "Training RMSE", "test_rmse": "Test RMSE"}
RMSE_UNIT = "in units of the ratings"


def history(
    models_or_histories: Any,
    *,
    fig: Figure | SubFigure | None = None,
    title: str | None = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> Figure:
    """Draw loss, training RMSE and test RMSE of each iteration, for one model or several.

    Parameters
    ----------
    models_or_histories : fitted model, its ``history_``, a list of them, or a dict from names to them
        A history is a dict of equally long lists ``"loss"``, ``"train_rmse"`` and, if test ratings were given,
        ``"test_rmse"``. Models in a list go by the name of their class.
    fig : matplotlib Figure or SubFigure, optional
        Draw into this one, which should be empty. Default: a figure of 1600 x 760 pixels of its own.
    title : str, optional
        A headline.
    ax : matplotlib Axes, or a sequence of them, optional
        Draw into these: one for the loss, one for the training RMSE and, where there are test ratings, one for the test RMSE. A
        single one gets the last of them.

    Returns
    -------
    fig : matplotlib Figure
        ``fig.savefig("history.png")`` writes it; in a notebook ``fig`` shows it.

    Raises
    ------
    TypeError
        For something that has no ``history_``.
    ValueError
        For a history without iterations, of unequal lengths or with values that are not finite; if both `fig` and `ax` are given,
        or the number of axes is not that of the panels.

    Notes
    -----
    Each quantity has a panel with a scale of its own, and so has the loss of each model, of up to three. The dot at the end of a
    line, and the number beside it, is the last iteration's; a dotted line leads to the number of a fit that ended early. Where
    the lowest test RMSE is not the last, a ring and words say so. The loss is drawn on a logarithmic axis where it spans more
    than a factor of five.
    """
    histories = check_histories(models_or_histories)
    keys = [key for key in PANELS if any(key in curves for curves in histories.values())]
    colours = colours_of(list(histories))
    losses: list[tuple[Axes | None, list[str]]]
    if ax is None and 1 < len(histories) <= MAX_LOSS_PANELS:
        first, axes = stacked_panels(fig, list(histories), len(keys))
        losses = list(zip(first, [[name] for name in histories], strict=True))
    else:
        axes = panels_for(fig, ax, len(keys), 3.8)
        losses = [(axes[0], list(histories))]
    figure = root_figure(next(panel for panel in [*(panel for panel, _ in losses), *axes[1:]] if panel is not None))
    last = max(len(curves["loss"]) for curves in histories.values())
    if ax is None:
        head_figure(figure if fig is None else fig, title, colours, own=fig is None)
    ends = []
    for number, (panel, names) in enumerate(losses):
        words = PANELS["loss"] + (f" of {names[0]}" if len(losses) > 1 else "")
        ends.append(draw_panel(panel, histories, names, "loss", colours, last, words, bottom=number == len(losses) - 1))
    for panel, key in zip(axes[1:], keys[1:], strict=True):
        ends.append(draw_panel(panel, histories, list(histories), key, colours, last, PANELS[key], bottom=True))
    for panel in filter(None, axes):
        if ax is not None:
            legend_in(panel, colours)
    for panel, texts in filter(None, ends):
        write_ends(panel, texts)
    return figure


def stacked_panels(fig: Figure | SubFigure | None, names: list[str], n: int) -> tuple[list[Axes], list[Axes | None]]:
    """Return axes for the losses of several models above one another, and n axes side by side, the first of them theirs."""
    if fig is None:
        fig = new_figure(3.8)
        fig.set_layout_engine("constrained", **LAYOUT)
    rows = len(names)
    grid = fig.add_gridspec(rows, n)
    first = [fig.add_subplot(grid[row, 0]) for row in range(rows)]
    return first, [first[-1], *(fig.add_subplot(grid[:, column]) for column in range(1, n))]


def draw_panel(
    ax: Axes | None, histories: dict[str, dict[str, Floats]], names: list[str], key: str, colours: dict[str, str], last: int,
    title: str, *, bottom: bool,
) -> tuple[Axes, list[LineEnd]] | None:  # fmt: skip
    """Draw one quantity of some models; return what is to be written at the ends of the lines."""
    if ax is None:
        return None
    ends = []
    curves = {name: histories[name][key] for name in names if key in histories[name]}
    for name, values in curves.items():
        draw_line(ax, f"{name} {key}", key, values, colours[name], last)
        ends.append(LineEnd(float(values[-1]), end_text(key, float(values[-1])), colours[name]))
    dress(ax, title, "iteration" if bottom else None, None if key == "loss" else RMSE_UNIT, grid="y")
    every = np.concatenate(list(curves.values()))
    is_loss = key == "loss"
    if is_loss and every.min() > 0 and every.max() > LOG_LOSS_SPAN * every.min():
        ax.set_yscale("log")
        ax.yaxis.set_minor_formatter(NullFormatter())
    scale_axes(ax, last, whole_numbers=is_loss and bool(every.max() >= MIN_ROUND_LOSS), labels=bottom)
    return ax, ends


def draw_line(ax: Axes, label: str, key: str, values: Floats, colour: str, last: int) -> None:
    """Draw one curve with a dot at its end, the lowest test error, and a dotted line to the number of a shorter fit."""
    x = np.arange(1, len(values) + 1)
    ax.plot(
        x, values, color=colour, linewidth=LINE_WIDTH, marker="o", markersize=MARKER_SIZE, markevery=[-1], label=label,
        clip_on=False, zorder=3,
    )  # fmt: skip
    if len(values) < last:
        ax.plot([len(values), last], [values[-1]] * 2, linestyle=":", color=colour, linewidth=0.8, label="_lead")
    best = int(np.argmin(values))
    if key == "test_rmse" and round(float(values[best]), 3) < round(float(values[-1]), 3):
        ax.plot(
            [x[best]], [values[best]], linestyle="none", marker="o", markersize=6, markerfacecolor="none",
            markeredgecolor=colour, markeredgewidth=1.0, label="_best", zorder=4,
        )  # fmt: skip
        ax.annotate(
            f"lowest: {values[best]:.3f}, iteration {x[best]}", (x[best], values[best]), xytext=(0, -7),
            textcoords="offset points", ha="left" if best < last / 2 else "right", va="top", fontsize=NOTE_SIZE, color=colour,
            gid="lowest", annotation_clip=False,
        )  # fmt: skip


def scale_axes(ax: Axes, last: int, *, whole_numbers: bool, labels: bool) -> None:
    """Count iterations from the first to the last, and write values in full, not as an offset or a power."""
    ax.set_xlim(*((0.5, 1.5) if last == 1 else (1, last)))
    ax.xaxis.set_major_locator(FixedLocator(iteration_ticks(last)))
    ax.tick_params(labelbottom=labels)
    ax.margins(y=0.08)
    ax.autoscale_view(scalex=False)
    if ax.get_yscale() == "linear":
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6))
        plain = ScalarFormatter(useOffset=False)
        plain.set_scientific(False)
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}") if whole_numbers else plain)


def iteration_ticks(last: int) -> list[int]:
    """Return the first and the last iteration, and round ones between that leave room for them."""
    steps = [m * 10**e for e in range(9) for m in (1, 2, 5)]
    step = next(step for step in steps if last / step <= MAX_TICKS)
    return sorted({1, *(t for t in range(step, last, step) if t - 1 >= 0.6 * step and last - t >= 0.6 * step), last})


def end_text(key: str, value: float) -> str:
    """Return the last value of a curve as it is written beside its end."""
    if key != "loss":
        return f"{value:.3f}"
    return f"{value:,.0f}" if value >= MIN_ROUND_LOSS else f"{value:.4g}"


# ---------------------------------------------------------------------------------------------------------------------
# Input validation


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

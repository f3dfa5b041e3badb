"""Errors against what was known: how many ratings an item or a user has, or a new user has given."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator

from alsx.model_selection import ColdStart
from alsx.plot._panels import (
    LINE_WIDTH,
    MARKER_SIZE,
    LineEnd,
    axes_for,
    check_models,
    colours_of,
    dress,
    legend_in,
    write_ends,
)
from alsx.plot._reliability import held_out, root_error
from alsx.plot._style import Floats

STEPS = (1, 2, 5)  # times powers of ten: where a class of numbers of ratings begins
SHIFT = 0.07  # of a model's points from the next one's, as a share of the distance of two classes
MIN_GROUP = 50  # test ratings of a class; smaller ones are put together with the next
ERROR_UNIT = "RMSE, in units of the ratings"


def errors_by_count(
    models: Any,
    R: Any,
    y: Any = None,
    *,
    by: Literal["item", "user"] = "item",
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the error of test ratings by how many training ratings their item, or their user, has.

    Parameters
    ----------
    models : fitted model, a list of them, or a dict from names to them
        Fitted to the same training ratings; those in a list go by the name of their class.
    R, y
        Test ratings, whatever `alsx.Ratings` takes.
    by : {"item", "user"}, default="item"
        Whose training ratings are counted.
    title : str, optional
        Default: what is shown.
    ax : matplotlib Axes, optional
        Draw here. Default: a figure of 1600 x 800 pixels of its own.

    Returns
    -------
    ax : matplotlib Axes
        ``ax.figure.savefig("errors.png")`` writes it; in a notebook ``ax.figure`` shows it.

    Raises
    ------
    TypeError
        For something that is no fitted model.
    ValueError
        For no model or no test ratings; if `by` is neither.

    Notes
    -----
    Classes begin at 0, 1, 2, 5, 10, 20 and so on; those with fewer than 50 test ratings are put together with the next. Below
    each stands how many test ratings it has. Bars are two standard errors.

    Examples
    --------
    >>> from alsx import BiasALS, plot
    >>> from alsx.datasets import make_ratings
    >>> from alsx.model_selection import train_test_split
    >>> train, test = train_test_split(make_ratings(200, 50, 3000, random_state=0), random_state=0)
    >>> plot.errors_by_count(BiasALS().fit(train), test, by="user").get_ylabel()
    'RMSE, in units of the ratings'
    """
    if by not in ("item", "user"):
        raise ValueError(f"by is {by!r}; it must be 'item' or 'user'")
    named = check_models(models, f"{by}_counts_")
    test = held_out(R, y)
    users, items, truth = test.triples()
    if len(truth) == 0:
        raise ValueError("R has no ratings; it must be test ratings")
    predicted = {name: model_predictions(model, test) for name, model in named.items()}
    ids = test.item_ids[items] if by == "item" else test.user_ids[users]
    first = next(iter(named.values()))
    groups = classes_of(training_counts(first, ids, by))
    colours = colours_of(list(named))
    ax = axes_for(ax)
    place = np.arange(len(groups.names))
    ends = []
    # Side by side, so that the bars of one do not hide those of another.
    shifts = (np.arange(len(named)) - (len(named) - 1) / 2) * SHIFT
    for (name, values), shift in zip(predicted.items(), shifts, strict=True):
        squares = (truth - values) ** 2
        error = np.array([root_error(squares[groups.number == g]) for g in place])
        ax.errorbar(
            place + shift, error[:, 0], yerr=2 * error[:, 1], color=colours[name], linewidth=LINE_WIDTH, marker="o",
            markersize=MARKER_SIZE, elinewidth=0.8, label=name, zorder=3,
        )  # fmt: skip
        ends.append(LineEnd(float(error[-1, 0]), f"{error[-1, 0]:.3f}", colours[name]))
    sizes = np.bincount(groups.number)
    ax.set_xticks(place, [f"{name}\n{size:,}" for name, size in zip(groups.names, sizes, strict=True)])
    ax.set_xlim(-0.3, len(place) - 0.7)
    whose = "an item" if by == "item" else "a user"
    dress(
        ax, title or f"Error by how many ratings {whose} has", f"training ratings of the {by}; below, test ratings of these",
        ERROR_UNIT, grid="y",
    )  # fmt: skip
    legend_in(ax, colours, "upper right")
    write_ends(ax, ends)
    return ax


def model_predictions(model: Any, test: Any) -> Floats:
    """Predict test ratings, of which some may be of unknown users or items, as is meant here, without a warning."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return np.asarray(model.predict(test), dtype=np.float64)


def training_counts(model: Any, ids: npt.NDArray[Any], by: str) -> npt.NDArray[np.int64]:
    """Return how many training ratings the item or the user of each test rating has, 0 for unknown ones."""
    known, counts = getattr(model, f"{by}_ids_"), getattr(model, f"{by}_counts_")
    place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.where(known[place] == ids, counts[place], 0)


class Classes(NamedTuple):
    """Test ratings in classes."""

    names: list[str]
    """Of the classes, such as "5-9"."""
    number: npt.NDArray[np.int64]
    """(n,), the class of each test rating."""


def classes_of(counts: npt.NDArray[np.int64]) -> Classes:
    """Put numbers of ratings into classes that begin at 0 and at round numbers."""
    begins = [0, *(step * 10**e for e in range(10) for step in STEPS)]
    begins = [begin for begin in begins if begin <= counts.max()]
    kept = [0]
    for begin in begins[1:]:
        # A class ends where it has enough, and enough are left for the next.
        if ((counts >= kept[-1]) & (counts < begin)).sum() >= MIN_GROUP and (counts >= begin).sum() >= MIN_GROUP:
            kept.append(begin)
    names = [f"{low}" if high - 1 == low else f"{low:,}–{high - 1:,}" for low, high in pairwise(kept)]
    names.append(f"{kept[-1]:,} or more" if len(kept) > 1 else "any")
    return Classes(names, np.searchsorted(kept, counts, side="right") - 1)


def cold_start(measured: ColdStart, *, title: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the error for new users against how many of their ratings are known.

    Parameters
    ----------
    measured : ColdStart
        What :func:`alsx.model_selection.cold_start` returns.
    title : str, optional
        Default: how many ratings of how many users are predicted.
    ax : matplotlib Axes, optional
        Draw here. Default: a figure of 1600 x 800 pixels of its own.

    Returns
    -------
    ax : matplotlib Axes
        ``ax.figure.savefig("coldstart.png")`` writes it; in a notebook ``ax.figure`` shows it.

    Raises
    ------
    TypeError
        If `measured` is something else.

    Examples
    --------
    >>> from alsx import BiasALS, plot
    >>> from alsx.datasets import make_ratings
    >>> from alsx.model_selection import cold_start, train_test_split
    >>> train, new = train_test_split(make_ratings(200, 50, 5000, random_state=0), by="cold_users", random_state=0)
    >>> plot.cold_start(cold_start(BiasALS().fit(train), new, known=(0, 1, 5))).get_xticks().tolist()
    [0, 1, 5]
    """
    if not isinstance(measured, ColdStart):
        raise TypeError(
            f"measured is a {type(measured).__name__}; it must be what alsx.model_selection.cold_start returns"
        )
    ax = axes_for(ax)
    colours = colours_of(list(measured.rmse))
    ends = []
    for name, errors in measured.rmse.items():
        ax.plot(
            measured.known, errors, color=colours[name], linewidth=LINE_WIDTH, marker="o", markersize=MARKER_SIZE, label=name,
            clip_on=False, zorder=3,
        )  # fmt: skip
        ends.append(LineEnd(float(errors[-1]), f"{name} {errors[-1]:.3f}", colours[name]))
    most = int(measured.known[-1])
    ax.set_xlim(0, max(most, 1))
    ax.xaxis.set_major_locator(FixedLocator(measured.known.tolist()))
    what = f"{measured.n_ratings:,} ratings of {measured.n_users:,} new users, predicted from others of theirs"
    dress(ax, title or what, "known ratings of each user", ERROR_UNIT, grid="y")
    write_ends(ax, ends)
    return ax

"""Whose call a message answers: how it names arguments and places, and a remedy that works there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_VALUE_LENGTH = 60  # characters of a value, or a name, in a message
MAX_PATH_LENGTH = 80
MAX_LIST_LENGTH = 100


def show(value: Any) -> str:
    """Return a value as a message shows it: short, and without NumPy's wrapping."""
    if hasattr(value, "as_py"):
        try:
            value = value.as_py()
        except UnicodeDecodeError as error:  # text that is not valid UTF-8
            value = error.object
    if isinstance(value, np.generic):
        value = value.item()
    text = repr(value)
    return text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH - 3] + "..."


def listed(names: Sequence[Any]) -> str:
    """Return names as a message lists them: all, or the first of them and how many more there are."""
    shown: list[str] = []
    for at, name in enumerate(names):
        if sum(map(len, shown)) + len(show(name)) > MAX_LIST_LENGTH:
            return f"{', '.join(shown)} and {len(names) - at:,} more"
        shown.append(show(name))
    return ", ".join(shown) or "none"


def quoted(name: Any) -> str:
    """Return a column's name as code has it, texts in double quotes."""
    if isinstance(name, str) and len(name) < MAX_VALUE_LENGTH and name.isprintable() and not {'"', "\\"} & set(name):
        return f'"{name}"'
    return show(name)


def path_name(path: Any) -> str:
    """Return a path as a message shows it: the end of it, where it is long."""
    text = str(path)
    return text if len(text) <= MAX_PATH_LENGTH else "..." + text[3 - MAX_PATH_LENGTH :]


@dataclass(frozen=True)
class Place:
    """How a message says where an entry of the input is.

    Attributes
    ----------
    entry : str
        What an entry is called; entries are counted from 0.
    """

    entry: str = "row"

    def __call__(self, at: int) -> str:
        """Return the place of the entry `at`."""
        return f"{self.entry} {at}"


@dataclass(frozen=True)
class SelectedPlace(Place):
    """The place of an entry of which others were taken out.

    Attributes
    ----------
    place : Place
        Of the entries there were.
    kept : ndarray of int64
        Which of them are left.
    """

    place: Place = Place()
    kept: npt.NDArray[np.int64] | None = None

    def __call__(self, at: int) -> str:
        """Return the place of the entry `at` of those that are left."""
        return self.place(at if self.kept is None else int(self.kept[at]))


@dataclass(frozen=True)
class Caller:
    """The function that was given the ratings.

    `Ratings` takes every option itself. `fit` and the like take none, but take a `Ratings`, so that their remedies are
    ``alsx.Ratings(R, item="anime_id")``. The command line has flags.

    Attributes
    ----------
    data, y, weights : str
        What it calls its arguments.
    options : {"own", "Ratings", "flags"}
        Where the options of `Ratings` are given: in the same call, in a `Ratings` around the data, or as flags.
    flags : tuple of (str, str)
        Names of the flags of the command line, by option; an option that is not there has no flag.
    """

    data: str = "data"
    y: str = "y"
    weights: str = "sample_weight"
    options: str = "own"
    flags: tuple[tuple[str, str], ...] = ()

    def remedy(self, option: str, value: str) -> str:
        """Return how this caller is told an option, for instance ``pass item="anime_id"``.

        Parameters
        ----------
        option : str
            An option of `Ratings`.
        value : str
            Its value, as code has it.
        """
        if self.options == "own":
            return f"pass {option}={value}"
        flag = dict(self.flags).get(option)
        if self.options == "flags" and flag is not None:
            return f"pass --{flag}={_as_flag(value)}"
        where = "in Python, " if self.options == "flags" else ""
        return f"{where}pass alsx.Ratings({self.data}, {option}={value})"


def _as_flag(value: str) -> str:
    """A value as code has it, as the command line has it."""
    return value.strip("[]").replace('", "', ",").strip('"')


OWN = Caller()

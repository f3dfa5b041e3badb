"""Whose call a message answers: how it names arguments and places, and a remedy that works there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Characters of the parts of a message, which has 300 at most.
MAX_VALUE_LENGTH = 44
MAX_NAME_LENGTH = 32
MAX_PATH_LENGTH = 60
MAX_LIST_LENGTH = 80


def show(value: Any, most: int = MAX_VALUE_LENGTH) -> str:
    """Return a value as a message shows it: `most` characters at most, and without NumPy's wrapping."""
    if hasattr(value, "as_py"):
        try:
            value = value.as_py()
        except UnicodeDecodeError as error:  # text that is not valid UTF-8
            value = error.object
    if isinstance(value, np.generic):
        value = value.item()
    text = repr(value)
    return text if len(text) <= most else text[: most - 3] + "..."


def show_name(name: Any) -> str:
    """Return the name of a column, a type or a parameter as a message shows it."""
    return show(name, MAX_NAME_LENGTH)


def listed(names: Sequence[Any]) -> str:
    """Return names as a message lists them: all, or the first of them and how many more there are."""
    shown: list[str] = []
    for at, name in enumerate(names):
        if sum(map(len, shown)) + len(show_name(name)) > MAX_LIST_LENGTH:
            return f"{', '.join(shown)} and {len(names) - at:,} more"
        shown.append(show_name(name))
    return ", ".join(shown) or "none"


def quoted(name: Any) -> str:
    """Return a column's name as code has it, texts in double quotes; a placeholder where it is long or odd."""
    if not isinstance(name, str):
        return show_name(name)
    return f'"{name}"' if len(name) <= MAX_NAME_LENGTH and name.isprintable() and '"' not in name else '"NAME"'


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
class ShiftedPlace(Place):
    """The place of an entry of a part of the entries, which begins at `start`."""

    place: Place = Place()
    start: int = 0

    def __call__(self, at: int) -> str:
        """Return the place of the entry `at` of the part."""
        return self.place(self.start + at)


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
    warns : bool
        Whether it warns of what is suspicious among the ratings; not where it is given a part of them.
    """

    data: str = "data"
    y: str = "y"
    weights: str = "sample_weight"
    options: str = "own"
    flags: tuple[tuple[str, str], ...] = ()
    warns: bool = True

    def remedy(self, option: str, value: str) -> str:
        """Return how this caller is told an option, for instance ``pass item="anime_id"``.

        Parameters
        ----------
        option : str
            An option of `Ratings`.
        value : str
            Its value, as code has it.
        """
        if self.options == "own" or self._flag(option):
            return f"pass {self.option(option, value)}"
        where = "in Python, " if self.options == "flags" else ""
        return f"{where}pass alsx.Ratings({self.data}, {option}={value})"

    def option(self, option: str, value: str) -> str:
        """Return an option alone, where the message has said already how this caller is told them."""
        flag = self._flag(option)
        return f"--{flag}={_as_flag(value)}" if flag else f"{option}={value}"

    def _flag(self, option: str) -> str | None:
        return dict(self.flags).get(option) if self.options == "flags" else None


def _as_flag(value: str) -> str:
    """A value as code has it, as the command line has it."""
    return re.sub(r'["\[\] ]', "", value)


OWN = Caller()

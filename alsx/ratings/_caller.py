"""Whose call a message answers: how it names arguments and places, and a remedy that works there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


def show(value: Any) -> str:
    """Return a value as a message shows it: short, and without NumPy's wrapping."""
    if hasattr(value, "as_py"):
        value = value.as_py()
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def listed(names: Any, most: int = 100) -> str:
    """Return names as a message lists them: all, or the first of them and how many more there are."""
    shown: list[str] = []
    for at, name in enumerate(names):
        if sum(map(len, shown)) + len(show(name)) > most:
            return f"{', '.join(shown)} and {len(names) - at:,} more"
        shown.append(show(name))
    return ", ".join(shown) or "none"


def quoted(name: Any) -> str:
    """Return a column's name as code has it, texts in double quotes."""
    return f'"{name}"' if isinstance(name, str) and not {'"', "\\"} & set(name) else repr(name)


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
        """Return how this caller is told an option, for instance ``pass item="anime_id"``."""
        if self.options == "own":
            return f"pass {option}={value}"
        flag = dict(self.flags).get(option)
        if self.options == "flags" and flag is not None:
            return f"pass --{flag}={value.strip(chr(34))}"
        return f"pass alsx.Ratings({self.data}, {option}={value})"


OWN = Caller()

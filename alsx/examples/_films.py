"""The films of an example: loading them, and saying what they are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from alsx import _check, _cli
from alsx.datasets import load_demo, load_movielens
from alsx.examples._busy import busy_sentence, seconds_waited

if TYPE_CHECKING:
    from alsx.datasets import MovieLens


def load_films(data: str) -> MovieLens:
    """Return the demo set, or the MovieLens archive of this name or at this path, without timestamps."""
    _cli.tell(f"reading {data} ...")
    return load_demo() if data == "demo" else load_movielens(data, timestamps=False)


def print_source(films: MovieLens) -> None:
    """Print the name of the data, and whether the ratings are simulated."""
    _cli.heading(f"Data: {films.name}")
    if films.simulated:
        print("These ratings are SIMULATED, drawn from planted tastes; only the films are real.\n")


def source_of(films: MovieLens) -> str:
    """Return what a picture has to say of its data."""
    return f"{films.name}{', simulated ratings' if films.simulated else ''}"


def took(start: float, waited: float | None) -> None:
    """Print how long all of it took since `start`, and whether the machine was busy since the time that was waited then."""
    seconds = time.perf_counter() - start
    print(
        " ".join(filter(None, [f"All of it took {seconds:.1f} s.", busy_sentence(waited, seconds_waited(), seconds)]))
    )


def check_share(name: str, value: Any, what: str) -> None:
    """Refuse what is not between 0 and 1."""
    if not 0 < _check.real(name, value) < 1:
        raise ValueError(f"{name} is {value}; it must be a share of the {what} between 0 and 1, such as 0.1")

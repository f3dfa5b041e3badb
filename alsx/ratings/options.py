"""The options of `Ratings`: checked once, before anything is read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from alsx import _check, _threads
from alsx.ratings._caller import Caller, show, show_name
from alsx.ratings.raw import Missing
from alsx.ratings.sorting import DUPLICATES
from alsx.ratings.text import LayoutOptions

ID_TYPES: dict[Any, str] = {"integers": "integers", "strings": "strings", int: "integers", str: "strings"}


class Options(NamedTuple):
    """The checked options of `Ratings`.

    Attributes
    ----------
    columns : dict
        Names of columns that are asked for, as `choose_columns` takes them.
    duplicates : str
        What happens to pairs that are there twice.
    missing : Missing
        Ratings that stand for none.
    layout : LayoutOptions
        Of files of text.
    id_types : dict of str to str or None
        Of files, by side.
    dtype : numpy.dtype
        Of ratings and weights.
    n_threads : int
        For sorting.
    copy : bool
        Whether a CSR matrix is copied.
    """

    columns: dict[str, Any]
    duplicates: str
    missing: Missing
    layout: LayoutOptions
    id_types: dict[str, str | None]
    dtype: np.dtype[Any]
    n_threads: int
    copy: bool


def check_options(
    user: Any = None,
    item: Any = None,
    rating: Any = None,
    timestamp: Any = None,
    duplicates: Any = "raise",
    missing: Any = None,
    separator: Any = None,
    header: Any = None,
    names: Any = None,
    encoding: Any = None,
    quoting: Any = None,
    id_types: Any = None,
    dtype: Any = "float32",
    n_jobs: int | None = None,
    copy: bool = True,
) -> Options:
    """Check the options of `Ratings`."""
    if not isinstance(duplicates, str) or duplicates not in DUPLICATES:
        raise ValueError(f"duplicates is {show(duplicates)}; it must be one of {', '.join(map(repr, DUPLICATES))}")
    return Options(
        {"user": user, "item": item, "rating": rating, "timestamp": timestamp},
        duplicates,
        Missing.of(missing),
        LayoutOptions.of(separator, header, names, encoding, quoting),
        check_id_types(id_types),
        _check.float_dtype("dtype", "" if dtype is None else dtype),
        _threads.resolve(n_jobs),
        copy,
    )


def check_id_types(given: Any) -> dict[str, str | None]:
    """What `id_types` says of users and of items."""
    if isinstance(given, dict):
        unknown = [x for x in given if x not in ("user", "item")]
        if unknown:
            raise ValueError(f'id_types has the key {show(unknown[0])}; it must be "user" or "item"')
        each = given.get("user"), given.get("item")
    elif isinstance(given, tuple | list) and len(given) == 2:
        each = given[0], given[1]
    else:
        each = given, given
    for kind in each:
        if not (kind is None or (isinstance(kind, str | type) and kind in ID_TYPES)):
            raise ValueError(
                f'id_types is {show(given)}; it must be "integers", "strings", or a pair of them for users and items'
            )
    return {side: None if kind is None else ID_TYPES[kind] for side, kind in zip(("user", "item"), each, strict=True)}


def refuse_file_options(options: Options, data: Any, caller: Caller) -> None:
    """Refuse options of files where there is none."""
    given = [name for name in options.layout._fields if getattr(options.layout, name) is not None]
    if any(options.id_types.values()):
        given.append("id_types")
    if given:
        raise TypeError(
            f"{given[0]} is for files, but {caller.data} is of type {type(data).__name__}: leave it out, and convert columns "
            "before"
        )


def refuse_arguments(y: Any, names: dict[str, Any], kind: str, caller: Caller) -> None:
    """Refuse ratings beside data that hold them, and names of columns where there are none."""
    if y is not None:
        raise TypeError(
            f"{caller.y} is given, but {caller.data} is {kind}, which holds the ratings: leave {caller.y} out"
        )
    for name, value in names.items():
        if value is not None and value is not False:
            raise TypeError(
                f"{name}={show_name(value)} names a column, but {caller.data} is {kind}, not a data frame: leave it out"
            )

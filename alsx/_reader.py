"""How commands read ratings: the options of `Ratings` as flags, written once for all commands."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from alsx import _cli
from alsx.ratings import Caller, Ratings, files
from alsx.ratings import read_ratings as read_with


class Flag(NamedTuple):
    """An option of `Ratings` as a flag.

    Attributes
    ----------
    option : str
        The name that `Ratings` gives it.
    name : str
        The name of the flag, with underscores.
    kind : str
        "text" as it is typed, "list" with commas, or "bool".
    help : str
        What it does.
    """

    option: str
    name: str
    kind: str
    help: str

    @property
    def shown(self) -> str:
        """Return the flag as it is typed."""
        return self.name.replace("_", "-")

    @property
    def type(self) -> str:
        """Return its type, as the help shows it."""
        return "bool" if self.kind == "bool" else "str"


FLAGS = (
    Flag("user", "user_column", "text", "Name of the column of users, where it is not recognised."),
    Flag("item", "item_column", "text", "Name of the column of items, where it is not recognised."),
    Flag("rating", "rating_column", "text", "Name of the column of ratings, where it is not recognised."),
    Flag(
        "duplicates", "duplicates", "text",
        "What to do where a user rated an item more than once: raise (an error, the default), last, mean or sum.",
    ),
    Flag("missing", "missing", "list", 'Ratings that mean "not rated" and are left out, such as -1 or -1,99.'),
    Flag("separator", "separator", "text", r"What stands between columns, such as , or :: or \t. Default: recognised."),
    Flag("header", "header", "bool", "Whether the first line names the columns. Default: it does."),
    Flag("names", "names", "list", "Names of all columns in order, such as user,item,rating, for files without a header."),
    Flag("encoding", "encoding", "text", "Of the text, such as latin-1. Default: UTF-8, or UTF-16 where it is recognised."),
    Flag("quoting", "quoting", "bool", "Whether double quotes enclose fields. Default: recognised."),
    Flag(
        "id_types", "id_types", "list",
        "What ids are: integers, strings, or one for users and one for items (integers,strings). Default: recognised.",
    ),
    Flag(
        "cache", "cache", "text",
        "Folder for prepared ratings, which may be larger than memory; see alsx prepare. Default: they are read into memory.",
    ),
    Flag("memory", "memory", "text", "With --cache: what sorting may take, such as 2GB. Default: 1GB."),
)  # fmt: skip

CALLER = Caller("RATINGS", options="flags", flags=tuple((flag.option, flag.shown) for flag in FLAGS))


def reads_ratings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes ``**reader`` the flags of `FLAGS`, each with its help."""
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    flags = [flag for flag in FLAGS if flag.name not in signature.parameters]
    more = [
        inspect.Parameter(flag.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=f"{flag.type} | None")
        for flag in flags
    ]
    command.__signature__ = signature.replace(parameters=own + more)  # type: ignore[attr-defined]
    lines = (f"    {flag.name} : {flag.type}\n        {flag.help}\n" for flag in flags)
    command.__doc__ = f"{(command.__doc__ or '').rstrip()}\n{''.join(lines)}    "
    taken = getattr(command, "_string_arguments", ())
    return _cli.strings(*taken, *(flag.name for flag in flags if flag.kind != "bool"))(command)


class Data(NamedTuple):
    """Ratings that were read, and the titles of the items where they came along.

    Attributes
    ----------
    ratings : Ratings
    titles : dict or None
        By id.
    """

    ratings: Ratings
    titles: dict[Any, str] | None


def read_ratings(
    path: str,
    *,
    usual_id_types: tuple[str | None, str | None] | None = None,
    timestamps: bool = False,
    **reader: Any,
) -> Ratings:
    """Read ratings from a file, or from a MovieLens archive or name; see `read_data`."""
    return read_data(path, usual_id_types=usual_id_types, timestamps=timestamps, **reader).ratings


def read_data(
    path: str,
    *,
    usual_id_types: tuple[str | None, str | None] | None = None,
    timestamps: bool = False,
    **reader: Any,
) -> Data:
    """Read ratings, and titles where they come along, from a file, or from a MovieLens archive or name.

    Parameters
    ----------
    path : str
        The file, the archive, or the name of a data set.
    usual_id_types : (str, str), default=None
        What ids of users and of items are, where no flag says so.
    timestamps : bool, default=False
        Read times, where there are any.
    **reader
        The flags, by their names with underscores, as they were typed.
    """
    given = {flag: reader[flag.name] for flag in FLAGS if reader.get(flag.name) is not None}
    if path.lower().endswith(files.SUFFIXES) or _is_folder_of_ratings(path):
        _cli.tell(f"reading {path} ...")
        options = {flag.option: parse(flag, value) for flag, value in given.items()}
        if usual_id_types is not None:
            options.setdefault("id_types", usual_id_types)
        if not timestamps and "cache" not in options:
            options["timestamp"] = False  # what is prepared serves other programs, too
        file = str(Path(path).expanduser())
        return Data(read_with(file, caller=CALLER, report=_Steps(), **options), None)
    for flag, value in given.items():
        raise ValueError(
            f"--{flag.shown} is {value}; it must be left out, since it is for files and {path} is taken for a MovieLens set"
        )
    from alsx.datasets import load_demo, load_movielens

    if path == "demo":
        films = load_demo()
    else:
        _cli.tell(f"reading {path} ...")
        films = load_movielens(path, timestamps=timestamps)
    ids = films.items["item"].to_pylist()
    return Data(films.ratings, dict(zip(ids, films.titles(ids, years=True), strict=True)))


def _is_folder_of_ratings(path: str) -> bool:
    """Whether this is a folder of files of ratings, and not that of a MovieLens set."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return False
    from alsx.datasets._archive import is_archive_folder

    return not is_archive_folder(folder)


class _Steps:
    """Tells the steps of a preparation as they begin."""

    def __init__(self) -> None:
        self._step, self._start = "", time.perf_counter()

    def __call__(self, step: str, share: float) -> None:
        if step != self._step:
            self._step = step
            _cli.tell(f"{time.perf_counter() - self._start:7.1f} s  {step} ...")


def read_table(path: str, argument: str) -> Any:
    """Read a table with a column of ids, such as features or titles, from a CSV or Parquet file.

    Parameters
    ----------
    path : str
    argument : str
        What messages call it.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{argument} is {path}; there is no such file")
    try:
        return parquet.read_table(file) if file.suffix.lower() in (".parquet", ".pq") else csv.read_csv(file)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{argument} is {path}; it must be a CSV or Parquet file ({str(error)[:120]})") from None


def parse(flag: Flag, value: Any) -> Any:
    """Return the value of an option from what was typed."""
    if flag.kind == "bool":
        return value
    if flag.kind == "list":
        values: list[Any] = value.split(",")
        if flag.option == "missing":
            values = [as_number(text) for text in values]
        return values[0] if len(values) == 1 and flag.option != "names" else values
    return "\t" if flag.option == "separator" and value in ("\\t", "tab") else value


def as_number(text: str) -> float | str:
    """Return a number where the text is one, else the text, such as "N/A"."""
    try:
        return float(text)
    except ValueError:
        return text

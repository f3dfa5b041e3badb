"""What the commands share: Fire without its traps, failures in one line, tables that line up.

Tables are printed by hand: tabulate would make the same lines, but needs wcwidth beside it for titles in Chinese or Japanese,
and reads numbers in titles unless it is told not to; rich draws boxes and cuts titles by its own rules.
"""

from __future__ import annotations

import csv
import errno
import functools
import inspect
import io
import json
import os
import re
import shlex
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fire
import fire.core
import fire.decorators
import numpy as np

from alsx import _interrupt
from alsx._files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What the library raises for input that it cannot use or that is too large. Anything else is a defect and shows its traceback.
EXPECTED = (
    OSError, ValueError, TypeError, np.linalg.LinAlgError, FloatingPointError, OverflowError, MemoryError,
)  # fmt: skip


def strings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Take these arguments as they are typed: Fire would make numbers, tuples and None of ids and paths."""

    def decorator(command: Callable[..., None]) -> Callable[..., None]:
        command._string_arguments = names  # type: ignore[attr-defined]
        return command

    return decorator


class _Missing(str):
    """What stands for the value of a flag that was given none."""

    __slots__ = ()


def _typed(name: str, value: str) -> str:
    """Return the value as it was typed. For a flag without a value Fire makes one up, "True" or "False"."""
    if value in {"True", "False"} and not any(word.rpartition("=")[2] == value for word in sys.argv[1:]):
        return _Missing(name)
    return value


class _Call:
    """A command with its arguments, not yet run: Fire looks for leftover arguments only after it has called a function.

    Attributes
    ----------
    command : callable
        The command.
    run : callable
        Runs it with its arguments.
    """

    __slots__ = ("command", "run")

    def __init__(self, command: Callable[..., None], run: Callable[[], None]) -> None:
        self.command, self.run = command, run


@contextmanager
def _tamed_fire() -> Iterator[None]:
    """Change two settings of Fire for as long as it parses; they are global, and other programs may use Fire too."""
    before = fire.decorators.FIRE_METADATA, fire.core.Display
    # Where Fire notes how a command's arguments are parsed; under a private name it stays out of the help texts.
    fire.decorators.FIRE_METADATA = "_fire_metadata"
    # No pager: help is printed like everything else.
    fire.core.Display = lambda lines, out: print(*lines, sep="\n", file=out)
    try:
        yield
    finally:
        fire.decorators.FIRE_METADATA, fire.core.Display = before


def _deferred(command: Callable[..., None]) -> Callable[..., _Call]:
    """Return a function for Fire to call, which notes the call instead of running the command."""

    def checked(*args: Any, **kwargs: Any) -> None:
        for value in (*args, *kwargs.values()):
            if isinstance(value, _Missing):
                flag = str(value).replace("_", "-")
                raise ValueError(f"--{flag} needs a value; write --{flag}=VALUE")
        command(*args, **kwargs)

    @functools.wraps(command)
    def capture(*args: Any, **kwargs: Any) -> _Call:
        return _Call(command, functools.partial(checked, *args, **kwargs))

    typed = {name: functools.partial(_typed, name) for name in getattr(command, "_string_arguments", ())}
    decorated: Callable[..., _Call] = fire.decorators.SetParseFns(**typed)(capture)
    return decorated


def _parsed(commands: Callable[..., None] | dict[str, Callable[..., None]], name: str) -> Any:
    """Return what Fire makes of the arguments; its help goes to standard output, its complaints to standard error."""
    printed = io.StringIO()
    code: Any = 0
    call = None
    with _tamed_fire():
        component: Any = (
            {word: _deferred(command) for word, command in commands.items()}
            if isinstance(commands, dict)
            else _deferred(commands)
        )
        try:
            with redirect_stderr(printed):
                call = fire.Fire(
                    component, name=name, serialize=lambda result: None if isinstance(result, _Call) else result
                )
        except SystemExit as leave:
            code = leave.code
    # Fire takes the name for one word and quotes it.
    text = printed.getvalue().replace(shlex.quote(name), name)
    if code:
        sys.stderr.write(text)
        raise SystemExit(code)
    sys.stdout.write(re.sub(r"\AINFO: .*\n\n", "", text))
    return call


def run(
    commands: Callable[..., None] | dict[str, Callable[..., None]], name: str, renamed: dict[str, str] | None = None
) -> None:
    """Run a command line through Fire, and leave with a code: 0, 2 for what cannot be done, 130 when interrupted.

    Parameters
    ----------
    commands : function, or dict of name -> function
        Functions that print their results on standard output.
    name : str
        How the program is called, for help texts.
    renamed : dict of str -> str, default=None
        Arguments of the library that have another name as flags, such as ``{"max_iter": "iterations"}``: messages name
        the flag.
    """
    for name_of_stream in ("stdout", "stderr"):
        if getattr(sys, name_of_stream) is None:  # closed by who started the program
            setattr(sys, name_of_stream, io.StringIO())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A title that the terminal's encoding lacks letters for is no reason to fail after the work.
            stream.reconfigure(errors="replace")
    call = None
    try:
        _interrupt.raise_from_now_on()
        call = _parsed(commands, name)
        if isinstance(call, _Call):
            with warnings.catch_warnings():
                warnings.showwarning = _warn
                call.run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; what was to come after that is not done.
        _discard_output()
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        _interrupt.ignore_from_now_on()
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except EXPECTED as error:
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(call, _Call):
            text = name_flag(text, call.command, renamed or {})
        print(f"error: {text}", file=sys.stderr)
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            _discard_output()  # else Python tries again at its end, and says so
        raise SystemExit(2) from None


def _discard_output() -> None:
    """Write nothing more to standard output, not even what is left of it when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def name_flag(message: str, command: Callable[..., None], renamed: dict[str, str]) -> str:
    """Return a message whose first word is the name of an argument with the name of the command's flag for it."""
    found = re.match(r"([a-z_]\w*)(?=(\[\d\])? (is|has) )", message)
    if found is None:
        return message
    argument = renamed.get(found[0], found[0])
    parameter = inspect.signature(command).parameters.get(argument)
    if parameter is None:
        return message
    is_flag = parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty
    shown = f"--{argument.replace('_', '-')}" if is_flag else argument.upper()
    return shown + message[found.end() :]


def _warn(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    """Show a warning as one line, without the line of code it comes from."""
    tell(f"warning: {' '.join(str(message).split())}")


def tell(message: str) -> None:
    """Print on standard error what is going on."""
    print(message, file=sys.stderr, flush=True)


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * width(text)}")


def width(text: str) -> int:
    """Return how many columns of a terminal a text fills."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(bool(unicodedata.combining(letter)) for letter in text)


def shortened(text: str, columns: int) -> str:
    """Return the text, cut to fit."""
    if width(text) <= columns:
        return text
    while width(text) > columns - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: str = "") -> None:
    """Print rows in columns.

    Parameters
    ----------
    header : sequence of str
        Names of the columns.
    rows : iterable of sequences of str
        Cells.
    right : str, default=""
        One letter for each column, "r" for those that are flushed right (numbers).
    """
    lines = [list(header), *(list(row) for row in rows)]
    columns = [max(width(line[c]) for line in lines) for c in range(len(header))]
    for number, line in enumerate(lines):
        cells = []
        for c, cell in enumerate(line):
            space = " " * (columns[c] - width(cell))
            cells.append(space + cell if right[c : c + 1] == "r" else cell + space)
        print("  ".join(cells).rstrip())
        if number == 0:
            print("  ".join("-" * n for n in columns))


FORMATS = ("table", "csv", "json")


def check_format(format: Any, json: Any) -> str:
    """Return how results are printed, from the flags ``--format`` and ``--json``."""
    check_flag("json", json)
    if format not in FORMATS:
        raise ValueError(f'format is {format}; it must be "table", "csv" or "json"')
    return "json" if json else str(format)


def check_flag(name: str, value: Any) -> None:
    """Refuse a value for a flag that takes none."""
    if not isinstance(value, bool):
        raise TypeError(f"--{name} is {value!r}; it takes no value: write --{name} alone, or leave it out")


def show(records: Sequence[dict[str, Any]], formats: dict[str, str], form: str, nothing: str = "nothing") -> None:
    """Print records as a table to read, or as CSV or JSON to process.

    Parameters
    ----------
    records : sequence of dict
        All with the keys of `formats`.
    formats : dict of name -> format specification
        The columns, in order, such as ``{"item": "", "predicted": ".2f"}``; those with a specification are numbers
        and flushed right. CSV and JSON have the numbers themselves.
    form : {"table", "csv", "json"}
    nothing : str, default="nothing"
        The sentence that stands for a table without rows.
    """
    if form == "json":
        print(
            json.dumps([{name: record[name] for name in formats} for record in records], ensure_ascii=False, indent=1)
        )
        return
    if form == "csv":
        writer = csv.DictWriter(sys.stdout, list(formats), extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
        return
    if not records:
        print(nothing)
        return
    rows = [
        ["-" if record[name] is None else format(record[name], form) for name, form in formats.items()]
        for record in records
    ]
    table(list(formats), rows, "".join("r" if form else "l" for form in formats.values()))


def save_figure(figure: Figure, file: Path) -> None:
    """Write a picture as a PNG file, whole or not at all."""
    with atomic_write(file) as png:
        figure.savefig(png, format="png")


def check_file(path: str, what: str) -> Path:
    """Return the file that is to be written; refuse one that cannot be, before the work."""
    file = Path(path).expanduser()
    if file.is_dir():
        raise ValueError(f"{what} is {path}; it must be a file to write, not a folder")
    if not file.parent.is_dir():
        raise ValueError(f"{what} is {path}; there is no folder {file.parent}: make it first")
    if not os.access(file.parent, os.W_OK):
        raise ValueError(f"{what} is {path}; it must be in a folder that may be written to")
    return file


def check_folder(path: str, what: str) -> Path:
    """Return the folder that is to be written to; refuse one that cannot be made or written to, before the work."""
    folder = Path(path).expanduser()
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise ValueError(f"{what} is {path}; it must be a folder, but {nearest} is a file")
    if not os.access(nearest, os.W_OK):
        raise ValueError(f"{what} is {path}; the folder {nearest} may not be written to")
    return folder

"""What the texts of a column mean: which ids, which numbers.

A decision rests on all distinct texts of a column, not on the first ones: ids are integers only if every one is written as an
integer is (00417 is not 417), and a message names the first text that is not a number, with its line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from alsx.ratings._caller import Caller, quoted, show
from alsx.ratings.columns import integer_kind
from alsx.ratings.raw import Missing

Array = npt.NDArray[Any]

MAX_CODE_LENGTH = 12  # of what may stand for a rating that is missing
INTEGER = re.compile(r"0|-?[1-9][0-9]*")  # as Python writes one
LOOSE_INTEGER = re.compile(r"\s*([+-]?[0-9]+)(\.0*)?\s*")
DECIMAL = re.compile(r"[+-]?[0-9]+[.,][0-9]*|[+-]?[.,][0-9]+")
# What files write where they have nothing. Among integers they are not ids.
NOTHING = frozenset(
    ["-", "--", ".", "?", "n/a", "na", "nan", "null", "none", "nil", "#n/a", "<na>", "\\n", "missing", "unknown"]
)
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")


class Texts(NamedTuple):
    """The distinct texts of a column, and where they are.

    Attributes
    ----------
    texts : list of str
        In any order; their places in this list are their numbers.
    first : callable
        ``first(numbers)`` is the number of the text of the first row that has one of these, and how messages speak of the row:
        ``"ratings.csv, column user: line 7"``.
    name : str
        Of the column.
    caller : Caller
        Whose remedies messages offer.
    """

    texts: list[str]
    first: Callable[[set[int]], tuple[int, str]]
    name: str
    caller: Caller

    def ids(self, id_type: str | None) -> list[str] | Array:
        """Return the ids that the texts are, in the order of the texts: integers where all are written so, else text.

        Parameters
        ----------
        id_type : {"integers", "strings"}, or None
            What they are; None: what they look like.
        """
        texts = without_margin(self.texts)
        blank = {code for code, text in enumerate(texts) if not text.strip()}
        if blank:
            self.refuse_empty_id(self.first(blank)[1])
        if id_type == "strings" or not texts:
            return texts
        if id_type == "integers":
            found = [LOOSE_INTEGER.fullmatch(text) for text in texts]
            bad = {code for code, match in enumerate(found) if match is None}
            if bad:
                code, where = self.first(bad)
                raise TypeError(f"{where} is {show(texts[code])}; the ids must be integers, as id_types says")
            numbers = [int(match.group(1)) for match in found if match is not None]
        elif all(map(INTEGER.fullmatch, texts)):
            numbers = [int(text) for text in texts]
        else:
            self._refuse_near_integers(texts)
            return texts
        kind = integer_kind(min(numbers), max(numbers))
        if kind is None:
            if id_type is None:
                return texts  # numbers of any length are as good as text
            code, where = self.first({c for c, n in enumerate(numbers) if not -(2**63) <= n < 2**64} or {0})
            raise ValueError(f"{where} is {show(texts[code])}, beyond what 64 bits hold: leave id_types out")
        return np.array(numbers, kind)

    @staticmethod
    def refuse_empty_id(where: str) -> NoReturn:
        """Refuse an id that is not there."""
        raise ValueError(f"{where} is empty: take rows without an id out first")

    def refuse_empty_rating(self, where: str) -> NoReturn:
        """Refuse a rating that is not there."""
        refuse_empty_rating(where, self.caller)

    def _refuse_near_integers(self, texts: list[str]) -> None:
        """Refuse what stands for a missing id, and decimals such as 1.0, where all other ids are integers."""
        others = {code: text for code, text in enumerate(texts) if not INTEGER.fullmatch(text)}
        nothing = {code for code, text in others.items() if text.strip().lower() in NOTHING}
        decimals = {code for code, text in others.items() if DECIMAL.fullmatch(text)}
        if len(nothing) + len(decimals) < len(others) or len(nothing) == len(texts):
            return
        code, where = self.first(nothing or decimals)
        if nothing:
            raise TypeError(
                f"{where} is {show(texts[code])}, while the other ids are numbers: take rows without an id out, or "
                + self.caller.remedy("id_types", '"strings"')
                + " if it is one"
            )
        are_whole = all(LOOSE_INTEGER.fullmatch(text) for text in texts)
        kinds = ("integers", "strings") if are_whole else ("strings",)
        remedy = " or ".join(f'"{kind}"' for kind in kinds)
        raise TypeError(
            f"{where} is {show(texts[code])}; ids must be integers or strings, and this is a decimal number: "
            + self.caller.remedy("id_types", remedy)
        )

    def numbers(self, missing: Missing, separator: str) -> Array:
        """Return the ratings that the texts are, in the order of the texts, NaN where they stand for none.

        Parameters
        ----------
        missing : Missing
            Ratings that stand for none.
        separator : str
            What stands between columns: where it is a comma, numbers have no decimal commas.
        """
        texts = self.texts
        blank = {code for code, text in enumerate(texts) if not text.strip()}
        if blank:
            texts = [text.strip() for text in texts]
            if not missing.takes(""):
                self.refuse_empty_rating(self.first(blank)[1])
        values = np.full(len(texts), np.nan)
        bad = set()
        commas = separator != "," and not any("." in text for text in texts)
        for code, text in enumerate(texts):
            if missing.takes(text):
                continue
            stripped = text.strip()
            if commas and DECIMAL_COMMA.fullmatch(stripped):
                stripped = stripped.replace(",", ".")
            try:
                # Python's numbers may have underscores, ours may not.
                values[code] = float(stripped if "_" not in stripped else "x")
            except ValueError:
                bad.add(code)
        if bad:
            code, where = self.first(bad)
            self._refuse_number(where, texts[code])
        return values

    def _refuse_number(self, where: str, text: str) -> NoReturn:
        if text.strip() == self.name:
            raise ValueError(
                f"{where} holds the names of the columns again, as files that were joined do: take that line out"
            )
        remedy = "mend it"
        if len(text) <= MAX_CODE_LENGTH:
            remedy += f", or {self.caller.remedy('missing', quoted(text))} if it means not rated"
        if DECIMAL_COMMA.fullmatch(text.strip()):
            remedy = "write decimal points or decimal commas throughout"
        raise TypeError(f"{where} is {show(text)}; it must be a number: {remedy}")


def refuse_empty_rating(where: str, caller: Caller) -> NoReturn:
    """Refuse a rating that is not there."""
    raise ValueError(f"{where} is empty: take such rows out first, or {caller.remedy('missing', chr(34) * 2)}")


def without_margin(texts: list[str]) -> list[str]:
    """Return texts without the blank that stands before, or after, every one of them, as in ``ann, i1, 5``."""
    while texts and all(text.startswith(" ") and text.strip() for text in texts):
        texts = [text[1:] for text in texts]
    while texts and all(text.endswith(" ") and text.strip() for text in texts):
        texts = [text[:-1] for text in texts]
    return texts

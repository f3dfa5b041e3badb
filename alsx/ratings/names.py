"""Which column is what: by the names that are asked for, or by those that are recognised."""

from __future__ import annotations

import re
from typing import Any

from alsx.ratings._caller import Caller, listed, quoted, show_name

# Column names that are recognised, lower case with everything but letters and digits taken out: "User-ID" is "userid".
COLUMN_NAMES = {
    "user": ("user", "userid", "uid", "users", "customer", "customerid", "reviewer", "reviewerid"),
    "item": (
        *("item", "itemid", "iid", "items", "movie", "movieid", "film", "filmid", "product", "productid"),
        *("book", "bookid", "isbn", "asin", "track", "trackid", "song", "songid", "artist", "artistid"),
    ),
    "rating": ("rating", "ratings", "score", "stars", "value", "overall", "bookrating"),
    "timestamp": ("timestamp", "timestamps", "time", "ts", "date", "datetime", "unixreviewtime"),
}

# What is looked for where pairs are asked for and not ratings.
PAIR_COLUMNS: dict[str, Any] = {"user": None, "item": None, "rating": None, "timestamp": False}
TIMED_PAIR_COLUMNS: dict[str, Any] = {**PAIR_COLUMNS, "timestamp": None}


def is_recognised(role: str, name: Any) -> bool:
    """Return whether a column of this name is taken for users, items, ratings or timestamps."""
    return isinstance(name, str) and re.sub("[^a-z0-9]", "", name.lower()) in COLUMN_NAMES[role]


def choose_columns(found: list[Any], names: dict[str, Any], has_y: bool, caller: Caller) -> dict[str, Any]:
    """Return which column is what.

    Parameters
    ----------
    found : list
        Names of all columns.
    names : dict
        For each of "user", "item", "rating" and "timestamp" the name that is asked for; None: the one that is recognised
        (there need be none of timestamps); for "timestamp" also True, which must be recognised, and False, which is left
        out.
    has_y : bool
        Whether ratings are given apart, so that no column of them is looked for.
    caller : Caller
        Whose arguments these are.

    Returns
    -------
    dict of str to column name
        Without "rating" where there is `y`, and without "timestamp" where there are none.
    """
    if has_y and names["rating"] is not None:
        raise TypeError(
            f"both {caller.y} and rating={show_name(names['rating'])} say where the ratings are: pass one of them"
        )
    chosen: dict[str, Any] = {}
    for role in ("user", "item", "rating", "timestamp"):
        if (role == "rating" and has_y) or names[role] is False:
            continue
        optional = role == "timestamp" or (has_y and len(found) == 2)
        chosen[role] = _choose(role, names[role], found, optional, caller)
    if has_y and len(found) == 2 and None in (chosen["user"], chosen["item"]):
        # Two columns and y: pairs, whatever the columns are called, unless a recognised one says otherwise.
        chosen["user"], chosen["item"] = _complete_pair(chosen["user"], chosen["item"], found)
    if chosen.get("timestamp") in (chosen["user"], chosen["item"]):
        chosen["timestamp"] = None
    used: dict[Any, str] = {}
    for role, name in chosen.items():
        if name is not None and used.setdefault(name, role) != role:
            raise ValueError(f"the column {show_name(name)} would be both {used[name]} and {role}: name another column")
    return {role: name for role, name in chosen.items() if name is not None}


def _complete_pair(user: Any, item: Any, found: list[Any]) -> tuple[Any, Any]:
    """Users and items of two columns of which at most one is recognised."""
    if user is None and item is None:
        return found[0], found[1]
    other = found[1] if found[0] in (user, item) else found[0]
    return (other, item) if user is None else (user, other)


def _choose(role: str, name: Any, found: list[Any], optional: bool, caller: Caller) -> Any:
    """The column that is asked for or recognised; None where it is optional and not there."""
    if name is not None and name is not True:
        hits = [x for x in found if x == name]
        if not hits:
            raise ValueError(f"{role}={show_name(name)} is not a column; the columns are {listed(found)}")
    else:
        hits = [x for x in found if is_recognised(role, x)]
        if not hits:
            if optional and name is not True:
                return None
            others = [x for x in found if not any(is_recognised(other, x) for other in COLUMN_NAMES)]
            remedy = caller.remedy(role, quoted(others[0] if others else "NAME"))
            raise ValueError(f"no column of {role}s is recognised; the columns are {listed(found)}: {remedy}")
    if len(hits) > 1:
        if len(set(hits)) > 1:
            remedy = caller.remedy(role, quoted(hits[0]))
        else:
            remedy = "rename all but one"
        raise ValueError(f"the column of {role}s is ambiguous: {listed(hits)} could all be it: {remedy}")
    return hits[0]

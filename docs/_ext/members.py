"""Which members of a class its page shows."""

from __future__ import annotations

import importlib
import inspect
import re


def documented(name: str, kind: str) -> list[str]:
    """Return the public methods of a class, or the properties that its own docstring does not tell of.

    What is inherited from other libraries is left out, and what a class takes away (a property that only raises).
    """
    module, _, attribute = name.rpartition(".")
    cls = getattr(importlib.import_module(module), attribute)
    told = inspect.getdoc(cls) or ""
    listed = {word for line in re.findall(r"^(\w[\w, ]*?)(?: :|$)", told, re.MULTILINE) for word in line.split(", ")}
    found: dict[str, str] = {}
    for owner in cls.__mro__:
        if not owner.__module__.startswith("alsx."):
            continue
        for member, value in vars(owner).items():
            value = getattr(value, "__func__", value)
            is_method = inspect.isfunction(value) and not re.fullmatch(r"set_\w+_request", member)
            is_property = isinstance(value, property) and member not in listed
            if not member.startswith("_") and (is_method or is_property):
                found.setdefault(member, "property" if is_property else "method")
    return [member for member, what in found.items() if what == kind]

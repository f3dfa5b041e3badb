"""The HTML file: the template, its style and script with their hashes, the data as one block of base64."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import json
import re
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# In this order they make one script.
SCRIPTS = ("data.js", "model.js", "colours.js", "points.js", "labels.js", "map.js", "lists.js", "main.js")
# How the script calls the types of arrays.
TYPES = {"uint8": "u1", "uint16": "u2", "int16": "i2", "int32": "i4", "float32": "f4", "float64": "f8"}


def page(title: str, description: str, about: dict[str, Any], arrays: dict[str, Array], texts: dict[str, str]) -> str:
    """Return the page.

    Parameters
    ----------
    title, description : str
        Of the document.
    about : dict
        Numbers and words for the script.
    arrays : dict of name -> ndarray
        Of the types in `TYPES`.
    texts : dict of name -> str
        Long texts, such as all titles, each after a line feed.
    """
    template, style = read("page.html"), read("page.css")
    body = "\n".join(read(name) for name in SCRIPTS)
    script = f'(() => {{\n"use strict";\n{body}\n}})();\n'
    entries, block = packed(arrays, texts)
    # "<" could end the element that holds it, or begin a comment in it.
    words = json.dumps({**about, "arrays": entries}, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    parts = {
        "policy": policy(script, style),
        "title": html.escape(title),
        "description": html.escape(description),
        "style": style,
        "script": script,
        "about": words,
        "data": base64.b64encode(block).decode("ascii"),
    }
    # One pass: what was put in is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def read(name: str) -> str:
    """Return a file of the template."""
    return importlib.resources.files("alsx.explorer").joinpath("page", name).read_text("utf-8")


def policy(script: str, style: str) -> str:
    """Return the Content-Security-Policy: this script and this style, and nothing from anywhere."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") for text in (script, style)]
    return (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; base-uri 'none'; "
        "form-action 'none'"
    )


def packed(arrays: dict[str, Array], texts: dict[str, str]) -> tuple[list[list[Any]], bytes]:
    """Return what is in the block of data, [name, type, number of entries] each, and the block, deflated.

    Signed whole numbers are 0, -1, 1, -2, ... ("zigzag"), so that small ones have few bits. Bytes of numbers are sorted by
    their significance, all lowest ones first: the high bytes of a table are alike, and deflate makes little of them where they are
    apart.
    """
    entries: list[list[Any]] = []
    parts: list[bytes] = []
    for name, array in arrays.items():
        kind = TYPES[array.dtype.name]
        flat = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1)
        if array.dtype.kind == "f" and not np.isfinite(flat).all():
            raise FloatingPointError(f"the model's {name} holds numbers that are not finite: fit it with a larger reg")
        if array.dtype.kind == "i":
            flat = ((flat << 1) ^ (flat >> (8 * flat.itemsize - 1))).view(f"<u{flat.itemsize}")
        entries.append([name, kind, len(flat)])
        parts.append(np.ascontiguousarray(flat.view(np.uint8).reshape(-1, flat.itemsize).T).tobytes())
    for name, text in texts.items():
        encoded = text.encode("utf-8", "replace")
        entries.append([name, "text", len(encoded)])
        parts.append(encoded)
    return entries, zlib.compress(b"".join(parts), 9)

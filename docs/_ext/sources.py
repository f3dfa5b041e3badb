"""Texts of the sources as parts of pages: each is written once, where its readers on a code host find it.

A line ``<!-- include FILE -->`` in a page stands for a file, ``<!-- include FILE without title -->`` for what follows its
heading, and ``<!-- include FILE part NAME -->`` for what is between ``<!-- NAME -->`` and ``<!-- end of NAME -->`` in it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INCLUDE = re.compile(r"^<!-- include (\S+)(?: (without title|part ([\w-]+)))? -->$", re.MULTILINE)
LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")
# Files of the sources that are pages of the site under another name.
PAGES = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "license.md",
    "README.md": "start.md",
    "benchmarks/README.md": "speed.md",
    "benchmarks/NOTES.md": "notes.md",
    "examples": "gallery/index.rst",
}


def _relinked(text: str, folder: Path, page_folder: Path) -> str:
    """Return a text of a file in `folder` with its relative links as a page in `page_folder` needs them."""

    def link(found: re.Match[str]) -> str:
        target = (folder / found[2]).resolve()
        if not target.exists() or not target.is_relative_to(ROOT):
            return found[0]  # a page or a file of the site itself; Sphinx says if it is not there
        name = target.relative_to(ROOT).as_posix()
        target = ROOT / "docs" / PAGES[name] if name in PAGES else target
        return f"{found[1]}{_relative(target, page_folder)}{found[3]}"

    return LINK.sub(link, text)


def _relative(target: Path, folder: Path) -> str:
    """Return the way from a folder to a file."""
    return Path(os.path.relpath(target, folder)).as_posix()


def include_sources(app: Any, page: str, source: list[str]) -> None:
    """Put the texts that a page asks for into it, and make links between files links between pages (`source-read` of Sphinx)."""
    here = (ROOT / "docs" / page).parent

    def text_of(found: re.Match[str]) -> str:
        file = (here / found[1]).resolve()
        app.env.note_dependency(str(file))
        text = file.read_text(encoding="utf-8")
        if found[3]:
            text = text.split(f"<!-- {found[3]} -->\n", 1)[1].split(f"<!-- end of {found[3]} -->", 1)[0]
        elif found[2]:
            text = text.split("\n", 1)[1]
        return _relinked(text, file.parent, here)

    if Path(app.env.doc2path(page)).suffix == ".md":
        source[0] = INCLUDE.sub(text_of, _relinked(source[0], here, here))

"""Append to LICENSE what must be said about the OpenMP runtime that a repaired wheel brings along.

    python packaging/add_licenses.py PROJECT

cibuildwheel runs it before each build, in a copy of the project or on a runner that is thrown away.
"""

import sys
from pathlib import Path

NOTES = {"linux": "linux.txt", "darwin": "macos.txt", "win32": "windows.txt"}


def main(project):
    """Append this platform's note, once."""
    note = Path(__file__).with_name("licenses").joinpath(NOTES[sys.platform]).read_text(encoding="utf-8")
    file = Path(project, "LICENSE")
    text = file.read_text(encoding="utf-8")
    if note not in text:
        file.write_text(f"{text}\n{note}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])

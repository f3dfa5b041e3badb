"""Archives of examples without the times of their files, so that the same sources give the same bytes."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any


def forget_times(app: Any, error: Exception | None) -> None:
    """Write the archives that are offered for download again, with one date (`build-finished` of Sphinx)."""
    if error is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir, "_downloads").rglob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in sorted(archive.namelist())}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name), content)

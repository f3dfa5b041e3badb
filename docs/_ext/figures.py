"""The figures of an example for its page: those of pyplot, and those that were made without it, as alsx makes its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from sphinx_gallery.scrapers import figure_rst

# Figures that are on the page of an example already, by its file; held, so that none is taken for one that is gone.
_shown: dict[str, list[Figure]] = {}


def _all_figures(value: Any) -> Iterator[Figure]:
    """Yield the figures that a variable holds."""
    if isinstance(value, Figure):
        yield value
    elif isinstance(value, SubFigure | Axes):
        figure = value.get_figure(root=True)
        if figure is not None:
            yield figure
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _all_figures(one)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        yield from _all_figures(value.ravel().tolist())


def figures_of(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figures that a block of an example has made, and return the text that shows them (a scraper of sphinx-gallery)."""
    shown = _shown.setdefault(str(block_vars["src_file"]), [])
    variables = {name: value for name, value in block_vars["example_globals"].items() if not name.startswith("__")}
    found = [*map(plt.figure, plt.get_fignums()), *_all_figures(list(variables.values()))]
    paths = []
    for figure in found:
        if any(figure is other for other in shown):
            continue
        shown.append(figure)
        path = next(block_vars["image_path_iterator"])
        figure.savefig(path, dpi=150, metadata={"Software": None})
        paths.append(path)
    plt.close("all")
    return figure_rst(paths, gallery_conf["src_dir"])

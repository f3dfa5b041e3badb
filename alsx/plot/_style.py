"""Colours, sizes and texts that the pictures share."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

Floats: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]

# Okabe and Ito's colours (Color Universal Design, 2008), the darkest first: a pale line on white is hard to see.
LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#222222")

BAR_COLOUR = "#6F9BC4"  # a calmer blue of the same hue, for areas

TEXT_COLOUR = "#222222"
QUIET_COLOUR = "#666666"  # captions, axis labels, leader lines
AXIS_COLOUR = "#BBBBBB"
GRID_COLOUR = "#E8E8E8"
FRAME_COLOUR = "#DDDDDD"

# 1600 pixels wide, and small enough in inches that texts can be read where a page shows the picture at half of that.
DPI = 200
FIGURE_WIDTH = 8.0  # inches
POINTS_PER_INCH = 72.0

TITLE_STYLE: dict[str, Any] = {
    "loc": "left", "fontsize": 11, "fontweight": "bold", "color": TEXT_COLOUR, "pad": 7, "parse_math": False
}  # fmt: skip
CAPTION_STYLE: dict[str, Any] = {
    "loc": "left", "fontsize": 6.5, "color": QUIET_COLOUR, "labelpad": 5, "linespacing": 1.3, "parse_math": False
}  # fmt: skip


def new_figure(height: float, width: float = FIGURE_WIDTH) -> Figure:
    """Return an empty white figure, so many inches high and wide, without pyplot."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def root_figure(ax: Axes) -> Figure:
    """Return the whole figure that holds these axes, also where they are in a subfigure."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def agg_renderer(figure: Figure) -> Any:
    """Return a renderer that measures texts of this figure.

    It is Agg's whatever canvas the figure has, so that every backend gets the same places.
    """
    agg: Any = RendererAgg
    width, height = figure.get_size_inches() * figure.dpi
    return agg(max(1, math.ceil(width)), max(1, math.ceil(height)), figure.dpi)


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour, 0 for black and 1 for white."""
    gamma = 2.2  # of sRGB, nearly
    r, g, b = to_rgb(colour)
    return float(0.2126 * r**gamma + 0.7152 * g**gamma + 0.0722 * b**gamma)


def readable_on_white(colour: str) -> tuple[float, float, float]:
    """Return the colour, darkened until it can be read as text on white."""
    max_luminance = 0.18  # a contrast of 4.6 to white, where WCAG 2 asks for 4.5
    k = min(1.0, (max_luminance / max(luminance(colour), 1e-9)) ** (1 / 2.2))
    r, g, b = to_rgb(colour)
    return (r * k, g * k, b * k)

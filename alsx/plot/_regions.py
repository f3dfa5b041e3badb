"""Regions of the map where a genre is unusually common: a tint, and the genre's name."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from alsx.plot._labels import Box, box_of, is_inside, overlap
from alsx.plot._style import Bools, Floats, agg_renderer, readable_on_white, root_figure

MIN_ITEMS = 60  # chance alone would colour a map of fewer
GRID_COLUMNS, GRID_ROWS = 150, 112  # cells of the grid: about square in a picture of 4 to 3
NEIGHBOURHOOD_ITEMS = 30  # items' worth of Gaussian weight at a typical place: enough for a share to mean something
MIN_KERNEL_WIDTH = 0.01  # as a share of the axes: some cells, so that the grid shows the kernel
# Total weight of the items around, in items. Little is known where there are few, so a tint begins at the first of these,
# has its full strength TINT_WEIGHT_RANGE higher, and a name needs the second.
MIN_TINT_WEIGHT, TINT_WEIGHT_RANGE, MIN_NAME_WEIGHT = 1.5, 4.0, 4.0
# Signed root of the deviance, a standard normal number by chance. With these, genres strewn at random colour a hundredth of
# the map and get a name on fewer than one map in five.
MIN_TINT_ROOT, TINT_ROOT_RANGE, MIN_NAME_ROOT = 2.5, 2.5, 4.0
MAX_TINT_ALPHA = 0.30  # points stay readable above it
MIN_NAME_AREA = 0.5  # of a neighbourhood, the disc of one kernel width: a name is for a region, not a sliver
MAX_NAMES, MAX_NAMES_PER_GENRE = 14, 3
NAME_GAP = 4.0  # pixels between names


def draw_regions(ax: Axes, place: Floats, membership: Floats, ranked: list[str], colour: dict[str, str]) -> list[Text]:
    """Tint where a genre is more common than by chance, and write its name where it is most so.

    At each point of a grid the share of a genre among the items around (Gaussian weights, some thirty items' worth) is
    compared with its share on the whole map by the signed root of the deviance, a standard normal number where chance
    alone is at work. The genre with the largest root colours the place. All genres of an item count here, not only the
    one that colours its point.

    Parameters
    ----------
    ax : matplotlib Axes
        With its final limits.
    place : ndarray of shape (n, 2)
        Positions of the items.
    membership : ndarray of shape (n, n_genres)
        1.0 where the item has the genre.
    ranked : list of n_genres str
        Names of the genres.
    colour : dict of genre -> colour

    Returns
    -------
    names : list of matplotlib Text
        The names that were written.
    """
    if len(place) < MIN_ITEMS or not ranked:
        return []
    grid = density_grid(ax, place)
    roots, weight_of_genre = deviance_roots(grid, membership)
    winner, height = roots.argmax(axis=0), roots.max(axis=0)
    draw_tint(ax, grid, winner, height, [colour[genre] for genre in ranked])
    peaks = find_peaks(grid, winner, height, weight_of_genre)
    return write_names(ax, grid, peaks, ranked, colour)


@dataclass(frozen=True)
class Grid:
    """A grid over the axes, and the weights that the items have at its points."""

    limits: tuple[float, float, float, float]
    """x0, x1, y0, y1 of the axes, in data units."""
    x: Floats
    """(columns,), the centres of the cells, as shares of the axes."""
    y: Floats
    """(rows,), likewise."""
    kernel_x: Floats
    """(columns, n), Gaussian weight of each item along x; its weight at a point is the product of both."""
    kernel_y: Floats
    """(rows, n), likewise."""
    kernel_width: float
    """Standard deviation of the Gaussian, as a share of the axes."""
    weight: Floats
    """(rows, columns), sum of the weights."""
    effective: Floats
    """(rows, columns), effective number of items: squared sum of the weights over the sum of their squares (Kish)."""

    def data_position(self, row: int, column: int) -> tuple[float, float]:
        """Return the centre of a cell in data units."""
        x0, x1, y0, y1 = self.limits
        return float(x0 + self.x[column] * (x1 - x0)), float(y0 + self.y[row] * (y1 - y0))


def density_grid(ax: Axes, place: Floats) -> Grid:
    """Return the grid over these axes with the density of the items."""
    from scipy.spatial import cKDTree

    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    unit = (place - (x0, y0)) / (x1 - x0, y1 - y0)
    # Half the distance to the 30th nearest gives a Gaussian the weight of thirty items where they lie evenly.
    reach = cKDTree(unit).query(unit, k=[min(NEIGHBOURHOOD_ITEMS, len(place) // 4) + 1])[0]
    width = max(float(np.median(reach)) / 2, MIN_KERNEL_WIDTH)
    x, y = (np.arange(GRID_COLUMNS) + 0.5) / GRID_COLUMNS, (np.arange(GRID_ROWS) + 0.5) / GRID_ROWS
    kernel_x = np.exp(-0.5 * ((x[:, None] - unit[:, 0]) / width) ** 2)
    kernel_y = np.exp(-0.5 * ((y[:, None] - unit[:, 1]) / width) ** 2)
    weight = kernel_y @ kernel_x.T
    effective = weight**2 / np.maximum((kernel_y**2) @ (kernel_x**2).T, 1e-300)
    return Grid((x0, x1, y0, y1), x, y, kernel_x, kernel_y, width, weight, effective)


def deviance_roots(grid: Grid, membership: Floats) -> tuple[Floats, Floats]:
    """Return the signed root of the deviance of each genre at each point, and the weight of the items that have the genre.

    Both have the shape (n_genres, rows, columns). Unlike the difference in standard errors the root of the deviance does
    not take three items of a rare genre that meet by chance for a finding.
    """
    from scipy.special import xlogy

    n_genres = membership.shape[1]
    roots = np.full((n_genres, *grid.weight.shape), -np.inf)
    weights = np.zeros_like(roots)
    for g in range(n_genres):
        p = membership[:, g].mean()
        if 0 < p < 1:
            weights[g] = (grid.kernel_y * membership[:, g]) @ grid.kernel_x.T
            share = np.clip(weights[g] / np.maximum(grid.weight, 1e-300), 0.0, 1.0)
            deviance = 2 * grid.effective * (xlogy(share, share / p) + xlogy(1 - share, (1 - share) / (1 - p)))
            root = np.sign(share - p) * np.sqrt(np.maximum(deviance, 0.0))
            roots[g] = np.where(grid.weight > MIN_TINT_WEIGHT, root, -np.inf)
    return roots, weights


def draw_tint(ax: Axes, grid: Grid, winner: npt.NDArray[np.int64], height: Floats, colours: list[str]) -> None:
    """Colour the places where the winning genre's root is large, the more the larger it is."""
    image = np.array([to_rgba(colour) for colour in colours])[winner]
    strength = np.clip((height - MIN_TINT_ROOT) / TINT_ROOT_RANGE, 0.0, 1.0)
    certainty = np.clip((grid.weight - MIN_TINT_WEIGHT) / TINT_WEIGHT_RANGE, 0.0, 1.0)
    image[..., 3] = MAX_TINT_ALPHA * strength * certainty
    x0, x1, y0, y1 = grid.limits
    ax.imshow(image, extent=grid.limits, origin="lower", aspect=ax.get_aspect(), interpolation="bilinear", zorder=0.5)
    ax.set_xlim(x0, x1)
    ax.set_ylim(y0, y1)


def find_peaks(
    grid: Grid, winner: npt.NDArray[np.int64], height: Floats, weight_of_genre: Floats
) -> list[tuple[float, int, int, int]]:
    """Return where names belong: (-root, genre, row, column), the clearest findings first.

    A name stands where most items of its genre are, in a connected tinted region with a large enough certain part.
    """
    from scipy.ndimage import label as connected_components

    cells = math.pi * grid.kernel_width**2 * GRID_ROWS * GRID_COLUMNS  # of a neighbourhood
    min_cells = max(1.0, MIN_NAME_AREA * cells)
    peaks = []
    for g in range(len(weight_of_genre)):
        regions, n_regions = connected_components((winner == g) & (height > MIN_TINT_ROOT))
        for region in range(1, n_regions + 1):
            certain: Bools = (regions == region) & (grid.weight > MIN_NAME_WEIGHT) & (height >= MIN_NAME_ROOT)
            if certain.sum() >= min_cells:
                row, column = divmod(int(np.where(certain, weight_of_genre[g], -np.inf).argmax()), GRID_COLUMNS)
                peaks.append((-float(height[certain].max()), g, row, column))
    return sorted(peaks)


def write_names(
    ax: Axes, grid: Grid, peaks: list[tuple[float, int, int, int]], ranked: list[str], colour: dict[str, str]
) -> list[Text]:
    """Write the genres' names, as far as they overlap neither one another nor the frame."""
    renderer = agg_renderer(root_figure(ax))
    frame = box_of(ax.get_window_extent(renderer))
    written: list[Text] = []
    boxes: list[Box] = []
    times: Counter[int] = Counter()
    for _, g, row, column in peaks:
        x, y = grid.data_position(row, column)
        text = ax.text(
            x, y, ranked[g].upper(), ha="center", va="center", fontsize=10, fontweight="bold",
            color=readable_on_white(colour[ranked[g]]), parse_math=False, zorder=4.5, gid="region",
            path_effects=[patheffects.withStroke(linewidth=3.0, foreground="white", alpha=0.8)],
        )  # fmt: skip
        box = box_of(text.get_window_extent(renderer))
        enough = len(written) >= MAX_NAMES or times[g] >= MAX_NAMES_PER_GENRE
        if enough or not is_inside(box, frame) or any(overlap(box, other, NAME_GAP) for other in boxes):
            text.remove()
        else:
            times[g] += 1
            written.append(text)
            boxes.append(box)
    return written

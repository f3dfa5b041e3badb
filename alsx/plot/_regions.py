"""Regions of the map where a genre is unusually common: a tint, and the genre's name."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from alsx.plot._labels import Box, box_of, is_inside, overlap
from alsx.plot._style import POINTS_PER_INCH, Bools, Floats, agg_renderer, luminance, readable_on_white, root_figure

MIN_ITEMS = 60  # chance alone would colour a map of fewer
GRID_COLUMNS, GRID_ROWS = 150, 112  # cells of the grid: about square in a picture of 4 to 3
TINT_ZOOM = 4  # cells of the tint for each of the grid, so that its borders are lines and not stairs
NEIGHBOURHOOD_ITEMS = 30  # items' worth of Gaussian weight at a typical place: enough for a share to mean something
MIN_KERNEL_WIDTH = 0.01  # as a share of the axes: some cells, so that the grid shows the kernel
# Total weight of the items around, in items. Little is known where there are few, so a tint begins at the first of these,
# has its full strength TINT_WEIGHT_RANGE higher, and a name needs the second.
MIN_TINT_WEIGHT, TINT_WEIGHT_RANGE, MIN_NAME_WEIGHT = 1.5, 2.5, 4.0
# Signed root of the deviance, a standard normal number by chance. With these, genres strewn at random get a tint and a name on
# fewer than one map in five.
MIN_TINT_ROOT, TINT_ROOT_RANGE, MIN_NAME_ROOT = 2.5, 1.5, 4.0
MIN_CORE_STRENGTH = 0.6  # of a tint, where it is seen to join two regions
BORDER_ROOT = 0.12  # where two genres' roots differ by less their tints run into one another
# How much darker than white a tint is, in CIELAB's lightness, so that a dark colour's is no heavier than a pale one's, and
# the opacity that this may take: points stay readable above it.
TINT_DARKNESS, TINT_ALPHAS = 11.0, (0.17, 0.42)
FRAME_FADE = 0.03  # of width and height: within so much of the frame a tint fades out
MIN_NAME_AREA = 0.5  # of a neighbourhood, the disc of one kernel width: a name is for a region, not a sliver
MAX_NAMES, MAX_NAMES_PER_GENRE = 14, 4
NAME_SIZE = 8.5  # points
NAME_GAP = 2.0  # points between names
MAX_NAME_PLACES = 600  # in a region that are tried


def draw_regions(
    ax: Axes, place: Floats, area: Floats, membership: Floats, ranked: list[str], colour: dict[str, str]
) -> list[Text]:
    """Tint where a genre is more common than by chance, and write its name there.

    At each point of a grid the share of a genre among the items around (Gaussian weights, some thirty items' worth) is
    compared with its share on the whole map by the signed root of the deviance, a standard normal number where chance
    alone is at work. The genre with the largest root colours the place. All genres of an item count here, not only the
    one that colours its point. A region is tinted only if its name is written in it.

    Parameters
    ----------
    ax : matplotlib Axes
        With its final limits.
    place : ndarray of shape (n, 2)
        Positions of the items.
    area : ndarray of shape (n,)
        Areas of their points, in points^2: names cover as few as they can.
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
    roots = deviance_roots(grid, membership)
    regions = find_regions(grid, roots)
    named = write_names(ax, grid, regions, place, area, ranked, colour)
    draw_tint(ax, grid, roots, [region for region, _ in named], [colour[genre] for genre in ranked])
    return [text for _, text in named]


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


def deviance_roots(grid: Grid, membership: Floats) -> Floats:
    """Return the signed root of the deviance of each genre at each point, (n_genres, rows, columns).

    Unlike the difference in standard errors the root of the deviance does not take three items of a rare genre that meet by
    chance for a finding.
    """
    from scipy.special import xlogy

    roots = np.zeros((membership.shape[1], *grid.weight.shape))
    for g, p in enumerate(membership.mean(axis=0)):
        if 0 < p < 1:
            weight = (grid.kernel_y * membership[:, g]) @ grid.kernel_x.T
            share = np.clip(weight / np.maximum(grid.weight, 1e-300), 0.0, 1.0)
            deviance = 2 * grid.effective * (xlogy(share, share / p) + xlogy(1 - share, (1 - share) / (1 - p)))
            roots[g] = np.sign(share - p) * np.sqrt(np.maximum(deviance, 0.0))
    return roots


class Region(NamedTuple):
    """A connected region where a genre wins."""

    root: float
    """The largest, of its certain part."""
    genre: int
    cells: Bools
    """(rows, columns), with its fringe, which fades out."""
    certain: Bools
    """(rows, columns), where its name stands best."""


def find_regions(grid: Grid, roots: Floats) -> list[Region]:
    """Return the connected regions with a large enough certain part, the clearest findings first.

    Connected is what a reader sees to be: regions that only their fringes join are two, and each needs its name.
    """
    winner, height = roots.argmax(axis=0), roots.max(axis=0)
    cells = math.pi * grid.kernel_width**2 * GRID_ROWS * GRID_COLUMNS  # of a neighbourhood
    found = []
    for g in range(len(roots)):
        fringe = (winner == g) & (strength_of(height) > 0) & (certainty_of(grid.weight) > 0)
        core = (winner == g) & (strength_of(height) * certainty_of(grid.weight) > MIN_CORE_STRENGTH)
        for region in parts_with_fringe(core, fringe):
            certain: Bools = region & core & (grid.weight > MIN_NAME_WEIGHT) & (height >= MIN_NAME_ROOT)
            if certain.sum() >= max(1.0, MIN_NAME_AREA * cells):
                found.append(Region(float(height[certain].max()), g, region, certain))
    return sorted(found, key=lambda region: (-region.root, region.genre))


def strength_of(root: Floats) -> Floats:
    """Return how strong a tint is by the root of the deviance, from 0 to 1."""
    return np.asarray(np.clip((root - MIN_TINT_ROOT) / TINT_ROOT_RANGE, 0.0, 1.0))


def certainty_of(weight: Floats) -> Floats:
    """Return how strong a tint is by the weight of the items around, from 0 to 1."""
    return np.asarray(np.clip((weight - MIN_TINT_WEIGHT) / TINT_WEIGHT_RANGE, 0.0, 1.0))


def parts_with_fringe(core: Bools, fringe: Bools) -> Iterator[Bools]:
    """Yield each connected part of `core` with the cells of `fringe` that are nearest to it and connected with it."""
    from scipy.ndimage import distance_transform_edt
    from scipy.ndimage import label as connected_components

    numbers, n_parts = connected_components(core)
    if n_parts == 0:
        return
    nearest = distance_transform_edt(~core, return_distances=False, return_indices=True)
    owner = numbers[tuple(nearest)]
    for number in range(1, n_parts + 1):
        pieces, _ = connected_components(fringe & (owner == number))
        mine = np.unique(pieces[numbers == number])
        yield np.isin(pieces, mine[mine > 0]) | (numbers == number)


def write_names(
    ax: Axes, grid: Grid, regions: list[Region], place: Floats, area: Floats, ranked: list[str], colour: dict[str, str]
) -> list[tuple[Region, Text]]:
    """Write the genres' names into their regions, where they cover fewest points, as far as they overlap nothing."""
    figure = root_figure(ax)
    renderer = agg_renderer(figure)
    pixel = figure.dpi / POINTS_PER_INCH
    x0, y0, x1, y1 = box_of(ax.get_window_extent(renderer))
    gap = NAME_GAP * pixel
    frame = (x0 + gap, y0 + gap, x1 - gap, y1 - gap)
    at: Floats = ax.transData.transform(place)
    radius = np.sqrt(area) / 2 * pixel
    named: list[tuple[Region, Text]] = []
    boxes: list[Box] = []
    for region in regions:
        times = sum(other.genre == region.genre for other, _ in named)
        if len(named) >= MAX_NAMES or times >= MAX_NAMES_PER_GENRE:
            continue
        genre = ranked[region.genre]
        text = ax.text(
            0, 0, genre.upper(), ha="center", va="center", fontsize=NAME_SIZE, fontweight="bold",
            color=readable_on_white(colour[genre]), parse_math=False, zorder=4.5, gid="region",
            path_effects=[patheffects.withStroke(linewidth=2.4, foreground="white", alpha=0.85)],
        )  # fmt: skip
        extent = text.get_window_extent(renderer)
        half = np.array([extent.width, extent.height]) / 2
        spot = best_spot(ax, grid, region, half, at, radius, frame, boxes, gap)
        if spot is None:
            text.remove()
            continue
        x, y = ax.transData.inverted().transform(spot)
        text.set_position((float(x), float(y)))
        named.append((region, text))
        (left, bottom), (right, top) = (spot - half).tolist(), (spot + half).tolist()
        boxes.append((left, bottom, right, top))
    return named


def best_spot(
    ax: Axes,
    grid: Grid,
    region: Region,
    half: Floats,
    at: Floats,
    radius: Floats,
    frame: Box,
    boxes: list[Box],
    gap: float,
) -> Floats | None:
    """Return where in a region a name of this size hides least, in pixels; of equally good spots the most central certain one."""
    rows, columns = np.nonzero(region.certain | region.cells)
    step = max(1, len(rows) // MAX_NAME_PLACES)
    spots = np.array([grid.data_position(r, c) for r, c in zip(rows[::step], columns[::step], strict=True)])
    spots = ax.transData.transform(spots)
    away = np.abs(spots[:, None] - at[None]) - half  # (spots, n, 2), from the box; negative inside
    outside = np.hypot(*np.moveaxis(np.clip(away, 0, None), -1, 0))
    # A point that is covered counts by its area, one that is only touched by less.
    hidden = (np.clip(radius - outside, 0, None) ** 2).sum(axis=1)
    certain = region.certain[rows[::step], columns[::step]]
    centre = spots[certain].mean(axis=0) if certain.any() else spots.mean(axis=0)
    from_centre = np.hypot(*(spots - centre).T)
    for s in np.lexsort((from_centre, ~certain, hidden.round(3))):
        (x0, y0), (x1, y1) = (spots[s] - half).tolist(), (spots[s] + half).tolist()
        box: Box = (x0, y0, x1, y1)
        if is_inside(box, frame) and not any(overlap(box, other, gap) for other in boxes):
            return np.asarray(spots[s])
    return None


def fade_at_frame(rows: int, columns: int) -> Floats:
    """Return 1 inside the axes, falling to 0 towards the frame, so that no tint is cut off by it, (rows, columns)."""

    def ramp(n: int) -> Floats:
        from_edge = np.minimum(np.arange(n), np.arange(n)[::-1]) / n
        return np.asarray(np.clip(from_edge / FRAME_FADE, 0.0, 1.0))

    return np.outer(ramp(rows), ramp(columns))


def tint_alpha(colour: str) -> float:
    """Return the opacity of a colour's tint."""
    lightness = 116 * np.cbrt(luminance(colour)) - 16
    return float(np.clip(TINT_DARKNESS / max(100 - lightness, 1.0), *TINT_ALPHAS))


def draw_tint(ax: Axes, grid: Grid, roots: Floats, regions: list[Region], colours: list[str]) -> None:
    """Colour the regions that have a name, the more the larger the root; borders are lines, a little soft."""
    from scipy.ndimage import gaussian_filter, zoom

    if not regions:
        return

    def finer(values: Floats, order: int) -> Floats:
        return np.asarray(zoom(values, TINT_ZOOM, order=order, mode="nearest", grid_mode=True))

    certainty = certainty_of(finer(grid.weight, 1)) * fade_at_frame(*(TINT_ZOOM * n for n in grid.weight.shape))
    fine = np.array([finer(root, 3) for root in roots])
    # Of the tint of a place each genre has a share; on a border two have a half.
    shares = np.exp((fine - fine.max(axis=0)) / BORDER_ROOT)
    shares /= shares.sum(axis=0)
    opacity = np.zeros_like(certainty)
    image = np.zeros((*certainty.shape, 4))
    for g in sorted({region.genre for region in regions}):
        mine = np.any([region.cells for region in regions if region.genre == g], axis=0)
        # Wide enough for the part of the border cells that the finer grid adds.
        within = np.clip(2 * gaussian_filter(finer(mine.astype(np.float64), 1), TINT_ZOOM), 0, 1)
        share = tint_alpha(colours[g]) * strength_of(fine[g]) * certainty * within * shares[g]
        image[..., :3] += share[..., None] * np.array(to_rgb(colours[g]))
        opacity += share
    image[..., :3] /= np.maximum(opacity, 1e-12)[..., None]
    image[..., 3] = opacity
    x0, x1, y0, y1 = grid.limits
    ax.imshow(
        np.clip(image, 0, 1),
        extent=grid.limits,
        origin="lower",
        aspect=ax.get_aspect(),
        interpolation="bilinear",
        zorder=0.5,
    )
    ax.set_xlim(x0, x1)
    ax.set_ylim(y0, y1)

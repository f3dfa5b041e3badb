"""Titles beside their points that touch no point, no other title and no name of a region.

By hand, because adjustText and textalloc move texts that are all given at once, while here the best known items come first,
what finds no place is left out, and the places are the same on every machine. `benchmarks/label_placement.py` draws the three
side by side.
"""

from __future__ import annotations

import math
import textwrap
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text

from alsx.datasets.titles import display_title, split_year
from alsx.plot._style import POINTS_PER_INCH, QUIET_COLOUR, TEXT_COLOUR, Bools, Floats, agg_renderer, root_figure

Box: TypeAlias = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels
Segment: TypeAlias = tuple[Floats, Floats]  # both ends, in pixels

FONT_SIZE, BOLD_FONT_SIZE = 6.8, 7.4  # points
FRAME_GAP = 3.0  # points between a label and the frame
LABEL_GAP = 2.0  # points between two labels
POINT_GAP = 0.6  # points between a label and a point
# Distance between two labelled points, as a share of the diagonal of the axes, so that all of the map gets names. Where the
# items lie in few tight groups later rounds let them come closer.
MIN_DISTANCE = 0.07
ROUNDS = (1.0, 0.6, 0.35)  # shares of MIN_DISTANCE
CANDIDATES_PER_LABEL = 12  # items that are tried for each label that is wanted: most of those close by are refused
# Places round a point: gaps in points between its edge and the label, and angles; beside is read first, then above.
GAPS = (2.0, 6.0, 10.0, 14.0, 19.0, 24.0, 30.0, 36.0)
FAR_GAPS = (*GAPS, 45.0, 55.0, 70.0, 90.0, 120.0)  # of highlighted points, which are to have a label
ANGLES = np.deg2rad([0, 180, 90, 270, 30, 330, 150, 210, 60, 120, 240, 300, 15, 345, 165, 195])
# Cost of a place: each point of the gap, each angle further down the list, each point of the map that the leader line crosses,
# and how much closer than COMFORT another point is to the label than its own.
GAP_COST, ANGLE_COST, CROSSING_COST, NEAR_COST, COMFORT = 0.15, 0.2, 1.5, 1.0, 3.0
# Slightly more than one, so that labels beside and above their points are centred on them, and only those between slide
# along the edge of their box.
SLIDE = 1.6

MAX_LINE, MAX_LINES = 26, 3  # letters, and lines; only longer titles are cut
MIN_LINE = 12  # letters: shorter lines look torn


class Places(NamedTuple):
    """Where a label can stand, p places."""

    offset: Floats
    """(p, 2), from the point to the label's centre, in pixels."""
    box: Floats
    """(p, 4), x0, y0, x1, y1 in pixels."""
    start: Floats
    """(p, 2), the end of the leader line at the edge of the point."""
    end: Floats
    """(p, 2), its end at the label."""
    gap: Floats
    """(p,), from the edge of the point to the label, in points."""
    cost: Floats
    """(p,), of the gap and the angle alone."""


def label_points(
    ax: Axes,
    place: Floats,
    area: Floats,
    titles: list[str],
    order: npt.NDArray[np.int64],
    bold: Bools,
    n_labels: int,
    obstacles: list[Any],
) -> npt.NDArray[np.int64]:
    """Write titles beside their points, in the given order, where they touch neither a point nor one another.

    Greedy: each title takes the best of some hundred places round its point, by its distance and by how evident it is whose
    title it is; places on a point, on another title or on a leader line are out, and so are leader lines through a title, a
    labelled point or one another. What finds no place is left out, and so is what lies close to a labelled point, so that all
    of the map gets names.

    Parameters
    ----------
    ax : matplotlib Axes
        With its final size and limits.
    place : ndarray of shape (n, 2)
        Positions of the points, in data units.
    area : ndarray of shape (n,)
        Areas of the points, in points^2.
    titles : list of n str
    order : ndarray of shape (n,)
        Rows of the points, the most wanted label first.
    bold : ndarray of bool, shape (n,)
        Highlighted points: labelled in bold, however close they lie to one another, and with longer leader lines.
    n_labels : int
        How many titles at most, beside those in bold.
    obstacles : list of matplotlib artists
        What the labels must not overlap.

    Returns
    -------
    labelled : ndarray of int
        Rows of the points that have a label.
    """
    labels = LabelPlacer(ax, place, area, bold, obstacles)
    n_bold = int(bold.sum())
    candidates = order[: max(n_labels * CANDIDATES_PER_LABEL, n_bold)].tolist()
    taken: set[str] = set()
    done: list[int] = []
    refused: set[int] = set()  # without a place: other labels only make it worse
    for i, share in [(i, share) for share in ROUNDS for i in candidates]:
        if len(done) >= n_labels + n_bold:
            break
        if i in refused or i in done or labels.is_crowded(i, share * MIN_DISTANCE):
            continue
        short = short_title(titles[i])
        # A remake keeps its year.
        words = wrapped(titles[i]) if short in taken else short
        if labels.add(i, words):
            done.append(i)
            taken.add(short)
        else:
            refused.add(i)
    return np.array(done, dtype=np.int64)


def short_title(title: str) -> str:
    """Return ``Matrix, The (1999)`` as a label: no year, no second title, the article in front, at most three lines."""
    return wrapped(display_title(split_year(title)[0], alternates=False) or title) or title


def wrapped(title: str) -> str:
    """Break a title into as few lines as it needs, after a colon or else of like length; cut it only where three do not do."""
    if len(title) <= MAX_LINE:
        return title
    head, colon, tail = title.partition(": ")
    if colon and max(len(head), len(tail)) <= MAX_LINE + 2:
        return f"{head}:\n{tail}"
    title = title.replace(" - ", "\N{NO-BREAK SPACE}- ")  # a line does not begin with a dash
    for n_lines in range(2, MAX_LINES + 1):
        for width in range(max(len(title) // n_lines, MIN_LINE), MAX_LINE + 1):
            lines = textwrap.wrap(title, width, break_on_hyphens=False, break_long_words=False)
            if len(lines) <= n_lines and max(map(len, lines)) <= MAX_LINE:
                return unbound(lines)
    return unbound(textwrap.wrap(title, MAX_LINE, max_lines=MAX_LINES, placeholder=" …", break_on_hyphens=False))


def unbound(lines: list[str]) -> str:
    """Return lines as one text, without the blanks that may not be broken."""
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")


class LabelPlacer:
    """Labels of the points of one map: what is there already, and where the next one can stand.

    Parameters
    ----------
    ax, place, area, bold, obstacles
        As in `label_points`.

    Attributes
    ----------
    pixel : float
        Pixels of a point (1/72 inch).
    at : ndarray of shape (n, 2)
        The points, in pixels.
    radius : ndarray of shape (n,)
        Their radii, in pixels.
    frame : Box
        Where labels may stand.
    boxes : list of Box
        Obstacles, and the labels so far.
    leaders : list of Segment
        The leader lines so far.
    pins : list of int
        Rows of the points that no leader line may cross: the highlighted ones, and those that have a label.
    """

    def __init__(self, ax: Axes, place: Floats, area: Floats, bold: Bools, obstacles: list[Any]) -> None:
        figure = root_figure(ax)
        self._ax, self._place, self._bold = ax, place, bold
        self._renderer = agg_renderer(figure)
        self.pixel = figure.dpi / POINTS_PER_INCH
        self.at: Floats = ax.transData.transform(place)
        self.radius: Floats = np.sqrt(area) / 2 * self.pixel  # matplotlib's area is that of the square round the disc
        extent = ax.get_window_extent(self._renderer)
        gap = FRAME_GAP * self.pixel
        self.frame = (extent.x0 + gap, extent.y0 + gap, extent.x1 - gap, extent.y1 - gap)
        self._diagonal = math.hypot(extent.width, extent.height)
        self.boxes = [box_of(obstacle.get_window_extent(self._renderer)) for obstacle in obstacles]
        self.leaders: list[Segment] = []
        self.pins = [int(i) for i in np.flatnonzero(bold)]

    def is_crowded(self, i: int, min_distance: float) -> bool:
        """Return whether a labelled point is closer than this share of the diagonal; highlighted points may be close."""
        if self._bold[i] or not self.pins:
            return False
        return bool(np.hypot(*(self.at[self.pins] - self.at[i]).T).min() < min_distance * self._diagonal)

    def add(self, i: int, words: str) -> bool:
        """Write a label at the best place for it; return False where there is none."""
        text = self._write(i, words)
        extent = Text.get_window_extent(text, self._renderer)
        places = self._places(i, extent.width, extent.height)
        best = self._best(i, places)
        if best is None:
            text.remove()
            return False
        offset = places.offset[best] / self.pixel
        text.set_position((float(offset[0]), float(offset[1])))
        if places.gap[best] > GAPS[0]:
            leader = (places.start[best], places.end[best])
            self._draw_leader(i, leader)
            self.leaders.append(leader)
        x0, y0, x1, y1 = places.box[best].tolist()
        self.boxes.append((x0, y0, x1, y1))
        if not self._bold[i]:
            self.pins.append(i)
        return True

    def _write(self, i: int, words: str) -> Annotation:
        """Write a label on its point, to measure it."""
        bold = self._bold[i]
        return self._ax.annotate(
            words, (self._place[i, 0], self._place[i, 1]), xytext=(0, 0), textcoords="offset points", ha="center",
            va="center", fontsize=BOLD_FONT_SIZE if bold else FONT_SIZE, fontweight="bold" if bold else "normal",
            color=TEXT_COLOUR, linespacing=0.95, parse_math=False, zorder=5, annotation_clip=False, gid="label",
            path_effects=[patheffects.withStroke(linewidth=1.8, foreground="white", alpha=0.85)],
        )  # fmt: skip

    def _draw_leader(self, i: int, leader: Segment) -> None:
        """Draw a thin line from a point to its label, in points from the point so that it holds at any dpi."""
        start, end = (leader[0] - self.at[i]) / self.pixel, (leader[1] - self.at[i]) / self.pixel
        self._ax.annotate(
            "", (self._place[i, 0], self._place[i, 1]), xytext=(end[0], end[1]), textcoords="offset points",
            annotation_clip=False, zorder=4, gid="leader",
            arrowprops={
                "arrowstyle": "-", "linewidth": 0.6, "color": QUIET_COLOUR, "shrinkA": 0, "shrinkB": float(np.hypot(*start)),
            },
        )  # fmt: skip

    def _places(self, i: int, width: float, height: float) -> Places:
        """Return the places for a label of this size, in pixels: each gap in each direction."""
        gaps = np.array(FAR_GAPS if self._bold[i] else GAPS)
        gap, rank = (x.ravel() for x in np.meshgrid(gaps, np.arange(len(ANGLES)), indexing="ij"))
        angle = ANGLES[rank]
        direction = np.column_stack([np.cos(angle), np.sin(angle)])
        half = np.array([width, height]) / 2
        # The nearest point of the box's edge lies `gap` from the edge of the point along the angle.
        offset = direction * (self.radius[i] + gap * self.pixel)[:, None] + np.clip(direction * SLIDE, -1, 1) * half
        centre = self.at[i] + offset
        box = np.hstack([centre - half, centre + half])
        start = self.at[i] + direction * self.radius[i]
        end = np.clip(self.at[i], box[:, :2], box[:, 2:])
        return Places(offset, box, start, end, gap, GAP_COST * gap + ANGLE_COST * rank)

    def _best(self, i: int, places: Places) -> int | None:
        """Return the cheapest free place, None where none is free."""
        box = places.box
        inside = (box[:, :2] >= self.frame[:2]).all(axis=1) & (box[:, 2:] <= self.frame[2:]).all(axis=1)
        away = self._distances(box)  # (p, n), from the label to the edge of each point
        away[:, i] = np.inf
        nearest = away.min(axis=1) / self.pixel
        free = inside & (nearest > POINT_GAP)
        cost = places.cost + NEAR_COST * np.clip(COMFORT - nearest, 0, None)
        best, lowest = None, math.inf
        for p in np.flatnonzero(free)[np.argsort(cost[free], kind="stable")].tolist():
            if cost[p] >= lowest:
                break
            x0, y0, x1, y1 = box[p].tolist()
            if self._meets((x0, y0, x1, y1)):
                continue
            crossed: int | None = 0
            if places.gap[p] > GAPS[0]:
                crossed = self._crossed(i, (places.start[p], places.end[p]))
            if crossed is not None and cost[p] + CROSSING_COST * crossed < lowest:
                best, lowest = p, float(cost[p] + CROSSING_COST * crossed)
        return best

    def _distances(self, box: Floats) -> Floats:
        """Return the distance (p, n) from each box to the edge of each point, in pixels; negative where they overlap."""
        dx = np.maximum(box[:, :1] - self.at[:, 0], self.at[:, 0] - box[:, 2:3])
        dy = np.maximum(box[:, 1:2] - self.at[:, 1], self.at[:, 1] - box[:, 3:])
        outside = np.hypot(np.clip(dx, 0, None), np.clip(dy, 0, None))
        return np.asarray(outside - self.radius)

    def _meets(self, box: Box) -> bool:
        """Return whether a label meets another one, an obstacle or a leader line."""
        gap = LABEL_GAP * self.pixel
        return any(overlap(box, other, gap) for other in self.boxes) or any(
            crosses_box(line, box) for line in self.leaders
        )

    def _crossed(self, i: int, leader: Segment) -> int | None:
        """Return how many points a leader line crosses, None where it meets a label, a line or a labelled point."""
        if any(crosses_box(leader, other) for other in self.boxes) or any(cross(leader, line) for line in self.leaders):
            return None
        hit = segment_distances(leader, self.at) < self.radius + POINT_GAP * self.pixel
        hit[i] = False
        return None if hit[self.pins].any() else int(hit.sum())


# ---------------------------------------------------------------------------------------------------------------------
# Geometry, in pixels


def box_of(extent: Any) -> Box:
    """Return a matplotlib Bbox as a tuple."""
    return (extent.x0, extent.y0, extent.x1, extent.y1)


def is_inside(box: Box, frame: Box) -> bool:
    """Return whether a box lies within a frame."""
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]


def overlap(a: Box, b: Box, gap: float) -> bool:
    """Return whether two boxes are closer than `gap`."""
    return a[0] < b[2] + gap and b[0] < a[2] + gap and a[1] < b[3] + gap and b[1] < a[3] + gap


def crosses_box(line: Segment, box: Box) -> bool:
    """Return whether a segment meets a box (Liang and Barsky's clipping)."""
    start, step = line[0], line[1] - line[0]
    enter, leave = 0.0, 1.0  # the part of the segment between both edges of each axis
    for axis in (0, 1):
        if step[axis] == 0:
            if not box[axis] <= start[axis] <= box[axis + 2]:
                return False
            continue
        a, b = sorted(((box[axis] - start[axis]) / step[axis], (box[axis + 2] - start[axis]) / step[axis]))
        enter, leave = max(enter, a), min(leave, b)
    return enter <= leave


def segment_distances(line: Segment, points: Floats) -> Floats:
    """Return the distance (n,) of each point (n, 2) from a segment."""
    step = line[1] - line[0]
    along = np.clip((points - line[0]) @ step / max(float(step @ step), 1e-12), 0.0, 1.0)
    return np.asarray(np.hypot(*(points - line[0] - along[:, None] * step).T))


def cross(a: Segment, b: Segment) -> bool:
    """Return whether two segments meet: the ends of each lie on different sides of the other."""

    def side(p: Floats, q: Floats, r: Floats) -> float:
        """Return a number whose sign says on which side of the line through p and q the point r lies."""
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return side(*a, b[0]) * side(*a, b[1]) <= 0 and side(*b, a[0]) * side(*b, a[1]) <= 0

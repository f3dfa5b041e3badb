"""Titles beside their points that overlap neither one another nor anything else.

By hand, because adjustText and textalloc move texts that are all given at once, while here the best known items come first
and what finds no place is left out; the places are the same on every machine.
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

FRAME_GAP = 3.0  # points between a label and the frame
LABEL_GAP = 2.0  # points between two labels
# Distance between two labelled points, as a share of the diagonal of the axes, so that all of the map gets names. Where the
# items lie in few tight groups later rounds let them come closer.
MIN_DISTANCE = 0.055
ROUNDS = (1.0, 0.5, 0.25)  # shares of MIN_DISTANCE
CANDIDATES_PER_LABEL = 12  # items that are tried for each label that is wanted: most of those close by are refused
# Places round a point: gaps in points between its edge and the label, and angles; beside is read first, then above.
GAPS = (2.0, 7.0, 13.0, 20.0, 28.0, 38.0)
ANGLES = np.deg2rad([0, 180, 90, 270, 30, 330, 150, 210, 60, 120, 240, 300])
# Cost of a place, in roots of points of what the label would hide: each step away, and each angle further down the list.
GAP_COST, ANGLE_COST = 1.5, 0.25
# Slightly more than one, so that labels beside and above their points are centred on them, and only those between slide
# along the edge of their box.
SLIDE = 1.6

ONE_LINE, MAX_TWO_LINES = (
    25,
    46,
)  # letters: up to the first a title is one line, up to the second two lines of like length
MIN_LINE = 14  # letters


class Place(NamedTuple):
    """Where a label can stand."""

    offset: Floats
    """(2,), from the point to the label's centre, in pixels."""
    box: Box
    leader: Segment | None
    """The line from the point to the label, None where the label is beside its point."""


def label_points(
    ax: Axes,
    place: Floats,
    area: Floats,
    titles: list[str],
    order: npt.NDArray[np.int64],
    bold: Bools,
    n_labels: int,
    obstacles: list[Any],
) -> None:
    """Write titles beside their points, in the given order, where they cover neither one another nor many points.

    Greedy: each title takes the best of some seventy places round its point, by the points it would hide and by its
    distance; places on another title, on a labelled point or on a leader line, and leader lines through them, are out.
    What finds no place is left out, and so is what lies close to a labelled point, so that all of the map gets names.

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
        Highlighted points: labelled in bold, and however close they lie to one another.
    n_labels : int
        How many titles at most, beside those in bold.
    obstacles : list of matplotlib artists
        What the labels must not overlap.
    """
    labels = LabelPlacer(ax, place, area, bold, obstacles)
    n_bold = int(bold.sum())
    candidates = order[: max(n_labels * CANDIDATES_PER_LABEL, n_bold)].tolist()
    n_placed = 0
    taken: set[str] = set()
    done: set[int] = set()
    for i, share in [(i, share) for share in ROUNDS for i in candidates]:
        if n_placed >= n_labels + n_bold:
            break
        if i in done or labels.is_crowded(i, share * MIN_DISTANCE):
            continue
        short = short_title(titles[i])
        if labels.add(i, titles[i] if short in taken else short):  # a remake keeps its year
            done.add(i)
            taken.add(short)
            n_placed += 1


def short_title(title: str) -> str:
    """Return ``Matrix, The (1999)`` as a label: no year, no second title, the article in front, at most two lines."""
    plain = display_title(split_year(title)[0], alternates=False) or title
    # Two lines of like length read better than a long one and a word.
    longest = max(map(len, plain.split()), default=1)
    one = len(plain) <= ONE_LINE or len(plain) > MAX_TWO_LINES
    width = ONE_LINE if one else max(len(plain) // 2 + 3, MIN_LINE, longest)
    lines = textwrap.wrap(plain, width, max_lines=2, placeholder=" …", break_on_hyphens=False, break_long_words=False)
    return "\n".join(lines) or title


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
        Rows of the points that no label may cover: the highlighted ones, and those that have a label.
    """

    def __init__(self, ax: Axes, place: Floats, area: Floats, bold: Bools, obstacles: list[Any]) -> None:
        figure = root_figure(ax)
        self._ax, self._place, self._bold = ax, place, bold
        self._renderer = agg_renderer(figure)
        self.pixel = figure.dpi / POINTS_PER_INCH
        self.at: Floats = ax.transData.transform(place)
        self.radius: Floats = np.sqrt(area / np.pi) * self.pixel
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
        found = self._best_place(i, extent.width, extent.height)
        if found is None:
            text.remove()
            return False
        text.set_position((float(found.offset[0]) / self.pixel, float(found.offset[1]) / self.pixel))
        if found.leader is not None:
            self._draw_leader(i, found.leader)
            self.leaders.append(found.leader)
        self.boxes.append(found.box)
        if not self._bold[i]:
            self.pins.append(i)
        return True

    def _write(self, i: int, words: str) -> Annotation:
        """Write a label on its point, to measure it."""
        bold = self._bold[i]
        return self._ax.annotate(
            words, (self._place[i, 0], self._place[i, 1]), xytext=(0, 0), textcoords="offset points", ha="center",
            va="center", fontsize=8.0 if bold else 7.2, fontweight="bold" if bold else "normal", color=TEXT_COLOUR,
            linespacing=0.95, parse_math=False, zorder=5, annotation_clip=False, gid="label",
            path_effects=[patheffects.withStroke(linewidth=2.2, foreground="white", alpha=0.85)],
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

    def _best_place(self, i: int, width: float, height: float) -> Place | None:
        """Return the cheapest free place for a label of this size, in pixels."""
        best: Place | None = None
        lowest = math.inf
        for step, away in enumerate(GAPS):
            for rank, angle in enumerate(ANGLES):
                place = self._place_at(i, width, height, away, angle, with_leader=step > 0)
                gap = self._gaps(place.box)
                if not self._is_free(i, place, gap):
                    continue
                hidden = float(np.sqrt(np.clip(-gap, 0, None)).sum() / self.pixel**0.5)
                cost = hidden + GAP_COST * step + ANGLE_COST * rank
                if cost < lowest:
                    best, lowest = place, cost
        return best

    def _place_at(self, i: int, width: float, height: float, away: float, angle: float, *, with_leader: bool) -> Place:
        """Return the place whose box is `away` points from the edge of the point, in this direction."""
        direction = np.array([math.cos(angle), math.sin(angle)])
        reach = self.radius[i] + away * self.pixel
        # The nearest point of the box's edge lies `reach` away along the angle.
        offset = direction * reach + np.clip(direction * SLIDE, -1, 1) * np.array([width, height]) / 2
        x, y = self.at[i] + offset
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        if not with_leader:
            return Place(offset, box, None)
        return Place(offset, box, (self.at[i] + direction * self.radius[i], np.clip(self.at[i], box[:2], box[2:])))

    def _gaps(self, box: Box) -> Floats:
        """Return the distance (n,) from a box to the edge of each point, in pixels; negative where it covers a part."""
        nearest = np.maximum(np.array(box[:2]) - self.at, self.at - np.array(box[2:])).max(axis=1)
        return np.asarray(nearest - self.radius)

    def _is_free(self, i: int, place: Place, gap: Floats) -> bool:
        """Return whether a label and its leader line meet neither the frame nor a box, a line or a labelled point."""
        if not is_inside(place.box, self.frame):
            return False
        if any(overlap(place.box, other, LABEL_GAP * self.pixel) for other in self.boxes):
            return False
        if any(crosses_box(line, place.box) for line in self.leaders):
            return False
        if any(gap[pin] < 0 for pin in self.pins if pin != i):
            return False
        if place.leader is None:
            return True
        line = place.leader
        return not (
            any(crosses_box(line, other) for other in self.boxes) or any(cross(line, other) for other in self.leaders)
        )


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


def cross(a: Segment, b: Segment) -> bool:
    """Return whether two segments meet: the ends of each lie on different sides of the other."""

    def side(p: Floats, q: Floats, r: Floats) -> float:
        """Return a number whose sign says on which side of the line through p and q the point r lies."""
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return side(*a, b[0]) * side(*a, b[1]) <= 0 and side(*b, a[0]) * side(*b, a[1]) <= 0

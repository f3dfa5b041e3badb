"""Who places the titles of the map best: ours, adjustText or textalloc, each in its own picture, with what can be counted.

    python benchmarks/label_placement.py [--folder=DIR] [--data=demo,ml-100k,ml-latest-small] [--out=DIR]

DIR holds the archives (or set ALSX_TEST_DATA); `pip install adjustText textalloc` first. All get the same points, and the titles
of as many of the best known films, no two of them close together. Counted are titles that were written, pairs of titles that
overlap, titles that cover a part of a point (of any film), titles outside the picture, the median and the largest distance of a
title from its point, and seconds. Look at the pictures, too.
"""

import os
import time
from itertools import combinations
from pathlib import Path

import fire
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import alsx
from alsx.datasets import load_demo, load_movielens
from alsx.plot import embed
from alsx.plot._labels import MIN_DISTANCE, box_of, label_points, overlap, short_title
from alsx.plot._style import POINTS_PER_INCH, TEXT_COLOUR

SIZE, DPI, N_FILMS, N_LABELS, FONT_SIZE = (6.6, 5.2), 200, 1000, 40, 6.8


def wanted(at, diagonal):
    """The rows of the best known points that lie apart from one another."""
    rows = []
    for i in range(len(at)):
        if all(np.hypot(*(at[i] - at[j])) > MIN_DISTANCE * diagonal for j in rows):
            rows.append(i)
        if len(rows) == N_LABELS:
            break
    return rows


def canvas(place, area):
    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    ax.scatter(*place.T, s=area, c="#8FB0D0", edgecolors="white", linewidths=0.35)
    ax.set(xticks=[], yticks=[])
    ax.margins(0.045)
    ax.apply_aspect()
    figure.canvas.draw()
    return figure, ax


def ours(ax, place, area, titles, rows):
    order = np.array([*rows, *(i for i in range(len(place)) if i not in set(rows))])
    label_points(ax, place, area, titles, order, np.zeros(len(place), bool), N_LABELS, [])
    texts = [t for t in ax.texts if t.get_gid() == "label"]
    return texts, [(t.xy, t) for t in texts], [t for t in ax.texts if t.get_gid() == "leader"]


def by_adjust_text(ax, place, area, titles, rows):
    from adjustText import adjust_text

    texts = [ax.text(*place[i], short_title(titles[i]), fontsize=FONT_SIZE, color=TEXT_COLOUR) for i in rows]
    arrows = {"arrowstyle": "-", "color": "#666666", "linewidth": 0.6}
    adjust_text(
        texts,
        x=place[:, 0],
        y=place[:, 1],
        target_x=place[rows, 0],
        target_y=place[rows, 1],
        ax=ax,
        arrowprops=arrows,
        force_static=(0.3, 0.6),
        expand=(1.1, 1.3),
        max_move=None,
        time_lim=10,
    )
    return texts, list(zip(place[rows], texts, strict=True)), []


def by_textalloc(ax, place, area, titles, rows):
    import textalloc

    result = textalloc.allocate(
        ax,
        place[rows, 0],
        place[rows, 1],
        [short_title(titles[i]) for i in rows],
        x_scatter=place[:, 0],
        y_scatter=place[:, 1],
        scatter_plot=ax.collections[0],
        textsize=FONT_SIZE,
        linecolor="#666666",
        linewidth=0.6,
        draw_all=False,
        textcolor=TEXT_COLOUR,
        max_distance=0.12,
        min_distance=0.004,
        avoid_label_lines_overlap=True,
        avoid_crossing_label_lines=True,
    )
    texts = [text for text in result[2] if text is not None]
    words = {short_title(titles[i]): place[i] for i in rows}
    return texts, [(words[t.get_text()], t) for t in texts], []


def count(ax, place, area, texts, pairs):
    figure = ax.figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    from matplotlib.text import Text

    boxes = [box_of(Text.get_window_extent(t, renderer)) for t in texts]
    at, radius = ax.transData.transform(place), np.sqrt(area) / 2 * DPI / POINTS_PER_INCH
    covering = 0
    for x0, y0, x1, y1 in boxes:
        dx = np.maximum(np.maximum(x0 - at[:, 0], at[:, 0] - x1), 0)
        dy = np.maximum(np.maximum(y0 - at[:, 1], at[:, 1] - y1), 0)
        covering += bool((np.hypot(dx, dy) < radius).any())
    away = []
    for xy, text in pairs:
        x0, y0, x1, y1 = box_of(Text.get_window_extent(text, renderer))
        px, py = ax.transData.transform(xy)
        away.append(np.hypot(max(x0 - px, px - x1, 0), max(y0 - py, py - y1, 0)) * POINTS_PER_INCH / DPI)
    overlapping = sum(overlap(a, b, 0) for a, b in combinations(boxes, 2))
    outside = sum(b[0] < 0 or b[1] < 0 or b[2] > figure.bbox.x1 or b[3] > figure.bbox.y1 for b in boxes)
    return len(texts), overlapping, covering, outside, np.median(away), np.max(away)


def main(folder=None, data="demo,ml-100k,ml-latest-small", out="."):
    """Print the table and write the pictures."""
    folder = folder or os.environ.get("ALSX_TEST_DATA", "")
    print(f"{'data':16} {'by':10} titles  overlaps  on points  outside  median and largest distance  seconds")
    for name in data.split(",") if isinstance(data, str) else data:
        loaded = load_demo() if name == "demo" else load_movielens(Path(folder, f"{name}.zip"))
        model = alsx.FactorALS(random_state=0).fit(loaded.ratings)
        best = np.argsort(-model.item_counts_, kind="stable")
        best = best[model.item_counts_[best] >= 20][:N_FILMS]
        place = embed(model.item_factors_[best])
        titles = loaded.titles(model.item_ids_[best], alternates=False)
        area = 40 * np.maximum((model.item_counts_[best] / model.item_counts_.max()) ** 0.65, 0.05)
        for place_titles in (ours, by_adjust_text, by_textalloc):
            figure, ax = canvas(place, area)
            rows = wanted(ax.transData.transform(place), np.hypot(*figure.bbox.size))
            start = time.perf_counter()
            texts, pairs, _ = place_titles(ax, place, area, titles, rows)
            seconds = time.perf_counter() - start
            n, overlaps, on_points, outside, median, largest = count(ax, place, area, texts, pairs)
            counted = (
                f"{n:2}  {overlaps:8}  {on_points:9}  {outside:7}  {median:8.1f} {largest:8.1f} pt  {seconds:10.1f}"
            )
            print(f"{name:16} {place_titles.__name__:14} {counted}", flush=True)
            figure.savefig(Path(out, f"labels_{name}_{place_titles.__name__}.png"))


if __name__ == "__main__":
    fire.Fire(main)

"""How much more alike in genre neighbours are than any two films: in factor space, on the t-SNE map, on the PCA map.

    python benchmarks/map_quality.py [--folder=DIR] [--data=ml-latest-small,ml-100k] [--seeds=3] [--study]

DIR holds the archives (or set ALSX_TEST_DATA). The models are fitted to all ratings; films with at least `min_ratings`
ratings take part. Printed are ratios: the mean Jaccard index of the genres of a film and of its ten nearest, over that
of all pairs. `--study` adds other ranks and strengths of regularisation, and other settings of the map.
"""

import os
import time
from pathlib import Path

import fire
import numpy as np

import alsx
from alsx.datasets import load_movielens
from alsx.plot import embed, neighbour_jaccard


def ratio(points, genres, metric):
    near, random = neighbour_jaccard(points, genres, metric=metric)
    return near / random


def measure(model, data, min_ratings, **tsne):
    """Ratios in factor space, on the t-SNE map and on the PCA map; films; seconds of t-SNE."""
    enough = model.item_counts_ >= min_ratings
    vectors = model.item_factors_[enough]
    genres = data.genres_of(model.item_ids_[enough])
    start = time.perf_counter()
    positions = embed(vectors, **tsne)
    seconds = time.perf_counter() - start
    return (
        ratio(vectors, genres, "cosine"),
        ratio(positions, genres, "euclidean"),
        ratio(embed(vectors, "pca"), genres, "euclidean"),
        len(vectors),
        seconds,
    )


def main(folder=None, data=("ml-latest-small", "ml-100k"), seeds=3, min_ratings=20, study=False):
    """Print the table."""
    folder = folder or os.environ.get("ALSX_TEST_DATA")
    if not folder:
        raise SystemExit("name the folder of the archives: --folder=DIR, or ALSX_TEST_DATA")
    models = [{}]
    maps = [{}]
    if study:
        models += [{"k": 10}, {"k": 40}, {"reg": 0.8}, {"reg": 1.3}, {"reg": 1.5}, {"reg": 2.0}]
        models += [{"reg_scaling": 0.0, "reg": 10.0}, {"reg_scaling": 0.0, "reg": 15.0}]
        maps += [{"perplexity": 10}, {"perplexity": 50}, {"max_iter": 1000}]
    print(f"{'data':16} {'model':34} {'map':18} {'films':>5}  factors  t-SNE   PCA   seconds of t-SNE")
    for name in data.split(",") if isinstance(data, str) else data:
        loaded = load_movielens(Path(folder, f"{name}.zip"))
        for settings in models:
            fits = [alsx.FactorALS(**settings, random_state=seed).fit(loaded.ratings) for seed in range(seeds)]
            for tsne in maps if not settings else [{}]:
                rows = np.array([measure(fit, loaded, min_ratings, **tsne) for fit in fits])
                factors, near, plane, films, seconds = rows.mean(axis=0)
                texts = [", ".join(f"{k}={v}" for k, v in s.items()) or "defaults" for s in (settings, tsne)]
                figures = f"{films:5.0f}  {factors:7.3f} {near:6.3f} {plane:6.3f} {seconds:7.1f}"
                print(f"{name:16} {texts[0]:34} {texts[1]:18} {figures}", flush=True)


if __name__ == "__main__":
    fire.Fire(main)

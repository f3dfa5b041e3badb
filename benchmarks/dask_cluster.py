"""A fit on a Dask cluster of two processes: memory, bytes moved, seconds, beside the estimate; and Spark's ALS beside it.

    python benchmarks/dask_cluster.py cluster [RATINGS.npz] [--k 16] [--iterations 5]     30 million simulated ratings
    python benchmarks/dask_cluster.py picture                                              docs/cluster.png
    python benchmarks/dask_cluster.py spark [RATINGS.npz]                                  3 million ratings; needs pyspark and Java

``RATINGS.npz`` is what ``make_ml32m.py`` writes: users, items and ratings of the shape of MovieLens 32M. What `cluster` measures goes
to ``docs/cluster.csv``, which the page and the picture show. On one machine this says what memory and traffic are, and nothing of
speed: both processes share its processors.
"""

import argparse
import csv
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "cluster.csv"


def peak_memory():
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def write_parts(file, folder, n_ratings, n_parts):
    """Write ratings to Parquet files, shuffled."""
    import pyarrow as pa
    from pyarrow import parquet

    content = np.load(file)
    users, items, ratings = (content[name] for name in ("u", "i", "r"))
    order = np.random.default_rng(0).permutation(len(users))[:n_ratings]
    for part, own in enumerate(np.array_split(order, n_parts)):
        table = pa.table({"user": users[own], "item": items[own], "rating": ratings[own]})
        parquet.write_table(table, folder / f"part-{part:03d}.parquet")


def cluster(file, k, iterations, n_ratings=30_000_000, n_parts=30):
    """Fit on two processes, and write down what it took."""
    import dask
    from distributed import Client, LocalCluster

    import alsx
    from alsx.dask import DaskFactorALS, estimate_cluster

    folder = Path(tempfile.mkdtemp(prefix="alsx-dask-"))
    try:
        write_parts(file, folder, n_ratings, n_parts)
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1", memory_limit=0) as local,
            Client(local) as client,
        ):
            client.run(__import__, "alsx.dask")
            before = max(client.run(peak_memory).values())
            begun = time.perf_counter()
            model = DaskFactorALS(k, random_state=0, max_iter=iterations, tol=0, client=client).fit(folder)
            seconds = time.perf_counter() - begun
            peak = max(client.run(peak_memory).values())
            estimate = estimate_cluster(model.n_ratings_, model.n_users_, model.n_items_, k, n_workers=2)
            reading = seconds - sum(model.history_["seconds"])
            figures = {
                "ratings": model.n_ratings_, "users": model.n_users_, "items": model.n_items_, "k": k, "workers": 2,
                "peak_gb": (peak - before) / 1e9, "peak_estimate_gb": estimate.memory / 1e9,
                "moved_gb": float(np.median(model.traffic_["moved"])) / 1e9, "planned_gb": model.traffic_["planned"][-1] / 1e9,
                "traffic_estimate_gb": estimate.traffic / 1e9, "reading_seconds": reading,
                "iteration_seconds": float(np.median(model.history_["seconds"])),
            }  # fmt: skip
            loss = model.history_["loss"]
            model.close()
        del dask
        begun = time.perf_counter()
        ratings = alsx.Ratings(folder)
        figures["local_reading_seconds"] = time.perf_counter() - begun
        expected = alsx.FactorALS(k, implicit_features=None, random_state=0, max_iter=iterations, tol=0, n_jobs=2).fit(ratings)
        figures["local_iteration_seconds"] = float(np.median(expected.history_["seconds"]))
        assert loss == expected.history_["loss"], "the bits differ"
    finally:
        shutil.rmtree(folder)
    print(json.dumps(figures, indent=1))
    with FIGURES.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["figure", "value"])
        writer.writerows([name, f"{value:.4g}" if isinstance(value, float) else value] for name, value in figures.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cluster", "picture", "spark"])
    parser.add_argument("file", nargs="?", default="ml32m.npz")
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--ratings", type=int, default=30_000_000)
    arguments = parser.parse_args()
    if arguments.what == "cluster":
        cluster(arguments.file, arguments.k, arguments.iterations, arguments.ratings)
    elif arguments.what == "picture":
        picture()
    else:
        spark(arguments.file)


if __name__ == "__main__":
    main()

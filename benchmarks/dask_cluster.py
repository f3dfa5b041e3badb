"""A fit on a Dask cluster of two processes: memory, bytes moved, seconds, beside the estimate; and Spark's ALS beside it.

    python benchmarks/dask_cluster.py cluster RATINGS.npz [--k=16] [--iterations=5]     30 million simulated ratings
    python benchmarks/dask_cluster.py picture                                           docs/cluster.png
    python benchmarks/dask_cluster.py spark RATINGS.npz                                 3 million ratings; needs pyspark and Java

``RATINGS.npz`` is what ``make_ml32m.py`` writes: users, items and ratings of the shape of MovieLens 32M. What `cluster` measures
goes to ``docs/cluster.csv``, which the page shows. On one machine this says what memory and traffic are, and nothing of speed: both
processes share its processors.
"""

import csv
import json
import shutil
import tempfile
import time
from pathlib import Path

import fire
import numpy as np

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "cluster.csv"


def peak_memory():
    """The most memory that this process has had since it began, in bytes; `getrusage` would tell of its parent, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


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
            LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1", memory_limit=0
            ) as local,
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
        expected = alsx.FactorALS(k, implicit_features=None, random_state=0, max_iter=iterations, tol=0, n_jobs=2).fit(
            ratings
        )
        figures["local_iteration_seconds"] = float(np.median(expected.history_["seconds"]))
        assert loss == expected.history_["loss"], "the bits differ"
    finally:
        shutil.rmtree(folder)
    print(json.dumps(figures, indent=1))
    with FIGURES.open("w", newline="") as target:
        writer = csv.writer(target)
        writer.writerow(["figure", "value"])
        del (
            figures["reading_seconds"],
            figures["iteration_seconds"],
        )  # both processes share the processors of one machine
        del figures["local_reading_seconds"], figures["local_iteration_seconds"]
        writer.writerows(
            [name, f"{value:.4g}" if isinstance(value, float) else value] for name, value in figures.items()
        )


def picture():
    """Draw memory and seconds on paper, for some numbers of machines and of ratings."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from alsx.dask import estimate_cluster

    machines, sizes = [1, 4, 16, 64], [1e8, 3e8, 1e9, 3e9, 1e10]
    figure, (memory, seconds) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    for at, n_workers in enumerate(machines):
        # As in research of shops: ten ratings a user, a hundred an item.
        found = [estimate_cluster(n, n / 10, n / 100, 64, n_workers=n_workers, gigabits=25) for n in sizes]
        colour, name = f"C{at}", f"{n_workers} machine{'s' * (n_workers > 1)}"
        memory.loglog(sizes, [one.memory / 1e9 for one in found], "o-", color=colour, label=name)
        seconds.loglog(
            sizes, [one.compute_seconds + one.traffic_seconds for one in found], "o-", color=colour, label=name
        )
        seconds.loglog(sizes, [one.compute_seconds for one in found], ":", color=colour)
    memory.axhline(64, color="0.6", linewidth=1)
    memory.annotate("64 GB", (sizes[0], 64), xytext=(0, 3), textcoords="offset points", color="0.4")
    memory.set(xlabel="ratings", ylabel="GB of memory a machine", title="Memory: the reason for a cluster")
    seconds.set(xlabel="ratings", ylabel="seconds an iteration", title="Time at 25 Gb/s (dotted: row solves alone)")
    memory.legend(frameon=False)
    for axes in (memory, seconds):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
    figure.savefig(ROOT / "docs" / "cluster.png", dpi=130)


def spark(file, n_ratings=3_000_000, k=16, iterations=10, reg_params=(0.05, 0.1, 0.2, 0.4)):
    """Spark's ALS in local mode and `FactorALS` on the same split: seconds and RMSE, of Spark with each regularisation."""
    try:
        from pyspark.ml.recommendation import ALS
        from pyspark.sql import SparkSession
    except ImportError:
        print("skipped: pyspark is not installed")
        return
    if shutil.which("java") is None:
        print("skipped: there is no Java")
        return
    import alsx

    content = np.load(file)
    chosen = np.random.default_rng(0).permutation(len(content["u"]))[:n_ratings]
    users, items, ratings = (content[name][chosen] for name in ("u", "i", "r"))
    held_out = np.arange(n_ratings) % 10 == 0
    folder = Path(tempfile.mkdtemp(prefix="alsx-spark-"))
    try:
        import pyarrow as pa
        from pyarrow import parquet

        for name, own in (("train", ~held_out), ("test", held_out)):
            parquet.write_table(
                pa.table({"user": users[own], "item": items[own], "rating": ratings[own]}), folder / name
            )
        session = SparkSession.builder.master("local[2]").config("spark.driver.memory", "4g").config(
            "spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1").config(
            "spark.ui.enabled", "false").getOrCreate()  # fmt: skip
        train, test = (session.read.parquet(str(folder / name)).cache() for name in ("train", "test"))
        train.count(), test.count()
        for reg in reg_params:
            begun = time.perf_counter()
            als = ALS(
                rank=k, maxIter=iterations, regParam=reg, userCol="user", itemCol="item", ratingCol="rating", seed=0,
                coldStartStrategy="drop",
            )  # fmt: skip
            fitted = als.fit(train)
            fitted.itemFactors.count()
            took = time.perf_counter() - begun
            predicted = fitted.transform(test).toPandas()
            # Spark predicts nothing for unknown users and items: both are compared on what it predicts.
            rmse = float(np.sqrt(np.mean((predicted.rating - predicted.prediction) ** 2)))
            print(
                f"Spark ALS, regParam {reg}: {took:.1f} s, RMSE {rmse:.4f} of {len(predicted):,} test ratings",
                flush=True,
            )
        session.stop()
        begun = time.perf_counter()
        model = alsx.FactorALS(k, implicit_features=None, max_iter=iterations, tol=0, random_state=0, n_jobs=2)
        model.fit(folder / "train")
        took = time.perf_counter() - begun
        own = model.predict(predicted.user.to_numpy(), predicted.item.to_numpy(), clip=False)
        rmse = float(np.sqrt(np.mean((predicted.rating - own) ** 2)))
        print(f"alsx.FactorALS: {took:.1f} s with reading, RMSE {rmse:.4f} of the same")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    fire.Fire({"cluster": cluster, "picture": picture, "spark": spark})

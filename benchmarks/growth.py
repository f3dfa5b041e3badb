"""How the cost of an iteration grows: with the number of ratings, with the rank, with threads. Writes a table and a picture.

    python benchmarks/growth.py [--out=docs] [--ratings=1,3.2,10,32] [--k=8,16,32,64,128,256] [--rank=20] [--iterations=3]
    python benchmarks/growth.py --part=100

Ratings are simulated in the shape of MovieLens 32M, in millions; the rank grows at 3.2 million ratings. --part=N measures
only the size of N million ratings and adds it to what is in the table already (each size is a process of its own, since
peak memory is a whole process's). --implicit_features=both measures fits that learn prior means (with another --out, since
the table does not say which). The dashed lines are the cost model n k (k + 1) + rows k^3 / 3, drawn through the first
point of each curve: nothing should grow faster.
"""

import csv
import ctypes
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import fire

FULL = 200_948, 87_585, 32_000_204


def work(n, rows, k):
    """Multiply-adds of an iteration, without the factor that all terms share."""
    return n * k * (k + 1) + rows * k**3 / 3


def measure(millions, k, threads, iterations, implicit_features):
    """One size in this process: seconds an iteration, and bytes that the fit needed at most."""
    import numpy as np

    import alsx
    from alsx.datasets import make_ratings

    def status(name):
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

    share = millions * 1e6 / FULL[2]
    shape = int(FULL[0] * math.sqrt(share)), int(FULL[1] * math.sqrt(share))
    R = make_ratings(*shape, int(millions * 1e6), k=16, random_state=0).to_csr()
    ctypes.CDLL(None).malloc_trim(0)  # what the simulation left behind would else be used again, and not be seen
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the high-water mark begins anew
    before = status("VmRSS")
    start = time.perf_counter()
    model = alsx.FactorALS(
        k, implicit_features=implicit_features, max_iter=iterations + 1, tol=0, random_state=0, n_jobs=threads
    ).fit(R)
    return {
        "ratings": R.nnz,
        "rows": sum(R.shape),
        "k": k,
        "threads": threads,
        "seconds": float(np.median(model.history_["seconds"][1:])),
        "fit_seconds": time.perf_counter() - start,
        "bytes": status("VmHWM") - before,
    }


def picture(rows, out, rank, base):
    """Three curves and the model beside each."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    two = sorted((r for r in rows if r["threads"] == 2 and r["k"] == rank), key=lambda r: r["ratings"])
    left.loglog([r["ratings"] for r in two], [r["seconds"] for r in two], "o-", label="seconds an iteration")
    scale = two[0]["seconds"] / work(two[0]["ratings"], two[0]["rows"], rank)
    left.loglog(
        [r["ratings"] for r in two],
        [scale * work(r["ratings"], r["rows"], rank) for r in two],
        "k--",
        label="cost model",
    )
    left.loglog([r["ratings"] for r in two], [r["bytes"] / 1e9 for r in two], "s:", label="memory of the fit, GB")
    left.set(xlabel="ratings", title=f"k = {rank}, 2 threads")
    ranks = sorted((r for r in rows if r["threads"] == 2 and r["ratings"] == base), key=lambda r: r["k"])
    middle.loglog([r["k"] for r in ranks], [r["seconds"] for r in ranks], "o-", label="seconds an iteration")
    scale = ranks[0]["seconds"] / work(base, ranks[0]["rows"], ranks[0]["k"])
    middle.loglog(
        [r["k"] for r in ranks], [scale * work(base, r["rows"], r["k"]) for r in ranks], "k--", label="cost model"
    )
    middle.set(xlabel="k", title=f"{base / 1e6:.1f} million ratings, 2 threads")
    middle.set_xticks([r["k"] for r in ranks], [str(r["k"]) for r in ranks])
    middle.minorticks_off()
    for k in sorted({r["k"] for r in rows if r["threads"] == 1}):
        pair = {r["threads"]: r["seconds"] for r in rows if r["ratings"] == base and r["k"] == k}
        right.plot([1, 2], [pair[1] / pair[n] for n in (1, 2)], "o-", label=f"k = {k}")
    right.plot([1, 2], [1, 2], "k--", label="as many times as threads")
    right.set(xlabel="threads", title=f"{base / 1e6:.1f} million ratings: times as fast", xticks=[1, 2])
    for axes in (left, middle, right):
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
    figure.savefig(out, dpi=110)


def main(
    out="docs",
    ratings=(1, 3.2, 10, 32),
    k=(8, 16, 32, 64, 128, 256),
    rank=20,
    part=None,
    iterations=3,
    implicit_features=None,
    one=None,
):
    """Measure, write growth.csv and draw growth.png."""
    if one is not None:
        print(json.dumps(measure(*one, iterations, implicit_features)))
        return
    base = 3.2
    jobs = [(n, rank, 2) for n in ((part,) if part else ratings)]
    if not part:
        jobs += [(base, rank_, threads) for rank_ in k for threads in (1, 2)] + [(base, rank, 1)]
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    table = out / "growth.csv"
    found = {}
    if part and table.exists():
        with table.open(newline="") as file:
            for r in csv.DictReader(file):
                row = {name: float(x) if "seconds" in name else int(x) for name, x in r.items()}
                found[row["ratings"], row["k"], row["threads"]] = row
    for job in jobs:
        command = [
            sys.executable,
            __file__,
            f"--one={list(job)}",
            f"--iterations={iterations}",
            f"--implicit_features={implicit_features}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        row = json.loads(done.stdout)
        found[row["ratings"], row["k"], row["threads"]] = row
        told = (f"{name} {value:,.3f}" if "seconds" in name else f"{name} {value:,}" for name, value in row.items())
        print(*told, sep=", ", flush=True)
    rows = list(found.values())
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    if any(r["ratings"] == int(base * 1e6) for r in rows):  # two of the three pictures are of that size
        picture(rows, out / "growth.png", rank, int(base * 1e6))


if __name__ == "__main__":
    fire.Fire(main)

"""Ratings that are larger than memory: seconds and peak memory of preparing them and of fitting a model to them.

    python benchmarks/larger_than_memory.py make FOLDER [--n=300_000_000] [--csv]
    python benchmarks/larger_than_memory.py run SOURCE CACHE [--k=20] [--iterations=2] [--memory=1GB] [--limit=4GB] [--default]

`make` writes simulated ratings, a folder of Parquet files of 10 million rows (or of CSV files), in random order, with 2,000,000
users and 100,000 items for 300 million ratings: in bounded memory, so that it is no larger than what it measures. `run` prepares
them (unless CACHE holds them already) and fits `FactorALS`, plain or with `--default` as it is by default, each in a process of
its own. "anonymous" is the peak of what cannot be taken back by the system (RssAnon, looked at every 20 ms); pages of the
mapped files can. With --limit each process runs in a control group of so much memory, the page cache included, where the system
lets us make one (version 1 of control groups, and root).
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import fire
import numpy as np

ROWS_PER_FILE = 10_000_000
N_USERS, N_ITEMS, N_RATINGS = 2_000_000, 100_000, 300_000_000
RANK = 8
GROUPS = Path("/sys/fs/cgroup/memory")


def make(folder, n=N_RATINGS, csv=False):
    """Write `n` ratings to files of a folder."""
    import pyarrow as pa
    from pyarrow import csv as text
    from pyarrow import parquet

    folder = Path(folder)
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    scale = n / N_RATINGS
    n_users, n_items = max(100, int(N_USERS * scale**0.5)), max(100, int(N_ITEMS * scale**0.5))
    n_files = -(-n // ROWS_PER_FILE)
    activity = np.cumsum(20 + np.minimum(random.lognormal(4.0, 1.35, n_users), 33_000))
    popularity = 1.0 / (np.arange(n_items) + 60.0) ** 1.1
    # A file has the items of one remainder, so that no pair is in two of them; the remainders have about as many ratings each.
    order = random.permutation(n_items)
    user_factors = random.normal(0, 0.25, (n_users, RANK)).astype("f4")
    item_factors = random.normal(0, 1.0, (n_items, RANK)).astype("f4")
    user_bias, item_bias = random.normal(0, 0.4, n_users).astype("f4"), random.normal(0, 0.45, n_items).astype("f4")
    user_numbers = 10 + 3 * random.permutation(n_users)
    for number in range(n_files):
        wanted = min(ROWS_PER_FILE, n - number * ROWS_PER_FILE)
        own = np.arange(number, n_items, n_files)
        share = np.cumsum(popularity[own])
        pairs = np.empty(0, np.int64)
        while len(pairs) < wanted:
            draw = int(1.1 * (wanted - len(pairs))) + 1000
            users = np.searchsorted(activity, random.random(draw) * activity[-1])
            items = np.minimum(np.searchsorted(share, random.random(draw) * share[-1]), len(own) - 1)
            pairs = np.unique(np.concatenate([pairs, users * n_items + own[items]]))
        pairs = random.permutation(pairs)[:wanted]
        users, items = pairs // n_items, pairs % n_items
        stars = np.empty(wanted, "f4")
        for begin in range(0, wanted, 1_000_000):
            part = slice(begin, begin + 1_000_000)
            u, i = users[part], items[part]
            x = 3.5 + user_bias[u] + item_bias[i] + np.einsum("nk,nk->n", user_factors[u], item_factors[i])
            x += random.normal(0, 0.7, len(x))
            stars[part] = np.clip(np.round(2 * x) / 2, 0.5, 5)
        table = pa.table({"userId": user_numbers[users], "movieId": order[items] + 1, "rating": stars})
        if csv:
            text.write_csv(table, folder / f"part-{number:04}.csv")
        else:
            parquet.write_table(table, folder / f"part-{number:04}.parquet", compression="zstd")
        print(f"\r{min(n, (number + 1) * ROWS_PER_FILE):,}", end="", file=sys.stderr, flush=True)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"\n{folder}: {n:,} ratings of {n_items:,} items by {n_users:,} users, {size / 1e9:.2f} GB")


PREPARE = (
    "import alsx, sys; print(repr(alsx.Ratings(sys.argv[1], timestamp=False, cache=sys.argv[2], memory=sys.argv[3])))"
)
FIT = """
import json, sys, time
import alsx
source, cache, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
R = alsx.Ratings(source, timestamp=False, cache=cache)
m = alsx.FactorALS(**options, tol=0, random_state=0).fit(R)
print(json.dumps({"shape": R.shape, "n": R.n_ratings, "seconds": m.history_["seconds"], "rmse": m.history_["train_rmse"][-1]}))
"""


def measured(code, arguments, limit=None):
    """Run Python code in a process of its own.

    Returns its output, seconds, and peaks of memory in GB: anonymous, resident, and of its control group.
    """
    group = None
    if limit is not None:
        group = GROUPS / f"alsx-{os.getpid()}"
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(limit))

    def join():
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    start, anonymous, resident = time.perf_counter(), 0, 0
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=join)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            anonymous = max(anonymous, int(lines["RssAnon"].split()[0]))
            resident = max(resident, int(lines["VmHWM"].split()[0]))
        except (KeyError, OSError):
            pass
        time.sleep(0.02)
    took = time.perf_counter() - start
    whole = None
    if group is not None:
        whole = int((group / "memory.max_usage_in_bytes").read_text()) / 1e9
        group.rmdir()
    if process.returncode:
        sys.exit(f"the process ended with {process.returncode}")
    return process.stdout.read(), took, (1024 * anonymous / 1e9, 1024 * resident / 1e9, whole)


def show(name, took, memory):
    """Print a line of the table."""
    whole = "" if memory[2] is None else f"{memory[2]:8.2f}"
    print(f"{name:44} {took:8.1f} {memory[0]:10.2f} {memory[1]:9.2f} {whole}", flush=True)


def run(source, cache, k=20, iterations=2, memory="1GB", limit=None, default=False):
    """Prepare and fit, and print seconds and peaks of memory."""
    limit = None if limit is None else int(float(str(limit).upper().removesuffix("GB")) * 1e9)
    print(
        f"{'':44} {'seconds':>8} {'anonymous':>10} {'resident':>9} {'' if limit is None else 'in all':>8}  (peaks in GB)"
    )
    if not any(Path(cache).glob("*")):
        text, took, peaks = measured(PREPARE, (source, cache, memory), limit)
        show(f"prepare, memory={memory}", took, peaks)
        print(text.strip())
    options = {"k": k, "max_iter": iterations}
    if not default:
        options["implicit_features"] = None
    text, took, peaks = measured(FIT, (source, cache, json.dumps(options)), limit)
    found = json.loads(text)
    show(f"fit, k = {k}, {'default' if default else 'plain'}, {iterations} iterations", took, peaks)
    seconds = ", ".join(f"{x:.1f}" for x in found["seconds"])
    print(f"iterations took {seconds} s; training RMSE {found['rmse']:.4f}")
    disk = sum(file.stat().st_size for file in Path(cache).rglob("*") if file.is_file())
    print(
        f"{found['n']:,} ratings of {found['shape'][1]:,} items by {found['shape'][0]:,} users; the cache has {disk / 1e9:.2f} GB"
    )


if __name__ == "__main__":
    fire.Fire({"make": make, "run": run})

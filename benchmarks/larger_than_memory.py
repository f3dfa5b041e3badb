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
import shutil
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


if __name__ == "__main__":
    fire.Fire({"make": make})

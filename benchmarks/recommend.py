"""Seconds of recommendations, also to new users, predictions and similar items at MovieLens 32M's shape, beside NumPy and implicit.

    python benchmarks/recommend.py [--ratings=FILE.npz] [--scale=1] [--k=64] [--threads=2] [--rounds=3] [--peer-python=PATH]

FILE.npz holds u, i (int32), r (float32) and, where a part is held out, test (bool); without it ratings are simulated at
--scale times the size of MovieLens 32M. PATH is a Python with implicit installed, which is given the same factors. New users are
solved from their ratings and get ten items each: by us exactly, by implicit (recalculate_user) by its default, 3 steps of conjugate
gradients. The rounds alternate; figures are medians, ratios the medians of the rounds' own.
"""

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import fire
import iteration
import numpy as np
import scipy.sparse as sp

import alsx

PAIRS, SOME = 10_000_000, 20_000

PEER = """
import os, sys, time
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS=sys.argv[3])
import numpy as np, scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
R, tables = sp.load_npz(sys.argv[1]), np.load(sys.argv[2])
model = AlternatingLeastSquares(factors=tables["user"].shape[1], num_threads=int(sys.argv[3]))
model.user_factors, model.item_factors = tables["user"], tables["item"]
ids, similar = np.arange(min(R.shape[0], int(sys.argv[4]))), np.arange(min(R.shape[1], int(sys.argv[4])))
for call in (lambda: model.recommend(ids, R[ids], N=10), lambda: model.recommend(5, R[5], N=10),
             lambda: model.similar_items(similar, N=11), lambda: model.recommend(ids, R[ids], N=10, recalculate_user=True),
             lambda: model.recommend(5, R[5], N=10, recalculate_user=True)):
    call()
    took = []
    for _ in range(3):
        start = time.perf_counter(); call(); took.append(time.perf_counter() - start)
    print(sorted(took)[1])
"""


def seconds(call, repeats=1):
    """The median of a few calls."""
    took = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def numpy_pairs(model, users, items):
    """The same predictions with NumPy, in blocks, clipped."""
    out = np.empty(len(users))
    for start in range(0, len(users), 500_000):
        u, i = users[start : start + 500_000], items[start : start + 500_000]
        dots = np.einsum("nk,nk->n", model.user_factors_[u], model.item_factors_[i])
        out[start : start + 500_000] = model.mean_ + model.user_biases_[u] + model.item_biases_[i] + dots
    return np.clip(out, *model.rating_range_)


def main(ratings=None, scale=1.0, k=64, threads=2, rounds=3, peer_python=None):
    """Print a line a task."""
    R = iteration.read(ratings, scale)
    model = alsx.FactorALS(k, implicit_features=None, max_iter=2, tol=0, random_state=0, n_jobs=threads).fit(R)
    users, items = model.user_ids_, model.item_ids_
    generator = np.random.default_rng(0)
    pair_users, pair_items = generator.integers(0, len(users), PAIRS), generator.integers(0, len(items), PAIRS)
    some, liked = users[:SOME], items[:SOME]
    model.recommend(users[0], strategy="mean")  # packs the items, once a model
    matrix = sp.csr_matrix(R.to_csr())  # implicit refuses sparse arrays
    theirs = matrix[: len(some)].tocoo()
    new = alsx.Ratings.from_arrays(some[theirs.row], items[theirs.col], theirs.data)
    one = dict(zip(items[matrix[5].indices].tolist(), matrix[5].data.tolist(), strict=True))
    own = {
        f"recommend 10 to {len(some):,} users": (lambda: model.recommend(some, 10, strategy="mean"), 1, 0),
        "recommend 10 to one user": (lambda: model.recommend(users[5], 10, strategy="mean"), 51, 1),
        f"similar_items of {len(liked):,} items": (lambda: model.similar_items(liked, 10), 1, 2),
        f"recommend 10 to {len(some):,} new users": (
            lambda: model.recommend(some, 10, ratings=new, strategy="mean"),
            1,
            3,
        ),
        "recommend 10 to one new user": (lambda: model.recommend(ratings=one, strategy="mean"), 51, 4),
        f"recommend 10 to all {len(users):,} users": (lambda: model.recommend(users, 10, strategy="mean"), 1, None),
        f"similar_items of all {len(items):,} items": (lambda: model.similar_items(items, 10), 1, None),
        f"predict {PAIRS:,} pairs": (lambda: model.predict(users[pair_users], items[pair_items]), 1, "numpy"),
    }
    mine, other = {name: [] for name in own}, {name: [] for name in own}
    with tempfile.TemporaryDirectory() as folder:
        file, tables = Path(folder, "ratings.npz"), Path(folder, "tables.npz")
        if peer_python:
            sp.save_npz(file, matrix, compressed=False)
            factors = {"user": model.user_factors_, "item": model.item_factors_}
            np.savez(tables, **{side: np.ascontiguousarray(table) for side, table in factors.items()})
        for _ in range(rounds):
            peer = []
            if peer_python:
                command = [peer_python, "-c", PEER, str(file), str(tables), str(threads), str(SOME)]
                out = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
                peer = [float(x) for x in out.stdout.split()]
            for name, (call, repeats, place) in own.items():
                mine[name].append(seconds(call, repeats))
                if place == "numpy":
                    other[name].append(seconds(lambda: numpy_pairs(model, pair_users, pair_items)))
                elif place is not None and peer:
                    other[name].append(peer[place])
    print(f"{R!r}\nk = {k}, {threads} threads, median of {rounds} rounds")
    for name, took in mine.items():
        line = f"{name:42} {statistics.median(took):9.4f} s"
        if other[name]:
            ratio = statistics.median(x / y for x, y in zip(took, other[name], strict=True))
            rival = "NumPy" if own[name][2] == "numpy" else "implicit"
            line += f"   {rival} {statistics.median(other[name]):9.4f} s   ratio {ratio:.2f}"
        print(line, flush=True)


if __name__ == "__main__":
    fire.Fire(main)

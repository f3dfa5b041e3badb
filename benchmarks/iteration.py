"""Seconds per iteration (both half-sweeps) against rank, threads and instruction set; beside peers in the same run.

    python benchmarks/iteration.py [--ratings=FILE.npz] [--k=20,64,128] [--threads=1,2] [--levels=base,v3,v4]
    python benchmarks/iteration.py --k=64 --threads=2 --peer-python=PATH --solvers=implicit-cholesky --rounds=3
    python benchmarks/iteration.py --k=20,64 --threads=2 --learned --iterations=19 --rounds=3
    python benchmarks/iteration.py --k=20,64 --threads=2 --draws --iterations=8 --rounds=3
    python benchmarks/iteration.py --k=20,64 --threads=2 --history --rounds=3
    python benchmarks/iteration.py --k=20,64,128 --threads=2 --rank --rounds=3
    python benchmarks/iteration.py --k=20,64,128 --threads=2 --feedback=implicit --peer-python=PATH \
        --solvers=implicit-cholesky,implicit-cg --rounds=3

FILE.npz holds u, i (int32), r (float32) and, where a part is held out, test (bool); without it ratings are simulated at
--scale times the size of MovieLens 32M (0.1: 3.2 million). PATH is a Python with implicit and cmfrec installed. --learned
compares with iterations that learn prior means from who rated what; --draws compares draws of BayesALS with iterations of
FactorALS, with learned prior means and without; --history compares half-sweeps alone with the loop of a
fit, which keeps the loss and RMSE, and with one that also predicts the held-out part after each iteration; --rank compares
with iterations of RankALS, whose loss counts missing pairs too. --feedback=implicit takes ratings for counts of implicit feedback,
which is implicit's own job; ours is then RankALS. Ours and the
others' iterations alternate over the rounds; figures are medians, the ratio is the median of the rounds' own ratios. --learned
prints the ratio of the mean seconds too, since prior means take a step in a part of the iterations.
"""

import functools
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fire
import numpy as np
import scipy.sparse as sp

import alsx
from alsx import _core
from alsx._models.progress import Progress
from alsx._models.stopping import Course
from alsx._models.training import Run, Specification, held_out_ratings, run_sweeps
from alsx._solver.alternation import Alternation
from alsx._solver.prior import Penalty
from alsx.datasets import make_ratings


def read(ratings, scale, held_out=False):
    """The training ratings as an alsx.Ratings, or those held out (all of them, where none is)."""
    if ratings is None:
        root = scale**0.5
        return make_ratings(int(200_948 * root), int(87_585 * root), int(32_000_204 * scale), k=24)
    with np.load(ratings) as stored:
        keep = stored["test"] == held_out if "test" in stored.files else slice(None)
        return alsx.Ratings.from_arrays(stored["u"][keep], stored["i"][keep], stored["r"][keep])


def peak(threads):
    """Floating-point operations a second that this many threads reach on multiply-adds alone."""
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        done = _core.peak_flops(5_000_000, threads)
        best = max(best, done / (time.perf_counter() - start))
    return best


def ours(R, k, threads, dtype, iterations, implicit_features=None, feedback=None, center=np.median):
    """Seconds of the iterations after the first, which also touches fresh memory; with a `feedback` those of RankALS."""
    options = {"implicit_features": implicit_features, "max_iter": iterations + 1, "tol": 0, "n_jobs": threads}
    make = alsx.FactorALS if feedback is None else functools.partial(alsx.RankALS, feedback=feedback)
    model = make(k, random_state=0, dtype=dtype, **options).fit(R)
    return center(model.history_["seconds"][1:])


def median_and_mean(seconds):
    return np.median(seconds), np.mean(seconds)


def draw_seconds(R, k, threads, iterations, implicit_features):
    """Mean seconds of an iteration of FactorALS and of a draw of BayesALS, but for the first, which touches fresh memory."""
    options = {"implicit_features": implicit_features, "random_state": 0, "n_jobs": threads}
    # Learned means do not move in every iteration, so that means tell more than medians.
    fit = alsx.FactorALS(k, max_iter=iterations + 1, tol=0, **options).fit(R)
    chain = alsx.BayesALS(k, n_samples=iterations + 1, burn_in=0, als_iter=1, **options).fit(R)
    return [float(np.mean(model.history_["seconds"][1:])) for model in (fit, chain)]


def history_cost(R, held_out, k, threads, iterations):
    """Seconds an iteration of half-sweeps alone, of a fit's loop, and of one that predicts the held-out ratings too."""
    side = Penalty(1.3, 0.6, 0.5)
    alternation = Alternation(R, k, (side, side), np.random.default_rng(0), threads)
    test = held_out_ratings(held_out, R, alternation)

    def bare():
        for _ in range(iterations):
            alternation.update(alternation.users)
            alternation.update(alternation.items)

    def loop(test):
        specification = Specification("FactorALS", k, R.dtype, (side, side), iterations, None)
        run = Run(np.random.default_rng(0), threads, threads, 0)
        progress = Progress("FactorALS", iterations, 0)
        # Nothing follows the fit, and no iterate is kept.
        return lambda: run_sweeps(
            alternation, specification, test, run, progress, Course(run.stopping, None, 0, lambda number: None), None
        )

    took = []
    for job in (bare, bare, loop(None), loop(test)):  # the first touches fresh memory
        start = time.perf_counter()
        job()
        took.append((time.perf_counter() - start) / iterations)
    return took[1:]


def useful_flops(R, k):
    """Multiply-adds of the Gram matrices' triangles and of the Cholesky factors, each counted as two operations."""
    return 2 * R.n_ratings * k * (k + 1) + (R.n_users + R.n_items) * k**3 / 3


def many(value):
    if isinstance(value, str):  # Fire leaves names with hyphens as one text
        return value.split(",")
    return value if isinstance(value, (tuple, list)) else (value,)


def main(
    ratings=None, scale=0.1, k=(20, 64, 128), threads=(1, 2), levels=None, dtype="float32", iterations=2, rounds=3,
    peer_python=None, solvers=("implicit-cholesky",), learned=False, history=False,
    rank=False, feedback=None, draws=False,
):  # fmt: skip
    """Print the tables."""
    R = read(ratings, scale)
    print(repr(R), f"level {_core.simd_level()}", sep="\n", flush=True)
    if draws:
        for factors in many(k):
            for n in many(threads):
                for implicit in (None, "both"):
                    pairs = [draw_seconds(R, factors, n, iterations, implicit) for _ in range(rounds)]
                    a, b = np.median(pairs, axis=0)
                    ratio = np.median([y / x for x, y in pairs])
                    print(
                        f"k={factors} threads={n} implicit_features={implicit}: iteration {a:.3f} s, draw {b:.3f} s, ratio "
                        f"{ratio:.2f}", flush=True,
                    )  # fmt: skip
        return
    if learned or rank:
        name, own = "implicit_features='both'", {"implicit_features": "both"}
        if rank:
            name, own = "RankALS", {"feedback": "ratings"}
        for factors in many(k):
            for n in many(threads):
                # Learned means do not move in every iteration: the mean is what a fit costs, the median mostly one with a step.
                found = np.array(
                    [
                        [ours(R, factors, n, dtype, iterations, center=median_and_mean, **x) for x in ({}, own)]
                        for _ in range(rounds)
                    ]
                )
                a, b = np.median(found[:, :, 0], axis=0)
                ratio, of_means = np.median(found[:, 1] / found[:, 0], axis=0)
                print(
                    f"k={factors} threads={n}: {a:.3f} s, {name} {b:.3f} s, ratio {ratio:.2f}, of means {of_means:.2f}",
                    flush=True,
                )
        return
    if history:
        held_out = read(ratings, scale, held_out=True)
        for factors in many(k):
            for n in many(threads):
                took = [history_cost(R, held_out, factors, n, iterations) for _ in range(rounds)]
                bare, kept, tested = np.median(took, axis=0)
                shares = [100 * (np.median([x[j] / x[0] for x in took]) - 1) for j in (1, 2)]
                print(
                    f"k={factors} threads={n}: half-sweeps {bare:.3f} s, with the history {kept:.3f} s ({shares[0]:+.1f} %), with "
                    f"{held_out.n_ratings:,} held-out ratings too {tested:.3f} s ({shares[1]:+.1f} %)", flush=True,
                )  # fmt: skip
        return
    if peer_python is None:
        best = _core.simd_level()
        names = many(levels) if levels else [n for n in ("base", "v3", "v4") if n <= best or n == "base"]
        print("k\tthreads\tlevel\tseconds\tGFLOP/s\tof peak", flush=True)
        for factors in many(k):
            for n in many(threads):
                for level in many(names):
                    _core.set_simd_level(level)
                    seconds, limit = ours(R, factors, n, dtype, iterations), peak(n)
                    speed = useful_flops(R, factors) / seconds
                    print(f"{factors}\t{n}\t{level}\t{seconds:.3f}\t{speed / 1e9:.0f}\t{speed / limit:.2f}", flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "ratings.npz")
        users = R.by_user
        sp.save_npz(file, sp.csr_matrix((users.values, users.indices, users.indptr), shape=R.shape), compressed=False)
        for factors in many(k):
            for n in many(threads):
                for solver in many(solvers):
                    pairs = []
                    for _ in range(rounds):
                        mine = ours(R, factors, n, dtype, iterations, feedback=feedback)
                        out = subprocess.run(
                            [peer_python, str(Path(__file__).with_name("peers.py")), str(file), solver, str(factors), str(n)],
                            capture_output=True, text=True, check=False,
                        )  # fmt: skip
                        if out.returncode:
                            sys.exit(out.stderr)
                        pairs.append((mine, float(np.median([float(x) for x in out.stdout.split()]))))
                    a, b = np.median(pairs, axis=0)
                    ratio = np.median([y / x for x, y in pairs])
                    print(f"k={factors} threads={n}: alsx {a:.3f} s, {solver} {b:.3f} s, ratio {ratio:.1f}", flush=True)


if __name__ == "__main__":
    fire.Fire(main)

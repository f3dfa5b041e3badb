"""A whole fit of a small set, where start-up and Python count: seconds here and in peers, in the same run.

    python benchmarks/small_fit.py [--folder=DIR] [--k=20] [--iterations=10] [--rounds=7] [--peer-python=PATH]

DIR holds ml-100k.zip (or set ALSX_TEST_DATA); without it 100,000 simulated ratings of the same shape are used. Every process
fits once uncounted and then five times; figures are medians of the rounds' medians. "sweeps" is the part of our fit inside
the compiled room, for one thread and for two.
"""

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import fire
import numpy as np
import scipy.sparse as sp

import alsx
from alsx.datasets import load_movielens, make_ratings

PEER = """
import os, sys, time
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="2")
import scipy.sparse as sp
R, which, k, n = sp.load_npz(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if which == "implicit":
    from implicit.cpu.als import AlternatingLeastSquares
    fit = lambda: AlternatingLeastSquares(factors=k, iterations=n, use_cg=False, num_threads=2).fit(R, show_progress=False)
else:
    from cmfrec import CMF
    fit = lambda: CMF(k=k, niter=n, method="als", use_cg=False, use_float=True, nthreads=2, verbose=False,
                      precompute_for_predictions=False).fit(R.tocoo())
took = []
for _ in range(6):
    start = time.perf_counter(); fit(); took.append(time.perf_counter() - start)
print(sorted(took[1:])[2])
"""


def ours(R, k, iterations, threads):
    """Seconds of a fit, and of the sweeps in it: medians of five."""
    took = []
    for _ in range(6):
        start = time.perf_counter()
        model = alsx.FactorALS(
            k, implicit_features=None, max_iter=iterations, tol=0, random_state=0, n_jobs=threads
        ).fit(R)
        took.append((time.perf_counter() - start, sum(model.history_["seconds"])))
    return np.median(took[1:], axis=0)


def main(folder=None, k=20, iterations=10, rounds=7, peer_python=None):
    """Print a line a solver."""
    folder = folder or os.environ.get("ALSX_TEST_DATA")
    real = folder and Path(folder, "ml-100k.zip").exists()
    R = (load_movielens(Path(folder, "ml-100k.zip")).ratings if real else make_ratings(943, 1682, 100_000)).to_csr()
    R = sp.csr_matrix(R)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "R.npz")
        sp.save_npz(file, R)
        for _ in range(rounds):
            for threads in (1, 2):
                whole, sweeps = ours(R, k, iterations, threads)
                found.setdefault(f"alsx, n_jobs={threads}", []).append(whole)
                found.setdefault(f"  of that sweeps, n_jobs={threads}", []).append(sweeps)
            for which in ("implicit", "cmfrec") if peer_python else ():
                command = [peer_python, "-W", "ignore", "-c", PEER, str(file), which, str(k), str(iterations)]
                out = subprocess.run(command, capture_output=True, text=True, check=True)
                found.setdefault(f"{which}, Cholesky, 2 threads", []).append(float(out.stdout.split()[-1]))
    print(
        f"{'MovieLens 100k' if real else 'simulated'}, k = {k}, {iterations} iterations, {rounds} rounds: milliseconds"
    )
    for solver, took in found.items():
        print(f"{solver:32} {1000 * statistics.median(took):8.1f}")


if __name__ == "__main__":
    fire.Fire(main)

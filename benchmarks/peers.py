"""Seconds of one full ALS iteration of a peer on the ratings of a saved CSR matrix; iteration.py calls this.

    python peers.py CSR.npz SOLVER K THREADS [ITERATIONS]

runs in an environment of the peers' own (pip install implicit cmfrec) and prints the seconds of every iteration it timed.
"""

import os
import sys
import time

THREADS = int(sys.argv[4])
os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS=str(THREADS))

import scipy.sparse as sp  # noqa: E402


def implicit_als(R, k, use_cg, iterations):
    from implicit.cpu.als import AlternatingLeastSquares

    took = []
    model = AlternatingLeastSquares(
        factors=k, iterations=iterations, use_cg=use_cg, num_threads=THREADS, calculate_training_loss=False
    )
    model.fit(R, show_progress=False, callback=lambda _, elapsed, *rest: took.append(elapsed))
    return took


def cmfrec_als(R, k, use_cg, iterations):
    from cmfrec import CMF

    took = []
    for n in (1, 1 + iterations):
        model = CMF(
            k=k, lambda_=10.0, niter=n, method="als", use_cg=use_cg, finalize_chol=False, use_float=True,
            nthreads=THREADS, verbose=False, precompute_for_predictions=False,
        )  # fmt: skip
        start = time.perf_counter()
        model.fit(R.tocoo())
        took.append(time.perf_counter() - start)
    # What the first iteration needs besides, reading the data in, falls out of the difference.
    return [(took[1] - took[0]) / iterations]


SOLVERS = {
    "implicit-cholesky": (implicit_als, False),
    "implicit-cg": (implicit_als, True),
    "cmfrec-cholesky": (cmfrec_als, False),
    "cmfrec-cg": (cmfrec_als, True),
}

if __name__ == "__main__":
    run, use_cg = SOLVERS[sys.argv[2]]
    iterations = int(sys.argv[5]) if len(sys.argv) > 5 else 2
    print(*run(sp.load_npz(sys.argv[1]), int(sys.argv[3]), use_cg, iterations))

"""Draws of ML-100k u1 beside Bayesian peers, in one run: seconds, and the test RMSE that they lead to.

    python -m venv .peers-draws && .peers-draws/bin/pip install myfm smurff
    python benchmarks/peers_draws.py --peer-python=.peers-draws/bin/python [--folder=DIR] [--k=20] [--draws=200]
        [--threads=1,2] [--rounds=3]

Ours and the peers' fits alternate over the rounds, each in a process of its own, which times the fit alone. Plain are `BayesALS`
without rated-item sets, myFM's factorisation machine of users and items, and SMURFF's BPMF session; with rated-item sets `BayesALS`
as it is by default and SMURFF's Macau session with row-normalised rated-item matrices of both sides. All draw --draws times
after 10 draws that do not count. myFM has no setting for threads: it uses one. A peer that is not installed is left out. Figures
are medians, the ratio is the median of the rounds' own ratios to ours of the same kind.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BURN_IN = 10


def alsx_draws(train, test, k, draws, threads, learned):
    import alsx

    ratings = alsx.Ratings.from_arrays(*train)
    options = {"implicit_features": "both" if learned else None, "random_state": 0, "n_jobs": threads}
    model = alsx.BayesALS(k, n_samples=draws, burn_in=BURN_IN, **options)
    start = time.perf_counter()
    model.fit(ratings)
    seconds = time.perf_counter() - start
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return seconds, model.predict(test[0], test[1])


def myfm_draws(train, test, k, draws, threads, learned):
    import numpy as np
    import scipy.sparse as sp
    from myfm import MyFMGibbsRegressor

    n_users, n_items = (max(train[side].max(), test[side].max()) + 1 for side in (0, 1))

    def matrix(pairs):
        n = len(pairs[0])
        columns = np.stack([pairs[0], n_users + pairs[1]], 1).ravel()
        return sp.csr_matrix((np.ones(2 * n), columns, np.arange(n + 1) * 2), shape=(n, n_users + n_items))

    X, X_test = matrix(train), matrix(test)
    model = MyFMGibbsRegressor(rank=k, random_seed=0)
    start = time.perf_counter()
    # The predictions of kept draws are part of myFM's fit; keeping none would leave nothing to predict by.
    model.fit(X, train[2], n_iter=draws + BURN_IN, n_kept_samples=draws,
              group_shapes=[n_users, n_items])  # fmt: skip
    return time.perf_counter() - start, model.predict(X_test)


def smurff_draws(train, test, k, draws, threads, learned):
    import numpy as np
    import scipy.sparse as sp
    import smurff

    shape = tuple(max(train[side].max(), test[side].max()) + 1 for side in (0, 1))
    mean = train[2].mean()
    Y, Y_test = (sp.coo_matrix((x[2] - mean, (x[0], x[1])), shape=shape) for x in (train, test))
    kind = "macau" if learned else "normal"
    session = smurff.TrainSession(
        priors=[kind] * 2,
        num_latent=k,
        burnin=BURN_IN,
        nsamples=draws,
        verbose=0,
        seed=0,
        num_threads=threads,
        save_freq=0,
    )
    # Its sessions of one call fix the noise at a precision of 5, far too much for ratings.
    session.addTrainAndTest(Y, Y_test, noise=smurff.AdaptiveNoise(), is_scarce=True)
    if learned:
        F = sp.csr_matrix((np.ones(len(train[0])), (train[0], train[1])), shape=shape)
        for mode, x in enumerate((F, F.T.tocsr())):
            side = sp.diags(1 / np.sqrt(np.maximum(np.asarray(x.sum(1)).ravel(), 1))) @ x
            session.addSideInfo(mode, side.tocoo(), direct=False)
    start = time.perf_counter()
    session.run()
    seconds = time.perf_counter() - start
    found = {tuple(x.coords): x.pred_avg for x in session.getTestPredictions()}
    return seconds, mean + np.array([found[pair] for pair in zip(test[0].tolist(), test[1].tolist(), strict=True)])


SOLVERS = {"alsx": alsx_draws, "myfm": myfm_draws, "smurff": smurff_draws}


def once(file, name, k, draws, threads, learned):
    """Print seconds and test RMSE of one fit; run in a process of its own."""
    import numpy as np

    with np.load(file) as stored:
        train, test = ([stored[f"{part}_{x}"] for x in "uir"] for part in ("train", "test"))
    try:
        seconds, predicted = SOLVERS[name](train, test, k, draws, threads, learned)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}))
        return
    print(json.dumps({"seconds": seconds, "rmse": float(np.sqrt(np.mean((predicted - test[2]) ** 2)))}))


def measured(python, *arguments, threads):
    """Seconds and RMSE of a process; None where its library is not installed."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": str(threads)}
    out = subprocess.run(
        [python, __file__, "--once", *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    if out.returncode:
        sys.exit(out.stderr)
    found = json.loads(out.stdout.strip().splitlines()[-1])
    return None if "missing" in found else (found["seconds"], found["rmse"])


def main(peer_python=None, folder=None, k=20, draws=200, threads=(1, 2), rounds=3, kinds=("plain", "learned")):
    """Print the table."""
    import numpy as np

    import alsx
    from alsx.datasets import load_movielens

    folder = folder or os.environ.get("ALSX_TEST_DATA")
    if not folder:
        raise SystemExit("name the folder of ml-100k.zip: --folder=DIR, or ALSX_TEST_DATA")
    frames = load_movielens(Path(folder, "ml-100k.zip")).fold("u1")
    arrays = {}
    for part, frame in zip(("train", "test"), frames, strict=True):
        ratings = alsx.Ratings(frame)
        u, i, r = ratings.triples()
        arrays |= {f"{part}_u": ratings.user_ids[u], f"{part}_i": ratings.item_ids[i], f"{part}_r": np.float64(r)}
    print("kind\tthreads\tlibrary\tseconds\tRMSE\tratio", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, "u1.npz")
        np.savez(file, **arrays)
        for kind in kinds if isinstance(kinds, (tuple, list)) else (kinds,):
            names = ["alsx", "myfm", "smurff"] if kind == "plain" else ["alsx", "smurff"]
            for n in threads if isinstance(threads, (tuple, list)) else (threads,):
                took = {name: [] for name in names}
                for _ in range(rounds):
                    for name in names:
                        python = sys.executable if name == "alsx" else peer_python
                        if python is None or (name == "myfm" and n > 1):
                            continue
                        found = measured(python, file, name, k, draws, n, int(kind == "learned"), threads=n)
                        if found is not None:
                            took[name].append(found)
                for name, pairs in took.items():
                    if not pairs:
                        continue
                    seconds, rmse = np.median(pairs, axis=0)
                    ratio = np.median([x[0] / y[0] for x, y in zip(pairs, took["alsx"], strict=True)])
                    print(f"{kind}\t{n}\t{name}\t{seconds:.2f}\t{rmse:.4f}\t{ratio:.1f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        once(sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))
    else:
        import fire

        fire.Fire(main)

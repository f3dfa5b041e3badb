"""Kill -9 of workers at random moments of a fit: it ends with the bits of the local fit.

    python benchmarks/dask_kills.py [KILLS] [SEED]

A cluster of three processes under nannies, which start a new one for each that is killed. Prints how long the fit takes with and
without kills, and exits with an error where a bit differs, the fit raises, or the scheduler is left with something of it.
"""

import os
import random
import signal
import sys
import threading
import time

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster

import alsx
from alsx.dask import DaskFactorALS
from alsx.datasets import make_ratings

ITERATIONS, N_WORKERS = 60, 3


def kill_now_and_then(client, n, seed, done, killed):
    """Kill one of all workers, two to six seconds after they are all there, again and again."""
    rng = random.Random(seed)
    while len(killed) < n and not done.wait(rng.uniform(2.0, 6.0)):
        workers = client.run(os.getpid, on_error="ignore")
        while len(workers) < N_WORKERS and not done.wait(0.5):
            workers = client.run(os.getpid, on_error="ignore")
        address = rng.choice(sorted(workers))
        try:
            os.kill(workers[address], signal.SIGKILL)
        except ProcessLookupError:
            continue
        killed.append(address)
        print(f"kill {len(killed)}", file=sys.stderr, flush=True)


def main():
    n_kills, seed = (int(x) for x in (sys.argv[1:] + ["20", "0"][len(sys.argv) - 1 :])[:2])
    ratings = make_ratings(20_000, 3_000, 600_000, random_state=0)
    users, items, values = ratings.triples()
    frame = pd.DataFrame({"user": ratings.user_ids[users], "item": ratings.item_ids[items], "rating": values})
    frame = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    parameters = {"k": 16, "random_state": 0, "max_iter": ITERATIONS, "tol": 0}
    expected = alsx.FactorALS(implicit_features=None, **parameters).fit(frame)
    # A busy machine may take longer than the usual 15 seconds to start a process again, after which Dask takes it for lost.
    dask.config.set(
        {
            "distributed.deploy.lost-worker-timeout": "10 minutes",
            "distributed.admin.large-graph-warning-threshold": "1GB",
        }
    )
    with (
        LocalCluster(n_workers=N_WORKERS, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1") as cluster,
        Client(cluster) as client,
    ):
        for kills in (0, n_kills):
            done, killed = threading.Event(), []
            killer = threading.Thread(target=kill_now_and_then, args=(client, kills, seed, done, killed))
            begun = time.monotonic()
            killer.start()
            model = DaskFactorALS(client=client, timeout=300, **parameters)
            n_fits = 0
            try:
                # As many fits as it takes for all kills.
                while not n_fits or len(killed) < kills:
                    model.fit(dd.from_pandas(frame, npartitions=8))
                    local = model.to_local()
                    n_fits += 1
                    np.testing.assert_array_equal(local.user_factors_, expected.user_factors_)
                    np.testing.assert_array_equal(local.item_factors_, expected.item_factors_)
                    assert local.history_["loss"] == expected.history_["loss"]
            finally:
                done.set()
                killer.join()
            seconds = time.monotonic() - begun
            print(
                f"{len(killed):2} kills: {n_fits} fits of {ITERATIONS} iterations in {seconds:.1f} s, the same bits",
                flush=True,
            )
        model.close()
        time.sleep(2)
        left = client.run_on_scheduler(lambda dask_scheduler: [x for x in dask_scheduler.tasks if "alsx" in str(x)])
        assert left == [], left
    print("the scheduler holds nothing of them afterwards")


if __name__ == "__main__":
    main()

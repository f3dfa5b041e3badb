"""What uncertainty costs beside predictions: lists by limits beside lists by predictions, intervals beside predictions.

    python benchmarks/uncertainty_speed.py [--users=20000] [--items=10000] [--ratings=2000000] [--k=20] [--lists=1000]
        [--pairs=1000000] [--threads=2] [--rounds=5]

A model is fitted to simulated ratings of this shape. Then, in alternation, `recommend` for --lists users and for a single one with
each strategy, and `predict`, with and without its standard deviation, and `predict_interval` for --pairs random pairs. Figures
are medians of the rounds in milliseconds, the ratio is the median of the rounds' own ratios to the first line of each part. "first"
is the first call, which also finds the noise and the covariances of all rows; both are kept.
"""

import time

import fire
import numpy as np

import alsx
from alsx import _core
from alsx.datasets import make_ratings


def milliseconds(call):
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def alternate(title, calls, rounds):
    """Time calls in turn, the first of them being what the others are compared with."""
    first = {name: milliseconds(call) for name, call in calls.items()}
    took = [[milliseconds(call) for call in calls.values()] for _ in range(rounds)]
    for place, name in enumerate(calls):
        median = np.median([x[place] for x in took])
        ratio = np.median([x[place] / x[0] for x in took])
        print(f"{title}\t{name}\t{first[name]:.1f}\t{median:.2f}\t{ratio:.1f}", flush=True)


def main(
    users=20_000,
    items=10_000,
    ratings=2_000_000,
    k=20,
    lists=1000,
    pairs=1_000_000,
    threads=2,
    rounds=5,
    dtype="float32",
):
    """Print the table."""
    R = make_ratings(users, items, ratings, k=24, random_state=0)
    model = alsx.FactorALS(
        k, random_state=0, max_iter=3, tol=0, implicit_features=None, dtype=dtype, n_jobs=threads
    ).fit(R)
    print(f"{R!r}, k={k}, {threads} threads, level {_core.simd_level()}\nwhat\tcall\tfirst\tms\tratio", flush=True)
    for m in (lists, 1):
        wanted = model.user_ids_[:m]
        calls = {
            strategy: lambda strategy=strategy, wanted=wanted: model.recommend(wanted, n=10, strategy=strategy)
            for strategy in ("mean", "lower", "upper")
        }
        alternate(f"{m} lists", calls, rounds)
    rng = np.random.default_rng(0)
    some = rng.choice(model.user_ids_, pairs), rng.choice(model.item_ids_, pairs)
    calls = {
        "predict": lambda: model.predict(*some),
        "predict, return_std": lambda: model.predict(*some, return_std=True),
        "predict_interval": lambda: model.predict_interval(*some),
    }
    alternate(f"{pairs} pairs", calls, rounds)


if __name__ == "__main__":
    fire.Fire(main)

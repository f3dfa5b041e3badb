"""Test RMSE and MAE of the models at their defaults, on the splits that others publish.

    python benchmarks/accuracy.py [--folder=DIR] [--k=20,40]

DIR holds ml-100k.zip and ml-latest-small.zip (or set ALSX_TEST_DATA). One setting for all folds, the defaults, which defaults.py
chose without the test folds. Predictions are clipped to the range of the training ratings; films and users without training
ratings are scored by what the prior knows.
"""

import os
import time
from pathlib import Path

import fire
import numpy as np

import alsx
from alsx import metrics
from alsx.datasets import load_movielens


def canonical_folds(folder):
    """The five folds that come with MovieLens 100k."""
    data = load_movielens(Path(folder, "ml-100k.zip"))
    return [tuple(alsx.Ratings(part) for part in data.fold(f"u{n}")) for n in range(1, 6)]


def random_splits(folder, seeds=3):
    """MovieLens latest-small, 90/10 at random."""
    ratings = load_movielens(Path(folder, "ml-latest-small.zip")).ratings
    tests = [np.random.default_rng(seed).random(ratings.n_ratings) < 0.1 for seed in range(seeds)]
    return [(ratings.select(~test), ratings.select(test)) for test in tests]


def main(folder=None, k=(20, 40)):
    """Print the table."""
    folder = folder or os.environ.get("ALSX_TEST_DATA")
    if not folder:
        raise SystemExit("name the folder of the archives: --folder=DIR, or ALSX_TEST_DATA")
    ranks = k if isinstance(k, (tuple, list)) else (k,)
    models = [alsx.BiasALS()] + [alsx.FactorALS(rank, random_state=0) for rank in ranks]
    print("set and split\tmodel\ttest RMSE\tof each part\ttest MAE\ttrain RMSE\tseconds a fit")
    for name, parts in (
        ("ml-100k, u1..u5", canonical_folds(folder)),
        ("ml-latest-small, 90/10, 3 seeds", random_splits(folder)),
    ):
        for model in models:
            rmse, mae, train, seconds = [], [], [], []
            for training, test in parts:
                start = time.perf_counter()
                model.fit(training)
                seconds.append(time.perf_counter() - start)
                truth, predicted = test.triples()[2], model.predict(test)
                rmse.append(metrics.rmse(truth, predicted))
                mae.append(metrics.mae(truth, predicted))
                train.append(model.history_["train_rmse"][-1])
            each = " ".join(f"{x:.4f}" for x in rmse)
            print(
                f"{name}\t{model!r}\t{np.mean(rmse):.4f}\t{each}\t{np.mean(mae):.4f}\t{np.mean(train):.4f}"
                f"\t{np.median(seconds):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    fire.Fire(main)

"""What offsets of time are worth: test RMSE of `time=None`, "day" and "session", at random and by time.

    python benchmarks/time.py [--folder=DIR] [--k=20,40] [--sets=u1-u5,small,time] [--bayes] [--out=FILE.csv]

DIR holds ml-100k.zip and ml-latest-small.zip (or set ALSX_TEST_DATA). One setting for all folds, the defaults, with the features
that benchmarks/accuracy.py tells (without tags where the split is by time: they would be of the future). The periods of "session"
were chosen on inner splits of the training ratings. Predictions are clipped to the range of the training ratings.

Of each part: the RMSE of predictions that are told when the test ratings were given, of the same model's predictions without times,
and which share of the test ratings are of a day, of ten minutes and of a minute in which their user has training ratings. By
time: the last fifth of all ratings, and of each user's. --out writes the rows that were measured, in place of those of the same
set and model that the file has; docs/accuracy.csv is such a file.
"""

import os
import warnings
from pathlib import Path

import accuracy
import fire
import numpy as np

import alsx
from alsx import metrics
from alsx.datasets import load_movielens


def measured(model, training, test, features):
    """RMSE and MAE with times, RMSE without, and the shares of test ratings whose user has training ratings of the same time."""
    model.fit(training, **features)
    users, items, truth = test.triples()
    ids = test.user_ids[users], test.item_ids[items]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # by time, most users of the test ratings are new
        without = model.predict(*ids)
        predicted = without if model.time is None else model.predict(*ids, timestamps=test.timestamps)
    shares = []
    own = training.user_ids[training.triples()[0]]
    for seconds in (86400, 600, 60):
        known, asked = (
            np.stack([ids, times // seconds], 1)
            for ids, times in ((own, training.timestamps), (ids[0], test.timestamps))
        )
        width = 1 + max(known[:, 1].max(), asked[:, 1].max())
        shares.append(np.isin(asked[:, 0] * width + asked[:, 1], known[:, 0] * width + known[:, 1]).mean())
    return metrics.rmse(truth, predicted), metrics.mae(truth, predicted), metrics.rmse(truth, without), *shares


def main(folder=None, k=(20, 40), sets=("u1-u5", "small", "time"), bayes=False, out=None):
    """Print the table."""
    folder = folder or os.environ.get("ALSX_TEST_DATA")
    if not folder:
        raise SystemExit("name the folder of the archives: --folder=DIR, or ALSX_TEST_DATA")
    ranks, chosen = (x if isinstance(x, (tuple, list)) else str(x).split(",") for x in (k, sets))
    hundred, small = (load_movielens(Path(folder, f"{name}.zip")) for name in ("ml-100k", "ml-latest-small"))
    about = {"user_features": hundred.user_features(), "item_features": hundred.item_features()}
    tagged, untagged = ({"item_features": small.item_features(tags=tags)} for tags in (True, False))
    parts = {
        "u1-u5": [("ml-100k, u1 to u5", about, accuracy.canonical_folds(hundred))],
        "small": [("ml-latest-small, 90/10, 3 seeds", tagged, accuracy.random_splits(small.ratings))],
        "time": [
            (f"{name}, {split}", told, accuracy.time_split(data, own))
            for name, data, told in (("ml-100k", hundred, about), ("ml-latest-small", small, untagged))
            for split, own in (("last fifth by time", False), ("own last fifth", True))
        ],
    }
    print(
        "set and split\tmodel\ttest RMSE\tof each part\tMAE\twithout times\tshares of known days, ten minutes, minutes"
    )
    for name, features, splits in [job for key in chosen for job in parts[key]]:
        jobs = [("FactorALS", {"k": int(rank)}) for rank in ranks] + [("BayesALS", {"k": 20})] * bool(bayes)
        for kind, options in jobs:
            for told in ({}, features):
                for time in (None, "day", "session"):
                    model = getattr(alsx, kind)(**options, time=time, random_state=0)
                    label = f"{kind}({options['k'] if kind == 'FactorALS' else ''}"
                    if time is not None:
                        label += f"{'' if label.endswith('(') else ', '}time={time}"
                    label += ")" + " with features" * bool(told)
                    found = np.array([measured(model, *split, told) for split in splits])
                    each, mean = " ".join(f"{x:.4f}" for x in found[:, 0]), found.mean(axis=0)
                    shares = " ".join(f"{x:.2f}" for x in mean[3:])
                    print(f"{name}\t{label}\t{mean[0]:.4f}\t{each}\t{mean[1]:.4f}\t{mean[2]:.4f}\t{shares}", flush=True)
                    if out is not None:
                        row = {
                            "set": name,
                            "model": label,
                            "rmse": f"{mean[0]:.4f}",
                            "parts": each,
                            "mae": f"{mean[1]:.4f}",
                        }
                        accuracy.write_row(out, row)


if __name__ == "__main__":
    fire.Fire(main)

"""Test RMSE and MAE of the models on the splits that others publish, and by time; beside other libraries in the same run.

    python benchmarks/accuracy.py [--folder=DIR] [--sets=u1-u5,small,time] [--k=20,40] [--bayes] [--peer-python=PATH]
        [--peers=...] [--out=FILE.csv] [--only=TEXT]

DIR holds ml-100k.zip and ml-latest-small.zip (or set ALSX_TEST_DATA). One setting for all folds, the defaults, chosen without
the test folds. Predictions are clipped to the range of the training ratings; films and users without training ratings are
scored by what the prior knows. PATH is a Python with the peers installed; peers_accuracy.py says which, and their settings.

u1-u5: the canonical folds of MovieLens 100k. small: MovieLens latest-small, 90/10 at random, seeds 0, 1, 2. time: MovieLens
100k, the last fifth of the ratings by time held out, and of each user's ratings his last fifth ("own time"). --bayes adds
BayesALS, on u1-u5 and small; --only measures the models that have a text in their name. --out writes the rows that were measured,
in place of those of the same set and model that the file has: docs/accuracy.csv is such a file, and the tables of the documentation
are made of it.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import fire
import numpy as np
import pyarrow as pa

import alsx
from alsx import metrics
from alsx.datasets import load_movielens

PEERS = (
    *("surprise-baseline", "surprise-svd", "surprise-svdpp", "lenskit-biasedmf"),
    *("cmfrec", "cmfrec-implicit", "myfm", "myfm-svdpp", "smurff-bpmf", "smurff-macau", "skrecsys-als"),
)


def canonical_folds(data):
    """The five folds that come with MovieLens 100k."""
    return [tuple(alsx.Ratings(part) for part in data.fold(f"u{n}")) for n in range(1, 6)]


def random_splits(ratings, seeds=3):
    """90/10 at random."""
    tests = [np.random.default_rng(seed).random(ratings.n_ratings) < 0.1 for seed in range(seeds)]
    return [(ratings.select(~test), ratings.select(test)) for test in tests]


def time_split(data, own):
    """The last fifth of the ratings by time, of all or of each user."""
    user, when = (data.table[name].to_numpy() for name in ("user", "timestamp"))
    order = np.lexsort((when, user)) if own else np.argsort(when, kind="stable")
    late = np.zeros(len(when), bool)
    if own:
        counts = np.unique(user, return_counts=True)[1]
        place = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
        late[order] = place >= np.repeat(0.8 * counts, counts)
    else:
        late[order[int(0.8 * len(order)) :]] = True
    return [tuple(alsx.Ratings(data.table.filter(pa.array(part))) for part in (~late, late))]


def measured_peer(python, peer, k, training, test):
    """RMSE, MAE and seconds of a peer."""
    ids = [np.unique(np.concatenate(pair)) for pair in zip(*(own_ids(part) for part in (training, test)), strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        files = [str(Path(folder, name)) for name in ("train.npz", "test.npz")]
        for file, part in zip(files, (training, test), strict=True):
            u, i, r = part.triples()
            u, i = (np.searchsorted(all_ids, own[codes]) for all_ids, own, codes in zip(
                ids, (part.user_ids, part.item_ids), (u, i), strict=True))  # fmt: skip
            np.savez(file, u=u.astype(np.int32), i=i.astype(np.int32), r=r)
        command = [python, str(Path(__file__).with_name("peers_accuracy.py")), *files, peer, str(k)]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        if out.returncode:
            sys.exit(out.stderr)
        told = json.loads(out.stdout.strip().splitlines()[-1])
        return told["rmse"], told["mae"], told["seconds"]


def of_peer(python, peer, k):
    """What the table calls a peer, and how it is measured."""
    return f"{peer}, k = {k}", lambda training, test: measured_peer(python, peer, k, training, test)


def own_ids(part):
    return part.user_ids, part.item_ids


def measured(model, training, test, features):
    """RMSE, MAE and seconds of ours."""
    start = time.perf_counter()
    model.fit(training, **features)
    seconds = time.perf_counter() - start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # by time, most users of the test ratings are new
        truth, predicted = test.triples()[2], model.predict(test)
    return metrics.rmse(truth, predicted), metrics.mae(truth, predicted), seconds


def write_row(file, row):
    """Put a row into a table, in place of that of the same set and model."""
    rows = []
    if Path(file).exists():
        with open(file, newline="", encoding="utf-8") as old:
            rows = list(csv.DictReader(old))
    place = [(other["set"], other["model"]) for other in rows]
    if (row["set"], row["model"]) in place:
        rows[place.index((row["set"], row["model"]))] = row
    else:
        rows.append(row)
    with open(file, "w", newline="", encoding="utf-8") as new:
        writer = csv.DictWriter(new, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main(
    folder=None,
    sets=("u1-u5", "small", "time"),
    k=(20, 40),
    bayes=False,
    peer_python=None,
    peers=PEERS,
    out=None,
    only="",
):
    """Print the table."""
    folder = folder or os.environ.get("ALSX_TEST_DATA")
    if not folder:
        raise SystemExit("name the folder of the archives: --folder=DIR, or ALSX_TEST_DATA")
    ranks, chosen, peers = (x if isinstance(x, (tuple, list)) else str(x).split(",") for x in (k, sets, peers))
    hundred, small = (load_movielens(Path(folder, f"{name}.zip")) for name in ("ml-100k", "ml-latest-small"))
    about = {"user_features": hundred.user_features(), "item_features": hundred.item_features()}
    films = {"item_features": small.item_features(tags=True)}
    parts = {
        "u1-u5": [("ml-100k, u1 to u5", about, canonical_folds(hundred))],
        "small": [("ml-latest-small, 90/10, 3 seeds", films, random_splits(small.ratings))],
        "time": [
            ("ml-100k, last fifth by time", about, time_split(hundred, False)),
            ("ml-100k, own last fifth", about, time_split(hundred, True)),
        ],
    }
    print("set and split\tmodel\ttest RMSE\tof each part\ttest MAE\tseconds a fit")
    for name, features, splits in [job for key in chosen for job in parts[key]]:
        jobs = [("BiasALS()", lambda a, b: measured(alsx.BiasALS(), a, b, {}))]
        for rank in map(int, ranks):
            for label, options, told in (
                ("implicit_features=None", {"implicit_features": None}, {}),
                ("", {}, {}),
                ("with features", {}, features),
            ):
                model = alsx.FactorALS(rank, random_state=0, **options)
                text = f"FactorALS({rank}{', ' + label if options else ''}){' ' + label if told else ''}"
                jobs.append((text, lambda a, b, m=model, t=told: measured(m, a, b, t)))
        if bayes and len(splits) > 1:
            for label, options, told in (
                ("BayesALS(implicit_features=None)", {"implicit_features": None}, {}),
                ("BayesALS()", {}, {}),
                ("BayesALS() with features", {}, features),
                (
                    "BayesALS(likelihood='ordinal', implicit_features=None)",
                    {"likelihood": "ordinal", "implicit_features": None},
                    {},
                ),
                ("BayesALS(likelihood='ordinal')", {"likelihood": "ordinal"}, {}),
                ("BayesALS(likelihood='ordinal') with features", {"likelihood": "ordinal"}, features),
            ):
                model = alsx.BayesALS(random_state=0, **options)
                jobs.append((label, lambda a, b, m=model, t=told: measured(m, a, b, t)))
        if peer_python:
            jobs += [of_peer(peer_python, peer, int(next(iter(ranks)))) for peer in peers]
        for label, run in jobs:
            if only not in label:
                continue
            found = np.array([run(*split) for split in splits])
            each = " ".join(f"{x:.4f}" for x in found[:, 0])
            rmse, mae = found[:, :2].mean(axis=0)
            print(f"{name}\t{label}\t{rmse:.4f}\t{each}\t{mae:.4f}\t{np.median(found[:, 2]):.3f}", flush=True)
            if out is not None:
                write_row(out, {"set": name, "model": label, "rmse": f"{rmse:.4f}", "parts": each, "mae": f"{mae:.4f}"})


if __name__ == "__main__":
    fire.Fire(main)

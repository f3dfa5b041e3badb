"""RMSE of films, and of users, that have no training ratings at all, from features; beside cmfrec's collective model.

    python benchmarks/coldstart.py [--folder=DIR] [--k=10] [--peer-python=PATH]

DIR holds ml-100k.zip and ml-latest-small.zip (or set ALSX_TEST_DATA). A sixth of the films (users) is withheld whole, three
folds of the six; the other three were used to choose how rows are weighed. PATH is a Python with cmfrec installed; its
settings are chosen by peers_accuracy.py on a part of the training ratings. Warm errors are those of a random tenth of the
other ratings.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import fire
import numpy as np
import pyarrow as pa

import alsx
from alsx._models.features import FeatureEncoder
from alsx.datasets import load_movielens
from alsx.metrics import rmse
from alsx.ratings import Ids


def withheld(ids, fold):
    """The ids of one of six parts, in a fixed random order."""
    return np.array_split(np.random.default_rng(0).permutation(np.unique(ids)), 6)[fold]


def peer(python, train, test, side, features, k):
    """cmfrec's RMSE of the same split."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("train.npz", "test.npz", "features.npz")]
        for file, (u, i, r) in zip(files, (train, test), strict=False):
            np.savez(file, u=u.astype(np.int32), i=i.astype(np.int32), r=r.astype(np.float32))
        ids = np.unique(features[f"{side}"].to_numpy())
        matrix = FeatureEncoder.fit(features, f"{side}_features", Ids(ids))
        whole = np.zeros((int(ids.max()) + 1, matrix[2].shape[1]))
        whole[matrix[1]] = matrix[2].toarray()
        np.savez(files[2], X=whole)
        script = str(Path(__file__).with_name("peers_accuracy.py"))
        command = [python, script, *map(str, files[:2]), f"cmfrec-cold{'-users' if side == 'user' else ''}", str(k)]
        out = subprocess.run([*command, f"--features={files[2]}"], capture_output=True, text=True, check=False)
        if out.returncode:
            sys.exit(out.stderr)
        return json.loads(out.stdout.strip().splitlines()[-1])["rmse"]


def main(folder=None, k=10, peer_python=None):
    """Print the table."""
    folder = folder or os.environ.get("ALSX_TEST_DATA")
    if not folder:
        raise SystemExit("name the folder of the archives: --folder=DIR, or ALSX_TEST_DATA")
    hundred, small = (load_movielens(Path(folder, f"{name}.zip")) for name in ("ml-100k", "ml-latest-small"))
    jobs = [
        ("ml-100k, cold films, genres and year", hundred, "item", hundred.item_features()),
        ("ml-100k, cold users, age, gender and occupation", hundred, "user", hundred.user_features()),
        ("ml-latest-small, cold films, genres", small, "item", small.item_features(year=False)),
        ("ml-latest-small, cold films, genres and tags", small, "item", small.item_features(year=False, tags=True)),
    ]
    models = {
        "BiasALS": alsx.BiasALS(),
        "FactorALS": alsx.FactorALS(k, random_state=0),
        "FactorALS, implicit_features=None": alsx.FactorALS(k, implicit_features=None, random_state=0),
    }
    print("set\tmodel\tcold RMSE\tof each fold\twarm RMSE\twarm RMSE without features")
    for name, data, side, features in jobs:
        u, i, r = (data.table[column].to_numpy() for column in ("user", "item", "rating"))
        own = i if side == "item" else u
        splits = []
        for fold in range(3):
            cold = np.isin(own, withheld(own, fold))
            warm = ~cold & (np.random.default_rng(fold).random(len(r)) < 0.1)
            splits.append((alsx.Ratings(data.table.filter(pa.array(~cold & ~warm))), cold, warm))
        for label, model in models.items():
            errors = []
            for train, cold, warm in splits:
                told = {} if label == "BiasALS" else {f"{side}_features": features}
                fitted = model.fit(train, **told)
                row = [rmse(r[part], fitted.predict(u[part], i[part])) for part in (cold, warm)]
                errors.append([*row, rmse(r[warm], model.fit(train).predict(u[warm], i[warm]))])
            cold, warm, plain = np.mean(errors, axis=0)
            each = " ".join(f"{x[0]:.4f}" for x in errors)
            print(f"{name}\t{label}\t{cold:.4f}\t{each}\t{warm:.4f}\t{plain:.4f}", flush=True)
        if peer_python:
            found = []
            for _, cold, warm in splits:
                parts = [(u[part], i[part], r[part]) for part in (~cold & ~warm, cold)]
                found.append(peer(peer_python, *parts, side, features, k))
            each = " ".join(f"{x:.4f}" for x in found)
            print(f"{name}\tcmfrec, collective\t{np.mean(found):.4f}\t{each}", flush=True)


if __name__ == "__main__":
    fire.Fire(main)

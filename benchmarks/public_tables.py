"""Test RMSE on a data set for which others publish one, by their split: one command for each public table.

    python benchmarks/public_tables.py NAME [--source=PATH] [--seeds=10] [--k=20,64] [--features] [--bayes] [--by-time]
        [--n-jobs=N] [--out=FILE.csv]

NAME is ml-1m, ml-10m, ml-20m, ml-25m, ml-32m or netflix. MovieLens is downloaded once and verified, or read from --source, its .zip
or folder. Netflix' ratings may not be passed on: --source is a folder that holds probe.txt, and combined_data_1.txt to
combined_data_4.txt or training_set/mv_*.txt.

MovieLens: a tenth of the ratings at random is held out, once for each seed. Netflix: the probe set, once. With --by-time the last
tenth of all ratings is held out instead: random splits let a model look into the future. Models are at their defaults, nothing is
chosen by the ratings that are held out; predictions are clipped to the range of the training ratings, and unknown users and films
are scored by what the prior knows. --features tells of genres, years, and (ml-1m) demographics. --bayes adds BayesALS, at the
largest k. It says beforehand what others have found and how long it will take, by the times of a 2-core machine with AVX-512 on
simulated ratings of MovieLens 32M's shape.
"""

import re
import time
from pathlib import Path
from typing import NamedTuple

import fire
import numpy as np
import pyarrow as pa
import pyarrow.csv
from accuracy import measured, write_row

import alsx
from alsx.datasets import load_movielens


class Table(NamedTuple):
    """What is known of a public table.

    Parameters
    ----------
    ratings : int
        How many the set has.
    seeds : int
        Random splits that others average over.
    published : tuple of str
        What others report, and where.
    """

    ratings: int
    seeds: int
    published: tuple[str, ...]


RENDLE = "S. Rendle, L. Zhang, Y. Koren, arXiv 1905.01395"
TABLES = {
    "ml-1m": Table(
        1_000_209, 10, ("GLocal-K 0.8227 (S. C. Han et al., CIKM 2021)", "SparseFC 0.824 (L. Muller et al., ICML 2018)")
    ),
    "ml-10m": Table(
        10_000_054,
        10,
        (
            f"SGD, 512 factors 0.7720; Bayesian 0.7633; Bayesian SVD++ 0.7563; timeSVD++ flipped 0.7485 ({RENDLE})",
            "HarvardX's capstone asks for 0.8649",
        ),
    ),
    "ml-20m": Table(20_000_263, 3, ("ALS-WR 0.7746 and I-CFN++ 0.7652 (F. Strub et al., arXiv 1606.07659)",)),
    "ml-25m": Table(25_000_095, 3, ()),
    "ml-32m": Table(32_000_204, 3, ("the project that this one began with: 0.87 with biases, 0.79 with factors",)),
    "netflix": Table(100_480_507, 1, ("ALS-WR, 1000 factors 0.8985, of the quiz set (Y. Zhou et al., AAIM 2008)",)),
}

# Seconds a million ratings, of a fit of 20 iterations at k = 64 and less at smaller ranks, and of 200 draws.
SECONDS_OF_FIT, SECONDS_OF_DRAWS = 1.5, 25.0


def netflix(folder):
    """Training ratings and the probe set, as tables of user, item, rating and timestamp."""
    folder = Path(folder)
    if not (folder / "probe.txt").exists():
        raise SystemExit(f"{folder} holds no probe.txt: name the folder of the Netflix Prize's files by --source")
    files = sorted(folder.glob("combined_data_*.txt")) or sorted((folder / "training_set").glob("mv_*.txt"))
    if not files:
        raise SystemExit(f"{folder} holds neither combined_data_1.txt to combined_data_4.txt nor training_set/mv_*.txt")
    columns = pyarrow.csv.ReadOptions(column_names=["user", "rating", "day"])
    types = pyarrow.csv.ConvertOptions(column_types={"user": pa.int32(), "rating": pa.int8(), "day": pa.date32()})
    parts = []
    for file in files:
        for film, lines in of_films(file.read_bytes()):
            part = pyarrow.csv.read_csv(pa.BufferReader(lines), columns, convert_options=types)
            parts.append(part.append_column("item", pa.array(np.full(len(part), film, np.int32))))
    whole = pa.concat_tables(parts).combine_chunks()
    probe = np.concatenate(
        [
            film * 2**32 + np.array(lines.split(), np.int64)
            for film, lines in of_films((folder / "probe.txt").read_bytes())
        ]
    )
    key = whole["item"].to_numpy().astype(np.int64) * 2**32 + whole["user"].to_numpy()
    held_out = np.isin(key, probe)
    if held_out.sum() != len(probe):
        raise SystemExit(
            f"{len(probe) - held_out.sum():,} pairs of probe.txt have no rating in {folder}: a file is missing"
        )
    seconds = whole["day"].cast(pa.int32()).to_numpy().astype(np.int64) * 86400
    table = pa.table(
        {
            "user": whole["user"],
            "item": whole["item"],
            "rating": whole["rating"].cast(pa.float32()),
            "timestamp": pa.array(seconds),
        }
    )
    return table, held_out


def of_films(content):
    """The blocks of a file that names a film, ``123:``, and then lists its lines: pairs (film, lines)."""
    heads = list(re.finditer(rb"^(\d+):\r?\n", content, re.MULTILINE))
    ends = [head.start() for head in heads[1:]] + [len(content)]
    for head, end in zip(heads, ends, strict=True):
        if end > head.end():
            yield int(head[1]), content[head.end() : end]


def splits_of(table, held_out):
    """Training and test ratings, one pair for each mask, made when they are needed."""
    for mask in held_out:
        yield tuple(alsx.Ratings(table.filter(pa.array(part))) for part in (~mask, mask))


def last_tenth(when):
    """The last tenth of all ratings by time."""
    late = np.zeros(len(when), bool)
    late[np.argsort(when, kind="stable")[len(when) - len(when) // 10 :]] = True
    return late


def main(
    name,
    source=None,
    seeds=None,
    k=(20, 64),
    features=False,
    bayes=False,
    by_time=False,
    n_jobs=None,
    out=None,
):
    """Print the table of one data set."""
    if name not in TABLES:
        raise SystemExit(f"{name} is no set with a table here; there are {', '.join(TABLES)}")
    about, told = TABLES[name], {}
    seeds = about.seeds if seeds is None else int(seeds)
    ranks = sorted(int(x) for x in (k if isinstance(k, (tuple, list)) else str(k).split(",")))
    if name == "netflix":
        if source is None:
            raise SystemExit("the ratings of Netflix may not be passed on: name the folder of their files by --source")
        if features:
            raise SystemExit("there are no features of Netflix' films: leave --features out")
        table, probe = netflix(source)
        split, masks = "probe", [probe]
    else:
        data = load_movielens(name if source is None else Path(source))
        table = data.table
        split = f"90/10 at random, {seeds} seeds"
        masks = (np.random.default_rng(seed).random(len(table)) < 0.1 for seed in range(seeds))
        if features:
            told["item_features"] = data.item_features()
            if name == "ml-1m":
                told["user_features"] = data.user_features()
    if by_time:
        split, masks = "last tenth by time", [last_tenth(table["timestamp"].to_numpy())]
    title = f"{name}, {split}"
    n_splits = 1 if by_time or name == "netflix" else seeds
    millions = len(table) / 1e6
    minutes = n_splits * millions * (SECONDS_OF_FIT * len(ranks) * (1 + features) + SECONDS_OF_DRAWS * bayes) / 60
    print(f"{title}: {len(table):,} ratings; some {max(minutes, 1):.0f} minutes")
    if len(table) != about.ratings:
        print(f"NOT the set that others report on: {name} has {about.ratings:,} ratings")
    for line in about.published if not by_time else ():
        print(f"others: {line}")
    models = [("BiasALS()", alsx.BiasALS(n_jobs=n_jobs), {})]
    for rank in ranks:
        models.append((f"FactorALS({rank})", alsx.FactorALS(rank, random_state=0, n_jobs=n_jobs), {}))
        if told:
            model = alsx.FactorALS(rank, random_state=0, n_jobs=n_jobs)
            models.append((f"FactorALS({rank}) with features", model, told))
    if bayes:
        models.append((f"BayesALS({ranks[-1]})", alsx.BayesALS(ranks[-1], random_state=0, n_jobs=n_jobs), {}))
    found = {label: [] for label, _, _ in models}
    start = time.perf_counter()
    print("model\ttest RMSE\tstandard deviation\ttest MAE\tseconds a fit")
    for number, pair in enumerate(splits_of(table, masks), 1):
        for label, model, features_of in models:
            found[label].append(measured(model, *pair, features_of))
            print(f"{label}\tsplit {number} of {n_splits}\t{found[label][-1][0]:.4f}", flush=True)
    for label, rows in found.items():
        rmse, mae, seconds = np.array(rows).T
        spread = f"{rmse.std(ddof=1):.4f}" if len(rmse) > 1 else ""
        print(f"{label}\t{rmse.mean():.4f}\t{spread}\t{mae.mean():.4f}\t{np.median(seconds):.1f}")
        if out is not None:
            each = " ".join(f"{x:.4f}" for x in rmse)
            write_row(
                out,
                {"set": title, "model": label, "rmse": f"{rmse.mean():.4f}", "parts": each, "mae": f"{mae.mean():.4f}"},
            )
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    fire.Fire(main)

"""``python -m alsx``: fit, evaluate, recommend, similar and info on files."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import alsx
from alsx import _check, _cli, _core, _reader, _threads, metrics
from alsx._models.recommender import Recommender


def read_model(path: str) -> Recommender:
    """Load a saved model."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there is no model file {path}; `python -m alsx fit RATINGS --model=FILE` writes one")
    if not is_model(file):
        raise ValueError(
            f"MODEL is {path}; it must be a file of a model, such as `python -m alsx fit RATINGS --model=FILE` writes, and "
            "whole"
        )
    return alsx.load(file)


def is_model(file: Path) -> bool:
    """Return whether a file is a model, by the names of the arrays in it."""
    from alsx.datasets._archive import open_zip

    try:
        with open_zip(file) as arrays:
            return "about.npy" in arrays.namelist()
    except ValueError:
        return False


def as_id(text: str, ids: Any, what: str) -> Any:
    """Return an id as the model has it, from its text on the command line."""
    if ids.dtype.kind == "U":
        found = text in ids
        one: Any = text
    else:
        whole = re.fullmatch(r"[+-]?[0-9]+", text) is not None
        one = int(text) if whole else text
        found = whole and bool((ids == one).any())
    if not found:
        raise ValueError(f"{what} {text} is unknown to the model; it must be one of the ids from {ids[0]} to {ids[-1]}")
    return one


@_reader.reads_ratings
@_cli.strings("ratings", "model")
def fit(
    ratings: str,
    *,
    model: str = "model.npz",
    k: int = 20,
    reg: float | None = None,
    iterations: int | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
    **reader: Any,
) -> None:
    """Fit a model to a file of ratings, and save it.

    Parameters
    ----------
    ratings : str
        A CSV or Parquet file with columns such as user, item, rating (or userId, movieId, ...), or a MovieLens archive or name.
    model : str
        File to write, .npz.
    k : int
        Latent factors; 0 fits the bias-only model.
    reg : float
        Regularisation. Default: the model's own.
    iterations : int
        The most iterations. Default: the model's own.
    seed : int
        For the random start.
    n_jobs : int
        Threads. Default: all processors.
    """
    _check.integer("k", k, 0)
    file = _cli.check_file(model, "--model")
    data = _reader.read_ratings(ratings, **reader)
    own: dict[str, Any] = {"random_state": seed, "n_jobs": n_jobs, "verbose": 1}
    if reg is not None:
        own["reg"] = reg
    if iterations is not None:
        own["max_iter"] = iterations
    start = time.perf_counter()
    fitted: Recommender = alsx.FactorALS(k, **own) if k else alsx.BiasALS(**own)
    fitted.fit(data)
    fitted.save(file)
    print(f"{data!r}\n")
    _cli.table(
        ["model", "train RMSE", "loss", "iterations", "seconds", "file"],
        [
            [
                type(fitted).__name__,
                f"{fitted.history_['train_rmse'][-1]:.4f}",
                f"{fitted.history_['loss'][-1]:,.0f}",
                str(fitted.n_iter_),
                f"{time.perf_counter() - start:.2f}",
                model,
            ]
        ],
        "lrrrrl",
    )


@_reader.reads_ratings
@_cli.strings("model", "ratings")
def evaluate(model: str, ratings: str, *, json: bool = False, **reader: Any) -> None:
    """Compare a saved model's predictions with ratings it has not seen.

    A pair is cold where its user or item was not in the training ratings; it is predicted from what the model knows of
    the other, and counts in RMSE and MAE. "RMSE, others" is that of the pairs which are not cold.

    Parameters
    ----------
    model : str
        File that `fit` or an example wrote.
    ratings : str
        Test ratings: a CSV or Parquet file, or a MovieLens archive or name.
    json : bool
        Print JSON instead of a table.
    """
    check_flag("json", json)
    if Path(ratings).is_file() and is_model(Path(ratings)):
        raise ValueError(f"RATINGS is {ratings}, which is a model; write MODEL first, then RATINGS")
    fitted = read_model(model)
    # Ids that are all digits are read as text where the model has text.
    users, items = ("strings" if ids.dtype.kind == "U" else None for ids in (fitted.user_ids_, fitted.item_ids_))
    test = _reader.read_ratings(ratings, usual_id_types=(users, items), **reader)
    user_codes, item_codes, truth = test.triples()
    # A `Ratings` of a `Ratings` has no rows whose order could be expected.
    predicted = fitted.predict(alsx.Ratings(test))
    known = np.isin(test.user_ids, fitted.user_ids_)[user_codes] & np.isin(test.item_ids, fitted.item_ids_)[item_codes]
    found = {
        "ratings": len(truth),
        "RMSE": metrics.rmse(truth, predicted),
        "MAE": metrics.mae(truth, predicted),
        "cold pairs": int((~known).sum()),
        "RMSE, others": metrics.rmse(truth[known], predicted[known]) if known.any() else None,
    }
    formats = {"ratings": ",d", "RMSE": ".4f", "MAE": ".4f", "cold pairs": ",d", "RMSE, others": ".4f"}
    _cli.show([found], formats, as_json=json)


@_cli.strings("model", "user")
def recommend(model: str, user: str, *, n: int = 10, min_ratings: int = 0, json: bool = False) -> None:
    """Print the items with the highest predicted ratings for a user, rated ones left out.

    Ratings are shown within the scale. Items rank by the predictions before they were cut to it.

    Parameters
    ----------
    model : str
        File that `fit` or an example wrote.
    user : str
        The user's id.
    n : int
        How many.
    min_ratings : int
        Leave out items with fewer ratings.
    json : bool
        Print JSON instead of a table.
    """
    check_flag("json", json)
    fitted = read_model(model)
    ids, scores = fitted.recommend(as_id(user, fitted.user_ids_, "user"), n, min_ratings=min_ratings)
    # As `predict` has them, within the scale; they rank by what lies beyond it, too.
    print_ranked(fitted, ids, np.clip(scores, *fitted.rating_range_), "predicted", ".2f", as_json=json)


@_cli.strings("model", "item")
def similar(model: str, item: str, *, n: int = 10, min_ratings: int = 0, json: bool = False) -> None:
    """Print the items most similar to one: the cosine of the angle between their factors.

    Parameters
    ----------
    model : str
        File of a factor model that `fit` or an example wrote.
    item : str
        The item's id.
    n : int
        How many.
    min_ratings : int
        Leave out items with fewer ratings.
    json : bool
        Print JSON instead of a table.
    """
    check_flag("json", json)
    fitted = read_model(model)
    if not hasattr(fitted, "similar_items"):
        raise ValueError(
            f"{model} holds a {type(fitted).__name__}, which has no factors to compare; fit with k of 1 or more"
        )
    ids, scores = fitted.similar_items(as_id(item, fitted.item_ids_, "item"), n, min_ratings=min_ratings)
    print_ranked(fitted, ids, scores, "cosine", ".3f", as_json=json)


def print_ranked(fitted: Recommender, ids: Any, scores: Any, name: str, form: str, *, as_json: bool) -> None:
    """Print a list of items, without its padding."""
    kept = ~np.isnan(scores)
    codes = np.searchsorted(fitted.item_ids_, ids[kept])
    found = zip(ids[kept].tolist(), scores[kept].tolist(), fitted.item_counts_[codes].tolist(), strict=True)
    records = [
        {"rank": rank, "item": item, name: score, "ratings": count}
        for rank, (item, score, count) in enumerate(found, 1)
    ]
    _cli.show(records, {"rank": "d", "item": "", name: form, "ratings": ",d"}, as_json=as_json)


def check_flag(name: str, value: Any) -> None:
    """Refuse a value for a flag that takes none."""
    if not isinstance(value, bool):
        raise TypeError(f"--{name} is {value!r}; it takes no value: write --{name} alone, or leave it out")


@_cli.strings("model")
def info(model: str | None = None) -> None:
    """Print what this installation and machine can do, or what a saved model is.

    Parameters
    ----------
    model : str
        A model file. Default: about the installation: versions, instruction set, threads, measured peak.
    """
    if model is not None:
        fitted = read_model(model)
        low, high = fitted.rating_range_
        rows = [
            ["model", repr(fitted).replace("\n", " ")],
            ["users", f"{len(fitted.user_ids_):,}, ids {fitted.user_ids_[0]} to {fitted.user_ids_[-1]}"],
            ["items", f"{len(fitted.item_ids_):,}, ids {fitted.item_ids_[0]} to {fitted.item_ids_[-1]}"],
            [
                "training ratings",
                f"{int(fitted.user_counts_.sum()):,} from {low:g} to {high:g}, mean {fitted.mean_:.4f}",
            ],
            ["train RMSE", f"{fitted.history_['train_rmse'][-1]:.4f} after {fitted.n_iter_} iterations"],
        ]
        _cli.table(["what", "value"], rows)
        return
    n_threads = _threads.resolve()
    done, start = 0.0, time.perf_counter()
    while time.perf_counter() - start < 0.3:
        done += _core.peak_flops(1_000_000, n_threads)
    peak = done / (time.perf_counter() - start)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "scikit-learn", "pyarrow"))
    rows = [
        ["alsx", alsx.__version__],
        ["Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"],
        ["libraries", versions],
        ["instruction set", f"{_core.simd_level()} (ALSX_SIMD={os.environ.get('ALSX_SIMD') or 'not set'})"],
        ["threads", str(n_threads)],
        ["measured peak", f"{peak / 1e9:.0f} GFLOP/s, float32 multiply-adds on these threads"],
    ]
    _cli.table(["what", "value"], rows)


COMMANDS = {"fit": fit, "evaluate": evaluate, "recommend": recommend, "similar": similar, "info": info}


def main() -> None:
    """Run the command line; without a command, list them."""
    if len(sys.argv) == 1:
        rows = [[name, (command.__doc__ or "").strip().partition("\n")[0]] for name, command in COMMANDS.items()]
        _cli.table(["command", "what it does"], rows)
        print("\npython -m alsx COMMAND --help explains one; python -m alsx.examples lists the examples.")
        return
    _cli.run(COMMANDS, "python -m alsx", {"max_iter": "iterations", "random_state": "seed"})


if __name__ == "__main__":
    main()

"""``alsx``, or ``python -m alsx``: fit, prepare, evaluate and info; what is done with a saved model is in `_model_commands`."""

from __future__ import annotations

import inspect
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import alsx
from alsx import _check, _cli, _core, _reader, _threads, metrics
from alsx._model_commands import explain, explore, export, is_model, plot, read_model, recommend, similar
from alsx._models.latent import LatentFactors
from alsx._models.recommender import Recommender
from alsx._models.seen import entries_of_rows


@_reader.reads_ratings
@_cli.strings("ratings", "model", "model_kind", "user_features", "item_features", "titles", "time")
def fit(
    ratings: str,
    *,
    model: str = "model.npz",
    model_kind: str | None = None,
    k: int = 20,
    reg: float | None = None,
    iterations: int | None = None,
    user_features: str | None = None,
    item_features: str | None = None,
    titles: str | None = None,
    time: str | None = None,
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
    model_kind : str
        What to fit: factor, bias, bayes (and what else this version has). Default: factor, and bias where k is 0.
    k : int
        Latent factors; 0 fits the bias-only model.
    reg : float
        Regularisation. Default: the model's own.
    iterations : int
        The most iterations, or how many draws. Default: the model's own.
    user_features : str
        CSV or Parquet file with a column of users; all others are features.
    item_features : str
        CSV or Parquet file with a column of items; all others are features.
    titles : str
        CSV or Parquet file with a column of items and one called title, for lists. Default: those of a MovieLens archive.
    time : str
        What a user's ratings of one time have in common: day, or session; the file has a column of times then. Default: nothing.
    seed : int
        For the random start.
    n_jobs : int
        Threads. Default: all processors.
    """
    _check.integer("k", k, 0)
    kind = check_kind(model_kind, k)
    if time is not None and "time" not in inspect.signature(kind).parameters:
        raise ValueError(
            f"--time is {time}; it must be left out, since {kind.__name__} ranks items the same at all times"
        )
    file = _cli.check_file(model, "--model")
    about = {
        name: _reader.read_table(path, f"--{name.replace('_', '-')}")
        for name, path in (("user_features", user_features), ("item_features", item_features))
        if path is not None
    }
    of_items = None if titles is None else _reader.read_table(titles, "--titles")
    data = _reader.read_data(ratings, timestamps=time is not None, **reader)
    own = {
        "k": k, "reg": reg, "max_iter": iterations, "n_samples": iterations, "time": time, "random_state": seed, "n_jobs": n_jobs,
    }  # fmt: skip
    chosen = {
        name: value for name, value in own.items() if value is not None and name in inspect.signature(kind).parameters
    }
    if reg is not None and "reg" not in chosen:
        raise ValueError(f"reg is {reg}; it must be left out, since {kind.__name__} chooses it itself")
    if about and not issubclass(kind, LatentFactors):
        raise ValueError(
            f"{next(iter(about))} has no use for {kind.__name__}; leave it out, or fit another kind of model"
        )
    start = perf_counter()
    fitted: Recommender = kind(**chosen, verbose=1)
    fitted.fit(data.ratings, **about)
    names = data.titles if of_items is None else of_items
    if names is not None:
        fitted.set_titles(names)
    fitted.save(file)
    print(f"{data.ratings!r}\n")
    _cli.table(
        ["model", "train RMSE", "loss", "iterations", "seconds", "file"],
        [
            [
                type(fitted).__name__,
                f"{fitted.history_['train_rmse'][-1]:.4f}",
                f"{fitted.history_['loss'][-1]:,.0f}",
                str(fitted.n_iter_),
                f"{perf_counter() - start:.2f}",
                model,
            ]
        ],
        "lrrrrl",
    )


def errors_of(fitted: Recommender, test: alsx.Ratings) -> tuple[dict[str, Any], dict[str, str]]:
    """Return errors of predictions of test ratings, and how they are printed."""
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
    return found, {"ratings": ",d", "RMSE": ".4f", "MAE": ".4f", "cold pairs": ",d", "RMSE, others": ".4f"}


def count_seen(fitted: Recommender, test: alsx.Ratings) -> int:
    """Return of how many test ratings the model has seen the pair."""
    users, items, _ = test.triples()
    user_codes = fitted._users.ids.codes(test.user_ids)[users].astype(np.int64)
    item_codes = fitted._items.ids.codes(test.item_ids)[items].astype(np.int64)
    n_items = len(fitted.item_ids_)
    rows = np.unique(user_codes[user_codes >= 0])
    indptr, places = entries_of_rows(fitted._seen.indptr, rows)
    # Numbers of pairs, ascending: users are, and so are the items of each.
    seen = np.repeat(rows, np.diff(indptr)) * n_items + fitted._seen.indices[places]
    asked = user_codes * n_items + item_codes
    known = (user_codes >= 0) & (item_codes >= 0)
    return int(np.isin(asked[known], seen).sum())


def check_kind(model_kind: str | None, k: int) -> type[Recommender]:
    """Return the class of model that is asked for."""
    kinds = {name.removesuffix("ALS").lower(): kind for name, kind in Recommender.kinds.items() if name.endswith("ALS")}
    if model_kind is None:
        return kinds["factor" if k else "bias"]
    if model_kind.lower().removesuffix("als") not in kinds:
        raise ValueError(f"model_kind is {model_kind}; it must be one of {', '.join(sorted(kinds))}")
    return kinds[model_kind.lower().removesuffix("als")]


@_reader.reads_ratings
@_cli.strings("model", "ratings", "lists")
def evaluate(
    model: str,
    ratings: str,
    *,
    lists: str | None = None,
    n: int = 10,
    min_rating: float | None = None,
    format: str = "table",
    json: bool = False,
    **reader: Any,
) -> None:
    """Compare a saved model's predictions with ratings it has not seen.

    A pair is cold where its user or item was not in the training ratings; it is predicted from what the model knows of
    the other, and counts in RMSE and MAE. "RMSE, others" is that of the pairs which are not cold.

    Parameters
    ----------
    model : str
        File that `fit` or an example wrote.
    ratings : str
        Test ratings: a CSV or Parquet file, or a MovieLens archive or name.
    lists : str
        Measures of the lists of the test users, with commas between them, such as ndcg,recall,coverage. Default: none; of a
        model that ranks, whose scores are no ratings, all but the slow ones.
    n : int
        The length of these lists.
    min_rating : float
        The lowest test rating that makes an item relevant. Default: every rated item is.
    format : str
        Print a table, csv or json.
    json : bool
        As --format=json.
    """
    form = _cli.check_format(format, json)
    if Path(ratings).is_file() and is_model(Path(ratings)):
        raise ValueError(f"RATINGS is {ratings}, which is a model; write MODEL first, then RATINGS")
    fitted = read_model(model)
    # Ids that are all digits are read as text where the model has text.
    users, items = ("strings" if ids.dtype.kind == "U" else None for ids in (fitted.user_ids_, fitted.item_ids_))
    test = _reader.read_ratings(ratings, usual_id_types=(users, items), timestamps=fitted._uses_time, **reader)
    # Scores of a model that ranks are no ratings: only its lists can be measured.
    ranks = fitted._missing is not None
    found, formats = ({}, {}) if ranks else errors_of(fitted, test)
    if lists is not None or ranks:
        names = None if lists is None else lists.split(",")
        scores = metrics.evaluate(fitted, test, n, metrics=names, min_rating=min_rating)
        found |= {name: float(score) for name, score in scores.items()}
        formats |= dict.fromkeys(scores, ".4f")
    n_seen = count_seen(fitted, test)
    if n_seen:
        _cli.tell(
            f"warning: {n_seen:,} of {test.n_ratings:,} test ratings are of pairs that the model was fitted to: this is not how "
            "well it does on ratings that it has not seen"
        )
    _cli.show([found], formats, form)


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
    done, start = 0.0, perf_counter()
    while perf_counter() - start < 0.3:
        done += _core.peak_flops(1_000_000, n_threads)
    peak = done / (perf_counter() - start)
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


@_reader.reads_ratings
@_cli.strings("ratings", "cache", "memory")
def prepare(ratings: str, cache: str, *, memory: str | None = None, **reader: Any) -> None:
    """Prepare ratings, which may be larger than memory, for commands and programs that name the same cache.

    They are read in parts, sorted by user and by item on the disk, and written to the cache, a folder; from there they are mapped
    into memory: `alsx fit RATINGS --cache=CACHE`, or alsx.Ratings(RATINGS, cache=CACHE) in Python. What is there already is
    prepared again only where the files or the options have changed.

    Parameters
    ----------
    ratings : str
        A CSV or Parquet file, or a folder of such files.
    cache : str
        The folder; it is made where there is none, and may hold what is prepared from many files.
    memory : str
        What sorting may take, such as 2GB. Default: 1GB.
    """
    start = perf_counter()
    if not Path(ratings).expanduser().exists():
        raise FileNotFoundError(f"RATINGS is {ratings}; there is no such file or folder")
    data = _reader.read_data(ratings, cache=str(_cli.check_folder(cache, "CACHE")), memory=memory, **reader).ratings
    low, high = data.range
    _cli.table(
        ["ratings", "users", "items", "from", "to", "seconds", "cache"],
        [
            [
                *(f"{n:,}" for n in (data.n_ratings, data.n_users, data.n_items)),
                f"{low:g}",
                f"{high:g}",
                f"{perf_counter() - start:.1f}",
                cache,
            ]
        ],
        "rrrrrrl",
    )


@_reader.reads_ratings
@_cli.strings("ratings", "model", "model_kind", "metric")
def tune(
    ratings: str,
    *,
    model: str | None = None,
    model_kind: str = "factor",
    k: Any = None,
    reg: Any = None,
    iterations: int | None = None,
    metric: str = "rmse",
    n: int = 10,
    min_rating: float | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
    format: str = "table",
    json: bool = False,
    **reader: Any,
) -> None:
    """Choose rank and regularisation on a part of the ratings that is held out, and print all fits, the best first.

    All settings are fitted with a few iterations, the best half goes on with twice as many, and so on.

    Parameters
    ----------
    ratings : str
        A CSV or Parquet file, or a MovieLens archive or name. Keep test ratings out of it.
    model : str
        File to write, .npz: the best setting fitted to all of the ratings. Default: none is.
    model_kind : str
        What to fit: factor or bias (and what else this version has).
    k : ints
        Ranks to try, with commas between them, such as 10,20,40. Default: 10,20,40,80.
    reg : floats
        Regularisations to try. Default: six around the model's own.
    iterations : int
        The most iterations. Default: the model's own.
    metric : str
        What is to be best: rmse, mae, or a measure of lists such as ndcg.
    n : int
        The length of the lists that are measured.
    min_rating : float
        The lowest rating that makes an item relevant, for measures of lists.
    seed : int
        For the split and the random starts.
    n_jobs : int
        Threads. Default: all processors.
    format : str
        Print a table, csv or json.
    json : bool
        As --format=json.
    """
    from alsx.model_selection import tune as tune_model

    form = _cli.check_format(format, json)
    kind = check_kind(model_kind, 1)
    file = None if model is None else _cli.check_file(model, "--model")
    known = inspect.signature(kind).parameters
    own = {"max_iter": iterations, "random_state": seed, "n_jobs": n_jobs}
    base = kind(**{name: value for name, value in own.items() if value is not None and name in known})
    grid = {name: listed(values) for name, values in (("k", k), ("reg", reg)) if values is not None}
    data = _reader.read_data(ratings, **reader)
    resource = "max_iter" if "max_iter" in known else None
    found = tune_model(
        base,
        data.ratings,
        grid or None,
        metric=metric,
        n=n,
        min_rating=min_rating,
        resource=resource,
        random_state=seed,
    )
    columns = [name for name in found.table if name not in ("rung", "kept")]
    records = [dict(zip(found.table, row, strict=True)) for row in zip(*found.table.values(), strict=True)]
    best = {**found.best_params, "score": found.best_score}
    records.sort(key=lambda record: (any(record[name] != value for name, value in best.items()), -record["rung"]))
    formats = {name: {"score": ".4f", "seconds": ".2f"}.get(name, "g") for name in columns}
    _cli.show(records, formats, form)
    if file is not None:
        fitted = base.set_params(**found.best_params).fit(data.ratings)
        if data.titles is not None:
            fitted.set_titles(data.titles)
        fitted.save(file)
        _cli.tell(f"{fitted!r} is in {file}")


def listed(values: Any) -> list[Any]:
    """Return the values of a flag, one or several with commas between them."""
    return list(values) if isinstance(values, (tuple, list)) else [values]


COMMANDS = {
    "fit": fit,
    "prepare": prepare,
    "evaluate": evaluate,
    "tune": tune,
    "recommend": recommend,
    "similar": similar,
    "explain": explain,
    "export": export,
    "plot": plot,
    "explore": explore,
    "info": info,
}

# Arguments of the library that have another name as flags.
RENAMED = {"max_iter": "iterations", "n_samples": "iterations", "random_state": "seed"}


def main() -> None:
    """Run the command line; without a command, list them."""
    name = "alsx" if Path(sys.argv[0]).stem == "alsx" else "python -m alsx"
    if len(sys.argv) == 1:
        rows = [[word, (command.__doc__ or "").strip().partition("\n")[0]] for word, command in COMMANDS.items()]
        _cli.table(["command", "what it does"], rows)
        print(f"\n{name} COMMAND --help explains one; python -m alsx.examples lists the examples.")
        return
    _cli.run(COMMANDS, name, RENAMED)


if __name__ == "__main__":
    main()

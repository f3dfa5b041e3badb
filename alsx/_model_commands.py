"""What the command line does with a saved model: lists, similar items, explanations, vectors, pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import numpy as np

import alsx
from alsx import _check, _cli, _reader
from alsx._models.latent import LatentFactors
from alsx._models.recommender import Recommender
from alsx.ratings import Ids
from alsx.typing import Side


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


def as_id(text: str, ids: Ids, what: str) -> Any:
    """Return a known id as the model has it, from its text on the command line."""
    one = as_own(text, ids)
    if one is None or int(ids.codes([one])[0]) < 0:
        near = [] if one is None else ids.near(one)
        nearest = f"the nearest are {', '.join(map(str, near))}" if near else f"ids are such as {ids.values[0]}"
        raise ValueError(f"{what} {text} is unknown to the model; {nearest}")
    return one


def as_own(text: str, ids: Ids) -> Any:
    """Return an id of the kind of a model's; None where a text is no integer and they are."""
    if ids.kind == "strings":
        return text
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None


def several(text: str, ids: Ids, what: str) -> list[Any]:
    """Return known ids from a list with commas."""
    return [as_id(word, ids, what) for word in text.split(",") if word]


@_cli.strings("model", "user", "candidates", "exclude", "rated", "out")
def recommend(
    model: str,
    user: str | None = None,
    *,
    n: int = 10,
    min_ratings: int = 0,
    strategy: str | None = None,
    candidates: str | None = None,
    exclude: str | None = None,
    rated: str | None = None,
    out: str | None = None,
    seed: int = 0,
    format: str = "table",
    json: bool = False,
) -> None:
    """Print the items that a user is likely to rate, and to rate highly, with their predicted ratings, rated ones left out.

    With --strategy=mean items rank by the predictions alone, before they were cut to the scale. Without a user, --out writes the
    lists of all users to a Parquet file, a block of users at a time.

    Parameters
    ----------
    model : str
        File that `fit` or an example wrote.
    user : str
        The user's id. Left out with --rated, and with --out.
    n : int
        How many.
    min_ratings : int
        Leave out items with fewer ratings.
    strategy : str
        What items are judged by: propensity (the default), mean, lower (cautious), upper or thompson (curious).
    candidates : str
        Recommend among these items only, with commas between them.
    exclude : str
        Leave these items out, with commas between them.
    rated : str
        Ratings of somebody who was not in training, such as 50:5,181:3.5 (item:rating).
    out : str
        Parquet file to write: the lists of all users.
    seed : int
        For thompson.
    format : str
        Print a table, csv or json.
    json : bool
        As --format=json.
    """
    form = _cli.check_format(format, json)
    file = None if out is None else _cli.check_file(out, "--out")
    fitted = read_model(model)
    ids = fitted._items.ids
    options: dict[str, Any] = {
        "min_ratings": min_ratings,
        "strategy": strategy,
        "random_state": seed,
        "candidates": None if candidates is None else several(candidates, ids, "item"),
        "exclude": None if exclude is None else several(exclude, ids, "item"),
    }
    if file is not None:
        if user is not None or rated is not None:
            raise ValueError(
                f"out is {out}; it is for the lists of all users: leave {'user' if user else '--rated'} out, or --out"
            )
        fitted.set_params(verbose=1).recommend_all(file, n, **options)
        _cli.show([{"users": int(fitted._users.has_data.sum()), "file": str(file)}], {"users": ",d", "file": ""}, form)
        return
    whose, who = fitted, user
    if rated is not None:
        options["ratings"] = stars_of(rated, ids)
        whose, who = fitted._with_guests(user, options["ratings"])
    elif user is None:
        raise ValueError(
            "user is missing; give a user's id, --rated=ITEM:RATING,... for somebody new, or --out=FILE for all users"
        )
    else:
        who = user = as_id(user, fitted._users.ids, "user")
    found, scores = fitted.recommend(user, n, **options)
    nothing = "No item is left to recommend."
    if fitted._missing is not None:  # scores of a model that ranks are no ratings
        print_ranked(fitted, found, scores, "score", ".3f", form, nothing)
        return
    # What items are judged by is no rating.
    shown, listed = np.full(len(found), np.nan), ~np.isnan(scores)
    shown[listed] = whose.predict(who, found[listed])
    print_ranked(fitted, found, shown, "predicted", ".2f", form, nothing)


def stars_of(rated: str, ids: Ids) -> dict[Any, float]:
    """Return ratings by item from ``ITEM:RATING,...``."""
    stars: dict[Any, float] = {}
    for word in rated.split(","):
        item, colon, value = word.rpartition(":")
        try:
            rating = float(value)
        except ValueError:
            colon = ""
        if not colon:
            raise ValueError(
                f"rated has {word!r}; it must be ITEM:RATING, with commas between several, such as 50:5,181:3.5"
            )
        stars[as_id(item, ids, "item")] = rating
    return stars


@_cli.strings("model", "item")
def similar(
    model: str,
    item: str,
    *,
    n: int = 10,
    min_ratings: int = 0,
    users: bool = False,
    format: str = "table",
    json: bool = False,
) -> None:
    """Print the items most similar to one: the cosine of the angle between their factors.

    Parameters
    ----------
    model : str
        File of a factor model that `fit` or an example wrote.
    item : str
        The item's id, or the user's with --users.
    n : int
        How many.
    min_ratings : int
        Leave out items with fewer ratings.
    users : bool
        Compare users instead.
    format : str
        Print a table, csv or json.
    json : bool
        As --format=json.
    """
    form = _cli.check_format(format, json)
    _cli.check_flag("users", users)
    fitted = read_factors(model, "to compare")
    if users:
        one = as_id(item, fitted._users.ids, "user")
        found, scores = fitted.similar_users(one, n, min_ratings=min_ratings)
        counts = fitted.user_counts_[fitted._users.ids.codes(found)]
        records = [
            {"rank": rank, "user": user, "cosine": cosine, "ratings": count}
            for rank, (user, cosine, count) in enumerate(
                zip(found.tolist(), scores.tolist(), counts.tolist(), strict=True), 1
            )
            if not np.isnan(cosine)
        ]
        formats = {"rank": "d", "user": "", "cosine": ".3f", "ratings": ",d"}
        _cli.show(records, formats, form, "No user can be compared with this one.")
        return
    found, scores = fitted.similar_items(as_id(item, fitted._items.ids, "item"), n, min_ratings=min_ratings)
    print_ranked(fitted, found, scores, "cosine", ".3f", form, "No item can be compared with this one.")


@_cli.strings("model", "user", "item")
def explain(model: str, user: str, item: str, *, n: int = 10, format: str = "table", json: bool = False) -> None:
    """Print what a prediction is the sum of: the mean, the item's bias, the user's ratings, his prior.

    Parameters
    ----------
    model : str
        File that `fit` or an example wrote.
    user : str
        The user's id.
    item : str
        The item's id.
    n : int
        So many ratings, and so many parts of the prior, the largest first; the others are added up.
    format : str
        Print a table, csv or json.
    json : bool
        As --format=json.
    """
    form = _cli.check_format(format, json)
    fitted = read_model(model)
    ids = as_id(user, fitted._users.ids, "user"), as_id(item, fitted._items.ids, "item")
    found = fitted.explain(*ids, n)
    titles = fitted._titles
    records: list[dict[str, Any]] = [
        {
            "part": part.part,
            "item": part.id,
            "rating": part.rating,
            "contribution": part.contribution,
            "what": part.name,
        }
        for part in found.parts
    ]
    if titles is not None:
        for record in records:
            title = None if record["item"] is None else titles.of([record["item"]])[0]
            record["what"] = record["what"] if title is None else title
    for record in records:
        record["item"] = "" if record["item"] is None and form == "table" else record["item"]
    total = {
        "part": "predicted",
        "item": "" if form == "table" else None,
        "rating": None,
        "contribution": found.prediction,
    }
    records.append({**total, "what": "the sum"})
    _cli.show(records, {"part": "", "item": "", "rating": "g", "contribution": "+.3f", "what": ""}, form)


@_cli.strings("model", "out", "side")
def export(model: str, *, out: str, side: str = "item", format: str = "table", json: bool = False) -> None:
    """Write the factors and biases of items, or of users, to a Parquet file.

    Parameters
    ----------
    model : str
        File that `fit` or an example wrote.
    out : str
        Parquet file to write.
    side : str
        Whose vectors: item or user.
    format : str
        Print a table, csv or json.
    json : bool
        As --format=json.
    """
    form = _cli.check_format(format, json)
    file = _cli.check_file(out, "--out")
    fitted = read_model(model)
    fitted.to_parquet(file, cast(Side, side))
    rows = len(fitted._items if side == "item" else fitted._users)
    _cli.show([{"rows": rows, "k": fitted._k, "file": str(file)}], {"rows": ",d", "k": "d", "file": ""}, form)


@_cli.strings("model", "out", "kind")
def plot(model: str, *, out: str = "map.png", kind: str = "map", min_ratings: int = 20) -> None:
    """Draw the items of a model as a map, those at the ends of its factors, or its loss and RMSE by iteration, as a PNG file.

    Parameters
    ----------
    model : str
        File that `fit` or an example wrote.
    out : str
        PNG file to write.
    kind : str
        What to draw: map, factors or history.
    min_ratings : int
        Leave items with fewer ratings off the map and out of the lists.
    """
    _check.integer("min_ratings", min_ratings, 0)
    if kind not in ("map", "factors", "history"):
        raise ValueError(f'kind is {kind}; it must be "map", "factors" or "history"')
    file = _cli.check_file(out, "--out")
    if kind == "history":
        fitted = read_model(model)
    else:
        fitted = read_factors(model, "to draw")
    import matplotlib

    matplotlib.use("agg")
    from alsx.plot import embedding_map, factors, history

    if kind == "history":
        figure: Any = history(fitted)
    else:
        ids = fitted.item_ids_
        titles = None
        if fitted._titles is not None:
            known = fitted._titles.of(ids)
            titles = [str(one) if title is None else title for one, title in zip(ids.tolist(), known, strict=True)]
        if kind == "factors":
            figure = factors(fitted, titles, min_ratings=min_ratings, noun="items")
        else:
            figure = embedding_map(fitted, titles, min_ratings=min_ratings, noun="items").figure
    _cli.save_figure(figure, file)
    print(f"{file}")


@_cli.strings("model", "out", "items", "noun", "title", "source")
def explore(
    model: str,
    *,
    out: str = "explorer.html",
    items: str | None = None,
    noun: str | None = None,
    title: str | None = None,
    source: str | None = None,
    min_ratings: int = 0,
    shown_from: int | None = None,
    seed: int = 0,
) -> None:
    """Write the items of a model as a page to explore: one HTML file with a map, for a browser, offline.

    Parameters
    ----------
    model : str
        File of a factor model that `fit` or an example wrote.
    out : str
        HTML file to write.
    items : str
        What is known of the items: a CSV or Parquet file with a column of items and title, year or genres, or a MovieLens archive
        or name. Default: the titles in the model, or ids.
    noun : str
        What the items are, such as films. Default: films where --items is of MovieLens, else items.
    title : str
        The headline.
    source : str
        The name of the data, written below it.
    min_ratings : int
        Leave items with fewer ratings out of the file.
    shown_from : int
        The number of ratings from which items are shown when the page opens. Default: 20, more in large data.
    seed : int
        For the places on the map.
    """
    file = _cli.check_file(out, "--out")
    fitted = read_factors(model, "to place on a map")
    known = None if items is None else read_known(items)
    from alsx.explorer import write

    write(
        fitted, file, items=known, noun=noun, title=title, source=source, min_ratings=min_ratings, shown_from=shown_from,
        random_state=seed,
    )  # fmt: skip
    print(f"{file}")


def read_known(items: str) -> Any:
    """Return what is known of items: a table from a file, or a MovieLens set."""
    if items.lower().endswith((".csv", ".parquet", ".pq")):
        return _reader.read_table(items, "--items")
    from alsx.datasets import load_demo, load_movielens

    if items == "demo":
        return load_demo()
    _cli.tell(f"reading {items} ...")
    return load_movielens(items, timestamps=False)


def read_factors(path: str, purpose: str) -> LatentFactors:
    """Load a saved model that has factors."""
    fitted = read_model(path)
    if not isinstance(fitted, LatentFactors) or not fitted._k:
        raise ValueError(
            f"{path} holds a {type(fitted).__name__}, which has no factors {purpose}; fit with k of 1 or more"
        )
    return fitted


def print_ranked(fitted: Recommender, ids: Any, scores: Any, name: str, form: str, how: str, nothing: str) -> None:
    """Print a list of items, without its padding.

    Parameters
    ----------
    fitted : Recommender
    ids, scores : ndarray
        The list.
    name, form : str
        What the scores are called, and how they are written in a table.
    how : {"table", "csv", "json"}
    nothing : str
        What is said of an empty list.
    """
    kept = ~np.isnan(scores)
    counts = fitted.item_counts_[fitted._items.ids.codes(ids[kept])].tolist()
    found = zip(ids[kept].tolist(), scores[kept].tolist(), counts, strict=True)
    records: list[dict[str, Any]] = [
        {"rank": rank, "item": item, name: score, "ratings": count}
        for rank, (item, score, count) in enumerate(found, 1)
    ]
    formats = {"rank": "d", "item": "", name: form, "ratings": ",d"}
    if fitted._titles is not None:
        formats["title"] = ""
        for record, title in zip(records, fitted._titles.of(ids[kept]), strict=True):
            record["title"] = title
    _cli.show(records, formats, how, nothing)

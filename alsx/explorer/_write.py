"""Writing the page of a model."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from alsx import _check
from alsx._files import atomic_write
from alsx._models.latent import LatentFactors
from alsx._models.recommender import Recommender
from alsx.datasets.movielens import MovieLens
from alsx.explorer._colours import colour_pairs
from alsx.explorer._items import Items, is_implicit, listed_from, rating_step, read_items
from alsx.explorer._layout import place_items
from alsx.explorer._numbers import numbers_of
from alsx.explorer._page import page

Array = NDArray[Any]
Floats = NDArray[np.float64]

# Genres that have a colour; more cannot be told apart. Genres beyond the second number are not named.
N_COLOURS, MAX_GENRES = 8, 255
MAX_UINT16 = 65535
MAX_INT32 = 2**31 - 1
SEPARATOR = "\n"


def write(
    model: Any,
    path: str | os.PathLike[str],
    *,
    items: Any = None,
    noun: str | None = None,
    title: str | None = None,
    source: str | None = None,
    min_ratings: int = 0,
    shown_from: int | None = None,
    positions: npt.ArrayLike | None = None,
    max_embedded: int = 10_000,
    random_state: int | np.random.RandomState | None = 0,
) -> Path:
    """Write the explorer page of a model: one HTML file with a map of its items, for a browser, offline.

    In the page items can be searched, their ten most similar ones are shown (those of `similar_items`), and whoever rates a few
    of them gets recommendations at once: the row solve of `fold_in` and the order of `recommend`, done in the page.

    Parameters
    ----------
    model : fitted FactorALS, BayesALS or RankALS
        With factors. Features of users play no part in the page; those of items are in their vectors.
    path : path-like
        The file, such as ``"explorer.html"``; a leading ``~`` is the home folder. It is written beside it and moved into place.
    items : data frame or MovieLens, default=None
        What is known of the items: what `alsx.datasets.load_movielens` or `load_demo` returns, or a data frame with a column
        of items and one or more of ``title``, ``year`` and ``genres`` (lists, or texts such as ``"Comedy|Drama"``). Items need
        not all be in it. Default: the titles of the model, see `set_titles`, or its ids.
    noun : str, default=None
        What the items are, in the plural: the page speaks of them. Default: "films" for a MovieLens set, else "items".
    title : str, default=None
        The headline. Default: such as "Map of films".
    source : str, default=None
        The name of the data, written below the headline.
    min_ratings : int, default=0
        Leave items with fewer ratings out of the file: they can then neither be found nor be recommended.
    shown_from : int, default=None
        The number of ratings from which items are shown, compared and recommended when the page opens; a slider in the page
        changes it. Default: 20, more in large data (one for each 200,000 of all ratings), fewer where less than fifty items
        would be left, since factors of little-rated items are mostly noise.
    positions : array-like of shape (n_items, 2), default=None
        Places on the map, a row for each of ``model.item_ids_``. Default: `alsx.plot.embed` of the factors of items with
        at least `shown_from` ratings, those of `alsx.plot.embedding_map`; others lie beside the most similar of these.
    max_embedded : int, default=10_000
        At most so many items, the most rated, are placed by `embed`, which takes some 7 seconds for 3,000 of them and
        half a minute for 10,000.
    random_state : int, RandomState or None, default=0
        Passed on to `embed`.

    Returns
    -------
    path : pathlib.Path
        The file that was written: 1 MB for 10,000 items of rank 20, some 11 MB for 90,000.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the model was not fitted.
    TypeError
        If `model` is not a model of this package with latent factors, or `items` is no table.
    ValueError
        If the model's rank is 0 (`BiasALS`): it has nothing to place on a map. If no item has `min_ratings` ratings, `items` has
        none of the columns, or ids of another kind than the model's, or a parameter is out of its range.
    OSError
        If the file cannot be written.

    Notes
    -----
    The page shows neither users nor their ratings: of them it holds the number and mean of each item's ratings. Numbers in it
    are rounded, so that predictions and vectors differ by less than 1e-4 (of the largest entry) from the model's.
    It needs a browser of 2023 or later, with or without WebGL.

    Examples
    --------
    >>> import tempfile
    >>> from alsx import FactorALS
    >>> from alsx.datasets import make_ratings
    >>> from alsx.explorer import write
    >>> model = FactorALS(k=4, random_state=0).fit(make_ratings(50, 20, 500, random_state=0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(model, f"{folder}/explorer.html", noun="books").name
    'explorer.html'
    """
    check_model(model)
    low = _check.integer("min_ratings", min_ratings, 0)
    largest = _check.integer("max_embedded", max_embedded, 1)
    nouns = ("films" if isinstance(items, MovieLens) else "items") if noun is None else check_noun(noun)
    known = read_items(model, items, low, nouns)
    start = max(low, listed_from(known.counts)) if shown_from is None else _check.integer("shown_from", shown_from, 0)
    if start > known.counts.max():
        raise ValueError(
            f"shown_from is {start}, but the most rated of the {len(known)} {nouns} has {known.counts.max()} ratings; set it to at "
            f"most {known.counts.max()}"
        )
    if positions is None:
        place = place_items(model._items, known, start, largest, random_state)
    else:
        place = given_positions(positions, model, known)
    about, arrays, texts = contents(model, known, place, start)
    headline = f"Map of {nouns}" if title is None else str(title)
    about |= {
        "noun": nouns.removesuffix("s") or nouns, "nouns": nouns, "title": headline, "source": source and str(source),
        "shown_from": start, "least_ratings": low, "model": type(model).__name__, "n_ratings": int(model.item_counts_.sum()),
        "n_users": int(model._users.has_data.sum()), "placed_by": "embedding" if positions is None else "given",
    }  # fmt: skip
    text = page(headline, f"{len(known):,} {nouns} as a model of their ratings sees them", about, arrays, texts)
    with atomic_write(path, encoding="utf-8") as file:
        file.write(text)
    return Path(path).expanduser()


def check_model(model: Any) -> None:
    """Refuse what has no vectors of items."""
    if isinstance(model, type) or not isinstance(model, Recommender):
        name = model.__name__ if isinstance(model, type) else type(model).__name__
        raise TypeError(f"model is {name}; it must be a fitted FactorALS, BayesALS or RankALS")
    check_is_fitted(model, "mean_")
    if not isinstance(model, LatentFactors) or not model._k:
        raise ValueError(
            f"model is a {type(model).__name__} without factors, so that its items have no places on a map; give a FactorALS, "
            "BayesALS or RankALS with k of 1 or more"
        )


def check_noun(noun: Any) -> str:
    """Return what the items are called."""
    if not isinstance(noun, str) or not noun.strip():
        raise ValueError(f"noun is {noun!r}; it must be a word such as 'films'")
    return noun.strip()


def given_positions(positions: npt.ArrayLike, model: LatentFactors, items: Items) -> Floats:
    """Return the caller's positions of the items of the page."""
    from alsx.plot._embedding import check_length, check_vectors

    rows = np.asarray(check_length("positions", positions, len(model._items)))
    return check_vectors(rows[items.codes], "positions", 2)


def contents(
    model: LatentFactors, items: Items, place: Floats, shown_from: int
) -> tuple[dict[str, Any], dict[str, Array], dict[str, str]]:
    """Return what the script of the page knows: scalars and words, arrays, long texts."""
    about, arrays = numbers_of(model, items.codes)
    texts = {"titles": SEPARATOR.join(items.titles)}
    ids = items.ids
    if ids.dtype.kind in "iu" and ids.min() >= -MAX_INT32 and ids.max() <= MAX_INT32:
        arrays["ids"] = ids.astype(np.int32)
    else:
        texts["ids"] = SEPARATOR.join(" ".join(str(one).split(SEPARATOR)) for one in ids.tolist())
    arrays["places"], about["aspect"] = in_unit_square(place)
    arrays["counts"] = np.minimum(items.counts, MAX_INT32).astype(np.int32)
    if items.years is not None:
        arrays["years"] = items.years.astype(np.int16)
    about["genres"] = None
    if items.genres is not None:
        about |= genre_arrays(items.genres, items.counts >= shown_from, arrays)
    low, high = model.rating_range_
    implicit = is_implicit(model)
    about |= {"range": [low, high], "step": rating_step(model), "implicit": implicit, "n": len(items)}
    about["predicts_ratings"] = model._missing is None
    if items.means is not None and high > low:
        shares = (items.means - low) / (high - low) * (MAX_UINT16 - 1)
        # 0 stands for no rating.
        arrays["means"] = np.where(np.isnan(shares), 0, np.round(shares) + 1).astype(np.uint16)
    return about, arrays, texts


def in_unit_square(place: Floats) -> tuple[NDArray[np.uint16], float]:
    """Return positions as whole numbers from 0 to `MAX_UINT16` on both axes, and the height of the map over its width."""
    low, high = place.min(axis=0), place.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    whole = np.round((place - low) / span * MAX_UINT16).astype(np.uint16)
    whole[:, high == low] = MAX_UINT16 // 2
    return whole, float(span[1] / span[0]) if (high > low).all() else 1.0


def genre_arrays(genres: list[list[str]], shown: NDArray[np.bool_], arrays: dict[str, Array]) -> dict[str, Any]:
    """Return the names of the genres and the colours of those that have one; which items have which goes into `arrays`.

    Which genres have a colour is decided by the items that are shown at first, as `alsx.plot.embedding_map` does it; the others
    follow the same rule.
    """
    from alsx.plot import main_genres

    lists = [list(dict.fromkeys(names)) for names in genres]
    seen = [names for names, is_shown in zip(lists, shown, strict=True) if is_shown]
    tally = Counter(name for name in main_genres(seen, N_COLOURS) if name != "other")
    frequency = Counter(name for names in seen for name in names)
    main = [min((g for g in names if g in tally), key=lambda g: (frequency[g], g), default="other") for names in lists]
    coloured = sorted(tally, key=lambda name: (-tally[name], name))
    in_all = Counter(name for names in lists for name in names)
    rest = sorted(in_all.keys() - tally.keys(), key=lambda name: (-in_all[name], name))
    named = [*coloured, *rest][:MAX_GENRES]
    number = {name: place for place, name in enumerate(named)}
    codes = [[number[name] for name in names if name in number] for names in lists]
    arrays["main_genre"] = np.array([number.get(name, MAX_GENRES) for name in main], np.uint8)
    arrays["genre_counts"] = np.array([len(each) for each in codes], np.uint8)
    arrays["genre_codes"] = np.array([one for each in codes for one in each], np.uint8)
    return {"genres": named, "genre_colours": [list(pair) for pair in colour_pairs(coloured)]}

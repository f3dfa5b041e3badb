"""What the page knows of the items besides the model's vectors: titles, years, genres, numbers and means of ratings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._models.latent import LatentFactors
from alsx._models.seen import has_values
from alsx.datasets.movielens import MovieLens
from alsx.datasets.titles import split_year
from alsx.ratings import described_rows, is_frame

Array = NDArray[Any]
Floats = NDArray[np.float64]

UNKNOWN_YEAR = 0
# Years that the page's numbers hold; others are taken for a mistake in the table.
MIN_YEAR, MAX_YEAR = 1, 9999


class Items(NamedTuple):
    """The items of a page, in ascending order of their ids.

    Parameters
    ----------
    codes : ndarray of int64, shape (n,)
        Which rows of the model's item table they are.
    ids : ndarray, shape (n,)
    titles : list of n str
    years : ndarray of int64, shape (n,), or None
        `UNKNOWN_YEAR` where a year is not known; None where none is.
    genres : list of n lists of str, or None
    counts : ndarray of int64, shape (n,)
        Numbers of ratings that the model has seen.
    means : ndarray of float64, shape (n,), or None
        Mean ratings, NaN where there is no rating; None where a model does not know the values.
    """

    codes: NDArray[np.int64]
    ids: Array
    titles: list[str]
    years: NDArray[np.int64] | None
    genres: list[list[str]] | None
    counts: NDArray[np.int64]
    means: Floats | None

    def __len__(self) -> int:
        return len(self.codes)


class Described(NamedTuple):
    """What a table says of items, by column; None where it lacks the column, or the entry."""

    ids: Array
    titles: list[Any] | None
    years: list[Any] | None
    genres: list[Any] | None


def read_items(model: LatentFactors, items: Any, min_ratings: int, noun: str) -> Items:
    """Return the items of a model that have something to show, with what is known of them.

    Parameters
    ----------
    model : fitted LatentFactors
    items, min_ratings
        As of `write`.
    noun : str
        What the items are called, for messages.
    """
    counts = np.asarray(model.item_counts_)
    codes = np.flatnonzero(model._items.has_data & (counts >= min_ratings))
    if not len(codes):
        raise ValueError(
            f"min_ratings is {min_ratings}, but the most rated of the {len(counts)} {noun} has {int(counts.max())} ratings; set "
            f"it to at most {int(counts.max())}"
        )
    ids = model.item_ids_[codes]
    titles, years, genres = describe(model, items, codes)
    means = mean_ratings(model)
    return Items(codes, ids, titles, years, genres, counts[codes], None if means is None else means[codes])


def describe(
    model: LatentFactors, items: Any, codes: NDArray[np.int64]
) -> tuple[list[str], NDArray[np.int64] | None, list[list[str]] | None]:
    """Return titles, years and genres of the items with these codes."""
    said = describe_items(model, items)
    rows = np.full(len(model._items), -1)
    # Items that the model does not know have no place on the map.
    known = np.asarray(model._items.ids.codes(said.ids, "items")) if len(said.ids) else np.empty(0, np.int64)
    rows[known[known >= 0]] = np.flatnonzero(known >= 0)
    places = rows[codes].tolist()

    def column(values: list[Any] | None) -> list[Any]:
        return [None if values is None or place < 0 else values[place] for place in places]

    ids = model.item_ids_[codes].tolist()
    titles = [str(one) if text is None else str(text) for one, text in zip(ids, column(said.titles), strict=True)]
    years = [read_year(year) for year in column(said.years)]
    if said.years is None:
        # Titles such as "The Matrix (1999)" bring the year with them.
        split = [split_year(title) for title in titles]
        titles, years = [title for title, _ in split], [year or UNKNOWN_YEAR for _, year in split]
    genres = None
    if said.genres is not None:
        from alsx.plot._embedding import genre_lists

        genres = genre_lists(column(said.genres), None)
    texts = [" ".join(title.split()) or str(one) for one, title in zip(ids, titles, strict=True)]
    array = np.array(years, np.int64)
    return texts, array if array.any() else None, genres if genres is not None and any(genres) else None


def describe_items(model: LatentFactors, items: Any) -> Described:
    """Return what `items` says, whatever kind of table it is; None is what the model itself has."""
    if items is None:
        known = model._titles
        if known is None:
            return Described(model.item_ids_[:0], None, None, None)
        return Described(known.ids.values, known.texts.tolist(), None, None)
    if isinstance(items, MovieLens):
        ids = items.items["item"].to_numpy()
        columns = {name: items.items[name].to_pylist() for name in ("year", "genres")}
        return Described(ids, items.titles(ids), columns["year"], columns["genres"])
    if not is_frame(items):
        raise TypeError(
            f"items is of type {type(items).__name__}; it must be a data frame with a column of items and columns such as title, "
            "year and genres, or what load_movielens returns"
        )
    ids, found = described_rows(items, "item", "items")
    parts = [found[name].to_pylist() if name in found else None for name in ("title", "year", "genres")]
    if parts == [None, None, None]:
        raise ValueError("items has none of the columns title, year and genres; rename those that hold them")
    return Described(ids, *parts)


def read_year(value: Any) -> int:
    """Return a year as a whole number; `UNKNOWN_YEAR` for what is missing."""
    if value is None or value != value or value == "":
        return UNKNOWN_YEAR
    try:
        year = int(float(value))
    except (TypeError, ValueError):
        raise ValueError(f"items has the year {value!r}; it must be a number such as 1999, or missing") from None
    if not MIN_YEAR <= year <= MAX_YEAR:
        raise ValueError(f"items has the year {value!r}; it must be from {MIN_YEAR} to {MAX_YEAR}, or missing")
    return year


def mean_ratings(model: LatentFactors) -> Floats | None:
    """Return the (weighted) mean rating of each item of a model, NaN where it has none.

    None: the model holds no values, as from a file that was saved without ratings, or they are counts.
    """
    seen = model._seen
    if not has_values(seen) or is_implicit(model):
        return None
    weights = np.ones(len(seen.indices)) if seen.weights is None else seen.weights.astype(np.float64)
    n = len(model._items)
    sums = np.bincount(seen.indices, weights * seen.values, minlength=n)
    totals = np.bincount(seen.indices, weights, minlength=n)
    return np.asarray(np.divide(sums, totals, out=np.full(n, np.nan), where=totals > 0))


def is_implicit(model: LatentFactors) -> bool:
    """Return whether a model was fitted to counts, not to ratings."""
    return model._missing is not None and model._missing.confidence is not None


def rating_step(model: LatentFactors) -> float:
    """Return the step between ratings that the page offers.

    It is the smallest gap of the ratings themselves where they are marks of a scale, else a twentieth of their range.
    """
    low, high = model.rating_range_
    span = high - low
    if not span > 0:
        return 1.0
    seen = model._seen
    marks = np.unique(seen.values).astype(np.float64) if has_values(seen) else np.empty(0)
    if len(marks) > 1:
        gap = float(np.diff(marks).min())
        on_scale = np.abs((marks - low) / gap - np.round((marks - low) / gap)).max() < MAX_MARK_ERROR
        if on_scale and span / gap <= MAX_MARKS:
            return gap
    return span / DEFAULT_MARKS


# Ratings with at most so many steps between the lowest and the highest are marks of a scale; float32 marks such as 0.1 are off
# by a rounding.
MAX_MARKS, DEFAULT_MARKS, MAX_MARK_ERROR = 40, 20, 1e-3


def listed_from(counts: Iterable[int]) -> int:
    """Return the number of ratings from which items are shown at first: the factors of little-rated ones are mostly noise.

    Twenty, more in large data (one for each 200,000 of all ratings), fewer where less than fifty items would be left.
    """
    known = np.asarray(counts)
    wanted = max(MIN_RATINGS, int(known.sum()) // RATINGS_PER_MIN_RATING)
    n_listed = min(LISTED_ITEMS, int((known > 0).sum()))
    if not n_listed:
        return 0
    return max(1, min(wanted, int(np.partition(known, -n_listed)[-n_listed])))


MIN_RATINGS, RATINGS_PER_MIN_RATING, LISTED_ITEMS = 20, 200_000, 50

"""The data set that needs no download: real films, simulated ratings.

The films (title, year, genres in MovieLens' vocabulary, series) are facts, in ``demo_films.csv``, the best known
first. The ratings are **made up**: they show what the package does, and say nothing of films or people.

How a rating comes about, in stars: ``r(u, i) = 3.25 + b(u) + c(i) + t(u, i) + noise``, rounded to half stars from 0.5
to 5, where ``b`` and ``c`` are how generous a user and how good a film is, and the taste ``t = p(u) . q(i)`` has three
planted parts:

- genres: eight axes (spectacle, family, dark, ...), each a mixture of genres that some people like and others do not;
- era: users have a favourite time, and like films made near it;
- the rest: six axes nobody named, on which films of one series lie together and other films anywhere.

People see what they like: a user's films are drawn without replacement with weights that grow with the film's fame,
its quality and the user's taste for it. So ratings are missing *not* at random, as in real data.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alsx.datasets.movielens import MovieLens

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]

_N_USERS = 2_000
_SEED = 1895  # the first film show
_MEAN, _USER, _QUALITY, _NOISE = 3.25, 0.35, 0.36, 0.60  # stars; all but the first are standard deviations
_GENRE, _ERA, _REST = 0.50, 0.32, 0.26  # standard deviations of the three parts of taste, in stars
# Who sees what. The log weight of a film falls with the logarithm of its rank, from a later rank than the first, and rises
# with its quality and the user's taste for it (in stars). The logarithm of a user's number of films is normal.
_FAME_EXPONENT, _FAME_RANK_SHIFT, _FAME_NOISE = 0.9, 40.0, 0.35
_QUALITY_WEIGHT, _TASTE_WEIGHT = 0.8, 1.3
_LOG_SEEN_MEAN, _LOG_SEEN_STD, _MIN_SEEN, _MAX_SEEN_SHARE = 3.9, 0.65, 15, 0.6
_EARLIEST, _LATEST = 946_684_800, 1_767_225_600  # ratings are from 2000-01-01 to 2025-12-31 (seconds since 1970, UTC)
_DAY, _YEAR = 86_400, 31_556_952  # seconds

_AXES: tuple[dict[str, float], ...] = (
    {
        "Action": 1.0,
        "Adventure": 0.7,
        "Sci-Fi": 0.3,
        "Thriller": 0.3,
        "Drama": -0.6,
        "Romance": -0.5,
        "Documentary": -0.5,
    },
    {
        "Children": 1.0,
        "Animation": 1.0,
        "Musical": 0.4,
        "Fantasy": 0.3,
        "Crime": -0.4,
        "Horror": -0.4,
        "Thriller": -0.4,
    },
    {
        "Crime": 1.0,
        "Film-Noir": 1.0,
        "Mystery": 0.7,
        "Thriller": 0.6,
        "Fantasy": -0.4,
        "Musical": -0.4,
        "Children": -0.3,
    },
    {"Romance": 1.0, "Musical": 0.8, "Comedy": 0.3, "Horror": -0.3, "War": -0.3, "Sci-Fi": -0.3},
    {"Sci-Fi": 1.0, "Fantasy": 0.8, "Adventure": 0.2, "Crime": -0.4, "War": -0.4, "Western": -0.3, "Drama": -0.3},
    {"Comedy": 1.0, "Drama": -0.4, "War": -0.4, "Thriller": -0.3, "Mystery": -0.3},
    {"War": 1.0, "Documentary": 0.9, "Western": 0.7, "Drama": 0.5, "Comedy": -0.3, "Fantasy": -0.3},
    {"Horror": 1.2, "Thriller": 0.3, "Mystery": 0.2, "Romance": -0.2, "Musical": -0.2, "Children": -0.2},
)


def load_demo() -> MovieLens:
    """Load well-known films with simulated ratings: no download, the same ones at every call.

    Returns
    -------
    MovieLens
        747 films and some 120,000 ratings by 2,000 users, in half stars from 0.5 to 5, at least 15 of each user, with
        timestamps; ``simulated`` is True. `items` has a column ``series`` (null where there is none). No tags, no
        demographics.

    Notes
    -----
    Drawn with `numpy.random.RandomState`, whose streams NumPy keeps the same for good (NEP 19), so the ratings do not
    change with NumPy's version; platforms may differ in single ratings where rounding does. What is planted is
    described in the module ``alsx.datasets.demo``.

    Examples
    --------
    >>> from alsx.datasets import load_demo
    >>> data = load_demo()
    >>> data.titles([1, 2, 3])
    ['Toy Story', 'The Matrix', 'Pulp Fiction']
    >>> data.simulated
    True
    """
    table, items = _tables()  # tables are immutable, so copies can share them
    return MovieLens("demo", table, items, simulated=True)


@functools.cache
def _tables() -> tuple[pa.Table, pa.Table]:
    """Return the ratings and the films."""
    import pyarrow as pa

    films = _films()
    user, row, rating, timestamp = _simulate(films)
    item = np.array([film["item"] for film in films], np.int32)
    table = pa.table({"user": user, "item": item[row], "rating": rating, "timestamp": timestamp})
    kinds = {
        "item": pa.int32(),
        "title": pa.string(),
        "year": pa.int32(),
        "genres": pa.list_(pa.string()),
        "series": pa.string(),
    }
    return table, pa.table({name: pa.array([film[name] for film in films], kind) for name, kind in kinds.items()})


def _films() -> list[dict[str, Any]]:
    """Read the films, the best known first."""
    text = importlib.resources.files("alsx.datasets").joinpath("demo_films.csv").read_text("utf-8")
    return [
        {
            "item": int(film["item"]),
            "title": film["title"],
            "year": int(film["year"]),
            "genres": film["genres"].split("|"),
            "series": film["series"] or None,
        }
        for film in csv.DictReader(text.splitlines())
    ]


def _simulate(
    films: list[dict[str, Any]],
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return users, rows of `films`, ratings and timestamps, by user and then by time."""
    random = np.random.RandomState(_SEED)
    n_items = len(films)
    year = np.array([film["year"] for film in films], np.float64)

    quality = _QUALITY * random.standard_normal(n_items)
    generosity = _USER * random.standard_normal(_N_USERS)
    taste = _GENRE * _scaled(random.standard_normal((_N_USERS, len(_AXES))) @ _genre_axes(films).T)
    taste += _ERA * _scaled(_era(random, year))
    taste += _REST * _scaled(random.standard_normal((_N_USERS, 6)) @ _unnamed_axes(films, random).T)

    user, item = _seen(random, quality, taste)
    stars = _MEAN + generosity[user] + quality[item] + taste[user, item] + _NOISE * random.standard_normal(user.size)
    rating = np.clip(np.round(2 * stars) / 2, 0.5, 5.0).astype(np.float32)
    timestamp = _times(random, user, year[item])
    by_time = np.lexsort((item, timestamp, user))
    return (user[by_time] + 1).astype(np.int32), item[by_time], rating[by_time], timestamp[by_time]


def _seen(random: np.random.RandomState, quality: Array, taste: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw who sees what: users and rows of films, by user."""
    n_items = len(quality)
    fame = -_FAME_EXPONENT * np.log(np.arange(n_items) + _FAME_RANK_SHIFT) + _FAME_NOISE * random.standard_normal(
        n_items
    )
    weight = fame + _QUALITY_WEIGHT * quality + _TASTE_WEIGHT * taste
    log_seen = _LOG_SEEN_MEAN + _LOG_SEEN_STD * random.standard_normal(_N_USERS)
    n_seen = np.clip(np.exp(log_seen), _MIN_SEEN, _MAX_SEEN_SHARE * n_items).astype(np.int64)
    # A sample without replacement with these weights by Gumbel's trick: the n largest of the logarithms with Gumbel noise.
    order = np.argsort(-(weight - np.log(-np.log(random.random_sample(weight.shape)))), axis=1, kind="stable")
    return np.repeat(np.arange(_N_USERS), n_seen), order[np.arange(n_items) < n_seen[:, None]]


def _times(random: np.random.RandomState, user: NDArray[np.int64], year: Array) -> NDArray[np.int64]:
    """Draw when each rating was given, of films of these years.

    A user comes at some time, rates some films at once and others over days to years; nobody rates a film before its
    release.
    """
    start = _EARLIEST + (_LATEST - _EARLIEST) * random.random_sample(_N_USERS)
    later = np.exp(random.uniform(np.log(30.0), np.log(2.0 * _YEAR), user.size))  # seconds
    released = (year - 1969) * _YEAR  # the end of the year of release
    when = np.minimum(np.maximum(start[user] + later, released + _DAY * random.uniform(0, 300, user.size)), _LATEST - 1)
    return np.asarray(when.astype(np.int64))


def _scaled(taste: Array) -> Array:
    """Return it with a standard deviation of one over all pairs."""
    return np.asarray(taste / taste.std())


def _genre_axes(films: list[dict[str, Any]]) -> Array:  # (n_items, 8)
    """Return what each film has of each axis of genres."""
    axes = np.array([[sum(axis.get(genre, 0.0) for genre in film["genres"]) for axis in _AXES] for film in films])
    # Films of many genres would be liked and disliked more than others: all get the same length.
    length = np.linalg.norm(axes, axis=1, keepdims=True)
    return np.asarray(axes / np.maximum(length, 0.5))


def _era(random: np.random.RandomState, year: Array) -> Array:  # (n_users, n_items)
    """Return the liking for a film's time: smooth bumps over the years, at the film's year and at the user's favourite one."""
    centres = np.array([1930.0, 1952.0, 1972.0, 1990.0, 2012.0])

    def bumps(years: Array) -> Array:
        return np.asarray(np.exp(-0.5 * ((years[:, None] - centres) / 13.0) ** 2))

    favourite = 2020.0 - np.minimum(random.gamma(2.2, 14.0, _N_USERS), 95.0)
    liking = bumps(favourite)
    return np.asarray((liking - liking.mean(axis=0)) @ bumps(year).T)


def _unnamed_axes(films: list[dict[str, Any]], random: np.random.RandomState) -> Array:  # (n_items, 6)
    """Draw what each film has of the axes without a name; films of one series lie together."""
    own = random.standard_normal((len(films), 6))
    series = sorted({film["series"] for film in films if film["series"]})
    shared = dict(zip(series, 1.5 * random.standard_normal((len(series), 6)), strict=True))
    return np.array(
        [shared[f["series"]] + 0.3 * o if f["series"] else 0.5 * o for f, o in zip(films, own, strict=True)]
    )

"""Simulated ratings with a planted truth, up to the size of MovieLens 32M.

The model, in the letters of the package: ``r = mu + b_u + c_i + p_u . q_i + noise``, rounded and clipped to a scale.
Who rates what does not depend on taste here: users' activity is log-normal and items' popularity a shifted power law,
as in MovieLens, and a user's items are drawn one after another without replacement.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from alsx import _check
from alsx.typing import DType

if TYPE_CHECKING:
    from alsx.ratings import Ratings

_BLOCK_RATINGS = 1 << 20  # made at a time
_MIN_USER_RATINGS = 20  # as in MovieLens, where the sizes allow
# As shares of the width of the scale, about as in MovieLens, whose scale is 4.5 stars wide: noise 0.72 stars, and so on.
_MEAN_SHARE = 0.675
_SPREAD_SHARES = {"noise": 0.16, "user_std": 0.42 / 4.5, "item_std": 0.1, "taste_std": 0.55 / 4.5}
_FACTOR_DECAY = 0.9  # variance of a factor over that of the one before
# MovieLens' most popular films are not as far ahead as a pure power law has them: it starts at a later rank.
_ITEMS_PER_RANK_SHIFT = 1460.0
_HEAVY_PART = 20  # users who rate more than this part of the catalogue, a 20th, are drawn by exponential times


class Truth(NamedTuple):
    """What `make_ratings` planted. Ids are row numbers: ``user_biases[R.user_ids]`` belongs to the codes of ``R``."""

    mean: float
    """Rating units."""
    user_biases: NDArray[np.float32]
    """(n_users,), rating units."""
    item_biases: NDArray[np.float32]
    """(n_items,), rating units."""
    user_factors: NDArray[np.float32]
    """(n_users, k)."""
    item_factors: NDArray[np.float32]
    """(n_items, k)."""
    noise: float
    """Standard deviation of the noise before rounding and clipping, rating units."""


@overload
def make_ratings(
    n_users: int = ...,
    n_items: int = ...,
    n_ratings: int = ...,
    *,
    k: int = ...,
    noise: float | None = ...,
    user_std: float | None = ...,
    item_std: float | None = ...,
    taste_std: float | None = ...,
    mean: float | None = ...,
    scale: tuple[float, float] = ...,
    step: float | None = ...,
    clip: bool = ...,
    activity: float = ...,
    popularity: float = ...,
    dtype: DType = ...,
    random_state: int | np.random.Generator | None = ...,
    return_truth: Literal[False] = ...,
) -> Ratings: ...


@overload
def make_ratings(
    n_users: int = ...,
    n_items: int = ...,
    n_ratings: int = ...,
    *,
    k: int = ...,
    noise: float | None = ...,
    user_std: float | None = ...,
    item_std: float | None = ...,
    taste_std: float | None = ...,
    mean: float | None = ...,
    scale: tuple[float, float] = ...,
    step: float | None = ...,
    clip: bool = ...,
    activity: float = ...,
    popularity: float = ...,
    dtype: DType = ...,
    random_state: int | np.random.Generator | None = ...,
    return_truth: Literal[True],
) -> tuple[Ratings, Truth]: ...


def make_ratings(
    n_users: int = 1_000,
    n_items: int = 500,
    n_ratings: int = 50_000,
    *,
    k: int = 8,
    noise: float | None = None,
    user_std: float | None = None,
    item_std: float | None = None,
    taste_std: float | None = None,
    mean: float | None = None,
    scale: tuple[float, float] = (0.5, 5.0),
    step: float | None = 0.5,
    clip: bool = True,
    activity: float = 1.35,
    popularity: float = 1.25,
    dtype: DType = "float32",
    random_state: int | np.random.Generator | None = 0,
    return_truth: bool = False,
) -> Ratings | tuple[Ratings, Truth]:
    """Simulate ratings with planted biases, low-rank tastes and noise.

    Parameters
    ----------
    n_users, n_items, n_ratings : int, default=1000, 500, 50000
        Exactly so many ratings, no pair twice. With at least as many ratings as users (items), every user (item) has
        one. MovieLens 32M has 200948, 87585 and 32000204.
    k : int, default=8
        Rank of the tastes; the n-th factor has 0.9 times the variance of the one before. 0 for none.
    noise, user_std, item_std, taste_std : float, default=None
        Standard deviations of the noise, of the biases and of ``p_u . q_i``, in rating units. By default 0.16, 0.093,
        0.1 and 0.122 of the width of the scale: 0.72, 0.42, 0.45 and 0.55 stars on the default one, about as in
        MovieLens.
    mean : float, default=None
        The mean before clipping. By default 0.675 of the way up the scale: 3.54 stars.
    scale : (float, float), default=(0.5, 5.0)
        Lowest and highest rating.
    step : float or None, default=0.5
        Ratings are rounded to the lowest rating plus a multiple of this. None does not round.
    clip : bool, default=True
        Whether ratings are clipped to the scale. Without clipping and rounding the planted model holds exactly.
    activity : float, default=1.35
        Standard deviation of the logarithm of users' numbers of ratings. 0 makes all alike.
    popularity : float, default=1.25
        Exponent of the power law of items' popularity. 0 makes all alike.
    dtype : {"float32", "float64"}, default="float32"
        Of the ratings.
    random_state : int, numpy.random.Generator or None, default=0
        The same seed gives the same ratings with one version of NumPy.
    return_truth : bool, default=False
        Whether to return what was planted as well.

    Returns
    -------
    ratings : alsx.Ratings
        User ids are 0 to ``n_users - 1``, item ids 0 to ``n_items - 1``.
    truth : Truth
        Only if ``return_truth``.

    Raises
    ------
    ValueError
        A parameter is out of its range, or there are more ratings asked for than pairs.

    Notes
    -----
    Ratings are made in blocks of about a million, so the memory at the size of MovieLens 32M is that of the result and
    of what `alsx.Ratings` needs to build it.

    Examples
    --------
    >>> from alsx.datasets import make_ratings
    >>> R, truth = make_ratings(100, 50, 1_000, k=3, return_truth=True)
    >>> R.shape, R.n_ratings, truth.item_factors.shape
    ((100, 50), 1000, (50, 3))
    """
    from alsx.ratings import Ratings

    n_users, n_items, n_ratings, k = _checked_sizes(n_users, n_items, n_ratings, k)
    low, high = _checked_scale(scale, step)
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype is {dtype!r}; it must be 'float32' or 'float64'")
    spread = _spreads(high - low, noise=noise, user_std=user_std, item_std=item_std, taste_std=taste_std)
    _check_spread("activity", activity)
    _check_spread("popularity", popularity)

    random = np.random.default_rng(random_state)
    truth = _plant(
        random, n_users, n_items, k, spread, low + _MEAN_SHARE * (high - low) if mean is None else float(mean)
    )
    users = np.empty(n_ratings, np.int32)
    items = np.empty(n_ratings, np.int32)
    ratings = np.empty(n_ratings, dtype)
    start = 0
    for user, item in _pairs(random, n_users, n_items, n_ratings, activity, popularity):
        block = slice(start, start := start + user.size)
        users[block], items[block] = user, item
        value = _rate(random, truth, user, item)
        if step is not None:
            value = low + step * np.round((value - low) / step)
        ratings[block] = np.clip(value, low, high) if clip else value
    made = Ratings.from_arrays(users, items, ratings, dtype=dtype)
    return (made, truth) if return_truth else made


def _checked_sizes(n_users: int, n_items: int, n_ratings: int, k: int) -> tuple[int, int, int, int]:
    """Return the sizes as Python's integers, if there are ratings of such sizes."""
    n_users, n_items = _check.integer("n_users", n_users, 1), _check.integer("n_items", n_items, 1)
    n_ratings, k = _check.integer("n_ratings", n_ratings, 1), _check.integer("k", k, 0)
    if n_ratings > n_users * n_items:
        raise ValueError(
            f"n_ratings is {n_ratings}; it must be at most the number of pairs of {n_users} users and {n_items} items, "
            f"{n_users * n_items}"
        )
    return n_users, n_items, n_ratings, k


def _checked_scale(scale: tuple[float, float], step: float | None) -> tuple[float, float]:
    """Return the lowest and the highest rating."""
    low, high = map(float, scale)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"scale is {scale}; it must be two numbers, the lowest rating and a higher one")
    if step is not None and not 0 < step <= high - low:
        raise ValueError(f"step is {step}; it must be positive and at most the width of the scale, {high - low:g}")
    return low, high


def _spreads(width: float, **given: float | None) -> dict[str, float]:
    """Return the standard deviations in rating units, for a scale of this width."""
    for name, spread in given.items():
        _check_spread(name, spread)
    return {name: _SPREAD_SHARES[name] * width if spread is None else float(spread) for name, spread in given.items()}


def _check_spread(name: str, value: float | None) -> None:
    """Refuse what is not a standard deviation, an exponent or None."""
    if value is not None and not 0 <= float(value) < math.inf:
        raise ValueError(f"{name} is {value}; it must be a number that is not negative")


def _rate(
    random: np.random.Generator, truth: Truth, user: NDArray[np.int32], item: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return the ratings of these pairs, before rounding and clipping."""
    value = truth.mean + truth.user_biases[user] + truth.item_biases[item]
    value += np.einsum("nk,nk->n", truth.user_factors[user], truth.item_factors[item])
    return np.asarray(value + truth.noise * random.standard_normal(user.size))


def _plant(
    random: np.random.Generator, n_users: int, n_items: int, k: int, spread: dict[str, float], mean: float
) -> Truth:
    """Draw biases and factors, with the standard deviations of `spread`."""
    user_biases = np.float32(spread["user_std"]) * random.standard_normal(n_users, dtype=np.float32)
    item_biases = np.float32(spread["item_std"]) * random.standard_normal(n_items, dtype=np.float32)
    # Var(p . q) is the sum of the factors' variances, each split evenly between the sides.
    variance = _FACTOR_DECAY ** np.arange(k)
    variance *= spread["taste_std"] ** 2 / max(float(variance.sum()), 1.0)
    root = (variance**0.25).astype(np.float32)
    p = random.standard_normal((n_users, k), dtype=np.float32) * root
    q = random.standard_normal((n_items, k), dtype=np.float32) * root
    return Truth(mean, user_biases, item_biases, p, q, spread["noise"])


def _pairs(
    random: np.random.Generator, n_users: int, n_items: int, n_ratings: int, activity: float, popularity: float
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """Yield pairs of users and items in blocks, by user and then by item, none twice, `n_ratings` in all."""
    at_least = max(int(n_ratings >= n_users), min(_MIN_USER_RATINGS, n_ratings // n_users // 4))
    counts = _shares(random.lognormal(0.0, activity, n_users), n_ratings, at_least, n_items)
    weight = (np.arange(n_items, dtype=np.float64) + 1.0 + n_items / _ITEMS_PER_RANK_SHIFT) ** -popularity
    weight = weight[random.permutation(n_items)]
    cumulated = np.cumsum(weight)
    cumulated /= cumulated[-1]

    # Every item gets one of the ratings, wherever there are enough of them.
    ends = np.cumsum(counts)
    sure_users = sure_items = np.empty(0, np.int64)
    if n_ratings >= n_items:
        places = np.sort(random.choice(n_ratings, n_items, replace=False, shuffle=False))
        sure_users = np.searchsorted(ends, places, side="right")
        sure_items = random.permutation(n_items)
    first = 0
    while first < n_users:
        done = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + _BLOCK_RATINGS, side="right")))
        sure = slice(*np.searchsorted(sure_users, (first, last)))
        keys = np.sort((sure_users[sure] - first) * n_items + sure_items[sure])
        keys = _draw(random, counts[first:last], n_items, weight, cumulated, keys)
        yield (keys // n_items + first).astype(np.int32), (keys % n_items).astype(np.int32)
        first = last


def _shares(weights: NDArray[np.float64], total: int, low: int, high: int) -> NDArray[np.int64]:
    """Return whole numbers from `low` to `high` that add up to `total`, above `low` in proportion to the weights."""
    small, large = 0.0, (high - low + 1) / float(weights.min())
    for _ in range(100):  # bisection for the factor of proportion, to the last bit
        factor = (small + large) / 2
        if np.minimum(low + factor * weights, high).sum() < total:
            small = factor
        else:
            large = factor
    exact = np.minimum(low + small * weights, high)
    shares = np.floor(exact).astype(np.int64)
    while missing := total - int(shares.sum()):  # the largest remainders get one more
        exact[shares >= high] = -np.inf
        shares[np.argsort(shares - exact, kind="stable")[:missing]] += 1
    return shares


def _draw(
    random: np.random.Generator,
    counts: NDArray[np.int64],
    n_items: int,
    weight: NDArray[np.float64],
    cumulated: NDArray[np.float64],
    keys: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return sorted keys ``user * n_items + item``, ``counts[user]`` of each user, those in `keys` among them.

    Drawing with replacement until enough are distinct is drawing one after another without replacement. For users who
    rate much of the catalogue that takes forever; for them the smallest of the exponential times with the items'
    weights as rates are the same in distribution.
    """
    user_of = keys // n_items
    heavy = counts > n_items // _HEAVY_PART
    complete = []
    for row in np.flatnonzero(heavy):
        times = random.standard_exponential(n_items) / weight
        times[keys[slice(*np.searchsorted(user_of, (row, row + 1)))] - row * n_items] = -1.0
        n = int(counts[row])
        chosen = np.arange(n_items) if n == n_items else np.argpartition(times, n - 1)[:n]
        complete.append(row * n_items + chosen)
    wanted = np.where(heavy, 0, counts)
    keys = keys[~heavy[user_of]]
    while True:
        missing = wanted - np.bincount(keys // n_items, minlength=counts.size)
        if not missing.any():
            return np.sort(np.concatenate([keys, *complete]))
        user = np.repeat(np.arange(counts.size), missing)
        item = np.searchsorted(cumulated, random.random(user.size), side="right")
        fresh = np.unique(user * n_items + item)
        if keys.size:
            place = np.minimum(np.searchsorted(keys, fresh), keys.size - 1)
            fresh = fresh[keys[place] != fresh]
        keys = np.sort(np.concatenate([keys, fresh]), kind="stable")  # two sorted runs: one merge

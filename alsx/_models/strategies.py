"""What an item is judged by in a list: each strategy turns users into scores for `top_n.best`.

A new strategy is a function in `STRATEGIES`. One that adds a constant to each item's score returns
``product.plus(constants)`` of the `Product` of another one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx import _check
from alsx._models.fitted import FittedModel
from alsx._models.propensity import density_directions
from alsx._models.side import FittedSide, Packed
from alsx._models.top_n import Bounded, Mask, Pairwise, Product, Scores
from alsx._solver.tables import factor_table
from alsx._solver.uncertainty import Uncertainty

Array = NDArray[Any]
Floats = NDArray[np.float64]


class Query(NamedTuple):
    """Whose lists are wanted, and how.

    Parameters
    ----------
    users : ndarray of int32, shape (m,)
        Codes; -1 for unknown users.
    allowed : ndarray of bool, shape (n_items,), or None
        Which items may appear in any list; None for all.
    n_std : float
    random_state
        As of `recommend`.
    n_threads : int
    """

    users: Array
    allowed: Mask | None
    n_std: float
    random_state: Any
    n_threads: int


def by_mean(model: FittedModel, query: Query) -> Product:
    """Predicted ratings."""
    side, k = model._users, model._k
    base = np.where(query.users >= 0, side.table[query.users, k], side.cold_start_vector[k]).astype(np.float64)
    return Product(side.vectors(query.users), k, base + model.mean_, model._items.packed(query.n_threads))


def by_propensity(model: FittedModel, query: Query) -> Product:
    """Predicted ratings plus the log of how likely users rate the items, on the scale of the errors of predictions."""
    product, items, k = by_mean(model, query), model._items, model._k
    unit = model.history_["train_rmse"][-1]
    vectors, found = product.vectors.copy(), items.directions
    # Factors next to 0, as of an absurd regularisation, tell nothing of anybody, and their vectors would be no numbers.
    if k > 0 and unit < found.length * np.sqrt(np.finfo(vectors.dtype).max):
        vectors[:, :k] += unit / found.length * density_directions(found, model._seen, query.users)
    return product._replace(vectors=vectors, packed=items.packed_with_counts(unit, query.n_threads))


def by_lower_limit(model: FittedModel, query: Query) -> Bounded:
    """Predictions minus standard deviations of what is not known."""
    return _by_limit(model, query, -query.n_std, "lower")


def by_upper_limit(model: FittedModel, query: Query) -> Bounded:
    """Predictions plus standard deviations of what is not known."""
    return _by_limit(model, query, query.n_std, "upper")


def _by_limit(model: FittedModel, query: Query, n_std: float, strategy: str) -> Bounded:
    """Predictions plus `n_std` standard deviations of what more ratings would tell."""
    uncertainty, sigma = _uncertainty(model, strategy, query.n_threads)
    users, items = model._users, model._items

    def score(part: slice, codes: Array) -> Floats:
        own = query.users[part]
        pairs = np.repeat(own, len(codes)).astype(np.int32), np.tile(codes, len(own)).astype(np.int32)
        mean = model._predict_codes(*pairs, clip=False)
        variances = uncertainty.of_pairs(*pairs, users, items, query.n_threads)[1]
        return np.asarray(mean + n_std * np.sqrt(variances)).reshape(len(own), len(codes))

    pairwise = Pairwise(len(items), score)
    return Bounded(by_mean(model, query), pairwise, uncertainty, query.users, n_std, sigma**2, query.n_threads)


def by_draw(model: FittedModel, query: Query) -> Product:
    """Predictions of one draw from the posterior, the same for all lists (Thompson sampling)."""
    uncertainty, sigma = _uncertainty(model, "thompson", query.n_threads)
    users, items, k, n_threads = model._users, model._items, model._k, query.n_threads
    generator = _check.generator(query.random_state)
    seed = int(generator.integers(2**63))
    wanted = np.zeros(len(users), bool)
    wanted[query.users[query.users >= 0]] = True
    allowed = np.ones(len(items), bool) if query.allowed is None else query.allowed
    drawn_users = uncertainty.users.draw(users.table, wanted, model.mean_, sigma, seed, 0, n_threads)
    drawn_items = uncertainty.items.draw(items.table, allowed, model.mean_, sigma, seed, 1, n_threads)
    cold_start = uncertainty.users.draw_cold_start(sigma, generator)
    vectors = factor_table(len(query.users), k, users.table.dtype)
    known = query.users >= 0
    vectors[:, : k + 1] = np.where(known[:, None], drawn_users[query.users, : k + 1], cold_start)
    base = np.where(known, drawn_users[query.users, k], cold_start[k]).astype(np.float64)
    return Product(vectors, k, base + model.mean_, Packed.of(drawn_items, k, n_threads))


def _uncertainty(model: FittedModel, strategy: str, n_threads: int) -> tuple[Uncertainty, float]:
    """Return a model's uncertainty and the standard deviation of the noise, for a strategy that needs to know them."""
    if model._missing is not None:
        raise ValueError(
            f'strategy is "{strategy}", but scores of {type(model).__name__} have no standard deviation: use strategy="mean", or '
            "FactorALS"
        )
    model._refuse_ordinal(f'strategy is "{strategy}"')
    uncertainty = model._uncertainty_of_fit()
    sigma = float(np.sqrt(uncertainty.noise(n_threads).sigma2))
    if not np.isfinite(sigma):
        raise ValueError(
            f'strategy is "{strategy}", but the model was fitted to too few ratings to tell their noise: use '
            'strategy="mean", or fit it to more'
        )
    return uncertainty, sigma


STRATEGIES: dict[str, Callable[[FittedModel, Query], Scores]] = {
    "propensity": by_propensity,
    "mean": by_mean,
    "lower": by_lower_limit,
    "upper": by_upper_limit,
    "thompson": by_draw,
}


def check_strategy(strategy: Any) -> str:
    """Return the name of a strategy that there is."""
    if not isinstance(strategy, str) or strategy not in STRATEGIES:
        *others, last = (f'"{name}"' for name in STRATEGIES)
        raise ValueError(f"strategy is {strategy!r}; it must be {', '.join(others)} or {last}")
    return strategy


def by_cosine(side: FittedSide, rows: Array, n_threads: int) -> Product:
    """Cosines of the angles between the factors of rows and those of all rows of a side; -1 is the cold-start vector."""
    vectors = factor_table(len(rows), side.k, side.table.dtype)
    np.take(side.unit_vectors, rows, axis=0, out=vectors, mode="wrap")
    if (rows < 0).any():
        factors = side.cold_start_vector[: side.k]
        vectors[rows < 0, : side.k] = factors / (np.linalg.norm(factors) or 1.0)
    return Product(vectors, side.k, np.zeros(len(rows)), side.packed_unit_vectors(n_threads))

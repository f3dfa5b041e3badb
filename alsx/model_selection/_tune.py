"""Choosing parameters on an inner split, by successive halving."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from alsx import _check
from alsx.metrics import evaluate
from alsx.model_selection._split import train_test_split
from alsx.ratings import Ratings
from alsx.typing import By, RatingsLike

# What is tried by default, of parameters that the model has. Regularisations are in units in which ratings have standard
# deviation 1, so that they are good for any scale; None is the model's own default.
DEFAULT_GRID: dict[str, tuple[Any, ...]] = {"k": (10, 20, 40, 80), "reg": (None, 0.65, 0.9, 1.3, 1.8, 2.6)}

# Of these less is better.
LESS_IS_BETTER = ("rmse", "mae", "gini")


@dataclass(frozen=True)
class Tuning:
    """What `tune` has found.

    Attributes
    ----------
    best_params : dict of str to object
        For ``model.set_params(**best_params)``.
    best_score : float
        Of the validation part.
    table : dict of str to list
        A row for each fit, in the order in which they were made: "rung", the parameters, the resource, "score", "seconds" (of fit
        and measure) and "kept", whether the candidate went on to the next rung. ``pandas.DataFrame(table)`` shows it.
    """

    best_params: dict[str, Any]
    best_score: float
    table: dict[str, list[Any]]


def tune(
    model: Any,
    ratings: RatingsLike,
    param_grid: Mapping[str, Sequence[Any]] | None = None,
    *,
    metric: str = "rmse",
    n: int = 10,
    min_rating: float | None = None,
    validation_size: float = 0.1,
    by: By = "random",
    n_candidates: int | None = None,
    resource: str | None = "max_iter",
    min_resource: int = 5,
    factor: int = 2,
    random_state: int = 0,
    fit: Mapping[str, Any] | None = None,
    recommend: Mapping[str, Any] | None = None,
) -> Tuning:
    """Choose parameters on an inner split of the training ratings, by successive halving.

    All candidates are fitted with a few iterations; the best half of them goes on with twice as many, and so on up to the model's
    own number. The best row of all is taken, so that the number of iterations is chosen too. Keep test ratings out of `ratings`.

    Parameters
    ----------
    model : estimator
        What all candidates have in common; it stays as it is.
    ratings : Ratings, or whatever `Ratings` takes alone
        Training ratings, of which a part is held out for validation.
    param_grid : mapping of str to sequence, default=None
        Values of parameters; all combinations are candidates. Default: ranks of 10, 20, 40, 80, and regularisations that are the
        default, 0.65, 0.9, 1.3, 1.8, 2.6 (both are scale-free), as far as the model has these parameters.
    metric : str, default="rmse"
        What is to be best: "rmse", "mae", or one of those of `alsx.metrics.ranking_scores`.
    n : int, default=10
        Cut-off of lists.
    min_rating : float, default=None
        The lowest rating that makes an item relevant, for measures of lists.
    validation_size, by
        Of the inner split, as `train_test_split` takes ``test_size`` and `by`.
    n_candidates : int, default=None
        At most so many candidates, drawn from the grid. Default: all.
    resource : str or None, default="max_iter"
        The parameter that grows from rung to rung. None: all candidates are fitted once.
    min_resource : int, default=5
        Of the first rung, at least; the last rung has the model's own value.
    factor : int, default=2
        By which the resource grows, and the candidates are reduced.
    random_state : int, default=0
        For the split, for candidates that are drawn, and for the fits of a model whose own `random_state` is None: the same call
        gives the same choice.
    fit, recommend : mapping, default=None
        Further arguments of the model's methods.

    Returns
    -------
    Tuning
        With `best_params`, `best_score` and a `table` of all fits.

    Raises
    ------
    TypeError, ValueError
        Where an argument cannot be used, the model lacks a parameter, or as for the split, the fit and the measure.

    References
    ----------
    K. Jamieson, A. Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016, pages
    240-248.

    Examples
    --------
    >>> from alsx import FactorALS
    >>> from alsx.datasets import load_demo
    >>> from alsx.model_selection import tune
    >>> model = FactorALS(max_iter=4)
    >>> tuning = tune(model, load_demo().ratings, {"k": (2, 8), "reg": (1.3, 5.0)}, min_resource=2)
    >>> sorted(tuning.best_params), len(tuning.table["score"])
    (['k', 'max_iter', 'reg'], 6)
    >>> best = model.set_params(**tuning.best_params)
    """
    candidates = _candidates(model, param_grid, n_candidates, random_state)
    if resource in candidates[0]:
        raise ValueError(f"param_grid has {resource!r}, which is the resource: leave it out, or pass resource=None")
    rungs = _rungs(model, resource, min_resource, factor)
    train, validation = train_test_split(ratings, validation_size, by=by, random_state=random_state)
    rows: list[dict[str, Any]] = []
    for rung, amount in enumerate(rungs):
        scores = []
        for params in candidates:
            start = time.perf_counter()
            setting = params if resource is None else params | {resource: amount}
            score = _score(model, setting, train, validation, metric, n, min_rating, random_state, fit, recommend)
            rows.append(
                {"rung": rung, **setting, "score": score, "seconds": time.perf_counter() - start, "kept": False}
            )
            scores.append(score)
        if rung + 1 < len(rungs):
            kept = _best(scores, metric)[: math.ceil(len(candidates) / factor)]
            for place in kept:
                rows[len(rows) - len(candidates) + place]["kept"] = True
            candidates = [candidates[place] for place in sorted(kept)]
    best = rows[_best([row["score"] for row in rows], metric)[0]]
    names = [name for name in rows[0] if name not in ("rung", "score", "seconds", "kept")]
    return Tuning(
        {name: best[name] for name in names}, best["score"], {name: [row[name] for row in rows] for name in rows[0]}
    )


def _candidates(
    model: Any, grid: Mapping[str, Sequence[Any]] | None, most: int | None, seed: Any
) -> list[dict[str, Any]]:
    """Return the settings that are tried."""
    known = model.get_params()
    if grid is None:
        grid = {name: values for name, values in DEFAULT_GRID.items() if name in known}
        if not grid:
            raise ValueError(
                f"param_grid is None, but {type(model).__name__} has none of the parameters {', '.join(DEFAULT_GRID)}: pass one"
            )
    for name, values in grid.items():
        if name not in known:
            raise ValueError(
                f"param_grid has {name!r}, which {type(model).__name__} has not; it has {', '.join(known)}"[:300]
            )
        if isinstance(values, str | bytes) or not hasattr(values, "__len__") or not len(values):
            raise ValueError(f"param_grid[{name!r}] is {values!r}; it must be a list of values")
    if not grid:
        raise ValueError("param_grid is empty; name at least one parameter and its values")
    candidates = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    _check.integer("random_state", seed, 0)
    if most is None or _check.integer("n_candidates", most, 1) >= len(candidates):
        return candidates
    drawn = np.random.default_rng(seed).choice(len(candidates), most, replace=False)
    return [candidates[place] for place in np.sort(drawn)]


def _rungs(model: Any, resource: str | None, least: int, factor: int) -> list[int]:
    """Return the resource of each rung, ascending to the model's own."""
    least, factor = _check.integer("min_resource", least, 1), _check.integer("factor", factor, 2)
    if resource is None:
        return [0]
    params = model.get_params()
    if resource not in params:
        raise ValueError(
            f"resource is {resource!r}, which {type(model).__name__} has not: pass None, or a number of iterations"
        )
    rungs = [_check.integer(resource, params[resource], 1)]
    while rungs[0] // factor >= least:
        rungs.insert(0, rungs[0] // factor)
    return rungs


def _score(
    model: Any,
    setting: dict[str, Any],
    train: Ratings,
    validation: Ratings,
    metric: str,
    n: int,
    min_rating: float | None,
    seed: int,
    fit: Mapping[str, Any] | None,
    recommend: Mapping[str, Any] | None,
) -> float:
    """Return what a setting reaches on the validation part."""
    if not isinstance(metric, str):
        raise TypeError(f"metric is {metric!r}; it must be one name, such as 'rmse' or 'ndcg'")
    fitted = clone(model).set_params(**setting)
    if fitted.get_params().get("random_state", seed) is None:
        fitted.set_params(random_state=seed)
    fitted.fit(train, **(fit or {}))
    scores = evaluate(
        fitted, validation, _check.integer("n", n, 1), metrics=metric, min_rating=min_rating, recommend=recommend
    )
    return float(next(iter(scores.values())))


def _best(scores: Sequence[float], metric: str) -> list[int]:
    """Return places by score, the best first, of equal ones the first; those without a value last."""
    sign = 1 if metric in LESS_IS_BETTER else -1
    return sorted(range(len(scores)), key=lambda place: (math.isnan(scores[place]), sign * scores[place]))

"""Measuring a model on several splits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from alsx import _check
from alsx.metrics import evaluate
from alsx.model_selection._entries import read
from alsx.model_selection._folds import RatingKFold
from alsx.model_selection._split import RatingSplit
from alsx.ratings import Ratings
from alsx.typing import RandomState, RatingsLike

Array = npt.NDArray[Any]


def cross_validate(
    model: Any,
    ratings: RatingsLike,
    *,
    cv: Any = 5,
    n: int | Sequence[int] = 10,
    metrics: str | Sequence[str] | None = None,
    min_rating: float | None = None,
    random_state: RandomState = 0,
    fit: Mapping[str, Any] | None = None,
    recommend: Mapping[str, Any] | None = None,
    return_models: bool = False,
) -> dict[str, Any]:
    """Fit a model to several training parts, and measure errors and lists on the test parts, in one call.

    Parameters
    ----------
    model : estimator
        It is cloned for each split, and stays as it is.
    ratings : Ratings, or whatever `Ratings` takes alone
        All ratings.
    cv : int, splitter, or iterable of (train, test), default=5
        Number of random folds; a `RatingKFold`, `RatingSplit` or splitter of scikit-learn; or pairs of `Ratings`, or of positions
        in ``ratings.by_user``.
    n : int or sequence of int, default=10
        Cut-offs of the lists.
    metrics : str or sequence of str, default=None
        As for `alsx.metrics.evaluate`.
    min_rating : float, default=None
        The lowest test rating that makes an item relevant. Default: every rated item is.
    random_state : None, int, numpy.random.Generator or numpy.random.RandomState, default=0
        Of the folds, where `cv` is an int.
    fit, recommend : mapping, default=None
        Further arguments of the model's methods, such as ``{"item_features": frame}`` and ``{"min_ratings": 5}``.
    return_models : bool, default=False
        Also return the fitted models.

    Returns
    -------
    dict of str to ndarray of float64, shape (n_splits,)
        "fit_time" and "score_time" in seconds, and ``"test_"`` with the name of each measure, such as "test_rmse" and
        "test_ndcg@10"; as scikit-learn's function of this name has them. With `return_models` also "estimator", a list.

    Raises
    ------
    TypeError, ValueError
        As for `alsx.metrics.evaluate` and the splitter; where `cv` is none of the above.

    Examples
    --------
    >>> from alsx import BiasALS
    >>> from alsx.datasets import load_demo
    >>> from alsx.model_selection import cross_validate
    >>> scores = cross_validate(BiasALS(), load_demo().ratings, cv=3, metrics=("rmse", "mae", "ndcg"), min_rating=4)
    >>> sorted(scores)
    ['fit_time', 'score_time', 'test_mae', 'test_ndcg@10', 'test_rmse']
    >>> scores["test_rmse"].shape
    (3,)
    """
    ratings = read(ratings, getattr(cv, "by", "random") if isinstance(cv, RatingSplit | RatingKFold) else "random")
    rows: list[dict[str, Any]] = []
    models = []
    for train, test in _parts_of(ratings, cv, random_state):
        fitted, start = clone(model), time.perf_counter()
        fitted.fit(train, **(fit or {}))
        fit_time = time.perf_counter() - start
        start = time.perf_counter()
        scores = evaluate(fitted, test, n, metrics=metrics, min_rating=min_rating, recommend=recommend)
        row = {"fit_time": fit_time, "score_time": time.perf_counter() - start}
        rows.append(row | {f"test_{name}": float(value) for name, value in scores.items()})
        if return_models:
            models.append(fitted)
    if not rows:
        raise ValueError("cv gives no split: pass at least one")
    table: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return table | ({"estimator": models} if return_models else {})


def _parts_of(ratings: Ratings, cv: Any, random_state: RandomState) -> Iterator[tuple[Ratings, Ratings]]:
    """Return training and test ratings of each split."""
    if not hasattr(cv, "split") and not hasattr(cv, "__iter__"):
        cv = RatingKFold(_check.integer("cv", cv, 2), random_state=random_state)
    if isinstance(cv, RatingSplit | RatingKFold):
        splits = cv.split(ratings)
    elif isinstance(cv, str | bytes) or not hasattr(cv, "split"):
        if isinstance(cv, str | bytes):
            raise TypeError(
                f"cv is {cv!r}; it must be a number of folds, a splitter, or pairs of training and test parts"
            )
        splits = iter(cv)
    else:
        # Another splitter knows nothing of ratings: it sees pairs of codes, as rows.
        users, items, values = ratings.triples()
        splits = cv.split(np.column_stack([users, items]), values)
    return (_as_ratings(ratings, *split) for split in splits)


def _as_ratings(ratings: Ratings, train: Any, test: Any) -> tuple[Ratings, Ratings]:
    """Return the parts of a split, which may be positions, as ratings."""
    return tuple(part if isinstance(part, Ratings) else ratings.select(part) for part in (train, test))  # type: ignore[return-value]

"""How good a model is: its predictions and its lists, all measures from one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from alsx.metrics._errors import mae, rmse
from alsx.metrics._lists import checked_cutoffs, chosen_metrics, named_scores, unit_vectors
from alsx.metrics._ranks import METRICS, WITHOUT_CUT, Catalogue, RankedLists
from alsx.metrics._relevance import of_ratings
from alsx.ratings import Ids, Ratings, as_ratings
from alsx.typing import RatingsLike

Array = npt.NDArray[Any]

ERRORS = {"rmse": rmse, "mae": mae}

# Ids that are listed at a time: 16 MB of them.
LISTED_AT_A_TIME = 2**21


def evaluate(
    model: Any,
    test: RatingsLike,
    n: int | Sequence[int] = 10,
    *,
    metrics: str | Sequence[str] | None = None,
    min_rating: float | None = None,
    item_vectors: Any = None,
    recommend: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Errors of a model's predictions and measures of its lists, at several cut-offs, from one call.

    Lists are full rankings: of all items that the model may recommend, but for those that the user rated in training, with no
    sampling of items. They are asked for in blocks of users, so that memory does not grow with their number.

    Parameters
    ----------
    model : fitted estimator
        One of this package, or what has `predict` and `recommend` like them.
    test : Ratings, or whatever `Ratings` takes alone
        Held-out ratings. Users of whom it has no relevant item get no list.
    n : int or sequence of int, default=10
        Cut-offs of the lists.
    metrics : str or sequence of str, default=None
        "rmse", "mae", and those of `ranking_scores`. Default: all but "r_precision" and "auc", which need longer lists, "auc" of
        all items for each user; "diversity" only with `item_vectors`; "rmse" and "mae" only where the model predicts ratings.
    min_rating : float, default=None
        The lowest test rating that makes an item relevant. Default: every rated item is.
    item_vectors : ndarray or sparse matrix, shape (n_items, d), default=None
        A vector for each of ``model.item_ids_``, for "diversity".
    recommend : mapping, default=None
        Further arguments of ``model.recommend``, such as ``{"min_ratings": 5}``.

    Returns
    -------
    dict of str to float
        By measure and cut-off, such as "rmse", "ndcg@10". `alsx.metrics` has the definitions. Means over users are `Score`: floats
        that know the values by user, in the order of the users that have relevant items.

    Raises
    ------
    TypeError, ValueError
        As for `ranking_scores` and ``model.recommend``.

    See Also
    --------
    ranking_scores : The same for lists that are there already.
    alsx.model_selection.cross_validate : The same for several splits.

    Examples
    --------
    >>> from alsx.metrics import evaluate, relevant_items
    >>> from alsx.ratings import Ratings
    >>> class Same:  # recommends 7 and 8 to everybody
    ...     item_ids_, item_counts_, user_ids_ = [7, 8, 9], [5, 3, 1], ["ann", "bob"]
    ...     def recommend(self, users, n):
    ...         return [[7, 8][:n]] * len(users), None
    >>> test = Ratings([("ann", 8), ("bob", 9)], [5.0, 4.0])
    >>> scores = evaluate(Same(), test, n=(1, 2), metrics=("recall", "mrr"))
    >>> {name: float(value) for name, value in scores.items()}
    {'recall@1': 0.0, 'recall@2': 0.5, 'mrr@1': 0.0, 'mrr@2': 0.25}
    """
    test = as_ratings(test, "test")
    cutoffs = checked_cutoffs(n)
    asked = None if metrics is None else [metrics] if isinstance(metrics, str) else list(metrics)
    unknown = [name for name in asked or () if name not in ERRORS and name not in METRICS]
    if unknown:
        raise ValueError(f"metrics has {unknown[0]!r}; it must be of {', '.join((*ERRORS, *METRICS))}")
    errors = [name for name in ERRORS if (_predicts_ratings(model) if asked is None else name in asked)]
    if errors and not _predicts_ratings(model):
        raise ValueError(
            f"metrics has {errors[0]!r}, but what {type(model).__name__} predicts are no ratings: leave it out"
        )
    scores: dict[str, float] = {}
    if errors:
        predicted = predict_all(model, test)
        scores |= {name: ERRORS[name](test.by_user.values, predicted, test.by_user.weights) for name in errors}
    of_lists = None if asked is None else [name for name in asked if name not in ERRORS]
    if of_lists is None or of_lists:
        lists = _listed(model, test, cutoffs, of_lists, min_rating, item_vectors, dict(recommend or {}))
        scores |= named_scores(lists)
    elif not errors:
        raise ValueError("metrics is empty; name at least one")
    return scores


def _predicts_ratings(model: Any) -> bool:
    """Return whether a model predicts ratings; a model of this package whose predictions are something else says so."""
    return hasattr(model, "predict") and getattr(model, "_predicts_ratings", True)


def predict_all(model: Any, ratings: Ratings) -> Array:
    """Return the model's predictions of ratings, in the order of their `triples`."""
    users, items, _ = ratings.triples()
    ids = ratings.user_ids[users], ratings.item_ids[items]
    if ratings.timestamps is not None and getattr(model, "_uses_time", False):
        return np.asarray(model.predict(*ids, timestamps=ratings.timestamps))
    return np.asarray(model.predict(*ids))


def _listed(
    model: Any,
    test: Ratings,
    cutoffs: Sequence[int],
    metrics: Sequence[str] | None,
    min_rating: float | None,
    item_vectors: Any,
    options: dict[str, Any],
) -> RankedLists:
    """Return the model's lists for the users of test ratings, judged."""
    relevance = of_ratings(test, test.user_ids, min_rating)
    # Those without relevant items would cost lists that nothing can be said of.
    having = np.flatnonzero(relevance.counts)
    users = test.user_ids[having]
    indptr = relevance.indptr[np.append(having, len(relevance.counts))]
    relevance = relevance._replace(indptr=indptr)
    if not len(users):
        raise ValueError(
            f"test has no relevant item: min_rating is {min_rating:g}; it must be at most {test.range[1]:g}"
        )
    catalogue = _catalogue_of_model(model)
    vectors = None
    if item_vectors is not None:
        if catalogue is None:
            raise TypeError(
                "item_vectors is given, but the model has no item_ids_, which say whose they are: leave it out"
            )
        vectors = unit_vectors(item_vectors, catalogue.ids)
    chosen = chosen_metrics(metrics, relevance, catalogue is not None, vectors is not None)
    width = cutoffs[-1]
    whole = bool(set(chosen) & set(WITHOUT_CUT))
    # A model of this package tells ranks without making lists of all items, in a fiftieth of the time.
    by_ranks = whole and hasattr(model, "_rank_items")
    if not by_ranks and "r_precision" in chosen:
        width = max(width, int(relevance.counts.max()))
    if not by_ranks and "auc" in chosen:
        width = max(width, len(model.item_ids_))
    lists = RankedLists(chosen, cutoffs, relevance, catalogue, vectors, by_ranks)
    step = max(1, LISTED_AT_A_TIME // width)
    for start in range(0, len(users), step):
        ids, _ = model.recommend(users[start : start + step], n=width, **options)
        lists.add(start, np.asarray(ids))
        if by_ranks:
            rows = slice(start, start + len(ids))
            bounds = relevance.indptr[rows.start : rows.stop + 1]
            items = test.item_ids[relevance.codes[bounds[0] : bounds[-1]]]
            lists.add_ranks(rows, *model._rank_items(users[rows], bounds - bounds[0], items, **options))
    return lists


def _catalogue_of_model(model: Any) -> Catalogue | None:
    """Return the items that a model may recommend, with their numbers of ratings; None where it does not say."""
    if not all(hasattr(model, name) for name in ("item_ids_", "item_counts_", "user_ids_")):
        return None
    counts = getattr(model, "user_counts_", None)
    n_users = len(model.user_ids_) if counts is None else int(np.count_nonzero(counts))
    return Catalogue(Ids(model.item_ids_), np.asarray(model.item_counts_), n_users)

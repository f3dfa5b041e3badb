"""Measures of lists that are there already: all of them from one call, or one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from alsx import _check
from alsx.metrics._ranks import METRICS, OF_CATALOGUE, OF_LISTS, OF_RELEVANCE, WITHOUT_CUT, Catalogue, RankedLists
from alsx.metrics._relevance import Relevance, of_collections, of_ratings, plain_ids, table_of
from alsx.ratings import Ids, Ratings, as_ratings
from alsx.ratings.columns import id_column
from alsx.typing import IdArray, RatingsLike

Array = npt.NDArray[Any]


class Score(float):
    """A mean over users: a float that says of how many users it is the mean.

    Attributes
    ----------
    by_user : ndarray of float64, shape (n_users,)
        The score of each user, NaN where a user has none, such as one without relevant items.
    n_users : int
        How many users have a score; this is their mean, NaN where there are none.
    n_skipped : int
        How many have none.
    """

    by_user: npt.NDArray[np.float64]

    def __new__(cls, by_user: Any) -> Score:
        """Take the mean of scores."""
        each = np.array(by_user, dtype=np.float64, ndmin=1)
        counted = ~np.isnan(each)
        new = super().__new__(cls, float(each[counted].mean()) if counted.any() else float("nan"))
        new.by_user = each
        return new

    def __getnewargs__(self) -> tuple[Any]:
        return (self.by_user,)

    @property
    def n_users(self) -> int:
        """How many users have a score."""
        return int(np.count_nonzero(~np.isnan(self.by_user)))

    @property
    def n_skipped(self) -> int:
        """How many users have none."""
        return len(self.by_user) - self.n_users

    def __repr__(self) -> str:
        skipped = f", {self.n_skipped:,} without relevant items skipped" if self.n_skipped else ""
        users = "user" if self.n_users == 1 else "users"
        return f"Score({float(self)!r}, mean of {self.n_users:,} {users}{skipped})"

    def __str__(self) -> str:
        return float.__repr__(self)


def ranking_scores(
    recommended: Any,
    relevant: Any,
    n: int | Sequence[int] | None = None,
    *,
    metrics: str | Sequence[str] | None = None,
    users: IdArray | None = None,
    min_rating: float | None = None,
    train: RatingsLike | None = None,
    item_vectors: Any = None,
) -> dict[str, float]:
    """All measures of recommended lists, at several cut-offs, from one pass over them; `alsx.metrics` has the definitions.

    Parameters
    ----------
    recommended : array-like of ids, shape (n_users, m) or (m,)
        Recommended items, best first, one row per user, as `recommend` gives them; one row alone is one user. Short rows are
        padded with `alsx.ratings.Ids.missing`, as `recommend` does it (other padding, such as -1, counts as an item in "auc").
    relevant : sequence of n_users collections, or Ratings
        The items that are right for each user: a collection of ids, or a mapping from ids to gains, for each row; or held-out
        ratings, with `users`, whose gains are the ratings.
    n : int or sequence of int, default=None
        Cut-offs: how many recommendations count. Default: all m.
    metrics : str or sequence of str, default=None
        "precision", "recall", "f1", "hit_rate", "ndcg", "graded_ndcg", "map", "mrr", "r_precision", "auc", "novelty", "diversity",
        "coverage", "gini". Default: all that these arguments allow, but for "r_precision" and "auc", which need longer lists.
    users : array-like of ids, shape (n_users,), default=None
        Whose lists these are, where `relevant` is a Ratings.
    min_rating : float, default=None
        Where `relevant` is a Ratings: the lowest rating that makes an item relevant. Default: every rated item is.
    train : Ratings, or whatever `Ratings` takes alone, default=None
        Training ratings, for "novelty", "coverage" and "gini".
    item_vectors : ndarray or sparse matrix, shape (n_items, d), default=None
        A vector for each of ``train.item_ids``, such as features or factors, for "diversity".

    Returns
    -------
    dict of str to float
        By measure and cut-off, such as "ndcg@10", "r_precision". Means over users are `Score`: floats that know the values by user.

    Raises
    ------
    TypeError
        Where something cannot be ids, or recommended and relevant items are not of one kind.
    ValueError
        Where the numbers of users differ, a cut-off is above m, a relevant item is recommended twice to a user, or a measure needs
        what is not given.

    Notes
    -----
    Memory beside the arguments is 4 bytes a recommended item, 8 bytes a user, measure and cut-off, and some 100 MB.

    Examples
    --------
    >>> from alsx.metrics import ranking_scores
    >>> scores = ranking_scores([[10, 20, 30, 40], [20, 10, 50, 60]], [[20, 40, 50], [20]], n=(2, 4), metrics=("recall", "mrr"))
    >>> {name: round(float(value), 4) for name, value in scores.items()}
    {'recall@2': 0.6667, 'recall@4': 0.8333, 'mrr@2': 0.75, 'mrr@4': 0.75}
    """
    rows, relevant = _rows(recommended, relevant)
    cutoffs = _cutoffs(n, rows.shape[1])
    relevance = _relevance(relevant, users, min_rating, len(rows))
    catalogue = None if train is None else catalogue_of(as_ratings(train, "train"))
    vectors = _unit_vectors(item_vectors, catalogue)
    chosen = chosen_metrics(metrics, relevance, catalogue is not None, vectors is not None)
    lists = RankedLists(chosen, cutoffs, relevance, catalogue, vectors)
    lists.add(0, rows[:, : (rows.shape[1] if set(chosen) & set(WITHOUT_CUT) else cutoffs[-1])])
    return named_scores(lists)


def precision_at_n(recommended: Any, relevant: Any, n: int | None = None) -> Score:
    """Precision: relevant items among the first n recommended, divided by n.

    The divisor is n also where a user has fewer than n relevant items, or fewer recommendations.

    Parameters
    ----------
    recommended : array-like of ids, shape (n_users, m) or (m,)
        Recommended items, best first, one row per user, as `recommend` gives them; one row alone is one user. Short rows
        are padded with anything that is not a relevant item (`recommend` pads with `alsx.ratings.Ids.missing`).
    relevant : sequence of n_users collections of ids
        The items that are right for each user, in any order (for one user: one collection); see `relevant_items`.
    n : int, default=None
        How many recommendations count. Default: all m.

    Returns
    -------
    Score
        A float, the mean over the users that have relevant items; its `by_user`, `n_users` and `n_skipped` say which
        and how many users these are.

    Raises
    ------
    TypeError
        Where something cannot be ids, or recommended and relevant items are not of one kind.
    ValueError
        Where the numbers of users differ, `n` is above m, or a relevant item is recommended twice to a user.

    Examples
    --------
    >>> from alsx.metrics import precision_at_n
    >>> float(precision_at_n([[10, 20, 30, 40]], [[20, 40, 50]]))
    0.5
    """
    return _single("precision", recommended, relevant, n)


def recall_at_n(recommended: Any, relevant: Any, n: int | None = None) -> Score:
    """Recall: relevant items among the first n recommended, divided by the number of the user's relevant items.

    With more than n relevant items it cannot reach 1.

    Parameters
    ----------
    recommended : array-like of ids, shape (n_users, m) or (m,)
        Recommended items, best first, one row per user, as `recommend` gives them; one row alone is one user. Short rows
        are padded with anything that is not a relevant item (`recommend` pads with `alsx.ratings.Ids.missing`).
    relevant : sequence of n_users collections of ids
        The items that are right for each user, in any order (for one user: one collection); see `relevant_items`.
    n : int, default=None
        How many recommendations count. Default: all m.

    Returns
    -------
    Score
        A float, the mean over the users that have relevant items; its `by_user`, `n_users` and `n_skipped` say which
        and how many users these are.

    Raises
    ------
    TypeError
        Where something cannot be ids, or recommended and relevant items are not of one kind.
    ValueError
        Where the numbers of users differ, `n` is above m, or a relevant item is recommended twice to a user.

    Examples
    --------
    >>> from alsx.metrics import recall_at_n
    >>> round(float(recall_at_n([[10, 20, 30, 40]], [[20, 40, 50]])), 4)
    0.6667
    """
    return _single("recall", recommended, relevant, n)


def ndcg_at_n(recommended: Any, relevant: Any, n: int | None = None) -> Score:
    """Normalised discounted cumulative gain at n, for items that are relevant or not (Järvelin and Kekäläinen 2002).

    A relevant item at rank p = 1, 2, ... gains 1 / log2(p + 1); the sum is divided by that of the best possible list,
    which has min(n, number of the user's relevant items) relevant items in front.

    Parameters
    ----------
    recommended : array-like of ids, shape (n_users, m) or (m,)
        Recommended items, best first, one row per user, as `recommend` gives them; one row alone is one user. Short rows
        are padded with anything that is not a relevant item (`recommend` pads with `alsx.ratings.Ids.missing`).
    relevant : sequence of n_users collections of ids
        The items that are right for each user, in any order (for one user: one collection); see `relevant_items`.
    n : int, default=None
        How many recommendations count. Default: all m.

    Returns
    -------
    Score
        A float, the mean over the users that have relevant items; its `by_user`, `n_users` and `n_skipped` say which
        and how many users these are.

    Raises
    ------
    TypeError
        Where something cannot be ids, or recommended and relevant items are not of one kind.
    ValueError
        Where the numbers of users differ, `n` is above m, or a relevant item is recommended twice to a user.

    References
    ----------
    K. Järvelin, J. Kekäläinen: Cumulated gain-based evaluation of IR techniques. ACM Transactions on Information
    Systems 20 (2002) 422-446.

    Examples
    --------
    >>> from alsx.metrics import ndcg_at_n
    >>> round(float(ndcg_at_n([[10, 20, 30, 40]], [[20, 40, 50]])), 4)
    0.4982
    """
    return _single("ndcg", recommended, relevant, n)


def _single(metric: str, recommended: Any, relevant: Any, n: int | None) -> Score:
    """Return one measure at one cut-off."""
    if isinstance(relevant, Ratings):
        raise TypeError(
            "relevant is a Ratings, whose users may be in another order: pass relevant_items(relevant, users)"
        )
    (score,) = ranking_scores(recommended, relevant, n, metrics=metric).values()
    assert isinstance(score, Score)
    return score


# ---------------------------------------------------------------------------------------------------------------------
# Arguments


def _rows(recommended: Any, relevant: Any) -> tuple[Array, Any]:
    """Return recommended ids as plain ids of shape (n_users, m), and what is relevant to each user."""
    rows = table_of(recommended)
    if rows.ndim == 1:
        rows, relevant = rows[None], relevant if isinstance(relevant, Ratings) else [relevant]
    if rows.ndim != 2:
        raise ValueError(f"recommended has shape {rows.shape}; it must be (n_users, m), one row of items per user")
    if rows.shape[1] == 0:
        raise ValueError("recommended has no columns: pass at least one item per user")
    return plain_ids(id_column(rows.ravel(), "recommended")).reshape(rows.shape), relevant


def _cutoffs(n: int | Sequence[int] | None, m: int) -> list[int]:
    """Return the cut-offs, ascending."""
    if n is None:
        return [m]
    cutoffs = checked_cutoffs(n)
    if cutoffs[-1] > m:
        raise ValueError(
            f"n is {cutoffs[-1]}, but recommended has only {m} items per user: ask recommend for n={cutoffs[-1]}"
        )
    return cutoffs


def checked_cutoffs(n: Any) -> list[int]:
    """Return one cut-off, or several of them, as distinct ascending integers."""
    if isinstance(n, str | bytes) or not hasattr(n, "__iter__"):
        return [_check.integer("n", n, 1)]
    cutoffs = sorted({_check.integer(f"n[{at}]", x, 1) for at, x in enumerate(n)})
    if not cutoffs:
        raise ValueError("n is empty; it must be a cut-off, such as 10, or several of them")
    return cutoffs


def _relevance(relevant: Any, users: Any, min_rating: float | None, n_users: int) -> Relevance:
    """Return the relevant items of the users of the rows."""
    if isinstance(relevant, Ratings):
        if users is None:
            raise TypeError(
                "relevant is a Ratings, whose users may be in another order: pass the users of the rows as users="
            )
        relevance = of_ratings(relevant, users, min_rating)
        if len(relevance.indptr) - 1 != n_users:
            raise ValueError(
                f"recommended has {n_users:,} users, users {len(relevance.indptr) - 1:,}: pass the user of each row"
            )
        return relevance
    for name, given in (("users", users), ("min_rating", min_rating)):
        if given is not None:
            raise TypeError(f"{name} is given, but relevant is no Ratings: leave {name} out")
    if isinstance(relevant, str | bytes | dict) or not hasattr(relevant, "__len__"):
        raise TypeError(f"relevant is of type {type(relevant).__name__}; it must hold one collection of ids per user")
    if len(relevant) != n_users:
        raise ValueError(
            f"recommended has {n_users:,} users, relevant {len(relevant):,}: pass one row and one collection per user"
        )
    return of_collections(relevant, n_users)


def catalogue_of(train: Ratings) -> Catalogue:
    """Return the items of training ratings."""
    counts = np.diff(train.by_item.indptr)
    return Catalogue(train._items, counts, int(np.count_nonzero(np.diff(train.by_user.indptr))))


def _unit_vectors(vectors: Any, catalogue: Catalogue | None) -> Any:
    """Return the vectors of the items of the catalogue as rows of length 1, or 0; None where there are none."""
    if vectors is None:
        return None
    if catalogue is None:
        raise ValueError("item_vectors is given without train, which says whose they are: pass the training ratings")
    return unit_vectors(vectors, catalogue.ids)


def unit_vectors(vectors: Any, ids: Ids) -> Any:
    """Return vectors, one for each id, as rows of length 1, or 0, in double precision."""
    if scipy.sparse.issparse(vectors):
        table = scipy.sparse.csr_array(vectors, dtype=np.float64)
        values = table.data
        lengths = np.sqrt(np.asarray(table.multiply(table).sum(axis=1)).ravel())
    else:
        try:
            table = np.asarray(vectors, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"item_vectors are not numbers ({str(error)[:80]}); they must be an array or a sparse matrix of them"
            ) from None
        values = table
        if table.ndim != 2:
            raise ValueError(f"item_vectors has shape {table.shape}; it must be (n_items, d), a row for each item")
        lengths = np.sqrt(np.einsum("ij,ij->i", table, table))
    if len(lengths) != len(ids):
        raise ValueError(
            f"item_vectors has {len(lengths):,} rows for {len(ids):,} items: pass one row for each of the training items, in "
            "ascending order of ids"
        )
    if not np.isfinite(values).all():
        raise ValueError("item_vectors has values that are not finite: replace them, by 0 where nothing is known")
    scale = np.divide(1, lengths, out=np.zeros(len(lengths)), where=lengths > 0)
    return scipy.sparse.diags_array(scale) @ table if scipy.sparse.issparse(table) else table * scale[:, None]


def chosen_metrics(
    metrics: str | Sequence[str] | None, relevance: Relevance, has_catalogue: bool, has_vectors: bool
) -> list[str]:
    """Return the measures that are asked for, or that can be had; refuse those that need what is not given."""
    lacks: dict[str, str] = {}
    if relevance.gains is None:
        lacks["graded_ndcg"] = "gains: pass a Ratings, or mappings from ids to gains, as relevant"
    elif (wrong := np.flatnonzero(~(relevance.gains >= 0) | np.isinf(relevance.gains))).size:
        row = int(np.searchsorted(relevance.indptr, wrong[0], side="right")) - 1
        lacks["graded_ndcg"] = (
            f"gains of at least 0, but row {row} of relevant has {relevance.gains[wrong[0]]:g}: shift them, or set min_rating"
        )
    if not has_catalogue:
        lacks |= dict.fromkeys(("novelty", *OF_CATALOGUE), "the training ratings: pass them as train")
    if not has_vectors:
        lacks["diversity"] = "vectors of the items: pass item_vectors (and train, which says whose they are)"
    if metrics is None:
        return [name for name in (*OF_RELEVANCE, *OF_LISTS, *OF_CATALOGUE) if name not in lacks]
    chosen = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in chosen:
        if name not in METRICS:
            raise ValueError(f"metrics has {name!r}; it must be of {', '.join(METRICS)}")
        if name in lacks:
            raise ValueError(f"metrics has {name!r}, which needs {lacks[name]}")
    if not chosen:
        raise ValueError("metrics is empty; name at least one")
    return list(dict.fromkeys(chosen))


def named_scores(lists: RankedLists) -> dict[str, float]:
    """Return the measures of lists by name and cut-off."""
    values: dict[tuple[str, int], float] = {at: Score(each) for at, each in lists.by_user().items()}
    values |= lists.of_catalogue()
    order = {name: place for place, name in enumerate(lists.metrics)}
    return {
        name if n == 0 else f"{name}@{n}": values[name, n]
        for name, n in sorted(values, key=lambda x: (order[x[0]], x[1]))
    }

"""How well new users are predicted, by how many of their ratings are known."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state

from alsx import _check
from alsx.metrics import rmse
from alsx.ratings import Ratings, described_rows

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


class ColdStart(NamedTuple):
    """Errors for new users, by how many of their ratings are known; of `cold_start`.

    Parameters
    ----------
    known : ndarray of int64, shape (n_steps,)
        How many ratings of each user are known.
    rmse : dict of str to ndarray of float64, shape (n_steps,)
        Of each model, in rating units.
    mean_prediction : dict of str to ndarray of float64, shape (n_steps,)
        Of each model: a mean that is off says that an error is one of the level.
    mean_rating : float
        What the mean prediction should be.
    n_users, n_ratings : int
        How many users, and ratings of theirs, are predicted; the same at every step.
    """

    known: npt.NDArray[np.int64]
    rmse: dict[str, Floats]
    mean_prediction: dict[str, Floats]
    mean_rating: float
    n_users: int
    n_ratings: int


def cold_start(
    models: Any,
    R: Any,
    y: Any = None,
    *,
    known: Sequence[int] = (0, 1, 2, 3, 5, 10, 20),
    n_test: int = 5,
    min_users: int = 20,
    user_features: Mapping[str, Any] | None = None,
    random_state: Any = 0,
) -> ColdStart:
    """Predict ratings of new users from 0, 1, 2 ... others of theirs, by folding them in.

    Parameters
    ----------
    models : fitted model, a list of them, or a dict from names to them
        Models that have not seen these users; those in a list go by the name of their class.
    R, y
        Ratings of new users, whatever `alsx.Ratings` takes.
    known : sequence of int, default=(0, 1, 2, 3, 5, 10, 20)
        How many ratings of each user are known, ascending.
    n_test : int, default=5
        A user takes part who has at least so many ratings more than are ever known, and all of these are predicted: the same
        ratings at every step, so that the steps compare.
    min_users : int, default=20
        The last steps are left out where fewer users take part; one is always kept.
    user_features : mapping of str to data frame, default=None
        By the names of the models: features of the users, for those that were fitted with some. A name without features is
        predicted from ratings alone.
    random_state : int, RandomState or None, default=0
        Which ratings of a user are known.

    Returns
    -------
    measured : ColdStart
        :func:`alsx.plot.cold_start` draws it.

    Raises
    ------
    TypeError, ValueError
        For no models, no users with enough ratings, users that a model knows, or a parameter out of its range.

    Examples
    --------
    >>> from alsx import BiasALS, FactorALS
    >>> from alsx.datasets import load_demo
    >>> from alsx.model_selection import cold_start, train_test_split
    >>> train, new = train_test_split(load_demo().ratings, 0.2, by="cold_users", random_state=0)
    >>> measured = cold_start([BiasALS().fit(train), FactorALS(random_state=0).fit(train)], new)
    >>> measured.known.tolist()
    [0, 1, 2, 3, 5, 10, 20]
    >>> bool(measured.rmse["FactorALS"][-1] < measured.rmse["BiasALS"][-1])
    True
    """
    steps = [_check.integer("known", n, 0) for n in known]
    if not steps or steps != sorted(set(steps)):
        raise ValueError(f"known is {tuple(known)}; it must be ascending numbers of ratings, such as (0, 1, 3, 10)")
    _check.integer("n_test", n_test, 1)
    _check.integer("min_users", min_users, 1)
    named = _named(models)
    ratings = R if isinstance(R, Ratings) and y is None else Ratings(R, y)
    _check_new(named, ratings)
    users, items, values = ratings.triples()
    order = check_random_state(random_state).permutation(len(users))
    order = order[np.argsort(users[order], kind="stable")]
    counts = np.bincount(users, minlength=ratings.n_users)
    place = np.empty(len(users), np.int64)  # of each rating in its user's random order
    place[order] = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)

    enough = [n for n in steps if (counts >= n + n_test).sum() >= min_users]
    most = enough[-1] if enough else steps[0]
    takes_part = counts >= most + n_test
    if not takes_part.any():
        raise ValueError(
            f"R has no user with {most + n_test} ratings, {most} known and n_test more; lower `known` or n_test"
        )
    tested = takes_part[users] & (place >= most)
    pairs = ratings.user_ids[users[tested]], ratings.item_ids[items[tested]]
    everyone = ratings.user_ids[takes_part]
    steps = [n for n in steps if n <= most]
    errors: dict[str, list[float]] = {name: [] for name in named}
    means: dict[str, list[float]] = {name: [] for name in named}
    for n in steps:
        given = takes_part[users] & (place < n)
        rated = None
        if n:
            rated = Ratings.from_arrays(ratings.user_ids[users[given]], ratings.item_ids[items[given]], values[given])
        for name, model in named.items():
            features = _features_of(user_features, name, everyone)
            folded = model if rated is None and features is None else model.fold_in(rated, **features or {})
            predicted = _predict_quietly(folded, *pairs)
            errors[name].append(float(rmse(values[tested], predicted)))
            means[name].append(float(predicted.mean()))
    return ColdStart(
        np.array(steps, np.int64),
        {name: np.array(x) for name, x in errors.items()},
        {name: np.array(x) for name, x in means.items()},
        float(values[tested].mean()),
        len(everyone),
        int(tested.sum()),
    )


def _named(models: Any) -> dict[str, Any]:
    """Return models by name: those of a dict, else the classes', numbered where needed."""
    if isinstance(models, Mapping):
        named = {str(name): model for name, model in models.items()}
    else:
        named = {}
        for model in models if isinstance(models, (list, tuple)) else [models]:
            kind = type(model).__name__
            times = sum(name.split(" ")[0] == kind for name in named)
            named[f"{kind} {times + 1}" if times else kind] = model
    if not named:
        raise ValueError("models is empty; it must be at least one fitted model")
    for name, model in named.items():
        if not hasattr(model, "fold_in"):
            raise TypeError(f"{name} ({type(model).__name__}) has no fold_in; give a fitted alsx model")
    return named


def _check_new(named: dict[str, Any], ratings: Ratings) -> None:
    """Refuse users that a model knows: their ratings may be what it was fitted to."""
    ids = ratings.user_ids[np.diff(ratings.by_user.indptr) > 0]
    for name, model in named.items():
        # Both parts of a split have the ids of all users; one without training ratings is as good as new.
        known = ids[np.isin(ids, model.user_ids_[model.user_counts_ > 0])]
        if len(known):
            raise ValueError(
                f"R has the user {known[0].item()!r}, whom {name} knows; it must be users that came after the fit, such as those "
                'of train_test_split(..., by="cold_users")'
            )


def _features_of(user_features: Mapping[str, Any] | None, name: str, everyone: Array) -> dict[str, Any] | None:
    """Return the features of the users that take part as an argument of ``fold_in``, None where there are none."""
    if user_features is None or user_features.get(name) is None:
        return None
    import narwhals as nw

    table = user_features[name]
    ids, _ = described_rows(table, "user", "user_features")
    frame = nw.from_native(table, eager_only=True)
    return {"features": frame.filter(np.isin(ids, everyone).tolist()).to_native()}


def _predict_quietly(model: Any, users: Array, items: Array) -> Floats:
    """Predict pairs of which only a part is known, as is meant here, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return np.asarray(model.predict(users, items), dtype=np.float64)

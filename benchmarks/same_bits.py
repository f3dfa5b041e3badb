"""Show that two versions of alsx compute the same bits: fit and use every model, write all arrays, compare two runs.

    python benchmarks/same_bits.py write --out=DIR [--data=ML100K_ZIP] [--only=WORD]
    python benchmarks/same_bits.py compare DIR_A DIR_B [--verbose] [--leave-out=REGEX]

`write` runs the cases with the alsx that Python finds and writes DIR/CASE.npz for each. ML100K_ZIP is the archive
ml-100k.zip; without it (and without ALSX_TEST_DATA, the folder that holds it) the cases of MovieLens 100k are left out.
ALSX_SIMD=base, v3 or v4 in the environment chooses the instruction set. --only runs the cases whose name contains WORD.
`compare` prints one line per case: "identical", or the largest relative difference (of an array's numbers, over its largest
number) and the array where it is. It ends with exit status 1 if any case differs. --verbose names every array that differs;
--leave-out passes over those whose name holds REGEX, because they are meant to differ.

One program serves versions whose interfaces differ. `implicit=` or `implicit_features=` is taken from the signature.
Users who were folded in are asked for by their ids. Users of the fit are asked of the folded-in model if it still knows
them, and of the fitted model otherwise: a fold-in must not change them. Ids in lists are stored without their padding.
Everything is public interface, every seed is fixed, and times are not stored.
"""

from __future__ import annotations

import collections
import functools
import gzip
import inspect
import os
import pickle
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fire
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import scipy.sparse
from numpy.typing import NDArray

import alsx
from alsx import _core, metrics
from alsx.datasets import load_movielens, make_ratings
from alsx.model_selection import k_fold, train_test_split

Array = NDArray[Any]

# The name of the parameter that chooses SVD++'s sets of rated items; it was `implicit` before.
RATED_SETS = next(x for x in inspect.signature(alsx.FactorALS).parameters if x in ("implicit", "implicit_features"))

# The parameter of lists that names what may appear in them; it was `items` before.
CANDIDATES = next(x for x in inspect.signature(alsx.FactorALS.recommend).parameters if x in ("candidates", "items"))

# A single unknown user was recommended what most like; now that has to be asked for.
UNKNOWN = {"unknown": "prior"} if "unknown" in inspect.signature(alsx.FactorALS.recommend).parameters else {}

STRATEGIES = ("mean", "lower", "upper", "thompson")
THREADS = 2

# Rows that are asked for: pairs of a prediction, pairs that are enough to be shared by threads, users of lists.
N_PAIRS, N_MANY_PAIRS, N_LISTED = 1_500, 20_000, 25


# ---------------------------------------------------------------------------------------------------------------------
# Data


@dataclass(frozen=True)
class Data:
    """Ratings with features, and ids that come later.

    Low ids sort before all ids of the ratings: only they have the same row in a model that knows the newcomers alone and
    in one that knows everybody, and a draw from the posterior depends on the row's number.
    """

    name: str
    ratings: alsx.Ratings
    user_features: pa.Table
    item_features: pa.Table
    low_users: Array
    late_users: Array
    low_items: Array
    late_items: Array
    unknown_user: Any
    unknown_item: Any

    def features(self, side: str, ids: Array) -> pa.Table:
        """Features of newcomers: rows of the table with other ids."""
        table = self.user_features if side == "user" else self.item_features
        return table.slice(3, len(ids)).set_column(0, side, pa.array(ids.tolist()))

    def weights(self, seed: int) -> Array:
        """Weights of the ratings, some of them 0."""
        return np.random.default_rng(seed).choice([0.0, 0.5, 1.0, 2.0, 3.25], len(self.ratings))

    def held_out(self) -> alsx.Ratings:
        """Weighted ratings of known and unknown users and items, for `eval_set`."""
        generator = np.random.default_rng(11)
        users = np.append(generator.choice(self.ratings.user_ids, 40, replace=False), self.late_users[0])
        items = np.append(generator.choice(self.ratings.item_ids, 30, replace=False), self.late_items[:2])
        pairs = generator.choice(len(users) * len(items), 900, replace=False)
        return alsx.Ratings.from_arrays(
            users[pairs // len(items)], items[pairs % len(items)], some_ratings(self, 900, generator),
            sample_weight=generator.choice([0.5, 1.0, 2.0], 900),
        )  # fmt: skip


def some_ratings(data: Data, n: int, generator: np.random.Generator) -> Array:
    """Ratings on half of the steps of the data's range."""
    low, high = data.ratings.range
    return low + (high - low) / 8 * generator.integers(0, 9, n)


def movielens(path: Path) -> Data:
    """MovieLens 100k."""
    loaded = load_movielens(path)
    users, items = loaded.ratings.user_ids, loaded.ratings.item_ids
    return Data(
        "ml-100k", loaded.ratings, loaded.user_features(), loaded.item_features(),
        np.arange(-40, -28), users[-1] + np.arange(1, 13), np.arange(-50, -44), items[-1] + np.arange(1, 7),
        int(users[-1]) + 1_000, int(items[-1]) + 1_000,
    )  # fmt: skip


def simulated(text: bool) -> Data:
    """800 x 500 simulated ratings, with ids that are integers or texts; some users and items have no ratings."""
    made = make_ratings(800, 500, 30_000, random_state=5 + text)
    users, items, values = made.triples()
    if text:
        user_ids = np.array([f"user {code:04d}" for code in range(800)])
        item_ids = np.array([f"item {code:04d} é" for code in range(500)])
        low_users, low_items = (np.array([f"a new {x:02d}" for x in range(n)]) for n in (12, 6))
        late_users, late_items = (np.array([f"{x[:9]}+" for x in ids[5:300:25]]) for ids in (user_ids, item_ids))
        unknown: tuple[Any, Any] = "nobody", "nothing"
    else:
        user_ids, item_ids = 10 * np.arange(800) + 7, 20 * np.arange(500)
        low_users, low_items = np.arange(-40, -28), np.arange(-50, -44)
        late_users, late_items = user_ids[5:300:25] + 1, item_ids[5:300:25] + 1
        unknown = 9_999, 99_999
    when = 1_000_000_000 + np.random.default_rng(3).integers(0, 50_000, len(values)) * 60
    whole = alsx.Ratings.from_arrays(user_ids[users], item_ids[items], values, timestamps=when)
    rated = ~(np.isin(users, (3, 50, 51, 700)) | np.isin(items, (2, 40, 499)))
    generator = np.random.default_rng(4)
    words = np.array(["red", "green", "blue", "violet"])
    extra_user, extra_item = (
        np.append(ids, [late[-1]]) for ids, late in ((user_ids, late_users), (item_ids, late_items))
    )
    about_users = {
        "user": pa.array(extra_user.tolist()),
        "age": pa.array([None if x < 20 else x for x in generator.integers(15, 70, len(extra_user)).tolist()]),
        "colour": pa.array(generator.choice(words, len(extra_user)).tolist()),
        "member": pa.array((generator.random(len(extra_user)) < 0.3).tolist()),
    }
    about_items = {
        "item": pa.array(extra_item.tolist()),
        "kinds": pa.array(["|".join(words[generator.random(4) < 0.5]) for _ in extra_item]),
        "made": pa.array(generator.integers(0, 20_000, len(extra_item)), pa.int32()).cast(pa.date32()),
    }
    return Data(
        "simulated-text" if text else "simulated", whole.select(rated), pa.table(about_users), pa.table(about_items),
        low_users, late_users, low_items, late_items, *unknown,
    )  # fmt: skip


def larger() -> Data:
    """6,000 x 3,000 simulated ratings: more rows than are summed at a time, and work that threads share."""
    small = simulated(False)
    made = make_ratings(6_000, 3_000, 300_000, random_state=8)
    table = {name: pa.array(np.arange(len(ids)) % 9 // 2) for name, ids in (("u", made.user_ids), ("i", made.item_ids))}
    about_users = pa.table({"user": pa.array(made.user_ids), "group": table["u"]})
    about_items = pa.table({"item": pa.array(made.item_ids), "group": table["i"]})
    return Data(
        "larger", made, about_users, about_items, small.low_users, 7_000 + np.arange(12), small.low_items,
        4_000 + np.arange(6), small.unknown_user, small.unknown_item,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# What is stored


@dataclass
class Record:
    """The arrays of one case by name."""

    arrays: dict[str, Array] = field(default_factory=dict)

    def add(self, name: str, value: Any) -> None:
        """Store anything that is an array, a number or None. Integers are stored as int64."""
        array = np.asarray("None" if value is None else value)
        if array.dtype.kind == "i":
            array = array.astype(np.int64)
        if array.dtype.kind == "O":
            raise TypeError(f"{name} is an array of Python objects")
        if name in self.arrays:
            raise ValueError(f"{name} is stored twice")
        self.arrays[name] = array

    def add_list(self, name: str, found: Any) -> None:
        """Store ids and scores of `recommend` or `similar_items`: how many there are of each row, and those."""
        ids, scores = (np.atleast_2d(x) for x in found)
        left = ~np.isnan(scores)
        self.add(f"{name}: counts", left.sum(axis=1))
        self.add(f"{name}: ids", np.array(ids[left].tolist()))
        self.add(f"{name}: scores", scores[left])

    def add_ratings(self, name: str, ratings: Any) -> None:
        """Store all of a `Ratings`."""
        for side in ("user", "item"):
            rows = getattr(ratings, f"by_{side}")
            for part in ("indptr", "indices", "values", "weights"):
                self.add(f"{name}: by_{side}.{part}", getattr(rows, part))
            self.add(f"{name}: {side}_ids", getattr(ratings, f"{side}_ids"))
        for part in ("timestamps", "mean", "std", "range"):
            self.add(f"{name}: {part}", getattr(ratings, part))

    def add_model(self, name: str, model: Any) -> None:
        """Store what a model has learned."""
        for part in ("user_ids_", "item_ids_", "user_counts_", "item_counts_", "user_biases_", "item_biases_", "mean_"):
            self.add(f"{name}: {part}", getattr(model, part))
        for part in ("rating_range_", "n_iter_", "reg_", "reg_bias_", "user_factors_", "item_factors_"):
            if hasattr(model, part):
                self.add(f"{name}: {part}", getattr(model, part))
        for part, values in (model.history_ | getattr(model, "traces_", {})).items():
            if part != "seconds":
                self.add(f"{name}: course of {part}", values)
        samples = getattr(model, "samples_", None)
        if samples is not None:
            for part in ("draws", "users", "items"):
                self.add(f"{name}: samples_.{part}", getattr(samples, part))
        effects = getattr(model, "feature_effects_", None)
        effects = effects() if callable(effects) else effects
        if effects is not None and len(effects):
            for part in effects.column_names:
                self.add(f"{name}: feature_effects_.{part}", np.array(effects[part].to_pylist()))


def add_uses(record: Record, name: str, model: Any, data: Data, users: Array, items: Array, drawn: Array) -> None:
    """Store what a model predicts and recommends for some users and items; Thompson sampling for `drawn` users only."""
    generator = np.random.default_rng(17)
    all_users, all_items = [*users.tolist(), data.unknown_user], [*items.tolist(), data.unknown_item]
    asked, asked_draws = [*all_users[: N_LISTED - 1], data.unknown_user], [*drawn.tolist(), data.unknown_user]
    pairs = generator.choice(np.array(all_users), N_PAIRS), generator.choice(np.array(all_items), N_PAIRS)
    record.add(f"{name}: predict", model.predict(*pairs))
    record.add(f"{name}: predict pairs", model.predict(list(zip(*(x[:50].tolist() for x in pairs), strict=True))))
    mean, std = model.predict(*pairs, clip=False, return_std=True)
    record.add(f"{name}: predict, not clipped", mean)
    record.add(f"{name}: std", std)
    record.add(f"{name}: interval", np.stack(model.predict_interval(*pairs)))
    record.add(f"{name}: interval, not clipped", np.stack(model.predict_interval(*pairs, 0.5, clip=False)))
    record.add(f"{name}: predict one", model.predict(all_users[0], all_items[0], return_std=True))
    record.add(f"{name}: predict items of a user", model.predict(all_users[-2], all_items))
    record.add(f"{name}: predict users of an item", model.predict(all_users, all_items[0]))
    for strategy in STRATEGIES:
        own = asked_draws if strategy == "thompson" else asked
        find = functools.partial(model.recommend, own, strategy=strategy, random_state=23)
        record.add_list(f"{name}: {strategy}", find(n=12))
        record.add_list(f"{name}: {strategy}, min_ratings", find(min_ratings=15))
        record.add_list(f"{name}: {strategy}, items", find(**{CANDIDATES: all_items[:15]}, n=20, n_std=1.7))
    record.add_list(f"{name}: mean, everybody", model.recommend(all_users, 5))
    record.add_list(f"{name}: mean, rated ones too", model.recommend(asked, exclude_rated=False))
    record.add_list(f"{name}: mean, one user", model.recommend(all_users[0]))
    record.add_list(f"{name}: mean, one unknown user", model.recommend(data.unknown_user, 3, **UNKNOWN))
    record.add_list(
        f"{name}: thompson, one user", model.recommend(asked_draws[0], strategy="thompson", random_state=1, **UNKNOWN)
    )
    record.add_list(f"{name}: more than there are", model.recommend(asked[:3], len(model.item_ids_) + 5))
    if getattr(model, "k", 0):
        # Items without ratings in the fit are refused, and those whose factors are zeros.
        unrated = data.ratings.item_ids[np.diff(data.ratings.by_item.indptr) == 0]
        factors = model.item_factors_[np.searchsorted(model.item_ids_, items)]
        comparable = items[np.any(factors != 0, axis=1) & ~np.isin(items, unrated)]
        record.add_list(f"{name}: similar_items", model.similar_items(comparable))
        record.add_list(f"{name}: similar_items of one", model.similar_items(comparable[0].item(), 3, min_ratings=10))


def add_copies(record: Record, name: str, model: Any, data: Data, users: Array, items: Array) -> None:
    """Store what a model predicts and recommends once it was saved and loaded, or pickled."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.npz")
        model.save(file)
        loaded = alsx.load(file)
    u, i = np.repeat(users[:20], 20), np.tile(items[:20], 20)
    for how, copy in (("loaded", loaded), ("unpickled", pickle.loads(pickle.dumps(model)))):
        record.add(f"{name} and {how}: predict", copy.predict(u, i))
        record.add_list(f"{name} and {how}: mean", copy.recommend(users[:20]))
        try:
            std = copy.predict(u, i, return_std=True)[1]
        except ValueError:
            # Files and pickles of folded-in models once had no uncertainty; it is that of the model itself.
            std = model.predict(u, i, return_std=True)[1]
        record.add(f"{name} and {how}: std", std)


# ---------------------------------------------------------------------------------------------------------------------
# Cases: models


def factor(k: int = 20, rated: str | None = "both", **options: Any) -> Any:
    """A `FactorALS` of few iterations."""
    few: dict[str, Any] = {"max_iter": 6, "tol": 0.0, "random_state": 1, "n_jobs": THREADS}
    return alsx.FactorALS(k, **{**few, RATED_SETS: rated, **options})


def bayes(k: int = 10, rated: str | None = "both", **options: Any) -> Any:
    """A `BayesALS` of few draws."""
    few: dict[str, Any] = {"n_samples": 8, "burn_in": 2, "als_iter": 2, "random_state": 1, "n_jobs": THREADS}
    return alsx.BayesALS(k, **{**few, RATED_SETS: rated, **options})


def bias(*arguments: Any, **options: Any) -> Any:
    """A `BiasALS`."""
    return alsx.BiasALS(*arguments, n_jobs=THREADS, **options)


def case_fit(data: Data, model: Any, **fit: Any) -> Record:
    """A fit: what was learned, and what it predicts and recommends, also from a file."""
    record, generator = Record(), np.random.default_rng(7)
    fitted = model.fit(data.ratings, **fit)
    record.add_model("fit", fitted)
    users, items = (generator.choice(ids, 60, replace=False) for ids in (fitted.user_ids_, fitted.item_ids_))
    # The simulated data's first ones have no ratings.
    users, items = np.append(users, data.ratings.user_ids[[3, 50]]), np.append(items, data.ratings.item_ids[[2, 40]])
    add_uses(record, "fit", fitted, data, users, items, users[:20])
    add_copies(record, "fit", fitted, data, users, items)
    u, i = (generator.choice(ids, N_MANY_PAIRS) for ids in (fitted.user_ids_, fitted.item_ids_))
    record.add("fit: predict many pairs", fitted.predict(u, i))
    record.add("fit: predict Ratings", fitted.predict(data.held_out()))
    return record


def newcomers(data: Data, ids: Array, others: Array, seed: int) -> tuple[Array, Array, Array, Array]:
    """Ratings of new rows: the rows, those of the other side, values and weights."""
    generator = np.random.default_rng(seed)
    counts = np.minimum(1 + (7 * np.arange(len(ids))) % 26, len(others))
    rows = np.repeat(ids, counts)
    chosen = [generator.choice(others, n, replace=False) for n in counts]
    values, weights = some_ratings(data, len(rows), generator), generator.choice([0.5, 1.0, 3.0], len(rows))
    return rows, np.concatenate(chosen), values, weights


def fold_in(model: Any, side: str, new: tuple[Array, Array, Array, Array], features: Any, weighted: bool) -> Any:
    """The model with the new rows: users as pairs of ids, items as a frame."""
    rows, others, values, weights = new
    told = {"sample_weight": weights if weighted else None, "side": side, "features": features}
    if side == "user":
        return model.fold_in(list(zip(rows.tolist(), others.tolist(), strict=True)), values, **told)
    columns = {"user": others.tolist(), "item": rows.tolist(), "rating": values}
    return model.fold_in(pa.table({name: pa.array(x) for name, x in columns.items()}), **told)


def add_rows(record: Record, name: str, model: Any, side: str, ids: Array) -> None:
    """Store the vectors and counts of some rows."""
    codes = np.searchsorted(getattr(model, f"{side}_ids_"), ids)
    for part in ("ids_", "counts_", "biases_", "factors_"):
        if hasattr(model, f"{side}_{part}"):
            record.add(f"{name}: {side}_{part}", getattr(model, f"{side}_{part}")[codes])


def case_fold_in(data: Data, model: Any, weighted: bool = False, features: bool = False, **fit: Any) -> Record:
    """Fold-ins of users, of items, and of both in either order; some of their ids were there before."""
    record, generator = Record(), np.random.default_rng(9)
    fitted = model.fit(data.ratings, **fit)
    old_users, old_items = (generator.choice(ids, 50, replace=False) for ids in (fitted.user_ids_, fitted.item_ids_))
    users = np.concatenate([data.low_users, data.late_users, old_users[:3]])
    items = np.concatenate([data.low_items, data.late_items, old_items[:3]])
    # The last newcomers of each kind are known by their features alone.
    about_users, about_items = (
        (data.features(x, ids) if features else None) for x, ids in (("user", users), ("item", items))
    )
    some_users, some_items = (np.delete(ids, 11) if features else ids for ids in (users, items))
    untouched_users, untouched_items = old_users[3:], old_items[3:]

    # Users alone
    of_users = newcomers(data, some_users, old_items, 1)
    with_users = fold_in(fitted, "user", of_users, about_users, weighted)
    add_rows(record, "users", with_users, "user", users)
    record.add("users: item_counts_", with_users.item_counts_)
    add_uses(record, "users", with_users, data, users, old_items, data.low_users)
    add_copies(record, "users", with_users, data, users, old_items)
    everybody = with_users if np.isin(untouched_users, with_users.user_ids_).all() else fitted
    draws = old_users[:0]  # of nobody but somebody unknown: their rows moved
    add_uses(record, "users, of the fit", everybody, data, untouched_users, old_items, draws)

    # Items alone, and users who rate old and new ones
    of_items = newcomers(data, some_items, old_users, 2)
    with_items = fold_in(fitted, "item", of_items, about_items, weighted)
    all_items = np.concatenate([items, untouched_items])
    record.add_model("items", with_items)
    add_uses(record, "items", with_items, data, old_users, all_items, old_users[:20])
    add_copies(record, "items", with_items, data, old_users, all_items)
    both = fold_in(with_items, "user", newcomers(data, some_users, all_items, 3), about_users, weighted)
    add_rows(record, "items, users", both, "user", users)
    add_uses(record, "items, users", both, data, users, all_items, data.low_users)

    # Users, and items that the newcomers rated. The last late user is in the table of features, hence known to some fits:
    # what the model has learned of items from users it knew is a question of its own when they are replaced.
    raters = np.concatenate([data.low_users, data.late_users[:-1]])
    both = fold_in(with_users, "item", newcomers(data, some_items, raters, 4), about_items, weighted)
    add_rows(record, "users, items", both, "user", users)
    add_rows(record, "users, items", both, "item", all_items)
    add_uses(record, "users, items", both, data, users, all_items, data.low_users)
    of_replaced = fold_in(with_users, "item", newcomers(data, data.late_items[:2], users[-3:], 5), None, weighted)
    add_rows(record, "items of replaced users", of_replaced, "item", data.late_items[:2])

    # The same from a file: loaded, folded into twice
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(Path(folder, "model.npz"))
        loaded = fold_in(alsx.load(Path(folder, "model.npz")), "user", of_users, about_users, weighted)
    record.add("loaded, users: std", loaded.predict(users, old_items[0], return_std=True)[1])
    loaded = fold_in(loaded, "item", newcomers(data, some_items, raters, 4), about_items, weighted)
    record.add("loaded, users, items: predict", loaded.predict(users, items[0]))
    try:
        std = loaded.predict(users, items[0], return_std=True)[1]
    except ValueError:
        # This failed once, since rows of loaded models were narrower; it is that of the model that was not loaded.
        std = both.predict(users, items[0], return_std=True)[1]
    record.add("loaded, users, items: std", std)

    if features:
        alone = fitted.fold_in(side="user", features=about_users)
        add_rows(record, "users by features", alone, "user", users)
        add_uses(record, "users by features", alone, data, users, old_items, data.low_users)
        alone = fitted.fold_in(side="item", features=about_items)
        add_uses(record, "items by features", alone, data, old_users, all_items, old_users[:5])
    return record


# ---------------------------------------------------------------------------------------------------------------------
# Cases: ratings, splits, metrics


def case_inputs(data: Data) -> Record:
    """Ratings from every kind of input."""
    record, ratings = Record(), data.ratings
    u, i, values = ratings.triples()
    for name, part in zip(("users", "items", "values"), (u, i, values), strict=True):
        record.add(f"triples: {name}", part)
    record.add_ratings("given", ratings)
    order = np.random.default_rng(2).permutation(len(values))
    users, items, values = ratings.user_ids[u][order], ratings.item_ids[i][order], values[order]
    weights, when = data.weights(1), order + 1_000_000
    columns = {"userId": users, "movie_id": items, "Rating": values, "timestamp": when}
    table = pa.table({name: pa.array(x.tolist()) for name, x in columns.items()})
    matrix = ratings.to_csr()
    record.add("to_csr: data", matrix.data)
    record.add("to_csr: indices", matrix.indices)
    pairs = list(zip(users.tolist(), items.tolist(), strict=True))
    frame, renamed = pd.DataFrame(columns), pl.DataFrame({"a": users, "b": items, "c": values})
    ways: dict[str, Callable[..., alsx.Ratings]] = {
        "arrays": functools.partial(alsx.Ratings.from_arrays, users, items, values),
        "arrays, timestamps": functools.partial(alsx.Ratings.from_arrays, users, items, values, timestamps=when),
        "pairs": functools.partial(alsx.Ratings, pairs, values),
        "Ratings": functools.partial(alsx.Ratings, ratings),
        "pyarrow": functools.partial(alsx.Ratings, table),
        "pandas": functools.partial(alsx.Ratings, frame),
        "pandas, pairs": functools.partial(alsx.Ratings, frame[["userId", "movie_id"]], values),
        "polars": functools.partial(alsx.Ratings, pl.DataFrame(columns)),
        "polars, named": functools.partial(alsx.Ratings, renamed, user="a", item="b", rating="c"),
        "sparse matrix": functools.partial(alsx.Ratings, scipy.sparse.csr_matrix(matrix)),
        "sparse float64, shared": functools.partial(alsx.Ratings, matrix.astype(np.float64), copy=False),
    }
    for layout in ("csr", "csc", "coo", "lil", "dok"):
        ways[f"sparse {layout}"] = functools.partial(alsx.Ratings, matrix.asformat(layout))
    with tempfile.TemporaryDirectory() as folder:
        csv, tsv, zipped, parquet = (Path(folder, f"r.{ending}") for ending in ("csv", "tsv", "csv.gz", "parquet"))
        pyarrow.csv.write_csv(table, csv)
        pyarrow.csv.write_csv(table, tsv, pyarrow.csv.WriteOptions(delimiter="\t"))
        zipped.write_bytes(gzip.compress(csv.read_bytes()))
        pyarrow.parquet.write_table(table, parquet)
        ways |= {file.name: functools.partial(alsx.Ratings, file) for file in (csv, tsv, zipped, parquet)}
        for name, make in ways.items():
            record.add_ratings(name, make())
            record.add_ratings(f"{name}, weights, float64", make(sample_weight=weights, dtype="float64"))
    # Pairs that come twice
    many = np.concatenate([np.arange(len(values)), order[:2_000]])
    again = users[many], items[many], np.append(values, values[:2_000])
    for duplicates in ("last", "mean", "sum"):
        for told in ({}, {"sample_weight": np.append(weights, weights[:2_000]), "timestamps": many}):
            name = f"duplicates {duplicates}{', weights' if told else ''}"
            record.add_ratings(name, alsx.Ratings.from_arrays(*again, duplicates=duplicates, n_jobs=THREADS, **told))
    weighted = alsx.Ratings(ratings, sample_weight=weights)
    record.add_ratings("select", weighted.select(np.random.default_rng(6).random(len(values)) < 0.3))
    record.add("codes", ratings.user_codes([*users[:30].tolist(), data.unknown_user]))
    record.add("codes of items", ratings.item_codes([*items[:30].tolist(), data.unknown_item]))
    return record


def case_splits(data: Data) -> Record:
    """Training and test ratings."""
    record = Record()
    for by in ("random", "user", *(("time",) if data.ratings.timestamps is not None else ())):
        parts = train_test_split(data.ratings, 0.2, by=by, random_state=3)
        for name, part in zip(("train", "test"), parts, strict=True):
            record.add_ratings(f"{by} {name}", part)
    for place, (train, test) in enumerate(k_fold(data.ratings, 3, random_state=3)):
        record.add_ratings(f"fold {place}, train", train)
        record.add_ratings(f"fold {place}, test", test)
    return record


def case_metrics(data: Data) -> Record:
    """Errors and ranking metrics, of lists some of which are padded."""
    record = Record()
    train, test = train_test_split(data.ratings, 0.2, by="user", random_state=3)
    model = factor(8, max_iter=3).fit(train)
    truth, predicted = test.triples()[2], model.predict(test)
    weights = np.random.default_rng(8).random(len(truth))
    for error in (metrics.rmse, metrics.mae):
        record.add(error.__name__, error(truth, predicted))
        record.add(f"{error.__name__}, weights", error(truth, predicted, sample_weight=weights))
    users = test.user_ids
    lists = {
        "whole": model.recommend(users, 10)[0],
        "padded": model.recommend(users, 10, **{CANDIDATES: test.item_ids[:6].tolist()})[0],
    }
    for least in (None, 4.0):
        relevant = metrics.relevant_items(test, users, min_rating=least)
        record.add(f"relevant from {least}", np.concatenate(relevant))
        for name, found in lists.items():
            for score in (metrics.precision_at_n, metrics.recall_at_n, metrics.ndcg_at_n):
                for n in (None, 5):
                    value = score(found, relevant, n)
                    record.add(f"{score.__name__}({n}) of {name} lists from {least}", [float(value), value.n_users])
    return record


def case_data(data: Data) -> Record:
    """The data themselves: where they differ, so does everything else."""
    record = Record()
    record.add_ratings("ratings", data.ratings)
    for name, table in (("user", data.user_features), ("item", data.item_features)):
        for column in table.column_names:
            record.add(f"{name} features: {column}", np.array([repr(x) for x in table[column].to_pylist()]))
    return record


# ---------------------------------------------------------------------------------------------------------------------


def cases(data: Data) -> Iterator[tuple[str, Callable[[], Record]]]:
    """All cases by name."""
    frames = {"user_features": data.user_features, "item_features": data.item_features}
    weights = {"sample_weight": data.weights(1)}
    held_out = {"eval_set": data.held_out()}
    everything = {**frames, **weights, **held_out}
    n_users, n_items = data.ratings.shape
    # More columns than are solved exactly: conjugate gradients
    wide = {
        "user_features": scipy.sparse.random_array((n_users, 1_600), density=0.01, rng=np.random.default_rng(1)),
        "item_features": np.random.default_rng(2).standard_normal((n_items, 3)),
    }
    pair = [(x, y) for x, y in zip(data.ratings.user_ids[:9].tolist(), data.ratings.item_ids[:9].tolist(), strict=True)]

    fits: list[tuple[str, Any, dict[str, Any]]] = [
        ("bias", bias(), {}),
        ("bias, reg, weights, eval_set", bias((3.0, 1.0), reg_scaling=0.5, max_iter=7), weights | held_out),
        *((f"factor, plain, k={k}", factor(k, None), {}) for k in (0, 1, 20, 33, 64)),
        ("factor, plain, k=20, float64", factor(20, None, dtype="float64"), {}),
        ("factor, plain, k=33, float64", factor(33, None, dtype="float64"), {}),
        ("factor, plain, weights, reg_scaling=1", factor(12, None, reg_scaling=1.0, reg=0.05, reg_bias=0.02), weights),
        ("factor, plain, reg_scaling=0", factor(7, None, reg_scaling=0.0, reg=(8.0, 9.0), reg_bias=(4.0, 3.0)), {}),
        ("factor, plain, eval_set, until it converges", factor(5, None, max_iter=30, tol=1e-3), held_out),
        ("factor, plain, n_jobs=1", factor(20, None, n_jobs=1), {}),
        ("factor, user", factor(20, "user"), {}),
        ("factor, item", factor(20, "item"), {}),
        *((f"factor, k={k}", factor(k), {}) for k in (1, 20, 33, 64)),
        ("factor, n_jobs=1", factor(n_jobs=1), {}),
        ("factor, weights, eval_set as pairs", factor(), weights | {"eval_set": (pair, np.arange(9) % 5 + 1.0)}),
        ("factor, k=20, float64", factor(dtype="float64"), {}),
        ("factor, features", factor(), frames),
        ("factor, plain, features", factor(20, None), frames),
        ("factor, plain, features of users", factor(16, None), {"user_features": data.user_features}),
        ("factor, plain, features in matrices", factor(8, None, max_iter=2), wide),
        ("factor, everything, float64", factor(15, dtype="float64", reg_implicit=3.0, reg_features=9.0), everything),
        ("factor, plain, auto", factor(8, None, reg="auto"), {}),
        ("factor, auto, weights, features", factor(8, reg="auto"), frames | weights),
        ("bayes, plain", bayes(20, None), {}),
        ("bayes, plain, k=0", bayes(0, None), {}),
        ("bayes, plain, k=33, float64", bayes(33, None, dtype="float64"), {}),
        ("bayes, plain, long enough to be aligned", bayes(3, None, n_samples=104), {}),
        ("bayes", bayes(20), {}),
        ("bayes, user, n_jobs=1", bayes(rated="user", n_jobs=1), {}),
        ("bayes, item, keep_samples", bayes(rated="item", keep_samples=3), {}),
        ("bayes, features in matrices", bayes(4, None, n_samples=2, keep_samples=2), wide),
        ("bayes, everything", bayes(keep_samples=2), everything),
        ("bayes, everything, float64", bayes(6, dtype="float64"), everything),
    ]
    folds: list[tuple[str, Any, dict[str, Any]]] = [
        ("bias", bias(), {}),
        ("factor, plain", factor(20, None), {}),
        ("factor, plain, weights, n_jobs=1", factor(33, None, n_jobs=1), weights | {"weighted": True}),
        ("factor, user", factor(rated="user"), {}),
        ("factor, item", factor(rated="item"), {}),
        ("factor", factor(), {}),
        ("factor, features", factor(), frames | {"features": True}),
        ("factor, plain, features, float64", factor(9, None, dtype="float64"), frames | {"features": True}),
        ("bayes, plain", bayes(rated=None), {}),
        ("bayes, features, weights", bayes(keep_samples=1), frames | weights | {"features": True, "weighted": True}),
    ]
    if data.name == "larger":
        chosen = ("bias", "factor, plain, k=64", "factor, k=20", "factor, features", "bayes", "bayes, everything")
        fits, folds = ([job for job in jobs if job[0] in chosen] for jobs in (fits, folds))
    else:
        yield "inputs", functools.partial(case_inputs, data)
        yield "splits", functools.partial(case_splits, data)
    yield "data", functools.partial(case_data, data)
    yield "metrics", functools.partial(case_metrics, data)
    for name, model, options in fits:
        yield f"fit, {name}", functools.partial(case_fit, data, model, **options)
    for name, model, options in folds:
        yield f"fold_in, {name}", functools.partial(case_fold_in, data, model, **options)


def write(out: str, data: str | None = None, only: str = "") -> None:
    """Run the cases and write their arrays.

    Parameters
    ----------
    out : path
        Folder, made where there is none; files of cases that were run are replaced.
    data : path, default=None
        ml-100k.zip. Default: that in the folder ALSX_TEST_DATA.
    only : str, default=""
        Run the cases whose name contains this.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    loads: list[Callable[[], Data]] = [lambda: simulated(False), lambda: simulated(True), larger]
    archive = Path(data or Path(os.environ.get("ALSX_TEST_DATA", "."), "ml-100k.zip"))
    if data is not None or archive.exists():
        loads.insert(0, lambda: movielens(archive))
    else:
        print("no ml-100k.zip: its cases are left out", file=sys.stderr)
    begin, failed = time.perf_counter(), []
    for load in loads:
        own = load()
        for name, run in cases(own):
            file = folder / f"{own.name}, {name}.npz"
            if str(only) not in file.stem:
                continue
            start = time.perf_counter()
            file.unlink(missing_ok=True)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)  # many pairs are unknown, on purpose
                    arrays: dict[str, Any] = run().arrays
            except Exception:  # the other cases are worth knowing
                traceback.print_exc()
                failed.append(file.stem)
                continue
            np.savez(file, **arrays)
            print(f"{file.stem}: {len(arrays)} arrays, {time.perf_counter() - start:.2f} s", flush=True)
    print(f"{alsx.__file__}, level {_core.simd_level()}, {time.perf_counter() - begin:.0f} s")
    if failed:
        raise SystemExit(f"{len(failed)} cases failed: {'; '.join(failed)}")


def difference(a: Array, b: Array) -> tuple[float, str]:
    """How two arrays differ: the largest difference over the largest number, and a text, "" where all bits are the same.

    Texts, integers and arrays of different shapes or types have no such size: it is NaN.
    """
    if a.shape != b.shape:
        return np.nan, f"shapes {a.shape} and {b.shape}"
    if a.dtype.kind == b.dtype.kind == "U":
        a, b = (x.astype(np.promote_types(a.dtype, b.dtype)) for x in (a, b))
    if a.dtype != b.dtype:
        return np.nan, f"types {a.dtype} and {b.dtype}"
    if a.tobytes() == b.tobytes():
        return 0.0, ""
    n = np.count_nonzero(a != b)
    if a.dtype.kind != "f":
        return np.nan, f"{n} of {a.size} differ"
    x, y = a.astype(np.float64), b.astype(np.float64)
    differ = ~((x == y) | (np.isnan(x) & np.isnan(y)))
    if not differ.any():
        return 0.0, "signs of zeros or bits of NaNs differ"
    largest = np.abs(x[np.isfinite(x)]).max(initial=np.finfo(np.float64).tiny)
    with np.errstate(invalid="ignore"):
        size = np.abs(x - y)[differ].max() / largest
    return float(size if np.isfinite(size) else np.inf), f"{np.count_nonzero(differ)} of {a.size} differ"


def differences(a: Path, b: Path, leave_out: str) -> tuple[dict[str, tuple[float, str]], int]:
    """How the arrays of two files differ, by name, without those that do not; and the number of arrays compared."""
    with np.load(a) as first, np.load(b) as second:
        names = sorted({*first.files, *second.files})
        names = [name for name in names if not (leave_out and re.search(leave_out, name))]
        found = {name: difference(first[name], second[name]) for name in names if name in first and name in second}
        found |= {name: (np.nan, f"not in {b if name in first else a}") for name in names if name not in found}
    return {name: told for name, told in found.items() if told[1]}, len(names)


def compare(a: str, b: str, verbose: bool = False, leave_out: str = "") -> None:
    """Print how the arrays of two folders differ; exit status 1 if they do.

    Parameters
    ----------
    a, b : path
        Folders that `write` made.
    verbose : bool, default=False
        Name every array that differs.
    leave_out : str, default=""
        A regular expression: arrays in whose name it is found are not compared, since they are meant to differ.
    """
    cases = sorted({file.name for folder in (a, b) for file in Path(folder).glob("*.npz")})
    n_same, n_arrays = 0, 0
    often: collections.Counter[str] = collections.Counter()
    for case in cases:
        lacking = [folder for folder in (a, b) if not Path(folder, case).exists()]
        if lacking:
            print(f"{case[:-4]}: not in {lacking[0]}")
            continue
        differ, n = differences(Path(a, case), Path(b, case), leave_out)
        n_arrays += n
        n_same += not differ
        often.update(list(differ))
        if not differ:
            print(f"{case[:-4]}: identical ({n} arrays)")
            continue
        # Numbers first: ids in lists differ where numbers do.
        worst = max(differ, key=lambda name: np.nan_to_num(differ[name][0], nan=-1.0))
        size, what = differ[worst]
        n_other = sum(np.isnan(size) for size, _ in differ.values())
        print(
            f"{case[:-4]}: largest relative difference {size:.2g} in {worst!r} ({what}); {len(differ)} of {n} arrays differ, "
            f"{n_other} of them not in numbers"
        )
        for name, (size, what) in differ.items() if verbose else ():
            print(f"    {name}: {size:.2g} ({what})")
    for name, count in often.most_common(20):
        print(f"{name!r} differs in {count} cases")
    print(f"{n_same} of {len(cases)} cases identical, {n_arrays} arrays")
    if n_same < len(cases) or not cases:
        raise SystemExit(1)


if __name__ == "__main__":
    fire.Fire({"write": write, "compare": compare})

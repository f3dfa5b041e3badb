"""Calls as users write them, for type checkers: `test_typing.py` runs mypy on them, and the calls themselves."""

import tempfile
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pyarrow as pa
import scipy.sparse

import alsx
from alsx.datasets import load_demo, make_ratings
from alsx.metrics import evaluate, mae, rmse
from alsx.model_selection import cross_validate, k_fold, train_test_split, tune
from alsx.typing import Floats, Id, RatingsLike, Strategy

Array = npt.NDArray[Any]


def fitted_to_whatever_is_ratings(folder: Path) -> None:
    """All kinds of input."""
    columns: dict[str, list[Any]] = {"user": [1, 1, 2, 3], "item": [5, 7, 5, 7], "rating": [4.0, 3.5, 5.0, 2.0]}
    path = folder / "ratings.csv"
    path.write_text("user,item,rating\n1,5,4\n1,7,3.5\n2,5,5\n3,7,2\n")
    inputs: list[RatingsLike] = [
        pd.DataFrame(columns),
        pl.DataFrame(columns),
        pa.table(columns),
        path,
        str(path),
        scipy.sparse.csr_array(np.array([[4.0, 3.5], [5.0, 0.0]])),
        scipy.sparse.coo_matrix(np.array([[4.0, 3.5], [5.0, 0.0]])),
        make_ratings(20, 10, 100, random_state=0),
    ]
    for one in inputs:
        model = alsx.FactorALS(k=2, random_state=0).fit(one)
        assert_type(model, alsx.FactorALS)
    assert_type(alsx.Ratings(path, missing=[-1, 99], duplicates="mean"), alsx.Ratings)
    alsx.Ratings.from_arrays(["ann", "bob"], pl.Series([7, 7]), [4.5, 3.0], timestamps=[1, 2])
    pairs = [("ann", 7), ("bob", 7), ("ann", 3)]
    alsx.BiasALS().fit(pairs, [4.5, 3.0, 5.0]).fit(np.array([[1, 7], [2, 7]]), np.array([4.5, 3.0]), [1.0, 2.0])
    alsx.BiasALS().fit(pairs, y=[4.5, 3.0, 5.0], eval_set=(pairs, [4.0, 3.0, 5.0]))
    alsx.RankALS(k=2, feedback="implicit", confidence="log").fit(pairs)
    alsx.BayesALS(k=2, n_samples=2, burn_in=1, implicit_features=None).fit(pairs, [4.5, 3.0, 5.0])


def used(model: alsx.FactorALS, user: Id, folder: Path) -> None:
    """Predictions, lists, explanations."""
    items = model.item_ids_
    assert_type(model.predict(1, 7), float)
    assert_type(model.predict(user, 7, return_std=True), tuple[float, float])
    assert_type(model.predict([1, 2], [7, 8]), Floats)
    assert_type(model.predict(1, items, return_std=True, clip=False), tuple[Floats, Floats])
    assert_type(model.predict([(1, 7), (2, 8)]), Floats)
    assert_type(model.predict(pd.DataFrame({"user": [1, 2], "item": [7, 8]})), Floats)
    assert_type(model.predict_interval(1, 7, 0.8), tuple[float, float])
    assert_type(model.predict_interval([1, 2], 7), tuple[Floats, Floats])
    ids, scores = model.recommend(user, n=3)
    assert_type(ids, Array)
    assert_type(scores, Floats)
    strategy: Strategy = "mean"
    model.recommend([1, 2], candidates=items, exclude={1: [7], 2: [8]}, strategy=strategy, unknown="prior")
    model.recommend(ratings={7: 4.5, 8: 2.0})
    model.recommend(user, as_frame="polars").head(2)
    assert_type(model.similar_items(7, n=2), tuple[Array, Floats])
    model.similar_users([1, 2], as_frame=True)
    explanation = model.explain(user, 7)
    print(explanation.prediction, [part.contribution for part in explanation.parts])
    model.explain(user, 7, as_frame="arrow")
    more = model.fold_in([(1001, 7), (1001, 8)], [4.5, 2.0])
    assert_type(more, alsx.FactorALS)
    more.partial_fit([(1001, 9)], [3.0], refine=1, refine_rows="touched")
    model.save(folder / "model.npz")
    assert_type(alsx.FactorALS.load(folder / "model.npz"), alsx.FactorALS)
    alsx.load(str(folder / "model.npz"), mmap=True).recommend_all(folder / "lists.parquet", n=2)


def chosen() -> alsx.FactorALS:
    """Splits, errors, tuning, a fit that is followed."""
    ratings = load_demo().ratings
    train, test = train_test_split(ratings, test_size=0.1, by="user", random_state=0)
    assert_type(train, alsx.Ratings)
    model = alsx.FactorALS(
        k=4,
        reg="auto",
        dtype=np.float32,
        max_iter=3,
        callback=lambda iteration: iteration.train_rmse < 0.1,
        on_interrupt="keep",
        random_state=np.random.default_rng(0),
    ).fit(train, eval_set=test, item_features=load_demo().item_features())
    truth = test.triples()[2]
    assert_type(rmse(truth, model.predict(test)), float)
    assert_type(mae(truth, model.predict(test)), float)
    assert_type(evaluate(model, test, n=(5, 10), min_rating=4), dict[str, float])
    assert_type(model.score(test), float)
    for part, rest in k_fold(ratings, 2, random_state=0):
        assert_type((part, rest), tuple[alsx.Ratings, alsx.Ratings])
    cross_validate(alsx.BiasALS(), ratings, cv=2, metrics="rmse")
    tune(alsx.BiasALS(), train, {"reg": [(5.0, 2.0), (10.0, 4.0)]}, resource=None)
    return model


def wrong(model: alsx.FactorALS, train: alsx.Ratings) -> None:
    """What a type checker finds before it is run: each line is an error, or mypy calls the comment unused."""
    model.fit(3.5)  # type: ignore[arg-type]
    model.predict(1.5, 7)  # type: ignore[call-overload]
    model.predict(1, 7).shape  # type: ignore[attr-defined]  # noqa: B018
    model.recommend(1, strategy="best")  # type: ignore[call-overload]
    model.recommend(1, as_frame="dask")  # type: ignore[call-overload]
    model.similar_items(7, unknown="ignore")  # type: ignore[call-overload]
    model.fold_in(train, side="film")  # type: ignore[arg-type]
    train_test_split(train, by="year")  # type: ignore[arg-type]
    alsx.Ratings(3.5)  # type: ignore[arg-type]
    alsx.Ratings(train, duplicates="first")  # type: ignore[arg-type]
    alsx.FactorALS(reg="automatic")  # type: ignore[arg-type]
    alsx.FactorALS(implicit_features="all")  # type: ignore[arg-type]
    alsx.FactorALS(on_interrupt="ignore")  # type: ignore[arg-type]
    alsx.FactorALS(rank=20)  # type: ignore[call-arg]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        fitted_to_whatever_is_ratings(Path(name))
        model = chosen()
        used(model, int(model.user_ids_[0]), Path(name))

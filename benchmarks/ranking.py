"""How good lists are: ours, popularity, EASE, and other libraries where they are installed, with settings chosen on validation.

    python benchmarks/ranking.py [--folder=DIR] [--sets=ml-100k,latest-small] [--splits=time,users] [--models=WORD,...] [--out=CSV]

DIR holds ml-100k.zip and ml-latest-small.zip (or set ALSX_TEST_DATA). `pip install implicit lenskit skrecsys` beside alsx adds
these; what is not installed is left out, with a sentence.

time: of each user's ratings the last fifth by time is the test. users: a fifth of the users is not in the fit at all; the first
four fifths of their ratings are folded in, the last fifth is the test. Lists are full rankings of all films that have training
ratings, but for those that the user has rated before. Relevant are the test films with at least 4 stars ("liked"), or all of
them ("any"). Each model's setting is the one of its grid with the highest NDCG@10 of liked films on a validation part, which is
split off the training ratings by the same rule; then it is fitted to all of these. None has seen the test ratings. Popularity
is the number of training ratings.
"""

import csv
import importlib.util
import itertools
import os
import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as implicit asks for it

import fire
import numpy as np

import alsx
from alsx.datasets import load_movielens
from alsx.metrics import ranking_scores
from alsx.model_selection import train_test_split

CUTOFFS = (10, 100)
LIKED = 4.0
SHOWN = ("ndcg", "recall", "hit_rate", "map", "coverage", "novelty")
# EASE and implicit's ALS on ratings: less than this many stars is next to nothing.
NOTHING = 2.0


class Split(NamedTuple):
    """What a model is fitted to, what it is told of the users whose lists it makes, and what is right for them."""

    train: alsx.Ratings
    given: alsx.Ratings
    test: alsx.Ratings
    folded_in: bool

    @property
    def users(self):
        return self.test.user_ids[np.diff(self.test.by_user.indptr) > 0]


class Model(NamedTuple):
    """A model: fit(split, **setting) -> fitted, lists(split, fitted, **options) -> ids, and what is tried."""

    name: str
    fit: object
    lists: object
    settings: dict
    options: dict


def split_of(ratings, kind):
    """A split of some ratings by time within users, or by users."""
    earlier, later = train_test_split(ratings, 0.2, by="last")
    if kind == "time":
        return Split(earlier, earlier, later, False)
    # Users whose last fifth is not empty, so that each of them can be tested.
    having = np.flatnonzero(np.diff(later.by_user.indptr))
    held = np.zeros(ratings.n_users, bool)
    held[np.random.default_rng(0).permutation(having)[: len(having) // 5]] = True
    train, given, test = (part.select(mask[part.triples()[0]]) for part, mask in (
        (ratings, ~held), (earlier, held), (later, held)))  # fmt: skip
    return Split(train, given, test, True)


def rows_of(split, part, value=None):
    """A sparse matrix users x items of a part, of ones or of values of the ratings."""
    matrix = part.to_csr().astype(np.float64)
    matrix.data[:] = 1.0 if value is None else value(matrix.data)
    matrix.eliminate_zeros()
    return matrix


def lists_of_scores(split, scores):
    """The best of dense scores (n_users of the test, n_items): ids, without what is rated, and without films nobody rated."""
    users = split.test.user_codes(split.users)
    scores = np.array(scores, np.float64)
    scores[:, np.diff(split.train.by_item.indptr) == 0] = -np.inf
    scores[rows_of(split, split.given)[users].nonzero()] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, : CUTOFFS[-1]]
    ids = split.train.item_ids[best]
    ids[np.take_along_axis(scores, best, 1) == -np.inf] = np.iinfo(np.int64).min
    return ids


# ---------------------------------------------------------------------------------------------------------------------
# Models


def popularity(split):
    return np.diff(split.train.by_item.indptr)


def popular_lists(split, counts):
    return lists_of_scores(split, np.tile(counts, (len(split.users), 1)))


def fit_ours(split, kind="FactorALS", **setting):
    model = getattr(alsx, kind)(random_state=0, **setting).fit(split.train)
    return model.fold_in(split.given) if split.folded_in else model


def our_lists(split, model, **options):
    return model.recommend(split.users, CUTOFFS[-1], **options)[0]


def counted_lists(split, model, weight=0.8):
    """Predicted ratings plus a weight of the log count of ratings, in stars."""
    counts = np.diff(split.train.by_item.indptr)
    known = np.flatnonzero(counts)
    scores = np.full((len(split.users), len(counts)), -np.inf)
    for place, user in enumerate(split.users):
        scores[place, known] = model.predict(user, split.train.item_ids[known], clip=False)
    return lists_of_scores(split, scores + weight * np.log1p(counts))


def two_stages(split, n=50):
    """Candidates by RankALS, in the order of the ratings that FactorALS predicts."""
    return fit_ours(split, "RankALS"), fit_ours(split)


def two_stage_lists(split, models, n=50):
    ranking, rating = models
    ids = our_lists(split, ranking)
    head = ids[:, :n]
    known = head != np.iinfo(head.dtype).min
    users = np.repeat(split.users[:, None], head.shape[1], axis=1)
    stars = np.full(head.shape, -np.inf)
    stars[known] = rating.predict(users[known], head[known], clip=False)
    order = np.argsort(-stars, axis=1, kind="stable")
    return np.hstack([np.take_along_axis(head, order, 1), ids[:, n:]])


def ease(split, l2=200.0, value=None):
    """EASE (Steck 2019). B = I - P / diag(P), P = (X'X + l2 I)^-1, by Woodbury's identity with a matrix of users' size."""
    X, G = (rows_of(split, part, value) for part in (split.train, split.given))
    rated = np.flatnonzero(np.diff(split.train.by_user.indptr))
    X, G = X[rated].toarray(), G[split.test.user_codes(split.users)].toarray()
    solved = np.linalg.solve(X @ X.T + l2 * np.eye(len(X)), X)  # (X X' + l2 I)^-1 X
    diagonal = (1 - np.einsum("ui,ui->i", X, solved)) / l2
    return G - (G - (G @ X.T) @ solved) / l2 / diagonal


def above(values):
    return np.maximum(values - NOTHING, 0)


def implicit_als(split, value=None, alpha=1.0, **setting):
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(iterations=15, random_state=0, use_cg=False, alpha=alpha, **setting)
    model.fit(rows_of(split, split.train, value).tocsr().astype(np.float32), show_progress=False)
    users = split.test.user_codes(split.users)
    factors = model.recalculate_user(
        np.arange(len(users)), rows_of(split, split.given, value).astype(np.float32)[users]
    )
    return factors @ model.item_factors.T


def skrecsys_knn(split, value=None, **setting):
    from skrecsys.recommendation import ItemKNNRecommender

    model = ItemKNNRecommender(**setting)
    users, items, values = split.train.triples()
    model.fit(np.column_stack([users, items]), None if value is None else value(values))
    # Its items are those that have ratings, ascending.
    present = np.unique(items)
    rows = rows_of(split, split.given, value).tocsc()[:, present].tocsr()[split.test.user_codes(split.users)]
    scores = np.zeros((rows.shape[0], split.train.n_items))
    scores[:, present] = (rows @ model.similarity_.T).toarray()
    return scores


def lenskit_als(split, **setting):
    import pandas as pd
    from lenskit.als import ImplicitMFScorer
    from lenskit.data import ItemList, RecQuery, from_interactions_df
    from lenskit.training import TrainingOptions

    users, items, values = split.train.triples()
    data = from_interactions_df(pd.DataFrame({"user_id": users, "item_id": items, "rating": values}))
    model = ImplicitMFScorer(epochs=15, **setting)
    model.train(data, TrainingOptions(rng=0))
    present, given = np.unique(items), split.given.by_user
    scores = np.full((len(split.users), split.train.n_items), -np.inf)
    for place, user in enumerate(split.test.user_codes(split.users)):
        history = given.indices[given.indptr[user] : given.indptr[user + 1]]
        history = history[np.isin(history, present)]
        query = RecQuery(user_items=ItemList(item_ids=history))
        scores[place, present] = model(query, ItemList(item_ids=present)).scores()
    return scores


def all_models():
    """What is measured, in the order of the table."""
    few = {"min_ratings": [0, 5, 20, 50, 100], "strategy": ["mean", "lower"]}
    models = [
        Model("popularity", popularity, popular_lists, {}, {}),
        Model('FactorALS(), strategy="mean"', fit_ours, our_lists, {}, {"strategy": ["mean"]}),
        Model("the same, best of min_ratings and strategies", fit_ours, our_lists, {}, few),
        Model(
            "FactorALS(), predicted + c log(1 + count)", fit_ours, counted_lists, {}, {"weight": [0.2, 0.4, 0.8, 1.2]}
        ),
        Model("FactorALS()", fit_ours, our_lists, {}, {}),
    ]
    if hasattr(alsx, "RankALS"):
        rank = {"kind": ["RankALS"]}
        models += [
            Model("RankALS(), then order by FactorALS()", two_stages, two_stage_lists, {}, {"n": [15, 30, 100]}),
            Model("RankALS()", fit_ours, our_lists, rank, {}),
            Model("RankALS(40)", fit_ours, our_lists, rank | {"k": [40]}, {}),
        ]
    als = {"factors": [40], "regularization": [1.0, 3.0, 10.0, 30.0], "alpha": [0.3, 1.0, 5.0, 20.0]}
    strengths = {"l2": [30.0, 100.0, 300.0, 1000.0, 3000.0]}
    models += [
        Model("EASE on pairs", ease, lists_of_scores, strengths, {}),
        Model("EASE on ratings - 2", ease, lists_of_scores, strengths | {"value": [above]}, {}),
        Model("implicit, ALS on pairs", implicit_als, lists_of_scores, als, {}),
        Model("implicit, ALS on ratings - 2", implicit_als, lists_of_scores, als | {"value": [above]}, {}),
        Model("skrecsys, ItemKNN on pairs", skrecsys_knn, lists_of_scores,
              {"n_neighbors": [50, 100, 200, 400], "shrink": [0.0, 20.0, 100.0]}, {}),
        Model("LensKit, ImplicitMF on pairs", lenskit_als, lists_of_scores,
              {"embedding_size": [40], "regularization": [1.0, 10.0, 30.0], "weight": [1.0, 5.0, 15.0, 40.0]}, {}),
    ]  # fmt: skip
    missing = {name for name in ("implicit", "skrecsys", "lenskit") if importlib.util.find_spec(name) is None}
    for name in sorted(missing):
        print(f"{name} is not installed and left out: pip install {name}", file=sys.stderr)
    return [model for model in models if model.name.split(",")[0].lower() not in missing]


# ---------------------------------------------------------------------------------------------------------------------
# Measuring


def product(grid):
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def judged(split, ids, min_rating):
    """All measures of lists."""
    return ranking_scores(ids, split.test, CUTOFFS, users=split.users, min_rating=min_rating, train=split.train)


def chosen(model, split):
    """The setting and the options that have the best lists of liked films on a validation part."""
    tried = [(setting, product(model.options)) for setting in product(model.settings)]
    if sum(len(options) for _, options in tried) == 1:
        return tried[0][0], tried[0][1][0]
    best = []
    for setting, many in tried:
        fitted = model.fit(split, **setting)
        for options in many:
            score = judged(split, model.lists(split, fitted, **options), LIKED)[f"ndcg@{CUTOFFS[0]}"]
            best.append((score, setting, options))
    return max(best, key=lambda x: x[0])[1:]


def label(setting):
    return " ".join(
        f"{name}={getattr(x, '__name__', x)}" for name, x in setting.items() if name not in ("kind", "value")
    )


def main(folder=None, sets=("ml-100k", "latest-small"), splits=("time", "users"), models=None, out=None):
    """Print the tables."""
    folder = folder or os.environ.get("ALSX_TEST_DATA")
    if not folder:
        raise SystemExit("name the folder of the archives: --folder=DIR, or ALSX_TEST_DATA")
    sets, splits, wanted = (
        x if x is None or isinstance(x, (tuple, list)) else str(x).split(",") for x in (sets, splits, models)
    )
    chosen_models = [
        m for m in all_models() if wanted is None or any(word.lower() in m.name.lower() for word in wanted)
    ]
    rows = []
    head = [
        "set",
        "split",
        "relevant",
        "model",
        "setting",
        "seconds",
        *(f"{name}@{n}" for n in CUTOFFS for name in SHOWN),
    ]
    print("\t".join(head))
    for data, kind in itertools.product(sets, splits):
        name = f"ml-{data}" if data == "latest-small" else data
        file = Path(folder, f"{name}.zip")
        if not file.exists():
            print(f"{file} is not there, so that {data} is left out", file=sys.stderr)
            continue
        whole = split_of(load_movielens(file).ratings, kind)
        inner = split_of(whole.train, kind)
        for model in chosen_models:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # others' own
                setting, options = chosen(model, inner)
                start = time.perf_counter()
                fitted = model.fit(whole, **setting)
                seconds = time.perf_counter() - start
                ids = model.lists(whole, fitted, **options)
            for relevant, least in (("liked", LIKED), ("any", None)):
                scores = judged(whole, ids, least)
                found = [f"{scores[f'{name}@{n}']:.4f}" for n in CUTOFFS for name in SHOWN]
                rows.append([data, kind, relevant, model.name, label(setting | options), f"{seconds:.2f}", *found])
                print("\t".join(rows[-1]), flush=True)
    if out:
        with open(out, "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([head, *rows])


if __name__ == "__main__":
    fire.Fire(main)

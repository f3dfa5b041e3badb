"""Train on MovieLens ratings, recommend films to a user, find similar films, draw the map of films."""

from __future__ import annotations

import re
import shutil
import time
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alsx
from alsx import _check, _cli, _threads
from alsx.examples._busy import busy_sentence, seconds_waited
from alsx.examples._films import check_share, load_films, print_source, source_of, took
from alsx.explorer._items import listed_from
from alsx.metrics import evaluate
from alsx.model_selection import train_test_split

if TYPE_CHECKING:
    from alsx.datasets import MovieLens

# Films that a reader knows, for the lists of similar films, where a data set has them.
WELL_KNOWN = ("Toy Story", "The Matrix", "The Godfather", "Pulp Fiction", "Alien")

MAX_FILMS_ON_MAP = 1000  # more points hide one another
# A film is liked that has at least this share of the highest rating, 4 stars of 5. Lists are measured for so many users, about.
LIKED_SHARE, MEASURED_USERS = 0.8, 20_000
# Of a user to recommend to by default: number of ratings, and how far their mean may be from that of all, in standard deviations.
USER_RATINGS, MAX_MEAN_DISTANCE = 60, 0.2


@_cli.strings("data", "user", "out")
def movielens(
    data: str = "demo",
    *,
    k: int = 20,
    iterations: int = 20,
    test_size: float = 0.1,
    seed: int = 0,
    user: str | None = None,
    out: str = "out",
    n_jobs: int | None = None,
) -> None:
    """Train models that predict ratings and one that ranks, measure predictions and lists, recommend, and draw.

    All models are fitted to the training part of the ratings, and it is the factor model so fitted that predicts, is drawn and
    is saved: its test error is then that of the very model that is seen. Recommendations are those of the model whose lists
    are best. Results are printed on standard output, progress on standard error. The folder named by --out gets history.png
    (loss and RMSE of both rating models), map.png (the films' vectors in two dimensions), factors.png (the films at both ends
    of what tastes differ in) and model.npz (the factor model; alsx.load reads it).

    Parameters
    ----------
    data : str
        "demo" (built in; its ratings are simulated), a MovieLens name such as ml-latest-small or ml-32m (downloaded once), or the
        path of a MovieLens archive or of its unpacked folder.
    k : int
        Latent factors of a film and of a user.
    iterations : int
        The most iterations; fewer where the loss no longer falls.
    test_size : float
        Share of the ratings that is held out at random for the test.
    seed : int
        For the split and for the start of the factors.
    user : str
        Id of the user to recommend to. Default: the first one with a good number of ratings whose mean is not far from
        that of all, since little can be seen where everything is predicted to be liked.
    out : str
        Folder for the pictures and the model.
    n_jobs : int
        Threads. Default: all processors.
    """
    # What can be wrong is found before the work.
    _check.integer("k", k, 1)
    _check.integer("iterations", iterations, 1)
    check_share("test_size", test_size, "ratings")
    _check.integer("seed", seed, 0)
    _threads.resolve(n_jobs)
    folder = _cli.check_folder(out, "--out")

    start, waited = time.perf_counter(), seconds_waited()
    films = load_films(data)
    ratings = films.ratings
    films.table = None  # the ratings are sorted by now, and the table is the larger part of the memory
    _cli.tell(f"read and sorted in {time.perf_counter() - start:.1f} s")
    chosen = choose_user(ratings, user)
    folder.mkdir(parents=True, exist_ok=True)
    _cli.tell("splitting into training and test ratings ...")
    train, test = train_test_split(ratings, test_size, random_state=seed)
    describe(films, ratings, train, test)
    del ratings

    before = seconds_waited()
    bias = alsx.BiasALS(n_jobs=n_jobs, verbose=1).fit(train, eval_set=test)
    model = alsx.FactorALS(k, max_iter=iterations, random_state=seed, n_jobs=n_jobs, verbose=1)
    model.fit(train, eval_set=test)
    fits = sum(bias.history_["seconds"]) + sum(model.history_["seconds"])
    compare(bias, model, busy_sentence(before, seconds_waited(), fits))
    ranking = alsx.RankALS(max_iter=iterations, random_state=seed, n_jobs=n_jobs, verbose=1).fit(train)
    lister = compare_lists(model, ranking, train, test)
    min_ratings = listed_from(model.item_counts_)
    recommend(films, model, lister, train, test, chosen, min_ratings)
    similar(films, model, min_ratings)
    draw(films, bias, model, min_ratings, folder)
    _cli.tell("saving the model ...")
    model.save(folder / "model.npz")
    list_files(model, min_ratings, folder)
    print()
    took(start, waited)


def list_files(model: alsx.FactorALS, min_ratings: int, folder: Path) -> None:
    """Print the files that were written, and what is in them."""
    enough = int((model.item_counts_ >= min_ratings).sum())
    mapped = f"the {enough:,} films with at least {min_ratings} ratings"
    if enough > MAX_FILMS_ON_MAP:
        mapped = f"the {MAX_FILMS_ON_MAP:,} films with the most ratings"
    _cli.heading(f"Written to {folder}")
    _cli.table(
        ["file", "what"],
        [
            ["history.png", "loss and RMSE of both models after each iteration"],
            ["factors.png", "the films at both ends of what tastes differ in most"],
            ["map.png", f"{mapped}, similar ones together"],
            ["model.npz", "the factor model: alsx.load reads it, python -m alsx recommend uses it"],
        ],
    )


def choose_user(ratings: alsx.Ratings, user: str | None) -> Any:
    """Return the id of the user that was asked for, or of the first one with a usual mean and a good number of ratings."""
    if user is not None:
        whole = re.fullmatch(r"[+-]?[0-9]+", user) is not None
        # MovieLens' ids are integers.
        if not whole or not (ratings.user_ids == int(user)).any():
            raise ValueError(
                f"user {user} is unknown; it must be one of the ids from {ratings.user_ids[0]} to {ratings.user_ids[-1]}"
            )
        return int(user)
    counts = np.diff(ratings.by_user.indptr)
    enough = np.flatnonzero(counts >= min(USER_RATINGS, counts.max()))[:1000]
    starts = ratings.by_user.indptr[enough]
    means = [ratings.by_user.values[a : a + n].mean() for a, n in zip(starts, counts[enough], strict=True)]
    usual = np.abs(np.array(means) - ratings.mean) <= MAX_MEAN_DISTANCE * ratings.std
    return ratings.user_ids[enough[np.argmax(usual)]]


def describe(films: MovieLens, ratings: alsx.Ratings, train: alsx.Ratings, test: alsx.Ratings) -> None:
    """Print the shape of the data."""
    print_source(films)
    low, high = ratings.range
    _cli.table(
        ["ratings", "users", "films", "density", "scale", "mean", "std", "training", "test"],
        [
            [
                f"{ratings.n_ratings:,}",
                f"{ratings.n_users:,}",
                f"{ratings.n_items:,}",
                f"{ratings.n_ratings / ratings.n_users / ratings.n_items:.2%}",
                f"{low:g} to {high:g}",
                f"{ratings.mean:.3f}",
                f"{ratings.std:.3f}",
                f"{train.n_ratings:,}",
                f"{test.n_ratings:,}",
            ]
        ],
        "rrrrrrrrr",
    )


def compare(bias: alsx.BiasALS, model: alsx.FactorALS, busy: str) -> None:
    """Print what both models reached, how the factor model got there, and whether the machine was busy meanwhile."""
    _cli.heading("Models")
    rows = []
    for name, fitted in (("BiasALS", bias), (f"FactorALS, k = {model.k}", model)):
        history = fitted.history_
        rows.append(
            [
                name,
                f"{history['train_rmse'][-1]:.4f}",
                f"{history['test_rmse'][-1]:.4f}",
                f"{history['loss'][-1]:,.0f}",
                str(fitted.n_iter_),
                f"{sum(history['seconds']):.2f}",
            ]
        )
    _cli.table(["model", "train RMSE", "test RMSE", "loss", "iterations", "seconds of sweeps"], rows, "lrrrrr")
    gain = 1 - model.history_["test_rmse"][-1] / bias.history_["test_rmse"][-1]
    word = "better" if gain >= 0 else "worse"
    print(f"\nThe factors make the test RMSE {abs(gain):.1%} {word} than biases alone do. Both are in stars.")

    _cli.heading(f"FactorALS, k = {model.k}, iteration by iteration")
    history = model.history_
    shown = sorted({0, 1, 2, 4, 9, 19, 49, 99, model.n_iter_ - 1} & set(range(model.n_iter_)))
    _cli.table(
        ["iteration", "loss", "train RMSE", "test RMSE", "seconds of its sweep"],
        [
            [
                str(x + 1),
                f"{history['loss'][x]:,.0f}",
                f"{history['train_rmse'][x]:.4f}",
                f"{history['test_rmse'][x]:.4f}",
                f"{history['seconds'][x]:.3f}",
            ]
            for x in shown
        ],
        "rrrrr",
    )
    if busy:
        print(f"\n{busy}")


class Popularity:
    """Recommends to everybody the items with the most training ratings: what every list has to be better than."""

    def __init__(self, train: alsx.Ratings) -> None:
        self.train = train
        counts = np.diff(train.by_item.indptr)
        self.popular = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]

    def recommend(self, users: Any, n: int) -> tuple[Any, None]:
        """Return the ids of the most popular items that each user has not rated, padded like a model's."""
        ids, rows = self.train._items, self.train.by_user
        lists = np.full((len(users), n), -1, np.int32)
        for place, code in enumerate(self.train.user_codes(users)):
            rated = rows.indices[rows.indptr[code] : rows.indptr[code + 1]]
            # Behind so many there are n left, or all that there are.
            head = self.popular[: n + len(rated)]
            left = head[~np.isin(head, rated)][:n]
            lists[place, : len(left)] = left
        return ids.of_codes(lists), None


def compare_lists(model: alsx.FactorALS, ranking: alsx.RankALS, train: alsx.Ratings, test: alsx.Ratings) -> Any:
    """Print which of the held-out films that users liked are in lists of ten, and return the model whose lists are best."""
    _cli.tell("measuring lists of ten ...")
    least = LIKED_SHARE * train.range[1]
    users = test.triples()[0]
    every = -(-len(np.unique(users)) // MEASURED_USERS)
    part = test.select(users % every == 0)
    _cli.heading(f"Lists of ten: held-out films with at least {least:g} stars")
    rows, found = [], []
    for name, recommender, options in (
        ("the most popular films", Popularity(train), {}),
        ("FactorALS, the highest predictions", model, {"strategy": "mean"}),
        ("FactorALS, as it recommends", model, {}),
        ("RankALS", ranking, {}),
    ):
        scores = evaluate(recommender, part, 10, metrics=("ndcg", "recall"), min_rating=least, recommend=options)
        rows.append([name, f"{scores['ndcg@10']:.4f}", f"{scores['recall@10']:.4f}"])
        if recommender in (model, ranking) and not options:
            found.append((scores["ndcg@10"], recommender))
    _cli.table(["lists", "NDCG@10", "recall@10"], rows, "lrr")
    print("\nThe best predictions do not make the best lists: what users are likely to watch counts, too.")
    return max(found, key=lambda x: x[0])[1]


def recommend(
    films: MovieLens,
    model: alsx.FactorALS,
    lister: Any,
    train: alsx.Ratings,
    test: alsx.Ratings,
    user: Any,
    min_ratings: int,
) -> None:
    """Print a user's favourite films beside the ten recommended."""
    _cli.heading(f"User {user}: favourites, and what {type(lister).__name__} recommends")
    codes, stars = rated_by(train, user)
    # Of equally rated films the less known ones say more about a taste, as long as they are known at all.
    obscure = model.item_counts_[codes] < min_ratings
    best = np.lexsort((model.item_counts_[codes], obscure, -stars))[:10]
    ids, scores = lister.recommend(user, 10)
    ids, scores = ids[~np.isnan(scores)], scores[~np.isnan(scores)]
    titles, genres = column_widths(2, 28)
    left = [(f"{stars[x]:g}", *film_cells(films, train.item_ids[codes[x]], titles, genres)) for x in best]
    shown = zip(ids.tolist(), model.predict(user, ids), strict=True)
    right = [(f"{score:.2f}", *film_cells(films, item, titles, genres)) for item, score in shown]
    rows = [[*a, "|", *b] for a, b in zip_longest(left, right, fillvalue=("", "", ""))]
    _cli.table(["stars", "favourite", "genres", "|", "predicted", "recommended", "genres"], rows, "rlllrll")
    print(f"\nThe models have seen {len(codes):,} ratings of this user, those in the training part.")
    if lister is model:
        print("FactorALS, whose lists are the better ones above, both recommends and predicts.")
    else:
        print(
            f"{type(lister).__name__}, whose lists are the better ones above, recommends; FactorALS predicts the ratings."
        )
    test_codes, test_stars = rated_by(test, user)
    held_out = dict(zip(test.item_ids[test_codes].tolist(), test_stars.tolist(), strict=True))
    found = [item for item in ids.tolist() if item in held_out]
    if found:
        listed = [f"{films.titles([item], alternates=False)[0]} {held_out[item]:g}" for item in found]
        print(f"Of these the user did rate, held out for the test: {', '.join(listed)}.")


def rated_by(ratings: alsx.Ratings, user: Any) -> tuple[Any, Any]:
    """Return the codes of the films a user rated, and the ratings."""
    row = int(ratings.user_codes(user))
    begin, end = ratings.by_user.indptr[row : row + 2]
    return ratings.by_user.indices[begin:end], ratings.by_user.values[begin:end]


def column_widths(n: int, taken: int) -> tuple[int, int]:
    """Return the widths of titles and of genres where a line has n of both and the rest of it takes so many columns."""
    line = min(max(shutil.get_terminal_size((132, 24)).columns, 100), 150)
    each = (line - taken) // n
    return each - each * 2 // 5, each * 2 // 5


def film_cells(films: MovieLens, item: Any, titles: int, genres: int) -> tuple[str, str]:
    """Return the title with the year and the genres of a film, cut to these widths."""
    name = films.titles([item], alternates=False)[0]
    year = films.titles([item], alternates=False, years=True)[0].removeprefix(name)
    listed = films.genres_of([item])[0]
    text = "/".join(listed)
    while len(listed) > 1 and _cli.width(text) > genres:
        listed = listed[:-1]
        text = "/".join(listed) + "/…"
    return _cli.shortened(name, titles - len(year)) + year, _cli.shortened(text, genres)


def similar(films: MovieLens, model: alsx.FactorALS, min_ratings: int) -> None:
    """Print the films most similar to a few well-known ones."""
    common = np.argsort(-model.item_counts_, kind="stable")
    common = common[model.item_counts_[common] >= max(1, min(min_ratings, model.item_counts_.max()))]
    titles = films.titles(model.item_ids_[common], alternates=False)
    places = [titles.index(title) for title in WELL_KNOWN if title in titles]
    places += [place for place in range(len(titles)) if place not in places]
    chosen = common[places[:5]]
    _cli.heading(
        f"Similar films, of those with at least {min_ratings:,} ratings: the cosine of the angle between their vectors"
    )
    rows = []
    width, genres = column_widths(2, 12)
    for code in chosen:
        ids, scores = model.similar_items(model.item_ids_[code], 5, min_ratings=min_ratings)
        for place, (item, score) in enumerate(zip(ids, scores, strict=True)):
            if np.isnan(score):
                continue
            to = "" if place else film_cells(films, model.item_ids_[code], width, genres)[0]
            rows.append([to, f"{score:.2f}", *film_cells(films, item, width, genres)])
    _cli.table(["film", "cosine", "similar to it", "genres"], rows, "lrll")


def draw(films: MovieLens, bias: alsx.BiasALS, model: alsx.FactorALS, min_ratings: int, folder: Path) -> None:
    """Write the pictures."""
    from alsx import plot

    _cli.tell("drawing loss and RMSE ...")
    source = source_of(films)
    figure = plot.history({"BiasALS": bias, f"FactorALS, k = {model.k}": model}, title=f"Loss and RMSE: {source}")
    _cli.save_figure(figure, folder / "history.png")
    _cli.tell("placing the films on the map ...")
    ids = model.item_ids_
    axes = plot.embedding_map(
        model,
        films.titles(ids, alternates=False),
        films.genres_of(ids),
        min_ratings=min_ratings,
        max_items=MAX_FILMS_ON_MAP,
        source=source,
    )
    whole = axes.get_figure(root=True)
    assert whole is not None
    _cli.save_figure(whole, folder / "map.png")
    n_enough = int((model.item_counts_ >= min_ratings).sum())
    if n_enough >= 2:
        _cli.tell("reading the factors ...")
        figure = plot.factors(
            model,
            films.titles(ids, alternates=False),
            films.genres_of(ids),
            n_items=min(6, n_enough // 2),
            min_ratings=min_ratings,
            title=f"What tastes differ in: {source}",
        )
        _cli.save_figure(figure, folder / "factors.png")


if __name__ == "__main__":
    _cli.run(movielens, "python -m alsx.examples.movielens", {"max_iter": "iterations", "random_state": "seed"})

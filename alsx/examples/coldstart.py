"""Films nobody has rated, users with three ratings or none: what features and fold-in make of them."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alsx
from alsx import _check, _cli, _threads
from alsx._files import atomic_write
from alsx.datasets import load_demo, load_movielens
from alsx.metrics import rmse

if TYPE_CHECKING:
    from alsx.datasets import MovieLens

# How many of a new user's ratings the models are told, step by step.
KNOWN = (0, 1, 2, 3, 5, 10, 20)


@_cli.strings("data", "out")
def coldstart(
    data: str = "demo", *, k: int = 20, share: float = 1 / 6, seed: int = 0, out: str = "out", n_jobs: int | None = None
) -> None:
    """
    Withhold films and users whole, and predict their ratings.

    A share of the films and a share of the users, drawn at random, are taken out of the training ratings. The films are
    then predicted from their genres and years, the users from a few of their ratings (and from what else is known of them,
    where the archive says), beside the bias-only model. Results are printed on standard output; the folder named by --out
    gets coldstart.png, the error against the number of ratings known.

    Parameters
    ----------
    data : str
        "demo" (built in; its ratings are simulated), a MovieLens name such as ml-latest-small or ml-32m (downloaded once), or the
        path of a MovieLens archive or of its unpacked folder.
    k : int
        Latent factors of a film and of a user.
    share : float
        Share of the films, and of the users, that is withheld.
    seed : int
        For what is withheld and for the start of the factors.
    out : str
        Folder for the picture.
    n_jobs : int
        Threads. Default: all processors.
    """
    _check.integer("k", k, 1)
    if not 0 < _check.real("share", share) < 1:
        raise ValueError(f"share is {share}; it is a share of the films and users between 0 and 1, such as 0.2")
    _check.integer("seed", seed, 0)
    _threads.resolve(n_jobs)
    _cli.check_folder(out, "--out")
    start = time.perf_counter()
    _cli.tell(f"reading {data} ...")
    films = load_demo() if data == "demo" else load_movielens(data, timestamps=False)
    u, i, r = films.ratings.triples()
    generator = np.random.default_rng(seed)
    new_user, new_film = (generator.random(n) < share for n in films.ratings.shape)
    told = ~new_user[u] & ~new_film[i]
    if not told.any() or not (new_film[i] & ~new_user[u]).any() or not (new_user[u] & ~new_film[i]).any():
        raise ValueError(f"share is {share}: with it no ratings are left to train on, or none to predict")
    train = films.ratings.select(told)
    known_of_users = films.user_features() if films.users is not None else None
    _cli.heading(f"Data: {films.name}")
    if films.simulated:
        print("These ratings are SIMULATED, drawn from planted tastes; only the films are real.\n")
    print(
        f"{train.n_ratings:,} of {len(r):,} ratings are for training; withheld are {new_film.sum():,} of {len(new_film):,} "
        f"films and {new_user.sum():,} of {len(new_user):,} users, with all of their ratings."
    )
    bias = alsx.BiasALS(n_jobs=n_jobs).fit(train)
    _cli.tell("fitting with features of the films ...")
    model = alsx.FactorALS(k, random_state=seed, n_jobs=n_jobs, verbose=1)
    model.fit(train, item_features=films.item_features(), user_features=known_of_users)

    unrated(films, model, bias, u, i, r, new_film[i] & ~new_user[u])
    curves = newcomers(films, model, bias, generator, u, i, r, new_user, new_film, known_of_users)
    stranger(films, model, u, i, r, new_user, new_film)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    draw(films, curves, folder / "coldstart.png")
    print(f"\n{folder / 'coldstart.png'} shows the error against the ratings known.")
    print(f"All of it took {time.perf_counter() - start:.1f} s.")


def unrated(films: MovieLens, model: Any, bias: Any, u: Any, i: Any, r: Any, which: Any) -> None:
    """Films that nobody has rated, predicted from what they are."""
    _cli.heading("Films nobody has rated, from genres and year")
    users, items = films.ratings.user_ids[u[which]], films.ratings.item_ids[i[which]]
    predicted = {"FactorALS with features": model.predict(users, items), "BiasALS": _quiet(bias, users, items)}
    _cli.table(["model", "RMSE"], [[name, f"{rmse(r[which], values):.4f}"] for name, values in predicted.items()], "lr")
    counts = np.bincount(i[which], minlength=films.ratings.n_items)
    rows = []
    for code in np.argsort(-counts, kind="stable")[:5]:
        mine = i[which] == code
        item = films.ratings.item_ids[code].item()
        guess = predicted["FactorALS with features"][mine].mean()
        genres = "/".join(films.genres_of([item])[0])
        rows.append([films.titles([item], years=True)[0], genres, f"{counts[code]:,}", f"{guess:.2f}"])
        rows[-1].append(f"{r[which][mine].mean():.2f}")
    print()
    _cli.table(["film", "genres", "withheld ratings", "predicted mean", "true mean"], rows, "llrrr")


def _quiet(model: Any, users: Any, items: Any) -> Any:
    """Predictions of pairs of which only a part is known, as is meant here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return model.predict(users, items)


def newcomers(
    films: MovieLens,
    model: Any,
    bias: Any,
    generator: Any,
    u: Any,
    i: Any,
    r: Any,
    new_user: Any,
    new_film: Any,
    known_of_users: Any,
) -> dict[str, list[float]]:
    """Errors of both models for new users, by how many of their ratings are known."""
    mine = np.flatnonzero(new_user[u] & ~new_film[i])
    mine = mine[generator.permutation(len(mine))]
    mine = mine[np.argsort(u[mine], kind="stable")]
    counts = np.bincount(u[mine], minlength=len(new_user))
    place = np.arange(len(mine)) - np.concatenate([[0], np.cumsum(counts)])[u[mine]]
    # The same ratings are predicted at every step: those after the most that are ever known.
    most = max(n for n in KNOWN if n == 0 or (counts >= n + 5).sum() >= min(20, (counts > 0).sum()))
    asked = (place >= most) & (counts[u[mine]] >= most + 5 * (most > 0))
    users, items, truth = (x[mine[asked]] for x in (films.ratings.user_ids[u], films.ratings.item_ids[i], r))
    curves: dict[str, list[float]] = {"known": [], "FactorALS": [], "BiasALS": []}
    everyone = np.unique(users)
    for n in (n for n in KNOWN if n <= most):
        given = mine[(place < n) & np.isin(films.ratings.user_ids[u[mine]], everyone)]
        rated = None
        if n:
            rated = alsx.Ratings.from_arrays(
                films.ratings.user_ids[u[given]], films.ratings.item_ids[i[given]], r[given]
            )
        about = None
        if known_of_users is not None:
            about = known_of_users.filter(np.isin(known_of_users["user"].to_numpy(), everyone))
        curves["known"].append(n)
        for name, fitted, features in (("FactorALS", model, about), ("BiasALS", bias, None)):
            if rated is not None or features is not None:
                fitted = fitted.fold_in(rated, features=features)
            curves[name].append(float(rmse(truth, _quiet(fitted, users, items))))
    _cli.heading(f"New users: {len(truth):,} ratings of {len(everyone):,} of them, by how many others are known")
    rows = [[str(n), f"{a:.4f}", f"{b:.4f}"] for n, a, b in zip(*curves.values(), strict=True)]
    _cli.table(["ratings known", "RMSE of FactorALS", "RMSE of BiasALS"], rows, "rrr")
    return curves


def stranger(films: MovieLens, model: Any, u: Any, i: Any, r: Any, new_user: Any, new_film: Any) -> None:
    """Recommendations to a user with three ratings, and to one with none."""
    mine = np.flatnonzero(new_user[u] & ~new_film[i] & (r >= films.ratings.range[1]))
    counts = np.bincount(u[mine], minlength=len(new_user))
    person = int(np.argmax(counts >= min(3, counts.max())))
    three = mine[u[mine] == person]
    # The best known of his favourites, which a reader knows too.
    popularity = np.diff(films.ratings.by_item.indptr)
    three = three[np.argsort(-popularity[i[three]], kind="stable")[:3]]
    floor = int(
        np.partition(model.item_counts_, -min(300, len(model.item_counts_)))[-min(300, len(model.item_counts_))]
    )
    name = films.ratings.user_ids[person].item()
    liked = [(name, item) for item in films.ratings.item_ids[i[three]].tolist()]
    newcomer = model.fold_in(liked, r[three])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        lists = newcomer.recommend(name, 5, min_ratings=floor)[0], newcomer.recommend(-1, 5, min_ratings=floor)[0]
    _cli.heading("Recommended")
    titles = [[films.titles([x], years=True)[0] for x in ids.tolist() if x >= 0] for ids in lists]
    favourites = films.titles([item for _, item in liked], years=True)
    print(f"To a new user who gave {films.ratings.range[1]:g} stars to {', '.join(favourites)}:")
    print("\n".join(f"  {title}" for title in titles[0]))
    print("To a user of whom nothing is known:")
    print("\n".join(f"  {title}" for title in titles[1]))


def draw(films: MovieLens, curves: dict[str, list[float]], file: Path) -> None:
    """Write the picture: error against the ratings known."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained", dpi=150)
    axes = figure.subplots()
    places = np.arange(len(curves["known"]))
    for name, colour in (("BiasALS", "#8a8a8a"), ("FactorALS", "#1f6fb4")):
        axes.plot(places, curves[name], "o-", color=colour, label=name)
        axes.annotate(
            f"{curves[name][-1]:.3f}", (places[-1], curves[name][-1]), (6, 0), textcoords="offset points", va="center"
        )
    axes.set_xticks(places, [str(n) for n in curves["known"]])
    simulated = ", simulated ratings" if films.simulated else ""
    axes.set(xlabel="ratings of a new user that are known", ylabel="RMSE in stars", title=f"{films.name}{simulated}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with atomic_write(file) as png:
        figure.savefig(png, format="png")


if __name__ == "__main__":
    _cli.run(coldstart, "python -m alsx.examples.coldstart")

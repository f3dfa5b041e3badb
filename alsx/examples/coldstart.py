"""Films nobody has rated, users with three ratings or none: what features and fold-in make of them."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alsx
from alsx import _check, _cli, _threads
from alsx.examples._busy import seconds_waited
from alsx.examples._films import check_share, load_films, print_source, source_of, took
from alsx.metrics import rmse
from alsx.model_selection import ColdStart, cold_start

if TYPE_CHECKING:
    import pyarrow as pa

    from alsx.datasets import MovieLens

LISTED_FILMS = 300  # recommended are films among the most rated ones


@_cli.strings("data", "out")
def coldstart(
    data: str = "demo", *, k: int = 20, share: float = 1 / 6, seed: int = 0, out: str = "out", n_jobs: int | None = None
) -> None:
    """Withhold films and users whole, and predict their ratings.

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
    check_share("share", share, "films and users")
    _check.integer("seed", seed, 0)
    _threads.resolve(n_jobs)
    folder = _cli.check_folder(out, "--out")
    start, waited = time.perf_counter(), seconds_waited()
    films = load_films(data)
    generator = np.random.default_rng(seed)
    split = withhold(films, share, generator)
    describe(films, split)
    bias = alsx.BiasALS(n_jobs=n_jobs).fit(split.train)
    _cli.tell("fitting with features of the films ...")
    model = alsx.FactorALS(k, random_state=seed, n_jobs=n_jobs, verbose=1)
    model.fit(split.train, item_features=films.item_features(), user_features=split.user_features)

    predict_new_films(films, split, model, bias)
    measured = predict_new_users(split, model, bias, seed)
    recommend_to_new_users(films, split, model)
    folder.mkdir(parents=True, exist_ok=True)
    draw(films, measured, folder / "coldstart.png")
    print(f"\n{folder / 'coldstart.png'} shows the error against the ratings known.")
    took(start, waited)


@dataclass(frozen=True)
class Split:
    """Ratings, and which users and films are new, that is, withheld from training."""

    ratings: alsx.Ratings
    train: alsx.Ratings
    user_features: pa.Table | None
    u: Any
    """(n_ratings,), codes of the users."""
    i: Any
    """(n_ratings,), codes of the films."""
    r: Any
    """(n_ratings,), in stars."""
    new_user: Any
    """(n_users,), bool."""
    new_film: Any
    """(n_films,), bool."""

    @property
    def of_new_films(self) -> Any:
        """(n_ratings,), bool: a new film, rated by a user who is not new."""
        return self.new_film[self.i] & ~self.new_user[self.u]

    @property
    def of_new_users(self) -> Any:
        """(n_ratings,), bool: by a new user, of a film that is not new."""
        return self.new_user[self.u] & ~self.new_film[self.i]

    def ids(self, which: Any) -> tuple[Any, Any]:
        """Return the ids of the users and films of these ratings."""
        return self.ratings.user_ids[self.u[which]], self.ratings.item_ids[self.i[which]]


def withhold(films: MovieLens, share: float, generator: np.random.Generator) -> Split:
    """Withhold a share of the users and of the films, drawn at random."""
    u, i, r = films.ratings.triples()
    new_user, new_film = (generator.random(n) < share for n in films.ratings.shape)
    kept = ~new_user[u] & ~new_film[i]
    if not kept.any() or not (new_film[i] & ~new_user[u]).any() or not (new_user[u] & ~new_film[i]).any():
        raise ValueError(f"share is {share}; it must leave ratings to train on, and some to predict")
    features = films.user_features() if films.users is not None else None
    return Split(films.ratings, films.ratings.select(kept), features, u, i, r, new_user, new_film)


def describe(films: MovieLens, split: Split) -> None:
    """Print what is withheld."""
    print_source(films)
    print(
        f"{split.train.n_ratings:,} of {len(split.r):,} ratings are for training; withheld are {split.new_film.sum():,} of "
        f"{len(split.new_film):,} films and {split.new_user.sum():,} of {len(split.new_user):,} users, with all of their "
        "ratings."
    )


def predict_new_films(films: MovieLens, split: Split, model: Any, bias: Any) -> None:
    """Print predictions of films that nobody has rated, from their features."""
    _cli.heading("Films nobody has rated, from genres and year")
    which = split.of_new_films
    users, items = split.ids(which)
    predicted = {"FactorALS with features": model.predict(users, items), "BiasALS": predict_quietly(bias, users, items)}
    truth, film = split.r[which], split.i[which]
    _cli.table(["model", "RMSE"], [[name, f"{rmse(truth, values):.4f}"] for name, values in predicted.items()], "lr")
    counts = np.bincount(film, minlength=films.ratings.n_items)
    rows = []
    for code in np.argsort(-counts, kind="stable")[:5]:
        item = films.ratings.item_ids[code].item()
        title, genres = films.titles([item], years=True)[0], "/".join(films.genres_of([item])[0])
        means = (values[film == code].mean() for values in (predicted["FactorALS with features"], truth))
        rows.append([title, genres, f"{counts[code]:,}", *(f"{mean:.2f}" for mean in means)])
    print()
    _cli.table(["film", "genres", "withheld ratings", "predicted mean", "true mean"], rows, "llrrr")


def predict_quietly(model: Any, users: Any, items: Any) -> Any:
    """Predict pairs of which only a part is known, as is meant here, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return model.predict(users, items)


def predict_new_users(split: Split, model: Any, bias: Any, seed: int) -> ColdStart:
    """Print errors of both models for new users, by how many of their ratings are known."""
    features = {} if split.user_features is None else {"FactorALS": split.user_features}
    new = split.ratings.select(split.of_new_users)
    measured = cold_start({"FactorALS": model, "BiasALS": bias}, new, user_features=features, random_state=seed)
    _cli.heading(
        f"New users: {measured.n_ratings:,} ratings of {measured.n_users:,} of them, by how many others are known"
    )
    factors, biases = measured.rmse["FactorALS"], measured.rmse["BiasALS"]
    rows = [[str(n), f"{a:.4f}", f"{b:.4f}"] for n, a, b in zip(measured.known, factors, biases, strict=True)]
    _cli.table(["ratings known", "RMSE of FactorALS", "RMSE of BiasALS"], rows, "rrr")
    behind = measured.known[factors > biases]
    if len(behind):
        counts = np.diff(split.train.by_user.indptr)
        print(
            f"\nWith {', '.join(map(str, behind))} known, biases alone do better. Which films somebody has rated says much about "
            f"users like those in training,\nwho have at least {counts[counts > 0].min()} ratings each, and is extrapolated to "
            'shorter lists; FactorALS(implicit_features="item") does without.'
        )
    return measured


def recommend_to_new_users(films: MovieLens, split: Split, model: Any) -> None:
    """Print recommendations to a user with three ratings, and to one with none."""
    best = films.ratings.range[1]
    mine = np.flatnonzero(split.of_new_users & (split.r >= best))
    counts = np.bincount(split.u[mine], minlength=len(split.new_user))
    person = int(np.argmax(counts >= min(3, counts.max())))
    # The best known of his favourites, which a reader knows too.
    favourites = mine[split.u[mine] == person]
    popularity = np.diff(films.ratings.by_item.indptr)
    favourites = favourites[np.argsort(-popularity[split.i[favourites]], kind="stable")[:3]]
    most_rated = min(LISTED_FILMS, len(model.item_counts_))
    min_ratings = int(np.partition(model.item_counts_, -most_rated)[-most_rated])
    name = films.ratings.user_ids[person].item()
    liked = [(name, item) for item in films.ratings.item_ids[split.i[favourites]].tolist()]
    folded = model.fold_in(liked, split.r[favourites])
    lists = [folded.recommend(user, 5, min_ratings=min_ratings, unknown="prior")[0] for user in (name, -1)]
    titles = [[films.titles([item], years=True)[0] for item in ids.tolist() if item >= 0] for ids in lists]
    _cli.heading("Recommended")
    liked_titles = films.titles([item for _, item in liked], years=True)
    print(f"To a new user who gave {best:g} stars to {', '.join(liked_titles)}:")
    print("\n".join(f"  {title}" for title in titles[0]))
    print("To a user of whom nothing is known:")
    print("\n".join(f"  {title}" for title in titles[1]))


def draw(films: MovieLens, measured: ColdStart, file: Path) -> None:
    """Write the picture: error against the ratings known."""
    from alsx import plot

    axes = plot.cold_start(
        measured, title=f"{source_of(films)}: error for new users by how many of their ratings are known"
    )
    figure = axes.get_figure(root=True)
    assert figure is not None
    _cli.save_figure(figure, file)


if __name__ == "__main__":
    _cli.run(coldstart, "python -m alsx.examples.coldstart", {"random_state": "seed"})

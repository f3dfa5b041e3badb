"""Write the explorer page of a model of MovieLens ratings: the map of films as one HTML file, opened from disk."""

from __future__ import annotations

import time

import alsx
from alsx import _check, _cli, _threads
from alsx.examples._films import load_films, print_source, source_of

PAGE = "explorer.html"


@_cli.strings("data", "out")
def explore(
    data: str = "demo", *, k: int = 20, iterations: int = 20, seed: int = 0, out: str = "out", n_jobs: int | None = None
) -> None:
    """Fit the factor model to all ratings, and write its films as a page: a map to search, to compare and to be advised by.

    In the page, which needs nothing but a browser, films that the same people like lie together; each shows its ten nearest, and
    whoever rates a few gets recommendations at once. The folder named by --out gets explorer.html.

    Parameters
    ----------
    data : str
        "demo" (built in; its ratings are simulated), a MovieLens name such as ml-latest-small or ml-32m (downloaded once), or the
        path of a MovieLens archive or of its unpacked folder.
    k : int
        Latent factors of a film and of a user.
    iterations : int
        The most iterations; fewer where the loss no longer falls.
    seed : int
        For the start of the factors.
    out : str
        Folder for the page.
    n_jobs : int
        Threads. Default: all processors.
    """
    _check.integer("k", k, 1)
    _check.integer("iterations", iterations, 1)
    _check.integer("seed", seed, 0)
    _threads.resolve(n_jobs)
    folder = _cli.check_folder(out, "--out")
    start = time.perf_counter()
    films = load_films(data)
    print_source(films)
    ratings = films.ratings
    films.table = None  # the ratings are sorted by now, and the table is the larger part of the memory
    model = alsx.FactorALS(k, max_iter=iterations, random_state=seed, n_jobs=n_jobs, verbose=1).fit(ratings)
    _cli.tell("placing the films on the map ...")
    from alsx.explorer import write

    folder.mkdir(parents=True, exist_ok=True)
    file = write(model, folder / PAGE, items=films, source=source_of(films))
    films_in_page = int(model._items.has_data.sum())
    print(
        f"{file} holds {films_in_page:,} films in {file.stat().st_size / 1e6:.1f} MB: open it in a browser. It needs no network."
    )
    print(f"All of it took {time.perf_counter() - start:.1f} s.")


if __name__ == "__main__":
    _cli.run(explore, "python -m alsx.examples.explore", {"max_iter": "iterations", "random_state": "seed"})

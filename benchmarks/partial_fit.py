"""How long a day of new ratings takes: `partial_fit` on a model of MovieLens 32M's shape, beside an iteration of a fit.

    python benchmarks/partial_fit.py [--scale=1] [--npz=FILE] [--k=20] [--n_jobs=N] [--days=200,2000,20000]

FILE.npz holds u, i and r (see `make_ml32m.py`); without it the ratings come from `alsx.datasets.make_ratings`, at --scale times
the size. A day's ratings are taken out before the fit: all of them are new pairs, a hundredth come from users who are unseen.
Each day starts from the same fitted model. Times are of one call each, and depend on how popular the items are that a day
touches: all ratings of these are read again.
"""

import copy
import time

import fire
import numpy as np

from alsx import FactorALS, Ratings
from alsx.datasets import make_ratings

N_USERS, N_ITEMS, N_RATINGS = 200_948, 87_585, 32_000_204


def read(npz, scale):
    """Users, items and ratings."""
    if npz is None:
        root = scale**0.5
        shape = int(N_USERS * root), int(N_ITEMS * root), int(N_RATINGS * scale)
        return make_ratings(*shape, k=24, random_state=0).triples()
    with np.load(npz) as stored:
        return stored["u"], stored["i"], stored["r"]


def main(scale=1.0, npz=None, k=20, n_jobs=None, days=(200, 2000, 20_000), iterations=3):
    """Print a table."""
    users, items, ratings = read(npz, scale)
    rng = np.random.default_rng(0)
    late = np.zeros(len(users), bool)
    most = max(days)
    late[rng.choice(len(users), most - most // 100, replace=False)] = True
    newcomers = rng.choice(int(users.max()) + 1, max(1, most // 100 // 20), replace=False)
    held = np.isin(users, newcomers)
    late |= held
    start = time.perf_counter()
    model = FactorALS(k, max_iter=iterations, tol=0, random_state=0, n_jobs=n_jobs)
    model.fit(Ratings.from_arrays(users[~late], items[~late], ratings[~late]))
    print(f"{len(users) - late.sum():,} ratings fitted, {np.mean(model.history_['seconds']):.2f} s an iteration, "
          f"{time.perf_counter() - start:.1f} s in all")  # fmt: skip
    coming = np.concatenate([rng.permutation(np.flatnonzero(late & ~held)), np.flatnonzero(held)])
    print(f"{'ratings':>8} {'users':>8} {'items':>8} {'their ratings':>14} {'seconds':>8} {'refine=1':>9}")
    for n in days:
        some = coming[np.linspace(0, len(coming) - 1, n).astype(int)]
        some = np.unique(some)
        day = Ratings.from_arrays(users[some], items[some], ratings[some])
        seconds = []
        for refine in (0, 1):
            one = copy.copy(model)
            start = time.perf_counter()
            one.partial_fit(day, refine=refine)
            seconds.append(time.perf_counter() - start)
        codes = [one._users.ids.codes(day.user_ids), one._items.ids.codes(day.item_ids)]
        read_again = int(one.user_counts_[codes[0]].sum() + one.item_counts_[codes[1]].sum())
        print(f"{len(some):8,} {day.n_users:8,} {day.n_items:8,} {read_again:14,} {seconds[0]:8.2f} {seconds[1]:9.2f}")


if __name__ == "__main__":
    fire.Fire(main)

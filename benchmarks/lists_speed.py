"""How long the measures of lists take for as many users and items as MovieLens 32M has, and what they need of memory.

    python benchmarks/lists_speed.py [--users=200948] [--items=87585] [--ratings=3200000] [--auc-users=500]

Lists and held-out ratings are random. The first line is one call of `ranking_scores` for lists of 100 at six cut-offs; the second
is diversity with vectors of 20 numbers; the third `evaluate` with whole rankings of all items (AUC, R-precision) for some users.
"""

import resource
import time

import fire
import numpy as np

import alsx
from alsx.metrics import evaluate, ranking_scores


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def timed(what, run, users):
    before, start = peak(), time.perf_counter()
    found = run()
    seconds = time.perf_counter() - start
    print(
        f"{what}: {len(found)} figures in {seconds:.1f} s, {1e6 * seconds / users:.0f} us a user, {peak() - before:.2f} GB"
    )


def main(users=200_948, items=87_585, ratings=3_200_000, auc_users=500):
    """Print the times."""
    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, items + 1) ** 0.9
    keys = rng.integers(0, users, ratings) * items + rng.choice(items, ratings, p=popularity / popularity.sum())
    u, i = np.divmod(np.unique(keys), items)
    held_out = alsx.Ratings.from_arrays(u, i, rng.integers(1, 11, len(u)) / 2)
    users = held_out.n_users
    # A step that shares no factor with the number of items meets no item twice.
    lists = (rng.integers(0, items, (users, 1)) + 797 * np.arange(100)) % items
    given = {"users": held_out.user_ids, "train": held_out}
    n = (1, 5, 10, 20, 50, 100)
    timed("measures of lists of 100", lambda: ranking_scores(lists, held_out, n, **given), users)
    vectors = rng.normal(size=(held_out.n_items, 20))
    both = given | {"item_vectors": vectors, "metrics": "diversity"}
    timed("diversity at 10 and 100", lambda: ranking_scores(lists, held_out, (10, 100), **both), users)
    model = alsx.FactorALS(20, max_iter=1, implicit_features=None, random_state=0).fit(held_out)
    few = held_out.select(held_out.triples()[0] < auc_users)
    whole = {"metrics": ("auc", "r_precision"), "recommend": {"exclude_rated": False}}
    timed("AUC and R-precision", lambda: evaluate(model, few, **whole), auc_users)


if __name__ == "__main__":
    fire.Fire(main)

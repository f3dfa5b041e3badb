"""Write the models that later versions must be able to read: once for each format, never again.

    python tests/saved/make.py

It writes ``format_N_KIND.npz``, N being the format that this version writes, and ``format_N_KIND.expected.npz`` with what the model
says; a set that exists is left alone. `test_saved.py` reads all sets there are.
"""

from pathlib import Path

import numpy as np

import alsx
from alsx._models import persistence
from alsx.datasets import make_ratings

HERE = Path(__file__).parent
PAIRS = np.repeat(np.arange(-1, 9), 10), np.tile(np.arange(-1, 9), 10)


def models():
    """Models with all that a file can hold, by name."""
    R = make_ratings(30, 25, 250, random_state=0)
    features = np.random.default_rng(0).normal(size=(25, 2))
    weights = np.random.default_rng(1).uniform(0.5, 2, R.n_ratings)
    factor = alsx.FactorALS(3, max_iter=3, random_state=0).fit(R, sample_weight=weights, item_features=features)
    folded = factor.fold_in([(900, 3), (900, 4), (1, 2)], [4.0, 2.0, 5.0]).fold_in([(900, 500)], [4.0], side="item")
    names = np.array([f"user {x}" for x in range(30)])
    users, items, values = R.triples()
    bayes = alsx.BayesALS(2, n_samples=4, burn_in=1, als_iter=1, keep_samples=2, random_state=0, dtype="float64")
    return {
        "bias": alsx.BiasALS().fit(alsx.Ratings.from_arrays(names[users], items, values)),
        "factor": factor.set_titles({3: "Brazil", 7: "Alien"}),
        "bayes": bayes.fit(R, item_features=features),
        "rank": alsx.RankALS(3, max_iter=3, random_state=0).fit(R, item_features=features),
        "folded": folded.partial_fit([(901, 3), (901, 501), (4, 3)], [1.0, 2.0, 5.0]),
    }


def answers(model):
    """What a model says, as arrays."""
    users, items = PAIRS
    if model.user_ids_.dtype.kind == "U":
        users = np.array([f"user {x}" for x in users])
    # The order of lists is named, since the default may become another one.
    ids, scores = model.recommend(model.user_ids_[:6], 7, strategy="mean")
    said = {"predicted": model.predict(users, items), "ids": ids, "scores": scores}
    if not isinstance(model, alsx.RankALS):  # whose scores have no standard deviations
        said["std"] = model.predict(users, items, return_std=True)[1]
    return said


def main():
    """Write what is not there yet."""
    for name, model in models().items():
        file = HERE / f"format_{persistence.FORMAT}_{name}.npz"
        if not file.exists():
            model.save(file)
            np.savez(file.with_suffix(".expected.npz"), **answers(model))
            print(f"{file.name}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

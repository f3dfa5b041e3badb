"""How true the models' uncertainty is: coverage of intervals, likelihood, and whether large errors were expected.

    python benchmarks/uncertainty.py [--folder=DIR] [--model=NAME]

The splits are those of accuracy.py, the settings the defaults, no test rating has any part in an estimate. For each model

    coverage    the share of test ratings within `predict_interval` of four levels
    NLL         minus the mean Gaussian log density of test ratings at `predict(..., return_std=True)`
    const       the same with one standard deviation for all, from the training errors: sum e^2 / (n - tr H), H linear
    rho         Spearman correlation of |error| and standard deviation
    ratio       mean squared error over mean variance
    first, then seconds of the first call of `predict` with `return_std`, and of a second one; of the fit for comparison

and for a model with `predict_proba` the test ratings in ten parts of equal size by the probability of a level: the largest
difference between the mean probability and the share of the ratings, level by level, and minus the mean log probability.
"""

import os
import time
from pathlib import Path

import fire
import numpy as np
from accuracy import canonical_folds, random_splits
from scipy.stats import spearmanr

import alsx
from alsx.datasets import load_movielens

LEVELS = (0.5, 0.8, 0.9, 0.95)


def models():
    """Name to model."""
    named = {
        "BiasALS": alsx.BiasALS(),
        "FactorALS": alsx.FactorALS(random_state=0),
        "FactorALS(implicit_features=None)": alsx.FactorALS(implicit_features=None, random_state=0),
    }
    if hasattr(alsx, "BayesALS"):
        named["BayesALS"] = alsx.BayesALS(random_state=0)
        named['BayesALS(likelihood="ordinal")'] = alsx.BayesALS(likelihood="ordinal", random_state=0)
    return named


def constant_variance(model, training):
    """One variance for all ratings: the squared training errors over their number less tr H."""
    sides = model._uncertainty.users, model._uncertainty.items
    freedom = sum(side.degrees_of_freedom(1).sum() for side in sides)
    errors = training.triples()[2] - model.predict(training)
    return (errors**2).sum() / (training.n_ratings - freedom)


def calibration(probabilities, is_level, n_bins=10):
    """For each level the largest difference of mean probability and share among bins of equal size."""
    gaps = []
    for predicted, happened in zip(probabilities.T, is_level.T, strict=True):
        bins = np.array_split(np.argsort(predicted, kind="stable"), n_bins)
        gaps.append(max(abs(predicted[part].mean() - happened[part].mean()) for part in bins))
    return gaps


def density(errors, variance):
    """Minus the mean log density."""
    return float(np.mean(0.5 * np.log(2 * np.pi * variance) + 0.5 * errors**2 / variance))


def main(folder=None, model=None):
    """Print the table; `model` is part of the names to show."""
    folder = folder or os.environ.get("ALSX_TEST_DATA")
    if not folder:
        raise SystemExit("name the folder of the archives: --folder=DIR, or ALSX_TEST_DATA")
    print("set and split\tmodel\t" + "\t".join(f"in {x:.0%}" for x in LEVELS), end="\t")
    print("NLL\tconst\trho\tratio\tRMSE\tfirst\tthen\tfit")
    hundred, small = (load_movielens(Path(folder, f"{name}.zip")) for name in ("ml-100k", "ml-latest-small"))
    for name, parts in (
        ("ml-100k, u1 to u5", canonical_folds(hundred)),
        ("ml-latest-small, 90/10, 3 seeds", random_splits(small.ratings)),
    ):
        for title, estimator in models().items():
            if model and model not in title:
                continue
            rows, distributions = [], []
            for training, test in parts:
                times = [time.perf_counter()]
                estimator.fit(training)
                times.append(time.perf_counter())
                for _ in range(2):
                    mean, std = estimator.predict(test, return_std=True)
                    times.append(time.perf_counter())
                truth = test.triples()[2]
                errors = truth - mean
                inside = []
                for level in LEVELS:
                    low, high = estimator.predict_interval(test, level=level)
                    inside.append(np.mean((truth >= low) & (truth <= high)))
                if hasattr(estimator, "predict_proba"):
                    distributions.append((estimator.predict_proba(test), truth[:, None] == estimator.rating_levels_))
                fit, first, then = np.diff(times)
                rows.append(
                    [*inside, density(errors, std**2),
                     np.nan if distributions else density(errors, constant_variance(estimator, training)),
                     spearmanr(np.abs(errors), std)[0], np.mean(errors**2) / np.mean(std**2), np.mean(errors**2) ** 0.5,
                     first, then, fit]
                )  # fmt: skip
            numbers = "\t".join(f"{x:.4f}" for x in np.mean(rows, axis=0))
            print(f"{name}\t{title}\t{numbers}", flush=True)
            if distributions:
                probabilities, is_level = (np.concatenate(x) for x in zip(*distributions, strict=True))
                gaps = " ".join(f"{100 * x:.1f}" for x in calibration(probabilities, is_level))
                logs = -np.log(np.maximum(probabilities[is_level], 1e-12)).mean()
                print(
                    f"{name}\t{title}\tlargest gap of each level, points: {gaps}; mean log probability {logs:.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    fire.Fire(main)

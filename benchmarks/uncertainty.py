"""How true the models' uncertainty is: coverage of intervals, likelihood, and whether large errors were expected.

    python benchmarks/uncertainty.py [--folder=DIR] [--model=NAME] [--out=FILE.csv]

The splits are those of accuracy.py, the settings the defaults, no test rating has any part in an estimate. For each model

    coverage    the share of test ratings within `predict_interval` of four levels
    NLL         minus the mean Gaussian log density of test ratings at `predict(..., return_std=True)`
    const       the same with one standard deviation for all, from the training errors: sum e^2 / (n - tr H), H linear
    rho         Spearman correlation of |error| and standard deviation
    ratio       mean squared error over mean variance
    first, then seconds of the first call of `predict` with `return_std`, and of a second one; of the fit for comparison

and for a model with `predict_proba` the test ratings of all splits in ten parts of equal size by the probability of a level, in
points, level by level:

    largest     the largest difference between the mean probability and the share of the ratings
    by chance   what it would be if the probabilities were true: the median of sets of ratings that are drawn with them
    beyond      the largest of the differences less two of their standard deviations in those sets
    rms, noise, left    the root mean square of all differences, of those of the sets, and (rms^2 - noise^2)^1/2
    log probability     the mean

docs/uncertainty.csv is what --out wrote.
"""

import os
import time
from pathlib import Path

import fire
import numpy as np
from accuracy import canonical_folds, random_splits, write_row
from scipy.stats import spearmanr

import alsx
from alsx.datasets import load_movielens

LEVELS = (0.5, 0.8, 0.9, 0.95)

SECONDS = ("first", "then", "fit")
FIGURES = (*(f"in {level:.0%}" for level in LEVELS), "NLL", "const", "rho", "ratio", "RMSE", *SECONDS)
STEPS = ("largest", "by chance", "beyond", "rms", "noise", "left", "log probability")


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


def differences(probabilities, is_level, n_bins=10):
    """Mean probability less share of the ratings, in bins of equal size by the probability of each level: (level, bin)."""
    found = []
    for predicted, happened in zip(probabilities.T, is_level.T, strict=True):
        bins = np.array_split(np.argsort(predicted, kind="stable"), n_bins)
        found.append([predicted[part].mean() - happened[part].mean() for part in bins])
    return np.array(found)


def calibration(probabilities, is_level, n_draws=100, seed=0):
    """Differences of mean probability and share, those of ratings drawn with the probabilities (draw, level, bin)."""
    rng, levels = np.random.default_rng(seed), np.arange(probabilities.shape[1])
    below = probabilities.cumsum(axis=1)[:, :-1]
    drawn = []
    for _ in range(n_draws):
        codes = (rng.random((len(below), 1)) > below).sum(axis=1)
        drawn.append(differences(probabilities, codes[:, None] == levels))
    return differences(probabilities, is_level), np.array(drawn)


def density(errors, variance):
    """Minus the mean log density."""
    return float(np.mean(0.5 * np.log(2 * np.pi * variance) + 0.5 * errors**2 / variance))


def steps(probabilities, is_level):
    """What is told of the probabilities of levels, of all splits together."""
    found, drawn = calibration(probabilities, is_level)
    by_level = {
        "largest": np.abs(found).max(axis=1),
        "by chance": np.median(np.abs(drawn).max(axis=2), axis=0),
        "beyond": np.maximum(np.abs(found) - 2 * drawn.std(axis=0), 0).max(axis=1),
    }
    rms, noise = (100 * np.mean(x**2) ** 0.5 for x in (found, drawn))
    return {name: " ".join(f"{100 * x:.1f}" for x in each) for name, each in by_level.items()} | {
        "rms": f"{rms:.2f}",
        "noise": f"{noise:.2f}",
        "left": f"{max(0.0, rms**2 - noise**2) ** 0.5:.2f}",
        "log probability": f"{np.log(np.maximum(probabilities[is_level], 1e-12)).mean():.4f}",
    }


def measured(estimator, parts):
    """Everything that is told of a model on some splits, by name."""
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
    figures = zip(FIGURES, np.mean(rows, axis=0), strict=True)
    told = {name: "" if np.isnan(x) else f"{x:.4f}" for name, x in figures}
    if not distributions:
        return told | dict.fromkeys(STEPS, "")
    return told | steps(*(np.concatenate(x) for x in zip(*distributions, strict=True)))


def main(folder=None, model=None, out=None):
    """Print the table; `model` is part of the names to show, `out` a file in which the rows replace those of before."""
    folder = folder or os.environ.get("ALSX_TEST_DATA")
    if not folder:
        raise SystemExit("name the folder of the archives: --folder=DIR, or ALSX_TEST_DATA")
    print("set and split", "model", *FIGURES, *STEPS, sep="\t")
    hundred, small = (load_movielens(Path(folder, f"{name}.zip")) for name in ("ml-100k", "ml-latest-small"))
    for name, parts in (
        ("ml-100k, u1 to u5", canonical_folds(hundred)),
        ("ml-latest-small, 90/10, 3 seeds", random_splits(small.ratings)),
    ):
        for title, estimator in models().items():
            if model and model not in title:
                continue
            row = {"set": name, "model": title, **measured(estimator, parts)}
            print(*row.values(), sep="\t", flush=True)
            if out is not None:  # seconds are of the machine, and of its other work
                write_row(out, {key: value for key, value in row.items() if key not in SECONDS})


if __name__ == "__main__":
    fire.Fire(main)

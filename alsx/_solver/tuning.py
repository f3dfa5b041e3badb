"""The search for a regularisation by held-out ratings."""

from __future__ import annotations

import itertools

import numpy as np

from alsx._solver.alternation import Alternation, sweeps
from alsx._solver.prediction import HeldOut
from alsx._solver.prior import Penalty

# The ratio of neighbouring regularisations that are tried.
REG_RATIO = 1.35

# Sweeps from the random start at the first regularisation, and from there on at each other one.
FIRST_SWEEPS, NEXT_SWEEPS = 10, 6

# The most steps upwards or downwards.
MAX_STEPS = 4


def best_multiple(fit: Alternation, test: HeldOut, penalties: tuple[Penalty, Penalty]) -> float:
    """Return the multiple of the regularisation of both sides that predicts held-out ratings best.

    Multiples are tried upwards and downwards, each going on from the items' table that the given regularisation led to,
    until the error rises.

    Parameters
    ----------
    fit : Alternation
        At its random start; its tables are changed.
    test : HeldOut
    penalties : pair of Penalty (users, items)
    """
    errors: dict[int, float] = {}

    def error(step: int, n_sweeps: int) -> float:
        for side, penalty in zip((fit.users, fit.items), penalties, strict=True):
            side.regularise(penalty.times(REG_RATIO**step))
        fit.objective = np.inf
        for _ in itertools.islice(sweeps(fit), n_sweeps):
            pass
        errors[step] = test.rmse(fit, fit.n_threads)
        return errors[step]

    error(0, FIRST_SWEEPS)
    start = fit.items.table.copy()
    for way in (1, -1):
        if way == -1 and errors.get(1, np.inf) < errors[0]:
            break
        fit.items.table[:] = start
        for step in range(way, (MAX_STEPS + 1) * way, way):
            if error(step, NEXT_SWEEPS) > errors[step - way]:
                break
    best = min(errors, key=lambda step: errors[step])
    if best - 1 not in errors or best + 1 not in errors:
        return float(REG_RATIO**best)
    # The lowest point of the parabola through the best three.
    low, middle, high = (errors[best + way] for way in (-1, 0, 1))
    curvature = low - 2 * middle + high
    return float(REG_RATIO ** (best + (0.5 * (low - high) / curvature if curvature > 0 else 0.0)))

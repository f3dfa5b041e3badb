"""When a fit ends before its last iteration, and which iterate is then the model.

The loop of `training` asks a `Course` after each iteration. There are four reasons to stop: the loss has converged, a callback
says so, the error of held-out ratings no longer falls, or somebody presses Ctrl-C. None of them costs anything where it is not
asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from alsx import _check
from alsx._solver.alternation import Iteration, SideSnapshot
from alsx._solver.time_offsets import TimeSnapshot

Floats = NDArray[np.float64]
Model = TypeVar("Model", covariant=True)

ON_INTERRUPT = ("raise", "keep")


class StoppingRules(NamedTuple):
    """What may end a fit besides convergence; the defaults are none.

    Parameters
    ----------
    callback : callable or None
        Called with each `Iteration`; a true result ends the fit.
    early_stopping : bool
        End where the error of held-out ratings no longer falls, and keep the best iterate.
    validation_fraction : float
        The share of the ratings that is held out where no held-out ratings are given.
    n_iter_no_change : int
        Iterations without a new best error before the fit ends.
    on_interrupt : {"raise", "keep"}
        Keep the last whole iterate where the fit is interrupted, or raise.
    """

    callback: Callable[[Iteration], Any] | None = None
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 3
    on_interrupt: str = "raise"


def stopping_rules(
    callback: Any, early_stopping: Any, validation_fraction: Any, n_iter_no_change: Any, on_interrupt: Any
) -> StoppingRules:
    """Return the rules that an estimator's parameters ask for, once they are checked."""
    if callback is not None and not callable(callback):
        raise TypeError(
            f"callback is {callback!r:.80}; it must be None or a function of one argument, which is called with each Iteration"
        )
    stops_early = _check.boolean("early_stopping", early_stopping)
    fraction = _check.real("validation_fraction", validation_fraction)
    if not 0 < fraction < 1:
        raise ValueError(f"validation_fraction is {validation_fraction}; it must be above 0 and below 1, such as 0.1")
    patience = _check.integer("n_iter_no_change", n_iter_no_change, 1)
    if not isinstance(on_interrupt, str) or on_interrupt not in ON_INTERRUPT:
        raise ValueError(f'on_interrupt is {on_interrupt!r:.80}; it must be "raise" or "keep"')
    return StoppingRules(callback, stops_early, fraction, patience, on_interrupt)


class Watch(Protocol):
    """Somebody besides the caller's callback who follows a fit, such as scikit-learn's callbacks."""

    def begin(self) -> None:
        """An iteration begins."""

    def end(self, iteration: Iteration, model: Callable[[], Any]) -> bool:
        """An iteration has ended; returns whether the fit is to end. ``model()`` is the fitted model so far."""


class Iterate(NamedTuple):
    """The model after an iteration: a copy that later sweeps do not change.

    Parameters
    ----------
    number : int
        Of the iteration, from 1.
    users, items : SideSnapshot
    squared_errors : pair of ndarray of float64, or None
        The squared errors of the rows of each side in squared rating units; None where the trainer has none that belong to the
        iterate.
    times : TimeSnapshot or None
        Offsets of time.
    """

    number: int
    users: SideSnapshot
    items: SideSnapshot
    squared_errors: tuple[Floats, Floats] | None
    times: TimeSnapshot | None = None


class Course:
    """How a fit goes: its iterations so far, the iterate that is kept, and whether it goes on.

    Parameters
    ----------
    rules : StoppingRules
    tol : float or None
        The share of the loss whose fall ends the fit; None for none.
    burn_in : int
        Iterations that do not count for early stopping: draws of a chain that has not settled.
    take : callable
        ``take(number)`` returns the `Iterate` after the iteration that has just ended.

    Attributes
    ----------
    iterations : list of Iteration
        Those that are whole.
    kept : Iterate or None
        None where none had to be kept: the trainer has it.
    n_settled : int
        How many of the iterations have been added to the end.
    best, best_rmse : int, float
        The iteration with the lowest error of held-out ratings, for early stopping, and the error; 0 while there is none.
    is_interrupted : bool
        Whether somebody pressed Ctrl-C, and an iterate was kept.
    """

    def __init__(self, rules: StoppingRules, tol: float | None, burn_in: int, take: Callable[[int], Iterate]) -> None:
        self.rules, self.tol, self.burn_in, self.take = rules, tol, burn_in, take
        self.iterations: list[Iteration] = []
        self.kept: Iterate | None = None
        self.n_settled = 0
        self.best, self.best_rmse = 0, np.inf
        self.is_interrupted = False

    def add(self, iteration: Iteration) -> None:
        """Add an iteration that has just ended, and keep its iterate where it may be wanted."""
        rules = self.rules
        self.iterations.append(iteration)
        error = np.inf if iteration.test_rmse is None else iteration.test_rmse
        if rules.early_stopping and iteration.number > self.burn_in and error < self.best_rmse:
            self.kept = self.take(iteration.number)
            self.best, self.best_rmse = iteration.number, error
        elif rules.on_interrupt == "keep" and not self.best:
            self.kept = self.take(iteration.number)
        self.n_settled = len(self.iterations)

    def goes_on(self) -> bool:
        """Return whether another iteration follows the last one."""
        rules, last = self.rules, self.iterations[-1]
        if rules.callback is not None and rules.callback(last):
            return False
        if rules.early_stopping and last.number - max(self.best, self.burn_in) >= rules.n_iter_no_change:
            return False
        if self.tol is None or len(self.iterations) == 1:
            return True
        before = self.iterations[-2].loss
        return not (np.isfinite(before) and before - last.loss <= self.tol * before)

    def survives_interrupt(self) -> bool:
        """Return whether the fit can end with an iterate that was kept, now that it is interrupted."""
        if self.rules.on_interrupt != "keep" or self.kept is None:
            return False
        # The interrupt may have come before the last iterate was kept.
        del self.iterations[self.n_settled :]
        # A second interruption, of what is still to be done with the iterate, is not survived.
        survives, self.is_interrupted = not self.is_interrupted, True
        return survives

    def outcome(self) -> Iterate:
        """Return the iterate that is the fit's outcome: the best of them with early stopping, else the last one."""
        return self.take(len(self.iterations)) if self.kept is None else self.kept

    def so_far(self) -> Course:
        """Return what would be the course if the fit ended with the last iteration, whichever is best."""
        last = Course(self.rules, self.tol, self.burn_in, self.take)
        last.iterations = list(self.iterations)
        return last

    def history(self, names: list[str]) -> dict[str, list[float]]:
        """Return what was reached, one entry an iteration."""
        return {name: [getattr(iteration, name) for iteration in self.iterations] for name in names}

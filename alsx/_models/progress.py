"""Progress of a fit: a bar on standard error, or a line an iteration by the logger "alsx"."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from alsx._solver.alternation import Iteration

# Where lines go. A library attaches no handler for good: how they look and where they go is the application's choice.
LOGGER = logging.getLogger("alsx")

# Within an iteration progress is shown so often.
SECONDS_BETWEEN_SHARES = 3.0


def log(message: str) -> None:
    """Log a line that the caller asked for by `verbose`.

    It goes to the handlers that the application has set, or, as `verbose` promises, to standard error where there are none. The
    default level of Python's loggers, which would suppress it, does not count; a level of the logger "alsx" itself does, and so
    does ``logging.disable``.
    """
    if LOGGER.disabled or LOGGER.level > logging.INFO or LOGGER.manager.disable >= logging.INFO:
        return
    file, line, function, _ = LOGGER.findCaller(stacklevel=2)
    record = LOGGER.makeRecord(LOGGER.name, logging.INFO, file, line, message, (), None, function)
    if LOGGER.hasHandlers():
        LOGGER.handle(record)
    elif LOGGER.filter(record):
        logging.StreamHandler(sys.stderr).handle(record)


class Progress:
    """Progress of a fit: a bar on standard error with `verbose` 1, a line an iteration by the logger "alsx" with 2.

    Parameters
    ----------
    name : str
        Of the estimator.
    max_iter : int
        The most iterations.
    verbose : int
    """

    def __init__(self, name: str, max_iter: int, verbose: int) -> None:
        self.name, self.max_iter, self.verbose = name, max_iter, verbose
        self.bar: Any = None
        self.started = self.shown = time.monotonic()

    def __enter__(self) -> Progress:
        # What came before the first iteration says nothing of how long the others take.
        self.started = self.shown = time.monotonic()
        if self.verbose == 1:
            from tqdm import tqdm

            self.bar = tqdm(total=self.max_iter, desc=self.name, unit="iteration", file=sys.stderr)
        return self

    def report_share(self, rows: str, share: float) -> None:
        """Show how much of a half-sweep is done, within one that takes long."""
        if time.monotonic() - self.shown < SECONDS_BETWEEN_SHARES:
            return
        self.shown = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix({rows: f"{share:.0%}"})
        elif self.verbose > 1:
            log(f"{self.name}: {share:.0%} of the {rows}")

    def report(self, iteration: Iteration) -> None:
        """Show what an iteration reached, and how long the fit may still take."""
        self.shown = time.monotonic()
        if not self.verbose:
            return
        reached = {"loss": f"{iteration.loss:.6g}", "train RMSE": f"{iteration.train_rmse:.4f}"}
        if iteration.test_rmse is not None:
            reached["test RMSE"] = f"{iteration.test_rmse:.4f}"
        if self.bar is not None:
            self.bar.set_postfix(reached, refresh=False)  # the bar itself shows the seconds left
            self.bar.update()
            return
        line = ", ".join(f"{name} {value}" for name, value in reached.items())
        place = f"{self.name} {iteration.number}/{self.max_iter}"
        log(f"{place}: {line}, {iteration.seconds:.3f} s, at most {self.seconds_left(iteration.number):.1f} s left")

    def seconds_left(self, n_done: int) -> float:
        """Return how long all iterations that are left would take; a fit that converges takes less."""
        return (self.shown - self.started) / n_done * (self.max_iter - n_done)

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            # The fit may have converged before.
            self.bar.total = self.bar.n
            self.bar.refresh()
            self.bar.close()

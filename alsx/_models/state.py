"""What a fitted model is, whichever estimator was fitted: plain data that never change."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alsx._models.side import FittedSide
from alsx._models.times import TimeEffects
from alsx._models.training import Fitted, fitted_uncertainty
from alsx._solver.gibbs import Chain
from alsx._solver.missing import MissingPairs
from alsx._solver.uncertainty import Uncertainty
from alsx.ratings import CSR, Ids


class Titles(NamedTuple):
    """What people call items.

    Parameters
    ----------
    ids : Ids
        Of the items that have titles.
    texts : ndarray of str, shape (n,)
    """

    ids: Ids
    texts: NDArray[np.str_]

    def of(self, items: Any) -> list[str | None]:
        """Return the titles of items by id, None where there is none."""
        codes = self.ids.codes(items)
        return [None if code < 0 else str(self.texts[code]) for code in codes.tolist()]


class ModelState(NamedTuple):
    """A fitted model.

    Parameters
    ----------
    mean : float
        Of the training ratings.
    rating_range : pair of float
        What predictions are clipped to.
    history : dict of lists of float
    users, items : FittedSide
    seen : CSR
        The ratings that the model has seen, by user.
    uncertainty : Uncertainty or None
        None where nothing can be told of it.
    chain : Chain or None
        Traces and samples, of a sampler.
    reg, reg_bias : pair of float (users, items)
        The regularisation of the fit.
    folded_in_ids : ndarray
        Of the rows that the last fold-in added or replaced.
    best_iter : int
        The iteration of the fit whose model this is, from 1.
    titles : Titles or None
        Of the items, for tables that people read.
    missing : MissingPairs or None
        What pairs without a rating count as, in a model that ranks; None for nothing.
    times : TimeEffects or None
        Offsets of time; None where the model has none.
    """

    mean: float
    rating_range: tuple[float, float]
    history: dict[str, list[float]]
    users: FittedSide
    items: FittedSide
    seen: CSR
    uncertainty: Uncertainty | None
    chain: Chain | None
    reg: tuple[float, float]
    reg_bias: tuple[float, float]
    folded_in_ids: NDArray[Any]
    best_iter: int
    titles: Titles | None = None
    missing: MissingPairs | None = None
    times: TimeEffects | None = None

    @classmethod
    def of(cls, fitted: Fitted) -> ModelState:
        """Return what a model is that has just been fitted."""
        users, items = fitted.penalties
        return cls(
            fitted.mean,
            fitted.rating_range,
            fitted.history,
            fitted.users,
            fitted.items,
            fitted.seen,
            fitted_uncertainty(fitted.users, fitted.items, fitted.seen, fitted.errors),
            fitted.chain,
            (users.reg, items.reg),
            (users.reg_bias, items.reg_bias),
            fitted.users.ids.values[:0],
            fitted.best_iter,
            missing=fitted.missing,
            times=fitted.times,
        )

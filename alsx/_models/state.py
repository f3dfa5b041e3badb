"""What a fitted model is, whichever estimator was fitted: plain data that never change."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from alsx._models.side import FittedSide
from alsx._solver.gibbs import Chain
from alsx._solver.missing import MissingPairs
from alsx._solver.uncertainty import Uncertainty
from alsx.ratings import CSR


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
    missing : MissingPairs or None
        What pairs without a rating count as, in a model that ranks; None for nothing.
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
    missing: MissingPairs | None = None

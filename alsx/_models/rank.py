"""The model that ranks: missing pairs are low ratings of a small weight, or implicit feedback."""

from __future__ import annotations

from typing import Any, NoReturn, Self

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_is_fitted

from alsx import _check
from alsx._models.latent import PenalisedFactors
from alsx._models.training import Specification
from alsx._solver.missing import TRANSFORMS, Confidence, MissingOptions
from alsx._solver.uncertainty import Uncertainty
from alsx.ratings import Ratings, is_frame, is_path

FEEDBACK = ("ratings", "implicit")

# How many standard deviations below the mean of the ratings a missing one is, and its weight, by default.
MISSING_STD, MISSING_WEIGHT = 1.4, 0.5

# The regularisation of factors and biases that None stands for, (users, items), by kind of feedback.
DEFAULT_REG = {"ratings": ((1.3, 1.3), (0.6, 0.6)), "implicit": ((1.3, 1.3), (0.6, 0.6))}


class RankALS(PenalisedFactors):
    """Factors that rank all items, rated or not, by exact alternating least squares over all pairs of users and items."""

    def __init__(
        self,
        k: int = 40,
        *,
        feedback: str = "ratings",
        missing: float | None = None,
        missing_weight: float | None = None,
        alpha: float = 1.0,
        confidence: str = "linear",
        reg: float | tuple[float, float] | None = None,
        reg_bias: float | tuple[float, float] | None = None,
        reg_scaling: float = 0.5,
        implicit_features: str | None = "both",
        reg_implicit: float | tuple[float, float] = (5.0, 5.0),
        reg_features: float | tuple[float, float] = (60.0, 20.0),
        max_iter: int = 20,
        tol: float = 1e-4,
        dtype: Any = "float32",
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.k = k
        self.feedback = feedback
        self.missing = missing
        self.missing_weight = missing_weight
        self.alpha = alpha
        self.confidence = confidence
        self.reg = reg
        self.reg_bias = reg_bias
        self.reg_scaling = reg_scaling
        self.implicit_features = implicit_features
        self.reg_implicit = reg_implicit
        self.reg_features = reg_features
        self.max_iter = max_iter
        self.tol = tol
        self.dtype = dtype
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @property
    def missing_(self) -> float:
        """What a missing rating was taken for, in rating units; 0 for implicit feedback."""
        check_is_fitted(self, "mean_")
        assert self._missing is not None
        return self._missing.value

    def fit(  # type: ignore[override]
        self,
        R: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        user_features: Any = None,
        item_features: Any = None,
    ) -> Self:
        return self._fit(R, self._values_of(R, y), sample_weight, None, (user_features, item_features))

    def _values_of(self, R: Any, y: Any) -> Any:
        """Return the ratings of pairs; of implicit feedback without counts each pair counts once."""
        takes_y = not (scipy.sparse.issparse(R) or is_frame(R) or is_path(R) or isinstance(R, Ratings))
        if self.feedback == "implicit" and y is None and takes_y and hasattr(R, "__len__"):
            return np.ones(len(R))
        return y

    def _specification(self) -> Specification:
        if self.feedback not in FEEDBACK:
            raise ValueError(f'feedback is {self.feedback!r}; it must be "ratings" or "implicit"')
        learns = self._learns_from_rated_items()
        reg, reg_bias = DEFAULT_REG[self.feedback]
        if isinstance(self.reg, str):
            if self.reg == "auto":
                raise ValueError(
                    'reg is "auto", but the error of held-out ratings, which would choose it, does not judge lists: choose it '
                    "by alsx.metrics.ndcg_at_n on held-out ratings, or leave it at its default"
                )
            raise TypeError(f"reg is {self.reg!r}; it must be a number, a pair of numbers (users, items) or None")
        dtype = _check.float_dtype("dtype", self.dtype)
        return Specification(
            name=type(self).__name__,
            k=_check.integer("k", self.k, 0),
            dtype=dtype,
            penalties=self._penalties(reg if self.reg is None else self.reg, reg_bias, dtype),
            max_iter=_check.integer("max_iter", self.max_iter, 1),
            tol=_check.real("tol", self.tol),
            implicit_ridges=self._implicit_ridges(learns),
            feature_ridges=_check.by_side("reg_features", self.reg_features),
            missing=self._missing_options(),
            duplicates="sum" if self.feedback == "implicit" else "raise",
        )

    def _missing_options(self) -> MissingOptions:
        """Return what missing pairs count as, once the parameters are checked."""
        if self.confidence not in TRANSFORMS:
            raise ValueError(f'confidence is {self.confidence!r}; it must be "linear" or "log"')
        alpha = _check.real("alpha", self.alpha)
        if alpha == 0:
            raise ValueError("alpha is 0; it must be above 0, or nothing were known of any pair")
        if self.feedback == "implicit":
            for name, value, remedy in (
                ("missing", self.missing, "leave it out"),
                ("missing_weight", self.missing_weight, "leave it out, and use alpha"),
            ):
                if value is not None:
                    raise ValueError(
                        f"{name} is {value!r}, but missing pairs of implicit feedback are 0 of weight 1: {remedy}"
                    )
            return MissingOptions(0.0, 0.0, 1.0, Confidence(alpha, self.confidence))
        weight = MISSING_WEIGHT if self.missing_weight is None else _check.real("missing_weight", self.missing_weight)
        if not 0 < weight < 1:
            raise ValueError(f"missing_weight is {weight:g}; it must be above 0 and below 1, where a rating has the weight 1")
        value = None if self.missing is None else _check.real("missing", self.missing, -np.inf)
        return MissingOptions(value, MISSING_STD, weight)

    # ------------------------------------------------------------------------------------------------------------
    # Scores

    def predict(self, users: Any, items: Any = None) -> Any:  # type: ignore[override]
        user_codes, item_codes, scalar = self._pairs(users, items)
        scores = self._predict_codes(user_codes, item_codes, clip=False)
        return float(scores[0]) if scalar else scores

    @property
    def predict_interval(self) -> NoReturn:  # type: ignore[override]
        """Not there: scores are no ratings."""
        raise AttributeError("RankALS has no predict_interval: its scores are no ratings; FactorALS predicts ratings")

    def _sigma(self, strategy: str) -> float:
        """Refuse a strategy that needs a standard deviation."""
        raise ValueError(
            f'strategy is "{strategy}", but scores of RankALS have no standard deviation: use strategy="mean", or FactorALS'
        )

    def _uncertainty_of_fit(self) -> Uncertainty:
        """Refuse what needs a standard deviation."""
        raise ValueError("scores of RankALS have no standard deviation: FactorALS predicts ratings, and how certain they are")

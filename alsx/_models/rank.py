"""The model that ranks: missing pairs are low ratings of a small weight, or implicit feedback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn, Self, overload

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.utils.validation import check_is_fitted

from alsx import _check
from alsx._models.latent import PenalisedFactors
from alsx._models.recommendations import ListOptions
from alsx._models.training import Specification
from alsx._solver.alternation import Iteration
from alsx._solver.missing import TRANSFORMS, Confidence, MissingOptions
from alsx._solver.uncertainty import Uncertainty
from alsx.ratings import Ratings, is_frame, is_path
from alsx.typing import DType, Features, Floats, Id, IdArray, RandomState, RatingsLike

FEEDBACK = ("ratings", "implicit")

# How many standard deviations below the mean of the ratings a missing one is, and its weight, by default.
MISSING_STD, MISSING_WEIGHT = 1.4, 0.7

# The regularisation of factors and biases that None stands for, (users, items), by kind of feedback.
DEFAULT_REG = {"ratings": (1.7, 1.0), "implicit": (1.4, 1.0)}


class RankALS(PenalisedFactors):
    """Factors that rank all items, rated or not, by exact alternating least squares over all pairs of users and items.

    A model of ratings predicts what somebody gives to an item that he chose to rate; a list consists of items that he did not
    choose. So this model takes every pair without a rating for a low one of a small weight, and minimises over all pairs ::

        sum over rated pairs (r - y)^2 + v sum over missing pairs (m - y)^2
            + sum_u n_u^e (reg_user sd |p_u - m_u|^2 + reg_bias_user (b_u - m'_u)^2) + the same over items

    with ``y = m + b_u + c_i + p_u . q_i`` the score of a pair, m what a missing rating is taken for (`missing_`), v
    `missing_weight`, n the number of ratings of a row, taken to be 30 where it is less, e `reg_scaling`, sd the standard deviation
    of the ratings, and the prior means of rows as of `FactorALS`. **A score is no rating**: it lies between m and the ratings, and
    only the order of scores means something. All pairs are counted and none is visited, so that an iteration takes hardly longer
    than one of `FactorALS`; each half-sweep is exact, and the loss over all pairs never rises. Pairs are those of users and items
    that have ratings: what nobody has rated yet is not taken for bad.

    With ``feedback="implicit"`` the data are counts (clicks, plays, purchases), or pairs alone, which count once each; counts of a
    pair that comes again are added up. As in Hu, Koren and Volinsky, targets are 1 where something was counted, of the weight 1 +
    `alpha` f(count), and 0 elsewhere, of the weight 1. ``implicit.als.AlternatingLeastSquares(alpha=a)`` takes ``a * count`` for
    the weight of a pair that was counted: that is ours with ``confidence="linear"`` but for the 1. It has no biases, and its
    ``regularization`` is `reg` with ``reg_scaling=0``.

    Parameters
    ----------
    k : int, default=128
        Rank: latent factors a user and an item. Lists get better up to 100 or 200 on MovieLens 100k and latest-small; 40 costs a
        few percent of NDCG, and is several times as fast.
    feedback : {"ratings", "implicit"}, default="ratings"
        What the values are: ratings, of which missing ones are low, or counts, of which missing ones are 0.
    missing : float, default=None
        What a missing rating is taken for, in rating units. None is 1.4 standard deviations below the mean of the ratings. The
        lower it is, the more a list is made of what will be rated, whatever the rating; the higher, of what will be liked. Ratings
        only.
    missing_weight : float, default=None
        The weight of a missing rating, above 0 and below 1, where a rating has 1. None is 0.7. Weights by the popularity of the
        items were tried: with powers of their counts from -0.5 to 0.75, NDCG is the best at 0. Ratings only.
    alpha : float, default=0.5
        How much the weight of a pair of implicit feedback grows with its count, above 0. Implicit feedback only.
    confidence : {"linear", "log"}, default="linear"
        f(count): the count itself, or log(1 + count), for counts of which some are very large. Implicit feedback only.
    reg : float or pair of floats (users, items), default=None
        Regularisation of the factors, at least 0, in units in which the ratings have standard deviation 1. None is 1.7 (1.4 for
        implicit feedback). "auto" is refused: errors of held-out ratings do not judge lists.
    reg_bias : float or pair of floats (users, items), default=None
        Regularisation of the biases, without a unit. None is 1.
    reg_scaling : float, default=0.5
        Exponent of a row's (weighted) number of ratings that multiplies both: 0 is constant. 0.25 and 0.75 are worse.
    implicit_features : {"user", "both", "item"} or None, default="user"
        Whose prior means are learned from rated-item sets, as in `FactorALS`. Those of users make lists better; those of items,
        which `FactorALS` gains most by, do not, since who rates an item is what this model is fitted to anyway.
    reg_implicit : float or pair of floats (users, items), default=10.0
        Ridge of the regression on rated-item sets, in numbers of average rows.
    reg_features : float or pair of floats (users, items), default=(60.0, 20.0)
        Ridge of the regression on features, as of `FactorALS`.
    max_iter : int, default=15
        The most iterations, each of users and then items.
    tol : float, default=1e-4
        Stop when an iteration lowers the loss by less than this share of it.
    dtype : {"float32", "float64"}, default="float32"
        Type of the factors.
    callback : callable, default=None
        Called as ``callback(iteration)`` after each iteration, as that of `FactorALS`; a true result ends the fit.
    warm_start : bool, default=False
        Go on from the model that the last `fit` left, instead of starting anew; see `FactorALS`.
    on_interrupt : {"raise", "keep"}, default="raise"
        What an interruption (Ctrl-C) does to a fit; see `FactorALS`.
    random_state : int, Generator, RandomState or None, default=None
        For the random start of the items' factors. An int gives the same bits at each call.
    n_jobs : int or None, default=None
        Threads; None or -1 for all that this process may use. Results do not depend on it, bit for bit.
    verbose : int, default=0
        1 shows a progress bar on standard error, 2 a line an iteration.

    Attributes
    ----------
    missing_ : float
        m: what a missing rating was taken for, in rating units; 0 for implicit feedback.
    mean_ : float
        The score of a pair of which nothing is known, which is m: that pair is a missing one.
    user_biases_, item_biases_ : ndarray of `dtype`, shapes (n_users,) and (n_items,)
        b_u and c_i in rating units, rows in the order of `user_ids_` and `item_ids_`.
    user_factors_, item_factors_ : ndarray of `dtype`, shapes (n_users, k) and (n_items, k)
        p_u and q_i; their product is in rating units.
    reg_, reg_bias_ : tuple of float (users, items)
        The regularisation of the fit.
    user_ids_, item_ids_ : ndarray
        The ids that were in the training ratings, ascending.
    user_counts_, item_counts_ : ndarray of int64
        Ratings of each that the model has seen: those of the fit, and of rows that were folded in.
    folded_in_ids_ : ndarray
        The ids that the last `fold_in` added or replaced; empty after a fit.
    n_iter_, best_iter_ : int
        Iterations done, and the one whose model this is: the last one.
    history_ : dict of lists of float
        One entry an iteration: ``loss`` (the objective above, over all pairs, in squared rating units), ``train_rmse`` (the
        weighted root mean squared error of all pairs, rated and missing) and ``seconds``.

    Notes
    -----
    A rating of weight w takes the place of w missing ones: its terms are ``w ((r - y)^2 - v (m - y)^2) + v (m - y)^2``, so that one
    of weight 0 is missing. In a count's weight, sample weights multiply ``alpha f(count)``. The defaults for ratings were chosen by
    NDCG of liked and of any items on inner splits of MovieLens 100k and latest-small (the last fifth of each user's ratings), one
    setting for both.

    References
    ----------
    H. Steck, "Training and testing of recommender systems on data missing not at random", KDD 2010, pages 713-722 (missing ratings
    as low ones of a small weight: AllRank).

    Y. Hu, Y. Koren, C. Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008, pages 263-272 (confidence
    weights; the Gram matrix that all rows share).

    S. Rendle, W. Krichene, L. Zhang, Y. Koren, "Revisiting the performance of iALS on item recommendation benchmarks", RecSys 2022,
    pages 427-435 (how far the model goes where rank and regularisation are chosen well).

    Examples
    --------
    >>> from alsx import RankALS
    >>> R = [("ann", 7), ("bob", 7), ("ann", 3), ("cat", 3), ("cat", 5)]
    >>> model = RankALS(k=2, random_state=0).fit(R, [4.5, 3.0, 5.0, 4.0, 1.0])
    >>> ids, scores = model.recommend("bob", n=1)
    >>> ids
    array([3])
    >>> clicks = RankALS(k=2, feedback="implicit", random_state=0).fit(R)
    >>> clicks.recommend("bob", n=1)[0]
    array([3])
    """

    # Scores know what users are likely to rate, and are no ratings.
    _default_strategy = "mean"
    _predicts_ratings = False

    # The error of held-out ratings does not judge lists, so that no fit is ended by it.
    early_stopping = False
    validation_fraction = 0.1
    n_iter_no_change = 3

    def __init__(
        self,
        k: int = 128,
        *,
        feedback: Literal["ratings", "implicit"] = "ratings",
        missing: float | None = None,
        missing_weight: float | None = None,
        alpha: float = 0.5,
        confidence: Literal["linear", "log"] = "linear",
        reg: float | tuple[float, float] | None = None,
        reg_bias: float | tuple[float, float] | None = None,
        reg_scaling: float = 0.5,
        implicit_features: Literal["user", "both", "item"] | None = "user",
        reg_implicit: float | tuple[float, float] = 10.0,
        reg_features: float | tuple[float, float] = (60.0, 20.0),
        max_iter: int = 15,
        tol: float = 1e-4,
        dtype: DType = "float32",
        callback: Callable[[Iteration], object] | None = None,
        warm_start: bool = False,
        on_interrupt: Literal["raise", "keep"] = "raise",
        random_state: RandomState = None,
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
        self.callback = callback
        self.warm_start = warm_start
        self.on_interrupt = on_interrupt
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
        R: RatingsLike,
        y: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        *,
        user_features: Features | None = None,
        item_features: Features | None = None,
    ) -> Self:
        """Fit the model to ratings, or to counts of implicit feedback, and to what is known of users and items besides.

        Parameters
        ----------
        R : Ratings, scipy sparse matrix or array, data frame, path, or array-like of shape (n_ratings, 2)
            Ratings, as `BiasALS.fit` takes them. For implicit feedback counts stand in the place of ratings: a column of them is
            named by ``alsx.Ratings(R, rating="plays")``.
        y : array-like of shape (n_ratings,), default=None
            Ratings, or counts, where `R` holds pairs of ids. With ``feedback="implicit"`` None lets each pair count once.
        sample_weight : array-like of shape (n_ratings,), default=None
            Non-negative weights, as `BiasALS.fit` takes them; a pair of weight 0 is a missing one. Default: all 1.
        user_features, item_features : sparse matrix, array-like or data frame, default=None
            Features of users and of items, as `FactorALS.fit` takes them. Ids that have features and no ratings are scored by what
            features say of the ratings of others, not taken for missing.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For parameters and data that cannot be used, such as negative counts; the message names the argument, the first
            offending place and the remedy.
        numpy.linalg.LinAlgError
            Where a row's equations have no unique solution, which needs a regularisation of 0 or next to it.
        FloatingPointError
            Where numbers leave the range of their type, which needs absurdly large ratings or weights.
        """
        self._fit(R, self._values_of(R, y), sample_weight, None, (user_features, item_features))
        return self

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
            raise ValueError(
                f"missing_weight is {weight:g}; it must be above 0 and below 1, where a rating has the weight 1"
            )
        value = None if self.missing is None else _check.real("missing", self.missing, -np.inf)
        return MissingOptions(value, MISSING_STD, weight)

    # ------------------------------------------------------------------------------------------------------------
    # Scores

    @overload  # type: ignore[override]
    def predict(  # type: ignore[overload-overlap]
        self, users: Id, items: Id
    ) -> float: ...
    @overload
    def predict(self, users: Id | IdArray | RatingsLike, items: Id | IdArray | None = None) -> Floats: ...
    def predict(self, users: Any, items: Any = None) -> Any:
        """Return the scores that items are ranked by. They are no ratings: only their order means something.

        Parameters
        ----------
        users : id or array-like of ids, shape (n,); or data frame, path, array-like of pairs (n, 2), or Ratings
            Users, or pairs, as `FactorALS.predict` takes them.
        items : id or array-like of ids, shape (n,), default=None
            Items. One user with many items, or one item with many users, is fine.

        Returns
        -------
        scores : float, or ndarray of float64, shape (n,)
            A float where user and item are single ids. A missing pair of which nothing is known has the score `missing_`;
            scores are not clipped.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        TypeError
            If ids are of another kind than those the model was fitted to.
        ValueError
            If there are not as many users as items.

        Warns
        -----
        UserWarning
            If more than half of the pairs have an unknown user or item; if a `Ratings` was made from rows in another order than
            that of the scores.
        """
        user_codes, item_codes, scalar = self._pairs(users, items)
        scores = self._predict_codes(user_codes, item_codes, clip=False)
        return float(scores[0]) if scalar else scores

    @property
    def score(self) -> NoReturn:
        """Not there: scores are no ratings, whose errors it would tell."""
        raise AttributeError(
            "RankALS has no score: its scores are no ratings; alsx.metrics.evaluate measures its lists"
        )

    @property
    def predict_interval(self) -> NoReturn:
        """Not there: scores are no ratings."""
        raise AttributeError("RankALS has no predict_interval: its scores are no ratings; FactorALS predicts ratings")

    def _list_options(self, n: int, *args: Any, **options: Any) -> ListOptions:
        """Return what is asked of lists, checked; they are in the order of scores."""
        checked = super()._list_options(n, *args, **options)
        if checked.strategy != "mean":
            raise ValueError(
                f'strategy is "{checked.strategy}", but scores of RankALS, which know what users rate, have no standard deviation '
                'and are to be ordered by alone: use strategy="mean", its default'
            )
        return checked

    def _uncertainty_of_fit(self) -> Uncertainty:
        """Refuse what needs a standard deviation."""
        raise ValueError(
            "scores of RankALS have no standard deviation: FactorALS predicts ratings, and how certain they are"
        )

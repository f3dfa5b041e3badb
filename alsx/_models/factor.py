"""The factor model: mean, biases and latent factors, solved jointly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from alsx import _check
from alsx._models.latent import PenalisedFactors
from alsx._models.times import check_time
from alsx._models.training import Specification
from alsx._solver.alternation import Iteration
from alsx.typing import DType, RandomState

# The regularisation of factors and biases that None stands for, (users, items), with and without rated-item sets.
DEFAULT_REG = {True: ((1.3, 1.8), (0.5, 1.5)), False: (1.25, 0.625)}


class FactorALS(PenalisedFactors):
    """Biases plus latent factors, by exact alternating least squares, with prior means learned from rated-item sets.

    Predicts ``mu + b_u + c_i + p_u . q_i`` with p_u and q_i in R^k, minimising over the observed ratings ::

        sum w (r - mu - b_u - c_i - p_u . q_i)^2
            + sum_u n_u^v (reg_user sd |p_u - m_u|^2 + reg_bias_user (b_u - m'_u)^2)
            + sum_i n_i^v (reg_item sd |q_i - m_i|^2 + reg_bias_item (c_i - m'_i)^2)

    with n the (weighted) number of ratings of a row, taken to be 30 where it is less, v `reg_scaling` and sd the standard
    deviation of the ratings, which makes the model the same on every scale: ratings times 2 give predictions times 2. A
    row's bias and factors are solved jointly by one Cholesky factorisation, each half-sweep is exact, and the loss never
    rises.

    The prior means ``[m_u, m'_u] = W' f_u`` are 0 without `implicit_features` and features. Otherwise f_u is what is known of
    the user, and W is learned with the rest: a ridge regression of [p_u, b_u] on f_u, for which the loss has the terms
    ``reg_implicit`` and ``reg_features`` times the (equally weighted) square of W. With `implicit_features` f_u is the user's
    rated-item set, as in SVD++: ones where the user has rated, over the root of their number, since which items a user chose to
    rate is informative, whatever the ratings. The same holds for items and their raters, and for features of users and items.
    Only the training ratings are used.

    With `time` a rating of user u at t has the prediction ``... + o_u(t)``, a sum of offsets of the periods that t is in, and the
    loss has the sum over all offsets of o^2 / v, v the variance of the offsets of such periods over that of the noise, in squared
    rating units. After the fit b_u has the mean of the offsets of the user's ratings, and o_u(t) is what a time differs from it.

    Parameters
    ----------
    k : int, default=20
        Rank: latent factors a user and an item. Well regularised, accuracy is flat in it from about 10.
    reg : float or pair of floats (users, items), default=None
        Regularisation of the factors, at least 0, in units in which the ratings have standard deviation 1. None is
        (1.3, 1.8) with `implicit_features` and 1.25 without: of settings within 0.1 % of the best RMSE of a grid on two real data
        sets, those that lose least over six sets of different size, density and scale (``benchmarks/defaults.py``).
        "auto" chooses it, together with `reg_bias`, by a tenth of the ratings held out: multiples of the default are
        tried upwards and downwards, each going on from where the one before came to, until the error rises. It is the same
        at each call, and a fit takes two to four times as long.
    reg_bias : float or pair of floats (users, items), default=None
        Regularisation of the biases, without a unit. None is (0.5, 1.5) with `implicit_features` and 0.625 without.
    reg_scaling : float, default=0.5
        Exponent of a row's number of ratings that multiplies both: 0 is constant, 1 "weighted-lambda" regularisation.
    implicit_features : {"both", "user", "item"} or None, default="both"
        Whose prior means are learned from rated-item sets. By default those of both, since that lowers the test RMSE on MovieLens
        100k from 0.910 to 0.877 and on latest-small from 0.835 to 0.800. An iteration takes 1.4 (k = 20) and 1.1 (k = 64) times
        as long on MovieLens 32M's shape (``benchmarks/README.md``). Where rated-item sets are not informative, as among simulated
        ratings, the RMSE rises by up to 1.3 %.
    reg_implicit : float or pair of floats (users, items), default=(5.0, 2.5)
        Ridge of the regression on rated-item sets, in numbers of average rows. Chosen with `reg` and `reg_bias` on inner splits of
        MovieLens 100k and latest-small; an item's raters are more informative than a user's items there, and take half the ridge.
    reg_features : float or pair of floats (users, items), default=None
        Ridge of the regression on features, in numbers of average rows. None chooses it, after the first iteration, by how well
        rows are predicted from the features of the other rows, each left out in turn: large for features that say little
        (demographics on MovieLens 100k), small for ones that say much, also where there are few rows. Rows without ratings are
        predicted by a second regression, in which a row with n ratings has a weight in proportion to n / (n + 200), and whose ridge
        None chooses in the same way. Of more than 500 features the ridges are (60, 20), good ones on MovieLens.
    time : {"day", "session"} or None, default=None
        What a user's ratings of one time have in common. "day": an offset for each user and day (UTC), whose variance is learned
        after the first iteration, so that the loss never rises. "session": also one for each ten minutes and each minute, within
        the day's. Ratings need timestamps then. Predictions that are given `timestamps` of a day, or minute, in which the user has
        training ratings have its offset: on random splits of MovieLens they are better by 0.4 to 1 % ("day") and 1.3 to 2.7 %
        ("session"), which is interpolation within known sessions and no forecast; of each user's last fifth by 0.1 to 1.3 %
        (``docs/accuracy.md``). None by default, since nothing is gained where test ratings are of days without ratings.
    max_iter : int, default=20
        The most iterations, each of users and then items.
    tol : float, default=1e-4
        Stop when an iteration lowers the loss by less than this share of it.
    callback, early_stopping, validation_fraction, n_iter_no_change, warm_start, on_interrupt
        What follows the fit, what may end it early, and where it starts: as of `BiasALS`.
    dtype : {"float32", "float64"}, default="float32"
        Type of the factors. float32 is twice as fast and predicts as well.
    random_state : int, Generator, RandomState or None, default=None
        For the random start of the items' factors. An int gives the same bits at each call.
    n_jobs : int or None, default=None
        Threads; None or -1 for all that this process may use. Results do not depend on it, bit for bit.
    verbose : int, default=0
        1 shows a progress bar on standard error. 2 logs a line an iteration, by the logger "alsx" of the module `logging`: where no
        handler is set up for it, it is shown on standard error.

    Attributes
    ----------
    mean_ : float
        mu, the (weighted) mean of the training ratings.
    user_biases_, item_biases_ : ndarray of `dtype`, shapes (n_users,) and (n_items,)
        b_u and c_i in rating units, rows in the order of `user_ids_` and `item_ids_`.
    user_factors_, item_factors_ : ndarray of `dtype`, shapes (n_users, k) and (n_items, k)
        p_u and q_i; their product is in rating units.
    reg_, reg_bias_ : tuple of float (users, items)
        The regularisation of the fit.
    reg_features_ : tuple of float or None (users, items)
        The ridges of the regressions on features in the fit; None for a side without features.
    user_ids_, item_ids_ : ndarray
        The ids that were in the training ratings, ascending.
    user_counts_, item_counts_ : ndarray of int64
        Ratings of each that the model has seen: those of the fit, and of rows that were folded in.
    folded_in_ids_ : ndarray
        The ids that the last `fold_in` added or replaced; empty after a fit.
    rating_range_ : tuple of float
        Lowest and highest training rating; predictions are clipped to it.
    time_offsets_ : pyarrow.Table
        With `time`: for each user and period what predictions at that time have besides those without a time, in rating units:
        ``user``, ``period``, ``start``, ``n_ratings``, ``offset``. The mean of a user's offsets is part of his bias.
    time_std_ : dict of str to float
        The standard deviation of the offsets of each period, in rating units.
    n_iter_ : int
        Iterations done.
    best_iter_ : int
        The iteration whose model this is, from 1: the last one, or with `early_stopping` the best.
    n_features_in_ : int
        2, users and items: the columns of pairs of ids.
    feature_names_in_ : ndarray of str, shape (2,)
        The names of these columns, where `fit` was given a data frame.
    history_ : dict of lists of float
        One entry an iteration: ``loss`` (the objective above, in squared rating units), ``train_rmse``, ``test_rmse`` (with
        `eval_set`; of clipped predictions) and ``seconds``.

    References
    ----------
    Y. Koren, "Factorization meets the neighborhood: a multifaceted collaborative filtering model", KDD 2008, pages
    426-434 (SVD++: rated-item sets); S. Rendle, L. Zhang, Y. Koren, "On the difficulty of evaluating baselines",
    arXiv 1905.01395, 2019 (its flipped twin for items).

    D. Agarwal, B.-C. Chen, "Regression-based latent factor models", KDD 2009, pages 19-28 (prior means from features).

    Y. Koren, "Collaborative filtering with temporal dynamics", KDD 2009, pages 447-456 (offsets of a user and a day).

    Y. Zhou, D. Wilkinson, R. Schreiber, R. Pan, "Large-scale parallel collaborative filtering for the Netflix prize",
    AAIM 2008, LNCS 5034, pages 337-348 (alternating least squares, weighted-lambda regularisation).

    Y. Koren, R. Bell, C. Volinsky, "Matrix factorization techniques for recommender systems", IEEE Computer 42(8),
    2009, pages 30-37 (biases with factors).

    Examples
    --------
    >>> from alsx import FactorALS
    >>> R = [("ann", 7), ("bob", 7), ("ann", 3), ("cat", 3)]
    >>> model = FactorALS(k=2, random_state=0).fit(R, [4.5, 3.0, 5.0, 4.0])
    >>> ids, scores = model.recommend("bob", n=1)
    >>> ids
    array([3])

    What a user's ratings of one day have in common may be part of the model, of ratings with times:

    >>> from alsx.datasets import load_demo
    >>> R = load_demo().ratings
    >>> model = FactorALS(k=2, time="day", random_state=0).fit(R)
    >>> model.time_offsets_.column_names
    ['user', 'period', 'start', 'n_ratings', 'offset']
    >>> at = model.predict(1, 5, timestamps="2002-11-04")
    >>> round(at - model.predict(1, 5), 3) == round(model.time_offsets_["offset"][1].as_py(), 3)
    True
    """

    def __init__(
        self,
        k: int = 20,
        *,
        reg: float | tuple[float, float] | Literal["auto"] | None = None,
        reg_bias: float | tuple[float, float] | None = None,
        reg_scaling: float = 0.5,
        implicit_features: Literal["both", "user", "item"] | None = "both",
        reg_implicit: float | tuple[float, float] = (5.0, 2.5),
        reg_features: float | tuple[float, float] | None = None,
        time: Literal["day", "session"] | None = None,
        max_iter: int = 20,
        tol: float = 1e-4,
        dtype: DType = "float32",
        callback: Callable[[Iteration], object] | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        warm_start: bool = False,
        on_interrupt: Literal["raise", "keep"] = "raise",
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.k = k
        self.reg = reg
        self.reg_bias = reg_bias
        self.reg_scaling = reg_scaling
        self.implicit_features = implicit_features
        self.reg_implicit = reg_implicit
        self.reg_features = reg_features
        self.time = time
        self.max_iter = max_iter
        self.tol = tol
        self.dtype = dtype
        self.callback = callback
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.on_interrupt = on_interrupt
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _specification(self) -> Specification:
        learns = self._learns_from_rated_items()
        reg, reg_bias = DEFAULT_REG[any(learns)]
        if isinstance(self.reg, str) and self.reg != "auto":
            raise TypeError(
                f'reg is {self.reg!r}; it must be a number, a pair of numbers (users, items), None or "auto"'
            )
        given = None if isinstance(self.reg, str) else self.reg
        dtype = _check.float_dtype("dtype", self.dtype)
        return Specification(
            name=type(self).__name__,
            k=_check.integer("k", self.k, 0),
            dtype=dtype,
            penalties=self._penalties(reg if given is None else given, reg_bias, dtype),
            max_iter=_check.integer("max_iter", self.max_iter, 1),
            tol=_check.real("tol", self.tol),
            implicit_ridges=self._implicit_ridges(learns),
            feature_ridges=self._feature_ridges(),
            tune=self.reg == "auto",
            periods=check_time(self.time),
        )

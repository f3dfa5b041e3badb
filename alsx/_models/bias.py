"""The bias-only model: mean, biases of users, biases of items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from alsx import _check
from alsx._models.recommender import Recommender
from alsx._models.times import check_time
from alsx._models.training import Specification
from alsx._solver.alternation import Iteration
from alsx._solver.prior import Penalty
from alsx.typing import RandomState


class BiasALS(Recommender):
    """Global mean plus regularised user and item biases, by alternating least squares.

    Predicts ``mu + b_u + c_i``, minimising ::

        sum w (r - mu - b_u - c_i)^2 + reg_user sum_u n_u^v b_u^2 + reg_item sum_i n_i^v c_i^2

    with n the (weighted) number of ratings of a row, taken to be 30 where it is less, and v `reg_scaling`. A row's solution
    is a shrunk mean of its residuals, so a film with one rating stays near the mean. The baseline that any model of ratings
    has to beat.

    Parameters
    ----------
    reg : float or pair of floats (users, items), default=(5.0, 2.0)
        Regularisation, at least 0: how many ratings of exactly the mean each row is given beforehand (for `reg_scaling` 0).
        It has no unit, so one value serves every scale of ratings. (5, 2) is the best on MovieLens 100k and latest-small within
        0.1 % of RMSE (``benchmarks/defaults.py``).
    reg_scaling : float, default=0.0
        Exponent of a row's number of ratings that multiplies `reg`, from 0 (constant) to 1 ("weighted-lambda").
    time : {"day", "session"} or None, default=None
        What a user's ratings of one day, or of ten minutes and of one minute, have in common: as of `FactorALS`.
    max_iter : int, default=50
        The most iterations, each of users and then items.
    tol : float, default=1e-6
        Stop when an iteration lowers the loss by less than this share of it. Iterations cost next to nothing here,
        so the default is strict.
    callback : callable, default=None
        Called as ``callback(iteration)`` after each iteration, with the fields ``number`` (from 1), ``loss``, ``train_rmse``,
        ``test_rmse`` (None without held-out ratings), ``noise_sd`` (of `BayesALS`) and ``seconds``. A true result ends the fit. A
        parameter and not an argument of `fit`, since scikit-learn keeps those for data: so clones and grid searches have it.
        (scikit-learn's own callbacks, from its version 1.9 on, are set by `set_callbacks`.)
    early_stopping : bool, default=False
        End the fit where the RMSE of held-out ratings no longer falls, and keep the iterate with the lowest one. They are
        the `eval_set` of `fit`, or without it a share of the ratings, chosen at random by `random_state`, which then count as
        rated, but not in the fit.
    validation_fraction : float, default=0.1
        That share.
    n_iter_no_change : int, default=3
        Iterations without a new lowest RMSE before `early_stopping` ends the fit.
    warm_start : bool, default=False
        Go on from the model that the last `fit` left, as far as it knows the users and items, instead of starting anew:
        `max_iter` more iterations, perhaps with other ratings.
    on_interrupt : {"raise", "keep"}, default="raise"
        What an interruption (Ctrl-C, KeyboardInterrupt) does to a fit. "raise": it is raised, and the model stays as it was before.
        "keep": `fit` returns with a warning and the model of the last whole iteration (with `early_stopping`, of the best
        one); before the first, and at a second Ctrl-C, it is raised. This takes a copy of the factors an iteration. Not the
        default, since a grid search or a loop around the fit would go on.
    random_state : int, Generator, RandomState or None, default=None
        For the share of the ratings that `early_stopping` may hold out; the solution itself is unique.
    n_jobs : int or None, default=None
        Threads; None or -1 for all that this process may use. Results do not depend on it.
    verbose : int, default=0
        1 shows a progress bar on standard error. 2 logs a line an iteration, by the logger "alsx" of the module `logging`: where no
        handler is set up for it, it is shown on standard error.

    Attributes
    ----------
    mean_ : float
        mu, the (weighted) mean of the training ratings.
    user_biases_, item_biases_ : ndarray of float64, shapes (n_users,) and (n_items,)
        b_u and c_i in rating units, rows in the order of `user_ids_` and `item_ids_`.
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
    Y. Koren, R. Bell, C. Volinsky, "Matrix factorization techniques for recommender systems", IEEE Computer 42(8),
    2009, pages 30-37.

    Examples
    --------
    >>> from alsx import BiasALS
    >>> model = BiasALS().fit([("ann", 7), ("bob", 7), ("ann", 3)], [4.5, 3.0, 5.0])
    >>> round(model.predict("bob", 3), 2)
    4.23

    A fit may be followed, and ended:

    >>> errors = []
    >>> def follow(iteration):
    ...     errors.append(iteration.train_rmse)
    ...     return iteration.number == 3
    >>> model = BiasALS(tol=0, callback=follow).fit([("ann", 7), ("bob", 7), ("ann", 3)], [4.5, 3.0, 5.0])
    >>> model.n_iter_, len(errors)
    (3, 3)

    Or be ended where held-out ratings are predicted no better, here with no patience at all:

    >>> X, y = [("ann", 7), ("bob", 7), ("ann", 3), ("bob", 3)], [4.5, 3.0, 5.0, 3.5]
    >>> model = BiasALS(tol=0, early_stopping=True, n_iter_no_change=1)
    >>> model = model.fit(X[:3], y[:3], eval_set=(X[3:], y[3:]))
    >>> model.best_iter_ == model.history_["test_rmse"].index(min(model.history_["test_rmse"])) + 1
    True
    """

    def __init__(
        self,
        reg: float | tuple[float, float] = (5.0, 2.0),
        *,
        reg_scaling: float = 0.0,
        time: Literal["day", "session"] | None = None,
        max_iter: int = 50,
        tol: float = 1e-6,
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
        self.reg = reg
        self.reg_scaling = reg_scaling
        self.time = time
        self.max_iter = max_iter
        self.tol = tol
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
        users, items = _check.by_side("reg", self.reg, 1e154)
        exponent = _check.real("reg_scaling", self.reg_scaling, 0.0, 1.0)
        return Specification(
            name=type(self).__name__,
            k=0,
            dtype=np.dtype(np.float64),
            penalties=(Penalty(0.0, users, exponent), Penalty(0.0, items, exponent)),
            max_iter=_check.integer("max_iter", self.max_iter, 1),
            tol=_check.real("tol", self.tol),
            periods=check_time(self.time),
        )

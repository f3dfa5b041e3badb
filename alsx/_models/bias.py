"""The bias-only model: mean, biases of users, biases of items."""

from __future__ import annotations

from typing import Any

import numpy as np

from alsx import _check
from alsx._models.recommender import Recommender
from alsx._models.training import Specification
from alsx._solver.prior import Penalty


class BiasALS(Recommender):
    """Global mean plus regularised user and item biases, by alternating least squares.

    Predicts ``mu + b_u + c_i``, minimising

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
    max_iter : int, default=50
        The most iterations, each of users and then items.
    tol : float, default=1e-6
        Stop when an iteration lowers the loss by less than this share of it. Iterations cost next to nothing here,
        so the default is strict.
    random_state : int, Generator, RandomState or None, default=None
        Not used, since the solution is unique; for the sake of one interface.
    n_jobs : int or None, default=None
        Threads; None or -1 for all that this process may use. Results do not depend on it.
    verbose : int, default=0
        1 shows a progress bar on standard error, 2 a line an iteration.

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
    n_iter_ : int
        Iterations done.
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
    """

    def __init__(
        self,
        reg: float | tuple[float, float] = (5.0, 2.0),
        *,
        reg_scaling: float = 0.0,
        max_iter: int = 50,
        tol: float = 1e-6,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.reg = reg
        self.reg_scaling = reg_scaling
        self.max_iter = max_iter
        self.tol = tol
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
        )

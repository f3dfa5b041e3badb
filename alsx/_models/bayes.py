"""The factor model by Gibbs sampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from alsx import _check
from alsx._models.latent import LatentFactors
from alsx._models.times import check_time
from alsx._models.training import SamplerOptions, Specification
from alsx._solver.alternation import Iteration
from alsx._solver.gibbs import SET_PRIOR_COUNT, START_IMPLICIT_RIDGES, START_PENALTY, Samples
from alsx._solver.ordinal import OrdinalScale
from alsx.typing import DType, RandomState

Floats = NDArray[np.float64]


def _is_ordinal(model: BayesALS) -> bool:
    """Say whether a model predicts distributions; `available_if` hides the method of others."""
    if model.likelihood != "ordinal":
        raise AttributeError(
            f'likelihood is {model.likelihood!r:.80}; predict_proba is there with likelihood="ordinal" alone'
        )
    return True


class BayesALS(LatentFactors):
    """Biases plus latent factors in a Bayesian model, by Gibbs sampling: no regularisation to choose.

    Predicts ``mu + b_u + c_i + p_u . q_i``, as `FactorALS` does. The vectors [p_u, b_u] of users, and those of items, come from a
    normal distribution whose mean and full precision matrix have a normal-Wishart prior; the variance of the ratings' noise is
    unknown, too (Salakhutdinov & Mnih 2008, with biases within the vectors). With `implicit_features` and features the mean of a
    row's distribution is a linear function of what is known of the row, and coefficients and ridge are drawn as well (Simm et
    al. 2017). The chain starts from a few iterations of alternating least squares. The model keeps the mean of the tables over the
    draws: an ordinary point model of the same size and speed, as accurate as predictions averaged over the draws. Factors may
    rotate from draw to draw, and are aligned by orthogonal Procrustes (Schoenemann 1966).

    With the default settings `FactorALS` predicts better on the sets that were tried with rated-item sets, and `BayesALS` without
    them (``docs/accuracy.md``).

    Parameters
    ----------
    k : int, default=20
        Rank: latent factors a user and an item. Accuracy is flat in it from about 10.
    n_samples : int, default=200
        Draws whose mean is kept. 50 are within 0.4 % of as many as one likes, 200 within 0.1 %.
    burn_in : int, default=10
        Draws before these that do not count.
    als_iter : int, default=8
        Iterations of alternating least squares that the chain starts from, at least 1.
    implicit_features : {"both", "user", "item"} or None, default="both"
        Whose prior means are learned from rated-item sets, see `FactorALS`.
    keep_samples : int, default=0
        How many draws of the factors, evenly spread, to keep in `samples_`, for intervals and Thompson sampling. Each takes
        4 (k + 1) bytes a user and an item.
    likelihood : {"gaussian", "ordinal"}, default="gaussian"
        What ratings are. "gaussian": numbers with normal noise. "ordinal": levels of an ordered probit model, which need not be
        equally far apart; latent numbers, drawn in every sweep, fall between cut points, which are drawn too (Albert & Chib 1993,
        Cowles 1996). There are then `predict_proba`, and `predict_interval` and the standard deviation of `predict` come from the
        distribution over the levels; `predict` is its mean. How each user uses the levels (some give whole stars alone) changes
        their probabilities, not the mean (Rossi et al. 2001); it is learned after the last draw, in the time of some 30. Ratings
        must have 2 to 20 different values and weights of 0 or 1, and `time` must be None; `fold_in`, `partial_fit`,
        ``recommend(ratings=...)``, `explain` and the strategies "lower", "upper" and "thompson" are refused. A draw takes about
        twice as long (``docs/accuracy.md`` has what it is worth).
    time : {"day", "session"} or None, default=None
        What a user's ratings of one day, or of ten minutes and of one minute, have in common: as of `FactorALS`. Offsets and their
        variances are drawn with the rest.
    callback, early_stopping, validation_fraction, n_iter_no_change, warm_start, on_interrupt
        As of `BiasALS`, a draw being an iteration. Of the mean of the draws so far the best is kept by `early_stopping`, which
        counts after the burn-in, and waits longer, since that mean gets better slowly. With `warm_start` the sweeps that
        the chain starts from go on from the last model; the chain is a new one.
    dtype : {"float32", "float64"}, default="float32"
        Type of the factors.
    random_state : int, Generator, RandomState or None, default=None
        Of the start and of all draws. An int gives the same bits at each call.
    n_jobs : int or None, default=None
        Threads; None or -1 for all that this process may use. Results do not depend on it, bit for bit.
    verbose : int, default=0
        1 shows a progress bar on standard error. 2 logs a line a draw, by the logger "alsx" of the module `logging`: where no
        handler is set up for it, it is shown on standard error.

    Attributes
    ----------
    mean_, user_biases_, item_biases_, user_factors_, item_factors_, user_ids_, item_ids_, user_counts_, item_counts_, rating_range_
        As of `FactorALS`; biases and factors are means over the draws.
    best_iter_, n_features_in_, feature_names_in_, time_offsets_, time_std_
        As of `FactorALS`.
    traces_ : dict of ndarray of float64, shape (1, n_samples)
        Hyper-parameters at each draw, by (chain, draw), in rating units: ``noise_sd``, the standard deviations of biases and
        (root mean square) factors given what is known of a row, the ridges of regressions, and ``train_rmse`` of the draw alone.
    rating_levels_, cut_points_ : ndarray of float64, shapes (n_levels,) and (n_levels - 1,)
        With ``likelihood="ordinal"``: the different training ratings, and the means of the cut points over the draws. Biases and
        factors are then those of latent numbers, ``noise_sd`` is fixed, and `traces_` has ``cut_point_1`` and so on.
    samples_ : Samples or None
        The draws of the factors that `keep_samples` asked for.
    n_iter_ : int
        Draws done: ``burn_in + n_samples``, or fewer where something ended the fit.
    history_ : dict of lists of float
        One entry a draw, burn-in included: ``loss`` (the squared error of the draw, in squared rating units), its
        ``train_rmse``, ``noise_sd``, ``test_rmse`` (with `eval_set`; of the mean of the draws so far) and ``seconds``.

    References
    ----------
    R. Salakhutdinov, A. Mnih, "Bayesian probabilistic matrix factorization using Markov chain Monte Carlo", ICML 2008, pages
    880-887.

    J. Simm, A. Arany, P. Zakeri, T. Haber, J. K. Wegner, V. Chupakhin, H. Ceulemans, Y. Moreau, "Macau: scalable Bayesian
    factorization with high-dimensional side information using MCMC", MLSP 2017 (arXiv 1509.04610).

    M. S. Bartlett, "On the theory of statistical regression", Proceedings of the Royal Society of Edinburgh 53, 1933, pages
    260-283 (draws from the Wishart distribution).

    J. H. Albert, S. Chib, "Bayesian analysis of binary and polychotomous response data", Journal of the American Statistical
    Association 88, 1993, pages 669-679; M. K. Cowles, "Accelerating Monte Carlo Markov chain convergence for cumulative-link
    generalized linear models", Statistics and Computing 6, 1996, pages 101-111 (ordered probit).

    P. E. Rossi, Z. Gilula, G. M. Allenby, "Overcoming scale usage heterogeneity: a Bayesian hierarchical approach", Journal of
    the American Statistical Association 96, 2001, pages 20-31.

    P. H. Schoenemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31(1), 1966, pages 1-10.

    Y. Saad, M. Yeung, J. Erhel, F. Guyomarc'h, "A deflated version of the conjugate gradient algorithm", SIAM Journal on
    Scientific Computing 21(5), 2000, pages 1909-1926.

    Examples
    --------
    >>> from alsx import BayesALS
    >>> R = [("ann", 7), ("bob", 7), ("ann", 3), ("cat", 3)]
    >>> model = BayesALS(k=2, n_samples=20, random_state=0).fit(R, [4.5, 3.0, 5.0, 4.0])
    >>> ids, scores = model.recommend("bob", n=1)
    >>> ids
    array([3])
    """

    def __init__(
        self,
        k: int = 20,
        *,
        n_samples: int = 200,
        burn_in: int = 10,
        als_iter: int = 8,
        implicit_features: Literal["both", "user", "item"] | None = "both",
        keep_samples: int = 0,
        likelihood: Literal["gaussian", "ordinal"] = "gaussian",
        time: Literal["day", "session"] | None = None,
        dtype: DType = "float32",
        callback: Callable[[Iteration], object] | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 20,
        warm_start: bool = False,
        on_interrupt: Literal["raise", "keep"] = "raise",
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.k = k
        self.n_samples = n_samples
        self.burn_in = burn_in
        self.als_iter = als_iter
        self.implicit_features = implicit_features
        self.keep_samples = keep_samples
        self.likelihood = likelihood
        self.time = time
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

    @property
    def traces_(self) -> dict[str, Floats]:
        """Hyper-parameters at each draw, by (chain, draw), in rating units."""
        check_is_fitted(self, "mean_")
        assert self._chain is not None
        return self._chain.traces

    @property
    def samples_(self) -> Samples | None:
        """The draws of the factors that `keep_samples` asked for; None after a fold-in."""
        check_is_fitted(self, "mean_")
        assert self._chain is not None
        return self._chain.samples

    @property
    def rating_levels_(self) -> Floats:
        """The distinct training ratings, ascending; column l of `predict_proba` is the probability of ``rating_levels_[l]``."""
        return self._ordinal_scale("rating_levels_").levels

    @property
    def cut_points_(self) -> Floats:
        """Between which numbers latent numbers of each level are, means over the draws, shape (n_levels - 1,)."""
        return self._ordinal_scale("cut_points_").cut_points

    def _ordinal_scale(self, name: str) -> OrdinalScale:
        """Return what turns predictions into distributions, or say that there is no such attribute."""
        check_is_fitted(self, "mean_")
        if self._scale is None:
            raise AttributeError(
                f'there is no {name}: the model was fitted with likelihood="gaussian"; pass likelihood="ordinal"'
            )
        return self._scale

    @available_if(_is_ordinal)  # type: ignore[untyped-decorator]
    def predict_proba(self, users: Any, items: Any = None) -> Floats:
        """Predict the probability of every rating; with ``likelihood="ordinal"`` alone.

        Parameters
        ----------
        users, items
            Pairs, as `predict` takes them.

        Returns
        -------
        probabilities : ndarray of float64, shape (n, n_levels), or (n_levels,) where user and item are single ids
            Of each of the ratings `rating_levels_`. ``probabilities @ model.rating_levels_`` is what `predict` returns;
            ``probabilities[..., model.rating_levels_ >= 4].sum(-1)`` is the probability of at least 4;
            ``model.rating_levels_[(probabilities.cumsum(-1) < 0.5).sum(-1)]`` is the median. A file that was written before each
            user's own use of the levels was learned has that of all users.

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
            If more than half of the pairs have an unknown user or item.

        Examples
        --------
        >>> from alsx import BayesALS
        >>> from alsx.datasets import make_ratings
        >>> R = make_ratings(50, 30, 600, random_state=0)
        >>> model = BayesALS(k=2, n_samples=20, likelihood="ordinal", random_state=0).fit(R)
        >>> probabilities = model.predict_proba([3, 3], [5, 8])
        >>> probabilities.shape == (2, len(model.rating_levels_))
        True
        """
        scale = self._ordinal_scale("rating_levels_")
        user_codes, item_codes, is_single = self._pairs(users, items)
        probabilities = scale.probabilities(self._latent_codes(user_codes, item_codes), user_codes)
        return np.asarray(probabilities[0]) if is_single else probabilities

    def _specification(self) -> Specification:
        n_samples = _check.integer("n_samples", self.n_samples, 1)
        n_kept = _check.integer("keep_samples", self.keep_samples, 0)
        if n_kept > n_samples:
            raise ValueError(f"keep_samples is {n_kept}; it must be at most n_samples, {n_samples}")
        als_iter, burn_in = _check.integer("als_iter", self.als_iter, 1), _check.integer("burn_in", self.burn_in, 0)
        # Evenly spread, the last draw among them.
        wanted = np.linspace(n_samples - 1, 0, n_kept).round().astype(np.int64)[::-1]
        if not isinstance(self.likelihood, str) or self.likelihood not in ("gaussian", "ordinal"):
            raise ValueError(f'likelihood is {self.likelihood!r:.80}; it must be "gaussian" or "ordinal"')
        is_ordinal, periods = self.likelihood == "ordinal", check_time(self.time)
        if is_ordinal and periods:
            raise ValueError(
                f'time is {self.time!r}; with likelihood="ordinal" it must be None: use likelihood="gaussian" for offsets of time'
            )
        learns = self._learns_from_rated_items()
        ridges = [ridge if learned else None for ridge, learned in zip(START_IMPLICIT_RIDGES, learns, strict=True)]
        return Specification(
            name=type(self).__name__,
            k=_check.integer("k", self.k, 0),
            dtype=_check.float_dtype("dtype", self.dtype),
            penalties=(START_PENALTY, START_PENALTY),
            max_iter=burn_in + n_samples,
            tol=None,
            implicit_ridges=(ridges[0], ridges[1]),
            set_prior_count=SET_PRIOR_COUNT,
            sampler=SamplerOptions(n_samples, burn_in, als_iter, wanted, is_ordinal),
            periods=periods,
        )

    def to_inference_data(self) -> Any:
        """Return the traces for ArviZ, which plots and summarises chains (effective sample sizes, R-hat).

        Returns
        -------
        data : arviz.InferenceData
            `traces_` as its group ``posterior``. Chains of models that differ in `random_state` are joined by
            ``arviz.concat([a.to_inference_data(), b.to_inference_data()], dim="chain")``.

        Raises
        ------
        ImportError
            If ArviZ is not installed.
        """
        check_is_fitted(self, "traces_")
        try:
            import arviz
        except ImportError as error:
            raise ImportError(
                "to_inference_data needs ArviZ, which is not installed: pip install 'alsx[diagnostics]', or work with "
                "the arrays of traces_, of shape (chain, draw)"
            ) from error
        if int(arviz.__version__.split(".")[0]) >= 1:
            return arviz.from_dict({"posterior": self.traces_})
        return arviz.from_dict(posterior=self.traces_)

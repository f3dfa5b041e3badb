"""Priors of rows: the settings of a fit, and the priors that a fitted model has for rows that come later."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from alsx._solver.rows import RowPrior
from alsx._solver.tables import row_scales, weight_sums
from alsx.ratings import CSR

Array = NDArray[Any]
Floats = NDArray[np.float64]


class Penalty(NamedTuple):
    """The regularisation of one side, in units in which the ratings have standard deviation 1.

    Parameters
    ----------
    reg, reg_bias : float
        Of the factors and of the biases.
    exponent : float
        Of the (weighted) number of ratings of a row, whose power scales both.
    """

    reg: float
    reg_bias: float
    exponent: float

    def times(self, factor: float) -> Penalty:
        """Return a multiple of it, with the same exponent."""
        return self._replace(reg=factor * self.reg, reg_bias=factor * self.reg_bias)


class PriorSources(NamedTuple):
    """What a side's prior means are learned from.

    Parameters
    ----------
    implicit_ridge : float or None
        The ridge of the regression on rated-item sets; None for no such regression.
    features : scipy CSR matrix or None
        Features of the side's rows, shape (n, f).
    feature_ridge : float or None
        The ridge of the regression on features; None: the fit chooses it.
    set_prior_count : float, default=0
        What is added to the (weighted) number of ratings by whose root rated-item sets are divided.
    """

    implicit_ridge: float | None = None
    features: Any = None
    feature_ridge: float | None = None
    set_prior_count: float = 0.0


class PriorParts(NamedTuple):
    """What a row's prior mean is the sum of.

    Parameters
    ----------
    common : ndarray of float64, shape (k+1,)
        What is expected of any row.
    rated : ndarray of float64, shape (n, k+1)
        Of each rating of the row: what having rated it says, whatever the rating.
    features : ndarray of int, shape (m,)
        Which features the row has.
    of_features : ndarray of float64, shape (m, k+1)
        What each of them says.
    """

    common: Floats
    rated: Floats
    features: Array
    of_features: Floats


class FittedPrior(NamedTuple):
    """What is expected of a side's rows that come after the fit, in rating units.

    Parameters
    ----------
    reg, reg_bias, exponent : float
        The precision diag(reg ... reg, reg_bias) times a row's (weighted) number of ratings to the power `exponent`.
    precision : ndarray of float64, shape (k+1, k+1), or None
        The precision of every row, instead of the above; relative to that of the ratings' noise.
    mean : ndarray of float64, shape (k+1,), or None
        The part of the mean that all rows share; None for 0.
    implicit_effects : ndarray, shape (n_other, k+1), or None
        What each row of the other side that is rated adds to the mean, over the root of their number and `set_prior_count`.
    feature_effects : ndarray, shape (f, k+1), or None
        What each feature adds to the mean of rows with ratings.
    cold_feature_effects : ndarray, shape (f, k+1), or None
        What each feature adds to rows without ratings.
    unrated_mean : ndarray of float64, shape (k+1,), or None
        The vector of a row without ratings and features: the mean of all rows where means are learned from rated-item
        sets; None for 0.
    typical_min_count : float
        A number of ratings that hardly any row of the fit was below. What a small rated-item set says that no effects were learned
        from is extrapolated, so that it is mixed with `unrated_mean`.
    feature_ridge : float or None
        The ridge of the regression on features, in numbers of average rows; None where there are none, or it is not known.
    set_prior_count : float
        As of `PriorSources`.
    """

    reg: float = 0.0
    reg_bias: float = 0.0
    exponent: float = 0.0
    precision: Array | None = None
    mean: Array | None = None
    implicit_effects: Array | None = None
    feature_effects: Array | None = None
    cold_feature_effects: Array | None = None
    unrated_mean: Array | None = None
    typical_min_count: float = 1.0
    feature_ridge: float | None = None
    set_prior_count: float = 0.0

    def cold_start_vector(self, k: int) -> Floats:
        """Return the vector of a row of which nothing is known, shape (k+1,)."""
        return np.zeros(k + 1) if self.unrated_mean is None else np.asarray(self.unrated_mean, np.float64)

    def row_prior(self, weight_sum: Array, means: Array | None = None) -> RowPrior:
        """Return the prior of rows with these (weighted) numbers of ratings."""
        return RowPrior(
            self.reg,
            self.reg_bias,
            row_scales(weight_sum, self.exponent),
            float(row_scales(np.zeros(1), self.exponent)[0]),
            self.precision,
            means,
        )

    def diagonal(self, k: int) -> Floats:
        """Return the diagonal of Lambda where it has no more, shape (k+1,)."""
        return np.append(np.full(k, self.reg), self.reg_bias)

    def means(self, ratings: CSR, features: Any, k: int, learned_from: Any = False) -> Floats:
        """Return prior means of rows, shape (n, k+1).

        Parameters
        ----------
        ratings : CSR
            By row; only weights and which rows of the other side are rated matter.
        features : scipy CSR matrix, shape (n, f), or None
            Features of the rows; a row of zeros has none.
        k : int
            Rank.
        learned_from : bool, or ndarray of bool, shape (n,), default=False
            Which rows took part in the fit: their prior mean is what the fit says, unmixed.
        """
        n = len(ratings.indptr) - 1
        weight_sum = weight_sums(ratings.indptr, ratings.weights)
        rated = weight_sum > 0
        means = np.zeros((n, k + 1))
        if self.mean is not None:
            means += self.mean
        if self.implicit_effects is not None and len(ratings.indices):
            used, places = np.arange(len(self.implicit_effects)), ratings.indices.astype(np.int64, copy=False)
            # A few new rows must not take as long as a pass over the other side.
            if len(places) < len(used):
                used, places = np.unique(places, return_inverse=True)
            effects = self.implicit_effects[used].astype(np.float64)
            weights = np.ones(len(places)) if ratings.weights is None else ratings.weights.astype(np.float64)
            sets = scipy.sparse.csr_array((weights, places, ratings.indptr), shape=(n, len(used)))
            means += (sets @ effects) / np.sqrt(np.where(rated, weight_sum + self.set_prior_count, 1.0))[:, None]
        if self.unrated_mean is not None:
            share = np.broadcast_to(self._share(weight_sum, learned_from), n)[:, None]
            means = share * means + (1 - share) * self.unrated_mean
        if features is not None and self.feature_effects is not None and self.cold_feature_effects is not None:
            warm = features @ self.feature_effects.astype(np.float64)
            means += np.where(rated[:, None], warm, 0.0)
            cold = ~rated & (np.diff(features.indptr) > 0)
            means[cold] = features[np.flatnonzero(cold)] @ self.cold_feature_effects.astype(np.float64)
        return means

    def _share(self, weight_sum: Any, learned_from: Any) -> Any:
        """Return how much of a prior mean comes from the rated-item set."""
        extrapolated = weight_sum / np.maximum(weight_sum + self.typical_min_count - 1, 1)
        return np.where(np.logical_and(learned_from, weight_sum > 0), 1.0, extrapolated)

    def parts(self, ratings: CSR, features: Any, k: int, *, learned_from: bool = False) -> PriorParts:
        """Take the prior mean of one row apart; the parts add up to what `means` returns.

        Parameters
        ----------
        ratings : CSR
            Of the one row.
        features : scipy CSR matrix, shape (1, f), or None
        k : int
            Rank.
        learned_from : bool, default=False
            Whether the row took part in the fit.
        """
        weight_sum = float(weight_sums(ratings.indptr, ratings.weights)[0])
        common = np.zeros(k + 1) if self.mean is None else np.asarray(self.mean, np.float64)
        rated = np.zeros((len(ratings.indices), k + 1))
        if self.implicit_effects is not None and weight_sum > 0:
            weights = np.ones(len(rated)) if ratings.weights is None else ratings.weights.astype(np.float64)
            effects = self.implicit_effects[ratings.indices].astype(np.float64)
            rated = effects * (weights / np.sqrt(weight_sum + self.set_prior_count))[:, None]
        if self.unrated_mean is not None:
            share = float(self._share(weight_sum, learned_from))
            common, rated = share * common + (1 - share) * self.unrated_mean, share * rated
        described = np.empty(0, np.int64)
        of_features = np.empty((0, k + 1))
        if features is not None and self.feature_effects is not None and len(features.indices):
            learned = self.feature_effects if weight_sum > 0 else self.cold_feature_effects
            assert learned is not None
            described = features.indices
            of_features = learned[described].astype(np.float64) * features.data[:, None]
            if weight_sum == 0:
                common = np.zeros(k + 1)
        return PriorParts(common, rated, described, of_features)

    def with_other_rows(self, places: Array, n: int) -> FittedPrior:
        """Return the prior where the other side has n rows, its old ones in these places.

        What a new row of the other side says by being rated was never learned, so it adds nothing.
        """
        if self.implicit_effects is None:
            return self
        effects = np.zeros((n, self.implicit_effects.shape[1]), self.implicit_effects.dtype)
        effects[places] = self.implicit_effects
        return self._replace(implicit_effects=effects)


class Basis(NamedTuple):
    """What the rows of a side were solved from, where that is not the model as it stands.

    In a fit the items are solved after the users. Rows that come later are solved from what those of the fit were solved from, so
    that equal ratings give equal rows.

    Parameters
    ----------
    table : ndarray, shape (n_other, ld), or None
        The other side's table; None where it is the one of the model.
    prior : FittedPrior
    """

    table: Array | None
    prior: FittedPrior

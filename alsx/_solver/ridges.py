"""The ridge of a regression of rows on their features, chosen by leaving out one row at a time.

A regression of a table's rows x (n, columns) on features F with weights S predicts a row that it has not seen with the error
(x - F w) / (1 - h), h = s f' (F' S F + ridge)^-1 f, without another fit (Allen 1974). With the eigenvectors of F' S F all ridges
are tried at the price of one. Every column has noise of its own, so that the sum over columns of the log of their mean squared
error is compared: a predictive likelihood.

References
----------
D. M. Allen, "The relationship between variable selection and data augmentation and a method for prediction", Technometrics
16(1), 1974, pages 125-127. S. Sundararajan, S. S. Keerthi, "Predictive approaches for choosing hyperparameters in Gaussian
processes", Neural Computation 13(5), 2001, pages 1103-1118.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# In numbers of average rows: from effects of a handful of rows to none at all, eight a decade.
CANDIDATES = np.geomspace(1e-3, 1e5, 65)

# The most features for which there are eigenvectors: some tenths of a second a column of the table.
MAX_FEATURES = 500

# Rows whose errors are compared: an even choice of so many tells ridges apart as well as all.
MAX_JUDGED_ROWS = 10_000

# A row that alone decides one of the effects predicts nothing of itself.
LEAST_REST = 1e-9


def leave_one_out_ridge(
    features: scipy.sparse.csr_array, target: Floats, weights: Floats, error_weights: Floats | None = None
) -> float | None:
    """Return the ridge with which rows are predicted best from the other rows' features.

    Parameters
    ----------
    features : scipy CSR array, shape (n, f)
    target : ndarray of float64, shape (n, columns)
    weights : ndarray of float64, shape (n, columns) or (n, 1)
        Of each row in the regression, by column; at least 0. They are brought to a mean of 1, so that the ridge is in numbers of
        average rows.
    error_weights : ndarray of float64, shape (n,), default=None
        Of each row's error; None: the same weights.

    Returns
    -------
    ridge : float or None
        One of `CANDIDATES`; None where there is nothing to choose by: too many features, fewer than two rows, or a table of
        zeros.
    """
    n, columns = target.shape
    f = features.shape[1]
    if f > MAX_FEATURES or n < 2:
        return None
    judged = np.unique(np.linspace(0, n - 1, MAX_JUDGED_ROWS).astype(np.int64)) if n > MAX_JUDGED_ROWS else np.arange(n)
    scores = np.zeros(len(CANDIDATES))
    # Columns of the same weights share their eigenvectors.
    groups = [slice(0, columns)] if weights.shape[1] == 1 else [slice(c, c + 1) for c in range(columns)]
    for group in groups:
        weight = weights[:, group.start]
        mean = weight.mean()
        x = target[:, group]
        if not mean > 0 or not np.any(x[weight > 0]):
            continue
        weight = weight / mean
        scaled = scipy.sparse.diags_array(weight) @ features
        values, vectors = scipy.linalg.eigh((features.T @ scaled).toarray())
        values = np.maximum(values, 0.0)
        slope = vectors.T @ (scaled.T @ x)  # (f, columns)
        rotated = features[judged] @ vectors  # (judged, f)
        own, errors_count = weight[judged, None], (weight if error_weights is None else error_weights)[judged, None]
        for place, ridge in enumerate(CANDIDATES):
            inverse = 1 / (values + ridge)
            rest = 1 - own[:, 0] * (rotated**2 @ inverse)
            error = (x[judged] - rotated @ (slope * inverse[:, None])) / np.maximum(rest, LEAST_REST)[:, None]
            squares = (errors_count * error**2).sum(axis=0)
            scores[place] += np.log(np.maximum(squares, np.finfo(np.float64).tiny)).sum()
    if not np.ptp(scores) > 0:
        return None
    return float(CANDIDATES[np.argmin(scores)])

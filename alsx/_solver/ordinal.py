"""Ordinal ratings: what turns predictions of latent numbers into distributions over the levels of ratings.

See `latent_ratings` for the model. The distribution is that of an ordered probit: with e the prediction, s its standard deviation
and g_1 < ... < g_{L-1} the cut points, a rating is at most the l-th level with the probability Phi((g_l - e) / s). A user's own use
of the levels changes it, see `scale_usage`, but for its mean.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from alsx._solver.scale_usage import tilted

Array = NDArray[Any]
Floats = NDArray[np.float64]

# More levels than these are a scale to measure on, not steps: each takes some ratings to place its cut points.
MAX_LEVELS = 20

# Halvings that find the share between two quantiles, to a ten-thousandth.
BISECTIONS = 14


class OrdinalScale(NamedTuple):
    """What turns predictions of latent numbers into distributions over the levels of ratings.

    Parameters
    ----------
    levels : ndarray of float64, shape (L,)
        The ratings that there are, ascending.
    cut_points : ndarray of float64, shape (L-1,)
        Ascending, in the unit of predictions.
    std : float
        s, the standard deviation of a latent number around its prediction.
    sample : ndarray of float64, shape (m,)
        Predictions of pairs of users and items, for whose ratings intervals hold the share that they are to hold.
    usage : ndarray of float32, shape (n_users + 1, L), or None
        The log weights that users have for the levels, and last those of unknown users; None where all use them alike, as in
        files of before.
    sample_users : ndarray of int32, shape (m,), or None
        The users of `sample`.
    """

    levels: Floats
    cut_points: Floats
    std: float
    sample: Floats
    usage: NDArray[np.float32] | None = None
    sample_users: NDArray[np.int32] | None = None

    def cumulative(self, latent: Array) -> Floats:
        """Return the probabilities of a rating of at most each level but the last, shape (..., L-1)."""
        return np.asarray(ndtr((self.cut_points - np.asarray(latent, np.float64)[..., None]) / self.std))

    def common_probabilities(self, latent: Array) -> Floats:
        """Return the probability of each level where all users use them alike, shape (..., L)."""
        latent = np.asarray(latent, np.float64)
        ends = np.zeros((*latent.shape, 1)), np.ones((*latent.shape, 1))
        below = np.concatenate([ends[0], self.cumulative(latent), ends[1]], axis=-1)
        above = np.concatenate([ends[1], ndtr((latent[..., None] - self.cut_points) / self.std), ends[0]], axis=-1)
        # From the nearer end, so that small probabilities keep their digits.
        out = np.where(below[..., 1:] < 0.5, np.diff(below, axis=-1), -np.diff(above, axis=-1))
        return np.asarray(out / out.sum(axis=-1, keepdims=True))

    def probabilities(self, latent: Array, users: Array) -> Floats:
        """Return the probability of each level, shape (m, L), of predictions (m,) for users (m,), -1 for unknown ones."""
        common = self.common_probabilities(latent)
        if self.usage is None:
            return common
        return tilted(common, self.usage[users].astype(np.float64), self.levels)

    def expected(self, latent: Array) -> Floats:
        """Return the expected rating, of the shape of `latent`."""
        latent = np.asarray(latent, np.float64)
        out = np.full(latent.shape, self.levels[0])
        for step, cut in zip(np.diff(self.levels), self.cut_points, strict=True):
            out += step * ndtr((latent - cut) / self.std)
        return out

    def quantile(self, probabilities: Floats, share: float) -> Floats:
        """Return below what a share of the ratings of distributions (m, L) lie, shape (m,).

        The probability of a level is spread evenly between the middles to the levels beside it (as far on the other side, at the
        ends), so that limits move with the predictions instead of jumping from level to level.
        """
        half = np.diff(self.levels) / 2
        edges = np.concatenate([[self.levels[0] - half[0]], self.levels[:-1] + half, [self.levels[-1] + half[-1]]])
        n = len(probabilities)
        below = np.concatenate([np.zeros((n, 1)), np.cumsum(probabilities, axis=1)[:, :-1], np.ones((n, 1))], axis=1)
        # The level in which the share is reached, and how far into it.
        place = np.clip((below < share).sum(axis=1) - 1, 0, len(self.levels) - 1)
        rows = np.arange(n)
        low, high = below[rows, place], below[rows, place + 1]
        part = np.divide(share - low, high - low, out=np.zeros(n), where=high > low)
        return np.asarray(edges[place] + np.clip(part, 0.0, 1.0) * (edges[place + 1] - edges[place]))

    def interval(self, latent: Array, users: Array, level: float) -> tuple[Floats, Floats]:
        """Return limits that hold a share `level` of the ratings, of the shape of `latent`.

        They are two quantiles, as far from both ends. A level is either within them or not, so that between the quantiles of 25 %
        and 75 % there are not half of the ratings: the share between them is the one for which half of those of `sample` are.
        """
        of_sample = np.full(len(self.sample), -1, np.int32) if self.sample_users is None else self.sample_users
        known = self.probabilities(self.sample, of_sample)
        narrow, wide = 0.0, 1.0
        for _ in range(BISECTIONS):
            share = (narrow + wide) / 2
            low, high = (self.quantile(known, end)[:, None] for end in ((1 - share) / 2, (1 + share) / 2))
            held = float((known * ((self.levels >= low) & (self.levels <= high))).sum(axis=1).mean())
            narrow, wide = (share, wide) if held < level else (narrow, share)
        asked = self.probabilities(latent, users)
        return self.quantile(asked, (1 - wide) / 2), self.quantile(asked, (1 + wide) / 2)

    def variance(self, latent: Array, users: Array) -> Floats:
        """Return the variance of a rating, of the shape of `latent`."""
        probabilities, mean = self.probabilities(latent, users), self.expected(latent)
        return np.asarray(((self.levels - mean[..., None]) ** 2 * probabilities).sum(axis=-1))


def rating_levels(values: Array) -> Floats | None:
    """Return the distinct ratings, ascending; None where there are more than `MAX_LEVELS`."""
    found = np.empty(0, values.dtype)
    for start in range(0, len(values), 2**20):
        found = np.union1d(found, values[start : start + 2**20])
        if len(found) > MAX_LEVELS:
            return None
    return found.astype(np.float64)

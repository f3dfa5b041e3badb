"""What every model with latent factors can do besides: features, similar items, what features do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.utils.validation import check_is_fitted

from alsx import _check
from alsx.alternation import Known
from alsx.prior import aligned
from alsx.recommender import SIDES, Recommender

if TYPE_CHECKING:
    import pyarrow as pa

IMPLICIT = {None: (), "user": ("user",), "item": ("item",), "both": SIDES}


class LatentFactors(Recommender):
    """
    A model with latent factors, whose prior means may be learned from features and from who rated what.

    The base of `FactorALS` and `BayesALS`; it has no constructor of its own.
    """

    # Parameters of every such model; a subclass's constructor sets them.
    implicit: str | None
    reg_implicit: float | tuple[float, float]
    reg_features: float | tuple[float, float]

    def fit(
        self,
        R: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        eval_set: Any = None,
        user_features: Any = None,
        item_features: Any = None,
    ) -> Self:
        """
        Fit the model to ratings, and to what is known of users and items besides.

        Parameters
        ----------
        R, y, sample_weight, eval_set
            Ratings, as `BiasALS.fit` takes them.
        user_features, item_features : sparse matrix, array-like or data frame, default=None
            Features of users and of items. *Sparse or dense matrix*: a row for each user (or item) of `R`, in ascending
            order of ids. *Data frame* (whatever offers the Arrow C stream): a column of ids, found as in `R`; numbers are
            standardised, strings, categories and truth values become one column a value, as do lists of strings and
            strings such as ``"Comedy|Drama"``. Ids that have no ratings become known, and are predicted from their
            features; users and items without features are expected to be like the mean.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For parameters and data that cannot be used; the sentence names the argument, the first offending place
            and the remedy.
        numpy.linalg.LinAlgError
            Where a row's equations have no unique solution, which needs a regularisation of 0 or next to it.
        FloatingPointError
            Where numbers leave the range of their type, which needs absurdly large ratings or weights.
        """
        return self._fit(R, y, sample_weight, eval_set, user_features, item_features)

    def _known(self, side: str, features: scipy.sparse.csr_array | None) -> Known:
        place = SIDES.index(side)
        learns = self._learns_implicit(side)
        implicit = _check.by_side("reg_implicit", self.reg_implicit)[place]
        ridge = _check.by_side("reg_features", self.reg_features)[place]
        if ridge == 0 and features is not None:
            raise ValueError("reg_features is 0: the map of features needs a regularisation above 0")
        if implicit == 0 and learns:
            raise ValueError("reg_implicit is 0: the map of who rated what needs a regularisation above 0")
        return Known(implicit if learns else None, features, ridge)

    def _learns_implicit(self, side: str) -> bool:
        """Whether the prior means of a side are learned from who rated what."""
        if self.implicit not in IMPLICIT:
            raise ValueError(f'implicit is {self.implicit!r}; it must be "both", "user", "item" or None')
        return side in IMPLICIT[self.implicit]

    @property
    def feature_effects_(self) -> pa.Table:
        """
        What each feature does: a pyarrow table with the columns ``side`` ("user" or "item"), ``feature``, ``bias`` (rating
        units that the feature adds to the prior mean of the row's bias, for one unit of the feature after scaling) and
        ``factor_0`` ... (what it adds to the factors). The feature ``intercept`` is common to all rows that have features.
        """
        import pyarrow as pa

        check_is_fitted(self, "mean_")
        names, sides, tables = [], [], []
        for side in SIDES:
            prior, encoder = getattr(self, f"_{side}_prior"), getattr(self, f"_{side}_encoder")
            if encoder is not None:
                names += [*encoder.names, "intercept"]
                sides += [side] * (len(encoder.names) + 1)
                tables.append(prior.features)
        effects = np.concatenate(tables).astype(np.float64) if tables else np.empty((0, self._k + 1))
        columns = {"side": sides, "feature": names, "bias": effects[:, self._k]}
        columns |= {f"factor_{place}": effects[:, place] for place in range(self._k)}
        types = [pa.string(), pa.string()] + [pa.float64()] * (self._k + 1)
        return pa.table([pa.array(x, t) for x, t in zip(columns.values(), types, strict=True)], names=list(columns))

    @property
    def user_factors_(self) -> npt.NDArray[Any]:
        """p_u, shape (n_users, k)."""
        check_is_fitted(self, "mean_")
        return self._user_table[:, : self._k]

    @property
    def item_factors_(self) -> npt.NDArray[Any]:
        """q_i, shape (n_items, k)."""
        check_is_fitted(self, "mean_")
        return self._item_table[:, : self._k]

    def similar_items(
        self, items: Any, n: int = 10, *, min_ratings: int = 0
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
        """
        Items whose factors point the same way: liked and disliked by the same users.

        Parameters
        ----------
        items : id, or array-like of ids, shape (m,)
            Items to start from.
        n : int, default=10
            How many similar items each.
        min_ratings : int, default=0
            Leave out items with fewer training ratings, whose factors are little more than the prior.

        Returns
        -------
        ids : ndarray, shape (n,) or (m, n)
            The most similar items first, never the item itself; padded with -1 (``""`` where ids are strings) and a
            score of NaN where fewer than `n` are left.
        scores : ndarray of float64, shape (n,) or (m, n)
            Cosine of the angle between the factors, from -1 to 1.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        ValueError
            If an item is unknown, has no training ratings, or only zeros as factors: there is nothing to compare.
        """
        check_is_fitted(self, "mean_")
        n = _check.integer("n", n, 1)
        codes = np.asarray(self._items.codes(items, "items"))
        rows = np.atleast_1d(codes).astype(np.int32)
        factors = self.item_factors_.astype(self._item_table.dtype)
        length = np.sqrt(np.einsum("ij,ij->i", factors, factors, dtype=np.float64))
        lonely = self.item_counts_ == 0
        if self._item_encoder is not None:
            lonely &= length == 0
        for place in np.flatnonzero((rows < 0) | lonely[rows] | (length[rows] == 0)):
            asked = np.atleast_1d(np.asarray(items))[place].item()
            if rows[place] < 0:
                why = "is unknown: it was not among the training items"
            elif lonely[rows[place]]:
                why = "has no training ratings" + ("" if self._item_encoder is None else " and no features")
            else:
                why = f"has factors of length 0 (k is {self._k}; ratings that biases explain leave nothing to factors)"
            raise ValueError(
                f"items: {asked!r} (place {place}) {why}, so nothing can be compared with it; leave it out"
            )
        table = aligned(len(factors), self._item_table.shape[1], factors.dtype)
        table[:, : self._k] = factors / np.where(length > 0, length, 1)[:, None]
        allowed = (length > 0) & ~lonely
        enough = self._allowed(min_ratings, None)
        if enough is not None:
            allowed &= enough
        # An item is left out of its own list.
        itself = np.arange(len(factors) + 1, dtype=np.int64), np.arange(len(factors), dtype=np.int32)
        found, scores = self._top_n(rows, table, *itself, n, allowed, item_table=table)
        ids = self._named(found)
        return (ids[0], scores[0]) if codes.ndim == 0 else (ids, scores)

"""The base of the models with latent factors: features, similar items, effects of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from alsx import _check
from alsx._models import top_n
from alsx._models.recommender import Recommender
from alsx._models.side import FittedSide
from alsx._solver.prior import Penalty

if TYPE_CHECKING:
    import pyarrow as pa

# Of users, of items.
IMPLICIT_FEATURES = {None: (False, False), "user": (True, False), "item": (False, True), "both": (True, True)}


class LatentFactors(Recommender):
    """A model with latent factors, whose prior means may be learned from features and from rated-item sets.

    The base of `FactorALS`, `RankALS` and `BayesALS`; it has no constructor of its own.
    """

    # A parameter of every such model; a subclass's constructor sets it.
    implicit_features: str | None

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
        """Fit the model to ratings, and to what is known of users and items besides.

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
            For parameters and data that cannot be used; the message names the argument, the first offending place
            and the remedy.
        numpy.linalg.LinAlgError
            Where a row's equations have no unique solution, which needs a regularisation of 0 or next to it.
        FloatingPointError
            Where numbers leave the range of their type, which needs absurdly large ratings or weights.
        """
        return self._fit(R, y, sample_weight, eval_set, (user_features, item_features))

    def _learns_from_rated_items(self) -> tuple[bool, bool]:
        """Return whose prior means are learned from rated-item sets: (users, items)."""
        if self.implicit_features not in IMPLICIT_FEATURES:
            raise ValueError(
                f'implicit_features is {self.implicit_features!r}; it must be "both", "user", "item" or None'
            )
        return IMPLICIT_FEATURES[self.implicit_features]

    @property
    def feature_effects_(self) -> pa.Table:
        """What each feature does: a pyarrow table with the columns ``side`` ("user" or "item"), ``feature``, ``bias`` (rating
        units that the feature adds to the prior mean of the row's bias, for one unit of the feature after scaling) and
        ``factor_0`` ... (what it adds to the factors). The feature ``intercept`` is common to all rows that have features.
        """
        import pyarrow as pa

        check_is_fitted(self, "mean_")
        names, sides, tables = [], [], []
        for side in (self._users, self._items):
            if side.encoder is not None:
                names += [*side.encoder.names, "intercept"]
                sides += [side.name] * (len(side.encoder.names) + 1)
                assert side.prior.feature_effects is not None
                tables.append(side.prior.feature_effects)
        effects = np.concatenate(tables).astype(np.float64) if tables else np.empty((0, self._k + 1))
        columns = {"side": sides, "feature": names, "bias": effects[:, self._k]}
        columns |= {f"factor_{place}": effects[:, place] for place in range(self._k)}
        types = [pa.string(), pa.string()] + [pa.float64()] * (self._k + 1)
        return pa.table([pa.array(x, t) for x, t in zip(columns.values(), types, strict=True)], names=list(columns))

    @property
    def user_factors_(self) -> npt.NDArray[Any]:
        """p_u, shape (n_users, k)."""
        check_is_fitted(self, "mean_")
        return self._users.table[:, : self._k]

    @property
    def item_factors_(self) -> npt.NDArray[Any]:
        """q_i, shape (n_items, k)."""
        check_is_fitted(self, "mean_")
        return self._items.table[:, : self._k]

    def similar_items(
        self, items: Any, n: int = 10, *, min_ratings: int = 0
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
        """Items whose factors point the same way: liked and disliked by the same users.

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
            The most similar items first, never the item itself; padded with
            `alsx.ratings.Ids.missing`, which is no id, and a score of NaN where fewer than `n` are left.
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
        allowed = self._candidates(min_ratings, None)
        return self._similar(self._items, items, "items", n, allowed)

    def _similar(
        self, side: FittedSide, ids: Any, argument: str, n: int, allowed: npt.NDArray[np.bool_] | None
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
        """Return the rows of one side whose factors have the highest cosines with those asked for."""
        codes = np.asarray(side.ids.codes(ids, argument))
        rows = np.atleast_1d(codes).astype(np.int32)
        comparable = (side.lengths > 0) & side.has_data
        for place in np.flatnonzero((rows < 0) | ~comparable[rows]):
            self._refuse_comparison(side, ids, argument, int(place), int(rows[place]))
        allowed = comparable if allowed is None else comparable & allowed
        n_threads = self._n_threads()
        lists = top_n.by_product(
            rows, side.unit_vectors, side.k, side.packed_unit_vectors(n_threads), top_n.Excluded.itself(len(side)), n,
            allowed, n_threads,
        )  # fmt: skip
        return self._named(side, lists, codes.ndim == 0)

    def _refuse_comparison(self, side: FittedSide, ids: Any, argument: str, place: int, row: int) -> NoReturn:
        """Say why nothing can be compared with a row."""
        asked = np.atleast_1d(np.asarray(ids))[place].item()
        if row < 0:
            why = f"is unknown: it was not among the training {argument}"
        elif not side.has_data[row]:
            why = "has no training ratings" + ("" if side.encoder is None else " and no features")
        else:
            why = f"has factors of length 0 (k is {side.k}; ratings that biases explain leave nothing to factors)"
        raise ValueError(
            f"{argument}: {asked!r} (place {place}) {why}, so nothing can be compared with it; leave it out"
        )


class PenalisedFactors(LatentFactors):
    """A model with latent factors that minimises a loss with penalties.

    The base of `FactorALS` and `RankALS`; it has no constructor of its own.
    """

    # Parameters of every such model; a subclass's constructor sets them.
    reg_bias: float | tuple[float, float] | None
    reg_scaling: float
    reg_implicit: float | tuple[float, float]

    @property
    def reg_(self) -> tuple[float, float]:
        """The regularisation of the factors in the fit, (users, items)."""
        check_is_fitted(self, "mean_")
        return self._reg

    @property
    def reg_bias_(self) -> tuple[float, float]:
        """The regularisation of the biases in the fit, (users, items)."""
        check_is_fitted(self, "mean_")
        return self._reg_bias

    def _penalties(self, reg: Any, default_reg_bias: Any, dtype: np.dtype[Any]) -> tuple[Penalty, Penalty]:
        """Return the penalties of users and of items that the parameters ask for, with this `reg`."""
        # Beyond, the power of a row's number of ratings leads out of the range of the dtype.
        high = float(f"{np.sqrt(np.finfo(dtype).max):.0e}")
        of_factors = _check.by_side("reg", reg, high)
        of_biases = _check.by_side("reg_bias", default_reg_bias if self.reg_bias is None else self.reg_bias, high)
        exponent = _check.real("reg_scaling", self.reg_scaling, 0.0, 1.0)
        users, items = (
            Penalty(factors, biases, exponent) for factors, biases in zip(of_factors, of_biases, strict=True)
        )
        return users, items

    def _implicit_ridges(self, learns: tuple[bool, bool]) -> tuple[float | None, float | None]:
        """Return the ridges of the regressions on rated-item sets of the sides that learn from them."""
        ridges = _check.by_side("reg_implicit", self.reg_implicit)
        for ridge, learned in zip(ridges, learns, strict=True):
            if learned and ridge == 0:
                raise ValueError("reg_implicit is 0; it must be above 0 where implicit_features is not None")
        return ridges[0] if learns[0] else None, ridges[1] if learns[1] else None

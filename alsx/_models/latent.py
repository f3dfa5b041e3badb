"""The base of the models with latent factors: features, similar items, effects of features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, overload

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from alsx import _check
from alsx._models.frames import check_kind
from alsx._models.recommendations import check_unknown
from alsx._models.recommender import Recommender
from alsx._models.side import FittedSide
from alsx._models.strategies import by_cosine
from alsx._models.top_n import CodeSets, Limits, best
from alsx._solver.prior import Penalty
from alsx.typing import Features, Floats, FrameKind, Id, IdArray, RatingsLike

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
        R: RatingsLike,
        y: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        *,
        eval_set: RatingsLike | tuple[Any, Any] | None = None,
        user_features: Features | None = None,
        item_features: Features | None = None,
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
        """The users' factors p_u, shape (n_users, k)."""
        check_is_fitted(self, "mean_")
        return self._users.table[:, : self._k]

    @property
    def item_factors_(self) -> npt.NDArray[Any]:
        """The items' factors q_i, shape (n_items, k)."""
        check_is_fitted(self, "mean_")
        return self._items.table[:, : self._k]

    @overload
    def similar_items(
        self,
        items: Id | IdArray,
        n: int = 10,
        *,
        min_ratings: int = 0,
        unknown: Literal["raise", "prior"] | None = None,
        as_frame: Literal[False] = False,
    ) -> tuple[npt.NDArray[Any], Floats]: ...
    @overload
    def similar_items(
        self,
        items: Id | IdArray,
        n: int = 10,
        *,
        min_ratings: int = 0,
        unknown: Literal["raise", "prior"] | None = None,
        as_frame: bool | FrameKind,
    ) -> Any: ...
    def similar_items(
        self,
        items: Any,
        n: int = 10,
        *,
        min_ratings: int = 0,
        unknown: str | None = None,
        as_frame: bool | str = False,
    ) -> Any:
        """Items whose factors point the same way: liked and disliked by the same users.

        Parameters
        ----------
        items : id, or array-like of ids, shape (m,)
            Items to start from.
        n : int, default=10
            How many similar items each.
        min_ratings : int, default=0
            Leave out items with fewer training ratings, whose factors are little more than the prior.
        unknown : {None, "raise", "prior"}, default=None
            What is done with an unknown item. "prior": it is compared by the cold-start vector, where that has a length (with
            `implicit_features`). Else an error that names ids like it.
        as_frame : bool or {"pandas", "polars", "arrow"}, default=False
            Return a data frame of pandas (True), polars or pyarrow instead: columns ``of`` (the item asked for), ``rank`` (from
            1), ``item``, ``title`` (after `set_titles`) and ``score``, without padding.

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

        Examples
        --------
        >>> from alsx import FactorALS
        >>> from alsx.datasets import make_ratings
        >>> model = FactorALS(k=2, random_state=0).fit(make_ratings(50, 20, 500, random_state=0))
        >>> ids, cosines = model.similar_items(3, n=2)
        >>> ids.shape, bool(cosines[0] >= cosines[1])
        ((2,), True)
        """
        return self._similar("item", items, n, min_ratings, unknown, as_frame)

    @overload
    def similar_users(
        self,
        users: Id | IdArray,
        n: int = 10,
        *,
        min_ratings: int = 0,
        unknown: Literal["raise", "prior"] | None = None,
        as_frame: Literal[False] = False,
    ) -> tuple[npt.NDArray[Any], Floats]: ...
    @overload
    def similar_users(
        self,
        users: Id | IdArray,
        n: int = 10,
        *,
        min_ratings: int = 0,
        unknown: Literal["raise", "prior"] | None = None,
        as_frame: bool | FrameKind,
    ) -> Any: ...
    def similar_users(
        self,
        users: Any,
        n: int = 10,
        *,
        min_ratings: int = 0,
        unknown: str | None = None,
        as_frame: bool | str = False,
    ) -> Any:
        """Users whose factors point the same way: who like and dislike the same items.

        Parameters
        ----------
        users : id, or array-like of ids, shape (m,)
            Users to start from.
        n, min_ratings, unknown, as_frame
            As of `similar_items`, of users; a frame has the columns ``of``, ``rank``, ``user`` and ``score``.

        Returns
        -------
        ids : ndarray, shape (n,) or (m, n)
            The most similar users first, never the user himself; padded as in `similar_items`.
        scores : ndarray of float64, shape (n,) or (m, n)
            Cosine of the angle between the factors, from -1 to 1.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        ValueError
            If a user is unknown, has no training ratings, or only zeros as factors: there is nothing to compare.

        Examples
        --------
        >>> from alsx import FactorALS
        >>> from alsx.datasets import make_ratings
        >>> model = FactorALS(k=2, random_state=0).fit(make_ratings(50, 20, 500, random_state=0))
        >>> ids, cosines = model.similar_users([3, 4], n=2)
        >>> ids.shape
        (2, 2)
        """
        return self._similar("user", users, n, min_ratings, unknown, as_frame)

    def _similar(self, name: str, ids: Any, n: int, min_ratings: int, unknown: str | None, as_frame: bool | str) -> Any:
        """Return the rows of one side whose factors have the highest cosines with those asked for."""
        check_is_fitted(self, "mean_")
        side, argument = (self._items, "items") if name == "item" else (self._users, "users")
        n, min_ratings = _check.integer("n", n, 1), _check.integer("min_ratings", min_ratings, 0)
        kind = check_kind(as_frame)
        # There is nothing to compare an unknown row with but what is expected of all, so that it has to be asked for.
        codes = self._codes_of(side, ids, argument, check_unknown(unknown) or "raise")
        rows = np.atleast_1d(codes)
        comparable = side.comparable
        known = np.where(rows >= 0, comparable[rows], bool(side.cold_start_vector[: side.k].any()))
        if not known.all():
            place = int(np.argmin(known))
            self._refuse_comparison(side, ids, argument, place, int(rows[place]))
        allowed = None
        if min_ratings:
            counts = self.item_counts_ if name == "item" else self.user_counts_
            allowed = counts >= min_ratings
        n_threads = self._n_threads()
        limits = Limits(allowed, None, rows, excluded=CodeSets.singles(rows))
        lists = best(by_cosine(side, rows, n_threads), limits, n, n_threads)
        return self._shown(ids, codes, side, lists, kind, ("of", name))

    def _refuse_comparison(self, side: FittedSide, ids: Any, argument: str, place: int, row: int) -> NoReturn:
        """Say why nothing can be compared with a row."""
        asked = np.atleast_1d(np.asarray(ids))[place].item()
        if row < 0:
            why = "is unknown, and the model expects nothing of unknown ones"
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
    reg_features: float | tuple[float, float] | None

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

    @property
    def reg_features_(self) -> tuple[float | None, float | None]:
        """The ridges of the regressions on features in the fit, (users, items); None for a side without features."""
        check_is_fitted(self, "mean_")
        return self._users.prior.feature_ridge, self._items.prior.feature_ridge

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

    def _feature_ridges(self) -> tuple[float | None, float | None]:
        """Return the ridges of the regressions on features; None for those that the fit is to choose."""
        if self.reg_features is None:
            return None, None
        return _check.by_side("reg_features", self.reg_features)

"""Vectors of users and items for other programs: tables of Arrow and Parquet, and vectors for searches of nearest neighbours."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from alsx._files import atomic_write
from alsx._models.fitted import FittedModel
from alsx._models.frames import text_column
from alsx._solver import SIDES
from alsx.typing import Id, IdArray, Side

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]


class SearchVectors(NamedTuple):
    """Vectors whose nearest neighbours are the items with the highest predictions.

    Parameters
    ----------
    ids : ndarray, shape (n,)
        Of the rows.
    vectors : ndarray of float32 or float64, shape (n, k+2)
    """

    ids: Array
    vectors: Array


class Vectors(FittedModel):
    """Vectors out."""

    def to_arrow(self, side: Side = "item") -> pa.Table:
        """Return the vectors of one side as a table of pyarrow.

        Parameters
        ----------
        side : {"item", "user"}, default="item"
            Whose.

        Returns
        -------
        table : pyarrow.Table
            A row for each id, ascending: ``item`` or ``user``, ``ratings`` (how many the model has seen), ``bias`` (in rating
            units), ``factors`` (a list of k numbers; left out where k is 0) and ``title`` (of items, after `set_titles`). A
            prediction is ``mean_`` plus both biases plus the product of both factors.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        ValueError
            If there is no such side.

        Examples
        --------
        >>> from alsx import FactorALS
        >>> R = [("ann", 7), ("bob", 7), ("ann", 3), ("cat", 3)]
        >>> model = FactorALS(k=2, random_state=0).fit(R, [4.5, 3.0, 5.0, 4.0])
        >>> model.to_arrow("user").column_names
        ['user', 'ratings', 'bias', 'factors']
        """
        import pyarrow as pa

        check_is_fitted(self, "mean_")
        if side not in SIDES:
            raise ValueError(f'side is {side!r}; it must be "item" or "user"')
        own, counts = (self._users, self.user_counts_) if side == "user" else (self._items, self.item_counts_)
        k = own.k
        columns: dict[str, Any] = {
            side: own.ids.values,
            "ratings": counts,
            "bias": np.ascontiguousarray(own.table[:, k]),
        }
        if k:
            flat = np.ascontiguousarray(own.table[:, :k]).ravel()
            columns["factors"] = pa.FixedSizeListArray.from_arrays(pa.array(flat), k)
        if side == "item" and self._titles is not None:
            columns["title"] = text_column(self._titles.of(own.ids.values))
        return pa.table({name: x if isinstance(x, pa.Array) else pa.array(x) for name, x in columns.items()})

    def to_parquet(self, path: str | os.PathLike[str] | IO[bytes], side: Side = "item") -> None:
        """Write what `to_arrow` returns to a Parquet file.

        Parameters
        ----------
        path : path-like or binary file object
            The file; a leading ``~`` is the home folder. It is written beside it and moved into place.
        side : {"item", "user"}, default="item"
            Whose vectors.
        """
        import pyarrow.parquet as pq

        table = self.to_arrow(side)
        if not isinstance(path, (str, os.PathLike)):
            pq.write_table(table, path)
            return
        with atomic_write(path) as file:
            pq.write_table(table, file)

    def augmented_item_vectors(self) -> SearchVectors:
        """Return vectors of the items for libraries that search nearest neighbours, such as faiss or hnswlib.

        With x = [q ; c] of an item and y = [p ; 1] of a user, a prediction is y . x besides what all items of the user have in
        common. The vectors are [x ; sqrt(L - x . x)], L the largest x . x, so that all have one length: the nearest to [y ; 0] of
        `augmented_user_vectors`, by Euclidean distance, by cosine or by inner product, are the items with the highest predictions,
        which ``recommend(strategy="mean")`` lists.

        Returns
        -------
        ids : ndarray, shape (n,)
            Of the items that have ratings or features.
        vectors : ndarray of the model's dtype, shape (n, k+2)

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.

        References
        ----------
        Y. Bachrach, Y. Finkelstein, R. Gilad-Bachrach, L. Katzir, N. Koenigstein, N. Nice, U. Paquet, "Speeding up the Xbox
        recommender system using a Euclidean transformation for inner-product spaces", RecSys 2014, pages 257-264.

        Examples
        --------
        >>> import numpy as np
        >>> from alsx import FactorALS
        >>> from alsx.datasets import make_ratings
        >>> model = FactorALS(k=3, random_state=0).fit(make_ratings(50, 30, 500, random_state=0))
        >>> ids, vectors = model.augmented_item_vectors()
        >>> distances = np.linalg.norm(vectors - model.augmented_user_vectors(7), axis=1)
        >>> bool(ids[np.argmin(distances)] == model.recommend(7, 1, exclude_rated=False, strategy="mean")[0][0])
        True
        """
        check_is_fitted(self, "mean_")
        side = self._items
        shown = np.flatnonzero(side.has_data)
        vectors = np.zeros((len(shown), side.k + 2), side.table.dtype)
        vectors[:, :-1] = side.table[shown, : side.k + 1]
        squares = np.einsum("ij,ij->i", vectors[:, :-1], vectors[:, :-1], dtype=np.float64)
        vectors[:, -1] = np.sqrt(squares.max(initial=0.0) - squares)
        return SearchVectors(side.ids.values[shown], vectors)

    def augmented_user_vectors(self, users: Id | IdArray | None = None) -> Array:
        """Return the vectors of users that `augmented_item_vectors` are searched with.

        Parameters
        ----------
        users : id or array-like of ids, shape (m,), default=None
            Default: all. An unknown user has what is expected of anybody.

        Returns
        -------
        vectors : ndarray of the model's dtype, shape (m, k+2), or (k+2,) of a single id

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        """
        check_is_fitted(self, "mean_")
        side = self._users
        codes = np.arange(len(side)) if users is None else np.asarray(side.ids.codes(users, "users"))
        vectors = np.zeros((codes.size, side.k + 2), side.table.dtype)
        vectors[:, : side.k] = side.vectors(np.atleast_1d(codes))[:, : side.k]
        vectors[:, side.k] = 1.0
        return vectors if codes.ndim else vectors[0]

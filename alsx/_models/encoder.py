"""A transformer of ids to factors: features for another model."""

from __future__ import annotations

import numbers
from typing import Any, Literal, Self

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_is_fitted

from alsx import _check
from alsx._models.estimator import DocumentationLinks, named_columns
from alsx._models.factor import FactorALS
from alsx._models.recommender import Recommender
from alsx.ratings import Caller, Ratings, id_pairs, is_frame, is_path

Array = NDArray[Any]

# What messages call the pairs that `transform` is given.
PAIRS = Caller("X", options="Ratings")

# Whose factors an encoder gives: (users, items).
ENCODED_SIDES = {"both": (True, True), "user": (True, False), "item": (False, True)}


class FactorEncoder(DocumentationLinks, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Ids of users and items, encoded as their biases and latent factors: features for another model.

    Wherever a table has columns of users and items, a pipeline can give the model that follows what ratings tell of them, as it
    would one-hot or target encode other categories. Ids that were not there in the fit get the cold-start vector.

    Factors tell more of the ratings that they were fitted to than of others, so that the model that follows would trust them
    too much. Therefore `fit_transform`, which is what a pipeline calls in training, is cross-fitted: each row is encoded by a model
    that has not seen it, as scikit-learn's `TargetEncoder` does. Factors of two fits agree but for a rotation, so those of the
    folds are rotated to those of the fit to all rows (orthogonal Procrustes).

    Parameters
    ----------
    estimator : BiasALS, FactorALS or BayesALS, default=None
        What is fitted to the ratings; it stays as it is, a clone is fitted. None is ``FactorALS()``. To encode by a model that is
        fitted already, take ``sklearn.frozen.FrozenEstimator(model)``, with ``cv=None``.
    side : {"both", "user", "item"}, default="both"
        Whose factors.
    with_prediction : bool, default=False
        Add the predicted rating, which few models can learn from the factors of both (they would have to multiply them).
    cv : int, splitter, iterable or None, default=5
        Folds of `fit_transform`, which takes one fit more than there are folds; as `cross_val_predict` of scikit-learn takes them,
        but for an int they are drawn at random. None: rows are encoded by the model that was fitted to them, which is
        right where the target of the model that follows is not the ratings.
    random_state : int, RandomState or None, default=None
        Of the folds where `cv` is an int, and of the estimator where it has none.

    Attributes
    ----------
    model_ : the estimator, fitted to all rows
    n_features_in_ : int
        2, users and items.
    feature_names_in_ : ndarray of str, shape (2,)
        The names of these columns, where `fit` was given a data frame.

    See Also
    --------
    FactorALS : The factors alone are its attributes `user_factors_` and `item_factors_`.

    References
    ----------
    P. H. Schoenemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31(1), 1966, pages 1-10.

    D. Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes in classification and prediction
    problems", ACM SIGKDD Explorations 3(1), 2001, pages 27-32 (encoding categories by the target).

    Examples
    --------
    >>> from alsx import FactorALS, FactorEncoder
    >>> X = [("ann", 7), ("bob", 7), ("ann", 3), ("cat", 3), ("cat", 7), ("bob", 3)]
    >>> encoder = FactorEncoder(FactorALS(k=2, random_state=0), side="item", cv=2, random_state=0)
    >>> encoder.fit_transform(X, [4.5, 3.0, 5.0, 4.0, 4.0, 2.5]).shape
    (6, 3)
    >>> encoder.transform([3, 7, 99]).shape
    (3, 3)
    >>> encoder.get_feature_names_out()
    array(['item_bias', 'item_factor_0', 'item_factor_1'], dtype=object)
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        side: Literal["both", "user", "item"] = "both",
        with_prediction: bool = False,
        cv: Any = 5,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.estimator = estimator
        self.side = side
        self.with_prediction = with_prediction
        self.cv = cv
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.categorical = True
        tags.target_tags.required = False
        tags.transformer_tags.preserves_dtype = []  # ids are no numbers
        return tags

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the estimator to ratings.

        Parameters
        ----------
        X : array-like of shape (n_ratings, 2), data frame, Ratings, scipy sparse matrix or array, or path
            Pairs (user, item), or whatever `FactorALS.fit` takes.
        y : array-like of shape (n_ratings,), default=None
            Ratings (or any number to be explained by users and items), where `X` holds pairs of ids.
        sample_weight : array-like of shape (n_ratings,), default=None
            Non-negative weights.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For parameters and data that cannot be used.
        """
        self._check()
        model = self._fitted(X, y, sample_weight)
        self.model_ = model
        self.n_features_in_ = 2
        names = named_columns(X)
        if names is None:
            self.__dict__.pop("feature_names_in_", None)
        else:
            self.feature_names_in_ = names
        return self

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit the estimator to ratings, and encode each of them by a model that has not seen it.

        Parameters
        ----------
        X, y, sample_weight
            As of `fit`; without rows in an order (a sparse matrix, a `Ratings`, a path) only where `cv` is None.

        Returns
        -------
        encoded : ndarray, shape (n_ratings, n_features_out), or what `set_output` asks for
            It differs from ``fit(X, y).transform(X)``, unless `cv` is None.

        Raises
        ------
        TypeError, ValueError
            As for `fit`; if there are fewer rows than folds.
        """
        self._check()
        if self.cv is None:
            self.fit(X, y, sample_weight)
            return self._encoded(self.model_, self._codes(self.model_, X))
        if isinstance(X, Ratings) or scipy.sparse.issparse(X) or is_path(X):
            raise TypeError(
                f"X is of type {type(X).__name__}, whose ratings have no rows to be split into folds: pass pairs of ids with y, or "
                "a data frame, or cv=None"
            )
        # What is no array, but can become one, has no rows that could be taken.
        X, y, sample_weight = (
            np.asarray(x) if hasattr(x, "__array__") and not hasattr(x, "__getitem__") else x
            for x in (X, y, sample_weight)
        )
        n = _num_samples(X)
        folds = self._folds(n)
        self.fit(X, y, sample_weight)
        out = None
        for train, test in folds:
            part = (None if given is None else _safe_indexing(given, train) for given in (X, y, sample_weight))
            model = self._fitted(*part)
            codes = self._codes(model, _safe_indexing(X, test))
            encoded = self._encoded(model, codes, _rotation(model, self.model_))
            if out is None:
                out = np.empty((n, encoded.shape[1]), encoded.dtype)
            out[test] = encoded
        return out

    def transform(self, X: Any) -> Any:
        """Encode ids.

        Parameters
        ----------
        X : array-like of shape (n, 2) or data frame; with `side` "user" or "item" also array-like of shape (n,)
            Pairs (user, item), or ids of that side.

        Returns
        -------
        encoded : ndarray, shape (n, n_features_out), or what `set_output` asks for
            In the type of the factors; columns as `get_feature_names_out` names them.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the encoder was not fitted.
        TypeError, ValueError
            If ids are of another kind than those of the fit, or are no pairs.

        Warns
        -----
        UserWarning
            If more than half of the pairs have an unknown user or item.
        """
        check_is_fitted(self, "model_")
        # Only here: of the few rows of a fold many may be of users and items that the other folds lack.
        codes = self._codes(self.model_, X)
        self.model_._warn_unknown(*codes, stacklevel=4)
        return self._encoded(self.model_, codes)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Return the names of the columns that `transform` gives.

        Parameters
        ----------
        input_features : ignored
            The names of the columns of ids play no part.

        Returns
        -------
        names : ndarray of str, shape (n_features_out,)
            ``user_bias``, ``user_factor_0`` ..., the same of items, ``prediction``.
        """
        check_is_fitted(self, "model_")
        names = []
        for name in ("user", "item"):
            if self.side in ("both", name):
                names += [f"{name}_bias", *(f"{name}_factor_{place}" for place in range(self.model_._k))]
        return np.array([*names, *(["prediction"] if self.with_prediction else [])], object)

    def _folds(self, n: int) -> list[tuple[Array, Array]]:
        """Return the folds of n rows, as (training rows, test rows)."""
        from sklearn.model_selection import KFold, check_cv  # take time to import

        if isinstance(self.cv, numbers.Integral):
            n_folds = int(self.cv)
            if n < n_folds:
                raise ValueError(f"cv is {n_folds}, but X has {n} rows: pass cv={n} at most, or cv=None")
            splitter = KFold(n_folds, shuffle=True, random_state=self.random_state)
        else:
            splitter = check_cv(self.cv)
        folds = list(splitter.split(np.empty(n)))
        tested = np.bincount(np.concatenate([test for _, test in folds]), minlength=n)
        if (tested != 1).any():
            at = int(np.argmax(tested != 1))
            raise ValueError(
                f"cv tests row {at} {tested[at]} times; each row must be tested once, as by sklearn.model_selection.KFold"
            )
        return folds

    def _check(self) -> None:
        """Refuse parameters that cannot be used."""
        if not isinstance(self.side, str) or self.side not in ENCODED_SIDES:
            raise ValueError(f'side is {self.side!r:.80}; it must be "both", "user" or "item"')
        _check.boolean("with_prediction", self.with_prediction)
        if isinstance(self.cv, (numbers.Real, np.bool_)):
            _check.integer("cv", self.cv, 2)

    def _fitted(self, X: Any, y: Any, sample_weight: Any) -> Any:
        """Return a clone of the estimator, fitted."""
        model = FactorALS() if self.estimator is None else clone(self.estimator)
        if not isinstance(getattr(model, "estimator", model), Recommender):
            raise TypeError(
                f"estimator is of type {type(model).__name__}; it must be a BiasALS, FactorALS or BayesALS, or one of them in a "
                "FrozenEstimator"
            )
        if self.random_state is not None and getattr(model, "random_state", 0) is None:
            model.set_params(random_state=self.random_state)
        return model.fit(X, y) if sample_weight is None else model.fit(X, y, sample_weight)

    def _encoded(self, model: Any, codes: tuple[Array, Array], rotation: Array | None = None) -> Array:
        """Return users and items as a model has them, its factors rotated."""
        blocks = []
        for side, own, is_wanted in zip((model._users, model._items), codes, ENCODED_SIDES[self.side], strict=True):
            if is_wanted:
                rows, k = side.vectors(own), side.k
                factors = rows[:, :k] if rotation is None else rows[:, :k] @ rotation.astype(rows.dtype)
                blocks += [rows[:, k : k + 1], factors]
        if self.with_prediction:
            blocks.append(model._predict_codes(*codes, True)[:, None].astype(blocks[0].dtype))
        return np.hstack(blocks)

    def _codes(self, model: Any, X: Any) -> tuple[Array, Array]:
        """Return codes of users and of items; of the side that is wanted where `X` is one column of ids."""
        if self.side != "both" and not self.with_prediction:
            ids = _single_column(X)
            if ids is not None:
                codes = np.asarray((model._users if self.side == "user" else model._items).ids.codes(ids, "X"))
                return codes, codes
        users, items = id_pairs(X, PAIRS, (model._users.ids.kind, model._items.ids.kind))
        return np.asarray(model._users.ids.codes(users, "X")), np.asarray(model._items.ids.codes(items, "X"))


def _single_column(X: Any) -> Any:
    """Return ids where `X` is one column of them; None where it holds pairs."""
    if is_frame(X) or is_path(X) or isinstance(X, Ratings) or scipy.sparse.issparse(X):
        return None
    if isinstance(X, (list, tuple)):
        first = X[0] if X else ()
        return X if isinstance(first, str) or not hasattr(first, "__len__") else None
    shape = np.shape(X)
    if len(shape) == 1:
        return X
    return np.asarray(X)[:, 0] if shape[1:] == (1,) else None


def _rotation(model: Any, target: Any) -> Array | None:
    """Return the rotation of a model's factors to those of another one, which knows all of its rows: shape (k, k)."""
    k = target._k
    if not k:
        return None
    product = np.zeros((k, k))
    for own, other in ((model._users, target._users), (model._items, target._items)):
        codes = np.asarray(other.ids.codes(own.ids.values, "ids"))
        product += own.table[:, :k].astype(np.float64).T @ other.table[codes, :k].astype(np.float64)
    # The rotation that maximises the trace of its product with this is that of the least squared distance.
    left, _, right = scipy.linalg.svd(product)
    return np.asarray(left @ right)

"""What scikit-learn expects of an estimator of ratings: score, tags, names of features, metadata, callbacks, links."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from importlib import metadata
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import scipy.sparse
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from alsx._solver.alternation import Iteration
from alsx.ratings import Caller, Ratings, as_ratings, is_frame, pair_names, read_ratings
from alsx.typing import RatingsLike

Method = TypeVar("Method", bound=Callable[..., Any])
Array = NDArray[Any]


class CallbackSupport:
    """scikit-learn's `CallbackSupportMixin`, imported when somebody asks for callbacks: it brings a library for progress bars."""

    if importlib.util.find_spec("sklearn.callback") is not None:  # scikit-learn 1.9 and later

        def set_callbacks(self, *callbacks: Any) -> Any:
            """Set scikit-learn's callbacks, which follow fits.

            Parameters
            ----------
            *callbacks : callback instances
                Of `sklearn.callback`; none takes those away that were set.

            Returns
            -------
            self

            Raises
            ------
            TypeError
                If one of them is no such callback.
            """
            from sklearn.callback import CallbackSupportMixin

            return CallbackSupportMixin.set_callbacks(self, *callbacks)

        def _init_callback_context(self, *args: Any, **kwargs: Any) -> Any:
            from sklearn.callback import CallbackSupportMixin

            return CallbackSupportMixin._init_callback_context(self, *args, **kwargs)


def is_followed(estimator: Any) -> bool:
    """Return whether an estimator, or a meta-estimator around it, has callbacks of scikit-learn."""
    return hasattr(estimator, "_skl_callbacks") or hasattr(estimator, "_parent_callback_ctx")


def with_callbacks(method: Method) -> Method:
    """Return a method that takes down scikit-learn's callbacks in the end, whether it succeeds or not."""

    @functools.wraps(method)
    def managed(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_followed(self):
            return method(self, *args, **kwargs)
        from sklearn.callback import with_callbacks as with_sklearn_callbacks

        return with_sklearn_callbacks(method)(self, *args, **kwargs)

    return cast(Method, managed)


# What messages call the argument of `score`.
SCORED = Caller("R", options="Ratings")

# Where the page of an estimator is in the documentation.
PAGE = "generated/alsx.{estimator_name}.html"


@functools.cache
def documentation() -> str:
    """Return the address of the documentation that the installed package names, or an empty text."""
    try:
        urls = metadata.metadata("alsx").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return ""
    named = dict(url.split(", ", 1) for url in urls if ", " in url)
    return str(named.get("Documentation", "")).rstrip("/")


class DocumentationLinks:
    """Links of an estimator's HTML representation to its page of the documentation."""

    _doc_link_module = "alsx"

    @property
    def _doc_link_template(self) -> str:
        """The address of an estimator's page; empty, so that there is no link, where the package names no documentation."""
        return f"{documentation()}/{PAGE}" if documentation() else ""


def one_column(y: Any) -> Any:
    """Return ratings; those of a column vector in one dimension, with scikit-learn's warning."""
    is_column = isinstance(getattr(y, "shape", None), tuple) and len(y.shape) == 2 and y.shape[1] == 1
    return column_or_1d(y, warn=True) if is_column and not scipy.sparse.issparse(y) else y


def named_columns(R: Any) -> Array | None:
    """Return the names of the columns of users and items of a data frame; None where there are no names."""
    names = pair_names(R) if is_frame(R) else []
    return np.array(names, object) if names and all(isinstance(name, str) for name in names) else None


class Estimator(DocumentationLinks, CallbackSupport, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor of ratings whose samples are pairs of ids; the base of all models."""

    # The first arguments are data, whatever they are called, and no metadata that a meta-estimator could route.
    __metadata_request__fit = {"R": UNUSED}  # noqa: RUF012, scikit-learn reads it from the class
    __metadata_request__partial_fit = {"R": UNUSED}  # noqa: RUF012
    __metadata_request__score = {"R": UNUSED}  # noqa: RUF012
    __metadata_request__predict = {"users": UNUSED, "items": UNUSED}  # noqa: RUF012

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Ids are integers or strings. A sparse matrix is a table of ratings and not of samples.
        tags.input_tags.string = tags.input_tags.categorical = True
        # Ratings may come with R.
        tags.target_tags.required = False
        # Of ratings without structure nothing can be learned but the mean.
        tags.regressor_tags.poor_score = True
        return tags

    @property
    def n_features_in_(self) -> int:
        """2: the columns of `X` in ``predict(X)``, users and items."""
        check_is_fitted(self, "mean_")
        return 2

    def _name_features(self, R: Any) -> None:
        """Remember the names of the columns of users and items, where `R` is a data frame that has them."""
        names = named_columns(R)
        if names is None:
            self.__dict__.pop("feature_names_in_", None)
        else:
            self.feature_names_in_ = names

    def score(
        self, R: RatingsLike, y: npt.ArrayLike | None = None, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Return R^2 of the predictions, as every regressor of scikit-learn does.

        Parameters
        ----------
        R : Ratings, scipy sparse matrix or array, data frame, path, or array-like of shape (n_ratings, 2)
            Ratings, or with `y` pairs (user, item), as `fit` takes them.
        y : array-like of shape (n_ratings,), default=None
            Ratings, where `R` holds pairs of ids.
        sample_weight : array-like of shape (n_ratings,), default=None
            Weights, as `fit` takes them.

        Returns
        -------
        score : float
            The share of the ratings' variance that the (clipped) predictions explain: 1 is best, 0 is what their mean gets. For the
            error in stars there are `alsx.metrics.rmse` and ``scoring="neg_root_mean_squared_error"``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        TypeError, ValueError
            For ratings that cannot be used.

        Notes
        -----
        Where scikit-learn splits ratings, they must be shuffled: in files they are mostly sorted by user, and then its default
        folds are of users who are not in the training ratings. So pass ``cv=KFold(5, shuffle=True, random_state=0)``, or a splitter
        of `alsx.model_selection`.

        Examples
        --------
        >>> from alsx import BiasALS
        >>> X, y = [("ann", 7), ("bob", 7), ("ann", 3)], [4.5, 3.0, 5.0]
        >>> round(BiasALS().fit(X, y).score(X, y), 2)
        0.55
        """
        from sklearn.metrics import r2_score  # takes time to import

        check_is_fitted(self, "mean_")
        if y is None:
            ratings = ratings_of(R, sample_weight, timestamp=None if self._uses_time else False)
            ids, y, sample_weight = ids_and_ratings(ratings)
            times = {"timestamps": ratings.timestamps} if self._uses_time and ratings.timestamps is not None else {}
            predicted = self.predict(*ids, **times)
        else:
            predicted = self.predict(R)
        return float(r2_score(y, predicted, sample_weight=sample_weight))

    @property
    def _uses_time(self) -> bool:
        """Whether predictions depend on when a rating is given."""
        return False

    def predict(self, users: Any, items: Any = None) -> Any:
        """Return predictions; every model has its own."""
        raise NotImplementedError


def ratings_of(R: Any, sample_weight: Any = None, *, timestamp: bool | None = False) -> Ratings:
    """Return the ratings that `score` is given; `timestamp` is None where times are read if there are any."""
    if sample_weight is None:
        return as_ratings(R, "R", timestamp=timestamp)
    return read_ratings(R, caller=SCORED, sample_weight=sample_weight, timestamp=timestamp)


def ids_and_ratings(R: Any, sample_weight: Any = None) -> tuple[tuple[Array, Array], Array, Array | None]:
    """Return ids (users, items), ratings and weights, in one order, of whatever holds all of them."""
    ratings = ratings_of(R, sample_weight)
    users, items, values = ratings.triples()
    return (ratings.user_ids[users], ratings.item_ids[items]), values, ratings.by_user.weights


# ---------------------------------------------------------------------------------------------------------------------
# scikit-learn's callbacks


class CallbackTasks:
    """scikit-learn's callbacks that an estimator has: a fit is a task, and each iteration is a task within it.

    Parameters
    ----------
    estimator : Estimator
    max_iter : int
    R, y, sample_weight
        As of `fit`. Callbacks see pairs of ids and their ratings, whatever `fit` was given.
    attributes : callable
        ``attributes(model)`` returns what an estimator with this fitted model has.
    """

    def __init__(
        self,
        estimator: Any,
        max_iter: int,
        R: Any,
        y: Any,
        sample_weight: Any,
        attributes: Callable[[Any], dict[str, Any]],
    ) -> None:
        self.estimator, self.attributes = estimator, attributes
        self.given = R, y, sample_weight
        self.fit = estimator._init_callback_context(max_subtasks=max_iter)
        # Callables are called when a callback asks for what they return.
        self.shown = {
            "estimator": estimator,
            "X": lambda: self._samples[0],
            "y": lambda: self._samples[1],
            "metadata": lambda: self._samples[2],
        }
        self.fit.call_on_fit_task_begin(**self.shown)
        self.task: Any = None

    @classmethod
    def of(cls, estimator: Any, *arguments: Any) -> CallbackTasks | None:
        """Return the tasks of a fit, or None where nobody follows it."""
        return cls(estimator, *arguments) if is_followed(estimator) else None

    @functools.cached_property
    def _samples(self) -> tuple[Any, Any, dict[str, Any] | None]:
        """The samples as scikit-learn knows them: X, y, and the metadata."""
        R, y, weights = self.given
        if y is None:
            ids, y, weights = ids_and_ratings(R, weights)
            kinds = {column.dtype.kind for column in ids}
            R = np.column_stack(ids) if len(kinds) == 1 else np.column_stack([x.astype(object) for x in ids])
        return R, y, None if weights is None else {"sample_weight": weights}

    def begin(self) -> None:
        """Tell the callbacks that an iteration begins."""
        self.task = self.fit.subcontext(task_name="iteration")
        self.task.call_on_fit_task_begin(**self.shown)

    def end(self, iteration: Iteration, model: Callable[[], Any]) -> bool:
        """Tell the callbacks that an iteration has ended; returns whether one of them ends the fit."""
        return bool(
            self.task.call_on_fit_task_end(**self.shown, reconstruction_attributes=lambda: self.attributes(model()))
        )

    def finish(self) -> None:
        """Tell the callbacks that the fit has ended, and the estimator is fitted."""
        self.fit.call_on_fit_task_end(**self.shown, reconstruction_attributes={})

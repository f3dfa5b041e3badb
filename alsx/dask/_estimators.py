"""The estimators that are fitted on a Dask cluster."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, Literal, Self

import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from alsx import _check, _threads
from alsx._models.bias import BiasALS
from alsx._models.factor import FactorALS
from alsx._models.recommender import Recommender
from alsx._models.stopping import stopping_rules
from alsx._models.training import Specification
from alsx._solver.alternation import Iteration
from alsx.dask import _source
from alsx.dask._cluster import Session
from alsx.dask._fit import ClusterFit, FitOptions
from alsx.dask._outcome import Outcome, gather
from alsx.typing import DType, RandomState

Array = npt.NDArray[Any]


class DaskEstimator(BaseEstimator):  # type: ignore[misc]
    """A model of ratings that is fitted on a Dask cluster.

    The base of `DaskFactorALS` and `DaskBiasALS`; it has no constructor of its own.
    """

    # Parameters of every such model; a subclass's constructor sets them.
    callback: Any
    random_state: Any
    verbose: int
    client: Any
    checkpoint: Any
    checkpoint_every: int
    timeout: float

    _outcome: Outcome

    def _local(self) -> Recommender:
        """Return the local estimator with the same parameters, not fitted."""
        raise NotImplementedError

    def _specification(self) -> Specification:
        """Return what the parameters ask for, once they are checked."""
        return self._local()._specification()

    def fit(
        self,
        source: Any,
        *,
        user: str | None = None,
        item: str | None = None,
        rating: str | None = None,
        weight: str | None = None,
        duplicates: Literal["raise", "last", "mean", "sum"] = "raise",
        missing: float | str | Sequence[float | str] | None = None,
        id_types: Any = None,
        separator: str | None = None,
        header: bool | None = None,
        names: Sequence[str] | None = None,
        encoding: str | None = None,
        quoting: bool | None = None,
        storage_options: dict[str, Any] | None = None,
    ) -> Self:
        """Fit the model to ratings.

        Parameters
        ----------
        source : str, path-like or dask.dataframe.DataFrame
            The address of files that all workers can read: a Parquet or text file, a folder of them, or a pattern such as
            ``"s3://bucket/ratings/*.parquet"``, of any file system that fsspec knows; or a data frame of Dask. A file of text is
            read by one task, so that it must be small beside a worker's memory; of Parquet files it is the row groups.
        user, item, rating : str, default=None
            Names of the columns. Default: recognised, as by `alsx.Ratings`.
        weight : str, default=None
            The column of weights, finite and not negative, of Parquet files and data frames. Default: all 1.
        duplicates : {"raise", "last", "mean", "sum"}, default="raise"
            What to do where a user rated an item more than once, as by `alsx.Ratings`. "last" goes by the order of files by name, of
            partitions by number, and of rows.
        missing, id_types, separator, header, names, encoding, quoting
            As of `alsx.Ratings`; the last five of files of text alone.
        storage_options : dict, default=None
            What fsspec needs to open the files, such as credentials.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For parameters and data that cannot be used; the message names the argument, the first offending place and the remedy.
        alsx.dask.ClusterError
            If the cluster has no worker left, workers die again and again at the same task, nothing is done for the seconds of
            `timeout`, or tasks are cancelled; if data are lost with a worker and cannot be read again.
        numpy.linalg.LinAlgError
            Where a row's equations have no unique solution, which needs a regularisation of 0 or next to it.
        FloatingPointError
            Where numbers leave the range of their type, which needs absurdly large ratings or weights.
        """
        specification = self._specification()
        layout = {"separator": separator, "header": header, "names": names, "encoding": encoding, "quoting": quoting}
        reading = _source.check_reading(
            user, item, rating, weight, duplicates, missing, id_types, layout, storage_options, specification.dtype
        )
        if self.checkpoint is not None and not isinstance(self.checkpoint, (str, os.PathLike)):
            raise TypeError(
                f"checkpoint is of type {type(self.checkpoint).__name__}; it must be the path of a folder that all workers share"
            )
        options = FitOptions(
            reading,
            stopping_rules(self.callback, False, 0.1, 3, "raise"),
            _check.generator(self.random_state),
            int(self.random_state) if isinstance(self.random_state, Integral) else None,
            _check.integer("verbose", int(self.verbose) if isinstance(self.verbose, bool) else self.verbose, 0),
            self.checkpoint,
            _check.integer("checkpoint_every", self.checkpoint_every, 1),
        )
        session = Session(self.client, _source.check_timeout(self.timeout))
        with session.released_on_error():
            fit = ClusterFit(session, specification, options)
            fit.run(source)
            self._set_outcome(Outcome.of(fit), fit)
        return self

    def _set_outcome(self, outcome: Outcome, fit: ClusterFit) -> None:
        """Make this the fitted model of that outcome."""
        self.close()
        self._outcome = outcome
        # Where the model goes, what it has on the cluster goes.
        self._finalizer = weakref.finalize(self, outcome.session.release)
        self._finalizer.atexit = False  # the cluster sees that its client has gone
        totals = outcome.totals
        self.client_ = outcome.session.client
        self.mean_, self.rating_range_ = totals.mean, totals.range
        self.n_users_, self.n_items_, self.n_ratings_ = totals.n_users, totals.n_items, totals.n_ratings
        self.history_ = outcome.history
        self.n_iter_ = len(outcome.history["loss"])
        self.simd_level_ = outcome.model.level
        self.traffic_ = fit.traffic

    def close(self) -> None:
        """Give back what the model has on the cluster; afterwards it can only be fitted again."""
        finalizer = self.__dict__.pop("_finalizer", None)
        if finalizer is not None:
            finalizer()
            self.__dict__.pop("_outcome", None)

    def _fitted(self) -> Outcome:
        """Return what the fit came to."""
        check_is_fitted(self, "mean_")
        if "_outcome" not in self.__dict__:
            raise ValueError("the model was closed, or came without its cluster: fit it again, or load what save wrote")
        return self._outcome

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_outcome", "_finalizer", "client_", "client")
        state = {name: value for name, value in super().__getstate__().items() if name not in left_out}
        return {**state, "client": None}

    def to_local(self) -> Any:
        """Return the fitted model on this machine, with everything that local models can do.

        Returns
        -------
        model : FactorALS or BiasALS
            With the same bits as a local fit to the same ratings by the same instruction set, `simd_level_`. Ids, tables and ratings
            must fit into the memory of this machine.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        alsx.dask.ClusterError
            If the cluster does not answer.
        """
        model = self._local()
        state = gather(self._fitted(), _threads.resolve())
        model._set_state(state, state.items.counts)
        return model


class DaskBiasALS(DaskEstimator):
    """Global mean plus regularised user and item biases, fitted on a Dask cluster: the bits of `alsx.BiasALS`.

    Parameters
    ----------
    reg, reg_scaling, max_iter, tol, callback, verbose
        As of `alsx.BiasALS`. `callback` is called on the client.
    client : distributed.Client, default=None
        Of the cluster. None: the current one.
    checkpoint, checkpoint_every, timeout
        As of `DaskFactorALS`.

    Attributes
    ----------
    mean_, rating_range_, n_iter_, history_
        As of `alsx.BiasALS`.
    n_users_, n_items_, n_ratings_, simd_level_, traffic_, client_
        As of `DaskFactorALS`.

    See Also
    --------
    DaskFactorALS : With factors; what is said there of clusters holds here, too.
    """

    random_state = None  # there is nothing random in it

    def __init__(
        self,
        reg: float | tuple[float, float] = (5.0, 2.0),
        *,
        reg_scaling: float = 0.0,
        max_iter: int = 50,
        tol: float = 1e-6,
        callback: Callable[[Iteration], object] | None = None,
        verbose: int = 0,
        client: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 5,
        timeout: float = 3600.0,
    ) -> None:
        self.reg = reg
        self.reg_scaling = reg_scaling
        self.max_iter = max_iter
        self.tol = tol
        self.callback = callback
        self.verbose = verbose
        self.client = client
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.timeout = timeout

    def _local(self) -> BiasALS:
        return BiasALS(self.reg, reg_scaling=self.reg_scaling, max_iter=self.max_iter, tol=self.tol)


class DaskFactorALS(DaskEstimator):
    """Biases plus latent factors, fitted on a Dask cluster: the bits of ``alsx.FactorALS(implicit_features=None)``.

    For ratings and tables that one machine does not hold. Everything is the same to the last bit as on one machine, for any number
    of workers, threads and parts of the source, in any order, as long as all use the same instruction set: workers are capped to the
    lowest among them. Ratings are read and shuffled once; then each block of users, or items, is solved by one task, from its
    ratings and the rows of the other side that it needs.

    A worker that is lost costs time: Dask computes again what it had, from the source if need be, so that the source must be one
    that can be read again. What cannot be made again raises a `ClusterError`.

    Parameters
    ----------
    k : int, default=20
        Rank.
    reg, reg_bias, reg_scaling, max_iter, tol, dtype, callback, random_state, verbose
        As of `alsx.FactorALS`; ``reg="auto"`` is not offered. `callback` is called on the client.
    implicit_features : None
        Prior means cannot be learned from rated-item sets yet: their sums run over the rows of all workers.
    client : distributed.Client, default=None
        Of the cluster. None: the current one.
    checkpoint : path-like, default=None
        A folder on a disk that the client and all workers share. Tables are written there after every `checkpoint_every` iterations
        and after the last one, and the next fit to the same ratings with the same parameters goes on from there, on any number of
        workers, with the same bits. A checkpoint that is damaged or of another fit is refused. While the fitted model is on the
        cluster it may be read again, so that it must stay.
    checkpoint_every : int, default=5
        Iterations.
    timeout : float, default=3600.0
        Seconds without a finished task after which a fit gives up. An hour, since reading from far away may take long; trouble is
        noticed long before in most cases.

    Attributes
    ----------
    mean_ : float
        mu, the (weighted) mean of the training ratings.
    rating_range_ : tuple of float
        Lowest and highest training rating.
    n_users_, n_items_, n_ratings_ : int
        How many there are.
    n_iter_ : int
        Iterations done.
    history_ : dict of lists of float
        One entry an iteration: ``loss``, ``train_rmse`` and ``seconds``, as of `alsx.FactorALS`.
    simd_level_ : str
        The instruction set that all workers used; ``ALSX_SIMD`` gives a local fit the same.
    traffic_ : dict of lists of float
        Bytes of each iteration: ``moved``, what workers sent to each other by their own counters, whatever it was for, and
        ``planned``, the rows of tables that the fit had to move.
    client_ : distributed.Client
        Of the cluster that has the model.

    See Also
    --------
    alsx.FactorALS : The local fit, which learns prior means from rated-item sets and features, too.
    estimate_cluster : Memory and traffic of a fit beforehand.

    Examples
    --------
    >>> import dask.dataframe as dd
    >>> import pandas as pd
    >>> from distributed import Client
    >>> from alsx.dask import DaskFactorALS
    >>> client = Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None)
    >>> frame = pd.DataFrame({"user": ["ann", "bob", "ann", "cat"], "item": [7, 7, 3, 3], "rating": [4.5, 3.0, 5.0, 4.0]})
    >>> model = DaskFactorALS(k=2, random_state=0, client=client).fit(dd.from_pandas(frame, npartitions=2))
    >>> model.to_local().recommend("bob", n=1)[0]
    array([3])
    >>> model.close()
    >>> client.close()
    """

    def __init__(
        self,
        k: int = 20,
        *,
        reg: float | tuple[float, float] | None = None,
        reg_bias: float | tuple[float, float] | None = None,
        reg_scaling: float = 0.5,
        implicit_features: None = None,
        max_iter: int = 20,
        tol: float = 1e-4,
        dtype: DType = "float32",
        callback: Callable[[Iteration], object] | None = None,
        random_state: RandomState = None,
        verbose: int = 0,
        client: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 5,
        timeout: float = 3600.0,
    ) -> None:
        self.k = k
        self.reg = reg
        self.reg_bias = reg_bias
        self.reg_scaling = reg_scaling
        self.implicit_features = implicit_features
        self.max_iter = max_iter
        self.tol = tol
        self.dtype = dtype
        self.callback = callback
        self.random_state = random_state
        self.verbose = verbose
        self.client = client
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.timeout = timeout

    def _local(self) -> FactorALS:
        if self.implicit_features is not None:
            raise ValueError(
                f"implicit_features is {self.implicit_features!r:.40}; on a cluster it must be None: prior means of rated-item sets "
                "are learned on one machine alone, by alsx.FactorALS"
            )
        if isinstance(self.reg, str):
            raise ValueError(
                f"reg is {self.reg!r:.40}; on a cluster it must be a number, a pair of numbers (users, items) or None: choose it by "
                'alsx.FactorALS(reg="auto") on a share of the ratings'
            )
        return FactorALS(
            self.k, reg=self.reg, reg_bias=self.reg_bias, reg_scaling=self.reg_scaling, implicit_features=None,
            max_iter=self.max_iter, tol=self.tol, dtype=self.dtype, random_state=self.random_state,
        )  # fmt: skip

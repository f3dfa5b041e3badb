"""The estimators that are fitted on a Dask cluster."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
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
from alsx.dask import _serving, _source
from alsx.dask._cluster import Session
from alsx.dask._fit import ClusterFit, FitOptions
from alsx.dask._outcome import Outcome, gather
from alsx.dask._saving import save
from alsx.typing import DType, IdArray, RandomState

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

    # Predictions, lists, files

    def predict(self, pairs: Any, *, user: str | None = None, item: str | None = None, clip: bool = True) -> Any:
        """Predict ratings of pairs, in rating units, partition by partition.

        Parameters
        ----------
        pairs : dask.dataframe.DataFrame
            With columns of users and of items.
        user, item : str, default=None
            Their names. Default: recognised.
        clip : bool, default=True
            Keep predictions within the range of the training ratings.

        Returns
        -------
        predicted : dask.dataframe.Series of float64, not computed yet
            In the partitions and with the index of `pairs`; the bits of the local model's `predict`. A partition's task gets the
            rows of the tables that its pairs need. It can be computed as long as the model is on the cluster.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        TypeError, ValueError
            If `pairs` is no data frame of Dask, or has no such columns.
        """
        import dask.dataframe as dd
        import pandas as pd
        from dask import delayed

        outcome = self._fitted()
        if not _source.is_dask_frame(pairs):
            raise TypeError(
                f"pairs is of type {type(pairs).__name__}; it must be a data frame of Dask: pass dask.dataframe.from_pandas(pairs, "
                "npartitions=1), or predict by to_local()"
            )
        columns = _serving.pair_columns(list(pairs.columns), user, item)
        serving = self._serving(outcome)
        needed, predicted = delayed(_serving.needed_rows, pure=False), delayed(_serving.predict_part, pure=False)
        parts = []
        for part in pairs[list(columns)].to_delayed():
            codes = delayed(_serving.pair_codes, pure=False)(part, columns, outcome.ids)
            rows = tuple(
                [
                    needed(codes, side, group, layout, blocks[layout.groups[group] : layout.groups[group + 1]])
                    for group in range(layout.n_groups)
                ]
                for side, (layout, blocks) in enumerate(zip(outcome.layouts, (outcome.users, outcome.items), strict=True))
            )
            parts.append(predicted(part, codes, rows, serving, _check.boolean("clip", clip)))
        meta = pd.Series([], dtype="float64", name="prediction", index=pairs._meta.index[:0])
        divisions = pairs.divisions if pairs.known_divisions else None
        return dd.from_delayed(parts, meta=meta, divisions=divisions, verify_meta=False)

    def recommend(
        self,
        users: IdArray | None = None,
        n: int = 10,
        *,
        candidates: IdArray | None = None,
        exclude: IdArray | None = None,
        exclude_rated: bool = True,
        min_ratings: int = 0,
        strategy: Literal["propensity", "mean"] = "propensity",
        to: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Recommend items, block of users by block of users.

        Parameters
        ----------
        users : array-like of ids, shape (m,), default=None
            Whose lists are wanted; all must be known. None: those of all users.
        n, candidates, exclude, exclude_rated, min_ratings
            As of `alsx.FactorALS.recommend`; `candidates` and `exclude` are for all users.
        strategy : {"propensity", "mean"}, default="propensity"
            As there; those that need to know uncertainty are not offered.
        to : path-like, default=None
            A folder on a disk that client and workers share, for a Parquet file of each block of users. It gets its name when all of
            it is there; one that an earlier call wrote is replaced. None: return a data frame of Dask, not computed yet.

        Returns
        -------
        lists : dask.dataframe.DataFrame or None
            Columns ``user``, ``rank`` (from 1), ``item`` and ``score``; users ascending, the best items first. None where `to` is
            given.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        TypeError, ValueError
            For arguments that cannot be used, such as an unknown user.
        FileExistsError
            If `to` is there and no such folder.
        alsx.dask.ClusterError
            If the cluster does not answer.

        Notes
        -----
        A task needs the vectors of all items and of its block of users, and the ratings of these.
        """
        outcome = self._fitted()
        options = {
            "n": _check.integer("n", n, 1), "candidates": candidates, "exclude": exclude,
            "exclude_rated": _check.boolean("exclude_rated", exclude_rated), "strategy": strategy,
            "min_ratings": _check.integer("min_ratings", min_ratings, 0),
        }  # fmt: skip
        if strategy not in ("propensity", "mean"):
            raise ValueError(f'strategy is {strategy!r:.40}; on a cluster it must be "propensity" or "mean": others take to_local()')
        for name in ("candidates", "exclude"):
            if isinstance(options[name], Mapping):
                raise TypeError(f"{name} is a mapping; on a cluster it must be an array of ids for all users")
        session = outcome.session.another()
        with session.released_on_error():
            wanted = None if users is None else self._wanted(outcome, session, users)
            tables = self._lists(outcome, session, wanted, options)
            if to is None:
                return self._lazy_lists(outcome, session, tables)
            with _serving.NewFolder(to, "to", f"part-{0:05d}.parquet") as new:
                session.collect(
                    [
                        session.submit("write", _serving.write_table, table, str(new.part / f"part-{at:05d}.parquet"))
                        for at, table in enumerate(tables)
                    ],
                    "recommending",
                )
        session.release()
        return None

    def _wanted(self, outcome: Outcome, session: Session, users: Any) -> dict[int, npt.NDArray[np.int32]]:
        """Return the codes of users, ascending, by block."""
        [ids] = session.collect([outcome.ids], "recommending")
        codes = np.atleast_1d(ids.users.codes(users, "users"))
        if (codes < 0).any():
            at = int(np.argmax(codes < 0))
            raise ValueError(
                f"users: {np.atleast_1d(np.asarray(users))[at].item()!r:.44} (place {at}) is not among the training users; leave it out"
            )
        if not len(codes):
            raise ValueError("users is empty; give at least one id, or None for all users")
        codes = np.unique(codes)
        bounds = outcome.layouts[0].bounds
        cuts = np.searchsorted(codes, bounds)
        return {b: codes[cuts[b] : cuts[b + 1]] for b in range(len(bounds) - 1) if cuts[b] < cuts[b + 1]}

    def _lists(
        self, outcome: Outcome, session: Session, wanted: dict[int, npt.NDArray[np.int32]] | None, options: dict[str, Any]
    ) -> list[Any]:
        """Return futures of the lists, by block of users."""
        users, items = outcome.layouts
        serving, workers = self._serving(outcome), session.workers() or [None]
        counts = session.submit("counts", _serving.add_counts, [
            session.submit("counts", _serving.count_items, [outcome.local[b] for b in users.blocks(group)], outcome.needs[group], items)
            for group in range(users.n_groups)
        ])  # fmt: skip
        tables = []
        for group in range(users.n_groups):
            at = workers[group % len(workers)]
            blocks = [b for b in users.blocks(group) if wanted is None or b in wanted]
            if not blocks:
                continue
            side = session.submit("items", _serving.items_side, outcome.items, counts, outcome.ids, serving, at=at)
            tables += [
                session.submit(
                    "recommend", _serving.lists_of_block, outcome.users[b], outcome.local[b], outcome.needs[group], outcome.ids, side,
                    outcome.layouts, b, None if wanted is None else wanted[b], options, len(blocks), serving, at=at,
                )
                for b in blocks
            ]  # fmt: skip
        return tables

    def _lazy_lists(self, outcome: Outcome, session: Session, tables: list[Any]) -> Any:
        """Return lists as a data frame of Dask."""
        import dask.dataframe as dd
        from dask import delayed

        [meta] = session.collect([session.submit("facts", _serving.no_lists, outcome.ids)], "recommending")
        to_pandas = delayed(_serving.to_pandas, pure=False)
        return dd.from_delayed([to_pandas(table) for table in tables], meta=meta, verify_meta=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a folder, which `alsx.load` reads on one machine, or maps into memory.

        Parameters
        ----------
        path : path-like
            The folder, on a disk that client and workers share: workers write their blocks themselves. It gets its name when all of
            it is there; one that an earlier call wrote is replaced.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model was not fitted.
        FileExistsError
            If `path` is there and no such folder.
        alsx.dask.ClusterError
            If the cluster does not answer.

        See Also
        --------
        alsx.load : ``alsx.load(path, mmap=True)`` is a model of the local class that takes hardly any memory of its own.
        """
        outcome = self._fitted()
        session = outcome.session.another()
        try:
            save(outcome, session, self._serving(outcome), path)
        finally:
            session.release()

    def _serving(self, outcome: Outcome) -> _serving.Serving:
        """Return what local models on workers have in common."""
        local = self._local()
        parameters = {name: value for name, value in local.get_params().items() if name != "n_jobs"}
        if not isinstance(parameters.get("random_state"), (int, type(None))):
            parameters["random_state"] = None
        return _serving.Serving(
            type(local).__name__, parameters, outcome.model, outcome.penalties, outcome.totals.range, outcome.history
        )


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
    >>> client = Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0")
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

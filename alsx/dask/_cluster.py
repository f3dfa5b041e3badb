"""What a fit does with a cluster: tasks with names of their own, waits that end, and nothing left behind.

All work is pure tasks whose inputs lead back to the source, so that Dask itself computes again what a lost worker had. Here is
what it does not do: to give up in time, to say why in one sentence, and to release everything whatever happens.
"""

from __future__ import annotations

import secrets
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import distributed
from distributed.scheduler import KilledWorker

from alsx import _core
from alsx._version import __version__

# Between looks at how a wait is going. Only what a fit does about trouble waits for it; results are seen at once.
POLL_SECONDS = 1.0

# How long a cluster may be without a worker before a fit gives up: a nanny starts a new process within seconds, a machine of a
# cloud within some minutes.
NO_WORKER_SECONDS = 60.0

# How long the way of results to the client may take before it is looked whether their workers are still there.
FETCH_SECONDS = 600.0

# Dask gives a task up when four workers died while they had it. Workers that are killed one after the other are no fault of the
# task, so that it is tried again; one that kills its workers, for instance by its memory, does so each time.
MAX_RETRIES = 3

# The instruction sets, least first.
LEVELS = ("base", "v3", "v4")


class ClusterError(RuntimeError):
    """A fit on a cluster cannot go on: workers or their data were lost, cancelled, or do not answer."""


class WorkerFacts(NamedTuple):
    """What a worker is.

    Parameters
    ----------
    version : str
        Of its alsx.
    level : str
        The instruction set that its kernels use.
    n_threads : int
    memory : int
        Bytes that it may take; 0 for no limit.
    """

    version: str
    level: str
    n_threads: int
    memory: int


def worker_facts(dask_worker: Any) -> WorkerFacts:
    """Return what the worker is that this runs on."""
    limit = getattr(dask_worker.memory_manager, "memory_limit", None)
    return WorkerFacts(__version__, _core.simd_level(), dask_worker.state.nthreads, int(limit or 0))


def use_level(level: str) -> None:
    """Use the instruction set that all workers of a fit use: others round differently."""
    if _core.simd_level() != level and _core.set_simd_level(level) != level:
        raise ClusterError(
            f"a worker that joined has no instruction set {level!r}, which the fit has begun with: begin the fit again, or set "
            f"ALSX_SIMD={_core.simd_level()} for all workers"
        )


def threads_of_task(n_tasks: int) -> int:
    """Return how many threads a task may use, one of so many that its worker has at a time."""
    try:
        n_threads = distributed.get_worker().state.nthreads
    except ValueError:  # outside of a worker, in tests
        return 1
    return max(1, n_threads // max(1, n_tasks))


class Session:
    """The tasks of one fit, or of one call of a fitted model.

    Parameters
    ----------
    client : distributed.Client or None
        None for the current one.
    timeout : float
        Seconds without a finished task after which a wait gives up.

    Attributes
    ----------
    client : distributed.Client
    token : str
        What the names of all its tasks have in common.
    """

    def __init__(self, client: Any, timeout: float) -> None:
        self.client = _checked_client(client)
        self.timeout = timeout
        self.token = secrets.token_hex(4)
        self._count = 0
        self._futures: weakref.WeakSet[Any] = weakref.WeakSet()
        self._adopted: weakref.WeakSet[Any] = weakref.WeakSet()

    def another(self) -> Session:
        """Return a session on the same cluster, which is released by itself."""
        return Session(self.client, self.timeout)

    # Tasks

    def submit(self, name: str, function: Callable[..., Any], *arguments: Any, at: str | None = None) -> Any:
        """Submit a task, preferably to the worker `at`, and return its future."""
        self._count += 1
        where: dict[str, Any] = {} if at is None else {"workers": [at], "allow_other_workers": True}
        future = self.client.submit(
            function, *arguments, key=f"alsx-{name}-{self.token}-{self._count}", pure=False, **where
        )
        self._futures.add(future)
        return future

    def adopt(self, futures: Sequence[Any]) -> None:
        """Release these futures with the session, too; not cancelled, since somebody else may hold the same."""
        for future in futures:
            self._adopted.add(future)

    def collect(self, futures: Sequence[Any], what: str) -> list[Any]:
        """Return the results of tasks.

        Parameters
        ----------
        futures : sequence of Future
        what : str
            What they do, for messages.

        Raises
        ------
        ClusterError
            If they do not come, whatever the reason; see `wait`.
        """
        async def fetch() -> Any:
            return await self.client.gather(list(futures), asynchronous=True)

        for _ in range(MAX_RETRIES + 1):
            self.wait(futures, what)
            try:
                return list(self.client.sync(fetch, callback_timeout=min(self.timeout, FETCH_SECONDS)))
            except (KilledWorker, TimeoutError, distributed.TimeoutError, distributed.CancelledError):
                continue  # a worker was lost after the wait, which tells what is to be done
        raise ClusterError(f"{what}: the results were lost with their workers again and again: see the workers' logs")

    def wait(self, futures: Sequence[Any], what: str) -> None:
        """Wait until all tasks are done.

        Raises
        ------
        ClusterError
            If no task was done for the seconds of `timeout`, no worker is left, data are lost that cannot be made again, or
            tasks were cancelled.
        Exception
            What a task raised.
        """
        # Seconds without a finished task, and without a worker. A machine that was suspended meanwhile did not wait.
        done, idle, alone, retries, looked = -1, 0.0, 0.0, 0, time.monotonic()
        while True:
            with suppress(TimeoutError, distributed.TimeoutError, distributed.CancelledError):
                distributed.wait(futures, timeout=POLL_SECONDS)
            states = [future.status for future in futures]
            if all(state == "finished" for state in states):
                return
            # What is "lost" is being made again.
            bad = [x for x, state in zip(futures, states, strict=True) if state in ("error", "cancelled")]
            if bad:
                if retries == MAX_RETRIES or not all(self._is_killed(x) for x in bad):
                    self._fail(next((x for x in bad if not self._is_killed(x)), bad[0]), what)
                retries += 1
                with suppress(KeyError):  # of tasks in between that this client does not hold
                    self.client.retry(bad)
            now, before, done = time.monotonic(), done, self._n_finished()
            passed, looked = min(now - looked, 2 * POLL_SECONDS), now
            idle = 0.0 if done != before else idle + passed
            if idle > self.timeout:
                raise ClusterError(self._too_long(what))
            if self.client.status not in ("running", "connecting"):
                raise ClusterError(f"{what}: the client has lost its scheduler (it is {self.client.status}): connect anew")
            alone = 0.0 if self.client.nthreads() else alone + passed
            if alone > NO_WORKER_SECONDS:
                raise ClusterError(_no_worker(what))

    def _n_finished(self) -> int:
        """Return how many of all tasks that are wanted are done: those that are made again count, too."""
        return sum(future.status == "finished" for future in list(self._futures))

    def _too_long(self, what: str) -> str:
        return (
            f"{what}: no task was done for {self.timeout:g} seconds, which is timeout: look at the workers' logs, or pass a larger "
            "timeout"
        )

    @staticmethod
    def _is_killed(future: Any) -> bool:
        return future.status == "error" and isinstance(future.exception(timeout=POLL_SECONDS * 10), KilledWorker)

    def _fail(self, future: Any, what: str) -> None:
        """Raise what went wrong with a task."""
        if future.status == "error":
            error = future.exception(timeout=self.timeout)
            if isinstance(error, KilledWorker):
                raise ClusterError(
                    f"{what}: workers died again and again at the same task, for instance since their memory was full: give them "
                    "more of it, or take more workers"
                ) from None
            if isinstance(error, ModuleNotFoundError):
                raise ClusterError(_no_module(error)) from None
            if not isinstance(error, distributed.CancelledError):
                raise error
        raise ClusterError(
            f"{what}: tasks were cancelled, or what they read was lost with a worker and cannot be made again, as data that were "
            "scattered from memory: fit again, from files or a data frame that reads files"
        ) from None

    # The end

    def release(self) -> None:
        """Cancel and forget all tasks: the scheduler holds nothing of this session afterwards."""
        left, adopted = list(self._futures), list(self._adopted)
        self._futures.clear()
        self._adopted.clear()
        # Frames of a traceback hold futures, so that they have to be told. Dask drops what nobody wants, also what is waiting or
        # being worked on. A cluster that is gone holds nothing.
        for future in left + adopted:
            with suppress(Exception):
                future.release()

    @contextmanager
    def released_on_error(self) -> Iterator[None]:
        """Release everything where the block raises, Ctrl-C included."""
        try:
            yield
        except BaseException:
            self.release()
            raise

    # Workers

    def survey(self) -> dict[str, WorkerFacts]:
        """Return what each worker is, by its address.

        Raises
        ------
        ClusterError
            If there is none, or one has another version of alsx.
        """
        begun = time.monotonic()
        while not self.client.nthreads():
            if time.monotonic() - begun > NO_WORKER_SECONDS:
                raise ClusterError(_no_worker("asking the workers"))
            time.sleep(POLL_SECONDS)
        told = self.client.run(worker_facts, on_error="return")
        for error in told.values():
            if isinstance(error, ModuleNotFoundError):
                raise ClusterError(_no_module(error))
        # One that answers with another error is about to leave.
        facts = {address: one for address, one in sorted(told.items()) if isinstance(one, WorkerFacts)}
        other = next((f for f in facts.values() if f.version != __version__), None)
        if other is not None:
            raise ClusterError(
                f"a worker has alsx {other.version}, and the client {__version__}: install the same version everywhere"
            )
        return facts

    def workers(self) -> list[str]:
        """Return the addresses of the workers that there are now."""
        return sorted(self.client.nthreads())


def _no_worker(what: str) -> str:
    return f"{what}: the cluster has had no worker for {NO_WORKER_SECONDS:g} seconds: start workers, and fit again"


def _no_module(error: ModuleNotFoundError) -> str:
    return f"a worker has no module {error.name}: install the same packages on all workers, alsx[dask] among them"


def lowest_level(facts: dict[str, WorkerFacts]) -> str:
    """Return the instruction set that all workers have."""
    return min((one.level for one in facts.values()), key=LEVELS.index)


def _checked_client(client: Any) -> Any:
    """Return the client that is given, or the current one."""
    if client is None:
        try:
            client = distributed.get_client()
        except ValueError:
            raise ValueError(
                "client is None, and there is no current one; make one first, such as client = distributed.Client(address), "
                "or pass client="
            ) from None
    if not isinstance(client, distributed.Client):
        raise TypeError(f"client is of type {type(client).__name__}; it must be a distributed.Client, or None")
    if client.asynchronous:
        raise ValueError("client is asynchronous; pass one that was made without asynchronous=True")
    return client

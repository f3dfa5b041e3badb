"""How many threads a call may use. The threads themselves are those of one pool, ``_parallel/pool.h``."""

from __future__ import annotations

import functools
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral

import joblib
import threadpoolctl

from alsx import _pool

# More threads than this for each processor are no use to anybody, and thousands could exceed a limit of the system. Some more
# than processors are: others may be given to the process while it runs, and results never depend on the number.
MAX_THREADS_PER_PROCESSOR = 8


class PoolController(threadpoolctl.LibController):  # type: ignore[misc]
    """How ``threadpoolctl`` finds the pool and limits it, as it does with OpenMP's threads and with those of BLAS."""

    user_api = (
        "openmp"  # a limit that is set for OpenMP, which is what compiled loops mostly use, is meant for ours too
    )
    internal_api = "alsx"
    filename_prefixes = ("_pool",)
    check_symbols = ("alsx_get_max_threads", "alsx_set_max_threads")

    def get_num_threads(self) -> int:
        """Return the limit, or where none is set all processors."""
        return int(self.dynlib.alsx_get_max_threads()) or _processors()

    def set_num_threads(self, num_threads: int) -> None:
        """Set the limit; it holds for the whole process."""
        self.dynlib.alsx_set_max_threads(num_threads)

    def get_version(self) -> None:
        """Nothing: the pool has the version of the package."""


threadpoolctl.register(PoolController)


def resolve(n_jobs: int | None = None) -> int:
    """The number of threads a call may use, found anew at each call.

    Parameters
    ----------
    n_jobs : int or None, default=None
        A positive number is taken as it is, up to 8 for each of the machine's processors. None is ``OMP_NUM_THREADS`` where
        that is set, and else all processors this process may use: the least of the processor affinity and the cgroup quota
        of a container. A limit set with ``threadpoolctl`` holds as well. -1 is the same as None, -2 all but one, and so
        on, as in joblib.

    Returns
    -------
    n_threads : int
        At least 1.

    Raises
    ------
    ValueError
        If `n_jobs` is 0.
    TypeError
        If `n_jobs` is not an integer.

    Warns
    -----
    RuntimeWarning
        If `n_jobs` is more than 8 for each processor.
    """
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, Integral)):
        raise TypeError(f"n_jobs is {n_jobs!r}; it must be None or an integer, such as 4, or -1 for all processors")
    if n_jobs == 0:
        raise ValueError("n_jobs is 0; give a positive number of threads, or -1 or None for all processors")
    if n_jobs is not None and n_jobs > 0:
        return _capped(int(n_jobs))
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    available = _capped(int(first)) if first.isdigit() and int(first) > 0 else _processors()
    limit = _pool.max_threads()
    available = min(available, limit) if limit else available
    return max(1, available + 1 + int(n_jobs)) if n_jobs is not None else available


def _processors() -> int:
    """Return how many processors this process may use, as joblib counts them: by affinity and by cgroup quota."""
    affinity = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return _counted(joblib.cpu_count, affinity, int(time.monotonic()))


@functools.lru_cache(maxsize=1)
def _counted(count: Callable[[], int], affinity: frozenset[int] | None, second: int) -> int:
    """Count once in a second, or when the affinity changes: the files of cgroups take as long as a recommendation."""
    return count()


def _capped(wanted: int) -> int:
    """Return how many threads are started where so many are asked for."""
    if wanted <= MAX_THREADS_PER_PROCESSOR:  # counting processors takes as long as a short list
        return wanted
    processors = os.cpu_count() or 1
    most = MAX_THREADS_PER_PROCESSOR * processors
    if wanted > most:
        warnings.warn(
            f"n_jobs is {wanted}; {most} threads are used, {MAX_THREADS_PER_PROCESSOR} for each of the {processors} processors "
            "of this machine. Results do not depend on it",
            RuntimeWarning,
            stacklevel=3,
        )
    return min(wanted, most)


_blas_lock = threading.Lock()
_blas_users = 0
_blas_limit: threadpoolctl.threadpool_limits | None = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS use one thread, as the small products of a sampler need it; afterwards as many as before.

    The limit holds for the whole process, so that of several users at once the first one sets it and the last one takes it
    back: each restoring what it found would leave the limit of another for ever.
    """
    global _blas_users, _blas_limit
    with _blas_lock:
        if _blas_users == 0:
            _blas_limit = threadpoolctl.threadpool_limits(1, user_api="blas")
        _blas_users += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0 and _blas_limit is not None:
                _blas_limit.restore_original_limits()
                _blas_limit = None

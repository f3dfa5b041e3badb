"""How many threads, and the pool of Python threads that stands in where OpenMP is missing."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral

import joblib
import numpy as np
from numpy.typing import NDArray

from alsx import _core

_forked = False


def _after_fork() -> None:
    global _forked
    _forked = _core.OPENMP


# libgomp's threads do not survive a fork, and the child would wait for them for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def resolve(n_jobs: int | None = None) -> int:
    """The number of threads a call may use, asked anew at each call.

    Parameters
    ----------
    n_jobs : int or None, default=None
        A positive number is taken as it is. None is ``OMP_NUM_THREADS`` where that is set, and else all processors
        this process may use: the least of OpenMP's own maximum (which ``threadpoolctl`` can limit), the processor
        affinity and the cgroup quota of a container. -1 is the same as None, -2 all but one, and so on, as in joblib.

    Returns
    -------
    n_threads : int
        At least 1; 1 in a process forked from one that used OpenMP, where a second thread would hang.

    Raises
    ------
    ValueError
        If `n_jobs` is 0.
    TypeError
        If `n_jobs` is not an integer.
    """
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, Integral)):
        raise TypeError(f"n_jobs is {n_jobs!r}; it must be None or an integer, such as 4, or -1 for all processors")
    if n_jobs == 0:
        raise ValueError("n_jobs is 0; give a positive number of threads, or -1 or None for all processors")
    if n_jobs is not None and n_jobs > 0:
        wanted = int(n_jobs)
    else:
        available = _core.openmp_max_threads() if _core.OPENMP else joblib.cpu_count()
        if "OMP_NUM_THREADS" not in os.environ:
            available = min(available, joblib.cpu_count())
        elif not _core.OPENMP:
            first = os.environ["OMP_NUM_THREADS"].split(",")[0]
            available = int(first) if first.strip().isdigit() and int(first) > 0 else available
        wanted = max(1, available + 1 + int(n_jobs)) if n_jobs is not None else available
    if _forked and wanted > 1:
        warnings.warn(
            "this process was forked, and OpenMP's threads do not survive a fork: alsx uses one thread here. "
            "Start processes with the 'spawn' or 'forkserver' method to use more.",
            RuntimeWarning,
            stacklevel=3,
        )
        return 1
    return wanted


def run_tasks(
    call: Callable[[NDArray[np.int64], NDArray[np.generic]], int],
    starts: NDArray[np.int64],
    work: NDArray[np.generic],
) -> int:
    """Run a kernel over all tasks on ``len(work)`` threads and add up what it returns.

    Parameters
    ----------
    call : callable
        ``call(starts, work)`` runs the kernel over the tasks between neighbouring `starts`, with a thread for each
        row of `work`, and releases the interpreter lock.
    starts : ndarray of int64, shape (n_tasks + 1,)
        Where each task begins in the kernel's own order, and the end.
    work : ndarray, shape (n_threads, size)
        One slice of workspace a thread.

    Returns
    -------
    total : int
    """
    n_threads = len(work)
    if _core.OPENMP or n_threads == 1:
        return call(starts, work)
    lock, next_task, n_tasks = threading.Lock(), 0, len(starts) - 1
    step = max(1, n_tasks // (16 * n_threads))

    def worker(thread: int) -> int:
        nonlocal next_task
        total = 0
        while True:
            with lock:
                first, next_task = next_task, next_task + step
            if first >= n_tasks:
                return total
            total += call(starts[first : first + step + 1], work[thread : thread + 1])

    with ThreadPoolExecutor(n_threads) as pool:
        return sum(pool.map(worker, range(n_threads)))

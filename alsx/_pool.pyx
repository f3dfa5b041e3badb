# The pool of threads that all kernels share; see _parallel/pool.h.


cdef extern from "pool.h" nogil:
    void alsx_run(alsx_task task, void *job, Py_ssize_t n_tasks, int n_threads, void *work, size_t work_bytes)
    int alsx_helpers()
    int alsx_get_max_threads()


cdef void run(alsx_task task, void *job, Py_ssize_t n_tasks, int n_threads, void *work,
              size_t work_bytes) noexcept nogil:
    """Run the tasks of a job on the calling thread and on up to n_threads - 1 helpers."""
    alsx_run(task, job, n_tasks, n_threads, work, work_bytes)


# A helper that sleeps takes some 5 us of the caller's time to be woken and 50 us until it works, one that spins about 1
# (benchmarks/NOTES.md).
least_share = 30e3


def set_least_share(double nanoseconds):
    """Let threads take part where each has so much work, 0 for always; returns what held before. For tests."""
    global least_share
    before = least_share
    least_share = nanoseconds
    return before


def helpers():
    """How many threads the pool has, besides those that call it."""
    return alsx_helpers()


def max_threads():
    """The limit that threadpoolctl has set; 0 for none."""
    return alsx_get_max_threads()


def threads_worth(double nanoseconds, int n_threads):
    """How many of n_threads are worth their while for work that takes one so long."""
    return threads_for(nanoseconds, n_threads)

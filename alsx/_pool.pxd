"""What kernels need to share their work: the pool's run, and how work is cut."""

from cython cimport floating
from libc.stdint cimport int64_t


cdef extern from "pool.h" nogil:
    ctypedef void (*alsx_task)(void *job, Py_ssize_t task, void *work) noexcept nogil
    void alsx_add(int64_t *total, int64_t x)


cdef void run(alsx_task task, void *job, Py_ssize_t n_tasks, int n_threads, void *work,
              size_t work_bytes) noexcept nogil


# Nanoseconds of work that each thread must have, or fewer threads take part.
cdef double least_share


cdef inline int threads_for(double nanoseconds, int n_threads) noexcept nogil:
    """How many of n_threads are worth their while for work that takes one so long: what is too small is not shared."""
    if nanoseconds >= n_threads * least_share:
        return n_threads
    return max(1, <int>(nanoseconds / least_share))


cdef inline Py_ssize_t part_start(Py_ssize_t n, Py_ssize_t part, Py_ssize_t n_parts) noexcept nogil:
    """Where a part begins, when n entries are cut into contiguous parts whose sizes differ by one at most."""
    # Not n * part // n_parts, which would leave the range of 64 bits sooner.
    return n // n_parts * part + n % n_parts * part // n_parts


# Sums over the rows of a table, or over pairs, are taken in chunks of this many, whatever the number of threads, so
# that the order of the additions, and with it every bit, does not depend on it. A chunk is also a task.
cdef enum:
    CHUNK_ROWS = 2048


cdef inline Py_ssize_t chunks(Py_ssize_t n_rows) noexcept nogil:
    return (n_rows + CHUNK_ROWS - 1) // CHUNK_ROWS


# Entries of tables, in kernels that pass over them once.
cdef enum:
    ENTRIES_PER_NS = 2


# A task of a fused type is called with the workspace of its thread, in reals of that type.

cdef struct call_f32:
    void (*task)(void *, Py_ssize_t, float *) noexcept nogil
    void *job


cdef struct call_f64:
    void (*task)(void *, Py_ssize_t, double *) noexcept nogil
    void *job


cdef inline void run_f32(void *call, Py_ssize_t task, void *work) noexcept nogil:
    (<call_f32 *>call).task((<call_f32 *>call).job, task, <float *>work)


cdef inline void run_f64(void *call, Py_ssize_t task, void *work) noexcept nogil:
    (<call_f64 *>call).task((<call_f64 *>call).job, task, <double *>work)


cdef inline void share(void (*task)(void *, Py_ssize_t, floating *) noexcept nogil, void *job, Py_ssize_t n_tasks,
                       int n_threads, floating *work, Py_ssize_t work_size) noexcept nogil:
    """Run task(job, t, work of its thread) for t = 0 ... n_tasks - 1 on up to n_threads threads."""
    cdef:
        call_f32 single
        call_f64 wide
    if floating is float:
        single.task, single.job = task, job
        run(run_f32, &single, n_tasks, n_threads, work, work_size * sizeof(float))
    else:
        wide.task, wide.job = task, job
        run(run_f64, &wide, n_tasks, n_threads, work, work_size * sizeof(double))

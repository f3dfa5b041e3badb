# The compiled room: half-sweeps of row solves, predictions for pairs, top-n, sorting.
#
# Notation, the same letters everywhere: u a user, i an item, r a rating, w its weight (1), k the rank, mu the global
# mean, b_u and c_i the biases, p_u and q_i the factors. Objective, with s a row's scale:
#
#     sum w (r - mu - b_u - c_i - p_u . q_i)^2 + sum_u s_u (reg |p_u|^2 + reg_bias b_u^2) + the same over items
#
# Given the other side it falls apart into one ridge regression for each row x = [p_u ; b_u] (for items swap roles),
# with Lambda = s diag(reg, ..., reg, reg_bias), or any precision matrix, and m the prior mean of the row (0 above):
#
#     z = [q_i ; 1] (k+1,1)      t = r - mu - c_i
#     A (k+1,k+1) = sum w z z' + Lambda        h (k+1,1) = sum w t z + Lambda m        A x = h
#
# A sampler draws x from N(A^-1 h, v A^-1) instead, v the variance of the noise. Learned prior means are M = F W, with
# F (n, f) a sparse matrix of what is known of the rows; sums of table rows give F W, and F' (f, n) times a table.
#
# Factor tables are (n, ld): k factors, the bias, padding; they live in a buffer with ALSX_PAD reals to spare behind the
# last row, since kernels load whole vectors. Everything that can be wrong is decided before entering this room, and
# everything that went wrong is told in Python after leaving it.

from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, NAN
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

import os


cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define ALSX_OPENMP 1
    #else
    #define ALSX_OPENMP 0
    static int omp_get_max_threads(void) { return 1; }
    #endif
    """
    const int ALSX_OPENMP
    int omp_get_max_threads() noexcept nogil


cdef extern from "kernels.h" nogil:
    const int ALSX_PAD
    void ALSX_PREFETCH(const void *)

    ctypedef struct alsx_ops_f32:
        Py_ssize_t fused_rank
        Py_ssize_t (*fused)(int, Py_ssize_t, const int32_t *, const float *, const float *, const float *, Py_ssize_t,
                            Py_ssize_t, Py_ssize_t, double, double, Py_ssize_t, Py_ssize_t, const int32_t *, float *,
                            Py_ssize_t, float *, double *) noexcept nogil
        void (*gather)(Py_ssize_t, const int32_t *, const float *, const float *, const float *, Py_ssize_t, Py_ssize_t,
                       Py_ssize_t, double, double, Py_ssize_t, float *, float *, float *, double *) noexcept nogil
        void (*gram)(int, Py_ssize_t, const float *, Py_ssize_t, float *, Py_ssize_t, Py_ssize_t, const int32_t *,
                     const float *, Py_ssize_t) noexcept nogil
        int (*solve)(Py_ssize_t, Py_ssize_t, float *, Py_ssize_t, const float *, const double *, double, double,
                     const float *, const float *, const float *, float *, double *, float *, double *) noexcept nogil
        void (*quadratic)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, const float *, double, Py_ssize_t,
                          float *, Py_ssize_t, const float *, float *) noexcept nogil
        float (*dot)(Py_ssize_t, const float *, const float *) noexcept nogil
        void (*product)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, const float *, Py_ssize_t,
                        const float *, float *, Py_ssize_t) noexcept nogil
        void (*sum_rows)(Py_ssize_t, const int32_t *, const float *, const float *, Py_ssize_t, Py_ssize_t, double,
                         double, const float *, float *) noexcept nogil
        Py_ssize_t (*next_above)(const float *, Py_ssize_t, Py_ssize_t, float) noexcept nogil

    ctypedef struct alsx_ops_f64:
        Py_ssize_t fused_rank
        Py_ssize_t (*fused)(int, Py_ssize_t, const int32_t *, const double *, const double *, const double *,
                            Py_ssize_t, Py_ssize_t, Py_ssize_t, double, double, Py_ssize_t, Py_ssize_t,
                            const int32_t *, double *, Py_ssize_t, double *, double *) noexcept nogil
        void (*gather)(Py_ssize_t, const int32_t *, const double *, const double *, const double *, Py_ssize_t,
                       Py_ssize_t, Py_ssize_t, double, double, Py_ssize_t, double *, double *, double *,
                       double *) noexcept nogil
        void (*gram)(int, Py_ssize_t, const double *, Py_ssize_t, double *, Py_ssize_t, Py_ssize_t, const int32_t *,
                     const double *, Py_ssize_t) noexcept nogil
        int (*solve)(Py_ssize_t, Py_ssize_t, double *, Py_ssize_t, const double *, const double *, double, double,
                     const double *, const double *, const double *, double *, double *, double *,
                     double *) noexcept nogil
        void (*quadratic)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, const double *, double, Py_ssize_t,
                          double *, Py_ssize_t, const double *, double *) noexcept nogil
        double (*dot)(Py_ssize_t, const double *, const double *) noexcept nogil
        void (*product)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, const double *, Py_ssize_t,
                        const double *, double *, Py_ssize_t) noexcept nogil
        void (*sum_rows)(Py_ssize_t, const int32_t *, const double *, const double *, Py_ssize_t, Py_ssize_t, double,
                         double, const double *, double *) noexcept nogil
        Py_ssize_t (*next_above)(const double *, Py_ssize_t, Py_ssize_t, double) noexcept nogil

    ctypedef struct alsx_ops:
        alsx_ops_f32 f32
        alsx_ops_f64 f64
        double (*peak)(Py_ssize_t, float *) noexcept nogil

    int alsx_best_level() noexcept
    const alsx_ops *alsx_level_ops(int) noexcept


cdef extern from "normals.h" nogil:
    void alsx_philox(const uint32_t *, const uint32_t *, uint32_t *)
    void alsx_normals(uint64_t, uint64_t, uint32_t, double, Py_ssize_t, double *)


# ---------------------------------------------------------------------------------------------------------------------
# What this build and this machine can do

PAD = ALSX_PAD
OPENMP = bool(ALSX_OPENMP)

cdef dict LEVELS = {"base": 0, "v3": 3, "v4": 4}
cdef const alsx_ops *OPS
cdef int level_in_use


def set_simd_level(name=None):
    """Use at most the named instruction set (``"base"``, ``"v3"``, ``"v4"``); None is the best that runs here."""
    global OPS, level_in_use
    if name and name not in LEVELS:
        raise ValueError(f"ALSX_SIMD is {name!r}; it caps the instruction set and must be one of {', '.join(LEVELS)}")
    level_in_use = alsx_best_level()
    if name:
        level_in_use = min(level_in_use, <int>LEVELS[name])
    OPS = alsx_level_ops(level_in_use)
    return simd_level()


def simd_level():
    """The instruction set in use: ``"base"``, ``"v3"`` (AVX2 and FMA) or ``"v4"`` (AVX-512)."""
    return {number: name for name, number in LEVELS.items()}[level_in_use]


set_simd_level(os.environ.get("ALSX_SIMD"))


def openmp_max_threads():
    """What OpenMP would use now: OMP_NUM_THREADS, a limit set by threadpoolctl, or the processors it sees."""
    return omp_get_max_threads()


def peak_flops(Py_ssize_t repeats, int n_threads):
    """Do `repeats` rounds of fused multiply-adds on each thread; returns the floating-point operations done."""
    cdef double done = 0
    cdef int _thread
    for _thread in prange(n_threads, num_threads=n_threads, schedule="static", nogil=True):
        done += peak(repeats)
    return done


cdef inline double peak(Py_ssize_t repeats) noexcept nogil:
    cdef float sink = 0
    return OPS.peak(repeats, &sink)


# ---------------------------------------------------------------------------------------------------------------------
# Leaf kernels, by type

cdef inline Py_ssize_t fused(bint first, Py_ssize_t n, const int32_t *indices, const floating *values,
                             const floating *weights, const floating *table, Py_ssize_t ld, Py_ssize_t k,
                             Py_ssize_t kp, double offset, double scale, Py_ssize_t ready, Py_ssize_t n_next,
                             const int32_t *next_indices, floating *A, Py_ssize_t lda, floating *border,
                             double *sums) noexcept nogil:
    if floating is float:
        return OPS.f32.fused(first, n, indices, values, weights, table, ld, k, kp, offset, scale, ready, n_next,
                             next_indices, A, lda, border, sums)
    else:
        return OPS.f64.fused(first, n, indices, values, weights, table, ld, k, kp, offset, scale, ready, n_next,
                             next_indices, A, lda, border, sums)


cdef inline Py_ssize_t fused_rank(Py_ssize_t itemsize) noexcept nogil:
    return OPS.f32.fused_rank if itemsize == 4 else OPS.f64.fused_rank


cdef inline void gather(Py_ssize_t n, const int32_t *indices, const floating *values, const floating *weights,
                        const floating *table, Py_ssize_t ld, Py_ssize_t k, Py_ssize_t kp, double offset, double scale,
                        Py_ssize_t ready, floating *panel, floating *targets, floating *border,
                        double *sums) noexcept nogil:
    if floating is float:
        OPS.f32.gather(n, indices, values, weights, table, ld, k, kp, offset, scale, ready, panel, targets, border,
                       sums)
    else:
        OPS.f64.gather(n, indices, values, weights, table, ld, k, kp, offset, scale, ready, panel, targets, border,
                       sums)


cdef inline void gram(bint first, Py_ssize_t n, const floating *panel, Py_ssize_t k, floating *A, Py_ssize_t lda,
                      Py_ssize_t n_next, const int32_t *next_indices, const floating *table,
                      Py_ssize_t ld) noexcept nogil:
    if floating is float:
        OPS.f32.gram(first, n, panel, k, A, lda, n_next, next_indices, table, ld)
    else:
        OPS.f64.gram(first, n, panel, k, A, lda, n_next, next_indices, table, ld)


cdef inline int solve(Py_ssize_t k, Py_ssize_t kp, floating *A, Py_ssize_t lda, const floating *border,
                      const double *sums, double ridge, double ridge_bias, const floating *precision,
                      const floating *prior, const floating *noise, floating *scratch, double *pull, floating *x,
                      double *loss) noexcept nogil:
    if floating is float:
        return OPS.f32.solve(k, kp, A, lda, border, sums, ridge, ridge_bias, precision, prior, noise, scratch, pull, x,
                             loss)
    else:
        return OPS.f64.solve(k, kp, A, lda, border, sums, ridge, ridge_bias, precision, prior, noise, scratch, pull, x,
                             loss)


cdef inline void quadratic(Py_ssize_t k, Py_ssize_t kp, const floating *A, Py_ssize_t lda, const floating *scratch,
                           double mass, Py_ssize_t m, floating *Z, Py_ssize_t ldz, const floating *last,
                           floating *out) noexcept nogil:
    if floating is float:
        OPS.f32.quadratic(k, kp, A, lda, scratch, mass, m, Z, ldz, last, out)
    else:
        OPS.f64.quadratic(k, kp, A, lda, scratch, mass, m, Z, ldz, last, out)


cdef inline floating dot(Py_ssize_t k, const floating *p, const floating *q) noexcept nogil:
    if floating is float:
        return OPS.f32.dot(k, p, q)
    else:
        return OPS.f64.dot(k, p, q)


cdef inline void product(Py_ssize_t n, Py_ssize_t rows, Py_ssize_t cols, const floating *a, Py_ssize_t lda,
                         const floating *b, Py_ssize_t ldb, const floating *start, floating *out,
                         Py_ssize_t ldo) noexcept nogil:
    if floating is float:
        OPS.f32.product(n, rows, cols, a, lda, b, ldb, start, out, ldo)
    else:
        OPS.f64.product(n, rows, cols, a, lda, b, ldb, start, out, ldo)


cdef inline void sum_rows(Py_ssize_t n, const int32_t *indices, const floating *values, const floating *table,
                          Py_ssize_t ld, Py_ssize_t columns, double scale, double ridge, const floating *minus,
                          floating *out) noexcept nogil:
    if floating is float:
        OPS.f32.sum_rows(n, indices, values, table, ld, columns, scale, ridge, minus, out)
    else:
        OPS.f64.sum_rows(n, indices, values, table, ld, columns, scale, ridge, minus, out)


cdef inline Py_ssize_t next_above(const floating *scores, Py_ssize_t start, Py_ssize_t n,
                                  floating threshold) noexcept nogil:
    if floating is float:
        return OPS.f32.next_above(scores, start, n, threshold)
    else:
        return OPS.f64.next_above(scores, start, n, threshold)


# ---------------------------------------------------------------------------------------------------------------------
# Row solves

cdef inline Py_ssize_t padded(Py_ssize_t n) noexcept nogil:
    return (n + ALSX_PAD - 1) // ALSX_PAD * ALSX_PAD


cdef inline Py_ssize_t panel_rows(Py_ssize_t kp, Py_ssize_t itemsize) noexcept nogil:
    # 24 KiB of gathered rows stay in the first-level cache, with what is written of the matrix, while every register
    # tile passes over them.
    cdef Py_ssize_t rows = 24576 // (kp * itemsize) if kp else 256
    return max(<Py_ssize_t>32, min(<Py_ssize_t>256, rows // ALSX_PAD * ALSX_PAD))


cdef inline Py_ssize_t scratch_size(Py_ssize_t kp) noexcept nogil:
    # What `solve` needs: 6 vectors, and the inverses of the diagonal's blocks.
    return 6 * kp + kp * ALSX_PAD


def row_workspace(Py_ssize_t k, Py_ssize_t itemsize):
    """Reals of workspace that one thread needs to solve rows of rank k."""
    cdef Py_ssize_t kp = padded(k), lda = kp + ALSX_PAD, n = panel_rows(kp, itemsize)
    # What is double takes two reals of float32.
    return (n * kp + ALSX_PAD) + 2 * n + (2 * kp + ALSX_PAD) + kp * lda + scratch_size(kp) + 5 * lda


cdef int solve_row(
    Py_ssize_t n,               # IN  ratings of the row
    const int32_t *indices,     # IN  (n,)
    const floating *values,     # IN  (n,)
    const floating *weights,    # IN  (n,) or NULL: all 1
    double offset, double scale,  # IN  t = (value - offset) * scale - bias of the other side
    const floating *table,      # IN  (n_other, ld)
    Py_ssize_t ld, Py_ssize_t k,
    double ridge, double ridge_bias,
    const floating *precision,  # IN  (k+1, kp + PAD) instead of diag(ridge, ..., ridge_bias), or NULL
    const floating *prior,      # IN  (k+1,) m, or NULL: 0
    double noise,               # IN  standard deviation of the ratings' noise in a draw; 0: no draw
    uint64_t seed, uint64_t turn, Py_ssize_t row,  # IN  what a draw's random numbers depend on
    Py_ssize_t n_next,          # IN  ratings of the row that this thread solves next, to fetch what they need
    const int32_t *next_indices,  # IN  (n_next,)
    Py_ssize_t *ready,          # IN, OUT  how many of the first ratings, then of the next row's, were fetched
    floating *work,             # TMP (row_workspace,)
    floating *x,                # OUT (k+1,)
    double *loss,               # OUT (2,): weighted squared error, penalty
) noexcept nogil:
    """x := A^-1 h, or a draw around it; returns 1 where A is singular, and then x is untouched."""
    cdef:
        Py_ssize_t kp = padded(k), lda = kp + ALSX_PAD, step = panel_rows(kp, sizeof(floating)), e = 0, i, m, ahead
        floating *panel = work                          # (step, kp) and a vector to spare
        floating *targets = panel + step * kp + ALSX_PAD  # (2, step)
        floating *border = targets + 2 * step           # (2, kp) and a vector to spare
        floating *A = border + 2 * kp + ALSX_PAD        # (kp, lda)
        floating *scratch = A + kp * lda                # (scratch_size,)
        floating *normals = scratch + scratch_size(kp)  # (lda,)
        double *pull = <double *>(normals + lda)        # (2, lda)
        double sums[3]
        bint in_registers
        const int32_t *after
    sums[0] = sums[1] = sums[2] = 0
    for i in range(2 * kp):
        border[i] = 0
    in_registers = 0 < k <= fused_rank(sizeof(floating))
    if in_registers:
        # As in a panel, so that the rounding of long sums stays small.
        step = 512
    while e < n:
        m = min(step, n - e)
        # While the Gram matrix keeps the arithmetic units busy, memory brings what is gathered after it.
        ahead = n - e - m
        after = indices + e + m
        if ahead == 0:
            ahead = n_next
            after = next_indices
        if in_registers:
            ready[0] = fused(e == 0, m, indices + e, values + e, weights + e if weights != NULL else NULL, table, ld, k,
                             kp, offset, scale, min(ready[0], m), ahead, after, A, lda, border, sums)
        else:
            gather(m, indices + e, values + e, weights + e if weights != NULL else NULL, table, ld, k, kp, offset,
                   scale, min(ready[0], m), panel, targets, border, sums)
            ready[0] = min(ahead, m) if k > 0 else 0
            gram(e == 0, m, panel, k, A, lda, ready[0], after, table, ld)  # A (k,k) += panel' (k,m) panel (m,k)
        e = e + m
    if n == 0:
        for i in range(kp * lda):
            A[i] = 0
    if noise > 0:
        alsx_normals(seed, turn, <uint32_t>row, noise, k + 1, pull)
        for i in range(k + 1):
            normals[i] = <floating>pull[i]
    return solve(k, kp, A, lda, border, sums, ridge, ridge_bias, precision, prior, normals if noise > 0 else NULL,
                 scratch, pull, x, loss)


def half_sweep(
    const int64_t[::1] starts,      # IN  (n_tasks+1,): one task solves the rows order[starts[t]:starts[t+1]]
    const int32_t[::1] order,       # IN  (n_rows,) a permutation of the rows
    const int64_t[::1] indptr,      # IN  (n_rows+1,)
    const int32_t[::1] indices,     # IN  (nnz,) rows of table
    const floating[::1] values,     # IN  (nnz,)
    const floating[::1] weights,    # IN  (nnz,), or (0,): all 1
    double offset, double scale,    # IN  t = (value - offset) * scale - bias of the other side
    const floating[:, ::1] table,   # IN  (n_other, ld) the other side
    Py_ssize_t k,
    double reg, double reg_bias,
    const double[::1] scaling,      # IN  (n_rows,) s
    const floating[:, ::1] precision,  # IN  (k+1, padded(k) + PAD) Lambda of every row, whatever s; or (0, 0)
    const floating[:, ::1] prior,   # IN  (n_rows, ld) m; or (0, 0): 0
    double noise,                   # IN  the standard deviation of the noise for draws; 0 for A^-1 h itself
    uint64_t seed, uint64_t turn,   # IN  with the row's number, what a draw depends on
    floating[:, ::1] work,          # TMP (n_threads, row_workspace)
    floating[:, ::1] out,           # OUT (n_rows, ld) this side
    double[:, ::1] loss,            # OUT (n_rows, 2): weighted squared error, penalty; NaN where singular
):
    """out[x] := A_x^-1 h_x, or a draw, for every row x; returns how many were singular (they stay as they were)."""
    cdef:
        Py_ssize_t task
        int n_threads = work.shape[0]
        int failed = 0
    for task in prange(starts.shape[0] - 1, num_threads=n_threads, schedule="dynamic", chunksize=1, nogil=True):
        failed += sweep_rows(starts[task], starts[task + 1], order, indptr, indices, values, weights, offset, scale,
                             table, k, reg, reg_bias, scaling, precision, prior, noise, seed, turn,
                             &work[threadid(), 0], out, loss)
    return failed


cdef int sweep_rows(
    Py_ssize_t begin, Py_ssize_t end, const int32_t[::1] order, const int64_t[::1] indptr,
    const int32_t[::1] indices, const floating[::1] values, const floating[::1] weights, double offset, double scale,
    const floating[:, ::1] table, Py_ssize_t k, double reg, double reg_bias, const double[::1] scaling,
    const floating[:, ::1] precision, const floating[:, ::1] prior, double noise, uint64_t seed, uint64_t turn,
    floating *work, floating[:, ::1] out, double[:, ::1] loss,
) noexcept nogil:
    """Solve the rows order[begin:end]; returns how many were singular."""
    cdef:
        int failed = 0
        bint weighted = weights.shape[0] > 0, has_prior = prior.shape[0] > 0
        Py_ssize_t place, row, n, i, n_next, ready = 0
        int64_t start
        const int32_t *next_indices
        const floating *full = &precision[0, 0] if precision.shape[0] > 0 else NULL
    for place in range(begin, end):
        row = order[place]
        start = indptr[row]
        n = indptr[row + 1] - start
        if n == 0 and noise == 0:
            # The prior is all there is.
            for i in range(k + 1):
                out[row, i] = prior[row, i] if has_prior else 0
            loss[row, 0] = loss[row, 1] = 0
            continue
        # The row after the next one lies anywhere in memory; its ratings are asked for now, the table's rows later.
        if place + 2 < end:
            fetch_row(order[place + 2], indptr, indices, values, k)
        n_next = 0
        next_indices = NULL
        if place + 1 < end:
            n_next = indptr[order[place + 1] + 1] - indptr[order[place + 1]]
            if n_next > 0:
                next_indices = &indices[indptr[order[place + 1]]]
        if solve_row(n, &indices[0] + start, &values[0] + start, &weights[0] + start if weighted else NULL, offset,
                     scale, &table[0, 0], table.shape[1], k, reg * scaling[row], reg_bias * scaling[row], full,
                     &prior[row, 0] if has_prior else NULL, noise, seed, turn, row, n_next, next_indices, &ready,
                     work, &out[row, 0], &loss[row, 0]):
            loss[row, 0] = loss[row, 1] = NAN
            failed = failed + 1
    return failed


cdef inline void fetch_row(Py_ssize_t row, const int64_t[::1] indptr, const int32_t[::1] indices,
                           const floating[::1] values, Py_ssize_t k) noexcept nogil:
    """Ask memory for the ratings of the row's first panel."""
    cdef:
        int64_t p = indptr[row]
        int64_t end = min(indptr[row + 1], p + <int64_t>panel_rows(padded(k), sizeof(floating)))
    while p < end:
        ALSX_PREFETCH(&indices[p])
        ALSX_PREFETCH(&values[p])
        p = p + 64 // <int64_t>sizeof(floating)


# ---------------------------------------------------------------------------------------------------------------------
# Uncertainty: the posterior of a row is N(x, sigma^2 A^-1), so that z'x has the variance sigma^2 z' A^-1 z

cdef enum:
    PARTNERS = 64       # vectors z that one pass over a row's factor L serves


def quadratics_workspace(Py_ssize_t k, Py_ssize_t itemsize):
    """Reals of workspace that one thread needs for `quadratics` at rank k."""
    cdef Py_ssize_t kp = padded(k)
    return row_workspace(k, itemsize) + panel_rows(kp, itemsize) + (kp + ALSX_PAD) + (kp + 2) * PARTNERS


cdef int quadratics_row(
    Py_ssize_t n,               # IN  ratings of the row
    const int32_t *indices,     # IN  (n,)
    const floating *table,      # IN  (n_other, ld)
    Py_ssize_t ld, Py_ssize_t k,
    double ridge, double ridge_bias,
    const floating *precision,  # IN  (k+1, kp + PAD) instead of diag(ridge, ..., ridge_bias), or NULL
    Py_ssize_t n_partners,
    const int32_t *partners,    # IN  (n_partners,)
    const floating *z,          # IN  (., ldz) vectors
    Py_ssize_t ldz,
    bint bordered,              # IN  the last entry of every z is what its row says; else 1
    floating *work,             # TMP (quadratics_workspace,)
    double *out,                # OUT (n_partners,)
) noexcept nogil:
    """out := z' A^-1 z; returns 1 where A is singular, and then out is infinite."""
    cdef:
        Py_ssize_t kp = padded(k), lda = kp + ALSX_PAD, step = panel_rows(kp, sizeof(floating)), e = 0, i, j, m
        floating *panel = work                          # as in solve_row
        floating *targets = panel + step * kp + ALSX_PAD
        floating *border = targets + 2 * step
        floating *A = border + 2 * kp + ALSX_PAD
        floating *scratch = A + kp * lda
        double *pull = <double *>(scratch + scratch_size(kp) + lda)  # (2, lda), and a normal for each row of A before
        floating *zeros = scratch + scratch_size(kp) + 5 * lda  # (step,)
        floating *x = zeros + step                      # (k+1,)
        floating *Z = x + kp + ALSX_PAD                 # (kp, PARTNERS)
        floating *last = Z + kp * PARTNERS              # (PARTNERS,)
        floating *found = last + PARTNERS               # (PARTNERS,)
        double mass
        double[3] sums
        double[2] loss
    sums[0] = sums[1] = sums[2] = 0
    for i in range(2 * kp):
        border[i] = 0
    for i in range(step):
        zeros[i] = 0
    while e < n:
        m = min(step, n - e)
        # A does not depend on the ratings, so that any will do.
        gather(m, indices + e, zeros, <const floating *>NULL, table, ld, k, kp, 0.0, 0.0, 0, panel, targets, border,
               sums)
        gram(e == 0, m, panel, k, A, lda, 0, NULL, table, ld)  # A (k,k) += panel' (k,m) panel (m,k)
        e = e + m
    if n == 0:
        for i in range(kp * lda):
            A[i] = 0
    if solve(k, kp, A, lda, border, sums, ridge, ridge_bias, precision, <const floating *>NULL, <const floating *>NULL,
             scratch, pull, x, loss):
        for j in range(n_partners):
            out[j] = INFINITY
        return 1
    mass = sums[0] + (precision[k * lda + k] if precision != NULL else ridge_bias)
    e = 0
    while e < n_partners:
        m = min(<Py_ssize_t>PARTNERS, n_partners - e)
        for i in range(kp * PARTNERS):
            Z[i] = 0
        for j in range(PARTNERS):
            last[j] = 0
        for j in range(m):
            for i in range(k):
                Z[i * PARTNERS + j] = z[partners[e + j] * ldz + i]
            last[j] = z[partners[e + j] * ldz + k] if bordered else 1
        quadratic(k, kp, A, lda, scratch, mass, padded(m), Z, PARTNERS, last, found)
        for j in range(m):
            out[e + j] = found[j]
        e = e + m
    return 0


def quadratics(
    const int64_t[::1] starts,      # IN  (n_tasks+1,): one task does the requests order[starts[t]:starts[t+1]]
    const int32_t[::1] order,       # IN  (m,) a permutation of the requests
    const int32_t[::1] rows,        # IN  (m,) which row each request asks for; negative: one without ratings
    const int64_t[::1] indptr,      # IN  (n_rows+1,)
    const int32_t[::1] indices,     # IN  (nnz,) rows of table
    const floating[:, ::1] table,   # IN  (n_other, ld) the other side
    Py_ssize_t k,
    double reg, double reg_bias,
    const double[::1] scaling,      # IN  (m,) s of the rows asked for
    const floating[:, ::1] precision,  # IN  (k+1, padded(k) + PAD) Lambda of every row, whatever s; or (0, 0)
    const int64_t[::1] partner_indptr,  # IN  (m+1,)
    const int32_t[::1] partners,    # IN  (n,) rows of z
    const floating[:, ::1] z,       # IN  (n_z, ldz)
    bint bordered,                  # IN  the last entry of every z, z[:, k], is taken as it is; else it is 1
    floating[:, ::1] work,          # TMP (n_threads, quadratics_workspace)
    double[::1] out,                # OUT (n,)
):
    """out[e] := z_e' A^-1 z_e for the partners e of every row; returns how many A were singular (there infinite)."""
    cdef:
        Py_ssize_t task
        int n_threads = work.shape[0]
        int failed = 0
    for task in prange(starts.shape[0] - 1, num_threads=n_threads, schedule="dynamic", chunksize=1, nogil=True):
        failed += quadratics_rows(starts[task], starts[task + 1], order, rows, indptr, indices, table, k, reg, reg_bias,
                                  scaling, precision, partner_indptr, partners, z, bordered, &work[threadid(), 0], out)
    return failed


cdef int quadratics_rows(
    Py_ssize_t begin, Py_ssize_t end, const int32_t[::1] order, const int32_t[::1] rows, const int64_t[::1] indptr,
    const int32_t[::1] indices, const floating[:, ::1] table, Py_ssize_t k, double reg, double reg_bias,
    const double[::1] scaling, const floating[:, ::1] precision, const int64_t[::1] partner_indptr,
    const int32_t[::1] partners, const floating[:, ::1] z, bint bordered, floating *work, double[::1] out,
) noexcept nogil:
    """The requests order[begin:end]; returns how many were singular."""
    cdef:
        int failed = 0
        Py_ssize_t place, x, row, n
        int64_t start, first
        const floating *full = &precision[0, 0] if precision.shape[0] > 0 else NULL
    for place in range(begin, end):
        x = order[place]
        row = rows[x]
        first = partner_indptr[x]
        start = indptr[row] if row >= 0 else 0
        n = indptr[row + 1] - start if row >= 0 else 0
        if partner_indptr[x + 1] > first:
            failed += quadratics_row(n, &indices[0] + start, &table[0, 0], table.shape[1], k, reg * scaling[x],
                                     reg_bias * scaling[x], full, partner_indptr[x + 1] - first, &partners[first],
                                     &z[0, 0], z.shape[1], bordered, work, &out[first])
    return failed


# ---------------------------------------------------------------------------------------------------------------------
# Learned prior means: products of a sparse matrix with a table, and what conjugate gradients need of whole tables

def sparse_product(
    const int64_t[::1] starts,      # IN  (n_tasks+1,): one task does the rows order[starts[t]:starts[t+1]]
    const int32_t[::1] order,       # IN  (n_rows,) a permutation of the rows
    const int64_t[::1] indptr,      # IN  (n_rows+1,)
    const int32_t[::1] indices,     # IN  (nnz,) rows of table
    const floating[::1] values,     # IN  (nnz,), or (0,): all 1
    const floating[:, ::1] table,   # IN  (n_other, ld)
    Py_ssize_t columns,             # IN  how many columns of every table take part
    const double[::1] scaling,      # IN  (n_rows,)
    double ridge,
    const floating[:, ::1] minus,   # IN  (n_rows, ld), or (0, 0): 0
    int n_threads,
    floating[:, ::1] out,           # OUT (n_rows, ld)
):
    """out[x] := scaling[x] * (sum_e values[e] table[indices[e]] - ridge minus[x]) for every row x."""
    cdef:
        Py_ssize_t task
        const floating *factors = &values[0] if values.shape[0] > 0 else NULL
    if indices.shape[0] == 0 or table.shape[0] == 0:
        factors = NULL
    for task in prange(starts.shape[0] - 1, num_threads=n_threads, schedule="dynamic", chunksize=1, nogil=True):
        product_rows(starts[task], starts[task + 1], order, indptr, indices, factors, table, columns, scaling, ridge,
                     minus, out)


cdef void product_rows(
    Py_ssize_t begin, Py_ssize_t end, const int32_t[::1] order, const int64_t[::1] indptr,
    const int32_t[::1] indices, const floating *values, const floating[:, ::1] table, Py_ssize_t columns,
    const double[::1] scaling, double ridge, const floating[:, ::1] minus, floating[:, ::1] out,
) noexcept nogil:
    cdef:
        Py_ssize_t place, row
        int64_t start
    for place in range(begin, end):
        row = order[place]
        start = indptr[row]
        sum_rows(indptr[row + 1] - start, &indices[0] + start, values + start if values != NULL else NULL,
                 &table[0, 0], table.shape[1], columns, scaling[row], ridge,
                 &minus[row, 0] if minus.shape[0] > 0 else NULL, &out[row, 0])


# Sums over the rows of a table, or over pairs, are taken in parts of this many, whatever the number of threads.
cdef enum:
    PART = 2048


def n_parts(Py_ssize_t n_rows):
    """In how many parts the rows of a table, or pairs, are summed."""
    return (n_rows + PART - 1) // PART


def column_products(
    const floating[:, ::1] x,       # IN  (n_rows, ld)
    const floating[:, ::1] y,       # IN  (n_rows, ld)
    const double[::1] scaling,      # IN  (n_rows,)
    Py_ssize_t columns,
    int n_threads,
    double[:, ::1] out,             # OUT (n_parts(n_rows), columns)
):
    """out[p, c] := sum of scaling[r] x[r, c] y[r, c] over the rows r of part p."""
    cdef Py_ssize_t part
    for part in prange(out.shape[0], num_threads=n_threads, schedule="static", nogil=True):
        part_products(x, y, scaling, columns, part, out)


cdef void part_products(
    const floating[:, ::1] x, const floating[:, ::1] y, const double[::1] scaling, Py_ssize_t columns, Py_ssize_t part,
    double[:, ::1] out,
) noexcept nogil:
    cdef:
        Py_ssize_t r, c
        double s
        const floating *a
        const floating *b
        double *sums = &out[part, 0]
    for c in range(columns):
        sums[c] = 0
    for r in range(part * PART, min(x.shape[0], (part + 1) * PART)):
        a = &x[r, 0]
        b = &y[r, 0]
        s = scaling[r]
        for c in range(columns):
            sums[c] += s * a[c] * b[c]


def scaled_difference(
    const floating[:, ::1] x,       # IN  (n_rows, ld)
    const floating[:, ::1] y,       # IN  (n_rows, ld)
    const double[::1] scaling,      # IN  (n_rows,)
    Py_ssize_t columns,
    int n_threads,
    floating[:, ::1] out,           # OUT (n_rows, ld)
):
    """out[r, c] := scaling[r] (x[r, c] - y[r, c])"""
    cdef Py_ssize_t row
    for row in prange(x.shape[0], num_threads=n_threads, schedule="static", nogil=True):
        row_difference(&x[row, 0], &y[row, 0], scaling[row], columns, &out[row, 0])


cdef inline void row_difference(const floating *x, const floating *y, double scaling, Py_ssize_t columns,
                                floating *out) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(columns):
        out[c] = <floating>(scaling * (x[c] - y[c]))


def advance(
    const double[::1] a,            # IN  (columns,)
    const floating[:, ::1] x,       # IN  (n_rows, ld)
    const double[::1] b,            # IN  (columns,)
    int n_threads,
    floating[:, ::1] y,             # IN, OUT (n_rows, ld)
    floating[:, ::1] total,         # IN, OUT (n_rows, ld)
):
    """y := x diag(a) + y diag(b), and total += y."""
    cdef Py_ssize_t row
    for row in prange(x.shape[0], num_threads=n_threads, schedule="static", nogil=True):
        row_advance(&a[0], &x[row, 0], &b[0], a.shape[0], &y[row, 0], &total[row, 0])


cdef inline void row_advance(const double *a, const floating *x, const double *b, Py_ssize_t columns, floating *y,
                             floating *total) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(columns):
        y[c] = <floating>(a[c] * x[c] + b[c] * y[c])
        total[c] += y[c]


def philox(const uint32_t[::1] counter, const uint32_t[::1] key, uint32_t[::1] out):
    """out (4,) := the random words of counter (4,) and key (2,)."""
    alsx_philox(&counter[0], &key[0], &out[0])


def normals(uint64_t seed, uint64_t turn, double[:, ::1] out):
    """out[row] := the first normals of the stream (seed, turn, row)."""
    cdef Py_ssize_t row
    for row in range(out.shape[0]):
        alsx_normals(seed, turn, <uint32_t>row, 1.0, out.shape[1], &out[row, 0])


# ---------------------------------------------------------------------------------------------------------------------
# Predictions

def predict_pairs(
    const int32_t[::1] users,       # IN  (n,), negative: unknown
    const int32_t[::1] items,       # IN  (n,), negative: unknown
    const floating[:, ::1] user_table,  # IN  (n_users, ld)
    const floating[:, ::1] item_table,  # IN  (n_items, ld)
    Py_ssize_t k,
    double mean,
    int n_threads,
    double[::1] out,                # OUT (n,)
):
    """out := mu + b_u + c_i + p_u . q_i, without what is unknown."""
    cdef Py_ssize_t e, n = users.shape[0]
    for e in prange(n, num_threads=n_threads, schedule="static", nogil=True):
        if e + AHEAD < n:
            fetch_vector(user_table, users[e + AHEAD], k)
            fetch_vector(item_table, items[e + AHEAD], k)
        out[e] = predict_pair(users[e], items[e], user_table, item_table, k, mean)


def squared_errors(
    const int32_t[::1] users,       # IN  (n,), negative: unknown
    const int32_t[::1] items,       # IN  (n,), negative: unknown
    const double[::1] values,       # IN  (n,)
    const double[::1] weights,      # IN  (n,), or (0,): all 1
    const floating[:, ::1] user_table,  # IN  (n_users, ld)
    const floating[:, ::1] item_table,  # IN  (n_items, ld)
    Py_ssize_t k,
    double mean, double unit,
    double low, double high,
    int n_threads,
    double[::1] out,                # OUT (n_parts(n),)
):
    """out[p] := sum of w ((value - prediction) / unit)^2 over the pairs of part p known on both sides, with the
    prediction mean + unit (b_u + c_i + p_u . q_i), no lower than `low` and no higher than `high`."""
    cdef Py_ssize_t part
    for part in prange(out.shape[0], num_threads=n_threads, schedule="static", nogil=True):
        out[part] = part_errors(users, items, values, weights, user_table, item_table, k, mean, unit, low, high, part)


cdef double part_errors(
    const int32_t[::1] users, const int32_t[::1] items, const double[::1] values, const double[::1] weights,
    const floating[:, ::1] user_table, const floating[:, ::1] item_table, Py_ssize_t k, double mean, double unit,
    double low, double high, Py_ssize_t part,
) noexcept nogil:
    cdef:
        Py_ssize_t e, n = users.shape[0]
        double x, total = 0
        bint weighted = weights.shape[0] > 0
    for e in range(part * PART, min(n, (part + 1) * PART)):
        if e + AHEAD < n:
            fetch_vector(user_table, users[e + AHEAD], k)
            fetch_vector(item_table, items[e + AHEAD], k)
        if users[e] < 0 or items[e] < 0:
            continue
        x = mean + unit * predict_pair(users[e], items[e], user_table, item_table, k, 0)
        if x < low:
            x = low
        elif x > high:
            x = high
        x = (values[e] - x) / unit
        total += (weights[e] if weighted else 1) * x * x
    return total


cdef enum:
    AHEAD = 8           # pairs from asking memory for the vectors to using them


cdef inline void fetch_vector(const floating[:, ::1] table, Py_ssize_t row, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t j = 0
    if row >= 0:
        while j <= k:
            ALSX_PREFETCH(&table[row, j])
            j = j + 64 // <Py_ssize_t>sizeof(floating)


cdef inline double predict_pair(Py_ssize_t u, Py_ssize_t i, const floating[:, ::1] user_table,
                                const floating[:, ::1] item_table, Py_ssize_t k, double mean) noexcept nogil:
    cdef double x = mean
    if u >= 0:
        x += user_table[u, k]
    if i >= 0:
        x += item_table[i, k]
    if u >= 0 and i >= 0:
        x += dot(k, &user_table[u, 0], &item_table[i, 0])
    return x


# ---------------------------------------------------------------------------------------------------------------------
# Top-n: users in groups, items in packed blocks, scores only ever in a small buffer

# A packed row of BLOCK items is whole vectors and an odd number of cache lines: else the few columns that a register
# tile reads, one piece of every row, would all fall on the same cache sets.
cdef enum:
    GROUP = 128         # users that share one pass over the packed items
    STRIP = 16          # of these at a time, a whole number of register tiles
    BLOCK = 400         # items of one packed block


def pack_items(
    const floating[:, ::1] table,   # IN  (n_items, ld)
    Py_ssize_t k,
    floating[:, :, ::1] packed,     # OUT (n_blocks, k, BLOCK), zero at the call
    int n_threads,
):
    """packed[b, j, i] := table[b * BLOCK + i, j], so that a vector holds one factor of neighbouring items."""
    cdef Py_ssize_t n_items = table.shape[0], b, i, j
    for b in prange(packed.shape[0], num_threads=n_threads, schedule="static", nogil=True):
        for i in range(b * BLOCK, min(n_items, (b + 1) * BLOCK)):
            for j in range(k):
                packed[b, j, i - b * BLOCK] = table[i, j]


def top_n_block():
    """Items of one packed block."""
    return BLOCK


def top_n_workspace(Py_ssize_t k):
    """Reals of workspace that one thread needs for `top_n`."""
    return padded(GROUP * k) + STRIP * BLOCK


cdef inline bint worse(floating score, int32_t item, floating than_score, int32_t than_item) noexcept nogil:
    return score < than_score or (score == than_score and item > than_item)


cdef inline void sift_down(floating *scores, int32_t *items, Py_ssize_t n, Py_ssize_t place) noexcept nogil:
    """Restore the heap whose root is the worst, from `place` down."""
    cdef:
        Py_ssize_t child
        floating score = scores[place]
        int32_t item = items[place]
    while True:
        child = 2 * place + 1
        if child >= n:
            break
        if child + 1 < n and worse(scores[child + 1], items[child + 1], scores[child], items[child]):
            child = child + 1
        if not worse(scores[child], items[child], score, item):
            break
        scores[place] = scores[child]
        items[place] = items[child]
        place = child
    scores[place] = score
    items[place] = item


cdef void top_n_group(
    const int32_t *users, Py_ssize_t m, const floating[:, ::1] table, const floating[:, :, ::1] packed,
    const floating[::1] bias, const int64_t[::1] seen_indptr, const int32_t[::1] seen_indices, bint exclude,
    Py_ssize_t begin, Py_ssize_t stop, floating *work, int32_t[:, ::1] top_items, floating[:, ::1] top_scores,
    Py_ssize_t first,
) noexcept nogil:
    """The best of the blocks from `begin` to `stop` for m users, into the rows from `first` on."""
    cdef:
        Py_ssize_t k = packed.shape[1], n = top_items.shape[1], block, strip, rows, r, i, j, item
        floating *panel = work                          # (strips, k, STRIP)
        floating *scores = work + padded(GROUP * k)     # (STRIP, BLOCK)
        floating *row
        floating *heap_scores
        int32_t *heap_items
        int64_t place, end
        int64_t[GROUP] seen
    for r in range(padded(GROUP * k)):
        panel[r] = 0
    for r in range(m):
        for j in range(k):
            panel[(r // STRIP) * STRIP * k + j * STRIP + r % STRIP] = table[users[r], j]
        seen[r] = first_seen(seen_indptr, seen_indices, users[r], begin * BLOCK) if exclude else 0
        for i in range(n):
            top_scores[first + r, i] = -INFINITY
            top_items[first + r, i] = -1
    for block in range(begin, stop):
        for j in range((m + STRIP - 1) // STRIP):
            strip = j * STRIP
            rows = min(<Py_ssize_t>STRIP, m - strip)
            # scores (STRIP,BLOCK) = bias (1,BLOCK) + panel' (STRIP,k) packed (k,BLOCK)
            product(k, 1 if rows == 1 else STRIP, BLOCK, panel + strip * k, STRIP,
                    &packed[block, 0, 0] if k > 0 else NULL, BLOCK, &bias[block * BLOCK], scores, BLOCK)
            for r in range(rows):
                row = scores + r * BLOCK
                if exclude:
                    end = seen_indptr[users[strip + r] + 1]
                    place = seen[strip + r]
                    while place < end and seen_indices[place] < (block + 1) * BLOCK:
                        row[seen_indices[place] - block * BLOCK] = -INFINITY
                        place = place + 1
                    seen[strip + r] = place
                heap_scores = &top_scores[first + strip + r, 0]
                heap_items = &top_items[first + strip + r, 0]
                # Items come in ascending order and only a higher score enters, so ties go to the earlier item.
                i = next_above(row, 0, BLOCK, heap_scores[0])
                while i < BLOCK:
                    item = block * BLOCK + i
                    heap_scores[0] = row[i]
                    heap_items[0] = <int32_t>item
                    sift_down(heap_scores, heap_items, n, 0)
                    i = next_above(row, i + 1, BLOCK, heap_scores[0])
    for r in range(m):
        heap_scores = &top_scores[first + r, 0]
        heap_items = &top_items[first + r, 0]
        for i in range(n - 1, 0, -1):
            heap_scores[0], heap_scores[i] = heap_scores[i], heap_scores[0]
            heap_items[0], heap_items[i] = heap_items[i], heap_items[0]
            sift_down(heap_scores, heap_items, i, 0)


cdef inline int64_t first_seen(const int64_t[::1] indptr, const int32_t[::1] indices, Py_ssize_t user,
                               Py_ssize_t item) noexcept nogil:
    """The place of the user's first item that is not below `item`."""
    cdef int64_t low = indptr[user], high = indptr[user + 1], middle
    while low < high:
        middle = low + (high - low) // 2
        if indices[middle] < item:
            low = middle + 1
        else:
            high = middle
    return low


def top_n(
    const int32_t[::1] users,       # IN  (m,) rows of table
    const floating[:, ::1] table,   # IN  (n_users, ld)
    const floating[:, :, ::1] packed,  # IN  (n_blocks, k, BLOCK) by pack_items
    const floating[::1] bias,       # IN  (n_blocks * BLOCK,), -inf where an item must not appear
    const int64_t[::1] seen_indptr,    # IN  (n_users+1,) items to leave out, ascending in a row; (0,) for none
    const int32_t[::1] seen_indices,   # IN  (n_seen,)
    Py_ssize_t n_slices,            # IN  the items are cut into this many slices, for many threads and few users
    floating[:, ::1] work,          # TMP (n_threads, top_n_workspace)
    int32_t[:, ::1] top_items,      # OUT (n_slices * m, n) best first, ties by item; -1 where nothing is left
    floating[:, ::1] top_scores,    # OUT (n_slices * m, n) bias_i + p_u . q_i; -inf where nothing is left
):
    """top_items[slice * m + u] := the n items of the slice with the highest bias_i + p_u . q_i"""
    cdef:
        Py_ssize_t m = users.shape[0], n_blocks = packed.shape[0], size = GROUP, n_groups, task, group, part
        int n_threads = work.shape[0]
        bint exclude = seen_indptr.shape[0] > 0
    # Few users: smaller groups, so that every thread has some.
    if m < GROUP * n_threads:
        size = min(size, max(<Py_ssize_t>1, (m + n_threads - 1) // n_threads))
    n_groups = (m + size - 1) // size
    for task in prange(n_groups * n_slices, num_threads=n_threads, schedule="dynamic", chunksize=1, nogil=True):
        group = task % n_groups
        part = task // n_groups
        top_n_group(&users[group * size], min(size, m - group * size), table, packed, bias, seen_indptr, seen_indices,
                    exclude, part_start(n_blocks, part, n_slices), part_start(n_blocks, part + 1, n_slices),
                    &work[threadid(), 0], top_items, top_scores, part * m + group * size)


# ---------------------------------------------------------------------------------------------------------------------
# Sorting: from triples to rows, by stable counting sorts
#
# A part is a contiguous stretch of the entries, and one thread's. Parts count their keys, the door turns counts into
# places (part t writes key x from places[t, x] on, after all smaller keys and after x in the parts before t), and parts
# move their entries there. Every entry has one place, so that the result is the same for any number of parts.
# The code of entry p is table[raw[p] - low].

ctypedef fused raw_t:
    int32_t
    int64_t

ctypedef fused payload_t:
    int32_t
    int64_t
    float
    double


cdef inline Py_ssize_t part_start(Py_ssize_t n, Py_ssize_t part, Py_ssize_t n_parts) noexcept nogil:
    return n // n_parts * part + n % n_parts * part // n_parts


def mark_ids(
    const raw_t[::1] raw,           # IN  (n,)
    int64_t low,                    # IN  the least of them
    unsigned char[:, ::1] seen,     # OUT (n_parts, span), zero at the call
):
    """seen[t, raw[p] - low] := 1 for the entries p of part t."""
    cdef Py_ssize_t part, n_parts = seen.shape[0]
    for part in prange(n_parts, num_threads=n_parts, schedule="static", chunksize=1, nogil=True):
        mark_part(raw, low, seen, part)


cdef inline void mark_part(
    const raw_t[::1] raw, int64_t low, unsigned char[:, ::1] seen, Py_ssize_t part,
) noexcept nogil:
    cdef Py_ssize_t p
    for p in range(part_start(raw.shape[0], part, seen.shape[0]), part_start(raw.shape[0], part + 1, seen.shape[0])):
        seen[part, raw[p] - low] = 1


def sorted_state(
    const raw_t[::1] user_raw,      # IN  (n,)
    int64_t user_low,
    const int32_t[::1] user_table,  # IN  (user_span,)
    const raw_t[::1] item_raw,      # IN  (n,)
    int64_t item_low,
    const int32_t[::1] item_table,  # IN  (item_span,)
):
    """2 where entries ascend by user and within a user by item, 1 where by user alone, 0 where not."""
    cdef:
        Py_ssize_t p
        int state = 2
        int32_t user, item, last_user = -1, last_item = -1
    with nogil:
        for p in range(user_raw.shape[0]):
            user = user_table[user_raw[p] - user_low]
            if user < last_user:
                state = 0
                break
            if state == 2:
                item = item_table[item_raw[p] - item_low]
                if user == last_user and item < last_item:
                    state = 1
                last_item = item
            last_user = user
    return state


def count_ids(
    const raw_t[::1] raw,           # IN  (n,)
    int64_t low,
    const int32_t[::1] table,       # IN  (span,)
    int64_t[:, ::1] counts,         # OUT (n_parts, n_codes), zero at the call
):
    """counts[t, x] := how many entries of part t have the code x."""
    cdef Py_ssize_t part, n_parts = counts.shape[0]
    for part in prange(n_parts, num_threads=n_parts, schedule="static", chunksize=1, nogil=True):
        count_part(raw, low, table, counts, part)


cdef inline void count_part(
    const raw_t[::1] raw, int64_t low, const int32_t[::1] table, int64_t[:, ::1] counts, Py_ssize_t part,
) noexcept nogil:
    cdef Py_ssize_t p, n = raw.shape[0], n_parts = counts.shape[0]
    for p in range(part_start(n, part, n_parts), part_start(n, part + 1, n_parts)):
        counts[part, table[raw[p] - low]] += 1


def move_ids(
    const raw_t[::1] key_raw,       # IN  (n,) the ids to sort by
    int64_t key_low,
    const int32_t[::1] key_table,   # IN  (key_span,)
    const raw_t[::1] other_raw,     # IN  (n,) the ids of the other side
    int64_t other_low,
    const int32_t[::1] other_table,  # IN  (other_span,)
    const payload_t[::1] payload,   # IN  (n,) what travels along
    int64_t[:, ::1] places,         # IN, TMP (n_parts, n_codes) where each part writes each key
    int32_t[::1] indices,           # OUT (n,) codes of the other side
    payload_t[::1] moved,           # OUT (n,)
):
    """Stable counting sort of entries by key."""
    cdef Py_ssize_t part, n_parts = places.shape[0]
    for part in prange(n_parts, num_threads=n_parts, schedule="static", chunksize=1, nogil=True):
        move_ids_part(key_raw, key_low, key_table, other_raw, other_low, other_table, payload, places, indices, moved,
                      part)


cdef inline void move_ids_part(
    const raw_t[::1] key_raw, int64_t key_low, const int32_t[::1] key_table, const raw_t[::1] other_raw,
    int64_t other_low, const int32_t[::1] other_table, const payload_t[::1] payload, int64_t[:, ::1] places,
    int32_t[::1] indices, payload_t[::1] moved, Py_ssize_t part,
) noexcept nogil:
    cdef:
        Py_ssize_t p, n = key_raw.shape[0], n_parts = places.shape[0]
        int64_t place
        int32_t key
    for p in range(part_start(n, part, n_parts), part_start(n, part + 1, n_parts)):
        key = key_table[key_raw[p] - key_low]
        place = places[part, key]
        places[part, key] = place + 1
        indices[place] = other_table[other_raw[p] - other_low]
        moved[place] = payload[p]


def count_codes(
    const int32_t[::1] codes,       # IN  (n,)
    int64_t[:, ::1] counts,         # OUT (n_parts, n_codes), zero at the call
):
    """counts[t, x] := how many entries of part t are x."""
    cdef Py_ssize_t part, n_parts = counts.shape[0]
    for part in prange(n_parts, num_threads=n_parts, schedule="static", chunksize=1, nogil=True):
        count_codes_part(codes, counts, part)


cdef inline void count_codes_part(const int32_t[::1] codes, int64_t[:, ::1] counts, Py_ssize_t part) noexcept nogil:
    cdef Py_ssize_t p, n = codes.shape[0], n_parts = counts.shape[0]
    for p in range(part_start(n, part, n_parts), part_start(n, part + 1, n_parts)):
        counts[part, codes[p]] += 1


def transpose_rows(
    const int64_t[::1] indptr,      # IN  (n_rows+1,)
    const int32_t[::1] indices,     # IN  (n,)
    const payload_t[::1] payload,   # IN  (n,)
    int64_t[:, ::1] places,         # IN, TMP (n_parts, n_columns) where each part writes each column
    int32_t[::1] rows,              # OUT (n,) by column, ascending within a column
    payload_t[::1] moved,           # OUT (n,)
):
    """Rows to columns: a stable counting sort of the entries by index."""
    cdef Py_ssize_t part, n_parts = places.shape[0]
    for part in prange(n_parts, num_threads=n_parts, schedule="static", chunksize=1, nogil=True):
        transpose_part(indptr, indices, payload, places, rows, moved, part)


cdef inline void transpose_part(
    const int64_t[::1] indptr, const int32_t[::1] indices, const payload_t[::1] payload, int64_t[:, ::1] places,
    int32_t[::1] rows, payload_t[::1] moved, Py_ssize_t part,
) noexcept nogil:
    cdef:
        Py_ssize_t n = indices.shape[0], n_parts = places.shape[0]
        Py_ssize_t p, stop, row = 0, above = indptr.shape[0] - 1, middle
        int64_t place
        int32_t index
    p = part_start(n, part, n_parts)
    stop = part_start(n, part + 1, n_parts)
    # The row that holds entry p: the last one that begins at or before p.
    while above - row > 1:
        middle = row + (above - row) // 2
        if indptr[middle] <= p:
            row = middle
        else:
            above = middle
    while p < stop:
        while indptr[row + 1] <= p:
            row = row + 1
        while p < stop and p < indptr[row + 1]:
            index = indices[p]
            place = places[part, index]
            places[part, index] = place + 1
            rows[place] = <int32_t>row
            moved[place] = payload[p]
            p = p + 1


def count_descents(
    const int64_t[::1] indptr,      # IN  (n_rows+1,)
    const int32_t[::1] indices,     # IN  (n,)
    int n_threads,
):
    """How many entries have an index that is not above that of the entry before them in the same row.

    None: every row is sorted and without repeats. Where rows are sorted, this counts repeats.
    """
    cdef:
        Py_ssize_t row
        int64_t descents = 0
    for row in prange(indptr.shape[0] - 1, num_threads=n_threads, schedule="static", nogil=True):
        descents += row_descents(indptr, indices, row)
    return descents


cdef inline int64_t row_descents(const int64_t[::1] indptr, const int32_t[::1] indices, Py_ssize_t row) noexcept nogil:
    cdef:
        int64_t p, descents = 0
    for p in range(indptr[row] + 1, indptr[row + 1]):
        descents += indices[p] <= indices[p - 1]
    return descents

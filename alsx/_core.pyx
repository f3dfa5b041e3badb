# The compiled module of the models. In this order: what this build and this machine can do; kernels by type; row
# systems (half-sweeps and quadratic forms); learned prior means; normal random numbers; predictions for pairs; top-n.
# The sorting of ids and rows is a module of its own, _sort.pyx.
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
# F (n, f) a sparse matrix of features of the rows; sums of table rows give F W, and F' (f, n) times a table.
#
# Factor tables are (n, ld): k factors, the bias, padding; they live in a buffer with ALSX_PAD reals to spare behind the
# last row, since kernels load whole vectors. A kernel checks nothing: what can be wrong is checked in Python before it
# is called, and what went wrong is reported in Python after it returned.

from cython cimport floating
from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

import os

from alsx._parts cimport part_start


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

    ctypedef struct alsx_rows:
        const int64_t *indptr
        const int32_t *indices
        const void *values
        const void *weights
        double offset, scale
        const void *table
        Py_ssize_t ld, k
        double reg, reg_bias
        const double *row_scale
        double empty_scale
        const void *precision
        const void *means
        Py_ssize_t means_ld
        double noise
        uint64_t seed, draw_index

    ctypedef struct alsx_requests:
        const int32_t *rows
        const int64_t *partner_indptr
        const int32_t *partners
        const void *z
        Py_ssize_t ldz
        int bordered

    ctypedef struct alsx_ops_f32:
        Py_ssize_t (*workspace)(Py_ssize_t, int) noexcept nogil
        int (*solve_rows)(const alsx_rows *, const int32_t *, Py_ssize_t, float *, float *, Py_ssize_t,
                          double *) noexcept nogil
        int (*quadratic_forms)(const alsx_rows *, const alsx_requests *, const int32_t *, Py_ssize_t, float *,
                               double *) noexcept nogil
        float (*dot)(Py_ssize_t, const float *, const float *) noexcept nogil
        void (*product)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, const float *, Py_ssize_t,
                        const float *, float *, Py_ssize_t) noexcept nogil
        void (*sum_rows)(Py_ssize_t, const int32_t *, const float *, const float *, Py_ssize_t, Py_ssize_t, double,
                         double, const float *, float *) noexcept nogil
        Py_ssize_t (*next_above)(const float *, Py_ssize_t, Py_ssize_t, float) noexcept nogil

    ctypedef struct alsx_ops_f64:
        Py_ssize_t (*workspace)(Py_ssize_t, int) noexcept nogil
        int (*solve_rows)(const alsx_rows *, const int32_t *, Py_ssize_t, double *, double *, Py_ssize_t,
                          double *) noexcept nogil
        int (*quadratic_forms)(const alsx_rows *, const alsx_requests *, const int32_t *, Py_ssize_t, double *,
                               double *) noexcept nogil
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
# Kernels, by type

cdef inline Py_ssize_t workspace_size(Py_ssize_t k, bint forms, Py_ssize_t itemsize) noexcept nogil:
    return OPS.f32.workspace(k, forms) if itemsize == 4 else OPS.f64.workspace(k, forms)


cdef inline int solve_task(const alsx_rows *rows, const int32_t *order, Py_ssize_t n, floating *work, floating *out,
                           Py_ssize_t ldo, double *loss) noexcept nogil:
    if floating is float:
        return OPS.f32.solve_rows(rows, order, n, work, out, ldo, loss)
    else:
        return OPS.f64.solve_rows(rows, order, n, work, out, ldo, loss)


cdef inline int forms_task(const alsx_rows *rows, const alsx_requests *requests, const int32_t *order, Py_ssize_t n,
                           floating *work, double *out) noexcept nogil:
    if floating is float:
        return OPS.f32.quadratic_forms(rows, requests, order, n, work, out)
    else:
        return OPS.f64.quadratic_forms(rows, requests, order, n, work, out)


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
# Row systems: half-sweeps, and quadratic forms of A^-1

def row_workspace(Py_ssize_t k, Py_ssize_t itemsize):
    """Reals of workspace that one thread needs for `solve_rows` at rank k."""
    return workspace_size(k, False, itemsize)


def quadratic_forms_workspace(Py_ssize_t k, Py_ssize_t itemsize):
    """Reals of workspace that one thread needs for `quadratic_forms` at rank k."""
    return workspace_size(k, True, itemsize)


cdef list describe_rows(alsx_rows *described, rows, const floating *_):
    """Fill the C description of `rows`; returns the arrays that it points into, to be kept as long as it is used.

    Attributes of rows, any Python object:

        indptr       IN  (n+1,) int64
        indices      IN  (nnz,) int32 rows of table
        values       IN  (nnz,); in quadratic_forms not used
        weights      IN  (nnz,), or (0,): all 1
        offset, scale  IN  t = (value - offset) * scale - bias of the other side
        table        IN  (n_other, ld) the other side
        k            IN
        reg, reg_bias  IN
        row_scale    IN  (n,) float64, s
        empty_scale  IN  s of a row that is not among these and has no ratings
        precision    IN  (k+1, padded k + PAD) Lambda of every row, whatever s; or (0, 0): diag(reg, ..., reg, reg_bias)
        means        IN  (n, ld) m; or (0, 0): 0
    """
    # Held as objects: an attribute may be computed anew whenever it is asked for.
    cdef list held = [rows.indptr, rows.indices, rows.values, rows.weights, rows.table, rows.row_scale, rows.precision,
                      rows.means]
    cdef:
        const int64_t[::1] indptr = held[0]
        const int32_t[::1] indices = held[1]
        const floating[::1] values = held[2]
        const floating[::1] weights = held[3]
        const floating[:, ::1] table = held[4]
        const double[::1] row_scale = held[5]
        const floating[:, ::1] precision = held[6]
        const floating[:, ::1] means = held[7]
    described.indptr = &indptr[0]
    described.indices = &indices[0] if indices.shape[0] > 0 else NULL
    described.values = &values[0] if values.shape[0] > 0 else NULL
    described.weights = &weights[0] if weights.shape[0] > 0 else NULL
    described.offset = rows.offset
    described.scale = rows.scale
    described.table = &table[0, 0] if table.shape[0] > 0 else NULL
    described.ld = table.shape[1]
    described.k = rows.k
    described.reg = rows.reg
    described.reg_bias = rows.reg_bias
    described.row_scale = &row_scale[0] if row_scale.shape[0] > 0 else NULL
    described.empty_scale = rows.empty_scale
    described.precision = &precision[0, 0] if precision.shape[0] > 0 else NULL
    described.means = &means[0, 0] if means.shape[0] > 0 else NULL
    described.means_ld = means.shape[1]
    described.noise = 0
    described.seed = described.draw_index = 0
    return held


def solve_rows(
    rows,                           # IN  the row systems, see describe_rows
    const int64_t[::1] starts,      # IN  (n_tasks+1,): one task solves the rows order[starts[t]:starts[t+1]]
    const int32_t[::1] order,       # IN  (n,) a permutation of the rows
    floating[:, ::1] work,          # TMP (n_threads, row_workspace)
    floating[:, ::1] out,           # OUT (n, ld) this side
    double[:, ::1] loss,            # OUT (n, 2): weighted squared error, penalty; NaN where singular
    double noise=0.0,               # IN  the standard deviation of the noise for draws; 0 for A^-1 h itself
    uint64_t seed=0,                # IN  with draw_index and the row's number, what a draw depends on
    uint64_t draw_index=0,
):
    """out[x] := A_x^-1 h_x, or a draw, for every row x; returns how many were singular (they stay as they were)."""
    cdef:
        alsx_rows described
        Py_ssize_t task
        int n_threads = work.shape[0]
        int failed = 0
        list held = describe_rows(&described, rows, &work[0, 0])
    described.noise = noise
    described.seed = seed
    described.draw_index = draw_index
    for task in prange(starts.shape[0] - 1, num_threads=n_threads, schedule="dynamic", chunksize=1, nogil=True):
        failed += solve_task(&described, &order[0] + starts[task], starts[task + 1] - starts[task],
                             &work[threadid(), 0], &out[0, 0], out.shape[1], &loss[0, 0])
    del held
    return failed


# The posterior of a row is N(x, sigma^2 A^-1), so that z'x has the variance sigma^2 z' A^-1 z.

def quadratic_forms(
    rows,                           # IN  the row systems, see describe_rows
    const int64_t[::1] starts,      # IN  (n_tasks+1,): one task does the requests order[starts[t]:starts[t+1]]
    const int32_t[::1] order,       # IN  (m,) a permutation of the requests
    const int32_t[::1] requested,   # IN  (m,) which row each request asks for; negative: one without ratings
    const int64_t[::1] partner_indptr,  # IN  (m+1,)
    const int32_t[::1] partners,    # IN  (n,) rows of z
    const floating[:, ::1] z,       # IN  (n_z, ldz)
    bint bordered,                  # IN  the last entry of every z, z[:, k], is taken as it is; else it is 1
    floating[:, ::1] work,          # TMP (n_threads, quadratic_forms_workspace)
    double[::1] out,                # OUT (n,)
):
    """out[e] := z_e' A^-1 z_e for the partners e of every request, infinite where A is singular; how many were."""
    cdef:
        alsx_rows described
        alsx_requests requests
        Py_ssize_t task
        int n_threads = work.shape[0]
        int failed = 0
        list held = describe_rows(&described, rows, &work[0, 0])
    requests.rows = &requested[0] if requested.shape[0] > 0 else NULL
    requests.partner_indptr = &partner_indptr[0]
    requests.partners = &partners[0] if partners.shape[0] > 0 else NULL
    requests.z = &z[0, 0] if z.shape[0] > 0 else NULL
    requests.ldz = z.shape[1]
    requests.bordered = bordered
    for task in prange(starts.shape[0] - 1, num_threads=n_threads, schedule="dynamic", chunksize=1, nogil=True):
        failed += forms_task(&described, &requests, &order[0] + starts[task], starts[task + 1] - starts[task],
                             &work[threadid(), 0], &out[0])
    del held
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
    const double[::1] row_scale,      # IN  (n_rows,)
    double ridge,
    const floating[:, ::1] minus,   # IN  (n_rows, ld), or (0, 0): 0
    int n_threads,
    floating[:, ::1] out,           # OUT (n_rows, ld)
):
    """out[x] := row_scale[x] * (sum_e values[e] table[indices[e]] - ridge minus[x]) for every row x."""
    cdef:
        Py_ssize_t task
        const floating *factors = &values[0] if values.shape[0] > 0 else NULL
    if indices.shape[0] == 0 or table.shape[0] == 0:
        factors = NULL
    for task in prange(starts.shape[0] - 1, num_threads=n_threads, schedule="dynamic", chunksize=1, nogil=True):
        product_rows(starts[task], starts[task + 1], order, indptr, indices, factors, table, columns, row_scale, ridge,
                     minus, out)


cdef void product_rows(
    Py_ssize_t begin, Py_ssize_t end, const int32_t[::1] order, const int64_t[::1] indptr,
    const int32_t[::1] indices, const floating *values, const floating[:, ::1] table, Py_ssize_t columns,
    const double[::1] row_scale, double ridge, const floating[:, ::1] minus, floating[:, ::1] out,
) noexcept nogil:
    cdef:
        Py_ssize_t place, row
        int64_t start
    for place in range(begin, end):
        row = order[place]
        start = indptr[row]
        sum_rows(indptr[row + 1] - start, &indices[0] + start, values + start if values != NULL else NULL,
                 &table[0, 0], table.shape[1], columns, row_scale[row], ridge,
                 &minus[row, 0] if minus.shape[0] > 0 else NULL, &out[row, 0])


# Sums over the rows of a table, or over pairs, are taken in chunks of this many, whatever the number of threads, so
# that the order of the additions, and with it every bit, does not depend on it.
cdef enum:
    CHUNK_ROWS = 2048


def n_chunks(Py_ssize_t n_rows):
    """In how many chunks the rows of a table, or pairs, are summed."""
    return (n_rows + CHUNK_ROWS - 1) // CHUNK_ROWS


def column_products(
    const floating[:, ::1] x,       # IN  (n_rows, ld)
    const floating[:, ::1] y,       # IN  (n_rows, ld)
    const double[::1] row_scale,      # IN  (n_rows,)
    Py_ssize_t columns,
    int n_threads,
    double[:, ::1] out,             # OUT (n_chunks(n_rows), columns)
):
    """out[p, c] := sum of row_scale[r] x[r, c] y[r, c] over the rows r of chunk p."""
    cdef Py_ssize_t chunk
    for chunk in prange(out.shape[0], num_threads=n_threads, schedule="static", nogil=True):
        chunk_products(x, y, row_scale, columns, chunk, out)


cdef void chunk_products(
    const floating[:, ::1] x, const floating[:, ::1] y, const double[::1] row_scale, Py_ssize_t columns,
    Py_ssize_t chunk, double[:, ::1] out,
) noexcept nogil:
    cdef:
        Py_ssize_t r, c
        double s
        const floating *a
        const floating *b
        double *sums = &out[chunk, 0]
    for c in range(columns):
        sums[c] = 0
    for r in range(chunk * CHUNK_ROWS, min(x.shape[0], (chunk + 1) * CHUNK_ROWS)):
        a = &x[r, 0]
        b = &y[r, 0]
        s = row_scale[r]
        for c in range(columns):
            sums[c] += s * a[c] * b[c]


def scaled_difference(
    const floating[:, ::1] x,       # IN  (n_rows, ld)
    const floating[:, ::1] y,       # IN  (n_rows, ld)
    const double[::1] row_scale,      # IN  (n_rows,)
    Py_ssize_t columns,
    int n_threads,
    floating[:, ::1] out,           # OUT (n_rows, ld)
):
    """out[r, c] := row_scale[r] (x[r, c] - y[r, c])"""
    cdef Py_ssize_t row
    for row in prange(x.shape[0], num_threads=n_threads, schedule="static", nogil=True):
        row_difference(&x[row, 0], &y[row, 0], row_scale[row], columns, &out[row, 0])


cdef inline void row_difference(const floating *x, const floating *y, double row_scale, Py_ssize_t columns,
                                floating *out) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(columns):
        out[c] = <floating>(row_scale * (x[c] - y[c]))


def axpby(
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
        row_axpby(&a[0], &x[row, 0], &b[0], a.shape[0], &y[row, 0], &total[row, 0])


cdef inline void row_axpby(const double *a, const floating *x, const double *b, Py_ssize_t columns, floating *y,
                           floating *total) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(columns):
        y[c] = <floating>(a[c] * x[c] + b[c] * y[c])
        total[c] += y[c]


# ---------------------------------------------------------------------------------------------------------------------
# Normal random numbers

def philox(const uint32_t[::1] counter, const uint32_t[::1] key, uint32_t[::1] out):
    """out (4,) := the random words of counter (4,) and key (2,)."""
    alsx_philox(&counter[0], &key[0], &out[0])


def normals(uint64_t seed, uint64_t draw_index, double[:, ::1] out):
    """out[row] := the first normals of the stream (seed, draw_index, row)."""
    cdef Py_ssize_t row
    for row in range(out.shape[0]):
        alsx_normals(seed, draw_index, <uint32_t>row, 1.0, out.shape[1], &out[row, 0])


# ---------------------------------------------------------------------------------------------------------------------
# Predictions

cdef enum:
    PREFETCH_PAIRS = 8      # pairs from asking memory for the vectors to using them


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
        if e + PREFETCH_PAIRS < n:
            fetch_vector(user_table, users[e + PREFETCH_PAIRS], k)
            fetch_vector(item_table, items[e + PREFETCH_PAIRS], k)
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
    double[::1] out,                # OUT (n_chunks(n),)
):
    """out[p] := sum of w ((value - prediction) / unit)^2 over the pairs of chunk p known on both sides, with the
    prediction mean + unit (b_u + c_i + p_u . q_i), no lower than `low` and no higher than `high`."""
    cdef Py_ssize_t chunk
    for chunk in prange(out.shape[0], num_threads=n_threads, schedule="static", nogil=True):
        out[chunk] = chunk_errors(users, items, values, weights, user_table, item_table, k, mean, unit, low, high,
                                  chunk)


cdef double chunk_errors(
    const int32_t[::1] users, const int32_t[::1] items, const double[::1] values, const double[::1] weights,
    const floating[:, ::1] user_table, const floating[:, ::1] item_table, Py_ssize_t k, double mean, double unit,
    double low, double high, Py_ssize_t chunk,
) noexcept nogil:
    cdef:
        Py_ssize_t e, n = users.shape[0]
        double x, total = 0
        bint weighted = weights.shape[0] > 0
    for e in range(chunk * CHUNK_ROWS, min(n, (chunk + 1) * CHUNK_ROWS)):
        if e + PREFETCH_PAIRS < n:
            fetch_vector(user_table, users[e + PREFETCH_PAIRS], k)
            fetch_vector(item_table, items[e + PREFETCH_PAIRS], k)
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

# A packed row of BLOCK_ITEMS reals is whole vectors and an odd number of cache lines: else the few columns that a
# register tile reads, one piece of every row, would all fall on the same cache sets.
cdef enum:
    GROUP_USERS = 128       # users that share one pass over the packed items
    STRIP_USERS = 16        # of these at a time, a whole number of register tiles
    BLOCK_ITEMS = 400       # items of one packed block


def pack_items(
    const floating[:, ::1] table,   # IN  (n_items, ld)
    Py_ssize_t k,
    floating[:, :, ::1] packed,     # OUT (n_blocks, k, BLOCK_ITEMS), zero at the call
    int n_threads,
):
    """packed[b, j, i] := table[b * BLOCK_ITEMS + i, j], so that a vector holds one factor of neighbouring items."""
    cdef Py_ssize_t n_items = table.shape[0], b, i, j
    for b in prange(packed.shape[0], num_threads=n_threads, schedule="static", nogil=True):
        for i in range(b * BLOCK_ITEMS, min(n_items, (b + 1) * BLOCK_ITEMS)):
            for j in range(k):
                packed[b, j, i - b * BLOCK_ITEMS] = table[i, j]


def top_n_block():
    """Items of one packed block."""
    return BLOCK_ITEMS


def top_n_workspace(Py_ssize_t k):
    """Reals of workspace that one thread needs for `top_n`."""
    return panel_size(k) + STRIP_USERS * BLOCK_ITEMS


cdef inline Py_ssize_t panel_size(Py_ssize_t k) noexcept nogil:
    return GROUP_USERS * k


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


cdef inline void push_above(const floating *row, Py_ssize_t first_item, floating *scores, int32_t *items,
                            Py_ssize_t n) noexcept nogil:
    """Put those of a block's scores (BLOCK_ITEMS,) that belong to the n best into the heap."""
    # Items come in ascending order and only a higher score enters, so ties go to the earlier item.
    cdef Py_ssize_t i = next_above(row, 0, BLOCK_ITEMS, scores[0])
    while i < BLOCK_ITEMS:
        scores[0] = row[i]
        items[0] = <int32_t>(first_item + i)
        sift_down(scores, items, n, 0)
        i = next_above(row, i + 1, BLOCK_ITEMS, scores[0])


cdef inline void sort_heap(floating *scores, int32_t *items, Py_ssize_t n) noexcept nogil:
    """Heapsort: the root, the worst that is left, goes to the end."""
    cdef Py_ssize_t i
    for i in range(n - 1, 0, -1):
        scores[0], scores[i] = scores[i], scores[0]
        items[0], items[i] = items[i], items[0]
        sift_down(scores, items, i, 0)


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


cdef inline int64_t hide_seen(const int32_t[::1] indices, int64_t place, int64_t end, Py_ssize_t first_item,
                              floating *row) noexcept nogil:
    """Give a block's items that the user has rated the score -inf; returns the place of the next one."""
    while place < end and indices[place] < first_item + BLOCK_ITEMS:
        row[indices[place] - first_item] = -INFINITY
        place = place + 1
    return place


cdef void top_n_group(
    const int32_t *users, Py_ssize_t m, const floating[:, ::1] table, const floating[:, :, ::1] packed,
    const floating[::1] bias, const int64_t[::1] seen_indptr, const int32_t[::1] seen_indices, bint exclude,
    Py_ssize_t begin, Py_ssize_t stop, floating *work, int32_t[:, ::1] top_items, floating[:, ::1] top_scores,
    Py_ssize_t first,
) noexcept nogil:
    """The best of the blocks from `begin` to `stop` for m users, into the rows from `first` on."""
    cdef:
        Py_ssize_t k = packed.shape[1], n = top_items.shape[1], block, strip, rows, r, i, j
        floating *panel = work                                  # (strips, k, STRIP_USERS)
        floating *scores = work + panel_size(k)                 # (STRIP_USERS, BLOCK_ITEMS)
        int64_t[GROUP_USERS] seen
    for r in range(panel_size(k)):
        panel[r] = 0
    for r in range(m):
        for j in range(k):
            panel[(r // STRIP_USERS) * STRIP_USERS * k + j * STRIP_USERS + r % STRIP_USERS] = table[users[r], j]
        seen[r] = first_seen(seen_indptr, seen_indices, users[r], begin * BLOCK_ITEMS) if exclude else 0
        for i in range(n):
            top_scores[first + r, i] = -INFINITY
            top_items[first + r, i] = -1
    for block in range(begin, stop):
        for j in range((m + STRIP_USERS - 1) // STRIP_USERS):
            strip = j * STRIP_USERS
            rows = min(<Py_ssize_t>STRIP_USERS, m - strip)
            # scores (STRIP_USERS,BLOCK_ITEMS) = bias (1,BLOCK_ITEMS) + panel' (STRIP_USERS,k) packed (k,BLOCK_ITEMS)
            product(k, 1 if rows == 1 else STRIP_USERS, BLOCK_ITEMS, panel + strip * k, STRIP_USERS,
                    &packed[block, 0, 0] if k > 0 else NULL, BLOCK_ITEMS, &bias[block * BLOCK_ITEMS], scores,
                    BLOCK_ITEMS)
            for r in range(strip, strip + rows):
                if exclude:
                    seen[r] = hide_seen(seen_indices, seen[r], seen_indptr[users[r] + 1], block * BLOCK_ITEMS,
                                        scores + (r - strip) * BLOCK_ITEMS)
                push_above(scores + (r - strip) * BLOCK_ITEMS, block * BLOCK_ITEMS, &top_scores[first + r, 0],
                           &top_items[first + r, 0], n)
    for r in range(m):
        sort_heap(&top_scores[first + r, 0], &top_items[first + r, 0], n)


def top_n(
    const int32_t[::1] users,       # IN  (m,) rows of table
    const floating[:, ::1] table,   # IN  (n_users, ld)
    const floating[:, :, ::1] packed,  # IN  (n_blocks, k, BLOCK_ITEMS) by pack_items
    const floating[::1] bias,       # IN  (n_blocks * BLOCK_ITEMS,), -inf where an item must not appear
    const int64_t[::1] seen_indptr,    # IN  (n_users+1,) items to leave out, ascending in a row; (0,) for none
    const int32_t[::1] seen_indices,   # IN  (n_seen,)
    Py_ssize_t n_slices,            # IN  the items are cut into this many slices, for many threads and few users
    floating[:, ::1] work,          # TMP (n_threads, top_n_workspace)
    int32_t[:, ::1] top_items,      # OUT (n_slices * m, n) best first, ties by item; -1 where nothing is left
    floating[:, ::1] top_scores,    # OUT (n_slices * m, n) bias_i + p_u . q_i; -inf where nothing is left
):
    """top_items[slice * m + u] := the n items of the slice with the highest bias_i + p_u . q_i"""
    cdef:
        Py_ssize_t m = users.shape[0], n_blocks = packed.shape[0], size = GROUP_USERS, n_groups, task, group, piece
        int n_threads = work.shape[0]
        bint exclude = seen_indptr.shape[0] > 0
    # Few users: smaller groups, so that every thread has some.
    if m < GROUP_USERS * n_threads:
        size = min(size, max(<Py_ssize_t>1, (m + n_threads - 1) // n_threads))
    n_groups = (m + size - 1) // size
    for task in prange(n_groups * n_slices, num_threads=n_threads, schedule="dynamic", chunksize=1, nogil=True):
        group = task % n_groups
        piece = task // n_groups
        top_n_group(&users[group * size], min(size, m - group * size), table, packed, bias, seen_indptr, seen_indices,
                    exclude, part_start(n_blocks, piece, n_slices), part_start(n_blocks, piece + 1, n_slices),
                    &work[threadid(), 0], top_items, top_scores, piece * m + group * size)

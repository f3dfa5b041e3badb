# Row systems. In this order: what this build and this machine can do; row systems (half-sweeps and quadratic forms);
# normal random numbers. Learned prior means are in _regression.pyx, predictions and top-n in _scores.pyx, the sorting
# of ids in _sort.pyx; the threads that all of them share are those of _pool.pyx.
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
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

import os

from alsx._pool cimport CHUNK_ROWS, alsx_add, chunks, least_share, run, share, threads_for


cdef extern from "normals.h" nogil:
    void alsx_philox(const uint32_t *, const uint32_t *, uint32_t *)


# ---------------------------------------------------------------------------------------------------------------------
# What this build and this machine can do

PAD = ALSX_PAD

cdef dict LEVELS = {"base": 0, "v3": 3, "v4": 4}
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


def peak_flops(Py_ssize_t repeats, int n_threads):
    """Do `repeats` rounds of fused multiply-adds for each thread; returns the floating-point operations done."""
    cdef peak_job job = peak_job(repeats // PEAK_TASKS, 0)
    with nogil:
        run(peak_task, &job, n_threads * PEAK_TASKS, n_threads, NULL, 0)
    return <double>job.done


cdef enum:
    PEAK_TASKS = 16


cdef struct peak_job:
    Py_ssize_t repeats
    int64_t done


cdef void peak_task(void *context, Py_ssize_t task, void *work) noexcept nogil:
    cdef peak_job *job = <peak_job *>context
    cdef float sink = 0
    alsx_add(&job.done, <int64_t>OPS.peak(job.repeats, &sink))


# ---------------------------------------------------------------------------------------------------------------------
# Row systems: half-sweeps, and quadratic forms of A^-1

cdef inline Py_ssize_t workspace_size(Py_ssize_t k, bint forms, Py_ssize_t itemsize) noexcept nogil:
    return OPS.f32.workspace(k, forms) if itemsize == 4 else OPS.f64.workspace(k, forms)


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
        means        IN  (n, ld) m; (1, ld): that of every row; or (0, 0): 0
        base         IN  (matrix, sums, scale), or None: none. Sums over rows of the other side that every system has
                         besides, that of row x scale[x] times, where x has ratings; they are float64 but for
            matrix   IN  (k+2, padded k + PAD) sum v q q', sum v q and sum v t q, zeros from column k on
            sums     IN  (3,) sum v, sum v t, sum v t^2
            scale    IN  (n,)
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
        const floating[:, ::1] base_matrix
        const double[::1] base_sums, base_scale
        object base = rows.base
    described.indptr = &indptr[0]
    described.indices = vector(indices)
    described.values = vector(values)
    described.weights = vector(weights)
    described.offset = rows.offset
    described.scale = rows.scale
    described.table = matrix(table)
    described.ld = table.shape[1]
    described.k = rows.k
    described.reg = rows.reg
    described.reg_bias = rows.reg_bias
    described.row_scale = vector(row_scale)
    described.empty_scale = rows.empty_scale
    described.precision = matrix(precision)
    described.means = matrix(means)
    described.means_ld = 0 if means.shape[0] == 1 else means.shape[1]
    described.base = NULL
    described.base_sums = described.base_scale = NULL
    if base is not None:
        base_matrix, base_sums, base_scale = base
        described.base = &base_matrix[0, 0]
        described.base_sums = &base_sums[0]
        described.base_scale = vector(base_scale)
        held.append(base)
    described.noise = 0
    described.seed = described.draw_index = 0
    return held


cdef inline double solve_cost(Py_ssize_t n_ratings, Py_ssize_t n_rows, Py_ssize_t k) noexcept nogil:
    """Nanoseconds that row solves take, roughly; tables.py has the same in multiply-adds."""
    cdef double width = k + 1
    return 0.02 * (n_ratings * width * (width + 32) + n_rows * (width * width * width + 500))


cdef struct solve_job:
    const alsx_rows *rows
    const int64_t *starts
    const int32_t *order
    void *out
    Py_ssize_t ldo
    double *loss
    int64_t failed


cdef void solve_task(void *context, Py_ssize_t task, floating *work) noexcept nogil:
    cdef:
        solve_job *job = <solve_job *>context
        const int32_t *order = job.order + job.starts[task]
        Py_ssize_t n = job.starts[task + 1] - job.starts[task]
        floating *out = <floating *>job.out
        int failed
    if floating is float:
        failed = OPS.f32.solve_rows(job.rows, order, n, work, out, job.ldo, job.loss)
    else:
        failed = OPS.f64.solve_rows(job.rows, order, n, work, out, job.ldo, job.loss)
    if failed:
        alsx_add(&job.failed, failed)


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
        solve_job job
        Py_ssize_t n_tasks = starts.shape[0] - 1
        int n_threads
        list held = describe_rows(&described, rows, &work[0, 0])
    if n_tasks <= 0 or starts[n_tasks] == starts[0]:
        return 0
    described.noise = noise
    described.seed = seed
    described.draw_index = draw_index
    job = solve_job(&described, &starts[0], &order[0], &out[0, 0], out.shape[1], &loss[0, 0], 0)
    with nogil:
        n_threads = threads_for(rows_cost(&described, &order[starts[0]], starts[n_tasks] - starts[0],
                                          work.shape[0] * least_share), work.shape[0])
        share(solve_task[floating], &job, n_tasks, n_threads, &work[0, 0], work.shape[1])
    del held
    return job.failed


cdef double rows_cost(const alsx_rows *rows, const int32_t *order, Py_ssize_t n, double enough) noexcept nogil:
    """Nanoseconds that it takes to solve the rows; no more are counted than make it `enough`."""
    cdef:
        Py_ssize_t place
        double cost = 0
    for place in range(n):
        cost += solve_cost(rows.indptr[order[place] + 1] - rows.indptr[order[place]], 1, rows.k)
        if cost >= enough:
            break
    return cost


# What the rows of a whole table add to every system of the other side are sums over a row that has rated all of them.

cdef struct gram_job:
    const alsx_rows *rows
    void *out


cdef void gram_task(void *context, Py_ssize_t task, floating *work) noexcept nogil:
    cdef:
        gram_job *job = <gram_job *>context
        int32_t row = <int32_t>task
    if floating is float:
        OPS.f32.gram_rows(job.rows, &row, 1, work, <double *>job.out)
    else:
        OPS.f64.gram_rows(job.rows, &row, 1, work, <double *>job.out)


def gram_rows(
    rows,                           # IN  the row systems, see describe_rows; of their prior nothing is used
    floating[:, ::1] work,          # TMP (n_threads, row_workspace)
    double[:, :, ::1] out,          # OUT (n, k+2, k+2); right of the diagonals untouched
):
    """out[x] := sum w z z' over the ratings of every row x, z = [q ; 1 ; t], the lower triangle; a row is a task."""
    cdef:
        alsx_rows described
        gram_job job
        int n_threads
        list held = describe_rows(&described, rows, &work[0, 0])
    if out.shape[0] == 0:
        return
    job = gram_job(&described, &out[0, 0, 0])
    with nogil:
        n_threads = threads_for(solve_cost(described.indptr[out.shape[0]], 0, described.k), work.shape[0])
        share(gram_task[floating], &job, out.shape[0], n_threads, &work[0, 0], work.shape[1])
    del held


# The posterior of a row is N(x, sigma^2 A^-1), so that z'x has the variance sigma^2 z' A^-1 z.

cdef struct forms_job:
    const alsx_rows *rows
    const alsx_requests *requests
    const int64_t *starts
    const int32_t *order
    double *out
    int64_t failed


cdef void forms_task(void *context, Py_ssize_t task, floating *work) noexcept nogil:
    cdef:
        forms_job *job = <forms_job *>context
        const int32_t *order = job.order + job.starts[task]
        Py_ssize_t n = job.starts[task + 1] - job.starts[task]
        int failed
    if floating is float:
        failed = OPS.f32.quadratic_forms(job.rows, job.requests, order, n, work, job.out)
    else:
        failed = OPS.f64.quadratic_forms(job.rows, job.requests, order, n, work, job.out)
    if failed:
        alsx_add(&job.failed, failed)


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
        forms_job job
        Py_ssize_t n_tasks = starts.shape[0] - 1
        int n_threads
        list held = describe_rows(&described, rows, &work[0, 0])
    if n_tasks <= 0 or starts[n_tasks] == starts[0] or out.shape[0] == 0:
        return 0
    requests.rows = &requested[0]
    requests.partner_indptr = &partner_indptr[0]
    requests.partners = &partners[0]
    requests.z = &z[0, 0]
    requests.ldz = z.shape[1]
    requests.bordered = bordered
    job = forms_job(&described, &requests, &starts[0], &order[0], &out[0], 0)
    with nogil:
        n_threads = threads_for(requests_cost(&described, &requests, &order[starts[0]], starts[n_tasks] - starts[0],
                                              work.shape[0] * least_share), work.shape[0])
        share(forms_task[floating], &job, n_tasks, n_threads, &work[0, 0], work.shape[1])
    del held
    return job.failed


cdef double requests_cost(const alsx_rows *rows, const alsx_requests *requests, const int32_t *order, Py_ssize_t n,
                          double enough) noexcept nogil:
    """Nanoseconds that the requests take; no more are counted than make it `enough`."""
    cdef:
        Py_ssize_t place, row, n_ratings
        double cost = 0
    for place in range(n):
        row = requests.rows[order[place]]
        n_ratings = rows.indptr[row + 1] - rows.indptr[row] if row >= 0 else 0
        # A partner costs about as much as a rating.
        n_ratings += requests.partner_indptr[order[place] + 1] - requests.partner_indptr[order[place]]
        cost += solve_cost(n_ratings, 1, rows.k)
        if cost >= enough:
            break
    return cost


# Where there are many forms of a row, its whole covariance is worth its while: the forms are then products of tables.

cdef struct covariances_job:
    const alsx_rows *rows
    const int32_t *requested
    const int64_t *starts
    const int32_t *order
    void *out
    Py_ssize_t ldo
    int64_t failed


cdef void covariances_task(void *context, Py_ssize_t task, floating *work) noexcept nogil:
    cdef:
        covariances_job *job = <covariances_job *>context
        const int32_t *order = job.order + job.starts[task]
        Py_ssize_t n = job.starts[task + 1] - job.starts[task]
        floating *out = <floating *>job.out
        int failed
    if floating is float:
        failed = OPS.f32.covariances(job.rows, job.requested, order, n, work, out, job.ldo)
    else:
        failed = OPS.f64.covariances(job.rows, job.requested, order, n, work, out, job.ldo)
    if failed:
        alsx_add(&job.failed, failed)


def covariances(
    rows,                           # IN  the row systems, see describe_rows
    const int64_t[::1] starts,      # IN  (n_tasks+1,): one task does the requests order[starts[t]:starts[t+1]]
    const int32_t[::1] order,       # IN  (m,) a permutation of the requests
    const int32_t[::1] requested,   # IN  (m,) which row each request asks for; negative: one without ratings
    floating[:, ::1] work,          # TMP (n_threads, quadratic_forms_workspace)
    floating[:, ::1] out,           # OUT (m, ldo), ldo at least (k+1)(k+2)/2
):
    """out[e] := A^-1 of each row that is requested: rows of the lower triangle, what is left of the diagonal times 2.

    NaN where A is singular; returns how many were.
    """
    cdef:
        alsx_rows described
        covariances_job job
        Py_ssize_t n_tasks = starts.shape[0] - 1, place
        int n_threads
        double cost = 0
        list held = describe_rows(&described, rows, &work[0, 0])
    if n_tasks <= 0 or starts[n_tasks] == starts[0]:
        return 0
    job = covariances_job(&described, &requested[0], &starts[0], &order[0], &out[0, 0], out.shape[1], 0)
    with nogil:
        for place in range(starts[0], starts[n_tasks]):
            cost += covariance_cost(&described, requested[order[place]])
            if cost >= work.shape[0] * least_share:
                break
        n_threads = threads_for(cost, work.shape[0])
        share(covariances_task[floating], &job, n_tasks, n_threads, &work[0, 0], work.shape[1])
    del held
    return job.failed


cdef inline double covariance_cost(const alsx_rows *rows, Py_ssize_t row) noexcept nogil:
    """Nanoseconds that a row's covariance takes, about those of two solutions."""
    return 2 * solve_cost(rows.indptr[row + 1] - rows.indptr[row] if row >= 0 else 0, 1, rows.k)


# ---------------------------------------------------------------------------------------------------------------------
# Normal random numbers

# Tables with noise are made some rows at a time: as many as a product of register tiles takes.
cdef enum:
    NOISE_ROWS = 16


def noise_workspace(Py_ssize_t columns):
    """Reals of workspace that one thread needs for `add_noise`."""
    return noise_width(columns) * (2 * NOISE_ROWS + 2)


cdef inline Py_ssize_t noise_width(Py_ssize_t columns) noexcept nogil:
    return (columns + ALSX_PAD - 1) // ALSX_PAD * ALSX_PAD


cdef struct noise_job:
    Py_ssize_t n_rows, ld, ld_out, columns, ld_root
    const void *x
    const void *root
    const void *start
    double scale
    uint64_t seed, draw_index
    void *out


cdef void noise_task(void *context, Py_ssize_t chunk, floating *work) noexcept nogil:
    cdef:
        noise_job *job = <noise_job *>context
        Py_ssize_t columns = job.columns, width = noise_width(columns), r, c, first, m
        Py_ssize_t end = min(job.n_rows, (chunk + 1) * CHUNK_ROWS)
        const floating *x = <const floating *>job.x
        const floating *start = <const floating *>job.start
        const floating *root = <const floating *>job.root
        floating *out
        floating *noise = work                                  # (columns, NOISE_ROWS)
        floating *product = noise + width * NOISE_ROWS          # (NOISE_ROWS, width)
        double *normals = <double *>(product + width * NOISE_ROWS)
    first = chunk * CHUNK_ROWS
    while first < end:
        m = min(<Py_ssize_t>NOISE_ROWS, end - first)
        for r in range(m):
            OPS.normals(job.seed, job.draw_index, <uint32_t>(first + r), job.scale, columns, normals)
            for c in range(columns):
                noise[c * NOISE_ROWS + r] = <floating>normals[c]
        for r in range(m, NOISE_ROWS):
            for c in range(columns):
                noise[c * NOISE_ROWS + r] = 0
        # product (NOISE_ROWS,columns) = start (1,columns) + noise' (NOISE_ROWS,columns) root (columns,columns)
        if floating is float:
            OPS.f32.product(columns, NOISE_ROWS, width, noise, NOISE_ROWS, root, job.ld_root, start, product, width)
        else:
            OPS.f64.product(columns, NOISE_ROWS, width, noise, NOISE_ROWS, root, job.ld_root, start, product, width)
        for r in range(m):
            out = <floating *>job.out + (first + r) * job.ld_out
            for c in range(columns):
                out[c] = product[r * width + c]
            if x != NULL:
                for c in range(columns):
                    out[c] += x[(first + r) * job.ld + c]
        first = first + NOISE_ROWS


def add_noise(
    const floating[:, ::1] x,       # IN  (n_rows, ld), or (0, 0): 0
    const floating[:, ::1] root,    # IN  (columns, padded columns) a root of the covariance, transposed; zeros behind
    const floating[::1] start,      # IN  (padded columns,)
    double scale,
    uint64_t seed,
    uint64_t draw_index,
    Py_ssize_t columns,
    floating[:, ::1] work,          # TMP (n_threads, noise_workspace)
    floating[:, ::1] out,           # OUT (n_rows, ld)
):
    """out[r] := x[r] + start + scale normals[r]' root, the normals of the stream (seed, draw_index, r)."""
    cdef:
        noise_job job
        int n_threads
    if out.shape[0] == 0:
        return
    job = noise_job(
        out.shape[0], x.shape[1], out.shape[1], columns, root.shape[1], matrix(x), &root[0, 0], &start[0], scale, seed,
        draw_index, &out[0, 0],
    )
    with nogil:
        n_threads = threads_for(out.shape[0] * (10.0 * columns + 0.1 * columns * columns), work.shape[0])
        share(noise_task[floating], &job, chunks(out.shape[0]), n_threads, &work[0, 0], work.shape[1])


def philox(const uint32_t[::1] counter, const uint32_t[::1] key, uint32_t[::1] out):
    """out (4,) := the random words of counter (4,) and key (2,)."""
    alsx_philox(&counter[0], &key[0], &out[0])


def normals(uint64_t seed, uint64_t draw_index, double[:, ::1] out):
    """out[row] := the first normals of the stream (seed, draw_index, row)."""
    cdef Py_ssize_t row
    for row in range(out.shape[0]):
        OPS.normals(seed, draw_index, <uint32_t>row, 1.0, out.shape[1], &out[row, 0])

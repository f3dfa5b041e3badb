# Learned prior means: products of a sparse matrix with a table, what conjugate gradients need of whole tables, and the
# two passes of a step of a regression. M = F W in the notation of _core.pyx, with F (n, f) sparse: sums of table rows
# give F W, and F' (f, n) times a table. As there, nothing is checked here.

from cython cimport floating
from libc.stdint cimport int32_t, int64_t

from alsx._core cimport ALSX_PACKED_WORDS, OPS, alsx_steps, matrix, vector
from alsx._pool cimport CHUNK_ROWS, ENTRIES_PER_NS, chunks, share, threads_for


# ---------------------------------------------------------------------------------------------------------------------
# Products and whole tables

cdef inline void sum_table_rows(Py_ssize_t n, const int32_t *indices, const floating *values, const floating *table,
                                Py_ssize_t ld, Py_ssize_t columns, double scale, double ridge,
                                const floating *minus, floating *out) noexcept nogil:
    if floating is float:
        OPS.f32.sum_rows(n, indices, values, table, ld, columns, scale, ridge, minus, out)
    else:
        OPS.f64.sum_rows(n, indices, values, table, ld, columns, scale, ridge, minus, out)


cdef struct product_job:
    const int64_t *starts
    const int32_t *order
    const int64_t *indptr
    const int32_t *indices
    const void *values
    const void *table
    Py_ssize_t ld, columns
    const double *row_scale
    double ridge
    const void *minus
    Py_ssize_t ld_minus
    void *out
    Py_ssize_t ldo


cdef void product_task(void *context, Py_ssize_t task, floating *work) noexcept nogil:
    cdef:
        product_job *job = <product_job *>context
        const floating *values = <const floating *>job.values
        const floating *minus = <const floating *>job.minus
        Py_ssize_t place, row
        int64_t start
    for place in range(job.starts[task], job.starts[task + 1]):
        row = job.order[place]
        start = job.indptr[row]
        sum_table_rows(job.indptr[row + 1] - start, job.indices + start, values + start if values != NULL else NULL,
                       <const floating *>job.table, job.ld, job.columns, job.row_scale[row], job.ridge,
                       minus + row * job.ld_minus if minus != NULL else NULL, <floating *>job.out + row * job.ldo)


def sparse_product(
    const int64_t[::1] starts,      # IN  (n_tasks+1,): one task does the rows order[starts[t]:starts[t+1]]
    const int32_t[::1] order,       # IN  (n_rows,) a permutation of the rows
    const int64_t[::1] indptr,      # IN  (n_rows+1,)
    const int32_t[::1] indices,     # IN  (nnz,) rows of table
    const floating[::1] values,     # IN  (nnz,), or (0,): all 1
    const floating[:, ::1] table,   # IN  (n_other, ld)
    Py_ssize_t columns,             # IN  how many columns of every table take part
    const double[::1] row_scale,    # IN  (n_rows,)
    double ridge,
    const floating[:, ::1] minus,   # IN  (n_rows, ld), or (0, 0): 0
    int n_threads,
    floating[:, ::1] out,           # OUT (n_rows, ld)
):
    """out[x] := row_scale[x] * (sum_e values[e] table[indices[e]] - ridge minus[x]) for every row x."""
    cdef product_job job
    if starts.shape[0] <= 1 or order.shape[0] == 0:
        return
    job = product_job(
        &starts[0], &order[0], &indptr[0], vector(indices),
        vector(values), matrix(table), table.shape[1],
        columns, &row_scale[0], ridge, matrix(minus), minus.shape[1], &out[0, 0],
        out.shape[1],
    )
    with nogil:
        n_threads = threads_for(<double>indices.shape[0] * (3 + 0.1 * columns) + 20 * order.shape[0], n_threads)
        share(product_task[floating], &job, starts.shape[0] - 1, n_threads, <floating *>NULL, 0)


def n_chunks(Py_ssize_t n_rows):
    """In how many chunks the rows of a table, or pairs, are summed."""
    return chunks(n_rows)


cdef struct tables_job:
    Py_ssize_t n_rows, ld, columns, ld_out, ld_total
    const void *x
    const void *y
    const double *row_scale
    const double *a
    const double *b
    void *out
    void *total


cdef void products_task(void *context, Py_ssize_t chunk, floating *work) noexcept nogil:
    cdef:
        tables_job *job = <tables_job *>context
        Py_ssize_t r, c
        double s
        const floating *x
        const floating *y
        double *sums = <double *>job.out + chunk * job.columns
    for c in range(job.columns):
        sums[c] = 0
    for r in range(chunk * CHUNK_ROWS, min(job.n_rows, (chunk + 1) * CHUNK_ROWS)):
        x = <const floating *>job.x + r * job.ld
        y = <const floating *>job.y + r * job.ld
        s = job.row_scale[r]
        for c in range(job.columns):
            sums[c] += s * x[c] * y[c]


def column_products(
    const floating[:, ::1] x,       # IN  (n_rows, ld)
    const floating[:, ::1] y,       # IN  (n_rows, ld)
    const double[::1] row_scale,    # IN  (n_rows,)
    Py_ssize_t columns,
    int n_threads,
    double[:, ::1] out,             # OUT (n_chunks(n_rows), columns)
):
    """out[p, c] := sum of row_scale[r] x[r, c] y[r, c] over the rows r of chunk p."""
    cdef tables_job job
    if x.shape[0] == 0:
        return
    job = tables_job(
        x.shape[0], x.shape[1], columns, 0, 0, &x[0, 0], &y[0, 0], &row_scale[0], NULL, NULL, &out[0, 0], NULL)
    with nogil:
        n_threads = threads_for(x.shape[0] * columns / ENTRIES_PER_NS, n_threads)
        share(products_task[floating], &job, chunks(x.shape[0]), n_threads, <floating *>NULL, 0)


cdef void difference_task(void *context, Py_ssize_t chunk, floating *work) noexcept nogil:
    cdef:
        tables_job *job = <tables_job *>context
        Py_ssize_t r
    for r in range(chunk * CHUNK_ROWS, min(job.n_rows, (chunk + 1) * CHUNK_ROWS)):
        row_difference(<const floating *>job.x + r * job.ld, <const floating *>job.y + r * job.ld, job.row_scale[r],
                       job.columns, <floating *>job.out + r * job.ld)


cdef inline void row_difference(const floating *x, const floating *y, double row_scale, Py_ssize_t columns,
                                floating *out) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(columns):
        out[c] = <floating>(row_scale * (x[c] - y[c]))


def scaled_difference(
    const floating[:, ::1] x,       # IN  (n_rows, ld)
    const floating[:, ::1] y,       # IN  (n_rows, ld)
    const double[::1] row_scale,    # IN  (n_rows,)
    Py_ssize_t columns,
    int n_threads,
    floating[:, ::1] out,           # OUT (n_rows, ld)
):
    """out[r, c] := row_scale[r] (x[r, c] - y[r, c])"""
    cdef tables_job job
    if x.shape[0] == 0:
        return
    job = tables_job(
        x.shape[0], x.shape[1], columns, 0, 0, &x[0, 0], &y[0, 0], &row_scale[0], NULL, NULL, &out[0, 0], NULL)
    with nogil:
        n_threads = threads_for(x.shape[0] * columns / ENTRIES_PER_NS, n_threads)
        share(difference_task[floating], &job, chunks(x.shape[0]), n_threads, <floating *>NULL, 0)


cdef void axpby_task(void *context, Py_ssize_t chunk, floating *work) noexcept nogil:
    cdef:
        tables_job *job = <tables_job *>context
        Py_ssize_t r
    for r in range(chunk * CHUNK_ROWS, min(job.n_rows, (chunk + 1) * CHUNK_ROWS)):
        row_axpby(job.a, <const floating *>job.x + r * job.ld, job.b, job.columns,
                  <floating *>job.out + r * job.ld_out, <floating *>job.total + r * job.ld_total)


cdef inline void row_axpby(const double *a, const floating *x, const double *b, Py_ssize_t columns, floating *y,
                           floating *total) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(columns):
        y[c] = <floating>(a[c] * x[c] + b[c] * y[c])
        total[c] += y[c]


def axpby(
    const double[::1] a,            # IN  (columns,)
    const floating[:, ::1] x,       # IN  (n_rows, ld)
    const double[::1] b,            # IN  (columns,)
    int n_threads,
    floating[:, ::1] y,             # IN, OUT (n_rows, ld_y)
    floating[:, ::1] total,         # IN, OUT (n_rows, ld_total)
    Py_ssize_t first=0,             # IN  the column of y and total at which the columns of x begin
):
    """y := x diag(a) + y diag(b), and total += y."""
    cdef tables_job job
    if x.shape[0] == 0 or a.shape[0] == 0:
        return
    job = tables_job(x.shape[0], x.shape[1], a.shape[0], y.shape[1], total.shape[1], &x[0, 0], NULL, NULL, &a[0], &b[0],
                     &y[0, first], &total[0, first])
    with nogil:
        n_threads = threads_for(x.shape[0] * a.shape[0] / ENTRIES_PER_NS, n_threads)
        share(axpby_task[floating], &job, chunks(x.shape[0]), n_threads, <floating *>NULL, 0)


cdef void total_task(void *context, Py_ssize_t chunk, floating *work) noexcept nogil:
    cdef:
        tables_job *job = <tables_job *>context
        Py_ssize_t r
    for r in range(chunk * CHUNK_ROWS, min(job.n_rows, (chunk + 1) * CHUNK_ROWS)):
        row_total(<const floating *>job.x + r * job.ld, job.columns, <floating *>job.total + r * job.ld)


cdef inline void row_total(const floating *x, Py_ssize_t columns, floating *total) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(columns):
        total[c] += x[c]


def add_table(
    const floating[:, ::1] x,       # IN  (n_rows, ld)
    int n_threads,
    floating[:, ::1] total,         # IN, OUT (n_rows, ld)
):
    """total += x"""
    cdef tables_job job
    if x.shape[0] == 0:
        return
    job = tables_job(x.shape[0], x.shape[1], x.shape[1], 0, 0, &x[0, 0], NULL, NULL, NULL, NULL, NULL, &total[0, 0])
    with nogil:
        n_threads = threads_for(x.shape[0] * x.shape[1] / ENTRIES_PER_NS, n_threads)
        share(total_task[floating], &job, chunks(x.shape[0]), n_threads, <floating *>NULL, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Steps of regressions

# A step of a regression passes over the ratings twice, by column and by row. Both passes read packed tables, which are
# half as large where they are of float32 (steps.inc), and find on the way what the length of the step depends on. The
# step that is taken is the rounded one, everywhere. A packed table is declared to be of the tables' type.

PACKED_COLUMNS = 2 * ALSX_PACKED_WORDS      # of a block of a packed row of float32, which takes half as many words

# Rows of work that the kernels of steps take, each of whole blocks of columns.
STEP_WORK_ROWS = 8


cdef struct steps_job:
    alsx_steps steps
    const int64_t *starts
    const int32_t *order
    Py_ssize_t n_rows
    const void *x
    const void *y
    const double *a
    const double *b
    void *last
    void *total
    double *sums


cdef void pack_task(void *context, Py_ssize_t chunk, floating *work) noexcept nogil:
    cdef:
        steps_job *job = <steps_job *>context
        Py_ssize_t first = chunk * CHUNK_ROWS
        Py_ssize_t n = min(job.n_rows - first, <Py_ssize_t>CHUNK_ROWS)
    if floating is float:
        OPS.f32.pack_rows(&job.steps, <const float *>job.x, <const float *>job.y, first, n, work)
    else:
        OPS.f64.pack_rows(&job.steps, <const double *>job.x, <const double *>job.y, first, n, work)


def packed_difference(
    const floating[:, ::1] x,       # IN  (n_rows, ld)
    const floating[:, ::1] y,       # IN  (n_rows, ld)
    const double[::1] row_scale,    # IN  (n_rows,)
    Py_ssize_t columns,
    floating[:, ::1] work,          # TMP (n_threads, STEP_WORK_ROWS rows)
    floating[:, ::1] out,           # OUT (n_rows, ld_packed) packed
    Py_ssize_t first=0,             # IN  the column of x and y at which those of out begin
):
    """out[r, c] := row_scale[r] (x[r, c] - y[r, c])"""
    cdef:
        steps_job job
        int n_threads
    if x.shape[0] == 0:
        return
    job.steps.columns, job.steps.ld, job.steps.factor = columns, x.shape[1], &row_scale[0]
    job.steps.out, job.steps.ld_out = &out[0, 0], out.shape[1]
    job.x, job.y, job.n_rows = &x[0, first], &y[0, first], x.shape[0]
    with nogil:
        n_threads = threads_for(x.shape[0] * columns / ENTRIES_PER_NS, work.shape[0])
        share(pack_task[floating], &job, chunks(x.shape[0]), n_threads, &work[0, 0], work.shape[1])


cdef inline double pass_cost(Py_ssize_t n_entries, Py_ssize_t n_rows, Py_ssize_t columns) noexcept nogil:
    """Nanoseconds that a pass takes, roughly."""
    return n_entries * (2 + 0.1 * columns) + n_rows * (20 + 2.0 * columns)


cdef void direction_task(void *context, Py_ssize_t task, floating *work) noexcept nogil:
    cdef:
        steps_job *job = <steps_job *>context
        const int32_t *order = job.order + job.starts[task]
        Py_ssize_t n = job.starts[task + 1] - job.starts[task]
        double *sums = job.sums + task * 5 * job.steps.columns
    if floating is float:
        OPS.f32.direction_rows(&job.steps, order, n, work, sums)
    else:
        OPS.f64.direction_rows(&job.steps, order, n, work, sums)


def packed_direction(
    const int64_t[::1] starts,      # IN  (n_tasks+1,): one task does the rows order[starts[t]:starts[t+1]]
    const int32_t[::1] order,       # IN  (f,) a permutation of the rows
    const int64_t[::1] indptr,      # IN  (f+1,)
    const int32_t[::1] indices,     # IN  (nnz,) rows of residuals
    const floating[::1] values,     # IN  (nnz,), or (0,): all 1
    const floating[:, ::1] residuals,       # IN  (n, ld_packed) packed
    const double[::1] inverse_diagonal,     # IN  (f,)
    double ridge,
    const floating[:, ::1] coefficients,    # IN  (f, ld)
    const floating[:, ::1] last,    # IN  (f, ld) the direction of the last step
    floating[:, ::1] work,          # TMP (n_threads, STEP_WORK_ROWS rows)
    floating[:, ::1] out,           # OUT (f, ld_packed) packed
    double[:, :, ::1] sums,         # OUT (n_tasks, 5, columns), over the rows of each task
    Py_ssize_t first=0,             # IN  the column of coefficients and last at which those of residuals begin
):
    """out := inverse_diagonal slope, slope[x] = sum_e values[e] residuals[indices[e]] - ridge coefficients[x].

    sums := the products slope out, slope last, out out, out last, last last, by column.
    """
    cdef:
        steps_job job
        int n_threads
    if starts.shape[0] <= 1 or order.shape[0] == 0:
        return
    job.steps = alsx_steps(
        &indptr[0], vector(indices), vector(values), matrix(residuals), residuals.shape[1], sums.shape[2],
        last.shape[1], &inverse_diagonal[0], ridge, &coefficients[0, first], &last[0, first], &out[0, 0], out.shape[1],
        NULL, NULL, NULL, NULL, NULL,
    )
    job.starts, job.order, job.sums = &starts[0], &order[0], &sums[0, 0, 0]
    with nogil:
        n_threads = threads_for(pass_cost(indices.shape[0], order.shape[0], sums.shape[2]), work.shape[0])
        share(direction_task[floating], &job, starts.shape[0] - 1, n_threads, &work[0, 0], work.shape[1])


cdef void change_task(void *context, Py_ssize_t task, floating *work) noexcept nogil:
    cdef:
        steps_job *job = <steps_job *>context
        const int32_t *order = job.order + job.starts[task]
        Py_ssize_t n = job.starts[task + 1] - job.starts[task]
        double *sums = job.sums + task * 3 * job.steps.columns
    if floating is float:
        OPS.f32.change_rows(&job.steps, order, n, work, sums)
    else:
        OPS.f64.change_rows(&job.steps, order, n, work, sums)


def packed_change(
    const int64_t[::1] starts,      # IN  (n_tasks+1,): one task does the rows order[starts[t]:starts[t+1]]
    const int32_t[::1] order,       # IN  (n,) a permutation of the rows
    const int64_t[::1] indptr,      # IN  (n+1,)
    const int32_t[::1] indices,     # IN  (nnz,) rows of steps
    const floating[::1] values,     # IN  (nnz,), or (0,): all 1
    const floating[:, ::1] steps,   # IN  (f, ld_packed) packed
    const double[::1] factor,       # IN  (n,)
    const floating[:, ::1] last,    # IN  (n, ld) what the last direction does to the rows
    const double[::1] row_scale,    # IN  (n,) s; 0: the row does not count in the sums
    const double[::1] counts,       # IN  (n,) n
    const double[::1] precision,    # IN  (columns,) lambda
    const double[::1] information,  # IN  (columns,) v
    const double[::1] shared,       # IN  (columns,) g
    floating[:, ::1] work,          # TMP (n_threads, STEP_WORK_ROWS rows)
    floating[:, ::1] out,           # OUT (n, ld)
    double[:, :, ::1] sums,         # OUT (n_tasks, 3, columns), over the rows of each task
    Py_ssize_t first=0,             # IN  the column of last at which those of steps and out begin
):
    """out[x] := factor[x] sum_e values[e] steps[indices[e]].

    sums := the products out out, out last, last last, by column, of rows weighed s (n v + g) / (s lambda + n v + g).
    """
    cdef:
        steps_job job
        int n_threads
    if starts.shape[0] <= 1 or order.shape[0] == 0:
        return
    job.steps = alsx_steps(
        &indptr[0], vector(indices), vector(values), matrix(steps), steps.shape[1], sums.shape[2], last.shape[1],
        &factor[0], 0, NULL, &last[0, first], &out[0, 0], out.shape[1],
        &row_scale[0], &counts[0], &precision[0], &information[0], &shared[0],
    )
    job.starts, job.order, job.sums = &starts[0], &order[0], &sums[0, 0, 0]
    with nogil:
        n_threads = threads_for(pass_cost(indices.shape[0], order.shape[0], sums.shape[2]), work.shape[0])
        share(change_task[floating], &job, starts.shape[0] - 1, n_threads, &work[0, 0], work.shape[1])


cdef void add_task(void *context, Py_ssize_t chunk, floating *work) noexcept nogil:
    cdef:
        steps_job *job = <steps_job *>context
        Py_ssize_t first = chunk * CHUNK_ROWS
        Py_ssize_t n = min(job.n_rows - first, <Py_ssize_t>CHUNK_ROWS)
    if floating is float:
        OPS.f32.add_rows(&job.steps, job.a, job.b, first, n, <float *>job.last, <float *>job.total, work)
    else:
        OPS.f64.add_rows(&job.steps, job.a, job.b, first, n, <double *>job.last, <double *>job.total, work)


def packed_axpby(
    const double[::1] a,            # IN  (columns,)
    const floating[:, ::1] x,       # IN  (n_rows, ld_packed) packed
    const double[::1] b,            # IN  (columns,)
    floating[:, ::1] work,          # TMP (n_threads, STEP_WORK_ROWS rows)
    floating[:, ::1] y,             # IN, OUT (n_rows, ld)
    floating[:, ::1] total,         # IN, OUT (n_rows, ld)
    Py_ssize_t first=0,             # IN  the column of y and total at which those of x begin
):
    """y := x diag(a) + y diag(b), and total += y."""
    cdef:
        steps_job job
        int n_threads
    if x.shape[0] == 0 or a.shape[0] == 0:
        return
    job.steps.columns, job.steps.packed, job.steps.ld_packed = a.shape[0], &x[0, 0], x.shape[1]
    job.steps.ld = y.shape[1]
    job.a, job.b, job.last, job.total, job.n_rows = &a[0], &b[0], &y[0, first], &total[0, first], x.shape[0]
    with nogil:
        n_threads = threads_for(x.shape[0] * a.shape[0] / ENTRIES_PER_NS, work.shape[0])
        share(add_task[floating], &job, chunks(x.shape[0]), n_threads, &work[0, 0], work.shape[1])

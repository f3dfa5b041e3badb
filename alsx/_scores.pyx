# Predictions for pairs, and top-n, in the notation of _core.pyx. As there, nothing is checked here.

from cython cimport floating
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t

from alsx._core cimport ALSX_PREFETCH, OPS, matrix, vector
from alsx._pool cimport CHUNK_ROWS, ENTRIES_PER_NS, chunks, part_start, share, threads_for


# ---------------------------------------------------------------------------------------------------------------------
# Predictions

cdef inline floating dot(Py_ssize_t k, const floating *p, const floating *q) noexcept nogil:
    if floating is float:
        return OPS.f32.dot(k, p, q)
    else:
        return OPS.f64.dot(k, p, q)


cdef enum:
    PREFETCH_PAIRS = 8      # pairs from asking memory for the vectors to using them


cdef struct pairs_job:
    Py_ssize_t n
    const int32_t *users
    const int32_t *items
    const double *values
    const double *weights           # or NULL: all 1
    const void *user_table
    const void *item_table
    Py_ssize_t user_ld, item_ld, k
    double mean, unit, low, high
    double *out


cdef inline double pairs_cost(Py_ssize_t n, Py_ssize_t k) noexcept nogil:
    """Nanoseconds that predictions of n pairs take, roughly."""
    return n * (6 + 0.2 * k)


cdef inline void fetch_vector(const floating *table, Py_ssize_t ld, Py_ssize_t row, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t j = 0
    if row >= 0:
        while j <= k:
            ALSX_PREFETCH(table + row * ld + j)
            j = j + 64 // <Py_ssize_t>sizeof(floating)


cdef inline void fetch_pair(const pairs_job *job, Py_ssize_t e, const floating *user_table,
                            const floating *item_table) noexcept nogil:
    """Ask memory for the vectors of pair e, if there is one."""
    if e < job.n:
        fetch_vector(user_table, job.user_ld, job.users[e], job.k)
        fetch_vector(item_table, job.item_ld, job.items[e], job.k)


cdef inline double predict_pair(const pairs_job *job, Py_ssize_t e, const floating *user_table,
                                const floating *item_table, double mean) noexcept nogil:
    cdef:
        Py_ssize_t u = job.users[e], i = job.items[e], k = job.k
        double x = mean
    if u >= 0:
        x += user_table[u * job.user_ld + k]
    if i >= 0:
        x += item_table[i * job.item_ld + k]
    if u >= 0 and i >= 0:
        x += dot(k, user_table + u * job.user_ld, item_table + i * job.item_ld)
    return x


cdef void predict_task(void *context, Py_ssize_t chunk, floating *work) noexcept nogil:
    cdef:
        pairs_job *job = <pairs_job *>context
        const floating *user_table = <const floating *>job.user_table
        const floating *item_table = <const floating *>job.item_table
        Py_ssize_t e
    for e in range(chunk * CHUNK_ROWS, min(job.n, (chunk + 1) * CHUNK_ROWS)):
        fetch_pair(job, e + PREFETCH_PAIRS, user_table, item_table)
        job.out[e] = predict_pair(job, e, user_table, item_table, job.mean)


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
    cdef pairs_job job
    if users.shape[0] == 0:
        return
    job = pairs_job(
        users.shape[0], &users[0], &items[0], NULL, NULL, matrix(user_table),
        matrix(item_table), user_table.shape[1], item_table.shape[1], k, mean, 1.0,
        0.0, 0.0, &out[0],
    )
    with nogil:
        n_threads = threads_for(pairs_cost(job.n, k), n_threads)
        share(predict_task[floating], &job, chunks(job.n), n_threads, <floating *>NULL, 0)


cdef void errors_task(void *context, Py_ssize_t chunk, floating *work) noexcept nogil:
    cdef:
        pairs_job *job = <pairs_job *>context
        const floating *user_table = <const floating *>job.user_table
        const floating *item_table = <const floating *>job.item_table
        Py_ssize_t e
        double x, total = 0
    for e in range(chunk * CHUNK_ROWS, min(job.n, (chunk + 1) * CHUNK_ROWS)):
        fetch_pair(job, e + PREFETCH_PAIRS, user_table, item_table)
        if job.users[e] < 0 or job.items[e] < 0:
            continue
        x = job.mean + job.unit * predict_pair(job, e, user_table, item_table, 0)
        if x < job.low:
            x = job.low
        elif x > job.high:
            x = job.high
        x = (job.values[e] - x) / job.unit
        total += (job.weights[e] if job.weights != NULL else 1) * x * x
    job.out[chunk] = total


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
    cdef pairs_job job
    if users.shape[0] == 0:
        return
    job = pairs_job(
        users.shape[0], &users[0], &items[0], &values[0], vector(weights),
        matrix(user_table), matrix(item_table),
        user_table.shape[1], item_table.shape[1], k, mean, unit, low, high, &out[0],
    )
    with nogil:
        n_threads = threads_for(pairs_cost(job.n, k), n_threads)
        share(errors_task[floating], &job, chunks(job.n), n_threads, <floating *>NULL, 0)


# Quadratic forms of pairs: by row, so that a row's covariance is read once for all pairs that have it.

def group_pairs(
    const int32_t[::1] rows,        # IN  (n,) below n_rows; negative: unknown
    int64_t[::1] indptr,            # OUT (n_rows + 2,): the pairs of row x are places[indptr[x]:indptr[x+1]]; last the unknown
    int64_t[::1] places,            # OUT (n,) pairs by row, in their order
):
    """A stable counting sort of pairs by row."""
    cdef:
        Py_ssize_t e, row, n_rows = indptr.shape[0] - 2
        int64_t start, total = 0
    with nogil:
        for row in range(n_rows + 2):
            indptr[row] = 0
        for e in range(rows.shape[0]):
            indptr[rows[e] if rows[e] >= 0 else n_rows] += 1
        for row in range(n_rows + 1):
            start = total
            total = total + indptr[row]
            indptr[row] = start
        for e in range(rows.shape[0]):
            row = rows[e] if rows[e] >= 0 else n_rows
            places[indptr[row]] = e
            indptr[row] += 1
        # What was moved up to the end of each row is the beginning of the next one.
        for row in range(n_rows + 1, 0, -1):
            indptr[row] = indptr[row - 1]
        indptr[0] = 0


cdef struct forms_job:
    Py_ssize_t n_rows, ldc, ld, k
    const int64_t *indptr
    const int64_t *places
    const int32_t *partners
    const void *covariances
    const void *table
    const void *unknown
    double *out


cdef void forms_task(void *context, Py_ssize_t chunk, floating *work) noexcept nogil:
    cdef:
        forms_job *job = <forms_job *>context
        const floating *covariances = <const floating *>job.covariances
        int64_t begin = chunk * CHUNK_ROWS, last = job.indptr[job.n_rows]
        int64_t stop = min(last, (chunk + 1) * CHUNK_ROWS), end
        Py_ssize_t row = row_of(job.indptr, job.n_rows, begin)
    while begin < stop:
        end = min(stop, job.indptr[row + 1])
        if floating is float:
            OPS.f32.packed_forms(job.k, covariances + row * job.ldc, end - begin, last - begin,
                                 job.places + begin, job.partners, <const float *>job.table, job.ld, <const float *>job.unknown, job.out)
        else:
            OPS.f64.packed_forms(job.k, covariances + row * job.ldc, end - begin, last - begin,
                                 job.places + begin, job.partners, <const double *>job.table, job.ld, <const double *>job.unknown, job.out)
        begin = end
        row = row + 1


cdef inline Py_ssize_t row_of(const int64_t *indptr, Py_ssize_t n_rows, int64_t place) noexcept nogil:
    """The last row that begins at or before a place."""
    cdef Py_ssize_t low = 0, high = n_rows, middle
    while high - low > 1:
        middle = low + (high - low) // 2
        if indptr[middle] <= place:
            low = middle
        else:
            high = middle
    return low


def pair_forms(
    const int64_t[::1] indptr,      # IN  (n_rows + 1,) by group_pairs
    const int64_t[::1] places,      # IN  (n,)
    const int32_t[::1] partners,    # IN  (n,) of each pair, its row of the table; negative: unknown
    const floating[:, ::1] covariances,  # IN  (n_rows, ldc) packed, see covariances in _core.pyx
    const floating[:, ::1] table,   # IN  (n_others, ld)
    const floating[::1] unknown,    # IN  (ld,) the row that unknown partners have
    Py_ssize_t k,
    int n_threads,
    double[::1] out,                # IN, OUT (n,) by pair
):
    """out += z' C z of each pair, with C the covariance of its row and z = [row of its partner ; 1]."""
    cdef forms_job job
    if places.shape[0] == 0:
        return
    job = forms_job(
        indptr.shape[0] - 1, covariances.shape[1], table.shape[1], k, &indptr[0], &places[0], &partners[0],
        &covariances[0, 0], matrix(table), &unknown[0], &out[0],
    )
    with nogil:
        n_threads = threads_for(places.shape[0] * (10 + 0.05 * k * k), n_threads)
        share(forms_task[floating], &job, chunks(places.shape[0]), n_threads, <floating *>NULL, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Top-n: users in groups, items in packed blocks, scores only ever in a small buffer

# A packed row of BLOCK_ITEMS reals is whole vectors and an odd number of cache lines: else the few columns that a
# register tile reads, one piece of every row, would all fall on the same cache sets.
cdef enum:
    GROUP_USERS = 128       # users that share one pass over the packed items
    STRIP_USERS = 16        # of these at a time, a whole number of register tiles
    BLOCK_ITEMS = 400       # items of one packed block
    GROUPS_PER_THREAD = 4
    PIECE = 128             # terms of variances that are summed at a time: their factors stay in the second-level cache


cdef inline void product(Py_ssize_t n, Py_ssize_t rows, Py_ssize_t cols, const floating *a, Py_ssize_t lda,
                         const floating *b, Py_ssize_t ldb, const floating *start, floating *out,
                         Py_ssize_t ldo) noexcept nogil:
    if floating is float:
        OPS.f32.product(n, rows, cols, a, lda, b, ldb, start, out, ldo)
    else:
        OPS.f64.product(n, rows, cols, a, lda, b, ldb, start, out, ldo)


cdef inline void add_product(Py_ssize_t n, Py_ssize_t rows, Py_ssize_t cols, const floating *a, Py_ssize_t lda,
                             const floating *b, Py_ssize_t ldb, floating *out, Py_ssize_t ldo) noexcept nogil:
    if floating is float:
        OPS.f32.add_product(n, rows, cols, a, lda, b, ldb, out, ldo)
    else:
        OPS.f64.add_product(n, rows, cols, a, lda, b, ldb, out, ldo)


cdef inline Py_ssize_t next_above(const floating *scores, Py_ssize_t start, Py_ssize_t n,
                                  floating threshold) noexcept nogil:
    if floating is float:
        return OPS.f32.next_above(scores, start, n, threshold)
    else:
        return OPS.f64.next_above(scores, start, n, threshold)


cdef struct pack_job:
    Py_ssize_t n_items, ld, k
    const void *table
    void *packed


cdef void pack_task(void *context, Py_ssize_t block, floating *work) noexcept nogil:
    cdef:
        pack_job *job = <pack_job *>context
        const floating *table = <const floating *>job.table
        floating *packed = <floating *>job.packed + block * job.k * BLOCK_ITEMS
        Py_ssize_t i, j, first = block * BLOCK_ITEMS
    for i in range(first, min(job.n_items, first + BLOCK_ITEMS)):
        for j in range(job.k):
            packed[j * BLOCK_ITEMS + i - first] = table[i * job.ld + j]


def pack_items(
    const floating[:, ::1] table,   # IN  (n_items, ld)
    Py_ssize_t k,
    floating[:, :, ::1] packed,     # OUT (n_blocks, k, BLOCK_ITEMS), zero at the call
    int n_threads,
):
    """packed[b, j, i] := table[b * BLOCK_ITEMS + i, j], so that a vector holds one factor of neighbouring items."""
    cdef pack_job job
    if table.shape[0] == 0 or k == 0:
        return
    job = pack_job(table.shape[0], table.shape[1], k, &table[0, 0], &packed[0, 0, 0])
    with nogil:
        n_threads = threads_for(table.shape[0] * k / ENTRIES_PER_NS, n_threads)
        share(pack_task[floating], &job, packed.shape[0], n_threads, <floating *>NULL, 0)


def top_n_block():
    """Items of one packed block."""
    return BLOCK_ITEMS


def top_n_workspace(Py_ssize_t k, bint limits=False):
    """Reals of workspace that one thread needs for `top_n`, with `limits` or without."""
    return panel_size(k) + STRIP_USERS * BLOCK_ITEMS + (limits_size() if limits else 0)


cdef inline Py_ssize_t limits_size() noexcept nogil:
    return GROUP_USERS * BLOCK_ITEMS + PIECE * (GROUP_USERS + BLOCK_ITEMS)


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


cdef inline int64_t first_seen(const int64_t *indptr, const int32_t *indices, Py_ssize_t user,
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


cdef inline int64_t hide_seen(const int32_t *indices, int64_t place, int64_t end, Py_ssize_t first_item,
                              floating *row) noexcept nogil:
    """Give a block's items that the user has rated the score -inf; returns the place of the next one."""
    while place < end and indices[place] < first_item + BLOCK_ITEMS:
        row[indices[place] - first_item] = -INFINITY
        place = place + 1
    return place


# Limits: a score is the prediction and n_std standard deviations of what is not known of it. Its variance,
#
#     sigma^2 (z_i' C_u z_i + z_u' C_i z_u + sigma^2 sum_j C_u[j, j] C_i[j, j]),     j < k,
#
# with C packed (see covariances in _core.pyx) and z = [factors ; 1], is a product of a vector of the user with one of
# the item, of 2 (k+1)(k+2)/2 + k terms: [C_u, z_u z_u', sigma^2 diag C_u] and [z_i z_i', C_i, diag C_i].

cdef struct limits_job:
    Py_ssize_t terms, n_items, ld_users, ld_items
    const int32_t *rows             # of the entries of a packed matrix
    const int32_t *columns
    const void *users
    const void *items
    double n_std, sigma2


cdef inline void set_products(const limits_job *limits, Py_ssize_t first, Py_ssize_t n_terms, Py_ssize_t k,
                              const floating *z, Py_ssize_t n, floating *out, Py_ssize_t ldo) noexcept nogil:
    """out (n_terms, n) := entries of z z' for n vectors z, the columns of z (k, ldo) and ones."""
    cdef:
        Py_ssize_t e, i
        const floating *x
        const floating *y
    for e in range(n_terms):
        x = z + limits.rows[first + e] * ldo
        y = z + limits.columns[first + e] * ldo
        if limits.columns[first + e] == k:
            for i in range(n):
                out[e * ldo + i] = 1
        elif limits.rows[first + e] == k:
            for i in range(n):
                out[e * ldo + i] = y[i]
        else:
            for i in range(n):
                out[e * ldo + i] = x[i] * y[i]


cdef inline void set_covariances(const floating *covariances, Py_ssize_t ld, Py_ssize_t n_terms, Py_ssize_t n,
                                 Py_ssize_t width, floating *out) noexcept nogil:
    """out (n_terms, width) := the first entries of n rows, as columns, and zeros behind."""
    cdef Py_ssize_t e, i
    for e in range(n_terms):
        for i in range(n):
            out[e * width + i] = covariances[i * ld + e]
        for i in range(n, width):
            out[e * width + i] = 0


cdef inline void set_diagonals(const floating *covariances, Py_ssize_t ld, Py_ssize_t first, Py_ssize_t n_terms,
                               Py_ssize_t n, Py_ssize_t width, double scale, floating *out) noexcept nogil:
    """out (n_terms, width) := `scale` times the diagonals, from entry `first` on, of n rows, as columns."""
    cdef Py_ssize_t e, i, place
    for e in range(n_terms):
        place = (first + e) * (first + e + 3) // 2
        for i in range(n):
            out[e * width + i] = <floating>(scale * covariances[i * ld + place])
        for i in range(n, width):
            out[e * width + i] = 0


cdef inline void add_variances(const limits_job *limits, int part, Py_ssize_t first, Py_ssize_t n_terms, Py_ssize_t k,
                               const floating *panel, Py_ssize_t m, Py_ssize_t first_user, const floating *packed,
                               Py_ssize_t first_item, floating *work) noexcept nogil:
    """Add some terms of one part of the sum to the variances (GROUP_USERS, BLOCK_ITEMS) at the beginning of work."""
    cdef:
        floating *variances = work
        floating *of_items = work + GROUP_USERS * BLOCK_ITEMS   # (PIECE, BLOCK_ITEMS)
        floating *of_users = of_items + PIECE * BLOCK_ITEMS     # (PIECE, STRIP_USERS)
        const floating *users = <const floating *>limits.users + first_user * limits.ld_users
        const floating *items = <const floating *>limits.items + first_item * limits.ld_items
        const floating *z
        Py_ssize_t n_items = min(<Py_ssize_t>BLOCK_ITEMS, limits.n_items - first_item), strip, rows, j
    if part == 0:
        set_products(limits, first, n_terms, k, packed, BLOCK_ITEMS, of_items, BLOCK_ITEMS)
    elif part == 1:
        set_covariances(items + first, limits.ld_items, n_terms, n_items, BLOCK_ITEMS, of_items)
    else:
        set_diagonals(items, limits.ld_items, first, n_terms, n_items, BLOCK_ITEMS, 1, of_items)
    for j in range((m + STRIP_USERS - 1) // STRIP_USERS):
        strip = j * STRIP_USERS
        rows = min(<Py_ssize_t>STRIP_USERS, m - strip)
        z = panel + strip * k
        if part == 0:
            set_covariances(users + strip * limits.ld_users + first, limits.ld_users, n_terms, rows, STRIP_USERS,
                            of_users)
        elif part == 1:
            set_products(limits, first, n_terms, k, z, STRIP_USERS, of_users, STRIP_USERS)
        else:
            set_diagonals(users + strip * limits.ld_users, limits.ld_users, first, n_terms, rows, STRIP_USERS,
                          limits.sigma2, of_users)
        # variances (STRIP_USERS,BLOCK_ITEMS) += of_users' (STRIP_USERS,terms) of_items (terms,BLOCK_ITEMS)
        add_product(n_terms, 1 if rows == 1 else STRIP_USERS, BLOCK_ITEMS, of_users, STRIP_USERS, of_items, BLOCK_ITEMS,
                    variances + strip * BLOCK_ITEMS, BLOCK_ITEMS)


cdef inline void find_variances(const limits_job *limits, Py_ssize_t k, const floating *panel, Py_ssize_t m,
                                Py_ssize_t first_user, const floating *packed, Py_ssize_t first_item,
                                floating *work) noexcept nogil:
    """work (GROUP_USERS, BLOCK_ITEMS) := the variances over sigma^2 of a group's users with a block's items."""
    cdef:
        int part
        Py_ssize_t i, piece, first, n_terms
    for i in range((m + STRIP_USERS - 1) // STRIP_USERS * STRIP_USERS * BLOCK_ITEMS):
        work[i] = 0
    for part in range(3):
        n_terms = limits.terms if part < 2 else k
        for piece in range((n_terms + PIECE - 1) // PIECE):
            first = piece * PIECE
            add_variances(limits, part, first, min(<Py_ssize_t>PIECE, n_terms - first), k, panel, m, first_user, packed,
                          first_item, work)


cdef inline void add_deviations(const limits_job *limits, const floating *variances, floating *scores) noexcept nogil:
    """scores (BLOCK_ITEMS,) += n_std standard deviations."""
    if floating is float:
        OPS.f32.add_deviations(BLOCK_ITEMS, limits.n_std, limits.sigma2, variances, scores)
    else:
        OPS.f64.add_deviations(BLOCK_ITEMS, limits.n_std, limits.sigma2, variances, scores)


cdef struct top_n_job:
    const limits_job *limits        # or NULL: scores are predictions
    const int32_t *users
    Py_ssize_t m, group_users, n_groups, n_slices, ld, n_blocks, k, n
    const void *table
    const void *packed
    const void *bias
    const int64_t *seen_indptr      # or NULL: nothing is left out
    const int32_t *seen_indices
    int32_t *top_items
    void *top_scores


cdef void top_n_task(void *context, Py_ssize_t task, floating *work) noexcept nogil:
    """The best of one slice of the items for one group of users."""
    cdef:
        top_n_job *job = <top_n_job *>context
        Py_ssize_t k = job.k, n = job.n, group = task % job.n_groups, piece = task // job.n_groups
        Py_ssize_t first = group * job.group_users, m = min(job.group_users, job.m - first)
        Py_ssize_t begin = part_start(job.n_blocks, piece, job.n_slices)
        Py_ssize_t stop = part_start(job.n_blocks, piece + 1, job.n_slices)
        const int32_t *users = job.users + first
        const floating *table = <const floating *>job.table
        int32_t *top_items = job.top_items + (piece * job.m + first) * n
        floating *top_scores = <floating *>job.top_scores + (piece * job.m + first) * n
        floating *panel = work                                  # (strips, k, STRIP_USERS)
        floating *scores = work + panel_size(k)                 # (STRIP_USERS, BLOCK_ITEMS)
        floating *variances = scores + STRIP_USERS * BLOCK_ITEMS    # (GROUP_USERS, BLOCK_ITEMS), where there are limits
        const floating *packed
        Py_ssize_t block, strip, rows, r, i, j, n_strips = (m + STRIP_USERS - 1) // STRIP_USERS
        int64_t[GROUP_USERS] seen
    for i in range(n_strips * STRIP_USERS * k):
        panel[i] = 0
    for r in range(m):
        for j in range(k):
            panel[(r // STRIP_USERS) * STRIP_USERS * k + j * STRIP_USERS + r % STRIP_USERS] = \
                table[users[r] * job.ld + j]
        seen[r] = 0
        if job.seen_indptr != NULL:
            seen[r] = first_seen(job.seen_indptr, job.seen_indices, users[r], begin * BLOCK_ITEMS)
        for i in range(n):
            top_scores[r * n + i] = -INFINITY
            top_items[r * n + i] = -1
    for block in range(begin, stop):
        packed = <const floating *>job.packed + block * k * BLOCK_ITEMS if k > 0 else NULL
        if job.limits != NULL:
            find_variances(job.limits, k, panel, m, first, packed, block * BLOCK_ITEMS, variances)
        for j in range(n_strips):
            strip = j * STRIP_USERS
            rows = min(<Py_ssize_t>STRIP_USERS, m - strip)
            # scores (STRIP_USERS,BLOCK_ITEMS) = bias (1,BLOCK_ITEMS) + panel' (STRIP_USERS,k) packed (k,BLOCK_ITEMS)
            product(k, 1 if rows == 1 else STRIP_USERS, BLOCK_ITEMS, panel + strip * k, STRIP_USERS,
                    packed, BLOCK_ITEMS, <const floating *>job.bias + block * BLOCK_ITEMS, scores, BLOCK_ITEMS)
            for r in range(strip, strip + rows):
                if job.limits != NULL:
                    add_deviations(job.limits, variances + r * BLOCK_ITEMS, scores + (r - strip) * BLOCK_ITEMS)
                if job.seen_indptr != NULL:
                    seen[r] = hide_seen(job.seen_indices, seen[r], job.seen_indptr[users[r] + 1], block * BLOCK_ITEMS,
                                        scores + (r - strip) * BLOCK_ITEMS)
                push_above(scores + (r - strip) * BLOCK_ITEMS, block * BLOCK_ITEMS, top_scores + r * n,
                           top_items + r * n, n)
    for r in range(m):
        sort_heap(top_scores + r * n, top_items + r * n, n)


cdef list describe_limits(limits_job *described, limits, const floating *_):
    """Fill the C description of `limits`; returns the arrays that it points into, to be kept as long as it is used.

    Attributes of limits, any Python object:

        users        IN  (m, ld) packed covariances of the users, in their order
        items        IN  (n_items, ld) those of the items, of which there may be fewer than in whole blocks
        rows, columns  IN  (terms,) int32 of the entries of a packed matrix: its lower triangle, row by row
        n_std        IN
        sigma2       IN
    """
    cdef:
        list held = [limits.users, limits.items, limits.rows, limits.columns]
        const floating[:, ::1] users = held[0]
        const floating[:, ::1] items = held[1]
        const int32_t[::1] rows = held[2]
        const int32_t[::1] columns = held[3]
    described.terms = rows.shape[0]
    described.n_items = items.shape[0]
    described.ld_users = users.shape[1]
    described.ld_items = items.shape[1]
    described.rows = vector(rows)
    described.columns = vector(columns)
    described.users = matrix(users)
    described.items = matrix(items)
    described.n_std = limits.n_std
    described.sigma2 = limits.sigma2
    return held


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
    limits=None,                    # IN  or None; see describe_limits
):
    """top_items[slice * m + u] := the n items of the slice with the highest bias_i + p_u . q_i, and with `limits` the
    highest bias_i + p_u . q_i + n_std sqrt(variance of u and i)"""
    cdef:
        top_n_job job
        limits_job described
        list held = [] if limits is None else describe_limits(&described, limits, &work[0, 0])
        const floating *packed_items = &packed[0, 0, 0] if packed.shape[0] > 0 and packed.shape[1] > 0 else NULL
        Py_ssize_t m = users.shape[0], group = GROUP_USERS
        int n_threads = work.shape[0]
    if top_items.shape[0] == 0 or top_items.shape[1] == 0:
        return
    # Few users: smaller groups, so that every thread has several, and none is left with a large one at the end.
    while group > STRIP_USERS and m < group * GROUPS_PER_THREAD * n_threads:
        group = group // 2
    if m < group * n_threads:
        group = (m + n_threads - 1) // n_threads
    job = top_n_job(
        NULL, &users[0], m, group, (m + group - 1) // group, n_slices, table.shape[1], packed.shape[0], packed.shape[1],
        top_items.shape[1], &table[0, 0], packed_items,
        &bias[0], vector(seen_indptr),
        vector(seen_indices), &top_items[0, 0], &top_scores[0, 0],
    )
    if limits is not None:
        job.limits = &described
    with nogil:
        n_threads = threads_for(scores_cost(m, bias.shape[0], job.k), n_threads)
        share(top_n_task[floating], &job, job.n_groups * n_slices, n_threads, &work[0, 0], work.shape[1])
    del held


cdef inline double scores_cost(Py_ssize_t m, Py_ssize_t n_items, Py_ssize_t k) noexcept nogil:
    """Nanoseconds that the scores of all items take for m users, roughly."""
    return <double>m * n_items * (0.2 + 0.05 * k)


def top_n_nanoseconds(Py_ssize_t m, Py_ssize_t n_items, Py_ssize_t k):
    """How long `top_n` takes one thread, roughly."""
    return scores_cost(m, n_items, k)

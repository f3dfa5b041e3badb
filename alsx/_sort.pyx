# The compiled module of the ratings: from triples of ids to CSR rows, by stable counting sorts.
#
# A part is a contiguous range of the entries, for one thread. First each part counts its keys; then the caller turns
# counts into places: part t writes key x from places[t, x] on, after all smaller keys and after x in the parts before
# t; then each part moves its entries there. Every entry has one place, so that the result is the same for any number
# of parts. The code of entry p is table[raw[p] - low]. As in _core.pyx, nothing is checked here.

from libc.stdint cimport int32_t, int64_t

from alsx._pool cimport alsx_add, part_start, run, threads_for


ctypedef fused raw_t:
    int32_t
    int64_t

ctypedef fused payload_t:
    int32_t
    int64_t
    float
    double


# Nanoseconds that a thread takes for an entry, roughly.
cdef enum:
    MARK_NS = 1
    COUNT_NS = 2
    MOVE_NS = 8


cdef struct ids_t:
    const void *raw                 # (n,)
    bint wide                       # of int64, else of int32
    int64_t low
    const int32_t *table            # (span,), or NULL


cdef inline ids_t ids_of(const raw_t[::1] raw, int64_t low, const int32_t[::1] table) noexcept:
    return ids_t(&raw[0], sizeof(raw_t) == 8, low, &table[0])


cdef inline int64_t offset_of(const ids_t *ids, Py_ssize_t p) noexcept nogil:
    return ((<const int64_t *>ids.raw)[p] if ids.wide else (<const int32_t *>ids.raw)[p]) - ids.low


cdef inline int32_t code_of(const ids_t *ids, Py_ssize_t p) noexcept nogil:
    return ids.table[offset_of(ids, p)]


cdef struct payloads_t:
    const void *payload             # (n,)
    void *moved                     # (n,)
    bint wide                       # 8 bytes an entry, else 4: only moved, whatever they mean


cdef inline payloads_t payloads_of(const payload_t[::1] payload, payload_t[::1] moved) noexcept:
    return payloads_t(&payload[0], &moved[0], sizeof(payload_t) == 8)


cdef inline void move(const payloads_t *payloads, Py_ssize_t p, int64_t place) noexcept nogil:
    if payloads.wide:
        (<int64_t *>payloads.moved)[place] = (<const int64_t *>payloads.payload)[p]
    else:
        (<int32_t *>payloads.moved)[place] = (<const int32_t *>payloads.payload)[p]


cdef struct sort_job:
    Py_ssize_t n, n_parts, n_keys
    ids_t key, other
    const int64_t *indptr
    Py_ssize_t n_rows
    const int32_t *codes
    payloads_t payloads
    unsigned char *seen
    int64_t *counts
    int32_t *indices


cdef void mark_task(void *context, Py_ssize_t part, void *work) noexcept nogil:
    cdef:
        sort_job *job = <sort_job *>context
        ids_t ids = job.key
        unsigned char *seen = job.seen + part * job.n_keys
        Py_ssize_t p
    for p in range(part_start(job.n, part, job.n_parts), part_start(job.n, part + 1, job.n_parts)):
        seen[offset_of(&ids, p)] = 1


def mark_ids(
    const raw_t[::1] raw,           # IN  (n,)
    int64_t low,                    # IN  the least of them
    unsigned char[:, ::1] seen,     # OUT (n_parts, span), zero at the call
):
    """seen[t, raw[p] - low] := 1 for the entries p of part t."""
    cdef sort_job job
    if raw.shape[0] == 0:
        return
    job.n, job.n_parts, job.n_keys = raw.shape[0], seen.shape[0], seen.shape[1]
    job.key = ids_t(&raw[0], sizeof(raw_t) == 8, low, NULL)
    job.seen = &seen[0, 0]
    with nogil:
        run(mark_task, &job, job.n_parts, threads_for(job.n * MARK_NS, <int>job.n_parts), NULL, 0)


cdef struct order_job:
    Py_ssize_t n, n_parts
    ids_t user, item
    int64_t disorders[3]            # entries that repeat a pair, whose item falls, whose user falls


cdef void order_task(void *context, Py_ssize_t part, void *work) noexcept nogil:
    cdef:
        order_job *job = <order_job *>context
        ids_t users = job.user, items = job.item
        Py_ssize_t p = part_start(job.n, part, job.n_parts), stop = part_start(job.n, part + 1, job.n_parts)
        int32_t user, item, last_user, last_item
        bint repeats = False, falls = False
    # A part begins with the entry before it.
    p = max(p, 1)
    if p >= stop:
        return
    last_user, last_item = code_of(&users, p - 1), code_of(&items, p - 1)
    for p in range(p, stop):
        user, item = code_of(&users, p), code_of(&items, p)
        if user < last_user:
            alsx_add(&job.disorders[2], 1)
            return
        if user == last_user:
            repeats |= item == last_item
            falls |= item < last_item
        last_user, last_item = user, item
    alsx_add(&job.disorders[0], repeats)
    alsx_add(&job.disorders[1], falls)


def sorted_state(
    const raw_t[::1] user_raw,      # IN  (n,)
    int64_t user_low,
    const int32_t[::1] user_table,  # IN  (user_span,)
    const raw_t[::1] item_raw,      # IN  (n,)
    int64_t item_low,
    const int32_t[::1] item_table,  # IN  (item_span,)
    int n_parts,
):
    """3 where entries ascend by user and within a user by item; 2 with repeats, 1 where by user alone, else 0."""
    cdef order_job job
    if user_raw.shape[0] == 0:
        return 3
    job.n, job.n_parts = user_raw.shape[0], n_parts
    job.user, job.item = ids_of(user_raw, user_low, user_table), ids_of(item_raw, item_low, item_table)
    job.disorders[0] = job.disorders[1] = job.disorders[2] = 0
    with nogil:
        run(order_task, &job, job.n_parts, threads_for(job.n * COUNT_NS, <int>job.n_parts), NULL, 0)
    return 0 if job.disorders[2] else 1 if job.disorders[1] else 2 if job.disorders[0] else 3


cdef void code_ids_task(void *context, Py_ssize_t part, void *work) noexcept nogil:
    cdef:
        sort_job *job = <sort_job *>context
        ids_t ids = job.key
        int32_t *codes = job.indices
        Py_ssize_t p
    for p in range(part_start(job.n, part, job.n_parts), part_start(job.n, part + 1, job.n_parts)):
        codes[p] = code_of(&ids, p)


def code_ids(
    const raw_t[::1] raw,           # IN  (n,)
    int64_t low,
    const int32_t[::1] table,       # IN  (span,)
    int n_parts,
    int32_t[::1] codes,             # OUT (n,), which may be the memory of `raw`
):
    """codes[p] := the code of entry p."""
    cdef sort_job job
    if raw.shape[0] == 0:
        return
    job.n, job.n_parts = raw.shape[0], n_parts
    job.key, job.indices = ids_of(raw, low, table), &codes[0]
    with nogil:
        run(code_ids_task, &job, job.n_parts, threads_for(job.n * MARK_NS, <int>job.n_parts), NULL, 0)


cdef void count_ids_task(void *context, Py_ssize_t part, void *work) noexcept nogil:
    cdef:
        sort_job *job = <sort_job *>context
        ids_t ids = job.key
        int64_t *counts = job.counts + part * job.n_keys
        Py_ssize_t p
    for p in range(part_start(job.n, part, job.n_parts), part_start(job.n, part + 1, job.n_parts)):
        counts[code_of(&ids, p)] += 1


def count_ids(
    const raw_t[::1] raw,           # IN  (n,)
    int64_t low,
    const int32_t[::1] table,       # IN  (span,)
    int64_t[:, ::1] counts,         # OUT (n_parts, n_codes), zero at the call
):
    """counts[t, x] := how many entries of part t have the code x."""
    cdef sort_job job
    if raw.shape[0] == 0:
        return
    job.n, job.n_parts, job.n_keys = raw.shape[0], counts.shape[0], counts.shape[1]
    job.key = ids_of(raw, low, table)
    job.counts = &counts[0, 0]
    with nogil:
        run(count_ids_task, &job, job.n_parts, threads_for(job.n * COUNT_NS, <int>job.n_parts), NULL, 0)


cdef void move_ids_task(void *context, Py_ssize_t part, void *work) noexcept nogil:
    cdef:
        sort_job *job = <sort_job *>context
        ids_t keys = job.key, others = job.other
        payloads_t payloads = job.payloads
        int64_t *places = job.counts + part * job.n_keys
        int32_t *indices = job.indices
        Py_ssize_t p
        int64_t place
        int32_t key
    for p in range(part_start(job.n, part, job.n_parts), part_start(job.n, part + 1, job.n_parts)):
        key = code_of(&keys, p)
        place = places[key]
        places[key] = place + 1
        indices[place] = code_of(&others, p)
        move(&payloads, p, place)


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
    cdef sort_job job
    if key_raw.shape[0] == 0:
        return
    job.n, job.n_parts, job.n_keys = key_raw.shape[0], places.shape[0], places.shape[1]
    job.key, job.other = ids_of(key_raw, key_low, key_table), ids_of(other_raw, other_low, other_table)
    job.payloads = payloads_of(payload, moved)
    job.counts, job.indices = &places[0, 0], &indices[0]
    with nogil:
        run(move_ids_task, &job, job.n_parts, threads_for(job.n * MOVE_NS, <int>job.n_parts), NULL, 0)


cdef void count_codes_task(void *context, Py_ssize_t part, void *work) noexcept nogil:
    cdef:
        sort_job *job = <sort_job *>context
        int64_t *counts = job.counts + part * job.n_keys
        Py_ssize_t p
    for p in range(part_start(job.n, part, job.n_parts), part_start(job.n, part + 1, job.n_parts)):
        counts[job.codes[p]] += 1


def count_codes(
    const int32_t[::1] codes,       # IN  (n,)
    int64_t[:, ::1] counts,         # OUT (n_parts, n_codes), zero at the call
):
    """counts[t, x] := how many entries of part t are x."""
    cdef sort_job job
    if codes.shape[0] == 0:
        return
    job.n, job.n_parts, job.n_keys = codes.shape[0], counts.shape[0], counts.shape[1]
    job.codes, job.counts = &codes[0], &counts[0, 0]
    with nogil:
        run(count_codes_task, &job, job.n_parts, threads_for(job.n * COUNT_NS, <int>job.n_parts), NULL, 0)


cdef inline Py_ssize_t row_of(const int64_t *indptr, Py_ssize_t n_rows, Py_ssize_t p) noexcept nogil:
    """The row that holds entry p: the last one that begins at or before p."""
    cdef Py_ssize_t row = 0, above = n_rows, middle
    while above - row > 1:
        middle = row + (above - row) // 2
        if indptr[middle] <= p:
            row = middle
        else:
            above = middle
    return row


cdef void transpose_task(void *context, Py_ssize_t part, void *work) noexcept nogil:
    cdef:
        sort_job *job = <sort_job *>context
        payloads_t payloads = job.payloads
        const int64_t *indptr = job.indptr
        int64_t *places = job.counts + part * job.n_keys
        Py_ssize_t p = part_start(job.n, part, job.n_parts), stop = part_start(job.n, part + 1, job.n_parts)
        Py_ssize_t row = row_of(indptr, job.n_rows, p)
        int64_t place
        int32_t index
    while p < stop:
        while indptr[row + 1] <= p:
            row = row + 1
        while p < stop and p < indptr[row + 1]:
            index = job.codes[p]
            place = places[index]
            places[index] = place + 1
            job.indices[place] = <int32_t>row
            move(&payloads, p, place)
            p = p + 1


def transpose_rows(
    const int64_t[::1] indptr,      # IN  (n_rows+1,)
    const int32_t[::1] indices,     # IN  (n,)
    const payload_t[::1] payload,   # IN  (n,)
    int64_t[:, ::1] places,         # IN, TMP (n_parts, n_columns) where each part writes each column
    int32_t[::1] rows,              # OUT (n,) by column, ascending within a column
    payload_t[::1] moved,           # OUT (n,)
):
    """Rows to columns: a stable counting sort of the entries by index."""
    cdef sort_job job
    if indices.shape[0] == 0:
        return
    job.n, job.n_parts, job.n_keys = indices.shape[0], places.shape[0], places.shape[1]
    job.indptr, job.n_rows = &indptr[0], indptr.shape[0] - 1
    job.codes, job.counts, job.indices = &indices[0], &places[0, 0], &rows[0]
    job.payloads = payloads_of(payload, moved)
    with nogil:
        run(transpose_task, &job, job.n_parts, threads_for(job.n * MOVE_NS, <int>job.n_parts), NULL, 0)


cdef enum:
    DESCENTS_ROWS = 1024            # rows of a task


cdef struct descents_job:
    const int64_t *indptr
    const int32_t *indices
    Py_ssize_t n_rows
    int64_t descents


cdef void descents_task(void *context, Py_ssize_t task, void *work) noexcept nogil:
    cdef:
        descents_job *job = <descents_job *>context
        Py_ssize_t row
        int64_t p, descents = 0
    for row in range(task * DESCENTS_ROWS, min(job.n_rows, (task + 1) * DESCENTS_ROWS)):
        for p in range(job.indptr[row] + 1, job.indptr[row + 1]):
            descents += job.indices[p] <= job.indices[p - 1]
    alsx_add(&job.descents, descents)


def count_descents(
    const int64_t[::1] indptr,      # IN  (n_rows+1,)
    const int32_t[::1] indices,     # IN  (n,)
    int n_threads,
):
    """How many entries have an index that is not above that of the entry before them in the same row.

    None: every row is sorted and without repeats. Where rows are sorted, this counts repeats.
    """
    cdef descents_job job
    if indices.shape[0] == 0:
        return 0
    job = descents_job(&indptr[0], &indices[0], indptr.shape[0] - 1, 0)
    with nogil:
        run(descents_task, &job, (job.n_rows + DESCENTS_ROWS - 1) // DESCENTS_ROWS,
            threads_for(indices.shape[0] * MARK_NS, n_threads), NULL, 0)
    return job.descents

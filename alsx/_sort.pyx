# The compiled module of the ratings: from triples of ids to CSR rows, by stable counting sorts.
#
# A part is a contiguous range of the entries, for one thread. First each part counts its keys; then the caller turns
# counts into places: part t writes key x from places[t, x] on, after all smaller keys and after x in the parts before
# t; then each part moves its entries there. Every entry has one place, so that the result is the same for any number
# of parts. The code of entry p is table[raw[p] - low]. As in _core.pyx, nothing is checked here.

from cython.parallel cimport prange
from libc.stdint cimport int32_t, int64_t

from alsx._parts cimport part_start


ctypedef fused raw_t:
    int32_t
    int64_t

ctypedef fused payload_t:
    int32_t
    int64_t
    float
    double


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

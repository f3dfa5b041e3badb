# The compiled module of files of text: lines of plain integers and decimals, which nearly all files of ratings are.
#
# Plain is what has one meaning alone: integers as Python writes them, decimals of few digits, no quotes, no blanks,
# no empty fields or lines. All else is left to a reader that knows more; here it is only recognised. As in
# _core.pyx, nothing raises.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef extern from "lines.h" nogil:
    enum:
        ALSX_STRIP
        ALSX_LOOK_AHEAD
        ALSX_LITTLE_ENDIAN
    int alsx_find_ends(const unsigned char *text, uint32_t begin, unsigned char delimiter, uint32_t *at, int count,
                       int64_t *n_lines, uint64_t *odd)
    bint alsx_returns_end_lines(const unsigned char *text, uint32_t begin)
    bint alsx_usual_integer(const unsigned char *p, uint32_t length, int64_t *value)
    int64_t alsx_count_lines(const unsigned char *text, Py_ssize_t n)


ctypedef fused id_t:
    int32_t
    int64_t

ctypedef fused real_t:
    float
    double


cdef enum:
    SKIPPED = 0
    USER = 1
    ITEM = 2
    RATING = 3
    TIME = 4

    # Results of `parse_lines` besides the number of lines.
    NOT_PLAIN = -1
    TOO_WIDE = -2

    MAX_DIGITS = 18                 # of an integer, so that it fits into 64 bits

    MAX_COLUMNS = 32                # of lines whose fields are found first
    MAX_TENTHS = 100                # decimals d.d, which nearly all ratings are


cdef inline const unsigned char *integer(const unsigned char *at, int64_t *value) noexcept nogil:
    """The integer at a place, as Python writes one: returns where it ends, NULL where there is none."""
    cdef:
        const unsigned char *begin
        bint negative = at[0] == c'-'
        int64_t x
        unsigned char digit
    at += negative
    begin = at
    x = at[0] - <int>c'0'
    if x < 0 or x > 9:
        return NULL
    at += 1
    digit = <unsigned char>(at[0] - c'0')
    if x == 0 and (negative or digit <= 9):
        return NULL
    while digit <= 9:
        x = 10 * x + digit
        at += 1
        if at - begin > MAX_DIGITS:
            return NULL
        digit = <unsigned char>(at[0] - c'0')
    value[0] = -x if negative else x
    return at


cdef inline const unsigned char *decimal(
    const unsigned char *at, int64_t limit, int max_places, int64_t *digits, int *places
) noexcept nogil:
    """The decimal at a place, digits / 10^places, digits below `limit`: returns where it ends, NULL if there is none.

    Both are exact in the type that they are divided in, so that the quotient is the number nearest to the decimal.
    """
    cdef:
        const unsigned char *begin
        bint negative = at[0] == c'-'
        int64_t x = 0
        int after = 0
        unsigned char digit
    at += negative
    begin = at
    digit = <unsigned char>(at[0] - c'0')
    while digit <= 9:
        x = 10 * x + digit
        if x >= limit:
            return NULL
        at += 1
        digit = <unsigned char>(at[0] - c'0')
    if at == begin:
        return NULL
    if at[0] == c'.':
        at += 1
        begin = at
        digit = <unsigned char>(at[0] - c'0')
        while digit <= 9:
            x = 10 * x + digit
            after += 1
            if x >= limit or after > max_places:
                return NULL
            at += 1
            digit = <unsigned char>(at[0] - c'0')
        if at == begin:
            return NULL
    if negative and x == 0:
        return NULL
    digits[0] = -x if negative else x
    places[0] = after
    return at


cdef struct columns_t:
    Py_ssize_t user, item, rating, time, last   # numbers of the columns; -1 for none


cdef inline columns_t columns_of(const int32_t[::1] roles) noexcept:
    cdef:
        columns_t columns = columns_t(-1, -1, -1, -1, roles.shape[0] - 1)
        Py_ssize_t column
    for column in range(roles.shape[0]):
        if roles[column] == USER:
            columns.user = column
        elif roles[column] == ITEM:
            columns.item = column
        elif roles[column] == RATING:
            columns.rating = column
        elif roles[column] == TIME:
            columns.time = column
    return columns


cdef inline bint usual_integer(
    const unsigned char *text, const uint32_t *ends, Py_ssize_t column, int64_t *value
) noexcept nogil:
    """Whether a column of a line is an integer; `ends` are those of its fields, behind that of the line before."""
    cdef:
        uint32_t begin = ends[column - 1] + 1
        uint32_t length = ends[column] - begin
    return alsx_usual_integer(text + begin, length, value) or integer(text + begin, value) == text + begin + length


cdef inline bint usual_id(
    const unsigned char *text, const uint32_t *ends, Py_ssize_t column, id_t *code
) noexcept nogil:
    """Whether a column of a line is an integer that ids can hold."""
    cdef int64_t value = 0
    if not usual_integer(text, ends, column, &value):
        return False
    if id_t is int32_t:
        if value != <int32_t>value:
            return False
    code[0] = <id_t>value
    return True


cdef Py_ssize_t parse_usual_lines(
    const unsigned char *text, Py_ssize_t size, unsigned char delimiter, columns_t columns, Py_ssize_t most,
    id_t *users, id_t *items, real_t *ratings, int64_t *times, const real_t *powers, int64_t limit, int max_places,
    Py_ssize_t *behind
) noexcept nogil:
    """The first lines that are of the usual form: returns how many, and sets where they end.

    Fields are found by `alsx_find_ends` in strips. Those that are no usual integers and no decimals d.d are read as by
    `parse_lines`, and must then end where the field ends. The first strip that has anything else is left, with all
    that come after.
    """
    cdef:
        # ALSX_STRIP, those of a line that began in the strip before, and the end of the line before that.
        uint32_t room[8192 + 64]
        uint32_t *found = room + 1
        uint32_t *ends
        real_t tenths[100]          # MAX_TENTHS
        uint32_t begin = 0, field, length, line_end
        int count = 0, first, places = 0
        Py_ssize_t row = 0, n_rows = 0, column, last = columns.last
        uint64_t odd = 0
        int64_t digits = 0, n_lines = 0
        const unsigned char *at
        unsigned char a, b
        bint has_returns = False
    behind[0] = 0
    if not ALSX_LITTLE_ENDIAN or size >= <int64_t>1 << 31 or last >= MAX_COLUMNS:
        return 0
    if columns.user < 0 or columns.item < 0:
        return 0
    for digits in range(MAX_TENTHS):
        tenths[digits] = <real_t>digits / powers[1]
    room[0] = <uint32_t>-1          # the text begins after it
    while begin + ALSX_STRIP + ALSX_LOOK_AHEAD <= size:
        has_returns = odd != 0      # a line break may be the first character behind them
        count = alsx_find_ends(text, begin, delimiter, found, count, &n_lines, &odd)
        if odd and not alsx_returns_end_lines(text, begin):
            return n_rows
        has_returns = has_returns or odd != 0
        begin += ALSX_STRIP
        first = 0
        while first + last < count and row < most:
            ends = found + first
            line_end = ends[last]
            if text[line_end] != c'\n':
                return n_rows
            if has_returns and text[line_end - 1] == c'\r':
                ends[last] = line_end - 1
            if columns.rating >= 0:
                field = ends[columns.rating - 1] + 1
                length = ends[columns.rating] - field
                at = text + field
                a, b = <unsigned char>(at[0] - c'0'), <unsigned char>(at[2] - c'0')
                if length == 3 and at[1] == c'.' and a <= 9 and b <= 9:
                    ratings[row] = tenths[10 * a + b]
                elif length == 1 and a <= 9:
                    ratings[row] = <real_t>a
                else:
                    if decimal(at, limit, max_places, &digits, &places) != at + length:
                        return n_rows
                    ratings[row] = <real_t>digits / powers[places]
            if columns.time >= 0 and not usual_integer(text, ends, columns.time, &times[row]):
                return n_rows
            if not usual_id(text, ends, columns.user, &users[row]):
                return n_rows
            if not usual_id(text, ends, columns.item, &items[row]):
                return n_rows
            if has_returns:
                ends[last] = line_end
            row += 1
            first += <int>last + 1
        # No line break was taken for a delimiter if there are as many as lines.
        if row != n_lines or count - first > last:
            return n_rows
        n_rows = row
        # Where the last line ended, and the fields of one that goes on in the next strip.
        count -= first
        for column in range(count + 1):
            room[column] = room[first + column]
        behind[0] = room[0] + 1 if row else 0
    return n_rows


def count_lines(const unsigned char[::1] text):
    """How many line breaks there are."""
    cdef int64_t n = 0
    if text.shape[0]:
        with nogil:
            n = alsx_count_lines(&text[0], text.shape[0])
    return n


def parse_lines(
    const unsigned char[::1] text,  # IN  whole lines of text, and a zero behind the last one
    int delimiter,                  # what stands between columns
    const int32_t[::1] roles,       # IN  (n_columns,) what each column is
    id_t[::1] users,                # OUT (n_lines,)
    id_t[::1] items,                # OUT (n_lines,)
    real_t[::1] ratings,            # OUT (n_lines,) or (0,)
    int64_t[::1] times,             # OUT (n_lines,) or (0,)
):
    """Columns of plain lines: returns how many there are, -1 where one is not plain, -2 where an id needs 64 bits."""
    cdef:
        const unsigned char *at = &text[0]
        const unsigned char *end = at + text.shape[0] - 1
        Py_ssize_t row = 0, n_columns = roles.shape[0], column, most = users.shape[0], behind = 0
        columns_t columns
        int64_t value = 0, digits = 0, limit = 1 << 24
        int places = 0, max_places = 10, status = 0
        real_t powers[23]
        unsigned char c
        unsigned char stops[256]    # what ends a field that is skipped, the zero behind the text included
    for places in range(256):
        stops[places] = places == delimiter or places in (0, c'\n', c'\r', c'"')
    if real_t is double:
        limit, max_places = <int64_t>1 << 53, 22
    columns = columns_of(roles)
    powers[0] = 1
    for places in range(1, max_places + 1):
        powers[places] = powers[places - 1] * 10
    with nogil:
        if most:
            row = parse_usual_lines(at, text.shape[0], <unsigned char>delimiter, columns, most, &users[0], &items[0],
                                    &ratings[0] if ratings.shape[0] else NULL, &times[0] if times.shape[0] else NULL,
                                    powers, limit, max_places, &behind)
        at += behind
        while at < end and status == 0:
            if row == most:
                status = NOT_PLAIN
                break
            for column in range(n_columns):
                if roles[column] == SKIPPED:
                    # Fields that nobody needs may be anything but enclosed in quotes, and empty.
                    while not stops[at[0]]:
                        at += 1
                elif roles[column] == RATING:
                    at = decimal(at, limit, max_places, &digits, &places)
                    if at == NULL:
                        status = NOT_PLAIN
                        break
                    ratings[row] = <real_t>digits / powers[places]
                else:
                    at = integer(at, &value)
                    if at == NULL:
                        status = NOT_PLAIN
                        break
                    if roles[column] == TIME:
                        times[row] = value
                    else:
                        if id_t is int32_t:
                            if value != <int32_t>value:
                                status = TOO_WIDE
                                break
                        if roles[column] == USER:
                            users[row] = <id_t>value
                        else:
                            items[row] = <id_t>value
                c = at[0]
                if column < n_columns - 1:
                    if c != delimiter:
                        status = NOT_PLAIN
                        break
                    at += 1
                else:
                    at += c == c'\r'
                    if at < end:
                        if at[0] != c'\n':
                            status = NOT_PLAIN
                            break
                        at += 1
                    elif at > end:
                        status = NOT_PLAIN
                        break
            row += 1
    return row if status == 0 else status

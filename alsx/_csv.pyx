# The compiled module of files of text: lines of plain integers and decimals, which nearly all files of ratings are.
#
# Plain is what has one meaning alone: integers as Python writes them, decimals of few digits, no quotes, no blanks,
# no empty fields or lines. All else is left to a reader that knows more; here it is only recognised. As in
# _core.pyx, nothing raises.

from libc.stdint cimport int32_t, int64_t


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
        Py_ssize_t row = 0, n_columns = roles.shape[0], column, most = users.shape[0]
        int64_t value = 0, digits = 0, limit = 1 << 24
        int places = 0, max_places = 10, status = 0
        real_t powers[23]
        unsigned char c
        unsigned char stops[256]    # what ends a field that is skipped, the zero behind the text included
    for places in range(256):
        stops[places] = places == delimiter or places in (0, c'\n', c'\r', c'"')
    if real_t is double:
        limit, max_places = <int64_t>1 << 53, 22
    powers[0] = 1
    for places in range(1, max_places + 1):
        powers[places] = powers[places - 1] * 10
    with nogil:
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

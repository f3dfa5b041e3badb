/* Where fields of plain lines of text end, and what integers of few digits say: the fast part of alsx._csv.
 *
 * A reader that goes from character to character waits at the end of each field for a branch that it could not guess. Here the
 * ends are found first, 16 characters at once and without a branch, and fields are then taken by 8 characters each, so that those
 * of several lines are under way at the same time. What is not of the usual form is left to the slow reader, line by line.
 */
#ifndef ALSX_LINES_H
#define ALSX_LINES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if (defined(__SSE2__) || defined(_M_X64)) && !defined(ALSX_ONE_LANE)
#include <emmintrin.h>
#define ALSX_SSE2 1
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
static __inline int alsx_lowest_bit(uint64_t x) {
    unsigned long at;
    _BitScanForward64(&at, x);
    return (int)at;
}
#define ALSX_LITTLE_ENDIAN 1
#else
static inline int alsx_lowest_bit(uint64_t x) { return __builtin_ctzll(x); }
#define ALSX_LITTLE_ENDIAN (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
#endif

enum {
    ALSX_STRIP = 8192,     /* characters whose ends are found at once: a multiple of 64 */
    ALSX_LOOK_AHEAD = 64   /* characters that there must be behind them */
};

static inline uint64_t alsx_word(const unsigned char *p) {
    uint64_t x;
    memcpy(&x, p, 8);
    return x;
}

/* The ends of fields and lines in 64 characters, a bit each. The number of lines is added to *n_lines; *odd gets a bit where a
 * character is '"', 0 or '\r'. */
#if defined(ALSX_SSE2)
static inline uint64_t alsx_ends(const unsigned char *p, unsigned char delimiter, int64_t *n_lines, uint64_t *odd) {
    const __m128i d = _mm_set1_epi8((char)delimiter), n = _mm_set1_epi8('\n');
    const __m128i q = _mm_set1_epi8('"'), r = _mm_set1_epi8('\r'), zero = _mm_setzero_si128();
    __m128i strange = zero, breaks = zero, sums;
    uint64_t ends = 0;
    int i;
    for (i = 0; i < 4; i++) {
        const __m128i x = _mm_loadu_si128((const __m128i *)(p + 16 * i));
        const __m128i is_break = _mm_cmpeq_epi8(x, n), is_end = _mm_or_si128(_mm_cmpeq_epi8(x, d), is_break);
        breaks = _mm_sub_epi8(breaks, is_break);
        ends |= (uint64_t)(unsigned)_mm_movemask_epi8(is_end) << (16 * i);
        strange = _mm_or_si128(strange, _mm_or_si128(_mm_cmpeq_epi8(x, q), _mm_cmpeq_epi8(x, zero)));
        strange = _mm_or_si128(strange, _mm_cmpeq_epi8(x, r));
    }
    sums = _mm_sad_epu8(breaks, zero);
    *n_lines += _mm_cvtsi128_si32(sums) + _mm_extract_epi16(sums, 4);
    *odd |= (uint64_t)(unsigned)_mm_movemask_epi8(strange);
    return ends;
}
#else
#define ALSX_LOW_7 0x7f7f7f7f7f7f7f7fu
/* 0x80 in each byte of x that is c, 0 in the others. */
static inline uint64_t alsx_equal(uint64_t x, unsigned char c) {
    const uint64_t y = x ^ (0x0101010101010101u * c);
    return ~(((y & ALSX_LOW_7) + ALSX_LOW_7) | y | ALSX_LOW_7);
}
static inline uint64_t alsx_ends(const unsigned char *p, unsigned char delimiter, int64_t *n_lines, uint64_t *odd) {
    uint64_t ends = 0;
    int i;
    for (i = 0; i < 8; i++) {
        const uint64_t x = alsx_word(p + 8 * i), breaks = alsx_equal(x, '\n'), e = alsx_equal(x, delimiter) | breaks;
        *n_lines += (int64_t)((breaks >> 7) * 0x0101010101010101u >> 56);
        *odd |= alsx_equal(x, '"') | alsx_equal(x, 0) | alsx_equal(x, '\r');
        /* The eight bits come together in the highest byte. */
        ends |= (((e >> 7) * 0x0102040810204080u) >> 56) << (8 * i);
    }
    return ends;
}
#endif

/* Writes where fields and lines end in the strip of ALSX_STRIP characters from `begin` on, from at[count] on; returns the new
 * count. The number of lines is added to *n_lines; *odd is not 0 where a character is '"', 0 or '\r'. */
static inline int alsx_find_ends(
    const unsigned char *text, uint32_t begin, unsigned char delimiter, uint32_t *at, int count, int64_t *n_lines, uint64_t *odd
) {
    uint32_t first;
    *odd = 0;
    for (first = begin; first < begin + ALSX_STRIP; first += 64) {
        uint64_t ends = alsx_ends(text + first, delimiter, n_lines, odd);
        while (ends) {
            at[count++] = first + (uint32_t)alsx_lowest_bit(ends);
            ends &= ends - 1;
        }
    }
    return count;
}

/* Whether the strip has neither '"' nor 0, and all of its carriage returns stand before a line break. */
static inline int alsx_returns_end_lines(const unsigned char *text, uint32_t begin) {
    const unsigned char *p = text + begin;
    unsigned char wrong = 0;
    int i;
    /* Without a branch, so that compilers take many at once. */
    for (i = 0; i < ALSX_STRIP; i++)
        wrong |= (unsigned char)((p[i] == '"') | (p[i] == 0) | ((p[i] == '\r') & (p[i + 1] != '\n')));
    return !wrong;
}

/* The number of 1 to 8 digits that is the `length` characters from p on, where 8 can be read: returns whether they are digits. */
static inline int alsx_digits(const unsigned char *p, uint32_t length, uint64_t *value) {
    /* Digits as numbers, the last one in the highest byte, and zeros for the places before the first. */
    uint64_t x = (alsx_word(p) ^ 0x3030303030303030u) << (8 * (8 - length));
    const uint64_t wrong = (x | (x + 0x7676767676767676u)) & 0x8080808080808080u;
    /* Pairs of digits, then of pairs, then of fours. */
    x = (x * (256 * 10 + 1) >> 8) & 0x00ff00ff00ff00ffu;
    x = (x * (65536 * 100 + 1) >> 16) & 0x0000ffff0000ffffu;
    *value = x * (4294967296u * (uint64_t)10000 + 1) >> 32;
    return wrong == 0;
}

/* The integer of 1 to 16 digits, without a needless 0, that is the `length` characters from p on: returns whether there is one. */
static inline int alsx_usual_integer(const unsigned char *p, uint32_t length, int64_t *value) {
    uint64_t high = 0, low;
    uint32_t n = length;
    if (length - 1 > 15 || (*p == '0' && length > 1)) return 0;
    if (length > 8) {
        n = 8;
        if (!alsx_digits(p, length - 8, &high)) return 0;
        p += length - 8;
    }
    if (!alsx_digits(p, n, &low)) return 0;
    *value = (int64_t)(high * 100000000u + low);
    return 1;
}

/* How many lines end in the text. */
static inline int64_t alsx_count_lines(const unsigned char *text, ptrdiff_t n) {
    int64_t total = 0;
    ptrdiff_t begin, p;
    /* Sums of bytes, which compilers make for 16 or more at once, as long as none overflows. */
    for (begin = 0; begin < n; begin += 255 * 16) {
        unsigned char sums[16] = {0};
        const ptrdiff_t end = begin + 255 * 16 < n ? begin + 255 * 16 : n;
        int i;
        for (p = begin; p + 16 <= end; p += 16)
            for (i = 0; i < 16; i++) sums[i] = (unsigned char)(sums[i] + (text[p + i] == '\n'));
        for (; p < end; p++) total += text[p] == '\n';
        for (i = 0; i < 16; i++) total += sums[i];
    }
    return total;
}

#endif

/* Normal random numbers that depend on a key and a position alone, so that rows may be drawn in any order by any thread.
 *
 * Philox4x32-10, a counter-based generator (J. Salmon, M. Moraes, R. Dror, D. Shaw, 2011, Parallel random numbers: as easy
 * as 1, 2, 3, SC '11), and the transform of G. E. P. Box and M. E. Muller (1958, A note on the generation of random normal
 * deviates, Annals of Mathematical Statistics 29(2), 610-611). Its logarithm, sine and cosine are polynomials without
 * branches: at small ranks those of the C library take as long as all the rest of a row solve, and differ between platforms.
 *
 * This file is compiled once, with the flags of every processor: multiply-adds that one instruction set fuses and another
 * does not would make other draws of the same seed.
 */
#include "normals.h"

#include <math.h>
#include <string.h>

void alsx_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    int round;
    for (round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)b;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* -log of the middle of the word's part of (0, 1), one of 2^32 equal ones; to 13 digits. */
static double minus_log(uint32_t word) {
    double u = word + 0.5, s, t;
    uint64_t bits;
    int64_t exponent;
    memcpy(&bits, &u, 8);
    /* u = 2^exponent m, m from 1/sqrt(2) to sqrt(2) */
    bits -= 0x3FE6A09E667F3BCDu;
    exponent = (int64_t)bits >> 52;
    bits = (bits & 0xFFFFFFFFFFFFFu) + 0x3FE6A09E667F3BCDu;
    memcpy(&u, &bits, 8);
    s = (u - 1) / (u + 1); /* log m = 2 artanh s */
    t = s * s;
    t = 1 + t * (1. / 3 + t * (1. / 5 + t * (1. / 7 + t * (1. / 9 + t * (1. / 11 + t * (1. / 13 + t * (1. / 15)))))));
    return (32 - (double)exponent) * 0.6931471805599453 - 2 * s * t;
}

/* Cosine and sine of a full turn times the middle of the word's part of (0, 1), an eighth of a turn earlier; to 11 digits. */
static void cosine_sine(uint32_t word, double *cosine, double *sine) {
    uint32_t quarter = word >> 30;
    double x = (((double)(word & 0x3FFFFFFFu) + 0.5) * 0x1p-30 - 0.5) * 1.5707963267948966, t = x * x, c, s;
    double sign_c = quarter == 1 || quarter == 2 ? -1 : 1, sign_s = quarter & 2 ? -1 : 1;
    c = 1 + t * (-1. / 2 + t * (1. / 24 + t * (-1. / 720 + t * (1. / 40320 + t * (-1. / 3628800 + t * (1. / 479001600))))));
    s = x * (1 + t * (-1. / 6 + t * (1. / 120 + t * (-1. / 5040 + t * (1. / 362880 + t * (-1. / 39916800))))));
    *cosine = sign_c * (quarter & 1 ? s : c);
    *sine = sign_s * (quarter & 1 ? c : s);
}

void alsx_normals(uint64_t seed, uint64_t draw_index, uint32_t row, double scale, ptrdiff_t n, double *out) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t counter[4], words[4];
    ptrdiff_t i;
    int pair;
    counter[1] = row;
    counter[2] = (uint32_t)draw_index;
    counter[3] = (uint32_t)(draw_index >> 32);
    for (i = 0; i < n; i += 4) {
        counter[0] = (uint32_t)(i / 4);
        alsx_philox(counter, key, words);
        for (pair = 0; pair < 2; pair++) {
            double radius = scale * sqrt(2 * minus_log(words[2 * pair])), cosine, sine;
            cosine_sine(words[2 * pair + 1], &cosine, &sine);
            if (i + 2 * pair < n) out[i + 2 * pair] = radius * cosine;
            if (i + 2 * pair + 1 < n) out[i + 2 * pair + 1] = radius * sine;
        }
    }
}

/* Normal random numbers that depend on a key and a position alone, so that rows may be drawn in any order by any thread.
 *
 * Philox4x32-10, a counter-based generator (J. Salmon, M. Moraes, R. Dror, D. Shaw, 2011, Parallel random numbers: as easy
 * as 1, 2, 3, SC '11), and the transform of G. E. P. Box and M. E. Muller (1958, A note on the generation of random normal
 * deviates, Annals of Mathematical Statistics 29(2), 610-611).
 */
#ifndef ALSX_NORMALS_H
#define ALSX_NORMALS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

static void alsx_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
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

/* out (n,) = scale * the first n normals of stream (seed, turn, row). */
static void alsx_normals(uint64_t seed, uint64_t turn, uint32_t row, double scale, ptrdiff_t n, double *out) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t counter[4], words[4];
    ptrdiff_t i;
    int pair;
    counter[1] = row;
    counter[2] = (uint32_t)turn;
    counter[3] = (uint32_t)(turn >> 32);
    for (i = 0; i < n; i += 4) {
        counter[0] = (uint32_t)(i / 4);
        alsx_philox(counter, key, words);
        for (pair = 0; pair < 2; pair++) {
            /* In (0, 1): the middle of one of 2^32 equal parts. */
            double u = (words[2 * pair] + 0.5) * 0x1p-32, angle = (words[2 * pair + 1] + 0.5) * 0x1p-32;
            double radius = scale * sqrt(-2 * log(u));
            angle *= 6.283185307179586;
            if (i + 2 * pair < n) out[i + 2 * pair] = radius * cos(angle);
            if (i + 2 * pair + 1 < n) out[i + 2 * pair + 1] = radius * sin(angle);
        }
    }
}

#endif

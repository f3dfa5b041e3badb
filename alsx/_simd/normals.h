/* Normal random numbers that depend on a key and a position alone, so that rows may be drawn in any order by any thread. */
#ifndef ALSX_NORMALS_H
#define ALSX_NORMALS_H

#include <stddef.h>
#include <stdint.h>

/* The four random words of a counter and a key: Philox4x32-10. */
void alsx_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* out (n,) = scale * the first n normals of the stream (seed, draw_index, row): the same bits by every instruction set. */
void alsx_normals_base(uint64_t seed, uint64_t draw_index, uint32_t row, double scale, ptrdiff_t n, double *out);

/* The same of ALSX_NORMAL_ROWS rows at a time: out (n rounded up to 4, ALSX_NORMAL_ROWS), one row a column. */
#define ALSX_NORMAL_ROWS 8
void alsx_normals_of_rows_base(uint64_t seed, uint64_t draw_index, const uint64_t *rows, double scale, ptrdiff_t n, double *out);
#ifdef ALSX_X86
void alsx_normals_v3(uint64_t seed, uint64_t draw_index, uint32_t row, double scale, ptrdiff_t n, double *out);
void alsx_normals_of_rows_v3(uint64_t seed, uint64_t draw_index, const uint64_t *rows, double scale, ptrdiff_t n, double *out);
#endif

#endif

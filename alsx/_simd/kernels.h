/* Leaf kernels of alsx: what one row solve and one top-n block need, once for each instruction set.
 *
 * kernels.inc is compiled as kernels_base.c, kernels_v3.c (AVX2, FMA) and kernels_v4.c (AVX-512), each with its own
 * compiler flags; each exports one table of function pointers, and alsx_best_level() says at import which one this
 * processor and operating system can run. Leaves never allocate, validate or print.
 */
#ifndef ALSX_KERNELS_H
#define ALSX_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Rows of factor tables, panels and matrices are padded to this many reals, a multiple of every vector width. */
#define ALSX_PAD 16

#define ALSX_DECLARE(REAL, S)                                                                                          \
    typedef struct {                                                                                                   \
        /* Gathers n ratings: panel (n, kp) = sqrt(w) q, border (2, kp) += [sum w q, sum w t q],                       \
           sums (3) += [sum w, sum w t, sum w t^2], with t = (value - offset) * scale - bias of the other side. */     \
        void (*gather)(ptrdiff_t n, const int32_t *indices, const REAL *values, const REAL *weights,                   \
                       const REAL *table, ptrdiff_t ld, ptrdiff_t k, ptrdiff_t kp, double offset, double scale,        \
                       REAL *panel, REAL *targets, REAL *border, double *sums);                                        \
        /* A (k, lda) += panel' panel, the upper triangle. */                                                          \
        void (*gram)(ptrdiff_t n, const REAL *panel, ptrdiff_t k, ptrdiff_t kp, REAL *A, ptrdiff_t lda);               \
        /* Solves the row from its Gram matrix, border and sums; returns 0, or 1 where a pivot vanished. */            \
        int (*solve)(ptrdiff_t k, ptrdiff_t kp, REAL *A, ptrdiff_t lda, const REAL *border, const double *sums,        \
                     double ridge, double ridge_bias, REAL *scratch, REAL *x, double *loss);                           \
        /* p . q over the first k reals of two table rows. */                                                          \
        REAL (*dot)(ptrdiff_t k, const REAL *p, const REAL *q);                                                        \
        /* out (rows, cols) = a' b, a (n, rows) and b (n, cols) packed with leading dimensions lda and ldb;            \
           rows and cols are padded to whole tiles. */                                                                 \
        void (*product)(ptrdiff_t n, ptrdiff_t rows, ptrdiff_t cols, const REAL *a, ptrdiff_t lda, const REAL *b,      \
                        ptrdiff_t ldb, REAL *out, ptrdiff_t ldo);                                                      \
        /* The first position >= from with scores[position] > threshold, or n. */                                      \
        ptrdiff_t (*next_above)(const REAL *scores, ptrdiff_t from, ptrdiff_t n, REAL threshold);                      \
    } alsx_ops_##S;

ALSX_DECLARE(float, f32)
ALSX_DECLARE(double, f64)

typedef struct {
    alsx_ops_f32 f32;
    alsx_ops_f64 f64;
    /* Fused multiply-adds as fast as this level can issue them; returns the floating-point operations done. */
    double (*peak)(ptrdiff_t repeats, float *sink);
} alsx_ops;

extern const alsx_ops alsx_ops_base;
#ifdef ALSX_X86
extern const alsx_ops alsx_ops_v3;
extern const alsx_ops alsx_ops_v4;
#endif

/* 0 base, 3 AVX2 + FMA, 4 AVX-512: the highest level that runs here. */
int alsx_best_level(void);
const alsx_ops *alsx_level_ops(int level);

#endif

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

/* Ask memory for what will be read soon; it changes nothing else. */
#if defined(__GNUC__)
#define ALSX_PREFETCH(p) __builtin_prefetch(p, 0, 2) /* into the second-level cache: the first holds the panel */
#define ALSX_PREFETCH_NEAR(p) __builtin_prefetch(p)
#else
#define ALSX_PREFETCH(p) ((void)(p))
#define ALSX_PREFETCH_NEAR(p) ((void)(p))
#endif

#define ALSX_DECLARE(REAL, S)                                                                                          \
    typedef struct {                                                                                                   \
        /* The largest rank for which `fused` does what `gather` and `gram` do in one pass, without a panel; it returns\
           how many of the next ratings' rows it has fetched. */                                                       \
        ptrdiff_t fused_rank;                                                                                          \
        ptrdiff_t (*fused)(int first, ptrdiff_t n, const int32_t *indices, const REAL *values, const REAL *weights,    \
                           const REAL *table, ptrdiff_t ld, ptrdiff_t k, ptrdiff_t kp, double offset, double scale,    \
                           ptrdiff_t ready, ptrdiff_t n_next, const int32_t *next_indices, REAL *A, ptrdiff_t lda,     \
                           REAL *border, double *sums);                                                                \
        /* Gathers n ratings: panel (n, WIDTH(k)) = sqrt(w) q, border (2, kp) += [sum w q, sum w t q],                 \
           sums (3) += [sum w, sum w t, sum w t^2], with t = (value - offset) * scale - bias of the other side; targets\
           (2, n) is scratch. The table's rows of the first `ready` ratings were fetched already. */                   \
        void (*gather)(ptrdiff_t n, const int32_t *indices, const REAL *values, const REAL *weights,                   \
                       const REAL *table, ptrdiff_t ld, ptrdiff_t k, ptrdiff_t kp, double offset, double scale,        \
                       ptrdiff_t ready, REAL *panel, REAL *targets, REAL *border, double *sums);                       \
        /* A (k, lda) = panel' panel where `first`, else +=; the lower triangle. Meanwhile the table's rows of the first\
           min(n, n_next) of the next ratings are fetched. */                                                          \
        void (*gram)(int first, ptrdiff_t n, const REAL *panel, ptrdiff_t k, REAL *A, ptrdiff_t lda, ptrdiff_t n_next, \
                     const int32_t *next_indices, const REAL *table, ptrdiff_t ld);                                    \
        /* Solves the row from its Gram matrix, border and sums; returns 0, or 1 where a pivot vanished. The prior has   \
           the mean `prior` (k+1,), NULL for 0, and the precision diag(ridge ... ridge, ridge_bias), or where it is not  \
           NULL `precision` (k+1, kp + ALSX_PAD). `noise` (k+1,), normals, makes it a draw. pull (2, kp + ALSX_PAD) is   \
           scratch. */                                                                                                 \
        int (*solve)(ptrdiff_t k, ptrdiff_t kp, REAL *A, ptrdiff_t lda, const REAL *border, const double *sums,        \
                     double ridge, double ridge_bias, const REAL *precision, const REAL *prior, const REAL *noise,     \
                     REAL *scratch, double *pull, REAL *x, double *loss);                                              \
        /* out (m,) = z' A^-1 z for the columns z = [Z ; last] (k+1,m), after `solve` has left L of A = L' L in A, the \
           reciprocals of its diagonal in scratch, and L'^-1 of the border in scratch + 2 kp; mass is A's last entry. Z\
           (kp, ldz), zeros from row k on, is overwritten; m are whole vectors. */                                     \
        void (*quadratic)(ptrdiff_t k, ptrdiff_t kp, const REAL *A, ptrdiff_t lda, const REAL *scratch, double mass,   \
                          ptrdiff_t m, REAL *Z, ptrdiff_t ldz, const REAL *last, REAL *out);                           \
        /* p . q over the first k reals of two table rows. */                                                          \
        REAL (*dot)(ptrdiff_t k, const REAL *p, const REAL *q);                                                        \
        /* out (rows, cols) = a' b, in every row plus start (cols,), a (n, rows) and b (n, cols) packed with leading   \
           dimensions lda and ldb; rows are 1 or whole tiles, cols whole vectors. */                                   \
        void (*product)(ptrdiff_t n, ptrdiff_t rows, ptrdiff_t cols, const REAL *a, ptrdiff_t lda, const REAL *b,      \
                        ptrdiff_t ldb, const REAL *start, REAL *out, ptrdiff_t ldo);                                   \
        /* out (columns,) = scale * (sum of values[e] * table[indices[e]] - ridge * minus); NULL values are 1, NULL    \
           minus is 0. */                                                                                              \
        void (*sum_rows)(ptrdiff_t n, const int32_t *indices, const REAL *values, const REAL *table, ptrdiff_t ld,     \
                         ptrdiff_t columns, double scale, double ridge, const REAL *minus, REAL *out);                 \
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

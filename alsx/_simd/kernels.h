/* The C side of alsx._core: the rows of a half-sweep, and the table of kernels of one instruction set.
 *
 * kernels.inc is compiled as kernels_base.c, kernels_v3.c (AVX2, FMA) and kernels_v4.c (AVX-512), each with its own
 * compiler flags; each exports one table of function pointers, and alsx_best_level() says at import which one this
 * processor and operating system can run. Kernels never allocate, validate or print.
 */
#ifndef ALSX_KERNELS_H
#define ALSX_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* Rows of factor tables, panels and matrices are padded to this many reals, a multiple of every vector width. */
#define ALSX_PAD 16

/* Vectors z that one pass over a row's Cholesky factor serves. */
#define ALSX_FORMS_PER_PASS 64

/* Ask memory for what will be read soon; it changes nothing else. */
#if defined(__GNUC__)
#define ALSX_PREFETCH(p) __builtin_prefetch(p, 0, 2) /* into the second-level cache: the first holds the panel */
#define ALSX_PREFETCH_NEAR(p) __builtin_prefetch(p)
#else
#define ALSX_PREFETCH(p) ((void)(p))
#define ALSX_PREFETCH_NEAR(p) ((void)(p))
#endif

/* The row systems A x = h of a half-sweep, in the notation of _core.pyx. It is filled once and read by every thread. The
 * arrays declared `const void *` hold reals of the type whose kernel is called. */
typedef struct {
    /* Ratings, in CSR form */
    const int64_t *indptr;   /* (n+1,) */
    const int32_t *indices;  /* (nnz,) rows of table */
    const void *values;      /* (nnz,) */
    const void *weights;     /* (nnz,), or NULL: all 1 */
    double offset, scale;    /* the target of a rating is (value - offset) * scale - bias of the other side */
    /* The other side */
    const void *table;       /* (n_other, ld) k factors, the bias, padding */
    ptrdiff_t ld, k;
    /* Prior: N(m, (s Lambda)^-1), Lambda = diag(reg, ..., reg, reg_bias), or a full precision that takes no s */
    double reg, reg_bias;
    const double *row_scale; /* (n,) s */
    double empty_scale;      /* s of a row that is not among these and has no ratings */
    const void *precision;   /* (k+1, padded k + ALSX_PAD), or NULL */
    const void *means;       /* (n, means_ld) m, or NULL: 0 */
    ptrdiff_t means_ld;
    /* What every system has besides, that of row x base_scale[x] times: sums over all rows of the other side, which are
     * computed once a half-sweep; see gram_rows. Rows without ratings have no system, hence no base */
    const void *base;         /* (k+2, padded k + ALSX_PAD) sum v q q', sum v q and sum v t q, zeros from column k on; or
                                 NULL: none */
    const double *base_sums;  /* (3,) sum v, sum v t, sum v t^2 */
    const double *base_scale; /* (n,) */
    /* Draws from N(A^-1 h, noise^2 A^-1); noise = 0 solves for A^-1 h itself */
    double noise;
    uint64_t seed, draw_index; /* with the row's number, all that the random numbers of a draw depend on */
} alsx_rows;

/* Quadratic forms z' A^-1 z that are asked for: request x is for one row and for several vectors z. */
typedef struct {
    const int32_t *rows;           /* (m,) negative: a row without ratings */
    const int64_t *partner_indptr; /* (m+1,) */
    const int32_t *partners;       /* (n,) rows of z */
    const void *z;                 /* (n_z, ldz) */
    ptrdiff_t ldz;
    int bordered;                  /* whether the last entry of z, z[:, k], is taken as it is; else it is 1 */
} alsx_requests;

/* Words of a block of a packed row, which holds twice as many columns; see steps.inc. */
#define ALSX_PACKED_WORDS 16

/* A pass over a sparse matrix for a step of a regression, see _regression.pyx. The arrays declared `void *` hold reals of the type
 * whose kernel is called. */
typedef struct {
    /* The matrix, in CSR form */
    const int64_t *indptr;      /* (n+1,) */
    const int32_t *indices;     /* (nnz,) rows of the packed table */
    const void *values;         /* (nnz,), or NULL: all 1 */
    const void *packed;         /* (n_other, ld_packed) */
    ptrdiff_t ld_packed, columns;
    /* Tables of the matrix's rows */
    ptrdiff_t ld;
    const double *factor;       /* (n,) what sums are multiplied by */
    double ridge;
    const void *coefficients;   /* (n, ld), or NULL */
    const void *last;           /* (n, ld) */
    void *out;                  /* (n, ld_out), packed in direction_rows and pack_rows */
    ptrdiff_t ld_out;
    /* The weights of rows in the sums of change_rows, s (n v + g) / (s lambda + n v + g) */
    const double *row_scale;    /* (n,) s */
    const double *counts;       /* (n,) n */
    const double *precision;    /* (columns,) lambda */
    const double *information;  /* (columns,) v */
    const double *shared;       /* (columns,) g */
} alsx_steps;

#define ALSX_DECLARE(REAL, S)                                                                                          \
    typedef struct {                                                                                                   \
        /* Reals of workspace that one thread needs for rows of rank k, for `quadratic_forms` too where `forms`. */    \
        ptrdiff_t (*workspace)(ptrdiff_t k, int forms);                                                                \
        /* out[x] = A^-1 h, or a draw, and loss[x] = [weighted squared error, penalty] for the n rows x in `order`; rows\
           of `out` begin ldo reals apart. Where A is singular, out[x] is untouched and loss[x] is NaN; returns in how  \
           many rows. */                                                                                               \
        int (*solve_rows)(const alsx_rows *rows, const int32_t *order, ptrdiff_t n, REAL *work, REAL *out,             \
                          ptrdiff_t ldo, double *loss);                                                                \
        /* out[e] = z_e' A^-1 z_e for the partners e of the n requests in `order`, infinite where A is singular; returns\
           how many were. */                                                                                           \
        int (*quadratic_forms)(const alsx_rows *rows, const alsx_requests *requests, const int32_t *order,             \
                               ptrdiff_t n, REAL *work, double *out);                                                  \
        /* out[e] = A^-1 of row requested[e] for the n requests e in `order`, a negative one being a row without ratings;  \
           rows of `out` begin ldo reals apart. Packed: the lower triangle row by row, what is left of the diagonal       \
           times 2. NaN where A is singular; returns how many were. */                                                \
        int (*covariances)(const alsx_rows *rows, const int32_t *requested, const int32_t *order, ptrdiff_t n,         \
                           REAL *work, REAL *out, ptrdiff_t ldo);                                                      \
        /* out[places[e]] += z' C z for z = [row partners[places[e]] of the table ; 1], e < n, C as `covariances` packs   \
           it; of a negative partner the row is `unknown`. Behind C and the rows vectors may be read. What the `end`   \
           first places will need is asked for on the way. */                                                          \
        void (*packed_forms)(ptrdiff_t k, const REAL *C, ptrdiff_t n, ptrdiff_t end, const int64_t *places,            \
                             const int32_t *partners, const REAL *table, ptrdiff_t ld, const REAL *unknown,            \
                             double *out);                                                                             \
        /* out (rows, cols) += a' b; the rest is as of `product`. */                                                   \
        void (*add_product)(ptrdiff_t n, ptrdiff_t rows, ptrdiff_t cols, const REAL *a, ptrdiff_t lda, const REAL *b,  \
                            ptrdiff_t ldb, REAL *out, ptrdiff_t ldo);                                                  \
        /* scores (n,) += n_std sqrt(sigma2 variances); what is no number counts as infinite. */                       \
        void (*add_deviations)(ptrdiff_t n, double n_std, double sigma2, const REAL *variances, REAL *scores);         \
        /* out[x] (k+2,k+2) = sum w z z' over the ratings of the n rows x in `order`, z = [q ; 1 ; t]: the lower triangle;  \
           what is right of the diagonal is untouched. */                                                              \
        void (*gram_rows)(const alsx_rows *rows, const int32_t *order, ptrdiff_t n, REAL *work, double *out);           \
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
        /* Kernels of steps, see steps.inc and _regression.pyx; work has room for 8 packed rows, unpacked. */                 \
        void (*pack_rows)(const alsx_steps *job, const REAL *x, const REAL *y, ptrdiff_t first, ptrdiff_t n,           \
                          REAL *work);                                                                                 \
        void (*direction_rows)(const alsx_steps *job, const int32_t *order, ptrdiff_t n, REAL *work, double *sums);    \
        void (*change_rows)(const alsx_steps *job, const int32_t *order, ptrdiff_t n, REAL *work, double *sums);       \
        void (*add_rows)(const alsx_steps *job, const double *a, const double *b, ptrdiff_t first, ptrdiff_t n,        \
                         REAL *y, REAL *total, REAL *work);                                                            \
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
    /* See normals.h. */
    void (*normals)(uint64_t seed, uint64_t draw_index, uint32_t row, double scale, ptrdiff_t n, double *out);
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

"""The C side of the kernels: what _core.pyx, which holds it, shares with _scores.pyx."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef extern from "kernels.h" nogil:
    const int ALSX_PAD
    void ALSX_PREFETCH(const void *)

    ctypedef struct alsx_rows:
        const int64_t *indptr
        const int32_t *indices
        const void *values
        const void *weights
        double offset, scale
        const void *table
        Py_ssize_t ld, k
        double reg, reg_bias
        const double *row_scale
        double empty_scale
        const void *precision
        const void *means
        Py_ssize_t means_ld
        const void *base
        const double *base_sums
        const double *base_scale
        double noise
        uint64_t seed, draw_index

    ctypedef struct alsx_requests:
        const int32_t *rows
        const int64_t *partner_indptr
        const int32_t *partners
        const void *z
        Py_ssize_t ldz
        int bordered

    const int ALSX_PACKED_WORDS

    ctypedef struct alsx_steps:
        const int64_t *indptr
        const int32_t *indices
        const void *values
        const void *packed
        Py_ssize_t ld_packed, columns
        Py_ssize_t ld
        const double *factor
        double ridge
        const void *coefficients
        const void *last
        void *out
        Py_ssize_t ld_out
        const double *row_scale
        const double *counts
        const double *precision
        const double *information
        const double *shared

    ctypedef struct alsx_ops_f32:
        Py_ssize_t (*workspace)(Py_ssize_t, int) noexcept nogil
        int (*solve_rows)(const alsx_rows *, const int32_t *, Py_ssize_t, float *, float *, Py_ssize_t,
                          double *) noexcept nogil
        int (*quadratic_forms)(const alsx_rows *, const alsx_requests *, const int32_t *, Py_ssize_t, float *,
                               double *) noexcept nogil
        int (*covariances)(const alsx_rows *, const int32_t *, const int32_t *, Py_ssize_t, float *, float *,
                           Py_ssize_t) noexcept nogil
        void (*packed_forms)(Py_ssize_t, const float *, Py_ssize_t, Py_ssize_t, const int64_t *, const int32_t *,
                             const float *, Py_ssize_t, const float *, double *) noexcept nogil
        void (*add_product)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, const float *, Py_ssize_t,
                            float *, Py_ssize_t) noexcept nogil
        void (*add_deviations)(Py_ssize_t, double, double, const float *, float *) noexcept nogil
        void (*gram_rows)(const alsx_rows *, const int32_t *, Py_ssize_t, float *, double *) noexcept nogil
        float (*dot)(Py_ssize_t, const float *, const float *) noexcept nogil
        void (*product)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, const float *, Py_ssize_t,
                        const float *, float *, Py_ssize_t) noexcept nogil
        void (*sum_rows)(Py_ssize_t, const int32_t *, const float *, const float *, Py_ssize_t, Py_ssize_t, double,
                         double, const float *, float *) noexcept nogil
        void (*pack_rows)(const alsx_steps *, const float *, const float *, Py_ssize_t, Py_ssize_t,
                          float *) noexcept nogil
        void (*direction_rows)(const alsx_steps *, const int32_t *, Py_ssize_t, float *, double *) noexcept nogil
        void (*change_rows)(const alsx_steps *, const int32_t *, Py_ssize_t, float *, double *) noexcept nogil
        void (*add_rows)(const alsx_steps *, const double *, const double *, Py_ssize_t, Py_ssize_t, float *, float *,
                         float *) noexcept nogil
        Py_ssize_t (*next_above)(const float *, Py_ssize_t, Py_ssize_t, float) noexcept nogil

    ctypedef struct alsx_ops_f64:
        Py_ssize_t (*workspace)(Py_ssize_t, int) noexcept nogil
        int (*solve_rows)(const alsx_rows *, const int32_t *, Py_ssize_t, double *, double *, Py_ssize_t,
                          double *) noexcept nogil
        int (*quadratic_forms)(const alsx_rows *, const alsx_requests *, const int32_t *, Py_ssize_t, double *,
                               double *) noexcept nogil
        int (*covariances)(const alsx_rows *, const int32_t *, const int32_t *, Py_ssize_t, double *, double *,
                           Py_ssize_t) noexcept nogil
        void (*packed_forms)(Py_ssize_t, const double *, Py_ssize_t, Py_ssize_t, const int64_t *, const int32_t *,
                             const double *, Py_ssize_t, const double *, double *) noexcept nogil
        void (*add_product)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, const double *, Py_ssize_t,
                            double *, Py_ssize_t) noexcept nogil
        void (*add_deviations)(Py_ssize_t, double, double, const double *, double *) noexcept nogil
        void (*gram_rows)(const alsx_rows *, const int32_t *, Py_ssize_t, double *, double *) noexcept nogil
        double (*dot)(Py_ssize_t, const double *, const double *) noexcept nogil
        void (*product)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, const double *, Py_ssize_t,
                        const double *, double *, Py_ssize_t) noexcept nogil
        void (*sum_rows)(Py_ssize_t, const int32_t *, const double *, const double *, Py_ssize_t, Py_ssize_t, double,
                         double, const double *, double *) noexcept nogil
        void (*pack_rows)(const alsx_steps *, const double *, const double *, Py_ssize_t, Py_ssize_t,
                          double *) noexcept nogil
        void (*direction_rows)(const alsx_steps *, const int32_t *, Py_ssize_t, double *, double *) noexcept nogil
        void (*change_rows)(const alsx_steps *, const int32_t *, Py_ssize_t, double *, double *) noexcept nogil
        void (*add_rows)(const alsx_steps *, const double *, const double *, Py_ssize_t, Py_ssize_t, double *, double *,
                         double *) noexcept nogil
        Py_ssize_t (*next_above)(const double *, Py_ssize_t, Py_ssize_t, double) noexcept nogil

    ctypedef struct alsx_ops:
        alsx_ops_f32 f32
        alsx_ops_f64 f64
        double (*peak)(Py_ssize_t, float *) noexcept nogil
        void (*normals)(uint64_t, uint64_t, uint32_t, double, Py_ssize_t, double *) noexcept nogil

    int alsx_best_level() noexcept
    const alsx_ops *alsx_level_ops(int) noexcept


# The kernels of the instruction set in use.
cdef const alsx_ops *OPS


ctypedef fused number_t:
    int32_t
    int64_t
    float
    double


cdef inline const number_t *vector(const number_t[::1] x) noexcept:
    """Where an array begins; NULL where it is empty."""
    return &x[0] if x.shape[0] > 0 else NULL


cdef inline const number_t *matrix(const number_t[:, ::1] x) noexcept:
    return &x[0, 0] if x.shape[0] > 0 and x.shape[1] > 0 else NULL

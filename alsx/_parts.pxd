"""How the kernels cut n entries into contiguous parts whose sizes differ by one at most."""


cdef inline Py_ssize_t part_start(Py_ssize_t n, Py_ssize_t part, Py_ssize_t n_parts) noexcept nogil:
    # Not n * part // n_parts, which would leave the range of 64 bits sooner.
    return n // n_parts * part + n % n_parts * part // n_parts

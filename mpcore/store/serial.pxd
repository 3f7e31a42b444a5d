"""Serial number arithmetic modulo 2**64 (header only), for numbers that lie within 2**63 of each other."""

from libc.stdint cimport int64_t, uint64_t


cdef inline bint before(uint64_t a, uint64_t b) noexcept nogil:
    return <int64_t>(a - b) < 0


cdef inline uint64_t earlier(uint64_t a, uint64_t b) noexcept nogil:
    return a if before(a, b) else b


cdef inline uint64_t later(uint64_t a, uint64_t b) noexcept nogil:
    return b if before(a, b) else a

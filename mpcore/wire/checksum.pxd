"""Internet checksum (RFC 1071), incremental update (RFC 1624), pseudo-headers and the DSS checksum.

A *sum* is a folded one's-complement sum in 0…0xffff of big-endian 16-bit words, not yet inverted; sums of
parts are combined with `sum_join`. `checksum_finish` inverts it into the value that stands in a header.
"""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


# Sum of `size` bytes at `data`, any alignment; an odd last byte is padded with zero on the right.
cdef uint32_t sum_bytes(const uint8_t *data, size_t size) noexcept nogil
# `left` covers `left_size` bytes; joins the sum `right` of the bytes that follow, swapped when `left_size` is
# odd (RFC 1071 §2 (B)).
cdef uint32_t sum_join(uint32_t left, size_t left_size, uint32_t right) noexcept nogil
# Sum of the pseudo-header of TCP and others (RFC 9293 §3.1, RFC 8200 §8.1); addresses of 4 or 16 octets by
# `version`.
cdef uint32_t sum_pseudo(int version, const uint8_t *src, const uint8_t *dst,
                         uint8_t protocol, uint32_t size) noexcept nogil
# DSS checksum over the mapping's pseudo-header and its payload sum (RFC 8684 §3.3.1), as on the wire.
cdef uint16_t checksum_dss(uint64_t data_seq, uint32_t subflow_seq, uint16_t data_len,
                           uint32_t payload_sum) noexcept nogil
cdef uint16_t checksum_finish(uint32_t total) noexcept nogil
# New header checksum after a 16-bit or 32-bit field changes (RFC 1624 §3, equation 3).
cdef uint16_t checksum_update16(uint16_t checksum, uint16_t old, uint16_t new) noexcept nogil
cdef uint16_t checksum_update32(uint16_t checksum, uint32_t old, uint32_t new) noexcept nogil

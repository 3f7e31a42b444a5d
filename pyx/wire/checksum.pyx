"""Internet checksum, incremental update, pseudo-headers and the DSS checksum; see the header for units."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

from mpcore.wire.bits cimport load32

cdef extern from "pyx/wire/sum.h":
    uint32_t mpcore_fold(uint64_t total) noexcept nogil
    uint32_t mpcore_swap(uint32_t sum) noexcept nogil
    uint32_t mpcore_sum(const uint8_t *data, size_t size) noexcept nogil


cdef uint32_t sum_bytes(const uint8_t *data, size_t size) noexcept nogil:
    if size == 0:
        return 0
    return mpcore_sum(data, size)


cdef uint32_t sum_join(uint32_t left, size_t left_size, uint32_t right) noexcept nogil:
    if left_size & 1:
        right = mpcore_swap(right)
    return mpcore_fold(<uint64_t>left + right)


cdef uint32_t sum_pseudo(int version, const uint8_t *src, const uint8_t *dst,
                         uint8_t protocol, uint32_t size) noexcept nogil:
    cdef uint64_t total = <uint64_t>protocol + size
    cdef uint32_t at
    for at in range(0, 4 if version == 4 else 16, 4):
        total += load32(src + at)
        total += load32(dst + at)
    return mpcore_fold(total)


cdef uint16_t checksum_dss(uint64_t data_seq, uint32_t subflow_seq, uint16_t data_len,
                           uint32_t payload_sum) noexcept nogil:
    # RFC 8684 §3.3.1: the data sequence number counts with all 64 bits even when 32 are on the wire.
    cdef uint64_t total = (data_seq >> 32) + <uint32_t>data_seq + subflow_seq + data_len + payload_sum
    return <uint16_t>~mpcore_fold(total)


cdef uint16_t checksum_finish(uint32_t total) noexcept nogil:
    return <uint16_t>~mpcore_fold(total)


cdef uint16_t checksum_update16(uint16_t checksum, uint16_t old, uint16_t new) noexcept nogil:
    # RFC 1624 §3: HC' = ~(~HC + ~m + m'); the older form of RFC 1141 yields a wrong zero.
    cdef uint64_t total = <uint64_t><uint16_t>~checksum + <uint16_t>~old + new
    return <uint16_t>~mpcore_fold(total)


cdef uint16_t checksum_update32(uint16_t checksum, uint32_t old, uint32_t new) noexcept nogil:
    cdef uint64_t total = <uint64_t><uint16_t>~checksum + <uint32_t>~old + new
    return <uint16_t>~mpcore_fold(total)


cdef uint32_t _sum_buffer(object data, size_t *size) except? 0xffffffff:
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        size[0] = <size_t>view.len
        return sum_bytes(<const uint8_t *>view.buf, size[0])
    finally:
        PyBuffer_Release(&view)


def sum_of(data, uint32_t initial=0):
    """Return the folded one's-complement sum of `data` on top of `initial`, not inverted (RFC 1071 §1).

    `data` is any contiguous buffer, `initial` a sum of bytes before it, of even number. 0 to 0xffff, as the
    number that the two octets are on the wire.
    """
    cdef size_t size
    return sum_join(mpcore_fold(initial), 0, _sum_buffer(data, &size))


def join_sums(uint32_t left, size_t left_size, uint32_t right):
    """Return the sum of `left_size` bytes summed as `left` and those after them summed as `right`.

    After an odd number of bytes the octets of `right` change places (RFC 1071 §2 (B)).
    """
    return sum_join(mpcore_fold(left), left_size, mpcore_fold(right))


def checksum(data):
    """Return the Internet checksum of `data` (RFC 1071); 0 when `data` contains its own right checksum."""
    cdef size_t size
    return checksum_finish(_sum_buffer(data, &size))


def update16(uint16_t checksum, uint16_t old, uint16_t new):
    """Return the checksum after a 16-bit field went from `old` to `new` (RFC 1624 §3)."""
    return checksum_update16(checksum, old, new)


def update32(uint16_t checksum, uint32_t old, uint32_t new):
    """Return the checksum after an aligned 32-bit field went from `old` to `new` (RFC 1624 §3)."""
    return checksum_update32(checksum, old, new)


def dss_checksum(uint64_t data_seq, uint32_t subflow_seq, uint16_t data_len, payload=b""):
    """Return the checksum of a mapping and the bytes mapped (RFC 8684 §3.3.1).

    `data_seq` has all 64 bits, also where the option carries 32; `subflow_seq` counts from the subflow's ISN;
    `data_len` includes a DATA_FIN. OverflowError for what does not fit into 64, 32 and 16 bits.
    """
    cdef size_t size
    return checksum_dss(data_seq, subflow_seq, data_len, _sum_buffer(payload, &size))


def tcp_checksum(bytes src not None, bytes dst not None, segment):
    """Return the checksum of a TCP segment whose checksum field is zero; 0 for one that is already right.

    `src` and `dst` are raw addresses of 4 or 16 bytes, else ValueError.
    """
    cdef size_t size = 0
    cdef uint32_t total
    if len(src) != len(dst) or len(src) not in (4, 16):
        raise ValueError("addresses must be 4 or 16 bytes, both of the same length")
    total = _sum_buffer(segment, &size)
    if size > 0xffffffff:
        raise ValueError("segment is longer than 4 GiB")
    return checksum_finish(total + sum_pseudo(4 if len(src) == 4 else 6, src, dst, 6, <uint32_t>size))

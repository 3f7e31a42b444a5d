"""Batches of packets: a block of bytes with an offset and a size for each, and what is done to them all."""

from libc.stddef cimport size_t
from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from mpcore.wire.packet cimport headers_t
from mpcore.wire.rewrite cimport rewriter_t


# Frozen, as all structs of this header: part of the ABI. Owner: whoever holds the arrays.
cdef struct packets_t:
    const uint8_t *data
    uint64_t size              # bytes at data
    const uint64_t *offsets    # of each packet in data
    const uint32_t *sizes
    uint64_t count


cdef struct rewritten_t:       # room for results, in order and without gaps
    uint8_t *data
    uint64_t size              # bytes at data
    uint64_t *offsets          # count of each array: as many as packets go in
    uint32_t *sizes            # 0 where the status is negative
    int8_t *statuses           # REWRITE_…


# The bytes of packet `i` < count, and their number at *size; 0 bytes when they do not lie within the block.
cdef inline const uint8_t *packet_at(const packets_t *packets, uint64_t i, uint32_t *size) noexcept nogil:
    cdef uint64_t offset = packets.offsets[i]
    size[0] = packets.sizes[i]
    if offset <= packets.size and size[0] <= packets.size - offset:
        return packets.data + offset
    size[0] = 0
    return packets.data


# Parses each packet into out[i]; returns how many have the status HEADERS_OK.
cdef uint64_t packets_parse(const packets_t *packets, headers_t *out) noexcept nogil
# The Internet checksum of each packet's bytes into out[i].
cdef void packets_checksum(const packets_t *packets, uint16_t *out) noexcept nogil
# The context tag of each packet's Shim6 payload extension header into out[i], or a negative REWRITE_….
cdef void packets_shim6_tags(const packets_t *packets, int64_t *out) noexcept nogil
# Rewrites each packet by `rewrite` with what[index[i]], elements of `stride` bytes, `what_count` of them; the
# first one for all when `index` is NULL. Returns how many packets have the status REWRITE_OK.
cdef uint64_t packets_rewrite(const packets_t *packets, rewriter_t rewrite, const void *what, uint64_t stride,
                              uint64_t what_count, const uint32_t *index, rewritten_t *out) noexcept nogil


cdef class PacketBatch:
    cdef readonly object buffer
    cdef readonly object offsets
    cdef readonly object sizes
    cdef readonly object statuses
    cdef Py_buffer views[4]
    cdef int held
    cdef packets_t packets

"""The cache of segment sizes; see the header."""

from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy, memset

from mpcore.shim6.fields cimport ADDRESSES_SIZE, SOURCE, TCP_PORTS_SIZE

cdef int64_t FRESH_NS = 1000000000
cdef uint64_t MIX = 0x9E3779B97F4A7C15


cdef uint32_t place_of(const uint8_t *data, const uint8_t *tcp) noexcept nogil:
    """Return the place of these ends; who shares one asks more often, and no more."""
    cdef uint64_t word, mixed = 0
    cdef uint32_t ports
    cdef int at
    memcpy(&ports, tcp, TCP_PORTS_SIZE)
    for at in range(0, ADDRESSES_SIZE, 8):
        memcpy(&word, data + SOURCE + at, 8)
        mixed = (mixed ^ word) * MIX
    mixed = (mixed ^ ports ^ (mixed >> 32)) * MIX
    return <uint32_t>(mixed >> 32) % SIZES


cdef inline int has_ends(const flow_size_t *flow, const uint8_t *data, const uint8_t *tcp) noexcept nogil:
    return (memcmp(flow.ends, data + SOURCE, ADDRESSES_SIZE) == 0
            and memcmp(flow.ends + ADDRESSES_SIZE, tcp, TCP_PORTS_SIZE) == 0)


cdef uint32_t sizes_find(const sizes_t *sizes, const uint8_t *data, const uint8_t *tcp,
                         int64_t now_ns) noexcept nogil:
    cdef const flow_size_t *flow = &sizes.flows[place_of(data, tcp)]
    return flow.mss if now_ns < flow.until_ns and has_ends(flow, data, tcp) else 0


cdef void sizes_note(sizes_t *sizes, const uint8_t *data, const uint8_t *tcp, uint32_t mss,
                     int64_t now_ns) noexcept nogil:
    cdef flow_size_t *flow = &sizes.flows[place_of(data, tcp)]
    memcpy(flow.ends, data + SOURCE, ADDRESSES_SIZE)
    memcpy(flow.ends + ADDRESSES_SIZE, tcp, TCP_PORTS_SIZE)
    flow.mss = <uint16_t>min(mss, <uint32_t>0xffff)
    flow.until_ns = now_ns + FRESH_NS


cdef void sizes_forget(sizes_t *sizes) noexcept nogil:
    memset(sizes, 0, sizeof(sizes_t))

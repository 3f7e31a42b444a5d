"""How long the segments of TCP connections are, as their sockets told lately: a cache of a fixed size."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t


cdef enum:
    SIZES = 256
    ENDS_SIZE = 36             # two addresses, two ports


cdef struct flow_size_t:
    uint8_t ends[ENDS_SIZE]
    uint16_t mss               # octets of options and payload; 0: nobody has told
    int64_t until_ns


cdef struct sizes_t:
    flow_size_t flows[SIZES]   # each in the one place that its ends give; the newest stays


# `data`: the IPv6 header of a packet of the host, `tcp`: its TCP header. 0: to be asked.
cdef uint32_t sizes_find(const sizes_t *sizes, const uint8_t *data, const uint8_t *tcp,
                         int64_t now_ns) noexcept nogil
cdef void sizes_note(sizes_t *sizes, const uint8_t *data, const uint8_t *tcp, uint32_t mss,
                     int64_t now_ns) noexcept nogil
cdef void sizes_forget(sizes_t *sizes) noexcept nogil

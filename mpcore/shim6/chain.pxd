"""A walk over the extension headers before Shim6's or the upper layer (RFC 8200 §4; header only)."""

from libc.stdint cimport uint8_t, uint32_t


cdef enum:
    CHAIN_OK = 0
    CHAIN_CUT = -1             # the bytes end before the chain does
    CHAIN_ENDLESS = -2         # more headers than anybody has use for

    CHAIN_HEADERS_MAX = 16     # as in mpcore.wire.ip
    IPV6_SIZE = 40
    NEXT_HOP_BY_HOP = 0
    NEXT_ROUTING = 43
    NEXT_FRAGMENT = 44
    NEXT_ICMPV6 = 58
    NEXT_DESTINATION = 60
    NEXT_SHIM6 = 140


cdef struct chain_t:
    uint32_t at                # bytes before the header at which the walk ended
    uint32_t named_at          # the octet that tells its type
    uint8_t kind               # its type


# Goes on from `place`, which names a header, over hop-by-hop options, routing and destination options. `end`:
# bytes at `data`. Nothing is said about how many bytes there are at place.at.
cdef inline int chain_walk(const uint8_t *data, uint32_t end, chain_t *place) noexcept nogil:
    cdef uint32_t length
    cdef int _
    for _ in range(CHAIN_HEADERS_MAX):
        place.kind = data[place.named_at]
        if (place.kind != NEXT_HOP_BY_HOP and place.kind != NEXT_ROUTING
                and place.kind != NEXT_DESTINATION):
            return CHAIN_OK
        if place.at >= end or end - place.at < 8:
            return CHAIN_CUT
        length = (<uint32_t>data[place.at + 1] + 1) * 8
        if end - place.at < length:
            return CHAIN_CUT
        place.named_at = place.at
        place.at += length
    return CHAIN_ENDLESS


# As above from the IPv6 header on, of which there are 40 octets at least.
cdef inline int chain_begin(const uint8_t *data, uint32_t end, chain_t *place) noexcept nogil:
    place.at = IPV6_SIZE
    place.named_at = 6
    return chain_walk(data, end, place)

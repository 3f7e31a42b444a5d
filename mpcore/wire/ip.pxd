"""IPv4 (RFC 791) and IPv6 (RFC 8200) headers: views into a packet, and emission."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef enum:
    IP_OK = 0
    IP_TRUNCATED = -1      # fewer bytes than the header needs or states
    # Version or lengths that contradict each other, more than 15 extension headers, or a routing header with
    # segments left, whose last destination is not `dst`.
    IP_MALFORMED = -2
    IP_FRAGMENT = -3       # a fragment (of either version) that is not the whole packet
    PROTOCOL_TCP = 6
    # the ECN field of the TOS octet (RFC 3168 §5)
    ECN_MASK = 3
    ECN_ECT0 = 2           # the sender takes marks
    ECN_CE = 3             # a router is congested


cdef struct ip_t:
    uint8_t version        # 4 or 6
    uint8_t protocol       # upper-layer protocol, after IPv6 extension headers
    uint8_t tos            # DS field and ECN
    uint8_t ttl            # or hop limit
    uint16_t header_size   # bytes before the upper layer
    uint32_t total_size    # bytes of the packet by its own header; <= the size given
    const uint8_t *src     # 4 or 16 octets inside the packet
    const uint8_t *dst


# IP_OK and *out filled, or a negative status with *out undefined.
cdef int ip_parse(const uint8_t *data, uint32_t size, ip_t *out) noexcept nogil
# Writes a header of 20 (DF set, id 0, checksum filled in) or 40 octets and returns that size. `payload_size`
# is at most 65515 (version 4) or 65535.
cdef uint32_t ip_emit(uint8_t *out, int version, const uint8_t *src, const uint8_t *dst, uint8_t protocol,
                      uint8_t ttl, uint8_t tos, uint32_t payload_size) noexcept nogil

"""ICMPv6 errors about packets that left with locators (RFC 5533 §8)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t


cdef enum:
    ICMP_OK = 0
    ICMP_OTHER = -1            # no ICMPv6 error
    ICMP_CUT = -2              # too few bytes, or a quote that no IPv6 header fits into
    ICMP_CHECKSUM = -3
    ICMP_NO_HEADER = -4        # the quoted packet has no payload extension header
    ICMP_ROOM = -5


cdef struct icmp_t:            # offsets count from the start of the packet that brought the error
    uint32_t at                # of the ICMPv6 header
    uint32_t quote_at
    uint32_t quote_end         # before extensions of RFC 4884
    uint32_t end
    uint8_t type
    uint8_t code
    uint32_t value             # the 32 bits behind the checksum: MTU, pointer


# ICMP_OK and *out filled, or a negative status. `data` begins with the IPv6 header. The checksum is not
# looked at.
cdef int icmp_parse(const uint8_t *data, uint32_t size, icmp_t *out) noexcept nogil
cdef int icmp_checksum_ok(const uint8_t *data, const icmp_t *error) noexcept nogil
# Writes the error as if the packet that it quotes had left with these ULIDs: no Shim6 header in the quote,
# MTU of a Packet Too Big and pointers behind that header less by 8. `out` does not overlap. The new size, at
# most `size`, or a negative status.
cdef int64_t icmp_restore(const uint8_t *data, uint32_t size, const uint8_t *ulid_local,
                          const uint8_t *ulid_peer, uint8_t *out, uint32_t room) noexcept nogil

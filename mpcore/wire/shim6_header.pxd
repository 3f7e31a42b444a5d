"""Shim6 headers in the data path: payload extension headers, heads of control messages (RFC 5533 §5)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    SHIM6_OK = 0
    SHIM6_TRUNCATED = -1       # fewer bytes than the header needs or states
    SHIM6_MALFORMED = -2       # a payload header with a length, bit S of HIP, too short for its type
    SHIM6_CHECKSUM = -3        # a control message whose checksum is wrong

    PROTOCOL_SHIM6 = 140
    SHIM6_PAYLOAD_SIZE = 8
    SHIM6_CONTEXT_TYPES = 64   # control messages from this type on name a context of the receiver


cdef struct shim6_t:
    uint8_t next_header        # of the payload after the header; 59 after a control message
    uint8_t is_payload         # bit P
    uint8_t type               # control message: 0 to 127
    uint8_t code               # control message: the seven type-specific bits, the code of an Error
    uint8_t has_tag            # `tag` counts: all but R1, Error and messages of unknown type
    uint16_t size              # octets of the header, a multiple of 8
    uint64_t tag               # 47 bits; whose tag it is depends on the type


# SHIM6_OK and *out filled, or a negative status with *out undefined. `data` begins at the Shim6 header and
# `size` goes to the end of the IPv6 packet; what follows the header is not looked at (RFC 5533 §12.2, §12.3).
# Options stay for the control plane.
cdef int shim6_parse(const uint8_t *data, uint32_t size, shim6_t *out) noexcept nogil
# Writes the payload extension header (RFC 5533 §5.2) and returns its 8 octets.
cdef uint32_t shim6_emit_payload(uint8_t *out, uint8_t next_header, uint64_t tag) noexcept nogil

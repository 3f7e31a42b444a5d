"""Rewriting of headers: Shim6's payload extension header (RFC 5533 §5.2), and fields and options of TCP.

Every function takes a packet that begins with its IP header and gives one of its own size back; bytes beyond
the packet's own length are left out. Checksums follow the change and never the bytes, so that damage stays
visible to the receiver.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    REWRITE_OK = 0
    REWRITE_TRUNCATED = -1
    REWRITE_MALFORMED = -2
    REWRITE_OTHER = -3         # not the protocol that is asked for: no IPv6, no TCP, no header to remove
    REWRITE_ROOM = -4          # the result has no room where it is to go
    REWRITE_TOO_LARGE = -5     # the result is beyond what its IP header can tell

    # tcp_rewrite_t.fields
    REWRITE_SRC = 0x01
    REWRITE_DST = 0x02
    REWRITE_SRC_PORT = 0x04
    REWRITE_DST_PORT = 0x08
    REWRITE_WINDOW = 0x10
    REWRITE_OPTIONS = 0x20

    SHIM6_PROTOCOL = 140       # RFC 5533 §17
    SHIM6_HEADER_SIZE = 8


# Frozen, as all structs of this header: part of the ABI.
cdef struct shim6_flow_t:
    uint64_t tag               # 47 bits, as the receiver chose it; not used by shim6_remove
    uint8_t src[16]            # addresses that the result gets: locators towards the network, ULIDs from it
    uint8_t dst[16]


cdef struct tcp_rewrite_t:
    uint32_t seq_add           # modulo 2**32
    uint32_t ack_add           # for the acknowledgement number and the blocks of a SACK option
    uint16_t src_port
    uint16_t dst_port
    uint16_t window
    uint8_t fields             # REWRITE_…: what of the fields here counts
    uint8_t options_size       # multiple of four, at most 40
    uint8_t version            # of src and dst; only looked at when one of them counts
    uint8_t reserved[3]
    uint8_t src[16]            # 4 or 16 octets
    uint8_t dst[16]
    uint8_t options[40]        # take the place of all options


# Any of the functions below, for batches; `what` is the struct that it takes.
ctypedef int64_t (*rewriter_t)(const uint8_t *data, uint32_t size, const void *what, uint8_t *out,
                               uint32_t room) noexcept nogil

# Writes the packet with the payload extension header of `flow` at the place of RFC 5533 §4.6. `out` has
# `room` bytes; it is `data`, or `data - 8` (only the headers move), or does not overlap. The new size, or a
# status.
cdef int64_t shim6_insert(const uint8_t *data, uint32_t size, const shim6_flow_t *flow,
                          uint8_t *out, uint32_t room) noexcept nogil
# Writes the packet without that header. `out` is `data`, or `data + 8` (only the headers move), or does not
# overlap. The new size, or a status.
cdef int64_t shim6_remove(const uint8_t *data, uint32_t size, const shim6_flow_t *flow,
                          uint8_t *out, uint32_t room) noexcept nogil
# The context tag of a payload extension header, or a status; REWRITE_OTHER when there is none.
cdef int64_t shim6_tag(const uint8_t *data, uint32_t size) noexcept nogil
# Writes the TCP packet with the changes of `rule`. `out` is `data` or does not overlap. The new size, or a
# status. Preconditions: the checksum field covers the whole segment (no offload is pending).
cdef int64_t tcp_rewrite(const uint8_t *data, uint32_t size, const tcp_rewrite_t *rule,
                         uint8_t *out, uint32_t room) noexcept nogil
# Computes the checksums of the IPv4 header and of TCP or UDP anew; REWRITE_OTHER for other protocols.
cdef int checksums_fix(uint8_t *data, uint32_t size) noexcept nogil


cdef class Shim6Flow:
    cdef shim6_flow_t flow


cdef class TcpRewrite:
    cdef tcp_rewrite_t rule

    cdef int _take_addresses(self, bytes src, bytes dst) except -1
    cdef int _take_options(self, bytes options) except -1

"""The headers of one packet by value, for batches that outlive the bytes, and `Packet`, their Python face."""

from libc.stdint cimport int8_t, uint8_t, uint16_t, uint32_t


cdef enum:
    HEADERS_OK = 0         # IP and TCP headers are filled in
    HEADERS_TRUNCATED = -1
    HEADERS_MALFORMED = -2
    HEADERS_FRAGMENT = -3  # not a whole packet
    HEADERS_OTHER = -4     # not TCP: the fields of IP are filled in, those of TCP are 0


# Frozen: part of the ABI (see mpcore/abi.pxd). Numbers are in the machine's byte order. On a negative status
# other than HEADERS_OTHER all other fields are 0.
cdef struct headers_t:
    uint8_t src[16]        # an IPv4 address fills the first 4 octets
    uint8_t dst[16]
    uint32_t total_size    # bytes of the packet by its own header
    uint32_t payload_at    # bytes before TCP's payload; before the upper layer when HEADERS_OTHER
    uint32_t payload_size
    uint32_t seq
    uint32_t ack
    uint32_t ts_val
    uint32_t ts_ecr
    uint32_t sack[8]       # start, end, start, …; sack_count pairs
    uint16_t src_port
    uint16_t dst_port
    uint16_t tcp_at        # bytes before the TCP header
    uint16_t window        # unscaled
    uint16_t checksum      # TCP's
    uint16_t urgent
    uint16_t has           # TCP_HAS_… of mpcore/wire/tcp.pxd
    uint16_t mss
    uint16_t mptcp_at[4]   # where each MPTCP option begins, from the packet's start
    uint8_t mptcp_size[4]
    uint8_t mptcp_count
    uint8_t sack_count
    uint8_t wscale
    uint8_t flags          # TCP_FIN …
    int8_t status          # HEADERS_…
    uint8_t version        # 4 or 6
    uint8_t protocol
    uint8_t tos
    uint8_t ttl
    uint8_t reserved[3]


# Fills *out from `size` bytes that begin with an IP header; returns out.status.
cdef int headers_parse(const uint8_t *data, uint32_t size, headers_t *out) noexcept nogil


cdef class Packet:
    cdef readonly bytes data
    cdef headers_t headers

    cdef bytes field(self, size_t offset, size_t size)

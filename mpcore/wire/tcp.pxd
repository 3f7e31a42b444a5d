"""TCP header and options (RFC 9293 §3.1, RFC 7323, RFC 2018): a view into a segment, and emission."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef enum:
    TCP_OK = 0
    TCP_TRUNCATED = -1
    TCP_MALFORMED = -2

    TCP_FIN = 0x01
    TCP_SYN = 0x02
    TCP_RST = 0x04
    TCP_PSH = 0x08
    TCP_ACK = 0x10
    TCP_URG = 0x20
    TCP_ECE = 0x40
    TCP_CWR = 0x80

    TCP_HAS_MSS = 0x01
    TCP_HAS_WSCALE = 0x02
    TCP_HAS_SACK_PERMITTED = 0x04
    TCP_HAS_TIMESTAMP = 0x08
    TCP_HAS_SACK = 0x10
    TCP_HAS_MPTCP = 0x20
    TCP_HAS_FASTOPEN = 0x40        # kind 34, RFC 7413
    TCP_HAS_AUTH = 0x80            # MD5 (19) or TCP-AO (29)
    TCP_BAD_OPTIONS = 0x100        # option walk ended at an impossible length; what came before it counts

    # kinds of options
    KIND_END = 0
    KIND_NOP = 1
    KIND_MSS = 2
    KIND_WSCALE = 3
    KIND_SACK_PERMITTED = 4
    KIND_SACK = 5
    KIND_TIMESTAMP = 8
    KIND_MD5 = 19
    KIND_AO = 29
    KIND_MPTCP = 30
    KIND_FASTOPEN = 34

    TCP_MPTCP_MAX = 4              # MPTCP options looked at in one segment
    TCP_SACK_MAX = 4
    TCP_OPTIONS_MAX = 40
    TCP_HEADER_MAX = 60


cdef struct tcp_t:
    uint16_t src_port
    uint16_t dst_port
    uint32_t seq
    uint32_t ack
    uint16_t window               # as on the wire, unscaled
    uint16_t checksum
    uint16_t urgent
    uint8_t flags                 # TCP_FIN …
    uint8_t header_size           # 20…60
    uint32_t payload_size
    const uint8_t *payload
    const uint8_t *options        # header_size - 20 bytes
    uint16_t has                  # TCP_HAS_…, TCP_BAD_OPTIONS
    uint16_t mss
    uint8_t wscale                # as received; RFC 7323 §2.3 caps its use at 14
    uint8_t sack_count
    uint32_t ts_val
    uint32_t ts_ecr
    uint32_t sack_start[4]
    uint32_t sack_end[4]
    uint8_t mptcp_count
    uint8_t mptcp_size[4]         # with kind and length octets, >= 3
    const uint8_t *mptcp[4]       # at the kind octet


# `size` is the segment: header, options and payload. TCP_OK, or a negative status with *out undefined.
cdef int tcp_parse(const uint8_t *data, uint32_t size, tcp_t *out) noexcept nogil
# Writes a header with `options_size` option bytes (copied from `options`, padded with NOP to a multiple of
# four) and checksum 0; returns the header's size, or 0 and nothing written when there are more than 40.
cdef uint32_t tcp_emit(uint8_t *out, uint16_t src_port, uint16_t dst_port, uint32_t seq, uint32_t ack,
                       uint8_t flags, uint16_t window,
                       const uint8_t *options, uint32_t options_size) noexcept nogil
# True (1) when the checksum of the `size`-byte segment is right under the pseudo-header.
cdef int tcp_checksum_ok(int version, const uint8_t *src, const uint8_t *dst,
                         const uint8_t *segment, uint32_t size) noexcept nogil

"""Packets that the data plane makes: segments and ACKs of subflows, and the peer's part towards the host."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from mpcore.mptcp.types cimport conn_t, plane_t, segment_t, subflow_t
from mpcore.wire.tcp cimport tcp_t


cdef enum:
    EMIT_OK = 0
    EMIT_FULL = -1         # the port's transmit queue is full: try again after the driver drained it
    EMIT_GONE = -2         # the bytes are no longer held


# A data segment or FIN of the subflow; its record says what. `again`: it was sent before.
cdef int emit_segment(plane_t *plane, conn_t *conn, subflow_t *subflow, segment_t *segment,
                      int again) noexcept nogil
# The `size` bytes from data offset `offset`, as one super-packet from subflow offset `seq` on, in the host's
# waiting packet `carrier`; one mapping covers them, whose checksum is returned in *checksum.
cdef int emit_carried(plane_t *plane, conn_t *conn, subflow_t *subflow, uint64_t seq, uint64_t offset,
                      uint32_t size, uint32_t carrier, uint16_t *checksum) noexcept nogil
# Lets the host's waiting packet go for good.
cdef void emit_drop(plane_t *plane, uint32_t carrier) noexcept nogil
# A pure ACK with DATA_ACK and SACK; in SF_PRE_ESTABLISHED and before MP_CAPABLE is confirmed, the handshake's
# third ACK.
cdef int emit_ack(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil
# A pure ACK that carries one given option (ADD_ADDR, MP_PRIO, …) in place of DSS.
cdef int emit_option(plane_t *plane, conn_t *conn, subflow_t *subflow, const uint8_t *option,
                     uint32_t size) noexcept nogil
# DATA_FIN alone (RFC 8684 §3.3.3).
cdef int emit_data_fin(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil
# RST with MP_TCPRST `reason`, and MP_FASTCLOSE when asked for.
cdef int emit_reset(plane_t *plane, conn_t *conn, subflow_t *subflow, uint8_t reason,
                    int fastclose) noexcept nogil
# RST with MP_FAIL for the mapping that starts at `data_seq` (RFC 8684 §3.7).
cdef int emit_failure(plane_t *plane, conn_t *conn, subflow_t *subflow, uint64_t data_seq) noexcept nogil
# The answer to a segment of the first subflow after its end: RST (RFC 9293 §3.10.7.1).
cdef int emit_refusal(plane_t *plane, conn_t *conn, const tcp_t *tcp) noexcept nogil
# The infinite mapping that ends MPTCP (RFC 8684 §3.7), on the oldest segment not acknowledged or on an ACK.
cdef int emit_infinite(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil
# An out-of-window segment that makes the peer answer with an ACK and its window (RFC 9293 §3.8.6.1).
cdef int emit_probe(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil

# Received data [offset, offset + size), size <= INJECT_MAX, or a pure ACK when size is 0; `flags` adds
# TCP_FIN or TCP_PSH.
cdef int inject(plane_t *plane, conn_t *conn, uint64_t offset, uint32_t size, uint8_t flags) noexcept nogil
# The window field that the socket would be sent now.
cdef uint16_t output_host_window(conn_t *conn) noexcept nogil
cdef int inject_reset(plane_t *plane, conn_t *conn) noexcept nogil
# Clock for timestamps, in milliseconds since `zero_ns`.
cdef uint32_t clock_ms(const plane_t *plane, long long zero_ns) noexcept nogil

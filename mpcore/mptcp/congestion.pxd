"""Congestion control: what a subflow's window does on acknowledgement and on loss."""

from libc.stdint cimport int64_t, uint64_t

from mpcore.mptcp.types cimport conn_t, subflow_t


cdef enum:
    CONGESTION_RENO = 0    # RFC 5681 on each subflow alone
    CONGESTION_LIA = 1     # coupled increase (RFC 6356)
    CONGESTION_CUBIC = 2   # RFC 9438 on each subflow alone
    INITIAL_SEGMENTS = 10  # RFC 6928 §2


# Data was sent, or (`full`) waits for want of window: only a window that is used may grow.
cdef void congestion_used(subflow_t *subflow, int full) noexcept nogil
# `acked` bytes were newly acknowledged outside fast recovery.
cdef void congestion_on_ack(conn_t *conn, subflow_t *subflow, uint64_t acked, int64_t now_ns) noexcept nogil
# Data leaves after nothing was in flight.
cdef void congestion_resume(subflow_t *subflow, int64_t now_ns) noexcept nogil
# Slow start threshold after a loss while `flight` bytes were sent and not cumulatively acknowledged, whether
# SACKed or not, and no more than the window; at least two segments (RFC 5681 §3.1 equation 4).
cdef uint64_t congestion_ssthresh(subflow_t *subflow, uint64_t flight) noexcept nogil
# A round trip was measured: slow start ends when a queue builds up (RFC 9406).
cdef void congestion_on_rtt(subflow_t *subflow, int64_t rtt_ns) noexcept nogil
# Nothing was sent for a while: the window begins anew (RFC 5681 §4.1).
cdef void congestion_idle(subflow_t *subflow) noexcept nogil
cdef void congestion_init(subflow_t *subflow) noexcept nogil

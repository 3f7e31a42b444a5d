"""Explicit congestion notification of a subflow.

The host's socket agrees on it with the peer by its own SYN, and each joined subflow by ours; marks concern
the path, so they are obeyed here and the socket sees none.
"""

from libc.stdint cimport uint64_t

from mpcore.mptcp.congestion cimport congestion_ssthresh
from mpcore.mptcp.types cimport count, plane_t, subflow_t
from mpcore.store.counters cimport COUNTER_CE_RX, COUNTER_ECN_REDUCED
from mpcore.wire.tcp cimport TCP_CWR, tcp_t


cdef void ecn_received(plane_t *plane, subflow_t *subflow, const tcp_t *tcp, int marked) noexcept nogil:
    """RFC 3168 §6.1.3: a mark is echoed until CWR; one on the very packet with CWR is a new one."""
    if tcp.flags & TCP_CWR and tcp.payload_size:
        subflow.ecn_echo = 0
    if marked:
        count(plane, COUNTER_CE_RX)
        if tcp.payload_size:
            subflow.ecn_echo = 1


cdef void ecn_echoed(plane_t *plane, subflow_t *subflow, uint64_t flight) noexcept nogil:
    """RFC 3168 §6.1.2: as for a loss, but once a window, and nothing is sent again.

    Up to the ACK of what came after the reduction the peer cannot have seen its CWR.
    """
    if subflow.snd_una <= subflow.ecn_point:
        return
    count(plane, COUNTER_ECN_REDUCED)
    subflow.ssthresh = congestion_ssthresh(subflow, flight)
    subflow.cwnd = subflow.ssthresh
    subflow.cwnd_acked = 0
    ecn_note_reduction(subflow)


cdef void ecn_note_reduction(subflow_t *subflow) noexcept nogil:
    if subflow.ecn:
        subflow.ecn_point = subflow.snd_nxt
        subflow.ecn_cwr = 1


cdef int ecn_reduced_before(const subflow_t *subflow) noexcept nogil:
    return subflow.snd_una < subflow.ecn_point

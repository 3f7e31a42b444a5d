"""Pacing of a subflow.

A window that opens at once, after a pause of the program or by an ACK for much, would leave at the rate of
the host's own link and overrun the first short queue. It leaves instead at a pace somewhat above the one at
which it is acknowledged. Factors and the size of what leaves at once are those of Linux (tcp_pacing_ss_ratio,
tcp_pacing_ca_ratio, sk_pacing_shift, tcp_tso_rtt_log).
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from mpcore.mptcp.types cimport NEVER, plane_t, subflow_t


cdef enum:
    SLOW_START_PERCENT = 200   # of window a round trip, while the window may double in one
    AVOIDANCE_PERCENT = 120
    MS = 1000000
    SUPER_PACKET = 65536
    NEAR_BITS = 19             # of nanoseconds: half a millisecond


# What a sender that overslept may catch up with: the driver's timer counts in milliseconds.
cdef int64_t CREDIT_NS = 2 * <int64_t>MS


cdef int is_paced(const plane_t *plane, const subflow_t *subflow) noexcept nogil:
    return plane.pacing and subflow.srtt_ns > 0


cdef uint64_t window_percent(const subflow_t *subflow) noexcept nogil:
    """Hundredths of bytes that leave in a round trip."""
    cdef uint64_t window = max(subflow.cwnd, subflow.inflight)
    return window * (SLOW_START_PERCENT if subflow.cwnd < subflow.ssthresh // 2 else AVOIDANCE_PERCENT)


cdef uint64_t pacing_quantum(const plane_t *plane, const subflow_t *subflow) noexcept nogil:
    cdef uint64_t least = 2 * <uint64_t>subflow.mss
    cdef uint64_t halvings
    if not is_paced(plane, subflow):
        return <uint64_t>-1
    # a near receiver's queue is short in time whatever comes at once (Linux's tcp_tso_rtt_log)
    halvings = min(<uint64_t>subflow.min_rtt_ns >> NEAR_BITS, <uint64_t>63)
    least += <uint64_t>SUPER_PACKET >> halvings
    return max(least, window_percent(subflow) // 100 * MS // <uint64_t>subflow.srtt_ns)


cdef int64_t pacing_wait_ns(const plane_t *plane, const subflow_t *subflow) noexcept nogil:
    if not is_paced(plane, subflow) or subflow.pace_ns <= plane.now_ns:
        return 0
    return subflow.pace_ns - plane.now_ns


cdef void pacing_wait(subflow_t *subflow) noexcept nogil:
    subflow.pace_at_ns = subflow.pace_ns


cdef void pacing_sent(const plane_t *plane, subflow_t *subflow, uint32_t size) noexcept nogil:
    """Move the time of the next transmission on by what these bytes take; two segments go in any case."""
    cdef uint64_t share, full
    if not is_paced(plane, subflow):
        return
    share = max(window_percent(subflow), <uint64_t>1)
    full = subflow.mss * <uint64_t>subflow.srtt_ns * 100 // share
    subflow.pace_ns = max(subflow.pace_ns, plane.now_ns - max(CREDIT_NS, <int64_t>full))
    subflow.pace_ns += <int64_t>(size * <uint64_t>subflow.srtt_ns * 100 // share)
    subflow.pace_at_ns = NEVER

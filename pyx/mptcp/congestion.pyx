"""Congestion control: Reno (RFC 5681), the Linked Increases Algorithm (RFC 6356), HyStart++ (RFC 9406)."""

from libc.stdint cimport int64_t, uint64_t

from mpcore.mptcp.types cimport SUBFLOW_MAX, can_carry, conn_t, subflow_t


cdef void congestion_init(subflow_t *subflow) noexcept nogil:
    subflow.cwnd = INITIAL_SEGMENTS * <uint64_t>subflow.mss
    subflow.ssthresh = <uint64_t>-1
    subflow.cwnd_acked = 0


cdef enum:
    HYSTART_SAMPLES = 8            # RFC 9406 §4.3: N_RTT_SAMPLE
    HYSTART_MIN_NS = 4000000       # MIN_RTT_THRESH
    HYSTART_MAX_NS = 16000000      # MAX_RTT_THRESH


cdef void congestion_on_rtt(subflow_t *subflow, int64_t rtt_ns) noexcept nogil:
    """Compare this round's least round trip with the last one's: RFC 9406 §4.2's rise ends slow start."""
    cdef int64_t threshold
    if subflow.cwnd >= subflow.ssthresh:
        return
    if subflow.snd_una >= subflow.round_end:
        subflow.round_end = subflow.snd_nxt
        subflow.last_round_ns = subflow.round_ns
        subflow.round_ns = 0
        subflow.round_samples = 0
    if subflow.round_ns == 0 or rtt_ns < subflow.round_ns:
        subflow.round_ns = rtt_ns
    subflow.round_samples += 1
    if subflow.round_samples < HYSTART_SAMPLES or subflow.last_round_ns == 0:
        return
    threshold = max(<int64_t>HYSTART_MIN_NS, min(subflow.last_round_ns // 8, <int64_t>HYSTART_MAX_NS))
    if subflow.round_ns >= subflow.last_round_ns + threshold:
        subflow.ssthresh = subflow.cwnd


cdef uint64_t congestion_ssthresh(const subflow_t *subflow, uint64_t flight) noexcept nogil:
    cdef uint64_t half = flight // 2
    cdef uint64_t least = 2 * <uint64_t>subflow.mss
    return half if half > least else least


cdef uint64_t lia_divisor(const conn_t *conn, const subflow_t *subflow) noexcept nogil:
    """Return the bytes to be acknowledged for one more segment of window: max(cwnd_i, cwnd_total / alpha).

    RFC 6356 §3: alpha = total * max(cwnd_i / rtt_i^2) / (sum cwnd_i / rtt_i)^2, so total cancels out of total
    / alpha.
    """
    cdef double best = 0.0
    cdef double rate_sum = 0.0
    cdef double rtt, cwnd
    cdef uint64_t coupled
    cdef const subflow_t *other
    cdef int i
    for i in range(SUBFLOW_MAX):
        other = conn.subflows[i]
        if not can_carry(other) or other.srtt_ns == 0 or other.suspect:
            continue
        rtt = <double>other.srtt_ns
        cwnd = <double>other.cwnd
        rate_sum += cwnd / rtt
        if cwnd / (rtt * rtt) > best:
            best = cwnd / (rtt * rtt)
    if best <= 0.0:
        return subflow.cwnd
    coupled = <uint64_t>(rate_sum * rate_sum / best)
    return coupled if coupled > subflow.cwnd else subflow.cwnd


cdef void congestion_on_ack(conn_t *conn, subflow_t *subflow, uint64_t acked, uint64_t flight) noexcept nogil:
    cdef uint64_t needed
    if subflow.cwnd < subflow.ssthresh:
        # a window that was not used says nothing about the path (RFC 7661 §4.1)
        if 2 * flight >= subflow.cwnd:
            subflow.cwnd += acked
            if subflow.cwnd > subflow.ssthresh:
                subflow.cwnd = subflow.ssthresh
        return
    if flight + 2 * <uint64_t>subflow.mss < subflow.cwnd:
        return
    needed = lia_divisor(conn, subflow) if conn.congestion == CONGESTION_LIA else subflow.cwnd
    subflow.cwnd_acked += acked
    if subflow.cwnd_acked >= needed:
        subflow.cwnd_acked -= needed
        subflow.cwnd += subflow.mss
        if subflow.cwnd_acked > needed:
            subflow.cwnd_acked = 0

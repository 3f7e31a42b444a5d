"""Congestion: Reno (RFC 5681), Linked Increases (RFC 6356), CUBIC (RFC 9438), HyStart++ (RFC 9406)."""

from libc.math cimport cbrt
from libc.stdint cimport int64_t, uint8_t, uint64_t

from mpcore.mptcp.types cimport SUBFLOW_MAX, can_carry, conn_t, subflow_t


cdef void congestion_init(subflow_t *subflow) noexcept nogil:
    subflow.cwnd = INITIAL_SEGMENTS * <uint64_t>subflow.mss
    subflow.ssthresh = <uint64_t>-1
    subflow.cwnd_acked = 0
    subflow.cubic.epoch_ns = subflow.cubic.unused_ns = -1


cdef void congestion_idle(subflow_t *subflow) noexcept nogil:
    cdef uint64_t restart = INITIAL_SEGMENTS * <uint64_t>subflow.mss
    if subflow.cwnd > restart:
        subflow.cwnd = restart
        # where slow start ends is where the next stage begins
        subflow.cubic.epoch_ns = -1


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


cdef uint64_t congestion_ssthresh(subflow_t *subflow, uint64_t flight) noexcept nogil:
    # what the peer has SACKed for long behind an old gap was not in flight in this window
    cdef uint64_t used = min(flight, subflow.cwnd)
    cdef uint64_t kept = used // 2
    cdef uint64_t least = 2 * <uint64_t>subflow.mss
    if subflow.congestion == CONGESTION_CUBIC:
        cubic_on_loss(subflow)
        kept = <uint64_t>(CUBIC_BETA * <double>used)
    return kept if kept > least else least


# --- CUBIC (RFC 9438); windows in segments, times in seconds

cdef double CUBIC_C = 0.4
cdef double CUBIC_BETA = 0.7
cdef double CUBIC_ALPHA = 3.0 * (1.0 - 0.7) / (1.0 + 0.7)


cdef void cubic_on_loss(subflow_t *subflow) noexcept nogil:
    """RFC 9438 §4.6, §4.7: remember the window at the loss, less when it is falling (fast convergence)."""
    cdef double window = <double>subflow.cwnd / subflow.mss
    subflow.cubic.prior = window
    if window < subflow.cubic.maximum:
        subflow.cubic.maximum = window * (1.0 + CUBIC_BETA) / 2.0
    else:
        subflow.cubic.maximum = window
    subflow.cubic.epoch_ns = -1


cdef void cubic_start(subflow_t *subflow, double window, int64_t now_ns) noexcept nogil:
    """A new stage of congestion avoidance (RFC 9438 §4.2)."""
    subflow.cubic.epoch_ns = now_ns
    subflow.cubic.unused_ns = -1
    subflow.cubic.estimate = window
    if subflow.cubic.maximum < window:
        subflow.cubic.maximum = window
    subflow.cubic.k = cbrt((subflow.cubic.maximum - window) / CUBIC_C)


cdef void cubic_skip(subflow_t *subflow, int64_t now_ns) noexcept nogil:
    """Time in which the window was not used does not count (RFC 9438 §4.2, §5.8)."""
    if subflow.cubic.unused_ns >= 0 and subflow.cubic.epoch_ns >= 0:
        subflow.cubic.epoch_ns += now_ns - subflow.cubic.unused_ns
    subflow.cubic.unused_ns = -1


cdef void congestion_resume(subflow_t *subflow, int64_t now_ns) noexcept nogil:
    # a window that was not filled before the pause goes on not to be used until it is
    if is_used(subflow):
        cubic_skip(subflow, now_ns)


cdef void cubic_on_ack(subflow_t *subflow, uint64_t acked, int64_t now_ns) noexcept nogil:
    """RFC 9438 §4.2 to §4.5: follow the cubic, never slower than Reno would be."""
    cdef double window = <double>subflow.cwnd / subflow.mss
    cdef double elapsed, target, alpha
    cubic_skip(subflow, now_ns)
    if subflow.cubic.epoch_ns < 0:
        cubic_start(subflow, window, now_ns)
    # back where the loss was, Reno's own increase is fair (RFC 9438 §4.3)
    alpha = 1.0 if subflow.cubic.estimate >= subflow.cubic.prior else CUBIC_ALPHA
    elapsed = <double>(now_ns - subflow.cubic.epoch_ns + subflow.srtt_ns) / 1e9 - subflow.cubic.k
    target = CUBIC_C * elapsed * elapsed * elapsed + subflow.cubic.maximum
    subflow.cubic.estimate += alpha * (<double>acked / subflow.mss) / window
    target = max(target, subflow.cubic.estimate)
    target = min(max(target, window), 1.5 * window)
    # the growth of a round trip, spread over its acknowledgements
    subflow.cubic.credit += (target - window) * <double>acked / window
    if subflow.cubic.credit >= 1.0:
        subflow.cwnd += <uint64_t>subflow.cubic.credit
        subflow.cubic.credit -= <double><uint64_t>subflow.cubic.credit


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
        # in recovery the window says what may be sent now; what it comes back to counts (RFC 6356 §3)
        cwnd = <double>(other.ssthresh if other.recovering == 1 else other.cwnd)
        rate_sum += cwnd / rtt
        if cwnd / (rtt * rtt) > best:
            best = cwnd / (rtt * rtt)
    if best <= 0.0:
        return subflow.cwnd
    coupled = <uint64_t>(rate_sum * rate_sum / best)
    return coupled if coupled > subflow.cwnd else subflow.cwnd


cdef void congestion_used(subflow_t *subflow, int full) noexcept nogil:
    """Within a window the strongest sign counts: super-packets and pauses leave room at most instants."""
    if subflow.snd_una >= subflow.use_end or full or (
            not subflow.cwnd_full and subflow.inflight > subflow.use_max):
        subflow.cwnd_full = <uint8_t>full
        subflow.use_max = subflow.inflight
        subflow.use_end = subflow.snd_nxt


cdef int is_used(const subflow_t *subflow) noexcept nogil:
    """A window that was not used says nothing about the path (RFC 7661 §4.1, RFC 9438 §5.8)."""
    if subflow.cwnd_full:
        return 1
    return subflow.cwnd < subflow.ssthresh and 2 * subflow.use_max >= subflow.cwnd


cdef void congestion_on_ack(conn_t *conn, subflow_t *subflow, uint64_t acked, int64_t now_ns) noexcept nogil:
    if is_used(subflow):
        grow(conn, subflow, acked, now_ns)
    elif subflow.cubic.unused_ns < 0:
        subflow.cubic.unused_ns = now_ns
    if subflow.snd_una == subflow.snd_nxt and subflow.cubic.unused_ns < 0:
        subflow.cubic.unused_ns = now_ns


cdef void grow(conn_t *conn, subflow_t *subflow, uint64_t acked, int64_t now_ns) noexcept nogil:
    cdef uint64_t needed
    if subflow.cwnd < subflow.ssthresh:
        subflow.cwnd += acked
        if subflow.cwnd > subflow.ssthresh:
            subflow.cwnd = subflow.ssthresh
        return
    if subflow.congestion == CONGESTION_CUBIC:
        cubic_on_ack(subflow, acked, now_ns)
        return
    needed = lia_divisor(conn, subflow) if subflow.congestion == CONGESTION_LIA else subflow.cwnd
    needed = max(needed, <uint64_t>subflow.mss)
    # octet by octet (RFC 5681 §3.1, RFC 3465): in whole segments it would lag by half a segment on average
    subflow.cwnd_acked += min(acked, needed) * subflow.mss
    subflow.cwnd += subflow.cwnd_acked // needed
    subflow.cwnd_acked %= needed

"""A subflow's sender: records of what is in flight, SACK scoreboard (RFC 6675), timer (RFC 6298)."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from mpcore.mptcp.congestion cimport (
    INITIAL_SEGMENTS,
    congestion_idle,
    congestion_init,
    congestion_on_ack,
    congestion_on_rtt,
    congestion_resume,
    congestion_used,
)
from mpcore.mptcp.ecn cimport ecn_echoed
from mpcore.mptcp.frto cimport FRTO_FORWARD, frto_judge
from mpcore.mptcp.pacing cimport pacing_sent
from mpcore.mptcp.pathmtu cimport pathmtu_acked, pathmtu_only_tried
from mpcore.mptcp.recovery cimport (
    recovery_answered,
    recovery_delivered,
    recovery_detect,
    recovery_duplicate,
    recovery_enter,
    recovery_leave,
    recovery_probe_acked,
    recovery_reduce,
    recovery_resent,
    recovery_spurious,
    recovery_take_back,
    recovery_timeout,
    recovery_without_sack,
)
from mpcore.mptcp.types cimport (
    NEVER,
    SACK_CACHE,
    SEG_FIN,
    SEG_FOREIGN,
    SEG_LOST,
    SEG_OWN,
    SEG_RESENT,
    SEG_SACKED,
    conn_t,
    count,
    plane_t,
    segment_t,
    subflow_t,
    unwrap,
)
from mpcore.store.counters cimport COUNTER_SACK_IGNORED, COUNTER_SUBFLOW_RECOVER, COUNTER_SUBFLOW_TIMEOUT
from mpcore.store.ring cimport ring_clear
from mpcore.wire.tcp cimport TCP_ECE, TCP_HAS_SACK, TCP_HAS_TIMESTAMP, tcp_t


cdef enum:
    FIRST_SEGMENTS = 8         # most connections idle; it doubles at need
    MS = 1000000


cdef int64_t RTO_MIN_NS = 200 * <int64_t>MS
cdef int64_t RTO_MAX_NS = 60000 * <int64_t>MS
cdef int64_t RTO_FIRST_NS = 1000 * <int64_t>MS
cdef int64_t LEAST_RTT_HALF_NS = 150000 * <int64_t>MS    # both together as Linux's tcp_min_rtt_wlen
cdef int64_t DELAYED_ACK_NS = 40 * <int64_t>MS
# silence that makes a path suspect in any case: well over a delayed ACK and a busy host's pauses, well under
# the timer's floor
cdef int64_t SUSPECT_GRACE_NS = 50 * <int64_t>MS
cdef int64_t SUSPECT_RTTS = 4
# and while another path answers: over the jitter of hosts
cdef int64_t OVERDUE_GRACE_NS = 20 * <int64_t>MS


cdef int sender_init(const plane_t *plane, subflow_t *subflow, int64_t rtt_ns) noexcept nogil:
    subflow.segments = <segment_t *>calloc(FIRST_SEGMENTS, sizeof(segment_t))
    if subflow.segments == NULL:
        return -1
    subflow.seg_mask = FIRST_SEGMENTS - 1
    subflow.snd_una = subflow.snd_nxt = 1
    subflow.rto_ns = RTO_FIRST_NS
    subflow.rto_at_ns = subflow.probe_at_ns = subflow.reorder_ns = subflow.suspect_at_ns = NEVER
    subflow.pace_at_ns = subflow.ask_at_ns = NEVER
    congestion_init(subflow)
    if rtt_ns:
        sample_rtt(plane, subflow, rtt_ns)
    return 0


cdef void sender_clear(subflow_t *subflow) noexcept nogil:
    free(subflow.segments)
    subflow.segments = NULL
    subflow.seg_count = subflow.seg_first = 0
    subflow.lost_count = subflow.sacked_count = subflow.foreign_count = 0
    subflow.own_count = 0
    ring_clear(&subflow.own)
    subflow.inflight = 0
    subflow.rto_at_ns = subflow.probe_at_ns = subflow.reorder_ns = subflow.suspect_at_ns = NEVER
    subflow.pace_at_ns = subflow.ask_at_ns = NEVER


cdef int grow(subflow_t *subflow, uint32_t limit) noexcept nogil:
    """Double the ring; amortised, so not an allocation per packet."""
    cdef uint32_t old = subflow.seg_mask + 1
    cdef uint32_t front
    cdef segment_t *bigger
    if 2 * old > limit:
        return -1
    bigger = <segment_t *>malloc(2 * old * sizeof(segment_t))
    if bigger == NULL:
        return -1
    front = old - subflow.seg_first
    memcpy(bigger, &subflow.segments[subflow.seg_first], front * sizeof(segment_t))
    memcpy(&bigger[front], subflow.segments, subflow.seg_first * sizeof(segment_t))
    free(subflow.segments)
    subflow.segments = bigger
    subflow.seg_first = 0
    subflow.seg_mask = 2 * old - 1
    return 0


cdef int sender_reserve(subflow_t *subflow, uint32_t segments, uint32_t limit) noexcept nogil:
    while subflow.seg_count + segments > subflow.seg_mask + 1:
        if grow(subflow, limit) < 0:
            return -1
    return 0


cdef segment_t *sender_push(subflow_t *subflow, uint32_t limit) noexcept nogil:
    cdef segment_t *segment
    if subflow.seg_count > subflow.seg_mask and grow(subflow, limit) < 0:
        return NULL
    segment = &subflow.segments[(subflow.seg_first + subflow.seg_count) & subflow.seg_mask]
    subflow.seg_count += 1
    segment.flags = 0
    segment.size = 0
    segment.map_size = 0
    segment.seq = subflow.snd_nxt
    return segment


cdef uint64_t sender_room(const subflow_t *subflow) noexcept nogil:
    return subflow.cwnd - subflow.inflight if subflow.cwnd > subflow.inflight else 0


cdef uint32_t sender_stamp(const subflow_t *subflow, int64_t sent_ns) noexcept nogil:
    return subflow.ts_local + <uint32_t>((sent_ns - subflow.ts_zero_ns) // MS)


cdef void sender_sent(plane_t *plane, subflow_t *subflow, segment_t *segment, int resent) noexcept nogil:
    # a window that was not used for long says nothing any more (RFC 5681 §4.1)
    if not resent and subflow.inflight == 0:
        if plane.now_ns - subflow.sent_ns > subflow.rto_ns:
            congestion_idle(subflow)
        congestion_resume(subflow, plane.now_ns)
    subflow.sent_ns = plane.now_ns
    segment.sent_ns = plane.now_ns
    pacing_sent(plane, subflow, segment.size)
    if segment.flags & SEG_LOST:
        segment.flags &= <uint8_t>~SEG_LOST
        subflow.lost_count -= 1
        subflow.inflight += segment.size
    elif not resent:
        subflow.inflight += segment.size
    congestion_used(subflow, 0)
    if resent:
        segment.flags |= SEG_RESENT
        recovery_resent(subflow, sender_stamp(subflow, plane.now_ns))
    if subflow.recovering == 1:
        subflow.prr_out += segment.size
    if subflow.rto_at_ns == NEVER:
        sender_arm(plane, subflow)
        watch(plane, subflow)
    elif not resent:
        arm_probe(plane, subflow)


# --- timers

cdef int64_t sender_backed_off(int64_t rto_ns, int doublings) noexcept nogil:
    cdef int _i
    for _i in range(doublings):
        if rto_ns >= RTO_MAX_NS:
            break
        rto_ns *= 2
    return min(rto_ns, RTO_MAX_NS)


cdef void arm_probe(plane_t *plane, subflow_t *subflow) noexcept nogil:
    """RFC 8985 §7.2: two round trips after the last transmission, for one segment a delayed ACK too."""
    cdef int64_t probe = 2 * subflow.srtt_ns + 2 * <int64_t>MS
    subflow.probe_at_ns = NEVER
    if (subflow.srtt_ns == 0 or subflow.recovering or subflow.sacked_count or subflow.probed
            or subflow.backoff):
        return
    if not subflow.sack or subflow.seg_count == 0:
        return
    if subflow.seg_count == 1:
        probe += DELAYED_ACK_NS
    # where the timer would be first, the probe takes its turn
    subflow.probe_at_ns = min(plane.now_ns + probe, subflow.rto_at_ns)


cdef int64_t sender_patience(const subflow_t *subflow) noexcept nogil:
    if subflow.srtt_ns == 0:
        return subflow.rto_ns
    return SUSPECT_RTTS * subflow.srtt_ns + SUSPECT_GRACE_NS


cdef int64_t sender_expected(const subflow_t *subflow) noexcept nogil:
    return max(2 * subflow.srtt_ns, subflow.srtt_ns + 4 * subflow.rttvar_ns) + OVERDUE_GRACE_NS


cdef int64_t sender_owed_since(const subflow_t *subflow) noexcept nogil:
    cdef const segment_t *segment
    cdef uint32_t i
    # the handshake's round trip tells nothing of how slowly a first window leaves
    if subflow.snd_una <= INITIAL_SEGMENTS * <uint64_t>subflow.mss:
        return NEVER
    for i in range(subflow.seg_count):
        segment = segment_at(subflow, i)
        if segment_end(segment) > subflow.snd_una + subflow.mss:
            return max(segment.sent_ns, subflow.answered_ns)
    return NEVER


cdef void watch(plane_t *plane, subflow_t *subflow) noexcept nogil:
    """What is out counts as unanswered from now on."""
    subflow.answered_ns = plane.now_ns
    subflow.suspect_at_ns = NEVER
    if subflow.seg_count and subflow.srtt_ns and not subflow.suspect:
        subflow.suspect_at_ns = plane.now_ns + min(sender_expected(subflow), sender_patience(subflow))


cdef void sender_arm(plane_t *plane, subflow_t *subflow) noexcept nogil:
    subflow.probe_at_ns = NEVER
    if subflow.seg_count == 0:
        subflow.rto_at_ns = NEVER
        return
    subflow.rto_at_ns = plane.now_ns + sender_backed_off(subflow.rto_ns, subflow.rto_shift)
    arm_probe(plane, subflow)


cdef void note_least_rtt(subflow_t *subflow, int64_t rtt_ns, int64_t now_ns) noexcept nogil:
    """The least round trip of this half of the window and the one before it (RFC 8985 §6.2)."""
    cdef int64_t passed = now_ns - subflow.min_since_ns
    if subflow.min_half_ns == 0 or passed >= LEAST_RTT_HALF_NS:
        # of the half that has passed something is left, unless it lies further back
        subflow.min_rtt_ns = subflow.min_half_ns if passed < 2 * LEAST_RTT_HALF_NS else 0
        subflow.min_half_ns = rtt_ns
        subflow.min_since_ns = now_ns
    subflow.min_half_ns = min(subflow.min_half_ns, rtt_ns)
    if subflow.min_rtt_ns == 0 or rtt_ns < subflow.min_rtt_ns:
        subflow.min_rtt_ns = rtt_ns


cdef void sample_rtt(const plane_t *plane, subflow_t *subflow, int64_t rtt_ns) noexcept nogil:
    """RFC 6298 §2, with Linux's floor of 200 ms for the timer."""
    cdef int64_t error
    if rtt_ns <= 0:
        rtt_ns = 1
    subflow.rto_shift = 0
    note_least_rtt(subflow, rtt_ns, plane.now_ns)
    if subflow.srtt_ns == 0:
        subflow.srtt_ns = rtt_ns
        subflow.rttvar_ns = rtt_ns // 2
    else:
        error = subflow.srtt_ns - rtt_ns
        if error < 0:
            error = -error
        subflow.rttvar_ns += (error - subflow.rttvar_ns) // 4
        subflow.srtt_ns += (rtt_ns - subflow.srtt_ns) // 8
    if subflow.srtt_ns < 1:
        subflow.srtt_ns = 1
    subflow.rto_ns = subflow.srtt_ns + 4 * subflow.rttvar_ns
    if subflow.rto_ns < RTO_MIN_NS:
        subflow.rto_ns = RTO_MIN_NS
    if subflow.rto_ns > RTO_MAX_NS:
        subflow.rto_ns = RTO_MAX_NS


# --- acknowledgement

cdef void forget(subflow_t *subflow, const segment_t *segment) noexcept nogil:
    """Take an acknowledged segment out of the counts."""
    if segment.flags & SEG_SACKED:
        subflow.sacked_count -= 1
    elif segment.flags & SEG_LOST:
        subflow.lost_count -= 1
    else:
        subflow.inflight -= segment.size
    if segment.flags & SEG_FOREIGN:
        subflow.foreign_count -= 1
    if segment.flags & SEG_OWN:
        subflow.own_count -= 1
        if subflow.own_count == 0:
            ring_clear(&subflow.own)


cdef int64_t echoed_rtt(const plane_t *plane, const subflow_t *subflow, const tcp_t *tcp) noexcept nogil:
    """Round trip by the echoed time stamp, to the millisecond; -1 where there is none (RFC 7323 §4.1)."""
    cdef int32_t age
    if not tcp.has & TCP_HAS_TIMESTAMP or not subflow.timestamps:
        return -1
    age = <int32_t>(sender_stamp(subflow, plane.now_ns) - tcp.ts_ecr)
    return age * <int64_t>MS if age > 0 else -1


cdef uint64_t ack_cumulative(plane_t *plane, subflow_t *subflow, uint64_t ack,
                             const tcp_t *tcp) noexcept nogil:
    """Drop segments before `ack`; return bytes delivered that were not SACKed before."""
    cdef segment_t *segment
    cdef uint64_t delivered = 0
    cdef uint32_t cut
    cdef int64_t rtt = -1
    cdef int repeated = 0
    while subflow.seg_count:
        segment = segment_at(subflow, 0)
        if segment_end(segment) > ack:
            break
        if subflow.hole or subflow.mtu_probe:
            pathmtu_acked(subflow, segment.size)
        repeated |= segment.flags & SEG_RESENT
        if not segment.flags & SEG_SACKED:
            delivered += segment.size
            recovery_delivered(plane, subflow, segment, NULL, tcp)
            rtt = plane.now_ns - segment.sent_ns
        forget(subflow, segment)
        subflow.seg_first = (subflow.seg_first + 1) & subflow.seg_mask
        subflow.seg_count -= 1
    if subflow.seg_count:
        segment = segment_at(subflow, 0)
        if segment.seq < ack:
            cut = <uint32_t>(ack - segment.seq)
            if not segment.flags & (SEG_SACKED | SEG_LOST):
                subflow.inflight -= cut
            segment.seq += cut
            segment.data += cut
            segment.map_offset += <uint16_t>cut
            segment.size -= cut
            delivered += cut
    subflow.snd_una = ack
    if rtt >= 0 and not repeated:
        sample_rtt(plane, subflow, rtt)
        congestion_on_rtt(subflow, rtt)
    else:
        # where some of it was sent twice, the rest may have waited behind that (RFC 6298 §3): the time stamp
        # alone tells which copy this answers
        rtt = echoed_rtt(plane, subflow, tcp)
        if rtt >= 0:
            sample_rtt(plane, subflow, rtt)
    return delivered


cdef uint32_t find_segment(const subflow_t *subflow, uint64_t seq) noexcept nogil:
    """Return the index of the first segment with seq >= `seq` (binary search), or seg_count."""
    cdef uint32_t low = 0
    cdef uint32_t high = subflow.seg_count
    cdef uint32_t middle
    while low < high:
        middle = (low + high) // 2
        if segment_at(subflow, middle).seq < seq:
            low = middle + 1
        else:
            high = middle
    return low


cdef uint64_t sack_range(plane_t *plane, subflow_t *subflow, uint64_t start, uint64_t end,
                         const tcp_t *tcp) noexcept nogil:
    """Mark the segments wholly inside [start, end); return bytes newly marked."""
    cdef uint32_t i = find_segment(subflow, start)
    cdef segment_t *segment
    cdef segment_t *before
    cdef uint64_t delivered = 0
    cdef int64_t rtt = -1
    while i < subflow.seg_count:
        segment = segment_at(subflow, i)
        if segment_end(segment) > end:
            break
        before = segment_at(subflow, i - 1) if i else NULL
        i += 1
        if segment.flags & SEG_SACKED:
            continue
        recovery_delivered(plane, subflow, segment, before, tcp)
        if segment.flags & SEG_LOST:
            segment.flags &= <uint8_t>~SEG_LOST
            subflow.lost_count -= 1
        else:
            subflow.inflight -= segment.size
        if not segment.flags & SEG_RESENT:
            rtt = plane.now_ns - segment.sent_ns
        segment.flags |= SEG_SACKED
        subflow.sacked_count += 1
        delivered += segment.size
    if rtt >= 0:
        sample_rtt(plane, subflow, rtt)
    return delivered


cdef uint64_t apply_sack(plane_t *plane, subflow_t *subflow, const tcp_t *tcp) noexcept nogil:
    """Walk only what the blocks show beyond the ones seen last (RFC 6675 §4)."""
    cdef uint64_t delivered = 0
    cdef uint64_t start, end, begin
    cdef uint64_t fresh[8]
    cdef int i, j
    for i in range(SACK_CACHE):
        fresh[2 * i] = fresh[2 * i + 1] = 0
    for i in range(tcp.sack_count):
        start = unwrap(tcp.sack_start[i], subflow.isn_local, subflow.snd_una)
        end = unwrap(tcp.sack_end[i], subflow.isn_local, subflow.snd_una)
        # what is not in flight was judged before, or is nonsense
        if start >= end or start < subflow.snd_una or end > subflow.snd_nxt:
            continue
        begin = start
        for j in range(SACK_CACHE):
            if subflow.sack_cache[2 * j] <= begin < subflow.sack_cache[2 * j + 1]:
                begin = subflow.sack_cache[2 * j + 1]
        fresh[2 * i] = start
        fresh[2 * i + 1] = end
        if begin < end:
            # one segment back: the old block may have ended inside a segment
            if begin != start:
                begin = start_of(subflow, begin)
            delivered += sack_range(plane, subflow, begin, end, tcp)
    memcpy(subflow.sack_cache, fresh, sizeof(fresh))
    return delivered


cdef uint64_t start_of(const subflow_t *subflow, uint64_t offset) noexcept nogil:
    """Return the start of the segment that holds `offset`, or `offset`."""
    cdef uint32_t i = find_segment(subflow, offset)
    cdef const segment_t *segment
    if i < subflow.seg_count and segment_at(subflow, i).seq == offset:
        return offset
    if i == 0:
        return offset
    segment = segment_at(subflow, i - 1)
    return segment.seq if segment_end(segment) > offset else offset


cdef int judge_sack(plane_t *plane, subflow_t *subflow, const tcp_t *tcp) noexcept nogil:
    """Count blocks without sense; True when the first is a D-SACK (RFC 2883 §4), which is passed on."""
    cdef uint64_t start, end, outer_start, outer_end
    cdef int inside
    cdef int i
    for i in range(1, tcp.sack_count):
        start = unwrap(tcp.sack_start[i], subflow.isn_local, subflow.snd_una)
        end = unwrap(tcp.sack_end[i], subflow.isn_local, subflow.snd_una)
        if start >= end or end > subflow.snd_nxt:
            count(plane, COUNTER_SACK_IGNORED)
    start = unwrap(tcp.sack_start[0], subflow.isn_local, subflow.snd_una)
    end = unwrap(tcp.sack_end[0], subflow.isn_local, subflow.snd_una)
    if start >= end or end > subflow.snd_nxt:
        count(plane, COUNTER_SACK_IGNORED)
        return 0
    inside = end <= subflow.snd_una
    if not inside and tcp.sack_count > 1:
        outer_start = unwrap(tcp.sack_start[1], subflow.isn_local, subflow.snd_una)
        outer_end = unwrap(tcp.sack_end[1], subflow.isn_local, subflow.snd_una)
        inside = outer_start <= start and end <= outer_end
    if inside:
        recovery_duplicate(plane, subflow, start, end)
    elif start < subflow.snd_una:
        count(plane, COUNTER_SACK_IGNORED)
    return inside


cdef void sender_ack(plane_t *plane, conn_t *conn, subflow_t *subflow, uint64_t ack, const tcp_t *tcp,
                     int duplicate) noexcept nogil:
    cdef uint64_t flight = subflow.snd_nxt - subflow.snd_una
    cdef uint64_t delivered = 0
    cdef int advanced = ack > subflow.snd_una
    cdef int has_sack = tcp.has & TCP_HAS_SACK and subflow.sack
    cdef int dsack = 0
    cdef int left
    cdef uint32_t lost_before
    if advanced:
        delivered = ack_cumulative(plane, subflow, ack, tcp)
        subflow.backoff = 0
        subflow.probed = 0
        if subflow.suspect:
            subflow.suspect = 0
            count(plane, COUNTER_SUBFLOW_RECOVER)
        recovery_spurious(plane, subflow, ack, tcp)
    if has_sack:
        dsack = judge_sack(plane, subflow, tcp)
        if subflow.seg_count:
            delivered += apply_sack(plane, subflow, tcp)
    if subflow.frto and frto_judge(conn, subflow, ack, advanced):
        recovery_take_back(plane, subflow)
    recovery_probe_acked(subflow, ack, dsack, duplicate and not has_sack)
    lost_before = subflow.lost_count
    if not subflow.sack:
        recovery_without_sack(subflow, delivered, duplicate)
    elif subflow.sacked_count or subflow.recovering:
        if not delivered and not advanced:
            recovery_answered(plane, subflow)
        recovery_detect(plane, subflow)
    left = subflow.recovering and ack >= subflow.recovery_point
    if left:
        recovery_leave(subflow)
    if not subflow.recovering and subflow.lost_count > lost_before and not pathmtu_only_tried(subflow):
        recovery_enter(plane, subflow, flight)
    if subflow.recovering == 1:
        # without SACK a duplicate ACK tells of one segment (RFC 6937 §3), an advance of the next hole
        # (RFC 6582 §3.2)
        recovery_reduce(subflow, subflow.mss if duplicate and not subflow.sack else delivered,
                        advanced and not subflow.sack)
    elif subflow.ecn and tcp.flags & TCP_ECE:
        ecn_echoed(plane, subflow, flight)
    elif delivered and advanced and not left and subflow.frto != FRTO_FORWARD:
        congestion_on_ack(conn, subflow, delivered, plane.now_ns)
    if delivered or advanced:
        sender_arm(plane, subflow)
        watch(plane, subflow)


cdef void sender_reorder_timeout(plane_t *plane, subflow_t *subflow) noexcept nogil:
    cdef uint64_t flight = subflow.snd_nxt - subflow.snd_una
    recovery_detect(plane, subflow)
    if subflow.lost_count and not subflow.recovering and not pathmtu_only_tried(subflow):
        recovery_enter(plane, subflow, flight)


cdef int sender_window_closed(const subflow_t *subflow) noexcept nogil:
    if subflow.seg_count == 0:
        return subflow.snd_window < subflow.mss
    return subflow.snd_window < segment_at(subflow, 0).size


cdef int sender_timeout(plane_t *plane, subflow_t *subflow) noexcept nogil:
    count(plane, COUNTER_SUBFLOW_TIMEOUT)
    # a window that is closed is asked for as long as there are answers (RFC 9293 §3.8.6.1)
    if subflow.last_rx_ns >= subflow.sent_ns and sender_window_closed(subflow):
        subflow.backoff = 0
    if subflow.backoff >= RTO_LIMIT:
        return -1
    recovery_timeout(plane, subflow)
    subflow.backoff += 1
    if subflow.rto_shift < RTO_LIMIT:
        subflow.rto_shift += 1
    subflow.suspect = 1
    sender_arm(plane, subflow)
    return 0


cdef segment_t *sender_next_lost(subflow_t *subflow) noexcept nogil:
    cdef segment_t *segment
    cdef uint32_t i
    if subflow.lost_count == 0:
        return NULL
    for i in range(subflow.seg_count):
        segment = segment_at(subflow, i)
        if segment.flags & SEG_LOST:
            return segment
    return NULL


cdef uint64_t sender_oldest_data(const subflow_t *subflow) noexcept nogil:
    cdef uint64_t oldest = <uint64_t>-1
    cdef const segment_t *segment
    cdef uint32_t i
    for i in range(subflow.seg_count):
        segment = segment_at(subflow, i)
        if segment.flags & (SEG_FIN | SEG_OWN):
            continue
        if segment.data < oldest:
            oldest = segment.data
        if subflow.foreign_count == 0:
            break
    return oldest

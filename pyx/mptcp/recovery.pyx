"""Loss detection and recovery.

RACK-TLP (RFC 8985) judges by time what is lost, PRR (RFC 6937) how fast to resend. A reduction that turns out
to have had no cause is taken back: by the time stamp of the first ACK after it (RFC 3522), when every segment
resent arrived twice (RFC 2883, RFC 3708), or by F-RTO (RFC 5682).
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from mpcore.mptcp.congestion cimport congestion_ssthresh
from mpcore.mptcp.ecn cimport ecn_note_reduction, ecn_reduced_before
from mpcore.mptcp.frto cimport FRTO_OFF, frto_begin, frto_delivered
from mpcore.mptcp.sender cimport segment_at, segment_end, sender_stamp
from mpcore.mptcp.types cimport (
    NEVER,
    SACK_CACHE,
    SEG_LOST,
    SEG_RESENT,
    SEG_SACKED,
    count,
    plane_t,
    segment_t,
    subflow_t,
)
from mpcore.store.counters cimport COUNTER_FAST_RECOVERY, COUNTER_SACK_RENEGED, COUNTER_SUBFLOW_UNDO
from mpcore.wire.tcp cimport TCP_HAS_TIMESTAMP, tcp_t


cdef enum:
    REO_MULT_MAX = 64
    REO_PERSIST = 16           # RFC 8985 §6.2


# --- RACK

cdef int of_first_copy(const subflow_t *subflow, const segment_t *segment, const tcp_t *tcp) noexcept nogil:
    """True when the ACK of a segment sent twice is from before the second copy (RFC 8985 §6.2 step 2)."""
    if not tcp.has & TCP_HAS_TIMESTAMP or not subflow.timestamps:
        return 0
    return <int32_t>(tcp.ts_ecr - sender_stamp(subflow, segment.sent_ns)) < 0


cdef void recovery_delivered(plane_t *plane, subflow_t *subflow, const segment_t *segment,
                             const segment_t *before, const tcp_t *tcp) noexcept nogil:
    """RFC 8985 §6.2 steps 1 to 3: the latest segment known to be delivered; whether order was kept.

    The RFC learns nothing from a repeat when the ACK may be for the first copy, as one with SACK always may:
    it echoes the stamp of what came last in order (RFC 7323 §4.3). But either copy left after `before`, and
    so a tail loss probe shows what is lost before it.
    """
    cdef int64_t sent_ns = segment.sent_ns
    cdef int64_t rtt = plane.now_ns - sent_ns
    cdef uint64_t end = segment_end(segment)
    cdef uint64_t highest = subflow.delivered_max
    frto_delivered(subflow, segment)
    if end > highest:
        subflow.delivered_max = end
    if segment.flags & SEG_RESENT:
        # the acknowledgement may be for the first copy
        if of_first_copy(subflow, segment, tcp) or (subflow.min_rtt_ns and rtt < subflow.min_rtt_ns):
            if before == NULL or before.flags & SEG_RESENT:
                return
            sent_ns = before.sent_ns
    elif end < highest:
        subflow.reordered = 1
    if sent_ns > subflow.rack_ns or (sent_ns == subflow.rack_ns and end > subflow.rack_end):
        subflow.rack_ns = sent_ns
        subflow.rack_end = end
        subflow.rack_rtt_ns = plane.now_ns - sent_ns


cdef void recovery_answered(const plane_t *plane, subflow_t *subflow) noexcept nogil:
    """An ACK without news, a round trip after the silent peer was asked: what was sent before is lost.

    Of a segment that was repeated with nothing sent behind it no SACK could tell, and an answer is something
    sent later that has arrived (RFC 8985 §3.1).
    """
    if subflow.question_ns == 0 or plane.now_ns - subflow.question_ns < subflow.min_rtt_ns:
        return
    if subflow.question_ns > subflow.rack_ns:
        subflow.rack_ns = subflow.question_ns
        subflow.rack_end = 0
        subflow.rack_rtt_ns = plane.now_ns - subflow.question_ns
    subflow.question_ns = 0


cdef int64_t reordering_window(const subflow_t *subflow) noexcept nogil:
    """RFC 8985 §6.2 step 4."""
    cdef int64_t window
    if not subflow.reordered and (subflow.recovering or subflow.sacked_count >= DUP_THRESHOLD):
        return 0
    window = subflow.min_rtt_ns * (1 + subflow.reo_mult) // 4
    return min(window, subflow.srtt_ns)


cdef void recovery_mark_lost(subflow_t *subflow, segment_t *segment) noexcept nogil:
    segment.flags |= SEG_LOST
    subflow.lost_count += 1
    subflow.inflight -= segment.size


cdef void recovery_detect(plane_t *plane, subflow_t *subflow) noexcept nogil:
    """RFC 8985 §6.2 step 5: what was sent well before something that has arrived is lost."""
    cdef int64_t window = reordering_window(subflow)
    cdef int64_t deadline
    cdef segment_t *segment
    cdef uint32_t i
    subflow.reorder_ns = NEVER
    for i in range(subflow.seg_count):
        segment = segment_at(subflow, i)
        if segment.flags & (SEG_SACKED | SEG_LOST):
            continue
        if segment.sent_ns > subflow.rack_ns or (
                segment.sent_ns == subflow.rack_ns and segment_end(segment) >= subflow.rack_end):
            # what follows a first transmission was sent later still
            if segment.seq >= subflow.delivered_max and not segment.flags & SEG_RESENT:
                break
            continue
        deadline = segment.sent_ns + subflow.rack_rtt_ns + window
        if deadline <= plane.now_ns:
            recovery_mark_lost(subflow, segment)
        elif deadline < subflow.reorder_ns:
            subflow.reorder_ns = deadline


cdef void recovery_without_sack(subflow_t *subflow, uint64_t acked, int duplicate) noexcept nogil:
    """NewReno for a peer that did not permit SACK (RFC 6582 §3.2)."""
    cdef segment_t *head
    if subflow.seg_count == 0:
        return
    head = segment_at(subflow, 0)
    if duplicate:
        if subflow.dup_acks < 255:
            subflow.dup_acks += 1
        if subflow.dup_acks == DUP_THRESHOLD and not head.flags & SEG_LOST:
            recovery_mark_lost(subflow, head)
    elif acked:
        subflow.dup_acks = 0
        if subflow.recovering == 1 and subflow.snd_una < subflow.recovery_point and not head.flags & SEG_LOST:
            recovery_mark_lost(subflow, head)


# --- the window

cdef void remember_window(subflow_t *subflow) noexcept nogil:
    """Note what a reduction may have to be taken back to; within one episode the first note stands."""
    subflow.undo = 1
    subflow.undo_stamped = 0
    subflow.undo_resent = 0
    subflow.undo_una = subflow.snd_una
    subflow.undo_cwnd = subflow.cwnd
    subflow.undo_ssthresh = subflow.ssthresh
    subflow.undo_cubic = subflow.cubic


cdef void recovery_enter(plane_t *plane, subflow_t *subflow, uint64_t flight) noexcept nogil:
    count(plane, COUNTER_FAST_RECOVERY)
    remember_window(subflow)
    # a mark has told of the same congestion before (RFC 3168 §6.1.2)
    if not ecn_reduced_before(subflow):
        subflow.ssthresh = congestion_ssthresh(subflow, flight)
    ecn_note_reduction(subflow)
    subflow.recovering = 1
    subflow.recovery_point = subflow.snd_nxt
    # it deals with what the probe would have told (RFC 8985 §7.1)
    subflow.probe_end = 0
    subflow.prr_delivered = 0
    subflow.prr_out = 0
    subflow.prr_flight = max(min(flight, subflow.cwnd), <uint64_t>1)
    subflow.cwnd_acked = 0
    subflow.cwnd = subflow.inflight + subflow.mss


cdef void recovery_reduce(subflow_t *subflow, uint64_t delivered, int hole) noexcept nogil:
    """RFC 6937 §3.1, slow start reduction bound."""
    cdef uint64_t allowed, limit
    subflow.prr_delivered += delivered
    if subflow.inflight > subflow.ssthresh:
        allowed = (subflow.prr_delivered * subflow.ssthresh + subflow.prr_flight - 1) // subflow.prr_flight
        allowed = allowed - subflow.prr_out if allowed > subflow.prr_out else 0
    else:
        limit = subflow.prr_delivered - subflow.prr_out if subflow.prr_delivered > subflow.prr_out else 0
        if limit < delivered:
            limit = delivered
        limit += subflow.mss
        allowed = subflow.ssthresh - subflow.inflight
        if allowed > limit:
            allowed = limit
    if (subflow.prr_out == 0 or hole) and allowed < subflow.mss:
        allowed = subflow.mss
    subflow.cwnd = subflow.inflight + allowed


cdef void recovery_leave(subflow_t *subflow) noexcept nogil:
    if subflow.recovering == 1:
        subflow.cwnd = subflow.ssthresh
    subflow.recovering = 0
    if subflow.reo_persist:
        subflow.reo_persist -= 1
        if subflow.reo_persist == 0:
            subflow.reo_mult = 0


cdef void forget_sacks(subflow_t *subflow) noexcept nogil:
    """The receiver dropped what it had SACKed (RFC 2018 §8): its oldest missing segment is one of those."""
    cdef segment_t *segment
    cdef uint32_t i
    cdef int j
    for i in range(subflow.seg_count):
        segment = segment_at(subflow, i)
        if segment.flags & SEG_SACKED:
            segment.flags &= <uint8_t>~SEG_SACKED
            subflow.inflight += segment.size
    subflow.sacked_count = 0
    for j in range(2 * SACK_CACHE):
        subflow.sack_cache[j] = 0


cdef void recovery_timeout(plane_t *plane, subflow_t *subflow) noexcept nogil:
    cdef segment_t *segment
    cdef uint32_t i
    if not subflow.recovering:
        remember_window(subflow)
        subflow.ssthresh = congestion_ssthresh(subflow, subflow.snd_nxt - subflow.snd_una)
    ecn_note_reduction(subflow)
    if subflow.seg_count and segment_at(subflow, 0).flags & SEG_SACKED:
        count(plane, COUNTER_SACK_RENEGED)
        forget_sacks(subflow)
    for i in range(subflow.seg_count):
        segment = segment_at(subflow, i)
        if not segment.flags & (SEG_SACKED | SEG_LOST):
            recovery_mark_lost(subflow, segment)
    frto_begin(subflow, subflow.recovering != 2)
    subflow.recovering = 2
    subflow.recovery_point = subflow.snd_nxt
    subflow.probe_end = 0
    subflow.cwnd = subflow.mss
    subflow.cwnd_acked = 0
    subflow.reorder_ns = NEVER


# --- taking back

cdef void recovery_resent(subflow_t *subflow, uint32_t stamp) noexcept nogil:
    if not subflow.undo or not subflow.recovering:
        return
    subflow.undo_resent += 1
    if subflow.undo_stamped == 0:
        subflow.undo_stamped = 1
        subflow.undo_ts = stamp


cdef void recovery_take_back(plane_t *plane, subflow_t *subflow) noexcept nogil:
    """What was presumed lost is only late (RFC 4015 §3.2): the window is again what it was."""
    cdef segment_t *segment
    cdef uint32_t i
    count(plane, COUNTER_SUBFLOW_UNDO)
    for i in range(subflow.seg_count if subflow.lost_count else 0):
        segment = segment_at(subflow, i)
        if segment.flags & SEG_LOST:
            segment.flags &= <uint8_t>~SEG_LOST
            subflow.inflight += segment.size
    subflow.lost_count = 0
    subflow.undo = 0
    subflow.frto = FRTO_OFF
    subflow.recovering = 0
    subflow.reordered = 1
    if subflow.cwnd < subflow.undo_cwnd:
        subflow.cwnd = subflow.undo_cwnd
        # the stage goes on where it was (RFC 9438 §4.9)
        subflow.cubic = subflow.undo_cubic
    if subflow.ssthresh < subflow.undo_ssthresh:
        subflow.ssthresh = subflow.undo_ssthresh


cdef int recovery_spurious(plane_t *plane, subflow_t *subflow, uint64_t ack, const tcp_t *tcp) noexcept nogil:
    if not subflow.undo or subflow.undo_stamped != 1 or not subflow.recovering or ack <= subflow.undo_una:
        return 0
    if not tcp.has & TCP_HAS_TIMESTAMP or not subflow.timestamps:
        return 0
    if <int32_t>(tcp.ts_ecr - subflow.undo_ts) >= 0:
        # the first ACK that moves on decides
        subflow.undo_stamped = 2
        subflow.frto = FRTO_OFF
        return 0
    recovery_take_back(plane, subflow)
    return 1


cdef void recovery_duplicate(plane_t *plane, subflow_t *subflow, uint64_t start, uint64_t end) noexcept nogil:
    # RFC 8985 §6.2 step 4: once a round trip
    if subflow.snd_una >= subflow.dsack_round:
        subflow.dsack_round = subflow.snd_nxt
        subflow.reo_persist = REO_PERSIST
        if subflow.reo_mult < REO_MULT_MAX:
            subflow.reo_mult += 1
    if subflow.undo and subflow.undo_resent and start >= subflow.undo_una:
        subflow.undo_resent -= 1
        if subflow.undo_resent == 0:
            recovery_take_back(plane, subflow)


cdef void recovery_probe_acked(subflow_t *subflow, uint64_t ack, int dsack, int duplicate) noexcept nogil:
    """RFC 8985 §7.4.2: a probe that repaired a loss is a loss all the same."""
    if subflow.probe_end == 0 or ack < subflow.probe_end:
        return
    if dsack or duplicate:
        subflow.probe_end = 0
    elif ack > subflow.probe_end:
        subflow.probe_end = 0
        if not subflow.recovering:
            subflow.ssthresh = congestion_ssthresh(subflow, subflow.cwnd)
            subflow.cwnd = subflow.ssthresh
            subflow.cwnd_acked = 0

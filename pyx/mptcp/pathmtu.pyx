"""The largest segment that a subflow's path takes.

Each subflow has its own. What a router refused is cut and sent again at once, and the window stays: this is
no congestion (RFC 1191 §6.4). Where routers say nothing, large segments that are lost again and again are
tried in a small size. A path that was merely dead looks alike, so after the first success the full size gets
one more chance (RFC 4821 §7.7). Routes change: every ten minutes one segment of the full size shows whether
the path takes it now (RFC 1191 §6.3, RFC 4821 §7.5).
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from mpcore.mptcp.recovery cimport recovery_mark_lost
from mpcore.mptcp.sender cimport segment_at, sender_arm, sender_next_lost, sender_reserve
from mpcore.mptcp.types cimport (
    OPTION_BYTES,
    SEG_FOREIGN,
    SEG_LOST,
    SEG_OWN,
    SEG_SACKED,
    count,
    plane_t,
    segment_t,
    subflow_t,
    unwrap,
)
from mpcore.store.counters cimport COUNTER_MTU_REDUCED


cdef enum:
    # nobody's path takes less: forged messages must not make segments tiny (RFC 5927 §7.3, RFC 8201 §4)
    MTU_MIN_4 = 552
    MTU_MIN_6 = 1280
    MTU_BASE = 1280            # what is tried where routers say nothing
    TRIES = 3                  # timeouts in a row before that
    TRIES_AGAIN = 2            # and after the full size got another chance
    # subflow_t.hole
    TRYING = 1                 # small segments are being tried
    DOUBTED = 2                # they arrived, and the full size is tried again
    CONFIRMED = 3              # the small size is kept


cdef int64_t AGE_NS = 600000000000    # RFC 1191 §6.3, RFC 8201 §4


cdef uint32_t payload_of(const subflow_t *subflow, uint32_t mtu) noexcept nogil:
    cdef uint32_t least = MTU_MIN_4 if subflow.version == 4 else MTU_MIN_6
    return max(mtu, least) - (40 if subflow.version == 4 else 60) - OPTION_BYTES


cdef uint32_t pieces_of(const segment_t *segment, uint32_t size) noexcept nogil:
    return (segment.size + size - 1) // size if segment.size else 1


cdef void note_pieces(subflow_t *subflow, const segment_t *segment, uint32_t more) noexcept nogil:
    """A record has become `more` ones besides itself."""
    if segment.flags & SEG_SACKED:
        subflow.sacked_count += more
    if segment.flags & SEG_LOST:
        subflow.lost_count += more
    if segment.flags & SEG_FOREIGN:
        subflow.foreign_count += more
    if segment.flags & SEG_OWN:
        subflow.own_count += more


cdef void cut(subflow_t *subflow, uint32_t size, uint32_t before, uint32_t after) noexcept nogil:
    """Cut the `before` records into `after` ones of at most `size` bytes, from the last to the first.

    Each keeps the mapping that it was sent with (RFC 8684 §3.3.1). Precondition: there is room.
    """
    cdef segment_t whole
    cdef segment_t *piece
    cdef uint32_t pieces, offset
    subflow.seg_count = after
    while before:
        before -= 1
        whole = segment_at(subflow, before)[0]
        pieces = pieces_of(&whole, size)
        note_pieces(subflow, &whole, pieces - 1)
        while pieces:
            pieces -= 1
            after -= 1
            offset = pieces * size
            piece = segment_at(subflow, after)
            piece[0] = whole
            piece.seq += offset
            piece.data += offset
            piece.map_offset += <uint16_t>offset
            piece.size = min(size, whole.size - offset)


cdef int shrink(const plane_t *plane, subflow_t *subflow, uint32_t size) noexcept nogil:
    """Take every larger segment in flight for lost and cut it; 0 when there is no place for the pieces.

    It holds for a while.
    """
    cdef segment_t *segment
    cdef uint32_t before = subflow.seg_count
    cdef uint32_t after = 0
    cdef uint32_t i
    for i in range(before):
        after += pieces_of(segment_at(subflow, i), size)
    if sender_reserve(subflow, after - before, plane.segment_limit) < 0:
        return 0
    for i in range(before):
        segment = segment_at(subflow, i)
        if segment.size > size and not segment.flags & (SEG_SACKED | SEG_LOST):
            recovery_mark_lost(subflow, segment)
    cut(subflow, size, before, after)
    subflow.mss = size
    subflow.mtu_ns = plane.now_ns + AGE_NS
    subflow.mtu_probe = 0
    return 1


cdef int pathmtu_too_big(plane_t *plane, subflow_t *subflow, uint32_t seq, uint32_t mtu) noexcept nogil:
    cdef uint64_t offset = unwrap(seq, subflow.isn_local, subflow.snd_una)
    cdef uint32_t size = payload_of(subflow, mtu)
    cdef uint32_t most = subflow.mss_full if subflow.mtu_probe else subflow.mss
    # who cannot see our packets does not know what is in flight (RFC 5927 §4.1)
    if offset < subflow.snd_una or offset >= subflow.snd_nxt or size >= most:
        return 0
    if not shrink(plane, subflow, size):
        return 0
    count(plane, COUNTER_MTU_REDUCED)
    subflow.hole = 0
    subflow.backoff = subflow.rto_shift = 0
    sender_arm(plane, subflow)
    return 1


cdef void pathmtu_timeout(plane_t *plane, subflow_t *subflow) noexcept nogil:
    cdef uint32_t size = payload_of(subflow, MTU_BASE)
    cdef int tries = TRIES_AGAIN if subflow.hole == DOUBTED else TRIES
    if subflow.mtu_probe:
        # it need not be repeated in that size to show that it is lost
        shrink(plane, subflow, subflow.mss)
    if subflow.hole == TRYING or subflow.backoff < tries or subflow.seg_count == 0 or (
            segment_at(subflow, 0).size <= size or not shrink(plane, subflow, size)):
        return
    count(plane, COUNTER_MTU_REDUCED)
    subflow.hole = CONFIRMED if subflow.hole == DOUBTED else TRYING


cdef void pathmtu_acked(subflow_t *subflow, uint32_t size) noexcept nogil:
    if size > subflow.mss:
        subflow.mss = size
        subflow.mtu_probe = 0
        subflow.hole = 0
    elif subflow.hole == TRYING:
        subflow.hole = DOUBTED
        subflow.mss = subflow.mss_full
    elif subflow.hole == DOUBTED and size > payload_of(subflow, MTU_BASE):
        subflow.hole = 0


cdef uint32_t pathmtu_size(const plane_t *plane, const subflow_t *subflow) noexcept nogil:
    """RFC 4821 §7.4: nothing is tried while there is other trouble."""
    if (subflow.mss >= subflow.mss_full or plane.now_ns < subflow.mtu_ns or subflow.hole == TRYING
            or subflow.recovering or subflow.lost_count or subflow.suspect):
        return subflow.mss
    return subflow.mss_full


cdef void pathmtu_sent(const plane_t *plane, subflow_t *subflow, uint32_t size) noexcept nogil:
    if size > subflow.mss:
        subflow.mtu_probe = subflow.snd_nxt
        subflow.mtu_ns = plane.now_ns + AGE_NS


cdef void pathmtu_again(const plane_t *plane, subflow_t *subflow, const segment_t *segment) noexcept nogil:
    if subflow.mtu_probe and segment.size > subflow.mss:
        shrink(plane, subflow, subflow.mss)


cdef int pathmtu_only_tried(subflow_t *subflow) noexcept nogil:
    """RFC 4821 §7.6.2."""
    return subflow.mtu_probe and subflow.lost_count == 1 and sender_next_lost(subflow).size > subflow.mss

"""Schedulers: a subflow is bound to data only when its congestion window has room."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from mpcore.mptcp.chooser cimport chooser_ask
from mpcore.mptcp.congestion cimport congestion_used
from mpcore.mptcp.pacing cimport pacing_quantum, pacing_wait, pacing_wait_ns
from mpcore.mptcp.sender cimport sender_room
from mpcore.mptcp.types cimport SUBFLOW_MAX, can_carry, conn_t, count, plane_t, subflow_t
from mpcore.store.counters cimport COUNTER_SCHEDULER_FAULT


cdef enum:
    SUPER_PACKET = 62000


cdef int has_room(const plane_t *plane, const conn_t *conn, subflow_t *subflow) noexcept nogil:
    """Room for what is sent at once; an idle subflow may always send a segment.

    With super-packets a third of the window is waited for, as long as ACKs are due: small ones cost as much.
    At a pace of less than two segments a millisecond there is nothing to save, and the window to lose.
    """
    cdef uint64_t wanted = subflow.mss
    cdef uint64_t data, quantum
    if subflow.lost_count:
        return 0
    if subflow.inflight == 0:
        return 1
    # a smaller window here is a middlebox's (RFC 8684 §3.3.5); the idle subflow's segment probes it
    if subflow.snd_nxt + subflow.mss > subflow.snd_edge:
        return 0
    if conn.carrier_count and conn.tx_end > conn.tx_nxt:
        quantum = pacing_quantum(plane, subflow)
        if quantum > 2 * <uint64_t>subflow.mss:
            data = min(conn.tx_end - conn.tx_nxt, <uint64_t>SUPER_PACKET)
            wanted = max(wanted, min(min(data, subflow.cwnd // 3), quantum))
    if sender_room(subflow) >= wanted:
        return 1
    congestion_used(subflow, 1)
    return 0


cdef int rank(const subflow_t *subflow) noexcept nogil:
    """0 usable, 1 backup (RFC 8684 §3.3.8), 2 suspected dead: a worse rank serves when none is better."""
    if subflow.suspect:
        return 2
    return 1 if subflow.backup else 0


cdef int best_rank(const conn_t *conn) noexcept nogil:
    """Rank of the best subflow whether or not it has room now: a full one is waited for."""
    cdef int best = 3
    cdef int i
    for i in range(SUBFLOW_MAX):
        if can_carry(conn.subflows[i]) and rank(conn.subflows[i]) < best:
            best = rank(conn.subflows[i])
    return best


cdef int64_t expected_ns(const subflow_t *subflow) noexcept nogil:
    """Round trip that a segment sent now is to expect: the path's own, and what waits before it at its pace.

    The smoothed round trip alone keeps a path that once had a queue idle for ever, while another one fills
    its own.
    """
    if subflow.cwnd == 0:
        return subflow.srtt_ns
    return subflow.min_rtt_ns + <int64_t>(
        subflow.inflight * <uint64_t>(subflow.srtt_ns >> 10) // subflow.cwnd << 10)


cdef subflow_t *lowest_rtt(plane_t *plane, conn_t *conn, int wanted, unsigned int skip) noexcept nogil:
    """One that its pace holds back is waited for where that is sooner than another one's round trip."""
    cdef subflow_t *best = NULL
    cdef subflow_t *subflow
    cdef int64_t least = 0
    cdef int64_t expected
    cdef int i
    for i in range(SUBFLOW_MAX):
        subflow = conn.subflows[i]
        if (skip >> i & 1 or not can_carry(subflow) or rank(subflow) != wanted
                or not has_room(plane, conn, subflow)):
            continue
        expected = expected_ns(subflow) + pacing_wait_ns(plane, subflow)
        if best == NULL or expected < least:
            best = subflow
            least = expected
    if best != NULL and pacing_wait_ns(plane, best):
        pacing_wait(best)
        return NULL
    return best


cdef int may_send(const plane_t *plane, const conn_t *conn, subflow_t *subflow) noexcept nogil:
    """True when there is room, and the pace allows its use now."""
    if not has_room(plane, conn, subflow):
        return 0
    if pacing_wait_ns(plane, subflow):
        pacing_wait(subflow)
        return 0
    return 1


cdef subflow_t *round_robin(const plane_t *plane, conn_t *conn, int wanted,
                            unsigned int skip) noexcept nogil:
    cdef subflow_t *subflow
    cdef int i, index
    for i in range(SUBFLOW_MAX):
        index = (conn.rr_next + i) % SUBFLOW_MAX
        subflow = conn.subflows[index]
        if (skip >> index & 1 or not can_carry(subflow) or rank(subflow) != wanted
                or not may_send(plane, conn, subflow)):
            continue
        conn.rr_next = <uint8_t>((index + 1) % SUBFLOW_MAX)
        return subflow
    return NULL


cdef subflow_t *chosen(plane_t *plane, conn_t *conn, int wanted, unsigned int skip) noexcept nogil:
    """Ask the program's own scheduler; NULL also while the subflow that it wants is full."""
    cdef subflow_t *offered[SUBFLOW_MAX]
    cdef uint8_t room[SUBFLOW_MAX]
    cdef subflow_t *subflow
    cdef int total = 0
    cdef int free = 0
    cdef int i
    for i in range(SUBFLOW_MAX):
        subflow = conn.subflows[i]
        if skip >> i & 1 or not can_carry(subflow) or rank(subflow) != wanted:
            continue
        offered[total] = subflow
        room[total] = may_send(plane, conn, subflow)
        free += room[total]
        total += 1
    if free == 0:
        return NULL
    i = chooser_ask(plane.chooser, offered, room, total)
    if i < 0:
        count(plane, COUNTER_SCHEDULER_FAULT)
        return lowest_rtt(plane, conn, wanted, skip)
    # one without room has data in flight or lost, whose ACK or timer brings the connection here again
    return offered[i] if room[i] else NULL


cdef subflow_t *schedule(plane_t *plane, conn_t *conn, unsigned int skip) noexcept nogil:
    cdef int wanted = best_rank(conn)
    if wanted == 3:
        return NULL
    if plane.chooser != NULL:
        return chosen(plane, conn, wanted, skip)
    if conn.scheduler == SCHEDULER_ROUND_ROBIN:
        return round_robin(plane, conn, wanted, skip)
    return lowest_rtt(plane, conn, wanted, skip)

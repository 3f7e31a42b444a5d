"""Subflows that are suspect.

While others carry the data, a silent path is asked every few seconds, where its timer alone would let up to a
minute pass (RFC 6298 §5.5). The question is a segment of data that another subflow has too: only its
acknowledgement proves that the path works both ways.
"""

from libc.stdint cimport int64_t

from mpcore.mptcp.sender cimport segment_at
from mpcore.mptcp.stream cimport stream_detach, stream_reinject
from mpcore.mptcp.timeouts cimport has_better, relieve
from mpcore.mptcp.transmit cimport transmit_again, transmit_oldest
from mpcore.mptcp.types cimport (
    NEVER,
    SUBFLOW_MAX,
    can_carry,
    conn_t,
    count,
    is_live,
    mark_dirty,
    plane_t,
    subflow_t,
)
from mpcore.store.counters cimport COUNTER_SUBFLOW_STALE


cdef int64_t ASK_NS = 3000000000


cdef void ask(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    """Repeat its oldest segment, or send the stream's oldest; without data nobody needs to know."""
    subflow.ask_at_ns = NEVER
    if not subflow.suspect or not can_carry(subflow):
        return
    if subflow.seg_count:
        transmit_again(plane, conn, subflow, segment_at(subflow, 0))
    elif conn.tx_una < conn.tx_nxt:
        transmit_oldest(plane, conn, subflow)
        stream_detach(plane, conn, subflow)
    else:
        return
    subflow.asked_ns = plane.now_ns
    subflow.ask_at_ns = plane.now_ns + ASK_NS


cdef void doubt_timeout(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    if subflow.ask_at_ns <= plane.now_ns:
        if has_better(conn, subflow):
            ask(plane, conn, subflow)
        else:
            # the last one left has its timer alone, as RFC 6298 wants it
            subflow.ask_at_ns = plane.now_ns + ASK_NS if subflow.seg_count else NEVER
    elif subflow.suspect and subflow.ask_at_ns == NEVER and subflow.seg_count:
        subflow.ask_at_ns = plane.now_ns + ASK_NS


cdef void doubt_wake(plane_t *plane, conn_t *conn) noexcept nogil:
    cdef subflow_t *subflow
    cdef int i
    for i in range(SUBFLOW_MAX):
        subflow = conn.subflows[i]
        if subflow != NULL and subflow.suspect and subflow.ask_at_ns == NEVER:
            subflow.ask_at_ns = max(plane.now_ns, subflow.asked_ns + ASK_NS)


cdef void doubt_check(plane_t *plane, conn_t *conn, subflow_t *subflow, int lost) noexcept nogil:
    if lost:
        relieve(plane, conn, subflow)
        if subflow.suspect:
            subflow.ask_at_ns = plane.now_ns + ASK_NS
    else:
        ask(plane, conn, subflow)
    mark_dirty(plane, conn)


cdef int is_silent(const subflow_t *subflow) noexcept nogil:
    """True also where the time for an answer is over and no other subflow was there to relieve it."""
    return subflow.suspect or (subflow.srtt_ns and subflow.suspect_at_ns == NEVER)


cdef void doubt_take_over(plane_t *plane, conn_t *conn, const subflow_t *fresh) noexcept nogil:
    cdef subflow_t *subflow
    cdef int i
    for i in range(SUBFLOW_MAX):
        subflow = conn.subflows[i]
        if not is_live(subflow) or subflow == fresh or subflow.seg_count == 0 or not is_silent(subflow):
            continue
        if not subflow.suspect:
            subflow.suspect = 1
            count(plane, COUNTER_SUBFLOW_STALE)
        stream_reinject(plane, conn, subflow, 0)
        stream_detach(plane, conn, subflow)

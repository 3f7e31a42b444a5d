"""A subflow's life.

The states are TCP's from the third ACK on; the handshake before it belongs to the control core.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free

from mpcore.mptcp.mapping cimport mapping_clear
from mpcore.mptcp.output cimport EMIT_GONE, EMIT_OK, emit_reset, emit_segment
from mpcore.mptcp.received cimport received_clear
from mpcore.mptcp.sender cimport sender_clear, sender_push, sender_sent
from mpcore.mptcp.stream cimport stream_forget_origin, stream_reinject
from mpcore.mptcp.types cimport (
    EVENT_SUBFLOW_CLOSED,
    NEVER,
    SEG_FIN,
    SF_CLOSE_WAIT,
    SF_CLOSED,
    SF_CLOSING,
    SF_ESTABLISHED,
    SF_FIN_WAIT_1,
    SF_FIN_WAIT_2,
    SF_FREE,
    SF_LAST_ACK,
    SF_TIME_WAIT,
    conn_t,
    mark_dirty,
    new_event,
    plane_t,
    segment_t,
    subflow_t,
)


cdef enum:
    STATES = 10


# RFC 9293 §3.3.2 figure 5, and RFC 8684 §3.2 for PRE_ESTABLISHED; rows are states, columns inputs, -1 where
# nothing happens.
#   columns: FOURTH_ACK, CLOSE, FIN_ACKED, FIN, RESET, EXPIRED
cdef signed char[STATES][SF_INPUTS] TABLE = [
    [-1, -1, -1, -1, -1, -1],
    [SF_ESTABLISHED, -1, -1, SF_CLOSED, SF_CLOSED, -1],
    [-1, SF_FIN_WAIT_1, -1, SF_CLOSE_WAIT, SF_CLOSED, -1],
    [-1, -1, SF_FIN_WAIT_2, SF_CLOSING, SF_CLOSED, -1],
    [-1, -1, -1, SF_TIME_WAIT, SF_CLOSED, SF_CLOSED],
    [-1, -1, SF_TIME_WAIT, -1, SF_CLOSED, -1],
    [-1, SF_LAST_ACK, -1, -1, SF_CLOSED, -1],
    [-1, -1, SF_CLOSED, -1, SF_CLOSED, -1],
    [-1, -1, -1, -1, SF_CLOSED, SF_CLOSED],
    [-1, -1, -1, -1, -1, -1],
]


cdef int subflow_next_state(int state, int input) noexcept nogil:
    if state < SF_FREE or state >= STATES or input < 0 or input >= SF_INPUTS:
        return -1
    return TABLE[state][input]


cdef int subflow_step(plane_t *plane, subflow_t *subflow, int input) noexcept nogil:
    cdef int state = subflow_next_state(subflow.state, input)
    if state < 0:
        return 0
    subflow.state = <uint8_t>state
    if state == SF_TIME_WAIT:
        subflow.wait_ns = plane.now_ns + plane.time_wait_ns
    elif state == SF_FIN_WAIT_2:
        # a peer that is gone, or whose RST was lost, will never send its FIN
        subflow.wait_ns = plane.now_ns + plane.close_timeout_ns
    return 1


cdef int subflow_finish(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    cdef segment_t *segment
    cdef int status
    if subflow.fin_sent or subflow_next_state(subflow.state, SF_IN_CLOSE) < 0:
        return EMIT_OK
    segment = sender_push(subflow, plane.segment_limit)
    if segment == NULL:
        return EMIT_GONE
    segment.flags = SEG_FIN
    segment.data = conn.tx_nxt
    status = emit_segment(plane, conn, subflow, segment, 0)
    if status != EMIT_OK:
        subflow.seg_count -= 1
        return status
    subflow.snd_nxt += 1
    subflow.fin_sent = 1
    sender_sent(plane, subflow, segment, 0)
    subflow_step(plane, subflow, SF_IN_CLOSE)
    return EMIT_OK


cdef void subflow_close(plane_t *plane, conn_t *conn, subflow_t *subflow, uint8_t reason) noexcept nogil:
    if subflow.segments == NULL:
        return
    # even without another subflow: one may still come (break before make, RFC 8684 §3.3.6)
    stream_reinject(plane, conn, subflow, 0)
    stream_forget_origin(conn, subflow.index)
    subflow.state = SF_CLOSED
    subflow.close_reason = reason
    subflow.join_ns = NEVER
    subflow.wait_ns = NEVER
    sender_clear(subflow)
    received_clear(subflow)
    mapping_clear(plane, subflow)
    new_event(plane, conn, EVENT_SUBFLOW_CLOSED, subflow.index, reason)
    mark_dirty(plane, conn)


cdef void subflow_reset(plane_t *plane, conn_t *conn, subflow_t *subflow, uint8_t rst_reason,
                        uint8_t reason) noexcept nogil:
    if subflow.segments != NULL:
        emit_reset(plane, conn, subflow, rst_reason, 0)
    subflow_close(plane, conn, subflow, reason)


cdef void subflow_free(plane_t *plane, subflow_t *subflow) noexcept nogil:
    sender_clear(subflow)
    received_clear(subflow)
    mapping_clear(plane, subflow)
    free(subflow)

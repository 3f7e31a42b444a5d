"""F-RTO: after a timeout the oldest segment alone is sent again, then new data.

If the timeout had no cause, the ACKs of the first copies go on to arrive, also for what was not sent again.
Of the SACK-enhanced version, which for a peer without SACK is the basic one.
"""

from libc.stdint cimport uint8_t, uint64_t

from mpcore.mptcp.sender cimport segment_end
from mpcore.mptcp.stream cimport stream_room
from mpcore.mptcp.types cimport SEG_RESENT, conn_t, segment_t, subflow_t


cdef enum:
    SAW_FIRST_COPY = 1         # of what was out at the timeout and was not sent again
    SAW_NEW_DATA = 2           # of what was sent after it
    NEW_SEGMENTS = 2           # RFC 5682 §2.1 step 2b


cdef void frto_begin(subflow_t *subflow, int first) noexcept nogil:
    subflow.frto = FRTO_REPEATED if first else FRTO_OFF
    subflow.frto_saw = 0


cdef void frto_delivered(subflow_t *subflow, const segment_t *segment) noexcept nogil:
    if subflow.frto == FRTO_OFF:
        return
    if segment_end(segment) > subflow.recovery_point:
        subflow.frto_saw |= SAW_NEW_DATA
    elif not segment.flags & SEG_RESENT:
        subflow.frto_saw |= SAW_FIRST_COPY


cdef int has_new_data(const conn_t *conn, const subflow_t *subflow) noexcept nogil:
    """True when a full segment of new data may be sent here."""
    return (conn.tx_end - conn.tx_nxt >= subflow.mss and stream_room(conn, subflow) >= subflow.mss
            and subflow.snd_nxt + subflow.mss <= subflow.snd_edge)


cdef int frto_judge(const conn_t *conn, subflow_t *subflow, uint64_t ack, int advanced) noexcept nogil:
    """RFC 5682 §3.1 steps 2 and 3; without anything new to send the conventional way is taken."""
    cdef uint8_t saw = subflow.frto_saw
    subflow.frto_saw = 0
    if subflow.frto == FRTO_REPEATED and not advanced:
        return 0
    if subflow.frto == FRTO_REPEATED and ack < subflow.recovery_point and has_new_data(conn, subflow):
        subflow.frto = FRTO_FORWARD
        subflow.cwnd = subflow.inflight + NEW_SEGMENTS * <uint64_t>subflow.mss
        return 0
    if subflow.frto == FRTO_FORWARD and saw == SAW_FIRST_COPY:
        subflow.frto = FRTO_OFF
        return 1
    subflow.frto = FRTO_OFF
    return 0

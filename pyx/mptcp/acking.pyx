"""When a subflow's ACK leaves: at once, or with the answer that a program is about to give.

Where data has been answered before, a lone segment smaller than a full one waits for the next answer, which
carries its ACK (RFC 9293 §3.8.6.3, RFC 5681 §4.2). Everything else is acknowledged at once.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from mpcore.mptcp.types cimport NEVER, SF_ESTABLISHED, plane_t, subflow_t


# More than most answers take, less than the 40 ms by which our own senders and Linux expect a delayed ACK.
cdef int64_t ACK_DELAY_NS = 25000000


cdef bint can_wait(const subflow_t *subflow, uint64_t seq, uint32_t size, int urgent) noexcept nogil:
    """True for a segment in order, all before which is acknowledged, that no rule wants an ACK of at once.

    Those rules: a second segment, a full one, one beside a gap (RFC 5681 §4.2); a mark, or CWR, whose sender
    may have a window of one segment (RFC 3168 §6.1.2, §6.1.3: `urgent`); the first data of a subflow, whose
    ACK ends the handshake (RFC 8684 §3.1, §3.2).
    """
    return (subflow.answers and subflow.ack_at_ns == NEVER and seq == subflow.rcv_nxt and seq > 1
            and size < subflow.mss and subflow.ooo_count == 0 and not urgent and not subflow.ack_now
            and subflow.state == SF_ESTABLISHED)


cdef void acking_received(const plane_t *plane, subflow_t *subflow, uint64_t seq, uint32_t size,
                          int urgent) noexcept nogil:
    if can_wait(subflow, seq, size, urgent):
        subflow.ack_at_ns = plane.now_ns + ACK_DELAY_NS
    else:
        subflow.ack_now = 1
    subflow.data_rx_ns = plane.now_ns


cdef void acking_sent(subflow_t *subflow) noexcept nogil:
    subflow.ack_at_ns = NEVER
    # ranges find room on an ACK of their own only
    subflow.ack_now = subflow.sack and subflow.ooo_fresh != 0


cdef void acking_answered(const plane_t *plane, subflow_t *subflow) noexcept nogil:
    # only the beginning of an answer tells how long it took
    if subflow.data_rx_ns != NEVER:
        subflow.answers = plane.now_ns - subflow.data_rx_ns < ACK_DELAY_NS
        subflow.data_rx_ns = NEVER


cdef void acking_timeout(const plane_t *plane, subflow_t *subflow) noexcept nogil:
    if subflow.ack_at_ns <= plane.now_ns:
        subflow.ack_at_ns = NEVER
        subflow.ack_now = 1
        subflow.answers = 0

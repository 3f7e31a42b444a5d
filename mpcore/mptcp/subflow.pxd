"""A subflow's life: its TCP states (RFC 9293 §3.3.2), creation and end."""

from libc.stdint cimport uint8_t, uint32_t

from mpcore.mptcp.types cimport conn_t, plane_t, subflow_t


cdef enum:
    # inputs of the state table
    SF_IN_FOURTH_ACK = 0       # the ACK that confirms our MP_JOIN (RFC 8684 §3.2)
    SF_IN_CLOSE = 1            # our FIN goes out
    SF_IN_FIN_ACKED = 2
    SF_IN_FIN = 3              # the peer's FIN is in order
    SF_IN_RESET = 4
    SF_IN_EXPIRED = 5          # TIME_WAIT is over
    SF_INPUTS = 6


# The state after `input`, or -1 where the table has no such transition.
cdef int subflow_next_state(int state, int input) noexcept nogil
# Applies the input; 1 when the state changed.
cdef int subflow_step(plane_t *plane, subflow_t *subflow, int input) noexcept nogil
# Sends our FIN behind what is in flight, where one is due; an EMIT_… status, EMIT_GONE at the limit of
# segments.
cdef int subflow_finish(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil
# The subflow is over: its data goes to the others, the engine reaps it.
cdef void subflow_close(plane_t *plane, conn_t *conn, subflow_t *subflow, uint8_t reason) noexcept nogil
# RST with `rst_reason` (RFC 8684 §3.6), then the same.
cdef void subflow_reset(plane_t *plane, conn_t *conn, subflow_t *subflow, uint8_t rst_reason,
                        uint8_t reason) noexcept nogil
# Gives back all that it holds, and itself.
cdef void subflow_free(plane_t *plane, subflow_t *subflow) noexcept nogil

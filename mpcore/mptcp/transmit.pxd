"""What a connection sends: repairs first, then data for other subflows, then new data (pull model)."""

from libc.stdint cimport int64_t

from mpcore.mptcp.types cimport conn_t, plane_t, segment_t, subflow_t


# Sends all that windows allow; 1 when a full transmit queue stopped it.
cdef int transmit_data(plane_t *plane, conn_t *conn) noexcept nogil
# Sends a segment of the flight again; EMIT_… status.
cdef int transmit_again(plane_t *plane, conn_t *conn, subflow_t *subflow, segment_t *segment) noexcept nogil
# Sends the oldest data that is not DATA_ACKed on this subflow too; EMIT_… status.
cdef int transmit_oldest(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil
# The subflow best suited for a control message, or NULL.
cdef subflow_t *transmit_subflow(conn_t *conn) noexcept nogil
# Repeats a client's third ACK until the peer has shown that it has our key.
cdef void transmit_keys(plane_t *plane, conn_t *conn) noexcept nogil
# Asks for the peer's window on every subflow.
cdef void transmit_probes(plane_t *plane, conn_t *conn) noexcept nogil
# True when a subflow that can carry data received anything at or after that time.
cdef int transmit_heard_since(const conn_t *conn, int64_t since_ns) noexcept nogil

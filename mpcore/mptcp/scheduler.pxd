"""Which subflow carries the next data: chosen when it is sent, not before (pull model)."""

from mpcore.mptcp.types cimport conn_t, plane_t, subflow_t


cdef enum:
    SCHEDULER_LOWEST_RTT = 0
    SCHEDULER_ROUND_ROBIN = 1


# A subflow with congestion window left for a full segment, or NULL. Bit i of `skip` rules subflow i out.
cdef subflow_t *schedule(plane_t *plane, conn_t *conn, unsigned int skip) noexcept nogil

"""What happens when a timer of a subflow or of the stream fires."""

from libc.stdint cimport int64_t

from mpcore.mptcp.types cimport conn_t, plane_t, subflow_t


cdef void subflow_timeout(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil
cdef int64_t subflow_deadline(const subflow_t *subflow) noexcept nogil
# True when another subflow can carry data and answers.
cdef int has_better(const conn_t *conn, const subflow_t *subflow) noexcept nogil
# Sets a subflow aside, and gives its data to others, while there is a better one.
cdef void relieve(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil
cdef void timers_of_stream(plane_t *plane, conn_t *conn) noexcept nogil

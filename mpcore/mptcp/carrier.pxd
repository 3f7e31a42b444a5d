"""The host's own super-packets as carriers: they wait in the kernel's queue, and leave with what comes next.

A carrier's content is free: it brings what the kernel needs to cut a super-packet into segments, which a raw
socket cannot.
"""

from libc.stdint cimport uint32_t

from mpcore.mptcp.types cimport conn_t, plane_t, subflow_t


# Puts a super-packet of the host on hold; 1 when it was taken.
cdef int carrier_hold(plane_t *plane, conn_t *conn, uint32_t id) noexcept nogil
# Lets every packet on hold go.
cdef void carrier_drop_all(plane_t *plane, conn_t *conn) noexcept nogil
# Bytes of the next super-packet of new data on this subflow, 0 when a segment of its own has to do.
cdef uint32_t carrier_size(const plane_t *plane, const conn_t *conn, const subflow_t *subflow) noexcept nogil
# Sends `size` bytes of new data in the oldest carrier; EMIT_… status.
cdef int carrier_send(plane_t *plane, conn_t *conn, subflow_t *subflow, uint32_t size) noexcept nogil

"""The data plane of Shim6 as an object: a driver's batches, the control core's effects."""

from libc.stdint cimport int64_t, uint32_t

from mpcore.shim6.data cimport shim6_context_t, shim6_plane_t
from mpcore.store.packet cimport packet_t


cdef class Shim6Engine:
    cdef shim6_plane_t plane
    cdef dict _slots               # by the control core's number

    # Decides on packets[start:count]. Returns `count`, or the index of the first packet whose verdict is
    # VERDICT_PUNT: Python decides, then the caller goes on behind it.
    cdef int process_batch(self, packet_t *packets, int start, int count, int64_t now_ns) noexcept nogil
    cdef shim6_context_t *find(self, object number) except? NULL

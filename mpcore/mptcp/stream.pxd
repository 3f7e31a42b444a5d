"""The connection's two data streams: what is stored, acknowledged, reinjected and freed."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from mpcore.mptcp.types cimport conn_t, plane_t, subflow_t
from mpcore.store.ring cimport ring_t


cdef enum:
    STORE_OK = 0
    STORE_REFUSED = -1         # no memory: the subflow must not acknowledge it
    # who sent a range that is to be sent again, if not the index of a subflow
    FROM_GONE = 254            # one that has ended
    FROM_ANY = 255             # whoever it was: the peer's data level did not get it


# Received data at `offset` (any order, overlap allowed, first copy wins) brought by `subflow`.
cdef int stream_store(plane_t *plane, conn_t *conn, uint64_t offset, const uint8_t *data, uint32_t size,
                      int subflow) noexcept nogil
# The peer's DATA_ACK as an offset that is <= what was sent.
cdef void stream_acked(plane_t *plane, conn_t *conn, uint64_t offset) noexcept nogil
# Bytes of new data that the window has room for on `subflow`. While another one has data on its way three
# eighths stay unused: windows count payload, but what waits behind a gap costs the peer its packets' memory,
# and a Linux receiver whose memory is full takes in nothing any more, not even what would fill the gap
# (RFC 8684 §3.3.4). One path alone fills the window, which a receiver enlarges only then.
cdef uint64_t stream_room(const conn_t *conn, const subflow_t *subflow) noexcept nogil
# Frees what every live subflow and the peer have acknowledged (RFC 8684 §3.3.6).
cdef void stream_free(conn_t *conn) noexcept nogil
# Hands everything unacknowledged of the subflow to the others, or only what it has found to be lost.
cdef void stream_reinject(plane_t *plane, conn_t *conn, subflow_t *subflow, int lost_only) noexcept nogil
# Copies what a silent subflow has in flight into its own ring: it can repair itself later without holding up
# the stream.
cdef void stream_detach(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil
cdef void stream_reinject_range(plane_t *plane, conn_t *conn, uint64_t start, uint64_t end,
                                uint8_t origin) noexcept nogil
# Takes up to `size` bytes that `subflow` should carry again: fills *offset, and *origin with who sent them
# before; returns the size, 0 when there is nothing for it.
cdef uint32_t stream_take_reinject(conn_t *conn, const subflow_t *subflow, uint32_t size, uint64_t *offset,
                                   uint8_t *origin) noexcept nogil
cdef int stream_only_subflow(const conn_t *conn, const subflow_t *subflow) noexcept nogil
# The peer's stream ends before data offset `offset` (RFC 8684 §3.3.3).
cdef void stream_end(plane_t *plane, conn_t *conn, uint64_t offset) noexcept nogil
# True when the range may take memory that is not kept for data in order.
cdef int stream_has_memory(const plane_t *plane, const ring_t *ring, uint64_t offset,
                           uint32_t size) noexcept nogil
# Hands the oldest `size` unacknowledged bytes to whatever subflow can carry them.
cdef void stream_reinject_head(plane_t *plane, conn_t *conn, uint32_t size) noexcept nogil
# The subflow is gone: what it sent before may go out under its number again.
cdef void stream_forget_origin(conn_t *conn, uint8_t origin) noexcept nogil

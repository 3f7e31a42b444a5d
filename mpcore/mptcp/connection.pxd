"""A connection's data plane: packets of the host's socket in, everything due out, timers."""

from libc.stdint cimport int64_t, uint8_t

from mpcore.mptcp.types cimport conn_t, plane_t, subflow_t
from mpcore.wire.tcp cimport tcp_t


cdef enum:
    HOST_CONSUMED = 0
    HOST_ANEW = 1          # the socket's ports begin a new connection: this one is over


cdef int connection_init(plane_t *plane, conn_t *conn) noexcept nogil       # 0, or -1 when memory is short
cdef void connection_clear(plane_t *plane, conn_t *conn) noexcept nogil
# A packet of the host's socket.
cdef int connection_from_host(plane_t *plane, conn_t *conn, const tcp_t *tcp) noexcept nogil
# True when both streams have ended and no subflow lives: it only waits for what is late.
cdef int connection_is_over(const conn_t *conn) noexcept nogil
# Gives data to the host and to the subflows as windows and queues allow; 1 when a full queue stopped it.
cdef int connection_pump(plane_t *plane, conn_t *conn) noexcept nogil
# Sends the ACKs that nothing else carried.
cdef void connection_flush(plane_t *plane, conn_t *conn) noexcept nogil
cdef void connection_timeout(plane_t *plane, conn_t *conn) noexcept nogil
cdef int64_t connection_deadline(const conn_t *conn) noexcept nogil        # NEVER when no timer runs
# Ends it for good: RST to the host (when `tell_host`), MP_FASTCLOSE to the peer (when `tell_peer`).
cdef void connection_abort(plane_t *plane, conn_t *conn, int tell_host, int tell_peer) noexcept nogil

"""The batch demultiplexer: packets in, verdicts and transmit queues out, without the GIL."""

from libc.stdint cimport int64_t, uint32_t

from mpcore.mptcp.types cimport conn_t, plane_t
from mpcore.store.packet cimport packet_t, transmit_queue_t
from mpcore.store.table cimport flow_table_t
from mpcore.store.timers cimport timer_heap_t


cdef class Engine:
    cdef plane_t *plane
    cdef flow_table_t table
    cdef timer_heap_t heap
    cdef conn_t **conns            # by handle; NULL where free
    cdef uint32_t *free_ids        # stack
    cdef uint32_t free_count
    cdef uint32_t limit
    cdef uint32_t live
    cdef dict _ports
    cdef list _port_addresses
    cdef object _chooser

    # Decides on packets[start:count]. Returns the index of the first packet that it could not decide: its
    # verdict is VERDICT_PUNT (Python decides, then the caller goes on behind it), or VERDICT_HOLD when events
    # must be drained first.
    cdef int process_batch(self, packet_t *packets, int start, int count, int64_t now_ns) noexcept nogil
    # Sends what packets, timers and Python calls made due. 1 when a full transmit queue stopped it: drain and
    # call again.
    cdef int pump(self, int64_t now_ns) noexcept nogil
    # Sends the ACKs that nothing else carried: to be called when no packet waits.
    cdef void flush(self, int64_t now_ns) noexcept nogil
    cdef void expire(self, int64_t now_ns) noexcept nogil
    cdef int64_t deadline(self) noexcept nogil                   # NEVER when no timer runs
    cdef transmit_queue_t *queue(self, int port) noexcept nogil
    cdef void decide(self, packet_t *packet) noexcept nogil
    cdef void decide_known(self, packet_t *packet, conn_t *conn, uint32_t index, void *ip,
                           void *tcp) noexcept nogil
    cdef void settle(self, conn_t *conn) noexcept nogil
    cdef void destroy(self, conn_t *conn) noexcept nogil
    cdef conn_t *find(self, long handle)
    cpdef int port_count(self)
    cpdef bint has_events(self)

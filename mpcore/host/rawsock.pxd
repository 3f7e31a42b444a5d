"""Raw sockets that send whole IP packets: to local sockets over lo, to the network from one local address."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from mpcore.host.csocket cimport iovec, mmsghdr, sockaddr_in6
from mpcore.store.packet cimport transmit_queue_t, transmit_t


cdef struct sender_counters_t:
    uint64_t sent              # packets
    uint64_t sent_bytes
    uint64_t calls             # system calls
    uint64_t malformed         # descriptors without a whole IP header of this family; dropped, as all below
    uint64_t full              # EAGAIN, ENOBUFS, ENOMEM: the socket or the device has no room
    uint64_t refused           # EPERM, EACCES: a firewall rule
    uint64_t unreachable       # ENETUNREACH, EHOSTUNREACH, ENETDOWN, EADDRNOTAVAIL: no route from here
    uint64_t too_big           # EMSGSIZE: larger than the device's MTU
    uint64_t failed            # any other errno


# One raw socket; used from one thread.
cdef class RawSender:
    cdef int descriptor            # -1 when closed
    cdef readonly int version      # 4 or 6
    cdef readonly int last_error   # errno of the packet dropped last; 0 for none
    cdef sender_counters_t counters
    cdef mmsghdr *messages         # SEND_BATCH each; owner: this object
    cdef iovec *parts
    cdef sockaddr_in6 *names

    # Sends all that waits, advancing `head` to `tail`: what cannot be sent is counted and dropped.
    # Returns packets sent, or a negative errno when the socket is closed.
    cdef int send_queue(self, transmit_queue_t *queue) noexcept nogil
    cdef int redirect(self, bytes destination) except -1
    cdef bint address(self, int place, const uint8_t *header, uint32_t size) noexcept nogil
    cdef bint prepare(self, int place, const transmit_t *packet) noexcept nogil
    cdef int send_prepared(self, int count) noexcept nogil
    cdef void note_sent(self, int first, int count) noexcept nogil
    cdef void note_error(self, int error) noexcept nogil

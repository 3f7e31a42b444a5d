"""Send packets whose IP header is ours, many a system call.

The routing lookup takes the socket's bound address as source and not the header's, hence one sender for each
local address when source routing decides the way out. An unbound sender whose packets are for a local address
delivers them over lo to the local socket, whatever their source address is.
"""

import os
import socket

from libc.errno cimport (
    EACCES, EADDRNOTAVAIL, EAGAIN, EBADF, EHOSTUNREACH, EINTR, EMSGSIZE, ENETDOWN, ENETUNREACH, ENOBUFS,
    ENOMEM, EPERM, errno as c_errno,
)
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from mpcore.errors import HostError

cimport cython

from mpcore.host.csocket cimport AF_INET, AF_INET6, MSG_DONTWAIT, sendmmsg, sockaddr_in
from mpcore.store.packet cimport TRANSMIT_PIECES


cdef enum:
    SEND_BATCH = 64
    PARTS = 1 + TRANSMIT_PIECES
    SEND_BUFFER_BYTES = 16 << 20
    # constants of Linux that the module socket lacks
    SO_SNDBUFFORCE = 32
    SO_MARK = 36
    IPV6_HDRINCL = 36


@cython.final
cdef class RawSender:
    """Sends IP packets of `version` (4 or 6), header included, marked with `mark`.

    `source`: the local address (4 or 16 octets) to route from; None for packets to local sockets. Raises
    HostError.
    """

    def __cinit__(self, int version, *, uint32_t mark=0, bytes source=None):
        self.descriptor = -1
        if version not in (4, 6):
            raise ValueError("version must be 4 or 6")
        self.version = version
        self.messages = <mmsghdr *>calloc(SEND_BATCH, sizeof(mmsghdr))
        self.parts = <iovec *>calloc(SEND_BATCH * PARTS, sizeof(iovec))
        self.names = <sockaddr_in6 *>calloc(SEND_BATCH, sizeof(sockaddr_in6))
        if self.messages == NULL or self.parts == NULL or self.names == NULL:
            raise MemoryError
        self.descriptor = open_raw(version, mark, source)

    def __dealloc__(self):
        self.close()
        free(self.messages)
        free(self.parts)
        free(self.names)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def fileno(self):
        """Return the socket's descriptor; -1 when closed."""
        return self.descriptor

    def close(self):
        """Close the socket; a second call does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1

    def stats(self):
        """Return the counters of this sender by name."""
        cdef sender_counters_t c = self.counters
        return {
            "sent": c.sent,
            "sent_bytes": c.sent_bytes,
            "calls": c.calls,
            "malformed": c.malformed,
            "full": c.full,
            "refused": c.refused,
            "unreachable": c.unreachable,
            "too_big": c.too_big,
            "failed": c.failed,
        }

    def send(self, bytes packet, bytes destination=None):
        """Send one whole IP packet, to `destination` (4 or 16 octets) or else where its header says.

        Returns whether it left; when not, a counter of `stats` tells why.
        """
        cdef const uint8_t *data = <const uint8_t *><const char *>packet
        cdef uint32_t size = <uint32_t>len(packet)
        cdef int sent
        if self.descriptor < 0 or not self.address(0, data, size):
            self.counters.malformed += 1
            return False
        if destination is not None:
            self.redirect(destination)
        self.parts[0].iov_base = <void *>data
        self.parts[0].iov_len = size
        self.messages[0].msg_hdr.msg_iov = &self.parts[0]
        self.messages[0].msg_hdr.msg_iovlen = 1
        with nogil:
            sent = self.send_prepared(1)
        return sent == 1

    def send_batch(self, packets):
        """Send whole IP packets through `send_queue`, each cut into header and pieces as the engine does.

        Returns how many left. Raises OSError when the sender is closed.
        """
        cdef transmit_queue_t queue
        cdef int sent
        packets = list(packets)
        memset(&queue, 0, sizeof(queue))
        queue.mask = <uint32_t>(1 << (len(packets) - 1).bit_length()) - 1 if packets else 0
        queue.slots = <transmit_t *>calloc(queue.mask + 1, sizeof(transmit_t))
        if queue.slots == NULL:
            raise MemoryError
        for packet in packets:
            fill_descriptor(&queue.slots[queue.tail], packet)
            queue.tail += 1
        with nogil:
            sent = self.send_queue(&queue)
        free(queue.slots)
        if sent < 0:
            raise OSError(-sent, os.strerror(-sent))
        return sent

    cdef int redirect(self, bytes destination) except -1:
        """Put another next destination into the first name."""
        if len(destination) != (4 if self.version == 4 else 16):
            raise ValueError("the destination must have 4 octets for IPv4 and 16 for IPv6")
        if self.version == 4:
            memcpy(&(<sockaddr_in *>&self.names[0]).sin_addr, <const char *>destination, 4)
        else:
            memcpy(&self.names[0].sin6_addr, <const char *>destination, 16)
        return 0

    cdef int send_queue(self, transmit_queue_t *queue) noexcept nogil:
        cdef int filled = 0, sent = 0
        if self.descriptor < 0:
            queue.head = queue.tail
            return -EBADF
        while queue.head != queue.tail:
            if self.prepare(filled, &queue.slots[queue.head & queue.mask]):
                filled += 1
            else:
                self.counters.malformed += 1
            queue.head += 1
            if filled == SEND_BATCH:
                sent += self.send_prepared(filled)
                filled = 0
        return sent + self.send_prepared(filled)

    cdef bint prepare(self, int place, const transmit_t *packet) noexcept nogil:
        """Gather header and pieces at `place`; False when the header is no IP header of this family."""
        cdef iovec *parts = self.parts + place * PARTS
        cdef int i
        if packet.header_size > sizeof(packet.header) or packet.piece_count > TRANSMIT_PIECES:
            return False
        if not self.address(place, packet.header, packet.header_size):
            return False
        parts[0].iov_base = <void *>packet.header
        parts[0].iov_len = packet.header_size
        for i in range(packet.piece_count):
            parts[1 + i].iov_base = <void *>packet.piece[i]
            parts[1 + i].iov_len = packet.piece_size[i]
        self.messages[place].msg_hdr.msg_iov = parts
        self.messages[place].msg_hdr.msg_iovlen = 1 + packet.piece_count
        return True

    cdef bint address(self, int place, const uint8_t *header, uint32_t size) noexcept nogil:
        """Take the destination at `place` from an IP header; False when it is none of this family."""
        cdef sockaddr_in6 *name = &self.names[place]
        if size < <uint32_t>(20 if self.version == 4 else 40) or header[0] >> 4 != self.version:
            return False
        memset(name, 0, sizeof(sockaddr_in6))
        if self.version == 4:
            (<sockaddr_in *>name).sin_family = AF_INET
            memcpy(&(<sockaddr_in *>name).sin_addr, header + 16, 4)
        else:
            name.sin6_family = AF_INET6
            memcpy(&name.sin6_addr, header + 24, 16)
        self.messages[place].msg_hdr.msg_name = name
        self.messages[place].msg_hdr.msg_namelen = (
            sizeof(sockaddr_in) if self.version == 4 else sizeof(sockaddr_in6)
        )
        return True

    cdef int send_prepared(self, int count) noexcept nogil:
        """Send `count` messages, dropping each that cannot be sent. Returns how many left."""
        cdef int i = 0, done, sent = 0
        while i < count:
            done = sendmmsg(self.descriptor, self.messages + i, count - i, MSG_DONTWAIT)
            self.counters.calls += 1
            if done > 0:
                self.note_sent(i, done)
                sent += done
                i += done
            elif c_errno != EINTR:
                self.note_error(c_errno)
                i += 1
        return sent

    cdef void note_sent(self, int first, int count) noexcept nogil:
        cdef int i
        self.counters.sent += count
        for i in range(first, first + count):
            self.counters.sent_bytes += self.messages[i].msg_len

    cdef void note_error(self, int error) noexcept nogil:
        self.last_error = error
        if error in (EAGAIN, ENOBUFS, ENOMEM):
            self.counters.full += 1
        elif error in (EPERM, EACCES):
            self.counters.refused += 1
        elif error in (ENETUNREACH, EHOSTUNREACH, ENETDOWN, EADDRNOTAVAIL):
            self.counters.unreachable += 1
        elif error == EMSGSIZE:
            self.counters.too_big += 1
        else:
            self.counters.failed += 1


cdef int fill_descriptor(transmit_t *out, bytes packet) except -1:
    """Describe `packet`, which the caller keeps alive: as much header as fits, and the rest in two pieces."""
    cdef const uint8_t *data = <const uint8_t *><const char *>packet
    cdef uint32_t size = <uint32_t>len(packet)
    out.header_size = <uint16_t>min(size, sizeof(out.header))
    memcpy(out.header, data, out.header_size)
    size -= out.header_size
    data += out.header_size
    if size:
        out.piece_count = TRANSMIT_PIECES
        out.piece[0] = data
        out.piece_size[0] = size // 2
        out.piece[1] = data + size // 2
        out.piece_size[1] = size - size // 2
    return 0


cdef object open_raw(int version, uint32_t mark, bytes source):
    """Open, set and bind a raw socket, and return its descriptor. Raises HostError."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    where = "" if source is None else f" from {socket.inet_ntop(family, source)}"
    try:
        with socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as sock:
            sock.setblocking(False)
            if version == 4:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
            sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
            if mark:
                sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
            if source is not None:
                sock.bind((socket.inet_ntop(family, source), 0))
            return sock.detach()
    except OSError as error:
        raise HostError(f"no raw IPv{version} socket{where}: {error}; run as root, or grant CAP_NET_RAW and "
                        "CAP_NET_ADMIN") from error

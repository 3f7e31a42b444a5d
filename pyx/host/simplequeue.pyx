"""The simple queue: netfilterqueue as it comes, with a Python callback for every packet.

It is the yardstick and the way out where raw netlink does not work. Its limits are the package's: packets are
cut at 4016 bytes, segments come one by one, and every packet takes the GIL.
"""

import errno
import os
import socket

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from mpcore.errors import HostError

cimport cython

from mpcore.store.packet cimport (
    FROM_HOST, FROM_NETWORK, PACKET_HEADROOM, PACKET_TRUNCATED, VERDICT_DROP, VERDICT_HOLD, VERDICT_LEAVE,
    VERDICT_REWRITE,
)
from mpcore.wire.bits cimport load16


cdef enum:
    SIMPLE_SLOT = 4352         # headroom and the 4016 bytes that the package copies, with room to spare
    SIMPLE_BYTES = SIMPLE_SLOT - PACKET_HEADROOM
    HOOK_LOCAL_OUT = 3
    HOOK_POST_ROUTING = 4


class _Reader:
    """What the library reads its socket through: it says "no more" after so many messages."""

    def __init__(self, descriptor):
        self.socket = socket.socket(fileno=os.dup(descriptor))
        self.left = 0

    def recv(self, size):
        """Return one message. Raises BlockingIOError when none waits or enough were read."""
        if self.left == 0:
            raise BlockingIOError(errno.EAGAIN, "enough for now")
        self.left -= 1
        return self.socket.recv(size, socket.MSG_DONTWAIT)


cdef bint is_cut(const uint8_t *data, uint32_t size) noexcept nogil:
    """True when the IP header states more bytes than were copied; the package does not tell."""
    if size >= 20 and data[0] >> 4 == 4:
        return load16(data + 2) > size
    return size >= 40 and data[0] >> 4 == 6 and <uint32_t>load16(data + 4) + 40 > size


@cython.final
cdef class SimpleQueue(PacketQueue):
    """Queue `number` through netfilterqueue alone; `slots`: packets handed out at once. Raises HostError."""

    def __cinit__(self, uint16_t number, *, uint32_t max_length=1024, uint32_t mark_seen=0x10000000,
                  uint32_t mark_leave=0x20000000, uint32_t mark_taken=0, int slots=64):
        if not 0 < slots <= 1024:
            raise ValueError("slots must lie in 1…1024")
        self.number = number
        self.slots = slots
        self.mark_seen = mark_seen
        self.mark_leave = mark_leave
        self.mark_taken = mark_taken
        self.arrived = []
        self.waiting = {}
        self.slab = <uint8_t *>calloc(slots, SIMPLE_SLOT)
        if self.slab == NULL:
            raise MemoryError
        try:
            from netfilterqueue import NetfilterQueue
            self.binding = NetfilterQueue()
            self.binding.bind(number, self._take, max_len=max_length)
        except (ImportError, OSError) as error:
            raise HostError(
                f"queue {number} cannot be opened ({error}); run as root with netfilterqueue installed, and "
                "see /proc/net/netfilter/nfnetlink_queue whether another program holds it"
            ) from error
        self.descriptor = self.binding.get_fd()
        self.reader = _Reader(self.descriptor)

    def __dealloc__(self):
        free(self.slab)

    def close(self):
        """Give the queue back to the kernel, which drops what waits in it; a second call does nothing."""
        if self.binding is None:
            return
        self.waiting.clear()
        self.arrived.clear()
        self.binding.unbind()
        self.reader.socket.close()
        self.descriptor = -1
        self.binding = None

    def _take(self, packet):
        """Take a packet from the library's callback and keep its bytes."""
        packet.retain()
        self.arrived.append(packet)

    cdef int recv_batch(self, packet_t *packets, int capacity) noexcept nogil:
        cdef int count
        with gil:
            try:
                return self.receive(packets, min(capacity, self.slots))
            except OSError as error:
                count = -(error.errno or errno.EIO)
                return count
            except Exception:
                self.counters.malformed += 1
                return 0

    cdef int receive(self, packet_t *packets, int capacity) except -1:
        cdef int i = 0
        self.reader.left = capacity - len(self.arrived)
        if self.reader.left > 0:
            self.counters.receive_calls += 1
            self.binding.run_socket(self.reader)
        batch = self.arrived[:capacity]
        del self.arrived[:capacity]
        for packet in batch:
            describe(packet, self.slab + <size_t>i * SIMPLE_SLOT + PACKET_HEADROOM, &packets[i])
            self.waiting[packet.id] = packet
            self.counters.received += 1
            self.counters.received_bytes += packets[i].size
            i += 1
        return i

    cdef int send_verdicts(self, packet_t *packets, int count) noexcept nogil:
        with gil:
            try:
                return self.settle(packets, count)
            except Exception:
                self.counters.send_failures += 1
                return -<int>errno.EIO

    cdef int settle(self, packet_t *packets, int count) except -1:
        cdef int i
        for i in range(count):
            if packets[i].verdict == VERDICT_HOLD:
                continue
            packet = self.waiting.pop(packets[i].id, None)
            if packet is None:
                self.counters.stale += 1
                continue
            give_verdict(packet, &packets[i], self)
            self.counters.verdicts += 1
            self.counters.verdict_messages += 1
            self.counters.send_calls += 1
        return 0


cdef int describe(object packet, uint8_t *slot, packet_t *out) except -1:
    """Copy the library's packet into `slot` and describe it in *out."""
    cdef bytes payload = packet.get_payload()
    memset(out, 0, sizeof(packet_t))
    out.data = slot
    out.size = <uint32_t>min(len(payload), SIMPLE_BYTES)
    memcpy(slot, <const char *>payload, out.size)
    out.id = packet.id
    out.hook = packet.hook
    out.mark = packet.get_mark()
    out.direction = FROM_HOST if out.hook in (HOOK_LOCAL_OUT, HOOK_POST_ROUTING) else FROM_NETWORK
    out.flags = PACKET_TRUNCATED if is_cut(slot, out.size) else 0
    return 0


cdef int give_verdict(object packet, const packet_t *decision, PacketQueue queue) except -1:
    cdef uint32_t saved = 0
    if decision.verdict == VERDICT_DROP:
        packet.drop()
        return 0
    if decision.verdict == VERDICT_REWRITE:
        packet.set_payload((<const char *>decision.data)[:decision.size])
        saved = queue.mark_taken
    elif decision.verdict == VERDICT_LEAVE:
        saved = queue.mark_leave
    packet.set_mark(decision.mark | queue.mark_seen | saved)
    if saved:
        packet.repeat()
    else:
        packet.accept()
    return 0

"""The loop that moves batches between a packet queue and Shim6's engine."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from mpcore.host.clock cimport clock_ns
from mpcore.host.nfqueue cimport PacketQueue
from mpcore.host.rawsock cimport RawSender
from mpcore.host.waiter cimport Served
from mpcore.mptcp.types cimport NEVER
from mpcore.shim6.chain cimport IPV6_SIZE, NEXT_ICMPV6
from mpcore.store.packet cimport FROM_HOST, FROM_NETWORK, VERDICT_PUNT, packet_t

cdef enum:
    PACKET_TOO_BIG = 2
    HEADERS_SIZE = 256         # of a super-packet: what is asked about it needs no more
    CROWD = 8                  # packets at once that are joined to larger ones the more of them there are


# So late the endpoint hears of packets that it did not decide on: its own times are tenths of seconds.
cdef int64_t TELL_NS = 2000000


cdef inline bint is_too_big(const packet_t *packet) noexcept nogil:
    """A Packet Too Big (RFC 4443 §3.2) without extension headers, as routers send it."""
    return (packet.direction == FROM_NETWORK and packet.size > IPV6_SIZE
            and packet.data[6] == NEXT_ICMPV6 and packet.data[IPV6_SIZE] == PACKET_TOO_BIG)


cdef bytes headers_of(const packet_t *packet):
    return PyBytes_FromStringAndSize(<const char *>packet.data, min(packet.size, HEADERS_SIZE))


@cython.final
cdef class Shim6Pump(Served):
    """Moves packets for one endpoint.

    Args:
        endpoint: the `mpcore.shim6_endpoint.Shim6Endpoint` that decides on what its engine cannot
        queue: where packets wait
        open_sender: returns the RawSender of a local locator, for the segments of super-packets
        segment_size: returns how many octets of options and payload a segment may have of the connection that
            the headers, its argument, are from

    `on_told`, unless None, is called once the endpoint has heard what packets showed: at once where it had to
    decide, else within 2 ms. `on_ack`, unless None, sees each packet of the host that can be a TCP segment
    without payload, and `on_too_big` the headers of a super-packet whose segments were larger than the link
    takes.

    Thread-safety: one thread, the one that uses the endpoint.
    """

    def __init__(self, object endpoint, PacketQueue queue, object open_sender, object segment_size):
        self.endpoint = endpoint
        self.engine = endpoint.engine
        self.queue = queue
        self.open_sender = open_sender
        self.segment_size = segment_size
        self.tell_ns = NEVER

    def turn(self, int batches):
        """Handle up to `batches` batches, then tell the endpoint what they showed; return the packets."""
        self.asked = True
        return self.handle(batches)

    cdef int64_t deadline(self) noexcept:
        return self.tell_ns

    cdef int expire(self) except -1:
        return self.tell()

    cdef int tell(self) except -1:
        """Tell the endpoint what packets have shown."""
        self.asked = True
        self.tell_ns = NEVER
        self.endpoint.settle(clock_ns())
        if self.on_told is not None:
            self.on_told()
        return 0

    cdef int handle(self, int batches) except -1:
        """Handle up to `batches` batches; the endpoint hears at once of what it had to decide on."""
        cdef int total = 0
        cdef int count
        cdef list keep = []
        while batches > 0:
            batches -= 1
            with nogil:
                count = self.queue.recv_batch(self.packets, BATCH)
            if count <= 0:
                break
            total += count
            self.settled = 0
            self.decide(count, keep)
            with nogil:
                self.settle(count)
            keep.clear()
        self.crowded = total >= CROWD
        if total and self.asked:
            self.tell()
        elif total and self.tell_ns == NEVER:
            self.tell_ns = clock_ns() + TELL_NS
        return total

    cdef int decide(self, int count, list keep) except -1:
        """Let the engine decide on the batch; Python decides on what it cannot, in order."""
        cdef int i = 0
        if self.on_ack is not None:
            self.asked = True
            self.show_acks(count)
        while True:
            with nogil:
                i = self.engine.process_batch(self.packets, i, count, clock_ns())
            if i >= count:
                return 0
            if self.packets[i].verdict == VERDICT_PUNT:
                self.asked = True
                self.punt(&self.packets[i], keep)
            else:
                self.leave(i)
            i += 1

    cdef int punt(self, packet_t *packet, list keep) except -1:
        data = PyBytes_FromStringAndSize(<const char *>packet.data, packet.size)
        if is_too_big(packet):
            self.engine.forget_segment_sizes()
        verdict = self.endpoint.handle_punt(packet.direction, data, clock_ns())
        packet.verdict = <uint8_t><int>verdict.kind
        if verdict.data is not None:
            keep.append(verdict.data)
            packet.data = <uint8_t *>PyBytes_AS_STRING(verdict.data)
            packet.size = <uint32_t>len(verdict.data)
            packet.limit = NULL
        return 0

    cdef int leave(self, int index) except -1:
        """Let a super-packet leave as segments, behind what stands in front of it in the batch."""
        cdef packet_t *packet = &self.packets[index]
        cdef uint32_t mss = self.engine.segment_size(packet, clock_ns())
        cdef RawSender sender
        cdef uint64_t refused
        if mss == 0:
            mss = <uint32_t>self.segment_size(headers_of(packet))
            self.engine.note_segment_size(packet, mss, clock_ns())
        sender = self.open_sender(PyBytes_FromStringAndSize(<const char *>self.engine.cut_source(), 16))
        refused = sender.counters.too_big
        with nogil:
            self.settle(index)
            self.engine.begin_cut(packet, mss)
            while self.engine.next_cuts():
                sender.send_queue(&self.engine.cuts)
        if sender.counters.too_big != refused:
            self.engine.forget_segment_sizes()
            if self.on_too_big is not None:
                self.asked = True
                self.on_too_big(headers_of(packet))
        return 0

    cdef void settle(self, int end) noexcept nogil:
        """Send the verdicts of the packets in front of `end` that have none yet."""
        if self.settled < end:
            self.engine.join_segments(self.packets, self.settled, end)
            self.queue.send_verdicts(self.packets + self.settled, end - self.settled)
            self.settled = end

    cdef int show_acks(self, int count) except -1:
        """Show `on_ack` what it waits for, before the engine rewrites it."""
        cdef int i
        cdef packet_t *packet
        for i in range(count):
            packet = &self.packets[i]
            if packet.direction == FROM_HOST and packet.size <= ACK_SIZE_MAX:
                self.on_ack(PyBytes_FromStringAndSize(<const char *>packet.data, packet.size))

"""The loop that moves batches between a packet queue, an engine and raw sockets."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t

from mpcore.host.clock cimport clock_ns
from mpcore.host.nfqueue cimport PacketQueue
from mpcore.host.rawsock cimport RawSender
from mpcore.host.waiter cimport Served
from mpcore.store.packet cimport (
    PACKET_CHECKSUM_NOT_READY,
    PORT_CARRIER,
    VERDICT_DROP,
    VERDICT_PUNT,
    packet_t,
    transmit_queue_t,
)


cdef enum:
    FLUSH_PACKETS = 128        # without a pause, after which owed ACKs go out all the same
    FLUSH_BYTES = 1 << 20      # the same: the host's socket wakes its program at a third of its buffer
    FEW_PACKETS = 4            # in a batch: somebody may be waiting for each
    FEW_BYTES = 16 << 10       # of these


# While packets come without a pause, new connections wait so long for their further paths.
cdef int64_t NEWS_WAIT_NS = 20000000


cdef bint can_wait(const packet_t *packets, int count) noexcept nogil:
    """True when the verdicts may follow what the packets bring about.

    Few packets that are all dropped: the system call for them would only delay the answer. Of many, the
    memory is given back first, for what is sent to use it again.
    """
    cdef int i
    if count > FEW_PACKETS:
        return False
    for i in range(count):
        if packets[i].verdict != VERDICT_DROP:
            return False
    return True


cdef int batch_bytes(const packet_t *packets, int count) noexcept nogil:
    cdef int i, total = 0
    for i in range(count):
        total += packets[i].size
    return total


def now_ns():
    """Return the monotonic clock in nanoseconds: the clock of everything that a Pump drives."""
    return clock_ns()


@cython.final
cdef class Pump(Served):
    """Moves packets for one endpoint.

    Args:
        endpoint: the `mpcore.endpoint.Endpoint` that decides on what the engine cannot
        queue: where packets wait
        open_sender: returns the RawSender of a transmit port; called at the port's first packet
        before_verdicts: called when Python has decided on packets of a batch, before the kernel learns it

    Thread-safety: one thread, the one that uses the endpoint.
    """

    def __init__(self, object endpoint, PacketQueue queue, object open_sender, object before_verdicts=None):
        self.endpoint = endpoint
        self.engine = endpoint.engine
        self.queue = queue
        self.open_sender = open_sender
        self.before_verdicts = before_verdicts
        self.senders = []

    cdef int64_t deadline(self) noexcept:
        return self.engine.deadline()

    cdef int expire(self) except -1:
        """Let the engine's timers fire that are due."""
        self.engine.expire(clock_ns())
        self.settle()
        self.finish()
        return 0

    def turn(self, int batches):
        """Handle up to `batches` batches and all that follows from them; return the packets handled."""
        self.asked = True
        return self.handle(batches)

    cdef int handle(self, int batches) except -1:
        """Handle up to `batches` batches; Python's side is looked after where it was asked."""
        cdef int total = 0
        cdef int owed_packets = 0, owed_bytes = 0    # since ACKs went out
        cdef int count, size
        cdef int64_t told_ns = clock_ns()
        cdef bint late
        cdef list keep = []
        while batches > 0:
            batches -= 1
            count = self.queue.recv_batch(self.packets, BATCH)
            if count <= 0:
                break
            total += count
            owed_packets += count
            size = batch_bytes(self.packets, count)
            owed_bytes += size
            self.decide(count, keep)
            late = size <= FEW_BYTES and can_wait(self.packets, count)
            if not late:
                self.queue.send_verdicts(self.packets, count)
            keep.clear()
            self.settle()
            if late:
                self.queue.send_verdicts(self.packets, count)
            if owed_packets >= FLUSH_PACKETS or owed_bytes >= FLUSH_BYTES:
                owed_packets = owed_bytes = 0
                self.engine.flush(clock_ns())
                self.drain()
                if clock_ns() - told_ns > NEWS_WAIT_NS:
                    told_ns = clock_ns()
                    self.tell()
        self.finish()
        return total

    def work(self):
        """Send what timers or control events made due."""
        self.asked = True
        self.settle()
        self.finish()

    def close(self):
        """Close every raw socket."""
        for sender in self.senders:
            if sender is not None:
                sender.close()
        self.senders.clear()

    def sender_stats(self):
        """Return the sum of the raw sockets' counters."""
        totals = {}
        for sender in self.senders:
            if sender is not None:
                for name, value in sender.stats().items():
                    totals[name] = totals.get(name, 0) + value
        return totals

    cdef int decide(self, int count, list keep) except -1:
        """Let the engine decide on the batch; Python decides on what it cannot, in order."""
        cdef int i = 0
        cdef bint asked = False
        cdef packet_t *packet
        while i < count:
            i = self.engine.process_batch(self.packets, i, count, clock_ns())
            if i >= count:
                break
            packet = &self.packets[i]
            if packet.verdict == VERDICT_PUNT:
                asked = self.asked = True
                data = PyBytes_FromStringAndSize(<const char *>packet.data, packet.size)
                verdict = self.endpoint.handle_punt(packet.direction, data, clock_ns(),
                                                    not packet.flags & PACKET_CHECKSUM_NOT_READY)
                packet.verdict = <uint8_t><int>verdict.kind
                if verdict.data is not None:
                    keep.append(verdict.data)
                    packet.data = <uint8_t *>PyBytes_AS_STRING(verdict.data)
                    packet.size = <uint32_t>len(verdict.data)
                i += 1
            else:
                self.settle()
        if asked and self.before_verdicts is not None:
            self.before_verdicts()
        return 0

    cdef int settle(self) except -1:
        """Pump the engine and hand its events to the endpoint until neither has more."""
        cdef int full = 1
        cdef int rounds = 0
        while full and rounds < 256:
            rounds += 1
            full = self.engine.pump(clock_ns())
            self.drain()
            if self.engine.has_events():
                self.asked = True
                self.endpoint.handle_events(clock_ns(), postpone=True)
                full = 1
        if self.asked:
            for transmit in self.endpoint.take_transmits():
                self.sender(self.engine.port(transmit.local)).send(transmit.data)
        return 0

    cdef int finish(self) except -1:
        """Send the ACKs that are owed, and then what nobody waits for."""
        self.engine.flush(clock_ns())
        self.drain()
        self.tell()
        return 0

    cdef int tell(self) except -1:
        """Let the endpoint decide on the paths of connections that are new."""
        if self.asked and self.endpoint.has_news:
            self.endpoint.handle_news(clock_ns())
            self.settle()
        return 0

    cdef int drain(self) except -1:
        """Send every queued packet."""
        cdef int port
        cdef transmit_queue_t *queue
        queue = self.engine.queue(PORT_CARRIER)
        if queue.head != queue.tail:
            self.queue.release_carriers(queue)
        for port in range(self.engine.port_count()):
            queue = self.engine.queue(port)
            if queue.head != queue.tail:
                (<RawSender>self.sender(port)).send_queue(queue)
        return 0

    def sender(self, int port):
        """Return the raw socket of a transmit port."""
        while len(self.senders) <= port:
            self.senders.append(None)
        if self.senders[port] is None:
            self.senders[port] = self.open_sender(port)
        return self.senders[port]

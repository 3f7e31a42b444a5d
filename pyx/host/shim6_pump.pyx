"""The loop that moves batches between a packet queue and Shim6's engine."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t

from mpcore.host.nfqueue cimport PacketQueue
from mpcore.host.pump cimport clock_ns
from mpcore.store.packet cimport FROM_HOST, VERDICT_PUNT, packet_t


@cython.final
cdef class Shim6Pump:
    """Moves packets for one endpoint.

    Args:
        endpoint: the `mpcore.shim6_endpoint.Shim6Endpoint` that decides on what its engine cannot
        queue: where packets wait

    `on_ack`, unless None, sees each packet of the host that can be a TCP segment without payload.

    Thread-safety: one thread, the one that uses the endpoint.
    """

    def __init__(self, object endpoint, PacketQueue queue):
        self.endpoint = endpoint
        self.engine = endpoint.engine
        self.queue = queue

    def turn(self, int batches):
        """Handle up to `batches` batches, then tell the endpoint what they showed; return the packets."""
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
            self.decide(count, keep)
            with nogil:
                self.queue.send_verdicts(self.packets, count)
            keep.clear()
        if total:
            self.endpoint.settle(clock_ns())
        return total

    cdef int decide(self, int count, list keep) except -1:
        """Let the engine decide on the batch; Python decides on what it cannot, in order."""
        cdef int i = 0
        cdef packet_t *packet
        if self.on_ack is not None:
            self.show_acks(count)
        while True:
            with nogil:
                i = self.engine.process_batch(self.packets, i, count, clock_ns())
            if i >= count:
                return 0
            packet = &self.packets[i]
            if packet.verdict == VERDICT_PUNT:
                data = PyBytes_FromStringAndSize(<const char *>packet.data, packet.size)
                verdict = self.endpoint.handle_punt(packet.direction, data, clock_ns())
                packet.verdict = <uint8_t><int>verdict.kind
                if verdict.data is not None:
                    keep.append(verdict.data)
                    packet.data = <uint8_t *>PyBytes_AS_STRING(verdict.data)
                    packet.size = <uint32_t>len(verdict.data)
            i += 1

    cdef int show_acks(self, int count) except -1:
        """Show `on_ack` what it waits for, before the engine rewrites it."""
        cdef int i
        cdef packet_t *packet
        for i in range(count):
            packet = &self.packets[i]
            if packet.direction == FROM_HOST and packet.size <= ACK_SIZE_MAX:
                self.on_ack(PyBytes_FromStringAndSize(<const char *>packet.data, packet.size))

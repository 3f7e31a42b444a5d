"""The kernel's packet queue without the GIL: many packets a system call in, many verdicts a system call out.

The package netfilterqueue opens and binds the queue; from then on its socket is driven here, since the
package can set no flags, reads 4 kB at most and handles one packet a call. With the GSO flag a bulk flow
arrives in packets of up to 64 kB.
"""

import errno
import os
import select
import socket

from libc.errno cimport EAGAIN, EINTR, ENOBUFS, ENOENT, errno as c_errno
from libc.stdlib cimport calloc, free
from libc.string cimport memmove, memset

from mpcore.actions import VerdictKind
from mpcore.errors import HostError
from mpcore.host.queued import PacketFlag, QueuedPacket

cimport cython

from mpcore.host.csocket cimport MSG_DONTWAIT, recvmmsg, sendmsg
from mpcore.host.nfmessage cimport (
    CONFIG_SIZE, MESSAGE_IGNORED, MESSAGE_PACKET, MESSAGE_STATUS, NF_ACCEPT, NF_DROP, NF_REPEAT,
    QUEUE_FAIL_OPEN, QUEUE_GSO, VERDICT_HEAD_MAX, VERDICT_PAYLOAD_MAX, config_emit, message_parse, message_t,
    unbind_emit, verdict_emit,
)
from mpcore.store.packet cimport (
    FROM_HOST, FROM_NETWORK, PACKET_HEADROOM, VERDICT_DROP, VERDICT_HOLD, VERDICT_LEAVE, VERDICT_REWRITE,
)


cdef enum:
    SLOT_SIZE = 69632          # headroom, attributes and 65531 bytes of packet
    PART_MAX = 1023            # iovecs of one sendmsg; the kernel's limit (UIO_MAXIOV) is 1024
    HEAD_MAX = 512
    SEND_MAX = 1 << 20         # bytes of one sendmsg: the kernel copies it into one block
    TAKE_LEAST = 4             # datagrams a system call, however large
    TAKE_BYTES = 256 << 10     # that one system call is to bring: so much is still cached when it leaves
    FORGET = 8                 # system calls in which the size of the largest datagram shrinks to 1/e
    COPY_RANGE = 65531         # a netlink attribute's most
    RECV_LIMIT = 64            # packets that one call of the Python face returns
    CONFIG_TIMEOUT_MS = 1000
    RECEIVE_BUFFER_BYTES = 16 << 20
    SEND_BUFFER_BYTES = 8 << 20
    # constants of Linux that the module socket lacks
    SOL_NETLINK = 270
    NETLINK_NO_ENOBUFS = 5
    NETLINK_CAP_ACK = 10
    SO_SNDBUFFORCE = 32
    SO_RCVBUFFORCE = 33

cdef uint8_t[4] PADDING = [0, 0, 0, 0]


cdef bint ascending(const packet_t *packets, int count) noexcept nogil:
    """True when the ids rise as the kernel counts them, modulo 2**32."""
    cdef int i
    for i in range(1, count):
        if <int>(packets[i].id - packets[i - 1].id) <= 0:
            return False
    return True


cdef class PacketQueue:
    """A queue of packets that wait in the kernel for a verdict; the base of every backend.

    Thread-safety: one thread uses a queue. Every packet that is let go carries `mark_seen`, so that it is not
    queued twice. One that is to be left, or that is rewritten where `mark_taken` is not 0, carries that mark
    too and goes through the rules once more, which save it in the connection's.
    """

    def __cinit__(self, *args, **options):
        self.descriptor = -1

    cdef int recv_batch(self, packet_t *packets, int capacity) noexcept nogil:
        return 0

    cdef int send_verdicts(self, packet_t *packets, int count) noexcept nogil:
        return 0

    cdef int release(self, packet_t *packets, int count) noexcept nogil:
        return self.send_verdicts(packets, count)

    cdef int release_carriers(self, transmit_queue_t *carriers) noexcept nogil:
        carriers.head = carriers.tail
        return 0

    def fileno(self):
        """Return the descriptor, readable when packets wait, for epoll; -1 when closed."""
        return self.descriptor

    def close(self):
        """Give the queue back to the kernel, which drops what waits in it; a second call does nothing."""
        self.descriptor = -1

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def stats(self):
        """Return the counters of this queue by name."""
        cdef queue_counters_t c = self.counters
        return {
            "received": c.received,
            "received_bytes": c.received_bytes,
            "receive_calls": c.receive_calls,
            "verdicts": c.verdicts,
            "verdict_messages": c.verdict_messages,
            "send_calls": c.send_calls,
            "malformed": c.malformed,
            "refused": c.refused,
            "stale": c.stale,
            "overruns": c.overruns,
            "oversize": c.oversize,
            "send_failures": c.send_failures,
        }

    def recv(self, int timeout_ms=0):
        """Return the packets that wait, at most 64; wait `timeout_ms` for the first. Raises OSError."""
        cdef packet_t[RECV_LIMIT] batch
        cdef int count, i
        if timeout_ms:
            wait_readable(self.descriptor, timeout_ms)
        with nogil:
            count = self.recv_batch(batch, RECV_LIMIT)
        if count < 0:
            raise OSError(-count, os.strerror(-count))
        return [queued_packet(&batch[i]) for i in range(count)]

    def verdict(self, packet, kind, data=None):
        """Settle one packet of `recv`; `data` is the new packet of a REWRITE. Raises OSError."""
        self.verdicts([(packet, kind, data)])

    def verdicts(self, decisions, *, bint held=False):
        """Settle packets, each (packet, verdict, new bytes or None); `held`: they were on HOLD.

        Raises OSError.
        """
        cdef int count = len(decisions), status
        cdef packet_t *batch = <packet_t *>calloc(count + 1, sizeof(packet_t))
        if batch == NULL:
            raise MemoryError
        try:
            for i, (packet, kind, data) in enumerate(decisions):
                fill_packet(&batch[i], packet, kind, packet.data if data is None else data)
            with nogil:
                status = self.release(batch, count) if held else self.send_verdicts(batch, count)
        finally:
            free(batch)
        if status < 0:
            raise OSError(-status, os.strerror(-status))


cdef object wait_readable(int descriptor, int timeout_ms):
    """Wait until `descriptor` is readable or the time is over."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    poller.poll(timeout_ms)


cdef object queued_packet(const packet_t *packet):
    data = (<const char *>packet.data)[:packet.size]
    return QueuedPacket(packet.id, packet.direction == FROM_HOST, data, packet.mark, packet.hook,
                        PacketFlag(packet.flags))


cdef int fill_packet(packet_t *out, object packet, object kind, bytes data) except -1:
    """Point `out` at `data`, which the caller keeps alive; a queue only reads it."""
    out.id = packet.id
    out.mark = packet.mark
    out.hook = packet.hook
    out.verdict = VerdictKind(kind)
    out.data = <uint8_t *><char *>data
    out.size = <uint32_t>len(data)
    return 0


@cython.final
cdef class NetlinkQueue(PacketQueue):
    """The kernel's queue `number`, driven by raw netlink.

    `max_length`: packets that may wait in the kernel; `gso`: take super-packets whole; `fail_open`: a full
    queue lets packets through instead of dropping them; `slots`: datagrams a system call, fewer while some
    are large; `repeat_received`: a packet from the network that was rewritten goes through the rules of its
    hook again, where others may wait for what it is now. `descriptor` takes over the socket of a queue that
    is configured already (it is duplicated), for instance one kept across a restart. Raises HostError when
    the queue cannot be had.
    """

    def __cinit__(self, uint16_t number, *, uint32_t max_length=8192, bint gso=True, bint fail_open=True,
                  uint32_t mark_seen=0x10000000, uint32_t mark_leave=0x20000000, uint32_t mark_taken=0,
                  int slots=64, bint repeat_received=False, int descriptor=-1):
        if not 0 < slots <= 1024:
            raise ValueError("slots must lie in 1…1024")
        self.number = number
        self.slots = slots
        self.take = slots
        self.mark_seen = mark_seen
        self.mark_leave = mark_leave
        self.mark_taken = mark_taken
        self.repeat_received = repeat_received
        self.slab = <uint8_t *>calloc(slots, SLOT_SIZE)
        self.messages = <mmsghdr *>calloc(slots, sizeof(mmsghdr))
        self.places = <iovec *>calloc(slots, sizeof(iovec))
        self.heads = <uint8_t *>calloc(HEAD_MAX, VERDICT_HEAD_MAX)
        self.parts = <iovec *>calloc(PART_MAX, sizeof(iovec))
        if (self.slab == NULL or self.messages == NULL or self.places == NULL or self.heads == NULL
                or self.parts == NULL):
            raise MemoryError
        self.lay_out_slots()
        if descriptor < 0:
            self.binding = bound_queue(number, max_length)
            descriptor = self.binding.get_fd()
        self.descriptor = os.dup(descriptor)
        self.send_limit = enlarge_buffers(self.descriptor, self.binding is not None)
        if self.binding is not None:
            self.configure(max_length, (QUEUE_GSO if gso else 0) | (QUEUE_FAIL_OPEN if fail_open else 0))

    def __dealloc__(self):
        self.close()
        free(self.slab)
        free(self.messages)
        free(self.places)
        free(self.heads)
        free(self.parts)

    def close(self):
        """Give the queue back to the kernel, which drops what waits in it; a second call does nothing."""
        if self.descriptor < 0:
            return
        if self.binding is not None:
            self.unbind()
        os.close(self.descriptor)
        self.descriptor = -1
        self.binding = None

    cdef void lay_out_slots(self) noexcept:
        """Give every message header its slot; room is left at its end for moving a second message up."""
        cdef int i
        for i in range(self.slots):
            self.places[i].iov_base = self.slab + <size_t>i * SLOT_SIZE + PACKET_HEADROOM
            self.places[i].iov_len = SLOT_SIZE - 2 * PACKET_HEADROOM
            self.messages[i].msg_hdr.msg_iov = &self.places[i]
            self.messages[i].msg_hdr.msg_iovlen = 1

    cdef int configure(self, uint32_t max_length, uint32_t flags) except -1:
        """Set range, length and flags, all at once; packets that come before the answer are let go."""
        cdef uint8_t[CONFIG_SIZE] message
        cdef packet_t[RECV_LIMIT] batch
        cdef int count
        self.config_seq = 1
        self.config_status = -errno.ETIMEDOUT
        size = config_emit(message, self.number, self.config_seq, COPY_RANGE, max_length, flags)
        os.write(self.descriptor, message[:size])
        while self.config_seq:
            wait_readable(self.descriptor, CONFIG_TIMEOUT_MS)
            count = self.recv_batch(batch, RECV_LIMIT)
            self.send_verdicts(batch, max(count, 0))
            if count < 0 or (count == 0 and self.config_seq):
                break
        if self.config_status:
            raise HostError(
                f"the kernel refused the settings of queue {self.number} "
                f"({os.strerror(-self.config_status)}); try --set queue.gso=false"
            )
        return 0

    cdef int unbind(self) except -1:
        """Take the queue down and read what was on its way: the library's farewell is to meet no packet."""
        cdef uint8_t[CONFIG_SIZE] message
        cdef packet_t[RECV_LIMIT] batch
        os.write(self.descriptor, message[:unbind_emit(message, self.number)])
        while self.recv_batch(batch, RECV_LIMIT) > 0:
            pass
        return 0

    cdef int recv_batch(self, packet_t *packets, int capacity) noexcept nogil:
        cdef int filled = 0, status
        if self.slot == self.received:
            status = self.receive(capacity)
            if status <= 0:
                return status
        while filled < capacity and self.slot < self.received:
            if self.next_packet(&packets[filled]):
                filled += 1
        self.outstanding += filled
        return filled

    cdef int receive(self, int capacity) noexcept nogil:
        """Read datagrams into the slots; returns how many, 0 for none now, or a negative errno."""
        cdef int most = min(capacity, self.take)
        cdef int count = recvmmsg(self.descriptor, self.messages, most, MSG_DONTWAIT, NULL)
        self.counters.receive_calls += 1
        if count < 0:
            if c_errno == ENOBUFS:
                self.counters.overruns += 1
                return 0
            return 0 if c_errno in (EAGAIN, EINTR) else -c_errno
        self.received = count
        self.choose_take()
        self.slot = -1
        self.next_slot()
        return count

    cdef void choose_take(self) noexcept nogil:
        """Read fewer at a time while some are large: what lets a sender go on must not wait for all."""
        cdef uint32_t largest = 0
        cdef int i
        for i in range(self.received):
            largest = max(largest, self.messages[i].msg_len)
        self.large_bytes = max(largest, self.large_bytes - self.large_bytes // FORGET)
        self.take = min(max(TAKE_BYTES // max(self.large_bytes, 1), TAKE_LEAST), self.slots)

    cdef void next_slot(self) noexcept nogil:
        self.slot += 1
        self.offset = PACKET_HEADROOM
        if self.slot < self.received:
            self.end = PACKET_HEADROOM + self.messages[self.slot].msg_len

    cdef bint next_packet(self, packet_t *packet) noexcept nogil:
        """Read one message at the cursor and move on; True when it was a packet, now in *packet."""
        cdef message_t message
        cdef uint8_t *base = self.slab + <size_t>self.slot * SLOT_SIZE
        cdef uint32_t size = message_parse(base + self.offset, self.end - self.offset, &message, packet)
        if size == 0 or message.kind not in (MESSAGE_PACKET, MESSAGE_STATUS, MESSAGE_IGNORED):
            self.counters.malformed += 1
        elif message.kind == MESSAGE_STATUS:
            self.note_status(message.status, message.seq)
        elif message.kind == MESSAGE_PACKET:
            self.counters.received += 1
            self.counters.received_bytes += packet.size
            if self.offset + size >= self.end:
                packet.limit = base + SLOT_SIZE
        self.offset += size
        if size == 0 or self.offset >= self.end:
            self.next_slot()
        elif self.end <= SLOT_SIZE - PACKET_HEADROOM:
            # the headroom of the next packet must not lie in the bytes of this one
            memmove(base + self.offset + PACKET_HEADROOM, base + self.offset, self.end - self.offset)
            self.offset += PACKET_HEADROOM
            self.end += PACKET_HEADROOM
        return size != 0 and message.kind == MESSAGE_PACKET

    cdef void note_status(self, int status, uint32_t seq) noexcept nogil:
        """Take the kernel's answer: to the configuration, or (errors only) to a verdict."""
        if seq and seq == self.config_seq:
            self.config_seq = 0
            self.config_status = status
        elif status == -ENOENT:
            self.counters.stale += 1
        elif status:
            self.counters.refused += 1

    cdef int send_verdicts(self, packet_t *packets, int count) noexcept nogil:
        return self.settle(packets, count, True)

    cdef int release(self, packet_t *packets, int count) noexcept nogil:
        self.held -= count
        return self.settle(packets, count, False)

    cdef int settle(self, packet_t *packets, int count, bint ordered) noexcept nogil:
        """Send verdicts, runs of equal ones as one batch message.

        A batch settles every waiting packet up to its id, so it is used only while that is exactly the run:
        everything handed out is settled by this call, in rising order, and nothing is on hold.
        """
        cdef bint complete = self.held == 0 and self.outstanding == count
        cdef bint batch = ordered and complete and ascending(packets, count)
        cdef verdict_t verdict
        cdef int i = 0, run, status = 0, sent
        self.outstanding -= count
        while i < count:
            run = 1
            if packets[i].verdict == VERDICT_HOLD:
                self.held += 1
                self.outstanding += 1
                batch = False
            else:
                self.choose(&packets[i], &verdict)
                if batch and verdict.payload_size == 0:
                    run = self.run_length(&packets[i], count - i, &verdict)
                    verdict.batch = run > 1
                    verdict.id = packets[i + run - 1].id
                sent = self.queue_verdict(&verdict, &packets[i], run)
                status = sent if sent < 0 else status
            i += run
        sent = self.flush()
        return sent if sent < 0 else status

    cdef void choose(self, const packet_t *packet, verdict_t *out) noexcept nogil:
        """Translate the engine's verdict into the kernel's."""
        memset(out, 0, sizeof(verdict_t))
        out.queue = self.number
        out.id = packet.id
        out.code = NF_ACCEPT
        if packet.verdict == VERDICT_DROP:
            out.code = NF_DROP
            return
        if packet.verdict == VERDICT_REWRITE:
            if packet.size == 0 or packet.size > VERDICT_PAYLOAD_MAX:
                self.counters.oversize += 1
                out.code = NF_DROP
                return
            out.payload_size = packet.size
            if self.repeat_received and packet.direction == FROM_NETWORK:
                out.code = NF_REPEAT
        out.has_mark = 1
        out.mark = packet.mark | self.mark_seen
        if packet.verdict == VERDICT_LEAVE:
            out.code = NF_REPEAT
            out.mark |= self.mark_leave
        elif packet.verdict == VERDICT_REWRITE and self.mark_taken:
            out.code = NF_REPEAT
            out.mark |= self.mark_taken

    cdef int run_length(self, const packet_t *packets, int count, const verdict_t *first) noexcept nogil:
        """Return how many packets from the first on get exactly its verdict, payloads untouched."""
        cdef verdict_t other
        cdef int i
        for i in range(1, count):
            if packets[i].verdict in (VERDICT_HOLD, VERDICT_REWRITE):
                return i
            self.choose(&packets[i], &other)
            if other.code != first.code or other.mark != first.mark:
                return i
        return count

    cdef int queue_verdict(self, verdict_t *verdict, packet_t *packet, int count) noexcept nogil:
        """Append the message that settles `count` packets, sending first what leaves no room for it."""
        cdef uint32_t padding = -verdict.payload_size & 3
        cdef int status = 0
        if (self.part_count + 3 > PART_MAX or self.head_count == HEAD_MAX
                or self.pending_bytes + VERDICT_HEAD_MAX + verdict.payload_size + padding > self.send_limit):
            status = self.flush()
        self.append_head(verdict)
        if verdict.payload_size:
            self.append(packet.data, verdict.payload_size)
        if padding:
            self.append(PADDING, padding)
        self.pending_verdicts += count
        return status

    cdef int release_carriers(self, transmit_queue_t *carriers) noexcept nogil:
        cdef int status = 0, sent
        while carriers.head != carriers.tail:
            sent = self.queue_carrier(&carriers.slots[carriers.head & carriers.mask])
            status = sent if sent < 0 else status
            carriers.head += 1
        sent = self.flush()
        return sent if sent < 0 else status

    cdef int queue_carrier(self, transmit_t *carrier) noexcept nogil:
        """Append the message that lets a packet on hold go: dropped, or with the carrier's content."""
        cdef verdict_t verdict
        cdef uint32_t size = 0
        cdef int status = 0, i
        memset(&verdict, 0, sizeof(verdict))
        verdict.queue = self.number
        verdict.id = carrier.carrier
        verdict.code = NF_DROP
        if carrier.header_size:
            size = carrier.header_size
            for i in range(carrier.piece_count):
                size += carrier.piece_size[i]
            verdict.code = NF_ACCEPT
            verdict.has_mark = 1
            verdict.mark = self.mark_seen
            verdict.payload_size = size
        if (self.part_count + 5 > PART_MAX or self.head_count == HEAD_MAX
                or self.pending_bytes + VERDICT_HEAD_MAX + size + 4 > self.send_limit):
            status = self.flush()
        self.held -= 1
        self.append_head(&verdict)
        if size:
            self.append(carrier.header, carrier.header_size)
            for i in range(carrier.piece_count):
                self.append(carrier.piece[i], carrier.piece_size[i])
            if size & 3:
                self.append(PADDING, 4 - (size & 3))
        self.pending_verdicts += 1
        return status

    cdef void append_head(self, const verdict_t *verdict) noexcept nogil:
        cdef uint8_t *head = self.heads + self.head_count * VERDICT_HEAD_MAX
        self.head_count += 1
        self.append(head, verdict_emit(head, verdict))

    cdef void append(self, const uint8_t *data, size_t size) noexcept nogil:
        self.parts[self.part_count].iov_base = <void *>data
        self.parts[self.part_count].iov_len = size
        self.part_count += 1
        self.pending_bytes += size

    cdef int flush(self) noexcept nogil:
        """Send the messages under construction; on a negative errno their packets stay in the kernel."""
        cdef msghdr message
        cdef ssize_t sent = 0
        if self.part_count == 0:
            return 0
        memset(&message, 0, sizeof(message))
        message.msg_iov = self.parts
        message.msg_iovlen = self.part_count
        while True:
            sent = sendmsg(self.descriptor, &message, 0)
            if sent >= 0 or c_errno != EINTR:
                break
        if sent < 0:
            self.counters.send_failures += self.pending_verdicts
        else:
            self.counters.send_calls += 1
            self.counters.verdicts += self.pending_verdicts
            self.counters.verdict_messages += self.head_count
        self.part_count = 0
        self.head_count = 0
        self.pending_bytes = 0
        self.pending_verdicts = 0
        return 0 if sent >= 0 else -c_errno


cdef object bound_queue(uint16_t number, uint32_t max_length):
    """Open and bind queue `number` through netfilterqueue. Raises HostError."""
    try:
        from netfilterqueue import NetfilterQueue
    except ImportError as error:
        raise HostError("the package netfilterqueue is missing; run: pip install netfilterqueue") from error
    try:
        queue = NetfilterQueue()
        queue.bind(number, _accept, max_len=max_length)
    except OSError as error:
        raise HostError(
            f"queue {number} cannot be opened ({error}); run as root, and see "
            "/proc/net/netfilter/nfnetlink_queue whether another program holds it (choose another with "
            "--set queue.number=N)"
        ) from error
    return queue


def _accept(packet):
    """Let a packet go that the library meets while it opens or closes the queue."""
    packet.accept()


cdef object enlarge_buffers(int descriptor, bint netlink):
    """Set the socket's buffers and return the most bytes of one verdict message. Raises HostError."""
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        if netlink:
            try:
                sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
                sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES)
                sock.setsockopt(SOL_NETLINK, NETLINK_NO_ENOBUFS, 1)
                sock.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
            except OSError as error:
                raise HostError(f"the queue's buffers cannot be set ({error}); run as root") from error
        # netlink refuses a message longer than sk_sndbuf - 32
        limit = min(sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - 32, SEND_MAX)
    if limit < VERDICT_PAYLOAD_MAX + VERDICT_HEAD_MAX:
        raise HostError(f"the queue's send buffer holds only {limit} bytes; raise net.core.wmem_max")
    return limit

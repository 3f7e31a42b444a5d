"""The data plane of Shim6 as an object."""

from typing import NamedTuple

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from mpcore.errors import CapacityError, LocalProtocolError
from mpcore.shim6.heuristic import FlowKey

from mpcore.shim6.chain cimport CHAIN_OK, IPV6_SIZE, NEXT_SHIM6, chain_begin, chain_t
from mpcore.shim6.cut cimport CUT_OK, cut_begin, cut_fill, cut_tcp
from mpcore.shim6.data cimport (
    DSCP_ANY,
    FORK_RULES_MAX,
    NEWS_RECEIVED,
    NEWS_SENT,
    fork_rule_t,
    shim6_accept_pair,
    shim6_find_tag,
    shim6_forget_talks,
    shim6_incoming,
    shim6_install,
    shim6_outgoing,
    shim6_payload_sane,
    shim6_plane_clear,
    shim6_plane_init,
    shim6_talk_t,
    shim6_uninstall,
    shim6_update,
)
from mpcore.shim6.join cimport segments_join
from mpcore.shim6.sizes cimport sizes_find, sizes_forget, sizes_note
from mpcore.store.counters cimport (
    COUNTER_COUNT, COUNTER_SHIM6_CUT, COUNTER_SHIM6_JOINED, COUNTER_SHIM6_PAYLOAD_INSANE,
    COUNTER_SHIM6_PAYLOAD_RX, COUNTER_SHIM6_PAYLOAD_TX, COUNTER_SHIM6_SUPER_PACKET,
)
from mpcore.store.packet cimport (
    FROM_HOST, FROM_NETWORK, PACKET_GSO, PACKET_HEADROOM, VERDICT_DROP, VERDICT_PUNT, VERDICT_REWRITE,
    VERDICT_STOP, transmit_t,
)
from mpcore.wire.bits cimport load16
from mpcore.wire.rewrite cimport shim6_remove


cdef enum:
    CUTS = 128                 # segments of a super-packet that are made at once
    JOIN_ROOM = 65535          # octets of a packet of `join`


class Activity(NamedTuple):
    """When packets of a context, with or without header, last left and came; None where none did lately."""

    number: int
    sent_ns: int | None
    received_ns: int | None


class Talk(NamedTuple):
    """Packets of one conversation that has no context; bytes are those of whole packets."""

    key: FlowKey
    packets_sent: int
    bytes_sent: int
    packets_received: int
    bytes_received: int


cdef int take_address(uint8_t *out, bytes address) except -1:
    if len(address) != 16:
        raise ValueError(f"an IPv6 address has 16 octets, not {len(address)}")
    memcpy(out, PyBytes_AS_STRING(address), 16)
    return 0


cdef int fill_context(shim6_context_t *out, path) except -1:
    """A context as `path`, an `effects.Path`, describes it."""
    if path.tag_local >> 47 or (path.tag_peer or 0) >> 47:
        raise ValueError("a context tag has 47 bits")
    memset(out, 0, sizeof(shim6_context_t))
    out.number = path.number
    out.tag_local = path.tag_local
    out.out.tag = path.tag_peer or 0
    take_address(out.out.src, path.locator_local)
    take_address(out.out.dst, path.locator_peer)
    take_address(out.back.src, path.ulid_peer)
    take_address(out.back.dst, path.ulid_local)
    out.rewriting = path.rewrites
    out.watched = path.watched
    out.fii = path.fii
    return 0


@cython.final
cdef class Shim6Engine:
    """Data plane of all Shim6 contexts of one host.

    Args:
        max_contexts: most contexts at a time
        seed: 16 random octets that key the tables
        max_talks: most conversations without context that are counted between two looks; 0 counts none
        punts_per_second: most decisions that packets of strangers may ask for in any one second; as many
            packets of contexts in an exchange are shown to the control core, the others taken without it
        messages_per_second: most control messages without a tag of a context that are handed on in a second
        any_locator: take payload on any addresses, as RFC 5533 §12.4 allows, by its tag alone. Off, packets
            on pairs that the context is not known to use are decided on by `accept_pair`, which closes the
            way around ingress filters of RFC 5533 §16.2.

    Thread-safety: one thread at a time.
    """

    def __cinit__(self, *, uint32_t max_contexts, bytes seed not None, uint32_t max_talks=1024,
                  uint32_t punts_per_second=1000, uint32_t messages_per_second=4800,
                  bint any_locator=False):
        if len(seed) != 16:
            raise ValueError("the seed has 16 octets")
        if shim6_plane_init(&self.plane, max_contexts, max_talks, int.from_bytes(seed[:8], "big"),
                            int.from_bytes(seed[8:], "big")) < 0:
            raise MemoryError
        self.plane.punts.per_second = self.plane.punts.left = punts_per_second
        self.plane.repeats.per_second = self.plane.repeats.left = punts_per_second
        self.plane.messages.per_second = self.plane.messages.left = messages_per_second
        self.plane.any_locator = any_locator
        self._slots = {}
        self.cuts.mask = CUTS - 1
        self.cuts.slots = <transmit_t *>calloc(CUTS, sizeof(transmit_t))
        if self.cuts.slots == NULL:
            raise MemoryError

    def __dealloc__(self):
        shim6_plane_clear(&self.plane)
        free(self.cuts.slots)

    cdef int process_batch(self, packet_t *packets, int start, int count, int64_t now_ns) noexcept nogil:
        cdef int i
        for i in range(start, count):
            if packets[i].direction == FROM_HOST:
                shim6_outgoing(&self.plane, &packets[i], now_ns)
            else:
                shim6_incoming(&self.plane, &packets[i], now_ns)
            if packets[i].verdict == VERDICT_PUNT or packets[i].verdict == VERDICT_STOP:
                return i
        return count

    # --- super-packets

    cdef void join_segments(self, packet_t *packets, int start, int count) noexcept nogil:
        self.plane.counters[COUNTER_SHIM6_JOINED] += segments_join(packets, <uint32_t>start, <uint32_t>count)

    cdef uint32_t segment_size(self, const packet_t *packet, int64_t now_ns) noexcept nogil:
        cdef const uint8_t *tcp = cut_tcp(packet)
        return sizes_find(&self.plane.sizes, packet.data, tcp, now_ns) if tcp != NULL else 1

    cdef void note_segment_size(self, const packet_t *packet, uint32_t mss, int64_t now_ns) noexcept nogil:
        cdef const uint8_t *tcp = cut_tcp(packet)
        if tcp != NULL:
            sizes_note(&self.plane.sizes, packet.data, tcp, mss, now_ns)

    cdef void forget_segment_sizes(self) noexcept nogil:
        sizes_forget(&self.plane.sizes)

    cdef void begin_cut(self, packet_t *packet, uint32_t mss) noexcept nogil:
        packet.verdict = VERDICT_DROP
        if cut_begin(&self.cutting, packet, &self.plane.contexts[self.plane.stopped].out, mss) == CUT_OK:
            self.plane.counters[COUNTER_SHIM6_CUT] += 1
        else:
            self.cutting.payload_size = 0
            self.plane.counters[COUNTER_SHIM6_SUPER_PACKET] += 1

    cdef uint32_t next_cuts(self) noexcept nogil:
        cdef uint32_t count = cut_fill(&self.cutting, &self.cuts)
        self.plane.counters[COUNTER_SHIM6_PAYLOAD_TX] += count
        return count

    cdef const uint8_t *cut_source(self) noexcept nogil:
        return self.plane.contexts[self.plane.stopped].out.src

    def cut(self, bytes data not None, int mss, int64_t now_ns):
        """Decide on a super-packet of the host; return its segments, or None where it is not to be cut.

        `mss`: octets of options and payload that a segment may have. For drivers it is done without copies.
        """
        cdef packet_t packet
        cdef transmit_t *next
        memset(&packet, 0, sizeof(packet))
        packet.data = <uint8_t *>PyBytes_AS_STRING(data)
        packet.size = <uint32_t>len(data)
        packet.direction = FROM_HOST
        packet.flags = PACKET_GSO
        self.process_batch(&packet, 0, 1, now_ns)
        if packet.verdict != VERDICT_STOP:
            return None
        self.begin_cut(&packet, <uint32_t>mss)
        result = []
        while self.next_cuts():
            while self.cuts.head != self.cuts.tail:
                next = &self.cuts.slots[self.cuts.head & self.cuts.mask]
                result.append((<const char *>next.header)[:next.header_size]
                              + (<const char *>next.piece[0])[:next.piece_size[0]])
                self.cuts.head += 1
        return result

    # --- contexts

    def add_fork_rule(self, rule not None):
        """Let what a `mpcore.config.ForkRule` fits leave by its fork, if there is any (RFC 5533 §4.2).

        Of several rules the first that fits counts. CapacityError for more than eight.
        """
        cdef fork_rule_t *added
        if self.plane.fork_count >= FORK_RULES_MAX:
            raise CapacityError(f"there can be {FORK_RULES_MAX} rules of forks")
        added = &self.plane.forks[self.plane.fork_count]
        added.fii = rule.fii
        added.mark = rule.mark or 0
        added.mark_mask = rule.mark_mask or 0
        added.dscp = DSCP_ANY if rule.dscp is None else rule.dscp
        self.plane.fork_count += 1

    def __len__(self):
        return len(self._slots)

    cdef shim6_context_t *find(self, number) except? NULL:
        slot = self._slots.get(number)
        if slot is None:
            return NULL
        return &self.plane.contexts[<uint32_t>slot]

    def install(self, path not None):
        """Take in a context (an `effects.Path`). CapacityError when there is no room, or its tag is taken."""
        cdef shim6_context_t wanted
        cdef int64_t slot
        fill_context(&wanted, path)
        if path.number in self._slots:
            raise LocalProtocolError(f"context {path.number} is installed already")
        slot = shim6_install(&self.plane, &wanted)
        if slot < 0:
            raise CapacityError("no room for the context, or its tag or ULIDs have one already")
        self._slots[path.number] = slot

    def update(self, path not None):
        """Change tags, locators or state of an installed context; LocalProtocolError when there is none."""
        cdef shim6_context_t wanted
        fill_context(&wanted, path)
        if path.number not in self._slots:
            raise LocalProtocolError(f"context {path.number} is not installed")
        if shim6_update(&self.plane, <uint32_t>self._slots[path.number], &wanted) < 0:
            raise LocalProtocolError("another context has the tag")

    def remove(self, number):
        """Forget a context; nothing happens when there is none."""
        slot = self._slots.pop(number, None)
        if slot is not None:
            shim6_uninstall(&self.plane, <uint32_t>slot)

    def number_of_tag(self, uint64_t tag):
        """Return the number of the context that has this tag here, or None."""
        cdef int64_t slot = shim6_find_tag(&self.plane, tag)
        return self.plane.contexts[slot].number if slot >= 0 else None

    def accept_pair(self, number, bytes source not None, bytes destination not None):
        """Take payload of a context on these locators, until it is updated or many others were accepted."""
        cdef shim6_context_t *context = self.find(number)
        cdef uint8_t[16] src
        cdef uint8_t[16] dst
        take_address(src, source)
        take_address(dst, destination)
        if context != NULL:
            shim6_accept_pair(context, src, dst)

    # --- packets

    def process(self, int direction, bytes data not None, int64_t now_ns, uint8_t flags=0, uint32_t mark=0):
        """Decide on one packet: (an `actions.VerdictKind` value, PUNT included, new bytes for REWRITE).

        `flags` and `mark` are those of `mpcore/store/packet.pxd`. What `cut` is for is dropped here.
        """
        cdef packet_t packet
        cdef uint8_t *room = <uint8_t *>malloc(PACKET_HEADROOM + len(data))
        if room == NULL:
            raise MemoryError
        memset(&packet, 0, sizeof(packet))
        packet.data = room + PACKET_HEADROOM
        packet.size = <uint32_t>len(data)
        packet.direction = direction
        packet.flags = flags
        packet.mark = mark
        memcpy(packet.data, PyBytes_AS_STRING(data), packet.size)
        try:
            self.process_batch(&packet, 0, 1, now_ns)
            if packet.verdict == VERDICT_STOP:
                packet.verdict = VERDICT_DROP
                self.plane.counters[COUNTER_SHIM6_SUPER_PACKET] += 1
            if packet.verdict != VERDICT_REWRITE:
                return packet.verdict, None
            return packet.verdict, PyBytes_FromStringAndSize(<const char *>packet.data, packet.size)
        finally:
            free(room)

    def process_many(self, int direction, list packets not None, int64_t now_ns):
        """Decide on packets in one batch without the GIL; return their verdicts alone, for measurements."""
        cdef Py_ssize_t i, total = sum(len(packet) + PACKET_HEADROOM for packet in packets)
        cdef int count = <int>len(packets), at
        cdef uint8_t *room = <uint8_t *>malloc(total + 1)
        cdef packet_t *batch = <packet_t *>malloc((count + 1) * sizeof(packet_t))
        try:
            if room == NULL or batch == NULL:
                raise MemoryError
            memset(batch, 0, (count + 1) * sizeof(packet_t))
            total = 0
            for i in range(count):
                batch[i].data = room + total + PACKET_HEADROOM
                batch[i].size = <uint32_t>len(packets[i])
                batch[i].direction = direction
                memcpy(batch[i].data, PyBytes_AS_STRING(packets[i]), batch[i].size)
                total += PACKET_HEADROOM + batch[i].size
            with nogil:
                at = 0
                while at < count:
                    at = self.process_batch(batch, at, count, now_ns) + 1
            return [batch[i].verdict for i in range(count)]
        finally:
            free(room)
            free(batch)

    def join(self, list packets not None):
        """Hand up what the network brought in one batch, ULIDs restored; None for what joined another.

        Each packet is bytes, and so is what becomes of it. Drivers do it without copies.
        """
        cdef int count = <int>len(packets), i
        cdef uint8_t *room = <uint8_t *>malloc(<size_t>count * JOIN_ROOM + 1)
        cdef packet_t *batch = <packet_t *>malloc((count + 1) * sizeof(packet_t))
        try:
            if room == NULL or batch == NULL:
                raise MemoryError
            memset(batch, 0, (count + 1) * sizeof(packet_t))
            for i in range(count):
                if len(packets[i]) > JOIN_ROOM:
                    raise ValueError(f"a packet has {JOIN_ROOM} octets at most")
                batch[i].data = room + <size_t>i * JOIN_ROOM
                batch[i].limit = batch[i].data + JOIN_ROOM
                batch[i].size = <uint32_t>len(packets[i])
                batch[i].direction = FROM_NETWORK
                batch[i].verdict = VERDICT_REWRITE
                memcpy(batch[i].data, PyBytes_AS_STRING(packets[i]), batch[i].size)
            self.join_segments(batch, 0, count)
            return [
                (<const char *>batch[i].data)[:batch[i].size] if batch[i].verdict == VERDICT_REWRITE else None
                for i in range(count)
            ]
        finally:
            free(room)
            free(batch)

    def restore(self, number, bytes data not None, int64_t now_ns):
        """Return what a packet with a payload header is to the transport, now that its context is accepted.

        None when it carries what no context may; counted like a packet that needed no decision, but for
        `take_activity`.
        """
        cdef shim6_context_t *context = self.find(number)
        cdef chain_t place
        cdef const uint8_t *packet = <const uint8_t *>PyBytes_AS_STRING(data)
        cdef uint32_t size = <uint32_t>len(data)
        cdef int64_t result
        cdef bytes out
        if context == NULL or size < IPV6_SIZE or IPV6_SIZE + <uint32_t>load16(packet + 4) > size:
            return None
        size = IPV6_SIZE + load16(packet + 4)
        if (chain_begin(packet, size, &place) != CHAIN_OK or place.kind != NEXT_SHIM6
                or size - place.at < 8 or not shim6_payload_sane(packet, size, place.at)):
            self.plane.counters[COUNTER_SHIM6_PAYLOAD_INSANE] += 1
            return None
        out = PyBytes_FromStringAndSize(NULL, size)
        result = shim6_remove(packet, size, &context.back, <uint8_t *>PyBytes_AS_STRING(out), size)
        if result < 0:
            return None
        context.packets_received += 1
        context.bytes_received += <uint64_t>result
        context.received_ns = now_ns
        self.plane.counters[COUNTER_SHIM6_PAYLOAD_RX] += 1
        return out[:result]

    # --- what packets tell

    def take_activity(self):
        """Return the contexts that packets belonged to since the last look."""
        cdef shim6_context_t *context
        cdef uint32_t i
        result = []
        for i in range(self.plane.active_count):
            context = &self.plane.contexts[self.plane.active[i]]
            result.append(Activity(
                context.number,
                context.sent_ns if context.news & NEWS_SENT else None,
                context.received_ns if context.news & NEWS_RECEIVED else None,
            ))
            context.news = 0
        self.plane.active_count = 0
        return result

    def take_talks(self):
        """Return the conversations without context that had packets since the last look, and forget them."""
        cdef shim6_talk_t *talk
        cdef uint32_t i
        result = []
        for i in range(self.plane.talk_count):
            talk = &self.plane.talks[i]
            key = FlowKey(
                PyBytes_FromStringAndSize(<const char *>talk.local, 16),
                PyBytes_FromStringAndSize(<const char *>talk.peer, 16),
                talk.protocol, talk.port_local, talk.port_peer,
            )
            result.append(Talk(key, talk.packets_sent, talk.bytes_sent, talk.packets_received,
                               talk.bytes_received))
        shim6_forget_talks(&self.plane)
        return result

    # --- looking

    def stats(self, number):
        """Return what a context has carried, or None; bytes are whole packets as transports have them."""
        cdef shim6_context_t *context = self.find(number)
        if context == NULL:
            return None
        return {
            "packets_sent": context.packets_sent,
            "packets_received": context.packets_received,
            "bytes_sent": context.bytes_sent,
            "bytes_received": context.bytes_received,
            "last_sent_ns": context.sent_ns or None,
            "last_received_ns": context.received_ns or None,
            "rewriting": bool(context.rewriting),
        }

    def counters(self):
        """Return the counters as a list in the order of `mpcore.counters`."""
        return [self.plane.counters[i] for i in range(COUNTER_COUNT)]

    def count(self, int counter, uint64_t amount=1):
        """Raise a counter by its index."""
        if 0 <= counter < COUNTER_COUNT:
            self.plane.counters[counter] += amount

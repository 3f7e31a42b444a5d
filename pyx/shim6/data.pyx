"""The data plane of Shim6; see the header for what is asked of callers."""

from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from mpcore.shim6.chain cimport (
    CHAIN_OK, IPV6_SIZE, NEXT_FRAGMENT, NEXT_HOP_BY_HOP, NEXT_ICMPV6, NEXT_ROUTING, NEXT_SHIM6,
    chain_begin, chain_t, chain_walk,
)
from mpcore.shim6.fields cimport DESTINATION, SOURCE, TCP_PROTOCOL
from mpcore.shim6.icmp_error cimport ICMP_OK, icmp_parse, icmp_t
from mpcore.shim6.sizes cimport sizes_forget
from mpcore.store.counters cimport (
    COUNTER_SHIM6_CONTROL_RX,
    COUNTER_SHIM6_EXEMPT,
    COUNTER_SHIM6_FOREIGN,
    COUNTER_SHIM6_FRAGMENT,
    COUNTER_SHIM6_ICMP_RX,
    COUNTER_SHIM6_LIMIT_PUNT,
    COUNTER_SHIM6_LIMIT_TALK,
    COUNTER_SHIM6_PAYLOAD_ADDRESS,
    COUNTER_SHIM6_PAYLOAD_INSANE,
    COUNTER_SHIM6_PAYLOAD_MALFORMED,
    COUNTER_SHIM6_PAYLOAD_PUNTED,
    COUNTER_SHIM6_PAYLOAD_RX,
    COUNTER_SHIM6_PAYLOAD_TX,
    COUNTER_SHIM6_PLAIN,
    COUNTER_SHIM6_UNSENDABLE,
    COUNTER_SHIM6_UNTOUCHED_RX,
    COUNTER_SHIM6_UNTOUCHED_TX,
)
from mpcore.store.packet cimport (
    PACKET_CHECKSUM_NOT_READY,
    PACKET_GSO,
    PACKET_TRUNCATED,
    VERDICT_DROP,
    VERDICT_PASS,
    VERDICT_PUNT,
    VERDICT_REWRITE,
    VERDICT_STOP,
)
from mpcore.store.table cimport (
    flow_key_t, table_clear, table_find, table_init, table_insert, table_remove,
)
from mpcore.wire.bits cimport load16, load64
from mpcore.wire.rewrite cimport SHIM6_HEADER_SIZE, checksums_fix, shim6_insert, shim6_remove

cdef enum:
    UDP = 17
    SCTP = 132
    UDP_LITE = 136
    PAYLOAD_BIT = 0x80
    TYPE = 2                   # of the Shim6 header
    TAG_END = 12               # in control messages that have one
    UPDATE_REQUEST = 64        # the first of the messages with the receiver's tag, and the last
    PROBE = 67
    MLD_FIRST = 130            # to 132; neighbour discovery goes on to 137 (RFC 4861 §4)
    DISCOVERY_LAST = 137
    MLD2_REPORT = 143          # RFC 3810 §5.2

    # why an ICMPv6 error is the shim's business
    CONCERN_NONE = 0
    CONCERN_ULIDS = 1          # a context's transport is to see it as it is
    CONCERN_HEADER = 2         # as it is, it means nothing to any transport

cdef uint64_t TAG_MASK = (<uint64_t>1 << 47) - 1
cdef int64_t SECOND_NS = 1000000000
cdef int64_t SHOWN_EVERY_NS = 50000000


# Contexts.

cdef inline void ulids_key(flow_key_t *key, const uint8_t *local, const uint8_t *peer) noexcept nogil:
    memset(key, 0, sizeof(flow_key_t))
    memcpy(key.local, local, 16)
    memcpy(key.remote, peer, 16)


cdef inline void context_key(flow_key_t *key, const uint8_t *local, const uint8_t *peer,
                             uint32_t fii) noexcept nogil:
    ulids_key(key, local, peer)
    key.local_port = <uint16_t>(fii >> 16)
    key.remote_port = <uint16_t>fii


cdef inline void tag_key(flow_key_t *key, uint64_t tag) noexcept nogil:
    memset(key, 0, sizeof(flow_key_t))
    memcpy(key.local, &tag, sizeof(tag))


cdef int shim6_plane_init(shim6_plane_t *plane, uint32_t contexts, uint32_t talks, uint64_t seed0,
                          uint64_t seed1) noexcept nogil:
    cdef uint32_t i
    memset(plane, 0, sizeof(shim6_plane_t))
    plane.contexts = <shim6_context_t *>calloc(contexts + 1, sizeof(shim6_context_t))
    plane.free_slots = <uint32_t *>calloc(contexts + 1, sizeof(uint32_t))
    plane.active = <uint32_t *>calloc(contexts + 1, sizeof(uint32_t))
    plane.talks = <shim6_talk_t *>calloc(talks + 1, sizeof(shim6_talk_t))
    if plane.contexts == NULL or plane.free_slots == NULL or plane.active == NULL or plane.talks == NULL:
        return -1
    if (table_init(&plane.by_ulids, contexts, seed0, seed1) < 0
            or table_init(&plane.by_tag, contexts, seed1, seed0) < 0
            or table_init(&plane.by_talk, talks, seed0, seed1) < 0):
        return -1
    plane.limit = contexts
    plane.talk_limit = talks
    plane.free_count = contexts
    for i in range(contexts):
        plane.free_slots[i] = contexts - 1 - i
    return 0


cdef void shim6_plane_clear(shim6_plane_t *plane) noexcept nogil:
    table_clear(&plane.by_ulids)
    table_clear(&plane.by_tag)
    table_clear(&plane.by_talk)
    free(plane.contexts)
    free(plane.free_slots)
    free(plane.active)
    free(plane.talks)
    memset(plane, 0, sizeof(shim6_plane_t))


cdef int64_t shim6_install(shim6_plane_t *plane, const shim6_context_t *wanted) noexcept nogil:
    cdef flow_key_t tag, ulids
    cdef shim6_context_t *context
    cdef uint32_t slot
    if plane.free_count == 0:
        return -1
    slot = plane.free_slots[plane.free_count - 1]
    tag_key(&tag, wanted.tag_local)
    context_key(&ulids, wanted.back.dst, wanted.back.src, wanted.fii)
    if table_insert(&plane.by_tag, &tag, slot) < 0:
        return -1
    if table_insert(&plane.by_ulids, &ulids, slot) < 0:
        table_remove(&plane.by_tag, &tag)
        return -1
    plane.free_count -= 1
    context = &plane.contexts[slot]
    context[0] = wanted[0]
    context.used = 1
    take_state(context, wanted)
    return slot


cdef void take_state(shim6_context_t *context, const shim6_context_t *wanted) noexcept nogil:
    """What an update may change; pairs that were accepted have to prove themselves again."""
    context.out = wanted.out
    context.rewriting = wanted.rewriting
    context.watched = wanted.watched
    memcpy(context.pairs[0].src, wanted.out.dst, 16)
    memcpy(context.pairs[0].dst, wanted.out.src, 16)
    context.pair_count = 1
    context.pair_next = 1


cdef int shim6_update(shim6_plane_t *plane, uint32_t slot, const shim6_context_t *wanted) noexcept nogil:
    cdef shim6_context_t *context = &plane.contexts[slot]
    cdef flow_key_t old, new
    if wanted.tag_local != context.tag_local:
        tag_key(&old, context.tag_local)
        tag_key(&new, wanted.tag_local)
        if table_find(&plane.by_tag, &new) != NULL:
            return -1
        table_remove(&plane.by_tag, &old)
        table_insert(&plane.by_tag, &new, slot)
        context.tag_local = wanted.tag_local
    take_state(context, wanted)
    sizes_forget(&plane.sizes)     # sockets are told of another path MTU now
    return 0


cdef void shim6_uninstall(shim6_plane_t *plane, uint32_t slot) noexcept nogil:
    cdef shim6_context_t *context = &plane.contexts[slot]
    cdef flow_key_t key
    cdef uint32_t i
    if not context.used:
        return
    tag_key(&key, context.tag_local)
    table_remove(&plane.by_tag, &key)
    context_key(&key, context.back.dst, context.back.src, context.fii)
    table_remove(&plane.by_ulids, &key)
    if context.news:
        for i in range(plane.active_count):
            if plane.active[i] == slot:
                plane.active_count -= 1
                plane.active[i] = plane.active[plane.active_count]
                break
    memset(context, 0, sizeof(shim6_context_t))
    plane.free_slots[plane.free_count] = slot
    plane.free_count += 1


cdef void shim6_accept_pair(shim6_context_t *context, const uint8_t *src,
                            const uint8_t *dst) noexcept nogil:
    cdef locator_pair_t *pair = &context.pairs[context.pair_next]
    memcpy(pair.src, src, 16)
    memcpy(pair.dst, dst, 16)
    if context.pair_count <= context.pair_next:
        context.pair_count = context.pair_next + 1
    context.pair_next = context.pair_next + 1 if context.pair_next + 1 < PAIRS_MAX else 1


cdef int64_t shim6_find_tag(const shim6_plane_t *plane, uint64_t tag) noexcept nogil:
    cdef flow_key_t key
    cdef uint64_t *slot
    tag_key(&key, tag)
    slot = table_find(&plane.by_tag, &key)
    return <int64_t>slot[0] if slot != NULL else -1


cdef inline int64_t find_ulids(const shim6_plane_t *plane, const uint8_t *local, const uint8_t *peer,
                               uint32_t fii) noexcept nogil:
    cdef flow_key_t key
    cdef uint64_t *slot
    if plane.by_ulids.count == 0:
        return -1
    context_key(&key, local, peer, fii)
    slot = table_find(&plane.by_ulids, &key)
    return <int64_t>slot[0] if slot != NULL else -1


cdef inline uint32_t wanted_fork(const shim6_plane_t *plane, const packet_t *packet) noexcept nogil:
    """The FII of the first rule that a packet of the host fits, or 0 (RFC 5533 §4.2)."""
    cdef const fork_rule_t *rule
    cdef uint8_t dscp = (packet.data[0] << 2 | packet.data[1] >> 6) & 0x3f    # of the traffic class
    cdef uint32_t i
    for i in range(plane.fork_count):
        rule = &plane.forks[i]
        if rule.dscp in (DSCP_ANY, dscp) and packet.mark & rule.mark_mask == rule.mark:
            return rule.fii
    return 0


cdef inline int64_t find_outgoing(const shim6_plane_t *plane, const packet_t *packet) noexcept nogil:
    """The slot of the context that a packet of the host leaves by, or -1; `packet` has an IPv6 header."""
    cdef uint32_t fii = wanted_fork(plane, packet)
    cdef int64_t slot = -1
    if fii != 0:
        slot = find_ulids(plane, packet.data + SOURCE, packet.data + DESTINATION, fii)
    # a fork that cannot send yet has its packets leave by the plain context, as in the kernel's sets
    if slot < 0 or not plane.contexts[slot].rewriting:
        slot = find_ulids(plane, packet.data + SOURCE, packet.data + DESTINATION, 0)
    return slot


# Activity.

cdef inline void note_news(shim6_plane_t *plane, uint32_t slot, uint8_t news) noexcept nogil:
    if plane.contexts[slot].news == 0:
        plane.active[plane.active_count] = slot
        plane.active_count += 1
    plane.contexts[slot].news |= news


cdef void shim6_note_sent(shim6_plane_t *plane, uint32_t slot, uint32_t size, int64_t now_ns) noexcept nogil:
    cdef shim6_context_t *context = &plane.contexts[slot]
    note_news(plane, slot, NEWS_SENT)
    context.sent_ns = now_ns
    context.packets_sent += 1
    context.bytes_sent += size


cdef void shim6_note_received(shim6_plane_t *plane, uint32_t slot, uint32_t size,
                              int64_t now_ns) noexcept nogil:
    cdef shim6_context_t *context = &plane.contexts[slot]
    note_news(plane, slot, NEWS_RECEIVED)
    context.received_ns = now_ns
    context.packets_received += 1
    context.bytes_received += size


cdef shim6_talk_t *find_talk(shim6_plane_t *plane, const flow_key_t *key) noexcept nogil:
    """The conversation of this key, a new one at its first packet; NULL when there are too many."""
    cdef uint64_t *index = table_find(&plane.by_talk, key)
    cdef shim6_talk_t *talk
    if index != NULL:
        return &plane.talks[index[0]]
    if (plane.talk_count >= plane.talk_limit
            or table_insert(&plane.by_talk, key, plane.talk_count) < 0):
        plane.counters[COUNTER_SHIM6_LIMIT_TALK] += 1
        return NULL
    talk = &plane.talks[plane.talk_count]
    plane.talk_count += 1
    memset(talk, 0, sizeof(shim6_talk_t))
    memcpy(talk.local, key.local, 16)
    memcpy(talk.peer, key.remote, 16)
    talk.port_local = key.local_port
    talk.port_peer = key.remote_port
    talk.protocol = key.version
    return talk


cdef inline int has_ports(uint8_t protocol) noexcept nogil:
    return protocol == TCP_PROTOCOL or protocol == UDP or protocol == SCTP or protocol == UDP_LITE


cdef void note_talk(shim6_plane_t *plane, const uint8_t *data, uint32_t total, const chain_t *place,
                    int sent) noexcept nogil:
    cdef flow_key_t key
    cdef shim6_talk_t *talk
    if plane.talk_limit == 0:
        return
    if sent:
        ulids_key(&key, data + SOURCE, data + DESTINATION)
    else:
        ulids_key(&key, data + DESTINATION, data + SOURCE)
    key.version = place.kind
    if has_ports(place.kind) and total - place.at >= 4:
        key.local_port = load16(data + place.at + (0 if sent else 2))
        key.remote_port = load16(data + place.at + (2 if sent else 0))
    talk = find_talk(plane, &key)
    if talk == NULL:
        return
    if sent:
        talk.packets_sent += 1
        talk.bytes_sent += total
    else:
        talk.packets_received += 1
        talk.bytes_received += total


cdef void shim6_forget_talks(shim6_plane_t *plane) noexcept nogil:
    cdef uint32_t i
    cdef flow_key_t key
    for i in range(plane.talk_count):
        ulids_key(&key, plane.talks[i].local, plane.talks[i].peer)
        key.local_port = plane.talks[i].port_local
        key.remote_port = plane.talks[i].port_peer
        key.version = plane.talks[i].protocol
        table_remove(&plane.by_talk, &key)
    plane.talk_count = 0


# Packets.

cdef inline void settle(shim6_plane_t *plane, packet_t *packet, uint8_t verdict,
                        uint32_t counter) noexcept nogil:
    packet.verdict = verdict
    plane.counters[counter] += 1


cdef inline int64_t open_v6(const uint8_t *data, uint32_t size, chain_t *place) noexcept nogil:
    """The packet's own size, with `place` behind the headers that are for the way; -1: not for us."""
    cdef uint32_t total
    if size < IPV6_SIZE or data[0] >> 4 != 6:
        return -1
    total = IPV6_SIZE + <uint32_t>load16(data + 4)
    if total > size or chain_begin(data, total, place) != CHAIN_OK:
        return -1
    return total


cdef inline int is_discovery(const uint8_t *data, uint32_t total, uint8_t kind, uint32_t at) noexcept nogil:
    """Neighbour and multicast listener discovery: about a link, not between hosts."""
    if kind != NEXT_ICMPV6 or at >= total:
        return 0
    return MLD_FIRST <= data[at] <= DISCOVERY_LAST or data[at] == MLD2_REPORT


cdef inline int is_link_scoped(const uint8_t *address) noexcept nogil:
    """Multicast, link-local, loopback, unspecified: what never has a context."""
    if address[0] == 0xff or (address[0] == 0xfe and address[1] & 0xc0 == 0x80):
        return 1
    return load64(address) == 0 and load64(address + 8) <= 1


cdef int may_ask(allowance_t *allowance, int64_t now_ns) noexcept nogil:
    """Take one of the decisions that strangers can ask for in any one second."""
    if now_ns - allowance.since_ns >= SECOND_NS or now_ns < allowance.since_ns:
        allowance.since_ns = now_ns
        allowance.left = allowance.per_second
    if allowance.left == 0:
        return 0
    allowance.left -= 1
    return 1


cdef void shim6_outgoing(shim6_plane_t *plane, packet_t *packet, int64_t now_ns) noexcept nogil:
    cdef chain_t place
    cdef int64_t slot, total = open_v6(packet.data, packet.size, &place)
    if total < 0:
        # A packet cut short for the queue has its addresses all the same, and must not leave by the ULIDs.
        if packet.flags & PACKET_TRUNCATED and must_rewrite(plane, packet):
            settle(plane, packet, VERDICT_DROP, COUNTER_SHIM6_UNSENDABLE)
        else:
            settle(plane, packet, VERDICT_PASS, COUNTER_SHIM6_FOREIGN)
        return
    if (place.kind == NEXT_SHIM6 or is_link_scoped(packet.data + DESTINATION)
            or is_discovery(packet.data, <uint32_t>total, place.kind, place.at)):
        settle(plane, packet, VERDICT_PASS, COUNTER_SHIM6_EXEMPT)
        return
    slot = find_outgoing(plane, packet)
    if slot < 0:
        note_talk(plane, packet.data, <uint32_t>total, &place, 1)
        settle(plane, packet, VERDICT_PASS, COUNTER_SHIM6_PLAIN)
        return
    shim6_note_sent(plane, <uint32_t>slot, <uint32_t>total, now_ns)
    if not plane.contexts[slot].rewriting:
        settle(plane, packet, VERDICT_PASS, COUNTER_SHIM6_UNTOUCHED_TX)
        return
    if packet.flags & PACKET_GSO:
        packet.verdict = VERDICT_STOP
        plane.stopped = <uint32_t>slot
        return
    insert(plane, packet, &plane.contexts[slot])


cdef int must_rewrite(const shim6_plane_t *plane, const packet_t *packet) noexcept nogil:
    cdef int64_t slot
    if packet.size < IPV6_SIZE or packet.data[0] >> 4 != 6:
        return 0
    slot = find_outgoing(plane, packet)
    return slot >= 0 and plane.contexts[slot].rewriting


cdef void insert(shim6_plane_t *plane, packet_t *packet, const shim6_context_t *context) noexcept nogil:
    """Give the packet header and locators, in front of where it was: only its headers move."""
    cdef int64_t size
    if packet.flags & PACKET_CHECKSUM_NOT_READY:
        # RFC 5533 §11.1: checksums cover the ULIDs; later nobody knows them.
        checksums_fix(packet.data, packet.size)
    size = shim6_insert(packet.data, packet.size, &context.out, packet.data - SHIM6_HEADER_SIZE,
                        packet.size + SHIM6_HEADER_SIZE)
    if size < 0:
        settle(plane, packet, VERDICT_DROP, COUNTER_SHIM6_UNSENDABLE)
        return
    packet.data -= SHIM6_HEADER_SIZE
    packet.size = <uint32_t>size
    settle(plane, packet, VERDICT_REWRITE, COUNTER_SHIM6_PAYLOAD_TX)


cdef void shim6_incoming(shim6_plane_t *plane, packet_t *packet, int64_t now_ns) noexcept nogil:
    cdef chain_t place
    cdef const uint8_t *data = packet.data
    cdef int64_t slot, total = open_v6(data, packet.size, &place)
    cdef int concern
    if total < 0:
        settle(plane, packet, VERDICT_PASS, COUNTER_SHIM6_FOREIGN)
        return
    if place.kind == NEXT_SHIM6:
        shimmed(plane, packet, <uint32_t>total, place.at, now_ns)
        return
    if place.kind == NEXT_FRAGMENT and place.at < total and data[place.at] == NEXT_SHIM6:
        # Made whole it would not come here again, and the kernel would tell the peer that nobody knows the
        # header, which means that Shim6 is not supported (RFC 5533 §7.8).
        settle(plane, packet, VERDICT_DROP, COUNTER_SHIM6_FRAGMENT)
        return
    if (is_link_scoped(data + SOURCE) or is_link_scoped(data + DESTINATION)
            or is_discovery(data, <uint32_t>total, place.kind, place.at)):
        settle(plane, packet, VERDICT_PASS, COUNTER_SHIM6_EXEMPT)
        return
    concern = icmp_concern(plane, data, packet.size) if place.kind == NEXT_ICMPV6 else CONCERN_NONE
    if concern != CONCERN_NONE:
        punt_or(plane, packet, VERDICT_DROP if concern == CONCERN_HEADER else VERDICT_PASS,
                COUNTER_SHIM6_ICMP_RX, now_ns)
        return
    slot = find_ulids(plane, data + DESTINATION, data + SOURCE, 0)
    if slot < 0:
        note_talk(plane, data, <uint32_t>total, &place, 0)
        settle(plane, packet, VERDICT_PASS, COUNTER_SHIM6_PLAIN)
        return
    # RFC 5533 §12.1: the packet is as its transport sent it, and shows that the context is alive.
    shim6_note_received(plane, <uint32_t>slot, <uint32_t>total, now_ns)
    settle(plane, packet, VERDICT_PASS, COUNTER_SHIM6_UNTOUCHED_RX)


cdef void punt_or(shim6_plane_t *plane, packet_t *packet, uint8_t verdict, uint32_t counter,
                  int64_t now_ns) noexcept nogil:
    """Ask, or give this verdict when strangers have asked too much."""
    if may_ask(&plane.punts, now_ns):
        settle(plane, packet, VERDICT_PUNT, counter)
    else:
        settle(plane, packet, verdict, COUNTER_SHIM6_LIMIT_PUNT)


cdef int icmp_concern(const shim6_plane_t *plane, const uint8_t *data, uint32_t size) noexcept nogil:
    """Tell whether this is an error about a packet with a Shim6 header, or between ULIDs of a context."""
    cdef icmp_t error
    cdef chain_t place
    cdef const uint8_t *quote
    if icmp_parse(data, size, &error) != ICMP_OK:
        return CONCERN_NONE
    quote = data + error.quote_at
    if (chain_begin(quote, error.quote_end - error.quote_at, &place) == CHAIN_OK
            and place.kind == NEXT_SHIM6):
        return CONCERN_HEADER
    return CONCERN_ULIDS if find_ulids(plane, quote + SOURCE, quote + DESTINATION, 0) >= 0 else CONCERN_NONE


cdef void shimmed(shim6_plane_t *plane, packet_t *packet, uint32_t total, uint32_t at,
                  int64_t now_ns) noexcept nogil:
    """A packet with a Shim6 header: RFC 5533 §12.2 for payload, §12.3 for control messages."""
    cdef const uint8_t *data = packet.data
    cdef int64_t slot
    if total - at < SHIM6_HEADER_SIZE:
        settle(plane, packet, VERDICT_DROP, COUNTER_SHIM6_PAYLOAD_MALFORMED)
        return
    if not data[at + 2] & PAYLOAD_BIT:
        # Only the peer of a context knows its tag; what anybody can make up must not keep the core busy.
        if is_known_tag(plane, data + at, total - at) or may_ask(&plane.messages, now_ns):
            settle(plane, packet, VERDICT_PUNT, COUNTER_SHIM6_CONTROL_RX)
        else:
            settle(plane, packet, VERDICT_DROP, COUNTER_SHIM6_LIMIT_PUNT)
        return
    if data[at + 1] != 0:
        settle(plane, packet, VERDICT_DROP, COUNTER_SHIM6_PAYLOAD_MALFORMED)
        return
    if is_link_scoped(data + SOURCE) or is_link_scoped(data + DESTINATION):
        settle(plane, packet, VERDICT_DROP, COUNTER_SHIM6_PAYLOAD_ADDRESS)
        return
    slot = shim6_find_tag(plane, load64(data + at) & TAG_MASK)
    if slot < 0 or not expected(plane, &plane.contexts[slot], data):
        punt_or(plane, packet, VERDICT_DROP, COUNTER_SHIM6_PAYLOAD_PUNTED, now_ns)
        return
    if plane.contexts[slot].watched and is_shown(plane, &plane.contexts[slot], now_ns):
        settle(plane, packet, VERDICT_PUNT, COUNTER_SHIM6_PAYLOAD_PUNTED)
        return
    if not shim6_payload_sane(data, total, at):
        settle(plane, packet, VERDICT_DROP, COUNTER_SHIM6_PAYLOAD_INSANE)
        return
    remove(plane, packet, <uint32_t>slot, now_ns)


cdef inline int is_known_tag(const shim6_plane_t *plane, const uint8_t *header,
                             uint32_t size) noexcept nogil:
    """Tell whether a control message carries the tag of a context: RFC 5533 §5.3, types from 64 on."""
    if size < TAG_END or header[TYPE] < UPDATE_REQUEST or header[TYPE] > PROBE:
        return 0
    return shim6_find_tag(plane, load64(header + TAG_END - 8) & TAG_MASK) >= 0


cdef inline int is_shown(shim6_plane_t *plane, shim6_context_t *context, int64_t now_ns) noexcept nogil:
    """Tell whether the control core sees this packet of an exchange, to repeat I2 or I2bis (RFC 5533 §12.2).

    That needs a few a second. The others are processed all the same, and must not wait for Python.
    """
    if context.asked_ns != 0 and now_ns - context.asked_ns < SHOWN_EVERY_NS:
        return 0
    if not may_ask(&plane.repeats, now_ns):
        return 0
    context.asked_ns = now_ns
    return 1


cdef inline int expected(const shim6_plane_t *plane, const shim6_context_t *context,
                         const uint8_t *data) noexcept nogil:
    """Tell whether the packet came on a pair that the context is known to use."""
    cdef uint32_t i
    if plane.any_locator:
        return 1
    for i in range(context.pair_count):
        if memcmp(data + SOURCE, &context.pairs[i], sizeof(locator_pair_t)) == 0:
            return 1
    return 0


cdef int shim6_payload_sane(const uint8_t *data, uint32_t total, uint32_t at) noexcept nogil:
    """What belongs in front of the header, or has no business on this side of a router, is refused.

    RFC 5533 §4.6: hop-by-hop options and routing headers stand in front. One header within another would
    leave the inner one to a kernel that does not know it.
    """
    cdef chain_t place
    place.named_at = at
    place.at = at + SHIM6_HEADER_SIZE
    place.kind = data[at]
    if place.kind == NEXT_HOP_BY_HOP or place.kind == NEXT_ROUTING:
        return 0
    if chain_walk(data, total, &place) != CHAIN_OK or place.kind == NEXT_SHIM6:
        return 0
    if place.kind == NEXT_FRAGMENT:
        if total - place.at < 8:
            return 0
        return data[place.at] not in (NEXT_SHIM6, NEXT_HOP_BY_HOP, NEXT_ROUTING)
    return not is_discovery(data, total, place.kind, place.at)


cdef void remove(shim6_plane_t *plane, packet_t *packet, uint32_t slot, int64_t now_ns) noexcept nogil:
    cdef int64_t size = shim6_remove(packet.data, packet.size, &plane.contexts[slot].back,
                                     packet.data + SHIM6_HEADER_SIZE, packet.size - SHIM6_HEADER_SIZE)
    if size < 0:
        settle(plane, packet, VERDICT_DROP, COUNTER_SHIM6_PAYLOAD_MALFORMED)
        return
    packet.data += SHIM6_HEADER_SIZE
    packet.size = <uint32_t>size
    shim6_note_received(plane, slot, <uint32_t>size, now_ns)
    settle(plane, packet, VERDICT_REWRITE, COUNTER_SHIM6_PAYLOAD_RX)

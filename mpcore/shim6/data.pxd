"""The data plane of Shim6: contexts as packets see them, and what becomes of packets (RFC 5533 §11, §12).

Packets of a context leave with its current locators and the peer's tag, and come back to their ULIDs by this
host's tag. What needs a decision is VERDICT_PUNT: control messages, payload with an unknown tag or unexpected
locators, ICMPv6 errors.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from mpcore.shim6.sizes cimport sizes_t
from mpcore.store.counters cimport COUNTER_COUNT
from mpcore.store.packet cimport packet_t
from mpcore.store.table cimport flow_table_t
from mpcore.wire.rewrite cimport shim6_flow_t


cdef enum:
    PAIRS_MAX = 8              # pairs that a context takes packets on without asking
    FORK_RULES_MAX = 8
    DSCP_ANY = 255

    # shim6_context_t.news
    NEWS_SENT = 1
    NEWS_RECEIVED = 2


cdef struct locator_pair_t:
    uint8_t src[16]            # as in a packet from the network
    uint8_t dst[16]


cdef struct shim6_context_t:
    uint64_t number            # the control core's
    uint64_t tag_local
    uint32_t fii               # Forked Instance Identifier, 0 of the plain context
    shim6_flow_t out           # tag and locators towards the peer
    shim6_flow_t back          # ULIDs of packets from the peer
    locator_pair_t pairs[PAIRS_MAX]    # a ring; the first is the reverse of `out`, and stays
    uint32_t pair_count
    uint32_t pair_next
    uint8_t used               # the slot has a context
    uint8_t rewriting          # packets leave with the header: locators are not the ULIDs
    uint8_t watched            # an exchange is under way: the control core sees packets with a header
    uint8_t news               # since the last look; with a bit set, the slot is in plane.active
    int64_t sent_ns            # with and without header; 0: never
    int64_t received_ns
    int64_t asked_ns           # when the control core last saw a packet because of `watched`; 0: never
    uint64_t packets_sent
    uint64_t packets_received
    uint64_t bytes_sent        # whole packets as the transport has them
    uint64_t bytes_received


cdef struct shim6_talk_t:      # packets of one conversation without context, since the last look
    uint8_t local[16]
    uint8_t peer[16]
    uint16_t port_local        # 0 where the protocol has none, or behind extension headers
    uint16_t port_peer
    uint8_t protocol
    uint32_t packets_sent
    uint32_t packets_received
    uint64_t bytes_sent
    uint64_t bytes_received


cdef struct fork_rule_t:       # packets of the host that leave by a fork
    uint32_t fii
    uint32_t mark
    uint32_t mark_mask         # 0: any mark
    uint8_t dscp               # DSCP_ANY: any


cdef struct allowance_t:       # decisions that strangers can ask for
    uint32_t per_second
    uint32_t left
    int64_t since_ns


cdef struct shim6_plane_t:     # owner: Shim6Engine
    flow_table_t by_ulids      # the key's ports are the two halves of the FII, its version is 0
    flow_table_t by_tag        # the key is the tag alone
    flow_table_t by_talk       # the key's version is the protocol
    shim6_context_t *contexts  # slots
    uint32_t *free_slots       # stack
    uint32_t *active           # slots with news
    shim6_talk_t *talks        # talk_count of them
    uint32_t limit             # of contexts
    uint32_t talk_limit
    uint32_t free_count
    uint32_t active_count
    uint32_t talk_count
    allowance_t punts          # about payload and ICMPv6 errors that anybody may have sent
    allowance_t repeats        # payload shown to the control core because its context is watched
    allowance_t messages       # control messages with no tag of a context here
    uint8_t any_locator        # payload is taken on any pair, by its tag alone
    fork_rule_t forks[FORK_RULES_MAX]    # the first that fits is a packet's
    uint32_t fork_count
    uint32_t stopped           # slot whose super-packet is VERDICT_STOP
    sizes_t sizes              # of the segments of super-packets
    uint64_t counters[COUNTER_COUNT]


# 0, or -1 when memory is short, with the plane to be cleared. All memory is taken here.
cdef int shim6_plane_init(shim6_plane_t *plane, uint32_t contexts, uint32_t talks, uint64_t seed0,
                          uint64_t seed1) noexcept nogil
cdef void shim6_plane_clear(shim6_plane_t *plane) noexcept nogil
# The slot of a new context like `wanted`, or -1: as many as allowed, or its tag or ULIDs are taken.
cdef int64_t shim6_install(shim6_plane_t *plane, const shim6_context_t *wanted) noexcept nogil
# Changes tag, locators and state; counts stay. 0, or -1 when the new tag is taken.
cdef int shim6_update(shim6_plane_t *plane, uint32_t slot, const shim6_context_t *wanted) noexcept nogil
cdef void shim6_uninstall(shim6_plane_t *plane, uint32_t slot) noexcept nogil
# Lets a context take packets from this pair of locators; of many, the oldest is forgotten.
cdef void shim6_accept_pair(shim6_context_t *context, const uint8_t *src, const uint8_t *dst) noexcept nogil
cdef void shim6_note_sent(shim6_plane_t *plane, uint32_t slot, uint32_t size, int64_t now_ns) noexcept nogil
cdef void shim6_note_received(shim6_plane_t *plane, uint32_t slot, uint32_t size,
                              int64_t now_ns) noexcept nogil
cdef void shim6_forget_talks(shim6_plane_t *plane) noexcept nogil
# The slot of the context with this tag of this host, or -1.
cdef int64_t shim6_find_tag(const shim6_plane_t *plane, uint64_t tag) noexcept nogil
# Whether a host may be given what a payload header carries: `data` begins with a whole IPv6 packet that has
# one, of which `at` bytes are in front of the header.
cdef int shim6_payload_sane(const uint8_t *data, uint32_t total, uint32_t at) noexcept nogil

# A packet from a local socket, and one from the network: sets packet.verdict, and with VERDICT_REWRITE data
# and size. Headroom is used. Each packet moves one counter; a super-packet that has to be cut is VERDICT_STOP
# and moves none, and its context's slot is plane.stopped.
cdef void shim6_outgoing(shim6_plane_t *plane, packet_t *packet, int64_t now_ns) noexcept nogil
cdef void shim6_incoming(shim6_plane_t *plane, packet_t *packet, int64_t now_ns) noexcept nogil

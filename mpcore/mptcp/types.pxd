"""State that the data plane touches: connections, subflows, segments, and what they share (header only).

Offsets: a *data offset* counts stream bytes from 0 (DSN = IDSN + 1 + offset); a *subflow offset* is the
relative subflow sequence number of RFC 8684 §3.3.1 (SYN = 0, first byte = 1). Both are 64 bits wide and never
wrap; the wire's 32-bit numbers are unwrapped next to the last known value. Times are nanoseconds of the
caller's clock; NEVER is a timer that is off.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from mpcore.store.counters cimport COUNTER_COUNT
from mpcore.store.packet cimport PORT_MAX, transmit_queue_t
from mpcore.store.reorder cimport reorder_t, span_t
from mpcore.store.ring cimport chunk_pool_t, ring_t


cdef enum:
    SUBFLOW_MAX = 16           # subflow slots of a connection, dead ones not yet reused included
    OOO_MAX = 1024             # out-of-order ranges of a subflow; what needs one more is not acknowledged
    MAP_MAX = 16               # mappings a subflow remembers for segments that do not carry theirs
    SACK_CACHE = 4
    CARRIER_MAX = 64           # super-packets of one socket on hold; its TCP stops after a few by itself
    INJECT_MAX = 64000         # payload of one packet to the host: it then fits 64 KiB of kernel memory
    OPTION_BYTES = 40          # options in a data segment: timestamps and the longest DSS
    OPTION_ROOM = 28           # what DSS needs beyond the host's own options; taken off the MSS it is told

    ROLE_CLIENT = 0
    ROLE_SERVER = 1

    # subflow_t.state
    SF_FREE = 0
    SF_PRE_ESTABLISHED = 1     # third ACK with MP_JOIN sent, fourth awaited (RFC 8684 §3.2)
    SF_ESTABLISHED = 2
    SF_FIN_WAIT_1 = 3
    SF_FIN_WAIT_2 = 4
    SF_CLOSING = 5
    SF_CLOSE_WAIT = 6
    SF_LAST_ACK = 7
    SF_TIME_WAIT = 8
    SF_CLOSED = 9

    # segment_t.flags
    SEG_SACKED = 0x01
    SEG_LOST = 0x02            # presumed lost and not resent since
    SEG_RESENT = 0x04          # sent more than once: no RTT sample (Karn)
    SEG_FIN = 0x08             # the subflow's FIN
    SEG_REINJECTED = 0x10      # its data was handed to other subflows
    SEG_OWN = 0x40             # its bytes are in the subflow's own ring, at its subflow offset
    SEG_FOREIGN = 0x20         # carries data that another subflow carried before

    # conn_t.host_ack_now
    HOST_ACK_IF_OPENED = 1     # only the peer's window moved: not worth a duplicate ACK with the same field
    HOST_ACK_DUE = 2

    # event_t.kind
    EVENT_OPTION = 1           # bytes of one control option that arrived
    EVENT_ESTABLISHED = 2      # first DSS seen: joins may start (RFC 8684 §3.2)
    EVENT_FELL_BACK = 3        # value: FALLBACK_… reason
    EVENT_SUBFLOW_ESTABLISHED = 4
    EVENT_SUBFLOW_CLOSED = 5   # value: CLOSE_… reason
    EVENT_CLOSED = 6           # the connection is gone; its handle is free

    FALLBACK_NO_DSS = 1        # first packet after the handshake without MPTCP option (RFC 8684 §3.7)
    FALLBACK_INFINITE = 2      # the peer's infinite mapping
    FALLBACK_CHECKSUM = 3      # checksum failure on the only subflow

    CLOSE_FIN = 0
    CLOSE_RESET = 1            # RST received, without a word on its cause
    CLOSE_TIMEOUT = 2          # too many retransmissions
    CLOSE_REMOVED = 3          # address or policy
    CLOSE_MIDDLEBOX = 4        # options stripped, mapping or checksum wrong
    CLOSE_FASTCLOSE = 5
    CLOSE_REFUSED = 6          # RST with MP_TCPRST: for good (RFC 8684 §3.6)
    CLOSE_REFUSED_NOW = 7      # the same with flag T: for a while

    # MP_TCPRST reasons (RFC 8684 §3.6)
    RST_UNSPECIFIED = 0
    RST_MPTCP = 1
    RST_RESOURCES = 2
    RST_PROHIBITED = 3
    RST_OUTSTANDING = 4
    RST_PERFORMANCE = 5
    RST_MIDDLEBOX = 6


cdef extern from *:
    """
    #define MPCORE_NEVER INT64_MAX
    """
    const int64_t NEVER "MPCORE_NEVER"


cdef struct segment_t:         # one segment sent on a subflow and not yet cumulatively acknowledged
    uint64_t seq               # subflow offset of its first byte
    uint64_t data              # data offset of its first byte
    int64_t sent_ns            # last transmission
    uint32_t size              # payload bytes; a FIN has 0 and takes one subflow number
    uint16_t map_offset        # where its first byte lies in the mapping that it was sent with
    uint16_t map_size          # bytes of that mapping
    uint16_t checksum          # of that mapping, with DSS checksums in use
    uint8_t flags              # SEG_…


cdef struct mapping_t:         # a DSS mapping remembered beyond the segment that carried it
    uint64_t seq               # subflow offset
    uint64_t data              # data offset
    uint32_t size              # payload bytes; 0: slot free
    uint32_t got               # bytes of it collected (checksum in use)
    uint16_t data_len          # as on the wire, DATA_FIN included
    uint16_t checksum
    uint8_t *buffer            # chunk that collects the bytes until the checksum can be verified, or NULL


cdef struct cubic_t:           # CUBIC (RFC 9438 §4.1); windows in segments
    double maximum             # W_max: the window before the last reduction
    double prior               # cwnd_prior: the same, whatever fast convergence made of it
    double k                   # seconds until the maximum is reached again
    double estimate            # W_est: the window that Reno would have
    double credit              # bytes of growth not yet taken
    int64_t epoch_ns           # start of this stage, -1 before it; later by what was not used of it
    int64_t unused_ns          # since when the window has not been in use, -1: it is


cdef struct subflow_t:         # owner: conn_t
    # identity
    uint8_t state
    uint8_t version            # 4 or 6
    uint8_t index
    uint8_t port               # transmit queue
    uint8_t local_id
    uint8_t remote_id
    uint8_t congestion         # CONGESTION_…
    uint8_t backup             # set by either side (RFC 8684 §3.3.8)
    uint8_t backup_local
    uint8_t backup_remote
    uint8_t local[16]
    uint8_t remote[16]
    uint16_t local_port
    uint16_t remote_port
    uint32_t isn_local
    uint32_t isn_remote
    uint8_t wscale_local       # shift of the windows we send
    uint8_t wscale_remote      # shift of the windows we receive
    uint8_t sack               # SACK permitted
    uint8_t timestamps
    uint32_t ts_local          # our TSval at ts_zero_ns
    uint32_t ts_recent         # TSval to echo (RFC 7323 §4.3)
    int64_t ts_zero_ns
    uint32_t mss               # payload bytes of a full segment, all options allowed for
    uint32_t mss_full          # the same before a path was found to take less
    int64_t mtu_ns             # when a larger size may be tried again (RFC 1191 §6.3)
    uint64_t mtu_probe         # offset of the segment that tries it, 0 none
    uint8_t hole               # where large segments may be lost in silence, what is known of that
    uint8_t join_hmac[20]      # third ACK of a join that we started
    int64_t join_ns            # its retransmission
    uint8_t join_tries
    uint8_t close_reason
    uint8_t leaving            # to be ended by a FIN: nothing new is sent on it
    uint8_t ecn                # ECN was agreed on (RFC 3168 §6.1.1)
    uint8_t ecn_echo           # a mark came, and no CWR since: ACKs carry ECE
    uint8_t ecn_cwr            # the window was reduced: the next new data carries CWR
    uint64_t ecn_point         # the window was reduced for what was sent up to here
    # sender (RFC 9293 §3.8, 6675, 8985, 6298)
    uint64_t snd_una
    uint64_t snd_nxt
    uint64_t snd_edge          # right edge of the window that the peer offers here (RFC 8684 §3.3.5)
    uint64_t snd_window        # the window seen last
    uint64_t snd_window_max    # the largest one (RFC 5961 §5.2)
    segment_t *segments        # ring of snd_una … snd_nxt
    uint32_t seg_first
    uint32_t seg_count
    uint32_t seg_mask          # capacity - 1
    uint32_t lost_count        # segments with SEG_LOST
    uint32_t sacked_count
    uint32_t foreign_count     # segments whose data is not in order here (reinjections)
    ring_t own                 # bytes of a suspect path, so that the stream's ring need not keep them
    uint32_t own_count         # segments with SEG_OWN
    uint64_t inflight          # bytes sent, neither acknowledged, sacked nor presumed lost
    uint64_t cwnd              # bytes
    uint64_t ssthresh
    uint64_t cwnd_acked        # of the next octet of increase, a numerator: see grow in congestion.pyx
    uint8_t cwnd_full          # the window alone stopped the sender since use_end was set
    uint64_t use_max           # most bytes in flight meanwhile
    uint64_t use_end           # both are judged anew when this is acknowledged
    cubic_t cubic
    uint64_t round_end         # HyStart++: the round ends when this is acknowledged
    int64_t round_ns           # its least round trip so far, 0 without a sample
    int64_t last_round_ns      # the round's before
    uint32_t round_samples
    uint64_t recovery_point    # loss recovery lasts until this is acknowledged
    uint8_t recovering         # 1 fast recovery, 2 after a timeout
    uint64_t prr_delivered     # RFC 6937
    uint64_t prr_out
    uint64_t prr_flight
    uint64_t sack_cache[8]     # start, end of the blocks seen last: only what is new is walked
    int64_t srtt_ns            # 0: no sample yet
    int64_t rttvar_ns
    int64_t min_rtt_ns         # the least of the last minutes (RFC 8985 §6.2)
    int64_t min_half_ns        # the least since min_since_ns
    int64_t min_since_ns
    int64_t rto_ns
    uint8_t backoff            # timeouts in a row
    uint8_t rto_shift          # doublings of the timer until a round trip is measured (Karn, RFC 6298 §5)
    uint8_t probed             # a tail loss probe is out
    uint8_t suspect            # no answer since a timeout: last choice for new data
    int64_t rack_ns            # send time of the latest sent segment known delivered (RFC 8985 §6.2)
    int64_t rack_rtt_ns
    int64_t question_ns        # when a silent peer was asked without data, and has not answered, 0 none
    uint64_t rack_end
    uint64_t delivered_max     # highest offset delivered
    uint8_t reordered          # reordering was seen on this path
    uint8_t reo_mult           # quarters of the least round trip that RACK waits (RFC 8985 §6.2)
    uint8_t reo_persist        # recoveries for which it stays grown
    uint64_t dsack_round       # D-SACKs count once until this is acknowledged
    uint64_t probe_end         # resent tail: lost when more than this is acknowledged, 0 none (RFC 8985 §7.4)
    uint8_t frto               # what a timeout without time stamps is found to be, FRTO_…
    uint8_t frto_saw           # what arrived since the last ACK was judged
    uint8_t undo               # what follows is valid: the last reduction can be taken back
    uint8_t undo_stamped       # 1: undo_ts is valid; 2: it was judged and no longer counts
    uint32_t undo_ts           # TSval of the first segment resent for it (RFC 3522)
    uint32_t undo_resent       # segments resent for it that no D-SACK has shown to be superfluous (RFC 3708)
    uint64_t undo_una
    uint64_t undo_cwnd
    uint64_t undo_ssthresh
    cubic_t undo_cubic         # RFC 9438 §4.9
    int64_t sent_ns            # last transmission of data
    int64_t pace_ns            # the next segment may leave from then on
    int64_t pace_at_ns         # the same, where somebody waits for it
    uint8_t dup_acks           # without SACK only
    int64_t reorder_ns         # deadline at which RACK looks again
    int64_t rto_at_ns
    int64_t probe_at_ns        # tail loss probe
    int64_t answered_ns        # something sent was acknowledged then, or the first of what is out was sent
    int64_t suspect_at_ns      # look then whether it is silent: its data goes elsewhere
    int64_t ask_at_ns          # it is suspect, and asked for an answer then
    int64_t asked_ns           # when it was asked last
    int64_t wait_ns            # end of TIME_WAIT
    # receiver
    uint64_t rcv_nxt
    uint64_t rcv_max           # right edge ever offered, as subflow offset
    span_t *ooo                # sorted, disjoint; NULL while all is in order
    uint32_t ooo_capacity
    uint32_t ooo_count
    uint32_t ooo_last          # index of the range that grew last: first SACK block (RFC 2018 §4)
    uint32_t ooo_fresh         # how many ranges grew, one after the other, since the last ACK
    mapping_t maps[16]
    uint32_t map_next
    uint64_t fin_seq           # subflow offset of the peer's FIN, valid with fin_seen
    uint8_t fin_seen
    uint8_t fin_sent
    uint8_t dss_seen           # an MPTCP option arrived after the handshake
    uint8_t ack_now            # owes the peer an ACK
    uint8_t answers            # data that came was answered by data before its ACK was due
    int64_t ack_at_ns          # an ACK is owed by then, unless something carries it before; NEVER: none waits
    int64_t data_rx_ns         # when data came last that no data has answered since; NEVER: none
    uint8_t duplicates         # of it, so that a peer without SACK can count them
    span_t dup                 # arrived twice, for the next ACK's D-SACK (RFC 2883); empty: none
    uint8_t unmapped           # segments refused for want of a mapping
    uint32_t challenge_count   # RFC 5961 §7 budget used in this second
    int64_t challenge_ns
    int64_t last_rx_ns
    uint64_t bytes_sent
    uint64_t bytes_received


cdef struct conn_t:            # owner: Engine
    uint32_t id
    uint8_t role
    uint8_t version            # of the first subflow, and of what the host sees
    uint8_t checksum           # DSS checksums in use
    uint8_t dirty              # listed in plane_t.dirty
    uint8_t pending            # listed in plane_t.pending
    uint8_t established        # fully, in the sense of RFC 8684 §3.1
    uint8_t capable_sent       # our third ACK of the handshake went out
    uint8_t joined             # a second subflow was ever established: no fall back
    uint8_t reinjected         # data was ever sent twice: no fall back
    uint8_t aborted            # the peer ended it by MP_FASTCLOSE: the host and the other subflows get a RST
    uint8_t port               # transmit queue of the socket's own address
    uint8_t fell_back          # plain TCP from now on; gone once the host was given what waits for it
    uint8_t gone               # to be freed when its packet is done
    uint8_t scheduler
    uint8_t congestion         # of new subflows
    uint8_t capable_flags
    uint64_t key_local
    uint64_t key_remote
    uint64_t idsn_local
    uint64_t idsn_remote
    # the host's socket: packets towards it look as if the peer had sent them
    uint8_t host_local[16]     # the socket's own address
    uint8_t host_remote[16]
    uint16_t host_local_port
    uint16_t host_remote_port
    uint32_t host_isn          # the socket's ISN
    uint32_t peer_isn          # the ISN that the socket knows the peer by
    uint8_t host_wscale        # shift of windows in the socket's packets
    uint8_t peer_wscale        # shift of windows in packets to the socket
    uint8_t host_timestamps
    uint8_t host_ack_now       # owes the socket an ACK: HOST_ACK_…
    uint16_t host_window_field  # as last sent to it
    uint8_t host_fin           # the socket closed: DATA_FIN at tx_fin
    uint8_t host_fin_acked     # … and was told that the peer has it
    uint8_t host_dup_acks
    int64_t asked_ns           # the socket's last probe, 0 none
    int64_t host_probe_ns      # when to see whether a socket that has closed is still there
    uint32_t host_ts_recent    # the socket's TSval to echo: of what its ACK covers (RFC 7323 §4.3)
    uint32_t host_mark_ts      # … once host_mark_end is acknowledged
    uint64_t host_mark_end     # above tx_una: data whose stamp is remembered
    uint32_t peer_ts_zero      # TSval towards the socket at ts_zero_ns
    uint32_t host_stamp        # TSval sent to the socket last
    int64_t ts_zero_ns
    uint32_t host_mss
    uint32_t carrier_segment   # payload of the segments that the kernel cuts the host's super-packets to
    uint32_t carriers[64]      # ids of super-packets on hold, oldest first from carrier_first
    uint8_t carrier_first
    uint8_t carrier_count
    # send direction: host -> network
    ring_t tx_ring
    uint64_t tx_una            # DATA_ACKed
    uint64_t tx_nxt            # first data offset never mapped
    uint64_t tx_end            # end of what the host has given
    uint64_t tx_fin            # data offset of DATA_FIN, valid with host_fin
    uint64_t tx_window         # right edge that the peer allows
    uint64_t host_window       # right edge told to the host
    uint8_t fin_sent           # DATA_FIN sent
    uint8_t fin_acked
    uint8_t fin_tries
    int64_t fin_ns             # its retransmission
    int64_t data_rto_ns        # data-level retransmission (RFC 8684 §3.3.6)
    uint8_t data_backoff
    uint8_t data_tries         # of these in a row without a DATA_ACK, and without a reason to wait
    uint8_t data_asked         # the peer was asked for its DATA_ACK, and none has come since
    uint64_t data_recover      # what was sent when that timer fired: up to here each hole is filled at once
    int64_t persist_ns         # window probe
    uint8_t persist_tries
    uint8_t persist_silent     # probes in a row that nothing answered
    int64_t persist_sent_ns
    span_t *reinject           # ranges for other subflows, oldest first; start == end: empty
    uint8_t *reinject_from     # subflow that sent the range before
    uint32_t reinject_count
    uint32_t reinject_capacity
    # receive direction: network -> host
    ring_t rx_ring
    reorder_t *reorder
    uint64_t rx_nxt            # contiguous data
    uint64_t rx_top            # end of the furthest data that came out of order
    uint64_t rx_injected       # given to the host
    uint64_t rx_acked          # acknowledged by the host: DATA_ACK
    uint64_t rx_edge           # right edge the host allows
    uint64_t rx_advertised     # right edge told to the peer
    uint64_t rx_fin            # data offset of the peer's DATA_FIN, valid with rx_fin_seen
    uint8_t rx_fin_seen
    uint8_t rx_fin_injected
    uint8_t rx_fin_acked       # by the host
    uint8_t data_ack_now       # DATA_ACK or window moved since last sent
    uint8_t last_rx            # subflow that brought data last
    int64_t host_rto_ns        # re-injection towards the host
    uint8_t host_backoff
    uint8_t host_silent        # of these that the socket did not answer
    int64_t close_ns           # end of a connection without subflow
    # subflows
    subflow_t *subflows[16]
    uint8_t rr_next            # round robin position
    uint64_t bytes_sent
    uint64_t bytes_received


cdef struct event_t:
    uint8_t kind
    uint8_t subflow
    uint8_t size               # of data
    uint8_t pad
    uint32_t conn
    uint32_t value
    uint8_t data[40]


cdef struct plane_t:           # what all connections of an engine share; owner: Engine
    chunk_pool_t pool
    transmit_queue_t queues[64]
    uint64_t counters[COUNTER_COUNT]
    event_t *events            # ring
    uint32_t event_head
    uint32_t event_tail
    uint32_t event_mask
    uint32_t *dirty            # connections with something to send
    uint32_t dirty_count
    uint32_t *pending          # connections that may owe ACKs
    uint32_t pending_count
    int64_t now_ns             # of the batch or timer being processed
    uint32_t segment_limit     # most segments in flight on a subflow
    uint64_t send_span         # bytes a send ring covers
    uint64_t receive_span
    uint32_t reorder_nodes
    int reorder_algorithm
    int64_t close_timeout_ns
    int64_t time_wait_ns
    uint32_t carrier_limit     # super-packets of the host on hold in all at most; 0: the driver holds none
    uint32_t carriers_held
    int pacing                 # windows are spread over the round trip
    void *chooser              # the scheduler in Python, borrowed from the Engine; NULL: none


cdef inline uint64_t unwrap(uint32_t wire, uint32_t base, uint64_t near) noexcept nogil:
    """Return the 64-bit offset from `base` whose low bits are `wire`, the one next to `near`."""
    cdef uint32_t low = wire - base
    return near + <uint64_t><int64_t><int32_t>(low - <uint32_t>near)


cdef inline void count(plane_t *plane, int counter) noexcept nogil:
    plane.counters[counter] += 1


cdef inline void mark_dirty(plane_t *plane, conn_t *conn) noexcept nogil:
    """List the connection for the pump; `dirty` has room for every connection."""
    if not conn.dirty:
        conn.dirty = 1
        plane.dirty[plane.dirty_count] = conn.id
        plane.dirty_count += 1


cdef inline void unlist(uint32_t *ids, uint32_t *listed, uint32_t id) noexcept nogil:
    """Take an id out of a list that holds it at most once."""
    cdef uint32_t i
    for i in range(listed[0]):
        if ids[i] == id:
            listed[0] -= 1
            ids[i] = ids[listed[0]]
            return


cdef inline int grow_events(plane_t *plane) noexcept nogil:
    """Double the ring of events; 0, or -1 when memory is short."""
    cdef uint32_t slots = plane.event_mask + 1
    cdef uint32_t first = plane.event_head & plane.event_mask
    cdef event_t *bigger = <event_t *>malloc(2 * <size_t>slots * sizeof(event_t))
    if bigger == NULL:
        return -1
    memcpy(bigger, &plane.events[first], (slots - first) * sizeof(event_t))
    memcpy(&bigger[slots - first], plane.events, first * sizeof(event_t))
    free(plane.events)
    plane.events = bigger
    plane.event_head = 0
    plane.event_tail = slots
    plane.event_mask = 2 * slots - 1
    return 0


cdef inline event_t *new_event(plane_t *plane, conn_t *conn, int kind, int subflow,
                               uint32_t value) noexcept nogil:
    """Append an event.

    The engine stops taking packets before the ring is full; what Python asks of many connections at once may
    still fill it, so it grows. Without memory the newest event gives way.
    """
    cdef event_t *event
    if plane.event_tail - plane.event_head > plane.event_mask and grow_events(plane) < 0:
        plane.event_tail -= 1
    event = &plane.events[plane.event_tail & plane.event_mask]
    plane.event_tail += 1
    event.kind = <uint8_t>kind
    event.subflow = <uint8_t>subflow
    event.size = 0
    event.conn = conn.id
    event.value = value
    return event


cdef inline subflow_t *first_subflow(conn_t *conn) noexcept nogil:
    return conn.subflows[0]


cdef inline int can_carry(const subflow_t *subflow) noexcept nogil:
    """True when new data may be sent on the subflow."""
    return subflow != NULL and not subflow.leaving and (
        subflow.state == SF_ESTABLISHED or subflow.state == SF_CLOSE_WAIT)


cdef inline int is_live(const subflow_t *subflow) noexcept nogil:
    """True from the third ACK to the end of the closing handshake."""
    return subflow != NULL and SF_PRE_ESTABLISHED <= subflow.state <= SF_LAST_ACK

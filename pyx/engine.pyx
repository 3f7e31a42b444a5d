"""The batch demultiplexer.

A packet is parsed and looked up once; connections that it changed are listed, and `pump` then lets each of
them send everything due at once. Nothing here takes the GIL but the methods that Python calls.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from mpcore.errors import CapacityError, LocalProtocolError

from mpcore.mptcp.carrier cimport carrier_drop_all, carrier_hold
from mpcore.mptcp.connection cimport (
    HOST_ANEW,
    connection_abort,
    connection_clear,
    connection_deadline,
    connection_flush,
    connection_from_host,
    connection_init,
    connection_is_over,
    connection_pump,
    connection_timeout,
)
from mpcore.mptcp.congestion cimport CONGESTION_CUBIC, CONGESTION_LIA, CONGESTION_RENO
from mpcore.mptcp.describe cimport (
    describe_connection,
    describe_counters,
    describe_faults,
    describe_memory,
    packet_bytes,
)
from mpcore.mptcp.doubt cimport doubt_check, doubt_take_over
from mpcore.mptcp.input cimport INPUT_FALL_BACK, subflow_input
from mpcore.mptcp.opening cimport copy_address, fill_connection, fill_subflow
from mpcore.mptcp.output cimport emit_ack, emit_option, emit_refusal
from mpcore.mptcp.pathmtu cimport pathmtu_too_big
from mpcore.mptcp.scheduler cimport SCHEDULER_LOWEST_RTT, SCHEDULER_ROUND_ROBIN
from mpcore.mptcp.sender cimport sender_init
from mpcore.mptcp.subflow cimport subflow_close, subflow_free, subflow_reset
from mpcore.mptcp.transmit cimport transmit_subflow
from mpcore.mptcp.types cimport (
    CLOSE_REMOVED,
    EVENT_CLOSED,
    EVENT_ESTABLISHED,
    EVENT_SUBFLOW_ESTABLISHED,
    HOST_ACK_DUE,
    NEVER,
    ROLE_SERVER,
    SF_CLOSED,
    SF_ESTABLISHED,
    SF_PRE_ESTABLISHED,
    SUBFLOW_MAX,
    conn_t,
    count,
    event_t,
    is_live,
    mark_dirty,
    new_event,
    plane_t,
    subflow_t,
    unlist,
)
from mpcore.store.counters cimport (
    COUNTER_BAD_CHECKSUM,
    COUNTER_BYTES_FROM_HOST,
    COUNTER_BYTES_FROM_NETWORK,
    COUNTER_COUNT,
    COUNTER_DROPPED,
    COUNTER_EVENTS,
    COUNTER_LEFT,
    COUNTER_MALFORMED_IP,
    COUNTER_MALFORMED_TCP,
    COUNTER_PACKETS_FROM_HOST,
    COUNTER_PACKETS_FROM_NETWORK,
    COUNTER_PASSED,
    COUNTER_PUNTED,
    COUNTER_TABLE_FULL,
)
from mpcore.store.packet cimport (
    FROM_HOST,
    PACKET_CHECKSUM_NOT_READY,
    PACKET_GSO,
    PACKET_TRUNCATED,
    PORT_CARRIER,
    PORT_HOST4,
    PORT_HOST6,
    PORT_MAX,
    PORT_NETWORK,
    VERDICT_DROP,
    VERDICT_HOLD,
    VERDICT_LEAVE,
    VERDICT_PASS,
    VERDICT_PUNT,
    VERDICT_STOP,
    packet_t,
    transmit_queue_t,
    transmit_t,
)
from mpcore.store.ring cimport RING_CHUNK_SIZE, pool_clear, pool_init
from mpcore.store.table cimport (
    flow_key,
    flow_key_t,
    table_clear,
    table_find,
    table_init,
    table_insert,
    table_remove,
)
from mpcore.store.timers cimport heap_clear, heap_init, heap_next, heap_pop, heap_set
from mpcore.wire.ip cimport ECN_CE, ECN_MASK, IP_FRAGMENT, IP_OK, PROTOCOL_TCP, ip_parse, ip_t
from mpcore.wire.tcp cimport TCP_ACK, TCP_OK, TCP_RST, TCP_SYN, tcp_checksum_ok, tcp_parse, tcp_t


cdef enum:
    EVENTS = 8192              # ring of events; EVENT_MARGIN of them stay free for one connection's end
    EVENT_MARGIN = 64
    QUEUE_SLOTS = 1024
    CARRIER_LIMIT = 2048       # a quarter of the kernel's queue by default: other packets must find room
    SUBFLOW_BITS = 8


SCHEDULERS = {"lowest-rtt": SCHEDULER_LOWEST_RTT, "round-robin": SCHEDULER_ROUND_ROBIN}
CONGESTION_CONTROLS = {"lia": CONGESTION_LIA, "reno": CONGESTION_RENO, "cubic": CONGESTION_CUBIC}
REORDER_ALGORITHMS = {"runs": 0, "regular": 1, "tree": 2, "shortcuts": 3, "allshortcuts": 4}


cdef int events_short(const plane_t *plane) noexcept nogil:
    return plane.event_tail - plane.event_head > EVENTS - EVENT_MARGIN


cdef void subflow_keys(flow_key_t *key, const subflow_t *subflow) noexcept nogil:
    flow_key(key, subflow.version, subflow.local, subflow.local_port, subflow.remote, subflow.remote_port)


@cython.final
cdef class Engine:
    """Data plane of all connections of one endpoint.

    Args:
        max_connections: most connections at a time
        max_subflows: most flow table entries
        memory_bytes: most payload held for all connections
        send_buffer_bytes, receive_buffer_bytes: most payload held for one connection and direction
        reorder: name of the reordering algorithm
        reorder_nodes: most runs out of order in a connection
        subflow_segments: most segments in flight on a subflow
        close_timeout_ns: life of a connection without subflow
        seed: 16 random octets that key the flow table
        pacing: windows are spread over the round trip

    Thread-safety: one thread at a time.
    """

    def __cinit__(self, *, int max_connections, int max_subflows, object memory_bytes,
                  object send_buffer_bytes, object receive_buffer_bytes, str reorder, int reorder_nodes,
                  int subflow_segments, object close_timeout_ns, bytes seed, bint pacing=False):
        cdef int i
        self.limit = max_connections
        self.plane = <plane_t *>calloc(1, sizeof(plane_t))
        self.conns = <conn_t **>calloc(max_connections, sizeof(conn_t *))
        self.free_ids = <uint32_t *>calloc(max_connections, sizeof(uint32_t))
        if self.plane == NULL or self.conns == NULL or self.free_ids == NULL:
            raise MemoryError
        self.plane.events = <event_t *>calloc(EVENTS, sizeof(event_t))
        self.plane.dirty = <uint32_t *>calloc(max_connections, sizeof(uint32_t))
        self.plane.pending = <uint32_t *>calloc(max_connections, sizeof(uint32_t))
        if self.plane.events == NULL or self.plane.dirty == NULL or self.plane.pending == NULL:
            raise MemoryError
        if pool_init(&self.plane.pool, max(16, memory_bytes // RING_CHUNK_SIZE)) < 0:
            raise MemoryError
        if table_init(&self.table, max_subflows, int.from_bytes(seed[:8], "big"),
                      int.from_bytes(seed[8:16], "big")) < 0:
            raise MemoryError
        if heap_init(&self.heap, 64) < 0:
            raise MemoryError
        self.plane.event_mask = EVENTS - 1
        self.plane.segment_limit = subflow_segments
        self.plane.send_span = send_buffer_bytes
        self.plane.receive_span = receive_buffer_bytes
        self.plane.reorder_nodes = reorder_nodes
        self.plane.reorder_algorithm = REORDER_ALGORITHMS[reorder]
        self.plane.close_timeout_ns = close_timeout_ns
        self.plane.time_wait_ns = 2000000000
        self.plane.pacing = pacing
        self.free_count = max_connections
        for i in range(max_connections):
            self.free_ids[i] = max_connections - 1 - i
        self._ports = {}
        self._port_addresses = [None, None, None]
        self._open_queue(PORT_HOST4, QUEUE_SLOTS)
        self._open_queue(PORT_HOST6, QUEUE_SLOTS)
        self._open_queue(PORT_CARRIER, 2 * CARRIER_LIMIT)

    def __dealloc__(self):
        cdef int i
        if self.plane == NULL:
            return
        if self.conns != NULL:
            for i in range(<int>self.limit):
                if self.conns[i] != NULL:
                    self.destroy(self.conns[i])
        for i in range(PORT_MAX):
            free(self.plane.queues[i].slots)
        pool_clear(&self.plane.pool)
        table_clear(&self.table)
        heap_clear(&self.heap)
        free(self.plane.events)
        free(self.plane.dirty)
        free(self.plane.pending)
        free(self.plane)
        free(self.conns)
        free(self.free_ids)

    # --- packets

    cdef void decide_known(self, packet_t *packet, conn_t *conn, uint32_t index, void *ip_view,
                           void *tcp_view) noexcept nogil:
        """A packet of a connection of ours is consumed, unless it falls back or begins anew."""
        cdef ip_t *ip = <ip_t *>ip_view
        cdef tcp_t *tcp = <tcp_t *>tcp_view
        cdef subflow_t *subflow = conn.subflows[index]
        cdef uint64_t before
        if conn.fell_back:
            packet.verdict = VERDICT_LEAVE
            return
        packet.verdict = VERDICT_DROP
        if packet.direction == FROM_HOST:
            before = conn.tx_end
            if index == 0 and connection_from_host(self.plane, conn, tcp) == HOST_ANEW:
                self.destroy(conn)
                packet.verdict = VERDICT_PUNT
            elif (packet.flags & PACKET_GSO and conn.tx_end > before
                  and carrier_hold(self.plane, conn, packet.id)):
                packet.verdict = VERDICT_HOLD
            return
        if not packet.flags & PACKET_CHECKSUM_NOT_READY and not tcp_checksum_ok(
                ip.version, ip.src, ip.dst, packet.data + ip.header_size, ip.total_size - ip.header_size):
            count(self.plane, COUNTER_BAD_CHECKSUM)
            return
        if tcp.flags & (TCP_SYN | TCP_ACK) == TCP_SYN and index == 0 and connection_is_over(conn):
            # the peer begins a new connection on the same ports; the socket may be ready for it
            self.destroy(conn)
            packet.verdict = VERDICT_PUNT
            return
        if subflow == NULL and not tcp.flags & TCP_RST and not connection_is_over(conn):
            # the first subflow has ended and its peer may not know: our RST may have been lost
            emit_refusal(self.plane, conn, tcp)
        if subflow == NULL or conn.gone:
            return
        if subflow_input(self.plane, conn, subflow, tcp, (ip.tos & ECN_MASK) == ECN_CE) == INPUT_FALL_BACK:
            packet.verdict = VERDICT_LEAVE

    cdef void decide(self, packet_t *packet) noexcept nogil:
        cdef ip_t ip
        cdef tcp_t tcp
        cdef flow_key_t key
        cdef uint64_t *value
        cdef int status = ip_parse(packet.data, packet.size, &ip)
        packet.verdict = VERDICT_PASS
        if status != IP_OK or ip.protocol != PROTOCOL_TCP or packet.flags & PACKET_TRUNCATED:
            if status != IP_OK and status != IP_FRAGMENT:
                count(self.plane, COUNTER_MALFORMED_IP)
            return
        if tcp_parse(packet.data + ip.header_size, ip.total_size - ip.header_size, &tcp) != TCP_OK:
            count(self.plane, COUNTER_MALFORMED_TCP)
            return
        if packet.direction == FROM_HOST:
            flow_key(&key, ip.version, ip.src, tcp.src_port, ip.dst, tcp.dst_port)
        else:
            flow_key(&key, ip.version, ip.dst, tcp.dst_port, ip.src, tcp.src_port)
        value = table_find(&self.table, &key)
        if value == NULL:
            packet.verdict = VERDICT_PUNT
            return
        self.decide_known(packet, self.conns[value[0] >> SUBFLOW_BITS], value[0] & ((1 << SUBFLOW_BITS) - 1),
                          &ip, &tcp)

    cdef int process_batch(self, packet_t *packets, int start, int count_, int64_t now_ns) noexcept nogil:
        cdef int i
        cdef plane_t *plane = self.plane
        plane.now_ns = now_ns
        for i in range(start, count_):
            if events_short(plane):
                packets[i].verdict = VERDICT_STOP
                return i
            self.decide(&packets[i])
            if packets[i].direction == FROM_HOST:
                count(plane, COUNTER_PACKETS_FROM_HOST)
                plane.counters[COUNTER_BYTES_FROM_HOST] += packets[i].size
            else:
                count(plane, COUNTER_PACKETS_FROM_NETWORK)
                plane.counters[COUNTER_BYTES_FROM_NETWORK] += packets[i].size
            if packets[i].verdict == VERDICT_DROP:
                count(plane, COUNTER_DROPPED)
            elif packets[i].verdict == VERDICT_PASS:
                count(plane, COUNTER_PASSED)
            elif packets[i].verdict == VERDICT_LEAVE:
                count(plane, COUNTER_LEFT)
            elif packets[i].verdict == VERDICT_HOLD:
                continue
            else:
                count(plane, COUNTER_PUNTED)
                return i
        return count_

    # --- what is due

    cdef void settle(self, conn_t *conn) noexcept nogil:
        """Free what ended and set the connection's timer."""
        cdef subflow_t *subflow
        cdef flow_key_t key
        cdef int i
        if conn.gone:
            self.destroy(conn)
            return
        for i in range(SUBFLOW_MAX):
            subflow = conn.subflows[i]
            if subflow == NULL or subflow.state != SF_CLOSED:
                continue
            # the first subflow's ports are the socket's: its entry stays until the connection ends
            if i:
                subflow_keys(&key, subflow)
                table_remove(&self.table, &key)
            subflow_free(self.plane, subflow)
            conn.subflows[i] = NULL
        heap_set(&self.heap, conn.id, connection_deadline(conn))

    cdef int pump(self, int64_t now_ns) noexcept nogil:
        cdef plane_t *plane = self.plane
        cdef conn_t *conn
        cdef uint32_t listed = plane.dirty_count
        cdef uint32_t i
        cdef int full = 0
        plane.now_ns = now_ns
        plane.dirty_count = 0
        for i in range(listed):
            conn = self.conns[plane.dirty[i]]
            if conn == NULL or not conn.dirty:
                continue
            conn.dirty = 0
            if events_short(plane):
                full = 1
                mark_dirty(plane, conn)
                continue
            if connection_pump(plane, conn):
                full = 1
                mark_dirty(plane, conn)
            if not conn.pending and not conn.gone:
                conn.pending = 1
                plane.pending[plane.pending_count] = conn.id
                plane.pending_count += 1
            self.settle(conn)
        return full

    cdef void flush(self, int64_t now_ns) noexcept nogil:
        cdef plane_t *plane = self.plane
        cdef conn_t *conn
        cdef uint32_t i
        plane.now_ns = now_ns
        for i in range(plane.pending_count):
            conn = self.conns[plane.pending[i]]
            if conn == NULL or not conn.pending:
                continue
            conn.pending = 0
            connection_flush(plane, conn)
        plane.pending_count = 0

    cdef void expire(self, int64_t now_ns) noexcept nogil:
        cdef int64_t handle
        cdef conn_t *conn
        self.plane.now_ns = now_ns
        while not events_short(self.plane):
            handle = heap_pop(&self.heap, now_ns)
            if handle < 0:
                return
            conn = self.conns[handle]
            if conn != NULL:
                connection_timeout(self.plane, conn)

    cdef int64_t deadline(self) noexcept nogil:
        cdef int64_t next_ns = heap_next(&self.heap)
        return next_ns if next_ns >= 0 else NEVER

    cdef transmit_queue_t *queue(self, int port) noexcept nogil:
        return &self.plane.queues[port]

    cdef void destroy(self, conn_t *conn) noexcept nogil:
        """Forget a connection: keys, timer, memory. Its handle is free once Python has heard of it."""
        cdef flow_key_t key
        cdef subflow_t *subflow
        cdef int i
        carrier_drop_all(self.plane, conn)
        for i in range(SUBFLOW_MAX):
            subflow = conn.subflows[i]
            if subflow == NULL:
                continue
            if i:
                subflow_keys(&key, subflow)
                table_remove(&self.table, &key)
            subflow_free(self.plane, subflow)
        flow_key(&key, conn.version, conn.host_local, conn.host_local_port, conn.host_remote,
                 conn.host_remote_port)
        table_remove(&self.table, &key)
        connection_clear(self.plane, conn)
        heap_set(&self.heap, conn.id, -1)
        if conn.dirty:
            unlist(self.plane.dirty, &self.plane.dirty_count, conn.id)
        if conn.pending:
            unlist(self.plane.pending, &self.plane.pending_count, conn.id)
        new_event(self.plane, conn, EVENT_CLOSED, 0, 0)
        self.conns[conn.id] = NULL
        self.live -= 1
        free(conn)

    def hold_carriers(self, int limit):
        """Let the engine keep up to `limit` super-packets of the host on hold; PORT_CARRIER releases them.

        Only for a driver whose queue can do that and leaves the cutting to segments to the kernel.
        """
        self.plane.carrier_limit = max(0, min(limit, CARRIER_LIMIT))

    def use_scheduler(self, chooser):
        """Ask `chooser` which subflow carries each segment, see `mpcore.mptcp.chooser`; None: ask nobody.

        It is called within `run_pump` and must call nothing of this engine.
        """
        self._chooser = chooser
        self.plane.chooser = NULL if chooser is None else <void *>chooser

    # --- Python's side: ports

    def _open_queue(self, int port, int slots):
        cdef transmit_queue_t *queue = &self.plane.queues[port]
        queue.slots = <transmit_t *>calloc(slots, sizeof(transmit_t))
        if queue.slots == NULL:
            raise MemoryError
        queue.mask = slots - 1

    def port(self, bytes local):
        """Return the transmit port of a local address (4 or 16 octets), a new one at its first use.

        Raises CapacityError when all ports are taken.
        """
        port = self._ports.get(local)
        if port is None:
            port = len(self._port_addresses)
            if port >= PORT_MAX:
                raise CapacityError(f"more than {PORT_MAX - PORT_NETWORK} local addresses are in use")
            self._open_queue(port, QUEUE_SLOTS)
            self._ports[local] = port
            self._port_addresses.append(local)
        return port

    cpdef int port_count(self):
        """Return the number of transmit ports in use, the two towards the host included."""
        return len(self._port_addresses)

    cpdef bint has_events(self):
        """Tell whether poll_events has something to give."""
        return self.plane.event_head != self.plane.event_tail

    @property
    def port_addresses(self):
        """Local address by port; None for the two ports towards the host."""
        return tuple(self._port_addresses)

    # --- Python's side: connections

    cdef conn_t *find(self, long handle):
        if handle < 0 or handle >= self.limit:
            return NULL
        return self.conns[handle]

    def open_connection(self, effect, *, object idsn_local, object idsn_remote, str scheduler, str congestion,
                        object now_ns):
        """Take a connection over after its handshake (an `actions.OpenConnection`); return its handle.

        Raises CapacityError when a table is full; the connection must then go on as plain TCP.
        """
        cdef conn_t *conn
        cdef flow_key_t key
        if self.free_count == 0:
            count(self.plane, COUNTER_TABLE_FULL)
            raise CapacityError("limits.max_connections is reached")
        conn = <conn_t *>calloc(1, sizeof(conn_t))
        if conn == NULL:
            raise MemoryError
        conn.id = self.free_ids[self.free_count - 1]
        self.plane.now_ns = now_ns
        try:
            fill_connection(conn, effect, idsn_local, idsn_remote, now_ns)
            conn.scheduler = SCHEDULERS[scheduler]
            conn.congestion = CONGESTION_CONTROLS[congestion]
            if connection_init(self.plane, conn) < 0:
                raise MemoryError
        except BaseException:
            free(conn)
            raise
        flow_key(&key, conn.version, conn.host_local, conn.host_local_port, conn.host_remote,
                 conn.host_remote_port)
        if (heap_set(&self.heap, conn.id, -1) < 0
                or table_insert(&self.table, &key, conn.id << SUBFLOW_BITS) < 0):
            connection_clear(self.plane, conn)
            free(conn)
            count(self.plane, COUNTER_TABLE_FULL)
            raise CapacityError("the flow table is full")
        self.free_count -= 1
        self.live += 1
        self.conns[conn.id] = conn
        try:
            self._add_subflow(conn.id, 0, effect, now_ns)
        except BaseException:
            self.destroy(conn)
            raise
        if conn.role == ROLE_SERVER:
            # its key came back in the third ACK, which is also the host's to hear of (RFC 8684 §3.1)
            conn.established = 1
            conn.capable_sent = 1
            conn.host_ack_now = HOST_ACK_DUE
            new_event(self.plane, conn, EVENT_ESTABLISHED, 0, 0)
            mark_dirty(self.plane, conn)
        return conn.id

    def _add_subflow(self, long handle, int index, effect, object now_ns):
        cdef conn_t *conn = self.conns[handle]
        cdef subflow_t *subflow = <subflow_t *>calloc(1, sizeof(subflow_t))
        if subflow == NULL:
            raise MemoryError
        try:
            fill_subflow(subflow, effect, now_ns)
            subflow.port = self.port(effect.local)
            if sender_init(self.plane, subflow, effect.rtt_ns) < 0:
                raise MemoryError
        except BaseException:
            free(subflow)
            raise
        subflow.index = index
        subflow.state = SF_ESTABLISHED
        if index == 0:
            conn.port = subflow.port
        subflow.congestion = conn.congestion
        conn.subflows[index] = subflow

    def find_flow(self, int version, bytes local, int local_port, bytes remote, int remote_port):
        """Return handle and path index of the subflow with these addresses and ports, or None."""
        cdef flow_key_t key
        cdef uint64_t *value
        cdef uint8_t[16] here
        cdef uint8_t[16] there
        copy_address(here, local)
        copy_address(there, remote)
        flow_key(&key, version, here, local_port, there, remote_port)
        value = table_find(&self.table, &key)
        return None if value == NULL else (value[0] >> SUBFLOW_BITS, value[0] & ((1 << SUBFLOW_BITS) - 1))

    def too_big(self, long handle, int index, uint32_t seq, uint32_t mtu, object now_ns):
        """A router takes only packets of `mtu` octets: send smaller segments, if it may be true."""
        cdef conn_t *conn = self.find(handle)
        if conn == NULL or conn.gone or conn.fell_back or not is_live(conn.subflows[index]):
            return False
        self.plane.now_ns = now_ns
        mark_dirty(self.plane, conn)
        return bool(pathmtu_too_big(self.plane, conn.subflows[index], seq, mtu))

    def open_subflow(self, long handle, effect, object now_ns):
        """Add a joined subflow (an `actions.SubflowReady`); return its path index.

        Raises CapacityError when the connection has no slot or the flow table is full, LocalProtocolError
        when the connection is gone.
        """
        cdef conn_t *conn = self.find(handle)
        cdef subflow_t *subflow
        cdef flow_key_t key
        cdef int index = 1
        if conn == NULL or conn.gone:
            raise LocalProtocolError("the connection is gone")
        while index < SUBFLOW_MAX and conn.subflows[index] != NULL:
            index += 1
        if index == SUBFLOW_MAX:
            raise CapacityError(f"the connection has {SUBFLOW_MAX} subflows")
        self.plane.now_ns = now_ns
        self._add_subflow(handle, index, effect, now_ns)
        subflow = conn.subflows[index]
        subflow_keys(&key, subflow)
        if table_insert(&self.table, &key, (conn.id << SUBFLOW_BITS) | index) < 0:
            subflow_free(self.plane, subflow)
            conn.subflows[index] = NULL
            count(self.plane, COUNTER_TABLE_FULL)
            raise CapacityError("the flow table is full")
        subflow.local_id = effect.local_id
        subflow.remote_id = effect.remote_id
        subflow.backup_local = effect.backup
        subflow.backup_remote = effect.peer_backup
        subflow.backup = effect.backup or effect.peer_backup
        self._start_subflow(handle, index, effect.hmac)
        return index

    def _start_subflow(self, long handle, int index, object hmac):
        """Send the third ACK of our join, or the fourth of the peer's (RFC 8684 §3.2)."""
        cdef conn_t *conn = self.conns[handle]
        cdef subflow_t *subflow = conn.subflows[index]
        if hmac is not None:
            memcpy(subflow.join_hmac, PyBytes_AS_STRING(hmac), 20)
            subflow.state = SF_PRE_ESTABLISHED
            subflow.join_ns = self.plane.now_ns + subflow.rto_ns
        else:
            conn.joined = 1
            subflow.dss_seen = 1
            new_event(self.plane, conn, EVENT_SUBFLOW_ESTABLISHED, index, 0)
            doubt_take_over(self.plane, conn, subflow)
        emit_ack(self.plane, conn, subflow)
        mark_dirty(self.plane, conn)

    def close_subflow(self, long handle, int index, object reset_reason=None):
        """End a subflow with FIN, or at once with RST and an MP_TCPRST reason; others take its data."""
        cdef conn_t *conn = self.find(handle)
        if conn == NULL or not 0 <= index < SUBFLOW_MAX or not is_live(conn.subflows[index]):
            return
        if reset_reason is None and conn.subflows[index].state != SF_PRE_ESTABLISHED:
            conn.subflows[index].leaving = 1
        else:
            subflow_reset(self.plane, conn, conn.subflows[index], reset_reason or 0, CLOSE_REMOVED)
        mark_dirty(self.plane, conn)

    def remove_subflow(self, long handle, int index):
        """Forget a subflow whose address or link is gone; nothing is sent on it."""
        cdef conn_t *conn = self.find(handle)
        if conn != NULL and 0 <= index < SUBFLOW_MAX and is_live(conn.subflows[index]):
            subflow_close(self.plane, conn, conn.subflows[index], CLOSE_REMOVED)

    def check_subflow(self, long handle, int index, bint lost, object now_ns):
        """Ask a subflow for an answer soon; one that has `lost` its way is suspect until it gives one."""
        cdef conn_t *conn = self.find(handle)
        if conn != NULL and 0 <= index < SUBFLOW_MAX and is_live(conn.subflows[index]):
            self.plane.now_ns = now_ns
            doubt_check(self.plane, conn, conn.subflows[index], lost)

    def is_over(self, long handle):
        """Tell whether both streams have ended and are acknowledged: no path is needed any more."""
        cdef conn_t *conn = self.find(handle)
        return conn == NULL or conn.gone or (conn.fin_acked and conn.rx_fin_acked)

    def has_ended(self, long handle):
        """Tell whether both sides have sent their DATA_FIN, or the connection is gone."""
        cdef conn_t *conn = self.find(handle)
        return conn == NULL or conn.gone or bool(conn.host_fin and conn.rx_fin_seen)

    def tell_host(self, long handle):
        """Give the host's socket again what it may have missed: data it did not acknowledge, and its ACK."""
        cdef conn_t *conn = self.find(handle)
        if conn != NULL and not conn.gone:
            conn.rx_injected = conn.rx_acked
            conn.rx_fin_injected = conn.rx_fin_acked
            conn.host_ack_now = HOST_ACK_DUE
            mark_dirty(self.plane, conn)

    def set_backup(self, long handle, int index, bint backup, bint by_peer):
        """Change a subflow's priority, by the peer's wish or by ours (RFC 8684 §3.3.8)."""
        cdef conn_t *conn = self.find(handle)
        cdef subflow_t *subflow
        if conn == NULL or not 0 <= index < SUBFLOW_MAX or conn.subflows[index] == NULL:
            return
        subflow = conn.subflows[index]
        if by_peer:
            subflow.backup_remote = backup
        else:
            subflow.backup_local = backup
        subflow.backup = subflow.backup_local or subflow.backup_remote
        mark_dirty(self.plane, conn)

    def send_option(self, long handle, object index, bytes option):
        """Send an option on an ACK of its own, on a subflow or (None) the best; False when none lives."""
        cdef conn_t *conn = self.find(handle)
        cdef subflow_t *subflow = NULL
        if conn == NULL or len(option) > 40:
            return False
        if index is not None and 0 <= index < SUBFLOW_MAX:
            subflow = conn.subflows[<int>index]
        if not is_live(subflow):
            subflow = transmit_subflow(conn)
        if subflow == NULL:
            return False
        emit_option(self.plane, conn, subflow, <const uint8_t *>PyBytes_AS_STRING(option),
                    <uint32_t>len(option))
        return True

    def abort(self, long handle, object now_ns):
        """End a connection at once: RST to the host, MP_FASTCLOSE to the peer (RFC 8684 §3.5)."""
        cdef conn_t *conn = self.find(handle)
        if conn != NULL:
            self.plane.now_ns = now_ns
            connection_abort(self.plane, conn, 1, 1)
            mark_dirty(self.plane, conn)

    # --- Python's side: driving (tests, simulator, punts)

    def process(self, int direction, bytes data, object now_ns, bint checksum_ready=True, carrier=None):
        """Decide on one packet; return its verdict as an `actions.VerdictKind` value, PUNT included.

        `carrier` is the id of a super-packet that may be put on HOLD, see `hold_carriers`.
        """
        cdef packet_t packet
        memset(&packet, 0, sizeof(packet))
        packet.data = <uint8_t *>PyBytes_AS_STRING(data)
        packet.size = <uint32_t>len(data)
        packet.direction = direction
        packet.flags = 0 if checksum_ready else PACKET_CHECKSUM_NOT_READY
        if carrier is not None:
            packet.id = carrier
            packet.flags |= PACKET_GSO
        self.process_batch(&packet, 0, 1, now_ns)
        return packet.verdict

    def run_pump(self, object now_ns):
        """Python face of `pump`."""
        return bool(self.pump(now_ns))

    def run_flush(self, object now_ns):
        """Python face of `flush`."""
        self.flush(now_ns)

    def run_expire(self, object now_ns):
        """Let every timer that is due fire."""
        self.expire(now_ns)

    def next_timeout(self):
        """Return the earliest deadline in nanoseconds, or None."""
        cdef int64_t next_ns = self.deadline()
        return None if next_ns == NEVER else next_ns

    def poll_transmit(self):
        """Take every packet out of the queues: a list of (port, bytes, carrier).

        `carrier` is the id of a packet on hold that leaves with these bytes, or is dropped when there are
        none; else None.
        """
        cdef transmit_queue_t *queue
        cdef transmit_t *slot
        cdef int port
        result = []
        for port in range(len(self._port_addresses)):
            queue = &self.plane.queues[port]
            while queue.head != queue.tail:
                slot = &queue.slots[queue.head & queue.mask]
                result.append((port, packet_bytes(slot), slot.carrier if port == PORT_CARRIER else None))
                queue.head += 1
        return result

    def poll_events(self):
        """Take every event: a list of (kind, handle, subflow, value, option bytes)."""
        cdef event_t *event
        result = []
        while self.plane.event_head != self.plane.event_tail:
            event = &self.plane.events[self.plane.event_head & self.plane.event_mask]
            count(self.plane, COUNTER_EVENTS)
            result.append((event.kind, event.conn, event.subflow, event.value,
                           PyBytes_FromStringAndSize(<const char *>event.data, event.size)))
            if event.kind == EVENT_CLOSED:
                self.free_ids[self.free_count] = event.conn
                self.free_count += 1
            self.plane.event_head += 1
        return result

    # --- Python's side: looking

    def __len__(self):
        return self.live

    def counters(self):
        """Return the counters as a list in the order of `mpcore.counters`."""
        return describe_counters(self.plane, self.live)

    def count(self, int counter, object amount=1):
        """Raise a counter by its index."""
        if 0 <= counter < COUNTER_COUNT:
            self.plane.counters[counter] += <uint64_t>amount

    def memory(self):
        """Return what is held now: connections, chunks, events, packets not sent, carriers on hold."""
        return {"connections": self.live, **describe_memory(self.plane)}

    def describe(self, long handle):
        """Return what is known of a connection, None when the handle is free: octets and nanoseconds."""
        cdef conn_t *conn = self.find(handle)
        return None if conn == NULL else describe_connection(conn)

    def faults(self, long handle):
        """Return the contradictions in a connection's state; there are none, or the engine has a bug."""
        cdef conn_t *conn = self.find(handle)
        return [] if conn == NULL else describe_faults(conn)

"""What is known of a connection, as plain values."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t

from mpcore.mptcp.sender cimport segment_at, segment_end
from mpcore.mptcp.types cimport (
    NEVER,
    SEG_FIN,
    SEG_FOREIGN,
    SEG_LOST,
    SEG_OWN,
    SEG_SACKED,
    SUBFLOW_MAX,
    conn_t,
    plane_t,
    segment_t,
    subflow_t,
)
from mpcore.store.counters cimport COUNTER_COPIED_BYTES, COUNTER_COPIES, COUNTER_COUNT, COUNTER_CURR_ESTAB
from mpcore.store.packet cimport PORT_MAX, transmit_t
from mpcore.store.reorder cimport reorder_stats, reorder_stats_t


_STATES = ("free", "pre-established", "established", "fin-wait-1", "fin-wait-2", "closing", "close-wait",
           "last-ack", "time-wait", "closed")


cdef bytes address_bytes(const uint8_t *address, int version):
    return PyBytes_FromStringAndSize(<const char *>address, 4 if version == 4 else 16)


cdef dict describe_reorder(const conn_t *conn):
    cdef const reorder_stats_t *stats
    if conn.reorder == NULL:
        return {}
    stats = reorder_stats(conn.reorder)
    return {"inserts": stats.inserts, "hits": stats.hits, "steps": stats.steps, "merges": stats.merges,
            "max_nodes": stats.max_nodes, "max_bytes": stats.max_bytes}


cdef dict describe_connection(const conn_t *conn):
    return {
        "established": bool(conn.established),
        "host_fin": bool(conn.host_fin), "fin_acked": bool(conn.fin_acked),
        "peer_fin": bool(conn.rx_fin_seen), "peer_fin_acked": bool(conn.rx_fin_acked),
        "bytes_sent": conn.tx_una, "bytes_received": conn.rx_nxt,
        "bytes_queued": conn.tx_end - conn.tx_nxt, "bytes_in_flight": conn.tx_nxt - conn.tx_una,
        "send_window": conn.tx_window - conn.tx_una if conn.tx_window > conn.tx_una else 0,
        "receive_window": conn.rx_advertised - conn.rx_acked if conn.rx_advertised > conn.rx_acked else 0,
        "checksum": bool(conn.checksum), "reorder": describe_reorder(conn),
        "subflows": [describe_subflow(conn.subflows[i]) for i in range(SUBFLOW_MAX)
                     if conn.subflows[i] != NULL],
    }


cdef dict describe_subflow(const subflow_t *subflow):
    return {
        "path_index": subflow.index, "state": _STATES[subflow.state],
        "local": address_bytes(subflow.local, subflow.version), "local_port": subflow.local_port,
        "remote": address_bytes(subflow.remote, subflow.version), "remote_port": subflow.remote_port,
        "local_id": subflow.local_id, "remote_id": subflow.remote_id,
        "backup": bool(subflow.backup), "suspect": bool(subflow.suspect),
        "ecn": bool(subflow.ecn),
        "srtt_ns": subflow.srtt_ns, "min_rtt_ns": subflow.min_rtt_ns, "rto_ns": subflow.rto_ns,
        "cwnd": subflow.cwnd, "ssthresh": subflow.ssthresh,
        "snd_una": subflow.snd_una, "snd_nxt": subflow.snd_nxt, "rcv_nxt": subflow.rcv_nxt,
        "inflight": subflow.inflight, "mss": subflow.mss,
        "bytes_sent": subflow.bytes_sent, "bytes_received": subflow.bytes_received,
    }


cdef list describe_counters(const plane_t *plane, int live):
    values = [plane.counters[i] for i in range(COUNTER_COUNT)]
    values[COUNTER_CURR_ESTAB] = live
    values[COUNTER_COPIES] = plane.pool.copies
    values[COUNTER_COPIED_BYTES] = plane.pool.copied_bytes
    return values


cdef dict describe_memory(const plane_t *plane):
    cdef int port
    packets = 0
    for port in range(PORT_MAX):
        packets += plane.queues[port].tail - plane.queues[port].head
    return {"chunks_in_use": plane.pool.in_use, "chunks_allocated": plane.pool.allocated,
            "events": plane.event_tail - plane.event_head, "packets": packets,
            "carriers": plane.carriers_held}


cdef bytes packet_bytes(const transmit_t *slot):
    cdef int piece
    data = PyBytes_FromStringAndSize(<const char *>slot.header, slot.header_size)
    for piece in range(slot.piece_count):
        data += PyBytes_FromStringAndSize(<const char *>slot.piece[piece], slot.piece_size[piece])
    return data


# --- for tests

cdef list describe_faults(const conn_t *conn):
    faults = []
    rules = (
        ("send offsets out of order", conn.tx_ring.head <= conn.tx_una <= conn.tx_nxt <= conn.tx_end),
        ("socket was offered more than the ring holds",
         conn.host_window <= max(conn.tx_ring.head + conn.tx_ring.limit, <uint64_t>65535)),
        ("receive offsets out of order",
         conn.rx_ring.head <= conn.rx_acked <= conn.rx_injected <= conn.rx_nxt),
        ("more injected than the stream has", not conn.rx_fin_seen or conn.rx_injected <= conn.rx_fin),
        ("FIN acknowledged but not sent", conn.fin_sent or not conn.fin_acked),
    )
    faults.extend(name for name, holds in rules if not holds)
    for i in range(SUBFLOW_MAX):
        if conn.subflows[i] != NULL and conn.subflows[i].segments != NULL:
            faults.extend(f"subflow {i}: {fault}" for fault in segment_faults(conn, conn.subflows[i]))
            faults.extend(f"subflow {i}: {fault}" for fault in received_faults(conn.subflows[i]))
    return faults


cdef list segment_faults(const conn_t *conn, const subflow_t *subflow):
    cdef const segment_t *segment
    cdef uint64_t at = subflow.snd_una
    inflight, lost, sacked, foreign, own = 0, 0, 0, 0, 0
    faults = []
    for i in range(subflow.seg_count):
        segment = segment_at(subflow, i)
        if segment.seq != at:
            faults.append(f"segment {i} does not follow the one before")
        if segment.flags & SEG_SACKED and segment.flags & SEG_LOST:
            faults.append(f"segment {i} is lost and has arrived")
        if not segment.flags & (SEG_SACKED | SEG_LOST):
            inflight += segment.size
        if not segment.flags & (SEG_OWN | SEG_FIN) and segment.data < conn.tx_ring.head:
            faults.append(f"segment {i} is no longer held")
        at = segment_end(segment)
        lost += segment.flags & SEG_LOST != 0
        sacked += segment.flags & SEG_SACKED != 0
        foreign += segment.flags & SEG_FOREIGN != 0
        own += segment.flags & SEG_OWN != 0
    counted = {"inflight": (inflight, subflow.inflight), "lost": (lost, subflow.lost_count),
               "sacked": (sacked, subflow.sacked_count), "foreign": (foreign, subflow.foreign_count),
               "own": (own, subflow.own_count), "end": (at, subflow.snd_nxt)}
    faults.extend(f"{name} is {kept}, counted {real}"
                  for name, (real, kept) in counted.items() if real != kept)
    if subflow.seg_count and subflow.rto_at_ns == NEVER:
        faults.append("no timer runs for what is in flight")
    return faults


cdef list received_faults(const subflow_t *subflow):
    cdef uint64_t at = subflow.rcv_nxt
    faults = []
    for i in range(subflow.ooo_count):
        if not at < subflow.ooo[i].start < subflow.ooo[i].end:
            faults.append(f"range {i} out of order")
        at = subflow.ooo[i].end
    return faults

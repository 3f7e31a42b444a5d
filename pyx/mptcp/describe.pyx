"""What is known of a connection, as plain values."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t

from mpcore.mptcp.types cimport SUBFLOW_MAX, conn_t, subflow_t
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
        "srtt_ns": subflow.srtt_ns, "rto_ns": subflow.rto_ns,
        "cwnd": subflow.cwnd, "ssthresh": subflow.ssthresh,
        "inflight": subflow.inflight, "mss": subflow.mss,
        "bytes_sent": subflow.bytes_sent, "bytes_received": subflow.bytes_received,
    }

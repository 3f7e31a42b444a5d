"""Fresh connections and subflows, filled from what the control core negotiated."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from mpcore.mptcp.types cimport NEVER, OPTION_BYTES, OPTION_ROOM, conn_t, subflow_t


cdef enum:
    INITIAL_WINDOW = 14600     # what any host accepts before its own window is known


cdef int copy_address(uint8_t *out, bytes address) except -1:
    if len(address) != 4 and len(address) != 16:
        raise ValueError("an address has 4 or 16 octets")
    memcpy(out, PyBytes_AS_STRING(address), len(address))
    return 0


cdef uint32_t payload_mss(int mss_local, int mss_remote):
    """Payload of a full segment: both ends' limits, less every option that a data segment carries."""
    cdef int mss = min(mss_local, mss_remote) - OPTION_BYTES
    return <uint32_t>max(mss, 64)


cdef int fill_connection(conn_t *conn, object effect, object idsn_local, object idsn_remote,
                         object now_ns) except -1:
    conn.role = effect.role
    conn.version = effect.version
    conn.checksum = effect.checksum
    conn.capable_flags = 0x81 if effect.checksum else 0x01
    conn.key_local = effect.key_local
    conn.key_remote = effect.key_remote
    conn.idsn_local = idsn_local
    conn.idsn_remote = idsn_remote
    copy_address(conn.host_local, effect.local)
    copy_address(conn.host_remote, effect.remote)
    conn.host_local_port = effect.local_port
    conn.host_remote_port = effect.remote_port
    conn.host_isn = effect.isn_local
    conn.peer_isn = effect.isn_remote
    conn.host_wscale = max(effect.wscale_local, 0)
    conn.peer_wscale = max(effect.wscale_remote, 0)
    conn.host_timestamps = effect.timestamps
    conn.host_ts_recent = effect.ts_local
    conn.peer_ts_zero = conn.host_stamp = effect.ts_remote
    conn.ts_zero_ns = now_ns
    conn.host_mss = effect.mss_local
    # the host was told the peer's MSS less OPTION_ROOM; its timestamps are part of what it cuts off
    segment = min(effect.mss_local, effect.mss_remote - OPTION_ROOM) - (12 if effect.timestamps else 0)
    conn.carrier_segment = max(segment, 0)
    conn.tx_window = conn.host_window = effect.window
    conn.rx_edge = INITIAL_WINDOW
    return 0


cdef int fill_subflow(subflow_t *subflow, object effect, object now_ns) except -1:
    subflow.version = effect.version
    copy_address(subflow.local, effect.local)
    copy_address(subflow.remote, effect.remote)
    subflow.local_port = effect.local_port
    subflow.remote_port = effect.remote_port
    subflow.isn_local = effect.isn_local
    subflow.isn_remote = effect.isn_remote
    subflow.wscale_local = max(effect.wscale_local, 0)
    subflow.wscale_remote = max(effect.wscale_remote, 0)
    subflow.sack = effect.sack
    subflow.timestamps = effect.timestamps
    subflow.ecn = effect.ecn
    subflow.ts_local = effect.ts_local
    subflow.ts_recent = effect.ts_remote
    subflow.ts_zero_ns = now_ns
    subflow.mss = subflow.mss_full = payload_mss(effect.mss_local, effect.mss_remote)
    subflow.rcv_nxt = subflow.rcv_max = 1
    subflow.snd_edge = 1 + effect.window
    subflow.last_rx_ns = now_ns
    subflow.join_ns = subflow.wait_ns = subflow.ack_at_ns = subflow.data_rx_ns = NEVER
    return 0

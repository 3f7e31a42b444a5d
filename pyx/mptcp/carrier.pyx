"""The host's own super-packets as carriers."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from mpcore.mptcp.output cimport EMIT_GONE, EMIT_OK, emit_carried, emit_drop
from mpcore.mptcp.pacing cimport pacing_quantum
from mpcore.mptcp.sender cimport sender_push, sender_reserve, sender_room, sender_sent
from mpcore.mptcp.stream cimport stream_room
from mpcore.mptcp.types cimport CARRIER_MAX, conn_t, count, plane_t, segment_t, subflow_t
from mpcore.store.counters cimport COUNTER_HELD


cdef enum:
    CARRIED_MAX = 65431        # payload: with at most 100 bytes of headers a netlink attribute holds it


cdef int carrier_hold(plane_t *plane, conn_t *conn, uint32_t id) noexcept nogil:
    if conn.carrier_count == CARRIER_MAX or plane.carriers_held >= plane.carrier_limit:
        return 0
    conn.carriers[(conn.carrier_first + conn.carrier_count) % CARRIER_MAX] = id
    conn.carrier_count += 1
    plane.carriers_held += 1
    count(plane, COUNTER_HELD)
    return 1


cdef uint32_t take(plane_t *plane, conn_t *conn) noexcept nogil:
    cdef uint32_t id = conn.carriers[conn.carrier_first]
    conn.carrier_first = (conn.carrier_first + 1) % CARRIER_MAX
    conn.carrier_count -= 1
    plane.carriers_held -= 1
    return id


cdef void carrier_drop_all(plane_t *plane, conn_t *conn) noexcept nogil:
    while conn.carrier_count:
        emit_drop(plane, take(plane, conn))


cdef uint32_t carrier_size(const plane_t *plane, const conn_t *conn, const subflow_t *subflow) noexcept nogil:
    cdef uint64_t size = conn.tx_end - conn.tx_nxt
    cdef uint64_t window = stream_room(conn, subflow)
    cdef uint64_t room = sender_room(subflow)
    cdef uint64_t edge = subflow.snd_edge - subflow.snd_nxt if subflow.snd_edge > subflow.snd_nxt else 0
    # the kernel cuts at the host's own segment size, which must leave room for our options on this path
    # CWR is for one segment (RFC 3168 §6.1.2), not for each that the kernel may make of a super-packet
    if conn.carrier_count == 0 or subflow.ecn_cwr or subflow.version != conn.version or (
            conn.carrier_segment == 0 or conn.carrier_segment > subflow.mss):
        return 0
    # the packets with our key come first, and those go by raw sockets (RFC 8684 §3.1)
    if not conn.established:
        return 0
    size = min(min(size, <uint64_t>CARRIED_MAX), min(min(window, edge), room))
    size = min(size, pacing_quantum(plane, subflow))
    if size < conn.tx_end - conn.tx_nxt:
        size -= size % conn.carrier_segment
    # one segment is not a super-packet: the kernel refuses to cut it
    return <uint32_t>size if size > conn.carrier_segment else 0


cdef void record(plane_t *plane, conn_t *conn, subflow_t *subflow, uint64_t start, uint32_t size,
                 uint16_t checksum) noexcept nogil:
    """Note the segments that the kernel will make of it; all carry the one mapping."""
    cdef uint32_t offset = 0
    cdef segment_t *segment
    while offset < size:
        segment = sender_push(subflow, plane.segment_limit)
        segment.data = start + offset
        segment.size = min(conn.carrier_segment, size - offset)
        segment.map_offset = <uint16_t>offset
        segment.map_size = <uint16_t>size
        segment.checksum = checksum
        subflow.snd_nxt += segment.size
        sender_sent(plane, subflow, segment, 0)
        offset += segment.size


cdef int carrier_send(plane_t *plane, conn_t *conn, subflow_t *subflow, uint32_t size) noexcept nogil:
    cdef uint32_t segments = (size + conn.carrier_segment - 1) // conn.carrier_segment
    cdef uint16_t checksum = 0
    cdef int status
    if sender_reserve(subflow, segments, plane.segment_limit) < 0:
        return EMIT_GONE
    status = emit_carried(plane, conn, subflow, subflow.snd_nxt, conn.tx_nxt, size,
                          conn.carriers[conn.carrier_first], &checksum)
    if status != EMIT_OK:
        return status
    take(plane, conn)
    record(plane, conn, subflow, conn.tx_nxt, size, checksum)
    return EMIT_OK

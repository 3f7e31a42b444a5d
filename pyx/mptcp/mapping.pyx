"""Data sequence mappings of a subflow.

A mapping that covers just its own segment, the usual case, is used and forgotten. A longer one is remembered
for segments that come without it; with DSS checksums its bytes are collected until the whole can be verified.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from mpcore.mptcp.stream cimport stream_end, stream_store
from mpcore.mptcp.types cimport MAP_MAX, conn_t, count, mapping_t, plane_t, subflow_t, unwrap
from mpcore.store.counters cimport (
    COUNTER_DATA_CSUM_ERR,
    COUNTER_DSS_CHECKSUM_DISAGREED,
    COUNTER_DSS_NO_MATCH_TCP,
    COUNTER_DSS_NOT_MATCHING,
    COUNTER_MEMORY_REFUSED,
    COUNTER_RANGES_FULL,
)
from mpcore.store.ring cimport chunk_give, chunk_take
from mpcore.wire.checksum cimport checksum_dss, sum_bytes
from mpcore.wire.mptcp cimport (
    DSS_FIN,
    DSS_MAP,
    DSS_SEQ64,
    MP_CAPABLE,
    MP_DSS,
    expand_data_seq,
    mptcp_t,
)


# --- reading

cdef int checksum_agreed(plane_t *plane, const conn_t *conn, int present) noexcept nogil:
    """RFC 8684 §3.3.1: a checksum where none was agreed, or none where one was, breaks the mapping."""
    if (present != 0) == (conn.checksum != 0):
        return 1
    count(plane, COUNTER_DSS_CHECKSUM_DISAGREED)
    return 0


cdef int read_dss(plane_t *plane, const conn_t *conn, const mptcp_t *options, uint64_t seq,
                  mapping_t *out) noexcept nogil:
    cdef uint64_t data_seq = options.data_seq
    if options.data_len == 0:
        return MAP_INFINITE
    if not checksum_agreed(plane, conn, options.dss_has_checksum):
        return MAP_INVALID
    if not options.dss_flags & DSS_SEQ64:
        data_seq = expand_data_seq(conn.idsn_remote + 1 + conn.rx_nxt, <uint32_t>data_seq)
    out.seq = unwrap(options.subflow_seq, 0, seq)
    out.data = data_seq - (conn.idsn_remote + 1)
    out.data_len = options.data_len
    out.size = options.data_len - (1 if options.dss_flags & DSS_FIN else 0)
    out.checksum = options.dss_checksum
    return MAP_OK


cdef int read_capable(plane_t *plane, const conn_t *conn, const mptcp_t *options,
                      mapping_t *out) noexcept nogil:
    """MP_CAPABLE with data maps the first bytes (RFC 8684 §3.1)."""
    if not checksum_agreed(plane, conn, options.capable_size == 24):
        return MAP_INVALID
    out.seq = 1
    out.data = 0
    out.data_len = options.capable_data_len
    out.size = options.capable_data_len
    out.checksum = options.capable_checksum
    if out.size == 0:
        count(plane, COUNTER_DSS_NO_MATCH_TCP)
        return MAP_INVALID
    return MAP_OK


cdef inline int covers(const mapping_t *mapping, uint64_t seq) noexcept nogil:
    return mapping.size and seq - mapping.seq < mapping.size


cdef mapping_t *remembered(subflow_t *subflow, uint64_t seq) noexcept nogil:
    cdef int i
    for i in range(MAP_MAX):
        if covers(&subflow.maps[i], seq):
            return &subflow.maps[i]
    return NULL


cdef void release(plane_t *plane, mapping_t *mapping) noexcept nogil:
    if mapping.buffer != NULL:
        chunk_give(&plane.pool, mapping.buffer)
        mapping.buffer = NULL
    mapping.size = 0


cdef mapping_t *remember(plane_t *plane, subflow_t *subflow, const mapping_t *mapping) noexcept nogil:
    """Keep a copy in the oldest slot; a slot that still collects bytes is not given up."""
    cdef mapping_t *slot
    cdef int _i
    for _i in range(MAP_MAX):
        slot = &subflow.maps[subflow.map_next % MAP_MAX]
        subflow.map_next += 1
        if slot.seq + slot.size <= subflow.rcv_nxt:
            release(plane, slot)
        if slot.buffer == NULL:
            slot[0] = mapping[0]
            slot.buffer = NULL
            slot.got = 0
            return slot
    return NULL


cdef int agrees(const mapping_t *known, const mapping_t *fresh) noexcept nogil:
    """A mapping, once declared, stays (RFC 8684 §3.3.1): the offset between the two spaces is the same."""
    return known.data - known.seq == fresh.data - fresh.seq


cdef int contradicts(const subflow_t *subflow, const mapping_t *fresh) noexcept nogil:
    """True when a remembered mapping shares bytes with `fresh` and places them elsewhere."""
    cdef const mapping_t *known
    cdef int i
    if subflow.map_next == 0:
        return 0
    for i in range(MAP_MAX):
        known = &subflow.maps[i]
        if (known.size and known.seq < fresh.seq + fresh.size and fresh.seq < known.seq + known.size
                and not agrees(known, fresh)):
            return 1
    return 0


cdef int mapping_find(plane_t *plane, conn_t *conn, subflow_t *subflow, const mptcp_t *options, uint64_t seq,
                      uint32_t size, mapping_t *out) noexcept nogil:
    cdef mapping_t *known = remembered(subflow, seq)
    cdef int status
    out.size = 0
    out.buffer = NULL
    out.got = 0
    if options.seen >> MP_DSS & 1 and options.dss_flags & DSS_MAP:
        status = read_dss(plane, conn, options, seq, out)
    elif options.seen >> MP_CAPABLE & 1 and options.capable_version == 1 and options.capable_size >= 22:
        status = read_capable(plane, conn, options, out)
    else:
        status = MAP_NONE
    if status == MAP_NONE or (status == MAP_OK and not covers(out, seq)):
        if known == NULL:
            return MAP_NONE
        out[0] = known[0]
        return MAP_OK
    if status != MAP_OK:
        return status
    if contradicts(subflow, out):
        count(plane, COUNTER_DSS_NOT_MATCHING)
        return MAP_INVALID
    if known == NULL:
        if out.seq != seq or out.size != size:
            remember(plane, subflow, out)
    else:
        # the first declaration stands: bytes are collected and verified by its extent
        out[0] = known[0]
    return MAP_OK


# --- delivering

cdef int verified(const conn_t *conn, const mapping_t *mapping, const uint8_t *data) noexcept nogil:
    return checksum_dss(conn.idsn_remote + 1 + mapping.data, <uint32_t>mapping.seq, mapping.data_len,
                        sum_bytes(data, mapping.size)) == mapping.checksum


cdef int store(plane_t *plane, conn_t *conn, subflow_t *subflow, uint64_t offset, const uint8_t *data,
               uint32_t size) noexcept nogil:
    if stream_store(plane, conn, offset, data, size, subflow.index) < 0:
        return MAP_REFUSED
    return MAP_OK


cdef void note_end(plane_t *plane, conn_t *conn, const mapping_t *mapping) noexcept nogil:
    """A verified mapping with DATA_FIN tells where the stream ends (RFC 8684 §3.3.3)."""
    if mapping.data_len > mapping.size:
        stream_end(plane, conn, mapping.data + mapping.size)


cdef int collect(plane_t *plane, conn_t *conn, subflow_t *subflow, const mapping_t *mapping, uint64_t seq,
                 const uint8_t *data, uint32_t size) noexcept nogil:
    """Add a piece to a mapping under verification; the last piece verifies and stores the whole."""
    cdef mapping_t *slot = remembered(subflow, seq)
    cdef int status
    if slot == NULL:
        slot = remember(plane, subflow, mapping)
    if slot == NULL:
        count(plane, COUNTER_RANGES_FULL)
        return MAP_REFUSED
    if slot.buffer == NULL:
        slot.buffer = chunk_take(&plane.pool)
        if slot.buffer == NULL:
            count(plane, COUNTER_MEMORY_REFUSED)
            return MAP_REFUSED
    # data_len is a 16-bit number, so a mapping always fits in a chunk, and the piece lies inside the mapping
    memcpy(slot.buffer + (seq - slot.seq), data, size)
    plane.pool.copies += 1
    plane.pool.copied_bytes += size
    if slot.got + size < slot.size:
        slot.got += size
        return MAP_OK
    if not verified(conn, slot, slot.buffer):
        count(plane, COUNTER_DATA_CSUM_ERR)
        return MAP_CORRUPT
    status = store(plane, conn, subflow, slot.data, slot.buffer, slot.size)
    if status == MAP_OK:
        note_end(plane, conn, slot)
        release(plane, slot)
    return status


cdef int mapping_deliver(plane_t *plane, conn_t *conn, subflow_t *subflow, const mapping_t *mapping,
                         uint64_t seq, const uint8_t *data, uint32_t size) noexcept nogil:
    if conn.checksum:
        if seq != mapping.seq or size != mapping.size:
            return collect(plane, conn, subflow, mapping, seq, data, size)
        if not verified(conn, mapping, data):
            count(plane, COUNTER_DATA_CSUM_ERR)
            return MAP_CORRUPT
        note_end(plane, conn, mapping)
    return store(plane, conn, subflow, mapping.data + (seq - mapping.seq), data, size)


cdef void mapping_clear(plane_t *plane, subflow_t *subflow) noexcept nogil:
    cdef int i
    for i in range(MAP_MAX):
        release(plane, &subflow.maps[i])


cdef uint32_t mapping_held(const subflow_t *subflow) noexcept nogil:
    cdef const mapping_t *slot
    cdef int i
    for i in range(MAP_MAX):
        slot = &subflow.maps[i]
        if slot.buffer != NULL and slot.seq + slot.got == subflow.rcv_nxt:
            return slot.got
    return 0


cdef void mapping_surrender(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil:
    cdef mapping_t *slot
    cdef int i
    for i in range(MAP_MAX):
        slot = &subflow.maps[i]
        if slot.buffer != NULL and slot.seq + slot.got == subflow.rcv_nxt:
            stream_store(plane, conn, slot.data, slot.buffer, slot.got, subflow.index)

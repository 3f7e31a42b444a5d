"""Data sequence mappings of a subflow: where its bytes belong in the connection (RFC 8684 §3.3.1)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from mpcore.mptcp.types cimport conn_t, mapping_t, plane_t, subflow_t
from mpcore.wire.mptcp cimport mptcp_t


cdef enum:
    MAP_OK = 0
    MAP_NONE = -1              # no mapping covers the bytes
    MAP_INVALID = -2           # contradicts an earlier mapping, or a checksum is there unasked, or lacking
    MAP_INFINITE = -3          # data-level length 0: the peer falls back (RFC 8684 §3.7)
    MAP_CORRUPT = -4           # checksum wrong
    MAP_REFUSED = -5           # no memory: the bytes must not be acknowledged


# The mapping that covers subflow offset `seq`: from the options of the segment, else a remembered one.
cdef int mapping_find(plane_t *plane, conn_t *conn, subflow_t *subflow, const mptcp_t *options, uint64_t seq,
                      uint32_t size, mapping_t *out) noexcept nogil
# Bytes new to the subflow, inside `mapping`: verified if checksums are in use, then stored. MAP_OK or a
# negative status.
cdef int mapping_deliver(plane_t *plane, conn_t *conn, subflow_t *subflow, const mapping_t *mapping,
                         uint64_t seq, const uint8_t *data, uint32_t size) noexcept nogil
# Forgets mappings that end at or before `seq`.
cdef void mapping_clear(plane_t *plane, subflow_t *subflow) noexcept nogil
# Hands collected but unverified bytes to the stream, for a connection that falls back.
cdef void mapping_surrender(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil
# Bytes before rcv_nxt that are collected and not yet verified.
cdef uint32_t mapping_held(const subflow_t *subflow) noexcept nogil

"""Fresh connections and subflows, filled from what the control core negotiated."""

from libc.stdint cimport uint8_t

from mpcore.mptcp.types cimport conn_t, subflow_t


# 4 or 16 octets; ValueError otherwise.
cdef int copy_address(uint8_t *out, bytes address) except -1
# From an `actions.OpenConnection`.
cdef int fill_connection(conn_t *conn, object effect, object idsn_local, object idsn_remote,
                         object now_ns) except -1
# From an `actions.OpenConnection` or `actions.SubflowReady`.
cdef int fill_subflow(subflow_t *subflow, object effect, object now_ns) except -1

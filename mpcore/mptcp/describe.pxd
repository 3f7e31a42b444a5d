"""What is known of a connection, for the status document and for tests."""

from mpcore.mptcp.types cimport conn_t, plane_t
from mpcore.store.packet cimport transmit_t


# A dict of plain values; sizes are octets, times nanoseconds.
cdef dict describe_connection(const conn_t *conn)
# The counters in the order of mpcore.counters; `live` connections are established.
cdef list describe_counters(const plane_t *plane, int live)
# What is held now: chunks, events, packets not sent, carriers on hold.
cdef dict describe_memory(const plane_t *plane)
# A packet to be sent, whole.
cdef bytes packet_bytes(const transmit_t *slot)
# Contradictions in the connection's state, each in a few words: for tests, where there must be none.
cdef list describe_faults(const conn_t *conn)

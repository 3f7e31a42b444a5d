"""What is known of a connection, for the status document and for tests."""

from mpcore.mptcp.types cimport conn_t


# A dict of plain values; sizes are octets, times nanoseconds.
cdef dict describe_connection(const conn_t *conn)
# Contradictions in the connection's state, each in a few words: for tests, where there must be none.
cdef list describe_faults(const conn_t *conn)

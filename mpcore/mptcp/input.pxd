"""A segment that arrived on a subflow: TCP's checks, MPTCP's options, data."""

from mpcore.mptcp.types cimport conn_t, plane_t, subflow_t
from mpcore.wire.tcp cimport tcp_t


cdef enum:
    INPUT_CONSUMED = 0
    INPUT_FALL_BACK = 1        # plain TCP from this segment on: let it through untouched


# `marked`: a router said by the IP header that it is congested (CE).
cdef int subflow_input(plane_t *plane, conn_t *conn, subflow_t *subflow, const tcp_t *tcp,
                       int marked) noexcept nogil

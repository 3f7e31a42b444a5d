"""F-RTO (RFC 5682): whether a timeout had a cause, where no time stamps tell."""

from libc.stdint cimport uint64_t

from mpcore.mptcp.types cimport conn_t, segment_t, subflow_t


cdef enum:
    FRTO_OFF = 0
    FRTO_REPEATED = 1          # the oldest segment was sent again, its ACK is awaited
    FRTO_FORWARD = 2           # new data goes out in place of repeats, its fate decides


# The timer fired; `first`: not within the recovery from an earlier timeout.
cdef void frto_begin(subflow_t *subflow, int first) noexcept nogil
# `segment`, which counted as lost or in flight until now, has arrived.
cdef void frto_delivered(subflow_t *subflow, const segment_t *segment) noexcept nogil
# An ACK was read, which moved snd_una to `ack` (`advanced`) or not: 1 when it shows that nothing was lost.
cdef int frto_judge(const conn_t *conn, subflow_t *subflow, uint64_t ack, int advanced) noexcept nogil

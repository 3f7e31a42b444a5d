"""A scheduler in Python: what it is told, and what of its answer is believed.

It is called with a tuple of tuples (path index, local address, remote address, smoothed and least round trip
in nanoseconds, congestion window, octets in flight, segment size, backup, room), one a subflow.
"""

from cpython.exc cimport PyErr_SetInterrupt
from libc.stdint cimport uint8_t

from mpcore.mptcp.types cimport subflow_t


cdef tuple row(const subflow_t *subflow, int room):
    cdef int size = 4 if subflow.version == 4 else 16
    return (
        subflow.index, subflow.local[:size], subflow.remote[:size], subflow.srtt_ns, subflow.min_rtt_ns,
        subflow.cwnd, subflow.inflight, subflow.mss, bool(subflow.backup), bool(room),
    )


cdef int ask(object chooser, subflow_t **offered, const uint8_t *room, int total) except -1:
    cdef int i
    cdef int position = chooser(tuple([row(offered[i], room[i]) for i in range(total)]))
    if not 0 <= position < total:
        raise IndexError(f"a scheduler chose subflow {position} of {total}")
    return position


cdef int chooser_ask(void *chooser, subflow_t **offered, const uint8_t *room, int total) noexcept nogil:
    """Nothing that the program raises gets into the data plane; an interrupt is raised once that is left."""
    with gil:
        try:
            return ask(<object>chooser, offered, room, total)
        except KeyboardInterrupt:
            PyErr_SetInterrupt()
        except BaseException:
            pass
        return -1

"""A program of somebody else's that uses the compiled parts of mpcore through their headers."""

from libc.stdint cimport uint8_t, uint64_t

from mpcore.store.reorder cimport REORDER_GAPS, reorder_free, reorder_insert, reorder_new, reorder_t, span_t
from mpcore.wire.checksum cimport checksum_finish, sum_bytes
from mpcore.wire.tcp cimport TCP_OK, tcp_parse, tcp_t


def source_port(bytes segment):
    """Return the source port of a TCP segment, None when it is malformed."""
    cdef tcp_t tcp
    cdef const uint8_t *data = segment
    if tcp_parse(data, <uint64_t>len(segment), &tcp) != TCP_OK:
        return None
    return tcp.src_port


def checksum(bytes octets):
    """Return the Internet checksum."""
    cdef const uint8_t *data = octets
    return checksum_finish(sum_bytes(data, len(octets)))


def count_new(ranges):
    """Return how many numbers of the ranges were new when each came."""
    cdef reorder_t *queue = reorder_new(0, 16)
    cdef span_t gaps[REORDER_GAPS]
    cdef uint64_t start, end
    cdef int found, i
    total = 0
    for start, end in ranges:
        found = reorder_insert(queue, start, end, 0, gaps)
        for i in range(found):
            total += gaps[i].end - gaps[i].start
    reorder_free(queue)
    return total

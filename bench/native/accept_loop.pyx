"""mpcore's packet queue in a program of one's own: accept everything. Compiled when the benchmarks run."""

from mpcore.abi cimport mpcore_check_abi
from mpcore.host.nfqueue cimport PacketQueue
from mpcore.store.packet cimport VERDICT_PASS, packet_t

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long count, int timeout)
    short POLLIN

cdef enum:
    BATCH = 64

mpcore_check_abi()


def accept(PacketQueue queue, long count):
    """Accept `count` packets, or without end when it is negative; return how many there were."""
    cdef packet_t[BATCH] packets
    cdef long done = 0
    cdef int got, i
    cdef pollfd ready
    ready.fd = queue.fileno()
    ready.events = POLLIN
    with nogil:
        while count < 0 or done < count:
            got = queue.recv_batch(packets, BATCH)
            if got < 0:
                break
            if got == 0:
                if poll(&ready, 1, 2000) == 0 and count >= 0:
                    break
                continue
            for i in range(got):
                packets[i].verdict = VERDICT_PASS
            if queue.send_verdicts(packets, got) < 0:
                break
            done += got
    return done

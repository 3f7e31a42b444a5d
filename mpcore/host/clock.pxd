"""The monotonic clock, without Python."""

from libc.stdint cimport int64_t


cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *out)
    enum:
        CLOCK_MONOTONIC


cdef inline int64_t clock_ns() noexcept nogil:
    """Return the clock of the daemon and of the emulator, in nanoseconds."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec

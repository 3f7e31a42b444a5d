"""A scheduler in Python, asked for each segment; the GIL is taken only where a program brings one."""

from libc.stdint cimport uint8_t

from mpcore.mptcp.types cimport subflow_t


# Position in `offered` that the callable `chooser` picks, or -1 when it fails.
cdef int chooser_ask(void *chooser, subflow_t **offered, const uint8_t *room, int total) noexcept nogil

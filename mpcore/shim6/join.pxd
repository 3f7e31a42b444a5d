"""Segments of one TCP connection that came together go up as one packet, as the kernel's GRO has it.

The kernel cannot do so itself behind a header that it does not know. Each packet that is handed up costs a
verdict with its content, a pass through TCP, and for every second one an acknowledgement that is rewritten
at both ends.
"""

from libc.stdint cimport uint32_t, uint64_t

from mpcore.store.packet cimport packet_t


cdef enum:
    JOIN_RUNS = 8              # connections whose segments may alternate in a batch
    JOINED_MAX = 64000         # octets of a packet: with headers and bookkeeping, 64 KiB of kernel memory


# Appends to packets [start, count) from the network that are VERDICT_REWRITE what follows directly in the
# same connection; that one gets VERDICT_DROP. Bytes are written up to the `limit` of the packet that goes up,
# whose checksum is then right exactly if those of its parts were. Returns how many packets joined others.
cdef uint64_t segments_join(packet_t *packets, uint32_t start, uint32_t count) noexcept nogil

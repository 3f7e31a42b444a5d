"""A tool of somebody else's: reassembly, checksums, parsing and rewriting without Python objects."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from mpcore.abi cimport mpcore_check_abi, mpcore_sizes
from mpcore.store.reorder cimport (
    REORDER_GAPS, REORDER_SHORTCUTS, reorder_advance, reorder_empty, reorder_free, reorder_insert,
    reorder_new, reorder_t, span_t,
)
from mpcore.store.ring cimport (
    chunk_pool_t, pool_clear, pool_init, ring_clear, ring_init, ring_pieces, ring_t, ring_write,
)
from mpcore.wire.batch cimport packets_parse, packets_t
from mpcore.wire.checksum cimport checksum_finish, sum_bytes
from mpcore.wire.ip cimport IP_OK, ip_parse, ip_t
from mpcore.wire.mptcp cimport MP_DSS, mptcp_parse, mptcp_t
from mpcore.wire.packet cimport headers_t
from mpcore.wire.rewrite cimport shim6_flow_t, shim6_insert
from mpcore.wire.tcp cimport TCP_OK, tcp_parse, tcp_t

mpcore_check_abi()


def sizes():
    return mpcore_sizes()


def checksum(bytes data):
    return checksum_finish(sum_bytes(data, len(data)))


def in_order(list ranges, uint64_t expected):
    """Insert the (start, end) `ranges`; the number expected next, and whether anything is left."""
    cdef span_t gaps[REORDER_GAPS]
    cdef reorder_t *queue = reorder_new(REORDER_SHORTCUTS, 64)
    try:
        for start, end in ranges:
            reorder_insert(queue, start, end, 0, gaps)
        expected = reorder_advance(queue, expected)
        return expected, bool(reorder_empty(queue))
    finally:
        reorder_free(queue)


def data_sequence(bytes packet):
    """The data sequence number of a packet's DSS option, or None."""
    cdef ip_t ip
    cdef tcp_t tcp
    cdef mptcp_t mptcp
    if ip_parse(packet, <uint32_t>len(packet), &ip) != IP_OK:
        return None
    if tcp_parse(<const uint8_t *>packet + ip.header_size, ip.total_size - ip.header_size, &tcp) != TCP_OK:
        return None
    mptcp_parse(&tcp, &mptcp)
    return mptcp.data_seq if mptcp.seen & (1 << MP_DSS) else None


def destination_ports(bytes first, bytes second):
    cdef packets_t packets
    cdef uint64_t offsets[2]
    cdef uint32_t sizes[2]
    cdef headers_t headers[2]
    both = first + second
    offsets[0], offsets[1] = 0, len(first)
    sizes[0], sizes[1] = len(first), len(second)
    packets.data, packets.size, packets.count = both, len(both), 2
    packets.offsets, packets.sizes = offsets, sizes
    packets_parse(&packets, headers)
    return headers[0].dst_port, headers[1].dst_port


def shimmed(bytes packet, uint64_t tag):
    cdef uint8_t out[2048]
    cdef shim6_flow_t flow
    cdef int64_t size
    memset(&flow, 0, sizeof(flow))
    flow.tag = tag
    size = shim6_insert(packet, <uint32_t>len(packet), &flow, out, sizeof(out))
    return out[:size] if size > 0 else None


def through_a_ring(bytes data, uint64_t offset):
    """`data` written to a ring at `offset` and read back."""
    cdef chunk_pool_t pool
    cdef ring_t ring
    cdef const uint8_t *piece[2]
    cdef uint32_t piece_size[2]
    cdef int count, i
    if pool_init(&pool, 4) < 0 or ring_init(&ring, &pool, 1 << 17, offset) < 0:
        raise MemoryError
    try:
        ring_write(&ring, offset, data, <uint32_t>len(data))
        count = ring_pieces(&ring, offset, <uint32_t>len(data), piece, piece_size)
        return b"".join([piece[i][:piece_size[i]] for i in range(count)])
    finally:
        ring_clear(&ring)
        pool_clear(&pool)

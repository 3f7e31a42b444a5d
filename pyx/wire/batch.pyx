"""Batches of packets; the work of a batch runs without the GIL."""

cimport cython
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdlib cimport free, malloc

import numpy as np

from mpcore.wire.checksum cimport checksum_finish, sum_bytes
from mpcore.wire.packet cimport HEADERS_OK, headers_parse
from mpcore.wire.rewrite cimport (
    REWRITE_MALFORMED, REWRITE_OK, SHIM6_HEADER_SIZE, Shim6Flow, TcpRewrite, shim6_flow_t, shim6_insert,
    shim6_remove, shim6_tag, tcp_rewrite, tcp_rewrite_t,
)

cdef enum:
    OPTIONS_MAX = 40


cdef uint64_t packets_parse(const packets_t *packets, headers_t *out) noexcept nogil:
    cdef uint64_t i, good = 0
    cdef uint32_t size
    cdef const uint8_t *data
    for i in range(packets.count):
        data = packet_at(packets, i, &size)
        good += headers_parse(data, size, &out[i]) == HEADERS_OK
    return good


cdef void packets_checksum(const packets_t *packets, uint16_t *out) noexcept nogil:
    cdef uint64_t i
    cdef uint32_t size
    cdef const uint8_t *data
    for i in range(packets.count):
        data = packet_at(packets, i, &size)
        out[i] = checksum_finish(sum_bytes(data, size))


cdef void packets_shim6_tags(const packets_t *packets, int64_t *out) noexcept nogil:
    cdef uint64_t i
    cdef uint32_t size
    cdef const uint8_t *data
    for i in range(packets.count):
        data = packet_at(packets, i, &size)
        out[i] = shim6_tag(data, size)


cdef uint64_t packets_rewrite(const packets_t *packets, rewriter_t rewrite, const void *what, uint64_t stride,
                              uint64_t what_count, const uint32_t *index, rewritten_t *out) noexcept nogil:
    cdef uint64_t i, chosen, at = 0, good = 0
    cdef uint32_t size
    cdef const uint8_t *data
    cdef int64_t result
    for i in range(packets.count):
        data = packet_at(packets, i, &size)
        chosen = index[i] if index != NULL else 0
        if chosen < what_count:
            result = rewrite(data, size, <const uint8_t *>what + chosen * stride, out.data + at,
                             <uint32_t>min(out.size - at, <uint64_t>0xffffffff))
        else:
            result = REWRITE_MALFORMED
        out.offsets[i] = at
        out.sizes[i] = <uint32_t>result if result > 0 else 0
        out.statuses[i] = <int8_t>result if result < 0 else REWRITE_OK
        if result > 0:
            at += <uint64_t>result
            good += 1
    return good


def _headers_dtype():
    """The layout of `headers_t`, taken from the compiler, so that the two cannot differ."""
    cdef headers_t h
    cdef char *base = <char *>&h
    fields = {
        "src": ("(16,)u1", <char *>&h.src - base), "dst": ("(16,)u1", <char *>&h.dst - base),
        "total_size": ("u4", <char *>&h.total_size - base),
        "payload_at": ("u4", <char *>&h.payload_at - base),
        "payload_size": ("u4", <char *>&h.payload_size - base),
        "seq": ("u4", <char *>&h.seq - base), "ack": ("u4", <char *>&h.ack - base),
        "ts_val": ("u4", <char *>&h.ts_val - base), "ts_ecr": ("u4", <char *>&h.ts_ecr - base),
        "sack": ("(4,2)u4", <char *>&h.sack - base),
        "src_port": ("u2", <char *>&h.src_port - base), "dst_port": ("u2", <char *>&h.dst_port - base),
        "tcp_at": ("u2", <char *>&h.tcp_at - base), "window": ("u2", <char *>&h.window - base),
        "checksum": ("u2", <char *>&h.checksum - base), "urgent": ("u2", <char *>&h.urgent - base),
        "has": ("u2", <char *>&h.has - base), "mss": ("u2", <char *>&h.mss - base),
        "mptcp_at": ("(4,)u2", <char *>&h.mptcp_at - base),
        "mptcp_size": ("(4,)u1", <char *>&h.mptcp_size - base),
        "mptcp_count": ("u1", <char *>&h.mptcp_count - base),
        "sack_count": ("u1", <char *>&h.sack_count - base), "wscale": ("u1", <char *>&h.wscale - base),
        "flags": ("u1", <char *>&h.flags - base), "status": ("i1", <char *>&h.status - base),
        "version": ("u1", <char *>&h.version - base), "protocol": ("u1", <char *>&h.protocol - base),
        "tos": ("u1", <char *>&h.tos - base), "ttl": ("u1", <char *>&h.ttl - base),
    }
    return np.dtype({
        "names": list(fields),
        "formats": [form for form, _ in fields.values()],
        "offsets": [offset for _, offset in fields.values()],
        "itemsize": sizeof(headers_t),
    })


HEADERS_DTYPE = _headers_dtype()


@cython.final
cdef class PacketBatch:
    """Packets in one `buffer`: packet i is the `sizes[i]` bytes from `offsets[i]` on.

    Made from any contiguous buffer and two arrays of one length (converted to uint64 and uint32 where they
    are not), or by `of`. A packet that does not lie within the buffer is handled as one of 0 bytes.
    `statuses` tells for results of a rewrite which packets failed, and is 0 elsewhere.

    Thread-safety: may be shared while nobody writes to the buffers; the work on a batch releases the GIL.
    """

    def __cinit__(self, buffer not None, offsets, sizes):
        self.buffer = buffer
        self.offsets = np.ascontiguousarray(offsets, dtype=np.uint64)
        self.sizes = np.ascontiguousarray(sizes, dtype=np.uint32)
        if self.offsets.ndim != 1 or self.offsets.shape != self.sizes.shape:
            raise ValueError("offsets and sizes must be arrays of one dimension and length")
        self.statuses = np.zeros(len(self.offsets), dtype=np.int8)
        for array in (buffer, self.offsets, self.sizes, self.statuses):
            flags = PyBUF_SIMPLE if self.held < 3 else PyBUF_WRITABLE
            PyObject_GetBuffer(array, &self.views[self.held], flags)
            self.held += 1
        self.packets.data = <const uint8_t *>self.views[0].buf
        self.packets.size = <uint64_t>self.views[0].len
        self.packets.offsets = <const uint64_t *>self.views[1].buf
        self.packets.sizes = <const uint32_t *>self.views[2].buf
        self.packets.count = <uint64_t>self.views[1].len // 8

    def __dealloc__(self):
        cdef int i
        for i in range(self.held):
            PyBuffer_Release(&self.views[i])

    @staticmethod
    def of(packets):
        """Return a batch with copies of these packets, bytes-like objects."""
        parts = [bytes(memoryview(packet)) for packet in packets]
        sizes = np.array([len(part) for part in parts], dtype=np.uint32)
        offsets = np.zeros(len(parts), dtype=np.uint64)
        np.cumsum(sizes[:max(0, len(parts) - 1)], dtype=np.uint64, out=offsets[1:])
        return PacketBatch(b"".join(parts), offsets, sizes)

    @staticmethod
    def room(uint64_t count, uint64_t size):
        """Return an empty batch for the results of rewriting `count` packets to `size` bytes in all."""
        return PacketBatch(np.zeros(size, dtype=np.uint8), np.zeros(count, dtype=np.uint64),
                           np.zeros(count, dtype=np.uint32))

    def __len__(self):
        return self.packets.count

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, Py_ssize_t i):
        cdef uint32_t size
        cdef const uint8_t *data
        cdef Py_ssize_t count = <Py_ssize_t>self.packets.count
        if i < 0:
            i += count
        if not 0 <= i < count:
            raise IndexError(f"the batch has {count} packets")
        data = packet_at(&self.packets, <uint64_t>i, &size)
        return (<const char *>data)[:size]


def parse_batch(PacketBatch batch not None, out=None):
    """Return the headers of all packets as an array of HEADERS_DTYPE; `status` tells which are whole.

    `out`, an array of HEADERS_DTYPE with at least as many elements, saves the allocation;
    ValueError where it is none. Fields are numbers in the machine's order, offsets and sizes in octets.
    """
    cdef Py_buffer view
    if out is None:
        out = np.empty(len(batch), dtype=HEADERS_DTYPE)
    if out.dtype != HEADERS_DTYPE or out.ndim != 1 or len(out) < len(batch):
        raise ValueError(f"out must be an array of HEADERS_DTYPE with at least {len(batch)} elements")
    PyObject_GetBuffer(out, &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
    with nogil:
        packets_parse(&batch.packets, <headers_t *>view.buf)
    PyBuffer_Release(&view)
    return out[:len(batch)]


def checksum_batch(PacketBatch batch not None):
    """Return the Internet checksum of each packet's bytes (RFC 1071), an array of uint16."""
    cdef Py_buffer view
    out = np.empty(len(batch), dtype=np.uint16)
    PyObject_GetBuffer(out, &view, PyBUF_WRITABLE)
    with nogil:
        packets_checksum(&batch.packets, <uint16_t *>view.buf)
    PyBuffer_Release(&view)
    return out


def context_tags(PacketBatch batch not None):
    """Return the Shim6 context tag of each packet, an array of int64; negative where there is none."""
    cdef Py_buffer view
    out = np.empty(len(batch), dtype=np.int64)
    PyObject_GetBuffer(out, &view, PyBUF_WRITABLE)
    with nogil:
        packets_shim6_tags(&batch.packets, <int64_t *>view.buf)
    PyBuffer_Release(&view)
    return out


cdef uint32_t *_index_of(object index, PacketBatch batch, list keep) except? NULL:
    """The array `index` as C, kept alive in `keep`; NULL for None."""
    cdef const uint32_t[::1] view
    if index is None:
        return NULL
    array = np.ascontiguousarray(index, dtype=np.uint32)
    if array.ndim != 1 or len(array) != len(batch):
        raise ValueError("index must have one element for each packet")
    keep.append(array)
    view = array
    return <uint32_t *>&view[0] if len(array) else NULL


cdef _run(PacketBatch batch, rewriter_t rewrite, const void *what, size_t stride, size_t what_count,
          object index, PacketBatch out, uint64_t growth):
    """Rewrite into `out`, or a batch made for it where every packet grows by `growth` at most."""
    cdef list keep = []
    cdef const uint32_t *chosen = _index_of(index, batch, keep)
    cdef rewritten_t result
    if out is None:
        out = PacketBatch.room(len(batch), int(batch.sizes.sum(dtype=np.uint64)) + growth * len(batch))
    if out is batch or out.packets.count != batch.packets.count or out.views[0].readonly:
        raise ValueError("out must be another batch with as many packets and a writable buffer")
    result.data = <uint8_t *>out.packets.data
    result.size = out.packets.size
    result.offsets = <uint64_t *>out.packets.offsets
    result.sizes = <uint32_t *>out.packets.sizes
    result.statuses = <int8_t *>out.views[3].buf
    with nogil:
        packets_rewrite(&batch.packets, rewrite, what, stride, what_count, chosen, &result)
    return out


cdef _run_flows(PacketBatch batch, rewriter_t rewrite, flows, index, PacketBatch out, uint64_t growth):
    cdef list chosen = list(flows)
    cdef size_t i, count = len(chosen)
    cdef shim6_flow_t *table
    for flow in chosen:
        if not isinstance(flow, Shim6Flow):
            raise TypeError("flows must be Shim6Flow objects")
    table = <shim6_flow_t *>malloc((count + 1) * sizeof(shim6_flow_t))
    if table == NULL:
        raise MemoryError
    try:
        for i in range(count):
            table[i] = (<Shim6Flow>chosen[i]).flow
        return _run(batch, rewrite, table, sizeof(shim6_flow_t), count, index, out, growth)
    finally:
        free(table)


def shim6_insert_batch(PacketBatch batch not None, flows, index=None, PacketBatch out=None):
    """Return the packets with a Shim6 payload extension header each; see `Shim6Flow.insert`.

    Packet i gets the addresses and the tag of flows[index[i]], or of the one flow without `index`. Where
    `statuses` of the result is negative, the packet could not be rewritten and has no bytes there. `out`
    (see `PacketBatch.room`) saves the allocation.

    Raises:
        ValueError: `index` has not one element for each packet, or `out` is `batch` itself, is read-only or
            holds another number of packets
        TypeError: a flow is no Shim6Flow
    """
    return _run_flows(batch, <rewriter_t>shim6_insert, flows, index, out, SHIM6_HEADER_SIZE)


def shim6_remove_batch(PacketBatch batch not None, flows, index=None, PacketBatch out=None):
    """Return the packets without their Shim6 payload extension headers; see `shim6_insert_batch`."""
    return _run_flows(batch, <rewriter_t>shim6_remove, flows, index, out, 0)


def rewrite_batch(PacketBatch batch not None, rules, index=None, PacketBatch out=None):
    """Return the packets as `TcpRewrite.apply` of rules[index[i]] gives them; see `shim6_insert_batch`."""
    cdef list chosen = list(rules)
    cdef size_t i, count = len(chosen)
    cdef tcp_rewrite_t *table
    for rule in chosen:
        if not isinstance(rule, TcpRewrite):
            raise TypeError("rules must be TcpRewrite objects")
    table = <tcp_rewrite_t *>malloc((count + 1) * sizeof(tcp_rewrite_t))
    if table == NULL:
        raise MemoryError
    try:
        for i in range(count):
            table[i] = (<TcpRewrite>chosen[i]).rule
        return _run(batch, <rewriter_t>tcp_rewrite, table, sizeof(tcp_rewrite_t), count, index, out,
                    OPTIONS_MAX)
    finally:
        free(table)

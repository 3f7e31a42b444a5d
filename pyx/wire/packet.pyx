"""Headers of one packet: the C function that batches use, and a Python object over its result."""

cimport cython
from libc.string cimport memcpy, memset

from mpcore.wire.ip cimport IP_FRAGMENT, IP_OK, IP_TRUNCATED, PROTOCOL_TCP, ip_parse, ip_t
from mpcore.wire.tcp cimport (
    TCP_HAS_MPTCP, TCP_HAS_MSS, TCP_HAS_SACK_PERMITTED, TCP_HAS_TIMESTAMP, TCP_HAS_WSCALE, TCP_OK,
    TCP_TRUNCATED, tcp_checksum_ok, tcp_parse, tcp_t,
)

from mpcore.errors import WireError
from mpcore.wire.codec import parse_options


cdef void _take_ip(const uint8_t *data, const ip_t *ip, headers_t *out) noexcept nogil:
    if ip.version == 4:
        memcpy(out.src, ip.src, 4)
        memcpy(out.dst, ip.dst, 4)
    else:
        memcpy(out.src, ip.src, 16)
        memcpy(out.dst, ip.dst, 16)
    out.version = ip.version
    out.protocol = ip.protocol
    out.tos = ip.tos
    out.ttl = ip.ttl
    out.total_size = ip.total_size
    out.payload_at = ip.header_size
    out.payload_size = ip.total_size - ip.header_size


cdef void _take_tcp(const uint8_t *data, const tcp_t *tcp, headers_t *out) noexcept nogil:
    cdef uint32_t i
    out.tcp_at = <uint16_t>out.payload_at
    out.payload_at += tcp.header_size
    out.payload_size = tcp.payload_size
    out.src_port = tcp.src_port
    out.dst_port = tcp.dst_port
    out.seq = tcp.seq
    out.ack = tcp.ack
    out.flags = tcp.flags
    out.window = tcp.window
    out.checksum = tcp.checksum
    out.urgent = tcp.urgent
    out.has = tcp.has
    out.mss = tcp.mss
    out.wscale = tcp.wscale
    out.ts_val = tcp.ts_val
    out.ts_ecr = tcp.ts_ecr
    out.sack_count = tcp.sack_count
    for i in range(tcp.sack_count):
        out.sack[2 * i] = tcp.sack_start[i]
        out.sack[2 * i + 1] = tcp.sack_end[i]
    out.mptcp_count = tcp.mptcp_count
    for i in range(tcp.mptcp_count):
        out.mptcp_at[i] = <uint16_t>(tcp.mptcp[i] - data)
        out.mptcp_size[i] = tcp.mptcp_size[i]


cdef int headers_parse(const uint8_t *data, uint32_t size, headers_t *out) noexcept nogil:
    cdef ip_t ip
    cdef tcp_t tcp
    cdef int status
    memset(out, 0, sizeof(headers_t))
    status = ip_parse(data, size, &ip)
    if status != IP_OK:
        out.status = (HEADERS_TRUNCATED if status == IP_TRUNCATED
                      else HEADERS_FRAGMENT if status == IP_FRAGMENT else HEADERS_MALFORMED)
        return out.status
    if ip.protocol == PROTOCOL_TCP:
        status = tcp_parse(data + ip.header_size, ip.total_size - ip.header_size, &tcp)
        if status != TCP_OK:
            out.status = HEADERS_TRUNCATED if status == TCP_TRUNCATED else HEADERS_MALFORMED
            return out.status
        _take_ip(data, &ip, out)
        _take_tcp(data, &tcp, out)
    else:
        _take_ip(data, &ip, out)
        out.status = HEADERS_OTHER
    return out.status


STATUS_NAMES = {
    HEADERS_OK: "ok",
    HEADERS_TRUNCATED: "truncated",
    HEADERS_MALFORMED: "malformed",
    HEADERS_FRAGMENT: "a fragment",
    HEADERS_OTHER: "not TCP",
}


@cython.final
@cython.freelist(64)
cdef class Packet:
    """An IP packet whose headers are parsed at once and turned into Python values when they are asked for.

    Made by `Packet.parse`. It keeps the bytes alive and never changes. Of a packet that is not TCP, the
    properties of TCP are 0, None or empty. Thread-safety: may be shared.
    """

    @staticmethod
    def parse(data not None):
        """Return the packet at the start of `data`, which begins with an IP header.

        Raises WireError when the packet is cut short, malformed or a fragment.
        """
        cdef Packet packet = Packet.__new__(Packet)
        packet.data = data if type(data) is bytes else bytes(memoryview(data))
        if headers_parse(packet.data, <uint32_t>min(len(packet.data), 0xffffffff), &packet.headers) < 0:
            if packet.headers.status != HEADERS_OTHER:
                raise WireError(f"the packet is {STATUS_NAMES[packet.headers.status]}")
        return packet

    cdef bytes field(self, size_t offset, size_t size):
        """Bytes of the packet; the range was checked when it was parsed."""
        return (<const char *>self.data)[offset:offset + size]

    @property
    def is_tcp(self):
        """Tell whether the properties of TCP have a meaning."""
        return self.headers.status == HEADERS_OK

    @property
    def version(self):
        """Return 4 or 6."""
        return self.headers.version

    @property
    def src(self):
        """Return the source address, 4 or 16 raw octets."""
        return self.headers.src[:4 if self.headers.version == 4 else 16]

    @property
    def dst(self):
        """Return the destination address, 4 or 16 raw octets."""
        return self.headers.dst[:4 if self.headers.version == 4 else 16]

    @property
    def protocol(self):
        """Return the upper layer's protocol number, behind IPv6 extension headers."""
        return self.headers.protocol

    @property
    def tos(self):
        """Return the octet of DS field and ECN."""
        return self.headers.tos

    @property
    def ttl(self):
        """Return the time to live, or the hop limit."""
        return self.headers.ttl

    @property
    def total_size(self):
        """Return the packet's bytes by its own header; `data` may have more."""
        return self.headers.total_size

    @property
    def src_port(self):
        """Return the source port."""
        return self.headers.src_port

    @property
    def dst_port(self):
        """Return the destination port."""
        return self.headers.dst_port

    @property
    def seq(self):
        """Return the sequence number."""
        return self.headers.seq

    @property
    def ack(self):
        """Return the acknowledgement number, meaningful with the flag ACK."""
        return self.headers.ack

    @property
    def flags(self):
        """Return the octet of flags, FIN 0x01 to CWR 0x80."""
        return self.headers.flags

    @property
    def window(self):
        """Return the window as on the wire, unscaled."""
        return self.headers.window

    @property
    def checksum(self):
        """Return TCP's checksum field."""
        return self.headers.checksum

    @property
    def urgent(self):
        """Return the urgent pointer."""
        return self.headers.urgent

    @property
    def payload(self):
        """Return what TCP carries, or the whole upper layer of another protocol."""
        return self.field(self.headers.payload_at, self.headers.payload_size)

    @property
    def option_bytes(self):
        """Return the TCP options as they stand in the header, padding included."""
        if self.headers.status != HEADERS_OK:
            return b""
        return self.field(self.headers.tcp_at + 20, self.headers.payload_at - self.headers.tcp_at - 20)

    @property
    def options(self):
        """Return the TCP options as values of `mpcore.wire.values`; WireError on impossible lengths."""
        return parse_options(self.option_bytes)

    @property
    def mss(self):
        """Return the maximum segment size option, or None."""
        return self.headers.mss if self.headers.has & TCP_HAS_MSS else None

    @property
    def wscale(self):
        """Return the window scale option's shift, or None."""
        return self.headers.wscale if self.headers.has & TCP_HAS_WSCALE else None

    @property
    def sack_permitted(self):
        """Tell whether the option SACK-permitted is there."""
        return bool(self.headers.has & TCP_HAS_SACK_PERMITTED)

    @property
    def timestamps(self):
        """Return (value, echo) of the timestamps option, or None."""
        return (self.headers.ts_val, self.headers.ts_ecr) if self.headers.has & TCP_HAS_TIMESTAMP else None

    @property
    def sack(self):
        """Return the blocks of the SACK option as pairs (start, end)."""
        return tuple([(self.headers.sack[2 * i], self.headers.sack[2 * i + 1])
                      for i in range(self.headers.sack_count)])

    @property
    def is_mptcp(self):
        """Tell whether there is an MPTCP option."""
        return bool(self.headers.has & TCP_HAS_MPTCP)

    @property
    def mptcp(self):
        """Return the MPTCP options, at most four, as bytes that `parse_mptcp_option` takes."""
        return tuple([self.field(self.headers.mptcp_at[i], self.headers.mptcp_size[i])
                      for i in range(self.headers.mptcp_count)])

    def checksum_ok(self):
        """Tell whether TCP's checksum is right; False for another protocol."""
        cdef const headers_t *headers = &self.headers
        if headers.status != HEADERS_OK:
            return False
        return bool(tcp_checksum_ok(headers.version, headers.src, headers.dst,
                                    <const uint8_t *>self.data + headers.tcp_at,
                                    headers.total_size - headers.tcp_at))

    def __repr__(self):
        return (f"Packet(version={self.version}, src={self.src.hex()}, dst={self.dst.hex()}, "
                f"protocol={self.protocol}, src_port={self.src_port}, dst_port={self.dst_port}, "
                f"total_size={self.total_size})")

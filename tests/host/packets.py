"""Whole IP packets made by hand, so that these tests lean on no other part of the package."""

import socket
import struct

from tests.helpers.reference import internet_checksum


def address_bytes(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def ip_header(src: bytes, dst: bytes, protocol: int, size: int) -> bytes:
    if len(src) == 16:
        return struct.pack("!IHBB", 6 << 28, size, protocol, 64) + src + dst
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 0, 0x4000, 64, protocol, 0) + src + dst
    return header[:10] + struct.pack("!H", internet_checksum(header)) + header[12:]


def with_checksum(src: bytes, dst: bytes, protocol: int, upper: bytes, offset: int) -> bytes:
    """`upper` with its checksum at `offset`, over the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1)."""
    cleared = upper[:offset] + b"\0\0" + upper[offset + 2 :]
    pseudo = src + dst + struct.pack("!IHBB", len(upper), 0, 0, protocol)
    value = internet_checksum(pseudo + cleared) or 0xFFFF
    return cleared[:offset] + struct.pack("!H", value) + cleared[offset + 2 :]


def udp_packet(src: str, src_port: int, dst: str, dst_port: int, payload: bytes) -> bytes:
    source, target = address_bytes(src), address_bytes(dst)
    upper = struct.pack("!HHHH", src_port, dst_port, 8 + len(payload), 0) + payload
    upper = with_checksum(source, target, socket.IPPROTO_UDP, upper, 6)
    return ip_header(source, target, socket.IPPROTO_UDP, len(upper)) + upper


def replace_payload(packet: bytes, old: bytes, new: bytes) -> bytes:
    """An IPv4 UDP packet with `old` in its payload replaced by `new`, all lengths and checksums right."""
    src, dst = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    src_port, dst_port = struct.unpack_from("!HH", packet, 20)
    return udp_packet(src, src_port, dst, dst_port, packet[28:].replace(old, new))

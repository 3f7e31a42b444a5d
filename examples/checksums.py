"""Checksum a packet, change one field, let the checksum follow, and repair a packet that is wrong.

It prints

    the checksum field says 0xb6d1, and it is right
    after the port changed: wrong
    followed by one update: right
    fixed from scratch: right
"""

from mpcore.wire.checksum import update16
from mpcore.wire.packet import Packet
from mpcore.wire.rewrite import fix_checksums
from mpcore.wire.values import Segment, emit_segment

CHECKSUM_AT = 20 + 16  # behind an IPv4 header without options


def verdict(packet: bytes) -> str:
    """Tell whether TCP's checksum is right."""
    return "right" if Packet.parse(packet).checksum_ok() else "wrong"


def main() -> None:
    """Change the destination port of a packet and mend its checksum in two ways."""
    segment = Segment(4, b"\n\0\0\1", b"\n\0\0\2", 1025, 80, 1, 1, 0x18, 500, (), b"GET / HTTP/1.0\r\n\r\n")
    packet = bytearray(emit_segment(segment))
    old = Packet.parse(packet).checksum
    print(f"the checksum field says {old:#06x}, and it is {verdict(packet)}")

    packet[22:24] = (8080).to_bytes(2, "big")
    print(f"after the port changed: {verdict(packet)}")

    packet[CHECKSUM_AT : CHECKSUM_AT + 2] = update16(old, 80, 8080).to_bytes(2, "big")
    print(f"followed by one update: {verdict(packet)}")

    packet[-1] = ord("!")
    fix_checksums(packet)
    print(f"fixed from scratch: {verdict(packet)}")


if __name__ == "__main__":
    main()

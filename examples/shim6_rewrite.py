"""Move packets of a Shim6 context to other locators and back, one by one and in a batch.

It prints

    on the way: 2001:db8:b::1 > 2001:db8:d::1, tag 0x5eed, 8 bytes more
    at the other end: as it was
    in a batch of 1000: all as they were
"""

import ipaddress

from mpcore.wire.batch import PacketBatch, shim6_insert_batch, shim6_remove_batch
from mpcore.wire.packet import Packet
from mpcore.wire.rewrite import Shim6Flow, context_tag
from mpcore.wire.values import Segment, emit_segment

ULIDS = [ipaddress.ip_address(text).packed for text in ("2001:db8:a::1", "2001:db8:c::1")]
LOCATORS = [ipaddress.ip_address(text).packed for text in ("2001:db8:b::1", "2001:db8:d::1")]


def main() -> None:
    """Insert the payload extension header at one end and remove it at the other."""
    packet = emit_segment(Segment(6, *ULIDS, 1025, 80, 1, 1, 0x18, 500, (), b"hello"))
    out, back = Shim6Flow(*LOCATORS, tag=0x5EED), Shim6Flow(*ULIDS)

    travelling = out.insert(packet)
    ends = " > ".join(str(ipaddress.ip_address(travelling[at : at + 16])) for at in (8, 24))
    print(f"on the way: {ends}, tag {context_tag(travelling):#x}, {len(travelling) - len(packet)} bytes more")
    arrived = back.remove(travelling)
    print(f"at the other end: {'as it was' if arrived == packet else 'damaged'}")
    assert Packet.parse(arrived).checksum_ok()  # it covers the ULIDs and never changed

    many = [packet] * 1000
    batch = shim6_remove_batch(shim6_insert_batch(PacketBatch.of(many), [out]), [back])
    print(f"in a batch of 1000: {'all as they were' if list(batch) == many else 'damaged'}")


if __name__ == "__main__":
    main()

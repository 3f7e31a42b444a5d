"""Where packets go first: real routes in a namespace, and messages made by hand."""

import ipaddress
import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from mpcore.host.next_hop import NextHop, NextHops
from mpcore.host.routes import HEADER, RTA_MULTIPATH, parse_route
from mpcore.host.rtnetlink import attribute
from tests.host.namespace import in_namespace, run


def packed(text: str) -> bytes:
    return ipaddress.IPv6Address(text).packed


@in_namespace
def test_the_kernel_tells_interface_and_router() -> None:
    run("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
    for name, number in (("one", 1), ("two", 2)):
        run("ip", "link", "set", name, "up")
        run("ip", "-6", "addr", "add", f"2001:db8:{number}::1/64", "dev", name, "nodad")
    run("ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "one")
    run("ip", "-6", "route", "add", "default", "via", "fe80::2", "dev", "two", "table", "5200")
    run("ip", "-6", "rule", "add", "from", "2001:db8:2::1", "lookup", "5200")
    one = NextHop(socket.if_nametoindex("one"), packed("fe80::1"))
    two = NextHop(socket.if_nametoindex("two"), packed("fe80::2"))
    hops = NextHops()
    first, second, far = packed("2001:db8:1::1"), packed("2001:db8:2::1"), packed("2001:db8:9::1")
    assert hops.of(first, far) == one
    assert hops.of(second, far) == two
    assert hops.of(first, packed("2001:db8:1::7")) == NextHop(one.interface_index, b"")
    assert hops.gateways() == {one, two}
    run("ip", "-6", "route", "del", "default", "dev", "one")
    assert hops.of(first, far) is None
    hops.close()


def test_a_multipath_route_has_several() -> None:
    inner = attribute(5, bytes(15) + b"\x01")
    hops = b"".join(struct.pack("=HBBi", 8 + len(inner), 0, 0, index) + inner for index in (2, 3))
    body = struct.pack("=8BI", socket.AF_INET6, 0, 0, 0, 254, 0, 0, 1, 0) + attribute(RTA_MULTIPATH, hops)
    assert [route.interface_index for route in parse_route(body)] == [2, 3]


@given(st.binary(min_size=HEADER.size, max_size=80))
def test_no_message_does_harm(body: bytes) -> None:
    list(parse_route(body))

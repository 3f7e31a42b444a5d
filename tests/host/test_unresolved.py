"""Neighbours that the kernel looks for in vain, in a namespace of real ones."""

import socket

from mpcore.host.unresolved import forget_unresolved
from mpcore.lab.wait import wait_until
from tests.host.namespace import in_namespace, run

PEER, OTHER = "2001:db8::2", "2001:db8::3"


def incomplete(address: str) -> bool:
    return "INCOMPLETE" in run("ip", "-6", "neigh", "show", "to", address)


@in_namespace
def test_only_the_search_for_these_ends() -> None:
    run("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
    for name in ("one", "two"):
        run("ip", "link", "set", name, "up")
    run("ip", "-6", "addr", "add", "2001:db8::1/64", "dev", "one", "nodad")
    run("ip", "-6", "neigh", "add", "2001:db8::4", "lladdr", "02:00:00:00:00:04", "dev", "one")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        for address in (PEER, OTHER):
            sender.sendto(b"", (address, 9))
            wait_until(lambda address=address: incomplete(address), "the search")  # type: ignore[misc]
        peers = [socket.inet_pton(socket.AF_INET6, one) for one in (PEER, "2001:db8::4", "2001:db8::5")]
        forget_unresolved(peers)
        assert not incomplete(PEER)
        assert incomplete(OTHER)
        assert "lladdr" in run("ip", "-6", "neigh", "show", "to", "2001:db8::4")
        forget_unresolved(())

"""Shim6 between hosts with three prefixes each, nine pairs of locators, on real kernels."""

from pathlib import Path

import pytest

from mpcore.lab.wait import wait_until
from tests.kernel.shim6_pair import Shim6Pair, asks, connect, contexts, shim6_pair, swap, talks
from tests.kernel.support import Daemon

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("towards", ["a", "b"])
def test_a_transfer_outlives_two_paths_of_three(tmp_path: Path, towards: str) -> None:
    """RFC 5534 §4.3: whichever pair fails, one that works carries on; one direction fails, then both."""
    with shim6_pair(tmp_path, links=3) as pair:
        client, server = connect(pair)
        with client, server, talks(pair) as (asker, listener, _):
            swap(client, server, bytes(5000))
            wait_until(pair.established, "a context at both ends")
            assert len(locators(pair.a)) == len(locators(pair.b)) == 3
            swap(client, server, bytes(50_000))
            cut = []
            for hosts in ((pair.lab.a if towards == "a" else pair.lab.b,), pair.lab.hosts):
                cut.append(link_in_use(pair, towards))
                pair.lab.links[cut[-1]].cut(*hosts)
                wait_until(lambda: asks(asker, listener, b"after"), "UDP to go on")
                swap(client, server, bytes(50_000))
            assert len(set(cut)) == 2
            wait_until(lambda: link_in_use(pair, towards) not in cut, "the only path that is left")
            swap(client, server, bytes(50_000))
            assert client.getpeername()[0] == pair.ulid_b


def locators(daemon: Daemon) -> list[str]:
    """Return the locators that the only context of a host has of its peer."""
    (context,) = contexts(daemon)
    found: list[str] = context["locators_peer"]
    return found


def link_in_use(pair: Shim6Pair, towards: str) -> int:
    """Return the index of the link by which packets reach the hosts that the cut is `towards`."""
    sender, receiver = (pair.b, pair.hosts[0]) if towards == "a" else (pair.a, pair.hosts[1])
    (context,) = contexts(sender)
    return receiver.addresses.index(context["current_peer"])

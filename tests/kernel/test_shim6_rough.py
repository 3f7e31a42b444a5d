"""Shim6 over links that lose, double and reorder packets, on real kernels."""

from pathlib import Path

import pytest

from mpcore.lab.settings import LinkSettings
from mpcore.lab.wait import wait_until
from tests.kernel.shim6_pair import asks, connect, shim6_pair, swap, talks

pytestmark = pytest.mark.kernel
ROUGH = LinkSettings(rate_mbit=100, delay_ms=5, jitter_ms=2, loss=0.02, duplicate=0.05, reorder=0.05)


def test_conversations_survive_a_cut_on_rough_links(tmp_path: Path) -> None:
    """RFC 5533 §7, RFC 5534 §4: messages, probes and payload get lost, come twice and out of order."""
    with shim6_pair(tmp_path, link=ROUGH) as pair:
        client, server = connect(pair)
        with client, server, talks(pair) as (asker, listener, _):
            swap(client, server, bytes(20_000))
            wait_until(pair.established, "a context at both ends")
            swap(client, server, bytes(50_000))
            pair.lab.links[0].cut()
            wait_until(lambda: asks(asker, listener, b"after"), "UDP to go on")
            swap(client, server, bytes(50_000))
            wait_until(pair.moved, "both hosts to move")
            swap(client, server, bytes(200_000))
            assert client.getpeername()[0] == pair.ulid_b

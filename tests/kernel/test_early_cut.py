"""A path goes silently while an upload to Linux has hardly begun: its receiver must not fill up for ever.

Windows count payload and Linux's memory counts whole buffers: what waits behind a gap may take all of it, so
that the data which would fill the gap finds no place in the subflow's queue, and nothing moves any more. Part
of the window stays unused for that (`stream_room`); without that, about one cut in twelve hung.
"""

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mpcore.lab.pattern import pattern
from mpcore.lab.topology import Lab
from tests.helpers.netns import make_lab
from tests.kernel.support import Daemon, connect, receive_all, running

pytestmark = pytest.mark.kernel

RATE_MBIT = 200
DATA = b"".join(pattern(5, 8_000_000))  # 0.2 s on both links, 0.4 s on one
CUTS = int(os.environ.get("MPCORE_CUTS", "8"))  # more of them: MPCORE_CUTS=60
FIRST_S, LAST_S = 0.005, 0.060


@pytest.fixture(scope="module")
def hosts() -> Iterator[Lab]:
    with make_lab(RATE_MBIT, RATE_MBIT) as standing:
        yield standing


@pytest.fixture(scope="module")
def daemon(hosts: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Reno grows fastest, so that most is in flight when the path goes."""
    with running(hosts.a, tmp_path_factory.mktemp("daemon"), "mptcp.congestion='reno'") as started:
        yield started


def upload(client: socket.socket, server: socket.socket) -> bytes:
    """Send DATA and return what arrived."""
    with ThreadPoolExecutor(1) as pool:
        arrived = pool.submit(receive_all, server)
        client.sendall(DATA)
        client.shutdown(socket.SHUT_WR)
        return arrived.result()


def test_an_upload_goes_on_after_an_early_cut(hosts: Lab, daemon: Daemon) -> None:
    """RFC 8684 §3.3.5: the shared window must leave room for what fills a gap."""
    link = hosts.links[0]
    for number in range(CUTS):
        with connect(hosts, server_mptcp=True) as pair:
            # the time of the cut is what is varied, so it is by the clock
            cut = threading.Timer(FIRST_S + (LAST_S - FIRST_S) * number / CUTS, link.cut)
            cut.start()
            try:
                assert upload(pair.client, pair.server) == DATA
            finally:
                cut.join()
                link.restore()

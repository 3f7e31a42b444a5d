"""What the host's TCP hands down in one piece leaves in one piece, and nothing of it by itself."""

from pathlib import Path

import pytest

from tests.helpers.netns import make_lab
from tests.kernel.support import connect, exchange_both, kernel_peer, running, versions, wait_until

pytestmark = pytest.mark.kernel

BYTES = 100_000_000


@versions
def test_a_super_packet_leaves_as_one(tmp_path: Path, version: int) -> None:
    """Cut in two, the second part would have no packet of the host's to leave in."""
    with make_lab(None, None) as hosts, running(hosts.a, tmp_path) as daemon:
        pair = connect(hosts, version=version, **kernel_peer(False))
        wait_until(lambda: daemon.subflows() == 2, "the second subflow")
        daemon.mark()
        exchange_both(pair, BYTES, 0)
        moved = daemon.moved()
    assert moved["MpcoreExtCarried"] > BYTES // 65_536
    # a remainder would be several segments; what loss and pacing cut off on a busy machine is fewer
    assert moved.get("MpcoreExtTransmitNetwork", 0) < 2 * moved["MpcoreExtCarried"]

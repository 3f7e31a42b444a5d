"""The kernel's TCP below a program does not send again what mpcore has taken (RFC 8684 §3.3.6)."""

from pathlib import Path

import pytest

from tests.helpers.netns import make_lab
from tests.kernel.support import connect, exchange_both, kernel_peer, running, wait_until

pytestmark = pytest.mark.kernel

SEGMENT = 1420
BYTES = 50_000_000


def test_less_than_one_segment_of_ten_thousand_is_sent_again(tmp_path: Path) -> None:
    with make_lab(1000, 1000) as hosts, running(hosts.a, tmp_path) as daemon:
        pair = connect(hosts, **kernel_peer(False))
        wait_until(lambda: daemon.subflows() == 2, "the second subflow")
        daemon.mark()
        exchange_both(pair, BYTES, 0)
        again = daemon.moved().get("MpcoreExtHostRetransmit", 0)
    assert again * 10_000 < BYTES // SEGMENT

"""A path goes in the middle of a transfer: silently, with its link, with its address. Every byte arrives."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mpcore.lab.topology import Lab
from tests.helpers.netns import make_lab
from tests.kernel.support import Daemon, connect, exchange_both, kernel_peer, roles, running, wait_until

pytestmark = pytest.mark.kernel

BYTES = 10_000_000
EARLY = 1_000_000
SILENCE_S = 1.5  # several times what it takes to give a silent path up, far less than a program would mind

Failure = Callable[[Lab], None]


def cut(lab: Lab) -> None:
    lab.links[0].cut()


def down(lab: Lab) -> None:
    lab.links[0].down(lab.a)


def peer_down(lab: Lab) -> None:
    lab.links[0].down(lab.b)


def address(lab: Lab) -> None:
    lab.links[0].remove_address(lab.a)


@pytest.fixture
def hosts() -> Iterator[Lab]:
    """A laboratory that the test may break."""
    with make_lab(50, 50) as standing:
        yield standing


def survive(hosts: Lab, daemon: Daemon, failure: Failure, **ends: bool) -> None:
    """Let `failure` happen while data flows both ways over two links."""
    pair = connect(hosts, **ends)
    with ThreadPoolExecutor(1) as pool:
        transfer = pool.submit(exchange_both, pair, BYTES, BYTES)
        wait_until(
            lambda: any(
                each["bytes_received"] > EARLY and len(each["subflows"]) > 1 for each in daemon.connections()
            ),
            "data on two paths",
        )
        assert not transfer.done()
        failure(hosts)
        ends = transfer.result()
    print("longest silence", *(f"{end.silence_s:.3f} s" for end in ends))
    assert max(end.silence_s for end in ends) < SILENCE_S


@roles
@pytest.mark.parametrize("failure", [cut, down, peer_down, address])
def test_a_transfer_with_the_kernel_survives(
    hosts: Lab, tmp_path: Path, failure: Failure, to_a: bool
) -> None:
    """RFC 8684 §3.3.6: what a path has swallowed is sent on another one."""
    with running(hosts.a, tmp_path) as daemon:
        survive(hosts, daemon, failure, **kernel_peer(to_a))


@pytest.mark.parametrize("failure", [cut, down, address])
def test_a_transfer_between_two_daemons_survives(hosts: Lab, tmp_path: Path, failure: Failure) -> None:
    """RFC 8684 §3.3.6."""
    with running(hosts.a, tmp_path) as daemon, running(hosts.b, tmp_path):
        survive(hosts, daemon, failure)

"""Links that delay, lose and limit, between real hosts."""

import sys
from dataclasses import asdict, replace

import pytest

from mpcore.lab.bench.machine import describe_link
from mpcore.lab.commands import LabError
from mpcore.lab.emulation import netem_words
from mpcore.lab.measure import measure_goodput
from mpcore.lab.settings import LinkSettings
from mpcore.lab.topology import Lab
from mpcore.lab.wait import wait_until
from tests.helpers.netns import converse, needs_root

# Prints the shortest of many times that a refusal takes: one round trip each.
ROUND_TRIP = """
import contextlib, socket, sys, time
def once():
    begin = time.monotonic()
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection((sys.argv[1], 9), timeout=5)
    return time.monotonic() - begin
print(min(once() for _ in range(20)) * 1000)
"""
DATAGRAMS = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    for _ in range(int(sys.argv[2])):
        sender.sendto(bytes(100), (sys.argv[1], 9))
"""


def emulated(*links: LinkSettings) -> Lab:
    """Return a laboratory whose links this package emulates, also where the kernel could."""
    needs_root()
    return Lab(links, netem=False)


def round_trip_ms(lab: Lab, version: int) -> float:
    address = lab.links[0].address(lab.b, version)
    return float(lab.a.run([sys.executable, "-c", ROUND_TRIP, address]).stdout)


@pytest.mark.kernel
def test_a_round_trip_takes_twice_the_delay_over_ipv4_and_ipv6() -> None:
    with emulated(LinkSettings(delay_ms=20)) as lab:
        for version in (4, 6):
            assert 40 <= round_trip_ms(lab, version) < 50


@pytest.mark.kernel
def test_a_link_says_what_it_does_and_what_carries_it() -> None:
    """Figures mean nothing without: they stand in the bench's document."""
    plain, slow = LinkSettings(rate_mbit=50), LinkSettings(delay_ms=3, jitter_ms=1, loss=0.01, seed=7)
    with emulated(plain, slow) as lab:
        first, second = (describe_link(link, lab.a) for link in lab.links)
    assert (first["kind"], first["rate_mbit"], first["delay_ms"]) == ("veth", 50, 0)
    assert second["kind"] == "emulator"
    assert asdict(slow).items() <= second.items()
    assert slow.describe() == "no rate limit, delay 3 ms, jitter 1 ms, loss 1 %"


@pytest.mark.kernel
def test_netem_does_the_same_where_the_kernel_has_it() -> None:
    needs_root()
    with Lab((LinkSettings(rate_mbit=100, delay_ms=20, jitter_ms=1),)) as lab:
        if not lab.netem:
            pytest.skip("this kernel has no netem")
        assert 38 <= round_trip_ms(lab, 4) < 50


@pytest.mark.kernel
def test_the_rate_is_near_its_figure() -> None:
    with emulated(LinkSettings(rate_mbit=50, delay_ms=2)) as lab:
        assert 40 < measure_goodput(lab, 2, client_env=None, server_env=None).mbps < 50


@pytest.mark.kernel
def test_losses_are_near_their_share() -> None:
    with emulated(LinkSettings(loss=0.05)) as lab:
        link = lab.links[0]
        assert link.emulation is not None
        lab.a.run([sys.executable, "-c", DATAGRAMS, link.address(lab.b), "4000"])
        emulation = link.emulation
        wait_until(lambda: emulation.stats()[0]["received"] >= 4000, "the datagrams")
        stats = emulation.stats()[0]
        assert 120 <= stats["lost"] <= 280
        assert stats["overflowed"] == stats["no_room"] == 0


@pytest.mark.kernel
@pytest.mark.parametrize("version", [4, 6])
def test_a_transfer_survives_a_bad_link(version: int) -> None:
    bad = LinkSettings(rate_mbit=100, delay_ms=3, jitter_ms=1, loss=0.01, reorder=0.02, duplicate=0.02)
    with emulated(bad) as lab:
        converse(lab, version=version, client_mptcp=False, server_mptcp=False)
        link = lab.links[0]
        assert link.emulation is not None
        seen = link.emulation.stats()
        assert all(way["lost"] and way["reordered"] and way["duplicated"] for way in seen)


@pytest.mark.kernel
def test_properties_change_while_it_lives() -> None:
    with emulated(LinkSettings(delay_ms=30)) as lab:
        link = lab.links[0]
        link.change(replace(link.settings, delay_ms=5))
        assert 10 <= round_trip_ms(lab, 4) < 30


@pytest.mark.kernel
def test_an_emulated_link_is_cut_and_restored_and_leaves_no_process() -> None:
    with emulated(LinkSettings(delay_ms=1)) as lab:
        link = lab.links[0]
        program = lab.a.processes[0]
        link.cut()
        probe = f"import socket; socket.create_connection(({link.address(lab.b)!r}, 9), timeout=0.3)"
        assert "timed out" in lab.a.run([sys.executable, "-c", probe], check=False).stderr
        link.restore()
        assert round_trip_ms(lab, 4) >= 2
    assert program.returncode is not None


@pytest.mark.kernel
def test_a_plain_link_does_not_become_an_emulated_one() -> None:
    with emulated(LinkSettings(rate_mbit=100)) as lab:
        with pytest.raises(LabError, match="has to be made as such"):
            lab.links[0].change(LinkSettings(delay_ms=1))
        lab.links[0].change(LinkSettings(rate_mbit=50))
        assert "50Mbit" in lab.a.tc("qdisc", "show", "dev", "link1")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"rate_mbit": 0.0}, "rate_mbit must be above 0"),
        ({"loss": 1.5}, "loss is a share"),
        ({"duplicate": -0.1}, "duplicate is a share"),
        ({"jitter_ms": 2.0, "delay_ms": 1.0}, "jitter_ms must be between"),
        ({"reorder": 0.1}, "needs a delay_ms"),
    ],
)
def test_settings_that_no_link_can_have(settings: dict[str, float], complaint: str) -> None:
    with pytest.raises(LabError, match=complaint):
        LinkSettings(**settings)


def test_a_queue_holds_a_round_trip_by_itself() -> None:
    assert LinkSettings(rate_mbit=10, delay_ms=30).queue_limit_ms == 60
    assert LinkSettings(rate_mbit=10).queue_limit_ms == 10
    assert LinkSettings(rate_mbit=10, queue_ms=3).queue_limit_ms == 3


def test_the_words_for_netem() -> None:
    settings = LinkSettings(rate_mbit=300, delay_ms=30, jitter_ms=2, loss=0.005, reorder=0.01, duplicate=0.02)
    # 90 ms of 300 Mbit/s are 2250 packets of 1500 bytes.
    assert " ".join(netem_words(settings)) == (
        "netem limit 2250 delay 30ms 2ms loss 0.5% duplicate 2% reorder 1% rate 300000kbit"
    )
    assert netem_words(LinkSettings(loss=0.1)) == ["netem", "limit", "100000", "loss", "10%"]

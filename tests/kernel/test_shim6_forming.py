"""A daemon that forms its addresses from router advertisements, on real kernels."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mpcore.host.control import ControlClient
from mpcore.host.formed import leftovers
from mpcore.host.rtnetlink import RouteSocket
from mpcore.lab.host import Host
from mpcore.lab.shim6_hosts import Shim6Host
from mpcore.lab.topology import Lab
from mpcore.lab.wait import wait_until
from mpcore.shim6.cga import sec_of
from tests.helpers.netns import inside, make_lab
from tests.helpers.routers import Router
from tests.host.namespace import set_variable
from tests.kernel.shim6_pair import Shim6Lab, connect, contexts, has_moved, swap
from tests.kernel.support import Daemon, fresh, kill, running, start_daemon

pytestmark = pytest.mark.kernel

PREFIX = "2001:db8:{}::"


@contextmanager
def bare_lab() -> Iterator[Lab]:
    """Two hosts on two links, without any address but link-local ones; assert that none of ours is left."""
    with make_lab(announce=False) as lab:
        for host in lab.hosts:
            for link in lab.links:
                host.ip("-6", "address", "flush", "dev", link.interface, "scope", "global")
                with inside(host):
                    # detection of duplicates in a tenth of a second instead of one to two
                    set_variable(f"net.ipv6.conf.{link.interface}.router_solicitation_delay", 0)
                    set_variable(f"net.ipv6.neigh.{link.interface}.retrans_time_ms", 100)
        yield lab
        for host in lab.hosts:
            assert not formed_addresses(host)


def formed_addresses(host: Host) -> set[str]:
    """The addresses of a host that carry our protocol number."""
    with inside(host), RouteSocket() as kernel:
        return {socket.inet_ntop(socket.AF_INET6, address) for address, _ in leftovers(kernel)}


class Routers:
    """A router on each link of one host, which are at the other end of it."""

    def __init__(self, stack: ExitStack, lab: Lab, host: Host) -> None:
        other = lab.b if host is lab.a else lab.a
        with inside(other):
            self._routers = [stack.enter_context(Router(link.interface)) for link in lab.links]

    def advertise(self, *numbers: int, preferred: int = 600, valid: int = 1200) -> None:
        """Let link N advertise prefix N."""
        for number in numbers:
            self._routers[number - 1].advertise(PREFIX.format(number), preferred, valid)


@contextmanager
def routers(lab: Lab) -> Iterator[tuple[Routers, Routers]]:
    """Routers for host `a` and for host `b`."""
    with ExitStack() as stack:
        yield Routers(stack, lab, lab.a), Routers(stack, lab, lab.b)


def settings(folder: Path, name: str, *more: str, form: str = "hba") -> tuple[str, ...]:
    return (
        "mptcp.enabled=false",
        "log.level=error",
        "shim6.enabled=true",
        "shim6.send_timeout_s=1",
        f"shim6.form={form}",
        "shim6.form_settle_s=0.5",
        f"shim6.form_directory={folder}/{name}.formed",
        f"shim6.state_file={folder}/{name}.state",
        *more,
    )


def formed(daemon: Daemon) -> list[dict[str, Any]]:
    """What `mpcore shim6 addresses -j` prints."""
    with ControlClient(str(daemon.control)) as client:
        found: list[dict[str, Any]] = client.call("shim6_addresses")["addresses"]
        return found


def ready(daemon: Daemon) -> dict[str, str]:
    """The current addresses that can be used, by prefix."""
    return {
        entry["prefix"]: entry["address"]
        for entry in formed(daemon)
        if entry["current"] and entry["state"] == "ready"
    }


def wait_ready(daemon: Daemon, count: int) -> list[str]:
    wait_until(lambda: len(ready(daemon)) == count, f"{count} addresses")
    return [address for _, address in sorted(ready(daemon).items())]


def ends(lab: Lab, own: list[str], other: list[str]) -> Shim6Lab:
    """Both hosts with the addresses that they have formed."""
    return Shim6Lab(lab, (Shim6Host(lab.a, own, Path()), Shim6Host(lab.b, other, Path())))


def default_interface(host: Host, source: str) -> str:
    """The interface by which a packet from an address leaves for a network that no link has."""
    words = host.run(["ip", "-6", "route", "get", "2001:db8:99::1", "from", source]).stdout.split()
    assert words[words.index("via") + 1].startswith("fe80:")
    return words[words.index("dev") + 1]


@pytest.mark.parametrize("form", ["hba", "cga"])
def test_two_hosts_that_only_get_advertisements_survive_a_cut(tmp_path: Path, form: str) -> None:
    with (
        bare_lab() as lab,
        routers(lab) as (for_a, for_b),
        running(lab.a, tmp_path, *settings(tmp_path, "a", form=form)) as a,
        running(lab.b, tmp_path, *settings(tmp_path, "b", form=form)) as b,
    ):
        for_a.advertise(1, 2)
        for_b.advertise(1, 2)
        own, other = wait_ready(a, 2), wait_ready(b, 2)
        assert formed_addresses(lab.a) == set(own)
        assert [default_interface(lab.a, address) for address in own] == ["link1", "link2"]
        client, server = connect(ends(lab, own, other))
        with client, server:
            swap(client, server, bytes(5000))
            wait_until(lambda: bool(contexts(a) and contexts(b)), "a context at both ends")
            lab.links[0].cut()
            swap(client, server, bytes(5000))
            wait_until(lambda: has_moved(a) and has_moved(b), "both hosts to move")
        assert a.counters()["Shim6ExtAddressFormed"] == 2


def test_a_prefix_that_comes_later_carries_what_has_begun_before(tmp_path: Path) -> None:
    """RFC 5535 §8.1: the key of the set signs for the new address, an Update Request tells of it."""
    with (
        bare_lab() as lab,
        routers(lab) as (for_a, for_b),
        running(lab.a, tmp_path, *settings(tmp_path, "a", form="hba+cga")) as a,
        running(lab.b, tmp_path, *settings(tmp_path, "b", form="hba+cga")) as b,
    ):
        for_a.advertise(1)
        for_b.advertise(1)
        own, other = wait_ready(a, 1), wait_ready(b, 1)
        client, server = connect(ends(lab, own, other))
        with client, server:
            swap(client, server, bytes(5000))
            for_a.advertise(2)
            for_b.advertise(2)
            assert wait_ready(a, 2)[0] == own[0]
            assert {entry["kind"] for entry in formed(a)} == {"hba+cga", "cga"}
            swap(client, server, bytes(5000))
            wait_until(lambda: all(map(knows_two_pairs, (a, b))), "both hosts to know all locators")
            lab.links[0].cut()
            swap(client, server, bytes(5000))
            wait_until(lambda: has_moved(a) and has_moved(b), "both hosts to move")


def knows_two_pairs(daemon: Daemon) -> bool:
    return [(len(entry["locators_local"]), len(entry["locators_peer"])) for entry in contexts(daemon)] == [
        (2, 2)
    ]


def test_programs_that_choose_no_address_use_the_formed_one(tmp_path: Path) -> None:
    """The kernel has formed some of its own too, and would prefer a temporary one (RFC 6724 §5 rule 7)."""
    with bare_lab() as lab, routers(lab) as (for_a, _):
        with inside(lab.a):
            set_variable("net.ipv6.conf.link1.use_tempaddr", 2)
        with running(lab.a, tmp_path, *settings(tmp_path, "a")) as a:
            for_a.advertise(1, 2)
            own = wait_ready(a, 2)
            wait_until(lambda: chosen(lab) == own[0], "the formed address to be chosen")
            with inside(lab.a):
                assert autoconf() == "0"
            for_a.advertise(1, 2)
            assert chosen(lab) == own[0]
        with inside(lab.a):
            assert autoconf() == "1"
        for_a.advertise(1)
        wait_until(lambda: chosen(lab) not in ("", own[0]), "the kernel's own address")


def autoconf() -> str:
    return Path("/proc/sys/net/ipv6/conf/link1/autoconf").read_text().strip()


def chosen(lab: Lab) -> str:
    """The address that a program of host `a` gets that wants to talk to a neighbour on link 1."""
    with inside(lab.a), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((f"{PREFIX.format(1)}77", 9))
        except OSError:
            return ""
        address: str = sock.getsockname()[0]
        return address


def test_an_address_that_a_neighbour_has_gets_another_count(tmp_path: Path) -> None:
    """RFC 3972 §4, RFC 5535 §6: the daemon comes again, and its neighbour has its first address meanwhile."""
    with bare_lab() as lab, routers(lab) as (for_a, _):
        with running(lab.a, tmp_path, *settings(tmp_path, "a")) as a:
            for_a.advertise(1, 2)
            first = wait_ready(a, 2)
        lab.b.ip("address", "add", f"{first[0]}/64", "dev", "link1", "nodad")
        with running(lab.a, fresh(tmp_path), *settings(tmp_path, "a")) as a:
            for_a.advertise(1, 2)
            wait_until(lambda: a.counters()["Shim6ExtAddressTaken"] == 1, "the collision")
            second = wait_ready(a, 2)
            assert not {*first} & {*second}
            counts = {entry["address"]: entry["collisions"] for entry in formed(a)}
            assert [counts[address] for address in second] == [1, 1]


def test_lifetimes_follow_the_router_and_end(tmp_path: Path) -> None:
    with (
        bare_lab() as lab,
        routers(lab) as (for_a, _),
        running(lab.a, tmp_path, *settings(tmp_path, "a", form="cga")) as a,
    ):
        for_a.advertise(1)
        for_a.advertise(2, preferred=2, valid=3)
        own = wait_ready(a, 2)
        wait_until(lambda: set(ready(a).values()) == {own[0]}, "the second to be deprecated")
        wait_until(lambda: formed_addresses(lab.a) == {own[0]}, "the second to end")
        wait_until(lambda: len(identities(a)) == 1, "its identity to end")
        for_a.advertise(2)
        assert wait_ready(a, 2) == own
        assert len(identities(a)) == 2


def identities(daemon: Daemon) -> list[str]:
    with ControlClient(str(daemon.control)) as client:
        return [entry["ulid"] for entry in client.call("shim6_identities")["identities"]]


@pytest.mark.parametrize("guardian", [False, True], ids=["daemon", "daemon-and-guardian"])
def test_a_kill_leaves_no_address_and_the_next_daemon_has_the_same(tmp_path: Path, guardian: bool) -> None:
    """TCP goes on over it, by the state file; routers need not speak, the kernel has heard them."""
    with (
        bare_lab() as lab,
        routers(lab) as (for_a, for_b),
        running(lab.b, tmp_path, *settings(tmp_path, "b")) as b,
    ):
        first = start_daemon(lab.a, tmp_path, *settings(tmp_path, "a"))
        for_a.advertise(1, 2)
        for_b.advertise(1, 2)
        own, other = wait_ready(first, 2), wait_ready(b, 2)
        client, server = connect(ends(lab, own, other))
        with client, server:
            swap(client, server, bytes(5000))
            wait_until(lambda: bool(contexts(first) and contexts(b)), "a context at both ends")
            kill(first, guardian=guardian)
            if not guardian:
                wait_until(lambda: not formed_addresses(lab.a), "the guardian to clear up")
            with running(lab.a, fresh(tmp_path), *settings(tmp_path, "a")) as second:
                assert wait_ready(second, 2) == own
                swap(client, server, bytes(5000))


def test_a_search_in_a_process_of_its_own_gives_addresses_and_is_done_once(tmp_path: Path) -> None:
    """RFC 3972 §4, steps 1 to 3, for Sec 1; the next daemon has what this one found."""
    with bare_lab() as lab, routers(lab) as (for_a, _):
        with running(lab.a, tmp_path, *settings(tmp_path, "a", "shim6.form_sec=1")) as a:
            for_a.advertise(1, 2)
            own = wait_ready(a, 2)
            assert {sec_of(socket.inet_pton(socket.AF_INET6, address)) for address in own} == {1}
            kept = {path: path.read_bytes() for path in (tmp_path / "a.formed").glob("*.hba")}
            assert len(kept) == 1
        with running(lab.a, fresh(tmp_path), *settings(tmp_path, "a", "shim6.form_sec=1")) as a:
            for_a.advertise(1, 2)
            assert wait_ready(a, 2) == own
        assert kept == {path: path.read_bytes() for path in (tmp_path / "a.formed").glob("*.hba")}


@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
def test_a_search_ends_with_the_daemon(tmp_path: Path, killed: bool) -> None:
    """Of Sec 2, begun and broken off; the daemon answers meanwhile."""
    with bare_lab() as lab, routers(lab) as (for_a, _):
        daemon = start_daemon(lab.a, tmp_path, *settings(tmp_path, "a", "shim6.form_sec=2"))
        for_a.advertise(1, 2)
        wait_until(lambda: [each["state"] for each in formed(daemon)] == ["searching"] * 2, "the search")
        wait_until(lambda: len(searchers(daemon)) == 1, "its process")
        (pid,) = searchers(daemon)
        if killed:
            daemon.process.kill()
            daemon.process.wait()
        else:
            assert lab.a.stop(daemon.process) == 0
        wait_until(lambda: not command_of(pid), "the end of the process")
        wait_until(lambda: not formed_addresses(lab.a), "everything to be taken back")


def searchers(daemon: Daemon) -> list[int]:
    """The processes of a daemon that search."""
    pid = daemon.process.pid
    children = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [child for child in children if b"modifier_search" in command_of(child)]


def command_of(pid: int) -> bytes:
    """The command line of a process; none of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_what_the_configuration_names_needs_no_router(tmp_path: Path) -> None:
    """It is assigned again when a link comes back that lost its addresses."""
    named = 'shim6.form_prefixes=["2001:db8:1::/64@link1", "2001:db8:2::/64@link2"]'
    with bare_lab() as lab, running(lab.a, tmp_path, *settings(tmp_path, "a", named)) as a:
        with inside(lab.a):
            for place in ("all", "link1"):
                set_variable(f"net.ipv6.conf.{place}.keep_addr_on_down", 0)
        own = wait_ready(a, 2)
        assert [entry["valid_s"] for entry in formed(a)] == [None, None]
        lab.a.ip("link", "set", "link1", "down")
        wait_until(lambda: len(ready(a)) == 1, "the link's address to go")
        assert formed_addresses(lab.a) == {own[1]}
        lab.a.ip("link", "set", "link1", "up")
        assert wait_ready(a, 2) == own

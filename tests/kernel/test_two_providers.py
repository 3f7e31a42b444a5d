"""Two providers on one interface, whose routers drop each other's packets (RFC 8028), on real kernels."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mpcore.host.control import ControlClient
from mpcore.lab.host import Host
from mpcore.lab.wait import wait_until
from mpcore.shim6.cga_parameters import emit_parameters
from mpcore.shim6.hba import make_hba_set
from mpcore.shim6.prefixes import parse_prefix
from tests.helpers.netns import inside
from tests.helpers.providers import FAR, PREFIX, ProvidersLab, two_providers
from tests.kernel.shim6_pair import PORT, TIMEOUT_S, contexts, has_moved, swap
from tests.kernel.support import Daemon, kill, receive_all, running, start_daemon

pytestmark = pytest.mark.kernel

ONLY_ROUTING = ("log.level=warning",)


def autoconfigured(lab: ProvidersLab) -> list[str]:
    """The addresses that the kernel of host `a` has formed in both prefixes, once they can be used."""
    lab.advertise()

    def found() -> dict[str, str]:
        shown = lab.a.ip("-6", "-o", "addr", "show", "dev", "uplink", "scope", "global", "-tentative")
        addresses = [line.split()[3].partition("/")[0] for line in shown.splitlines()]
        return {each[:11]: each for each in addresses}

    wait_until(lambda: len(found()) == 2, "an address of each provider")
    return [address for _, address in sorted(found().items())]


def wait_rules(lab: ProvidersLab, *addresses: str) -> None:
    """Let both routers speak and wait until each address has its rule."""
    lab.advertise()
    wait_until(
        lambda: all(any(f"from {each} " in line for line in lab.rules()) for each in addresses), "the rules"
    )


def reaches(lab: ProvidersLab, source: str, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether host `b` answers to an address, be it by a refusal."""
    with inside(lab.a), socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
        sock.bind((source, 0))
        sock.settimeout(timeout_s)
        try:
            sock.connect((FAR, PORT))
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    raise AssertionError("nobody listens there")


def test_each_source_passes_its_providers_filter(tmp_path: Path) -> None:
    """With addresses that the kernel forms, which without rules leave by whichever router."""
    with two_providers() as lab:
        own = autoconfigured(lab)
        assert not all(reaches(lab, address, 0.5) for address in own * 2), "what has to be mended"
        with running(lab.a, tmp_path, *ONLY_ROUTING):
            wait_rules(lab, *own)
            before = lab.filtered()
            assert all(reaches(lab, address) for address in own)
            assert [provider.forwarded() >= 1 for provider in lab.providers] == [True, True]
            assert lab.filtered() == before


def test_programs_that_choose_no_source_are_never_dropped(tmp_path: Path) -> None:
    """RFC 6724 §5 rule 5.5 in effect, whichever address the kernel chooses."""
    with two_providers() as lab:
        own = autoconfigured(lab)
        with running(lab.a, tmp_path, *ONLY_ROUTING):
            wait_rules(lab, *own)
            before = lab.filtered()
            for number in (1, 2):
                # a destination most alike to the addresses of one prefix makes the kernel choose that one
                far = f"2001:db8:{number}:8000::1"
                lab.b.ip("address", "add", f"{far}/128", "dev", "uplink", "nodad")
                lab.providers[number - 1].host.ip("route", "add", f"{far}/128", "dev", "core")
                with inside(lab.b), socket.create_server((far, PORT), family=socket.AF_INET6) as listener:
                    with inside(lab.a), socket.create_connection((far, PORT), TIMEOUT_S) as client:
                        assert client.getsockname()[0] == own[number - 1]
                        client.sendall(b"whoever")
                    server, _ = listener.accept()
                    with server:
                        assert receive_all(server) == b"whoever"
            assert lab.filtered() == before


def test_subflows_go_by_both_providers_and_survive_one(tmp_path: Path) -> None:
    """RFC 8684, with the kernel's at the other end, which has one address."""
    with two_providers() as lab:
        own = autoconfigured(lab)
        lab.b.mptcp_limits()
        with running(lab.a, tmp_path, *ONLY_ROUTING) as a:
            wait_rules(lab, *own)
            with inside(lab.b):
                listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
            listener.bind(("::", PORT))
            listener.listen()
            with inside(lab.a):
                client = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            client.settimeout(TIMEOUT_S)
            client.connect((FAR, PORT))
            server, _ = listener.accept()
            with client, server, listener:
                server.settimeout(TIMEOUT_S)
                swap(client, server, bytes(5000))
                wait_until(lambda: a.subflows() == 2, "a subflow by each provider")
                assert all(provider.forwarded() for provider in lab.providers)
                used = client.getsockname()[0]
                lab.providers[own.index(used)].cut()
                swap(client, server, bytes(200_000))


def far_daemon_settings(folder: Path) -> tuple[str, ...]:
    return (
        "mptcp.enabled=false",
        "log.level=error",
        "shim6.enabled=true",
        "shim6.send_timeout_s=1",
        f'shim6.identities=["{folder}/b.hba"]',
        f"shim6.state_file={folder}/b.state",
    )


def give_identity(host: Host, folder: Path) -> str:
    """Give host `b` a hash-based address of its one prefix, in place of the one it has."""
    made = make_hba_set([parse_prefix(f"{PREFIX.format(9)}/64")], 0, Random(9))
    (folder / "b.hba").write_bytes(emit_parameters(made.parameters))
    address = socket.inet_ntop(socket.AF_INET6, made.addresses[0])
    host.ip("address", "add", f"{address}/64", "dev", "uplink", "nodad")
    return address


def own_settings(folder: Path, *more: str) -> tuple[str, ...]:
    return (
        "mptcp.enabled=false",
        "log.level=error",
        "shim6.enabled=true",
        "shim6.send_timeout_s=1",
        f"shim6.state_file={folder}/a.state",
        *more,
    )


def formed(daemon: Daemon) -> list[str]:
    """The formed addresses that can be used, in the order of their prefixes."""
    with ControlClient(str(daemon.control)) as client:
        found: list[dict[str, Any]] = client.call("shim6_addresses")["addresses"]
    found.sort(key=lambda each: str(each["prefix"]))
    return [each["address"] for each in found if each["state"] == "ready"]


def assign_identities(lab: ProvidersLab, folder: Path) -> list[str]:
    """Make a set for both prefixes and assign it, as an administrator does."""
    with inside(lab.a):
        Path("/proc/sys/net/ipv6/conf/uplink/autoconf").write_text("0\n")
    made = make_hba_set([parse_prefix(f"{PREFIX.format(n)}/64") for n in (1, 2)], 0, Random(1))
    (folder / "a.hba").write_bytes(emit_parameters(made.parameters))
    own = [socket.inet_ntop(socket.AF_INET6, address) for address in made.addresses]
    for address in own:
        lab.a.ip("address", "add", f"{address}/64", "dev", "uplink", "nodad")
    return own


@pytest.mark.parametrize("first", [0, 1], ids=["provider-1", "provider-2"])
@pytest.mark.parametrize("kind", ["form", "identities"])
def test_a_context_survives_the_loss_of_a_provider(tmp_path: Path, kind: str, first: int) -> None:
    """RFC 5534: the pairs have to lead two ways, or probing finds no other."""
    with two_providers() as lab, ExitStack() as stack:
        peer = give_identity(lab.b, tmp_path)
        if kind == "form":
            more = ("shim6.form=hba", "shim6.form_settle_s=0.5", f"shim6.form_directory={tmp_path}/formed")
        else:
            more = (f'shim6.identities=["{tmp_path}/a.hba"]',)
            own = assign_identities(lab, tmp_path)
        a = stack.enter_context(running(lab.a, tmp_path, *own_settings(tmp_path, *more)))
        b = stack.enter_context(running(lab.b, tmp_path, *far_daemon_settings(tmp_path)))
        lab.advertise()
        if kind == "form":
            wait_until(lambda: len(formed(a)) == 2, "addresses of both providers")
            own = formed(a)
        wait_rules(lab, *own)
        client, server = conversation(lab, own[first], peer)
        before = lab.filtered()
        with client, server:
            swap(client, server, bytes(5000))
            wait_until(lambda: bool(contexts(a) and contexts(b)), "a context at both ends")
            lab.providers[first].cut()
            swap(client, server, bytes(5000))
            wait_until(lambda: has_moved(a), "the context to move")
            (context,) = contexts(a)
            assert context["current_local"] == own[1 - first]
            swap(client, server, bytes(50_000))
        assert lab.filtered() == before


def conversation(lab: ProvidersLab, source: str, peer: str) -> tuple[socket.socket, socket.socket]:
    with inside(lab.b), socket.create_server((peer, PORT), family=socket.AF_INET6) as listener:
        with inside(lab.a):
            client = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        client.bind((source, 0))
        client.settimeout(TIMEOUT_S)
        client.connect((peer, PORT))
        server, _ = listener.accept()
        server.settimeout(TIMEOUT_S)
        return client, server


@pytest.mark.parametrize("guardian", [False, True], ids=["daemon", "daemon-and-guardian"])
def test_a_kill_leaves_no_rule_and_no_table(tmp_path: Path, guardian: bool) -> None:
    with two_providers() as lab:
        own = autoconfigured(lab)
        daemon = start_daemon(lab.a, tmp_path, *ONLY_ROUTING)
        wait_rules(lab, *own)
        kill(daemon, guardian=guardian)
        if guardian:
            assert lab.rules()
            (tmp_path / "next").mkdir()
            with running(lab.a, tmp_path / "next", *ONLY_ROUTING):
                wait_rules(lab, *own)
        wait_until(lambda: not lab.rules(), "the guardian to clear up")

"""Hosts with hash-based addresses and Shim6: what the demo, the bench and experiments begin with."""

import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

from mpcore.host.control_client import ControlClient
from mpcore.lab.demo import mpcore_daemon
from mpcore.lab.host import Host
from mpcore.lab.topology import Lab
from mpcore.lab.wait import wait_until
from mpcore.shim6.cga_parameters import emit_parameters
from mpcore.shim6.hba import make_hba_set

PREFIX_BYTES = 8


@dataclass(frozen=True, slots=True)
class Shim6Host:
    """A host of the laboratory with one hash-based address a link (RFC 5535).

    `addresses` are in the order of the links, the first is what programs use; `folder` holds what belongs to
    this host's daemon alone: parameter file, contexts, control socket, log.
    """

    host: Host
    addresses: Sequence[str]
    folder: Path

    @property
    def ulid(self) -> str:
        """The address on link 1."""
        return self.addresses[0]

    @property
    def state_file(self) -> Path:
        """Where the daemon keeps its contexts: a later one goes on with them unless it is deleted."""
        return self.folder / "contexts.state"

    def settings(self, send_timeout_s: float) -> tuple[str, ...]:
        """Return the arguments of `mpcore run` by which it does Shim6 for these addresses, and no MPTCP."""
        return _options(
            "mptcp.enabled=false",
            "shim6.enabled=true",
            f"shim6.send_timeout_s={send_timeout_s:g}",
            f'shim6.identities=["{self.folder / "host.hba"}"]',
            f"shim6.state_file={self.state_file}",
        )

    def document(self) -> dict[str, Any]:
        """Return what `mpcore show -j` prints; raises ControlError, DaemonAbsentError."""
        with ControlClient(str(self.folder / "control.sock")) as client:
            document: dict[str, Any] = client.call("show")
            return document

    def contexts(self, peer: str) -> list[dict[str, Any]]:
        """Return the established contexts between this host's ULID and `peer`, as the document has them."""
        return [
            entry
            for entry in self.document()["contexts"]
            if entry["state"] == "established"
            and (entry["ulid_local"], entry["ulid_peer"]) == (self.ulid, peer)
        ]


def _options(*settings: str) -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("--set", setting))


def make_shim6_hosts(lab: Lab, folder: Path) -> tuple[Shim6Host, Shim6Host]:
    """Give both hosts one HBA set over the prefixes of all links, in place of the links' own IPv6 addresses.

    Each host's files go to a directory of its own in `folder`. Raises LabError.
    """
    first, second = (_make_host(lab, host, folder / host.name, seed) for seed, host in enumerate(lab.hosts))
    return first, second


def _make_host(lab: Lab, host: Host, folder: Path, seed: int) -> Shim6Host:
    folder.mkdir(exist_ok=True)
    prefixes = [_packed(link.address(host, 6))[:PREFIX_BYTES] for link in lab.links]
    made = make_hba_set(prefixes, 0, random.Random(seed))
    (folder / "host.hba").write_bytes(emit_parameters(made.parameters))
    addresses = [socket.inet_ntop(socket.AF_INET6, address) for address in made.addresses]
    for address, link in zip(addresses, lab.links, strict=True):
        link.remove_address(host, 6)
        host.ip("addr", "add", f"{address}/64", "dev", link.interface, "nodad")
    return Shim6Host(host, addresses, folder)


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, address)


@contextmanager
def shim6_daemons(hosts: Sequence[Shim6Host], send_timeout_s: float) -> Iterator[list[Popen[bytes]]]:
    """Run `mpcore run` with Shim6 on all `hosts` while the block lasts. Raises LabError."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(mpcore_daemon(each.host, each.folder, *each.settings(send_timeout_s)))
            for each in hosts
        ]


def wait_for_contexts(a: Shim6Host, b: Shim6Host) -> None:
    """Return once the context between the ULIDs of both is established at either end; LabError if not."""
    wait_until(lambda: bool(a.contexts(b.ulid) and b.contexts(a.ulid)), "a Shim6 context at both ends")

"""A host with one interface and two providers: two routers on its link, each for its own prefix alone.

```
host a (uplink) --- lan --- router 1 --- core --- (uplink) host b
                      \\---- router 2 ----/
```

Router N advertises 2001:db8:N::/64, and drops what comes from the link with any other source, as the ingress
filter of a provider does (RFC 2827). Host `b` is 2001:db8:9::1 and answers to each prefix by its router.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mpcore.host.routes import PROTOCOL
from mpcore.lab.host import Host, delete_namespace
from mpcore.lab.wait import wait_until
from tests.helpers.netns import inside, needs_root
from tests.helpers.routers import Router, link_local
from tests.host.namespace import run, set_variable

PREFIX = "2001:db8:{}::"
FAR = "2001:db8:9::1"
_serials = itertools.count(9001)


@dataclass(frozen=True, slots=True)
class Provider:
    """A router of the link; `host` is its namespace."""

    number: int
    host: Host
    router: Router

    def advertise(self, preferred: int = 600, valid: int = 1200, **more: int) -> None:
        """Let it speak to the link."""
        self.router.advertise(PREFIX.format(self.number), preferred, valid, **more)

    def forwarded(self) -> int:
        """Return how many packets of its prefix it has taken from the link."""
        return self._count("ACCEPT")

    def filtered(self) -> int:
        """Return how many packets with addresses of others it has dropped."""
        return self._count("DROP")

    def cut(self) -> None:
        """Let nothing pass in either direction, and say nothing of it."""
        self.host.run(["ip6tables", "-w", "-t", "raw", "-I", "PREROUTING", "-j", "DROP"])

    def _count(self, target: str) -> int:
        listed = self.host.run(["ip6tables", "-w", "-nvxL", "FORWARD"]).stdout.splitlines()
        return sum(int(line.split()[0]) for line in listed if f" {target} " in line and " lan " in line)


@dataclass(frozen=True, slots=True)
class ProvidersLab:
    """The hosts and the providers."""

    a: Host
    b: Host
    providers: tuple[Provider, Provider]

    def advertise(self) -> None:
        """Let both routers speak."""
        for provider in self.providers:
            provider.advertise()

    def filtered(self) -> int:
        """Return how many packets have come to the wrong router."""
        return sum(provider.filtered() for provider in self.providers)

    def rules(self) -> list[str]:
        """Return rules and routes of host `a` that are ours."""
        lines = self.a.ip("-6", "rule").splitlines()
        lines += self.a.ip("-6", "route", "show", "table", "all").splitlines()
        return [line for line in lines if f"proto {PROTOCOL}" in line]


@contextmanager
def two_providers() -> Iterator[ProvidersLab]:
    """Build it, and take it down; assert that no rule or route of ours is left."""
    needs_root()
    short = ("a", "b", "b1", "b2", "bs")
    names = {name: f"mpcore-{name[0]}-{os.getpid()}-{next(_serials)}" for name in short}
    hosts = {name: Host(name, namespace) for name, namespace in names.items()}
    try:
        for name in names.values():
            run("ip", "netns", "add", name)
        _join(hosts)
        with _routers(hosts["b1"], hosts["b2"]) as providers:
            lab = ProvidersLab(hosts["a"], hosts["b"], providers)
            yield lab
            assert not lab.rules()
    finally:
        for host in hosts.values():
            host.stop_all()
            delete_namespace(host.namespace)


def _join(hosts: dict[str, Host]) -> None:
    """Make the two segments, with the bridges in a namespace of their own, and set the ends up."""
    switch = hosts["bs"]
    for bridge in ("lan", "core"):
        switch.ip("link", "add", bridge, "type", "bridge", "mcast_snooping", "0")
        switch.ip("link", "set", bridge, "up")
    wires = [("a", "uplink", "lan"), ("b", "uplink", "core")]
    wires += [(name, segment, segment) for name in ("b1", "b2") for segment in ("lan", "core")]
    for name, interface, segment in wires:
        host, port = hosts[name], f"{segment}-{name}"
        peer = ("peer", "name", port, "netns", switch.namespace)
        host.ip("link", "add", interface, "type", "veth", *peer)
        switch.ip("link", "set", port, "master", segment)
        switch.ip("link", "set", port, "up")
        host.ip("link", "set", "lo", "up")
        with inside(host):
            set_variable(f"net.ipv6.conf.{interface}.router_solicitation_delay", 0)
            set_variable(f"net.ipv6.neigh.{interface}.retrans_time_ms", 100)
        host.ip("link", "set", interface, "up")
    for number in (1, 2):
        _make_router(hosts[f"b{number}"], number)
    far = hosts["b"]
    far.ip("address", "add", f"{FAR}/64", "dev", "uplink", "nodad")
    for number in (1, 2):
        far.ip("route", "add", f"{PREFIX.format(number)}/64", "via", f"fe80::{number}", "dev", "uplink")
    with inside(hosts["a"]):
        wait_until(lambda: bool(link_local("uplink")), "a link-local address")


def _make_router(host: Host, number: int) -> None:
    with inside(host):
        set_variable("net.ipv6.conf.all.forwarding", 1)
    for segment in ("lan", "core"):
        host.ip("address", "add", f"fe80::{number}/64", "dev", segment, "nodad")
    host.ip("route", "add", f"{PREFIX.format(number)}/64", "dev", "lan")
    host.ip("route", "add", f"{PREFIX.format(9)}/64", "dev", "core")
    own = ("-s", f"{PREFIX.format(number)}/64")
    for rule in (("-i", "lan", *own, "-j", "ACCEPT"), ("-i", "lan", "-j", "DROP")):
        host.run(["ip6tables", "-w", "-A", "FORWARD", *rule])


@contextmanager
def _routers(first: Host, second: Host) -> Iterator[tuple[Provider, Provider]]:
    with inside(first):
        one = Router("lan", "fe80::1")
    with inside(second):
        two = Router("lan", "fe80::2")
    with one, two:
        yield Provider(1, first, one), Provider(2, second, two)

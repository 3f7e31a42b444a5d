"""The laboratory as a whole: made on entry, gone on exit, whatever happens in between.

All state is in the names of the namespaces: `mpcore-a-PID-N` and `mpcore-b-PID-N` belong to process PID,
`mpcore-a` and `mpcore-b` to nobody (`mpcore lab up`). Nothing outside these namespaces is ever touched.
"""

import itertools
import os
import re
import signal
import threading
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, NoReturn

from mpcore.lab.commands import require_root, run_command
from mpcore.lab.emulation import has_netem
from mpcore.lab.host import Host, delete_namespace, namespace_pids, namespaces
from mpcore.lab.link import CUT_RULES, IPTABLES, Link
from mpcore.lab.settings import LinkSettings

_NAME = re.compile(r"mpcore-([ab])(?:-(\d+)-\d+)?")
_serials = itertools.count(1)


class Lab:
    """Two hosts `a` and `b` joined by shaped or emulated links; a context manager.

    `links` has an entry for each link: its settings, or just its rate in Mbit/s, None for unlimited. `netem`
    tells whether the kernel emulates those that delay or lose packets; None uses it where the kernel has it.
    `congestion` is the kernel's TCP congestion control on both hosts. `source_routing` adds policy routes by
    which packets of host `a` leave through the link of their source address; `b` answers through the link of
    the address it answers to.
    `suffix` replaces `-PID-N` in the names of the namespaces. While the laboratory stands, SIGTERM and SIGHUP
    raise SystemExit in the main thread, so that it comes down. Raises LabError.
    """

    def __init__(
        self,
        links: Sequence[LinkSettings | float | None] = (1000, 1000),
        *,
        netem: bool | None = None,
        congestion: str = "reno",
        source_routing: bool = False,
        suffix: str | None = None,
    ) -> None:
        ending = f"-{os.getpid()}-{next(_serials)}" if suffix is None else suffix
        self.a = Host("a", f"mpcore-a{ending}")
        self.b = Host("b", f"mpcore-b{ending}")
        self.links = [
            Link(number, self.a, self.b, _settings(wanted)) for number, wanted in enumerate(links, start=1)
        ]
        self.netem = netem
        self.congestion = congestion
        self.source_routing = source_routing
        self._handlers: dict[int, Any] = {}

    @property
    def hosts(self) -> tuple[Host, Host]:
        """Both hosts."""
        return self.a, self.b

    def __enter__(self) -> "Lab":
        require_root()
        clean_leftovers()
        self._catch_signals()
        try:
            self.up()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def exists(self) -> bool:
        """Tell whether a namespace of this name is there."""
        return any(host.namespace in namespaces() for host in self.hosts)

    def up(self) -> None:
        """Make namespaces and links; what exists already is an error."""
        for host in self.hosts:
            run_command(["ip", "netns", "add", host.namespace])
            host.ip("link", "set", "lo", "up")
            host.sysctl("net.ipv4.tcp_congestion_control", self.congestion)
            host.sysctl("net.ipv6.conf.all.keep_addr_on_down", 1)
            host.mptcp_limits()
            for version, rules in CUT_RULES.items():
                host.run([f"{IPTABLES[version]}-restore", "--noflush", "-w"], stdin=rules)
        for link in self.links:
            link.create(netem=link.settings.is_emulated and self._uses_netem())
        if self.source_routing:
            for link in self.links:
                link.route_by_source(self.a)

    def stay(self) -> None:
        """Let it stand when this process ends."""
        for link in self.links:
            if link.emulation is not None:
                link.emulation.stay()

    def _uses_netem(self) -> bool:
        if self.netem is None:
            self.netem = has_netem(self.a)
        return self.netem

    def down(self) -> None:
        """End the programs that were started here, then delete both namespaces, and with them all links."""
        for host in self.hosts:
            host.stop_all()
        for host in self.hosts:
            if host.namespace in namespaces():
                delete_namespace(host.namespace)

    def _leave(self) -> None:
        """Take everything down, undisturbed by further signals, then give the signals back."""
        main = threading.current_thread() is threading.main_thread()
        caught = (signal.SIGINT, *self._handlers) if main else ()
        before = {number: signal.signal(number, signal.SIG_IGN) for number in caught}
        try:
            self.down()
        finally:
            for number, handler in (before | self._handlers).items():
                signal.signal(number, handler)
            self._handlers = {}

    def _catch_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                self._handlers[number] = signal.signal(number, _exit_by_signal)


def _settings(wanted: LinkSettings | float | None) -> LinkSettings:
    return wanted if isinstance(wanted, LinkSettings) else LinkSettings(rate_mbit=wanted)


def _exit_by_signal(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def clean_leftovers(*, everything: bool = False) -> list[str]:
    """Delete the laboratories whose owner no longer lives and return the names of their namespaces.

    With `everything`, those of living owners and the one of `mpcore lab up` go too.
    """
    matches = filter(None, map(_NAME.fullmatch, namespaces()))
    gone = [match[0] for match in matches if everything or _is_orphan(match)]
    for name in gone:
        delete_namespace(name)
    return gone


def _is_orphan(match: re.Match[str]) -> bool:
    owner = match[2]
    return owner is not None and not os.path.exists(f"/proc/{owner}")


def describe() -> list[tuple[str, str, int]]:
    """Return, for each host of each laboratory, its namespace, its owner and how many processes run."""
    matches = filter(None, map(_NAME.fullmatch, namespaces()))
    return [(match[0], _owner(match), len(namespace_pids(match[0]))) for match in matches]


def _owner(match: re.Match[str]) -> str:
    if match[2] is None:
        return "none (mpcore lab up)"
    return f"{match[2]} (dead)" if _is_orphan(match) else match[2]

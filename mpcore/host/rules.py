"""The firewall rules that send TCP to the queue, by the first backend that works on this host."""

from collections.abc import Iterator

from mpcore.config import Config
from mpcore.errors import HostError
from mpcore.host.flowsets import FlowSets
from mpcore.host.iptables import Iptables
from mpcore.host.nft import Nft
from mpcore.host.rulesettings import RuleSettings

Backend = FlowSets | Iptables | Nft


def rule_settings(config: Config) -> RuleSettings:
    """Return what the rules need of the configuration."""
    return RuleSettings(
        queue=config.queue.number,
        mark_seen=config.routing.mark_seen,
        mark_leave=config.routing.mark_leave,
        mark_taken=config.routing.mark_taken,
        loopback=config.mptcp.loopback,
        exclusions=config.mptcp.exclude,
    )


class Rules:
    """The rules of one daemon; `install` and `remove` may be called again and again."""

    def __init__(self, config: Config) -> None:
        self.settings = rule_settings(config)
        self.installed: tuple[Backend, ...] = ()

    def install(self) -> None:
        """Put the rules in, in place of what an earlier run left: all, or none and HostError."""
        backends = self.probe()
        self.clean_leftovers()
        self.installed = backends
        try:
            for backend in backends:
                backend.install(self.settings)
        except HostError:
            self.remove()
            raise

    def remove(self) -> None:
        """Take the rules back. Raises HostError."""
        for backend in self.installed:
            backend.remove()
        self.installed = ()

    def rest(self) -> None:
        """Let everything go but what begins a connection or ends one, until `wake`. Raises HostError.

        Only where sets of nf_tables know the connections. Otherwise nothing changes.
        """
        for backend in self._flow_sets():
            backend.rest()

    def wake(self) -> None:
        """End `rest`: from now on each packet comes whose connection is not left. Raises HostError."""
        for backend in self._flow_sets():
            backend.wake()

    def _flow_sets(self) -> Iterator[FlowSets]:
        return (backend for backend in self.installed if isinstance(backend, FlowSets))

    def clean_leftovers(self) -> None:
        """Take back what a daemon left that was killed, whichever backend it used. Raises HostError."""
        for backend in all_backends():
            backend.remove()

    def refuse_orphans(self) -> bool:
        """Reset, instead of queueing, the packets of connections that a dead daemon took over.

        False when no daemon left rules behind. `clean_leftovers` ends it. Raises HostError.
        """
        found = [backend.refuse_orphans(self.settings) for backend in all_backends()]
        return any(found)

    def probe(self) -> tuple[Backend, ...]:
        """Return the backends to use: for each IP version the best that works. Raises HostError."""
        versions = tuple(found for version in (4, 6) if (found := self._probe_version(version)) is not None)
        if versions:
            return versions
        nft = Nft()
        if nft.available(self.settings.queue):
            return (nft,)
        raise HostError(
            "no rule can send packets to a queue here: neither iptables -j NFQUEUE nor nft queue works; run "
            "as root, install iptables, and see that the kernel has CONFIG_NETFILTER_XT_TARGET_NFQUEUE"
        )

    def _probe_version(self, version: int) -> Backend | None:
        flows, tables = FlowSets(version), Iptables(version)
        if flows.available(self.settings):
            return flows
        return tables if tables.available(self.settings.queue) else None


def all_backends() -> tuple[Backend, ...]:
    """Return one of each kind: any of them may have left rules."""
    return (FlowSets(4), FlowSets(6), Iptables(4), Iptables(6), Nft())

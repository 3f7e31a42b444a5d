"""The firewall rules that send TCP to the queue, by the first backend that works on this host."""

from mpcore.config import Config
from mpcore.errors import HostError
from mpcore.host.iptables import Iptables, RuleSettings
from mpcore.host.nft import Nft

Backend = Iptables | Nft


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

    def clean_leftovers(self) -> None:
        """Take back what a daemon left that was killed, whichever backend it used. Raises HostError."""
        for backend in (Iptables(4), Iptables(6), Nft()):
            backend.remove()

    def refuse_orphans(self) -> bool:
        """Reset, instead of queueing, the packets of connections that a dead daemon took over.

        False when no daemon left rules behind. `clean_leftovers` ends it. Raises HostError.
        """
        backends: tuple[Backend, ...] = (Iptables(4), Iptables(6), Nft())
        found = [backend.refuse_orphans(self.settings) for backend in backends]
        return any(found)

    def probe(self) -> tuple[Backend, ...]:
        """Return the backends to use: iptables for each IP version that has it, or nft. Raises HostError."""
        tables = tuple(table for table in (Iptables(4), Iptables(6)) if table.available(self.settings.queue))
        if tables:
            return tables
        nft = Nft()
        if nft.available(self.settings.queue):
            return (nft,)
        raise HostError(
            "no rule can send packets to a queue here: neither iptables -j NFQUEUE nor nft queue works; run "
            "as root, install iptables, and see that the kernel has CONFIG_NETFILTER_XT_TARGET_NFQUEUE"
        )

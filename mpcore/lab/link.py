"""One link of the laboratory: shaped or emulated, and breakable in several ways."""

from collections.abc import Iterable

from mpcore.lab.commands import LabError, run_together
from mpcore.lab.emulation import Emulation, netem_words
from mpcore.lab.host import Host
from mpcore.lab.settings import LinkSettings

MTU_BYTES = 1500
BURST_NS = 1_000_000  # long enough for a 64 KB super-packet at 1 Gbit/s, which then passes the shaper whole
QUEUE_NS = 10_000_000
MIN_BURST_BYTES = 8192
TUN_PACKETS = 4000  # what the hosts may hand over at once, while the emulator sleeps
CUT_CHAIN = "LAB-CUT"

# The chains exist from the start: making a chain while packets wait in an NFQUEUE would inject those twice.
# IPv6 neighbour discovery passes a cut, as ARP does: hosts must see silence, not an unreachable neighbour.
CUT_RULES = {
    4: f"*raw\n:{CUT_CHAIN} - [0:0]\n-A PREROUTING -j {CUT_CHAIN}\nCOMMIT\n",
    6: f"*raw\n:{CUT_CHAIN} - [0:0]\n-A PREROUTING -j {CUT_CHAIN}\n"
    f"-A {CUT_CHAIN} -p icmpv6 --icmpv6-type neighbour-solicitation -j RETURN\n"
    f"-A {CUT_CHAIN} -p icmpv6 --icmpv6-type neighbour-advertisement -j RETURN\nCOMMIT\n",
}
IPTABLES = {4: "iptables", 6: "ip6tables"}


class Link:
    """Link number `index`, from 1: interface `linkN` on both hosts, networks 10.77.N.0/24 and fd77:N::/64.

    Host `a` has address 1, host `b` address 2. It is a veth pair. One that delays, loses, doubles or reorders
    packets gets the kernel's netem, or where `netem` is false is a pair of TUN interfaces with an Emulation
    between them: such a one has no neighbour discovery, and no carrier that is lost when the other end goes
    down.
    """

    def __init__(self, index: int, a: Host, b: Host, settings: LinkSettings) -> None:
        self.index = index
        self.a = a
        self.b = b
        self.settings = settings
        self.interface = f"link{index}"
        self.emulation: Emulation | None = None

    @property
    def rate_mbit(self) -> float | None:
        """Mbit/s in each direction, None for unlimited."""
        return self.settings.rate_mbit

    @property
    def kind(self) -> str:
        """What carries the packets: `veth`, `netem` or `emulator`."""
        if self.emulation is not None:
            return "emulator"
        return "netem" if self.settings.is_emulated else "veth"

    def address(self, host: Host, version: int = 4) -> str:
        """Return the address of `host` on this link."""
        number = 1 if host is self.a else 2
        return f"10.77.{self.index}.{number}" if version == 4 else f"fd77:{self.index}::{number}"

    def _address_words(self, host: Host, version: int) -> str:
        if version == 4:
            return f"{self.address(host)}/24 dev {self.interface}"
        return f"{self.address(host, 6)}/64 dev {self.interface} nodad"

    def create(self, *, netem: bool = False) -> None:
        """Make both interfaces inside their namespaces, give them addresses, bring them up and shape them."""
        name = self.interface
        # netem marks only what it would lose
        if self.settings.is_emulated and (self.settings.mark or not netem):
            self.emulation = Emulation(self.a, self.b, name)
            for host in (self.a, self.b):
                host.ip("link", "set", name, "txqueuelen", str(TUN_PACKETS))
        else:
            self.a.ip("link", "add", name, "type", "veth", "peer", "name", name, "netns", self.b.namespace)
        self._configure()
        self.change(self.settings)

    def _configure(self) -> None:
        name = self.interface
        for host in (self.a, self.b):
            host.ip_batch(
                [
                    f"link set {name} mtu {MTU_BYTES}",
                    *(f"addr add {self._address_words(host, version)}" for version in (4, 6)),
                    f"link set {name} up",
                ]
            )

    def change(self, settings: LinkSettings) -> None:
        """Give a living link other properties. Raises LabError when a plain one is to be an emulated one."""
        if settings.is_emulated and not self.settings.is_emulated:
            raise LabError("a link that delays or loses packets has to be made as such")
        self.settings = settings
        if self.emulation is not None:
            self.emulation.set(settings)
        elif settings.is_emulated:
            self._impair(settings)
        elif settings.rate_mbit is not None:
            self._limit(settings.rate_mbit)

    def _impair(self, settings: LinkSettings) -> None:
        """Let netem impair each direction, packet by packet."""
        self.without_offload()
        for host in (self.a, self.b):
            host.tc("qdisc", "replace", "dev", self.interface, "root", *netem_words(settings))

    def _limit(self, rate_mbit: float) -> None:
        """Limit each direction to `rate_mbit` Mbit/s, with a queue of ten milliseconds."""
        bytes_per_ns = rate_mbit * 1e6 / 8 / 1e9
        burst = max(int(bytes_per_ns * BURST_NS), MIN_BURST_BYTES)
        limit = burst + int(bytes_per_ns * QUEUE_NS)
        shape = f"tbf rate {int(rate_mbit * 1000)}kbit burst {burst} limit {limit}"
        for host in (self.a, self.b):
            host.tc("qdisc", "replace", "dev", self.interface, "root", *shape.split())

    def without_offload(self) -> None:
        """Switch segmentation and receive offloads off: every packet then is at most one MTU long."""
        for host in (self.a, self.b):
            host.run(["ethtool", "-K", self.interface, "tso", "off", "gso", "off", "gro", "off"])

    def cut(self, *towards: Host) -> None:
        """Lose silently all that arrives at the hosts `towards` (both when none is named).

        The interfaces stay up and the sender learns nothing, as when a cable breaks behind the next switch.
        """
        self._change_cut("-A", towards or (self.a, self.b))

    def restore(self, *towards: Host) -> None:
        """Take `cut` back for the hosts `towards` (both when none is named)."""
        self._change_cut("-D", towards or (self.a, self.b))

    def _change_cut(self, change: str, hosts: Iterable[Host]) -> None:
        """Change the rules of all `hosts` at once: a cable that breaks breaks for both ends."""
        rule = ["-w", "-t", "raw", change, CUT_CHAIN, "-i", self.interface, "-j", "DROP"]
        run_together(host.command([command, *rule]) for host in hosts for command in IPTABLES.values())

    def down(self, host: Host) -> None:
        """Take the interface of `host` down; the other end of a veth pair loses the carrier."""
        host.ip("link", "set", self.interface, "down")

    def up(self, host: Host) -> None:
        """Bring the interface of `host` up again."""
        host.ip("link", "set", self.interface, "up")

    def remove_address(self, host: Host, version: int = 4) -> None:
        """Take the address of `host` on this link away."""
        host.ip("addr", "del", *self._address_words(host, version).removesuffix(" nodad").split())

    def add_address(self, host: Host, version: int = 4) -> None:
        """Give the address of `host` on this link back."""
        host.ip("addr", "add", *self._address_words(host, version).split())

    def route_by_source(self, host: Host) -> None:
        """Let packets from the addresses that `host` has on this link leave by this link, wherever they go.

        Without it a subflow from the second address to the peer's first one leaves by the first link.
        """
        peer = self.b if host is self.a else self.a
        table = str(100 + self.index)
        for version in (4, 6):
            family, gateway = f"-{version}", self.address(peer, version)
            host.ip(family, "rule", "add", "from", self.address(host, version), "table", table)
            host.ip(family, "route", "add", "default", "via", gateway, "dev", self.interface, "table", table)

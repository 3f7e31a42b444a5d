"""`[shim6]` of the configuration (RFC 5533, 5534, 5535)."""

from ipaddress import IPv6Network
from typing import Annotated, Literal

import msgspec

from mpcore.config_types import SECOND_NS, Count, ExcludeRule, Port, Section

PerSecond = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Place = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
FormPrefix = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Fa-f:]+::/64@[^\s/@]{1,15}$")]
Duration = Annotated[float, msgspec.Meta(ge=0.001, le=86400.0)]


class ForkRule(Section, frozen=True):
    """`[[shim6.forks]]`: packets that leave by a forked context of their own (RFC 5533 §4.2).

    With both a DSCP and a mark, packets need both.
    """

    # Forked Instance Identifier.
    fii: Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFFFF)]
    # Differentiated services field of the packets meant, which programs set by IPV6_TCLASS (DSCP times 4).
    dscp: Annotated[int, msgspec.Meta(ge=0, le=63)] | None = None
    # Packet mark of the packets meant, under a mask; programs set it by SO_MARK, rules of nft by anything.
    mark: Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)] | None = None
    mark_mask: Annotated[int, msgspec.Meta(ge=1, le=0xFFFFFFFF)] | None = None
    # Locators that the fork likes, of this host and of the peer; empty: all the same.
    local_prefixes: tuple[IPv6Network, ...] = ()
    peer_prefixes: tuple[IPv6Network, ...] = ()

    def __post_init__(self) -> None:
        if self.dscp is None and self.mark is None:
            raise ValueError("a fork needs dscp, mark or both")
        if self.mark is None and self.mark_mask is not None:
            raise ValueError("mark_mask without mark")
        if self.mark is not None and self.mark & ~(self.mark_mask or 0):
            raise ValueError("a mark needs a mark_mask that has all of its bits")


class Shim6Config(Section, frozen=True):
    """`[shim6]`: sessions between IPv6 hosts that survive the loss of an address, a link or a provider."""

    # Off: no packet is looked at for Shim6.
    enabled: bool = False
    # Answer peers that want a context; off: contexts are made by this host's own wish only.
    respond: bool = True

    # NFQUEUE number of Shim6's own queue, and of that for TCP which leaves, in super-packets.
    queue_number: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 5201
    tcp_queue_number: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 5202
    # Packets that may wait in each.
    queue_length: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)] = 8192

    # CGA parameter files of this host's addresses, or directories of them, as `mpcore hba make` and `mpcore
    # cga make` write them (RFC 3972, RFC 5535). A key is looked for beside: host.pem for host.hba. The
    # administrator assigns the addresses.
    identities: tuple[str, ...] = ()
    # What is formed for the prefixes that routers advertise for autoconfiguration, and for form_prefixes: an
    # address for each that a key signs for (RFC 3972), a set that needs no key (RFC 5535), or a set whose key
    # signs for the prefixes that come later. "off": addresses come by identities alone.
    form: Literal["off", "cga", "hba", "hba+cga"] = "off"
    # Interfaces whose router advertisements count; empty: all but mptcp.exclude_interfaces and lo.
    form_interfaces: tuple[str, ...] = ()
    # Prefixes that no router needs to advertise, such as "2001:db8:1::/64@eth0".
    form_prefixes: tuple[FormPrefix, ...] = ()
    # Where an address is formed, keep the kernel from forming its own (autoconf=0 on the interface), and
    # deprecate those: programs take the formed one.
    form_alone: bool = True
    # Sec of new addresses: 1 takes some 65 thousand hashes, 2 some 4300 million, an hour of a processor. A
    # process of its own searches, with the least priority.
    form_sec: Annotated[int, msgspec.Meta(ge=0, le=2)] = 0
    # Seconds that a set waits for more prefixes; routers advertise every 3 s at most (RFC 4861 §10).
    form_settle_s: Annotated[float, msgspec.Meta(ge=0.0, le=3600.0)] = 4.0
    # Prefixes at once; further ones are left alone.
    form_max_prefixes: Annotated[int, msgspec.Meta(ge=1, le=16)] = 8
    # Directory for what is formed and its key, host.pem, so that the next daemon forms the same; "" keeps
    # nothing.
    form_directory: str = "/var/lib/mpcore/addresses"
    # Who decides which conversations get a context: a class as "module:Class", called with the keys below.
    heuristic: Place = "mpcore.shim6.heuristic:Heuristic"
    # A conversation gets a context at so many packets both ways together, when it also carries this many
    # bytes or is this old (the thesis's thresholds; most flows stay below).
    min_packets: Count = 4
    min_bytes: Annotated[int, msgspec.Meta(ge=0, le=1 << 40)] = 2048
    min_age_s: Annotated[float, msgspec.Meta(ge=0.0, le=86400.0)] = 60.0
    # Ports of either side whose conversations never get one.
    exclude_ports: tuple[Port, ...] = (53, 123)
    # Conversations that never get one, such as "22", "2001:db8::/32", "[2001:db8::1]:443"; see ExcludeRule.
    exclude: tuple[ExcludeRule, ...] = ()
    # Conversations that get one as soon as packets flow both ways.
    always: tuple[ExcludeRule, ...] = ()
    # The same by the name of the program, as in /proc/PID/comm.
    applications: dict[str, Literal["always", "never"]] = {}  # noqa: RUF012 - msgspec copies it
    # Give conversations that MPTCP moves a context too (RFC 6629 §7.3 warns of two layers that race).
    with_mptcp: bool = False

    # Who orders the pairs of locators and chooses among those that work: a class as "module:Class".
    policy: Place = "mpcore.shim6.policy:PairPolicy"
    # Seconds without an answer to payload before the search for another pair; peers are told whole seconds.
    # RFC 5534 §7 recommends 10 to 100.
    send_timeout_s: Annotated[float, msgspec.Meta(ge=1.0, le=65535.0)] = 15.0
    # Seconds without an answer to payload after which TCP is asked whether it repeats in vain, then each time
    # after twice as long; 0: never.
    ask_tcp_after_s: Annotated[float, msgspec.Meta(ge=0.0, le=86400.0)] = 1.5
    # Pairs probed at once when a search begins. More than 1 departs from RFC 5534 §4.3, which wants one after
    # the other; probes_per_second keeps the storm away that the rule is there for.
    probe_burst: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    # Probes of the whole host in a second.
    probes_per_second: PerSecond = 200
    # Seconds between probes at first, how many such probes, and the longest gap later (RFC 5534 §7, §4.3).
    initial_probe_timeout_s: Duration = 0.5
    initial_probes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    max_probe_timeout_s: Duration = 60.0
    # Seconds after which a pair that failed is tried again where it is liked more than the one in use, the
    # ULIDs among them; doubled for one that keeps failing. 0: never.
    return_after_s: Annotated[float, msgspec.Meta(ge=0.0, le=86400.0)] = 60.0
    # Quiet seconds after which a context that no socket needs is discarded (RFC 5533 §9: 300 at least).
    quiescence_s: Duration = 300.0
    # Seconds to the first repetition of a message that begins a context; doubled each time (RFC 5533 §14).
    handshake_timeout_s: Duration = 4.0
    # Seconds that a peer is left alone that did not answer, or said that it knows no Shim6 (RFC 5533 §14).
    no_answer_holddown_s: Duration = 60.0
    no_support_holddown_s: Duration = 600.0
    # Hand every ICMPv6 error to the transports, also one that Shim6 acts on (RFC 5533 §8).
    deliver_all_icmp: bool = False
    # Packets that leave by forked contexts of their own, the first rule that fits; see ForkRule.
    forks: Annotated[tuple[ForkRule, ...], msgspec.Meta(max_length=8)] = ()

    # File that established contexts are kept in over a restart; "" keeps none.
    state_file: str = "/var/lib/mpcore/shim6.state"
    # Least seconds between two writes of it.
    state_interval_s: Duration = 1.0

    # Contexts at once, in all and with peers of one prefix of 64 bits.
    max_contexts: Count = 65536
    max_contexts_per_prefix: Count = 4096
    # Locators that a peer's list may have.
    max_locators: Annotated[int, msgspec.Meta(ge=1, le=64)] = 16
    # Conversations without context that are watched.
    max_flows: Count = 65536
    # Messages of the whole host in a second: R1, R1bis, Errors, signatures of lists that are verified (of
    # locators that a hash proves ten times as many), Update Requests. Three times as many messages of
    # strangers as R1 and R1bis may be sent are looked at.
    r1_per_second: PerSecond = 2000
    r1bis_per_second: PerSecond = 200
    errors_per_second: PerSecond = 10
    verifications_per_second: PerSecond = 500
    updates_per_second: PerSecond = 200
    # Answers of one context in a second.
    answers_per_second: PerSecond = 20

    def __post_init__(self) -> None:
        if self.initial_probe_timeout_s > self.max_probe_timeout_s:
            raise ValueError("initial_probe_timeout_s is above max_probe_timeout_s")
        if len({fork.fii for fork in self.forks}) < len(self.forks):
            raise ValueError("two forks have the same fii")

    @property
    def send_timeout_ns(self) -> int:
        """Nanoseconds of `send_timeout_s`."""
        return round(self.send_timeout_s * SECOND_NS)

    @property
    def state_interval_ns(self) -> int:
        """Nanoseconds of `state_interval_s`."""
        return round(self.state_interval_s * SECOND_NS)

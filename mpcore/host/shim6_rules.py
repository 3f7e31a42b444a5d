"""The rules that show Shim6 what it has to see, and no more.

What the kernel does alone, in a table of nf_tables whose sets name addresses (`mpcore.host.nftables`):

- `contexts` counts the packets of contexts by source and destination: the liveness of those on their ULIDs,
  while the daemon counts itself what comes to its queue;
- `talks` and `others` count conversations from `ulids` that have no context, with ports and without;
- `used` and `used_others` remember for an hour what went by contexts but by TCP, because sockets that are not
  connected do not tell whom they talk to (`mpcore.host.shim6_sockets`);
- packets between a pair in `rewriting` get a mark;
- packets with the DSCP or mark of a fork (RFC 5533 §4.2) get it between a pair in `forked_FII`, whatever the
  plain context has; `wanted_FII` remembers pairs that have a context and not yet this fork;
- short segments between a pair in `asked` get it too: for a moment after a change of locators sockets are
  asked for their numbers (`mpcore.host.shim6_kick`), and their answers are to be seen.

What comes to the queue: packets with that mark, behind every other hook of OUTPUT, so that firewalls judge
ULIDs; protocol 140 at INPUT, in front of them (RFC 5533 §12); and ICMPv6 errors, whose quotes may have to be
mapped back (RFC 5533 §8). The queueing is iptables' because not every kernel has nft's queue statement.
"""

import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from mpcore.config import ForkRule
from mpcore.errors import HostError
from mpcore.host.command import run_command, succeeds
from mpcore.host.iptables import Iptables, restore, script

TABLE = "mpcore-shim6"
CONTEXTS, REWRITING, ASKED, ULIDS = "contexts", "rewriting", "asked", "ulids"
TALKS, OTHERS = "talks", "others"
USED, USED_OTHERS = "used", "used_others"
# The table that queues and the priority of the chain in front of it: the first table that the kernel has.
# Behind the filters of OUTPUT (0), which judge ULIDs; the table security has priority 50 or more.
OUT_PLACES = (("security", 40), ("mangle", -160))
ICMP_ERRORS = (1, 2, 3, 4)
# behind the table mangle (-150), so that packets that had a Shim6 header are known by the mark and left out
IN_PRIORITY = -140
TALK_TIMEOUT_S = (
    30  # after which a silent conversation begins anew, as `mpcore.shim6.heuristic.FlowBook` has it
)
ACK_SIZE = 60  # octets of a TCP header at most, and so of a segment without payload
USED_TIMEOUT_S = 3600
PORTED = "{ tcp, udp, udplite, sctp, dccp }"


@dataclass(frozen=True, slots=True)
class Shim6RuleSettings:
    """What the rules depend on: the queues, one of them for TCP that leaves; two marks of a single bit each;
    and what is never counted.
    """

    queue: int
    tcp_queue: int
    mark_done: int
    mark_rewrite: int
    skip_ports: Collection[int]
    with_mptcp: bool
    max_talks: int
    forks: Collection[ForkRule] = ()


class Shim6Rules:
    """The rules of one daemon."""

    def __init__(self, settings: Shim6RuleSettings) -> None:
        self.settings = settings
        self._tables = Iptables(6)

    def lacks(self) -> str | None:
        """Return what this host lacks, as a sentence for people; None when the rules can be put in."""
        if not self._tables.available(self.settings.queue):
            return "Shim6 needs IPv6 and ip6tables with NFQUEUE"
        sets = table_text(self.settings, OUT_PLACES[-1][1])
        if shutil.which("nft") is None or not succeeds(["nft", "-c", "-f", "-"], sets):
            return "Shim6 needs nft and a kernel with nf_tables of at least Linux 5.7, for sets with counters"
        return None

    def install(self) -> None:
        """Put the rules in, in place of what an earlier run left: all, or none and HostError."""
        settings, tables = self.settings, self._tables
        lacking = self.lacks()
        if lacking is not None:
            raise HostError(f"{lacking}; set shim6.enabled=false to run without it")
        queue = f"-m mark --mark {settings.mark_rewrite:#x} -j NFQUEUE --queue-num 0"
        place = next((place for place in OUT_PLACES if tables.accepts(place[0], queue)), OUT_PLACES[-1])
        sets = table_text(settings, place[1])
        self.remove()
        defragments = next((rule for rule in defragmenters() if tables.accepts("mangle", rule)), None)
        try:
            run_command(["nft", "-f", "-"], sets)
            lines = [*in_lines(settings, defragments), *out_lines(settings, place[0])]
            run_command(restore(tables.tool), script(lines))
        except HostError:
            self.remove()
            raise

    def remove(self) -> None:
        """Take the rules back, also those of an earlier run. Raises HostError."""
        remove_shim6_rules()


CHAIN_PREFIX = "MPCORE-SHIM6-"


def remove_shim6_rules() -> None:
    """Take out the rules and sets of any daemon, whatever its settings were. Raises HostError."""
    Iptables(6).remove(prefix=CHAIN_PREFIX)
    if shutil.which("nft") is not None and re.search(
        rf"^table ip6 {TABLE}$", run_command(["nft", "list", "tables"]), re.MULTILINE
    ):
        run_command(["nft", "delete", "table", "ip6", TABLE])


def defragmenters() -> Iterator[str]:
    """Yield rules that match nothing and make the kernel put fragments together in front of all rules.

    The first does without connection tracking, which costs every packet of the host.
    """
    yield "-p 140 -m socket -j RETURN"
    yield "-p 140 -m conntrack --ctstate DNAT -j RETURN"


def in_lines(settings: Shim6RuleSettings, defragments: str | None) -> list[str]:
    """Return the script for INPUT: control messages, payload with the header, ICMPv6 errors."""
    done = f"{settings.mark_done:#x}"
    queue = f"-j NFQUEUE --queue-num {settings.queue} --queue-bypass"
    chain = f"{CHAIN_PREFIX}IN"
    return [
        "*mangle",
        f":{chain} - [0:0]",
        f"-A {chain} -m mark --mark {done}/{done} -j RETURN",
        *([f"-A {chain} {defragments}"] if defragments else []),
        f"-A {chain} -p 140 {queue}",
        *(f"-A {chain} -p icmpv6 --icmpv6-type {number} {queue}" for number in ICMP_ERRORS),
        f"-I INPUT -p 140 -j {chain}",
        f"-I INPUT -p icmpv6 -j {chain}",
        "COMMIT",
    ]


def out_lines(settings: Shim6RuleSettings, table: str) -> list[str]:
    """Return the script for OUTPUT: what nft has marked."""
    done, rewrite = f"{settings.mark_done:#x}", f"{settings.mark_rewrite:#x}"
    chain = f"{CHAIN_PREFIX}OUT"
    return [
        f"*{table}",
        f":{chain} - [0:0]",
        f"-A {chain} -m mark --mark {done}/{done} -j RETURN",
        f"-A {chain} -p tcp -j NFQUEUE --queue-num {settings.tcp_queue}",
        f"-A {chain} -j NFQUEUE --queue-num {settings.queue}",
        f"-A OUTPUT -m mark --mark {rewrite}/{rewrite} -j {chain}",
        "COMMIT",
    ]


def table_text(settings: Shim6RuleSettings, out_priority: int) -> str:
    """Return the table of nf_tables: sets empty, rules in place."""
    pair, ports = "ipv6_addr . ipv6_addr", "inet_service . inet_service"
    limits = f"flags dynamic,timeout; timeout {TALK_TIMEOUT_S}s; size {settings.max_talks}; counter;"
    remembers = limits.replace(f"{TALK_TIMEOUT_S}s", f"{USED_TIMEOUT_S}s")
    counting = "\n".join(counting_rules(settings))
    fork_chains = "".join(fork_chain(fork, settings.mark_rewrite) for fork in settings.forks)
    fork_rules = "".join(f" {fork_match(fork)} goto fork_{fork.fii}\n" for fork in settings.forks)
    return f"""table ip6 {TABLE} {{
set {ULIDS} {{ type ipv6_addr; }}
set {REWRITING} {{ type {pair}; }}
set {ASKED} {{ type {pair}; }}
set {CONTEXTS} {{
 type {pair}
 counter
}}
set {TALKS} {{ type {pair} . inet_proto . {ports}; {limits} }}
set {OTHERS} {{ type {pair} . inet_proto; {limits} }}
set {USED} {{ type {pair} . inet_proto . inet_service; {remembers} }}
set {USED_OTHERS} {{ type {pair} . inet_proto; {remembers} }}
{fork_sets(settings, limits)}chain sent {{
{remembering("saddr", "daddr", "sport")}
}}
chain received {{
{remembering("daddr", "saddr", "dport")}
}}
chain unforked {{
 ip6 saddr . ip6 daddr @{REWRITING} meta mark set meta mark | {settings.mark_rewrite:#x} goto sent
 ip6 nexthdr tcp ip6 length <= {ACK_SIZE} ip6 saddr . ip6 daddr @{ASKED} \
 meta mark set meta mark | {settings.mark_rewrite:#x}
 ip6 saddr . ip6 daddr @{CONTEXTS} goto sent
{counting}
}}
{fork_chains}chain out {{
 type filter hook output priority {out_priority}; policy accept;
 meta mark & {settings.mark_done:#x} != 0 return
 oifname "lo" return
 ip6 saddr != @{ULIDS} return
 rt ipsec exists return
{fork_rules} goto unforked
}}
chain in {{
 type filter hook input priority {IN_PRIORITY}; policy accept;
 iifname "lo" return
 ip6 daddr != @{ULIDS} return
 meta mark & {settings.mark_done:#x} != 0 meta l4proto != icmpv6 goto received
 meta mark & {settings.mark_done:#x} != 0 return
 ip6 saddr . ip6 daddr @{CONTEXTS} goto received
{counting}
}}
}}
"""


def forked_set(fii: int) -> str:
    """Return the set of ULIDs that have this fork."""
    return f"forked_{fii}"


def wanted_set(fii: int) -> str:
    """Return the set of ULIDs that lack this fork and have packets for it."""
    return f"wanted_{fii}"


def fork_sets(settings: Shim6RuleSettings, limits: str) -> str:
    """Return the sets of forks, a line each; `limits` are those of sets that packets fill."""
    kind = "type ipv6_addr . ipv6_addr;"
    return "".join(
        f"set {forked_set(fork.fii)} {{ {kind} }}\nset {wanted_set(fork.fii)} {{ {kind} {limits} }}\n"
        for fork in settings.forks
    )


def fork_match(fork: ForkRule) -> str:
    """Return what tells the packets of a fork."""
    parts = []
    if fork.dscp is not None:
        parts.append(f"ip6 dscp {fork.dscp}")
    if fork.mark is not None:
        parts.append(f"meta mark & {fork.mark_mask:#x} == {fork.mark:#x}")
    return " ".join(parts)


def fork_chain(fork: ForkRule, mark_rewrite: int) -> str:
    """Return the chain for packets of a fork: where there is none they are the plain context's."""
    pair, name = "ip6 saddr . ip6 daddr", f"fork_{fork.fii}"
    return f"""chain {name} {{
 {pair} @{forked_set(fork.fii)} meta mark set meta mark | {mark_rewrite:#x} goto sent
 {pair} @{CONTEXTS} update @{wanted_set(fork.fii)} {{ {pair} }}
 goto unforked
}}
"""


def remembering(local: str, peer: str, port: str) -> str:
    """Return the rules that remember what goes by a context; keys begin with this host's side.

    TCP pays one comparison: its sockets are connected.
    """
    pair = f"ip6 {local} . ip6 {peer} . meta l4proto"
    return f""" meta l4proto tcp return
 meta l4proto {PORTED} update @{USED} {{ {pair} . th {port} }} return
 update @{USED_OTHERS} {{ {pair} }}"""


def counting_rules(settings: Shim6RuleSettings) -> Iterator[str]:
    """Yield the rules that count what remains: conversations without context."""
    pair = "ip6 saddr . ip6 daddr"
    yield " meta l4proto 140 return"
    if not settings.with_mptcp:
        yield " tcp option mptcp exists return"  # RFC 6629 §7.3: two layers would race
    if settings.skip_ports:
        ports = ", ".join(map(str, sorted(settings.skip_ports)))
        yield f" meta l4proto {PORTED} th sport {{ {ports} }} return"
        yield f" meta l4proto {PORTED} th dport {{ {ports} }} return"
    yield f" meta l4proto {PORTED} update @{TALKS} {{ {pair} . meta l4proto . th sport . th dport }} return"
    yield f" update @{OTHERS} {{ {pair} . meta l4proto }}"

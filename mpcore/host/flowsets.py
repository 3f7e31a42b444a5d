"""Rule chains in each direction that queue TCP, and know each connection by sets of nf_tables.

A packet of a connection that needs mpcore no more meets one look-up and nothing else; while the rules rest,
because mpcore carries no connection, only a look at its flags. Connection marks would have the kernel track
every connection of the host for it, which costs bulk TCP a sixth. Each direction has sets of its own, whose
key is what the headers hold: addresses, then ports. A verdict tells what becomes of a connection by a mark on
its packet, which then passes its chain once more.

OUTPUT is caught in front of connection tracking, which so sees the subflows as the network does, and not what
sockets send.

Taking the rules back empties chains and sets and leaves them: deleting a base chain makes the kernel drop
every packet that waits in any queue.
"""

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping

from mpcore.errors import HostError
from mpcore.host.command import run_command, succeeds
from mpcore.host.nftables import NftSets
from mpcore.host.queuerule import add_queue_rule
from mpcore.host.rulesettings import RuleSettings, excluded_lines

TABLE = "mpcore-flows"
FAMILIES = {4: "ip", 6: "ip6"}
NUMBERS = {4: 2, 6: 10}  # NFPROTO_IPV4, NFPROTO_IPV6
# Each part by itself, because the kernel loads no more than four octets the fast way.
KEYS = {number: f"{name} saddr . {name} daddr . th sport . th dport" for number, name in FAMILIES.items()}
# The same connection as the other direction's packets tell it.
REVERSED = {number: f"{name} daddr . {name} saddr . th dport . th sport" for number, name in FAMILIES.items()}
# In front of connection tracking (-200); behind the table mangle (-150), where Shim6 takes its header off.
HOOKS = {
    "out": "type filter hook output priority -300; policy accept;",
    "in": "type filter hook input priority -149; policy accept;",
    "end_out": "type filter hook output priority -1; policy accept;",
    "end_in": "type filter hook input priority -1; policy accept;",
}
WAYS = {"out": "in", "in": "out"}  # each with the other
LOOKS = {way: f"look_{way}" for way in WAYS}  # chains of what the first rules of a direction do not let go
# Chains that nothing leads to: what `out` and `in` get in turn.
WAKES = {way: f"awake_{way}" for way in WAYS}
RESTS = {way: f"rest_{way}" for way in WAYS}
# Chains with the one rule that queues; with the second a packet waits also when nobody reads the queue.
ASK, ASK_TAKEN = "ask", "ask_taken"
ELEMENTS = 262_144  # of a set; what finds no place is asked about with each packet
# How long a set remembers without a packet: a connection that is left, one in its last exchange or its first,
# one that was taken over. Those that are left are asked about again after that time in any case.
LEFT_TIMEOUT, ENDING_TIMEOUT, TAKEN_TIMEOUT = "1h", "1m", "1d"
TIMEOUTS = {"left": LEFT_TIMEOUT, "taken": TAKEN_TIMEOUT, "ending": ENDING_TIMEOUT}
# The octet of TCP's flags by its place: its name would have the kernel compare the protocol for each rule.
SYN = "@th,104,8 & 2 == 2"
END, NO_END = "@th,104,8 & 5 != 0", "@th,104,8 & 5 == 0"  # FIN or RST
SYN_OR_END, NO_SYN_NO_END = "@th,104,8 & 7 != 0", "@th,104,8 & 7 == 0"
SYN_OR_RST = "@th,104,8 & 6 != 0"


class FlowSets:
    """The sets and chains of one IP version (4 or 6)."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.table = f"{FAMILIES[version]} {TABLE}"
        self._switch: FirstRules | None = None

    def available(self, settings: RuleSettings) -> bool:
        """Return whether nft is there and the kernel takes all of it; no rule is left."""
        if shutil.which("nft") is None or (self.version == 6 and not os.path.exists("/proc/net/if_inet6")):
            return False
        probe = f"{self.table}-probe"
        if not succeeds(["nft", "-f", "-"], f"add table {probe}\nadd chain {probe} {ASK}\n"):
            return False
        try:
            self._add_queue_rule(f"{TABLE}-probe", ASK, settings, bypass=True)
        except HostError:
            return False
        finally:
            run_command(["nft", "delete", "table", *probe.split()])
        lines = [*self._install_lines(settings), *self._orphan_lines(settings)]
        return succeeds(["nft", "-c", "-f", "-"], "".join(lines))

    def install(self, settings: RuleSettings) -> None:
        """Put sets and rules in, all or none. Raises HostError."""
        # the queueing rules last: without them the chains let everything go
        run_command(["nft", "-f", "-"], "".join(self._install_lines(settings)))
        self._add_queue_rule(TABLE, ASK_TAKEN, settings, bypass=False)
        self._add_queue_rule(TABLE, ASK, settings, bypass=True)

    def rest(self) -> None:
        """Let everything go but SYNs and RSTs, until `wake`. Raises HostError."""
        if self._switch is None:
            self._switch = FirstRules(self.version)
        self._switch.turn(RESTS)

    def wake(self) -> None:
        """End `rest`. Raises HostError."""
        if self._switch is not None:
            self._switch.turn(WAKES)

    def remove(self) -> None:
        """Empty what there is of it, also that of an earlier run. Raises HostError."""
        if self._switch is not None:
            self._switch.close()
            self._switch = None
        chains = self._chains()
        if chains:
            flush = [f"flush chain {self.table} {chain}\n" for chain in chains]
            run_command(["nft", "-f", "-"], "".join([*flush, *self._flush_set_lines()]))

    def refuse_orphans(self, settings: RuleSettings) -> bool:
        """Have connections that were taken over reset, and queue no more; False without rules of ours.

        Raises HostError.
        """
        if ASK not in self._chains() or "queue" not in self._listed(ASK).lower():
            return False
        flush = [f"flush chain {self.table} {chain}\n" for chain in (*WAYS, ASK, ASK_TAKEN)]
        run_command(["nft", "-f", "-"], "".join([*flush, *self._orphan_lines(settings)]))
        return True

    def _add_queue_rule(self, table: str, chain: str, settings: RuleSettings, *, bypass: bool) -> None:
        add_queue_rule(self.version, table, chain, settings.queue, bypass=bypass)

    def _chains(self) -> list[str]:
        """Return the names of the chains that stand."""
        if shutil.which("nft") is None:
            return []
        if not re.search(rf"^table {self.table}$", run_command(["nft", "list", "tables"]), re.MULTILINE):
            return []
        listed = run_command(["nft", "list", "table", *self.table.split()])
        return re.findall(r"^\tchain (\S+) {$", listed, re.MULTILINE)

    def _listed(self, chain: str) -> str:
        return run_command(["nft", "list", "chain", *self.table.split(), chain])

    def _install_lines(self, settings: RuleSettings) -> Iterator[str]:
        yield f"add table {self.table}\n"
        for way in WAYS:
            for name, timeout in TIMEOUTS.items():
                details = f"flags dynamic,timeout; timeout {timeout}; size {ELEMENTS};"
                yield f"add set {self.table} {name}_{way} {{ typeof {KEYS[self.version]}; {details} }}\n"
        yield from self._flush_set_lines()
        for chain in (ASK, ASK_TAKEN):
            yield from self._chain_lines(chain, ())
        for way, look in LOOKS.items():
            yield from self._chain_lines(look, look_rules(self.version, way, settings))
            awake = tuple(first_rules(self.version, way))
            yield from self._chain_lines(way, awake)
            yield from self._chain_lines(WAKES[way], awake)
            yield from self._chain_lines(RESTS[way], (rest_rule(way),))

    def _chain_lines(self, chain: str, rules: Iterable[str]) -> Iterator[str]:
        hook = f" {{ {HOOKS[chain]} }}" if chain in HOOKS else ""
        yield f"add chain {self.table} {chain}{hook}\n"
        yield f"flush chain {self.table} {chain}\n"
        yield from (f"add rule {self.table} {chain} {rule}\n" for rule in rules)

    def _flush_set_lines(self) -> Iterator[str]:
        for way in WAYS:
            yield from (f"flush set {self.table} {name}_{way}\n" for name in TIMEOUTS)

    def _orphan_lines(self, settings: RuleSettings) -> Iterator[str]:
        """Resets pass, because the refusals are some, and SYNs, because what they begin can be plain TCP.

        So does what mpcore itself sends to a socket to make it speak.
        """
        passing = f"tcp flags & (syn | rst) == 0 meta mark & {settings.mark_seen:#x} == 0"
        for way in WAYS:
            known = (f"{KEYS[self.version]} @{name}_{way}" for name in ("taken", "ending"))
            refusals = (f"{passing} {match} reject with tcp reset" for match in known)
            yield from self._chain_lines(f"end_{way}", refusals)


class FirstRules:
    """Gives the first chains of one IP version the rules of others, with no program of nft: handshakes wait.

    The socket stays open, because the kernel lets its end wait for some ten milliseconds. Raises HostError.
    """

    def __init__(self, version: int) -> None:
        self._tables = NftSets(TABLE, NUMBERS[version])
        try:
            self._rules = {chain: self._tables.rules(chain) for chain in (*RESTS.values(), *WAKES.values())}
        except OSError as error:
            self._tables.close()
            raise HostError(f"the rules of nf_tables cannot be read: {error.strerror}") from error

    def turn(self, chains: Mapping[str, str]) -> None:
        """Let the first chains have the rules of others. Raises HostError."""
        try:
            self._tables.replace_rules({way: self._rules[chain] for way, chain in chains.items()})
        except FileNotFoundError:
            return  # another program took the chains away, and what led packets here with them
        except OSError as error:
            raise HostError(f"the kernel takes no rules of nf_tables: {error.strerror}") from error

    def close(self) -> None:
        """Close the socket."""
        self._tables.close()


def has_mark(mark: int) -> str:
    """Return the match for a bit of the packet's mark."""
    return f"meta mark & {mark:#x} == {mark:#x}"


def first_rules(version: int, way: str) -> Iterator[str]:
    """Yield the rules that every packet of the host meets, what is not TCP too.

    They are written so that they do not apply to what they let go: one verdict less.
    """
    yield f"{SYN_OR_END} goto {LOOKS[way]}"
    yield f"{KEYS[version]} != @left_{way} goto {LOOKS[way]}"


def rest_rule(way: str) -> str:
    """Return the only first rule while no connection is carried: SYNs begin, RSTs end what has begun."""
    return f"{SYN_OR_RST} goto {LOOKS[way]}"


def look_rules(version: int, way: str, settings: RuleSettings) -> Iterator[str]:
    """Yield the rules of one direction for all other packets, in order.

    A SYN begins something new, whatever its addresses and ports were before. After a FIN or RST a connection
    is remembered for as long as its packets come, and not much longer: sets are of limited size.
    """
    key, left, taken, ending = KEYS[version], f"@left_{way}", f"@taken_{way}", f"@ending_{way}"
    device = "oif" if way == "out" else "iif"
    yield "meta l4proto != tcp accept"
    if way == "out":
        # to connection tracking it would look like a second copy of the connection, with its own numbers
        yield f"oif lo {has_mark(settings.mark_seen)} notrack"
    yield from verdict_rules(version, way, settings)
    yield f"{has_mark(settings.mark_seen)} accept"
    yield f"{SYN} delete {left} {{ {key} }} delete {taken} {{ {key} }} delete {ending} {{ {key} }}"
    yield f"{END} {key} {left} update {left} {{ {key} timeout {ENDING_TIMEOUT} }} accept"
    yield f"{END} {key} {taken} delete {taken} {{ {key} }} update {ending} {{ {key} }} goto {ASK_TAKEN}"
    yield f"{key} {taken} update {taken} {{ {key} }} goto {ASK_TAKEN}"
    yield f"{key} {ending} update {ending} {{ {key} }} goto {ASK_TAKEN}"
    if not settings.loopback:
        yield f"{device} lo accept"
    for exclusion in settings.exclusions:
        if exclusion.network is None or exclusion.network.version == version:
            remote = "daddr" if way == "out" else "saddr"
            yield from (f"{match} accept" for match in excluded_lines(exclusion, remote))
    yield f"goto {ASK}"


def verdict_rules(version: int, way: str, settings: RuleSettings) -> Iterator[str]:
    """Yield the rules that keep what a verdict told by its marks, and take these off.

    What is left is left in both directions: the other one's next packet may come while the rules rest.
    """
    sets = ((KEYS[version], way), (REVERSED[version], WAYS[way]))
    leave, told = has_mark(settings.mark_leave), settings.mark_leave | settings.mark_taken
    for key, side in sets:
        yield f"{leave} {SYN_OR_END} add @left_{side} {{ {key} timeout {ENDING_TIMEOUT} }}"
        yield f"{leave} {NO_SYN_NO_END} add @left_{side} {{ {key} }}"
        yield f"{leave} delete @taken_{side} {{ {key} }}"
    taken = f"update @taken_{way} {{ {KEYS[version]} }}"
    yield f"meta mark & {told:#x} == {settings.mark_taken:#x} {NO_END} {taken}"
    yield f"meta mark & {told:#x} != 0 meta mark set meta mark & {0xFFFFFFFF & ~told:#x}"

"""Rules by native nft, for kernels where iptables has no NFQUEUE target: one table for both IP versions.

Taking the rules back empties the chains and leaves them: deleting a base chain makes the kernel drop every
packet that waits in any queue.
"""

import re
import shutil
from collections.abc import Iterator, Mapping

from mpcore.host.command import run_command, succeeds
from mpcore.host.rulesettings import RuleSettings, excluded_lines

TABLE = "inet mpcore"
CHAINS = {
    "out": "type route hook output priority mangle; policy accept;",
    "in": "type filter hook input priority mangle; policy accept;",
    "raw": "type filter hook output priority raw; policy accept;",
}
ORPHAN_CHAINS = {
    "end_out": "type filter hook output priority filter - 1; policy accept;",
    "end_in": "type filter hook input priority filter - 1; policy accept;",
}


class Nft:
    """The rules of both IP versions in one table."""

    def available(self, queue: int) -> bool:
        """Return whether nft is there and the kernel takes its queue statement; nothing is changed."""
        if shutil.which("nft") is None:
            return False
        return succeeds(
            ["nft", "-c", "-f", "-"],
            "".join([*table_lines(), f"add rule {TABLE} out queue num {queue} bypass\n"]),
        )

    def install(self, settings: RuleSettings) -> None:
        """Put the rules in, all or none. Raises HostError."""
        lines = [*table_lines(), *flush_lines(CHAINS)]
        for chain, device, remote in (("out", "oifname", "daddr"), ("in", "iifname", "saddr")):
            lines += [f"add rule {TABLE} {chain} {rule}\n" for rule in chain_rules(settings, device, remote)]
        seen = has_mark("meta", settings.mark_seen)
        lines.append(f'add rule {TABLE} raw oifname "lo" meta l4proto tcp {seen} notrack\n')
        run_command(["nft", "-f", "-"], "".join(lines))

    def remove(self) -> None:
        """Empty our chains, also those of an earlier run. Raises HostError."""
        if shutil.which("nft") is None:
            return
        listed = run_command(["nft", "list", "tables"])
        if re.search(rf"^table {TABLE}$", listed, re.MULTILINE):
            orphans = {name: hook for name, hook in ORPHAN_CHAINS.items() if has_chain(name)}
            run_command(["nft", "-f", "-"], "".join([*table_lines(), *flush_lines(CHAINS | orphans)]))

    def refuse_orphans(self, settings: RuleSettings) -> bool:
        """Put refusal in the place of a dead daemon's queue; False when there is none. Raises HostError."""
        if shutil.which("nft") is None or not has_rules("out"):
            return False
        lines = [*table_lines(CHAINS | ORPHAN_CHAINS), *flush_lines(ORPHAN_CHAINS)]
        lines += [f"add rule {TABLE} {chain} {orphan_rule(settings)}\n" for chain in ORPHAN_CHAINS]
        run_command(["nft", "-f", "-"], "".join([*lines, *flush_lines({"out": "", "in": ""})]))
        return True


def has_chain(chain: str) -> bool:
    """Tell whether our table has a chain."""
    return succeeds(["nft", "list", "chain", *TABLE.split(), chain])


def has_rules(chain: str) -> bool:
    """Tell whether a chain of ours has rules."""
    return has_chain(chain) and "return" in run_command(["nft", "list", "chain", *TABLE.split(), chain])


def table_lines(chains: Mapping[str, str] = CHAINS) -> list[str]:
    """Return the commands that make table and chains where they are missing."""
    made = [f"add chain {TABLE} {name} {{ {hook} }}\n" for name, hook in chains.items()]
    return [f"add table {TABLE}\n", *made]


def flush_lines(chains: Mapping[str, str]) -> list[str]:
    """Return the commands that empty the chains."""
    return [f"flush chain {TABLE} {name}\n" for name in chains]


def has_mark(key: str, mark: int) -> str:
    """Return the match for a bit of the packet's mark ("meta") or the connection's ("ct")."""
    return f"{key} mark & {mark:#x} == {mark:#x}"


def chain_rules(settings: RuleSettings, device: str, remote: str) -> Iterator[str]:
    """Yield the rules of one direction, in order; the same as those of `mpcore.host.iptables`."""
    yield "meta l4proto != tcp return"
    yield f"{has_mark('ct', settings.mark_leave)} return"
    fate = settings.mark_leave | settings.mark_taken
    for mark in (settings.mark_leave, settings.mark_taken):
        kept = 0xFFFFFFFF & ~fate
        yield f"{has_mark('meta', mark)} ct mark set ct mark and {kept:#x} or {mark:#x}"
    yield f"{has_mark('meta', settings.mark_seen)} return"
    yield f"{has_mark('ct', settings.mark_taken)} queue num {settings.queue}"
    if not settings.loopback:
        yield f'{device} "lo" return'
    for exclusion in settings.exclusions:
        yield from (f"{each} return" for each in excluded_lines(exclusion, remote))
    yield f"ct state invalid queue num {settings.queue}"
    yield f"queue num {settings.queue} bypass"


def orphan_rule(settings: RuleSettings) -> str:
    """Return the rule that resets what a dead daemon took over, the same as in `mpcore.host.iptables`."""
    fate = settings.mark_leave | settings.mark_taken
    return (
        f"tcp flags & (syn | rst) == 0 ct mark & {fate:#x} == {settings.mark_taken:#x} reject with tcp reset"
    )

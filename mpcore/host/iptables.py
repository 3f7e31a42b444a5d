"""Rules by iptables and ip6tables, of whichever kind is installed, through `iptables-restore --noflush`.

Each family gets chains of its own and one jump to each. Taking them back deletes exactly these and never a
base chain: deleting one makes the kernel drop every packet that waits in any queue.
"""

import os
import re
import shutil
from collections.abc import Iterator

from mpcore.config import ExcludeRule
from mpcore.host.command import run_command, succeeds
from mpcore.host.rulesettings import RuleSettings

CHAIN_PREFIX = "MPCORE-"
PROBE_CHAIN = "MPCORE-PROBE"
# any of these may hold what an earlier run left, whichever is now the default
TOOLS = {
    4: ("iptables", "iptables-nft", "iptables-legacy"),
    6: ("ip6tables", "ip6tables-nft", "ip6tables-legacy"),
}


class Iptables:
    """The rules of one IP version (4 or 6)."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.tool = TOOLS[version][0]

    def available(self, queue: int) -> bool:
        """Return whether the tool is there and the kernel takes its NFQUEUE target."""
        if self.version == 6 and not os.path.exists("/proc/net/if_inet6"):
            return False
        return self.accepts("mangle", f"-p tcp -j NFQUEUE --queue-num {queue} --queue-bypass")

    def accepts(self, table: str, rule: str) -> bool:
        """Return whether the kernel takes `rule`, tried in a scratch chain that nothing jumps to."""
        if shutil.which(f"{self.tool}-restore") is None:
            return False
        fill = [f"*{table}", f":{PROBE_CHAIN} - [0:0]", f"-A {PROBE_CHAIN} {rule}", "COMMIT"]
        accepted = succeeds(restore(self.tool), script(fill))
        succeeds(
            restore(self.tool), script([f"*{table}", f"-F {PROBE_CHAIN}", f"-X {PROBE_CHAIN}", "COMMIT"])
        )
        return accepted

    def install(self, settings: RuleSettings) -> None:
        """Put the rules in, all or none of a table. Raises HostError."""
        leave = f"{settings.mark_leave:#x}"
        connmark = self.accepts("mangle", f"-m connmark --mark {leave}/{leave} -j RETURN") and self.accepts(
            "mangle", f"-m conntrack --ctstate INVALID -j CONNMARK --save-mark --mask {leave}"
        )
        run_command(restore(self.tool), script(mangle_lines(self.version, settings, connmark)))
        if self.accepts("raw", "-j CT --notrack"):
            run_command(restore(self.tool), script(raw_lines(settings)))

    def remove(self, prefix: str = CHAIN_PREFIX) -> None:
        """Take out every chain of ours that begins with `prefix`, also those of an earlier run.

        Raises HostError.
        """
        for tool in installed_tools(self.version):
            lines = removal_lines(run_command([f"{tool}-save"]), prefix)
            if lines:
                run_command(restore(tool), script(lines))

    def refuse_orphans(self, settings: RuleSettings) -> bool:
        """Put refusal in the place of a dead daemon's queue; False when there is none. Raises HostError."""
        found = False
        for tool in installed_tools(self.version):
            # not `-t mangle`: asked for by name, an old table is made, and costs every packet from then on
            lines = removal_lines(only_table(run_command([f"{tool}-save"]), "mangle"))
            if lines:
                found = True
                run_command(restore(tool), script([*orphan_lines(settings), *lines]))
        return found


def restore(tool: str) -> list[str]:
    """Return the command that changes tables by a script on its standard input, leaving other rules alone."""
    return [f"{tool}-restore", "--noflush", "-w", "10"]


def script(lines: list[str]) -> str:
    """Return the lines as the text that iptables-restore reads."""
    return "\n".join(lines) + "\n"


def installed_tools(version: int) -> list[str]:
    """Return the tools of this IP version that are installed, each program once."""
    found: dict[str, str] = {}
    for tool in TOOLS[version]:
        path = shutil.which(f"{tool}-save")
        if path is not None:
            found.setdefault(backend_of(tool, path), tool)
    return list(found.values())


def backend_of(tool: str, path: str) -> str:
    """Return "nft" or "legacy": the program that a tool's name stands for."""
    names = (tool, os.path.basename(os.path.realpath(path)))
    return "nft" if any("nft" in name for name in names) else "legacy"


def mangle_lines(version: int, settings: RuleSettings, connmark: bool) -> list[str]:
    """Return the script that queues TCP in both directions, once each packet."""
    lines = ["*mangle", ":MPCORE-OUT - [0:0]", ":MPCORE-IN - [0:0]"]
    for chain, device, remote in (("MPCORE-OUT", "-o", "-d"), ("MPCORE-IN", "-i", "-s")):
        lines += [f"-A {chain} {rule}" for rule in chain_rules(version, settings, connmark, device, remote)]
    return [*lines, "-A OUTPUT -p tcp -j MPCORE-OUT", "-A INPUT -p tcp -j MPCORE-IN", "COMMIT"]


def chain_rules(
    version: int, settings: RuleSettings, connmark: bool, device: str, remote: str
) -> Iterator[str]:
    """Yield the rules of one direction, in order.

    A packet that a verdict let go carries the mark, so that it never comes twice, even when somebody's new
    hook makes the kernel start over with it. What becomes of a connection is saved in its own mark: one that
    mpcore took over does not bypass the queue when nobody reads it, for its ends number bytes differently.
    """
    marks = (settings.mark_seen, settings.mark_leave, settings.mark_taken)
    seen, leave, taken = (f"{mark:#x}" for mark in marks)
    fate = f"{settings.mark_leave | settings.mark_taken:#x}"
    if connmark:
        yield f"-m connmark --mark {leave}/{leave} -j RETURN"
        yield f"-m mark ! --mark 0x0/{fate} -j CONNMARK --save-mark --mask {fate}"
    yield f"-m mark --mark {seen}/{seen} -j RETURN"
    if connmark:
        yield f"-m connmark --mark {taken}/{taken} -j NFQUEUE --queue-num {settings.queue}"
    if not settings.loopback:
        yield f"{device} lo -j RETURN"
    for exclusion in settings.exclusions:
        if exclusion.network is None or exclusion.network.version == version:
            yield from exclusion_rules(exclusion, remote)
    if connmark:
        # tracking knows no connection by a socket's numbers that are far ahead of its first subflow's
        yield f"-m conntrack --ctstate INVALID -j NFQUEUE --queue-num {settings.queue}"
    yield f"-p tcp -j NFQUEUE --queue-num {settings.queue} --queue-bypass"


def exclusion_rules(exclusion: ExcludeRule, remote: str) -> Iterator[str]:
    """Yield the rules that keep excluded traffic out of the queue; `remote` is -s or -d.

    With a network, the port is the remote one; alone, it is that of either side.
    """
    if exclusion.network is None:
        yield f"-p tcp --sport {exclusion.port} -j RETURN"
        yield f"-p tcp --dport {exclusion.port} -j RETURN"
    elif exclusion.port is None:
        yield f"{remote} {exclusion.network} -j RETURN"
    else:
        side = "--sport" if remote == "-s" else "--dport"
        yield f"{remote} {exclusion.network} -p tcp {side} {exclusion.port} -j RETURN"


def raw_lines(settings: RuleSettings) -> list[str]:
    """Return the script that keeps packets injected to local sockets out of connection tracking.

    To it they would look like a second copy of the connection, with sequence numbers of their own.
    """
    seen = f"{settings.mark_seen:#x}"
    return [
        "*raw",
        ":MPCORE-RAW - [0:0]",
        f"-A MPCORE-RAW -m mark --mark {seen}/{seen} -j CT --notrack",
        "-A OUTPUT -o lo -p tcp -j MPCORE-RAW",
        "COMMIT",
    ]


def orphan_lines(settings: RuleSettings) -> list[str]:
    """Return the script that resets connections taken over by a daemon that is dead, from either end.

    Resets pass, because the refusals are some, and SYNs, because what they begin can be plain TCP.
    """
    taken, fate = f"{settings.mark_taken:#x}", f"{settings.mark_leave | settings.mark_taken:#x}"
    return [
        "*filter",
        ":MPCORE-END - [0:0]",
        f"-A MPCORE-END -p tcp --tcp-flags SYN,RST NONE -m connmark --mark {taken}/{fate}"
        " -j REJECT --reject-with tcp-reset",
        "-I OUTPUT -p tcp -j MPCORE-END",
        "-I INPUT -p tcp -j MPCORE-END",
        "COMMIT",
    ]


def only_table(saved: str, name: str) -> str:
    """Return the part about one table of what iptables-save printed, or nothing."""
    found = re.search(rf"^\*{name}\n.*?^COMMIT$", saved, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def removal_lines(saved: str, prefix: str = CHAIN_PREFIX) -> list[str]:
    """Return the script that deletes our jumps and chains out of what iptables-save printed, if any."""
    lines: list[str] = []
    for table, body in re.findall(r"^\*(\S+)\n(.*?)^COMMIT$", saved, re.MULTILINE | re.DOTALL):
        chains = re.findall(rf"^:({prefix}\S+)", body, re.MULTILINE)
        jumps = re.findall(rf"^-A (?!{CHAIN_PREFIX})(.* -j {prefix}\S+)$", body, re.MULTILINE)
        if chains or jumps:
            lines += [f"*{table}", *(f"-D {jump}" for jump in jumps), *(f"-F {chain}" for chain in chains)]
            lines += [*(f"-X {chain}" for chain in chains), "COMMIT"]
    return lines

"""What this host offers mpcore and what it lacks, each with the command that mends it; nothing is changed."""

import importlib.metadata
import importlib.util
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mpcore.config import Config
from mpcore.errors import HostError
from mpcore.host.flowsets import FlowSets
from mpcore.host.iptables import Iptables
from mpcore.host.netlink import AddressMonitor
from mpcore.host.nfqueue import NetlinkQueue
from mpcore.host.nft import Nft
from mpcore.host.rawsock import RawSender
from mpcore.host.routes import MAIN_TABLE, routes
from mpcore.host.rtnetlink import RTM_GETRULE, RouteSocket
from mpcore.host.rules import rule_settings
from mpcore.host.shim6_host import rule_settings as shim6_rule_settings
from mpcore.host.shim6_rules import Shim6Rules

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
QUEUE_LIST = Path("/proc/net/netfilter/nfnetlink_queue")
SYSCTL = Path("/proc/sys/net")
STRICT = "1"
AS_ROOT = "run it as root: sudo mpcore doctor"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `remedy` names the command that mends it and is empty when all is well.

    Without what is not `needed` mpcore runs, but does less or does it slower.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = True


def diagnose(config: Config) -> list[Finding]:
    """Return every finding, in the order in which things depend on each other."""
    findings = [finding for check in CHECKS for finding in check(config)]
    if findings[0].ok:
        return findings
    # without the capabilities, whatever else failed says nothing about the host
    return [
        finding if finding.ok or not finding.remedy else replace(finding, remedy=AS_ROOT)
        for finding in findings
    ]


def check_capabilities(config: Config) -> Iterator[Finding]:
    """Look for the two capabilities that everything else needs."""
    status = read_text(Path("/proc/self/status"))
    effective = next(
        (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0
    )
    missing = [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]
    if missing:
        yield Finding("capabilities", False, f"this process lacks {' and '.join(missing)}", AS_ROOT)
    else:
        yield Finding("capabilities", True, " and ".join(CAPABILITIES))


def check_package(config: Config) -> Iterator[Finding]:
    """Look for the package that opens the queue."""
    try:
        version = importlib.metadata.version("netfilterqueue")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("netfilterqueue", False, "the package is missing", "pip install netfilterqueue")
        return
    yield Finding("netfilterqueue", True, f"version {version}")


def check_queue(config: Config) -> Iterator[Finding]:
    """Open a queue that nobody uses, with the flags of the configuration."""
    used = {int(line.split()[0]) for line in read_text(QUEUE_LIST).splitlines()}
    number = next(n for n in range(0xFFFF, 0, -1) if n not in used)
    try:
        with NetlinkQueue(number, gso=config.queue.gso, fail_open=config.queue.fail_open):
            wanted = {"super-packets": config.queue.gso, "fail-open": config.queue.fail_open}
    except HostError as error:
        yield Finding("packet queue", False, str(error), "modprobe nfnetlink_queue")
        return
    flags = ", ".join(name for name in wanted if wanted[name])
    yield Finding("packet queue", True, f"with {flags or 'no flags'}")


def check_rules(config: Config) -> Iterator[Finding]:
    """Try the rules in scratch chains."""
    native = Nft().available(config.queue.number)
    for version in (4, 6):
        name = f"queue rule IPv{version}"
        tables = Iptables(version)
        if FlowSets(version).available(rule_settings(config)):
            yield Finding(name, True, "by nf_tables")
        elif tables.available(config.queue.number):
            yield Finding(name, True, f"by {tables.tool}")
        elif native:
            yield Finding(name, True, "by nft")
        else:
            remedy = "apt install iptables && modprobe xt_NFQUEUE"
            yield Finding(name, False, f"neither {tables.tool} nor nft takes a rule with a queue", remedy)


def check_connection_marks(config: Config) -> Iterator[Finding]:
    """Try what lets a connection leave the queue for good."""
    if FlowSets(4).available(rule_settings(config)):
        yield Finding("connection marks", True, "not needed: sets of nf_tables know what falls back")
        return
    mark = f"{config.routing.mark_leave:#x}"
    tables = Iptables(4)
    match = tables.accepts("mangle", f"-m connmark --mark {mark}/{mark} -j RETURN")
    if match and tables.accepts("mangle", f"-j CONNMARK --save-mark --mask {mark}"):
        yield Finding("connection marks", True, "connections that fall back leave the queue")
    else:
        yield Finding(
            "connection marks",
            False,
            "connections that fall back stay in the queue, slower than they need to be",
            "modprobe -a xt_connmark nf_conntrack",
            needed=False,
        )


def check_shim6(config: Config) -> Iterator[Finding]:
    """Try what Shim6's rules need."""
    lacking = Shim6Rules(shim6_rule_settings(config)).lacks()
    if lacking is None:
        yield Finding("Shim6", True, "on" if config.shim6.enabled else "off, and could be on")
    else:
        remedy = "apt install iptables nftables && modprobe -a nf_tables xt_NFQUEUE"
        yield Finding("Shim6", False, lacking, remedy, needed=config.shim6.enabled)


def check_forming(config: Config) -> Iterator[Finding]:
    """See which interfaces take router advertisements, if addresses are to be formed from them."""
    options, named = config.shim6, {prefix.partition("@")[2] for prefix in config.shim6.form_prefixes}
    if options.form == "off":
        return
    if options.form != "hba" and importlib.util.find_spec("cryptography") is None:
        detail = "keys need the Python package cryptography"
        yield Finding("formed addresses", False, detail, "pip install cryptography, or shim6.form=hba")
    folders = {path.name: path for path in (SYSCTL / "ipv6/conf").glob("*")}
    wanted = options.form_interfaces or sorted(
        folders.keys() - {"all", "default", "lo", *config.mptcp.exclude_interfaces}
    )
    deaf = [name for name in wanted if name not in folders or not hears_routers(folders[name])]
    hearing = [name for name in wanted if name not in deaf]
    detail = f"{options.form}, from router advertisements on {', '.join(hearing) or 'no interface'}"
    if not set(deaf) - named:
        yield Finding("formed addresses", True, detail)
        return
    detail += f", not heard on {', '.join(sorted(set(deaf) - named))}"
    remedy = "sysctl -w net.ipv6.conf.INTERFACE.accept_ra=2, or name its prefixes in shim6.form_prefixes"
    yield Finding("formed addresses", False, detail, remedy, needed=False)


def hears_routers(folder: Path) -> bool:
    """Tell whether the kernel takes router advertisements, by the settings of an interface."""
    accept, forwards, off = (
        read_text(folder / name).strip() for name in ("accept_ra", "forwarding", "disable_ipv6")
    )
    return off != "1" and (accept == "2" or (accept == "1" and forwards == "0"))


def check_raw_sockets(config: Config) -> Iterator[Finding]:
    """Open a raw socket of each IP version."""
    for version in (4, 6):
        name = f"raw socket IPv{version}"
        try:
            with RawSender(version, mark=config.routing.mark_seen):
                yield Finding(name, True, "header included, marked")
        except HostError as error:
            remedy = AS_ROOT if version == 4 else "sysctl -w net.ipv6.conf.all.disable_ipv6=0"
            yield Finding(name, False, str(error), remedy)


def check_policy_routing(config: Config) -> Iterator[Finding]:
    """See whether the kernel has routing rules; one without them lists none."""
    try:
        with RouteSocket() as kernel:
            rules = kernel.dump(RTM_GETRULE, socket.AF_INET)
    except (HostError, OSError):
        rules = []
    if rules:
        managed = "" if config.routing.manage else ", not managed by mpcore"
        yield Finding("policy routing", True, f"{len(rules)} IPv4 rules{managed}")
    else:
        remedy = "use a kernel with CONFIG_IP_MULTIPLE_TABLES: apt install linux-image-amd64"
        yield Finding("policy routing", False, "the kernel has no routing rules", remedy)


def check_addresses(config: Config) -> Iterator[Finding]:
    """Count the addresses that subflows can start from."""
    try:
        monitor = AddressMonitor(exclude_interfaces=config.mptcp.exclude_interfaces)
    except HostError as error:
        yield Finding("addresses", False, str(error), AS_ROOT)
        return
    addresses = monitor.addresses()
    monitor.close()
    interfaces = sorted({local.interface for local in addresses})
    detail = f"{len(addresses)} usable on {', '.join(interfaces) or 'no interface'}"
    if len(interfaces) >= 2 or providers():
        yield Finding("addresses", True, detail)
    else:
        yield Finding(
            "addresses",
            False,
            f"{detail}; several paths from here need two interfaces with addresses, or two providers",
            "connect a second network, then: ip address add ADDRESS/PREFIX dev INTERFACE",
            needed=False,
        )


def check_providers(config: Config) -> Iterator[Finding]:
    """See which interfaces have several default routers of IPv6, and who chooses among them."""
    found = providers()
    if not found:
        yield Finding("providers", True, "no interface has several default routers of IPv6")
        return
    detail = "; ".join(f"{name}: {', '.join(sorted(routers))}" for name, routers in sorted(found.items()))
    unknown = [name for name in found if not all(each.startswith("fe80:") for each in found[name])]
    if not config.routing.manage:
        detail += "; whichever takes a packet may drop it as another provider's"
        remedy = "routing.manage=true, or for each address: ip -6 rule add from ADDRESS lookup TABLE"
        yield Finding("providers", False, detail, remedy, needed=False)
    elif unknown:
        detail += "; routers speak by link-local addresses, so what these advertise is not known"
        remedy = f"ip -6 route add default via LINK-LOCAL-ADDRESS dev {unknown[0]}, in place of the other"
        yield Finding("providers", False, detail, remedy, needed=False)
    else:
        yield Finding("providers", True, f"{detail}; packets leave by those that advertise their prefix")


def providers() -> dict[str, set[str]]:
    """Return the default routers of IPv6 of each interface that has several; none where nobody may look."""
    found: dict[str, set[str]] = {}
    with suppress(HostError, OSError), RouteSocket() as kernel:
        for route in routes(kernel, socket.AF_INET6):
            if route.table == MAIN_TABLE and route.is_default and route.gateway:
                name = socket.if_indextoname(route.interface_index)
                found.setdefault(name, set()).add(socket.inet_ntop(socket.AF_INET6, route.gateway))
    return {name: routers for name, routers in found.items() if len(routers) > 1}


def check_kernel_mptcp(config: Config) -> Iterator[Finding]:
    """Note the kernel's own MPTCP, which speaks for the programs that ask for it."""
    enabled = read_text(SYSCTL / "mptcp/enabled").strip()
    words = {"1": "on: programs that ask the kernel for it use its own", "0": "off"}
    yield Finding("kernel MPTCP", True, words.get(enabled, "not in this kernel"))


def check_reverse_path(config: Config) -> Iterator[Finding]:
    """Note strict reverse-path filters: harmless with source routing, and else a path that stays silent."""
    folder = SYSCTL / "ipv4/conf"
    everywhere = read_text(folder / "all/rp_filter").strip() == STRICT
    strict = sorted(
        path.parent.name
        for path in folder.glob("*/rp_filter")
        if path.parent.name not in ("all", "default", "lo")
        and (everywhere or read_text(path).strip() == STRICT)
    )
    detail = f"strict on {', '.join(strict)}" if strict else "not strict"
    if strict and not config.routing.manage:
        remedy = "sysctl -w net.ipv4.conf.all.rp_filter=2"
        yield Finding("rp_filter", False, f"{detail}, and routing.manage is off", remedy, needed=False)
    else:
        yield Finding("rp_filter", True, detail)


def read_text(path: Path) -> str:
    """Return what a file of /proc says; nothing when it is not there."""
    try:
        return path.read_text()
    except OSError:
        return ""


CHECKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    check_capabilities,
    check_package,
    check_queue,
    check_rules,
    check_connection_marks,
    check_shim6,
    check_forming,
    check_raw_sockets,
    check_policy_routing,
    check_addresses,
    check_providers,
    check_kernel_mptcp,
    check_reverse_path,
)

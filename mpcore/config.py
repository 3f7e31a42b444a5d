"""The configuration: every key, its default, its unit and its limits.

The file is TOML, one table a section below; an absent file means all defaults. Durations are written in
seconds (`close_timeout_s = 2.5`) and read by the code as integer nanoseconds (`close_timeout_ns`); sizes are
bytes. Whatever is wrong, ConfigError names the file (or the `--set`), the key and what was expected.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Network
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from mpcore.config_shim6 import ForkRule, Shim6Config
from mpcore.config_types import (
    MIB,
    SECOND_NS,
    BufferBytes,
    Count,
    ExcludeRule,
    Mark,
    MemoryBytes,
    Port,
    Seconds,
    Section,
)
from mpcore.errors import ConfigError

__all__ = [
    "Config",
    "ControlConfig",
    "ExcludeRule",
    "ForkRule",
    "LimitsConfig",
    "LogConfig",
    "MptcpConfig",
    "QueueConfig",
    "RoutingConfig",
    "Shim6Config",
    "load_config",
]


class MptcpConfig(Section, frozen=True):
    """`[mptcp]`: which connections become multipath, and how."""

    # Off: mpcore leaves every TCP connection as it is.
    enabled: bool = True
    # Add MP_CAPABLE to the SYNs of local programs that connect (RFC 8684 §3.1).
    client: bool = True
    # Answer MP_CAPABLE on behalf of local programs that listen (RFC 8684 §3.1).
    server: bool = True
    # Who opens subflows (RFC 8684 §3.4): fullmesh joins every pair of addresses; backup does so with the B
    # bit; ndiffports opens several between the same pair; none opens nothing and only answers.
    path_manager: Literal["fullmesh", "backup", "ndiffports", "none"] = "fullmesh"
    # Which subflow with room sends next (RFC 8684 §3.3.8).
    scheduler: Literal["lowest-rtt", "round-robin"] = "lowest-rtt"
    # lia couples the subflows' windows (RFC 6356 §3, RFC 8684 §3.3.7); reno (RFC 5681
    # §3.1) and cubic (RFC 9438) let each grow alone.
    congestion: Literal["lia", "reno", "cubic"] = "lia"
    # Spread each subflow's window over its round trip instead of sending it at once.
    pacing: bool = True
    # Structure that holds data out of order until it is whole (RFC 8684 §3.3.4): same results, other costs.
    reorder: Literal["runs", "regular", "tree", "shortcuts", "allshortcuts"] = "runs"
    # Ask for the DSS checksum, the A bit of MP_CAPABLE (RFC 8684 §3.1, §3.3); used too when the peer asks.
    checksum: bool = False
    # Subflows that a connection may have beyond its first; the data plane has 16 places for a connection.
    max_subflows: Annotated[int, msgspec.Meta(ge=0, le=15)] = 8
    # Connections left alone, such as "22", "10.0.0.0/8", "10.0.0.1:22", "[2001:db8::1]:443"; see ExcludeRule.
    exclude: tuple[ExcludeRule, ...] = ()
    # Interfaces whose addresses take part as backup: the B bit of MP_JOIN (RFC 8684 §3.2, §3.3.8).
    backup_interfaces: tuple[str, ...] = ()
    # Interfaces whose addresses take no part.
    exclude_interfaces: tuple[str, ...] = ()
    # Treat connections over lo too; for tests on one host.
    loopback: bool = False
    # Source ports of subflows that mpcore opens, inclusive; keep them out of ip_local_port_range.
    join_port_min: Port = 61000
    join_port_max: Port = 65535
    # Seconds that a connection without any subflow waits for a new one (break-before-make, RFC 8684 §3.3.3).
    close_timeout_s: Seconds = 60.0
    # Seconds before an ADD_ADDR without echo is repeated (RFC 8684 §3.4.1).
    add_addr_timeout_s: Seconds = 1.0
    # SYNs with MP_CAPABLE before one without it is let through (RFC 8684 §3.9.3).
    syn_fallback_retries: Annotated[int, msgspec.Meta(ge=0, le=16)] = 2
    # Seconds without MP_CAPABLE to a peer that answered only a SYN without it (RFC 8684 §3.9.3); twice as
    # long each time that it happens again, 0 for never.
    blackhole_s: Annotated[float, msgspec.Meta(ge=0.0, le=86400.0)] = 3600.0

    def __post_init__(self) -> None:
        if self.join_port_min > self.join_port_max:
            raise ValueError(f"join_port_min {self.join_port_min} is above join_port_max")

    @property
    def close_timeout_ns(self) -> int:
        """Nanoseconds of `close_timeout_s`."""
        return round(self.close_timeout_s * SECOND_NS)

    @property
    def blackhole_ns(self) -> int:
        """Nanoseconds of `blackhole_s`."""
        return round(self.blackhole_s * SECOND_NS)

    @property
    def add_addr_timeout_ns(self) -> int:
        """Nanoseconds of `add_addr_timeout_s`."""
        return round(self.add_addr_timeout_s * SECOND_NS)

    def excludes(self, remote: bytes, local_port: int, remote_port: int) -> bool:
        """Tell whether a rule in `exclude` keeps this connection plain TCP."""
        return bool(self.exclude) and any(
            rule.matches(remote, local_port, remote_port) for rule in self.exclude
        )


class RoutingConfig(Section, frozen=True):
    """`[routing]`: how packets of a subflow leave by the interface of their source address."""

    # Install one table and one rule a local address; off: the host's administrator has done so.
    manage: bool = True
    # First routing table number used; one a local address follows. The kernel's own tables are below 256.
    table_base: Annotated[int, msgspec.Meta(ge=256, le=0xFFFF0000)] = 5200
    # Priority of the rules (`ip rule`); below 32766, so that they come before the main table.
    priority: Annotated[int, msgspec.Meta(ge=1, le=32765)] = 5200
    # Bit of the packet mark that says: mpcore has seen it.
    mark_seen: Mark = 0x10000000
    # Bit of the packet and connection mark that says: this connection needs mpcore no more.
    mark_leave: Mark = 0x20000000
    # Bit of the packet and connection mark that says: without mpcore this connection cannot go on.
    mark_taken: Mark = 0x40000000
    # Bit of the packet mark that says: Shim6 has seen it.
    mark_shim6: Mark = 0x04000000
    # Bit of the packet mark that says: Shim6 is to rewrite it.
    mark_rewrite: Mark = 0x08000000

    def __post_init__(self) -> None:
        names = ("mark_seen", "mark_leave", "mark_taken", "mark_shim6", "mark_rewrite")
        for name, other in combinations(names, 2):
            if getattr(self, name) & getattr(self, other):
                raise ValueError(f"{name} and {other} share a bit; they must differ in all")


class QueueConfig(Section, frozen=True):
    """`[queue]`: how packets come from the kernel."""

    # netlink: batches, super-packets; netfilterqueue: the simple one, a Python call a packet.
    backend: Literal["netlink", "netfilterqueue"] = "netlink"
    # NFQUEUE number.
    number: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 5200
    # Packets that may wait in the kernel.
    max_length: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)] = 8192
    # Take super-packets of up to 64 KiB instead of segments (NFQA_CFG_F_GSO).
    gso: bool = True
    # A full queue lets packets pass undecided instead of losing them (NFQA_CFG_F_FAIL_OPEN). Dangerous: a
    # subflow's packet that reaches the socket may bring bytes of another place in the stream; a lost one is
    # just sent again.
    fail_open: bool = False


class LimitsConfig(Section, frozen=True):
    """`[limits]`: the edge of every table and buffer; reaching one moves a counter (RFC 8684 §5)."""

    # Connections known at once; later ones stay plain TCP.
    max_connections: Count = 16384
    # Connections whose handshake is not complete.
    max_half_open: Count = 4096
    # MP_JOIN handshakes that one connection may have pending (RFC 8684 §3.2, §5).
    max_joins_per_connection: Annotated[int, msgspec.Meta(ge=1, le=255)] = 8
    # Bytes of one connection that wait for a DATA_ACK (RFC 8684 §3.3.5).
    send_buffer_bytes: BufferBytes = 8 * MIB
    # Bytes of one connection that wait for order or for the program (RFC 8684 §3.3.4).
    receive_buffer_bytes: BufferBytes = 8 * MIB
    # Bytes of all connections together.
    memory_bytes: MemoryBytes = 1024 * MIB
    # Pieces out of order that one connection may hold.
    reorder_nodes: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)] = 4096
    # Segments that one subflow may have in flight.
    subflow_segments: Annotated[int, msgspec.Meta(ge=16, le=1 << 20)] = 16384

    def __post_init__(self) -> None:
        if self.memory_bytes < self.send_buffer_bytes + self.receive_buffer_bytes:
            raise ValueError("memory_bytes is less than the send and receive buffer of one connection")


class ControlConfig(Section, frozen=True):
    """`[control]`: where `mpcore show` and its like reach the daemon."""

    # Path of the Unix socket; an address holds at most 107 bytes.
    path: Annotated[str, msgspec.Meta(min_length=1, max_length=107)] = "/run/mpcore/control.sock"


class LogConfig(Section, frozen=True):
    """`[log]`: what the daemon says on standard error."""

    # Least severity that is printed.
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Section, frozen=True):
    """All sections; `Config()` is a working configuration."""

    mptcp: MptcpConfig = MptcpConfig()
    shim6: Shim6Config = Shim6Config()
    routing: RoutingConfig = RoutingConfig()
    queue: QueueConfig = QueueConfig()
    limits: LimitsConfig = LimitsConfig()
    control: ControlConfig = ControlConfig()
    log: LogConfig = LogConfig()

    def __post_init__(self) -> None:
        routing = self.routing
        ours = (
            routing.mark_seen | routing.mark_leave | routing.mark_taken
            | routing.mark_shim6 | routing.mark_rewrite
        )  # fmt: skip
        for fork in self.shim6.forks:
            if (fork.mark_mask or 0) & ours:
                raise ValueError(f"shim6.forks: mark_mask of fii {fork.fii} has a bit of routing's marks")


def load_config(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration in the TOML file `path` (None: all defaults) with `overrides` laid over it.

    An override is `section.key=value`, its value as TOML or, for a string, a bare word.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or a key or value is not legal
    """
    file = "configuration" if path is None else str(path)
    document = {} if path is None else _read(file)
    config = _convert(document, file, {})
    if not overrides:
        return config
    return _convert(document, file, {_lay_over(document, override): override for override in overrides})


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def _lay_over(document: dict[str, Any], override: str) -> str:
    """Put the override into `document` and return its key."""
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise ConfigError(f"--set {override}: expected SECTION.KEY=VALUE, like mptcp.scheduler=round-robin")
    document.setdefault(section, {})[name] = _value(override, text.strip())
    return f"{section}.{name}"


def _value(override: str, text: str) -> Any:
    """Return `text` as TOML; a bare word, which TOML has not, is a string."""
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        if re.fullmatch(r"[\w./:@%+-]+", text):
            return text
        raise ConfigError(f"--set {override}: the value is no TOML: {error}") from None
    if len(document) != 1:
        raise ConfigError(f"--set {override}: expected one value")
    return document["value"]


def _convert(document: Mapping[str, Any], file: str, overrides: Mapping[str, str]) -> Config:
    """Return `document` as a Config; an error names the override whose key it concerns, or else the file."""
    try:
        return msgspec.convert(document, Config, dec_hook=_decode)
    except msgspec.ValidationError as error:
        key, problem = _explain(str(error))
        guilty = [text for name, text in overrides.items() if _is_about(name, key)]
        source = f"--set {guilty[-1]}" if guilty else file
        raise ConfigError(f"{source}: {key}: {problem}" if key else f"{source}: {problem}") from None


def _decode(wanted: type, value: object) -> ExcludeRule | IPv6Network:
    if wanted is IPv6Network:
        if not isinstance(value, str):
            raise ValueError('Expected a string such as "2001:db8:1::/48"')
        try:
            return IPv6Network(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is no IPv6 prefix ({error})") from None
    if wanted is not ExcludeRule:
        raise NotImplementedError(wanted)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError('Expected a string such as "22" or "10.0.0.0/8"')
    return ExcludeRule.parse(str(value))


def _explain(message: str) -> tuple[str, str]:
    """Return the key that msgspec's message is about, as written in the file, and what is wrong with it."""
    text, _, place = message.partition(" - at `$")
    key = re.sub(r"\[[\d.]*\]", "", place.rstrip("`")).strip(".")
    wanted = _type_at(key)
    unknown = re.match(r"Object contains unknown field `(.*)`", text)
    if unknown:
        known = sorted(get_type_hints(wanted))
        near = difflib.get_close_matches(unknown[1], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
        return f"{key}.{unknown[1]}".strip("."), f"unknown key; {hint}"
    if get_origin(wanted) is Literal:
        text = f"{text}; expected one of {', '.join(get_args(wanted))}"
    return key, text


def _is_about(name: str, key: str) -> bool:
    """Tell whether one of two keys is the other, or a table that it is in."""
    return f"{name}.".startswith(f"{key}.") or f"{key}.".startswith(f"{name}.")


def _type_at(key: str) -> Any:
    """Return the type of the key below Config; the key is one that msgspec found."""
    found: Any = Config
    for name in key.split(".") if key else ():
        found = get_type_hints(found)[name]
        tables = [each for each in get_args(found) if isinstance(each, type) and issubclass(each, Section)]
        found = tables[0] if tables else found
    return found

"""`[shim6]` of the configuration as the control core takes it."""

from collections.abc import Callable
from importlib import import_module
from typing import TypeVar

from mpcore.config import Shim6Config
from mpcore.errors import ConfigError, WireError
from mpcore.shim6.forming import FormSettings, Kind
from mpcore.shim6.heuristic import FlowKey, Heuristic
from mpcore.shim6.policy import PairPolicy
from mpcore.shim6.prefixes import is_routable, parse_prefix
from mpcore.shim6.settings import SECOND, Shim6Settings

T = TypeVar("T")

_SAME = (
    "probe_burst", "probes_per_second", "initial_probes", "deliver_all_icmp", "respond",
    "max_contexts", "max_contexts_per_prefix", "max_locators", "max_flows", "forks",
    "r1_per_second", "r1bis_per_second", "errors_per_second", "verifications_per_second",
    "updates_per_second", "answers_per_second",
)  # fmt: skip
_IN_SECONDS = {
    "send_timeout_s": "send_timeout_ns",
    "initial_probe_timeout_s": "initial_probe_timeout_ns",
    "max_probe_timeout_s": "max_probe_timeout_ns",
    "ask_tcp_after_s": "ask_transports_ns",
    "return_after_s": "return_after_ns",
    "quiescence_s": "quiescence_ns",
    "no_answer_holddown_s": "no_r1_holddown_ns",
    "no_support_holddown_s": "icmp_holddown_ns",
}
_HANDSHAKE = ("i1_timeout_ns", "i2_timeout_ns", "i2bis_timeout_ns")


def settings_of(config: Shim6Config) -> Shim6Settings:
    """Return the settings that the configuration asks for; the others are those of the RFCs."""
    values = {name: getattr(config, name) for name in _SAME}
    durations = {theirs: round(getattr(config, ours) * SECOND) for ours, theirs in _IN_SECONDS.items()}
    durations |= dict.fromkeys(_HANDSHAKE, round(config.handshake_timeout_s * SECOND))
    return Shim6Settings(**values, **durations)


def forming_of(config: Shim6Config) -> FormSettings | None:
    """Return how addresses are formed; None when they are not."""
    if config.form == "off":
        return None
    return FormSettings(
        kind=Kind(config.form),
        sec=config.form_sec,
        settle_ns=round(config.form_settle_s * SECOND),
        limit=config.form_max_prefixes,
    )


def form_prefixes_of(config: Shim6Config) -> list[tuple[bytes, str]]:
    """Return the prefixes that the configuration names, each of 8 octets with its interface.

    Raises:
        ConfigError: one is no unicast prefix, or there are too many
    """
    found = []
    for text in config.form_prefixes:
        prefix, _, interface = text.partition("@")
        try:
            octets = parse_prefix(prefix)
        except WireError as error:
            raise ConfigError(f"shim6.form_prefixes: {error}") from error
        if not is_routable(octets + b"\1" * 8):
            raise ConfigError(f"shim6.form_prefixes: {prefix} is no prefix of global or site-wide unicast")
        found.append((octets, interface))
    if len(dict(found)) < len(found):
        raise ConfigError("shim6.form_prefixes: a prefix occurs twice")
    if len(found) > config.form_max_prefixes:
        raise ConfigError("shim6.form_prefixes: more than shim6.form_max_prefixes")
    return found


def heuristic_of(
    config: Shim6Config, application_of: Callable[[FlowKey], str | None] = lambda key: None
) -> Heuristic:
    """Return the heuristic that the configuration names; `application_of` tells a conversation's program.

    Raises:
        ConfigError: there is no such class, or it is no Heuristic
    """
    kind = load_class("shim6.heuristic", config.heuristic, Heuristic)
    return kind(
        min_bytes=config.min_bytes,
        min_age_ns=round(config.min_age_s * SECOND),
        min_packets=config.min_packets,
        excluded_ports=config.exclude_ports,
        excluded=config.exclude,
        always=config.always,
        applications=config.applications,
        application_of=application_of,
    )


def policy_of(config: Shim6Config) -> PairPolicy:
    """Return the policy that the configuration names.

    Raises:
        ConfigError: there is no such class, or it is no PairPolicy
    """
    return load_class("shim6.policy", config.policy, PairPolicy)()


def load_class(key: str, place: str, base: type[T]) -> type[T]:
    """Return the class at `place`, "module:Class", for the configuration's `key`.

    Raises:
        ConfigError: it cannot be imported, or is no subclass of `base`
    """
    module, _, name = place.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}: {place} cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError(f"{key}: {place} is no subclass of {base.__module__}.{base.__name__}")
    return found

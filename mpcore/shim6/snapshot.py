"""Contexts and identities in words and numbers that are ready for JSON."""

import ipaddress
from typing import TYPE_CHECKING

from mpcore.errors import WireError
from mpcore.shim6.cga import sec_of
from mpcore.shim6.cga_locators import can_sign
from mpcore.shim6.cga_parameters import CgaParameters, multi_prefix_of, parse_parameters
from mpcore.shim6.context import Context
from mpcore.shim6.identity import Identity
from mpcore.shim6.states import HELD
from mpcore.wire.shim6 import Preference, PreferenceFlag, VerificationMethod

if TYPE_CHECKING:
    from mpcore.shim6.manager import Shim6Manager


def describe(context: Context) -> dict[str, object]:
    """Return what there is to know of a context; addresses are text, the tag is this host's own, in hex."""
    return {
        "ulid_local": text_of(context.key.ulid_local),
        "ulid_peer": text_of(context.key.ulid_peer),
        "fii": context.key.fii,
        "state": str(context.state),
        "locators_local": [text_of(address) for address in context.local.addresses],
        "locators_peer": [text_of(address) for address in context.peer.addresses],
        "current_local": text_of(context.pair.local),
        "current_peer": text_of(context.pair.peer),
        "tag_local": f"{context.tag_local:012x}",
        "reap_state": str(context.reap.state),
        "trouble": trouble_of(context),
    }


def trouble_of(context: Context) -> str | None:
    """Return what an operator should look at: firewalls, mostly; None when nothing is known to be wrong."""
    if context.state in HELD:
        return context.handshake.failure
    if context.reap.refused:
        return "the peer's host says that it knows Shim6 no more: payload goes as without"
    if context.reap.unanswered:
        return "payload comes, but no probe is answered: protocol 140 seems to be dropped towards the peer"
    if context.reap.blocked is not None:
        local, peer = map(text_of, context.reap.blocked)
        return f"from {local} to {peer} probes pass and payload does not: a firewall may drop its header"
    return None


def describe_identity(identity: Identity, manager: "Shim6Manager") -> dict[str, object]:
    """Return what there is to know of a ULID of this host: its kind, and what peers are told of locators."""
    return {
        "ulid": text_of(identity.ulid),
        "kind": kind_of(identity.parameters),
        "sec": None if identity.parameters is None else sec_of(identity.ulid),
        "multihomed": identity.multihomed,
        "locators": [
            {
                "address": text_of(locator.address),
                "method": _method_name(locator.method),
                **_describe_preference(manager.local_preference(locator.address)),
            }
            for locator in identity.locators
        ],
    }


def kind_of(parameters: bytes | None) -> str:
    """Return what an address with this parameter structure is: plain, cga, hba, or hba+cga (RFC 5535 §5)."""
    if parameters is None:
        return "plain"
    try:
        return kind_of_parameters(parse_parameters(parameters))
    except WireError:
        return "unknown"


def kind_of_parameters(parameters: CgaParameters) -> str:
    """Return what a structure makes: cga, hba, or hba+cga; WireError for malformed extensions."""
    if multi_prefix_of(parameters) is None:
        return "cga"
    return "hba+cga" if can_sign(parameters) else "hba"


def text_of(address: bytes) -> str:
    """Return an address of 16 octets as text."""
    return str(ipaddress.IPv6Address(address))


def _method_name(method: int) -> str | None:
    return VerificationMethod(method).name.lower() if method in tuple(VerificationMethod) else None


def _describe_preference(preference: Preference) -> dict[str, object]:
    return {
        "broken": bool(preference.flags & PreferenceFlag.BROKEN),
        "transient": bool(preference.flags & PreferenceFlag.TRANSIENT),
        "priority": preference.priority,
        "weight": preference.weight,
    }

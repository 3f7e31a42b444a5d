"""A context in words and numbers that are ready for JSON."""

import ipaddress

from mpcore.shim6.context import Context


def describe(context: Context) -> dict[str, object]:
    """Return what there is to know of a context; addresses are text, the tag is this host's own."""
    return {
        "ulid_local": _text(context.key.ulid_local),
        "ulid_peer": _text(context.key.ulid_peer),
        "fii": context.key.fii,
        "state": str(context.state),
        "locators_local": [_text(address) for address in context.local.addresses],
        "locators_peer": [_text(address) for address in context.peer.addresses],
        "current_local": _text(context.pair.local),
        "current_peer": _text(context.pair.peer),
        "tag_local": context.tag_local,
        "reap_state": str(context.reap.state),
    }


def _text(address: bytes) -> str:
    return str(ipaddress.IPv6Address(address))

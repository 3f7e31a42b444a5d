"""Why a connection that offered MPTCP is plain TCP (RFC 8684 §3.7), from what its capture shows."""

from mpcore.analysis.model import Connection, Direction, Fallback

RULES = {
    Fallback.SYN_REPEATED: "RFC 8684 §3.7",
    Fallback.SYN_ACK: "RFC 8684 §3.1",
    Fallback.THIRD_ACK: "RFC 8684 §3.1",
    Fallback.NO_DSS: "RFC 8684 §3.7",
    Fallback.CHECKSUM: "RFC 8684 §3.7",
    Fallback.INFINITE: "RFC 8684 §3.7",
}


def decide_fallback(connection: Connection) -> tuple[Fallback, int] | None:
    """Return the first reason and the number of the packet that shows it; None while it is multipath."""
    if connection.accepted is False:
        repeated = [event for event in connection.events if event.kind == "syn-without-option"]
        if repeated:
            return Fallback.SYN_REPEATED, repeated[0].packet
        return Fallback.SYN_ACK, connection.answered or 0
    if connection.infinite is not None:
        if connection.failed is not None:
            return Fallback.CHECKSUM, connection.failed
        return Fallback.INFINITE, connection.infinite
    unmapped = [packet for packet in map(_never_mapped, connection.directions) if packet is not None]
    if connection.third_ack is not None and not any(map(_spoke, connection.directions)):
        return Fallback.THIRD_ACK, connection.third_ack
    return (Fallback.NO_DSS, min(unmapped)) if unmapped else None


def _never_mapped(direction: Direction) -> int | None:
    """Return the packet of the first data without a mapping, if the direction never had one."""
    return direction.unmapped_packet if not direction.mappings else None


def _spoke(direction: Direction) -> bool:
    """Tell whether this host ever sent a mapping or was acknowledged at the data level."""
    return bool(direction.mappings or direction.acked is not None)

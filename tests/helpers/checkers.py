"""Composable assertions on packets: `expect(data, flags("S"), has(MpCapable), payload(b""))`.

A checker takes a parsed segment and returns None, or what is wrong with it. `expect` reports all faults.
"""

from __future__ import annotations

from collections.abc import Callable

from mpcore.sim.packets import checksums_ok
from mpcore.sim.trace import describe
from mpcore.wire.values import Segment, emit_segment, parse_segment

Checker = Callable[[Segment], str | None]

FLAG_BITS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, ".": 0x10, "U": 0x20, "E": 0x40, "C": 0x80}


def expect(packet: bytes | Segment, *checkers: Checker) -> Segment:
    """Return the packet parsed if it satisfies every checker; bytes must have right checksums too."""
    segment = packet if isinstance(packet, Segment) else parse_segment(packet)
    faults = [fault for checker in checkers if (fault := checker(segment)) is not None]
    if isinstance(packet, bytes) and not checksums_ok(packet):
        faults.insert(0, "a checksum is wrong")
    if faults:
        text = describe(packet if isinstance(packet, bytes) else emit_segment(packet))
        raise AssertionError("; ".join(faults) + "\n  in " + text)
    return segment


def matches(segment: Segment, *checkers: Checker) -> bool:
    """Return whether a segment satisfies every checker; for filtering."""
    return all(checker(segment) is None for checker in checkers)


def flags(text: str, *, but_psh: bool = True) -> Checker:
    """Expect exactly these flags, in tcpdump's letters ("S."); PSH counts if named or with but_psh=False."""
    wanted = sum(FLAG_BITS[letter] for letter in text)
    ignored = FLAG_BITS["P"] if but_psh and "P" not in text else 0

    def check(segment: Segment) -> str | None:
        return _differs("flags", segment.flags & ~ignored, wanted, form=_flag_text)

    return check


def seq(number: int) -> Checker:
    """Expect this sequence number, modulo 2^32."""
    return lambda segment: _differs("seq", segment.seq, number % (1 << 32))


def ack(number: int) -> Checker:
    """Expect this acknowledgement number, modulo 2^32."""
    return lambda segment: _differs("ack", segment.ack, number % (1 << 32))


def window(value: int) -> Checker:
    """Expect this window field, unscaled."""
    return lambda segment: _differs("window", segment.window, value)


def payload(data: bytes) -> Checker:
    """Expect exactly this payload."""
    return lambda segment: _differs("payload", segment.payload, data)


def payload_size(size: int) -> Checker:
    """Expect so many bytes of payload."""
    return lambda segment: _differs("payload size", len(segment.payload), size)


def source(address: bytes, port: int | None = None) -> Checker:
    """Expect this source; any port when None."""
    return lambda segment: _differs(
        "source", (segment.src, segment.src_port), (address, port or segment.src_port)
    )


def destination(address: bytes, port: int | None = None) -> Checker:
    """Expect this destination; any port when None."""
    return lambda segment: _differs(
        "destination", (segment.dst, segment.dst_port), (address, port or segment.dst_port)
    )


def has(*kinds: type) -> Checker:
    """Expect an option of each of these types."""

    def check(segment: Segment) -> str | None:
        missing = [kind.__name__ for kind in kinds if segment.find(kind) is None]
        return f"no {', '.join(missing)}" if missing else None

    return check


def lacks(*kinds: type) -> Checker:
    """Expect no option of these types."""

    def check(segment: Segment) -> str | None:
        found = [repr(option) for option in segment.options if isinstance(option, kinds)]
        return f"unwanted {', '.join(found)}" if found else None

    return check


def option(value: object) -> Checker:
    """Expect an option equal to this one."""
    return lambda segment: None if value in segment.options else f"{value!r} not among {segment.options!r}"


def field(kind: type, **wanted: object) -> Checker:
    """Expect an option of this type whose fields have these values; others may be anything."""

    def check(segment: Segment) -> str | None:
        found = segment.find(kind)
        if found is None:
            return f"no {kind.__name__}"
        wrong = [name for name, value in wanted.items() if getattr(found, name) != value]
        return f"{found!r} differs in {', '.join(wrong)} from {wanted!r}" if wrong else None

    return check


def _flag_text(bits: object) -> str:
    return (
        "".join(letter for letter, bit in FLAG_BITS.items() if isinstance(bits, int) and bits & bit) or "none"
    )


def _differs(name: str, got: object, wanted: object, form: Callable[[object], str] = repr) -> str | None:
    return None if got == wanted else f"{name} {form(got)}, expected {form(wanted)}"

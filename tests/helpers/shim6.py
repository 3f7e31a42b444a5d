"""Packets for Shim6's data plane, and a slow and obvious counterpart of it."""

from dataclasses import dataclass, field

from mpcore.actions import VerdictKind
from mpcore.shim6.effects import Path
from tests.helpers.reference import internet_checksum

HOP_BY_HOP, ROUTING, FRAGMENT, ESP, DESTINATION = 0, 43, 44, 50, 60
TCP, UDP, ICMPV6, NOTHING, SHIM6 = 6, 17, 58, 59, 140
_WALKED = (HOP_BY_HOP, ROUTING, DESTINATION)


def ip6(src: bytes, dst: bytes, kind: int, body: bytes, hop_limit: int = 64) -> bytes:
    """An IPv6 packet whose first header behind IPv6's own has this type."""
    return b"\x60\0\0\0" + len(body).to_bytes(2) + bytes([kind, hop_limit]) + src + dst + body


def headers(*kinds: int, upper: bytes) -> bytes:
    """Extension headers of 8 octets of all types but the last, which is that of `upper`."""
    return b"".join(bytes([following]) + bytes(7) for following in kinds[1:]) + upper


def packet(src: bytes, dst: bytes, *kinds: int, upper: bytes = b"upper layer, and its data") -> bytes:
    """An IPv6 packet with these headers, the last kind being `upper`'s."""
    return ip6(src, dst, kinds[0], headers(*kinds, upper=upper))


def icmp6(src: bytes, dst: bytes, message: bytes) -> bytes:
    """An ICMPv6 message whose checksum is made right."""
    pseudo = src + dst + len(message).to_bytes(4) + bytes([0, 0, 0, ICMPV6])
    empty = message[:2] + bytes(2) + message[4:]
    return ip6(src, dst, ICMPV6, message[:2] + internet_checksum(pseudo + empty).to_bytes(2) + message[4:])


def icmp6_ok(data: bytes) -> bool:
    """Tell whether the ICMPv6 checksum of a packet without extension headers is right."""
    pseudo = data[8:40] + (len(data) - 40).to_bytes(4) + bytes([0, 0, 0, ICMPV6])
    return internet_checksum(pseudo + data[40:]) == 0


def header_list(data: bytes) -> tuple[list[tuple[int, bytes]], int, bytes] | None:
    """The walked headers as (type, bytes), type and bytes of the rest; None when they are cut short."""
    kind, rest = data[6], data[40:]
    found: list[tuple[int, bytes]] = []
    while kind in _WALKED:
        size = 8 * (rest[1] + 1) if len(rest) >= 8 else 8
        if len(rest) < size or len(found) == 15:
            return None
        found.append((kind, rest[:size]))
        kind, rest = rest[0], rest[size:]
    return found, kind, rest


def whole(data: bytes) -> bytes | None:
    """The packet without what follows it, or None for what is none."""
    if len(data) < 40 or data[0] >> 4 != 6:
        return None
    end = 40 + int.from_bytes(data[4:6])
    return data[:end] if end <= len(data) else None


def link_scoped(address: bytes) -> bool:
    number = int.from_bytes(address)
    return address[0] == 0xFF or number >> 118 == 0xFE80 >> 6 or number <= 1


def discovery(kind: int, rest: bytes) -> bool:
    return kind == ICMPV6 and bool(rest) and rest[0] in {*range(130, 138), 143}


@dataclass
class SlowPlane:
    """What RFC 5533 §11 and §12 say, with lists and dictionaries; verdict, new bytes."""

    paths: list[Path] = field(default_factory=list)

    def outgoing(self, data: bytes) -> tuple[VerdictKind, bytes | None]:
        kept = whole(data)
        parts = header_list(kept) if kept is not None else None
        if kept is None or parts is None:
            return VerdictKind.PASS, None
        found, kind, rest = parts
        if kind == SHIM6 or link_scoped(kept[24:40]) or discovery(kind, rest):
            return VerdictKind.PASS, None
        for path in self.paths:
            ulids = path.ulid_local + path.ulid_peer
            locators = path.locator_local + path.locator_peer
            if path.fii == 0 and ulids == kept[8:40]:
                if not path.sending or path.tag_peer is None or locators == ulids:
                    return VerdictKind.PASS, None
                changed = self._insert(kept, found, kind, rest, path.tag_peer)
                if len(changed) > 65535:
                    return VerdictKind.DROP, None
                return VerdictKind.REWRITE, self._assemble(kept, locators, *changed)
        return VerdictKind.PASS, None

    def incoming(self, data: bytes) -> tuple[VerdictKind, bytes | None]:
        kept = whole(data)
        parts = header_list(kept) if kept is not None else None
        if kept is None or parts is None:
            return VerdictKind.PASS, None
        found, kind, rest = parts
        if kind == SHIM6:
            return self._shimmed(kept, found, rest)
        if kind == FRAGMENT and rest[:1] == bytes([SHIM6]):
            return VerdictKind.DROP, None
        return VerdictKind.PASS, None

    def _shimmed(
        self, kept: bytes, found: list[tuple[int, bytes]], rest: bytes
    ) -> tuple[VerdictKind, bytes | None]:
        if len(rest) < 8:
            return VerdictKind.DROP, None
        if not rest[2] & 0x80:
            return VerdictKind.PUNT, None
        if rest[1] or link_scoped(kept[8:24]) or link_scoped(kept[24:40]):
            return VerdictKind.DROP, None
        tag = int.from_bytes(rest[2:8]) & (2**47 - 1)
        path = next((path for path in self.paths if path.tag_local == tag), None)
        if path is None or path.watched or path.locator_peer + path.locator_local != kept[8:40]:
            return VerdictKind.PUNT, None
        if not self._sane(rest[0], rest[8:]):
            return VerdictKind.DROP, None
        kinds = [kind for kind, _ in found] + [rest[0]]
        body = self._chain(found, kinds) + rest[8:]
        return VerdictKind.REWRITE, self._assemble(kept, path.ulid_peer + path.ulid_local, kinds[0], body)

    @staticmethod
    def _sane(kind: int, rest: bytes) -> bool:
        if kind in (HOP_BY_HOP, ROUTING):
            return False
        parts = header_list(bytes(6) + bytes([kind]) + bytes(33) + rest)
        if parts is None or parts[1] == SHIM6:
            return False
        _, kind, rest = parts
        if kind == FRAGMENT:
            return len(rest) >= 8 and rest[0] not in (SHIM6, HOP_BY_HOP, ROUTING)
        return not discovery(kind, rest)

    def _insert(
        self, kept: bytes, found: list[tuple[int, bytes]], kind: int, rest: bytes, tag: int
    ) -> tuple[int, bytes]:
        """RFC 5533 §11.1: behind all headers up to the last one for routers."""
        kinds = [kind for kind, _ in found] + [kind]
        place = 0
        while kinds[place] in (HOP_BY_HOP, ROUTING) or kinds[place : place + 2] == [DESTINATION, ROUTING]:
            place += 1
        own = bytes([kinds[place], 0]) + (2**47 | tag).to_bytes(6)
        before = self._chain(found[:place], [*kinds[:place], SHIM6])
        return [*kinds[:place], SHIM6][0], before + own + b"".join(part for _, part in found[place:]) + rest

    @staticmethod
    def _chain(found: list[tuple[int, bytes]], kinds: list[int]) -> bytes:
        return b"".join(
            bytes([following]) + part[1:] for (_, part), following in zip(found, kinds[1:], strict=True)
        )

    @staticmethod
    def _assemble(kept: bytes, pair: bytes, kind: int, body: bytes) -> bytes:
        return kept[:4] + len(body).to_bytes(2) + bytes([kind, kept[7]]) + pair + body

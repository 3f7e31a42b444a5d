"""Which routers of a link advertise which prefixes, and which of them a source address should leave by.

RFC 8028 §3.1: routers that have advertised the prefix of the source are preferred to others, whatever their
default router preference; a provider drops packets with addresses of another one. Who is a default router at
all is not kept here: the routing table of the host says so. Times are nanoseconds.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from mpcore.wire.router import FOREVER_S, AdvertisedPrefix, Preference, RouterAdvertisement

SECOND_NS = 1_000_000_000
NEVER_NS = 1 << 62
ROUTERS_MAX = 16  # of one link
PREFIXES_MAX = 32  # of one router
# A router's time ends here a little after it has ended in the kernel, whose table is read then.
_SLACK_NS = SECOND_NS

PrefixKey = tuple[bytes, int]


@dataclass(slots=True)
class _Router:
    until_ns: int = 0
    preference: Preference = Preference.MEDIUM
    prefixes: dict[PrefixKey, int] = field(default_factory=dict)  # until when each is valid

    def says(self) -> tuple[object, ...]:
        """Return what a choice depends on."""
        return self.preference, frozenset(self.prefixes)

    def advertises(self, address: bytes) -> bool:
        return any(address in AdvertisedPrefix(*key, 0) for key in self.prefixes)


class RouterTable:
    """The routers of all links, by the number of the interface and the router's link-local address.

    `refused` counts routers and prefixes that were too many.
    """

    def __init__(self) -> None:
        self._links: dict[int, dict[bytes, _Router]] = {}
        self.refused = 0
        self._due_ns: int | None = None

    def handle_advertisement(
        self,
        interface: int,
        router: bytes,
        said: RouterAdvertisement,
        now_ns: int,
        defaults: Collection[tuple[int, bytes]] = (),
    ) -> bool:
        """Take what a router says; returns whether a choice may change by it.

        Where a link has too many routers, those give way that are none of `defaults`, the default routers.
        """
        link = self._links.setdefault(interface, {})
        if router not in link and len(link) >= ROUTERS_MAX:
            for other in [other for other in link if (interface, other) not in defaults]:
                del link[other]
        known = link.get(router)
        if known is None:
            if len(link) >= ROUTERS_MAX:
                self.refused += 1
                return False
            known = link[router] = _Router()
        before = known.says()
        known.preference = said.preference
        known.until_ns = _until(said.lifetime_s, now_ns) + _SLACK_NS if said.lifetime_s else 0
        for entry in said.prefixes:
            self._take_prefix(known, entry, now_ns)
        after = known.says()
        self._drop_silent(interface)
        self._due_ns = self._next_end()
        return before != after

    def handle_timeout(self, now_ns: int) -> bool:
        """Forget what is valid no more; returns whether a choice may change by it."""
        if self._due_ns is None or now_ns < self._due_ns:
            return False
        changed = False
        for interface, link in list(self._links.items()):
            for router in link.values():
                ended = [key for key, until in router.prefixes.items() if until <= now_ns]
                for key in ended:
                    del router.prefixes[key]
                if 0 < router.until_ns <= now_ns:
                    router.until_ns, router.preference = 0, Preference.MEDIUM
                    changed = True
                changed |= bool(ended)
            self._drop_silent(interface)
        self._due_ns = self._next_end()
        return changed

    def poll_timeout(self) -> int | None:
        """Return when `handle_timeout` is due; None when nothing ends."""
        return self._due_ns

    def knows(self, interface: int, router: bytes) -> bool:
        """Tell whether a router has been heard and has something to say still."""
        return router in self._links.get(interface, {})

    def advertisers(self, interface: int, address: bytes) -> list[bytes]:
        """Return the routers that advertise a prefix of an address of 16 octets, the preferred ones first.

        By default router preference (RFC 4191 §2.1), then in the order in which they were heard.
        """
        link = self._links.get(interface, {})
        found = [(each.preference, router) for router, each in link.items() if each.advertises(address)]
        return [router for _, router in sorted(found, key=lambda pair: -pair[0])]

    def _take_prefix(self, router: _Router, entry: AdvertisedPrefix, now_ns: int) -> None:
        key = entry.prefix, entry.bits
        if not entry.valid_s:
            router.prefixes.pop(key, None)
        elif key in router.prefixes or len(router.prefixes) < PREFIXES_MAX:
            router.prefixes[key] = _until(entry.valid_s, now_ns)
        else:
            self.refused += 1

    def _drop_silent(self, interface: int) -> None:
        """Forget routers that are nobody's default router and advertise nothing."""
        link = self._links[interface]
        for router in [router for router, each in link.items() if not each.until_ns and not each.prefixes]:
            del link[router]
        if not link:
            del self._links[interface]

    def _next_end(self) -> int | None:
        return min((end for end in self._ends() if end < NEVER_NS), default=None)

    def _ends(self) -> Iterator[int]:
        for link in self._links.values():
            for router in link.values():
                yield from router.prefixes.values()
                if router.until_ns:
                    yield router.until_ns


def _until(seconds: int, now_ns: int) -> int:
    return NEVER_NS if seconds >= FOREVER_S else now_ns + seconds * SECOND_NS

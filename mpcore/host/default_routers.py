"""Which of an interface's default routes of IPv6 a source address takes (RFC 8028 §3.1), and in which order.

Functions of routes alone. Routes that are not default routes are nobody's choice: the longest prefix wins.
"""

import socket
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mpcore.host.routes import Route


def needs_choice(own: Sequence[Route], advertisers: Sequence[bytes]) -> bool:
    """Tell whether an address has to leave out some of the routes of its interface."""
    return len(chosen(own, advertisers)) < len(own)


def chosen(own: Sequence[Route], advertisers: Sequence[bytes]) -> list[Route]:
    """Return the routes of an interface, and of default routes those by routers that advertise the prefix.

    In the order of `advertisers`, then of the main table; all of them where none of the routers has
    advertised it.
    """
    own = sorted(own, key=_rank)
    fitting = [route for route in own if route.is_default and route.gateway in advertisers]
    if not fitting:
        return own
    fitting.sort(key=lambda route: advertisers.index(route.gateway))
    return [route for route in own if not route.is_default] + fitting


def distinct(own: Iterable[Route]) -> list[Route]:
    """Return routes whose order tells: of those to the same destination each has a larger metric.

    The kernel would take the second one with the same metric for the first. It goes on to a larger metric
    where the router of a smaller one cannot be reached.
    """
    last: dict[tuple[bytes, int], int] = {}
    found = []
    for route in own:
        place = route.destination, route.prefix_length
        priority = max(route.priority, last.get(place, -1) + 1)
        last[place] = priority
        found.append(replace(route, priority=priority))
    return found


def first_interface(main: Iterable[Route]) -> int | None:
    """Return the interface by which packets leave that no other route is for, if the kernel chooses."""
    defaults = [route for route in main if route.family == socket.AF_INET6 and route.is_default]
    best = min(defaults, key=_rank, default=None)
    return None if best is None else best.interface_index


def _rank(route: Route) -> tuple[int, int]:
    return route.priority, -route.preference

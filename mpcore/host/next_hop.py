"""Where the kernel sends packets of IPv6 now: by which interface, and to which router on it."""

import socket
from dataclasses import dataclass

from mpcore.host.routes import Route, routes, ways
from mpcore.host.rtnetlink import RouteSocket


@dataclass(frozen=True, slots=True)
class NextHop:
    """The first hop of a path; `gateway` is empty for what is on the link."""

    interface_index: int
    gateway: bytes


class NextHops:
    """Asks the kernel for its routes of IPv6. Raises HostError."""

    def __init__(self) -> None:
        self._kernel = RouteSocket()

    def close(self) -> None:
        """Close the socket to the kernel."""
        self._kernel.close()

    def of(self, local: bytes, peer: bytes) -> NextHop | None:
        """Return where a packet goes first; None when nowhere."""
        return next(map(_hop, ways(self._kernel, local, peer)), None)

    def gateways(self) -> set[NextHop]:
        """Return the routers that routes of any table name. Raises HostError."""
        return {_hop(route) for route in routes(self._kernel, socket.AF_INET6) if route.gateway}


def _hop(route: Route) -> NextHop:
    return NextHop(route.interface_index, route.gateway)

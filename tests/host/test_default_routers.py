"""Which default routes an address takes, from routes alone (RFC 8028 §3.1)."""

from __future__ import annotations

import socket

from mpcore.host.default_routers import chosen, distinct, first_interface, needs_choice
from mpcore.host.routes import MAIN_TABLE, Route

R1, R2, R3 = (socket.inet_pton(socket.AF_INET6, f"fe80::{number}") for number in (1, 2, 3))
LAN = socket.inet_pton(socket.AF_INET6, "2001:db8:1::")


def route(gateway: bytes, priority: int = 1024, *, index: int = 1, preference: int = 0) -> Route:
    return Route(
        socket.AF_INET6, MAIN_TABLE, b"", 0, index, gateway, b"", priority, 0, b"", False, preference
    )


def more_specific(gateway: bytes = b"", priority: int = 256) -> Route:
    return Route(socket.AF_INET6, MAIN_TABLE, LAN, 64, 1, gateway, b"", priority, 0, b"", False)


MAIN = [more_specific(), route(R1), route(R2), route(R3)]


def gateways(routes: list[Route]) -> list[bytes]:
    return [each.gateway for each in routes if each.is_default]


def test_routers_that_advertise_are_taken_and_others_left_out() -> None:
    own = chosen(MAIN, [R2])
    assert gateways(own) == [R2]
    assert more_specific() in own
    assert needs_choice(MAIN, [R2])


def test_where_nobody_advertises_any_default_router_will_do() -> None:
    assert gateways(chosen(MAIN, [])) == [R1, R2, R3]
    assert not needs_choice(MAIN, [])


def test_one_that_advertises_and_is_no_default_router_is_not_taken() -> None:
    stranger = socket.inet_pton(socket.AF_INET6, "fe80::99")
    assert gateways(chosen(MAIN, [stranger])) == [R1, R2, R3]
    assert gateways(chosen(MAIN, [stranger, R3])) == [R3]


def test_where_all_advertise_nothing_is_to_be_done() -> None:
    assert not needs_choice(MAIN, [R3, R2, R1])
    assert not needs_choice([more_specific(), route(R1)], [R1])


def test_the_order_is_that_of_the_routers() -> None:
    assert gateways(chosen(MAIN, [R3, R1])) == [R3, R1]
    metrics = {each.gateway: each.priority for each in distinct(chosen(MAIN, [R3, R1])) if each.is_default}
    assert metrics == {R3: 1024, R1: 1025}


def test_else_it_is_that_of_the_main_table() -> None:
    main = [route(R1, 1024), route(R2, 512), route(R3, 1024, preference=1)]
    own = distinct(chosen(main, []))
    assert [(each.gateway, each.priority) for each in own] == [(R2, 512), (R3, 1024), (R1, 1025)]


def test_more_specific_routes_stay_whoever_they_lead_by() -> None:
    """The longest prefix wins; RFC 8028 is about default routers."""
    main = [more_specific(R1), more_specific(R2), route(R1), route(R2)]
    own = distinct(chosen(main, [R2]))
    assert [(each.gateway, each.priority) for each in own] == [(R1, 256), (R2, 257), (R2, 1024)]


def test_a_route_to_the_link_has_no_router_that_could_have_advertised() -> None:
    assert len(chosen([route(b"", 512), route(R1)], [])) == 2
    assert gateways(chosen([route(b"", 512), route(R1)], [R1])) == [R1]


def test_packets_without_a_source_leave_where_the_main_table_would_send_them() -> None:
    assert first_interface([route(R1, index=1), route(R2, index=2)]) == 1
    assert first_interface([route(R1, 1024, index=1), route(R2, 100, index=2)]) == 2
    assert first_interface([route(R1, index=1), route(R2, index=2, preference=1)]) == 2
    assert first_interface([more_specific()]) is None

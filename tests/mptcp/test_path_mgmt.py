"""Address ids, ADD_ADDR and REMOVE_ADDR (RFC 8684 §3.4), one book against the other."""

from dataclasses import replace

import pytest

from mpcore.counters import Counter
from mpcore.mptcp import keys
from mpcore.mptcp.path_mgmt import (
    ANNOUNCE_RETRANSMISSIONS,
    REFRESH_INTERVAL_NS,
    REMOTE_ADDRESSES_MAX,
    AddressBook,
)
from mpcore.policy.base import RemoteAddress
from mpcore.wire.values import AddAddr, RemoveAddr, parse_options

KEY_A, KEY_B = 11, 22
A0, A1, B0, B1 = (bytes([10, 0, net, host]) for net, host in ((0, 1), (1, 1), (0, 2), (1, 2)))
TIMEOUT_NS = 1_000_000_000


def book_a() -> AddressBook:
    return AddressBook(KEY_A, KEY_B, A0, B0, 80, timeout_ns=TIMEOUT_NS)


def book_b() -> AddressBook:
    return AddressBook(KEY_B, KEY_A, B0, A0, 40000, timeout_ns=TIMEOUT_NS)


def add_addr(data: bytes) -> AddAddr:
    (option,) = parse_options(data)
    assert isinstance(option, AddAddr)
    return option


def announced(number: int, address: bytes, port: int | None = None) -> AddAddr:
    """Return what peer B sends to A."""
    return AddAddr(number, address, port, hmac=keys.add_addr_hmac(KEY_B, KEY_A, number, address, port))


def test_id_zero_is_the_first_subflows() -> None:
    """RFC 8684 §3.2."""
    book = book_a()
    assert book.local_id(A0) == 0
    assert book.local_id(A1) == 1
    assert book.local_id(A1) == 1
    assert book.remote_addresses == (RemoteAddress(B0, 0, 80),)


def test_ids_end_at_255() -> None:
    book = book_a()
    found = [book.local_id(number.to_bytes(4)) for number in range(300)]
    assert found[:255] == list(range(1, 256))
    assert set(found[255:]) == {None}
    assert book.add_local(bytes([9, 9, 9, 9]), "eth9", False) is None


def test_an_id_stays_with_its_address() -> None:
    """RFC 8684 §3.4.1: an id names one address."""
    book = book_a()
    book.add_local(A1, "eth1", False)
    book.remove_local(A1)
    assert book.local_id(bytes([1, 2, 3, 4])) == 2
    again = book.add_local(A1, "eth1", True)
    assert again is not None
    assert (again.address_id, again.backup) == (1, True)


@pytest.mark.parametrize("port", [None, 8080])
def test_announcement_is_understood_and_echoed(port: int | None) -> None:
    """RFC 8684 §3.4.1: the echo is the same option without HMAC, and ends the repetition."""
    a, b = book_a(), book_b()
    option = add_addr(b.announce(B1, 1, port, 0))
    found = a.handle_announcement(option, 80, 0)
    assert found is not None
    assert found.fresh
    assert found.address == RemoteAddress(B1, 1, port or 80)
    assert a.remote_addresses[1] == found.address
    echo = add_addr(found.echo)
    assert echo == AddAddr(1, B1, port, echo=True)
    b.handle_echo(echo, 0)
    assert b.poll_timeout() is None


def test_announcements_wait_for_one_another() -> None:
    """Linux keeps one ADD_ADDR at a time and drops others (RFC 8684 §3.4.1: each is echoed)."""
    b = book_b()
    first = add_addr(b.announce(B1, 1, None, 0))
    assert b.announce(bytes([10, 9, 9, 9]), 2, None, 0) is None
    (second,) = b.handle_echo(AddAddr(first.address_id, first.address, echo=True), 0)
    assert add_addr(second).address_id == 2


def test_an_announcement_withdrawn_makes_room() -> None:
    book = book_a()
    for address in (A1, B1):
        book.add_local(address, "eth1", False)
    assert book.announce(A1, 1, None, 0) is not None
    assert book.announce(B1, 2, None, 0) is None
    book.withdraw(1)
    due_ns = book.poll_timeout()
    assert due_ns is not None
    (sent,) = book.handle_timeout(max(due_ns, 5))
    assert add_addr(sent).address == B1
    assert book.poll_timeout() == 5 + TIMEOUT_NS


def test_an_announcement_given_up_makes_room() -> None:
    b = book_b()
    b.announce(B1, 1, None, 0)
    b.announce(bytes([10, 9, 9, 9]), 2, None, 0)
    sent = []
    while (when := b.poll_timeout()) is not None and len(sent) < 20:
        sent += [add_addr(option).address_id for option in b.handle_timeout(when)]
    assert sent == [1, 1, 1, 2, 2, 2, 2]


def test_echo_of_something_else_ends_nothing() -> None:
    """RFC 8684 §3.4.1: an echo is the same option again."""
    b = book_b()
    b.announce(B1, 1, 80, 0)
    b.handle_echo(AddAddr(1, B1, 81, echo=True), 0)
    b.handle_echo(AddAddr(2, B1, 80, echo=True), 0)
    assert b.poll_timeout() == TIMEOUT_NS
    assert b.counts[Counter.ECHO_ADD_UNKNOWN] == 2


def test_announcement_without_echo_is_repeated_and_given_up() -> None:
    """RFC 8684 §3.4.1: local policy; here the timer doubles."""
    b = book_b()
    first = b.announce(B1, 1, None, 0)
    times, sent = [], []
    while (when := b.poll_timeout()) is not None:
        times.append(when // TIMEOUT_NS)
        sent.extend(b.handle_timeout(when))
    assert times == [1, 3, 7, 15]
    assert sent == [first] * ANNOUNCE_RETRANSMISSIONS


@pytest.mark.parametrize(
    ("option", "counter"),
    [
        (replace(announced(1, B1), hmac=bytes(8)), Counter.ADD_ADDR_HMAC_FAILURE),
        (replace(announced(1, B1), hmac=None), Counter.ADD_ADDR_HMAC_FAILURE),
        (replace(announced(1, B1), port=81), Counter.ADD_ADDR_HMAC_FAILURE),
        (announced(0, B1), Counter.ADD_ADDR_CONFLICT),
        (announced(1, bytes([127, 0, 0, 1])), Counter.ADD_ADDR_UNUSABLE),
        (announced(1, bytes([224, 0, 0, 1])), Counter.ADD_ADDR_UNUSABLE),
        (announced(1, bytes(4)), Counter.ADD_ADDR_UNUSABLE),
        (announced(1, bytes(16)), Counter.ADD_ADDR_UNUSABLE),
        (announced(1, b"\xff" + bytes(15)), Counter.ADD_ADDR_UNUSABLE),
        (
            AddAddr(1, B1, hmac=keys.add_addr_hmac(KEY_A, KEY_B, 1, B1, None)),
            Counter.ADD_ADDR_HMAC_FAILURE,
        ),
    ],
)
def test_announcements_that_are_ignored(option: AddAddr, counter: Counter) -> None:
    """RFC 8684 §3.4.1: HMAC that does not verify; an id that has another address; no host's address."""
    book = book_a()
    assert book.handle_announcement(option, 80, 0) is None
    assert len(book.remote_addresses) == 1
    assert book.counts[Counter.ADD_ADDR_DROP] == book.counts[counter] == 1


def test_repeat_is_echoed_and_later_asks_for_another_attempt() -> None:
    """RFC 8684 §3.4.1: a refresh triggers a new attempt; a lost echo does not."""
    book = book_a()
    option = announced(1, B1)
    outcomes = [
        book.handle_announcement(option, 80, now) for now in (0, REFRESH_INTERVAL_NS - 1, REFRESH_INTERVAL_NS)
    ]
    assert [outcome.fresh for outcome in outcomes if outcome] == [True, False, True]


def test_another_port_is_another_attempt() -> None:
    """RFC 8684 §3.4.1: the receiver SHOULD try the new port."""
    book = book_a()
    book.handle_announcement(announced(1, B1), 80, 0)
    found = book.handle_announcement(announced(1, B1, 81), 80, 1)
    assert found is not None
    assert found.fresh
    assert book.remote_addresses[1].port == 81


def test_an_id_is_replaced_only_after_its_removal() -> None:
    """RFC 8684 §3.4.1."""
    book = book_a()
    other = bytes([10, 9, 9, 9])
    book.handle_announcement(announced(1, B1), 80, 0)
    assert book.handle_announcement(announced(1, other), 80, 0) is None
    assert book.handle_removal(RemoveAddr((1,))) == (1,)
    assert book.handle_announcement(announced(1, other), 80, 0) is not None


def test_addresses_of_the_peer_are_bounded() -> None:
    """RFC 8684 §5."""
    book = book_a()
    for number in range(1, 100):
        book.handle_announcement(announced(number, bytes([10, 9, 9, number])), 80, 0)
    assert len(book.remote_addresses) == REMOTE_ADDRESSES_MAX
    assert book.counts[Counter.ADD_ADDR_FULL] == 100 - REMOTE_ADDRESSES_MAX


def test_unknown_ids_in_a_removal_are_ignored() -> None:
    """RFC 8684 §3.4.2; an id that came with a join counts as known."""
    book = book_a()
    book.learn(7)
    assert book.handle_removal(RemoveAddr((5, 7, 7, 0))) == (7, 0)
    assert book.handle_removal(RemoveAddr((7, 0))) == ()


def test_nat_does_not_bind_an_id_to_the_address_it_shows() -> None:
    """RFC 8684 §3.2: ids serve where addresses are translated."""
    book = book_a()
    book.learn(1)
    assert book.handle_announcement(announced(1, B1), 80, 0) is not None


def test_withdrawal_is_sent_for_ids_that_the_peer_saw() -> None:
    """RFC 8684 §3.4.2: announced addresses SHOULD be withdrawn, even if unused."""
    book = book_b()
    book.add_local(B1, "eth1", False)
    assert book.withdraw(1) is None
    book.announce(B1, 1, None, 0)
    data = book.withdraw(1)
    assert data is not None
    assert parse_options(data) == (RemoveAddr((1,)),)
    assert book.poll_timeout() is None
    assert book.withdraw(1) is None


def test_books_share_their_beginning_and_nothing_else() -> None:
    """RFC 8684 §3.4.1: an id keeps its address, in each connection by itself."""
    first, second = book_a(), book_a()
    first.add_local(A1, "eth1", False)
    second.share(first.shared())
    second.add_local(B1, "eth2", False)
    assert second.local_id(A1) == first.local_id(A1) == 1
    assert [each.address for each in first.local_addresses] == [A0, A1]
    assert [each.address for each in second.local_addresses] == [A0, A1, B1]

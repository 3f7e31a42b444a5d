"""Addresses formed from prefixes, with a kernel that does what the test wants."""

from collections.abc import Callable, Iterable
from random import Random
from types import SimpleNamespace

import pytest

from mpcore.shim6 import cga
from mpcore.shim6.advertised import FOREVER_S
from mpcore.shim6.cga import find_modifier, sec_of
from mpcore.shim6.cga_locators import verify_ulid
from mpcore.shim6.cga_parameters import CgaParameters, multi_prefix_of
from mpcore.shim6.cga_verifier import CgaVerifier
from mpcore.shim6.events import AddressFormed, AddressTaken, FormEvent, FormingFailed
from mpcore.shim6.formed_status import describe_formed
from mpcore.shim6.former import RETIRE_NS, AddressFormer
from mpcore.shim6.forming import (
    AddressState,
    DropAddress,
    ForgetAddress,
    FormSettings,
    Kind,
    PutAddress,
    SearchModifier,
    StoreUnit,
    UnstoreUnit,
)
from mpcore.shim6.identity import Identities
from mpcore.shim6.owned import identities_of
from mpcore.shim6.prefixes import parse_prefix, prefix_of
from mpcore.shim6.settings import SECOND
from mpcore.shim6.units import UNITS_MAX, Unit

P = [parse_prefix(f"2001:db8:{number}::/64") for number in range(9)]
CHEAP = b"fitting"
every_kind = pytest.mark.parametrize("kind", list(Kind))
kinds_with_key = pytest.mark.parametrize("kind", [Kind.CGA, Kind.BOTH])


@pytest.fixture(scope="module")
def key() -> SimpleNamespace:
    keys = pytest.importorskip("mpcore.shim6.cga_keys")
    private = keys.make_key(1024)
    return SimpleNamespace(
        public=keys.public_key_of(private), sign=lambda listed: keys.sign_locators(private, listed)
    )


class World:
    """A former with its kernel: what is assigned, who else has addresses, what is stored."""

    def __init__(self, kind: Kind, key: SimpleNamespace, units: Iterable[Unit] = (), *, sec: int = 0) -> None:
        self.now = 0
        self.in_use: set[bytes] = set()
        self.former = AddressFormer(
            FormSettings(kind=kind, sec=sec),
            Random(7),
            public_key=key.public,
            sign=key.sign,
            units=units,
            in_use=self.in_use.__contains__,
            now_ns=0,
        )
        self.is_taken: Callable[[bytes], bool] = lambda address: False
        self.assigned: dict[bytes, PutAddress] = {}
        self.tentative: list[PutAddress] = []
        self.puts: list[PutAddress] = []
        self.forgotten: set[bytes] = set()
        self.stored: dict[int, CgaParameters] = {}
        self.searches: list[SearchModifier] = []
        self.events: list[FormEvent] = []
        for interface in ("up1", "up2"):
            self.former.handle_link(interface, True, 0)

    def hear(self, number: int, interface: str = "up1", preferred: int = 600, valid: int = 1200) -> None:
        """A router advertises a prefix."""
        self.former.handle_prefix(P[number], interface, preferred, valid, self.now)
        self.work()

    def wait(self, seconds: float) -> None:
        """Let time pass, and all that is due happen, duplicate address detection too."""
        end = self.now + round(seconds * SECOND)
        while True:
            self.detect()
            due = self.former.poll_timeout()
            if due > end:
                break
            self.now = max(self.now, due)
            self.former.handle_timeout(self.now)
            self.work()
        self.now = end

    def detect(self) -> None:
        """Tell of each tentative address whether it is taken, until none is left."""
        while self.tentative:
            put = self.tentative.pop(0)
            state = AddressState.TAKEN if self.is_taken(put.address) else AddressState.READY
            self.former.handle_address(put.address, put.interface, state, self.now)
            self.work()

    def work(self) -> None:
        while (effect := self.former.poll_effect()) is not None:
            match effect:
                case PutAddress():
                    self.puts.append(effect)
                    if effect.address not in self.assigned:
                        self.tentative.append(effect)
                    self.assigned[effect.address] = effect
                case DropAddress(address, interface):
                    assert self.assigned.pop(address).interface == interface
                    self.tentative = [put for put in self.tentative if put.address != address]
                case ForgetAddress(address):
                    self.forgotten.add(address)
                case StoreUnit(number, parameters):
                    self.stored[number] = parameters
                case UnstoreUnit(number):
                    del self.stored[number]
                case SearchModifier():
                    self.searches.append(effect)
        while (event := self.former.poll_event()) is not None:
            self.events.append(event)

    def find(self, *, cheap: bool = False) -> None:
        """Answer the last search: by a modifier that fits, or a `cheap` one that counts as such."""
        wanted = self.searches[-1]
        modifier = CHEAP + bytes([len(self.searches)]) + bytes(8)
        if not cheap:
            modifier = find_modifier(wanted.start, wanted.tail, wanted.sec)
        self.former.handle_modifier(wanted.number, modifier, self.now)
        self.work()

    def restart(self, kind: Kind, key: SimpleNamespace, *, sec: int = 0) -> "World":
        """Return the next daemon, which has what was stored."""
        units = [Unit(number, kept, True) for number, kept in self.stored.items()]
        following = World(kind, key, units, sec=sec)
        following.stored.update(self.stored)
        return following

    def address(self, number: int) -> bytes:
        """Return the only address in a prefix."""
        (found,) = [address for address in self.assigned if prefix_of(address) == P[number]]
        return found

    def happened(self, kind: type) -> list[FormEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    def status(self, number: int) -> list[tuple[object, object]]:
        """Return state and currency of what is in a prefix."""
        entries = describe_formed(self.former, self.now)
        text = f"2001:db8:{number}::/64".replace(":0::", "::")
        return [(entry["state"], entry["current"]) for entry in entries if entry["prefix"] == text]

    def accepted_by_peers(self) -> dict[bytes, set[bytes]]:
        """Return the locators of each ULID, each list verified as a peer does it (RFC 5533 §7.2)."""
        found = {}
        for identity in identities_of(self.former.owned(), self.former.announced()):
            known = Identities(Random(1))
            known.set(identity)
            claim, verifier = known.claim(identity.ulid), CgaVerifier()
            assert claim.parameters is not None
            assert verifier.owns(identity.ulid, claim.parameters)
            assert not verifier.refused(identity.ulid, claim.locators, claim.parameters, claim.signature)
            found[identity.ulid] = {locator.address for locator in identity.locators}
        return found


def formed(kind: Kind, key: SimpleNamespace, *numbers: int) -> World:
    """Return a world that has formed addresses in these prefixes, on interfaces by turns."""
    world = World(kind, key)
    for number in numbers or (1, 2):
        world.hear(number, f"up{1 + (number + 1) % 2}")
    world.wait(5)
    return world


# --- prefixes come


@every_kind
def test_each_prefix_gets_an_address_that_peers_accept_with_all_others(
    kind: Kind, key: SimpleNamespace
) -> None:
    world = formed(kind, key)
    addresses = {world.address(1), world.address(2)}
    assert world.accepted_by_peers() == dict.fromkeys(addresses, addresses)
    assert {(put.interface, put.route) for put in world.puts} == {("up1", False), ("up2", False)}
    assert len(world.happened(AddressFormed)) == 2


def test_a_set_waits_for_its_prefixes_and_a_single_address_does_not(key: SimpleNamespace) -> None:
    for kind, at_once in ((Kind.CGA, 1), (Kind.HBA, 0), (Kind.BOTH, 0)):
        world = World(kind, key)
        world.hear(1)
        assert len(world.puts) == at_once


@every_kind
def test_an_address_counts_only_once_no_other_host_has_it(kind: Kind, key: SimpleNamespace) -> None:
    world = World(kind, key)
    world.hear(1)
    world.now += 5 * SECOND
    world.former.handle_timeout(world.now)
    world.work()
    assert world.tentative
    assert not world.former.owned()
    assert not world.stored
    world.detect()
    assert [one.addresses for one in world.former.owned()] == [(world.address(1),)]
    assert len(world.stored) == 1


@kinds_with_key
def test_with_a_key_a_later_prefix_changes_no_address(kind: Kind, key: SimpleNamespace) -> None:
    """RFC 5535 §8.1: a key of the set signs for any further locator."""
    world = formed(kind, key)
    before = set(world.assigned)
    world.hear(3)
    world.wait(5)
    assert set(world.assigned) == before | {world.address(3)}
    everything = frozenset(world.assigned)
    assert world.accepted_by_peers() == dict.fromkeys(world.assigned, everything)
    assert not world.forgotten


def test_without_a_key_a_later_prefix_means_a_new_set_beside_the_old_one(key: SimpleNamespace) -> None:
    """RFC 5535 §4: the prefixes of a set cannot change; conversations on the old one go on."""
    world = formed(Kind.HBA, key)
    old = set(world.assigned)
    world.in_use |= old
    world.hear(3)
    world.wait(RETIRE_NS / SECOND + 5)
    new = set(world.assigned) - old
    assert len(new) == 3
    assert world.accepted_by_peers() == dict.fromkeys(old, old) | dict.fromkeys(new, new)
    assert sorted(world.status(1)) == [("ready", False), ("ready", True)]
    world.in_use.clear()
    world.wait(RETIRE_NS / SECOND)
    assert set(world.assigned) == new
    assert world.forgotten == old
    assert len(world.stored) == 1


def test_old_sets_are_bounded_even_when_they_are_in_use(key: SimpleNamespace) -> None:
    world = World(Kind.HBA, key)
    for number in range(1, 7):
        world.hear(number)
        world.wait(3)
        world.in_use |= set(world.assigned)
    world.wait(RETIRE_NS / SECOND)
    assert len(world.former.units) == 3


def test_old_single_addresses_are_bounded_for_each_prefix(key: SimpleNamespace) -> None:
    world = formed(Kind.CGA, key, 1, 2, 3)
    for _ in range(4):
        world.in_use |= set(world.assigned)
        world.former.renew(world.now)
        world.work()
        world.wait(5)
    world.wait(RETIRE_NS / SECOND)
    assert [len(world.status(number)) for number in (1, 2, 3)] == [3, 3, 3]


def test_prefixes_are_bounded(key: SimpleNamespace) -> None:
    world = formed(Kind.CGA, key, *range(9))
    assert len(world.assigned) == FormSettings(kind=Kind.CGA).limit == 8


def test_units_of_prefixes_that_come_and_go_are_bounded(key: SimpleNamespace) -> None:
    world = World(Kind.CGA, key)
    for number in range(2 * UNITS_MAX):
        prefix = parse_prefix(f"2001:db8:1{number:02}::/64")
        world.former.handle_prefix(prefix, "up1", 1, 1, world.now)
        world.work()
        world.wait(2)
    world.wait(RETIRE_NS / SECOND)
    assert len(world.former.units) == len(world.stored) == UNITS_MAX


def test_what_the_administrator_names_has_a_route_and_no_end(key: SimpleNamespace) -> None:
    world = World(Kind.CGA, key)
    world.former.add_fixed(P[1], "up3")
    world.former.handle_timeout(0)
    assert not world.puts
    world.former.handle_link("up3", True, 0)
    world.work()
    (put,) = world.puts
    assert (put.interface, put.preferred_s, put.valid_s, put.route) == ("up3", FOREVER_S, FOREVER_S, True)


@every_kind
def test_a_set_has_no_more_prefixes_than_messages_have_room_for(kind: Kind, key: SimpleNamespace) -> None:
    """RFC 5533 §5.1: what does not fit could be told to no peer."""
    keys = pytest.importorskip("mpcore.shim6.cga_keys")
    large = keys.make_key(3072)
    large_key = SimpleNamespace(
        public=keys.public_key_of(large), sign=lambda listed: keys.sign_locators(large, listed)
    )
    world = formed(kind, large_key, *range(1, 9))
    assert {prefix_of(address) for address in world.assigned} <= set(P)
    assert world.accepted_by_peers()
    if kind is Kind.BOTH:
        assert 0 < len(world.happened(FormingFailed)) < 8


# --- duplicates


@every_kind
@pytest.mark.parametrize("collisions", [1, 2])
def test_a_collision_raises_the_count_in_all_addresses_of_the_unit(
    kind: Kind, key: SimpleNamespace, collisions: int
) -> None:
    """RFC 3972 §4 step 7; RFC 5535 §6: all addresses of a set have the same count."""
    world = World(kind, key)
    world.is_taken = lambda address: (
        prefix_of(address) == P[1] and len(world.happened(AddressTaken)) < collisions
    )
    world.hear(1)
    world.hear(2)
    world.wait(5)
    assert len(world.happened(AddressTaken)) == collisions
    counts = {prefix: unit.parameters.collisions for unit in world.former.units for prefix in unit.addresses}
    assert counts == {P[1]: collisions, P[2]: collisions if kind.has_set else 0}
    assert world.accepted_by_peers().keys() == {world.address(1), world.address(2)}
    for unit in world.former.units:
        for address in unit.addresses.values():
            verify_ulid(address, unit.parameters)
    assert not world.forgotten


@every_kind
def test_a_sec_above_zero_is_kept_through_collisions(kind: Kind, key: SimpleNamespace) -> None:
    """RFC 3972 §4: Hash2 does not depend on the count, so that the search need not be repeated."""
    world = World(kind, key, sec=1)
    world.is_taken = lambda address: not world.happened(AddressTaken)
    world.hear(1)
    world.wait(5)
    world.find()
    world.wait(1)
    assert len(world.searches) == 1
    assert sec_of(world.address(1)) >= 1
    assert world.accepted_by_peers().keys() == {world.address(1)}
    (unit,) = world.former.units
    assert unit.parameters.collisions == 1


@every_kind
def test_after_three_collisions_the_prefix_is_given_up_and_the_others_are_not(
    kind: Kind, key: SimpleNamespace
) -> None:
    """RFC 3972 §4 step 8: stop and report."""
    world = World(kind, key)
    world.is_taken = lambda address: prefix_of(address) == P[1]
    world.hear(1)
    world.hear(2)
    world.wait(10)
    assert len(world.happened(AddressTaken)) == 3
    (failed,) = world.happened(FormingFailed)
    assert isinstance(failed, FormingFailed)
    assert (failed.prefix, failed.interface) == ("2001:db8:1::/64", "up1")
    assert world.status(1) == [("failed", False)]
    assert world.accepted_by_peers().keys() == {world.address(2)}
    world.hear(1)
    world.wait(60)
    assert len(world.happened(AddressTaken)) == 3

    world.is_taken = lambda address: False
    world.former.renew(world.now)
    world.work()
    world.wait(RETIRE_NS / SECOND + 5)
    assert world.accepted_by_peers().keys() == {world.address(1), world.address(2)}


def test_a_collision_of_a_set_that_counts_leaves_its_other_addresses_in_place(key: SimpleNamespace) -> None:
    """The next set is made beside it; conversations on the old addresses go on."""
    first = formed(Kind.HBA, key)
    old = first.address(1), first.address(2)
    world = first.restart(Kind.HBA, key)
    world.in_use.add(old[1])
    world.is_taken = lambda address: address == old[0]
    world.hear(1)
    world.hear(2, "up2")
    world.wait(RETIRE_NS / SECOND + 5)
    assert old[1] in world.assigned
    assert old[0] not in world.assigned
    assert world.forgotten == {old[0]}
    assert sorted(world.status(1)) == [("ready", True), ("taken", False)]
    assert len(world.assigned) == 3


@every_kind
def test_the_count_that_was_free_is_kept_over_a_restart(kind: Kind, key: SimpleNamespace) -> None:
    world = World(kind, key)
    world.is_taken = lambda address: not world.happened(AddressTaken)
    world.hear(1)
    world.wait(5)
    following = world.restart(kind, key)
    following.hear(1)
    following.wait(5)
    assert following.address(1) == world.address(1)
    assert len(following.puts) == 1


# --- restarts


@every_kind
def test_a_restarted_daemon_forms_the_same_addresses_at_once(kind: Kind, key: SimpleNamespace) -> None:
    first = formed(kind, key, 1, 2, 3)
    world = first.restart(kind, key)
    assert world.accepted_by_peers().keys() == first.assigned.keys(), (
        "contexts may need them before routers speak"
    )
    world.hear(2)
    assert set(world.assigned) == {first.address(2)}
    world.wait(60)
    assert world.status(2) == [("ready", True)]
    assert world.status(1) == [("waiting", True)]


def test_units_of_another_key_are_not_taken_up(key: SimpleNamespace) -> None:
    first = formed(Kind.BOTH, key)
    other = SimpleNamespace(public=key.public[:-1] + b"\x05", sign=key.sign)
    assert not len(first.restart(Kind.BOTH, other).former.units)


def test_units_of_another_kind_go_when_nothing_uses_them(key: SimpleNamespace) -> None:
    world = formed(Kind.HBA, key).restart(Kind.CGA, key)
    world.hear(1)
    world.wait(5)
    assert len(world.assigned) == 2
    world.wait(RETIRE_NS / SECOND)
    assert [multi_prefix_of(unit.parameters) for unit in world.former.units] == [None]


@every_kind
def test_other_addresses_by_wish_of_the_operator(kind: Kind, key: SimpleNamespace) -> None:
    world = formed(kind, key)
    old = set(world.assigned)
    world.former.renew(world.now)
    world.work()
    world.wait(RETIRE_NS / SECOND + 5)
    assert len(world.assigned) == 2
    assert not old & set(world.assigned)


# --- lifetimes


@every_kind
def test_lifetimes_follow_the_advertisements(kind: Kind, key: SimpleNamespace) -> None:
    world = formed(kind, key, 1)
    (address,) = world.assigned
    world.now += 300 * SECOND
    world.hear(1)
    assert world.puts[-1] == PutAddress(address, "up1", 600, 1200, False)
    assert world.status(1) == [("ready", True)]
    world.wait(2)
    world.hear(1, preferred=0)
    assert world.puts[-1] == PutAddress(address, "up1", 0, 1200, False)
    assert world.status(1) == [("deprecated", True)]
    assert world.accepted_by_peers()


def test_a_flood_of_advertisements_changes_an_address_once_a_second(key: SimpleNamespace) -> None:
    world = formed(Kind.CGA, key, 1)
    count = len(world.puts)
    for step in range(100):
        world.now += SECOND // 100
        world.hear(1, preferred=step % 2)
    world.wait(2)
    assert len(world.puts) <= count + 3
    assert world.assigned[world.address(1)].preferred_s == 1


@every_kind
def test_a_prefix_that_ends_takes_its_address_with_it_and_no_other(kind: Kind, key: SimpleNamespace) -> None:
    """RFC 5533 §1.5: communication with it as a ULID ends; RFC 4862 §5.5.4."""
    world = formed(kind, key)
    first, second = world.address(1), world.address(2)
    world.now += 1000 * SECOND
    world.hear(2, "up2")
    world.wait(300)
    assert set(world.assigned) == {second}
    assert world.forgotten == {first}
    assert world.accepted_by_peers() == {second: {second}}

    world.hear(1)
    world.wait(5)
    assert world.address(1) == first, "the prefix came back, and with it the address"
    assert world.accepted_by_peers().keys() == {first, second}


def test_renumbering_old_and_new_prefix_overlap(key: SimpleNamespace) -> None:
    """RFC 4192: the new prefix comes, the old one is deprecated, then ends."""
    for kind in Kind:
        world = formed(kind, key, 1)
        old = world.address(1)
        world.in_use.add(old)
        world.hear(1, preferred=0, valid=1200)
        world.hear(3)
        world.wait(5)
        assert old in world.assigned
        new = next(one for one in world.assigned if prefix_of(one) == P[3])
        assert world.accepted_by_peers()[new] >= {new}
        while P[1] in world.former.table:
            world.wait(300)
            world.hear(3)
        world.in_use.clear()
        world.wait(RETIRE_NS / SECOND)
        assert prefix_of(old) not in map(prefix_of, world.assigned)
        assert new in world.assigned


# --- links


@every_kind
def test_an_address_that_its_link_lost_comes_back_with_it(kind: Kind, key: SimpleNamespace) -> None:
    world = formed(kind, key)
    address = world.address(1)
    world.former.handle_link("up1", False, world.now)
    world.former.handle_address(address, "up1", AddressState.GONE, world.now)
    world.work()
    count = len(world.puts)
    world.hear(2, "up2")
    assert len(world.puts) == count
    assert not world.forgotten, "a ULID that is merely unassigned is still this host's (RFC 5533 §1.5)"
    del world.assigned[address]
    world.former.handle_link("up1", True, world.now)
    world.work()
    world.wait(2)
    assert world.status(1) == [("ready", True)]
    assert world.address(1) == address


def test_an_address_that_somebody_deleted_comes_back_with_the_next_advertisement(
    key: SimpleNamespace,
) -> None:
    world = formed(Kind.CGA, key, 1)
    (address,) = world.assigned
    world.former.handle_address(address, "up1", AddressState.GONE, world.now)
    world.wait(10)
    assert world.status(1) == [("gone", True)]
    world.assigned.clear()
    world.hear(1)
    world.wait(1)
    assert world.status(1) == [("ready", True)]


def test_what_the_kernel_refuses_does_not_hold_up_the_rest_of_a_set(key: SimpleNamespace) -> None:
    world = World(Kind.HBA, key)
    world.hear(1)
    world.hear(2)
    world.now = 4 * SECOND
    world.former.handle_timeout(world.now)
    world.work()
    first, second = world.tentative
    world.former.handle_address(first.address, "up1", AddressState.READY, world.now)
    assert not world.former.owned()
    world.former.handle_refused(second.address)
    assert world.former.owned()


def test_a_link_without_carrier_does_not_hold_up_the_rest_of_a_set(key: SimpleNamespace) -> None:
    world = World(Kind.HBA, key)
    world.hear(1)
    world.hear(2, "up2")
    world.now = 4 * SECOND
    world.former.handle_timeout(world.now)
    world.work()
    first = next(put for put in world.tentative if put.interface == "up1")
    world.former.handle_address(first.address, "up1", AddressState.READY, world.now)
    assert not world.former.owned()
    world.former.handle_link("up2", False, world.now)
    assert world.former.owned()


@every_kind
def test_a_prefix_on_two_links_has_one_address_on_the_first_that_is_up(
    kind: Kind, key: SimpleNamespace
) -> None:
    world = formed(kind, key, 1)
    world.hear(1, "up2")
    assert [put.interface for put in world.puts] == ["up1"]
    address = world.address(1)
    world.former.handle_link("up1", False, world.now)
    world.hear(1, "up2")
    assert world.assigned[address].interface == "up2"


def test_other_addresses_of_the_host_do_not_matter(key: SimpleNamespace) -> None:
    world = formed(Kind.CGA, key, 1)
    for state in AddressState:
        world.former.handle_address(P[1] + bytes(8), "up1", state, world.now)
        world.former.handle_address(world.address(1), "up2", state, world.now)
    world.work()
    assert world.status(1) == [("ready", True)]


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let modifiers that begin with CHEAP have the zeros of any Sec; to find one would take an hour."""
    real = cga.hash2

    def hash2(parameters: CgaParameters) -> bytes:
        return bytes(14) if parameters.modifier.startswith(CHEAP) else real(parameters)

    monkeypatch.setattr(cga, "hash2", hash2)


@pytest.mark.usefixtures("cheap")
@every_kind
def test_a_search_goes_on_elsewhere_and_addresses_come_of_it(kind: Kind, key: SimpleNamespace) -> None:
    """RFC 3972 §4, steps 1 to 3, for Sec 2."""
    world = World(kind, key, sec=2)
    world.hear(1, "up1", 7200, 7200)
    world.hear(2, "up2", 7200, 7200)
    world.wait(3600)
    (wanted,) = world.searches
    assert wanted.sec == 2
    assert not world.assigned
    assert {state for number in (1, 2) for state, _ in world.status(number)} == {"searching"}
    world.former.handle_progress(wanted.number, 1 << 20)
    entry = describe_formed(world.former, world.now)[0]
    assert (entry["hashes"], entry["hashes_usual"], entry["address"]) == (1 << 20, 1 << 32, None)
    world.find(cheap=True)
    assert world.stored, "kept at once, so that it is searched once"
    world.wait(1)
    assert world.status(1) == world.status(2) == [("ready", True)]
    assert {sec_of(address) for address in world.assigned} == {2}
    assert len(world.searches) == 1
    assert world.accepted_by_peers().keys() == set(world.assigned)


@pytest.mark.usefixtures("cheap")
@kinds_with_key
def test_a_modifier_serves_for_the_prefixes_that_come_later(kind: Kind, key: SimpleNamespace) -> None:
    """RFC 3972 §4: no prefix is part of Hash2. The key of a set takes one more search, without the set."""
    world = World(kind, key, sec=2)
    for number in (1, 2, 3, 4):
        world.hear(number)
        world.wait(5)
        if world.former.search is not None:
            world.find(cheap=True)
            world.wait(1)
        assert sec_of(world.address(number)) == 2
    assert len(world.searches) == (1 if kind is Kind.CGA else 2)


@pytest.mark.usefixtures("cheap")
@every_kind
def test_what_was_found_is_not_searched_again_by_the_next_daemon(kind: Kind, key: SimpleNamespace) -> None:
    world = World(kind, key, sec=2)
    world.hear(1)
    world.wait(5)
    world.find(cheap=True)
    following = world.restart(kind, key, sec=2)
    following.hear(1)
    following.wait(5)
    assert following.searches == []
    assert set(following.assigned) == set(world.assigned)


@pytest.mark.usefixtures("cheap")
def test_prefixes_that_come_during_the_search_of_a_set_get_the_next_one(key: SimpleNamespace) -> None:
    """RFC 5535 §4. What is found is taken first, or a router that flaps would keep the host from all."""
    world = World(Kind.HBA, key, sec=2)
    world.hear(1, "up1", 7200, 7200)
    world.wait(5)
    world.hear(2, "up1", 7200, 7200)
    world.wait(600)
    assert len(world.searches) == 1
    assert world.status(2) == [("searching", False)]
    world.find(cheap=True)
    world.wait(1)
    assert world.status(1) == [("ready", True)]
    first = world.address(1)
    world.wait(5)
    assert len(world.searches) == 2
    assert world.status(1) == [("ready", True), ("searching", False)]
    world.in_use.add(first)
    world.find(cheap=True)
    world.wait(1)
    assert world.status(2) == [("ready", True)]
    assert first in world.assigned, "conversations keep the old set"


@pytest.mark.usefixtures("cheap")
@every_kind
def test_renewing_searches_while_the_addresses_of_before_stay(kind: Kind, key: SimpleNamespace) -> None:
    world = World(kind, key, sec=2)
    for number in (1, 2):
        world.hear(number)
    world.wait(5)
    world.find(cheap=True)
    world.wait(1)
    before = set(world.assigned)
    world.former.renew(world.now)
    world.work()
    world.wait(60)
    assert set(world.assigned) == before
    world.find(cheap=True)
    world.wait(RETIRE_NS // SECOND + 1)
    assert len(world.assigned) == 2
    assert not before & set(world.assigned)


@pytest.mark.usefixtures("cheap")
def test_only_the_last_search_counts(key: SimpleNamespace) -> None:
    world = World(Kind.HBA, key, sec=2)
    world.hear(1)
    world.wait(5)
    world.former.renew(world.now)
    world.work()
    first, second = world.searches
    world.former.handle_modifier(first.number, CHEAP + bytes(9), world.now)
    world.former.handle_progress(first.number, 99)
    world.work()
    assert not world.assigned
    assert describe_formed(world.former, world.now)[0]["hashes"] == 0
    world.find(cheap=True)
    world.former.handle_modifier(second.number, CHEAP + bytes(9), world.now)
    world.work()
    assert len(world.assigned) == 1

"""The daemon's part of forming addresses, with netlink and the kernel's addresses played by the test."""

import logging
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from mpcore.config import Config, load_config
from mpcore.errors import HostError
from mpcore.host import shim6_forming
from mpcore.host.autoconf import KernelAutoconf
from mpcore.host.formed import FormedAddresses
from mpcore.host.modifier_search import ModifierSearch, SearchNews
from mpcore.host.prefix_watch import AddressChanged, Change, LinkChanged, PrefixHeard
from mpcore.host.shim6_forming import AddressUse, Shim6Forming
from mpcore.host.shim6_services import make_endpoint
from mpcore.shim6.cga import make_cga
from mpcore.shim6.configured import forming_of
from mpcore.shim6.events import AddressFormed, AddressTaken, FormingFailed
from mpcore.shim6.forming import AddressState, DropAddress, PutAddress, SearchModifier
from mpcore.shim6.owned import Owned
from mpcore.shim6.prefixes import parse_prefix, prefix_of
from mpcore.shim6.settings import SECOND

P = [parse_prefix(f"2001:db8:{number}::/64") for number in range(4)]


class FakeWatch:
    """Netlink: what it says next."""

    def __init__(self) -> None:
        self.now: list[Change] = [LinkChanged("up1", True), LinkChanged("up2", True)]
        self.closed = False

    def load(self) -> list[Change]:
        return self.read()

    def read(self) -> list[Change]:
        found, self.now = self.now, []
        return found

    def close(self) -> None:
        self.closed = True

    def fileno(self) -> int:
        return 76


class FakeSolicitor:
    """Remembers on which interfaces routers are asked."""

    def __init__(self) -> None:
        self.asking: set[str] = set()

    def begin(self, interface: str) -> None:
        self.asking.add(interface)

    def heard(self, interface: str) -> None:
        self.asking.discard(interface)

    def poll_timeout(self) -> None:
        return None

    def handle_timeout(self, now_ns: int) -> None:
        pass

    def close(self) -> None:
        self.asking.clear()


class FakeKernel(FormedAddresses):
    """Assigns addresses, unless it refuses; the test decides whether a neighbour has them."""

    def __init__(self) -> None:
        self.assigned: dict[bytes, PutAddress] = {}
        self.refuses = False

    def put(self, wanted: PutAddress) -> None:
        if self.refuses:
            raise HostError("not today")
        self.assigned[wanted.address] = wanted

    def drop(self, unwanted: DropAddress) -> None:
        if self.refuses:
            raise HostError("not today")
        del self.assigned[unwanted.address]


class FakeAutoconf(KernelAutoconf):
    """Remembers where the kernel is to form nothing."""

    def __init__(self) -> None:
        self.standing_back: set[tuple[bytes, str]] = set()

    def stand_back(self, prefix: bytes, interface: str) -> None:
        self.standing_back.add((prefix, interface))

    def restore(self) -> None:
        self.standing_back.clear()


class FakeSearch(ModifierSearch):
    """Finds what the test says, when it says so."""

    def __init__(self) -> None:
        self.wanted: list[SearchModifier] = []
        self.news: list[SearchNews] = []
        self.closed = False

    def begin(self, wanted: SearchModifier) -> None:
        self.wanted.append(wanted)

    def read(self) -> Iterator[SearchNews]:
        found, self.news = self.news, []
        yield from found

    def fileno(self) -> int:
        return 77

    def poll_timeout(self) -> int | None:
        return None

    def handle_timeout(self, now_ns: int) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class Host:
    """One host that forms addresses."""

    def __init__(self, folder: Path, *settings: str, files: tuple[Owned, ...] = ()) -> None:
        self.config: Config = load_config(None, [f"shim6.form_directory={folder}", *settings])
        self.now = 0
        self.kernel, self.watch, self.solicitor = FakeKernel(), FakeWatch(), FakeSolicitor()
        self.autoconf, self.search = FakeAutoconf(), FakeSearch()
        self.endpoint = make_endpoint(self.config.shim6, lambda: self.now, files=files)
        wanted = forming_of(self.config.shim6)
        assert wanted is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shim6_forming, "PrefixWatch", lambda concerns: self.watch)
            patch.setattr(shim6_forming, "RouterSolicitor", lambda: self.solicitor)
            self.forming = Shim6Forming(
                self.config,
                wanted,
                self.endpoint,
                files,
                lambda: self.now,
                self.kernel,
                self.autoconf,
                self.search,
            )
        self.forming.start()

    def say(self, *changes: Change) -> None:
        self.watch.now = list(changes)
        self.forming.handle_ready()

    def hear(self, number: int, interface: str = "up1") -> None:
        self.say(PrefixHeard(P[number], interface, 600, 1200))

    def pass_time(self, seconds: int) -> None:
        self.now += seconds * SECOND
        self.forming.handle_timeout(self.now)

    def decide(self, state: AddressState) -> None:
        """Say the same of all addresses that are tentative."""
        tentative = [
            (address, slot.interface)
            for address, slot in self.forming.former.slots.items()
            if slot.state is AddressState.TENTATIVE
        ]
        self.say(*(AddressChanged(*place, state) for place in tentative))

    def locators(self) -> dict[bytes, set[bytes]]:
        found = self.endpoint.manager.identities()
        return {one.ulid: {locator.address for locator in one.locators} for one in found}

    def events(self) -> Iterator[object]:
        while (event := self.endpoint.poll_event()) is not None:
            yield event


HBA = ("shim6.form=hba", "shim6.form_settle_s=1")


def formed(folder: Path, *settings: str, files: tuple[Owned, ...] = ()) -> Host:
    host = Host(folder, *(settings or HBA), files=files)
    host.hear(1)
    host.hear(2, "up2")
    host.pass_time(2)
    host.decide(AddressState.READY)
    return host


def test_from_advertisement_to_identity(tmp_path: Path) -> None:
    host = Host(tmp_path, *HBA)
    assert host.solicitor.asking == {"up1", "up2"}
    host.hear(1)
    assert host.solicitor.asking == {"up2"}
    host.hear(2, "up2")
    host.pass_time(2)
    assert {put.interface for put in host.kernel.assigned.values()} == {"up1", "up2"}
    assert host.locators() == {}
    host.decide(AddressState.READY)
    everything = frozenset(host.kernel.assigned)
    assert host.locators() == dict.fromkeys(everything, everything)
    assert host.endpoint.ulids() == everything
    assert [type(event) for event in host.events()] == [AddressFormed, AddressFormed]
    assert [entry["state"] for entry in host.forming.describe()] == ["ready", "ready"]
    assert host.autoconf.standing_back == {(P[1], "up1"), (P[2], "up2")}


def test_the_kernel_may_form_addresses_too_if_the_administrator_wants(tmp_path: Path) -> None:
    host = formed(tmp_path, *HBA, "shim6.form_alone=false")
    assert host.kernel.assigned
    assert not host.autoconf.standing_back


def test_what_was_heard_before_the_start_does_not_keep_routers_from_being_asked(tmp_path: Path) -> None:
    host = Host(tmp_path, *HBA)
    host.say(PrefixHeard(P[1], "up1", 600, 600, early=True))
    assert host.solicitor.asking == {"up1", "up2"}


def test_the_end_takes_all_addresses_back_and_the_next_daemon_has_the_same(tmp_path: Path) -> None:
    host = formed(tmp_path)
    before = set(host.kernel.assigned)
    host.forming.close()
    assert not host.kernel.assigned
    assert not host.autoconf.standing_back
    assert host.watch.closed
    following = Host(tmp_path, *HBA)
    assert following.locators().keys() == before
    following.hear(1)
    assert set(following.kernel.assigned) < before


def test_collisions_are_counted_told_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    host = Host(tmp_path, *HBA)
    host.hear(1)
    host.pass_time(2)
    for _ in range(3):
        host.decide(AddressState.TAKEN)
    assert not host.kernel.assigned
    counters = host.endpoint.counters()
    assert (counters["Shim6ExtAddressTaken"], counters["Shim6ExtFormingFailed"]) == (3, 1)
    assert [type(event) for event in host.events()] == [AddressTaken] * 3 + [FormingFailed]
    assert "is another host's (collision 3)" in caplog.text
    assert "no address for 2001:db8:1::/64 on up1: three addresses in a row" in caplog.text
    host.forming.renew()
    host.decide(AddressState.READY)
    assert len(host.locators()) == 1


def test_a_prefix_that_ends_ends_what_has_it_as_a_ulid(tmp_path: Path) -> None:
    """RFC 5533 §1.5."""
    host = formed(tmp_path)
    (first,) = (address for address in host.kernel.assigned if prefix_of(address) == P[1])
    (second,) = set(host.kernel.assigned) - {first}
    host.endpoint.add_local_address(first, interface="up1", now_ns=host.now)
    peer = parse_prefix("2001:db8:9::/64") + bytes(7) + b"\1"
    assert host.endpoint.establish(first, peer, host.now) is not None
    host.now += 600 * SECOND
    host.hear(2, "up2")
    host.pass_time(601)
    assert host.locators() == {second: {second}}
    assert host.endpoint.ulids() == {second}
    assert set(host.kernel.assigned) == {second}
    assert not host.endpoint.snapshot()["contexts"]
    host.endpoint.remove_local_address(first, host.now)
    assert not host.endpoint.manager.knows_local_address(first)


def test_only_identities_that_change_are_set_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers are told of each list that is set (RFC 5533 §10.1)."""
    host = formed(tmp_path)
    told: list[object] = []
    monkeypatch.setattr(host.endpoint, "set_identity", lambda identity, now: told.append(identity))
    host.now += 300 * SECOND
    host.hear(1)
    host.decide(AddressState.READY)
    assert told == []


def test_files_and_formed_addresses_sign_for_each_other(tmp_path: Path) -> None:
    keys = pytest.importorskip("mpcore.shim6.cga_keys")
    key = keys.make_key(1024)
    made = make_cga(P[3], keys.public_key_of(key), 0, Random(1))
    file = Owned((made.address,), made.parameters, lambda listed: keys.sign_locators(key, listed))
    host = formed(tmp_path, "shim6.form=cga", files=(file,))
    everything = {*host.kernel.assigned, made.address}
    assert len(everything) == 3
    assert host.locators() == dict.fromkeys(everything, everything)


def test_what_the_kernel_refuses_is_said_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = Host(tmp_path, "shim6.form=hba", "shim6.form_settle_s=0")
    host.kernel.refuses = True
    host.hear(1)
    with caplog.at_level(logging.WARNING):
        host.pass_time(0)
    assert "not today" in caplog.text
    assert [entry["state"] for entry in host.forming.describe()] == ["gone"]
    host.kernel.refuses = False
    host.hear(1)
    assert len(host.kernel.assigned) == 1
    host.kernel.refuses = True
    host.forming.close()


def test_more_prefixes_than_may_be_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    host = Host(tmp_path, *HBA, "shim6.form_max_prefixes=1")
    for number in (1, 2, 3, 1, 2):
        host.hear(number)
    assert [record.getMessage() for record in caplog.records] == [
        "2001:db8:2::/64 on up1 and further prefixes are left alone: shim6.form_max_prefixes is 1"
    ]


def test_a_search_is_told_of_and_its_result_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of Sec 2; the modifier fits nothing, which nobody here looks at."""
    host = Host(tmp_path, *HBA, "shim6.form_sec=2")
    with caplog.at_level(logging.INFO):
        host.hear(1)
        host.pass_time(2)
        (wanted,) = host.search.wanted
        host.now += 601 * SECOND
        host.search.news = [SearchNews(wanted.number, 5_000_000, None)]
        host.say()
    assert [entry["state"] for entry in host.forming.describe()] == ["searching"]
    assert [entry["hashes"] for entry in host.forming.describe()] == [5_000_000]
    assert "Sec 2 is searched: some 4295.0 million hashes" in caplog.text
    assert "5 million hashes so far" in caplog.text
    host.search.news = [SearchNews(wanted.number, 6_000_000, b"m" * 16)]
    host.say()
    assert len(host.kernel.assigned) == 1
    assert [path.name for path in tmp_path.glob("*.hba")] == ["000001.hba"]
    assert host.forming.filenos()[1] == 77
    host.forming.close()
    assert host.search.closed


@pytest.mark.parametrize(
    ("settings", "concerned"),
    [
        ((), {"up1", "up2"}),
        (('shim6.form_interfaces=["up2"]',), {"up2"}),
        (('mptcp.exclude_interfaces=["up2"]',), {"up1"}),
        (('shim6.form_interfaces=["up2"]', 'shim6.form_prefixes=["2001:db8:1::/64@up1"]'), {"up1", "up2"}),
    ],
)
def test_which_interfaces_count(tmp_path: Path, settings: tuple[str, ...], concerned: set[str]) -> None:
    host = Host(tmp_path, *HBA, *settings)
    assert {name for name in ("up1", "up2") if host.forming._concerns(name)} == concerned


def test_use_is_looked_up_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(shim6_forming, "connected_sockets", lambda: asked.append(1) or set())
    now = 0
    use = AddressUse(lambda: {P[1]}, lambda: now)
    assert use(P[1])
    assert not use(P[2])
    assert len(asked) == 1
    now = SECOND
    assert use(P[1])
    assert len(asked) == 2

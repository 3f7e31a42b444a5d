"""What netlink says of prefixes, addresses and links, from messages as the kernel makes them."""

import errno
import socket
import struct

import pytest

from mpcore.errors import HostError
from mpcore.host import prefix_watch
from mpcore.host.prefix_watch import AddressChanged, LinkChanged, PrefixHeard, PrefixWatch
from mpcore.host.rtnetlink import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_GETLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    Message,
    attribute,
)
from mpcore.shim6.forming import AddressState

INDEX = 2
ADDRESS = socket.inet_pton(socket.AF_INET6, "2001:db8:1::88")
PREFIX = ADDRESS[:8]
TENTATIVE, DADFAILED = 0x40, 0x08
RUNNING = 0x1 | 0x40


class FakeKernel:
    """What stands in for the socket: what it will say."""

    def __init__(self) -> None:
        self.links: list[Message] = []
        self.addresses: list[Message] = []
        self.waiting: list[Message] = []
        self.error: OSError | None = None

    def dump(self, kind: int, family: int) -> list[Message]:
        return self.links if kind == RTM_GETLINK else self.addresses

    def events(self) -> list[Message]:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        found, self.waiting = self.waiting, []
        return found


def link(name: str = "up1", flags: int = RUNNING, kind: int = RTM_NEWLINK, family: int = 0) -> Message:
    body = struct.pack("=BxHiII", family, 1, INDEX, flags, 0) + attribute(3, name.encode() + b"\0")
    return Message(kind, 0, body)


def address(flags: int = 0, kind: int = RTM_NEWADDR, *more: bytes, index: int = INDEX) -> Message:
    body = struct.pack("=BBBBI", socket.AF_INET6, 64, flags & 0xFF, 0, index)
    body += attribute(1, ADDRESS) + attribute(8, struct.pack("=I", flags)) + b"".join(more)
    return Message(kind, 0, body)


def prefix(flags: int = 0xC0, bits: int = 64, index: int = INDEX, *, cache: bytes | None = None) -> Message:
    body = struct.pack("=BxxxiBBBx", socket.AF_INET6, index, 3, bits, flags)
    body += attribute(1, PREFIX + bytes(8))
    body += attribute(2, struct.pack("=II", 600, 1200) if cache is None else cache)
    return Message(52, 0, body)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    fake = FakeKernel()
    fake.links = [link()]
    monkeypatch.setattr(prefix_watch, "RouteSocket", lambda groups: fake)
    return fake


@pytest.fixture
def watch(kernel: FakeKernel) -> PrefixWatch:
    watch = PrefixWatch(lambda name: name != "other")
    assert watch.load() == [LinkChanged("up1", True)]
    return watch


@pytest.mark.parametrize("flags", [0x40, 0xC0, 0x02, 0x03], ids=["A", "A+L", "old A", "old A+L"])
def test_a_prefix_for_autoconfiguration(kernel: FakeKernel, watch: PrefixWatch, flags: int) -> None:
    """The flags are those of the packet, or the kernel's own before Linux 6.8."""
    kernel.waiting = [prefix(flags)]
    assert watch.read() == [PrefixHeard(PREFIX, "up1", 600, 1200)]


@pytest.mark.parametrize(
    "message",
    [
        prefix(0x80),  # on link only
        prefix(0x01),
        prefix(bits=48),
        prefix(index=9),
        prefix(cache=b""),
        Message(52, 0, b"\x0a"),
        Message(20, 0, b""),
        Message(16, 0, b""),
        address(index=9),
        link("lo", RUNNING | 0x8),
        link("other"),
        link(family=7),
        link(),  # nothing new
    ],
)
def test_what_does_not_matter(kernel: FakeKernel, watch: PrefixWatch, message: Message) -> None:
    kernel.waiting = [message]
    assert watch.read() == []


@pytest.mark.parametrize(
    ("message", "state"),
    [
        (address(TENTATIVE | 0x200), AddressState.TENTATIVE),
        (address(0x80), AddressState.READY),
        (address(TENTATIVE | DADFAILED | 0x80), AddressState.TAKEN),  # for ever: the kernel keeps it
        (address(TENTATIVE | DADFAILED, RTM_DELADDR), AddressState.TAKEN),  # it does not
        (address(0, RTM_DELADDR), AddressState.GONE),
        (address(TENTATIVE, RTM_DELADDR), AddressState.GONE),
    ],
)
def test_states_of_addresses(
    kernel: FakeKernel, watch: PrefixWatch, message: Message, state: AddressState
) -> None:
    kernel.waiting = [message]
    assert watch.read() == [AddressChanged(ADDRESS, "up1", state)]


def test_links_that_change_and_go(kernel: FakeKernel, watch: PrefixWatch) -> None:
    kernel.waiting = [link(flags=0x1), link(flags=0x1), link()]
    assert watch.read() == [LinkChanged("up1", False), LinkChanged("up1", True)]
    kernel.waiting = [link(kind=RTM_DELLINK), address()]
    assert watch.read() == [LinkChanged("up1", False)]


def test_prefixes_that_the_kernel_heard_of_earlier(kernel: FakeKernel, watch: PrefixWatch) -> None:
    """By the addresses that it formed itself; of several in a prefix the longest lifetimes count."""

    def formed(by: int, preferred: int, valid: int) -> Message:
        return address(
            0,
            RTM_NEWADDR,
            attribute(11, bytes([by])),
            attribute(6, struct.pack("=4I", preferred, valid, 0, 0)),
        )

    kernel.addresses = [formed(2, 50, 700), formed(2, 60, 500), formed(3, 900, 900)]
    assert watch.load()[-1] == PrefixHeard(PREFIX, "up1", 60, 700, early=True)
    kernel.addresses = [formed(2, 0, 700)]
    assert watch.load()[-1] == PrefixHeard(PREFIX, "up1", 700, 700, early=True)
    kernel.addresses = [formed(3, 900, 900)]
    assert not [change for change in watch.load() if isinstance(change, PrefixHeard)]


def test_when_the_kernel_lost_changes_all_is_read_afresh(kernel: FakeKernel, watch: PrefixWatch) -> None:
    kernel.waiting = [address()]
    watch.read()
    kernel.error = OSError(errno.ENOBUFS, "lost")
    assert watch.read() == [AddressChanged(ADDRESS, "up1", AddressState.GONE)]
    kernel.waiting = [address()]
    watch.read()
    kernel.error, kernel.links = OSError(errno.ENOBUFS, "lost"), []
    assert watch.read() == [
        LinkChanged("up1", False),
        AddressChanged(ADDRESS, "up1", AddressState.GONE),
    ]
    kernel.error = OSError(errno.EBADF, "bad")
    with pytest.raises(HostError, match="cannot be read"):
        watch.read()

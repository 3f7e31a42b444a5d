"""Messages to and from the sets of nf_tables, with a socket that only remembers what was sent."""

import errno
import struct
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.errors import HostError
from mpcore.host import nftables
from mpcore.host.nftables import CHUNK, Change, Count, NftSets, nested, parse_counts
from mpcore.host.rtnetlink import HEADER, NLMSG_DONE, NLMSG_ERROR, attribute, parse_attributes, parse_messages

KEY, OTHER = bytes(range(32)), bytes(range(32, 64))


class FakeSocket:
    """Answers each batch and each request with what `answers` holds, under the number that was asked."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.answers: deque[bytes] = deque()
        self.closed = False

    def bind(self, address: object) -> None: ...

    def setsockopt(self, *arguments: object) -> None: ...

    def send(self, data: bytes) -> int:
        self.sent.append(data)
        return len(data)

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self.answers:
            raise BlockingIOError
        return self.answers.popleft()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeSocket:
    fake = FakeSocket()
    monkeypatch.setattr(nftables.socket, "socket", lambda *arguments: fake)
    return fake


def message(kind: int, seq: int, body: bytes) -> bytes:
    data = HEADER.pack(HEADER.size + len(body), kind, 0, seq, 0) + body
    return data + bytes(-len(data) % 4)


def status(seq: int, error: int = 0) -> bytes:
    return message(NLMSG_ERROR, seq, struct.pack("=i", -error) + bytes(16))


def dumped(*counts: tuple[bytes, int, int]) -> bytes:
    """The body of an answer to a dump: keys with packets and octets."""
    elements = b"".join(
        nested(
            1,
            nested(1, attribute(1, key))
            + nested(
                7,
                attribute(1, b"counter\0")
                + nested(2, attribute(2, packets.to_bytes(8)) + attribute(1, octets.to_bytes(8))),
            ),
        )
        for key, packets, octets in counts
    )
    return bytes(4) + attribute(1, b"table\0") + attribute(2, b"set\0") + nested(3, elements)


def keys_in(body: bytes) -> tuple[str, list[bytes]]:
    """The set that a message is about, and its keys."""
    found = parse_attributes(body[4:])
    rest, keys = found[3], []
    while rest:
        size = struct.unpack_from("=H", rest)[0]
        keys.append(parse_attributes(parse_attributes(rest[4:size])[1])[1])
        rest = rest[(size + 3) & ~3 :]
    return found[2].rstrip(b"\0").decode(), keys


def test_a_batch_deletes_before_it_adds(kernel: FakeSocket) -> None:
    kernel.answers.append(status(4))
    NftSets("table").change([Change("a", KEY, True), Change("a", OTHER, False)])
    (data,) = kernel.sent
    begin, delete, add, end = parse_messages(data)
    assert (begin.kind, end.kind) == (nftables.NFNL_BATCH_BEGIN, nftables.NFNL_BATCH_END)
    assert begin.body == end.body == b"\0\0" + nftables.SUBSYSTEM.to_bytes(2)
    assert (delete.kind, keys_in(delete.body)) == (nftables.DELETE_ELEMENT, ("a", [OTHER]))
    assert (add.kind, keys_in(add.body)) == (nftables.NEW_ELEMENT, ("a", [KEY]))
    assert parse_attributes(add.body[4:])[1] == b"table\0"
    assert add.body[0] == nftables.NFPROTO_IPV6


def test_a_long_change_is_cut_into_messages_of_one_batch(kernel: FakeSocket) -> None:
    keys = [number.to_bytes(32) for number in range(CHUNK + 1)]
    kernel.answers.append(status(4))
    NftSets("table").change([Change("set", key, True) for key in keys])
    (data,) = kernel.sent
    _, first, second, _ = parse_messages(data)
    assert keys_in(first.body)[1] + keys_in(second.body)[1] == keys
    assert len(keys_in(first.body)[1]) == CHUNK
    assert len(first.body) < 1 << 16


def test_nothing_to_change_is_nothing_to_say(kernel: FakeSocket) -> None:
    NftSets("table").change([])
    assert kernel.sent == []


def test_a_refused_batch_raises_the_kernels_errno_and_leaves_no_answer_behind(kernel: FakeSocket) -> None:
    sets = NftSets("table")
    kernel.answers += [status(2, errno.ENOENT) + status(3), status(3, errno.ENOENT)]
    with pytest.raises(OSError, match="No such file") as raised:
        sets.change([Change("set", KEY, True)])
    assert raised.value.errno == errno.ENOENT
    assert not kernel.answers
    kernel.answers.append(status(6))
    sets.change([Change("set", KEY, True)])


def test_counters_are_read_over_several_messages(kernel: FakeSocket) -> None:
    sets = NftSets("table")
    kernel.answers += [
        message(10, 99, dumped((OTHER, 9, 9))) + message(10, 1, dumped((KEY, 3, 400), (OTHER, 0, 0))),
        message(10, 1, dumped((KEY[::-1], 1, 1 << 40))) + message(NLMSG_DONE, 1, bytes(4)),
    ]
    assert list(sets.counts("set")) == [
        Count(KEY, 3, 400),
        Count(OTHER, 0, 0),
        Count(KEY[::-1], 1, 1 << 40),
    ]
    (asked,) = parse_messages(kernel.sent[0])
    assert asked.kind == nftables.GET_ELEMENT
    assert parse_attributes(asked.body[4:])[2] == b"set\0"


def test_a_set_that_is_not_there_raises(kernel: FakeSocket) -> None:
    kernel.answers.append(status(1, errno.ENOENT))
    with pytest.raises(FileNotFoundError):
        list(NftSets("table").counts("set"))


def told_rule(chain: bytes, expressions: bytes) -> bytes:
    return bytes(4) + attribute(1, b"table\0") + attribute(2, chain + b"\0") + nested(4, expressions)


def test_the_rules_of_one_chain_are_read(kernel: FakeSocket) -> None:
    kernel.answers += [
        message(6, 1, told_rule(b"first", b"aaaa")) + message(6, 1, told_rule(b"other", b"bbbb")),
        message(6, 1, told_rule(b"first", b"cccc")) + message(NLMSG_DONE, 1, bytes(4)),
    ]
    assert NftSets("table").rules("first") == [b"aaaa", b"cccc"]
    (asked,) = parse_messages(kernel.sent[0])
    assert asked.kind == nftables.GET_RULE
    assert parse_attributes(asked.body[4:]) == {1: b"table\0", 2: b"first\0"}


def test_chains_get_other_rules_in_one_batch(kernel: FakeSocket) -> None:
    kernel.answers.append(status(6))
    NftSets("table").replace_rules({"out": [b"aaaa", b"bbbb"], "in": []})
    _, *changes, _ = parse_messages(kernel.sent[0])
    told = [(each.kind, parse_attributes(each.body[4:])) for each in changes]
    place = {1: b"table\0", 2: b"out\0"}
    # without a handle, all rules of a chain are meant
    assert told == [
        (nftables.DELETE_RULE, place),
        (nftables.NEW_RULE, place | {4: b"aaaa"}),
        (nftables.NEW_RULE, place | {4: b"bbbb"}),
        (nftables.DELETE_RULE, {1: b"table\0", 2: b"in\0"}),
    ]


def test_elements_without_counter_are_left_out() -> None:
    plain = bytes(4) + nested(3, nested(1, nested(1, attribute(1, KEY))))
    assert list(parse_counts(plain[4:])) == []
    assert list(parse_counts(b"")) == []


@given(st.binary(max_size=200))
def test_what_the_kernel_never_says_does_no_harm(noise: bytes) -> None:
    list(parse_counts(noise))
    list(parse_counts(nested(3, noise)))
    for cut in range(0, len(dumped((KEY, 1, 2))), 3):
        list(parse_counts(dumped((KEY, 1, 2))[4:cut] + noise[:20]))


def test_without_rights_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> FakeSocket:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(nftables.socket, "socket", refuse)
    with pytest.raises(HostError, match="run as root"):
        NftSets("table")


def test_the_socket_is_closed_at_the_end(kernel: FakeSocket) -> None:
    with NftSets("table"):
        assert not kernel.closed
    assert kernel.closed

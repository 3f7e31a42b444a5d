"""Elements of nf_tables sets, changed and read by raw netlink: no process is started, and a change is atomic.

Tables, chains and rules are made once, by `nft`; sets change with every path and are read several times a
second. A key is the set's fields one after the other, each padded to four octets, as registers hold them.
"""

import socket
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mpcore.errors import HostError
from mpcore.host.rtnetlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    attribute,
    parse_attributes,
    parse_messages,
    raise_status,
)

NETLINK_NETFILTER = 12
NFNL_BATCH_BEGIN, NFNL_BATCH_END = 16, 17
SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
NEW_ELEMENT, GET_ELEMENT, DELETE_ELEMENT = (SUBSYSTEM << 8 | number for number in (12, 13, 14))
NFPROTO_IPV6 = 10
NEW_RULE, GET_RULE, DELETE_RULE = (SUBSYSTEM << 8 | number for number in (6, 7, 8))
NLM_F_CREATE, NLM_F_APPEND = 0x400, 0x800
NLA_F_NESTED = 0x8000
LIST_TABLE, LIST_SET, LIST_ELEMENTS = 1, 2, 3  # NFTA_SET_ELEM_LIST_*; the table's also of a rule
RULE_CHAIN, RULE_EXPRESSIONS = 2, 4
LIST_ELEMENT = 1
ELEMENT_KEY, ELEMENT_EXPRESSION = 1, 7
DATA_VALUE = 1
EXPRESSION_DATA = 2
COUNTER_BYTES, COUNTER_PACKETS = 1, 2
HEADER = struct.Struct("=IHHII")
FAMILY = struct.Struct("=BB")  # struct nfgenmsg less its resource, which is in network byte order
CHUNK = 500  # elements a message: its attributes' length has 16 bits
RECEIVE_BYTES = 1 << 18
SO_SNDBUFFORCE = 32  # missing in the module socket
BUFFER_BYTES = 4 << 20
TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class Change:
    """One key that comes into a set, or goes out of it."""

    name: str
    key: bytes
    present: bool


@dataclass(frozen=True, slots=True)
class Count:
    """What an element's counter says."""

    key: bytes
    packets: int
    octets: int


class NftSets:
    """The sets of one table in this process's network namespace. Raises HostError."""

    def __init__(self, table: str, family: int = NFPROTO_IPV6) -> None:
        self._family = family
        self._table = attribute(LIST_TABLE, table.encode() + b"\0")
        self._seq = 0
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
            )
            self._socket.bind((0, 0))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", TIMEOUT_S, 0))
            self._socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES)
        except OSError as error:
            raise HostError(f"no netfilter socket: {error}; run as root") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def change(self, changes: Collection[Change]) -> None:
        """Make all changes, or none. Raises OSError with the kernel's errno."""
        runs: dict[tuple[str, bool], list[bytes]] = {}
        for change in changes:
            runs.setdefault((change.name, change.present), []).append(change.key)
        # what goes makes room for what comes
        ordered = sorted(runs.items(), key=lambda run: run[0][1])
        parts = []
        for (name, present), keys in ordered:
            for at in range(0, len(keys), CHUNK):
                parts.append(self._elements(name, present, keys[at : at + CHUNK]))
        if parts:
            self._commit(parts)

    def append_rule(self, chain: str, expressions: bytes) -> None:
        """Append a rule to a chain of the table. Raises OSError with the kernel's errno.

        `expressions` are the attributes of a list; what `nft` has words for is better left to it.
        """
        body = self._table + attribute(RULE_CHAIN, chain.encode() + b"\0")
        self._commit([self._addition(body, expressions)])

    def rules(self, chain: str) -> list[bytes]:
        """Return the expressions of a chain's rules, as `append_rule` takes them. Raises OSError."""
        wanted = attribute(RULE_CHAIN, chain.encode() + b"\0")
        parts = [parse_attributes(body) for body in self._dump(GET_RULE, self._table + wanted)]
        # kernels before Linux 5.14 tell the rules of every chain
        return [part[RULE_EXPRESSIONS] for part in parts if part[RULE_CHAIN] == chain.encode() + b"\0"]

    def replace_rules(self, rules: Mapping[str, Sequence[bytes]]) -> None:
        """Give chains other rules, all or none. Raises OSError with the kernel's errno."""
        messages = []
        for chain, expressions in rules.items():
            body = self._table + attribute(RULE_CHAIN, chain.encode() + b"\0")
            messages.append(self._frame(DELETE_RULE, NLM_F_REQUEST, body))
            messages += [self._addition(body, each) for each in expressions]
        self._commit(messages)

    def _addition(self, place: bytes, expressions: bytes) -> bytes:
        flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_APPEND
        return self._frame(NEW_RULE, flags, place + nested(RULE_EXPRESSIONS, expressions))

    def _commit(self, messages: list[bytes]) -> None:
        """Have the kernel take all messages, or none. Raises OSError."""
        begin = self._frame(NFNL_BATCH_BEGIN, NLM_F_REQUEST, b"", family=0, resource=SUBSYSTEM)
        end = self._frame(NFNL_BATCH_END, NLM_F_REQUEST | NLM_F_ACK, b"", family=0, resource=SUBSYSTEM)
        self._socket.send(b"".join([begin, *messages, end]))
        self._await_end()

    def counts(self, name: str) -> Iterator[Count]:
        """Yield the counters of a set's elements. Raises OSError."""
        for body in self._dump(GET_ELEMENT, self._table + attribute(LIST_SET, name.encode() + b"\0")):
            yield from parse_counts(body)

    def _dump(self, kind: int, wanted: bytes) -> Iterator[bytes]:
        """Yield the attributes of each message that the kernel answers. Raises OSError."""
        self._socket.send(self._frame(kind, NLM_F_REQUEST | NLM_F_DUMP, wanted))
        while True:
            for message in parse_messages(self._socket.recv(RECEIVE_BYTES)):
                if message.seq != self._seq:
                    continue  # the rest of an answer that an error cut short
                if message.kind in (NLMSG_ERROR, NLMSG_DONE):
                    raise_status(message.body)
                    return
                yield message.body[4:]

    def _elements(self, name: str, present: bool, keys: list[bytes]) -> bytes:
        """Return the message that adds or deletes keys of one set."""
        elements = b"".join(
            nested(LIST_ELEMENT, nested(ELEMENT_KEY, attribute(DATA_VALUE, key))) for key in keys
        )
        body = self._table + attribute(LIST_SET, name.encode() + b"\0") + nested(LIST_ELEMENTS, elements)
        if present:
            return self._frame(NEW_ELEMENT, NLM_F_REQUEST | NLM_F_CREATE, body)
        return self._frame(DELETE_ELEMENT, NLM_F_REQUEST, body)

    def _frame(
        self, kind: int, flags: int, body: bytes, *, family: int | None = None, resource: int = 0
    ) -> bytes:
        self._seq += 1
        family = self._family if family is None else family
        body = FAMILY.pack(family, 0) + struct.pack("!H", resource) + body
        return HEADER.pack(HEADER.size + len(body), kind, flags, self._seq, 0) + body

    def _await_end(self) -> None:
        """Read the answers to a batch: one for each message that was refused, or one for its end."""
        while True:
            for message in parse_messages(self._socket.recv(RECEIVE_BYTES)):
                if message.kind == NLMSG_ERROR:
                    try:
                        raise_status(message.body)
                    except OSError:
                        self._drain()
                        raise
                    if message.seq == self._seq:
                        return

    def _drain(self) -> None:
        """Drop further answers to a batch that was refused; the kernel has sent them all by now."""
        while True:
            try:
                self._socket.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return


def nested(kind: int, value: bytes) -> bytes:
    """Return an attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, value)


def parse_counts(body: bytes) -> Iterator[Count]:
    """Yield the counters of one message of a dump; elements without one are left out."""
    elements = parse_attributes(body).get(LIST_ELEMENTS, b"")
    while len(elements) >= 4:
        size = struct.unpack_from("=H", elements)[0]
        if size < 4 or size > len(elements):
            return
        found = parse_attributes(elements[4:size])
        key = parse_attributes(found.get(ELEMENT_KEY, b"")).get(DATA_VALUE, b"")
        counter = parse_attributes(
            parse_attributes(found.get(ELEMENT_EXPRESSION, b"")).get(EXPRESSION_DATA, b"")
        )
        octets, packets = counter.get(COUNTER_BYTES, b""), counter.get(COUNTER_PACKETS, b"")
        if len(octets) == 8 and len(packets) == 8:
            yield Count(key, int.from_bytes(packets), int.from_bytes(octets))
        elements = elements[(size + 3) & ~3 :]

"""Errors that a daemon sends to its own kernel, by the layout of RFC 8200, RFC 9293, RFC 4443."""

import pytest

from mpcore.shim6.own_errors import TcpFlow, segment_too_big, too_big, unreachable
from tests.shim6.world import A1, B1

FLOW = TcpFlow(A1, 4000, B1, 80)
SEGMENT = bytes([15, 160, 0, 80, 0, 0, 3, 232])  # ports 4000 and 80, sequence number 1000
ERRORS = {
    "unreachable": (unreachable(FLOW, 1000), "01 00", 0, 6, SEGMENT),
    "segment": (segment_too_big(FLOW, 1000, 1492), "02 00", 1492, 6, SEGMENT),
    "any": (too_big(A1, B1, 1492), "02 00", 1492, 58, bytes([200, 0])),
}


def ones_sum(data: bytes) -> int:
    total = sum(int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_comes_from_the_peer_and_quotes_a_packet_of_this_host(name: str) -> None:
    """RFC 4443 §3.1, §3.2: type, code, checksum, then the MTU or nothing, then the packet."""
    packet, kind, parameter, protocol, upper = ERRORS[name]
    assert packet[6] == 58
    assert packet[8:40] == B1 + A1
    body = packet[40:]
    assert int.from_bytes(packet[4:6]) == len(body)
    assert body[:2] == bytes.fromhex(kind)
    assert int.from_bytes(body[4:8]) == parameter
    assert ones_sum(packet[8:40] + len(body).to_bytes(4) + (58).to_bytes(4) + body) == 0xFFFF
    quote = body[8:]
    assert quote[0] >> 4 == 6
    assert quote[6] == protocol
    assert quote[8:40] == A1 + B1
    assert int.from_bytes(quote[4:6]) == len(quote) - 40
    assert quote[40:].startswith(upper)


def test_the_quote_of_the_error_for_all_asks_no_program() -> None:
    """RFC 4443 §2.1: type 200 is informational and private, so that it is neither an error nor a ping."""
    message = too_big(A1, B1, 1492)[88:]
    assert message[0] == 200
    assert len(message) == 8  # the least that Linux reads of what is quoted

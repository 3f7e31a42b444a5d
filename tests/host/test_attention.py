"""When the rules rest, with rules that only remember and an endpoint that needs what it is told to."""

from pathlib import Path

import pytest

from mpcore.errors import HostError
from mpcore.host.attention import REST_AFTER_NS, Attention, kernel_speaks_mptcp

NOW_NS = 10**15  # later than the clock of any machine


class Rules:
    """Whether they rest, and how often that changed."""

    def __init__(self) -> None:
        self.resting = False
        self.changes = 0
        self.broken = False

    def rest(self) -> None:
        if self.broken:
            raise HostError("no nft today")
        self.resting = True
        self.changes += 1

    def wake(self) -> None:
        self.resting = False
        self.changes += 1


class Endpoint:
    needed = False

    def needs_all_packets(self) -> bool:
        return self.needed


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
def attention(endpoint: Endpoint, rules: Rules) -> Attention:
    return Attention(endpoint, rules)


def test_the_rules_rest_until_they_are_needed(attention: Attention, endpoint: Endpoint, rules: Rules) -> None:
    attention.handle_timeout(NOW_NS)
    assert rules.resting
    assert attention.poll_timeout() is None
    attention.keep_up()
    assert rules.resting
    endpoint.needed = True
    attention.keep_up()
    attention.keep_up()
    assert not rules.resting
    assert rules.changes == 2


def test_they_do_not_rest_while_they_are_needed(
    attention: Attention, endpoint: Endpoint, rules: Rules
) -> None:
    attention.handle_timeout(NOW_NS)
    endpoint.needed = True
    attention.keep_up()
    attention.handle_timeout(NOW_NS)
    assert not rules.resting
    assert attention.poll_timeout() == NOW_NS + REST_AFTER_NS
    endpoint.needed = False
    attention.keep_up()
    assert not rules.resting
    attention.handle_timeout(NOW_NS + REST_AFTER_NS)
    assert rules.resting


def test_rules_that_cannot_rest_go_on(attention: Attention, endpoint: Endpoint, rules: Rules) -> None:
    rules.broken = True
    attention.handle_timeout(NOW_NS)
    assert attention.poll_timeout() is None
    endpoint.needed = True
    attention.keep_up()
    assert rules.changes == 0


HEAD = "protocol  size sockets  memory press maxhdr\n"


@pytest.mark.parametrize(
    ("rows", "speaks"),
    [
        ("MPTCPv6   2064      0     279   no\nMPTCP     1936      0     279   no\nTCP 2624 7 31 no\n", False),
        ("MPTCPv6   2064      1     279   no\nMPTCP     1936      0     279   no\n", True),
        ("TCP 2624 7 31 no\n\n", False),
    ],
)
def test_programs_that_speak_mptcp_themselves_are_seen(tmp_path: Path, rows: str, speaks: bool) -> None:
    table = tmp_path / "protocols"
    table.write_text(HEAD + rows)
    assert kernel_speaks_mptcp(table) is speaks


def test_a_kernel_that_does_not_tell_has_none(tmp_path: Path) -> None:
    assert not kernel_speaks_mptcp(tmp_path / "none")

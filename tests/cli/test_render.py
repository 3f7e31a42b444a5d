"""Text for people: units, blocks, event lines."""

import pytest

from mpcore.cli import render
from tests.cli.conftest import DOCUMENT


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1_268_000, "1.21 MiB"),
        (10 << 30, "10.00 GiB"),
        (5 << 60, "5120.00 PiB"),
    ],
)
def test_sizes_have_units(count: int, text: str) -> None:
    assert render.format_bytes(count) == text


@pytest.mark.parametrize(
    ("microseconds", "text"), [(180, "180 us"), (12_500, "12.5 ms"), (1_200_000, "1.20 s")]
)
def test_durations_have_units(microseconds: int, text: str) -> None:
    assert render.format_microseconds(microseconds) == text


CONNECTION = """\
connection: 185d5434
  role: client
  state: established
  local: 10.9.1.1:44962
  remote: 10.9.1.2:5201
  transfer: 1.50 KiB received, 3.00 GiB sent

  subflow: 0
    local: 10.9.1.1:44962
    remote: 10.9.1.2:5201
    state: established
    round trip: 12.5 ms
    window: 14.14 KiB
    transfer: 1.00 KiB received, 2.00 GiB sent

  subflow: 1
    local: 10.9.2.1:61000
    remote: 10.9.2.2:5201
    state: established, backup
    window: 14.14 KiB
    transfer: 512 B received, 1.00 GiB sent"""


def plain(text: str) -> str:
    return text.replace("\x1b[1m", "").replace("\x1b[0m", "")


def test_a_connection_is_a_block_with_its_subflows() -> None:
    assert plain(render.format_connection(DOCUMENT["connections"][0])) == CONNECTION


def test_a_plain_connection_says_why() -> None:
    text = plain(render.format_connection(DOCUMENT["connections"][1]))
    assert "connection: 00abcdef\n" in text
    assert "\n  multipath: no: the peer did not offer MP_CAPABLE\n" in text


def test_a_context_is_a_block() -> None:
    assert plain(render.format_context(DOCUMENT["contexts"][0])).splitlines() == [
        "context: 2001:db8::1 2001:db8::2",
        "  state: ESTABLISHED",
        "  locators local: 2001:db8::1, 2001:db8:1::1",
        "  tag local: 00c0ffee",
    ]


def test_a_path_is_a_block() -> None:
    assert plain(render.format_path(DOCUMENT["paths"][0])).splitlines() == [
        "path: 3",
        "  local: 10.9.1.1",
        "  backup: yes",
        "  rtt: 1.20 s",
        "  bytes sent: 10 B",
    ]


def test_counters_that_moved_are_aligned_and_explained() -> None:
    assert render.format_counters(DOCUMENT["counters"] | {"MpcoreExtNewer": 1}).splitlines() == [
        "MPTcpExtMPCapableSYNTX      12  SYNs sent with MP_CAPABLE",
        "MpcoreExtRewritten      104857  verdict: passed with new bytes",
        "MpcoreExtNewer               1",
    ]


def test_counters_that_never_moved() -> None:
    assert render.format_counters({"MPTcpExtAddAddr": 0}) == "all counters are zero"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            {
                "event": "subflow-established",
                "token": 0x185D5434,
                "local": "10.9.2.1",
                "remote": "10.9.2.2",
                "local_id": 1,
                "remote_id": 2,
                "backup": False,
                "local_port": 57175,
                "remote_port": 5201,
            },
            "[SF_ESTABLISHED] token=185d5434 remid=2 locid=1 saddr4=10.9.2.1 daddr4=10.9.2.2 "
            "sport=57175 dport=5201 backup=0",
        ),
        (
            {"event": "address-announced", "token": 1, "address": "2001:db8::2", "address_id": 3, "port": 80},
            "[     ANNOUNCED] token=00000001 remid=3 daddr6=2001:db8::2 dport=80",
        ),
        (
            {"event": "address-removed", "token": 1, "address_id": 3},
            "[       REMOVED] token=00000001 remid=3",
        ),
        ({"event": "connection-closed", "token": 0x185D5434}, "[        CLOSED] token=185d5434"),
        (
            {"event": "connection-fell-back", "token": None, "reason": "data in the SYN"},
            '[     FELL_BACK] reason="data in the SYN"',
        ),
        (
            {
                "event": "payload-blocked",
                "ulid_local": "fd00::1",
                "fii": 0,
                "local": "fd01::1",
                "peer": "fd01::2",
            },
            "[   CTX_BLOCKED] saddr6=fd01::1 ulid_local=fd00::1 fii=0 peer=fd01::2",
        ),
        ({"event": "control-blocked", "fii": 0}, "[   CTL_BLOCKED] fii=0"),
        ({"event": "context-fell-back", "fii": 0, "refused": True}, "[ CTX_FELL_BACK] fii=0 refused=1"),
        ({"event": "quite-new", "colour": "red"}, "[     QUITE_NEW] colour=red"),
    ],
)
def test_an_event_is_a_line_as_ip_mptcp_monitor_prints_it(event: dict[str, object], line: str) -> None:
    assert render.format_event(event) == line


def test_a_table_has_aligned_columns() -> None:
    assert render.format_table([("ok", "NFQUEUE", ""), ("missing", "nft", "why")]).splitlines() == [
        "ok       NFQUEUE",
        "missing  nft      why",
    ]


def test_a_table_without_rows_is_empty() -> None:
    assert render.format_table([]) == ""

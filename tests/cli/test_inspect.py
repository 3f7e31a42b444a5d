"""`mpcore inspect` as people and programs see it."""

import json
import sys
from pathlib import Path

import pytest

from mpcore.analysis import plot
from mpcore.cli.inspect_text import EVENTS_MAX, format_inspection
from mpcore.cli.main import run
from mpcore.wire.values import MpPrio
from tests.analysis.conversation import Conversation
from tests.analysis.test_contexts import EXCHANGE, packet
from tests.helpers.captures import pcap, pcapng
from tests.vectors.record import FOLDER

Output = pytest.CaptureFixture[str]
KERNEL = str(FOLDER / "kernel.pcapng")


def test_text_tells_all_of_a_connection(capsys: Output) -> None:
    assert run(["inspect", KERNEL]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    for words in (
        "277 packets",
        "left to the network card, no fault",
        "connection: 1",
        "multipath: 2 of 2 subflows established",
        "with DSS checksums",
        "token, SYN/ACK, ACK",
        "reinjected",
        "allshortcuts",
        "add-addr id 1, address 10.77.2.2, hmac right",
        "data-fin offset 100000",
    ):
        assert words in out


def test_json_is_one_document(capsys: Output) -> None:
    assert run(["inspect", "-j", KERNEL]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["file"], document["format"], document["packets"]) == (KERNEL, "pcapng", 277)
    assert len(document["connections"]) == 1
    assert document["damage"] is None


def test_one_connection_only(tmp_path: Path, capsys: Output) -> None:
    first, second = Conversation(), Conversation()
    first.open()
    second.first.a = (b"\x0a\0\0\x01", 40001)
    second.open()
    path = tmp_path / "two.pcap"
    path.write_bytes(pcap([*first.frames, *second.frames], link_type=101))
    assert run(["inspect", str(path), "-j", "--connection", "2"]) == 0
    assert [one["number"] for one in json.loads(capsys.readouterr().out)["connections"]] == [2]
    assert run(["inspect", str(path), "--connection", "3"]) == 1
    assert capsys.readouterr() == ("", f"mpcore: {path} has no connection 3; it has 2\n")
    assert run(["inspect", str(path), "--connection", "0"]) == 2


def test_a_fallback_is_explained(capsys: Output) -> None:
    assert run(["inspect", str(FOLDER / "fallback.pcapng")]) == 0
    assert "multipath: no: the SYN/ACK has no MP_CAPABLE (packet 2, RFC 8684 §3.1)" in capsys.readouterr().out


def test_a_wrong_hmac_stands_out(tmp_path: Path, capsys: Output) -> None:
    talk = Conversation()
    talk.open()
    talk.join(spoil="ack")
    path = tmp_path / "wrong.pcap"
    path.write_bytes(pcap(talk.frames, link_type=101))
    assert run(["inspect", str(path)]) == 0
    assert "ACK WRONG" in capsys.readouterr().out


def test_a_context_is_shown(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "shim6.pcapng"
    path.write_bytes(pcapng(EXCHANGE))
    assert run(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "ULIDs: 2001:db8::1 and 2001:db8::2" in out
    assert "locators of 2001:db8::2: 2001:db8::2, 2001:db8:1::2" in out
    assert "packet 4, back: R2, 2001:db8::2 to 2001:db8::1" in out


def test_long_lists_are_cut_in_text_only(tmp_path: Path, capsys: Output) -> None:
    talk = Conversation()
    talk.open()
    for _ in range(EVENTS_MAX + 5):
        talk.first.send(0, MpPrio(True))
    path = tmp_path / "long.pcap"
    path.write_bytes(pcap(talk.frames, link_type=101))
    assert run(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.count(": prio") == EVENTS_MAX
    assert "… and 5 more: see -j" in out


def test_oddities_are_counted(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "odd.pcapng"
    path.write_bytes(pcapng([packet(bytes(16), bytes(16), bytes(30))]))
    assert run(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "odd: 1 shim6 malformed" in out
    assert "no MPTCP connection and no Shim6 context" in out


def test_a_damaged_file_gives_what_came_before_and_status_1(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "cut.pcapng"
    path.write_bytes(Path(KERNEL).read_bytes()[:100_000])
    for arguments in ([], ["-j"]):
        assert run(["inspect", str(path), *arguments]) == 1
        out, err = capsys.readouterr()
        assert "0ec16889" in out
        assert err.count("\n") == 1
        assert err.startswith(f"mpcore: {path} makes no sense after packet ")


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "is empty"), (b"hello, this is text", "is no capture"), (None, "cannot be read: No such file")],
)
def test_what_is_no_capture_is_one_sentence(
    tmp_path: Path, data: bytes | None, words: str, capsys: Output
) -> None:
    path = tmp_path / "what"
    if data is not None:
        path.write_bytes(data)
    assert run(["inspect", str(path)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"mpcore: {path} {words}")


def test_an_empty_capture_is_fine(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "none.pcap"
    path.write_bytes(pcap([]))
    assert run(["inspect", str(path)]) == 0
    assert "0 packets" in capsys.readouterr().out
    assert run(["inspect", "-j", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["duration_ns"] is None


def test_progress_is_shown_to_a_terminal(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("mpcore.analysis.inspection.PROGRESS_EVERY", 100)
    assert run(["inspect", KERNEL]) == 0
    assert "% read" in capsys.readouterr().err


def test_a_plot_without_matplotlib_is_one_sentence(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(plot, "import_module", absent)
    assert run(["inspect", KERNEL, "--plot", "x.png"]) == 1
    assert capsys.readouterr().err == (
        "mpcore: plots need matplotlib: install it with pip install 'mpcore[plot]'\n"
    )


def test_a_plot_is_of_the_connection_with_most_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[object] = []
    monkeypatch.setattr(plot, "plot_connection", lambda connection, path: drawn.append(connection.number))
    assert run(["inspect", KERNEL, "--plot", str(tmp_path / "x.png")]) == 0
    assert drawn == [1]


def test_the_text_takes_every_document() -> None:
    """An inspection of nothing at all has a text too."""
    tcp = {"segments": 0, "plain_connections": 0, "checksums": {}, "skipped": {}}
    odd = dict.fromkeys(
        (
            "malformed_mptcp_options",
            "unreadable_option_areas",
            "shim6_malformed",
            "shim6_of_unknown_contexts",
        ),
        0,
    )
    document = {
        "file": "x", "format": "pcap", "packets": 0, "bytes": 0, "duration_ns": None,
        "tcp": tcp | odd, "connections": [], "contexts": [],
    }  # fmt: skip
    assert format_inspection(document).endswith("no MPTCP connection and no Shim6 context")

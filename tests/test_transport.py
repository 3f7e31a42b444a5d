"""docs/transport.md against the code: every file and every test that it names exists."""

import re

from tests.helpers.sources import ROOT

PAGE = (ROOT / "docs/transport.md").read_text(encoding="utf-8")


def test_the_tests_it_names_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)
    assert len(named) > 50
    missing = [
        f"{place}::{name}"
        for place, name in named
        if f"\ndef {name}(" not in (ROOT / place).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_the_files_it_names_exist() -> None:
    files = set(re.findall(r"`(\w+\.pyx)`", PAGE))
    assert files
    assert [name for name in sorted(files) if not (ROOT / "pyx/mptcp" / name).exists()] == []


def test_every_file_of_the_sender_and_the_receiver_is_named() -> None:
    own = {"input", "received", "sender", "recovery", "frto", "congestion", "pacing", "timeouts", "ecn"}
    assert [name for name in sorted(own) if f"`{name}.pyx`" not in PAGE] == []


def test_a_row_has_as_many_cells_as_its_head() -> None:
    widths: list[int] = []
    for line in PAGE.splitlines():
        if not line.startswith("|"):
            widths.clear()
            continue
        widths.append(line.count(" | "))
        assert widths[0] == widths[-1] or set(line) <= set("| -"), line

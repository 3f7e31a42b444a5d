"""The search for a modifier in a process of its own: found, broken off, and begun anew."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mpcore.host.modifier_search import COMMAND, RETRY_NS, ModifierSearch, SearchNews
from mpcore.lab.wait import wait_until
from mpcore.shim6.cga import find_modifier
from mpcore.shim6.forming import SearchModifier

SEC_1 = SearchModifier(1, bytes(16), b"a key and its extensions", 1)
ENDLESS = SearchModifier(2, bytes(16), b"of Sec 2, and never to be found here", 2)


@contextmanager
def search(*command: str) -> Iterator[ModifierSearch]:
    searching = ModifierSearch(time.monotonic_ns, command or COMMAND)
    yield searching
    searching.close()


def script(tmp_path: Path, text: str) -> tuple[str, str]:
    """A program in place of the one that searches."""
    path = tmp_path / "search.py"
    path.write_text(text)
    return sys.executable, str(path)


def wait_news(searching: ModifierSearch, timeout_s: float = 30.0) -> list[SearchNews]:
    assert select.select([searching], [], [], timeout_s)[0], "no news"
    return list(searching.read())


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


def test_what_is_found_is_what_anybody_would_find() -> None:
    with search() as searching:
        searching.begin(SEC_1)
        news = wait_news(searching)
        assert news[-1].number == 1
        assert news[-1].modifier == find_modifier(SEC_1.start, SEC_1.tail, 1)
        assert news[-1].hashes > 0
        assert searching.poll_timeout() is None, "nothing is to be looked after any more"


def test_closing_breaks_it_off() -> None:
    searching = ModifierSearch(time.monotonic_ns)
    searching.begin(ENDLESS)
    assert searching._process is not None
    pid = searching._process.pid
    assert is_running(pid)
    searching.close()
    assert not Path(f"/proc/{pid}").exists(), "it is waited for"


def test_it_ends_with_the_daemon_however_that_ends() -> None:
    """A killed daemon leaves nobody at the other end of the pipe."""
    with search() as searching:
        searching.begin(ENDLESS)
        process = searching._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(30) == 0


def test_it_has_the_least_priority() -> None:
    with search() as searching:
        searching.begin(ENDLESS)
        assert searching._process is not None
        pid = searching._process.pid
        wait_until(lambda: os.getpriority(os.PRIO_PROCESS, pid) == 19, "the priority", 30)


def test_progress_and_results_of_a_search_that_was_given_up_do_not_matter(tmp_path: Path) -> None:
    told = "import sys, socket, struct; out = socket.socket(fileno=int(sys.argv[1]))\n"
    told += "number = struct.unpack('=QBH16s', sys.stdin.buffer.read(27))[0]\n"
    told += "for each in (7, number):\n"
    told += "    out.send(struct.pack('=QQ?16s', each, 5, False, bytes(16)))\n"
    told += "    out.send(struct.pack('=QQ?16s', each, 9, True, b'm' * 16))\n"
    with search(*script(tmp_path, told)) as searching:
        searching.begin(SEC_1)
        news: list[SearchNews] = []
        wait_until(lambda: news.extend(searching.read()) or len(news) == 2, "two words", 30)
        assert news == [SearchNews(1, 5, None), SearchNews(1, 9, b"m" * 16)]


def test_one_that_dies_begins_anew_after_a_while(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = 0
    searching = ModifierSearch(lambda: now, script(tmp_path, "raise SystemExit(3)"))
    searching.begin(SEC_1)
    first = searching._process
    assert first is not None
    first.wait()
    due = searching.poll_timeout()
    assert due is not None
    searching.handle_timeout(due)
    assert "ended with status 3" in caplog.text
    assert searching.poll_timeout() == due + RETRY_NS
    now = due + RETRY_NS
    searching.handle_timeout(now)
    assert searching._process not in (None, first)
    searching.close()


def test_a_program_that_cannot_run_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    searching = ModifierSearch(lambda: 0, ("/nonexistent/program",))
    searching.begin(SEC_1)
    assert "cannot begin" in caplog.text
    assert searching.poll_timeout() == RETRY_NS
    searching.close()


def test_the_process_of_a_request_that_was_cut_ends() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, str(writer)], input=b"short", pass_fds=[writer], timeout=30)
    os.close(writer)
    assert done.returncode == 1

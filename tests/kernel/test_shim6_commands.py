"""`mpcore shim6` against running daemons, whose context carries a conversation on a real kernel."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpcore.cli.main import run
from mpcore.lab.wait import wait_until
from tests.kernel.shim6_pair import Shim6Pair, connect, contexts, shim6_pair, swap
from tests.kernel.support import Daemon

pytestmark = pytest.mark.kernel
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Shim6Pair]:
    with shim6_pair(tmp_path) as made:
        yield made


def test_the_commands_look_at_a_context_and_steer_it(pair: Shim6Pair, capsys: Capture) -> None:
    def shim6(daemon: Daemon, *words: str) -> str:
        assert run(["shim6", *words, "--control", str(daemon.control)]) == 0
        return capsys.readouterr().out

    def shown() -> dict[str, Any]:
        entry: dict[str, Any] = json.loads(shim6(pair.a, "show", name, "-j"))
        return entry

    name = f"{pair.ulid_a}-{pair.ulid_b}"
    client, server = connect(pair)
    with client, server:
        swap(client, server, bytes(5000))
        wait_until(pair.established, "a context at both ends")
        (listed,) = json.loads(shim6(pair.a, "list", "-j"))
        assert (listed["ulid_local"], listed["ulid_peer"]) == (pair.ulid_a, pair.ulid_b)
        assert shim6(pair.a, "list", "--count") == "1\n"
        assert shown()["tag_local"] == listed["tag_local"]

        assert shim6(pair.a, "set", "send-timeout", "2") == "2 s\n"
        wait_until(lambda: pair.b.counters()["Shim6ExtUpdateRequestRX"] > 0, "the peer to be told")

        shim6(pair.a, "explore", name)
        wait_until(lambda: shown()["current_local"] == pair.second_a, "another locator")
        swap(client, server, bytes(5000))
        assert pair.a.counters()["Shim6ExtPayloadTX"] > 0
        assert json.loads(shim6(pair.a, "log", "-j"))["explorations"]

        shim6(pair.a, "prefer", pair.second_a, "--broken")
        wait_until(lambda: shown()["current_local"] == pair.ulid_a, "the context to leave what is broken")
        swap(client, server, bytes(5000))

        for daemon in (pair.a, pair.b):
            assert shim6(daemon, "rm", "--all") == "1 removed\n"
            assert contexts(daemon) == []
        swap(client, server, bytes(5000))
        assert client.getpeername()[0] == pair.ulid_b

"""What becomes of Shim6 on a real kernel when the daemon is killed: nothing is left, contexts go on."""

from pathlib import Path

import pytest

from mpcore.host.shim6_state import StateFile
from mpcore.lab.wait import wait_until
from tests.kernel.shim6_pair import connect, contexts, has_moved, leftovers, settings, shim6_lab, swap
from tests.kernel.support import fresh, kill, running, start_daemon

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("guardian", [False, True], ids=["daemon", "daemon-and-guardian"])
def test_contexts_outlive_a_kill_and_rules_do_not(tmp_path: Path, guardian: bool) -> None:
    """TCP on other locators than its ULIDs goes on with the next daemon, by the state file of the last."""
    with shim6_lab(tmp_path) as ends, running(ends.lab.b, tmp_path, *settings(tmp_path, "b")) as b:
        first = start_daemon(ends.lab.a, tmp_path, *settings(tmp_path, "a"))
        client, server = connect(ends)
        with client, server:
            swap(client, server, bytes(5000))
            wait_until(lambda: bool(contexts(first) and contexts(b)), "a context at both ends")
            ends.lab.links[0].cut()
            swap(client, server, bytes(5000))
            wait_until(lambda: has_moved(first) and has_moved(b), "both hosts to move")
            file = StateFile(tmp_path / "a.state", 0)
            wait_until(lambda: bool(file.load().contexts), "the context to be written")
            tags = [entry["tag_local"] for entry in contexts(first)]
            kill(first, guardian=guardian)
            if not guardian:
                wait_until(lambda: not leftovers(ends.lab.a), "the guardian to clear up")
            with running(ends.lab.a, fresh(tmp_path), *settings(tmp_path, "a")) as second:
                swap(client, server, bytes(5000))
                assert [entry["tag_local"] for entry in contexts(second)] == tags
                assert second.counters()["Shim6ExtRestored"] == 1
                assert second.counters()["Shim6ExtPayloadTX"] > 0


@pytest.mark.parametrize("forgets", ["a", "b"])
def test_a_host_that_forgot_its_context_gets_it_from_its_peer(tmp_path: Path, forgets: str) -> None:
    """RFC 5533 §7.5, Figure 6: R1bis, I2bis, R2, on the only path that is left."""
    with shim6_lab(tmp_path) as ends:
        own = {host.name: (*settings(tmp_path, host.name), 'shim6.state_file=""') for host in ends.lab.hosts}
        victim, other = (ends.lab.a, ends.lab.b) if forgets == "a" else (ends.lab.b, ends.lab.a)
        first = start_daemon(victim, tmp_path, *own[victim.name])
        with running(other, tmp_path, *own[other.name]) as peer:
            client, server = connect(ends)
            with client, server:
                swap(client, server, bytes(5000))
                wait_until(lambda: bool(contexts(first) and contexts(peer)), "a context at both ends")
                ends.lab.links[0].cut()
                swap(client, server, bytes(5000))
                wait_until(lambda: has_moved(first) and has_moved(peer), "both hosts to move")
                kill(first, guardian=True)
                with running(victim, fresh(tmp_path), *own[victim.name]) as second:
                    # Who remembers speaks first: the other knows no way but the one that is cut (§13).
                    swap(*((client, server) if forgets == "b" else (server, client)), bytes(5000))
                    assert peer.counters()["Shim6ExtRecovered"] == 1
                    assert second.counters()["Shim6ExtR1bisTX"] > 0
                    assert has_moved(second)


def test_a_daemon_without_shim6_takes_back_what_one_with_it_left(tmp_path: Path) -> None:
    with shim6_lab(tmp_path) as ends:
        kill(start_daemon(ends.lab.a, tmp_path, *settings(tmp_path, "a")), guardian=True)
        assert any("shim6" in line.lower() for line in leftovers(ends.lab.a))
        with running(ends.lab.a, fresh(tmp_path), "mptcp.enabled=false"):
            assert not leftovers(ends.lab.a)

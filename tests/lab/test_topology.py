import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mpcore.lab.commands import LabError, run_command
from mpcore.lab.host import namespace_pids, namespaces
from mpcore.lab.topology import Lab, clean_leftovers
from mpcore.lab.wait import wait_until
from tests.helpers.netns import needs_root

pytestmark = pytest.mark.kernel

OWNER = """
import sys
from mpcore.lab.topology import Lab
with Lab() as lab:
    lab.a.popen(["sleep", "1000"])
    print(lab.a.namespace, lab.b.namespace, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _root() -> None:
    needs_root()


def connects(lab: Lab, source: str, target: str) -> bool:
    """Tell whether `source` reaches a port of `target` on link 1: a refusal is an answer, silence is none."""
    hosts = {"a": lab.a, "b": lab.b}
    address = lab.links[0].address(hosts[target])
    probe = f"import socket; socket.create_connection(({address!r}, 9), timeout=0.3)"
    said = hosts[source].run([sys.executable, "-c", probe], check=False).stderr
    assert "refused" in said or "timed out" in said
    return "refused" in said


def own_namespaces() -> set[str]:
    """Return the namespaces of this process's laboratories; other programs may have theirs."""
    return {name for name in namespaces() if f"-{os.getpid()}-" in name}


def traces_outside() -> list[str]:
    """Return what a laboratory would make, as far as it is seen outside of it."""
    shown = (
        ["ip", "-o", "link"],
        ["ip", "-o", "addr"],
        ["ip", "rule"],
        ["iptables-save"],
        ["ip6tables-save"],
    )
    lines = [line for argv in shown for line in run_command(argv).stdout.splitlines()]
    return [line for line in lines if re.search(r"\blink\d+[@:]|10\.77\.|fd77:|LAB-CUT", line)]


def test_nothing_is_left_and_nothing_outside_is_touched() -> None:
    before = traces_outside()
    with Lab(source_routing=True) as lab:
        program = lab.a.popen(["sleep", "1000"])
        assert traces_outside() == before
        assert own_namespaces() == {lab.a.namespace, lab.b.namespace}
    assert program.returncode == -signal.SIGTERM
    assert own_namespaces() == set()
    assert traces_outside() == before


def test_it_comes_down_on_an_exception() -> None:

    def work() -> None:
        with Lab() as lab:
            lab.a.popen(["sleep", "1000"])
            raise RuntimeError("meant")

    with pytest.raises(RuntimeError, match="meant"):
        work()
    assert own_namespaces() == set()


def test_a_failure_while_building_leaves_nothing() -> None:
    with pytest.raises(LabError, match="tcp_congestion_control"), Lab(congestion="no-such-control"):
        pass
    assert own_namespaces() == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_comes_down_on_signals(number: signal.Signals) -> None:
    with start_owner() as owner:
        assert owner.stdout is not None
        a, b = owner.stdout.readline().split()
        owner.send_signal(number)
        assert owner.wait(10) != 0
    assert not {a, b} & set(namespaces())


def test_leftovers_of_a_dead_owner_are_cleaned_and_others_kept() -> None:
    with start_owner() as dead, Lab() as living:
        assert dead.stdout is not None
        a, b = dead.stdout.readline().split()
        sleeper = namespace_pids(a)
        dead.kill()
        dead.wait()
        gone = clean_leftovers()
        assert {a, b} <= set(gone)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in sleeper), "the orphan's end")
        assert {living.a.namespace, living.b.namespace} <= set(namespaces())


def start_owner() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize("end", ["a", "b"])
def test_a_cut_is_silent_and_can_be_taken_back(lab: Lab, end: str) -> None:
    link = lab.links[0]
    assert connects(lab, "a", "b")
    link.cut(lab.a if end == "a" else lab.b)
    assert not connects(lab, "a", "b")
    for host in lab.hosts:
        assert "state UP" in host.ip("link", "show", link.interface)
    link.restore(lab.a if end == "a" else lab.b)
    assert connects(lab, "a", "b")


def test_addresses_go_and_come_back(lab: Lab) -> None:
    link = lab.links[1]
    for version in (4, 6):
        link.remove_address(lab.a, version)
        assert link.address(lab.a, version) not in lab.a.ip("addr", "show", link.interface)
        link.add_address(lab.a, version)
        assert link.address(lab.a, version) in lab.a.ip("addr", "show", link.interface)


def test_a_link_that_was_down_keeps_its_addresses(lab: Lab) -> None:
    link = lab.links[0]
    link.down(lab.a)
    link.up(lab.a)
    shown = lab.a.ip("addr", "show", link.interface)
    assert link.address(lab.a, 4) in shown
    assert link.address(lab.a, 6) in shown


def test_a_link_down_takes_the_carrier_from_the_peer(lab: Lab) -> None:
    link = lab.links[0]
    link.down(lab.a)
    wait_until(lambda: "NO-CARRIER" in lab.b.ip("link", "show", link.interface), "the carrier to go")

"""The bench: targets, tables and documents from made-up samples; each kind of measurement on real hosts."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner

from mpcore.cli.lab import lab_command
from mpcore.lab.bench import echo, runner
from mpcore.lab.bench.bulk import Way, goodput
from mpcore.lab.bench.cases import CASES, build_case, titles
from mpcore.lab.bench.failure import Loss, stall
from mpcore.lab.bench.model import Case, CaseResult, Sample, Target, added, alone, ratio
from mpcore.lab.bench.queue_peers import rewriter
from mpcore.lab.bench.report import to_document, to_table
from mpcore.lab.bench.runner import BenchResult
from mpcore.lab.bench.shim6 import Path as Shim6Path
from mpcore.lab.bench.shim6 import Shim6Stage, shim6_goodput
from mpcore.lab.bench.shim6_failure import Loss as Shim6Loss
from mpcore.lab.bench.shim6_failure import shim6_search, shim6_stall
from mpcore.lab.bench.stage import KERNEL, TCP, Pair, Stack, Stage
from mpcore.lab.commands import LabError
from mpcore.wire.rewrite import Shim6Flow
from tests.helpers.netns import needs_root

OUT = Pair(Stack.MPCORE, Stack.KERNEL)
MEDIANS = {"ours": 95.0, "theirs": 100.0, "dead": 0.0}


@pytest.mark.parametrize(
    ("target", "figure", "met"),
    [
        (ratio("ours", "theirs", at_least=0.95), 0.95, True),
        (ratio("ours", "theirs", at_least=0.97), 0.95, False),
        (ratio("theirs", "ours", at_most=1.0), 100 / 95, False),
        (added("theirs", "ours", at_most=5.0), 5.0, True),
        (added("theirs", "ours", at_most=4.9), 5.0, False),
        (alone("ours", at_most=100.0), 95.0, True),
        (alone("ours", at_least=100.0), 95.0, False),
    ],
)
def test_targets_compare_medians(target: Target, figure: float, met: bool) -> None:
    assert target.figure(MEDIANS) == pytest.approx(figure)
    assert target.is_met(MEDIANS) is met


def test_a_figure_without_a_bound_is_only_shown() -> None:
    target = ratio("ours", "theirs")
    assert not target.is_bounded
    assert target.is_met(MEDIANS)
    assert target.bound == "none"


def test_nothing_is_met_beside_a_reference_that_failed() -> None:
    target = ratio("ours", "dead", at_least=0.1)
    assert math.isnan(target.figure(MEDIANS))
    assert not target.is_met(MEDIANS)
    assert not ratio("ours", "dead", at_most=0.1).is_met(MEDIANS)


def made_up_case(measures: dict[str, list[Sample | LabError]], worst: float = 0.0) -> Case:
    """Return a case whose variants yield these samples in turn, on no stage at all."""

    def variant(outcomes: list[Sample | LabError]) -> Callable[[Stage], Sample]:
        pending = iter(outcomes)

        def measure(stage: Stage) -> Sample:
            outcome = next(pending)
            if isinstance(outcome, LabError):
                raise outcome
            return outcome

        return measure

    return Case(
        "made-up",
        "a made-up case",
        "Mbit/s",
        cast(Callable[[], Stage], _NoStage),
        {name: variant(outcomes) for name, outcomes in measures.items()},
        [ratio("ours", "theirs", at_least=0.9)],
        ("cost",),
        worst,
    )


class _NoStage:
    lab = type("NoLab", (), {"links": ()})

    def __enter__(self) -> "_NoStage":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@contextmanager
def only(case: Case, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(runner, "CASES", (case.name,))
    monkeypatch.setattr(runner, "build_case", lambda *_: case)
    monkeypatch.setattr(runner, "background", lambda: 0.25)
    yield


def play(case: Case, monkeypatch: pytest.MonkeyPatch, runs: int) -> tuple[BenchResult, list[str]]:
    said: list[str] = []
    with only(case, monkeypatch):
        return runner.run_bench((), runs=runs, seconds=1.0, say=said.append, settings=["a=b"]), said


def samples(*values: float) -> list[Sample | LabError]:
    return [Sample(value, details={"cost": value / 10}) for value in values]


def test_variants_run_in_turn_and_the_document_has_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    case = made_up_case({"ours": samples(90, 95, 30), "theirs": samples(100, 99, 101)})
    result, said = play(case, monkeypatch, runs=3)
    assert [line.split(": ")[1] for line in said[1:]] == ["ours", "theirs"] * 3
    document = json.loads(json.dumps(to_document(result), allow_nan=False))
    assert document["settings"] == ["a=b"]
    (shown,) = document["cases"]
    assert shown["variants"]["ours"]["median"] == 90
    assert [run["value"] for run in shown["variants"]["ours"]["runs"]] == [90, 95, 30]
    assert shown["variants"]["ours"]["runs"][1]["cost"] == 9.5
    assert shown["targets"] == [
        {
            "variant": "ours",
            "reference": "theirs",
            "compare": "ratio",
            "figure": 0.9,
            "at_least": 0.9,
            "at_most": None,
            "met": True,
        }
    ]
    assert shown["background_load"] == 0.25
    assert document["intact"] is True
    assert {"kernel", "cpu", "cores"} <= set(document["machine"])


def test_a_run_that_fails_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    case = made_up_case({"ours": [LabError("it hangs")], "theirs": samples(100)}, worst=math.inf)
    result, said = play(case, monkeypatch, runs=1)
    assert "FAILED: it hangs" in said[1]
    assert not result.intact
    document = json.loads(json.dumps(to_document(result), allow_nan=False))
    assert document["cases"][0]["variants"]["ours"]["runs"] == [
        {"value": None, "intact": False, "error": "it hangs"}
    ]
    assert "1 of 2 runs failed" in to_table(result)


def test_the_table_shows_figures_targets_and_other_work() -> None:
    case = made_up_case({"ours": [], "theirs": []})
    result = CaseResult(case, {"ours": [Sample(80, details={"cost": 1.5})], "theirs": [Sample(100)]}, 0.5)
    machine = {"cpu": "Some CPU", "cores": 2, "kernel": "6.18"}
    table = to_table(BenchResult(machine, 1, ("mptcp.congestion=lia",), {}, [result]))
    assert "Some CPU, 2 cores, Linux 6.18; one run; mptcp.congestion=lia" in table
    assert "other work took 50% of the machine" in table
    (row,) = (line for line in table.splitlines() if line.strip().startswith("ours"))
    assert row.split() == ["ours", "80.00", "1.50", "theirs", "0.8", ">=", "0.9", "x", "NO"]


def test_every_case_has_targets_on_variants_that_it_has() -> None:
    assert list(titles()) == list(CASES)
    for name in CASES:
        case = build_case(name, Path(), 1.0)
        assert case.name == name
        assert case.targets
        for target in case.targets:
            assert {target.variant, target.reference or target.variant} <= set(case.variants)
            assert target.at_least is None or target.at_most is None
        assert any(target.is_bounded for target in case.targets)


def test_the_command_lists_cases_and_refuses_others() -> None:
    assert "2x1g" in CliRunner().invoke(lab_command, ["bench", "--list"]).output
    refused = CliRunner().invoke(lab_command, ["bench", "--case", "nonsense"])
    assert refused.exit_code == 2
    assert "latency" in refused.output


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    needs_root()
    with Stage((200.0, 200.0), tmp_path) as standing:
        yield standing


@pytest.mark.kernel
@pytest.mark.parametrize("pair", [TCP, KERNEL, OUT], ids=str)
@pytest.mark.parametrize("way", Way)
def test_goodput_is_that_of_the_links_that_can_be_used(stage: Stage, pair: Pair, way: Way) -> None:
    sample = goodput(pair, way, 1.0)(stage)
    assert sample.intact
    assert sample.details["joins"] == (0 if pair is TCP else 1)
    assert 50 < sample.value < (200 if pair is TCP else 400)
    assert ("daemon_a_cpu_s_per_gb" in sample.details) == (pair is OUT)


@pytest.mark.kernel
@pytest.mark.parametrize("loss", Loss)
def test_a_lost_link_is_noticed_and_mended(stage: Stage, loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpcore.lab.bench.failure.BEFORE_S", 1.5)
    monkeypatch.setattr("mpcore.lab.bench.failure.AFTER_S", 1.0)
    sample = stall(OUT, Way.UP, loss, 1)(stage)
    assert sample.intact
    assert 0 <= sample.value < 10_000
    assert goodput(KERNEL, Way.UP, 0.3)(stage).details["joins"] == 1


@pytest.mark.kernel
@pytest.mark.parametrize("pair", [KERNEL, OUT], ids=str)
def test_small_messages_come_back(stage: Stage, pair: Pair) -> None:
    timed = echo.round_trip(pair, 300)(stage)
    assert timed.intact
    assert 0 < timed.value <= timed.details["p99_us"]
    churned = echo.short_connections(pair, 0.5)(stage)
    assert churned.intact
    assert churned.value > 0


@pytest.mark.kernel
def test_idle_connections_are_weighed_with_both_subflows(stage: Stage) -> None:
    sample = echo.idle_memory(OUT, 50)(stage)
    assert sample.intact
    assert sample.details == {"connections": 50, "joins": 50}
    assert sample.value > 0


class FakePacket:
    """What netfilterqueue hands to a callback."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.accepted = False

    def get_payload(self) -> bytes:
        return self.data

    def set_payload(self, data: bytes) -> None:
        self.data = data

    def accept(self) -> None:
        self.accepted = True


def test_the_callback_in_python_makes_and_takes_the_same_header() -> None:
    """RFC 5533 §5.2: the one host's callback sends what the engine would, the other's undoes it."""
    a, b, second_a, second_b = (bytes([0xFD, *15 * [number]]) for number in range(1, 5))
    sent = FakePacket(bytes.fromhex("6000000000051140") + a + b + b"12345")
    original = sent.data
    rewriter(second_a + second_b, b + a)(sent)
    assert sent.accepted
    assert sent.data == Shim6Flow(second_a, second_b, 1).insert(original)
    rewriter(second_b + second_a, a + b)(sent)
    assert sent.data == original


@pytest.mark.kernel
@pytest.mark.parametrize("path", [Shim6Path.CALLBACK, Shim6Path.ACCEPT])
def test_what_shim6_is_compared_with_has_every_packet_in_its_queue(tmp_path: Path, path: Shim6Path) -> None:
    needs_root()
    with Shim6Stage((100, 100), tmp_path) as stage:
        sample = shim6_goodput(path, Way.UP, 0.3)(stage)
        for host in stage.lab.hosts:
            assert "NFQUEUE" not in host.run(["ip6tables-save", "-t", "mangle"]).stdout
            assert "mtu 1500" in host.ip("link", "show", "link1")
    assert sample.intact
    assert sample.details["bytes"] > 0
    assert sample.details["queued"] > 2 * sample.details["bytes"] / 1500


@pytest.mark.kernel
def test_a_context_queues_packets_only_once_it_has_left_its_ulids(tmp_path: Path) -> None:
    needs_root()
    with Shim6Stage((100, 100), tmp_path) as stage:
        still, moved = (
            shim6_goodput(path, Way.UP, 0.3)(stage) for path in (Shim6Path.ULIDS, Shim6Path.MOVED)
        )
    assert still.intact
    assert moved.intact
    assert moved.details["queued"] > moved.details["bytes"] / 1500
    assert still.details["queued"] < moved.details["queued"] / 10


def test_the_send_timeout_is_that_of_the_case_in_which_it_decides() -> None:
    assert "Send Timeout 3 s" in build_case("shim6-cut", Path(), 1.0, 3.0).title
    assert build_case("shim6-gone", Path(), 1.0, 3.0).name == "shim6-gone"


@pytest.mark.kernel
def test_a_lost_link_of_a_context_is_timed_and_mended(tmp_path: Path) -> None:
    needs_root()
    with Shim6Stage((100, 100), tmp_path) as stage:
        known = [shim6_stall(loss, Way.UP)(stage) for loss in (Shim6Loss.DOWN, Shim6Loss.ADDRESS)]
        silent = shim6_search(Shim6Loss.TOWARDS_B, Way.UP, 1.0)(stage)
        ulid = stage.hosts[0].ulid
        assert ulid in stage.lab.a.ip("-6", "addr", "show", "dev", "link1")
    for sample in (*known, silent):
        assert sample.intact, sample.details
        assert sample.value > 0
    assert silent.details["detection_ms"] >= 900
    assert silent.details["stall_ms"] > silent.value

"""Play cases: the variants in turn, run after run, so that what changes on the machine meets all alike."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpcore.lab.bench.cases import CASES, build_case
from mpcore.lab.bench.machine import describe_link, describe_machine
from mpcore.lab.bench.model import Case, CaseResult, Measure, Sample, Say
from mpcore.lab.bench.shim6 import SEND_TIMEOUT_S
from mpcore.lab.bench.stage import Stage, background
from mpcore.lab.commands import LabError


@dataclass(frozen=True, slots=True)
class BenchResult:
    """All cases that were played, on what machine and over what links."""

    machine: dict[str, Any]
    runs: int
    settings: tuple[str, ...]
    links: dict[str, list[dict[str, Any]]]  # by the case's name
    cases: Sequence[CaseResult]

    @property
    def intact(self) -> bool:
        """Whether every byte of everything arrived as it was sent."""
        return all(case.intact for case in self.cases)


def run_bench(
    names: Iterable[str],
    *,
    runs: int,
    seconds: float,
    say: Say,
    settings: Sequence[str] = (),
    send_timeout_s: float = SEND_TIMEOUT_S,
) -> BenchResult:
    """Play the cases `names`, all when there are none, `runs` times; a bulk transfer takes `seconds`.

    `settings`, each KEY=VALUE, are those of the daemons that speak MPTCP; `send_timeout_s` is Shim6's, where
    a link falls silent. `say` hears of progress. Raises LabError.
    """
    links: dict[str, list[dict[str, Any]]] = {}
    results = []
    with tempfile.TemporaryDirectory(prefix="mpcore-bench-") as folder:
        for name in tuple(names) or tuple(CASES):
            case = build_case(name, Path(folder), seconds, send_timeout_s)
            say(f"{case.name}: {case.title}")
            busy = background()
            with case.stage() as stage:
                stage.settings = tuple(settings)
                links[name] = [describe_link(link, stage.lab.a) for link in stage.lab.links]
                results.append(CaseResult(case, _play(case, stage, runs, say), busy))
    return BenchResult(describe_machine(), runs, tuple(settings), links, results)


def _play(case: Case, stage: Stage, runs: int, say: Say) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {name: [] for name in case.variants}
    for run in range(1, runs + 1):
        for name, measure in case.variants.items():
            sample = _measure(case, measure, stage)
            samples[name].append(sample)
            broken = "" if sample.intact else f", FAILED: {sample.details.get('error', 'bytes changed')}"
            say(f"{case.name} run {run}/{runs}: {name}: {sample.value:.1f} {case.unit}{broken}")
    return samples


def _measure(case: Case, measure: Measure, stage: Stage) -> Sample:
    """Return a sample; one that failed has the worst value, and what went wrong among its details."""
    try:
        return measure(stage)
    except LabError as error:
        return Sample(case.worst, False, {"error": str(error)})

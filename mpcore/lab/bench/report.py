"""The bench's results as tables for people and as one document for programs."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from mpcore.lab.bench.model import CaseResult, Target, finite
from mpcore.lab.bench.runner import BenchResult


def to_document(result: BenchResult) -> dict[str, Any]:
    """Return the document that `mpcore lab bench -j` prints: every run, the medians, the targets."""
    return {
        "machine": result.machine,
        "runs": result.runs,
        "settings": list(result.settings),
        "intact": result.intact,
        "cases": [_case_document(case, result.links[case.case.name]) for case in result.cases],
    }


def _case_document(result: CaseResult, links: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": result.case.name,
        "title": result.case.title,
        "unit": result.case.unit,
        "links": links,
        "background_load": round(result.background, 3),
        "variants": {
            name: {
                "median": finite(result.medians[name]),
                "runs": [sample.to_dict() for sample in samples],
            }
            for name, samples in result.samples.items()
        },
        "targets": [_target_document(target, result) for target in result.case.targets],
    }


def _target_document(target: Target, result: CaseResult) -> dict[str, Any]:
    return {
        "variant": target.variant,
        "reference": target.reference,
        "compare": target.compare.name.lower(),
        "figure": finite(target.figure(result.medians)),
        "at_least": target.at_least,
        "at_most": target.at_most,
        "met": target.is_met(result.medians),
    }


def to_table(result: BenchResult) -> str:
    """Return one table a case: the medians, what they cost, the targets and whether they are met."""
    machine = result.machine
    head = f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}; {_runs(result.runs)}"
    head = "; ".join([head, *result.settings])
    tables = ["\n".join(_case_lines(case)) for case in result.cases]
    return "\n\n".join([head, *tables])


def _case_lines(result: CaseResult) -> Iterator[str]:
    case = result.case
    busy = f"; other work took {result.background:.0%} of the machine" if result.background > 0.05 else ""
    yield f"{case.name}: {case.title}{busy}"
    rows = [("", case.unit, *case.columns, "against", "figure", "target", "met")]
    rows += [_row(result, name) for name in case.variants]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        shown = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        yield f"  {name:<{widths[0]}}  {'  '.join(shown)}".rstrip()
    if not result.intact:
        yield f"  {result.failures} of {result.count} runs failed, or their bytes were changed"


def _row(result: CaseResult, name: str) -> tuple[str, ...]:
    shown = (_number(result.detail(name, column)) for column in result.case.columns)
    targets = [target for target in result.case.targets if target.variant == name]
    return (name, _number(result.medians[name]), *shown, *_verdicts(targets, result))


def _verdicts(targets: Sequence[Target], result: CaseResult) -> tuple[str, str, str, str]:
    """Return the four cells of a row's targets; there may be several, divided by commas."""
    return (
        ", ".join(target.reference or "-" for target in targets),
        ", ".join(f"{target.figure(result.medians):.3g}" for target in targets),
        ", ".join(target.bound for target in targets),
        ", ".join(_verdict(target, result) for target in targets),
    )


def _verdict(target: Target, result: CaseResult) -> str:
    if not target.is_bounded:
        return "-"
    return "yes" if target.is_met(result.medians) else "NO"


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _runs(count: int) -> str:
    return "one run" if count == 1 else f"medians of {count} runs"

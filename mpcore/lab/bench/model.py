"""What the bench is made of: cases of variants that yield samples, and targets that compare their medians."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpcore.lab.bench.stage import Stage

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one variant: its figure, whether every byte arrived as it was sent, what else was seen."""

    value: float
    intact: bool = True
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as the JSON document shows it."""
        return {"value": finite(self.value), "intact": self.intact, **self.details}


def finite(value: float) -> float | None:
    """Return `value`, rounded, as JSON can say it: None for what has no end or no meaning."""
    return round(value, 4) if math.isfinite(value) else None


class Compare(Enum):
    """How a variant's median and its reference's become the figure that a target bounds."""

    RATIO = "x"
    DIFFERENCE = "+"
    ALONE = "="


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on the median of `variant`, compared with that of the variant `reference` where one is named.

    At most one of `at_least` and `at_most` is given; without either the figure is only shown.
    """

    variant: str
    compare: Compare
    reference: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def figure(self, medians: Mapping[str, float]) -> float:
        """Return what the target bounds."""
        value = medians[self.variant]
        if self.reference is None:
            return value
        other = medians[self.reference]
        if self.compare is Compare.DIFFERENCE:
            return value - other
        return value / other if other else math.nan

    def is_met(self, medians: Mapping[str, float]) -> bool:
        """Tell whether the figure keeps within the bound; what cannot be compared does not."""
        figure = self.figure(medians)
        low = self.at_least is None or figure >= self.at_least
        high = self.at_most is None or figure <= self.at_most
        return low and high

    @property
    def is_bounded(self) -> bool:
        """Whether the figure has a bound to keep."""
        return self.at_least is not None or self.at_most is not None

    @property
    def bound(self) -> str:
        """The bound for people: `>= 0.97 x`, or that there is none."""
        if not self.is_bounded:
            return "none"
        sign, bound = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        mark = {Compare.RATIO: " x", Compare.DIFFERENCE: " more", Compare.ALONE: ""}[self.compare]
        return f"{sign} {bound:g}{mark}"


def alone(variant: str, *, at_least: float | None = None, at_most: float | None = None) -> Target:
    """Return a target on `variant` itself."""
    return Target(variant, Compare.ALONE, None, at_least, at_most)


def added(variant: str, reference: str, *, at_most: float) -> Target:
    """Return a target on what `variant` has more than `reference`."""
    return Target(variant, Compare.DIFFERENCE, reference, None, at_most)


def ratio(
    variant: str, reference: str, *, at_least: float | None = None, at_most: float | None = None
) -> Target:
    """Return a target on `variant` divided by `reference`."""
    return Target(variant, Compare.RATIO, reference, at_least, at_most)


Measure = Callable[["Stage"], Sample]


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison: `variants` run in turn on the same links, `runs` times each.

    `unit` is that of each sample's value. `columns` names the details that the table shows beside it.
    `worst` is the value of a run that failed: nothing, or, where less is better, without end.
    """

    name: str
    title: str
    unit: str
    stage: Callable[[], "Stage"]
    variants: Mapping[str, Measure]
    targets: Sequence[Target]
    columns: Sequence[str] = ()
    worst: float = 0.0


@dataclass(frozen=True, slots=True)
class CaseResult:
    """All samples of a case."""

    case: Case
    samples: Mapping[str, Sequence[Sample]]
    background: float  # share of the machine that other work took just before, 0 to 1

    @property
    def medians(self) -> dict[str, float]:
        """The median of each variant's values, the worst for one that failed more often than not."""
        return {
            name: statistics.median(sample.value for sample in samples)
            for name, samples in self.samples.items()
        }

    @property
    def count(self) -> int:
        """How many runs there were, of all variants."""
        return sum(map(len, self.samples.values()))

    @property
    def failures(self) -> int:
        """How many of them failed, or brought other bytes than were sent."""
        return sum(not sample.intact for samples in self.samples.values() for sample in samples)

    @property
    def intact(self) -> bool:
        """Whether every byte of every run arrived as it was sent."""
        return not self.failures

    @property
    def met(self) -> bool:
        """Whether all targets are met."""
        return all(target.is_met(self.medians) for target in self.case.targets)

    def detail(self, variant: str, name: str) -> float | None:
        """Return the median of the detail `name` over the variant's runs; None where no run has it."""
        values = [sample.details[name] for sample in self.samples[variant] if name in sample.details]
        return statistics.median(values) if values else None

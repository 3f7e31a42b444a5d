"""What a link of the laboratory is like."""

from dataclasses import dataclass

from mpcore.lab.commands import LabError

QUEUE_MIN_MS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """A link's properties, alike in both directions.

    Args:
        rate_mbit: Mbit/s of IP packets, None for unlimited
        delay_ms: milliseconds one way: a round trip takes twice as long
        jitter_ms: the delay varies by up to so much, equally distributed; packets keep their order
        loss: share of packets lost by chance, 0 to 1
        reorder: share of packets that skip the delay, and so overtake those before them
        duplicate: share of packets that arrive twice
        mark: share of the packets whose senders take marks (ECN) that arrive marked
        queue_ms: how long a packet may wait for the line before it is refused; None for one round trip, and
            at least ten milliseconds
        seed: of the chances; the same packets in the same order meet the same fate

    Raises:
        LabError: a value that no link can have
    """

    rate_mbit: float | None = None
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    mark: float = 0.0
    queue_ms: float | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        if self.rate_mbit is not None and self.rate_mbit <= 0:
            raise LabError("a link's rate_mbit must be above 0, or None for unlimited")
        for name in ("loss", "reorder", "duplicate", "mark"):
            if not 0 <= getattr(self, name) <= 1:
                raise LabError(f"a link's {name} is a share between 0 and 1")
        if not 0 <= self.jitter_ms <= self.delay_ms:
            raise LabError("a link's jitter_ms must be between 0 and its delay_ms")
        if self.reorder and not self.delay_ms:
            raise LabError("a link's reorder needs a delay_ms that packets can skip")

    @property
    def is_emulated(self) -> bool:
        """Whether it takes more than a rate: packets are to be late, lost, doubled or out of order."""
        return any((self.delay_ms, self.loss, self.duplicate, self.mark)) or self.queue_ms is not None

    def describe(self) -> str:
        """Return what it does to packets, in words: what it does not is left out."""
        words = ["no rate limit" if self.rate_mbit is None else f"{self.rate_mbit:g} Mbit/s"]
        if self.delay_ms:
            words.append(f"delay {self.delay_ms:g} ms")
        if self.jitter_ms:
            words.append(f"jitter {self.jitter_ms:g} ms")
        for name in ("loss", "reorder", "duplicate", "mark"):
            if share := getattr(self, name):
                words.append(f"{name} {share * 100:g} %")
        return ", ".join(words)

    @property
    def queue_limit_ms(self) -> float:
        """How long a packet may wait for the line, as a number."""
        return self.queue_ms if self.queue_ms is not None else max(2 * self.delay_ms, QUEUE_MIN_MS)

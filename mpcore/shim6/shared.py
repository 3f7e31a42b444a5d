"""What all parts of the control core share: settings, chance, contexts, timers, and what they hand out."""

from collections import Counter, deque
from collections.abc import Callable
from enum import IntEnum, auto

from mpcore.errors import WireError
from mpcore.shim6.context import Context, ContextTable
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.effects import Effect, InstallContext, RemoveContext, SendMessage, UpdateContext
from mpcore.shim6.events import Event
from mpcore.shim6.forks import Forks
from mpcore.shim6.identity import Identities, Verifier
from mpcore.shim6.locators import LocalAddresses, Pair
from mpcore.shim6.rates import SECOND, RateLimit
from mpcore.shim6.settings import Shim6Settings
from mpcore.shim6.states import ContextState
from mpcore.shim6.tags import RandomSource, TagPool
from mpcore.store.deadlines import Deadlines
from mpcore.wire.shim6 import Message, emit_message

SENT_COUNTERS = {
    "I1": Shim6Counter.I1_TX,
    "R1": Shim6Counter.R1_TX,
    "I2": Shim6Counter.I2_TX,
    "R2": Shim6Counter.R2_TX,
    "R1bis": Shim6Counter.R1BIS_TX,
    "I2bis": Shim6Counter.I2BIS_TX,
    "UpdateRequest": Shim6Counter.UPDATE_REQUEST_TX,
    "UpdateAck": Shim6Counter.UPDATE_ACK_TX,
    "Keepalive": Shim6Counter.KEEPALIVE_TX,
    "Probe": Shim6Counter.PROBE_TX,
    "ErrorMessage": Shim6Counter.ERROR_TX,
}
# HBA locators judged for each signature: a hash costs so much less than RSA.
HASHES_PER_VERIFICATION = 10


class TimerKind(IntEnum):
    """Timers of a context; EXPLORATION and RETURN have a group's number; PROBES, UPDATES have 0."""

    HANDSHAKE = auto()
    HOLDDOWN = auto()
    TEARDOWN = auto()
    UPDATE = auto()
    SEND = auto()
    DOUBT = auto()
    KEEPALIVE = auto()
    KEEPALIVE_INTERVAL = auto()
    EXPLORATION = auto()
    RETURN = auto()
    PROBES = auto()
    UPDATES = auto()


Timer = tuple[TimerKind, int]


class Shared:
    """The common ground of negotiation, updates and reachability. It decides nothing."""

    def __init__(self, settings: Shim6Settings, rng: RandomSource, verifier: Verifier) -> None:
        self.settings = settings
        self.rng = rng
        self.verifier = verifier
        self.contexts = ContextTable()
        self.tags = TagPool(rng, self.contexts.by_tag_local, settings.tag_bits)
        self.identities = Identities(rng)
        self.addresses = LocalAddresses()
        self.forks = Forks(settings.forks)
        self.deadlines: Deadlines[Timer] = Deadlines()
        self.counters: Counter[Shim6Counter] = Counter()
        self.effects: deque[Effect] = deque()
        self.events: deque[Event] = deque()
        self.error_limit = RateLimit(settings.errors_per_second)
        self.verify_limit = RateLimit(settings.verifications_per_second)
        self.hash_limit = RateLimit(HASHES_PER_VERIFICATION * settings.verifications_per_second)
        self.in_use: Callable[[Context], bool] = lambda context: False
        # ULIDs of contexts that are owed an answer: do their transports repeat in vain?
        self.doubtful: set[Pair] = set()
        # Numbers of contexts whose record is another than it was; None while nobody keeps records.
        self.touched: dict[int, None] | None = None

    def count(self, counter: Shim6Counter) -> None:
        """Move a counter by one."""
        self.counters[counter] += 1

    def touch(self, context: Context) -> None:
        """Note that what outlives the process of a context may be another now."""
        if self.touched is not None:
            self.touched[context.number] = None

    def send(self, pair: Pair, message: Message) -> bool:
        """Send a message from `pair.local` to `pair.peer`; False when it does not fit into a packet."""
        try:
            data = emit_message(message)
        except WireError:
            self.count(Shim6Counter.TOO_LARGE_TX)
            return False
        self.count(SENT_COUNTERS[type(message).__name__])
        self.effects.append(SendMessage(pair.local, pair.peer, data))
        return True

    def publish(self, context: Context) -> None:
        """Tell the data plane of a context, if it has not been told the same."""
        receives = context.state in (ContextState.I2_SENT, ContextState.I2BIS_SENT, ContextState.ESTABLISHED)
        if not receives:
            self.withdraw(context)
            return
        path = context.path()
        if path != context.installed:
            self.touch(context)
            self.effects.append(InstallContext(path) if context.installed is None else UpdateContext(path))
            context.installed = path

    def withdraw(self, context: Context) -> None:
        """Take a context out of the data plane."""
        if context.installed is not None:
            self.touch(context)
            self.effects.append(RemoveContext(context.number, context.installed.tag_local))
            context.installed = None

    def may_answer(self, context: Context, now_ns: int) -> bool:
        """Take one of the answers that a context has each second."""
        while context.answers and context.answers[0] <= now_ns - SECOND:
            context.answers.popleft()
        if len(context.answers) >= self.settings.answers_per_second:
            self.count(Shim6Counter.LIMIT_ANSWER)
            return False
        context.answers.append(now_ns)
        return True

    def around(self, mean_ns: int) -> int:
        """Return a time between half of `mean_ns` and one and a half of it (RFC 5533 §14)."""
        return mean_ns // 2 + self.rng.randrange(0, mean_ns + 1)

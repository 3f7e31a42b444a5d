"""ICMPv6 errors: which the shim acts on, and which go up to the transports (RFC 5533 §8)."""

from dataclasses import dataclass

from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.effects import Path
from mpcore.shim6.negotiate import Negotiator
from mpcore.shim6.policy import Cause
from mpcore.shim6.quote import Quote, find_quoted, read_quote
from mpcore.shim6.reap import Reap
from mpcore.shim6.shared import Shared
from mpcore.shim6.states import ContextState
from mpcore.wire.shim6 import MessageType

_UNREACHABLE, _TIME_EXCEEDED, _PARAMETER_PROBLEM = 1, 3, 4
_UNRECOGNISED_NEXT_HEADER = 1
_NO_SHIM6 = _PARAMETER_PROBLEM, _UNRECOGNISED_NEXT_HEADER
# RFC 5533 §8; code 4 (port) and Packet Too Big (type 2) are the transports' business.
_UNREACHABLE_CODES = frozenset({0, 1, 2, 3, 5, 6})


@dataclass(frozen=True, slots=True)
class IcmpVerdict:
    """What becomes of an ICMPv6 error: `absorb` it, or hand it up.

    With `path` the quoted packet left with these locators: the quote gets back its ULIDs and loses its Shim6
    header, and the MTU of a Packet Too Big 8 octets, before it goes up (RFC 5533 §8).
    """

    absorb: bool
    path: Path | None = None


class IcmpJudge:
    """Decides on ICMPv6 errors about packets of this host."""

    def __init__(self, shared: Shared, negotiator: Negotiator, reap: Reap) -> None:
        self._shared = shared
        self._negotiator = negotiator
        self._reap = reap

    def handle(self, icmp_type: int, code: int, quoted: bytes, now_ns: int, pointer: int = 0) -> IcmpVerdict:
        """Act on an ICMPv6 error about the packet `quoted`, or say that it goes up (RFC 5533 §8).

        It is never more than a hint: the current pair is probed, and left only when another one answers and
        it does not (RFC 5534 §3.3, §8).
        """
        quote = read_quote(quoted)
        context = find_quoted(self._shared, quote, now_ns) if quote is not None else None
        if quote is None or context is None:
            self._shared.count(Shim6Counter.FOREIGN_ERROR)
            return IcmpVerdict(False)
        if quote.kind == MessageType.I1 and (icmp_type, code) == _NO_SHIM6:
            self._negotiator.handle_unsupported(context, now_ns)
            return IcmpVerdict(not self._shared.settings.deliver_all_icmp)
        path = context.path() if quote.tag is not None and quote.kind is None else None
        acted = _is_ours(icmp_type, code, pointer, quote) and self._take_hint(context, now_ns)
        if quote.tag is not None and (icmp_type, code) == _NO_SHIM6:
            self._reap.note_refusal(context)
        return IcmpVerdict(acted and not self._shared.settings.deliver_all_icmp, path)

    def _take_hint(self, context: Context, now_ns: int) -> bool:
        """Search because of a hint; returns whether that may help: RFC 5533 §8 wants no error lost else."""
        if context.state is not ContextState.ESTABLISHED:
            return False
        situation = self._reap.explorer.situation(context, Cause.HINT, now_ns)
        return self._reap.suspect(context, Cause.HINT, now_ns) and (
            len(situation.locals) * len(situation.peers) > 1
        )


def _is_ours(icmp_type: int, code: int, pointer: int, quote: Quote) -> bool:
    """Tell whether an ICMPv6 error is about the path and not about the transport (RFC 5533 §8)."""
    if icmp_type == _UNREACHABLE:
        return code in _UNREACHABLE_CODES
    if icmp_type == _PARAMETER_PROBLEM:
        if code == _UNRECOGNISED_NEXT_HEADER and quote.tag is not None:
            return True
        return quote.start <= pointer < quote.end
    return icmp_type == _TIME_EXCEEDED

"""Contexts of an earlier life of this host taken back in, each checked as if it came from a stranger."""

from mpcore.errors import LocalProtocolError
from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.lifecycle import Lifecycle
from mpcore.shim6.policy import Cause
from mpcore.shim6.reap import Reap
from mpcore.shim6.records import ContextRecord, context_of
from mpcore.shim6.shared import Shared
from mpcore.shim6.update import Updater


class Restorer:
    """Puts contexts of records into the table, in ESTABLISHED; what does not fit is left out."""

    def __init__(self, shared: Shared, reap: Reap, updater: Updater, lifecycle: Lifecycle) -> None:
        self._shared = shared
        self._reap = reap
        self._updater = updater
        self._lifecycle = lifecycle

    def restore(self, record: ContextRecord, now_ns: int) -> bool:
        """Take one context in; False when it cannot be, which its peer mends by recovery."""
        shared = self._shared
        context = self._make(record, now_ns)
        if context is None:
            shared.count(Shim6Counter.RESTORE_REFUSED)
            return False
        shared.contexts.add(context)
        shared.contexts.set_tag_peer(context, record.tag_peer)
        # An address that is a ULID or a locator is known here, assigned or not (RFC 5533 §1.5).
        for address in (context.key.ulid_local, *context.local.addresses):
            if address not in shared.addresses:
                shared.addresses.set_usable(address, False)
        self._keep_generation(record)
        self._reap.resume(context)
        self._lifecycle.note_established(context)
        shared.count(Shim6Counter.RESTORED)
        if not shared.addresses.usable(context.pair.local):
            self._reap.suspect(context, Cause.LOCAL_FAILURE, now_ns)
        elif record.searching:
            self._reap.suspect(context, Cause.SEND_TIMEOUT, now_ns)
        self._updater.begin(context, now_ns)
        return True

    def _make(self, record: ContextRecord, now_ns: int) -> Context | None:
        shared, settings = self._shared, self._shared.settings
        contexts, key = shared.contexts, record.key
        if (
            (key.ulid_local not in shared.addresses and key.ulid_local not in shared.identities)
            or key.ulid_peer in shared.addresses
            or key in contexts.by_key
            or record.tag_local in contexts.by_tag_local
            or len(contexts) >= settings.max_contexts
            or contexts.of_prefix(key.ulid_peer) >= settings.max_contexts_per_prefix
            or len(record.peer.locators) > settings.max_locators
        ):
            return None
        try:
            context = context_of(record, contexts.next_number(), now_ns)
        except LocalProtocolError:
            return None
        if contexts.has_nonce(record.initiator_nonce):
            context.handshake.initiator_nonce = self._lifecycle.new_nonce()
        return context

    def _keep_generation(self, record: ContextRecord) -> None:
        """Let this host's list be the one that its peers have, where it has not changed (RFC 5533 §10.1)."""
        claim = self._shared.identities.claim(record.ulid_local)
        listed = tuple((locator.address, int(locator.method)) for locator in claim.locators.locators)
        if claim.parameters is not None and listed == record.local.locators:
            self._shared.identities.renumber(record.ulid_local, record.local.generation)

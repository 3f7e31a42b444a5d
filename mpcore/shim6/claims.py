"""What messages say of their sender's locators, and how that is judged (RFC 5533 §7.2, §10.4)."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from mpcore.shim6.arrival import Arrival, complain
from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.locators import PLAIN, PeerLocators
from mpcore.shim6.shared import Shared
from mpcore.wire.shim6 import (
    CgaParameterData,
    CgaSignature,
    ErrorCode,
    KeepaliveTimeout,
    LocatorList,
    LocatorPreferences,
    OptionType,
    Shim6Option,
    VerificationMethod,
    find_option,
    option_offset,
)

_VERDICTS_KEPT = 4096
_OPTION_HEADER = 4
_METHODS_AT = _OPTION_HEADER + 5


@dataclass(frozen=True, slots=True)
class PeerClaim:
    """A claim that was found right; None for what the message does not say."""

    locators: LocatorList | None
    preferences: LocatorPreferences | None
    parameters: bytes | None
    keepalive_seconds: int | None


class Claims:
    """Judges claims; verdicts are kept, so that a repeated message costs no signature check."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._verdicts: OrderedDict[bytes, int | None] = OrderedDict()

    def judge(self, arrival: Arrival, ulid: bytes, known: PeerLocators | None) -> PeerClaim | None:
        """Return what a message claims of the peer `ulid`, or None when it must not be processed.

        `known` is what a context has of the peer. Everything is checked before anything is changed. Failures
        are counted, and answered by Error where the RFC says so.
        """
        message = arrival.message
        locators = find_option(message, LocatorList)
        preferences = find_option(message, LocatorPreferences)
        timeout = find_option(message, KeepaliveTimeout)
        given = find_option(message, CgaParameterData)
        parameters = given.data if given is not None else known.parameters if known is not None else None
        if given is not None and not self._shared.verifier.owns(ulid, given.data):
            self._shared.count(Shim6Counter.WRONG_PARAMETERS)
            return None
        if locators is not None and not self._locators_right(arrival, ulid, locators, parameters):
            return None
        if preferences is not None and not self._preferences_right(arrival, preferences, locators, known):
            return None
        seconds = timeout.seconds if timeout is not None else None
        return PeerClaim(locators, preferences, parameters, seconds)

    def _locators_right(
        self, arrival: Arrival, ulid: bytes, locators: LocatorList, parameters: bytes | None
    ) -> bool:
        if not 0 < len(locators.locators) <= self._shared.settings.max_locators:
            self._shared.count(Shim6Counter.TOO_MANY_LOCATORS)
            return False
        if parameters is None:
            # RFC 5533 §5.6: a list comes with the structure, unless that is known.
            self._shared.count(Shim6Counter.WRONG_PARAMETERS)
            return False
        signature = find_option(arrival.message, CgaSignature)
        key = _digest(ulid, locators, parameters, signature)
        if key not in self._verdicts:
            if not self._may_verify(locators, arrival.now_ns):
                self._shared.count(Shim6Counter.LIMIT_VERIFY)
                return False
            self._remember(
                key,
                self._shared.verifier.refused(
                    ulid, locators, parameters, signature.signature if signature is not None else None
                ),
            )
        refused = self._verdicts[key]
        if refused is None:
            return True
        self._shared.count(Shim6Counter.REFUSED_LOCATOR)
        at = option_offset(arrival.data, OptionType.LOCATOR_LIST)
        if at is not None:
            complain(self._shared, arrival, ErrorCode.VERIFICATION_FAILED, at + _METHODS_AT + refused)
        return False

    def _may_verify(self, locators: LocatorList, now_ns: int) -> bool:
        """Take from the host's allowance what a list costs: hashes for each locator, RSA once for all."""
        methods = [locator.method for locator in locators.locators]
        hashes = methods.count(VerificationMethod.HBA)
        if hashes and not self._shared.hash_limit.take(now_ns, hashes):
            return False
        return VerificationMethod.CGA not in methods or self._shared.verify_limit.take(now_ns)

    def _remember(self, key: bytes, verdict: int | None) -> None:
        self._verdicts[key] = verdict
        if len(self._verdicts) > _VERDICTS_KEPT:
            self._verdicts.popitem(last=False)

    def _preferences_right(
        self,
        arrival: Arrival,
        preferences: LocatorPreferences,
        locators: LocatorList | None,
        known: PeerLocators | None,
    ) -> bool:
        """Compare generation and number with the list of this message, or else with the one known."""
        if locators is not None:
            generation: int | None = locators.generation
            number = len({locator.address for locator in locators.locators})
        else:
            generation = known.generation if known is not None else None
            number = len(known.entries) if known is not None else 0
        at = option_offset(arrival.data, OptionType.LOCATOR_PREFERENCES) or 0
        if generation is None or preferences.generation != generation:
            self._shared.count(Shim6Counter.WRONG_GENERATION)
            complain(self._shared, arrival, ErrorCode.GENERATION, at + _OPTION_HEADER)
            return False
        if len(preferences.elements) != number:
            self._shared.count(Shim6Counter.WRONG_COUNT)
            complain(self._shared, arrival, ErrorCode.LOCATOR_COUNT, at + 2)
            return False
        return True


def _digest(ulid: bytes, locators: LocatorList, parameters: bytes, signature: CgaSignature | None) -> bytes:
    signed = signature.signature if signature is not None else b""
    listed = b"".join(bytes([one.method]) + one.address for one in locators.locators)
    parts = (ulid, locators.generation.to_bytes(4), listed, parameters, signed)
    return hashlib.sha256(b"".join(len(part).to_bytes(4) + part for part in parts)).digest()


def own_options(shared: Shared, context: Context, keepalive_seconds: int | None) -> list[Shim6Option]:
    """Return the options that tell a peer all there is to know of this host's locators.

    The list is always there where the ULID allows one: without it the peer could not find out which contexts
    are with the same host (RFC 5533 §7.6).
    """
    claim = shared.identities.claim(context.key.ulid_local)
    options: list[Shim6Option] = []
    if claim.parameters is not None:
        options += (claim.locators, CgaParameterData(claim.parameters))
        addresses = [locator.address for locator in claim.locators.locators]
        preferences = shared.addresses.preferences(addresses)
        if any(preference != PLAIN for preference in preferences):
            options.insert(1, LocatorPreferences(claim.locators.generation, preferences))
    if claim.signature is not None:
        options.append(CgaSignature(claim.signature))
    if keepalive_seconds is not None:
        options.append(KeepaliveTimeout(keepalive_seconds))
    return options


def note_said(shared: Shared, context: Context) -> None:
    """Remember that a message of an exchange says what `own_options` does.

    A peer that has the context does not heed it (RFC 5533 §7.13, §7.16). So where it is not what the peer was
    told before, the peer may have either, and is to hear it all once more.
    """
    claim, local = shared.identities.claim(context.key.ulid_local), context.local
    local.locators, local.generation = claim.locators.locators, claim.locators.generation
    if claim.parameters is None:
        return
    preferences, keepalive = shared.addresses.preferences(local.addresses), shared.settings.keepalive_seconds
    if local.told_generation is None:
        local.note_told(preferences, keepalive)
    elif (local.generation, preferences, keepalive) != local.last_told:
        local.doubt_told()
        shared.touch(context)


def learn(context: Context, claim: PeerClaim) -> bool:
    """Take a claim into a context; returns whether the peer's locators are others now."""
    before = context.peer.addresses
    if claim.parameters is not None:
        context.peer.parameters = claim.parameters
    if claim.locators is not None:
        context.peer.replace(claim.locators)
    if claim.preferences is not None:
        context.peer.prefer(claim.preferences)
    return context.peer.addresses != before

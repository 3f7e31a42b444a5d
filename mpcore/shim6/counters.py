"""Counters of the control core: each message received, each sent and each drop moves exactly one of a kind.

Received = sum of the *_RX; of those, what was not acted on also moves the one counter that says why.
"""

from enum import Enum


class Shim6Counter(Enum):
    """A counter; its value is (MIB name, meaning)."""

    __hash__ = object.__hash__  # members are singletons; Enum's own hashes the name, in Python

    I1_RX = "Shim6ExtI1RX", "I1 received"
    R1_RX = "Shim6ExtR1RX", "R1 received"
    I2_RX = "Shim6ExtI2RX", "I2 received"
    R2_RX = "Shim6ExtR2RX", "R2 received"
    R1BIS_RX = "Shim6ExtR1bisRX", "R1bis received"
    I2BIS_RX = "Shim6ExtI2bisRX", "I2bis received"
    UPDATE_REQUEST_RX = "Shim6ExtUpdateRequestRX", "Update Requests received"
    UPDATE_ACK_RX = "Shim6ExtUpdateAckRX", "Update Acknowledgements received"
    KEEPALIVE_RX = "Shim6ExtKeepaliveRX", "Keepalives received"
    PROBE_RX = "Shim6ExtProbeRX", "Probes received"
    ERROR_RX = "Shim6ExtErrorRX", "Errors received"
    UNKNOWN_RX = "Shim6ExtUnknownRX", "messages of an unknown type received"
    MALFORMED_RX = "Shim6ExtMalformedRX", "dropped: no legal control message, or a wrong checksum"

    I1_TX = "Shim6ExtI1TX", "I1 sent"
    R1_TX = "Shim6ExtR1TX", "R1 sent"
    I2_TX = "Shim6ExtI2TX", "I2 sent"
    R2_TX = "Shim6ExtR2TX", "R2 sent"
    R1BIS_TX = "Shim6ExtR1bisTX", "R1bis sent"
    I2BIS_TX = "Shim6ExtI2bisTX", "I2bis sent"
    UPDATE_REQUEST_TX = "Shim6ExtUpdateRequestTX", "Update Requests sent"
    UPDATE_ACK_TX = "Shim6ExtUpdateAckTX", "Update Acknowledgements sent"
    KEEPALIVE_TX = "Shim6ExtKeepaliveTX", "Keepalives sent"
    PROBE_TX = "Shim6ExtProbeTX", "Probes sent"
    ERROR_TX = "Shim6ExtErrorTX", "Errors sent"
    TOO_LARGE_TX = "Shim6ExtTooLargeTX", "not sent: the options do not fit into one message"

    BAD_ADDRESS = "Shim6ExtBadAddress", "dropped: multicast or unspecified address in the packet"
    CRITICAL_OPTION = "Shim6ExtCriticalOption", "dropped: an unknown option that is critical"
    NOT_OUR_ULID = "Shim6ExtNotOurUlid", "dropped: the ULID is not one of this host's"
    UNEXPECTED = "Shim6ExtUnexpected", "dropped: the context's state has no use for the message"
    NO_CONTEXT = "Shim6ExtNoContext", "dropped: answers no exchange of this host"
    STRANGE_LOCATOR = "Shim6ExtStrangeLocator", "dropped: the addresses are not the context's"
    NO_VALIDATOR = "Shim6ExtNoValidator", "dropped: the option Responder Validator is missing"
    STALE_NONCE = "Shim6ExtStaleNonce", "dropped: the responder nonce is too old"
    WRONG_VALIDATOR = "Shim6ExtWrongValidator", "dropped: the validator is not of this host's making"
    WRONG_PARAMETERS = "Shim6ExtWrongParameters", "dropped: the CGA parameters are not the ULID's"
    REFUSED_LOCATOR = "Shim6ExtRefusedLocator", "dropped: a locator failed its verification"
    TOO_MANY_LOCATORS = "Shim6ExtTooManyLocators", "dropped: more locators than the limit"
    OLD_GENERATION = "Shim6ExtOldGeneration", "dropped: a locator list that was replaced before"
    REPLAYED_UPDATE = "Shim6ExtReplayedUpdate", "dropped: an Update Request that a later one has superseded"
    WRONG_GENERATION = "Shim6ExtWrongGeneration", "dropped: preferences for another locator list"
    WRONG_COUNT = "Shim6ExtWrongCount", "dropped: preferences for another number of locators"
    WRONG_NONCE = "Shim6ExtWrongNonce", "dropped: acknowledges no outstanding update"
    PROBE_ADDRESSES = "Shim6ExtProbeAddresses", "probes whose addresses were changed on the way"
    FORGED_REPORT = "Shim6ExtForgedReport", "ignored: reports of probes that this context did not send"
    FOREIGN_ERROR = "Shim6ExtForeignError", "dropped: Errors and ICMP errors about nothing of ours"
    UNKNOWN_TAG = "Shim6ExtUnknownTag", "packets with a tag that no context has"
    PAYLOAD_REFUSED = "Shim6ExtPayloadRefused", "payload that its context cannot take now"

    LIMIT_R1 = "Shim6ExtLimitR1", "R1 not sent: rate limit"
    LIMIT_R1BIS = "Shim6ExtLimitR1bis", "R1bis not sent: rate limit"
    LIMIT_ERROR = "Shim6ExtLimitError", "Errors not sent: rate limit"
    LIMIT_ANSWER = "Shim6ExtLimitAnswer", "answers not sent: rate limit of the context"
    LIMIT_VERIFY = "Shim6ExtLimitVerify", "dropped: rate limit of verifications"
    LIMIT_CONTEXTS = "Shim6ExtLimitContexts", "contexts not made: as many as allowed"
    LIMIT_HINT = "Shim6ExtLimitHint", "hints ignored: too soon after the last"
    LIMIT_FLOWS = "Shim6ExtLimitFlows", "flows not watched: as many as allowed"

    ESTABLISHED = "Shim6ExtEstablished", "contexts established"
    RECOVERED = "Shim6ExtRecovered", "contexts that the peer had lost and has again"
    FAILED = "Shim6ExtFailed", "exchanges that came to nothing"
    CONFUSED = "Shim6ExtConfused", "contexts whose tag the peer gave to another"
    RESTORED = "Shim6ExtRestored", "contexts taken over from an earlier life of this host"
    RESTORE_REFUSED = "Shim6ExtRestoreRefused", "contexts of an earlier life that do not fit any more"
    DISCARDED = "Shim6ExtDiscarded", "contexts discarded after quiet, or on demand"
    SEND_TIMEOUT = "Shim6ExtSendTimeout", "no answer to payload within the Send Timeout"
    REPEATS_IN_VAIN = "Shim6ExtRepeatsInVain", "no answer to payload before that, and TCP repeats in vain"
    EXPLORATION = "Shim6ExtExploration", "explorations begun"
    EXPLORATION_SHARED = "Shim6ExtExplorationShared", "contexts that joined the exploration of another"
    EXPLORED = "Shim6ExtExplored", "explorations that found a pair"
    PATH_CHANGED = "Shim6ExtPathChanged", "contexts that took other locators"
    TCP_KICKED = "Shim6ExtTcpKicked", "TCP sockets told to go on at once with other locators (RFC 6069)"
    PAYLOAD_BLOCKED = "Shim6ExtPayloadBlocked", "pairs left because probes pass there and payload does not"
    CONTROL_BLOCKED = "Shim6ExtControlBlocked", "searches in which payload came and no probe was answered"
    FELL_BACK = "Shim6ExtFellBack", "contexts taken back to their ULIDs because nothing answered any more"
    RETURN = "Shim6ExtReturn", "searches begun to go back to a pair that is liked more"
    PROBE_DELAYED = "Shim6ExtProbeDelayed", "probes that waited for the host's probe rate"

    ADDRESS_FORMED = "Shim6ExtAddressFormed", "addresses formed that no other host has"
    ADDRESS_TAKEN = "Shim6ExtAddressTaken", "addresses formed that another host has (RFC 3972 §4)"
    FORMING_FAILED = "Shim6ExtFormingFailed", "prefixes for which no address is formed any more"

    @property
    def mib(self) -> str:
        """The name in `mpcore show counters`."""
        return self.value[0]

    @property
    def meaning(self) -> str:
        """What one step of it tells."""
        return self.value[1]

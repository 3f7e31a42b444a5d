"""Timers and limits of the control core. Times are nanoseconds; `Shim6Settings()` is what the RFCs say."""

from dataclasses import dataclass

from mpcore.config import ForkRule

SECOND = 1_000_000_000

DEFAULT_SEND_TIMEOUT_NS = 15 * SECOND
"""What a peer assumes that got no Keepalive Timeout option (RFC 5534 §7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shim6Settings:
    """Settings of one host. Rates are messages of the whole host in any one second, unless said otherwise."""

    # Establishment and update (RFC 5533 §14).
    i1_timeout_ns: int = 4 * SECOND
    i1_retries_max: int = 4
    i2_timeout_ns: int = 4 * SECOND
    i2_retries_max: int = 2
    i2bis_timeout_ns: int = 4 * SECOND
    i2bis_retries_max: int = 2
    no_r1_holddown_ns: int = 60 * SECOND
    icmp_holddown_ns: int = 600 * SECOND
    validator_lifetime_ns: int = 30 * SECOND
    update_timeout_ns: int = 4 * SECOND
    update_timeout_max_ns: int = 120 * SECOND
    # An exchange that goes round from I1 to I2 and back for longer than this has failed.
    half_open_max_ns: int = 300 * SECOND
    # Quiet time after which a context is discarded, unless a socket may need it (RFC 5533 §9).
    quiescence_ns: int = 300 * SECOND

    # Reachability (RFC 5534 §7, §4.3).
    send_timeout_ns: int = DEFAULT_SEND_TIMEOUT_NS
    keepalive_timeout_min_ns: int = SECOND
    initial_probe_timeout_ns: int = SECOND // 2
    initial_probes: int = 4
    max_probe_timeout_ns: int = 60 * SECOND
    # Pairs probed at once when an exploration begins. More than 1 departs from RFC 5534 §4.3, which wants one
    # after the other; probes_per_second keeps the signalling storm away that the rule is there for.
    probe_burst: int = 1
    probes_per_second: int = 200
    # How long received probes are still reported after the exploration, to answer a repeated InboundOk.
    report_lifetime_ns: int = 10 * SECOND
    # A pair that failed is tried again after this, when it is liked more than the one in use; doubled up to
    # an hour for one that keeps failing. 0: never.
    return_after_ns: int = 60 * SECOND
    # An address that works again is news of its own: pairs with it are tried after this.
    settle_ns: int = SECOND
    # When an answer is owed for so long, the transports are asked whether they repeat in vain; then each time
    # after twice as long. 0: never.
    ask_transports_ns: int = 3 * SECOND // 2
    # Least time between two explorations that unproven hints of the network may start for one peer.
    hint_interval_ns: int = SECOND
    # How long a pair counts as one on which a packet was sent, so that an R1bis may come back on it.
    recent_pair_ns: int = 30 * SECOND

    # Ways that forked contexts like, and which packets are theirs (RFC 5533 §4.2).
    forks: tuple[ForkRule, ...] = ()

    # Limits against floods.
    max_contexts: int = 65536
    max_contexts_per_prefix: int = 4096
    max_locators: int = 16
    max_flows: int = 65536
    r1_per_second: int = 2000
    r1bis_per_second: int = 200
    errors_per_second: int = 10
    verifications_per_second: int = 500
    updates_per_second: int = 200
    # Of one context: answers by R2, repeated I2 and I2bis, probes that answer probes.
    answers_per_second: int = 20

    # Bits of a context tag that are drawn (RFC 5533 §7.1); fewer only in tests of tag reuse (Appendix C.4).
    tag_bits: int = 47
    # Hand every ICMPv6 error to the transports, also one that the shim acts on (RFC 5533 §8).
    deliver_all_icmp: bool = False
    # Let peers begin contexts, by I1 or as if to recover one; off: contexts come by this host's wish only.
    respond: bool = True

    @property
    def keepalive_seconds(self) -> int:
        """Keepalive Timeout that peers are asked for: the Send Timeout in whole seconds (RFC 5534 §5.3)."""
        return max(1, min(0xFFFF, self.send_timeout_ns // SECOND))

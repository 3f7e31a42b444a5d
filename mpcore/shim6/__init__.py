"""Shim6 (RFC 5533), REAP (RFC 5534), HBA (RFC 5535) and CGA (RFC 3972) without any I/O.

`manager.Shim6Manager` is the control core as one object. Behind it: `dispatch` finds the context of a
packet, `negotiate` and `exchange` make and recover contexts, `update` keeps both sides' locators known,
`reap` and `exploration` find a pair that works, `returning` goes back to a better one later, `lifecycle`
limits and ends them, `icmp` judges errors. The state machines are tables, in `states` and `reap_states`. What
is decided on is replaceable: `policy` (which pair), `heuristic` (which conversation), `identity.Verifier`
(whose locator). What follows leaves as `effects` and `events`.

Where the RFCs contradict themselves or are silent, this is done:

- The verification methods are those of RFC 5533 §5.15.2, not of §17; P = 1 is payload, whatever §12 prints.
- ICMPv6 4/1 about an I1 leads to NO-SUPPORT (§6.2, §7.8), not to E-FAILED (Appendix B).
- Generations are random and only compared for being equal (§10.1); one that was replaced does not come back.
- An Update Acknowledgement in I2-SENT or I2BIS-SENT repeats I2 or I2bis, not R2 (§10.5).
- Validators do not cover the Initiator Nonce, which §7.11 lets change.
- R1bis may come on any pair that was used lately: on the current one alone §7.5 could not work. R2 has to
  come on the pair of its exchange, which is remembered.
- A list is always sent (§7.6), though §5.6 calls it optional. An Error never gets an R1bis or another Error.
- The first pair of a context that was made over other locators is that pair, when they are verified.
- RFC 5534 §6.9 does not choose a pair; its examples do, and so does this. Among several reports the current
  pair stays, else the lowest delay decides. Reports count with pair and nonce of a probe of this exploration.
- The received list is cleared on the way from Operational to InboundOk too; the probe that caused it stays.
- A pair that is liked more is asked for by probes in InboundOk: the peer is heard, and need not search too.
- Two searches in a row that end where they began, while payload brought no answer, mean that something drops
  payload behind the header (§15.2): the ULIDs are taken back. One that the peer began counts when payload
  left here all the time.
- The gap from the fourth to the fifth probe is 1 s. Back-off belongs to the exploration.
- Contexts with the same locators on both sides share one exploration. Several probes at once, against §4.3,
  are an option that is off.
"""

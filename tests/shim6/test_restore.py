"""Contexts that outlive the process: what is kept, what goes on, and what is refused."""

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.events import ExplorationStarted
from mpcore.shim6.records import ContextRecord, record_of
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.shim6.states import ContextState
from mpcore.wire.shim6 import R1, R2, Preference, ResponderValidator, UpdateAck, UpdateRequest
from tests.shim6.world import A1, A2, B1, B2, C1, Lone, Pairing, address, count, peer_options, remembered

TAG = 0xB0B
ENCODER, DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(ContextRecord)


def restarted(pairing: Pairing) -> list[str]:
    """Restart a with its records; returns the kinds of messages of the next second."""
    pairing.messages.clear()
    pairing.a.restart(remembered(pairing.a))
    pairing.cloud.run(1)
    return pairing.kinds


@pytest.fixture
def pairing() -> Pairing:
    """Two hosts in conversation."""
    pairing = Pairing()
    pairing.establish()
    pairing.converse()
    pairing.cloud.run(5)
    return pairing


def test_a_restarted_host_goes_on_without_a_word(pairing: Pairing) -> None:
    before = remembered(pairing.a)
    assert restarted(pairing) == []
    assert remembered(pairing.a) == before
    assert pairing.recovers(1)
    assert count(pairing.a.manager, Shim6Counter.RESTORED) == 1
    assert count(pairing.a.manager, Shim6Counter.ESTABLISHED) == 0


def test_payload_goes_on_with_other_locators_than_the_ulids(pairing: Pairing) -> None:
    """The tags are the same, so the peer's packets need no recovery (RFC 5533 §12.2)."""
    pairing.a.manager.explore(A1, B1, pairing.cloud.clock.now_ns)
    pairing.cloud.run(5)
    assert restarted(pairing) == []
    assert pairing.recovers(1)
    context = pairing.context(pairing.a)
    assert context is not None
    assert context.pair == (A2, B2)
    assert count(pairing.b.manager, Shim6Counter.UNKNOWN_TAG) == 0


def test_an_exploration_begins_anew(pairing: Pairing) -> None:
    pairing.cloud.kill(B1)
    pairing.cloud.kill(B2)
    pairing.cloud.run(25)
    pairing.a.restart(remembered(pairing.a))
    pairing.cloud.revive(B2)
    assert pairing.recovers(3)
    (started,) = pairing.a.happened(ExplorationStarted)[1:]
    assert isinstance(started, ExplorationStarted)
    assert started.cause == "send-timeout"


def test_an_address_that_is_gone_is_left_at_once(pairing: Pairing) -> None:
    records = remembered(pairing.a)
    pairing.cloud.kill(A1)
    pairing.a.addresses.remove(A1)
    pairing.a.restart(records)
    assert pairing.recovers(2)
    context = pairing.context(pairing.a)
    assert context is not None
    assert context.pair.local == A2
    assert context.key.ulid_local == A1


def test_an_update_under_way_is_repeated(pairing: Pairing) -> None:
    """RFC 5533 §10.2: until it is acknowledged, whoever was restarted meanwhile."""
    pairing.cloud.cut(A1, B1)
    pairing.a.manager.prefer_local_address(A2, Preference(priority=9), pairing.cloud.clock.now_ns)
    pairing.a.drain()
    pairing.cloud.run(0.1)
    pairing.cloud.mend(A1, B1)
    records = remembered(pairing.a)
    pairing.messages.clear()
    pairing.a.restart(records)
    pairing.cloud.run(1)
    # the wish itself is the configuration's or the operator's to repeat: here it is gone, and that is told
    assert pairing.kinds == ["UpdateRequest", "UpdateAck"]


def test_a_peer_that_changed_meanwhile_is_recovered(pairing: Pairing) -> None:
    """RFC 5533 §7.5: the peer has forgotten the context."""
    records = remembered(pairing.a)
    pairing.b.restart()
    pairing.a.restart(records)
    pairing.a.manager.explore(A1, B1, pairing.cloud.clock.now_ns)
    pairing.a.drain()
    assert pairing.recovers(20)
    assert pairing.both("established")


def test_both_may_restart(pairing: Pairing) -> None:
    for node in (pairing.a, pairing.b):
        node.restart(remembered(node))
    pairing.cloud.kill(B1)
    assert pairing.recovers(20)
    assert not {"I1", "I2bis", "R1bis"} & set(pairing.kinds)


# What changes.


def established(settings: Shim6Settings | None = None) -> Lone:
    lone = Lone(settings)
    lone.manager.watch_changes()
    lone.manager.establish(A1, B1, 0)
    nonce = lone.context().handshake.initiator_nonce
    lone.hear(R1(nonce, 1, (ResponderValidator(b"v"),)))
    lone.hear(R2(TAG, nonce, peer_options(generation=7)))
    assert lone.context().state is ContextState.ESTABLISHED
    return lone


def changes(lone: Lone) -> list[ContextRecord | None]:
    return [record for _, record in lone.manager.take_changes(100)]


def test_only_established_contexts_have_a_record() -> None:
    lone = Lone()
    lone.manager.watch_changes()
    lone.manager.establish(A1, B1, 0)
    assert record_of(lone.context()) is None
    assert not any(changes(lone))


def test_changes_are_told_once_as_records() -> None:
    lone = established()
    assert changes(lone) == [record_of(lone.context())]
    assert changes(lone) == []
    lone.manager.set_local_address(A2, False, 0)
    (request,) = [message for message in lone.drain() if isinstance(message, UpdateRequest)]
    assert changes(lone) == [record_of(lone.context())]
    lone.hear(UpdateAck(lone.context().tag_local, request.request_nonce))
    assert changes(lone) == [record_of(lone.context())]
    lone.hear(UpdateRequest(lone.context().tag_local, 5, peer_options(generation=8)))
    (record,) = changes(lone)
    assert record is not None
    assert record.peer.generation == 8
    lone.manager.explore(A1, B1, 0)
    (record,) = changes(lone)
    assert record is not None
    assert record.searching
    assert lone.manager.discard(A1, B1)
    assert changes(lone) == [None]


def test_changes_come_in_portions() -> None:
    lone = established()
    for fii in range(1, 5):
        lone.manager.establish(A1, B1, 0, fii)
        context = lone.manager.find(A1, B1, fii)
        assert context is not None
        nonce = context.handshake.initiator_nonce
        lone.hear(R1(nonce, 1, (ResponderValidator(b"v"),)))
        lone.hear(R2(TAG + fii, nonce, peer_options(generation=7)))
    portions = [lone.manager.take_changes(2) for _ in range(4)]
    assert [len(portion) for portion in portions] == [2, 2, 1, 0]
    assert len({number for portion in portions for number, _ in portion}) == 5


def test_nothing_is_noted_while_nobody_keeps_records() -> None:
    lone = Lone()
    lone.manager.establish(A1, B1, 0)
    assert lone.manager.take_changes(10) == []


# What is refused.


def sample() -> ContextRecord:
    record = record_of(established().context())
    assert record is not None
    return record


def altered(**changed: object) -> ContextRecord:
    return msgspec.structs.replace(sample(), **changed)


def restored(records: Iterable[ContextRecord], settings: Shim6Settings | None = None) -> Lone:
    lone = Lone(settings)
    lone.manager.restore(records, 0)
    lone.drain()
    return lone


def test_the_sample_is_accepted() -> None:
    lone = restored([sample()])
    assert record_of(lone.context()) == sample()


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(altered(ulid_local=C1), id="foreign ULID"),
        pytest.param(altered(ulid_peer=A2), id="peer is this host"),
        pytest.param(altered(ulid_peer=bytes(15) + b"\x01"), id="peer is loopback"),
        pytest.param(altered(locator_peer=C1), id="pair of others"),
        pytest.param(altered(locator_local=C1), id="source of others"),
        pytest.param(
            altered(peer=msgspec.structs.replace(sample().peer, locators=((B1, 1, (0, 0, 0), True),) * 2)),
            id="locator twice",
        ),
        pytest.param(
            altered(
                peer=msgspec.structs.replace(
                    sample().peer, locators=((b"\xff" + bytes(15), 1, (0, 0, 0), True),)
                )
            ),
            id="multicast locator",
        ),
        pytest.param(
            altered(
                peer=msgspec.structs.replace(
                    sample().peer,
                    locators=tuple((address(9, host), 1, (0, 0, 0), True) for host in range(17)),
                )
            ),
            id="too many locators",
        ),
    ],
)
def test_what_no_context_can_be_is_refused(record: ContextRecord) -> None:
    lone = restored([record])
    assert lone.manager.contexts() == ()
    assert lone.count(Shim6Counter.RESTORE_REFUSED) == 1


def test_what_is_there_already_is_refused() -> None:
    for again in (sample(), altered(fii=1), altered(tag_local=99)):
        lone = restored([sample(), again])
        assert lone.manager.contexts() == (lone.context(),)


def test_a_nonce_that_is_taken_is_drawn_again() -> None:
    lone = restored([sample(), altered(fii=1, tag_local=99)])
    nonces = {context.handshake.initiator_nonce for context in lone.manager.contexts()}
    assert len(nonces) == 2


def test_the_limits_hold() -> None:
    records = [altered(fii=fii, tag_local=fii + 1) for fii in range(5)]
    assert len(restored(records, Shim6Settings(max_contexts=3)).manager.contexts()) == 3
    assert len(restored(records, Shim6Settings(max_contexts_per_prefix=2)).manager.contexts()) == 2


def test_a_restored_context_ends_after_quiet() -> None:
    """RFC 5533 §9."""
    lone = restored([sample()])
    lone.wait(299)
    assert len(lone.manager.contexts()) == 1
    lone.wait(2)
    assert lone.manager.contexts() == ()


GOOD = ENCODER.encode(sample())


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=8))
def test_damaged_bytes_never_do_more_than_be_refused(damage: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, value in damage:
        data[at] = value
    try:
        record = DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    lone = restored([record])
    lone.manager.explore(A1, B1, 0)
    lone.wait(5)
    for context in lone.manager.contexts():
        lone.hear(UpdateRequest(context.tag_local, 5, peer_options(generation=9)))
    lone.wait(5 * 60)
    assert lone.now_ns == 305 * SECOND

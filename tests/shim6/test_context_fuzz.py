"""Hostile messages: nothing raises, nothing grows without limit, every one is counted."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.locators import Pair
from mpcore.shim6.settings import Shim6Settings
from mpcore.shim6.states import ContextState
from mpcore.wire.shim6 import (
    I1,
    I2,
    R1,
    R2,
    CgaParameterData,
    ErrorMessage,
    ForkedInstance,
    I2bis,
    Keepalive,
    KeepaliveTimeout,
    Locator,
    LocatorList,
    LocatorPreferences,
    Message,
    Preference,
    Probe,
    ProbeEntry,
    R1bis,
    ResponderValidator,
    UlidPair,
    UnknownMessage,
    UpdateAck,
    UpdateRequest,
)
from tests.shim6.world import A1, A2, B1, B2, C1, Lone, peer_options

TAG = 0xB0B
ADDRESSES = st.sampled_from((A1, A2, B1, B2, C1, bytes(16), b"\xff" + bytes(15), b"\xfe\x80" + bytes(14)))
NONCES = st.sampled_from((0, 1, 2, 0xFFFFFFFF))
OWN = object()  # stands for the core's own tag or nonce, which a test does not know beforehand
TAGS = st.sampled_from((OWN, TAG, 0, (1 << 47) - 1))
SMALL = st.integers(0, 3)
PARAMETERS = peer_options()[1]

OPTIONS = st.lists(
    st.one_of(
        st.builds(ResponderValidator, st.binary(max_size=20)),
        st.builds(
            LocatorList,
            SMALL,
            st.lists(st.builds(Locator, ADDRESSES, SMALL), max_size=20).map(tuple),
        ),
        st.builds(
            LocatorPreferences,
            SMALL,
            st.lists(st.builds(Preference, SMALL, SMALL, SMALL), max_size=4).map(tuple),
        ),
        st.just(PARAMETERS),
        st.builds(CgaParameterData, st.binary(max_size=30)),
        st.builds(KeepaliveTimeout, st.integers(0, 0xFFFF)),
    ),
    max_size=4,
    unique_by=type,
).map(tuple)
IDENTITY = st.lists(
    st.one_of(st.builds(UlidPair, ADDRESSES, ADDRESSES), st.builds(ForkedInstance, SMALL)),
    max_size=2,
    unique_by=type,
).map(tuple)
VALIDATOR = st.builds(ResponderValidator, st.binary(max_size=20)).map(lambda one: (one,))
ENTRIES = st.lists(st.builds(ProbeEntry, ADDRESSES, ADDRESSES, NONCES), min_size=1, max_size=15).map(tuple)
LOCATORS = OPTIONS.map(lambda some: tuple(one for one in some if not isinstance(one, ResponderValidator)))

MESSAGES = st.one_of(
    st.tuples(st.just(I1), TAGS, NONCES, IDENTITY),
    st.tuples(st.just(R1), st.just(OWN) | NONCES, NONCES, VALIDATOR),
    st.tuples(st.just(I2), TAGS, NONCES, NONCES, OPTIONS),
    st.tuples(st.just(R2), TAGS, st.just(OWN) | NONCES, LOCATORS),
    st.tuples(st.just(R1bis), TAGS, NONCES, VALIDATOR),
    st.tuples(st.just(I2bis), TAGS, NONCES, NONCES, TAGS, OPTIONS),
    st.tuples(st.just(UpdateRequest), TAGS, NONCES, LOCATORS),
    st.tuples(st.just(UpdateAck), TAGS, NONCES),
    st.tuples(st.just(Keepalive), TAGS),
    st.tuples(st.just(Probe), TAGS, st.integers(0, 2), ENTRIES, ENTRIES),
    st.tuples(st.just(ErrorMessage), SMALL, SMALL, st.binary(max_size=80)),
    st.tuples(st.just(UnknownMessage), st.integers(70, 127), SMALL, st.just(bytes(10))),
)


def made(lone: Lone, kind: type, *fields: object) -> Message:
    """Build a message, with the core's own tag or nonce where OWN stands."""
    context = lone.manager.find(A1, B1)
    tag = context.tag_local if context is not None else 7
    nonce = context.handshake.initiator_nonce if context is not None else 7
    nonce_at = {R1: 0, R2: 1}.get(kind)
    values = [
        (nonce if at == nonce_at else tag) if field is OWN else field for at, field in enumerate(fields)
    ]
    message: Message = kind(*values)
    return message


RX = [counter for counter in Shim6Counter if counter.name.endswith("_RX")]


@settings(max_examples=150, deadline=None)
@given(
    begin=st.booleans(),
    script=st.lists(
        st.tuples(MESSAGES, ADDRESSES, st.sampled_from((A1, A2, C1)), st.floats(0, 20)), max_size=25
    ),
)
def test_no_message_does_harm(
    begin: bool, script: list[tuple[tuple[object, ...], bytes, bytes, float]]
) -> None:
    lone = Lone(Shim6Settings(max_contexts=8))
    if begin:
        lone.manager.establish(A1, B1, 0)
        nonce = lone.context().handshake.initiator_nonce
        lone.hear(R1(nonce, 1, (ResponderValidator(b"v"),)))
        lone.hear(R2(TAG, nonce, peer_options()))
        assert lone.context().state is ContextState.ESTABLISHED
    before = sum(lone.count(counter) for counter in RX) + lone.count(Shim6Counter.BAD_ADDRESS)
    for (kind, *fields), source, destination, gap_s in script:
        assert isinstance(kind, type)
        lone.hear(made(lone, kind, *fields), source, destination)
        lone.wait(gap_s)
        check(lone)
    after = sum(lone.count(counter) for counter in RX) + lone.count(Shim6Counter.BAD_ADDRESS)
    assert after - before == len(script)
    lone.wait(2000)
    assert lone.manager.contexts() == ()
    assert lone.manager.poll_timeout() is None


def check(lone: Lone) -> None:
    """What holds at any time."""
    due_ns = lone.manager.poll_timeout()
    assert due_ns is None or due_ns > lone.now_ns
    contexts = lone.manager.contexts()
    assert len(contexts) <= 8
    tags = set()
    for context in contexts:
        tags.add(context.tag_local)
        assert context.pair.local in (A1, A2)
        assert context.peer.addresses == (context.key.ulid_peer,) or set(context.peer.addresses) <= {B1, B2}
        if context.state is ContextState.ESTABLISHED:
            assert context.tag_peer is not None
            assert context.pair == context.key.ulids or context.pair in {
                Pair(local, peer) for local in (A1, A2) for peer in (B1, B2)
            }
    assert len(tags) == len(contexts)


@given(data=st.binary(max_size=100))
def test_no_octets_do_harm(data: bytes) -> None:
    lone = Lone()
    lone.manager.handle_control(B1, A1, data, 0)
    lone.manager.handle_icmp(1, 0, data, 0)
    assert lone.manager.contexts() == ()

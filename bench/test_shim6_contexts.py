"""Shim6 contexts established a second on one core: both ends, HBA sets and CGA with keys of 2048 bits.

Every initiator has addresses of its own, so each list is verified by the responder: no verdict is kept from
the one before. Signing is not in the figure: a host signs its list once, when it gets its addresses. Limits
are the defaults.
"""

from itertools import count
from random import Random

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.measure import rounds
from mpcore.shim6.cga import make_cga
from mpcore.shim6.cga_parameters import emit_parameters
from mpcore.shim6.cga_verifier import CgaVerifier
from mpcore.shim6.effects import SendMessage
from mpcore.shim6.hba import make_hba_set
from mpcore.shim6.identity import Identity
from mpcore.shim6.manager import Shim6Manager
from mpcore.shim6.settings import Shim6Settings
from mpcore.wire.shim6 import Locator, LocatorList, VerificationMethod

CONTEXTS = 60
ROUNDS = 5
KEYS = 8  # that the initiators share: making one takes longer than what is measured
_numbers = count(1)
_keys: list[object] = []


def prefix(network: int) -> bytes:
    return bytes.fromhex("2001") + network.to_bytes(6)


def core(identity: Identity, addresses: tuple[bytes, ...]) -> Shim6Manager:
    manager = Shim6Manager(Shim6Settings(), rng=Random(next(_numbers)), verifier=CgaVerifier())
    for address in addresses:
        manager.set_local_address(address, True, 0)
    manager.set_identity(identity, 0)
    while manager.poll_effect() is not None:
        pass
    return manager


def hba_host() -> tuple[Shim6Manager, bytes]:
    """A host whose two addresses are a set without key."""
    number = next(_numbers)
    own = make_hba_set([prefix(2 * number), prefix(2 * number + 1)], 0, Random(number))
    locators = tuple(Locator(address, VerificationMethod.HBA) for address in own.addresses)
    identity = Identity(own.addresses[0], locators, emit_parameters(own.parameters))
    return core(identity, own.addresses), own.addresses[0]


def cga_host() -> tuple[Shim6Manager, bytes]:
    """A host with a CGA, and a second address that it signs for, once for all contexts."""
    keys = pytest.importorskip("mpcore.shim6.cga_keys")
    pytest.importorskip("cryptography")
    if len(_keys) < KEYS:
        _keys.append(keys.make_key(2048))
    number = next(_numbers)
    key = _keys[number % len(_keys)]
    own = make_cga(prefix(2 * number), keys.public_key_of(key), 0, Random(number))
    second = prefix(2 * number + 1) + own.address[8:]
    locators = tuple(Locator(address, VerificationMethod.CGA) for address in (own.address, second))

    def sign(claimed: LocatorList) -> bytes:
        return bytes(keys.sign_locators(key, claimed))

    identity = Identity(own.address, locators, emit_parameters(own.parameters), sign)
    return core(identity, (own.address, second)), own.address


MAKERS = {"HBA": hba_host, "CGA-2048": cga_host}


def exchange(initiator: Shim6Manager, responder: Shim6Manager) -> None:
    """Carry the four messages."""
    moved = True
    while moved:
        moved = False
        for sender, receiver in ((initiator, responder), (responder, initiator)):
            while (effect := sender.poll_effect()) is not None:
                if isinstance(effect, SendMessage):
                    receiver.handle_control(effect.source, effect.destination, effect.data, 1)
                    moved = True


@pytest.mark.parametrize("name", MAKERS)
def test_establishment(benchmark: BenchmarkFixture, name: str) -> None:
    """Both ends of every exchange on one core."""
    make = MAKERS[name]

    def prepare() -> tuple[tuple[object, ...], dict[str, object]]:
        return (make(), [make() for _ in range(CONTEXTS)]), {}

    def establish(server: tuple[Shim6Manager, bytes], clients: list[tuple[Shim6Manager, bytes]]) -> None:
        responder, ulid = server
        for initiator, own in clients:
            initiator.establish(own, ulid, 1)
            exchange(initiator, responder)
        assert sum(context.state == "established" for context in responder.contexts()) == CONTEXTS

    rounds(
        benchmark,
        f"Shim6 context established with {name}, both ends",
        establish,
        packets=CONTEXTS,
        name="mpcore",
        setup=prepare,
        rounds=1 if benchmark.disabled else ROUNDS,
        warmup_rounds=0,
    )

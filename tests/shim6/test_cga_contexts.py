"""Contexts between hosts whose addresses are really hashes: the exchange, and what an impostor gets."""

from dataclasses import replace
from random import Random

import pytest

from mpcore.shim6.cga_parameters import emit_parameters
from mpcore.shim6.cga_verifier import CgaVerifier
from mpcore.shim6.effects import SendMessage
from mpcore.shim6.hba import HbaSet, make_hba_set
from mpcore.shim6.identity import Identity
from mpcore.shim6.manager import Shim6Manager
from mpcore.shim6.settings import Shim6Settings
from mpcore.wire.shim6 import Locator, LocatorList, VerificationMethod

A = [bytes.fromhex("20010db8000a0000"), bytes.fromhex("20010db8000b0000")]
B = [bytes.fromhex("20010db8000c0000"), bytes.fromhex("20010db8000d0000")]
FOREIGN = bytes.fromhex("20010db8ffff00000000000000000001")
HBA, CGA = VerificationMethod.HBA, VerificationMethod.CGA


def host(seed: int, own: HbaSet, identity: Identity) -> Shim6Manager:
    manager = Shim6Manager(Shim6Settings(), rng=Random(seed), verifier=CgaVerifier())
    manager.set_identity(identity, 0)
    for address in own.addresses:
        manager.set_local_address(address, True, 0)
    return manager


def identity_of(own: HbaSet, *more: Locator) -> Identity:
    locators = tuple(Locator(address, HBA) for address in own.addresses)
    return Identity(own.addresses[0], locators + more, emit_parameters(own.parameters))


def exchange(a: Shim6Manager, b: Shim6Manager, owned_by_a: set[bytes]) -> None:
    """Carry messages both ways until there are none."""
    quiet = False
    while not quiet:
        quiet = True
        for manager in (a, b):
            while (effect := manager.poll_effect()) is not None:
                if isinstance(effect, SendMessage):
                    quiet = False
                    receiver = a if effect.destination in owned_by_a else b
                    receiver.handle_control(effect.source, effect.destination, effect.data, 1)


def establish(mine: Identity, own: HbaSet) -> tuple[str | None, set[bytes]]:
    """Return the state at host b, and the locators of a that it believes in."""
    peer = make_hba_set(B, 0, Random(2))
    a, b = host(3, own, mine), host(4, peer, identity_of(peer))
    assert a.establish(own.addresses[0], peer.addresses[0], 0) is not None
    exchange(a, b, set(own.addresses))
    context = b.find(peer.addresses[0], own.addresses[0])
    if context is None:
        return None, set()
    return str(context.state), {entry.address for entry in context.peer}


def test_a_set_without_a_key() -> None:
    """RFC 5533 §7.2 and §7.13, RFC 5535 §8."""
    own = make_hba_set(A, 0, Random(1))
    assert establish(identity_of(own), own) == ("established", set(own.addresses))


def test_a_locator_of_a_foreign_prefix_is_never_believed() -> None:
    own = make_hba_set(A, 0, Random(1))
    for method in (HBA, CGA):
        _, believed = establish(identity_of(own, Locator(FOREIGN, method)), own)
        assert FOREIGN not in believed


def test_another_hosts_structure_proves_nothing() -> None:
    own, other = make_hba_set(A, 0, Random(1)), make_hba_set(A, 0, Random(9))
    stolen = replace(identity_of(own), parameters=emit_parameters(other.parameters))
    state, believed = establish(stolen, own)
    assert state != "established"
    assert not believed & set(own.addresses[1:])


def test_a_signed_locator_is_believed() -> None:
    """RFC 5535 §8.1."""
    pytest.importorskip("cryptography", reason="signatures need the package cryptography")
    from mpcore.shim6.cga_keys import make_key, public_key_of, sign_locators

    key = make_key(1024)
    own = make_hba_set(A, 0, Random(1), public_key=public_key_of(key))

    def sign(locators: LocatorList) -> bytes:
        return sign_locators(key, locators)

    mine = replace(identity_of(own, Locator(FOREIGN, CGA)), sign=sign)
    assert establish(mine, own) == ("established", {*own.addresses, FOREIGN})

"""The judge that contexts ask: answers instead of errors for any bytes, and no RSA for a replay."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcore.shim6 import cga_locators, cga_verifier
from mpcore.shim6.cga_errors import VerificationError
from mpcore.shim6.cga_parameters import emit_parameters
from mpcore.shim6.cga_verifier import CgaVerifier
from mpcore.shim6.hba import make_hba_set
from mpcore.wire.shim6 import Locator, LocatorList, VerificationMethod
from tests.shim6.test_cga import RFC_KEY

A, B = bytes.fromhex("20010db8000a0000"), bytes.fromhex("20010db8000b0000")
SET = make_hba_set([A, B], 0, Random(1))
SIGNING = make_hba_set([A, B], 0, Random(1), public_key=RFC_KEY)
PARAMETERS = emit_parameters(SET.parameters)
ELSEWHERE = bytes.fromhex("20010db8ffff00000000000000000001")


def listed(*addresses: bytes, method: int = VerificationMethod.HBA) -> LocatorList:
    return LocatorList(1, tuple(Locator(address, method) for address in addresses))


def test_every_member_owns_the_structure_of_any_member() -> None:
    """RFC 5535 §7.2."""
    verifier = CgaVerifier()
    assert [verifier.owns(address, PARAMETERS) for address in SET.addresses] == [True, True]
    assert not verifier.owns(ELSEWHERE, PARAMETERS)
    assert not verifier.owns(SET.addresses[0], PARAMETERS + b"\0")
    assert not verifier.owns(SET.addresses[0], emit_parameters(SIGNING.parameters))


def test_the_first_refused_locator_is_told() -> None:
    """RFC 5533 §5.14: Error 2 points to its method."""
    verifier, (first, second) = CgaVerifier(), SET.addresses
    assert verifier.refused(first, listed(first, second), PARAMETERS, None) is None
    assert verifier.refused(first, listed(second, ELSEWHERE, ELSEWHERE), PARAMETERS, None) == 1
    assert verifier.refused(ELSEWHERE, listed(first), PARAMETERS, None) == 0
    assert verifier.refused(first, listed(), b"", None) == 0


@given(
    st.binary(max_size=40), st.binary(max_size=150), st.binary(max_size=20) | st.none(), st.integers(0, 255)
)
def test_no_bytes_raise(ulid: bytes, parameters: bytes, signature: bytes | None, method: int) -> None:
    verifier = CgaVerifier()
    assert not verifier.owns(ulid, parameters)
    assert verifier.refused(ulid, listed(ELSEWHERE, method=method), parameters, signature) == 0
    own = SIGNING.addresses[0]
    locators = listed(ELSEWHERE, method=method)
    assert verifier.refused(own, locators, emit_parameters(SIGNING.parameters), signature) == 0


def test_a_replayed_message_costs_one_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []

    def refuse(*arguments: object) -> None:
        verified.append(arguments)
        raise VerificationError("not signed")

    monkeypatch.setattr(cga_locators, "_verify_signature", refuse)
    cga_verifier._refused.cache_clear()
    locators = listed(ELSEWHERE, method=VerificationMethod.CGA)
    for _ in range(3):
        judged = CgaVerifier().refused(
            SIGNING.addresses[0], locators, emit_parameters(SIGNING.parameters), b"signature"
        )
        assert judged == 0
    assert len(verified) == 1
    cga_verifier._refused.cache_clear()

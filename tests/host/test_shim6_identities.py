"""Identities from files: sets, keys, and what is wrong with a file."""

from pathlib import Path
from random import Random

import pytest

from mpcore.errors import HostError
from mpcore.host.shim6_identities import load_owned
from mpcore.shim6.cga import make_cga
from mpcore.shim6.cga_parameters import CgaParameters, emit_parameters
from mpcore.shim6.cga_size import largest_message
from mpcore.shim6.cga_verifier import CgaVerifier
from mpcore.shim6.hba import make_hba_set
from mpcore.shim6.identity import Identities, Identity
from mpcore.shim6.owned import identities_of
from mpcore.shim6.prefixes import parse_prefix
from mpcore.wire.shim6 import MESSAGE_MAX

PREFIXES = [parse_prefix(f"2001:db8:{number}::/64") for number in (1, 2)]


def load_identities(places: list[str]) -> list[Identity]:
    """Return what the daemon makes of files."""
    return identities_of(load_owned(places))


def write(path: Path, parameters: CgaParameters) -> None:
    path.write_bytes(emit_parameters(parameters))


def make_key(path: Path) -> bytes:
    keys = pytest.importorskip("mpcore.shim6.cga_keys")
    key = keys.make_key(1024)
    path.write_bytes(keys.key_to_pem(key))
    public: bytes = keys.public_key_of(key)
    return public


def peers_accept(identity: Identity) -> bool:
    """Whether a peer takes the list of an identity."""
    known = Identities(Random(3))
    known.set(identity)
    claim = known.claim(identity.ulid)
    assert claim.parameters is not None
    refused = CgaVerifier().refused(identity.ulid, claim.locators, claim.parameters, claim.signature)
    return refused is None and CgaVerifier().owns(identity.ulid, claim.parameters)


def test_a_set_is_an_identity_for_each_member(tmp_path: Path) -> None:
    """RFC 5535 §7.2: members prove each other by their hashes."""
    made = make_hba_set(PREFIXES, 0, Random(1))
    write(tmp_path / "host.hba", made.parameters)
    identities = load_identities([str(tmp_path / "host.hba")])
    assert [identity.ulid for identity in identities] == list(made.addresses)
    assert all(identity.multihomed and peers_accept(identity) for identity in identities)


def test_addresses_with_one_key_sign_for_each_other(tmp_path: Path) -> None:
    """RFC 5533 §7.2: a locator by CGA needs the signature of the ULID's key."""
    public = make_key(tmp_path / "a.pem")
    (tmp_path / "b.pem").write_bytes((tmp_path / "a.pem").read_bytes())
    made = [make_cga(prefix, public, 0, Random(1)) for prefix in PREFIXES]
    for name, one in zip("ab", made, strict=True):
        write(tmp_path / f"{name}.cga", one.parameters)
    identities = load_identities([str(tmp_path)])
    assert [identity.ulid for identity in identities] == [one.address for one in made]
    for identity in identities:
        assert {locator.address for locator in identity.locators} == {one.address for one in made}
        assert peers_accept(identity)


def test_a_key_without_its_use_and_an_address_without_its_key(tmp_path: Path) -> None:
    public = make_key(tmp_path / "other.pem")
    write(tmp_path / "host.cga", make_cga(PREFIXES[0], public, 0, Random(1)).parameters)
    (identity,) = load_identities([str(tmp_path / "host.cga")])
    assert not identity.multihomed
    assert identity.parameters is None


def test_a_key_of_another_address_is_refused(tmp_path: Path) -> None:
    public = make_key(tmp_path / "first.pem")
    make_key(tmp_path / "host.pem")
    write(tmp_path / "host.cga", make_cga(PREFIXES[0], public, 0, Random(1)).parameters)
    with pytest.raises(HostError, match=r"host\.pem: the key is not the one of the parameters beside it"):
        load_identities([str(tmp_path / "host.cga")])


@pytest.mark.parametrize("content", [b"", b"no parameters", bytes(2000)])
def test_a_file_of_something_else_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(HostError, match=rf"shim6\.identities: {tmp_path}/x: no CGA parameters: "):
        load_identities([str(tmp_path)])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="none: cannot be read: No such file"):
        load_identities([str(tmp_path / "none")])


def test_what_signs_announces_no_more_than_a_message_holds(tmp_path: Path) -> None:
    """RFC 5533 §5.1: a control message has 1280 octets at most."""
    public = make_key(tmp_path / "host.pem")
    write(tmp_path / "host.cga", make_cga(PREFIXES[0], public, 0, Random(1)).parameters)
    owned = load_owned([str(tmp_path / "host.cga")])
    more = [bytes([32, 1, 13, 184, number]).ljust(16, b"x") for number in range(60)]
    (identity,) = identities_of(owned, more)
    count, parameters = len(identity.locators), owned[0].parameters
    assert largest_message(parameters, count, signed=True) <= MESSAGE_MAX
    assert largest_message(parameters, count + 1, signed=True) > MESSAGE_MAX
    assert peers_accept(identity)

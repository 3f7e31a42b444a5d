"""How much of a parameter structure and a locator list fits into one control message (RFC 5533 §5.1)."""

from mpcore.errors import LocalProtocolError
from mpcore.shim6.cga_parameters import CgaParameters, emit_parameters
from mpcore.wire.shim6 import MESSAGE_MAX, option_size

_I2BIS_SIZE = 32
_VALIDATOR_SIZE = 16
_ULID_PAIR_SIZE = 36
_SMALL_SIZE = 4  # contents of a forked instance identifier, and of a keepalive timeout


def largest_message(parameters: CgaParameters, locators: int, *, signed: bool) -> int:
    """Return the octets of the largest control message that a host with these parameters sends: an I2bis.

    It has a validator of 16 octets, every identity option, list and preferences of `locators` entries, the
    structure, and where `signed` a signature. A signature is as long as the modulus, which is part of the
    key, so the key's size stands for it.
    """
    contents = [
        _VALIDATOR_SIZE,
        _ULID_PAIR_SIZE,
        _SMALL_SIZE,
        _SMALL_SIZE,
        5 + locators + 7 - locators % 8 + 16 * locators,
        5 + 3 * locators,
        len(emit_parameters(parameters)),
    ]
    if signed:
        contents.append(len(parameters.public_key))
    return _I2BIS_SIZE + sum(map(option_size, contents))


def require_room(parameters: CgaParameters, locators: int, *, signed: bool) -> None:
    """Return when the locators fit beside the parameters, else raise LocalProtocolError.

    To be asked when addresses are made: later, no message could tell a peer of them.
    """
    size = largest_message(parameters, locators, signed=signed)
    if size > MESSAGE_MAX:
        raise LocalProtocolError(
            f"{locators} locators and a key of {len(parameters.public_key)} octets in DER make a message of"
            f" {size} octets, and {MESSAGE_MAX} are allowed: use fewer prefixes or a smaller key"
        )

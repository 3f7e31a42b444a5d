"""What both versions of MPTCP compute from keys: token, initial data sequence number, HMACs.

Version 1 (RFC 8684 §3.1, §3.2) hashes with SHA-256, version 0 (RFC 6824 §3.1, §3.2) with SHA-1.
"""

import hashlib
import hmac

from mpcore.mptcp import keys

SYNACK_SIZE, ACK_SIZE = keys.JOIN_SYNACK_HMAC_SIZE, keys.JOIN_ACK_HMAC_SIZE


def token(version: int, key: int) -> int:
    """Return the token of a key."""
    return keys.token(key) if version else int.from_bytes(_sha1(key)[:4], "big")


def initial_data_seq(version: int, key: int) -> int:
    """Return the IDSN of a key."""
    return keys.idsn(key) if version else int.from_bytes(_sha1(key)[-8:], "big")


def join_hmac(
    version: int, key_sender: int, key_receiver: int, nonce_sender: int, nonce_receiver: int
) -> bytes:
    """Return the whole HMAC of an MP_JOIN; a SYN/ACK carries its first 8 octets, a third ACK 20."""
    if version:
        return keys.join_hmac(key_sender, key_receiver, nonce_sender, nonce_receiver)
    message = nonce_sender.to_bytes(4, "big") + nonce_receiver.to_bytes(4, "big")
    return hmac.digest(key_sender.to_bytes(8, "big") + key_receiver.to_bytes(8, "big"), message, "sha1")


def add_addr_hmac(
    key_sender: int, key_receiver: int, address_id: int, address: bytes, port: int | None
) -> bytes:
    """Return the HMAC of an ADD_ADDR of version 1; version 0 has none (RFC 8684 §3.4.1)."""
    return keys.add_addr_hmac(key_sender, key_receiver, address_id, address, port)


def _sha1(key: int) -> bytes:
    return hashlib.sha1(key.to_bytes(8, "big")).digest()

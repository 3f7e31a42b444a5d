"""MPTCP options between bytes and values (RFC 8684 §3).

A *body* is an option without its kind and length octets. Lengths are exact: an option of any other length is
malformed.
"""

import struct
from collections.abc import Callable

from mpcore.errors import WireError
from mpcore.wire.constants import DssFlag, OptionKind, Subtype
from mpcore.wire.mptcp_options import (
    AddAddr,
    Dss,
    MalformedMptcp,
    MpCapable,
    MpExperimental,
    MpFail,
    MpFastclose,
    MpJoinAck,
    MpJoinSyn,
    MpJoinSynAck,
    MpPrio,
    MptcpOption,
    MpTcpRst,
    MpV0Option,
    RemoveAddr,
)


def parse_mptcp_option(data: bytes) -> MptcpOption:
    """Return the value of one whole option, kind and length octets included.

    WireError when `data` is not exactly one option of kind 30; what is wrong inside gives a `MalformedMptcp`.
    """
    if len(data) < 2 or data[0] != OptionKind.MPTCP or data[1] != len(data):
        raise WireError(f"{data.hex() or 'nothing'} is not one TCP option of kind 30 with its own length")
    return parse_body(data[2:])


def parse_body(body: bytes) -> MptcpOption:
    """Return the value of an option given without kind and length; never fails."""
    parser = _PARSERS.get(body[0] >> 4) if body else None
    value = parser(body) if parser else None
    return MalformedMptcp(body) if value is None else value


def _parse_capable(body: bytes) -> MptcpOption | None:
    version, flags = body[0] & 0x0F, body[1] if len(body) > 1 else 0
    if version == 0:
        # RFC 6824 §3.1: the SYN carries a key already, and no form has data.
        return MpV0Option(Subtype.MP_CAPABLE, body) if len(body) in (10, 18) else None
    keys = {2: "", 10: "Q", 18: "QQ", 20: "QQH", 22: "QQHH"}
    if len(body) not in keys:
        return None
    return MpCapable(version, flags, *struct.unpack_from(">" + keys[len(body)], body, 2))


def _parse_join(body: bytes) -> MptcpOption | None:
    backup = bool(body[0] & 1)
    if len(body) == 10:
        token, nonce = struct.unpack_from(">II", body, 2)
        return MpJoinSyn(token, nonce, body[1], backup)
    if len(body) == 14:
        return MpJoinSynAck(body[2:10], int.from_bytes(body[10:14], "big"), body[1], backup)
    if len(body) == 22:
        return MpJoinAck(body[2:])
    return None


def _parse_dss(body: bytes) -> MptcpOption | None:
    if len(body) < 2:
        return None
    flags = DssFlag(body[1] & 0x1F)
    ack64 = DssFlag.ACK64 in flags or DssFlag.ACK not in flags
    seq64 = DssFlag.SEQ64 in flags or DssFlag.MAP not in flags
    ack = ("Q" if ack64 else "I") if DssFlag.ACK in flags else ""
    mapping = ("Q" if seq64 else "I") + "IH" if DssFlag.MAP in flags else ""
    layout = struct.Struct(">" + ack + mapping)
    if mapping and len(body) == 2 + layout.size + 2:
        layout = struct.Struct(">" + ack + mapping + "H")
    if len(body) != 2 + layout.size:
        return None
    fields = list(layout.unpack_from(body, 2))
    data_ack = fields.pop(0) if ack else None
    data_seq, subflow_seq, data_len, checksum = [*fields, None, None, None, None][:4]
    fin = DssFlag.DATA_FIN in flags
    return Dss(data_ack, ack64, data_seq, seq64, subflow_seq, data_len, checksum, fin)


def _parse_add_addr(body: bytes) -> MptcpOption | None:
    echo = bool(body[0] & 1)
    rest = len(body) - 2 - (0 if echo else 8)
    if rest not in (4, 6, 16, 18):
        # RFC 6824 §3.4.1: the nibble is the IP version, and there is no HMAC.
        v0 = {4: (6, 8), 6: (18, 20)}.get(body[0] & 0x0F, ())
        return MpV0Option(Subtype.ADD_ADDR, body) if len(body) in v0 else None
    size = 4 if rest < 16 else 16
    port = int.from_bytes(body[2 + size : 4 + size], "big") if rest > size else None
    return AddAddr(body[1], body[2 : 2 + size], port, echo, None if echo else body[-8:])


def _parse_remove_addr(body: bytes) -> MptcpOption | None:
    return RemoveAddr(tuple(body[1:])) if len(body) > 1 else None


def _parse_prio(body: bytes) -> MptcpOption | None:
    if len(body) not in (1, 2):
        return None
    return MpPrio(bool(body[0] & 1), body[1] if len(body) == 2 else None)


def _parse_fail(body: bytes) -> MptcpOption | None:
    return MpFail(int.from_bytes(body[2:], "big")) if len(body) == 10 else None


def _parse_fastclose(body: bytes) -> MptcpOption | None:
    return MpFastclose(int.from_bytes(body[2:], "big")) if len(body) == 10 else None


def _parse_rst(body: bytes) -> MptcpOption | None:
    return MpTcpRst(body[1], body[0] & 0x0F) if len(body) == 2 else None


_PARSERS: dict[int, Callable[[bytes], MptcpOption | None]] = {
    Subtype.MP_CAPABLE: _parse_capable,
    Subtype.MP_JOIN: _parse_join,
    Subtype.DSS: _parse_dss,
    Subtype.ADD_ADDR: _parse_add_addr,
    Subtype.REMOVE_ADDR: _parse_remove_addr,
    Subtype.MP_PRIO: _parse_prio,
    Subtype.MP_FAIL: _parse_fail,
    Subtype.MP_FASTCLOSE: _parse_fastclose,
    Subtype.MP_TCPRST: _parse_rst,
    Subtype.EXPERIMENTAL: MpExperimental,
}


def emit_body(option: MptcpOption) -> bytes:
    """Return the option without kind and length octets; WireError for a field that is out of range."""
    try:
        return _emit_body(option)
    except struct.error as error:
        raise WireError(f"{option} has a field that does not fit: {error}") from error


def _emit_body(option: MptcpOption) -> bytes:
    match option:
        case Dss():
            return _emit_dss(option)
        case MpCapable():
            return _emit_capable(option)
        case MpJoinSyn(token, nonce, address_id, backup):
            return struct.pack(">BBII", _first(Subtype.MP_JOIN, backup), address_id, token, nonce)
        case MpJoinSynAck(hmac, nonce, address_id, backup):
            _require_size("HMAC of a SYN/ACK", hmac, 8)
            return struct.pack(">BB8sI", _first(Subtype.MP_JOIN, backup), address_id, hmac, nonce)
        case MpJoinAck(hmac):
            _require_size("HMAC of a third ACK", hmac, 20)
            return struct.pack(">BB20s", _first(Subtype.MP_JOIN), 0, hmac)
        case AddAddr():
            return _emit_add_addr(option)
        case RemoveAddr(ids):
            if not ids:
                raise WireError("REMOVE_ADDR needs at least one address id")
            return struct.pack(f">B{len(ids)}B", _first(Subtype.REMOVE_ADDR), *ids)
        case _:
            return _emit_small(option)


def _emit_small(option: MptcpOption) -> bytes:
    match option:
        case MpPrio(backup, address_id):
            octets = [] if address_id is None else [address_id]
            return struct.pack(f">B{len(octets)}B", _first(Subtype.MP_PRIO, backup), *octets)
        case MpFail(data_seq):
            return struct.pack(">BxQ", _first(Subtype.MP_FAIL), data_seq)
        case MpFastclose(key):
            return struct.pack(">BxQ", _first(Subtype.MP_FASTCLOSE), key)
        case MpTcpRst(reason, flags):
            return struct.pack(">BB", _first(Subtype.MP_TCPRST, flags), reason)
        case MpExperimental(data):
            return _raw(data, Subtype.EXPERIMENTAL)
        case MpV0Option(subtype, data):
            return _raw(data, subtype)
        case MalformedMptcp(data):
            return data
    raise WireError(f"{option!r} is not an MPTCP option")


def _first(subtype: int, low: int = 0) -> int:
    if not 0 <= low <= 15:
        raise WireError(f"{low} does not fit into the four bits beside the subtype")
    return subtype << 4 | low


def _require_size(what: str, data: bytes, size: int) -> None:
    if len(data) != size:
        raise WireError(f"the {what} has {size} bytes, not {len(data)}")


def _raw(data: bytes, subtype: int) -> bytes:
    if not data or data[0] >> 4 != subtype:
        raise WireError(f"the data of an option of subtype {subtype} must begin with that subtype")
    return data


def _emit_capable(option: MpCapable) -> bytes:
    fields = (option.key_sender, option.key_receiver, option.data_len, option.checksum)
    present = [field for field in fields if field is not None]
    if present != list(fields[: len(present)]) or option.version == 0:
        raise WireError(f"{option} is none of the forms of MP_CAPABLE version 1 and above")
    layout = ">BB" + "QQHH"[: len(present)]
    return struct.pack(layout, _first(Subtype.MP_CAPABLE, option.version), option.flags, *present)


def _emit_dss(option: Dss) -> bytes:
    mapping = [option.data_seq, option.subflow_seq, option.data_len]
    layout, flags, fields = ">BB", DssFlag(0), [option.data_ack, *mapping, option.checksum]
    if option.data_ack is not None:
        layout += "Q" if option.ack64 else "I"
        flags |= DssFlag.ACK | (DssFlag.ACK64 if option.ack64 else 0)
    if None not in mapping:
        layout += "QIH" if option.seq64 else "IIH"
        flags |= DssFlag.MAP | (DssFlag.SEQ64 if option.seq64 else 0)
        layout += "" if option.checksum is None else "H"
    elif mapping != [None] * 3 or option.checksum is not None:
        raise WireError("a mapping has data_seq, subflow_seq and data_len, and only a mapping has a checksum")
    if option.data_fin:
        flags |= DssFlag.DATA_FIN
    present = [field for field in fields if field is not None]
    return struct.pack(layout, _first(Subtype.DSS), flags, *present)


def _emit_add_addr(option: AddAddr) -> bytes:
    if len(option.address) not in (4, 16):
        raise WireError(f"an address has 4 or 16 bytes, not {len(option.address)}")
    if option.echo != (option.hmac is None):
        raise WireError("ADD_ADDR has an HMAC unless it is an echo (RFC 8684 §3.4.1)")
    hmac = option.hmac or b""
    if not option.echo:
        _require_size("HMAC of ADD_ADDR", hmac, 8)
    port = b"" if option.port is None else struct.pack(">H", option.port)
    start = struct.pack(">BB", _first(Subtype.ADD_ADDR, option.echo), option.address_id)
    return start + option.address + port + hmac

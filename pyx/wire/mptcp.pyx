"""MPTCP options of a segment, and emission; see the header for the forms."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memset

from mpcore.wire.bits cimport load16, load32, load64, store16, store32, store64
from mpcore.wire.tcp cimport TCP_OK, tcp_parse


cdef void mptcp_parse(const tcp_t *tcp, mptcp_t *out) noexcept nogil:
    cdef int index
    cdef uint8_t subtype
    memset(out, 0, sizeof(mptcp_t))
    out.add_addr_index = -1
    out.remove_addr_index = -1
    for index in range(tcp.mptcp_count):
        subtype = tcp.mptcp[index][2] >> 4
        # Of a subtype that repeats, the first well-formed option counts.
        if (not (out.seen >> subtype) & 1
                and _take(tcp.mptcp[index], tcp.mptcp_size[index], index, out)):
            out.seen |= <uint16_t>(1 << subtype)
        else:
            out.ignored += 1


# 1 when the option of `size` >= 3 octets is well formed and its fields are in *out, else 0 and *out as before
cdef int _take(const uint8_t *option, uint8_t size, int index, mptcp_t *out) noexcept nogil:
    cdef uint8_t subtype = option[2] >> 4
    if subtype == MP_DSS:
        return _take_dss(option, size, out)
    if subtype == MP_CAPABLE:
        return _take_capable(option, size, out)
    if subtype == MP_JOIN:
        return _take_join(option, size, out)
    if subtype == MP_ADD_ADDR:
        return _take_add_addr(option, size, index, out)
    if subtype == MP_REMOVE_ADDR:
        return _take_remove_addr(size, index, out)
    return _take_small(option, size, out)


cdef int _take_capable(const uint8_t *option, uint8_t size, mptcp_t *out) noexcept nogil:
    cdef uint8_t version = option[2] & 0x0f
    # Version 0 has its key in the SYN already and no form with data (RFC 6824 §3.1).
    if not (size == 12 or size == 20 or (version > 0 and (size == 4 or size == 22 or size == 24))):
        return 0
    out.capable_size = size
    out.capable_version = version
    out.capable_flags = option[3]
    if size >= 12:
        out.key_sender = load64(option + 4)
    if size >= 20:
        out.key_receiver = load64(option + 12)
    if size >= 22:
        out.capable_data_len = load16(option + 20)
    if size == 24:
        out.capable_checksum = load16(option + 22)
    return 1


cdef int _take_join(const uint8_t *option, uint8_t size, mptcp_t *out) noexcept nogil:
    if size == 12:                         # SYN (RFC 8684 §3.2)
        out.join_token = load32(option + 4)
        out.join_nonce = load32(option + 8)
    elif size == 16:                       # SYN/ACK
        out.join_hmac64 = load64(option + 4)
        out.join_nonce = load32(option + 12)
    elif size == 24:                       # third ACK: the octet of flags and address id is reserved
        out.join_hmac = option + 4
        out.join_size = size
        return 1
    else:
        return 0
    out.join_size = size
    out.join_backup = option[2] & 1
    out.join_address_id = option[3]
    return 1


cdef int _take_dss(const uint8_t *option, uint8_t size, mptcp_t *out) noexcept nogil:
    cdef uint8_t flags
    cdef uint32_t need
    if size < 4:
        return 0
    flags = _dss_flags(option[3])
    need = _dss_size(flags)
    if size != need and not (flags & DSS_MAP and size == need + 2):
        return 0
    out.dss_flags = flags
    option += 4
    if flags & DSS_ACK:
        out.data_ack = load64(option) if flags & DSS_ACK64 else load32(option)
        option += 8 if flags & DSS_ACK64 else 4
    if flags & DSS_MAP:
        out.data_seq = load64(option) if flags & DSS_SEQ64 else load32(option)
        option += 8 if flags & DSS_SEQ64 else 4
        out.subflow_seq = load32(option)
        out.data_len = load16(option + 4)
        if size > need:
            out.dss_has_checksum = 1
            out.dss_checksum = load16(option + 6)
    return 1


# RFC 8684 §3.3: reserved bits are ignored, and a width means nothing without its field.
cdef inline uint8_t _dss_flags(uint8_t flags) noexcept nogil:
    flags &= DSS_ACK | DSS_ACK64 | DSS_MAP | DSS_SEQ64 | DSS_FIN
    if not flags & DSS_ACK:
        flags &= <uint8_t>~DSS_ACK64
    if not flags & DSS_MAP:
        flags &= <uint8_t>~DSS_SEQ64
    return flags


# Size of the option without checksum.
cdef inline uint32_t _dss_size(uint8_t flags) noexcept nogil:
    cdef uint32_t size = 4
    if flags & DSS_ACK:
        size += 8 if flags & DSS_ACK64 else 4
    if flags & DSS_MAP:
        size += 14 if flags & DSS_SEQ64 else 10
    return size


cdef int _take_add_addr(const uint8_t *option, uint8_t size, int index, mptcp_t *out) noexcept nogil:
    cdef int ok
    # RFC 8684 §3.4.1: an echo has no HMAC. Version 0 has neither flag nor HMAC: its forms are ignored.
    if option[2] & 1:
        ok = size == 8 or size == 10 or size == 20 or size == 22
    else:
        ok = size == 16 or size == 18 or size == 28 or size == 30
    if ok:
        out.add_addr_index = index
    return ok


cdef int _take_remove_addr(uint8_t size, int index, mptcp_t *out) noexcept nogil:
    if size < 4:                           # at least one address id (RFC 8684 §3.4.2)
        return 0
    out.remove_addr_index = index
    return 1


cdef int _take_small(const uint8_t *option, uint8_t size, mptcp_t *out) noexcept nogil:
    cdef uint8_t subtype = option[2] >> 4
    # Version 0's MP_PRIO of 4 octets speaks of another subflow, so taking it for this one would be wrong.
    if subtype == MP_PRIO and size == 3:
        out.prio_backup = option[2] & 1
    elif subtype == MP_FAIL and size == 12:
        out.fail_data_seq = load64(option + 4)
    elif subtype == MP_FASTCLOSE and size == 12:
        out.fastclose_key = load64(option + 4)
    elif subtype == MP_TCPRST and size == 4:
        out.rst_flags = option[2] & 0x0f
        out.rst_reason = option[3]
    else:
        return 0
    return 1


cdef inline void _emit_start(uint8_t *out, uint8_t size, uint8_t subtype,
                             uint8_t low, uint8_t second) noexcept nogil:
    out[0] = MPTCP_KIND
    out[1] = size
    out[2] = <uint8_t>((subtype << 4) | (low & 0x0f))
    out[3] = second


cdef uint32_t mptcp_emit_dss(uint8_t *out, uint8_t flags, uint64_t data_ack, uint64_t data_seq,
                             uint32_t subflow_seq, uint16_t data_len,
                             int has_checksum, uint16_t checksum) noexcept nogil:
    cdef uint32_t at = 4
    flags = _dss_flags(flags)
    if flags & DSS_ACK64:
        store64(out + at, data_ack)
        at += 8
    elif flags & DSS_ACK:
        store32(out + at, <uint32_t>data_ack)
        at += 4
    if flags & DSS_MAP:
        if flags & DSS_SEQ64:
            store64(out + at, data_seq)
            at += 8
        else:
            store32(out + at, <uint32_t>data_seq)
            at += 4
        store32(out + at, subflow_seq)
        store16(out + at + 4, data_len)
        at += 6
        if has_checksum:
            store16(out + at, checksum)
            at += 2
    _emit_start(out, <uint8_t>at, MP_DSS, 0, flags)
    return at


cdef uint32_t mptcp_emit_capable_ack(uint8_t *out, uint8_t flags, uint64_t key_sender, uint64_t key_receiver,
                                     int data_len, int has_checksum, uint16_t checksum) noexcept nogil:
    cdef uint8_t size = 20
    store64(out + 4, key_sender)
    store64(out + 12, key_receiver)
    if data_len >= 0:
        store16(out + 20, <uint16_t>data_len)
        size = 22
        if has_checksum:
            store16(out + 22, checksum)
            size = 24
    _emit_start(out, size, MP_CAPABLE, 1, flags)
    return size


cdef uint32_t mptcp_emit_join_ack(uint8_t *out, const uint8_t *hmac20) noexcept nogil:
    _emit_start(out, 24, MP_JOIN, 0, 0)
    memcpy(out + 4, hmac20, 20)
    return 24


cdef uint32_t mptcp_emit_prio(uint8_t *out, int backup) noexcept nogil:
    out[0] = MPTCP_KIND
    out[1] = 3
    out[2] = (MP_PRIO << 4) | (1 if backup else 0)
    return 3


cdef uint32_t mptcp_emit_fail(uint8_t *out, uint64_t data_seq) noexcept nogil:
    _emit_start(out, 12, MP_FAIL, 0, 0)
    store64(out + 4, data_seq)
    return 12


cdef uint32_t mptcp_emit_fastclose(uint8_t *out, uint64_t receiver_key) noexcept nogil:
    _emit_start(out, 12, MP_FASTCLOSE, 0, 0)
    store64(out + 4, receiver_key)
    return 12


cdef uint32_t mptcp_emit_rst(uint8_t *out, uint8_t flags, uint8_t reason) noexcept nogil:
    _emit_start(out, 4, MP_TCPRST, flags, reason)
    return 4


cdef uint64_t expand_data_seq(uint64_t reference, uint32_t value) noexcept nogil:
    # The signed distance in 32-bit serial arithmetic takes care of a wrap in either direction.
    return reference + <uint64_t><int64_t><int32_t>(value - <uint32_t>reference)


def describe(segment):
    """Return the MPTCP meaning of a TCP segment (without IP header) as a dictionary, one key an option.

    The keys are the subtypes' names in lower case, plus `ignored`, the number of options left out. Raises
    ValueError when the TCP header itself cannot be parsed. For tests and tools.
    """
    cdef Py_buffer view
    PyObject_GetBuffer(segment, &view, PyBUF_SIMPLE)
    try:
        return _describe(<const uint8_t *>view.buf, <uint32_t>min(view.len, 0xffffffff))
    finally:
        PyBuffer_Release(&view)


cdef dict _describe(const uint8_t *segment, uint32_t size):
    cdef tcp_t tcp
    cdef mptcp_t mptcp
    if tcp_parse(segment, size, &tcp) != TCP_OK:
        raise ValueError("not a TCP segment")
    mptcp_parse(&tcp, &mptcp)
    found = {"ignored": mptcp.ignored}
    if mptcp.seen & (1 << MP_CAPABLE):
        found["mp_capable"] = _describe_capable(&mptcp)
    if mptcp.seen & (1 << MP_JOIN):
        found["mp_join"] = _describe_join(&mptcp)
    if mptcp.seen & (1 << MP_DSS):
        found["dss"] = _describe_dss(&mptcp)
    if mptcp.seen & (1 << MP_ADD_ADDR):
        found["add_addr"] = _option_bytes(&tcp, mptcp.add_addr_index)
    if mptcp.seen & (1 << MP_REMOVE_ADDR):
        found["remove_addr"] = _option_bytes(&tcp, mptcp.remove_addr_index)
    if mptcp.seen & (1 << MP_PRIO):
        found["mp_prio"] = bool(mptcp.prio_backup)
    if mptcp.seen & (1 << MP_FAIL):
        found["mp_fail"] = mptcp.fail_data_seq
    if mptcp.seen & (1 << MP_FASTCLOSE):
        found["mp_fastclose"] = mptcp.fastclose_key
    if mptcp.seen & (1 << MP_TCPRST):
        found["mp_tcprst"] = (mptcp.rst_reason, mptcp.rst_flags)
    return found


cdef bytes _option_bytes(const tcp_t *tcp, int index):
    return tcp.mptcp[index][:tcp.mptcp_size[index]]


cdef dict _describe_capable(const mptcp_t *mptcp):
    return {
        "size": mptcp.capable_size,
        "version": mptcp.capable_version,
        "flags": mptcp.capable_flags,
        "key_sender": mptcp.key_sender if mptcp.capable_size >= 12 else None,
        "key_receiver": mptcp.key_receiver if mptcp.capable_size >= 20 else None,
        "data_len": mptcp.capable_data_len if mptcp.capable_size >= 22 else None,
        "checksum": mptcp.capable_checksum if mptcp.capable_size == 24 else None,
    }


cdef dict _describe_join(const mptcp_t *mptcp):
    return {
        "size": mptcp.join_size,
        "backup": bool(mptcp.join_backup),
        "address_id": mptcp.join_address_id,
        "token": mptcp.join_token,
        "nonce": mptcp.join_nonce,
        "hmac64": mptcp.join_hmac64,
        "hmac": mptcp.join_hmac[:20] if mptcp.join_size == 24 else None,
    }


cdef dict _describe_dss(const mptcp_t *mptcp):
    mapped = bool(mptcp.dss_flags & DSS_MAP)
    return {
        "flags": mptcp.dss_flags,
        "data_ack": mptcp.data_ack if mptcp.dss_flags & DSS_ACK else None,
        "data_seq": mptcp.data_seq if mapped else None,
        "subflow_seq": mptcp.subflow_seq if mapped else None,
        "data_len": mptcp.data_len if mapped else None,
        "checksum": mptcp.dss_checksum if mptcp.dss_has_checksum else None,
    }


def emit_dss(uint8_t flags, *, uint64_t data_ack=0, uint64_t data_seq=0, uint32_t subflow_seq=0,
             uint16_t data_len=0, checksum=None):
    """Return a DSS option whose `flags` octet (A, a, M, m, F) says which fields are written."""
    cdef uint8_t out[DSS_SIZE_MAX]
    cdef uint16_t value = 0 if checksum is None else checksum
    cdef uint32_t size = mptcp_emit_dss(out, flags, data_ack, data_seq, subflow_seq, data_len,
                                        checksum is not None, value)
    return out[:size]


def emit_capable_ack(uint8_t flags, uint64_t key_sender, uint64_t key_receiver, data_len=None, checksum=None):
    """Return the MP_CAPABLE of a third ACK, of first data when there is a `data_len` (RFC 8684 §3.1)."""
    cdef uint8_t out[24]
    cdef uint16_t value = 0 if checksum is None else checksum
    cdef uint16_t length = 0 if data_len is None else data_len
    cdef int signed_length = -1 if data_len is None else <int>length
    cdef uint32_t size = mptcp_emit_capable_ack(out, flags, key_sender, key_receiver, signed_length,
                                                checksum is not None, value)
    return out[:size]


def emit_join_ack(bytes hmac not None):
    """Return the MP_JOIN of a third ACK; `hmac` is the leftmost 20 bytes (RFC 8684 §3.2), else ValueError."""
    cdef uint8_t out[24]
    if len(hmac) != 20:
        raise ValueError(f"the HMAC of a third ACK has 20 bytes, not {len(hmac)}")
    return out[:mptcp_emit_join_ack(out, hmac)]


def emit_prio(bint backup):
    """Return an MP_PRIO option (RFC 8684 §3.3.8)."""
    cdef uint8_t out[3]
    return out[:mptcp_emit_prio(out, backup)]


def emit_fail(uint64_t data_seq):
    """Return an MP_FAIL option (RFC 8684 §3.7)."""
    cdef uint8_t out[12]
    return out[:mptcp_emit_fail(out, data_seq)]


def emit_fastclose(uint64_t receiver_key):
    """Return an MP_FASTCLOSE option (RFC 8684 §3.5)."""
    cdef uint8_t out[12]
    return out[:mptcp_emit_fastclose(out, receiver_key)]


def emit_rst(uint8_t reason, uint8_t flags=0):
    """Return an MP_TCPRST option; `flags` is the low nibble, T = 0x01 for a passing cause (RFC 8684 §3.6)."""
    cdef uint8_t out[4]
    return out[:mptcp_emit_rst(out, flags, reason)]


def expand(uint64_t reference, uint32_t value):
    """Return the 64-bit number nearest to `reference` whose low 32 bits are `value` (RFC 8684 §3.3.1)."""
    return expand_data_seq(reference, value)

"""MPTCP options (RFC 8684 §3), version 1, with version 0 (RFC 6824) recognised and never spoken."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from mpcore.wire.tcp cimport tcp_t


cdef enum:
    MPTCP_KIND = 30

    # subtypes
    MP_CAPABLE = 0
    MP_JOIN = 1
    MP_DSS = 2
    MP_ADD_ADDR = 3
    MP_REMOVE_ADDR = 4
    MP_PRIO = 5
    MP_FAIL = 6
    MP_FASTCLOSE = 7
    MP_TCPRST = 8

    # flags octet of DSS (RFC 8684 §3.3)
    DSS_ACK = 0x01
    DSS_ACK64 = 0x02
    DSS_MAP = 0x04
    DSS_SEQ64 = 0x08
    DSS_FIN = 0x10

    # flags octet of MP_CAPABLE (RFC 8684 §3.1)
    CAPABLE_CHECKSUM = 0x80     # A
    CAPABLE_EXTENSION = 0x40    # B, must be 0
    CAPABLE_NO_JOIN = 0x20      # C
    CAPABLE_HMAC_SHA256 = 0x01  # H

    DSS_SIZE_MAX = 28


cdef struct mptcp_t:
    uint16_t seen              # bit 1 << subtype for each well-formed option; the first of a subtype counts
    uint8_t ignored            # options of unknown subtype, of a length RFC 8684 does not give, or repeated
    # MP_CAPABLE: the form is told by capable_size (4, 12, 20, 22, 24)
    uint8_t capable_size
    uint8_t capable_version
    uint8_t capable_flags
    uint64_t key_sender        # capable_size >= 12
    uint64_t key_receiver      # capable_size >= 20
    uint16_t capable_data_len  # 22, 24
    uint16_t capable_checksum  # 24
    # MP_JOIN: the form is told by join_size (12, 16, 24)
    uint8_t join_size
    uint8_t join_backup
    uint8_t join_address_id
    uint32_t join_token        # 12
    uint32_t join_nonce        # 12, 16
    uint64_t join_hmac64       # 16
    const uint8_t *join_hmac   # 24: 20 octets
    # DSS
    uint8_t dss_flags          # DSS_…
    uint8_t dss_has_checksum   # told by the option's length
    uint64_t data_ack          # 32 or 64 bits by DSS_ACK64, not expanded
    uint64_t data_seq          # 32 or 64 bits by DSS_SEQ64, not expanded
    uint32_t subflow_seq       # relative to the subflow's ISN
    uint16_t data_len
    uint16_t dss_checksum
    # others
    uint8_t prio_backup        # MP_PRIO
    uint8_t rst_flags          # MP_TCPRST: low nibble of the subtype octet, T = 0x01
    uint8_t rst_reason
    uint64_t fail_data_seq     # MP_FAIL
    uint64_t fastclose_key     # MP_FASTCLOSE: the receiver's key
    # ADD_ADDR and REMOVE_ADDR stay bytes for the control plane: index into tcp_t.mptcp, -1 where absent
    int add_addr_index
    int remove_addr_index


# Never fails: options that are malformed are left out and counted in `ignored` (RFC 8684 §3).
cdef void mptcp_parse(const tcp_t *tcp, mptcp_t *out) noexcept nogil
# Each emitter writes one option without padding and returns its size. DSS: data_ack is written as 64 bits
# when DSS_ACK64 is in flags, data_seq when DSS_SEQ64 is; a checksum when `has_checksum`.
cdef uint32_t mptcp_emit_dss(uint8_t *out, uint8_t flags, uint64_t data_ack, uint64_t data_seq,
                             uint32_t subflow_seq, uint16_t data_len,
                             int has_checksum, uint16_t checksum) noexcept nogil
# MP_CAPABLE of 20 octets (data_len < 0), 22 (has_checksum 0) or 24.
cdef uint32_t mptcp_emit_capable_ack(uint8_t *out, uint8_t flags, uint64_t key_sender, uint64_t key_receiver,
                                     int data_len, int has_checksum, uint16_t checksum) noexcept nogil
cdef uint32_t mptcp_emit_join_ack(uint8_t *out, const uint8_t *hmac20) noexcept nogil
cdef uint32_t mptcp_emit_prio(uint8_t *out, int backup) noexcept nogil
cdef uint32_t mptcp_emit_fail(uint8_t *out, uint64_t data_seq) noexcept nogil
cdef uint32_t mptcp_emit_fastclose(uint8_t *out, uint64_t receiver_key) noexcept nogil
cdef uint32_t mptcp_emit_rst(uint8_t *out, uint8_t flags, uint8_t reason) noexcept nogil
# RFC 8684 §3.3.1: a 32-bit data sequence number or DATA_ACK promoted to 64 bits next to `reference`.
cdef uint64_t expand_data_seq(uint64_t reference, uint32_t value) noexcept nogil

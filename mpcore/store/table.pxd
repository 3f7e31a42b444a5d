"""Open-addressing hash table from a TCP 4-tuple to a 64-bit value, keyed against crafted collisions."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t


cdef struct flow_key_t:        # 40 bytes; unused address octets are zero (IPv4 uses the first four)
    uint8_t local[16]
    uint8_t remote[16]
    uint16_t local_port
    uint16_t remote_port
    uint8_t version            # 4 or 6
    uint8_t pad[3]             # zero


cdef struct flow_slot_t:
    flow_key_t key
    uint64_t value
    uint32_t hash              # 0: empty, 1: deleted


cdef struct flow_table_t:      # owner: Engine
    flow_slot_t *slots
    uint32_t mask              # slots - 1
    uint32_t count             # live entries
    uint32_t used              # live and deleted
    uint32_t limit             # most live entries
    uint64_t seed[2]


cdef void flow_key(flow_key_t *out, int version, const uint8_t *local, uint16_t local_port,
                   const uint8_t *remote, uint16_t remote_port) noexcept nogil
# 0, or -1 when memory is short. All memory is taken here; `seed0` and `seed1` are secret random bits.
cdef int table_init(flow_table_t *table, uint32_t limit, uint64_t seed0, uint64_t seed1) noexcept nogil
cdef void table_clear(flow_table_t *table) noexcept nogil
# The value's address, valid until the next insert or remove, or NULL.
cdef uint64_t *table_find(const flow_table_t *table, const flow_key_t *key) noexcept nogil
# 0, or -1 when the table is full, or -2 when the key is there already.
cdef int table_insert(flow_table_t *table, const flow_key_t *key, uint64_t value) noexcept nogil
# 0, or -1 when the key is not there.
cdef int table_remove(flow_table_t *table, const flow_key_t *key) noexcept nogil

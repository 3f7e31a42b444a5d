"""Flow table: linear probing over SipHash-1-3 of the 4-tuple; `FlowTable` is its Python face.

Whoever sends SYNs chooses the keys, so the hash is keyed: without the seed, colliding tuples cannot be
computed (Aumasson and Bernstein, SipHash, 2012; one round a word and three at the end, as other hash tables
use it).
"""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from mpcore.errors import CapacityError

cdef enum:
    SLOT_EMPTY = 0
    SLOT_DELETED = 1
    SLOT_LIVE = 2              # smallest hash of a live slot
    LIMIT_MAX = 0x40000000


cdef void flow_key(flow_key_t *out, int version, const uint8_t *local, uint16_t local_port,
                   const uint8_t *remote, uint16_t remote_port) noexcept nogil:
    cdef size_t size = 4 if version == 4 else 16
    memset(out, 0, sizeof(flow_key_t))
    memcpy(out.local, local, size)
    memcpy(out.remote, remote, size)
    out.local_port = local_port
    out.remote_port = remote_port
    out.version = <uint8_t>version


cdef inline uint64_t rotate(uint64_t value, int bits) noexcept nogil:
    return (value << bits) | (value >> (64 - bits))


cdef inline void sip_round(uint64_t *v) noexcept nogil:
    v[0] += v[1]
    v[2] += v[3]
    v[1] = rotate(v[1], 13) ^ v[0]
    v[3] = rotate(v[3], 16) ^ v[2]
    v[0] = rotate(v[0], 32)
    v[2] += v[1]
    v[0] += v[3]
    v[1] = rotate(v[1], 17) ^ v[2]
    v[3] = rotate(v[3], 21) ^ v[0]
    v[2] = rotate(v[2], 32)


cdef uint32_t key_hash(const flow_table_t *table, const flow_key_t *key) noexcept nogil:
    """Hash of a key, never one of the values that mark a slot without entry."""
    cdef uint64_t v[4]
    cdef uint64_t words[6]
    cdef int i, _
    cdef uint32_t result
    memcpy(words, key, sizeof(flow_key_t))
    words[5] = <uint64_t>sizeof(flow_key_t) << 56
    v[0] = table.seed[0] ^ <uint64_t>0x736f6d6570736575
    v[1] = table.seed[1] ^ <uint64_t>0x646f72616e646f6d
    v[2] = table.seed[0] ^ <uint64_t>0x6c7967656e657261
    v[3] = table.seed[1] ^ <uint64_t>0x7465646279746573
    for i in range(6):
        v[3] ^= words[i]
        sip_round(v)
        v[0] ^= words[i]
    v[2] ^= 0xff
    for _ in range(3):
        sip_round(v)
    result = <uint32_t>(v[0] ^ v[1] ^ v[2] ^ v[3])
    return result if result >= SLOT_LIVE else result + SLOT_LIVE


cdef int table_init(flow_table_t *table, uint32_t limit, uint64_t seed0, uint64_t seed1) noexcept nogil:
    cdef uint64_t slots = 16
    memset(table, 0, sizeof(flow_table_t))
    if limit > LIMIT_MAX:
        return -1
    while slots * 7 < <uint64_t>limit * 10:    # at most 70 % live
        slots *= 2
    table.slots = <flow_slot_t *>calloc(slots, sizeof(flow_slot_t))
    if table.slots == NULL:
        return -1
    table.mask = <uint32_t>(slots - 1)
    table.limit = limit
    table.seed[0] = seed0
    table.seed[1] = seed1
    return 0


cdef void table_clear(flow_table_t *table) noexcept nogil:
    free(table.slots)
    memset(table, 0, sizeof(flow_table_t))


cdef flow_slot_t *slot_of(const flow_table_t *table, const flow_key_t *key, uint32_t hash) noexcept nogil:
    """The live slot of `key`, or NULL. Ends because some slot is always empty."""
    cdef uint32_t index = hash & table.mask
    cdef flow_slot_t *slot = &table.slots[index]
    while slot.hash != SLOT_EMPTY:
        if slot.hash == hash and memcmp(&slot.key, key, sizeof(flow_key_t)) == 0:
            return slot
        index = (index + 1) & table.mask
        slot = &table.slots[index]
    return NULL


cdef uint64_t *table_find(const flow_table_t *table, const flow_key_t *key) noexcept nogil:
    cdef flow_slot_t *slot
    if table.count == 0:
        return NULL
    slot = slot_of(table, key, key_hash(table, key))
    return &slot.value if slot != NULL else NULL


cdef void table_rebuild(flow_table_t *table) noexcept nogil:
    """Drop the deleted slots in place.

    The walk starts behind an empty slot, so an entry is met after all those that probe before it, and can
    only move back, into a slot that the walk has passed.
    """
    cdef uint32_t start = 0, i, index, target
    cdef flow_slot_t moved
    while table.slots[start].hash != SLOT_EMPTY:
        start += 1
    for i in range(1, table.mask + 1):
        index = (start + i) & table.mask
        if table.slots[index].hash == SLOT_DELETED:
            table.slots[index].hash = SLOT_EMPTY
        elif table.slots[index].hash >= SLOT_LIVE:
            moved = table.slots[index]
            table.slots[index].hash = SLOT_EMPTY
            target = moved.hash & table.mask
            while table.slots[target].hash != SLOT_EMPTY:
                target = (target + 1) & table.mask
            table.slots[target] = moved
    table.used = table.count


cdef int table_insert(flow_table_t *table, const flow_key_t *key, uint64_t value) noexcept nogil:
    cdef uint32_t hash, index
    cdef flow_slot_t *slot
    if table.slots == NULL:
        return -1
    hash = key_hash(table, key)
    if slot_of(table, key, hash) != NULL:
        return -2
    if table.count >= table.limit:
        return -1
    # At 7/8 used and at most 70 % live, a rebuild is paid for by removals of 17 % of the slots.
    if <uint64_t>table.used * 8 >= <uint64_t>table.mask * 7:
        table_rebuild(table)
    index = hash & table.mask
    while table.slots[index].hash >= SLOT_LIVE:
        index = (index + 1) & table.mask
    slot = &table.slots[index]
    if slot.hash == SLOT_EMPTY:
        table.used += 1
    table.count += 1
    slot.key = key[0]
    slot.value = value
    slot.hash = hash
    return 0


cdef int table_remove(flow_table_t *table, const flow_key_t *key) noexcept nogil:
    cdef flow_slot_t *slot
    cdef uint32_t index
    if table.count == 0:
        return -1
    slot = slot_of(table, key, key_hash(table, key))
    if slot == NULL:
        return -1
    table.count -= 1
    slot.hash = SLOT_DELETED
    index = <uint32_t>(slot - table.slots)
    if table.slots[(index + 1) & table.mask].hash != SLOT_EMPTY:
        return 0
    while table.slots[index].hash == SLOT_DELETED:    # no probe passes beyond the empty slot: free the tail
        table.slots[index].hash = SLOT_EMPTY
        table.used -= 1
        index = (index - 1) & table.mask
    return 0


@cython.final
cdef class FlowTable:
    """At most `limit` flows, each a TCP 4-tuple with a 64-bit value; `seed` holds 128 secret bits.

    Addresses are 4 or 16 raw bytes, both of one family. Thread-safety: belongs to one thread at a time.
    """

    cdef flow_table_t table

    def __cinit__(self, uint32_t limit, seed=(0, 0)):
        if table_init(&self.table, limit, seed[0], seed[1]) < 0:
            raise MemoryError

    def __dealloc__(self):
        table_clear(&self.table)

    cdef int _key(self, flow_key_t *key, bytes local, uint16_t local_port,
                  bytes remote, uint16_t remote_port) except -1:
        if len(local) != len(remote) or len(local) not in (4, 16):
            raise ValueError("addresses must be 4 or 16 bytes, both of the same length")
        flow_key(key, 4 if len(local) == 4 else 6, local, local_port, remote, remote_port)
        return 0

    def __len__(self):
        return self.table.count

    @property
    def deleted(self):
        """Slots that a removal left behind and that no rebuild took back yet."""
        return self.table.used - self.table.count

    def insert(self, bytes local not None, uint16_t local_port, bytes remote not None, uint16_t remote_port,
               uint64_t value):
        """Add a flow; CapacityError at the limit, KeyError when it is there already."""
        cdef flow_key_t key
        cdef int status
        self._key(&key, local, local_port, remote, remote_port)
        status = table_insert(&self.table, &key, value)
        if status == -1:
            raise CapacityError("the flow table is full: raise its limit or close connections")
        if status < 0:
            raise KeyError((local, local_port, remote, remote_port))

    def find(self, bytes local not None, uint16_t local_port, bytes remote not None, uint16_t remote_port):
        """Return the flow's value, or None."""
        cdef flow_key_t key
        cdef uint64_t *value
        self._key(&key, local, local_port, remote, remote_port)
        value = table_find(&self.table, &key)
        return value[0] if value != NULL else None

    def remove(self, bytes local not None, uint16_t local_port, bytes remote not None, uint16_t remote_port):
        """Remove a flow and tell whether it was there."""
        cdef flow_key_t key
        self._key(&key, local, local_port, remote, remote_port)
        return table_remove(&self.table, &key) == 0

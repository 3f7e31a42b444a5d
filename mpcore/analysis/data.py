"""Data of a subflow and its place in the connection: mappings, retransmissions, reinjections, order.

All of this is as seen at the point of capture: close to the sender it is the order of sending, close to the
receiver that of arrival.
"""

from bisect import bisect_right

from mpcore.analysis.model import MISSED, Check, Connection, Direction, Mapping, Side, Subflow
from mpcore.analysis.packet import Packet
from mpcore.wire.checksum import dss_checksum
from mpcore.wire.values import Dss, MpCapable

HALF_32, FULL_32 = 1 << 31, 1 << 32
HALF_64, FULL_64 = 1 << 63, 1 << 64
REORDER_SUBFLOWS = 32  # what a reordering queue tells apart


def signed(value: int, half: int) -> int:
    """Return a difference of serial numbers as the nearer of its two meanings."""
    value %= 2 * half
    return value - 2 * half if value >= half else value


def offset_of(direction: Direction, data_seq: int, wide: bool) -> int:
    """Return the offset of a data sequence number of 64 or 32 bits (RFC 8684 §3.3.1)."""
    if direction.first is None:
        direction.first = data_seq
    if wide:
        return signed(data_seq - direction.first, HALF_64)
    reference = direction.expected
    return reference + signed(data_seq - direction.first - reference, HALF_32)


def note_acked(direction: Direction, acked: int, time_ns: int) -> None:
    """Take a DATA_ACK (RFC 8684 §3.3.2) of everything below offset `acked`.

    What the receiver acknowledges has arrived, whether the capture has it or not: what it lacks, because
    it dropped packets or saw only some links, must not look like a hole for ever.
    """
    direction.acked = acked if direction.acked is None else max(direction.acked, acked)
    if direction.fin_offset is not None:
        acked = min(acked, direction.fin_offset)  # a DATA_FIN is acknowledged like a byte
    start = direction.expected
    if acked <= start:
        return
    direction.missed_bytes += acked - start - direction.data.overlap(start, acked)
    direction.note(start, acked, MISSED, time_ns)
    direction.expected = direction.data.end_of(acked)


class DataFlow:
    """Takes the segments of one side of one subflow, in the order of the capture."""

    __slots__ = ("_checksum_of", "_covered", "_mapping", "connection", "direction", "side", "subflow")

    def __init__(self, connection: Connection, subflow: Subflow, number: int) -> None:
        self.connection = connection
        self.subflow = subflow
        self.side: Side = subflow.sides[number]
        self.direction: Direction = connection.directions[subflow.direction ^ number]
        self._mapping: Mapping | None = None
        self._checksum_of: Mapping | None = None
        self._covered = bytearray()

    def take_dss(self, packet: Packet, option: Dss) -> None:
        """Note the mapping of a DSS; one of length 0 is infinite (RFC 8684 §3.7)."""
        if option.data_seq is None or option.subflow_seq is None or option.data_len is None:
            return
        offset = offset_of(self.direction, option.data_seq, option.seq64)
        size, checksum = option.data_len - option.data_fin, option.checksum
        if option.data_len == 0:
            self.connection.infinite = self.connection.infinite or packet.number
            size, checksum = HALF_32, None
        if size > 0 and option.subflow_seq:
            position = self._unwrap(option.subflow_seq)
            self._add(Mapping(position, offset, size, option.data_len, checksum))

    def take_capable(self, option: MpCapable) -> None:
        """Note the mapping that an MP_CAPABLE with data implies: the very first byte (RFC 8684 §3.1)."""
        if option.data_len:
            self._add(Mapping(1, 0, option.data_len, option.data_len, option.checksum))

    def take_payload(self, packet: Packet) -> None:
        """Count the payload of a segment and place it."""
        side, size = self.side, packet.payload_size
        position = self._position(packet.seq)
        side.segments += 1
        behind = bool(side.sent.ends) and position < side.sent.ends[-1]
        had = side.sent.add(position, position + size)
        if had:
            side.retransmitted_segments += 1
            side.retransmitted_bytes += had
        elif behind:
            side.late_segments += 1
        side.position = max(side.position, position)
        self._place(packet, position, position + size, new=had < size)

    def _position(self, seq: int) -> int:
        """Return the position of a sequence number, unwrapped; the first byte is 1."""
        if self.side.isn is None:
            self.side.isn = (seq - 1) % FULL_32
        return self._unwrap(seq - self.side.isn)

    def _unwrap(self, relative: int) -> int:
        return self.side.position + signed(relative - self.side.position, HALF_32)

    def _add(self, mapping: Mapping) -> None:
        mappings = self.side.mappings
        current = self._mapping
        if current is not None and (mapping.position, mapping.offset) == (current.position, current.offset):
            return  # repeated in each segment that it covers
        index = bisect_right(mappings, mapping.position, key=_position_of)
        if index and _same_place(mappings[index - 1], mapping):
            self._mapping = mappings[index - 1]
            return
        mappings.insert(index, mapping)
        self.direction.mappings += 1
        self._mapping = mapping

    def _mapping_of(self, position: int) -> Mapping | None:
        current = self._mapping
        if current is not None and 0 <= position - current.position < current.size:
            return current
        index = bisect_right(self.side.mappings, position, key=_position_of) - 1
        if index < 0:
            return None
        found = self.side.mappings[index]
        return found if position - found.position < found.size else None

    def _place(self, packet: Packet, start: int, end: int, *, new: bool) -> None:
        """Place [start, end) of the subflow, mapping by mapping."""
        at = start
        while at < end:
            mapping = self._mapping_of(at)
            if mapping is None:
                self._note_unmapped(packet, end - at)
                return
            stop = min(end, mapping.position + mapping.size)
            if mapping.checksum is not None and new:
                self._sum(mapping, at, packet.payload[at - start : stop - start], stop - at)
            first = mapping.offset + at - mapping.position
            self._note_data(packet, first, first + stop - at, new=new)
            at = stop

    def _note_unmapped(self, packet: Packet, size: int) -> None:
        self.direction.unmapped_bytes += size
        if self.direction.unmapped_packet is None:
            self.direction.unmapped_packet = packet.number

    def _note_data(self, packet: Packet, start: int, end: int, *, new: bool) -> None:
        direction = self.direction
        own = self.side.mapped.add(start, end)
        if not new or own == end - start:
            return
        elsewhere = direction.data.add(start, end)
        direction.reinjected_bytes += elsewhere - own
        direction.pieces += 1
        if start > direction.expected:
            direction.early_pieces += 1
            direction.early_bytes += end - start
        elif end > direction.expected:
            direction.expected = direction.data.end_of(direction.expected)
        direction.note(start, end, (self.subflow.number - 1) % REORDER_SUBFLOWS, packet.time_ns)

    def _sum(self, mapping: Mapping, position: int, payload: bytes, size: int) -> None:
        """Gather the bytes that a DSS checksum covers, and verify it when all are there."""
        if position == mapping.position:
            self._give_up()
            self._checksum_of, self._covered = mapping, bytearray()
        if self._checksum_of is not mapping:
            return
        if position != mapping.position + len(self._covered) or len(payload) < size:
            self._give_up()
            return
        self._covered += payload
        if len(self._covered) == mapping.size:
            self._checksum_of = None
            right = self._checksum(mapping) == mapping.checksum
            self.direction.checksums[Check.RIGHT if right else Check.WRONG] += 1

    def _give_up(self) -> None:
        if self._checksum_of is not None:
            self.direction.checksums[Check.UNKNOWN] += 1
            self._checksum_of = None

    def _checksum(self, mapping: Mapping) -> int:
        # RFC 8684 §3.3.1: the pseudo-header has 64 bits of the data sequence number, whatever was sent.
        data_seq = ((self.direction.first or 0) + mapping.offset) % FULL_64
        subflow_seq = mapping.position % FULL_32
        return dss_checksum(data_seq, subflow_seq, mapping.data_len, bytes(self._covered))


def _position_of(mapping: Mapping) -> int:
    return mapping.position


def _same_place(one: Mapping, other: Mapping) -> bool:
    return (one.position, one.offset, one.size) == (other.position, other.offset, other.size)

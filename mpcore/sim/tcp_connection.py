"""One connection of the model host's TCP: what the program's kernel socket does, from SYN to TIME_WAIT (RFC 9293)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from mpcore.sim.clock import Clock, Timer
from mpcore.sim.packets import ACK, FIN, PSH, RST, SYN, Flow
from mpcore.sim.tcp_receiver import Receiver
from mpcore.sim.tcp_sender import SEQUENCE_SPAN, Chunk, Sender, expand
from mpcore.sim.tcp_settings import TcpSettings
from mpcore.sim.tcp_states import SYNCHRONIZED, WRITABLE, Input, State, step
from mpcore.sim.tcp_timing import Reno, RoundTrip
from mpcore.wire.values import (
    MaxSegmentSize,
    Sack,
    SackPermitted,
    Segment,
    TcpOption,
    Timestamps,
    WindowScale,
    emit_segment,
)

_NS_PER_MS = 1_000_000
_MAX_SCALE = 14  # RFC 7323 §2.3
_TIMESTAMP_OPTION_BYTES = 12
_DEFAULT_MSS = 536


class App:
    """What a program does with a connection; every method is optional."""

    def on_established(self, connection: TcpConnection) -> None:
        """The handshake is over."""

    def on_readable(self, connection: TcpConnection) -> None:
        """Bytes may be read."""

    def on_writable(self, connection: TcpConnection) -> None:
        """The send buffer has room again."""

    def on_end(self, connection: TcpConnection) -> None:
        """The peer will send no more; what is readable may still be read."""

    def on_closed(self, connection: TcpConnection, error: str | None) -> None:
        """The connection is gone: None after an orderly end, else "reset" or "timed out"."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What a connection needs from its host."""

    clock: Clock
    rng: Random
    settings: TcpSettings
    counters: Counter[str]
    output: Callable[[bytes, int], None]  # packet, most payload per packet on the wire
    forget: Callable[[Flow], None]


class TcpConnection:
    """A socket. Programs use connect() or a listener of the host, then write, read, shutdown and abort."""

    def __init__(self, flow: Flow, app: App, env: Environment) -> None:
        self.flow = flow
        self.app = app
        self.state = State.CLOSED
        self.retransmissions = 0
        isn = env.settings.isn
        self.sender = Sender(env.rng.getrandbits(32) if isn is None else isn, env.settings)
        self.receiver = Receiver(0, env.settings)
        self.round_trip = RoundTrip(env.settings)
        self._env = env
        self._clock = env.clock
        self._settings = env.settings
        self._congestion = Reno(_DEFAULT_MSS)
        self._peer_scale = 0
        self._scaling = env.settings.window_scale is not None
        self._sack = env.settings.sack
        self._timestamps = env.settings.timestamps
        self._timestamp_base = env.rng.getrandbits(32)
        self._timestamp_recent = 0
        self._retries = 0
        self._unacknowledged = 0  # payload bytes since our last ACK
        self._retransmit = Timer(env.clock, self._on_retransmit_timer)
        self._delayed_ack = Timer(env.clock, self._acknowledge)
        self._time_wait = Timer(env.clock, lambda: self._end(None))

    # What programs call.

    def write(self, data: bytes) -> int:
        """Hand over bytes; returns how many were taken, which is none after shutdown()."""
        if self.state not in WRITABLE:
            return 0
        taken = self.sender.write(data)
        self._push()
        return taken

    def read(self, size: int = 1 << 30) -> bytes:
        """Take up to `size` bytes of what has come."""
        data = self.receiver.read(size)
        if data and self.state in SYNCHRONIZED and self.receiver.update_due(self.sender.mss):
            self._acknowledge()
        return data

    def shutdown(self) -> None:
        """Write no more: a FIN follows the last byte. Reading goes on. Before the handshake is over it does nothing."""
        if self.state in (State.ESTABLISHED, State.CLOSE_WAIT):
            self.state = step(self.state, Input.SHUTDOWN)
            self.sender.finish()
            self._push()

    def abort(self) -> None:
        """Forget everything and tell the peer by a RST."""
        if self.state in SYNCHRONIZED or self.state is State.SYN_RECEIVED:
            self._send(RST | ACK, self.sender.sent)
        self._end(None)

    # What the host calls.

    def open(self) -> None:
        """Send the SYN."""
        self.state = step(self.state, Input.CONNECT)
        self._send_syn()

    def accept(self, segment: Segment) -> None:
        """Answer a SYN."""
        self.state = step(self.state, Input.ACCEPT)
        self._learn(segment)
        self._send_syn()

    def handle(self, segment: Segment) -> None:
        """Take a segment of this flow."""
        if self.state is State.SYN_SENT:
            self._handle_in_syn_sent(segment)
            return
        offset = expand(segment.seq, self.receiver.irs, self.receiver.next)
        if self._refused(segment, offset):
            return
        if segment.flags & ACK and self._handle_ack(segment, offset) and self.state is not State.CLOSED:
            self._handle_payload(segment, offset)
            self._push()

    # Arriving segments.

    def _handle_in_syn_sent(self, segment: Segment) -> None:
        """RFC 9293 §3.10.7.3; simultaneous open is not modelled."""
        acked = bool(segment.flags & ACK) and expand(segment.ack, self.sender.isn, 0) == 1
        if segment.flags & RST:
            if acked:
                self._end("reset")
        elif segment.flags & SYN and acked:
            self._learn(segment)
            self._establish(segment)
            self._acknowledge()
            self._push()
        elif segment.flags & ACK and not acked:
            self._env.counters["bad_acks"] += 1
            self._emit(segment.ack, 0, RST, 0, (), b"")

    def _refused(self, segment: Segment, offset: int) -> bool:
        """Check sequence, RST and SYN in the order of RFC 9293 §3.10.7.4 and RFC 5961; True ends the processing."""
        length = len(segment.payload) + bool(segment.flags & FIN)
        if segment.flags & SYN and self.state is State.SYN_RECEIVED and offset == 0:
            self._send_syn()
        elif self._outdated(segment):
            self._env.counters["paws_rejected"] += 1
            self._acknowledge()
        elif not segment.flags & SYN and not self.receiver.acceptable(offset, length):
            self._env.counters["out_of_window"] += 1
            if not segment.flags & RST:
                self._acknowledge()
        elif segment.flags & RST:
            self._handle_reset(offset)
        elif segment.flags & SYN:
            self._env.counters["challenge_acks"] += 1
            self._acknowledge()
        else:
            return False
        return True

    def _handle_reset(self, offset: int) -> None:
        """Only the exact number resets (RFC 5961 §3.2)."""
        if offset == self.receiver.next:
            self._env.counters["resets_received"] += 1
            self._end("reset")
        else:
            self._env.counters["challenge_acks"] += 1
            self._acknowledge()

    def _outdated(self, segment: Segment) -> bool:
        """RFC 7323 §5: a timestamp older than the newest one seen in order."""
        stamp = segment.find(Timestamps)
        if not self._timestamps or segment.flags & RST:
            return False
        if stamp is None:
            self._env.counters["timestamps_missing"] += 1
            return False
        return _before(stamp.value, self._timestamp_recent)

    def _handle_ack(self, segment: Segment, offset: int) -> bool:
        """Take acknowledgement and window; False when the segment shall be dropped."""
        ack = expand(segment.ack, self.sender.isn, self.sender.una)
        if ack > self.sender.sent:
            self._env.counters["bad_acks"] += 1
            self._acknowledge()
            return False
        if self.state is State.SYN_RECEIVED:
            if ack < 1:
                return False
            self._establish(segment)
        self._note_timestamp(segment, offset)
        moved = self.sender.update_window(offset, ack, segment.window << self._peer_scale)
        if ack > self.sender.una:
            self._handle_new_ack(segment, ack)
        elif ack == self.sender.una and self.sender.outstanding and not segment.payload and not moved:
            self._handle_duplicate_ack()
        elif not self.sender.outstanding:
            self._handle_probe_answer(moved)
        return True

    def _handle_new_ack(self, segment: Segment, ack: int) -> None:
        newly = self.sender.acknowledge(ack)
        self._retries = self.round_trip.backoff = 0
        stamp = segment.find(Timestamps)
        if self._timestamps and stamp is not None and stamp.echo:
            age_ms = (self._timestamp() - stamp.echo) % SEQUENCE_SPAN
            self.round_trip.sample(age_ms * _NS_PER_MS)
        self._arm_retransmit(restart=True)
        if self._congestion.acknowledged(newly, self.sender.una):
            self._resend_first()
        if self.sender.fin_acked:
            self._on_fin_acked()
        elif self.state in WRITABLE and self.sender.room:
            self.app.on_writable(self)

    def _handle_duplicate_ack(self) -> None:
        self._env.counters["duplicate_acks"] += 1
        if (
            self._congestion.duplicate(self.sender.outstanding, self.sender.sent)
            and self._settings.congestion
        ):
            self._env.counters["fast_retransmissions"] += 1
            self._resend_first()

    def _handle_probe_answer(self, moved: bool) -> None:
        """A peer that answers may keep its window closed for ever (RFC 9293 §3.8.6.1)."""
        self._retries = 0
        if moved:
            self._retransmit.stop()
            self.round_trip.backoff = 0

    def _handle_payload(self, segment: Segment, offset: int) -> None:
        fin = bool(segment.flags & FIN)
        if not segment.payload and not fin:
            return
        was_finished = self.receiver.finished
        in_order = self.receiver.accept(offset, segment.payload, fin)
        self._unacknowledged += len(segment.payload)
        if in_order:
            self._env.counters["bytes_received"] += in_order
            self.app.on_readable(self)
        if self.state is State.CLOSED:
            return
        if self.receiver.finished and not was_finished:
            self._on_peer_fin()
        elif self._settings.quick_ack or not in_order or self.receiver.has_holes or self._two_segments_wait():
            self._acknowledge()
        elif self._unacknowledged and not self._delayed_ack.armed:
            self._delayed_ack.start(self._settings.delayed_ack_ns)

    def _two_segments_wait(self) -> bool:
        """RFC 9293 §3.8.6.3: an ACK at least for every second full segment."""
        return self._unacknowledged >= 2 * self.sender.mss

    def _note_timestamp(self, segment: Segment, offset: int) -> None:
        """RFC 7323 §4.3: echo the stamp of the segment that our ACK will cover first."""
        stamp = segment.find(Timestamps)
        if stamp is not None and offset <= self.receiver.acknowledged:
            self._timestamp_recent = stamp.value

    # Steps between states.

    def _learn(self, segment: Segment) -> None:
        """Take what the peer's SYN offers."""
        self.receiver = Receiver(segment.seq, self._settings)
        size = segment.find(MaxSegmentSize)
        scale = segment.find(WindowScale)
        stamp = segment.find(Timestamps)
        self._scaling = self._scaling and scale is not None
        self._sack = self._sack and segment.find(SackPermitted) is not None
        self._timestamps = self._timestamps and stamp is not None
        if scale is not None and self._scaling:
            self._peer_scale = min(scale.shift, _MAX_SCALE)
            self.receiver.scale = self._settings.window_scale or 0
        if stamp is not None:
            self._timestamp_recent = stamp.value
        announced = min(_DEFAULT_MSS if size is None else size.value, self._own_mss())
        self.sender.mss = announced - (_TIMESTAMP_OPTION_BYTES if self._timestamps else 0)
        self._congestion = Reno(self.sender.mss)

    def _establish(self, segment: Segment) -> None:
        window = segment.window if segment.flags & SYN else segment.window << self._peer_scale
        self.sender.acknowledge(1)
        self.sender.update_window(0, 1, window)
        self._retries = self.round_trip.backoff = 0
        self._retransmit.stop()
        self.state = step(self.state, Input.ESTABLISH)
        self._env.counters["established"] += 1
        self.app.on_established(self)

    def _on_peer_fin(self) -> None:
        self.state = step(self.state, Input.PEER_FIN)
        self._acknowledge()
        self._enter_time_wait_if_due()
        self.app.on_end(self)

    def _on_fin_acked(self) -> None:
        if (self.state, Input.FIN_ACKED) in _FIN_ACKED_STEPS:
            self.state = step(self.state, Input.FIN_ACKED)
            if self.state is State.CLOSED:
                self._end(None)
            self._enter_time_wait_if_due()

    def _enter_time_wait_if_due(self) -> None:
        if self.state is State.TIME_WAIT and not self._time_wait.armed:
            self._retransmit.stop()
            self._time_wait.start(self._settings.time_wait_ns)

    def _end(self, error: str | None) -> None:
        for timer in (self._retransmit, self._delayed_ack, self._time_wait):
            timer.stop()
        self.state = step(self.state, Input.END)
        self._env.forget(self.flow)
        self.app.on_closed(self, error)

    # Departing segments.

    def _push(self) -> None:
        """Send what the windows allow."""
        if self.state not in SYNCHRONIZED:
            return
        while chunk := self.sender.next_chunk(self._congestion.window if self._settings.congestion else None):
            self._send_chunk(chunk)
        self._arm_retransmit()

    def _resend_first(self) -> None:
        if self.sender.una < self.sender.sent:
            self._send_chunk(self.sender.first_chunk())

    def _send_chunk(self, chunk: Chunk) -> None:
        if self.sender.mark_sent(chunk):
            self.retransmissions += 1
            self._env.counters["retransmissions"] += 1
        flags = ACK | (PSH if chunk.last and chunk.payload else 0) | (FIN if chunk.fin else 0)
        self._env.counters["bytes_sent"] += len(chunk.payload)
        self._send(flags, chunk.offset, chunk.payload)

    def _acknowledge(self) -> None:
        """Send an empty segment."""
        self._send(ACK, self.sender.sent)

    def _send_syn(self) -> None:
        """Send SYN or SYN/ACK and wait for the answer."""
        flags = SYN if self.state is State.SYN_SENT else SYN | ACK
        self.sender.next = self.sender.sent = 1
        self._send(flags, 0)
        self._retransmit.start(self._settings.rto_initial_ns << self._retries)

    def _send(self, flags: int, offset: int, payload: bytes = b"") -> None:
        """Emit a segment; whatever it is, it acknowledges."""
        scaled = not flags & SYN
        window = self.receiver.window_field(scaled=scaled)
        ack = self.receiver.wire_ack() if flags & ACK else 0
        self._unacknowledged = 0
        self._delayed_ack.stop()
        seq = (self.sender.isn + offset) % SEQUENCE_SPAN
        self._emit(seq, ack, flags, window, self._options(flags), payload)

    def _emit(
        self, seq: int, ack: int, flags: int, window: int, options: tuple[TcpOption, ...], payload: bytes
    ) -> None:
        flow = self.flow
        version = 4 if len(flow.local) == 4 else 6
        segment = Segment(
            version,
            flow.local,
            flow.remote,
            flow.local_port,
            flow.remote_port,
            seq,
            ack,
            flags,
            window,
            options,
            payload,
        )
        self._env.counters["segments_sent"] += 1
        self._env.output(emit_segment(segment), self.sender.mss)

    def _options(self, flags: int) -> tuple[TcpOption, ...]:
        stamps = (Timestamps(self._timestamp(), self._timestamp_recent),) if self._timestamps else ()
        if flags & SYN:
            return (*self._syn_options(), *stamps)
        blocks = self.receiver.sack_blocks() if self._sack and not flags & RST else ()
        return (*stamps, Sack(blocks)) if blocks else stamps

    def _syn_options(self) -> tuple[TcpOption, ...]:
        sack = (SackPermitted(),) if self._sack else ()
        scale = (WindowScale(self._settings.window_scale or 0),) if self._scaling else ()
        return (MaxSegmentSize(self._own_mss()), *sack, *scale)

    def _own_mss(self) -> int:
        return self._settings.mtu - (40 if len(self.flow.local) == 4 else 60)

    def _timestamp(self) -> int:
        """Return the timestamp clock: a millisecond a tick from a random start, as in Linux."""
        return (self._timestamp_base + self._clock.now_ns // _NS_PER_MS) % SEQUENCE_SPAN

    # Time.

    def _arm_retransmit(self, *, restart: bool = False) -> None:
        """Wait for an ACK, or with a closed window for its opening."""
        if not self.sender.outstanding and self.sender.end <= self.sender.next:
            self._retransmit.stop()
        elif restart or not self._retransmit.armed:
            self._retransmit.start(self.round_trip.timeout_ns())

    def _on_retransmit_timer(self) -> None:
        handshake = self.state in (State.SYN_SENT, State.SYN_RECEIVED)
        self._retries += 1
        if self._retries > (self._settings.syn_retries if handshake else self._settings.data_retries):
            self._env.counters["timed_out"] += 1
            self._end("timed out")
        elif handshake:
            self.retransmissions += 1
            self._env.counters["syn_retransmissions"] += 1
            self._send_syn()
        else:
            self.round_trip.backoff += 1
            self._on_timeout() if self.sender.outstanding else self._probe_window()

    def _on_timeout(self) -> None:
        self._env.counters["timeouts"] += 1
        self._congestion.timed_out(self.sender.outstanding)
        self.sender.rewind()
        self._resend_first()
        self._push()

    def _probe_window(self) -> None:
        """Draw an ACK by a segment without data from before the window, as Linux does (RFC 9293 §3.8.6.1)."""
        self._env.counters["window_probes"] += 1
        self._send(ACK, self.sender.una - 1)
        self._arm_retransmit()


_FIN_ACKED_STEPS = frozenset(
    (state, Input.FIN_ACKED) for state in (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK)
)


def _before(value: int, other: int) -> bool:
    return (value - other) % SEQUENCE_SPAN >= SEQUENCE_SPAN // 2

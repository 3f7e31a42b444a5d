"""One connection of the model host's TCP: what a kernel socket does, from SYN to TIME_WAIT (RFC 9293)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from mpcore.sim.clock import Clock, Timer
from mpcore.sim.packets import ACK, CWR, ECE, FIN, PSH, RST, SYN, Flow
from mpcore.sim.rng import Random
from mpcore.sim.tcp_app import App
from mpcore.sim.tcp_options import Options
from mpcore.sim.tcp_receiver import Receiver
from mpcore.sim.tcp_sender import SEQUENCE_SPAN, Chunk, Sender, expand
from mpcore.sim.tcp_settings import TcpSettings
from mpcore.sim.tcp_states import SYNCHRONIZED, TRANSITIONS, WRITABLE, Input, State, step
from mpcore.sim.tcp_timing import Reno, RoundTrip
from mpcore.wire.values import Segment, TcpOption, Timestamps, emit_segment


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
        self._settings = env.settings
        self._options = Options(env.settings, env.rng, ipv6=len(flow.local) == 16)
        self._congestion = Reno(self._options.mss)
        self._ecn = env.settings.ecn
        self._retries = 0
        self._unacknowledged = 0  # payload bytes since our last ACK
        self._retransmit = Timer(env.clock, self._on_retransmit_timer)
        self._delayed_ack = Timer(env.clock, self._acknowledge)
        self._time_wait = Timer(env.clock, lambda: self._end(None))

    # What programs call.

    @property
    def readable(self) -> int:
        """Bytes that read() would return."""
        return self.receiver.readable

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
        if data and self.state in SYNCHRONIZED and self.receiver.update_due(self._options.mss):
            self._acknowledge()
        return data

    def shutdown(self) -> None:
        """Write no more: a FIN follows the last byte, reading goes on. Does nothing during the handshake."""
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

    def accept(self, syn: Segment) -> None:
        """Answer a SYN."""
        self.state = step(self.state, Input.ACCEPT)
        self._agree(syn)
        self._send_syn()

    def handle(self, segment: Segment) -> None:
        """Take a segment of this flow."""
        if self.state is State.SYN_SENT:
            self._handle_in_syn_sent(segment)
            return
        offset = expand(segment.seq, self.receiver.irs, self.receiver.next)
        if self._refused(segment, offset) or not segment.flags & ACK:
            return
        if self._handle_ack(segment, offset):
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
            self._agree(segment)
            self._establish(segment, segment.window)
            self._acknowledge()
            self.app.on_established(self)
        elif segment.flags & ACK and not acked:
            self._env.counters["bad_acks"] += 1
            self._emit(segment.ack, 0, RST, 0, (), b"")

    def _refused(self, segment: Segment, offset: int) -> bool:
        """Check sequence, RST and SYN as RFC 9293 §3.10.7.4 and RFC 5961 order; True ends the processing."""
        length = len(segment.payload) + bool(segment.flags & FIN)
        if segment.flags & SYN and self.state is State.SYN_RECEIVED and offset == 0:
            self._send_syn()
        elif self._outdated(segment):
            self._challenge("paws_rejected")
        elif segment.flags & RST:
            self._handle_reset(offset)
        elif segment.flags & SYN:
            self._challenge("challenge_acks")
        elif not self.receiver.acceptable(offset, length):
            self._challenge("out_of_window")
        else:
            return False
        return True

    def _challenge(self, reason: str) -> None:
        """Refuse a segment and tell the peer where we are."""
        self._env.counters[reason] += 1
        self._acknowledge()

    def _handle_reset(self, offset: int) -> None:
        """Only the exact number resets (RFC 5961 §3.2); one outside the window is not even answered."""
        if offset == self.receiver.next:
            self._env.counters["resets_received"] += 1
            self._end("reset")
        elif self.receiver.acceptable(offset, 0):
            self._challenge("challenge_acks")
        else:
            self._env.counters["out_of_window"] += 1

    def _outdated(self, segment: Segment) -> bool:
        """Protect against wrapped sequence numbers (RFC 7323 §5.3)."""
        if not self._options.timestamps or segment.flags & RST:
            return False
        stamp = segment.find(Timestamps)
        if stamp is None:
            self._env.counters["timestamps_missing"] += 1
            return False
        return self._options.outdated(stamp)

    def _handle_ack(self, segment: Segment, offset: int) -> bool:
        """Take acknowledgement and window; False when the segment shall be dropped."""
        ack = expand(segment.ack, self.sender.isn, self.sender.una)
        if ack > self.sender.sent or (self.state is State.SYN_RECEIVED and ack < 1):
            self._challenge("bad_acks")
            return False
        if self.state is State.SYN_RECEIVED:
            self._establish(segment, segment.window << self._options.peer_scale)
            self.app.on_established(self)
        self._note_timestamp(segment, offset)
        moved = self.sender.update_window(offset, ack, segment.window << self._options.peer_scale)
        if ack > self.sender.una:
            self._handle_new_ack(segment, ack)
        elif not self.sender.outstanding:
            self._handle_probe_answer(moved)
        elif ack == self.sender.una and not segment.payload and not segment.flags & FIN and not moved:
            self._handle_duplicate_ack()
        return self.state is not State.CLOSED

    def _handle_new_ack(self, segment: Segment, ack: int) -> None:
        newly = self.sender.acknowledge(ack)
        self._retries = self.round_trip.backoff = 0
        self._sample_round_trip(segment)
        self._arm_retransmit(restart=True)
        if self._congestion.acknowledged(newly, self.sender.una) and self._settings.congestion:
            self._resend_first()
        if self.sender.fin_acked:
            self._on_fin_acked()
        elif self.state in WRITABLE and self.sender.room:
            self.app.on_writable(self)

    def _sample_round_trip(self, segment: Segment) -> None:
        """RFC 7323 §4.1: the echoed stamp says when what is acknowledged was sent."""
        stamp = segment.find(Timestamps)
        if self._options.timestamps and stamp is not None and stamp.echo:
            self.round_trip.sample(self._options.round_trip_ns(stamp, self._env.clock.now_ns))

    def _handle_duplicate_ack(self) -> None:
        self._env.counters["duplicate_acks"] += 1
        starts = self._congestion.duplicate(self.sender.outstanding, self.sender.sent)
        if starts and self._settings.congestion:
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
        return self._unacknowledged >= 2 * self._options.mss

    def _note_timestamp(self, segment: Segment, offset: int) -> None:
        """RFC 7323 §4.3: echo the stamp of the segment that our ACK will cover first."""
        stamp = segment.find(Timestamps)
        if stamp is not None and offset <= self.receiver.acknowledged:
            self._options.note(stamp)

    # Steps between states.

    def _agree(self, syn: Segment) -> None:
        self._options.agree(syn)
        self._ecn = self._ecn and bool(syn.flags & ECE)
        self.receiver = Receiver(syn.seq, self._settings)
        self.receiver.scale = self._options.local_scale
        self.sender.mss = self._options.mss
        self._congestion = Reno(self._options.mss)

    def _establish(self, segment: Segment, window: int) -> None:
        self._sample_round_trip(segment)
        self.sender.acknowledge(1)
        self.sender.update_window(0, 1, window)
        self._retries = self.round_trip.backoff = 0
        self._retransmit.stop()
        self.state = step(self.state, Input.ESTABLISH)
        self._env.counters["established"] += 1

    def _on_peer_fin(self) -> None:
        self.state = step(self.state, Input.PEER_FIN)
        self._acknowledge()
        self._enter_time_wait_if_due()
        self.app.on_end(self)

    def _on_fin_acked(self) -> None:
        if (self.state, Input.FIN_ACKED) not in TRANSITIONS:
            return
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
        flags = SYN | ACK | (ECE if self._ecn else 0)
        if self.state is State.SYN_SENT:
            flags = SYN | (ECE | CWR if self._ecn else 0)
        self.sender.next = self.sender.sent = 1
        self._send(flags, 0)
        self._retransmit.start(self._settings.rto_initial_ns << self._retries)

    def _send(self, flags: int, offset: int, payload: bytes = b"") -> None:
        """Emit a segment; whatever it is, it acknowledges."""
        window = self.receiver.window_field(scaled=not flags & SYN)
        ack = self.receiver.wire_ack() if flags & ACK else 0
        self._unacknowledged = 0
        self._delayed_ack.stop()
        # Holes are reported by empty segments alone: a full one has no room for them.
        options = self._options.of_segment(flags, None if payload else self.receiver, self._env.clock.now_ns)
        self._emit((self.sender.isn + offset) % SEQUENCE_SPAN, ack, flags, window, options, payload)

    def _emit(
        self, seq: int, ack: int, flags: int, window: int, options: tuple[TcpOption, ...], payload: bytes
    ) -> None:
        src, src_port, dst, dst_port = self.flow
        version = 4 if len(src) == 4 else 6
        segment = Segment(version, src, dst, src_port, dst_port, seq, ack, flags, window, options, payload)
        self._env.counters["segments_sent"] += 1
        self._env.output(emit_segment(segment), self._options.mss)

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

"""Two hosts with two addresses each, or one core alone with a peer made of messages."""

import msgspec

from mpcore.shim6.context import Context
from mpcore.shim6.counters import Shim6Counter
from mpcore.shim6.effects import SendMessage
from mpcore.shim6.manager import Shim6Manager
from mpcore.shim6.records import ContextRecord, record_of
from mpcore.shim6.settings import SECOND, Shim6Settings
from mpcore.sim import rng
from mpcore.sim.shim6 import Cloud, CloudSettings, Packet, Shim6Node
from mpcore.sim.shim6_identity import ToyVerifier, toy_identities
from mpcore.wire.shim6 import (
    CgaParameterData,
    LocatorList,
    Message,
    Shim6Option,
    emit_message,
    parse_message,
)


def address(network: int, host: int) -> bytes:
    """2001:db8:NETWORK::HOST."""
    return bytes.fromhex("20010db8") + network.to_bytes(2) + bytes(8) + host.to_bytes(2)


A1, A2 = address(1, 0xA1), address(2, 0xA1)
B1, B2 = address(3, 0xB1), address(4, 0xB1)
C1, C2 = address(5, 0xC1), address(6, 0xC1)


class Pairing:
    """Hosts a (A1, A2) and b (B1, B2) on one cloud."""

    def __init__(
        self,
        seed: int = 0,
        *,
        cloud: CloudSettings | None = None,
        settings_a: Shim6Settings | None = None,
        settings_b: Shim6Settings | None = None,
    ) -> None:
        self.cloud = Cloud(seed, cloud)
        self.a = self.cloud.add_node("a", [A1, A2], settings_a)
        self.b = self.cloud.add_node("b", [B1, B2], settings_b)
        self.messages: list[tuple[int, bytes, bytes, Message]] = []
        self.cloud.watch = self._watch
        self._talking = 0

    def _watch(self, packet: Packet) -> None:
        if packet.data is not None:
            message = parse_message(packet.data)
            self.messages.append((self.cloud.clock.now_ns, packet.source, packet.destination, message))

    @property
    def kinds(self) -> list[str]:
        return [type(message).__name__ for *_, message in self.messages]

    def establish(self) -> None:
        self.a.establish(A1, B1)
        assert self.cloud.run(30, lambda: self.both("established"))
        self.cloud.run(0.1)
        self.messages.clear()

    def context(self, node: Shim6Node) -> Context | None:
        return node.manager.find(A1, B1) if node is self.a else node.manager.find(B1, A1)

    def both(self, state: str) -> bool:
        contexts = (self.context(self.a), self.context(self.b))
        return all(context is not None and context.state == state for context in contexts)

    def converse(self, *, every_s: float = 0.1, answers: bool = True) -> None:
        """Let a say something to b again and again, and b answer."""
        self._talking += 1
        mine = self._talking
        if answers:
            self.b.on_payload = lambda packet: self.b.say(packet.destination, packet.source, packet.content)

        def speak() -> None:
            if self._talking == mine:
                self.a.say(A1, B1, self.cloud.clock.now_ns)
                self.cloud.clock.call_later(round(every_s * SECOND), speak)

        speak()

    def silence(self) -> None:
        self._talking += 1

    def answered(self) -> bool:
        """Whether something said from now on was answered, when asked again later."""
        return bool(self.a.received) and self.a.received[-1][1] >= self._since_ns

    def recovers(self, within_s: float) -> bool:
        """Whether a question put from now on gets its answer in time."""
        self.cloud.run(0.2)  # what is under way arrives
        self._since_ns = self.cloud.clock.now_ns
        return self.cloud.run(within_s, self.answered)


def remembered(node: Shim6Node) -> list[ContextRecord]:
    """Return what a host finds again after a restart, as it comes from the bytes of a file."""
    records = [record_of(context) for context in node.manager.contexts()]
    kept = [msgspec.msgpack.encode(record) for record in records if record is not None]
    return [msgspec.msgpack.decode(data, type=ContextRecord) for data in kept]


def count(manager: Shim6Manager, counter: Shim6Counter) -> int:
    return manager.counters()[counter.mib]


class Lone:
    """A core of host a (A1, A2), and a peer b (B1, B2) whose messages the test writes."""

    def __init__(self, settings: Shim6Settings | None = None, seed: int = 0) -> None:
        self.verifier = ToyVerifier()
        self.settings = settings or Shim6Settings()
        self.manager = Shim6Manager(self.settings, rng=rng.stream(seed, "lone"), verifier=self.verifier)
        self.now_ns = 0
        for one in (A1, A2):
            self.manager.set_local_address(one, True, 0)
        for identity in toy_identities("a", [A1, A2]):
            self.manager.set_identity(identity, 0)
        self.sent: list[tuple[bytes, bytes, Message]] = []
        self.effects: list[object] = []
        self.drain()
        self.sent.clear()

    def drain(self) -> list[Message]:
        """Collect what the core sends; returns the messages of this time."""
        fresh: list[Message] = []
        while (effect := self.manager.poll_effect()) is not None:
            if isinstance(effect, SendMessage):
                message = parse_message(effect.data)
                self.sent.append((effect.source, effect.destination, message))
                fresh.append(message)
            else:
                self.effects.append(effect)
        return fresh

    def hear(self, message: Message, source: bytes = B1, destination: bytes = A1) -> list[Message]:
        """Let the core receive a message; returns what it sends at once."""
        self.manager.handle_control(source, destination, emit_message(message), self.now_ns)
        return self.drain()

    def wait_until(self, time_ns: int) -> list[Message]:
        """Let time pass with all its timers; returns what was sent."""
        fresh: list[Message] = []
        while (due_ns := self.manager.poll_timeout()) is not None and due_ns <= time_ns:
            self.now_ns = max(self.now_ns, due_ns)
            self.manager.handle_timeout(self.now_ns)
            fresh += self.drain()
        self.now_ns = time_ns
        return fresh

    def wait(self, seconds: float) -> list[Message]:
        return self.wait_until(self.now_ns + round(seconds * SECOND))

    def context(self) -> Context:
        context = self.manager.find(A1, B1)
        assert context is not None
        return context

    def count(self, counter: Shim6Counter) -> int:
        return count(self.manager, counter)


def peer_options(
    generation: int = 7, owner: str = "b", ulids: tuple[bytes, ...] = (B1, B2)
) -> tuple[Shim6Option, ...]:
    """Locator list and parameters of host b."""
    identity = toy_identities(owner, ulids)[0]
    assert identity.parameters is not None
    return (LocatorList(generation, identity.locators), CgaParameterData(identity.parameters))

"""Shim6, shown: a download, a UDP stream and a ping between two hosts while the path in use falls silent."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

from mpcore.lab.commands import LabError
from mpcore.lab.datagrams import Silence, longest_silence, read_arrivals
from mpcore.lab.host import Host
from mpcore.lab.measure import GIVE_UP_S, HTTP_PORT, SEED, LaterCut, curl_command, watch
from mpcore.lab.pattern import pattern_sha256
from mpcore.lab.shim6_hosts import Shim6Host, make_shim6_hosts, shim6_daemons, wait_for_contexts
from mpcore.lab.sockets import is_listening
from mpcore.lab.topology import Lab
from mpcore.lab.wait import wait_until

UDP_PORT = 9000
PLAIN_PATIENCE_S = 5.0
SESSIONS = {"tcp": "TCP download by curl", "udp": "UDP stream", "ping": "ping"}
MODES = {"plain": "without mpcore", "shim6": "Shim6"}
_DATAGRAMS = (sys.executable, "-m", "mpcore.lab.datagrams")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Survival:
    """What became of the sessions of one run when their path was cut; `silences` has the keys of `SESSIONS`.

    `addresses` are all that the programs of host `a` and `b` saw of each other, before and after.
    """

    size: int
    received: int
    sha256_sent: str  # of the part of the stream that `received` tells
    sha256_received: str
    silences: dict[str, Silence]
    addresses: list[str]
    expected: list[str]

    @property
    def unharmed(self) -> bool:
        """Whether what arrived, all of it or a part, is what was sent."""
        return self.sha256_received == self.sha256_sent

    @property
    def complete(self) -> bool:
        """Whether the download came to its end, every byte as it was sent."""
        return self.unharmed and self.received == self.size

    @property
    def same_addresses(self) -> bool:
        """Whether no program saw another address than the one it was given."""
        return set(self.addresses) <= set(self.expected)

    def to_dict(self) -> dict[str, Any]:
        """Return the part of the JSON document about this run."""
        return {
            "size": self.size,
            "received": self.received,
            "complete": self.complete,
            "sha256_sent": self.sha256_sent,
            "sha256_received": self.sha256_received,
            "sessions": {
                name: {"silence_ms": round(one.ms, 1), "went_on": one.went_on}
                for name, one in self.silences.items()
            },
            "addresses_seen": self.addresses,
            "same_addresses": self.same_addresses,
        }


@dataclass(frozen=True, slots=True)
class Pairs:
    """The addresses in the packets of host `a`: the ULIDs that programs use, and the locators at the end."""

    ulids: tuple[str, str]
    locators: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Shim6Result:
    """What the Shim6 demo showed; the keys of `runs` are those of `MODES`."""

    rate_mbit: float
    send_timeout_s: float
    runs: dict[str, Survival]
    pairs: Pairs

    @property
    def survived(self) -> bool:
        """Whether no byte differs, and with Shim6 every session went on between the same addresses."""
        shim6 = self.runs["shim6"]
        went_on = all(silence.went_on for silence in shim6.silences.values())
        unharmed = all(run.unharmed for run in self.runs.values())
        return unharmed and shim6.complete and shim6.same_addresses and went_on

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `mpcore demo --shim6 -j` prints."""
        return {
            "rate_mbit": self.rate_mbit,
            "send_timeout_s": self.send_timeout_s,
            "survived": self.survived,
            **{mode: run.to_dict() for mode, run in self.runs.items()},
            **asdict(self.pairs),
        }

    def to_table(self) -> str:
        """Return the same for people."""
        runs = list(self.runs.values())
        rows = [("", *(MODES[mode] for mode in self.runs))]
        rows += [
            (f"{title}: silence, s", *(_silence(run.silences[name]) for run in runs))
            for name, title in SESSIONS.items()
        ]
        rows += [
            ("download complete", *(_yes(run.complete) for run in runs)),
            ("SHA-256 sent", *(run.sha256_sent[:12] for run in runs)),
            ("SHA-256 received", *(run.sha256_received[:12] for run in runs)),
            ("programs saw the same addresses", *(_yes(run.same_addresses) for run in runs)),
        ]
        lines = [f"{name:<34}" + "".join(f"{cell:>16}" for cell in cells).rstrip() for name, *cells in rows]
        lines.append(f"Send Timeout {self.send_timeout_s:g} s; programs: {_pair(self.pairs.ulids)}")
        lines.append(f"packets after the cut: {_pair(self.pairs.locators)}")
        return "\n".join(lines)


def _silence(silence: Silence) -> str:
    return f"{silence.ms / 1000:.2f}" if silence.went_on else "stalled"


def _yes(fact: bool) -> str:
    return "yes" if fact else "NO"


def _pair(pair: tuple[str, str]) -> str:
    return " > ".join(pair)


def run_shim6_demo(
    *,
    seconds: float,
    rate_mbit: float,
    send_timeout_s: float,
    say: Say,
    patience_s: float = PLAIN_PATIENCE_S,
) -> Shim6Result:
    """Build the laboratory, cut the path of three sessions without and with Shim6, take it down.

    The download lasts for `seconds`, were it not for the cut in its middle; without Shim6 it counts as
    stalled after `patience_s` seconds. `say` hears of progress. Raises LabError.
    """
    size = int(rate_mbit * 1e6 / 8 * seconds)
    with (
        tempfile.TemporaryDirectory(prefix="mpcore-demo-") as name,
        Lab((rate_mbit, rate_mbit)) as lab,
    ):
        folder = Path(name)
        hosts = make_shim6_hosts(lab, folder)
        say(f"two hosts, two links of {rate_mbit:g} Mbit/s, IPv6; hash-based addresses:")
        for each in hosts:
            say(f"  {each.host.name}: {', '.join(each.addresses)}")
        stage = _Stage(lab, *hosts, folder, say)
        runs = {"plain": stage.play("plain", size, patience_s)}
        say(f"Shim6: mpcore run on both hosts, Send Timeout {send_timeout_s:g} s")
        with shim6_daemons(hosts, send_timeout_s):
            runs["shim6"] = stage.play("shim6", size, send_timeout_s + GIVE_UP_S, wait_for_contexts)
            pairs = _pairs(*hosts)
        return Shim6Result(rate_mbit, send_timeout_s, runs, pairs)


def _pairs(a: Shim6Host, b: Shim6Host) -> Pairs:
    contexts = a.contexts(b.ulid)
    if not contexts:
        raise LabError("the Shim6 context is gone")
    return Pairs((a.ulid, b.ulid), (contexts[0]["current_local"], contexts[0]["current_peer"]))


@dataclass(frozen=True, slots=True)
class _Stage:
    """The laboratory with what a run needs."""

    lab: Lab
    a: Shim6Host
    b: Shim6Host
    folder: Path
    say: Say

    def play(
        self,
        mode: str,
        size: int,
        give_up_s: float,
        ready: Callable[[Shim6Host, Shim6Host], None] | None = None,
    ) -> Survival:
        """Start all sessions, cut link 1 in the middle of the download, and tell what became of them.

        `ready` is called while stream and ping run, before the download begins.
        """
        cut = LaterCut(self.lab.links[0])
        udp, ping, seen = (self.folder / f"{mode}.{kind}" for kind in ("udp", "ping", "curl"))
        with self._web_server(), self._sessions(udp, ping), seen.open("wb") as stderr:
            if ready is not None:
                ready(self.a, self.b)
                self.say(f"{MODES[mode]}: a context at both ends")
            self.say(f"{MODES[mode]}: curl fetches {size / 1e6:.0f} MB, UDP stream and ping beside it")
            words = curl_command(self.b.ulid, size, "-w", "%{stderr}%{local_ip} %{remote_ip}")
            curl = self.a.host.popen(words, stderr=stderr)
            assert curl.stdout is not None

            def at_half() -> None:
                cut.start()
                self.say(f"{MODES[mode]}: link 1 falls silent")

            try:
                stall_s, received, digest = watch(curl.stdout, size // 2, at_half, give_up_s)
                if received == size:
                    _wait_for_more((udp, ping))
                until_s = time.monotonic()
            finally:
                self.a.host.stop(curl)
                cut.undo()
        if cut.since_s is None:
            raise LabError(f"the download ended after {received} bytes, before anything was cut")
        silences = {"tcp": Silence(stall_s * 1000, received == size)}
        addresses = set(seen.read_text().split()) if received == size else set()
        for name, file in (("udp", udp), ("ping", ping)):
            times, sources = read_arrivals(file)
            silences[name] = longest_silence(times, cut.since_s, until_s)
            addresses |= sources
        for name, title in SESSIONS.items():
            self.say(f"{MODES[mode]}: {title}: {_outcome(silences[name])}")
        sent = pattern_sha256(SEED, received)
        expected = [self.a.ulid, self.b.ulid]
        return Survival(size, received, sent, digest, silences, sorted(addresses), expected)

    @contextmanager
    def _web_server(self) -> Iterator[None]:
        host = self.b.host
        words = [sys.executable, "-m", "mpcore.lab.http_server", self.b.ulid, str(HTTP_PORT)]
        server = host.popen(words, stderr=DEVNULL)  # its complaint about a curl that was stopped
        try:
            wait_until(lambda: is_listening(host, HTTP_PORT), "the web server")
            yield
        finally:
            host.stop(server)

    @contextmanager
    def _sessions(self, udp: Path, ping: Path) -> Iterator[None]:
        """Run the UDP stream from `a` to `b` and the ping while the block lasts; it begins once both do."""
        port = str(UDP_PORT)
        with (
            _program(self.b.host, ("receive", self.b.ulid, port), udp),
            _program(self.a.host, ("send", self.b.ulid, port)),
            _program(self.a.host, ("ping", self.b.ulid), ping),
        ):
            for file, what in ((udp, "the UDP stream"), (ping, "the ping")):
                wait_until(lambda file=file: bool(read_arrivals(file)[0]), what)  # type: ignore[misc]
            yield


@contextmanager
def _program(host: Host, words: Sequence[str], output: Path | None = None) -> Iterator[None]:
    """Run `mpcore.lab.datagrams` in `host` while the block lasts, what it prints going to `output`."""
    with (output or Path("/dev/null")).open("wb") as stdout:
        process = host.popen([*_DATAGRAMS, *words], stdout=stdout)
    try:
        yield
    finally:
        host.stop(process)


def _wait_for_more(files: Sequence[Path]) -> None:
    """Let sessions that are slower than the download go on too; those that do not are told by silence."""
    since_s = time.monotonic()
    with suppress(LabError):
        wait_until(lambda: all(read_arrivals(file)[0][-1] > since_s for file in files), "datagrams")


def _outcome(silence: Silence) -> str:
    words = "went on after" if silence.went_on else "stalled, nothing for"
    return f"{words} {silence.ms / 1000:.2f} s"

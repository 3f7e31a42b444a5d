"""What the daemon keeps beside a Shim6 endpoint: who it is, its state file, its log, its commands."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from mpcore.config import Shim6Config
from mpcore.host.control_handlers import Handler
from mpcore.host.shim6_handlers import Shim6Handlers
from mpcore.host.shim6_log import Shim6Log
from mpcore.host.shim6_programs import program_of
from mpcore.host.shim6_sockets import SocketPairs
from mpcore.host.shim6_state import StateFile
from mpcore.shim6.cga_verifier import CgaVerifier
from mpcore.shim6.configured import heuristic_of, policy_of, settings_of
from mpcore.shim6.events import Event
from mpcore.shim6.heuristic import FlowKey
from mpcore.shim6.owned import Owned, identities_of
from mpcore.shim6_endpoint import Shim6Endpoint


def make_endpoint(
    config: Shim6Config,
    clock: Callable[[], int],
    moved_by_mptcp: Callable[[FlowKey], bool] = lambda key: False,
    files: Sequence[Owned] = (),
) -> Shim6Endpoint:
    """Return an endpoint as the configuration wants it, with the identities that files give.

    Raises:
        ConfigError: a class that it names is not there
    """
    endpoint = Shim6Endpoint(
        settings_of(config),
        rng=random.SystemRandom(),
        now_ns=clock(),
        verifier=CgaVerifier(),
        policy=policy_of(config),
        heuristic=heuristic_of(config, program_of),
        in_use=SocketPairs(clock).in_use,
        moved_by_mptcp=(lambda key: False) if config.with_mptcp else moved_by_mptcp,
    )
    for identity in identities_of(files):
        endpoint.set_identity(identity, clock())
    return endpoint


class Shim6Services:
    """State file, log and commands of one endpoint, for the thread that runs the loop."""

    def __init__(self, config: Shim6Config, endpoint: Shim6Endpoint, clock: Callable[[], int]) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._log = Shim6Log()
        path = config.state_file
        self._state = StateFile(Path(path), config.state_interval_ns) if path else None

    def restore(self) -> int:
        """Take over the contexts of the daemon before, once addresses are known; returns how many."""
        if self._state is None:
            return 0
        manager = self._endpoint.manager
        manager.watch_changes()
        kept = self._state.load()
        manager.restore_wishes(kept.wishes)
        taken = manager.restore(kept.contexts, self._clock())
        self._endpoint.settle(self._clock())
        return taken

    def note(self, event: Event) -> None:
        """Take an event of the endpoint."""
        self._log.note(event, self._clock())

    def poll_timeout(self) -> int | None:
        """Return when `save` is due, None when nothing has changed."""
        if self._state is None or not self._endpoint.manager.has_changes:
            return None
        return self._state.poll_timeout()

    def save(self) -> None:
        """Write what has changed, if it is time; to be called at each turn of the loop."""
        if self._state is not None:
            self._state.save(self._endpoint.manager, self._clock())

    def close(self) -> None:
        """Write all that has changed: contexts outlive the daemon."""
        if self._state is not None:
            self._state.save_all(self._endpoint.manager)

    def handlers(self, work: Callable[[], None]) -> dict[str, Handler]:
        """Return the control socket's handlers; `work` sends what a command made necessary."""
        return Shim6Handlers(self._endpoint, self._log, self._clock, work).handlers()

"""Path managers by name, as `mptcp.path_manager` in the configuration gives it."""

from collections.abc import Callable

from mpcore.errors import ConfigError
from mpcore.policy.backup import Backup
from mpcore.policy.base import PathManager
from mpcore.policy.fullmesh import FullMesh
from mpcore.policy.ndiffports import NDiffPorts
from mpcore.policy.none import NoPaths

_FACTORIES: dict[str, Callable[[], PathManager]] = {
    factory.name: factory for factory in (FullMesh, Backup, NDiffPorts, NoPaths)
}


def register(name: str, factory: Callable[[], PathManager]) -> None:
    """Make a path manager available under a name; a later one replaces an earlier one.

    Configurations made in Python take the name; those read from a file, only the names that come with mpcore.
    """
    _FACTORIES[name] = factory


def path_manager(name: str) -> PathManager:
    """Return a new path manager.

    Raises:
        ConfigError: there is none of this name
    """
    factory = _FACTORIES.get(name)
    if factory is None:
        raise ConfigError(f"mptcp.path_manager: {name!r} is unknown; choose one of {', '.join(_FACTORIES)}")
    return factory()

"""What the daemon does for `mpcore shim6 addresses` and `mpcore shim6 renew`.

Methods: `shim6_addresses` {}, `shim6_renew` {}.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mpcore.host.control_handlers import Handler
from mpcore.host.control_protocol import INVALID_PARAMS, REFUSED, ControlError


class Forming(Protocol):
    """What forms this host's addresses."""

    def describe(self) -> list[dict[str, object]]:
        """Return what has become of them, ready for JSON."""
        ...

    def renew(self) -> None:
        """Form others."""
        ...


def forming_handlers(forming: Forming | None, work: Callable[[], None]) -> dict[str, Handler]:
    """Return the handlers by method; `work` is called after a change, to carry out what follows from it."""

    def addresses(params: Mapping[str, Any]) -> object:
        _require_none(params)
        return {"addresses": [] if forming is None else forming.describe()}

    def renew(params: Mapping[str, Any]) -> object:
        _require_none(params)
        if forming is None:
            raise ControlError(REFUSED, "no addresses are formed here: shim6.form is off")
        forming.renew()
        work()
        return {"addresses": forming.describe()}

    return {"shim6_addresses": addresses, "shim6_renew": renew}


def _require_none(params: Mapping[str, Any]) -> None:
    if params:
        raise ControlError(INVALID_PARAMS, f"unknown parameters: {', '.join(sorted(params))}")

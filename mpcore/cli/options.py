"""Options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def control_option(function: F) -> F:
    """Add `--control PATH`; the command gets None where nobody names one."""
    return click.option(
        "--control",
        metavar="PATH",
        envvar="MPCORE_SOCKET",
        help="The daemon's control socket.  [default: /run/mpcore/control.sock]",
    )(function)


def json_option(function: F) -> F:
    """Add `-j`, `--json`."""
    return click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")(function)


def control_path(control: str | None) -> str:
    """Return the path that `--control` names, or the default."""
    from mpcore.config import ControlConfig

    return ControlConfig().path if control is None else control

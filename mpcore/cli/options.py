"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from mpcore.config import Config

DEFAULT_CONFIG = Path("/etc/mpcore/mpcore.toml")

F = TypeVar("F", bound=Callable[..., Any])


def control_option(function: F) -> F:
    """Add `--control PATH`; the command gets None where nobody names one."""
    return click.option(
        "--control",
        metavar="PATH",
        envvar="MPCORE_SOCKET",
        help="The daemon's control socket.  [default: /run/mpcore/control.sock]",
    )(function)


def config_options(function: F) -> F:
    """Add `--config FILE` and `--set KEY=VALUE`, whose values `read_config` takes."""
    function = click.option(
        "--set",
        "overrides",
        metavar="KEY=VALUE",
        multiple=True,
        help="Override a key, as mptcp.checksum=true.",
    )(function)
    return click.option(
        "--config",
        metavar="FILE",
        envvar="MPCORE_CONFIG",
        help=f"TOML file.  [default: {DEFAULT_CONFIG}, where it exists]",
    )(function)


def read_config(file: str | None, overrides: tuple[str, ...]) -> "Config":
    """Return the configuration that the options ask for; raises ConfigError."""
    from mpcore.config import load_config

    if file is None and DEFAULT_CONFIG.exists():
        file = str(DEFAULT_CONFIG)
    return load_config(file, overrides)


def json_option(function: F) -> F:
    """Add `-j`, `--json`."""
    return click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")(function)


def control_path(control: str | None) -> str:
    """Return the path that `--control` names, or the default."""
    from mpcore.config import ControlConfig

    return ControlConfig().path if control is None else control

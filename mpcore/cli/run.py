"""`mpcore run`: the daemon in the foreground."""

import re
from pathlib import Path

import click

from mpcore.cli.options import config_options, control_option, read_config

CAPABILITIES = {12: "CAP_NET_ADMIN", 13: "CAP_NET_RAW"}


@click.command("run")
@config_options
@control_option
def run_command(config: str | None, overrides: tuple[str, ...], control: str | None) -> int:
    """Make this host's TCP connections multipath until SIGTERM or SIGINT.

    Prints "ready" once packets are intercepted. Takes every rule back at the end.
    """
    from msgspec.structs import replace

    from mpcore.config import ControlConfig
    from mpcore.host.control_protocol import NotPermittedError

    settings = read_config(config, overrides)
    if control is not None:
        settings = replace(settings, control=ControlConfig(path=control))
    missing = missing_capabilities()
    if missing:
        raise NotPermittedError(f"run needs {' and '.join(missing)}: start it as root, as with sudo")
    from mpcore.host.daemon import run

    return run(settings)


def missing_capabilities() -> list[str]:
    """Return the names of needed capabilities that this process has not."""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    effective = int(match[1], 16) if match else 0
    return [name for bit, name in CAPABILITIES.items() if not effective >> bit & 1]

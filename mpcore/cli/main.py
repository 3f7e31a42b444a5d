"""`mpcore`: finds the command, loads it only then, and turns what happens into an exit code.

0 done, 1 failed, 2 usage, 3 daemon not running or no such thing, 4 not permitted, 5 kernel lacks it,
130 interrupted.
"""

import os
import sys
from collections.abc import Sequence
from enum import IntEnum
from importlib import import_module
from importlib.util import find_spec

import click

from mpcore import __version__

COMMANDS = {
    "run": "mpcore.cli.run:run_command",
    "show": "mpcore.cli.show:show_command",
    "monitor": "mpcore.cli.monitor:monitor_command",
    "explain": "mpcore.cli.explain:explain_command",
    "doctor": "mpcore.cli.doctor:doctor_command",
    "demo": "mpcore.cli.demo:demo_command",
    "lab": "mpcore.cli.lab:lab_command",
    "shim6": "mpcore.cli.shim6:shim6_command",
    "hba": "mpcore.cli.hba:hba_command",
    "cga": "mpcore.cli.cga:cga_command",
    "inspect": "mpcore.cli.inspect:inspect_command",
}


class ExitCode(IntEnum):
    """How `mpcore` ends."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    ABSENT = 3
    NOT_PERMITTED = 4
    UNSUPPORTED = 5
    INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for; an absent module is no command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands whose module is there."""
        return [name for name, place in COMMANDS.items() if find_spec(place.partition(":")[0])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, imported now, or None."""
        module, _, attribute = COMMANDS.get(cmd_name, "").partition(":")
        if not module or not find_spec(module):
            return None
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, "-V", "--version", message="mpcore %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Multipath TCP and Shim6 for programs and kernels that know nothing of them."""
    if "NO_COLOR" in os.environ:
        ctx.color = False


def main() -> None:
    """Run the command line of this process and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors become one sentence on standard error."""
    try:
        result = cli.main(list(arguments), prog_name="mpcore", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except click.UsageError as error:
        error.show()
        return ExitCode.USAGE
    except Exception as error:
        code = code_of(error)
        if code is None:
            raise
        click.echo(f"mpcore: {error}", err=True)
        return code
    return result if isinstance(result, int) else ExitCode.DONE


def code_of(error: Exception) -> int | None:
    """Return the exit code for an error that is meant for people, None for a bug."""
    from mpcore.errors import ConfigError, MpcoreError

    if isinstance(error, click.ClickException):
        return error.exit_code  # what the demo and the laboratory raise
    if isinstance(error, PermissionError):
        return ExitCode.NOT_PERMITTED
    if isinstance(error, ConfigError):
        return ExitCode.USAGE
    if not isinstance(error, MpcoreError):
        return None
    from mpcore.host.control_protocol import NOT_FOUND, ControlError, DaemonAbsentError, NotPermittedError

    if isinstance(error, DaemonAbsentError) or (isinstance(error, ControlError) and error.code == NOT_FOUND):
        return ExitCode.ABSENT
    return ExitCode.NOT_PERMITTED if isinstance(error, NotPermittedError) else ExitCode.FAILED

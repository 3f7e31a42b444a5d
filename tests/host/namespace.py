"""Run a test in a network namespace of its own, which vanishes with the process that made it."""

import ctypes
import functools
import os
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

CLONE_NEWNET = 0x40000000
PR_SET_SECUREBITS, SECBIT_NOROOT = 28, 1
CAPABILITY_VERSION = 0x20080522


def run(*command: str, stdin: str | None = None) -> str:
    """Run a command and return its output; its complaint fails the test."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def set_variable(name: str, value: int) -> None:
    """Set a kernel variable, such as `net.ipv4.ip_forward`; not every host has the program sysctl."""
    Path("/proc/sys", *name.split(".")).write_text(f"{value}\n")


def enter_new_namespace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    run("ip", "link", "set", "lo", "up")


def drop_privileges() -> None:
    """Give up every capability, for programs run from here on too; files stay readable as they were."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, nothing = struct.pack("=Ii", CAPABILITY_VERSION, 0), bytes(24)
    if libc.prctl(PR_SET_SECUREBITS, SECBIT_NOROOT, 0, 0, 0) != 0 or libc.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "dropping capabilities")


def child(function: Callable[..., None], report: int, arguments: dict[str, Any]) -> NoReturn:
    """Run `function` in a new namespace, write its traceback to `report`, and end the process."""
    status = 0
    try:
        enter_new_namespace()
        function(**arguments)
    except BaseException:
        status = 1
        os.write(report, traceback.format_exc().encode()[-60000:])
    sys.stdout.flush()
    os._exit(status)


def in_namespace(function: Callable[..., None]) -> Callable[..., None]:
    """Decorate a test: it needs root, and runs in a child process within its own network namespace."""

    @functools.wraps(function)
    def wrapper(**arguments: Any) -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root for a network namespace")
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            child(function, writer, arguments)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            report = stream.read().decode(errors="replace")
        _, status = os.waitpid(pid, 0)
        if status:
            pytest.fail(f"in the namespace:\n{report}", pytrace=False)

    return pytest.mark.kernel(wrapper)

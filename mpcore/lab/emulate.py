"""The program behind an emulated link: two TUN interfaces, one in each host, and an Emulator between them.

`python -m mpcore.lab.emulate INTERFACE NAMESPACE_A NAMESPACE_B` reads one JSON object a line from standard
input: `{"settings": {…}}` sets both directions, `{"stay": true}` lets it go on after the end of its input,
`{}` only asks; it answers each with one line, the statistics of both directions. Otherwise it ends with its
input, so it never outlives who started it; one that stays ends with its namespaces.
"""

import fcntl
import json
import os
import struct
import sys
from contextlib import suppress
from typing import Any

from mpcore.lab.emulator import Emulator, enter_namespace
from mpcore.lab.host import NETNS_DIR

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_LINE_MAX = 1 << 16
_WAYS = 2


def open_tun(namespace: str, interface: str) -> int:
    """Make a TUN interface in `namespace` and return the descriptor that is its far end. Raises OSError."""
    enter_namespace(str(NETNS_DIR / namespace))
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    request = struct.pack("16sH22x", interface.encode(), _IFF_TUN | _IFF_NO_PI)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, request)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def configure(emulator: Emulator, settings: dict[str, Any]) -> None:
    """Apply `settings`, keys as in `Emulator.configure`; each direction has chances of its own."""
    seed = settings.pop("seed")
    for way in range(_WAYS):
        emulator.configure(way, seed=2 * seed + way, **settings)


def serve(emulator: Emulator) -> None:
    """Carry packets and answer requests until the input ends or the interfaces go."""
    pending, stays = b"", False
    while emulator.run(sys.stdin.fileno()):
        data = os.read(sys.stdin.fileno(), _LINE_MAX)
        if not data:
            if not stays:
                return
            os.dup2(os.pipe()[0], sys.stdin.fileno())  # its other end stays open here: nothing comes any more
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            stays = stays or request.get("stay", False)
            if settings := request.get("settings"):
                configure(emulator, settings)
            print(json.dumps([emulator.stats(way) for way in range(_WAYS)]), flush=True)


def _be_prompt() -> None:
    """Ask to be woken when a packet is due, before ordinary programs; without the right to it, go on."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def main() -> None:
    """Run one link; see the module's text."""
    interface, *namespaces = sys.argv[1:]
    left, right = (open_tun(namespace, interface) for namespace in namespaces)
    _be_prompt()
    serve(Emulator(left, right))


if __name__ == "__main__":
    main()

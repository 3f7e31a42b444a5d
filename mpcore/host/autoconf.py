"""The addresses that the kernel forms itself step back behind the ones that the daemon forms.

Of several addresses in a prefix the kernel takes a temporary one, or the newest, so that programs would use
one that Shim6 can do nothing for. So the kernel stops forming them (`autoconf` of the interface is 0), and
those that are there are deprecated: what uses them goes on (RFC 6724 §5 rule 3). Routers make them preferred
again once `autoconf` is what it was.

A file says where it was changed, so that whoever clears up after a killed daemon can take it back.
"""

import logging
import os
import socket
from pathlib import Path

from mpcore.errors import HostError
from mpcore.host.adopt import HEADER, IFA_ADDRESS, IFA_PROTO
from mpcore.host.formed import NLM_F_CREATE_REPLACE
from mpcore.host.netlink import CACHE_INFO, IFA_CACHEINFO, IFA_FLAGS
from mpcore.host.rtnetlink import (
    RTM_GETADDR,
    RTM_NEWADDR,
    RouteSocket,
    attribute,
    parse_attributes,
)
from mpcore.shim6.prefixes import prefix_of

PROTOCOL_ROUTER = 2  # IFAPROT_KERNEL_RA
SETTINGS = Path("/proc/sys/net/ipv6/conf")
FOLDER = Path("/run/mpcore")

log = logging.getLogger(__name__)


class KernelAutoconf:
    """Autoconfiguration by the kernel in this network namespace."""

    def __init__(self, folder: Path = FOLDER, settings: Path = SETTINGS) -> None:
        self._settings = settings
        self._ledger = folder / f"autoconf-{os.stat('/proc/self/ns/net').st_ino}"

    def stand_back(self, prefix: bytes, interface: str) -> None:
        """Let the kernel form no addresses on an interface, and deprecate those in a prefix of 8 octets.

        Trouble is logged, and no more: programs may then use other addresses than the formed ones.
        """
        try:
            self._stop(interface)
            self._deprecate(prefix, socket.if_nametoindex(interface))
        except (OSError, HostError) as error:
            log.warning("the kernel's own addresses on %s may be used instead: %s", interface, error)

    def restore(self) -> None:
        """Take it back, by this daemon or by an earlier one; what cannot be is logged."""
        try:
            for interface in self._ledger.read_text().split():
                self._allow(interface)
            self._ledger.unlink()
        except FileNotFoundError:
            return  # nothing was changed
        except OSError as error:
            log.warning("%s: what it names is not taken back: %s", self._ledger, error)

    def _allow(self, interface: str) -> None:
        try:
            self._setting(interface).write_text("1\n")
        except FileNotFoundError:
            return  # the interface is gone
        except OSError as error:
            log.warning("the kernel forms no addresses on %s: %s", interface, error)

    def _stop(self, interface: str) -> None:
        setting = self._setting(interface)
        if setting.read_text().strip() != "1":
            return
        self._ledger.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with self._ledger.open("a") as ledger:
            ledger.write(f"{interface}\n")
        setting.write_text("0\n")

    def _setting(self, interface: str) -> Path:
        return self._settings / interface / "autoconf"

    def _deprecate(self, prefix: bytes, index: int) -> None:
        with RouteSocket() as kernel:
            for message in kernel.dump(RTM_GETADDR, socket.AF_INET6):
                if len(message.body) < HEADER.size or HEADER.unpack_from(message.body)[4] != index:
                    continue
                found = parse_attributes(message.body[HEADER.size :])
                address, times = found.get(IFA_ADDRESS, b""), found.get(IFA_CACHEINFO, b"")
                if found.get(IFA_PROTO) != bytes([PROTOCOL_ROUTER]) or len(times) != CACHE_INFO.size:
                    continue
                if prefix_of(address) == prefix:
                    _, valid, _, _ = CACHE_INFO.unpack(times)
                    body = message.body[: HEADER.size] + attribute(IFA_ADDRESS, address)
                    body += attribute(IFA_FLAGS, found[IFA_FLAGS]) if IFA_FLAGS in found else b""
                    body += attribute(IFA_PROTO, found[IFA_PROTO])
                    body += attribute(IFA_CACHEINFO, CACHE_INFO.pack(0, valid, 0, 0))
                    kernel.request(RTM_NEWADDR, body, NLM_F_CREATE_REPLACE)

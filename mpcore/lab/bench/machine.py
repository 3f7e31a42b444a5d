"""What the figures were measured on."""

import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mpcore import __version__
from mpcore.lab.host import Host
from mpcore.lab.link import Link

_OFFLOADS = (
    "tcp-segmentation-offload",
    "generic-segmentation-offload",
    "generic-receive-offload",
    "tx-checksumming",
)


def describe_machine() -> dict[str, Any]:
    """Return kernel, processor, number of cores and the versions at work."""
    return {
        "kernel": platform.release(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "mpcore": __version__,
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def describe_link(link: Link, host: Host) -> dict[str, Any]:
    """Return what carries `link` and how, its MTU and offloads as `host` has it."""
    features = dict(_features(host.run(["ethtool", "-k", link.interface], check=False).stdout))
    mtu = host.run(["cat", f"/sys/class/net/{link.interface}/mtu"]).stdout
    return {
        "interface": link.interface,
        "kind": link.kind,
        "mtu": int(mtu),
        **asdict(link.settings),
        "offloads": {name: features[name] for name in _OFFLOADS if name in features},
    }


def _features(text: str) -> list[tuple[str, str]]:
    pairs = (line.split(":", 1) for line in text.splitlines() if ": " in line)
    return [(name.strip(), value.split()[0]) for name, value in pairs]

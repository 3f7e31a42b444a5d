"""Multipath TCP (RFC 8684) and Shim6 (RFC 5533) for unmodified programs on unmodified Linux kernels."""

from typing import Any

__version__ = "0.1.0"


def scapy_ext(ext: Any) -> None:
    """Tell Scapy what this package has for it; called by `conf.exts.load("mpcore")`.

    Afterwards `load_contrib("mptcp")` and `load_contrib("shim6")` work. `ext` is Scapy's `ScapyExt`.
    """
    from pathlib import Path

    ext.config("mpcore", __version__)
    for name in ("mptcp", "shim6"):
        path = Path(__file__).parent / "scapy" / "contrib" / f"{name}.py"
        ext.register(name=name, mode=ext.MODE.CONTRIB, path=path)

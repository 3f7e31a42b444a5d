"""Layers for Scapy: the MPTCP option of TCP, and Shim6.

`import mpcore.scapy` lets Scapy's TCP and IPv6 layers know both. Scapy itself finds them after
`conf.exts.load("mpcore")`, by `load_contrib("mptcp")` and `load_contrib("shim6")`.
"""

from mpcore.scapy import mptcp, shim6, shim6_options, tcp
from mpcore.scapy.mptcp import *
from mpcore.scapy.shim6 import *
from mpcore.scapy.shim6_options import *
from mpcore.scapy.tcp import *

__all__: list[str] = []
__all__ += mptcp.__all__
__all__ += shim6.__all__
__all__ += shim6_options.__all__
__all__ += tcp.__all__

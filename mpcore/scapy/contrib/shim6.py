# SPDX-License-Identifier: GPL-2.0-or-later
# scapy.contrib.description = Shim6 extension header and control messages (RFC 5533, RFC 5534)
# scapy.contrib.status = loads

"""`load_contrib("shim6")`: Shim6 extension header and control messages."""

from mpcore.scapy import shim6, shim6_options
from mpcore.scapy.shim6 import *
from mpcore.scapy.shim6_options import *

__all__: list[str] = []
__all__ += shim6.__all__
__all__ += shim6_options.__all__

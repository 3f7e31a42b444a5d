# SPDX-License-Identifier: GPL-2.0-or-later
# scapy.contrib.description = Multipath TCP (MPTCP) options (RFC 8684, RFC 6824)
# scapy.contrib.status = loads

"""`load_contrib("mptcp")`: Multipath TCP (MPTCP) options."""

from mpcore.scapy import mptcp, tcp
from mpcore.scapy.mptcp import *
from mpcore.scapy.tcp import *

__all__: list[str] = []
__all__ += mptcp.__all__
__all__ += tcp.__all__

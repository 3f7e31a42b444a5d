"""How the kernel is asked about sockets (sock_diag(7))."""

import struct

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
REQUEST = struct.Struct("=BBBxI48x")  # inet_diag_req_v2: family, protocol, extensions, states
# the same about one socket: then ports, addresses, interface, cookie
REQUEST_ONE = struct.Struct("=BBBxI2s2s16s16sIQ")
NO_COOKIE = 0xFFFF_FFFF_FFFF_FFFF
ATTRIBUTES_AT = 72  # in an answer: behind struct inet_diag_msg
INET_DIAG_INFO = 2  # of TCP: struct tcp_info; bit 1 of the extensions asks for it
INFO_WANTED = 1 << (INET_DIAG_INFO - 1)

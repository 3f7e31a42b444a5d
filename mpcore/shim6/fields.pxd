"""Where fields of IPv6 and TCP headers stand that the data plane of Shim6 reads or writes (header only)."""


cdef enum:
    # of the IPv6 header (RFC 8200 §3)
    PAYLOAD_LENGTH = 4
    NEXT_HEADER = 6
    HOP_LIMIT = 7
    SOURCE = 8
    DESTINATION = 24
    ADDRESSES_SIZE = 32        # of both

    # of the TCP header (RFC 9293 §3.1)
    TCP_PROTOCOL = 6
    TCP_SIZE = 20              # without options
    TCP_PORTS_SIZE = 4         # of both
    TCP_SEQ = 4
    TCP_ACK_SEQ = 8            # the acknowledgement number
    TCP_DATA_OFFSET = 12
    TCP_FLAGS = 13
    TCP_WINDOW = 14
    TCP_CHECKSUM = 16
    TCP_URGENT = 18

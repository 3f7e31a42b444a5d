"""Descriptors that the engine and a driver exchange (header only)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef enum:
    # packet_t.direction
    FROM_HOST = 0          # leaving a local socket (OUTPUT)
    FROM_NETWORK = 1       # arriving for this host (INPUT)

    # packet_t.verdict
    VERDICT_PASS = 0       # untouched
    VERDICT_REWRITE = 1    # pass with the bytes now at data/size
    VERDICT_HOLD = 2       # stays in the kernel's queue; a release with the same id follows
    VERDICT_DROP = 3       # consumed or refused
    VERDICT_PUNT = 4       # Python decides; never reaches a queue backend
    VERDICT_LEAVE = 5      # untouched, and its connection leaves the queue for good
    VERDICT_STOP = 6       # the engine's events must be drained first; never reaches a queue backend

    # packet_t.flags
    PACKET_CHECKSUM_NOT_READY = 1   # the TCP checksum field holds only the pseudo-header's sum
    PACKET_TRUNCATED = 2            # fewer bytes were copied than the packet has
    PACKET_GSO = 4                  # a super-packet that the kernel will cut to segments

    PACKET_HEADROOM = 64   # writable bytes that a backend leaves before `data`
    TRANSMIT_HEADER_MAX = 128
    TRANSMIT_PIECES = 2

    # ports 0 and 1 deliver to local sockets (IPv4, IPv6); higher ones are local addresses towards the network
    PORT_HOST4 = 0
    PORT_HOST6 = 1
    PORT_CARRIER = 2       # not a socket: packets of the host that wait in the queue leave with new content
    PORT_NETWORK = 3
    PORT_MAX = 64


cdef struct packet_t:
    uint8_t *data          # network header; PACKET_HEADROOM writable bytes before it; owner: the backend
    uint32_t size          # bytes at data
    uint32_t id            # the queue's packet id, host byte order
    uint8_t direction
    uint8_t flags
    uint8_t verdict        # written by the engine or by Python
    uint8_t hook           # netfilter hook number, for the backend
    uint32_t mark          # packet's mark as received
    uint8_t *limit         # end of the writable memory behind `data`; NULL: there is none beyond `size`


cdef struct transmit_t:    # one packet to send: header bytes, then up to two payload pieces
    uint16_t header_size         # 0 on PORT_CARRIER: the carrier is dropped
    uint16_t piece_count
    uint32_t carrier             # on PORT_CARRIER: id of the waiting packet
    uint32_t piece_size[2]
    const uint8_t *piece[2]      # in a connection's byte ring; valid until the next process_batch or timeout
    uint8_t header[128]


cdef struct transmit_queue_t:    # ring of descriptors for one port; owner: Engine
    uint32_t head          # next to send; the driver advances it
    uint32_t tail          # next to fill; the engine advances it
    uint32_t mask          # slots - 1
    uint32_t dropped       # packets that found the ring full
    transmit_t *slots

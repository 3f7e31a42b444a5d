"""Queues of intercepted packets: the interface, and the kernel's queue driven by raw netlink."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from mpcore.host.csocket cimport iovec, mmsghdr, msghdr
from mpcore.host.nfmessage cimport verdict_t
from mpcore.store.packet cimport packet_t, transmit_queue_t, transmit_t


cdef struct queue_counters_t:
    uint64_t received          # packets handed out
    uint64_t received_bytes
    uint64_t receive_calls     # system calls, those that found nothing included
    uint64_t verdicts          # packets settled
    uint64_t verdict_messages
    uint64_t send_calls
    uint64_t malformed         # messages of the kernel that make no sense
    uint64_t refused           # verdicts that the kernel refused, other than by ENOENT
    uint64_t stale             # verdicts for packets that the kernel had dropped already (ENOENT)
    uint64_t overruns          # ENOBUFS: messages lost before they were read
    uint64_t oversize          # rewritten packets that fit into no verdict message, dropped
    uint64_t send_failures     # verdicts that could not be sent


# One queue; used from one thread. A packet's bytes stay valid until the next recv_batch.
cdef class PacketQueue:
    cdef readonly uint32_t mark_seen
    cdef readonly uint32_t mark_leave
    cdef readonly uint32_t mark_taken
    cdef int descriptor            # -1 when closed
    cdef queue_counters_t counters

    # Fills up to `capacity` packets without waiting; returns how many (0: none now), or a negative errno.
    cdef int recv_batch(self, packet_t *packets, int capacity) noexcept nogil
    # Settles every packet but those on VERDICT_HOLD, in the order received. 0 or a negative errno.
    cdef int send_verdicts(self, packet_t *packets, int count) noexcept nogil
    # Settles packets that were on VERDICT_HOLD, in any order. 0 or a negative errno.
    cdef int release(self, packet_t *packets, int count) noexcept nogil
    # Settles the packets on hold that the queue of PORT_CARRIER names, with the content that it gives them,
    # advancing `head` to `tail`. 0 or a negative errno.
    cdef int release_carriers(self, transmit_queue_t *carriers) noexcept nogil


cdef class NetlinkQueue(PacketQueue):
    cdef object binding            # the NetfilterQueue that bound the queue; None for a foreign socket
    cdef readonly uint16_t number
    cdef bint repeat_received      # rewritten packets from the network go through their hook again
    cdef int slots                 # datagrams that one system call reads at most
    cdef int take                  # and at the moment
    cdef uint32_t large_bytes      # size of the largest datagram lately
    cdef uint8_t *slab             # slots * SLOT_SIZE bytes; owner: this object
    cdef mmsghdr *messages         # one a slot
    cdef iovec *places             # one a slot
    cdef int slot                  # cursor over what the last system call brought: slot, and place in it
    cdef int received
    cdef uint32_t offset
    cdef uint32_t end
    cdef uint8_t *heads            # outgoing verdict messages, less their payloads
    cdef iovec *parts
    cdef int part_count
    cdef int head_count
    cdef size_t pending_bytes      # of the message under construction, at most send_limit
    cdef size_t send_limit
    cdef uint64_t pending_verdicts
    cdef int64_t outstanding       # packets handed out and not settled
    cdef int64_t held              # of these, those on VERDICT_HOLD
    cdef uint32_t config_seq       # sequence number whose answer is awaited; 0 for none
    cdef int config_status         # that answer: 0 or a negative errno

    cdef void lay_out_slots(self) noexcept
    cdef int configure(self, uint32_t max_length, uint32_t flags) except -1
    cdef int unbind(self) except -1
    cdef int receive(self, int capacity) noexcept nogil
    cdef void choose_take(self) noexcept nogil
    cdef bint next_packet(self, packet_t *packet) noexcept nogil
    cdef void next_slot(self) noexcept nogil
    cdef void note_status(self, int status, uint32_t seq) noexcept nogil
    cdef int settle(self, packet_t *packets, int count, bint ordered) noexcept nogil
    cdef void choose(self, const packet_t *packet, verdict_t *out) noexcept nogil
    cdef int run_length(self, const packet_t *packets, int count, const verdict_t *first) noexcept nogil
    cdef int queue_verdict(self, verdict_t *verdict, packet_t *packet, int count) noexcept nogil
    cdef void append_head(self, const verdict_t *verdict) noexcept nogil
    cdef int queue_carrier(self, transmit_t *carrier) noexcept nogil
    cdef void append(self, const uint8_t *data, size_t size) noexcept nogil
    cdef int flush(self) noexcept nogil

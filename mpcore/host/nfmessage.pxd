"""Messages of the kernel's packet queue, as in <linux/netfilter/nfnetlink_queue.h>."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from mpcore.store.packet cimport packet_t


cdef enum:
    MESSAGE_PACKET = 0     # *packet is filled
    MESSAGE_STATUS = 1     # the kernel's answer to a message of ours: `status`, `seq`
    MESSAGE_IGNORED = 2    # nothing for us
    MESSAGE_MALFORMED = 3  # lengths that contradict each other, or no packet id

    VERDICT_HEAD_MAX = 48  # bytes that verdict_emit writes at most
    VERDICT_PAYLOAD_MAX = 65531   # 16-bit attribute length less its own header
    CONFIG_SIZE = 68

    NF_DROP = 0
    NF_ACCEPT = 1
    NF_REPEAT = 4

    QUEUE_FAIL_OPEN = 1
    QUEUE_GSO = 4


cdef struct message_t:
    int kind               # MESSAGE_…
    int status             # 0 or a negative errno, for MESSAGE_STATUS
    uint32_t seq           # of the message that is answered, for MESSAGE_STATUS


cdef struct verdict_t:
    uint16_t queue         # queue number
    uint8_t batch          # one verdict for every waiting packet with an id up to `id`
    uint8_t has_mark
    uint32_t code          # NF_DROP, NF_ACCEPT, NF_REPEAT
    uint32_t id
    uint32_t mark
    uint32_t payload_size  # 0: unchanged; at most VERDICT_PAYLOAD_MAX


# Reads one message at `data`. Returns the bytes it takes up (aligned to four, at most `size`), or 0 when not
# even a header with a sane length is there: the rest of the datagram is then lost.
cdef uint32_t message_parse(uint8_t *data, uint32_t size, message_t *out, packet_t *packet) noexcept nogil
# Writes all of a verdict message but its payload, which follows, padded to four; returns the bytes written.
cdef uint32_t verdict_emit(uint8_t *out, const verdict_t *verdict) noexcept nogil
# Writes copy mode and range, queue length, and the flags, once, with their mask; asks for an answer. Returns
# the bytes written, at most CONFIG_SIZE.
cdef uint32_t config_emit(uint8_t *out, uint16_t queue, uint32_t seq, uint32_t copy_range,
                          uint32_t max_length, uint32_t flags) noexcept nogil
# Writes the command that takes the queue down; no answer is asked for. Returns the bytes written.
cdef uint32_t unbind_emit(uint8_t *out, uint16_t queue) noexcept nogil

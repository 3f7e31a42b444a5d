/* The least that a C program does to accept everything from a packet queue: the ceiling of all queue loops. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SLOTS = 64, SLOT_SIZE = 69632 };

static uint8_t slab[SLOTS][SLOT_SIZE];

struct message {
    struct nlmsghdr head;
    struct nfgenmsg family;
    uint8_t attributes[64];
};

static void begin(struct message *message, int kind, uint16_t queue)
{
    memset(message, 0, sizeof *message);
    message->head.nlmsg_len = NLMSG_LENGTH(sizeof message->family);
    message->head.nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | kind;
    message->head.nlmsg_flags = NLM_F_REQUEST;
    message->family.res_id = htons(queue);
}

static void put(struct message *message, int type, const void *value, size_t size)
{
    struct nlattr *attribute = (struct nlattr *)((uint8_t *)message + NLMSG_ALIGN(message->head.nlmsg_len));
    attribute->nla_type = type;
    attribute->nla_len = NLA_HDRLEN + size;
    memcpy((uint8_t *)attribute + NLA_HDRLEN, value, size);
    message->head.nlmsg_len = NLMSG_ALIGN(message->head.nlmsg_len) + NLA_ALIGN(attribute->nla_len);
}

/* A descriptor, or -1. */
int queue_open(uint16_t queue, uint32_t most, int gso)
{
    struct nfqnl_msg_config_cmd bind_command = {NFQNL_CFG_CMD_BIND, 0, htons(PF_UNSPEC)};
    struct nfqnl_msg_config_params copy = {htonl(0xffff), NFQNL_COPY_PACKET};
    uint32_t length = htonl(most), flags = htonl(gso ? NFQA_CFG_F_GSO : 0), mask = htonl(NFQA_CFG_F_GSO);
    int on = 1, room = 16 << 20, descriptor = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
    struct message message;
    if (descriptor < 0)
        return -1;
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    setsockopt(descriptor, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
    begin(&message, NFQNL_MSG_CONFIG, queue);
    put(&message, NFQA_CFG_CMD, &bind_command, sizeof bind_command);
    if (send(descriptor, &message, message.head.nlmsg_len, 0) < 0)
        return -1;
    begin(&message, NFQNL_MSG_CONFIG, queue);
    put(&message, NFQA_CFG_PARAMS, &copy, sizeof copy);
    put(&message, NFQA_CFG_QUEUE_MAXLEN, &length, sizeof length);
    put(&message, NFQA_CFG_FLAGS, &flags, sizeof flags);
    put(&message, NFQA_CFG_MASK, &mask, sizeof mask);
    return send(descriptor, &message, message.head.nlmsg_len, 0) < 0 ? -1 : descriptor;
}

/* The id of the packet in a message, in network order; 1 when it has one. */
static int packet_id(const uint8_t *data, size_t size, uint32_t *id)
{
    const struct nlmsghdr *head = (const struct nlmsghdr *)data;
    const struct nlattr *attribute = (const struct nlattr *)(data + NLMSG_LENGTH(sizeof(struct nfgenmsg)));
    if (size < 32 || head->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET)
        || (attribute->nla_type & NLA_TYPE_MASK) != NFQA_PACKET_HDR)
        return 0;
    memcpy(id, (const uint8_t *)attribute + NLA_HDRLEN, 4);
    return 1;
}

/* Accepts `count` packets, or packets without end when it is negative, and marks them where `mark` is not 0;
   how many there were. */
long queue_accept(int descriptor, uint16_t queue, uint32_t mark, long count)
{
    static struct mmsghdr messages[SLOTS];
    static struct iovec places[SLOTS];
    struct pollfd ready = {descriptor, POLLIN, 0};
    uint32_t network_mark = htonl(mark);
    long done = 0;
    for (int i = 0; i < SLOTS; i++) {
        places[i] = (struct iovec){slab[i], SLOT_SIZE};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &places[i], .msg_iovlen = 1};
    }
    while (count < 0 || done < count) {
        struct nfqnl_msg_verdict_hdr verdict = {htonl(NF_ACCEPT), 0};
        struct message message;
        int had = 0, got = recvmmsg(descriptor, messages, SLOTS, MSG_DONTWAIT, NULL);
        if (got <= 0) {
            if (poll(&ready, 1, 2000) <= 0 && count >= 0)
                return done;
            continue;
        }
        for (int i = 0; i < got; i++)
            had += packet_id(slab[i], messages[i].msg_len, &verdict.id);
        if (!had)
            continue;
        begin(&message, NFQNL_MSG_VERDICT_BATCH, queue);
        put(&message, NFQA_VERDICT_HDR, &verdict, sizeof verdict);
        if (mark)
            put(&message, NFQA_MARK, &network_mark, sizeof network_mark);
        if (send(descriptor, &message, message.head.nlmsg_len, 0) < 0)
            return -1;
        done += had;
    }
    return done;
}

"""The Linux socket calls that the compiled host modules use (header only)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t


cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len


cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        pass

    struct msghdr:
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        int msg_flags

    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len

    enum:
        AF_INET
        AF_INET6
        MSG_DONTWAIT
        MSG_TRUNC

    ssize_t sendmsg(int descriptor, const msghdr *message, int flags)
    int recvmmsg(int descriptor, mmsghdr *messages, unsigned int count, int flags, void *timeout)
    int sendmmsg(int descriptor, mmsghdr *messages, unsigned int count, int flags)


cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr

    struct in6_addr:
        uint8_t s6_addr[16]

    struct sockaddr_in:
        uint16_t sin_family
        in_addr sin_addr

    struct sockaddr_in6:
        uint16_t sin6_family
        in6_addr sin6_addr

"""Binary compatibility of the headers: a module that cimports them calls `mpcore_check_abi()` once.

Cython notices a function whose signature changed, but not a struct whose layout did: the callee would then
write past the caller's struct. So the constants below, compiled into the caller, are compared with those of
the package that is loaded. `MPCORE_ABI` rises with every change of a public struct, enum or meaning.
"""

from mpcore.store.packet cimport packet_t, transmit_queue_t, transmit_t
from mpcore.store.reorder cimport reorder_stats_t, span_t
from mpcore.store.ring cimport chunk_pool_t, ring_t
from mpcore.wire.batch cimport packets_t, rewritten_t
from mpcore.wire.ip cimport ip_t
from mpcore.wire.mptcp cimport mptcp_t
from mpcore.wire.packet cimport headers_t
from mpcore.wire.rewrite cimport shim6_flow_t, tcp_rewrite_t
from mpcore.wire.tcp cimport tcp_t


cdef enum:
    MPCORE_ABI = 1


# The sizes of the public structs as the caller's compiler sees them, by name.
cdef inline dict mpcore_sizes():
    return {
        "chunk_pool_t": sizeof(chunk_pool_t),
        "headers_t": sizeof(headers_t),
        "ip_t": sizeof(ip_t),
        "mptcp_t": sizeof(mptcp_t),
        "packet_t": sizeof(packet_t),
        "packets_t": sizeof(packets_t),
        "reorder_stats_t": sizeof(reorder_stats_t),
        "rewritten_t": sizeof(rewritten_t),
        "ring_t": sizeof(ring_t),
        "shim6_flow_t": sizeof(shim6_flow_t),
        "span_t": sizeof(span_t),
        "tcp_rewrite_t": sizeof(tcp_rewrite_t),
        "tcp_t": sizeof(tcp_t),
        "transmit_queue_t": sizeof(transmit_queue_t),
        "transmit_t": sizeof(transmit_t),
    }


# 0, or ImportError with the way out when the caller was compiled against headers of another ABI.
cdef inline int mpcore_check_abi() except -1:
    from mpcore.abi import check
    check(MPCORE_ABI, mpcore_sizes())
    return 0

"""Loss detection and recovery of a subflow's sender: RACK, PRR, and taking back what was no loss."""

from libc.stdint cimport uint32_t, uint64_t

from mpcore.mptcp.types cimport plane_t, segment_t, subflow_t
from mpcore.wire.tcp cimport tcp_t


cdef enum:
    DUP_THRESHOLD = 3          # RFC 6675 §2


# `segment` is known to have arrived; `tcp` is the segment that told so, `before` the one sent before it, or
# NULL.
cdef void recovery_delivered(plane_t *plane, subflow_t *subflow, const segment_t *segment,
                             const segment_t *before, const tcp_t *tcp) noexcept nogil
# An ACK has come that tells nothing: it may answer `question_ns`.
cdef void recovery_answered(const plane_t *plane, subflow_t *subflow) noexcept nogil
# `segment`, in flight until now, is presumed lost.
cdef void recovery_mark_lost(subflow_t *subflow, segment_t *segment) noexcept nogil
# RACK's judgement on every segment in flight.
cdef void recovery_detect(plane_t *plane, subflow_t *subflow) noexcept nogil
# NewReno for a peer without SACK: `acked` bytes were acknowledged, or the ACK is a `duplicate`.
cdef void recovery_without_sack(subflow_t *subflow, uint64_t acked, int duplicate) noexcept nogil
# Begins a fast recovery after `flight` bytes were out.
cdef void recovery_enter(plane_t *plane, subflow_t *subflow, uint64_t flight) noexcept nogil
# Sets the window for this ACK of a fast recovery; `hole`: one segment may go in any case.
cdef void recovery_reduce(subflow_t *subflow, uint64_t delivered, int hole) noexcept nogil
# Everything up to the recovery point has arrived.
cdef void recovery_leave(subflow_t *subflow) noexcept nogil
# The timer fired: everything is presumed lost (RFC 6298 §5).
cdef void recovery_timeout(plane_t *plane, subflow_t *subflow) noexcept nogil
# A segment was sent again; `stamp` is its TSval.
cdef void recovery_resent(subflow_t *subflow, uint32_t stamp) noexcept nogil
# The ACK of `tcp` moved snd_una to `ack`: 1 when its time stamp shows that nothing was lost, which has been
# taken back.
cdef int recovery_spurious(plane_t *plane, subflow_t *subflow, uint64_t ack, const tcp_t *tcp) noexcept nogil
# What was presumed lost is only late: the window is again what it was (RFC 4015 §3.2).
cdef void recovery_take_back(plane_t *plane, subflow_t *subflow) noexcept nogil
# The ACK brought a D-SACK for [start, end).
cdef void recovery_duplicate(plane_t *plane, subflow_t *subflow, uint64_t start, uint64_t end) noexcept nogil
# Outcome of a tail loss probe, told by the ACK number and whether the ACK brought a D-SACK or is a bare
# duplicate.
cdef void recovery_probe_acked(subflow_t *subflow, uint64_t ack, int dsack, int duplicate) noexcept nogil

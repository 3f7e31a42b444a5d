"""Subflows that are suspect: asked for an answer, and relieved of their data by those that come."""

from mpcore.mptcp.types cimport conn_t, plane_t, subflow_t


# A route has changed: ask soon; one that has `lost` its way is set aside until it answers.
cdef void doubt_check(plane_t *plane, conn_t *conn, subflow_t *subflow, int lost) noexcept nogil
# Asks when that is due, and sees to it that a suspect subflow is asked.
cdef void doubt_timeout(plane_t *plane, conn_t *conn, subflow_t *subflow) noexcept nogil
# There is data to ask with again.
cdef void doubt_wake(plane_t *plane, conn_t *conn) noexcept nogil
# `fresh` was just established: what silent subflows have in flight is for it to carry.
cdef void doubt_take_over(plane_t *plane, conn_t *conn, const subflow_t *fresh) noexcept nogil

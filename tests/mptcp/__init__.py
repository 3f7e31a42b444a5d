"""mptcp."""

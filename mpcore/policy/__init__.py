"""Decisions only: path managers (RFC 8684 §3.4 leaves them to each host)."""

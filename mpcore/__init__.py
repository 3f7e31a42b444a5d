"""Multipath TCP (RFC 8684) and Shim6 (RFC 5533) for unmodified programs on unmodified Linux kernels."""

__version__ = "0.1.0"

"""Slow and obvious counterparts of what the package computes fast."""


def internet_sum(data: bytes) -> int:
    """Return the one's-complement sum of big-endian 16-bit words, as RFC 1071 §1 puts it."""
    padded = data + b"\0" * (len(data) % 2)
    total = 0
    for at in range(0, len(padded), 2):
        total += padded[at] << 8 | padded[at + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return total


def internet_checksum(data: bytes) -> int:
    """Return the complement of the sum: what stands in a header."""
    return internet_sum(data) ^ 0xFFFF

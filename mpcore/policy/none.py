"""No paths of its own making."""

from mpcore.policy.base import PathManager


class NoPaths(PathManager):
    """Opens and announces nothing; the peer may still join (RFC 8684 §3.4: policy is each host's own)."""

    name = "none"

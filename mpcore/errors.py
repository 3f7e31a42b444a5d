"""Every error that mpcore raises on purpose; all of them are an `MpcoreError`."""


class MpcoreError(Exception):
    """Base of all errors of this package."""


class WireError(MpcoreError, ValueError):
    """Bytes that are no legal packet, segment or option, or a value that has no form in bytes."""


class LocalProtocolError(MpcoreError):
    """Something was asked for, by policy or by an operator, that a protocol's rules do not allow now."""


class RemoteProtocolError(MpcoreError):
    """The peer broke a rule of the protocol; `reason` is the MP_TCPRST reason code (RFC 8684 §3.6)."""

    def __init__(self, reason: int, message: str = "") -> None:
        super().__init__(message or f"the peer broke the protocol (reason {reason})")
        self.reason = reason


class CapacityError(MpcoreError):
    """A table or queue is at the limit that the configuration sets."""


class ConfigError(MpcoreError):
    """A configuration that cannot be used; the message names the file, the key and what was expected."""


class HostError(MpcoreError):
    """The operating system refused or lacks something; the message says what and the way out."""

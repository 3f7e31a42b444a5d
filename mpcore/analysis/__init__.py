"""Captures explained: connections of MPTCP with their subflows, contexts of Shim6 with their exchanges."""

from mpcore.analysis.capture import Capture, CaptureError
from mpcore.analysis.document import to_document
from mpcore.analysis.inspection import Inspection, inspect

__all__ = ["Capture", "CaptureError", "Inspection", "inspect", "to_document"]

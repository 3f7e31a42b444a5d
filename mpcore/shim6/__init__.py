"""shim6."""

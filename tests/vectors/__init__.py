"""Known answers: bytes and what they mean."""

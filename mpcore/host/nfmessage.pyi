"""C functions only; see the header."""

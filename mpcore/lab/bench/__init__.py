"""The bench: mpcore beside the kernel's own MPTCP and TCP, in the same run, by numbers with a target."""

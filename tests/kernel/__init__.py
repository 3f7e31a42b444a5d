"""mpcore on real traffic: its daemon, the kernel's TCP and MPTCP, unmodified programs, in namespaces."""

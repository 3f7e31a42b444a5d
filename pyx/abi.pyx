"""What the compiled modules of this package were built with; see the header for its use."""

ABI = MPCORE_ABI


def sizes():
    """Return the size of every public struct, in bytes."""
    return mpcore_sizes()


def check(int abi, sizes):
    """Raise ImportError unless `abi` and `sizes`, of another module's build, are those of this package."""
    ours = mpcore_sizes()
    differ = sorted(name for name in ours.keys() | sizes.keys() if ours.get(name) != sizes.get(name))
    if abi != MPCORE_ABI:
        raise ImportError(f"compiled against mpcore's ABI {abi}, but the one installed is {MPCORE_ABI}: "
                          "compile again")
    if differ:
        raise ImportError(f"compiled against other layouts of mpcore's {', '.join(differ)}: compile again")

"""What work cost: processor time of the machine and of a process, and the kernel's MPTCP counters."""

import os
from pathlib import Path

from mpcore.lab.host import Host

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def machine_busy_s() -> float:
    """Return the seconds that all processors of this machine have been busy since boot, summed.

    It is the fair figure for network work, most of which the kernel does in soft interrupts that belong to no
    process; but other load on the machine counts too. The fields are those of proc_stat(5): user, nice,
    system, irq and softirq, without idle and iowait.
    """
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = map(int, fields[:7])
    return (user + nice + system + irq + softirq) / _TICKS_PER_S


def process_cpu_s(pid: int) -> float:
    """Return the user and system seconds that the living process `pid` has used, its threads together."""
    # The second field is the program's name in brackets and may itself contain spaces and brackets.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def kernel_counters(host: Host) -> dict[str, int]:
    """Return the counters of `host` since it was made under the names that `nstat` gives them.

    Among them are `TcpExt…`, `IpExt…` and `MPTcpExt…`.
    """
    lines = host.run(["cat", "/proc/net/netstat"]).stdout.splitlines()
    counters: dict[str, int] = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        prefix, *words = names.split()
        for name, value in zip(words, values.split()[1:], strict=True):
            counters[prefix.rstrip(":") + name] = int(value)
    return counters

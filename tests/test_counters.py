"""The counters: both files agree, names are unique, and the kernel's names are the kernel's."""

import re
from pathlib import Path

import pytest

from mpcore.counters import COUNTER_COUNT, COUNTERS_BY_MIB, Counter, name_counters

HEADER = Path(__file__).parents[1] / "mpcore/store/counters.pxd"
DOCUMENT = Path(__file__).parents[1] / "docs/counters.md"
NETSTAT = Path("/proc/net/netstat")
NEWEST_KERNEL_NAME = "MPTcpExtSimultConnectFallback"
OLDER_KERNELS_ONLY = {"MPTcpExtRcvPruned"}


def header_constants() -> dict[str, int]:
    pairs = re.findall(r"^    COUNTER_(\w+) = (\d+)$", HEADER.read_text(), re.MULTILINE)
    return {name: int(index) for name, index in pairs}


def test_header_and_registry_agree() -> None:
    expected = {counter.name: int(counter) for counter in Counter}
    assert header_constants() == expected | {"COUNT": COUNTER_COUNT}


def test_header_holds_nothing_that_the_test_overlooks() -> None:
    lines = [line for line in HEADER.read_text().splitlines() if "COUNTER_" in line]
    assert len(lines) == COUNTER_COUNT + 1


def test_indices_are_the_order() -> None:
    assert [int(counter) for counter in Counter] == list(range(COUNTER_COUNT))


def test_names_are_unique_and_of_a_known_family() -> None:
    assert len(COUNTERS_BY_MIB) == COUNTER_COUNT
    assert all(re.fullmatch(r"(MPTcpExt|MpcoreExt|Shim6Ext)[A-Z]\w+", name) for name in COUNTERS_BY_MIB)


def test_every_counter_says_what_it_means() -> None:
    assert all(counter.meaning for counter in Counter)


def test_the_documentation_lists_them_all() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) == COUNTER_COUNT
    assert dict(rows) == {counter.mib: counter.meaning for counter in Counter}


def test_kernel_names_are_the_kernels() -> None:
    line = next((line for line in NETSTAT.read_text().splitlines() if line.startswith("MPTcpExt:")), "")
    known = {f"MPTcpExt{word}" for word in line.split()[1:]}
    if NEWEST_KERNEL_NAME not in known:
        pytest.skip("this kernel is too old to compare all names with")
    used = {name for name in COUNTERS_BY_MIB if name.startswith("MPTcpExt")}
    assert used - known == OLDER_KERNELS_ONLY - known


def test_values_get_their_names() -> None:
    values = name_counters(range(COUNTER_COUNT))
    assert values["MPTcpExtMPCapableSYNTX"] == 0
    assert values["MpcoreExtUnknownFlow"] == int(Counter.UNKNOWN_FLOW)


def test_values_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        name_counters([0])

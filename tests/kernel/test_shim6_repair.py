"""Shim6 after somebody has taken its rules away on a real kernel: they come back, with all paths."""

from pathlib import Path

import pytest

from mpcore.host.shim6_rules import CHAIN_PREFIX, REWRITING, TABLE
from mpcore.lab.wait import wait_until
from tests.kernel.shim6_pair import moved_pair, swap

pytestmark = pytest.mark.kernel


def test_a_moved_context_goes_on_when_its_table_is_deleted(tmp_path: Path) -> None:
    """By itself alone its packets would leave without header, on the path that is cut."""
    with moved_pair(tmp_path, "log.level=error") as (pair, client, server):
        host, listing = pair.lab.a, ["nft", "list", "set", "ip6", TABLE, REWRITING]
        host.run(["nft", "delete", "table", "ip6", TABLE])
        wait_until(lambda: "elements" in host.run(listing, check=False).stdout, "the sets to come back")
        swap(client, server, bytes(50_000))
        jumps = host.run(["ip6tables-save", "-t", "mangle"]).stdout.count(f"-j {CHAIN_PREFIX}IN")
        assert jumps == 2  # for protocol 140 and for errors, each once

"""The kernel's own addresses step back, and come back, whoever clears up."""

import json
from pathlib import Path

import pytest

from mpcore.host.autoconf import KernelAutoconf
from mpcore.host.prefix_watch import AddressChanged
from mpcore.shim6.forming import AddressState
from mpcore.shim6.prefixes import prefix_of
from tests.helpers.routers import Router
from tests.host.namespace import in_namespace, run
from tests.host.test_formed import ADDRESS, changes, loaded

SETTING = Path("/proc/sys/net/ipv6/conf/up1/autoconf")


def deprecated() -> list[bool]:
    """Whether they are, of the addresses in the prefix of ADDRESS."""
    (entry,) = json.loads(run("ip", "-j", "-6", "address", "show", "dev", "up1"))
    found = [one for one in entry["addr_info"] if one.get("local", "").startswith("2001:db8:1:")]
    return [one.get("deprecated", False) for one in found]


@in_namespace
def test_the_kernels_addresses_step_back_until_the_next_advertisement_after_the_end(tmp_path: Path) -> None:
    watch = loaded()
    with Router("far1") as router:
        router.advertise("2001:db8:1::")
        found = (change for change in changes(watch) if isinstance(change, AddressChanged))
        next(
            change
            for change in found
            if change.state is AddressState.READY and prefix_of(change.address) == prefix_of(ADDRESS)
        )
        KernelAutoconf(tmp_path).stand_back(prefix_of(ADDRESS), "up1")
        KernelAutoconf(tmp_path).stand_back(prefix_of(ADDRESS), "up1")
        assert (SETTING.read_text(), deprecated()) == ("0\n", [True])
        router.advertise("2001:db8:1::")
        assert deprecated() == [True]
        KernelAutoconf(tmp_path).restore()
        assert SETTING.read_text() == "1\n"
        assert not list(tmp_path.iterdir())
        watch.read()
        router.advertise("2001:db8:1::")
        next(found)
        assert deprecated() == [False]


def test_what_the_administrator_has_set_stays(tmp_path: Path) -> None:
    settings = tmp_path / "conf"
    (settings / "up1").mkdir(parents=True)
    (settings / "up1" / "autoconf").write_text("0\n")
    KernelAutoconf(tmp_path, settings).stand_back(bytes(8), "up1")
    KernelAutoconf(tmp_path, settings).restore()
    assert (settings / "up1" / "autoconf").read_text() == "0\n"


def test_interfaces_that_are_gone_are_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = tmp_path / "conf"
    for name in ("up1", "up2"):
        (settings / name).mkdir(parents=True)
        (settings / name / "autoconf").write_text("1\n")
        KernelAutoconf(tmp_path, settings).stand_back(bytes(8), name)
    assert "up1 may be used instead" in caplog.text, "there is no such interface on this host"
    (settings / "up1" / "autoconf").unlink()
    KernelAutoconf(tmp_path, settings).restore()
    assert (settings / "up2" / "autoconf").read_text() == "1\n"


def test_what_cannot_be_taken_back_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = tmp_path / "conf"
    (settings / "up1").mkdir(parents=True)
    (settings / "up1" / "autoconf").write_text("1\n")
    KernelAutoconf(tmp_path, settings).stand_back(bytes(8), "up1")
    (settings / "up1" / "autoconf").unlink()
    (settings / "up1" / "autoconf").mkdir()
    caplog.clear()
    KernelAutoconf(tmp_path, settings).restore()
    assert "the kernel forms no addresses on up1" in caplog.text
    KernelAutoconf(tmp_path, settings).restore()

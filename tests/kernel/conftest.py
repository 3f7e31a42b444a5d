"""A laboratory and a daemon on its host `a` for all tests of one file."""

from collections.abc import Iterator

import pytest

from mpcore.lab.topology import Lab
from tests.helpers.netns import make_lab
from tests.kernel.support import Daemon, running


@pytest.fixture(scope="module")
def hosts() -> Iterator[Lab]:
    with make_lab() as standing:
        yield standing


@pytest.fixture(scope="module")
def daemon(hosts: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(hosts.a, tmp_path_factory.mktemp("daemon")) as started:
        yield started


@pytest.fixture(scope="module")
def peer(hosts: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A second daemon, on host `b`, for sockets of plain TCP at both ends."""
    with running(hosts.b, tmp_path_factory.mktemp("peer")) as started:
        yield started

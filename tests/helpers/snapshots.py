"""Tables of results kept as text: a test compares to the letter, `--write-snapshots` writes them anew.

Tests marked `full` take minutes, and run only with `--full`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Snapshot = Callable[[Path, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the tables."""
    group = parser.getgroup("snapshots")
    group.addoption("--write-snapshots", action="store_true", help="write the kept tables of results anew")
    group.addoption("--full", action="store_true", help="run what takes minutes as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes unless it was asked for."""
    if not config.getoption("--full"):
        long = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture
def snapshot(request: pytest.FixtureRequest) -> Snapshot:
    """Return what compares a text with the file that keeps it, or writes that file when asked to."""
    writing = bool(request.config.getoption("--write-snapshots"))

    def check(path: Path, text: str) -> None:
        if writing:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        kept = path.read_text() if path.exists() else ""
        assert text.splitlines() == kept.splitlines(), f"`make snapshots` if a new {path.name} is meant"

    return check

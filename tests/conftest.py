"""Fixtures that all tests share, and what holds for each."""

from hypothesis import settings

pytest_plugins = ["tests.helpers.netns", "tests.helpers.snapshots"]

# An example that is slow is no failure: the machine may be busy, or the code compiled with sanitizers.
settings.register_profile("mpcore", deadline=None)
settings.load_profile("mpcore")

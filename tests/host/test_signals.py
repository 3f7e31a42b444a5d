"""Signals that end a wait."""

import os
import select
import signal

import pytest

from mpcore.host.signals import STOP_SIGNALS, StopSignals


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_makes_the_descriptor_readable(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    signals = StopSignals()
    try:
        assert not select.select([signals], [], [], 0)[0]
        os.kill(os.getpid(), number)
        # PEP 475: without the descriptor this wait would last to its end
        assert select.select([signals], [], [], 60)[0]
    finally:
        signals.close()
    assert signal.getsignal(number) is before

"""Plots: drawn where matplotlib is, refused in one sentence where it is not."""

from pathlib import Path

import pytest

from mpcore.analysis import plot
from mpcore.analysis.plot import PlotError, plot_connection
from mpcore.errors import HostError
from tests.analysis.conversation import Conversation


@pytest.fixture
def talk() -> Conversation:
    conversation = Conversation()
    conversation.open()
    conversation.first.data(0, 0, b"x" * 100)
    conversation.join().data(0, 100, b"y" * 100)
    return conversation


def test_a_plot_is_a_picture(talk: Conversation, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    plot_connection(talk.connection(), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"


def test_a_suffix_that_is_no_format(talk: Conversation, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    with pytest.raises(PlotError, match="cannot be drawn"):
        plot_connection(talk.connection(), tmp_path / "plot.nonsense")


def test_without_matplotlib_one_sentence(talk: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(plot, "import_module", absent)
    with pytest.raises(HostError, match=r"plots need matplotlib: .*mpcore\[plot\]"):
        plot_connection(talk.connection(), "plot.png")


def test_without_data_there_is_nothing_to_draw() -> None:
    conversation = Conversation()
    conversation.open()
    with pytest.raises(PlotError, match="nothing to draw"):
        plot_connection(conversation.connection(), "plot.png")

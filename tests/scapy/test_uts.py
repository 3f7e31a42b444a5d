"""The layers tested in Scapy's own way: campaigns of UTscapy, the extension found by its metadata."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.sources import ROOT

config = pytest.importorskip("scapy.config", reason="Scapy is not installed")
CAMPAIGNS = sorted(Path(__file__).parent.glob("*.uts"))


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an installation would tell of this distribution: name, licence, top-level packages."""
    if not hasattr(config.conf, "exts"):
        pytest.skip("this Scapy has no extensions: 2.6 or later is needed")
    folder = tmp_path_factory.mktemp("metadata")
    code = (
        "import sys, setuptools; sys.argv = ['setup.py', '-q', 'egg_info', '--egg-base', sys.argv[1]];"
        "setuptools.setup()"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, check=True, timeout=120)
    return folder


@pytest.mark.parametrize("campaign", CAMPAIGNS, ids=lambda path: path.stem)
def test_campaign(campaign: Path, metadata: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "scapy.tools.UTscapy", "-f", "text", "-N", "-t", str(campaign)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(metadata), str(ROOT)]),
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "FAILED=0" in done.stdout

# SPDX-License-Identifier: MIT OR Apache-2.0
"""The program under test, and a clip."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def program() -> str:
    """Returns the path of `cnnvideo`: $CNNVIDEO, or the newest build of this repository."""
    builds = [ROOT / "target" / kind / "cnnvideo" for kind in ("release", "debug")]
    built = sorted((b for b in builds if b.exists()), key=lambda b: b.stat().st_mtime)
    found = os.environ.get("CNNVIDEO") or (built[-1] if built else shutil.which("cnnvideo"))
    if not found:
        pytest.skip("build cnnvideo first: cargo build --release -p cnnvideo-cli")
    return str(found)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Returns a clip of 240 frames without a cut, with sound."""
    if not shutil.which("gst-launch-1.0"):
        pytest.skip("install gstreamer1.0-tools")
    path = tmp_path / "in.mkv"
    subprocess.run(
        ["gst-launch-1.0", "-q"]
        + "videotestsrc pattern=ball num-buffers=240 ! video/x-raw,format=I420,width=320,"
        "height=240,framerate=25/1 ! x264enc key-int-max=50 ! matroskamux name=m !".split()
        + ["filesink", f"location={path}"]
        + "audiotestsrc num-buffers=400 ! opusenc ! m.".split(),
        check=True,
    )
    return path

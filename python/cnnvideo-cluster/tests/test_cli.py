# SPDX-License-Identifier: MIT OR Apache-2.0
"""The command line and the calls of `cnnvideo`."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnnvideo_cluster.cli import job_of, parser
from cnnvideo_cluster.program import ProgramError, call


def test_options_reach_the_plan() -> None:
    words = "run in.mkv out.mp4 --local 2 --codec h264 --crf 20 --set strength=1 --overwrite"
    words += " --ignore-damage"
    job = job_of(parser().parse_args(words.split()))
    assert job.plan_options == [
        *("--container", "mp4", "--set", "strength=1", "--codec", "h264", "--crf", "20"),
        "--ignore-damage",
    ]
    assert job.join_options == ["--overwrite"]
    assert job.threads == 1
    assert job.folder == Path("out.mp4").absolute().with_name(".out.mp4.cnnvideo-cluster")
    assert job.input == str(Path("in.mkv").absolute())


def test_urls_stay_as_they_are() -> None:
    words = "run https://host/in.mkv out.mkv --scheduler tcp://host:8786"
    job = job_of(parser().parse_args(words.split()))
    assert (job.input, job.threads) == ("https://host/in.mkv", None)


def test_a_cluster_must_be_named() -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["run", "in.mkv", "out.mkv"])


def test_failures_tell_what_the_program_says(program: str, tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="cannot read"):
        call(program, "plan", str(tmp_path / "none.mkv"), "--out", str(tmp_path / "plan.json"))
    with pytest.raises(ProgramError, match="install cnnvideo"):
        call(str(tmp_path / "none"), "plan")

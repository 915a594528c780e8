# SPDX-License-Identifier: MIT OR Apache-2.0
"""Jobs on workers of this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from cnnvideo_cluster.job import Job, run
from cnnvideo_cluster.program import ProgramError, call


@pytest.fixture
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def job_for(clip: Path, program: str, **options: object) -> Job:
    plan_options = ["--codec", "ffv1", "--chunk-frames", "24", "--warm-up", "8"]
    return Job(
        input=str(clip),
        output=clip.with_name("out.mkv"),
        folder=clip.with_name("work"),
        plan_options=plan_options,
        program=program,
        threads=1,
        **options,  # type: ignore[arg-type]
    )


def test_a_lost_worker_is_no_loss(clip: Path, program: str, client: Client) -> None:
    job = job_for(clip, program, keep=True)
    lines: list[str] = []
    victim = next(iter(client.run(os.getpid).values()))

    def end_worker() -> None:
        while not any("chunk 2 of" in line for line in lines):
            time.sleep(0.02)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=end_worker, daemon=True)
    killer.start()
    joined = run(job, client, lines.append)
    killer.join(timeout=5)
    assert not killer.is_alive()
    assert joined["frames"] == 240
    assert joined["chunks"] == 10
    # The same as by hand.
    plan = str(job.folder / "plan.json")
    folder = clip.with_name("by-hand")
    folder.mkdir()
    for number in range(10):
        call(program, "chunk", plan, str(number), "--out-dir", str(folder))
    by_hand = clip.with_name("by-hand.mkv")
    call(program, "join", plan, str(by_hand), "--chunk-dir", str(folder))
    report = call(program, "compare", str(by_hand), str(job.output))
    assert (report["equal"], report["frames"]) == (True, 240)


def test_runs_go_on_and_clean_up(clip: Path, program: str, client: Client) -> None:
    job = job_for(clip, program)
    job.folder.mkdir()
    (job.folder / "plan.json").write_text("{}")
    with pytest.raises(ProgramError, match="other options"):
        run(job, client, lambda _: None)
    (job.folder / "plan.json").unlink()
    broken = job_for(clip, str(clip.with_name("none")))
    with pytest.raises(ProgramError, match="install cnnvideo"):
        run(broken, client, lambda _: None)
    assert run(job, client, lambda _: None)["frames"] == 240
    assert not job.folder.exists()
    assert job.output.exists()

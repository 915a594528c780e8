# SPDX-License-Identifier: MIT OR Apache-2.0
"""Plans a video, runs its chunks on a cluster and joins them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, as_completed

from .program import ProgramError, call, make_chunk

Report = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What to do."""

    input: str
    output: Path
    #: Folder for the plan and the chunks, which all workers can reach under this name.
    folder: Path
    #: Options of `cnnvideo plan`: filter, codec and so on.
    plan_options: list[str] = field(default_factory=list)
    #: Options of `cnnvideo join`.
    join_options: list[str] = field(default_factory=list)
    program: str = "cnnvideo"
    #: Threads of a chunk; None for one for each core.
    threads: int | None = None
    #: How often a chunk that fails is tried again.
    retries: int = 3
    #: Whether the folder stays at the end.
    keep: bool = False


def run(job: Job, client: Client, report: Report) -> dict[str, Any]:
    """Does the job and returns the report of `cnnvideo join`.

    Raises ProgramError if it fails. The finished chunks then stay in the folder, and the next run
    with the same options goes on from there.
    """
    plan_file = _plan(job, report)
    frames = [chunk["frames"] for chunk in json.loads(plan_file.read_text())["plan"]["chunks"]]
    _run_chunks(job, client, plan_file, frames, report)
    report("joining")
    arguments = [str(plan_file), str(job.output), "--chunk-dir", str(job.folder)]
    joined = call(job.program, "join", *arguments, *job.join_options)
    if not job.keep:
        shutil.rmtree(job.folder)
    return joined


def _plan(job: Job, report: Report) -> Path:
    """Makes the plan, unless an earlier run with the same options has made it."""
    plan_file = job.folder / "plan.json"
    options_file = job.folder / "options.json"
    options = json.dumps([job.input, *job.plan_options])
    if plan_file.exists():
        if not options_file.exists() or options_file.read_text() != options:
            raise ProgramError(
                f"the chunks in {job.folder} belong to another input or other options: use those "
                "again, or remove the folder to begin anew"
            )
        report(f"going on with the chunks in {job.folder}")
        return plan_file
    job.folder.mkdir(parents=True, exist_ok=True)
    options_file.write_text(options)
    report("planning")
    plan = call(job.program, "plan", job.input, "--out", str(plan_file), *job.plan_options)
    report(f"{plan['frames']} frames, {plan['shots']} shots, {plan['chunks']} chunks")
    return plan_file


def _run_chunks(
    job: Job, client: Client, plan_file: Path, frames: list[int], report: Report
) -> None:
    """Runs all chunks. Dask runs those of a lost worker again on another one."""
    start = time.monotonic()
    tasks = [
        client.submit(
            make_chunk,
            job.program,
            str(plan_file),
            number,
            str(job.folder),
            job.threads,
            key=f"chunk-{number}-{plan_file}",
            retries=job.retries,
            # Long ones first, so that none is left alone at the end.
            priority=count,
            pure=False,
        )
        for number, count in enumerate(frames)
    ]
    done = 0
    try:
        for finished, task in enumerate(as_completed(tasks), start=1):
            done += task.result()["frames"]
            rate = done / (time.monotonic() - start)
            rest = (sum(frames) - done) / rate
            report(
                f"chunk {finished} of {len(tasks)}, {done} of {sum(frames)} frames, "
                f"{rate:.1f} fps, {rest:.0f} s left"
            )
    except BaseException:
        client.cancel(tasks)
        raise

# SPDX-License-Identifier: MIT OR Apache-2.0
"""Calls the command `cnnvideo`."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
from typing import Any


class ProgramError(RuntimeError):
    """The command has failed; the text is what it has written to the standard error."""


def call(program: str, *arguments: str) -> dict[str, Any]:
    """Runs a subcommand and returns its report.

    Raises ProgramError if it fails or is not installed.
    """
    try:
        result = subprocess.run(
            [program, *arguments, "--json", "--progress", "none"],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
    except OSError as err:
        raise ProgramError(f"cannot run {program}: {err}; install cnnvideo on each worker") from err
    if result.returncode != 0:
        raise ProgramError(result.stderr.strip() or f"{program} has ended by {result.returncode}")
    report: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return report


def make_chunk(
    program: str, plan: str, number: int, folder: str, threads: int | None
) -> dict[str, Any]:
    """Makes a chunk. This is the task that runs on the workers."""
    options = [] if threads is None else ["--threads", str(threads)]
    return call(program, "chunk", plan, str(number), "--out-dir", folder, *options)


def _end_with_parent() -> None:
    """Asks Linux to end this process when its parent ends."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)

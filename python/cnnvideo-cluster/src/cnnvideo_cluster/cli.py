# SPDX-License-Identifier: MIT OR Apache-2.0
"""The command `cnnvideo-cluster`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from distributed import Client, KilledWorker, LocalCluster

from .job import Job, run
from .program import ProgramError

#: Options that go to `cnnvideo plan` as they are.
PLAN_OPTIONS = ["filter", "codec", "crf", "depth", "chunk-frames", "warm-up"]


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    top = argparse.ArgumentParser(prog="cnnvideo-cluster", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="process a video on several workers")
    command.add_argument("input", metavar="IN", help="video file, or its http(s) URL")
    command.add_argument("output", metavar="OUT", type=Path, help=".mkv, .mp4, .mov or .webm")
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument("--scheduler", metavar="URL", help="Dask scheduler, tcp://HOST:PORT")
    where.add_argument("--local", metavar="N", type=int, help="N workers on this machine")
    command.add_argument("--set", metavar="PROPERTY=VALUE", action="append", default=[])
    for option in PLAN_OPTIONS:
        command.add_argument(f"--{option}", metavar="VALUE", help="as of cnnvideo plan")
    command.add_argument("--ignore-damage", action="store_true", help="as of cnnvideo plan")
    command.add_argument(
        "--work-dir",
        metavar="DIR",
        type=Path,
        help="folder for the chunks, which all workers reach by this name; by default a hidden "
        "one beside OUT",
    )
    command.add_argument("--threads", metavar="N", type=int, help="threads of a chunk")
    command.add_argument("--retries", metavar="N", type=int, default=3)
    command.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    command.add_argument("--drop-unsupported", action="store_true", help="as of cnnvideo join")
    command.add_argument("--keep", action="store_true", help="keep the folder of the chunks")
    command.add_argument("--program", default=os.environ.get("CNNVIDEO", "cnnvideo"))
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    return top


def job_of(arguments: argparse.Namespace) -> Job:
    """Returns the job that the command line describes."""
    options = ["--container", arguments.output.suffix.lstrip(".") or "mkv"]
    for setting in arguments.set:
        options += ["--set", setting]
    for option in PLAN_OPTIONS:
        value = getattr(arguments, option.replace("-", "_"))
        if value is not None:
            options += [f"--{option}", value]
    options += ["--ignore-damage"] * arguments.ignore_damage
    output = arguments.output.absolute()
    folder = arguments.work_dir or output.with_name(f".{output.name}.cnnvideo-cluster")
    is_url = "://" in arguments.input
    return Job(
        input=arguments.input if is_url else str(Path(arguments.input).absolute()),
        output=output,
        folder=folder.absolute(),
        plan_options=options,
        join_options=["--overwrite"] * arguments.overwrite
        + ["--drop-unsupported"] * arguments.drop_unsupported,
        program=arguments.program,
        threads=arguments.threads or (1 if arguments.local else None),
        retries=arguments.retries,
        keep=arguments.keep,
    )


@contextmanager
def client_of(arguments: argparse.Namespace) -> Iterator[Client]:
    """Connects with the scheduler, or starts workers."""
    if arguments.scheduler:
        with Client(arguments.scheduler, timeout="30s") as client:
            yield client
        return
    with (
        LocalCluster(n_workers=arguments.local, threads_per_worker=1, dashboard_address=None) as c,
        Client(c) as client,
    ):
        yield client


def main(words: Sequence[str] | None = None) -> int:
    """Runs the program and returns its exit status: 0 done, 1 failed, 2 wrong usage."""
    arguments = parser().parse_args(words)
    job = job_of(arguments)

    def report(text: str) -> None:
        print(f"cnnvideo-cluster: {text}", file=sys.stderr)

    if job.output.exists() and not arguments.overwrite:
        report(f"{job.output} exists: add --overwrite to replace it")
        return 1
    try:
        with client_of(arguments) as client:
            joined = run(job, client, report)
    except ProgramError as err:
        report(str(err))
        return 1
    except KilledWorker as err:
        report(f"a chunk has ended several workers, perhaps for lack of memory: {err}")
        return 1
    except OSError as err:
        report(f"cannot reach the scheduler, or write {job.folder}: {err}")
        return 1
    if arguments.json:
        print(json.dumps(joined))
    else:
        report(f"{job.output}: {joined['frames']} frames of {joined['chunks']} chunks")
    return 0


if __name__ == "__main__":
    sys.exit(main())

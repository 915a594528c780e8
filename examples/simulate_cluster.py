#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Simulates how the wall time of a divided video grows up to 1,000 workers.

The chunks are those of `cnnvideo plan`: borders at cuts where there are any, a warm-up elsewhere.
Workers take the longest chunk first. Needs nothing but Python 3.10:

    examples/simulate_cluster.py
"""

from __future__ import annotations

import argparse
import heapq
import random
from bisect import bisect_left
from dataclasses import dataclass


@dataclass(frozen=True)
class Model:
    """What the times depend on; seconds and frames."""

    #: Frames of the video: two hours of film.
    frames: int = 172_800
    #: Mean length of a shot.
    shot: float = 100
    #: Time to process a frame on one worker.
    frame_time: float = 0.10
    #: Frames of a warm-up, and behind a forced border for lookahead.
    warm_up: int = 100
    lookahead: int = 8
    #: Start of a chunk: process, plan, network, and half a group of pictures to decode.
    chunk_start: float = 1.5
    #: Decoding a frame while planning; and measuring the noise of a shot.
    plan_frame: float = 0.0015
    noise_frames: int = 12
    #: Copying a frame while joining.
    join_frame: float = 0.001
    #: Standard deviation of the logarithm of the speed of workers.
    speed_spread: float = 0.15
    #: Share of chunks that are lost half-way and made again.
    lost: float = 0.01


def cuts_of(model: Model, rng: random.Random) -> list[int]:
    """Returns the first frames of shots: their lengths are log-normal."""
    cuts, position = [], 0.0
    while True:
        position += max(8, model.shot * rng.lognormvariate(-0.32, 0.8))
        if position >= model.frames:
            return cuts
        cuts.append(int(position))


def divide(frames: int, cuts: list[int], length: int) -> list[tuple[int, bool]]:
    """Returns frames of each chunk and whether it begins at a cut, as `cnnvideo plan` does."""
    parts, start, at_cut = [], 0, True
    while frames - start > length + length // 2:
        ideal, least = start + length, max(1, length // 2)
        low, high = start + least, min(ideal + length // 2, frames - least)
        inside = cuts[bisect_left(cuts, low) : bisect_left(cuts, high + 1)]
        end = min(inside, key=lambda cut: abs(cut - ideal), default=ideal)
        parts.append((end - start, at_cut))
        start, at_cut = end, bool(inside)
    return [*parts, (frames - start, at_cut)]


@dataclass
class Result:
    """Times in seconds and shares of one simulated run."""

    chunks: int
    wall: float
    serial: float
    efficiency: float
    extra: float
    tail: float


def simulate(model: Model, workers: int, length: int, seed: int) -> Result:
    """Runs a video once."""
    rng = random.Random(seed)
    cuts = cuts_of(model, rng)
    parts = divide(model.frames, cuts, length)
    join = model.frames * model.join_frame
    forced = sum(not at_cut for _, at_cut in parts)
    # The noise of shots that lie in several chunks is measured once.
    plan = model.frames * model.plan_frame + forced * model.noise_frames * model.frame_time
    work = sorted(
        (
            model.chunk_start
            + model.frame_time
            * (count + (0 if at_cut else model.warm_up) + forced / len(parts) * model.lookahead)
            for count, at_cut in parts
        ),
        reverse=True,
    )
    speeds = [rng.lognormvariate(0, model.speed_spread) for _ in range(workers)]
    free = [(0.0, i) for i in range(workers)]
    ends = [0.0] * workers
    for time in work:
        now, worker = heapq.heappop(free)
        factor = 1.5 if rng.random() < model.lost else 1.0
        ends[worker] = now + factor * time / speeds[worker]
        heapq.heappush(free, (ends[worker], worker))
    last = max(ends)
    mean_end = sum(ends) / workers
    wall = plan + last + join
    alone = model.frames * model.frame_time
    return Result(
        chunks=len(parts),
        wall=wall,
        serial=plan + join,
        efficiency=alone / (wall * sum(speeds)),
        extra=sum(work) / alone - 1,
        tail=last - mean_end,
    )


def median(values: list[float]) -> float:
    """Returns the middle value."""
    return sorted(values)[len(values) // 2]


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=9, help="runs of each row; median")
    arguments.add_argument("--shot", type=float, default=Model.shot, help="mean frames of a shot")
    arguments.add_argument("--frames", type=int, default=Model.frames)
    arguments.add_argument("--frame-time", type=float, default=Model.frame_time)
    arguments.add_argument("--warm-up", type=int, default=Model.warm_up)
    given = arguments.parse_args()
    model = Model(given.frames, given.shot, given.frame_time, given.warm_up)
    print("| workers | chunk frames | chunks | wall time | efficiency | extra work | plan + join | tail |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for workers in (1, 2, 10, 100, 300, 1000):
        for length in (125, 250, 500, 1000):
            runs = [simulate(model, workers, length, seed) for seed in range(given.runs)]
            of = lambda name: median([getattr(run, name) for run in runs])  # noqa: E731
            print(
                f"| {workers} | {length} | {of('chunks')} | {of('wall') / 60:.1f} min "
                f"| {100 * of('efficiency'):.0f} % | {100 * of('extra'):.1f} % "
                f"| {100 * of('serial') / of('wall'):.0f} % | {of('tail'):.0f} s |"
            )


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Measures how far chunks at forced borders are from an undivided run.

Adds white noise to a clip or to a still picture, makes a plan with one chunk and one with several
chunks, processes both, and compares the frames. Needs numpy:

    examples/measure_borders.py CLIP.y4m --chunk-frames 130 --warm-up 48 --warm-up 96
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

FIRST = 8  # frames behind a border that are reported apart


def read_y4m(file) -> tuple[bytes, Iterator[np.ndarray]]:
    """Returns the header and the frames, as rows of bytes, of a 4:2:0 stream of 8 bits."""
    header = file.readline()
    fields = {word[:1]: word[1:] for word in header.split()[1:]}
    width, height = int(fields[b"W"]), int(fields[b"H"])
    size = width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)

    def frames() -> Iterator[np.ndarray]:
        while file.readline():
            yield np.frombuffer(file.read(size), np.uint8)

    return header, frames()


def noisy_clip(clip: Path, out: Path, frames: int, sigma: float, still_rows: float) -> None:
    """Writes `frames` frames: the clip forwards and backwards in turns, with noise.

    The upper part `still_rows` of the picture, a share of its height, shows the first frame.
    """
    random = np.random.default_rng(1)
    with clip.open("rb") as file:
        header, clean = read_y4m(file)
        pictures = list(clean)
    fields = {word[:1]: word[1:] for word in header.split()[1:]}
    width, height = int(fields[b"W"]), int(fields[b"H"])
    still = width * int(height * still_rows)
    turn = pictures + pictures[-2:0:-1]
    with out.open("wb") as file:
        file.write(header)
        for number in range(frames):
            frame = turn[number % len(turn)].astype(np.float32)
            frame[:still] = pictures[0][:still]
            if still_rows >= 1:
                frame[:] = pictures[0]
            frame += random.normal(0, sigma, frame.shape).astype(np.float32)
            file.write(b"FRAME\n" + frame.round().clip(0, 255).astype(np.uint8).tobytes())


def processed(program: str, clip: Path, folder: Path, options: list[str]) -> tuple[Path, dict]:
    """Returns the file that the chunks of a plan become, and the plan."""
    folder.mkdir()
    plan_file, out = folder / "plan.json", folder / "out.mkv"
    quiet = ["--progress", "none"]

    def run(*arguments: str | Path) -> None:
        subprocess.run([program, *arguments, *quiet], check=True, stderr=subprocess.DEVNULL)

    run("plan", clip, "--out", plan_file, "--codec", "ffv1", *options)
    plan = json.loads(plan_file.read_text())["plan"]
    for number in range(len(plan["chunks"])):
        run("chunk", plan_file, str(number))
    run("join", plan_file, out)
    return out, plan


def decoded(program: str, file: Path) -> Iterator[np.ndarray]:
    """Returns the frames of a file."""
    command = [program, "denoise", file, "-", "--filter", "identity", "--progress", "none"]
    pipe = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert pipe.stdout
    return read_y4m(pipe.stdout)[1]


def row(name: str, differences: list[np.ndarray]) -> str:
    """Returns PSNR, share of samples beyond 1 and the largest difference as text."""
    if not differences:
        return f"{name}: none"
    all_of = np.concatenate(differences)
    square = float(np.mean(all_of.astype(np.float64) ** 2))
    psnr = 10 * np.log10(255**2 / square) if square > 0 else float("inf")
    beyond = 100 * float(np.mean(all_of > 1))
    return f"{name}: {psnr:.1f} dB, {beyond:.2f} % beyond 1, largest {all_of.max()}"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path, help="clean clip, y4m of 8 bits in 4:2:0")
    parser.add_argument("--program", default="cnnvideo")
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--sigma", type=float, default=8.0)
    parser.add_argument("--still", type=float, default=0.0, help="still share of the height")
    parser.add_argument("--chunk-frames", default="130")
    parser.add_argument("--warm-up", action="append", default=[])
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    settings = [word for setting in arguments.set for word in ("--set", setting)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        noisy = folder / "noisy.y4m"
        noisy_clip(arguments.clip, noisy, arguments.frames, arguments.sigma, arguments.still)
        one = ["--chunk-frames", "1000000", *settings]
        whole, _ = processed(arguments.program, noisy, folder / "whole", one)
        for warm_up in arguments.warm_up or [""]:
            options = ["--chunk-frames", arguments.chunk_frames, *settings]
            options += ["--warm-up", warm_up] if warm_up else []
            parts, plan = processed(arguments.program, noisy, folder / f"w{warm_up}", options)
            chunks = plan["chunks"]
            starts = [chunk["first_frame"] for chunk in chunks if chunk["warm_up"]]
            first, others = [], []
            pairs = zip(
                decoded(arguments.program, whole), decoded(arguments.program, parts), strict=True
            )
            for number, (a, b) in enumerate(pairs):
                difference = np.abs(a.astype(np.int16) - b)
                is_first = any(0 <= number - start < FIRST for start in starts)
                if is_first:
                    first.append(difference)
                elif starts and number >= starts[0]:
                    others.append(difference)
            used = sorted({chunk["warm_up"] for chunk in chunks if chunk["warm_up"]})
            print(f"{arguments.clip.stem} still={arguments.still} warm-up {used} at {starts}")
            print("  " + row(f"first {FIRST} frames", first))
            print("  " + row("other frames", others))


if __name__ == "__main__":
    main()

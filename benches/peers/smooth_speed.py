#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Compares the time of a frame in cnnsmooth with that of OpenCV's fast global smoother.

    python benches/peers/smooth_speed.py CLIP

Needs requirements.txt, ffmpeg and GST_PLUGIN_PATH. Frames have 1920x1080 pixels, each candidate
uses two threads. The candidates run in alternation, so that other load on the machine affects all
of them alike. Prints the medians of the rounds and the median ratio to cnnsmooth by round.
"""

import statistics
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np

WIDTH, HEIGHT, FRAMES, ROUNDS = 1920, 1080, 40, 7
cv2.setNumThreads(2)


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def pipeline(path, element):
    source = f"filesrc location={path} ! rawvideoparse width={WIDTH} height={HEIGHT} format=i420"
    command = f"gst-launch-1.0 -q {source} ! {element} ! fakesink"
    return lambda: subprocess.run(command.split(), check=True)


def main():
    with tempfile.NamedTemporaryFile(suffix=".yuv") as raw:
        scale = f"scale={WIDTH}:{HEIGHT}"
        command = ["ffmpeg", "-v", "error", "-y", "-stream_loop", "9", "-i", sys.argv[1], "-vf", scale]
        subprocess.run([*command, "-pix_fmt", "yuv420p", "-frames:v", str(FRAMES), "-f", "rawvideo", raw.name], check=True)
        data = np.fromfile(raw.name, np.uint8).reshape(FRAMES, HEIGHT * 3 // 2, WIDTH)
        luma = data[:, :HEIGHT]
        colour = [cv2.cvtColor(frame, cv2.COLOR_YUV2BGR_I420) for frame in data]
        smoother = cv2.ximgproc.fastGlobalSmootherFilter
        few = range(0, FRAMES, FRAMES // 5)
        times = {"cnnsmooth": [], "fast global smoother, colour": [], "fast global smoother, luma alone": []}
        plain, ours = pipeline(raw.name, "identity"), pipeline(raw.name, "cnnsmooth threads=2")
        ours()
        for _ in range(ROUNDS):
            found = [
                (seconds(ours) - seconds(plain)) / FRAMES,
                statistics.mean(seconds(lambda: smoother(colour[i], colour[i], 53, 10)) for i in few),
                statistics.mean(seconds(lambda: smoother(luma[i], luma[i], 53, 10)) for i in few),
            ]
            for row, value in zip(times.values(), found):
                row.append(value)
    print("| 1080p, two threads | ms | of cnnsmooth's time |\n| --- | --- | --- |")
    for name, row in times.items():
        ratio = statistics.median(a / b for a, b in zip(row, times["cnnsmooth"]))
        print(f"| {name} | {1000 * statistics.median(row):.1f} | {ratio:.2f} |")


main()

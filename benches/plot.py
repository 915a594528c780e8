#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Plots the results of `cargo bench --bench denoise`: time of a frame by size and threads.

    python benches/plot.py [PNG]        (needs matplotlib)
"""

import glob
import json
import re
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

LINE = re.compile(r"i420 (\d) threads/(\d+)x(\d+)/new")


def main():
    lines, sizes = {}, {}
    for path in glob.glob("target/criterion/frame/*/*/new/estimates.json"):
        threads, width, height = map(int, LINE.search(path.replace("_", " ")).groups())
        with open(path) as file:
            milliseconds = json.load(file)["median"]["point_estimate"] / 1e6
        sizes[width * height] = f"{width}x{height}"
        lines.setdefault(threads, []).append((width * height, milliseconds))
    if not lines:
        sys.exit("no results found; run cargo bench --bench denoise first")
    figure, axes = pyplot.subplots(figsize=(7, 4.5), dpi=110)
    for threads, points in sorted(lines.items()):
        points.sort()
        axes.plot(*zip(*points), "o-", label=f"{threads} thread{'s' * (threads > 1)}")
        for pixels, milliseconds in points:
            axes.annotate(f"{milliseconds:.0f}", (pixels, milliseconds), xytext=(4, -11), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sorted(sizes), [sizes[pixels] for pixels in sorted(sizes)])
    axes.minorticks_off()
    axes.margins(x=0.1)
    axes.set_xlabel("size of a frame")
    axes.set_ylabel("milliseconds for a frame, median")
    axes.set_title("cnndenoise temporal=false, int8, I420")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.tight_layout()
    figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "target/criterion/denoise.png")


if __name__ == "__main__":
    main()

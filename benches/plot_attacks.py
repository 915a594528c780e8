#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Plots the table that `watermark attack` (crate cnnvideo-eval) prints.

    cargo run --release -p cnnvideo-eval --bin watermark -- attack CLIP... \\
        | python benches/plot_attacks.py attacks.png

Needs matplotlib.
"""

import re
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.patches import Patch

COLOURS = {"all clips": "tab:green", "some": "tab:orange", "none": "tab:red"}


def colour(cell):
    right, clips = map(int, re.match(r"(\d+) of (\d+)", cell).groups())
    return COLOURS["all clips" if right == clips else "some" if right else "none"]


def main():
    rows, header = [], None
    for line in sys.stdin:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] == "attack" and "payload right" in line:
            header = [re.match(r"(\S+ dB)", cell)[1] for cell in cells[1::3]]
        elif header and len(cells) == 1 + 3 * len(header) and re.match(r"\d+ of \d+$", cells[1]):
            rows.append((cells[0], [(colour(cells[i]), -float(cells[i + 2].split("^")[1])) for i in range(1, len(cells), 3)]))
        elif rows and len(cells) < 3:
            break
    if not rows:
        sys.exit("found no table of attacks on the standard input")
    figure, panels = pyplot.subplots(1, len(header), figsize=(9, 0.23 * len(rows) + 1.2), dpi=100, sharey=True)
    for i, (axes, name) in enumerate(zip(panels, header)):
        places = range(len(rows), 0, -1)
        axes.barh(places, [values[i][1] for _, values in rows], color=[values[i][0] for _, values in rows])
        axes.set_yticks(places, [name for name, _ in rows], fontsize=8)
        axes.axvline(9, color="black", linewidth=0.8, linestyle="--")
        axes.set_title(f"marked at {name}", fontsize=10)
        axes.set_xlabel("-log10 of the probability of chance", fontsize=9)
        axes.set_ylim(0.3, len(rows) + 0.7)
    handles = [Patch(color=c, label=f"payload right: {name}") for name, c in COLOURS.items()]
    figure.legend(handles=handles, fontsize=8, loc="lower center", ncols=len(handles))
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "attacks.png")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT OR Apache-2.0
"""Measures the studio in headless Chromium: measure.py CLIP. CNNVIDEO is the program.

Prints the time from opening to the first picture, from a slider to its picture, and the rate of
playing, with the processor time of the studio."""

import os
import pathlib
import statistics
import sys
import time

from studio import Studio
from webdriver import Browser

CHANGES = 40
PLAYED = 8.0


def processor_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(clip):
    clip = pathlib.Path(clip).resolve()
    with Studio(clip.parent) as studio, Browser(1440, 900) as browser:
        browser.open(studio.url)
        browser.wait("globalThis.studio?.chain.cards.length === 1")
        opening = []
        for count in range(1, 6):
            opening.append(
                browser.run(
                    """
                const start = performance.now();
                studio.open({ kind: 'file', path: arguments[0] });
                const wait = () => new Promise((resolve) => setTimeout(resolve, 2));
                while (studio.view.header?.opening !== arguments[1]) await wait();
                return performance.now() - start;""",
                    str(clip),
                    count,
                )
            )
        print(
            f"first picture: median {statistics.median(opening):.0f} ms, first {opening[0]:.0f} ms"
        )
        latencies = browser.run(
            """
            const slider = document.querySelector(
              "[data-element=cnndenoise] [data-name=strength] input[type=range]");
            const wait = (time) => new Promise((resolve) => setTimeout(resolve, time));
            studio.latencies.length = 0;
            for (let i = 0; i < arguments[0]; i += 1) {
              slider.value = 0.2 + 0.02 * (i % 30);
              slider.dispatchEvent(new Event("input"));
              const { revision } = studio.chain;
              while (studio.view.header.revision < revision) await wait(2);
              await wait(100);
            }
            return studio.latencies;""",
            CHANGES,
        )
        late = sorted(latencies)[int(0.95 * len(latencies))]
        print(f"slider to picture: median {statistics.median(latencies):.0f} ms, 95% {late:.0f} ms")
        browser.run("studio.chain.resetAll(); studio.transport.setLoop(true);")
        time.sleep(1)
        browser.run(
            "globalThis.drawn = 0; studio.view.onDraw.on(() => { globalThis.drawn += 1; });"
        )
        browser.run("studio.transport.toggle();")
        time.sleep(1)
        frames = browser.run("return [drawn, studio.view.header.skipped];")
        busy = processor_seconds(studio.process)
        start = time.monotonic()
        time.sleep(PLAYED)
        more = browser.run("return [drawn, studio.view.header.skipped];")
        seconds = time.monotonic() - start
        busy = processor_seconds(studio.process) - busy
        shown, skipped = more[0] - frames[0], more[1] - frames[1]
        print(
            f"playing: {(shown + skipped) / seconds:.1f} fps processed, "
            f"{shown / seconds:.1f} fps shown, "
            f"{1000 * busy / max(1, shown + skipped):.0f} ms of processor time a frame"
        )


if __name__ == "__main__":
    main(sys.argv[1])

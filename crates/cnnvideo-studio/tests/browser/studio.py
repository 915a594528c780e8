# SPDX-License-Identifier: MIT OR Apache-2.0
"""Starts `cnnvideo studio`."""

import os
import subprocess


class Studio:
    """A running studio; `url` is the address that it has printed."""

    def __init__(self, *arguments, program=None, environment=None):
        program = program or os.environ["CNNVIDEO"]
        self.process = subprocess.Popen(
            [program, "studio", *map(str, arguments), "--listen", "127.0.0.1:0", "--no-browser"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the studio does not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()

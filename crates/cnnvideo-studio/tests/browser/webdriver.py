# SPDX-License-Identifier: MIT OR Apache-2.0
"""Drives Chromium by the WebDriver protocol, with the standard library only."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """A headless Chromium."""

    def __init__(self, width=1280, height=800, dark=False):
        self._driver = subprocess.Popen(
            [shutil.which("chromedriver") or "chromedriver", "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._base = f"http://127.0.0.1:{self._port()}"
        arguments = [
            "--headless=new",
            "--hide-scrollbars",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--window-size={width},{height}",
        ]
        if dark:
            arguments.append("--force-dark-mode")
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")  # the sandbox does not run as root
        options = {"args": arguments}
        always = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": always}})
        self._session = f"/session/{session['sessionId']}"
        self.cdp(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]},
        )
        self.size(width, height)

    def _port(self):
        for line in self._driver.stdout:
            if "successfully on port" in line:
                return int(line.split("on port")[1].strip(" .\n"))
        raise RuntimeError("chromedriver does not start")

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None

    def command(self, method, path, body=None):
        return self._call(method, self._session + path, body)

    def cdp(self, command, parameters):
        return self.command("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width, height, mobile=False):
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile},
        )

    def open(self, url):
        self.command("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        """Runs a script that may be asynchronous, and returns its result."""
        wrapped = f"return (async () => {{ {script} }}).apply(null, arguments);"
        wrapped = wrapped.replace("async () =>", "async (...arguments_) =>")
        wrapped = wrapped.replace("arguments[", "arguments_[")
        return self.command("POST", "/execute/sync", {"script": wrapped, "args": list(arguments)})

    def wait(self, expression, seconds=30):
        """Waits until an expression of JavaScript is true, and returns it."""
        end = time.monotonic() + seconds
        while True:
            value = self.run(f"return {expression};")
            if value:
                return value
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} stays false; {self.log()}")
            time.sleep(0.05)

    def find(self, css):
        return self.command("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def click(self, css):
        self.command("POST", f"/element/{self.find(css)}/click", {})

    def type(self, css, text):
        element = self.find(css)
        self.command("POST", f"/element/{element}/clear", {})
        self.command("POST", f"/element/{element}/value", {"text": text})

    def key(self, key):
        self._act(
            "key", "keyboard", [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        )

    def drag(self, start, end, steps=6, button=0):
        """Presses at a point of the page, moves and releases."""
        moves = [
            {
                "type": "pointerMove",
                "duration": 20,
                "x": round(start[0] + (end[0] - start[0]) * i / steps),
                "y": round(start[1] + (end[1] - start[1]) * i / steps),
            }
            for i in range(1, steps + 1)
        ]
        self._act(
            "pointer",
            "mouse",
            [
                {"type": "pointerMove", "duration": 0, "x": round(start[0]), "y": round(start[1])},
                {"type": "pointerDown", "button": button},
                *moves,
                {"type": "pointerUp", "button": button},
            ],
        )

    def press(self, point, button=0):
        """Clicks a point of the page."""
        self.drag(point, point, 1, button)

    def _act(self, kind, name, actions):
        self.command(
            "POST", "/actions", {"actions": [{"type": kind, "id": name, "actions": actions}]}
        )
        self.command("DELETE", "/actions")

    def box(self, css):
        """Returns left, top, width and height of an element in the page."""
        return self.run(
            "const r = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [r.left, r.top, r.width, r.height];",
            css,
        )

    def centre(self, css):
        left, top, width, height = self.box(css)
        return left + width / 2, top + height / 2

    def log(self):
        """Returns the messages of the console since the last call."""
        return [entry["message"] for entry in self.command("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.command("GET", "/screenshot")))

    def close(self):
        try:
            self.command("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(10)
            self._driver.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

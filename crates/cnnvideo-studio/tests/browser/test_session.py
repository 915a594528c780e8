# SPDX-License-Identifier: MIT OR Apache-2.0
"""A person's session in headless Chromium. CNNVIDEO is the program, GST_PLUGIN_PATH has the plugin,
SCREENSHOTS is a folder for pictures of the page."""

import base64
import os
import pathlib
import subprocess
import tempfile
import time
import unittest

from studio import Studio
from webdriver import Browser

WIDTH, HEIGHT, FRAMES = 320, 192, 30
SCREENSHOTS = os.environ.get("SCREENSHOTS")

PIXELS = """
const { after } = studio.view;
const canvas = new OffscreenCanvas(after.width, after.height);
const context = canvas.getContext("2d");
context.drawImage(after, 0, 0);
const { data } = context.getImageData(0, 0, after.width, after.height);
let text = "";
for (let i = 0; i < data.length; i += 4) {
  text += String.fromCharCode(data[i], data[i + 1], data[i + 2]);
}
return btoa(text);
"""

OUTPUT = """
const output = document.getElementById("export-output");
output.value = arguments[0];
output.onchange();
"""


def launch(*words):
    subprocess.run(["gst-launch-1.0", "-q", *words], check=True, timeout=300)


def make_clip(path, pattern):
    launch(
        "videotestsrc",
        f"num-buffers={FRAMES}",
        f"pattern={pattern}",
        "!",
        f"video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate=25/1",
        "!",
        "jpegenc",
        "quality=50",
        "!",
        "matroskamux",
        "!",
        "filesink",
        f"location={path}",
    )


def frames_of(path, count):
    """Returns the RGB values of the first frames of a file."""
    raw = f"{path}.rgb"
    launch(
        "filesrc",
        f"location={path}",
        "!",
        "decodebin",
        "!",
        "videoconvert",
        "!",
        "video/x-raw,format=RGB",
        "!",
        "filesink",
        f"location={raw}",
    )
    data = pathlib.Path(raw).read_bytes()
    size = 3 * WIDTH * HEIGHT
    return [data[i * size : (i + 1) * size] for i in range(count)]


class Session(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        (self.folder / "clips").mkdir()
        for pattern in ("ball", "snow"):
            make_clip(self.folder / "clips" / f"{pattern}.mkv", pattern)
        config = {"XDG_CONFIG_HOME": str(self.folder / "config")}
        self.studio = self.enterContext(Studio(self.folder, environment=config))
        self.browser = self.enterContext(Browser())
        self.browser.open(self.studio.url)
        self.browser.wait("globalThis.studio?.chain.cards.length === 1")

    def tearDown(self):
        severe = [message for message in self.browser.log() if "favicon" not in message]
        self.assertEqual(severe, [])

    def open_clip(self, name="ball"):
        path = str(self.folder / "clips" / f"{name}.mkv")
        self.browser.run("studio.open({kind: 'file', path: arguments[0]});", path)
        self.settle()

    def settle(self):
        """Waits for the exact picture of the present settings."""
        self.browser.wait(
            "studio.view.header?.lossless && studio.view.header.revision === studio.chain.revision"
        )

    def step(self):
        now = self.browser.run("return studio.view.header.seconds;")
        self.browser.click("#forward")
        self.browser.wait(f"studio.view.header.seconds > {now} && studio.view.header.lossless")

    def pixels(self):
        return base64.b64decode(self.browser.run(PIXELS))

    def set(self, element, name, value):
        """Types the value of a setting."""
        field = f"[data-element={element}] [data-name={name}] input[type=number]"
        self.browser.type(field, str(value))
        self.browser.key("\ue007")
        self.settle()

    def add(self, title):
        self.browser.run(
            "[...document.querySelectorAll('.offer')]"
            ".find((button) => button.textContent === arguments[0]).click();",
            f"+ {title}",
        )
        self.settle()

    def test_the_address_with_the_token_is_not_kept(self):
        address = self.browser.run("return location.href;")
        self.assertNotIn("#", address)

    def test_a_clip_opens_from_the_list_of_files(self):
        browser = self.browser
        browser.click("#open")
        browser.wait("document.querySelector('.files .folder')")
        browser.run(
            "[...document.querySelectorAll('.files .folder')]"
            ".find((button) => button.textContent === 'clips').click();"
        )
        browser.wait("document.querySelector('.files .file')")
        browser.click(".files .file")  # the first one by name
        self.settle()
        self.assertIn(
            "ball.mkv", browser.run("return document.getElementById('video').textContent;")
        )
        self.assertIn(
            f"{WIDTH} × {HEIGHT}",
            browser.run("return document.getElementById('video').textContent;"),
        )

    def test_the_split_is_dragged_and_moved_by_keys(self):
        browser = self.browser
        self.open_clip()
        left, top, width, height = browser.box("#view")
        browser.drag(browser.centre("#split"), (left + 0.25 * width, top + height / 2))
        self.assertEqual(browser.run("return document.getElementById('split').ariaValueNow;"), "25")
        browser.key("\ue014")  # the right arrow
        self.assertEqual(browser.run("return document.getElementById('split').ariaValueNow;"), "27")

    def test_modes_zoom_and_moving(self):
        browser = self.browser
        self.open_clip()
        browser.click("#view")
        for key, mode in [
            ("d", "side"),
            ("x", "difference"),
            ("b", "blink"),
            ("a", "after"),
            ("s", "split"),
        ]:
            browser.key(key)
            self.assertEqual(browser.run("return studio.view.mode;"), mode)
        browser.key("8")
        self.assertEqual(browser.run("return studio.view.zoom;"), 8)
        left, top, width, height = browser.box("#view")
        browser.drag((left + 0.2 * width, top + 100), (left + 0.2 * width - 80, top + 100))
        self.assertAlmostEqual(browser.run("return studio.view.centre.x;"), 0.5 + 10 / WIDTH, 3)
        browser.key("0")
        self.assertEqual(browser.run("return studio.view.zoom;"), "fit")

    def test_sliders_undo_and_presets(self):
        browser = self.browser
        self.open_clip("snow")
        plain = self.pixels()
        left, top, width, height = browser.box("[data-name=strength] input[type=range]")
        browser.drag((left + width / 2, top + height / 2), (left + 2, top + height / 2))
        self.settle()
        self.assertEqual(browser.run("return studio.chain.cards[0].properties.strength;"), 0)
        changed = self.pixels()
        self.assertTrue(plain != changed)
        browser.click("#undo")
        self.settle()
        self.assertTrue(self.pixels() == plain)
        browser.click("#redo")
        self.settle()
        self.assertTrue(self.pixels() == changed)
        browser.click("#presets")
        browser.type("#preset-name", "Nothing")
        browser.run(
            "[...document.querySelectorAll('dialog button')]"
            ".find((button) => button.textContent === 'Store').click();"
        )
        browser.wait("document.querySelector('.files .file')?.textContent === 'Nothing'")
        browser.run("document.getElementById('dialog').close();")
        browser.click("#reset")
        self.settle()
        browser.click("#presets")
        browser.wait("document.querySelector('.files .file')")
        browser.click(".files .file")
        browser.wait("studio.chain.cards[0].properties.strength === 0")
        self.settle()
        self.assertTrue(self.pixels() == changed)

    def test_playing_stops_at_the_end(self):
        self.open_clip()
        self.browser.click("#play")
        self.browser.wait("studio.transport.playing")
        self.browser.wait(
            f"!studio.transport.playing && studio.view.header.seconds > {(FRAMES - 2) / 25}"
        )
        self.settle()

    def test_an_object_is_clicked(self):
        browser = self.browser
        self.open_clip()
        self.add("Regions")
        self.add("Smooth")
        browser.click("[data-element=cnnsegment] .wide")
        # The ball of the first frame.
        x, y = browser.run(
            """
            const data = new OffscreenCanvas(arguments[0], arguments[1]);
            const context = data.getContext('2d');
            context.drawImage(studio.view.before, 0, 0);
            const pixels = context.getImageData(0, 0, arguments[0], arguments[1]).data;
            let [n, x, y] = [0, 0, 0];
            for (let i = 0; i < pixels.length; i += 4) if (pixels[i] > 200) {
              n += 1; x += i / 4 % arguments[0]; y += Math.floor(i / 4 / arguments[0]);
            }
            const at = studio.view.toView(x / n, y / n);
            const box = document.getElementById('view').getBoundingClientRect();
            return [at.x + box.left, at.y + box.top];""",
            WIDTH,
            HEIGHT,
        )
        browser.run("studio.view.set({ split: 0.1 });")  # the handle would be over the ball
        browser.press((x, y))
        browser.wait("studio.view.regions")
        self.settle()
        browser.press((x + 200, y), button=2)
        self.settle()
        seeds = browser.run("return studio.chain.cards[0].properties.seeds;")
        self.assertRegex(seeds, r"^fg:\d+,\d+;bg:\d+,\d+$")
        self.set("cnnsmooth", "foreground-strength", 0)
        self.check_export()

    def test_the_denoiser_is_exported(self):
        self.open_clip()
        self.set("cnndenoise", "strength", 0.6)
        self.check_export()

    def check_export(self):
        """Runs the exported lines, and compares their pixels with those of the page."""
        browser = self.browser
        browser.run(
            "studio.open(arguments[0]);",
            {"kind": "file", "path": str(self.folder / "clips" / "ball.mkv")},
        )
        browser.wait("studio.view.header?.opening > 1 && studio.view.header.lossless")
        shown = [self.pixels()]
        for _ in range(4):
            self.step()
            shown.append(self.pixels())
        browser.click("#export")
        browser.run(
            "const s = document.getElementById('export-codec'); s.value = 'ffv1'; s.onchange();"
        )
        for name in ("command", "gstreamer"):
            output = str(self.folder / f"{name}.mkv")
            browser.run(
                OUTPUT,
                output,
            )
            browser.wait(
                f"document.getElementById('line-{name}').textContent.includes('{name}.mkv')"
            )
            line = browser.run(f"return document.getElementById('line-{name}').textContent;")
            program = os.environ["CNNVIDEO"]
            path = f"{os.path.dirname(program)}:{os.environ['PATH']}"
            subprocess.run(
                ["sh", "-c", line],
                check=True,
                timeout=300,
                env={**os.environ, "PATH": path},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for index, (written, seen) in enumerate(zip(frames_of(output, len(shown)), shown)):
                self.assertTrue(written == seen, f"{name}: frame {index} differs")

    def test_the_queue_works_on_files(self):
        browser = self.browser
        self.open_clip()
        browser.click("#export")
        output = self.folder / "queued.mkv"
        browser.run(
            OUTPUT,
            str(output),
        )
        browser.wait("document.getElementById('line-command').textContent.includes('queued.mkv')")
        browser.click("#export-enqueue")
        browser.run("document.getElementById('dialog').close();")
        browser.click("#queue")
        browser.wait("document.querySelector('.job.done')", 120)
        self.assertTrue(output.is_file())

    def test_quality_is_measured(self):
        browser = self.browser
        self.open_clip("snow")
        browser.click("#quality-on")
        browser.wait("document.querySelector('#quality dd')?.textContent.includes('dB')")
        browser.click("#play")
        browser.wait("document.querySelectorAll('#quality .worst button').length === 3")

    def test_problems_are_explained_on_the_card(self):
        self.open_clip()
        self.add("Embed mark")
        self.browser.wait(
            "document.querySelector('[data-element=watermarkembed] .problem:not([hidden])')"
        )
        # The server answered requests; only the pipeline had a problem.

    def test_tabs_have_sessions_of_their_own(self):
        self.open_clip()
        with Browser() as other:
            other.open(self.studio.url)
            other.wait("globalThis.studio?.chain.cards.length === 1")
            self.assertFalse(other.run("return Boolean(studio.view.after);"))

    @unittest.skipUnless(SCREENSHOTS, "no folder for them")
    def test_screenshots(self):
        self.open_clip()
        self.add("Smooth")
        for dark in (False, True):
            scheme = "dark" if dark else "light"
            self.browser.cdp(
                "Emulation.setEmulatedMedia",
                {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
            )
            for name, width, height in (("desktop", 1440, 900), ("phone", 390, 844)):
                self.browser.size(width, height, name == "phone")
                time.sleep(0.3)
                self.browser.screenshot(f"{SCREENSHOTS}/{name}-{scheme}.png")
                wide = self.browser.run("return document.documentElement.scrollWidth - innerWidth;")
                self.assertLessEqual(wide, 0, f"{name} scrolls sideways")


if __name__ == "__main__":
    unittest.main()

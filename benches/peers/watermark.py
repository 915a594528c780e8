#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Measures the robustness of other watermarks against the attacks of `watermark attack`.

Candidates: dwtDct, dwtDctSvd and RivaGAN of invisible-watermark, and blind-watermark. The attacks are
in benches/attacks.json.

    python benches/peers/watermark.py CLIP [CLIP...]

Needs requirements.txt and ffmpeg, and GST_PLUGIN_PATH for the attacks that use elements.

These methods mark images, not video. Every frame carries the same 64 bits (RivaGAN: 32 bits). The
script decodes every frame and takes the majority of the frames for each bit. The methods do not
search for geometry, so the script first resizes frames of another size to the marked size. Real
applications could not do this.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import types

import cv2
import numpy

SIZE = (1280, 720)
BITS = numpy.random.default_rng(1).integers(0, 2, 64)

# invisible-watermark imports torch for its neural method. Only the ONNX networks of that method are
# used here.
sys.modules.setdefault("torch", types.ModuleType("torch"))


class InvisibleWatermark:
    def __init__(self, method):
        self.name = method

    def embed(self, frame):
        from imwatermark import WatermarkEncoder

        encoder = WatermarkEncoder()
        encoder.set_watermark("bits", BITS.tolist())
        return encoder.encode(frame, self.name)

    def read(self, frame):
        from imwatermark import WatermarkDecoder

        return numpy.array(WatermarkDecoder("bits", 64).decode(frame, self.name), float)


class RivaGan:
    """The RivaGAN networks of invisible-watermark, which carry 32 bits."""

    name = "RivaGAN, 32 bits"

    def __init__(self):
        import imwatermark
        import onnxruntime

        folder = pathlib.Path(imwatermark.__file__).parent
        self.encoder, self.decoder = (
            onnxruntime.InferenceSession(str(folder / f"rivagan_{part}.onnx")) for part in ("encoder", "decoder")
        )

    @staticmethod
    def planes(frame):
        return numpy.float32(frame).transpose(2, 0, 1)[None, :, None] / 127.5 - 1

    def embed(self, frame):
        data = numpy.float32([BITS[:32]])
        (marked,) = self.encoder.run(None, {"frame": self.planes(frame), "data": data})[:1]
        return numpy.uint8((marked[0, :, 0].clip(-1, 1).transpose(1, 2, 0) + 1) * 127.5)

    def read(self, frame):
        (bits,) = self.decoder.run(None, {"frame": self.planes(frame)})[:1]
        return numpy.float64(bits[0] > 0.52)


class BlindWatermark:
    name = "blind-watermark"

    def core(self):
        from blind_watermark import WaterMark

        return WaterMark(password_wm=1, password_img=1)

    def embed(self, frame):
        mark = self.core()
        mark.read_img(img=frame)
        mark.read_wm(BITS.astype(bool), mode="bit")
        return numpy.clip(numpy.round(mark.embed()), 0, 255).astype(numpy.uint8)

    def read(self, frame):
        return numpy.array(self.core().extract(embed_img=frame, wm_shape=64, mode="bit"), float)


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def frames(file):
    video = cv2.VideoCapture(str(file))
    found = []
    while True:
        ok, frame = video.read()
        if not ok:
            return found
        if (frame.shape[1], frame.shape[0]) != SIZE:
            frame = cv2.resize(frame, SIZE, interpolation=cv2.INTER_CUBIC)
        found.append(frame)


def write(pictures, file):
    height, width = pictures[0].shape[:2]
    command = f"ffmpeg -v error -y -f rawvideo -pix_fmt bgr24 -s {width}x{height} -r 25 -i - -pix_fmt yuv420p".split()
    subprocess.run([*command, str(file)], input=b"".join(p.tobytes() for p in pictures), check=True)


def attack(step, marked, folder):
    source, coded, out = marked, folder / "coded.mkv", folder / "attacked.mkv"
    if "elements" in step:
        between = folder / "between.y4m"
        words = f"filesrc location={source} ! y4mdec ! {step['elements']} ! video/x-raw,format=I420 ! y4menc ! filesink location={between}"
        subprocess.run(["gst-launch-1.0", "-q", *words.split()], check=True, stdout=subprocess.DEVNULL)
        source = between
    codec = step.get("codec", "").split()
    if "-c:v" in codec:
        ffmpeg("-i", source, "-vf", step.get("filter", "null"), *codec, coded)
        ffmpeg("-i", coded, "-pix_fmt", "yuv420p", "-c:v", "ffv1", out)
    else:
        ffmpeg("-i", source, "-vf", step.get("filter", "null"), "-pix_fmt", "yuv420p", "-c:v", "ffv1", *codec, out)
    return frames(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=pathlib.Path)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--method", action="append", help="run only methods whose name starts with this text")
    arguments = parser.parse_args()
    clips = arguments.clips
    steps = json.loads((pathlib.Path(__file__).parents[1] / "attacks.json").read_text())
    methods = [InvisibleWatermark("dwtDct"), InvisibleWatermark("dwtDctSvd"), RivaGan(), BlindWatermark()]
    methods = [method for method in methods if method.name.startswith(tuple(arguments.method or [""]))]
    right = {(m.name, s["name"]): [] for m in methods for s in steps}
    quality = {m.name: [] for m in methods}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for clip in clips:
            scaled = folder / "clip.mkv"
            fit = f"scale={SIZE[0]}:{SIZE[1]}:force_original_aspect_ratio=increase,crop={SIZE[0]}:{SIZE[1]},setsar=1"
            ffmpeg("-i", clip, "-frames:v", arguments.frames, "-vf", fit, "-c:v", "ffv1", "-pix_fmt", "yuv420p", scaled)
            clean = frames(scaled)
            for method in methods:
                pictures = [method.embed(frame) for frame in clean]
                errors = [numpy.mean((a.astype(float) - b) ** 2) for a, b in zip(clean, pictures)]
                quality[method.name].append(10 * numpy.log10(255**2 / numpy.mean(errors)))
                marked = folder / "marked.y4m"
                write(pictures, marked)
                for step in steps:
                    try:
                        votes = numpy.mean([method.read(frame) for frame in attack(step, marked, folder)], axis=0)
                        right[method.name, step["name"]].append(float(numpy.mean((votes > 0.5) == BITS[: len(votes)])))
                    except Exception as err:
                        print(f"{method.name}, {step['name']}: {err}", file=sys.stderr)
                        right[method.name, step["name"]].append(0.5)
                    print(".", end="", file=sys.stderr, flush=True)
    print(f"\nPSNR in dB: {', '.join(f'{name} {numpy.mean(q):.1f}' for name, q in quality.items())}")
    print(f"\n| attack | {' | '.join(m.name for m in methods)} |\n| --- |{' --- |' * len(methods)}")
    for step in steps:
        cells = []
        for method in methods:
            shares = right[method.name, step["name"]]
            cells.append(f"{sum(s == 1.0 for s in shares)} of {len(shares)} ({numpy.mean(shares):.2f})")
        print(f"| {step['name']} | {' | '.join(cells)} |")


main()

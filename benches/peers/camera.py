#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Compares cnndenoise with common denoisers on simulated camera noise of unknown sigma.

    pip install numpy opencv-contrib-python-headless        (and ffmpeg from the system)
    cargo build --release && export GST_PLUGIN_PATH=target/release
    python benches/peers/camera.py FRAMES... [--picture OUT.jpg --photo PHOTO]

FRAMES is a folder with the frames of a clip. The script adds shot noise and read noise in linear
light behind a Bayer pattern, demosaicks the frames (edge-aware, OpenCV) and converts them to

- 8-bit 4:2:0: "camera",
- the same, compressed by x264 at CRF 20: "camera, H.264",
- 4:2:2, compressed frame by frame as webcams do: "camera, MJPEG".

It prints the PSNR of Y and of U and V, averaged over the frames from the ninth on. With --picture,
it pans over PHOTO and writes an image of the noisy, half denoised, denoised and clean frame.
"""

import argparse
import glob
import os
import subprocess
import tempfile

import cv2
import numpy as np

WAYS = {
    "cnndenoise": ("gst", "cnndenoise"),
    "cnndenoise temporal=false": ("gst", "cnndenoise temporal=false"),
    "cnndenoise quality=balanced": ("gst", "cnndenoise quality=balanced"),
    "cnndenoise quality=best": ("gst", "cnndenoise quality=best"),
    "hqdn3d (its defaults)": ("ffmpeg", "hqdn3d"),
    "hqdn3d=8": ("ffmpeg", "hqdn3d=8"),
    "nlmeans=s=3": ("ffmpeg", "nlmeans=s=3:p=5:r=9"),
    "nlmeans=s=6": ("ffmpeg", "nlmeans=s=6:p=5:r=9"),
    "vaguedenoiser": ("ffmpeg", "vaguedenoiser=threshold=4"),
}


# ffmpeg's names of the formats, and the number of luma samples for each chroma sample.
FFMPEG = {"I420": "yuv420p", "Y42B": "yuv422p"}
SHARES = {"I420": 4, "Y42B": 2}
# Kinds of noise and the format of each.
NOISES = {"camera": "I420", "camera, H.264": "I420", "camera, MJPEG": "Y42B"}


def camera(picture, rng, shot=5e-3, read=0.012):
    """Simulates a camera with this noise: returns `picture` (BGR, 8 bits) with sensor noise."""
    linear = (picture / 255.0) ** 2.2
    linear += rng.normal(size=linear.shape) * np.sqrt(shot * linear + read**2)
    raw = linear[..., 1].copy()
    raw[0::2, 0::2], raw[1::2, 1::2] = linear[0::2, 0::2, 0], linear[1::2, 1::2, 2]
    # The black level leaves room for negative noise.
    black, white = 4000.0, 60000.0
    raw = np.clip(raw * (white - black) + black, 0, 65535).astype(np.uint16)
    rgb = cv2.demosaicing(raw, cv2.COLOR_BayerRG2BGR_EA)
    return np.round(np.clip((rgb - black) / (white - black), 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)


def load(folder, count):
    files = sorted(glob.glob(f"{folder}/*.jpg") + glob.glob(f"{folder}/*.png"))[:count]
    pictures = [cv2.imread(file) for file in files]
    height, width = (n // 16 * 16 for n in pictures[0].shape[:2])
    return [picture[:height, :width] for picture in pictures]


def pan(photo, count):
    """Returns the frames of a slow pan over a photograph."""
    picture = cv2.imread(photo)
    height, width = ((n - count) // 16 * 16 for n in picture.shape[:2])
    return [np.ascontiguousarray(picture[i : i + height, i : i + width]) for i in range(count)]


def planes(raw, width, height, form="I420"):
    """Splits raw frames into Y, U and V, each as (frames, samples)."""
    luma = width * height
    chroma = luma // SHARES[form]
    frames = np.frombuffer(raw, np.uint8).reshape(-1, luma + 2 * chroma).astype(np.float64)
    return [frames[:, :luma], frames[:, luma : luma + chroma], frames[:, luma + chroma :]]


def psnr(a, b):
    errors = [((x[8:] - y[8:]) ** 2).mean(axis=1) for x, y in zip(a, b)]
    chroma = (errors[1] + errors[2]) / 2
    return [float(np.mean(10 * np.log10(255**2 / np.maximum(error, 1e-3)))) for error in (errors[0], chroma)]


class Folder:
    """Raw video files in a temporary folder, by name and format."""

    def __init__(self, folder, width, height):
        self.folder, self.width, self.height = folder, width, height

    def path(self, name, form="I420"):
        return os.path.join(self.folder, name.replace(", ", "-") + "." + form)

    def raw(self, pixels):
        return ["-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{self.width}x{self.height}"]

    def input(self, name, form):
        return [*self.raw(FFMPEG[form]), "-framerate", "25", "-i", self.path(name, form)]

    def output(self, name, form):
        return ["-f", "rawvideo", "-pix_fmt", FFMPEG[form], self.path(name, form)]

    def ffmpeg(self, *arguments):
        subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)

    def write(self, name, pictures):
        """Writes frames in all formats."""
        source = os.path.join(self.folder, "rgb")
        with open(source, "wb") as file:
            file.writelines(picture.tobytes() for picture in pictures)
        for form in FFMPEG:
            self.ffmpeg(*self.raw("bgr24"), "-framerate", "25", "-i", source, *self.output(name, form))

    def compress(self, name, to, form, *codec):
        video = os.path.join(self.folder, "compressed.mkv")
        self.ffmpeg(*self.input(name, form), *codec, video)
        self.ffmpeg("-i", video, *self.output(to, form))

    def denoise(self, way, name, to, form="I420"):
        tool, filter = way
        if tool == "ffmpeg":
            return self.ffmpeg(*self.input(name, form), "-vf", filter, *self.output(to, form))
        luma = self.width * self.height
        size = f"width={self.width} height={self.height} framerate=25/1"
        command = (
            f"filesrc location={self.path(name, form)} blocksize={luma + 2 * luma // SHARES[form]} ! rawvideoparse format={form.lower()} {size} "
            f"! {filter} ! filesink location={self.path(to, form)}"
        )
        subprocess.run(["gst-launch-1.0", "-q", *command.split()], check=True, stdout=subprocess.DEVNULL)

    def read(self, name, form="I420"):
        with open(self.path(name, form), "rb") as file:
            return planes(file.read(), self.width, self.height, form)

    def picture(self, name, number):
        """Returns a frame in BGR."""
        frame = np.concatenate([plane[number] for plane in self.read(name)]).astype(np.uint8)
        return cv2.cvtColor(frame.reshape(self.height * 3 // 2, self.width), cv2.COLOR_YUV2BGR_I420)


def noisy(clip, folder):
    folder.write("clean", clip)
    rng = np.random.default_rng(3)
    folder.write("camera", [camera(picture, rng) for picture in clip])
    folder.compress("camera", "camera, H.264", "I420", "-c:v", "libx264", "-crf", "20")
    folder.compress("camera", "camera, MJPEG", "Y42B", "-c:v", "mjpeg", "-q:v", "4")


def measure(clips, frames, ways):
    print("| clip | noise | " + " | ".join(["noisy input", *ways]) + " |\n| --- |" + " --- |" * (2 + len(ways)))
    for path in clips:
        clip = load(path, frames)
        height, width = clip[0].shape[:2]
        with tempfile.TemporaryDirectory() as temporary:
            folder = Folder(temporary, width, height)
            noisy(clip, folder)
            for noise, form in NOISES.items():
                clean = folder.read("clean", form)
                cells = ["{:.2f}, {:.2f}".format(*psnr(folder.read(noise, form), clean))]
                for way in ways.values():
                    folder.denoise(way, noise, "out", form)
                    cells.append("{:.2f}, {:.2f}".format(*psnr(folder.read("out", form), clean)))
                name = os.path.basename(os.path.dirname(path) if os.path.basename(path) == "frames" else path)
                print(f"| {name} | {noise} | " + " | ".join(cells) + " |", flush=True)


def show(photo, out):
    """Writes the noisy, half denoised, denoised and clean frame side by side."""
    clip = pan(photo, 24)
    height, width = clip[0].shape[:2]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Folder(temporary, width, height)
        noisy(clip, folder)
        folder.denoise(("gst", "cnndenoise strength=0.5"), "camera", "half")
        folder.denoise(("gst", "cnndenoise"), "camera", "whole")
        cv2.imwrite(out, np.hstack([folder.picture(name, 23) for name in ("camera", "half", "whole", "clean")]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--way", default="", help="run only denoisers whose name starts with this text, such as cnndenoise")
    parser.add_argument("--picture")
    parser.add_argument("--photo", default="tests/data/coffee.jpg")
    arguments = parser.parse_args()
    if arguments.clips:
        ways = {name: way for name, way in WAYS.items() if name.startswith(arguments.way)}
        measure(arguments.clips, arguments.frames, ways)
    if arguments.picture:
        show(arguments.photo, arguments.picture)


if __name__ == "__main__":
    main()

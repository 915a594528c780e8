#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Compares cnndeband with the debanding filters of ffmpeg: PSNR of luma, and changes of texture.

    python3 -m venv deband && deband/bin/pip install numpy opencv-python-headless imageio-ffmpeg
    cargo build --release && export GST_PLUGIN_PATH=target/release
    deband/bin/python benches/peers/deband.py mcmaster/*.tif

The pictures are luma of photographs at half their size, which has values between code values, and
gradients. Quantised to 6 and 7 bits, they go through each filter as 8-bit frames. The table shows
the PSNR to the original in dB, mean over the pictures, for the best settings of each filter for
each row, and CAMBI, which measures visible bands. Filters that can write 10 bits do so; "8 bits" is
the output of cnndeband with dither.
"""

import argparse
import itertools
import json
import os
import subprocess
import tempfile

import cv2
import imageio_ffmpeg
import numpy as np

TEMPORARY = tempfile.TemporaryDirectory()
IN, OUT = (os.path.join(TEMPORARY.name, name) for name in ("in.yuv", "out.yuv"))


def photographs(paths, side):
    """Returns luma at half the size, with fractions."""
    pictures = []
    for path in paths:
        luma = cv2.cvtColor(cv2.imread(path).astype(np.float32) / 255, cv2.COLOR_BGR2YCrCb)[..., 0]
        luma = 16 + 219 * luma
        half = (luma[0::2, 0::2][: side, : side] + luma[1::2, 0::2][: side, : side]
                + luma[0::2, 1::2][: side, : side] + luma[1::2, 1::2][: side, : side]) / 4
        pictures.append(half)
    return np.stack(pictures)


def gradients(count, height, width):
    """Returns sums of a slope, waves and a spot of light."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width] / width
    pictures = []
    for _ in range(count):
        field = rng.normal() * x + rng.normal() * y
        for _ in range(3):
            fx, fy = rng.uniform(-2, 2, 2)
            field += 0.3 * rng.normal() * np.sin(2 * np.pi * (fx * x + fy * y) + rng.uniform(0, 6.3))
        cx, cy = rng.uniform(0, 1, 2)
        field += rng.normal() * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / rng.uniform(0.05, 0.5))
        field = (field - field.min()) / np.ptp(field)
        contrast = 10 ** rng.uniform(0.7, 1.9)
        pictures.append(rng.uniform(16, 230 - contrast) + contrast * field)
    return np.stack(pictures).astype(np.float32)


def quantise(pictures, bits):
    step = 2 ** (8 - bits)
    return np.clip(np.round(pictures / step) * step, 0, 255).astype(np.uint8)


def write(frames):
    with open(IN, "wb") as file:
        for luma in frames:
            file.write(luma.tobytes() + np.full(luma.size // 2, 128, np.uint8).tobytes())


def read(shape, dtype):
    count, height, width = shape
    data = np.fromfile(OUT, dtype).reshape(count, height * 3 // 2, width)[:, :height].astype(np.float32)
    return data / (4 if dtype == np.uint16 else 1)


def element(frames, settings, caps, dtype):
    """Runs cnndeband."""
    write(frames)
    _, height, width = frames.shape
    subprocess.run(
        f"gst-launch-1.0 -q filesrc location={IN} blocksize={width * height * 3 // 2} ! rawvideoparse"
        f" format=i420 width={width} height={height} framerate=25/1 ! cnndeband {settings} !"
        f" video/x-raw,format={caps} ! filesink location={OUT}",
        shell=True, check=True)
    return read(frames.shape, dtype)


def ffmpeg(frames, filters, pixels, dtype):
    write(frames)
    _, height, width = frames.shape
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p",
         "-s", f"{width}x{height}", "-i", IN, "-vf", f"format={pixels},{filters}", "-f", "rawvideo",
         "-pix_fmt", pixels, OUT],
        check=True)
    return read(frames.shape, dtype)


def peers():
    """Yields name, settings and a function of each peer."""
    for grain, caps, dtype, name in ((0, "I420_10LE", np.uint16, "cnndeband, 10 bits"),
                                     (0.3, "I420", np.uint8, "cnndeband, 8 bits")):
        for range_, threshold in itertools.product((24, 64), (1.5, 2, 2.5, 4)):
            settings = f"range={range_} threshold={threshold} grain={grain}"
            yield name, settings, lambda f, s=settings, c=caps, d=dtype: element(f, s, c, d)
    for strength, radius in itertools.product((1, 1.2, 2, 4, 8), (8, 16, 32)):
        settings = f"gradfun={strength}:{radius}"
        yield "gradfun", settings, lambda f, s=settings: ffmpeg(f, s, "yuv420p", np.uint8)
    for threshold, range_, blur in itertools.product((0.005, 0.01, 0.02, 0.03), (8, 16, 32, 64), (0, 1)):
        settings = f"deband=1thr={threshold}:range={range_}:blur={blur}"
        yield "deband", settings, lambda f, s=settings: ffmpeg(f, s, "yuv420p10le", np.uint16)


def cambi(pictures):
    """Returns CAMBI (Tandon et al., "CAMBI: Contrast-aware multiscale banding index", 2021)."""
    count, height, width = pictures.shape
    with open(OUT, "wb") as file:
        for luma in np.round(4 * pictures).astype("<u2"):
            file.write(luma.tobytes() + np.full(luma.size // 2, 512, "<u2").tobytes())
    log = OUT + ".json"
    video = ["-f", "rawvideo", "-pix_fmt", "yuv420p10le", "-s", f"{width}x{height}", "-i", OUT]
    measure = f"libvmaf=feature=name=cambi:log_fmt=json:log_path={log}"
    ffmpeg_exe = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([ffmpeg_exe, "-v", "error", *video, *video, "-lavfi", measure, "-f", "null", "-"], check=True)
    with open(log) as file:
        return json.load(file)["pooled_metrics"]["cambi"]["mean"]


def psnr(a, b):
    return float(np.mean(10 * np.log10(255**2 / np.maximum(((a - b) ** 2).mean((1, 2)), 1e-6))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--side", type=int, default=248)
    options = parser.parse_args()
    sets = {"photographs": photographs(options.photos, options.side), "gradients": gradients(8, 540, 960)}
    for (name, pictures), bits in itertools.product(sets.items(), (6, 7, 8)):
        frames = quantise(pictures, bits)
        print(f"{name}, {bits} bits: input {psnr(frames, pictures):.2f}, CAMBI {cambi(frames):.2f}")
        best = {}
        for peer, settings, run in peers():
            result = run(frames)
            score = (psnr(result, pictures), psnr(result, frames.astype(np.float32)), settings, result)
            best[peer] = max(best.get(peer, score), score, key=lambda score: score[0])
        for peer, (score, change, settings, result) in best.items():
            print(f"    {peer}: {score:.2f}, CAMBI {cambi(result):.2f}, to the input {change:.2f} ({settings})", flush=True)


if __name__ == "__main__":
    main()

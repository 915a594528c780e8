#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Times elements and filters of ffmpeg on 1080p frames, in turns.

    python3 -m venv speed && speed/bin/pip install numpy opencv-python-headless imageio-ffmpeg
    cargo build --release && export GST_PLUGIN_PATH=target/release
    speed/bin/python benches/peers/speed.py CLIP... --rounds 5

Clips are video files or folders of frames. Their frames are scaled to 1920x1080 and get white noise
of sigma 10. "still" is the first frame of the first clip with new noise in each frame; the first 120
of its frames take as long as moving ones. "raw" are the frames of the first clip behind an RGGB
pattern. The table shows the median of the rounds, without the time of reading the
frames: milliseconds a frame, processor time a frame in milliseconds, and megabytes of memory above
those of `identity`.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np

WIDTH, HEIGHT, SIGMA, THREADS = 1920, 1080, 10, 2
# nlmeans takes a second a frame.
PEER_FRAMES = 12
KEY = "watermarkembed payload=0123456789abcdef key=" + 32 * "5f"
ELEMENTS = ["cnndenoise", "cnndenoise temporal=false", "cnndenoise quality=balanced", "cnnsmooth", "cnndeband", KEY,
            f"cnndenoise ! cnnsmooth ! {KEY}"]
RAW_ELEMENTS = ["cnndemosaic", "bayer2rgb"]
FILTERS = ["hqdn3d", "nlmeans=s=5:p=7:r=15", "atadenoise"]


def frames(path, count):
    """Yields frames of a clip at 1080p, forwards and backwards until there are enough."""
    if Path(path).is_dir():
        files = sorted(p for p in Path(path).iterdir() if p.suffix in (".jpg", ".png"))[:count]
        pictures = [cv2.imread(str(p)) for p in files]
    else:
        capture, pictures = cv2.VideoCapture(path), []
        while len(pictures) < count and (read := capture.read())[0]:
            pictures.append(read[1])
    pictures = [cv2.resize(p, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for p in pictures]
    while len(pictures) < count:
        pictures += pictures[-2::-1]
    return pictures[:count]


def write(path, pictures, sigma):
    rng = np.random.default_rng(1)
    with open(path, "wb") as file:
        for picture in pictures:
            noisy = picture + rng.normal(0, sigma, picture.shape) if sigma else picture
            noisy = np.clip(noisy, 0, 255).round().astype(np.uint8)
            file.write(cv2.cvtColor(noisy, cv2.COLOR_BGR2YUV_I420).tobytes())


def write_raw(path, pictures, sigma):
    """Writes samples of an RGGB pattern."""
    rng = np.random.default_rng(1)
    with open(path, "wb") as file:
        for picture in pictures:
            raw = picture[..., 1].astype(np.float32)
            raw[0::2, 0::2], raw[1::2, 1::2] = picture[0::2, 0::2, 2], picture[1::2, 1::2, 0]
            raw += rng.normal(0, sigma, raw.shape)
            file.write(np.clip(raw, 0, 255).round().astype(np.uint8).tobytes())


def raw_pipeline(path, elements):
    return (f"gst-launch-1.0 -q filesrc location={path} blocksize={WIDTH * HEIGHT} ! capsfilter"
            f" caps=video/x-bayer,format=rggb,width={WIDTH},height={HEIGHT},framerate=25/1 ! {elements}"
            " ! fakesink").split()


def pipeline(path, elements):
    return (f"gst-launch-1.0 -q filesrc location={path} blocksize={WIDTH * HEIGHT * 3 // 2} ! rawvideoparse"
            f" format=i420 width={WIDTH} height={HEIGHT} framerate=25/1 ! {elements} ! fakesink").split()


def ffmpeg(path, filters):
    return [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-threads", str(THREADS), "-filter_threads", str(THREADS),
            "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}", "-i", path, "-vf", filters,
            "-frames:v", str(PEER_FRAMES), "-f", "null", "-"]


def peak_memory(process):
    """Returns kilobytes of memory, 0 if the process has ended."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def measure(command):
    """Returns seconds, seconds of processor time and kilobytes of memory."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    memory, ended = 0, 0
    while not ended:
        time.sleep(0.005)
        memory = max(memory, peak_memory(process))
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--only", default="", help="text that the names of the timed filters contain")
    parser.add_argument("--still-frames", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        jobs = {}
        for clip in options.clips:
            path = os.path.join(folder, f"{len(jobs)}.yuv")
            name = Path(clip).stem if Path(clip).is_file() else Path(clip).parent.name
            write(path, frames(clip, options.frames), SIGMA)
            for what in ["identity", *ELEMENTS]:
                jobs[name, what] = pipeline(path, what)
            for what in ["null", *FILTERS]:
                jobs[name, what] = ffmpeg(path, what)
        still = frames(options.clips[0], 1) * options.still_frames
        path = os.path.join(folder, "still.yuv")
        write(path, still, SIGMA)
        for what in ("identity", "cnndenoise"):
            jobs["still", what] = pipeline(path, what)
        path = os.path.join(folder, "raw.bin")
        write_raw(path, frames(options.clips[0], options.frames), SIGMA)
        for what in ["identity", *RAW_ELEMENTS]:
            jobs["raw", what] = raw_pipeline(path, what)
        jobs = {job: c for job, c in jobs.items() if options.only in job[1] or job[1] in ("identity", "null")}
        results = {job: [] for job in jobs}
        for _ in range(options.rounds):
            for job, command in jobs.items():
                results[job].append(measure(command))
    median = {job: [statistics.median(values) for values in zip(*runs)] for job, runs in results.items()}
    print("| frames | filter | ms a frame | processor ms a frame | MB |\n| --- | --- | --- | --- | --- |")
    for (name, what), (seconds, processor, memory) in median.items():
        base = median[name, "null" if what in FILTERS else "identity"]
        if what in ("identity", "null"):
            continue
        count = options.still_frames if name == "still" else PEER_FRAMES if what in FILTERS else options.frames
        scale = 1000 / count
        shown = what.replace(KEY, "watermarkembed")
        print(f"| {name} | {shown} | {(seconds - base[0]) * scale:.1f} | {(processor - base[1]) * scale:.1f} |"
              f" {(memory - base[2]) / 1024:.0f} |")


if __name__ == "__main__":
    main()

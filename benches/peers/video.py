#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Compares cnndenoise with video denoisers of VapourSynth and ffmpeg: quality and time.

    python3 -m venv video && video/bin/pip install -r benches/peers/video.txt        (Python 3.12 or newer)
    cargo build --release && export GST_PLUGIN_PATH=target/release
    video/bin/python benches/peers/video.py --clips tennis car-shadow --photos 1.png --time tennis

Clips are folders of frames. Everyone gets the same noisy frames, 8-bit 4:2:0:

- "white S": white noise of sigma S in luma,
- "camera": the noise of camera.py, in all planes,
- "H.264": that, compressed by x264 at CRF 23.

The result is the PSNR of luma, mean of the frames from the ninth on. A photograph stands still for
60 frames with new noise in each; the result is the PSNR of luma of frame 30.

Each peer runs with several settings. The tables show, for each noise, the one with the best mean
over the clips, or over the photographs. cnndenoise has its defaults and is not told sigma.
VapourSynth's filters process luma only, ffmpeg's and cnndenoise all planes.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time

import cv2
import dfttest2
import imageio_ffmpeg
import numpy as np
import vapoursynth as vs
from camera import camera, load

core = vs.core
THREADS = 2
# The sigma of each noise in luma, which the peers get as a setting. Those of the camera are
# higher than its PSNR tells, as its noise is coarse.
SIGMAS = {"white 10": 10, "white 25": 25, "camera": 8, "H.264": 10}
FIRST, STILL, STILL_FRAMES = 8, 30, 60
TEMPORARY = tempfile.TemporaryDirectory()
IN, OUT, COMPRESSED = (os.path.join(TEMPORARY.name, name) for name in ("in.yuv", "out.yuv", "video.mkv"))


def as_float(clip):
    return core.std.Expr(clip, "x 255 /", vs.GRAYS)


def as_bytes(clip):
    return core.std.Expr(clip, "x 255 *", vs.GRAY8)


def dft(clip, sigma, strength, frames):
    """DFTTest: Wiener filter on blocks of 16x16 pixels and `frames` frames."""
    return dfttest2.DFTTest(clip, sigma=strength * sigma**2, tbsize=frames, backend=dfttest2.Backend.CPU())


def bm3d(clip, sigma, strength, radius):
    """V-BM3D, both steps, on `2 * radius + 1` frames."""
    noisy = as_float(clip)
    common = {"sigma": strength * sigma, "radius": radius, "block_step": 4, "bm_range": 9}
    return as_bytes(core.bm3dcpu.BM3Dv2(noisy, ref=core.bm3dcpu.BM3Dv2(noisy, **common), **common))


def nlm(clip, sigma, strength, radius):
    """Non-local means on `2 * radius + 1` frames."""
    return as_bytes(core.nlm_ispc.NLMeans(as_float(clip), d=radius, a=4, s=3, h=strength * sigma, wmode=1))


def degrain(clip, sigma, thsad, then=None):
    """The steps of SMDegrain: searches motion on a denoised clip and averages 13 frames along it.

    `thsad` is a multiple of sigma; `then` is a filter for the rest of the noise.
    """
    found = core.mv.Super(dft(clip, sigma, 2, 3), pel=2)
    fields = []
    for delta in range(1, 7):
        for back in (1, 0):
            field = core.mv.Analyse(found, blksize=16, overlap=8, isb=back, delta=delta, search=4)
            fields.append(core.mv.Recalculate(found, field, blksize=8, overlap=4, thsad=100))
    mean = core.mv.Degrain6(clip, core.mv.Super(clip, pel=2, levels=1), *fields, thsad=round(thsad * sigma), thscd1=600)
    return then(mean) if then else mean


def atadenoise(threshold, sigma):
    """Mean of up to 33 frames. The highest threshold that ffmpeg takes is 0.3."""
    options = ":".join(f"{plane}a={min(threshold * sigma / 255, 0.3):.3f}:{plane}b=5" for plane in range(3))
    return f"atadenoise={options}:s=33"


def size(frames):
    """Returns width and height of planar 4:2:0 frames."""
    return frames.shape[2], frames.shape[1] * 2 // 3


def source(frames):
    """Returns luma as a clip."""
    width, height = size(frames)
    blank = core.std.BlankClip(format=vs.GRAY8, width=width, height=height, length=len(frames), keep=True)

    def fill(n, f):
        copy = f.copy()
        np.asarray(copy[0])[:] = frames[n, :height]
        return copy

    return core.std.ModifyFrame(blank, blank, fill)


def script(build):
    """A denoiser in VapourSynth. `build` takes a clip and sigma."""

    def denoise(frames, sigma, wanted):
        clip = build(source(frames), sigma)
        clip = core.std.Splice([clip[n] for n in wanted])
        return np.stack([np.array(frame[0]) for frame in clip.frames(close=True)])

    return denoise


def process(build):
    """A denoiser in a process. `build` returns its command for width, height and sigma."""

    def denoise(frames, sigma, wanted):
        frames.tofile(IN)
        subprocess.run(build(*size(frames), sigma), check=True, stdout=subprocess.DEVNULL)
        return np.fromfile(OUT, np.uint8).reshape(frames.shape)[list(wanted), : size(frames)[1]]

    return denoise


def raw(width, height):
    return [FFMPEG, "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-framerate", "25", "-i", IN]


def ffmpeg(filter):
    """`filter` returns the filter for sigma."""
    threads = ["-filter_threads", str(THREADS)]
    return process(lambda width, height, sigma: [*raw(width, height), *threads, "-vf", filter(sigma), "-f", "rawvideo", OUT])


def gstreamer(element):
    return process(
        lambda width, height, _: ["gst-launch-1.0", "-q"]
        + f"filesrc location={IN} blocksize={width * height * 3 // 2} ! rawvideoparse format=i420 width={width} height={height} "
        f"framerate=25/1 ! {element} ! filesink location={OUT}".split()
    )


def combined(settings):
    """Degrain6 with a threshold, then a filter. `settings` maps names to threshold and filter."""
    return {
        f"thsad={t}*sigma, then {name}": script(lambda c, s, t=t, f=f: degrain(c, s, t, lambda mean: f(mean, s))) for name, t, f in settings
    }


FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
# By peer: denoisers, by the name of their settings; first the one that is best for white 25.
WAYS = {
    "noisy": {"": script(lambda clip, _: clip)},
    "atadenoise, defaults": {"": ffmpeg(lambda _: "atadenoise")},
    "atadenoise, 33 frames": {f"0a={k}*sigma/255": ffmpeg(lambda s, k=k: atadenoise(k, s)) for k in (4, 2, 8)},
    "DFTTest": {
        f"sigma={k}*sigma^2 tbsize={n}": script(lambda c, s, k=k, n=n: dft(c, s, k, n)) for k, n in ((3, 3), (2, 3), (3, 5))
    },
    "NLMeans": {f"h={k}*sigma d={d}": script(lambda c, s, k=k, d=d: nlm(c, s, k, d)) for k, d in ((1.8, 1), (1.4, 1), (2.2, 1), (1.8, 2))},
    "V-BM3D": {
        f"sigma={k}*sigma radius={r}": script(lambda c, s, k=k, r=r: bm3d(c, s, k, r)) for k, r in ((1.5, 2), (1.8, 2), (1.5, 4))
    },
    "Degrain6": {f"thsad={t}*sigma": script(lambda c, s, t=t: degrain(c, s, t)) for t in (80, 50, 120)},
    "Degrain6, DFTTest": combined(
        (f"sigma={k}*sigma^2", t, lambda c, s, k=k: dft(c, s, k, 3)) for t, k in ((50, 0.5), (80, 0.5), (80, 0.25))
    ),
    "Degrain6, BM3D": combined((f"sigma={k}*sigma", t, lambda c, s, k=k: bm3d(c, s, k, 0)) for t, k in ((50, 0.5), (80, 0.5), (80, 0.35))),
    "cnndenoise": {"": gstreamer(f"cnndenoise threads={THREADS}")},
    "cnndenoise lookahead=8": {"": gstreamer(f"cnndenoise threads={THREADS} lookahead=8")},
    "cnndenoise lookahead=8 quality=best": {"": gstreamer(f"cnndenoise threads={THREADS} lookahead=8 quality=best")},
}


def yuv(pictures):
    return np.stack([cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420) for picture in pictures])


def noisy(pictures, noise):
    """Returns the noisy frames of pictures."""
    rng = np.random.default_rng(1)
    if noise.startswith("white"):
        frames = yuv(pictures)
        luma = frames[:, : size(frames)[1]]
        luma[:] = np.clip(np.round(luma + rng.normal(0, SIGMAS[noise], luma.shape)), 0, 255)
        return frames
    frames = yuv([camera(picture, rng) for picture in pictures])
    if noise == "H.264":
        frames.tofile(IN)
        subprocess.run([*raw(*size(frames)), "-c:v", "libx264", "-crf", "23", COMPRESSED], check=True)
        subprocess.run([FFMPEG, "-v", "error", "-y", "-i", COMPRESSED, "-fps_mode", "passthrough", "-f", "rawvideo", OUT], check=True)
        frames = np.fromfile(OUT, np.uint8).reshape(frames.shape)
    return frames


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(np.float64) - b) ** 2))


def best(ways, scenes, sigma):
    """Returns the name of the settings with the best mean, and the PSNR of each scene."""
    results = {}
    for name, way in ways.items():
        results[name] = [np.mean([psnr(*pair) for pair in zip(way(frames, sigma, wanted), clean)]) for frames, clean, wanted in scenes]
        print(f"    {name:<50}" + "".join(f"{value:8.2f}" for value in results[name]), flush=True)
    return max(results.items(), key=lambda result: np.mean(result[1]))


def scenes(sequences, noise, wanted):
    """Returns, for each sequence of pictures, noisy frames, clean luma and the numbers of its frames."""
    clean = [yuv([pictures[n] for n in wanted]) for pictures in sequences]
    return [(noisy(p, noise), c[:, : size(c)[1]], wanted) for p, c in zip(sequences, clean)]


def quality(names, sequences, noise, wanted, chosen, pictures):
    print(f"\n{noise}: {', '.join(names)}")
    material = scenes(sequences, noise, wanted)
    rows = {name: best(ways, material, SIGMAS[noise]) for name, ways in WAYS.items() if name.startswith(chosen)}
    print(f"\n| {noise} | settings | {' | '.join(names)} |\n| --- | --- |{' --- |' * len(names)}")
    for name, (setting, values) in rows.items():
        print(f"| {name} | {setting} | {' | '.join(f'{value:.2f}' for value in values)} |", flush=True)
    if pictures:
        save(f"{pictures}-{noise.replace(' ', '-')}-{names[0]}.png", rows, material[0], SIGMAS[noise])


def save(path, rows, scene, sigma):
    """Writes the middle of the last clean and denoised frames side by side."""
    frames, clean, wanted = scene
    last = [clean[-1]] + [WAYS[name][setting](frames, sigma, wanted)[-1] for name, (setting, _) in rows.items()]
    top, left = (length // 2 - 100 for length in clean[-1].shape)
    cv2.imwrite(path, np.hstack([luma[top : top + 200, left : left + 200] for luma in last]))


def times(pictures, settings, rounds):
    """Prints the milliseconds of a frame: those of all frames less those of the first eight."""
    frames = noisy(pictures, "white 25")
    measured = {name: [] for name in settings}
    for _ in range(rounds):
        for name, setting in settings.items():
            way, seconds = WAYS[name][setting], []
            for part in (frames, frames[:8]):
                start = time.perf_counter()
                way(part, 25, range(len(part)))
                seconds.append(time.perf_counter() - start)
            measured[name].append((seconds[0] - seconds[1]) / (len(frames) - 8) * 1e3)
    medians = {name: statistics.median(values) for name, values in measured.items()}
    print("\n| white 25, {}x{} | settings | ms | ratio |\n| --- | --- | --- | --- |".format(*size(frames)))
    for name, median in medians.items():
        print(f"| {name} | {settings[name]} | {median:.1f} | {median / medians['cnndenoise']:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="+", default=[], help="folders, each with the frames of a clip")
    parser.add_argument("--photos", nargs="+", default=[], help="files, each with a photograph")
    parser.add_argument("--frames", type=int, default=24, help="number of frames of a clip")
    parser.add_argument("--noises", nargs="+", default=list(SIGMAS), choices=SIGMAS)
    parser.add_argument("--way", default="", help="run only denoisers whose name starts with this text")
    parser.add_argument("--time", help="folder with the frames of the clip to measure times with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", help="start of the names of PNG files with parts of the results")
    arguments = parser.parse_args()
    core.num_threads = THREADS
    cv2.setNumThreads(THREADS)
    clips = [load(path, arguments.frames) for path in arguments.clips]
    names = [os.path.basename(path.removesuffix("/frames")) for path in arguments.clips]
    photos = [[cv2.imread(path)] * STILL_FRAMES for path in arguments.photos]
    photos = [[p[: p.shape[0] // 16 * 16, : p.shape[1] // 16 * 16] for p in still] for still in photos]
    titles = [os.path.splitext(os.path.basename(path))[0] for path in arguments.photos]
    settings = {name: next(iter(ways)) for name, ways in WAYS.items() if name.startswith(arguments.way)}
    for noise in arguments.noises:
        if clips and noise != "H.264":
            quality(names, clips, noise, range(FIRST, arguments.frames), arguments.way, arguments.pictures)
        if photos:
            quality(titles, photos, noise, [STILL], arguments.way, arguments.pictures)
    if arguments.time:
        # The row "noisy" is the time of reading and writing alone, in VapourSynth.
        times(load(arguments.time, 40), settings, arguments.rounds)


if __name__ == "__main__":
    main()

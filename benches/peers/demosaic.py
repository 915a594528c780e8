#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Compares cnndemosaic with other demosaicking methods: PSNR of photographs behind a Bayer pattern.

    python3 -m venv demosaic && demosaic/bin/pip install numpy opencv-python-headless colour-demosaicing
    cargo build --release && export GST_PLUGIN_PATH=target/release
    demosaic/bin/python benches/peers/demosaic.py mcmaster/* --pictures folder

Photographs go behind an RGGB pattern and get white noise. Peers: Menon et al. 2007 and Malvar et al. 2004
(colour-demosaicing), OpenCV's edge-aware and VNG methods, and bayer2rgb. With noise, each peer is
followed by cnndenoise with the sigma of the noise and, as its noise is no longer white, with the
estimated one. The table shows the mean PSNR over R, G and B in dB, without four pixels at the border.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np
from colour_demosaicing import demosaicing_CFA_Bayer_Malvar2004, demosaicing_CFA_Bayer_Menon2007

BORDER = 4
TEMPORARY = tempfile.TemporaryDirectory()
IN, OUT = (Path(TEMPORARY.name) / name for name in ("in", "out"))


def mosaic(rgb, sigma, seed):
    """Returns the samples of an RGGB pattern with noise, as 8-bit code values."""
    raw = rgb[..., 1].astype(np.float32)
    raw[0::2, 0::2], raw[1::2, 1::2] = rgb[0::2, 0::2, 0], rgb[1::2, 1::2, 2]
    raw += np.random.default_rng(seed).normal(0, sigma, raw.shape)
    return np.clip(np.round(raw), 0, 255).astype(np.uint8)


def run(data, caps, elements, shape):
    """Runs one frame through elements; returns RGB."""
    height, width = shape
    IN.write_bytes(data.tobytes())
    subprocess.run(
        f"gst-launch-1.0 -q filesrc location={IN} blocksize={data.nbytes} ! capsfilter caps={caps},"
        f"width={width},height={height},framerate=25/1 ! {elements} ! videoconvert !"
        f" video/x-raw,format=RGBx ! filesink location={OUT}".split(),
        check=True)
    return np.fromfile(OUT, np.uint8).reshape(height, width, 4)[..., :3]


def raw_to_rgb(elements):
    """Returns a function that runs elements on raw frames."""
    def convert(raw):
        padded = np.pad(raw, ((0, 0), (0, -raw.shape[1] % 4)))
        return run(padded, "video/x-bayer,format=rggb", elements, raw.shape)
    return convert


def rgb_to_rgb(rgb, elements):
    """Runs elements on a picture."""
    padded = np.dstack([rgb, np.zeros_like(rgb[..., :1])])
    return run(np.ascontiguousarray(padded), "video/x-raw,format=RGBx", elements, rgb.shape[:2])


def from_library(method):
    return lambda raw: np.clip(np.round(method(raw.astype(np.float64), "RGGB")), 0, 255).astype(np.uint8)


# OpenCV names a pattern by the second row and column: RGGB is BG.
PEERS = {
    "Menon 2007": from_library(demosaicing_CFA_Bayer_Menon2007),
    "Malvar 2004": from_library(demosaicing_CFA_Bayer_Malvar2004),
    "OpenCV edge-aware": lambda raw: cv2.demosaicing(raw, cv2.COLOR_BayerBG2RGB_EA),
    "OpenCV VNG": lambda raw: cv2.demosaicing(raw, cv2.COLOR_BayerBG2RGB_VNG),
    "bayer2rgb": raw_to_rgb("bayer2rgb"),
}


def psnr(a, b):
    inner = slice(BORDER, -BORDER)
    error = a[inner, inner].astype(np.float64) - b[inner, inner]
    return 10 * np.log10(255**2 / max(np.mean(error**2), 1e-9))


def methods(sigma):
    """Yields names and functions from samples to RGB."""
    yield "cnndemosaic", raw_to_rgb(f"cnndemosaic noise-level={sigma}")
    yield "cnndemosaic, estimated", raw_to_rgb("cnndemosaic")
    for name, peer in PEERS.items():
        if not sigma:
            yield name, peer
            continue
        for level in (sigma, -1):
            denoise = f"cnndenoise noise-level={level} temporal=false"
            label = f"{name} and cnndenoise" + (", estimated" if level < 0 else "")
            yield label, lambda raw, p=peer, d=denoise: rgb_to_rgb(p(raw), d)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--sigmas", type=float, nargs="+", default=[0, 10])
    parser.add_argument("--pictures", help="folder for the pictures of all methods")
    options = parser.parse_args()
    for sigma in options.sigmas:
        scores = {}
        for seed, path in enumerate(options.photos):
            rgb = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
            # bayer2rgb of GStreamer 1.22 crashes on odd widths.
            rgb = np.ascontiguousarray(rgb[: rgb.shape[0] // 4 * 4, : rgb.shape[1] // 4 * 4])
            raw = mosaic(rgb, sigma, seed)
            for name, method in methods(sigma):
                result = method(raw)
                scores.setdefault(name, []).append(psnr(result, rgb))
                if options.pictures:
                    file = Path(options.pictures) / f"{Path(path).stem}-{sigma:.0f}-{name}.png"
                    cv2.imwrite(str(file), cv2.cvtColor(result, cv2.COLOR_RGB2BGR))
        print(f"\nsigma {sigma:g}, {len(options.photos)} photographs\n\n| method | PSNR |\n| --- | --- |")
        for name, values in scores.items():
            print(f"| {name} | {np.mean(values):.2f} |", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Evaluates classic smoothing filters on the images of `train smooth-set`.

    python benches/peers/smooth.py DIR [COUNT]        (needs requirements.txt)

Each filter uses the best of a few settings. Prints the mean PSNR over R, G and B, the mean SSIM of
luma, and the seconds for an image.
"""

import glob
import os
import sys
import time

import cv2
import numpy as np
import scipy.ndimage
import scipy.sparse
import scipy.sparse.linalg
from skimage.metrics import structural_similarity

FILTERS = cv2.ximgproc
cv2.setNumThreads(1)


def relative_total_variation(picture, lam, sigma, iterations=4):
    """Relative total variation: Xu et al. 2012, equations 4 and 6 to 11."""
    source = picture.astype(np.float64) / 255
    result = source.copy()
    height, width, _ = source.shape
    count = height * width
    for _ in range(iterations):
        weights = []
        for axis in (1, 0):
            step = np.diff(result, axis=axis, append=result.take([-1], axis))
            single = 1 / np.maximum(np.abs(step).mean(2), 0.02)
            blur = lambda plane: scipy.ndimage.gaussian_filter(plane, sigma)
            windowed = 1 / np.maximum(np.abs(np.stack([blur(step[..., c]) for c in range(3)], 2)).mean(2), 1e-3)
            weight = lam * blur(windowed) * single
            weight[(slice(None), -1) if axis else (-1, slice(None))] = 0
            weights.append(weight.ravel())
        across, down = weights
        diagonal = 1 + across + down + np.roll(across, 1) + np.roll(down, width)
        diagonals = [diagonal, -across[:-1], -across[:-1], -down[:-width], -down[:-width]]
        matrix = scipy.sparse.diags(diagonals, [0, 1, -1, width, -width], shape=(count, count), format="csr")
        inverse = scipy.sparse.diags(1 / diagonal)
        for c in range(3):
            solved, _ = scipy.sparse.linalg.cg(
                matrix, source[..., c].ravel(), x0=result[..., c].ravel(), rtol=1e-3, maxiter=100, M=inverse
            )
            result[..., c] = solved.reshape(height, width)
        sigma = max(sigma / 2, 0.5)
    return result * 255


def iterative_least_squares(picture, lam, power, iterations=4, epsilon=1e-4):
    """Liu et al., "Real-time Image Smoothing via Iterative Least Squares", 2020."""
    source = picture.astype(np.float64) / 255
    height, width, _ = source.shape
    across = np.abs(np.exp(2j * np.pi * np.fft.fftfreq(width)) - 1)[None, :] ** 2
    down = np.abs(np.exp(2j * np.pi * np.fft.fftfreq(height)) - 1)[:, None] ** 2
    c = power * epsilon ** (power / 2 - 1)
    denominator = (1 + 0.5 * c * lam * (across + down))[..., None]
    spectrum = np.fft.fft2(source, axes=(0, 1))
    result = source
    for _ in range(iterations):
        divergence = 0
        for axis in (0, 1):
            step = np.roll(result, -1, axis) - result
            auxiliary = c * step - power * step * (step * step + epsilon) ** (power / 2 - 1)
            divergence = divergence + np.roll(auxiliary, 1, axis) - auxiliary
        target = spectrum + 0.5 * lam * np.fft.fft2(divergence, axes=(0, 1))
        result = np.fft.ifft2(target / denominator, axes=(0, 1)).real
    return result * 255


def settings():
    """Yields name, parameters and filter of every setting; filters take scale and image."""
    for weight in (1, 3, 10):
        for colour in (10, 20, 40):
            yield "fast global smoother", (weight, colour), lambda s, x, a=weight, b=colour: (
                FILTERS.fastGlobalSmootherFilter(x, x, a * s * s, b)
            )
    for space in (1, 2, 4):
        for colour in (60, 120, 200):
            yield "domain transform", (space, colour), lambda s, x, a=space, b=colour: FILTERS.dtFilter(x, x, a * s, b)
    for reach in (0.5, 1):
        for epsilon in (0.02, 0.05):
            yield "guided filter", (reach, epsilon), lambda s, x, a=reach, b=epsilon: (
                FILTERS.guidedFilter(x, x, int(max(1, a * s)), b * 65025)
            )
    for weight in (0.02, 0.05, 0.1):
        yield "L0", (weight,), lambda s, x, a=weight: FILTERS.l0Smooth(x, None, a, 2.0)
    for reach in (0.25, 0.4):
        yield "bilateral texture filter", (reach, 3), lambda s, x, a=reach: (
            FILTERS.bilateralTextureFilter(x, int(max(2, a * s)), 3)
        )
    for lam in (0.01, 0.03):
        for ratio in (0.25, 0.4):
            yield "relative total variation", (lam, ratio), lambda s, x, a=lam, b=ratio: (
                relative_total_variation(x, a, max(b * s, 0.5))
            )
    for weight in (0.005, 0.02, 0.08):
        for power in (0.8, 1.0):
            yield "iterative least squares", (weight, power), lambda s, x, a=weight, b=power: (
                iterative_least_squares(x, a * s * s, b)
            )
    for colour in (40, 80):
        yield "rolling guidance", (colour,), lambda s, x, a=colour: (
            FILTERS.rollingGuidanceFilter(x, -1, a, s, numOfIter=4)
        )


def main():
    inputs = sorted(glob.glob(os.path.join(sys.argv[1], "*-input.png")))
    inputs = inputs[: int(sys.argv[2])] if len(sys.argv) > 2 else inputs
    scales = [float(os.path.basename(name).split("-")[1]) for name in inputs]
    pairs = [(cv2.imread(name), cv2.imread(name.replace("-input", "-target"))) for name in inputs]
    best = {}
    for name, parameters, smooth in settings():
        figures = []
        for scale, (noisy, target) in zip(scales, pairs):
            start = time.perf_counter()
            result = np.clip(smooth(scale, noisy), 0, 255).round().astype(np.uint8)
            seconds = time.perf_counter() - start
            error = np.mean((result.astype(float) - target) ** 2)
            grey = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in (result, target)]
            ssim = structural_similarity(*grey, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
            figures.append((10 * np.log10(65025 / error), ssim, seconds))
        row = (*np.mean(figures, 0), parameters)
        if name not in best or row[0] > best[name][0]:
            best[name] = row
    print(f"{len(pairs)} images\n\n| filter | PSNR | SSIM | s | setting |\n| --- | --- | --- | --- | --- |")
    for name, (psnr, ssim, seconds, parameters) in sorted(best.items(), key=lambda item: -item[1][0]):
        print(f"| {name} | {psnr:.2f} | {ssim:.3f} | {seconds:.3f} | {parameters} |")


main()

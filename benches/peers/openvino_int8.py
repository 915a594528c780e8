# SPDX-License-Identifier: MIT OR Apache-2.0
"""Compares the speed of a network in OpenVINO with that of the plugin's engines.

    pip install -r benches/peers/requirements.txt
    cargo build --release -p cnnvideo-eval --bin benchmark
    python benches/peers/openvino_int8.py --threads 2

OpenVINO runs in float32, bfloat16, and int8 (quantised by NNCF). All candidates run the same
weights at the same size, alternating, on the same number of threads. No time includes a conversion
of the input: OpenVINO gets float planes, the engines read rows of floats and quantise them
themselves.
"""

import argparse
import json
import re
import statistics
import subprocess
import time

import nncf
import numpy as np
import openvino as ov
import openvino.opset13 as ops
from safetensors import safe_open


def build(path, height, width):
    """Returns the residual U-Net of a model file as an OpenVINO model with a static input shape."""
    file = safe_open(path, "numpy")
    hyper = json.loads(file.metadata()["hyper-parameters"])

    def weights(name):
        # Large models store their weights in float16.
        weight = file.get_tensor(f"{name}.weight").astype(np.float32)
        return weight, file.get_tensor(f"{name}.bias").reshape(1, -1, 1, 1)

    def conv(name, x, stride=1, pad=1):
        weight, bias = weights(name)
        x = ops.convolution(x, ops.constant(weight), [stride] * 2, [pad] * 2, [pad] * 2, [1, 1])
        return ops.add(x, ops.constant(bias))

    def up(name, x):
        weight, bias = weights(name)
        x = ops.convolution_backprop_data(x, ops.constant(weight), [2, 2], pads_begin=[0, 0], pads_end=[0, 0])
        return ops.add(x, ops.constant(bias))

    def block(name, x):
        return ops.add(x, conv(f"{name}.1", ops.relu(conv(f"{name}.0", x))))

    levels = len(hyper["widths"])
    source = ops.parameter([1, hyper["inputs"], height, width], np.float32, name="input")
    x, skips = conv("head", source), []
    for level in range(levels):
        for i in range(hyper["down_blocks"][level]):
            x = block(f"down.{level}.{i}", x)
        if level + 1 < levels:
            skips.append(x)
            x = conv(f"down.{level}.scale", x, stride=2, pad=0)
    for level in reversed(range(levels - 1)):
        x = ops.add(up(f"up.{level}.scale", x), skips.pop())
        for i in range(hyper["up_blocks"][level]):
            x = block(f"up.{level}.{i}", x)
    return ov.Model([conv("tail", x)], [source], "denoise"), hyper


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="models/denoise-yuv420-fast.safetensors")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()

    def half(n):
        return (n // 2 + 3) // 4 * 4

    shape = (half(arguments.height), half(arguments.width))
    core = ov.Core()
    config = {
        "INFERENCE_NUM_THREADS": arguments.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    model, hyper = build(arguments.model, *shape)
    random = np.random.default_rng(0)
    inputs = [random.uniform(-0.5, 0.5, (1, hyper["inputs"], *shape)).astype(np.float32) for _ in range(4)]
    quantised = nncf.quantize(model, nncf.Dataset(inputs), subset_size=len(inputs))
    peers = {
        "openvino fp32": core.compile_model(model, "CPU", config | {"INFERENCE_PRECISION_HINT": "f32"}),
        "openvino bf16": core.compile_model(model, "CPU", config | {"INFERENCE_PRECISION_HINT": "bf16"}),
        "openvino int8": core.compile_model(quantised, "CPU", config | {"INFERENCE_PRECISION_HINT": "f32"}),
    }
    requests = {name: compiled.create_infer_request() for name, compiled in peers.items()}
    times = {name: [] for name in requests}
    ours, leasts = {}, {}
    size = ["--width", arguments.width, "--height", arguments.height]
    command = ["target/release/benchmark", "--model", arguments.model, *size]
    # The filter selects the AMX, AVX-512 and AVX2 kernel sets.
    command += ["--threads", arguments.threads, "--rounds", 5, "--engine", "/a"]
    for round in range(arguments.rounds):
        for name, request in requests.items():
            start = time.perf_counter()
            request.infer([inputs[0]], share_inputs=True, share_outputs=True)
            times[name].append(time.perf_counter() - start)
        if round % 5 == 4:
            text = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout
            for name, median, least in re.findall(r"^(cpu/\S+)\s+([\d.]+).*?([\d.]+)$", text, re.MULTILINE):
                ours.setdefault(name, []).append(float(median) / 1e3)
                leasts.setdefault(name, []).append(float(least) / 1e3)
    medians = {name: statistics.median(list_) for name, list_ in (times | ours).items()}
    leasts = {name: min(list_) for name, list_ in (times | leasts).items()}
    reference = "openvino int8"
    print(f"{arguments.model}, {arguments.width}x{arguments.height}, {arguments.threads} threads, median and minimum")
    for name, value in medians.items():
        ratio, least_ratio = value / medians[reference], leasts[name] / leasts[reference]
        print(
            f"{name:<22} {value * 1e3:8.2f} ms   {ratio:5.2f} of OpenVINO int8"
            f"   {leasts[name] * 1e3:8.2f} ms   {least_ratio:5.2f}"
        )


if __name__ == "__main__":
    main()

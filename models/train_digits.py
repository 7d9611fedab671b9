#!/usr/bin/env python3
"""Trains the small convolutional network of this folder and writes it as ONNX, with sample images and expected results.

usage: python models/train_digits.py            (after: pip install -r models/requirements.txt; a minute on one core)

Data: scikit-learn's `load_digits`, 1,797 handwritten digits of 8x8 pixels (UCI "Optical Recognition of Handwritten
Digits", test part). A quarter of each class is held out; it is used neither for training nor for stopping.
Network: conv 3x3 (16) - relu - conv 3x3 (32) - relu - max pool 2x2 - gemm (64) - relu - gemm (10) - softmax, trained with
Adam on images shifted by up to one pixel. Everything is plain NumPy, so that the whole of it can be read here.

Writes: digits.onnx, zero.png .. nine.png (one held-out image per class, classified rightly), expected.json (their
probabilities by ONNX's reference evaluator). Seeded and single-threaded: on one machine the same bits come out again.
"""
import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # the order of sums must not depend on the machine's cores
    os.environ[variable] = "1"

import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from sklearn.datasets import load_digits

HERE = Path(__file__).resolve().parent
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SEED, EPOCHS, BATCH, RATE = 7, 60, 32, 2e-3
ACCURACY_WANTED = 0.97


def patches(x):
    """x: [n, c, h, w] -> [n, h, w, c * 9], the 3x3 neighbourhoods of the image padded by one zero."""
    n, c, h, w = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n, h, w, c * 9)


def patches_gradient(grad, c):
    """The transpose of `patches`: every patch element is added back to the pixel it came from."""
    n, h, w, _ = grad.shape
    grad = grad.reshape(n, h, w, c, 3, 3)
    padded = np.zeros((n, c, h + 2, w + 2), np.float32)
    for i in range(3):
        for j in range(3):
            padded[:, :, i : i + h, j : j + w] += grad[..., i, j].transpose(0, 3, 1, 2)
    return padded[:, :, 1:-1, 1:-1]


def convolve(x, weight, bias):
    """x: [n, c, h, w], weight: [m, c, 3, 3] -> ([n, m, h, w], the patches, which the gradient needs)."""
    cols = patches(x)
    y = cols @ weight.reshape(len(weight), -1).T + bias
    return y.transpose(0, 3, 1, 2), cols


def convolve_gradient(grad, cols, weight):
    """grad: [n, m, h, w] -> gradients of the input, the weight and the bias."""
    flat = grad.transpose(0, 2, 3, 1)
    rows = flat.reshape(-1, len(weight))
    d_weight = (rows.T @ cols.reshape(len(rows), -1)).reshape(weight.shape)
    d_input = patches_gradient(flat @ weight.reshape(len(weight), -1), weight.shape[1])
    return d_input, d_weight, rows.sum(0)


def initial(rng):
    """He initialisation; the names are those of the initialisers in the ONNX file."""

    def he(*shape):
        return (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)

    shapes = {"conv1": (16, 1, 3, 3), "conv2": (32, 16, 3, 3), "hidden": (64, 512), "classes": (10, 64)}
    params = {}
    for name, shape in shapes.items():
        params[f"{name}.weight"] = he(*shape)
        params[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    return params


def forward(p, x):
    """x: [n, 1, 8, 8] -> (probabilities [n, 10], what the backward pass needs)."""
    z1, cols1 = convolve(x, p["conv1.weight"], p["conv1.bias"])
    a1 = np.maximum(z1, 0)
    z2, cols2 = convolve(a1, p["conv2.weight"], p["conv2.bias"])
    a2 = np.maximum(z2, 0)
    n = len(x)
    blocks = a2.reshape(n, 32, 4, 2, 4, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, 32, 4, 4, 4)
    winner = blocks.argmax(-1)
    pooled = np.take_along_axis(blocks, winner[..., None], -1).reshape(n, 512)
    z3 = pooled @ p["hidden.weight"].T + p["hidden.bias"]
    a3 = np.maximum(z3, 0)
    logits = a3 @ p["classes.weight"].T + p["classes.bias"]
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True), (cols1, z1, cols2, z2, winner, pooled, z3, a3)


def gradients(p, x, labels):
    """Gradients of the mean cross entropy over the batch, by parameter name."""
    probabilities, (cols1, z1, cols2, z2, winner, pooled, z3, a3) = forward(p, x)
    n, g = len(x), {}
    d_logits = probabilities
    d_logits[np.arange(n), labels] -= 1
    d_logits /= n
    g["classes.weight"], g["classes.bias"] = d_logits.T @ a3, d_logits.sum(0)
    d_z3 = (d_logits @ p["classes.weight"]) * (z3 > 0)
    g["hidden.weight"], g["hidden.bias"] = d_z3.T @ pooled, d_z3.sum(0)
    d_blocks = np.zeros((n, 32, 4, 4, 4), np.float32)
    d_pooled = (d_z3 @ p["hidden.weight"]).reshape(n, 32, 4, 4, 1)
    np.put_along_axis(d_blocks, winner[..., None], d_pooled, -1)
    d_a2 = d_blocks.reshape(n, 32, 4, 4, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, 32, 8, 8)
    d_a1, g["conv2.weight"], g["conv2.bias"] = convolve_gradient(d_a2 * (z2 > 0), cols2, p["conv2.weight"])
    _, g["conv1.weight"], g["conv1.bias"] = convolve_gradient(d_a1 * (z1 > 0), cols1, p["conv1.weight"])
    return g


def shifted(x, rng):
    """Each image moved by -1, 0 or 1 pixel in both directions; what comes in is black."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    corners = rng.integers(0, 3, (len(x), 2))
    return np.stack([image[:, i : i + 8, j : j + 8] for image, (i, j) in zip(padded, corners)])


def train(x, labels, rng):
    """Adam with a rate that falls to zero along a cosine; returns the parameters."""
    params = initial(rng)
    first = {k: np.zeros_like(v) for k, v in params.items()}
    second = {k: np.zeros_like(v) for k, v in params.items()}
    steps_total, step = EPOCHS * (len(x) // BATCH), 0
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            batch = order[start : start + BATCH]
            step += 1
            rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps_total))
            for k, g in gradients(params, shifted(x[batch], rng), labels[batch]).items():
                first[k] = 0.9 * first[k] + 0.1 * g
                second[k] = 0.999 * second[k] + 0.001 * g * g
                mean, variance = first[k] / (1 - 0.9**step), second[k] / (1 - 0.999**step)
                params[k] = (params[k] - rate * mean / (np.sqrt(variance) + 1e-8)).astype(np.float32)
    return params


def to_onnx(params):
    """The network as an ONNX model: image f32[n, 1, 8, 8] in 0..1 -> probabilities f32[n, 10]."""
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "conv1.weight", "conv1.bias"], ["z1"], "conv1", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["z1"], ["a1"], "relu1"),
        node("Conv", ["a1", "conv2.weight", "conv2.bias"], ["z2"], "conv2", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["z2"], ["a2"], "relu2"),
        node("MaxPool", ["a2"], ["pooled"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["pooled"], ["features"], "flatten", axis=1),
        node("Gemm", ["features", "hidden.weight", "hidden.bias"], ["z3"], "hidden", transB=1),
        node("Relu", ["z3"], ["a3"], "relu3"),
        node("Gemm", ["a3", "classes.weight", "classes.bias"], ["logits"], "classes", transB=1),
        node("Softmax", ["logits"], ["probabilities"], "softmax", axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(value, name) for name, value in params.items()],
        doc_string="Handwritten digits of 8x8 pixels, white on black, values 0..1; written by models/train_digits.py.",
    )
    model = helper.make_model(
        graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)], producer_name="models/train_digits.py"
    )
    helper.set_model_props(model, {"labels": json.dumps([str(digit) for digit in range(10)])})
    onnx.checker.check_model(model, full_check=True)
    return model


def write_png(path, pixels):
    """pixels: u8[h, w] -> an 8-bit grayscale PNG (filter 0 on every row)."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    h, w = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", w, h, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def split(labels, rng):
    """Indices for training and held-out indices: a quarter of each class is held out."""
    kept, held = [], []
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(labels == digit))
        cut = len(members) // 4
        held.append(members[:cut])
        kept.append(members[cut:])
    return np.concatenate(kept), np.concatenate(held)


def main():
    digits = load_digits()
    # Grey levels 0..16 become the bytes of a PNG, and these become 0..1: training sees exactly what a file holds.
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    images = (pixels[:, None] / np.float32(255)).astype(np.float32)
    rng = np.random.default_rng(SEED)
    kept, held = split(digits.target, rng)
    params = train(images[kept], digits.target[kept], rng)

    model = to_onnx(params)
    evaluator = ReferenceEvaluator(model)
    probabilities = evaluator.run(None, {"image": images[held]})[0]
    difference = float(np.abs(probabilities - forward(params, images[held])[0]).max())
    right = probabilities.argmax(1) == digits.target[held]
    accuracy = float(right.mean())
    print(f"trained on {len(kept)} images; {right.sum()} of {len(held)} held-out images right: {100 * accuracy:.2f} %")
    print(f"largest difference between NumPy and ONNX's reference evaluator: {difference:.1e}")
    if accuracy < ACCURACY_WANTED or difference > 1e-5:
        sys.exit(f"wanted an accuracy of {100 * ACCURACY_WANTED:.0f} % and a difference below 1e-5")

    onnx.save(model, HERE / "digits.onnx")
    samples = {}
    for digit, name in enumerate(NAMES):
        index = next(i for i, ok in zip(held, right) if ok and digits.target[i] == digit)
        write_png(HERE / f"{name}.png", pixels[index])
        result = evaluator.run(None, {"image": images[index : index + 1]})[0][0]
        samples[f"{name}.png"] = {"digit": digit, "probabilities": [float(f"{v:.9g}") for v in result]}
    expected = {
        "model": "digits.onnx",
        "input": "image",
        "output": "probabilities",
        "held_out": len(held),
        "held_out_right": int(right.sum()),
        "samples": samples,
    }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(f"digits.onnx: {(HERE / 'digits.onnx').stat().st_size} bytes")


if __name__ == "__main__":
    main()

"""Trains the digit classifier of `remex demo` and writes it as two ONNX stages, with held-out images to run it on.

    python examples/digits/train.py [OUT_DIR]        about ten seconds; prints the accuracy, writes beside this file

The net is 3x3 convolution, pool, 3x3 convolution, pool, dense (stage 1) and one dense layer (stage 2), with its
gradients written out in numpy. Nothing is chosen by looking at the held-out images: the number of epochs is fixed.
"""

import os
import sys
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy: the number of threads decides the order of sums

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from stages import run, stages

SEED, TEST, SAMPLES = 20261123, 360, 64  # training never sees TEST images; the first SAMPLES of them are the demo's
EPOCHS, BATCH, RATE, DECAY = 60, 32, 2e-3, 1e-4
FEATURES = 64


def patches(x):
    """[n, c, h, w] to [n, h, w, c*9]: what a 3x3 kernel sees at each place, the border padded with zeros."""
    n, c, h, w = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.ascontiguousarray(seen.transpose(0, 2, 3, 1, 4, 5)).reshape(n, h, w, c * 9)


def unpatch(grad, shape):
    """The gradient of `patches`: each value goes back to the pixel it was read from."""
    n, c, h, w = shape
    grad = grad.reshape(n, h, w, c, 3, 3)
    padded = np.zeros((n, c, h + 2, w + 2), np.float32)
    for i, j in np.ndindex(3, 3):
        padded[:, :, i : i + h, j : j + w] += grad[..., i, j].transpose(0, 3, 1, 2)
    return padded[:, :, 1:-1, 1:-1]


def conv_pool(x, weight, bias):
    """Convolution, ReLU and 2x2 maximum; gives the result and what the way back needs."""
    seen = patches(x)
    raw = (seen @ weight.reshape(len(weight), -1).T + bias).transpose(0, 3, 1, 2)
    n, c, h, w = raw.shape
    cells = raw.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    best = cells.argmax(-1)[..., None]
    return np.maximum(np.take_along_axis(cells, best, -1)[..., 0], 0), (x.shape, seen, best)


def conv_pool_back(grad, out, weight, saved):
    shape, seen, best = saved
    n, c, h, w = grad.shape
    cells = np.zeros((n, c, h, w, 4), np.float32)
    np.put_along_axis(cells, best, (grad * (out > 0))[..., None], -1)
    raw = cells.reshape(n, c, h, w, 2, 2).transpose(0, 2, 4, 3, 5, 1).reshape(-1, c)
    to_weight = (raw.T @ seen.reshape(len(raw), -1)).reshape(weight.shape)
    return to_weight, raw.sum(0), unpatch(raw @ weight.reshape(c, -1), shape)


def gradients(p, x, y):
    """Gradients of the mean cross entropy for one batch, by parameter name."""
    a, saved_a = conv_pool(x, p["conv1.weight"], p["conv1.bias"])
    b, saved_b = conv_pool(a, p["conv2.weight"], p["conv2.bias"])
    flat = b.reshape(len(x), -1)
    features = np.maximum(flat @ p["dense1.weight"] + p["dense1.bias"], 0)
    logits = features @ p["dense2.weight"] + p["dense2.bias"]
    odds = np.exp(logits - logits.max(1, keepdims=True))
    d = odds / odds.sum(1, keepdims=True)
    d[np.arange(len(y)), y] -= 1
    d /= np.float32(len(y))
    g = {"dense2.weight": features.T @ d, "dense2.bias": d.sum(0)}
    d = (d @ p["dense2.weight"].T) * (features > 0)
    g |= {"dense1.weight": flat.T @ d, "dense1.bias": d.sum(0)}
    d = (d @ p["dense1.weight"].T).reshape(b.shape)
    g["conv2.weight"], g["conv2.bias"], d = conv_pool_back(d, b, p["conv2.weight"], saved_b)
    g["conv1.weight"], g["conv1.bias"], _ = conv_pool_back(d, a, p["conv1.weight"], saved_a)
    return g


def train(images, labels):
    """Adam, with a rate that falls along a cosine to nothing."""
    rng = np.random.default_rng(SEED)
    shapes = {"conv1": (16, 1, 3, 3), "conv2": (32, 16, 3, 3), "dense1": (128, FEATURES), "dense2": (FEATURES, 10)}
    p = {}
    for name, shape in shapes.items():
        inputs, outputs = (np.prod(shape[1:]), shape[0]) if len(shape) == 4 else shape
        p[f"{name}.weight"] = (rng.standard_normal(shape) * np.sqrt(2 / inputs)).astype(np.float32)
        p[f"{name}.bias"] = np.zeros(outputs, np.float32)
    mean, square = ({k: np.zeros_like(v) for k, v in p.items()} for _ in range(2))
    per_epoch = -(-len(images) // BATCH)
    for step in range(EPOCHS * per_epoch):
        if step % per_epoch == 0:
            order = rng.permutation(len(images))
        chosen = order[step % per_epoch * BATCH :][:BATCH]
        rate = RATE * 0.5 * (1 + np.cos(np.pi * step / (EPOCHS * per_epoch)))
        for k, g in gradients(p, images[chosen], labels[chosen]).items():
            mean[k] = np.float32(0.9) * mean[k] + np.float32(0.1) * g
            square[k] = np.float32(0.999) * square[k] + np.float32(0.001) * g * g
            m, s = mean[k] / (1 - 0.9 ** (step + 1)), square[k] / (1 - 0.999 ** (step + 1))
            p[k] = (p[k] - rate * (m / (np.sqrt(s) + 1e-8) + DECAY * p[k])).astype(np.float32)
    return p


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    out.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    x, test, y, test_labels = train_test_split(images, labels, test_size=TEST, stratify=labels, random_state=SEED)
    first, second = stages(train(x, y))
    logits, digit = run(first, second, test)
    right, seen = digit == test_labels, run(first, second, x)[1] == y
    print(f"training images: {seen.sum()} of {len(y)} right ({seen.mean():.2%})")
    print(f"held-out images: {right.sum()} of {TEST} right ({right.mean():.2%})")
    print(f"samples: {right[:SAMPLES].sum()} of {SAMPLES} right")
    if right.mean() < 0.97:
        sys.exit("fewer than 97 % of the held-out images are right: nothing written")
    (out / "stage1.onnx").write_bytes(first)
    (out / "stage2.onnx").write_bytes(second)
    samples = dict(samples=test[:SAMPLES], labels=test_labels[:SAMPLES], expected_logits=logits[:SAMPLES])
    for name, values in dict(samples, test=test, test_labels=test_labels).items():
        np.save(out / f"{name}.npy", values)


if __name__ == "__main__":
    main()

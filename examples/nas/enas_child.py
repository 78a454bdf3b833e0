"""A network of dense layers built from an ENAS answer and trained on two interleaved spirals, in numpy.

Row i of the architecture is ``[operation, bit for each earlier layer]``: layer i takes the output of layer i-1 and of every earlier
layer whose bit is 1. The configuration says what each operation id means. Both come as JSON with single quotes.
"""

import argparse
import json

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--architecture", required=True)
parser.add_argument("--nn_config", required=True)
parser.add_argument("--num_epochs", type=int, default=5)
arguments = parser.parse_args()

rows = json.loads(arguments.architecture.replace("'", '"'))
config = json.loads(arguments.nn_config.replace("'", '"'))
operations = [config["embedding"][str(row[0])]["opt_params"] for row in rows]
sources = [[-1]] + [sorted({i - 1} | {k for k in range(i) if rows[i][1 + k]}) for i in range(1, len(rows))]
random = np.random.default_rng(0)
turns = 3.5


def spirals(count):
    """Points of two spirals and which one each belongs to."""
    turn = np.sqrt(random.random(count)) * turns * np.pi
    label = random.integers(0, 2, count)
    angle = turn + np.pi * label
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * turn[:, None] / (turns * np.pi)
    return points + random.normal(0, 0.03, points.shape), label


train, validation = spirals(240), spirals(240)
widths = {-1: config["input_sizes"][0], **{i: int(operation["width"]) for i, operation in enumerate(operations)}}
shapes = [(sum(widths[s] for s in sources[i]) + 1, widths[i]) for i in range(len(rows))]
shapes.append((widths[len(rows) - 1] + 1, config["output_sizes"][0]))
weights = [random.normal(0, (2 / shape[0]) ** 0.5, shape) for shape in shapes]
moments = [(np.zeros_like(w), np.zeros_like(w)) for w in weights]


def with_one(x):
    """A column of ones for the bias."""
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def forward(points):
    """Outputs by layer (-1 is the input), inputs of each layer, and class probabilities."""
    outputs, inputs = {-1: points}, []
    for i, operation in enumerate(operations):
        inputs.append(with_one(np.concatenate([outputs[s] for s in sources[i]], axis=1)))
        z = inputs[i] @ weights[i]
        outputs[i] = np.tanh(z) if operation["activation"] == "tanh" else np.maximum(z, 0)
    inputs.append(with_one(outputs[len(rows) - 1]))
    logits = inputs[-1] @ weights[-1]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return outputs, inputs, p / p.sum(axis=1, keepdims=True)


def gradients(points, labels):
    """Of the mean cross entropy, by every weight matrix."""
    outputs, inputs, p = forward(points)
    back = (p - np.eye(p.shape[1])[labels]) / len(points)
    slopes = [inputs[-1].T @ back]
    to = {i: np.zeros_like(outputs[i]) for i in outputs}
    to[len(rows) - 1] += back @ weights[-1][:-1].T
    for i in reversed(range(len(rows))):
        slope = 1 - outputs[i] ** 2 if operations[i]["activation"] == "tanh" else outputs[i] > 0
        back = to[i] * slope
        slopes.insert(0, inputs[i].T @ back)
        flow, at = back @ weights[i][:-1].T, 0
        for s in sources[i]:
            to[s] += flow[:, at : at + widths[s]]
            at += widths[s]
    return slopes


step = 0
for _epoch in range(arguments.num_epochs):
    for _ in range(60):
        step += 1
        for i, slope in enumerate(gradients(*train)):
            first, second = moments[i]
            moments[i] = first, second = first + 0.1 * (slope - first), second + 0.01 * (slope**2 - second)
            weights[i] -= 0.02 * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
    for name, (points, labels) in (("Training", train), ("Validation", validation)):
        p = forward(points)[2]
        print(f"{name}-Accuracy={np.mean(p.argmax(axis=1) == labels):.4f}")
        print(f"{name}-Loss={-np.mean(np.log(p[np.arange(len(p)), labels] + 1e-12)):.4f}", flush=True)

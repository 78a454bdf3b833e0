"""A differentiable architecture search on short signals, in numpy.

Every edge of a small cell mixes all operations of the search space, weighted by a softmax; training moves the operations' own
weights, validation moves the mixture (first-order DARTS). In the end each node keeps its two strongest edges, each with its
strongest operation, and the program prints them as a genotype.
"""

import argparse
import json

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--algorithm-settings", required=True)
parser.add_argument("--search-space", required=True)
parser.add_argument("--num-layers", required=True)
arguments = parser.parse_args()

settings = json.loads(arguments.algorithm_settings.replace("'", '"'))
space = json.loads(arguments.search_space.replace("'", '"'))
nodes, epochs = int(settings["num_nodes"]), int(settings["num_epochs"])
random = np.random.default_rng(0)
length, classes = 24, 3
edges = [
    (node, source) for node in range(nodes) for source in range(node + 1)
]  # source 0 is the input, then earlier nodes


def signals(count):
    """Noisy waves; the class is how fast they swing."""
    label = random.integers(0, classes, count)
    t = np.arange(length)[None, :] / length
    wave = np.sin(2 * np.pi * ((2 + 2 * label)[:, None] * t + random.random((count, 1))))
    return wave + random.normal(0, 0.6, wave.shape), label


def convolve(x, kernel):
    """Each signal with a kernel, same length; and what goes back to signal and kernel."""
    half = len(kernel) // 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (half, half))), len(kernel), axis=1)

    def back(slope):
        flipped = np.lib.stride_tricks.sliding_window_view(np.pad(slope, ((0, 0), (half, half))), len(kernel), axis=1)
        return flipped @ kernel[::-1], np.einsum("ntk,nt->k", windows, slope)

    return windows @ kernel, back


def pool(x, size):
    """The greatest of each window; what goes back goes to where it came from."""
    half = size // 2
    padded = np.pad(x, ((0, 0), (half, half)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)
    place = windows.argmax(axis=2) + np.arange(length)[None, :] - half

    def back(slope):
        out = np.zeros_like(x)
        np.add.at(out, (np.arange(len(x))[:, None], place), slope)
        return out, None

    return windows.max(axis=2), back


def apply(name, x, kernel):
    """One operation of the search space by its name, such as ``convolution_5x5``."""
    if name == "skip_connection":
        return x, lambda slope: (slope, None)
    kind, size = name.rsplit("_", 1)
    size = int(size.split("x")[0])
    if kind == "max_pooling":
        return pool(x, size)
    if kind == "avg_pooling":
        out, back = convolve(x, np.full(size, 1 / size))
        return out, lambda slope: (back(slope)[0], None)
    return convolve(x, kernel)


kernels = {
    (edge, name): random.normal(0, 0.5, int(name.rsplit("_", 1)[1].split("x")[0]))
    for edge in edges
    for name in space
    if "convolution" in name
}
alphas = {edge: np.zeros(len(space)) for edge in edges}
readout = random.normal(0, 0.1, (nodes * 2 + 1, classes))


def run(points, labels):
    """Loss, accuracy and slopes by kernels, mixtures and read-out."""
    states, tape = [points], []
    for node in range(nodes):
        total = np.zeros_like(points)
        for edge in [edge for edge in edges if edge[0] == node]:
            share = np.exp(alphas[edge]) / np.exp(alphas[edge]).sum()
            done = [apply(name, states[edge[1]], kernels.get((edge, name))) for name in space]
            total += sum(s * out for s, (out, _) in zip(share, done, strict=True))
            tape.append((edge, share, done))
        states.append(np.tanh(total))
    means = [[state.mean(axis=1), (state**2).mean(axis=1)] for state in states[1:]]
    features = np.stack([column for pair in means for column in pair] + [np.ones(len(points))], axis=1)
    logits = features @ readout
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    back = (p - np.eye(classes)[labels]) / len(points)
    by_kernel = {key: np.zeros_like(kernel) for key, kernel in kernels.items()}
    by_alpha = {}
    flow = [np.zeros_like(points)]
    by_feature = back @ readout.T
    for node in range(nodes):
        state = states[node + 1]
        flow.append((by_feature[:, [2 * node]] + 2 * state * by_feature[:, [2 * node + 1]]) / length)
    for edge, share, done in reversed(tape):
        slope = flow[edge[0] + 1] * (1 - states[edge[0] + 1] ** 2)
        gains = np.array([(slope * out).sum() for out, _ in done])
        by_alpha[edge] = share * (gains - (share * gains).sum())
        for name, s, (_, to) in zip(space, share, done, strict=True):
            to_input, to_kernel = to(s * slope)
            flow[edge[1]] += to_input
            if to_kernel is not None and (edge, name) in by_kernel:
                by_kernel[(edge, name)] += to_kernel
    loss = -np.log(p[np.arange(len(p)), labels] + 1e-12).mean()
    return loss, (p.argmax(axis=1) == labels).mean(), by_kernel, by_alpha, features.T @ back


train, validation = signals(120), signals(120)
for epoch in range(1, epochs + 1):
    for _ in range(12):
        by_alpha = run(*validation)[3]
        for edge in edges:
            alphas[edge] -= float(settings["alpha_lr"]) * by_alpha[edge]
        _, _, by_kernel, _, by_readout = run(*train)
        for key in kernels:
            kernels[key] -= float(settings["w_lr"]) * by_kernel[key]
        readout -= float(settings["w_lr"]) * by_readout
    loss, accuracy, *_ = run(*validation)
    print(f"Valid: [{epoch:2d}/{epochs}] Loss {loss:.4f} Prec@1 {accuracy:.2%}", flush=True)

cells = []
for node in range(nodes):
    own = [edge for edge in edges if edge[0] == node]
    strongest = sorted(own, key=lambda edge: -alphas[edge].max())[:2]
    cells.append([(space[int(alphas[edge].argmax())], edge[1]) for edge in sorted(strongest)])
text = repr(cells).replace(" ", "")
print(f"Best-Genotype=Genotype(normal={text},normal_concat=range(1,{nodes + 1}))")

"""Train a small network on two interleaved spirals by stochastic gradient descent, and print the accuracy after each epoch."""

import argparse
import itertools

import numpy as np


def spirals(points, seed):
    generator = np.random.default_rng(seed)
    angle = np.sqrt(generator.random(points)) * 2.5 * np.pi
    side = generator.integers(0, 2, points)
    turn = angle + np.pi * side
    places = np.stack([angle * np.cos(turn), angle * np.sin(turn)], axis=1) / 8
    return places + generator.normal(0, 0.02, places.shape), side


def train(lr, momentum, hidden, epochs, report):
    generator = np.random.default_rng(0)
    (inputs, labels), (test_inputs, test_labels) = spirals(4000, 1), spirals(1000, 2)
    sizes = [2, hidden, hidden, 2]
    weights = [generator.normal(0, np.sqrt(2 / a), (a, b)) for a, b in itertools.pairwise(sizes)]
    weights += [np.zeros(size) for size in sizes[1:]]
    speed = [np.zeros_like(weight) for weight in weights]

    def forward(batch):
        layers = [batch]
        for weight, bias in zip(weights[:3], weights[3:], strict=True):
            total = layers[-1] @ weight + bias
            layers.append(total if weight is weights[2] else np.maximum(total, 0))
        return layers

    for epoch in range(1, epochs + 1):
        order = generator.permutation(len(inputs))
        for start in range(0, len(order), 8):
            chosen = order[start : start + 8]
            layers = forward(inputs[chosen])
            scores = np.exp(layers[-1] - layers[-1].max(axis=1, keepdims=True))
            delta = scores / scores.sum(axis=1, keepdims=True)
            delta[np.arange(len(chosen)), labels[chosen]] -= 1
            delta /= len(chosen)
            for i in (2, 1, 0):
                slopes = layers[i].T @ delta, delta.sum(axis=0)
                delta = (delta @ weights[i].T) * (layers[i] > 0)
                for place, slope in zip((i, i + 3), slopes, strict=True):
                    speed[place] = momentum * speed[place] - lr * slope
                    weights[place] += speed[place]
        found = forward(test_inputs)[-1].argmax(axis=1)
        report(epoch, float((found == test_labels).mean()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--momentum", type=float, required=True)
    parser.add_argument("--hidden", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=40)
    arguments = parser.parse_args()
    with np.errstate(all="ignore"):  # a learning rate that is too large ends in NaN, and the accuracy shows it
        train(
            arguments.lr, arguments.momentum, arguments.hidden, arguments.epochs,
            lambda epoch, accuracy: print(f"epoch={epoch} accuracy={accuracy:.4f}", flush=True),
        )  # fmt: skip

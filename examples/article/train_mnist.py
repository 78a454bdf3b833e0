"""A stand-in for the article's training program: same options, same log lines, a smooth function in place of MNIST.

Validation accuracy is best near lr 0.02 with 3 layers and adam; ten epochs take a fraction of a second. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from datetime import UTC, datetime

EPOCHS = 10
BATCHES = 3
LOSS_OF_OPTIMIZER = {"adam": 0.0, "sgd": 0.006, "ftrl": 0.02}


def log(message: str) -> None:
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {'INFO':8} {message}", flush=True)


def final_accuracy(lr: float, layers: int, optimizer: str) -> float:
    """What the training converges to, between 0.1 and 0.985."""
    distance = 0.03 * math.log(lr / 0.02) ** 2 + 0.004 * (layers - 3) ** 2 + LOSS_OF_OPTIMIZER[optimizer]
    return max(0.1, 0.985 - distance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--num-layers", type=int, default=2)
    parser.add_argument("--optimizer", choices=sorted(LOSS_OF_OPTIMIZER), default="sgd")
    options = parser.parse_args()
    if options.lr <= 0 or options.batch_size <= 0 or options.num_layers <= 0:
        sys.exit("--lr, --batch-size and --num-layers must be positive")
    best = final_accuracy(options.lr, options.num_layers, options.optimizer)
    for epoch in range(EPOCHS):
        reached = best * (1 - 0.08 * math.exp(-epoch / 2))
        for batch in range(BATCHES):
            speed = 12000 + 100 * batch
            log(
                f"Epoch[{epoch}] Batch [{batch * 100}]\tSpeed: {speed:.2f} samples/sec\taccuracy={reached - 0.002 * (BATCHES - batch):.6f}"
            )
            time.sleep(0.005)
        wave = 0.001 * math.sin(epoch + options.batch_size)
        log(f"Epoch[{epoch}] Train-accuracy={reached:.6f}")
        log(f"Epoch[{epoch}] Time cost=0.015")
        log(f"Epoch[{epoch}] Validation-accuracy={reached - 0.004 + wave:.6f}")


if __name__ == "__main__":
    main()

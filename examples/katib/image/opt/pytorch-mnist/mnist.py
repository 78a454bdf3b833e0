"""Stands for Katib's PyTorch MNIST program: the same flags and output, no training.

The loss is a smooth function of learning rate and momentum, and falls from epoch to epoch.
"""

import argparse
import json
import math
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--test-batch-size", type=int, default=1000)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--momentum", type=float, default=0.5)
parser.add_argument("--no-cuda", action="store_true")
parser.add_argument("--save-model", action="store_true")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--log-interval", type=int, default=10)
parser.add_argument("--log-path", default="")
parser.add_argument("--logger", choices=["standard", "hypertune"], default="standard")
parser.add_argument("--backend", default="gloo")
args = parser.parse_args()

best = 0.05 + 3 * (math.log10(max(args.lr, 1e-9)) - math.log10(0.04)) ** 2 + (args.momentum - 0.8) ** 2
log = open(args.log_path, "w") if args.log_path and args.logger == "standard" else sys.stderr  # noqa: SIM115
entries = []


def say(message):
    log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ')} {'INFO':<8} {message}\n")


for epoch in range(1, args.epochs + 1):
    steps = max(60000 // args.batch_size, 1)
    for step in range(0, steps, args.log_interval):
        loss = best + 2 * math.exp(-2 * (epoch - 1 + step / steps))
        seen = step * args.batch_size
        say(f"Train Epoch: {epoch} [{seen}/60000 ({100 * step / steps:.0f}%)]\tloss={loss:.4f}")
    loss = best + 2 * math.exp(-2 * epoch)
    accuracy = 1 / (1 + loss)
    say(f"{{metricName: accuracy, metricValue: {accuracy:.4f}}};{{metricName: loss, metricValue: {loss:.4f}}}\n")
    log.flush()
    if args.logger == "hypertune":
        for name, value in (("loss", loss), ("accuracy", accuracy)):
            entry = {
                "checkpoint_path": "",
                "global_step": str(epoch),
                name: str(value),
                "timestamp": time.time(),
                "trial": "0",
            }
            entries.append(json.dumps(entry))
        with open(args.log_path, "w") as file:
            file.write("\n".join(entries[-100:]) + "\n")

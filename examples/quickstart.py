"""A training program in small: takes hyper-parameters as flags and prints its loss after each epoch."""

import argparse
import math

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, required=True)
parser.add_argument("--layers", type=int, required=True)
parser.add_argument("--activation", choices=["relu", "tanh", "gelu"], required=True)
arguments = parser.parse_args()

bowl = (math.log10(arguments.lr) + 2.5) ** 2 + 0.1 * (arguments.layers - 4) ** 2
penalty = {"relu": 0.1, "tanh": 0.3, "gelu": 0.0}[arguments.activation]
for epoch in range(1, 11):
    loss = (bowl + penalty) * (1 - math.exp(-epoch / 3)) + 2 * math.exp(-epoch)
    print(f"epoch={epoch} loss={loss:.5f}", flush=True)

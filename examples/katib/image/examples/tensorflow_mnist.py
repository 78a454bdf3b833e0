"""Stands for Horovod's TensorFlow example: one process of several; the first prints lines as TensorFlow's logging hook does."""

import argparse
import os

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.001)
parser.add_argument("--num-steps", type=int, default=100)
args = parser.parse_args()

if os.environ.get("OMPI_COMM_WORLD_RANK", "0") == "0":
    for step in range(0, args.num_steps + 1, 10):
        loss = 0.1 + (args.lr - 0.002) ** 2 * 1e5 + 2 / (step + 1)
        print(f"INFO:tensorflow:loss = {loss:.6f}, step = {step}")

"""Stands for Katib's program for population-based training: a score that a moving learning rate raises, kept in a checkpoint."""

import argparse
import json
import os
import random

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.0001)
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--checkpoint", required=True)
args = parser.parse_args()

path = os.path.join(args.checkpoint, "training.ckpt")
step, accuracy = 1, 0.0
if os.path.exists(path):
    with open(path) as file:
        step, accuracy = json.load(file)

for _ in range(args.epochs):
    triangle = accuracy / 50 if accuracy <= 50 else (100 - accuracy) / 50
    ideal = min(max(0.01 * triangle, 0.001), 0.01)
    if args.lr > 3 * ideal:
        accuracy -= 1.0
    else:
        accuracy += min(args.lr, ideal) / max(args.lr, ideal)
    accuracy = min(max(accuracy + random.uniform(-0.1, 0.1), 0.0), 100.0)
    step += 1

os.makedirs(args.checkpoint, exist_ok=True)
with open(path, "w") as file:
    json.dump([step, accuracy], file)
print(f"epoch {step}:\nlr={args.lr:.4f}\nValidation-accuracy={accuracy / 100:.4f}")

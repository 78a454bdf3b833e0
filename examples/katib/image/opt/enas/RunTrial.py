"""Stands for Katib's ENAS program: reads an architecture and scores it by its number of different operations."""

import argparse
import json

parser = argparse.ArgumentParser()
parser.add_argument("--architecture", required=True)
parser.add_argument("--nn_config", required=True)
parser.add_argument("--num_epochs", type=int, default=10)
parser.add_argument("--num_gpus", type=int, default=1)
args = parser.parse_args()


def read(text):
    """The manifest puts double quotes around the value, which the shell of the collector's wrapper takes off on a cluster."""
    return json.loads(text.strip('"').replace("'", '"'))


architecture, config = read(args.architecture), read(args.nn_config)
print(">>> architecture", architecture)
print(">>> layers", config["num_layers"], "operations", len(config["embedding"]))
score = (
    len({layer[0] for layer in architecture})
    / len(architecture)
    * (sum(layer[0] for layer in architecture) % 7 + 1)
    / 8
)
for epoch in range(1, args.num_epochs + 1):
    accuracy = score * (1 - 0.5**epoch)
    print(f">>> epoch {epoch}")
    print(f"Training-Accuracy={accuracy}\nTraining-Loss={1 - accuracy}")
    print(f"Validation-Accuracy={accuracy * 0.95}\nValidation-Loss={1 - accuracy * 0.95}")

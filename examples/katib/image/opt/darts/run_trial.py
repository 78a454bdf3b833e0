"""Stands for Katib's DARTS program: reads settings and search space, and derives a genotype without a supernet."""

import argparse
import json

parser = argparse.ArgumentParser()
parser.add_argument("--algorithm-settings", required=True)
parser.add_argument("--search-space", required=True)
parser.add_argument("--num-layers", required=True)
args = parser.parse_args()


def read(text):
    """The manifest puts double quotes around the value, which the shell of the collector's wrapper takes off on a cluster."""
    return json.loads(text.strip('"').replace("'", '"'))


settings, space, layers = read(args.algorithm_settings), read(args.search_space), int(read(args.num_layers))
print("settings", settings)
epochs = int(settings["num_epochs"])
for epoch in range(1, epochs + 1):
    print(f"Train: [ {epoch}/{epochs}] Step 000/194 Loss {2.3 / epoch:.3f} Prec@(1,5) ({10.0 * epoch}%, 50.0%)")
    print(f"Valid: [ {epoch}/{epochs}] Final Prec@1 {10 * epoch:.4f}%")
cells = [[(space[(node + edge) % len(space)], edge) for edge in range(2)] for node in range(layers)]
text = repr(cells).replace(" ", "")
print(f"Final best Prec@1 = {10 * epochs:.4f}%")
print(f"Best-Genotype=Genotype(normal={text},normal_concat=range(2,6),reduce={text},reduce_concat=range(2,6))")

"""Stands for the LightGBM command line in its image: the same arguments and lines, no trees. Only the master prints."""

import os
import sys

given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
rate, leaves, trees = float(given["learning_rate"]), int(given["num_leaves"]), int(given["num_trees"])
if os.environ.get("RANK", "0") != "0":
    sys.exit()
for tree in range(1, trees + 1):
    loss = 0.3 + (rate - 0.06) ** 2 * 50 + abs(leaves - 55) / 200 + 0.4 / tree
    auc = 1 - loss / 3
    for part, worse in (("training", 1.0), ("valid_1", 1.02)):
        print(f"[LightGBM] [Info] Iteration:{tree}, {part} binary_logloss : {loss * worse:.6f}")
        print(f"[LightGBM] [Info] Iteration:{tree}, {part} auc : {auc / worse:.6f}")

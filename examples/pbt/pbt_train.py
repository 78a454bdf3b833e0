"""Training that goes on from a checkpoint: gradient descent on a narrow valley, whose best learning rate changes on the way.

The checkpoint folder holds where training stands. A new member of a population finds its parent's checkpoint there.
"""

import argparse
import json
import pathlib

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, required=True)
parser.add_argument("--steps", type=int, default=10)
parser.add_argument("--checkpoint", type=pathlib.Path, required=True)
arguments = parser.parse_args()

saved = arguments.checkpoint / "state.json"
state = json.loads(saved.read_text()) if saved.exists() else {"step": 0, "x": 1.0, "y": 1.0}

for _ in range(arguments.steps):
    state["step"] += 1
    # The loss is stiffness * x^2 / 2 + y^2 / 2. The valley gets flatter as training goes on, so later steps may be longer.
    stiffness = max(1.0, 40.0 * 0.95 ** state["step"])
    state["x"] -= arguments.lr * stiffness * state["x"]
    state["y"] -= arguments.lr * state["y"]
    loss = min(stiffness * state["x"] ** 2 / 2 + state["y"] ** 2 / 2, 1e6)
    print(f"step={state['step']} loss={loss:.6g}", flush=True)
state["x"], state["y"] = (max(-1e3, min(1e3, state[axis])) for axis in "xy")
arguments.checkpoint.mkdir(parents=True, exist_ok=True)
saved.write_text(json.dumps(state))

"""The training program where the article's image has it."""

import pathlib
import runpy

runpy.run_path(str(pathlib.Path(__file__).resolve().parents[4] / "train_mnist.py"), run_name="__main__")

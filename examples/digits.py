"""A real training: a small neural network on scikit-learn's handwritten digits, offline, a second or two a run."""

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, required=True)
parser.add_argument("--hidden", type=int, required=True)
parser.add_argument("--alpha", type=float, required=True)
parser.add_argument("--epochs", type=int, default=8)
arguments = parser.parse_args()

images, labels = load_digits(return_X_y=True)
train_x, test_x, train_y, test_y = train_test_split(images / 16.0, labels, test_size=0.3, random_state=0)
model = MLPClassifier((arguments.hidden,), learning_rate_init=arguments.lr, alpha=arguments.alpha, random_state=0)
for epoch in range(1, arguments.epochs + 1):
    model.partial_fit(train_x, train_y, classes=range(10))
    print(f"epoch={epoch} accuracy={model.score(test_x, test_y):.4f} loss={model.loss_:.5f}", flush=True)

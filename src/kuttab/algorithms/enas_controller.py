"""The controller of ENAS: a one-layer LSTM that writes an architecture, in numpy with gradients written out.

An architecture of L layers is a sequence of decisions: for each layer an operation out of n, then for every earlier layer one bit
that says whether its output is taken in too (Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", 2018,
macro search space). This file knows probabilities of architectures, samples, and gradients. It knows no trials.

Arrays carry a batch of B architectures in front: operations (B, L) of ints, bits (B, L, L) of 0 and 1 with bits[b, i, k] = layer i
takes layer k, k < i.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Weights = dict[str, Floats]

_SPREAD = 0.1  # weights start uniform within this


@dataclass(frozen=True)
class Shape:
    """The controller's outline: ``temperature`` and ``tanh_const`` flatten and bound its logits, None leaves them alone."""

    layers: int
    operations: int
    hidden: int
    temperature: float | None = None
    tanh_const: float | None = None
    skip_target: float = 0.4


@dataclass(frozen=True)
class Costs:
    """How the loss of a batch is put together, per architecture.

    ``advantage`` (B,) multiplies the negative log probability; the others weigh the entropy (wanted) and the mean Kullback-Leibler
    divergence of the skip probabilities from their target (unwanted).
    """

    advantage: Floats
    entropy_weight: float = 0.0
    skip_weight: float = 0.0


@dataclass
class _Step:
    """What one pass through the LSTM leaves behind for the way back."""

    x: Floats
    h: Floats
    c: Floats
    gates: Floats
    tanh_c: Floats


@dataclass
class _Layer:
    """What one layer's decisions leave behind."""

    operation_step: _Step
    skip_step: _Step
    h_operation: Floats
    logits: Floats
    probabilities: Floats
    anchors: int
    hidden: Floats | None = None  # tanh of the attention, (B, i, hidden)
    skip_logits: Floats | None = None
    skip: Floats | None = None  # probability of each bit, (B, i)


@dataclass
class Trace:
    """A batch of architectures with the controller's probabilities for them."""

    operations: Ints
    bits: Floats
    log_probability: Floats
    entropy: Floats
    divergence: Floats
    layers: list[_Layer] = field(default_factory=list)
    outputs: list[Floats] = field(default_factory=list)


def initial(shape: Shape, generator: np.random.Generator) -> Weights:
    """Fresh weights."""
    hidden = shape.hidden
    sizes = {
        "lstm": (2 * hidden, 4 * hidden),
        "start": (1, hidden),
        "embedding": (shape.operations, hidden),
        "operation": (hidden, shape.operations),
        "anchor": (hidden, hidden),
        "query": (hidden, hidden),
        "attention": (hidden,),
    }
    return {name: generator.uniform(-_SPREAD, _SPREAD, size) for name, size in sizes.items()}


def sample(shape: Shape, weights: Mapping[str, Floats], generator: np.random.Generator, count: int) -> Trace:
    """Draw architectures; the same generator state gives the same ones."""
    return _forward(shape, weights, count, None, None, generator)


def score(shape: Shape, weights: Mapping[str, Floats], operations: Ints, bits: Floats) -> Trace:
    """The controller's probabilities for given architectures."""
    return _forward(shape, weights, len(operations), operations, bits, None)


def _forward(
    shape: Shape,
    weights: Mapping[str, Floats],
    count: int,
    operations: Ints | None,
    bits: Floats | None,
    generator: np.random.Generator | None,
) -> Trace:
    """Run the controller; decisions not given are drawn."""
    chosen = np.zeros((count, shape.layers), np.int64) if operations is None else operations
    taken = np.zeros((count, shape.layers, shape.layers)) if bits is None else bits
    trace = Trace(chosen, taken, np.zeros(count), np.zeros(count), np.zeros(count))
    h = c = np.zeros((count, shape.hidden))
    x = np.repeat(weights["start"], count, axis=0)
    anchors: list[Floats] = []
    rows = np.arange(count)
    for i in range(shape.layers):
        operation_step, h, c = _lstm(weights["lstm"], x, h, c)
        logits = _squash(shape, h @ weights["operation"])
        probabilities = _softmax(logits)
        if generator is not None:
            draws = generator.random((count, 1))
            chosen[:, i] = np.minimum((probabilities.cumsum(axis=1) < draws).sum(axis=1), shape.operations - 1)
        logs = np.log(probabilities)
        trace.log_probability += logs[rows, chosen[:, i]]
        trace.entropy -= (probabilities * logs).sum(axis=1)
        h_operation = h
        skip_step, h, c = _lstm(weights["lstm"], weights["embedding"][chosen[:, i]], h, c)
        layer = _Layer(operation_step, skip_step, h_operation, logits, probabilities, i)
        if i:
            layer.hidden = np.tanh(np.stack(anchors, axis=1) + (h @ weights["query"])[:, None, :])
            layer.skip_logits = _squash(shape, layer.hidden @ weights["attention"])
            layer.skip = _sigmoid(2 * layer.skip_logits)  # softmax over the pair of logits (-y, y)
            if generator is not None:
                taken[:, i, :i] = generator.random((count, i)) < layer.skip
            _add_skips(shape, trace, layer.skip_logits, layer.skip, taken[:, i, :i])
            weight = taken[:, i, :i] / (1 + taken[:, i, :i].sum(axis=1, keepdims=True))
            x = np.einsum("bk,kbh->bh", weight, np.stack(trace.outputs))
        else:
            x = np.repeat(weights["start"], count, axis=0)
        trace.outputs.append(h)
        anchors.append(h @ weights["anchor"])
        trace.layers.append(layer)
    return trace


def _add_skips(shape: Shape, trace: Trace, logits: Floats, skip: Floats, bits: Floats) -> None:
    """Add a layer's bits to the log probability, entropy and divergence; all from logits, so that nothing is log(0)."""
    log_on, log_off = -np.logaddexp(0, -2 * logits), -np.logaddexp(0, 2 * logits)
    trace.log_probability += np.where(bits > 0, log_on, log_off).sum(axis=1)
    trace.entropy -= (skip * log_on + (1 - skip) * log_off).sum(axis=1)
    on, off = _log_target(shape)
    pairs = shape.layers * (shape.layers - 1) / 2
    trace.divergence += (skip * (log_on - on) + (1 - skip) * (log_off - off)).sum(axis=1) / pairs


def _log_target(shape: Shape) -> tuple[float, float]:
    target = min(max(shape.skip_target, 1e-6), 1 - 1e-6)  # a target of 1 would make every divergence infinite
    return float(np.log(target)), float(np.log1p(-target))


def loss(trace: Trace, costs: Costs) -> float:
    """The mean loss of a batch, of which :func:`gradient` is the gradient."""
    return float(
        np.mean(
            -costs.advantage * trace.log_probability
            - costs.entropy_weight * trace.entropy
            + costs.skip_weight * trace.divergence
        )
    )


def gradient(shape: Shape, weights: Mapping[str, Floats], trace: Trace, costs: Costs) -> Weights:
    """Derivative of :func:`loss` by every weight: back through the decisions in reverse order."""
    count = len(trace.operations)
    out = {name: np.zeros_like(weight) for name, weight in weights.items()}
    d_output = np.zeros((shape.layers, count, shape.hidden))
    dh = np.zeros((count, shape.hidden))
    dc = np.zeros((count, shape.hidden))
    dx = np.zeros((count, shape.hidden))  # by the next layer's input
    for layer in reversed(trace.layers):
        i = layer.anchors
        # Input of the next layer: start, or a mean of outputs before this one.
        if i:
            bits = trace.bits[:, i, :i]
            weight = bits / (1 + bits.sum(axis=1, keepdims=True))
            d_output[:i] += weight.T[:, :, None] * dx
        else:
            out["start"][0] += dx.sum(axis=0)
        dh = dh + d_output[i]
        if layer.hidden is not None:
            dh = dh + _skip_gradient(shape, weights, trace, layer, costs, out, d_output)
        d_embedding, dh, dc = _lstm_back(weights["lstm"], layer.skip_step, dh, dc, out["lstm"])
        np.add.at(out["embedding"], trace.operations[:, i], d_embedding)
        d_logits = _operation_gradient(layer, trace.operations[:, i], costs) / count
        d_raw = _squash_back(shape, layer.logits, d_logits)
        out["operation"] += layer.h_operation.T @ d_raw
        dh = dh + d_raw @ weights["operation"].T
        dx, dh, dc = _lstm_back(weights["lstm"], layer.operation_step, dh, dc, out["lstm"])
    out["start"][0] += dx.sum(axis=0)
    return out


def _operation_gradient(layer: _Layer, chosen: Ints, costs: Costs) -> Floats:
    """By the operation logits: of minus advantage times log p, and of minus weight times entropy."""
    p = layer.probabilities
    hit = np.zeros_like(p)
    hit[np.arange(len(p)), chosen] = 1
    logs = np.log(p)
    entropy = -(p * logs).sum(axis=1, keepdims=True)
    return np.asarray(costs.advantage[:, None] * (p - hit) + costs.entropy_weight * p * (logs + entropy))


def _skip_gradient(
    shape: Shape,
    weights: Mapping[str, Floats],
    trace: Trace,
    layer: _Layer,
    costs: Costs,
    out: Weights,
    d_output: Floats,
) -> Floats:
    """Through one layer's bits: adds to the weights and to the anchors' outputs, returns what goes to h."""
    assert layer.hidden is not None
    assert layer.skip_logits is not None
    assert layer.skip is not None
    i, s, y = layer.anchors, layer.skip, layer.skip_logits
    count = len(s)
    slope = 2 * s * (1 - s)  # of s by y
    on, off = _log_target(shape)
    pairs = shape.layers * (shape.layers - 1) / 2
    d_y = costs.advantage[:, None] * 2 * (s - trace.bits[:, i, :i])  # of minus log p
    d_y = d_y + costs.entropy_weight * slope * 2 * y  # log(s / (1-s)) = 2y
    d_y = d_y + costs.skip_weight / pairs * slope * (2 * y - on + off)
    d_raw = _squash_back(shape, y, d_y / count)
    out["attention"] += np.einsum("bkh,bk->h", layer.hidden, d_raw)
    d_hidden = d_raw[:, :, None] * weights["attention"] * (1 - layer.hidden**2)
    by_anchor = d_hidden.transpose(1, 0, 2)
    out["anchor"] += np.tensordot(np.stack(trace.outputs[:i]), by_anchor, axes=([0, 1], [0, 1]))
    d_output[:i] += by_anchor @ weights["anchor"].T
    d_query = d_hidden.sum(axis=1)
    out["query"] += trace.outputs[i].T @ d_query
    return np.asarray(d_query @ weights["query"].T)


# Pieces.


def _lstm(weight: Floats, x: Floats, h: Floats, c: Floats) -> tuple[_Step, Floats, Floats]:
    """One step; the gates are input, forget, output, candidate."""
    size = h.shape[1]
    gates = np.concatenate([x, h], axis=1) @ weight
    gates[:, : 3 * size] = _sigmoid(gates[:, : 3 * size])
    gates[:, 3 * size :] = np.tanh(gates[:, 3 * size :])
    i, f, o, g = np.split(gates, 4, axis=1)
    new_c = f * c + i * g
    tanh_c = np.tanh(new_c)
    return _Step(x, h, c, gates, tanh_c), o * tanh_c, new_c


def _lstm_back(weight: Floats, step: _Step, dh: Floats, dc: Floats, d_weight: Floats) -> tuple[Floats, Floats, Floats]:
    """Back through one step: adds to ``d_weight``; returns the derivatives by x, h and c."""
    size = step.h.shape[1]
    i, f, o, g = np.split(step.gates, 4, axis=1)
    dc = dc + dh * o * (1 - step.tanh_c**2)
    raw = np.concatenate(
        [dc * g * i * (1 - i), dc * step.c * f * (1 - f), dh * step.tanh_c * o * (1 - o), dc * i * (1 - g**2)], axis=1
    )
    d_weight += np.concatenate([step.x, step.h], axis=1).T @ raw
    back = raw @ weight.T
    return back[:, :size], back[:, size:], dc * f


def _squash(shape: Shape, logits: Floats) -> Floats:
    if shape.temperature is not None:
        logits = logits / shape.temperature
    if shape.tanh_const is not None:
        logits = shape.tanh_const * np.tanh(logits)
    return logits


def _squash_back(shape: Shape, squashed: Floats, d: Floats) -> Floats:
    """Derivative by the raw logits from the one by the squashed ones."""
    if shape.tanh_const is not None:
        d = d * shape.tanh_const * (1 - (squashed / shape.tanh_const) ** 2)
    return d if shape.temperature is None else d / shape.temperature


def _softmax(logits: Floats) -> Floats:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return np.asarray(np.maximum(p, 1e-300))  # its logarithm stays finite


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


class Adam:
    """The optimiser (Kingma and Ba, 2015) with its usual constants."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._first: Weights = {}
        self._second: Weights = {}
        self._steps = 0

    def step(self, weights: Weights, slopes: Mapping[str, Floats]) -> Weights:
        """New weights, one step down the slopes; the given ones stay as they are."""
        self._steps += 1
        out = {}
        for name, slope in slopes.items():
            first = 0.9 * self._first.get(name, 0.0) + 0.1 * slope
            second = 0.999 * self._second.get(name, 0.0) + 0.001 * slope**2
            self._first[name], self._second[name] = first, second
            lead = first / (1 - 0.9**self._steps)
            out[name] = weights[name] - self.rate * lead / (np.sqrt(second / (1 - 0.999**self._steps)) + 1e-8)
        return out

    def copy(self) -> Adam:
        """An independent copy; arrays are shared, for they are never changed in place."""
        other = Adam(self.rate)
        other._first, other._second, other._steps = dict(self._first), dict(self._second), self._steps
        return other

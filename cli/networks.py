"""Two small classifiers of handwritten digits, forward and backward, written in opset calls only.

Parameters are tuples of arrays; a step takes parameters and optimiser state and returns new ones: arrays are values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

from ..core.arrays.array import Array

Parameters = tuple[Array, ...]


class Network(Protocol):
    """What training needs to know of a network."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    def parameters(self, ox: ModuleType, seed: int) -> Parameters:
        """Return freshly drawn parameters."""

    def loss_gradient(self, ox: ModuleType, p: Parameters, x: Array, wanted: Array) -> Parameters:
        """Return the gradient of the mean cross-entropy; *wanted* are (batch, 10) probabilities."""

    def scores(self, ox: ModuleType, p: Parameters, x: Array) -> Array:
        """Return (batch, 10) scores."""


def _drawn(ox: ModuleType, generator: object, shape: tuple[int, ...], fan_in: int) -> Array:
    """Return normal values with variance 2 / fan_in (He et al., arXiv:1502.01852)."""
    values: Array = generator.normal(shape)  # type: ignore[attr-defined]
    return ox.multiply(values, math.sqrt(2.0 / fan_in))  # type: ignore[no-any-return]


def score_gradient(ox: ModuleType, scores: Array, wanted: Array) -> Array:
    """Return the gradient of the mean cross-entropy with respect to the scores: (softmax - wanted) / batch."""
    return (ox.softmax(scores, axis=1) - wanted) / float(scores.shape[0])  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Dense:
    """64 -> hidden -> 10, with relu."""

    hidden: int = 256
    name: str = "dense"

    def parameters(self, ox: ModuleType, seed: int) -> Parameters:
        g = ox.Generator(seed)
        return (
            _drawn(ox, g, (self.hidden, 64), 64),
            ox.zeros((self.hidden,)),
            _drawn(ox, g, (10, self.hidden), self.hidden),
            ox.zeros((10,)),
        )

    def scores(self, ox: ModuleType, p: Parameters, x: Array) -> Array:
        hidden = ox.relu(ox.linear(ox.reshape(x, (x.shape[0], 64)), p[0], p[1]))
        return ox.linear(hidden, p[2], p[3])  # type: ignore[no-any-return]

    def loss_gradient(self, ox: ModuleType, p: Parameters, x: Array, wanted: Array) -> Parameters:
        flat = ox.reshape(x, (x.shape[0], 64))
        before = ox.linear(flat, p[0], p[1])
        hidden = ox.relu(before)
        d_scores = score_gradient(ox, ox.linear(hidden, p[2], p[3]), wanted)
        d_hidden = ox.where(before > 0.0, d_scores @ p[2], 0.0)
        return (
            d_hidden.T @ flat,
            ox.sum(d_hidden, axis=0),
            d_scores.T @ hidden,
            ox.sum(d_scores, axis=0),
        )


@dataclass(frozen=True)
class Convolutional:
    """3x3 to 16 channels, 3x3 with stride 2 to 32 channels, dense to 10, with relu."""

    first: int = 16
    second: int = 32
    name: str = "convolutional"

    def parameters(self, ox: ModuleType, seed: int) -> Parameters:
        g = ox.Generator(seed)
        return (
            _drawn(ox, g, (self.first, 1, 3, 3), 9),
            ox.zeros((self.first,)),
            _drawn(ox, g, (self.second, self.first, 3, 3), 9 * self.first),
            ox.zeros((self.second,)),
            _drawn(ox, g, (10, 16 * self.second), 16 * self.second),
            ox.zeros((10,)),
        )

    def scores(self, ox: ModuleType, p: Parameters, x: Array) -> Array:
        one = ox.relu(ox.conv(x, p[0], p[1], padding=1))
        two = ox.relu(ox.conv(one, p[2], p[3], stride=2, padding=1))
        return ox.linear(ox.reshape(two, (x.shape[0], 16 * self.second)), p[4], p[5])  # type: ignore[no-any-return]

    def loss_gradient(self, ox: ModuleType, p: Parameters, x: Array, wanted: Array) -> Parameters:
        before_one = ox.conv(x, p[0], p[1], padding=1)
        one = ox.relu(before_one)
        before_two = ox.conv(one, p[2], p[3], stride=2, padding=1)
        two = ox.relu(before_two)
        flat = ox.reshape(two, (x.shape[0], 16 * self.second))
        d_scores = score_gradient(ox, ox.linear(flat, p[4], p[5]), wanted)
        d_two = ox.where(before_two > 0.0, ox.reshape(d_scores @ p[4], two.shape), 0.0)
        d_one = ox.where(before_one > 0.0, input_gradient(ox, d_two, p[2], one.shape, stride=2, padding=1), 0.0)
        return (
            weight_gradient(ox, x, d_one, p[0].shape, stride=1, padding=1),
            ox.sum(d_one, axis=(0, 2, 3)),
            weight_gradient(ox, one, d_two, p[2].shape, stride=2, padding=1),
            ox.sum(d_two, axis=(0, 2, 3)),
            d_scores.T @ flat,
            ox.sum(d_scores, axis=0),
        )


def weight_gradient(
    ox: ModuleType, x: Array, d_y: Array, shape: tuple[int, ...], *, stride: int, padding: int
) -> Array:
    """Return the gradient of a convolution's weight: a convolution over the batch, dilated by the stride."""
    swapped, filters = ox.permute_dims(x, (1, 0, 2, 3)), ox.permute_dims(d_y, (1, 0, 2, 3))
    # Elements that no window of the forward pass reached are cropped at the high end.
    unreached = [(x.shape[a] + 2 * padding - shape[a]) % stride for a in (2, 3)]
    pads = tuple((padding, padding - u) for u in unreached)
    return ox.permute_dims(ox.conv(swapped, filters, dilation=stride, padding=pads), (1, 0, 2, 3))  # type: ignore[no-any-return]


def input_gradient(
    ox: ModuleType, d_y: Array, weight: Array, shape: tuple[int, ...], *, stride: int, padding: int
) -> Array:
    """Return the gradient of a convolution's input: a transposed convolution with the flipped weight."""
    flipped = ox.permute_dims(ox.flip(weight, axis=(2, 3)), (1, 0, 2, 3))
    pads = tuple(
        (
            weight.shape[a] - 1 - padding,
            weight.shape[a] - 1 - padding + (shape[a] + 2 * padding - weight.shape[a]) % stride,
        )
        for a in (2, 3)
    )
    return ox.conv(d_y, flipped, input_dilation=stride, padding=pads)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, arXiv:1412.6980) with its published defaults; the step size comes with each step."""

    decay: float = 0.9
    decay_squares: float = 0.999
    epsilon: float = 1e-8

    def start(self, ox: ModuleType, p: Parameters) -> tuple[Parameters, Parameters]:
        """Return the state before the first step."""
        return tuple(ox.zeros_like(a) for a in p), tuple(ox.zeros_like(a) for a in p)

    def step(
        self,
        ox: ModuleType,
        p: Parameters,
        gradient: Parameters,
        state: tuple[Parameters, Parameters],
        number: Array,
        rate: Array,
    ) -> tuple[Parameters, tuple[Parameters, Parameters]]:
        """Return new parameters and state; *number* counts steps from 1, *rate* is the step size, both 0-d arrays."""
        means = tuple(m * self.decay + g * (1 - self.decay) for m, g in zip(state[0], gradient, strict=True))
        squares = tuple(
            v * self.decay_squares + g * g * (1 - self.decay_squares) for v, g in zip(state[1], gradient, strict=True)
        )
        mean_scale = 1.0 - ox.pow(ox.full((), self.decay), number)
        square_scale = 1.0 - ox.pow(ox.full((), self.decay_squares), number)
        moved = tuple(
            a - rate * (m / mean_scale) / (ox.sqrt(v / square_scale) + self.epsilon)
            for a, m, v in zip(p, means, squares, strict=True)
        )
        return moved, (means, squares)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    The values were chosen by cross-validation within the training examples; the held-out quarter had no part in it.

    Attributes:
        network: what.
        target: accuracy on the held-out quarter that it must reach.
        epochs: passes over the training data.
        batch: examples per step.
        rate: step size at the start; it falls to 0 along half a cosine (Loshchilov and Hutter, arXiv:1608.03983).
        smoothing: the probability that is spread over all classes (Szegedy et al., arXiv:1512.00567).
        moved: the probability that an example is moved by up to one pixel, so that images are not learned by heart.
    """

    network: Network
    target: float
    epochs: int
    batch: int = 64
    rate: float = 4e-3
    smoothing: float = 0.1
    moved: float = 0.3

    def steps(self, examples: int) -> int:
        """Return how many steps the training takes; what does not fill a batch waits for the next shuffle."""
        return self.epochs * (examples // self.batch)


RECIPES = (Recipe(Dense(), 0.97, epochs=40), Recipe(Convolutional(), 0.98, epochs=30))


def moved(ox: ModuleType, x: Array, generator: object, probability: float) -> Array:
    """Return images, some moved by -1, 0 or 1 pixel along each axis, zeros coming in."""
    batch, _, height, width = x.shape
    chosen = generator.uniform((batch, 1)) < probability  # type: ignore[attr-defined]
    steps = ox.where(chosen, generator.integers(-1, 2, (batch, 2)), 0)  # type: ignore[attr-defined]
    padded = ox.reshape(ox.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (batch, (height + 2) * (width + 2)))
    rows, columns = ox.iota((height, width), 0) + 1, ox.iota((height, width), 1) + 1
    unmoved = ox.reshape(rows * (width + 2) + columns, (1, height * width))
    places = unmoved + steps[:, :1] * (width + 2) + steps[:, 1:]
    return ox.reshape(ox.take_along_axis(padded, places, axis=1), x.shape)  # type: ignore[no-any-return]


def wanted_probabilities(ox: ModuleType, labels: Array, smoothing: float) -> Array:
    """Return the (batch, 10) probabilities that a network should give."""
    return ox.one_hot(labels, 10) * (1.0 - smoothing) + smoothing / 10  # type: ignore[no-any-return]


def train(
    ox: ModuleType,
    recipe: Recipe,
    x: Array,
    labels: Array,
    *,
    seed: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> Parameters:
    """Return trained parameters; the same seed gives the same batches on every backend."""
    network, optimiser = recipe.network, Adam()
    p = network.parameters(ox, seed)
    state = optimiser.start(ox, p)
    generator = ox.Generator(seed + 1)
    steps, done = recipe.steps(x.shape[0]), 0
    for _ in range(recipe.epochs):
        shuffled = generator.permutation(x.shape[0])
        for start in range(0, x.shape[0] - recipe.batch + 1, recipe.batch):
            chosen = shuffled[start : start + recipe.batch]
            images = moved(ox, ox.gather(x, chosen, axis=0), generator, recipe.moved)
            wanted = wanted_probabilities(ox, ox.gather(labels, chosen, axis=0), recipe.smoothing)
            rate = recipe.rate * (1.0 + math.cos(math.pi * done / steps)) / 2.0
            done += 1
            gradient = network.loss_gradient(ox, p, images, wanted)
            p, state = optimiser.step(ox, p, gradient, state, ox.full((), float(done)), ox.full((), rate))
            progress()
    return p


def accuracy(ox: ModuleType, network: Network, p: Parameters, x: Array, labels: Array) -> float:
    """Return the share of examples whose highest score is at their label."""
    hits = ox.equal(ox.argmax(network.scores(ox, p, x), axis=1), labels)
    return float(ox.sum(ox.astype(hits, ox.int64))) / x.shape[0]

"""What one training step of a transformer takes over thousands of devices, from schedules, without any data.

Three ways to share the work, at once: *tensor* parallel devices hold a part of every layer and reduce activations twice
per layer and direction; *pipeline* parallel ones hold some of the layers and hand activations on; *data* parallel ones
hold the same parameters, take other sequences, and reduce gradients. Devices are numbered with the tensor rank running
fastest, then data, then pipeline. (M. Shoeybi et al., "Megatron-LM", arXiv:1909.08053; D. Narayanan et al., "Efficient
large-scale language model training on GPU clusters", SC 2021.)

The embedding and the output layer are left out, and so is what the optimiser does by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...core.collectives.layout import Layout
from ...core.collectives.links import Links, Switch, TwoLevel
from ...core.collectives.price import Rates, price
from ...core.collectives.schedule import Schedule, Step, Transfer
from ...core.errors import ArgumentError
from .algorithms.cheapest import cheapest


@dataclass(frozen=True, slots=True)
class Transformer:
    """A model and what a step feeds it.

    Attributes:
        layers, hidden, heads: of the model.
        sequence: tokens of a sequence.
        batch: sequences of a step, over all devices.
        feed_forward: width of the hidden layer of a block; 0 for four times *hidden*.
        itemsize: bytes of an activation.
        gradient_itemsize: bytes of a gradient as it is reduced.
    """

    layers: int
    hidden: int
    heads: int
    sequence: int
    batch: int
    feed_forward: int = 0
    itemsize: int = 2
    gradient_itemsize: int = 2

    @property
    def width(self) -> int:
        """The width of a block's hidden layer."""
        return self.feed_forward or 4 * self.hidden

    @property
    def layer_parameters(self) -> int:
        """The parameters of a layer's matrices; biases and norms are left out."""
        return 4 * self.hidden**2 + 2 * self.hidden * self.width


@dataclass(frozen=True, slots=True)
class Split:
    """How the work is shared.

    Attributes:
        data, tensor, pipeline: how many devices share it in each way.
        micro_batch: sequences that go through the pipeline at once.
    """

    data: int
    tensor: int
    pipeline: int
    micro_batch: int = 1

    @property
    def devices(self) -> int:
        """How many there are."""
        return self.data * self.tensor * self.pipeline


@dataclass(frozen=True, slots=True)
class Matmul:
    """So many products of an m x k and a k x n matrix."""

    m: int
    n: int
    k: int
    count: int = 1

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.m * self.n * self.k * self.count


@dataclass(frozen=True, slots=True)
class LayerWork:
    """What one device does in one layer for one micro-batch, in one direction.

    Attributes:
        matmuls: all products of matrices.
        backward: whether it is the backward direction, whose products are twice those of the forward one.
    """

    matmuls: tuple[Matmul, ...]
    backward: bool

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return sum(m.flops for m in self.matmuls)


#: Seconds that a device takes for the work of a layer, without communication.
Compute = Callable[[LayerWork], float]


@dataclass(frozen=True, slots=True)
class StepTime:
    """A predicted training step. The first five parts add up to *seconds*.

    Attributes:
        seconds: of the step, on the device that is done last.
        compute: its own layers for all micro-batches.
        tensor: reductions of activations, which nothing overlaps.
        bubble: waiting while the pipeline fills and drains.
        pipeline: waiting for messages between stages, as far as it is not overlapped.
        data: reduction of gradients, as far as the last backward pass does not overlap it.
        data_hidden: reduction of gradients that is overlapped.
        micro_batches: how many go through each pipeline.
        parameters: held by each device.
        algorithms: which algorithm is the cheapest for the ``tensor`` and the ``data`` reduction.
    """

    seconds: float
    compute: float
    tensor: float
    bubble: float
    pipeline: float
    data: float
    data_hidden: float
    micro_batches: int
    parameters: int
    algorithms: Mapping[str, str]


def layer_work(model: Transformer, split: Split, backward: bool) -> LayerWork:
    """Return what a device does in a layer for a micro-batch.

    >>> layer_work(Transformer(1, 8, 2, 4, 1), Split(1, 1, 1), backward=False).flops  # 24 t h^2 + 4 t s h, t = s = 4
    6656
    """
    tokens, hidden, part = split.micro_batch * model.sequence, model.hidden, split.tensor
    heads = split.micro_batch * model.heads // part
    depth = hidden // model.heads
    forward = (
        Matmul(tokens, 3 * hidden // part, hidden),
        Matmul(model.sequence, model.sequence, depth, heads),
        Matmul(model.sequence, depth, model.sequence, heads),
        Matmul(tokens, hidden, hidden // part),
        Matmul(tokens, model.width // part, hidden),
        Matmul(tokens, hidden, model.width // part),
    )
    if not backward:
        return LayerWork(forward, False)
    # The gradient of a product takes two: one for each factor.
    both = (m for f in forward for m in (Matmul(f.m, f.k, f.n, f.count), Matmul(f.k, f.n, f.m, f.count)))
    return LayerWork(tuple(both), True)


def transformer_step(
    model: Transformer, split: Split, compute: Compute, links: Switch | TwoLevel, rates: Rates | None = None
) -> StepTime:
    """Return what a training step takes: a pipeline of one forward, one backward, over priced schedules.

    Args:
        model: what is trained.
        split: how it is shared.
        compute: seconds of a device for the work of a layer.
        links: between all devices. Groups that communicate at the same time share uplinks.
        rates: of each device, for combining what arrives.

    Raises:
        ArgumentError: the split does not divide the model, or cuts through groups of devices.

    >>> from opmux.core.collectives.communicator import Link
    >>> model = Transformer(layers=4, hidden=64, heads=4, sequence=32, batch=8)
    >>> links = Switch(Link(latency=0.0, bandwidth=1e30))
    >>> step = transformer_step(model, Split(data=1, tensor=1, pipeline=4), lambda w: 2.0 if w.backward else 1.0, links)
    >>> step.seconds, step.bubble  # (8 micro-batches + 3) x (1 + 2)
    (33.0, 9.0)
    """
    rates = rates or Rates()
    micro_batches = _checked(model, split)
    inside, across, along = links, _every(links, split.tensor), _every(links, split.tensor * split.data)
    layers = model.layers // split.pipeline
    forward, backward = (compute(layer_work(model, split, way)) for way in (False, True))
    activations = split.micro_batch * model.sequence * model.hidden
    algorithms: dict[str, str] = {}

    reduced = 0.0  # seconds of one reduction of activations
    if split.tensor > 1:
        chosen = cheapest("all_reduce", split.tensor, Layout((activations,)), model.itemsize, inside, rates)
        reduced, algorithms["tensor"] = chosen.price.seconds, chosen.schedule.algorithm
    message = 0.0
    if split.pipeline > 1:
        message = price(_handed_on(split.pipeline), Layout((activations,)), model.itemsize, along, rates).seconds
    there, back = (layers * (way + 2 * reduced) for way in (forward, backward))
    pipeline = one_forward_one_backward(split.pipeline, micro_batches, there, back, message)

    data = hidden = 0.0
    if split.data > 1:
        gradients = Layout((model.layer_parameters // split.tensor,))
        chosen = cheapest("all_reduce", split.data, gradients, model.gradient_itemsize, across, rates)
        algorithms["data"] = chosen.schedule.algorithm
        data = exposed(layers, backward + 2 * reduced, chosen.price.seconds)
        hidden = layers * chosen.price.seconds - data
    bubble = (split.pipeline - 1) * (there + back)
    return StepTime(
        seconds=pipeline + data,
        compute=micro_batches * layers * (forward + backward),
        tensor=micro_batches * layers * 4 * reduced,
        bubble=bubble,
        pipeline=max(0.0, pipeline - micro_batches * (there + back) - bubble),
        data=data,
        data_hidden=hidden,
        micro_batches=micro_batches,
        parameters=layers * model.layer_parameters // split.tensor,
        algorithms=algorithms,
    )


def one_forward_one_backward(
    stages: int, micro_batches: int, forward: float, backward: float, message: float = 0.0
) -> float:
    """Return the seconds of a pipeline whose stages, once it is full, do one forward and one backward pass in turn.

    Each stage first does as many forward passes as there are stages behind it. Messages overlap with work: a pass waits
    for its input alone. (D. Narayanan et al., "PipeDream", SOSP 2019.)

    Args:
        stages: how many there are.
        micro_batches: how many go through.
        forward, backward: seconds of a stage for one micro-batch.
        message: seconds from the end of a pass until the next stage may begin its own.

    >>> one_forward_one_backward(4, 8, 1.0, 2.0)
    33.0
    """
    orders = [_order(stages - 1 - i, micro_batches) for i in range(stages)]
    # Of each stage and direction, when micro-batch after micro-batch was done; both are done in order.
    done: list[tuple[list[float], list[float]]] = [([], []) for _ in range(stages)]
    free = [0.0] * stages
    waiting = deque(range(stages))
    while waiting:
        i = waiting.popleft()
        begun = len(done[i][0]) + len(done[i][1])
        for way in orders[i][begun:]:
            number = len(done[i][way])
            before = i - 1 if way == 0 else i + 1
            ready = 0.0
            if 0 <= before < stages:
                if len(done[before][way]) <= number:
                    break
                ready = done[before][way][number] + message
            free[i] = max(free[i], ready) + (backward if way else forward)
            done[i][way].append(free[i])
        if len(done[i][0]) + len(done[i][1]) > begun:
            waiting.extend(j for j in (i - 1, i + 1) if 0 <= j < stages)
    return max(free)


def exposed(layers: int, backward: float, reduction: float) -> float:
    """Return the seconds of gradient reductions, one per layer, that backward passes do not overlap.

    >>> exposed(4, 2.0, 1.0), exposed(4, 2.0, 3.0)  # only the last one; 4 x 3 behind the first pass
    (1.0, 6.0)
    """
    return reduction if reduction <= backward else layers * reduction - (layers - 1) * backward


def _handed_on(stages: int) -> Schedule:
    """Return the messages from every stage to the next."""
    step = Step(tuple(Transfer(i, i + 1, 0) for i in range(stages - 1)))
    return Schedule("permute", "direct", stages, 1, 2, (step,))


def _order(warm: int, micro_batches: int) -> list[int]:
    """Return the directions of a stage's passes in turn, 0 for forward."""
    first = min(warm, micro_batches)
    return [0] * first + [0, 1] * (micro_batches - first) + [1] * first


def _checked(model: Transformer, split: Split) -> int:
    """Return how many micro-batches each pipeline has.

    Raises:
        ArgumentError: the split does not divide the model.
    """
    for what, whole, parts in (
        ("layers", model.layers, split.pipeline),
        ("heads", model.heads, split.tensor),
        ("hidden", model.hidden, model.heads),
        ("feed_forward", model.width, split.tensor),
        ("batch", model.batch, split.data * split.micro_batch),
    ):
        if parts < 1 or whole < 1 or whole % parts:
            raise ArgumentError(f"{what}={whole} cannot be shared by {parts} of {split}; take a divisor", given=parts)
    return model.batch // (split.data * split.micro_batch)


def _every(links: Switch | TwoLevel, stride: int) -> Links:
    """Return the links among every stride-th device while the others do the same.

    Raises:
        ArgumentError: the stride cuts through groups of devices.
    """
    found = links.every(stride)
    if found is None:
        raise ArgumentError(
            f"blocks of {stride} devices cut through groups of {getattr(links, 'size', 1)}; take a divisor or multiple",
            given=stride,
        )
    return found

"""Training steps over thousands of devices, against sums made by hand."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest

from opmux.core.collectives.communicator import Link
from opmux.core.collectives.links import Switch, TwoLevel
from opmux.core.errors import ArgumentError
from opmux.opset.collectives.scale import (
    LayerWork,
    Split,
    Transformer,
    exposed,
    layer_work,
    one_forward_one_backward,
    transformer_step,
)

MODEL = Transformer(layers=8, hidden=1024, heads=16, sequence=256, batch=64)
ALPHA, BANDWIDTH = 1e-6, 1e11
LINKS = Switch(Link(ALPHA, BANDWIDTH))
RATE = 1e14


def compute(work: LayerWork) -> float:
    return work.flops / RATE


def rabenseifner(n: int, nbytes: float) -> float:
    return 2 * math.log2(n) * ALPHA + 2 * (n - 1) / n * nbytes / BANDWIDTH


def forward_seconds(tensor: int = 1, sequences: int = 1) -> float:
    """24 t h^2 of the matrices and 4 t s h of attention."""
    tokens = sequences * MODEL.sequence
    flops = 24 * tokens * MODEL.hidden**2 + 4 * tokens * MODEL.sequence * MODEL.hidden
    return flops / tensor / RATE


def test_one_device_only_computes() -> None:
    step = transformer_step(MODEL, Split(1, 1, 1), compute, LINKS)
    assert step.seconds == pytest.approx(64 * 8 * 3 * forward_seconds())
    assert (step.tensor, step.bubble, step.pipeline, step.data) == (0.0, 0.0, 0.0, 0.0)
    assert step.parameters == 8 * 12 * 1024**2


def test_backward_work_is_twice_the_forward_work() -> None:
    split = Split(1, 4, 1, micro_batch=2)
    assert layer_work(MODEL, split, True).flops == 2 * layer_work(MODEL, split, False).flops
    assert layer_work(MODEL, split, False).flops == pytest.approx(forward_seconds(4, 2) * RATE)


def test_tensor_parallel_layers_reduce_four_times() -> None:
    step = transformer_step(MODEL, Split(1, 8, 1), compute, LINKS)
    reduced = rabenseifner(8, 256 * 1024 * 2)
    assert step.algorithms["tensor"] == "rabenseifner"
    assert step.tensor == pytest.approx(64 * 8 * 4 * reduced)
    assert step.seconds == pytest.approx(64 * 8 * (3 * forward_seconds(8) + 4 * reduced))


def test_gradients_hide_behind_the_last_backward_pass() -> None:
    step = transformer_step(MODEL, Split(16, 1, 1), compute, LINKS)
    reduced, backward = rabenseifner(16, 12 * 1024**2 * 2), 2 * forward_seconds()
    assert reduced > backward
    assert step.data == pytest.approx(8 * reduced - 7 * backward)
    assert step.data_hidden == pytest.approx(7 * backward)
    fast = transformer_step(MODEL, Split(16, 1, 1), compute, Switch(Link(0.0, 1e13)))
    assert fast.data == pytest.approx(2 * 15 / 16 * 12 * 1024**2 * 2 / 1e13)


def test_reductions_behind_backward_passes_by_hand() -> None:
    ends = 0.0
    for layer in range(1, 6):
        ends = max(ends, layer * 2.0) + 3.0
    assert exposed(5, 2.0, 3.0) == ends - 5 * 2.0
    assert exposed(5, 2.0, 1.5) == 1.5


@pytest.mark.parametrize(("stages", "micro_batches"), [(1, 1), (2, 1), (4, 4), (4, 8), (4, 2), (16, 64)])
def test_a_pipeline_fills_and_drains_once(stages: int, micro_batches: int) -> None:
    found = one_forward_one_backward(stages, micro_batches, 1.0, 2.0)
    assert found == pytest.approx((micro_batches + stages - 1) * 3.0)


def test_one_micro_batch_waits_for_every_message() -> None:
    assert one_forward_one_backward(5, 1, 1.0, 2.0, message=0.25) == pytest.approx(5 * 3.0 + 2 * 4 * 0.25)


def test_two_stages_with_messages_by_hand() -> None:
    # Stage 0: F0 0-1, F1 1-2, B0, B1. Stage 1: F0 1.5-2.5, B0 2.5-4.5, F1 4.5-5.5, B1 5.5-7.5. B0 at 5-7, B1 at 8-10.
    assert one_forward_one_backward(2, 2, 1.0, 2.0, message=0.5) == pytest.approx(10.0)


def test_a_pipeline_without_costly_messages_has_its_bubble_alone() -> None:
    free = Switch(Link(0.0, math.inf))
    step = transformer_step(MODEL, Split(1, 1, 4), compute, free)
    assert step.bubble == pytest.approx(3 * 2 * 3 * forward_seconds())
    assert step.seconds == pytest.approx((64 + 3) * 2 * 3 * forward_seconds())
    assert step.pipeline == pytest.approx(0.0)


@pytest.mark.parametrize("split", [Split(2, 2, 2), Split(4, 1, 8, 2), Split(1, 8, 4)])
def test_the_parts_add_up(split: Split) -> None:
    step = transformer_step(MODEL, split, compute, TwoLevel(4, LINKS.port, Link(5e-6, 1e10), uplinks=2.0))
    parts = step.compute + step.tensor + step.bubble + step.pipeline + step.data
    assert step.seconds == pytest.approx(parts)
    assert step.micro_batches == 64 // (split.data * split.micro_batch)


def test_groups_that_reduce_at_once_share_the_uplinks() -> None:
    inner, outer = Link(0.0, 1e12), Link(0.0, 1e10)
    step = transformer_step(MODEL, Split(2, 4, 1), lambda w: 0.0, TwoLevel(4, inner, outer, uplinks=1.0))
    own = transformer_step(MODEL, Split(2, 4, 1), lambda w: 0.0, TwoLevel(4, inner, outer))
    assert step.data + step.data_hidden == pytest.approx(4 * (own.data + own.data_hidden))


@pytest.mark.parametrize(
    ("split", "named"),
    [
        (Split(1, 1, 3), "layers=8"),
        (Split(1, 3, 1), "heads=16"),
        (Split(48, 1, 1), "batch=64"),
        (Split(0, 1, 1), "batch=64"),
        (Split(1, 1, 0), "layers=8"),
    ],
)
def test_a_split_that_does_not_divide_is_refused(split: Split, named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        transformer_step(MODEL, split, compute, LINKS)


def test_a_split_that_cuts_groups_is_refused() -> None:
    model = replace(MODEL, heads=16, batch=16)
    with pytest.raises(ArgumentError, match="cut through groups of 6"):
        transformer_step(model, Split(2, 4, 1), compute, TwoLevel(6, LINKS.port, LINKS.port))


@pytest.mark.parametrize("split", [Split(4096, 1, 1), Split(64, 8, 8), Split(8, 8, 64)])
def test_a_step_of_4096_devices_takes_seconds_to_price(split: Split) -> None:
    model = Transformer(layers=64, hidden=8192, heads=64, sequence=2048, batch=4096)
    began = time.thread_time()  # a busy machine takes none of it
    step = transformer_step(model, split, compute, TwoLevel(8, LINKS.port, Link(5e-6, 5e10)))
    assert split.devices == 4096
    assert time.thread_time() - began < 10.0
    assert step.seconds > step.compute == pytest.approx(4096 * 64 * 3 * _big_forward(model) / 4096, rel=1e-6)


def _big_forward(model: Transformer) -> float:
    return (24 * model.sequence * model.hidden**2 + 4 * model.sequence**2 * model.hidden) / RATE

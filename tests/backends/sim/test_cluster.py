"""Thousands of simulated devices without any of them: links, schedules and training steps against sums made by hand."""

from __future__ import annotations

import math
import time

import pytest

from opmux.backends.sim.cluster import Routed, compute_on, groups_between, links_between, ports, rates_of
from opmux.backends.sim.description import Description, loads, preset
from opmux.backends.sim.timing.op_time import Tensor, time_of
from opmux.core.collectives.communicator import Link
from opmux.core.collectives.layout import Layout
from opmux.core.collectives.links import Ring, Switch
from opmux.core.collectives.price import price
from opmux.core.collectives.replay import replay
from opmux.core.collectives.schedule import Schedule, Step, Transfer
from opmux.opset.collectives.algorithms import ALGORITHMS
from opmux.opset.collectives.scale import Split, Transformer, layer_work, transformer_step
from opmux.plugin import ArgumentError
from tests.backends.sim.small import TEXT

H100 = preset("h100-sxm")
ALPHA, BANDWIDTH = 936.25e-9, 18 * 25e9
OUTER = Link(5e-6, 50e9)
MODEL = Transformer(layers=96, hidden=12288, heads=96, sequence=2048, batch=1536)


def linked(topology: str) -> Description:
    return loads(TEXT.replace('"ring"', f'"{topology}"'))


def all_reduce(algorithm: str, ranks: int) -> Schedule:
    made = next(a for a in ALGORITHMS["all_reduce"] if a.name == algorithm).build(ranks)
    assert isinstance(made, Schedule)
    return made


@pytest.mark.parametrize(
    ("topology", "kind"), [("switch", Switch), ("ring", Ring), ("torus", Routed), ("mesh", Routed)]
)
def test_links_are_of_the_described_topology(topology: str, kind: type) -> None:
    assert isinstance(links_between(linked(topology), 16), kind)


@pytest.mark.parametrize("ranks", [8, 64])
def test_a_replayed_ring_is_within_a_hundredth_of_the_closed_form(ranks: int) -> None:
    nbytes = 4 * 1_000_003
    found = replay(all_reduce("ring", ranks), Layout((nbytes // 4,)), 4, links_between(H100, ranks)).seconds
    assert found == pytest.approx(2 * (ranks - 1) * (ALPHA + nbytes / ranks / BANDWIDTH), rel=0.01)


@pytest.mark.parametrize(("topology", "hops", "bandwidth"), [("ring", 1, 1e9), ("torus", 2, 2e9 / 3)])
def test_a_ring_of_neighbours_shares_no_hop(topology: str, hops: int, bandwidth: float) -> None:
    """On 2 x 2 from 1 to 2 by way of 0, and from 3 to 0 by way of 2; two links are dealt out to three neighbours."""
    found = price(all_reduce("ring", 4), Layout((4000,)), 4, links_between(linked(topology), 4)).seconds
    assert found == pytest.approx(6 * (hops * 1e-6 + 4000 / bandwidth))


def test_messages_over_one_hop_share_it() -> None:
    """On a mesh of 1 x 3, those from 0 to 2 and from 1 to 2 both take the link into 2, which has half of the links."""
    links = links_between(linked("mesh"), 3)
    into = Schedule("permute", "direct", 3, 1, 2, (Step((Transfer(0, 2, 0), Transfer(1, 2, 0))),))
    assert price(into, Layout((1000,)), 4, links).seconds == pytest.approx(3e-6 + 2 * 4000 / 1e9)


def test_a_layer_takes_what_its_products_take() -> None:
    work = layer_work(MODEL, Split(64, 8, 8), backward=False)
    expected = 0.0
    for m, n, k, count in ((2048, 4608, 12288, 1), (2048, 2048, 128, 12), (2048, 128, 2048, 12), (2048, 12288, 1536, 1),
                           (2048, 6144, 12288, 1), (2048, 12288, 6144, 1)):  # fmt: skip
        batch = () if count == 1 else (count,)
        operands = [Tensor("bfloat16", (*batch, m, k)), Tensor("bfloat16", (*batch, k, n))]
        expected += time_of(H100, "matmul", operands, [Tensor("bfloat16", (*batch, m, n))]).seconds
    assert compute_on(H100, "bfloat16")(work) == pytest.approx(expected)


def test_a_step_is_made_of_simulated_products_and_of_closed_forms() -> None:
    """Reductions of 8 x 2048 x 12288 bfloat16 by Rabenseifner's algorithm, combined at the bandwidth of memory."""
    compute, split = compute_on(H100, "bfloat16"), Split(1, 8, 1)
    step = transformer_step(MODEL, split, compute, groups_between(H100, 8, OUTER), rates_of(H100))
    layer = compute(layer_work(MODEL, split, False)) + compute(layer_work(MODEL, split, True))
    assert step.compute == pytest.approx(1536 * 96 * layer)
    nbytes = 2048 * 12288 * 2
    combining = sum(3 * nbytes / 2**i / 3.35e12 + 3e-6 for i in (1, 2, 3))
    moving = 2 * math.log2(8) * ALPHA + 2 * 7 / 8 * nbytes / BANDWIDTH
    assert step.algorithms == {"tensor": "rabenseifner"}
    assert step.tensor == pytest.approx(1536 * 96 * 4 * (moving + combining), rel=0.01)
    assert step.seconds == pytest.approx(step.compute + step.tensor)


def test_four_thousand_devices_take_seconds_of_the_host() -> None:
    began = time.thread_time()  # a busy machine takes none of it
    for split in (Split(64, 8, 8), Split(512, 8, 1), Split(128, 1, 32), Split(64, 16, 4)):
        step = transformer_step(MODEL, split, compute_on(H100, "bfloat16"), groups_between(H100, 8, OUTER))
        assert split.devices == 4096
        assert step.seconds > step.compute > 0.5
    found = replay(all_reduce("doubling", 4096), Layout((1000,)), 4, links_between(H100, 4096)).seconds
    assert found == pytest.approx(12 * (ALPHA + 4000 / BANDWIDTH))
    assert time.thread_time() - began < 10


@pytest.mark.parametrize(
    ("description", "told"),
    [(preset("tpu-v1"), "TPU v1 has no links"), (linked("torus"), "topology is 'torus', in which messages share hops")],
)
def test_groups_without_ports_are_refused(description: Description, told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        ports(description, 8)

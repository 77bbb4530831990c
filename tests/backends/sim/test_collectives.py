"""Collectives over simulated devices: values, virtual time on the links, faults of links, races."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

import opmux as ox
from opmux.backends.sim.clock import SECOND
from opmux.backends.sim.description import Description, loads, preset
from opmux.backends.sim.errors import LinkError
from opmux.backends.sim.happens_before import Mode
from opmux.backends.sim.simulated import Simulation
from opmux.core.devices.driver import PeerDriver
from tests.backends.sim.small import NANOSECOND, SMALL, TEXT, bytes_on, read, registered, simulated

H100 = preset("h100-sxm")
UNLINKED = loads(
    "\n".join(line for line in TEXT.splitlines() if not line.startswith("links")).replace("small", "alone")
)
MICROSECOND = 1000 * NANOSECOND


def brought(ranks: int, length: int) -> list[np.ndarray]:
    return [(np.arange(length) % 7 + rank).astype(np.float32) for rank in range(ranks)]


def mesh_of(ranks: int) -> ox.Mesh:
    return ox.Mesh([f"sim:{rank}" for rank in range(ranks)])


def placed(values: Sequence[np.ndarray], mesh: ox.Mesh) -> list[ox.Array]:
    return [ox.asarray(v, device=d) for v, d in zip(values, mesh.local_devices, strict=True)]


def summed(simulation: Simulation, ranks: int, length: int, algorithm: str = "ring") -> list[ox.Array]:
    """A sum over ranks, with the timeline of that alone."""
    mesh = mesh_of(ranks)
    operands = placed(brought(ranks, length), mesh)
    simulation.reset_timeline()
    with ox.policy(pins={"all_reduce": algorithm}):
        return ox.all_reduce(operands, mesh)


def moving_seconds(simulation: Simulation, rank: int = 0) -> float:
    """What is left of the elapsed time without the rank's own work: messages, and waiting for them."""
    local = sum(s.end - s.start for s in simulation.timeline(rank) if not s.engine.startswith("link"))
    return simulation.elapsed() - local / SECOND


@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
@pytest.mark.parametrize("algorithm", ["ring", "doubling", "rabenseifner", "tree", "direct"])
def test_every_rank_has_the_sum(ranks: int, algorithm: str) -> None:
    with registered(simulated(*[SMALL] * ranks)) as simulation:
        for result in summed(simulation, ranks, 50, algorithm):
            assert result.tolist() == sum(brought(ranks, 50)).tolist()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (ox.all_gather, lambda x: np.concatenate(x)),
        (ox.broadcast, lambda x: x[0]),
    ],
)
def test_values_move_to_every_rank(call: Callable[..., list[ox.Array]], expected: Callable[..., np.ndarray]) -> None:
    with registered(simulated(*[SMALL] * 4)):
        values = brought(4, 12)
        for result in call(placed(values, mesh_of(4)), mesh_of(4)):
            assert result.tolist() == expected(values).tolist()


def test_each_rank_has_its_part_of_the_sum() -> None:
    with registered(simulated(*[SMALL] * 4)):
        results = ox.reduce_scatter(placed(brought(4, 12), mesh_of(4)), mesh_of(4))
        assert [r.tolist() for r in results] == sum(brought(4, 12)).reshape(4, 3).tolist()


@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize(("description", "alpha", "bandwidth"), [(H100, 936.25e-9, 18 * 25e9), (SMALL, 1e-6, 1e9)])
def test_a_ring_takes_what_the_closed_form_says(
    ranks: int, description: Description, alpha: float, bandwidth: float
) -> None:
    """2 (n - 1) alpha + 2 (n - 1) / n S / B. A ring of two has both links between them, so twice the bandwidth."""
    length = 1 << (22 if description is H100 else 14)  # launches overlap with messages
    bandwidth *= 2 if ranks == 2 and description is SMALL else 1
    with registered(simulated(*[description] * ranks)) as simulation:
        summed(simulation, ranks, length)
        closed = 2 * (ranks - 1) * (alpha + 4 * length / ranks / bandwidth)
        assert moving_seconds(simulation) == pytest.approx(closed, rel=0.01)


@pytest.mark.parametrize(
    ("algorithm", "length"),
    [("ring", 1 << 22), ("rabenseifner", 1 << 22), ("direct", 1 << 20), ("tree", 1 << 10)],
)
def test_the_predicted_time_is_near_the_virtual_one(algorithm: str, length: int) -> None:
    """It is the longer one: what a device combines while messages are on the way is counted beside them."""
    with registered(simulated(*[H100] * 8)) as simulation:
        summed(simulation, 8, length, algorithm)
        elapsed = simulation.elapsed()
        with ox.policy(pins={"all_reduce": algorithm}):
            mesh = mesh_of(8)
            told = ox.explain(ox.all_reduce, placed(brought(8, length), mesh), mesh)
        assert elapsed <= told.rows[0].seconds <= 1.09 * elapsed


def test_a_mesh_of_the_host_and_simulated_devices_has_canonical_bits() -> None:
    """Neighbours first: (1e8 - 1e8) + 1, where another order loses the 1."""
    with registered(simulated(SMALL, SMALL)):
        mesh = ox.Mesh(["cpu:0", "sim:0", "sim:1"])
        values = [np.full(5, v, np.float32) for v in (1e8, -1e8, 1.0)]
        with ox.policy(determinism="canonical"):
            results = ox.all_reduce(placed(values, mesh), mesh)
        assert [r.tolist() for r in results] == [[1.0] * 5] * 3


def test_a_copy_takes_its_links_and_not_the_host() -> None:
    with registered(simulated(SMALL, SMALL, SMALL)) as simulation:
        x = ox.asarray(np.arange(2500, dtype=np.float32), device="sim:0")
        simulation.reset_timeline()
        y = x.to_device("sim:1")
        (sent,), (arrived,) = simulation.timeline(0), simulation.timeline(1)
        assert (sent.engine, sent.queue, sent.end - sent.start) == ("link0-1", -1, 10 * MICROSECOND)
        assert (arrived.op, arrived.queue, arrived.end - arrived.start) == ("copy_peer", 0, 11 * MICROSECOND)
        assert y.tolist() == list(range(2500))


def test_copies_that_share_a_link_follow_each_other() -> None:
    """From 0 to 2 by way of 1, a microsecond per hop, behind 10 us of another copy from 0 to 1."""
    with registered(simulated(SMALL, SMALL, SMALL, SMALL)) as simulation:
        x = ox.asarray(np.zeros(2500, np.float32), device="sim:0")
        simulation.reset_timeline()
        x.to_device("sim:1")
        x.to_device("sim:2")
        assert [simulation.timeline(i)[-1].end for i in (1, 2)] == [11 * MICROSECOND, 22 * MICROSECOND]


def test_a_copy_waits_for_what_makes_the_value() -> None:
    with registered(simulated(SMALL, SMALL)) as simulation:
        x = ox.asarray(np.ones(2500, np.float32), device="sim:0")
        simulation.reset_timeline()
        y = (x + x).to_device("sim:1")
        made = next(s for s in simulation.timeline(0) if s.op == "add")
        assert simulation.timeline(1)[-1].start == made.end
        assert y.tolist() == [2.0] * 2500


def test_without_links_values_go_by_way_of_the_host() -> None:
    simulation = simulated(UNLINKED, UNLINKED, SMALL)
    assert all(isinstance(d, PeerDriver) for d in simulation.devices)
    with registered(simulation):
        x = ox.asarray(np.arange(2500, dtype=np.float32), device="sim:0")
        assert x.to_device("sim:1").tolist() == list(range(2500))
        simulation.reset_timeline()
        y = x.to_device("sim:2")
        assert [simulation.timeline(i)[-1].engine for i in (0, 2)] == ["host", "host"]
        assert simulation.elapsed() == pytest.approx(10e-6)
        assert y.tolist() == list(range(2500))


@pytest.mark.parametrize("nbytes", [4, 1 << 16])
def test_without_links_the_predicted_time_counts_both_directions_of_the_buses(nbytes: int) -> None:
    with registered(simulated(UNLINKED, UNLINKED)) as simulation:
        mesh = mesh_of(2)
        arrays = placed([np.ones(nbytes // 4, np.float32)] * 2, mesh)
        told = ox.explain(ox.permute, arrays, mesh, pairs=((0, 1), (1, 0)))
        simulation.reset_timeline()
        ox.permute(arrays, mesh, pairs=((0, 1), (1, 0)))
        assert told.rows[0].seconds == pytest.approx(simulation.elapsed(), rel=0.01)


@pytest.mark.parametrize("name", ["tpu-v1", "edge-npu"])
@pytest.mark.parametrize("nbytes", [1 << 20, 1 << 22])
def test_without_links_an_all_reduce_takes_what_was_predicted(name: str, nbytes: int) -> None:
    with registered(simulated(*[preset(name)] * 2)) as simulation:
        mesh = mesh_of(2)
        arrays = placed([np.ones(nbytes // 4, np.int32)] * 2, mesh)
        told = ox.explain(ox.all_reduce, arrays, mesh)
        simulation.reset_timeline()
        ox.all_reduce(arrays, mesh)
        assert told.rows[0].seconds == pytest.approx(simulation.elapsed(), rel=0.01)


@pytest.mark.parametrize("length", [100_000, 3_000_000, 30_000_000])
def test_one_op_takes_about_what_was_predicted(length: int) -> None:
    """Values come from off-chip memory and go back there, also those that would fit on the chip."""
    with registered(simulated(preset("tpu-v1"))) as simulation:
        x = ox.ones(length, dtype="int32", device="sim:0")
        told = ox.explain(ox.add, x, x)
        simulation.reset_timeline()
        ox.add(x, x)
        assert told.rows[0].seconds == pytest.approx(simulation.elapsed(), rel=0.03)


def test_a_broken_link_fails_every_rank_and_names_both_devices() -> None:
    with registered(simulated(*[SMALL] * 4)) as simulation:
        simulation.fabric.break_link(0, 1)
        for result in summed(simulation, 4, 50):
            with pytest.raises(ox.DeviceError, match="link0-1, on the way from sim:0 to sim:1, is broken") as caught:
                result.tolist()
            assert (caught.value.source, caught.value.device) == ("sim:0", "sim:1")


def test_a_link_that_breaks_fails_the_copy_late() -> None:
    with registered(simulated(SMALL, SMALL)) as simulation:
        x = ox.asarray([1.0, 2.0], dtype="float32", device="sim:0")
        simulation.inject("link-broken@2")  # behind the allocation
        y = x.to_device("sim:1")
        with pytest.raises(LinkError, match="link0-1"):
            (y + y).tolist()
        assert [str(f.kind) for f in simulation.faults()] == ["link-broken"]
        assert y.to_device("sim:0") is not None
        assert x.tolist() == [1.0, 2.0]


def test_a_lost_sender_fails_the_copy_and_not_the_receiver() -> None:
    with registered(simulated(SMALL, SMALL)) as simulation:
        x = ox.asarray([1.0], dtype="float32", device="sim:0")
        simulation.devices[0].lose("pulled out")
        receiver, queue = simulation.devices[1], ox.device("sim:1").default_queue.handle
        block = receiver.alloc(4, queue)
        receiver.copy_peer(block, 0, simulation.devices[0], x._buffer.handle, 0, 4, queue)
        with pytest.raises(LinkError, match="sim:0 is gone: pulled out"):
            read(receiver, block, queue)
        assert ox.asarray([2.0], device="sim:1").tolist() == [2.0]


def test_slow_links_are_slow_in_virtual_time_and_right() -> None:
    with registered(simulated(*[SMALL] * 4)) as simulation:
        summed(simulation, 4, 10_000)
        usual = moving_seconds(simulation)
        simulation.inject("link-slow=1.0")
        results = summed(simulation, 4, 10_000)
        assert moving_seconds(simulation) > 3.5 * usual
        assert all(r.tolist() == sum(brought(4, 10_000)).tolist() for r in results)


@pytest.mark.parametrize("algorithm", ["ring", "rabenseifner", "direct"])
def test_collectives_have_no_races(algorithm: str) -> None:
    with registered(simulated(*[SMALL] * 4, races=Mode.RECORD)) as simulation:
        summed(simulation, 4, 50, algorithm)
        assert simulation.races() == ()


def test_a_copy_that_waits_for_no_event_is_a_race_on_the_sender() -> None:
    simulation = simulated(SMALL, SMALL, races=Mode.RECORD)
    sender, receiver = simulation.devices
    there, here = sender.open_queue(), receiver.open_queue()
    block, _ = bytes_on(sender, there, [1, 2, 3, 4])
    target = receiver.alloc(4, here)
    receiver.copy_peer(target, 0, sender, block, 0, 4, here)
    (race, *_) = simulation.races()
    assert (race.device, race.block, race.second.op, race.second.device) == (0, block.number, "copy_peer", 1)
    assert simulation.races(1) == ()


@pytest.mark.parametrize("algorithm", ["ring", "rabenseifner", "direct"])
def test_under_faults_a_rank_has_the_sum_or_a_typed_error(algorithm: str) -> None:
    expected, failed = sum(brought(4, 50)).tolist(), 0
    for seed in range(4):
        faults = f"seed={seed},link-broken=0.05,link-slow=0.2,reorder=0.3,late-completion=0.3"
        with registered(simulated(*[SMALL] * 4, faults=faults)) as simulation:
            for result in summed(simulation, 4, 50, algorithm):
                try:
                    assert result.tolist() == expected
                except LinkError:
                    failed += 1
    assert 0 < failed < 16

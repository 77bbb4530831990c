"""Time, traffic and energy of ops, of transfers and of links."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from opmux.backends.sim.description import Description, loads, preset
from opmux.backends.sim.hardware import Links, Power
from opmux.backends.sim.timing import links, memory, vector
from opmux.backends.sim.timing.op_time import CONTRACTIONS, MOVEMENT, OpTime, Tensor, time_of
from opmux.core.op import OPS
from opmux.opset.declare import declaration_of
from opmux.plugin import ArgumentError

#: Round numbers: 4 cells and 4 lanes at 1 GHz, 1 GB/s of memory.
PLAIN = loads(
    """
    name = "plain"
    clock_hz = 1e9
    matrix = { rows = 2, columns = 2, dataflow = "os", precisions.int8 = { accumulate = "int32" } }
    vector = { lanes = 4, precisions = { int8 = 1, int32 = 1, float32 = 0.5 }, costs = { divide = 10 } }
    on_chip = { bytes = 1024, bandwidth = 1e12 }
    off_chip = { bytes = 1e6, bandwidth = 1e9 }
    dma = { engines = 1, bandwidth = 1e9, host_bandwidth = 5e8 }
    supports = { dtypes = ["int8", "int32", "int64", "float32", "complex64", "bool", "float8_e5m2"] }
    """
)
JOULES = Power(idle=1.0, mac={"int8": 1e-12}, vector=2e-12, on_chip=3e-12, off_chip=4e-12)


def line(n: int, dtype: str = "int8") -> Tensor:
    return Tensor(dtype, (n,))


def product(m: int, k: int, n: int, device: Description = PLAIN, dtype: str = "int8", **_: int) -> OpTime:
    return time_of(device, "matmul", [Tensor(dtype, (m, k)), Tensor(dtype, (k, n))], [Tensor("int32", (m, n))])


def primitives() -> list[str]:
    return [op.name for op in OPS if op.primitive and declaration_of(op).family != "collectives"]


def test_every_primitive_has_one_family() -> None:
    families = [vector.ELEMENTWISE.keys(), vector.REDUCTIONS.keys(), vector.SCANS.keys(), vector.SORTS.keys()]
    for op in primitives():
        assert sum(op in family for family in (*families, MOVEMENT, CONTRACTIONS)) == 1, op


@pytest.mark.parametrize("op", primitives())
def test_every_primitive_takes_time_on_every_preset(op: str) -> None:
    for name in ("tpu-v1", "h100-sxm", "edge-npu"):
        small, large = (
            time_of(preset(name), op, [Tensor("int8", (n, n))] * 2, [Tensor("int8", (n, n))], {"axis": 0}).seconds
            for n in (8, 512)
        )
        assert 0 < small < large < 1


def test_a_product_on_the_array_takes_systolic_cycles_between_load_and_store() -> None:
    made = product(2, 6, 2)
    assert made.engine == "matrix"
    assert made.cycles == 6 + 2 + 2 - 2 - 1
    # One fold: 24 bytes in, the fold, 16 bytes of int32 out, at 1 byte per nanosecond, one after the other.
    assert made.seconds == pytest.approx((24 + 7 + 16) * 1e-9)
    assert made.bytes.off_chip == 24 + 16
    assert made.flops == 2 * 2 * 6 * 2


def test_a_large_product_overlaps_loading_and_computing() -> None:
    made = product(64, 64, 64)
    moved = made.bytes.off_chip * 1e-9
    computing = made.cycles * 1e-9
    assert max(moved, computing) <= made.seconds < 1.01 * max(moved, computing) + 1e-8


def test_what_does_not_fit_is_loaded_again() -> None:
    # Half of 1024 bytes holds neither 64 x 64 operand, but blocks of 11 x 11 accumulators: 6 times each.
    assert product(64, 64, 64).bytes.off_chip == 2 * 6 * 64 * 64 + 64 * 64 * 4
    assert product(20, 20, 20).bytes.off_chip == 2 * 20 * 20 + 20 * 20 * 4


def test_whole_tiles_are_loaded_whole() -> None:
    assert PLAIN.matrix is not None
    padded = replace(PLAIN, matrix=replace(PLAIN.matrix, whole_tiles=True))
    assert product(1, 3, 5, padded).bytes.off_chip - product(1, 3, 5).bytes.off_chip == 4 * 6 - 3 * 5


def test_a_dtype_that_the_array_lacks_is_multiplied_on_the_lanes() -> None:
    made = product(4, 8, 4, dtype="float32")
    assert made.engine == "vector"
    assert made.cycles == 4 * 8 * 4 / 4 / 0.5
    assert made.flops == 2 * 4 * 8 * 4


def test_batches_share_weights_or_are_products_of_their_own() -> None:
    x, y = Tensor("int8", (10, 4, 4)), Tensor("int32", (10, 4, 4))
    shared = time_of(PLAIN, "matmul", [x, Tensor("int8", (4, 4))], [y])
    apart = time_of(PLAIN, "matmul", [x, x], [y])
    assert shared.cycles == product(40, 4, 4).cycles
    assert apart.cycles == 10 * (product(4, 4, 4).cycles + 1) - 1
    assert shared.flops == apart.flops
    assert shared.bytes.off_chip < apart.bytes.off_chip


def test_a_convolution_costs_its_lowered_product() -> None:
    x, w, y = Tensor("int8", (2, 3, 6, 6)), Tensor("int8", (5, 3, 3, 3)), Tensor("int32", (2, 5, 4, 4))
    made = time_of(PLAIN, "conv", [x, w, None], [y])
    assert made.cycles == product(2 * 4 * 4, 27, 5).cycles
    assert made.flops == 2 * (2 * 4 * 4) * 27 * 5


def test_elementwise_work_is_dealt_to_lanes_by_its_class() -> None:
    assert time_of(PLAIN, "add", [line(9)] * 2, [line(9)]).cycles == 3
    assert time_of(PLAIN, "divide", [line(9, "float32")] * 2, [line(9, "float32")]).cycles == 3 * 10 / 0.5


def test_elementwise_work_is_bound_by_memory_where_that_is_slower() -> None:
    made = time_of(PLAIN, "add", [line(100_000)] * 2, [line(100_000)])
    assert made.bound == "memory"
    assert made.seconds == pytest.approx(300_000e-9, rel=0.01)


def test_a_reduction_folds_its_lanes_at_the_end() -> None:
    assert time_of(PLAIN, "sum", [line(16)], [Tensor("int8", ())]).cycles == 16 / 4 + math.log2(4)


def test_a_sort_compares_log_n_times_along_its_axis() -> None:
    x = Tensor("int8", (8, 4))
    assert time_of(PLAIN, "sort", [x], [x], {"axis": 0}).cycles == 32 * 3 / 4
    assert time_of(PLAIN, "sort", [x], [x], {"axis": 1}).cycles == 32 * 2 / 4


def test_movement_takes_the_bytes_over_the_bandwidth() -> None:
    made = time_of(PLAIN, "copy", [line(500)], [line(500)])
    assert (made.engine, made.bound) == ("dma", "memory")
    assert made.seconds == pytest.approx(1000e-9)


def test_a_gather_reads_what_it_writes() -> None:
    made = time_of(PLAIN, "gather", [line(100_000), line(4, "int32")], [line(4)])
    assert made.bytes.off_chip == 4 + 4 * 4 + 4


def test_small_work_is_bound_by_its_launch() -> None:
    slow = replace(PLAIN, launch=1e-3)
    made = time_of(slow, "add", [line(4)] * 2, [line(4)])
    assert made.bound == "launch"
    assert made.seconds == pytest.approx(1e-3, rel=0.01)


def test_nothing_takes_its_launch_alone() -> None:
    slow = replace(PLAIN, launch=1e-6)
    for op in ("add", "copy", "matmul", "sum"):
        empty = Tensor("int8", (0, 0))
        assert time_of(slow, op, [empty, empty], [empty]).seconds == pytest.approx(1e-6), op


def test_energy_is_work_and_traffic_and_idling() -> None:
    powered = replace(PLAIN, power=JOULES)
    assert product(2, 6, 2).energy_joules is None
    made = product(2, 6, 2, powered)
    expected = 24 * 1e-12 + made.bytes.on_chip * 3e-12 + made.bytes.off_chip * 4e-12 + made.seconds
    assert made.energy_joules == pytest.approx(expected)


def test_utilisation_is_flops_over_the_peak_of_the_engine() -> None:
    made = product(64, 512, 64)
    assert made.utilisation == pytest.approx(made.flops / made.seconds / (2 * 4 * 1e9))
    assert 0 < made.utilisation < 1


def test_a_product_on_h100_stays_below_its_peak_and_comes_near() -> None:
    n = 8192
    x = Tensor("bfloat16", (n, n))
    made = time_of(preset("h100-sxm"), "matmul", [x, x], [x])
    assert made.bound == "compute"
    assert 0.9 < made.utilisation < 1


@pytest.mark.parametrize(
    ("op", "inputs", "words"),
    [
        ("sun", [line(4)], ("sun", "plain")),
        ("add", [line(4, "int64")] * 2, ("add", "int64", "int8, int32, float32")),
        ("matmul", [Tensor("int64", (2, 2))] * 2, ("matmul", "int64")),
    ],
)
def test_what_cannot_be_computed_is_told(op: str, inputs: list[Tensor], words: tuple[str, ...]) -> None:
    with pytest.raises(ArgumentError) as caught:
        time_of(PLAIN, op, inputs, [line(4)])
    assert all(word in str(caught.value) for word in words)


def test_without_a_vector_unit_only_products_and_movement_have_a_time() -> None:
    bare = replace(PLAIN, vector=None)
    assert product(4, 4, 4, bare).engine == "matrix"
    with pytest.raises(ArgumentError, match="no vector unit"):
        time_of(bare, "add", [line(4)] * 2, [line(4)])


def test_complex_numbers_are_computed_by_parts_and_storage_dtypes_are_widened() -> None:
    complex64, float32 = line(8, "complex64"), line(8, "float32")
    assert time_of(PLAIN, "multiply", [complex64] * 2, [complex64]).cycles == 4 * 8 / 4 / 0.5
    assert time_of(PLAIN, "cast", [line(8, "float8_e5m2")], [float32]).cycles == 8 / 4 / 0.5


def test_pieces_overlap_all_but_their_ends() -> None:
    # Piece by piece: 3 in, then per piece the larger of 5 computed and 3 + 4 moved, the last piece computed and stored.
    assert memory.overlapped(load=12.0, compute=20.0, store=16.0, tiles=4) == 3 + 3 * max(5, 3 + 4) + 5 + 4
    assert memory.overlapped(load=12.0, compute=40.0, store=16.0, tiles=4) == 3 + 3 * max(10, 3 + 4) + 10 + 4


def test_host_transfers_have_their_own_bandwidth() -> None:
    assert memory.host_seconds(PLAIN, 1000) == pytest.approx(2e-6)
    assert memory.host_seconds(PLAIN, 0) == 0
    assert memory.copy_seconds(PLAIN, 1000) == pytest.approx(2e-6)


def test_several_engines_share_what_the_memory_delivers() -> None:
    many = replace(PLAIN, dma=replace(PLAIN.dma, engines=8))
    assert memory.off_chip_bandwidth(many) == PLAIN.off_chip.bandwidth
    slow = replace(PLAIN, dma=replace(PLAIN.dma, engines=2, bandwidth=1e8))
    assert memory.off_chip_bandwidth(slow) == 2e8


def joined(topology: str, count: int = 4) -> Links:
    return replace(Links("ring", count, 1e9, 1e-6), topology=topology)


@pytest.mark.parametrize(
    ("topology", "source", "target", "expected"),
    [
        ("ring", 0, 5, 3), ("ring", 1, 7, 2), ("switch", 0, 7, 1), ("fully_connected", 2, 3, 1),
        # Two rows of four: 0 1 2 3 / 4 5 6 7.
        ("mesh", 0, 7, 4), ("torus", 0, 7, 2), ("mesh", 4, 1, 2), ("torus", 3, 3, 0),
    ],
)  # fmt: skip
def test_hops_of_eight_devices(topology: str, source: int, target: int, expected: int) -> None:
    assert links.hops(joined(topology), source, target, 8) == expected


@pytest.mark.parametrize(
    ("topology", "expected"), [("switch", 4e9), ("ring", 2e9), ("torus", 1e9), ("fully_connected", 4e9 / 7)]
)
def test_links_are_dealt_out_to_neighbours(topology: str, expected: float) -> None:
    assert links.pair_bandwidth(joined(topology), 8) == pytest.approx(expected)


def test_a_message_pays_latency_per_hop_and_bandwidth_once() -> None:
    assert links.send_seconds(joined("ring"), 2e6, 8, distance=3) == pytest.approx(3e-6 + 1e-3)


def test_a_ring_takes_its_steps_one_by_one() -> None:
    alpha, bandwidth, nbytes, n = 1e-6, 1e9, 8e6, 8
    steps = sum(alpha + nbytes / n / bandwidth for _ in range(2 * (n - 1)))
    assert links.ring_all_reduce(alpha, bandwidth, nbytes, n) == pytest.approx(steps)


@pytest.mark.parametrize("n", [4, 8, 64])
def test_two_algorithms_take_as_long_where_they_cross(n: int) -> None:
    alpha, bandwidth = 1e-6, 25e9
    size = links.crossover(alpha, bandwidth, n)
    doubling, halving = (f(alpha, bandwidth, size, n) for f in (links.recursive_doubling, links.rabenseifner))
    assert doubling == pytest.approx(halving)
    assert links.recursive_doubling(alpha, bandwidth, size / 2, n) < links.rabenseifner(alpha, bandwidth, size / 2, n)

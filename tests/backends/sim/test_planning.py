"""Plans of recorded programs, by hand: a device of 1 GHz with 4 lanes, to which a byte takes a nanosecond."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.backends.sim.description import Description, loads
from opmux.backends.sim.planning import Plan, Task, plan
from opmux.backends.sim.planning.lowering import Lowering, Refused
from opmux.backends.sim.trace import Slice, of_spans, of_tasks, trace_events
from opmux.core.dispatch import observe
from opmux.core.dispatch.record import Recorder
from opmux.core.op import OPS
from opmux.core.signature import signature
from opmux.plugin import read_call_log
from tests.backends.sim.small import SMALL, TEXT, registered, simulated
from tests.backends.sim.trace_format import complete

NANO = 1e-9
#: (400 B loaded + 25 cycles + 400 B stored) / 2 pieces, and half of the longer of computing and moving.
NEGATIVE = (400 + 25 + 400) / 2 + 800 / 2
#: Two operands.
ADD = (800 + 25 + 400) / 3 + (1 - 1 / 3) * 1200
PRODUCT: dict[str, Any] = {"dtype": "int8", "to": "int32", "attributes": {"dtype": {"dtype": "int32"}}}


class Program:
    """Writes a log by hand: float32 vectors of 100 elements, 400 bytes each, unless something else is said."""

    def __init__(self) -> None:
        host = {"launch": 1e-6, "flops": [["default", 1e9]], "bandwidth": [[1 << 40, 1e9]]}
        header = {"format": "opmux call log", "schema_version": 1, "opmux": "0", "opset": "0.2", "host": host}
        self.lines: list[dict[str, Any]] = [header]
        self.known: set[int] = set()
        self.written: dict[int, int] = {}
        self.calls = 0

    def array(self, buffer: int, dtype: str, shape: tuple[int, ...], device: str, source: bool) -> dict[str, Any]:
        nbytes = int(np.prod(shape)) * {"float32": 4, "int32": 4, "int8": 1, "float64": 8}[dtype]
        strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
        made = {"buffer": buffer, "dtype": dtype, "shape": shape, "strides": strides}
        if buffer not in self.known:
            self.known.add(buffer)
            made |= {"nbytes": nbytes, "on": device}
        return made | ({"from": self.written[buffer]} if source and buffer in self.written else {})

    def call(
        self,
        op: str,
        inputs: list[int],
        outputs: list[int],
        *,
        shape: tuple[int, ...] = (100,),
        dtype: str = "float32",
        to: str | None = None,
        attributes: dict[str, Any] | None = None,
        ranks: bool = False,
        work: tuple[float, float] = (100.0, 800.0),
    ) -> Program:
        def where(i: int) -> str:
            return f"cpu:{i if ranks else 0}"

        given = [self.array(b, dtype, shape, where(i), True) for i, b in enumerate(inputs)]
        made = [self.array(b, to or dtype, shape, where(i), False) for i, b in enumerate(outputs)]
        self.lines.append(
            {
                "call": self.calls, "op": op, "attributes": attributes or {}, "device": "cpu:0", "candidate": "k",
                "flops": work[0], "bytes": work[1], "in": given, "out": made,
            }
        )  # fmt: skip
        self.written.update((b, self.calls) for b in outputs)
        self.calls += 1
        return self

    def free(self, *buffers: int) -> Program:
        self.lines.append({"freed": list(buffers)})
        return self

    def on(self, tmp_path: Path, description: Description = SMALL, **given: bool) -> Plan:
        lines = [*self.lines, {"end": self.calls}]
        (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return plan(read_call_log(tmp_path / "log"), description, **given)


def small(**changes: str) -> Description:
    """The small device with other lines."""
    lines = [line for line in TEXT.splitlines() if line.partition(" =")[0] not in changes]
    return loads("\n".join([*lines, *(f"{k} = {v}" for k, v in changes.items())]))


def test_one_call_is_uploaded_computed_and_downloaded(tmp_path: Path) -> None:
    made = Program().call("negative", [0], [1]).on(tmp_path)
    assert [(t.op, t.engine, t.start, t.end) for t in made.tasks] == [
        ("upload", "host link", 0, 400_000),
        ("negative", "vector", 400_000, 400_000 + NEGATIVE * 1000),
        ("download", "host link", 400_000 + NEGATIVE * 1000, 800_000 + NEGATIVE * 1000),
    ]
    assert made.seconds == pytest.approx((800 + NEGATIVE) * NANO)
    assert (made.uploaded, made.downloaded, made.spilled, made.peak, made.fallbacks) == (400, 400, 0, 800, 0)
    assert made.engines["0 vector"] == pytest.approx(NEGATIVE / (800 + NEGATIVE))


def test_a_row_tells_time_share_bound_and_utilisation(tmp_path: Path) -> None:
    made = Program().call("negative", [0], [1]).call("negative", [1], [2]).on(tmp_path)
    (row,) = [r for r in made.ops if r.op == "negative"]
    assert (row.calls, row.engine, row.bound) == (2, "vector", "memory")
    assert row.seconds == pytest.approx(2 * NEGATIVE * NANO)
    assert row.share == pytest.approx(2 * NEGATIVE / (2 * NEGATIVE + 800))
    assert row.utilisation == pytest.approx(100 / (NEGATIVE * 4))  # 4 lanes at 1 GHz
    (point,) = made.points
    assert (point.flops, point.nbytes) == (200, 1600)


def test_what_a_later_call_reads_stays_on_the_device(tmp_path: Path) -> None:
    made = Program().call("negative", [0], [1]).call("negative", [1], [2]).on(tmp_path)
    assert [t.op for t in made.tasks] == ["upload", "negative", "negative", "download"]
    assert made.tasks[2].after == (1,)
    assert made.tasks[2].start == made.tasks[1].end


def test_engines_overlap_where_nothing_depends(tmp_path: Path) -> None:
    program = Program().call("negative", [0], [1]).call("matmul", [2, 3], [4], shape=(64, 64), **PRODUCT)
    free, one_queue = program.on(tmp_path), program.on(tmp_path, in_order=True)

    def pair(made: Plan) -> tuple[Task, Task]:
        (negative,) = (t for t in made.tasks if t.op == "negative")
        (product,) = (t for t in made.tasks if t.engine == "matrix")
        return negative, product

    negative, product = pair(free)
    # The operands' upload is what the product waits for: 400 B of the other call, then twice 4,096 B.
    assert product.start == (400 + 2 * 4096) * 1000
    assert negative.start == 400_000
    long = Program().call("negative", [0], [1], shape=(10_000,)).call(
        "matmul", [2, 3], [4], shape=(64, 64), **PRODUCT
    )  # fmt: skip
    negative, product = pair(long.on(tmp_path))
    assert product.start < negative.end
    negative, product = pair(long.on(tmp_path, in_order=True))
    assert product.start == negative.end
    assert one_queue.seconds >= free.seconds


def test_a_dtype_that_the_device_lacks_runs_on_the_host(tmp_path: Path) -> None:
    work = (100.0, 1200.0)
    attributes = {"dtype": {"dtype": "float64"}}
    program = Program().call("negative", [0], [1])
    made = program.call("cast", [1], [2], to="float64", attributes=attributes, work=work).on(tmp_path, absences=False)
    # Up, computed, down, and 1 us + 1,200 B at 1 GB/s on the host; the result is where the program sees it.
    assert made.seconds == pytest.approx((400 + NEGATIVE + 400 + 1000 + 1200) * NANO)
    assert [t.op for t in made.tasks] == ["upload", "negative", "download", "cast"]
    (row,) = [r for r in made.ops if r.engine == "host"]
    assert (row.op, row.reason) == ("cast", "no dtype: cast on float32, float64")
    assert made.fallbacks == 1


def test_an_op_of_which_the_device_has_no_dtype_lacks_the_dtype() -> None:
    description = loads(TEXT.replace("uint32 = 1, ", ""), "small.toml")
    words = tuple(signature(ox.device("cpu"), ox.uint32, (n,)) for n in (2, 4))
    refused = Lowering(description).lower(OPS["random_bits"], words, (("shape", (8,)),))
    assert isinstance(refused, Refused)
    assert (str(refused.why), refused.detail) == ("dtype", "random_bits on uint32")


def test_a_composite_is_what_it_decomposes_into(tmp_path: Path) -> None:
    made = Program().call("relu", [0], [1]).on(tmp_path, absences=False)
    assert made.fallbacks == 0
    rows = [r for r in made.ops if r.engine == "vector"]
    assert rows
    assert all(r.inside == ("relu",) for r in rows)


def test_a_call_larger_than_the_memory_runs_on_the_host(tmp_path: Path) -> None:
    device = small(off_chip="{ bytes = 1200, bandwidth = 1e9 }")
    made = Program().call("add", [0, 1], [2]).call("add", [3, 4], [5], shape=(101,)).on(tmp_path, device)
    assert made.fallbacks == 1
    (row,) = [r for r in made.ops if r.engine == "host"]
    assert row.reason == "no capacity: 1,212 bytes at once"


def test_what_does_not_fit_is_moved_out_and_back(tmp_path: Path) -> None:
    device = small(off_chip="{ bytes = 1024, bandwidth = 1e9 }")
    program = Program().call("negative", [0], [1]).free(0).call("negative", [2], [3]).free(2)
    program.call("negative", [1], [4]).free(1).call("negative", [3], [5])
    made = program.on(tmp_path, device, absences=False)
    # 1 goes out for 3, and 3 for 1, and 4 for 3; 1 and 3 come back.
    assert made.spilled == 5 * 400
    assert (made.peak, made.capacity) == (1200, 1024)
    assert sum(t.op == "spill" for t in made.tasks) == 5
    roomy = program.on(tmp_path, absences=False)
    assert (roomy.spilled, roomy.peak) == (0, 1200)
    assert made.seconds > roomy.seconds


def test_what_is_used_again_last_makes_room(tmp_path: Path) -> None:
    device = small(off_chip="{ bytes = 1700, bandwidth = 1e9 }")  # four arrays
    program = Program()
    for i in range(4):
        program.call("negative", [i], [10 + i]).free(i)
    for i in range(3):
        program.call("negative", [10 + i], [20 + i]).free(10 + i, 20 + i)
    spills = [t.call for t in program.on(tmp_path, device, absences=False).tasks if t.op == "spill"]
    assert spills == [3, 6]  # 12 makes room, which call 6 is the last to read


def test_memory_is_free_after_its_last_use(tmp_path: Path) -> None:
    kept = Program().call("negative", [0], [1]).call("negative", [1], [2]).call("negative", [2], [3])
    freed = Program().call("negative", [0], [1]).free(0).call("negative", [1], [2]).free(1).call("negative", [2], [3])
    assert (kept.on(tmp_path).peak, freed.on(tmp_path).peak) == (1600, 800)


def test_energy_and_price_follow_from_the_description(tmp_path: Path) -> None:
    power = "{ idle_watts = 1, mac_joules = { int8 = 0.0 }, vector_joules = 1e-9, off_chip_joules_per_byte = 1e-9 }"
    made = Program().call("negative", [0], [1]).on(tmp_path, small(power=power, price="{ per_hour = 3600 }"))
    seconds = (800 + NEGATIVE) * NANO
    # 800 B over the host's link, 800 B of the op, 100 elements, and a watt all the time.
    assert made.joules == pytest.approx((800 + 800 + 100) * NANO + seconds)
    assert made.price == pytest.approx(seconds)
    assert made.currency == "USD"


def test_without_power_and_price_there_is_neither(tmp_path: Path) -> None:
    made = Program().call("negative", [0], [1]).on(tmp_path)
    assert (made.joules, made.price, made.to_dict()["currency"]) == (None, None, None)


def test_the_lack_of_a_core_op_costs_the_way_to_the_host(tmp_path: Path) -> None:
    made = Program().call("add", [0, 1], [2], work=(100.0, 1200.0)).on(tmp_path)
    assert made.seconds == pytest.approx((1200 + ADD) * NANO)
    (lack,) = made.absences
    assert (lack.op, lack.instead) == ("add", "host")
    assert lack.seconds == pytest.approx(2.2e-6)  # 1 us + 1,200 B at 1 GB/s; nothing has to be moved
    assert lack.times == pytest.approx(2200 / (1200 + ADD))


def test_the_lack_of_another_op_costs_its_decomposition(tmp_path: Path) -> None:
    made = Program().call("exp", [0], [1], shape=(5000,)).call("negative", [1], [2], shape=(5000,)).on(tmp_path)
    by_op = {a.op: a for a in made.absences}
    assert by_op["exp"].instead == "decomposition"
    assert by_op["exp"].seconds > made.seconds
    assert [a.op for a in made.absences] == sorted(by_op, key=lambda op: -by_op[op].seconds)


def test_a_collective_takes_the_links_of_all_its_ranks(tmp_path: Path) -> None:
    made = Program().call("all_reduce", [0, 1], [2, 3], ranks=True, attributes={"reduction": "sum"}).on(tmp_path)
    # Doubling over one neighbour on both links: 1 us + 400 B at 2 GB/s; the ring would take 2.2 us.
    assert made.devices == 2
    assert made.seconds == pytest.approx((400 + 1000 + 200 + 400) * NANO)
    sent = [t for t in made.tasks if t.engine == "links"]
    assert [(t.device, t.start, t.end) for t in sent] == [(0, 400_000, 1_600_000), (1, 400_000, 1_600_000)]
    assert sent[0].nbytes == 400  # 2 (n - 1) / n of the vector


@pytest.mark.parametrize(("op", "more", "times"), [("all_gather", {}, 2), ("permute", {"pairs": ((0, 1),)}, 1)])
def test_a_collective_without_links_takes_the_buses_as_the_simulator_does(
    tmp_path: Path, op: str, more: dict[str, Any], times: int
) -> None:
    text = "\n".join(line for line in TEXT.splitlines() if not line.startswith("links"))
    recorder, simulation = Recorder(tmp_path / "log"), simulated(*[loads(text)] * 2)
    with registered(simulation):
        mesh = ox.Mesh(["sim:0", "sim:1"])
        arrays = [ox.ones(2500, device=d) for d in mesh.local_devices]
        observe.OBSERVERS.append(recorder.note)
        try:
            getattr(ox, op)(arrays, mesh, **more)
        finally:
            observe.OBSERVERS.remove(recorder.note)
            recorder.finish()
        moved = [s for s in simulation.timeline() if s.op == "copy_peer"]
    made = plan(read_call_log(tmp_path / "log"), loads(text), absences=False)
    (task, _) = [t for t in made.tasks if t.op == op]
    assert (task.engine, made.fallbacks) == ("host link", 0)
    assert task.end - task.start == max(s.end for s in moved) - min(s.start for s in moved) == times * 10_000_000


def program() -> ox.Array:
    x = ox.asarray(np.linspace(-1, 1, 96 * 32, dtype=np.float32).reshape(96, 32), device="sim:0")
    w = ox.asarray(np.ones((32, 16), np.int8), device="sim:0")
    h = ox.softmax(ox.tanh(x) * 2.0 + ox.sum(x, axis=0), axis=1)
    q = ox.astype(ox.round(h * 100.0), ox.int8) @ w
    return ox.concat([ox.astype(q, ox.float32), h[:, ::2]], axis=1)


def test_a_plan_is_what_the_simulated_device_then_does(tmp_path: Path) -> None:
    recorder, simulation = Recorder(tmp_path / "log"), simulated()
    with registered(simulation):
        observe.OBSERVERS.append(recorder.note)
        try:
            program().numpy()
        finally:
            observe.OBSERVERS.remove(recorder.note)
            recorder.finish()
        done = [(s.engine, s.op, s.end - s.start) for s in simulation.timeline(0) if s.engine != "host"]
    made = plan(read_call_log(tmp_path / "log"), SMALL, in_order=True, absences=False)
    assert [(t.engine, t.op, t.end - t.start) for t in made.tasks if t.engine != "host link"] == done
    assert len(done) > 10


def test_the_trace_of_a_plan(tmp_path: Path) -> None:
    planned = Program().call("negative", [0], [1]).call("matmul", [2, 3], [4], shape=(8, 8), **PRODUCT)
    made = planned.call("add", [1, 1], [5]).on(tmp_path)
    trace = trace_events(of_tasks(made.tasks, "small"))
    events = complete(trace)
    assert len(events) == len(made.tasks)
    negative = next(e for e in events if e["name"] == "negative")
    assert (negative["ts"], negative["dur"]) == (0.4, NEGATIVE / 1000)
    names = {e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"}
    assert names == {"host link", "vector", "matrix"}
    assert sum(e["ph"] == "s" for e in trace["traceEvents"]) == 5  # 3 uploads to their calls, and 2 results down


def test_the_trace_of_a_simulated_device() -> None:
    simulation = simulated()
    with registered(simulation):
        program().numpy()
        spans = simulation.timeline()
    trace = trace_events(of_spans(spans, ["small"]))
    assert len(complete(trace)) == len(spans)
    names = [e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"]
    assert names == ["sim:0 (small)"]


def test_a_value_used_twice_has_one_arrow() -> None:
    made = Slice("a device", "matrix", "matmul", 0, 10)
    trace = trace_events([made, Slice("a device", "vector", "multiply", 10, 20, after=(0, 0))])
    complete(trace)
    assert [e["ph"] for e in trace["traceEvents"] if e["ph"] in "sf"] == ["s", "f"]


def test_work_that_takes_no_time_keeps_its_arrows() -> None:
    steps = [Slice("a device", "matrix", f"step {i}", 5, 5) for i in range(2)]
    complete(trace_events([*steps, Slice("a device", "vector", "add", 5, 5, after=(0, 1))]))


@pytest.mark.parametrize("links", [True, False])
def test_the_trace_of_devices_that_copy_to_each_other(links: bool) -> None:
    text = "\n".join(line for line in TEXT.splitlines() if links or not line.startswith("links"))
    simulation = simulated(*[loads(text)] * 4)
    with registered(simulation):
        mesh = ox.Mesh([f"sim:{i}" for i in range(4)])
        arrays = [ox.ones(2500, device=d) for d in mesh.local_devices]
        for _ in range(2):
            arrays = ox.all_reduce(ox.permute(arrays, mesh, pairs=((0, 1), (1, 2), (2, 0))), mesh)
        with ox.use_queue(mesh.local_devices[0].queue()):
            arrays[0].to_device("sim:3")
        spans = simulation.timeline()
    assert len(complete(trace_events(of_spans(spans)))) == len(spans)


Spoil = Callable[[list[dict[str, Any]]], Any]


def _without(name: str) -> Spoil:
    return lambda events: events.remove(next(e for e in events if name in (e["name"], e["ph"])))


def _changed(phase: str, **to: Any) -> Spoil:
    return lambda events: next(e for e in events if e["ph"] == phase).update(to)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_without("thread_name"), "thread_name"),
        (_without("process_name"), "process_name"),
        (_without("s"), "one end"),
        (_without("f"), "one end"),
        (_changed("X", ts=1e9), "order of their times"),
        (_changed("X", dur=1e9), "overlap"),
        (_changed("X", ts=-1.0), "ts of"),
        (_changed("X", name=""), "no name"),
        (_changed("X", tid=99), "thread_name"),
        (_changed("M", pid="one"), "pid of"),
        (_changed("f", bp="x"), "next slice"),
        (lambda events: events.append({**events[-1], "cat": "work", "ph": "B"}), "B"),
        (lambda events: events.insert(1, events[0]), "named twice"),
    ],
)
def test_a_trace_that_is_wrong_is_found(tmp_path: Path, spoil: Spoil, said: str) -> None:
    planned = Program().call("matmul", [2, 3], [4], shape=(8, 8), **PRODUCT).call("negative", [0], [1])
    trace = trace_events(of_tasks(planned.call("negative", [1], [5]).on(tmp_path).tasks, "small"))
    spoilt = copy.deepcopy(trace)
    spoil(spoilt["traceEvents"])
    complete(trace)
    with pytest.raises((AssertionError, KeyError), match=said):
        complete(spoilt)

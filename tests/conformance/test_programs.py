"""Random programs: wrong kernels and wrong regions are found, right ones pass, programs print as Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.conformance.cases.case import DeviceContext
from opmux.conformance.cases.drawn import programs
from opmux.conformance.cases.drawn.falsify import Choices
from opmux.conformance.cases.drawn.node_rows import INPUTS, NODE, candidates, drawn
from opmux.conformance.cases.drawn.nodes import Node, View
from opmux.conformance.cases.drawn.programs import NODES, gives_every_bit, served
from opmux.conformance.target import Findings, RefusedError, Target, only
from opmux.core.devices.device import find_device
from opmux.core.errors import ConformanceError
from opmux.core.kernel import ArraySpec
from opmux.core.op import OPS
from opmux.plugin import CallSpec, Graph, Kernel, Prepared, Refusal, hookimpl
from tests.conformance.zoo import Host, Zoo, kernel, registered

UFUNCS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "negative": np.negative,
    "abs": np.abs,
    "bitwise_and": np.bitwise_and,
    "equal": np.equal,
    "copy": np.array,
}


def _kernels(**others: Callable[..., None]) -> list[Kernel]:
    def by_ufunc(op: str) -> Callable[..., None]:
        def compute(spec: CallSpec, out: Host, *ins: Host) -> None:
            out[...] = UFUNCS[op](*ins)

        return compute

    return [kernel(op, others.get(op, by_ufunc(op))) for op in UFUNCS]


class Regions:
    """A region compiler for chains of ufuncs; ``evaluate(graph, values)`` appends the value of every node."""

    device = "cpu"

    def __init__(self, evaluate: Callable[[Graph, list[Any]], None]) -> None:
        self.runs, self._evaluate = 0, evaluate

    def compile(self, graph: Graph, device: ox.Device) -> Kernel | Refusal:
        for i, node in enumerate(graph.nodes):
            if node.op.name not in UFUNCS or node.op.name == "copy":
                return Refusal(i, f"{node.op.name} is no ufunc")

        def launch(outs: Sequence[ox.Array], ins: Sequence[ox.Array], workspace: Any, queue: Any) -> None:
            self.runs += 1
            values: list[Any] = [x.host for x in (*ins, *graph.constants)]
            with np.errstate(all="ignore"):
                self._evaluate(graph, values)
                for out, i in zip(outs, graph.outputs, strict=True):
                    out.host[...] = values[i]

        return Kernel("region", f"region:{graph.digest[:12]}", "cpu", lambda spec: Prepared(launch))  # type: ignore[arg-type]


def right(graph: Graph, values: list[Any]) -> None:
    for node in graph.nodes:
        values.append(UFUNCS[node.op.name](*[values[i] for i in node.inputs if i is not None]))


def kept_wide(graph: Graph, values: list[Any]) -> None:
    """The fault of many compilers: float16 is rounded at the end of the region only."""
    values[:] = [v.astype(np.float32) if v.dtype == np.float16 else v for v in values]
    right(graph, values)


def frozen() -> Callable[[Graph, list[Any]], None]:
    """The fault of a cache: what the first call gave is given again."""
    first: dict[str, list[Any]] = {}

    def evaluate(graph: Graph, values: list[Any]) -> None:
        right(graph, values)
        values[:] = first.setdefault(graph.digest, [np.array(v) for v in values])

    return evaluate


def swapped(graph: Graph, values: list[Any]) -> None:
    """The fault of wrong numbering: the operands of a subtraction in a region of three nodes or more."""
    for node in graph.nodes:
        given = [values[i] for i in node.inputs if i is not None]
        turned = node.op.name == "subtract" and len(graph.nodes) >= 3
        values.append(UFUNCS[node.op.name](*(reversed(given) if turned else given)))


def _same_layout(a: Any, b: Any) -> bool:
    return bool(a.shape == b.shape and a.dtype == b.dtype)


def second_use(graph: Graph, values: list[Any]) -> None:
    """The fault of a register that is given away: who uses an input later gets what its first user made of it."""
    first_user: dict[int, int] = {}
    for node in graph.nodes:
        used = [i for i in node.inputs if i is not None]
        given = [first_user.get(i, i) if _same_layout(values[first_user.get(i, i)], values[i]) else i for i in used]
        values.append(UFUNCS[node.op.name](*[values[i] for i in given]))
        for i in used:
            if i < len(graph.inputs):
                first_user.setdefault(i, len(values) - 1)


def both_operands(graph: Graph, values: list[Any]) -> None:
    """The fault of a peephole: a node that reads one value twice reads zero the second time."""
    for node in graph.nodes:
        given = [values[i] for i in node.inputs if i is not None]
        if len(given) == 2 and node.inputs[0] == node.inputs[1]:
            given[1] = np.zeros_like(given[1])
        values.append(UFUNCS[node.op.name](*given))


def second_run() -> Callable[[Graph, list[Any]], None]:
    """The fault of code that is specialised on the first run's data: its last element comes from there ever after."""
    last: dict[str, list[Any]] = {}

    def evaluate(graph: Graph, values: list[Any]) -> None:
        right(graph, values)
        kept = last.setdefault(graph.digest, [v.reshape(-1)[-1:].copy() for v in values])
        for i in graph.outputs:
            values[i] = np.array(values[i])
            if values[i].size:
                values[i].reshape(-1)[-1:] = kept[i]

    return evaluate


def read_again(graph: Graph, values: list[Any]) -> None:
    """The fault of reused memory: an output that a later node reads is overwritten by what that node makes."""
    right(graph, values)
    first = len(values) - len(graph.nodes)
    for k, node in enumerate(graph.nodes, first):
        for i in node.inputs:
            if i in graph.outputs and i is not None and _same_layout(values[i], values[k]):
                values[i] = values[k]


def order_ignored(graph: Graph, values: list[Any]) -> None:
    """The fault of common subexpressions: x - y and y - x are taken for one."""
    made: dict[Any, int] = {}
    for node in graph.nodes:
        used = [i for i in node.inputs if i is not None]
        same = made.setdefault((node.op.name, *sorted(used)), len(values))
        values.append(values[same] if same < len(values) else UFUNCS[node.op.name](*[values[i] for i in used]))


def one_row(graph: Graph, values: list[Any]) -> None:
    """The fault of a loop over the first operand's axes: one that repeats is read by its last column."""
    for node in graph.nodes:
        given = [values[i] for i in node.inputs if i is not None]
        shape = np.broadcast_shapes(*[x.shape for x in given])
        given = [x[..., -1:] if x.ndim == len(shape) > 1 and x.shape[0] == 1 < shape[0] else x for x in given]
        values.append(UFUNCS[node.op.name](*given) if given else values[-1])


class WithRegions(Zoo):
    def __init__(self, regions: Regions) -> None:
        super().__init__(_kernels())
        self.regions = regions

    @hookimpl
    def opmux_region_compilers(self) -> list[Regions]:
        return [self.regions]


@pytest.fixture(autouse=True)
def _little_shrinking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "SHRINKING", 1.0)


def _run(plugin: object, t: str, way: str, seed: int = 0, *, cases: int = 1) -> Findings:
    findings = Findings()
    checks = {label: check for _, label, check in programs.family(t, DeviceContext(False, seed))}
    with registered("random-programs", plugin) as name, only(name):
        for i in range(cases):
            checks[f"{way}-{i:02}"](Target(name, find_device("cpu")), findings)
    return findings


def wrong_on_views(spec: CallSpec, out: Host, x: Host, y: Host) -> None:
    np.subtract(x, y, out=out)
    if x.ndim and x.strides[-1] < 0 and out.size:
        out.reshape(-1)[0] += 1


@pytest.mark.parametrize("t", ["float32", "int8"])
def test_a_wrong_kernel_is_found_op_by_op(t: str) -> None:
    with pytest.raises(ConformanceError, match="The smallest program that fails") as caught:
        _run(Zoo(_kernels(subtract=wrong_on_views)), t, "eager", cases=programs.CASES)
    text = str(caught.value)
    assert text.startswith("v")
    assert "ox.subtract(" in text
    assert "with ox.policy(backends='random-programs', fallback='forbid'):\n    print(f(" in text


@pytest.mark.parametrize("way", ["eager", "compiled"])
@pytest.mark.parametrize("t", ["float32", "float16", "int8"])
def test_right_kernels_pass(t: str, way: str) -> None:
    assert _run(Zoo(_kernels()), t, way).assertions > 100


@pytest.mark.parametrize("t", ["float16", "int8"])
def test_right_regions_pass_and_run(t: str) -> None:
    regions = Regions(right)
    assert _run(WithRegions(regions), t, "compiled").assertions > 100
    assert regions.runs > 10


@pytest.mark.parametrize(
    ("t", "fault"),
    [
        ("float16", kept_wide), ("int8", swapped), ("float32", frozen()), ("float32", second_use),
        ("float32", both_operands), ("float32", second_run()), ("int8", read_again), ("int8", order_ignored),
        ("float32", one_row),
    ],
    ids=lambda v: v if isinstance(v, str) else v.__qualname__.partition(".")[0],
)  # fmt: skip
def test_a_wrong_region_is_found(t: str, fault: Callable[[Graph, list[Any]], None]) -> None:
    with pytest.raises(ConformanceError, match="The smallest program that fails") as caught:
        _run(WithRegions(Regions(fault)), t, "compiled", cases=programs.CASES)
    assert "print(ox.compile(f)(" in str(caught.value)


def test_a_program_that_fails_is_small_and_runs_as_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "SHRINKING", 15.0)
    with pytest.raises(ConformanceError) as caught:
        _run(WithRegions(Regions(kept_wide)), "float16", "compiled")
    text = str(caught.value).partition("fails:\n")[2].replace("random-programs", "numpy")
    assert text.count("    v") < 12
    exec(text, {"print": lambda *given: None})


def test_a_backend_with_few_ops_is_unsupported() -> None:
    with pytest.raises(RefusedError, match="only"):
        _run(Zoo([kernel("negative", lambda spec, out, x: np.negative(x, out=out))]), "float32", "eager")


def test_ops_that_are_not_served_stay_out() -> None:
    with registered("random-programs", Zoo(_kernels())) as name, only(name):
        pool = {op.name for op, _ in served(Target(name, find_device("cpu")), ox.float32)}
    assert {"add", "negative", "copy", "square", "relu"} & pool >= {"add", "negative", "copy", "square"}
    assert "exp" not in pool


def _programs(count: int, t: ox.DType) -> Iterator[Any]:
    pool = candidates(t)
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield drawn(Choices(rng.bytes(INPUTS + 1 + NODES[1] * NODE)), t, 100, pool, NODES)


def test_programs_have_ops_and_views_of_every_kind() -> None:
    made = list(_programs(300, ox.float32))
    lengths = [len(p.nodes) for p in made]
    assert min(lengths) < 10
    assert max(lengths) > 30
    names = {n.op.name for p in made for n in p.nodes}
    assert {"matmul", "sum", "gather", "concat", "cast", "sort", "where", "slice", "reshape", "broadcast_to"} <= names


def test_results_of_a_program_are_as_it_says() -> None:
    for program in _programs(20, ox.float32):
        values = [x.upload(find_device("cpu")) for x in program.inputs]
        for node in program.nodes:
            values.append(node.run([values[i] for i in node.inputs]))
            assert (values[-1].dtype, values[-1].shape) == (node.spec.dtype, node.spec.shape)


@pytest.mark.parametrize(
    ("op", "t", "settled"),
    [("add", "float16", True), ("exp", "float32", False), ("sum", "float32", False), ("sum", "int32", True),
     ("gather", "float32", True), ("mean", "float32", False)],
)  # fmt: skip
def test_what_may_stay_inside_of_a_compiled_program(op: str, t: str, settled: bool) -> None:
    assert gives_every_bit(Node(OPS[op], (0,), ArraySpec(ox.dtype(t), ()))) is settled


def test_only_what_the_wrong_value_needs_is_printed() -> None:
    program = next(p for p in _programs(50, ox.float32) if len(p.nodes) > 20)
    first = len(program.inputs)
    wanted = next(i for i, n in enumerate(program.nodes, first) if not isinstance(n.op, View) and max(n.inputs) < first)
    _, lines, _ = program.text({wanted}, find_device("cpu"))
    assert len(lines) == 3

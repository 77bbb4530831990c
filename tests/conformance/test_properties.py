"""Random examples: planted faults are found and shown small, right kernels pass, the same seed tries the same."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.conformance.cases.drawn.falsify import Choices, falsify
from opmux.conformance.cases.drawn.fills import Fill
from opmux.conformance.cases.drawn.strategies import AXES, Axis, Call, Layout, Operand, array, layout, place, shape
from opmux.conformance.cases.drawn.strategy_rows import drawn
from opmux.conformance.cases.drawn.strategy_table import STRATEGIES
from opmux.conformance.cases.enumerate import cases
from opmux.conformance.cases.samples.sample import ROWS
from opmux.conformance.oracle.expect import infer, with_optional
from opmux.conformance.running.run import run
from opmux.conformance.running.selection import Selection
from opmux.core.devices.device import find_device
from opmux.core.errors import ConformanceError, DeviceLostError
from opmux.core.op import OPS, Op
from opmux.opset.declare import declaration_of
from opmux.plugin import CallSpec
from tests.conformance import zoo
from tests.conformance.zoo import TWINS, Compute, Zoo, kernel, registered


def _property(op: str, dtype: str, compute: Compute, seed: int = 0) -> tuple[str, str]:
    with registered(f"random-{op.replace('_', '-')}", Zoo([kernel(op, compute)])) as name:
        case = f"{op}-{dtype}-property"
        report = run(Selection((name,), ops=(op,), dtypes=(dtype,), cases=(case,), isolate=False, seed=seed))
    (result,) = report.cases
    return result.outcome.value, result.message


@pytest.mark.parametrize(
    ("op", "compute", "says"),
    [
        ("exp", zoo.last_lane, "ox.exp(x)"),
        ("exp", zoo.negative_stride_ignored, "Axis("),
        ("multiply", zoo.sign_of_zero, "-0.0"),
        ("add", zoo.zero_stride_ignored, "x2 = array("),
        ("matmul", zoo.transposed_ignored, "order=(1, 0)"),
        ("sum", zoo.narrow_accumulator, "ox.sum(x"),
        ("argmax", zoo.last_of_ties, "ox.argmax(x, axis="),
        ("max", zoo.max_drops_nan, "ox.max(x"),
    ],
)
def test_a_planted_fault_is_found_and_shown(op: str, compute: Compute, says: str) -> None:
    outcome, message = _property(op, "float32", compute)
    assert outcome == "fail"
    assert "The smallest example that fails:" in message
    assert says in message


@pytest.mark.parametrize("op", ["exp", "add", "sum", "matmul", "max", "argmax"])
def test_a_right_kernel_passes(op: str) -> None:
    assert _property(op, "float32", TWINS[op]) == ("pass", "")


def test_the_smallest_example_is_small_and_runs_as_it_is_printed() -> None:
    _, message = _property("exp", "float32", zoo.negative_stride_ignored)
    program = message.partition("fails:\n")[2].replace("'random-exp'", "'numpy'")
    assert "x = array('float32', (2,), [" in program
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(program, {})
    assert printed.getvalue().startswith("[")


def _tried(seed: int) -> list[bytes]:
    seen: list[bytes] = []
    falsify(lambda c: c.rest(8), seen.append, examples=20, seed=seed)
    return seen


def test_a_seed_gives_the_same_examples_and_another_seed_others() -> None:
    assert _tried(1) == _tried(1)
    assert _tried(1) != _tried(2)


def test_the_seed_of_a_run_reaches_the_examples() -> None:
    calls: list[tuple[tuple[int, ...], ...]] = []

    def compute(spec: CallSpec, out: zoo.Host, x: zoo.Host) -> None:
        zoo.exp(spec, out, x)
        calls[-1] += (x.shape,)

    for seed in (1, 1, 2):
        calls.append(())
        assert _property("exp", "float32", compute, seed)[0] == "pass"
    assert calls[0] == calls[1] != calls[2]


def test_an_op_that_is_refused_is_unsupported() -> None:
    with registered("random-other", Zoo([kernel("exp", TWINS["exp"])])) as name:
        (result,) = run(Selection((name,), cases=("matmul-float32-property",), isolate=False)).cases
    assert result.outcome.value == "unsupported"


def test_without_hypothesis_the_case_is_not_run_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ConformanceError, match=r"pip install 'opmux\[conformance\]'") as caught:
        falsify(lambda c: 0, lambda x: None, examples=1, seed=0)
    assert caught.value.culprits["missing"] == "hypothesis"
    assert _property("exp", "float32", TWINS["exp"])[0] == "not_run"


def test_what_fails_only_once_is_found() -> None:
    tries = iter(range(1000))

    def holds(x: int) -> None:
        if next(tries) == 5:
            raise ValueError("once")

    found = falsify(lambda c: c.below(256), holds, examples=20, seed=0)
    assert found is not None
    assert str(found.error) == "once"


def test_a_lost_device_ends_the_search() -> None:
    tried: list[int] = []

    def holds(x: int) -> None:
        tried.append(x)
        raise DeviceLostError("gone", device="remote:0")

    with pytest.raises(DeviceLostError, match="gone"):
        falsify(lambda c: c.below(256), holds, examples=20, seed=0)
    assert len(tried) == 1


def test_a_fault_of_a_strategy_is_not_swallowed() -> None:
    def make(c: Choices) -> int:
        raise IndexError("no such choice")

    with pytest.raises(ConformanceError, match=r"broke off.*no such choice"):
        falsify(make, lambda x: None, examples=5, seed=0)


def test_shrinking_ends_in_time() -> None:
    found = falsify(lambda c: c.rest(64), _fails, examples=5, seed=0, shrinking=0.0)
    assert found is not None


def _fails(x: bytes) -> None:
    raise ValueError("always")


def test_the_search_leaves_nothing_in_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    falsify(lambda c: c.rest(8), lambda x: None, examples=3, seed=0)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("op", list(OPS), ids=lambda op: op.name)
def test_every_op_can_be_drawn_and_the_rules_allow_it(op: Op) -> None:
    assert op.name in STRATEGIES or op.name not in ROWS, "an op with a row of samples needs a strategy"
    rng = np.random.default_rng(0)
    for t in declaration_of(op).dtypes:
        for _ in range(3):
            call = drawn(op, t, Choices(rng.bytes(64)), 200)
            infer(op, with_optional(op, call.hosts()), call.attributes)


def test_shapes_have_every_rank_and_stay_within_bounds() -> None:
    rng = np.random.default_rng(0)
    drawn_shapes = [shape(Choices(rng.bytes(16)), 200) for _ in range(400)]
    assert {len(s) for s in drawn_shapes} == set(range(7))
    assert any(0 in s for s in drawn_shapes)
    assert max(int(np.prod(s)) for s in drawn_shapes) <= 200


@pytest.mark.parametrize("axis", AXES, ids=repr)
@pytest.mark.parametrize("t", ["bool", "bfloat16", "complex128"])
def test_layouts_keep_the_values(axis: Axis, t: str) -> None:
    x = Operand(ox.dtype(t), (3, 4), Fill("small", 7), Layout((axis, Axis(step=2)), (1, 0)))
    placed = place(x.host(), x.layout, find_device("cpu"))
    np.testing.assert_array_equal(placed.numpy(), x.host())
    assert placed.strides != (4, 1)


def test_random_layouts_keep_the_values() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        c = Choices(rng.bytes(40))
        given = shape(c, 60)
        x = Operand(ox.int32, given, Fill("moderate", 3), layout(c, given))
        np.testing.assert_array_equal(place(x.host(), x.layout, find_device("cpu")).numpy(), x.host())


def test_a_printed_operand_is_the_operand() -> None:
    x = Operand(ox.float16, (2, 3), Fill("salted", 5), Layout((Axis(), Axis(backwards=True))))
    text = Call((x,)).text(OPS["exp"], "numpy", find_device("cpu"))
    line = next(s for s in text.splitlines() if s.startswith("x = "))
    names = {"array": array, "Axis": Axis, "Layout": Layout, "nan": np.nan, "inf": np.inf}
    made = eval(line.removeprefix("x = "), names)
    np.testing.assert_array_equal(made.numpy(), x.host())
    assert made.strides == place(x.host(), x.layout, find_device("cpu")).strides


def test_large_operands_are_printed_by_their_recipe() -> None:
    text = Call((Operand(ox.int8, (50,), Fill("moderate", 9)),)).text(OPS["copy"], "numpy", find_device("cpu"))
    assert "array('int8', (50,), Fill(kind='moderate', seed=9))" in text


def test_every_op_and_dtype_has_the_case() -> None:
    assert any(c.id == "gather-float8_e5m2-property" for c in cases("gather", "float8_e5m2"))

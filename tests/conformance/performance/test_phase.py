"""What is timed and how it is written down; one quick real run, of which no time is judged."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from opmux.conformance.performance import measure as module
from opmux.conformance.performance.calls import SIZES, calls, default_pairs
from opmux.conformance.performance.isolated import performance_isolated
from opmux.conformance.performance.measure import Measurement, Sample, measure, undisturbed
from opmux.conformance.performance.phase import Performance, performance
from opmux.conformance.performance.roofline import roofline_of
from opmux.core.devices.device import find_device
from opmux.core.devices.driver import Rates
from opmux.core.dispatch.tables import forget_decisions
from opmux.core.dtypes import dtype
from opmux.core.errors import ConformanceError
from opmux.core.op import OPS

ROOF = roofline_of(1e-6, [], [])


def of(rows: tuple[Measurement, ...]) -> Performance:
    return Performance("acme", "acme:0", "Acme One", ROOF, rows)


@pytest.fixture(scope="module")
def real() -> Performance:
    pairs = [("exp", "float32"), ("sum", "float32"), ("matmul", "float64"), ("gather", "int8")]
    return performance("numpy", find_device("cpu"), pairs=pairs, budget=3.0)


def test_every_op_is_timed_once_at_least_and_core_ops_on_every_main_dtype() -> None:
    pairs = default_pairs()
    assert {op for op, _ in pairs} == {op.name for op in OPS}
    assert {t for op, t in pairs if op == "add"} == {"float32", "float16", "bfloat16", "int8", "float64"}
    assert ("bitwise_and", "float32") not in pairs
    assert len(set(pairs)) == len(pairs)


def test_a_size_class_means_the_same_bytes_for_every_dtype() -> None:
    for name in ("float32", "int8", "float64"):
        sizes = {c.size: c.operands[0] for c in calls(OPS["add"], dtype(name))}
        assert list(sizes) == [s.name for s in SIZES]
        medium = sizes["medium"]
        assert medium is not None
        assert medium.shape[0] * medium.dtype.itemsize == 1 << 16


def test_a_real_run_has_sound_rows(real: Performance) -> None:
    assert {(r.op, r.dtype) for r in real.rows} >= {("exp", "float32"), ("sum", "float32"), ("gather", "int8")}
    for r in real.rows:
        assert 0 < r.best <= r.q1 <= r.seconds <= r.q3
        assert r.predicted > 0
        assert r.repeats >= 1
        assert r.kernel.startswith(("numpy/", "decomposition of numpy/"))
    assert real.roofline.launch > 0
    assert real.roofline.flops_for("float32") is not None


def test_it_survives_json(real: Performance) -> None:
    data = json.loads(json.dumps(real.to_dict()))
    again = Performance.from_dict(data)
    assert (again.rows, again.roofline, again.skipped) == (real.rows, real.roofline, real.skipped)
    assert {"op", "dtype", "size_class", "specs", "kernel", "seconds", "spread", "repeats", "share", "bound",
            "predicted"} <= set(data["rows"][0])  # fmt: skip


def test_a_run_of_another_product_is_not_compared(row: Callable[..., Measurement]) -> None:
    now, before = of((row([9.0] * 9),)), of((row([1.0] * 9),))
    assert [f.kind for f in now.flags(before)] == ["slower"]
    (flag,) = now.flags(replace(before, product="Acme Two"))
    assert flag.kind == "not-comparable"
    assert "Acme Two" in flag.message


def test_a_run_on_a_busy_machine_is_not_compared(row: Callable[..., Measurement]) -> None:
    now, before = row([9.0] * 9), row([1.0] * 9)
    (flag,) = of((now,)).flags(of((replace(before, interrupted=0.5),)))
    assert flag.kind == "not-comparable"
    assert "busy during the earlier run" in flag.message
    assert flag.figures == {"interrupted": 0.0, "interrupted_before": 0.5}


def test_when_the_budget_is_used_up_the_rest_is_skipped_and_named() -> None:
    clock = iter(range(1000))
    rows, skipped = measure(
        "numpy", find_device("cpu"), [("exp", "float32"), ("sqrt", "float32")], 2.5, roofline=ROOF,
        clock=lambda: float(next(clock)),
    )  # fmt: skip
    assert {r.size_class for r in rows} == {"small"}
    assert len(rows) + len(skipped) == 6
    assert {s.reason for s in skipped} == {"the budget of time was used up"}


@pytest.fixture
def _stated_rates(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host of stated rates, at which the cost model tells how much longer a larger call takes."""
    rates = Rates(flops=(("default", 1e12),), bandwidth=((1 << 62, 1e11),), launch=1e-6)
    monkeypatch.setattr(find_device("cpu"), "_rates", rates)
    forget_decisions()
    yield
    monkeypatch.undo()
    forget_decisions()


@pytest.mark.usefixtures("_stated_rates")
def test_what_would_take_too_long_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "timed", lambda run, operands, wait: lambda repetitions: repetitions * 1e-2)
    rows, skipped = measure("numpy", find_device("cpu"), [("exp", "float32")], 2.0, roofline=ROOF)
    assert [r.size_class for r in rows] == ["small", "medium"]
    assert [s.size_class for s in skipped] == ["large"]
    assert "is expected to take" in skipped[0].reason


def test_what_a_backend_refuses_is_left_out_without_a_word() -> None:
    rows, skipped = measure("llvm", find_device("cpu"), [("argsort", "float32")], 1.0, roofline=ROOF)
    assert (rows, skipped) == ((), ())


def test_samples_during_which_other_work_had_the_cpu_do_not_count() -> None:
    clean, disturbed = [Sample(1.0)] * 5, [Sample(50.0, disturbed=True)] * 9
    found, is_disturbed = undisturbed([*clean, *disturbed])
    assert (found.median, found.q3, found.count, is_disturbed) == (1.0, 1.0, 5, False)
    found, is_disturbed = undisturbed([*clean[:4], *disturbed])
    assert (found.median, found.count, is_disturbed) == (50.0, 13, True)


def test_a_crash_is_an_error_that_says_during_which_call() -> None:
    script = (
        "import os, signal; print('{\"ready\": true}', flush=True); input(); "
        'print(\'{"progress": [0, 9, "exp float32 large"]}\', flush=True); os.kill(os.getpid(), signal.SIGKILL)'
    )
    seen: list[Any] = []
    with pytest.raises(ConformanceError, match=r"during exp float32 large: .*SIGKILL"):
        performance_isolated(
            "acme", "acme:0", command=(sys.executable, "-c", script), progress=lambda *what: seen.append(what)
        )
    assert seen == [(0, 9, "exp float32 large")]


def test_a_process_of_its_own_gives_the_same_kind_of_rows() -> None:
    found = performance_isolated("numpy", "cpu:0", pairs=[("add", "float32")], budget=1.0)
    assert {r.op for r in found.rows} == {"add"}


def test_an_error_in_the_other_process_is_told() -> None:
    with pytest.raises(ConformanceError, match="no device 'acme:0'"):
        performance_isolated("acme", "acme:0", pairs=[("add", "float32")], budget=1.0)

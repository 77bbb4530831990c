"""Plausible numeric faults, each caught by the case that was made for it; and the rule for devices that flush."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from opmux.conformance.cases.enumerate import cases
from opmux.conformance.cases.ops.hard_arguments import ARGUMENTS, near_multiples_of_half_pi
from opmux.conformance.cases.ops.numerics import LABELS, MAKERS
from opmux.conformance.oracle.expect import expect
from opmux.conformance.oracle.flush import flushed
from opmux.conformance.results.outcome import Outcome
from opmux.conformance.running.execute import execute
from opmux.conformance.running.isolation import Job
from opmux.conformance.target import targets
from opmux.core.dtypes import bfloat16, dtype, float16, float32, float64
from opmux.core.errors import ConformanceError
from opmux.core.op import OPS
from opmux.plugin import CallSpec, Determinism, DeviceInfo, Kernel, Prepared, Promises, Rates, hookimpl
from tests.conformance.zoo import Zoo, registered
from tests.remote import RemotePlugin
from tests.remote.kernels import _kernel as remote_kernel

Compute = Callable[..., Any]
_names = (f"numeric-{i}" for i in itertools.count())


def _outcome(case: str, compute: Compute) -> tuple[Outcome, str]:
    op, t = case.split("-")[:2]

    def prepare(spec: CallSpec) -> Prepared:
        given = {k: spec.attributes[k] for k in ("axis", "keepdims") if k in spec.attributes}

        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            with np.errstate(all="ignore"):
                outs[0].host[...] = compute(*[x.host for x in ins], **given)

        return Prepared(launch)

    with registered(next(_names), Zoo([Kernel(op, op, "cpu", prepare)])) as name:
        (found,) = (c for c in cases(op, t) if c.id == case)
        result = execute(found, targets(name)[0], Job(name, "cpu:0", op, t, False, ()))
    return result.outcome, result.message


def _wide(x: Any) -> Any:
    return x.astype(np.float64)


def _bad_reduction(x: Any) -> Any:
    """Three-part Cody and Waite in the working precision: fine up to some thousands."""
    n = np.rint(x / x.dtype.type(np.pi))
    r = ((x - n * x.dtype.type(3.140625)) - n * x.dtype.type(9.67502593994140625e-4)) - n * x.dtype.type(1.509957990e-7)
    return np.where(n % 2 == 0, 1, -1) * np.sin(_wide(r))


def _narrow_chain(x: Any, axis: Any, keepdims: bool = False) -> Any:
    return np.add.accumulate(x, dtype=x.dtype)[-1]


def _without_last(x: Any, axis: Any, keepdims: bool = False) -> Any:
    kept = np.moveaxis(_wide(x), axis[0], -1).copy()
    kept[..., 1029:] = 0
    return kept.sum(-1)


def _flushing_sum(x: Any, axis: Any, keepdims: bool = False) -> Any:
    return _wide(flushed(x, dtype(x.dtype).name)).sum(axis=axis, keepdims=keepdims)


def _skips_zeros(x: Any, y: Any) -> Any:
    """Zero columns are left out, so that infinity times zero is no NaN."""
    made = _wide(x) @ np.where(y == 0, 1, _wide(y))
    return np.where((y == 0).any(axis=0), np.where(np.isnan(x).any(axis=1, keepdims=True), np.nan, made), made)


def _through_tensor_cores(x: Any, y: Any) -> Any:
    """Operands cut to the 11 bits of TF32."""
    cut = [(v.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32) for v in map(np.ascontiguousarray, (x, y))]
    return _wide(cut[0]) @ _wide(cut[1])


def _one_pass(x: Any, axis: Any, keepdims: bool = False) -> Any:
    """The textbook formula in float32 goes below zero where the spread is small."""
    mean = x.mean(axis=axis, keepdims=True)
    return np.sqrt((x * x).mean(axis=axis, keepdims=True) - mean * mean).reshape(x.shape[0])


FAULTS: tuple[tuple[str, Compute], ...] = (
    ("sin-float32-values-ill-arguments", _bad_reduction),
    ("sin-float64-values-ill-arguments", np.sin),  # NumPy's own, next to multiples of pi
    ("log-float32-values-ill-arguments", lambda x: np.log(2 * x) - np.float32(np.log(2))),
    ("log1p-float32-values-ill-arguments", lambda x: np.log(1 + x)),
    ("expm1-float64-values-ill-arguments", lambda x: np.exp(x) - 1),
    ("tanh-float32-values-ill-arguments", lambda x: 1 - 2 / (np.exp(2 * x) + 1)),
    ("erfc-float32-values-ill-arguments", lambda x: np.float32(1) - np.vectorize(__import__("math").erf)(_wide(x))),
    ("hypot-float32-values-ill-arguments", lambda x, y: np.sqrt(x * x + y * y)),
    ("remainder-float32-values-ill-arguments", lambda x, y: x - np.floor(x / y) * y),
    ("fma-float32-values-ill-arguments", lambda x, y, z: x * y + z),
    ("pow-float32-values-ill-arguments", lambda x, y: np.exp(y * np.log(x))),
    ("rsqrt-float32-values-ill-arguments", lambda x: np.where(np.abs(x) < 2.0**-126, np.inf, 1 / np.sqrt(_wide(x)))),
    ("sum-float16-values-ill-long", _narrow_chain),
    ("sum-float16-values-ill-beyond-narrow", _narrow_chain),
    ("sum-bfloat16-values-ill-long", _narrow_chain),
    ("sum-float32-values-ill-single-terms", _without_last),
    ("sum-float32-values-ill-subnormal", _flushing_sum),
    ("sum-float32-values-ill-few-terms", lambda x, axis, keepdims: _wide(x).sum() * (1 + 2e-6)),
    ("sum-float64-values-ill-cancelling", lambda x, axis, keepdims: x.astype(np.float32).sum(dtype=np.float32)),
    ("sum-float32-values-ill-zeros", lambda x, axis, keepdims: np.where(x.sum(1) == 0, -0.0, x.sum(1))),
    ("sum-float32-values-ill-infinite", lambda x, axis, keepdims: np.nansum(_wide(x), axis=axis)),
    ("matmul-float32-values-ill-single-terms", lambda x, y: (_wide(x) @ _wide(y)) * 1.0001),
    ("matmul-float32-values-ill-few-terms", _through_tensor_cores),
    ("matmul-float32-values-ill-infinite", _skips_zeros),
    ("matmul-float32-values-ill-into-subnormals", lambda x, y: flushed((x @ y), "float32")),
    ("matmul-int8-values-ill-extremes", lambda x, y: np.clip(x.astype(int) @ y.astype(int), -128, 127)),
    ("matmul-int32-values-ill-extremes", lambda x, y: (_wide(x) @ _wide(y)).astype(np.int64).astype(np.int32)),
    ("std-float32-values-ill-equal", _one_pass),
    ("softmax-float32-values-ill-spread", lambda x, axis: np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)),
    ("logsumexp-float32-values-ill-spread", lambda x, axis, keepdims: np.log(np.exp(x).sum(axis=axis))),
    ("cumulative_sum-float16-values-ill-long", lambda x, axis: np.cumsum(x, axis=axis, dtype=x.dtype)),
    ("prod-float32-values-ill-into-subnormals", lambda x, axis, keepdims: flushed(x.prod(axis=axis), "float32")),
)


@pytest.mark.parametrize(("case", "compute"), FAULTS, ids=[case for case, _ in FAULTS])
def test_a_plausible_fault_is_caught(case: str, compute: Compute) -> None:
    assert _outcome(case, compute)[0] is Outcome.FAIL


@pytest.mark.parametrize(
    ("case", "compute"),
    [
        ("sum-float32-values-ill-few-terms", lambda x, axis, keepdims: _wide(x).sum(axis=axis)),
        ("sum-float32-values-ill-zeros", lambda x, axis, keepdims: x.sum(axis=axis)),
        ("matmul-float32-values-ill-infinite", lambda x, y: _wide(x) @ _wide(y)),
        ("std-float32-values-ill-equal", lambda x, axis, keepdims: _wide(x).std(axis=axis)),
        ("prod-float32-values-ill-into-subnormals", lambda x, axis, keepdims: _wide(x).prod(axis=axis)),
    ],
)
def test_right_results_pass(case: str, compute: Compute) -> None:
    assert _outcome(case, compute) == (Outcome.PASS, "")


@pytest.mark.parametrize("t", [float16, bfloat16, float32, float64], ids=str)
def test_every_label_has_its_call(t: Any) -> None:
    assert {op: {s.label for s in make(t)} for op, make in MAKERS.items()} == {
        op: set(labels) for op, labels in LABELS.items()
    }


@pytest.mark.parametrize("t", [float16, bfloat16, float32, float64], ids=str)
def test_hard_arguments_fit_together(t: Any) -> None:
    for op, make in ARGUMENTS.items():
        operands = make(t)
        assert len(operands) == OPS[op].operand_count
        assert {(x.dtype, x.shape) for x in operands} == {(t.numpy, operands[0].shape)}


def test_angles_hold_the_known_worst_cases() -> None:
    """Muller, Elementary Functions, 3rd ed., table 11.1."""
    assert 16367173.0 * 2.0**72 in near_multiples_of_half_pi(float32)
    assert 6381956970095103.0 * 2.0**797 in near_multiples_of_half_pi(float64)


def test_zero_terms_do_not_widen_the_bound() -> None:
    x = np.zeros(20_000, np.float32)
    x[[3, 19_999]] = 1.0
    check = expect(OPS["sum"], (x,), {}).check
    check(np.float32(2))
    with pytest.raises(ConformanceError, match="of the bound"):
        check(np.float32(2.00001))


def test_near_the_largest_float64_the_bound_stays_finite() -> None:
    x = np.full(8, np.finfo(np.float64).max / 8.5)
    x[0] = -x[0]
    with pytest.raises(ConformanceError):
        expect(OPS["sum"], (x,), {}).check(np.float64(1.0))


# Devices that flush subnormals.

TINY = np.float32([1e-40, -1e-40, 3e-39, 1.0, 2.0**-126])


def _check(op: str, *operands: Any, got: Any, flushes: bool = True, **attributes: Any) -> None:
    expect(OPS[op], operands, attributes).on(flushes=flushes)(np.asarray(got, np.float32))


@pytest.mark.parametrize(
    ("op", "operands", "got"),
    [
        ("multiply", (TINY, np.float32(1)), [0.0, -0.0, 0.0, 1.0, 2.0**-126]),
        ("multiply", (TINY[3:], np.float32(1e-39)), [0.0, 0.0]),
        ("multiply", (TINY[:2], np.float32(1e30)), [0.0, -0.0]),  # the operand was read as zero
        ("add", (TINY[:2], np.float32(2.0**-126)), [2.0**-126, 2.0**-126]),
        ("sign", (TINY[:2],), [0.0, -0.0]),
        ("sum", (TINY[:3],), 0.0),
        ("log", (TINY[:1],), [-np.inf]),
        ("abs", (TINY[:2],), [0.0, 0.0]),
    ],
)
def test_a_flushing_device_may_lose_subnormals(op: str, operands: Any, got: Any) -> None:
    _check(op, *operands, got=got)
    with pytest.raises(ConformanceError):
        _check(op, *operands, got=got, flushes=False)


@pytest.mark.parametrize(
    ("op", "operands", "got"),
    [
        ("multiply", (TINY[:2], np.float32(1)), [0.0, 0.0]),  # of the wrong sign
        ("multiply", (TINY[3:], np.float32(1.001)), [1.001, 0.0]),  # a normal number is none
        ("multiply", (TINY[:2], np.float32(1)), [1e-39, -1e-40]),  # wrong, and no zero
        ("copy", (TINY,), [0.0, -0.0, 0.0, 1.0, 2.0**-126]),  # which moves bits
        ("sum", (np.float32([1.0, 2.0]),), 0.0),
    ],
)
def test_a_flushing_device_may_do_nothing_else(op: str, operands: Any, got: Any) -> None:
    with pytest.raises(ConformanceError):
        _check(op, *operands, got=got)


class FlushingPlugin(RemotePlugin):
    """The remote device with units that flush operands and results."""

    promises = Promises()

    def __init__(self, *, declares: bool) -> None:
        super().__init__(only=frozenset({"copy", "cast"}))
        for driver in self.drivers:
            driver.info = DeviceInfo(
                "remote", "Flushing test device", 1 << 28, flushes_subnormals=declares,
                rates=Rates((("default", 1e9),), ((1 << 62, 1e9),), 1e-5),
            )  # fmt: skip

    @hookimpl
    def opmux_kernels(self) -> Any:
        def flushing(function: Compute) -> Compute:
            def compute(*operands: Any) -> Any:
                name = dtype(operands[0].dtype).name
                return flushed(np.asarray(function(*[flushed(x, name) for x in operands])), name)

            return compute

        made = [remote_kernel("multiply", lambda spec: flushing(np.multiply))]
        made.append(replace(remote_kernel("exp", lambda spec: flushing(np.exp)), promises=self.promises))
        return [*super().opmux_kernels(), *made]


@pytest.mark.parametrize(("declares", "outcome"), [(True, Outcome.FAIL), (False, Outcome.PASS)])
def test_a_flushing_device_never_has_the_canonical_class(declares: bool, outcome: Outcome) -> None:
    plugin = FlushingPlugin(declares=declares)
    plugin.promises = Promises(order="canonical", determinism=Determinism.CANONICAL)
    with registered("remote", plugin) as name:
        (case,) = (c for c in cases("exp", "float32") if c.label == "promises")
        found = execute(case, targets(name)[0], Job(name, "remote:0", "exp", "float32", False, ()))
    assert found.outcome is outcome
    assert not declares or "flushes subnormals" in found.message


@pytest.mark.parametrize(("declares", "bad"), [(True, 0), (False, 1)])
def test_flushing_is_right_where_it_is_declared(declares: bool, bad: int) -> None:
    with registered("remote", FlushingPlugin(declares=declares)) as name:
        target = targets(name)[0]
        for op, kind in (("multiply", "values"), ("exp", "ill-arguments")):
            chosen = [c for c in cases(op, "float32", quick=False) if c.label in ("", kind) and c.kind == "values"]
            found = [execute(c, target, Job(name, "remote:0", op, "float32", False, ())) for c in chosen]
            wrong = [c.message for c in found if c.outcome is Outcome.FAIL]
            assert len(wrong) >= bad, wrong
            assert bad or not wrong

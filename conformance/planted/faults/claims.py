"""What backends say of themselves: too much, too little, in the wrong way, or of somebody else's work."""

from __future__ import annotations

import contextvars
import ctypes
import os
import platform
import threading
from dataclasses import replace
from typing import Any, Final

import numpy as np

from ....core.arrays.creation import asarray
from ....core.dispatch.policy import policy
from ....core.dispatch.registry import REGISTRY
from ....opset.exponential import exp as public_exp
from ....plugin import Accepts, CallSpec, Determinism, Prepared, Promises, Reason, Rejection
from ...results.outcome import Outcome
from ..fault import Family
from ..twin.backend import Twin
from ..twin.call import Call
from ..twin.formats import names

FAMILY: Final = Family("claims")
_FLOATS: Final = frozenset({"float16", "bfloat16", "float32"})
#: The rounding mode towards zero in ``fenv.h`` of x86-64 and of aarch64.
_TOWARDS_ZERO: Final = {"x86_64": 0xC00, "aarch64": 0xC00000}


@FAMILY.backend("doubles-in-single", "exp", "exp-float64-values")
def doubles_in_single() -> Twin:
    """float64 is claimed, and computed in float32."""

    def faulty(call: Call) -> None:
        x = call.ins[0]
        call.out[...] = np.exp(x.astype(np.float32)) if x.dtype == np.float64 else call.result()

    return Twin().with_ware("exp", accepts=Accepts(dtypes=(_FLOATS | {"float64"},)), faulty=faulty)


@FAMILY.backend("declares-and-refuses", "add", "add-int8-claims-declared")
def declares_and_refuses() -> Twin:
    """A dtype is declared, and every call with it refused."""

    def prepare(spec: CallSpec, plain: Any) -> Any:
        first = spec.inputs[0]
        if first is not None and first.dtype.name == "int8":
            return Rejection(Reason.DTYPE, "not yet")
        return plain(spec)

    return Twin().with_ware("add", prepare=prepare)


@FAMILY.backend("under-claim", "add", "add-int16-claims-undeclared", outcome=Outcome.UNDER_CLAIM)
def under_claim() -> Twin:
    """A dtype works and is not declared, so nobody gets it."""
    accepts = Accepts(dtypes=(names("integer", "float") - {"int16"},))
    return Twin().with_ware("add", accepts=accepts, honest=False)


@FAMILY.backend("refuses-by-raising", "exp", "exp-float32-values", says="returning a Rejection")
def refuses_by_raising() -> Twin:
    """A kernel refuses by an exception."""

    def prepare(spec: CallSpec, plain: Any) -> Any:
        raise ValueError("not today")

    return Twin().with_ware("exp", prepare=prepare)


@FAMILY.backend("refuses-by-silence", "exp", "exp-float32-values")
def refuses_by_silence() -> Twin:
    """A kernel refuses by returning nothing."""

    def prepare(spec: CallSpec, plain: Any) -> Any:
        return None

    return Twin().with_ware("exp", prepare=prepare)


@FAMILY.plant("refuses-at-launch", "scatter", "scatter-float32-values-outside-wrap", says="NotImplementedError")
def refuses_at_launch(call: Call) -> None:
    """A mode that nobody wrote is found out at the launch, when it is too late to choose another kernel."""
    if call["mode"] == "wrap":
        raise NotImplementedError("wrap")
    call.finish()


@FAMILY.backend("half-of-a-case", "gather", "gather-float32-shapes-square-axis1", claims=True, says="claims core-f32")
def half_of_a_profile() -> Twin:
    """A profile is claimed, and one axis of one op of it refused."""

    def prepare(spec: CallSpec, plain: Any) -> Any:
        return Rejection(Reason.ATTRIBUTE, "axis 0 alone") if spec.attributes["axis"] else plain(spec)

    return Twin().with_ware("gather", prepare=prepare)


@FAMILY.backend("profile-without-an-op", "matmul", "matmul-float32-values-square", claims=True, says="claims core-f32")
def profile_without() -> Twin:
    """A profile is claimed, and one of its ops has no kernel."""
    twin = Twin()
    return replace(twin, wares={op: ware for op, ware in twin.wares.items() if op != "matmul"})


@FAMILY.backend("no-numbers", "add", "add-float32-shapes-0d", claims=True, says="claims core-f32")
def no_numbers() -> Twin:
    """Arrays without axes are refused, in a profile that is claimed."""
    return Twin().with_ware("add", accepts=replace(Twin().wares["add"].accepts, ranks=(1, 64)))


@FAMILY.backend("few-axes", "multiply", "multiply-float32-shapes-broadcast-rank6", claims=True, says="claims core-f32")
def few_axes() -> Twin:
    """More than four axes are refused, in a profile that is claimed."""
    return Twin().with_ware("multiply", accepts=replace(Twin().wares["multiply"].accepts, ranks=(0, 4)))


@FAMILY.backend("small-arrays", "add", "add-float32-large-line", claims=True, says="claims core-f32")
def small_arrays() -> Twin:
    """Large arrays are refused, in a profile that is claimed."""
    return Twin().with_ware("add", accepts=replace(Twin().wares["add"].accepts, max_elements=1 << 20))


def _elsewhere(call: Call) -> None:
    """Compute by the opset, with whoever else is there."""
    others = {name for name in REGISTRY.contributions if "planted" not in name}
    with policy(backends=others):
        call.out[...] = public_exp(asarray(call.ins[0].copy())).numpy()


@FAMILY.plant("fallback-in-secret", "exp", "exp-float32-values", says="in secret")
def fallback(call: Call) -> None:
    """A kernel has its work done by another backend."""
    _elsewhere(call)


@FAMILY.plant("fallback-by-a-helper", "exp", "exp-float32-values", says="in secret")
def fallback_by_helper(call: Call) -> None:
    """A kernel has its work done by another backend, on a thread of its own."""
    thread = threading.Thread(target=contextvars.Context().run, args=(_elsewhere, call))
    thread.start()
    thread.join()


@FAMILY.backend("promised-ulp", "exp", "exp-float32-claims-max-ulp", says="it promises")
def promised_ulp() -> Twin:
    """A smaller error is promised than the kernel has."""

    def faulty(call: Call) -> None:
        call.finish()
        if call.out.dtype == np.float32:
            up = np.nextafter(call.out, np.float32(np.inf))
            call.out[...] = np.where((call.ins[0] > 1) & (call.ins[0] < 2), up, call.out)

    return Twin().with_ware("exp", promises=Promises(max_ulp={"float32": 0.75}), faulty=faulty)


def _sums(determinism: Determinism, faulty: Any, order: str = "own") -> Twin:
    return Twin().with_ware("sum", promises=Promises(order=order, determinism=determinism), faulty=faulty)


def _moved(call: Call, steps: int) -> None:
    """Compute, and move the result by a few units in the last place: within the contract, but other bits."""
    call.finish()
    if call.out.dtype == np.float32 and call.ins[0].size > 1:
        moved = call.out.copy()
        for _ in range(steps):
            moved = np.nextafter(moved, np.float32(np.inf))
        call.out[...] = moved


@FAMILY.backend("promised-runs", "sum", "sum-float32-determinism-run")
def promised_runs() -> Twin:
    """The same bits are promised for every run, and blocks are combined as they arrive."""

    def faulty(call: Call) -> None:
        count = call.memory["count"] = call.memory.get("count", 0) + 1
        _moved(call, count % 2)

    return _sums(Determinism.RUN, faulty)


@FAMILY.backend("promised-threads", "sum", "sum-float32-determinism-threads")
def promised_threads() -> Twin:
    """The same bits are promised for any number of threads, and blocks are shared out by how many there are."""

    def faulty(call: Call) -> None:
        _moved(call, int(os.environ.get("OPMUX_NUM_THREADS", "1")) % 2)

    return _sums(Determinism.THREADS, faulty)


@FAMILY.backend("promised-batch", "sum", "sum-float32-determinism-batch")
def promised_batch() -> Twin:
    """A row's bits are promised to be independent of the batch, and the order is chosen by the number of rows."""

    def faulty(call: Call) -> None:
        _moved(call, int(call.out.size > 4))

    return _sums(Determinism.BATCH, faulty)


@FAMILY.backend("promised-canonical", "sum", "sum-float32-determinism-canonical")
def promised_canonical() -> Twin:
    """The canonical bits are promised, and the order is the backend's own."""
    return _sums(Determinism.CANONICAL, None, "canonical")


@FAMILY.backend("canonical-in-name", "sum", "sum-float32-claims-promises", says="not the canonical one")
def canonical_in_name() -> Twin:
    """The canonical class is promised in an order that is called otherwise."""
    return _sums(Determinism.CANONICAL, None)


@FAMILY.backend("bound-beyond-contract", "exp", "exp-float32-claims-promises", says="the op demands")
def bound_beyond() -> Twin:
    """A bound is promised that is wider than the op's own."""
    return Twin().with_ware("exp", promises=Promises(max_ulp={"float32": 64.0}))


@FAMILY.backend("odd-completion", "add", "add-float32-values")
def odd_completion() -> Twin:
    """A launch returns a flag in place of a completion."""

    def prepare(spec: CallSpec, plain: Any) -> Any:
        made = plain(spec)

        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
            made.launch(outs, ins, workspace, queue)
            return True

        return Prepared(launch)

    return Twin().with_ware("add", prepare=prepare)


@FAMILY.plant("rounding-left-changed", "multiply", "multiply-float32-values-grid", isolate=True, says="arithmetic")
def rounding_left(call: Call) -> None:
    """A kernel sets the rounding mode of the thread and does not set it back."""
    call.finish()
    ctypes.CDLL(None).fesetround(_TOWARDS_ZERO.get(platform.machine(), 0xC00))

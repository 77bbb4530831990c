"""Operands that are one array, overlapping views, misused ``out=`` and consumed handles."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opmux as ox

BACKENDS = ("numpy", "llvm")
VALUES = np.arange(1, 13, dtype=np.float32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum", "atan2", "hypot"])
def test_one_array_as_both_operands(name: str, backend: str) -> None:
    x = ox.asarray(VALUES, copy=True)
    reference = {"atan2": "arctan2"}.get(name, name)
    with ox.policy(backends=backend):
        found = getattr(ox, name)(x, x)
    np.testing.assert_allclose(found.numpy(), getattr(np, reference)(VALUES, VALUES), rtol=1e-6)
    assert x.tolist() == VALUES.tolist()


@pytest.mark.parametrize("backend", BACKENDS)
def test_overlapping_views_as_operands(backend: str) -> None:
    x = ox.asarray(VALUES, copy=True)
    with ox.policy(backends=backend):
        assert ox.add(x[1:], x[:-1]).tolist() == (VALUES[1:] + VALUES[:-1]).tolist()
        assert ox.add(x, x[::-1]).tolist() == [13.0] * 12
        square = ox.reshape(x[:9], (3, 3))
        np.testing.assert_array_equal(ox.matmul(square, square.T).numpy(), square.numpy() @ square.numpy().T)
        assert ox.concat([x[:3], x[1:4], x[:3]]).tolist() == [1.0, 2.0, 3.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0]
    assert x.tolist() == VALUES.tolist()


@pytest.mark.parametrize("backend", BACKENDS)
def test_writing_overlapping_parts(backend: str) -> None:
    with ox.policy(backends=backend):
        x = ox.asarray(VALUES, copy=True)
        x[2:] = x[:-2]
        assert x.tolist() == [1.0, 2.0, *VALUES[:-2].tolist()]
        y = ox.asarray(VALUES, copy=True)
        y += y[::-1]
        y -= y
        assert y.tolist() == [0.0] * 12
        z = ox.reshape(ox.asarray(VALUES, copy=True), (3, 4))
        z[:, :2] = z[:, 2:] * 2.0
        assert z[0].tolist() == [6.0, 8.0, 3.0, 4.0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "call",
    [
        lambda x, out: ox.exp(x, out=out),
        lambda x, out: ox.add(x, x, out=out),
        lambda x, out: ox.add(x, out, out=out),
        lambda x, out: ox.subtract(out, x[::-1], out=out),
        lambda x, out: ox.softmax(out, out=out),
        lambda x, out: ox.cumulative_sum(out, out=out),
        lambda x, out: ox.sort(out, descending=True, out=out),
        lambda x, out: ox.copy(out, out=out),
        lambda x, out: ox.where(ox.less(x, 5.0), out, x, out=out),
    ],
)
def test_out_gives_what_the_call_gives_without_it(call: Callable[..., ox.Array], backend: str) -> None:
    x = ox.asarray(VALUES / 4)
    with ox.policy(backends=(backend, "numpy")):
        wanted = _without_out(call, x)
        out = ox.asarray(VALUES / 3, copy=True)
        made = call(x, out)
    assert made.tolist() == wanted
    with pytest.raises(ox.ConsumedError):
        out.tolist()


def _without_out(call: Callable[..., ox.Array], x: ox.Array) -> Any:
    """The values of the same call whose ``out=`` is thrown away: every operand is read before it is written."""
    held = ox.asarray(VALUES / 3, copy=True)
    public = {name: getattr(ox, name) for name in call.__code__.co_names if hasattr(ox, name)}
    namespace = types.SimpleNamespace(**{name: _dropping_out(f) for name, f in public.items()})
    return types.FunctionType(call.__code__, {"ox": namespace})(x, held).tolist()


def _dropping_out(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *operands, out=None, **attributes: function(*operands, **attributes)


def test_out_of_the_wrong_kind(refused: Any) -> None:
    x = ox.asarray(VALUES, copy=True)
    view = ox.asarray(VALUES, copy=True)
    held = view[1:]
    for out, word in (
        (ox.zeros(11), "float32[12]"),
        (ox.zeros(12, dtype="float64"), "float32[12]"),
        (ox.zeros((12, 1)), "float32[12]"),
        (ox.broadcast_to(ox.zeros(1), (12,)), "out="),
        (ox.asarray(np.zeros(12, np.float32)), "imported"),
        (np.zeros(12, np.float32), "ndarray"),
        ([0.0] * 12, "list"),
        (view, "shares"),
        (x[:], "shares"),
    ):
        if word == "out=":  # a repeated view that is alone is consumed, and the result is fresh
            assert ox.exp(x, out=out).shape == (12,)
            continue
        refused(lambda o=out: ox.exp(x, out=o), Exception, word)  # type: ignore[misc]
    assert held.tolist() == VALUES[1:].tolist()
    refused(lambda: ox.add(x, x[:], out=x), ValueError, "out=")
    assert x.tolist() == VALUES.tolist()


def test_a_refused_call_does_not_consume() -> None:
    x, out = ox.asarray(VALUES, copy=True), ox.zeros(12)
    for call in (
        lambda: ox.add(x, ox.zeros(5), out=out),
        lambda: ox.exp(ox.asarray([1]), out=out),
        lambda: ox.sum(x, axis=3, out=out),
    ):
        with pytest.raises(ox.OpmuxError):
            call()
    assert out.tolist() == [0.0] * 12


def _consumed() -> ox.Array:
    x = ox.asarray(VALUES, copy=True)
    ox.exp(x, out=x)
    return x


BINARY = "add sub mul truediv floordiv mod pow and or xor lshift rshift".split()  # noqa: SIM905
METHODS: dict[str, tuple[Any, ...]] = {
    **{f"__{prefix}{name}__": (1.0,) for prefix in ("", "r", "i") for name in BINARY},
    **{f"__{name}__": (1.0,) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{f"__{name}__": () for name in ("neg", "pos", "abs", "invert", "bool", "int", "float", "complex", "index")},
    **{f"__{name}__": () for name in ("len", "iter", "array", "dlpack", "dlpack_device", "reduce", "copy")},
    **{f"__{prefix}matmul__": (ox.zeros((12, 12)),) for prefix in ("", "i")},
    "__deepcopy__": ({},), "__getitem__": (0,), "__setitem__": (0, 1.0), "__buffer__": (0,),
    "numpy": (), "tolist": (), "item": (), "to_device": ("cpu",),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_a_consumed_handle_says_so_in_every_method(name: str) -> None:
    x = _consumed()
    with pytest.raises(ox.ConsumedError, match="consumed"):
        getattr(x, name)(*METHODS[name])


@pytest.mark.parametrize(
    "name", ["dtype", "shape", "strides", "device", "ndim", "size", "nbytes", "T", "mT", "host", "ptr"]
)
def test_a_consumed_handle_says_so_in_every_property(name: str) -> None:
    with pytest.raises(ox.ConsumedError, match="consumed"):
        getattr(_consumed(), name)


def test_a_consumed_handle_can_be_shown() -> None:
    assert repr(_consumed()) == str(_consumed()) == "<consumed array>"


@pytest.mark.parametrize(
    "use",
    [
        ox.exp, ox.sum, lambda x: ox.add(1.0, x), lambda x: ox.add(ox.zeros(12), x), lambda x: ox.concat([x, x]),
        lambda x: ox.exp(ox.zeros(12), out=x), ox.asarray, np.asarray, np.from_dlpack, copy.copy,
        lambda x: ox.reshape(x, -1), lambda x: ox.broadcast_to(x, (2, 12)), ox.flip, ox.zeros_like, ox.stack,
        lambda x: ox.stack([x]), lambda x: ox.asarray([x]), lambda x: ox.zeros(12)[x], ox.compile(lambda x: x),
        lambda x: ox.explain("exp", x), lambda x: ox.roll(x, 1), lambda x: ox.meshgrid(x), lambda x: ox.nonzero(x),
        lambda x: ox.clip(ox.zeros(12), x), lambda x: ox.result_type(x), lambda x: ox.finfo(x),
    ],
)  # fmt: skip
def test_a_consumed_handle_says_so_in_every_function(use: Callable[[Any], Any]) -> None:
    kind = (ox.ConsumedError, ox.ArgumentTypeError) if use is ox.stack else ox.ConsumedError
    with pytest.raises(kind):
        use(_consumed())


def test_imports_and_exports_cannot_be_written_through() -> None:
    x = ox.asarray(VALUES, copy=True)
    for seen in (np.asarray(x), x.numpy(), np.from_dlpack(x)):
        with pytest.raises(ValueError, match="read-only"):
            seen[0] = 9.0
    assert x[0].item() == 1.0

"""Arguments of the wrong type, number, name or value."""

from __future__ import annotations

import decimal
import fractions
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.errors import shown
from opmux.core.op import OPS, Role

X = ox.asarray([[1.0, 2.0], [3.0, 4.0]])
HUGE = 10**10000
NO_ARRAYS: dict[str, Any] = {
    "None": None,
    "string": "abc",
    "bytes": b"abc",
    "list": [1.0, 2.0],
    "tuple": (1.0,),
    "numpy array": np.ones((2, 2), np.float32),
    "numpy scalar": np.float32(1),
    "object array": np.array([None]),
    "set": {1.0},
    "dict": {},
    "decimal": decimal.Decimal(1),
    "fraction": fractions.Fraction(1, 2),
    "type": int,
    "ellipsis": ...,
    "range": range(2),
    "function": len,
}
FUNCTIONS = [OPS.public.get(op.name, None) or getattr(ox, op.name) for op in OPS if hasattr(ox, op.name)]
FUNCTIONS += [
    ox.reshape, ox.permute_dims, ox.flip, ox.squeeze, ox.expand_dims, ox.broadcast_to, ox.matrix_transpose,
    ox.zeros_like, ox.ones_like, ox.empty_like, ox.full_like, ox.tril, ox.triu, ox.roll, ox.repeat, ox.tile, ox.stack,
    ox.nonzero, ox.unique_values, ox.pack_int4, ox.unpack_int4, ox.astype, ox.meshgrid, ox.broadcast_arrays, ox.take,
]  # fmt: skip


def _attempt(call: Callable[[], Any], label: str) -> None:
    """Let a call succeed or refuse, in a typed way."""
    raised: Exception | None = None
    try:
        call()
    except Exception as error:
        raised = error
    assert raised is None or isinstance(raised, ox.OpmuxError), f"{label} raised {type(raised).__name__}: {raised}"
    assert raised is None or 20 < len(str(raised)) < 1500, f"{label}: {raised}"


def _required(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


@pytest.mark.parametrize("kind", NO_ARRAYS)
def test_operands_that_are_no_arrays_are_refused_by_every_op(kind: str) -> None:
    for function in FUNCTIONS:
        for place, _ in enumerate(_required(function)):
            operands: list[Any] = [X] * len(_required(function))
            operands[place] = NO_ARRAYS[kind]
            _attempt(lambda f=function, o=operands: f(*o), f"{function.__name__} with {kind} as operand {place}")  # type: ignore[misc]


@pytest.mark.parametrize("kind", [*NO_ARRAYS, "nan", "huge", "array"])
def test_keywords_of_the_wrong_type_are_refused_by_every_op(kind: str) -> None:
    value = {**NO_ARRAYS, "nan": float("nan"), "huge": HUGE, "array": X}[kind]
    for function in FUNCTIONS:
        operands = [X] * len(_required(function))
        for p in inspect.signature(function).parameters.values():
            if p.default is not p.empty and p.name != "out":
                keyword = {p.name: value}
                _attempt(lambda f=function, o=operands, k=keyword: f(*o, **k), f"{function.__name__}({p.name}={kind})")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: ox.exp(X, nonsense=1), "nonsense"),
        (lambda: ox.add(X), "x2"),
        (lambda: ox.add(X, X, X), "add(x1, x2)"),
        (lambda: ox.sum(X, axes=0), "axes"),
        (lambda: ox.sum(X, 0, axis=0), "axis"),
        (lambda: ox.sum(), "x"),
        (lambda: ox.matmul(X, X, transpose=True), "transpose"),
    ],
)
def test_wrong_names_and_numbers_of_arguments_of_ops(refused: Any, call: Any, word: str) -> None:
    refused(call, TypeError, word)


@pytest.mark.parametrize("function", [ox.zeros, ox.reshape, ox.arange, ox.asarray, ox.roll, ox.astype])
def test_wrong_names_of_arguments_of_other_functions(function: Any) -> None:
    with pytest.raises(TypeError, match=r"nonsense|missing"):
        function(X, nonsense=1)


@pytest.mark.parametrize("value", [[1, [2]], {1: 2}, np.ones(3), X], ids=["list", "dict", "numpy", "array"])
def test_unhashable_attributes_name_themselves(refused: Any, value: Any) -> None:
    refused(lambda: ox.sum(X, axis=value), TypeError, "sum", "axis")
    refused(lambda: ox.softmax(X, axis=value), TypeError, "axis")


def test_attributes_that_compare_equal_are_not_taken_for_each_other(refused: Any) -> None:
    assert ox.sum(X, axis=1).tolist() == [3.0, 7.0]
    refused(lambda: ox.sum(X, axis=True), TypeError, "axis")
    refused(lambda: ox.sum(X, axis=1.0), TypeError, "axis")


@pytest.mark.parametrize("axis", [2, -3, HUGE, -HUGE], ids=["2", "-3", "huge", "-huge"])
@pytest.mark.parametrize(
    "call",
    [ox.sum, ox.max, ox.argmax, ox.sort, ox.flip, ox.squeeze, ox.softmax, ox.cumulative_sum, ox.expand_dims],
    ids=lambda f: f.__name__,
)
def test_axes_out_of_range(refused: Any, call: Any, axis: int) -> None:
    axis = axis * 2 if call is ox.expand_dims else axis
    refused(lambda: call(X, axis=axis), IndexError, "axis", "out of range", "allowed")


@pytest.mark.parametrize("axis", [1.0, "0", True, int, [0.5], (0, "1")], ids=str)
def test_axes_that_are_no_integers(refused: Any, axis: Any) -> None:
    refused(lambda: ox.sum(X, axis=axis), TypeError, "sum", "axis")


def test_an_axis_given_twice(refused: Any) -> None:
    refused(lambda: ox.sum(X, axis=(0, -2)), ValueError, "twice")


@pytest.mark.parametrize("value", [0, 1, "yes", None, [], np.True_], ids=repr)
def test_flags_are_booleans(refused: Any, value: Any) -> None:
    refused(lambda: ox.sum(X, keepdims=value), TypeError, "keepdims", "True")
    refused(lambda: ox.argmax(X, axis=0, keepdims=value), TypeError, "keepdims")
    refused(lambda: ox.sort(X, descending=value), TypeError, "descending")
    refused(lambda: ox.gelu(X, approximate=value), TypeError, "approximate")


@pytest.mark.parametrize("value", ["a", None, [1], HUGE, float("inf"), float("nan"), True], ids=shown)
def test_numbers_that_are_attributes(refused: Any, value: Any) -> None:
    kind = TypeError if isinstance(value, str | list | bool | None) else ValueError
    refused(lambda: ox.layer_norm(X, epsilon=value), kind, "epsilon")
    refused(lambda: ox.var(X, correction=value), kind, "correction")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ox.add(X, ox.zeros((3, 2))), ("(2, 2)", "(3, 2)", "axis")),
        (lambda: ox.matmul(X, ox.zeros((3, 2))), ("matmul", "2", "3")),
        (lambda: ox.matmul(ox.asarray(1.0), X), ("matmul",)),
        (lambda: ox.concat([X, ox.zeros((2, 3))]), ("(2, 3)", "axis")),
        (lambda: ox.concat([]), ("no array",)),
        (lambda: ox.concat([ox.asarray(1.0)]), ("stack",)),
        (lambda: ox.reshape(X, (3, 2)), ("4", "6")),
        (lambda: ox.reshape(X, (-1, -1)), ("-1",)),
        (lambda: ox.reshape(X, (-1, 0)), ("-1",)),
        (lambda: ox.broadcast_to(X, (2, 3)), ("(2, 3)",)),
        (lambda: ox.broadcast_to(X, (2,)), ("(2,)",)),
        (lambda: ox.squeeze(X, 0), ("length 2",)),
        (lambda: ox.max(ox.zeros((0, 3)), axis=0), ("no elements",)),
        (lambda: ox.argmin(ox.zeros((0,))), ("no elements",)),
        (lambda: ox.conv(X, X), ("conv",)),
        (lambda: ox.max_pool(ox.zeros((1, 1, 4)), 9), ("window",)),
        (lambda: ox.tril(ox.zeros(3)), ("two axes",)),
        (lambda: X.T.T[0].T, ("two axes",)),
        (lambda: ox.linear(X, ox.zeros((3, 5))), ("linear",)),
        (lambda: ox.scatter(X, ox.asarray([0]), X), ("(2, 2)", "(1, 2)")),
        (lambda: ox.pad(X, ((1, 1),)), ("pad_width",)),
        (lambda: ox.take(X, ox.asarray([0])), ("axis",)),
    ],
)
def test_shapes_that_do_not_fit(refused: Any, call: Any, words: tuple[str, ...]) -> None:
    refused(call, ValueError, *words)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ox.exp(ox.asarray([1])), ("exp", "int64", "float32")),
        (lambda: ox.divide(ox.asarray([1]), 2), ("int64",)),
        (lambda: ox.add(ox.asarray([True]), ox.asarray([1.0])), ("bool", "float32", "astype")),
        (lambda: ox.add(ox.asarray([1]), 1.5), ("1.5", "int64")),
        (lambda: ox.add(ox.asarray([1], dtype="uint64"), ox.asarray([1])), ("uint64", "int64")),
        (lambda: ox.bitwise_and(X, X), ("bitwise_and", "float32")),
        (lambda: ox.logical_not(ox.asarray([1])), ("bool",)),
        (lambda: ox.max(ox.asarray([1j])), ("complex64",)),
        (lambda: ox.cast(ox.asarray([1j]), "float32"), ("imaginary",)),
        (lambda: ox.bitcast(X, "float64"), ("32", "64")),
        (lambda: ox.where(X, X, X), ("where",)),
        (lambda: ox.gather(X, X), ("indices",)),
        (lambda: ox.asarray([1j], dtype="float32"), ("complex",)),
        (lambda: ox.zeros(2, dtype="float31"), ("float31", "known")),
        (lambda: ox.zeros(2, dtype="S4"), ("S4",)),
        (lambda: ox.dtype(None), ("None",)),
        (lambda: ox.dtype(b"a"), ("known dtypes",)),
        (lambda: ox.dtype([("a", int)]), ("known dtypes",)),
        (lambda: ox.dtype(np.dtype("M8[s]")), ("M8",)),
        (lambda: ox.dtype(HUGE), ("bits",)),
    ],
)
def test_dtypes_that_do_not_fit(refused: Any, call: Any, words: tuple[str, ...]) -> None:
    refused(call, TypeError, *words)


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "", "cpu:", 0, -1, [], int, HUGE], ids=shown)
def test_devices_that_are_not_there(refused: Any, device: Any) -> None:
    for call in (lambda: ox.zeros(2, device=device), lambda: X.to_device(device), lambda: ox.asarray(1, device=device)):
        refused(call, ValueError, "no device", "cpu:0")


def test_indices_that_do_not_fit(refused: Any) -> None:
    for key in (2, -3, HUGE, (0, 0, 0), "a", 1.0, [1.5], (..., ...), slice(None, None, 0), [True], ox.asarray([0.0])):
        refused(lambda k=key: X[k], IndexError)  # type: ignore[misc]
        with pytest.raises(IndexError):
            X[:][key] = 1.0


def test_assignments_that_do_not_fit(refused: Any) -> None:
    x = ox.asarray([1, 2])

    def assign(value: Any) -> None:
        x[0] = value

    for value in (2.5, 1j, float("nan"), "a", None, X, object(), np.array(["a"]), [1.5]):
        refused(lambda v=value: assign(v), Exception)  # type: ignore[misc]
    for value in (HUGE, 2**63, -(2**63) - 1):
        refused(lambda v=value: assign(v), ValueError, "int64")  # type: ignore[misc]
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: ox.policy(nonsense=1).__enter__(), "nonsense"),
        (lambda: ox.policy(fallback="maybe").__enter__(), "fallback"),
        (lambda: ox.policy(determinism="very").__enter__(), "determinism"),
        (lambda: ox.policy(claims="none").__enter__(), "claims"),
        (lambda: ox.explain("no such op"), "no such op"),
        (lambda: ox.explain(3), "3"),
        (lambda: ox.compile(lambda x: x)(1.0), "float"),
        (lambda: ox.compile(lambda x, c: x)(X, c=[1]), "c"),
        (lambda: ox.compile(lambda: X)(), "none"),
        (lambda: ox.set_default_float_dtype("int8"), "int8"),
        (lambda: ox.set_default_device("gpu"), "gpu"),
        (lambda: ox.Generator(-1), "2**64"),
        (lambda: ox.Generator(1.5), "1.5"),
    ],
)
def test_settings_that_are_not_known(refused: Any, call: Any, word: str) -> None:
    refused(call, Exception, word)


def test_recursion_of_a_compiled_function_is_pythons_own_limit() -> None:
    @ox.compile
    def forever(x: ox.Array) -> ox.Array:
        result: ox.Array = forever(x)
        return result

    with pytest.raises(RecursionError):
        forever(X)
    assert ox.add(X, 1.0).tolist() == [[2.0, 3.0], [4.0, 5.0]]


def test_a_compiled_function_that_raises_leaves_nothing_behind() -> None:
    @ox.compile
    def broken(x: ox.Array) -> ox.Array:
        ox.exp(x)
        raise RuntimeError("mine")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="mine"):
            broken(X)
    assert float(ox.sum(X)) == 10.0


def test_optional_operands_are_the_only_ones_that_may_be_none() -> None:
    for op in OPS:
        roles = [p.role for p in op.parameters if p.role is not Role.ATTRIBUTE]
        if roles and roles[0] is Role.ARRAY and hasattr(ox, op.name):
            with pytest.raises(TypeError):
                getattr(ox, op.name)(*[None] * len(roles))

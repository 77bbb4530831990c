"""The namespace over which a composite's body runs as the oracle: the opset's signatures over reference arrays.

A reference array keeps the dtype that the body believes in, and values in float64 or long double: a cast between floats
changes the former only, so that the reference rounds nowhere.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core.dispatch.call import bind
from ...core.dtypes import BOOL, COMPLEX, REAL, STORAGE, DType, dtype, int64
from ...core.errors import ConformanceError
from ...core.kernel import ArraySpec
from ...core.op import OPS, Op
from ...opset.conversion import converted
from ...opset.declare import declaration_of
from .formats import Host
from .reference import Reference


class Wide:
    """An array as the body of a composite sees it, with values in higher precision."""

    device = None

    def __init__(self, values: Host, t: DType, over: Opset) -> None:
        self.values, self.dtype, self._over = values, t, over

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.values.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.values.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.values.size

    def __getitem__(self, key: Any) -> Wide:
        return self._over.made(self.values[key], self.dtype)

    def _with(self, function: Callable[..., Host], *others: Any) -> Wide:
        with np.errstate(all="ignore"):
            plain = [o.values if isinstance(o, Wide) else o for o in others]
            return Wide(np.asarray(function(self.values, *plain)), self.dtype, self._over)

    def __add__(self, other: Any) -> Wide:
        return self._with(operator.add, other)

    def __sub__(self, other: Any) -> Wide:
        return self._with(operator.sub, other)

    def __mul__(self, other: Any) -> Wide:
        return self._with(operator.mul, other)

    def __truediv__(self, other: Any) -> Wide:
        return self._with(np.divide, other)

    def __neg__(self) -> Wide:
        return self._with(operator.neg)

    def __radd__(self, other: Any) -> Wide:
        return self._with(lambda x, y: y + x, other)

    def __rsub__(self, other: Any) -> Wide:
        return self._with(lambda x, y: y - x, other)

    def __rmul__(self, other: Any) -> Wide:
        return self._with(lambda x, y: y * x, other)

    def __rtruediv__(self, other: Any) -> Wide:
        return self._with(lambda x, y: np.divide(y, x), other)


class Opset:
    """``ox`` for the bodies of composites.

    Args:
        wide: the NumPy type that real values are kept in.
        dtype_name: the dtype under test.
    """

    def __init__(self, wide: np.dtype[Any], dtype_name: str) -> None:
        self._wide, self._np = wide, Reference(dtype_name)

    def made(self, values: Host, t: DType) -> Wide:
        """Return an array of this namespace."""
        return Wide(values, t, self)

    def array(self, values: Host, t: DType) -> Wide:
        """Return values as an array of the reference: real and complex ones widened, others as they are."""
        if t.kind in (REAL, STORAGE):
            values = values.astype(np.float32, copy=False).astype(self._wide) if values.dtype.kind == "V" else values
            values = values.astype(self._wide)
        elif t.kind == COMPLEX:
            values = values.astype(np.result_type(self._wide, np.complex64))
        return self.made(values, t)

    def __getattr__(self, name: str) -> Callable[..., Wide]:
        op = OPS.get(name)
        if op is None:
            raise ConformanceError(
                f"the reference opset has no {name}; add it to opmux.conformance.composites", op=name
            )
        return functools.partial(self._call, op)

    def _call(self, op: Op, *args: Any, **given: Any) -> Wide:
        operands, pairs = bind(op, args, given)
        attributes = {k: v for k, v in pairs if k != "device"}
        group = range(len(operands)) if op.promotes is None else op.promotes
        like = next(x for i, x in enumerate(operands) if isinstance(x, Wide) and i in group)
        arrays = [x if isinstance(x, Wide) or x is None else self.array(np.asarray(x), like.dtype) for x in operands]
        return self.run(op, arrays, attributes)

    def run(self, op: Op, arrays: Sequence[Wide | None], attributes: dict[str, Any]) -> Wide:
        """Return the result of an op: a primitive's body over NumPy, a composite's over this namespace."""
        inferred = op.infer(
            op.name, tuple(None if x is None else ArraySpec(x.dtype, x.shape) for x in arrays), attributes
        )
        body = declaration_of(op).body
        if not op.primitive:
            made: Wide = body(self, *arrays, **attributes)
            return made
        values = [None if x is None else x.values for x in arrays]
        for i, t in enumerate(inferred.casts):
            if t is not None and arrays[i] is not None and values[i] is not None:
                values[i] = self.cast(arrays[i], t).values
        if inferred.broadcast is not None:
            values = [None if x is None else np.broadcast_to(x, inferred.broadcast) for x in values]
        with np.errstate(all="ignore"):
            found = np.asarray(body(self._np, *values, **inferred.attributes))
        return self.made(found, inferred.outputs[0].dtype)

    # Where the public function differs from the primitive, or the values must keep their precision:

    def cast(self, x: Any, t: Any) -> Wide:
        """Between floats only the dtype that the body believes in changes."""
        to = dtype(t)
        floats = (REAL, STORAGE, COMPLEX)
        if x.dtype.kind in floats and to.kind in floats:
            return self.made(x.values, to)
        if to.kind in floats:
            return self.array(x.values.astype(np.uint8) if x.dtype.kind == BOOL else x.values, to)
        return self.made(converted(x.values, to), to)

    def copy(self, x: Any) -> Wide:
        """Values are not written, so they may be shared."""
        return self.made(x.values, x.dtype)

    def matmul(self, x1: Any, x2: Any, *, dtype: Any = None) -> Wide:
        """Batch axes broadcast."""
        with np.errstate(all="ignore"):
            return self.made(np.asarray(np.matmul(x1.values, x2.values)), x1.dtype)

    def reshape(self, x: Any, shape: Any) -> Wide:
        """Row-major, as everywhere."""
        return self.made(x.values.reshape(shape), x.dtype)

    def permute_dims(self, x: Any, axes: Any) -> Wide:
        """NumPy's transpose."""
        return self.made(x.values.transpose(axes), x.dtype)

    def moveaxis(self, x: Any, source: Any, destination: Any) -> Wide:
        """NumPy's moveaxis."""
        return self.made(np.moveaxis(x.values, source, destination), x.dtype)

    def broadcast_to(self, x: Any, shape: Any) -> Wide:
        """NumPy's broadcast_to."""
        return self.made(np.broadcast_to(x.values, shape), x.dtype)

    def pad(self, x: Any, pad_width: Any, value: Any = 0) -> Wide:
        """The public form, with the value as a number."""
        return self.made(np.pad(x.values, pad_width, constant_values=value), x.dtype)

    def full(self, shape: Any, fill_value: Any, *, dtype: Any, device: Any = None) -> Wide:
        """The public form, with the value as a number."""
        return self.array(np.full(shape, fill_value), dtype)

    def iota(self, shape: Any, axis: int = 0, *, dtype: Any = int64, device: Any = None) -> Wide:
        """The public form."""
        line = np.arange(shape[axis]).reshape(-1, *(1,) * (len(shape) - axis - 1))
        return self.cast(self.made(np.broadcast_to(line, shape), int64), dtype)

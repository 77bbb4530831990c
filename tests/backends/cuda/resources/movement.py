"""Moving, indexing, creating and sorting: the kernels of calls that stand for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opmux.backends.cuda import creation_kernels, indexed, movement_kernels, random_kernels, sorting
from opmux.core.dtypes import BY_NAME
from opmux.core.kernel import CallSpec
from opmux.core.signature import Shape, Signature, row_major, signature

from . import Variant

Operand = tuple[str, Shape, Shape | None]

ROWS: Operand = ("float32", (64, 512), None)
#: Op, kernel, operands, the result, attributes.
CALLS: list[tuple[str, str, Sequence[Operand], Operand, Mapping[str, Any]]] = [
    ("concat", "concat", [("int8", (64, 3), None)] * 20, ("int8", (64, 60), None), {"axis": 1}),
    *(
        ("copy", "copy.transposed", [(t, (512, 64), (1, 512))], (t, (512, 64), None), {})
        for t in ("int8", "complex128")
    ),
    ("gather", "gather", [ROWS, ("int64", (9,), None)], ("float32", (9, 512), None), {"axis": 0, "mode": "wrap"}),
    *(
        ("scatter", "scatter", [ROWS, ("int64", (9,), None), ("float32", (9, 512), None)], ROWS,
         {"axis": 0, "mode": "drop", "reduction": how})
        for how in ("set", "add")
    ),
    ("sort", "sort", [("float32", (9, 4000), None)], ("float32", (9, 4000), None), {"axis": 1, "descending": False}),
    ("argsort", "argsort", [("int64", (9, 4000), None)], ("int64", (9, 4000), None), {"axis": 1, "descending": True}),
    ("searchsorted", "searchsorted", [("float32", (999,), None), ROWS], ("int64", (64, 512), None), {"side": "left"}),
    ("iota", "iota", [], ("bfloat16", (64, 512), None), {"axis": 1}),
    ("random_bits", "random_bits", [("uint32", (2,), None), ("uint32", (4,), None)], ("uint32", (999,), None), {}),
]  # fmt: skip
#: What is as small as a kernel can be.
_SMALL = ("scatter_fill", "scatter_firsts", "scatter_claim")
_FAMILIES = (creation_kernels, indexed, movement_kernels, random_kernels, sorting)


class _Recorder:
    """In place of a GPU, its driver and its loader: keeps what it is asked for."""

    def __init__(self) -> None:
        self.driver = self.loader = self.runtime = self
        self.launch = None
        self.asked: dict[tuple[str, tuple[str, ...], str], None] = {}

    def function(self, body: str, parts: Sequence[str], name: str, dynamic_shared: int = 0) -> str:
        self.asked[body, tuple(parts), name] = None
        return name


def variants() -> Iterator[Variant]:
    kernels = {k.name: k for family in _FAMILIES for k in family.KERNELS}
    for call, kernel, operands, result, attributes in CALLS:
        recorder = _Recorder()
        inputs, out = tuple(_signature(recorder, *o) for o in operands), _signature(recorder, *result)
        kernels[kernel].prepare(CallSpec(kernels[kernel].op, inputs, (out,), attributes))
        for body, parts, entry in recorder.asked:
            if entry not in _SMALL:
                yield Variant(f"{call}, {entry} {operands[0][0] if operands else result[0]}", body, parts, entry)


def _signature(device: Any, dtype: str, shape: Shape, strides: Shape | None) -> Signature:
    return signature(device, BY_NAME[dtype], shape, strides or row_major(shape))

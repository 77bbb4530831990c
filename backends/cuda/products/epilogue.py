"""What a matrix product's kernels do with each element of the result before it goes to memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from ....plugin import Program
from .. import emit


@dataclass(frozen=True, slots=True)
class Epilogue:
    """An elementwise program over the results of a product.

    Attributes:
        program: what is computed.
        product: which of its inputs is the product, rounded to its dtype as if it had been stored.
        along_rows: for each other input whether a row of it may be read as vectors.
        repeated: for each other input whether its rows are one element each, for kernels that make use of that.
    """

    program: Program
    product: int
    along_rows: tuple[bool, ...] = ()
    repeated: tuple[bool, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Types of ``matmul.cuh`` and ``warpgroups.cuh`` that read the operands beside the product."""
        kinds = ["AlongRow" if dense else "AcrossRow" for dense in self.along_rows]
        return tuple("OverRow" if over else kind for kind, over in zip_longest(kinds, self.repeated))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Dtypes of the operands beside the product."""
        p = self.product
        return self.program.inputs[:p] + self.program.inputs[p + 1 :]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Dtypes of the results."""
        return self.program.result_types


@dataclass(frozen=True, slots=True)
class Sink:
    """The text of a kernel about where its results go.

    Attributes:
        declared: types and functions that it needs, after `Out` is known.
        parameters: of the kernel.
        made: the statement that makes the object `sink`.
        operands: arrays that it reads, whose place in the batch counts beside those of the product.
    """

    declared: str
    parameters: str
    made: str
    operands: int = 0


_MADE: Final = "const Out::Memory (&made)[W]"
_PLAIN: Final = Sink("", "Out::Memory* c", "Plain<Out> sink{c};")


def sink(epilogue: Epilogue | None) -> Sink:
    """Return where the results of a kernel over tiles go; its text has `Out`, and `at` with the places in the batch."""
    if epilogue is None:
        return _PLAIN
    read, written = epilogue.inputs, epilogue.outputs
    given = [f"{{in{i} + at[{2 + i}], across.row[{i}], across.column[{i}]}}" for i in range(len(read))]
    kinds = zip(read, epilogue.kinds, strict=True)
    fields = [f"{kind}<{emit.MEMORY[t]}> in{i};" for i, (t, kind) in enumerate(kinds)]
    computed = _computed(epilogue, "made[w]", [f"x.x{i}[w]" for i in range(len(read))], "y{}[w]")
    loads = [f"in{i}.load(x.x{i}, row, column, left);" for i in range(len(read))]
    puts = [
        *(f"{emit.MEMORY[t]} y{i}[W];" for i, t in enumerate(written)),
        "#pragma unroll",
        f"for (int w = 0; w < W; ++w) {{ {computed} }}",
        *(f"keep<VECTORS>(out{i} + at, left, y{i});" for i in range(len(written))),
    ]
    both = ["if (left <= 0) return; Operands<W> x;", "load(x, row, column, left);", "put<VECTORS>(at, left, x, made);"]
    members = [
        f"template <int W> struct Operands {{ {' '.join(f'{emit.MEMORY[t]} x{i}[W];' for i, t in enumerate(read))} }};",
        _member("int W", "load", "Operands<W>& x, i64 row, i64 column, int left", loads),
        _member("bool VECTORS, int W", "put", f"i64 at, int left, const Operands<W>& x, {_MADE}", puts),
        _member("bool VECTORS, int W", "put", f"i64 at, i64 row, i64 column, int left, {_MADE}", both),
    ]
    declared = _struct(epilogue, fields, members)
    made = f"Epilogue sink{{{', '.join(given + _outputs(epilogue))}}};"
    across = [f"Across<{len(read)}> across"] if read else []
    return Sink(declared, ", ".join(across + _pointers(epilogue)), made, len(read))


def adding_sink(epilogue: Epilogue | None, rank: int) -> Sink:
    """Return where sums go that are found by their place in the whole result, which has so many axes."""
    if epilogue is None:
        return _PLAIN
    read, count = epilogue.inputs, len(epilogue.inputs)
    nest = [f"Nest<{rank}, {count}> nest"] if read else []
    fields = [f"{p};" for p in (*nest, *_pointers(epilogue)[:count])]
    computed = _computed(epilogue, "made[0]", [f"in{i}[place[{i}]]" for i in range(count)], "out{}[at]")
    body = [*([f"i64 place[{count}]; offsets(nest, (u32)at, place);"] if read else []), computed]
    put = _member("bool VECTORS, int W", "put", f"i64 at, i64, i64, int, {_MADE}", body)
    declared = _struct(epilogue, fields, [put])
    given = [*(["nest"] if read else []), *(f"in{i}" for i in range(count)), *_outputs(epilogue)]
    made = f"Epilogue sink{{{', '.join(given)}}};"
    return Sink(declared, ", ".join(nest + _pointers(epilogue)), made, count)


def _struct(epilogue: Epilogue, fields: list[str], members: list[str]) -> str:
    outputs = [f"{emit.MEMORY[t]}* out{i};" for i, t in enumerate(epilogue.outputs)]
    lines = "\n    ".join([" ".join(fields + outputs), *members])
    return f"""\
{emit.function("epilogue", epilogue.program)}

struct Epilogue {{
    {lines}
}};
"""


def _member(template: str, name: str, parameters: str, body: list[str]) -> str:
    lines = "\n        ".join(body)
    return f"""\
template <{template}>
    __device__ __forceinline__ void {name}({parameters}) const {{
        {lines}
    }}"""


def _pointers(epilogue: Epilogue) -> list[str]:
    read = [f"const {emit.MEMORY[t]}* in{i}" for i, t in enumerate(epilogue.inputs)]
    return read + [f"{emit.MEMORY[t]}* out{i}" for i, t in enumerate(epilogue.outputs)]


def _outputs(epilogue: Epilogue) -> list[str]:
    return [f"out{i}" for i in range(len(epilogue.outputs))]


def _computed(epilogue: Epilogue, product: str, operands: list[str], target: str) -> str:
    given = [*operands[: epilogue.product], product, *operands[epilogue.product :]]
    loaded = [emit.from_memory(t, v) for t, v in zip(epilogue.program.inputs, given, strict=True)]
    targets = [target.format(i) for i in range(len(epilogue.outputs))]
    return emit.assigned("epilogue", epilogue.outputs, loaded, targets)

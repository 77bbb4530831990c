"""The kernels: a table of ops, each a function that turns a call into steps of the board."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from opmux.plugin import (
    Accepts,
    CallSpec,
    Code,
    CostTerms,
    Determinism,
    Kernel,
    Layout,
    Prepared,
    Program,
    Promises,
    Reason,
    Rejection,
    Signature,
    ops_with_recipes,
    recipe,
)

from .device import launch

# The numbers of abacus.h, steps.c and recipe.c.
TYPES: Final = {name: i for i, name in enumerate(("bool", "int32", "uint32", "int64", "float32"))}
ELEMENTWISE, SUM, MAX, MATMUL, GATHER, SCATTER, ARGSORT, IOTA, RANDOM_BITS = range(9)
CODES: Final = {code: i for i, code in enumerate(Code)}
MODES: Final = {"clip": 0, "wrap": 1, "fill": 2, "drop": 3}
REDUCTIONS: Final = {"set": 0, "add": 1, "multiply": 2, "min": 3, "max": 4}

ALL: Final = frozenset(TYPES)
NUMBERS: Final = ALL - {"bool"}
INDICES: Final = frozenset({"int32", "int64"})
#: A kernel that declares a dtype has to take it. Shifts of int64 compare as uint64, and sums of uint32 are uint64.
SHIFTS: Final = ("bitwise_left_shift", "bitwise_right_shift")
SIGNED: Final = ALL - {"bool", "uint32"}
Words = list[int]
Steps = Callable[[CallSpec], "list[Words] | Rejection"]


def view(operand: int, like: Signature, axes: Sequence[tuple[int, int]] | None = None, offset: int = 0) -> Words:
    """Return the words of a view: which operand, where in it, its (length, stride) per axis."""
    lengths, strides = (like.shape, like.strides) if axes is None else (zip(*axes, strict=True) if axes else ((), ()))
    return [operand, offset, TYPES[like.dtype.name], len(like.shape if axes is None else axes), *lengths, *strides]


def step(code: int, views: Sequence[Words], params: Sequence[int]) -> Words:
    """Return the words of a step."""
    body = [code, len(views), *(word for words in views for word in words), *params]
    return [len(body) + 1, *body]


def plain(code: int, *params: int, spec: CallSpec) -> list[Words]:
    """Return the one step over the result (operand 0) and all operands of a call."""
    signatures = (*spec.outputs, *spec.arrays)
    return [step(code, [view(i, s) for i, s in enumerate(signatures)], params)]


def encode(program: Program) -> Words:
    """Return a program as the board's interpreter takes it; values that are dead leave their slot to later ones."""
    last = {a: i for i, ins in enumerate(program.instructions) for a in ins.args} | {program.result: math.inf}
    slots = {i: i for i in range(len(program.inputs))}
    free, count, words = [], len(slots), Words()
    for i, ins in enumerate(program.instructions):
        args = [slots[a] for a in ins.args]
        target = free.pop() if free else count
        count += target == count
        slots[len(program.inputs) + i] = target
        # Only now: an instruction must not write over what it reads, whose elements may have another width.
        free += {slots[a] for a in ins.args if last[a] == i}
        source = TYPES[program.type_of(ins.args[-1])] if args else 0
        body = [CODES[ins.code], TYPES[ins.type], source, target, *args, *(0,) * (3 - len(args))]
        # Bit patterns are unsigned, words are signed.
        body += [bits - (bits >> 63 << 64) for bits in ins.immediates]
        words += [len(body) + 1, *body]
    return [count, slots[program.result], len(program.instructions), *words]


def elementwise(spec: CallSpec) -> list[Words] | Rejection:
    """Any op that has a recipe over the types of the board."""
    target = spec.attributes.get("dtype")
    program = recipe(spec.op, tuple(s.dtype.name for s in spec.arrays), None if target is None else target.name)
    if program is None or not {*program.inputs, *(ins.type for ins in program.instructions)} <= ALL:
        return Rejection(Reason.DTYPE, f"the board has no {spec.op} of these dtypes")
    return plain(ELEMENTWISE, *encode(program), spec=spec)


def move(to: Words, source: Words) -> Words:
    """Copy between views of one shape: a program without instructions."""
    return step(ELEMENTWISE, [to, source], [1, 0, 0])


def copy(spec: CallSpec) -> list[Words]:
    return [move(view(0, spec.outputs[0]), view(1, spec.arrays[0]))]


def spread(spec: CallSpec, operand: int) -> Words:
    """Copy a number to every element of the result."""
    out = spec.outputs[0]
    return move(view(0, out), view(operand, spec.arrays[operand - 1], [(n, 0) for n in out.shape]))


def pad(spec: CallSpec) -> list[Words]:
    out, x = spec.outputs[0], spec.arrays[0]
    offset = sum(low * s for (low, _), s in zip(spec.attributes["pad_width"], out.strides, strict=True))
    inner = view(0, out, list(zip(x.shape, out.strides, strict=True)), offset)
    return [spread(spec, 2), move(inner, view(1, x))]


def concat(spec: CallSpec) -> Iterator[Words]:
    out, axis, offset = spec.outputs[0], spec.attributes["axis"], 0
    for i, x in enumerate(spec.arrays, 1):
        yield move(view(0, out, list(zip(x.shape, out.strides, strict=True)), offset), view(i, x))
        offset += x.shape[axis] * out.strides[axis]


def reduction(code: int) -> Steps:
    def steps(spec: CallSpec) -> list[Words]:
        x, axes = spec.arrays[0], spec.attributes["axis"]
        order = sorted(range(len(x.shape)), key=lambda a: a in axes)  # those that are reduced come last
        terms = view(1, x, [(x.shape[a], x.strides[a]) for a in order])
        return [step(code, [view(0, spec.outputs[0]), terms], [math.prod(x.shape[a] for a in axes)])]

    return steps


def around(x: Signature, axis: int) -> tuple[int, int, int]:
    """Return how many elements lie before an axis, in it, and after it."""
    return math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])


def gather(spec: CallSpec) -> list[Words]:
    return plain(GATHER, *around(spec.arrays[0], spec.attributes["axis"]), MODES[spec.attributes["mode"]], spec=spec)


def scatter(spec: CallSpec) -> list[Words]:
    out, (x, indices, updates) = spec.outputs[0], spec.arrays
    how = MODES[spec.attributes["mode"]], REDUCTIONS[spec.attributes["reduction"]]
    views = [view(0, out), view(2, indices), view(3, updates)]
    return [*copy(spec), step(SCATTER, views, [*around(x, spec.attributes["axis"]), *how])]


def argsort(spec: CallSpec) -> list[Words]:
    axis, descending = spec.attributes["axis"], spec.attributes["descending"]
    return plain(ARGSORT, *around(spec.arrays[0], axis), int(descending), spec=spec)


def iota(spec: CallSpec) -> list[Words]:
    return plain(IOTA, *around(spec.outputs[0], spec.attributes["axis"])[1:], spec=spec)


def kernel(op: str, steps: Steps, dtypes: Sequence[frozenset[str]], layout: Layout = Layout.STRIDED) -> Kernel:
    """Return a kernel that launches the steps of a call."""

    def prepare(spec: CallSpec) -> Prepared | Rejection:
        if not {s.dtype.name for s in (*spec.outputs, *spec.arrays)} <= ALL:
            return Rejection(Reason.DTYPE, f"the board has {', '.join(TYPES)}")
        made = steps(spec)
        if isinstance(made, Rejection):
            return made
        words = array("q", [word for words in made for word in words]).tobytes()
        return Prepared(lambda outs, ins, workspace, queue: launch(queue, (*outs, *ins), words))

    promises = Promises(order="canonical", determinism=Determinism.CANONICAL)
    return Kernel(op, op, "abacus", prepare, Accepts(tuple(dtypes), layout=layout), promises, CostTerms())


KERNELS: Final = (
    *(kernel(op, elementwise, [ALL]) for op in ops_with_recipes() if op not in ("bitcast", *SHIFTS)),
    *(kernel(op, elementwise, [ALL - {"int64"}]) for op in SHIFTS),
    kernel("copy", copy, [ALL]),
    kernel("bitcast", elementwise, [NUMBERS]),
    kernel("full", lambda spec: [spread(spec, 1)], [ALL]),
    kernel("pad", pad, [ALL]),
    kernel("concat", lambda spec: list(concat(spec)), [ALL]),
    kernel("sum", reduction(SUM), [SIGNED]),
    kernel("max", reduction(MAX), [NUMBERS]),
    kernel("matmul", lambda spec: plain(MATMUL, spec=spec), [NUMBERS]),
    kernel("gather", gather, [ALL, INDICES], Layout.CONTIGUOUS),
    kernel("scatter", scatter, [ALL, INDICES, ALL], Layout.CONTIGUOUS),
    kernel("argsort", argsort, [NUMBERS], Layout.CONTIGUOUS),
    kernel("iota", iota, []),
    kernel("random_bits", lambda spec: plain(RANDOM_BITS, spec=spec), [frozenset({"uint32"})], Layout.CONTIGUOUS),
)

"""Random programs of 5 to 40 ops with views between them, op by op and compiled, held to the opset node by node.

The contract of a program is that of its nodes: each result is right for the inputs that the node really got. Op by op
every value is read back, and every node is held to the oracle on what was read.

Of a compiled program only some values come out, for what stays inside is what a region may keep in registers. The
others are still known bit by bit: a node may stay inside only where its contract gives every bit (movement, integers,
correctly rounded arithmetic). Every node whose contract leaves a choice comes out, and so does what goes into the few
ops that tell one NaN from another. So what a region gives is held to the same bounds as a single op's result, with no
tolerance for what happened on the way: a product and a sum that were contracted, or a float16 that was not rounded in
between, show as wrong bits.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from ....core.arrays.array import Array
from ....core.arrays.metadata import permute_dims
from ....core.dtypes import REAL, DType, dtype
from ....core.errors import ConformanceError, DeviceLostError, OpmuxError, UnsupportedError
from ....core.graphs.compile import compile as compiled
from ....core.op import OPS, Op
from ....opset.accuracy import Accumulated, Composed, Ulp
from ....opset.declare import declaration_of
from ...oracle.compare import Where, check_bits, check_layout
from ...oracle.expect import expect
from ...oracle.formats import FORMATS, Host
from ...target import Findings, RefusedError, Target, Watch, dense
from ..case import ANY, Check, DeviceContext
from .falsify import Choices, Falsified, falsify, seed_of
from .node_rows import INPUTS, NODE, call, candidates, drawn, inputs, sees_bits
from .nodes import Draft, Node, Program, View, simpler
from .strategies import program as as_python

#: Seconds for which what fails is made smaller: such cases are few, and shrinking makes them readable.
SHRINKING: Final = 10.0
#: Cases of each way to run, and programs in each; the same in the quick run.
CASES: Final = 2
PROGRAMS: Final = 30
QUICK_PROGRAMS: Final = 3
#: The fewest and the most nodes that are drawn.
NODES: Final = (5, 40)
#: Elements that an input may have; fewer where the oracle works number by number.
MOST: Final = 150
MOST_SLOW: Final = 12
#: Fewer ops than this make no program worth the name.
FEWEST_OPS: Final = 5


def family(t: str, context: DeviceContext) -> Iterator[tuple[str, str, Check]]:
    """Programs on one dtype."""
    if t == ANY:
        return
    count = QUICK_PROGRAMS if context.quick else PROGRAMS
    for i in range(CASES):
        yield "programs", f"eager-{i:02}", _check(dtype(t), count, seed_of("eager", t, i, context.seed), Eager)
        yield "programs", f"compiled-{i:02}", _check(dtype(t), count, seed_of("compiled", t, i, context.seed), Compiled)


def _check(t: DType, programs: int, seed: int, way: type[Eager]) -> Check:
    def check(target: Target, findings: Findings) -> None:
        pool = served(target, t)
        most = MOST_SLOW if t.name == "float64" else MOST

        def make(c: Choices) -> Program:
            return drawn(c, t, most, pool, NODES)

        trial = way(target, findings)
        tape = INPUTS + 1 + NODES[1] * NODE
        found = falsify(make, trial.holds, examples=programs, seed=seed, tape=tape, shrinking=SHRINKING / 2)
        if found is not None:
            found = _reduced(found, trial.holds)
            text = trial.text(found.example, found.error if isinstance(found.error, WrongNodeError) else None)
            culprits = getattr(found.error, "culprits", {})
            raise ConformanceError(
                f"{found.error}\nThe smallest program that fails:\n{text}", **culprits
            ) from found.error

    return check


def _reduced(found: Falsified[Program], holds: Callable[[Program], None]) -> Falsified[Program]:
    """Return a failing program with nodes left out, one after the other, as long as it fails."""
    until = time.monotonic() + SHRINKING / 2
    options = simpler(found.example)
    while time.monotonic() < until:
        option = next(options, None)
        if option is None:
            break
        try:
            holds(option)
        except DeviceLostError:
            raise
        except Exception as error:
            found = Falsified(option, error)
            options = simpler(option)
    return found


class WrongNodeError(ConformanceError):
    """A value of a program is not what it must be.

    Args:
        message: what is wrong.
        number: of the value.
        culprits: of the failure.
    """

    def __init__(self, message: str, number: int, culprits: Mapping[str, Any]) -> None:
        super().__init__(message, **culprits)
        self.number = number


def served(target: Target, t: DType) -> list[tuple[Op, DType]]:
    """Return the ops of programs that a target serves, each with a dtype of its leading operand.

    Raises:
        RefusedError: too few.
    """
    given = inputs(Choices(_MATRICES), t, 6)
    arrays = [x.upload(target.device) for x in given]
    pool = []
    why = "none"
    readable = {x: _is_readable(target, x) for x in {t, *(x for _, x in candidates(t))}}
    for op, x in candidates(t):
        node = call(Draft(Choices(b""), [x.spec for x in given], 64), op, x)
        if node is None:
            continue
        if not (readable[t] and readable[x] and readable.get(node.spec.dtype, True)):
            why = f"a view of {t}, {x} or {node.spec.dtype} cannot be read, for copy does not take it"
            continue
        try:
            target.decide(op, [arrays[i] for i in node.inputs], node.attributes)
        except RefusedError as refusal:
            why = str(refusal)
        else:
            pool.append((op, x))
    if len(pool) < FEWEST_OPS:
        raise RefusedError(f"only {len(pool)} ops that programs on {t} are made of are served; the last refusal: {why}")
    return pool


def _is_readable(target: Target, t: DType) -> bool:
    """Return whether views of a dtype can be read: those that are not contiguous go through the device's copy."""
    view = permute_dims(dense(np.ones((2, 3), t.numpy), target.device), (1, 0))
    try:
        target.decide(OPS["copy"], [view], {})
    except RefusedError:
        return False
    return True


#: Choices by which inputs have two axes.
_MATRICES: Final = bytes([50])


def gives_every_bit(node: Node) -> bool:
    """Return whether there is one right result, NaN's bits aside."""
    if isinstance(node.op, View) or node.op.settled(node.spec.dtype):
        return True
    rule = declaration_of(node.op).accuracy
    return isinstance(rule, Ulp) and node.spec.dtype.kind == REAL and rule.bound(node.spec.dtype.name) == _ROUNDED


#: The bound, in ULP, of what is correctly rounded.
_ROUNDED: Final = 0.5


def _may_overflow(node: Node, operands: Sequence[Host]) -> bool:
    """Return whether a sum may overflow in one order of its terms and not in another: the contract leaves that open."""
    if isinstance(node.op, View) or not isinstance(declaration_of(node.op).accuracy, Accumulated | Composed):
        return False
    if node.spec.dtype.name not in FORMATS or node.op.name == "sigmoid":
        return False
    with np.errstate(all="ignore"):
        wide = [np.abs(x.astype(np.float64)) for x in operands]
    sizes = [float(np.max(x, initial=1.0, where=np.isfinite(x))) for x in wide]
    return math.prod(sizes) * operands[0].size * 2 > FORMATS[node.spec.dtype.name].largest


class Eager:
    """Programs, op by op.

    Args:
        target: what runs them.
        findings: takes in every node that was held.
    """

    def __init__(self, target: Target, findings: Findings) -> None:
        self._target, self._findings = target, findings

    def holds(self, program: Program) -> None:
        """Run a program and hold every node to the oracle."""
        self._held(program)

    def _held(self, program: Program) -> tuple[list[Array], dict[int, Host]]:
        """Return the inputs on the device, and every value that is there and right, by its number."""
        given = [x.upload(self._target.device) for x in program.inputs]
        arrays = dict(enumerate(given))
        with Watch(self._target.backend, "a program"):
            for i, node in enumerate(program.nodes, len(given)):
                if all(k in arrays for k in node.inputs):
                    made = self._run(program, i, [arrays[k] for k in node.inputs])
                    if made is not None:
                        arrays[i] = made
        # Read when everything has been launched, so that a queue is worth its name.
        values: dict[int, Host] = {}
        for i, x in sorted(arrays.items()):
            values[i] = self._read(program, i, x)
            if i >= len(given):
                self._check(program, i, values, values[i])
        return given, values

    def _run(self, program: Program, i: int, operands: list[Array]) -> Array | None:
        """Run one node; None where it is refused as it should be."""
        node = program.nodes[i - len(program.inputs)]
        try:
            return node.run(operands)
        except UnsupportedError as error:
            if isinstance(node.op, View):
                raise _wrong(program, i, error) from error
            try:
                self._target.decide(node.op, operands, node.attributes)
            except RefusedError:
                return None
            raise _wrong(program, i, error) from error
        except DeviceLostError:
            raise
        except OpmuxError as error:
            raise _wrong(program, i, error) from error

    def _read(self, program: Program, i: int, x: Array) -> Host:
        try:
            return np.asarray(x.numpy())
        except DeviceLostError:
            raise
        except OpmuxError as error:
            raise _wrong(program, i, error) from error

    def _check(self, program: Program, i: int, values: Mapping[int, Host], got: Host) -> None:
        """Hold one node to the oracle, on the inputs that it got."""
        node = program.nodes[i - len(program.inputs)]
        operands = tuple(values[k] for k in node.inputs)
        if _may_overflow(node, operands):
            return
        try:
            if isinstance(node.op, View):
                where = Where(node.op.name, node.spec.dtype)
                check_layout(got, node.spec.shape, where)
                check_bits(got, node.op.host(operands[0], node.argument), where)
            else:
                flushes = self._target.device.info.flushes_subnormals
                expect(node.op, operands, node.attributes).on(flushes=flushes)(got)
        except ConformanceError as error:
            raise _wrong(program, i, error) from error
        self._findings.held()

    def text(self, program: Program, wrong: WrongNodeError | None) -> str:
        """Return a program that fails, as Python: what the wrong value needs."""
        last = len(program.inputs) + len(program.nodes) - 1
        return self._python(program, {last if wrong is None else wrong.number}, "print(f({}))")

    def _python(self, program: Program, wanted: set[int], run: str) -> str:
        arrays, function, arguments = program.text(wanted, self._target.device)
        return as_python([*arrays, *function], [run.format(arguments)], self._target.backend)


class Compiled(Eager):
    """Programs through ``ox.compile``, after they have been held op by op."""

    def holds(self, program: Program) -> None:
        """Run a program both ways and hold every node, those that stay inside by what comes out."""
        given, eager = self._held(program)
        first = len(given)
        shown = _shown(program, eager)
        if not shown:
            return
        function = compiled(functools.partial(_replay, program, shown, sorted(i for i in eager if i >= first)))
        # Captured with other values of the same layout: what was kept of them shows.
        others = [
            replace(x, fill=replace(x.fill, seed=x.fill.seed + 1)).upload(self._target.device) for x in program.inputs
        ]
        with Watch(self._target.backend, "a compiled program"):
            function(*others)
            results = function(*given)
        if function.notes():
            raise ConformanceError(f"a program was not compiled, a fault of the suite: {function.notes()[0]}")
        got = {i: self._read(program, i, x) for i, x in zip(shown, results, strict=True)}
        values = {i: eager[i] for i in range(first)}
        for i in sorted(eager):
            if i >= first:
                values[i] = self._value(program, i, values, eager, got.get(i))

    def _value(
        self, program: Program, i: int, values: Mapping[int, Host], eager: Mapping[int, Host], got: Host | None
    ) -> Host:
        """Return the value that a node had, held to the oracle if it came out, computed if it stayed inside."""
        node = program.nodes[i - len(program.inputs)]
        same = all(_same_bits(values[k], eager[k]) for k in node.inputs)
        if got is not None:
            if not (same and _same_bits(got, eager[i])):
                self._check(program, i, values, got)
            self._findings.held()
            return got
        if same:
            return eager[i]
        made = self._run(program, i, [dense(values[k], self._target.device) for k in node.inputs])
        if made is None:
            raise _wrong(program, i, ConformanceError("it is refused on dense operands, and ran on others"))
        host = self._read(program, i, made)
        self._check(program, i, values, host)
        return host

    def text(self, program: Program, wrong: WrongNodeError | None) -> str:
        """Return a program that fails, as Python: all of it, since a region is what it is by all of its nodes."""
        every = dict.fromkeys(range(len(program.inputs) + len(program.nodes)), np.empty(0))
        return self._python(program, set(_shown(program, every)), "print(ox.compile(f)({}))")


def _replay(program: Program, shown: Sequence[int], present: Sequence[int], *given: Array) -> tuple[Array, ...]:
    """Run the nodes that are not refused, as a function of the inputs."""
    values = dict(enumerate(given))
    for i in present:
        node = program.nodes[i - len(given)]
        values[i] = node.run([values[k] for k in node.inputs])
    return tuple(values[i] for i in shown)


def _shown(program: Program, present: Mapping[int, Host]) -> list[int]:
    """Return the values that must come out of a compiled program: without them others could not be judged."""
    first = len(program.inputs)
    chosen = set()
    for i, node in enumerate(program.nodes, first):
        if i not in present:
            continue
        if not gives_every_bit(node) or program.shown[i - first]:
            chosen.add(i)
        if not isinstance(node.op, View) and sees_bits(node.op):
            chosen.update(k for k in node.inputs if k >= first)
    used = {k for i, node in enumerate(program.nodes, first) if i in present for k in node.inputs}
    return sorted(chosen | {i for i in present if i >= first and i not in used})


def _same_bits(a: Host, b: Host) -> bool:
    return a is b or (a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())


def _wrong(program: Program, i: int, error: Exception) -> WrongNodeError:
    kind = "" if isinstance(error, ConformanceError) else f"{type(error).__name__}: "
    culprits = getattr(error, "culprits", {})
    return WrongNodeError(f"{program.names()[i]}: {kind}{error}", i, culprits)

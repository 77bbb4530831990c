"""The cases of region compilers: graphs from tables, and drawn ones, on every dtype that they make sense for."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from ....core.arrays.array import Array
from ....core.dtypes import BOOL, DType, dtype
from ....core.errors import ConformanceError
from ...target import Findings, Target, dense
from ..case import Check
from ..drawn.falsify import Choices, seed_of
from ..drawn.node_rows import INPUTS, NODE, candidates, drawn, sees_bits
from ..drawn.nodes import Program
from ..drawn.programs import MOST, MOST_SLOW
from ..layouts import LAYOUTS
from ..values import generator
from . import chains, products, reductions
from .row import Row
from .trial import ONE_BATCH, Given, Trial, same_bits

#: The dtypes that cases of regions are about: that of the leading operand.
DTYPES: Final = ("float32", "float64", "float16", "bfloat16", "int32", "int8", "bool")
#: Cases of drawn graphs, and graphs in each, of so many nodes.
_DRAWN: Final = 6
_GRAPHS: Final = 4
_NODES: Final = (4, 16)


@functools.cache
def rows() -> tuple[Row, ...]:
    """Return every graph of the tables."""
    named = {"chain": chains.rows(), "reduction": reductions.rows(), "product": products.rows()}
    return tuple(replace(row, label=f"{name}-{row.label}") for name, table in named.items() for row in table)


def family(t: str, quick: bool, seed: int) -> Iterator[tuple[str, str, Check]]:
    """Yield kind, label and check of each case about a dtype."""
    for row in rows():
        if t in row.dtypes:
            yield row.kind, row.label, _check(row, dtype(t), seed)
    for i in range(0 if dtype(t).kind == BOOL else _DRAWN):
        yield "property", f"drawn-{i:02}", _drawn(dtype(t), seed_of("regions", t, i, seed), 2 if quick else _GRAPHS)


def _check(row: Row, t: DType, seed: int) -> Check:
    def check(target: Target, findings: Findings) -> None:
        trial = Trial(target, findings, t)
        trial.compilers()
        for i, function in enumerate((*row.functions, row.functions[0])):
            # The first one once more with other values: what was kept of the ones before shows.
            again = i == len(row.functions)
            trial.run(function, _given(row, t, target, (seed, row.label, again)))
        if trial.kept and row.batched:
            _in_parts(row, t, trial, (seed, row.label, True))
        trial.conclude()

    return check


def _given(row: Row, t: DType, target: Target, seed: object, most: int | None = None) -> list[Given]:
    made = []
    for i, x in enumerate(row.operands):
        host = x.host(t, seed, i)
        part = host[:most] if i in row.batched else host
        made.append(Given(part, LAYOUTS.get(x.layout, dense)(part, target.device)))
    return made


def _in_parts(row: Row, t: DType, trial: Trial, seed: object) -> None:
    """Hold regions that promise the bits of any batch to what they give for the first rows alone: that shows it."""
    whole, trial.kept = trial.kept, {}
    rows = row.operands[0].shape[0] // 2
    trial.run(row.functions[0], _given(row, t, trial.target, seed, rows))
    for key, parts in trial.kept.items():
        both = zip(whole[key], parts, strict=True) if key in whole else ()
        alike = [(x[: len(y)], y) for x, y in both if x.shape[1:] == y.shape[1:] and (0,) < y.shape[:1] < x.shape[:1]]
        if not alike:
            continue
        name, held = key[0], trial.findings
        try:
            same_bits([x for x, _ in alike], [y for _, y in alike], f"where {rows} rows are all of the batch")
        except ConformanceError as error:
            raise ConformanceError(f"{name}: {error}", **error.culprits) from error
        if name.endswith(ONE_BATCH):
            held.held_as(name.removesuffix(ONE_BATCH), held.errors[name], held.unit)


def _drawn(t: DType, seed: int, graphs: int) -> Check:
    """Random graphs without ops that tell NaNs apart: the opset leaves their bits open."""
    most = MOST_SLOW if t.name == "float64" else MOST

    def check(target: Target, findings: Findings) -> None:
        trial = Trial(target, findings, t)
        trial.compilers()
        pool = [(op, x) for op, x in candidates(t) if not sees_bits(op)]
        rng = generator("regions", t.name, seed)
        for _ in range(graphs):
            tape = rng.bytes(INPUTS + 1 + _NODES[1] * NODE)
            program = drawn(Choices(tape), t, most, pool, _NODES)
            given = [Given(x.host(), x.upload(target.device)) for x in program.inputs]
            trial.run(functools.partial(_results, program), given)
        trial.conclude()

    return check


def _results(program: Program, *given: Array) -> tuple[Array, ...]:
    """Return the values of a program that are to be shown, and those that nothing else reads."""
    values, first = list(given), len(given)
    for node in program.nodes:
        values.append(node.run([values[i] for i in node.inputs]))
    used = {i for node in program.nodes for i in node.inputs}
    return tuple(x for i, x in enumerate(values[first:], first) if program.shown[i - first] or i not in used)

"""The CUDA C++ of kernels over rows: passes over what a thread has of a row, with reductions between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ....plugin import View, dtypes
from .. import emit
from ..reductions import WARP
from .row_program import Pass, Rows

ENTRY: Final = "reduce_whole_rows"
#: Values of warps, over all turns, of which a row has at most so many.
MOST_VALUES: Final = 1024
#: Base instructions of a kernel, all elements of a thread counted, for which its compilation takes seconds.
MOST_UNROLLED: Final = 20_000
#: Bytes of registers for what a thread has loaded and not yet used: beside values that it holds, and alone.
_BATCH_BYTES: Final = 64
_BATCH_BYTES_ALONE: Final = 256
#: What finds an operand's elements along a row, where no parameter is needed for it; none for one element per row, and
#: for a value that is an argument itself.
NONE, VALUE, VECTOR, UNIT = "", "value", "vector", "side by side"
_NARROW: Final = (NONE, VALUE)
#: What finds elements at equal distances.
LINE: Final = "reduction::Line"


@dataclass(frozen=True, slots=True)
class Layout:
    """How rows are spread over threads.

    Attributes:
        side_by_side: whether a thread's lanes are neighbours.
        width: lanes of a thread.
        team: threads that share a canonical block.
        steps: how often a thread takes one element for each of its lanes.
        teams, warps: of a warp and of a block, that share a row; powers of two, which a kernel is told at its launch.
        turns: how often they go on, which it is told too; 0 where a row is held in registers.
        threads: of a block.
        blocks: that a multiprocessor holds at least, which limits registers.
    """

    side_by_side: bool
    width: int
    team: int
    steps: int
    teams: int
    warps: int
    turns: int
    threads: int
    blocks: int

    @property
    def rows(self) -> int:
        """Rows of a block."""
        return self.threads // WARP // self.warps * (WARP // self.team // self.teams)

    @property
    def length(self) -> int:
        """Elements of a row of which every thread has as many as it can have."""
        return self.width * self.team * self.steps * self.teams * self.warps * max(self.turns, 1)

    def words(self) -> tuple[int, int, int]:
        """Return the members of ``Spread`` of rows.cuh."""
        return self.teams.bit_length() - 1, self.warps.bit_length() - 1, max(self.turns, 1)


@dataclass(frozen=True, slots=True)
class Variant:
    """Everything that the code of a kernel over rows depends on.

    Attributes:
        rows: what is computed.
        layout: how rows are spread over threads.
        even: whether every thread with a row has all of its elements.
        kept_rank: dimensions of the nest of rows.
        walks: for each operand what finds its elements along a row.
    """

    rows: Rows
    layout: Layout
    even: bool
    kept_rank: int
    walks: tuple[str, ...]


def source(variant: Variant) -> str:
    """Return the kernel's CUDA C++, without what all kernels share."""
    return _Text(variant).whole()


class Text:
    """What the texts of kernels over rows share, however the elements of a row lie.

    Args:
        rows: what is computed.
        holds: whether registers hold what lives from pass to pass.

    Attributes:
        held: arrays that live from pass to pass, and the pass that fills them.
        functions: what passes compute, as C++.
    """

    def __init__(self, rows: Rows, holds: bool) -> None:
        self.rows, self.holds = rows, holds
        self.types = rows.types()
        self.operand = {view: o for o, view in enumerate(rows.operands)}
        self.reduced = {number: r for r, number in enumerate(rows.reduced)}
        held = enumerate(rows.held() if holds else ())
        self.held = {view: (f"held{i}", first) for i, (view, first, _) in held}
        self.functions: list[str] = []

    def in_turn(self) -> list[str]:
        """Return all passes, reductions of one term, and what is stored once per row."""
        rows, body = self.rows, list[str]()
        for k in range(len(rows.passes) + 1):
            for before, single in rows.singles:
                if before == k:
                    body += self.single(single)
            if k < len(rows.passes):
                body += self.a_pass(k, rows.passes[k])
        return [*body, *([] if rows.last is None else self.last(rows.last))]

    def a_pass(self, k: int, each: Pass) -> list[str]:
        """Return a pass and the reductions after it."""
        raise NotImplementedError

    def single(self, single: Pass) -> list[str]:
        """Return the reduction of the one term of a row."""
        raise NotImplementedError

    def last(self, last: Pass) -> list[str]:
        """Return what is stored once per row."""
        raise NotImplementedError

    def folds(self) -> str:
        """Return the structs of all reductions."""
        return "".join(fold.source_text(f"Fold{r}") for r, fold in enumerate(self.rows.folds))

    def over_rows(self) -> list[int]:
        """Return the numbers of the reductions that have more than one term."""
        return sorted({r for each in self.rows.passes for r in each.terms})

    def type_of(self, view: View) -> str:
        """Return the type of an array of values: as in memory for operands, as in registers for what was computed."""
        return (emit.MEMORY if view in self.operand else emit.REGISTER)[self.types[view]]

    def result_type(self, r: int) -> str:
        """Return the register type of what a reduction makes."""
        return emit.REGISTER[self.rows.folds[r].result]

    def finished(self, r: int, value: str) -> str:
        """Return the register value of what a reduction makes."""
        return emit.from_memory(self.rows.folds[r].result, f"Fold{r}::finish({value})")

    def combined(self, r: int, lane: str, made: str, index: str) -> str:
        """Return a lane with one more term."""
        term = f"Fold{r}::term({emit.to_memory(self.rows.folds[r].source, made)}, {index})"
        return f"Fold{r}::combine({lane}, {term})"

    def batch(self, loads: Sequence[View], width: int, steps: int) -> int:
        """Return how many steps of these operands a thread loads at once, of so many that each are so wide."""
        each = sum(max(dtypes.dtype(self.types[v]).itemsize, 4) for v in loads) * width
        budget = _BATCH_BYTES_ALONE if self.holds and not self.held else _BATCH_BYTES
        instructions = self.rows.instructions() * width
        while steps > 1 and (steps * each > budget or steps * instructions > MOST_UNROLLED):
            steps //= 2
        return steps

    def call(self, name: str, each: Pass, given: Sequence[str]) -> tuple[list[str], list[str]]:
        """Define what a pass computes; return what comes before its results for one element, and those."""
        if not each.program.instructions:
            return [], [given[i] for i in each.program.results]
        self.functions.append(emit.function(name, each.program))
        call = f"{name}({', '.join(given)})"
        if not each.program.more:
            return [], [call]
        return [f"const auto made = {call};"], [f"made.r{i}" for i in range(len(each.program.results))]


class _Text(Text):
    def __init__(self, variant: Variant) -> None:
        super().__init__(variant.rows, not variant.layout.turns)
        self.variant, self.layout = variant, variant.layout

    def whole(self) -> str:
        layout = self.layout
        place = f"rows::{'SideBySide' if layout.side_by_side else 'Apart'}<{layout.width}, {layout.team}>"
        totals = MOST_VALUES + MOST_VALUES // WARP if layout.turns else layout.threads // WARP
        body = [
            *(f"__shared__ Fold{r}::Value totals{r}[{totals}];" for r in self.over_rows()),
            *(f"{self.type_of(v)} {name}[STEPS][WIDTH];" for v, (name, _) in self.held.items()),
            *self._rows_of_operands(),
            *self.in_turn(),
        ]
        text = "\n".join(f"    {line}" for block in body for line in block.split("\n"))
        return f"""\
{self.folds()}
constexpr int WIDTH = {layout.width}, STEPS = {layout.steps}, THREADS = {layout.threads};
typedef {place} Place;

{chr(10).join(self.functions)}

extern "C" __global__ void __launch_bounds__(THREADS, {layout.blocks}) {ENTRY}(
    {", ".join(self._parameters())}
) {{
    const rows::Here<Place, THREADS> here(count, n, spread);
    const u64 start = (u64)here.row * n;
{text}
}}
OPMUX_ENTRY({ENTRY})
"""

    def _parameters(self) -> list[str]:
        rows, variant = self.rows, self.variant
        nest = f"Nest<{variant.kept_rank}, {len(rows.operands)}> kept"
        walks = [f"{t} walk{o}" for o, t in enumerate(variant.walks) if t not in (*_NARROW, VECTOR, UNIT)]
        read = [
            f"{emit.MEMORY[t]} in{o}" if walk == VALUE else f"const {emit.MEMORY[t]}* in{o}"
            for o, (t, walk) in enumerate(zip(rows.operand_types, variant.walks, strict=True))
        ]
        written = [f"{emit.MEMORY[t]}* out{i}" for i, t in enumerate(rows.output_types)]
        return ["u32 count", "u32 n", "rows::Spread spread", nest, *walks, *read, *written]

    def _rows_of_operands(self) -> list[str]:
        lines = [f"i64 at[{len(self.rows.operands)}];", "offsets(kept, here.inside ? here.row : 0, at);"]
        for o, dtype in enumerate(self.rows.operand_types):
            walk = self.variant.walks[o]
            if walk in _NARROW:
                loaded = emit.from_memory(dtype, f"in{o}" if walk == VALUE else f"in{o}[at[{o}]]")
                lines.append(f"const {emit.REGISTER[dtype]} a{o} = {loaded};")
            else:
                lines.append(f"const {emit.MEMORY[dtype]}* const row{o} = in{o} + at[{o}];")
        return lines

    def _value(self, view: View) -> str:
        """The register value of what a pass is given, for one element."""
        if view.value in self.reduced:
            return f"r{self.reduced[view.value]}"
        held = self.held.get(view)
        if view not in self.operand:
            return f"{self.held[view][0]}[b + s][v]"
        if self.variant.walks[self.operand[view]] in _NARROW:
            return f"a{self.operand[view]}"
        loaded = f"{held[0]}[b + s][v]" if held else f"x{self.operand[view]}[s][v]"
        return emit.from_memory(self.types[view], loaded)

    def a_pass(self, k: int, each: Pass) -> list[str]:
        variant, layout = self.variant, self.layout
        element, made = self.call(f"pass{k}", each, [self._value(v) for v in each.given])
        results = iter(made)
        new = [v for v in each.given if v in self.operand and variant.walks[self.operand[v]] not in _NARROW]
        ahead = [v for v in new if v in self.held and self.held[v][1] == k]
        batch_loads = [v for v in new if v not in self.held]
        batch = self.batch(batch_loads, layout.width, layout.steps)
        after: list[str] = []
        for r in each.terms:
            lanes = f"lanes{r}[v]"
            combined = self.combined(r, lanes, next(results), "first + i + Place::lane(v)")
            element.append(f"{lanes} = {combined};")
            if not variant.even:  # by lane, not by vector: of those the compiler made branches
                element[-1] = f"{lanes} = i + Place::lane(v) < left ? {combined} : {lanes};"
        for i in each.stored:
            value = emit.to_memory(self.rows.output_types[i], next(results))
            if layout.side_by_side:
                element.append(f"y{i}[v] = {value};")
                after.append(f"if ({self._inside()}) store<WIDTH>(out{i} + start + first, i, y{i});")
            else:
                to = f"(out{i} + start + first)[i + Place::lane(v)]"
                element.append(f"if ({self._inside()}) {to} = {value};")
        element += [f"{self.held[v][0]}[b + s][v] = {next(results)};" for v in each.kept]
        before = [f"{emit.MEMORY[self.rows.output_types[i]]} y{i}[WIDTH];" for i in each.stored]
        inner = [
            "const int i = (b + s) * Place::LANES;",
            *(before if layout.side_by_side else []),
            *loop("int v = 0; v < WIDTH; ++v", element),
            *after,
        ]
        steps = [
            *(f"{self.type_of(v)} x{self.operand[v]}[{batch}][WIDTH];" for v in batch_loads),
            *self._loads(batch_loads, batch, "x{}[s]"),
            *loop(f"int s = 0; s < {batch}; ++s", inner),
        ]
        walked = loop(f"int b = 0; b < STEPS; b += {batch}", steps, not layout.turns)
        if variant.even and each.stored:
            walked = block(walked, "if (here.inside) ")
        elif layout.turns and not variant.even:
            walked = block(walked, "if (left > 0) ")
        turn = [
            *(f"Fold{r}::Value lanes{r}[WIDTH];\nreduction::clear<Fold{r}>(lanes{r});" for r in each.terms),
            "const u32 first = here.first(turn);",
            "const int left = (int)(here.n - first);",
            *self._loads_ahead(ahead),
            *walked,
            *(f"value{r} = here.template leave<Fold{r}>(lanes{r}, totals{r}, turn);" for r in each.terms),
        ]
        values = [f"Fold{r}::Value value{r};" for r in each.terms]
        if layout.turns:
            lines = [*values, *loop("u32 turn = 0; turn < spread.turns; ++turn", turn, False)]
        else:
            lines = [*values, *block(["constexpr u32 turn = 0;", *turn])]
        if each.terms:
            lines.append("here.meet();")
        most = MOST_VALUES if layout.turns else WARP
        taken = (f"here.template take<Fold{r}, {most}>(value{r}, totals{r})" for r in each.terms)
        return [*lines, *(self._reduced(r, value) for r, value in zip(each.terms, taken, strict=True))]

    def _inside(self) -> str:
        """Return whether a row has an element; vectors are within it whole, or not at all."""
        if self.variant.even:
            return "true"
        return "i < left" if self.layout.side_by_side else "i + Place::lane(v) < left"

    def _reduced(self, r: int, value: str) -> str:
        return f"const {self.result_type(r)} r{r} = {self.finished(r, value)};"

    def _loads(self, views: Sequence[View], count: int | str, to: str) -> list[str]:
        if not views:
            return []
        lines = []
        for view in views:
            o = self.operand[view]
            target = to.format(o)
            walk, j = self.variant.walks[o], "i + Place::lane(v)"
            if walk == VECTOR:
                lines.append(f"rows::load({target}, row{o} + first, i, {self._inside()});")
                continue
            one = f"(row{o} + first)[{j}]" if walk == UNIT else f"row{o}[walk{o}.at(first + {j})]"
            inside = self._inside()
            value = f"{inside} ? {one} : ({self.type_of(view)})0"
            lines += loop("int v = 0; v < WIDTH; ++v", [f"{target}[v] = {one if inside == 'true' else value};"])
        return loop(f"int s = 0; s < {count}; ++s", ["const int i = (b + s) * Place::LANES;", *lines])

    def _loads_ahead(self, views: Sequence[View]) -> list[str]:
        if not views:
            return []
        lines = [line for v in views for line in self._loads([v], "STEPS", f"{self.held[v][0]}[s]")]
        return block(["constexpr int b = 0;", *lines])

    def single(self, single: Pass) -> list[str]:
        (r,) = single.terms
        _, (made,) = self.call(f"single{r}", single, [self._value(v) for v in single.given])
        return [self._reduced(r, self.combined(r, f"Fold{r}::identity()", made, "0"))]

    def last(self, last: Pass) -> list[str]:
        before, made = self.call("last", last, [self._value(v) for v in last.given])
        stores = (
            f"out{i}[here.row] = {emit.to_memory(self.rows.output_types[i], value)};"
            for i, value in zip(last.stored, made, strict=True)
        )
        return block([*before, *stores], "if (here.leads()) ")


def loop(head: str, body: Sequence[str], unrolled: bool = True) -> list[str]:
    """Return a loop."""
    return [f"#pragma unroll{'' if unrolled else ' 1'}", *block(body, f"for ({head}) ")]


def block(body: Sequence[str], head: str = "") -> list[str]:
    """Return statements in braces."""
    inner = "\n".join(body).replace("\n", "\n    ")
    return [f"{head}{{\n    {inner}\n}}"]

"""The CUDA C++ of kernels over columns: rows whose neighbours, not whose elements, lie side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ....plugin import View
from .. import emit
from ..reductions import WARP
from .row_program import Pass, Rows
from .row_source import LINE, Text, block, loop

ENTRY: Final = "reduce_whole_columns"
#: Canonical blocks of a column that is read again; each leaves a value in shared memory.
MOST_TURNS: Final = 64
#: What an operand has for the columns of a thread: an element of each side by side, one for all of them, or a value for
#: all columns, which is an argument itself.
SIDE_BY_SIDE, SAME, VALUE = "load", "repeat", "value"


@dataclass(frozen=True, slots=True)
class Way:
    """How an operand or a result lies.

    Attributes:
        across: over the columns of a thread.
        along: the C++ type that finds its elements along a column; none where it has one per column.
    """

    across: str
    along: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """How columns are spread over threads.

    Attributes:
        width: neighbouring columns of a thread.
        across: threads of a warp that have different columns.
        warps: that share columns.
        lanes: of a canonical block that have terms.
        steps: terms of a block that a thread has.
        turns: blocks of a column that is held in registers; 0 where it is read again.
        threads: of a block.
        blocks: that a multiprocessor holds at least, which limits registers.
    """

    width: int
    across: int
    warps: int
    lanes: int
    steps: int
    turns: int
    threads: int
    blocks: int

    @property
    def down(self) -> int:
        """Threads that share a column."""
        return WARP // self.across * self.warps

    @property
    def columns(self) -> int:
        """Columns of a block."""
        return self.threads // WARP // self.warps * self.across * self.width

    def shared_bytes(self, value: int) -> int:
        """Return the bytes of shared memory for values of so many bytes in all reductions."""
        parts = 2 * self.threads // WARP * self.across * self.width
        return value * (parts + (self.turns or MOST_TURNS) * self.columns) if self.warps > 1 else 0


@dataclass(frozen=True, slots=True)
class Variant:
    """Everything that the code of a kernel over columns depends on.

    Attributes:
        rows: what is computed; its rows are the columns.
        layout: how columns are spread over threads.
        even: whether every thread has all of its terms.
        kept_rank: dimensions of the nest of columns.
        operands: how they lie.
        results: how results that have elements along a column lie, by number.
    """

    rows: Rows
    layout: Layout
    even: bool
    kept_rank: int
    operands: tuple[Way, ...]
    results: tuple[tuple[int, Way], ...]


def source(variant: Variant) -> str:
    """Return the kernel's CUDA C++, without what all kernels share."""
    return _Text(variant).whole()


class _Text(Text):
    def __init__(self, variant: Variant) -> None:
        super().__init__(variant.rows, variant.layout.turns > 0)
        self.variant, self.layout = variant, variant.layout
        self.results = dict(variant.results)

    def whole(self) -> str:
        layout = self.layout
        shape = f"{layout.width}, {layout.across}, {layout.warps}, {layout.lanes}"
        shared = f"Place, THREADS, {layout.turns or MOST_TURNS}"
        body = [
            *(f"__shared__ columns::Shared<Fold{r}::Value, {shared}> shared{r};" for r in self._shared()),
            *(f"{self.type_of(v)} {name}[TURNS * STEPS][WIDTH];" for v, (name, _) in self.held.items()),
            *self._places(),
            *self.in_turn(),
        ]
        text = "\n".join(f"    {line}" for each in body for line in each.split("\n"))
        turns = "" if layout.turns else "const u32 turns = n ? (n - 1) / reduction::BLOCK + 1 : 1;"
        return f"""\
{self.folds()}
constexpr int WIDTH = {layout.width}, STEPS = {layout.steps}, THREADS = {layout.threads}, TURNS = {layout.turns};
typedef columns::Place<{shape}> Place;

{chr(10).join(self.functions)}

extern "C" __global__ void __launch_bounds__(THREADS, {layout.blocks}) {ENTRY}(
    {", ".join(self._parameters())}
) {{
    const columns::Here<Place, THREADS> here(count);
    {turns}
{text}
}}
OPMUX_ENTRY({ENTRY})
"""

    def _shared(self) -> list[int]:
        """Return the reductions whose values go through shared memory."""
        return self.over_rows() if self.layout.warps > 1 else []

    def _parameters(self) -> list[str]:
        rows, variant = self.rows, self.variant
        walks = [f"{way.along} walk{o}" for o, way in enumerate(variant.operands) if way.along]
        walks += [f"{way.along} step{i}" for i, way in variant.results]
        read = [
            f"{emit.MEMORY[t]} in{o}" if way.across == VALUE else f"const {emit.MEMORY[t]}* in{o}"
            for o, (t, way) in enumerate(zip(rows.operand_types, variant.operands, strict=True))
        ]
        written = [f"{emit.MEMORY[t]}* out{i}" for i, t in enumerate(rows.output_types)]
        nest = f"Nest<{variant.kept_rank}, {len(variant.operands) + len(variant.results)}> kept"
        return ["u32 count", "u32 n", nest, *walks, *read, *written]

    def _places(self) -> list[str]:
        """Find where a thread's columns begin, and load what there is one element of for each."""
        variant, types = self.variant, self.rows.operand_types
        lines = [
            f"i64 at[{len(variant.operands) + len(variant.results)}];",
            "offsets(kept, here.column, at);",
        ]
        for o, (way, t) in enumerate(zip(variant.operands, types, strict=True)):
            if way.across == VALUE:
                lines.append(f"const {emit.REGISTER[t]} a{o} = {emit.from_memory(t, f'in{o}')};")
                continue
            lines.append(f"const {emit.MEMORY[t]}* const row{o} = in{o} + at[{o}];")
            if not way.along:
                lines += [f"{emit.MEMORY[t]} a{o}[WIDTH];", f"columns::{way.across}(a{o}, row{o}, true);"]
        for k, (i, _) in enumerate(variant.results, len(variant.operands)):
            lines.append(f"{emit.MEMORY[self.rows.output_types[i]]}* const target{i} = out{i} + at[{k}];")
        return lines

    def _value(self, view: View) -> str:
        """The register value of what a pass is given, for one element."""
        if view.value in self.reduced:
            return f"r{self.reduced[view.value]}[v]"
        name, _ = self.held.get(view, ("", 0))
        held = f"{name}[turn * STEPS + b + s][v]"
        if view not in self.operand:
            return held
        o = self.operand[view]
        way = self.variant.operands[o]
        if way.across == VALUE:
            return f"a{o}"
        loaded = held if name else f"x{o}[s][v]" if way.along else f"a{o}[v]"
        return emit.from_memory(self.types[view], loaded)

    def a_pass(self, k: int, each: Pass) -> list[str]:
        variant, layout, types = self.variant, self.layout, self.rows.output_types
        element, made = self.call(f"pass{k}", each, [self._value(v) for v in each.given])
        results = iter(made)
        wide = [v for v in each.given if v in self.operand and variant.operands[self.operand[v]].along]
        ahead = [v for v in wide if v in self.held and self.held[v][1] == k]
        loads = [v for v in wide if v not in self.held]
        batch = self.batch(loads, layout.width, layout.steps)
        for r in each.terms:
            lane = f"lanes{r}[(b + s) % Place::OWN][v]"
            combined = self.combined(r, lane, next(results), "first + i")
            element.append(f"{lane} = whole || i < left ? {combined} : {lane};")
        element += [f"y{i}[v] = {emit.to_memory(types[i], next(results))};" for i in each.stored]
        element += [f"{self.held[v][0]}[turn * STEPS + b + s][v] = {next(results)};" for v in each.kept]
        inner = [
            "const int i = (b + s) * Place::DOWN;",
            *(f"{emit.MEMORY[types[i]]} y{i}[WIDTH];" for i in each.stored),
            *loop("int v = 0; v < WIDTH; ++v", element),
        ]
        begin = []
        for i in each.stored:
            to, more, advance = self._walked(f"target{i}", f"step{i}", self.results[i].along, f"to{i}")
            begin += to
            inner += [f"if (whole || i < left) store<WIDTH>({more}, 0, y{i});", *advance]
        steps = [
            *(f"{self.type_of(v)} x{self.operand[v]}[{batch}][WIDTH];" for v in loads),
            *self._loads(loads, batch, "x{}[s]"),
            *begin,
            *loop(f"int s = 0; s < {batch}; ++s", inner),
        ]
        walked = loop(f"int b = 0; b < STEPS; b += {batch}", steps, layout.turns > 0)
        turn = [
            "const u32 first = here.first(turn);",
            "const int left = (int)(n - first);",
            *(f"Fold{r}::Value lanes{r}[Place::OWN][WIDTH];" for r in each.terms),
            *(line for r in each.terms for line in loop(
                "int k = 0; k < Place::OWN; ++k", [f"reduction::clear<Fold{r}>(lanes{r}[k]);"])),
            *(block(walked, "if (here.inside) ") if each.stored else walked),
            *(f"here.template leave<Fold{r}>(lanes{r}, value{r}, {self._left(r)}, turn);" for r in each.terms),
        ]  # fmt: skip
        whole = f"constexpr bool whole = {str(variant.even).lower()};"
        return [
            *(f"Fold{r}::Value value{r}[WIDTH];" for r in each.terms),
            *self._loads_ahead(ahead, whole),
            *self._turns([whole, *turn]),
            *(line for r in each.terms for line in self._taken(r)),
        ]

    def _turns(self, body: Sequence[str]) -> list[str]:
        if self.layout.turns == 1:
            return block(["constexpr u32 turn = 0;", *body])
        held = self.layout.turns > 0
        return loop(f"u32 turn = 0; turn < {'TURNS' if held else 'turns'}; ++turn", body, held)

    def _left(self, r: int) -> str:
        return f"&shared{r}" if self.layout.warps > 1 else "(int*)0"

    def _taken(self, r: int) -> list[str]:
        turns = "TURNS" if self.layout.turns else "turns"
        return [
            f"here.template take<Fold{r}>(value{r}, {self._left(r)}, {turns});",
            f"{self.result_type(r)} r{r}[WIDTH];",
            *loop("int v = 0; v < WIDTH; ++v", [f"r{r}[v] = {self.finished(r, f'value{r}[v]')};"]),
        ]

    def _walked(self, start: str, walk: str, along: str, name: str) -> tuple[list[str], str, list[str]]:
        """Return what finds the first element of a batch, what is the address of one, and what goes on to the next."""
        if along != LINE:
            return [], f"{start} + {walk}.at(first + (b + s) * Place::DOWN)", []
        to = f"auto {name} = {start} + {walk}.at(first + b * Place::DOWN);"
        return [to], name, [f"{name} += {walk}.stride * Place::DOWN;"]

    def _loads(self, views: Sequence[View], count: int | str, to: str) -> list[str]:
        begin, lines = list[str](), ["const int i = (b + s) * Place::DOWN;"]
        for view in views:
            o = self.operand[view]
            way = self.variant.operands[o]
            first, at, advance = self._walked(f"row{o}", f"walk{o}", way.along, f"from{o}")
            begin += first
            lines += [f"columns::{way.across}({to.format(o)}, {at}, whole || i < left);", *advance]
        return [*begin, *loop(f"int s = 0; s < {count}; ++s", lines)] if views else []

    def _loads_ahead(self, views: Sequence[View], whole: str) -> list[str]:
        if not views:
            return []
        lines = [line for v in views for line in self._loads([v], "STEPS", f"{self.held[v][0]}[turn * STEPS + s]")]
        head = ["const u32 first = here.first(turn);", "const int left = (int)(n - first);", "constexpr int b = 0;"]
        return self._turns([whole, *head, *lines])

    def single(self, single: Pass) -> list[str]:
        (r,) = single.terms
        before, (made,) = self.call(f"single{r}", single, [self._value(v) for v in single.given])
        value = self.finished(r, self.combined(r, f"Fold{r}::identity()", made, "0"))
        lines = [*before, f"r{r}[v] = {value};"]
        return [f"{self.result_type(r)} r{r}[WIDTH];", *loop("int v = 0; v < WIDTH; ++v", lines)]

    def last(self, last: Pass) -> list[str]:
        before, made = self.call("last", last, [self._value(v) for v in last.given])
        types = self.rows.output_types
        element = [f"y{i}[v] = {emit.to_memory(types[i], x)};" for i, x in zip(last.stored, made, strict=True)]
        return block(
            [
                *(f"{emit.MEMORY[types[i]]} y{i}[WIDTH];" for i in last.stored),
                *loop("int v = 0; v < WIDTH; ++v", [*before, *element]),
                *(f"store<WIDTH>(out{i}, here.column, y{i});" for i in last.stored),
            ],
            "if (here.leads()) ",
        )

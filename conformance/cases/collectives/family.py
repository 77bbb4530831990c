"""The cases of the collectives, one op on one dtype at a time."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from ....core.arrays.array import Array
from ....core.collectives.handle import Handle
from ....core.collectives.mesh import Mesh
from ....core.dtypes import BOOL, COMPLEX, REAL, DType
from ....core.errors import ConformanceError
from ....core.kernel import Determinism
from ....core.op import Op
from ....opset.declare import declaration_of
from ...oracle.formats import Host
from ...target import Findings, RefusedError, Target, dense
from ..case import OpCheck
from ..ops.claims import declares, kept_promises, kernels_of
from ..ops.determinism import bits_of, threads_set
from . import calls, checks, errors, expected, into, large
from .calls import Call
from .ranks import Ranks, ranks_of

Made = Iterator[tuple[str, str, OpCheck]]
Body = Callable[[Target, Op, Ranks, Findings], None]

#: Ranks of cases that are about no number of them.
_SOME: Final = 4
#: How eight contributions are spread over ranks.
_SPREADS: Final = ((8,), (4, 4), (3, 3, 2), (2, 2, 2, 2), (1,) * 8, (1, 0, 5, 2), (0, 7, 1))
#: Numbers of contributions whose tree has values without a partner, at one level or at several.
_ODD: Final = (3, 5, 6, 7)
#: Groups of the hierarchical algorithm: their number, and ranks in each.
_GROUPS: Final = ((2, 2), (2, 3), (3, 2), (2, 4), (4, 2))
_THREADS: Final = (1, 2, 3)


def _with_ranks(most: int, body: Body) -> OpCheck:
    def check(target: Target, op: Op, findings: Findings) -> None:
        found = Findings()  # taken in whole: where an algorithm needs an op that is not served, nothing was served
        with ranks_of(target, most) as ranks:
            body(target, op, ranks, found)
        findings.errors |= found.errors
        findings.unit, findings.assertions = found.unit, findings.assertions + found.assertions

    return check


def family(op: Op, t: DType, quick: bool, seed: int) -> Made:
    """Yield every case of a collective on a dtype."""
    reductions = expected.reductions_of(t) if calls.is_reduction(op) else ("",)
    for n, reduction in itertools.product(calls.ranks_for(t), reductions):
        label = f"ranks{n}-{reduction}" if reduction else f"ranks{n}"
        yield "values", label, _with_ranks(n, _values(t, n, reduction, seed))
    yield from _more_values(op, t, reductions[0])
    for sentence in declaration_of(op).specials:
        made = _SPECIALS.get(sentence)
        if made is None:
            raise ConformanceError(f"no case is known for the sentence {sentence!r} of {op.name}", op=op.name)
        if made[0](t):
            yield "special", sentence, _with_ranks(2, made[1](t))
    for shape in calls.SHAPES:
        given = [calls.shaped(op, t, shape, n) for n in (3, 1)]
        if None not in given:
            label = "x".join(map(str, shape)) or "scalar"
            yield "shapes", label, _with_ranks(3, _each(t, [c for c in given if c is not None]))
    yield from _more_sizes(op, t)
    yield "strides", "", _with_ranks(_SOME, _strides(t, reductions[0]))
    # Algorithms make results of their own, so that one is enough; kernels write what is given.
    some, turn = (reductions[0], reductions[-1]), zlib.crc32(f"{op.name} {t.name} out".encode())
    yield "out", "other-memory", _with_ranks(3, into.other_memory(t, some, turn))
    if op.name in into.IN_OPERANDS:
        yield "out", "operands", _with_ranks(3, into.operands_memory(t, some, turn))
    yield from _classes(op, t, reductions)
    if t.name == errors.ONCE:
        yield "errors", "ranks", _with_ranks(3, errors.refused)
        yield "errors", "lost", _with_ranks(3, errors.lost)
    yield "claims", "declared", _with_ranks(_SOME, _declared(t, reductions))
    yield "claims", "promises", kept_promises(t)


def _more_values(op: Op, t: DType, reduction: str) -> Made:
    yield "values", "again", _with_ranks(3, _again(t, reduction))
    yield "values", "handles", _with_ranks(3, _handles(t, reduction))
    yield "values", "groups", _with_ranks(_SOME, _groups(t, reduction))
    if op.name == "all_reduce":
        for groups in _GROUPS:
            label = f"two-levels-{groups[0]}x{groups[1]}"
            yield "values", label, _with_ranks(groups[0] * groups[1], _two_levels(t, groups))


def _more_sizes(op: Op, t: DType) -> Made:
    yield "large", "", _with_ranks(3, large.pieces(t, _turn(t, op.name, "large")))
    if t is not large.STREAMED:
        return
    for n, reduction in itertools.product(large.RANKS, large.REDUCTIONS if calls.is_reduction(op) else ("",)):
        label = f"ranks{n}-{reduction}" if reduction else f"ranks{n}"
        turn = zlib.crc32(f"{op.name} {label}".encode())
        yield "large", label, _with_ranks(n, large.beyond_caches(n, reduction, turn))


def _classes(op: Op, t: DType, reductions: tuple[str, ...]) -> Made:
    yield "determinism", "run", _with_ranks(3, _run(t, reductions[0]))
    if not calls.is_reduction(op) or op.settled(t):
        return
    rounded = [r for r in reductions if r in ("sum", "prod")]
    yield "determinism", "threads", _with_ranks(5, _threads(t, rounded))
    yield "determinism", "batch", _with_ranks(5, _batch(t, rounded))
    yield "determinism", "canonical", _with_ranks(8, _canonical(t, rounded))


def _values(t: DType, n: int, reduction: str, seed: int) -> Body:
    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        turn = _turn(t, op.name, n, reduction)
        if turn is None and reduction not in ("", "sum"):
            turn = zlib.crc32(reduction.encode()) + n
        for given in calls.of(op, t, n, reduction, seed):
            checks.call(target, op, given, ranks, findings, turn=turn)

    return body


def _turn(t: DType, *what: object) -> int | None:
    """Return whose turn of the algorithms it is; None where all are tried."""
    return None if t in calls.THOROUGH else zlib.crc32(repr((t.name, *what)).encode())


def _each(t: DType, given: list[Call]) -> Body:
    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        for one in given:
            checks.call(target, op, one, ranks, findings, turn=_turn(t, op.name, one.ranks))

    return body


def _strides(t: DType, reduction: str) -> Body:
    """Operands transposed, backwards, in steps and inside of a larger array."""

    def arrange(given: Call, mesh: Mesh) -> list[Array]:
        made = []
        for r, (x, d) in enumerate(zip(given.operands, mesh.local_devices, strict=True)):
            way = _WAYS[r % len(_WAYS)] if x.ndim == 2 else _WAYS[0]
            made.append(way(x, lambda host, d=d: dense(host, d)))  # type: ignore[misc]
        return made

    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        for given in calls.of(op, t, _SOME, reduction, "strides"):
            checks.call(target, op, given, ranks, findings, arrange, _turn(t, op.name, "strides"))

    return body


def _inside(x: Host, up: Callable[[Host], Array]) -> Array:
    whole = np.zeros(tuple(n + 3 for n in x.shape), x.dtype)
    whole[tuple(slice(2, 2 + n) for n in x.shape)] = x
    return up(whole)[tuple(slice(2, 2 + n) for n in x.shape)]


def _stepped(x: Host, up: Callable[[Host], Array]) -> Array:
    whole = np.zeros(tuple(2 * n for n in x.shape), x.dtype)
    whole[tuple(slice(0, None, 2) for _ in x.shape)] = x
    return up(whole)[tuple(slice(0, None, 2) for _ in x.shape)]


_WAYS: Final[tuple[Callable[[Host, Callable[[Host], Array]], Array], ...]] = (
    _inside,
    lambda x, up: up(np.ascontiguousarray(x.T)).T,
    lambda x, up: up(np.ascontiguousarray(x[::-1]))[::-1],
    _stepped,
)


def _again(t: DType, reduction: str) -> Body:
    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        first, second = (calls.of(op, t, 3, reduction, which)[0] for which in ("first", "second"))
        checks.again(target, op, first, second, ranks, findings)

    return body


def _handles(t: DType, reduction: str) -> Body:
    """Calls that were begun are waited for in another order, twice each; the operands are dropped meanwhile."""

    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        for mesh in ranks.meshes(3):
            given = [calls.of(op, t, 3, reduction, i)[0] for i in range(3)]
            with ranks.watched(op.name):
                begun = [checks.public(op, c, mesh, wait=False) for c in given]
                for i in (2, 0, 1):
                    if not isinstance(begun[i], Handle):
                        raise ConformanceError(f"{op.name}(wait=False) returned {type(begun[i]).__name__}, no handle")
                    for _ in range(2):
                        checks.hold_public(op, given[i], mesh, begun[i].wait(), findings, "behind a handle")
                    if not begun[i].done():
                        raise ConformanceError(f"{op.name}: a handle that was waited for says that it is not done")

    return body


def _groups(t: DType, reduction: str) -> Body:
    """Groups of a mesh, in another order than its own, and the rows and columns of a grid."""

    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        for mesh in ranks.meshes(_SOME):
            rows, columns = mesh.split((2, 2), 1), mesh.split((2, 2), 0)
            parts = (mesh.group([3, 1, 0]), *rows, *columns)
            for i, part in enumerate(parts):
                given = calls.of(op, t, part.size, reduction, "group", i)[0]
                with ranks.watched(op.name):
                    checks.hold_public(op, given, part, checks.public(op, given, part), findings, "of a group")

    return body


def _two_levels(t: DType, groups: tuple[int, int]) -> Body:
    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        given = calls.of(op, t, groups[0] * groups[1], "sum", "levels")[0]
        checks.two_levels(target, op, given, groups, ranks, findings)

    return body


def _run(t: DType, reduction: str) -> Body:
    """The same bits on every run, for whatever promises it; movement and integers always."""

    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        seen: dict[tuple[str, int], list[bytes]] = {}
        given, kernels = calls.of(op, t, 3, reduction, "run")[0], checks.promises(Determinism.RUN)
        for number in range(3):
            found = checks.runs(target, op, given, ranks, wanted=lambda c: _exact(op, t, reduction) or kernels(c))
            for place, made in enumerate(found):
                bits = [bits_of(x) for x in made.results]
                if seen.setdefault((made.name, place), bits) != bits:
                    raise ConformanceError(f"{made.name}: other bits on run {number + 1}", kernel=made.name)
                findings.note(made.candidate, 0.0, "exact")
        if not findings.assertions:
            raise RefusedError(f"nothing promises run for {op.name} on {t}")

    return body


def _exact(op: Op, t: DType, reduction: str) -> bool:
    return op.settled(t) or reduction not in ("sum", "prod")


def _kernels_that_promise(target: Target, op: Op, t: DType, least: Determinism) -> None:
    if not any(declares(k, t) and k.promises.determinism.value >= least.value for k in kernels_of(target, op)):
        raise RefusedError(f"no kernel promises {least.name.lower()} for {op.name} on {t}")


def _threads(t: DType, reductions: list[str]) -> Body:
    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        _kernels_that_promise(target, op, t, Determinism.THREADS)
        for reduction in reductions:
            given, first = calls.of(op, t, 5, reduction, "threads")[0], dict[str, list[Host]]()
            for count in _THREADS:
                with threads_set(count):
                    for made in checks.runs(target, op, given, ranks, wanted=checks.promises(Determinism.THREADS)):
                        before = first.setdefault(made.name, made.results)
                        for got, want in zip(made.results, before, strict=True):
                            expected.hold_bits(got, want, made.name, f"other bits with {count} threads")
                        findings.note(made.candidate, 0.0, "exact")

    return body


def _batch(t: DType, reductions: list[str]) -> Body:
    """An element's bits do not depend on what lies beside it."""

    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        _kernels_that_promise(target, op, t, Determinism.BATCH)
        for reduction in reductions:
            whole = [calls.tame(t, (67,), reduction, op.name, "batch", r) for r in range(5)]
            joined: dict[str, Host] = {}
            for first, last in ((0, 67), (0, 1), (1, 18), (3, 66), (66, 67)):
                given = Call(tuple(np.ascontiguousarray(x[first:last]) for x in whole), {"reduction": reduction})
                for made in checks.runs(target, op, given, ranks, wanted=checks.promises(Determinism.BATCH)):
                    got = made.results[0] if op.name == "all_reduce" else np.concatenate(made.results)
                    want = joined.setdefault(made.name, got)[first:last]
                    expected.hold_bits(got, want, made.name, f"other bits for elements {first} to {last} alone")
                    findings.note(made.candidate, 0.0, "exact")

    return body


def _canonical(t: DType, reductions: list[str]) -> Body:
    """The tree of the declaration, for numbers of ranks that are powers of two and for odd ones, and however spread."""

    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        if t.kind in (REAL, COMPLEX) and target.device.info.flushes_subnormals:
            raise RefusedError(f"{target.device} flushes subnormals, so nothing on it is canonical")
        for reduction in reductions:
            given = [_tree_call(op, t, reduction, n) for n in (8, *_ODD, 2)]
            if op.name == "all_reduce":
                given += [calls.spread(t, reduction, counts) for counts in _SPREADS]
            rounded = reduction == "sum" or t.kind != COMPLEX
            for one in given:
                checks.canonical(target, op, one, ranks, findings, rounded=rounded)
        if not findings.assertions:
            raise RefusedError(f"nothing promises the canonical order for {op.name} on {t}")

    return body


def _tree_call(op: Op, t: DType, reduction: str, n: int) -> Call:
    """Return values of which every order of summation gives other bits, hard ones behind them."""
    made = []
    for r in range(n):
        x = calls.tame(t, (24,), reduction, op.name, "tree", n, r)
        made.append(x if t.kind == COMPLEX else np.concatenate([x, calls.wild(t, (24,), op.name, "tree", n, r)]))
    return Call(tuple(made), {"reduction": reduction})


def _declared(t: DType, reductions: tuple[str, ...]) -> Body:
    """A declared dtype is served: some call runs on each kernel that declares it."""

    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        mine = {f"{target.backend}/{k.name}": k for k in kernels_of(target, op) if k.accepts.dtypes and declares(k, t)}
        if not mine:
            raise RefusedError(f"no kernel declares {op.name} on {t}")
        why = ""
        for n, reduction in itertools.product((1, min(_SOME, len(ranks.own))), reductions):
            given = calls.of(op, t, n, reduction, "declared")[0]
            for mesh in ranks.meshes(n):
                arrays = checks.upload(given, mesh)
                decision = checks.decided(op, mesh, arrays, checks.completed(op, given.attributes))
                for c in () if decision is None else decision.candidates:
                    if c.name in mine and c.rejection is None:
                        del mine[c.name]
                        findings.held()
                    elif c.name in mine and c.rejection is not None:
                        why = why or c.rejection.detail
        for name in mine:
            raise ConformanceError(
                f"{name}: it declares {t} for {op.name} and declines it: {why}; declare what is served", kernel=name
            )

    return body


def _one_rank(t: DType) -> Body:
    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        host = calls.bits(t, (7, 3), "one rank") if t.kind == BOOL else calls.wild(t, (7, 3), "one rank")
        for reduction in expected.reductions_of(t):
            for mesh in ranks.meshes(1):
                given = Call((host,), {"reduction": reduction})
                checks.hold_public(op, given, mesh, checks.public(op, given, mesh), findings, "alone")

    return body


def _special(reduction: str, operands: tuple[float, ...], want: float) -> Callable[[DType], Body]:
    def of(t: DType) -> Body:
        def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
            for order in (operands, operands[::-1]):
                given = Call(tuple(np.full(5, x).astype(t.numpy) for x in order), {"reduction": reduction})
                for made in checks.runs(target, op, given, ranks):
                    for got in made.results:
                        expected.hold_bits(got, np.full(5, want).astype(t.numpy), made.name, f"{reduction} of {order}")
                    findings.note(made.candidate, 0.0, "exact")

        return body

    return of


def _zeros(t: DType) -> Body:
    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        operands = tuple(calls.bits(t, (33,), "zeros", r) for r in range(2))
        for pairs in ((), ((0, 0),), ((1, 0),), ((0, 1),)):
            checks.call(target, op, Call(operands, {"pairs": pairs}), ranks, findings)

    return body


def _real(t: DType) -> bool:
    return t.kind == REAL


#: For each sentence of a declaration the dtypes that it speaks of, and the case.
_SPECIALS: Final[dict[str, tuple[Callable[[DType], bool], Callable[[DType], Body]]]] = {
    "one rank -> its own array": (lambda t: True, _one_rank),
    "sum([+inf], [-inf]) -> nan": (_real, _special("sum", (np.inf, -np.inf), np.nan)),
    "max([nan], [1]) -> nan": (_real, _special("max", (np.nan, 1.0), np.nan)),
    "a rank that is no target -> zeros": (lambda t: True, _zeros),
}

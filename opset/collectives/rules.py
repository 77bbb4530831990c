"""Rules of collectives: what every rank's operand must be, and where the parts of a call lie.

A rule takes the specs of all ranks, the axis in question moved to the front, and the attributes as given; it returns a
:class:`~opmux.opset.collectives.problem.Problem`, or raises a typed error for a call that is not allowed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.collectives.layout import INPUT, OUTPUT, Layout, cut
from ...core.dtypes import BOOL, COMPLEX, INTEGERS, DType
from ...core.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, shown
from ...core.kernel import ArraySpec
from .problem import COMBINES, Problem

Specs = Sequence[ArraySpec]
Attributes = Mapping[str, Any]


def same(name: str, specs: Specs, shapes: bool = True) -> DType:
    """Return the dtype of all ranks' operands.

    Raises:
        DTypeError, ShapeError: naming the first rank that differs from rank 0.
    """
    for rank, s in enumerate(specs):
        if s.dtype is not specs[0].dtype:
            raise DTypeError(
                f"{name}: rank {rank} brings {s.dtype}, rank 0 {specs[0].dtype}; all ranks bring one dtype",
                op=name,
                rank=rank,
                dtype=s.dtype,
            )
        if shapes and s.shape != specs[0].shape:
            raise ShapeError(
                f"{name}: rank {rank} brings shape {s.shape}, rank 0 {specs[0].shape}; all ranks bring one shape",
                op=name,
                rank=rank,
                shape=s.shape,
            )
    return specs[0].dtype


def reduction(name: str, dtype: DType, given: Any) -> str:
    """Return a reduction that the dtype has.

    Raises:
        ArgumentError: for an unknown one.
        DTypeError: for one that the dtype does not have.
    """
    if not isinstance(given, str) or given not in COMBINES:
        hint = "; for the mean divide the sum by mesh.size" if given in ("mean", "avg", "average") else ""
        allowed = f"allowed: {', '.join(COMBINES)}"
        raise ArgumentError(f"{name}: reduction={shown(given)}; {allowed}{hint}", op=name, given=given)
    if given in ("and", "or") and not (dtype.kind == BOOL or dtype in INTEGERS):
        raise DTypeError(f"{name}: {given} is for integers and bool, not for {dtype}", op=name, dtype=dtype)
    if given in ("min", "max") and dtype.kind == COMPLEX:
        raise DTypeError(f"{name}: complex numbers have no {given}", op=name, dtype=dtype)
    return given


def rank_number(name: str, what: str, ranks: int, given: Any) -> int:
    """Return a number of a rank.

    Raises:
        ArgumentError: for one that is not in the mesh.
    """
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < ranks:
        raise ArgumentError(f"{name}: {what}={shown(given)} is no rank of a mesh of {ranks}", op=name, given=given)
    return given


def lengths(name: str, ranks: int, given: Any, total: int | None = None) -> tuple[int, ...]:
    """Return one length per rank, as given by ``sizes=``.

    Raises:
        ArgumentError, ArgumentTypeError: for another number of them, negative ones, or another sum than *total*.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ArgumentTypeError(f"{name}: sizes={shown(given)} is not a list of lengths", op=name)
    found = tuple(given)
    if len(found) != ranks or any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in found):
        raise ArgumentError(
            f"{name}: sizes={shown(given)}; give one length of 0 or more for each of {ranks} ranks", op=name
        )
    if total is not None and sum(found) != total:
        raise ShapeError(f"{name}: sizes={shown(given)} make {sum(found)} along the axis, which has {total}", op=name)
    return found


def all_reduce(name: str, specs: Specs, attributes: Attributes) -> Problem:
    """Rule of a reduction whose result every rank gets."""
    blocked = attributes["axis"] is not None
    dtype = same(name, specs, shapes=not blocked)
    kept = _kept(name, specs) if blocked else specs[0].shape
    found = reduction(name, dtype, attributes["reduction"])
    n = len(specs)
    blocks = tuple(s.shape[0] for s in specs) if blocked else (1,) * n
    if sum(blocks) == 0:
        raise ShapeError(f"{name}: no rank brings a block; there is nothing to reduce", op=name)
    layout = Layout(cut(math.prod(kept), n))
    return Problem(
        name, n, dtype, layout, tuple(s.shape for s in specs), (kept,) * n, found,
        axis=0 if blocked else None, blocks=blocks, arguments={"blocks": blocks} if blocked else {},
    )  # fmt: skip


def reduce_scatter(name: str, specs: Specs, attributes: Attributes) -> Problem:
    """Rule of a reduction of whose result each rank gets its part."""
    dtype = same(name, specs)
    found = reduction(name, dtype, attributes["reduction"])
    n, (length, *rest) = len(specs), specs[0].shape
    given = attributes["sizes"]
    parts = cut(length, n) if given is None else lengths(name, n, given, length)
    width = math.prod(rest)
    layout = Layout(tuple(p * width for p in parts), own=frozenset({OUTPUT}))
    results = tuple((p, *rest) for p in parts)
    return Problem(name, n, dtype, layout, (specs[0].shape,) * n, results, found, axis=0, blocks=(1,) * n)


def all_gather(name: str, specs: Specs, attributes: Attributes) -> Problem:
    """Rule of what joins every rank's operand along an axis, for every rank."""
    dtype = same(name, specs, shapes=False)
    rest = _kept(name, specs)
    width = math.prod(rest)
    parts = tuple(s.shape[0] for s in specs)
    layout = Layout(tuple(p * width for p in parts), own=frozenset({INPUT}))
    result = (sum(parts), *rest)
    return Problem(name, len(specs), dtype, layout, tuple(s.shape for s in specs), (result,) * len(specs), axis=0)


def all_to_all(name: str, specs: Specs, attributes: Attributes) -> Problem:
    """Rule of what gives rank j the j-th part of every rank's operand, joined in the order of the ranks."""
    dtype = same(name, specs, shapes=False)
    rest = _kept(name, specs)
    n, width = len(specs), math.prod(rest)
    given = attributes["sizes"]
    if given is None:
        parts = tuple(cut(s.shape[0], n) for s in specs)
    else:
        if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != n:
            raise ArgumentError(f"{name}: sizes={shown(given)}; give one list of {n} lengths for each rank", op=name)
        parts = tuple(lengths(name, n, row, s.shape[0]) for row, s in zip(given, specs, strict=True))
    pairs = tuple(tuple(p * width for p in row) for row in parts)
    results = tuple((sum(row[j] for row in parts), *rest) for j in range(n))
    layout = Layout((0,) * n, pairs=pairs)
    return Problem(name, n, dtype, layout, tuple(s.shape for s in specs), results, axis=0)


def broadcast(name: str, specs: Specs, attributes: Attributes) -> Problem:
    """Rule of what gives every rank the operand of one."""
    dtype, n = same(name, specs), len(specs)
    root = rank_number(name, "root", n, attributes["root"])
    layout = Layout(cut(math.prod(specs[0].shape), n))
    shapes = (specs[0].shape,) * n
    return Problem(name, n, dtype, layout, shapes, shapes, arguments={"root": root})


def permute(name: str, specs: Specs, attributes: Attributes) -> Problem:
    """Rule of what sends each operand to another rank."""
    dtype, n = same(name, specs), len(specs)
    given = attributes["pairs"]
    try:
        pairs = tuple((int(a), int(b)) for a, b in given)
    except (TypeError, ValueError):
        raise ArgumentTypeError(f"{name}: pairs={shown(given)} is not a list of (source, target)", op=name) from None
    for a, b in pairs:
        rank_number(name, "a source", n, a)
        rank_number(name, "a target", n, b)
    targets = [b for _, b in pairs]
    if len(set(targets)) < len(targets):
        twice = next(b for b in targets if targets.count(b) > 1)
        raise ArgumentError(f"{name}: rank {twice} is the target of two pairs; it can get one array", op=name)
    shapes = (specs[0].shape,) * n
    layout = Layout(cut(math.prod(specs[0].shape), n))
    return Problem(name, n, dtype, layout, shapes, shapes, arguments={"pairs": pairs})


def barrier(name: str, specs: Specs, attributes: Attributes) -> Problem:
    """Rule of what every rank waits for."""
    n = len(specs)
    return Problem(name, n, specs[0].dtype, Layout((0,) * n), ((0,),) * n, ((0,),) * n)


def _kept(name: str, specs: Specs) -> tuple[int, ...]:
    """Return the axes behind the first, which all ranks must share."""
    for rank, s in enumerate(specs):
        if s.shape[1:] != specs[0].shape[1:] or len(s.shape) != len(specs[0].shape):
            raise ShapeError(
                f"{name}: rank {rank} brings shape {s.shape}, rank 0 {specs[0].shape} (the axis in question first); "
                f"they may differ along that axis alone",
                op=name,
                rank=rank,
                shape=s.shape,
            )
    return specs[0].shape[1:]

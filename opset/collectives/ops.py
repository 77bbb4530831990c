"""The collectives. Each takes one array per local rank of a mesh and returns one per local rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...core.arrays.array import Array
from ...core.collectives.mesh import Mesh
from ...core.dtypes import ALL, NUMERIC, bool_
from ..accuracy import Accumulated
from . import reference, rules
from .declare import collective

_REDUCED = (bool_, *NUMERIC)


@collective(
    rule=rules.all_reduce,
    dtypes=_REDUCED,
    accuracy=Accumulated(terms="contributions"),
    specials=("one rank -> its own array", "sum([+inf], [-inf]) -> nan", "max([nan], [1]) -> nan"),
    facts=("commutative",),
    length=lambda sizes, rank: int(sizes[rank]),
)
def all_reduce(
    np: Any, arrays: Sequence[Array], mesh: Mesh, /, *, reduction: str = "sum", axis: int | None = None,
    sizes: Sequence[int] | None = None,
) -> Any:  # fmt: skip
    """Return on every rank the reduction over all ranks' arrays.

    The dtype stays as it is: integers wrap, bool answers in bool (``sum`` and ``max`` are or, ``prod`` and ``min`` are
    and). Sums and products of float16 and bfloat16 are kept, and sent, in float32 and rounded once.

    The canonical order is a binary tree over the number of the contribution: neighbours (0, 1), (2, 3), ... first,
    then those values likewise; one without a partner goes up unchanged. With *axis* each rank brings several
    contributions, along that axis, numbered in the order of the ranks, and the axis is reduced too: the same
    contributions give the same bits however they are spread over ranks.

    Args:
        arrays: one per local rank, of one dtype and, without *axis*, one shape.
        mesh: the ranks.
        reduction: ``"sum"``, ``"prod"``, ``"min"``, ``"max"``, ``"and"`` or ``"or"`` (bitwise, for integers and bool).
        axis: the axis along which an array holds several contributions; None where it is one.
        sizes: how many contributions each rank has, where ranks of other processes have another number.

    Raises:
        ShapeError, DTypeError: a local rank's array does not fit the others'.
        CollectiveError: a rank failed, was late, or called something else; the mesh is not usable afterwards.

    >>> import opmux as ox
    >>> mesh = ox.Mesh(["cpu:0"])
    >>> ox.all_reduce([ox.asarray([1.0, 2.0])], mesh)[0].tolist()
    [1.0, 2.0]
    """
    return reference.all_reduce(np, arrays, reduction, axis)


@collective(
    rule=rules.reduce_scatter, dtypes=_REDUCED, accuracy=Accumulated(terms="contributions"), facts=("commutative",)
)
def reduce_scatter(
    np: Any, arrays: Sequence[Array], mesh: Mesh, /, *, reduction: str = "sum", axis: int = 0,
    sizes: Sequence[int] | None = None,
) -> Any:  # fmt: skip
    """Return on each rank its part of the reduction over all ranks' arrays. Dtypes and order are those of all_reduce.

    Args:
        arrays: one per local rank, of one dtype and shape.
        mesh: the ranks.
        reduction: as for :func:`all_reduce`.
        axis: the axis along which the result is cut.
        sizes: how long each rank's part is; by default nearly equal ones, the longer ones first.

    Raises:
        ShapeError, DTypeError: a local rank's array does not fit the others', or *sizes* the axis.
        CollectiveError: a rank failed, was late, or called something else.

    >>> import opmux as ox
    >>> ox.reduce_scatter([ox.asarray([1, 2])], ox.Mesh(["cpu:0"]))[0].tolist()
    [1, 2]
    """
    return reference.reduce_scatter(np, arrays, reduction, axis, sizes)


@collective(rule=rules.all_gather, dtypes=ALL, length=lambda sizes, rank: int(sizes[rank]))
def all_gather(
    np: Any, arrays: Sequence[Array], mesh: Mesh, /, *, axis: int = 0, sizes: Sequence[int] | None = None
) -> Any:
    """Return on every rank all ranks' arrays, joined along an axis in the order of the ranks.

    Args:
        arrays: one per local rank, of one dtype; their shapes may differ along *axis*.
        mesh: the ranks.
        axis: where they are joined.
        sizes: how long each rank's array is along it, where ranks of other processes have another length.

    Raises:
        ShapeError, DTypeError: a local rank's array does not fit the others'.
        CollectiveError: a rank failed, was late, or called something else.

    >>> import opmux as ox
    >>> ox.all_gather([ox.asarray([1, 2])], ox.Mesh(["cpu:0"]))[0].tolist()
    [1, 2]
    """
    return reference.all_gather(np, arrays, axis)


@collective(rule=rules.all_to_all, dtypes=ALL, length=lambda sizes, rank: int(sum(sizes[rank])))
def all_to_all(
    np: Any, arrays: Sequence[Array], mesh: Mesh, /, *, axis: int = 0, sizes: Sequence[Sequence[int]] | None = None
) -> Any:
    """Return on rank j the j-th part of every rank's array, joined along the axis in the order of the ranks.

    Args:
        arrays: one per local rank, of one dtype; their shapes may differ along *axis*.
        mesh: the ranks.
        axis: along which arrays are cut and joined.
        sizes: ``sizes[i][j]`` elements of rank i's array go to rank j; by default nearly equal parts, the longer first.

    Raises:
        ShapeError, DTypeError: a local rank's array does not fit the others', or *sizes* an axis.
        CollectiveError: a rank failed, was late, or called something else.

    >>> import opmux as ox
    >>> ox.all_to_all([ox.asarray([1, 2])], ox.Mesh(["cpu:0"]))[0].tolist()
    [1, 2]
    """
    return reference.all_to_all(np, arrays, axis, sizes)


@collective(rule=rules.broadcast, dtypes=ALL)
def broadcast(np: Any, arrays: Sequence[Array], mesh: Mesh, /, *, root: int = 0) -> Any:
    """Return on every rank the array of one.

    Args:
        arrays: one per local rank, of one dtype and shape; of the other ranks' only these two count.
        mesh: the ranks.
        root: whose array it is.

    Raises:
        ShapeError, DTypeError: a local rank's array does not fit the others'.
        CollectiveError: a rank failed, was late, or called something else.

    >>> import opmux as ox
    >>> ox.broadcast([ox.asarray([1, 2])], ox.Mesh(["cpu:0"]), root=0)[0].tolist()
    [1, 2]
    """
    return [arrays[root] for _ in arrays]


@collective(rule=rules.permute, dtypes=ALL, specials=("a rank that is no target -> zeros",))
def permute(np: Any, arrays: Sequence[Array], mesh: Mesh, /, *, pairs: Sequence[tuple[int, int]]) -> Any:
    """Return on each target the array of its source; zeros on a rank that is no target.

    Args:
        arrays: one per local rank, of one dtype and shape.
        mesh: the ranks.
        pairs: (source, target) each; a rank may be the source of several and the target of one.

    Raises:
        ArgumentError: a rank is not in the mesh, or is the target of two pairs.
        ShapeError, DTypeError: a local rank's array does not fit the others'.
        CollectiveError: a rank failed, was late, or called something else.

    >>> import opmux as ox
    >>> ox.permute([ox.asarray([1, 2])], ox.Mesh(["cpu:0"]), pairs=[(0, 0)])[0].tolist()
    [1, 2]
    """
    return reference.permute(np, arrays, pairs)

"""The way of a collective call: operands checked, decision found or made, run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn

from ...core.arrays.array import Array
from ...core.arrays.metadata import moveaxis
from ...core.arrays.ownership import check_usable
from ...core.arrays.transfer import contiguous
from ...core.arrays.views import normalize_axes
from ...core.collectives.handle import Handle
from ...core.collectives.mesh import Mesh
from ...core.dispatch.call import frozen, run_decision, unhashable
from ...core.dispatch.decision import Decision
from ...core.dispatch.execute import launch_on_host
from ...core.dispatch.observe import OBSERVERS, is_planning
from ...core.dispatch.policy import Settings, current
from ...core.dispatch.tables import LIMIT, Tables, exact, slot_of
from ...core.errors import (
    ArgumentError,
    ArgumentTypeError,
    ConsumedError,
    DeviceError,
    DTypeError,
    OpmuxError,
    ShapeError,
    shown,
)
from ...core.kernel import ArraySpec
from ...core.op import Op
from ...core.signature import Signature, signature
from .out import taken
from .problem import Problem

_MISSING: Final = object()


def public(op: Op) -> Callable[..., Any]:
    """Return the function that users call, made from a collective's parameters."""
    defaults = {p.name: p.default for p in op.parameters if p.name not in ("arrays", "mesh") and not p.required}
    required = frozenset(p.name for p in op.parameters if p.name not in ("arrays", "mesh") and p.required)
    allowed = required | defaults.keys()

    def call(
        arrays: Any = _MISSING, mesh: Any = _MISSING, /, *unnamed: Any, wait: bool = True, out: Any = None, **given: Any
    ) -> Any:
        single = isinstance(arrays, Array)
        operands = (arrays,) if single else arrays
        tables, decision = current().slot.tables, None
        if (operands.__class__ is list or operands.__class__ is tuple) and not unnamed:
            # The short way: the mesh knows how such a call is done, under the same policy and registry. A list's arrays
            # are taken once, since another thread may change the list after they have been looked at.
            try:
                written = exact(tuple(given.items())) if given else ()
                if len(operands) == 2:  # a list comprehension costs two ranks as much as finding the decision
                    x, y = operands
                    operands = x, y
                    key: Any = tables, op, written, x.__class__ is Array and x._sig, y.__class__ is Array and y._sig
                else:
                    operands = tuple(operands)
                    key = tables, op, written, *[x.__class__ is Array and x._sig for x in operands]
                decision = mesh.decisions.get(key)
            except (AttributeError, TypeError, ValueError):
                pass  # no mesh, an attribute that cannot be hashed, a list that grew meanwhile: the long way says which
        if decision is None:
            if isinstance(operands, list):
                operands = tuple(operands)
            if unnamed or arrays is _MISSING or mesh is _MISSING or not required <= given.keys() <= allowed:
                raise _bad_call(op, defaults, required, given, (arrays, mesh, *unnamed))
            if isinstance(mesh, Mesh) and not mesh.local_ranks and not operands:
                return [] if wait else Handle.done_with([])  # a group that this process has no part in
            decision = _decided(op, operands, mesh, defaults, given, tables)
        if mesh.failure is not None:
            mesh.check()
        if OBSERVERS or not wait or out is not None:
            return _run(decision, operands, mesh, single, wait, out)
        try:
            results = decision.run(operands, None)
        except OpmuxError as error:
            _fail(decision.op, operands, mesh, error)
        return results[0] if single else [*results]

    return call


def _bad_call(
    op: Op, defaults: dict[str, Any], required: frozenset[str], given: dict[str, Any], unnamed: Sequence[Any]
) -> ArgumentTypeError:
    first = {name: x is not _MISSING for name, x in zip(("arrays", "mesh"), unnamed, strict=False)}
    wanted = ", ".join([*first, *(f"{n}=" for n in sorted(required)), *(f"{n}={v!r}" for n, v in defaults.items())])
    absent = [n for n, there in first.items() if not there] + [f"{n}=" for n in sorted(required - given.keys())]
    unknown = sorted(given.keys() - required - defaults.keys())
    wrong = [f"{', '.join(absent)} is missing"] if absent else []
    wrong += [f"it has no {', '.join(f'{n}=' for n in unknown)}"] if unknown else []
    wrong += [f"{shown(unnamed[2])} has no name: all but arrays and mesh is given by name"] if unnamed[2:] else []
    return ArgumentTypeError(f"{op.name}({wanted}, wait=True, out=None): {'; '.join(wrong)}", op=op.name)


def _decided(
    op: Op, operands: Any, mesh: Any, defaults: dict[str, Any], given: dict[str, Any], tables: Tables[Settings]
) -> Decision:
    """Return the decision for a call that is new, or is written in another way than before.

    Raises:
        OpmuxError: for a call that is not allowed.
    """
    from .choose import decide

    arrays = checked(op, operands, mesh)
    for x in arrays:
        x._check_concrete()  # a mesh is not captured: a compiled function that uses one runs as it is
    known = mesh.decisions
    _forget_old(known)
    sigs = [x._sig for x in arrays]
    settled = {n: frozen(v) for n, v in {**defaults, **given}.items()}
    try:
        key = tables, op, exact(tuple(settled.items())), *sigs
        found = known.get(key)
    except TypeError:
        raise unhashable(op, tuple(settled.items())) from None
    if found is None:
        found = known[key] = decide(op, arrays, mesh, settled)
    with suppress(TypeError):  # a list given for a tuple: right, but never on the short way
        known[tables, op, exact(tuple(given.items())) if given else (), *sigs] = found
    return found


def _forget_old(known: dict[Any, Decision]) -> None:
    """Let go of the decisions of a mesh that were made under tables no longer in force, and of all where they are many.

    Nobody finds the old ones: whoever decides while the registry changes has the old tables in the key.
    """
    if len(known) >= LIMIT:
        known.clear()
    old = {t for t in {key[0] for key in tuple(known)} if slot_of(t.settings).tables is not t}
    for key in tuple(known) if old else ():
        if key[0] in old:
            known.pop(key, None)


def _run(decision: Decision, operands: Sequence[Array], mesh: Mesh, single: bool, wait: bool, out: Any) -> Any:
    """Run a decision under observers, without waiting for it, or into memory; return what the public function does."""
    into: tuple[Array, ...] | None = None
    if out is not None and not (OBSERVERS and is_planning()):
        operands, into = taken(decision, operands, mesh, out)
    begin = decision.chosen.begin
    if begin is not None and not wait and not OBSERVERS:
        handle: Handle = begin(operands)
        return handle.then(lambda made: made[0] if single else list(made))
    try:
        if into is None or OBSERVERS:  # observers see operands as they were only where nothing is overwritten
            results = run_decision(decision, list(operands), None)
        else:
            launch_on_host(decision, into, operands)
            results = into
    except OpmuxError as error:
        _fail(decision.op, operands, mesh, error)
    made = results[0] if single else list(results)
    return made if wait else Handle.done_with(made)


def _fail(op: Op, operands: Sequence[Array], mesh: Mesh, error: OpmuxError) -> NoReturn:
    """Raise what a call failed with; where an operand came with the failure, with the rank that brings it."""
    if "rank" not in error.culprits:
        for rank, x in zip(mesh.local_ranks, operands, strict=True):
            status = x._buffer.status
            if status is not None and status.failed():
                culprits = {**error.culprits, "rank": rank}
                raise type(error)(f"{op.name}: rank {rank} brings no value: {error}", **culprits) from error
    raise error


def is_mesh(name: str, given: Any) -> None:
    """Check what is given as a mesh.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not isinstance(given, Mesh):
        raise ArgumentTypeError(f"{name}: {shown(given)} is no mesh; make one with opmux.Mesh()", op=name)


def checked(op: Op, given: Any, mesh: Mesh) -> tuple[Array, ...]:
    """Return the operands if each is an array on the device of its rank.

    Raises:
        ArgumentTypeError, ArgumentError, DeviceError, DTypeError: naming the rank.
    """
    is_mesh(op.name, mesh)
    if not isinstance(given, list | tuple):
        raise ArgumentTypeError(
            f"{op.name}: {shown(given)} is no list of arrays; give one per local rank of {mesh}", op=op.name
        )
    if len(given) != len(mesh.local_ranks):
        raise ArgumentError(
            f"{op.name}: {len(given)} arrays for the {len(mesh.local_ranks)} local ranks of {mesh}; give one each, on "
            f"{', '.join(d.name for d in mesh.local_devices) or 'no device'}",
            op=op.name,
        )
    from ..declare import declaration_of

    allowed = declaration_of(op).dtypes
    for rank, device, x in zip(mesh.local_ranks, mesh.local_devices, given, strict=True):
        if not isinstance(x, Array):
            raise ArgumentTypeError(
                f"{op.name}: rank {rank} brings a {type(x).__name__}, not an opmux array; wrap it with opmux.asarray",
                op=op.name,
                rank=rank,
            )
        try:
            check_usable(x)
        except ConsumedError as error:
            raise ConsumedError(f"{op.name}: rank {rank}: {error}", op=op.name, rank=rank) from None
        if x.device is not device:
            raise DeviceError(
                f"{op.name}: rank {rank} of {mesh} is {device}, its array is on {x.device}; use "
                f".to_device({device.name!r})",
                op=op.name,
                rank=rank,
                device=x.device.name,
            )
        if x.dtype not in allowed:
            raise DTypeError(
                f"{op.name}: rank {rank} brings {x.dtype}; allowed: {', '.join(t.name for t in allowed)}",
                op=op.name,
                rank=rank,
                dtype=x.dtype,
            )
    return tuple(given)


def specs_of_all(op: Op, local: Sequence[ArraySpec], mesh: Mesh, attributes: dict[str, Any]) -> list[ArraySpec]:
    """Return the spec of every rank's operand: those of other processes are what the caller's sizes say.

    Args:
        op: the collective.
        local: specs of the local ranks, the axis in question at the front.
        mesh: the ranks.
        attributes: as given.
    """
    from .declare import Collective

    said = op.declaration
    known = dict(zip(mesh.local_ranks, local, strict=True))
    sizes = attributes.get("sizes")
    like = local[0]

    def other(rank: int) -> ArraySpec:
        if sizes is None or not isinstance(said, Collective) or said.length is None:
            return like
        try:
            return ArraySpec(like.dtype, (said.length(sizes, rank), *like.shape[1:]))
        except (TypeError, ValueError, IndexError):
            raise ArgumentError(
                f"{op.name}: sizes={shown(sizes)}; give one entry for each of {mesh.size} ranks", op=op.name
            ) from None

    found = [known[r] if r in known else other(r) for r in range(mesh.size)]
    for rank, spec in known.items():
        if sizes is not None and like.shape and other(rank).shape != spec.shape:
            raise ShapeError(
                f"{op.name}: sizes={shown(sizes)} say rank {rank} brings {other(rank).shape[0]} along the axis, its "
                f"array has {spec.shape[0]}",
                op=op.name,
                rank=rank,
            )
    return found


def axis_first(op: Op, x: Array, axis: int | None) -> Array:
    """Return an operand with the axis in question at the front, dense."""
    if axis is None:
        return contiguous(x)
    (found,) = normalize_axes(axis, x.ndim, where=op.name)
    return contiguous(moveaxis(x, found, 0) if found else x)


def spec_first(op: Op, sig: Signature, axis: int | None) -> ArraySpec:
    """Return the spec of :func:`axis_first`."""
    if axis is None:
        return ArraySpec(sig.dtype, sig.shape)
    (found,) = normalize_axes(axis, len(sig.shape), where=op.name)
    return ArraySpec(sig.dtype, (sig.shape[found], *sig.shape[:found], *sig.shape[found + 1 :]))


def axis_back(x: Array, problem: Problem, axis: int | None) -> Array:
    """Return a result with the axis in question where the caller has it; it is gone where blocks were reduced."""
    if axis is None or problem.axis is None or problem.collective == "all_reduce":
        return x
    return moveaxis(x, 0, axis) if axis % x.ndim else x


def signature_back(sig: Signature, problem: Problem, axis: int | None) -> Signature:
    """Return the signature of what :func:`axis_back` makes of a dense result."""
    if axis is None or problem.axis is None or problem.collective == "all_reduce":
        return sig
    at = axis % len(sig.shape)
    shape, strides = ((*x[1 : at + 1], x[0], *x[at + 1 :]) for x in (sig.shape, sig.strides))
    return signature(sig.device, sig.dtype, shape, strides)

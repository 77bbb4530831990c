"""From a public function's arguments to a decision and its run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import is_
from typing import Any, Final

import numpy as np

from .. import runtime
from ..arrays import defaults
from ..arrays.array import Array
from ..arrays.ownership import OutError, check_usable, consume
from ..devices.device import Buffer, Device, find_device
from ..dtypes import dtype, promote, weak
from ..errors import ArgumentTypeError, DeviceError, OpmuxError, shown
from ..graphs.trace import Traced
from ..op import CAST, OPS, Op, Parameter, Role
from .choose import decide, spec_of
from .decision import Decision
from .observe import OBSERVERS, is_planning, observed, planned
from .policy import Settings, current
from .scalars import constant
from .tables import Tables, exact

Result = Any  # Array, or a tuple of them for an op with several results
_SCALARS: Final = (bool, int, float, complex)


def invoke_by_name(name: str, operands: tuple[Any, ...], **attributes: Any) -> Array:
    """Call an op by name; for the core's own needs."""
    result: Array = invoke(OPS[name], operands, tuple(sorted(attributes.items())))
    return result


def invoke(
    op: Op, operands: tuple[Any, ...], attributes: tuple[tuple[str, Any], ...], out: Array | None = None
) -> Result:
    """Do a call: find or make its decision, and run it.

    Args:
        op: what to do.
        operands: arrays, Python scalars beside arrays, None for optional ones left out.
        attributes: as given, as pairs.
        out: an exclusively owned array that takes the result.
    """
    key = op, tuple([x.__class__ is Array and x._sig for x in operands]), exact(attributes) if attributes else ()
    try:
        decision = current().slot.tables.hits.get(key)
    except TypeError:  # an attribute that cannot be hashed; the long way says which
        decision = None
    if decision is None:
        return _invoke_new(op, operands, attributes, out)
    if out is None and not OBSERVERS:
        results = decision.run(operands, None)
        return results if decision.many else results[0]
    return run_decision(decision, list(operands), out)


def _invoke_new(
    op: Op, operands: tuple[Any, ...], attributes: tuple[tuple[str, Any], ...], out: Array | None
) -> Result:
    """Do a call that has no decision yet, or whose operands are not all arrays."""
    arrays, attributes, where = _operands(op, operands, attributes)
    tables = current().slot.tables
    try:
        key = op, tuple([None if x is None else x._sig for x in arrays]), exact(attributes)
        known = None if op.creates else tables.hits.get(key)
    except TypeError:
        raise unhashable(op, attributes) from None
    if known is not None:
        return run_decision(known, arrays, out)
    device = _common_device(op, arrays, where)
    tracer = next((x.tracer for x in arrays if isinstance(x, Traced)), None)
    if tracer is not None:
        _refuse_out(op, out)
        inferred = op.infer(op.name, tuple(None if x is None else spec_of(x._sig) for x in arrays), dict(attributes))
        made = tracer.record_call(op, arrays, inferred, OPS[CAST])
        return made if len(made) > 1 else made[0]
    decision = _decision(op, arrays, attributes, device, tables)
    if not op.creates:
        tables.hits[key] = decision
    return run_decision(decision, arrays, out)


def decide_call(op: Op, args: tuple[Any, ...], given: dict[str, Any]) -> Decision:
    """Return the decision for a call of the public function, without running it."""
    arrays, attributes, where = _operands(op, *bind(op, args, given))
    return _decision(op, arrays, attributes, _common_device(op, arrays, where), current().slot.tables)


def _operands(
    op: Op, operands: tuple[Any, ...], attributes: tuple[tuple[str, Any], ...]
) -> tuple[list[Array | None], tuple[tuple[str, Any], ...], Any]:
    """Return operands as arrays, the attributes without the device, and the device if it was an argument."""
    where = None
    if op.creates:
        where = dict(attributes)["device"]
        attributes = tuple((k, v) for k, v in attributes if k != "device")
    return _coerce(op, operands, attributes, where), attributes, where


def _decision(
    op: Op,
    arrays: list[Array | None],
    attributes: tuple[tuple[str, Any], ...],
    device: Device,
    tables: Tables[Settings],
) -> Decision:
    runtime.ensure_loaded()
    inputs = tuple([None if x is None else x._sig for x in arrays])
    try:
        return decide(op, inputs, attributes, device, tables)
    except TypeError as error:
        if isinstance(error, OpmuxError) or _is_hashable(attributes):
            raise
        raise unhashable(op, attributes) from error


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def run_decision(decision: Decision, arrays: list[Array | None], out: Array | None) -> Result:
    """Run a decision on operands that have its signatures."""
    if OBSERVERS and is_planning():
        results = planned(decision)
        return results if decision.many else results[0]
    into = _taken(decision, arrays, out) if out is not None else None
    if OBSERVERS:
        # With out= an operand may be overwritten; observers see operands as they were only without it.
        results = observed(decision, arrays, into)
    else:
        results = decision.run(arrays, into)
    return results if decision.many else results[0]


def unhashable(op: Op, attributes: tuple[tuple[str, Any], ...]) -> ArgumentTypeError:
    """Return the error that names the attribute which cannot be hashed."""
    for name, value in attributes:
        if not _is_hashable(value):
            return ArgumentTypeError(
                f"{op.name}: {name} is a {type(value).__name__}; attributes are numbers, strings, dtypes or tuples of "
                f"them, data goes in arrays",
                op=op.name,
                attribute=name,
            )
    return ArgumentTypeError(f"{op.name}: its attributes cannot be hashed", op=op.name)


def frozen(value: Any) -> Any:
    """Return an attribute with lists as tuples, so that it can be hashed."""
    return tuple([frozen(v) for v in value]) if isinstance(value, list | tuple) else value


def _taken(decision: Decision, arrays: list[Array | None], out: Array) -> Buffer | None:
    """Take the buffer of ``out``; None where the result needs a fresh one to stay right."""
    if not isinstance(out, Array):
        raise ArgumentTypeError(
            f"{decision.op.name}: out={type(out).__name__} is not an opmux array", op=decision.op.name
        )
    check_usable(out)
    (wanted,) = decision.outputs if not decision.many else (None,)
    if wanted is None:
        raise OutError(f"{decision.op.name} has several results; out= is for ops with one", op=decision.op.name)
    if out.device is not wanted.device or out.dtype is not wanted.dtype or out.shape != wanted.shape:
        raise OutError(
            f"{decision.op.name}: the result is {wanted}; out= is {out._sig}. Pass an array of that dtype and shape",
            op=decision.op.name,
            shape=out.shape,
        )
    overlaps = any(x is not None and x is not out and x._buffer is out._buffer for x in arrays)
    if overlaps:
        raise OutError(
            f"{decision.op.name}: out= shares its memory with another operand, so it is not exclusively owned",
            op=decision.op.name,
        )
    is_operand = any(x is out for x in arrays)
    sig, offset = out._sig, out._offset
    buffer = consume(out)
    if not is_operand:
        return buffer if sig.contiguous and offset == 0 else None
    # The run still reads the old value; only the caller's handle is consumed.
    old = Array(buffer, sig, offset)
    arrays[:] = [old if x is out else x for x in arrays]
    in_place = "elementwise" in decision.op.facts and not decision.chosen.copies and not decision.chosen.parts
    return buffer if in_place and sig.contiguous and offset == 0 else None


def _refuse_out(op: Op, out: Array | None) -> None:
    if out is not None:
        raise OutError(f"{op.name}: out= has no meaning inside a captured function; leave it out", op=op.name)


def _common_device(op: Op, arrays: Sequence[Array | None], given: Any) -> Device:
    device: Device | None = None if given is None else find_device(given)
    for x in arrays:
        if x is None:
            continue
        if device is None:
            device = x._sig.device
        elif x._sig.device is not device:
            raise DeviceError(
                f"{op.name}: operands are on {device} and {x._sig.device}; opmux moves nothing by itself, use "
                f".to_device({device.name!r})",
                op=op.name,
                devices=(device.name, x._sig.device.name),
            )
    return device if device is not None else defaults.device()


def _coerce(
    op: Op, operands: tuple[Any, ...], attributes: tuple[tuple[str, Any], ...], device_given: Any
) -> list[Array | None]:
    """Return the operands as arrays: Python scalars take the dtype of the arrays beside them."""
    scalars = False
    for i, x in enumerate(operands):
        if isinstance(x, Array):
            check_usable(x)
        elif x is None and _parameter(op, i).role is Role.OPTIONAL:
            continue
        elif type(x) in _SCALARS:
            scalars = True
        else:
            raise _not_an_array(op, i, x)
    if not scalars:
        return list(operands)
    if op.creates:
        return _coerce_created(op, operands, dict(attributes), device_given)
    group = op.promotes
    strong = [x.dtype for i, x in enumerate(operands) if isinstance(x, Array) and (group is None or i in group)]
    if not strong:
        strong = [x.dtype for x in operands if isinstance(x, Array)]
    if not strong:
        raise ArgumentTypeError(
            f"{op.name}: at least one operand must be an opmux array; given {', '.join(map(shown, operands))}. "
            f"Make one with opmux.asarray",
            op=op.name,
        )
    target = strong[0] if len(strong) == 1 else promote(strong, where=op.name)
    first = next(x for x in operands if isinstance(x, Array))
    made: list[Array | None] = []
    for x in operands:
        if type(x) in _SCALARS:
            made.append(constant(x, weak(x, target, where=op.name), first.device))
        else:
            made.append(x)
    return made


def _coerce_created(op: Op, operands: tuple[Any, ...], attributes: dict[str, Any], device: Any) -> list[Array | None]:
    where = defaults.device() if device is None else find_device(device)
    given = attributes.get("dtype")
    made: list[Array | None] = []
    for x in operands:
        if type(x) not in _SCALARS:
            made.append(x)
            continue
        t = defaults.dtype_of(x) if given is None else dtype(given)
        made.append(constant(x, t, where))
    return made


def _parameter(op: Op, i: int) -> Parameter:
    return op.parameters[min(i, op.operand_count - 1)]


def _not_an_array(op: Op, i: int, x: Any) -> Exception:
    name = _parameter(op, i).name
    hint = "wrap it with opmux.asarray"
    if isinstance(x, np.generic):
        hint = "use a Python scalar (x.item()) or wrap it with opmux.asarray"
    return ArgumentTypeError(
        f"{op.name}: operand {i} ({name}) is a {type(x).__module__}.{type(x).__qualname__}, not an opmux array; {hint}",
        op=op.name,
        operand=i,
        given=type(x),
    )


def public_function(op: Op) -> Callable[..., Result]:
    """Return the function that users call, made from the op's parameters."""
    plain = not op.creates and op.attribute_names == () and all(p.role is Role.ARRAY for p in op.parameters)
    function = _operands_only(op) if plain else _general(op)
    function.__name__ = function.__qualname__ = op.name
    return function


def _operands_only(op: Op) -> Callable[..., Result]:
    count = op.operand_count

    def call(*operands: Any, out: Array | None = None, **unknown: Any) -> Result:
        if len(operands) != count or unknown:
            raise _bad_arguments(op, operands, unknown)
        return invoke(op, operands, (), out)

    return call


def bind(op: Op, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]:
    """Return the operands and the attributes of a call of the public function.

    Raises:
        ArgumentTypeError: for missing, unknown or doubled arguments.
    """
    parameters = op.parameters
    values = dict(zip(op.names, args, strict=False))
    if len(args) > len(parameters) or not values.keys().isdisjoint(given):
        raise _bad_arguments(op, args, given)
    values.update(given)
    for p in parameters:
        if p.name not in values:
            if p.required:
                raise _bad_arguments(op, args, given)
            values[p.name] = p.default
    if len(values) != len(parameters):
        raise _bad_arguments(op, args, given)
    attributes = tuple([(n, frozen(values[n])) for n in op.attribute_names])
    operands = tuple([values[p.name] for p in parameters if p.role is not Role.ATTRIBUTE])
    if operands and parameters[0].role is Role.ARRAYS:
        if not isinstance(operands[0], tuple | list):
            raise ArgumentTypeError(
                f"{op.name} takes a sequence of arrays; {type(operands[0]).__name__} given", op=op.name
            )
        operands = (*operands[0], *operands[1:])
    return operands, attributes


def _general(op: Op) -> Callable[..., Result]:
    count = op.operand_count

    def call(*args: Any, out: Array | None = None, **given: Any) -> Result:
        operands = [x for x in args if x.__class__ is Array]
        # The short way: every operand an array, given by position, and arguments that were seen before.
        short = (
            op,
            tuple([x._sig if x.__class__ is Array else exact(x) for x in args]),
            tuple([(k, exact(v)) for k, v in given.items()]),
        )
        hits = current().slot.tables.hits
        if len(operands) == count:
            try:
                decision = hits[short]
            except (KeyError, TypeError):
                pass
            else:
                if out is None and not OBSERVERS:
                    results = decision.run(operands, None)
                    return results if decision.many else results[0]
                return run_decision(decision, list(operands), out)
        bound, attributes = bind(op, args, given)
        result = invoke(op, bound, attributes, out)
        if out is None and len(operands) == count == len(bound) and all(map(is_, bound, operands)):
            known = hits.get((op, tuple([x._sig for x in operands]), exact(attributes) if attributes else ()))
            if known is not None:
                with suppress(TypeError):  # a list given for a tuple: right, but never on the short way
                    hits[short] = known
        return result

    return call


def _bad_arguments(op: Op, args: tuple[Any, ...], given: dict[str, Any]) -> ArgumentTypeError:
    wanted = ", ".join(p.name if p.required else f"{p.name}={p.default!r}" for p in op.parameters)
    names = ", ".join([*(type(a).__name__ for a in args), *(f"{k}=..." for k in given)])
    return ArgumentTypeError(f"{op.name}({wanted}) was called as {op.name}({names})", op=op.name)

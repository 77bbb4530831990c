"""What may happen in a history. Each rule does something with opmux and the same with the model, and says so."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ....core.arrays import metadata
from ....core.arrays.array import Array
from ....core.arrays.creation import asarray
from ....core.arrays.ownership import OutError
from ....core.devices.device import Device, find_device
from ....core.devices.queues import use_queue
from ....core.dispatch.policy import policy
from ....core.dtypes import dtype
from ....core.errors import ConformanceError, UnsupportedError
from ....core.op import OPS
from ....core.plugins import manager
from ...oracle.formats import Host
from ...target import only
from .falsify import Choices
from .model_machine import MEANINGS, MOST_HANDLES, Handle, Machine
from .model_plugins import KIND, STRANGER, VISITOR, Stranger, Visitor

_DTYPES: Final = ("float32", "int32", "bool")
_SHAPES: Final = ((3,), (2, 3), (), (4, 1), (0,), (2, 2, 2), (17,))
#: Settings that leave it to the backend whether it serves a call.
_POLICIES: Final[tuple[dict[str, Any], ...]] = (
    {"determinism": "run"},
    {"max_ulp": 100.0},
    {"claims": "shown"},
    {"determinism": "none", "max_ulp": None},
    {"fallback_budget": 0},
)

Rule = Callable[[Machine, Choices], None]


def _create(m: Machine, c: Choices) -> None:
    t, shape = c.pick(_DTYPES), c.pick(_SHAPES)
    device = m.target.device if c.flag() else m.cpu
    value = (np.arange(int(np.prod(shape))) * c.between(1, 5) % 7 - 2).reshape(shape).astype(t)
    made = asarray(value, dtype=dtype(t), device=device, copy=True)
    m.add(made, value, f"ox.asarray(np.array({value.tolist()}, {t!r}), device={device.name!r}, copy=True)")


def _import(m: Machine, c: Choices) -> None:
    """Memory of the host program: read in place, never written."""
    value = np.arange(6, dtype=np.float32).reshape(2, 3) * c.between(1, 3)
    m.exports.append((f"the NumPy array behind {m.next_name}", value, value.copy()))
    m.add(asarray(value, device=m.cpu), value, f"ox.asarray(np.array({value.tolist()}, 'float32'), device='cpu')")


def _views(x: Any, shape: tuple[int, ...], how: int) -> tuple[str, Callable[[Array], Array], Callable[[Host], Host]]:
    rank = len(shape)
    turned = tuple(reversed(range(rank)))
    return (
        ("[::-1]", lambda a: a[::-1] if rank else a[...], lambda v: v[::-1] if rank else v),
        ("[..., 1:]", lambda a: a[..., 1:] if rank else a[...], lambda v: v[..., 1:] if rank else v),
        ("[..., ::2]", lambda a: a[..., ::2] if rank else a[...], lambda v: v[..., ::2] if rank else v),
        (f".permute_dims({turned})", lambda a: metadata.permute_dims(a, turned), lambda v: v.transpose(turned)),
        (
            f".broadcast_to({(2, *shape)})",
            lambda a: metadata.broadcast_to(a, (2, *shape)),
            lambda v: np.broadcast_to(v, (2, *shape)),
        ),
        (".reshape(-1)", lambda a: metadata.reshape(a, -1), lambda v: v.reshape(-1)),
        ("[...]", lambda a: a[...], lambda v: v),
    )[how]


def _view(m: Machine, c: Choices) -> None:
    h = m.pick(c, lambda h: h.value.ndim < 5)
    if h is None:
        return
    text, look, same = _views(h.array, h.value.shape, c.below(7))
    made = m.call(lambda: look(h.array))
    if made is not None:
        m.add(made, same(h.value), f"{h.name}{text}")
        del made


def _alias(m: Machine, c: Choices) -> None:
    h = m.pick(c)
    if h is not None:
        m.add(copy.copy(h.array), h.value, f"copy.copy({h.name})")


def _drop(m: Machine, c: Choices) -> None:
    if m.handles:
        h = m.handles.pop(-1 - min(c.below(MOST_HANDLES), len(m.handles) - 1))
        m.log.append(f"del {h.name}")


def _export(m: Machine, c: Choices) -> None:
    """A NumPy view that outlives what its handle becomes."""
    h = m.pick(c)
    if h is not None and len(m.exports) < MOST_HANDLES:
        m.log.append(f"seen = {h.name}.numpy()")
        m.exports.append((f"an export of {h.name}", h.array.numpy(), h.value.copy()))


def _set(m: Machine, c: Choices) -> None:
    """``x[key] = value``, with a number or with another array."""
    h = m.pick(c)
    if h is None:
        return
    key: Any = c.pick((..., slice(None, None, 2), slice(1, None), 0))
    if key != ... and (not h.value.ndim or not h.value.shape[0]):
        key = ...
    other = m.pick(c, lambda o: _fits(o, h, key))
    number = h.value.dtype == np.bool_ or 1
    use = other if c.flag() else None
    m.log.append(f"{h.name}[{_key_text(key)}] = {number if use is None else use.name}")
    changed = h.value.copy()
    changed[key] = number if use is None else use.value
    try:
        h.array[key] = number if use is None else use.array
    except UnsupportedError:
        m.log.append("# refused")
        return
    h.value = changed


def _key_text(key: Any) -> str:
    if isinstance(key, slice):
        return ":".join("" if v is None else str(v) for v in (key.start, key.stop, key.step))
    return "..." if key is ... else str(key)


def _fits(o: Handle, h: Handle, key: Any) -> bool:
    if o.value.dtype != h.value.dtype or o.array.device is not h.array.device:
        return False
    try:
        return bool(np.broadcast_shapes(o.value.shape, h.value[key].shape) == h.value[key].shape)
    except ValueError:
        return False


def _plus(x: Array, y: Array) -> Array:
    x += y
    return x


def _update(m: Machine, c: Choices) -> None:
    """``x += y``, under which other handles on the old value keep it."""
    h = m.served_handle(c)
    if h is None or "add" not in m.served:
        return
    other = m.pick(c, lambda o: _fits(o, h, ...))
    if other is None:
        return
    m.log.append(f"{h.name} += {other.name}")
    total = np.asarray(h.value + other.value)
    made = m.call(lambda: _plus(h.array, other.array))
    if made is not None:
        h.array, h.value = made, total
        m.watch(made)


def _operands(m: Machine, c: Choices) -> tuple[str, list[Handle]] | None:
    h = m.served_handle(c)
    if h is None or not m.served:
        return None
    op = c.pick(sorted(m.served))
    if OPS[op].operand_count == 1:
        return op, [h]
    other = m.pick(c, lambda o: _fits(o, h, ...))
    return None if other is None else (op, [h, other])


def _op(m: Machine, c: Choices) -> None:
    found = _operands(m, c)
    if found is None:
        return
    op, given = found
    value = np.asarray(MEANINGS[op](*[h.value for h in given]))
    made = m.call(lambda: OPS.public[op](*[h.array for h in given]))
    if made is not None:
        m.add(made, value, f"ox.{op}({', '.join(h.name for h in given)})")


def _out(m: Machine, c: Choices) -> None:
    """``out=``: it is consumed, or refused and as it was."""
    found = _operands(m, c)
    if found is None:
        return
    op, given = found
    value = np.asarray(MEANINGS[op](*[h.value for h in given]))
    out = m.pick(c, lambda o: o.value.dtype == value.dtype and o.array.device is m.target.device)
    if out is None:
        return
    call = f"ox.{op}({', '.join(h.name for h in given)}, out={out.name})"
    try:
        made = m.call(lambda: OPS.public[op](*[h.array for h in given], out=out.array))
    except OutError:
        m.log.append(f"{call}  # OutError: it is shared, or has another shape")
        return
    if made is not None:
        if out.value.shape != value.shape:
            raise ConformanceError(f"{call} took an out= of another shape")
        out.consumed = True
        m.add(made, value, call)


def _move(m: Machine, c: Choices) -> None:
    h = m.pick(c)
    if h is not None:
        devices = [m.target.device, m.cpu, *([find_device(KIND)] if VISITOR in m.plugins else [])]
        device = c.pick(devices)
        m.add(h.array.to_device(device), h.value, f"{h.name}.to_device({device.name!r})")


def _enter(m: Machine, c: Choices) -> None:
    if len(m.policies) < 4:
        changes = c.pick(_POLICIES)
        stack = contextlib.ExitStack()
        m.log.append(f"enter ox.policy(**{changes})")
        m.policies.append((stack, stack.enter_context(policy(**changes))))


def _leave(m: Machine, c: Choices) -> None:
    if m.policies:
        m.log.append("leave the policy")
        m.policies.pop()[0].close()


def _forbidden(m: Machine, c: Choices) -> None:
    """Where no backend may run, nothing runs."""
    found = _operands(m, c)
    if found is None:
        return
    op, given = found
    with policy(backends=(), fallback="forbid"):
        try:
            OPS.public[op](*[h.array for h in given])
        except UnsupportedError:
            return
    raise ConformanceError(f"ox.{op} ran under a policy that allows no backend")


def _on_a_queue(m: Machine, c: Choices) -> None:
    """A call on another queue, from and to calls on the default one."""
    with use_queue(m.target.device.queue()) as queue:
        m.log.append(f"with ox.use_queue(ox.device({m.target.device.name!r}).queue()):")
        _op(m, c)
        if c.flag():
            queue.synchronize()


def _synchronize(m: Machine, c: Choices) -> None:
    m.log.append(f"ox.device({m.target.device.name!r}).synchronize()")
    m.target.device.synchronize()


def _plugin(m: Machine, c: Choices) -> None:
    """A backend comes, or goes."""
    name = c.pick((STRANGER, VISITOR))
    if name in m.plugins:
        m.log.append(f"unregister {name}")
        del m.plugins[name]
        manager.unregister(name)
        return
    m.log.append(f"register {name}")
    plugin: object = Stranger(m.target.device.kind, sorted(MEANINGS)) if name == STRANGER else Visitor()
    manager.register(name, plugin)
    m.plugins[name] = plugin


def _visit(m: Machine, c: Choices) -> None:
    """A call on the device of a backend that came later."""
    if VISITOR not in m.plugins:
        return
    device: Device = find_device(KIND)
    h = m.pick(c, lambda h: h.array.device is device and h.value.dtype != np.bool_)
    if h is not None:
        with only(VISITOR):
            m.add(OPS.public["negative"](h.array), np.negative(h.value), f"ox.negative({h.name})  # by {VISITOR}")


#: The rules, those that make something first and more often.
RULES: Final[tuple[Rule, ...]] = (
    _create, _create, _op, _view, _set, _update, _out, _alias, _move, _view, _op, _set, _out, _import, _export, _drop,
    _enter, _leave, _forbidden, _on_a_queue, _synchronize, _plugin, _plugin, _visit, _move,
)  # fmt: skip

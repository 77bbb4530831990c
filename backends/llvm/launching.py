"""From compiled code to what opmux launches: an entry bound to its parameters."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...plugin import Array, Launch, NativeEntry, Prepared
from .invoke import Invoke, invoker
from .jit import Module

Parameters = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BoundCode:
    """An entry and its parameters; both live as long as this object.

    `entry` and `params` are addresses, for `invoke`; `block` holds the parameters; `modules` the code, that of an
    address among the parameters too.
    """

    modules: tuple[Module, ...]
    entry: int
    params: int
    block: Any

    def native(self) -> NativeEntry:
        """The same for callers that need no Python."""
        return NativeEntry(self.entry, self.block.raw, self)


def bind(module: Module, entry: str, parameters: Parameters, *others: Module) -> BoundCode:
    """Bind an entry of a module to its parameters; the others are modules that the parameters point into."""
    return bind_address(module, module.address(entry), parameters.tobytes(), *others)


def bind_address(module: Module, entry: int, data: bytes, *others: Module) -> BoundCode:
    """Bind an address within a module to a block of parameters."""
    block = ctypes.create_string_buffer(data, len(data))
    return BoundCode((module, *others), entry, ctypes.addressof(block), block)


def prepared(code: BoundCode, operands: int) -> Prepared:
    """A prepared kernel that passes so many inputs, then the output, to an entry."""
    make = _LAUNCHES[operands] if operands < len(_LAUNCHES) else _launch_many
    return Prepared(make(invoker(), code), native=code.native())


# One function per number of operands: building a list of addresses costs as much as a small kernel. The default
# argument keeps the code alive and makes its address a local name.
def _launch_0(invoke: Invoke, code: BoundCode) -> Launch:
    entry, params = code.entry, code.params

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any, _: Any = code) -> None:
        invoke(entry, params, outs[0].ptr)

    return launch


def _launch_1(invoke: Invoke, code: BoundCode) -> Launch:
    entry, params = code.entry, code.params

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any, _: Any = code) -> None:
        invoke(entry, params, ins[0].ptr, outs[0].ptr)

    return launch


def _launch_2(invoke: Invoke, code: BoundCode) -> Launch:
    entry, params = code.entry, code.params

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any, _: Any = code) -> None:
        invoke(entry, params, ins[0].ptr, ins[1].ptr, outs[0].ptr)

    return launch


def _launch_many(invoke: Invoke, code: BoundCode) -> Launch:
    entry, params = code.entry, code.params

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any, _: Any = code) -> None:
        invoke(entry, params, *[x.ptr for x in ins], outs[0].ptr)

    return launch


_LAUNCHES: Final[tuple[Callable[[Invoke, BoundCode], Launch], ...]] = (_launch_0, _launch_1, _launch_2)

"""Calling native code from Python: one function that CPython calls directly, itself compiled here.

A call through `ctypes` costs several times what a small kernel takes. `invoke(entry, params, *buffers)` is a function
object over native code that follows CPython's own calling convention (`METH_FASTCALL`, of its stable interface): it
puts the addresses into an array on the stack, lets other Python threads run, and calls the entry.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Final

from .ir import Function, module_text
from .jit import Module, compile_ir
from .lower import OPTIONS

_METH_FASTCALL: Final = 0x80
_SYMBOL: Final = "invoke"
# Where arguments are no addresses, PyErr_Occurred says so: the exception is set already.
_PYTHON: Final = (
    "declare ptr @PyLong_AsVoidPtr(ptr)",
    "declare ptr @PyErr_Occurred()",
    "declare ptr @PyEval_SaveThread()",
    "declare void @PyEval_RestoreThread(ptr)",
    "declare ptr @PyLong_FromLong(i64)",
)

Invoke = Callable[..., int]


class _MethodDefinition(ctypes.Structure):
    """CPython's `PyMethodDef`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def invoke_ir(brief: bool = False) -> str:
    """The module of `PyObject *invoke(PyObject *self, PyObject *const *args, Py_ssize_t n)`, for n of at least 2."""
    f = Function(_SYMBOL, [("ptr", "%self"), ("ptr", "%args"), ("i64", "%n")], "ptr")
    addresses = f.value("alloca ptr, i64 %n, align 8")
    with f.loop(0, "%n") as loop:
        given = f.load("ptr", f.address("%args", loop.index, "ptr"), 8)
        f.store("ptr", f.call("ptr", "PyLong_AsVoidPtr", [("ptr", given)]), f.address(addresses, loop.index, "ptr"), 8)
    wrong = f.call("ptr", "PyErr_Occurred", [])
    f.return_if(f.value(f"icmp ne ptr {wrong}, null"), "ret ptr null")
    entry, params = (f.load("ptr", f.address(addresses, i, "ptr"), 8) for i in range(2))
    state = "" if brief else f.call("ptr", "PyEval_SaveThread", [])
    status = f.value(f"call i32 {entry}(ptr {f.address(addresses, 2, 'ptr')}, ptr {params}, ptr null)")
    if not brief:
        f.call("void", "PyEval_RestoreThread", [("ptr", state)])
    f.emit(f"ret ptr {f.call('ptr', 'PyLong_FromLong', [('i64', f.value(f'sext i32 {status} to i64'))])}")
    return module_text([f], _PYTHON)


# What the function object points into; it must never go away before the object does.
_kept: Final[list[tuple[Module, _MethodDefinition]]] = []


@functools.cache
def invoker(brief: bool = False) -> Invoke:
    """`invoke(entry, params, *buffers)`: all addresses as int, 0 for null; returns the entry's status.

    The queue argument is null. Other Python threads run meanwhile; not where the entry is *brief*: for what takes less
    than a microsecond, letting them is a good part of the call. Raises TypeError, and calls nothing, where an argument
    is not an int.
    """
    module = compile_ir(invoke_ir(brief), [_SYMBOL], OPTIONS)
    definition = _MethodDefinition(_SYMBOL.encode(), module.address(_SYMBOL), _METH_FASTCALL, None)
    _kept.append((module, definition))
    new = ctypes.pythonapi.PyCFunction_NewEx
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    made: Invoke = new(ctypes.addressof(definition), None, None)
    return made

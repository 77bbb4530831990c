"""What the machine can do at best: native loops for fused multiply-adds and for memory traffic.

The loops are LLVM IR compiled for this machine, so that a share of the limit is quoted against the same CPU, in the
same run, and not against a data sheet. Every thread runs its own loop over its own memory; time is from the first start
to the last end.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np

from opmux.backends.llvm.ir import Function, module_text, splat, vector_type
from opmux.backends.llvm.jit import CompileOptions, Module, assembly, compile_ir
from opmux.backends.llvm.target import Target, host_target

Traffic = Literal["read", "write", "copy"]
TRAFFIC: Final[tuple[Traffic, ...]] = ("read", "write", "copy")
_ELEMENT: Final = {"float32": ("float", 4), "float64": ("double", 8)}
#: A fused multiply-add takes 4 cycles and two start in each on every current server core, so 8 chains are the least;
#: 12 and two operands fit the 16 vector registers of AVX2.
_CHAINS: Final = 12
#: Vectors moved per turn of a loop.
_UNROLL: Final = 8
# The loops name their vectors and unroll themselves.
_OPTIONS: Final = CompileOptions(speed_level=2, vectorize=False, unroll=False)
_ENTRY: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


def fma_function(dtype: str, target: Target) -> Function:
    """Return ``fma_DTYPE(data, unused, repeats)``: _CHAINS independent fused multiply-adds per repeat.

    ``data`` holds _CHAINS + 2 vectors: where the chains start, and the two constants x and y of ``a = a * x + y``.
    """
    element, size = _ELEMENT[dtype]
    lanes = target.lanes(size)
    kind = vector_type(lanes, element)
    f = Function(f"fma_{dtype}", [("ptr", "%data"), ("i64", "%unused"), ("i64", "%repeats")])
    slots = [f.address("%data", i, kind) for i in range(_CHAINS + 2)]
    *starts, x, y = [f.load(kind, slot, target.vector_bytes) for slot in slots]
    with f.loop(0, "%repeats", 1, [(kind, start) for start in starts]) as loop:
        name = f"llvm.fma.v{lanes}f{size * 8}"
        loop.hand_on(*[f.call(kind, name, [(kind, a), (kind, x), (kind, y)]) for a in loop.carried])
    for slot, last in zip(slots, loop.results, strict=False):
        f.store(kind, last, slot, target.vector_bytes)
    f.emit("ret void")
    return f


def traffic_function(traffic: Traffic, streaming: bool, target: Target) -> Function:
    """Return ``TRAFFIC[_streaming](data, vectors, repeats)``: passes over ``data``, a multiple of _UNROLL vectors.

    A copy goes from the first half to the second, whose vectors are counted once. Loads and stores are volatile, which
    keeps every one of them; streaming stores go past the caches.
    """
    lanes = target.lanes(4)
    kind = vector_type(lanes, "i32")
    name = traffic + ("_streaming" if streaming else "")
    f = Function(name, [("ptr", "%data"), ("i64", "%vectors"), ("i64", "%repeats")])
    where = f"align {target.vector_bytes}" + (", !nontemporal !0" if streaming else "")
    second = f.address("%data", "%vectors", kind)
    ones = splat(f, "1", lanes, "i32")
    with f.loop(0, "%repeats"), f.loop(0, "%vectors", _UNROLL) as inner:
        slots = [f.add(inner.index, i) for i in range(_UNROLL)]
        values = [ones] * _UNROLL
        if traffic != "write":
            pointers = [f.address("%data", slot, kind) for slot in slots]
            values = [f.value(f"load volatile {kind}, ptr {p}, align {target.vector_bytes}") for p in pointers]
        if traffic != "read":
            to = "%data" if traffic == "write" else second
            for slot, value in zip(slots, values, strict=True):
                f.emit(f"store volatile {kind} {value}, ptr {f.address(to, slot, kind)}, {where}")
    if streaming:
        f.emit("fence seq_cst")
    f.emit("ret void")
    return f


def probe_text(target: Target) -> tuple[str, list[str]]:
    """Return the IR text of all probes, and their names."""
    functions = [fma_function(dtype, target) for dtype in _ELEMENT]
    functions += [traffic_function(t, s, target) for t in TRAFFIC for s in ((False,) if t == "read" else (False, True))]
    return module_text(functions) + "!0 = !{i32 1}\n", [f.name for f in functions]


def probe_assembly() -> str:
    """Return the probes' native code as text."""
    return assembly(probe_text(host_target())[0], _OPTIONS)


@functools.cache
def _entries() -> tuple[dict[str, Any], Module]:
    text, names = probe_text(host_target())
    module = compile_ir(text, names, _OPTIONS)
    return {name: _ENTRY(module.address(name)) for name in names}, module


def aligned_bytes(nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return zeroed memory at a multiple of 4096 bytes, touched."""
    raw = np.empty(nbytes + 4096, np.uint8)
    start = -raw.ctypes.data % 4096
    made = raw[start : start + nbytes]
    made[:] = 0
    return made


def run_threads(tasks: Sequence[Callable[[], object]]) -> float:
    """Run every task in a thread of its own, all started together; return seconds from first start to last end."""
    barrier = threading.Barrier(len(tasks))
    spans: list[tuple[float, float]] = []

    def work(task: Callable[[], object]) -> None:
        barrier.wait()
        start = time.perf_counter()
        task()
        spans.append((start, time.perf_counter()))

    threads = [threading.Thread(target=work, args=(task,)) for task in tasks[1:]]
    for thread in threads:
        thread.start()
    work(tasks[0])
    for thread in threads:
        thread.join()
    return max(end for _, end in spans) - min(start for start, _ in spans)


class FlopsProbe:
    """Fused multiply-adds of one dtype on so many threads.

    Attributes:
        work: flops of one repetition.
    """

    _TURNS: Final = 10_000

    def __init__(self, dtype: str, threads: int) -> None:
        size = np.dtype(dtype).itemsize
        target = host_target()
        self._entry = _entries()[0][f"fma_{dtype}"]
        self._data = [aligned_bytes((_CHAINS + 2) * target.vector_bytes).view(dtype) for _ in range(threads)]
        for data in self._data:
            data[:] = np.linspace(1.0, 2.0, data.size)
            data[_CHAINS * target.lanes(size) :] = 0.5  # a * 0.5 + 0.5 stays near 1
        self.work = 2.0 * _CHAINS * target.lanes(size) * self._TURNS * threads

    def seconds(self, repetitions: int) -> float:
        """Run it so often and return the seconds that took."""
        turns = repetitions * self._TURNS
        return run_threads([functools.partial(self._entry, d.ctypes.data, 0, turns) for d in self._data])


class TrafficProbe:
    """Reads, writes or copies through a working set of so many bytes, cut into one part per thread.

    A copy's working set is source and target together; bytes count reads and writes, not what a cache fetches before it
    is written. Of plain and streaming stores the faster kind is taken.

    Attributes:
        work: bytes of one repetition.
        stores: ``"plain"`` or ``"streaming"``; None for reads.
    """

    def __init__(self, traffic: Traffic, nbytes: float, threads: int) -> None:
        target = host_target()
        step = _UNROLL * target.vector_bytes * (2 if traffic == "copy" else 1)
        each = max(int(nbytes / threads) // step, 1) * step
        self._data = [aligned_bytes(each) for _ in range(threads)]
        self._vectors = each // target.vector_bytes // (2 if traffic == "copy" else 1)
        # Passes per repetition: at least 1 MiB each, so that the call is not what is measured.
        self._passes = max((1 << 20) // each, 1)
        self.work = float(each * threads * self._passes)
        self._name: str = traffic
        self.stores: str | None = None
        if traffic != "read":
            self._name = min((traffic, f"{traffic}_streaming"), key=self._time_of)
            self.stores = "streaming" if self._name.endswith("streaming") else "plain"

    def _time_of(self, name: str) -> float:
        return min(self._run(name, 1) for _ in range(3))

    def _run(self, name: str, repetitions: int) -> float:
        entry = _entries()[0][name]
        passes = repetitions * self._passes
        return run_threads([functools.partial(entry, d.ctypes.data, self._vectors, passes) for d in self._data])

    def seconds(self, repetitions: int) -> float:
        """Run it so often and return the seconds that took."""
        return self._run(self._name, repetitions)


def levels(quick: bool) -> list[tuple[str, int, bool]]:
    """Return (level, bytes, whether they are per thread) for first, second and last-level cache and memory."""
    caches = host_target().caches
    last = min(max(caches.l3 // 4, 2 * caches.l2), 32 << 20) if caches.l3 else 2 * caches.l2
    # Twice the last-level cache, but no more than 640 MiB: a virtual machine reports a cache that it shares.
    memory = (16 << 20) if quick else min(max(2 * caches.l3, 256 << 20), 640 << 20)
    return [("L1", caches.l1 // 2, True), ("L2", caches.l2 // 2, True), ("L3", last, False), ("memory", memory, False)]

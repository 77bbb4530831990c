"""Kernels that calls of opmux use, whatever family they belong to: one call of each kind, made for an H200."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import opmux as ox
from opmux.backends.cuda.device.runtime import Extent, Properties
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime

from . import Variant


class Recorder(HostRuntime):
    """An H200 that does nothing, and keeps the texts that it is to compile.

    Attributes:
        texts: by module.
        launched: module and entry of each launch.
        shared: the most dynamic shared memory that a launch had, by module and entry.
    """

    launched: ClassVar[list[tuple[bytes, str]]] = []
    shared: ClassVar[dict[tuple[bytes, str], int]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.launched.clear()
        self.shared.clear()  # modules are numbered anew
        self.properties = Properties("NVIDIA H200", (9, 0), 1 << 37, 132, 1.98e9, 4.9e12, 60 << 20)
        self.compiler = self  # type: ignore[assignment]
        self.texts: dict[bytes, tuple[str, tuple[str, ...]]] = {}

    def image(self, body: str, parts: Sequence[str]) -> bytes:
        key = str(len(self.texts)).encode()
        self.texts[key] = body, tuple(parts)
        return key

    def load(self, image: bytes) -> bytes:  # type: ignore[override]
        return image

    def function(self, module: bytes, name: str, dynamic_shared: int) -> tuple[bytes, str]:
        return module, name

    def launch(self, function: tuple[bytes, str], grid: Extent, block: Extent, shared: int, *rest: object) -> None:
        self.launched.append(function)
        self.shared[function] = max(self.shared.get(function, 0), shared)


def zeros(*shape: int, dtype: ox.DType = ox.float32) -> ox.Array:
    return ox.zeros(shape, dtype=dtype, device="cuda:0")


def product(dtype: ox.DType, n: int = 2048) -> Callable[[], object]:
    return lambda: ox.matmul(zeros(n, 512, dtype=dtype), zeros(512, n, dtype=dtype))


def region(
    function: Callable[..., object], *shapes: tuple[int, ...], dtype: ox.DType = ox.float32
) -> Callable[[], object]:
    """Return a call of a compiled function; what makes its operands is left out."""
    return eager(ox.compile(function), *shapes, dtype=dtype)


def eager(
    function: Callable[..., object], *shapes: tuple[int, ...], dtype: ox.DType = ox.float32
) -> Callable[[], object]:
    """Return a call of a function as it is; likewise."""

    def call() -> object:
        operands = [zeros(*s, dtype=dtype) for s in shapes]
        Recorder.launched.clear()
        return function(*operands)

    return call


def places() -> ox.Array:
    """Return indices."""
    return zeros(5, dtype=ox.int64)


def moved(dtype: ox.DType) -> dict[str, Callable[[], object]]:
    """Return calls that move words as wide as elements of this dtype."""
    return {
        f"concat {dtype}": eager(lambda *x: ox.concat(x, axis=1), *[(64, 3)] * 20, dtype=dtype),
        f"copy of transposed {dtype}": lambda: ox.copy(ox.permute_dims(zeros(64, 64, dtype=dtype), (1, 0))),
        f"gather {dtype}": lambda: ox.gather(zeros(64, 3, dtype=dtype), places()),
        f"scatter {dtype}": lambda: ox.scatter(zeros(64, 3, dtype=dtype), places(), zeros(5, 3, dtype=dtype)),
    }


CALLS: dict[str, Callable[[], object]] = {
    **{f"matmul {t}": product(t) for t in (ox.float32, ox.float64, ox.bfloat16, ox.int8)},
    **{f"large matmul {t}": product(t, 8192) for t in (ox.bfloat16, ox.int8)},
    "large matmul int8 by rows": lambda: ox.matmul(
        zeros(8192, 512, dtype=ox.int8), ox.permute_dims(zeros(8192, 512, dtype=ox.int8), (1, 0))
    ),
    "matmul float32 in shares": lambda: ox.matmul(zeros(64, 1 << 16), zeros(1 << 16, 64)),
    "sum float32 rows": lambda: ox.sum(zeros(64, 4096), axis=1),
    "sum float16 columns": lambda: ox.sum(zeros(4096, 64, dtype=ox.float16), axis=0),
    "sum float64 all": lambda: ox.sum(zeros(1 << 20, dtype=ox.float64)),
    "sum float32 of axes apart": lambda: ox.sum(zeros(64, 5, 4096), axis=(0, 2)),
    "sum float32 of few": lambda: ox.sum(zeros(30, 4096), axis=0),
    "sum complex128 of few": lambda: ox.sum(zeros(2, 5, 4096, dtype=ox.complex128), axis=(0, 1)),
    "argmax float64 of few": lambda: ox.argmax(zeros(16, 4096, dtype=ox.float64), axis=0),
    "argmax float32": lambda: ox.argmax(zeros(64, 4096), axis=1),
    "cumulative_sum float32": lambda: ox.cumulative_sum(zeros(64, 4096), axis=1),
    "cumulative_sum float32 of many rows": lambda: ox.cumulative_sum(zeros(10000, 64), axis=1),
    "cumulative_sum float32 of many columns": lambda: ox.cumulative_sum(zeros(64, 10000), axis=0),
    "sort float32": lambda: ox.sort(zeros(64, 4096), axis=1),
    "scatter and add float32": lambda: ox.scatter(zeros(64, 64), places(), zeros(5, 64), reduction="add"),
    "argsort int64": lambda: ox.argsort(zeros(9, 4000, dtype=ox.int64), axis=1),
    "searchsorted float32": lambda: ox.searchsorted(zeros(64), zeros(64, 64)),
    **moved(ox.int8),
    **moved(ox.int16),
    **moved(ox.float32),
    **moved(ox.float64),
    **moved(ox.complex128),
    "iota bfloat16": lambda: ox.iota((64, 64), 1, dtype=ox.bfloat16, device="cuda:0"),
    "sum complex128 rows": lambda: ox.sum(zeros(64, 4096, dtype=ox.complex128), axis=1),
    "matmul complex128": product(ox.complex128),
    "chain float32": region(lambda x, y: ox.exp(-x) * y + 2.0, (64, 4096), (64, 4096)),
    "chain of a row float32": region(lambda x, y: ox.exp(-x) * y + 2.0, (64, 4096), (4096,)),
    "softmax float32": region(lambda x: ox.softmax(x), (64, 4096)),
    "softmax bfloat16 of long rows": region(lambda x: ox.softmax(x), (64, 1 << 17), dtype=ox.bfloat16),
    "layer_norm float32": region(lambda x, w, b: ox.layer_norm(x, w, b), (64, 4096), (4096,), (4096,)),
    "softmax float32 of columns": region(lambda x: ox.softmax(x, axis=0), (1024, 4096)),
    "softmax bfloat16 of channels": region(lambda x: ox.softmax(x, axis=1), (64, 19, 64, 64), dtype=ox.bfloat16),
    "weighted sum float32 of columns": region(
        lambda x, w, m: ox.sum((x - m) * w, axis=0), (4096, 512), (4096, 1), (512,)
    ),
    "norm float64 of long columns": region(
        lambda x: (x - ox.mean(x, axis=0)) / ox.std(x, axis=0), (5000, 512), dtype=ox.float64
    ),
    "matmul and bias float32": region(lambda x, y, b: ox.tanh(x @ y + b), (512, 512), (512, 512), (512,)),
    "matmul and bias float16": region(
        lambda x, y, b: ox.tanh(x @ y + b), (512, 512), (512, 512), (512,), dtype=ox.float16
    ),
    "large matmul, bias and residual bfloat16": region(
        lambda x, y, b, r: ox.maximum(x @ y + b, 0.0) + r,
        (4096, 1024),
        (1024, 4096),
        (4096,),
        (4096, 4096),
        dtype=ox.bfloat16,
    ),
    "large matmul and gelu bfloat16 of odd columns": region(
        lambda x, y, b: ox.gelu(x @ ox.permute_dims(y, (1, 0)) + b),
        (4096, 1024),
        (4095, 1024),
        (4095,),
        dtype=ox.bfloat16,
    ),
    "random_bits": lambda: ox.random_bits(zeros(2, dtype=ox.uint32), zeros(4, dtype=ox.uint32), shape=4096),
}


#: What fills operands.
_FILLS = ("elementwise_dense", "move_u128")
#: Calls that are about such kernels, and leave out what fills their operands.
_OF_FILLS = ("chain", "concat")


def carry_out(runtime: Recorder) -> Iterator[tuple[str, bytes, str]]:
    """Make every call on the registered GPU, and yield what it is the first to ask for: its name, module and entry."""
    known = set()
    for name, call in CALLS.items():
        runtime.launched.clear()
        with ox.policy(fallback="forbid"):
            call()
        for module, entry in dict.fromkeys(runtime.launched):
            if (entry not in _FILLS or name.startswith(_OF_FILLS)) and (module, entry) not in known:
                known.add((module, entry))
                yield name, module, entry


def variants() -> Iterator[Variant]:
    runtime = Recorder()
    with registered(OnHost(runtime)):
        for name, module, entry in carry_out(runtime):
            yield Variant(f"{name}, {entry}", *runtime.texts[module], entry, runtime.shared[module, entry])

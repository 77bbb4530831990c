"""Kernels that calls of opmux use, whatever family they belong to: one call of each kind, made for an H200."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import opmux as ox
from opmux.backends.cuda.runtime import Properties
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime

from . import Variant


class Recorder(HostRuntime):
    """An H200 that does nothing, and keeps the texts that it is to compile and the entries that are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.properties = Properties("NVIDIA H200", (9, 0), 1 << 37, 132, 1.98e9, 4.9e12, 60 << 20)
        self.compiler = self  # type: ignore[assignment]
        self.texts: dict[bytes, tuple[str, tuple[str, ...]]] = {}
        self.used: list[tuple[bytes, str]] = []

    def image(self, body: str, parts: Sequence[str]) -> bytes:
        key = str(len(self.texts)).encode()
        self.texts[key] = body, tuple(parts)
        return key

    def load(self, image: bytes) -> bytes:  # type: ignore[override]
        return image

    def function(self, module: bytes, name: str, dynamic_shared: int) -> object:
        if (module, name) not in self.used:
            self.used.append((module, name))
        return name

    def launch(self, *args: object) -> None:
        """Nothing is carried out."""


def zeros(*shape: int, dtype: ox.DType = ox.float32) -> ox.Array:
    return ox.zeros(shape, dtype=dtype, device="cuda:0")


def product(dtype: ox.DType) -> Callable[[], object]:
    return lambda: ox.matmul(zeros(2048, 512, dtype=dtype), zeros(512, 2048, dtype=dtype))


CALLS: dict[str, Callable[[], object]] = {
    **{f"matmul {t}": product(t) for t in (ox.float32, ox.float64, ox.bfloat16, ox.int8)},
    "sum float32 rows": lambda: ox.sum(zeros(64, 4096), axis=1),
    "sum float16 columns": lambda: ox.sum(zeros(4096, 64, dtype=ox.float16), axis=0),
    "sum float64 all": lambda: ox.sum(zeros(1 << 20, dtype=ox.float64)),
    "argmax float32": lambda: ox.argmax(zeros(64, 4096), axis=1),
    "cumulative_sum float32": lambda: ox.cumulative_sum(zeros(64, 4096), axis=1),
    "sort float32": lambda: ox.sort(zeros(64, 4096), axis=1),
    "gather float32": lambda: ox.gather(zeros(64, 64), zeros(5, dtype=ox.int64)),
    "scatter float32": lambda: ox.scatter(zeros(64, 64), zeros(5, dtype=ox.int64), zeros(5, 64), reduction="add"),
    "argsort int64": lambda: ox.argsort(zeros(9, 4000, dtype=ox.int64), axis=1),
    "searchsorted float32": lambda: ox.searchsorted(zeros(64), zeros(64, 64)),
    "concat int8": lambda: ox.concat([zeros(64, 3, dtype=ox.int8)] * 20, axis=1),
    "copy of transposed int8": lambda: ox.copy(ox.permute_dims(zeros(64, 64, dtype=ox.int8), (1, 0))),
    "copy of transposed complex128": lambda: ox.copy(ox.permute_dims(zeros(64, 64, dtype=ox.complex128), (1, 0))),
    "iota bfloat16": lambda: ox.iota((64, 64), 1, dtype=ox.bfloat16, device="cuda:0"),
    "random_bits": lambda: ox.random_bits(zeros(2, dtype=ox.uint32), zeros(4, dtype=ox.uint32), shape=4096),
}


def carry_out(runtime: Recorder) -> Iterator[tuple[str, bytes, str]]:
    """Make every call on the registered GPU, and yield what each asked for: its name, a module and an entry."""
    zeros(5)
    for name, call in CALLS.items():
        runtime.used.clear()
        with ox.policy(fallback="forbid"):
            call()
        for module, entry in runtime.used:
            yield name, module, entry


def variants() -> Iterator[Variant]:
    runtime = Recorder()
    with registered(OnHost(runtime)):
        for name, module, entry in carry_out(runtime):
            if not entry.startswith("elementwise"):
                yield Variant(f"{name}, {entry}", *runtime.texts[module], entry)

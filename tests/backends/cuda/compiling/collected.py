"""The kernels that opmux asks a GPU for: every primitive op on every dtype, as decisions that are not carried out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import opmux as ox
from opmux.backends.cuda.device.loading import Entry, Loader
from opmux.conformance.cases import layouts
from opmux.conformance.cases.enumerate import dtypes_of
from opmux.conformance.cases.samples.sample import Operands, Sample, samples
from opmux.conformance.performance.candidates import runnable
from opmux.conformance.target import RefusedError, Target, dense, only, targets
from opmux.core.arrays.array import Array
from opmux.core.arrays.metadata import broadcast_to
from opmux.core.devices.device import Device
from opmux.core.dtypes import DType, float16, float32, float64
from opmux.core.op import OPS, Op
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.resources import calls

#: Samples of each op and dtype. Those of a cast are its targets, so all of them are taken.
_MOST = 3
#: Functions whose regions are kernels of their own: over rows or columns, held or read again; in chains.
REGIONS: tuple[Callable[[Array], object], ...] = (
    ox.softmax,
    ox.log_softmax,
    ox.layer_norm,
    lambda x: ox.logsumexp(x, axis=-1),
    lambda x: ox.var(x, axis=-1),
    lambda x: ox.softmax(ox.gelu(x), axis=0),
    lambda x: (x - ox.mean(x, axis=0)) / ox.std(x, axis=0),
    lambda x: (ox.logsumexp(x, axis=0), ox.max(x, axis=0)),
    lambda x: (ox.exp(-x) * x, ox.tanh(x) + 1.0),
)
PRIMITIVES = sorted(op.name for op in OPS if op.primitive)


@dataclass(frozen=True, slots=True)
class Collected:
    """What came of asking.

    Attributes:
        refused: what was said of calls that no kernel takes, by op.
        texts: a kernel's text and the shared parts that it uses, each once.
    """

    refused: dict[str, list[str]]
    texts: tuple[tuple[str, tuple[str, ...]], ...]


class _AtOnce(Loader):
    """A loader that compiles what is planned, whether it is launched or not."""

    def function(self, body: str, parts: Sequence[str], name: str, dynamic_shared: int = 0) -> Entry:
        entry = super().function(body, parts, name, dynamic_shared)
        entry.loaded()
        return entry


@functools.cache
def collected() -> Collected:
    """Ask for every primitive op on every dtype, dense and over strides; for the calls of the table; for regions."""
    runtime = calls.Recorder()
    refused: dict[str, list[str]] = {}
    gpu = OnHost(runtime)
    for driver in gpu.drivers:
        driver.loader = _AtOnce(driver.runtime, driver.target.name, lambda call, *args: call(*args))
    with registered(gpu):
        target = targets("cuda")[0]
        for name in PRIMITIVES:
            refused[name] = list(_asked(target, OPS[name]))
        for _ in calls.carry_out(runtime):
            pass
        for t in (float16, float32, float64):
            for function in REGIONS:
                for shape in ((64, 100), (64, 4096), (1024, 4096), (5000, 512)):
                    calls.region(function, shape, dtype=t)()
    return Collected(refused, tuple(dict.fromkeys(runtime.texts.values())))


def _asked(target: Target, op: Op) -> Iterator[str]:
    for t in dtypes_of(op):
        for sample in _samples(op, t):
            for arrays in _laid_out(sample.operands, target.device, "elementwise" in op.facts):
                try:
                    with only("cuda"):
                        runnable(target.decide(op, arrays, sample.attributes))
                except RefusedError as error:
                    yield f"{op.name} {t} {sample.label}: {error}"


def _samples(op: Op, t: DType) -> Sequence[Sample]:
    found = samples(op, t, quick=True)
    return found if op.name == "cast" else found[:_MOST]


def _laid_out(operands: Operands, device: Device, elementwise: bool) -> Iterator[list[Array | None]]:
    """All of them dense, all of them column-major, and one element in place of the last."""
    for layout in (dense, layouts.transposed):
        yield [None if x is None else layout(x, device) for x in operands]
    *others, last = operands or (None,)
    if elementwise and others and last is not None and last.ndim and last.size:
        one = broadcast_to(dense(last.reshape(-1)[:1], device), last.shape)
        yield [*(None if x is None else dense(x, device) for x in others), one]

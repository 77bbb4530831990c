"""What peers on a GPU share: operands that rotate, events around launches, first calls in processes of their own."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..case import Case
from ..errors import PeerUnavailableError, WorkerError
from .base import AsGiven, Function, Program

Array = NDArray[Any]
#: ``timed(work)``: the seconds between an event before the work that is put on a stream and one behind it.
Timed = Callable[[Callable[[], None]], float]
#: The operands of consecutive calls fill the second-level cache so often, at least.
_CACHES: Final = 4
#: The most sets of operands; what is so small that more were needed is bound by launches.
_MOST_SETS: Final = 64
_DEVICE_TO_DEVICE: Final = 3
#: ``cudaDevAttrL2CacheSize``.
_L2_CACHE_SIZE: Final = 38
#: Where libraries keep what they have compiled.
_CACHE_VARIABLES: Final = ("OPMUX_CACHE_DIR", "CUPY_CACHE_DIR", "CUDA_CACHE_PATH", "TORCHINDUCTOR_CACHE_DIR")
#: What nvidia-smi is asked: what every version of it knows, and what has held the clocks down, a set of bits.
_STATE: Final = (
    "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.draw", "power.limit",
    "temperature.gpu",
)  # fmt: skip
_REASONS: Final = "clocks_event_reasons.active"
#: Seconds of work behind which nvidia-smi is asked: it takes some tenths of a second, and clocks fall on an idle GPU.
_LOAD: Final = 0.5
#: Seconds that the process of a first call may take.
_FIRST_CALL: Final = 90.0


def sets_of(nbytes: float, cache: int) -> int:
    """Return how many sets of operands take turns, so that no call finds in the cache what an earlier one left.

    >>> sets_of(1 << 20, 1 << 20), sets_of(1 << 30, 1 << 20)
    (4, 1)
    """
    return min(max(math.ceil(_CACHES * cache / max(nbytes, 1.0)), 1), _MOST_SETS)


class Launches:
    """A function that is launched on rotating operands, between two events.

    Args:
        function: what to call.
        sets: its operands; the next one's turn comes with every call.
        timed: the events.
        to_numpy: turns a result into a NumPy array.
        detail: which kernels run.
        work: bytes of one repetition, for a probe.
    """

    def __init__(
        self,
        function: Function,
        sets: Sequence[tuple[Any, ...]],
        timed: Timed,
        to_numpy: Callable[[Any], Array],
        detail: str = "",
        work: float | None = None,
    ) -> None:
        self.detail = detail
        self.work = work
        self._function = function
        self._sets = cycle(sets)
        self._timed = timed
        self._to_numpy = to_numpy
        self._last: Any = None

    def seconds(self, repetitions: int) -> float:
        """Run it so often and return the seconds that took."""

        def work() -> None:
            function, last = self._function, None
            for operands in islice(self._sets, repetitions):
                last = function(*operands)
            self._last = last

        return self._timed(work)

    def beside(self, repetitions: int, look: Callable[[], object]) -> None:
        """Put so many calls on the GPU, and look at something while it does them."""

        def work() -> None:
            for operands in islice(self._sets, repetitions):
                self._function(*operands)
            look()

        self._timed(work)

    def result(self) -> Array:
        """Return what the last call computed."""
        return self._to_numpy(self._last)


class FirstCall:
    """The first call of a function in a new process that has used the GPU before, with its compilation.

    Args:
        peer: whose.
        case: what; its attribute ``first_call`` is ``"cold"``, with an empty cache on disk, or ``"cached"``.
        program: the same case in this process, for its result.
    """

    def __init__(self, peer: str, case: Case, program: Program) -> None:
        self.detail = program.detail
        self.work: float | None = None
        self._peer = peer
        self._case = case
        self._program = program
        self._filled: str | None = None
        if case.get("first_call") == "cached":
            self._filled = tempfile.mkdtemp()
            weakref.finalize(self, shutil.rmtree, self._filled, ignore_errors=True)
            self._once(self._filled)

    def _once(self, folder: str) -> float:
        environment = {**os.environ, **dict.fromkeys(_CACHE_VARIABLES, folder)}
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.first_call", self._peer],
            input=json.dumps(self._case.to_data()), env=environment, capture_output=True, text=True, check=False,
            timeout=_FIRST_CALL,
        )  # fmt: skip
        if done.returncode != 0:
            raise WorkerError(f"the process of a first call failed: {done.stderr.strip()[-300:]}")
        return float(done.stdout.splitlines()[-1])

    def seconds(self, repetitions: int) -> float:
        """Make the first call in so many new processes and return the seconds of all together."""
        taken = 0.0
        for _ in range(repetitions):
            if self._filled is not None:
                taken += self._once(self._filled)
            else:
                with tempfile.TemporaryDirectory() as empty:
                    taken += self._once(empty)
        return taken

    def result(self) -> Array:
        """Return what a call in this process computes."""
        self._program.seconds(1)
        return self._program.result()


@dataclass(frozen=True, slots=True)
class Gpu:
    """A library on a GPU.

    Attributes:
        name: the peer's.
        ready: from a case and its operands to the function that is timed, and which kernels it runs.
        put: copies an operand to the GPU.
        to_numpy: copies a result back.
        timed: the library's events, on the stream that it works on.
        cache: bytes of the second-level cache.
        described: versions, for the report.
        trim: gives back to the GPU what the library keeps of memory that is free; other processes need it.
        loaded: whether its details tell the clocks under the load of a matrix product.
    """

    name: str
    ready: Callable[[Case, tuple[Any, ...]], tuple[Function, str]]
    put: Callable[[Array], Any]
    to_numpy: Callable[[Any], Array]
    timed: Timed
    cache: int
    described: Mapping[str, str]
    trim: Callable[[], object]
    loaded: bool = False

    def versions(self) -> dict[str, str]:
        """Return the versions of everything that decides its speed."""
        return dict(self.described)

    def prepare(self, case: Case, stored: tuple[Array, ...], as_given: AsGiven) -> Program:
        """Return a case made ready: its operands on the GPU, in several copies where one fits the cache."""
        if case.get("first_call") is not None:
            plain = replace(case, attributes=tuple(a for a in case.attributes if a[0] != "first_call"))
            return FirstCall(self.name, case, self.prepare(plain, stored, as_given))
        self.trim()
        count = 1 if case.limit is None else sets_of(case.bytes, self.cache)
        sets = [as_given(case, tuple(self.put(x) for x in stored)) for _ in range(count)]
        function, detail = self.ready(case, sets[0])
        made = Launches(function, sets, self.timed, self.to_numpy, detail)
        if self.loaded and case.limit == "device flops":
            made.detail += f"; {clocks_under(made)}"
        return made


def cuda_events(stream: int) -> Timed:
    """Return what times work on a stream, given as CUDA's handle, by events of the CUDA runtime."""
    from cupy_backends.cuda.api import runtime

    start, stop = runtime.eventCreate(), runtime.eventCreate()

    def timed(work: Callable[[], None]) -> float:
        runtime.eventRecord(start, stream)
        work()
        runtime.eventRecord(stop, stream)
        runtime.eventSynchronize(stop)
        return float(runtime.eventElapsedTime(start, stop)) / 1e3

    return timed


def second_level_cache() -> int:
    """Return the bytes of the first GPU's second-level cache."""
    from cupy_backends.cuda.api import runtime

    return int(runtime.deviceGetAttribute(_L2_CACHE_SIZE, 0))


def state() -> dict[str, str]:
    """Return driver, clocks (MHz), power (W), temperature (C) and what holds the clocks of the first GPU down, as
    nvidia-smi reads them now; empty where it cannot be asked.
    """
    from cupy_backends.cuda.api import runtime

    gpu = f"--id={runtime.deviceGetPCIBusId(0)}"
    for fields in ((*_STATE, _REASONS), _STATE):  # an nvidia-smi that does not know a field tells nothing at all
        query = ["nvidia-smi", gpu, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
            return dict(zip(fields, (part.strip() for part in done.stdout.split(",")), strict=False))
    return {}


def clocks_under(load: Launches) -> str:
    """Return clocks, power and what holds them down, read while the GPU is at work."""
    each = max(load.seconds(3) / 3, 1e-6)
    seen: dict[str, str] = {}
    load.beside(max(int(_LOAD / each), 1), lambda: seen.update(state()))
    if not seen:
        return "clocks not readable"
    told = f"SM {seen['clocks.sm']} MHz, memory {seen['clocks.mem']} MHz, {seen['power.draw']} W"
    reasons = seen.get(_REASONS)
    return told if reasons is None else f"{told}, held down by {reasons}"


def device_copy(nbytes: float) -> Launches:
    """Return the limit of what traffic bounds: CUDA's copy within the device, of as many bytes read and written.

    Raises:
        PeerUnavailableError: without CuPy.
    """
    try:
        import cupy
    except ImportError as error:
        raise PeerUnavailableError(f"the copy on the device needs CuPy: {error}") from error
    runtime = cupy.cuda.runtime
    cupy.get_default_memory_pool().free_all_blocks()
    half = max(int(nbytes) // 2, 1)
    count = sets_of(2 * half, second_level_cache())
    numbers = cupy.asarray(np.random.default_rng(1).integers(0, 256, min(half, 1 << 22), np.uint8))
    sets = [(cupy.zeros(half, np.uint8), cupy.resize(numbers, half)) for _ in range(count)]

    def copy(target: Any, source: Any) -> None:
        runtime.memcpyAsync(target.data.ptr, source.data.ptr, half, _DEVICE_TO_DEVICE, 0)

    made = Launches(copy, sets, cuda_events(0), lambda last: np.empty(0), work=2.0 * half)
    made.detail = f"cudaMemcpyAsync, {2 * half:.3g} bytes; {clocks_under(made)}"
    return made

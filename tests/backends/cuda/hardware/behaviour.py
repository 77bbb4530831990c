"""What a GPU does beside computing: errors, memory, threads, graphs, forks, several GPUs, the cost of a call."""

from __future__ import annotations

import contextlib
import struct
import threading
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, Final
from unittest import mock

import numpy as np

import opmux as ox
from opmux.backends.cuda.compiling import nvrtc
from opmux.backends.cuda.device.launching import Pointer, Step, launcher
from opmux.conformance.performance.candidates import runnable
from opmux.conformance.target import RefusedError, only, targets
from opmux.core.arrays.array import Array
from opmux.core.errors import DeviceError, DeviceLostError, OutOfMemoryError
from opmux.core.kernel import Determinism
from opmux.core.op import OPS
from tests.backends.cuda.forked import in_child
from tests.opset.one_by_one import random_bits

from .trial import NotHereError, Place, same, trial, whole

#: Writes so many bytes behind its argument.
STRAY: Final = """\
extern "C" __global__ void stray(u64 offset, u32* p) { p[offset / 4 + threadIdx.x] = 1; }
OPMUX_ENTRY(stray)
"""
FAR: Final = 1 << 46


@trial()
def bits_of_the_cpu(place: Place) -> str:
    """Canonical results of both, of whatever bits."""
    try:
        (cpu, *_) = targets("llvm")
    except (ox.OpmuxError, ValueError) as error:
        raise NotHereError(f"the backend llvm is not usable: {error}") from error
    rows = place.size(300, 5)
    calls: list[tuple[str, list[Any], dict[str, Any]]] = [
        ("pow", [random_bits("float32", (rows, 1000), s) for s in (1, 2)], {}),
        ("sum", [_normal((rows, 3000))], {"axis": (1,), "dtype": None, "keepdims": False}),
        ("matmul", [_normal((65, 700)), _normal((700, 48))], {"dtype": None}),
        ("sum", [_normal((rows, 3000))], {"axis": (0,), "dtype": None, "keepdims": False}),
        ("cumulative_sum", [_normal((5, 3000))], {"axis": 1, "dtype": None}),
        *((op, [random_bits(t, (rows, 1000), 1)], {}) for op in ("exp", "tanh", "log") for t in ("float32", "float64")),
        ("sort", [_normal((rows, 1000))], {"axis": 1, "descending": False}),
    ][: place.size(12, 3)]
    told = []
    for op, operands, attributes in calls:
        made = [_canonical(target, op, operands, attributes) for target in (targets("cuda")[0], cpu)]
        if None in made:
            continue
        (gpu, name), (host, _) = made  # type: ignore[misc]
        same(gpu, host.numpy(), f"{op} {operands[0].dtype}")
        told.append(name)
    if len(told) < len(calls) / 2:
        raise AssertionError(f"only {told} were compared")
    return f"{len(told)} of {len(calls)} calls"


def _normal(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _canonical(target: Any, op: str, operands: list[Any], attributes: dict[str, Any]) -> tuple[Array, str] | None:
    """Return what a target's canonical kernel gives, and its name; None where it has none."""
    arrays = [ox.asarray(x, device=target.device) for x in operands]
    try:
        with only(target.backend):
            candidates = runnable(target.decide(OPS[op], arrays, attributes))
    except RefusedError:
        return None
    for found in candidates:
        mine = found.kernel is not None and found.backend == target.backend
        if mine and found.run is not None and found.kernel.promises.determinism is Determinism.CANONICAL:  # type: ignore[union-attr]
            return found.run(arrays, None)[0], found.name
    return None


def _at_work(place: Place, seed: int, turns: int) -> None:
    """Do a chain of whole numbers on a queue of this thread's own, and check it."""
    x = whole((place.size(300_001, 501),), np.float32, seed)
    with ox.use_queue(place.device.queue()):
        y = place.put(x)
        for i in range(turns):
            more = i % 4  # sums stay exact
            found, expected = ox.sum(ox.sort(y) + float(more)).item(), float(x.sum()) + more * x.size
            if found != expected:
                raise AssertionError(f"thread {seed}, turn {i}: {found} in place of {expected}")


@contextlib.contextmanager
def _threads(count: int, work: Callable[[int], object]) -> Iterator[None]:
    """Let threads work during the block; raise the first error of any."""
    errors: list[BaseException] = []

    def guarded(i: int) -> None:
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


@trial()
def threads_with_queues_of_their_own(place: Place) -> None:
    """Launches, memory, copies to the host from four threads at once."""
    turns = place.size(200, 3)
    with _threads(4, lambda i: _at_work(place, i, turns)):
        _at_work(place, 9, turns)


def _captured(place: Place, function: Callable[[Array], Array], x: Any, expected: Any, turns: int) -> None:
    """Compile a function in each turn, and loop it until its launches are one graph, and longer."""
    refused: list[str] = []
    replays = 0
    names = "begin_capture", "end_capture", "replay"
    calls = {name: getattr(place.runtime, name) for name in names}

    def noted(name: str) -> Callable[..., Any]:
        def asked(*args: Any) -> Any:
            nonlocal replays
            replays += name == "replay"
            try:
                return calls[name](*args)
            except Exception as error:
                refused.append(f"{type(error).__name__}: {error}")
                raise

        return asked

    given = place.put(x)
    with mock.patch.multiple(place.runtime, **{name: noted(name) for name in names}):
        for turn in range(turns):
            f = ox.compile(function)
            for _ in range(12):
                found = f(given)
            if not place.pretended:
                same(found, expected, f"turn {turn}")
    if refused or replays < turns:
        raise AssertionError(f"not captured: {refused[0] if refused else f'{replays} replays of {turns} functions'}")


@trial(alone=True, pretended=False)
def graphs_of_cublas(place: Place) -> None:
    """Products by cuBLAS within a capture: CUDA's errors 900 and 901 would say no."""
    a = whole((2048, 2048), np.float32, 1)
    given = place.put(a)
    chosen = ox.explain(ox.matmul, given, given).chosen
    if chosen != "cuda/matmul.cublas":
        raise NotHereError(f"the dispatcher chooses {chosen}; cuBLAS: {place.runtime.lacks_blas() or 'found'}")
    _captured(place, lambda x: ox.matmul(ox.sort(x), x), a, np.sort(a, 1) @ a, 2)


@trial(alone=True, pretended=False)
def graphs_beside_other_threads(place: Place) -> None:
    """Captures while other threads launch, allocate, wait and load code."""
    a = whole((300, 300), np.float32, 1)
    expected = np.cumsum(np.sort(a, 1)[::-1, ::-1], 1)

    def compiling(i: int) -> None:
        for n in range(10):  # a text that is new loads a module
            name = f"stray_{i}_{n}"
            loader = place.device.driver.loader  # type: ignore[attr-defined]
            loader.function(STRAY.replace("stray", name), ("elementwise",), name).loaded()
            _at_work(place, i, 10)

    with _threads(3, compiling):
        _captured(place, lambda x: ox.cumulative_sum(ox.flip(ox.sort(x)), axis=1), a, expected, 20)


@trial(alone=True, pretended=False)
def an_illegal_address(place: Place) -> str:
    """A typed error that stays, in a process that lives on."""
    x = [place.put(np.ones(64, np.uint32))]
    function = place.device.driver.loader.function(STRAY, ("elementwise",), "stray")  # type: ignore[attr-defined]
    step = Step(function, (1, 1, 1), (32, 1, 1), [struct.pack("<Q", FAR), Pointer(0)])
    queue = place.device.default_queue
    said = _lost(lambda: (launcher(place.runtime, [step])([], x, None, queue.handle), place.device.synchronize()))
    again = _lost(lambda: ox.add(x[0], 1).numpy())
    if ox.add(ox.asarray([1.0], device="cpu"), 1.0).tolist() != [2.0]:
        raise AssertionError("the host no longer computes")
    x.clear()  # memory of a GPU that is lost is given up without a word
    return f"{said}; later: {again}"


def _lost(work: Callable[[], object]) -> str:
    try:
        work()
    except DeviceLostError as error:
        return str(error)
    raise AssertionError("it went on")


@trial(alone=True)
def no_memory_left(place: Place) -> str:
    """A typed error, after which the pool has been given back and the next call works."""
    device = place.device
    total = device.info.memory
    if total is None:
        raise NotHereError("the device does not say how much memory it has")
    _refused(place, 4 * total)
    left = _free(place)
    part = left // 16
    kept = [ox.zeros((part,), dtype=ox.uint8, device=device) for _ in range(10)]
    del kept
    device.synchronize()
    large = ox.full((part * 9,), 7, dtype=ox.uint8, device=device)  # what the pool keeps is in smaller pieces
    if large[-3:].tolist() != [7] * 3:
        raise AssertionError("memory that was given again does not hold what was written")
    _refused(place, total)
    del large
    device.synchronize()
    place.runtime.trim()
    if _free(place) < 0.9 * left:
        raise AssertionError(f"{_free(place)} bytes are free after all was released, of {left}")
    same(ox.add(place.put(np.arange(5)), 1), np.arange(1, 6))
    return f"{left / 2**30:.1f} GiB of {total / 2**30:.1f} were free"


def _refused(place: Place, nbytes: int) -> None:
    try:
        ox.zeros((nbytes,), dtype=ox.uint8, device=place.device)
    except OutOfMemoryError:
        return
    raise AssertionError(f"{nbytes} bytes were given out")


def _free(place: Place) -> int:
    """Return the bytes that are free."""
    if place.pretended:
        return int(place.device.info.memory or 0)
    from cupy_backends.cuda.api import runtime

    return int(runtime.memGetInfo()[0])


#: Bytes of a large array, beyond what 32 bits with a sign count.
LARGE: Final = 2**31 + 2**20 + 5


@trial(alone=True, seconds=180)
def arrays_beyond_2_to_the_31(place: Place) -> None:
    """Elements, indices and offsets that need more than 31 bits."""
    n = place.size(LARGE, 9_001)
    if _free(place) < 8 * n:
        raise NotHereError(f"{8 * n / 2**30:.0f} GiB have to be free, and {_free(place) / 2**30:.0f} are")
    x = np.resize(np.arange(251, dtype=np.uint8), n)
    given = place.put(x)
    ends = [slice(0, 4096), slice(n // 2 - 2000, n // 2 + 2000), slice(2**31 - 2000, 2**31 + 2000), slice(n - 4099, n)]

    def check(found: Array, expected: Callable[[slice], Any], what: str) -> None:
        for end in ends if n > 2**31 else [slice(0, n)]:
            same(found[end], expected(end), f"{what} at {end.start}")

    check(ox.add(given, 3), lambda e: x[e] + np.uint8(3), "add")
    check(ox.copy(given[::-1]), lambda e: x[::-1][e], "reversed")
    check(ox.concat([given[: n // 2], given[n // 2 :]]), lambda e: x[e], "concat")
    if ox.sum(given, dtype=ox.int64).item() != int(x.sum(dtype=np.int64)):
        raise AssertionError("sum")
    last = np.array([n - 1, 0, n - 4097, n // 2])
    same(ox.gather(given, place.put(last)), x[last], "gather")
    rows = x[: n // 2 * 2].reshape(2, -1)
    turned = ox.copy(ox.permute_dims(place.put(rows), (1, 0)))
    same(turned[-4096:], rows.T[-4096:], "transposed")


@trial(alone=True, pretended=False)
def a_fork(place: Place) -> str:
    """A child of a process that has used the GPU: a typed error there, no harm here."""
    x = place.put(np.arange(5))
    said = in_child(lambda: ox.add(x, 1).numpy())
    if not said.startswith("DeviceLostError"):
        raise AssertionError(f"the child said: {said}")
    if not place.pretended:
        same(ox.add(x, 1), np.arange(1, 6))
    return said


@trial()
def copies_between_gpus(place: Place) -> str:
    """Both ways, of parts and of large arrays, and a sum over both GPUs."""
    try:
        other = ox.device("cuda:1")
    except DeviceError as error:
        raise NotHereError("there is one GPU") from error
    x = whole((place.size(5_000_003, 3000),), np.float32, 1)
    there = place.put(x).to_device(other)
    same(there, x, "there")
    same(ox.add(there, 1.0)[5:].to_device(place.device), x[5:] + 1, "and back")
    mesh = ox.Mesh([place.device, other])
    with ox.count_calls() as calls:
        sums = ox.all_reduce([place.put(x), there], mesh)
    for found in sums:
        same(found, 2 * x, "all_reduce")
    return ", ".join(dict.fromkeys(c.decision.chosen.name for c in calls.most_expensive()))


@trial(alone=True, pretended=False)
def the_cost_of_a_call(place: Place) -> str:
    """What a launch takes of the host's time: opmux's calls, its bare launch, CuPy's own kernels."""
    import cupy

    x = place.put(np.ones(8, np.float32))
    added = place.candidate("add", "add", x, x)
    theirs, out = cupy.ones(8, np.float32), cupy.empty(8, np.float32)
    raw = cupy.RawKernel('extern "C" __global__ void f(float* a, float* b) { b[threadIdx.x] = a[threadIdx.x]; }', "f")
    calls: dict[str, Callable[[], object]] = {
        "ox.add": lambda: ox.add(x, x),
        "cupy.add": lambda: theirs + theirs,
        "cupy.RawKernel": lambda: raw((1,), (8,), (theirs, out)),
    }
    if added.prepared is not None and added.run is not None:
        launch, (into,), queue = added.prepared.launch, added.run([x, x], None), place.device.default_queue.handle
        calls["opmux's launch"] = lambda: launch([into], [x, x], None, queue)
    told = []
    for name, call in calls.items():
        best = min(_each(call, 2000, place) for _ in range(5))
        told.append(f"{name} {best * 1e6:.2f} us")
    return ", ".join(told)


def _each(call: Callable[[], object], turns: int, place: Place) -> float:
    call()
    place.device.synchronize()
    begun = perf_counter()
    for _ in range(turns):
        call()
    taken = (perf_counter() - begun) / turns
    place.device.synchronize()
    return taken


@trial(pretended=False)
def versions(place: Place) -> str:
    """What is installed fits together: code of this NVRTC loads on this driver."""
    from cupy_backends.cuda.api import runtime

    same(ox.add(place.put(np.arange(5, dtype=np.float32)), 1.0), np.arange(1, 6, dtype=np.float32))
    properties = place.runtime.properties
    return (
        f"{properties.name}, capability {'.'.join(map(str, properties.capability))}, "
        f"{properties.memory / 2**30:.0f} GiB, {properties.multiprocessors} multiprocessors; driver for CUDA "
        f"{runtime.driverGetVersion()}, runtime {runtime.runtimeGetVersion()}, NVRTC "
        f"{'.'.join(map(str, nvrtc.version()))} from {nvrtc.library_path()}; "
        f"cuBLAS: {place.runtime.lacks_blas() or 'found'}"
    )

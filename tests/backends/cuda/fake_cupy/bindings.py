"""``cupy_backends.cuda.api.runtime`` and ``driver`` over a fake machine, with CuPy's names and arguments."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

from .machine import FIRST_ADDRESS, LAST_ADDRESS, STICKY, FakeCuda, MisuseError, Stream

NAMES = {
    2: "cudaErrorMemoryAllocation: out of memory",
    3: "cudaErrorInitializationError: initialization error",
    35: "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
    900: "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing",
    901: "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture",
    46: "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable",
    214: "cudaErrorECCUncorrectable: uncorrectable ECC error encountered",
    100: "cudaErrorNoDevice: no CUDA-capable device is detected",
    201: "CUDA_ERROR_INVALID_CONTEXT: invalid device context",
    209: "CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available for execution on the device",
    500: "CUDA_ERROR_NOT_FOUND: named symbol not found",
    700: "cudaErrorIllegalAddress: an illegal memory access was encountered",
    719: "cudaErrorLaunchFailure: unspecified launch failure",
    803: "cudaErrorSystemDriverMismatch: system has unsupported display driver / cuda driver combination",
}


#: What a thread may not do while another one captures launches in the default mode: what makes pools and code.
UNSAFE = ("memPoolCreate", "memPoolSetAttribute", "memPoolTrimTo", "moduleLoadData", "moduleGetFunction")


class CUDARuntimeError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(NAMES.get(status, f"cudaError{status}: error {status}"))


class CUDADriverError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(NAMES.get(status, f"CUDA_ERROR_{status}: error {status}"))


def modules(cuda: FakeCuda) -> dict[str, ModuleType]:
    """Return what is to be in ``sys.modules``."""
    names = ["cupy_backends", "cupy_backends.cuda", "cupy_backends.cuda.api"]
    made = {name: ModuleType(name) for name in names}
    made |= {f"{names[-1]}.{m.__name__.rpartition('.')[2]}": m for m in (_runtime(cuda), _driver(cuda))}
    for name, module in made.items():
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(made[parent], last, module)
        module.__path__ = []
    return made


def _bound(cuda: FakeCuda, module: ModuleType, error: Callable[[int], Exception], *, needs_context: bool) -> Any:
    """Return a decorator that puts a function into a module, with what all calls have in common."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__

        def called(*args: Any) -> Any:
            with cuda.lock:
                for argument in args:
                    if not isinstance(argument, int | bytes | str | SimpleNamespace):
                        raise MisuseError(f"{name}: {argument!r} is no number")
                status = cuda.failing(name)
                asks = name.startswith(("driverGet", "runtimeGet", "getDevice", "deviceGetAttribute", "ctx"))
                current = args[0] if name == "setDevice" else cuda.thread.device  # a lost GPU can be left
                gpu = cuda.gpus[current] if cuda.gpus else None
                if gpu is not None and not asks:
                    if gpu.lost:
                        raise error(gpu.lost)
                    if cuda.thread.context is None and needs_context:
                        raise error(201)
                    cuda.make_current(cuda.context(current))
                if name in UNSAFE and cuda.captured_elsewhere and cuda.thread.captures == 0:
                    raise error(900)
                if status:
                    if status in STICKY and gpu is not None and not asks:
                        gpu.lost = status
                    raise error(status)
                return function(*args)

        setattr(module, name, called)
        return called

    return add


def _runtime(cuda: FakeCuda) -> ModuleType:
    module = ModuleType("runtime")
    module.CUDARuntimeError = CUDARuntimeError  # type: ignore[attr-defined]
    bound = _bound(cuda, module, CUDARuntimeError, needs_context=False)

    @bound
    def driverGetVersion() -> int:
        return cuda.driver

    @bound
    def runtimeGetVersion() -> int:
        return 13020

    @bound
    def getDeviceCount() -> int:
        if not cuda.gpus:
            raise CUDARuntimeError(100)
        return len(cuda.gpus)

    @bound
    def getDeviceProperties(device: int) -> dict[str, Any]:
        return {"name": cuda.gpus[device].name.encode(), "totalGlobalMem": cuda.gpus[device].memory}

    @bound
    def deviceGetAttribute(attribute: int, device: int) -> int:
        return cuda.gpus[device].attribute(attribute)

    @bound
    def getDevice() -> int:
        return cuda.thread.device

    @bound
    def setDevice(device: int) -> None:
        cuda.thread.chosen = device

    @bound
    def MemPoolProps(kind: int, handle: int, location: int, device: int) -> SimpleNamespace:
        cuda.check((kind, handle, location) == (1, 0, 1), "a pool of pinned memory of a device")
        return SimpleNamespace(device=device)

    @bound
    def memPoolCreate(properties: SimpleNamespace) -> int:
        return cuda.number() << 8 | int(properties.device)

    @bound
    def memPoolSetAttribute(pool: int, attribute: int, value: int) -> None:
        cuda.check((attribute, value) == (4, 2**64 - 1), "the threshold of release")

    @bound
    def memPoolTrimTo(pool: int, nbytes: int) -> None:
        cuda.trim(pool & 0xFF)

    @bound
    def mallocFromPoolAsync(nbytes: int, pool: int, stream: int) -> int:
        cuda.check(pool & 0xFF == cuda.thread.device, "a pool of another GPU")
        pointer = cuda.allocate(nbytes, stream)
        if not pointer:
            raise CUDARuntimeError(2)
        return pointer

    @bound
    def freeAsync(pointer: int, stream: int) -> None:
        cuda.release(pointer, stream)

    @bound
    def memcpyAsync(to: int, source: int, nbytes: int, kind: int, stream: int) -> None:
        tick, _ = cuda.work(stream)
        if nbytes == 0:
            return
        device, host = (to, source) if kind == 1 else (source, to)
        rightly = kind in (1, 2) and not FIRST_ADDRESS <= host < LAST_ADDRESS
        cuda.check(rightly, f"a copy of kind {kind} from {source:#x} to {to:#x}")
        block, at = cuda.place(device, nbytes, stream, tick, cuda.thread.device)
        if kind == 1:

            def arrive() -> None:
                block.data[at : at + nbytes] = ctypes.string_at(host, nbytes)

            block.coming.append((stream, arrive))
        else:
            ctypes.memmove(host, bytes(block.data[at : at + nbytes]), nbytes)

    @bound
    def memcpyPeerAsync(to: int, target: int, source: int, of: int, nbytes: int, stream: int) -> None:
        tick, _ = cuda.work(stream)
        read, at = cuda.place(source, nbytes, stream, tick, of)
        values = bytes(read.data[at : at + nbytes])
        written, at = cuda.place(to, nbytes, stream, tick, target)
        written.data[at : at + nbytes] = values

    @bound
    def streamCreateWithFlags(flags: int) -> int:
        cuda.check(flags == 1, "a stream that the legacy one orders")
        number = cuda.number()
        cuda.streams[number] = Stream(cuda.thread.device, {})
        return number

    @bound
    def streamDestroy(stream: int) -> None:
        cuda.check(stream in cuda.streams, f"there is no stream {stream:#x}")

    @bound
    def streamBeginCapture(stream: int, mode: int = 2) -> None:
        cuda.check(mode == 2, "a capture that keeps other threads from allocating")
        cuda.begin_capture(stream)

    @bound
    def streamEndCapture(stream: int) -> int:
        return cuda.end_capture(stream)

    @bound
    def graphInstantiate(graph: int) -> int:
        cuda.check(graph in cuda.graphs, f"there is no graph {graph:#x}")
        number = cuda.number()
        cuda.executables[number] = list(cuda.graphs[graph])
        return number

    @bound
    def graphDestroy(graph: int) -> None:
        cuda.check(cuda.graphs.pop(graph, None) is not None, f"there is no graph {graph:#x}")

    @bound
    def graphExecDestroy(graphExec: int) -> None:
        cuda.check(cuda.executables.pop(graphExec, None) is not None, f"there is no executable graph {graphExec:#x}")

    @bound
    def graphLaunch(graphExec: int, stream: int) -> None:
        cuda.replay(graphExec, stream)

    @bound
    def streamSynchronize(stream: int) -> None:
        cuda.synchronized(stream)

    @bound
    def streamWaitEvent(stream: int, event: int, flags: int = 0) -> None:
        cuda.wait(stream, event)

    @bound
    def eventCreateWithFlags(flags: int) -> int:
        cuda.check(flags == 2, "an event that takes the time")
        number = cuda.number()
        cuda.events[number] = {}
        cuda.event_devices[number] = cuda.thread.device
        return number

    @bound
    def eventRecord(event: int, stream: int) -> None:
        cuda.check(event in cuda.events, f"there is no event {event:#x}")
        cuda.check(cuda.event_devices[event] == cuda.streams[stream].device, "an event of another GPU is recorded")
        cuda.events[event] = dict(cuda.work(stream)[1])

    return module


def _driver(cuda: FakeCuda) -> ModuleType:
    module = ModuleType("driver")
    module.CUDADriverError = CUDADriverError  # type: ignore[attr-defined]
    bound = _bound(cuda, module, CUDADriverError, needs_context=True)

    @bound
    def ctxGetCurrent() -> int:
        return 0 if cuda.thread.context is None else cuda.context(cuda.thread.context)

    @bound
    def ctxSetCurrent(ctx: int) -> None:
        cuda.make_current(ctx)

    @bound
    def moduleLoadData(image: bytes) -> int:
        number = cuda.number()
        cuda.modules[number] = image
        return number

    @bound
    def moduleGetFunction(loaded: int, name: str) -> int:
        if not cuda.has_entry(loaded, name):
            raise CUDADriverError(500)
        wanted = (cuda.thread.device, loaded, name)
        for number, known in cuda.functions.items():
            if known == wanted:
                return number
        number = cuda.number()
        cuda.functions[number] = wanted
        return number

    @bound
    def funcSetAttribute(function: int, attribute: int, value: int) -> None:
        cuda.check(attribute == 8, "the dynamic shared memory that is allowed")
        cuda.check(value <= cuda.gpus[cuda.thread.device].shared, f"{value} bytes of shared memory")
        cuda.allowed[function] = value

    @bound
    def launchKernel(f: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, *rest: int) -> None:
        cuda.launch(f, (gx, gy, gz), (bx, by, bz), *rest)

    return module

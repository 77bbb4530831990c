"""The driver of a device and the kernels of a backend with something put around them, for the time of a block.

All of it goes through the interface that vendors implement: a driver that hands every call on to the device's own, and
kernels whose ``launch`` is wrapped. Whatever happens inside the block, both are as before after it.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import replace
from typing import Any, Final

from ....core.devices.device import Device
from ....core.devices.driver import DeviceDriver, DeviceInfo, Handle, HostBytes
from ....core.devices.status import Completion
from ....core.dispatch.registry import REGISTRY
from ....core.graphs.graph import Graph, Refusal, RegionCompiler
from ....core.kernel import CallSpec, Kernel, Launch, Prepared, Rejection
from ...target import Target

#: The calls of a driver that may fail.
CALLS: Final = ("alloc", "upload", "download", "record", "wait", "synchronize")


class Around:
    """A driver that hands every call on to another one.

    Args:
        inner: the device's own.
    """

    def __init__(self, inner: DeviceDriver) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)  # kernels may use what their own driver has besides

    @property
    def info(self) -> DeviceInfo:
        return self.inner.info

    def open_queue(self) -> Any:
        return self.inner.open_queue()

    def alloc(self, nbytes: int, queue: Any) -> Handle:
        return self.inner.alloc(nbytes, queue)

    def free(self, handle: Handle, last_uses: Sequence[Any]) -> None:
        self.inner.free(handle, last_uses)

    def pointer(self, handle: Handle, offset: int) -> Any:
        return self.inner.pointer(handle, offset)

    def upload(self, handle: Handle, offset: int, source: HostBytes, queue: Any) -> None:
        self.inner.upload(handle, offset, source, queue)

    def download(self, target: HostBytes, handle: Handle, offset: int, queue: Any) -> None:
        self.inner.download(target, handle, offset, queue)

    def record(self, queue: Any) -> Any:
        return self.inner.record(queue)

    def wait(self, queue: Any, event: Any) -> None:
        self.inner.wait(queue, event)

    def synchronize(self, queue: Any) -> None:
        self.inner.synchronize(queue)


class Trigger:
    """Fails the n-th of the calls that it is asked about, once.

    Attributes:
        fired: whether it has.
        done: whether the call is made before it fails.
        at: what was being done then; whoever uses it keeps :attr:`doing` up to date.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._what, self._left = "", 0
        self._error: Callable[[], Exception] = RuntimeError
        self.done = False
        self.fired, self.doing, self.at = False, "", ""

    def arm(self, what: str, n: int, error: Callable[[], Exception], *, done: bool = False) -> None:
        """Fail the n-th call named *what* from now on with a fresh error, once it is done or without doing it."""
        self._what, self._left, self._error, self.done = what, n, error, done
        self.fired, self.doing, self.at = False, "", ""

    def disarm(self) -> None:
        """Fail nothing."""
        self._what = ""

    def due(self, what: str) -> Exception | None:
        """Count a call, and return what it is to fail with, or None."""
        if what != self._what:
            return None
        with self._lock:
            self._left -= 1
            if self._left:
                return None
            self.fired, self.at = True, self.doing
            return self._error()


def settled(live: Sized) -> int:
    """Return how many are live when the collector has been asked; it takes long, so it is asked only where some are."""
    if len(live):
        gc.collect()
    return len(live)


class Bookkeeping(Around):
    """Knows what is allocated, and fails calls as a trigger says.

    Attributes:
        wrong: what was handed out though it was in use, in words.
    """

    def __init__(self, inner: DeviceDriver, trigger: Trigger | None = None) -> None:
        super().__init__(inner)
        self._trigger = trigger or Trigger()
        self._live: dict[int, tuple[Handle, int]] = {}  # the handle kept: its id names it
        self.wrong: list[str] = []

    @property
    def live(self) -> int:
        """How many buffers are allocated and not freed, nor in cycles that the collector would free."""
        return settled(self._live)

    def _fail_if_due(self, call: str) -> None:
        error = self._trigger.due(call)
        if error is not None:
            raise error

    def alloc(self, nbytes: int, queue: Any) -> Handle:
        self._fail_if_due("alloc")
        handle = self.inner.alloc(nbytes, queue)
        if id(handle) in self._live:
            self.wrong.append(f"alloc returned {handle!r}, which is in use")
        self._live[id(handle)] = handle, nbytes
        return handle

    def free(self, handle: Handle, last_uses: Sequence[Any]) -> None:
        self._live.pop(id(handle), None)  # arrays from before the block are freed in it too
        self.inner.free(handle, last_uses)

    def upload(self, handle: Handle, offset: int, source: HostBytes, queue: Any) -> None:
        error = self._trigger.due("upload")
        if error is None or self._trigger.done:
            self.inner.upload(handle, offset, source, queue)
        if error is not None:
            raise error

    def download(self, target: HostBytes, handle: Handle, offset: int, queue: Any) -> None:
        self._fail_if_due("download")
        self.inner.download(target, handle, offset, queue)

    def record(self, queue: Any) -> Any:
        self._fail_if_due("record")
        return self.inner.record(queue)

    def wait(self, queue: Any, event: Any) -> None:
        self._fail_if_due("wait")
        self.inner.wait(queue, event)

    def synchronize(self, queue: Any) -> None:
        self._fail_if_due("synchronize")
        self.inner.synchronize(queue)


@contextlib.contextmanager
def driver(device: Device, around: Callable[[DeviceDriver], Around]) -> Iterator[Any]:
    """Put a driver in the place of the device's own inside the block.

    Its handles must be those of the driver that it is put around: arrays may outlive the block.
    """
    own = device.driver
    made = around(own)
    device.driver = made
    try:
        yield made
    finally:
        device.driver = own


#: ``around(kernel, launch)`` returns the function that is called in place of *launch*.
AroundLaunch = Callable[[Kernel, Launch], Launch]


@contextlib.contextmanager
def kernels(target: Target, around: AroundLaunch) -> Iterator[None]:
    """Put something around every launch of the target's backend inside the block."""
    own = REGISTRY.contributions[target.backend]
    wrapped = replace(
        own,
        kernels=tuple(_wrapped(k, around) for k in own.kernels),
        compilers=tuple(_Compiler(c, around) for c in own.compilers),
    )
    _replace(own.backend, wrapped)
    try:
        yield
    finally:
        _replace(own.backend, own)


def _replace(backend: str, contribution: Any) -> None:
    REGISTRY.drop(backend)
    REGISTRY.add(contribution)


def _wrapped(kernel: Kernel, around: AroundLaunch) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared | Rejection:
        made = kernel.prepare(spec)
        if not isinstance(made, Prepared):
            return made
        return replace(made, launch=around(kernel, made.launch), native=None)

    return replace(kernel, prepare=prepare)


class _Compiler:
    """A region compiler whose kernels are wrapped."""

    def __init__(self, inner: RegionCompiler, around: AroundLaunch) -> None:
        self.device, self._inner, self._around = inner.device, inner, around

    def compile(self, graph: Graph, device: Device) -> Kernel | Refusal:
        made = self._inner.compile(graph, device)
        return _wrapped(made, self._around) if isinstance(made, Kernel) else made


class Late:
    """The completion of work that ends as it does, and is then said to have failed."""

    def __init__(self, inner: Completion | None, error: Exception) -> None:
        self._inner, self._error = inner, error

    def done(self) -> bool:
        return self._inner is None or self._inner.done()

    def error(self) -> BaseException | None:
        return (None if self._inner is None else self._inner.error()) or self._error


@contextlib.contextmanager
def letting_go() -> Iterator[None]:
    """Let no array of the block be kept alive by the traceback of what it raises.

    Otherwise memory that the block counts, or whose handles only its driver knows, would be freed after it.
    """
    try:
        yield
    except Exception as error:
        traceback.clear_frames(error.__traceback__)
        raise

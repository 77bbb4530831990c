"""Values that go from one device to another and between libraries: copies, DLPack, the buffer protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from ....core.arrays.array import Array
from ....core.arrays.creation import asarray, from_dlpack
from ....core.devices.device import DEVICES, Device
from ....core.devices.queues import use_queue
from ....core.dtypes import ALL, BY_NAME, DType
from ....core.errors import ConformanceError, DeviceError, KernelError, OpmuxError
from ....core.kernel import Kernel, Launch
from ....core.runtime import several_hosts
from ...oracle.formats import Host
from ...target import Findings, Target, dense
from .. import values
from ..case import ANY, Check, DeviceContext
from . import interception
from .bench import Bench, bound
from .everywhere import everywhere
from .workload import Workload, demand, hold, hold_bytes

#: Bytes around the sizes at which copies are cut, aligned and rounded.
_SIZES: Final = (0, 1, 3, 63, 64, 65, 4095, 4097, 65_537, (1 << 20) + 3)
#: Parts of a matrix of 9 by 13: offsets, steps, backwards, rows, columns, one element, none.
_PARTS: Final[dict[str, Any]] = {
    "from an odd element": (slice(1, None), slice(3, None)),
    "one column": (slice(None), 5),
    "every second": (slice(1, None, 2), slice(None, None, 2)),
    "backwards": (slice(None, None, -1), slice(None, None, -1)),
    "one element": (4, 7),
    "none": (slice(2, 2), slice(None)),
    "repeated": (None, 3),
}
#: Dtypes that NumPy's own DLPack knows.
_SHARED: Final = ("bool", "int8", "uint16", "int32", "int64", "float16", "float32", "float64", "complex64")
#: Bytes from an aligned address at which imported memory begins.
_STARTS: Final = (0, 4, 8, 28, 60)
_HOPS: Final = 8


def interop(t: str, context: DeviceContext) -> Iterator[tuple[str, str, Check]]:
    """Cases of what a device has to do with others."""
    if t != ANY:
        return
    for label, check in _CASES.items():
        yield "interop", label, _bound(check, context)
    for label, on_bench in _LATE.items():
        yield "interop", label, bound(on_bench, context)


def _bound(check: Callable[[Target, Findings, DeviceContext], None], context: DeviceContext) -> Check:
    def bound(target: Target, findings: Findings) -> None:
        check(target, findings, context)

    return bound


def partners(device: Device) -> list[Device]:
    """Return the first device of every other kind, and another host where there is one."""
    kinds: dict[str, Device] = {}
    for d in DEVICES:
        if d is not device:
            kinds.setdefault(d.kind, d)
    return list(kinds.values())


def copied(target: Target, findings: Findings, context: DeviceContext) -> None:
    """Every dtype, part and size arrives as it was, on every other device of this process and back."""
    with several_hosts(2):
        for other in partners(target.device):
            between(target.device, other, findings, context.seed)


def between(device: Device, other: Device, findings: Findings, seed: int) -> None:
    """Copy between two devices, both ways."""
    for first, second in ((device, other), (other, device)):
        way = f"from {first} to {second}"
        for t in ALL:
            _hold_way(findings, _bits(t, (257,), seed), first, second, f"{t} {way}")
        _hold_way(findings, np.full((), 1.5, np.float32), first, second, f"a number {way}")
        for n in _SIZES:
            host = values.generator("interop", n, seed).integers(0, 256, n, np.uint8)
            _hold_way(findings, host, first, second, f"{n} bytes {way}")


def _hold_way(findings: Findings, host: Host, first: Device, second: Device, what: str) -> None:
    x = dense(host, first)
    there = x.to_device(second)
    demand(findings, there.device is second, f"{what}: the copy is on {there.device}")
    hold_bytes(findings, np.asarray(there.numpy()), np.asarray(host), what)
    hold_bytes(findings, np.asarray(there.to_device(first).numpy()), np.asarray(host), f"{what} and back")
    hold_bytes(findings, np.asarray(x.numpy()), np.asarray(host), f"{what}: what was copied")


def _bits(t: DType, shape: tuple[int, ...], seed: int) -> Host:
    rng = values.generator("interop", t.name, seed)
    if t.kind == "bool":
        return np.asarray(rng.integers(0, 2, shape)).astype(bool)
    raw = rng.integers(0, 256, (*shape, t.itemsize), np.uint8)
    return np.ascontiguousarray(raw).view(t.numpy).reshape(shape)


def views(target: Target, findings: Findings, context: DeviceContext) -> None:
    """A view is copied as what it shows, wherever it begins and however it steps; what arrives has views too."""
    with several_hosts(2):
        for other in partners(target.device):
            for first, second in ((target.device, other), (other, target.device)):
                for t in ("uint8", "float16", "int32", "float64"):
                    host = values.moderate(BY_NAME[t], (9, 13), "interop", context.seed)
                    for name, key in _PARTS.items():
                        there = dense(host, first)[key].to_device(second)
                        what = f"{t}, {name}, from {first} to {second}"
                        hold_bytes(findings, np.asarray(there.numpy()), np.array(host[key]), what)
                        if there.ndim == 2:
                            hold_bytes(findings, np.asarray(there[::-1, 1:].numpy()), host[key][::-1, 1:].copy(), what)


def own_value(target: Target, findings: Findings, context: DeviceContext) -> None:
    """A copy is a value of its own: overwriting either side leaves the other as it was."""
    work = Workload(target)
    x, y = (work.values((33, 9), i, "own value") for i in range(2))
    with several_hosts(2):
        for other in partners(target.device):
            a, b = work.upload(x), work.upload(y)
            there = a.to_device(other)
            over = work.add(a, b, out=a)
            hold_bytes(findings, np.asarray(there.numpy()), x, f"a copy on {other} of an array that was overwritten")
            back = there.to_device(target.device)
            again = work.add(back, b, out=back)
            hold_bytes(findings, np.asarray(there.numpy()), x, f"an array on {other} whose copy was overwritten")
            for made in (over, again):
                hold(findings, np.asarray(made.numpy()), work.binary.host(x, y), "what was written over it")


def imported(target: Target, findings: Findings, context: DeviceContext) -> None:
    """Memory of another library, at any address and in any steps, by DLPack and as it is: read and computed with."""
    device = target.device
    for t in _SHARED:
        room = np.zeros(4096, np.uint8)
        base = -room.ctypes.data % 64
        host = values.moderate(BY_NAME[t], (9, 13), "imports", context.seed)
        for start in _STARTS:
            place = room[base + start : base + start + host.nbytes].view(host.dtype)
            if place.ctypes.data % host.dtype.itemsize:
                continue
            place = place.reshape(host.shape)
            place[...] = host
            for name, key in _PARTS.items():
                given = place[key]
                for way in (from_dlpack, asarray):
                    if way is from_dlpack and not isinstance(given, np.ndarray):
                        continue
                    found = way(given, device=device)
                    what = f"{t} {start} bytes from an aligned address, {name}, by {way.__name__}"
                    hold_bytes(findings, np.asarray(found.numpy()), np.array(host[key]), what)
    _computed_with(target, findings)
    swapped = np.arange(7, dtype=np.dtype(np.int32).newbyteorder(">"))
    findings.held()
    try:
        found = asarray(swapped, device=device)
    except OpmuxError:
        return
    hold(findings, np.asarray(found.numpy()), np.arange(7, dtype=np.int32), "integers in the other byte order")


def _computed_with(target: Target, findings: Findings) -> None:
    """Kernels take what was imported, whose address no allocator of opmux gave."""
    work = Workload(target)
    host = work.values((40, 7), "imports")
    for start in range(4):
        line = np.zeros(host.size + 64, host.dtype)
        place = line[start : start + host.size].reshape(host.shape)
        place[...] = host
        for key in ((slice(None), slice(None)), (slice(1, None, 3), slice(None, None, -1))):
            x = asarray(place[key], device=target.device)
            made = work.add(x, x) if work.copies or not start else None
            if made is not None:
                wanted = work.binary.host(host[key], host[key])
                hold(findings, np.asarray(made.numpy()), wanted, f"a call on memory imported at element {start}")


def exchanged(target: Target, findings: Findings, context: DeviceContext) -> None:
    """DLPack between hosts shares values; off the host it is refused with a typed error, and a copy is the way."""
    host = values.moderate(BY_NAME["float32"], (9, 13), "exchanged", context.seed)
    with several_hosts(2):
        for other in partners(target.device):
            for first, second in ((target.device, other), (other, target.device)):
                for name, key in _PARTS.items():
                    given = dense(host, first)[key]
                    what = f"{name}, by DLPack from {first} to {second}"
                    if not first.is_host:
                        _demand_refused(findings, given, second, what)
                        continue
                    found = from_dlpack(given, device=second)
                    hold_bytes(findings, np.asarray(found.numpy()), np.array(host[key]), what)


def _demand_refused(findings: Findings, x: Array, to: Device, what: str) -> None:
    findings.held()
    try:
        found = from_dlpack(x, device=to)
    except (DeviceError, BufferError):
        return
    if np.asarray(found.numpy()).tobytes() != np.asarray(x.numpy()).tobytes():
        raise ConformanceError(f"{what}: it was neither refused nor right")


def failed(target: Target, findings: Findings, context: DeviceContext) -> None:
    """A value whose making failed, at once or late, arrives nowhere: the copy, or who reads it, raises the error.

    A copy that the host does not wait for cannot know. The next one works.
    """
    work = Workload(target)
    x = work.values((33,), "failed")

    def around(kernel: Kernel, launch: Launch) -> Launch:
        def failing(*given: Any) -> Any:
            return interception.Late(launch(*given), RuntimeError("planted by a case"))

        return failing

    with several_hosts(2):
        for other in partners(target.device):
            given = work.upload(x)
            findings.held()
            try:
                with interception.kernels(target, around):
                    made = work.add(given, given)
                np.asarray(made.to_device(other).numpy())
            except KernelError:
                pass
            else:
                raise ConformanceError(f"a value whose launch failed was copied from {target.device} to {other}")
            there = work.add(given, given).to_device(other)
            hold(findings, np.asarray(there.numpy()), work.binary.host(x, x), f"a value copied to {other} afterwards")


def late(b: Bench, findings: Findings) -> None:
    """A copy to another device waits for the late call that makes the value, on whichever queue."""
    x, y = b.up(b.x), b.up(b.y)
    with several_hosts(2):
        for other in partners(b.device):
            for queue in (b.first, b.second):
                with use_queue(queue):
                    made = b.late(x, y)
                    b.put()
                    there = made.to_device(other)
                hold(findings, np.asarray(there.numpy()), b.sum(b.x, b.y), f"a late value copied to {other}")
                with use_queue(queue):
                    made = b.late(x, y)
                    fresh = b.up(b.y)
                b.put()
                moved = fresh.to_device(other)
                hold(findings, np.asarray(moved.numpy()), b.y, f"what was uploaded behind late work, on {other}")
                with use_queue(queue):
                    made = b.late(x, y)
                b.put()
                there = made.to_device(other)
                hold(findings, np.asarray(there.numpy()), b.sum(b.x, b.y), f"a late value of another queue, on {other}")


def arrived(b: Bench, findings: Findings) -> None:
    """What was copied behind late work is right for the next call, however soon its source is written or dropped."""
    x, y = b.up(b.x), b.up(b.y)
    with several_hosts(2):
        for other in (d for d in partners(b.device) if d.is_host):
            for queue in (b.first, b.second):
                source = dense(b.x, other)
                with use_queue(queue):
                    b.late(x, y)
                    here = source.to_device(b.device)
                    source.host[...] = 0
                    found = b.work.add(here, y)
                with use_queue(b.first if queue is b.second else b.second):
                    across = b.work.add(here, y)
                b.put()
                del source
                b.expect(findings, across, b.sum(b.x, b.y), f"a call of another queue behind the copy from {other}")
                b.expect(findings, found, b.sum(b.x, b.y), f"a call behind the copy from {other}")
                b.expect(findings, here, b.x, f"a copy from {other} whose source was overwritten")


def hops(b: Bench, findings: Findings) -> None:
    """A value that goes to and fro, changed on the device each time, on its queues in turn."""
    y, wanted = b.up(b.y[:4097]), np.zeros_like(b.x[:4097])
    with several_hosts(2):
        for other in partners(b.device):
            x, expected = b.up(np.zeros_like(b.x[:4097])), wanted
            for i in range(_HOPS):
                with use_queue(b.second if i % 2 else b.first):
                    x = b.work.add(x, y if i % 2 else b.up(np.zeros_like(expected)))
                    x = x.to_device(other).to_device(b.device)
                expected = b.sum(expected, b.y[:4097] if i % 2 else np.zeros_like(expected))
            b.expect(findings, x, expected, f"a value that went to {other} and back {_HOPS} times")


_CASES: Final[dict[str, Callable[[Target, Findings, DeviceContext], None]]] = {
    "copies": copied,
    "views": views,
    "own-value": own_value,
    "imports": imported,
    "dlpack": exchanged,
    "failed": failed,
    "everywhere": everywhere,
}
#: Those that need work that is late.
_LATE: Final[dict[str, Callable[[Bench, Findings], None]]] = {"late": late, "arrived": arrived, "hops": hops}

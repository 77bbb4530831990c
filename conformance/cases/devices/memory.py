"""Memory of a device: copies of every size and offset, contents that stay, alignment, and giving back."""

from __future__ import annotations

import contextvars
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np

from ....core.arrays.array import Array
from ....core.arrays.creation import asarray, from_dlpack
from ....core.devices.device import DEVICES, Buffer, Device
from ....core.dtypes import ALL, DType
from ....core.errors import ConformanceError, DeviceError
from ....core.signature import ALIGNMENT
from ...oracle.formats import Host
from ...target import Findings, Target, dense
from .. import values
from ..case import ANY, Check, DeviceContext
from . import guard_zones, interception
from .room import leaks, out_of_memory, to_the_brim
from .workload import Workload, as_bytes, demand, hold, hold_bytes, random_bytes

#: Bytes at which copies are split, aligned or rounded, and their neighbours.
SIZES: Final = (0, 1, 2, 3, 7, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097, 65_537, (1 << 20) + 3)
_OFFSETS: Final = (0, 1, 3, 8, 63, 64, 65, 127, 4095, 4096, 4097)
#: Beyond 16, 20, 24 and 25 bits, off every boundary.
_FAR: Final[tuple[int, ...]] = ((1 << 16) + 71, (1 << 20) + 77, (1 << 24) + 79, (1 << 25) + 81)
#: Where allocators change from one size to the next, and what a header or a rounded end leaves of it.
_BUCKETS: Final = tuple(
    n for p in range(4, 17) for n in ((1 << p) - 8, (1 << p) - 1, 1 << p, (1 << p) + 1, 3 << p >> 1)
)
#: Devices of one kind that are looked at.
_MOST_DEVICES: Final = 7


def memory(t: str, context: DeviceContext) -> Iterator[tuple[str, str, Check]]:
    """Cases of a device's memory."""
    if t != ANY:
        return
    for label, check in _CASES.items():
        yield "memory", label, _bound(check, context)


def _bound(check: Callable[[Target, Findings, DeviceContext], None], context: DeviceContext) -> Check:
    def bound(target: Target, findings: Findings) -> None:
        check(target, findings, context)

    return bound


def sizes(target: Target, findings: Findings, context: DeviceContext) -> None:
    """What is copied to the device and back is the same, for every size, and still is when all of it is there."""
    hosts = [random_bytes(n, context.seed) for n in SIZES]
    arrays = [dense(h, target.device) for h in hosts]
    for again in ("", " a second time"):
        for h, x in zip(reversed(hosts), reversed(arrays), strict=True):
            hold_bytes(findings, as_bytes(x), h, f"{h.size} bytes read back{again}")


def offsets(target: Target, findings: Findings, context: DeviceContext) -> None:
    """Copies to and from any offset, of any length, change and read just what they say."""
    device, rng = target.device, values.generator("offsets", context.seed)
    model = random_bytes(3 * 4097, context.seed)
    buffer, queue = device.alloc(model.size), device.default_queue
    device.driver.upload(buffer.handle, 0, model.copy(), queue.handle)
    places = [*_OFFSETS, *rng.integers(0, model.size, 10 if context.quick else 50)]
    for at in map(int, places):
        for length in (1, 3, 64, 65, int(rng.integers(1, model.size))):
            count = min(length, model.size - at)
            part = rng.integers(0, 256, count, np.uint8)
            device.driver.upload(buffer.handle, at, part, queue.handle)
            model[at : at + count] = part
            first = max(at - 70, 0)
            found = np.zeros(min(count + 140, model.size - first), np.uint8)
            device.driver.download(found, buffer.handle, first, queue.handle)
            hold_bytes(findings, found, model[first : first + found.size], f"around {count} bytes put at offset {at}")
    hold_bytes(findings, _whole(buffer), model, "the buffer in the end")


def far(target: Target, findings: Findings, context: DeviceContext) -> None:
    """Copies and kernels far from the start of a buffer, beyond what 16, 20 and 24 bits count."""
    device, places = target.device, _FAR[:2] if context.quick else _FAR
    size = places[-1] + 4097
    if size > device.info.memory // 4:
        places, size = _FAR[:1], _FAR[0] + 4097
    buffer, queue = device.alloc(size), device.default_queue
    model = np.arange(size // 4 + 1, dtype=np.uint32).view(np.uint8)[:size].copy()  # no two words are equal
    device.driver.upload(buffer.handle, 0, model.copy(), queue.handle)
    for at in places:
        part = random_bytes(131, at)
        device.driver.upload(buffer.handle, at, part, queue.handle)
        model[at : at + part.size] = part
        found = np.zeros(part.size + 140, np.uint8)
        device.driver.download(found, buffer.handle, at - 70, queue.handle)
        hold_bytes(findings, found, model[at - 70 : at - 70 + found.size], f"around 131 bytes put at offset {at}")
    hold_bytes(findings, _whole(buffer), model, "the buffer in the end")
    work = Workload(target)
    line = work.values((size // work.dtype.itemsize,), "far")
    x = work.upload(line)
    for at in (p // work.dtype.itemsize + 1 for p in places):
        made, y = work.add(x[at : at + 67], x[at + 1 : at + 68]), line[at : at + 68]
        hold(findings, np.asarray(made.numpy()), work.binary.host(y[:67], y[1:]), f"operands from element {at} on")


def others(target: Target, findings: Findings, context: DeviceContext) -> None:
    """Every other device of the kind computes and keeps what is its own: the first one is not all of them."""
    work = Workload(target)
    x, y = (work.values((67, 5), i, "others") for i in range(2))
    here = work.upload(x)
    for device in [d for d in DEVICES if d.kind == target.device.kind and d is not target.device][:_MOST_DEVICES]:
        there = Workload(Target(target.backend, device))
        a, b = there.upload(x), there.upload(y)
        hold(findings, np.asarray(there.add(a, b).numpy()), there.binary.host(x, y), f"{there.binary.op} on {device}")
        for c in there.wide:
            square = there.values((33, 33), c.op)
            given = there.upload(square)
            made = there.call(c, *[given] * c.operands)
            hold(findings, np.asarray(made.numpy()), c.host(*[square] * c.operands), f"{c.op} on {device}")
        hold_bytes(findings, np.asarray(here.to_device(device).numpy()), x, f"an array brought to {device}")
        hold_bytes(findings, np.asarray(b.to_device(target.device).numpy()), y, f"an array brought from {device}")
        findings.held()
    hold_bytes(findings, np.asarray(here.numpy()), x, f"an array on {target.device} in the end")


def _whole(buffer: Buffer) -> Host:
    found = np.zeros(buffer.nbytes, np.uint8)
    device = buffer.device
    device.driver.download(found, buffer.handle, 0, device.default_queue.handle)
    return found


def _patterns(t: DType, seed: int) -> Host:
    """Return hard values and random bit patterns of a dtype, NaN payloads among them."""
    rng = values.generator("patterns", t.name, seed)
    if t.kind == "bool":
        return rng.integers(0, 2, 257).astype(bool)
    raw = rng.integers(0, 256, 255 * t.itemsize, np.uint8).view(t.numpy)
    return raw if t.kind == "storage" else np.concatenate([values.hard(t), raw])


def dtypes(target: Target, findings: Findings, context: DeviceContext) -> None:
    """Every dtype keeps its bits, with one element and with many, in matrices and without axes."""
    for t in ALL:
        given = _patterns(t, context.seed)
        for host in (given, given[: given.size // 6 * 6].reshape(2, 3, -1), given[0], given[:0]):
            x = dense(host, target.device)
            hold_bytes(findings, np.asarray(x.numpy()), np.asarray(host), f"{t}{list(np.shape(host))}")


_VIEWS: Final[dict[str, tuple[Any, ...]]] = {
    "from an odd element": (slice(1, None), slice(3, None)),
    "one element": (slice(5, 6), slice(7, 8)),
    "a row": (3,),
    "backwards": (slice(None, None, -1), slice(None, None, -1)),
    "every second": (slice(1, None, 2), slice(None, None, 2)),
    "the last": (-1, -1),
    "none": (slice(2, 2), slice(None)),
}


def views(target: Target, findings: Findings, context: DeviceContext) -> None:
    """Views at any offset and with any strides are read as they are, and a view keeps the memory."""
    for t in ("uint8", "float16", "float32", "float64"):
        host = values.moderate(next(d for d in ALL if d.name == t), (9, 13), context.seed)
        for name, key in _VIEWS.items():
            part = dense(host, target.device)[key]
            others = [dense(np.full_like(host, 1), target.device) for _ in range(2)]
            hold_bytes(findings, np.asarray(part.numpy()), host[key].copy(), f"{t}, {name}")
            del others


def many(target: Target, findings: Findings, context: DeviceContext) -> None:
    """Many arrays, made and dropped in random order, each with contents of its own."""
    rng = values.generator("many", context.seed)
    held: list[tuple[Array, Host]] = []
    for i in range(200 if context.quick else 2000):
        if held and (len(held) > 40 or rng.random() < 0.45):
            x, host = held.pop(int(rng.integers(len(held))))
            hold_bytes(findings, as_bytes(x), host, f"an array of {host.size} bytes among {len(held)} others")
        host = np.full(int(rng.choice(SIZES[1:-1])) + int(rng.integers(0, 9)), i % 251, np.uint8)
        held.append((dense(host, target.device), host))
    for x, host in held:
        hold_bytes(findings, as_bytes(x), host, f"an array of {host.size} bytes in the end")


def disjoint(target: Target, findings: Findings, context: DeviceContext) -> None:
    """Live buffers do not overlap, also where memory is used again; where pointers are numbers, they are aligned."""
    device, rng = target.device, values.generator("disjoint", context.seed)
    found = [_filled_buffer(device, n, rng) for n in (*SIZES, *_BUCKETS) for _ in range(3)]
    _hold_buffers(findings, found, "a buffer of {} bytes beside its neighbours")
    found = [kept for kept in found if rng.random() < 0.5]
    device.synchronize()  # what was given back may now be handed out
    found += [_filled_buffer(device, n, rng) for n in (*reversed(_BUCKETS), *SIZES) for _ in range(2)]
    _hold_buffers(findings, found, "a buffer of {} bytes beside others in memory that is used again")
    ranges = sorted((device.driver.pointer(b.handle, 0), b.nbytes) for b, _ in found if _is_address(device, b))
    for address, n in ranges:
        demand(
            findings,
            address % ALIGNMENT == 0,
            f"alloc({n}) lies at {address:#x}, which is not a multiple of {ALIGNMENT}",
        )
    for (first, n), (second, _) in itertools.pairwise(ranges):
        demand(findings, first + n <= second, f"two live buffers overlap: {n} bytes at {first:#x}, and {second:#x}")


def _filled_buffer(device: Device, nbytes: int, rng: np.random.Generator) -> tuple[Buffer, Host]:
    """Return a buffer and the random bytes in it."""
    buffer, content = device.alloc(nbytes), rng.integers(0, 256, nbytes, np.uint8)
    if nbytes:
        device.driver.upload(buffer.handle, 0, content.copy(), device.default_queue.handle)
    return buffer, content


def _hold_buffers(findings: Findings, found: Sequence[tuple[Buffer, Host]], what: str) -> None:
    for buffer, content in found:
        hold_bytes(findings, _whole(buffer), content, what.format(buffer.nbytes))


def _is_address(device: Device, buffer: Buffer) -> bool:
    return isinstance(device.driver.pointer(buffer.handle, 0), int)


def other_threads(target: Target, findings: Findings, context: DeviceContext) -> None:
    """What one thread uploads or computes another one reads, also where it has read something else before."""
    work, device = Workload(target), target.device
    buffer, queue = device.alloc(257), device.default_queue
    x, y = (work.values((9, 7), i, "threads") for i in range(2))
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:

        def there(pool: ThreadPoolExecutor, job: Callable[..., Any], *given: Any) -> Any:
            return pool.submit(contextvars.copy_context().run, job, *given).result()

        for i in range(4):
            writer, reader = (one, other) if i % 2 else (other, one)
            content = random_bytes(buffer.nbytes, i)
            there(writer, device.driver.upload, buffer.handle, 0, content.copy(), queue.handle)
            hold_bytes(findings, there(reader, _whole, buffer), content, "bytes that another thread has uploaded")
            hold_bytes(findings, _whole(buffer), content, "bytes that another thread has uploaded, read by a third")
            a, b = there(writer, work.upload, x), work.upload(y)
            made = there(reader, work.add, a, b)
            hold(findings, _host(made), work.binary.host(x, y), "the result of another thread's call")
            hold(findings, there(writer, _host, made), work.binary.host(x, y), "the same, read where it was not made")


def _host(x: Array) -> Host:
    return np.asarray(x.numpy())


def given_back(target: Target, findings: Findings, context: DeviceContext) -> None:
    """Every allocation is freed when the last array over it is gone; no kernel keeps arrays."""
    work = Workload(target)
    x, y = (work.values((8, 8), i) for i in range(2))

    def use() -> None:
        a, b = work.upload(x), work.upload(y)
        made = [work.add(a, b)] + [work.call(c, *[a, b][: c.operands]) for c in work.wide]
        view = work.add(made[0], b)[1:, 2:]
        del a, b
        hold(findings, np.asarray(view.numpy()), work.binary.host(work.binary.host(x, y), y)[1:, 2:], "a view")

    use()  # constants and code that a first call keeps are not a leak
    with interception.driver(target.device, interception.Bookkeeping) as books, interception.letting_go():
        for _ in range(3):
            use()
            demand(findings, books.live == 0, f"{books.live} buffers stay allocated after their arrays are gone")
        demand(findings, not books.wrong, "; ".join(books.wrong))


def exports(target: Target, findings: Findings, context: DeviceContext) -> None:
    """Host memory is shared read-only and outlives its array; any other memory is refused with a typed error."""
    host = values.generator("exports").integers(0, 100, (5, 7)).astype(np.int32)
    x = dense(host, target.device)
    if not target.device.is_host:
        for way in (np.asarray, lambda x: x.__buffer__(0), lambda x: x.__dlpack__()):
            _demand_not_on_host(findings, way, x)
        return
    shared = np.asarray(x)
    demand(findings, not shared.flags.writeable, "an export can be written")
    again = from_dlpack(x[1:, ::2], device=target.device)
    hold_bytes(findings, np.asarray(x.__buffer__(0)), host, "the buffer protocol")
    foreign = asarray(host[:, 1:], device=target.device)
    hold_bytes(findings, np.asarray(foreign.numpy()), host[:, 1:].copy(), "memory of NumPy")
    del x
    others = [dense(np.full_like(host, 7), target.device) for _ in range(4)]
    hold_bytes(findings, shared, host, "an export whose array is gone")
    hold_bytes(findings, np.asarray(again.numpy()), host[1:, ::2].copy(), "a DLPack export whose array is gone")
    del others


def _demand_not_on_host(findings: Findings, way: Callable[[Array], object], x: Array) -> None:
    findings.held()
    try:
        way(x)
    except DeviceError:
        return
    raise ConformanceError(f"an export of memory of {x.device} to the host must raise DeviceError")


def garbage(target: Target, findings: Findings, context: DeviceContext) -> None:
    """A chain of calls in memory full of garbage, between guards that nobody may write."""
    work = Workload(target)
    x, y = (work.values((17, 17), i) for i in range(2))

    def chain() -> None:
        a, b = work.upload(x), work.upload(y)
        s, expected = work.add(a, b), work.binary.host(x, y)
        made = [(s, expected, work.binary.op), (a, x, "an operand"), (b, y, "an operand")]
        for c in work.wide:
            made.append((work.call(c, *[a, b][: c.operands]), c.host(*[x, y][: c.operands]), c.op))
        if work.copies:
            made.append((work.add(s[:, ::-1], b[:, ::-1]), work.binary.host(expected, y)[:, ::-1], "copied operands"))
        for found, wanted, what in made:
            hold(findings, np.asarray(found.numpy()), wanted, f"{what} in memory full of garbage")

    chain()  # constants of a first call are no results
    for byte in (0xFF, 0x40):
        with guard_zones.guarded(target.device, byte) as guards:
            chain()
            demand(findings, guards.check() > 3, "no memory of the device was asked for")


_CASES: Final[dict[str, Callable[[Target, Findings, DeviceContext], None]]] = {
    "sizes": sizes,
    "offsets": offsets,
    "far": far,
    "others": others,
    "dtypes": dtypes,
    "views": views,
    "many": many,
    "disjoint": disjoint,
    "out-of-memory": out_of_memory,
    "brim": to_the_brim,
    "leaks": leaks,
    "given-back": given_back,
    "other-threads": other_threads,
    "exports": exports,
    "garbage": garbage,
}

"""Running decisions: outputs allocated, operands made ready, launches made, failures typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .array import Array, alias, view
from .decision import Candidate, Decision, Operands, Run
from .device import Buffer, Device, Queue
from .dtypes import uint8
from .errors import DeviceLostError, KernelError, OpmuxError, OutOfMemoryError, PluginError
from .graph import Graph, Metadata
from .kernel import Launch, Prepared
from .observe import STEP_OBSERVERS, observed_step
from .queues import queue_of
from .signature import Shape, Signature, signature
from .status import Completion, Status
from .views import broadcast_strides


def kernel_runner(
    device: Device,
    backend: str,
    kernel: str,
    op: str,
    prepared: Prepared,
    outputs: tuple[Signature, ...],
    broadcast: Shape | None,
    inputs: tuple[Signature | None, ...],
    copies: tuple[tuple[int, Decision], ...],
) -> Run:
    """Return the function that runs one prepared kernel."""
    ready = _ready(broadcast, inputs, copies)
    launch = prepared.launch
    fail = _failure(device, backend, kernel, op)
    if device.is_host and len(outputs) == 1 and not prepared.workspace:
        return _host_runner(device, launch, outputs[0], ready, fail)

    def run(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        queue = queue_of(device)
        ins = ready(operands)
        buffers = [into] if into is not None else [device.alloc(s.nbytes, queue) for s in outputs]
        outs = tuple(Array(b, s) for b, s in zip(buffers, outputs, strict=True))
        workspace = scratch(device, prepared.workspace, queue)
        parents, poisoned = _inherited(ins, queue)
        for b in buffers:
            if b.queue is not queue:  # only a reused buffer: what is still read from it elsewhere goes first
                b.used_on(queue)
            b.queue = queue
        if poisoned is not None:
            status = Status(None, (poisoned,), op, kernel, backend)
            status.error()
        else:
            try:
                completion: Completion | None = launch(outs, ins, workspace, queue.handle)  # type: ignore[arg-type]
            except Exception as error:
                raise fail(error) from error
            if completion is None and not parents:
                return outs
            status = Status(completion, parents, op, kernel, backend)
            queue.track(status)
        for b in buffers:
            b.status = status
        return outs

    return run


def _host_runner(
    device: Device,
    launch: Launch,
    output: Signature,
    ready: Callable[[Operands], Operands],
    fail: Callable[[Exception], Exception],
) -> Run:
    """The short way for host memory: complete when launch returns, one output, no workspace."""
    alloc, nbytes = device.alloc, output.nbytes

    def run(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        out = (Array(into if into is not None else alloc(nbytes), output),)
        try:
            launch(out, ready(operands), None, None)  # type: ignore[arg-type]
        except Exception as error:
            raise fail(error) from error
        return out

    return run


def _as_given(operands: Operands) -> Operands:
    return operands


def _ready(
    broadcast: Shape | None, inputs: tuple[Signature | None, ...], copies: tuple[tuple[int, Decision], ...]
) -> Callable[[Operands], Operands]:
    """Return what turns the operands as given into the operands that the kernel takes."""
    repeat = [
        (i, broadcast, broadcast_strides(s.shape, s.strides, broadcast))
        for i, s in enumerate(inputs)
        if broadcast is not None and s is not None and s.shape != broadcast
    ]
    if not repeat and not copies:
        return _as_given

    def ready(operands: Operands) -> Operands:
        made = list(operands)
        for i, shape, strides in repeat:
            x = made[i]
            if x is not None:
                made[i] = view(x, shape, strides)
        for i, copy in copies:
            (made[i],) = copy.run((made[i],), None)
        return made

    return ready


def scratch(device: Device, nbytes: int, queue: Queue) -> Array | None:
    """Return a workspace of so many bytes, or None for none."""
    if not nbytes:
        return None
    return Array(device.alloc(nbytes, queue), signature(device, uint8, (nbytes,)))


def _inherited(ins: Operands, queue: Queue) -> tuple[tuple[Status, ...], Status | None]:
    """Order the queue after the inputs' writers; return the statuses still open, and one known to have failed."""
    parents: list[Status] = []
    for x in ins:
        if x is None:
            continue
        buffer = x._buffer
        if buffer.queue is not queue:
            buffer.used_on(queue)
        status = buffer.status
        if status is None:
            continue
        if status.known_error() is not None:
            return (), status
        if status.settled_well():
            buffer.status = None
        else:
            parents.append(status)
    return tuple(parents), None


def _failure(device: Device, backend: str, kernel: str, op: str) -> Callable[[Exception], Exception]:
    def fail(error: Exception) -> Exception:
        if isinstance(error, DeviceLostError):
            device.lose(error)
        if isinstance(error, OpmuxError):
            error.culprits.setdefault("op", op)
            return error
        if isinstance(error, MemoryError):
            return OutOfMemoryError(
                f"{op} on {device} ran out of memory inside of kernel {kernel} of backend {backend}: {error}; free "
                f"arrays, use smaller ones, or choose another backend with policy(backends=...)",
                op=op,
                kernel=kernel,
                backend=backend,
                device=device.name,
            )
        return KernelError(
            f"{op} failed in kernel {kernel} of backend {backend} on {device}: {error!r}; this is a fault of the backend, "
            f"report it there, or exclude it with policy(backends=...)",
            op=op,
            kernel=kernel,
            backend=backend,
            device=device.name,
        )

    return fail


#: One step of a planned graph: the function (operands -> results), the value numbers it reads and those it makes.
Step = tuple[Callable[[Operands], Operands], tuple["int | None", ...], tuple[int, ...]]


def graph_runner(graph: Graph, steps: Sequence[Step]) -> Run:
    """Return the function that runs a planned graph.

    Args:
        graph: for its inputs, constants and outputs.
        steps: what to do, in order.
    """
    total = len(graph.specs)
    first_constant = len(graph.inputs)
    last_use: dict[int, int] = {}
    for position, (_, inputs, _) in enumerate(steps):
        for i in inputs:
            if i is not None:
                last_use[i] = position
    kept = set(graph.outputs)
    dead_after: list[tuple[int, ...]] = [
        tuple(i for i, p in last_use.items() if p == position and i not in kept) for position in range(len(steps))
    ]

    shared = [k for k, i in enumerate(graph.outputs) if i < graph.first_node_value or i in graph.outputs[:k]]

    def run(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        values: list[Array | None] = [None] * total
        values[:first_constant] = [x for x in operands if x is not None]
        values[first_constant : graph.first_node_value] = graph.constants
        for (function, inputs, outputs), dead in zip(steps, dead_after, strict=True):
            made = function(tuple([None if i is None else values[i] for i in inputs]))
            for i, result in zip(outputs, made, strict=True):
                values[i] = result
            for i in dead:
                values[i] = None  # memory of intermediates is free after their last use
        results = [_present(values[i]) for i in graph.outputs]
        for k in shared:  # a result that is an operand, a constant or another result gets a handle of its own
            results[k] = alias(results[k])
        return tuple(results)

    return run


def _present(x: Array | None) -> Array:
    if x is None:
        raise PluginError("a graph's output was not computed; this is a fault of opmux itself, please report it")
    return x


def metadata_step(op: Metadata, arguments: tuple[Any, ...], copy: Decision | None) -> Callable[[Operands], Operands]:
    """Return the function that makes a view, after a dense copy where one is planned."""

    copied = None if copy is None else decided_step(copy)

    def step(operands: Operands) -> Operands:
        x = operands[0]
        if copied is not None:
            (x,) = copied((x,))
        return (op.apply(x, *arguments),)

    return step


def decided_step(decision: Decision) -> Callable[[Operands], Operands]:
    """Return the function that runs a decision as a step of a graph."""
    run = decision.run

    def step(operands: Operands) -> Operands:
        return observed_step(decision, operands) if STEP_OBSERVERS else run(operands, None)

    return step


def fallback_runner(device: Device, host: Device, inner: Candidate) -> Run:
    """Return the function that moves operands to another device, runs there, and moves the results back."""
    from .transfer import to_device

    inner_run = inner.run
    if inner_run is None:
        raise PluginError("a fallback was planned on a candidate that cannot run; this is a fault of opmux itself")

    def run(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        moved = [None if x is None else to_device(x, host) for x in operands]
        return tuple(to_device(y, device) for y in inner_run(moved, None))

    return run

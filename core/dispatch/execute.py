"""Running decisions: outputs allocated, operands made ready, launches made, failures typed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ..arrays.array import Array, alias
from ..arrays.reuse import LARGEST, Results
from ..arrays.views import broadcast_strides, view
from ..devices.device import Buffer, Device
from ..devices.queues import queue_of
from ..devices.status import Completion, Status, outcome
from ..dtypes import uint8
from ..errors import DeviceLostError, KernelError, OpmuxError, OutOfMemoryError, PluginError
from ..graphs.graph import Graph, Metadata
from ..kernel import Launch, Prepared
from ..signature import Shape, Signature, signature
from .decision import Decision, Operands, Run
from .observe import STEP_OBSERVERS, observed_step
from .replay import NOTING, note_constants, note_launch


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
    if not any(s.size for s in outputs):
        return _empty_runner(device, outputs)
    if device.is_host:
        return _host_runner(device, launch, outputs, prepared.workspace, ready, fail)

    as_given, scratch_bytes = ready is _as_given, prepared.workspace
    scratch_of = signature(device, uint8, (scratch_bytes,))  # kept: one that nobody has is made anew each time
    here, alone = all(s.device is device for s in outputs), len(outputs) == 1
    first, nbytes = outputs[0], outputs[0].nbytes

    def run(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        if device.lost is not None:
            device.check_alive()
        queue = queue_of(device)
        ins = operands if as_given else ready(operands)
        if into is not None:
            buffers = [into]
        elif here:
            buffers = [device.alloc(nbytes, queue)] if alone else [device.alloc(s.nbytes, queue) for s in outputs]
        else:
            buffers = [s.device.alloc(s.nbytes, queue_of(s.device)) for s in outputs]
        if alone:
            outs: tuple[Array, ...] = (Array(buffers[0], first),)
        else:
            outs = tuple([Array(b, s) for b, s in zip(buffers, outputs, strict=True)])
        parents: Sequence[Status] = ()
        for x in ins:
            if x is not None and x._buffer.status is not None:
                parents, poisoned = _inherited(ins)
                if poisoned is not None:
                    status = Status(None, (poisoned,), op, kernel, backend)
                    status.ended()
                    for b in buffers:
                        b.status = status
                    return outs
                break
        workspace = Array(device.alloc(scratch_bytes, queue), scratch_of) if scratch_bytes else None
        for x in ins:
            if x is not None:
                x._buffer.before_read(queue)
        if into is not None or not here:  # what was allocated just now for this queue is in order with it
            for b in buffers:
                b.before_write(queue)
        completion: Completion | None = None
        since = queue.now()
        try:
            completion = launch(outs, ins, workspace, queue.handle)  # type: ignore[arg-type]
        except Exception as error:
            _raise(fail(error), error)
        finally:  # also a launch that raised may have put work on the queue
            point = queue.launched(since)
            for x in ins:
                if x is not None:
                    x._buffer.was_read(point)
            if workspace is not None:
                workspace._buffer.was_read(point)
            made = completion is not None or parents
            own = Status(completion, tuple(parents), op, kernel, backend, point) if made else None
            for b in buffers:
                b.was_written(point, own)
        if own is not None:
            queue.track(own)
        if NOTING:
            note_launch(launch, fail, backend, outs, ins, workspace, completion)
        return outs

    return run


def _empty_runner(device: Device, outputs: tuple[Signature, ...]) -> Run:
    """Return the function for results without elements: there is nothing to compute, so no kernel is launched."""

    def run(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        return tuple([Array(s.device.alloc(0), s) for s in outputs])

    return run


def _host_runner(
    device: Device,
    launch: Launch,
    outputs: tuple[Signature, ...],
    workspace: int,
    ready: Callable[[Operands], Operands],
    fail: Callable[[BaseException], Exception],
) -> Run:
    """Return the function for host memory, where everything is complete when a call returns."""
    alloc, output, nbytes = device.alloc, outputs[0], outputs[0].nbytes
    scratch_of = signature(device, uint8, (workspace,))

    # The short way: it is what a call on small arrays consists of.
    def run(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        out = (Array(into if into is not None else alloc(nbytes), output),)
        try:
            completion = launch(out, ready(operands), None, None)  # type: ignore[arg-type]
        except Exception as error:
            _raise(fail(error), error)
        if completion is not None:
            _wait(completion, fail)
        return out

    def run_again(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        outs = take()
        try:
            completion = launch(outs, operands if as_given else ready(operands), None, None)  # type: ignore[arg-type]
        except Exception as error:
            _raise(fail(error), error)
        if completion is not None:
            _wait(completion, fail)
        return outs

    def run_any(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        buffers = [into] if into is not None else [s.device.alloc(s.nbytes) for s in outputs]
        outs = tuple([Array(b, s) for b, s in zip(buffers, outputs, strict=True)])
        try:
            spare = Array(alloc(workspace), scratch_of) if workspace else None
            completion = launch(outs, ready(operands), spare, None)  # type: ignore[arg-type]
        except Exception as error:
            _raise(fail(error), error)
        if completion is not None:
            _wait(completion, fail)
        return outs

    if len(outputs) == 1:
        return run_any if workspace else run
    if workspace or any(s.nbytes > LARGEST for s in outputs):
        return run_any
    take, as_given = Results(outputs).take, ready is _as_given
    return run_again


def launch_on_host(decision: Decision, outs: tuple[Array, ...], ins: Operands) -> None:
    """Launch the chosen kernel of a call on host memory, into results that exist; it is complete on return.

    Args:
        decision: one whose chosen candidate is a prepared kernel that takes its operands as they are.
        outs: arrays of the decision's output signatures.
        ins: the operands.
    """
    chosen, device = decision.chosen, decision.device
    kernel, prepared = chosen.kernel, chosen.prepared
    if kernel is None or prepared is None:
        raise PluginError(f"{chosen.name} is no prepared kernel; this is a fault of opmux itself, please report it")
    fail = _failure(device, chosen.backend or "", kernel.name, decision.op.name)
    try:
        completion = prepared.launch(outs, ins, scratch(device, prepared.workspace), None)  # type: ignore[arg-type]
    except Exception as error:
        _raise(fail(error), error)
    if completion is not None:
        _wait(completion, fail)


def _wait(completion: Completion, fail: Callable[[BaseException], Exception]) -> None:
    """Wait for work of a host kernel: whatever comes next on the host reads the memory at once."""
    error = outcome(completion)
    if error is not None:
        _raise(fail(error), error)


def _raise(typed: Exception, cause: BaseException) -> NoReturn:
    """Raise a failure as opmux reports it, with its cause where that is another exception."""
    if typed is cause:
        raise typed
    raise typed from cause


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


def scratch(device: Device, nbytes: int) -> Array | None:
    """Return a workspace of so many bytes, or None for none."""
    if not nbytes:
        return None
    return Array(device.alloc(nbytes), signature(device, uint8, (nbytes,)))


def _inherited(ins: Operands) -> tuple[list[Status], Status | None]:
    """Return the statuses of the inputs that are still open, and one that is known to have failed."""
    parents: list[Status] = []
    for x in ins:
        if x is None:
            continue
        status = x._buffer.pending()
        if status is None:
            continue
        if status.failed():
            return [], status
        parents.append(status)
    return parents, None


def _failure(device: Device, backend: str, kernel: str, op: str) -> Callable[[BaseException], Exception]:
    def fail(error: BaseException) -> Exception:
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
            f"{op} failed in kernel {kernel} of backend {backend} on {device}: {error!r}; this is a fault of the "
            "backend, report it there, or exclude it with policy(backends=...)",
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
        if NOTING:
            note_constants(graph.constants)
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


def fallback_runner(device: Device, host: Device, inner: Decision) -> Run:
    """Return the function that moves operands to another device, runs there, and moves the results back."""
    from ..arrays.transfer import to_device

    inner_run = inner.run

    def run(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        moved = [None if x is None else to_device(x, host) for x in operands]
        return tuple(to_device(y, device) for y in inner_run(moved, None))

    return run

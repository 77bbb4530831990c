"""The recorder of calls: what ``OPMUX_RECORD=FILE`` and ``record_calls`` write; see :mod:`.calllog` for the format.

Each line is written at once and whole, so that a program that is killed leaves a readable log. What the recorder fails
with never reaches the program: it warns and stops recording.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ..arrays.array import Array
from ..devices.device import Buffer, find_device
from ..errors import ArgumentError
from ..graphs.graph import Graph
from ..graphs.steps import CallStep, Steps, steps_of
from ..signature import Signature
from . import observe
from .calllog import FORMAT, SCHEMA_VERSION, encoded
from .decision import Decision

VARIABLE: Final = "OPMUX_RECORD"
#: Decisions whose unchanging part of the line is kept.
_KEPT: Final = 4096
#: Words of the command line that the header keeps.
_WORDS: Final = 2
#: Bytes of a file that show whether it is a call log.
_HEAD: Final = 64

#: A decision that ran, with its operands and its results.
_Call = tuple[Decision, Sequence["Array | None"], Sequence[Array]]


class Recorder:
    """Writes the log of this process.

    Args:
        path: where; where that exists already, it belongs to another process, and this one writes beside it, with its
            process number at the end of the name.
        asked_by: what a warning names.

    Attributes:
        path: as given, absolute.
    """

    def __init__(self, path: str | Path, asked_by: str = VARIABLE) -> None:
        self.path = Path(path).absolute()
        self._asked_by = asked_by
        self._lock = threading.RLock()
        self._restart()

    def _restart(self) -> None:
        self._file: int | None = None
        self._calls = 0
        self._buffers = 0
        self._stopped = False
        self._writing = False
        self._noted: deque[_Call] = deque()
        self._ahead = ""
        self._numbers: dict[int, tuple[int, weakref.ref[Buffer]]] = {}
        self._source: dict[int, int] = {}
        self._freed: deque[int] = deque()  # filled by the collector, at any time
        self._fixed: dict[int, tuple[Decision, str]] = {}
        self._steps: dict[int, tuple[Decision, Steps]] = {}
        self._signatures: dict[Signature, str] = {}

    def after_fork_in_child(self) -> None:
        """Begin a log of one's own: the parent goes on with this one, and its lock may be held."""
        if self._file is not None:
            os.close(self._file)
        self._lock = threading.RLock()
        self._restart()

    def watch(self) -> None:
        """Record every call from here on, also in the children of a fork."""
        observe.OBSERVERS.append(self.note)
        _WATCHING.append(self)

    def leave(self, *, complete: bool) -> None:
        """Record no more calls, and end the log.

        Args:
            complete: whether what was recorded came to its end.
        """
        observe.OBSERVERS.remove(self.note)
        _WATCHING.remove(self)
        self.finish(complete=complete)

    @property
    def calls(self) -> int:
        """How many calls were written."""
        return self._calls

    def note(
        self, decision: Decision, operands: Sequence[Array | None], results: Sequence[Array], seconds: float
    ) -> None:
        """Write one call; an observer of calls."""
        self._noted.append((decision, operands, results))
        with self._lock:
            if self._writing:  # a destructor or a signal came while this thread writes: its call comes after that one
                return
            self._writing = True
            try:
                while self._noted:
                    self._take(*self._noted.popleft())
            finally:
                self._writing = False

    def _take(self, decision: Decision, operands: Sequence[Array | None], results: Sequence[Array]) -> None:
        if self._stopped:  # or another thread has ended the log since this call looked who observes
            return
        try:
            if self._file is None:
                self._open()
            self._write_frees()
            graph = decision.chosen.graph
            if graph is None:
                self._write_call(decision, operands, results)
            else:
                self._write_graph(decision, graph, operands, results)
        except Exception as error:  # a full disk, or a fault of the recorder: neither is the program's
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._stopped = True
        said = f"{self._asked_by}: {self.path}: {error}; recording stops here"
        warnings.warn(said, RuntimeWarning, stacklevel=3)

    def finish(self, *, complete: bool = True) -> None:
        """End the log, and say so where what was recorded came to its end; without a call there is none."""
        with self._lock:
            stopped, self._stopped = self._stopped, True
            if self._file is None or stopped:
                return
            try:
                if complete:
                    self._write_frees()
                    self._write(f'{{"end": {self._calls}}}\n')
            except OSError as error:  # a full disk leaves a log without an end
                self._give_up(error)
            finally:
                os.close(self._file)
                self._file = None

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            self._file = os.open(self.path, flags, 0o644)
        except FileExistsError:
            self._file = os.open(self.path.with_name(f"{self.path.name}.{os.getpid()}"), flags, 0o644)
        self._write(json.dumps(_header()) + "\n")

    def _write(self, line: str) -> None:
        assert self._file is not None  # opened before anything is written
        data = (self._ahead + line).encode()
        self._ahead = ""
        while data:  # a regular file takes all at once unless its disk is full
            data = data[os.write(self._file, data) :]

    def _write_frees(self) -> None:
        if self._freed:
            numbers = [self._freed.popleft() for _ in range(len(self._freed))]
            for n in numbers:
                self._source.pop(n, None)
            self._ahead += f'{{"freed": {numbers}}}\n'  # goes out with the next line, in one write

    def _write_call(self, decision: Decision, operands: Sequence[Array | None], results: Sequence[Array]) -> None:
        fixed = self._fixed.get(id(decision))
        if fixed is None:
            if len(self._fixed) >= _KEPT:
                self._fixed.clear()
            fixed = self._fixed[id(decision)] = decision, _fixed_part(decision)
        given = ", ".join(["null" if x is None else self._reference(x) for x in operands])
        number = self._calls
        made = ", ".join([self._reference(x, number) for x in results])
        self._write(f'{{"call": {number}, {fixed[1]}, "in": [{given}], "out": [{made}]}}\n')
        self._calls += 1

    def _reference(self, x: Array, writer: int | None = None) -> str:
        buffer = x._buffer
        known = self._numbers.get(id(buffer))
        fresh = ""
        if known is None:
            number = self._number(buffer)
            fresh = f', "nbytes": {buffer.nbytes}, "on": "{buffer.device.name}"'
        else:
            number = known[0]
        source = ""
        if writer is not None:
            self._source[number] = writer
        elif (last := self._source.get(number)) is not None:
            source = f', "from": {last}'
        offset = f', "offset": {x._offset}' if x._offset else ""
        return f'{{"buffer": {number}, {self._layout(x._sig)}{offset}{source}{fresh}}}'

    def _number(self, buffer: Buffer) -> int:
        number, self._buffers = self._buffers, self._buffers + 1
        key, numbers, freed = id(buffer), self._numbers, self._freed

        def gone(_: Any) -> None:
            numbers.pop(key, None)
            freed.append(number)

        numbers[key] = number, weakref.ref(buffer, gone)
        return number

    def _layout(self, sig: Signature) -> str:
        kept = self._signatures.get(sig)
        if kept is None:
            if len(self._signatures) >= _KEPT:
                self._signatures.clear()
            shape, strides = list(sig.shape), list(sig.strides)
            kept = self._signatures[sig] = f'"dtype": "{sig.dtype.name}", "shape": {shape}, "strides": {strides}'
        return kept

    def _write_graph(
        self, decision: Decision, graph: Graph, operands: Sequence[Array | None], results: Sequence[Array]
    ) -> None:
        """Write the calls of a compiled function; what is between them has buffers that exist only in the log."""
        kept = self._steps.get(id(decision))
        if kept is None:
            if len(self._steps) >= _KEPT:
                self._steps.clear()
            kept = self._steps[id(decision)] = decision, steps_of(graph, [s for s in decision.inputs if s is not None])
        steps = kept[1]
        arrays = [*(x for x in operands if x is not None), *steps.constants]
        real = {v.number: y for v, y in zip(steps.outputs, results, strict=True) if v.number >= steps.given}
        last = {v.number: i for i, c in enumerate(steps.calls) for v in (*c.inputs, *c.outputs) if v is not None}
        inner: dict[int, int] = {}

        def refer(v: Any, writer: int | None = None) -> str:
            if v.number < steps.given:
                return self._reference(Array(arrays[v.number]._buffer, v.sig, arrays[v.number]._offset + v.offset))
            if v.number in real:
                return self._reference(Array(real[v.number]._buffer, v.sig, v.offset), writer)
            fresh = ""
            if v.number not in inner:
                inner[v.number], self._buffers = self._buffers, self._buffers + 1
                fresh = f', "nbytes": {v.sig.nbytes}, "on": "{decision.device.name}"'
            number = inner[v.number]
            if writer is not None:
                self._source[number] = writer
            source = f', "from": {self._source[number]}' if writer is None else ""
            offset = f', "offset": {v.offset}' if v.offset else ""
            return f'{{"buffer": {number}, {self._layout(v.sig)}{offset}{source}{fresh}}}'

        for i, step in enumerate(steps.calls):
            fixed = _fixed_step(step, decision)
            given = ", ".join(["null" if v is None else refer(v) for v in step.inputs])
            number = self._calls
            made = ", ".join([refer(v, number) for v in step.outputs])
            self._write(f'{{"call": {number}, {fixed}, "in": [{given}], "out": [{made}]}}\n')
            self._calls += 1
            self._freed.extend(number for v, number in inner.items() if last[v] == i)
            self._write_frees()


def _fixed_part(decision: Decision) -> str:
    from .choose import spec_of

    work = decision.op.work(
        tuple(None if s is None else spec_of(s) for s in decision.inputs),
        [s for s in map(spec_of, decision.outputs) if s is not None],
        dict(decision.attributes),
    )
    return _fixed(decision.op.name, decision.attributes, decision.device.name, decision.chosen.name, work, None)


def _fixed_step(step: CallStep, decision: Decision) -> str:
    from .choose import spec_of

    specs = tuple(None if v is None else spec_of(v.sig) for v in step.inputs)
    results = [s for s in (spec_of(v.sig) for v in step.outputs) if s is not None]
    work = step.op.work(specs, results, dict(step.attributes))
    name = decision.op.name.partition(":")[2]
    return _fixed(step.op.name, step.attributes, decision.device.name, decision.chosen.name, work, name)


def _fixed(
    op: str, attributes: tuple[tuple[str, Any], ...], device: str, candidate: str, work: Any, within: str | None
) -> str:
    made = {
        "op": op,
        "attributes": {k: encoded(v) for k, v in attributes},
        "device": device,
        "candidate": candidate,
        "flops": float(work.flops),
        "bytes": float(work.nbytes),
    }
    if within is not None:
        made["within"] = within
    return json.dumps(made)[1:-1]


def _header() -> dict[str, Any]:
    from importlib import metadata

    from ..devices.device import DEVICES
    from .registry import REGISTRY

    rates = find_device("cpu").rates
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "opmux": metadata.version("opmux"),
        "opset": REGISTRY.opset_version,
        "program": [Path(word).name for word in sys.argv[:_WORDS]],
        "devices": [{"device": d.name, "name": d.info.name} for d in DEVICES],
        "host": {"launch": rates.launch, "flops": rates.flops, "bandwidth": rates.bandwidth},
    }


#: Recorders at work.
_WATCHING: Final[list[Recorder]] = []


def _after_fork_in_child() -> None:
    for recorder in _WATCHING:
        recorder.after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork_in_child)


def make_room(path: Path, where: str) -> None:
    """Remove an earlier log; anything else is somebody's file.

    Args:
        path: of the log.
        where: what gives it, for messages.

    Raises:
        ArgumentError: something else is there, this process is writing it, or nothing can be written there.
    """
    if any(recorder.path == path for recorder in _WATCHING):
        raise ArgumentError(f"{where} {path}: this log is being written now; give another name", path=str(path))
    if not path.parent.is_dir():
        raise ArgumentError(f"{where} {path}: there is no folder {path.parent}", path=str(path))
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if head and FORMAT.encode() not in head:
            raise ArgumentError(
                f"{where} {path}: that file is no call log; give another name, or remove it", path=str(path)
            )
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ArgumentError(f"{where} {path}: {error.strerror}", path=str(path)) from error
    if not os.access(path.parent, os.W_OK):
        raise ArgumentError(f"{where} {path}: nothing can be written to {path.parent}", path=str(path))


def record_from_environment() -> Recorder | None:
    """Record this process where ``OPMUX_RECORD`` names a file; not in the processes that opmux starts to probe."""
    from ..plugins.child import INSIDE

    path = os.environ.get(VARIABLE)
    if not path or os.environ.get(INSIDE):
        return None
    recorder = Recorder(path)
    recorder.watch()
    atexit.register(recorder.finish)
    return recorder

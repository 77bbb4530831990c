"""Call logs: what a program called, with signatures and dependences, and without data.

A log is JSON lines: a header, one line per call in the order in which they were made, lines with the numbers of
buffers that were freed meanwhile, and a last line that says that the program came to its end. ``docs/planning.md``
lists the keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from .. import dtypes
from ..devices.driver import Rates
from ..dtypes import DType
from ..errors import OpmuxError, shown
from ..kernel import ArraySpec
from ..op import COLLECTIVES, Op, find_op
from ..signature import Signature, signature

FORMAT: Final = "opmux call log"
#: Of the lines' layout; a reader reads its own version and says so otherwise.
SCHEMA_VERSION: Final = 1


class CallLogError(OpmuxError, ValueError):
    """A file that is no call log, or a damaged one; ``where`` and ``line`` say where."""


@dataclass(frozen=True, slots=True)
class LoggedBuffer:
    """Memory that arrays of the log look at.

    Attributes:
        nbytes: its size.
        device: where it was.
    """

    nbytes: int
    device: str


@dataclass(frozen=True, slots=True)
class LoggedArray:
    """An operand or result of a logged call.

    Attributes:
        buffer: number of its buffer.
        sig: dtype, shape and strides; on the host, wherever the program ran.
        offset: bytes from the beginning of the buffer.
        source: number of the call that wrote the buffer last; None for what came from outside of the calls.
    """

    buffer: int
    sig: Signature
    offset: int = 0
    source: int | None = None


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """One call.

    Attributes:
        number: its place in the program, from 0.
        op: the op; a collective has one operand and one result per local rank.
        inputs: its operands; None for an optional one left out.
        outputs: its results.
        attributes: as the op's rules normalise them.
        device: where it ran.
        candidate: what was chosen for it.
        flops, nbytes: operations, and bytes read and written, as the op counts them.
        within: the compiled function of which it is a part.
        freed: buffers that were freed between this call and the next.
    """

    number: int
    op: Op
    inputs: tuple[LoggedArray | None, ...]
    outputs: tuple[LoggedArray, ...]
    attributes: tuple[tuple[str, Any], ...]
    device: str
    candidate: str
    flops: float
    nbytes: float
    within: str | None = None
    freed: tuple[int, ...] = ()

    @property
    def is_collective(self) -> bool:
        """Whether it is an op over the ranks of a mesh."""
        return self.op.name in COLLECTIVES


@dataclass(frozen=True, slots=True)
class CallLog:
    """A program's calls.

    Attributes:
        where: the file.
        opmux, opset: versions that wrote it.
        program: the command's first words, as recorded.
        host: rates of the host that recorded it, for what runs there.
        calls: in the order in which they were made.
        buffers: every buffer by its number.
        complete: whether the program came to its end.
    """

    where: str
    opmux: str
    opset: str
    program: tuple[str, ...]
    host: Rates
    calls: tuple[LoggedCall, ...]
    buffers: Mapping[int, LoggedBuffer] = field(hash=False)
    complete: bool


def encoded(value: Any) -> Any:
    """Return an attribute as JSON holds it: dtypes by name, tuples as lists, numbers that JSON lacks as words."""
    if isinstance(value, DType):
        return {"dtype": value.name}
    if isinstance(value, tuple | list):
        return [encoded(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"float": repr(value)}
    if isinstance(value, complex):
        return {"complex": [encoded(value.real), encoded(value.imag)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return {"other": str(value)}


def decoded(value: Any) -> Any:
    """Return what :func:`encoded` was given; what it had no form for stays its text.

    >>> decoded(encoded((1, float("inf"), None, dtypes.float32)))
    (1, inf, None, opmux.float32)
    """
    if isinstance(value, list):
        return tuple(decoded(v) for v in value)
    if isinstance(value, dict):
        ((kind, given),) = value.items()
        if kind == "dtype":
            return dtypes.BY_NAME[given]
        if kind == "complex":
            return complex(*map(decoded, given))
        return float(given) if kind == "float" else given
    return value


def read_call_log(path: str | Path) -> CallLog:
    """Return the log in a file.

    Raises:
        CallLogError: a file that cannot be read, is no call log, is cut off or damaged, is of another schema version,
            or calls an op that this opset does not have; it names the line.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CallLogError(f"call log {path}: cannot be read: {reason}", where=str(path)) from error
    return _Reader(str(path)).read(content)


class _Reader:
    """Reads one log; knows at which line it is."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.line = 0
        self.header: dict[str, Any] = {}
        self.buffers: dict[int, LoggedBuffer] = {}
        self.signatures: dict[tuple[str, tuple[int, ...], tuple[int, ...]], Signature] = {}
        self.followed: set[tuple[object, ...]] = set()
        self.calls = 0
        self.complete = False

    def bad(self, why: str) -> CallLogError:
        """Return the error for this line."""
        return CallLogError(f"call log {self.where}, line {self.line}: {why}", where=self.where, line=self.line)

    def read(self, content: bytes) -> CallLog:
        """Read everything."""
        calls: list[LoggedCall] = []
        freed: list[tuple[int, tuple[int, ...]]] = []
        for given in self._lines(content):
            if self.complete:
                raise self.bad("there is more after the program's end; the file was put together from two")
            try:
                if "call" in given:
                    calls.append(self._call(given))
                elif "freed" in given:
                    freed.append((len(calls) - 1, tuple(int(n) for n in given["freed"])))
                elif "end" in given:
                    self.complete = True
                else:
                    raise self.bad(f"neither a call nor freed buffers nor the end: {shown(given)}")
            except CallLogError:
                raise
            except OpmuxError as error:
                raise self.bad(str(error)) from error
            except KeyError as error:
                raise self.bad(f"damaged: {error.args[0]!r} is missing") from error
            except (TypeError, ValueError, AttributeError) as error:
                raise self.bad(f"damaged: {error}") from error
        merged = _with_frees(calls, freed)
        header = self.header
        return CallLog(
            self.where,
            str(header.get("opmux", "")),
            str(header.get("opset", "")),
            tuple(str(w) for w in header.get("program", ())),
            self._rates(header.get("host")),
            merged,
            self.buffers,
            self.complete,
        )

    def _lines(self, content: bytes) -> Iterator[dict[str, Any]]:
        if not content:
            raise CallLogError(f"call log {self.where}: it is empty; the program made no calls", where=self.where)
        lines = content.split(b"\n")
        whole = lines.pop() == b""
        for self.line, raw in enumerate(lines, 1):
            try:
                given = json.loads(raw)
            except (ValueError, RecursionError) as error:
                raise self.bad(f"is not JSON: {error}") from error
            if not isinstance(given, dict):
                raise self.bad("is no JSON object")
            if self.line == 1:
                self._check(given)
                self.header = given
            else:
                yield given
        if not whole:
            self.line = len(lines) + 1
            raise self.bad("the last line is cut off; record the program again, or remove that line")

    def _check(self, header: dict[str, Any]) -> None:
        if header.get("format") != FORMAT:
            raise self.bad(f"is no call log: its first line has no 'format': {FORMAT!r}; make one with opmux record")
        version = header.get("schema_version")
        if version != SCHEMA_VERSION:
            raise self.bad(
                f"schema version {shown(version)}; this opmux reads {SCHEMA_VERSION}. Record the program again with "
                "the opmux that plans"
            )

    def _rates(self, given: Any) -> Rates:
        self.line = 1
        try:
            return Rates(
                tuple((str(t), _positive(r)) for t, r in given["flops"]),
                tuple((int(n), _positive(r)) for n, r in given["bandwidth"]),
                float(given["launch"]),
                "measured",
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self.bad(f"the host's rates are damaged: {error}") from error

    def _call(self, given: dict[str, Any]) -> LoggedCall:
        number = given["call"]
        if number != self.calls:
            raise self.bad(f"call {shown(number)} is out of order; lines are missing before it")
        op = find_op(str(given["op"]))
        if op is None:
            raise self.bad(
                f"no op {shown(given['op'])} in this opset; the log was made with opset "
                f"{self.header.get('opset')}. Record the program again with the opmux that plans"
            )
        self.calls += 1
        inputs = tuple(None if x is None else self._array(x, number) for x in given["in"])
        outputs = tuple(self._array(x, number) for x in given["out"])
        if not outputs:
            raise self.bad(f"{op.name} has no result")
        attributes = tuple(sorted((str(k), decoded(v)) for k, v in given.get("attributes", {}).items()))
        if op.name not in COLLECTIVES:
            self._follow_rules(op, inputs, outputs, attributes)
        return LoggedCall(
            number, op, inputs, outputs, attributes, str(given["device"]), str(given["candidate"]),
            float(given["flops"]), float(given["bytes"]), given.get("within"),
        )  # fmt: skip

    def _array(self, given: dict[str, Any], number: int) -> LoggedArray:
        buffer = int(given["buffer"])
        if "nbytes" in given:
            self.buffers[buffer] = LoggedBuffer(int(given["nbytes"]), str(given["on"]))
        elif buffer not in self.buffers:
            raise self.bad(f"buffer {buffer} was never described; lines are missing")
        source = given.get("from")
        if source is not None and not 0 <= int(source) < number:
            raise self.bad(f"it depends on call {source}, which is not before it")
        return LoggedArray(buffer, self._signature(given), int(given.get("offset", 0)), source)

    def _follow_rules(
        self,
        op: Op,
        inputs: tuple[LoggedArray | None, ...],
        outputs: tuple[LoggedArray, ...],
        attributes: tuple[tuple[str, Any], ...],
    ) -> None:
        """Check that a call is one that the op's rules allow, with these results."""
        given, made = tuple(None if x is None else x.sig for x in inputs), tuple(y.sig for y in outputs)
        key = op.name, given, made, attributes
        if key in self.followed:
            return
        specs = tuple(None if s is None else ArraySpec(s.dtype, s.shape) for s in given)
        try:
            wanted = op.infer(op.name, specs, dict(attributes)).outputs
        except Exception as error:  # a rule that is given what no call gives it may fail with anything
            raise self.bad(f"no call of {op.name}: {type(error).__name__}: {error}") from error
        if [(s.dtype, s.shape) for s in wanted] != [(s.dtype, s.shape) for s in made]:
            raise self.bad(f"{op.name} has results {', '.join(map(str, wanted))}, not {', '.join(map(str, made))}")
        self.followed.add(key)

    def _signature(self, given: dict[str, Any]) -> Signature:
        key = str(given["dtype"]), tuple(given["shape"]), tuple(given["strides"])
        known = self.signatures.get(key)
        if known is None:
            name, shape, strides = key
            dtype = dtypes.BY_NAME.get(name)
            if dtype is None:
                raise self.bad(f"no dtype {shown(name)}")
            if len(shape) != len(strides) or any(not isinstance(n, int) or n < 0 for n in shape):
                raise self.bad(f"shape {shape} with strides {strides}")
            known = self.signatures[key] = signature(_host(), dtype, shape, strides)
        return known


def _host() -> Any:
    from ..devices.device import find_device

    return find_device("cpu")


def _positive(value: Any) -> float:
    made = float(value)
    if not made > 0:
        raise ValueError(f"{value} is no rate")
    return made


def _with_frees(calls: list[LoggedCall], freed: list[tuple[int, tuple[int, ...]]]) -> tuple[LoggedCall, ...]:
    after: dict[int, tuple[int, ...]] = {}
    for at, numbers in freed:
        after[at] = after.get(at, ()) + numbers
    return tuple(replace(c, freed=after[i]) if i in after else c for i, c in enumerate(calls))

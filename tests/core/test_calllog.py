"""Call logs: what the recorder writes, and what the reader takes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core import runtime
from opmux.core.dispatch import observe
from opmux.core.dispatch.calllog import CallLog, CallLogError, decoded, encoded, read_call_log
from opmux.core.dispatch.record import Recorder
from opmux.core.errors import ArgumentError


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Callable[[], CallLog]]:
    """Record the test's calls; the function ends the log and reads it."""
    recorder = Recorder(tmp_path / "calls.jsonl")
    observe.OBSERVERS.append(recorder.note)

    def end() -> CallLog:
        recorder.finish()
        return read_call_log(tmp_path / "calls.jsonl")

    yield end
    observe.OBSERVERS.remove(recorder.note)
    recorder.finish()


def array(*shape: int) -> ox.Array:
    return ox.asarray(np.ones(shape, np.float32))


def test_a_call_has_its_signatures_and_what_it_depends_on(recorded: Callable[[], CallLog]) -> None:
    x = array(2, 3)
    y = ox.exp(x)
    z = ox.subtract(y, x)
    assert z.shape == (2, 3)
    exp, subtract = recorded().calls
    assert (exp.op.name, exp.device, exp.inputs[0].source) == ("exp", "cpu:0", None)  # type: ignore[union-attr]
    assert exp.candidate.endswith("/exp")
    first, second = subtract.inputs
    assert first is not None
    assert second is not None
    assert (first.source, second.source) == (0, None)
    assert first.buffer == exp.outputs[0].buffer
    assert second.buffer == exp.inputs[0].buffer  # type: ignore[union-attr]
    assert (first.sig.dtype, first.sig.shape, first.sig.strides) == (ox.float32, (2, 3), (3, 1))
    assert (subtract.flops, subtract.nbytes) == (6.0, 72.0)


def test_a_view_is_logged_with_its_strides_and_its_offset(recorded: Callable[[], CallLog]) -> None:
    x = ox.exp(array(4, 4))
    ox.negative(x[1:, ::2].T)
    view = recorded().calls[1].inputs[0]
    assert view is not None
    assert (view.sig.shape, view.sig.strides, view.offset, view.source) == ((2, 3), (2, 4), 16, 0)


def test_buffers_are_freed_where_the_program_drops_them(recorded: Callable[[], CallLog]) -> None:
    x = array(8)
    for _ in range(3):
        y = ox.exp(x)
    assert y.shape == (8,)
    calls = recorded().calls
    assert [c.freed for c in calls] == [(), (calls[0].outputs[0].buffer,), (calls[1].outputs[0].buffer,)]


def test_the_log_holds_no_values(recorded: Callable[[], CallLog], tmp_path: Path) -> None:
    ox.exp(ox.asarray([12345.678, 0.5]))
    recorded()
    assert "12345" not in (tmp_path / "calls.jsonl").read_text()


def test_attributes_come_back_as_they_were(recorded: Callable[[], CallLog]) -> None:
    ox.sum(array(2, 3), axis=1, keepdims=True)
    (call,) = recorded().calls
    assert dict(call.attributes) == {"axis": (1,), "dtype": ox.float32, "keepdims": True}


@pytest.mark.parametrize("value", [None, True, 3, 2.5, float("-inf"), "clip", ox.int8, ((1, 2), (3,)), 1 + 2j])
def test_attributes_survive_json(value: Any) -> None:
    back = decoded(json.loads(json.dumps(encoded(value), allow_nan=False)))
    assert (back, type(back)) == (value, type(value))


def test_a_compiled_function_is_logged_as_the_calls_that_it_makes(recorded: Callable[[], CallLog]) -> None:
    f = ox.compile(lambda a: ox.negative(ox.exp(ox.permute_dims(a, (1, 0)))))
    y = f(array(2, 3))
    ox.abs(y)
    exp, negative, last = recorded().calls
    assert [c.op.name for c in (exp, negative, last)] == ["exp", "negative", "abs"]
    assert exp.inputs[0] is not None
    assert exp.inputs[0].sig.strides == (1, 3)  # the view that permute_dims makes
    assert exp.within == negative.within == "<lambda>"
    assert negative.inputs[0] is not None
    assert negative.inputs[0].source == 0
    assert exp.freed == ()
    assert exp.outputs[0].buffer in negative.freed
    assert last.inputs[0] is not None
    assert (last.inputs[0].buffer, last.inputs[0].source) == (negative.outputs[0].buffer, 1)


def test_a_result_in_an_operands_memory_has_its_buffer(recorded: Callable[[], CallLog]) -> None:
    x = ox.exp(array(4))
    y = ox.negative(x, out=x)
    ox.abs(y)
    exp, negative, last = recorded().calls
    assert negative.outputs[0].buffer == exp.outputs[0].buffer
    assert last.inputs[0] is not None
    assert last.inputs[0].source == 1


def test_a_collective_has_an_operand_and_a_result_per_rank(recorded: Callable[[], CallLog]) -> None:
    with runtime.several_hosts(2) as hosts:
        mesh = ox.Mesh([d.name for d in hosts])
        ox.all_reduce([ox.asarray([1.0, 2.0], device=d) for d in hosts], mesh, reduction="max")
        log = recorded()
    (call,) = log.calls
    assert call.is_collective
    assert (len(call.inputs), len(call.outputs), dict(call.attributes)["reduction"]) == (2, 2, "max")
    assert [log.buffers[y.buffer].device for y in call.outputs] == ["cpu:0", "cpu:1"]


def test_a_block_is_recorded_and_nothing_around_it(tmp_path: Path) -> None:
    path = tmp_path / "block.jsonl"
    x = ox.exp(array(3))
    with ox.record_calls(path) as log:
        y = ox.abs(x)
        assert log.calls == 1
    ox.negative(y)
    assert observe.OBSERVERS == []
    read = read_call_log(path)
    assert read.complete
    (call,) = read.calls
    assert (call.op.name, call.inputs[0].source) == ("abs", None)  # type: ignore[union-attr]


def test_a_block_overwrites_a_log_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "block.jsonl"
    for function in (ox.exp, ox.abs):
        with ox.record_calls(str(path)):
            function(array(2))
    assert [c.op.name for c in read_call_log(path).calls] == ["abs"]
    precious = tmp_path / "precious.py"
    precious.write_text("print(1)")
    with pytest.raises(ArgumentError, match="no call log"), ox.record_calls(precious):
        ox.exp(array(2))
    assert precious.read_text() == "print(1)"
    with pytest.raises(ArgumentError, match="no folder"), ox.record_calls(tmp_path / "absent" / "log"):
        pass


def test_a_block_inside_of_another_writes_a_log_of_its_own(tmp_path: Path) -> None:
    with ox.record_calls(tmp_path / "log"):
        ox.exp(array(2))
        with pytest.raises(ArgumentError, match="being written now"), ox.record_calls(tmp_path / "log"):
            pass
        with ox.record_calls(tmp_path / "other"):
            ox.abs(array(2))
    found = [read_call_log(tmp_path / name).calls for name in ("log", "other")]
    assert [[c.op.name for c in calls] for calls in found] == [["exp", "abs"], ["abs"]]


def test_a_block_that_fails_leaves_a_log_without_an_end(tmp_path: Path) -> None:
    with suppress(ZeroDivisionError), ox.record_calls(tmp_path / "log"):
        ox.exp(array(2))
        raise ZeroDivisionError
    log = read_call_log(tmp_path / "log")
    assert ([c.op.name for c in log.calls], log.complete) == (["exp"], False)
    assert observe.OBSERVERS == []


def test_a_call_that_ends_after_its_block_is_not_recorded(tmp_path: Path) -> None:
    """Another thread may have looked up the observers before the block ended."""
    with ox.record_calls(tmp_path / "log") as log:
        pass
    with ox.record_calls(tmp_path / "other"):
        observe.OBSERVERS.append(log.note)
        ox.exp(array(2))
        observe.OBSERVERS.remove(log.note)
    assert [p.name for p in tmp_path.iterdir()] == ["other"]


def test_the_child_of_a_fork_in_a_block_writes_a_log_of_its_own(tmp_path: Path) -> None:
    program = """
import os, sys
import opmux as ox
x = ox.asarray([1.0])
with ox.record_calls(sys.argv[1]):
    ox.exp(x)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        ox.negative(x)
        print(child)
    else:
        ox.abs(x)
"""
    path = tmp_path / "log"
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [c.op.name for c in read_call_log(path).calls] == ["exp", "negative"]
    theirs = read_call_log(tmp_path / f"log.{done.stdout.strip()}")
    assert ([c.op.name for c in theirs.calls], theirs.complete) == (["abs"], True)


PROGRAM = """
import os, signal, subprocess, sys
import opmux as ox
x = ox.exp(ox.asarray([1.0, 2.0]))
"""


def run(tmp_path: Path, more: str, **changes: str) -> tuple[int, str]:
    environment = {**os.environ, "OPMUX_RECORD": str(tmp_path / "calls.jsonl"), **changes}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + more], env=environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stderr


def test_a_program_that_is_killed_leaves_a_readable_log(tmp_path: Path) -> None:
    status, _ = run(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert status == -signal.SIGKILL
    log = read_call_log(tmp_path / "calls.jsonl")
    assert ([c.op.name for c in log.calls], log.complete) == (["exp"], False)


def test_a_second_process_writes_a_log_of_its_own(tmp_path: Path) -> None:
    child = "import opmux as ox; ox.abs(ox.asarray([1.0]))"
    run(tmp_path, f"subprocess.run([sys.executable, '-c', {child!r}], check=True); ox.negative(x)")
    ours, theirs = sorted(tmp_path.iterdir(), key=lambda p: len(p.name))
    assert [c.op.name for c in read_call_log(ours).calls] == ["exp", "negative"]
    assert [c.op.name for c in read_call_log(theirs).calls] == ["abs"]


def test_the_child_of_a_fork_writes_a_log_of_its_own(tmp_path: Path) -> None:
    parent = "os.waitpid(child, 0); ox.negative(x); print(child, file=sys.stderr)"
    status, error = run(tmp_path, f"child = os.fork()\nif child: {parent}\nelse: ox.abs(x)")
    assert status == 0, error
    ours, theirs = sorted(tmp_path.iterdir(), key=lambda p: len(p.name))
    assert [c.op.name for c in read_call_log(ours).calls] == ["exp", "negative"]
    assert theirs.name == f"{ours.name}.{error.split()[-1]}"
    (call,) = read_call_log(theirs).calls
    assert (call.op.name, call.inputs[0].source) == ("abs", None)  # type: ignore[union-attr]


def test_a_log_that_cannot_be_written_costs_a_warning_and_not_the_program(tmp_path: Path) -> None:
    absent = {"OPMUX_RECORD": str(tmp_path / "absent" / "calls.jsonl"), "PYTHONWARNINGS": "always"}
    status, error = run(tmp_path, "ox.abs(x); ox.abs(x)", **absent)
    assert status == 0
    assert "recording stops" in error
    assert error.count("RuntimeWarning") == 1


def test_a_destructor_may_call_while_a_line_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal's handler may; waiting for the line to end would be for ever."""
    write, x, interrupted = os.write, array(2), [False]

    def interrupt(file: int, data: bytes) -> int:
        if b'"call"' in data and not interrupted[0]:
            interrupted[0] = True
            ox.abs(x)
        return write(file, data)

    monkeypatch.setattr(os, "write", interrupt)
    with ox.record_calls(tmp_path / "log"):
        ox.exp(x)
    assert [c.op.name for c in read_call_log(tmp_path / "log").calls] == ["exp", "abs"]


def test_an_end_that_cannot_be_written_costs_a_warning_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def full(file: int, data: bytes) -> int:
        if b'"end"' in data:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    recorder = Recorder(tmp_path / "log")
    recorder.watch()
    ox.exp(array(2))
    monkeypatch.setattr(os, "write", full)
    with pytest.warns(RuntimeWarning, match="No space left on device; recording stops"):
        recorder.leave(complete=True)
    monkeypatch.undo()
    assert not read_call_log(tmp_path / "log").complete


def good() -> list[str]:
    header = {"format": "opmux call log", "schema_version": 1, "opmux": "0", "opset": "0.2", "program": ["p.py"]}
    host = {"launch": 1e-6, "flops": [["default", 1e9]], "bandwidth": [[1 << 40, 1e9]]}
    x = {"buffer": 0, "dtype": "float32", "shape": [4], "strides": [1], "nbytes": 16, "on": "cpu:0"}
    call = {
        "call": 0, "op": "exp", "attributes": {}, "device": "cpu:0", "candidate": "k", "flops": 4.0, "bytes": 32.0,
        "in": [x], "out": [{**x, "buffer": 1}],
    }  # fmt: skip
    return [json.dumps({**header, "host": host}), json.dumps(call), '{"end": 1}']


def test_a_good_log_is_read(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\n".join(good()) + "\n")
    log = read_call_log(tmp_path / "log")
    assert (len(log.calls), log.complete, log.program, log.host.launch) == (1, True, ("p.py",), 1e-6)


@pytest.mark.parametrize(
    ("line", "old", "new", "said"),
    [
        (1, "opmux call log", "something", "line 1: is no call log"),
        (1, '"schema_version": 1', '"schema_version": 7', "schema version 7; this opmux reads 1"),
        (1, '"launch"', '"lunch"', "line 1: the host's rates"),
        (1, "1000000000.0", "-1.0", "line 1: the host's rates"),
        (2, '"exp"', '"frobnicate"', "line 2: no op 'frobnicate' in this opset"),
        (2, '"call": 0', '"call": 5', "line 2: call 5 is out of order"),
        (2, '"float32"', '"float31"', "line 2: no dtype 'float31'"),
        (2, '"strides": [1]', '"strides": []', "line 2: shape (4,) with strides ()"),
        (2, '"shape": [4]', '"shape": [-4]', "line 2: shape (-4,)"),
        (2, '"candidate"', '"c"', "line 2: damaged: 'candidate' is missing"),
        (2, ', "nbytes": 16', "", "line 2: buffer 0 was never described"),
        (2, '"in": [{', '"in": [{"from": 3, ', "line 2: it depends on call 3"),
        (2, "{", "", "line 2: is not JSON"),
        (2, '"float32"', '"int8"', "line 2: no call of exp: DTypeError"),
        (2, '"op": "exp"', '"op": "isnan"', "line 2: isnan has results bool[4], not float32[4]"),
        (3, '"end"', '"odd"', "line 3: neither a call"),
        (3, "{", "[{", "line 3: is not JSON"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: int, old: str, new: str, said: str) -> None:
    lines = good()
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    (tmp_path / "log").write_text("\n".join(lines) + "\n")
    with pytest.raises(CallLogError) as caught:
        read_call_log(tmp_path / "log")
    assert said in str(caught.value)
    assert caught.value.line == line


def test_a_line_that_is_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\n".join(good())[:-30])
    with pytest.raises(CallLogError, match=r"line 2: the last line is cut off"):
        read_call_log(tmp_path / "log")


def test_what_comes_after_the_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\n".join([*good(), '{"freed": [0]}']) + "\n")
    with pytest.raises(CallLogError, match="line 4: there is more after the program's end"):
        read_call_log(tmp_path / "log")


def test_a_log_that_is_absent_or_empty(tmp_path: Path) -> None:
    with pytest.raises(CallLogError, match="cannot be read: No such file"):
        read_call_log(tmp_path / "log")
    (tmp_path / "log").touch()
    with pytest.raises(CallLogError, match="it is empty"):
        read_call_log(tmp_path / "log")

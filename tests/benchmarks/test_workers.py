"""The protocol, and workers that die, hang, talk too much or are asked for what they cannot do."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from opmux.benchmarks.errors import UnknownNameError, UnsupportedCaseError, WorkerError
from opmux.benchmarks.kinds import make_case
from opmux.benchmarks.peers import parse_peers
from opmux.benchmarks.pool import WorkerHandle, clean_environment
from opmux.benchmarks.protocol import Channel

PREAMBLE = "import sys; from benchmarks.worker import _own_channel as own; channel = own(); channel.receive(); "


def script(code: str, timeout: float = 20.0) -> WorkerHandle:
    return WorkerHandle("scripted", [sys.executable, "-c", PREAMBLE + code], timeout)


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerHandle]:
    made = WorkerHandle("numpy", timeout=30.0)
    yield made
    made.close()
    assert not made.alive


def test_messages_carry_bytes() -> None:
    reads, writes = os.pipe()
    channel = Channel(reads, writes)
    channel.send({"a": [1, None]}, b"\x00\xff")
    assert channel.receive(1.0) == ({"a": [1, None]}, bytearray(b"\x00\xff"))
    os.close(writes)
    with pytest.raises(WorkerError, match="closed"):
        channel.receive(1.0)
    os.close(reads)


def test_worker_prepares_runs_and_returns_its_result(worker: WorkerHandle) -> None:
    case = make_case("cast", "float32", (5,), to="float64")
    assert worker.hello()["numpy"] == np.__version__
    worker.prepare(case, 3)
    repetitions, each = worker.calibrate(60.0, 1000)  # as many as are allowed, however slow the machine
    assert repetitions == 1000
    assert 0 < each < 0.06
    assert worker.run(repetitions) > 0
    assert worker.result().dtype == np.float64


def test_worker_is_stopped_while_it_is_not_asked(worker: WorkerHandle) -> None:
    worker.hello()
    status = Path(f"/proc/{worker._process.pid}/stat")
    if not status.exists():
        pytest.skip("needs Linux's /proc to see the state of a process")
    deadline = time.monotonic() + 60
    while status.read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline, "the worker still runs"
        time.sleep(0.01)


def test_case_that_a_peer_does_not_offer() -> None:
    made = WorkerHandle("probe", timeout=30.0)
    try:
        with pytest.raises(UnsupportedCaseError, match="no limit"):
            made.prepare(make_case("add", "float32", (8,), (8,)), 1)
        assert made.alive
    finally:
        made.close()


def test_worker_that_dies_is_an_error_that_says_so() -> None:
    made = script("sys.exit(7)")
    with pytest.raises(WorkerError, match=r"scripted: hello: .*status 7"):
        made.hello()
    assert not made.alive


def test_worker_whose_library_raised_is_not_used_again() -> None:
    made = script("channel.send({'error': 'failed', 'message': 'device lost'}); channel.receive()")
    with pytest.raises(WorkerError, match="scripted: hello: device lost"):
        made.hello()
    assert not made.alive


def test_worker_that_hangs_is_killed() -> None:
    made = script("import time; time.sleep(100)", timeout=2.0)
    with pytest.raises(WorkerError, match=r"time limit; it was killed after 2 s"):
        made.hello()
    assert not made.alive


def test_what_a_library_prints_does_not_reach_the_protocol() -> None:
    made = script("print('noise', flush=True); channel.send({'versions': {'a': '1'}}); channel.receive()")
    assert made.hello() == {"a": "1"}
    made.close()


def test_settings_of_threads_do_not_reach_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("OPMUX_DISABLE", "llvm")
    assert clean_environment().keys().isdisjoint({"OPENBLAS_NUM_THREADS", "OPMUX_DISABLE"})


@pytest.mark.parametrize(
    ("text", "word"),
    [("numpy,cupie", "no peer 'cupie'"), ("opmux-acme", "opmux-llvm"), (" , ", "no peer given"), ("probe", "always")],
)
def test_unknown_peers(text: str, word: str) -> None:
    with pytest.raises(UnknownNameError, match=word):
        parse_peers(text)

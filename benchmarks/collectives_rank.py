"""``python -m benchmarks.collectives_rank WAY SOCKET RANKS [RANK FILE]``: a process that takes part in collectives.

It does what the parent asks for over a socket and times itself. Of opmux, mpi4py and torch only what its way needs is
imported, so an interpreter that has one of them alone will do.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from .collectives_cases import Case, case_of
from .collectives_ways import CopyProgram, OpmuxProgram, Way, way_of
from .errors import WorkerError
from .protocol import Channel, Message

_PR_SET_PDEATHSIG: Final = 1


def _timed(call: Callable[[], Any], barrier: Callable[[], None], repetitions: int, rooted: bool) -> tuple[float, Any]:
    made, taken = None, 0.0
    barrier()
    if rooted:
        for _ in range(repetitions):
            barrier()
            start = time.perf_counter()
            made = call()
            taken += time.perf_counter() - start
        return taken, made
    start = time.perf_counter()
    for _ in range(repetitions):
        made = call()
    return time.perf_counter() - start, made


class Rank:
    """Answers what the parent asks for."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._case: Case | None = None
        self._programs: dict[str, Any] = {}

    def answer(self, request: Message) -> Message:
        """Do what a request asks for."""
        actions: dict[str, Callable[[Message], Message]] = {
            "hello": lambda request: {"rank": self._way.rank, "versions": self._way.versions()},
            "prepare": self._prepare,
            "run": lambda request: {"seconds": self._seconds(request["variant"], request["repetitions"])},
            "check": lambda request: {"wrong": self._wrong(request["variant"])},
            "drop": self._drop,
        }
        return actions[request["do"]](request)

    def _drop(self, request: Message) -> Message:
        self._case = None
        self._programs.clear()
        gc.collect()
        return {}

    def _prepare(self, request: Message) -> Message:
        self._case = case_of(request["case"])
        variant = request["variant"]
        program = self._programs[variant] = self._way.prepare(self._case, variant)
        self._seconds(variant, 1)
        return {"detail": program.detail}

    def _seconds(self, variant: str, repetitions: int) -> float:
        """Return the seconds of so many calls; of a rooted one only those within the calls, not in the barriers."""
        program, case = self._prepared(variant)
        if isinstance(program, CopyProgram):
            return program.seconds(repetitions) * program.scale
        with getattr(program, "policy", contextlib.nullcontext)():
            taken, made = _timed(program.call, self._way.barrier, repetitions, case.rooted)
        if isinstance(program, OpmuxProgram):
            program.keep(made)
        return taken

    def _prepared(self, variant: str) -> tuple[Any, Case]:
        if variant not in self._programs or self._case is None:
            raise WorkerError("nothing is prepared")
        return self._programs[variant], self._case

    def _wrong(self, variant: str) -> str:
        """Return what is wrong with the last results; empty where nothing is."""
        program, case = self._prepared(variant)
        for rank, found in program.results().items():
            wanted = case.expected(rank)
            if found.shape != wanted.shape:
                return f"rank {rank} got shape {found.shape}, not {wanted.shape}"
            bad = np.flatnonzero(found != wanted)
            if bad.size:
                at = int(bad[0])
                return f"rank {rank}: {bad.size} elements differ; [{at}] is {found[at]}, not {wanted[at]}"
        return ""


def _channel(path: str) -> tuple[Channel, socket.socket]:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(path)
    return Channel(connection.fileno(), connection.fileno()), connection


def main(arguments: Sequence[str]) -> None:
    """Answer until the parent says stop or is gone."""
    name, path, ranks, *more = arguments
    if sys.platform == "linux" and name in ("opmux", "gloo", "copy"):  # MPI's launcher ends its own
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    channel, connection = _channel(path)
    gc.disable()  # a collection inside one sample would count against one library
    with connection:
        channel.send({"pid": os.getpid()})
        rank: Rank | None = None
        while True:
            try:
                request, _ = channel.receive()
            except WorkerError:
                return
            if request["do"] == "stop":
                return
            try:
                rank = rank or Rank(way_of(name, int(ranks), more))
                answer = rank.answer(request)
            except Exception as error:  # whatever a library raises is the parent's to report
                answer = {"error": f"{type(error).__name__}: {error}"}
            channel.send(answer)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The worker process: one peer, which does what the parent asks for and times itself."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from opmux.conformance.performance.timing import calibrate, sample

from .case import Case
from .errors import BenchmarkError, UnsupportedCaseError
from .kinds import as_given, draw
from .peers import Peer, Program, load_peer
from .protocol import Channel, Message

_PR_SET_PDEATHSIG: Final = 1


class Worker:
    """Answers requests for one peer."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._program: Program | None = None
        self._each = math.inf

    def answer(self, request: Message) -> tuple[Message, bytes]:
        """Do what a request asks for."""
        actions: dict[str, Callable[[Message], tuple[Message, bytes]]] = {
            "hello": self._hello,
            "prepare": self._prepare,
            "calibrate": self._calibrate,
            "run": self._run,
            "result": self._result,
        }
        return actions[request["do"]](request)

    def _hello(self, request: Message) -> tuple[Message, bytes]:
        return {"versions": self._peer.versions()}, b""

    def _prepare(self, request: Message) -> tuple[Message, bytes]:
        self._program = None
        gc.collect()
        case = Case.from_data(request["case"])
        self._program = self._peer.prepare(case, draw(case, request["seed"]), as_given)
        self._program.seconds(1)
        return {"detail": self._program.detail, "work": self._program.work}, b""

    def _calibrate(self, request: Message) -> tuple[Message, bytes]:
        """Find how many repetitions last as long as a sample should."""
        repetitions, self._each = calibrate(self._prepared().seconds, request["seconds"], request["most"])
        return {"repetitions": repetitions, "seconds": self._each}, b""

    def _run(self, request: Message) -> tuple[Message, bytes]:
        return {"seconds": sample(self._prepared().seconds, request["repetitions"], self._each)}, b""

    def _result(self, request: Message) -> tuple[Message, bytes]:
        result = np.asarray(self._prepared().result())
        return {"dtype": result.dtype.name, "shape": list(result.shape)}, result.tobytes()

    def _prepared(self) -> Program:
        if self._program is None:
            raise BenchmarkError("nothing is prepared")
        return self._program


def _die_with_parent() -> None:
    """Ask Linux to end this process with its parent, which may leave it stopped when it is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _own_channel() -> Channel:
    """Take standard input and output for messages; whatever else prints goes to standard error."""
    channel = Channel(os.dup(0), os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    return channel


def _failure(error: Exception) -> Message:
    kind = "unsupported" if isinstance(error, UnsupportedCaseError) else "failed"
    text = str(error) if isinstance(error, BenchmarkError) else f"{type(error).__name__}: {error}"
    return {"error": kind, "message": text, "traceback": traceback.format_exc()}


def serve(channel: Channel, name: str) -> None:
    """Answer requests until the parent closes the pipe or says stop."""
    gc.disable()  # as timeit does: a collection inside one sample would count against one peer
    worker: Worker | None = None
    while True:
        request, _ = channel.receive()
        if request["do"] == "stop":
            return
        answer: tuple[Any, bytes]
        try:
            worker = worker or Worker(load_peer(name))
            answer = worker.answer(request)
        except Exception as error:  # whatever a peer raises is the parent's to report
            answer = _failure(error), b""
        channel.send(*answer)


def main() -> None:
    """Serve the peer that the command line names."""
    _die_with_parent()
    channel = _own_channel()
    try:
        serve(channel, sys.argv[1])
    except BenchmarkError:
        raise SystemExit(0) from None  # the parent is gone


if __name__ == "__main__":
    main()

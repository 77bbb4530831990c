"""Kernels that take their process down, or keep it from speaking, at an operand without axes."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.conformance.zoo import Host, exp


def _at_scalars(action: Callable[[], Any]) -> Callable[..., None]:
    def compute(spec: Any, out: Host, x: Host) -> None:
        exp(spec, out, x)
        if out.ndim == 0:
            action()

    return compute


def _eat() -> None:
    held = []
    while True:
        held.append(np.ones(1 << 23))
        time.sleep(0.005)


def _every_descriptor(act: Callable[[int], Any]) -> None:
    for number in range(3, 64):
        try:
            act(number)
        except OSError:
            continue


def _close_and_stay() -> None:
    _every_descriptor(os.close)
    time.sleep(600)


def _die_soon() -> None:
    threading.Timer(0.3, os._exit, (3,)).start()


def _hang_in_c() -> None:
    ctypes.PyDLL(None).sleep(600)  # which does not let go of the interpreter


def _deadlock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def _child() -> None:
    """Leave a process behind that keeps the output open, and hang."""
    made = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False)
    with open(os.environ["FATAL_CHILD"], "w", encoding="ascii") as file:
        file.write(str(made.pid))
    time.sleep(600)


segfault = _at_scalars(lambda: ctypes.string_at(0))
abort = _at_scalars(os.abort)
killed = _at_scalars(lambda: os.kill(os.getpid(), signal.SIGKILL))
exits = _at_scalars(lambda: sys.exit(0))
exits_at_once = _at_scalars(lambda: os._exit(0))
interrupts = _at_scalars(lambda: os.kill(os.getpid(), signal.SIGINT))
closes = _at_scalars(lambda: _every_descriptor(os.close))
closes_and_stays = _at_scalars(_close_and_stay)
nonsense = _at_scalars(lambda: _every_descriptor(lambda n: os.write(n, b"warning: fan speed\n")))
half_a_message = _at_scalars(lambda: _every_descriptor(lambda n: os.write(n, b'{"result": {}}\n')))
hangs = _at_scalars(lambda: time.sleep(600))
hangs_in_c = _at_scalars(_hang_in_c)
deadlocks = _at_scalars(_deadlock)
eats = _at_scalars(_eat)
dies_soon = _at_scalars(_die_soon)
leaves_a_child = _at_scalars(_child)
prints = _at_scalars(lambda: (print("garbage", flush=True), os.write(1, b"\xff\x00{\n")))
reads = _at_scalars(lambda: os.read(0, 1 << 16))
prints_much = _at_scalars(lambda: [os.write(2, b"x" * 4096) for _ in range(5000)])

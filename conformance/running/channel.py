"""The far end of a :class:`.isolation.Worker`: requests come as JSON lines on standard input, replies go as JSON lines
to what was standard output.

Backends read and print, also in C: what they read is empty, and what they print goes to standard error.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
from collections.abc import Callable
from typing import Any

from .isolation import folders

Send = Callable[[dict[str, Any]], None]


def serve(answer: Callable[[Any, Send], None]) -> None:
    """Load the backends, say so, and answer requests until there are no more.

    Args:
        answer: takes one request and what sends replies to it.
    """
    from ...core.dispatch.claims import CLAIMS
    from ...core.runtime import ensure_loaded

    faulthandler.enable()
    # A shell that starts the run in the background has it ignore interrupts; one that a backend sends itself ends it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    requests, replies = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    ensure_loaded()
    # What earlier runs found keeps a refuted kernel out of decisions: a second run would call its ops unsupported, or
    # pass their decompositions, and a wrong backend would be conformant.
    CLAIMS.clear()
    send({"ready": True, "folders": folders()})
    for line in requests:
        answer(json.loads(line), send)

"""A worker of the suite with a backend that is wrong in the first process only, or that loses its device: for good, or
to the process alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from opmux.conformance.running import worker
from opmux.core.errors import DeviceLostError
from opmux.core.plugins import manager
from tests.conformance.zoo import TWINS, Zoo, exp, kernel

if __name__ == "__main__":
    mark = Path(os.environ["ODD_MARK"])
    first = not mark.exists()
    mark.touch()

    def flaky(spec: Any, out: Any, x: Any) -> None:
        exp(spec, out, x)
        if first:
            out[...] = 7

    gone = mark.with_suffix(".gone")
    here: list[bool] = []

    def lost(spec: Any, out: Any, x: Any) -> None:
        gone.touch()
        raise DeviceLostError("the card fell out", device="cpu:0")

    def without_card(spec: Any, out: Any, x: Any, y: Any) -> None:
        if gone.exists():
            raise DeviceLostError("there is no card", device="cpu:0")
        TWINS["multiply"](spec, out, x, y)

    def stray(spec: Any, out: Any, x: Any) -> None:
        here.append(True)
        raise DeviceLostError("an illegal address", device="cpu:0")

    def after_stray(spec: Any, out: Any, x: Any, y: Any) -> None:
        if here:
            raise DeviceLostError("an illegal address, before", device="cpu:0")
        TWINS["multiply"](spec, out, x, y)

    manager.register("zoo-flaky", Zoo([kernel("exp", flaky)]))
    manager.register("zoo-lost", Zoo([kernel("exp", lost), kernel("multiply", without_card)]))
    manager.register("zoo-stray", Zoo([kernel("exp", stray), kernel("multiply", after_stray)]))
    worker.main()

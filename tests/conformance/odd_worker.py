"""A worker of the suite with a backend that is wrong in the first process only, or that loses its device."""

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

    def lost(spec: Any, out: Any, x: Any) -> None:
        raise DeviceLostError("the card fell out", device="cpu:0")

    manager.register("zoo-flaky", Zoo([kernel("exp", flaky)]))
    manager.register("zoo-lost", Zoo([kernel("exp", lost), kernel("multiply", TWINS["multiply"])]))
    worker.main()

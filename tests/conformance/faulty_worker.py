"""A worker of the suite in which a backend with a fault is registered: for faults that take the process down."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from opmux.conformance.planted.twin.backend import Twin
from opmux.conformance.planted.twin.regions import Regions
from opmux.conformance.running import worker
from opmux.core.plugins import manager
from tests.conformance import fatal
from tests.conformance.zoo import Zoo, kernel


def down(call: Any) -> None:
    os._exit(3)


if __name__ == "__main__":
    manager.register("zoo-down-regions", Twin(regions=partial(Regions, down)).plugin())
    manager.register("zoo-down", Zoo([kernel("exp", getattr(fatal, os.environ["ZOO_FAULT"]))]))
    worker.main()

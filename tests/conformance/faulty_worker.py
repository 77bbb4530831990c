"""A worker of the suite in which a backend with a fault is registered: for faults that take the process down."""

from __future__ import annotations

import os

from opmux.conformance.running import worker
from opmux.core.plugins import manager
from tests.conformance import fatal
from tests.conformance.zoo import Zoo, kernel

if __name__ == "__main__":
    manager.register("zoo-down", Zoo([kernel("exp", getattr(fatal, os.environ["ZOO_FAULT"]))]))
    worker.main()

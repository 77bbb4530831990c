"""A worker of the suite in which a backend of the zoo is registered: for faults that take the process down."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from opmux.conformance.running import worker
from opmux.core.plugins import manager

sys.path.insert(0, str(Path(__file__).parent))

if __name__ == "__main__":
    import zoo

    manager.register("zoo-down", zoo.Zoo([zoo.kernel("exp", getattr(zoo, os.environ["ZOO_FAULT"]))]))
    worker.main()

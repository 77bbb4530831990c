"""A worker of the suite in which one planted fault is registered: for faults that take the process down."""

from __future__ import annotations

import sys

from ...core.plugins import manager
from ..running import worker
from .catalogue import find


def main() -> None:
    """Register the fault that the command line names, and serve."""
    fault = find(sys.argv[1])
    manager.register(fault.backend, fault.make().plugin())
    worker.main()


if __name__ == "__main__":
    main()

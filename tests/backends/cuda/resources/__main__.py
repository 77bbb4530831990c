"""Compare the table with what NVRTC makes now, or write it."""

import sys

from . import Table, families, kept, measured, worse, write


def main() -> int:
    now: Table = {}
    for family in families():
        now |= measured(family)
    if "--write" in sys.argv[1:]:
        write(now)
        return 0
    by, before = kept()
    faults = [*worse(before, now, by), *(f"{name} is in the table and nowhere else" for name in before.keys() - now)]
    print("\n".join(faults) or f"{len(now)} kernels need no more than before")
    return bool(faults)


if __name__ == "__main__":  # the processes that compile import this module too
    sys.exit(main())

"""Compare the table with what NVRTC makes now, or write it."""

import sys

from . import Table, families, kept, measured, worse, write

now: Table = {}
for family in families():
    now |= measured(family)
if "--write" in sys.argv[1:]:
    write(now)
else:
    by, before = kept()
    faults = [*worse(before, now, by), *(f"{name} is in the table and nowhere else" for name in before.keys() - now)]
    print("\n".join(faults) or f"{len(now)} kernels need no more than before")
    sys.exit(bool(faults))

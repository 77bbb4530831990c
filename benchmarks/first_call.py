"""A process that makes one first call: ``python -m benchmarks.first_call PEER``, the case as JSON on standard input.

It prints the seconds from operands in host memory to the result on the device, compilation included. The GPU was used
before, for another computation.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from time import perf_counter

from .case import Case
from .kinds import as_given, draw, make_case
from .measure import SEED
from .peers import load_peer


def main() -> None:
    """Print the seconds."""
    case = Case.from_data(json.load(sys.stdin))
    case = replace(case, attributes=tuple(a for a in case.attributes if a[0] != "first_call"))
    peer = load_peer(sys.argv[1])
    other = make_case("where", "float32", (8,), (8,), (8,))
    peer.prepare(other, draw(other, SEED), as_given).seconds(1)
    operands = draw(case, SEED)
    start = perf_counter()
    peer.prepare(case, operands, as_given).seconds(1)
    print(perf_counter() - start)


if __name__ == "__main__":
    main()

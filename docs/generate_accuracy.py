"""Measure every recipe's worst error and write the table into docs/numerics.md.

Run ``python docs/generate_accuracy.py``; it takes minutes and needs mpmath. With ``--measurements FILE`` it takes what
``python -m opmux.opset.recipes.accuracy --json FILE`` wrote instead of measuring.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from opmux.core.op import OPS
from opmux.opset import namespace  # noqa: F401 - every op has to be declared before its contract is looked up
from opmux.opset.accuracy import Ulp
from opmux.opset.declare import VERSION, declaration_of

PAGE = Path(__file__).resolve().parent / "numerics.md"
BEGIN, END = "<!-- accuracy:begin -->", "<!-- accuracy:end -->"
DTYPES = ("float64", "float32", "float16", "bfloat16")


def contract(op: str, dtype: str) -> float:
    """Return the bound that the opset sets, in ULP."""
    accuracy = declaration_of(OPS[op]).accuracy
    if not isinstance(accuracy, Ulp):
        raise TypeError(f"{op} is not bounded in ULP: {accuracy}")
    return accuracy.bound(dtype)


def table(measurements: list[dict[str, Any]], day: str) -> str:
    """Return the table as Markdown."""
    rows: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for m in measurements:
        rows[m["op"]][m["dtype"]] = m
    lines = [f"| op | {' | '.join(DTYPES)} |", f"|---|{'---:|' * len(DTYPES)}"]
    for op, found in sorted(rows.items()):
        cells = [f"{found[t]['worst_ulp']:.3f} ({contract(op, t):g})" if t in found else "" for t in DTYPES]
        lines.append(f"| `{op}` | {' | '.join(cells)} |")
    points = {t: max(m["points"] for m in measurements if m["dtype"] == t) for t in DTYPES}
    counts = ", ".join(f"{n:,} for {t}" for t, n in points.items())
    return "\n".join([f"Measured {day}, opset {VERSION}; points per op: up to {counts}.", "", *lines])


def main() -> None:
    """Write the table between the marks of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measurements", type=Path, metavar="FILE", help="do not measure; read this file")
    given: Path | None = parser.parse_args().measurements
    if given is None:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "accuracy.json"
            subprocess.run([sys.executable, "-m", "opmux.opset.recipes.accuracy", "--json", str(made)], check=True)
            measurements = json.loads(made.read_text())
    else:
        measurements = json.loads(given.read_text())
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    day = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(measurements, day)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()

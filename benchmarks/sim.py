"""Speed and accuracy of the simulator's timing model: beside SCALE-Sim on layers, beside TPU v1's published table."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from opmux.backends.sim.timing import tpu
from opmux.backends.sim.timing.convolution import Convolution
from opmux.backends.sim.timing.systolic import Array, Run, gemm

from . import machine, report
from .errors import BenchmarkError
from .sim_layers import Layer, jobs

NAME: Final = "sim"
SCHEMA: Final = 1
#: What SCALE-Sim counted once, for machines that lack it.
GOLDEN: Final = Path(__file__).resolve().parents[1] / "tests" / "backends" / "sim" / "scalesim.json"
#: The environment variable that names an interpreter with scalesim; NumPy 2.4 and later is too new for scalesim 3.0.
INTERPRETER: Final = "SCALESIM_PYTHON"
_RUNNER: Final = Path(__file__).with_name("scalesim_runner.py")
_FASTER: Final = 100.0
_MEAN_ERROR: Final = 0.10
_REPETITIONS: Final = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """One layer on one array: what both count, and how long that takes.

    Attributes:
        array: rows x columns and dataflow.
        layer: sizes of the product that it is, m x n x k.
        cycles: ours.
        scalesim: SCALE-Sim's.
        seconds: ours, the median of many.
        scalesim_seconds: SCALE-Sim's, once; None where it was not run.
    """

    array: str
    layer: str
    cycles: int
    scalesim: int
    seconds: float
    scalesim_seconds: float | None


def sizes_of(layer: Layer) -> tuple[int, int, int]:
    """Return (m, n, k) of a layer; of a convolution those that SCALE-Sim takes, whose results are rounded up."""
    if "m" in layer:
        return layer["m"], layer["n"], layer["k"]
    stride = layer["stride"]
    image, window = (layer["image"][0], layer["image"][1]), (layer["window"][0], layer["window"][1])
    made = Convolution(image, window, layer["channels"], layer["filters"], (stride, stride))
    return made.lowered(rounded_up=True)


def cycles_of(job: dict[str, Any], layer: Layer) -> Run:
    """Return our run of a layer."""
    return gemm(*sizes_of(layer), Array(job["rows"], job["columns"], job["dataflow"]))


def run_scalesim(interpreter: str, work: list[dict[str, Any]], timeout: float = 1800.0) -> dict[str, Any]:
    """Return what SCALE-Sim says of jobs, run by an interpreter that has it.

    Raises:
        BenchmarkError: with the end of what it said, where it fails.
    """
    command = [interpreter, "-W", "ignore", str(_RUNNER)]
    try:
        done = subprocess.run(
            command, input=json.dumps(work), capture_output=True, text=True, timeout=timeout, check=True
        )
    except subprocess.CalledProcessError as error:
        raise BenchmarkError(f"scalesim in {interpreter} failed: {error.stderr.strip()[-300:]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchmarkError(f"scalesim in {interpreter} cannot be run: {error}") from error
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def has_scalesim(interpreter: str) -> bool:
    """Return whether an interpreter finds the package."""
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('scalesim') is None)"
    try:
        return subprocess.run([interpreter, "-c", look], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _seconds(job: dict[str, Any], layer: Layer, repetitions: int) -> float:
    samples = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(repetitions):
            cycles_of(job, layer)
        samples.append((time.perf_counter() - started) / repetitions)
    return statistics.median(samples)


def compare(work: list[dict[str, Any]], answer: list[dict[str, Any]], repetitions: int) -> list[Row]:
    """Return both sides of every layer; *answer* has SCALE-Sim's in order."""
    theirs = iter(answer)
    rows = []
    for job in work:
        for layer in job["layers"]:
            other = next(theirs)
            name = f"{job['rows']}x{job['columns']} {job['dataflow']}"
            sizes = "x".join(map(str, sizes_of(layer)))
            ours = cycles_of(job, layer).cycles
            taken = _seconds(job, layer, repetitions)
            rows.append(Row(name, sizes, ours, other["cycles"], taken, other.get("seconds")))
    return rows


def _target(name: str, value: float | None, target: float, met: bool, note: str = "") -> dict[str, Any]:
    return {"name": name, "value": value, "target": target, "met": met, "note": note}


def measure(quick: bool, interpreter: str | None) -> dict[str, Any]:
    """Return the report as plain data; without an interpreter, against the golden counts and without their speed."""
    before = machine.describe()
    work = jobs(quick)
    if interpreter is not None:
        answer = run_scalesim(interpreter, work)
        version, layers = answer["version"], answer["layers"]
    else:
        golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
        version, layers = golden["version"], golden["layers"]
    rows = compare(work, layers, 20 if quick else _REPETITIONS)
    timed = [row for row in rows if row.scalesim_seconds is not None]
    ratios = sorted((row.scalesim_seconds or 0.0) / row.seconds for row in timed)
    different = sum(row.cycles != row.scalesim for row in rows)
    predictions = tuple(tpu.predict(application) for application in tpu.APPLICATIONS)
    error = tpu.mean_error(predictions)
    least = ratios[0] if ratios else None
    note = "" if ratios else f"scalesim was not run: name an interpreter that has it with --scalesim or {INTERPRETER}"
    return {
        "schema": SCHEMA,
        "benchmark": NAME,
        "date": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        "quotable": not quick,
        "machine": {**before, "load_after": machine.load_average()},
        "scalesim": version,
        "layers": [asdict(row) for row in rows],
        "speed": {"least": least, "median": statistics.median(ratios) if ratios else None},
        "tpu": [
            {
                "name": p.application.name,
                "operations": p.operations,
                "measured": p.application.measured,
                "error": p.error,
            }
            for p in predictions
        ],
        "targets": [
            _target("layers whose cycles differ from SCALE-Sim's", float(different), 0.0, different == 0),
            _target("times faster than SCALE-Sim, least of all layers", least, _FASTER, (least or 0) >= _FASTER, note),
            _target("mean error on TPU v1's table", error, _MEAN_ERROR, error <= _MEAN_ERROR),
        ],
    }


def _show(made: dict[str, Any]) -> None:
    print(f"{len(made['layers'])} layers beside scalesim {made['scalesim']}")
    for row in made["layers"]:
        mark = "" if row["cycles"] == row["scalesim"] else f"  SCALE-Sim: {row['scalesim']:,}"
        speed = f"{row['scalesim_seconds'] / row['seconds']:>12,.0f}x" if row["scalesim_seconds"] is not None else ""
        print(f"  {row['array']:<12} {row['layer']:<16} {row['cycles']:>9,} cycles{speed}{mark}")
    print("TPU v1, TOP/s")
    for row in made["tpu"]:
        ours, theirs = row["operations"] / 1e12, row["measured"] / 1e12
        print(f"  {row['name']:<6} {ours:6.2f}  measured {theirs:5.1f}  {row['error']:+.1%}")
    for target in made["targets"]:
        value = "not measured" if target["value"] is None else f"{target['value']:,.3g}"
        print(
            f"{target['name']}: {value} (target {target['target']:g}){' ' + target['note'] if target['note'] else ''}"
        )


def main(arguments: Sequence[str]) -> int:
    """Run it; return 0, 1 where a count differs, 2 for a mistake of the caller."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the report to FILE")
    parser.add_argument("--scalesim", metavar="PYTHON", help=f"an interpreter that has scalesim (or {INTERPRETER})")
    parser.add_argument(
        "--golden", metavar="FILE", type=Path, help="write what SCALE-Sim counts to FILE, and nothing else"
    )
    parser.add_argument("--quick", action="store_true", help="one small array, for tests; not quotable")
    options = parser.parse_args(arguments)
    interpreter = options.scalesim or os.environ.get(INTERPRETER) or sys.executable
    try:
        if options.json is not None:
            report.check_target_file(options.json)
        if not has_scalesim(interpreter):
            if options.scalesim is not None or options.golden is not None:
                raise BenchmarkError(f"{interpreter} has no scalesim; pip install scalesim there, with numpy below 2.4")
            interpreter = None
        if options.golden is not None:
            _write_golden(options.golden, run_scalesim(interpreter, jobs(quick=False)))
            return 0
        made = measure(options.quick, interpreter)
    except BenchmarkError as error:
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    _show(made)
    if options.json is not None:
        options.json.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return 0 if made["targets"][0]["met"] else 1


def _write_golden(path: Path, answer: dict[str, Any]) -> None:
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in answer["layers"]]
    text = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    path.write_text(f'{{\n "version": "{answer["version"]}",\n "layers": [\n{text}\n ]\n}}\n', encoding="utf-8")

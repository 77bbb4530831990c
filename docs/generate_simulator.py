"""Write the tables of docs/simulator.md: keys of a description, cycles beside SCALE-Sim, TPU v1's applications, speed.

Run ``python docs/generate_simulator.py`` from the checkout. With ``--speed FILE`` it takes the speed from what
``python -m benchmarks sim --json FILE`` wrote; without, it leaves that table as it is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from opmux.backends.sim.description import keys, preset
from opmux.backends.sim.timing import tpu
from opmux.backends.sim.timing.memory import off_chip_bandwidth
from opmux.benchmarks.sim import GOLDEN, cycles_of, sizes_of
from opmux.benchmarks.sim_layers import jobs

#: TPU v1's weight bandwidth in table 2 of Jouppi et al.; its figure 1 has less.
_TABLE_2: Final = 34e9
PAGE: Final = Path(__file__).resolve().parent / "simulator.md"

#: Unit and meaning of every key.
MEANINGS: Final[dict[str, tuple[str, str]]] = {
    "name": ("", "for people"),
    "clock_hz": ("Hz", "of every unit"),
    "launch_seconds": ("s", "from the submission of an op to its start"),
    "matrix": ("", "systolic arrays of multiply-accumulate cells"),
    "matrix.rows": ("cells", "of one array"),
    "matrix.columns": ("cells", "of one array"),
    "matrix.dataflow": ("", "what stays in the cells: outputs, weights, inputs"),
    "matrix.precisions": ("", "by operand dtype"),
    "matrix.precisions.int8": ("", ""),
    "matrix.precisions.int8.accumulate": ("", "dtype of the accumulators"),
    "matrix.precisions.int8.rate": ("per cell and cycle", "multiply-accumulates"),
    "matrix.count": ("arrays", "that work side by side"),
    "matrix.double_buffered": ("", "whether stationary values move while another fold computes"),
    "matrix.whole_tiles": ("", "whether weights lie in memory padded to whole tiles"),
    "vector": ("", "lanes for elementwise work and reductions"),
    "vector.lanes": ("elements", "worked on side by side"),
    "vector.precisions": ("", "by dtype"),
    "vector.precisions.int8": ("per lane and cycle", "elements of an operation of cost 1"),
    "vector.costs": ("", "by class of operation"),
    "vector.costs.simple": ("cycles", "sums, products, bits, rounding, casts"),
    "vector.costs.multiply_add": ("cycles", "a product and a sum"),
    "vector.costs.divide": ("cycles", "quotients and remainders"),
    "vector.costs.square_root": ("cycles", "square roots"),
    "vector.costs.transcendental": ("cycles", "exponentials, logarithms, trigonometry, random words"),
    "vector.costs.compare": ("cycles", "comparisons, maxima, each step of a sort"),
    "on_chip": ("", "the memory beside the units"),
    "on_chip.bytes": ("B", "capacity"),
    "on_chip.bandwidth": ("B/s", ""),
    "off_chip": ("", "the main memory, where arrays lie"),
    "off_chip.bytes": ("B", "capacity"),
    "off_chip.bandwidth": ("B/s", ""),
    "off_chip.latency_seconds": ("s", "until the first byte"),
    "dma": ("", "what moves data"),
    "dma.engines": ("engines", "that work side by side"),
    "dma.bandwidth": ("B/s", "of one engine, between the device's memories"),
    "dma.latency_seconds": ("s", "until a transfer starts"),
    "dma.host_bandwidth": ("B/s", "to and from the host, all engines together"),
    "links": ("", "to other devices of the kind"),
    "links.topology": ("", "torus and mesh are two-dimensional"),
    "links.count": ("links", "of one device"),
    "links.bandwidth": ("B/s", "of one link, one way"),
    "links.latency_seconds": ("s", "per hop"),
    "power": ("", "without it, no energy is predicted"),
    "power.idle_watts": ("W", "drawn whether or not it works"),
    "power.mac_joules": ("", "by operand dtype, all those of the matrix unit"),
    "power.mac_joules.int8": ("J", "per multiply-accumulate"),
    "power.vector_joules": ("J", "per element and cycle of cost on the lanes"),
    "power.on_chip_joules_per_byte": ("J/B", "moved to or from it"),
    "power.off_chip_joules_per_byte": ("J/B", "moved to or from it"),
    "power.link_joules_per_byte": ("J/B", "sent"),
    "price": ("", "one of `per_hour` and `purchase` at least"),
    "price.per_hour": ("currency/h", "to rent"),
    "price.purchase": ("currency", "to buy"),
    "price.currency": ("", "three letters"),
    "supports": ("", "what programs may ask for"),
    "supports.dtypes": ("", "what its memory may hold"),
    "supports.profiles": ("", "what it claims to pass"),
    "supports.flushes_subnormals": ("", "whether results below the smallest normal number become zero"),
}


def _rows(heads: Sequence[str], right: str, rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; *right* has an ``r`` for each column that is aligned to the right."""
    marks = "".join("---:|" if side == "r" else "---|" for side in right)
    lines = [f"| {' | '.join(map(str, row))} |" for row in (heads, *rows)]
    return "\n".join([lines[0], f"|{marks}", *lines[1:]])


def key_table() -> str:
    """Return every key with its unit, what is allowed, its default and its meaning."""
    wanted = keys()
    if wanted.keys() != MEANINGS.keys():
        raise SystemExit(f"MEANINGS and the keys of a description differ: {sorted(wanted.keys() ^ MEANINGS.keys())}")
    rows = []
    for key, (unit, meaning) in MEANINGS.items():
        given = wanted[key]
        default = "required" if given.required else "absent" if given.default is None else _default(given.default)
        rows.append((f"`{key.replace('.int8', '.DTYPE')}`", unit, given.allowed, default, meaning))
    return _rows(("key", "unit", "allowed", "default", "meaning"), "lllll", rows)


def _default(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def scalesim_table() -> str:
    """Return our cycles and SCALE-Sim's on every layer, one row per array and layer."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    theirs = iter(golden["layers"])
    found: dict[tuple[str, str, str], dict[str, tuple[int, int]]] = {}
    for job in jobs(quick=False):
        for layer in job["layers"]:
            kind = "product" if "m" in layer else "convolution"
            key = f"{job['rows']}x{job['columns']}", kind, "x".join(map(str, sizes_of(layer)))
            found.setdefault(key, {})[job["dataflow"]] = cycles_of(job, layer).cycles, next(theirs)["cycles"]
    rows = [
        (*key, *(_both(*cells[dataflow]) if dataflow in cells else "" for dataflow in ("os", "ws", "is")))
        for key, cells in found.items()
    ]
    pairs = [pair for cells in found.values() for pair in cells.values()]
    equal = sum(ours == other for ours, other in pairs)
    heads = ("array", "layer", "m x n x k", "output stationary", "weight stationary", "input stationary")
    said = f"Equal on {equal} of {len(pairs)} runs of scalesim {golden['version']}; cycles of both where they differ."
    return f"{said}\n\n{_rows(heads, 'lllrrr', rows)}"


def _both(ours: int, other: int) -> str:
    return f"{ours:,}" if ours == other else f"{ours:,} / {other:,}"


def tpu_table() -> str:
    """Return every application: inputs, prediction, measurement, errors; then other readings of CNN1."""
    made = tuple(tpu.predict(application) for application in tpu.APPLICATIONS)
    other = tuple(tpu.predict(application) for application in tpu.OTHER_READINGS)
    heads = ("application", "measured", "model", "error", "roofline alone", "error")
    rows = [_tpu_row(p) for p in made]
    roofline = sum(abs(p.roofline_error) for p in made) / len(made)
    rows.append(("mean of magnitudes", "", "", f"{tpu.mean_error(made):.1%}", "", f"{roofline:.1%}"))
    rows.append(("mean without CNN1", "", "", f"{tpu.mean_error(made[:-1]):.1%}", "", ""))
    replaced = tpu.mean_error((*made[:-1], other[0]))
    literal = tpu.mean_error((*made[:-1], other[1]))
    faster = tpu.scaled(bandwidth=_TABLE_2 / off_chip_bandwidth(preset("tpu-v1")))
    wide = tpu.mean_error(tuple(tpu.predict(application, faster) for application in tpu.APPLICATIONS))
    inputs = "\n".join(f"- {p.application.name}: {_inputs(p.application)}" for p in made)
    readings = _rows(
        (*heads[:4], "mean of all six then"),
        "lrrrr",
        [(*_tpu_row(p)[:4], f"{mean:.1%}") for p, mean in zip(other, (replaced, literal), strict=True)],
    )
    return (
        f"In 10^12 operations per second:\n\n{_rows(heads, 'lrrrrr', rows)}\n\nTaken as input:\n\n{inputs}\n\n"
        f"CNN1 under other readings:\n\n{readings}\n\n"
        f"With weights at {_TABLE_2 / 1e9:g} GB/s the mean of all six is {wide:.1%}."
    )


def _tpu_row(p: tpu.Prediction) -> tuple[str, ...]:
    measured, model, roofline = (f"{x / 1e12:.1f}" for x in (p.application.measured, p.operations, p.roofline))
    return p.application.name, measured, model, f"{p.error:+.1%}", roofline, f"{p.roofline_error:+.1%}"


def _inputs(application: tpu.Application) -> str:
    parts = "; then ".join(
        f"{part.weights / 1e6:g} million weights used {part.uses:,.0f} times, {part.useful:.1%} of a tile useful"
        for part in application.parts
    )
    sources = application.inputs.replace("[J]", "the paper")
    return f"{parts}; waiting {application.waiting:.1%} of the time. From {sources}."


def sensitivity_table() -> str:
    """Return what changes of TPU v1 do, beside what is published."""
    narrow, wide = (tpu.matrix_seconds(600, 600, tpu.scaled(array=n)) * 1e6 for n in (256, 512))
    memory, clock = (
        {a.name: tpu.speedup(a, d) for a in tpu.APPLICATIONS} for d in (_faster("bandwidth"), _faster("clock"))
    )
    bound, convolutions = ("MLP0", "MLP1", "LSTM0", "LSTM1"), ("CNN0", "CNN1")
    rows = [
        ("LSTM1's 600 x 600 matrix on 256 x 256 cells", "18 us", f"{narrow:.1f} us"),
        ("the same on 512 x 512 cells", "32 us", f"{wide:.1f} us"),
        ("MLPs and LSTMs with 4 times the bandwidth", "about 3x", _mean(memory, bound)),
        ("CNNs with 4 times the bandwidth", "little", _mean(memory, convolutions)),
        ("MLPs and LSTMs with 4 times the clock", "almost nothing", _mean(clock, bound)),
        ("CNNs with 4 times the clock", "about 2x", _mean(clock, convolutions)),
    ]
    return _rows(("change", "published", "model"), "lrr", rows)


def _faster(what: str) -> Any:
    return tpu.scaled(**{what: 4.0})


def _mean(found: dict[str, float], names: Sequence[str]) -> str:
    each = ", ".join(f"{found[name]:.2f}" for name in names)
    return f"{sum(found[name] for name in names) / len(names):.2f}x ({each})"


def speed_table(report: dict[str, Any]) -> str:
    """Return how much faster than SCALE-Sim the model was, from a report of the benchmark."""
    ours, theirs = (sum(row[key] for row in report["layers"]) for key in ("seconds", "scalesim_seconds"))
    machine, load = report["machine"], report["machine"]["load_before"]
    rows = [
        ("least of all layers", f"{report['speed']['least']:,.0f}x"),
        ("median", f"{report['speed']['median']:,.0f}x"),
        ("all layers together", f"{theirs:,.0f} s against {ours * 1e3:.1f} ms"),
    ]
    said = f"Measured {report['date'][:10]} on {machine['cpu']}, {machine['cores']} cores, load average {load[0]:g}."
    return f"{said}\n\n{_rows(('', 'faster than scalesim ' + report['scalesim']), 'lr', rows)}"


#: What is written between the marks of each name; the speed is measured, the others are computed.
TABLES: Final = {"keys": key_table, "scalesim": scalesim_table, "tpu": tpu_table, "sensitivity": sensitivity_table}


def written(page: str, name: str, table: str) -> str:
    """Return a page with a table between its marks."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{PAGE} has no marks {begin} and {end}")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speed", type=Path, metavar="FILE", help="a report of `python -m benchmarks sim`")
    speed: Path | None = parser.parse_args().speed
    page = PAGE.read_text(encoding="utf-8")
    for name, table in TABLES.items():
        page = written(page, name, table())
    if speed is not None:
        page = written(page, "speed", speed_table(json.loads(speed.read_text(encoding="utf-8"))))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

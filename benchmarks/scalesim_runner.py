"""Runs SCALE-Sim on layers, in whichever interpreter has it: a script of its own that imports nothing of opmux.

Standard input: a JSON list of jobs ``{"rows", "columns", "dataflow", "layers"}``; a layer is ``{"m", "n", "k"}`` or
``{"image", "window", "channels", "filters", "stride"}``. Standard output: ``{"version", "layers"}`` with a row per
layer in order: cycles, stalls, reads and writes of its own buffers, and the seconds that simulating it took, without
imports and without writing reports.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

#: Buffers in KiB so large that nothing stalls: the cycles are the array's own.
_CONFIG = """
[general]
run_name = run
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = 16384
FilterSramSzkB = 16384
OfmapSramSzkB = 16384
IfmapOffset = 0
FilterOffset = 100000000
OfmapOffset = 200000000
Dataflow = {dataflow}
Bandwidth = 10
ReadRequestBuffer = 32
WriteRequestBuffer = 32
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
SparseRep = ellpack_block
OptimizedMapping = false
BlockSize = 8
RandomNumberGeneratorSeed = 40
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""


def _line(index: int, layer: dict[str, Any]) -> str:
    name = f"layer{index}"
    if "m" in layer:
        sizes = [layer["m"], layer["k"], 1, layer["k"], 1, layer["n"], 1]
    else:
        sizes = [*layer["image"], *layer["window"], layer["channels"], layer["filters"], layer["stride"]]
    return ", ".join(map(str, [name, *sizes])) + ",\n"


def _layout(index: int) -> str:
    return ", ".join([f"layer{index}", *["1"] * 16]) + ",\n"


def _run(job: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    from scalesim.scale_sim import scalesim

    config, topology, layout = folder / "config.cfg", folder / "topology.csv", folder / "layout.csv"
    config.write_text(_CONFIG.format(**{key: job[key] for key in ("rows", "columns", "dataflow")}))
    topology.write_text("header,\n" + "".join(_line(i, layer) for i, layer in enumerate(job["layers"])))
    layout.write_text("header,\n" + "".join(_layout(i) for i in range(len(job["layers"]))))
    simulator = scalesim(
        save_disk_space=True, verbose=False, config=str(config), topology=str(topology), layout=str(layout)
    )
    simulator.runner.set_params(
        config_obj=simulator.config,
        topo_obj=simulator.topo,
        layout_obj=simulator.layout,
        top_path=str(folder / "out"),
        verbosity=False,
        save_trace=False,
    )
    from scalesim.single_layer_sim import single_layer_sim

    rows = []
    for index in range(len(job["layers"])):
        started = time.perf_counter()
        layer = single_layer_sim()
        layer.set_params(
            layer_id=index,
            config_obj=simulator.config,
            topology_obj=simulator.topo,
            layout_obj=simulator.layout,
            verbose=False,
        )
        layer.run()
        compute, detail = layer.get_compute_report_items(), layer.get_detail_report_items()
        rows.append(
            {
                "cycles": int(compute[1]),
                "stalls": int(compute[2]),
                "utilisation": float(compute[3]),
                "mapping": float(compute[4]),
                "input_reads": int(detail[2]),
                "weight_reads": int(detail[5]),
                "output_writes": int(detail[8]),
                "seconds": time.perf_counter() - started,
            }
        )
    return rows


def main() -> None:
    """Answer the jobs on standard input."""
    jobs = json.load(sys.stdin)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as silent:
        for number, job in enumerate(jobs):
            inner = Path(folder) / str(number)
            inner.mkdir()
            with contextlib.redirect_stdout(silent):
                rows += _run(job, inner)
    json.dump({"version": importlib.metadata.version("scalesim"), "layers": rows}, sys.stdout)


if __name__ == "__main__":
    main()

"""``opmux record`` and ``opmux plan``: what they write, and their exit status."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from opmux.cli.plan_words import limits
from tests.backends.sim.trace_format import complete

from .conftest import Command

PROGRAM = """
import sys
import opmux as ox
x = ox.ones((8, 8))
y = ox.softmax(x @ x, axis=1)
sys.exit(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
"""
MINE = """
name = "mine"
clock_hz = 1e9
vector = { lanes = 4, precisions = { float32 = 1, int32 = 1 } }
on_chip = { bytes = 65536, bandwidth = 1e12 }
off_chip = { bytes = 1e6, bandwidth = 1e9 }
dma = { engines = 1, bandwidth = 1e9, host_bandwidth = 1e9 }
supports = { dtypes = ["float32", "int32"] }
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log, written once by the command itself."""
    from opmux.cli.main import main

    folder = tmp_path_factory.mktemp("recorded")
    (folder / "program.py").write_text(PROGRAM)
    with pytest.raises(SystemExit) as end:
        main(["record", "-o", str(folder / "calls.jsonl"), "--", sys.executable, str(folder / "program.py")])
    assert end.value.code in (0, None)
    return folder / "calls.jsonl"


@pytest.fixture
def log(recorded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(recorded, tmp_path))


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.toml").write_text(MINE)
    return str(tmp_path / "mine.toml")


def test_record_passes_the_arguments_and_the_exit_status_on(opmux: Command, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    log = tmp_path / "calls.jsonl"
    status, out, err = opmux("record", "-o", str(log), "--", sys.executable, str(tmp_path / "program.py"), "7")
    assert (status, out) == (7, "")
    assert "recorded 3 calls in" in err
    assert [json.loads(line)["op"] for line in log.read_text().splitlines()[1:] if '"call"' in line] == [
        "full", "matmul", "softmax",
    ]  # fmt: skip


def test_options_without_the_dashes_are_the_programs_too(opmux: Command, tmp_path: Path) -> None:
    program = "import sys; sys.exit(sys.argv[1:] != ['--json', '--help'])"
    status, _, _ = opmux("record", "-o", str(tmp_path / "log"), sys.executable, "-c", program, "--json", "--help")
    assert status == 0


def test_who_ends_the_command_ends_the_program(tmp_path: Path) -> None:
    program = "import opmux as ox, time; ox.exp(ox.asarray(1.0)); print('here', flush=True); time.sleep(60)"
    main = "from opmux.cli.main import main; main()"
    command = [sys.executable, "-c", main, "record", "-o", str(tmp_path / "log"), "--", sys.executable, "-c"]
    with subprocess.Popen([*command, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "here\n"
        running.terminate()
        _, err = running.communicate(timeout=60)
    assert running.returncode == 128 + signal.SIGTERM
    assert "recorded 1 calls" in err


def test_a_program_that_calls_nothing_says_so(opmux: Command, tmp_path: Path) -> None:
    status, _, err = opmux("record", "-o", str(tmp_path / "log"), "--", sys.executable, "-c", "raise SystemExit(3)")
    assert status == 3
    assert "no opmux calls" in err
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_a_signal_ends(opmux: Command, tmp_path: Path) -> None:
    program = "import os, opmux as ox; ox.exp(ox.asarray(1.0)); os.kill(os.getpid(), 9)"
    status, _, err = opmux("record", "-o", str(tmp_path / "log"), "--", sys.executable, "-c", program)
    assert status == 128 + 9
    assert "recorded 1 calls" in err
    assert "did not come to its end" in err


def test_logs_of_further_processes_are_named(opmux: Command, tmp_path: Path) -> None:
    child = "import opmux as ox; ox.exp(ox.asarray(1.0))"
    program = f"import subprocess, sys\n{child}\nsubprocess.run([sys.executable, '-c', {child!r}])"
    _, _, err = opmux("record", "-o", str(tmp_path / "log"), "--", sys.executable, "-c", program)
    assert len(re.findall(r"recorded 1 calls in \S+/log(\.\d+)?$", err, re.MULTILINE)) == 2


def test_record_overwrites_a_log_and_nothing_else(opmux: Command, log: Path, tmp_path: Path) -> None:
    status, _, err = opmux("record", "-o", str(log), "--", sys.executable, "-c", "import opmux")
    assert (status, log.exists()) == (0, False)
    (tmp_path / "precious.py").write_text("print(1)")
    status, _, err = opmux("record", "-o", str(tmp_path / "precious.py"), "--", sys.executable, "-c", "")
    assert status == 2
    assert "is no call log" in err
    assert (tmp_path / "precious.py").read_text() == "print(1)"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("--", "no-such-program"), "no program 'no-such-program'"), (("-o", "absent/log", "--", "true"), "no folder")],
)
def test_what_cannot_be_recorded(opmux: Command, arguments: tuple[str, ...], said: str) -> None:
    status, _, err = opmux("record", *arguments)
    assert status == 2
    assert said in err


def test_a_plan_in_words(opmux: Command, log: Path, mine: str) -> None:
    status, out, _ = opmux("plan", str(log), "--device", mine)
    assert status == 0
    assert "program.py: 3 calls on mine" in out
    assert re.search(r"^  on the host +0 of 3 calls$", out, re.MULTILINE)
    assert re.search(r"^  energy +unknown: the description has no \[power\]$", out, re.MULTILINE)
    assert re.search(r"^exp +vector +1 .* softmax$", out, re.MULTILINE)
    assert re.search(r"^  limited by +memory \d+%, ", out, re.MULTILINE)
    assert "Without a kernel for" in out


def test_what_limits_a_plan_is_the_share_of_each_bound(as_json: Callable[..., Any], log: Path, mine: str) -> None:
    (plan,) = as_json("plan", str(log), "--device", mine)["plans"]
    bounds = [row["bound"] or row["engine"] for row in plan["ops"]]
    rows = [SimpleNamespace(bound=b, engine="vector", share=s) for b, s in (("memory", 0.4), ("compute", 0.35))]
    rows += [
        SimpleNamespace(bound="", engine="host", share=0.2),
        SimpleNamespace(bound="memory", engine="dma", share=0.05),
    ]
    assert set(bounds) >= {"memory", "host link"}
    assert limits(cast(Any, SimpleNamespace(ops=rows))) == [
        ("memory", pytest.approx(0.45)),
        ("compute", 0.35),
        ("host", 0.2),
    ]


def test_the_roofline_has_the_lanes_below_the_matrix_unit(opmux: Command, log: Path, tmp_path: Path) -> None:
    unit = 'matrix = { rows = 8, columns = 8, dataflow = "ws", precisions.float32 = { accumulate = "float32" } }'
    (tmp_path / "both.toml").write_text(MINE.replace("vector =", f"{unit}\nvector ="))
    page = tmp_path / "plan.html"
    opmux("plan", str(log), "--device", str(tmp_path / "both.toml"), "--no-absences", "--html", str(page))
    # 64 cells, and 4 lanes, each a multiply and an add per nanosecond.
    assert re.findall(r">(float32[^<>]* TFLOP/s)<", page.read_text()) == [
        "float32 0.128 TFLOP/s", "float32 on the lanes 0.008 TFLOP/s",
    ]  # fmt: skip


@pytest.mark.parametrize("option", ["--html", "--trace"])
def test_a_folder_is_no_place_for_a_result(option: str, opmux: Command, log: Path, mine: str, tmp_path: Path) -> None:
    for folder in (str(tmp_path), "/"):
        status, _, err = opmux("plan", str(log), "--device", mine, "--no-absences", option, folder)
        assert status == 2
        assert "it is a folder" in " ".join(re.sub("[│╭╰─╮╯]", " ", err).split())


def test_a_plan_as_json(as_json: Callable[..., Any], log: Path, mine: str) -> None:
    made = as_json("plan", str(log), "--device", mine)
    assert made["log"]["program"] == ["program.py"]
    (plan,) = made["plans"]
    assert (plan["device"], plan["calls"], plan["fallbacks"]) == ("mine", 3, 0)
    by_op = {row["op"]: row for row in plan["ops"]}
    # 64 x 8 multiply-adds on 4 lanes take 128 cycles; 512 bytes in and 256 out take longer, at 1 GB/s.
    assert by_op["matmul"]["seconds"] == pytest.approx(((512 + 128 + 256) / 2 + 768 / 2) * 1e-9)
    assert {row["op"] for row in plan["absences"]} == {"full", "matmul", "max", "subtract", "exp", "sum", "divide"}
    assert plan["seconds"] > sum(row["seconds"] for row in plan["ops"] if row["engine"] == "vector")


def test_several_devices_stand_side_by_side(opmux: Command, log: Path, mine: str) -> None:
    status, out, _ = opmux("plan", str(log), "--device", mine, "--device", "h100", "--device", "tpu-v1")
    assert status == 0
    rows = [line for line in out.splitlines() if line.startswith(("mine", "H100", "TPU"))]
    assert [re.search(r"(\d of 3)", row).group(1) for row in rows] == ["0 of 3", "0 of 3", "3 of 3"]  # type: ignore[union-attr]


def test_the_page_and_the_trace(opmux: Command, log: Path, mine: str, tmp_path: Path) -> None:
    page, trace = tmp_path / "plan.html", tmp_path / "trace.json"
    status, _, _ = opmux(
        "plan", str(log), "--device", mine, "--device", "h100-sxm", "--html", str(page), "--trace", str(trace)
    )
    assert status == 0
    text = page.read_text()
    assert text.count('<svg class="chart"') == 2
    assert "http" not in text.replace("http-equiv", "")
    assert "<h2>mine" in text
    written = json.loads(trace.read_text())
    assert complete(written)
    names = {e["args"]["name"] for e in written["traceEvents"] if e["name"] == "process_name"}
    assert names == {"mine", "H100 SXM-like GPU"}


def test_names_in_a_page_are_text(opmux: Command, log: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.toml").write_text(MINE.replace('"mine"', '"<script>alert(1)</script>"'))
    opmux("plan", str(log), "--device", str(tmp_path / "odd.toml"), "--html", str(tmp_path / "page.html"))
    text = (tmp_path / "page.html").read_text()
    assert "&lt;script&gt;alert" in text
    assert "<script>alert" not in text


def test_an_unfinished_log_is_planned_and_said(opmux: Command, log: Path, mine: str) -> None:
    log.write_text("".join(line for line in log.read_text().splitlines(keepends=True) if '"end"' not in line))
    status, out, err = opmux("plan", str(log), "--device", mine)
    assert status == 0
    assert "3 calls" in out
    assert "did not come to its end" in err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-40], "is cut off"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), "schema version 2"),
        (lambda text: text.replace('"softmax"', '"softermax"'), "no op 'softermax'"),
        (lambda text: "", "is empty"),
        (lambda text: "not a log\n", "line 1"),
    ],
)
def test_bad_logs(opmux: Command, log: Path, mine: str, change: Callable[[str], str], said: str) -> None:
    log.write_text(change(log.read_text()))
    status, out, err = opmux("plan", str(log), "--device", mine)
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_bad_devices(opmux: Command, log: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(MINE.replace("lanes = 4", "lanes = -4"))
    for device, said in (("nothing", "edge-npu, h100-sxm"), (str(tmp_path / "bad.toml"), "vector.lanes is -4"),
                         ("absent.toml", "cannot be read")):  # fmt: skip
        status, _, err = opmux("plan", str(log), "--device", device)
        assert status == 2
        assert said in err
    assert opmux("plan", str(log))[0] == 2
    assert opmux("plan", str(tmp_path / "absent"), "--device", "h100")[0] == 2

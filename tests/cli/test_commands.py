"""Commands: their tables, their JSON, their help."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import opmux as ox
from opmux.core.devices.device import DEVICES
from opmux.core.op import all_ops

from .conftest import Command

COMMANDS = ("devices", "backends", "doctor", "ops", "explain", "conformance", "demo")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_starts_with_the_command(command: str, opmux: Command) -> None:
    status, out, _ = opmux(command, "--help")
    assert status == 0
    assert f"opmux {command}" in out.partition("Example:")[2]


def test_help_lists_every_command(opmux: Command) -> None:
    _, out, _ = opmux("--help")
    assert all(f" {command} " in out for command in COMMANDS)


def test_version(opmux: Command) -> None:
    assert opmux("--version")[:2] == (0, "opmux 0.1.0\n")


@pytest.mark.parametrize("arguments", [("devices",), ("backends",), ("doctor",), ("ops",), ("ops", "exp")])
def test_off_a_terminal_there_is_no_colour_and_no_trailing_space(arguments: tuple[str, ...], opmux: Command) -> None:
    status, out, err = opmux(*arguments)
    assert status == 0
    assert "\x1b" not in out + err
    assert all(line == line.rstrip() for line in out.splitlines())


def test_devices(as_json: Callable[..., Any]) -> None:
    (host,) = (d for d in as_json("devices") if d["device"] == "cpu:0")
    assert host["owner"] == "opmux"
    assert host["memory"] > 0
    assert {"llvm", "numpy"} <= set(host["backends"])


def test_backends(as_json: Callable[..., Any]) -> None:
    found = {b["name"]: b for b in as_json("backends")}
    assert found["numpy"]["state"] == "ready"
    assert found["numpy"]["kernels"] > 0


def test_doctor_says_what_a_report_needs(as_json: Callable[..., Any]) -> None:
    report = as_json("doctor")
    assert report["healthy"] is True
    assert report["surroundings"]["opmux"] == f"0.1.0, opset {ox.OPSET_VERSION}"


def test_doctor_tells_of_a_name_that_disables_nothing(
    opmux: Command, as_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPMUX_DISABLE", "nonsense,")
    status, out, _ = opmux("doctor")
    assert status == 0  # a machine without that backend is as wanted
    assert "OPMUX_DISABLE names 'nonsense', which no installed distribution provides" in out
    assert len(as_json("doctor")["notes"]) == 1


def test_doctor_tells_once_what_would_give_devices_more_kernels(
    as_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> list[str]:
        raise RuntimeError("no answer")

    (cpu,) = (d for d in DEVICES if d.is_host)
    for lacks, notes in (
        (lambda: ["FASTLIB is not found: pip install fastlib"] * 2, ["cpu: FASTLIB is not found: pip install fastlib"]),
        (fails, ["cpu:0: its driver failed to say what is missing: RuntimeError('no answer')"]),
    ):
        monkeypatch.setattr(cpu, "info", replace(cpu.info, lacks=lacks))
        report = as_json("doctor")
        assert report["notes"] == notes
        assert report["healthy"] is True


def test_doctor_reports_and_then_says_which_limit_of_memory_is_none(
    opmux: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPMUX_CPU_MEMORY", "abc")
    status, out, err = opmux("doctor")
    assert status == 2
    assert "backends are ready" in out
    assert "OPMUX_CPU_MEMORY='abc' is not a number of bytes" in err


def test_ops_lists_every_op(as_json: Callable[..., Any], opmux: Command) -> None:
    assert {row["name"] for row in as_json("ops")} == {op.name for op in all_ops()}
    _, out, _ = opmux("ops")
    assert "x limited to [min, max]" in out  # brackets are text, not markup


def test_one_op_shows_its_whole_declaration(as_json: Callable[..., Any], opmux: Command) -> None:
    detail = as_json("ops", "exp")
    assert detail["accuracy"]["bounds"]["float32"] == 3
    assert "exp(-inf) -> +0" in detail["specials"]
    assert {k["backend"] for k in detail["kernels"]} >= {"numpy", "llvm"}
    _, out, _ = opmux("ops", "exp")
    assert all(special in out for special in detail["specials"])


def test_every_op_can_be_shown(as_json: Callable[..., Any]) -> None:
    shown = [as_json("ops", name) for name in ("matmul", "conv", "full", "complex", "scatter")]
    assert all(detail["signature"] and detail["meaning"] and detail["doc"] for detail in shown)


def test_json_goes_to_a_file(tmp_path: Path, opmux: Command) -> None:
    target = tmp_path / "devices.json"
    status, out, err = opmux("devices", "--json", str(target))
    assert (status, out) == (0, "")
    assert "wrote" in err
    assert json.loads(target.read_text())[0]["device"] == "cpu:0"
    assert list(tmp_path.iterdir()) == [target]

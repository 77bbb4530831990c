"""A user's mistake ends in one message on standard error and exit status 2, never in a stack trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from opmux.cli import output
from opmux.cli.output import with_optional_values

from .conftest import Command


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("frobnicate",), "frobnicate"),
        (("ops", "mtmul"), "did you mean matmul"),
        (("explain", "mtmul", "f32[8]"), "did you mean matmul"),
        (("explain", "add", "f32[8", "1"), "'f32[8'"),
        (("explain", "add", "f32[8]", "f32[9]"), "ShapeError"),
        (("explain", "add", "f32[8]"), "was called as add(Array)"),
        (("explain", "add", "f32[8]", "i32[8]"), "DTypeError"),
        (("explain", "sum", "f32[8]", "-s", "axis=3"), "AxisError"),
        (("explain", "sum", "f32[8]", "-s", "axes=0"), "axes"),
        (("explain", "add", "f32[8]", "1", "--device", "tpu"), "no device 'tpu'"),
        (("demo", "--backend", "acme"), "no backend acme"),
        (("devices", "--frobnicate"), "--frobnicate"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], word: str, opmux: Command, tmp_path: Path) -> None:
    if arguments[0] == "demo":
        arguments = (*arguments, "--output", str(tmp_path))
    status, out, err = opmux(*arguments)
    assert status == 2
    assert out == ""
    assert word in err
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [("devices", "--json"), ("ops", "exp", "--json"), ("demo", "--output")])
def test_a_place_that_cannot_be_written(arguments: tuple[str, ...], opmux: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, out, err = opmux(*arguments, str(tmp_path / "file" / "x.json"))
    assert (status, out) == (2, "")
    assert "cannot write" in err


def test_an_interrupt_is_no_stack_trace(opmux: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("opmux.cli.inspection.manager.load_all", interrupted)
    status, _, err = opmux("doctor")
    assert status == 130
    assert "Traceback" not in err


def test_nothing_after_two_dashes_is_an_option() -> None:
    assert with_optional_values(["explain", "--", "--json"]) == ["explain", "--", "--json"]


def test_messages_go_to_standard_error() -> None:
    assert output.messages.stderr

"""The command line in process: what it prints and its exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from opmux.cli.main import main

#: Arguments to exit status, standard output and standard error.
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def opmux(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            main(list(arguments))
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 0
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def as_json(opmux: Command) -> Callable[..., Any]:
    def run(*arguments: str) -> Any:
        status, out, err = opmux(*arguments, "--json")
        assert status == 0, err
        return json.loads(out)

    return run

"""The tables of docs/simulator.md are what its script writes, and its example is a description."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from opmux.backends.sim.description import loads, presets

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "simulator.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_simulator", DOCS / "generate_simulator.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize("name", ["keys", "scalesim", "tpu", "sensitivity"])
def test_a_table_is_that_of_the_code(script: ModuleType, name: str) -> None:
    expected = script.written(PAGE, name, script.TABLES[name]())
    assert expected == PAGE, f"the table {name!r} is out of date: run docs/generate_simulator.py"


def test_the_example_is_a_description() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert loads(example).name == "small integer accelerator"


def test_every_preset_has_its_row() -> None:
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \| ", PAGE, re.MULTILINE)) >= set(presets())

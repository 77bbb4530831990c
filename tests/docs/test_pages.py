"""What the pages list is what the code has: they fail here when one of the two changes alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opmux.core import errors
from opmux.core.kernel import Reason
from opmux.core.op import OPS
from opmux.core.plugins.quarantine import QuarantineReason
from opmux.opset import namespace, orders, profiles
from opmux.opset.accuracy import Ulp
from opmux.opset.declare import declaration_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ("core", "opset", "backends", "conformance", "frontends", "cli")


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def source() -> str:
    files = [path for folder in PACKAGE for path in sorted((ROOT / folder).rglob("*.py"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_every_environment_variable_has_its_line() -> None:
    read = set(re.findall(r"\"(OPMUX_[A-Z_]+)\"", source()))
    listed = set(re.findall(r"OPMUX_[A-Z_]+", page("docs/environment.md")))
    assert listed == read


def test_every_exception_has_its_row() -> None:
    defined = set(re.findall(r"^class (\w+Error)\((?:Opmux|Shape|Device|Unsupported)Error\b", source(), re.MULTILINE))
    assert {name for name, kind in vars(errors).items() if name.endswith("Error") and isinstance(kind, type)} - {
        "OpmuxError"
    } <= defined
    listed = set(re.findall(r"^\| `(\w+)` \|", page("docs/errors.md"), re.MULTILINE))
    assert listed == defined


@pytest.mark.parametrize("reasons", [Reason, QuarantineReason])
def test_every_reason_is_explained(reasons: type[Reason] | type[QuarantineReason]) -> None:
    text = page("docs/architecture.md")
    assert [str(r) for r in reasons if f"`{r}`" not in text] == []


def test_counts_of_ops_are_those_of_the_opset() -> None:
    assert namespace  # importing it declares every op
    primitives = sum(op.primitive for op in OPS)
    text = page("docs/architecture.md")
    assert f"{primitives} primitives, {len(OPS) - primitives} composites" in text
    assert f"{len(profiles.core_ops())} of the {primitives} primitives are *core*" in text


@pytest.mark.parametrize("name", ["docs/architecture.md", "docs/numerics.md"])
def test_orders_are_those_of_the_opset(name: str) -> None:
    text = " ".join(page(name).split())
    assert f"blocks of {orders.BLOCK}" in text
    assert re.search(rf"{orders.LANES} lanes|mod {orders.LANES},", text)
    assert re.search(rf"blocks of {orders.MATMUL_BLOCK}\b", text)


def test_measured_errors_are_within_the_contracts() -> None:
    table = page("docs/numerics.md").partition("accuracy:begin")[2].partition("accuracy:end")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) > 20
    for op, cells in rows:
        accuracy = declaration_of(OPS[op]).accuracy
        assert isinstance(accuracy, Ulp)
        for dtype, cell in zip(("float64", "float32", "float16", "bfloat16"), cells.split(" | "), strict=True):
            measured, bound = (float(part.strip("()")) for part in cell.split())
            assert bound == accuracy.bound(dtype), f"{op} on {dtype}: run docs/generate_accuracy.py"
            assert measured <= bound


NAMED_PATH = re.compile(r"`((?:core|opset|backends|conformance|cli|docs|tests|examples|benchmarks)/[\w./]*)`")


@pytest.mark.parametrize("name", ["README.md", "docs/architecture.md", "docs/write-a-backend.md", "CONTRIBUTING.md"])
def test_every_path_named_exists(name: str) -> None:
    named = NAMED_PATH.findall(page(name))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_core_file_is_on_the_map() -> None:
    listed = set(re.findall(r"`(\w+\.py)`", page("docs/architecture.md")))
    folders = (ROOT / "core", *(ROOT / "core" / name for name in ("arrays", "devices", "dispatch", "graphs")))
    files = {path.name for folder in folders for path in folder.glob("*.py")} - {"__init__.py"}
    assert files - listed == set()

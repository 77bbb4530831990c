"""The public face, its stub, the snapshot, the profiles and the reference pages."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import opmux as ox
from opmux.core.op import OPS
from opmux.opset import docs, namespace, snapshot, stubs
from opmux.opset.profiles import PROFILES, core_ops

ROOT = Path(stubs.__file__).resolve().parents[1]

USER_CODE = """
import opmux as ox

x = ox.asarray([1.0, 2.0], dtype=ox.float32)
y: ox.Array = ox.add(x, 1.0) * 2 - x / x
y += 1
z: ox.Array = ox.sum(y, axis=0, keepdims=True) @ ox.reshape(x, (1, 2))
w: ox.Array = ox.where(ox.exp(x, out=y) < 3, x, 0.0)
c: ox.Array = ox.clip(x, 0.0, max=2) ** 2
n: int = ox.iinfo(ox.int8).max
t: ox.DType = ox.bool
with ox.policy(backends="numpy"):
    v = ox.astype(2**x, "float64")
"""


def test_namespace_and_public_face_have_the_same_ops() -> None:
    ops = {n: f for n, f in vars(namespace).items() if hasattr(f, "op")}
    assert {n for n, f in ops.items() if getattr(ox, n, None) is not f} == set()


def test_constants_and_dtypes_have_the_standards_names() -> None:
    assert ox.newaxis is None
    assert (round(ox.pi, 3), round(ox.e, 3), ox.inf, ox.nan != ox.nan) == (3.142, 2.718, float("inf"), True)
    assert (ox.bool.name, ox.complex64.name, ox.float32) == ("bool", "complex64", ox.dtype("float32"))
    assert ox.__array_api_version__ == "2024.12"


def test_namespace_info_answers_the_standards_questions() -> None:
    info = ox.__array_namespace_info__()
    assert info.default_device() is ox.device("cpu")
    assert info.default_dtypes()["real floating"] is ox.float32
    assert set(info.dtypes(kind="signed integer")) == {"int8", "int16", "int32", "int64"}
    assert "bool" in info.dtypes(kind=("bool", "real floating"))
    assert ox.device("cpu") in info.devices()
    with pytest.raises(ox.ArgumentError, match="unknown kind"):
        info.dtypes(kind="floats")


def test_stub_is_current() -> None:
    assert stubs.TARGET.read_text(encoding="utf-8") == stubs.render(), "run python -m opmux.opset.stubs"


def test_stub_spells_out_scalars_and_out() -> None:
    lines = stubs.render().splitlines()
    assert "def add(x1: _Operand, x2: _Operand, /, *, out: Array | None = None) -> Array: ..." in lines
    assert "def exp(x: Array, /, *, out: Array | None = None) -> Array: ..." in lines


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is in the extra dev, not in test")
def test_type_checker_accepts_user_code_and_refuses_mistakes(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "opmux").symlink_to(ROOT)  # the checkout's folder may have any name
    (tmp_path / "good.py").write_text(USER_CODE, encoding="utf-8")
    (tmp_path / "bad.py").write_text("import opmux as ox\nox.exp(1.0)\nox.add('a', ox.zeros(1))\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", str(ROOT / ".mypy_cache"),
         "--config-file", str(ROOT / "pyproject.toml"), "good.py", "bad.py"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(tmp_path / "src")}, capture_output=True, text=True,
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert [line.split(": error:")[0] for line in errors] == ["bad.py:2", "bad.py:3"], done.stdout + done.stderr


def test_opset_is_that_of_its_snapshot() -> None:
    difference = snapshot.compare(snapshot.committed(), snapshot.take())
    assert not difference, (
        f"{difference}: step {difference.step} of VERSION (before 1.0: MINOR), add a line to CHANGELOG.md, "
        f"and run python -m opmux.opset.snapshot --write"
    )
    assert snapshot.committed().version == snapshot.VERSION


def test_snapshot_sees_additions_removals_and_changes() -> None:
    old = snapshot.Snapshot("0.1", {"a": "1", "b": "2"})
    assert snapshot.compare(old, snapshot.Snapshot("0.1", {"a": "1", "b": "2", "c": "3"})).step == "MINOR"
    changed = snapshot.compare(old, snapshot.Snapshot("0.1", {"a": "1", "b": "3"}))
    assert (changed.changed, changed.step) == (("b",), "MAJOR")
    assert str(snapshot.compare(old, snapshot.Snapshot("0.1", {"a": "1"}))) == "removed: b"


def test_hash_hangs_on_the_contract() -> None:
    op = OPS["exp"]
    looser = dataclasses.replace(op.declaration, accuracy=ox.opset.accuracy.ulp(5))  # type: ignore[type-var,attr-defined]
    assert snapshot.hash_of(dataclasses.replace(op, declaration=looser)) != snapshot.hash_of(op)


def test_profiles_hold_the_core_ops_and_no_wide_dtype() -> None:
    assert set(PROFILES["core-f32"].ops) == set(core_ops())
    for name, profile in PROFILES.items():
        wide = {t for _, t in profile.pairs} & {"float64", "complex64", "complex128"}
        assert wide <= ({"float64"} if name == "core-f64" else set()) or not name.startswith("core-")
    assert {t for _, t in PROFILES["core-f32"].pairs} == {"float32", "int32", "bool", "uint32"}
    assert ("floor_divide", "float32") not in PROFILES["core-f32"].pairs


def test_reference_has_a_page_per_family_that_names_every_op(tmp_path: Path) -> None:
    docs.write(tmp_path)
    text = {page.stem: page.read_text(encoding="utf-8") for page in tmp_path.glob("*.md")}
    assert set(text) == {*docs.families(), "index"}
    assert [op.name for op in OPS if f"\n## {op.name}\n" not in text[op.declaration.family]] == []  # type: ignore[attr-defined]
    assert "| float32 | 3 |" in text["exponential"].split("## exp\n")[1].split("## exp2")[0]

"""The wheel, installed in a clean environment outside the checkout, is whole and holds nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = PROJECT["tool"]["setuptools"]["packages"]
NOT_SOURCE = (".*", "*.egg-info", "__pycache__", "build", "dist", "_build", "demo-output")


def run(*command: str | Path, cwd: Path) -> str:
    # PYTHONSAFEPATH and no PYTHONPATH: nothing but the clean environment may supply a module.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment | {"PYTHONSAFEPATH": "1", "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy under another folder name: the checkout stays clean, and its name is shown not to matter."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "a-checkout", ignore=shutil.ignore_patterns(*NOT_SOURCE))
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    run(*build, folder / "a-checkout", cwd=folder)
    [built] = folder.glob("opmux-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Install the wheel in a clean environment and return what runs code there.

    The dependencies are those of the running environment, seen through a path file: that needs no network. A path
    file's directories are not searched for path files in turn, so the editable opmux does not come along.
    """
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "env", symlinks=True)
    python = folder / "env" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    dependencies = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (site / "dependencies.pth").write_text("\n".join(dependencies) + "\n", encoding="utf-8")
    # --prefix and not the environment's pip: pip would find the editable opmux and uninstall it.
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--ignore-installed", "--prefix")
    run(*install, folder / "env", wheel, cwd=folder)
    return lambda code: run(python, "-c", code, cwd=folder)


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_modules_are_those_of_the_package_list(wheel: Path) -> None:
    expected = {
        file.relative_to(wheel.parent / "a-checkout").as_posix()
        for package in PACKAGES
        for file in (wheel.parent / "a-checkout").joinpath(*package.split(".")[1:]).glob("*.py")
    }
    built = {name.removeprefix("opmux/") for name in names(wheel) if name.endswith(".py")}
    assert built == expected


def test_holds_nothing_outside_the_package(wheel: Path) -> None:
    tops = {tuple(name.split("/")[:2]) for name in names(wheel) if ".dist-info/" not in name}
    assert {top for top, *_ in tops} == {"opmux"}
    assert not {"tests", "docs", "benchmarks", "examples", "pyproject.toml"} & {second for _, second in tops}


def test_carries_type_marker_licence_and_manifests(wheel: Path) -> None:
    held = names(wheel)
    assert "opmux/py.typed" in held
    assert any(name.endswith("/LICENSE") for name in held)
    manifests = {file.relative_to(ROOT).as_posix() for file in ROOT.glob("backends/*/opmux-backend.toml")}
    assert {f"opmux/{manifest}" for manifest in manifests} <= set(held)


def test_every_module_imports_from_the_wheel(installed: Callable[[str], str]) -> None:
    code = f"""
import importlib, json, pathlib, opmux
root = pathlib.Path(opmux.__file__).parent
names = [
    package + ("" if file.stem == "__init__" else "." + file.stem)
    for package in {PACKAGES!r}
    for file in root.joinpath(*package.split(".")[1:]).glob("*.py")
    if file.stem != "__main__"
]
print(json.dumps({{name: importlib.import_module(name).__file__ for name in names}}))
"""
    files: dict[str, str] = json.loads(installed(code).splitlines()[-1])
    assert set(PACKAGES) <= set(files)
    assert [name for name, file in files.items() if Path(file).is_relative_to(ROOT)] == []


def test_entry_points_name_modules_that_are_there(installed: Callable[[str], str]) -> None:
    code = """
import importlib.util, json
from importlib.metadata import distribution
found = [(entry.group, entry.name, entry.value) for entry in distribution("opmux").entry_points]
assert all(importlib.util.find_spec(value.partition(":")[0]) for group, _, value in found if group != "console_scripts")
print(json.dumps(found))
"""
    found = {tuple(entry) for entry in json.loads(installed(code))}
    declared = {("opmux.backends", *item) for item in PROJECT["project"]["entry-points"]["opmux.backends"].items()}
    assert found == declared | {("console_scripts", "opmux", "opmux.cli.main:main")}

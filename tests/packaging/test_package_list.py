"""pyproject.toml lists every package and all package data: what is missing there is missing in the wheel."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_IN_THE_WHEEL = {"docs", "tests", "benchmarks", "examples", "build", "dist", "demo-output"}
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def walk(directory: Path, package: str = "opmux") -> Iterator[tuple[str, Path]]:
    """Yield every directory that belongs to the package, with its dotted name."""
    yield package, directory
    for child in sorted(directory.iterdir()):
        skipped = child.name.startswith((".", "__")) or child.name.endswith(".egg-info")
        if child.is_dir() and not skipped and not (directory == ROOT and child.name in NOT_IN_THE_WHEEL):
            yield from walk(child, f"{package}.{child.name}")


def source_packages() -> dict[str, Path]:
    return {package: directory for package, directory in walk(ROOT) if list(directory.glob("*.py"))}


def test_every_directory_with_python_code_is_listed() -> None:
    assert sorted(SETUPTOOLS["packages"]) == sorted(source_packages())


def test_every_package_has_an_init_file() -> None:
    # Without one, mypy -p, import-linter and pkgutil pass over the directory and nothing in it is checked.
    bare = [package for package, directory in source_packages().items() if not (directory / "__init__.py").exists()]
    assert bare == []


@pytest.mark.parametrize("package", [package for package in SETUPTOOLS["packages"] if package != "opmux"])
def test_every_data_file_is_package_data(package: str) -> None:
    globs = SETUPTOOLS["package-data"].get(package, [])
    directory = ROOT.joinpath(*package.split(".")[1:])
    data = [file.name for file in directory.iterdir() if file.is_file() and file.suffix not in {".py", ".pyc", ".md"}]
    assert [name for name in data if not any(fnmatch.fnmatch(name, glob) for glob in globs)] == []


def test_directories_without_code_hold_no_data_that_would_be_lost() -> None:
    lost = [
        file.relative_to(ROOT).as_posix()
        for package, directory in walk(ROOT)
        if package not in SETUPTOOLS["packages"]
        for file in directory.iterdir()
        if file.is_file()
    ]
    assert lost == []

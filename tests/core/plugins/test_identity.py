"""An implementation is its files: names and contents, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from opmux.core.plugins.identity import implementation


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "native").mkdir()
    (tmp_path / "kernels.py").write_text("A = 1\n")
    (tmp_path / "native" / "acme.so").write_bytes(b"\x7fELF")
    return tmp_path


@pytest.mark.parametrize("name", ["opmux-certificate.json", "opmux-certificate-acme.json", ".hidden"])
def test_what_is_no_code_does_not_count(package: Path, name: str) -> None:
    before = implementation(package)
    (package / name).write_text("anything")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "kernels.cpython-311.pyc").write_bytes(b"1")
    assert implementation(package) == before


def test_contents_names_and_places_count(package: Path) -> None:
    seen = {implementation(package)}
    (package / "kernels.py").write_text("A = 2\n")
    seen.add(implementation(package))
    (package / "kernels.py").rename(package / "native" / "kernels.py")
    seen.add(implementation(package))
    (package / "native" / "acme.so").write_bytes(b"\x7fELG")
    seen.add(implementation(package))
    (package / "data.bin").touch()
    seen.add(implementation(package))
    (package / "kernels.pyc").touch()  # imported where there is no kernels.py
    seen.add(implementation(package))
    (package / ".libs").mkdir()
    (package / ".libs" / "acme-1.so").touch()
    seen.add(implementation(package))
    assert len(seen) == 7


def test_the_folder_itself_does_not_count(package: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    import shutil

    other = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(package, other)
    assert implementation(other) == implementation(package)

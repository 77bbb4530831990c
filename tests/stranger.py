"""Packages of others: built as wheels, installed apart from this environment, and used in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

CLI = "from opmux.cli.main import main; main()"
_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


def install(source: Path, site: Path) -> str:
    """Build the package in a folder, which the build may write to, put it into *site*, and return the wheel's name."""
    command = [sys.executable, "-c", _BUILD, str(site)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    name = done.stdout.splitlines()[-1]
    with zipfile.ZipFile(site / name) as wheel:
        wheel.extractall(site)
    return name


def python(site: Path, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python with what is installed in *site*, without the switches of this process."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPMUX_", "PYTHON"))}
    environment |= {"PYTHONPATH": str(site), "OPMUX_CACHE_DIR": str(site / "cache"), "OPMUX_DISABLE": "llvm"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd or site, env=environment, capture_output=True, text=True, timeout=240)


def opmux(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command with what is installed in *site*."""
    return python(site, "-c", CLI, *arguments)

"""The suite as pytest items: one per case, unsupported ones skipped, wrong ones failed with a reproducer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CONFTEST = """
from opmux.core.plugins import manager
from tests.conformance.zoo import Zoo, kernel, sign_of_zero
manager.register("zoo-pytest", Zoo([kernel("multiply", sign_of_zero)]))
"""


def _pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "pytest", "-p", "opmux.conformance.plugin", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_one_item_per_case(tmp_path: Path) -> None:
    done = _pytest(
        tmp_path, "-v", "--opmux-backend", "numpy", "--opmux-op", "negative", "--opmux-dtype", "int32", "--opmux-quick"
    )
    assert done.returncode == 0, done.stdout
    assert "numpy-cpu:0-negative-int32-values PASSED" in done.stdout


def test_a_failure_shows_message_and_reproducer(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    case = "multiply-float32-special-multiply(-1, +0) -> -0"
    done = _pytest(
        tmp_path, "--opmux-backend", "zoo-pytest", "--opmux-op", "multiply", "--opmux-case", case, "--opmux-in-process"
    )
    assert done.returncode == 1, done.stdout
    assert "wanted -0.0" in done.stdout
    assert "opmux conformance --backend zoo-pytest" in done.stdout


def test_unsupported_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    case = "matmul-float32-values-square"
    done = _pytest(
        tmp_path, "-rs", "--opmux-backend", "zoo-pytest", "--opmux-op", "matmul", "--opmux-case", case,
        "--opmux-in-process",
    )  # fmt: skip
    assert "1 skipped" in done.stdout
    assert "unsupported" in done.stdout

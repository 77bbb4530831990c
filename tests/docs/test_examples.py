"""Each script of examples/ runs in a process of its own and prints what it is there to show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SHOWS = {
    "own_policy.py": "numpy only:       numpy/exp",
    "compile_chain.py": "agrees with eager: True",
    "from_numpy_and_torch.py": "snapshot is untouched: 0.0",
    "parallelism.py": "64 x 8 x 8",
}


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == SHOWS.keys()


@pytest.mark.parametrize("name", SHOWS)
def test_example_shows(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert SHOWS[name] in done.stdout

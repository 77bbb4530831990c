"""What tests of bad input share: a process of their own for what may crash or hang, and the check of an error."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import opmux as ox

Run = Callable[..., "subprocess.CompletedProcess[str]"]
TIMEOUT = 60


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run code in a process with a cache directory of its own; a hang is a failure, not a stuck suite."""

    def start(code: str, *, timeout: float = TIMEOUT, **environment: str) -> subprocess.CompletedProcess[str]:
        given = {**os.environ, "OPMUX_CACHE_DIR": str(tmp_path / "cache"), **environment}
        return subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", code],
            capture_output=True, text=True, timeout=timeout, env=given, cwd=tmp_path, check=False,
        )  # fmt: skip

    return start


@pytest.fixture
def refused() -> Callable[..., ox.OpmuxError]:
    """Check that a call ends in a typed error whose message is made for people, and return the error."""

    def check(call: Callable[[], Any], kind: type[Exception], *words: str) -> ox.OpmuxError:
        with pytest.raises(kind) as caught:
            call()
        error = caught.value
        assert isinstance(error, ox.OpmuxError), f"{type(error).__name__}: {error}"
        message = str(error)
        assert 20 < len(message) < 1500, message
        for word in words:
            assert word in message, message
        return error

    return check

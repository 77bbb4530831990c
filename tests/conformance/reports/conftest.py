"""A real headless browser, where the machine has one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .browser import Browser, find, running


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = find()
    if executable is None:
        pytest.skip("no browser of the Chromium family on PATH; OPMUX_TEST_BROWSER names one")
    with running(executable, tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "report.html"

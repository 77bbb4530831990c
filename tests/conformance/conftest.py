"""Runs of the suite tell the dispatcher what they found; no other test is to meet it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from opmux.core.dispatch.claims import CLAIMS
from opmux.core.filecache import cache_root


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    yield
    CLAIMS.clear()
    root = cache_root()
    if root is not None:
        shutil.rmtree(root / "claims", ignore_errors=True)

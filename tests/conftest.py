"""Tests neither read nor change what the user's own runs have left in the cache: claims above all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# Before opmux is imported. Compiled code stays from run to run; what conformance found does not. Processes that test
# side by side (`TEST_LANE`, from `make test`) must not remove what the other has just found.
_CACHE = Path(__file__).parents[1] / ".pytest_cache" / f"opmux{os.environ.get('TEST_LANE', '')}"
os.environ["OPMUX_CACHE_DIR"] = str(_CACHE)
for _name in ("claims", "conformance"):
    shutil.rmtree(_CACHE / _name, ignore_errors=True)

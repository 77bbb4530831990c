"""Every primitive op on every dtype that it is declared for: none is refused, and none goes to another device."""

from __future__ import annotations

import pytest

from tests.backends.cuda.compiling.collected import PRIMITIVES, collected


@pytest.mark.parametrize("op", PRIMITIVES)
def test_no_dtype_is_refused(op: str) -> None:
    assert collected().refused[op] == []

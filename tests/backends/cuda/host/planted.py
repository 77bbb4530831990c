"""Faults planted in the source of kernels, which tests of values have to see."""

from __future__ import annotations

from typing import Any

import pytest

from . import compiler
from .compiler import whole


def plant(monkeypatch: pytest.MonkeyPatch, right: str, wrong: str) -> None:
    """Have something else in the place of a piece of text in every kernel; each must have it."""

    def spoiled(*args: Any, **kwargs: Any) -> str:
        text = whole(*args, **kwargs)
        assert right in text
        return text.replace(right, wrong)

    monkeypatch.setattr(compiler, "whole", spoiled)

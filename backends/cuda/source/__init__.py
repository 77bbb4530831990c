"""The text of a kernel with all that it uses, ready for a compiler."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

_INTRINSICS: Final = "// {intrinsics}\n"


@functools.cache
def part(name: str) -> str:
    """Return one of the files beside this module, by name."""
    return files(__package__).joinpath(f"{name}.cuh").read_text(encoding="utf-8")


def whole(
    body: str, *parts: str, intrinsics: str | None = None, stand_ins: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return a translation unit.

    Args:
        body: the kernel.
        parts: names of the shared files that it uses.
        intrinsics: what takes the place of the instructions of a GPU; None for those.
        stand_ins: what takes the place of whole files, by name, that are instructions too.
    """
    prelude = part("prelude").replace(_INTRINSICS, part("intrinsics") if intrinsics is None else intrinsics)
    return "\n".join([prelude, *(stand_ins.get(p) or part(p) for p in parts), body])

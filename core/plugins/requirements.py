"""What a manifest demands of the machine, checked without importing or loading anything."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that must be present: a top-level module, a shared library by its name, or a file."""

    kind: str
    target: str

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"

    def is_met(self) -> bool:
        """Return whether it is present."""
        return KINDS[self.kind](self.target)


def missing(requirements: Iterable[Requirement]) -> tuple[Requirement, ...]:
    """Return the requirements that are not met."""
    return tuple(r for r in requirements if not r.is_met())


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # loaded already, by something that left no spec
        return True
    except ImportError:
        return False


def _has_library(name: str) -> bool:
    if os.sep in name:
        return Path(name).exists()
    # The loader's cache holds every library's name between NULs or at the end of a path.
    index = _loader_cache()
    found = any(before + name.encode() + b"\0" in index for before in (b"\0", b"/"))
    return found or any((folder / name).exists() for folder in _library_folders())


def _has_file(path: str) -> bool:
    return Path(path).exists()


@cache
def _loader_cache() -> bytes:
    try:
        return Path("/etc/ld.so.cache").read_bytes()
    except OSError:
        return b""


def _library_folders() -> Iterable[Path]:
    for variable in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"):
        yield from (Path(folder) for folder in os.environ.get(variable, "").split(os.pathsep) if folder)
    for root in ("/usr/local/lib", "/usr/lib", "/lib", "/usr/lib64", "/lib64"):
        yield Path(root)
        yield Path(root) / f"{platform.machine()}-linux-gnu"


#: The kinds of requirement by the key that names them, each with its test.
KINDS: Final[dict[str, Callable[[str], bool]]] = {"module": _has_module, "library": _has_library, "file": _has_file}

"""What a run is about: the suite that asks, and the implementation that answers."""

from __future__ import annotations

import functools
import hashlib
from importlib import metadata
from pathlib import Path

from ..core.plugins import manager
from ..core.plugins.identity import implementation


@functools.cache
def suite_digest() -> str:
    """Return a digest of the suite and of the opset: two runs with the same one asked the same questions."""
    package = Path(__file__).resolve().parent
    parts = (implementation(package), implementation(package.parent / "opset"))
    return f"sha256:{hashlib.sha256(''.join(parts).encode()).hexdigest()}"


@functools.cache
def core_digest() -> str:
    """Return a digest of the machinery between the suite and a backend."""
    return implementation(Path(__file__).resolve().parents[1] / "core")


def suite_version() -> str:
    """Return the version of opmux, which the suite is part of."""
    return metadata.version("opmux")


@functools.cache
def _digest(folder: Path) -> str:
    return implementation(folder)


def implementation_of(backend: str) -> str:
    """Return the digest of a backend's files; ``"unidentified"`` for one that was registered by this program."""
    folder = manager.package_folder(backend)
    return "unidentified" if folder is None else _digest(folder)

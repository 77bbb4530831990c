"""Compiled objects on disk: opmux's file cache, with a directory of their own.

What is read from here is executed; the file cache trusts only what this user wrote.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from ...plugin import FileCache, cache_root

DEFAULT_LIMIT_BYTES: Final = 256 << 20

_open_caches: Final[dict[Path, FileCache]] = {}
_open_caches_lock: Final = threading.Lock()


def default_cache() -> FileCache | None:
    """The cache that the environment asks for now, one object per directory; None under `OPMUX_CACHE=0`."""
    root = cache_root()
    if root is None:
        return None
    with _open_caches_lock:
        return _open_caches.setdefault(root, FileCache(root / "objects", DEFAULT_LIMIT_BYTES))

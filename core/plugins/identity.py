"""What an implementation is: a digest of its files, so that a proof is about this code and no other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: A certificate speaks of the code beside it, so it is not part of it.
CERTIFICATES: Final = "opmux-certificate*.json"
#: Hidden folders that hold code: where tools put the shared libraries that a wheel brings.
_LIBRARIES: Final = frozenset({".libs", ".dylibs"})
_CHUNK: Final = 1 << 20


def files_of(folder: Path) -> Iterator[Path]:
    """Yield the files of a package in a stated order, without caches, hidden ones and certificates.

    Bytecode beside no source is code, as in packages that ship nothing else; only that in ``__pycache__`` is a cache.
    """
    for place, children, names in os.walk(folder):
        children[:] = sorted(c for c in children if c != "__pycache__" and (not c.startswith(".") or c in _LIBRARIES))
        for name in sorted(names):
            path = Path(place, name)
            if not (name.startswith(".") or path.match(CERTIFICATES)):
                yield path


def implementation(folder: Path) -> str:
    """Return a digest of the names and contents of a package's files.

    Args:
        folder: the package that the backend's manifest lies in.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in files_of(folder):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode(errors="surrogatepass"))
        with path.open("rb") as file:
            while part := file.read(_CHUNK):
                digest.update(part)
    return f"sha256:{digest.hexdigest()}"

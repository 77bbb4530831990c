"""What probes found, remembered between processes, so that a plugin is probed once per version and machine.

A good verdict holds as long as everything that it is about stays the same: the plugin's files, its
manifest, opmux, Python. A bad one, besides, holds only while the surroundings stay the same (a missing
dependency may have been installed, a time limit raised), and for a day at most.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..filecache import FileCache, cache_key, cache_root
from ..hooks import SPI_VERSION
from .discovery import Candidate
from .manifest import Manifest, package_folders
from .quarantine import QuarantineError, QuarantineReason, Stage, refusal

#: Seconds for which a failure is believed: long enough to spare every process the wait for a hung plugin, short
#: enough that one bad moment of the machine does not keep a backend out for good.
FAILURE_LIFETIME: Final = 86_400.0
# Beyond so many files the first ones in order speak for the rest; RECORD covers every file of an installed wheel.
_MOST_FILES: Final = 4096
_CODE_SUFFIXES: Final = (".py", ".pyd", ".dylib", ".toml")


class Verdicts:
    """The verdicts on disk; without a usable cache directory nothing is remembered and every process probes."""

    def __init__(self, limit: float) -> None:
        """Open the verdicts.

        Args:
            limit: the time limit in force; a failure under another limit is not believed.
        """
        root = cache_root()
        self._cache = None if root is None else FileCache(root / "probes")
        self._surroundings = _surroundings(limit)

    def recall(self, candidate: Candidate, stamp: str, *, failures: bool) -> QuarantineError | bool:
        """Return True for a plugin known to be good, the failure of one known to fail, False where nothing is known.

        Args:
            candidate: the plugin.
            stamp: its :func:`fingerprint` now.
            failures: whether to believe remembered failures.
        """
        data = None if self._cache is None else self._cache.get(_slot(candidate))
        with contextlib.suppress(ValueError, KeyError, TypeError):
            found = json.loads(data or b"{}")
            if found["fingerprint"] != stamp:
                return False
            if found["good"] is True:
                return True
            fresh = 0 <= time.time() - found["time"] < FAILURE_LIFETIME
            if failures and fresh and found["surroundings"] == self._surroundings:
                reason = QuarantineReason(found["reason"])
                return refusal(Stage(found["stage"]), reason, found["message"], detail=found["detail"])
        return False

    def remember(self, candidate: Candidate, stamp: str, failure: QuarantineError | None) -> None:
        """Keep what a probe found; *stamp* was taken before it, so that a change meanwhile is noticed."""
        if self._cache is None:
            return
        found: dict[str, object] = {"fingerprint": stamp, "good": failure is None}
        if failure is not None:
            found |= {
                "surroundings": self._surroundings,
                "time": time.time(),
                "stage": failure.stage,
                "reason": failure.reason,
                "message": str(failure),
                "detail": failure.detail,
            }
        self._cache.put(_slot(candidate), json.dumps(found).encode())


def _slot(candidate: Candidate) -> str:
    """Return the key of a plugin's one verdict; a newer one replaces it, so the directory does not grow."""
    return cache_key(candidate.name, candidate.distribution, sys.prefix, sys.executable)


def fingerprint(candidate: Candidate, manifest: Manifest) -> str:
    """Return a digest of everything that a good verdict is about."""
    record = candidate.source.read_text("RECORD") if candidate.source is not None else None
    return cache_key(
        candidate.name,
        candidate.distribution,
        candidate.version,
        f"{candidate.module}:{candidate.attribute}",
        str(manifest.path),
        manifest.digest,
        hashlib.sha256((record or "").encode()).hexdigest(),
        "\n".join(_files(candidate.module)),
        "\n".join(_own_stamps()),
        SPI_VERSION,
        sys.version,
        " ".join(os.uname()[2:]),  # the system's release and version, and the machine's architecture
    )


def _files(module: str) -> Iterator[str]:
    """Yield name, size and time of change of the package's code files: an editable install's RECORD has none."""
    count = 0
    for top in package_folders(module.partition(".")[0]):
        for folder, children, names in os.walk(top):
            children[:] = sorted(c for c in children if c != "__pycache__" and not c.startswith("."))
            for name in sorted(names):
                if not name.endswith(_CODE_SUFFIXES) and ".so" not in name:
                    continue
                count += 1
                if count > _MOST_FILES:
                    return
                yield _stamp(Path(folder, name))


def _own_stamps() -> Iterator[str]:
    """Yield stamps of what a plugin meets of opmux: in a checkout they change more often than its version."""
    package = Path(__file__).resolve().parents[2]
    for file in sorted((*package.glob("*.py"), *package.glob("core/*.py"), *package.glob("core/plugins/*.py"))):
        yield _stamp(file)


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return f"{path} absent"
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def _surroundings(limit: float) -> str:
    """Return a digest of what may turn a failure into a success: installing anything changes a folder on the path."""
    return cache_key(
        f"{limit:g}",
        os.environ.get("LD_LIBRARY_PATH", ""),
        os.environ.get("DYLD_LIBRARY_PATH", ""),
        *(_stamp(Path(entry)) for entry in sys.path),
    )

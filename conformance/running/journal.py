"""What a run has found so far, on disk: an interrupted one goes on with it, the next begins with what failed."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Self, TextIO

from ...core.filecache import cache_key, cache_root
from ..identity import core_digest, implementation_of, suite_digest
from ..results.outcome import CaseResult, Outcome
from ..results.subject import environment
from ..target import Target
from .isolation import Job
from .selection import Selection

_FOLDER: Final = "conformance"
#: Journals that stay: enough for the shards of a run side by side. A whole run's takes tens of megabytes.
_KEPT: Final = 16


class Journal:
    """Results by job, read from a file and appended to it.

    Without a usable cache directory nothing is kept.
    """

    def __init__(self, path: Path | None, known: Iterable[CaseResult] = ()) -> None:
        self._known: dict[tuple[str, str, str, str], dict[str, CaseResult]] = defaultdict(dict)
        for r in known:
            if r.outcome is not Outcome.NOT_RUN:  # what lost its device is tried again
                self._known[r.backend, r.device, r.op, r.dtype][r.id] = r
        self._file: TextIO | None = None
        if path is not None:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._file = path.open("w", encoding="utf-8")
                _prune(path.parent)
            except OSError:  # a full or read-only disk costs the journal, not the run
                self._file = None
        for found in self._known.values():
            for r in found.values():
                self.write(r)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._file is not None:
            self._file.close()

    @classmethod
    def of(cls, selection: Selection, ready: Sequence[Target]) -> Journal:
        """Return the journal of a run; one that goes on knows what the interrupted one found.

        The file is named for all that the results depend on: the selection, the suite, the environment (another NumPy
        gives other results), each implementation.
        """
        root = cache_root()
        if root is None or not selection.isolate:
            return cls(None)
        about = replace(
            selection, resume=False, exit_first=False, workers=None, waivers=None, performance=0.0, within=math.inf
        )
        tried = (f"{t.backend} {t.device.name} {implementation_of(t.backend)}" for t in ready)
        key = cache_key(repr(about), suite_digest(), core_digest(), json.dumps(environment(), sort_keys=True), *tried)
        path = root / _FOLDER / f"run-{key[:24]}.jsonl"
        return cls(path, _read(path) if selection.resume else ())

    def known(self, job: Job) -> dict[str, CaseResult]:
        """Return the results of a job's cases that were found before."""
        found = self._known.get((job.backend, job.device, job.op, job.dtype), {})
        return {case: found[case] for case in job.only if case in found}

    def write(self, result: CaseResult) -> None:
        """Append a result."""
        if self._file is not None:
            self._file.write(json.dumps(result.to_dict()) + "\n")
            self._file.flush()


def _prune(folder: Path) -> None:
    """Remove all but the newest journals; what another process removes meanwhile is gone as well."""
    found = []
    for path in folder.glob("run-*.jsonl"):
        with suppress(OSError):
            found.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(found, reverse=True)[_KEPT:]:
        path.unlink(missing_ok=True)


def _read(path: Path) -> list[CaseResult]:
    """Return the results of a file; a last line that was cut off is left out."""
    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            found.append(CaseResult.from_dict(json.loads(line)))
        except (ValueError, TypeError, KeyError):
            continue
    return found


def _last_failed(backend: str) -> Path | None:
    root = cache_root()
    return None if root is None else root / _FOLDER / f"last-failed-{backend}.json"


def last_failed(backends: Iterable[str]) -> tuple[str, ...]:
    """Return the ids of the cases that failed in the last run of these backends; none where nothing is known."""
    found: dict[str, None] = {}
    for backend in backends:
        path = _last_failed(backend)
        try:
            found |= dict.fromkeys(json.loads(path.read_text(encoding="utf-8")) if path else ())
        except (OSError, ValueError):
            continue
    return tuple(found)


def keep_last_failed(results: Sequence[CaseResult], bad: Iterable[CaseResult]) -> None:
    """Remember the failures of a run, and forget those of its cases that did not fail."""
    failed = {(r.backend, r.id) for r in bad}
    for backend in {r.backend for r in results}:
        path = _last_failed(backend)
        if path is None:
            return
        ran = {r.id for r in results if r.backend == backend}
        kept = [case for case in last_failed([backend]) if case not in ran]
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_text(
                json.dumps([*kept, *(case for b, case in sorted(failed) if b == backend)]), encoding="utf-8"
            )
        except OSError:
            return

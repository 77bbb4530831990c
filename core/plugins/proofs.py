"""What conformance has found about a backend, where the dispatcher learns it: from a run on this machine, or from a
certificate in the backend's own package.

Either is believed only for the very implementation that was tried: its version and a digest of its files. A
certificate also has to be intact, complete and about this opset; its verdicts bind on devices of the name that it
gives. A run on this machine goes before a certificate.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ..dispatch.claims import CLAIMS, ClaimKey, Verdict
from ..dispatch.decision import Claim
from ..dispatch.registry import REGISTRY
from ..filecache import FileCache, cache_key, cache_root
from ..sealed import is_intact
from .identity import CERTIFICATES, implementation

_log = logging.getLogger("opmux")
#: A whole suite of verdicts of one backend is some hundred kilobytes.
_LIMIT: Final = 64 << 20


def _cache() -> FileCache | None:
    root = cache_root()
    return None if root is None else FileCache(root / "claims", limit_bytes=_LIMIT)


def recall(backend: str, version: str, folder: Path | None) -> None:
    """Tell the dispatcher what is known of a backend that has just been registered.

    Args:
        backend: its name.
        version: its version.
        folder: its package; None for one without files, of which nothing is kept.
    """
    if folder is None:
        return
    cache = _cache()
    kept = None if cache is None else cache.get(cache_key("claims", backend))
    shipped = sorted(folder.glob(CERTIFICATES))
    if kept is None and not shipped:
        return
    found: dict[ClaimKey, Verdict] = {}
    try:
        digest = implementation(folder)
        for path in shipped:
            for key, verdict in _of_certificate(path, backend, version, digest):
                if key not in found or verdict.level is Claim.REFUTED:  # of two that disagree
                    found[key] = verdict
        if kept is not None:
            found |= dict(_kept(json.loads(kept), backend, version, digest))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        _log.warning("what conformance found about %s cannot be read and is not believed: %s", backend, error)
    if found:
        CLAIMS.record(found)


def _of_certificate(path: Path, backend: str, version: str, digest: str) -> Iterator[tuple[ClaimKey, Verdict]]:
    document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    about = document["backend"]
    why = None
    if not is_intact(document):
        why = "its digest is not that of its content"
    elif not document["complete"]:
        why = "it is of a quick or partial run"
    elif (about["name"], about["version"], about["implementation"]) != (backend, version, digest):
        why = f"it is about {about['name']} {about['version']}, or about other files than those beside it"
    elif document["suite"]["opset"] != REGISTRY.opset_version:
        why = f"it is about opset {document['suite']['opset']}; this is {REGISTRY.opset_version}"
    if why is not None:
        _log.warning("%s is not believed: %s", path, why)
        return
    device = document["device"]["model"]
    for row in document["claims"]:
        yield _verdict(row, backend, version, device, f"certificate {document['digest'][:19]}")


def _verdict(
    row: Mapping[str, Any], backend: str, version: str, device: str, evidence: str
) -> tuple[ClaimKey, Verdict]:
    worst = row["max_ulp"]
    key = ClaimKey(backend, version, str(row["kernel"]), str(row["dtype"]), device)
    return key, Verdict(Claim(row["level"]), None if worst is None else float(worst), evidence)


def _kept(document: Mapping[str, Any], backend: str, version: str, digest: str) -> Iterator[tuple[ClaimKey, Verdict]]:
    if (document["version"], document["implementation"], document["opset"]) != (
        version,
        digest,
        REGISTRY.opset_version,
    ):
        return
    for device, rows in document["devices"].items():
        for row in rows:
            yield _verdict(row, backend, version, device, "conformance on this machine")


def keep(backend: str, version: str, folder: Path | None, verdicts: Mapping[ClaimKey, Verdict]) -> None:
    """Tell the dispatcher of this process and of later ones what a run of conformance found.

    Verdicts on the same implementation that the run did not touch stay.

    Args:
        backend: its name.
        version: its version.
        folder: its package; None for one without files: nothing is written then.
        verdicts: what was found.
    """
    CLAIMS.record(dict(verdicts))
    cache = _cache()
    if cache is None or folder is None or not verdicts:
        return
    digest, slot = implementation(folder), cache_key("claims", backend)
    known: dict[ClaimKey, Verdict] = {}
    try:
        known = dict(_kept(json.loads(cache.get(slot) or b"{}"), backend, version, digest))
    except (ValueError, TypeError, KeyError, AttributeError):
        known = {}
    devices: dict[str, list[dict[str, Any]]] = {}
    for key, verdict in (known | dict(verdicts)).items():
        devices.setdefault(key.device, []).append(
            {"kernel": key.kernel, "dtype": key.dtype, "level": str(verdict.level), "max_ulp": verdict.max_ulp}
        )
    made = {"version": version, "implementation": digest, "opset": REGISTRY.opset_version, "devices": devices}
    cache.put(slot, json.dumps(made).encode())

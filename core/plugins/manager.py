"""Find, judge and load the backends, each inside a guard, so that a bad one costs itself only.

The order: metadata, the user's selection, names, manifests, the machine, device kinds; then opmux's own
backends in this process (they are tested with it), and the others once their probe, now or earlier, was
good. Only then is a plugin imported here, asked and validated again, and registered whole.
"""

from __future__ import annotations

import difflib
import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from .. import runtime
from ..devices.device import DEVICES
from ..dispatch.registry import REGISTRY
from ..errors import PluginError
from ..hooks import SPI_VERSION
from . import discovery, examine, manifest, proofs, requirements, validate
from .child import tell_of_recursion
from .discovery import Candidate, Discovery, Selection
from .manifest import DYNAMIC, NAME, Manifest
from .quarantine import QuarantineError, QuarantineReason, QuarantineRecord, Stage, guarded, refusal
from .status import BackendStatus, State
from .versions import in_range, spi_fits

_log: Final = logging.getLogger("opmux.plugins")
_lock: Final = threading.RLock()
#: What became of each backend, by name and distribution: two may claim one name.
_statuses: Final[dict[tuple[str, str], BackendStatus]] = {}
#: The packages of the backends that were loaded from files.
_folders: Final[dict[str, Path]] = {}


class _Job(NamedTuple):
    """A backend that passed everything that can be judged without running it."""

    candidate: Candidate
    manifest: Manifest

    @property
    def version(self) -> str:
        declared = self.manifest.version
        return self.candidate.version if declared == DYNAMIC else declared


def load_all(*, retry: bool = False) -> None:
    """Load every usable backend that the environment allows; what this process has judged already stays.

    Args:
        retry: judge again what failed, here or in an earlier process.
    """
    with _lock:
        found = discovery.discover()
        selection = Selection.from_environment()
        names = {c.name for c in found.candidates} | {r.name for r in found.refused}
        allowed = []
        for candidate in found.candidates:
            if why := selection.why_not(candidate.name):
                _note(_disabled(candidate, why))
            else:
                allowed.append(candidate)
        refused = [r for r in found.refused if not selection.why_not(r.name)]
        _load(Discovery(tuple(allowed), (*refused, *selection.unknown(names))), retry=retry)


def load_one(name: str, *, retry: bool = False) -> BackendStatus:
    """Load one backend, even if ``OPMUX_BACKENDS`` or ``OPMUX_DISABLE`` keeps it out.

    Args:
        name: its name.
        retry: probe it again if it failed earlier.

    Returns:
        What became of it; with two claimants of one name, of the first by distribution.

    Raises:
        PluginError: when no installed distribution provides it.
    """
    with _lock:
        found = discovery.discover()
        candidates = tuple(c for c in found.candidates if c.name == name)
        refused = tuple(r for r in found.refused if r.name == name)
        if not candidates and not refused:
            raise _unknown(name, {c.name for c in found.candidates})
        _load(Discovery(candidates, refused), retry=retry)
        return next(s for s in _sorted(_statuses.values()) if s.name == name)


def status() -> list[BackendStatus]:
    """Return what became of every backend, by name, loading them first if nothing has yet."""
    runtime.ensure_loaded()
    with _lock:
        return _sorted(_statuses.values())


def register(name: str, plugin: object, *, version: str = "0") -> BackendStatus:
    """Register an object with hooks as a backend of this process: for tests, and for programs that embed opmux.

    It is validated like an installed one, but needs no manifest; it owns the device kinds that it brings.

    Args:
        name: the backend's name.
        plugin: a module or object with functions marked with ``hookimpl``.
        version: its version, part of what conformance shows about it.

    Raises:
        PluginError: naming every fault; nothing of it is registered then.
    """
    runtime.ensure_loaded()
    if not NAME.fullmatch(name):
        raise PluginError(
            f"backend name {name!r} must be lower-case letters, digits, '_' and '-', and begin with a letter",
            backend=name,
        )
    with _lock:
        taken = next((s for s in _statuses.values() if s.name == name), None)
        if taken is not None:
            whose = f"of {taken.distribution}" if taken.distribution else "registered by this program"
            raise PluginError(f"the name {name!r} is taken by a backend {whose}; choose another", backend=name)
        offer = examine.ask(plugin, name)
        validate.check(name, offer, None)
        validate.commit(name, version, offer)
        return _note(_ready(name, "", version))


def unregister(name: str) -> None:
    """Take a backend out of this process; arrays on its devices stay as they are.

    Raises:
        PluginError: when no backend of this name is there.
    """
    with _lock:
        mine = [key for key, found in _statuses.items() if found.name == name]
        if not mine:
            raise _unknown(name, {s.name for s in _statuses.values()})
        validate.withdraw(name)
        _folders.pop(name, None)
        for key in mine:
            del _statuses[key]


def package_folder(name: str) -> Path | None:
    """Return the folder that a loaded backend's manifest lies in; None for one registered by this program."""
    return _folders.get(name)


def _load(found: Discovery, *, retry: bool) -> None:
    """Judge and load; each step refuses what it must and hands on the rest."""
    for record in found.refused:
        _quarantine(record)
    named = discovery.without_duplicates(found.candidates)
    for record in named.refused:
        _quarantine(record)
    undecided = [candidate for candidate in named.candidates if not _is_settled(candidate, retry=retry)]
    jobs = [job for candidate in undecided if (job := _admit(candidate)) is not None]
    jobs = _without_rivals(jobs)
    for job in jobs:
        if job.candidate.own:
            _load_here(job)
    others = [job for job in jobs if not job.candidate.own]
    if others and tell_of_recursion():
        for candidate, _ in others:
            _note(_disabled(candidate, "this process was started by a plugin that is being probed"))
        return
    for job in _probed(others, retry=retry):
        _load_here(job)


def _is_settled(candidate: Candidate, *, retry: bool) -> bool:
    """Return whether this process has judged a backend for good: nobody waits twice for one that hangs."""
    known = _statuses.get((candidate.name, candidate.distribution))
    if known is None or known.state is State.DISABLED:
        return False
    return known.state is State.READY or not retry


def _guard(candidate: Candidate, step: Callable[[], _Job | None]) -> _Job | None:
    """Run one step for one backend; a refusal becomes its record."""
    try:
        with guarded(Stage.DISCOVERY, f"loading {candidate.name}"):
            return step()
    except QuarantineError as error:
        _quarantine(candidate.quarantined(error))
        return None


def _admit(candidate: Candidate) -> _Job | None:
    """Judge a backend by its manifest and by what is present on the machine."""

    def step() -> _Job | None:
        declared = manifest.find(candidate.module)
        _check_versions(candidate, declared)
        absent = requirements.missing(declared.requires)
        if absent:
            why = f"not on this machine: {', '.join(map(str, absent))}"
            _note(_absent(candidate, why, declared.install))
            return None
        return _Job(candidate, declared)

    return _guard(candidate, step)


def _check_versions(candidate: Candidate, declared: Manifest) -> None:
    if declared.name != candidate.name:
        message = f"{declared.path}: name is {declared.name!r}, but the entry point is named {candidate.name!r}"
        raise refusal(Stage.MANIFEST, QuarantineReason.BAD_MANIFEST, message)
    if not spi_fits(declared.spi, SPI_VERSION):
        message = f"{declared.path}: it was made for interface {declared.spi}; this opmux has {SPI_VERSION}"
        raise refusal(Stage.MANIFEST, QuarantineReason.SPI_VERSION, message, wanted=declared.spi, offered=SPI_VERSION)
    opset = REGISTRY.opset_version
    if opset is not None and not in_range(opset, declared.opset):
        message = f"{declared.path}: it serves opset {declared.opset}; this opmux has {opset}"
        raise refusal(Stage.MANIFEST, QuarantineReason.OPSET_VERSION, message, wanted=declared.opset, offered=opset)


def _without_rivals(jobs: Iterable[_Job]) -> list[_Job]:
    """Refuse backends that claim one device kind, opmux's own and those already loaded excepted; return the rest."""
    jobs = list(jobs)
    claims: dict[str, list[Candidate]] = defaultdict(list)
    for candidate, declared in jobs:
        for kind in declared.devices:
            claims[kind].append(candidate)
    owners = {device.kind: device.owner for device in DEVICES}
    kept = []
    for job in jobs:
        for kind in job.manifest.devices:
            rivals = [c for c in claims[kind] if c is not job.candidate and not job.candidate.own]
            if kind in owners or rivals:
                whose = owners.get(kind) or " and ".join(f"{c.name} ({c.label})" for c in rivals)
                message = f"device kind {kind!r} of {job.candidate.name} is claimed by {whose} too"
                error = refusal(Stage.MANIFEST, QuarantineReason.DEVICE_KIND_TAKEN, message, kind=kind)
                _quarantine(job.candidate.quarantined(error))
                break
        else:
            kept.append(job)
    return kept


def _probed(jobs: Collection[_Job], *, retry: bool) -> list[_Job]:
    """Return the backends that a probe, now or earlier, found fit to be loaded."""
    if not jobs:
        return []
    # Most processes have opmux's own backends only and need neither.
    from .probe import probe_all, time_limit
    from .verdicts import Verdicts, fingerprint

    limit = time_limit()
    verdicts = Verdicts(limit)
    known: dict[Candidate, QuarantineError | bool] = {}
    stamps: dict[Candidate, str] = {}
    for job in jobs:

        def step(job: _Job = job) -> _Job:
            stamps[job.candidate] = fingerprint(job.candidate, job.manifest)
            known[job.candidate] = verdicts.recall(job.candidate, stamps[job.candidate], failures=not retry)
            return job

        _guard(job.candidate, step)
    unknown = [job for job in jobs if known.get(job.candidate) is False]
    for candidate, failure in probe_all(unknown, limit).items():
        verdicts.remember(candidate, stamps[candidate], failure)
        known[candidate] = True if failure is None else failure
    for candidate, verdict in known.items():
        if isinstance(verdict, QuarantineError):
            _quarantine(candidate.quarantined(verdict))
    return [job for job in jobs if known.get(job.candidate) is True]


def _load_here(job: _Job) -> None:
    """Import a backend into this process and register it whole."""

    def step() -> None:
        name, claimed = job.candidate.name, job.manifest.devices
        plugin = examine.import_plugin(job.candidate.module, job.candidate.attribute)
        offer = examine.ask(plugin, name)
        validate.check(name, offer, claimed)
        if validate.is_idle(offer, claimed):
            _note(_absent(job.candidate, *_no_device(job.manifest)))
            return
        validate.commit(name, job.version, offer)
        _folders[name] = job.manifest.path.parent
        proofs.recall(name, job.version, _folders[name])
        _note(_ready(name, job.candidate.distribution, job.version))

    _guard(job.candidate, step)


def _no_device(declared: Manifest) -> tuple[str, str]:
    """Return what to say of devices that are not shown, and what to do."""
    why = f"no device of kind {', '.join(declared.devices)} was found"
    hiding = [name for name in declared.hidden_by if name in os.environ]
    if not hiding:
        return why, declared.install
    values = ", ".join(f"{name} is {os.environ[name]!r}" for name in hiding)
    otherwise = f"; where that changes nothing: {declared.install}" if declared.install else ""
    return f"{why}, and {values}, which may hide it", f"unset {', '.join(hiding)}{otherwise}"


def _note(known: BackendStatus) -> BackendStatus:
    _statuses[known.name, known.distribution] = known
    return known


def _ready(name: str, distribution: str, version: str) -> BackendStatus:
    brought = REGISTRY.contributions[name]
    return BackendStatus(
        name,
        distribution,
        version,
        State.READY,
        devices=tuple(device.name for device in DEVICES if device.owner == name),
        kernels=len(brought.kernels),
        profiles=brought.profiles,
    )


def _absent(candidate: Candidate, why: str, install: str) -> BackendStatus:
    return BackendStatus(
        candidate.name, candidate.distribution, candidate.version, State.ABSENT_HARDWARE, reason=why, remedy=install
    )


def _disabled(candidate: Candidate, why: str) -> BackendStatus:
    return BackendStatus(candidate.name, candidate.distribution, candidate.version, State.DISABLED, reason=why)


def _quarantine(record: QuarantineRecord) -> None:
    if (record.name, record.distribution) not in _statuses:  # said once; `opmux doctor` says it again
        _log.warning("backend %s is kept out: %s (`opmux doctor` says more)", record.name, record.message)
    _note(BackendStatus.quarantined(record))


def _unknown(name: str, known: Collection[str]) -> PluginError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return PluginError(f"no backend {name!r}; {hint}there are {', '.join(sorted(known)) or 'none'}", backend=name)


def _sorted(statuses: Iterable[BackendStatus]) -> list[BackendStatus]:
    return sorted(statuses, key=lambda s: (s.name, s.distribution))

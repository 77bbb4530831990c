"""First contact with a plugin, in a process of its own that may crash, hang or exit.

Several probes run at once. What one prints goes into a bounded tail, never to the host's output; its
outcome comes through a separate pipe (:mod:`.child`).
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import IO, Any, Final, cast

from ..devices.host import usable_cpus
from .child import INSIDE
from .discovery import Candidate
from .manifest import Manifest
from .quarantine import KEPT_TEXT, QuarantineError, QuarantineReason, Stage, refusal

_log: Final = logging.getLogger("opmux.plugins")
DEFAULT_LIMIT: Final = 20.0
# Probes mostly wait for the disk and for drivers, so a few more than there are cores run at once.
_AT_ONCE: Final = max(4, min(8, usable_cpus()))
_POLL: Final = 0.02
_READS: Final = 16
# A hung probe gets this long to write the traceback of all its threads before it is killed.
_LAST_WORDS: Final = 5.0
# Reports are a few lines and a bounded traceback; whatever sends more is not a report.
_LARGEST_REPORT: Final = 1 << 20
_BOOT: Final = (
    "import json, sys; request = json.load(sys.stdin); sys.path[:] = request['path']; "
    "from {package}.child import main; main(request)"
)
_INTERPRETER_FLAGS: Final = {"ignore_environment": "-E", "no_user_site": "-s", "no_site": "-S"}
_WHILE: Final[Mapping[Stage, str]] = {
    Stage.PROBE: "before it was imported",
    Stage.IMPORT: "while it was imported",
    Stage.HOOKS: "while its hooks were called",
    Stage.VALIDATION: "while what it offers was validated",
    Stage.EXIT: "after it had answered, when the interpreter shut down",
}


def time_limit() -> float:
    """Return the seconds that one probe may take: ``OPMUX_PROBE_TIMEOUT``, else 20."""
    given = os.environ.get("OPMUX_PROBE_TIMEOUT", "")
    if not given:
        return DEFAULT_LIMIT
    with suppress(ValueError):
        if 0 < float(given) < float("inf"):
            return float(given)
    _log.warning("OPMUX_PROBE_TIMEOUT=%r is not a number of seconds; %g is used", given, DEFAULT_LIMIT)
    return DEFAULT_LIMIT


@dataclass(slots=True, eq=False)
class _Probe:
    """One child process and what came from it so far."""

    candidate: Candidate
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    reports: IO[bytes]
    marker: Path
    deadline: float
    hung: bool = False
    tail: bytearray = field(default_factory=bytearray)
    reported: bytearray = field(default_factory=bytearray)

    def drain(self, selector: selectors.BaseSelector) -> None:
        """Take what the pipes hold; a stream at its end is watched no more."""
        for stream, kept, most in ((self.output, self.tail, KEPT_TEXT), (self.reports, self.reported, _LARGEST_REPORT)):
            for _ in range(_READS):  # one that never stops printing must not keep the host from its clock
                try:
                    chunk = os.read(stream.fileno(), 1 << 16)
                except BlockingIOError:
                    break
                if not chunk:
                    _forget(selector, stream)
                    break
                kept += chunk
                del kept[:-most]

    def kill(self) -> None:
        """End the process and all that it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Give the pipes and the marker back."""
        self.output.close()
        self.reports.close()
        self.marker.unlink(missing_ok=True)


def probe_all(jobs: Iterable[tuple[Candidate, Manifest]], limit: float) -> dict[Candidate, QuarantineError | None]:
    """Probe plugins, several at once.

    Args:
        jobs: the plugins and their manifests.
        limit: seconds that each may take.

    Returns:
        For each plugin None where it is fit to be loaded, else why it is not.
    """
    waiting = deque(jobs)
    running: list[_Probe] = []
    verdicts: dict[Candidate, QuarantineError | None] = {}
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or running:
                while waiting and len(running) < _AT_ONCE:
                    candidate, manifest = waiting.popleft()
                    try:
                        running.append(_start(candidate, manifest, limit, selector))
                    except OSError as error:
                        message = f"no process to probe {candidate.name} in could be started: {error}"
                        verdicts[candidate] = refusal(Stage.PROBE, QuarantineReason.PROBE_NOT_STARTED, message)
                for probe in _turn(running, selector):
                    running.remove(probe)
                    verdicts[probe.candidate] = _verdict(probe, limit)
                    probe.close()
        finally:  # an interrupt leaves no process behind
            for probe in running:
                probe.kill()
                probe.close()
    return verdicts


def _start(candidate: Candidate, manifest: Manifest, limit: float, selector: selectors.BaseSelector) -> _Probe:
    if not sys.executable:
        raise OSError("the interpreter does not know its own path")
    flags = [flag for name, flag in _INTERPRETER_FLAGS.items() if getattr(sys.flags, name)]
    descriptor, marker = tempfile.mkstemp(prefix="opmux-probe-")
    os.close(descriptor)
    read, write = os.pipe()
    try:
        process = subprocess.Popen(
            # -P: the working directory must not shadow the standard library before the path is set.
            # -u: what was printed before a crash is part of its record.
            [sys.executable, "-P", "-u", *flags, "-c", _BOOT.format(package=__package__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(write,),
            env={**os.environ, INSIDE: marker},
            start_new_session=True,
        )
    except BaseException:
        os.close(read)
        os.unlink(marker)
        raise
    finally:
        os.close(write)
    request: dict[str, Any] = {
        "name": candidate.name,
        "module": candidate.module,
        "attribute": candidate.attribute,
        "devices": manifest.devices,
        "path": [str(entry) for entry in sys.path],
        "pipe": write,
        "limit": limit,
    }
    with suppress(BrokenPipeError), cast(IO[bytes], process.stdin) as stdin:
        stdin.write(json.dumps(request).encode())
    output, reports = cast(IO[bytes], process.stdout), FileIO(read)
    probe = _Probe(candidate, process, output, reports, Path(marker), time.monotonic() + limit)
    for stream in (probe.output, probe.reports):
        os.set_blocking(stream.fileno(), False)
        selector.register(stream, selectors.EVENT_READ)
    return probe


def _turn(running: list[_Probe], selector: selectors.BaseSelector) -> list[_Probe]:
    """Wait a little, take what came, and return the probes that have ended."""
    selector.select(_POLL)
    ended = []
    now = time.monotonic()
    for probe in running:
        status = probe.process.poll()
        probe.drain(selector)
        if status is None and now > probe.deadline:
            if probe.hung:
                probe.kill()
            else:  # faulthandler answers SIGABRT with the traceback of every thread
                probe.hung, probe.deadline = True, now + _LAST_WORDS
                probe.process.send_signal(signal.SIGABRT)
        elif status is not None:
            probe.kill()  # whatever it left running
            probe.drain(selector)
            ended.append(probe)
            _forget(selector, probe.output)
            _forget(selector, probe.reports)
    return ended


def _forget(selector: selectors.BaseSelector, stream: IO[bytes]) -> None:
    if stream in selector.get_map():
        selector.unregister(stream)


def _verdict(probe: _Probe, limit: float) -> QuarantineError | None:
    """Read the outcome from the reports, and from how the process ended."""
    name, status = probe.candidate.name, probe.process.returncode
    stage, outcome = Stage.PROBE, ""
    for line in bytes(probe.reported).splitlines():
        with suppress(ValueError, KeyError, TypeError):  # a line that the plugin wrote, or half of one
            report: dict[str, str] = json.loads(line)
            outcome = report.get("outcome", "")
            if outcome == "refused":
                reason = QuarantineReason(report["reason"])
                return refusal(Stage(report["stage"]), reason, report["message"], detail=report["detail"])
            stage = Stage(report["stage"])
    tail = bytes(probe.tail).decode(errors="replace")
    if not probe.marker.exists():
        message = f"{name} starts a process that loads the backends {_WHILE[stage]}; that would never end"
        return refusal(stage, QuarantineReason.RECURSIVE, message, detail=tail)
    if probe.hung:
        message = f"{name} did not finish within {limit:g} s; it hung {_WHILE[stage]}"
        return refusal(stage, QuarantineReason.HUNG, message, detail=tail)
    if status < 0:
        message = f"{name} crashed with {_signal_name(-status)} {_WHILE[stage]}"
        return refusal(stage, QuarantineReason.CRASHED, message, detail=tail)
    if status != 0 or outcome != "good":
        message = f"{name} ended the process with status {status} {_WHILE[stage]}"
        return refusal(stage, QuarantineReason.EXITED, message, detail=tail)
    return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
